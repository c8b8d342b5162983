"""Arrays put together, taken apart, and repeated."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray, install
from gpuarray.axes import normalize_axis, with_new_axes
from gpuarray.checks import check_dtype
from gpuarray.dimensions import atleast_1d, atleast_2d, atleast_3d
from gpuarray.elementwise import cast, into
from gpuarray.graph.move import Concat
from gpuarray.graph.node import Node
from gpuarray.graph.select import AxisMap, Indices, Select
from gpuarray.manipulation import ravel, reshape, reshaped

# Putting together.


def _arrays(arrays: Any, what: str) -> list[NDArray]:
    if isinstance(arrays, NDArray) and not arrays.ndim:
        raise TypeError(f"{what} takes a sequence of arrays, got one array without dimensions")
    try:
        made = [asarray(a) for a in arrays]
    except TypeError:
        if isinstance(arrays, (Sequence, np.ndarray)):
            raise
        raise TypeError(f"{what} takes a sequence of arrays, got {type(arrays).__name__}") from None
    if not made:
        raise ValueError(f"{what} needs at least one array")
    return made


def concatenate(
    arrays: Any, /, axis: int | None = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind"
) -> NDArray:
    """Arrays end to end along an axis, or all elements along one where `axis` is None.

    >>> import gpuarray as ga
    >>> ga.concatenate([[1, 2], [3]]).compute()
    array([1, 2, 3])

    Arguments as in `numpy.concatenate`. Raises ValueError where other axes differ or there are no arrays, AxisError
    out of range, TypeError for a `dtype` that `casting` does not allow.
    """
    made = _arrays(arrays, "concatenate")
    if axis is None:
        made, axis = [ravel(x) for x in made], 0
    first = made[0]
    if any(x.ndim == 0 for x in made):
        raise ValueError("arrays without dimensions cannot be concatenated; stack puts them along a new axis")
    at = normalize_axis(axis, first.ndim)
    for k, x in enumerate(made):
        if x.ndim != first.ndim or any(
            a != at and n != m for a, (n, m) in enumerate(zip(x.shape, first.shape, strict=True))
        ):
            raise ValueError(
                f"all axes but axis {at} must have equal lengths to concatenate: array 0 has shape {first.shape}, "
                f"array {k} has shape {x.shape}"
            )
    kind = np.result_type(*(x.dtype for x in made)) if dtype is None else np.dtype(dtype)
    check_dtype(kind)
    for x in made:
        if not np.can_cast(x.dtype, kind, casting):
            raise TypeError(f"cannot cast from {x.dtype} to {kind} with casting={casting!r}")
    nodes = [cast(x.node, kind) for x in made]
    return into(out, NDArray(nodes[0] if len(nodes) == 1 else Concat(at, *nodes)))


def concat(
    arrays: Any, /, axis: int | None = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind"
) -> NDArray:
    """Arrays end to end along an axis: `concatenate` under its name in the array API standard.

    >>> import gpuarray as ga
    >>> ga.concat([ga.zeros(1), ga.ones(2)]).compute()
    array([0., 1., 1.])
    """
    return concatenate(arrays, axis, out, dtype=dtype, casting=casting)


def stack(arrays: Any, /, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind") -> NDArray:
    """Arrays of one shape along a new axis.

    >>> import gpuarray as ga
    >>> ga.stack([[1, 2], [3, 4]], axis=1).compute()
    array([[1, 3],
           [2, 4]])

    Arguments as in `numpy.stack`. Raises ValueError for different shapes or no arrays, AxisError out of range.
    """
    made = _arrays(arrays, "stack")
    shapes = {x.shape for x in made}
    if len(shapes) > 1:
        raise ValueError(
            f"all arrays must have the same shape to be stacked, got {', '.join(map(str, sorted(shapes)))}"
        )
    at = normalize_axis(axis, made[0].ndim + 1)
    new = [NDArray(with_new_axes(x.node, (at,))) for x in made]
    return concatenate(new, axis=at, out=out, dtype=dtype, casting=casting)


def _several(made: Any) -> list[NDArray]:
    return list(made) if isinstance(made, tuple) else [made]


def vstack(tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> NDArray:
    """Arrays on top of each other; vectors are rows.

    >>> import gpuarray as ga
    >>> ga.vstack([[1, 2], [3, 4]]).compute()
    array([[1, 2],
           [3, 4]])

    Arguments as in `numpy.vstack`.
    """
    return concatenate(_several(atleast_2d(*_arrays(tup, "vstack"))), axis=0, dtype=dtype, casting=casting)


def hstack(tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> NDArray:
    """Arrays side by side: along the second axis, vectors along their only one.

    >>> import gpuarray as ga
    >>> ga.hstack([[1, 2], [3]]).compute()
    array([1, 2, 3])

    Arguments as in `numpy.hstack`.
    """
    made = _several(atleast_1d(*_arrays(tup, "hstack")))
    return concatenate(made, axis=0 if made[0].ndim == 1 else 1, dtype=dtype, casting=casting)


def dstack(tup: Any) -> NDArray:
    """Arrays behind each other, along the third axis.

    >>> import gpuarray as ga
    >>> ga.dstack([[1, 2], [3, 4]]).shape
    (1, 2, 2)

    Arguments as in `numpy.dstack`.
    """
    return concatenate(_several(atleast_3d(*_arrays(tup, "dstack"))), axis=2)


def column_stack(tup: Any) -> NDArray:
    """Arrays side by side; vectors are columns.

    >>> import gpuarray as ga
    >>> ga.column_stack([[1, 2], [3, 4]]).compute()
    array([[1, 3],
           [2, 4]])

    Arguments as in `numpy.column_stack`.
    """
    made = [reshape(x, (-1, 1)) if x.ndim < 2 else x for x in _arrays(tup, "column_stack")]
    return concatenate(made, axis=1)


def append(arr: Any, values: Any, axis: int | None = None) -> NDArray:
    """An array and then `values`, along an axis or flattened.

    >>> import gpuarray as ga
    >>> ga.append([1, 2], [[3], [4]]).compute()
    array([1, 2, 3, 4])

    Arguments as in `numpy.append`.
    """
    return concatenate([arr, values], axis=axis)


# Taking apart.


def unstack(x: Any, /, *, axis: int = 0) -> tuple[NDArray, ...]:
    """The arrays along an axis, as a tuple: what `stack` would put together.

    >>> import gpuarray as ga
    >>> [part.compute().tolist() for part in ga.unstack([[1, 2], [3, 4]])]
    [[1, 2], [3, 4]]

    Raises ValueError for an array without dimensions, AxisError out of range.
    """
    array = asarray(x)
    if not array.ndim:
        raise ValueError("an array without dimensions cannot be unstacked")
    at = normalize_axis(axis, array.ndim)
    return tuple(array[(slice(None),) * at + (k,)] for k in range(array.shape[at]))


def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[NDArray]:
    """Views of parts along an axis: a number of nearly equal ones, or those between positions.

    >>> import gpuarray as ga
    >>> [part.compute().tolist() for part in ga.array_split([1, 2, 3], 2)]
    [[1, 2], [3]]

    Arguments as in `numpy.array_split`. Raises ValueError for fewer than one section, AxisError out of range.
    """
    x = asarray(ary)
    at = normalize_axis(axis, x.ndim)
    n = x.shape[at]
    if np.ndim(indices_or_sections):
        cuts = [operator.index(i) for i in indices_or_sections]
    else:
        sections = operator.index(indices_or_sections)
        if sections < 1:
            raise ValueError(f"number of sections, {sections}, must be at least 1")
        each, more = divmod(n, sections)
        cuts = [k * each + min(k, more) for k in range(1, sections)]
    edges = [0, *cuts, n]
    parts = zip(edges[:-1], [*cuts, None], strict=True)
    return [x[(*(slice(None),) * at, slice(lo, hi))] for lo, hi in parts]


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[NDArray]:
    """Views of equal parts along an axis, or of those between positions.

    >>> import gpuarray as ga
    >>> [part.compute().tolist() for part in ga.split([1, 2, 3], [1])]
    [[1], [2, 3]]

    Arguments as in `numpy.split`. Raises ValueError where there are no equal parts, AxisError out of range.
    """
    x = asarray(ary)
    n = x.shape[normalize_axis(axis, x.ndim)]
    if not np.ndim(indices_or_sections):
        sections = operator.index(indices_or_sections)
        if sections < 1 or n % sections:
            raise ValueError(
                f"axis {axis} of length {n} cannot be split into {sections} equal parts; array_split allows others"
            )
    return array_split(x, indices_or_sections, axis)


def _split_along(name: str, ary: Any, indices_or_sections: Any, axis: int, least: int) -> list[NDArray]:
    x = asarray(ary)
    if x.ndim < least:
        raise ValueError(f"{name} takes arrays of {least} or more dimensions, got shape {x.shape}")
    return split(x, indices_or_sections, axis)


def hsplit(ary: Any, indices_or_sections: Any) -> list[NDArray]:
    """`split` along the second axis, or the only one.

    >>> import gpuarray as ga
    >>> [part.shape for part in ga.hsplit(ga.ones((2, 4)), 2)]
    [(2, 2), (2, 2)]
    """
    return _split_along("hsplit", ary, indices_or_sections, 0 if asarray(ary).ndim == 1 else 1, 1)


def vsplit(ary: Any, indices_or_sections: Any) -> list[NDArray]:
    """`split` along the first axis.

    >>> import gpuarray as ga
    >>> [part.shape for part in ga.vsplit(ga.ones((2, 4)), 2)]
    [(1, 4), (1, 4)]
    """
    return _split_along("vsplit", ary, indices_or_sections, 0, 2)


def dsplit(ary: Any, indices_or_sections: Any) -> list[NDArray]:
    """`split` along the third axis.

    >>> import gpuarray as ga
    >>> [part.shape for part in ga.dsplit(ga.ones((1, 2, 4)), 2)]
    [(1, 2, 2), (1, 2, 2)]
    """
    return _split_along("dsplit", ary, indices_or_sections, 2, 3)


# Repeating.


def _repeated(node: Node, axis: int, times: int, together: bool) -> Node:
    """Each element `times` times (`together`), or the whole `times` times, along an axis."""
    n = node.shape[axis]
    new = axis + 1 if together else axis
    maps: list[AxisMap] = [(a + (a >= new), range(m)) for a, m in enumerate(node.shape)]
    shape = (*node.shape[:new], times, *node.shape[new:])
    return reshaped(Select(shape, tuple(maps), node), (*node.shape[:axis], n * times, *node.shape[axis + 1 :]))


def tile(A: Any, reps: Any) -> NDArray:
    """An array repeated as a whole, `reps` times along each axis.

    >>> import gpuarray as ga
    >>> ga.tile([1, 2], (2, 2)).compute()
    array([[1, 2, 1, 2],
           [1, 2, 1, 2]])

    Arguments as in `numpy.tile`. Raises ValueError for negative numbers.
    """
    node = asarray(A).node
    times = tuple(operator.index(r) for r in reps) if np.ndim(reps) else (operator.index(reps),)
    if any(t < 0 for t in times):
        raise ValueError(f"reps={reps} must not be negative")
    node = with_new_axes(node, tuple(range(max(0, len(times) - node.ndim))))
    for axis, t in enumerate((1,) * (node.ndim - len(times)) + times):
        if t != 1:
            node = _repeated(node, axis, t, together=False)
    return NDArray(node)


def repeat(a: Any, repeats: Any, axis: int | None = None) -> NDArray:
    """Each element repeated, along an axis or flattened.

    >>> import gpuarray as ga
    >>> ga.repeat([1, 2], [1, 3]).compute()
    array([1, 2, 2, 2])

    Arguments as in `numpy.repeat`. Several `repeats` are computed at once, because the shape depends on them.
    Raises ValueError for negative numbers or a number of them that does not fit the axis, AxisError out of range.
    """
    x = ravel(a) if axis is None else asarray(a)
    at = normalize_axis(0 if axis is None else axis, x.ndim)
    times = np.asarray(repeats)
    if times.dtype.kind not in "biu":
        raise TypeError(f"repeats must be integers, got dtype {times.dtype}")
    if (times < 0).any():
        raise ValueError(f"repeats={repeats} must not be negative")
    if times.size == 1:
        return NDArray(_repeated(x.node, at, int(times.reshape(())), together=True))
    if times.ndim != 1 or times.size != x.shape[at]:
        raise ValueError(
            f"repeats of shape {times.shape} must be one number, or one for each of the {x.shape[at]} along axis {at}"
        )
    maps: list[AxisMap] = [(i, range(n)) for i, n in enumerate(x.shape)]
    positions = np.repeat(np.arange(x.shape[at]), times)
    maps[at] = (at, Indices(positions)) if positions.size else (at, range(0))
    shape = tuple(positions.size if i == at else n for i, n in enumerate(x.shape))
    return NDArray(Select(shape, tuple(maps), x.node))


install("repeat", repeat)
