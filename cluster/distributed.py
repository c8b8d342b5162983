"""Run plans on the workers of dask.distributed.

dask's scheduler brings orders to workers, sees which are alive, and shows what they do. Which task runs where, and what
must be done again, is decided here (`gpuarray.cluster.schedule`); chunks stay on workers (`gpuarray.cluster.worker`).
"""

from __future__ import annotations

import itertools
import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from gpuarray.cluster.dispatch import Dispatch
from gpuarray.cluster.events import Events, RunDone, RunFailed, RunStarted, Subscriber, monotonic
from gpuarray.cluster.finalizers import finalize
from gpuarray.cluster.hands import Hand, Hands
from gpuarray.cluster.kept import ClusterKept
from gpuarray.cluster.link import Link, Unreachable
from gpuarray.cluster.orders import Limits
from gpuarray.cluster.schedule import Record, Schedule
from gpuarray.cluster.shipping import dumps
from gpuarray.cluster.task import Chunk, Key, Plan
from gpuarray.kernels.errors import ClusterError

DEPTH = 256
"""Tasks read ahead, at least."""


class DistributedExecutor:
    """Runs plans on every worker of a `distributed.Client`. Several threads may run plans at once.

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
        self.workers = Hands(self.link, timeout)
        self._numbers = itertools.count()
        self._runs = itertools.count(1)
        self._let_go: deque[Record] = deque()
        self.workers.look()
        facts = [self.link.facts(worker) for worker in self.hands]
        self.backend_name: str = facts[0]["backend"]
        self.device: bool = facts[0]["device"]
        if len({f["backend"] for f in facts}) > 1:
            names = ", ".join(sorted({f["backend"] for f in facts}))
            raise ClusterError(f"the workers compute with different libraries ({names}); say device= for all of them")
        self.limit: int = min(f["limit"] for f in facts)
        self.host_limit: int = min(f["host_limit"] for f in facts)

    @property
    def hands(self) -> dict[str, Hand]:
        """The workers that take part now, by address."""
        return dict(self.workers.known)

    @property
    def threads_each(self) -> int:
        """How many tasks a worker performs at once."""
        return max((hand.threads for hand in self.hands.values()), default=1)

    @property
    def threads(self) -> int:
        """How many tasks all workers perform at once."""
        return max(1, sum(hand.threads for hand in self.hands.values()))

    def statistics(self) -> dict[str, dict[str, Any]]:
        """By worker: bytes of every tier, bytes fetched from others and sent to them. Without those that are gone."""
        found = {}
        for worker in self.hands:
            try:
                found[worker] = self.link.ask(worker, "statistics")
            except Unreachable:
                self.link.check()
        return found

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
                Dispatch(self, Schedule(record, plan, self._depth()), number).work()
            except BaseException as error:
                record.held = False
                self.forget(record.name)
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
        with self.workers.lock:
            lost = [(record, key) for key in keys if key not in record.places]
            if not lost:
                return
            schedule = Schedule(record, None, self._depth())
            for worker in self.workers.known:
                schedule.joined(worker)
            schedule.restore(lost)
        Dispatch(self, schedule, 0).work()

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
        with self.workers.lock:
            self.workers.records.add(record)
        return record

    def _depth(self) -> int:
        return max(DEPTH, 16 * self.threads)

    def forget(self, name: str) -> None:
        """Have all workers forget a run. Safe in a finalizer."""
        self.link.tell_later("close", runs=[name])

    def let_go(self, record: Record) -> None:
        """Nobody refers to what a run kept. What was made from it may need to be made again: the plan is still known.
        Safe in a finalizer."""
        record.held = False
        self._let_go.append(record)  # its books may be in use right now, in this very thread
        self.forget(record.name)

    def tidy(self) -> None:
        """Close the books of what was let go. With the lock."""
        while self._let_go:
            record = self._let_go.popleft()
            record.places.clear()
            record.sizes.clear()
            record.opened.clear()

    def _tell(self, event: Any) -> None:
        if self.events:
            self.events.emit(event)
