"""Stencil sweeps on the CPU, compiled: visits of memory that do several steps each, tile by tile in the cache."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gpuarray.kernels import cache, compile
from gpuarray.kernels.stencils import code, interpreter, stream
from gpuarray.kernels.stencils.boxes import Box, boxes
from gpuarray.kernels.stencils.margins import extended
from gpuarray.kernels.stencils.plan import Costs, Plan, cache_nbytes, choose, cut
from gpuarray.kernels.stencils.program import Edge, Edges, StencilProgram, Tap
from gpuarray.kernels.stencils.tile import Array, Domain, Placed, Rings, Tile

_CALL = 3e7
"""Points that are computed by one call into a kernel, at most: then Ctrl-C is noticed."""


@functools.lru_cache(1024)
def supported(stencil: StencilProgram) -> bool:
    """Whether a stencil can be compiled: its program can, and its fields have the dtypes of numbers."""
    dtypes = [stencil.dtype(f) for f in range(stencil.fields)]
    inputs = [i for i in stencil.program.inputs if i.kind == "array"]
    if any(stencil.dtype(t.field) != np.dtype(i.dtype) for t, i in zip(stencil.taps, inputs, strict=True)):
        return False
    known = all(d.kind in "biufc" and d.isnative and d != np.float16 and d.itemsize <= 16 for d in dtypes)
    return known and not any(d.char in "gG" for d in dtypes) and compile.supported(stencil.program)


def ready(stencil: StencilProgram, edges: Edges) -> bool:
    """Whether `sweep` would compile nothing."""
    if not supported(stencil):
        return False
    stencil, edges, _, _ = _planar(stencil, edges, (1,) * stencil.ndim, ())
    fixed = any(e.mode == "fixed" for field in edges for axis in field for e in axis)
    return cache.ready(stream.SOURCE) and cache.ready(code.source(stencil, fixed))


def applies(stencil: StencilProgram, edges: Edges, steps: int) -> bool:
    """Whether a sweep runs compiled; where axes are periodic for some fields only, it is interpreted."""
    if not steps or not supported(stencil):
        return False
    for axis in range(stencil.ndim):
        reading = [f for f in range(stencil.fields) if any(stencil.radius(f, axis))]
        if len({edges[f][axis][0].mode == "periodic" for f in reading}) > 1:
            return False
    fixed = any(e.mode == "fixed" for field in edges for axis in field for e in axis)
    same = all(stencil.program.dtype_of(o) == stencil.dtype(j) for j, o in enumerate(stencil.program.outputs))
    return same or not fixed


def _planar(
    stencil: StencilProgram, edges: Edges, domain: tuple[int, ...], out: Box
) -> tuple[StencilProgram, Edges, tuple[int, ...], Box]:
    """A stencil of one axis as one of two, the first of length one."""
    if stencil.ndim > 1:
        return stencil, edges, domain, out
    ends = (Edge("nearest"), Edge("nearest"))
    return _flat(stencil), tuple((ends, *e) for e in edges), (1, *domain), (range(1), *out)


@functools.lru_cache(1024)
def _flat(stencil: StencilProgram) -> StencilProgram:
    return replace(stencil, taps=tuple(Tap(t.field, (0, *t.offset)) for t in stencil.taps), ndim=2)


def sweep(
    stencil: StencilProgram,
    edges: Edges,
    scalars: Array,
    domain: tuple[int, ...],
    out: Box,
    fields: Sequence[Array],
    origins: Sequence[tuple[int, ...]],
    into: Sequence[Array] | None = None,
) -> tuple[Array, ...]:
    """Apply a stencil step after step (see `Backend.sweep`), for which `applies` holds.

    An array of `into` whose last axis does not run on in memory is computed elsewhere first.
    """
    steps = len(scalars)
    levels = boxes(stencil, edges, domain, out, steps)
    interpreter.check(stencil, levels, fields, origins, into)
    results = tuple(into) if into is not None else interpreter.new(np, stencil, out)
    if not all(out):
        return results
    targets = [r if _fits(r, fields) else np.empty(r.shape, r.dtype) for r in results]
    images = tuple(extended(stencil, edges, a, n, levels[0][a]) for a, n in enumerate(domain))
    if stencil.ndim == 1:
        stencil, edges, domain, out = _planar(stencil, edges, domain, out)
        levels, images = [(range(1), *box) for box in levels], (False, *images)
        fields, origins = [f[None] for f in fields], [(0, *o) for o in origins]
        outputs = [(t[None], tuple(r.start for r in out)) for t in targets]
    else:
        outputs = [(t, tuple(r.start for r in out)) for t in targets]
    placed = list(zip(fields, origins, strict=True))
    _Sweep(Domain(stencil, edges, domain, images), scalars, levels).run(placed, outputs)
    for result, target in zip(results, targets, strict=True):
        if result is not target:
            result[...] = target
    return results


def _fits(result: Array, fields: Sequence[Array]) -> bool:
    """Whether a sweep can write to an array."""
    if result.strides[-1] != result.itemsize and result.shape[-1] > 1:
        return False
    return not any(np.may_share_memory(result, f) for f in fields)


class _Sweep:
    """One call: its visits, and the memory they share."""

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
        self.tiles: dict[Any, list[Tile]] = {}

    def run(self, fields: Sequence[Placed], results: Sequence[Placed]) -> None:
        """All visits; between two of them the state lies in one of two buffers, or in the result."""
        ends = visit_ends(self.steps, self.plan.steps)
        alike = self.levels[ends[0]] == self.levels[-1]
        buffers: list[list[Placed]] = []
        current, at = list(fields), 0
        for number, end in enumerate(ends):
            left = len(ends) - 1 - number
            if left == 0 or (alike and left % 2 == 0):
                targets = list(results)
            else:
                if len(buffers) < (1 if alike else 2):
                    buffers.append([self._buffer(j, self.levels[end]) for j in range(len(results))])
                place = buffers[number % len(buffers)]
                targets = [(_part(a, self.levels[end]), _starts(self.levels[end])) for a, _ in place]
            self.visit(current, targets, at, end)
            current[: len(targets)] = targets
            at = end

    def _buffer(self, j: int, box: Box) -> Placed:
        return np.empty(tuple(map(len, box)), self.domain.stencil.dtype(j)), _starts(box)

    def visit(self, fields: Sequence[Placed], results: Sequence[Placed], start: int, end: int) -> None:
        """Take the fields from one level to another."""
        box, scalars = self.levels[end], self.scalars
        key = (box, end - start, *((a.__array_interface__["data"][0], a.strides, o) for a, o in (*fields, *results)))
        if key not in self.tiles:
            if len(self.tiles) > 2:
                self.tiles.clear()
                self.domain.tables.clear()
            made = list(self._tiles(fields, results, box, end - start))
            self.tiles[key] = made
        for tile in self.tiles[key]:
            tile.set_scalars(scalars.ctypes.data + start * scalars.strides[0], scalars.strides[0])
            self._run(tile)

    def _tiles(self, fields: Sequence[Placed], results: Sequence[Placed], box: Box, steps: int) -> Iterator[Tile]:
        found, planes = list(parts(self.domain, self.plan, box, steps, fields)), self.plan.planes
        needed = max((rings_nbytes(self.domain, p, steps, planes) for p, in_place in found if not in_place), default=0)
        if needed > self.rings.nbytes:
            self.tiles.clear()
            self.rings = np.zeros(needed, np.uint8)  # what is computed too much must not be slow, as denormals are
        for part, in_place in found:
            rings = None if in_place else self.rings.ctypes.data
            yield Tile(self.domain, part, steps, fields, results, self.kernel.address, rings, planes)

    def _run(self, tile: Tile) -> None:
        """In as many calls as it takes for Python to be heard in between."""
        points = tile.points * max(1.0, self.domain.stencil.program.cost / 10)
        head = tile.head if tile.streamed else tile.words[0]
        kernel = (self.stream if tile.streamed else self.kernel).call
        address, (start, stop) = head.ctypes.data, tile.ends
        each = max(1, int((stop - start) * min(1.0, _CALL / points)))
        for first in range(start, stop, each):
            head[:2] = first, min(first + each, stop)
            kernel(address)


def _starts(box: Box) -> tuple[int, ...]:
    return tuple(r.start for r in box)


def _part(buffer: Array, box: Box) -> Array:
    """An array over a box at the beginning of a buffer."""
    shape = tuple(map(len, box))
    return buffer.reshape(-1)[: int(np.prod(shape, dtype=np.int64))].reshape(shape)


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
    return choose(costs(domain, levels[-1]), len(levels) - 1, cache_nbytes() * 3 // 4)


def visit_ends(steps: int, most: int) -> list[int]:
    """The levels at which visits of nearly as many steps each end."""
    visits = -(-steps // most)
    return [steps * (v + 1) // visits for v in range(visits)]


def rings_nbytes(domain: Domain, part: Box, steps: int, planes: int) -> int:
    levels, images = domain.levels(part, steps)
    return Rings.of(domain, levels, images, planes).total(domain, steps)


def parts(domain: Domain, plan: Plan, box: Box, steps: int, fields: Sequence[Placed]) -> Iterator[tuple[Box, bool]]:
    """The tiles of a visit, and whether each is read in place."""
    short = domain.shape[-1] <= domain.below[-1] + domain.above[-1]
    apart = any(fields[f][0].strides[-1] != domain.sizes[f] for f in domain.read)
    yield from ((part, steps == 1 and not short and not apart) for part in cut(box, plan.tile))
