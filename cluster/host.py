"""What this machine lets this process have, control groups included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


def available_memory(proc: Path = _PROC, mount: Path = _MOUNT) -> int:
    """Bytes of host memory that this process could take now without pushing anything out.

    >>> available_memory() > 0
    True

    The smallest of what the machine has free and what each control group above this process has left. A
    container, a Slurm job and a systemd slice are control groups; the file cache they hold counts as free, as
    the kernel gives it back.

    Parameters
    ----------
    proc, mount : where the kernel lists this process's control groups and where they are mounted
    """
    import psutil

    left = [left for folder in _groups(proc, mount) if (left := _left(folder)) is not None]
    return max(0, min([int(psutil.virtual_memory().available), *left]))


def physical_memory() -> int:
    """Bytes of memory that this machine has.

    >>> physical_memory() >= available_memory() > 0
    True
    """
    import psutil

    return int(psutil.virtual_memory().total)


def available_threads() -> int:
    """How many processors this process may run on.

    >>> available_threads() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS has no affinity


def _groups(proc: Path, mount: Path) -> Iterator[Path]:
    """The folders of the memory control groups of this process, the innermost first; limits hold at every level."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = mount / "memory" if controllers else mount
        folder = root / path.lstrip("/")
        while True:
            yield folder
            if folder == root or root not in folder.parents:
                break
            folder = folder.parent


def _left(folder: Path) -> int | None:
    """Bytes that a control group may still take; None where it has no limit (or is not visible from a container)."""
    for limit, usage, prefix in (
        ("memory.max", "memory.current", ""),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        try:
            most = (folder / limit).read_text().strip()
            used = int((folder / usage).read_text())
            counters = (folder / "memory.stat").read_text().splitlines()
        except (OSError, ValueError):
            continue
        if not most.isdecimal():  # "max"
            return None
        wanted = {f"{prefix}active_file", f"{prefix}inactive_file"}
        cache = sum(int(line.split()[1]) for line in counters if line.split()[0] in wanted)
        return max(0, int(most) - max(0, used - cache))
    return None
