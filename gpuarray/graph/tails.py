"""The last rows of each slab, kept for the slab after it when the slab itself has gone.

Visits of a stencil go through slabs of rows in order, each visit a little behind the one before: it is shifted down by
as far as its steps read. Then a slab needs the same slab of the visit before, and only the last rows of the one below.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np

from gpuarray.graph.grid import Lengths, Region, covering
from gpuarray.graph.node import Node


class Seam:
    """Rows cut into slabs (some of which may be empty), and where the last rows of each are in the array of tails."""

    __slots__ = ("cut", "offsets", "width")

    def __init__(self, cut: Lengths, width: int) -> None:
        self.cut, self.width = cut, width
        self.offsets = (0, *accumulate(min(width, n) for n in cut))

    @property
    def total(self) -> int:
        return self.offsets[-1]

    def tail(self, slab: int) -> range:
        """The rows that are the tail of a slab."""
        stop = self.cut.edge(slab + 1)
        return range(stop - min(self.width, self.cut[slab]), stop)

    def split(self, rows: range) -> tuple[range, range]:
        """(rows of the slabs, positions among the tails) that make up a run of rows; the tails' come first."""
        if not rows:
            return rows, range(0)
        last = self.cut.find(rows.stop - 1)
        if rows.start >= self.tail(last).start:
            return range(0), self.positions(last, rows)
        start = self.cut.edge(last)
        if rows.start >= start:
            return rows, range(0)
        before = self.cut.find(start - 1)
        if rows.start < self.tail(before).start:
            return rows, range(0)
        return range(start, rows.stop), self.positions(before, range(rows.start, start))

    def positions(self, slab: int, rows: range) -> range:
        at = self.offsets[slab] - self.tail(slab).start
        return range(rows.start + at, rows.stop + at)

    def rows(self, positions: range) -> np.ndarray[Any, Any]:
        """The row of every position among the tails."""
        every = [r for slab in range(len(self.cut)) for r in self.tail(slab)]
        return np.array(every, np.int64)[positions.start : positions.stop : positions.step]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seam) and (self.cut, self.width) == (other.cut, other.width)

    def __hash__(self) -> int:
        return hash((self.cut, self.width))

    def __reduce__(self) -> tuple[Any, ...]:
        return Seam, (self.cut, self.width)


class Tail(Node):
    """The tails of all slabs of an array, one after the other along the first axis."""

    __slots__ = ("_parts", "seam")

    inline = False

    def __init__(self, seam: Seam, input: Node) -> None:
        self.seam, self.inputs, self.dtype, self._parts = seam, (input,), input.dtype, input.parts
        self.shape = (seam.total, *input.shape[1:])
        lengths = Lengths.of(min(seam.width, n) for n in seam.cut)
        self.chunks = (lengths, *(Lengths.regular(n, n) for n in self.shape[1:]))

    @property
    def parts(self) -> tuple[np.dtype[Any], ...] | None:
        return self._parts

    def with_inputs(self, *inputs: Node) -> Node:
        made: Node = Tail(self.seam, *inputs)
        return made

    def regions(self, out: Region) -> tuple[Region, ...]:
        rows = self.seam.rows(out[0])
        span = range(int(rows[0]), int(rows[-1]) + 1) if len(rows) else range(0)
        return ((span, *map(covering, out[1:])),)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        rows = self.seam.rows(out[0])
        rest = tuple(slice(None, None, r.step) for r in out[1:])
        if not self._parts:
            return self._taken(backend, rows, rest, inputs[0])
        return tuple(self._taken(backend, rows, rest, a) for a in inputs[0])

    @staticmethod
    def _taken(backend: Any, rows: np.ndarray[Any, Any], rest: tuple[slice, ...], array: Any) -> Any:
        """Memory of its own: the slab that the rows are in is to be dropped."""
        if not len(rows):
            return array[(slice(0, 0), *rest)]
        at = backend.xp.asarray(rows - rows[0])
        return backend.xp.take(array, at, axis=0)[(slice(None), *rest)]
