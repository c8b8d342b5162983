"""Reductions and cumulative functions, under NumPy's names and with NumPy's arguments."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray.array import NDArray, as_node, asarray, install
from gpuarray.elementwise import apply
from gpuarray.graph.elementwise import Map
from gpuarray.graph.leaves import Index
from gpuarray.graph.node import Node
from gpuarray.graph.reduce import Reduce
from gpuarray.graph.scan import Scan
from gpuarray.graph.select import AxisMap, Select
from gpuarray.kernels.reductions import REDUCTIONS
from gpuarray.optimize.reductions import cells

Axis = int | tuple[int, ...] | None


def normalize_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that `axis` names, ascending.

    >>> normalize_axes(-1, 3), normalize_axes(None, 2)
    ((2,), (0, 1))

    Raises numpy.exceptions.AxisError (an IndexError and a ValueError) out of range, ValueError for duplicates.
    """
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = []
    for a in given:
        i = operator.index(a)
        if not -ndim <= i < ndim:
            raise np.exceptions.AxisError(i, ndim)
        axes.append(i % ndim)
    if len(set(axes)) != len(axes):
        raise ValueError(f"duplicate value in axis={axis}")
    return tuple(sorted(axes))


def finish(node: Node, axes: tuple[int, ...], keepdims: bool) -> NDArray:
    """Drop the reduced axes, which have length one, unless the user keeps them."""
    if keepdims or not axes:
        return NDArray(node)
    kept = [a for a in range(node.ndim) if a not in axes]
    maps: list[AxisMap] = [0 if a in axes else (kept.index(a), range(node.shape[a])) for a in range(node.ndim)]
    return NDArray(Select(tuple(node.shape[a] for a in kept), tuple(maps), node))


def cast(node: Node, dtype: np.dtype[Any]) -> Node:
    return node if node.dtype == dtype else Map("cast", dtype, node)


def masked(op: str, x: Node, where: Any) -> tuple[Node, ...]:
    """The inputs of a reduction with the mask that ``where=`` gives."""
    if where is None or where is True:
        return (x,)
    mask = cast(as_node(where), np.dtype(bool))
    try:
        fits = np.broadcast_shapes(mask.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"where= of shape {mask.shape} does not broadcast to the array's shape {x.shape}")
    return (x, broadcast_to(mask, x.shape))


def broadcast_to(node: Node, shape: tuple[int, ...]) -> Node:
    from gpuarray.indexing import broadcast

    return broadcast(node, shape)


def reduce(
    op: str,
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    keepdims: bool = False,
    where: Any = None,
    parameters: tuple[tuple[str, Any], ...] = (),
) -> NDArray:
    """A reduction of the table."""
    row = REDUCTIONS[op]
    x = asarray(a).node
    axes = normalize_axes(axis, x.ndim)
    operand = row.operand(x.dtype, None if dtype is None else np.dtype(dtype))
    if row.identity(operand) is None and (where is None or where is True) and row.family != "moments":
        if math.prod(x.shape[i] for i in axes) == 0 and all(n for i, n in enumerate(x.shape) if i not in axes):
            raise ValueError(
                f"zero-size array to reduction operation {op} which has no identity (shape {x.shape}, axis {axis}); "
                "pass initial="
            )
    inputs = masked(op, cast(x, operand), where)
    node: Node = Reduce(op, axes, parameters, *inputs)
    if not axes:
        return NDArray(node)
    return finish(node, axes, keepdims)


def with_initial(op: str, reduced: NDArray, initial: Any) -> NDArray:
    """Take `initial` in, as NumPy does: as one more element."""
    if initial is None:
        return reduced
    pair = {"sum": "add", "prod": "multiply", "min": "minimum", "max": "maximum"}[op]
    made = apply(pair, reduced, initial)
    return made if made.dtype == reduced.dtype else made.astype(reduced.dtype)  # type: ignore[attr-defined,no-any-return]


def no_elements(a: Any, axis: Any) -> bool:
    x = asarray(a)
    return math.prod(x.shape[i] for i in normalize_axes(axis, x.ndim)) == 0


def sum(a: Any, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = None) -> NDArray:
    """Sum of the elements over axes; floats are summed in float64, in an order that depends on the chunks alone.

    >>> import gpuarray as ga
    >>> ga.sum(ga.asarray([[1, 2], [3, 4]]), axis=0).compute()
    array([4, 6])

    Arguments as in `numpy.sum`.
    """
    return with_initial("sum", reduce("sum", a, axis, dtype, keepdims, where), initial)


def prod(a: Any, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = None) -> NDArray:
    """Product of the elements over axes.

    >>> import gpuarray as ga
    >>> ga.prod(ga.asarray([2.0, 3.0])).compute()
    array(6.)

    Arguments as in `numpy.prod`.
    """
    return with_initial("prod", reduce("prod", a, axis, dtype, keepdims, where), initial)


