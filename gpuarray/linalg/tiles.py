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
from gpuarray.kernels.backends import level3
from gpuarray.kernels.backends.blas import single
from gpuarray.linalg.blocks import adjoint

LEAF = 128
"""Columns of a triangle that are solved for at once."""
ROWS = 1024
"""Rows of a reflected tile that are updated at once: what a product leaves in between stays in the cache."""


def spread(xp: Any, jobs: Sequence[Callable[[], None]], threads: int) -> None:
    """Do jobs that do not depend on each other: in several threads, unless a device does the work."""
    share(jobs, threads if xp is np else 1)


def add_product(xp: Any, x: Any, left: Any, right: Any, factor: float = 1.0, turned: str = "") -> None:
    """``x += factor * left @ right``, in place, where `factor` is 1 or -1; `turned`: which operand is conjugated and
    transposed first."""
    if level3.add(x, left, right, factor, turned):
        return
    made = (adjoint(left) if turned == "left" else left) @ (adjoint(right) if turned == "right" else right)
    (xp.add if factor > 0 else xp.subtract)(x, made, out=x)


def in_tiles(arrays: Iterable[Any], tile: int) -> list[Any]:
    """Runs of rows, one below the other, as tiles of rows."""
    return [a[lo : lo + tile] for a in arrays for lo in range(0, a.shape[0], tile)]


def slices(n: int, tile: int) -> list[slice]:
    return [slice(lo, min(n, lo + tile)) for lo in range(0, n, tile)]


# Cholesky. A block of the diagonal comes with what its triangles are solved by: the inverses of those of up to LEAF
# columns on its diagonal, side by side below it.


