"""Folders that belong to a running process, and the removal of those whose process is gone."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
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

_FILE = "owner.json"
_GRACE = 60.0
"""Seconds after which a folder without an owner is taken to be abandoned."""


class Owner:
    """This process's claim on a folder: a record in it, locked for as long as the process lives."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def make_folder(cls, directory: str, prefix: str) -> tuple[str, Owner]:
        """Make a private folder with a random name in `directory` and claim it."""
        folder = os.path.join(directory, prefix + secrets.token_hex(8))
        os.mkdir(folder, 0o700)
        try:
            path = os.path.join(folder, _FILE)
            fd = os.open(path + ".part", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(fd, json.dumps(_identity(os.getpid())).encode())
                _lock(fd)  # before the record has its name: whoever sees the record sees the lock
                os.rename(path + ".part", path)
            except BaseException:
                os.close(fd)
                raise
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return folder, cls(fd)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


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
        fd = os.open(os.path.join(folder, _FILE), os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
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
