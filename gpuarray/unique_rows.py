"""Distinct slices along an axis of arrays that are larger than memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.dimensions import moveaxis
from gpuarray.elementwise import apply
from gpuarray.gathering import flatnonzero, take
from gpuarray.graph.grid import Lengths
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.kernels import ordering
from gpuarray.kernels.errors import MemoryLimitError
from gpuarray.manipulation import reshape
from gpuarray.numeric import diff
from gpuarray.rearranging import WORD, changes, lexical, rearranged, room
from gpuarray.reductions import any as some
from gpuarray.several import persist
from gpuarray.sorting import argsort, sort, sort_with_positions

ROW = 64
"""Bytes that ranking takes for each row."""
MOST = 64
"""Numbers of a row that are ranked by external sorts, two for each."""


def unique_rows(x: NDArray, axis: int, index: bool, inverse: bool, counts: bool) -> list[NDArray]:
    """The distinct slices along an axis in lexicographic order, and on request what `unique` has beside them.

    As in NumPy, slices with NaN are all different. Rows are ranked, whole where they are few and else by external sorts
    of what they hold; the ranks are sorted.
    """
    first_axis = moveaxis(x, axis, 0)
    rest = first_axis.shape[1:]
    rows = reshape(first_axis, (x.shape[axis], math.prod(rest)))
    n = rows.shape[0]
    ranked, positions = persist(*sort_with_positions(_ranks(rows)))
    is_first = apply("logical_or", changes(ranked, 0), asarray(np.arange(n) == 0) if n < 2 else _first(ranked))
    if x.dtype.kind in "fc":
        absent = some(apply("isnan", rows), axis=1).persist()
        if bool(absent.any()):
            is_first = is_first | rearranged(absent, argsort(positions))
    is_first = is_first.persist()
    where = positions[is_first].persist()
    kept = rearranged(take(rows, sort(where), axis=0), reshape(argsort(where), (-1, 1)), 0)
    results = [moveaxis(reshape(kept, (where.size, *rest)), 0, axis)]
    if index:
        results.append(where)
    if inverse:
        results.append(rearranged(is_first.cumsum() - 1, positions))
    if counts:
        results.append(diff(flatnonzero(is_first), append=np.array([n])))
    return results


def _first(values: NDArray) -> NDArray:
    from gpuarray.ranges import arange

    return apply("equal", arange(values.size, chunks=values.chunks), 0)


def _ranks(rows: NDArray) -> NDArray:
    """Numbers in the lexicographic order of rows."""
    n, m = rows.shape
    width = int(room() // 16 // (n * rows.dtype.itemsize))
    if width and n * ROW <= room() // 4:
        ranked: Node | None = None
        for lo in range(0, m, width):
            block = rows[:, lo : lo + width]
            cut = (Lengths.regular(n, n),)
            nodes = [block.node] if ranked is None else [block.node, ranked]
            along: tuple[tuple[int | None, ...], ...] = ((0, None), (0,))[: len(nodes)]
            traits = Traits("unique, rows ranked", whole=(0,), scratch=2, cost=50 * width)
            ranked = Routine(_refined, (), WORD, cut, along, traits, *nodes)
        assert ranked is not None  # an array without elements is small
        return NDArray(ranked)
    if m > MOST:
        raise MemoryLimitError(
            f"unique with axis= of {n:,} slices of {m:,} elements takes {MOST} elements or fewer in a slice, or "
            f"{n * max(ROW * 4, 16 * rows.dtype.itemsize):,} bytes of memory for what ranks them; the limit is "
            f"{room():,}. Raise host_memory, or look at parts of the array."
        )
    return lexical([rows[:, k] for k in range(m)], 0)


def _refined(xp: Any, block: Any, ranked: Any = None) -> Any:
    """Ranks of rows by some columns more."""
    n = block.shape[0]
    order = xp.arange(n)
    keys = [block[:, k] for k in range(block.shape[1] - 1, -1, -1)]
    for key in keys if ranked is None else [*keys, ranked]:
        order = order[ordering.argsort(xp, key[order], 0, "stable")]
    block = block[order]
    differ = block[1:] != block[:-1]
    if block.dtype.kind in "fc":
        differ = differ & ~(xp.isnan(block[1:]) & xp.isnan(block[:-1]))
    differ = differ.any(axis=1)
    if ranked is not None:
        differ = differ | (ranked[order][1:] != ranked[order][:-1])
    made = xp.zeros(n, WORD)
    made[order[1:]] = xp.cumsum(differ).astype(WORD)
    return made
