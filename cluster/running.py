"""A run under way: how one task is admitted and performed, whoever calls."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np

from gpuarray.cluster.buffers import in_memory_order, root, roots
from gpuarray.cluster.events import TaskDone, TaskStarted, monotonic
from gpuarray.cluster.ledger import Ticket
from gpuarray.cluster.memory import MemoryManager
from gpuarray.cluster.sizes import format_bytes
from gpuarray.cluster.staging import Staging
from gpuarray.cluster.task import (
    Box,
    Chunk,
    Key,
    Picked,
    PickingWork,
    Plan,
    Result,
    Task,
    Wanted,
    Write,
    part_size,
)
from gpuarray.cluster.window import Node, Window
from gpuarray.kernels import backends
from gpuarray.kernels.errors import TaskError

TOGETHER = 4
"""Tasks beside each other that one of several devices computes before the next one has its turn: few, so that all
devices have work of the tasks that are under way."""
SIGNIFICANT = 4
"""Inputs decide where a task computes if they are more than one in so many of the bytes that it needs beside them."""


@dataclass(frozen=True, slots=True)
class Place:
    """One of the devices on which the tasks of a memory manager compute."""

    manager: MemoryManager
    number: int


class Insistent:
    """What `LiftableWork.lift` needs of a `Staging`; if the device runs out of memory, chunks make room."""

    def __init__(self, memory: MemoryManager, place: int, twice: Callable[[Callable[[], Any]], Any]) -> None:
        self.memory, self._staging, self._twice = Place(memory, place), memory.stagings[place], twice

    def upload(self, array: Any) -> Any:
        return self._twice(partial(self._staging.upload, array))

    def stream(self, shape: tuple[int, ...], dtype: Any, read: Callable[[Any, Any], object], runs: Any = None) -> Any:
        return self._twice(partial(self._staging.stream, shape, dtype, read, runs))


class Home:
    """What `Work.store` needs of a backend, where results come from a device."""

    def __init__(self, staging: Staging) -> None:
        self.to_host = staging.download


def leaving_nbytes(write: Write) -> int:
    """Bytes that an array takes on a device until it has left: what it keeps alive, and a dense copy of it."""
    owner = root(write.array)
    dense = in_memory_order(write.array)[0].flags.c_contiguous
    return int(write.array.nbytes if owner is None else owner.nbytes) + (0 if dense else int(write.array.nbytes))


def landed(staging: Staging, write: Write) -> bool:
    """Bring a result home if its sink is memory: no second copy is made of it."""
    target = getattr(write.sink, "target", None)
    memory = None if target is None else target(write.region, backends.get("numpy"))
    if memory is None or memory.shape != write.array.shape or memory.dtype != write.array.dtype:
        return False
    staging.download(write.array, memory)
    return True


Slot = tuple[Key, Box, Chunk]
"""A part of a chunk, and memory for it."""


def gathered(wanted: Wanted, fill: Callable[[list[Slot]], object]) -> Chunk:
    """Parts of chunks end to end, as NumPy arrays; `fill` is told where each goes."""
    sizes = [part_size(box) for _, box in wanted.parts]
    flat = tuple(np.empty(sum(sizes), dtype) for dtype in wanted.dtypes)
    ends = accumulate(sizes)
    fill(
        [
            (key, box, tuple(array[end - size : end] for array in flat))
            for (key, box), size, end in zip(wanted.parts, sizes, ends, strict=True)
            if size
        ]
    )
    return flat


class Cancelled(BaseException):
    """Unwinds a task of a run that has failed already; never leaves the executor."""


class Running:
    """What the tasks of one run share.

    Parameters
    ----------
    outer : the run inside whose task this one was started, if any
    """

    def __init__(self, backend: Any, memory: MemoryManager, plan: Plan, number: int, outer: Running | None) -> None:
        self.memory, self.plan, self.number, self.outer = memory, plan, number, outer
        self.stopped = False
        self._homes = tuple(map(Home, memory.stagings)) or (backend,)
        self._kept = frozenset(plan.kept)
        self._stages = {stage.number: stage for stage in plan.stages}

    def cancelled(self) -> bool:
        run: Running | None = self
        while run is not None:
            if run.stopped:
                return True
            run = run.outer
        return False

    def check(self) -> None:
        if self.cancelled():
            raise Cancelled

    def foresee(self, keys: tuple[Key, ...], position: int) -> None:
        self.memory.expect(self.number, keys, position)

    def in_order(self, window: Window) -> None:
        """Run every task in this thread."""
        while (found := window.head()) is not None:
            if found.missing:
                raise TaskError(f"internal error: {window.stuck()}")
            self.check()
            try:
                ticket = self.admit(found)
                assert ticket is not None  # nothing cancels it but an exception
                window.start(found)
                try:
                    self.perform(found, ticket, contextlib.nullcontext(), window.made)
                finally:
                    self.memory.release(ticket)
            except Exception as error:
                self.explain(error, found.task)
                raise
            self.dispose(window.read(found))

    def admit(self, node: Node, *, ahead: bool = False) -> Ticket | None:
        """Reserve what a task needs. None if it overtakes others and there is no room for it, or on a cancelled run."""
        task = node.task
        return self.memory.admit(
            self.number,
            task.raised,
            load=task.load_nbytes,
            work=task.work_nbytes,
            place=self.place(task),
            wait=not ahead,
            evict=not ahead,
            overdraw=self.outer is not None,
            cancelled=self.cancelled,
        )

    def place(self, task: Task) -> int:
        """The device, of several, that a task computes on: where its inputs are, if they matter, else the devices take
        turns, each with a few tasks that are beside each other in the stage, and so read and make what is."""
        places = self.memory.places
        if places == 1:
            return 0
        stage = self._stages.get(task.key[0])
        tasks = stage.tasks if stage else 1
        rounds = -(-tasks // (TOGETHER * places))  # which end with as many tasks for each
        turn = task.key[-1] // max(1, -(-tasks // (rounds * places))) % places
        if not task.raised:
            return turn
        return self.memory.nearest(self.number, task.raised, (task.load_nbytes + task.work_nbytes) // SIGNIFICANT, turn)

    def perform(
        self,
        node: Node,
        ticket: Ticket,
        slot: contextlib.AbstractContextManager[Any],
        made: Callable[[Iterable[Key]], object],
    ) -> None:
        """Load, run and store a task and hold what it keeps.

        Parameters
        ----------
        slot : a place among those who may compute
        made : told which chunks exist now
        """
        task, memory, events = node.task, self.memory, self.memory.events
        twice = partial(memory.twice, self.number, place=ticket.place)
        if events:
            events.emit(TaskStarted(monotonic(), self.number, task.key, threading.get_ident()))
        start = monotonic()
        chunks = twice(lambda: memory.take(ticket)) if task.inputs else {}
        loaded = self._load(task, ticket.place)
        if task.picked_nbytes:
            loaded = self._pick(task, loaded, chunks, ticket.place)
        loaded_at = monotonic()
        self.check()
        with slot:
            running_at = monotonic()
            self.check()
            with self._done(ticket.place):
                result = twice(partial(task.work.run, memory.backends[ticket.place], loaded, chunks))
            ran_at = monotonic()
        if task.outputs or result.kept:
            with self._done(ticket.place):
                self._keep(task, result, ticket, loaded)
            result = Result({}, result.writes)  # from here on the chunks are the memory manager's alone
            made(key for key, _ in task.outputs)
        del chunks, loaded
        self._store(task, result, ticket)
        if memory.limited and task.inputs:
            memory.used(self.number, task.inputs, node.position)
        if events:
            now = monotonic()
            events.emit(
                TaskDone(
                    now,
                    self.number,
                    task.key,
                    threading.get_ident(),
                    loaded_at - start,
                    running_at - loaded_at,
                    ran_at - running_at,
                    now - ran_at,
                    task.load_nbytes + task.work_nbytes,
                )
            )
            memory.tell(self.number)

    def _load(self, task: Task, place: int) -> Any:
        """Read; and bring to the device, while others compute, what a task may have there from the start."""
        lift = getattr(task.work, "lift", None)
        if self.memory.staging is None or lift is None:
            return task.work.load()
        return lift(Insistent(self.memory, place, partial(self.memory.twice, self.number, place=place)))

    def _pick(self, task: Task, loaded: Any, chunks: Mapping[Key, Chunk], place: int) -> Picked:
        """Have a task's work say which parts of chunks it reads, and read them."""
        memory = self.memory
        work: PickingWork = task.work  # type: ignore[assignment]
        with self._done(place):
            wanted = work.pick(memory.backends[place], loaded, chunks)
        nbytes = sum(one.nbytes for one in wanted)
        if nbytes > task.picked_nbytes:
            raise TaskError(
                f"internal error: a task declared parts of {format_bytes(task.picked_nbytes)} ({task.picked_nbytes} B) "
                f"and picked {format_bytes(nbytes)} ({nbytes} B)"
            )
        arrays = []
        for one in wanted:
            flat = gathered(one, partial(self._fill, task))
            if memory.device:
                way = Insistent(memory, place, partial(memory.twice, self.number, place=place))
                flat = tuple(map(way.upload, flat))
            arrays.append(flat)
        return Picked(loaded, tuple(arrays))

    def _fill(self, task: Task, parts: Iterable[Slot]) -> None:
        """Read parts of chunks to memory."""
        for key, box, out in parts:
            self.check()
            self.memory.fill(self.number, key, box, out)

    @contextlib.contextmanager
    def _done(self, place: int) -> Iterator[None]:
        """Waits for what a device is told inside: what it uses may be given back then, though an error ends it."""
        if not self.memory.device:
            yield
            return
        backend = self.memory.backends[place]
        with backend.active():
            try:
                yield
            finally:
                backend.record().wait()

    def _store(self, task: Task, result: Result, ticket: Ticket) -> None:
        """Hand on a task's results. From a device they come through the host, and the next task can have the rest."""
        writes = result.writes
        if self.memory.device:
            staging = self.memory.stagings[ticket.place]
            twice = partial(self.memory.twice, self.number, place=ticket.place)
            self.memory.shrink(ticket, sum(map(leaving_nbytes, writes)))
            writes = tuple(write for write in writes if not twice(partial(landed, staging, write)))
        task.work.store(self._homes[ticket.place], Result({}, writes))

    def dispose(self, keys: list[Key]) -> None:
        """Drop chunks that nobody reads any more."""
        for key in keys:
            self.memory.drop(self.number, key)

    def explain(self, error: BaseException, task: Task) -> None:
        """Note on an exception which operation it struck, and the line that asked for it."""
        stage = self._stages.get(task.key[0])
        label = stage.label if stage else f"stage {task.key[0]}"
        number = f"task {task.key[1] + 1}" + (f" of {stage.tasks}" if stage else "") if len(task.key) > 1 else "a task"
        origin = f", asked for at {stage.origin}" if stage and stage.origin else ""
        error.add_note(f"in {label}, {number}{origin}")

    def _keep(self, task: Task, result: Result, ticket: Ticket, loaded: Any) -> None:
        """Hold the kept outputs of a task, if they are what it has declared."""
        check_outputs(task, result, self.memory.backends[ticket.place])
        foreign = foreign_to(loaded)
        for key, _ in task.outputs:
            if key in self._kept or self.plan.readers(key):
                put = partial(self.memory.put, self.number, key, result.kept[key], ticket, foreign)
                self.memory.twice(self.number, put, ticket.place)


def foreign_to(loaded: Any) -> set[int]:
    """The owners of the memory that a task has loaded, which what it keeps must not share."""
    if isinstance(loaded, Picked):
        return foreign_to(loaded.loaded)
    return roots(loaded) if isinstance(loaded, list | tuple) else set()


def check_outputs(task: Task, result: Result, backend: Any) -> None:
    """Raise TaskError unless a task has made what it declared."""
    made, declared = set(result.kept), {key for key, _ in task.outputs}
    if made != declared:
        raise TaskError(f"internal error: a task declared the outputs {sorted(declared)} and made {sorted(made)}")
    for key, most in task.outputs:
        nbytes = sum(map(backend.nbytes, result.kept[key]))
        if nbytes > most:
            raise TaskError(
                f"internal error: output {key} was declared with {format_bytes(most)} ({most} B) and has "
                f"{format_bytes(nbytes)} ({nbytes} B)"
            )
