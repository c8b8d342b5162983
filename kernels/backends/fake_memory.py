"""The memory of a fake device, and its copies: what is asynchronous on a GPU is kept apart here, and checked.

Nothing runs beside the caller. A copy is done at the last moment, when it is waited for: the worst that a GPU may do.
What a GPU would not notice, but spoil data by, is raised, or, where it happens in a finalizer, listed in `hazards`.
"""

from __future__ import annotations

import threading
import weakref
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.kernels.errors import GPUArrayError

Host = np.ndarray[Any, Any]


class FakeOutOfMemoryError(GPUArrayError, MemoryError):
    """The fake device's limit is reached: what CuPy's OutOfMemoryError is on a GPU."""


class NotReadyError(GPUArrayError, RuntimeError):
    """An array is used whose copy is still on its way: on a GPU, a read of whatever was there before."""


class OverwrittenError(GPUArrayError, RuntimeError):
    """What is being copied was changed before the copy was done: on a GPU, a copy of some of both."""


@dataclass
class Counters:
    """What has happened on one device so far."""

    uploads: int = 0
    uploaded_nbytes: int = 0
    downloads: int = 0
    downloaded_nbytes: int = 0
    peer_copies: int = 0
    """Arrays that came from other devices without passing through the host."""
    peer_nbytes: int = 0
    allocations: int = 0
    used_nbytes: int = 0
    peak_nbytes: int = 0
    pinned_nbytes: int = 0
    peak_pinned_nbytes: int = 0


class Memory:
    """Memory with a hard limit, and the clock by which work is done.

    Parameters
    ----------
    limit : bytes
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.counters = Counters()
        self.refused: Collection[int] = ()
        """Numbers of allocations (`Counters.allocations`) that fail, whatever the limit."""
        self.hazards: list[str] = []
        """What would have spoilt data on a GPU."""
        self.lock = threading.RLock()
        self.queued = self._done = 0

    def take(self, nbytes: int) -> None:
        """Count an allocation, or refuse it."""
        with self.lock:
            c = self.counters
            c.allocations += 1
            if c.allocations in self.refused:
                raise FakeOutOfMemoryError(f"{nbytes} bytes asked for, allocation {c.allocations} is to fail")
            if self.limit is not None and c.used_nbytes + nbytes > self.limit:
                raise FakeOutOfMemoryError(f"{nbytes} bytes asked for, {c.used_nbytes} of {self.limit} in use")
            c.used_nbytes += nbytes
            c.peak_nbytes = max(c.peak_nbytes, c.used_nbytes)

    def give(self, nbytes: int, used: list[int]) -> None:
        """Take memory back; `used` is when work last used it, where it is not reused in the order of work."""
        with self.lock:
            self.counters.used_nbytes -= nbytes
            if used and used[0] > self._done:
                self.hazards.append(f"{nbytes} bytes were given back before the work that uses them was waited for")

    def work(self, buffers: Collection[Buffer]) -> None:
        """Queue work that uses some memory."""
        with self.lock:
            self.queued += 1
            for buffer in buffers:
                if buffer.used:
                    buffer.used[0] = self.queued

    def record(self) -> Event:
        return Event(self, self.queued)

    def pinned(self, nbytes: int) -> Host:
        array = np.empty(nbytes, np.uint8)
        with self.lock:
            self.counters.pinned_nbytes += nbytes
            self.counters.peak_pinned_nbytes = max(self.counters.peak_pinned_nbytes, self.counters.pinned_nbytes)
        weakref.finalize(array, self._unpin, nbytes).atexit = False
        return array

    def _unpin(self, nbytes: int) -> None:
        with self.lock:
            self.counters.pinned_nbytes -= nbytes

    def reach(self, time: int) -> None:
        """Work up to a time is done."""
        with self.lock:
            self._done = max(self._done, time)

    def reached(self, time: int) -> bool:
        """Whether somebody has waited for the work up to a time."""
        with self.lock:
            return time <= self._done


class Event:
    """A point in the order of work."""

    def __init__(self, memory: Memory, time: int) -> None:
        self._memory, self._time = memory, time

    def wait(self) -> None:
        self._memory.reach(self._time)


class Buffer:
    """Memory that one or several arrays share; given back when the last of them is gone.

    Parameters
    ----------
    ordered : it is reused in the order of work, so it may be given back while work that uses it is queued
    """

    __slots__ = ("__weakref__", "made", "nbytes", "pending", "used")

    def __init__(self, memory: Memory, nbytes: int, ordered: bool = True) -> None:
        memory.take(nbytes)
        self.nbytes = nbytes
        self.pending = 0
        """Copies to it that were not waited for."""
        self.made = memory.queued if ordered else 0
        """When work last wrote to it."""
        self.used: list[int] = [] if ordered else [0]
        weakref.finalize(self, memory.give, nbytes, self.used).atexit = False


class Copy:
    """A copy under way. Its `array` may be used after `wait`; what is copied must stay as it is until then."""

    def __init__(
        self,
        memory: Memory,
        source: Host,
        target: Host,
        array: Any,
        finish: Callable[[], None],
        after: Event | None = None,
        done: bool = False,
    ) -> None:
        self.array = array
        self._after = after  # work of another device
        self._memory, self._source, self._target, self._finish = memory, source, target, finish
        self._checksum = checksum(source)
        self._event = None if done else memory.record()
        self._under_way = True

    def wait(self) -> Any:
        """Finish the copy and return `array`."""
        if self._after is not None:
            self._after.wait()
        with self._memory.lock:
            if self._under_way:
                self._under_way = False
                if self._event is not None:
                    self._event.wait()
                self._finish()
                if checksum(self._source) != self._checksum:
                    raise OverwrittenError("an array was changed while it was copied; wait for the copy first")
                self._target[...] = self._source
        return self.array

    def __del__(self) -> None:
        if getattr(self, "_under_way", False):
            self._memory.hazards.append(f"nobody waited for a copy of {self._source.nbytes} bytes")


def checksum(array: Host) -> int:
    """A number that tells whether an array was changed."""
    if array.dtype.hasobject:
        return hash(tuple(map(id, array.flat)))
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data) if array.nbytes else 0


def refuse_unlike(source: Any, target: Any) -> None:
    """Refuse copies between arrays that differ in shape or dtype or are not in C order."""
    for what, array in (("source", source), ("target", target)):
        if not array.flags.c_contiguous:
            raise ValueError(f"the {what} of a copy, {array.shape}, is not contiguous in C order; copy it first")
    if source.shape != target.shape or source.dtype != target.dtype:
        raise ValueError(f"{source.shape} {source.dtype} is not copied to {target.shape} {target.dtype}")
