"""Which part of the fields a part of the result needs, step by step; integers only.

A box has one contiguous range per axis, in positions of the whole arrays. Along a periodic axis that is only partly
covered, positions run on past the ends: -1 is the last element once more (an *extended* axis). One that would be
covered whole is just ``range(n)`` (a *wrapped* axis), and so is one that is periodic for some fields and not for
others. On other axes boxes stay inside the array.
"""

from __future__ import annotations

import functools

from gpuarray.kernels.stencils.program import Edge, Edges, StencilProgram

Box = tuple[range, ...]


def boxes(stencil: StencilProgram, edges: Edges, domain: tuple[int, ...], out: Box, steps: int) -> list[Box]:
    """The box of every level: `boxes[0]` is what must be read, ``boxes[steps]`` is `out`.

    Level t is the state after t steps. Every level's box holds all that the next one reads of any field.
    """
    reaches = _reaches(stencil, edges)
    along = [_along(reaches[a], n, r, steps) for a, (n, r) in enumerate(zip(domain, out, strict=True))]
    return [tuple(axis[t] for axis in along) for t in range(steps + 1)]


Reach = tuple[int, int, Edge, Edge]
"""How far a field is read below and above a point, and what lies past the ends of the axis."""


@functools.lru_cache(64)
def _reaches(stencil: StencilProgram, edges: Edges) -> tuple[frozenset[Reach], ...]:
    """By axis."""
    read = {t.field for t in stencil.taps}
    return tuple(frozenset((*stencil.radius(f, a), *edges[f][a]) for f in read) for a in range(stencil.ndim))


def _along(reaches: frozenset[Reach], n: int, out: range, steps: int) -> list[range]:
    levels = [out]
    if not n or not out:
        return [out] * (steps + 1)
    for _ in range(steps):
        if levels[-1] == range(n):
            levels += [range(n)] * (steps + 1 - len(levels))
            break
        lo, hi = levels[-1].start, levels[-1].stop
        low, high = lo, hi
        for below, above, first, last in reaches:
            reached = _reached(range(lo - below, hi + above), n, first, last)
            low, high = min(low, reached.start), max(high, reached.stop)
        levels.append(range(low, high))
    periodic = {first.mode == "periodic" for below, above, first, _ in reaches if below or above}
    if len(periodic) > 1 or (True in periodic and len(levels[-1]) >= n):
        levels = [out] + [range(n)] * steps
    return levels[::-1]


def _reached(wanted: range, n: int, first: Edge, last: Edge) -> range:
    """The positions of the array that a run of positions, some of them past the ends, stands for."""
    if first.mode == "periodic":
        return wanted
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
