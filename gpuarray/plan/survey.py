"""Counting what the tasks of a plan read, keep and compute, before any of them runs.

Every task is counted where a plan has up to `EXACT`; of larger plans a sample of each stage is, spread evenly.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpuarray.cluster.task import Key, Task
from gpuarray.graph.blocks import MapBlocks
from gpuarray.graph.contract import MatMul
from gpuarray.graph.elementwise import Fused
from gpuarray.graph.grid import Region, covering, size_of, whole
from gpuarray.graph.leaves import Source
from gpuarray.graph.node import Node, elements
from gpuarray.graph.reduce import Partial
from gpuarray.graph.select import Select
from gpuarray.graph.slabs import SlabSweep
from gpuarray.graph.stencil import Part, Sweep
from gpuarray.kernels.program import Program
from gpuarray.kernels.stencils.boxes import boxes
from gpuarray.plan.block import Block, Value, expand, parts_nbytes
from gpuarray.plan.build import RunPlan, Stage
from gpuarray.plan.cuts import largest_task
from gpuarray.plan.tiling import result_region
from gpuarray.plan.work import BlockWork

EXACT = 2_000
"""Tasks up to which every one is counted."""
SAMPLE = 48
"""Tasks counted per stage of larger plans."""
_CELLS = 4_000_000
"""Boxes that the union of regions is worked out in, at most."""


@dataclass(slots=True)
class Tally:
    """What the tasks of one stage do, all told."""

    stage: Stage
    counted: int = 0
    read: Counter[Source] = field(default_factory=Counter)
    """Bytes taken from files, in whole chunks of the file."""
    used: Counter[Source] = field(default_factory=Counter)
    """Bytes asked of files and of arrays in memory, re-reads included."""
    regions: dict[Source, dict[Region, None]] = field(default_factory=dict)
    inputs: Counter[int] = field(default_factory=Counter)
    """Bytes of chunks of earlier stages, by stage, re-reads included."""
    operations: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Scalar operations: compiled, interpreted, library."""
    largest: tuple[int, int, int] = (0, 0, 0)
    """Bytes of the largest task: inputs, loads, work."""
    largest_kept: int = 0

    @property
    def kept(self) -> int:
        """Bytes kept for later stages, or for the user."""
        return sum(output_nbytes(o.node) for o in self.stage.outputs if o.sink is None)

    @property
    def written(self) -> int:
        """Bytes handed to sinks."""
        return sum(output_nbytes(o.node) for o in self.stage.outputs if o.sink is not None)

    def add(self, task: Task, key_nbytes: Callable[[Key], int]) -> None:
        assert isinstance(task.work, BlockWork)
        assert task.work.block is not None
        self.counted += 1
        for block in blocks_of(task.work.block):
            for node, region in block.values:
                self._add_value(node, region)
        taken = 0
        for key in task.raised:
            nbytes = key_nbytes(key)
            self.inputs[key[0]] += nbytes
            taken += nbytes
        for node, region in task.work.block.picking:
            leaf: Any = node.inputs[-1]
            self.inputs[leaf.stage] += parts_nbytes(node, region)
        size = (taken, task.load_nbytes, task.work_nbytes)
        self.largest = max(self.largest, size, key=sum)
        self.largest_kept = max(self.largest_kept, sum(n for _, n in task.outputs))

    def _add_value(self, node: Node, region: Region) -> None:
        if isinstance(node, Source):
            self.used[node] += size_of(region) * node.dtype.itemsize
            self.regions.setdefault(node, {})[region] = None
            if not node.reader.in_memory:
                self.read[node] += node.reader.disk_nbytes(region)
        elif node.inputs and not isinstance(node, (Select, Part)):
            kind, amount = work_of(node, region)
            self.operations[kind] += amount

    def scale(self) -> None:
        """Stand for all tasks of the stage where only some were counted."""
        if self.counted == self.stage.tasks:
            return
        factor = self.stage.tasks / max(1, self.counted)
        for counter in (self.read, self.used, self.inputs):
            for name in counter:
                counter[name] = round(counter[name] * factor)  # type: ignore[index]
        for kind in self.operations:
            self.operations[kind] *= factor


@dataclass(slots=True)
class Survey:
    """The tallies of every stage, and what is held between stages."""

    tallies: list[Tally]
    exact: bool
    held: int
    """The most bytes of kept chunks at once, when the tasks run one after another; an upper bound where not `exact`."""

    def needed(self, tallies: Iterable[Tally]) -> dict[Source, int]:
        """Bytes of the distinct elements that the stages ask of each source."""
        regions: dict[Source, dict[Region, None]] = {}
        used: Counter[Source] = Counter()
        for tally in tallies:
            used.update(tally.used)
            found = tally.regions if self.exact else whole_regions(tally.stage)
            for source, which in found.items():
                regions.setdefault(source, {}).update(which)
        return {s: min(distinct(r) * s.dtype.itemsize, used[s]) for s, r in regions.items()}


def survey(plan: RunPlan) -> Survey:
    """Count a plan's tasks, or a sample of them."""
    tallies = {s.number: Tally(s) for s in plan.program}
    if sum(s.tasks for s in plan.program) <= EXACT:
        tasks, made = [], dict[Key, int]()
        for task in plan.tasks():
            made.update(task.outputs)
            tallies[task.key[0]].add(task, made.__getitem__)
            tasks.append((task.inputs, task.outputs))  # without its work: the blocks of thousands add up
        return Survey(list(tallies.values()), True, most_held(tasks, frozenset(plan.kept)))
    mean = {
        (s.number, k): output_nbytes(o.node) // max(1, s.tasks) for s in plan.program for k, o in enumerate(s.outputs)
    }
    for stage in plan.program:
        tally = tallies[stage.number]
        for number in sample(stage):
            tally.add(stage.task(number), lambda key: mean[key[0], key[1]])
        tally.scale()
    return Survey(list(tallies.values()), False, sum(t.kept for t in tallies.values()))


