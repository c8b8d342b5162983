"""How a stage's work is cut into tasks.

A stage starts from the chunks of its result. Small chunks are put together until a task is worth its overhead,
large ones are split until a task fits its share of the memory limit and every thread has work. Cuts stay on the
*units* that the stage's results demand: cells of a reduction, whole chunks of the file that is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gpuarray.graph.blocks import MapBlocks
from gpuarray.graph.contract import MatMul, PartialProducts
from gpuarray.graph.fold import Fold
from gpuarray.graph.grid import Chunks, Lengths, Region, count, region_at, size_of
from gpuarray.graph.leaves import Source, Stored
from gpuarray.graph.move import Concat, Reshape
from gpuarray.graph.node import Node, toposort
from gpuarray.graph.reduce import Merge, Partial
from gpuarray.graph.routine import Routine, Strip
from gpuarray.graph.scatter import Compress, Scatter
from gpuarray.graph.select import TAKE
from gpuarray.graph.slabs import Advanced, Carried, SlabSweep
from gpuarray.graph.sorting import Samples, Shelved
from gpuarray.graph.stencil import Sweep
from gpuarray.plan import refusals
from gpuarray.plan.block import Needs, Value, expand, needs
from gpuarray.plan.cuts import all_kinds, common, halves, in_shares, largest_task, merged_axis, middle_task

SMALL = 512 * 1024
"""Elements below which a task is put together with its neighbours: under a millisecond of work."""
LARGE = 2**27
"""The same on a device that waits for no copies: what it does in about the time in which a task is prepared."""
CHUNK = 256
"""Elements that take as long as finding a chunk of an earlier result."""
TINY = 64
"""Elements of a task that is nothing but overhead."""
LONG = 2**29
"""Elements above which a task is split, though it needs no memory: Ctrl-C and the progress bar wait for tasks."""
LIGHT = 4
"""Operations on each element of a task that is not heavy."""
MOST = 10_000
"""Tasks that are looked at one by one before a run."""
UNEVEN = (Concat, Reshape, Compress, Scatter)
"""Nodes whose inputs' regions are not the same size everywhere; so are views through index arrays."""
BY_THEMSELVES = (MapBlocks, Merge, Advanced, Carried, Shelved, Samples, Fold, PartialProducts)
"""Nodes whose tasks are the chunks of their result."""
PER_THREAD = 4
"""Tasks per thread that work is split into where it is large enough, so that threads finish together."""
FEWER = 2
"""The same for many steps of a stencil, whose margins are computed twice."""
FINE = 2**22
"""Elements of the last tasks of those that become smaller: some milliseconds."""
COARSE = 2**27
"""Elements of the first ones at most."""
SLIGHT = 2**20
"""Bytes that a task may take without a thought."""


@dataclass(frozen=True)
class Budget:
    """Bytes that tasks may use: what one must never exceed, and what lets several run at once."""

    hard: int
    soft: int
    threads: int
    host: int | None = None
    """Bytes of host memory for what is read and written, where tasks compute in a device's; else None."""
    here: bool = True
    """Tasks compute in this process, and may write to its arrays."""
    devices: int = 1
    """That share the tasks out."""
    resident: bool = False
    """What a stage reads is in the memory of the one device, and what it makes stays there: one task keeps it busy."""

    @property
    def device(self) -> bool:
        return self.host is not None


def result_region(node: Node, domain: Region) -> Region:
    """The region of a stage's result that a task for a region of its domain computes."""
    if isinstance(node, (Strip, Advanced, Carried, Samples)):
        return node.result_region(domain)
    if not isinstance(node, Partial):
        return domain
    out = []
    for k, r in zip(node.cuts, domain, strict=True):
        if k is None:
            out.append(r)
        elif not r:
            out.append(range(len(k)))  # a cell of nothing is a cell
        else:
            out.append(range(k.find(r[0]), k.find(r[-1]) + 1))
    return tuple(out)