def strip_of(tile: int) -> int:
    """Rows that are multiplied at once: half a tile, so that threads have as many in few tiles of rows."""
    return max(4, tile // 2)


def subtract_products(xp: Any, x: Any, pairs: Sequence[tuple[Any, Any]], tile: int) -> None:
    """Rows less the products of pairs of tiles of rows, ``left @ right^H``, in place: a tile's columns at a time."""
    for left, right in pairs:
        for k in slices(left.shape[1], tile):
            add_product(xp, x, left[:, k], right[:, k], -1.0, "right")


def subtract_squares(xp: Any, x: Any, every: Sequence[Any], tile: int) -> None:
    """A tile of the diagonal less what tiles of rows make of it; only what is not above the diagonal is right."""
    for rows in every:
        for k in slices(rows.shape[1], tile):
            if not level3.subtract_square(x, rows[:, k]):
                add_product(xp, x, rows[:, k], rows[:, k], -1.0, "right")


def less(xp: Any, x: Any, rows: Sequence[Sequence[Any]], tile: int) -> list[Callable[[], None]]:
    """Jobs that take from a block of the diagonal what tiles of the rows beside it make, for each of several blocks."""
    at, jobs = slices(x.shape[0], tile), list[Callable[[], None]]()
    for j, c in enumerate(at):
        jobs.append(partial(subtract_squares, xp, x[c, c], [b[j] for b in rows], tile))
        for i in range(j + 1, len(at)):
            for r in slices(at[i].stop - at[i].start, strip_of(tile)):
                pairs = [(b[i][r], b[j]) for b in rows]
                jobs.append(partial(subtract_products, xp, x[at[i], c][r], pairs, tile))
    return jobs


@single
def corner_less(xp: Any, x: Any, *runs: Any, counts: tuple[int, ...], tile: int, threads: int) -> Any:
    """A block of the diagonal less what earlier block columns make of it. Of each of them come the rows beside the
    block, in so many runs as `counts` says. Only the tiles on and below the diagonal are right."""
    made, given = xp.array(x, order="C"), iter(runs)
    beside = [in_tiles([next(given) for _ in range(count)], tile) for count in counts]
    spread(xp, less(xp, made, beside, tile), threads)
    return made


@single
def corner_factor(xp: Any, x: Any, *runs: Any, counts: tuple[int, ...], tile: int, threads: int) -> Any:
    """The Cholesky factor of a block of the diagonal, and below it the inverses that `solve_rows` takes."""
    n, leaf = x.shape[0], min(tile, LEAF)
    made = xp.zeros((n + leaf, n), x.dtype)
    made[:n] = corner_less(xp, x, *runs, counts=counts, tile=tile, threads=threads)
    corner, inverses, spans = made[:n], made[n:], slices(n, tile)
    for at in spans:
        corner[at, at] = xp.linalg.cholesky(corner[at, at])
        corner[at, at.stop :] = 0
        for lo in range(at.start, at.stop, leaf):
            hi = min(at.stop, lo + leaf)
            inverses[: hi - lo, lo:hi] = xp.linalg.inv(corner[lo:hi, lo:hi])
        below = corner[at.stop :, at]
        jobs = [
            partial(solve_rows, xp, rows, corner[at, at], inverses[:, at]) for rows in in_tiles([below], strip_of(tile))
        ]
        spread(xp, jobs, threads)
        spread(xp, less(xp, corner[at.stop :, at.stop :], [in_tiles([below], tile)], tile), threads)
    return made


def solve_rows(xp: Any, x: Any, triangle: Any, inverses: Any) -> None:
    """Solve ``y triangle^H = x`` in place, for a lower triangle: a few columns by substitution, less what those before
    them make, by products.

    Where the library's substitution is not at hand, it is a product with an inverse, made good by one step of
    refinement: the rest is as small.

    Source: Du Croz and Higham, "Stability of methods for matrix inversion", IMA J. Numer. Anal. 12, 1992.
    """
    n, leaf = triangle.shape[0], inverses.shape[0]
    for lo in range(0, n, leaf):
        hi = min(n, lo + leaf)
        part, corner = x[:, lo:hi], triangle[lo:hi, lo:hi]
        if lo:
            add_product(xp, part, x[:, :lo], triangle[lo:hi, :lo], -1.0, "right")
        if not level3.divide(part, corner):
            inverse = adjoint(inverses[: hi - lo, lo:hi])
            y = part @ inverse
            y += (part - y @ adjoint(corner)) @ inverse
            x[:, lo:hi] = y


@single
def rows_less(xp: Any, x: Any, *pieces: Any, counts: tuple[int, ...], tile: int, threads: int) -> Any:
    """Rows below the diagonal less what earlier block columns make of them. Of each of them come the same rows, and the
    rows beside the block of the diagonal in so many runs as `counts` says."""
    made, given = xp.array(x, order="C"), iter(pieces)
    left, top = [], []
    for count in counts:
        left.append(in_tiles([next(given)], strip_of(tile)))
        top.append(in_tiles([next(given) for _ in range(count)], tile))
    jobs = [
        partial(subtract_products, xp, made[r, c], [(b[i], t[j]) for b, t in zip(left, top, strict=True)], tile)
        for i, r in enumerate(slices(x.shape[0], strip_of(tile)))
        for j, c in enumerate(slices(x.shape[1], tile))
    ]
    spread(xp, jobs, threads)
    return made


@single
def rows_factor(xp: Any, x: Any, corner: Any, *pieces: Any, counts: tuple[int, ...], tile: int, threads: int) -> Any:
    """The rows of a Cholesky factor below the block of the diagonal that is given factored."""
    made = rows_less(xp, x, *pieces, counts=counts, tile=tile, threads=threads)
    spread(xp, [partial(solve_tiles, xp, rows, corner, tile) for rows in in_tiles([made], strip_of(tile))], threads)
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
        gram = adjoint(one) @ one
        add_inner(xp, gram, v[w:], v[w:])
        gram = xp.triu(gram, 1)
        t = xp.linalg.solve(xp.eye(w, dtype=x.dtype) + tau[:, None] * gram, xp.diag(tau))
        packed[m : m + w, at] = t
        later = made[at.start :, at.stop :]
        across = slices(later.shape[1], tile)
        spread(xp, [partial(reflect_tile, xp, later[:, c], v, one, adjoint(t)) for c in across], threads)
    return packed


def unit_lower(xp: Any, v: Any) -> Any:
    """The first rows of Householder's vectors."""
    n = v.shape[1]
    return xp.tril(v[:n], -1) + xp.eye(n, dtype=v.dtype)


def add_inner(xp: Any, w: Any, v: Any, x: Any) -> None:
    """``w += v^H x`` of long panels, piece by piece."""
    for lo in range(0, x.shape[0], ROWS):
        add_product(xp, w, v[lo : lo + ROWS], x[lo : lo + ROWS], turned="left")


def reflect_tile(xp: Any, x: Any, v: Any, one: Any, t: Any) -> None:
    """``x - v t v^H x`` in place; `one`: the first rows of v."""
    n = one.shape[0]
    w = adjoint(one) @ x[:n]
    add_inner(xp, w, v[n:], x[n:])
    w = t @ w
    add_product(xp, x[:n], one, w, -1.0)
    for lo in range(n, x.shape[0], ROWS):
        add_product(xp, x[lo : lo + ROWS], v[lo : lo + ROWS], w, -1.0)


@single
def reflected(xp: Any, *inputs: Any, rows: int, tile: int, inverse: bool, threads: int) -> Any:
    """The last input, with zeros above it to so many rows, reflected by the Qs of factored panels (or by their
    inverses), the first one first. Each panel takes the last rows."""
    *factors, x = inputs
    made = xp.zeros((rows, x.shape[1]), x.dtype)
    made[rows - x.shape[0] :] = x
    across = slices(x.shape[1], tile)
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
