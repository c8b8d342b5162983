"""Run plans on the workers of dask.distributed.

dask's scheduler brings orders to workers, sees which are alive, and shows what they do. Which task runs where, and what
must be done again, is decided here (`gpuarray.cluster.schedule`); chunks stay on workers (`gpuarray.cluster.worker`).
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import time
import uuid
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gpuarray.cluster.events import Events, RunDone, RunFailed, RunStarted, Subscriber, TaskDone, TaskStarted, monotonic
from gpuarray.cluster.finalizers import finalize
from gpuarray.cluster.kept import ClusterKept, checksum
from gpuarray.cluster.link import Link, LostWorker
from gpuarray.cluster.orders import Item, Limits, Order, Unfinished
from gpuarray.cluster.schedule import Job, Record, Schedule, describe
from gpuarray.cluster.shipping import dumps
from gpuarray.cluster.sizes import format_bytes
from gpuarray.cluster.task import Chunk, Key, Plan
from gpuarray.kernels.errors import ClusterError, TaskError

LOOK = 0.5
"""Seconds between two looks at which workers are alive."""
QUICK, LONG = 0.05, 0.4
"""Seconds: orders that are done faster get more tasks, those that take longer get fewer."""
MOST_ITEMS = 64
MANY = 5
"""A task's workers may die so many times as often as it is tried again, if other tasks are done in between."""
DEPTH = 256
"""Tasks read ahead, at least."""


@dataclass(eq=False)
class Sent:
    """An order on its way."""

    worker: str
    jobs: list[Job]
    items: tuple[Item, ...]
    future: Any
    start: float


@dataclass(eq=False)
class Hand:
    """What the client knows of a worker."""

    threads: int
    number: int
    items: int = 1
    """Tasks of an order."""
    sent: dict[str, Sent] = field(default_factory=dict)


