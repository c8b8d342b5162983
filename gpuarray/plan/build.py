"""A plan: the stages of a run with their tasks, which are enumerated lazily."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from gpuarray.cluster.sizes import format_bytes
from gpuarray.cluster.task import Given, Key, StageInfo, Task
from gpuarray.graph.grid import Chunks, count, region_at, whole
from gpuarray.graph.leaves import Source, Stored
from gpuarray.graph.node import Node, rewrite, toposort
from gpuarray.graph.reduce import Merge
from gpuarray.graph.slabs import OWN, Advanced, Carried
from gpuarray.graph.stencil import Sweep
from gpuarray.kernels.errors import MemoryLimitError
from gpuarray.optimize import optimize
from gpuarray.optimize.fuse import Policy, fuse
from gpuarray.optimize.stages import domain, groups, substitute
from gpuarray.plan import sorts
from gpuarray.plan.block import Block, Needs, Value, expand, needs
from gpuarray.plan.counting import Merged, count_boxes
from gpuarray.plan.elsewhere import Elsewhere
from gpuarray.plan.order import in_order
from gpuarray.plan.portable import PortablePlan
from gpuarray.plan.sweeps import CAUTION, split
from gpuarray.plan.tiling import SLIGHT, Budget, result_chunks, result_region, tile
from gpuarray.plan.work import BlockWork

_numbers = itertools.count(1)
"""Stage numbers are never used twice in a process, so that what one run keeps cannot be mistaken by another."""

FEW = 5_000
"""Tasks up to which the readers of small results are counted; beyond, those results stay to the end of the run.
Also the most tasks of a stage that are remembered between being counted and being run."""


@dataclass(frozen=True, slots=True)
class Output:
    """One thing a stage's tasks make: kept for later stages (`sink` None) or handed to a sink."""

    node: Node
    sink: Any
    into: bool
    """Computed straight into the sink's memory."""


@dataclass(slots=True)
class Stage:
    """Tasks that compute the same results over different regions."""

    number: int
    outputs: tuple[Output, ...]
    grid: Chunks
    depends: tuple[int, ...]
    label: str
    origin: str
    device: bool = False
    """Its tasks compute in the memory of a device."""
    chained: bool = False
    """Its tasks read results of others of them."""
    files: bool = False
    """They read files, or what was spilled."""
    _made: dict[int, Task] = field(default_factory=dict, repr=False)
    """Tasks that were made to count what they read and are not handed out yet."""

    @property
    def tasks(self) -> int:
        return count(self.grid)

    def wanted(self, number: int) -> tuple[Value, ...]:
        region = region_at(self.grid, number)
        return tuple((o.node, result_region(o.node, region)) for o in self.outputs)

    def task(self, number: int) -> Task:
        """Task `number` of this stage, with what it needs."""
        return self._made.pop(number, None) or self._make(number)

    def reads(self, number: int) -> tuple[Key, ...]:
        """What a task reads; the task is remembered, as it will be asked for soon."""
        if number not in self._made:
            self._made[number] = self._make(number)
        return self._made[number].inputs

    def _make(self, number: int) -> Task:
        wanted = self.wanted(number)
        block = expand(wanted)
        need = self.needs(block)
        work = BlockWork(self.number, number, wanted, tuple(o.sink for o in self.outputs), block)
        kept = tuple(
            ((self.number, k, number), node.nbytes(region))
            for k, ((node, region), o) in enumerate(zip(wanted, self.outputs, strict=True))
            if o.sink is None
        )
        inputs = (*(k for k, _ in need.inputs), *need.picked)
        key = (self.number, number)
        return Task(key, inputs, kept, need.load, need.work, work, need.picked, need.picked_nbytes)

    def needs(self, block: Block) -> Needs:
        into = frozenset(v for v, o in zip(block.wanted, self.outputs, strict=True) if o.into)
        need = needs(block, into, self.device)
        writing = writing_nbytes(self.outputs)
        if not self.device:
            return replace(need, work=need.work + writing)
        return replace(need, load=need.load + writing + leaving_nbytes(block, self.outputs))

    def info(self) -> StageInfo:
        return StageInfo(self.number, self.label, self.origin, self.tasks, self.depends)


