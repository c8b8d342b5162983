"""Cholesky and QR of matrices larger than memory, by block columns, each from all those before it.

What is computed, and in which order, depends on the shape alone (see `tiles`); how many tiles a task is given depends
on the memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray import config
from gpuarray.axes import sliced
from gpuarray.creation import eye, zeros
from gpuarray.graph.grid import Chunks, Lengths
from gpuarray.graph.move import Concat, Rechunk
from gpuarray.graph.node import Node, elements
from gpuarray.graph.routine import Along, Routine, Traits
from gpuarray.linalg import blocks, tiles
from gpuarray.linalg.stacks import room

REMEDY = "a task holds a few panels of the matrix: make them narrower with gpuarray.config.set(chunk_bytes=...)"
TIGHT = "a task holds a few tiles of the matrix: factor it in single precision"
WIDEST = 4096
"""Columns of a block column at most."""
MOST_THREADS = 8
"""Threads that share a task's tiles at most: each needs memory for what products leave in between."""


def block(node: Node, rows: range, columns: range) -> Node:
    return sliced(sliced(node, node.ndim - 2, rows), node.ndim - 1, columns)


def end_to_end(axis: int, parts: Sequence[Node]) -> Node:
    made: Node = parts[0] if len(parts) == 1 else Concat(axis, *parts)
    return made


def nothing(rows: int, columns: int, dtype: np.dtype[Any]) -> Node:
    return zeros((rows, columns), dtype, chunks=-1).node


def kept(node: Node, label: str) -> Node:
    """A result of its own, so that what it is taken from can go."""
    traits = Traits(label, (0, 1), alone=True, scratch=0)
    cut = tuple(Lengths.regular(n, n) for n in node.shape)
    made: Node = Routine(blocks.itself, (), node.dtype, cut, ((None, None),), traits, node)
    return made


def task(
    label: str,
    function: Callable[..., Any],
    cut: Chunks,
    inputs: Sequence[tuple[Node, Along]],
    temporary: int,
    cost: float,
    **keywords: Any,
) -> Node:
    """A routine whose tasks are its chunks; `temporary`: elements that one of them allocates for a while."""
    dtype = inputs[0][0].dtype
    smallest = min(cut[0]) * min(cut[1])
    for node, along in inputs:
        smallest += elements(node) if along[0] is None else min(cut[0]) * node.shape[1]
    traits = Traits(label, fixed=True, scratch=temporary / max(1, smallest) + 0.01, cost=cost, remedy=TIGHT)
    given = tuple(sorted(keywords.items()))
    made: Node = Routine(function, given, dtype, cut, tuple(a for _, a in inputs), traits, *(n for n, _ in inputs))
    return made


WHOLE: Along = (None, None)
ROWWISE: Along = (0, None)


def one(rows: int, columns: int) -> Chunks:
    return Lengths.regular(rows, rows), Lengths.regular(columns, columns)


