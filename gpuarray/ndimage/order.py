"""Filters by order: the smallest, the largest, the median, any rank of the elements around a point."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.axes import normalize_axis
from gpuarray.ndimage.arguments import (
    ascending_axes,
    constant,
    image,
    modes_of,
    output_dtype,
    sequence,
    size_of,
    start_of,
)
from gpuarray.ndimage.around import MAX_TAPS, Offset, depths_around, near, swept, unfiltered
from gpuarray.ndimage.linear import one_by_one, per_axis
from gpuarray.ndimage.programs import folded, ranked

RUNNING = 16
"""Elements from which extrema of halves are faster than comparing each."""
NETWORK = 25
"""Elements up to which ranks are found by a network of exchanges, which can be compiled."""


def minimum_filter1d(
    input: Any, size: int, axis: int = -1, output: Any = None, mode: str = "reflect", cval: float = 0.0, origin: int = 0
) -> NDArray:
    """Smallest of `size` elements along one axis.

    >>> import gpuarray as ga
    >>> ga.ndimage.minimum_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3).compute()
    array([2, 0, 0, 0, 1, 1, 0, 0])

    Arguments as in `scipy.ndimage.minimum_filter1d`; `output` is a dtype. A NaN makes all that read it NaN. Raises
    ValueError for sizes below 1, unknown modes and origins out of range.
    """
    return extremum1d("minimum", input, size, axis, output, mode, cval, origin)


def maximum_filter1d(
    input: Any, size: int, axis: int = -1, output: Any = None, mode: str = "reflect", cval: float = 0.0, origin: int = 0
) -> NDArray:
    """Largest of `size` elements along one axis.

    >>> import gpuarray as ga
    >>> ga.ndimage.maximum_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3).compute()
    array([8, 8, 8, 4, 9, 9, 9, 9])

    Arguments as in `scipy.ndimage.maximum_filter1d`; `output` is a dtype. NaN and errors as `minimum_filter1d`.
    """
    return extremum1d("maximum", input, size, axis, output, mode, cval, origin)


def minimum_filter(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: float = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """Smallest of the elements in a box, or a footprint, around every point.

    >>> import gpuarray as ga
    >>> ga.ndimage.minimum_filter([[4, 2, 3], [5, 1, 6]], size=(1, 3)).compute()
    array([[2, 2, 2],
           [1, 1, 1]])

    Arguments as in `scipy.ndimage.minimum_filter`; `output` is a dtype. A NaN makes all that read it NaN. Raises
    ValueError for sizes below 1, empty footprints, unknown modes and origins out of range.
    """
    return extremum("minimum", input, size, footprint, output, mode, cval, origin, axes)


def maximum_filter(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: float = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """Largest of the elements in a box, or a footprint, around every point.

    >>> import gpuarray as ga
    >>> ga.ndimage.maximum_filter([[4, 2, 3], [5, 1, 6]], footprint=[[0, 1, 1]]).compute()
    array([[4, 3, 3],
           [5, 6, 6]])

    Arguments as in `scipy.ndimage.maximum_filter`; `output` is a dtype. NaN and errors as `minimum_filter`.
    """
    return extremum("maximum", input, size, footprint, output, mode, cval, origin, axes)


def median_filter(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: float = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """Median of the elements in a box, or a footprint, around every point; of an even number, the upper one.

    >>> import gpuarray as ga
    >>> ga.ndimage.median_filter([0, 0, 9, 0, 1, 1], size=3).compute()
    array([0, 0, 0, 1, 1, 1])

    Arguments as in `scipy.ndimage.median_filter`; `output` is a dtype, and `mode` may be one for each axis. NaN counts
    as larger than all numbers. Up to 25 elements are sorted by a network that is compiled. Raises as `minimum_filter`.
    """
    x, offsets, modes = _footprint(input, size, footprint, mode, origin, axes)
    return of_rank(x, offsets, len(offsets) // 2, modes, cval, output)


def rank_filter(
    input: Any,
    rank: int,
    size: Any = None,
    footprint: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: float = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """Element of a rank among those in a box, or a footprint, around every point.

    >>> import gpuarray as ga
    >>> ga.ndimage.rank_filter([2, 8, 0, 4, 1], rank=-2, size=3).compute()
    array([2, 2, 4, 1, 1])

    Arguments as in `scipy.ndimage.rank_filter`; `output` is a dtype. NaN counts as larger than all numbers. Raises
    as `minimum_filter`, and ValueError for a rank that the footprint does not have.
    """
    x, offsets, modes = _footprint(input, size, footprint, mode, origin, axes)
    given = operator.index(rank)
    if not -len(offsets) <= given < len(offsets):
        raise ValueError(f"rank={given} is none of the {len(offsets)} elements of the footprint")
    return of_rank(x, offsets, given % len(offsets), modes, cval, output)


def percentile_filter(
    input: Any,
    percentile: float,
    size: Any = None,
    footprint: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: float = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """Percentile of the elements in a box, or a footprint, around every point: the element at or above it.

    >>> import gpuarray as ga
    >>> ga.ndimage.percentile_filter([2, 8, 0, 4, 1], percentile=50, size=3).compute()
    array([2, 2, 4, 1, 1])

    Arguments as in `scipy.ndimage.percentile_filter`; `output` is a dtype, and a negative percentile counts from 100.
    NaN counts as larger than all numbers. Raises as `minimum_filter`, and ValueError for percentiles out of range.
    """
    x, offsets, modes = _footprint(input, size, footprint, mode, origin, axes)
    given = float(percentile)
    share = given + 100.0 if given < 0 else given
    if not 0 <= share <= 100:
        raise ValueError(f"percentile={percentile!r} must be in [-100, 100]")
    rank = len(offsets) - 1 if share == 100 else int(len(offsets) * share / 100.0)
    return of_rank(x, offsets, rank, modes, cval, output)


def extremum1d(op: str, input: Any, size: Any, axis: Any, output: Any, mode: Any, cval: Any, origin: Any) -> NDArray:
    """The fold of `size` elements along one axis by "minimum", "maximum" or "fmin"."""
    x = image(input)
    at = normalize_axis(axis, x.ndim)
    dtype = output_dtype(output, x.dtype)
    n = size_of(size)
    start = start_of(n, origin)
    modes = modes_of(mode, (at,), x.ndim)
    x, value = constant(x, modes, cval)
    if not x.size:
        return unfiltered(x, dtype)
    if n >= RUNNING:
        from gpuarray.ndimage.local import Running

        depths = tuple((-start, start + n - 1) if a == at else (0, 0) for a in range(x.ndim))
        return near(x, Running(op, at, n, x.dtype.name, depths), dtype, modes, value)
    offsets = [tuple(start + k if a == at else 0 for a in range(x.ndim)) for k in range(n)]
    return swept(x, folded(x.dtype, op, n, dtype), offsets, modes, value)


def extremum(
    op: str, input: Any, size: Any, footprint: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any
) -> NDArray:
    """The fold of the elements in a box, axis by axis, or of those of a footprint."""
    x = image(input)
    dtype = output_dtype(output, x.dtype)
    if footprint is not None:
        covered = np.asarray(footprint, dtype=bool)
        if not covered.all() or covered.ndim != len(ascending_axes(axes, x.ndim)) or not covered.size:
            x, offsets, modes = _footprint(x, size, covered, mode, origin, axes)
            return of_offsets(op, x, offsets, modes, cval, dtype)
        _one_of(size, footprint)
        size = covered.shape
    elif size is None:
        raise ValueError("a filter needs size=, the lengths of a box, or footprint=, an array of booleans")
    along = per_axis(x, size, mode, origin, axes)
    return one_by_one(x, along, dtype, lambda y, a, n, m, o: extremum1d(op, y, n, a, dtype, m, cval, o))


def of_offsets(
    op: str, x: NDArray, offsets: list[Offset], modes: list[Any], cval: Any, dtype: Any, steps: int = 1
) -> NDArray:
    """The fold of the elements at offsets; so many times, where `dtype` is the array's own."""
    x, value = constant(x, modes, cval)
    if not x.size:
        return unfiltered(x, dtype)
    if len(offsets) > MAX_TAPS:
        from gpuarray.ndimage.local import Fold

        for _ in range(steps):
            x = near(x, Fold(op, tuple(offsets), depths_around(offsets, x.ndim)), dtype, modes, value)
        return x
    return swept(x, folded(x.dtype, op, len(offsets), dtype), offsets, modes, value, steps=steps)


