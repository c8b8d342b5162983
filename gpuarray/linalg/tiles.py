"""Cholesky and QR of blocks of a matrix, tile by tile: plain functions of arrays, called in tasks.

Every product is one of tiles, and each tile gets its products in the order of the matrix's columns. So a factor has the
same bits however many tiles a task is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpuarray.cluster.jobs import share
from gpuarray.kernels.backends.blas import single
from gpuarray.linalg.blocks import adjoint

LEAF = 128
"""Columns of a triangle that are solved for at once."""
ROWS = 1024
"""Rows of a reflected tile that are updated at once: what a product leaves in between stays in the cache."""


def spread(xp: Any, jobs: Sequence[Callable[[], None]], threads: int) -> None:
    """Do jobs that do not depend on each other: in several threads, unless a device does the work."""
    share(jobs, threads if xp is np else 1)


def subtract_product(xp: Any, x: Any, left: Any, right: Any, scratch: Any) -> None:
    """``x -= left @ right``, in place."""
    made = xp.matmul(left, right, out=scratch[: x.shape[0], : x.shape[1]])
    xp.subtract(x, made, out=x)


def in_tiles(arrays: Iterable[Any], tile: int) -> list[Any]:
    """Runs of rows, one below the other, as tiles of rows."""
    return [a[lo : lo + tile] for a in arrays for lo in range(0, a.shape[0], tile)]


def slices(n: int, tile: int) -> list[slice]:
    return [slice(lo, min(n, lo + tile)) for lo in range(0, n, tile)]


# Cholesky. A block of the diagonal comes with what its triangles are solved by: the inverses of those of up to LEAF
# columns on its diagonal, side by side below it.


def subtract_products(xp: Any, x: Any, pairs: Sequence[tuple[Any, Any]], tile: int) -> None:
    """A tile less the products of pairs of tiles of rows, ``left @ right^H``, in place: a tile's columns at a time."""
    scratch = xp.empty(x.shape, x.dtype)
    for left, right in pairs:
        for k in slices(left.shape[1], tile):
            subtract_product(xp, x, left[:, k], adjoint(right[:, k]), scratch)


@single
def corner_less(xp: Any, x: Any, *runs: Any, counts: tuple[int, ...], tile: int, threads: int) -> Any:
    """A block of the diagonal less what earlier block columns make of it. Of each of them come the rows beside the
    block, in so many runs as `counts` says. Only the tiles on and below the diagonal are right."""
    made, given = xp.array(x, order="C"), iter(runs)
    beside = [in_tiles([next(given) for _ in range(count)], tile) for count in counts]
    at = slices(x.shape[0], tile)
    spread(
        xp,
        [
            partial(subtract_products, xp, made[at[i], at[j]], [(b[i], b[j]) for b in beside], tile)
            for j in range(len(at))
            for i in range(j, len(at))
        ],
        threads,
    )
    return made


@single
def corner_factor(xp: Any, x: Any, *runs: Any, counts: tuple[int, ...], tile: int, threads: int) -> Any:
    """The Cholesky factor of a block of the diagonal, and below it the inverses that `solve_rows` takes."""
    n, leaf = x.shape[0], min(tile, LEAF)
    made = xp.zeros((n + leaf, n), x.dtype)
    made[:n] = corner_less(xp, x, *runs, counts=counts, tile=tile, threads=threads)
    corner, inverses, spans = made[:n], made[n:], slices(n, tile)
    for q, at in enumerate(spans):
        corner[at, at] = xp.linalg.cholesky(corner[at, at])
        corner[at, at.stop :] = 0
        for lo in range(at.start, at.stop, leaf):
            hi = min(at.stop, lo + leaf)
            inverses[: hi - lo, lo:hi] = xp.linalg.inv(corner[lo:hi, lo:hi])
        below = spans[q + 1 :]
        spread(xp, [partial(solve_rows, xp, corner[r, at], corner[at, at], inverses[:, at]) for r in below], threads)
        spread(
            xp,
            [
                partial(subtract_products, xp, corner[r, c], [(corner[r, at], corner[c, at])], tile)
                for j, c in enumerate(below)
                for r in below[j:]
            ],
            threads,
        )
    return made


def solve_rows(xp: Any, x: Any, triangle: Any, inverses: Any) -> None:
    """Solve ``y triangle^H = x`` in place, for a lower triangle.

    Each run of columns is a product with an inverse, made good by one step of refinement: the rest is as small as
    that of a substitution.

    Source: Du Croz and Higham, "Stability of methods for matrix inversion", IMA J. Numer. Anal. 12, 1992.
    """
    n, leaf = triangle.shape[0], inverses.shape[0]
    for lo in range(0, n, leaf):
        hi = min(n, lo + leaf)
        part = x[:, lo:hi]
        if lo:
            xp.subtract(part, x[:, :lo] @ adjoint(triangle[lo:hi, :lo]), out=part)
        inverse = adjoint(inverses[: hi - lo, lo:hi])
        y = part @ inverse
        y += (part - y @ adjoint(triangle[lo:hi, lo:hi])) @ inverse
        x[:, lo:hi] = y


@single
def rows_less(xp: Any, x: Any, *pieces: Any, counts: tuple[int, ...], tile: int, threads: int) -> Any:
    """Rows below the diagonal less what earlier block columns make of them. Of each of them come the same rows, and the
    rows beside the block of the diagonal in so many runs as `counts` says."""
    made, given = xp.array(x, order="C"), iter(pieces)
    left, top = [], []
    for count in counts:
        left.append(in_tiles([next(given)], tile))
        top.append(in_tiles([next(given) for _ in range(count)], tile))
    jobs = [
        partial(subtract_products, xp, made[r, c], [(b[i], t[j]) for b, t in zip(left, top, strict=True)], tile)
        for i, r in enumerate(slices(x.shape[0], tile))
        for j, c in enumerate(slices(x.shape[1], tile))
    ]
    spread(xp, jobs, threads)
    return made