def _extremum(op: str, a: Any, axis: Any, keepdims: bool, initial: Any, where: Any) -> NDArray:
    x = asarray(a)
    masked_out = where is not None and where is not True
    if initial is None and masked_out:
        raise ValueError(
            f"reduction operation {op!r} does not have an identity, so to use a where mask one has to specify initial="
        )
    if initial is None:
        return reduce(op, x, axis, None, keepdims)
    initial = np.asarray(initial).astype(x.dtype)[()]
    if masked_out:
        x = apply("where", where, x, initial)
    if no_elements(x, axis):
        axes = normalize_axes(axis, x.ndim)
        shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        return finish(broadcast_to(as_node(initial), shape), axes, keepdims)
    return with_initial(op, reduce(op, x, axis, None, keepdims), initial)


def min(a: Any, axis: Axis = None, *, keepdims: bool = False, initial: Any = None, where: Any = None) -> NDArray:
    """Smallest element over axes; NaN if there is one.

    >>> import gpuarray as ga
    >>> ga.min(ga.asarray([3, 1, 2])).compute()
    array(1)

    Arguments as in `numpy.min`. Raises ValueError where there are no elements and no `initial`.
    """
    return _extremum("min", a, axis, keepdims, initial, where)


def max(a: Any, axis: Axis = None, *, keepdims: bool = False, initial: Any = None, where: Any = None) -> NDArray:
    """Largest element over axes; NaN if there is one.

    >>> import gpuarray as ga
    >>> ga.max(ga.asarray([3, 1, 2])).compute()
    array(3)

    Arguments as in `numpy.max`. Raises ValueError where there are no elements and no `initial`.
    """
    return _extremum("max", a, axis, keepdims, initial, where)


amin, amax = min, max


def any(a: Any, axis: Axis = None, *, keepdims: bool = False, where: Any = None) -> NDArray:
    """Whether any element is true (not zero).

    >>> import gpuarray as ga
    >>> ga.any(ga.asarray([0, 2])).compute()
    array(True)

    Arguments as in `numpy.any`.
    """
    return reduce("any", a, axis, None, keepdims, where)


def all(a: Any, axis: Axis = None, *, keepdims: bool = False, where: Any = None) -> NDArray:
    """Whether all elements are true (not zero).

    >>> import gpuarray as ga
    >>> ga.all(ga.asarray([0, 2])).compute()
    array(False)

    Arguments as in `numpy.all`.
    """
    return reduce("all", a, axis, None, keepdims, where)


def count_nonzero(a: Any, axis: Axis = None, *, keepdims: bool = False) -> NDArray:
    """Number of elements that are not zero.

    >>> import gpuarray as ga
    >>> ga.count_nonzero(ga.asarray([[0, 7], [1, 2]]), axis=1).compute()
    array([1, 2])

    Arguments as in `numpy.count_nonzero`.
    """
    return reduce("count_nonzero", a, axis, None, keepdims)


def _float_of(dtype: np.dtype[Any], requested: Any) -> np.dtype[Any]:
    """The dtype of a mean: integers become float64."""
    if requested is not None:
        return np.dtype(requested)
    return dtype if dtype.kind in "fc" else np.dtype(np.float64)


def _count(x: NDArray, axis: Any, keepdims: bool, where: Any) -> Any:
    """Number of elements that a mean divides by: a Python int, or an array with ``where=``."""
    if where is None or where is True:
        return math.prod(x.shape[i] for i in normalize_axes(axis, x.ndim))
    mask = NDArray(masked("sum", x.node, where)[1])
    return count_nonzero(mask, axis, keepdims=keepdims)


def mean(a: Any, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False, where: Any = None) -> NDArray:
    """Arithmetic mean over axes; NaN where there are no elements.

    >>> import gpuarray as ga
    >>> ga.mean(ga.asarray([1, 2, 4])).compute()
    array(2.33333333)

    Arguments as in `numpy.mean`.
    """
    x = asarray(a)
    result = _float_of(x.dtype, dtype)
    wide = np.result_type(result, np.float64) if result.kind in "fc" else np.dtype(np.float64)
    total = reduce("sum", x, axis, wide, keepdims, where)
    made = apply("divide", total, _count(x, axis, keepdims, where))
    return NDArray(cast(made.node, result))


