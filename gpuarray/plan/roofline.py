"""How long a plan would take at the machine's own speed: the larger of moving its bytes and doing its operations.

The speeds of memory, of NumPy and of BLAS are measured once per machine, in about a tenth of a second, and kept in the
cache folder. What cannot be measured without the user's files or a compiler is a documented guess, see `Rates`.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

_FORMAT = 1
_MOST_COPIERS = 8
"""Threads that copy at once while memory is measured; more fill no memory bus."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What a machine does in a second with all its threads. The defaults are a laptop of about 2022.

    >>> Rates().seconds(read=2 * 10**9, moved=0, operations={}, tasks=1)
    2.0
    """

    files: float = 1e9
    """Bytes read from files; never measured. A fast disk or a warm file cache gives several times as much."""
    memory: float = 2e10
    """Bytes read and written."""
    interpreted: float = 2e9
    """Operations on one element by NumPy, step by step through memory."""
    compiled: float = 8e9
    """Operations on one element in a fused kernel; never measured, four times `interpreted`."""
    library: float = 1e11
    """Multiplications and additions in BLAS."""
    task: float = 2e-4
    """Seconds to plan and start one task; never measured."""

    def seconds(self, *, read: float, moved: float, operations: Mapping[str, float], tasks: int) -> float:
        """The longest of reading files, moving memory, computing, and starting tasks: all four overlap."""
        rate = {"interpreted": self.interpreted, "compiled": self.compiled, "library": self.library}
        work = sum(n / rate[kind] for kind, n in operations.items())
        return max(read / self.files, moved / self.memory, work, tasks * self.task)


def rates(folder: Path, threads: int) -> Rates:
    """The rates of this machine with so many threads, measured the first time; `folder` keeps them.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rates(Path(folder), 1) == rates(Path(folder), 1)
    True
    """
    with _lock:  # two threads that measure at once would measure each other
        return _rates(folder, threads)


_lock = threading.Lock()


@cache
def _rates(folder: Path, threads: int) -> Rates:
    path = folder / "machine.json"
    machine = f"{platform.node()}, {platform.machine()}, {threads} threads, NumPy {np.__version__}, {_FORMAT}"
    known: dict[str, dict[str, float]] = {}
    with suppress(OSError, ValueError, TypeError, AttributeError):
        read = json.loads(path.read_text())
        known = {str(name): dict(values) for name, values in read.items()}
        made = Rates(**known[machine]) if machine in known else None
        if made is not None and all(isinstance(v, float) and 0 < v < 1e18 for v in asdict(made).values()):
            return made
    made = measure(threads)
    with suppress(OSError):  # a folder that cannot be written costs a tenth of a second per process
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"machine.{os.getpid()}.part")
        part.write_text(json.dumps({**known, machine: asdict(made)}, indent=1))
        part.replace(path)
    return made


def measure(threads: int) -> Rates:
    """Measure the rates of this machine; takes about a tenth of a second."""
    copiers = min(threads, _MOST_COPIERS)
    pairs = [(np.ones(2**21), np.zeros(2**21)) for _ in range(copiers)]
    with ThreadPoolExecutor(copiers) as pool:
        copying = _best(lambda: list(pool.map(lambda pair: np.copyto(pair[1], pair[0]), pairs)))
    a, b = np.ones(2**16), np.zeros(2**16)
    adding = _best(lambda: [np.add(a, b, out=b) for _ in range(16)])
    m = np.ones((384, 384))
    multiplying = _best(lambda: m @ m)
    interpreted = threads * 16 * a.size / adding
    return Rates(
        memory=2 * sum(pair[0].nbytes for pair in pairs) / copying,
        interpreted=interpreted,
        compiled=4 * interpreted,
        library=2 * len(m) ** 3 / multiplying,
    )


def _best(call: Callable[[], object], times: int = 4) -> float:
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return max(best, 1e-9)
