"""Bytes that a sweep needs beyond its fields and its result, and the work it does.

What computes sweeps is imported when the first is planned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuarray.kernels.stencils.boxes import Box, boxes
from gpuarray.kernels.stencils.program import Edges, StencilProgram

if TYPE_CHECKING:
    from gpuarray.kernels.stencils.course import Course

_known: dict[Any, tuple[StencilProgram, Edges, int]] = {}
"""By identity, for to hash a program takes longer; what is held keeps its identity."""


def scratch_nbytes(stencil: StencilProgram, edges: Edges, domain: tuple[int, ...], out: Box, steps: int) -> int:
    """A bound of what `Backend.sweep` allocates on the CPU besides its results, compiled or not.

    It is at most about two copies of the state over what level 0 covers, and a few MiB. Fields may lie in memory in
    any way; arrays to write to whose last axis does not run on in memory take as much again as themselves.
    """
    needed = boxes(stencil, edges, domain, out, steps)[0]
    # parts that lie alike to the edges take the same
    around = ((len(o), o.start - r.start, r.stop - o.stop, r.start == 0) for r, o in zip(needed, out, strict=True))
    ends = tuple(r.stop == n for r, n in zip(needed, domain, strict=True))
    key = (id(stencil), id(edges), domain, steps, tuple(around), ends)
    found = _known.get(key)
    if found is None:
        if len(_known) >= 4096:
            _known.clear()
        from gpuarray.kernels.stencils import compiled, interpreter

        given = (stencil, edges, domain, out, steps)
        nbytes = max(interpreter.scratch_nbytes(*given), compiled.scratch_nbytes(*given))
        found = _known[key] = (stencil, edges, nbytes)
    return found[2]


def in_slabs(stencil: StencilProgram, edges: Edges) -> bool:
    """Whether there is a compiled sweep of slabs that computes nothing twice."""
    from gpuarray.kernels.stencils import compiled

    return compiled.in_slabs(stencil, edges)


def slab_scratch_nbytes(
    stencil: StencilProgram, edges: Edges, domain: tuple[int, ...], course: Course, steps: int
) -> int:
    """The same of a compiled visit of a slab, besides what it returns; 0 where there is none."""
    if not in_slabs(stencil, edges):
        return 0
    from gpuarray.kernels.stencils import compiled

    return compiled.slab_scratch_nbytes(stencil, edges, domain, course, steps)


def redundancy(stencil: StencilProgram, edges: Edges, domain: tuple[int, ...], out: Box, steps: int) -> float:
    """Points that a compiled sweep computes for each that is asked for, levels between and edges of tiles included.

    >>> from gpuarray.kernels.program import Builder
    >>> from gpuarray.kernels.stencils.program import Edge, Tap
    >>> b = Builder()
    >>> left, right = b.input("array", "float64"), b.input("array", "float64")
    >>> taps = (Tap(0, (0, -1)), Tap(0, (0, 1)))
    >>> stencil = StencilProgram(b.build(b.step("add", left, right)), taps, ("float64",), 2)
    >>> edges = (((Edge("nearest"), Edge("nearest")),) * 2,)
    >>> redundancy(stencil, edges, (100, 100), (range(100), range(100)), 8)
    1.0
    """
    from gpuarray.kernels.stencils import compiled

    return compiled.redundancy(stencil, edges, domain, out, steps)
