"""Files and stores: .npy, zarr and HDF5, read and written chunk by chunk."""

from __future__ import annotations

from gpuarray.array import install
from gpuarray.storage.common import Pending
from gpuarray.storage.hdf5 import from_hdf5, to_hdf5
from gpuarray.storage.npy import from_npy, to_npy
from gpuarray.storage.store import store
from gpuarray.storage.zarr import from_zarr, to_zarr

for _function in (to_npy, to_zarr, to_hdf5):
    install(_function.__name__, _function)

__all__ = [
    "Pending",
    "from_hdf5",
    "from_npy",
    "from_zarr",
    "store",
    "to_hdf5",
    "to_npy",
    "to_zarr",
]
