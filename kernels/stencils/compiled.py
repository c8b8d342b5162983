"""Stencil sweeps on the CPU, compiled."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gpuarray.kernels import cache, compile
from gpuarray.kernels.stencils import code, interpreter, slab_visits, stream, visits
from gpuarray.kernels.stencils.boxes import Box, boxes
from gpuarray.kernels.stencils.course import Course
from gpuarray.kernels.stencils.margins import extended
from gpuarray.kernels.stencils.program import Edge, Edges, StencilProgram, Tap, kept_border
from gpuarray.kernels.stencils.rings import Array, Domain
from gpuarray.kernels.stencils.slabs import Visit


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
    stencil, edges = _planar(stencil, edges)
    fixed = any(any(kept_border(stencil, edges, a)) for a in range(stencil.ndim))
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


def _planar(stencil: StencilProgram, edges: Edges) -> tuple[StencilProgram, Edges]:
    """A stencil of one axis as one of two, of which the first has length one."""
    if stencil.ndim > 1:
        return stencil, edges
    ends = (Edge("nearest"), Edge("nearest"))
    return _flat(stencil), tuple((ends, *e) for e in edges)


@functools.lru_cache(1024)
def _flat(stencil: StencilProgram) -> StencilProgram:
    return replace(stencil, taps=tuple(Tap(t.field, (0, *t.offset)) for t in stencil.taps), ndim=2)


def _domain(
    stencil: StencilProgram, edges: Edges, domain: tuple[int, ...], levels: list[Box]
) -> tuple[Domain, list[Box]]:
    """What tiles share, of two axes or more."""
    images = tuple(extended(stencil, edges, a, n, levels[0][a]) for a, n in enumerate(domain))
    if stencil.ndim == 1:
        domain, images, levels = (1, *domain), (False, *images), [(range(1), *box) for box in levels]
    return Domain(*_planar(stencil, edges), domain, images), levels


def scratch_nbytes(stencil: StencilProgram, edges: Edges, domain: tuple[int, ...], out: Box, steps: int) -> int:
    """A bound of what `sweep` allocates besides its results; 0 where it does not apply."""
    if not all(out) or not applies(stencil, edges, steps):
        return 0
    return visits.scratch_nbytes(*_domain(stencil, edges, domain, boxes(stencil, edges, domain, out, steps)))


def redundancy(stencil: StencilProgram, edges: Edges, domain: tuple[int, ...], out: Box, steps: int) -> float:
    """Points that `sweep` computes for each that is asked for, those of levels between included."""
    if not all(out) or not steps:
        return 1.0
    levels = boxes(stencil, edges, domain, out, steps)
    asked = steps * math.prod(map(len, out))
    tiles = 1.0
    if applies(stencil, edges, steps):
        tiles = visits.plan(*_domain(stencil, edges, domain, levels)).updates
    return tiles * sum(math.prod(map(len, box)) for box in levels[1:]) / asked


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
    shared, levels = _domain(stencil, edges, domain, levels)
    start = tuple(r.start for r in out)
    if stencil.ndim == 1:
        placed = [(f[None], (0, *o)) for f, o in zip(fields, origins, strict=True)]
        outputs = [(t[None], (0, *start)) for t in targets]
    else:
        placed, outputs = list(zip(fields, origins, strict=True)), [(t, start) for t in targets]
    visits.Visits(shared, scalars, levels).run(placed, outputs)
    for result, target in zip(results, targets, strict=True):
        if result is not target:
            result[...] = target
    return results


def sweep_slab(
    stencil: StencilProgram,
    edges: Edges,
    scalars: Array,
    domain: tuple[int, ...],
    visit: Visit,
    fields: Sequence[Array],
    first: int,
    carried: Sequence[Array] | None,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """A visit of one slab (see `slabs.advance`), computed once, for which `applies` and `in_slabs` hold."""
    rows, rest = visit.window(visit.steps), domain[1:]
    results = tuple(np.empty((len(rows), *rest), stencil.dtype(j)) for j in range(stencil.outputs))
    left = tuple(np.empty((visit.carried_rows, *rest), stencil.dtype(j)) for j in range(stencil.outputs))
    if all(rest):
        origin = (0,) * len(rest)
        starts = [visit.window(0).start] * stencil.outputs + [first] * (stencil.fields - stencil.outputs)
        placed = [(f, (start, *origin)) for f, start in zip(fields, starts, strict=True)]
        shared = _slab_domain(stencil, edges, domain, visit)
        outputs = [(r, (rows.start, *origin)) for r in results]
        slab_visits.SlabVisits(shared, scalars, visit).go(placed, outputs, carried, left)
    return results, left


def in_slabs(stencil: StencilProgram, edges: Edges) -> bool:
    """Whether slabs go through the compiled sweep as they are."""
    return stencil.ndim > 1 and applies(stencil, edges, 1)


def _slab_domain(stencil: StencilProgram, edges: Edges, domain: tuple[int, ...], visit: Visit) -> Domain:
    return Domain(stencil, edges, domain, (visit.course.periodic, *[False] * (len(domain) - 1)))


def slab_scratch_nbytes(
    stencil: StencilProgram, edges: Edges, domain: tuple[int, ...], course: Course, steps: int
) -> int:
    """A bound of what `sweep_slab` allocates besides what it returns."""
    visit = Visit(course, 0, steps, 0)
    return slab_visits.scratch_nbytes(_slab_domain(stencil, edges, domain, visit), visit)


def _fits(result: Array, fields: Sequence[Array]) -> bool:
    """Whether a sweep can write to an array."""
    if result.strides[-1] != result.itemsize and result.shape[-1] > 1:
        return False
    return not any(np.may_share_memory(result, f) for f in fields)
