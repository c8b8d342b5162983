"""GPUDirect Storage: files read into a device's memory without passing through the host's, by kvikIO where it is there.

kvikIO is chosen only where it says that it does not make do with ordinary reads: those we do ourselves, several at once
and through pinned memory that counts against the limit.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

Run = tuple[str, int, int]
"""A file, the offset in it, and how many bytes from there."""

LEAST = 1 << 20
"""Bytes of a run from which a read is worth registering the file for; kvikIO itself reads less in the ordinary way."""


@functools.cache
def library() -> Any | None:
    """kvikIO, or None where it is not installed or has no GPUDirect Storage to use."""
    try:
        import kvikio
        import kvikio.defaults

        makes_do = getattr(kvikio.defaults, "is_compat_mode_preferred", None)
        if makes_do is None:  # an older version
            mode = kvikio.defaults.compat_mode()
            return kvikio if mode is False or getattr(mode, "name", "") == "OFF" else None
        return None if makes_do() else kvikio
    except Exception:  # a library that does not load raises errors of many kinds, and is not needed
        return None


def read(runs: Sequence[Run], target: Any) -> bool:
    """Fill a contiguous array on the current device; whether it is filled, else it holds rubbish."""
    kvikio = library()
    if kvikio is None or target.nbytes < LEAST * len(runs):
        return False
    flat, first = target.reshape(-1), 0
    try:
        for path, offset, nbytes in runs:
            count = nbytes // target.itemsize
            with kvikio.CuFile(path, "r") as file:
                if file.pread(flat[first : first + count], nbytes, offset).get() != nbytes:
                    return False
            first += count
    except (OSError, RuntimeError):  # a file system without it, a file that is gone: the ordinary read says which
        return False
    return bool(first == target.size)
