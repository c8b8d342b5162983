"""Copies between the host and a device beside its work, on two streams of their own, and between two devices.

They are asynchronous from and to pinned memory. Other memory of the host the driver takes through pinned memory of its
own, and the caller waits for it: what is large comes by way of `gpuarray.cluster.staging`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

Host = np.ndarray[Any, Any]


class Event:
    """A point in the order of a stream."""

    def __init__(self, event: Any) -> None:
        self._event = event

    def wait(self) -> None:
        """Return when all that was queued before it is done; the processor is free meanwhile."""
        self._event.synchronize()


class Copy:
    """A copy under way; `array` is where it goes."""

    def __init__(self, array: Any, finish: Callable[[], None]) -> None:
        self.array = array
        self._finish: Callable[[], None] | None = finish
        self._lock = threading.Lock()

    def wait(self) -> Any:
        """Return `array` when the copy is done."""
        with self._lock:
            if self._finish is not None:
                finish, self._finish = self._finish, None
                finish()
        return self.array


class Pinned:
    """Host memory that a device can copy from and to by itself."""

    def __init__(self, cupy: Any) -> None:
        self._cuda = cupy.cuda

    def new(self, nbytes: int) -> Host:
        """Bytes of pinned memory, freed with the array; CuPy's own pool would keep them.

        Raises MemoryError where the system grants no more.
        """
        if not nbytes:
            return np.empty(0, np.uint8)
        try:
            memory = self._cuda.PinnedMemory(nbytes)
        except self._cuda.runtime.CUDARuntimeError as error:
            raise MemoryError(
                f"the system grants no {nbytes} bytes of pinned memory ({error}); lower host_memory, or raise the "
                "limit on locked memory (ulimit -l)"
            ) from None
        return np.frombuffer(self._cuda.PinnedMemoryPointer(memory, 0), np.uint8, nbytes)

    def holds(self, array: Host) -> bool:
        """Whether an array, which is contiguous, lies in pinned memory, ours or anybody's."""
        runtime = self._cuda.runtime
        try:
            return bool(runtime.pointerGetAttributes(array.ctypes.data).type == runtime.memoryTypeHost)
        except runtime.CUDARuntimeError:
            return False


class Copier:
    """Copies between the host and one device. Methods are called with the device current; what they return is not.

    Parameters
    ----------
    cupy : the module
    work : the stream of the device's work
    number : of the device
    """

    def __init__(self, cupy: Any, work: Any, number: int) -> None:
        self._cupy, self._work, self._number = cupy, work, number
        self.into = cupy.cuda.Stream(non_blocking=True)
        """The stream of copies to the device."""
        self.out_of = cupy.cuda.Stream(non_blocking=True)
        """The stream of copies from it."""
        self.pinned = Pinned(cupy)
        self._seen: dict[int, bool] = {}

    def event(self, stream: Any) -> Any:
        """An event recorded on a stream; waiting for it leaves the processor to others."""
        event = self._cupy.cuda.Event(block=True, disable_timing=True)
        event.record(stream)
        return event

    def upload(self, source: Host, target: Any) -> Copy:
        """Start to copy to a device array, both in C order. Pageable memory has been read when this returns."""
        if not source.nbytes:
            return Copy(target, _nothing)
        target.data.copy_from_host_async(source.ctypes.data, source.nbytes, self.into)
        return self._arriving(source, target)

    def _arriving(self, source: Any, target: Any) -> Copy:
        """The copy that was queued last on the way in."""
        event = self.event(self.into)

        def finish() -> None:
            with self._cupy.cuda.Device(self._number):
                event.synchronize()  # whoever waited may write to the source again
                _held(source)
                self._work.wait_event(event)

        return Copy(target, finish)

    def sees(self, number: int) -> bool:
        """Whether the device can read the memory of another one by itself."""
        runtime = self._cupy.cuda.runtime
        if number not in self._seen:
            self._seen[number] = bool(runtime.deviceCanAccessPeer(self._number, number))
            if self._seen[number]:
                with contextlib.suppress(runtime.CUDARuntimeError):  # others have enabled it
                    runtime.deviceEnablePeerAccess(number)
        return self._seen[number]

    def across(self, source: Any, number: int, ready: Any, target: Any) -> Copy:
        """Start to copy from an array of another device, complete when the event `ready` has happened."""
        if not source.nbytes:
            return Copy(target, _nothing)
        self.into.wait_event(ready)
        self._cupy.cuda.runtime.memcpyPeerAsync(
            target.data.ptr, self._number, source.data.ptr, number, source.nbytes, self.into.ptr
        )
        return self._arriving(source, target)

    def download(self, source: Any, target: Host, done: bool = False) -> Copy:
        """Start to copy from a device array, both in C order, after the work queued so far unless it is known to be
        `done`. To pageable memory it starts when it is waited for: the driver has the caller wait."""
        if not target.nbytes:
            return Copy(target, _nothing)
        if not done:
            self.out_of.wait_event(self.event(self._work))
        if self.pinned.holds(target):
            source.data.copy_to_host_async(target.ctypes.data, target.nbytes, self.out_of)
            event = self.event(self.out_of)

            def finish() -> None:
                event.synchronize()
                _held(source)

            return Copy(target, finish)

        def arrive() -> None:
            with self._cupy.cuda.Device(self._number):
                source.data.copy_to_host_async(target.ctypes.data, target.nbytes, self.out_of)
                self.event(self.out_of).synchronize()

        return Copy(target, arrive)


def _nothing() -> None:
    pass


def _held(array: Any) -> None:
    """Nothing: a finish that names an array keeps it alive until then."""
