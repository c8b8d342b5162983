"""Sorting, ranking and searching: rows that fit a task in one step, longer ones by an external sort."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray, install
from gpuarray.axes import normalize_axis
from gpuarray.elementwise import cast
from gpuarray.graph.blocks import MapBlocks
from gpuarray.graph.grid import Lengths
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.graph.sorting import Sort
from gpuarray.graph.stencil import Part
from gpuarray.manipulation import flip, ravel

LONGEST = 2**22
"""Elements along an axis that one task of `topk` goes through."""
KINDS = {"quicksort": None, "heapsort": None, "mergesort": "stable", "stable": "stable", None: None}


def _kind(kind: Any, order: Any, stable: Any) -> str | None:
    """NumPy's name of how to sort; every sort here that makes no promise is the quickest."""
    if order is not None:
        raise ValueError("order= names fields of records, and arrays of records are not supported")
    if kind is not None and stable is not None:
        raise ValueError("kind= and stable= say the same; pass one")
    name = str(kind).lower() if isinstance(kind, str) else kind
    matches = [k for k in KINDS if k is not None and isinstance(name, str) and k.startswith(name[:1]) and name]
    if kind is not None and not matches:
        raise ValueError(f'kind={kind!r} is no kind of sort; write "quicksort", "heapsort", "mergesort" or "stable"')
    return "stable" if stable else KINDS[matches[0]] if kind is not None else None


def sort(
    a: Any,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: bool | None = None,
    descending: bool = False,
) -> NDArray:
    """A sorted copy along an axis, or of all elements where `axis` is None; NaN is last.

    >>> import gpuarray as ga
    >>> ga.sort(ga.asarray([3, 1, 2])).compute()
    array([1, 2, 3])

    Arguments as in `numpy.sort`; `descending` is the array API standard's. Rows that fit a task are sorted in one
    pass. Longer ones are sorted externally, in two passes over the data within the memory limit, whatever the values
    are. Unless the sort is to be stable, -0.0 comes before 0.0 in float32 and float64, and every NaN has the same bits.
    Raises AxisError out of range.
    """
    how = _kind(kind, order, stable)
    x, at = _along(a, axis, "sort")
    made = _sorted(x, at, how)
    return flip(made, axis=at) if descending else made


def _along(a: Any, axis: int | None, what: str) -> tuple[NDArray, int]:
    """The array and axis that `axis` asks for."""
    x = asarray(a)
    if axis is None:
        return ravel(x), 0
    if not x.ndim:
        raise np.exceptions.AxisError(operator.index(axis), 0, f"{what} takes an array with dimensions")
    return x, normalize_axis(axis, x.ndim)


def _sorted(x: NDArray, axis: int, kind: str | None, what: str = "values") -> NDArray:
    made: Node = Sort(axis, what, kind, x.node)
    return NDArray(made)


def argsort(
    a: Any,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: bool | None = None,
    descending: bool = False,
) -> NDArray:
    """The positions that sort an array along an axis; equal elements keep their order.

    >>> import gpuarray as ga
    >>> ga.argsort(ga.asarray([30, 10, 20, 10])).compute()
    array([1, 3, 2, 0])

    Arguments as in `numpy.argsort`; the sort is stable, whatever `kind` says. External as in `sort`, with the positions
    beside the values. Raises AxisError out of range.
    """
    _kind(kind, order, stable)
    if not np.ndim(a) and axis in (-1, 0):  # NumPy's one exception
        a = ravel(a)
    x, at = _along(a, axis, "argsort")
    if not descending:
        return _sorted(x, at, "stable", "positions")
    return (x.shape[at] - 1) - flip(_sorted(flip(x, axis=at), at, "stable", "positions"), axis=at)


def sort_with_positions(x: NDArray, axis: int = -1) -> tuple[NDArray, NDArray]:
    """Sorted values and the positions they had, in one sort; equal elements keep their order."""
    at = normalize_axis(axis, x.ndim)
    both: Node = Sort(at, "both", "stable", x.node)
    return NDArray(Part(0, both)), NDArray(Part(1, both))