def of_rank(x: NDArray, offsets: list[Offset], rank: int, modes: list[Any], cval: Any, output: Any) -> NDArray:
    """The element of a rank among those at offsets."""
    dtype = output_dtype(output, x.dtype)
    if rank in (0, len(offsets) - 1):
        op = "maximum" if rank else "fmin" if x.dtype.kind == "f" else "minimum"
        return of_offsets(op, x, offsets, modes, cval, dtype)
    x, value = constant(x, modes, cval)
    if not x.size:
        return unfiltered(x, dtype)
    if len(offsets) > NETWORK:
        from gpuarray.ndimage.local import Rank

        return near(x, Rank(rank, tuple(offsets), depths_around(offsets, x.ndim)), dtype, modes, value)
    return swept(x, ranked(x.dtype, len(offsets), rank, dtype), offsets, modes, value)


def _footprint(
    input: Any, size: Any, footprint: Any, mode: Any, origin: Any, axes: Any
) -> tuple[NDArray, list[Offset], list[Any]]:
    """The array, the offsets of the elements that a filter covers, and what stands past the ends."""
    x = image(input)
    named = ascending_axes(axes, x.ndim)
    _one_of(size, footprint)
    if footprint is None:
        if size is None:
            raise ValueError("a filter needs size=, the lengths of a box, or footprint=, an array of booleans")
        covered = np.ones([size_of(n) for n in sequence(size, len(named), "size")], dtype=bool)
    else:
        covered = np.asarray(footprint, dtype=bool)
    return x, *covering(x.ndim, covered, mode, origin, axes)


def covering(
    ndim: int, covered: np.ndarray[Any, Any], mode: Any, origin: Any, axes: Any
) -> tuple[list[Offset], list[Any]]:
    """The offsets of the elements that a footprint covers, and what stands past the ends."""
    named = ascending_axes(axes, ndim)
    if covered.ndim != len(named):
        raise ValueError(f"footprint has {covered.ndim} dimensions, and {len(named)} axes are filtered")
    if not covered.any():
        raise ValueError(f"a footprint must cover an element; this one, of shape {covered.shape}, covers none")
    origins = sequence(origin, len(named), "origin")
    starts = [start_of(n, o) for n, o in zip(covered.shape, origins, strict=True)]
    offsets: list[Offset] = []
    for index in np.argwhere(covered):
        offset = [0] * ndim
        for axis, start, i in zip(named, starts, index, strict=True):
            offset[axis] = start + int(i)
        offsets.append(tuple(offset))
    return offsets, modes_of(mode, named, ndim)


def _one_of(size: Any, footprint: Any) -> None:
    if size is not None and footprint is not None:
        raise ValueError("size= and footprint= both say what is covered; pass one")
