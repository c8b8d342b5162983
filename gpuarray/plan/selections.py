"""Quantiles of rows too long for a task: an exact selection, digit by digit, one pass over the data for each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpuarray.graph.cells import cells
from gpuarray.graph.fold import Fold
from gpuarray.graph.grid import Chunks, Lengths
from gpuarray.graph.leaves import Source
from gpuarray.graph.move import Concat
from gpuarray.graph.node import Node, from_line_of, toposort
from gpuarray.graph.routine import Routine, Traits
from gpuarray.graph.selection import Quantile
from gpuarray.kernels import ordering, quantiles
from gpuarray.plan.tiling import Budget

GROUPS = 4
"""Tasks for each thread that a pass over the data is cut in."""
PIECE = 2**20
"""Elements that a task goes through at once where they need not be read from a file in larger chunks."""


def selection(node: Node, budget: Budget) -> Node:
    """The passes of a selection; a dtype without an order in integers stays as it is, and is refused if it must be."""
    assert isinstance(node, Quantile)
    given = dict(node.keywords)
    (values,) = node.inputs
    if not ordering.order_bits(values.dtype):
        return node
    q: tuple[float, ...] = given["q"]
    axes: tuple[int, ...] = tuple(range(values.ndim - given["axes"], values.ndim))
    one = 16 * quantiles.bins(values.dtype)  # bytes of the counts for one quantile: of two elements
    cut = pieces(values, axes, budget)
    groups = max(1, GROUPS * budget.threads // max(1, math.prod(values.shape[: axes[0]])))
    groups = max(1, min(groups, budget.soft // (8 * one)))
    most = max(1, budget.soft // (2 * (groups + 4) * one))
    made = [_selected(node, values, axes, q[k : k + most], cut, groups) for k in range(0, len(q), most)]
    return made[0] if len(made) == 1 else Concat(node.ndim - 1, *made)


def pieces(values: Node, axes: tuple[int, ...], budget: Budget) -> Chunks:
    """How tasks go through the folded axes: whole chunks of a file unless they are large; one row of the others."""
    files = any(isinstance(n, Source) and not n.reader.in_memory for n in toposort(values))
    in_chunk = math.prod(values.chunks[a].largest for a in axes)
    room = budget.soft // (7 * values.dtype.itemsize + 24)
    if PIECE // 4 <= in_chunk <= (room if files else min(room, PIECE)):
        along: tuple[Lengths | None, ...] = tuple(values.chunks)
    else:
        along = cells(values.chunks, axes)
    found = zip(values.shape, along, strict=True)
    return tuple(c if a in axes and c is not None else Lengths.regular(n, 1) for a, (n, c) in enumerate(found))


def _selected(
    node: Quantile, values: Node, axes: tuple[int, ...], q: tuple[float, ...], cut: Chunks, groups: int
) -> Node:
    given = dict(node.keywords)
    kept = values.ndim - len(axes)
    common: tuple[tuple[str, Any], ...] = (("q", q), ("method", given["method"]), ("skip", given["skip"]))
    loops = tuple(Lengths.regular(n, 1) for n in values.shape[:kept])
    bins, state = quantiles.bins(values.dtype), tuple[Node, ...]()
    width = 4 * len(q) + 2
    for level in range(quantiles.levels(values.dtype)):
        tail = (2 * len(q) if level else 1, bins)
        counts: Node = Fold(
            quantiles.count,
            (("level", level),),
            axes,
            cut,
            groups,
            tail,
            np.dtype(np.int64),
            5 * values.dtype.itemsize + 16,
            1,
            values,
            *state,
        )
        keywords = (*common, ("level", level), ("floating", values.dtype.kind == "f"))
        along: list[tuple[int | None, ...]] = [(None, *range(kept), None, None)]
        along += [(*range(kept), None) for _ in state]
        chunks = (*loops, Lengths.regular(width, width))
        traits = Traits("select", whole=(kept,), scratch=3.0 if level else 3 + len(q))
        counts, kind = from_line_of(node, counts), np.dtype(np.uint64)
        refined: Node = Routine(quantiles.refine, keywords, kind, chunks, tuple(along), traits, counts, *state)
        state = (from_line_of(node, refined),)
    keywords = (*common, ("of", values.dtype), ("dtype", node.dtype))
    chunks = (*loops, Lengths.regular(len(q), len(q)))
    traits = Traits("select", whole=(kept,), scratch=12)
    made: Node = Routine(quantiles.finish, keywords, node.dtype, chunks, ((*range(kept), None),), traits, *state)
    return from_line_of(node, made)
