"""Cells: the pieces of a reduced axis that have a state each.

What is a cell depends on the chunks alone, never on memory or workers, and so does the order of every addition.
"""

from __future__ import annotations

import math
from itertools import pairwise

from gpuarray.graph.grid import Chunks, Lengths

CELL = 2**18
"""Elements along the reduced axes at which a chunk is split: few enough that a task can be small, too."""
SMALL_CELL = 2**16
"""Elements up to which small chunks are put together: enough that a state is nothing beside its cell."""
TRIES = 1000
"""Lengths of cells that are tried for one that divides a chunk."""


def cells(chunks: Chunks, axes: tuple[int, ...]) -> tuple[Lengths | None, ...]:
    """Cell boundaries along the reduced axes; small chunks are put together, large ones split."""
    in_chunk = math.prod(c.largest for c in chunks)
    budget = CELL
    cut: list[Lengths | None] = [None] * len(chunks)
    room = max(1, SMALL_CELL // max(1, in_chunk))
    for axis in sorted(axes, reverse=True):
        lengths = chunks[axis]
        step = max(1, min(lengths.largest, budget))
        budget = max(1, budget // max(1, lengths.largest))
        if step < lengths.largest:
            cut[axis] = split(lengths, step)
        elif room > 1 and len(lengths) > 1:
            together = min(len(lengths), room)
            cut[axis] = merge(lengths, together)
            room = max(1, room // together)
        else:
            cut[axis] = lengths
    return tuple(cut)


def split(lengths: Lengths, step: int) -> Lengths:
    """Cut every chunk into pieces of `step`, or somewhat less where they are then equal."""
    if len(lengths) == 1:
        return Lengths.regular(lengths.total, step)
    if lengths.step:
        equal = next((s for s in range(step, max(step // 2, step - TRIES), -1) if lengths.step % s == 0), 0)
        if equal:
            return Lengths.regular(lengths.total, equal)
    cut = [e for lo, hi in pairwise(lengths.edges()) for e in range(lo, hi, step)]
    return Lengths.between([*cut, lengths.total])


def merge(lengths: Lengths, together: int) -> Lengths:
    """Put `together` neighbouring chunks into one."""
    if lengths.step:
        return Lengths.regular(lengths.total, lengths.step * together)
    edges = lengths.edges()
    return Lengths.between([*edges[:-1:together], edges[-1]])
