"""Elements at positions that only data knows: kept by a mask, or written through index arrays."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from gpuarray.graph.grid import Lengths, Region, nbytes, shape_of
from gpuarray.graph.node import Node, apart
from gpuarray.graph.select import Indices

SECTION = 2**18
"""Elements between which those that a mask selects are counted, and the least that is read to find one of them."""


def sections(parts: Lengths) -> Lengths:
    """The chunks of an array, cut further where they are long.

    >>> list(sections(Lengths.regular(3 * 2**18, 3 * 2**17)))
    [196608, 196608, 196608, 196608]
    """
    if parts.step:
        number = -(-parts.step // SECTION)
        even = next((k for k in range(number, 2 * number) if parts.step % k == 0), None)
        if even is not None:
            return Lengths.regular(parts.total, parts.step // even)
    cut = [0]
    for lo, hi in pairwise(int(e) for e in parts.edges()):
        number = -(-(hi - lo) // SECTION)
        cut += (lo + (hi - lo) * k // number for k in range(1, number + 1))
    return Lengths.between(cut)


class Compress(Node):
    """The elements of a 1-d array where a mask is true. `counts` says how many each of its `sections` has."""

    __slots__ = ("counts", "edges", "sections")

    def __init__(self, sections: Lengths, counts: tuple[int, ...], input: Node, mask: Node) -> None:
        """`sections` are the input's chunks, or finer."""
        self.sections, self.counts = sections, counts
        self.edges = np.cumsum((0, *counts))
        self.shape, self.dtype, self.inputs = (int(self.edges[-1]),), input.dtype, (input, mask)
        at = np.searchsorted(sections.edges(), input.chunks[0].edges())
        self.chunks = (Lengths.of([int(n) for n in np.diff(self.edges[at]) if n] or [0]),)

    def _source(self, out: Region) -> tuple[range, int]:
        """The input chunks that a region comes from, as positions, and how many results come before them."""
        (r,) = out
        if not r:
            return range(0), 0
        first = int(np.searchsorted(self.edges, r[0], side="right")) - 1
        last = int(np.searchsorted(self.edges, r[-1], side="right")) - 1
        return range(self.sections.edge(first), self.sections.edge(last + 1)), int(self.edges[first])

    def regions(self, out: Region) -> tuple[Region, ...]:
        span = (self._source(out)[0],)
        return span, span

    def workspace(self, out: Region) -> int:
        return nbytes(self.regions(out)[0], self.dtype)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        array, mask = inputs
        (r,) = out
        before = self._source(out)[1]
        found = array[mask]
        return apart(backend, found[r.start - before : r.stop - before : r.step], found)


class Scatter(Node):
    """A copy of an array with the elements at flat positions replaced by a 1-d array's, the last of equals winning."""

    __slots__ = ("_order", "positions")

    def __init__(self, positions: Indices, base: Node, values: Node) -> None:
        self.positions = positions
        self.shape, self.dtype, self.chunks, self.inputs = base.shape, base.dtype, base.chunks, (base, values)

    @property
    def label(self) -> str:
        return "setitem"

    def _landing(self, out: Region) -> tuple[np.ndarray[Any, Any], tuple[np.ndarray[Any, Any], ...]]:
        """Which values land in a region, and where in it."""
        where = np.unravel_index(self.positions.array, self.shape) if self.shape else (self.positions.array,)
        inside = np.ones(len(self.positions), dtype=bool)
        for w, r in zip(where, out, strict=False):
            inside &= (w >= r.start) & (w < r.stop) & ((w - r.start) % r.step == 0)
        which = np.flatnonzero(inside)
        return which, tuple((w[which] - r.start) // r.step for w, r in zip(where, out, strict=False))

    def regions(self, out: Region) -> tuple[Region, ...]:
        which = self._landing(out)[0]
        span = range(int(which[0]), int(which[-1]) + 1) if which.size else range(0)
        return out, (span,)

    def workspace(self, out: Region) -> int:
        return len(self.positions) * 8 * (2 + self.ndim) + nbytes(out, self.dtype)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        base, values = inputs
        result = backend.empty(shape_of(out), self.dtype)
        result[...] = base
        which, at = self._landing(out)
        if which.size:
            # One write per position, of the last value given for it: the order of writes to one place is not defined.
            flat = np.ravel_multi_index(at, shape_of(out)) if at else np.zeros(which.size, dtype=np.int64)
            _, last = np.unique(flat[::-1], return_index=True)
            pick = which.size - 1 - last
            xp = backend.xp
            result[tuple(xp.asarray(a[pick]) for a in at)] = values[xp.asarray(which[pick] - which[0])]
        return result
