"""Arrays with parts taken out or put in, and arrays built of blocks."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import normalize_axis, sliced
from gpuarray.dimensions import expand_dims, moveaxis
from gpuarray.elementwise import cast
from gpuarray.gathering import nonzero, take
from gpuarray.joining import concatenate
from gpuarray.manipulation import broadcast_to, ravel, reshape

RUNS = 1000
"""Runs of neighbours up to which an array is put together from slices; beyond, by position."""


def _along(arr: Any, axis: int | None) -> tuple[NDArray, int]:
    x = asarray(arr)
    if axis is None:
        return ravel(x), 0
    return x, normalize_axis(axis, x.ndim)


def _places(obj: Any, n: int, what: str) -> np.ndarray[Any, Any]:
    """The positions that an index names, in its order, not negative."""
    if isinstance(obj, slice):
        return np.arange(*obj.indices(n), dtype=np.int64)
    given = np.asarray(obj)
    if given.dtype == bool:
        if given.shape != (n,):
            raise ValueError(f"boolean array argument obj to {what} must be one dimensional and of length {n}")
        return np.flatnonzero(given)
    if not given.size and not hasattr(obj, "dtype"):
        given = given.astype(np.intp)
    if given.dtype.kind not in "iu":
        raise IndexError(f"arrays used as indices must be of integer (or boolean) type, got {given.dtype}")
    if given.ndim > 1:
        raise ValueError(f"index array argument obj to {what} must be one dimensional or scalar")
    return np.atleast_1d(given).astype(np.int64)


def _inside(places: np.ndarray[Any, Any], least: int, most: int, axis: int, n: int) -> np.ndarray[Any, Any]:
    bad = (places < least) | (places > most)
    if bad.any():
        raise IndexError(f"index {places[bad][0]} is out of bounds for axis {axis} with size {n}")
    return np.where(places < 0, places + n, places)


def delete(arr: Any, obj: Any, axis: int | None = None) -> NDArray:
    """An array without the elements at some positions along an axis.

    >>> import gpuarray as ga
    >>> ga.delete([1, 2, 3, 4], [0, 2]).compute()
    array([2, 4])

    Arguments as in `numpy.delete`; positions are computed at once. Raises IndexError out of bounds, AxisError for the
    axis.
    """
    x, at = _along(arr, axis)
    n = x.shape[at]
    gone = np.unique(_inside(_places(obj, n, "delete"), -n, n - 1, at, n))
    if not gone.size:
        return x
    if gone.size > RUNS:
        keep = np.ones(n, bool)
        keep[gone] = False
        return take(x, np.flatnonzero(keep), at)
    ends = [*gone.tolist(), n]
    starts = [0, *(gone + 1).tolist()]
    parts = [sliced(x.node, at, range(a, b)) for a, b in zip(starts, ends, strict=True) if a < b]
    return concatenate([NDArray(p) for p in parts or [sliced(x.node, at, range(0))]], axis=at)


def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> NDArray:
    """An array with values put in before some positions along an axis.

    >>> import gpuarray as ga
    >>> ga.insert([1, 2, 3], [1, 1], [7, 8]).compute()
    array([1, 7, 8, 2, 3])

    Arguments as in `numpy.insert`; positions are computed at once. Raises IndexError out of bounds, ValueError for
    values that do not fit, AxisError for the axis.
    """
    x, at = _along(arr, axis)
    n = x.shape[at]
    places = _inside(_places(obj, n, "insert"), -n, n, at, n)
    new = NDArray(cast(asarray(values).node, x.dtype))
    one = not isinstance(obj, slice) and places.size == 1
    if one:  # as NumPy: values may have any length along the axis
        new = reshape(new, (1,) * (x.ndim - new.ndim) + new.shape) if new.ndim < x.ndim else new
        if np.ndim(obj) == 0:
            new = moveaxis(new, 0, at)
        places = np.repeat(places, new.shape[at])
    shape = tuple(places.size if a == at else m for a, m in enumerate(x.shape))
    new = broadcast_to(new, shape)
    order = np.argsort(places, kind="stable")
    places = places[order]
    if not (order[1:] > order[:-1]).all():
        new = take(new, order, at)
    if places.size > RUNS:
        where = np.insert(np.arange(n), places, n + np.arange(places.size))
        return take(concatenate([x, new], axis=at), where, at)
    parts = []
    before = taken = 0
    cuts = sorted({int(p) for p in places})
    for p in cuts:
        number = int((places == p).sum())
        parts += [sliced(x.node, at, range(before, p)), sliced(new.node, at, range(taken, taken + number))]
        before, taken = p, taken + number
    parts.append(sliced(x.node, at, range(before, n)))
    some = [NDArray(p) for p in parts if p.shape[at]]
    return concatenate(some, axis=at) if some else x


def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> NDArray:
    """An array without the zeros at its ends, which are looked for at once.

    >>> import gpuarray as ga
    >>> ga.trim_zeros([0, 0, 1, 0, 2, 0]).compute()
    array([1, 0, 2])

    Arguments as in `numpy.trim_zeros`. Raises ValueError for a `trim` other than "f", "b" and both.
    """
    from gpuarray.reductions import any as any_of

    x = asarray(filt)
    how = trim.lower()
    if how not in ("f", "b", "fb", "bf"):
        raise ValueError(f"unexpected character(s) in `trim`: {trim!r}")
    axes = range(x.ndim) if axis is None else [normalize_axis(a, x.ndim) for a in np.atleast_1d(axis)]
    key: list[Any] = [slice(None)] * x.ndim
    for a in axes:
        others = tuple(k for k in range(x.ndim) if k != a)
        found = nonzero(any_of(x != 0, axis=others) if others else x != 0)[0].compute()
        if found.size:
            first = int(found[0]) if "f" in how else None
            key[a] = slice(first, int(found[-1]) + 1 if "b" in how else None)
        else:
            key[a] = slice(0, 0)
    return x[tuple(key)]


def block(arrays: Any) -> NDArray:
    """An array put together from nested lists of blocks: the innermost along the last axis.

    >>> import gpuarray as ga
    >>> ga.block([[ga.ones((1, 1)), ga.zeros((1, 2))], [ga.zeros((1, 3))]]).compute()
    array([[1., 0., 0.],
           [0., 0., 0.]])

    Arguments as in `numpy.block`. Raises ValueError for empty lists, lists of different depths and blocks that do not
    fit, TypeError for tuples.
    """
    depth = _depth(arrays)
    leaves: list[NDArray] = []
    _leaves(arrays, leaves)
    ndim = max(depth, *(x.ndim for x in leaves))
    return _joined(arrays, 0, depth, ndim)


def _depth(arrays: Any) -> int:
    if isinstance(arrays, tuple):
        raise TypeError("arrays is a tuple; only lists can be used to arrange blocks, and np.block does not allow them")
    if not isinstance(arrays, list):
        return 0
    if not arrays:
        raise ValueError("List at arrays cannot be empty")
    depths = {_depth(a) for a in arrays}
    if len(depths) > 1:
        raise ValueError(f"List depths are mismatched: lists at one level have depths {sorted(depths)}")
    return 1 + depths.pop()


def _leaves(arrays: Any, found: list[NDArray]) -> None:
    if isinstance(arrays, list):
        for a in arrays:
            _leaves(a, found)
    else:
        found.append(asarray(arrays))


def _joined(arrays: Any, level: int, depth: int, ndim: int) -> NDArray:
    if not isinstance(arrays, list):
        x = asarray(arrays)
        return expand_dims(x, tuple(range(ndim - x.ndim))) if x.ndim < ndim else x
    parts = [_joined(a, level + 1, depth, ndim) for a in arrays]
    return concatenate(parts, axis=operator.index(level - depth))
