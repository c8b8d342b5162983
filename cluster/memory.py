"""Where the bytes are. The one place that moves a chunk between device, host and disk.

Every kept chunk is held here, and every running task has a `Ticket`: what it needs was reserved at once, before it
started, so two tasks that each hold half of what they need cannot exist. In each tier of memory the bytes held and
the bytes reserved never exceed the limit together.

To make room, the unpinned chunk whose next use is farthest moves one tier down (Belady's rule: the plan is known);
among equals, the one touched last, because a cyclic scan needs that one last. Chunks never change, so one that was
raised from disk keeps its file and costs nothing to spill again. Tasks are admitted before a core is free for them:
raising their inputs while others compute is how chunks are prefetched.
"""

from __future__ import annotations

import itertools
import os
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any

from gpuarray.cluster.buffers import roots, settle
from gpuarray.cluster.disk import DiskTier
from gpuarray.cluster.events import Dropped, Events, MemoryState, TierState, monotonic
from gpuarray.cluster.ledger import Held, Run, Ticket
from gpuarray.cluster.sizes import format_bytes
from gpuarray.cluster.staging import stagings_of
from gpuarray.cluster.task import Chunk, Key
from gpuarray.cluster.tiers import DeviceTier, HostTier, Tier
from gpuarray.cluster.transfer import Mover
from gpuarray.kernels.errors import MemoryLimitError, SpillError


