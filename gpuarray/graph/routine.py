"""Routines that need some axes whole, as factorisations and Fourier transforms do, and strips between two of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.graph.grid import Chunks, Lengths, Region, nbytes, shape_of, within
from gpuarray.graph.node import Node

Along = tuple[int | None, ...]
"""For each axis of an input, the axis of the result along which it is read piece by piece; None: it is read whole."""


@dataclass(frozen=True)
class Traits:
    """What the planner knows of a routine."""

    label: str
    whole: tuple[int, ...] = ()
    """Axes of the result that are computed at once."""
    alone: bool = False
    """It uses all processors by itself, so its tasks are cut for memory only."""
    scratch: float = 1.0
    """What it allocates for a while, as a multiple of the bytes of its inputs and its result."""
    cost: float = 1.0
    """Operations per element of the result."""
    within: bool = False
    """It is computed in the tasks of its readers (see `Strip`) instead of being kept."""
    fixed: bool = False
    """Its tasks are the chunks that it was given: each is computed as a whole."""
    remedy: str = ""
    """What to do where the smallest task does not fit."""


class Routine(Node):
    """``function(xp, *inputs, **keywords)`` of arrays that are whole along some axes.

    The function is one of a module, so that it pickles; it gets the array namespace of the backend first, and must
    not write to its inputs.
    """

    __slots__ = ("along", "function", "keywords", "traits")

    costly = True

    def __init__(
        self,
        function: Callable[..., Any],
        keywords: tuple[tuple[str, Any], ...],
        dtype: np.dtype[Any],
        chunks: Chunks,
        along: tuple[Along, ...],
        traits: Traits,
        *inputs: Node,
    ) -> None:
        self.function, self.keywords, self.along, self.traits = function, keywords, along, traits
        self.dtype, self.inputs = dtype, inputs
        self.shape = tuple(c.total for c in chunks)
        self.chunks = tuple(Lengths.regular(c.total, c.total) if a in traits.whole else c for a, c in enumerate(chunks))

    @property
    def fixed(self) -> bool:
        return self.traits.fixed

    @property
    def inline(self) -> bool:  # type: ignore[override]
        """Its readers may cut it along the axes that it computes at once, so as a rule it is kept."""
        return self.traits.within

    @property
    def whole(self) -> tuple[int, ...]:
        return self.traits.whole

    @property
    def alone(self) -> bool:
        return self.traits.alone

    @property
    def remedy(self) -> str:
        return self.traits.remedy

    @property
    def label(self) -> str:
        return self.traits.label

    def cost(self) -> float:
        return self.traits.cost

    def _computed(self, out: Region) -> Region:
        """The region that is computed for `out`."""
        return tuple(range(n) if a in self.whole else r for a, (r, n) in enumerate(zip(out, self.shape, strict=True)))

    def regions(self, out: Region) -> tuple[Region, ...]:
        if any(not r for r in out):
            return tuple(tuple(range(0) for _ in i.shape) for i in self.inputs)
        wanted = []
        for node, along in zip(self.inputs, self.along, strict=True):
            wanted.append(
                tuple(
                    range(n) if a is None or (n == 1 and self.shape[a] != 1) else out[a]
                    for n, a in zip(node.shape, along, strict=True)
                )
            )
        return tuple(wanted)

    def workspace(self, out: Region) -> int:
        if any(not r for r in out):
            return 0
        whole = self._computed(out)
        computed = nbytes(whole, self.dtype)
        read = sum(i.nbytes(r) for i, r in zip(self.inputs, self.regions(out), strict=True))
        return int(self.traits.scratch * (computed + read)) + (0 if whole == out else computed)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        if any(not r for r in out):
            return backend.empty(shape_of(out), self.dtype)
        with np.errstate(all="ignore"):
            result = self.function(backend.xp, *inputs, **dict(self.keywords))
        if result.dtype != self.dtype:
            result = result.astype(self.dtype)
        computed = self._computed(out)
        if computed == out:
            return result
        return result[tuple(within(r, whole) for r, whole in zip(out, computed, strict=True))]


class Strip(Node):
    """A run of positions along one axis of a result, kept as chunks of its own.

    All strips of a result are kept by the same tasks. A later stage that goes through that axis strip by strip then
    holds one strip at a time, where chunks that are whole along the axis would have to be there all at once.
    """

    __slots__ = ("axis", "domain", "span")

    inline = False

    def __init__(self, axis: int, span: range, input: Node) -> None:
        self.axis, self.span, self.inputs, self.dtype = axis, span, (input,), input.dtype
        n = input.shape[axis]
        self.domain = (*input.chunks[:axis], Lengths.regular(n, n), *input.chunks[axis + 1 :])
        """The space that tasks divide: the whole result, of which each makes all strips."""
        self.shape = (*input.shape[:axis], len(span), *input.shape[axis + 1 :])
        self.chunks = (*input.chunks[:axis], Lengths.regular(len(span), len(span)), *input.chunks[axis + 1 :])

    @property
    def whole(self) -> tuple[int, ...]:
        return (*self.inputs[0].whole, self.axis)

    @property
    def label(self) -> str:
        return self.inputs[0].label

    def cost(self) -> float:
        return 0

    def result_region(self, region: Region) -> Region:
        """What a task for a region of the space makes of this strip."""
        return (*region[: self.axis], range(len(self.span)), *region[self.axis + 1 :])

    def result_chunks(self, grid: Chunks) -> Chunks:
        n = len(self.span)
        return (*grid[: self.axis], Lengths.regular(n, n), *grid[self.axis + 1 :])

    def _picked(self, r: range) -> range:
        return range(r.start + self.span.start, r.stop + self.span.start, r.step) if r else range(0)

    def regions(self, out: Region) -> tuple[Region, ...]:
        n = self.inputs[0].shape[self.axis]
        return ((*out[: self.axis], range(n if out[self.axis] else 0), *out[self.axis + 1 :]),)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        r = self._picked(out[self.axis])
        return inputs[0][(slice(None),) * self.axis + (slice(r.start, r.stop, r.step),)]


def strips(axis: int, lengths: Lengths, node: Node) -> list[Node]:
    """A result as strips along an axis, to be put together again with `Concat`."""
    return [Strip(axis, lengths.span(k), node) for k in range(len(lengths))]
