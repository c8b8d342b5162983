"""How many steps of a stencil are done per visit of a region, between results that are kept.

More steps per visit spare passes over memory or disk, and repeat work in the margins that neighbouring tasks share.
The choice is made here, where the limit is known, from an estimate of both; the result's bits do not depend on it.

Two ways are weighed. *Overlapping* tasks do many steps each, and margins grow with the steps. *Slabs* are for a state
that does not fit in memory: visits of a few steps follow each other through the slabs like a wave, each handing its
slab to the next in memory, while the state goes to disk and back once for many visits. A slab carries to the next one
its last rows before a visit, of which the steps compute margins twice; or a few rows of every step, and nothing is
computed twice: which pays where a point takes long to compute, or a visit has many steps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gpuarray.graph.grid import Lengths, Region, count, one_chunk, region_at, size_of, whole
from gpuarray.graph.leaves import Const, Index, Source, Stored
from gpuarray.graph.node import Node, rewrite
from gpuarray.graph.slabs import Settled, slab_sweep
from gpuarray.graph.stencil import Part, Sweep, Visit, together, visited
from gpuarray.kernels.errors import MemoryLimitError
from gpuarray.kernels.stencils.course import Course, is_periodic, span
from gpuarray.kernels.stencils.program import StencilProgram
from gpuarray.kernels.stencils.scratch import in_slabs, redundancy
from gpuarray.optimize.fuse import Policy
from gpuarray.plan.block import expand, needs
from gpuarray.plan.cuts import middle_task
from gpuarray.plan.tiling import FEWER, Budget, tile

CARRIED = 0.4e-9
"""Seconds in which a byte of a row of some step is carried from one slab to the next."""
SMALL = 2**20
"""Elements of a state that is not cut for the sake of more tasks."""
AGAIN = 20
"""Times that a stencil is expected to be used on as many points."""
MOST_STEPS = (2**62, 2**62, 16, 4, 1)
"""Steps per visit of overlapping tasks, by how careful the plan must be."""
CAUTION = len(MOST_STEPS) - 1


@dataclass(frozen=True)
class Costs:
    """About how long things take where tasks compute; only ratios matter."""

    operation: float
    """Seconds of a scalar operation in a compiled sweep."""
    in_memory: float
    """Seconds in which a byte of the state is handed from one visit to the next: gathered, and stored once more."""
    beyond: float
    """The same where the state does not fit: on disk, or, for a device, in the host's memory."""
    task: float
    """Seconds that a task takes besides, in Python, one thread at a time: its tiles, and handing it out."""
    longest: int
    """Updates of points by one task: less than a second."""


PROCESSOR = Costs(0.07e-9, 0.3e-9, 4e-9, 4e-3, 2**30)
DEVICE = Costs(0.4e-12, 1e-12, 0.04e-9, 1e-3, 2**36)
"""Of a large GPU: operations are those of all of it, of which one task at a time has the use."""


def costs(budget: Budget) -> Costs:
    return DEVICE if budget.device else PROCESSOR


def at_once(budget: Budget) -> int:
    """Tasks that compute at once without taking longer for it."""
    return budget.devices if budget.device else budget.threads


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
    group: int = 0
    """Steps of a visit that are done at once where slabs follow each other; 0: all."""


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
    state = parts_of(node, sources[:held])
    done = 0
    while way.visits > 1 and done < number - 1:
        some = edges[done : min(done + way.visits, number - 1) + 1]
        state = through_slabs(node, state, some, way, compiled)
        done += len(some) - 1
    for k, (lo, hi) in enumerate(itertools.pairwise(edges[done:]), done + 1):
        visit = Visit(hi - lo if number > 1 else 0, compiled)
        if way.rows and k < number:
            visit = replace(visit, cut=Lengths.regular(node.shape[0], way.rows), last=True)
        scalars = node.scalars.part(lo, hi)
        state = visited(node.stencil, node.edges, scalars, hi - lo, visit, *state, *sources[held:])
    last = state[0]
    return last.inputs[0] if isinstance(last, Part) else last


def worth_compiling(stencil: StencilProgram, points: int, policy: Policy) -> bool:
    """Whether so many points are: a stencil is written to be used again, and its kernel stays on disk."""
    return policy(stencil.program, points * AGAIN)


