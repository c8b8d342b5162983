"""The books of the memory manager: what lies where, what is promised to whom, what may move.

Nothing here waits, copies or takes a lock; `memory.MemoryManager` does, and holds its lock around every call.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gpuarray.cluster.disk import DiskTier, SpillFile
from gpuarray.cluster.sizes import format_bytes
from gpuarray.cluster.task import Key
from gpuarray.cluster.tiers import Tier
from gpuarray.kernels.errors import MemoryLimitError, SpillError


@dataclass(slots=True, eq=False)
class Held:
    """A chunk and where it is."""

    run: int
    key: Key
    payload: Any
    nbytes: int
    owners: set[int]
    """Identities of the arrays that own its memory, while it is in the first tier."""
    fixed: bool = False
    """Its arrays hold references, which no file can."""
    uses: list[int] = field(default_factory=list)
    """Positions of the known tasks that will read it, ascending."""
    level: int = 0
    file: SpillFile | None = None
    """Kept while the chunk is in memory as well: chunks never change."""
    pins: int = 0
    """Tickets that need it where tasks compute."""
    holds: int = 0
    """Tasks of other runs that read it there."""
    stamp: int = 0
    """Grows with every touch."""
    busy: bool = False
    """A thread is copying it."""
    gone: bool = False

    def rank(self) -> tuple[float, int]:
        """The chunk of the highest rank is the first to move down."""
        return (self.uses[0] if self.uses else math.inf, self.stamp)


@dataclass(slots=True, eq=False)
class Ticket:
    """What is promised to a running task, or to a whole run."""

    run: int
    keys: tuple[Key, ...]
    reserved: dict[int, int]
    """Bytes per level."""
    lifts: dict[Key, int]
    """The part of ``reserved[place]`` that waits for chunks to be raised, or to be copied from another device."""
    place: int = 0
    """The level where the task computes: of several devices, which one."""
    copies: dict[Key, Any] = field(default_factory=dict)
    """Copies of chunks that other devices hold, for as long as the task computes."""
    debt: int = 0
    """Bytes of the host still to be reserved, for chunks from disk to pass through, once others have left the host."""
    whole_run: bool = False


@dataclass(slots=True, eq=False)
class Move:
    """One tier down, on behalf of a run."""

    entry: Held
    src: int
    dst: int
    run: int


@dataclass(slots=True, eq=False)
class Run:
    held: dict[Key, Held] = field(default_factory=dict)
    tickets: dict[Ticket, None] = field(default_factory=dict)
    expected: dict[Key, list[int]] = field(default_factory=dict)
    """Uses of chunks that do not exist yet."""
    open: bool = True


class Ledger:
    """Counts bytes per tier. `tiers` run from the fastest memory to the disk: devices, each beside the others, then the
    host, then the disk. Tasks compute on the devices, or where there are none on the host."""

    def __init__(self, tiers: Iterable[Tier]) -> None:
        self.tiers = tuple(tiers)
        self.disk = self.tiers[-1] if isinstance(self.tiers[-1], DiskTier) else None
        self.memory = len(self.tiers) - (self.disk is not None)
        """How many tiers are memory."""
        self.host = self.memory - 1
        """The level of the host's memory, and how many devices there are."""
        self.at: list[dict[Held, None]] = [{} for _ in self.tiers]
        self.runs: dict[int, Run] = {}
        self.moves: dict[Move, None] = {}
        self.owners: set[int] = set()
        self.trash: list[SpillFile] = []
        """Files that nobody needs; deleting takes time, so it is done without the lock."""
        self._stamp = 0

    # Chunks

    def add(self, entry: Held, ticket: Ticket) -> None:
        """Record a new chunk, pinned by the ticket of the task that made it."""
        entry.pins = 1
        ticket.keys += (entry.key,)
        self.runs[entry.run].held[entry.key] = entry
        entry.level = ticket.place
        self.at[entry.level][entry] = None
        self.tiers[entry.level].count(held=entry.nbytes)
        self.owners |= entry.owners
        self.touch(entry)

    def place(self, entry: Held, level: int, payload: Any, owners: set[int]) -> None:
        """Record that an entry is at another level now."""
        self._leave(entry)
        entry.level, entry.payload, entry.owners = level, payload, owners
        self.at[level][entry] = None
        if level < self.memory:
            self.tiers[level].count(held=entry.nbytes)
        self.owners |= owners

    def remove(self, entry: Held) -> None:
        """Forget a chunk. While a thread copies it, its bytes count on, until `end`."""
        del self.runs[entry.run].held[entry.key]
        entry.gone = True
        if not entry.busy:
            self._free(entry)

    def _free(self, entry: Held) -> None:
        entry.payload = None  # its memory must be free when the sums say so
        self._leave(entry)
        self.drop_file(entry)

    def _leave(self, entry: Held) -> None:
        del self.at[entry.level][entry]
        if entry.level < self.memory:
            self.tiers[entry.level].count(held=-entry.nbytes)
        self.owners -= entry.owners

    def touch(self, entry: Held) -> None:
        self._stamp += 1
        entry.stamp = self._stamp

    def keep_file(self, entry: Held, file: SpillFile) -> None:
        """Record a new file. Files count as held on disk from now until `drop_file`."""
        entry.file = file
        self.tiers[-1].count(held=entry.nbytes)

    def drop_file(self, entry: Held) -> None:
        if entry.file is not None:
            self.trash.append(entry.file)
            entry.file = None
            self.tiers[-1].count(held=-entry.nbytes)

    def drop_spare_files(self) -> bool:
        """Give up the files of chunks that are in memory as well."""
        spare = [entry for at in self.at[: self.memory] for entry in at if entry.file is not None and not entry.busy]
        for entry in spare:
            self.drop_file(entry)
        return bool(spare)

    # Tickets

    def ticket(self, run: int, keys: tuple[Key, ...], load: int, work: int, place: int = 0) -> Ticket:
        """What a task would need now; not granted yet."""
        held = self.runs[run].held
        lifts = {key: held[key].nbytes for key in keys if held[key].level != place}
        reserved = {place: work + sum(lifts.values()) + (0 if self.host else load)}
        ticket = Ticket(run, keys, reserved, lifts, place=place)
        if self.host:
            # a chunk on its way from disk to the device passes through the host: one at a time, after those that
            # the host has already
            staged = max((nbytes for key, nbytes in lifts.items() if held[key].level > self.host), default=0)
            leaving = sum(nbytes for key, nbytes in lifts.items() if held[key].level == self.host)
            ticket.debt = min(staged, leaving)
            ticket.reserved[self.host] = load + staged - ticket.debt
        return ticket

    def pay(self, ticket: Ticket, nbytes: int) -> None:
        """Reserve up to `nbytes` of what a ticket still has to reserve on the host."""
        nbytes = min(nbytes, ticket.debt)
        if nbytes:
            ticket.debt -= nbytes
            ticket.reserved[self.host] += nbytes
            self.tiers[self.host].count(reserved=nbytes)

    def short(self, needs: dict[int, int]) -> list[int]:
        """The levels where there is no room for `needs`."""
        return [level for level, nbytes in needs.items() if self.tiers[level].short(nbytes) > 0]

    def grant(self, ticket: Ticket) -> Ticket:
        run = self.runs[ticket.run]
        run.tickets[ticket] = None
        for level, nbytes in ticket.reserved.items():
            self.tiers[level].count(reserved=nbytes)
        for key in ticket.keys:
            run.held[key].pins += 1
        return ticket

    def spend(self, ticket: Ticket, nbytes: int) -> None:
        """Take bytes of where the task computes out of a reservation."""
        ticket.reserved[ticket.place] -= nbytes
        self.tiers[ticket.place].count(reserved=-nbytes)

    def close(self, ticket: Ticket) -> None:
        """Give back what is left of a reservation; harmless the second time."""
        run = self.runs.get(ticket.run)
        if run is None or ticket not in run.tickets:
            return
        del run.tickets[ticket]
        for level, nbytes in ticket.reserved.items():
            self.tiers[level].count(reserved=-nbytes)
        for key in ticket.keys:
            entry = run.held.get(key)
            if entry is not None:
                entry.pins -= 1
                self.touch(entry)

    def working(self) -> bool:
        """Whether any task or move is under way, and so something may be released."""
        return bool(self.moves) or any(not t.whole_run for run in self.runs.values() for t in run.tickets)

    def sum_up(self, run: int = 0) -> None:
        """Make the sums anew from what there is, after an interrupt that may have struck `run` between two lines."""
        for move in [move for move in self.moves if move.run == run]:
            del self.moves[move]
            move.entry.busy = False
        for tier in self.tiers:
            tier.held = tier.reserved = 0
        self.at = [{} for _ in self.tiers]
        self.owners = set()
        entries = {move.entry: None for move in self.moves}
        for mine in self.runs.values():
            entries.update(dict.fromkeys(mine.held.values()))
            for entry in mine.held.values():
                entry.pins = sum(entry.key in ticket.keys for ticket in mine.tickets)
            for ticket in mine.tickets:
                for level, nbytes in ticket.reserved.items():
                    self.tiers[level].reserved += nbytes
        for move in self.moves:
            self.tiers[move.dst].reserved += move.entry.nbytes
        for entry in entries:
            self.at[entry.level][entry] = None
            self.owners |= entry.owners
            if entry.level < self.memory:
                self.tiers[entry.level].held += entry.nbytes
            if entry.file is not None:
                self.tiers[-1].held += entry.nbytes

    def remove_run(self, number: int) -> None:
        """Forget a run, if it is still known, and all it holds."""
        run = self.runs.get(number)
        if run is not None:
            for entry in tuple(run.held.values()):
                self.remove(entry)
            del self.runs[number]

    def inherit(self) -> None:
        """In a child of a fork: the parent's runs do not go on here, and its files are not ours to delete."""
        for run in self.runs.values():
            run.tickets.clear()
            run.open = False
        self.moves.clear()
        self.trash.clear()
        self.sum_up()
        if self.disk is not None:
            self.disk.disown()

    def files(self) -> set[SpillFile]:
        """All files that are known."""
        entries = [entry for at in self.at for entry in at]
        return {entry.file for entry in entries if entry.file} | set(self.trash)

    # Moves

    def begin(self, move: Move) -> None:
        move.entry.busy = True
        self.moves[move] = None
        self.tiers[move.dst].count(reserved=move.entry.nbytes)

    def end(self, move: Move) -> None:
        del self.moves[move]
        move.entry.busy = False
        self.tiers[move.dst].count(reserved=-move.entry.nbytes)
        if move.entry.gone:
            self._free(move.entry)

    def plan_moves(self, run: int, needs: dict[int, int], spared: Collection[Held] = ()) -> list[Move]:
        """Moves that make room for what a run needs, or a first step towards it; none if moves cannot make it.

        Nothing moves in vain: if all that may move is not enough, nothing does.
        """
        short = self.short(needs)
        for level in short:
            if self.victims(level, self.tiers[level].short(needs[level]), spared) is None:
                return []
        if not short:
            return []
        level = min(short)  # from the top down: what sinks may have to sink further
        return self._sink(run, level, self.tiers[level].short(needs[level]), spared)

    def plan_relief(self, run: int, place: int = 0) -> list[Move]:
        """Moves that take a chunk out of where tasks compute, or make room for it below; none if there are no such."""
        return self._sink(run, place, 1, ())

    def below(self, level: int) -> int:
        """The level to which chunks of another move: from every device it is the host."""
        return max(level + 1, self.host)

    def _sink(self, run: int, level: int, nbytes: int, spared: Collection[Held]) -> list[Move]:
        """Moves out of a level, or, where there is no room below for even one of them, out of the next."""
        found = self.victims(level, nbytes, spared)
        if not found:
            return []
        below = self.below(level)
        for chosen in (found, found[:1]):
            short = self.tiers[below].short(sum(entry.nbytes for entry in chosen))
            if short <= 0:
                return [Move(entry, level, below, run) for entry in chosen]
            if below + 1 < len(self.tiers) and (moves := self._sink(run, below, short, spared)):
                return moves
        return []

    def victims(self, level: int, nbytes: int, spared: Collection[Held] = ()) -> list[Held] | None:
        """The chunks of a level to move down so that `nbytes` come free; None if there are not enough.

        What a task is about to read is `spared`: never moved out of where tasks compute, and last out of the others.
        """
        if self.below(level) == len(self.tiers):
            return None
        to_disk = level == self.host
        candidates = [e for e in self.at[level] if not (e.pins or e.holds or e.busy or (to_disk and e.fixed))]
        if spared:
            last = [entry for entry in candidates if entry in spared] if level >= max(1, self.host) else []
            candidates = [entry for entry in candidates if entry not in spared]
        else:
            last = []
        candidates.sort(key=Held.rank, reverse=True)
        chosen = []
        for entry in (*candidates, *last):
            if nbytes <= 0:
                break
            chosen.append(entry)
            nbytes -= entry.nbytes
        return chosen if nbytes <= 0 else None

    # Refusals

    def refuse_giants(self, ticket: Ticket) -> None:
        """Raise if a task would not fit were it alone with its run."""
        run = self.runs[ticket.run]
        standing = sum(other.reserved.get(self.host, 0) for other in run.tickets if other.whole_run)
        inputs = sum(run.held[key].nbytes for key in ticket.keys if key not in ticket.lifts)
        for level, nbytes in ticket.reserved.items():
            tier = self.tiers[level]
            nbytes += tier.aside + (inputs if level == ticket.place else 0) + (standing if level == self.host else 0)
            if tier.limit is not None and nbytes > tier.limit:
                raise MemoryLimitError(
                    f"{format_bytes(nbytes)} are needed at once in {tier.name} memory, of which "
                    f"{format_bytes(tier.limit)} may be used; use smaller chunks or raise {tier.setting}"
                )

    def no_room(self, needs: dict[int, int], spill_error: SpillError | None) -> Exception:
        """What to raise if nothing can be spilled and nobody is left who could release anything."""
        facts = "; ".join(self._facts(needs))
        if spill_error is not None:
            error = SpillError(f"{facts}, and nothing more could be spilled: {spill_error}")
            error.__cause__ = spill_error
            return error
        names = " and ".join(self.tiers[level].setting for level in self.short(needs))
        return MemoryLimitError(
            f"{facts}; raise {names} or use smaller chunks"
            + ("" if self.disk else ", or set spill_directory so that chunks can go to disk")
        )

    def _facts(self, needs: dict[int, int]) -> Iterator[str]:
        for level in self.short(needs):
            tier = self.tiers[level]
            yield (
                f"{format_bytes(needs[level])} are needed in {tier.name} memory, but of its "
                f"{format_bytes(tier.limit or 0)} {format_bytes(tier.held)} are held by chunks that are still wanted "
                f"and {format_bytes(tier.reserved + tier.aside)} are reserved"
            )
