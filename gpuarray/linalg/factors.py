"""Cholesky and QR factorisations, and triangular systems, of matrices larger than memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray import config
from gpuarray.array import NDArray, asarray
from gpuarray.axes import permuted, sliced
from gpuarray.elementwise import apply, cast
from gpuarray.graph.blocks import MapBlocks
from gpuarray.graph.grid import Lengths
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.linalg import blocks
from gpuarray.linalg.columns import REMEDY, block, cholesky_by_blocks, end_to_end, nothing, orthonormal, qr_by_panels
from gpuarray.linalg.products import product
from gpuarray.linalg.results import QRResult
from gpuarray.linalg.stacks import fits_a_task, matrices, of_the_library, room, several, stacked

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


def panel(function: Any, rows: int, columns: int, label: str, *inputs: Node, **keywords: Any) -> Node:
    """A panel that one task makes from panels that it holds whole; of the last input it may take fewer columns."""
    along: list[tuple[int | None, ...]] = [(None, None)] * len(inputs)
    whole: tuple[int, ...] = (0, 1)
    if len(inputs) > 1:
        along[-1], whole = (None, 1), (0,)
    traits = Traits(label, whole, alone=True, scratch=1.0, cost=4.0 * inputs[0].shape[1], remedy=REMEDY)
    cut = (Lengths.regular(rows, rows), Lengths.regular(columns, columns))
    given = tuple(sorted(keywords.items()))
    made: Node = Routine(function, given, inputs[0].dtype, cut, tuple(along), traits, *inputs)
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
    if x.ndim == 2 and not of_the_library(x.nbytes):
        made = cholesky_by_blocks(node)
    else:
        n = x.shape[-1]
        made = stacked(blocks.cholesky, (n, n), x.dtype, [(node, 2)], "cholesky", scratch=1, cost=n / 3)
    return NDArray(turned(made) if upper else made)


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

    A matrix much longer than wide is factored in blocks of rows (a pass over it, and another for q), any other large
    one in panels of columns. Raises LinAlgError (a ValueError) for fewer than two dimensions, ValueError for another
    mode.
    """
    if mode not in ("reduced", "complete", "r", "raw"):
        raise ValueError(f'mode={mode!r} is no mode of qr; write "reduced", "complete", "r" or "raw"')
    x = matrices(a, "qr")
    m, n = x.shape[-2:]
    k = min(m, n)
    if x.ndim > 2 or mode == "raw" or of_the_library(x.nbytes):
        return qr_of_stacks(x, mode)
    if mode != "complete" and m >= 4 * n and fits_a_task(4 * n * n * x.itemsize):
        q, r = tall_qr(x.node)
        return NDArray(r) if mode == "r" else result(q, r)
    factors, r, cut = qr_by_panels(x.node)
    if mode == "r":
        return NDArray(r)
    columns = m if mode == "complete" else k
    if mode == "complete" and m > k:
        r = end_to_end(0, [r, nothing(m - k, n, x.dtype)])
    return result(orthonormal(factors, m, columns, cut), r)


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

    The Qs of blocks are found again where they are read: a block of `a` and half as much arithmetic once more take
    less than a matrix of its size on its way to disk and back, and who wants R alone needs none.
    """
    (m, n), dtype = a.shape, a.dtype
    target = min(config.get().chunk_bytes // 2, room() // 16)
    rows = max(4 * n, target // max(1, n * dtype.itemsize))
    edges = list(range(0, m, rows))
    if len(edges) > 1 and m - edges[-1] < n:
        edges.pop()
    cut = Lengths.between([*edges, m])
    whole = Lengths.regular(n, n)
    each = Lengths.regular(len(cut) * n, n)
    below: Node = MapBlocks(blocks.block_r, (), False, dtype, (each, whole), ((cut, whole),), a)
    if len(cut) == 1:
        return MapBlocks(blocks.block_q, (), False, dtype, (cut, whole), ((cut, whole),), a), below
    if fits_a_task(4 * len(cut) * n * n * dtype.itemsize) or len(cut) < 4:
        small, r = several("qr", [(len(cut) * n, n), (n, n)], [dtype, dtype], [(below, 2)], cost=n)
        second, last = small.node, r.node
    else:
        second, last = tall_qr(below)
    q: Node = MapBlocks(blocks.block_q, (), False, dtype, (cut, whole), ((cut, whole), (each, whole)), a, second)
    return q, last


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
