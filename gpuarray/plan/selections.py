"""Quantiles of rows too long for a task: an exact selection, digit by digit, one pass over the data for each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpuarray.graph.cells import cells
from gpuarray.graph.fold import Fold
from gpuarray.graph.grid import Chunks, Lengths, size_of
from gpuarray.graph.leaves import Source
from gpuarray.graph.move import Concat
from gpuarray.graph.node import Node, from_line_of, toposort
from gpuarray.graph.routine import Routine, Traits
from gpuarray.graph.selection import Quantile
from gpuarray.kernels import counting, ordering, quantiles
from gpuarray.plan.block import expand
from gpuarray.plan.tiling import Budget

GROUPS = 4
"""Tasks for each thread that a pass over the data is cut in."""
SMALL_DIGIT = 8
"""Bits of a digit where the rows of many are counted together: 256 counts instead of 65,536."""
ROW = 2**14
"""Bytes of a row's piece that is worth a call."""
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
    digit, per, _ = digit_of(values, axes, len(q), budget)
    one = 16 * quantiles.bins(values.dtype, digit) * per  # bytes of the counts for one quantile: of two elements
    rows = rows_of(values.shape[: axes[0]], per)
    cut = pieces(values, axes, budget, rows)
    groups = max(1, GROUPS * budget.threads // max(1, math.prod(map(len, rows))))
    groups = max(1, min(groups, budget.soft // (8 * one)))
    most = max(1, budget.soft // (2 * (groups + 4) * one))
    made = [_selected(node, values, axes, q[k : k + most], cut, groups, digit) for k in range(0, len(q), most)]
    return made[0] if len(made) == 1 else Concat(node.ndim - 1, *made)


def digit_of(values: Node, axes: tuple[int, ...], wanted: int, budget: Budget) -> tuple[int, int, float]:
    """The bits of a digit, how many rows a task counts together, and how often files are read in all.

    One row, by large digits and so in few passes, unless rows lie side by side in a file and reading one reads others:
    then as many as there is memory for, by smaller digits if more passes read less.
    """
    loops = math.prod(values.shape[: axes[0]])
    if loops < 2 or len(axes) > 1 or 0 in values.shape:
        return counting.DIGIT, 1, quantiles.levels(values.dtype)
    wasted = reading(values, axes)
    choices = []
    for digit in (counting.DIGIT, SMALL_DIGIT):
        counts = 16 * wanted * quantiles.bins(values.dtype, digit)
        per = min(loops, max(1, budget.soft // (16 * counts)), max(1, budget.soft // (2 * ROW)))
        passes = quantiles.levels(values.dtype, digit) * (max(1.0, wasted / per))
        choices.append((passes, -digit, per if wasted > 2 else 1))
    passes, digit, per = min(choices)
    return -digit, per, passes


def reads_less(node: Node, held: int, budget: Budget) -> bool:
    """Whether a selection reads files less often than tasks that sort whole rows, of which one takes `held` bytes."""
    given, (values,) = dict(node.keywords), node.inputs  # type: ignore[attr-defined]
    axes = tuple(range(values.ndim - given["axes"], values.ndim))
    if not ordering.order_bits(values.dtype) or math.prod(values.shape[: axes[0]]) < 2:
        return False
    wasted = reading(values, axes)
    direct = wasted / max(1, budget.soft // max(1, held))
    return wasted > 2 and direct > digit_of(values, axes, len(given["q"]), budget)[2]


def reading(values: Node, axes: tuple[int, ...]) -> float:
    """Bytes that are read from files for one row, over those that are needed."""
    region = tuple(range(n) if a in axes else range(1) for a, n in enumerate(values.shape))
    read = used = 0
    for source, part in expand([(values, region)]).sources():
        assert isinstance(source, Source)
        if not source.reader.in_memory:
            read += source.reader.disk_nbytes(part)
            used += size_of(part) * source.dtype.itemsize
    return read / used if used else 1.0


def rows_of(shape: tuple[int, ...], per: int) -> Chunks:
    """The rows of an array cut so that at most `per` are together, which are neighbours."""
    cut = []
    for n in reversed(shape):
        step = max(1, min(n, per))
        cut.append(Lengths.regular(n, step))
        per = per // step if step == n else 1
    return tuple(reversed(cut))


def pieces(values: Node, axes: tuple[int, ...], budget: Budget, rows: Chunks) -> Chunks:
    """How tasks go through the folded axes: whole chunks of a file unless they are large."""
    files = any(isinstance(n, Source) and not n.reader.in_memory for n in toposort(values))
    in_chunk = math.prod(values.chunks[a].largest for a in axes)
    together = math.prod(c.largest for c in rows)
    room = budget.soft // (7 * values.dtype.itemsize + 24) // max(1, together)
    if together > 1:
        (axis,) = axes
        return *rows, Lengths.regular(values.shape[axis], max(1, min(room, in_chunk)))
    if PIECE // 4 <= in_chunk <= (room if files else min(room, PIECE)):
        along: tuple[Lengths | None, ...] = tuple(values.chunks)
    else:
        along = cells(values.chunks, axes)
    found = zip(values.shape, along, strict=True)
    return tuple(c if a in axes and c is not None else Lengths.regular(n, 1) for a, (n, c) in enumerate(found))


def _selected(
    node: Quantile, values: Node, axes: tuple[int, ...], q: tuple[float, ...], cut: Chunks, groups: int, digit: int
) -> Node:
    given = dict(node.keywords)
    kept = values.ndim - len(axes)
    common: tuple[tuple[str, Any], ...] = (("q", q), ("method", given["method"]), ("skip", given["skip"]))
    loops = tuple(Lengths.regular(n, 1) for n in values.shape[:kept])
    bins, state = quantiles.bins(values.dtype, digit), tuple[Node, ...]()
    width = 4 * len(q) + 2
    for level in range(quantiles.levels(values.dtype, digit)):
        tail = (2 * len(q) if level else 1, bins)
        counts: Node = Fold(
            quantiles.count,
            (("level", level), ("digit", digit)),
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
