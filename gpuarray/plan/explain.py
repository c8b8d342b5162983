"""What a run would do, as data: `explain` plans it, counts it, and runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gpuarray.graph.grid import region_at
from gpuarray.graph.leaves import Const, Index, Source, Stored
from gpuarray.graph.move import Rechunk
from gpuarray.graph.node import Node, elements, toposort
from gpuarray.graph.reduce import Combine, Merge
from gpuarray.graph.select import Select
from gpuarray.graph.slabs import Advanced, Carried, Settled, SlabSweep
from gpuarray.graph.stencil import Part, Sweep
from gpuarray.optimize import trace
from gpuarray.optimize.fuse import Policy
from gpuarray.optimize.stages import kept
from gpuarray.plan import direct
from gpuarray.plan.attempt import Machine, Planned, Then, planned
from gpuarray.plan.build import Stage
from gpuarray.plan.cuts import largest_task
from gpuarray.plan.roofline import Rates
from gpuarray.plan.survey import Survey, Tally, how, output_nbytes, survey

_AHEAD = 2
"""Tasks under way per thread, so that reading and writing overlap with computing (see `cluster.local`)."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One pass over memory."""

    label: str
    operations: int
    """Steps per element; a reduction counts as one."""
    how: Literal["compiled", "interpreted", "library"]


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """Data that the run starts from."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    needed_nbytes: int
    """Bytes of the distinct elements that the run asks for."""
    read_nbytes: int
    """Bytes taken from storage in whole chunks of the file, re-reads included; 0 for arrays in memory."""
    in_memory: bool

    @property
    def amplification(self) -> float:
        """Bytes read over bytes needed; 1 where nothing is read."""
        return self.read_nbytes / self.needed_nbytes if self.read_nbytes and self.needed_nbytes else 1.0


@dataclass(frozen=True, slots=True)
class StageSummary:
    """Tasks that compute the same results over different regions."""

    number: int
    label: str
    origin: str
    """The user's line that asked for it, or an empty text."""
    tasks: int
    grid: tuple[int, ...]
    """Number of tasks along each axis of what the stage goes through."""
    region: tuple[int, ...]
    """Lengths of the largest task's region."""
    kernels: tuple[Kernel, ...]
    inputs: tuple[tuple[int, int], ...]
    """(number of an earlier stage, bytes taken from it with re-reads)."""
    sources: tuple[tuple[int, int], ...]
    """(place in `Explanation.sources`, bytes taken from it with re-reads)."""
    read_nbytes: int
    """Bytes read from files, in whole chunks of the file."""
    array_nbytes: int
    """Bytes used of arrays that are in memory already."""
    kept_nbytes: int
    written_nbytes: int
    """Bytes handed to the user: to a NumPy array or a file."""
    task_inputs_nbytes: int
    """Of the largest task, like the next two: chunks of earlier stages."""
    task_loads_nbytes: int
    task_work_nbytes: int
    """Temporaries and results."""
    operations: float
    seconds: float
    """Estimate."""

    @property
    def depends(self) -> tuple[int, ...]:
        """The stages whose results it reads."""
        return tuple(number for number, _ in self.inputs)

    @property
    def input_nbytes(self) -> int:
        """Bytes of earlier results, re-reads included."""
        return sum(nbytes for _, nbytes in self.inputs)

    @property
    def task_nbytes(self) -> int:
        """Bytes that the largest task needs."""
        return self.task_inputs_nbytes + self.task_loads_nbytes + self.task_work_nbytes


@dataclass(frozen=True, slots=True)
class Peak:
    """The most bytes that a tier of memory is projected to hold, never less than what it will."""

    tier: str
    nbytes: int
    limit: int | None


