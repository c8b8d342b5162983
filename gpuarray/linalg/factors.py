"""Cholesky and QR factorisations, and triangular systems, of matrices larger than memory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuarray import config
from gpuarray.array import NDArray, asarray
from gpuarray.axes import permuted, sliced
from gpuarray.creation import eye, zeros
from gpuarray.elementwise import apply, cast
from gpuarray.graph.blocks import MapBlocks
from gpuarray.graph.grid import Lengths
from gpuarray.graph.move import Concat
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.linalg import blocks
from gpuarray.linalg.products import product
from gpuarray.linalg.results import QRResult
from gpuarray.linalg.stacks import fits_a_task, matrices, room, several, stacked

WIDEST = 1024
"""Columns of a panel at most: more make no product faster."""


def panel_width(rows: int, itemsize: int, share: int) -> int:
    """Columns of a panel, of which a task holds a few."""
    most = min(2 * config.get().chunk_bytes, room() // share) // max(1, rows * itemsize)
    return max(8, min(WIDEST, most // 8 * 8))


def turned(node: Node) -> Node:
    """The conjugate transpose of a matrix."""
    view = permuted(node, (*range(node.ndim - 2), node.ndim - 1, node.ndim - 2))
    return apply("conjugate", NDArray(view)).node if node.dtype.kind == "c" else view


def block(node: Node, rows: range, columns: range) -> Node:
    return sliced(sliced(node, node.ndim - 2, rows), node.ndim - 1, columns)


def end_to_end(axis: int, parts: Sequence[Node]) -> Node:
    made: Node = parts[0] if len(parts) == 1 else Concat(axis, *parts)
    return made


def nothing(rows: int, columns: int, dtype: np.dtype[Any]) -> Node:
    return zeros((rows, columns), dtype, chunks=-1).node


def panel(function: Any, rows: int, columns: int, label: str, *inputs: Node, **keywords: Any) -> Node:
    """A panel that one task makes from panels that it holds whole; of the last input it may take fewer columns."""
    along: list[tuple[int | None, ...]] = [(None, None)] * len(inputs)
    whole: tuple[int, ...] = (0, 1)
    if len(inputs) > 1:
        along[-1], whole = (None, 1), (0,)
    # Products of real panels need a few small blocks; to conjugate or factor a panel is to copy it.
    scratch = 0.3 if function is blocks.reflect and inputs[0].dtype.kind == "f" else 1.0
    traits = Traits(label, whole, alone=True, scratch=scratch, cost=4.0 * inputs[0].shape[1], remedy=REMEDY)
    cut = (Lengths.regular(rows, rows), Lengths.regular(columns, columns))
    given = tuple(sorted(keywords.items()))
    made: Node = Routine(function, given, inputs[0].dtype, cut, tuple(along), traits, *inputs)
    return made


REMEDY = "a task holds a few panels of the matrix: make them narrower with gpuarray.config.set(chunk_bytes=...)"


def kept(node: Node, label: str) -> Node:
    """A result of its own, so that what it is taken from can go."""
    traits = Traits(label, (0, 1), alone=True, scratch=0)
    cut = tuple(Lengths.regular(n, n) for n in node.shape)
    made: Node = Routine(blocks.itself, (), node.dtype, cut, ((None, None),), traits, node)
    return made


# Cholesky.


def cholesky(a: Any, /, *, upper: bool = False) -> NDArray:
    """Cholesky factor of Hermitian positive definite matrices: the lower triangular L with ``L @ L^H == a``.

    >>> import gpuarray as ga
    >>> ga.linalg.cholesky([[4.0, 2.0], [2.0, 5.0]]).compute()
    array([[2., 0.],
           [1., 2.]])

    Parameters
    ----------
    a : stacks of square matrices; only the lower triangle is looked at (with `upper` the upper one)
    upper : whether to return ``L^H``

    Small matrices are factored by the library, a task for each; a large one by blocks of columns, each from all those
    before it, which are read again from disk where they do not fit in memory. Raises LinAlgError (a ValueError) for
    shapes that are not square and, when it is computed, for what is not positive definite.
    """
    x = matrices(a, "cholesky", square=True)
    node = turned(x.node) if upper else x.node
    if x.ndim == 2 and not fits_a_task(x.nbytes):
        made = cholesky_by_blocks(node)
    else:
        n = x.shape[-1]
        made = stacked(blocks.cholesky, (n, n), x.dtype, [(node, 2)], "cholesky", scratch=1, cost=n / 3)
    return NDArray(turned(made) if upper else made)


TOGETHER = 3
"""Panels that one task of a Cholesky factorisation takes off another."""


def cholesky_by_blocks(a: Node) -> Node:
    """Left-looking: block column j is the matrix's, less what the block columns before it make, solved."""
    n, dtype = a.shape[0], a.dtype
    width = panel_width(n, dtype.itemsize, 6)
    cuts = Lengths.regular(n, width)
    columns: list[Node] = []
    below: list[Node] = []  # what is below the diagonal block of each column
    for j in range(len(cuts)):
        span = cuts.span(j)
        x = block(a, range(span.start, n), span)
        before = [runs(b, b.shape[0] - x.shape[0]) for b in below]
        for k in range(0, len(before), TOGETHER):
            x = updated(x, before[k : k + TOGETHER])
        w, rest = len(span), n - span.stop
        corner = sliced(x, 0, range(w))
        factor = stacked(blocks.cholesky, (w, w), dtype, [(corner, 2)], "cholesky", scratch=1, cost=w / 3)
        parts = [nothing(span.start, w, dtype), factor]
        if rest:
            traits = Traits("cholesky", (1,), alone=True, scratch=1.5, cost=float(w), remedy=REMEDY)
            cut = (Lengths.regular(rest, 2 * width), Lengths.regular(w, w))
            under, along = sliced(x, 0, range(w, w + rest)), ((0, None), (None, None))
            below.append(Routine(blocks.below_diagonal, (), dtype, cut, along, traits, under, factor))
            parts.append(below[-1])
        columns.append(end_to_end(0, [p for p in parts if p.shape[0]]))
    return end_to_end(1, columns)


