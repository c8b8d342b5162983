"""Moves of chunks between the tiers of memory and the disk."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from gpuarray.cluster.buffers import roots
from gpuarray.cluster.disk import DiskTier
from gpuarray.cluster.events import Events, Moved, monotonic
from gpuarray.cluster.ledger import Held, Ledger, Move, Ticket
from gpuarray.cluster.sizes import format_bytes
from gpuarray.cluster.task import Box, Chunk, Key
from gpuarray.cluster.tiers import DeviceTier, Tier
from gpuarray.kernels.errors import DeviceMemoryError, MemoryLimitError, SpillError

T = TypeVar("T")


class Hold:
    """A chunk that stays where tasks compute for as long as this object lives."""

    def __init__(self, mover: Mover, entry: Held) -> None:
        self.chunk: Chunk = entry.payload
        self._mover, self._entry = mover, entry

    def __del__(self) -> None:
        self._mover.loosen(self._entry)


class Mover:
    """The part of the memory manager that copies. Bytes are copied without the lock; the books are kept with it."""

    def __init__(self, tiers: Iterable[Tier], events: Events) -> None:
        self.events = events
        self._ledger = Ledger(tiers)
        self._loose: deque[Held] = deque()
        self._waiting = self._reading = 0
        self._renew_lock()

    def _renew_lock(self) -> None:
        # `with self._lock`, never `with self._changed`: Ctrl-C can strike inside Condition.__enter__
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    def hold(self, run: int, key: Key, place: int = 0) -> Hold | None:
        """Keep a chunk where a task computes, if it is there; for tasks of other runs, whose tickets do not name it."""
        with self._lock:
            entry = self._ledger.runs[run].held.get(key)
            if entry is None or entry.level != place or entry.busy:
                return None
            entry.holds += 1
            return Hold(self, entry)

    def loosen(self, entry: Held) -> None:
        """End a hold. Safe in a finalizer, which may strike in any thread at any line."""
        self._loose.append(entry)
        if self._lock.acquire(blocking=False):  # else whoever works here next does it
            try:
                self._end_holds()
                self._changed.notify_all()
            finally:
                self._lock.release()

    def read(self, run: int, key: Key, part: tuple[slice, ...] | None = None) -> Chunk:
        """A chunk, or a part of it, as NumPy arrays, moving nothing: the reader has reserved room for the chunk."""
        with self._read(run, key) as (tier, payload):
            chunk: Chunk = tier.get(key, payload) if part is None else tier.part(key, payload, part)
            return chunk

    def fill(self, run: int, key: Key, box: Box, out: Chunk) -> None:
        """Copy a part of a chunk, wherever it is, to NumPy arrays of one dimension, moving nothing.

        Raises
        ------
        SpillError
            if a spill file is not what was written.
        """
        with self._read(run, key) as (tier, payload):
            tier.fill(key, payload, tuple(slice(*edge) for edge in box), out)

    @contextlib.contextmanager
    def _read(self, run: int, key: Key) -> Iterator[tuple[Tier, Any]]:
        """Where a chunk is; it stays there until the block ends."""
        with self._lock:
            entry = self._ledger.runs[run].held[key]
            entry.pins += 1
            self._reading += 1
            tier, payload = self._ledger.tiers[entry.level], entry.payload
        try:
            yield tier, payload
        finally:
            with self._lock:
                entry.pins -= 1
                self._reading -= 1
                if self._waiting:
                    self._changed.notify_all()

    # With the lock

    def _end_holds(self) -> None:
        while self._loose:
            self._loose.popleft().holds -= 1

    def _begin(self, ticket: Ticket) -> list[Move]:
        held = self._ledger.runs[ticket.run].held
        moves = self._ledger.plan_moves(ticket.run, ticket.reserved, [held[key] for key in ticket.keys])
        for move in moves:
            self._ledger.begin(move)
        return moves

    def _end(self, move: Move) -> None:
        if move in self._ledger.moves:
            self._ledger.end(move)
            self._changed.notify_all()

    # Without the lock

    def twice(self, run: int, function: Callable[[], T], place: int = 0) -> T:
        """Call; if memory runs out although it was reserved, move all that may move out of the way and call again.

        Raises
        ------
        DeviceMemoryError
            if a device runs out again.
        """
        try:
            return function()
        except MemoryLimitError:
            raise
        except MemoryError:
            pass  # left before the second try: its traceback holds what the first one had allocated
        freed = self.relieve(run, place)
        try:
            return function()
        except MemoryError as error:
            tier = self._ledger.tiers[place]
            message = (
                f"{tier.name} memory ran out twice, although only {format_bytes(tier.held)} are held and "
                f"{format_bytes(tier.reserved)} reserved (limit: {format_bytes(tier.limit) if tier.limit else 'none'}) "
                f"and {format_bytes(freed)} were moved out; lower {tier.setting}, or free what others hold there"
            )
            if self._ledger.host:
                raise DeviceMemoryError(message) from error
            error.add_note(message)
            raise

    def relieve(self, run: int, place: int = 0) -> int:
        """Move every unpinned chunk out of the memory where a task computes, for a run; return the bytes freed.

        For when the device runs out of memory although the sums say otherwise.
        """
        freed = 0
        while True:
            with self._lock:
                moves = self._ledger.plan_relief(run, place)
                for move in moves:
                    self._ledger.begin(move)
            if not moves or self._carry_all(moves) is not None:
                return freed
            freed += sum(move.entry.nbytes for move in moves if move.src == place and move.entry.level != place)

    def _carry_all(self, moves: list[Move]) -> SpillError | None:
        """Carry out moves; if the disk refuses one, it and the rest are given up, and its error is returned."""
        try:
            for move in moves:
                self._carry(move)
        except SpillError as error:
            return error
        finally:
            with self._lock:
                for move in moves:
                    self._end(move)
            self._empty_trash()
        return None

    def _carry(self, move: Move) -> None:
        """Move a chunk one tier down. If that fails it stays; so it does if it was pinned meanwhile."""
        entry, ledger = move.entry, self._ledger
        src, dst = ledger.tiers[move.src], ledger.tiers[move.dst]
        start = monotonic()
        written = 0
        payload: Any = entry.file if dst is ledger.disk else None
        if payload is None:
            payload = self._convert(entry, src, dst)
            written = entry.nbytes
        with self._lock:
            if dst is ledger.disk and entry.file is None:
                ledger.keep_file(entry, payload)
            self._end(move)
            if not (entry.gone or entry.pins or entry.holds):
                ledger.place(entry, move.dst, payload, set())
            dst.moved_in += written
            dst.moves_in += 1
        if self.events:
            now = monotonic()
            self.events.emit(Moved(now, entry.run, entry.key, src.name, dst.name, written, now - start))

    def _convert(self, entry: Held, src: Tier, dst: Tier) -> Any:
        chunk = src.get(entry.key, entry.payload)
        try:
            return dst.put(entry.key, chunk)
        except SpillError:
            with self._lock:
                freed = self._ledger.drop_spare_files()
            if not freed:
                raise
            self._empty_trash()
            return dst.put(entry.key, chunk)

    def _lift(self, entry: Held, ticket: Ticket) -> None:
        """Raise a pinned chunk to where the task computes; its room is in the ticket."""
        ledger = self._ledger
        with self._lock:
            while entry.busy and entry.level >= ledger.host and entry.level != ticket.place:
                self._changed.wait()
            src, near = ledger.tiers[entry.level], ledger.tiers[ticket.place]
            if entry.level == ticket.place:
                ledger.spend(ticket, ticket.lifts.pop(entry.key, 0))
                return
            beside = entry.level < ledger.host
            entry.busy = entry.busy or not beside
            if entry.level > ledger.host:
                ledger.pay(ticket, ticket.debt)
        start = monotonic()
        if beside:
            self._beside(entry, src, near, ticket)
        else:
            self._above(entry, src, near, ticket)
        if self.events:
            now = monotonic()
            self.events.emit(Moved(now, entry.run, entry.key, src.name, near.name, entry.nbytes, now - start))

    def _above(self, entry: Held, src: Tier, near: Tier, ticket: Ticket) -> None:
        """Raise a chunk, which is busy, from the host or the disk."""
        ledger = self._ledger
        try:
            chunk = self._raised(entry, src, near)
            with self._lock:
                ledger.spend(ticket, ticket.lifts.pop(entry.key))
                from_host = entry.level == ledger.host
                ledger.place(entry, ticket.place, chunk, roots(chunk))
                if from_host:
                    ledger.pay(ticket, entry.nbytes)
                near.moved_in += entry.nbytes
                near.moves_in += 1
        finally:
            with self._lock:
                entry.busy = False
                self._changed.notify_all()

    def _beside(self, entry: Held, src: Tier, near: Tier, ticket: Ticket) -> None:
        """Copy a pinned chunk from another device. If nobody else reads it, now or later, it moves. Else the copy is
        the task's own, and counts as reserved until the task has computed."""
        assert isinstance(src, DeviceTier)
        assert isinstance(near, DeviceTier)
        ledger = self._ledger
        chunk = near.put_from(src, entry.payload)
        with self._lock:
            near.moved_in += entry.nbytes
            near.moves_in += 1
            alone = entry.pins == 1 and not (entry.holds or entry.busy or entry.gone) and len(entry.uses) <= 1
            if alone:
                ledger.spend(ticket, ticket.lifts.pop(entry.key))
                ledger.place(entry, ticket.place, chunk, roots(chunk))
                self._changed.notify_all()
            else:
                ticket.copies[entry.key] = chunk

    def _raised(self, entry: Held, src: Tier, first: Tier) -> Chunk:
        if isinstance(src, DiskTier) and isinstance(first, DeviceTier):
            with src.reading(entry.key, entry.payload) as fill:
                return first.put_arrays(entry.payload.layout, fill)
        chunk: Chunk = first.put(entry.key, src.get(entry.key, entry.payload))
        return chunk

    def _empty_trash(self) -> None:
        disk, trash = self._ledger.disk, self._ledger.trash
        while trash and disk is not None:
            try:
                file = trash.pop()
            except IndexError:  # another thread was faster
                return
            try:
                disk.drop(file)
            except BaseException:  # Ctrl-C: the next to come here drops it
                trash.append(file)
                raise
