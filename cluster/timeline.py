"""What a run did, afterwards."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from gpuarray.cluster.events import (
    Event,
    MemoryState,
    Moved,
    RunDone,
    RunFailed,
    RunStarted,
    TaskDone,
    TierState,
)
from gpuarray.cluster.sizes import format_bytes
from gpuarray.cluster.task import StageInfo


@dataclass(slots=True)
class StageTotal:
    """The sums over the tasks of one stage. Seconds are summed over threads."""

    tasks: int = 0
    load: float = 0.0
    wait: float = 0.0
    compute: float = 0.0
    store: float = 0.0
    nbytes: int = 0


@dataclass(slots=True)
class MoveTotal:
    moves: int = 0
    nbytes: int = 0
    seconds: float = 0.0


class Timeline:
    """Records events and sums them up. Give it to a run, or to an executor, as a subscriber.

    >>> timeline = Timeline()
    >>> timeline(RunStarted(0.0, 1, (StageInfo(0, "add", "script.py:3", 2),)))
    >>> timeline(TaskDone(1.0, 1, (0, 0), 7, load=0.1, wait=0.0, compute=0.8, store=0.1, nbytes=2048))
    >>> timeline(RunDone(1.5, 1, 1.5))
    >>> print(timeline.summary())
    run 1: done in 1.50 s
      stage                                        tasks    load s    wait s compute s   store s  reserved
      add                                            1/2      0.10      0.00      0.80      0.10     2 KiB

    Parameters
    ----------
    capacity : events kept, the oldest are let go; sums count them all
    """

    def __init__(self, capacity: int = 100_000) -> None:
        self.events: deque[Event] = deque(maxlen=capacity)
        self.stages: dict[tuple[int, int], StageTotal] = {}
        """Sums per (run, stage)."""
        self.moves: dict[tuple[str, str], MoveTotal] = {}
        """Sums per (from, to)."""
        self.tiers: tuple[TierState, ...] = ()
        """The last word on every tier."""
        self._runs: dict[int, tuple[StageInfo, ...]] = {}
        self._ends: dict[int, str] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self.events.append(event)
            if isinstance(event, TaskDone):
                total = self.stages.setdefault((event.run, event.key[0]), StageTotal())
                total.tasks += 1
                total.load += event.load
                total.wait += event.wait
                total.compute += event.compute
                total.store += event.store
                total.nbytes += event.nbytes
            elif isinstance(event, Moved):
                move = self.moves.setdefault((event.src, event.dst), MoveTotal())
                move.moves += 1
                move.nbytes += event.nbytes
                move.seconds += event.seconds
            elif isinstance(event, MemoryState):
                self.tiers = event.tiers
            elif isinstance(event, RunStarted):
                self._runs[event.run] = event.stages
            elif isinstance(event, RunDone):
                self._ends[event.run] = f"done in {event.seconds:.2f} s"
            elif isinstance(event, RunFailed):
                self._ends[event.run] = f"failed after {event.seconds:.2f} s: {event.error}"

    def summary(self) -> str:
        """A table of stages per run, the tiers' peaks against their limits, and the moves between them."""
        with self._lock:
            return "\n".join([*self._stage_lines(), *self._tier_lines(), *self._move_lines()])

    def _stage_lines(self) -> Iterable[str]:
        for run, stages in self._runs.items():
            yield f"run {run}: {self._ends.get(run, 'under way')}"
            yield (
                f"  {'stage':<40} {'tasks':>9} {'load s':>9} {'wait s':>9} {'compute s':>9} {'store s':>9} "
                f"{'reserved':>9}"
            )
            for stage in stages:
                total = self.stages.get((run, stage.number), StageTotal())
                label = stage.label if len(stage.label) <= 40 else stage.label[:37] + "..."
                yield (
                    f"  {label:<40} {f'{total.tasks}/{stage.tasks}':>9} {total.load:>9.2f} {total.wait:>9.2f} "
                    f"{total.compute:>9.2f} {total.store:>9.2f} {format_bytes(total.nbytes):>9}"
                )

    def _tier_lines(self) -> Iterable[str]:
        for tier in self.tiers:
            limit = "no limit" if tier.limit is None else f"limit {format_bytes(tier.limit)}"
            yield f"{tier.name}: peak {format_bytes(tier.peak)} ({limit}), holds {format_bytes(tier.held)}"

    def _move_lines(self) -> Iterable[str]:
        for (src, dst), total in self.moves.items():
            rate = f", {format_bytes(total.nbytes / total.seconds)}/s" if total.seconds and total.nbytes else ""
            yield f"{src} to {dst}: {total.moves} moves, {format_bytes(total.nbytes)}, {total.seconds:.2f} s{rate}"