class MemoryManager(Mover):
    """Holds the chunks of all runs of an executor within the limits of every tier. Thread-safe.

    >>> import numpy as np
    >>> from gpuarray.kernels import backends
    >>> memory = MemoryManager(backends.get("numpy"), host_limit=1000)
    >>> run = memory.open_run()
    >>> ticket = memory.admit(run, (), work=800)
    >>> memory.put(run, (0, 0, 0), (np.zeros(100),), ticket)
    800
    >>> memory.release(ticket)
    >>> memory.states()[0].held, memory.states()[0].reserved, memory.states()[0].peak
    (800, 0, 800)
    >>> memory.close_run(run)

    Parameters
    ----------
    backend : where tasks compute; if it has memory of its own, that is the first tier, and the host's the second.
        Several devices are given as a tuple: tiers beside each other
    host_limit, device_limit : bytes, None for no limit; of every device
    directory : the last tier; None: nothing is spilled to disk
    events : told of moves and drops

    Raises
    ------
    ConfigError
        if the directory cannot hold spill files.
    """

    def __init__(
        self,
        backend: Any,
        host_limit: int | None = None,
        directory: str | os.PathLike[str] | None = None,
        device_limit: int | None = None,
        events: Events | None = None,
    ) -> None:
        self.backends: tuple[Any, ...] = backend if isinstance(backend, tuple) else (backend,)
        """Where tasks compute, by place."""
        self._nbytes = self.backends[0].nbytes
        self.stagings = () if is_host(self.backends[0]) else stagings_of(self.backends, host_limit)
        """The way to and from each device, where tasks compute on devices."""
        self.staging = self.stagings[0] if self.stagings else None
        tiers: list[Tier] = [
            DeviceTier(staging, device_limit, "device" if len(self.stagings) == 1 else f"device {k}")
            for k, staging in enumerate(self.stagings)
        ]
        tiers.append(HostTier(host_limit, 0 if self.staging is None else self.staging.nbytes))
        if directory is not None:
            tiers.append(DiskTier(directory))
        super().__init__(tiers, Events() if events is None else events)
        self.limited = any(tier.limit is not None for tier in tiers)
        """Whether any tier of memory has a limit."""
        self.spills = directory is not None
        """Whether there is a disk below the memory."""
        self.device = self.staging is not None
        """Whether tasks compute in another memory than the host's."""
        self.places = len(self.backends)
        """How many devices tasks compute on; the processor is one."""
        self._numbers = itertools.count(1)
        self._orphans: deque[int] = deque()
        _MANAGERS.add(self)

    # Runs

    def new_run(self) -> int:
        """A number that no run has yet. Known before the run is opened, it can be abandoned at any time."""
        return next(self._numbers)

    def open_run(self, run: int | None = None) -> int:
        """Start a run: a name for the chunks and tickets that belong together."""
        run = self.new_run() if run is None else run
        with self._lock:
            self._bury()
            self._ledger.runs[run] = Run()
        return run

    def close_run(self, run: int, keep: Collection[Key] = (), *, torn: bool = False) -> None:
        """End a run: forget its tickets and all its chunks but those in `keep`, which `forget` drops.

        `torn` says that it was interrupted anywhere, and makes the sums anew from what there is.
        """
        with self._lock:
            ledger = self._ledger
            mine = ledger.runs[run]
            mine.open = False
            mine.expected.clear()
            if torn:
                mine.tickets.clear()
                ledger.sum_up(run)
                copied = {move.entry for move in ledger.moves}  # by other runs
                for entry in mine.held.values():
                    entry.busy = entry in copied
            for ticket in tuple(mine.tickets):
                ledger.close(ticket)
            for key in [key for key in mine.held if key not in keep]:
                ledger.remove(mine.held[key])
            if not mine.held:
                del ledger.runs[run]
            if torn and ledger.disk is not None and not ledger.moves:
                ledger.disk.purge(ledger.files())  # a file may have been written whose record was not
            self._bury()
            self._changed.notify_all()
        self._empty_trash()

    def abandon(self, run: int) -> None:
        """Forget all of a run that failed or was interrupted anywhere, even inside this class."""
        if run in self._ledger.runs:
            self.close_run(run, torn=True)

    def holds(self, run: int, key: Key) -> bool:
        """Whether a chunk exists, wherever it is."""
        return key in self._ledger.runs[run].held

    def forget(self, run: int) -> None:
        """Drop what a closed run kept. Safe in a finalizer, which may strike in any thread at any line."""
        self._orphans.append(run)
        if self._lock.acquire(blocking=False):  # else whoever works here next buries it
            try:
                self._bury()
                self._changed.notify_all()
            finally:
                self._lock.release()
            self._empty_trash()

    def wake(self) -> None:
        """Make waiting admissions look again whether they are cancelled."""
        with self._lock:
            self._changed.notify_all()

    # Tickets

    def admit(
        self,
        run: int,
        keys: tuple[Key, ...],
        *,
        load: int = 0,
        work: int = 0,
        place: int = 0,
        wait: bool = True,
        evict: bool = True,
        overdraw: bool = False,
        cancelled: Callable[[], bool] = bool,
    ) -> Ticket | None:
        """Reserve everything a task needs, at once: room for `work`, for `load`, and for the `keys` not yet raised.

        The keys are pinned until `release`. None if `cancelled` or, without `wait`, if there is no room now.

        Parameters
        ----------
        place : where the task computes, of several devices
        wait : for running tasks to release theirs
        evict : whether chunks may move down to make room
        overdraw : do not wait but exceed the limit, as a task must that runs inside another task

        Raises
        ------
        MemoryLimitError
            if there can never be room.
        SpillError
            if there could be room but for the disk.
        """
        spill_error: SpillError | None = None
        while True:
            with self._lock:
                self._bury()
                if cancelled():
                    return None
                ledger = self._ledger
                ticket = ledger.ticket(run, keys, load, work, place)
                if not self.limited or not ledger.short(ticket.reserved):
                    return ledger.grant(ticket)
                ledger.refuse_giants(ticket)
                moves = self._begin(ticket) if evict and not spill_error else []
                if not moves:
                    if overdraw:
                        return ledger.grant(ticket)
                    if not wait:
                        return None
                    self._wait(ticket.reserved, spill_error)
                    spill_error = None
                    continue
            spill_error = self._carry_all(moves)

    def reserve(self, run: int, nbytes: int, *, overdraw: bool = False) -> Ticket:
        """Reserve host memory for the length of a run; waits and raises like `admit`."""
        spill_error: SpillError | None = None
        while True:
            with self._lock:
                ledger = self._ledger
                ticket = Ticket(run, (), {ledger.host: nbytes}, {}, whole_run=True)
                if ledger.short(ticket.reserved):
                    ledger.refuse_giants(ticket)
                moves = [] if spill_error else self._begin(ticket)
                if not moves:
                    if overdraw or not ledger.short(ticket.reserved):
                        return ledger.grant(ticket)
                    self._wait(ticket.reserved, spill_error)
                    spill_error = None
                    continue
            spill_error = self._carry_all(moves)

    def take(self, ticket: Ticket) -> dict[Key, Chunk]:
        """The chunks a ticket has pinned, raised to where tasks compute.

        Raises
        ------
        SpillError
            if a spill file is not what was written.
        """
        held = self._ledger.runs[ticket.run].held
        if ticket.lifts:
            # from the host first: it must have room for those from disk to pass through
            for key in sorted(ticket.lifts, key=lambda key: held[key].level):
                if key not in ticket.copies:  # of a first try that ran out of memory
                    self._lift(held[key], ticket)
        return {key: ticket.copies[key] if key in ticket.copies else held[key].payload for key in ticket.keys}

    def nearest(self, run: int, keys: Iterable[Key], significant: int, otherwise: int) -> int:
        """The device that holds most bytes of some chunks, if they are more than `significant`; but another if that one
        holds half as many: tasks that read of everywhere are shared out."""
        with self._lock:
            there: dict[int, int] = {}
            for key in keys:
                entry = self._ledger.runs[run].held.get(key)
                if entry is not None and entry.level < self._ledger.host:
                    there[entry.level] = there.get(entry.level, 0) + entry.nbytes
        place = max(there, key=lambda level: there[level], default=otherwise)
        most = there.get(place, 0)
        return place if most > significant and most > 2 * there.get(otherwise, 0) else otherwise

    def shrink(self, ticket: Ticket, nbytes: int) -> None:
        """Give back all but `nbytes` of what a ticket has reserved where tasks compute."""
        ticket.copies.clear()
        with self._lock:
            surplus = ticket.reserved.get(ticket.place, 0) - nbytes
            if surplus > 0:
                self._ledger.spend(ticket, surplus)
                if self._waiting:
                    self._changed.notify_all()

    def release(self, ticket: Ticket) -> None:
        """Give back what is left of a reservation and unpin its keys."""
        ticket.copies.clear()
        with self._lock:
            self._ledger.close(ticket)
            self._bury()
            if self._waiting:
                self._changed.notify_all()

    # Chunks

    def put(self, run: int, key: Key, chunk: Chunk, ticket: Ticket | None = None, foreign: Collection[int] = ()) -> int:
        """Hold a chunk; return its bytes. It takes its room out of `ticket`, or waits for room without one.

        It is pinned until the ticket is released: the task that made it refers to it, so moving it would free nothing.

        Parameters
        ----------
        foreign : owners of memory (`buffers.roots`) that the chunk must not share: the arrays a task has loaded
        """
        chunk = settle(chunk, self._ledger.owners, foreign)
        nbytes = int(sum(map(self._nbytes, chunk)))
        if ticket is None:
            own = self.admit(run, (), work=nbytes)
            assert own is not None  # nothing cancels it
            try:
                return self.put(run, key, chunk, own)
            finally:
                self.release(own)
        with self._lock:
            ledger = self._ledger
            mine = ledger.runs[run]
            if key in mine.held:
                raise ValueError(f"chunk {key} of run {run} exists already")
            if nbytes > ticket.reserved.get(ticket.place, 0):
                left = format_bytes(ticket.reserved.get(ticket.place, 0))
                raise MemoryLimitError(f"chunk {key} takes {format_bytes(nbytes)} of the {left} reserved for its task")
            mine_owned = roots(chunk)
            if not mine_owned.isdisjoint(ledger.owners):  # another thread put the same array meanwhile
                chunk = tuple(array.copy() for array in chunk)
                mine_owned = roots(chunk)
            fixed = any(array.dtype.hasobject for array in chunk)
            ledger.spend(ticket, nbytes)
            ledger.add(Held(run, key, chunk, nbytes, mine_owned, fixed, mine.expected.pop(key, [])), ticket)
        return nbytes

    def fetch(self, run: int, key: Key) -> Chunk:
        """A chunk for a reader outside any task, where tasks compute (the first of several devices); it stays there if
        there is room."""
        ticket = self.admit(run, (key,), overdraw=True)
        assert ticket is not None  # nothing cancels it
        try:
            return self.twice(run, lambda: self.take(ticket))[key]
        finally:
            self.release(ticket)

    def drop(self, run: int, key: Key) -> None:
        """Forget a chunk and free its bytes wherever they are."""
        with self._lock:
            ledger = self._ledger
            entry = ledger.runs[run].held[key]
            level = entry.level
            ledger.remove(entry)
            if self._waiting:
                self._changed.notify_all()
        self._empty_trash()
        if self.events:
            self.events.emit(Dropped(monotonic(), run, key, ledger.tiers[level].name, entry.nbytes))

    def expect(self, run: int, keys: Iterable[Key], position: int) -> None:
        """Tell that the task at `position` of a run will read these chunks, which may not exist yet."""
        with self._lock:
            mine = self._ledger.runs[run]
            for key in keys:
                if key in mine.held:
                    mine.held[key].uses.append(position)
                else:
                    mine.expected.setdefault(key, []).append(position)

    def used(self, run: int, keys: Iterable[Key], position: int) -> None:
        """Tell that the task at `position` has read these chunks."""
        with self._lock:
            held = self._ledger.runs[run].held
            for key in keys:
                if key in held and position in held[key].uses:
                    held[key].uses.remove(position)

    # Reports

    def states(self) -> tuple[TierState, ...]:
        """The bytes of every tier, from the fastest to the slowest."""
        with self._lock:
            return tuple(tier.state() for tier in self._ledger.tiers)

    def tell(self, run: int) -> None:
        """Emit a `MemoryState`, if anybody listens."""
        if self.events:
            self.events.emit(MemoryState(monotonic(), run, self.states()))

    # With the lock

    def _wait(self, needs: dict[int, int], spill_error: SpillError | None) -> None:
        """Wait until something is released, or raise if nobody is left who could."""
        others = sum(run.open for run in self._ledger.runs.values()) - 1
        if not self._ledger.working() and not self._reading and self._waiting >= others:
            raise self._ledger.no_room(needs, spill_error)
        self._waiting += 1
        try:
            self._changed.wait()
        finally:
            self._waiting -= 1

    def _bury(self) -> None:
        """Do what finalizers have asked for."""
        self._end_holds()
        while self._orphans:
            self._ledger.remove_run(self._orphans.popleft())

    def _after_fork(self) -> None:
        """In a child: the threads of the parent are not here."""
        self._renew_lock()
        self._waiting = self._reading = 0
        self._ledger.inherit()


def is_host(backend: Any) -> bool:
    """Whether the memory of a backend is the host's, and so no `DeviceBackend`."""
    return not hasattr(backend, "allocate")


_MANAGERS: weakref.WeakSet[MemoryManager] = weakref.WeakSet()


def _after_fork() -> None:
    for manager in tuple(_MANAGERS):
        manager._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
