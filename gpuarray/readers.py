"""Where sources read from (see `gpuarray.graph.leaves.Reader`); files are in `gpuarray.storage`."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import numpy as np

from gpuarray.cluster.parts import BLOCK
from gpuarray.cluster.task import Key
from gpuarray.graph.grid import Region, as_slices, shape_of, size_of, touching
from gpuarray.graph.leaves import Stored


class ArrayReader:
    """A NumPy array in memory, read as views."""

    name = "array"
    in_memory = True

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        return self.array[as_slices(region) or ...]

    def read_nbytes(self, region: Region) -> int:
        return 0

    def disk_nbytes(self, region: Region) -> int:
        return 0


class DeviceReader:
    """An array of CuPy, read as views: a backend of its device takes them as they are, others copy them."""

    name = "array on a GPU"
    in_memory = False
    on_device = True
    stays_here = True
    """Other processes cannot read it."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def read(self, region: Region) -> Any:
        return self.array[as_slices(region) or ...]

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            f"an array of shape {self.array.shape} on a GPU cannot be pickled with the graph; pickle .compute() of it"
        )

    def read_nbytes(self, region: Region) -> int:
        return size_of(region) * int(self.array.dtype.itemsize)

    def disk_nbytes(self, region: Region) -> int:
        return 0


def read_kept(chunks: Any, leaf: Stored, region: Region, backend: Any) -> Any:
    """A region of what an earlier run has left, as an array of the backend."""
    touched = list(touching(leaf.chunks, region))
    with backend.active():
        if len(touched) == 1:
            number, inside, _ = touched[0]
            whole = chunks[leaf.stage, leaf.output, number][0]
            return whole if whole.shape == shape_of(region) else whole[inside or ...]
        room = getattr(chunks, "room", lambda nbytes: nullcontext())
        with room(size_of(region) * leaf.dtype.itemsize):
            out = backend.empty(shape_of(region), leaf.dtype)
            for number, inside, at in touched:
                out[at] = chunks[leaf.stage, leaf.output, number][0][inside or ...]
                backend.record().wait()  # the chunk may go
            return out


class KeptReader:
    """Chunks that an earlier run left in its executor's memory: what `persist` returns reads from here."""

    name = "persisted"
    in_memory = False
    on_device = True
    """Where tasks compute on one, unless it was spilled."""
    stays_here = True
    """Other processes cannot read it."""

    def __init__(self, chunks: Any, leaf: Stored) -> None:
        self.chunks, self.leaf = chunks, leaf
        self.lent: Any = None
        """The array whose memory another library was told of."""

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        leaf = self.leaf
        touched = list(touching(leaf.chunks, region))
        if len(touched) == 1:
            number, inside, _ = touched[0]
            part: np.ndarray[Any, Any] = self.chunks.on_host((leaf.stage, leaf.output, number), inside)[0]
            return part
        out = np.empty(shape_of(region), leaf.dtype)
        for number, inside, at in touched:
            out[at] = self.chunks.on_host((leaf.stage, leaf.output, number), inside)[0]
        return out

    def resident(self, region: Region, memory: Any) -> dict[Key, Any] | None:
        """Holds on the chunks that a region touches, if all of them are where the tasks of `memory` compute."""
        hold = getattr(self.chunks, "hold", None)
        if hold is None:
            return None
        found: dict[Key, Any] = {}
        for number, _, _ in touching(self.leaf.chunks, region):
            key: Key = (self.leaf.stage, self.leaf.output, number)
            found[key] = hold(key, memory)
            if found[key] is None:
                return None
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            f"a persisted array of shape {self.leaf.shape} cannot be pickled: its chunks live in this process's memory "
            "and spill files; pickle .compute() of it, or write it with .to_zarr() and pickle what from_zarr returns"
        )

    def read_nbytes(self, region: Region) -> int:
        """The region, and one chunk that may have to be fetched for it, or the part that is read of a spilled one."""
        item = self.leaf.dtype.itemsize
        chunk = math.prod(c.largest for c in self.leaf.chunks) * item
        if len(region) == 1 and getattr(self.chunks, "in_parts", False):
            (r,) = region
            chunk = min(chunk, (abs(r[-1] - r[0]) + 1) * item + 2 * BLOCK) if r else 0
        return size_of(region) * item + chunk

    def disk_nbytes(self, region: Region) -> int:
        return size_of(region) * self.leaf.dtype.itemsize