@single
def rows_factor(xp: Any, x: Any, corner: Any, *pieces: Any, counts: tuple[int, ...], tile: int, threads: int) -> Any:
    """The rows of a Cholesky factor below the block of the diagonal that is given factored."""
    made = rows_less(xp, x, *pieces, counts=counts, tile=tile, threads=threads)
    spread(xp, [partial(solve_tiles, xp, rows, corner, tile) for rows in in_tiles([made], tile)], threads)
    return made


def solve_tiles(xp: Any, rows: Any, corner: Any, tile: int) -> None:
    """Solve ``y corner^H = rows`` in place, for rows of a tile's height and a factored block of the diagonal."""
    n = corner.shape[1]
    spans, inverses = slices(n, tile), corner[n:]
    for q, at in enumerate(spans):
        x = rows[:, at]
        for p in spans[:q]:
            subtract_products(xp, x, [(rows[:, p], corner[at, p])], tile)
        solve_rows(xp, x, corner[at, at], inverses[:, at])


def upper_left(xp: Any, corner: Any) -> Any:
    """The factor of a block of the diagonal without the inverses below it."""
    return xp.array(corner[: corner.shape[1]])


# QR. A factored panel is r on and above the diagonal, Householder's vectors v below it (with ones on the diagonal that
# are not stored), and as many rows as a tile has columns, which hold the t of each tile: Q = I - v t v^H.


@single
def panel_factor(xp: Any, x: Any, tile: int, threads: int) -> Any:
    """Householder's factorisation of a panel of at least as many rows as columns.

    Source: Schreiber and Van Loan, "A storage-efficient WY representation", SIAM J. Sci. Stat. Comput. 10, 1989; t from
    ``v^H v``: Joffrain et al., "Accumulating Householder transformations, revisited", ACM TOMS 32, 2006.
    """
    m, n = x.shape
    packed = xp.zeros((m + tile, n), x.dtype)
    made, spans = packed[:m], slices(n, tile)
    made[...] = x
    for at in spans:
        w, v = at.stop - at.start, made[at.start :, at]
        h, tau = xp.linalg.qr(v, mode="raw")
        v[...] = h.swapaxes(-1, -2)
        del h
        one = unit_lower(xp, v)
        gram = xp.triu(adjoint(one) @ one + inner(v[w:], v[w:]), 1)
        t = xp.linalg.solve(xp.eye(w, dtype=x.dtype) + tau[:, None] * gram, xp.diag(tau))
        packed[m : m + w, at] = t
        later = made[at.start :, at.stop :]
        across = slices(later.shape[1], across_of(tile))
        spread(xp, [partial(reflect_tile, xp, later[:, c], v, one, adjoint(t)) for c in across], threads)
    return packed


def across_of(tile: int) -> int:
    """Columns that are reflected at once: half a tile, so that threads have as many in a panel of any width."""
    return max(4, tile // 2)


def unit_lower(xp: Any, v: Any) -> Any:
    """The first rows of Householder's vectors."""
    n = v.shape[1]
    return xp.tril(v[:n], -1) + xp.eye(n, dtype=v.dtype)


def inner(v: Any, x: Any) -> Any:
    """``v^H x`` of long panels; complex ones piece by piece, because they are conjugated."""
    if x.dtype.kind != "c":
        return adjoint(v) @ x
    made = adjoint(v[:ROWS]) @ x[:ROWS]
    for lo in range(ROWS, x.shape[0], ROWS):
        made += adjoint(v[lo : lo + ROWS]) @ x[lo : lo + ROWS]
    return made


def reflect_tile(xp: Any, x: Any, v: Any, one: Any, t: Any) -> None:
    """``x - v t v^H x`` in place; `one`: the first rows of v."""
    n = one.shape[0]
    w = adjoint(one) @ x[:n]
    w += inner(v[n:], x[n:])
    w = t @ w
    x[:n] -= one @ w
    scratch = xp.empty((min(ROWS, x.shape[0]), x.shape[1]), x.dtype)
    for lo in range(n, x.shape[0], ROWS):
        subtract_product(xp, x[lo : lo + ROWS], v[lo : lo + ROWS], w, scratch)


@single
def reflected(xp: Any, *inputs: Any, rows: int, tile: int, inverse: bool, threads: int) -> Any:
    """The last input, with zeros above it to so many rows, reflected by the Qs of factored panels (or by their
    inverses), the first one first. Each panel takes the last rows."""
    *factors, x = inputs
    made = xp.zeros((rows, x.shape[1]), x.dtype)
    made[rows - x.shape[0] :] = x
    across = slices(x.shape[1], across_of(tile))
    spread(xp, [partial(reflect_by, xp, made[:, c], factors, tile, inverse) for c in across], threads)
    return made


def reflect_by(xp: Any, x: Any, factors: Sequence[Any], tile: int, inverse: bool) -> None:
    """A tile of columns reflected by the Qs of factored panels, in place."""
    for packed in factors:
        m, n = packed.shape[0] - tile, packed.shape[1]
        spans = slices(n, tile)
        for at in spans if inverse else spans[::-1]:
            v, t = packed[at.start : m, at], packed[m : m + at.stop - at.start, at]
            reflect_tile(xp, x[x.shape[0] - m + at.start :], v, unit_lower(xp, v), adjoint(t) if inverse else t)


def panel_r(xp: Any, packed: Any) -> Any:
    """The r of a factored panel."""
    return xp.triu(packed[: packed.shape[1]])
