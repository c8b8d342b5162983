"""Whether memory was used before: what is written there need not go through the caches.

The first touch of a page has the system zero it, and so brings it into the caches; stores that go past them then cost
half as much again. In memory that was used before they save the read of every line that is about to be overwritten.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import sys
from collections.abc import Callable
from typing import Any

import numpy as np


def owner(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array that an array is a part of, as far as NumPy knows.

    >>> a = np.zeros((4, 4))
    >>> owner(a[1:].T) is a
    True
    """
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def used_before(array: np.ndarray[Any, Any]) -> bool:
    """Whether pages stand behind the first, the middle and the last byte of an array; False where nobody can tell.

    >>> used_before(np.ones(1 << 20)) in (True, sys.platform != "linux")
    True
    """
    resident = _mincore()
    low, high = np.lib.array_utils.byte_bounds(array)
    return resident is not None and high > low and all(map(resident, (low, (low + high) // 2, high - 1)))


@functools.cache
def _mincore() -> Callable[[int], bool] | None:
    """Whether there is a page at an address, as mincore(2) has it."""
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.CDLL(None), "mincore", None)
    if function is None:
        return None
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    function.restype = ctypes.c_int
    page = mmap.PAGESIZE

    def resident(address: int) -> bool:
        found = ctypes.create_string_buffer(1)
        return function(address // page * page, 1, found) == 0 and bool(found.raw[0] & 1)

    return resident
