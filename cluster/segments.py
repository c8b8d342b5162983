"""Which parts of spill files are in use: small chunks share files, so that a file is not made for each of them.

Making, opening and deleting a file takes as long as writing a hundred kilobytes. What is freed is used again for chunks
of the same size class, which finds the system's pages in place; a file goes when nothing in it is in use. Nothing here
reads or writes, or takes a lock; `disk.DiskTier` does.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, field

SEGMENT = 64 << 20
"""Bytes from which a shared file gets no more chunks."""
SHARED = 4 << 20
"""Bytes from which a chunk has a file of its own."""
SPARE = 256 << 20
"""Bytes that may be free inside files, beyond as many as are in use, before they are given back to the file system."""
_PAGE = 4096


@dataclass(slots=True, eq=False)
class Slot:
    """A part of a file, for one chunk."""

    segment: Segment
    offset: int
    length: int
    readers: int = 0
    gone: bool = False
    """Dropped while it is read: it is free when the last reader has left."""
    hollow: bool = False
    """It takes no room in the file system."""


@dataclass(slots=True, eq=False)
class Segment:
    """A file that chunks share, or of one large chunk."""

    path: str
    end: int = 0
    written: int = 0
    """Bytes that the file has at least."""
    retired: bool = False
    used: set[Slot] = field(default_factory=set)
    free: dict[int, list[Slot]] = field(default_factory=dict)
    """By length."""


def size_class(nbytes: int) -> int:
    """The length of a slot for so many bytes: at most an eighth more, of which nothing is written.

    >>> size_class(1), size_class(4097), size_class(100_000)
    (4096, 8192, 106496)
    """
    step = max(_PAGE, 1 << max(0, nbytes.bit_length() - 4))
    return -(-nbytes // step) * step


class Segments:
    """The files of a tier.

    >>> segments = Segments()
    >>> one = segments.add("a", 5000)
    >>> two = segments.take(3000)
    >>> two.segment is one.segment, two.offset
    (True, 8192)
    >>> segments.release(one), segments.take(8000).offset
    (None, 0)
    """

    def __init__(self) -> None:
        self.by_path: dict[str, Segment] = {}
        self.used = self.free = 0
        """Bytes in use; bytes that are free inside files and take room there."""
        self._open: Segment | None = None
        self._free: dict[int, dict[Segment, None]] = {}
        """By length, the segments that have free slots."""
        self._filled: dict[Slot, None] = {}
        """The free slots that take room."""

    def take(self, nbytes: int) -> Slot | None:
        """A slot in a file that is there; None if there must be a new one."""
        length = size_class(nbytes)
        if nbytes > SHARED:
            return None
        if length in self._free:
            segment = next(iter(self._free[length]))
            slot = segment.free[length][-1]  # the one freed last: its pages are in the system's cache
            self._withdraw(slot)
            return self._use(Slot(segment, slot.offset, length))  # who still has the old one cannot harm it
        if self._open is None or self._open.end >= SEGMENT:
            return None
        return self._append(self._open, length)

    def add(self, path: str, nbytes: int) -> Slot:
        """A slot in a new file."""
        segment = self.by_path[path] = Segment(path)
        if nbytes <= SHARED:
            self._open = segment
        return self._append(segment, size_class(nbytes))

    def release(self, slot: Slot) -> Segment | None:
        """Free a slot; return its segment if that is to be deleted now: nothing in it is in use."""
        segment = slot.segment
        if slot not in segment.used or self.by_path.get(segment.path) is not segment:
            return None
        segment.used.remove(slot)
        self.used -= slot.length
        if not segment.retired:
            self._offer(slot)
        if segment.used:
            return None
        self.retire(segment)
        del self.by_path[segment.path]
        return segment

    def retire(self, segment: Segment) -> None:
        """Put nothing more in a segment, and forget what is free there."""
        segment.retired = True
        for slot in [slot for slots in segment.free.values() for slot in slots]:
            self._withdraw(slot)
        if self._open is segment:
            self._open = None

    def surplus(self, all_of_it: bool = False) -> list[Slot]:
        """Take out free slots whose room is to be given back to the file system; `restore` ends it.

        Two at a time, so that nobody waits long, once much more is free than in use; or `all_of_it`.
        """
        most = len(self._filled) if all_of_it else 2 if self.free > self.used + SPARE else 0
        found = list(itertools.islice(self._filled, most))
        for slot in found:
            self._withdraw(slot)
        return found

    def restore(self, slots: Collection[Slot]) -> None:
        """Put back, without their room, what `surplus` gave."""
        for slot in slots:
            slot.hollow = True
            if self.by_path.get(slot.segment.path) is slot.segment and not slot.segment.retired:
                self._offer(slot)

    def unknown(self, known: Collection[Slot]) -> list[Slot]:
        """The slots in use that are not among `known`."""
        wanted = set(known)
        return [slot for segment in self.by_path.values() for slot in segment.used if slot not in wanted]

    def _append(self, segment: Segment, length: int) -> Slot:
        slot = Slot(segment, segment.end, length)
        segment.end += length
        return self._use(slot)

    def _use(self, slot: Slot) -> Slot:
        slot.segment.used.add(slot)
        self.used += slot.length
        return slot

    def _offer(self, slot: Slot) -> None:
        slot.segment.free.setdefault(slot.length, []).append(slot)
        self._free.setdefault(slot.length, {})[slot.segment] = None
        if not slot.hollow:
            self._filled[slot] = None
            self.free += slot.length

    def _withdraw(self, slot: Slot) -> None:
        segment, length = slot.segment, slot.length
        segment.free[length].remove(slot)
        if not segment.free[length]:
            del segment.free[length], self._free[length][segment]
            if not self._free[length]:
                del self._free[length]
        if slot in self._filled:
            del self._filled[slot]
            self.free -= length
