"""One tile of a slab that carries rows from the one before: the stream of a tile that goes on where another left off.

The rings are given what was carried of every level, then the stream runs, and what the next slab needs is taken from
the rings. Along a periodic axis the first rows of every level are taken while it runs, and put behind its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gpuarray.kernels.stencils.boxes import Box
from gpuarray.kernels.stencils.rings import Array, Domain, Rings
from gpuarray.kernels.stencils.slabs import Visit
from gpuarray.kernels.stencils.tile import Copy, Placed, Tile, address_of

_ALL = 1 << 40
"""Planes at a time where all are to be copied at once."""


@dataclass(frozen=True)
class Passage:
    """Some steps of a visit, and where its carried rows are."""

    visit: Visit
    start: int
    """The step at which it begins."""
    steps: int
    carried: Sequence[Array] | None
    left: Sequence[Array]

    @property
    def level(self) -> int:
        return self.visit.level + self.start

    def window(self, t: int) -> range:
        return self.visit.window(self.start + t)

    def before(self, t: int) -> range:
        """The rows of a level that the slab before has left."""
        return self.visit.course.carried(self.level + t, self.visit.slab, 1)

    def after(self, t: int) -> range:
        """Those that the next one gets."""
        return self.visit.course.carried(self.level + t, self.visit.slab + 1, 1)

    def images(self, t: int) -> range:
        return self.visit.course.images(self.level + t, self.visit.slab, 1)

    def first(self, t: int) -> range:
        return self.visit.course.first(self.level + t, self.visit.slab, 1)

    def tail(self, arrays: Sequence[Array], j: int, t: int, rows: range) -> Placed:
        """The carried rows of a level in the array of a field; they begin with the first of `rows`."""
        array = self.visit.tail(arrays[j], self.start + t, 1)
        return array, (rows.start, *[0] * (array.ndim - 1))

    def head(self, arrays: Sequence[Array], j: int, t: int, past: bool) -> Placed:
        """The first rows of a level, where they are or `past` the end of the axis."""
        array, course = self.visit.head(arrays[j], self.start + t, 1), self.visit.course
        return array, (course.low(self.level + t) + past * course.n, *[0] * (array.ndim - 1))

    def span(self) -> range:
        """All rows of any level, and of the coefficients."""
        held = [self.window(self.steps)]
        for t in range(self.steps):
            held += [self.window(t), self.before(t), self.images(t)]
        held.append(self.visit.course.reads(self.level, self.steps, self.visit.slab))
        present = [r for r in held if r]
        return range(min(r.start for r in present), max(r.stop for r in present)) if present else range(0)


class SlabTile(Tile):
    """A tile of a passage; parameters as of `Tile`, of which the first axis of `out` does not count."""

    def __init__(
        self,
        domain: Domain,
        out: Box,
        passage: Passage,
        sources: Sequence[Placed],
        results: Sequence[Placed],
        kernel: int,
        rings: int,
        planes: int,
    ) -> None:
        self.passage, self.out = passage, out
        self.early: list[Copy] = []
        self.late: list[Copy] = []
        super().__init__(domain, out, passage.steps, sources, results, kernel, rings, planes)

    def _levels(self, out: Box) -> tuple[list[Box], tuple[bool, ...]]:
        return levels(self.domain, out, self.passage)

    def _wanted(self) -> Box:
        _, *rest = super()._wanted()
        span, low, high = self.passage.span(), self.domain.below[0], self.domain.above[0]
        return range(span.start - low, span.stop + high), *rest

    def _ring(self, planes: int) -> Rings:
        return rings(self.domain, self.levels, self.images, planes, self.passage)

    def _stops(self, planes: int) -> tuple[int, int]:
        """The first and the last position of the stream, in planes of level 0."""
        lag, steps, p = self.ring.lag, self.steps, self.passage
        at = [(p.window(t), t * lag) for t in range(steps + 1)]
        at += [(p.images(t), t * lag) for t in range(steps)]
        present = [(r, later) for r, later in at if r]
        saved = [p.first(t).stop + t * lag + planes for t in range(steps) if p.first(t)]
        if not present:
            return self.levels[0][0].start, self.levels[0][0].start
        first = min(r.start + later for r, later in present)
        return first, max([r.stop + later for r, later in present] + saved)

    def _copies(self, f: int, margins: Array, table: int, places: Sequence[int]) -> list[Copy]:
        p, lag, planes = self.passage, self.ring.lag, self.planes
        begin, _ = self._stops(planes)

        def copied(source: Placed, rows: range, place: int, later: int = 0) -> Copy:
            return self._copied(f, source, rows, margins, table, place, later)

        if f >= self.domain.stencil.outputs:
            rows = p.visit.course.reads(p.level, self.steps, p.visit.slab)
            least = begin - self.steps * lag - p.visit.course.back
            known = range(max(rows.start, least), min(rows.stop, begin))
            self.early.append(copied(self.sources[f], known, places[0]))
            return [copied(self.sources[f], range(max(rows.start, begin), rows.stop), places[0])]
        found = []
        for t in range(self.steps):
            if p.first(t):
                found.append(
                    self._saved(f, p.head(p.left, f, t, False), p.first(t), table, places[t], t * lag + planes)
                )
        found.append(copied(self.sources[f], p.window(0), places[0]))
        for t in range(self.steps):
            if p.carried is not None:
                if p.before(t):
                    self.early.append(copied(p.tail(p.carried, f, t, p.before(t)), p.before(t), places[t]))
                if p.images(t):
                    found.append(copied(p.head(p.carried, f, t, True), p.images(t), places[t], t * lag))
            if p.after(t):
                self.late.append(self._saved(f, p.tail(p.left, f, t, p.after(t)), p.after(t), table, places[t]))
        return found

    def _saved(self, f: int, target: Placed, rows: range, table: int, place: int, later: int = 0) -> Copy:
        """Rows of planes that are copied from a ring, of the points that are this tile's own."""
        array, origin = target
        size = self.domain.sizes[f]
        key = ("array", origin[0], array.strides[0])
        planes = self._offsets(f, 0, key, lambda p: (p - origin[0]) * array.strides[0])
        rows_from, rows_to, runs = self._own_rows(size, array.strides)
        first, stop = rows.start - self.starts[0] + later, rows.stop - self.starts[0] + later
        words = [
            *(place, first, stop, table - 8 * later, planes - 8 * later),
            *(len(rows_from), address_of(rows_from), address_of(rows_to), 1, address_of(runs)),
            *(size, size, 0, 0, address_of(array)),
        ]
        return Copy(words, 14, array)

    def _own_rows(self, size: int, strides: tuple[int, ...]) -> list[Array]:
        """Where the rows of a plane are in a ring and in an array of whole planes, and what is copied of one."""
        found = self.row_tables.get((size, strides[1:]))
        if found is None:
            rows_from, rows_to = np.zeros(1, np.int64), np.zeros(1, np.int64)
            for a, stride in enumerate(self._row_strides(), 1):
                own = np.arange(self.out[a].start, self.out[a].stop)
                rows_from = np.add.outer(rows_from, (own - self.levels[0][a].start) * (stride * size)).ravel()
                rows_to = np.add.outer(rows_to, own * strides[a]).ravel()
            along = self.out[-1]
            runs = np.array([[along.start * size, (along.start - self.left) * size, len(along)]], np.int64)
            found = self.row_tables[size, strides[1:]] = [rows_from, rows_to, runs]
        return found

    def _walk(self, copies: Sequence[Copy], planes: int) -> None:
        first, stop = self._stops(planes)
        self.head = self._head(copies, first, planes, self.steps)
        self.ends = 0, -(-(stop - first) // planes)
        low = self.wanted[0].start
        self.before = self._head(self.early, low, _ALL, 0)
        self.after = self._head(self.late, low, _ALL, 0)
        self.before[1] = self.after[1] = 1


def levels(domain: Domain, out: Box, passage: Passage) -> tuple[list[Box], tuple[bool, ...]]:
    """The box of every level; along the first axis that of level 0 is all rows that there are of any level."""
    found, images = domain.levels(out, passage.steps)
    first = [passage.span(), *(passage.window(t) for t in range(1, passage.steps + 1))]
    return [(rows, *box[1:]) for rows, box in zip(first, found, strict=True)], images


def rings(domain: Domain, boxes: Sequence[Box], images: tuple[bool, ...], planes: int, passage: Passage) -> Rings:
    course, every = passage.visit.course, max(1, len(boxes[0][0]))
    made = Rings.of(domain, boxes, images, planes)
    deep = course.width + planes
    long = course.back + passage.steps * course.ahead + planes
    held = passage.steps if course.width else min(passage.steps, 2)
    return replace(made, lag=course.ahead, held=held, depth=min(deep, every), long=min(long, every))
