"""Many steps through slabs of an axis, each level a little behind the one before: no point is computed twice.

A slab of level t + 1 lies lower than that of level t, by as far as a point reads ahead. So it needs what level t has in
the same slab, and the few rows before it, as far as a point reads both ways: those are *carried* from slab to slab, for
every level. Integers only.

Along a periodic axis positions run on past the end, and every level begins by as far as a point reads back later than
the one before: there all that it needs is known. It ends as much later, so what lies past the end of the level before
are the first rows of that level, which are carried to the end.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from gpuarray.kernels.stencils.margins import elements
from gpuarray.kernels.stencils.program import Edges, StencilProgram


@dataclass(frozen=True)
class Course:
    """Slabs of an axis of length `n`, for so many levels after level 0.

    >>> course = Course(n=10, rows=4, back=1, ahead=1, periodic=False, levels=2)
    >>> [[course.window(level, slab) for slab in range(course.slabs)] for level in (0, 2)]
    [[range(0, 4), range(4, 8), range(8, 10)], [range(0, 2), range(2, 6), range(6, 10)]]
    >>> course.carried(level=1, slab=2, steps=2)
    range(3, 7)
    """

    n: int
    rows: int
    """Of a slab; along a periodic axis fewer than `n` less those that are carried of a level."""
    back: int
    ahead: int
    """How far a point reads behind and ahead of itself."""
    periodic: bool
    levels: int

    @property
    def width(self) -> int:
        """Rows that are carried of a level."""
        return self.back + self.ahead

    @property
    def slabs(self) -> int:
        return -(-(self.n + self.levels * (self.ahead + self.back * self.periodic)) // self.rows)

    def low(self, level: int) -> int:
        """The first row of a level."""
        return level * self.back if self.periodic else 0

    def edge(self, level: int, slab: int) -> int:
        low = self.low(level)
        return min(max(slab * self.rows - level * self.ahead, low), low + self.n)

    def window(self, level: int, slab: int) -> range:
        """The rows of a level that are computed in a slab."""
        return range(self.edge(level, slab), self.edge(level, slab + 1))

    def cut(self, level: int) -> list[int]:
        """Where a level's slabs begin and end, counted from its first row."""
        return [self.edge(level, slab) - self.low(level) for slab in range(self.slabs + 1)]

    def known(self, level: int, slab: int, steps: int) -> int:
        """Where the rows end that the slabs before this one leave, images past the end of the axis included; `steps`
        are done at once from this level.
        """
        low = self.low(level)
        past = steps * self.width if self.periodic else 0
        return min(max(slab * self.rows - level * self.ahead, low), low + self.n + past)

    def carried(self, level: int, slab: int, steps: int) -> range:
        """The rows that a slab gets from the one before it."""
        stop = self.known(level, slab, steps)
        return range(max(self.low(level), stop - steps * self.width), stop)

    def images(self, level: int, slab: int, steps: int) -> range:
        """The rows past the end of a periodic axis that come in with a slab: the first ones once more."""
        end = self.low(level) + self.n
        return range(max(end, self.known(level, slab, steps)), max(end, self.known(level, slab + 1, steps)))

    def first(self, level: int, slab: int, steps: int) -> range:
        """Those of the first rows of a level, which its end will need, that a slab computes; none where it needs none.

        They are kept from `low(level)` on.
        """
        if not self.periodic:
            return range(0)
        window, low = self.window(level, slab), self.low(level)
        return range(window.start, max(window.start, min(window.stop, low + steps * self.width)))

    def begun(self, level: int, steps: int, slab: int) -> bool:
        """Whether a slab needs anything from the one before, in a visit of so many steps from a level on."""
        return self.width > 0 and any(self.edge(t, slab) > self.low(t) for t in range(level, level + steps))

    def reads(self, level: int, steps: int, slab: int) -> range:
        """The rows of a coefficient that a visit may read, in positions that run on past the end of a periodic axis."""
        later = range(1, steps + 1)
        windows = [self.window(level + t, slab) for t in later]
        spans = [(w.start - t * self.back, w.stop + t * self.ahead) for t, w in zip(later, windows, strict=True) if w]
        if not spans:
            return range(0)
        low, high = min(s[0] for s in spans), max(s[1] for s in spans)
        return range(low, high) if self.periodic else range(max(0, low), min(self.n, high))


def span(stencil: StencilProgram, edges: Edges, axis: int, n: int) -> tuple[int, int]:
    """How far a point reads behind and ahead of itself along an axis: more than the radius where edges reflect."""
    radii = [stencil.radius(f, axis) for f in range(stencil.fields)]
    back, ahead = max(r[0] for r in radii), max(r[1] for r in radii)
    if is_periodic(stencil, edges, axis):
        return back, ahead
    near = {*range(min(n, back)), *range(max(0, n - ahead), n)}
    for (f, (below, above)), p in itertools.product(enumerate(radii), near):
        for q in elements(range(p - below, p + above + 1), n, edges[f][axis], False):
            if q is not None:
                back, ahead = max(back, p - q), max(ahead, q - p)
    return back, ahead


def is_periodic(stencil: StencilProgram, edges: Edges, axis: int) -> bool:
    """Whether the fields that are read around a point along an axis are periodic there."""
    return any(edges[f][axis][0].mode == "periodic" for f in range(stencil.fields) if any(stencil.radius(f, axis)))
