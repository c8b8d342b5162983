"""How a sweep is cut: how many steps a visit of memory takes, and into which tiles."""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gpuarray.kernels.stencils.boxes import Box

_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
_COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 4096, 16384)

# Nanoseconds on one core, measured; only what they are to each other matters.
_IN_PLACE = 0.08
"""To move a byte from or to memory while computing in place."""
_COPY = 0.16
"""To copy a byte from memory to a ring."""
_RESULT = 0.1
"""To move a byte of the result to memory."""
_STORE = 0.012
"""To write a byte of a level."""
_TAP = 0.005
"""To read a byte of a tap in the L2 cache."""
_WORK = 0.015
"""An addition of a program, in vectors."""
_ROW = 40.0
"""To begin a row."""
_TILE = 2e4
"""To begin a tile."""

_LONGEST = 1 << 24
"""Elements of a row that are computed in one call: then Ctrl-C is noticed."""


@dataclass(frozen=True)
class Costs:
    """What choosing depends on; axes are those of the fields, the first one is walked along."""

    lengths: tuple[int, ...]
    reach: tuple[int, ...]
    """By axis: how far a point reads below and above itself, together."""
    round: tuple[bool, ...]
    """By axis: whether a tile of the whole axis must still compute images."""
    state: int
    """Bytes of one point of the state."""
    others: int
    """Bytes of one point of the coefficients that are read."""
    taps: int
    """Bytes that a point reads."""
    work: float
    """`Program.cost`."""


@dataclass(frozen=True)
class Plan:
    """How many steps a visit does at most, the tile's lengths along all axes but the first, planes at a time."""

    steps: int
    tile: tuple[int, ...]
    planes: int
    updates: float
    """Points computed for each that is asked for."""


@functools.cache
def cache_nbytes() -> int:
    """The L2 cache of a core."""
    try:
        return max(os.sysconf("SC_LEVEL2_CACHE_SIZE"), 256 << 10)
    except (AttributeError, ValueError, OSError):
        return 1 << 20


@functools.lru_cache(512)
def choose(costs: Costs, steps: int, budget: int, line: int) -> Plan:
    """The plan that takes least time, with rings of at most so many bytes; rows are cut at multiples of `line`."""
    best, fastest = None, math.inf
    for k in (s for s in _STEPS if s <= steps):
        visits = -(-steps // k)
        each = -(-steps // visits)
        for tile, planes in _tiles(costs, each, budget, line):
            updates, seconds = _time(costs, each, tile)
            if seconds < fastest:
                best, fastest = Plan(each, tile, planes, updates), seconds
    assert best is not None
    return best


def _planes(costs: Costs, tile: Sequence[int]) -> int:
    return 4 if len(costs.lengths) == 2 and costs.reach[0] else 1


def ring_nbytes(costs: Costs, steps: int, tile: Sequence[int], planes: int) -> int:
    """About what the rings of a tile take."""
    cells = math.prod(n + steps * r for n, r in zip(tile, costs.reach[1:], strict=True))
    depth = min(costs.reach[0] + planes, costs.lengths[0] + steps * costs.reach[0])
    held = steps if costs.reach[0] else min(steps, 2)
    return cells * (costs.state * held * depth + costs.others * (steps * costs.reach[0] + depth))


def _tiles(costs: Costs, steps: int, budget: int, line: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """Tiles that fit, each as long along its second axis as it can be; the smallest one, if none does."""
    lengths = costs.lengths[1:]
    counts = _COUNTS[:: max(1, 3 * len(lengths) - 5)]  # the more axes, the fewer ways to cut each
    choices = [sorted({-(-n // c) for c in counts if c <= max(n, 1)}, reverse=True) for n in lengths]
    choices[-1] = sorted({min(-(-n // line) * line, lengths[-1]) for n in choices[-1]}, reverse=True)
    if steps == 1 and not costs.reach[0]:  # read in place, and no plane twice
        yield (*lengths[:-1], min(lengths[-1], _LONGEST)), 1
        return
    found = False
    for rest in itertools.product(*choices[1:]):
        for first in choices[0]:
            tile = (first, *rest)
            planes = _planes(costs, tile)
            if ring_nbytes(costs, steps, tile, planes) <= budget:
                found = True
                yield tile, planes
                break
    if not found and steps == 1:
        tile = tuple(c[-1] for c in choices)
        yield tile, 1


def _time(costs: Costs, steps: int, tile: Sequence[int]) -> tuple[float, float]:
    """Points computed for each that is asked for, and nanoseconds for each step of each."""
    lengths = (costs.lengths[0], *tile)
    whole = (True, *(t == n for t, n in zip(tile, costs.lengths[1:], strict=True)))
    grows = [0 if w and not r else g for w, r, g in zip(whole, costs.round, costs.reach, strict=True)]

    def points(behind: int) -> float:
        return math.prod(1 + behind * g / max(n, 1) for n, g in zip(lengths, grows, strict=True))

    updates = sum(points(t) for t in range(steps)) / steps
    row = lengths[-1] + steps * grows[-1] / 2
    update = _STORE * costs.state + _TAP * costs.taps + _WORK * costs.work + _ROW / row
    tiles = _TILE / max(math.prod(lengths) * steps, 1)
    if steps == 1:
        return updates, max(update, _IN_PLACE * (2 * costs.state + costs.others)) + update / 4 + tiles
    memory = _COPY * points(steps) * (costs.state + costs.others) + _RESULT * costs.state
    return updates, updates * update + memory / steps + tiles


def cut(box: Box, tile: Sequence[int]) -> Iterator[Box]:
    """Cut a box into tiles of these lengths along all axes but the first; the last ones are shorter."""
    along = [[box[0]]]
    along += [[r[k : k + n] for k in range(0, len(r), max(n, 1))] for r, n in zip(box[1:], tile, strict=True)]
    return itertools.product(*along)
