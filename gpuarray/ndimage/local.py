"""Filters of many elements, as functions of a region with its margins: array operations on tiles that fit the cache."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.graph.grid import Shape
from gpuarray.graph.overlap import Depths
from gpuarray.kernels.interpreter import TILE, tiles
from gpuarray.ndimage.around import Offset

LINES = 8
"""Lines along an axis that are worked on together at least: they may lie side by side in memory."""

Tile = tuple[slice, ...]


def shifted(tile: Tile, offset: Offset, depths: Depths) -> Tile:
    """Where the elements at an offset from the points of a tile are in the padded array."""
    return tuple(slice(s.start + lo + o, s.stop + lo + o) for s, o, (lo, _) in zip(tile, offset, depths, strict=True))


@dataclass(frozen=True, slots=True)
class Correlation:
    """The sum of elements times weights, in double precision."""

    offsets: tuple[Offset, ...]
    weights: tuple[complex, ...]
    wide: str
    depths: Depths

    @property
    def label(self) -> str:
        return f"correlate, {len(self.offsets)} weights"

    def cost(self) -> float:
        return 2 * len(self.offsets)

    def workspace(self, shape: Shape) -> int:
        return 3 * min(TILE, math.prod(shape)) * np.dtype(self.wide).itemsize

    def __call__(self, backend: Any, padded: Any, out: Any) -> None:
        wide = np.dtype(self.wide)
        for tile in tiles(out.shape, TILE):
            total = None
            for offset, weight in zip(self.offsets, self.weights, strict=True):
                term = padded[shifted(tile, offset, self.depths)].astype(wide) * wide.type(weight)
                if total is None:
                    total = term
                else:
                    total += term
            with np.errstate(all="ignore"):
                out[tile] = whole(backend.xp, total, out.dtype)


def whole(xp: Any, array: Any, dtype: np.dtype[Any]) -> Any:
    """An array without fractions where it becomes booleans: 0.5 is false, as in SciPy."""
    return xp.trunc(array) if dtype.kind == "b" else array


@dataclass(frozen=True, slots=True)
class Running:
    """The mean ("add") or the smallest or largest element (a function of two arrays) of `length` along an axis.

    Sums and extrema of twice as many elements are made from two of the half, so the work grows with the logarithm of
    the length.
    """

    op: str
    axis: int
    length: int
    wide: str
    depths: Depths

    @property
    def label(self) -> str:
        return f"{'mean' if self.op == 'add' else self.op} of {self.length}"

    def cost(self) -> float:
        return 2 * math.log2(self.length) + 1

    def _tiles(self, shape: Shape) -> Iterator[Tile]:
        """Long along the axis, so that little is computed twice."""
        step = min(shape[self.axis], 4 * self.length)
        others = tuple(1 if a == self.axis else n for a, n in enumerate(shape))
        for start in range(0, shape[self.axis], step):
            along = slice(start, min(start + step, shape[self.axis]))
            for tile in tiles(others, max(LINES, TILE // (step + self.length))):
                yield (*tile[: self.axis], along, *tile[self.axis + 1 :])

    def workspace(self, shape: Shape) -> int:
        step = min(shape[self.axis], 4 * self.length) + self.length
        return 4 * max(TILE, LINES * step) * np.dtype(self.wide).itemsize

    def __call__(self, backend: Any, padded: Any, out: Any) -> None:
        xp, wide = backend.xp, np.dtype(self.wide)
        for tile in self._tiles(out.shape):
            at = list(tile)
            at[self.axis] = slice(tile[self.axis].start, tile[self.axis].stop + self.length - 1)
            block = padded[tuple(at)].astype(wide, copy=False)
            with np.errstate(all="ignore"):
                made = self._folded(xp, block, tile[self.axis].stop - tile[self.axis].start)
                out[tile] = whole(xp, made / self.length, out.dtype) if self.op == "add" else made

    def _part(self, array: Any, start: int, stop: int) -> Any:
        return array[(*(slice(None),) * self.axis, slice(start, stop))]

    def _folded(self, xp: Any, power: Any, n: int) -> Any:
        """`power` holds the results of 1, 2, 4 ... elements; those of the length's binary digits make the whole."""
        fold, total, offset, width, left = getattr(xp, self.op), None, 0, 1, self.length
        while True:
            if left & 1:
                part = self._part(power, offset, offset + n)
                total = part if total is None else fold(total, part)
                offset += width
            left >>= 1
            if not left:
                return total
            m = power.shape[self.axis]
            power = fold(self._part(power, 0, m - width), self._part(power, width, m))
            width *= 2


@dataclass(frozen=True, slots=True)
class Fold:
    """The smallest or largest of the elements at many offsets."""

    op: str
    offsets: tuple[Offset, ...]
    depths: Depths

    @property
    def label(self) -> str:
        return f"{self.op} of {len(self.offsets)}"

    def cost(self) -> float:
        return len(self.offsets)

    def workspace(self, shape: Shape) -> int:
        return 3 * min(TILE, math.prod(shape)) * 8

    def __call__(self, backend: Any, padded: Any, out: Any) -> None:
        fold = getattr(backend.xp, self.op)
        for tile in tiles(out.shape, TILE):
            first, *others = (padded[shifted(tile, o, self.depths)] for o in self.offsets)
            total = first.copy()
            for other in others:
                total = fold(total, other)
            with np.errstate(all="ignore"):
                out[tile] = total


@dataclass(frozen=True, slots=True)
class Rank:
    """The element that would stand at a rank if those at the offsets were sorted; NaN comes last."""

    rank: int
    offsets: tuple[Offset, ...]
    depths: Depths

    @property
    def label(self) -> str:
        return f"rank {self.rank} of {len(self.offsets)}"

    def cost(self) -> float:
        return 4 * len(self.offsets)

    @property
    def _points(self) -> int:
        """Points that are worked out at once."""
        return max(1, 2 * TILE // len(self.offsets))

    def workspace(self, shape: Shape) -> int:
        return 2 * min(self._points, math.prod(shape)) * (len(self.offsets) + 1) * 8

    def __call__(self, backend: Any, padded: Any, out: Any) -> None:
        for tile in tiles(out.shape, self._points):
            shape = tuple(s.stop - s.start for s in tile)
            found = backend.empty((*shape, len(self.offsets)), padded.dtype)
            for k, offset in enumerate(self.offsets):
                found[..., k] = padded[shifted(tile, offset, self.depths)]
            with np.errstate(all="ignore"):
                out[tile] = backend.xp.partition(found, self.rank, axis=-1)[..., self.rank]
