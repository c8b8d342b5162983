"""Bytes that a sweep needs beyond its fields and its result."""

from __future__ import annotations

from gpuarray.kernels.stencils import compiled, interpreter
from gpuarray.kernels.stencils.boxes import Box
from gpuarray.kernels.stencils.program import Edges, StencilProgram


def scratch_nbytes(stencil: StencilProgram, edges: Edges, domain: tuple[int, ...], out: Box, steps: int) -> int:
    """A bound of what `Backend.sweep` allocates on the CPU besides its results, compiled or not.

    It is at most about two copies of the state over what level 0 covers, and a few MiB.
    """
    interpreted = interpreter.scratch_nbytes(stencil, edges, domain, out, steps)
    return max(interpreted, compiled.scratch_nbytes(stencil, edges, domain, out, steps))
