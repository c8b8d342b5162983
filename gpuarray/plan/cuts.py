"""How axes are cut: coarser, finer, in shares; and which chunks of a grid tell what all are like."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from gpuarray.graph.grid import Chunks, Lengths, number_of


def common(along: Sequence[Lengths]) -> Lengths:
    """The cuts that all of several cuttings of an axis have."""
    result = along[0]
    for other in along[1:]:
        if result.step and other.step:
            step = math.lcm(result.step, other.step)
            small, large = sorted((result.step, other.step))
            whole = small >= result.total or large >= result.total
            result = Lengths.regular(result.total, max(result.total, 1) if whole and large % small else step)
        else:
            shared = np.intersect1d(result.edges(), other.edges())
            result = Lengths.between(int(e) for e in shared)
    return result


def halves(lengths: Lengths) -> Lengths:
    """Every chunk longer than half of the longest cut in two."""
    if lengths.step:
        return Lengths.regular(lengths.total, -(-lengths.largest // 2))
    longest = lengths.largest
    cut = [0]
    for lo, hi in pairwise(lengths.edges()):
        if 2 * (hi - lo) > longest:
            cut.append(lo + -(-(hi - lo) // 2))
        cut.append(hi)
    return Lengths.between(cut)


def merged_axis(lengths: Lengths, together: int) -> Lengths:
    if lengths.step:
        return Lengths.regular(lengths.total, lengths.step * together)
    edges = lengths.edges()
    return Lengths.between([*edges[:-1:together], edges[-1]])


def in_shares(lengths: Lengths, threads: int, most: int) -> Lengths:
    """Chunks put together, each to half of a thread's part of what is left, and `most` at most.

    Guided self-scheduling: Polychronopoulos and Kuck, IEEE Transactions on Computers C-36 (1987).

    >>> list(in_shares(Lengths.regular(16, 1), 2, 100).edges())
    [0, 4, 7, 10, 12, 13, 14, 15, 16]
    """
    at, total = [0], len(lengths)
    while at[-1] < total:
        at.append(at[-1] + min(max(1, most), -(-(total - at[-1]) // (2 * threads))))
    edges = lengths.edges()
    return Lengths.between(edges[k] for k in at)


def largest_task(grid: Chunks) -> int:
    """The number of a task whose chunk is the longest along every axis."""
    number = 0
    for lengths in grid:
        k = 0 if lengths.step else int(np.argmax(np.diff(lengths.edges())))
        number = number * len(lengths) + k
    return number


def middle_task(grid: Chunks) -> int:
    """The number of a task inside, where a stencil reads more than at the edges."""
    return number_of(grid, [len(c) // 2 for c in grid])


def all_kinds(grid: Chunks) -> list[int]:
    """Tasks at the ends of a grid and inside, and the longest."""
    along = [sorted({0, len(c) // 2, len(c) - 1}) for c in grid]
    return [largest_task(grid), *(number_of(grid, index) for index in itertools.product(*along))]