@dataclass(slots=True)
class RunPlan:
    """What `cluster.task.Plan` asks for, and what `explain` shows."""

    program: tuple[Stage, ...]
    kept: tuple[Key, ...]
    reserved_nbytes: int
    budget: Budget
    stored: tuple[Node, ...]
    """For every root that is kept, the leaf that stands for it in later graphs (None for those with sinks)."""
    given: Mapping[int, Given] = field(default_factory=dict, repr=False)
    _readers: dict[int, Mapping[Key, int]] = field(default_factory=dict, repr=False)

    @property
    def stages(self) -> tuple[StageInfo, ...]:
        return tuple(s.info() for s in self.program)

    @property
    def elements(self) -> int:
        """How many elements tasks go through, about."""
        return sum(math.prod(along.total for along in s.grid) for s in self.program)

    @property
    def waits(self) -> bool:
        """Whether tasks wait for anything but the processor: for files, a device, or chunks that may be spilled."""
        sinks = [o.sink for s in self.program for o in s.outputs]
        files = any(s.files for s in self.program) or any(s is not None and not s.in_memory for s in sinks)
        kept = sum(o.node.nbytes(whole(o.node.shape)) for s in self.program for o in s.outputs if o.sink is None)
        return files or self.budget.device or kept > self.budget.soft

    def tasks(self) -> Iterator[Task]:
        """The tasks that results need, each after those it reads from and as late as possible.

        A result is so used soon after it is made, and what nobody reads of an earlier stage is not computed.
        """
        return in_order(self.program, self._asked())

    def _asked(self) -> list[Stage]:
        """The stages that are computed whole: first those that the plan wants to be, in order, then those with results
        that were asked for, those that nothing depends on first.
        """
        whole = [s for s in self.program if any(is_last(o.node) for o in s.outputs)]
        kept = {key[0] for key in self.kept}
        read = {d for s in self.program for d in s.depends}
        asked = [s for s in self.program if s.number in kept or any(o.sink is not None for o in s.outputs)]
        return whole + sorted(asked, key=lambda s: s.number in read)

    def readers(self, key: Key) -> int:
        """How many tasks of this run read a chunk."""
        stage = key[0]
        if stage not in self._readers:
            self._readers[stage] = self._count(stage)
        counted = self._readers[stage]
        return counted[key] if counted is not _UNCOUNTED else 2**62

    def _count(self, number: int) -> Mapping[Key, int]:
        made = next((s for s in self.program if s.number == number), None)
        reading = [s for s in self.program if number in s.depends or (s.chained and s.number == number)]
        if reading and all(isinstance(o.node, Merge) for s in reading for o in s.outputs):
            return Merged(tuple(o.node for s in reading for o in s.outputs))
        if (made is None or made.tasks == 1) and sum(s.tasks for s in reading) > FEW:
            return _UNCOUNTED
        if made is not None and made.tasks > FEW >= sum(s.tasks for s in reading):
            boxes = count_boxes(number, (s.wanted(k) for s in reading for k in range(s.tasks)))
            if boxes is not None:
                return boxes
        counter: Counter[Key] = Counter()
        for stage in reading:
            remember = stage.tasks <= FEW
            for k in range(stage.tasks):
                inputs = stage.reads(k) if remember else stage.task(k).inputs
                counter.update(key for key in inputs if key[0] == number)
        return counter

    def portable(self) -> PortablePlan:
        """What other processes need to make the tasks."""
        return PortablePlan({s.number: replace(s, _made={}) for s in self.program}, self.stages)


def is_last(node: Node) -> bool:
    """Whether all of a result is computed before any task reads it."""
    return (isinstance(node, Sweep) and node.visit.last) or (isinstance(node, Advanced) and node.last)


_UNCOUNTED: Counter[Key] = Counter()


