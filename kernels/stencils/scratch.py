"""Bytes that a sweep needs beyond its fields and its result."""

from __future__ import annotations

import math

from gpuarray.kernels.stencils.boxes import Box, boxes
from gpuarray.kernels.stencils.program import Edges, StencilProgram


def scratch_nbytes(stencil: StencilProgram, edges: Edges, domain: tuple[int, ...], out: Box, steps: int) -> int:
    """An upper bound of what `Backend.sweep` allocates for a while, in bytes."""
    box = boxes(stencil, edges, domain, out, steps)[0]
    radius = [max(map(max, (stencil.radius(f, a) for f in range(stencil.fields)))) for a in range(stencil.ndim)]
    padded = math.prod(len(r) + 2 * w for r, w in zip(box, radius, strict=True))
    return 2 * padded * sum(stencil.dtype(f).itemsize for f in range(stencil.fields)) + 4 * 2**20
