"""Integer arithmetic on chunks and regions; no arrays.

Chunks are one `Lengths` per axis. A region is one `range` per axis, always with a positive step: the elements
of an array that somebody needs. Slicing a range is composing views, so regions need no algebra of their own.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, TypeAlias, overload

import numpy as np

Region: TypeAlias = tuple[range, ...]
Shape: TypeAlias = tuple[int, ...]


MANY = 1_000_000
"""Chunks along an axis above which their lengths are not listed one by one."""


class Lengths(Sequence[int]):
    """The lengths of the chunks along one axis; equal ones take no memory, however many there are.

    >>> Lengths.regular(10, 4)
    (4, 4, 2)
    >>> Lengths.of((4, 4, 2)) == Lengths.regular(10, 4)
    True
    """

    __slots__ = ("_count", "_edges", "step", "total")

    def __init__(self, total: int, step: int, edges: tuple[int, ...] | None = None) -> None:
        self.total = total
        self.step = step
        """The length of all chunks but the last, or 0 where they differ."""
        self._edges = edges
        self._count = len(edges) - 1 if edges is not None else max(1, -(-total // step))

    @classmethod
    def regular(cls, total: int, step: int) -> Lengths:
        return cls(total, max(1, min(step, total)))

    @classmethod
    def of(cls, lengths: Iterable[int]) -> Lengths:
        """The canonical form: equal lengths are recognised."""
        if isinstance(lengths, Lengths):
            return lengths
        lengths = tuple(lengths)
        first = lengths[0] if lengths else 0
        if len(lengths) <= 1 or (first and all(n == first for n in lengths[:-1]) and 0 < lengths[-1] <= first):
            return cls.regular(sum(lengths), first)
        return cls(sum(lengths), 0, tuple(accumulate(lengths, initial=0)))

    @classmethod
    def between(cls, edges: Iterable[int]) -> Lengths:
        return cls.of(b - a for a, b in pairwise(edges))

    @classmethod
    def joined(cls, parts: Iterable[Lengths]) -> Lengths:
        """Cuts end to end; so many that listing them would take long are cut evenly instead.

        >>> Lengths.joined([Lengths.regular(4, 2), Lengths.regular(3, 2)])
        (2, 2, 2, 1)
        """
        some = [p for p in parts if p.total]
        if not some:
            return cls.regular(0, 1)
        *before, last = some
        total, step = sum(p.total for p in some), some[0].step
        ends = last.step == step or (len(last) == 1 and last.total <= step)
        if step and ends and all(p.step == step and not p.total % step for p in before):
            return cls.regular(total, step)
        if sum(map(len, some)) > MANY:
            return cls.regular(total, max(p.largest for p in some))
        return cls.of(n for p in some for n in p)

    def edge(self, k: int) -> int:
        """Where chunk `k` begins; ``edge(len(self))`` is the end."""
        if self._edges is not None:
            return self._edges[k]
        return min(k * self.step, self.total)

    def edges(self) -> tuple[int, ...]:
        if self._edges is not None:
            return self._edges
        return (*range(0, self.total or 1, self.step), self.total)

    def span(self, k: int) -> range:
        return range(self.edge(k), self.edge(k + 1))

    def find(self, i: int) -> int:
        """The chunk that holds position `i`."""
        if self._edges is None:
            return min(i // self.step, self._count - 1)
        return min(bisect_right(self._edges, i) - 1, self._count - 1)

    def touched(self, r: range) -> range:
        """The chunks between the first and the last position of `r`."""
        return range(self.find(r[0]), self.find(r[-1]) + 1) if r else range(0)

    @property
    def largest(self) -> int:
        return min(self.step, self.total) if self._edges is None else max(b - a for a, b in pairwise(self._edges))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, k: int) -> int: ...
    @overload
    def __getitem__(self, k: slice) -> tuple[int, ...]: ...
    def __getitem__(self, k: int | slice) -> int | tuple[int, ...]:
        picked = range(self._count)[k]
        if isinstance(picked, range):
            return tuple(self.edge(i + 1) - self.edge(i) for i in picked)
        return self.edge(picked + 1) - self.edge(picked)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Lengths):
            return (self.total, self.step, self._edges) == (other.total, other.step, other._edges)
        if isinstance(other, (tuple, list)):
            return self == Lengths.of(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self.total, self.step, self._edges))

    def __reduce__(self) -> tuple[Any, ...]:
        return Lengths, (self.total, self.step, self._edges)

    def __repr__(self) -> str:
        if self._count <= 8:
            return repr(tuple(self))
        return f"({self[0]}, {self[1]}, {self[2]}, ..., {self[-1]}; {self._count:,} chunks)"


Chunks: TypeAlias = tuple[Lengths, ...]


def shape_of(region: Region) -> Shape:
    return tuple(len(r) for r in region)


def size_of(region: Region) -> int:
    return math.prod(len(r) for r in region)


def nbytes(region: Region, dtype: np.dtype[Any]) -> int:
    return size_of(region) * dtype.itemsize


def whole(shape: Shape) -> Region:
    return tuple(range(n) for n in shape)


def one_chunk(shape: Shape) -> Chunks:
    return tuple(Lengths.regular(n, n) for n in shape)


def as_slices(region: Region) -> tuple[slice, ...]:
    return tuple(slice(r.start, r.stop, r.step) for r in region)


def ascending(r: range) -> range:
    """The same positions with a positive step (1 where there are fewer than two)."""
    if len(r) < 2:
        return range(r[0], r[0] + 1) if r else range(0)
    return r if r.step > 0 else r[::-1]


def covering(r: range) -> range:
    """The smallest contiguous range that holds `r`."""
    return range(r[0], r[-1] + 1) if r else range(0)


def compose(outer: range, inner: range) -> range:
    """The positions that ``outer[inner]`` stands for: a slice of a slice."""
    if not inner:
        return range(0)
    start, step = outer[inner[0]], outer.step * inner.step
    return range(start, start + len(inner) * step, step)


def within(r: range, base: range) -> slice:
    """Where the elements of `r` are inside an array that holds `base`; every element of `r` is in `base`."""
    if not r:
        return slice(0, 0)
    first = (r[0] - base.start) // base.step
    step = max(1, r.step // base.step)
    return slice(first, first + (len(r) - 1) * step + 1, step)


def count(chunks: Chunks) -> int:
    return math.prod(len(c) for c in chunks)


def region_at(chunks: Chunks, number: int) -> Region:
    """The region of chunk `number`, counted in C order."""
    return tuple(c.span(k) for c, k in zip(chunks, index_at(chunks, number), strict=True))


def index_at(chunks: Chunks, number: int) -> tuple[int, ...]:
    index = []
    for c in reversed(chunks):
        number, k = divmod(number, len(c))
        index.append(k)
    return tuple(reversed(index))


def number_of(chunks: Chunks, index: Sequence[int]) -> int:
    number = 0
    for c, k in zip(chunks, index, strict=True):
        number = number * len(c) + k
    return number


def touching(chunks: Chunks, region: Region) -> Iterator[tuple[int, tuple[slice, ...], tuple[slice, ...]]]:
    """Yield (chunk number, slices in the chunk, slices in the region) for every chunk a region has elements in."""
    if not all(region):  # of many arrays end to end, most are not touched at all
        return
    parts: list[tuple[int, list[slice], list[slice]]] = [(0, [], [])]
    for lengths, r in zip(chunks, region, strict=True):
        n = len(lengths)
        touched = lengths.touched(r)
        if len(touched) == 1:
            start = lengths.edge(touched[0])
            along = [(touched[0], slice(r.start - start, r[-1] - start + 1, r.step), slice(0, len(r)))]
        else:
            along = [(k, *_overlap(lengths.span(k), r)) for k in touched]
        parts = [
            (number * n + k, [*inside, a], [*at, b])
            for number, inside, at in parts
            for k, a, b in along
            if a.start < a.stop
        ]
    for number, inside, at in parts:
        yield number, tuple(inside), tuple(at)


def _overlap(span: range, r: range) -> tuple[slice, slice]:
    """The part of `r` that lies in `span`: as a slice of the chunk and as a slice of the region."""
    lo = max(0, -(-(span.start - r.start) // r.step))
    hi = min(len(r), -(-(span.stop - r.start) // r.step))
    if hi <= lo:
        return slice(0, 0), slice(0, 0)
    part = r[lo:hi]
    return slice(part[0] - span.start, part[-1] - span.start + 1, r.step), slice(lo, hi)
