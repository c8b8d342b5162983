"""How many steps of a stencil are done per visit of a region, between results that are kept.

More steps per visit spare passes over memory or disk, and repeat work in the margins that neighbouring tasks share.
The choice is made here, where the limit is known, from an estimate of both; the result's bits do not depend on it.

Two ways are weighed. *Overlapping* tasks do many steps each, and margins grow with the steps. *Slabs* are for a state
that does not fit in memory: visits of a few steps follow each other through the slabs like a wave, each handing its
slab to the next in memory, so that margins stay thin while the state goes to disk and back once for many visits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gpuarray.graph.grid import Lengths, Region, count, one_chunk, region_at, size_of, whole
from gpuarray.graph.leaves import Const, Index, Source, Stored
from gpuarray.graph.node import Node, rewrite
from gpuarray.graph.stencil import Part, Sweep, Visit, visited
from gpuarray.graph.tails import Seam
from gpuarray.kernels.errors import MemoryLimitError
from gpuarray.kernels.stencils.program import StencilProgram
from gpuarray.kernels.stencils.scratch import redundancy
from gpuarray.optimize.fuse import Policy
from gpuarray.plan.block import expand, needs
from gpuarray.plan.cuts import middle_task
from gpuarray.plan.tiling import FEWER, Budget, tile

OPERATION = 0.07e-9
"""Seconds of a scalar operation in a compiled sweep, about; only ratios matter."""
IN_MEMORY, ON_DISK = 0.3e-9, 4e-9
"""Seconds in which a byte of the state is handed from one visit to the next: gathered, and stored once more."""
LONGEST = 2**30
"""Updates of points by one task: half a second."""
SMALL = 2**20
"""Elements of a state that is not cut for the sake of more tasks."""
AGAIN = 20
"""Times that a stencil is expected to be used on as many points."""
MOST_STEPS = (2**62, 2**62, 16, 4, 1)
"""Steps per visit of overlapping tasks, by how careful the plan must be."""
CAUTION = len(MOST_STEPS) - 1


@dataclass(frozen=True)
class Way:
    """How to go through many steps."""

    seconds: float
    """About how long one step takes."""
    steps: int
    """Of a visit."""
    rows: int = 0
    """Of a slab; 0 where tasks are cut as those of any other stage."""
    visits: int = 0
    """Of slabs, that follow each other in memory; 1 where slabs overlap and each visit is finished before the next."""


def split(roots: Sequence[Node], budget: Budget, policy: Policy, caution: int = 0) -> tuple[Node, ...]:
    """Replace sweeps of many steps by chains of shorter ones, one for each visit.

    What reads the result may need memory too, which is seen only when all is planned; the more `caution`, up to
    `CAUTION`, the less is asked for.
    """
    return rewrite(lambda node: chain(node, budget, policy, caution) if isinstance(node, Sweep) else None, *roots)


def chain(node: Sweep, budget: Budget, policy: Policy, caution: int) -> Node:
    """The chain of sweeps that stands for one."""
    compiled = node.visit.compiled
    if compiled is None:
        compiled = worth_compiling(node.stencil, math.prod(node.shape) * node.steps, policy)
    way = way_for(node, budget, caution)
    number = max(1, -(-node.steps // max(1, way.steps)))
    edges = [k * node.steps // number for k in range(number + 1)]
    sources, held = node.sources, node.held
    single = sources[0].parts is not None  # the state is one input
    state = tuple(Part(k, sources[0]) for k in range(node.stencil.outputs)) if single else sources[:held]
    seam: Seam | None = None
    for k, (lo, hi) in enumerate(itertools.pairwise(edges)):
        visit = Visit(hi - lo if number > 1 else 0, compiled)
        if way.rows:
            visit, seam = slab_visit(node, visit, way, k, number, seam)
        scalars = node.scalars.part(lo, hi)
        state = visited(node.stencil, node.edges, scalars, hi - lo, visit, *state, *sources[held:])
    last = state[0]
    return last.inputs[0] if isinstance(last, Part) else last


def worth_compiling(stencil: StencilProgram, points: int, policy: Policy) -> bool:
    """Whether so many points are: a stencil is written to be used again, and its kernel stays on disk."""
    return policy(stencil.program, points * AGAIN)


def slab_visit(
    node: Sweep, visit: Visit, way: Way, k: int, number: int, seam: Seam | None
) -> tuple[Visit, Seam | None]:
    """Visit `k` of `number` through slabs, and the seam that the next one finds.

    The first of those that follow each other in memory reads what is kept whole; the last of all is cut as its result
    is wanted.
    """
    place = k % way.visits
    final = k == number - 1
    below, above = reach(node)
    shift = -(-node.steps // number) * above
    n = node.shape[0]
    slabs = -(-(n + (way.visits - 1) * shift) // way.rows)
    cut = Lengths.between(min(max(j * way.rows - place * shift, 0), n) for j in range(slabs + 1))
    ends = place == way.visits - 1
    made = replace(
        visit, cut=None if final else cut, seam=None if final or not place else seam, last=ends and not final
    )
    width = -(-node.steps // number) * (below + above)
    return made, None if ends or final else Seam(cut, width)


def reach(node: Sweep) -> tuple[int, int]:
    """How far a step reads below and above along the first axis, of any field."""
    radii = [node.stencil.radius(f, 0) for f in range(node.stencil.fields)]
    return max(r[0] for r in radii), max(r[1] for r in radii)


def way_for(node: Sweep, budget: Budget, caution: int) -> Way:
    """The way that is estimated to take the least time, of those with the steps per visit that the user wants."""
    asked = node.visit.together
    if node.steps <= 1:
        return Way(0.0, node.steps)
    choices = [asked] if asked else [k for k in candidates(node.steps) if k <= MOST_STEPS[caution]]
    if math.prod(node.shape) <= SMALL:  # one task, as a rule: then more steps cost nothing
        return next(as_tiled(node, budget, choices[::-1]), Way(0.0, asked or 1))
    ways = list(as_tiled(node, budget, choices))
    if 0 not in node.split:
        ways += [way for way in in_rows(node, budget, choices) if way.visits <= 1 or not caution]
    return min(ways, key=lambda way: (way.seconds, way.steps), default=Way(0.0, asked or 1))


def candidates(steps: int) -> Iterator[int]:
    """1, 2, 3, 4, 6, 8, 12, 16 ... and `steps` itself."""
    k = 1
    while k < steps:
        yield k
        if k > 1 and k * 3 // 2 < steps and k % 2 == 0:
            yield k * 3 // 2
        k *= 2
    yield steps


# What a step costs.


def computing(node: Sweep) -> float:
    """Seconds of a step without margins."""
    return math.prod(node.shape) * node.stencil.program.cost * OPERATION


def state_nbytes(node: Sweep) -> int:
    return math.prod(node.shape) * sum(d.itemsize for d in node.fields)


def fits(node: Sweep, budget: Budget) -> bool:
    """Whether the states before and after a visit stay in memory, beside what tasks need."""
    return 3 * state_nbytes(node) <= budget.hard


def updates(node: Sweep, out: Region) -> float:
    """Updates of points that a task does for each one that is needed."""
    return redundancy(node.stencil, node.edges, node.shape, out, node.steps)


def reading(node: Sweep, steps: int, out: Region) -> float:
    """Seconds in which the first visit reads its files, if all its tasks read as much as one."""
    first = shortened(node, steps, node.inputs)
    read = 0
    for source, region in expand(((first, out),)).sources():
        assert isinstance(source, Source)
        if not source.reader.in_memory:
            read += source.reader.disk_nbytes(region)
    return read * math.prod(node.shape) / max(1, size_of(out)) * ON_DISK / 2


def shortened(node: Sweep, steps: int, inputs: Sequence[Node]) -> Sweep:
    """So many of its steps, on these inputs."""
    made: Sweep = Sweep(node.stencil, node.edges, node.scalars, steps, Visit(0, node.visit.compiled), *inputs)
    return made


def alone(node: Sweep, steps: int, rows: int = 0) -> Sweep:
    """A sweep of so many steps over results of earlier stages, the state cut into slabs of so many rows."""
    leaves: dict[Node, Node] = {}
    slabs = (Lengths.regular(node.shape[0], rows), *one_chunk(node.shape[1:])) if rows else None
    every = 2 ** len(node.split)
    for k, i in enumerate(node.inputs):
        if i not in leaves:
            cut = slabs if slabs and k < node.held * every else i.chunks
            plain = isinstance(i, (Const, Index))
            leaves[i] = i if plain else Stored(-1 - len(leaves), 0, i.shape, i.dtype, i.parts, cut)
    return shortened(node, steps, [leaves[i] for i in node.inputs])


# The ways.


def as_tiled(node: Sweep, budget: Budget, choices: Sequence[int]) -> Iterator[Way]:
    """Tasks that overlap, cut as those of any other stage."""
    for steps in choices:
        trial = alone(node, steps) if steps < node.steps else shortened(node, steps, node.inputs)
        try:
            grid = tile([trial], trial.chunks, (), budget)
        except MemoryLimitError:
            continue
        out = region_at(grid, middle_task(grid))
        if size_of(out) * steps > LONGEST and steps > 1:
            continue
        again = updates(trial, out)
        yield Way(seconds(node, budget, steps, out, again, count(grid), steps), steps)


def in_rows(node: Sweep, budget: Budget, choices: Sequence[int]) -> Iterator[Way]:
    """Tasks that are slabs of rows: overlapping, and following each other in memory."""
    n = node.shape[0]
    row = state_nbytes(node) // max(1, n)
    below, above = reach(node)
    for steps in (k for k in choices if k < node.steps):
        width = steps * (below + above)
        least = max(width, SMALL // 4 // max(1, math.prod(node.shape[1:])), 1)
        even = {-(-n // (budget.threads * k)) for k in (1, FEWER)}
        for rows in sorted({*even, *(least << k for k in range((n // least).bit_length()))}):
            if not least <= rows < n:
                continue
            middle = (n - rows) // 2
            out = (range(middle, middle + rows), *whole(node.shape[1:]))
            if size_of(out) * steps > LONGEST:
                break
            trial = alone(node, steps, rows)
            need = needs(expand(((trial, out),)), device=budget.device)
            again, tasks = updates(trial, out), -(-n // rows)
            if budget.threads * (need.total + rows * row) <= 0.9 * budget.hard:
                yield Way(seconds(node, budget, steps, out, again, tasks, steps), steps, rows, 1)
            if not fits(node, budget):
                held = (budget.threads + 1) * (need.own + 2 * rows * row) + 2 * rows * row
                visits = min(int((0.8 * budget.hard - held) // max(1, width * row)), -(-node.steps // steps))
                if visits >= 2:
                    time = seconds(node, budget, steps, out, again, tasks, visits * steps)
                    yield Way(time, steps, rows, visits)


def seconds(node: Sweep, budget: Budget, steps: int, out: Region, again: float, tasks: int, between: int) -> float:
    """About how long one step takes: computing, with `again` for the margins and threads that have nothing to do, and
    handing the state on after every visit, and to disk after every `between` steps where it does not fit.
    """
    busy = tasks / (-(-tasks // budget.threads) * budget.threads)
    state = state_nbytes(node)
    spent = again / busy * computing(node) / budget.threads
    if steps < node.steps:
        spent += state * IN_MEMORY / steps
    if between < node.steps and not fits(node, budget):
        spent += state * ON_DISK / between
    return spent + reading(node, steps, out) / node.steps