def build(
    roots: Sequence[Node],
    sinks: Sequence[Any],
    limit: int,
    threads: int,
    policy: Policy,
    reserved: int = 0,
    host: int | None = None,
    elsewhere: Elsewhere | None = None,
    devices: int = 1,
) -> RunPlan:
    """Plan a run that hands every root to its sink, or keeps it where the sink is None.

    `limit` is what the run may hold, `reserved` the part of it that the sinks hold already. Where tasks compute in the
    memory of a device, `limit` is the device's, and `host` that of the host's memory, which the sinks are in. Where
    they compute in other processes (`elsewhere`), both are those of one process.

    Raises MemoryLimitError, with the numbers, where the limit is not enough.
    """
    if reserved > (limit if host is None else host):
        raise MemoryLimitError(
            f"the result takes {format_bytes(reserved)} of memory, more than the limit of {format_bytes(limit)}. "
            "Write it with .to_zarr() or .to_npy() instead of .compute(), or raise host_memory."
        )
    hard = limit - reserved if host is None else limit
    together = threads if elsewhere is None else elsewhere.threads
    device = None if host is None else host - reserved
    budget = Budget(hard, max(1, hard // (together + 2)), threads, device, elsewhere is None, devices)
    optimized = sorts.split(optimize(*roots), budget)
    for caution in range(CAUTION if any(isinstance(n, Sweep) for n in toposort(*optimized)) else 0):
        try:
            return planned(split(optimized, budget, policy, caution), sinks, budget, policy, reserved, elsewhere)
        except MemoryLimitError:
            pass
    return planned(split(optimized, budget, policy, CAUTION), sinks, budget, policy, reserved, elsewhere)


def planned(
    optimized: Sequence[Node],
    sinks: Sequence[Any],
    budget: Budget,
    policy: Policy,
    reserved: int,
    elsewhere: Elsewhere | None,
) -> RunPlan:
    """The stages and tasks of a graph that is to be changed no more."""
    asked: dict[Node, list[Any]] = {}
    for node, sink in zip(optimized, sinks, strict=True):
        asked.setdefault(node, []).append(sink)
    program: list[Stage] = []
    stored: dict[Node, Node] = {}
    given: dict[int, Given] = {}
    if elsewhere is not None:
        for source, there, chunks in elsewhere.given(toposort(*optimized), _numbers, budget.soft):
            stored[source] = there
            given[there.stage] = chunks
    plan_groups, bounds = groups(*optimized)
    read_later = read_by_others(optimized, bounds)
    for group in plan_groups:
        program += make_stages(group.nodes, asked, stored, read_later, budget, policy)
    kept = []
    for node, wanted in asked.items():
        if None in wanted:
            leaf = stored[node]
            assert isinstance(leaf, Stored)
            kept += [(leaf.stage, leaf.output, k) for k in range(count(leaf.chunks))]
    leaves = tuple(stored[n] if s is None else None for n, s in zip(optimized, sinks, strict=True))
    return RunPlan(tuple(program), tuple(kept), reserved, budget, leaves, given)  # type: ignore[arg-type]


def writing_nbytes(outputs: Sequence[Output]) -> int:
    """What a task's sinks allocate for a while: they write one after the other."""
    return max((o.sink.write_nbytes for o in outputs if o.sink is not None), default=0)


def leaving_nbytes(block: Block, outputs: Sequence[Output]) -> int:
    """Host bytes through which a task's writes leave a device, one after the other."""
    leaving = (node.nbytes(r) for (node, r), o in zip(block.wanted, outputs, strict=True) if o.sink is not None)
    return max(leaving, default=0)


def read_by_others(roots: Sequence[Node], among: Set[Node]) -> set[Node]:
    """The nodes that another node of the graph reads."""
    return {i for n in toposort(*roots) for i in n.inputs if i in among}


def make_stages(
    nodes: tuple[Node, ...],
    asked: dict[Node, list[Any]],
    stored: dict[Node, Node],
    read_later: set[Node],
    budget: Budget,
    policy: Policy,
) -> list[Stage]:
    """One stage for results that share a pass over their data; one for each if together they need too much memory."""
    try:
        return [make_stage(nodes, asked, stored, read_later, budget, policy)]
    except MemoryLimitError as error:
        if len(nodes) == 1 or any(isinstance(n, Carried) for n in nodes):
            explain_units(error, nodes, asked)
            raise
    return [make_stage((n,), asked, stored, read_later, budget, policy) for n in nodes]


def explain_units(error: MemoryLimitError, nodes: tuple[Node, ...], asked: Mapping[Node, list[Any]]) -> None:
    """Note on a refusal what else its tasks cannot be cut below."""
    for sink in (sink for node in nodes for sink in asked.get(node, ()) if sink is not None and sink.units is not None):
        lengths = tuple(along.largest for along in sink.units)
        error.add_note(f"A task writes whole chunks of the file, {lengths} elements; to_zarr(chunks=) cuts it smaller.")


def make_stage(
    nodes: tuple[Node, ...],
    asked: dict[Node, list[Any]],
    stored: dict[Node, Node],
    read_later: set[Node],
    budget: Budget,
    policy: Policy,
) -> Stage:
    """One stage: its results with what is below them fused, cut into tasks. Adds them to `stored`."""
    number = next(_numbers)
    fused = fuse(tuple(stored[n] if n in stored else substitute(n, stored) for n in nodes), policy)
    fused, chained = own_results(fused, number)
    outputs: list[Output] = []
    keep: dict[Node, int] = {}
    for node, expr in zip(nodes, fused, strict=True):
        goes = list(asked.get(node, ()))
        if node in read_later and None not in goes:
            goes.append(None)
        for sink in dict.fromkeys(goes):
            if sink is None:
                keep[node] = len(outputs)
            direct = budget.here and not budget.device
            into = direct and goes == [sink] and sink is not None and sink.in_memory
            outputs.append(Output(expr, sink, into))
    units = [o.sink.units for o in outputs if o.sink is not None and o.sink.units is not None]
    hint = units[0] if units else domain(fused[0])[1]
    writing = writing_nbytes(outputs)
    room = budget.hard if budget.host is None else budget.host
    if writing >= room:
        raise MemoryLimitError(
            f"writing a chunk of the result takes {format_bytes(writing)} for copying and encoding, more than the "
            f"{format_bytes(room)} that are left of the memory limit. Write smaller chunks (chunks=), or raise "
            "host_memory."
        )
    if budget.host is None:
        left = replace(budget, hard=budget.hard - writing, soft=max(1, budget.soft - writing))
    else:
        left = replace(budget, host=budget.host - writing, resident=is_resident(fused, outputs, budget))
    grid = tile(fused, hint, units, left)
    for node, k in keep.items():
        expr = outputs[k].node
        stored[node] = Stored(number, k, expr.shape, expr.dtype, expr.parts, result_chunks(expr, grid))
    leaves = toposort(*fused)
    depends = tuple(dict.fromkeys(n.stage for n in leaves if isinstance(n, Stored) and n.stage != number))
    origin = next((n.origin for n in nodes if getattr(n, "origin", "")), "")
    label = " and ".join(dict.fromkeys(n.label for n in fused))
    files = any(isinstance(n, Source) and not n.reader.in_memory for n in leaves)
    return Stage(number, tuple(outputs), grid, depends, label, origin, budget.device, chained, files)


def is_resident(nodes: Sequence[Node], outputs: Sequence[Output], budget: Budget) -> bool:
    """Whether one device has what a stage reads and keeps what it makes, but for a little. (Of several, each has some
    of the chunks, and tasks are cut as these are.)
    """
    sources = [n for n in toposort(*nodes) if isinstance(n, Source)]
    there = all(getattr(n.reader, "on_device", False) for n in sources)
    leaving = [o.node for o in outputs if o.sink is not None]
    read, left = (sum(n.nbytes(whole(n.shape)) for n in nodes) for nodes in (sources, leaving))
    return budget.here and budget.devices == 1 and there and read <= budget.hard // 2 and left <= SLIGHT


def own_results(nodes: tuple[Node, ...], number: int) -> tuple[tuple[Node, ...], bool]:
    """The results of a stage with its number put in where its tasks read those of others; and whether they do."""
    output = next((k for k, n in enumerate(nodes) if isinstance(n, Carried)), None)
    if output is None:
        return nodes, False

    def numbered(node: Node) -> Node | None:
        if not isinstance(node, Stored) or node.stage != OWN:
            return None
        made: Node = Stored(number, output, node.shape, node.dtype, node.parts, node.chunks)
        return made

    return rewrite(numbered, *nodes), True
