"""Rows too long for a task: sorts become external sorts, and quantiles selections in a few passes.

The choice is made here, where the limit is known; the result does not depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpuarray.cluster.sizes import format_bytes
from gpuarray.graph.grid import Chunks, Lengths, Region, size_of
from gpuarray.graph.leaves import Source, Stored
from gpuarray.graph.node import Node, from_line_of, rewrite, toposort
from gpuarray.graph.routine import Routine, Traits
from gpuarray.graph.selection import Quantile
from gpuarray.graph.sorting import ORDER, Merged, Runs, Samples, Shelved, Sort, along, order_of_samples
from gpuarray.kernels import ordering
from gpuarray.kernels.errors import MemoryLimitError
from gpuarray.optimize.stages import kept, substitute
from gpuarray.plan.block import expand, is_view, needs
from gpuarray.plan.selections import reads_less, selection
from gpuarray.plan.tiling import LONG, Budget

FIXED = 6 << 10
"""Bytes that a task takes whatever it sorts."""
QUICK, STABLE = 2.02, 2.52
"""Runs that a task holds at once: what it reads, and the run, sorted in its place; a stable sort takes half as much
again."""
PAIRED = 3.05, 12.1
"""The same where positions are sorted with their values, of these and bytes of the positions: the values are read, put
in order of memory and picked, and an order is sorted."""
MERGED, MERGED_STABLE, MERGED_PAIRED = 2.02, 2.52, (3.05, 32.1)
"""The same for a merge: parts of runs, sorted in their place, and the result."""
SCRATCH = 5
"""What sorting samples takes, as a multiple of these and of their order."""
TRIES = 8
"""Lengths of runs that are tried."""
OVERLAP = 32
"""One in so many of the elements that a merge reads may be of its neighbours' regions, if memory allows."""


def split(roots: Sequence[Node], budget: Budget) -> tuple[Node, ...]:
    """Replace what goes through rows that no task can hold by steps that tasks can do."""
    rules: dict[type[Node], Callable[[Node, Budget], Node]] = {Sort: _sort, Quantile: selection}
    if not any(type(n) in rules for n in toposort(*roots)):
        return tuple(roots)

    def rule(node: Node) -> Node | None:
        made = rules.get(type(node))
        return made(node, budget) if made and too_long(node, budget) else None

    return rewrite(rule, *roots)


def too_long(node: Node, budget: Budget) -> bool:
    """Whether the smallest task of a node, a row, takes more than its share of the memory, is long to wait for, or
    would read files over and over."""
    if not math.prod(node.shape):
        return False
    row = tuple(range(n if a in node.whole else 1) for a, n in enumerate(node.shape))
    if size_of(row) > LONG:
        return True
    values = [(node, row), *zip(node.inputs, node.regions(row), strict=True)]
    held = sum(n.nbytes(r) for n, r in values) + node.workspace(row)
    if isinstance(node, Quantile) and reads_less(node, held, budget):
        return True
    return held > budget.soft and needs(expand([(node, row)])).total > budget.soft


@dataclass(frozen=True)
class Cut:
    """How a sort is cut."""

    length: int
    """Elements of a run."""
    step: int
    """Of every so many elements of a run one is a sample."""
    merged: int
    """Elements of the result that a task merges."""
    chunks: Chunks
    """Of the other axes, while runs are sorted."""


@dataclass(frozen=True)
class Bytes:
    """What sorting and merging take for each element, which has `item`."""

    item: int
    run: float
    merge: float
    sample: int

    @classmethod
    def of(cls, node: Sort) -> Bytes:
        item = node.inputs[0].dtype.itemsize
        extra = (SCRATCH + 1) * (item + ORDER.itemsize) + item
        if node.what != "values":
            return cls(item, PAIRED[0] * item + PAIRED[1], MERGED_PAIRED[0] * item + MERGED_PAIRED[1], extra)
        if ordering.way(node.inputs[0].dtype, node.kind) is None:
            return cls(item, QUICK * item, MERGED * item, extra)
        return cls(item, STABLE * item, MERGED_STABLE * item, extra)


