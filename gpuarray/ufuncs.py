"""The methods of ufuncs: ``ga.add.reduce(x)``, ``ga.maximum.accumulate(x)``, ``ga.add.at(x, places, y)``.

Functions of the table that are ufuncs in NumPy have them, and NumPy's own come here from `protocols`. Those with a
reduction or a scan of ours work chunk by chunk; for the others NumPy's method is given the axis whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpuarray import reductions, statistics
from gpuarray.array import NDArray, asarray
from gpuarray.axes import normalize_axes, normalize_axis
from gpuarray.cumulative import scan
from gpuarray.dimensions import moveaxis
from gpuarray.elementwise import FUNCTIONS, apply, into
from gpuarray.gufuncs import on_whole_axes
from gpuarray.manipulation import broadcast_to, ravel
from gpuarray.numeric import divmod

REDUCTIONS: dict[str, Callable[..., NDArray]] = {
    "add": reductions.sum,
    "multiply": reductions.prod,
    "minimum": reductions.min,
    "maximum": reductions.max,
    "fmin": statistics.nanmin,
    "fmax": statistics.nanmax,
    "logical_and": reductions.all,
    "logical_or": reductions.any,
}
"""The functions that ``ufunc.reduce`` stands for."""

SCANS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min"}
"""The scans that ``ufunc.accumulate`` stands for."""

BOOLEAN_SCANS = {"logical_or": "max", "logical_and": "min"}

UNSOUND = ("arctan2", "ldexp", "power")
"""Those of which NumPy's ``reduce`` gives other values for other memory layouts."""

MISSING = np._NoValue


def attach() -> None:
    """Give the functions of the table the attributes of their ufuncs."""
    for name, function in FUNCTIONS.items():
        ufunc = getattr(np, name, None)
        if not isinstance(ufunc, np.ufunc):
            continue
        for method in (reduce, accumulate, reduceat, outer, at):
            setattr(function, method.__name__, partial(method, ufunc))
        for attribute in ("nin", "nout", "nargs", "identity", "ntypes", "types", "signature"):
            setattr(function, attribute, getattr(ufunc, attribute))


def _binary(ufunc: np.ufunc, method: str) -> None:
    if ufunc.signature is not None:
        raise RuntimeError(f"{ufunc.__name__}.{method}: a function of whole axes, {ufunc.signature}, has none")
    if ufunc.nin != 2 or ufunc.nout != 1:
        raise ValueError(f"{ufunc.__name__}.{method}: only functions of two arrays with one result have it")


def _sample(ufunc: np.ufunc, method: str, *given: Any, **keywords: Any) -> np.dtype[Any]:
    """The dtype of a method's result, from NumPy itself, which raises TypeError where it has no such loop."""
    with np.errstate(all="ignore"):
        return np.asarray(getattr(ufunc, method)(*given, **keywords)).dtype


def reduce(
    ufunc: np.ufunc,
    array: Any,
    axis: Any = 0,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = False,
    initial: Any = MISSING,
    where: Any = True,
) -> NDArray:
    """The function applied along axes, from left to right, as `numpy.ufunc.reduce`.

    >>> import gpuarray as ga
    >>> ga.bitwise_or.reduce([[1, 2], [4, 2]], axis=1).compute()
    array([3, 6])

    Raises ValueError for a function of other than two arrays and for several axes where their order would matter.
    """
    _binary(ufunc, "reduce")
    x, name = asarray(array), ufunc.__name__
    if not x.ndim and axis in (0, -1):  # NumPy's: a number has an axis here
        axis = ()
    if initial is None:
        _refuse_nothing(name, x, normalize_axes(axis, x.ndim))
    given: dict[str, Any] = {} if initial is MISSING or initial is None else {"initial": initial}
    if where is not True:
        given["where"] = where
    if name in REDUCTIONS:
        return _as_reduction(name, x, axis, dtype, out, keepdims, given)
    if name in UNSOUND:
        raise TypeError(
            f"numpy.{name}.reduce has no counterpart in gpuarray: NumPy's own depends on how the array lies in memory; "
            "take the last of accumulate(), or call it on x.compute()"
        )
    axes = normalize_axes(axis, x.ndim)
    if len(axes) > 1:  # NumPy's own refusal
        ufunc.reduce(np.ones((1,) * x.ndim, x.dtype), axis=axes)
    start = {k: v for k, v in given.items() if k == "initial"}
    kind = _sample(ufunc, "reduce", np.ones(2, x.dtype), dtype=dtype, **start)
    steps = [(a,) for a in axes] if not given else [axes]
    for step in steps:
        x = _reduced(ufunc, x, step, kind, dtype, given)
    if not keepdims:
        x = x.reshape(tuple(n for a, n in enumerate(x.shape) if a not in axes))
    return into(out, x)


