"""Watches this process over time: its memory, the engine's own account of it, and the bytes read and written."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gpuarray.cluster.events import TaskStarted
from gpuarray.executors import current

INTERVAL = 0.01
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Look:
    """The state at one moment."""

    time: float
    """Seconds since the watch began."""
    resident: int
    """Bytes above the base."""
    engine: int
    """Bytes that the engine has promised or holds."""
    read: int
    written: int
    """Bytes so far, whether or not the file cache had them."""


@dataclass(slots=True)
class Phase:
    """A stretch of time with a name."""

    name: str
    begin: float
    end: float
    judged: bool
    """Whether the limit holds for it: not for the check, which is not the engine's."""


class Watch:
    """Looks at the process from a thread of its own, inside a ``with`` block."""

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self._memory = current().executor.memory
        gc.collect()
        self.base: int = self._process.memory_info().rss
        self.looks: list[Look] = []
        self.phases: list[Phase] = []
        self._start = time.monotonic()
        self._io = (0, 0)
        self._io = self._counters()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpuarray-demo-watch", daemon=True)

    def __enter__(self) -> Watch:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        read, written = self._counters()
        tier = self._memory.states()[0]
        resident = self._process.memory_info().rss - self.base
        self.looks.append(Look(self.now(), resident, tier.held + tier.reserved, read, written))

    def _counters(self) -> tuple[int, int]:
        """Bytes read and written through the system; zeros where it does not count them."""
        try:
            found: Any = self._process.io_counters()
            return found.read_chars - self._io[0], found.write_chars - self._io[1]
        except (AttributeError, OSError):
            return 0, 0

    def now(self) -> float:
        return time.monotonic() - self._start

    @contextmanager
    def phase(self, name: str, judged: bool = True) -> Iterator[None]:
        """Name what happens inside the block."""
        phase = Phase(name, self.now(), 0.0, judged)
        self.phases.append(phase)
        try:
            yield
        finally:
            phase.end = self.now()

    @contextmanager
    def stages(self, names: Sequence[str]) -> Iterator[None]:
        """Name the passes over the data of the run inside the block; stages of few tasks belong to the one before."""
        begun: dict[int, list[float]] = {}

        def hear(event: Any) -> None:
            if isinstance(event, TaskStarted):
                begun.setdefault(event.key[0], []).append(event.time - self._start)

        begin = self.now()
        with current().executor.events.heard_by([hear]):
            yield
        large = sorted((times for times in begun.values()), key=len)[-len(names) :]
        starts = [begin, *sorted(times[0] for times in large)[1:]]
        for name, at, until in zip(names, starts, [*starts[1:], self.now()], strict=False):
            self.phases.append(Phase(name, at, until, True))

    @property
    def peak(self) -> int:
        """The most bytes above the base, in the phases that are judged."""
        spans = [(p.begin, p.end) for p in self.phases if p.judged]
        return max(look.resident for look in self.looks if any(lo <= look.time <= hi for lo, hi in spans))

    @property
    def engine_peak(self) -> int:
        """The most bytes that the engine had promised or held at once."""
        return int(self._memory.states()[0].peak)

    def moved(self, phase: Phase) -> tuple[int, int]:
        """Bytes read and written in a phase."""
        first, last = self._at(phase.begin), self._at(phase.end)
        return last.read - first.read, last.written - first.written

    def _at(self, moment: float) -> Look:
        return min(self.looks, key=lambda look: abs(look.time - moment))