@dataclass(frozen=True)
class Explanation:
    """A plan, summed up. Prints as a table; nothing was computed to make it.

    >>> import gpuarray as ga
    >>> plan = ga.explain(ga.ones((4000, 4000), chunks=1000).sum())
    >>> len(plan.stages), plan.read_nbytes, plan.refusal
    (2, 0, None)
    """

    results: tuple[tuple[tuple[int, ...], str, int], ...]
    """(shape, dtype, bytes) of each."""
    then: Then
    stages: tuple[StageSummary, ...]
    sources: tuple[SourceSummary, ...]
    refusal: str | None
    """Why this would raise MemoryLimitError. The stages are then planned as if the limit were `planned_limit`."""
    direct: bool
    """Small enough to be worked out at once on whole arrays, without this plan."""
    sampled: bool
    """Bytes and operations are scaled up from a sample of the tasks."""
    memory_limit: int
    planned_limit: int | None
    threads: int
    reserved_nbytes: int
    """Held for the whole run: the results that `compute` returns."""
    peaks: tuple[Peak, ...]
    spill_nbytes: int
    """Estimate of what goes to disk because it does not fit."""
    seconds: float
    """Estimate: the machine's own speed, nothing else running."""
    _roots: tuple[Node, ...] = field(repr=False, compare=False, default=())

    @property
    def tasks(self) -> int:
        """Number of tasks of all stages."""
        return sum(s.tasks for s in self.stages)

    @property
    def read_nbytes(self) -> int:
        """Bytes read from files."""
        return sum(s.read_nbytes for s in self.sources)

    @property
    def needed_nbytes(self) -> int:
        """Bytes of the distinct elements of files that the run needs."""
        return sum(s.needed_nbytes for s in self.sources if not s.in_memory)

    @property
    def read_amplification(self) -> float:
        """Bytes read from files over bytes needed of them: above 1 for whole chunks of the file, and for re-reads."""
        return self.read_nbytes / self.needed_nbytes if self.read_nbytes and self.needed_nbytes else 1.0

    def passes(self) -> Passes:
        """The graph after each pass, as text.

        >>> import gpuarray as ga
        >>> print(ga.ones(3)[:2].explain().passes())  # doctest: +ELLIPSIS
        as written
          view...
        """
        from gpuarray.display.graph import tree

        shown: list[tuple[str, str]] = []
        before: tuple[Node, ...] = ()
        for name, roots in trace(*self._roots):
            shown.append((name, "  no change" if roots == before else tree(roots)))
            before = roots
        shown.append(("what is kept", tree(tuple(kept(*before).results))))
        return Passes(tuple(shown))

    def __str__(self) -> str:
        from gpuarray.display.text import table

        return table(self)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from gpuarray.display.html import table

        return table(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._repr_html_()}


@dataclass(frozen=True, slots=True)
class Passes:
    """The graph after each pass of the optimizer: (name, indented text). Prints."""

    steps: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return "\n\n".join(f"{name}\n{text}" for name, text in self.steps)

    __repr__ = __str__


def explain(roots: Sequence[Node], then: Then, machine: Machine, policy: Policy) -> Explanation:
    """Plan a run and sum it up. Never raises for memory: what does not fit is a `refusal` with the numbers."""
    made = planned(roots, then, machine, policy)
    found = survey(made.plan)
    sources = summarize_sources(found)
    place = {s: k for k, s in enumerate(sources)}
    numbers = {t.stage.number: k for k, t in enumerate(found.tallies, start=1)}
    stages = tuple(summarize(t, numbers, place, machine.rates) for t in found.tallies)
    peaks, spill = project(made, found, machine)
    small = direct.order_if_small(roots, machine.limit) if then == "compute" else None
    return Explanation(
        results=tuple((n.shape, str(n.dtype), output_nbytes(n)) for n in roots),
        then=then,
        stages=stages,
        sources=tuple(sources.values()),
        refusal=made.refusal,
        direct=small is not None,
        sampled=not found.exact,
        memory_limit=machine.limit,
        planned_limit=made.limit,
        threads=machine.threads,
        reserved_nbytes=made.reserved,
        peaks=peaks,
        spill_nbytes=spill,
        seconds=sum(s.seconds for s in stages),
        _roots=tuple(roots),
    )


def summarize_sources(found: Survey) -> dict[Source, SourceSummary]:
    needed = found.needed(found.tallies)
    return {
        source: SourceSummary(
            name=source.label,
            shape=source.shape,
            dtype=str(source.dtype),
            nbytes=elements(source) * source.dtype.itemsize,
            needed_nbytes=nbytes,
            read_nbytes=sum(t.read[source] for t in found.tallies),
            in_memory=source.reader.in_memory,
        )
        for source, nbytes in needed.items()
    }