def cut(node: Sort, budget: Budget) -> Cut:
    """The fewest and longest runs that memory allows, whole chunks of a file where that is possible.

    Raises MemoryLimitError where there must be so many runs that a merge cannot hold a few samples of each.
    """
    rooms = budget.hard // 2, budget.hard  # and what merges is a part of a task's share: writing takes some as well
    for read in (_staged(node.inputs[0]), None):  # how earlier results are cut is a guess: at worst, without it
        for room, merging in ((budget.hard // (budget.threads + 1), 3 * budget.soft // 4), *((r, r) for r in rooms)):
            found = _cut(node, room, merging, read)
            if found is not None:
                return found
    n, dtype = node.shape[node.axis], node.inputs[0].dtype
    raise MemoryLimitError(
        f"sorting {n:,} elements of {dtype} takes tasks of about {format_bytes(_needed(n, Bytes.of(node)))}, more than "
        f"the {format_bytes(budget.hard)} that are left of the memory limit. Raise host_memory (device_memory on a "
        "GPU), or sort parts of the array."
    )


def _cut(node: Sort, room: int, merging: int, read: Node | None) -> Cut | None:
    """Cuts for which tasks that sort fit a room, and those that merge another; None if there are none."""
    axis, n, each = node.axis, node.shape[node.axis], Bytes.of(node)
    chunk = _chunk(node.inputs[0], axis)
    others = [Lengths.regular(m, min(m, c.largest)) for m, c in zip(node.shape, node.chunks, strict=True)]
    while True:
        rows = math.prod(c.largest for a, c in enumerate(others) if a != axis)
        most = min(n, int((room - FIXED) / (each.run * rows)))
        for _ in range(TRIES if most >= 2 else 0):
            length, number = _even(n, most, chunk)
            region = tuple(range(length if a == axis else c.largest) for a, c in enumerate(others))
            settling = ordering.settling_nbytes(length * rows, length, node.inputs[0].dtype)
            taken = each.run * length * rows + settling + _reading(read, region) + FIXED
            found = _merging(n, length, number, merging, each, rows) if taken <= room else None
            if found is not None:
                return Cut(length, *found, tuple(others))
            most = min(length - 1, int(length * room / taken))
            if taken <= room or most < 2:
                break
        if rows == 1:
            return None
        a = max((a for a in range(node.ndim) if a != axis), key=lambda a: others[a].largest)
        others[a] = Lengths.regular(node.shape[a], -(-others[a].largest // 2))


def _staged(node: Node) -> Node:
    """What a task computes before it sorts: from the results that are kept before."""
    bounds = kept(node).bounds - {node}
    there: dict[Node, Node] = {b: Stored(-1, 0, b.shape, b.dtype, b.parts, b.chunks) for b in bounds}
    if not node.inline and node.inputs:
        made: Node = Stored(-1, 0, node.shape, node.dtype, node.parts, node.chunks)
        return made
    return substitute(node, there)


def _reading(node: Node | None, region: Region) -> int:
    """Bytes that a task takes for what it sorts, beyond one copy of it."""
    if node is None:
        return 0
    block = expand([(node, region)])
    copied = isinstance(node, (Source, Stored)) or is_view(node, block.values[node, region])
    return max(0, needs(block).total - (1 + copied) * node.nbytes(region))


def _merging(n: int, length: int, number: int, room: int, each: Bytes, rows: int = 1) -> tuple[int, int] | None:
    """Between how many elements samples are taken, and how many of the result a task merges; None if none fit.

    The samples of all `rows` that were sorted together are there when those of one are put in order.
    """
    fewest = -(-n * (each.sample + each.item * (rows - 1)) // max(1, room - FIXED))
    elements = min(n, int((room - FIXED) / each.merge))
    step = max(1, fewest, min(length, elements // (2 * OVERLAP * (number + 1))))
    if step > length:
        return None
    order = ORDER.itemsize * number * (length // step)
    merged = int((room - FIXED - order) / each.merge) - 2 * step * (number + 1)
    return (step, min(n, merged)) if merged >= max(1, elements // 4) else None


def _needed(n: int, each: Bytes) -> int:
    """About the least memory of a task in which `n` elements can be sorted."""
    room = 4 * FIXED
    while True:
        length = max(2, int((room - FIXED) / each.run))
        if _merging(n, min(n, length), -(-n // length), room, each) is not None:
            return room
        room += room // 8


def _chunk(node: Node, axis: int) -> int:
    """How a file is cut along the axis that is sorted; 1 where nothing is, or any part is read at the same cost."""
    readers = [n.reader for n in toposort(node) if isinstance(n, Source)]
    if all(r.in_memory or getattr(r, "in_pieces", False) for r in readers):
        return 1
    return node.chunks[axis].step or 1


def _even(n: int, most: int, chunk: int) -> tuple[int, int]:
    """Length and number of runs of at most `most` elements: whole chunks or, where one is too long, parts of one."""
    if chunk > most:
        length = -(-chunk // -(-chunk // most))
        return length, -(-n // length)
    number = -(-n // (most // chunk * chunk))
    length = -(-n // (number * chunk)) * chunk
    return length, -(-n // length)


def _sort(node: Node, budget: Budget) -> Node:
    """The external sort that stands for a sort."""
    assert isinstance(node, Sort)
    axis, paired, found = node.axis, node.what != "values", cut(node, budget)
    n, kind = node.shape[axis], "stable" if paired else node.kind
    lengths = Lengths.regular(n, found.length)
    runs = from_line_of(node, Runs(axis, paired, kind, along(found.chunks, axis, lengths), node.inputs[0]))
    samples: Node = Samples(axis, found.step, runs)
    rows = tuple(Lengths.regular(m, 1) for m in node.shape)
    each = found.length // found.step
    keywords = (("axis", axis), ("each", each), ("kind", kind))
    one: tuple[int | None, ...] = tuple(None if a == axis else a for a in range(node.ndim))
    traits = Traits("order of samples", whole=(axis,), scratch=SCRATCH, fixed=True)
    taken = along(rows, axis, samples.chunks[axis])
    order: Node = Routine(order_of_samples, keywords, ORDER, taken, (one,), traits, samples)
    merged = along(rows, axis, Lengths.regular(n, found.merged))
    made: Node = Merged(axis, node.what, kind, found.step, merged, order, Shelved(runs))
    return from_line_of(node, made)
