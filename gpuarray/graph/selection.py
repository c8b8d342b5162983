"""Quantiles of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.graph.grid import Lengths
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.kernels import quantiles


class Quantile(Routine):
    """Quantiles over the last axes, by sorting rows; the planner selects where rows are too long for a task."""

    __slots__ = ()

    def with_inputs(self, *inputs: Node) -> Node:
        made: Node = Quantile(self.function, self.keywords, self.dtype, self.chunks, self.along, self.traits, *inputs)
        return made


def quantile(axes: int, q: tuple[float, ...], method: str, skip: bool, dtype: np.dtype[Any], input: Node) -> Node:
    """Quantiles over the last `axes` axes of a node; they are the last axis of the result."""
    kept = input.ndim - axes
    chunks = (*input.chunks[:kept], Lengths.regular(len(q), len(q)))
    along = (tuple(a if a < kept else None for a in range(input.ndim)),)
    keywords = (("axes", axes), ("q", q), ("method", method), ("skip", skip), ("dtype", dtype))
    traits = Traits("median" if method == "median" else "quantile", whole=(kept,), scratch=2.5, cost=64)
    made: Node = Quantile(quantiles.of_rows, keywords, dtype, chunks, along, traits, input)
    return made