def summarize(tally: Tally, numbers: dict[int, int], place: dict[Source, int], rates: Rates) -> StageSummary:
    stage = tally.stage
    read = sum(tally.read.values())
    arrays = sum(n for s, n in tally.used.items() if s.reader.in_memory)
    moved = read + arrays + sum(tally.inputs.values()) + tally.kept + tally.written
    taken, loads, work = tally.largest
    return StageSummary(
        number=numbers[stage.number],
        label=stage.label,
        origin=stage.origin,
        tasks=stage.tasks,
        grid=tuple(len(c) for c in stage.grid),
        region=tuple(len(r) for r in region_at(stage.grid, largest_task(stage.grid))),
        kernels=kernels(stage),
        inputs=tuple((numbers[d], tally.inputs[d]) for d in stage.depends if d in numbers),
        sources=tuple((place[s], n if s.reader.in_memory else tally.read[s]) for s, n in tally.used.items()),
        read_nbytes=read,
        array_nbytes=arrays,
        kept_nbytes=tally.kept,
        written_nbytes=tally.written,
        task_inputs_nbytes=taken,
        task_loads_nbytes=loads,
        task_work_nbytes=work,
        operations=float(sum(tally.operations.values())),
        seconds=rates.seconds(read=read, moved=moved, operations=tally.operations, tasks=stage.tasks),
    )


FREE = (Source, Stored, Const, Index, Rechunk, Part, Advanced, Carried, Settled)
"""Nodes that are no pass over memory."""


def kernels(stage: Stage) -> tuple[Kernel, ...]:
    """The passes over memory in one task, in order; views cost nothing and are left out."""
    made = []
    for node in toposort(*(o.node for o in stage.outputs)):
        program = getattr(node, "program", None)
        if program is not None:
            reduces = node.parts is not None
            steps = len(program.steps) + reduces
            made.append(Kernel(node.label, steps, how(program, node.compiled)))  # type: ignore[arg-type, attr-defined]
        elif isinstance(node, Sweep):
            program = node.stencil.program
            made.append(Kernel(node.label, len(program.steps), how(program, bool(node.visit.compiled))))  # type: ignore[arg-type]
        elif isinstance(node, SlabSweep):
            program = node.stencil.program
            made.append(Kernel(node.label, len(program.steps), how(program, node.compiled)))  # type: ignore[arg-type]
        elif not isinstance(node, FREE) and not (isinstance(node, Select) and node.label == "view"):
            label = f"merge of {node.label}" if isinstance(node, (Combine, Merge)) else node.label
            made.append(Kernel(label, 1, "library"))
    return tuple(made)


def project(made: Planned, found: Survey, machine: Machine) -> tuple[tuple[Peak, ...], int]:
    """The most that each tier holds, and the estimate of what is spilled to disk.

    The executor starts tasks ahead of those that compute and lets some overtake. So beside what is held when the tasks
    run in order, every task under way may hold its inputs longer, and every one that ran early its results.
    """
    tallies = found.tallies
    under_way = min(_AHEAD * machine.threads, max((t.stage.tasks for t in tallies), default=0))
    early = under_way + 2 * _AHEAD * machine.threads
    total = sum(t.kept for t in tallies)
    later = under_way * max((t.largest[0] for t in tallies), default=0)
    sooner = early * max((t.largest_kept for t in tallies), default=0)
    held = min(total, found.held + later + sooner)
    task = max((t.largest[2] + (0 if machine.device else t.largest[1]) for t in tallies), default=0)
    reserved, limit = made.reserved, made.limit
    if not machine.device:
        wanted = reserved + held + under_way * task
        spilled = 0 if limit is None else max(0, reserved + found.held + task - limit)
        nbytes = wanted if limit is None else min(limit, wanted)
        return (Peak("host", nbytes, machine.limit), Peak("disk", spilled, None)), spilled
    on_device = held + under_way * task
    leaves = 0 if limit is None else max(0, found.held + task - limit)
    on_host = reserved + leaves + under_way * max((t.largest[1] for t in tallies), default=0)
    spilled = max(0, on_host - machine.host_limit) if machine.host_limit is not None else 0
    return (
        Peak("device", on_device if limit is None else min(limit, on_device), machine.limit),
        Peak("host", on_host - spilled, machine.host_limit),
        Peak("disk", spilled, None),
    ), spilled
