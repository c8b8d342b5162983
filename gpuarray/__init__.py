"""NumPy for arrays that outgrow one GPU."""

from __future__ import annotations

from gpuarray import _origin, config, errors
from gpuarray._version import __version__

__all__ = ["__version__", "config", "errors"]

_origin.check()
