"""Bytes that a sweep needs beyond its fields and its result."""

from gpuarray.kernels.stencils.interpreter import scratch_nbytes

__all__ = ["scratch_nbytes"]
