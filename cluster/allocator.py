"""Freed memory goes back to the system, so that what a process holds is what its executor counts."""

from __future__ import annotations

import ctypes
import functools
import sys

_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
"""`mallopt`'s parameters (malloc.h of the GNU C library)."""
LARGE = 1 << 20
"""Bytes from which a block of memory is the system's again as soon as it is freed."""


@functools.cache
def return_freed_memory() -> bool:
    """Have the C library map large blocks one by one and unmap them when they are freed; whether that was possible.

    Left to itself the GNU library raises this threshold to the size of whatever block is freed first, up to 32 MiB, and
    keeps freed chunks in a heap for each thread: a process then holds up to twice what a memory limit allows. Smaller
    blocks are so many, in an external sort for one, that several heaps, each with holes of its own, hold a quarter more
    than one; threads that compute seldom ask for memory, so they share it. Both settings are the process's, made when
    the first executor with a limit is. Other C libraries are left as they are. See ``man mallopt``.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_MMAP_THRESHOLD, LARGE) == 1 and mallopt(_M_ARENA_MAX, 1) == 1
