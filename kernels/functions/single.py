"""The functions of float32: computed in float64 by shorter polynomials, and rounded once.

An error of 2**-30 before the rounding makes at most 0.51 ulp after it, and float64 has no subnormal, overflowing or
cancelling case in the range of float32, so nothing here needs a correction.
"""

from __future__ import annotations

import math

import numpy as np

from gpuarray.kernels.functions import logarithm as double
from gpuarray.kernels.functions import trigonometric
from gpuarray.kernels.functions.power import with_edges
from gpuarray.kernels.functions.scalar import (
    INF,
    LN2,
    LOG2_E,
    NAN,
    ROUND,
    SHIFT_1,
    SHIFT_62,
    SIGN_BIT,
    power_of_two,
    scalar,
)
from gpuarray.kernels.intrinsics import copysign, fabs, float_bits, float_from_bits, fma, select, sqrt

SAFE_LIMIT = trigonometric.SAFE_LIMIT

_LN2_ALL = math.log(2.0)
_LOG10_2 = math.log10(2.0)
_LOG10_E = math.log10(math.e)
_PI_4 = 0.25 * math.pi
_TAN_PI_8 = math.tan(math.pi / 8)
_TAN_3_PI_8 = math.tan(3 * math.pi / 8)


@scalar
def _clamp(x: float, limit: float) -> float:
    x = select(x > limit, limit, x)
    return select(x < -limit, -limit, x)


@scalar
def _expm1_reduced(r: float) -> float:
    """``exp(r) - 1`` for |r| <= 0.35, within 2**-32 of itself."""
    p = fma(r, 0.00019841356984133486, 0.0013941091126067496)
    p = fma(r, p, 0.008333402917385973)
    p = fma(r, p, 0.04166635331419716)
    p = fma(r, p, 0.16666666248385176)
    p = fma(r, p, 0.5000000046945153)
    return r * fma(r, p, 1.000000000031391)


@scalar
def _exp(x: float) -> float:
    """``exp(x)`` for |x| <= 700."""
    rounded = fma(x, LOG2_E, ROUND)
    r = fma(rounded - ROUND, -LN2, x)
    a = power_of_two(rounded)
    return fma(a, _expm1_reduced(r), a)


@scalar
def _expm1(x: float) -> float:
    """``exp(x) - 1`` for |x| <= 700."""
    rounded = fma(x, LOG2_E, ROUND)
    r = fma(rounded - ROUND, -LN2, x)
    a = power_of_two(rounded)
    return fma(a, _expm1_reduced(r), a - 1.0)


@scalar
def exp(x: np.float32) -> np.float32:
    return np.float32(_exp(_clamp(np.float64(x), 200.0)))


@scalar
def exp2(x: np.float32) -> np.float32:
    y = _clamp(np.float64(x), 200.0)
    rounded = y + ROUND
    r = (y - (rounded - ROUND)) * LN2
    a = power_of_two(rounded)
    return np.float32(fma(a, _expm1_reduced(r), a))


@scalar
def expm1(x: np.float32) -> np.float32:
    result = np.float32(_expm1(_clamp(np.float64(x), 200.0)))
    return select(x == np.float32(0.0), x, result)


@scalar
def sinh(x: np.float32) -> np.float32:
    y = np.float64(x)
    t = _expm1(_clamp(fabs(y), 200.0))
    return np.float32(copysign(0.5 * (t + t / (t + 1.0)), y))


@scalar
def cosh(x: np.float32) -> np.float32:
    t = _exp(_clamp(np.float64(x), 200.0))
    return np.float32(0.5 * (t + 1.0 / t))


@scalar
def tanh(x: np.float32) -> np.float32:
    y = np.float64(x)
    t = _expm1(2.0 * _clamp(fabs(y), 20.0))
    return np.float32(copysign(t / (t + 2.0), y))


