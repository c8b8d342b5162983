"""Folders that belong to a running process, and the removal of those whose process is gone."""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import shutil
import stat
import time
from pathlib import Path
from typing import Any

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows: a process's start must do
    HAS_LOCKS = False
else:
    HAS_LOCKS = True

OWNER_FILE = "owner.json"
_GRACE = 60.0
"""Seconds after which a folder without an owner is taken to be abandoned."""


class Owner:
    """This process's claim on a folder: a record in it, locked for as long as the process lives."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._pid = os.getpid()
        self._record: io.FileIO | None = None

    def make_folder(self) -> None:
        """Make the folder, for this user alone, and claim it."""
        os.mkdir(self.folder, 0o700)
        path = os.path.join(self.folder, OWNER_FILE)
        self._record = open(path + ".part", "xb", buffering=0)  # noqa: SIM115  # open while the folder is ours
        self._record.write(json.dumps(_identity(self._pid)).encode())
        _lock(self._record.fileno())  # before the record has its name: whoever sees the record sees the lock
        os.rename(path + ".part", path)

    def remove_folder(self) -> None:
        """Remove the folder with all its files, unless this process was forked from the owner."""
        if self._pid == os.getpid():
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._record is not None:
            self._record.close()


def sweep(directory: str, prefix: str) -> list[str]:
    """Remove the folders ``directory/prefix*`` of this user whose owners died; return their paths.

    A folder is left alone while its owner's lock is held, its process runs, or its owner was on another machine.
    """
    swept = []
    for entry in _folders(directory, prefix):
        if _abandoned(entry):
            shutil.rmtree(entry, ignore_errors=True)
            swept.append(entry)
    return swept


def _folders(directory: str, prefix: str) -> list[str]:
    found = []
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                mine = not hasattr(os, "getuid") or entry.stat(follow_symlinks=False).st_uid == os.getuid()
                if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False) and mine:
                    found.append(entry.path)
    return found


def _abandoned(folder: str) -> bool:
    try:
        fd = os.open(os.path.join(folder, OWNER_FILE), os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        # its owner is about to write the record, or died before it could
        with contextlib.suppress(OSError):
            return time.time() - os.stat(folder).st_mtime > _GRACE
        return False
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return False
        try:
            record = json.loads(os.read(fd, 4096))
            host, pid = record["host"], int(record["pid"])
        except (ValueError, KeyError, TypeError):
            return False
        if host != platform.node():
            return False
        gone = record != _identity(pid)
        return gone and _lock(fd)
    finally:
        os.close(fd)


def _identity(pid: int) -> dict[str, Any]:
    """What tells a process from every other: its number, its start, its machine and that machine's boot."""
    return {"host": platform.node(), "boot": _boot(), "pid": pid, "start": _start(pid)}


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _start(pid: int) -> str:
    """When a process started, in the kernel's ticks; without /proc, "alive" while it is; "" if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
    except OSError:
        return "alive"
    else:
        fields = text.rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]  # a zombie is gone
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        return "alive"
    return "alive"


def _lock(fd: int) -> bool:
    """Take the lock on an owner's record, if nobody holds it. True where there are no locks."""
    if not HAS_LOCKS:
        return True
    try:
        flock(fd, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: the process's start must do
        return True
    return True
