"""Where sources read from (see `gpuarray.graph.leaves.Reader`); files are in `gpuarray.storage`."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.graph.grid import Region, as_slices


class ArrayReader:
    """A NumPy array in memory, read as views."""

    name = "array"
    in_memory = True

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        return self.array[as_slices(region)]

    def read_nbytes(self, region: Region) -> int:
        return 0

    def disk_nbytes(self, region: Region) -> int:
        return 0