@scalar
def _log1p_reduced(f: float) -> float:
    """``log(1 + f)`` for 1 + f in [sqrt(1/2), sqrt(2)], within 2**-30 of itself."""
    p = fma(f, 0.06725353510370796, -0.1171924095121073)
    p = fma(f, p, 0.11926728273562402)
    p = fma(f, p, -0.124009507517394)
    p = fma(f, p, 0.1421242490764737)
    p = fma(f, p, -0.1666791453820121)
    p = fma(f, p, 0.20002582012845824)
    p = fma(f, p, -0.25000027196081015)
    p = fma(f, p, 0.3333330149524911)
    p = fma(f, p, -0.4999999966558372)
    return f * fma(f, p, 1.000000000634449)


@scalar
def log(x: np.float32) -> np.float32:
    y = np.float64(x)
    k, m = double.split_normal(y)
    return np.float32(double.with_edges(y, fma(k, _LN2_ALL, _log1p_reduced(m - 1.0))))


@scalar
def log2(x: np.float32) -> np.float32:
    y = np.float64(x)
    k, m = double.split_normal(y)
    return np.float32(double.with_edges(y, fma(_log1p_reduced(m - 1.0), LOG2_E, k)))


@scalar
def log10(x: np.float32) -> np.float32:
    y = np.float64(x)
    k, m = double.split_normal(y)
    return np.float32(double.with_edges(y, fma(k, _LOG10_2, _LOG10_E * _log1p_reduced(m - 1.0))))


@scalar
def log1p(x: np.float32) -> np.float32:
    y = np.float64(x)
    u = 1.0 + y
    k, m = double.split_normal(u)
    # what 1 + x loses matters where x is tiny, and 1 + x is then 1
    result = fma(k, _LN2_ALL, _log1p_reduced(m - 1.0) + select(fabs(y) < 1.0, y - (u - 1.0), 0.0))
    result = np.float32(double.with_edges(u, result))
    return select(x == np.float32(0.0), x, result)


@scalar
def _reduce(x: float) -> tuple[float, float]:
    rounded = fma(x, trigonometric.TWO_OVER_PI, ROUND)
    n = rounded - ROUND
    return rounded, fma(-n, trigonometric.PI_2_TAIL, fma(-n, trigonometric.PI_2, x))


@scalar
def _sine(r: float) -> float:
    z = r * r
    p = fma(z, 2.7163785211047927e-06, -0.0001983909334690017)
    p = fma(z, p, 0.008333328403845474)
    p = fma(z, p, -0.16666666627436813)
    return r * fma(z, p, 0.9999999999949736)


@scalar
def _cosine(r: float) -> float:
    z = r * r
    p = fma(z, 2.43640082445456e-05, -0.0013886432839114841)
    p = fma(z, p, 0.041666609946859307)
    p = fma(z, p, -0.49999999536526485)
    return fma(z, p, 0.9999999999383297)


@scalar
def _sine_or_cosine(x: float, quadrant: np.uint64) -> float:
    rounded, r = _reduce(x)
    n = float_bits(rounded) + quadrant
    result = select((n & SHIFT_1) != 0, _cosine(r), _sine(r))
    return float_from_bits(float_bits(result) ^ ((n << SHIFT_62) & SIGN_BIT))


@scalar
def sin(x: np.float32) -> np.float32:
    result = np.float32(_sine_or_cosine(np.float64(x), trigonometric.NO_TURN))
    return select(x == np.float32(0.0), x, result)


@scalar
def cos(x: np.float32) -> np.float32:
    return np.float32(_sine_or_cosine(np.float64(x), trigonometric.QUARTER_TURN))


@scalar
def tan(x: np.float32) -> np.float32:
    rounded, r = _reduce(np.float64(x))
    sine = _sine(r)
    cosine = _cosine(r)
    odd = (float_bits(rounded) & SHIFT_1) != 0
    result = np.float32(select(odd, -cosine, sine) / select(odd, sine, cosine))
    return select(x == np.float32(0.0), x, result)


@scalar
def sin_any(x: np.float32) -> np.float32:
    """`sin` for every x. Does not vectorise."""
    return np.float32(trigonometric.sin_any(np.float64(x)))


@scalar
def cos_any(x: np.float32) -> np.float32:
    """`cos` for every x. Does not vectorise."""
    return np.float32(trigonometric.cos_any(np.float64(x)))


