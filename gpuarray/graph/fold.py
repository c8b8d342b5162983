"""Counting: a function of every piece of the data, whose results are added up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpuarray.graph.grid import Chunks, Lengths, Region, Shape, nbytes, region_at, shape_of
from gpuarray.graph.node import Node


class Fold(Node):
    """Sums of ``function(xp, *pieces, *others, **keywords)`` over the pieces that some axes are cut in.

    The result has an axis of groups of pieces, each of which is a task's, then the axes that are not folded, then those
    of `tail`. The first inputs, `pieced` of them, have the same shape and come as rows: folded axes are one, the last.
    The others have the axes that are not folded and further ones, which are whole.
    """

    __slots__ = ("axes", "cut", "function", "groups", "keywords", "pieced", "scratch", "tail")

    inline = False

    def __init__(
        self,
        function: Callable[..., Any],
        keywords: tuple[tuple[str, Any], ...],
        axes: tuple[int, ...],
        cut: Chunks,
        groups: int,
        tail: Shape,
        dtype: np.dtype[Any],
        scratch: int,
        pieced: int,
        *inputs: Node,
    ) -> None:
        """`cut`: the pieces along folded axes, the tasks along others. `scratch`: bytes that the function allocates for
        each element of a piece."""
        self.function, self.keywords, self.axes, self.cut = function, keywords, axes, cut
        self.tail, self.scratch, self.pieced, self.inputs, self.dtype = tail, scratch, pieced, inputs, dtype
        pieces = math.prod(len(cut[a]) for a in axes)
        self.groups = Lengths.regular(pieces, -(-pieces // max(1, groups)))
        kept = tuple(c for a, c in enumerate(cut) if a not in axes)
        number = len(self.groups)
        self.chunks = (Lengths.regular(number, 1), *kept, *(Lengths.regular(n, n) for n in tail))
        self.shape = tuple(c.total for c in self.chunks)

    @property
    def label(self) -> str:
        return getattr(self.function, "__name__", "fold").strip("_")

    def cost(self) -> float:
        return 8 * math.prod(self.inputs[0].shape) / max(1, math.prod(self.shape))

    def _kept(self, out: Region) -> Region:
        return out[1 : self.ndim - len(self.tail)]

    def _regions(self, out: Region, folded: Region) -> tuple[Region, ...]:
        kept = iter(self._kept(out))
        at = dict(zip(self.axes, folded, strict=True))
        rows = tuple(at[a] if a in at else next(kept) for a in range(len(self.cut)))
        loops = self._kept(out)
        others = [(*loops, *(range(n) for n in i.shape[len(loops) :])) for i in self.inputs[self.pieced :]]
        return (*(rows for _ in range(self.pieced)), *others)

    def regions(self, out: Region) -> tuple[Region, ...]:
        return self._regions(out, tuple(range(self.cut[a].total) for a in self.axes))

    def pieces(self, out: Region) -> Iterator[tuple[Region, ...]] | None:
        if any(not r for r in out):
            return None
        folded = tuple(self.cut[a] for a in self.axes)
        numbers = [k for g in out[0] for k in self.groups.span(g)]
        return (self._regions(out, region_at(folded, k)) for k in numbers)

    def workspace(self, out: Region) -> int:
        piece = math.prod(self.cut[a].largest for a in self.axes) * math.prod(len(r) for r in self._kept(out))
        rows = sum(i.dtype.itemsize for i in self.inputs[: self.pieced])
        return (self.scratch + rows) * piece + nbytes(out, self.dtype)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        return backend.empty(shape_of(out), self.dtype)  # of nothing: all else goes piece by piece

    def accumulate(self, backend: Any, out: Region, so_far: Any, *inputs: Any) -> Any:
        xp = backend.xp
        rows = []
        for array in inputs[: self.pieced]:
            last = tuple(range(-len(self.axes), 0))
            moved = xp.moveaxis(array, self.axes, last)
            kept = moved.shape[: moved.ndim - len(self.axes)]
            rows.append(moved.reshape((*kept, math.prod(moved.shape[len(kept) :]))))
        part = self.function(xp, *rows, *inputs[self.pieced :], **dict(self.keywords))
        if so_far is None:
            so_far = backend.empty(shape_of(out), self.dtype)
            so_far[...] = part[None]
        else:
            so_far += part[None]
        return so_far
