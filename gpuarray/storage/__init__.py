"""Files and stores: .npy, zarr and HDF5, read and written chunk by chunk."""

from __future__ import annotations

from gpuarray.array import install
from gpuarray.storage.npy import from_npy, to_npy
from gpuarray.storage.zarr import from_zarr, to_zarr

for _function in (to_npy, to_zarr):
    install(_function.__name__, _function)

__all__ = ["from_npy", "from_zarr", "to_npy", "to_zarr"]
