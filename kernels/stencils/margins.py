"""Which element of a field stands at a position, inside and past the ends, as runs of consecutive positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gpuarray.kernels.stencils.boxes import Box, source
from gpuarray.kernels.stencils.program import Edge, Edges, StencilProgram


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive positions whose elements lie one after the other, backwards, all in one place, or nowhere."""

    at: int
    """The first position, counted from where the runs begin."""
    length: int
    start: int
    """The position of the first element in the array."""
    step: int
    """1, -1, or 0 for one element over and over."""
    outside: int | None = None
    """Past an end where nothing stands: 0 for the lower, 1 for the upper one."""


def extended(stencil: StencilProgram, edges: Edges, axis: int, n: int, level: range) -> bool:
    """Whether positions past the ends of an axis are images that boxes cover themselves (see `boxes`).

    `level` is the range of level 0, or of any level before the last.
    """
    if level == range(n):
        return False
    return any(edges[f][axis][0].mode == "periodic" for f in range(stencil.fields) if any(stencil.radius(f, axis)))


def elements(wanted: range, n: int, edges: tuple[Edge, Edge], images: bool) -> list[int | None]:
    """The position of the element that stands at each of the positions `wanted`; None where none does.

    `images`: the axis is extended, so that each position holds its own element.
    """
    if images:
        return list(wanted)
    return [p if 0 <= p < n else source(p, n, edges[p >= n]) for p in wanted]


def runs(wanted: range, n: int, edges: tuple[Edge, Edge], images: bool) -> Iterator[Run]:
    """`elements` as few runs.

    >>> [(r.at, r.length, r.start, r.step) for r in runs(range(-2, 5), 4, (Edge("reflect"), Edge("nearest")), False)]
    [(0, 2, 2, -1), (2, 4, 0, 1), (6, 1, 3, 1)]
    """
    inside = wanted if images else range(max(wanted.start, 0), min(wanted.stop, n))
    if not inside:
        yield from _gathered(wanted, 0, n, edges)
        return
    yield from _gathered(range(wanted.start, inside.start), 0, n, edges)
    yield Run(inside.start - wanted.start, len(inside), inside.start, 1)
    yield from _gathered(range(inside.stop, wanted.stop), inside.stop - wanted.start, n, edges)


def _gathered(wanted: range, at: int, n: int, edges: tuple[Edge, Edge]) -> Iterator[Run]:
    found = elements(wanted, n, edges, False)
    first = 0
    while first < len(found):
        start, last = found[first], first + 1
        if start is None:
            side = int(wanted[first] >= n)
            while last < len(found) and found[last] is None and int(wanted[last] >= n) == side:
                last += 1
            yield Run(at + first, last - first, 0, 0, side)
        else:
            second = found[last] if last < len(found) else None
            step = 1 if second is None or abs(second - start) > 1 else second - start
            while last < len(found) and found[last] == start + step * (last - first):
                last += 1
            yield Run(at + first, last - first, start, step)
        first = last


def reach(stencil: StencilProgram, field: int, box: Sequence[range]) -> Box:
    """The positions around a box that its points read of a field."""
    radii = (stencil.radius(field, a) for a in range(stencil.ndim))
    return tuple(range(r.start - below, r.stop + above) for r, (below, above) in zip(box, radii, strict=True))
