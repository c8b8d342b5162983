"""Distinct elements, and arrays as sets. How many there are is counted at once, because shapes depend on it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import normalize_axis
from gpuarray.elementwise import apply
from gpuarray.joining import concatenate
from gpuarray.manipulation import ravel, reshape
from gpuarray.numeric import diff
from gpuarray.searching import isin, searchsorted
from gpuarray.several import persist
from gpuarray.sorting import sort, sort_with_positions

SMALL = 2**18
"""Bytes up to which an array is computed and handed to NumPy."""


class UniqueAllResult(NamedTuple):
    """What `unique_all` gives."""

    values: NDArray
    indices: NDArray
    inverse_indices: NDArray
    counts: NDArray


class UniqueCountsResult(NamedTuple):
    """What `unique_counts` gives."""

    values: NDArray
    counts: NDArray


class UniqueInverseResult(NamedTuple):
    """What `unique_inverse` gives."""

    values: NDArray
    inverse_indices: NDArray


def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """The distinct elements, sorted; on request where each is first, which each element is, and how often it occurs.

    >>> import gpuarray as ga
    >>> values, counts = ga.unique([3, 1, 3, 3], return_counts=True)
    >>> values.compute(), counts.compute()
    (array([1, 3]), array([1, 3]))

    Arguments as in `numpy.unique`. The array is sorted (see `sort`), externally if it must be, and kept for as long as
    the results are; tasks that compute the inverse hold the distinct elements whole. With `axis`, an array of more than
    a quarter of the memory limit has its slices ranked, many of them by two external sorts for each of their elements.
    Raises AxisError out of range, MemoryLimitError for slices that are both many and long.
    """
    x = asarray(ar)
    wanted = (return_index, return_inverse, return_counts)
    if axis is not None:
        from gpuarray.rearranging import room
        from gpuarray.unique_rows import unique_rows

        at = normalize_axis(axis, x.ndim)
        if x.dtype.kind in "biufc" and 4 * x.nbytes > room() and x.size:
            rows = unique_rows(x, at, *wanted)
            return tuple(rows) if len(rows) > 1 else rows[0]
    if axis is not None or x.nbytes <= SMALL:
        numpy: Any = np.unique
        made = numpy(x.compute(), *wanted, axis=axis, equal_nan=equal_nan)
        return tuple(asarray(m) for m in made) if isinstance(made, tuple) else asarray(made)
    flat = ravel(x)
    if return_index:
        values, positions = persist(*sort_with_positions(flat))
    else:
        values = sort(flat).persist()
    first = _changes(values, equal_nan)
    distinct = values[first]
    results = [distinct]
    if return_index:
        results.append(positions[first])
    if return_inverse:
        results.append(_inverse(x, distinct, equal_nan))
    if return_counts:
        from gpuarray.gathering import flatnonzero

        results.append(diff(flatnonzero(first), append=np.array([flat.size])))
    return tuple(results) if len(results) > 1 else distinct


def _changes(values: NDArray, equal_nan: bool) -> NDArray:
    """Where sorted values differ from the one before."""
    later, before = values[1:], values[:-1]
    differ = later != before
    if equal_nan and values.dtype.kind in "fc":
        differ = differ & ~(apply("isnan", later) & apply("isnan", before))
    return concatenate([np.ones(min(1, values.size), bool), differ])


def _inverse(x: NDArray, distinct: NDArray, equal_nan: bool) -> NDArray:
    found = searchsorted(distinct, x)
    if x.dtype.kind not in "fc":
        return found
    if not equal_nan:
        from gpuarray.cumulative import cumsum

        absent = apply("isnan", x)
        number = reshape(cumsum(ravel(absent)), x.shape) - 1  # every NaN is an element of its own, in order
        return apply("where", absent, found + number, found)
    return apply("minimum", found, np.int64(distinct.size - 1))


def unique_values(x: Any, /) -> NDArray:
    """The distinct elements, sorted; every NaN is one.

    >>> import gpuarray as ga
    >>> ga.unique_values([2, 1, 2]).compute()
    array([1, 2])
    """
    made: NDArray = unique(x, equal_nan=False)
    return made


def unique_counts(x: Any, /) -> UniqueCountsResult:
    """The distinct elements and how often each occurs; every NaN is one.

    >>> import gpuarray as ga
    >>> ga.unique_counts([2, 1, 2]).counts.compute()
    array([1, 2])
    """
    return UniqueCountsResult(*unique(x, return_counts=True, equal_nan=False))


def unique_inverse(x: Any, /) -> UniqueInverseResult:
    """The distinct elements, and for each element which one it is; every NaN is one.

    >>> import gpuarray as ga
    >>> ga.unique_inverse([2, 1, 2]).inverse_indices.compute()
    array([1, 0, 1])
    """
    return UniqueInverseResult(*unique(x, return_inverse=True, equal_nan=False))


def unique_all(x: Any, /) -> UniqueAllResult:
    """The distinct elements, where each is first, which one each element is, and how often it occurs; every NaN is one.

    >>> import gpuarray as ga
    >>> ga.unique_all([2, 1, 2]).indices.compute()
    array([1, 0])
    """
    return UniqueAllResult(*unique(x, True, True, True, equal_nan=False))


def union1d(ar1: Any, ar2: Any) -> NDArray:
    """The elements of either array, sorted, each once.

    >>> import gpuarray as ga
    >>> ga.union1d([1, 3], [2, 3]).compute()
    array([1, 2, 3])
    """
    made: NDArray = unique(concatenate([ravel(ar1), ravel(ar2)]))
    return made


def intersect1d(ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False) -> Any:
    """The elements of both arrays, sorted, each once; on request where they are in each.

    >>> import gpuarray as ga
    >>> ga.intersect1d([1, 3, 4], [3, 1, 2]).compute()
    array([1, 3])

    Arguments as in `numpy.intersect1d`.
    """
    x, y = ravel(ar1), ravel(ar2)
    found: list[NDArray] = []
    if not assume_unique:
        if return_indices:
            (x, in_x), (y, in_y) = unique(x, return_index=True), unique(y, return_index=True)
            found = [in_x, in_y]
        else:
            x, y = unique(x), unique(y)
    both = concatenate([x, y])
    if not return_indices:
        values = sort(both)
        return values[:-1][values[1:] == values[:-1]]
    values, order = sort_with_positions(both)
    same = values[1:] == values[:-1]
    common, first, second = values[:-1][same], order[:-1][same], order[1:][same] - x.size
    if found:
        return common, found[0][first], found[1][second]
    return common, first, second


def setxor1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> NDArray:
    """The elements of exactly one of two arrays, sorted, each once.

    >>> import gpuarray as ga
    >>> ga.setxor1d([1, 2, 3], [3, 4]).compute()
    array([1, 2, 4])

    Arguments as in `numpy.setxor1d`.
    """
    x, y = (ravel(a) if assume_unique else unique(a) for a in (ar1, ar2))
    values = sort(concatenate([x, y]))
    if not values.size:
        return values
    ends = np.ones(1, bool)
    flags = concatenate([ends, values[1:] != values[:-1], ends])
    return values[flags[1:] & flags[:-1]]


def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> NDArray:
    """The elements of one array that are not in another, sorted, each once.

    >>> import gpuarray as ga
    >>> ga.setdiff1d([1, 2, 3, 2], [3, 4]).compute()
    array([1, 2])

    Arguments as in `numpy.setdiff1d`.
    """
    x = ravel(ar1) if assume_unique else unique(ar1)
    return x[isin(x, ar2, invert=True)]


__all__ = [
    "UniqueAllResult",
    "UniqueCountsResult",
    "UniqueInverseResult",
    "intersect1d",
    "setdiff1d",
    "setxor1d",
    "union1d",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]
