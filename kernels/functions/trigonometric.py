"""sin, cos, tan in float64 for |x| <= `SAFE_LIMIT`.

``x = n pi/2 + r`` with |r| <= pi/4 (a little more for the largest x), pi/2 as three float64 and r as two: exact
enough where x is as near to a multiple of pi/2 as a float64 can be. n is exact up to `SAFE_LIMIT`; beyond, use
`sin_any` and its like, which call the C library there and are right everywhere, but do not vectorise.
"""

from __future__ import annotations

import math

import numpy as np

from gpuarray.kernels.functions.scalar import INF, NAN, ROUND, SHIFT_1, SHIFT_62, SIGN_BIT, scalar
from gpuarray.kernels.intrinsics import fabs, float_bits, float_from_bits, fma, select

SAFE_LIMIT = 2.0**45

TWO_OVER_PI = float.fromhex("0x1.45f306dc9c883p-1")
PI_2 = float.fromhex("0x1.921fb54442d18p+0")
PI_2_TAIL = float.fromhex("0x1.1a62633145c07p-54")
PI_2_TAIL_2 = float.fromhex("-0x1.f1976b7ed8fbcp-110")
NO_TURN = np.uint64(0)
QUARTER_TURN = np.uint64(1)


@scalar
def _reduce(x: float) -> tuple[float, float, float]:
    """``n + ROUND``, and ``x - n pi/2`` as a sum of two."""
    rounded = fma(x, TWO_OVER_PI, ROUND)
    n = rounded - ROUND
    exact = fma(-n, PI_2, x)
    second = n * PI_2_TAIL
    second_tail = fma(n, PI_2_TAIL, -second)
    r = exact - second
    other = r - exact
    lost = (exact - (r - other)) - (second + other)
    return rounded, r, fma(-n, PI_2_TAIL_2, lost - second_tail)


@scalar
def _sine_tail(r: float, tail: float, z: float) -> float:
    """``sin(r + tail) - r``."""
    p = fma(z, 1.589359785800296e-10, -2.5050704367456338e-08)
    p = fma(z, p, 2.7557313358795107e-06)
    p = fma(z, p, -0.00019841269828880487)
    p = fma(z, p, 0.008333333333321301)
    p = fma(z, p, -0.16666666666666627)
    return fma(r * z, p, fma(tail, -0.5 * z, tail))


@scalar
def _cosine(r: float, tail: float, z: float) -> tuple[float, float]:
    """``cos(r + tail)`` as a sum of two."""
    p = fma(z, -1.1357449758376226e-11, 2.0875681916078543e-09)
    p = fma(z, p, -2.7557314057001673e-07)
    p = fma(z, p, 2.4801587288494327e-05)
    p = fma(z, p, -0.0013888888888872605)
    p = fma(z, p, 0.04166666666666659)
    half = 0.5 * z
    one = 1.0 - half
    lost = (1.0 - one) - half
    return one, fma(z * z, p, lost) - fma(r, tail, 0.5 * fma(r, r, -z))


@scalar
def _sine_or_cosine(rounded: float, r: float, tail: float, quadrant: np.uint64) -> float:
    """``sin(n pi/2 + r + tail)``, with `quadrant` added to n."""
    z = r * r
    sine_tail = _sine_tail(r, tail, z)
    one, cosine_tail = _cosine(r, tail, z)
    n = float_bits(rounded) + quadrant
    odd = (n & SHIFT_1) != 0
    result = select(odd, one, r) + select(odd, cosine_tail, sine_tail)
    return float_from_bits(float_bits(result) ^ ((n << SHIFT_62) & SIGN_BIT))


@scalar
def sin(x: float) -> float:
    rounded, r, tail = _reduce(x)
    result = _sine_or_cosine(rounded, r, tail, NO_TURN)
    return select(fabs(x) < 2.0**-27, x, result)


@scalar
def cos(x: float) -> float:
    rounded, r, tail = _reduce(x)
    return _sine_or_cosine(rounded, r, tail, QUARTER_TURN)


@scalar
def tan(x: float) -> float:
    rounded, r, tail = _reduce(x)
    z = r * r
    sine_tail = _sine_tail(r, tail, z)
    one, cosine_tail = _cosine(r, tail, z)
    sine = r + sine_tail
    sine_tail = sine_tail - (sine - r)
    cosine = one + cosine_tail
    cosine_tail = cosine_tail - (cosine - one)
    odd = (float_bits(rounded) & SHIFT_1) != 0
    above = select(odd, -cosine, sine)
    above_tail = select(odd, -cosine_tail, sine_tail)
    below = select(odd, sine, cosine)
    below_tail = select(odd, sine_tail, cosine_tail)
    # the quotient, corrected once by its remainder
    inverse = 1.0 / below
    q = above * inverse
    remainder = fma(-q, below, above) + fma(-q, below_tail, above_tail)
    return select(fabs(x) < 2.0**-27, x, fma(remainder, inverse, q))


@scalar
def sin_any(x: float) -> float:
    """`sin` for every x. Does not vectorise."""
    if abs(x) <= SAFE_LIMIT:
        return sin(x)
    return math.sin(x) if abs(x) < INF else NAN


@scalar
def cos_any(x: float) -> float:
    """`cos` for every x. Does not vectorise."""
    if abs(x) <= SAFE_LIMIT:
        return cos(x)
    return math.cos(x) if abs(x) < INF else NAN


@scalar
def tan_any(x: float) -> float:
    """`tan` for every x. Does not vectorise."""
    if abs(x) <= SAFE_LIMIT:
        return tan(x)
    return math.tan(x) if abs(x) < INF else NAN