def sort_complex(a: Any) -> NDArray:
    """A sorted copy along the last axis, as complex numbers: by real part, then by imaginary part.

    >>> import gpuarray as ga
    >>> ga.sort_complex([3, 1 + 2j, 1]).compute()
    array([1.+0.j, 1.+2.j, 3.+0.j])
    """
    x = sort(a)
    if x.dtype.kind == "c":
        return x
    small = x.dtype.char in "bhBH"
    return NDArray(cast(x.node, np.dtype(np.complex64 if small else np.complex128)))


def row_routine(
    function: Any,
    keywords: tuple[tuple[str, Any], ...],
    x: NDArray,
    axis: int,
    length: int,
    dtype: Any,
    label: str,
    *others: Node,
    scratch: float = 2.0,
) -> NDArray:
    """``function(xp, rows, *others)`` along one axis, which has `length` elements in the result; others are whole."""
    chunks = (*x.chunks[:axis], Lengths.regular(length, length), *x.chunks[axis + 1 :])
    along = tuple(None if a == axis else a for a in range(x.ndim))
    traits = Traits(label, whole=(axis,), scratch=scratch, cost=32)
    wholes = tuple((None,) * o.ndim for o in others)
    made: Node = Routine(function, keywords, np.dtype(dtype), chunks, (along, *wholes), traits, x.node, *others)
    return NDArray(made)


def _positions(kth: Any, n: int) -> tuple[int, ...]:
    """The places that a partition puts right, not negative."""
    given = np.asarray(kth)
    if given.dtype.kind not in "iu" and given.size:
        raise TypeError(f"partition index must be an integer or several, got dtype {given.dtype}")
    places = tuple(int(k) for k in np.atleast_1d(given).ravel())
    for k in places:
        if not -n <= k < n:
            raise ValueError(f"kth={k} is out of bounds for an axis of length {n}; it must lie in [{-n}, {n - 1}]")
    return tuple(sorted({k % n for k in places})) if n else ()


def partition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None) -> NDArray:
    """A copy with the element that is sorted to place `kth` there, smaller ones before it and larger ones behind.

    >>> import gpuarray as ga
    >>> int(ga.partition(ga.asarray([5, 1, 4, 2, 3]), 2)[2])
    3

    Arguments as in `numpy.partition`. The other elements come in order, as `sort` has them: so they are the same
    however the array is cut. Raises ValueError for a `kth` out of bounds, AxisError for the axis.
    """
    x, at = _partitioned(a, kth, axis, kind, order)
    return _sorted(x, at, None)


def argpartition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None) -> NDArray:
    """The positions of what `partition` gives.

    >>> import gpuarray as ga
    >>> int(ga.argpartition(ga.asarray([5, 1, 4, 2, 3]), 2)[2])
    4

    Arguments as in `numpy.argpartition`.
    """
    x, at = _partitioned(a, kth, axis, kind, order)
    return _sorted(x, at, "stable", "positions")


def _partitioned(a: Any, kth: Any, axis: int | None, kind: str, order: Any) -> tuple[NDArray, int]:
    if kind != "introselect":
        raise ValueError(f'kind={kind!r} is no kind of partition; write "introselect"')
    _kind(None, order, None)
    x, at = _along(a, axis, "partition")
    _positions(kth, x.shape[at])
    return x, at


def _method_sort(
    self: NDArray, axis: int = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None
) -> None:
    """Stand for a sorted copy; see `gpuarray.sort`."""
    self.stand_for(sort(self, axis, kind, order, stable=stable).node)


def _method_partition(self: NDArray, kth: Any, axis: int = -1, kind: str = "introselect", order: Any = None) -> None:
    """Stand for a partitioned copy; see `gpuarray.partition`."""
    self.stand_for(partition(self, kth, axis, kind, order).node)


