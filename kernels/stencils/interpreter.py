"""Stencils run uncompiled: level by level, each level tile by tile with whole-array operations on shifted views.

Written in terms of an array namespace `xp`, so any backend can fall back on it, and the oracle of the compiled sweep.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.kernels.interpreter import TILE, tiles
from gpuarray.kernels.program import Program, remembered
from gpuarray.kernels.stencils.boxes import Box, boxes
from gpuarray.kernels.stencils.margins import Run, extended, reach, runs
from gpuarray.kernels.stencils.program import Edges, StencilProgram, kept_border

Corner = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Level:
    """One step from the level before it: what does not depend on the tile."""

    xp: Any
    stencil: StencilProgram
    edges: Edges
    domain: tuple[int, ...]
    images: tuple[bool, ...]
    """By axis: whether it is extended."""
    fields: Sequence[Any]
    origins: Sequence[Corner]

    def tile(self, box: Box, scalars: Sequence[Any]) -> tuple[Any, ...]:
        """The next values over a box of points."""
        wanted = [reach(self.stencil, f, box) for f in range(self.stencil.fields)]
        tapped = {t.field for t in self.stencil.taps}
        around = {f: self.around(f, wanted[f]) for f in tapped}
        taps, rest = iter(self.stencil.taps), iter(scalars)
        operands = []
        for declared in self.stencil.program.inputs:
            if declared.kind == "scalar":
                operands.append(next(rest))
                continue
            tap = next(taps)
            starts = (r.start + o - w.start for r, o, w in zip(box, tap.offset, wanted[tap.field], strict=True))
            operands.append(around[tap.field][tuple(slice(s, s + len(r)) for s, r in zip(starts, box, strict=True))])
        return self.stencil.program.interpret(self.xp, *operands)

    def around(self, field: int, wanted: Box) -> Any:
        """A field over positions, some of them past its ends: a view where all elements lie as they are wanted."""
        edges, array, origin = self.edges[field], self.fields[field], self.origins[field]
        along = [list(runs(w, n, e, i)) for w, n, e, i in zip(wanted, self.domain, edges, self.images, strict=True)]
        if all(len(axis) == 1 and axis[0].step == 1 and axis[0].outside is None for axis in along):
            return array[tuple(_taken(axis[0], o) for axis, o in zip(along, origin, strict=True))]
        padded = self.xp.empty(tuple(map(len, wanted)), dtype=array.dtype)
        inside = [[run for run in axis if run.outside is None] for axis in along]
        for block in itertools.product(*inside):
            source = tuple(_taken(run, o) for run, o in zip(block, origin, strict=True))
            padded[tuple(slice(run.at, run.at + run.length) for run in block)] = array[source]
        for axis, found in enumerate(along):  # the last axis last: its values stand in the corners
            for run in found:
                if run.outside is not None:
                    where = (*[slice(None)] * axis, slice(run.at, run.at + run.length))
                    padded[where] = self.value(field, axis, run.outside)
        return padded

    def value(self, field: int, axis: int, side: int) -> Any:
        """What stands past an end where no element does; past a fixed one nobody keeps what is computed of it."""
        edge = self.edges[field][axis][side]
        return np.asarray(edge.value if edge.mode == "constant" else 0).astype(self.stencil.dtype(field))[()]

    def keep(self, box: Box, targets: Sequence[Any]) -> None:
        """Put back the points near a fixed edge."""
        for axis, (below, above) in enumerate(kept_border(self.stencil, self.edges, axis=a) for a in range(len(box))):
            along, n = box[axis], self.domain[axis]
            low = range(along.start, min(along.stop, below))
            high = range(max(along.start, n - above), along.stop)
            for width, kept in ((below, low), (above, high)):
                if width and kept:
                    part = (*box[:axis], kept, *box[axis + 1 :])
                    for target, array, origin in zip(targets, self.fields, self.origins, strict=False):
                        start = tuple(r.start for r in box)
                        target[_within(part, start)] = array[_within(part, origin)].astype(target.dtype)


def _taken(run: Run, origin: int) -> slice:
    """The elements of a run; a single one stands for all where the step is 0."""
    first = run.start - origin
    if run.step == 0:
        return slice(first, first + 1)
    last = first + run.step * run.length
    return slice(first, None if last < 0 else last, run.step)


def _within(box: Box, origin: Corner) -> tuple[slice, ...]:
    return tuple(slice(r.start - o, r.stop - o) for r, o in zip(box, origin, strict=True))


def sweep(
    xp: Any,
    stencil: StencilProgram,
    edges: Edges,
    scalars: np.ndarray[Any, Any],
    domain: tuple[int, ...],
    out: Box,
    fields: Sequence[Any],
    origins: Sequence[Corner],
    into: Sequence[Any] | None = None,
) -> tuple[Any, ...]:
    """Apply a stencil step after step (see `Backend.sweep`)."""
    steps = len(scalars)
    levels = boxes(stencil, edges, domain, out, steps)
    check(stencil, levels, fields, origins, into)
    results = tuple(into) if into is not None else new(xp, stencil, out)
    if not all(out):
        return results
    if into is not None and any(xp.may_share_memory(r, f) for r in results for f in fields):
        for target, value in zip(
            results, sweep(xp, stencil, edges, scalars, domain, out, fields, origins), strict=True
        ):
            target[...] = value
        return results
    if not steps:
        for target, array, origin in zip(results, fields, origins, strict=False):
            target[...] = array[_within(out, origin)].astype(target.dtype)
    images = tuple(extended(stencil, edges, a, n, levels[0][a]) for a, n in enumerate(domain))
    current, starts = list(fields), list(origins)
    for step, box in enumerate(levels[1:], 1):
        targets = results if step == steps else new(xp, stencil, box)
        level = _Level(xp, stencil, edges, domain, images, current, starts)
        row = [scalars[name][step - 1] for name in scalars.dtype.names or ()]
        for part in tiles(tuple(map(len, box)), TILE):
            points = tuple(r[s] for r, s in zip(box, part, strict=True))
            for target, value in zip(targets, level.tile(points, row), strict=True):
                target[part] = value
        level.keep(box, targets)
        current[: len(targets)] = targets
        starts[: len(targets)] = [tuple(r.start for r in box)] * len(targets)
    return results


def new(xp: Any, stencil: StencilProgram, box: Box) -> tuple[Any, ...]:
    """Arrays for the state over a box."""
    dtypes = (stencil.program.dtype_of(o) for o in stencil.program.outputs)
    return tuple(xp.empty(tuple(map(len, box)), dtype=d) for d in dtypes)


def check(
    stencil: StencilProgram,
    levels: Sequence[Box],
    fields: Sequence[Any],
    origins: Sequence[Corner],
    into: Sequence[Any] | None,
) -> None:
    """Raise ValueError where a field does not cover level 0, or the arrays to write to do not fit."""
    needed = levels[0]
    for f, (array, origin) in enumerate(zip(fields, origins, strict=True)):
        covered = tuple(range(o, o + n) for o, n in zip(origin, array.shape, strict=True))
        if array.dtype != stencil.dtype(f):
            raise ValueError(f"field {f} has dtype {array.dtype}; the stencil declares {stencil.dtype(f)}")
        if any(r and (r.start < c.start or r.stop > c.stop) for r, c in zip(needed, covered, strict=True)):
            raise ValueError(f"field {f} covers positions {covered}; the sweep reads {needed}")
    shape = tuple(map(len, levels[-1]))
    for target, value in zip(into or (), stencil.program.outputs if into is not None else (), strict=True):
        dtype = stencil.program.dtype_of(value)
        if target.shape != shape or target.dtype != dtype:
            raise ValueError(
                f"into has shape {target.shape} and dtype {target.dtype}; the result has {shape} and {dtype}"
            )


def scratch_nbytes(stencil: StencilProgram, edges: Edges, domain: tuple[int, ...], out: Box, steps: int) -> int:
    """A bound of what `sweep` allocates besides its results: two levels of the state, and the temporaries of a tile."""
    if not steps or not all(out):
        return 0
    levels = boxes(stencil, edges, domain, out, steps)
    state = sum(stencil.program.dtype_of(o).itemsize for o in stencil.program.outputs)
    sizes = [state * math.prod(map(len, box)) for box in levels[1:-1]]
    held = max((a + b for a, b in itertools.pairwise([0, *sizes, 0])), default=0)
    return held + max(_tile_nbytes(stencil, box) for box in set(levels[1:]))


def _tile_nbytes(stencil: StencilProgram, box: Box) -> int:
    """The most that one tile's padded fields and values take."""
    points: list[range] = []
    inner = 1
    for r in reversed(box):  # the first of `tiles`, without making all of them
        points.insert(0, r[: max(1, min(len(r), TILE // inner))])
        inner *= len(points[0])
    tapped = {t.field for t in stencil.taps}
    around = sum(math.prod(map(len, reach(stencil, f, points))) * stencil.dtype(f).itemsize for f in tapped)
    return around + _live_nbytes(stencil.program) * math.prod(map(len, points))


@remembered
def _live_nbytes(program: Program) -> int:
    """The most bytes for one point of the values that `Program.interpret` holds at once."""
    n = len(program.inputs)
    last = {a: k for k, step in enumerate(program.steps) for a in step.args}
    sizes = [np.dtype(step.dtype).itemsize for step in program.steps]
    live = most = 0
    for k, size in enumerate(sizes):
        live += size
        most = max(most, live + 3 * max(size, 8))  # an operation may hold temporaries of its own
        live -= sum(
            sizes[a - n] for a in set(program.steps[k].args) if a >= n and last[a] == k and a not in program.outputs
        )
    return most
