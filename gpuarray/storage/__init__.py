"""Files and stores: .npy, zarr and HDF5, read and written chunk by chunk."""

from __future__ import annotations

from gpuarray.array import install
from gpuarray.storage.npy import from_npy, to_npy

for _function in (to_npy,):
    install(_function.__name__, _function)

__all__ = ["from_npy", "to_npy"]