def result_chunks(node: Node, grid: Chunks) -> Chunks:
    """How the tasks of a stage cut one of its results."""
    if isinstance(node, (Strip, Advanced, Carried, Samples)):
        return node.result_chunks(grid)
    if not isinstance(node, Partial):
        return grid
    out = []
    for k, g in zip(node.cuts, grid, strict=True):
        if k is None:
            out.append(g)
        elif len(g) == 1:
            out.append(Lengths.regular(len(k), len(k)))
        elif k.step and g.step and g.step % k.step == 0:
            out.append(Lengths.regular(len(k), g.step // k.step))
        else:
            out.append(Lengths.between(int(e) for e in np.searchsorted(k.edges(), g.edges())))
    return tuple(out)


def wanted(nodes: Sequence[Node], domain: Region) -> tuple[Value, ...]:
    return tuple((n, result_region(n, domain)) for n in nodes)


def tile(nodes: Sequence[Node], hint: Chunks, units: Sequence[Chunks], budget: Budget) -> Chunks:
    """The grid of a stage's tasks over its domain.

    Raises MemoryLimitError where the smallest possible task needs more than the limit.
    """
    refusals.check_states(nodes, budget.hard)
    if any(cut_by_itself(n) for n in nodes):
        check(nodes, hint, budget)
        return hint
    tiling = Tiling(nodes, units, budget)
    grid = tiling.choose(hint)
    check_size(nodes, grid, budget)
    if not tiling.even or tiling.too_large(grid):
        check(nodes, grid, budget)
    return grid


def cut_by_itself(node: Node) -> bool:
    """Whether the tasks of a stage are the chunks of its result, which are not the planner's to choose."""
    if isinstance(node, Routine):
        return node.fixed
    return isinstance(node, BY_THEMSELVES) or (isinstance(node, Sweep) and node.visit.cut is not None)


def check_size(nodes: Sequence[Node], grid: Chunks, budget: Budget) -> None:
    """Refuse tasks so small that a run would take hours: only a limit that is nearly used up leads there."""
    region = region_at(grid, largest_task(grid))
    size = size_of(region)
    if size < TINY and count(grid) > MOST:
        raise refusals.too_many(nodes, grid, size, wanted(nodes, region), budget.hard)


class Tiling:
    """One stage's search for a grid."""

    def __init__(self, nodes: Sequence[Node], units: Sequence[Chunks], budget: Budget) -> None:
        self.nodes, self.budget = nodes, budget
        demanded = [*units, *(partial_units(n) for n in nodes if isinstance(n, Partial))]
        self.units = [common(along) for along in zip(*demanded, strict=True)] if demanded else None
        self.memo: dict[Chunks, Needs] = {}
        self.sizes: dict[Chunks, int] = {}
        order = toposort(*nodes)
        self.files = any(isinstance(n, Source) and not n.reader.in_memory for n in order)
        sweeps = [n for n in order if isinstance(n, Sweep)]
        self.swept = bool(sweeps)
        self.even = not (self.files or sweeps or any(map(is_uneven, order)))
        """A task needs the more the larger it is, wherever it is."""
        self.whole = {a for n in nodes for a in n.whole}
        self.alone = any(n.alone for n in order)
        self.steps = max((n.steps for n in sweeps), default=0)
        per_thread = FEWER if self.steps > 1 else PER_THREAD
        self.least, self.many = (LARGE, 1) if budget.resident else (SMALL, per_thread * budget.threads)

    def choose(self, hint: Chunks) -> Chunks:
        grid = tuple(Lengths.regular(c.total, c.total) if a in self.whole else c for a, c in enumerate(hint))
        grid = tuple(self.snap(a, c) for a, c in enumerate(grid))
        if not grid:
            return grid
        # of a device's many steps at once, the margins are what counts: tasks as large as they may be, and even
        even = self.budget.device and self.steps > 1 and self.units is None
        grid = tuple(Lengths.regular(c.total, c.total) for c in grid) if even else self.put_together(grid)
        grid = self.split_while(grid, self.too_large)
        if self.alone:
            return grid
        grid = self.split_while(grid, self.too_few, keep_reads=True)
        most = LONG // self.heaviness(grid)
        grid = self.split_while(grid, lambda g: self.size(g) > most, keep_reads=True)
        grid = self.split_while(grid, lambda g: self.bytes(g) > self.budget.soft, keep_reads=True)
        return self.in_shares(self.align_reads(grid))

    # What a grid costs.

    def bytes(self, grid: Chunks) -> int:
        """Bytes of the largest of a few tasks; `check` looks at all of them where they may differ."""
        if grid not in self.memo:
            sample = [largest_task(grid)] if self.even else [largest_task(grid), 0, count(grid) - 1]
            if self.swept:
                sample.append(middle_task(grid))
            found = (self.needs(region_at(grid, k)) for k in dict.fromkeys(sample))
            self.memo[grid] = max(found, key=lambda n: n.total)
        return self.memo[grid].total

    def needs(self, region: Region) -> Needs:
        return needs(expand(wanted(self.nodes, region)), device=self.budget.device)

    def heaviness(self, grid: Chunks) -> int:
        """How many times as long an element takes as one that is merely read and added."""
        if self.swept or not self.even:  # margins would be computed twice, and what is read decides
            return 1
        region = region_at(grid, largest_task(grid))
        values = expand(wanted(self.nodes, region)).values
        work = sum(n.cost() * size_of(r) for n, r in values if not isinstance(n, MatMul))
        return max(1, round(work / (LIGHT * max(1, self.size(grid)))))

    def too_large(self, grid: Chunks) -> bool:
        return self.bytes(grid) > self.budget.hard or through_host(self.memo[grid], self.budget) > 0

    def too_few(self, grid: Chunks) -> bool:
        return count(grid) < self.many and self.size(grid) >= 2 * SMALL

    def size(self, grid: Chunks) -> int:
        """Elements that the largest task goes through: of its result, of what it reduces on the way to it, or of the
        chunks of files that it reads; or what finding its chunks of earlier results takes."""
        if grid not in self.sizes:
            self.sizes[grid] = self._size(grid)
        return self.sizes[grid]

    def _size(self, grid: Chunks) -> int:
        region = region_at(grid, largest_task(grid))
        below = expand(wanted(self.nodes, region))
        reduced = (size_of(n.reduced(r)) for n, r in below.values if isinstance(n, Partial))
        files = ((n.reader, n.dtype, r) for n, r in below.sources() if isinstance(n, Source))
        read = (f.disk_nbytes(r) // max(1, d.itemsize) for f, d, r in files if not f.in_memory)
        gathered = (CHUNK * chunks_read(n, r) for n, r in below.values if isinstance(n, Stored))
        return max([size_of(region), *reduced, *read, *gathered])

    # Changing a grid.

    def snap(self, axis: int, lengths: Lengths) -> Lengths:
        """The nearest cut along an axis that stays on the units."""
        unit = self.units[axis] if self.units else None
        if unit is None or unit == lengths or len(lengths) == 1:
            return lengths
        if unit.step and lengths.step and lengths.step % unit.step == 0:
            return lengths
        if unit.step and lengths.step:  # without listing the edges: there may be a billion
            if lengths.step <= unit.step:
                return unit
            if len(lengths) > MOST:
                return Lengths.regular(lengths.total, lengths.step // unit.step * unit.step)
        edges = np.asarray(unit.edges())
        at = edges[np.searchsorted(edges, lengths.edges()[1:-1], side="right") - 1]
        return Lengths.between(sorted({0, *(int(e) for e in at), lengths.total}))

    def put_together(self, grid: Chunks) -> Chunks:
        """Merge neighbours, along the last axes first, where that stays in memory."""
        for axis in reversed(range(len(grid))):
            size = self.size(grid)
            if size >= self.least or len(grid[axis]) == 1:
                continue
            together = min(len(grid[axis]), -(-self.least // max(1, size)))
            while together > 1:
                larger = (*grid[:axis], merged_axis(grid[axis], together), *grid[axis + 1 :])
                if self.bytes(larger) <= self.budget.soft:
                    grid = larger
                    break
                together //= 2
        return grid

    def split_while(self, grid: Chunks, wrong: Callable[[Chunks], bool], keep_reads: bool = False) -> Chunks:
        """Halve tasks while something is wrong with them, along the axis that helps most."""
        while wrong(grid):
            options = [g for a in range(len(grid)) if (g := self.halved(grid, a)) is not None]
            if keep_reads:
                reads = self.amplification(grid)
                options = [g for g in options if self.amplification(g) <= 1.1 * reads]
            if not options:
                return grid
            smaller = min(options, key=lambda g: (self.grade(g), self.amplification(g)))
            if keep_reads and not self.worth(grid, smaller):
                return grid
            grid = smaller
        return grid

    def grade(self, grid: Chunks) -> int:
        """Its bytes, roughly: where a stencil's margins differ little, long rows are worth more to a processor."""
        fine = 256 if self.budget.device else 8
        return round(fine * math.log(1 + self.bytes(grid))) if self.swept else self.bytes(grid) // 2**16

    def worth(self, grid: Chunks, smaller: Chunks) -> bool:
        """Whether smaller tasks save memory to speak of, or are many enough at last: margins do not shrink."""
        return self.bytes(smaller) < 0.9 * self.bytes(grid) or self.too_few(grid) or self.size(grid) > LONG

    def halved(self, grid: Chunks, axis: int) -> Chunks | None:
        lengths = grid[axis]
        longest = lengths.largest
        if longest <= 1 or axis in self.whole:
            return None
        half = self.snap(axis, halves(lengths))
        if half.largest >= longest and len(half) <= len(lengths):
            unit = self.units[axis] if self.units else None
            if unit is None or unit.largest >= longest:
                return None
            half = self.snap(axis, unit)
        return (*grid[:axis], half, *grid[axis + 1 :])

    def amplification(self, grid: Chunks) -> float:
        """Bytes read from files, in whole chunks of the file, over the bytes that are needed."""
        if not self.files:
            return 1.0
        total = count(grid)
        sample = sorted({int(k) for k in np.linspace(0, total - 1, min(total, 6))})
        read = used = 0
        for number in sample:
            for node, region in expand(wanted(self.nodes, region_at(grid, number))).sources():
                assert isinstance(node, Source)
                if not node.reader.in_memory:
                    read += node.reader.disk_nbytes(region)
                    used += size_of(region) * node.dtype.itemsize
        return max(1.0, read / used) if used else 1.0

    def align_reads(self, grid: Chunks) -> Chunks:
        """Put tasks together that read the same chunks of a file, as far as memory goes."""
        reads = self.amplification(grid)
        while reads > 1.2:
            options = []
            for axis, lengths in enumerate(grid):
                if len(lengths) > 1:
                    larger = (*grid[:axis], merged_axis(lengths, 2), *grid[axis + 1 :])
                    if self.bytes(larger) <= self.budget.soft:
                        options.append((self.amplification(larger), axis, larger))
            better = min(options, default=None)
            if better is None or better[0] >= reads:
                return grid
            reads, _, grid = better
        return grid

    def in_shares(self, grid: Chunks) -> Chunks:
        """Large tasks first and small ones last, where large ones take no more memory: each task costs something, as
        what it needs has left the caches meanwhile, and threads are to end together."""
        free = self.even and not self.whole and all(isinstance(n, Partial) for n in self.nodes)
        if not free or not 1 < count(grid) <= MOST or self.budget.device or not self.budget.here:
            return grid
        axis = next(axis for axis, lengths in enumerate(grid) if len(lengths) > 1)
        fine = (*grid[: axis + 1], *(Lengths.regular(c.total, c.total) for c in grid[axis + 1 :]))
        size = self.size(grid) * count(grid[axis + 1 :])  # as large as the parts of an even stage are
        while size >= 2 * FINE and (finer := self.halved(fine, axis)) is not None:
            fine, size = finer, -(-size // 2)
        most = COARSE // max(1, size * self.heaviness(grid))
        shares = (*fine[:axis], in_shares(fine[axis], self.budget.threads, most), *fine[axis + 1 :])
        room = min(self.budget.soft, max(SLIGHT, self.bytes(grid)))
        return shares if count(shares) < count(grid) and self.bytes(shares) <= room else grid


def chunks_read(node: Stored, region: Region) -> int:
    """Chunks that a region of an earlier result lies in."""
    return math.prod(len(c.touched(r)) for c, r in zip(node.chunks, region, strict=True))


def partial_units(node: Partial) -> Chunks:
    return tuple(Lengths.regular(c.total, 1) if k is None else k for k, c in zip(node.cuts, node.domain, strict=True))


def is_uneven(node: Node) -> bool:
    """Whether what a task needs depends on where it is."""
    return isinstance(node, UNEVEN) or node.label == TAKE


def check(nodes: Sequence[Node], grid: Chunks, budget: Budget) -> None:
    """Refuse a stage one of whose tasks does not fit, with the numbers.

    Where a task's bytes depend on where it is (an index array, the seam of a concatenation), every task is looked at.
    """
    numbers: Iterable[int] = (largest_task(grid),)
    order = toposort(*nodes)
    if any(map(is_uneven, order)):
        numbers = range(min(count(grid), MOST))
    elif any(isinstance(n, (Sweep, SlabSweep)) for n in order):
        numbers = all_kinds(grid)
    for number in numbers:
        values = wanted(nodes, region_at(grid, number))
        need = needs(expand(values), device=budget.device)
        if need.total > budget.hard:
            raise refusals.too_large(nodes, grid, number, values, need, budget.hard)
        if through_host(need, budget) > 0:
            raise refusals.too_much_read(nodes, grid, number, values, need, budget.host or 0)


def through_host(need: Needs, budget: Budget) -> int:
    """Bytes by which what a task reads is more than the host's memory, where it computes in a device's."""
    return 0 if budget.host is None else need.load - budget.host