def _refuse_nothing(name: str, x: NDArray, axes: tuple[int, ...]) -> None:
    """Raise ValueError where elements are to be reduced of nothing, and there is nothing to begin with."""
    if not all(x.shape[a] for a in axes):
        raise ValueError(
            f"zero-size array to reduction operation {name} which has no identity: shape {x.shape}, axis {axes}, and "
            "initial=None"
        )


def _as_reduction(
    name: str, x: NDArray, axis: Any, dtype: Any, out: Any, keepdims: bool, given: dict[str, Any]
) -> NDArray:
    function = REDUCTIONS[name]
    if name in ("logical_and", "logical_or"):
        if dtype is not None and np.dtype(dtype) != bool:
            raise TypeError(f"numpy.{name}.reduce with dtype={np.dtype(dtype)} is not supported; .astype() the result")
        first = given.pop("initial", None)
        made = function(x, axis=axis, keepdims=keepdims, **given)
        return into(out, made if first is None else apply(name, made, first))
    if dtype is not None:
        if name in ("add", "multiply"):
            given["dtype"] = dtype
        else:
            x = x.astype(dtype)
    return function(x, axis=axis, out=out, keepdims=keepdims, **given)


def _reduced(
    ufunc: np.ufunc, x: NDArray, axes: tuple[int, ...], kind: np.dtype[Any], dtype: Any, given: dict[str, Any]
) -> NDArray:
    """The axes reduced to length one."""
    last = tuple(range(x.ndim - len(axes), x.ndim))
    core = ",".join(f"a{k}" for k in axes)
    arrays = [moveaxis(x, axes, last)]
    if "where" in given:
        arrays.append(moveaxis(broadcast_to(asarray(given["where"]).astype(bool), x.shape), axes, last))
    call = partial(_call_reduce, name=ufunc.__name__, number=len(axes), dtype=dtype, initial=given.get("initial"))
    signature = f"{','.join([f'({core})'] * len(arrays))}->()"
    made = on_whole_axes(call, f"{ufunc.__name__}.reduce", signature, arrays, [kind])[0]
    return made.reshape(tuple(1 if a in axes else n for a, n in enumerate(x.shape)))


def _call_reduce(block: Any, where: Any = True, *, name: str, number: int, dtype: Any, initial: Any) -> Any:
    axes = tuple(range(block.ndim - number, block.ndim))
    block = np.ascontiguousarray(block)  # NumPy's order of operations follows the memory
    start = MISSING if initial is None else initial
    with np.errstate(all="ignore"):
        return np.asarray(
            getattr(np, name).reduce(
                block, axis=axes if number != 1 else axes[0], dtype=dtype, initial=start, where=where
            )
        )


