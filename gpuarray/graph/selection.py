"""Quantiles of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.graph.grid import Lengths, Region, size_of
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.kernels import quantiles

_ROW, _QUANTILE = 96, 192
"""Bytes that a row, and a quantile of it, take for a while beside its elements."""


class Quantile(Routine):
    """Quantiles over the last axes, by sorting rows; the planner selects where rows are too long for a task."""

    __slots__ = ()

    def workspace(self, out: Region) -> int:
        """Rows put together, sorted, and looked at for NaN; and the numbers of each row and quantile."""
        rows, (given,) = size_of(out[:-1]), self.regions(out)
        each = _ROW + _QUANTILE * self.shape[-1]
        return size_of(given) * (2 * self.inputs[0].dtype.itemsize + 1) + rows * each


def quantile(axes: int, q: tuple[float, ...], method: str, skip: bool, dtype: np.dtype[Any], input: Node) -> Node:
    """Quantiles over the last `axes` axes of a node; they are the last axis of the result."""
    kept = input.ndim - axes
    chunks = (*input.chunks[:kept], Lengths.regular(len(q), len(q)))
    along = (tuple(a if a < kept else None for a in range(input.ndim)),)
    keywords = (("axes", axes), ("q", q), ("method", method), ("skip", skip), ("dtype", dtype))
    traits = Traits("median" if method == "median" else "quantile", whole=(kept,), cost=64)
    made: Node = Quantile(quantiles.of_rows, keywords, dtype, chunks, along, traits, input)
    return made