def parts_of(node: Sweep, state: Sequence[Node]) -> tuple[Node, ...]:
    """The fields of a state, that may be one node."""
    outputs = node.stencil.outputs
    return tuple(Part(k, state[0]) for k in range(outputs)) if len(state) < outputs else tuple(state)


def through_slabs(
    node: Sweep, state: tuple[Node, ...], edges: Sequence[int], way: Way, compiled: bool
) -> tuple[Node, ...]:
    """The state after visits that follow each other through slabs in memory, and end after so many steps."""
    course = course_of(node, way.rows, edges[-1] - edges[0])
    held: tuple[Node, ...] = together(state)
    link: Node | None = None
    for lo, hi in itertools.pairwise(edges):
        advanced, link = slab_sweep(
            node.stencil,
            node.edges,
            node.scalars.part(lo, hi),
            course,
            lo - edges[0],
            hi - lo,
            way.group or hi - lo,
            compiled,
            hi == edges[-1],
            held,
            node.sources[node.held :],
            link,
        )
        held = (advanced,)
    assert link is not None
    settled: Node = Settled(course.low(course.levels) % course.n, *held, *held, link)
    return parts_of(node, (settled,))


def course_of(node: Sweep, rows: int, levels: int) -> Course:
    back, ahead = span(node.stencil, node.edges, 0, node.shape[0])
    return Course(node.shape[0], rows, back, ahead, is_periodic(node.stencil, node.edges, 0), levels)


def way_for(node: Sweep, budget: Budget, caution: int) -> Way:
    """The way that is estimated to take the least time, of those with the steps per visit that the user wants."""
    asked = node.visit.together
    if node.steps <= 1:
        return Way(0.0, node.steps)
    fine = 1 if budget.device else 2
    choices = [asked] if asked else [k for k in candidates(node.steps, fine) if k <= MOST_STEPS[caution]]
    if math.prod(node.shape) <= SMALL:  # one task, as a rule: then more steps cost nothing
        return next(as_tiled(node, budget, choices[::-1]), Way(0.0, asked or 1))
    ways = list(as_tiled(node, budget, choices))
    ways += [way for way in in_rows(node, budget, choices) if way.visits <= 1 or not caution]
    return min(ways, key=lambda way: (way.seconds, way.steps), default=Way(0.0, asked or 1))


def candidates(steps: int, fine: int = 2) -> Iterator[int]:
    """1, 2, 3, 4, 6, 8, 12, 16 ... and `steps` itself; where they need not be so fine, the powers of two."""
    k = 1
    while k < steps:
        yield k
        if fine > 1 and k > 1 and k * 3 // 2 < steps and k % 2 == 0:
            yield k * 3 // 2
        k *= 2
    yield steps


# What a step costs.


def computing(node: Sweep, budget: Budget) -> float:
    """Seconds of a step without margins."""
    return math.prod(node.shape) * node.stencil.program.cost * costs(budget).operation


def state_nbytes(node: Sweep) -> int:
    return math.prod(node.shape) * sum(d.itemsize for d in node.fields)


def fits(node: Sweep, budget: Budget) -> bool:
    """Whether the states before and after a visit stay in memory, beside what tasks need."""
    return 3 * state_nbytes(node) <= budget.hard


def updates(node: Sweep, out: Region) -> float:
    """Updates of points that a task does for each one that is needed."""
    return redundancy(node.stencil, node.edges, node.shape, out, node.steps)


def reading(node: Sweep, budget: Budget, steps: int, out: Region) -> float:
    """Seconds in which the first visit reads its files, if all its tasks read as much as one."""
    first = shortened(node, steps, node.inputs)
    read = 0
    for source, region in expand(((first, out),)).sources():
        assert isinstance(source, Source)
        if not source.reader.in_memory:
            read += source.reader.disk_nbytes(region)
    return read * math.prod(node.shape) / max(1, size_of(out)) * PROCESSOR.beyond / 2


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
    alone_there = budget.device and budget.here and budget.devices == 1
    budget = replace(budget, resident=alone_there and fits(node, budget))
    for steps in choices:
        trial = alone(node, steps) if steps < node.steps else shortened(node, steps, node.inputs)
        try:
            grid = tile([trial], trial.chunks, (), budget)
        except MemoryLimitError:
            continue
        out = region_at(grid, middle_task(grid))
        if size_of(out) * steps > costs(budget).longest and steps > 1:
            continue
        again = updates(trial, out)
        yield Way(seconds(node, budget, steps, out, again, count(grid), steps), steps)


