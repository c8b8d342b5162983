"""A run on the workers: orders go out, and what comes back decides what is next."""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from typing import TYPE_CHECKING, Any

from gpuarray.cluster.events import TaskDone, TaskStarted, monotonic
from gpuarray.cluster.hands import Hand, Sent
from gpuarray.cluster.kept import checksum
from gpuarray.cluster.link import LostWorker, Unreachable
from gpuarray.cluster.orders import Item, Order, Unfinished
from gpuarray.cluster.schedule import Job, Record, Schedule, describe
from gpuarray.cluster.sizes import format_bytes
from gpuarray.cluster.task import Key
from gpuarray.kernels.errors import ClusterError, TaskError

if TYPE_CHECKING:
    from gpuarray.cluster.distributed import DistributedExecutor

LOOK = 0.5
"""Seconds between two looks at which workers are alive."""
QUICK, LONG = 0.05, 0.4
"""Seconds: orders that are done faster get more tasks, those that take longer get fewer."""
MOST_ITEMS = 256
MANY = 5
"""A task's workers may die so many times as often as it is tried again, if other tasks are done in between."""
STALLED = 20
"""Looks in a row at which there is something to do and nobody who does it."""


class Dispatch:
    """One run under way, in the thread that asked for it. Several share the workers.

    Parameters
    ----------
    number : of the run, in events
    """

    def __init__(self, executor: DistributedExecutor, schedule: Schedule, number: int) -> None:
        self.executor, self.schedule, self.number = executor, schedule, number
        self.hands, self.link, self.events = executor.workers, executor.link, executor.events
        self.hurt = False
        self._arrived: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._full = False
        """A worker had no room for a chunk from here."""
        self._stalled = 0

    def work(self) -> None:
        """Hand out orders until everything is done."""
        with self.hands.lock:
            self.hands.runs.append(self)
        try:
            self._work()
        finally:
            with self.hands.lock:
                self.hands.runs.remove(self)
                self._withdraw()

    def _work(self) -> None:
        with self.hands.lock:
            self.hands.meet()
        looked = alone = time.monotonic()
        while True:
            with self.hands.lock:
                self.executor.tidy()
                self.schedule.extend()
                if self.schedule.finished():
                    return
                self._hand_out()
            arrived = self._wait()
            now = time.monotonic()
            with self.hands.lock:
                for worker, name in arrived:
                    self._take_back(worker, name)
                if now - looked >= LOOK:
                    looked = now
                    self.hands.meet()
                    self._check_stalled()
                    if self.hands.known:
                        alone = now
                if self.hurt:
                    self._check_deaths()
            if now - alone > self.executor.timeout:
                raise ClusterError(
                    f"the cluster has had no worker for {self.executor.timeout:g} s, and the run is not finished; "
                    "start workers, or raise timeout="
                )

    def _wait(self) -> list[tuple[str, str]]:
        """The orders that came back, as (worker, name); none if it took too long."""
        arrived = []
        with contextlib.suppress(queue.Empty):
            arrived.append(self._arrived.get(timeout=LOOK))
            while True:
                arrived.append(self._arrived.get_nowait())
        return arrived

    def _mine(self, hand: Hand) -> list[Sent]:
        return [sent for sent in hand.sent.values() if sent.run is self]

    def _withdraw(self) -> None:
        """Give up what is still on its way: the run has failed."""
        for hand in self.hands.known.values():
            mine = self._mine(hand)
            for sent in mine:
                del hand.sent[sent.name]
            self.link.cancel([sent.future for sent in mine])

    # What must not go on for ever

    def _check_deaths(self) -> None:
        """Raise ClusterError where a task's workers keep dying."""
        self.hurt = False
        retries = self.executor.retries
        for job in self.schedule.jobs.values():
            if job.deaths_in_row > retries or job.deaths > MANY * retries:
                raise ClusterError(
                    f"{job.deaths} workers died while they performed {describe(job)}. It was to take "
                    f"{format_bytes(job.task.load_nbytes + job.task.work_nbytes)} of the "
                    f"{format_bytes(self.executor.limit)} that a worker may use: a function that takes more than that, "
                    "or a crash in it, ends a process. Look into the workers' logs, use smaller chunks, or lower "
                    "host_memory"
                )

    def _check_stalled(self) -> None:
        """Raise ClusterError if nobody does what is to be done, which would be a mistake of ours."""
        if self._full or not self.hands.known or any(map(self._mine, self.hands.known.values())):
            self._stalled = 0
            return
        self._stalled += 1
        self.schedule.retry(list(self.schedule.jobs.values()))
        if self._stalled > STALLED:
            job = next(iter(self.schedule.jobs.values()), None)
            what = "nothing" if job is None else f"{describe(job)}, which waits for {sorted(k for _, k in job.missing)}"
            raise ClusterError(f"internal error: no worker is told to do what is left: {what}")

    # Out

    def _hand_out(self) -> None:
        """Give every worker as much as it has threads, and as much again to wait there."""
        self._full = False
        progress = True
        while progress:
            progress = False
            for worker, hand in list(self.hands.known.items()):
                if len(self._mine(hand)) >= 2 * hand.threads:
                    continue
                jobs = self.schedule.take(worker, hand.items, not hand.sent)
                if jobs:
                    progress = self._send(worker, hand, jobs) or progress
            if progress:
                self.schedule.extend()

    def _send(self, worker: str, hand: Hand, jobs: list[Job]) -> bool:
        """Send an order. Whether that, or another try, may do any good."""
        try:
            for job in jobs:
                self._provide(job, worker, hand)
            items = tuple(self._item(job) for job in jobs)
        except (LostWorker, LostChunk, Full) as error:
            for job in jobs:
                job.worker = None
            if isinstance(error, LostWorker):
                for job in jobs:  # or one that can never be reached would be tried for ever
                    job.died(self.schedule.tasks_done)
                self.hands.bury(worker)
            self._full = self._full or isinstance(error, Full)
            self.schedule.retry(jobs)
            return isinstance(error, LostChunk)
        label = (jobs[0].record.stages.get(jobs[0].task.key[0]) or _NAMELESS).label
        name = f"{_plain(label)}-{uuid.uuid4().hex}"
        order = Order(self.executor.name, name, items, tuple(self.schedule.drops.pop(worker, ())))
        sent = Sent(name, self, worker, jobs, items, monotonic())
        if not hand.sent:
            hand.heard = time.monotonic()
        hand.sent[name] = sent
        sent.future = self.link.submit(order, worker, lambda _: self._arrived.put((worker, name)))
        if self.events:
            for job in jobs:
                self._tell(TaskStarted(sent.start, self.number, job.task.key, hand.number))
        return True

    def _provide(self, job: Job, worker: str, hand: Hand) -> None:
        """Send what the worker needs to know of the plan, and the chunks that only this process has."""
        self._open(job.record, worker)
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
            # with tasks under way, it waits here for them to make room: a question that waits there could time out
            patient = not hand.sent
            reply = self._ask(worker, "put", run=home.name, key=key, arrays=list(chunk), patient=patient)
            if reply["status"] == "full":
                raise Full
            if reply["status"] != "OK":  # it has forgotten the run meanwhile
                home.opened.discard(worker)
                raise LostChunk
            self.schedule.count_readers(home, key)
            self.schedule.arrived((home, key), worker, sum(a.nbytes for a in chunk))

    def _open(self, record: Record, worker: str) -> None:
        if worker not in record.opened:
            self._ask(worker, "open", run=record.name, plan=record.payload, returns=bool(record.sinks))
            record.opened.add(worker)

    def _ask(self, worker: str, what: str, **message: Any) -> dict[str, Any]:
        try:
            return self.link.ask(worker, what, **message)
        except Unreachable as error:
            raise LostWorker(worker) from error

    def _item(self, job: Job) -> Item:
        sources: dict[Key, tuple[str, str, bool]] = {}
        for home, key in job.refs:
            at = home.places.get(key)
            if at is None:
                raise LostChunk
            sources[key] = (home.name, at, home.readers.get(key, 0) > 1 or key in home.kept)
        return Item(job.record.name, job.task.key, sources, max(0, job.position))

    # Back

    def _take_back(self, worker: str, name: str) -> None:
        hand = self.hands.known.get(worker)
        sent = hand.sent.pop(name, None) if hand is not None else None
        if hand is None or sent is None:  # buried meanwhile
            return
        hand.heard, hand.unanswered = time.monotonic(), 0
        error = self.link.outcome(sent.future)
        seconds = monotonic() - sent.start
        if error is None:
            if seconds < QUICK:
                hand.items = min(MOST_ITEMS, 2 * hand.items)
                # as much again as is on its way is ready to be sent
                self.schedule.depth = max(
                    self.schedule.depth, sum(4 * h.threads * h.items for h in self.hands.known.values())
                )
            elif seconds > LONG:
                hand.items = max(1, hand.items // 2)
            self._finish(worker, sent.jobs, seconds)
        elif isinstance(error, Unfinished):
            self._finish(worker, sent.jobs[: error.done], seconds)
            self._look_for(sent, error)
            self.schedule.retry(job for job in sent.jobs[error.done :] if job.worker == worker)
        elif isinstance(error, LostWorker):
            hand.sent[name] = sent
            self.hands.meet()
            if self.hands.known.get(worker) is hand and name in hand.sent:
                del hand.sent[name]
                self.given_up(sent)  # dask has given the order up, and the worker lives
        else:
            raise error

    def given_up(self, sent: Sent) -> None:
        """An order will not come back, and its worker lives."""
        for job in sent.jobs:
            job.died(self.schedule.tasks_done)
        self.schedule.retry(sent.jobs)
        self.hurt = True

    def _look_for(self, sent: Sent, error: Unfinished) -> None:
        """A worker did not know a run, or could not get chunks."""
        known = {record.name: record for record in self.hands.records}
        for run in error.unknown:
            if run in known:
                known[run].opened.discard(sent.worker)
        if not error.lost:
            return
        job, item = sent.jobs[error.done], sent.items[error.done]
        job.fruitless += 1
        for run, key in error.lost:
            holder = item.sources[key][1]
            if run in known:
                self.schedule.lost(holder, [(known[run], key)])
            if job.fruitless > MANY * (1 + self.executor.retries):
                raise ClusterError(
                    f"the worker {sent.worker} cannot get chunks from {holder}, which it needs for {describe(job)}, "
                    f"after {job.fruitless} tries; see that workers can reach each other, or raise timeout="
                )

    def _finish(self, worker: str, jobs: list[Job], seconds: float) -> None:
        lost: set[Key] = set()
        for record in {job.record for job in jobs if job.record.sinks}:
            asked = [job.task.key for job in jobs if job.record is record]
            lost |= self.link.write_results(worker, record, asked)  # stage numbers are of one plan alone
        for job in jobs:
            if job.worker != worker:  # a subscriber has run something, and the worker was buried
                continue
            if job.task.key in lost:  # the worker is gone, or was, and what it had for us with it
                self.schedule.retry([job])
                continue
            self.schedule.done(job)
            if self.events:
                nbytes = job.task.load_nbytes + job.task.work_nbytes
                hand = self.hands.known.get(worker)
                thread, each = 0 if hand is None else hand.number, seconds / len(jobs)
                self._tell(TaskDone(monotonic(), self.number, job.task.key, thread, 0.0, 0.0, each, 0.0, nbytes))

    def _tell(self, event: Any) -> None:
        if self.events:
            self.events.emit(event)


class LostChunk(Exception):
    """A chunk is gone that was there when its reader was chosen."""


class Full(Exception):
    """A worker has no room for a chunk before a task of its ends."""


class _Nameless:
    label = "task"


_NAMELESS = _Nameless()


def _plain(label: str) -> str:
    """A name that dask shows as it is: it takes what comes after a hyphen for a number."""
    return label.replace("-", "_")[:80] or "task"
