"""Where results go in memory, as `gpuarray.readers` has where sources come from; files are in `gpuarray.storage`."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.cluster.task import StaysHere
from gpuarray.graph.grid import Chunks, Region, as_slices


class ArraySink(StaysHere):
    """A NumPy array that `compute` returns, filled region by region."""

    units: Chunks | None = None
    in_memory = True
    write_nbytes = 0
    """Bytes that one call of `write` allocates for a while."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    @property
    def nbytes(self) -> int:
        return int(self.array.nbytes)

    def target(self, region: Region, backend: Any) -> Any:
        """Memory that a kernel may write a region to directly, where the backend's memory is the host's."""
        return self.array[as_slices(region) or ...] if backend.xp is np else None

    def write(self, region: Region, array: np.ndarray[Any, Any]) -> None:
        self.array[as_slices(region)] = array
