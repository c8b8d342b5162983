"""Functions of the elements around every point: a user's chunk by chunk, our own region by region; and windows.

All three read *padded* inputs: what stands past the ends of an array has been put there by `gpuarray.padding`, so that
position p of the result reads from position p of the input on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from gpuarray.graph.blocks import MapBlocks
from gpuarray.graph.grid import Chunks, Lengths, Region, Shape, covering, nbytes, shape_of
from gpuarray.graph.node import Node
from gpuarray.graph.stencil import picked

Depths = tuple[tuple[int, int], ...]
"""How many elements before and after, by axis."""


class Overlap(MapBlocks):
    """``function(*blocks, block_index=...)`` on chunks with their margins; it returns the chunk without them.

    A margin is cut off where the input ends.
    """

    __slots__ = ("depths", "padded")

    rereads = True

    def __init__(
        self,
        function: Callable[..., Any],
        dtype: np.dtype[Any],
        chunks: Chunks,
        cut_as: tuple[Chunks, ...],
        depths: tuple[Depths, ...],
        padded: tuple[tuple[int, ...], ...],
        *inputs: Node,
    ) -> None:
        """`cut_as`: how the arrays are cut without what was put around them; `depths`: the margins; `padded`: how many
        elements were put before each axis. Each by input."""
        super().__init__(function, (), True, dtype, chunks, cut_as, *inputs)
        self.depths, self.padded = depths, padded

    @property
    def label(self) -> str:
        return f"map_overlap({getattr(self.function, '__name__', repr(self.function))})"

    def regions(self, out: Region) -> tuple[Region, ...]:
        wanted = []
        for core, input, depth, padded in zip(super().regions(out), self.inputs, self.depths, self.padded, strict=True):
            along = zip(core, input.shape, depth, padded, strict=True)
            wanted.append(
                tuple(
                    range(max(0, r.start + before - lo), min(n, r.stop + before + hi)) if r else r
                    for r, n, (lo, hi), before in along
                )
            )
        return tuple(wanted)


class Local(Protocol):
    """What a `Neighbourhood` computes: plain data that hashes, pickles, and can be called."""

    @property
    def depths(self) -> Depths:
        """How many elements around a point it reads."""

    @property
    def label(self) -> str: ...

    def cost(self) -> float:
        """Scalar operations for one point."""

    def workspace(self, shape: Shape) -> int:
        """Bytes that it allocates for a while, for a result of that shape."""

    def __call__(self, backend: Any, padded: Any, out: Any) -> None:
        """Fill `out`, which is smaller than `padded` by the depths."""


class Neighbourhood(Node):
    """A function of the elements around every point, for any region of points."""

    __slots__ = ("function",)

    rereads = True

    def __init__(self, function: Local, dtype: np.dtype[Any], chunks: Chunks, input: Node) -> None:
        """`chunks`: of the result, which is smaller than the input by the function's depths."""
        self.function, self.dtype, self.chunks, self.inputs = function, dtype, chunks, (input,)
        self.shape = tuple(c.total for c in chunks)

    @property
    def label(self) -> str:
        return self.function.label

    def cost(self) -> float:
        return self.function.cost()

    def regions(self, out: Region) -> tuple[Region, ...]:
        if not all(out):
            return (tuple(range(0) for _ in out),)
        return (tuple(range(r[0], r[-1] + 1 + lo + hi) for r, (lo, hi) in zip(out, self.function.depths, strict=True)),)

    def workspace(self, out: Region) -> int:
        dense = tuple(map(covering, out))
        copied = nbytes(dense, self.dtype) if dense != out else 0
        return copied + self.function.workspace(shape_of(dense))

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        dense = tuple(map(covering, out))
        result = backend.empty(shape_of(dense), self.dtype)
        if all(out):
            self.function(backend, inputs[0], result)
        return result if dense == out else picked(backend, result, out)


class Windows(Node):
    """A view of every window of an array: axis ``axes[k]`` of it is seen again as axis ``input.ndim + k``."""

    __slots__ = ("axes", "lengths")

    def __init__(self, axes: tuple[int, ...], lengths: tuple[int, ...], input: Node) -> None:
        """An axis may be named several times: there are windows of its windows then."""
        self.axes, self.lengths, self.inputs, self.dtype = axes, lengths, (input,), input.dtype
        shorter = list(input.shape)
        for axis, n in zip(axes, lengths, strict=True):
            shorter[axis] -= n - 1
        self.shape = (*shorter, *lengths)
        cut = [_shortened(c, n) for c, n in zip(input.chunks, shorter, strict=True)]
        self.chunks = (*cut, *(Lengths.regular(n, n) for n in lengths))

    @property
    def label(self) -> str:
        return "windows"

    def cost(self) -> float:
        return 0

    def _along(self, axis: int, out: Region) -> list[range]:
        """The ranges of the result whose positions add up to positions along an axis of the input."""
        ndim = self.inputs[0].ndim
        return [out[axis], *(out[ndim + k] for k, a in enumerate(self.axes) if a == axis)]

    def regions(self, out: Region) -> tuple[Region, ...]:
        if not all(out):
            return (tuple(range(0) for _ in self.inputs[0].shape),)
        wanted = []
        for axis in range(self.inputs[0].ndim):
            along = self._along(axis, out)
            if len(along) == 1:
                wanted.append(along[0])
            else:
                wanted.append(range(sum(r[0] for r in along), sum(r[-1] for r in along) + 1))
        return (tuple(wanted),)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        if not all(out):
            return backend.empty(shape_of(out), self.dtype)
        (array,) = inputs
        ndim = array.ndim
        steps = [r.step if len(self._along(a, out)) > 1 else 1 for a, r in enumerate(out[:ndim])]
        strides = [s * step for s, step in zip(array.strides, steps, strict=True)]
        strides += [array.strides[a] * r.step for a, r in zip(self.axes, out[ndim:], strict=True)]
        return backend.xp.lib.stride_tricks.as_strided(array, shape_of(out), strides)


def _shortened(lengths: Lengths, n: int) -> Lengths:
    """The first `n` elements as the chunks cut them; windows of length zero make an axis one longer."""
    if lengths.total == n:
        return lengths
    if lengths.step:
        return Lengths.regular(n, lengths.step)
    return Lengths.between(sorted({min(e, n) for e in (*lengths.edges(), n)}) if n else (0, 0))
