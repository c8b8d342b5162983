"""Elements picked by position: take, diagonals, and what is not zero."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray, install
from gpuarray.axes import normalize_axis, ordered_axes
from gpuarray.elementwise import apply, into
from gpuarray.graph.blocks import MapBlocks
from gpuarray.graph.grid import Lengths
from gpuarray.graph.leaves import Index
from gpuarray.graph.node import Node
from gpuarray.graph.select import AxisMap, Select
from gpuarray.manipulation import broadcast_shapes, broadcast_to, ravel


def take(a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise") -> NDArray:
    """Elements at positions along an axis, or of the flattened array.

    >>> import gpuarray as ga
    >>> ga.take([[1, 2, 3], [4, 5, 6]], [2, 0], axis=1).compute()
    array([[3, 1],
           [6, 4]])

    Arguments as in `numpy.take`; lazy `indices` are computed. Raises IndexError out of bounds unless `mode` is
    "wrap" or "clip", TypeError for indices that are no integers, AxisError for the axis.
    """
    x = ravel(a) if axis is None else asarray(a)
    at = normalize_axis(0 if axis is None else axis, x.ndim)
    where = np.asarray(indices)
    if where.size == 0 and not hasattr(indices, "dtype"):
        where = where.astype(np.intp)
    if where.dtype.kind not in "biu":
        raise TypeError(f"indices must be integers, got dtype {where.dtype}")
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f'mode={mode!r} is no mode; write "raise", "wrap" or "clip"')
    if where.dtype != np.uint64:  # its largest would become negative
        where = where.astype(np.intp)
    n = x.shape[at]
    if mode != "raise" and n:
        where = (where % n if mode == "wrap" else np.clip(where, 0, n - 1)).astype(np.intp)
    picked = operator.index(where[()]) if where.ndim == 0 else where
    return into(out, x[(slice(None),) * at + (picked,)])


def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> NDArray:
    """Elements at positions along an axis that differ from place to place, as `argsort` gives them.

    >>> import gpuarray as ga
    >>> ga.take_along_axis(ga.asarray([[10, 30, 20]]), ga.asarray([[0, 2]]), axis=1).compute()
    array([[10, 20]])

    Arguments as in `numpy.take_along_axis`. Each task holds the axis whole. Raises ValueError for different numbers
    of dimensions, IndexError (at compute) out of bounds, TypeError for indices that are no integers.
    """
    x, where = (ravel(arr) if axis is None else asarray(arr)), asarray(indices)
    if where.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers, got dtype {where.dtype}")
    if where.ndim != x.ndim:
        raise ValueError(
            f"indices of shape {where.shape} must have as many dimensions as the array, of shape {x.shape}"
        )
    at = normalize_axis(0 if axis is None else axis, x.ndim)
    others = broadcast_shapes((*x.shape[:at], 1, *x.shape[at + 1 :]), (*where.shape[:at], 1, *where.shape[at + 1 :]))
    shape = (*others[:at], where.shape[at], *others[at + 1 :])
    x = broadcast_to(x, (*others[:at], x.shape[at], *others[at + 1 :]))
    where = broadcast_to(where, shape)
    whole = Lengths.regular(x.shape[at], x.shape[at])
    cut = where.chunks
    if len(cut[at]) == 1:  # cut as the array is, whose chunks were made for it
        cut = (*x.chunks[:at], cut[at], *x.chunks[at + 1 :])
    made: Node = MapBlocks(
        _taken, (("axis", at),), False, x.dtype, cut, ((*cut[:at], whole, *cut[at + 1 :]), cut), x.node, where.node
    )
    return NDArray(made)


def _taken(x: Any, where: Any, axis: int) -> Any:
    return np.take_along_axis(x, where, axis)


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> NDArray:
    """A view of the diagonal of the plane of two axes; it is the last axis of the result.

    >>> import gpuarray as ga
    >>> ga.diagonal([[1, 2], [3, 4]]).compute()
    array([1, 4])

    Arguments as in `numpy.diagonal`. Raises ValueError for fewer than two dimensions or the same axis twice,
    AxisError out of range.
    """
    x = asarray(a)
    if x.ndim < 2:
        raise ValueError(f"a diagonal takes an array of at least 2 dimensions, got shape {x.shape}")
    first, second = ordered_axes((axis1, axis2), x.ndim)
    k = operator.index(offset)
    down, right = max(0, -k), max(0, k)
    n = max(0, min(x.shape[first] - down, x.shape[second] - right))
    kept = [i for i in range(x.ndim) if i not in (first, second)]
    maps: list[AxisMap] = []
    for i, m in enumerate(x.shape):
        if i in (first, second):
            start = (down if i == first else right) if n else 0
            maps.append((len(kept), range(start, start + n)))
        else:
            maps.append((kept.index(i), range(m)))
    return NDArray(Select((*(x.shape[i] for i in kept), n), tuple(maps), x.node))


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> NDArray:
    """Sum of the diagonal.

    >>> import gpuarray as ga
    >>> ga.trace([[1, 2], [3, 4]]).compute()
    array(5)

    Arguments as in `numpy.trace`.
    """
    from gpuarray.reductions import sum

    return sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype, out=out)


def compress(condition: Any, a: Any, axis: int | None = None, out: Any = None) -> NDArray:
    """The slices along an axis where a condition is true.

    >>> import gpuarray as ga
    >>> ga.compress([True, False, True], [1, 2, 3]).compute()
    array([1, 3])

    Arguments as in `numpy.compress`. The condition is computed at once, because the shape depends on it.
    """
    keep = np.asarray(condition)
    if keep.ndim != 1:
        raise ValueError(f"condition must have one dimension, got shape {keep.shape}")
    return take(a, np.flatnonzero(keep), axis, out)


def extract(condition: Any, arr: Any) -> NDArray:
    """The elements where a condition of the same shape is true.

    >>> import gpuarray as ga
    >>> x = ga.arange(5)
    >>> ga.extract(x % 2 == 1, x).compute()
    array([1, 3])

    How many they are is counted at once.
    """
    mask = asarray(condition)
    return asarray(arr)[mask if mask.dtype == bool else mask != 0]


def nonzero(a: Any) -> tuple[NDArray, ...]:
    """The coordinates of the elements that are not zero: one array of positions for each axis.

    >>> import gpuarray as ga
    >>> [where.compute().tolist() for where in ga.nonzero([[0, 7], [8, 9]])]
    [[0, 1, 1], [1, 0, 1]]

    How many they are is counted at once, because the shape depends on it; the positions are lazy. Raises ValueError
    for an array without dimensions.
    """
    x = asarray(a)
    if not x.ndim:
        raise ValueError("nonzero takes an array of at least one dimension; use gpuarray.atleast_1d(x).nonzero()")
    mask = x if x.dtype == bool else apply("not_equal", x, x.dtype.type(0))
    found = []
    for axis in range(x.ndim):
        strides = tuple(int(i == axis) for i in range(x.ndim))
        found.append(NDArray(Index(x.shape, 0, strides, x.chunks))[mask])
    return tuple(found)


def flatnonzero(a: Any) -> NDArray:
    """The positions in the flattened array of the elements that are not zero.

    >>> import gpuarray as ga
    >>> ga.flatnonzero([[0, 7], [8, 9]]).compute()
    array([1, 2, 3])
    """
    return nonzero(ravel(a))[0]


def argwhere(a: Any) -> NDArray:
    """The coordinates of the elements that are not zero, one row for each.

    >>> import gpuarray as ga
    >>> ga.argwhere([[0, 7], [8, 0]]).compute()
    array([[0, 1],
           [1, 0]])
    """
    from gpuarray.creation import zeros
    from gpuarray.joining import stack

    x = asarray(a)
    return stack(nonzero(x), axis=1) if x.ndim else zeros((int(bool(x)), 0), dtype=np.int64)


def _method_compress(self: NDArray, condition: Any, axis: int | None = None, out: Any = None) -> NDArray:
    """The slices along an axis where a condition is true; see `gpuarray.compress`."""
    return compress(condition, self, axis, out)


for _function in (take, diagonal, trace, nonzero):
    install(_function.__name__, _function)
install("compress", _method_compress)