class DistributedExecutor:
    """Runs plans on every worker of a `distributed.Client`.

    Parameters
    ----------
    client : a connected `distributed.Client`; it is not closed here
    limits : of each worker
    timeout : seconds that anything on the network may take, and that a run waits for a worker when there is none
    retries : how often a task is tried again whose worker died under it
    subscribers : told of every run

    Raises
    ------
    ClusterError
        if there is no worker in time, or one does not match this process.
    """

    def __init__(
        self,
        client: Any,
        limits: Limits,
        *,
        timeout: float = 30.0,
        retries: int = 3,
        subscribers: Iterable[Subscriber] = (),
    ) -> None:
        self.name = f"gpuarray-{uuid.uuid4().hex[:12]}"
        self.retries, self.timeout = retries, timeout
        self.events = Events(subscribers)
        self.link = Link(client, self.name, timeout)
        self.link.install(limits)
        self.hands: dict[str, Hand] = {}
        self._numbers = itertools.count()
        self._runs = itertools.count(1)
        self._records: weakref.WeakSet[Record] = weakref.WeakSet()
        self._look()
        self._new: set[str] = set()
        """Workers that were found at the last look and may not be ready."""
        facts = [self.link.facts(worker) for worker in self.hands]
        self.backend_name: str = facts[0]["backend"]
        self.device: bool = facts[0]["device"]
        if len({f["backend"] for f in facts}) > 1:
            names = ", ".join(sorted({f["backend"] for f in facts}))
            raise ClusterError(f"the workers compute with different libraries ({names}); say device= for all of them")
        self.limit: int = min(f["limit"] for f in facts)
        self.host_limit: int = min(f["host_limit"] for f in facts)

    @property
    def threads_each(self) -> int:
        """How many tasks a worker performs at once."""
        return max((hand.threads for hand in self.hands.values()), default=1)

    @property
    def threads(self) -> int:
        """How many tasks all workers perform at once."""
        return max(1, sum(hand.threads for hand in self.hands.values()))

    def statistics(self) -> dict[str, dict[str, Any]]:
        """By worker: bytes of every tier, bytes fetched from others and sent to them."""
        return {worker: self.link.ask(worker, "statistics") for worker in self.hands}

    def close(self) -> None:
        """Forget everything on the workers. What was kept there is lost."""
        self.link.closed = True
        self.link.remove()

    # Runs

    def run(self, plan: Plan, subscribers: Iterable[Subscriber] = ()) -> Mapping[Key, Chunk]:
        """Run every task of a plan; return the chunks in ``plan.kept``, which stay on the workers as long as the
        mapping lives.

        Raises
        ------
        ClusterError
            if the scheduler is lost, no worker is left, or a task's workers keep dying.
        TaskError
            if something cannot be pickled, or the plan breaks its promises.
        Exception
            whatever a task raised first, with a note that names the operation and the line that asked for it.
        """
        number = next(self._runs)
        with self.events.heard_by(subscribers):
            start = monotonic()
            self._tell(RunStarted(start, number, plan.stages))
            record = self._record(plan)
            try:
                self._work(Schedule(record, plan, self._depth()), number)
            except BaseException as error:
                self._abandon(record)
                self._tell(RunFailed(monotonic(), number, monotonic() - start, f"{type(error).__name__}: {error}"))
                raise
            self._tell(RunDone(monotonic(), number, monotonic() - start))
        if not plan.kept:
            record.held = False
            self.forget(record.name)
            return {}
        return ClusterKept(self, record)

    def restore(self, record: Record, keys: Iterable[Key]) -> None:
        """Have chunks of an earlier run made again that were lost with their worker."""
        lost = [(record, key) for key in keys]
        if all(key in record.places for _, key in lost):
            return
        schedule = Schedule(record, None, self._depth())
        for worker in self.hands:
            schedule.joined(worker)
        schedule.restore(lost)
        self._work(schedule, 0)

    def _record(self, plan: Plan) -> Record:
        sinks: list[Any] = []
        portable = plan.portable()
        given = {
            stage: found.record if isinstance(found, ClusterKept) else found for stage, found in plan.given.items()
        }
        record = Record(
            f"{next(self._numbers)}-{uuid.uuid4().hex[:8]}",
            portable,
            dumps(portable, sinks),
            sinks,
            given,
            frozenset(plan.kept),
            {stage.number: stage for stage in plan.stages},
        )
        # its own chunks go when it does; those it reads are of records that it refers to
        finalize(record, self.forget, record.name)
        self._records.add(record)
        return record

    def _depth(self) -> int:
        return max(DEPTH, 16 * self.threads)

    def _abandon(self, record: Record) -> None:
        record.held = False
        for hand in self.hands.values():
            futures = [sent.future for sent in hand.sent.values()]
            hand.sent.clear()
            self.link.cancel(futures)
        self.forget(record.name)

    def forget(self, name: str) -> None:
        """Have all workers forget a run. Safe in a finalizer."""
        self.link.tell_later("close", runs=[name])

    def _tell(self, event: Any) -> None:
        if self.events:
            self.events.emit(event)

    # The loop

    def _work(self, schedule: Schedule, number: int) -> None:
        """Hand out orders until everything is done."""
        arrived: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._meet(schedule)
        looked = alone = time.monotonic()
        while True:
            schedule.extend()
            if schedule.finished():
                return
            self._hand_out(schedule, arrived, number)
            with contextlib.suppress(queue.Empty):
                self._take_back(schedule, arrived.get(timeout=LOOK), number)
                while True:
                    self._take_back(schedule, arrived.get_nowait(), number)
            now = time.monotonic()
            if now - looked >= LOOK:
                looked = now
                self._meet(schedule)
                if self.hands:
                    alone = now
                elif now - alone > self.timeout:
                    raise ClusterError(
                        f"the cluster has had no worker for {self.timeout:g} s, and the run is not finished; start "
                        "workers, or raise timeout="
                    )

    def _look(self) -> tuple[list[str], list[str]]:
        """Who is there now: the workers that joined, and those that are gone."""
        alive = self.link.workers()
        gone = [worker for worker in self.hands if worker not in alive]
        joined = [worker for worker in alive if worker not in self.hands]
        for worker in joined:
            self.hands[worker] = Hand(alive[worker], len(self.hands))
        return joined, gone

    def _meet(self, schedule: Schedule) -> None:
        joined, gone = self._look()
        for worker in gone:
            self._bury(schedule, worker)
        for worker in joined:
            # dask gives it its store after it has joined: not at the look that finds it
            if worker not in self._new or not self.link.ready(worker):
                del self.hands[worker]
        self._new = set(joined)
        for worker in self.hands:
            schedule.joined(worker)

    def _bury(self, schedule: Schedule, worker: str) -> None:
        hand = self.hands.pop(worker, None)
        if hand is None:
            return
        self.link.cancel([sent.future for sent in hand.sent.values()])
        schedule.gone(worker, list(self._records), hand.threads)
        for job in schedule.jobs.values():
            if job.deaths_in_row > self.retries or job.deaths > MANY * self.retries:
                raise ClusterError(
                    f"{job.deaths} workers died while they performed {describe(job)}. It was to take "
                    f"{format_bytes(job.task.load_nbytes + job.task.work_nbytes)} of the {format_bytes(self.limit)} "
                    "that a worker may use: a function that takes more than that, or a crash in it, ends a process. "
                    "Look into the workers' logs, use smaller chunks, or lower host_memory"
                )

    def _hand_out(self, schedule: Schedule, arrived: queue.SimpleQueue[tuple[str, str]], number: int) -> None:
        """Give every worker as much as it has threads, and as much again to wait there."""
        progress = True
        while progress:
            progress = False
            for worker, hand in list(self.hands.items()):
                if len(hand.sent) >= 2 * hand.threads:
                    continue
                jobs = schedule.take(worker, hand.items)
                if jobs:
                    progress = self._send(schedule, worker, hand, jobs, arrived, number) or progress
            if progress:
                schedule.extend()

    def _send(
        self,
        schedule: Schedule,
        worker: str,
        hand: Hand,
        jobs: list[Job],
        arrived: queue.SimpleQueue[tuple[str, str]],
        number: int,
    ) -> bool:
        try:
            for job in jobs:
                self._provide(schedule, job, worker)
            items = tuple(self._item(job) for job in jobs)
        except (LostWorker, LostChunk) as error:
            for job in jobs:
                job.worker = None
            if isinstance(error, LostWorker):
                self._bury(schedule, error.worker)
            schedule.retry(jobs)
            return isinstance(error, LostChunk)
        order = Order(self.name, items, tuple(schedule.drops.pop(worker, ())))
        label = (jobs[0].record.stages.get(jobs[0].task.key[0]) or _NAMELESS).label
        name = f"{_plain(label)}-{uuid.uuid4().hex}"
        sent = Sent(worker, jobs, items, None, monotonic())
        hand.sent[name] = sent
        sent.future = self.link.submit(order, worker, name, lambda _: arrived.put((worker, name)))
        if self.events:
            for job in jobs:
                self._tell(TaskStarted(sent.start, number, job.task.key, hand.number))
        return True

    def _provide(self, schedule: Schedule, job: Job, worker: str) -> None:
        """Send what the worker needs to know of the plan, and the chunks that only this process has."""
        record = job.record
        self._open(record, worker)
        for home, key in job.refs:
            source = home.source(key)
            if key in home.places or source is None:
                continue
            chunk = source.chunk(key[2])
            digest = checksum(chunk)
            if home.sent.setdefault(key, digest) != digest:
                raise TaskError(
                    "an array in memory was changed while a run or a persisted result still needed it: a part that "
                    "was lost with a worker cannot be computed again. Leave it alone, or hand over a copy"
                )
            self._open(home, worker)
            try:
                self.link.ask(worker, "put", run=home.name, key=key, arrays=list(chunk))
            except OSError as error:
                raise LostWorker(worker) from error
            schedule.count_readers(home, key)
            schedule.arrived((home, key), worker, sum(a.nbytes for a in chunk))

    def _open(self, record: Record, worker: str) -> None:
        if worker not in record.opened:
            try:
                self.link.ask(worker, "open", run=record.name, plan=record.payload)
            except OSError as error:
                raise LostWorker(worker) from error
            record.opened.add(worker)

    def _item(self, job: Job) -> Item:
        sources: dict[Key, tuple[str, str, bool]] = {}
        for home, key in job.refs:
            at = home.places.get(key)
            if at is None:
                raise LostChunk
            sources[key] = (home.name, at, home.readers.get(key, 0) > 1 or key in home.kept)
        return Item(job.record.name, job.task.key, sources, max(0, job.position))

    def _take_back(self, schedule: Schedule, arrival: tuple[str, str], number: int) -> None:
        worker, name = arrival
        hand = self.hands.get(worker)
        sent = hand.sent.pop(name, None) if hand is not None else None
        if hand is None or sent is None:  # buried meanwhile
            return
        error = self.link.outcome(sent.future)
        seconds = monotonic() - sent.start
        if error is None:
            if seconds < QUICK:
                hand.items = min(MOST_ITEMS, 2 * hand.items)
            elif seconds > LONG:
                hand.items = max(1, hand.items // 2)
            self._finish(schedule, worker, sent.jobs, number, seconds)
        elif isinstance(error, Unfinished):
            self._finish(schedule, worker, sent.jobs[: error.done], number, seconds)
            known = {record.name: record for record in self._records}
            for run in error.unknown:
                known[run].opened.discard(worker)
            for run, key in error.lost:
                if run in known:
                    schedule.lost(sent.items[error.done].sources[key][1], [(known[run], key)])
            schedule.retry(sent.jobs[error.done :])
        elif isinstance(error, LostWorker):
            for job in sent.jobs:
                job.worker = worker
            hand.sent[name] = sent
            self._meet(schedule)
            if worker in self.hands:  # dask has given the order up, and the worker lives
                hand.sent.pop(name, None)
                for job in sent.jobs:
                    job.died(schedule.tasks_done)
                schedule.retry(sent.jobs)
        else:
            raise error

    def _finish(self, schedule: Schedule, worker: str, jobs: list[Job], number: int, seconds: float) -> None:
        for job in jobs:
            if job.record.sinks:
                try:
                    self.link.write_results(worker, job.record, [job.task.key])
                except ConnectionError:  # the worker is gone, and what it had for us with it
                    schedule.retry([job])
                    continue
            schedule.done(job)
            if self.events:
                each = seconds / len(jobs)
                nbytes = job.task.load_nbytes + job.task.work_nbytes
                thread = self.hands[worker].number if worker in self.hands else 0
                self._tell(TaskDone(monotonic(), number, job.task.key, thread, 0.0, 0.0, each, 0.0, nbytes))


class LostChunk(Exception):
    """A chunk is gone that was there when its reader was chosen."""


class _Nameless:
    label = "task"


_NAMELESS = _Nameless()


def _plain(label: str) -> str:
    """A name that dask shows as it is: it takes what comes after a hyphen for a number."""
    return label.replace("-", "_")[:80] or "task"
