"""Which part of the fields a part of the result needs, step by step; integers only.

A box has one contiguous range per axis, in positions of the whole arrays. Along a periodic axis that is only partly
covered, positions run on past the ends: -1 is the last element once more (an *extended* axis). One that would be
covered whole is just ``range(n)`` (a *wrapped* axis), and so is one that is periodic for some fields and not for
others. On other axes boxes stay inside the array.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from gpuarray.kernels.stencils.program import Edge, Edges, StencilProgram

Box = tuple[range, ...]


def boxes(stencil: StencilProgram, edges: Edges, domain: tuple[int, ...], out: Box, steps: int) -> list[Box]:
    """The box of every level: `boxes[0]` is what must be read, ``boxes[steps]`` is `out`.

    Level t is the state after t steps. Every level's box holds all that the next one reads of any field.
    """
    reaches = _reaches(stencil, edges)
    along = [_along(reaches[a], n, r, steps) for a, (n, r) in enumerate(zip(domain, out, strict=True))]
    return list(zip(*along, strict=True)) if along else [()] * (steps + 1)


class Reaches:
    """How far the fields are read along one axis, and what lies past its ends; compared by identity."""

    __slots__ = ("above", "below", "each", "periodic")

    def __init__(self, each: Iterable[tuple[int, int, Edge, Edge]]) -> None:
        self.each = frozenset(each)
        """By field: below, above, what lies before the first element and after the last."""
        self.below = max((r[0] for r in self.each), default=0)
        self.above = max((r[1] for r in self.each), default=0)
        self.periodic = {first.mode == "periodic" for below, above, first, _ in self.each if below or above}


_known: dict[tuple[int, int], tuple[StencilProgram, Edges, tuple[Reaches, ...]]] = {}


def _reaches(stencil: StencilProgram, edges: Edges) -> tuple[Reaches, ...]:
    """By axis; remembered by identity, for to hash a program takes longer than all else here."""
    found = _known.get((id(stencil), id(edges)))
    if found is None:
        if len(_known) >= 256:
            _known.clear()
        read = {t.field for t in stencil.taps}
        made = tuple(Reaches((*stencil.radius(f, a), *edges[f][a]) for f in read) for a in range(stencil.ndim))
        found = _known[id(stencil), id(edges)] = (stencil, edges, made)  # those held keep their ids their own
    return found[2]


@functools.lru_cache(4096)
def _along(reaches: Reaches, n: int, out: range, steps: int) -> list[range]:
    """The range of every level along one axis."""
    if not n or not out or not steps:
        return [out] * (steps + 1)
    below, above = reaches.below, reaches.above
    if True in reaches.periodic:
        if len(reaches.periodic) > 1 or len(out) + steps * (below + above) >= n:
            return [range(n)] * steps + [out]
        return [range(out.start - t * below, out.stop + t * above) for t in range(steps, -1, -1)]
    if out.stop > below and n - out.start > above:  # what an end reflects is near it, and there already
        return [range(max(0, out.start - t * below), min(n, out.stop + t * above)) for t in range(steps, -1, -1)]
    levels = [out]
    while len(levels) <= steps and levels[-1] != range(n):
        lo, hi = levels[-1].start, levels[-1].stop
        reached = [_reached(range(lo - r[0], hi + r[1]), n, r[2], r[3]) for r in reaches.each]
        levels.append(range(min(lo, *(r.start for r in reached)), max(hi, *(r.stop for r in reached))))
    return [range(n)] * (steps + 1 - len(levels)) + levels[::-1]


def _reached(wanted: range, n: int, first: Edge, last: Edge) -> range:
    """The elements that a run of positions, some of them past the ends, stands for; not along a periodic axis."""
    low, high = min(max(wanted.start, 0), n - 1), min(max(wanted.stop - 1, 0), n - 1)
    for p in (*range(wanted.start, 0), *range(n, wanted.stop)):
        q = source(p, n, first if p < 0 else last)
        if q is not None:
            low, high = min(low, q), max(high, q)
    return range(low, high + 1)


def source(position: int, n: int, edge: Edge) -> int | None:
    """The element that stands at a position past the end of an axis of length `n`; None where none does."""
    if edge.mode == "periodic":
        return position % n
    if edge.mode == "nearest":
        return min(max(position, 0), n - 1)
    if edge.mode in ("reflect", "symmetric"):
        period = max(1, 2 * (n - 1)) if edge.mode == "reflect" else 2 * n
        folded = position % period
        return folded if folded < n else (period if edge.mode == "reflect" else period - 1) - folded
    return None
