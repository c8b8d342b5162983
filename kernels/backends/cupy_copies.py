"""Copies between the host and a device beside its work: two streams of their own, by way of pinned memory."""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from gpuarray.kernels.interpreter import tiles

Host = np.ndarray[Any, Any]

STAGE = 8 << 20
"""Bytes of a buffer through which pageable memory is copied: what is in flight while the next one is filled."""
STAGES = 4
"""Buffers for each direction."""
SPLIT = 2 << 20
"""Bytes from which several threads fill a buffer: one fills it at a fraction of what the bus takes."""
FILLERS = 4


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


class Staging:
    """A few pinned buffers that are used in turn; whoever wants one waits for the oldest. Thread-safe.

    Parameters
    ----------
    make : makes one of `STAGE` bytes
    """

    def __init__(self, make: Callable[[int], Host]) -> None:
        self._make = make
        self._made = 0
        self._free: deque[tuple[Host, Any]] = deque()
        self._changed = threading.Condition()

    def take(self, wait: bool = True) -> Host | None:
        """A buffer that no copy uses; None if others have all of them and `wait` is False."""
        with self._changed:
            while not self._free and self._made >= STAGES:
                if not wait:
                    return None
                self._changed.wait()
            if self._free:
                buffer, event = self._free.popleft()
            else:
                buffer, event = None, None
                self._made += 1
        if event is not None:
            event.synchronize()
        return self._new() if buffer is None else buffer

    def _new(self) -> Host:
        try:
            return self._make(STAGE)
        except MemoryError:
            return np.empty(STAGE, np.uint8)  # copies through it are slower, and as right
        except BaseException:
            with self._changed:
                self._made -= 1
                self._changed.notify()
            raise

    def give(self, buffer: Host, event: Any = None) -> None:
        """Hand a buffer back; it is free once `event` has happened."""
        with self._changed:
            self._free.append((buffer, event))
            self._changed.notify()


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


def pieces(shape: tuple[int, ...], itemsize: int) -> Iterator[tuple[tuple[slice, ...], int, int]]:
    """Cut a C-ordered array into parts of at most `STAGE` bytes in one piece: (part, first byte, bytes).

    >>> [(p[0], first, n) for p, first, n in pieces((3, 1 << 20), 8)]
    [(slice(0, 1, None), 0, 8388608), (slice(1, 2, None), 8388608, 8388608), (slice(2, 3, None), 16777216, 8388608)]
    """
    first = 0
    for box in tiles(shape, max(1, STAGE // itemsize)):
        nbytes = itemsize
        for s in box:
            nbytes *= s.stop - s.start
        yield box, first, nbytes
        first += nbytes


_fillers: ThreadPoolExecutor | None = None
_fillers_pid = 0
_fillers_lock = threading.Lock()


def _threads() -> ThreadPoolExecutor:
    """Threads that copy within the host's memory; new ones in a forked child."""
    global _fillers, _fillers_pid
    with _fillers_lock:
        if _fillers is None or _fillers_pid != os.getpid():
            _fillers, _fillers_pid = ThreadPoolExecutor(FILLERS, "gpuarray-staging"), os.getpid()
        return _fillers


def fill(target: Host, source: Host) -> None:
    """``target[...] = source`` by several threads where there is much to do."""
    axis = next((a for a, n in enumerate(target.shape) if n > 1), None)
    if axis is None or target.nbytes < SPLIT:
        np.copyto(target, source)
        return
    n = target.shape[axis]
    cuts = [n * k // FILLERS for k in range(FILLERS + 1)]
    parts = [(slice(None),) * axis + (slice(a, b),) for a, b in itertools.pairwise(cuts)]
    done = [_threads().submit(np.copyto, target[p], source[p]) for p in parts[1:]]
    np.copyto(target[parts[0]], source[parts[0]])
    for future in done:
        future.result()


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
        self._inward, self._outward = Staging(self.pinned.new), Staging(self.pinned.new)

    def event(self, stream: Any) -> Any:
        """An event recorded on a stream; waiting for it leaves the processor to others."""
        event = self._cupy.cuda.Event(block=True, disable_timing=True)
        event.record(stream)
        return event

    def upload(self, source: Host, target: Any) -> Copy:
        """Start to copy to a device array, both in C order. Pageable memory has been read when this returns."""
        if not source.nbytes:
            return Copy(target, _nothing)
        direct = self.pinned.holds(source)
        if direct:
            target.data.copy_from_host_async(source.ctypes.data, source.nbytes, self.into)
        else:
            self._from_pageable(source, target)
        event = self.event(self.into)

        def finish() -> None:
            with self._cupy.cuda.Device(self._number):
                if direct:  # whoever waited may write to it again
                    event.synchronize()
                    _held(source)
                self._work.wait_event(event)

        return Copy(target, finish)

    def _from_pageable(self, source: Host, target: Any) -> None:
        for box, first, nbytes in pieces(source.shape, source.itemsize):
            buffer = self._inward.take()
            assert buffer is not None  # it waits
            event = None
            try:
                part = source[box or ...]
                fill(buffer[:nbytes].view(source.dtype).reshape(part.shape), part)
                (target.data + first).copy_from_host_async(buffer.ctypes.data, nbytes, self.into)
                event = self.event(self.into)
            finally:
                self._inward.give(buffer, event)

    def download(self, source: Any, target: Host) -> Copy:
        """Start to copy from a device array, both in C order, after the work queued so far."""
        if not target.nbytes:
            return Copy(target, _nothing)
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
                self._to_pageable(source, target)

        return Copy(target, arrive)

    def _to_pageable(self, source: Any, target: Host) -> None:
        """One part is on its way while the one before it is taken out of its buffer."""
        under_way: deque[tuple[Host, Any, tuple[slice, ...], int]] = deque()
        try:
            for box, first, nbytes in pieces(target.shape, target.itemsize):
                if len(under_way) == 2:
                    self._take_out(under_way, target)
                buffer = self._outward.take(wait=not under_way)
                if buffer is None:  # nobody waits who holds one: others may wait for it
                    self._take_out(under_way, target)
                    buffer = self._outward.take()
                    assert buffer is not None
                under_way.append((buffer, None, box, nbytes))
                (source.data + first).copy_to_host_async(buffer.ctypes.data, nbytes, self.out_of)
                under_way[-1] = (buffer, self.event(self.out_of), box, nbytes)
            while under_way:
                self._take_out(under_way, target)
        finally:
            for left, event, *_ in under_way:  # an error: what is on its way arrives before the buffer is used again
                self._outward.give(left, event)

    def _take_out(self, under_way: deque[tuple[Host, Any, tuple[slice, ...], int]], target: Host) -> None:
        buffer, event, box, nbytes = under_way[0]
        event.synchronize()
        part = target[box or ...]
        fill(part, buffer[:nbytes].view(target.dtype).reshape(part.shape))
        under_way.popleft()
        self._outward.give(buffer)


def _nothing() -> None:
    pass


def _held(array: Any) -> None:
    """Nothing: a finish that names an array keeps it alive until then."""