def memory(result: int, itemsize: int) -> int:
    """Elements that tasks may hold, where the whole result may have to be in memory as well."""
    left = room()
    return (max(left - result * itemsize, result * itemsize // 20) if left > result * itemsize else left) // itemsize


def threads(fit: int) -> int:
    """How many threads share a task's tiles, where memory is enough for so many as `fit`."""
    settings = config.get()
    allowed = 1 if settings.scheduler == "single-threaded" else settings.thread_count()
    return max(1, min(MOST_THREADS, allowed, fit))


def rounded(n: float, unit: int) -> int:
    """The largest multiple of a unit that is not more; at least the unit."""
    return max(unit, int(n) // unit * unit)


# Cholesky.


@dataclass(frozen=True)
class Cut:
    """How a Cholesky factorisation is cut."""

    tile: int
    width: int
    """Columns of a block column: some tiles."""
    height: int
    """Rows of it that a task makes: some tiles, of which a width has several."""
    depth: int
    """Block columns that a task takes off."""
    threads: int

    @classmethod
    def of(cls, n: int, itemsize: int) -> Cut:
        """Tiles by the size of the matrix; of them as many as the rows beside a block of the diagonal, and a few tasks,
        may take."""
        left = memory(n * n, itemsize)
        tile = cholesky_tile(n)
        while 20 * tile**2 > left and tile > 8:
            tile = max(8, tile // 2 // 8 * 8)
        most = threads(left // (24 * tile**2))
        width = rounded(min(0.4 * left / n, n / 8, WIDEST), tile)
        height = min(width, rounded(0.45 * left / (4 * (n + 2 * width)), tile))
        pair = width * (width + height)
        fit = min(0.5 * left, 0.9 * left - 3 * pair - 2 * tile**2 * most)
        return cls(tile, width, height, max(1, int(fit / pair)), most)

    @property
    def scratch(self) -> int:
        """Elements that products of tiles, and conjugated tiles, take for a while where they are not done in place."""
        return 2 * self.tile**2 * self.threads

    def edges(self, start: int, n: int) -> list[int]:
        """Where tasks begin, from the beginning of a block column on."""
        found = [lo for at in range(start, n, self.width) for lo in range(at, min(n, at + self.width), self.height)]
        return [*found, n]


def cholesky_tile(n: int) -> int:
    """Columns of a tile: products of 500 are as fast as any, and a few make a block column of a tenth of the matrix."""
    return min(496, max(128, n // 20 // 8 * 8), max(8, n // 16 // 8 * 8))


def cholesky_by_blocks(a: Node) -> Node:
    """Left-looking: each block column is the matrix's, less what the block columns before it make, solved."""
    n, dtype = a.shape[0], a.dtype
    cut = Cut.of(n, dtype.itemsize)
    spans = [range(lo, min(n, lo + cut.width)) for lo in range(0, n, cut.width)]
    columns: list[Node] = []
    below: list[Node] = []  # what is below the diagonal block of each column
    for span in spans:
        w = len(span)
        beside = [runs(b, b.shape[0] - (n - span.start), w) for b in below]
        corner = corner_of(block(a, span, span), beside, cut)
        top = task("cholesky", tiles.upper_left, one(w, w), [(corner, WHOLE)], 0, 1.0)
        parts = [nothing(span.start, w, dtype), top]
        if span.stop < n:
            below.append(
                rows_of(block(a, range(span.stop, n), span), corner, below, beside, cut, cut.edges(span.stop, n))
            )
            parts.append(below[-1])
        columns.append(end_to_end(0, [p for p in parts if p.shape[0]]))
    made = end_to_end(1, columns)
    return Rechunk(result_chunks(cut, n, memory(n * n, dtype.itemsize)), made)


def result_chunks(cut: Cut, n: int, left: int) -> Chunks:
    """Chunks of the result: few along the rows, because each goes through the block columns once more."""
    rows = rounded(min(n / 4, left / (8 * cut.width)), cut.height)
    return Lengths.regular(n, rows), Lengths.regular(n, cut.width)


def runs(b: Node, start: int, rows: int) -> list[Node]:
    """Rows of a block column, chunk by chunk: none need be copied to lie together."""
    edges = [e for e in b.chunks[0].edges() if start <= e <= start + rows]
    return [sliced(b, 0, range(lo, hi)) for lo, hi in itertools.pairwise(edges)]


def corner_of(x: Node, beside: Sequence[Sequence[Node]], cut: Cut) -> Node:
    """A block of the diagonal, factored."""
    w, groups = x.shape[0], in_groups(range(len(beside)), cut.depth)
    temporary = w * w + cut.scratch
    for number, group in enumerate(groups):
        last = number == len(groups) - 1
        pieces = [(x, WHOLE), *((r, WHOLE) for k in group for r in beside[k])]
        keywords = {"counts": tuple(len(beside[k]) for k in group), "tile": cut.tile, "threads": cut.threads}
        function = tiles.corner_factor if last else tiles.corner_less
        rows = w + min(cut.tile, tiles.LEAF) if last else w
        cost = float(sum(r.shape[1] for k in group for r in beside[k][:1]) + w)
        x = task("cholesky", function, one(rows, w), pieces, temporary, cost, **keywords)
    return x


def rows_of(
    x: Node,
    corner: Node,
    below: Sequence[Node],
    beside: Sequence[Sequence[Node]],
    cut: Cut,
    edges: Sequence[int],
) -> Node:
    """The rows below a block of the diagonal, of which a task makes those between two edges."""
    (m, w), groups = x.shape, in_groups(range(len(below)), cut.depth)
    chunks = (Lengths.between(e - edges[0] for e in edges), Lengths.regular(w, w))
    for number, group in enumerate(groups):
        last = number == len(groups) - 1
        pieces: list[tuple[Node, Along]] = [(x, ROWWISE)]
        if last:
            pieces.append((corner, WHOLE))
        for k in group:
            pieces.append((sliced(below[k], 0, range(below[k].shape[0] - m, below[k].shape[0])), ROWWISE))
            pieces += [(r, WHOLE) for r in beside[k]]
        keywords = {"counts": tuple(len(beside[k]) for k in group), "tile": cut.tile, "threads": cut.threads}
        function = tiles.rows_factor if last else tiles.rows_less
        cost = 2.0 * sum(below[k].shape[1] for k in group) + w
        x = task("cholesky", function, chunks, pieces, cut.scratch, cost, **keywords)
    return x


def in_groups(every: Sequence[int], most: int) -> list[Sequence[int]]:
    """Runs of so many at most; one of none where there are none."""
    return [every[k : k + most] for k in range(0, len(every), most)] or [every]


# QR.


@dataclass(frozen=True)
class Panels:
    """How a QR factorisation is cut."""

    tile: int
    width: int
    """Columns of a panel: some tiles."""
    left: int
    """Elements that a task may hold."""
    threads: int

    @classmethod
    def of(cls, m: int, n: int, itemsize: int) -> Panels:
        """Tiles by the size of the matrix; panels of so many that a task can hold three."""
        left = int(0.9 * memory(m * n, itemsize))
        tile = qr_tile(min(m, n))
        most = left / (m + tile)
        if tile > most / 7:
            tile = max(8, int(most / 7) // 8 * 8)
        each = tile * (min(tiles.ROWS, m) + 4 * tile) / (m + tile)  # columns that a thread takes for a while
        several = threads(int(most / 8 / each))
        most -= each * several
        width = rounded(min(most / 3.05, (most - 2.5 * tile) / 2.05, min(m, n) / 8, WIDEST), tile)
        return cls(tile, width, left, several)


def qr_tile(k: int) -> int:
    """Columns of a tile: the wider, the faster are products, and the more is left to the library's own QR."""
    return min(256, max(160, k // 48 // 8 * 8), max(8, k // 16 // 8 * 8))


def qr_by_panels(a: Node) -> tuple[list[Node], Node, Panels]:
    """Left-looking: each panel of columns is reflected by the factors of all panels before it, then factored itself."""
    (m, n), dtype = a.shape, a.dtype
    k, cut = min(m, n), Panels.of(m, n, dtype.itemsize)
    spans = [range(lo, min(k, lo + cut.width)) for lo in range(0, k, cut.width)]
    count = len(spans)
    spans += [range(c, min(n, c + cut.width)) for c in range(k, n, cut.width)]
    factors: list[Node] = []
    columns: list[Node] = []
    for j, span in enumerate(spans):
        w = len(span)
        x = block(a, range(m), span)
        done: list[Node] = []
        for group in held_together(factors[:j], x, cut):
            x = reflection(group, x, x.shape[0], cut, inverse=True)
            ready = sum(f.shape[1] for f in group)
            done.append(kept(sliced(x, 0, range(ready)), "qr"))
            x = sliced(x, 0, range(ready, x.shape[0]))
        if j < count:
            rows = x.shape[0]
            temporary, cost = int(2.4 * rows * cut.tile) + scratch_of(rows, cut), 2.0 * w
            keywords = {"tile": cut.tile, "threads": cut.threads}
            factor = task("qr", tiles.panel_factor, one(rows + cut.tile, w), [(x, WHOLE)], temporary, cost, **keywords)
            factors.append(factor)
            done.append(task("qr", tiles.panel_r, one(w, w), [(factor, WHOLE)], w * w, 1.0))
        whole = kept(end_to_end(0, [d for d in done if d.shape[0]]), "qr")
        columns.append(end_to_end(0, [whole, nothing(k - span.stop, w, dtype)]) if span.stop < k else whole)
    return factors, end_to_end(1, columns), cut


def held_together(factors: Sequence[Node], x: Node, cut: Panels) -> list[list[Node]]:
    """Factors in groups that a task can hold beside a panel and what it makes of it."""
    groups: list[list[Node]] = []
    rows, left = x.shape[0], 0
    for factor in factors:
        if not groups or left < elements(factor):
            left = cut.left - 2 * rows * x.shape[1] - scratch_of(rows, cut)
            groups.append([])
        groups[-1].append(factor)
        left -= elements(factor)
        rows -= factor.shape[1]
    return groups


def scratch_of(rows: int, cut: Panels) -> int:
    """Elements that the reflection of a tile takes: for products, where they are not done in place."""
    return cut.tile * (min(tiles.ROWS, rows) + 4 * cut.tile) * cut.threads


def reflection(factors: Sequence[Node], x: Node, rows: int, cut: Panels, inverse: bool) -> Node:
    """A panel reflected by the factors of others."""
    w = x.shape[1]
    temporary = scratch_of(rows, cut)
    inputs = [(node, WHOLE) for node in (*factors, x)]
    cost = 4.0 * sum(f.shape[1] for f in factors)
    keywords = {"rows": rows, "tile": cut.tile, "inverse": inverse, "threads": cut.threads}
    return task("qr", tiles.reflected, one(rows, w), inputs, temporary, cost, **keywords)


def orthonormal(factors: Sequence[Node], m: int, columns: int, cut: Panels) -> Node:
    """The first columns of the Q of factored panels: the factors, last first, applied to those of the identity."""
    dtype = factors[0].dtype
    starts = [0, *itertools.accumulate(f.shape[1] for f in factors)]
    made: list[Node] = []
    spans = [range(lo, hi) for lo, hi in itertools.pairwise(starts)]
    spans += [range(c, min(columns, c + cut.width)) for c in range(starts[-1], columns, cut.width)]
    for j, span in enumerate(spans):
        last = min(j, len(factors) - 1)
        top = starts[last]
        x = eye(m - top, len(span), k=-(span.start - top), dtype=dtype, chunks=-1).node
        at = last + 1
        while at:
            lo = at - 1
            left = cut.left - elements(x) - elements(factors[lo]) - (m - starts[lo]) * len(span) - scratch_of(m, cut)
            while lo and left >= elements(factors[lo - 1]) + (starts[lo] - starts[lo - 1]) * len(span):
                lo -= 1
                left -= elements(factors[lo]) + (starts[lo + 1] - starts[lo]) * len(span)
            x = reflection(factors[lo:at][::-1], x, m - starts[lo], cut, inverse=False)
            at = lo
        made.append(x)
    return end_to_end(1, made)
