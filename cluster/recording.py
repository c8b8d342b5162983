"""What a report is drawn from: the events of runs, summed into bins of time.

A million tasks take no more memory than a few thousand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gpuarray.cluster.events import (
    Event,
    MemoryState,
    Moved,
    RunDone,
    RunFailed,
    RunStarted,
    TaskDone,
    TaskStarted,
    monotonic,
)
from gpuarray.cluster.task import Key
from gpuarray.cluster.timeline import MoveTotal, StageTotal

BINS = 480
"""Columns of a picture."""
FINEST = 1e-3
"""Seconds of a bin, at first: the length doubles whenever the time outgrows the bins."""
EXACT = 2_000
"""Tasks up to which each is remembered, and drawn."""
MOST_NAMES, MOST_WORKERS = 200, 256
MOST_NUMBER = 1 << 20
"""Workers have small numbers; a thread of this process is known by an address."""
OTHER = "other operations"
HERE = "this process"


class Bins:
    """Numbers over time, in a fixed number of bins.

    >>> bins = Bins(lambda a, b: a + b, count=4, width=1.0)
    >>> bins.spread(0.5, 2.5, 10.0)
    >>> bins.values
    [2.5, 5.0, 2.5, 0.0]
    >>> bins.at(6.0, 1.0)
    >>> bins.width, bins.values
    (2.0, [7.5, 2.5, 0.0, 1.0])

    Parameters
    ----------
    merge : makes one value of two neighbours'
    """

    __slots__ = ("merge", "values", "width")

    def __init__(self, merge: Callable[[float, float], float], count: int = BINS, width: float = FINEST) -> None:
        self.merge, self.width = merge, width
        self.values = [0.0] * count

    def reach(self, time: float) -> None:
        """Make the bins long enough to hold a time."""
        count = len(self.values)
        while time >= count * self.width:
            pairs = zip(self.values[::2], self.values[1::2], strict=True)
            self.values = [self.merge(a, b) for a, b in pairs] + [0.0] * (count // 2)
            self.width *= 2

    def at(self, time: float, value: float) -> None:
        """Merge a value into the bin of a time."""
        self.reach(time)
        index = max(0, int(time / self.width))
        self.values[index] = self.merge(self.values[index], value)

    def spread(self, start: float, stop: float, amount: float) -> None:
        """Add an amount, evenly from one time to another."""
        start = max(0.0, start)
        if stop <= start:
            self.at(start, amount)
            return
        self.reach(stop)
        first, last = int(start / self.width), min(int(stop / self.width), len(self.values) - 1)
        for n in range(first, last + 1):
            share = min(stop, (n + 1) * self.width) - max(start, n * self.width)
            self.values[n] += amount * max(0.0, share) / (stop - start)


def summing() -> Bins:
    return Bins(lambda a, b: a + b)


def largest() -> Bins:
    return Bins(max)


@dataclass(slots=True)
class Span:
    """A task that is drawn by itself."""

    worker: str
    lane: int
    start: float
    stop: float
    name: str
    key: Key
    done: TaskDone


@dataclass(slots=True)
class RunRecord:
    """A run: what it computes, when, and how it ended."""

    names: dict[int, str]
    tasks: int
    start: float
    stop: float | None = None
    error: str | None = None


@dataclass(slots=True)
class Memory:
    """Bytes of a tier of a worker over time."""

    used: Bins = field(default_factory=largest)
    limit: int | None = None
    peak: int = 0


@dataclass(slots=True)
class Order:
    """Tasks that were given to a worker together, which does one after the other."""

    lane: int
    """Which of the tasks that the worker has at once."""
    clock: float
    left: int
    size: int


class Recording:
    """Hears of runs and remembers what a picture of them needs, within bounds.

    >>> from gpuarray.cluster.task import StageInfo
    >>> recording = Recording(start=0.0)
    >>> recording(RunStarted(0.0, 1, (StageInfo(0, "sum", "", 1),)))
    >>> recording(TaskStarted(0.0, 1, (0, 0), 7))
    >>> recording(TaskDone(1.0, 1, (0, 0), 7, load=0.5, wait=0.0, compute=0.5, store=0.0, nbytes=2048))
    >>> recording.totals["sum"].tasks
    1
    """

    def __init__(self, start: float | None = None) -> None:
        self.start = monotonic() if start is None else start
        self.stop = 0.0
        """Seconds from the start to the last event."""
        self.runs: list[RunRecord] = []
        self.totals: dict[str, StageTotal] = {}
        """By operation."""
        self.busy: dict[str, dict[str, Bins]] = {}
        """Seconds of tasks, by worker and operation."""
        self.lanes: dict[str, int] = {}
        """The most tasks that a worker had at once."""
        self.spans: list[Span] | None = []
        """Each task; None once there are too many."""
        self.memory: dict[str, dict[str, Memory]] = {}
        """By worker and tier."""
        self.moves: dict[str, dict[str, Bins]] = {}
        """Bytes, by worker and way (``"host to disk"``)."""
        self.moved: dict[str, MoveTotal] = {}
        self.workers: dict[int, str] = {}
        """Names of the workers of a cluster, which events know by their number."""
        self._open: dict[int, RunRecord] = {}
        self._started: dict[tuple[int, Key], tuple[str, float]] = {}
        self._orders: dict[tuple[str, float], Order] = {}
        self._taken: dict[str, set[int]] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            now = event.time - self.start
            self.stop = max(self.stop, now)
            if isinstance(event, TaskStarted):
                self._begin(event, now)
            elif isinstance(event, TaskDone):
                self._end(event, now)
            elif isinstance(event, MemoryState):
                for tier in event.tiers:
                    self._hold(HERE, tier.name, now, tier.held + tier.reserved, tier.limit, tier.peak)
            elif isinstance(event, Moved):
                self._move(HERE, f"{event.src} to {event.dst}", now, event.nbytes, event.seconds)
            elif isinstance(event, RunStarted):
                names = {stage.number: stage.label for stage in event.stages}
                run = RunRecord(names, sum(stage.tasks for stage in event.stages), now)
                self.runs.append(run)
                self._open[event.run] = run
            elif isinstance(event, RunDone | RunFailed) and event.run in self._open:
                run = self._open.pop(event.run)
                run.stop = now
                run.error = event.error if isinstance(event, RunFailed) else None
                self._give_up(event.run)

    # Tasks

    def _worker(self, number: int) -> str:
        if number > MOST_NUMBER:
            return HERE
        known = self.workers.get(number, f"worker {number}")
        return known if known in self.lanes or len(self.lanes) < MOST_WORKERS else "other workers"

    def _begin(self, event: TaskStarted, now: float) -> None:
        worker = self._worker(event.thread)
        order = self._orders.get((worker, now))
        if order is None:
            taken = self._taken.setdefault(worker, set())
            lane = next(n for n in range(len(taken) + 1) if n not in taken)
            taken.add(lane)
            self.lanes[worker] = max(self.lanes.get(worker, 0), lane + 1)
            order = self._orders[worker, now] = Order(lane, now, 0, 0)
        order.left += 1
        order.size += 1
        self._started[event.run, event.key] = worker, now

    def _end(self, event: TaskDone, now: float) -> None:
        worker, begun = self._started.pop((event.run, event.key), (self._worker(event.thread), -1.0))
        order = self._orders.get((worker, begun))
        seconds = event.load + event.wait + event.compute + event.store
        lane, start, stop = 0, max(0.0, now - seconds), now
        if order is not None:
            start = order.clock
            # of several that were given together, only the sum of their times is known
            stop = now if order.size == 1 else min(now, start + seconds)
            order.clock, lane = stop, order.lane
            self._leave(worker, begun, order)
        self.lanes.setdefault(worker, 1)
        run = self._open.get(event.run)
        name = self._named((run.names if run is not None else {}).get(event.key[0], "task"))
        total = self.totals.setdefault(name, StageTotal())
        total.tasks += 1
        total.load += event.load
        total.wait += event.wait
        total.compute += event.compute
        total.store += event.store
        total.nbytes += event.nbytes
        self.busy.setdefault(worker, {}).setdefault(name, summing()).spread(start, stop, stop - start)
        if self.spans is not None:
            self.spans.append(Span(worker, lane, start, stop, name, event.key, event))
            if len(self.spans) > EXACT:
                self.spans = None

    def _named(self, name: str) -> str:
        return name if name in self.totals or len(self.totals) < MOST_NAMES else OTHER

    def _leave(self, worker: str, begun: float, order: Order) -> None:
        order.left -= 1
        if not order.left:
            del self._orders[worker, begun]
            self._taken[worker].discard(order.lane)

    def _give_up(self, run: int) -> None:
        """Forget tasks that were under way when their run ended."""
        for number, key in [begun for begun in self._started if begun[0] == run]:
            worker, begun = self._started.pop((number, key))
            order = self._orders.get((worker, begun))
            if order is not None:
                self._leave(worker, begun, order)

    # Bytes

    def _hold(self, worker: str, tier: str, now: float, used: int, limit: int | None, peak: int) -> None:
        memory = self.memory.setdefault(worker, {}).setdefault(tier, Memory())
        memory.used.at(max(0.0, now), used)
        memory.limit = limit
        memory.peak = max(memory.peak, used, peak)

    def _move(self, worker: str, way: str, now: float, nbytes: int, seconds: float, moves: int = 1) -> None:
        self.moves.setdefault(worker, {}).setdefault(way, summing()).spread(now - seconds, now, nbytes)
        total = self.moved.setdefault(way, MoveTotal())
        total.moves += moves
        total.nbytes += nbytes
        total.seconds += seconds

    def looked(
        self, worker: str, statistics: Mapping[str, Any], before: Mapping[str, Any] | None, seconds: float
    ) -> None:
        """Take in what a worker of a cluster says of itself, and what it said `seconds` ago."""
        with self._lock:
            now = monotonic() - self.start
            self.stop = max(self.stop, now)
            for name, tier in statistics["tiers"].items():
                self._hold(worker, name, now, tier["held"] + tier["reserved"], tier["limit"], tier["peak"])
                came = tier["moved_in"] - (before["tiers"][name]["moved_in"] if before else 0)
                if came:
                    self._move(worker, f"into {name}", now, came, seconds)
            came = statistics["fetched"] - (before["fetched"] if before else 0)
            if came:
                fetches = statistics["fetches"] - (before["fetches"] if before else 0)
                self._move(worker, "from other workers", now, came, seconds, fetches)

    def slowest_first(self) -> list[str]:
        """Operations by the seconds that their tasks took."""
        return sorted(self.totals, key=lambda name: (-seconds_of(self.totals[name]), name))


def seconds_of(total: StageTotal) -> float:
    return total.load + total.wait + total.compute + total.store


def combined(bins: Iterable[Bins], stop: float, columns: int) -> list[list[float]]:
    """Sums over time as one list for each, all with the same columns from 0 to `stop`."""
    made = []
    for one in bins:
        row = summing_bins(columns, stop)
        for n, value in enumerate(one.values):
            if value:
                start = n * one.width
                row.spread(min(start, stop * 0.999999), min(start + one.width, stop * 0.999999), value)
        made.append(row.values)
    return made


def summing_bins(columns: int, stop: float) -> Bins:
    return Bins(lambda a, b: a + b, columns, max(stop, 1e-9) / columns)
