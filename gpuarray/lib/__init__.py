"""What NumPy keeps in `numpy.lib`, where other libraries look for it."""

from __future__ import annotations

from gpuarray.lib import stride_tricks

__all__ = ["stride_tricks"]
