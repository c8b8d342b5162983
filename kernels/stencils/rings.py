"""What the tiles of a sweep share, and the rings in which the levels of a tile lie."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpuarray.kernels.stencils import code
from gpuarray.kernels.stencils.boxes import Box, boxes
from gpuarray.kernels.stencils.margins import elements, extended
from gpuarray.kernels.stencils.program import Edges, StencilProgram, kept_border

Array = np.ndarray[Any, Any]

_APART = 192
"""Bytes from one ring to the next: cache lines, so that the same planes of all levels do not share sets of a cache."""


@dataclass
class Domain:
    """What all tiles of a sweep share."""

    stencil: StencilProgram
    edges: Edges
    shape: tuple[int, ...]
    images: tuple[bool, ...]
    """By axis: whether the arrays themselves hold images past its ends."""
    tables: dict[Hashable, Array] = field(default_factory=dict)
    """Tables that tiles have in common."""

    def __post_init__(self) -> None:
        s = self.stencil
        self.read = sorted({t.field for t in s.taps} | set(range(s.outputs)))
        """The fields that a tile needs."""
        self.sizes = [s.dtype(f).itemsize for f in range(s.fields)]
        self.below = [max(s.radius(f, a)[0] for f in range(s.fields)) for a in range(s.ndim)]
        self.above = [max(s.radius(f, a)[1] for f in range(s.fields)) for a in range(s.ndim)]
        self.kept = [kept_border(s, self.edges, a) for a in range(s.ndim)]
        self.line = max(1, 64 // min(self.sizes[f] for f in self.read))
        """Elements of a cache line, for the smallest of them."""
        self.words = code.Words(s.ndim, s.fields, s.outputs)
        self.periodic = [extended(s, self.edges, a, n, range(0)) and n > 0 for a, n in enumerate(self.shape)]

    @property
    def fixed(self) -> bool:
        return any(map(any, self.kept))

    def levels(self, out: Box, steps: int) -> tuple[list[Box], tuple[bool, ...]]:
        """The box of every level of a tile, and which of its axes hold images past the ends."""
        levels = boxes(self.stencil, self.edges, self.shape, out, steps)
        images = [
            p and levels[0][a] != range(n) for a, (n, p) in enumerate(zip(self.shape, self.periodic, strict=True))
        ]
        if self.periodic[0]:  # the planes at one end do not wait for those at the other: they are computed twice
            low, high, images[0] = self.below[0], self.above[0], True
            back = range(steps, -1, -1)
            along = (range(out[0].start - t * low, out[0].stop + t * high) for t in back)
            levels = [(first, *box[1:]) for first, box in zip(along, levels, strict=True)]
        return levels, tuple(images)

    def table(self, key: Hashable, make: Callable[[], Array]) -> Array:
        """A table, made when it is first asked for."""
        if key not in self.tables:
            self.tables[key] = make()
        return self.tables[key]


@dataclass(frozen=True)
class Rings:
    """How the rings of a tile lie in memory."""

    lag: int
    """Planes from a level to the next."""
    held: int
    """Levels of the state that have a ring of their own; where no plane reads others, two take turns."""
    depth: int
    """Planes of a level of the state."""
    long: int
    """Planes of a coefficient: those that any level reads."""
    left: int
    """The position of the first element of a row; the last level begins with a cache line."""
    pitch: int
    """Elements from row to row."""
    rows: tuple[int, ...]
    """Rows along the axes between the first and the last."""

    @staticmethod
    def of(domain: Domain, levels: Sequence[Box], images: tuple[bool, ...], planes: int) -> Rings:
        """For levels that are computed so many planes at a time."""
        steps, every = len(levels) - 1, len(levels[0][0])
        back, ahead = _span(domain, images[0], levels[1][0])
        depth, long = min(back + ahead + planes, every), min(back + steps * ahead + planes, every)
        line, first, last = domain.line, levels[0][-1], levels[-1][-1]
        before = last.start - first.start + domain.below[-1] + line - 1
        left = last.start - -(-before // line) * line
        lines = -(-(first.stop - left) // line) + -(-domain.above[-1] // line)
        # an odd number of lines: rows one above the other must not share sets of the cache
        held = steps if back or ahead else min(steps, 2)
        return Rings(ahead, held, depth, long, left, (lines | 1) * line, tuple(map(len, levels[0][1:-1])))

    def nbytes(self, domain: Domain, f: int) -> int:
        """One level of a field."""
        planes = self.depth if f < domain.stencil.outputs else self.long
        return -(-planes * math.prod(self.rows) * self.pitch * domain.sizes[f] // 64) * 64 + _APART

    def total(self, domain: Domain) -> int:
        """All rings, and what aligning them takes."""
        return 64 + sum(self.nbytes(domain, f) * (self.held if f < domain.stencil.outputs else 1) for f in domain.read)


def _span(domain: Domain, images: bool, points: range) -> tuple[int, int]:
    """How many planes behind and ahead of its own a level reads: more than the radius where edges reflect."""
    back, ahead = domain.below[0], domain.above[0]
    if images:
        return back, ahead
    near = {*points[: domain.below[0]], *points[max(len(points) - domain.above[0], 0) :]}
    for f, p in itertools.product(domain.read, near):
        below, above = domain.stencil.radius(f, 0)
        for q in elements(range(p - below, p + above + 1), domain.shape[0], domain.edges[f][0], False):
            if q is not None:
                back, ahead = max(back, p - q), max(ahead, q - p)
    return back, ahead
