"""What keeps the folder of compiled kernels small: those that nobody used for long go, and the oldest of too many.

A kernel's checksum file bears the time when it was last loaded. It is removed first: a process that meets half a kernel
compiles it anew, as it does where it finds none, so any number of processes may remove, load and write at once.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

DAY = 86_400
UNUSED = 90 * DAY
"""Seconds after which a kernel that no process loaded is removed."""
MOST = 512 * 2**20
"""Bytes of all kernels above which those that were not used for longest are removed, down to three quarters."""
EVERY = DAY / 24
"""Seconds between two looks at the folder: listing ten thousand kernels takes a tenth of one."""
STAMP = "pruned"
"""An empty file that bears the time of the last look."""
_NAME = re.compile(r"(k[0-9a-f]{32})\b")
_LEFT = re.compile(r"k[0-9a-f]{32}.*\.tmp")


@dataclass(slots=True)
class Stored:
    """The files of one kernel, in the order in which they are removed."""

    files: list[Path] = field(default_factory=list)
    nbytes: int = 0
    used: float = 0.0

    def remove(self) -> None:
        for file in sorted(self.files, key=lambda f: (f.suffix != ".sum", f.suffix == ".py")):
            with suppress(OSError):
                file.unlink()


def stored(folder: Path) -> dict[str, Stored]:
    """The kernels in a folder by name, with their bytes and when each was used. Other files are not ours."""
    found: dict[str, Stored] = {}
    for place in (folder / "__pycache__", folder):
        with suppress(OSError):
            for file in sorted(place.iterdir(), reverse=True):  # checksums before modules
                name = _NAME.match(file.name)
                if name is None or file.suffix not in (".py", ".sum", ".nbi", ".nbc"):
                    continue
                with suppress(OSError):  # gone meanwhile
                    status = file.stat()
                    kernel = found.setdefault(name[1], Stored())
                    kernel.files.append(file)
                    kernel.nbytes += status.st_size
                    if file.suffix != ".py":
                        kernel.used = max(kernel.used, status.st_mtime)
                    elif not kernel.used:  # what was never compiled; the time of modules is zero, for Numba
                        kernel.used = status.st_ctime
    return found


def usage(folder: Path) -> tuple[int, int]:
    """How many kernels a folder holds, and their bytes.

    >>> usage(Path("no such folder"))
    (0, 0)
    """
    kernels = stored(folder).values()
    return len(kernels), sum(k.nbytes for k in kernels)


def clear(folder: Path) -> tuple[int, int]:
    """Remove every kernel; running processes compile what they miss. Returns what `usage` was."""
    kernels = stored(folder).values()
    for kernel in kernels:
        kernel.remove()
    return len(kernels), sum(k.nbytes for k in kernels)


def mark_used(checksum: Path) -> None:
    """Say that a kernel was loaded now; to the day, so that loading writes nothing as a rule."""
    with suppress(OSError):
        if time.time() - checksum.stat().st_mtime > DAY:
            checksum.touch()


def prune(folder: Path) -> None:
    """Remove what is old or too much, if nobody looked lately. Never raises: a full cache is no failure."""
    now = time.time()
    stamp = folder / STAMP
    with suppress(OSError):
        if now - stamp.stat().st_mtime < EVERY:
            return
    with suppress(OSError):
        stamp.touch()
        for file in folder.glob("*.tmp"):  # of processes that were killed as they wrote
            if _LEFT.fullmatch(file.name) and now - file.stat().st_mtime > DAY:
                file.unlink()
        kernels = sorted(stored(folder).values(), key=lambda k: k.used)
        total = sum(k.nbytes for k in kernels)
        room = MOST if total <= MOST else MOST * 3 // 4
        for kernel in kernels:
            if now - kernel.used <= UNUSED and total <= room:
                break
            kernel.remove()
            total -= kernel.nbytes
