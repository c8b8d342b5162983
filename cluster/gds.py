"""GPUDirect Storage: files read into a device's memory without passing through the host's, by kvikIO where it is there.

kvikIO is chosen only where it says that it does not make do with ordinary reads: those we do ourselves, several at once
and through pinned memory that counts against the limit.
"""

from __future__ import annotations

import functools
from typing import Any

LEAST = 1 << 20
"""Bytes from which a read is worth registering the file for; kvikIO itself reads less in the ordinary way."""


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


def read(path: str, offset: int, target: Any) -> bool:
    """Fill a contiguous array on the current device from a file; whether it is filled, else it holds rubbish."""
    kvikio = library()
    if kvikio is None or target.nbytes < LEAST:
        return False
    try:
        with kvikio.CuFile(path, "r") as file:
            nbytes: int = file.pread(target, target.nbytes, offset).get()
    except (OSError, RuntimeError):  # a file system without it, a file that is gone: the ordinary read says which
        return False
    return nbytes == target.nbytes
