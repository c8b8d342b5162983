"""Matrix products, by the library's BLAS, in pieces along the contracted axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gpuarray.graph.grid import Chunks, Lengths, Region, Shape, nbytes, shape_of
from gpuarray.graph.node import Node
from gpuarray.kernels.stopping import go_on

WORK = 2**34
"""Operations that BLAS is given at once: half a second of one thread, for which Ctrl-C waits."""
LEAST = 288
"""Rows of a product that it is given at least, so that it works at full speed."""
TOGETHER = 48
"""Rows in multiples of which a product is cut: the blocks of BLAS's inner loops, whose ends have other rounding."""


def batch_chunks(batch: Shape, inputs: Sequence[tuple[Node, int]]) -> Chunks:
    """How a stack of results is cut: as the first input that has the axis. `inputs`: with how many axes are not the
    stack's."""
    cut = []
    for back in range(len(batch), 0, -1):
        n = batch[-back]
        found = (i.chunks[-back - k] for i, k in inputs if i.ndim >= back + k and i.shape[-back - k] == n)
        cut.append(next(found, Lengths.regular(n, n)))
    return tuple(cut)


class MatMul(Node):
    """``left @ right`` for stacks of matrices of one dtype: (..., m, k) @ (..., k, n), batch axes broadcast.

    The contracted axis is gone through in fixed pieces, so a task holds a few blocks of its inputs and not whole
    rows and columns, and the order of additions does not depend on the memory limit.
    """

    __slots__ = ("cuts",)

    rereads = True
    costly = True

    def __init__(self, cuts: Lengths, left: Node, right: Node) -> None:
        self.cuts, self.inputs, self.dtype = cuts, (left, right), left.dtype
        batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        self.shape = (*batch, left.shape[-2], right.shape[-1])
        stack = batch_chunks(batch, ((left, 2), (right, 2)))
        self.chunks = (*stack, left.chunks[-2], right.chunks[-1])

    def cost(self) -> float:
        return 2 * self.cuts.total

    def _regions(self, out: Region, k: range) -> tuple[Region, ...]:
        def batch(node: Node) -> Region:
            back = out[:-2][len(out) - node.ndim :]
            return tuple(range(1) if n == 1 else r for n, r in zip(node.shape[:-2], back, strict=True))

        left, right = self.inputs
        if any(not r for r in out):
            k = range(0)
        return (*batch(left), out[-2], k), (*batch(right), k, out[-1])

    def regions(self, out: Region) -> tuple[Region, ...]:
        return self._regions(out, range(self.cuts.total))

    def pieces(self, out: Region) -> Iterator[tuple[Region, ...]] | None:
        if len(self.cuts) == 1:
            return None
        return (self._regions(out, self.cuts.span(k)) for k in range(len(self.cuts)))

    def workspace(self, out: Region) -> int:
        # A product of integers or halves is accumulated by NumPy in the result; BLAS may copy a strided operand.
        return nbytes(out, self.dtype) * (2 if len(self.cuts) > 1 else 1)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        return self.accumulate(backend, out, None, *inputs)

    def accumulate(self, backend: Any, out: Region, so_far: Any, *inputs: Any) -> Any:
        return multiplied(backend, shape_of(out), self.dtype, so_far, *inputs)


def multiplied(backend: Any, shape: Shape, dtype: np.dtype[Any], so_far: Any, left: Any, right: Any) -> Any:
    """A product added to what there is, in parts between which the task may be told to stop."""
    result = backend.empty(shape, dtype) if so_far is None else so_far
    rows = max(LEAST, WORK // max(1, 2 * math.prod(right.shape)) // TOGETHER * TOGETHER)
    if max(left.ndim, right.ndim) > 2 or backend.xp is not np or left.ctypes.data == right.ctypes.data:
        rows = max(1, left.shape[-2])  # a @ a.T has a routine of its own
    into = result.reshape(left.shape[-2], right.shape[-1]) if left.ndim == right.ndim == 2 else result
    for lo in range(0, left.shape[-2], rows):
        go_on()
        part = (..., slice(lo, lo + rows), slice(None))
        if so_far is None:
            backend.xp.matmul(left[part], right, out=into[part])
        else:
            into[part] += backend.xp.matmul(left[part], right)
    return result


class PartialProducts(Node):
    """Products of parts of two matrices along the contracted axis, one behind the other: (parts, m, n).

    What is contracted is long and what comes out is small: there is a task for each part, and none needs more of an
    earlier result than its own.
    """

    __slots__ = ("cuts", "parts_of")

    inline = False
    rereads = True
    costly = True

    def __init__(self, cuts: Lengths, parts_of: Lengths, left: Node, right: Node) -> None:
        """`cuts`: the pieces that are multiplied at once; `parts_of`: how many of them make a part."""
        self.cuts, self.parts_of, self.inputs, self.dtype = cuts, parts_of, (left, right), left.dtype
        self.shape = (len(parts_of), left.shape[0], right.shape[1])
        number, m, n = self.shape
        self.chunks = (Lengths.regular(number, 1), Lengths.regular(m, m), Lengths.regular(n, n))

    @property
    def label(self) -> str:
        return "matmul"

    def cost(self) -> float:
        return 2 * self.cuts.total / len(self.parts_of)

    def _regions(self, out: Region, k: range) -> tuple[Region, ...]:
        _, rows, columns = out
        return (rows, k), (k, columns)

    def regions(self, out: Region) -> tuple[Region, ...]:
        if any(not r for r in out):
            return self._regions(out, range(0))
        pieces = range(self.parts_of.edge(out[0][0]), self.parts_of.edge(out[0][-1] + 1))
        return self._regions(out, range(self.cuts.edge(pieces.start), self.cuts.edge(pieces.stop)))

    def pieces(self, out: Region) -> Iterator[tuple[Region, ...]] | None:
        if any(not r for r in out):
            return None
        (part,) = out[0]
        return (self._regions(out, self.cuts.span(k)) for k in self.parts_of.span(part))

    def workspace(self, out: Region) -> int:
        return nbytes(out, self.dtype)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        return backend.empty(shape_of(out), self.dtype)  # of nothing: all else goes piece by piece

    def accumulate(self, backend: Any, out: Region, so_far: Any, *inputs: Any) -> Any:
        return multiplied(backend, (1, *shape_of(out[1:])), self.dtype, so_far, *inputs)
