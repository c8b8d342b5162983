"""x**y in float64, within 1 ulp: ``exp(y log x)`` with the logarithm and the product as sums of two float64."""

from __future__ import annotations

import numpy as np

from gpuarray.kernels.functions.exponential import exp_of_sum
from gpuarray.kernels.functions.logarithm import LN2_HIGH, LN2_LOW, split
from gpuarray.kernels.functions.scalar import INF, NAN, SIGN_BIT, scalar
from gpuarray.kernels.intrinsics import fabs, float_bits, float_from_bits, fma, round_down, select

_TWO_THIRDS = 2.0 / 3.0
_NO_SIGN = np.uint64(0)
_TWO_THIRDS_TAIL = float.fromhex("0x1.5555555555555p-55")


@scalar
def _precise_log(x: float) -> tuple[float, float]:
    """``log x`` of a finite x > 0 as a sum of two, within 2**-65 of itself."""
    k, m = split(x)
    f = m - 1.0
    below = m + 1.0
    below_tail = m - (below - 1.0)
    inverse = 1.0 / below
    s = f * inverse
    s_tail = (fma(-s, below, f) - s * below_tail) * inverse
    z = s * s
    z_tail = fma(s, s, -z) + 2.0 * s * s_tail
    cube = s * z
    cube_tail = fma(s, z, -cube) + fma(s, z_tail, s_tail * z)
    third = cube * _TWO_THIRDS
    third_tail = fma(cube, _TWO_THIRDS, -third) + fma(cube, _TWO_THIRDS_TAIL, cube_tail * _TWO_THIRDS)
    p = fma(z, 0.13196299459785565, 0.1325682461510326)
    p = fma(z, p, 0.15386756842186933)
    p = fma(z, p, 0.18181784382928773)
    p = fma(z, p, 0.2222222251966852)
    p = fma(z, p, 0.28571428570101515)
    p = fma(z, p, 0.4000000000000225)

    high = k * LN2_HIGH
    t = high + 2.0 * s
    lost = 2.0 * s - (t - high)
    u = t + third
    lost += third - (u - t)
    low = lost + fma(2.0, s_tail, fma(cube * z, p, fma(k, LN2_LOW, third_tail)))
    result = u + low
    return result, low - (result - u)


@scalar
def with_edges(x: float, y: float, result: float) -> float:
    """`result`, which is ``abs(x)**y`` for finite ``x != 0``, made ``x**y`` for every x and y."""
    size = fabs(x)
    half = 0.5 * y
    whole = round_down(y) == y
    odd = whole & (round_down(half) != half)
    edge = (size == 0.0) | (size == INF)
    result = select(edge, select((size == 0.0) ^ (y < 0.0), 0.0, INF), result)
    sign = select(odd, float_bits(x) & SIGN_BIT, _NO_SIGN)
    result = float_from_bits(float_bits(result) | sign)
    result = select((x < 0.0) & (size < INF) & (not whole), NAN, result)
    result = select((x != x) | (y != y), NAN, result)
    one = (y == 0.0) | (x == 1.0) | ((size == 1.0) & (fabs(y) == INF))
    return select(one, 1.0, result)


@scalar
def power(x: float, y: float) -> float:
    high, low = _precise_log(fabs(x))
    p = y * high
    tail = fma(y, high, -p) + y * low
    far = fabs(p) > 1000.0
    tail = select(far, 0.0, tail)
    p = select(p > 1000.0, 1000.0, p)
    p = select(p < -1000.0, -1000.0, p)
    return with_edges(x, y, exp_of_sum(p, tail))
