"""Copies between host and device through pinned memory, of which there is a bounded amount.

A device copies to and from pinned memory alone while it computes. Chunks and users' arrays are in ordinary memory, so
they pass through a few pinned pieces: a thread fills one while the device copies another. Several threads copy at
once, because one cannot fill memory as fast as a device reads it. Who calls waits: these are the threads that prepare
tasks and bring their results home, while others compute.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from gpuarray.cluster import gds
from gpuarray.cluster.buffers import in_memory_order
from gpuarray.cluster.finalizers import uninterrupted

MOST = 512 << 20
"""Bytes of pinned memory, where the host has much."""
_PART = 16
"""Of the host's limit, the part that is pinned."""
_PIECE = 16 << 20
"""Bytes of a piece, where there are enough: a hundred microseconds of Python go into one, and one thread at a time runs
Python, while the bus takes 16 MiB in three hundred."""
_PIECES = 8
"""Pieces there are at least."""
_LEAST = 1 << 10
"""Less is not worth pinning."""
_PATIENCE = 10.0
"""Seconds to wait for a piece; each is needed for a hundredth of one."""

Array = np.ndarray[Any, Any]
Index = tuple[int | slice, ...]


class Pinned:
    """A bounded amount of pinned memory, which all devices of a process share: each can copy from and to it.

    Parameters
    ----------
    host_limit : bytes of the host's memory, None for no limit
    """

    def __init__(self, host_limit: int | None = None) -> None:
        most = MOST if host_limit is None else min(MOST, host_limit // _PART)
        pieces = max(_PIECES, most // _PIECE) if most >= _LEAST else 0
        self.piece = most // pieces // 64 * 64 if pieces else 0
        self.nbytes = pieces * self.piece
        """Bytes that are set aside, whether they are allocated yet or not; 0 where the host has too little for any:
        copies are then made straight from where the bytes are, and the device may wait for them."""
        self.together = max(1, pieces // 4)
        """Pieces that one array may have under way."""
        self.free: SimpleQueue[Any] = SimpleQueue()
        for _ in range(pieces):
            self.free.put(None)  # allocated when it is needed


class Staging:
    """The way between the memory of the host and that of a device.

    >>> from gpuarray.kernels.backends.fake import Fake
    >>> staging = Staging(Fake(), 1 << 20)
    >>> there = staging.upload(np.arange(3))
    >>> there, staging.download(there), staging.nbytes
    (FakeArray([0 1 2], dtype=int64), array([0, 1, 2]), 65536)

    Parameters
    ----------
    backend : see `gpuarray.kernels.backends.base.DeviceBackend`
    host_limit : bytes of the host's memory, None for no limit
    pinned : the memory that copies pass through, if others share it
    """

    def __init__(self, backend: Any, host_limit: int | None = None, pinned: Pinned | None = None) -> None:
        self._backend = backend
        self._pinned = Pinned(host_limit) if pinned is None else pinned
        self._piece = self._pinned.piece
        self.nbytes = self._pinned.nbytes
        """See `Pinned.nbytes`."""

    def upload(self, array: np.ndarray[Any, Any]) -> Any:
        """A NumPy array on the device, ready to be used, in the same order of axes in memory.

        Raises
        ------
        MemoryError
            if the device has no room for it; nothing of it is left there.
        """
        backend = self._backend
        with backend.active():
            if array.dtype.hasobject:
                return backend.from_host(array)
            dense, axes = in_memory_order(array)
            if array.dtype.itemsize > self._piece:
                there = backend.upload(np.ascontiguousarray(dense).reshape(dense.shape)).wait()
            else:
                there = backend.allocate(dense.shape, dense.dtype)
                flat, source = _flat(there, dense)
                self._fill(flat, lambda index, piece: np.copyto(piece, source[index]))
            return there if _ordered(axes) else there.transpose(_inverse(axes))

    def stream(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        read: Callable[[Index, Array], object],
        runs: Callable[[], list[gds.Run] | None] | None = None,
    ) -> Any:
        """A new array on the device that is read piece by piece, straight into pinned memory.

        Parameters
        ----------
        read : called with the index of a part and an array of the part's shape, which it fills
        runs : tells where all of it lies in files, piece after piece in C order, if it does: for devices that read
            files themselves

        Raises
        ------
        MemoryError
            if the device has no room for it; nothing of it is left there.
        """
        backend = self._backend
        with backend.active():
            if dtype.itemsize > self._piece:
                whole = np.empty(shape, dtype)
                read((), whole)
                return backend.upload(whole).wait()
            there = backend.allocate(shape, dtype)
            if runs is not None and backend.name == "cupy" and gds.library() is not None:
                places = runs()
                if places is not None and gds.read(places, there):
                    return there
            if shape:
                self._fill(there, read)
            else:
                self._fill(there.reshape(1), lambda index, piece: read((), piece.reshape(())))
            return there

    def _fill(self, there: Any, read: Callable[[Index, Array], object]) -> None:
        with self._flights(None) as flights:
            for index, part in self._parts(there):
                lease = flights.lease(part)
                read(index, lease.array)
                flights.start(lease, self._backend.upload(lease.array, part), index)

    def download(self, array: Any, out: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
        """A device array as a NumPy array: `out`, which may have any strides, or a new one.

        Who calls has waited for the work that made the array: the copy is made beside what others have queued since.
        """
        backend = self._backend
        with backend.active():
            if array.dtype.hasobject:
                return _placed(backend.to_host(array), out)
            dense, axes = in_memory_order(array)
            if not dense.flags.c_contiguous:
                dense = backend.xp.ascontiguousarray(dense).reshape(dense.shape)
                backend.record().wait()
            if array.dtype.itemsize > self._piece:
                return _placed(backend.download(dense, done=True).wait().transpose(_inverse(axes)), out)
            here = np.empty(dense.shape, dense.dtype) if out is None else out.transpose(axes)
            flat, target = _flat(dense, here)
            with self._flights(target) as flights:
                for index, part in self._parts(flat):
                    lease = flights.lease(part)
                    flights.start(lease, backend.download(part, lease.array, done=True), index)
            return here.transpose(_inverse(axes)) if out is None else out

    def copy_from(self, other: Staging, array: Any) -> Any:
        """An array of another device on this one, ready to be used, in the same order of axes in memory.

        The devices copy it between them where they can; else it passes through the host piece by piece.

        Raises
        ------
        MemoryError
            if the device has no room for it; nothing of it is left there.
        """
        dense, axes = in_memory_order(array)
        if array.dtype.hasobject or not dense.flags.c_contiguous or array.dtype.itemsize > self._piece:
            return self.upload(other.download(array))
        with self._backend.active():
            copy = self._backend.copy_from(other._backend, dense)
            if copy is not None:
                there = copy.wait()
            else:
                there = self._backend.allocate(dense.shape, dense.dtype)
                self._cross(other, dense.reshape(-1), there.reshape(-1))
        return there if _ordered(axes) else there.transpose(_inverse(axes))

    def _cross(self, other: Staging, source: Any, target: Any) -> None:
        """Copy between devices that do not see each other."""
        with self._flights(None) as flights:
            for (index, part), (_, there) in zip(self._parts(target), self._parts(source), strict=True):
                lease = flights.lease(part)
                with other._backend.active():
                    lease.copy = other._backend.download(there, lease.array, done=True)
                    lease.copy.wait()
                flights.start(lease, self._backend.upload(lease.array, part), index)

    def _parts(self, flat: Any) -> list[tuple[Index, Any]]:
        """All at once: no view is taken of an array that is being copied."""
        return [(index, flat[index]) for index in pieces(flat, self._piece)]

    @contextlib.contextmanager
    def _flights(self, target: np.ndarray[Any, Any] | None) -> Iterator[_Flights]:
        flights = _Flights(self, target)
        try:
            yield flights
            flights.land_all()
        finally:
            flights.give_up()


class _Lease:
    """A piece of pinned memory until it is given back. Raises Empty if there is none and none is waited for."""

    def __init__(self, staging: Staging, wait: bool) -> None:
        self._staging: Staging | None = None
        self.array: Any = None
        self.copy: Any = None
        try:
            self._memory = staging._pinned.free.get(wait, _PATIENCE if wait else None)
        except Empty:
            if not wait:
                raise
            self._memory = np.empty(staging._piece, np.uint8)  # an interrupt has lost one
        self._staging = staging  # from here on it goes back, whatever happens
        if self._memory is None:
            self._memory = _new_piece(staging)

    def shape(self, like: Any) -> None:
        """Make `array` an array of the shape and dtype of another."""
        self.array = self._memory[: like.nbytes].view(like.dtype).reshape(like.shape)

    def give_back(self) -> None:
        """Return the memory, once nothing is copied from or to it; harmless the second time."""
        copy, self.copy = self.copy, None
        try:
            if copy is not None:
                copy.wait()
        finally:
            staging, self._staging = self._staging, None
            self.array = None
            if staging is not None:
                staging._pinned.free.put(self._memory)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # an interrupt has struck before `give_up`
            uninterrupted(self.give_back)


class _Flights:
    """The pieces of one array that are under way."""

    def __init__(self, staging: Staging, target: np.ndarray[Any, Any] | None) -> None:
        self._staging, self._target = staging, target
        self._flying: deque[tuple[_Lease, Index]] = deque()

    def lease(self, part: Any) -> _Lease:
        """A piece of memory like `part`. Nobody who has some waits for others: all would, in the end."""
        while self._flying:
            if len(self._flying) < self._staging._pinned.together:
                with contextlib.suppress(Empty):
                    return self._shaped(_Lease(self._staging, wait=False), part)
            self._land()
        return self._shaped(_Lease(self._staging, wait=True), part)

    @staticmethod
    def _shaped(lease: _Lease, part: Any) -> _Lease:
        lease.shape(part)
        return lease

    def start(self, lease: _Lease, copy: Any, index: Index) -> None:
        lease.copy = copy
        self._flying.append((lease, index))

    def _land(self) -> None:
        lease, index = self._flying.popleft()
        try:
            lease.copy.wait()
            if self._target is not None:
                self._target[index] = lease.array
        finally:
            lease.give_back()

    def land_all(self) -> None:
        while self._flying:
            self._land()

    def give_up(self) -> None:
        """Wait for what is under way after an error, and forget it."""
        while self._flying:
            lease, _ = self._flying.popleft()
            with contextlib.suppress(Exception):
                lease.give_back()


def stagings_of(backends: Iterable[Any], host_limit: int | None = None) -> tuple[Staging, ...]:
    """The ways to and from several devices, through the same pinned memory."""
    pinned = Pinned(host_limit)
    return tuple(Staging(backend, pinned=pinned) for backend in backends)


def _new_piece(staging: Staging) -> np.ndarray[Any, Any]:
    """Pinned memory; ordinary memory where the system pins no more."""
    try:
        memory: np.ndarray[Any, Any] = staging._backend.pinned(staging._piece)
    except MemoryError:
        memory = np.empty(staging._piece, np.uint8)
    return memory


def _flat(device: Any, host: np.ndarray[Any, Any]) -> tuple[Any, np.ndarray[Any, Any]]:
    """Two arrays of one shape, the first in C order, with as few axes as both can have."""
    if host.flags.c_contiguous:
        return device.reshape(-1), host.reshape(-1)
    return device, host


def _placed(array: np.ndarray[Any, Any], out: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
    if out is None:
        return array
    out[...] = array
    return out


def _ordered(axes: tuple[int, ...]) -> bool:
    return axes == tuple(range(len(axes)))


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(axis) for axis in np.argsort(axes))


def pieces(array: Any, most: int) -> Iterator[Index]:
    """Indices of parts of at most `most` bytes that cover an array in C order, each contiguous in it.

    >>> list(pieces(np.zeros((2, 3)), 16))
    [(0, slice(0, 2, None)), (0, slice(2, 3, None)), (1, slice(0, 2, None)), (1, slice(2, 3, None))]
    """
    if array.nbytes:
        yield from _pieces(array.shape, array.itemsize, most)


def _pieces(shape: tuple[int, ...], itemsize: int, most: int) -> Iterator[Index]:
    row = itemsize * math.prod(shape[1:])
    if row > most:
        rest = tuple(_pieces(shape[1:], itemsize, most))
        for k in range(shape[0]):
            for index in rest:
                yield (k, *index)
        return
    step = most // row
    for k in range(0, shape[0], step):
        yield (slice(k, min(k + step, shape[0])),)
