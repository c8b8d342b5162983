"""A stencil applied over and over: `iterate`, and the checkpoints from which a killed run goes on."""

from gpuarray.iteration.loop import iterate

__all__ = ["iterate"]
