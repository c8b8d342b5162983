"""Views with other strides, under NumPy's name for the module."""

from __future__ import annotations

from gpuarray.windows import sliding_window_view

__all__ = ["sliding_window_view"]
