"""Inverses of the error function and of the normal distribution.

The quotients are those of M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied
Statistics 37, 1988 (PPND16).
"""

from __future__ import annotations

from typing import Any

from gpuarray.kernels.special.steps import copysign, fabs, fma, log, select, sqrt

_ROOT_HALF = 0.7071067811865476
_HALF_ROOT_PI = 0.886226925452758
_LOG_2 = 0.6931471805599453
_INFINITY = float("inf")


def _centre(r: Any) -> Any:
    """AS 241's quotient around 1/2."""
    p = fma(r, 2509.0809287301227, 33430.57558358813)
    p = fma(r, p, 67265.7709270087)
    p = fma(r, p, 45921.95393154987)
    p = fma(r, p, 13731.69376550946)
    p = fma(r, p, 1971.5909503065513)
    p = fma(r, p, 133.14166789178438)
    p = fma(r, p, 3.3871328727963665)
    q = fma(r, 5226.495278852854, 28729.085735721943)
    q = fma(r, q, 39307.89580009271)
    q = fma(r, q, 21213.794301586597)
    q = fma(r, q, 5394.196021424751)
    q = fma(r, q, 687.1870074920579)
    q = fma(r, q, 42.31333070160091)
    q = fma(r, q, 1.0)
    return p / q


def _outside(r: Any) -> Any:
    """AS 241's quotient for ``sqrt(-log p)`` up to 5."""
    p = fma(r, 0.0007745450142783414, 0.022723844989269184)
    p = fma(r, p, 0.2417807251774506)
    p = fma(r, p, 1.2704582524523684)
    p = fma(r, p, 3.6478483247632045)
    p = fma(r, p, 5.769497221460691)
    p = fma(r, p, 4.630337846156546)
    p = fma(r, p, 1.4234371107496835)
    q = fma(r, 1.0507500716444169e-09, 0.0005475938084995345)
    q = fma(r, q, 0.015198666563616457)
    q = fma(r, q, 0.14810397642748008)
    q = fma(r, q, 0.6897673349851)
    q = fma(r, q, 1.6763848301838038)
    q = fma(r, q, 2.053191626637759)
    q = fma(r, q, 1.0)
    return p / q


def _far_outside(r: Any) -> Any:
    """AS 241's quotient for ``sqrt(-log p)`` from 5 on."""
    p = fma(r, 2.0103343992922881e-07, 2.7115555687434876e-05)
    p = fma(r, p, 0.0012426609473880784)
    p = fma(r, p, 0.026532189526576124)
    p = fma(r, p, 0.29656057182850487)
    p = fma(r, p, 1.7848265399172913)
    p = fma(r, p, 5.463784911164114)
    p = fma(r, p, 6.657904643501103)
    q = fma(r, 2.0442631033899397e-15, 1.421511758316446e-07)
    q = fma(r, q, 1.8463183175100548e-05)
    q = fma(r, q, 0.0007868691311456133)
    q = fma(r, q, 0.014875361290850615)
    q = fma(r, q, 0.1369298809227358)
    q = fma(r, q, 0.599832206555888)
    q = fma(r, q, 1.0)
    return p / q


def _quantile(q: Any, square: Any) -> Any:
    """The x of ``ndtr(x) = 1/2 + q``; `square` is ``-log(1/2 - |q|)``, without that difference's rounding."""
    r = sqrt(square)
    outside = select(r > 5.0, _far_outside(r - 5.0), _outside(r - 1.6))
    outside = select(r == _INFINITY, r, outside)
    return select(fabs(q) <= 0.425, q * _centre(0.180625 - q * q), copysign(outside, q))


def ndtri(p: Any) -> Any:
    return _quantile(p - 0.5, -log(select(p < 0.5, p, 1.0 - p)))


def erfinv(y: Any) -> Any:
    size = fabs(y)
    result = _ROOT_HALF * _quantile(0.5 * y, _LOG_2 - log(1.0 - size))
    return select(size < 1e-20, y * _HALF_ROOT_PI, result)


def erfcinv(y: Any) -> Any:
    return _ROOT_HALF * _quantile(0.5 - 0.5 * y, _LOG_2 - log(select(y < 1.0, y, 2.0 - y)))
