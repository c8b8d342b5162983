"""The places that hold chunks: the memory of a device, the memory of the host, files.

A tier takes and gives chunks of NumPy arrays, so any two can exchange them. What it makes of a chunk, its payload,
is its own affair. `MemoryManager` decides what lies where; a tier only counts and converts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gpuarray.cluster.buffers import as_bytes
from gpuarray.cluster.events import TierState
from gpuarray.cluster.staging import Staging
from gpuarray.cluster.task import Chunk, Key


class Tier:
    """A place with a limit and what is held and reserved there. The base class is the host's memory.

    `aside` are bytes that neither chunks nor tasks can have: the pinned memory of a device's copies.
    """

    name = "host"
    setting = "host_memory"
    """What limits it."""

    def __init__(self, limit: int | None = None, aside: int = 0) -> None:
        self.limit, self.aside = limit, aside
        self.held = self.reserved = self.moved_in = self.moves_in = 0
        self.peak = aside

    def put(self, key: Key, chunk: Chunk) -> Any:
        """Make a payload of a chunk of NumPy arrays."""
        return chunk

    def get(self, key: Key, payload: Any) -> Chunk:
        """The chunk of NumPy arrays that a payload stands for."""
        chunk: Chunk = payload
        return chunk

    def part(self, key: Key, payload: Any, index: tuple[slice, ...]) -> Chunk:
        """A part of every array of a chunk, as NumPy arrays."""
        return tuple(array[index or ...] for array in self.get(key, payload))

    def fill(self, key: Key, payload: Any, index: tuple[slice, ...], out: Chunk) -> None:
        """Copy a part of every array of a chunk, in C order, to memory of one dimension. Raises as `get`."""
        for array, target in zip(self.part(key, payload, index), out, strict=True):
            target.reshape(array.shape)[...] = array

    def drop(self, payload: Any) -> None:
        """Free what a payload takes beyond Python's objects."""

    def short(self, nbytes: int) -> int:
        """How many bytes must go before `nbytes` fit; not positive if they do."""
        return 0 if self.limit is None else self.aside + self.held + self.reserved + nbytes - self.limit

    def count(self, held: int = 0, reserved: int = 0) -> None:
        self.held += held
        self.reserved += reserved
        total = self.aside + self.held + self.reserved
        if total > self.peak:
            self.peak = total

    def state(self) -> TierState:
        return TierState(self.name, self.held, self.reserved, self.limit, self.peak, self.moved_in, self.moves_in)


class HostTier(Tier):
    """The host's memory: a chunk is its own payload."""


class DeviceTier(Tier):
    """The memory of a backend that has its own. Who puts or gets a chunk waits for the copy."""

    setting = "device_memory"

    def __init__(self, staging: Staging, limit: int | None = None, name: str = "device") -> None:
        super().__init__(limit)
        self._staging, self.name = staging, name

    def put(self, key: Key, chunk: Chunk) -> Chunk:
        return tuple(self._staging.upload(array) for array in chunk)

    def put_arrays(
        self, layouts: Iterable[tuple[tuple[int, ...], np.dtype[Any], tuple[int, ...]]], fill: Callable[[Any], None]
    ) -> Chunk:
        """Make a payload of bytes that `fill` reads into pinned memory: of arrays of these shapes, dtypes and orders of
        their axes."""
        chunk = []
        for shape, dtype, axes in layouts:
            dense = tuple(shape[axis] for axis in axes)
            there = self._staging.stream(dense, dtype, lambda index, piece: fill(as_bytes(piece)[0]))
            chunk.append(there.transpose(tuple(map(int, np.argsort(axes)))))
        return tuple(chunk)

    def put_from(self, other: DeviceTier, payload: Chunk) -> Chunk:
        """Make a payload of one of another device."""
        return tuple(self._staging.copy_from(other._staging, array) for array in payload)

    def get(self, key: Key, payload: Chunk) -> Chunk:
        return tuple(self._staging.download(array) for array in payload)

    def part(self, key: Key, payload: Chunk, index: tuple[slice, ...]) -> Chunk:
        return tuple(self._staging.download(array[index or ...]) for array in payload)
