"""Memory for what is read, used again: the first touch of fresh pages costs as much as decompressing into them.

The system zeroes every page that a process gets. A run that reads a file chunk by chunk would have as many pages zeroed
as the file is long. So the buffer of an array that is gone is given to the next one of its size, as long as there are
others in use: a run leaves nothing behind. Of results that the user has let go of, a little is kept for the next run,
which so often asks for one of the same size.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

LEAST = 1 << 20
"""Bytes from which an array's memory is worth keeping; smaller arrays are the allocator's business."""


class _Lease:
    """Owns a buffer on behalf of the arrays that look into it; when the last of them is gone, the buffer goes back."""

    __slots__ = ("__array_interface__", "_buffer", "_owner")

    def __init__(self, owner: Recycler, buffer: Array) -> None:
        self._owner, self._buffer = owner, buffer
        self.__array_interface__ = buffer.__array_interface__

    def __del__(self) -> None:
        self._owner.give_back(self._buffer)


class Recycler:
    """Hands out arrays, and keeps the memory of those that are gone for the next ones.

    >>> recycler = Recycler()
    >>> a = recycler.empty((1 << 20,), np.dtype(np.uint8))
    >>> b = recycler.empty((1 << 20,), np.dtype(np.uint8))
    >>> c = recycler.empty((1 << 20,), np.dtype(np.uint8))
    >>> address = a.ctypes.data
    >>> del a
    >>> recycler.empty((1 << 18,), np.dtype(np.float32)).ctypes.data == address
    True

    Thread-safe. What it keeps is never more than half of what is in use, or than `most` bytes where that is given.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._free: dict[int, list[Array]] = {}
        self._kept = 0
        self._used = 0
        self._returned: deque[Array] = deque()
        """Buffers on their way back. A lease may end anywhere, inside the lock too: it only appends."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array of undefined contents, in C order."""
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes < LEAST or dtype.hasobject:
            return np.empty(shape, dtype)
        size = -(-nbytes // LEAST) * LEAST
        with self._lock:
            self._settle()
            same = self._free.get(size)
            buffer = same.pop() if same else None
            if buffer is not None:
                self._kept -= size
            self._used += size
        self._tidy()
        if buffer is None:
            buffer = np.empty(size, np.uint8)
        made: Array = np.asarray(_Lease(self, buffer))[:nbytes].view(dtype).reshape(shape)
        return made

    def release(self) -> None:
        """Keep nothing of what is not in use now."""
        with self._lock:
            self._settle()
            self._free.clear()
            self._kept = 0
        self._tidy()

    def give_back(self, buffer: Array) -> None:
        """Take a buffer that nobody looks into any more."""
        self._returned.append(buffer)
        self._tidy()

    def _tidy(self) -> None:
        """Put returned buffers in their places. If the lock is taken, whoever has it comes by here afterwards."""
        while self._returned and self._lock.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._lock.release()

    def _settle(self) -> None:
        while self._returned:
            buffer = self._returned.popleft()
            self._used -= buffer.nbytes
            self._kept += buffer.nbytes
            self._free.setdefault(buffer.nbytes, []).append(buffer)
        while self._kept > (self._used // 2 if self._most is None else self._most):
            size = next(iter(self._free))  # the size that has been here longest
            same = self._free[size]
            if same:
                same.pop()
                self._kept -= size
            if not same:
                del self._free[size]


_RECYCLER = Recycler()
empty = _RECYCLER.empty
"""`Recycler.empty` of the one for everything that is read."""

_RESULTS = Recycler(256 << 20)
result = _RESULTS.empty
"""`Recycler.empty` of the one for what `compute` returns."""
release_results = _RESULTS.release
"""For when a run begins: what it has no use for does not count among the memory it may take."""