def accumulate(ufunc: np.ufunc, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> NDArray:
    """What the function makes of everything up to each position along an axis, as `numpy.ufunc.accumulate`.

    >>> import gpuarray as ga
    >>> ga.maximum.accumulate([3, 1, 4, 1, 5]).compute()
    array([3, 3, 4, 4, 5])

    Raises ValueError for a function of other than two arrays, AxisError for the axis.
    """
    _binary(ufunc, "accumulate")
    x, name = asarray(array), ufunc.__name__
    if not x.ndim:
        raise TypeError("cannot accumulate on a scalar")
    at = normalize_axis(axis, x.ndim)
    kind = _sample(ufunc, "accumulate", np.ones(1, x.dtype), dtype=dtype)
    if name in SCANS:
        return scan(SCANS[name], x.astype(kind), at, kind if name in ("add", "multiply") else None, out)
    if name in BOOLEAN_SCANS and kind.kind == "b":
        return scan(BOOLEAN_SCANS[name], x.astype(bool), at, None, out)
    call = partial(_call_accumulate, name=name, dtype=dtype)
    made = on_whole_axes(call, f"{name}.accumulate", "(i)->(i)", [moveaxis(x, at, -1)], [kind])[0]
    return into(out, moveaxis(made, -1, at))


def _call_accumulate(block: Any, *, name: str, dtype: Any) -> Any:
    with np.errstate(all="ignore"):
        return getattr(np, name).accumulate(np.ascontiguousarray(block), axis=-1, dtype=dtype)


def reduceat(ufunc: np.ufunc, array: Any, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> NDArray:
    """The function applied along slices that begin at positions, as `numpy.ufunc.reduceat`.

    >>> import gpuarray as ga
    >>> ga.add.reduceat([1, 2, 3, 4, 5], [0, 3]).compute()
    array([6, 9])

    Each task holds the axis whole. Raises ValueError for a function of other than two arrays, IndexError out of bounds.
    """
    _binary(ufunc, "reduceat")
    x, where = asarray(array), np.asarray(indices)
    if not x.ndim:
        raise TypeError("cannot reduceat on a scalar")
    at = normalize_axis(axis, x.ndim)
    if where.ndim != 1 or (where.size and where.dtype.kind not in "biu"):
        raise TypeError(f"indices= must be a sequence of integers, got dtype {where.dtype} and shape {where.shape}")
    where = where.astype(np.intp)
    n = x.shape[at]
    if where.size and not 0 <= int(where.min()) <= int(where.max()) < n:
        wrong = int(where.min()) if int(where.min()) < 0 else int(where.max())
        raise IndexError(f"index {wrong} out-of-bounds in {ufunc.__name__}.reduceat [0, {n})")
    kind = _sample(ufunc, "reduceat", np.ones(1, x.dtype), [0], dtype=dtype)
    call = partial(_call_reduceat, name=ufunc.__name__, dtype=dtype)
    given = [moveaxis(x, at, -1), asarray(where)]
    made = on_whole_axes(call, f"{ufunc.__name__}.reduceat", "(i),(k)->(k)", given, [kind])[0]
    return into(out, moveaxis(made, -1, at))


def _call_reduceat(block: Any, where: Any, *, name: str, dtype: Any) -> Any:
    with np.errstate(all="ignore"):
        return getattr(np, name).reduceat(np.ascontiguousarray(block), where, axis=-1, dtype=dtype)


def outer(ufunc: np.ufunc, A: Any, B: Any, **keywords: Any) -> Any:
    """The function of every pair of elements, as `numpy.ufunc.outer`.

    >>> import gpuarray as ga
    >>> ga.multiply.outer([1, 2], [3, 4]).compute()
    array([[3, 4],
           [6, 8]])

    Raises ValueError for a function of other than two arrays.
    """
    if ufunc.nin != 2 or ufunc.signature is not None:
        raise ValueError(f"{ufunc.__name__}.outer: only elementwise functions of two arrays have it")
    a, b = (x if isinstance(x, NDArray) else np.asarray(x) for x in (A, B))
    function = FUNCTIONS.get(ufunc.__name__, divmod)
    return function(a[(..., *(None,) * b.ndim)], b, **keywords)


def at(ufunc: np.ufunc, a: Any, indices: Any, b: Any = MISSING) -> None:
    """Apply the function in place to elements, once for each time that one is named, as `numpy.ufunc.at`.

    >>> import gpuarray as ga
    >>> x = ga.zeros(4, dtype=int)
    >>> ga.add.at(x, [0, 2, 2], 1)
    >>> x.compute()
    array([1, 0, 2, 0])

    `a` then stands for the result. Positions are computed at once; one task holds the elements that are named, and all
    that is given for them. Raises IndexError out of bounds, TypeError for an `a` that is no NDArray.
    """
    from gpuarray.indexing import expand_key, flat_positions_of, is_array, is_mask
    from gpuarray.writing import target, written

    x = target(a, f"{ufunc.__name__}.at")
    if ufunc.nout != 1 or ufunc.nin > 2:
        raise ValueError(f"{ufunc.__name__}.at: only functions of one or two arrays with one result have it")
    if (b is MISSING) != (ufunc.nin == 1):
        raise ValueError(f"{ufunc.__name__}.at takes {'no' if ufunc.nin == 1 else 'a'} second operand")
    values = [] if b is MISSING else [asarray(b) if not np.isscalar(b) else asarray(_weak(b, x.dtype))]
    ufunc.at(np.ones(1, x.dtype), [0], *(np.ones(1, v.dtype) for v in values))  # NumPy's refusals
    full = expand_key(indices, x.shape)
    if not any(is_array(k) or is_mask(k) for k in full):
        x[indices] = FUNCTIONS[ufunc.__name__](x[indices], *values)
        return
    concrete: list[Any] = []
    for k in full:
        concrete += np.nonzero(np.asarray(k)) if is_mask(k) else [k]
    positions = flat_positions_of(x.shape, tuple(concrete))
    if not positions.size:
        return
    named, which = np.unique(positions.ravel(), return_inverse=True)
    given = [ravel(x)[named], asarray(which.astype(np.intp))]
    given += [ravel(broadcast_to(v, positions.shape)) for v in values]
    signature = f"({'),('.join(['u', 'n', 'n'][: len(given)])})->(u)"
    call = partial(_call_at, name=ufunc.__name__)
    (made,) = on_whole_axes(call, f"{ufunc.__name__}.at", signature, given, [x.dtype])
    written(x, named, made)


def _weak(value: Any, dtype: np.dtype[Any]) -> Any:
    """A Python scalar in the dtype that it has beside an array (NEP 50)."""
    return np.asarray(value, np.result_type(value, dtype)) if type(value) in (bool, int, float, complex) else value


def _call_at(elements: Any, which: Any, *values: Any, name: str) -> Any:
    made = np.array(elements)
    with np.errstate(all="ignore"):
        getattr(np, name).at(made, which, *values)
    return made


METHODS: dict[str, Callable[..., Any]] = {
    "reduce": reduce,
    "accumulate": accumulate,
    "reduceat": reduceat,
    "outer": outer,
    "at": at,
}

attach()