def sample(stage: Stage) -> list[int]:
    """The numbers of tasks spread over a stage, the largest among them."""
    spread = np.linspace(0, stage.tasks - 1, min(stage.tasks, SAMPLE)).astype(np.int64)
    return sorted({largest_task(stage.grid), *(int(k) for k in spread)})


def most_held(tasks: list[tuple[tuple[Key, ...], tuple[tuple[Key, int], ...]]], outlive: frozenset[Key]) -> int:
    """The most bytes of kept chunks at once, each dropped after its last reader, for tasks that run in order."""
    readers = Counter(key for inputs, _ in tasks for key in inputs)
    made: dict[Key, int] = {}
    held = most = 0
    for inputs, outputs in tasks:
        for key, nbytes in outputs:
            if readers[key] or key in outlive:
                made[key] = nbytes
                held += nbytes
        most = max(most, held)
        for key in inputs:
            readers[key] -= 1
            if not readers[key] and key not in outlive:
                held -= made[key]
    return most


def blocks_of(block: Block) -> Iterator[Block]:
    """A block and those that its values are accumulated from, piece by piece."""
    stack = [block]
    while stack:
        block = stack.pop()
        yield block
        for node, region in block.stepped:
            for regions in node.pieces(region) or ():
                stack.append(expand(zip(node.inputs, regions, strict=True)))


def work_of(node: Node, region: Region) -> tuple[str, float]:
    """What does the work of a node over a region, and how many operations it is."""
    if isinstance(node, Partial):
        return how(node.program, node.compiled), (1 + node.program.cost) * size_of(node.reduced(region))
    if isinstance(node, Fused):
        return how(node.program, node.compiled), max(1.0, node.program.cost) * size_of(region)
    if isinstance(node, Sweep):
        levels = boxes(node.stencil, node.edges, node.shape, tuple(map(covering, region)), node.steps)[1:]
        points = sum(map(size_of, levels))
        return how(node.stencil.program, bool(node.visit.compiled)), node.stencil.cost * points
    if isinstance(node, SlabSweep):
        share = size_of(region) / max(1, size_of(tuple(map(range, node.shape))))
        return how(node.stencil.program, node.compiled), node.stencil.cost * node.points * share
    return ("library" if isinstance(node, MatMul) else "interpreted"), node.cost() * size_of(region)


def how(program: Program, compiled: bool) -> str:
    """Whether a program becomes a kernel; the plan may ask for one that cannot be compiled."""
    if not compiled:
        return "interpreted"
    from gpuarray.kernels.compile import supported

    return "compiled" if supported(program) else "interpreted"


def output_nbytes(node: Node) -> int:
    return elements(node) * sum(d.itemsize for d in node.fields)


def whole_regions(stage: Stage) -> dict[Source, dict[Region, None]]:
    """What a stage's whole results need of each source: about the union of what its tasks read."""
    everything = tuple(range(c.total) for c in stage.grid)
    stack: list[Value] = [(o.node, result_region(o.node, everything)) for o in stage.outputs]
    seen: set[Value] = set(stack)
    found: dict[Source, dict[Region, None]] = {}
    while stack:
        node, region = stack.pop()
        if isinstance(node, Source):
            found.setdefault(node, {})[region] = None
            continue
        # A user's function answers for one block at a time.
        each = [whole(i.shape) for i in node.inputs] if isinstance(node, MapBlocks) else node.regions(region)
        for value in zip(node.inputs, each, strict=True):
            if value not in seen:
                seen.add(value)
                stack.append(value)
    return found


def distinct(regions: Iterable[Region]) -> int:
    """How many elements are in at least one of the regions, which may overlap.

    >>> distinct([(range(0, 6), range(0, 4)), (range(3, 9), range(0, 4))])
    36

    Regions with steps that do not fit together are counted as what covers them, or one by one if that is less.
    """
    regions = [r for r in regions if size_of(r)]
    if len(regions) < 2 or not regions[0]:
        return size_of(regions[0]) if regions else 0
    axes = [on_one_lattice(along) for along in zip(*regions, strict=True)]
    edges = [sorted({e for span in axis for e in span}) for axis in axes]
    at_most = min(sum(map(size_of, regions)), math.prod(e[-1] - e[0] for e in edges))
    if math.prod(len(e) - 1 for e in edges) > _CELLS:
        return at_most
    cells = np.zeros([len(e) - 1 for e in edges], dtype=bool)
    place = [{e: k for k, e in enumerate(axis)} for axis in edges]
    for spans in zip(*axes, strict=True):
        cells[tuple(slice(p[lo], p[hi]) for p, (lo, hi) in zip(place, spans, strict=True))] = True
    count = cells.astype(np.int64)
    for axis in reversed(edges):
        count = count @ np.diff(axis)
    return min(int(count), at_most)


def on_one_lattice(along: Iterable[range]) -> list[tuple[int, int]]:
    """Positions as intervals: divided by their common step where they have one, else what covers them."""
    ranges = list(along)
    steps = {r.step for r in ranges if len(r) > 1}
    step = steps.pop() if len(steps) == 1 else 1
    if steps or len({r.start % step for r in ranges}) > 1:
        return [(r[0], r[-1] + 1) for r in ranges]
    return [(r[0] // step, r[-1] // step + 1) for r in ranges]


__all__ = ["EXACT", "SAMPLE", "Survey", "Tally", "distinct", "output_nbytes", "sample", "survey"]
