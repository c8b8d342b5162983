"""Rows too long for a task: sorts become columnsorts, and quantiles selections in a few passes.

The choice is made here, where the limit is known; the result does not depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpuarray.cluster.sizes import format_bytes
from gpuarray.graph.grid import Chunks, Lengths, size_of
from gpuarray.graph.leaves import Source
from gpuarray.graph.node import Node, from_line_of, rewrite, toposort
from gpuarray.graph.select import Select
from gpuarray.graph.selection import Quantile
from gpuarray.graph.sorting import POSITION, Halves, Hands, Piece, Runs, Sort, Trimmed, along
from gpuarray.graph.stencil import Part
from gpuarray.kernels.errors import MemoryLimitError
from gpuarray.plan.block import expand, needs
from gpuarray.plan.selections import selection
from gpuarray.plan.tiling import LONG, Budget

COPIES = 3.2
"""Runs that a task of a columnsort holds at once: the pieces of one, these put together and sorted, and its pieces; and
a little for what is padded."""
DEALT = (64, 32, 16, 8)
"""Elements that are dealt at a time, where runs are long: some lines of the processor's cache, copied at full speed."""
PAIR_COPIES = (4.2, 9.5)
"""The same where positions are sorted with their values, of these and of those: orders, and what they pick, are held
besides."""


def split(roots: Sequence[Node], budget: Budget) -> tuple[Node, ...]:
    """Replace what goes through rows that no task can hold by steps that tasks can do."""
    rules: dict[type[Node], Callable[[Node, Budget], Node]] = {Sort: _sort, Quantile: selection}
    if not any(type(n) in rules for n in toposort(*roots)):
        return tuple(roots)

    def rule(node: Node) -> Node | None:
        made = rules.get(type(node))
        return made(node, budget) if made and too_long(node, budget) else None

    new = rewrite(rule, *roots)
    # A result that is asked for is cut as its reader wants it, a sort's steps are not.
    return tuple(_view(n, n.shape) if isinstance(n, Runs) else n for n in new)


def too_long(node: Node, budget: Budget) -> bool:
    """Whether the smallest task of a node, a row, takes more than its share of the memory, or is long to wait for."""
    if not math.prod(node.shape):
        return False
    row = tuple(range(n if a in node.whole else 1) for a, n in enumerate(node.shape))
    if size_of(row) > LONG:
        return True
    values = [(node, row), *zip(node.inputs, node.regions(row), strict=True)]
    held = sum(n.nbytes(r) for n, r in values) + node.workspace(row)
    return held > budget.soft and needs(expand([(node, row)])).total > budget.soft


def _view(node: Node, shape: tuple[int, ...]) -> Node:
    """The first elements along each axis; nobody asks for less of a sort's steps than a run."""
    made: Node = Select(shape, tuple((a, range(n)) for a, n in enumerate(shape)), node)
    return made


@dataclass(frozen=True)
class Columns:
    """How a sort is cut."""

    length: int
    """Elements of a run that are read."""
    number: int
    """Of runs."""
    chunks: Chunks
    """Of the other axes."""

    @property
    def dealt(self) -> int:
        """How many elements at a time are dealt to the hands: as many as the length of the runs allows."""
        return next((b for b in DEALT if 2 * b * max(self.number, 16) ** 2 <= self.length), 1)

    @property
    def width(self) -> int:
        """Elements of a run, padded: a multiple of what is dealt in a round, and even."""
        step = self.number * self.dealt * (1 + self.number * self.dealt % 2)
        return -(-self.length // step) * step

    @property
    def possible(self) -> bool:
        return self.width >= 2 * (self.number - 1) ** 2


def columns(node: Sort, budget: Budget) -> Columns:
    """The fewest and longest runs that memory allows, whole chunks of a file where that is possible."""
    axis, n = node.axis, node.shape[node.axis]
    paired = node.what != "values"
    item = node.inputs[0].dtype.itemsize * COPIES
    if paired:
        item = node.inputs[0].dtype.itemsize * PAIR_COPIES[0] + POSITION.itemsize * PAIR_COPIES[1]
    chunk = _chunk(node.inputs[0], axis)
    tried = Columns(0, 0, ())
    for room in (budget.hard // (budget.threads + 1), budget.hard // 2, budget.hard):
        others = [Lengths.regular(m, min(m, c.largest)) for m, c in zip(node.shape, node.chunks, strict=True)]
        while True:
            rows = math.prod(c.largest for a, c in enumerate(others) if a != axis)
            most = min(n, int(room / (item * rows)))
            if most >= 2:
                tried = Columns(*_even(n, most, chunk), tuple(others))
                if tried.possible:
                    return tried
            if rows == 1:
                break
            a = max((a for a in range(node.ndim) if a != axis), key=lambda a: others[a].largest)
            others[a] = Lengths.regular(node.shape[a], -(-others[a].largest // 2))
    need = item * round((n * math.sqrt(2)) ** (2 / 3))
    raise MemoryLimitError(
        f"sorting {n:,} elements of {node.dtype} takes tasks of about {format_bytes(round(need))}, more than the "
        f"{format_bytes(budget.hard)} that are left of the memory limit. Raise host_memory (device_memory on a GPU), "
        "or sort parts of the array."
    )


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
    """The columnsort that stands for a sort."""
    assert isinstance(node, Sort)
    axis, paired, way = node.axis, node.what != "values", columns(node, budget)
    s, r = way.number, way.width

    def made(step: Node) -> Node:
        return from_line_of(node, step)

    def exchanged(runs: Node, dealt: int) -> Node:
        """Every piece with its like: hands, or parts, of all runs."""
        hands = [made(Piece(axis, k, s, dealt, r, made(runs))) for k in range(s)]
        return Hands(axis, *hands) if s > 1 else hands[0]

    ends = Lengths.regular(r * s, r)
    first = Runs(axis, Lengths.regular(node.shape[axis], way.length), r, paired, 0, way.chunks, node.inputs[0])
    dealt = exchanged(first, way.dealt)
    second = Runs(axis, ends, 0, paired, 0, way.chunks, dealt)
    cut = exchanged(second, 0)
    third = made(Runs(axis, ends, 0, paired, 0, way.chunks, cut))
    half = r // 2
    halves = [made(Piece(axis, k, 2, 0, r, third)) for k in range(2)]
    seams = Lengths.between((0, *range(half, r * s, r), r * s))
    merged = made(Runs(axis, seams, 0, paired, r, way.chunks, made(Halves(axis, half, *halves))))
    if node.what == "positions":
        merged = made(Part(1, merged))
    elif paired:
        return _pair(node, merged)
    return made(_view(merged, node.shape))


def _pair(node: Sort, merged: Node) -> Node:
    """Both arrays of a sort, without what was padded."""
    n = node.shape[node.axis]
    cut = Lengths.between((*(e for e in merged.chunks[node.axis].edges() if e < n), n))
    made: Node = Trimmed(along(merged.chunks, node.axis, cut), merged)
    return made
