"""A picture of how an array is cut: one drawing for every three axes, the last ones first drawn.

Made of numbers alone, with `currentColor` lines, so that it is safe and shows in dark and light notebooks. It looks at
a few dozen cuts per axis at most, however many chunks there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

LONGEST, SHORTEST = 150.0, 22.0
"""Pixels that the longest axis takes, and that the shortest does whatever its length."""
FINEST = 4.0
"""Pixels between cuts; where chunks are finer a part of the cuts is drawn."""
SLANT = (0.5, 0.42)
"""Where one pixel of depth goes, right and up."""
MARGIN = 6.0
LINE = 15.0
"""Height of a line of text."""
_FILL = "#4c8eda"

Point = tuple[float, float]


class Cuts(Protocol):
    """What is drawn of one axis: `gpuarray.graph.grid.Lengths`."""

    total: int

    def __len__(self) -> int: ...
    def edge(self, k: int) -> int: ...


def picture(chunks: Sequence[Cuts]) -> str:
    """Drawings of all axes side by side.

    >>> from gpuarray.graph.grid import Lengths
    >>> picture([Lengths.regular(6, 2)]).count("<svg")
    1
    """
    groups = [chunks[max(0, end - 3) : end] for end in range(len(chunks), 0, -3)][::-1]
    return "".join(drawing(g) for g in groups) or drawing(())


def drawing(axes: Sequence[Cuts]) -> str:
    """Up to three axes: depth, height, width."""
    missing: list[Cuts | None] = [None] * (3 - len(axes))
    padded = [*missing, *axes]
    depth, height, width = padded[0], padded[1], padded[2]
    lengths = pixels([1 if a is None else a.total for a in (depth, height, width)])
    if width is None:
        lengths = [0.0, SHORTEST, SHORTEST]
    elif height is None:
        lengths[1] = SHORTEST * 1.5
    d, h, w = lengths if depth is not None else (0.0, lengths[1], lengths[2])
    up = d * SLANT[1]
    canvas = Canvas()
    empty = any(a is not None and a.total == 0 for a in axes)

    def at(x: float, y: float, z: float) -> Point:
        """x to the right and y down on the front face, z away from it."""
        return MARGIN + x + z * SLANT[0], MARGIN + up + y - z * SLANT[1]

    canvas.polygon([at(0, 0, 0), at(w, 0, 0), at(w, h, 0), at(0, h, 0)], 0.28, empty)
    if d:
        canvas.polygon([at(0, 0, 0), at(w, 0, 0), at(w, 0, d), at(0, 0, d)], 0.14, empty)
        canvas.polygon([at(w, 0, 0), at(w, 0, d), at(w, h, d), at(w, h, 0)], 0.42, empty)
    for x in cuts(width, w):
        canvas.line([at(x, h, 0), at(x, 0, 0), at(x, 0, d)])
    for y in cuts(height, h):
        canvas.line([at(0, y, 0), at(w, y, 0), at(w, y, d)])
    for z in cuts(depth, d, FINEST / SLANT[1]):
        canvas.line([at(0, 0, z), at(w, 0, z), at(w, h, z)])
    if width is not None:
        x, y = at(w / 2, h, 0)
        canvas.text(x, y + LINE, f"{width.total:,}")
    if height is not None:
        x, y = at(w, h / 2, d)
        canvas.text(x + 5, y + 4, f"{height.total:,}", "start")
    if depth is not None:
        x, y = at(0, 0, d / 2)
        canvas.text(x - 5, y - 2, f"{depth.total:,}", "end")
    return canvas.svg()


def pixels(lengths: Sequence[int]) -> list[float]:
    """Lengths on the page. Long thin arrays are drawn less long and thin, so that every axis can be seen."""
    longest = max(1, *lengths)
    return [max(SHORTEST, LONGEST * math.sqrt(n / longest)) if n < longest else LONGEST for n in lengths]


def cuts(axis: Cuts | None, length: float, finest: float = FINEST) -> list[float]:
    """Where to draw the cuts along an axis; of many, as many as can be told apart."""
    if axis is None or not axis.total:
        return []
    inner, most = len(axis) - 1, int(length / finest)
    which = range(1, inner + 1) if inner <= most else [round((k + 1) * inner / (most + 1)) for k in range(most)]
    return [axis.edge(k) / axis.total * length for k in which]


class Canvas:
    """Shapes, and the corners that hold them all."""

    def __init__(self) -> None:
        self.shapes: list[str] = []
        self.low, self.high = [0.0, 0.0], [0.0, 0.0]

    def reach(self, x: float, y: float) -> None:
        self.low = [min(self.low[0], x), min(self.low[1], y)]
        self.high = [max(self.high[0], x), max(self.high[1], y)]

    def polygon(self, points: Sequence[Point], opacity: float, dashed: bool) -> None:
        for point in points:
            self.reach(*point)
        fill = "none" if dashed else _FILL
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self.shapes.append(
            f'<polygon points="{joined(points)}" fill="{fill}" fill-opacity="{opacity}" stroke-width="1.4"{dash}/>'
        )

    def line(self, points: Sequence[Point]) -> None:
        self.shapes.append(f'<polyline points="{joined(points)}" fill="none" stroke-width="0.6"/>')

    def text(self, x: float, y: float, text: str, anchor: str = "middle") -> None:
        width = 7.0 * len(text)
        left = {"start": x, "middle": x - width / 2, "end": x - width - MARGIN}[anchor]
        self.reach(left, y - 11)
        self.reach(left + width, y + 4)
        self.shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor" stroke="none">{text}</text>'
        )

    def svg(self) -> str:
        (x, y), (right, bottom) = self.low, (self.high[0] + MARGIN, self.high[1] + MARGIN)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{right - x:.0f}" height="{bottom - y:.0f}" '
            f'viewBox="{x:.1f} {y:.1f} {right - x:.1f} {bottom - y:.1f}" stroke="currentColor" '
            f'stroke-linejoin="round" font-family="sans-serif" font-size="12">{"".join(self.shapes)}</svg>'
        )


def joined(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