def topk(a: Any, k: int, axis: int = -1, *, largest: bool = True) -> NDArray:
    """The `k` largest (or smallest) elements along an axis, the most extreme first; NaN counts as largest.

    >>> import gpuarray as ga
    >>> ga.topk([3, 1, 4, 1, 5], 2).compute()
    array([5, 4])

    Parameters
    ----------
    a : array
    k : how many, at most the length of the axis
    axis : along which
    largest : False for the smallest

    The chunks along the axis are each reduced to `k` elements in one pass over the data, and those sorted. Raises
    ValueError for a `k` out of range, AxisError for the axis.
    """
    x, at = _along(a, axis, "topk")
    n, count = x.shape[at], operator.index(k)
    if not 0 <= count <= n:
        raise ValueError(f"k={k} is out of range for an axis of length {n}; it must lie in [0, {n}]")
    cut = tuple(Lengths.regular(m, min(c.largest, LONGEST)) for m, c in zip(x.shape, x.chunks, strict=True))
    lengths = cut[at]
    if count and len(lengths) > 1 and 4 * count * len(lengths) <= n:
        least = Lengths.of(min(count, m) for m in lengths)
        keywords = (("k", count), ("axis", at), ("largest", bool(largest)))
        chunks = (*cut[:at], least, *cut[at + 1 :])
        x = NDArray(MapBlocks(_extremes, keywords, False, x.dtype, chunks, (cut,), x.node))
    made = sort(x, axis=at)
    if largest:
        made = flip(made, axis=at)
    return made[(*(slice(None),) * at, slice(0, count))]


def _extremes(rows: Any, k: int, axis: int, largest: bool) -> Any:
    """The k largest or smallest of each row, in no order; all of rows that have fewer."""
    n = rows.shape[axis]
    if n <= k:
        return rows.copy()
    at: list[Any] = [slice(None)] * rows.ndim
    at[axis] = slice(n - k, n) if largest else slice(0, k)
    return np.partition(rows, n - k if largest else k - 1, axis=axis)[tuple(at)]


def lexsort(keys: Any, axis: int = -1) -> NDArray:
    """The positions that sort by several keys, the last one first.

    >>> import gpuarray as ga
    >>> ga.lexsort(([9, 4, 0, 4], [1, 5, 1, 4])).compute()
    array([2, 0, 3, 1])

    Arguments as in `numpy.lexsort`. Keys along an axis that a task does not hold are put side by side, in a number that
    is sorted externally; of more than 106 bits, the first ones are replaced by their ranks, with two sorts more. Raises
    ValueError for keys of different shapes.
    """
    from gpuarray.joining import stack

    if isinstance(keys, (list, tuple)):
        if not keys:
            raise TypeError("lexsort needs at least one key")
        made = [asarray(k) for k in keys]
    else:
        whole = asarray(keys)
        made = [whole[i] for i in range(len(whole))] if whole.ndim else []
        if not made:
            raise TypeError("lexsort needs a sequence of keys")
    first = made[0]
    for k in made:
        if k.shape != first.shape:
            raise ValueError(f"all keys must have the same shape, got {first.shape} and {k.shape}")
    if not first.ndim:
        return asarray(np.zeros((), np.int64))
    at = normalize_axis(axis, first.ndim)
    from gpuarray.rearranging import lexical, room

    if 3 * first.shape[at] * (8 + sum(k.dtype.itemsize for k in made)) > room() // 4:
        return argsort(lexical([k.rechunk(first.chunks) for k in reversed(made)], at), axis=at)
    if len({k.dtype for k in made}) == 1:
        x = stack(made, axis=0)
        along: list[tuple[int | None, ...]] = [(None, *(None if a == at else a for a in range(first.ndim)))]
        nodes = [x.node]
    else:
        along = [tuple(None if a == at else a for a in range(first.ndim)) for _ in made]
        nodes = [k.node for k in made]
    n = first.shape[at]
    chunks = (*first.chunks[:at], Lengths.regular(n, n), *first.chunks[at + 1 :])
    traits = Traits("lexsort", whole=(at,), scratch=2, cost=64)
    node: Node = Routine(_lexsort, (("axis", at),), np.dtype(np.int64), chunks, tuple(along), traits, *nodes)
    return NDArray(node)


def _lexsort(xp: Any, *keys: Any, axis: int) -> Any:
    rows = keys[0] if len(keys) == 1 and keys[0].ndim > 1 else None
    several = [rows[i] for i in range(len(rows))] if rows is not None else list(keys)
    order = None
    for key in several:
        if order is None:
            order = xp.argsort(key, axis=axis, kind="stable")
        else:
            again = xp.argsort(xp.take_along_axis(key, order, axis), axis=axis, kind="stable")
            order = xp.take_along_axis(order, again, axis)
    return order


install("sort", _method_sort)
install("partition", _method_partition)
install("argsort", argsort)
install("argpartition", argpartition)