@scalar
def tan_any(x: np.float32) -> np.float32:
    """`tan` for every x. Does not vectorise."""
    return np.float32(trigonometric.tan_any(np.float64(x)))


@scalar
def power(x: np.float32, y: np.float32) -> np.float32:
    base = np.float64(x)
    exponent = np.float64(y)
    k, m = double.split_normal(fabs(base))
    # within 2**-52 of itself, where y times it is below 2**8: too little to see in float32
    p = exponent * double.log_of_parts(k, m)
    return np.float32(with_edges(base, exponent, _exp(_clamp(p, 200.0))))


@scalar
def _angle(eighths: float, sign: float, above: float, below: float) -> float:
    """``eighths * pi/4 + sign * arctan(above / below)``; the quotient is at most tan(pi / 8)."""
    q = above / below
    z = q * q
    p = fma(z, -0.060324580975325816, 0.10572583519976614)
    p = fma(z, p, -0.14239964268956412)
    p = fma(z, p, 0.1999821065821813)
    p = fma(z, p, -0.333333075127135)
    return fma(eighths, _PI_4, sign * q * fma(z, p, 0.999999999393573))


@scalar
def arctan(x: np.float32) -> np.float32:
    y = np.float64(x)
    size = fabs(y)
    large = size > _TAN_3_PI_8
    middle = size > _TAN_PI_8
    above = select(large, -1.0, select(middle, size - 1.0, size))
    below = select(large, size, select(middle, size + 1.0, 1.0))
    eighths = select(large, 2.0, select(middle, 1.0, 0.0))
    return np.float32(copysign(_angle(eighths, 1.0, above, below), y))


@scalar
def arctan2(y: np.float32, x: np.float32) -> np.float32:
    a = np.float64(y)
    b = np.float64(x)
    swap = fabs(a) > fabs(b)
    large = select(swap, fabs(a), fabs(b))
    small = select(swap, fabs(b), fabs(a))
    small = select(large == INF, select(small == INF, 1.0, 0.0), small)
    large = select((large == INF) | (large == 0.0), 1.0, large)
    middle = small > _TAN_PI_8 * large
    eighths = select(middle, 1.0, 0.0)
    eighths = select(swap, 2.0 - eighths, eighths)
    negative = (float_bits(b) & SIGN_BIT) != 0
    eighths = select(negative, 4.0 - eighths, eighths)
    sign = select(swap ^ negative, -1.0, 1.0)
    above = select(middle, small - large, small)
    below = select(middle, small + large, large)
    result = copysign(_angle(eighths, sign, above, below), a)
    return np.float32(select((a != a) | (b != b), NAN, result))


@scalar
def _arcsin_reduced(q: float, z: float) -> float:
    """``arcsin q`` for 0 <= q <= 1/2 and ``z = q**2``."""
    p = fma(z, 0.03788536542128479, 0.01413996458620276)
    p = fma(z, p, 0.031900566013492365)
    p = fma(z, p, 0.04450313420672015)
    p = fma(z, p, 0.07500603696651548)
    p = fma(z, p, 0.16666656956888792)
    return q * fma(z, p, 1.0000000002540252)


@scalar
def arcsin(x: np.float32) -> np.float32:
    y = np.float64(x)
    size = fabs(y)
    small = size <= 0.5
    z = select(small, size * size, 0.5 - 0.5 * size)
    angle = _arcsin_reduced(select(small, size, sqrt(z)), z)
    return np.float32(copysign(select(small, angle, 2.0 * _PI_4 - 2.0 * angle), y))


@scalar
def arccos(x: np.float32) -> np.float32:
    y = np.float64(x)
    size = fabs(y)
    small = size <= 0.5
    z = select(small, size * size, 0.5 - 0.5 * size)
    angle = _arcsin_reduced(select(small, size, sqrt(z)), z)
    inner = 2.0 * _PI_4 - copysign(angle, y)
    outer = select(y < 0.0, 4.0 * _PI_4 - 2.0 * angle, 2.0 * angle)
    return np.float32(select(small, inner, outer))
