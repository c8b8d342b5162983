"""Products with logarithms, and the terms of entropies and divergences."""

from __future__ import annotations

from typing import Any

from gpuarray.kernels.special.steps import fma, log, log1p, select, sqrt

_INFINITY = float("inf")
_NAN = float("nan")


def _series(z: Any) -> Any:
    """``(arctanh(s) / s - 1) / z`` of ``z = s**2`` up to 1/9, within 2**-55 of ``arctanh(s) / s``."""
    p = fma(z, 0.08082022805971766, 0.04400369243072337)
    p = fma(z, p, 0.06000536404795356)
    p = fma(z, p, 0.06657072104827468)
    p = fma(z, p, 0.07692785032479312)
    p = fma(z, p, 0.09090894718066429)
    p = fma(z, p, 0.11111111358713932)
    p = fma(z, p, 0.1428571428355438)
    p = fma(z, p, 0.20000000000007292)
    return fma(z, p, 0.3333333333333333)


def xlogy(x: Any, y: Any) -> Any:
    return select((x == 0.0) & (y == y), 0.0, x * log(y))


def xlog1py(x: Any, y: Any) -> Any:
    return select((x == 0.0) & (y == y), 0.0, x * log1p(y))


def entr(x: Any) -> Any:
    result = select(x > 0.0, -x * log(x), select(x == 0.0, 0.0, -_INFINITY))
    return select(x == x, result, x)


def _near(x: Any, y: Any) -> Any:
    """Whether neither is more than twice the other: their difference is exact then."""
    return (x <= 2.0 * y) & (y <= 2.0 * x)


def _half_difference(x: Any, y: Any) -> Any:
    """``(x - y) / (x + y)``, whose arctanh is ``log(x / y) / 2``."""
    scale = select(x > 1.0, 0.5, 1.0)
    return (scale * x - scale * y) / (scale * x + scale * y)


def _times_log_ratio(x: Any, y: Any) -> Any:
    """``x log(x / y)`` for positive ones that are not near each other."""
    ratio = x / y
    inside = (ratio > 1e-30) & (ratio < 1e30)
    logarithm = log(select(inside, ratio, sqrt(sqrt(x)) / sqrt(sqrt(y))))  # the quotient may be too large or too small
    return x * select(inside, logarithm, 4.0 * logarithm)


def _with_edges(x: Any, y: Any, inside: Any, at_zero: Any) -> Any:
    """`inside` for positive x and y."""
    outside = select((x == 0.0) & (y >= 0.0), at_zero, _INFINITY)
    result = select((x > 0.0) & (y > 0.0), inside, outside)
    return select((x == x) & (y == y), result, _NAN)


def rel_entr(x: Any, y: Any) -> Any:
    s = _half_difference(x, y)
    z = s * s
    close = 2.0 * x * fma(s * z, _series(z), s)
    return _with_edges(x, y, select(_near(x, y), close, _times_log_ratio(x, y)), 0.0)


def kl_div(x: Any, y: Any) -> Any:
    s = _half_difference(x, y)
    z = s * s
    close = (x - y) * s * fma(z + s, _series(z), 1.0)
    return _with_edges(x, y, select(_near(x, y), close, _times_log_ratio(x, y) - x + y), y)