def in_rows(node: Sweep, budget: Budget, choices: Sequence[int]) -> Iterator[Way]:
    """Tasks that are slabs of rows: overlapping, and following each other in memory."""
    n = node.shape[0]
    row = state_nbytes(node) // max(1, n)
    course = course_of(node, 1, 0)
    waves, overlapping = not fits(node, budget) and one_way_round(node), 0 not in node.split
    for steps in (k for k in choices if k < node.steps):
        width = steps * course.width
        least = max(width, SMALL // 4 // max(1, math.prod(node.shape[1:])), 1)
        even = {-(-n // (budget.threads * k)) for k in (1, FEWER)}
        for rows in sorted({*even, *(least << k for k in range((n // least).bit_length()))}):
            if not least <= rows < n:
                continue
            middle = (n - rows) // 2
            out = (range(middle, middle + rows), *whole(node.shape[1:]))
            if size_of(out) * steps > costs(budget).longest:
                break
            trial = alone(node, steps, rows)
            need = needs(expand(((trial, out),)), device=budget.device)
            again, tasks = updates(trial, out), -(-n // rows)
            if overlapping and budget.threads * (need.total + rows * row) <= 0.9 * budget.hard:
                yield Way(seconds(node, budget, steps, out, again, tasks, steps), steps, rows, 1)
            if waves and (not course.periodic or rows + width < n):
                # what slabs carry comes in and goes out; along a periodic axis there are the first rows besides
                carried = width * row * (1 + course.periodic)
                held = (budget.threads + 1) * (need.own + 2 * rows * row + carried) + 2 * rows * row
                visits = min(int((0.8 * budget.hard - held) // max(1, carried)), -(-node.steps // steps))
                if visits >= 2:
                    for group in (1, 0) if has_kernel(node, budget) else (0,):
                        work = carrying(node, budget, course, steps, rows, again) if group else again
                        time = seconds(node, budget, steps, out, work, tasks, visits * steps)
                        yield Way(time, steps, rows, visits, group)


def one_way_round(node: Sweep) -> bool:
    """Whether the first axis is periodic for all fields that are read along it, or for none."""
    reading = [f for f in range(node.stencil.fields) if any(node.stencil.radius(f, 0))]
    return len({node.edges[f][0][0].mode == "periodic" for f in reading}) < 2


def has_kernel(node: Sweep, budget: Budget) -> bool:
    """Whether slabs can be computed so that they carry rows of every step."""
    return not budget.device and in_slabs(node.stencil, node.edges)


def carrying(node: Sweep, budget: Budget, course: Course, steps: int, rows: int, again: float) -> float:
    """`updates` for slabs that carry rows of every step, where those of slabs that overlap are `again`: what carrying
    takes, for what is computed twice.
    """
    margins = sum(rows + t * course.width for t in range(steps)) / (steps * rows)
    state = sum(d.itemsize for d in node.fields)
    point = node.stencil.program.cost * costs(budget).operation
    return again / margins + state * CARRIED * course.width / rows / point


def seconds(node: Sweep, budget: Budget, steps: int, out: Region, again: float, tasks: int, between: int) -> float:
    """About how long one step takes: computing, with `again` for the margins and threads that have nothing to do, and
    handing the state on after every visit, and to disk after every `between` steps where it does not fit. A device
    copies beside its work.
    """
    cost, together = costs(budget), at_once(budget)
    busy = tasks / (-(-tasks // together) * together)
    state = state_nbytes(node)
    spent = again / busy * computing(node, budget) / together + tasks * cost.task / steps
    if steps < node.steps:
        spent += state * cost.in_memory / steps
    if not fits(node, budget) and budget.device:
        spent = max(spent, state * cost.beyond / min(between, node.steps))
    elif not fits(node, budget) and between < node.steps:
        spent += state * cost.beyond / between
    return spent + reading(node, budget, steps, out) / node.steps
