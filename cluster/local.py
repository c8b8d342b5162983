"""Run a plan in this process: threads that read ahead, compute and write behind."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from gpuarray.cluster.allocator import return_freed_memory
from gpuarray.cluster.crew import Crew
from gpuarray.cluster.events import Events, RunDone, RunFailed, RunStarted, Subscriber, monotonic
from gpuarray.cluster.finalizers import finalize
from gpuarray.cluster.host import available_threads
from gpuarray.cluster.memory import MemoryManager
from gpuarray.cluster.running import Place, Running
from gpuarray.cluster.task import Chunk, Key, Plan
from gpuarray.cluster.transfer import Hold
from gpuarray.cluster.window import Window
from gpuarray.kernels.errors import ConfigError, TaskError

_FEW = 8
_SMALL = 1 << 20
"""Bytes of memory, and eight times the elements, that tasks in the caller's thread may be about altogether."""
_HORIZON = 256
"""Tasks looked ahead where memory is limited: the view that `Held.rank` has of the future."""

_INSIDE: ContextVar[Running | None] = ContextVar("gpuarray_run", default=None)
"""The run whose task this code is part of."""


def check_cancelled() -> None:
    """Unwind the task that this code is part of if its run is being stopped: for what takes long inside one task."""
    running = _INSIDE.get()
    if running is not None:
        running.check()


class LocalExecutor:
    """Runs plans in threads of this process within limits of memory. The default executor.

    A task is admitted when its inputs exist and everything it needs is reserved, in the order of the plan. Twice as
    many tasks are under way as may compute at once where they wait for files or spilled chunks, so that reading,
    spilling and writing overlap with computing.
    A plan of one task, or of a few small ones, runs in the caller's thread. So does a plan that is run from inside
    a task; it may exceed the limits, for its surroundings cannot release anything before it ends.

    >>> from gpuarray.kernels import backends
    >>> executor = LocalExecutor(backends.get("numpy"), host_limit=1 << 30, threads=2)

    Parameters
    ----------
    backend : what the tasks compute with; a tuple of several devices shares them out
    host_limit, device_limit : bytes of memory that chunks and running tasks may take, None for no limit; of each device
    directory : where chunks are spilled that fit in no memory; None: nowhere
    threads : how many tasks compute at once; None: one per processor this process may run on
    in_caller : perform every task in the caller's thread, one after the other: for debugging
    subscribers : told of every run

    Raises
    ------
    ConfigError
        if the directory cannot hold spill files, or `threads` or a limit is not a positive integer.
    """

    def __init__(
        self,
        backend: Any,
        *,
        host_limit: int | None = None,
        device_limit: int | None = None,
        directory: str | os.PathLike[str] | None = None,
        threads: int | None = None,
        in_caller: bool = False,
        subscribers: Iterable[Subscriber] = (),
    ) -> None:
        for name, value in (("threads", threads), ("host_limit", host_limit), ("device_limit", device_limit)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"{name}={value!r} is not a positive integer; write one, or None")
        if host_limit is not None:
            return_freed_memory()
        self.backend = backend[0] if isinstance(backend, tuple) else backend
        self.threads = threads or available_threads()
        self._in_caller = in_caller
        self.events = Events(subscribers)
        self.memory = MemoryManager(backend, host_limit, directory, device_limit, self.events)

    def run(self, plan: Plan, subscribers: Iterable[Subscriber] = ()) -> Mapping[Key, Chunk]:
        """Run every task of a plan; return the chunks in ``plan.kept``, which live as long as the mapping.

        Until then the chunks stay in this executor's memory: they count against its limits and may be spilled; a
        look-up raises a chunk again.

        Raises
        ------
        MemoryLimitError
            if a task needs more than the limits allow.
        SpillError
            if chunks cannot be spilled or a spill file is damaged.
        TaskError
            if the plan breaks its promises.
        Exception
            whatever a task raised first, with a note that names the operation and the line that asked for it. The
            other tasks are cancelled, those that run are waited for, and nothing is left in memory or on disk.
        """
        with self.events.heard_by(subscribers):
            number = self.memory.new_run()
            start = monotonic()
            try:
                self.memory.open_run(number)
                if self.events:
                    self.events.emit(RunStarted(start, number, plan.stages))
                self._run(plan, number)
                self.memory.close_run(number, plan.kept)
                if self.events:
                    self.memory.tell(number)
                    self.events.emit(RunDone(monotonic(), number, monotonic() - start))
                return Kept(self.memory, number, plan.kept) if plan.kept else {}
            except BaseException as error:
                self.memory.abandon(number)
                if self.memory.device:
                    let_go(error)
                if self.events:
                    reason = f"{type(error).__name__}: {error}"
                    self.events.emit(RunFailed(monotonic(), number, monotonic() - start, reason))
                raise

    def _run(self, plan: Plan, number: int) -> None:
        memory, outer = self.memory, _INSIDE.get()
        running = Running(self.backend, memory, plan, number, outer)
        if plan.reserved_nbytes:
            memory.reserve(number, plan.reserved_nbytes, overdraw=outer is not None)
        # one more thread for each would only make the system move them about where there is nothing to wait for
        workers = 2 * self.threads if plan.waits else self.threads
        # without a disk, a chunk made too early could take the room that the order of the plan has for another
        overtake = 0 if memory.limited and not memory.spills else 2 * workers
        depth = _HORIZON if memory.limited else max(_FEW + 1, 2 * workers)
        window = Window(plan, depth, overtake, running.foresee if memory.limited else None)
        try:
            token = _INSIDE.set(running)
            try:
                if self._in_caller or outer is not None or _slight(plan, window):
                    running.in_order(window)
                else:
                    Crew(running, window, self.threads, workers).work()
            finally:
                _INSIDE.reset(token)
        finally:
            window.close()
        missing = [key for key in plan.kept if not memory.holds(number, key)]
        if missing:
            raise TaskError(f"internal error: no task of the plan made {missing[:3]}, which it promised to keep")