def var(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    correction: float | None = None,
    keepdims: bool = False,
    where: Any = None,
) -> NDArray:
    """Variance over axes, in one pass, by merging counts, means and squared deviations (Chan, Golub, LeVeque 1982).

    >>> import gpuarray as ga
    >>> ga.var(ga.asarray([1.0, 2.0, 4.0]), correction=1).compute()
    array(2.33333333)

    Arguments as in `numpy.var`; `ddof` and `correction` are two names of one thing.
    """
    if correction is not None and ddof != 0:
        raise ValueError(f"ddof={ddof} and correction={correction} are two names of one argument; pass one")
    x = asarray(a)
    result = _float_of(x.dtype, dtype)
    wide = np.dtype(np.complex128) if result.kind == "c" else np.dtype(np.float64)
    real = np.dtype(f"f{result.itemsize // 2}") if result.kind == "c" else result
    amount = float(ddof if correction is None else correction)
    made = reduce("var", x, axis, wide, keepdims, where, (("correction", amount),))
    return NDArray(cast(made.node, real))


def std(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    correction: float | None = None,
    keepdims: bool = False,
    where: Any = None,
) -> NDArray:
    """Standard deviation over axes: the square root of `var`.

    >>> import gpuarray as ga
    >>> ga.std(ga.asarray([1.0, 3.0])).compute()
    array(1.)

    Arguments as in `numpy.std`.
    """
    spread = var(a, axis, dtype, ddof=ddof, correction=correction, keepdims=keepdims, where=where)
    return apply("sqrt", spread)


def _arg(op: str, a: Any, axis: Any, keepdims: bool) -> NDArray:
    x = asarray(a)
    if axis is not None and isinstance(axis, (tuple, list)):
        raise TypeError(f"{op} takes one axis or None, got axis={axis}")
    axes = normalize_axes(axis, x.ndim)
    if math.prod(x.shape[i] for i in axes) == 0:
        raise ValueError(f"attempt to get {op} of an empty sequence (shape {x.shape}, axis {axis})")
    strides = [0] * x.ndim
    step = 1
    for i in reversed(axes):
        strides[i], step = step, step * x.shape[i]
    positions: Node = Index(x.shape, 0, tuple(strides), x.chunks)
    operand = REDUCTIONS[op].operand(x.dtype, None)
    node: Node = Reduce(op, axes, (), cast(x.node, operand), positions)
    return finish(node, axes, keepdims)


def argmin(a: Any, axis: int | None = None, *, keepdims: bool = False) -> NDArray:
    """Position of the smallest element, the first of equals; flat where `axis` is None.

    >>> import gpuarray as ga
    >>> ga.argmin(ga.asarray([3, 1, 1])).compute()
    array(1)

    Arguments as in `numpy.argmin`. Raises ValueError where there are no elements.
    """
    return _arg("argmin", a, axis, keepdims)


def argmax(a: Any, axis: int | None = None, *, keepdims: bool = False) -> NDArray:
    """Position of the largest element, the first of equals; flat where `axis` is None.

    >>> import gpuarray as ga
    >>> ga.argmax(ga.asarray([[1, 5], [7, 2]]), axis=1).compute()
    array([1, 0])

    Arguments as in `numpy.argmax`. Raises ValueError where there are no elements.
    """
    return _arg("argmax", a, axis, keepdims)


def _cumulative(op: str, a: Any, axis: Any, dtype: Any) -> NDArray:
    from gpuarray.graph.move import Reshape

    x = asarray(a).node
    if axis is None:
        x = x if x.ndim == 1 else Reshape((math.prod(x.shape),), x)
        axis = 0
    (axis,) = normalize_axes(axis, x.ndim)
    if dtype is None:  # NumPy's: small integers become the default integer
        dtype = (np.cumsum if op == "sum" else np.cumprod)(np.empty(0, x.dtype)).dtype
    pieces = cells(x.chunks, (axis,))[axis]
    assert pieces is not None  # the axis is among those it cuts
    made: Node = Scan(op, axis, pieces, np.dtype(dtype), cast(x, np.dtype(dtype)))
    return NDArray(made)


def cumsum(a: Any, axis: int | None = None, dtype: Any = None) -> NDArray:
    """Cumulative sum along an axis, or of the flattened array.

    >>> import gpuarray as ga
    >>> ga.cumsum(ga.asarray([1, 2, 3])).compute()
    array([1, 3, 6])

    Arguments as in `numpy.cumsum`.
    """
    return _cumulative("sum", a, axis, dtype)


def cumprod(a: Any, axis: int | None = None, dtype: Any = None) -> NDArray:
    """Cumulative product along an axis, or of the flattened array.

    >>> import gpuarray as ga
    >>> ga.cumprod(ga.asarray([1, 2, 3])).compute()
    array([1, 2, 6])

    Arguments as in `numpy.cumprod`.
    """
    return _cumulative("prod", a, axis, dtype)


METHODS: tuple[Callable[..., NDArray], ...] = (
    sum, prod, min, max, any, all, mean, var, std, argmin, argmax, cumsum, cumprod,
)  # fmt: skip
for _function in METHODS:
    install(_function.__name__, _function)
