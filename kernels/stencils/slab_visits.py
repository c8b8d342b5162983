"""A compiled visit of one slab: as `visits`, with what the slab before has left instead of margins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpuarray.kernels.stencils import stream, visits
from gpuarray.kernels.stencils.boxes import Box
from gpuarray.kernels.stencils.plan import cut
from gpuarray.kernels.stencils.rings import Array, Domain
from gpuarray.kernels.stencils.slab_tile import Passage, SlabTile, levels, rings
from gpuarray.kernels.stencils.slabs import Visit
from gpuarray.kernels.stencils.tile import Placed
from gpuarray.kernels.stencils.visits import Visits


class SlabVisits(Visits):
    """One call of `sweep_slab`."""

    def __init__(self, domain: Domain, scalars: Array, visit: Visit) -> None:
        super().__init__(domain, scalars, boxes(domain, visit))
        self.slab = visit

    def go(
        self,
        fields: Sequence[Placed],
        results: Sequence[Placed],
        carried: Sequence[Array] | None,
        left: Sequence[Array],
    ) -> None:
        """All steps; between two visits of memory the state lies in buffers."""
        stencil, course = self.domain.stencil, self.slab.course
        if course.periodic and carried is not None:
            heads = slice(self.steps * course.width, None)
            for after, before in zip(left, carried, strict=True):
                after[heads] = before[heads]
        current, start = list(fields), 0
        for end in visits.visit_ends(self.steps, self.plan.steps):
            window = self.slab.window(end)
            target = list(results)
            if end < self.steps:
                shape, origin = (len(window), *self.domain.shape[1:]), (window.start, *results[0][1][1:])
                target = [(np.empty(shape, stencil.dtype(j)), origin) for j in range(stencil.outputs)]
            self.passage(Passage(self.slab, start, end - start, carried, left), current, target)
            current, start = [*target, *fields[len(target) :]], end

    def passage(self, passage: Passage, fields: Sequence[Placed], results: Sequence[Placed]) -> None:
        domain, plan, scalars = self.domain, self.plan, self.scalars
        first: dict[object, Box] = {}
        moved = []
        for part in cut(whole(domain, passage.window(passage.steps)), plan.tile):
            kind = tuple(visits.kind(domain, a, r, passage.steps) for a, r in enumerate(part) if a)
            moved.append((part, first.setdefault(kind, part)))
        needed = max(rings_nbytes(domain, part, plan.planes, passage) for part in first.values())
        if needed > self.rings.nbytes:
            self.rings = np.zeros(needed, np.uint8)
        kernel, address = self.kernel.address, self.rings.ctypes.data
        made = {
            part: SlabTile(domain, part, passage, fields, results, kernel, address, plan.planes)
            for part in first.values()
        }
        for part, alike in moved:
            tile = made[alike]
            by = np.array([r.start - s.start for r, s in zip(part, alike, strict=True)])
            tile.move(by, scalars.ctypes.data + passage.start * scalars.strides[0], scalars.strides[0])
            self.stream.call(tile.before.ctypes.data)
            self._run(tile)
            self.stream.call(tile.after.ctypes.data)


def rings_nbytes(domain: Domain, part: Box, planes: int, passage: Passage) -> int:
    found, images = levels(domain, part, passage)
    return rings(domain, found, images, planes, passage).total(domain)


def whole(domain: Domain, rows: range) -> Box:
    return (rows, *map(range, domain.shape[1:]))


def boxes(domain: Domain, visit: Visit) -> list[Box]:
    """What tiles are chosen for, and scratch is counted by."""
    return [whole(domain, range(visit.course.rows))] * (visit.steps + 1)


def scratch_nbytes(domain: Domain, visit: Visit) -> int:
    """A bound of what a visit allocates besides its results and what it carries."""
    course, steps = visit.course, visit.steps
    rows = range(course.rows + (steps + 2) * course.width)  # tables hold the rows of all levels
    copies = steps * len(domain.read) * 3 * 8 * (stream.FIELD + 64)
    return visits.scratch_nbytes(domain, [whole(domain, rows)] * (steps + 1)) + copies
