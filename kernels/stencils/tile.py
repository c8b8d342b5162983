"""One tile of a sweep: where its levels lie, and the words that the kernels read.

A tile takes one or several steps over a part of the result. Level 0 is copied into rings of planes along the first
axis, margins added, the levels between lie in rings, and the last one is written to the result; or, for one step, level
0 is read *in place*. Positions are those of `gpuarray.kernels.stencils.boxes`; tables count from the tile's `starts`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.kernels.residency import owner, used_before
from gpuarray.kernels.stencils import code, stream
from gpuarray.kernels.stencils.boxes import Box
from gpuarray.kernels.stencils.margins import elements
from gpuarray.kernels.stencils.program import Edge
from gpuarray.kernels.stencils.rings import Array, Domain, Rings

Placed = tuple[Array, tuple[int, ...]]
"""An array, and the position of its first element."""

STREAMED = 96 << 20
"""Bytes of the array that a result is part of, from which on it is written past the caches, if its memory was used
before (see `gpuarray.kernels.residency`): more than a chunk, which will be read again soon."""
_NEVER = 1 << 60


def passes_caches(result: Array) -> bool:
    """Whether to write a result past the caches."""
    return owner(result).nbytes >= STREAMED and used_before(result)


@dataclass(frozen=True)
class Copy:
    """Planes that a stream copies."""

    words: list[int]
    moves: int
    """The word that moves with the tile: an address in `array`."""
    array: Array


class Tile:
    """A tile ready to run, but for the scalars.

    Parameters
    ----------
    out, steps
        What is computed, and how many steps at once.
    sources
        The fields' arrays at level 0.
    results
        Where the state goes to.
    kernel
        The address of the stencil's kernel.
    rings
        The address of the memory for rings; None to read level 0 in place.
    planes
        How many planes of a level are computed at a time.
    """

    def __init__(
        self,
        domain: Domain,
        out: Box,
        steps: int,
        sources: Sequence[Placed],
        results: Sequence[Placed],
        kernel: int,
        rings: int | None,
        planes: int,
    ) -> None:
        self.domain, self.steps, self.sources = domain, steps, sources
        self.levels, self.images = self._levels(out)
        self.planes, self.ring = planes, self._ring(planes)
        self.wanted = self._wanted()
        """The positions that tables hold."""
        self.starts = tuple(r.start for r in self.wanted)
        self.left, self.streamed = self.ring.left, rings is not None
        self.words = np.zeros((steps, domain.words.size), np.int64)
        self.movable: list[tuple[Array, int, int, Array]] = []
        """Words that are addresses in arrays: where they are, their value, and the array's strides."""
        self.held: list[Array] = []
        """Tables of which the words have only the addresses."""
        self.row_tables: dict[Hashable, list[Array]] = {}
        self._ranges()
        self._results(results)
        self.points = sum(math.prod(map(len, box)) for box in self.levels[1:])
        if rings is None:
            self._in_place()
        else:
            self._rings(rings, kernel, planes)

    def _levels(self, out: Box) -> tuple[list[Box], tuple[bool, ...]]:
        return self.domain.levels(out, self.steps)

    def _wanted(self) -> Box:
        first, second = self.levels[:2]
        return tuple(
            range(min(r.start, s.start - low), max(r.stop, s.stop + high))
            for r, s, low, high in zip(first, second, self.domain.below, self.domain.above, strict=True)
        )

    def _ring(self, planes: int) -> Rings:
        return Rings.of(self.domain, self.levels, self.images, planes)

    def move(self, by: Array, scalars: int, nbytes: int) -> None:
        """Stand this far from where the tile was made, and take the scalars of the steps from rows of so many bytes."""
        self.words[:, self.domain.words.scalars] = scalars + nbytes * np.arange(self.steps)
        for words, at, base, strides in self.movable:
            words[at] = base + int(by @ strides)

    def _moves(self, words: Array, at: int, base: int, array: Array) -> int:
        """Have a word that is an address in an array move with the tile."""
        self.movable.append((words, at, base, np.array(array.strides)))
        return base

    # Ranges

    def _ranges(self) -> None:
        """The ranges of every level; they depend on neither rings nor arrays."""
        words, last = self.domain.words, len(self.starts) - 1
        for row, box in zip(self.words, self.levels[1:], strict=True):
            for a in range(last):
                row[words.box(a) : words.box(a) + 2] = box[a].start - self.starts[a], box[a].stop - self.starts[a]
                low, high = self._computed(a)
                row[words.computed(a) : words.computed(a) + 2] = low - self.starts[a], high - self.starts[a]
            low, high = self._computed(last)
            begin, end = box[last].start, box[last].stop
            low = min(max(begin, low), end)
            ends = np.array([begin, end, low, max(low, min(end, high))]) - self.left
            row[words.row : words.row + 6] = *ends, *ends[2:]
            line = self.domain.line
            if not self.streamed:
                row[words.row + 4 : words.row + 6] = np.array(self._core(last)).clip(*ends[2:])
            elif box is not self.levels[-1]:
                row[words.row + 4 : words.row + 6] = ends[2] // line * line, -(-ends[3] // line) * line

    def _core(self, last: int) -> tuple[int, int]:
        """The points of a row whose taps all lie in it."""
        if self.domain.images[last]:
            return -_NEVER, _NEVER
        low = self.domain.below[last] - self.left
        return low, max(low, self.domain.shape[last] - self.domain.above[last] - self.left)

    def _computed(self, axis: int) -> tuple[int, int]:
        """The positions that do not keep their values."""
        below, above = self.domain.kept[axis]
        return below if below else -_NEVER, self.domain.shape[axis] - above if above else _NEVER

    # Tables

    def _offsets(self, f: int, axis: int, key: Hashable, place: Callable[[Array], Array]) -> int:
        """The address of a table of the byte offsets of what stands at an axis's positions.

        `place` gives the offsets of elements that exist; `key` tells one such function from another.
        """
        wanted, level, n = self.wanted[axis], self.levels[0][axis], self.domain.shape[axis]
        images, edges = self.images[axis], self.domain.edges[f][axis]

        def make() -> Array:
            table = np.zeros(len(wanted), np.int64)
            table[level.start - wanted.start : level.stop - wanted.start] = place(np.arange(*_ends(level)))
            for p in (*range(wanted.start, level.start), *range(level.stop, wanted.stop)) if not images else ():
                (q,) = elements(range(p, p + 1), n, edges, False)
                if q is None:
                    table[p - wanted.start] = code.OUTSIDE + self._constant(f, axis, int(p >= n))
                elif q in level:
                    table[p - wanted.start] = table[q - wanted.start]
            return table

        row = (self.levels[0][-1], self.left, self.ring.pitch)
        return address_of(self.domain.table(("offsets", f, axis, wanted, level, images, row, key), make))

    def _constant(self, f: int, axis: int, side: int) -> int:
        """The address of a row of what stands past an end of an axis."""
        domain, along, last = self.domain, self.levels[0][-1], len(self.starts) - 1
        edges, dtype, before, after = domain.edges[f], domain.stencil.dtype(f), 0, 0
        # in place, the ends of a row are looked up anywhere in it
        if domain.periodic[last] and axis != last and not self.streamed:
            before, after = max(self.left, 0), max(domain.shape[last] - self.left, 0)

        def value(edge: Edge) -> Any:
            return np.asarray(edge.value if edge.mode == "constant" else 0).astype(dtype)

        def make() -> Array:
            row = np.full(1 if axis == last else before + self.ring.pitch + after, value(edges[axis][side]))
            if axis != last and not self.images[last]:  # the last axis stands in the corners
                past = max(domain.shape[last] - self.left, 0)
                for edge, corner in zip(edges[last], (slice(max(-self.left, 0)), slice(past, None)), strict=True):
                    if edge.mode == "constant":
                        row[corner] = value(edge)
            return row

        key = ("row", f, axis, side, along, self.left, self.images[last], self.ring.pitch, self.streamed)
        return address_of(domain.table(key, make)) + before * domain.sizes[f]

    # Arrays

    def _index(self, axis: int, positions: Array, origin: Sequence[int]) -> Array:
        """Where positions are in an array that begins at one of them."""
        if not self.domain.images[axis]:
            positions = positions % self.domain.shape[axis]
        return positions - origin[axis]

    def _results(self, results: Sequence[Placed]) -> None:
        """Where the last level goes."""
        words, row, wanted = self.domain.words, self.words[-1], self.wanted[0]
        for j, (array, origin) in enumerate(results):
            shifts = [a - o for a, o in zip((*self.starts[:-1], self.left), origin, strict=True)]
            base = address_of(array) + sum(s * d for s, d in zip(shifts, array.strides, strict=True))
            size, stride = len(wanted), array.strides[0]
            table = self.domain.table(("result", size, stride), functools.partial(_multiples, size, stride))
            base = self._moves(row, words.output(j), base, array)
            self._output(row, j, base, address_of(table), array.strides[1:-1])
            row[words.output(j) + words.ndim] = 0
        whole = all(p % a.itemsize == 0 for a, _ in results for p in (address_of(a), *a.strides))
        row[words.streamed] = whole and all(passes_caches(a) for a, _ in results)

    def _output(self, row: Array, j: int, base: int, table: int, strides: Sequence[int]) -> None:
        at = self.domain.words.output(j)
        row[at : at + 2] = base, table
        row[at + 2 : at + 2 + len(strides)] = strides

    def _in_place(self) -> None:
        words, row = self.domain.words, self.words[0]
        self.ends = (int(row[0]), int(row[1]))
        """What is to be done, in planes or in steps of the stream."""
        for f in self.domain.read:
            array, origin = self.sources[f]
            base = address_of(array) + (self.left - origin[-1]) * array.itemsize
            row[words.field(f)] = self._moves(row, words.field(f), base, array)
            for a, stride in enumerate(array.strides[:-1]):
                place = lambda p, a=a, s=stride, o=origin: self._index(a, p, o) * s  # noqa: E731
                row[words.field(f) + 1 + a] = self._offsets(f, a, ("array", origin[a], stride), place)
            begin, end = row[words.row + 2 : words.row + 4] + self.left
            low, high = row[words.row + 4 : words.row + 6] + self.left
            for side, (start, stop) in enumerate(((begin, low), (high, end))):
                wanted = range(start - self.domain.below[-1], stop + self.domain.above[-1])
                table = self._row_offsets(f, wanted, origin, array.itemsize) if start < stop else 0
                row[words.field(f) + words.ndim + side] = table - 8 * (wanted.start - self.left)

    def _row_offsets(self, f: int, wanted: range, origin: Sequence[int], size: int) -> int:
        """The address of a table of where the elements at positions of a row stand, from its left end."""
        last, n = len(self.starts) - 1, self.domain.shape[-1]

        def make() -> Array:
            table = (self._index(last, np.arange(*_ends(wanted)), origin) - (self.left - origin[-1])) * size
            for p in wanted if not self.images[last] else ():
                (q,) = elements(range(p, p + 1), n, self.domain.edges[f][last], False)
                value = code.OUTSIDE + self._constant(f, last, int(p >= n)) if q is None else (q - self.left) * size
                table[p - wanted.start] = value
            return table

        key = ("along", f, wanted, self.left, origin[-1], size, self.images[last], self.ring.pitch)
        return address_of(self.domain.table(key, make))

    # Rings

    def _rings(self, address: int, kernel: int, planes: int) -> None:
        domain, ring, words = self.domain, self.ring, self.domain.words
        self.runs = np.zeros((self.steps, stream.LEVEL), np.int64)
        place = -(-address // 64) * 64
        copies: list[Copy] = []
        for f in domain.read:
            state = f < domain.stencil.outputs
            margins = self._margins(f)
            tables = [self._ring_table(f, a) for a in range(len(self.starts) - 1)]
            strides = [s * domain.sizes[f] for s in self._row_strides()]
            held, nbytes = ring.held if state else 1, ring.nbytes(domain, f)
            places = [place + t % held * nbytes for t in range(self.steps)]
            copies += self._copies(f, margins, tables[0], places)
            for t, row in enumerate(self.words):
                row[words.field(f)] = places[t]
                row[words.field(f) + 1 : words.field(f) + words.ndim] = tables
                if state and t:
                    inner = zip(self.starts[1:-1], self.levels[0][1:-1], strides, strict=True)
                    shift = sum((s - r.start) * d for s, r, d in inner)
                    self._output(self.words[t - 1], f, places[t] + shift, tables[0], strides)
                    at = words.output(f) + words.ndim
                    self.words[t - 1, at : at + 2] = len(margins), address_of(margins)
            place += held * nbytes
        for t, box in enumerate(self.levels[1:]):
            along = (box[0].start - self.starts[0], box[0].stop - self.starts[0])
            self.runs[t] = *along, kernel, address_of(self.words) + t * self.words.strides[0]
        self._walk(copies, planes)

    def _copies(self, f: int, margins: Array, table: int, places: Sequence[int]) -> list[Copy]:
        """What the stream copies of a field; `places`: the ring of every level."""
        rows = self.levels[0][0]
        return [self._copied(f, self.sources[f], rows, margins, table, places[0])]

    def _walk(self, copies: Sequence[Copy], planes: int) -> None:
        """How the stream goes."""
        first = self.levels[0][0].start
        self.head = self._head(copies, first, planes, self.steps)
        planes_of = ((t, box[0].stop - first) for t, box in enumerate(self.levels))
        self.ends = 0, max(-(-(n + t * self.ring.lag) // planes) for t, n in planes_of)

    def _head(self, copies: Sequence[Copy], first: int, planes: int, levels: int) -> Array:
        """The words of a stream that begins with a plane of level 0."""
        fields = np.array([c.words for c in copies], np.int64).reshape(-1, stream.FIELD)
        for row, copy in zip(fields, copies, strict=True):
            self._moves(row, copy.moves, int(row[copy.moves]), copy.array)
        self.held.append(fields)
        lists = (len(fields), address_of(fields), levels, address_of(self.runs))
        return np.array([0, 0, planes, self.ring.lag, first - self.starts[0], *lists], np.int64)

    def _row_strides(self) -> list[int]:
        """Elements from row to row along the axes between the first and the last."""
        rows = self.ring.rows
        return [math.prod(rows[a + 1 :]) * self.ring.pitch for a in range(len(rows))]

    def _ring_table(self, f: int, axis: int) -> int:
        """Where planes, or rows, are in a ring."""
        ring, size, first = self.ring, self.domain.sizes[f], self.levels[0][axis].start
        if axis == 0:
            depth = ring.depth if f < self.domain.stencil.outputs else ring.long
            stride = math.prod(ring.rows) * ring.pitch * size
        else:
            depth, stride = _NEVER, self._row_strides()[axis - 1] * size
        return self._offsets(f, axis, ("ring", depth, stride), lambda p: (p - first) % depth * stride)

    def _copied(
        self, f: int, source: Placed, rows: range, margins: Array, table: int, place: int, later: int = 0
    ) -> Copy:
        """Rows of planes that are copied to a ring when the stream is so many planes past them."""
        array, origin = source
        size = self.domain.sizes[f]
        first, stop = rows.start - self.starts[0] + later, rows.stop - self.starts[0] + later
        # nothing past the ends is copied, so only elements that exist are looked up
        key = ("array", origin[0], array.strides[0])
        planes = self._offsets(f, 0, key, lambda p: self._index(0, p, origin) * array.strides[0])
        rows_from, rows_to, runs = self._row_tables(f, array.strides, origin)
        self.held.append(margins)
        words = [
            *(address_of(array), first, stop, planes - 8 * later, table - 8 * later),
            *(len(rows_from), address_of(rows_from), address_of(rows_to), len(runs), address_of(runs)),
            *(size, array.strides[-1], len(margins), address_of(margins), place),
        ]
        return Copy(words, 0, array)

    def _row_tables(self, f: int, strides: tuple[int, ...], origin: Sequence[int]) -> list[Array]:
        """Where the rows of a plane are in an array and in a ring, and the pieces of one."""
        key, level, size = (f, strides[1:], *origin[1:]), self.levels[0], self.domain.sizes[f]
        if key not in self.row_tables:
            rows_from, rows_to = np.zeros(1, np.int64), np.zeros(1, np.int64)
            for a, stride in enumerate(self._row_strides(), 1):
                index = self._index(a, np.arange(*_ends(level[a])), origin) * strides[a]
                rows_from = np.add.outer(rows_from, index).ravel()
                rows_to = np.add.outer(rows_to, np.arange(len(level[a])) * (stride * size)).ravel()
            self.row_tables[key] = [rows_from, rows_to, self._runs(f, strides[-1], origin)]
        return self.row_tables[key]

    def _runs(self, f: int, stride: int, origin: Sequence[int]) -> Array:
        """Pieces of a row that lie one after the other in the field's array: (to, from, elements), in bytes."""
        along, n, size = self.levels[0][-1], self.domain.shape[-1], self.domain.sizes[f]
        cuts = [along.start, along.stop]
        if not self.domain.images[-1]:
            cuts[1:1] = [p for p in range(along.start + 1, along.stop) if p % n == 0]
        found = []
        for low, high in itertools.pairwise(cuts):
            index = int(self._index(-1, np.array(low), origin))
            found.append(((low - self.left) * size, index * stride, high - low))
        return np.array(found, np.int64).reshape(-1, 3)

    def _margins(self, f: int) -> Array:
        """What stands past the ends of a row: (place, from, whether `from` is an address), in bytes."""
        along, n, size, last = self.levels[0][-1], self.domain.shape[-1], self.domain.sizes[f], len(self.starts) - 1
        below, above = self.domain.stencil.radius(f, last)
        wanted = [*range(-below, 0)] if along.start == 0 else []
        wanted += range(n, n + above) if along.stop == n else []
        found = []
        for p in wanted if not self.images[last] else ():
            (q,) = elements(range(p, p + 1), n, self.domain.edges[f][last], False)
            if q is None:
                found.append(((p - self.left) * size, self._constant(f, last, int(p >= n)), 1))
            elif q in along:
                found.append(((p - self.left) * size, (q - self.left) * size, 0))
        return np.array(found, np.int64).reshape(-1, 3)


def address_of(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


def _multiples(count: int, of: int) -> Array:
    return np.arange(count) * of


def _ends(along: range) -> tuple[int, int]:
    return along.start, along.stop
