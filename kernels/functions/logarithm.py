"""log, log2, log10, log1p in float64.

``x = 2**k m`` with m in [sqrt(1/2), sqrt(2)), ``f = m - 1`` and ``s = f / (2 + f)``; then
``log m = f - f**2/2 + s (f**2/2 + R(s**2))``, where only the last, small term is rounded more than once.
"""

from __future__ import annotations

import numpy as np

from gpuarray.kernels.functions.scalar import (
    INF,
    MANTISSA_BITS,
    NAN,
    ONE_BITS,
    SHIFT_52,
    scalar,
)
from gpuarray.kernels.intrinsics import fabs, float_bits, float_from_bits, fma, select

_SQRT_HALF_BITS = np.uint64(0x3FE6A09E667F3BCD)
_TO_SQRT_HALF = ONE_BITS - _SQRT_HALF_BITS
# A small integer in the low bits of this float64: subtracting the second constant makes a float64 of it.
_INTEGER_BITS = np.uint64(0x4330000000000000)
_INTEGER_AND_BIAS = 2.0**52 + 1023.0
_TWICE_BIAS_AND_1 = np.uint64(2047)

# The first parts have 32 bits, so that k times them is exact.
LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_LOG10_2_HIGH = float.fromhex("0x1.3441350a00000p-2")
_LOG10_2_LOW = float.fromhex("-0x1.0c0219dc1da99p-39")
_LOG2_E = float.fromhex("0x1.71547652b82fep+0")
_LOG2_E_TAIL = float.fromhex("0x1.777d0ffda0d24p-56")
_LOG10_E = float.fromhex("0x1.bcb7b1526e50ep-2")
_LOG10_E_TAIL = float.fromhex("0x1.95355baaafad3p-57")


@scalar
def split_normal(x: float) -> tuple[float, float]:
    """k and m of ``x = 2**k m`` for a normal x > 0."""
    shifted = float_bits(x) + _TO_SQRT_HALF
    k = float_from_bits((shifted >> SHIFT_52) | _INTEGER_BITS) - _INTEGER_AND_BIAS
    return k, float_from_bits((shifted & MANTISSA_BITS) + _SQRT_HALF_BITS)


@scalar
def split(x: float) -> tuple[float, float]:
    """k and m of ``x = 2**k m`` for x > 0, subnormal ones too."""
    small = x < 2.0**-1022
    k, m = split_normal(select(small, x * 2.0**54, x))
    return select(small, k - 54.0, k), m


@scalar
def _rest(f: float, half_square: float) -> float:
    """``s (f**2/2 + R)``: ``log(1 + f) - f + f**2/2``."""
    s = f / (2.0 + f)
    z = s * s
    p = fma(z, 0.14795754270778427, 0.1531407337553411)
    p = fma(z, p, 0.18183563298068828)
    p = fma(z, p, 0.22222198595568157)
    p = fma(z, p, 0.2857142874214728)
    p = fma(z, p, 0.39999999999415825)
    p = fma(z, p, 0.6666666666666734)
    return s * fma(z, p, half_square)


@scalar
def with_edges(x: float, result: float) -> float:
    """`result` for finite x > 0; what IEEE says for the others."""
    result = select(x > 0.0, result, select(x == 0.0, -INF, NAN))
    return select(x < INF, result, x)


@scalar
def log_of_parts(k: float, m: float) -> float:
    """``log(2**k m)``."""
    f = m - 1.0
    half_square = 0.5 * f * f
    high = k * LN2_HIGH
    t = high + f
    lost = f - (t - high)
    return t + (lost - (half_square - fma(k, LN2_LOW, _rest(f, half_square))))


@scalar
def log(x: float) -> float:
    k, m = split(x)
    return with_edges(x, log_of_parts(k, m))


@scalar
def _log_of_mantissa(m: float) -> tuple[float, float]:
    """``log m`` as a sum of two."""
    f = m - 1.0
    half = 0.5 * f
    half_square = half * f
    high = f - half_square
    return high, ((f - high) - half_square) - fma(half, f, -half_square) + _rest(f, half_square)


@scalar
def log2(x: float) -> float:
    k, m = split(x)
    high, low = _log_of_mantissa(m)
    p = high * _LOG2_E
    rest = fma(high, _LOG2_E, -p) + fma(low, _LOG2_E, high * _LOG2_E_TAIL)
    t = k + p
    return with_edges(x, t + ((p - (t - k)) + rest))


@scalar
def log10(x: float) -> float:
    k, m = split(x)
    high, low = _log_of_mantissa(m)
    p = high * _LOG10_E
    rest = fma(high, _LOG10_E, -p) + fma(low, _LOG10_E, high * _LOG10_E_TAIL)
    power = k * _LOG10_2_HIGH
    t = power + p
    return with_edges(x, t + ((p - (t - power)) + fma(k, _LOG10_2_LOW, rest)))


@scalar
def log1p(x: float) -> float:
    u = 1.0 + x
    other = u - 1.0
    lost_u = (1.0 - (u - other)) + (x - other)
    shifted = float_bits(u) + _TO_SQRT_HALF
    exponent = shifted >> SHIFT_52
    k = float_from_bits(exponent | _INTEGER_BITS) - _INTEGER_AND_BIAS
    f = float_from_bits((shifted & MANTISSA_BITS) + _SQRT_HALF_BITS) - 1.0
    # what 1 + x lost, over u: a few bits of it are enough, but all of them where f is 0
    correction = 0.5 * lost_u * float_from_bits((_TWICE_BIAS_AND_1 - exponent) << SHIFT_52)
    correction *= fma(f, fma(f, 1.0 - f, -1.0), 1.0)
    half_square = 0.5 * f * f
    high = k * LN2_HIGH
    t = high + f
    lost = f - (t - high)
    result = t + (lost - (half_square - (fma(k, LN2_LOW, correction) + _rest(f, half_square))))
    result = select(x > -1.0, result, select(x == -1.0, -INF, NAN))
    result = select(x < INF, result, x)
    return select(fabs(x) < 2.0**-54, x, result)
