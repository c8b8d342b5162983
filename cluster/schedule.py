"""What a client knows of the tasks that workers perform: which may start, where, and what must be done again.

The plan is read ahead a little, and a worker is told a few tasks at a time: neither the client nor dask's scheduler
holds more than that, however many tasks there are. Where every chunk is, is remembered here alone. A chunk that is
lost with its worker is made again by the task that made it, as are the chunks that this task reads.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gpuarray.cluster.task import Given, Key, Part, Plan, Portable, StageInfo, Task
from gpuarray.kernels.errors import TaskError

SIGNIFICANT = 4
"""Inputs decide where a task runs if they are more than one in so many of the bytes that it needs."""
BACKLOG = 4
"""Waiting tasks of a worker from which others may take some: what comes next finds its inputs where it would be."""
FAR_BEHIND = 16
"""Waiting tasks of a worker from which others may take some whose inputs it has."""


@dataclass(eq=False)
class Record:
    """A run as its client remembers it, as long as anything refers to one of its chunks or is made from them."""

    name: str
    portable: Portable
    payload: bytes
    sinks: list[Any]
    given: dict[int, Given | Record]
    kept: frozenset[Key]
    stages: dict[int, StageInfo]
    places: dict[Key, str] = field(default_factory=dict)
    """The worker that has each chunk."""
    sizes: dict[Key, int] = field(default_factory=dict)
    readers: dict[Key, int] = field(default_factory=dict)
    """How many tasks will still read each chunk."""
    held: bool = True
    """Whether the chunks in `kept` are to be kept."""
    sent: dict[Key, int] = field(default_factory=dict)
    """Checksums of the chunks that went from here to a worker."""
    opened: set[str] = field(default_factory=set)
    """The workers that know the plan."""

    def home(self, key: Key) -> Record:
        """The run that made a chunk, or was given it by the client."""
        found = self.given.get(key[0])
        return found if isinstance(found, Record) else self

    def source(self, key: Key) -> Given | None:
        """Where the client has a chunk from, if it has it."""
        found = self.given.get(key[0])
        return None if isinstance(found, Record) else found

    def wanted(self, key: Key) -> bool:
        return self.readers.get(key, 0) > 0 or (self.held and key in self.kept)


Ref = tuple[Record, Key]


@dataclass(eq=False, slots=True)
class Job:
    """A task that is not done yet."""

    record: Record
    task: Task
    position: int
    again: bool
    """It makes what was lost."""
    missing: set[Ref] = field(default_factory=set)
    worker: str | None = None
    """Who performs it."""
    deaths: int = 0
    """Workers that died while it was under way."""
    deaths_in_row: int = 0
    """Those since any task was last done."""
    fruitless: int = 0
    """How often its worker could not get what it reads."""
    _done_before: int = 0

    def died(self, done: int) -> None:
        """A worker died under it, when so many tasks were done."""
        self.deaths_in_row = 1 if done > self._done_before else self.deaths_in_row + 1
        self._done_before = done
        self.deaths += 1

    @property
    def refs(self) -> Iterator[Ref]:
        return ((self.record.home(key), key) for key in self.task.inputs)


class Schedule:
    """The tasks of one run, and those of earlier runs that must be done again for it. Not thread-safe.

    Parameters
    ----------
    record, plan : the run; without a plan, only what `restore` asks for is done
    depth : how many tasks are read ahead, at first
    """

    def __init__(self, record: Record, plan: Plan | None, depth: int) -> None:
        self.record, self._plan, self.depth = record, plan, depth
        self._near = depth // 2
        """Tasks that are read at once, at most: so many beside each other, shared among all, keep everybody busy."""
        self._stream: Iterator[Task] | None = iter(plan.tasks()) if plan is not None else None
        self.jobs: dict[tuple[Record, Key], Job] = {}
        self._blocked: dict[Ref, list[Job]] = {}
        self._queues: dict[str, list[tuple[int, int, Job]]] = {}
        self._homeless: list[Job] = []
        self._counted: set[Ref] = set()
        self.tasks_done = 0
        self._ticks = itertools.count()
        self._positions = itertools.count()
        self.drops: dict[str, list[tuple[str, Key]]] = {}
        """By worker, chunks that nobody needs any more."""
        self.slots: list[str | None] = []
        """The workers; one that joins takes the place of one that is gone, and so its share of the tasks."""

    # Workers

    def joined(self, worker: str) -> None:
        """A worker is there."""
        if worker in self._queues:
            return
        self._queues[worker] = []
        if None in self.slots:
            self.slots[self.slots.index(None)] = worker
        else:
            self.slots.append(worker)
        homeless, self._homeless = self._homeless, []
        for job in homeless:
            self._place(job)

    def gone(self, worker: str, records: Iterable[Record], running: int) -> None:
        """A worker is gone with all it held; of its tasks the first `running` were under way."""
        waiting = self._queues.pop(worker, [])
        if worker in self.slots:
            self.slots[self.slots.index(worker)] = None
        self.drops.pop(worker, None)
        for record in records:
            record.opened.discard(worker)
            for key in [key for key, at in record.places.items() if at == worker]:
                del record.places[key]
        told = sorted((job for job in self.jobs.values() if job.worker == worker), key=lambda job: job.position)
        for job in told[:running]:
            job.died(self.tasks_done)
        for job in told:
            job.worker = None
        self._look_again()
        for job in [*told, *(job for *_, job in waiting)]:
            self._place(job)

    def lost(self, worker: str, refs: Iterable[Ref]) -> None:
        """Chunks are not on the worker that was thought to have them."""
        for home, key in refs:
            if home.places.get(key) == worker:
                del home.places[key]
        self._look_again()

    def retry(self, jobs: Iterable[Job]) -> None:
        """Jobs that a worker gave back."""
        for job in jobs:
            job.worker = None
            self._wait(job)
            self._place(job)

    # Tasks

    def extend(self) -> None:
        """Read the plan ahead."""
        while self._stream is not None and len(self.jobs) < self.depth:
            task = next(self._stream, None)
            if task is None:
                self._stream = None
                return
            self._add(Job(self.record, task, next(self._positions), False))

    def restore(self, refs: Iterable[Ref]) -> None:
        """Have chunks made that are not there."""
        self._ensure((ref, None) for ref in refs if not self._present(*ref))

    def finished(self) -> bool:
        """Whether everything is done, and all that is to be kept is there."""
        if self._stream is not None or self.jobs:
            return False
        if self._plan is not None:
            self.restore((self.record, key) for key in self._plan.kept)
        return not self.jobs

    def take(self, worker: str, count: int, idle: bool = False) -> list[Job]:
        """The next jobs for a worker, at most so many. `idle`: it has nothing else to do."""
        found: list[Job] = []
        queue = self._queues[worker]
        while len(found) < count:
            job = self._pop(queue)
            if job is None and not found:
                job = self._steal(idle)
            if job is None:
                break
            job.worker = worker
            found.append(job)
        return found

    def done(self, job: Job) -> None:
        """A job was performed by its worker."""
        worker = job.worker
        assert worker is not None
        record, task = job.record, job.task
        self.tasks_done += 1
        del self.jobs[record, task.key]
        for key, nbytes in task.outputs:
            if not job.again and self._plan is not None:
                readers = self._plan.readers(key)
                if readers:
                    record.readers[key] = record.readers.get(key, 0) + readers
            if record.places.get(key, worker) != worker:  # it was not lost: only what was made beside it
                self._drop(worker, record, key)
            elif record.wanted(key):
                self.arrived((record, key), worker, nbytes)
            else:
                self._drop(worker, record, key)
        for home, key in job.refs:
            left = home.readers.get(key, 0) - 1
            if left > 0:
                home.readers[key] = left
                continue
            home.readers.pop(key, None)
            if not home.wanted(key):
                at = home.places.pop(key, None)
                home.sizes.pop(key, None)
                if at is not None:
                    self._drop(at, home, key)

    def arrived(self, ref: Ref, worker: str, nbytes: int) -> None:
        """A chunk is on a worker."""
        home, key = ref
        home.places[key] = worker
        home.sizes[key] = nbytes
        for job in self._blocked.pop(ref, ()):
            job.missing.discard(ref)
            self._place(job)

    def count_readers(self, home: Record, key: Key) -> None:
        """A chunk that the client has is sent: how many tasks will read it, if it is for the first time."""
        if home is self.record and self._plan is not None and (home, key) not in self._counted:
            self._counted.add((home, key))
            home.readers[key] = home.readers.get(key, 0) + self._plan.readers(key)

    # Inside

    def _add(self, job: Job) -> None:
        """A new job. Its inputs are made again where they are lost."""
        self.jobs[job.record, job.task.key] = job
        for home, key in job.refs:
            # what the tasks of a plan read of its own chunks, `Plan.readers` counts
            if job.again or home is not job.record:
                home.readers[key] = home.readers.get(key, 0) + 1
        self._wait(job)
        self._place(job)

    def _wait(self, job: Job) -> None:
        """Have a job wait for the inputs that are not there, and these made."""
        new = [ref for ref in job.refs if ref not in job.missing and not self._present(*ref)]
        for ref in new:
            job.missing.add(ref)
            self._blocked.setdefault(ref, []).append(job)
        self._ensure((ref, job) for ref in new)

    def _present(self, home: Record, key: Key) -> bool:
        return key in home.places or home.source(key) is not None

    def _ensure(self, wanted: Iterable[tuple[Ref, Job | None]]) -> None:
        """Have chunks made, and what is needed for them; those whose task is under way or waits are left alone."""
        stack = list(wanted)
        while stack:
            (home, key), reader = stack.pop()
            name = (key[0], key[2])
            if (home, name) in self.jobs or self._present(home, key):
                continue
            try:
                task = home.portable.task(name)
                promised = any(key == made for made, _ in task.outputs)
            except (KeyError, IndexError, StopIteration):
                promised = False
            if not promised:
                raise TaskError(
                    f"internal error: task {reader.task.key} reads [{key}], which no task before it makes"
                    if reader
                    else f"internal error: no task of the plan made [{key}], which it promised to keep"
                )
            job = Job(home, task, reader.position if reader else -1, True)
            self.jobs[home, name] = job
            for ref in job.refs:
                ref[0].readers[ref[1]] = ref[0].readers.get(ref[1], 0) + 1
                if not self._present(*ref):
                    job.missing.add(ref)
                    self._blocked.setdefault(ref, []).append(job)
                    stack.append((ref, job))
            self._place(job)

    def _look_again(self) -> None:
        """Chunks were lost: who waits for what?"""
        for job in list(self.jobs.values()):
            if job.worker is None:
                self._wait(job)

    def _place(self, job: Job) -> None:
        """Put a job that can start into the queue of a worker."""
        if job.missing or job.worker is not None:
            return
        worker = self._choose(job)
        if worker is None:
            self._homeless.append(job)
        else:
            heapq.heappush(self._queues[worker], (job.position, next(self._ticks), job))

    def _choose(self, job: Job) -> str | None:
        """Where most of the inputs are, if they matter; else where the tasks beside it are done."""
        if not self._queues:
            return None
        needed = job.task.load_nbytes + job.task.work_nbytes
        found = self._shares(job, {})
        if len(found) > 1 and max(found.values()) * SIGNIFICANT > needed:  # of most it may read a little only
            found = self._shares(job, job.record.portable.parts(job.task))
        if found:
            worker = max(found, key=lambda at: (found[at], at))
            if found[worker] * SIGNIFICANT > needed:
                return worker
        stage = job.record.stages.get(job.task.key[0])
        run = min(stage.tasks if stage else 1, self._near)
        size = max(1, -(-run // len(self.slots)))
        for k in range(len(self.slots)):
            worker_there = self.slots[(job.task.key[1] // size + k) % len(self.slots)]
            if worker_there is not None:
                return worker_there
        return None

    def _shares(self, job: Job, parts: Mapping[Key, Part]) -> dict[str, int]:
        """By worker, the bytes that a job reads there; of chunks that are not in `parts` all."""
        found: dict[str, int] = {}
        for home, key in job.refs:
            at = home.places.get(key)
            if at in self._queues:
                part = parts.get(key)
                found[at] = found.get(at, 0) + (home.sizes[key] if part is None or part.box is None else part.nbytes)
        return found

    @staticmethod
    def _pop(queue: list[tuple[int, int, Job]]) -> Job | None:
        while queue:
            job = heapq.heappop(queue)[2]
            if not job.missing and job.worker is None:  # else it waits again, or another has it
                return job
        return None

    def _steal(self, idle: bool) -> Job | None:
        """A job that waits for a busier worker, and that little has to be moved for: for an `idle` worker little beside
        what is done with it."""
        queue = max(self._queues.values(), key=len)
        if len(queue) < BACKLOG:
            return None
        for k in range(len(queue) - 1, 0, -1):  # those that its worker would come to last
            job = queue[k][2]
            if job.missing or job.worker is not None:
                continue
            if len(queue) < FAR_BEHIND and not self._movable(job, idle):
                continue
            del queue[k]
            heapq.heapify(queue)
            return job
        return None

    def _movable(self, job: Job, idle: bool) -> bool:
        if not any(home.sizes.get(key, 0) for home, key in job.refs):
            return True
        if not idle:
            return False
        moved = sum(self._shares(job, job.record.portable.parts(job.task)).values())
        return moved * SIGNIFICANT <= job.task.load_nbytes + job.task.work_nbytes

    def _drop(self, worker: str, record: Record, key: Key) -> None:
        if worker in self._queues:
            self.drops.setdefault(worker, []).append((record.name, key))


def describe(job: Job) -> str:
    """A job in the user's words."""
    stage = job.record.stages.get(job.task.key[0])
    label = stage.label if stage else f"stage {job.task.key[0]}"
    origin = f", asked for at {stage.origin}" if stage and stage.origin else ""
    return f"task {job.task.key[1] + 1} of {label}{origin}"
