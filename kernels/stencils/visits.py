"""The visits of a compiled sweep: each takes the state some steps further, tile by tile; and the memory they take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.kernels import cache
from gpuarray.kernels.stencils import code, stream
from gpuarray.kernels.stencils.boxes import Box
from gpuarray.kernels.stencils.plan import Costs, Plan, cache_nbytes, choose, cut
from gpuarray.kernels.stencils.rings import Array, Domain, Rings
from gpuarray.kernels.stencils.tile import Placed, Tile

_CALL = 3e7
"""Points that are computed by one call into a kernel, at most: then Ctrl-C is noticed."""
_KEPT = 6
"""Visits of which the tiles are kept: from one buffer to the other and back, and those of one step less."""
_TILE_NBYTES = 16_384
"""What Python and its tables hold of a tile, at most, besides what grows with its lengths."""


@dataclass(frozen=True)
class _Place:
    """Where a visit reads from or writes to: the arrays, and what tells them from others of this sweep."""

    arrays: Sequence[Placed]
    number: int


class Visits:
    """One call of `sweep`: its visits, and the memory they share."""

    def __init__(self, domain: Domain, scalars: Array, levels: Sequence[Box]) -> None:
        self.domain, self.levels, self.steps = domain, levels, len(levels) - 1
        self.kernel = cache.load(code.source(domain.stencil, domain.fixed))
        self.stream = cache.load(stream.SOURCE)
        self.plan = plan(domain, levels)
        names = scalars.dtype.names or ()
        self.scalars = np.zeros((self.steps, len(names), 2))
        for k, name in enumerate(names):
            self.scalars[:, k].view(scalars.dtype[name])[:, 0] = scalars[name]
        self.rings = np.empty(0, np.uint8)
        self.tiles: dict[Any, list[tuple[Tile, Array]]] = {}

    def run(self, fields: Sequence[Placed], results: Sequence[Placed]) -> None:
        """All visits; between two of them the state lies in one of two buffers, or in the result."""
        ends = visit_ends(self.steps, self.plan.steps)
        alike = self.levels[ends[0]] == self.levels[-1]
        places = [_Place(results, 0)] if alike else []
        for box in buffer_boxes(self.levels, ends):
            places.append(_Place([self._buffer(j, box) for j in range(len(results))], len(places) + 1))
        current, at = _Place(fields, -1), 0
        for left, end in zip(range(len(ends) - 1, -1, -1), ends, strict=True):
            target = places[left % len(places)] if left else _Place(results, 0)
            if not alike and left:
                box = self.levels[end]
                target = _Place([(_part(a, box), _starts(box)) for a, _ in target.arrays], target.number)
            self.visit(current, target, at, end)
            state = target.arrays
            current, at = _Place([*state, *fields[len(state) :]], target.number), end

    def _buffer(self, j: int, box: Box) -> Placed:
        return np.empty(tuple(map(len, box)), self.domain.stencil.dtype(j)), _starts(box)

    def visit(self, source: _Place, target: _Place, start: int, end: int) -> None:
        """Take the fields from one level to another."""
        box, scalars = self.levels[end], self.scalars
        key = (source.number, target.number, self.levels[start], box, end - start)
        tiles = self.tiles.get(key)
        if tiles is None:
            if len(self.tiles) >= _KEPT:
                self.tiles.clear()
                self.domain.tables.clear()
            tiles = list(self._tiles(source.arrays, target.arrays, box, end - start))
            self.tiles[key] = tiles
        for tile, by in tiles:
            tile.move(by, scalars.ctypes.data + start * scalars.strides[0], scalars.strides[0])
            self._run(tile)

    def _tiles(
        self, fields: Sequence[Placed], results: Sequence[Placed], box: Box, steps: int
    ) -> Iterator[tuple[Tile, Array]]:
        """The tiles, and by how far each is moved: those that touch no edge are one, at several places."""
        domain, planes = self.domain, self.plan.planes
        in_place = reads_in_place(domain, steps, fields)
        first: dict[Any, Box] = {}
        moved = []
        for part in cut(box, self.plan.tile):
            alike = first.setdefault(tuple(kind(domain, a, r, steps) for a, r in enumerate(part)), part)
            moved.append((alike, np.array([r.start - s.start for r, s in zip(part, alike, strict=True)])))
        needed = 0 if in_place else max(rings_nbytes(domain, part, steps, planes) for part in first.values())
        if needed > self.rings.nbytes:
            self.tiles.clear()
            self.rings = np.zeros(needed, np.uint8)  # what is computed too much must not be slow, as denormals are
        rings = None if in_place else self.rings.ctypes.data
        kernel = self.kernel.address
        made = {part: Tile(domain, part, steps, fields, results, kernel, rings, planes) for part in first.values()}
        return ((made[alike], by) for alike, by in moved)

    def _run(self, tile: Tile) -> None:
        """In as many calls as it takes for Python to be heard in between."""
        points = tile.points * max(1.0, self.domain.stencil.program.cost / 10)
        head = tile.head if tile.streamed else tile.words[0]
        kernel = (self.stream if tile.streamed else self.kernel).call
        address, (start, stop) = head.ctypes.data, tile.ends
        each = max(1, int((stop - start) * min(1.0, _CALL / max(points, 1))))
        for first in range(start, stop, each):
            head[:2] = first, min(first + each, stop)
            kernel(address)


def _starts(box: Box) -> tuple[int, ...]:
    return tuple(r.start for r in box)


def _part(buffer: Array, box: Box) -> Array:
    """An array over a box at the beginning of a buffer."""
    shape = tuple(map(len, box))
    return buffer.reshape(-1)[: math.prod(shape)].reshape(shape)


def kind(domain: Domain, axis: int, part: range, steps: int) -> object:
    """What tiles that differ in their place alone have in common along an axis."""
    far = (steps + 1) * (domain.below[axis] + domain.above[axis])
    inside = part.start - far >= 0 and part.stop + far <= domain.shape[axis]
    return len(part) if axis and (inside or domain.images[axis]) else part


def reads_in_place(domain: Domain, steps: int, fields: Sequence[Placed]) -> bool:
    """Whether a visit of one step reads its fields where they are."""
    short = domain.shape[-1] <= domain.below[-1] + domain.above[-1]
    return steps == 1 and not short and all(fields[f][0].strides[-1] == domain.sizes[f] for f in domain.read)


def costs(domain: Domain, box: Box) -> Costs:
    """What the plan for a box depends on."""
    s = domain.stencil
    return Costs(
        tuple(map(len, box)),
        tuple(b + a for b, a in zip(domain.below, domain.above, strict=True)),
        tuple(p and (a == 0 or i) for a, (p, i) in enumerate(zip(domain.periodic, domain.images, strict=True))),
        sum(domain.sizes[: s.outputs]),
        sum(domain.sizes[f] for f in domain.read if f >= s.outputs),
        sum(domain.sizes[t.field] for t in s.taps),
        s.program.cost,
    )


def plan(domain: Domain, levels: Sequence[Box]) -> Plan:
    # measured: rows like to find room beside the rings, planes leave none in any case
    share = 1 / 2 if domain.stencil.ndim == 2 else 7 / 8
    if not domain.below[0] + domain.above[0]:
        share = 1 / 8  # two rings take turns, and are read in order
    return choose(costs(domain, levels[-1]), len(levels) - 1, int(cache_nbytes() * share), domain.line)


def visit_ends(steps: int, most: int) -> list[int]:
    """The levels at which visits end: those of one step more first, for tiles are kept from visit to visit."""
    visits = -(-steps // most)
    each, more = divmod(steps, visits)
    return [each * (v + 1) + min(v + 1, more) for v in range(visits)]


def buffer_boxes(levels: Sequence[Box], ends: Sequence[int]) -> list[Box]:
    """The largest boxes that the buffers between visits hold; the result itself is one where it has the right shape.

    Visits use them in turn, so that the last but one writes to the second where there are two, or a result and one.
    """
    if len(ends) == 1:
        return []
    if levels[ends[0]] == levels[-1] or len(ends) == 2:
        return [levels[ends[0]]]
    first, second = levels[ends[0]], levels[ends[1]]
    return [first, second] if len(ends) % 2 else [second, first]


def rings_nbytes(domain: Domain, part: Box, steps: int, planes: int) -> int:
    levels, images = domain.levels(part, steps)
    return Rings.of(domain, levels, images, planes).total(domain)


def scratch_nbytes(domain: Domain, levels: Sequence[Box]) -> int:
    """A bound of what a sweep allocates besides its results: buffers between visits, rings, and tables."""
    stencil, chosen, steps = domain.stencil, plan(domain, levels), len(levels) - 1
    ends = visit_ends(steps, chosen.steps)
    state = sum(domain.sizes[: stencil.outputs])
    total = sum(state * math.prod(map(len, box)) for box in buffer_boxes(levels, ends))
    far = [2 * (chosen.steps + 1) * max(b, a) for b, a in zip(domain.below, domain.above, strict=True)]
    lengths = [len(levels[ends[0]][0]), *chosen.tile]
    reach = max(domain.below[0], domain.above[0])
    cells = math.prod(n + d for n, d in zip(lengths[1:-1], far[1:-1], strict=True))
    cells *= lengths[-1] + far[-1] + domain.below[-1] + domain.above[-1] + 5 * domain.line
    for f in domain.read:
        count = 1 if f >= stencil.outputs else chosen.steps if reach else 2
        deep = 2 * reach + chosen.planes if f < stencil.outputs else (chosen.steps + 1) * reach + chosen.planes
        total += count * (min(max(deep, 1), lengths[0] + far[0]) * cells * domain.sizes[f] + 1024)
    return total + _KEPT * _tables_nbytes(domain, levels, chosen, far) + 16 * steps * (1 + len(stencil.program.inputs))


def _tables_nbytes(domain: Domain, levels: Sequence[Box], chosen: Plan, far: Sequence[int]) -> int:
    """The tables of the tiles of a visit: most tiles are one, at several places."""
    stencil, last = domain.stencil, len(far) - 1
    counts = (-(-len(r) // n) for r, n in zip(levels[0][1:], chosen.tile, strict=True))
    tiles = math.prod(min(c, 3 + far[a] // n) for a, (c, n) in enumerate(zip(counts, chosen.tile, strict=True), 1))
    along = [n + d for n, d in zip(chosen.tile[:-1], far[1:last], strict=True)]
    each = 2 * math.prod(along) + 2 * sum(along) + 8 * (far[last] + 8)
    offsets = 3 * (len(levels[0][0]) + 2 * far[0]) + tiles * each
    ends = [edge.mode for edges in domain.edges for axis in edges[:last] for edge in axis]
    rows = tiles * sum(mode in ("constant", "fixed") for mode in ends)
    longest = domain.shape[last] * domain.periodic[last] + chosen.tile[-1] + far[last] + 6 * domain.line
    tables = 8 * stencil.fields * offsets + rows * longest * max(domain.sizes)
    return tables + tiles * (_TILE_NBYTES + 512 * chosen.steps)
