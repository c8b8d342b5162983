"""Places in sorted arrays, and what is between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray, install
from gpuarray.elementwise import cast
from gpuarray.folding import folded
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits

FEW = 2**16
"""Values up to which they are counted in each piece of a long sorted array, instead of giving it whole to each task."""
LONG = 2**26
"""Bytes of a long array."""


def elementwise_with(
    function: Any, keywords: tuple[tuple[str, Any], ...], x: NDArray, dtype: Any, label: str, *others: Node
) -> NDArray:
    """``function(xp, x, *others, **keywords)`` of every piece of `x` and other arrays that are given whole."""
    along = (tuple(range(x.ndim)), *((None,) * o.ndim for o in others))
    traits = Traits(label, scratch=2.0, cost=32)
    made: Node = Routine(function, keywords, np.dtype(dtype), x.chunks, along, traits, x.node, *others)
    return NDArray(made)


def searchsorted(a: Any, v: Any, side: Any = "left", sorter: Any = None) -> NDArray:
    """Where values would be put into a sorted array to keep it sorted.

    >>> import gpuarray as ga
    >>> ga.searchsorted([11, 12, 13, 14, 15], [13, 10, 20]).compute()
    array([2, 0, 5])

    Arguments as in `numpy.searchsorted`. Each task holds `a` whole, unless it is long and the values are few: then it
    is gone through once. Raises ValueError for an `a` that has not one dimension or another `side`.
    """
    sorted_array, values = asarray(a), asarray(v)
    if sorted_array.ndim != 1:
        raise ValueError(f"a must have one dimension, got shape {sorted_array.shape}")
    where = str(side).lower()
    if not isinstance(side, str) or where[:1] not in ("l", "r"):
        raise ValueError(f'side={side!r} is no side; write "left" or "right"')
    where = "left" if where[0] == "l" else "right"
    if sorter is not None:
        order = np.asarray(sorter)
        if order.dtype.kind not in "iu":
            raise TypeError(f"sorter must only contain integers, got dtype {order.dtype}")
        if order.shape != sorted_array.shape:
            raise ValueError(f"sorter of shape {order.shape} must have the shape of a, {sorted_array.shape}")
        sorted_array = sorted_array[order]
    kind = np.result_type(sorted_array.dtype, values.dtype)
    long, searched = cast(sorted_array.node, kind), cast(values.node, kind)
    if values.size <= FEW and sorted_array.nbytes > LONG:
        return folded(_before, [NDArray(long)], values.shape, np.int64, searched, side=where)
    return elementwise_with(_places, (("side", where),), NDArray(searched), np.int64, "searchsorted", long)


def _places(xp: Any, v: Any, a: Any, side: str) -> Any:
    return xp.searchsorted(a, v.reshape(-1), side=side).reshape(v.shape)


def _before(xp: Any, rows: Any, v: Any, side: str) -> Any:
    """How many elements of a piece are before each value."""
    return xp.searchsorted(rows, v.reshape(-1), side=side).reshape(v.shape)


def digitize(x: Any, bins: Any, right: bool = False) -> NDArray:
    """The number of the bin that each element is in; bins are given by their edges.

    >>> import gpuarray as ga
    >>> ga.digitize([0.2, 6.4, 3.0], [0.0, 1.0, 2.5, 4.0]).compute()
    array([1, 4, 3])

    Arguments as in `numpy.digitize`. The edges are computed at once. Raises ValueError for edges that neither rise nor
    fall, TypeError for complex numbers.
    """
    values, edges = asarray(x), np.asarray(bins)
    if values.dtype.kind == "c":
        raise TypeError("x must not be complex: complex numbers have no order")
    if edges.ndim != 1:
        raise ValueError(f"bins must have one dimension, got shape {edges.shape}")
    rises, falls = bool((edges[1:] >= edges[:-1]).all()), bool((edges[1:] <= edges[:-1]).all())
    if not rises and not falls:
        raise ValueError("bins must be monotonically increasing or decreasing")
    side = "left" if right else "right"
    if rises:
        return searchsorted(edges, values, side)
    return len(edges) - searchsorted(edges[::-1], values, side)


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> NDArray:
    """Piecewise linear interpolation between points.

    >>> import gpuarray as ga
    >>> ga.interp([0.0, 1.5, 9.0], [1, 2, 3], [3, 2, 0]).compute()
    array([3. , 2.5, 0. ])

    Arguments as in `numpy.interp`. Each task holds the points whole. Raises ValueError for points of different lengths
    or none, TypeError for complex positions.
    """
    at, places, values = asarray(x), asarray(xp), asarray(fp)
    if places.ndim != 1 or places.shape != values.shape:
        raise ValueError(f"xp of shape {places.shape} and fp of shape {values.shape} must be vectors of one length")
    if not places.size:
        raise ValueError("array of sample points is empty")
    if at.dtype.kind == "c" or places.dtype.kind == "c":
        raise TypeError("x and xp must be real: complex numbers have no order")
    if period is not None and period == 0:
        raise ValueError("period must be a non-zero value")
    kind = np.dtype(np.complex128 if values.dtype.kind == "c" else np.float64)
    keywords = (("left", left), ("right", right), ("period", period))
    return elementwise_with(_interpolated, keywords, at, kind, "interp", places.node, values.node)


def _interpolated(xp: Any, x: Any, places: Any, values: Any, **keywords: Any) -> Any:
    return xp.asarray(xp.interp(x.reshape(-1), places, values, **keywords)).reshape(x.shape)


def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, kind: str | None = None
) -> NDArray:
    """Whether each element is among others.

    >>> import gpuarray as ga
    >>> ga.isin([[0, 2], [4, 6]], [2, 4]).compute()
    array([[False,  True],
           [ True, False]])

    Arguments as in `numpy.isin`. The others are sorted, and each task holds them whole.
    """
    from gpuarray.manipulation import broadcast_to, ravel
    from gpuarray.sorting import sort

    if kind not in (None, "sort", "table"):
        raise ValueError(f'kind={kind!r} is no way to look; write None, "sort" or "table"')
    x, others = asarray(element), ravel(test_elements)
    if not others.size:
        return broadcast_to(asarray(bool(invert)), x.shape)
    dtype = np.result_type(x.dtype, others.dtype)
    others = sort(NDArray(cast(others.node, dtype)))
    looked = NDArray(cast(x.node, dtype))
    return elementwise_with(_among, (("invert", bool(invert)),), looked, np.bool_, "isin", others.node)


def _among(xp: Any, x: Any, others: Any, invert: bool) -> Any:
    flat = x.reshape(-1)
    at = xp.minimum(xp.searchsorted(others, flat), others.shape[0] - 1)
    found = (others[at] == flat).reshape(x.shape)
    return ~found if invert else found


def _method_searchsorted(self: NDArray, v: Any, side: str = "left", sorter: Any = None) -> NDArray:
    """Where values would be put into this sorted array; see `gpuarray.searchsorted`."""
    return searchsorted(self, v, side, sorter)


install("searchsorted", _method_searchsorted)