def runs(b: Node, start: int) -> list[Node]:
    """The rows of a block column from one on, chunk by chunk: none need be copied to lie together."""
    edges = [start, *(e for e in b.chunks[0].edges() if e > start)]
    return [sliced(b, 0, range(lo, hi)) for lo, hi in itertools.pairwise(edges)]


def updated(x: Node, before: Sequence[Sequence[Node]]) -> Node:
    """Rows and columns of a matrix less what some block columns of its factor make of them."""
    (m, w), k = x.shape, len(before)
    rows = blocks.rows_at_once(m) + (k * w if x.dtype.kind == "c" else 0)  # of products, and of conjugated first rows
    scratch = 0.02 + rows / (m * (2 + k))
    traits = Traits("cholesky", (0, 1), alone=True, scratch=scratch, cost=2.0 * k * w, remedy=REMEDY)
    cut = tuple(Lengths.regular(n, n) for n in x.shape)
    pieces = [r for column in before for r in column]
    along = ((None, None),) * (1 + len(pieces))
    keywords = (("counts", tuple(map(len, before))),)
    made: Node = Routine(blocks.take_off, keywords, x.dtype, cut, along, traits, x, *pieces)
    return made


def minus(x: Node, y: Node) -> Node:
    return apply("subtract", NDArray(x), NDArray(y)).node


# QR.


def qr(a: Any, mode: str = "reduced") -> Any:
    """QR factorisation: `a` is the product of a matrix with orthonormal columns and an upper triangular one.

    >>> import gpuarray as ga
    >>> q, r = ga.linalg.qr(ga.asarray([[3.0, 1.0], [4.0, 2.0]]))
    >>> ga.allclose(q @ r, [[3.0, 1.0], [4.0, 2.0]]).compute()
    array(True)

    Parameters
    ----------
    a : stacks of matrices
    mode : "reduced" for (q, r) with as many columns and rows as the shorter side of `a`; "complete" for a square q;
        "r" for r alone; "raw" for the library's Householder vectors and factors

    A matrix much longer than wide is factored in blocks of rows (one pass, then one for q), any other large one in
    panels of columns. Raises LinAlgError (a ValueError) for fewer than two dimensions, ValueError for another mode.
    """
    if mode not in ("reduced", "complete", "r", "raw"):
        raise ValueError(f'mode={mode!r} is no mode of qr; write "reduced", "complete", "r" or "raw"')
    x = matrices(a, "qr")
    m, n = x.shape[-2:]
    k = min(m, n)
    if x.ndim > 2 or mode == "raw" or fits_a_task(x.nbytes):
        return qr_of_stacks(x, mode)
    if mode != "complete" and m >= 4 * n and fits_a_task(4 * n * n * x.itemsize):
        q, r = tall_qr(x.node)
        return NDArray(r) if mode == "r" else result(q, r)
    factors, r = qr_by_panels(x.node)
    if mode == "r":
        return NDArray(r)
    columns = m if mode == "complete" else k
    if mode == "complete" and m > k:
        r = end_to_end(0, [r, nothing(m - k, n, x.dtype)])
    return result(orthonormal(factors, m, columns), r)


