"""NumPy for arrays that outgrow one GPU."""

from __future__ import annotations

from gpuarray import _origin, config, creation, elementwise, errors, indexing, reductions
from gpuarray._version import __version__
from gpuarray.array import NDArray, asarray
from gpuarray.creation import *  # noqa: F403
from gpuarray.reductions import *  # noqa: F403

globals().update(elementwise.FUNCTIONS)
_origin.check()