def _slight(plan: Plan, window: Window) -> bool:
    """Whether a plan is too little work for threads: one task, or a few small ones that read nothing."""
    large = plan.elements > _SMALL // 8
    tasks = window.peek(2 if large else _FEW + 1)
    if len(tasks) < 2 or large:
        return len(tasks) < 2
    return (
        len(tasks) <= _FEW
        and not any(task.load_nbytes for task in tasks)
        and (sum(task.work_nbytes for task in tasks) <= _SMALL)
    )


def let_go(error: BaseException) -> None:
    """Empty the frames that an exception has come through: an interpreter that remembers the last one would keep what a
    task had on the device."""
    left, seen = [error], set()
    while left:
        one = left.pop()
        if id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            left += [other for other in (one.__cause__, one.__context__) if other is not None]


class Kept(Mapping[Key, Chunk]):
    """The chunks that outlive a run, held by the executor's memory until this mapping is gone."""

    in_parts = True
    """`on_host` reads no more of a spilled chunk than the blocks of the part."""

    def __init__(self, memory: MemoryManager, run: int, keys: Iterable[Key]) -> None:
        self._memory, self._run, self._keys = memory, run, dict.fromkeys(keys)
        finalize(self, memory.forget, run)

    def __getitem__(self, key: Key) -> Chunk:
        if key not in self._keys:
            raise KeyError(key)
        return self._memory.fetch(self._run, key)

    @contextlib.contextmanager
    def room(self, nbytes: int) -> Iterator[None]:
        """Room for an array to put chunks together in, where tasks compute; chunks make way for it."""
        ticket = self._memory.admit(self._run, (), work=nbytes)
        assert ticket is not None  # nothing cancels it
        try:
            yield
        finally:
            self._memory.release(ticket)

    def on_host(self, key: Key, part: tuple[slice, ...] | None = None) -> Chunk:
        """A chunk, or a part of it, as NumPy arrays, wherever it is; it stays there. Not to be written to."""
        if key not in self._keys:
            raise KeyError(key)
        return self._memory.read(self._run, key, part)

    def hold(self, key: Key, place: Place) -> Hold | None:
        """The chunk where a task computes, if it is there."""
        return self._memory.hold(self._run, key, place.number) if place.manager is self._memory else None

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)