def result(q: Node, r: Node) -> Any:
    return QRResult(NDArray(q), NDArray(r))


def qr_of_stacks(x: NDArray, mode: str) -> Any:
    m, n = x.shape[-2:]
    k, d = min(m, n), x.dtype
    if mode == "r":
        return NDArray(stacked(r_of, (k, n), d, [(x.node, 2)], "qr", cost=m))
    if mode == "raw":
        return tuple(several("qr", [(n, m), (k,)], [d, d], [(x.node, 2)], cost=m, mode="raw"))
    columns = m if mode == "complete" else k
    return QRResult(*several("qr", [(m, columns), (columns, n)], [d, d], [(x.node, 2)], cost=m, mode=mode))


def r_of(xp: Any, a: Any) -> Any:
    return xp.linalg.qr(a, mode="r")


def tall_qr(a: Node) -> tuple[Node, Node]:
    """QR of blocks of rows, and of their Rs one below the other.

    Source: Demmel, Grigori, Hoemmen, Langou, "Communication-optimal parallel and sequential QR and LU
    factorizations", SIAM J. Sci. Comput. 34, 2012.
    """
    (m, n), dtype = a.shape, a.dtype
    target = min(config.get().chunk_bytes // 2, room() // 16)
    rows = max(4 * n, target // max(1, n * dtype.itemsize))
    edges = list(range(0, m, rows))
    if len(edges) > 1 and m - edges[-1] < n:
        edges.pop()
    cut = Lengths.between([*edges, m])
    whole = Lengths.regular(n, n)
    held = Lengths.of(c + n for c in cut)
    packed: Node = MapBlocks(blocks.qr_block, (), False, dtype, (held, whole), ((cut, whole),), a)
    ends = [sliced(packed, 0, range(held.edge(k + 1) - n, held.edge(k + 1))) for k in range(len(cut))]
    if len(cut) == 1:
        return sliced(packed, 0, range(m)), ends[0]
    below = end_to_end(0, ends)
    if fits_a_task(4 * len(cut) * n * n * dtype.itemsize) or len(cut) < 4:
        small, r = several("qr", [(len(cut) * n, n), (n, n)], [dtype, dtype], [(below, 2)], cost=n)
        second, last = small.node, r.node
    else:
        second, last = tall_qr(below)
    each = Lengths.regular(len(cut) * n, n)
    inputs = ((held, whole), (each, whole))
    q: Node = MapBlocks(blocks.times, (), False, dtype, (cut, whole), inputs, packed, second)
    return q, last


def qr_by_panels(a: Node) -> tuple[list[Node], Node]:
    """Left-looking: each panel of columns is reflected by the factors of all panels before it, then factored itself."""
    (m, n), dtype = a.shape, a.dtype
    k = min(m, n)
    width = panel_width(m, dtype.itemsize, 6)
    cuts = Lengths.regular(k, width)
    spans = [cuts.span(j) for j in range(len(cuts))]
    spans += [range(c, min(n, c + width)) for c in range(k, n, width)]
    factors: list[Node] = []
    columns: list[Node] = []
    for j, span in enumerate(spans):
        x = block(a, range(m), span)
        done: list[Node] = []
        for factor in factors[:j]:
            x = panel(blocks.reflect, x.shape[0], len(span), "qr", factor, x, inverse=True)
            done.append(kept(sliced(x, 0, range(factor.shape[1])), "qr"))
            x = sliced(x, 0, range(factor.shape[1], x.shape[0]))
        if j < len(cuts):
            factor = panel(blocks.qr_panel, x.shape[0] + 2 * len(span), len(span), "qr", x)
            factors.append(factor)
            done.append(sliced(factor, 0, range(factor.shape[0] - len(span), factor.shape[0])))
            done.append(nothing(k - span.stop, len(span), dtype))
        columns.append(kept(end_to_end(0, [d for d in done if d.shape[0]]), "qr"))
    return factors, end_to_end(1, columns)


def orthonormal(factors: Sequence[Node], m: int, columns: int) -> Node:
    """The first columns of the Q of factored panels: the factors, last first, applied to those of the identity."""
    dtype = factors[0].dtype
    starts = np.cumsum([0, *(f.shape[1] for f in factors)])
    width = factors[0].shape[1]
    made: list[Node] = []
    spans = [range(starts[j], starts[j + 1]) for j in range(len(factors))]
    spans += [range(c, min(columns, c + width)) for c in range(int(starts[-1]), columns, width)]
    for j, span in enumerate(spans):
        last = min(j, len(factors) - 1)
        top = int(starts[last])
        x = eye(m - top, len(span), k=-(int(span.start) - top), dtype=dtype, chunks=-1).node
        for i in range(last, -1, -1):
            if x.shape[0] < m - int(starts[i]):
                x = end_to_end(0, [nothing(m - int(starts[i]) - x.shape[0], len(span), dtype), x])
            x = panel(blocks.reflect, x.shape[0], len(span), "qr", factors[i], x, inverse=False)
        made.append(x)
    return end_to_end(1, made)


# Triangular systems.


def solve_triangular(a: Any, b: Any, *, lower: bool = False, unit_diagonal: bool = False) -> NDArray:
    """Solve ``a @ x = b`` for triangular matrices; the other triangle is not looked at.

    >>> import gpuarray as ga
    >>> ga.linalg.solve_triangular([[2.0, 0.0], [1.0, 4.0]], [2.0, 9.0], lower=True).compute()
    array([1., 2.])

    Parameters
    ----------
    a : stacks of square matrices
    b : a vector, or stacks of matrices
    lower : whether the triangle is the lower one
    unit_diagonal : take the diagonal to be ones

    Raises LinAlgError (a ValueError) for shapes that are not square and, when it is computed, for zeros on the
    diagonal; ValueError for shapes that do not fit. Source: `scipy.linalg.solve_triangular`, and the stacks of
    `numpy.linalg.solve`.
    """
    x = matrices(a, "solve_triangular", square=True)
    left, right, vector = system(x, b, "solve_triangular")
    if left.ndim == right.ndim == 2 and not fits_a_task(left.nbytes, right.nbytes):
        made = substituted(left.node, right.node, lower, unit_diagonal)
    else:
        core = right.shape[-2:]
        given = [(left.node, 2), (right.node, 2)]
        keywords = {"lower": bool(lower), "unit": bool(unit_diagonal)}
        made = stacked(blocks.triangular, core, left.dtype, given, "solve_triangular", cost=core[0], keywords=keywords)
    found = NDArray(made)
    return found[..., 0] if vector else found


def system(a: NDArray, b: Any, name: str) -> tuple[NDArray, NDArray, bool]:
    """Both sides in one dtype, the right one as matrices, and whether it was a vector."""
    right = matrices(b, name, least=1)
    dtype = np.result_type(a.dtype, right.dtype)
    left, right = NDArray(cast(a.node, dtype)), NDArray(cast(right.node, dtype))
    vector = right.ndim == 1
    if vector:
        right = right[:, None]
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(
            f"{name}: a of shape {a.shape} and b of shape {asarray(b).shape} do not fit: b must have {a.shape[-1]} rows"
        )
    return left, right, vector


def substituted(a: Node, b: Node, lower: bool, unit: bool) -> Node:
    """A triangular system block by block: each from those that are known."""
    n, dtype = a.shape[0], a.dtype
    cuts = Lengths.regular(n, panel_width(n, dtype.itemsize, 8))
    order = range(len(cuts)) if lower else range(len(cuts))[::-1]
    known: list[Node] = []
    for j in order:
        span = cuts.span(j)
        rest = sliced(b, 0, span)
        if known:
            others = range(span.start) if lower else range(span.stop, n)
            rest = minus(rest, product(block(a, span, others), end_to_end(0, known)))
        traits = Traits("solve_triangular", (0,), scratch=1, cost=float(len(span)), remedy=REMEDY)
        cut = (Lengths.regular(len(span), len(span)), b.chunks[1])
        keywords = (("lower", lower), ("unit", unit))
        along = ((None, None), (None, 1))
        x: Node = Routine(blocks.triangular, keywords, dtype, cut, along, traits, block(a, span, span), rest)
        known = [*known, x] if lower else [x, *known]
    return end_to_end(0, known)
