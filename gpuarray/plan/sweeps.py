"""How many steps of a stencil are done per visit of a region, between results that are kept.

More steps per visit spare passes over memory or disk, and repeat work in the margins that neighbouring tasks share.
The choice is made here, where the limit is known, from an estimate of both; the result's bits do not depend on it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from gpuarray.graph.grid import Chunks, count, number_of, region_at, size_of
from gpuarray.graph.leaves import Const, Index, Stored
from gpuarray.graph.node import Node, rewrite
from gpuarray.graph.stencil import Part, Sweep, sweep
from gpuarray.kernels.errors import MemoryLimitError
from gpuarray.kernels.stencils.boxes import boxes
from gpuarray.optimize.fuse import Policy
from gpuarray.plan.tiling import LONG, Budget, tile

OPERATION = 0.05e-9
"""Seconds of a scalar operation in a compiled sweep, about; only ratios matter."""
IN_MEMORY, ON_DISK = 0.15e-9, 1.5e-9
"""Seconds in which a byte of the state is handed from one visit to the next: gathered, and stored once more."""


def split(roots: Sequence[Node], budget: Budget, policy: Policy) -> tuple[Node, ...]:
    """Replace sweeps of many steps by chains of shorter ones, one for each visit."""
    return rewrite(lambda node: visits(node, budget, policy) if isinstance(node, Sweep) else None, *roots)


def visits(node: Sweep, budget: Budget, policy: Policy) -> Node | None:
    """The chain of sweeps that stands for one."""
    compiled = node.compiled
    if compiled is None:
        compiled = policy(node.stencil.program, math.prod(node.shape) * node.steps)
    if node.together or node.steps <= 1:
        together = node.together or node.steps
    else:
        together = steps_together(node, budget)
    number = max(1, -(-node.steps // max(1, together)))
    edges = [k * node.steps // number for k in range(number + 1)]
    outputs = node.stencil.outputs
    sources = node.sources
    held = sources[0].parts is not None  # the state is one input
    state: tuple[Node, ...] = tuple(Part(k, sources[0]) for k in range(outputs)) if held else sources[:outputs]
    coefficients = sources[1:] if held else sources[outputs:]
    for lo, hi in itertools.pairwise(edges):
        marked = hi - lo if number > 1 else 0
        state = sweep(
            node.stencil, node.edges, node.scalars.part(lo, hi), hi - lo, marked, compiled, *state, *coefficients
        )
    last = state[0]
    return last.inputs[0] if isinstance(last, Part) else last


def steps_together(node: Sweep, budget: Budget) -> int:
    """The number of steps per visit that is estimated to take the least time."""
    found = {k: seconds for k in candidates(node.steps) if (seconds := seconds_per_step(node, k, budget)) is not None}
    return min(found, key=lambda k: (found[k], k), default=1)


def candidates(steps: int) -> Iterator[int]:
    """1, 2, 3, 4, 6, 8, 12, 16 ... and `steps` itself."""
    k = 1
    while k < steps:
        yield k
        if k > 1 and k * 3 // 2 < steps and k % 2 == 0:
            yield k * 3 // 2
        k *= 2
    yield steps


def seconds_per_step(node: Sweep, steps: int, budget: Budget) -> float | None:
    """About how long one step takes when so many are done per visit; None where that does not fit, or takes too long
    for one task.
    """
    trial = alone(node, steps)
    try:
        grid = tile([trial], trial.chunks, (), budget)
    except MemoryLimitError:
        return None
    cells = math.prod(node.shape)
    middle = region_at(grid, number_of(grid, [len(c) // 2 for c in grid]))
    if size_of(middle) * steps > LONG and steps > 1:
        return None
    work = redundancy(trial, grid) * cells * node.stencil.program.cost * OPERATION
    state = cells * sum(d.itemsize for d in trial.fields)
    rate = IN_MEMORY if 3 * state <= budget.hard else ON_DISK
    handed = 0.0 if steps == node.steps else state * rate
    return work + handed / steps


def redundancy(node: Sweep, grid: Chunks) -> float:
    """Updates of points that the tasks of a grid do for each one that is needed."""
    out = region_at(grid, number_of(grid, [len(c) // 2 for c in grid]))
    levels = boxes(node.stencil, node.edges, node.shape, out, node.steps)[1:]
    return sum(map(size_of, levels)) / max(1, size_of(out) * node.steps) if count(grid) > 1 else 1.0


def alone(node: Sweep, steps: int) -> Sweep:
    """A sweep of so many steps over results of earlier stages."""
    leaves: dict[Node, Node] = {}
    for i in node.inputs:
        if i not in leaves:
            plain = isinstance(i, (Const, Index))
            leaves[i] = i if plain else Stored(-1 - len(leaves), 0, i.shape, i.dtype, i.parts, i.chunks)
    made: Sweep = Sweep(
        node.stencil, node.edges, node.scalars, steps, 0, node.compiled, *(leaves[i] for i in node.inputs)
    )
    return made
