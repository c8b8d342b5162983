"""Cumulative sums and products: each chunk is scanned on its own, started from the total of the chunks before it."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.graph.grid import Lengths, Region, nbytes, shape_of
from gpuarray.graph.node import Node
from gpuarray.kernels.reductions import REDUCTIONS


class Scan(Node):
    """An inclusive scan. `cuts` are the places along `axis` where it starts anew from `carry`.

    Inputs: the values, and `carry`: for every piece between cuts, the scan of all before it (length ``len(cuts)``
    along `axis`), or no second input where there is one piece.
    """

    __slots__ = ("axis", "cuts", "op")

    def __init__(self, op: str, axis: int, cuts: Lengths, dtype: np.dtype[Any], *inputs: Node) -> None:
        self.op, self.axis, self.cuts, self.dtype, self.inputs = op, axis, cuts, dtype, inputs
        self.shape, self.chunks = inputs[0].shape, inputs[0].chunks

    rereads = True

    @property
    def label(self) -> str:
        return f"cumulative_{self.op}"

    def _pieces(self, r: range) -> range:
        return self.cuts.touched(r)

    def regions(self, out: Region) -> tuple[Region, ...]:
        r = out[self.axis]
        pieces = self._pieces(r)
        span = range(self.cuts.edge(pieces.start), r[-1] + 1) if r else range(0)
        before, after = out[: self.axis], out[self.axis + 1 :]
        return ((*before, span, *after), (*before, pieces, *after))[: len(self.inputs)]

    def workspace(self, out: Region) -> int:
        return nbytes(self.regions(out)[0], self.dtype)

    def evaluate(self, backend: Any, out: Region, *inputs: Any, into: Any = None) -> Any:
        r = out[self.axis]
        if any(not x for x in out):
            return backend.empty(shape_of(out), self.dtype)
        array, carry = inputs[0], inputs[1] if len(inputs) > 1 else None
        pieces = self._pieces(r)
        start = self.cuts.edge(pieces.start)
        direct = into is not None and r == range(start, r[-1] + 1)
        whole = into if direct else backend.empty(array.shape, self.dtype)
        at: list[Any] = [slice(None)] * array.ndim
        for k, piece in enumerate(pieces):
            at[self.axis] = slice(k, k + 1)
            before = None if carry is None else carry[tuple(at)]
            at[self.axis] = slice(self.cuts.edge(piece) - start, self.cuts.edge(piece + 1) - start)
            backend.scan(self.op, array[tuple(at)], self.axis, before, self.dtype, out=whole[tuple(at)])
        at[self.axis] = slice(r.start - start, r.stop - start, r.step)
        if direct or array.shape == shape_of(out):
            return whole
        # a view would keep alive what was scanned on the way
        result = backend.empty(shape_of(out), self.dtype) if into is None else into
        result[...] = whole[tuple(at)]
        return result


class ExclusiveScan(Node):
    """The scan of everything before each position; used on the totals of pieces, which are few."""

    __slots__ = ("axis", "op")

    def __init__(self, op: str, axis: int, dtype: np.dtype[Any], input: Node) -> None:
        self.op, self.axis, self.dtype, self.inputs = op, axis, dtype, (input,)
        self.shape = input.shape
        n = input.shape[axis]
        self.chunks = (*input.chunks[:axis], Lengths.regular(n, n), *input.chunks[axis + 1 :])

    inline = False

    def regions(self, out: Region) -> tuple[Region, ...]:
        n = self.shape[self.axis]
        return ((*out[: self.axis], range(n if out[self.axis] else 0), *out[self.axis + 1 :]),)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        array = inputs[0][0] if self.inputs[0].parts else inputs[0]  # a sum's state is its first array
        result = backend.empty(array.shape, self.dtype)
        at: list[Any] = [slice(None)] * array.ndim
        at[self.axis] = slice(0, 1)
        result[tuple(at)] = REDUCTIONS[self.op].start(self.dtype)[0]
        if array.shape[self.axis] > 1:
            at[self.axis] = slice(0, -1)
            scanned = backend.scan(self.op, array[tuple(at)], self.axis, None, self.dtype)
            at[self.axis] = slice(1, None)
            result[tuple(at)] = scanned
        r = out[self.axis]
        at[self.axis] = slice(r.start, r.stop, r.step)
        return result[tuple(at)]
