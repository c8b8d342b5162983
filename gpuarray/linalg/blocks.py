"""What happens to one block or panel of a factorisation: plain functions of arrays, called in tasks."""

from __future__ import annotations

from typing import Any

import numpy as np

LEAF = 128
"""Rows of a triangular system that the library solves at once; the rest are products."""
NARROW = 16
"""Columns of a panel that are eliminated one by one."""


def adjoint(x: Any) -> Any:
    """The conjugate transpose of matrices; of real ones a view."""
    turned = x.swapaxes(-1, -2)
    return turned.conj() if x.dtype.kind == "c" else turned


def triangular(xp: Any, a: Any, b: Any, lower: bool, unit: bool = False) -> Any:
    """``a x = b`` for triangular `a`, of which the other half is not looked at."""
    if lower:  # an upper one, read from the end: the library's elimination has nothing to do there
        return triangular(xp, a[..., ::-1, ::-1], b[..., ::-1, :], False, unit)[..., ::-1, :]
    n = a.shape[-1]
    found: list[Any] = []
    for hi in range(n, 0, -LEAF):
        lo = max(0, hi - LEAF)
        rest = b[..., lo:hi, :]
        if found:
            below = found[0] if len(found) == 1 else xp.concatenate(found, axis=-2)
            found = [below]
            rest = rest - a[..., lo:hi, hi:] @ below
        corner = xp.triu(a[..., lo:hi, lo:hi], 1 if unit else 0)
        if unit:
            corner = corner + xp.eye(hi - lo, dtype=a.dtype)
        found.insert(0, xp.linalg.solve(corner, rest))
    if not found:
        return b + xp.zeros((*a.shape[:-2], 1, 1), a.dtype)
    return xp.concatenate(found, axis=-2) if len(found) > 1 else found[0]


def cholesky(xp: Any, a: Any) -> Any:
    return xp.linalg.cholesky(a)


def itself(xp: Any, x: Any) -> Any:
    return x


# QR of blocks of rows.


def block_r(block: Any) -> Any:
    """The R of a tall block."""
    return np.linalg.qr(block, mode="r")


def block_q(block: Any, small: Any = None) -> Any:
    """The Q of a tall block, times a small matrix."""
    q = np.linalg.qr(block)[0]
    return q if small is None else q @ small


# LU. A factored panel is l and u in one, a column with the order of its rows, and one with the sign of that order.


def lu_panel(xp: Any, x: Any) -> Any:
    """Gaussian elimination with partial pivoting of a panel of at least as many rows as columns.

    Source: Toledo, "Locality of reference in LU decomposition with partial pivoting", SIAM J. Matrix Anal. 18, 1997.
    """
    m, n = x.shape
    a = xp.array(x, order="F")
    order, sign = list(range(m)), 1
    stack: list[tuple[int, int, str]] = [(0, n, "factor")]
    while stack:
        lo, hi, what = stack.pop()
        middle = (lo + hi) // 2
        if what == "update":
            top = triangular(xp, a[lo:middle, lo:middle], a[lo:middle, middle:hi], lower=True, unit=True)
            a[lo:middle, middle:hi] = top
            a[middle:, middle:hi] -= a[middle:, lo:middle] @ top
        elif hi - lo > NARROW:
            stack += [(middle, hi, "factor"), (lo, hi, "update"), (lo, middle, "factor")]
        else:
            for c in range(lo, hi):
                p = c + int(abs(a[c:, c]).argmax())
                if p != c:
                    a[[c, p]] = a[[p, c]]
                    order[c], order[p], sign = order[p], order[c], -sign
                pivot = a[c, c]
                if pivot != 0:
                    a[c + 1 :, c] /= pivot
                a[c + 1 :, c + 1 : hi] -= a[c + 1 :, c, None] * a[c, None, c + 1 : hi]
    packed = xp.empty((m, n + 2), x.dtype)
    packed[:, :n] = a
    packed[:, n] = xp.asarray(np.array(order, real_dtype(x.dtype)))
    packed[:, n + 1] = sign
    return packed


def real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    made: np.dtype[Any] = np.zeros((), dtype).real.dtype
    return made


def eliminate(xp: Any, factor: Any, x: Any) -> Any:
    """What elimination by a factored panel makes of other columns; the first rows are then done."""
    n = factor.shape[1] - 2
    made = x[factor[:, n].real.astype(np.int64)]
    top = triangular(xp, factor[:n, :n], made[:n], lower=True, unit=True)
    made[:n] = top
    made[n:] -= factor[n:, :n] @ top
    return made


def sign_and_log(xp: Any, factor: Any) -> Any:
    """The sign, and the logarithm of the size, of a factored panel's share of the determinant."""
    n = factor.shape[1] - 2
    diagonal = xp.diagonal(factor[:n, :n])
    size = abs(diagonal)
    sign = xp.where(size == 0, diagonal, diagonal / xp.where(size == 0, size + 1, size)).prod() * factor[0, n + 1]
    return xp.stack([sign, xp.log(size).sum().astype(factor.dtype)])
