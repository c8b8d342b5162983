"""The error function and the normal distribution.

All tails are ``exp(-x**2) erfcx(x)``, where one polynomial in ``(x - 3) / (x + 3)`` is erfcx for every x >= 0 (the
substitution is that of M. M. Shepherd and J. G. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x**2) erfc x in
0 <= x < infinity", Math. Comp. 36, 1981; the coefficients are our own).
"""

from __future__ import annotations

from typing import Any

from gpuarray.kernels.special.steps import copysign, exp, fabs, fma, log, log1p, select

_ROUND = 1.5 * 2.0**52
_GRID = 2.0**20
_ROOT_HALF = 0.7071067811865476
_INFINITY = float("inf")


def _erfcx_polynomial(t: Any) -> Any:
    """``(1 + 2 x) erfcx(x)`` of ``t = (x - 3) / (x + 3)``, within 2**-54."""
    p = fma(t, 8.864219016427092e-10, 9.885798831139365e-10)
    p = fma(t, p, -8.500397929772615e-09)
    p = fma(t, p, -1.3326364813003834e-08)
    p = fma(t, p, 4.180784698845582e-08)
    p = fma(t, p, 1.0187000600072885e-07)
    p = fma(t, p, -1.4160064940265987e-07)
    p = fma(t, p, -6.166496077604353e-07)
    p = fma(t, p, 3.5683839153992204e-07)
    p = fma(t, p, 3.472414602875686e-06)
    p = fma(t, p, -7.315105164159062e-07)
    p = fma(t, p, -2.0100567931289227e-05)
    p = fma(t, p, 4.949484992570595e-06)
    p = fma(t, p, 0.00012509935235563107)
    p = fma(t, p, -0.00010515979981501177)
    p = fma(t, p, -0.0007798322721083991)
    p = fma(t, p, 0.0018886903591561553)
    p = fma(t, p, 0.002529391816066239)
    p = fma(t, p, -0.023770514918645888)
    p = fma(t, p, 0.06830802734397848)
    p = fma(t, p, -0.11927366341530699)
    p = fma(t, p, 0.1296451587027606)
    p = fma(t, p, -0.04756229435345087)
    p = fma(t, p, -0.13562110612458117)
    return fma(t, p, 1.2530080582697296)


def _erf_polynomial(z: Any) -> Any:
    """``erf(x) / x`` of ``z = x**2`` up to 1, within 2**-55."""
    p = fma(z, 5.957176147748911e-11, -1.1372848856791674e-09)
    p = fma(z, p, 1.4659775274047436e-08)
    p = fma(z, p, -1.6350312701054695e-07)
    p = fma(z, p, 1.6461000484121368e-06)
    p = fma(z, p, -1.4925595266831182e-05)
    p = fma(z, p, 0.0001205533111164271)
    p = fma(z, p, -0.000854832698083379)
    p = fma(z, p, 0.0052239776248180145)
    p = fma(z, p, -0.026866170645076792)
    p = fma(z, p, 0.11283791670954879)
    p = fma(z, p, -0.3761263890318375)
    return fma(z, p, 1.1283791670955126)


def erfcx_positive(x: Any) -> Any:
    """``exp(x**2) erfc(x)`` for x >= 0."""
    y = select(x > 1e17, 1e17, x)
    return 0.5 * _erfcx_polynomial((y - 3.0) / (y + 3.0)) / (0.5 + x)


def _exp_of_square(x: Any, factor: Any) -> Any:
    """``exp(factor x**2)`` for 0 <= x <= 40 and a factor that is a power of two or minus one.

    The square of x to 20 binary places is exact, and what it lacks is tiny.
    """
    near = (x * _GRID + _ROUND - _ROUND) / _GRID
    d = factor * (x - near) * (x + near)
    e = exp(factor * near * near)
    return fma(e, d * fma(d, fma(d, 0.16666666666666666, 0.5), 1.0), e)


def _erfc_positive(x: Any) -> Any:
    """``erfc(x)`` for x >= 0."""
    y = select(x > 28.0, 28.0, x)
    return _exp_of_square(y, -1.0) * erfcx_positive(y)


def erf(x: Any) -> Any:
    size = fabs(x)
    inside = x * _erf_polynomial(x * x)
    return select(size < 1.0, inside, copysign(1.0 - _erfc_positive(size), x))


def erfc(x: Any) -> Any:
    size = fabs(x)
    tail = _erfc_positive(size)
    inside = 1.0 - x * _erf_polynomial(x * x)
    return select(size < 0.25, inside, select(x < 0.0, 2.0 - tail, tail))


def erfcx(x: Any) -> Any:
    size = fabs(x)
    scaled = erfcx_positive(size)
    square = _exp_of_square(select(size > 26.64, 26.64, size), 1.0)
    return select(x < 0.0, select(size > 26.64, _INFINITY, 2.0 * square - scaled), scaled)


def _upper_tail(x: Any) -> Any:
    """``ndtr(-x)`` for x >= 0."""
    y = select(x > 40.0, 40.0, x)
    return 0.5 * _exp_of_square(y, -0.5) * erfcx_positive(y * _ROOT_HALF)


def ndtr(x: Any) -> Any:
    size = fabs(x)
    tail = _upper_tail(size)
    inside = fma(0.5 * _ROOT_HALF * x, _erf_polynomial(0.5 * x * x), 0.5)
    return select(size < 0.5, inside, select(x < 0.0, tail, 1.0 - tail))


def log_ndtr(x: Any) -> Any:
    size = fabs(x)
    scaled = erfcx_positive(size * _ROOT_HALF)
    below = log(0.5 * scaled) - 0.5 * x * x
    return select(x < 0.0, below, log1p(-ndtr(-x)))
