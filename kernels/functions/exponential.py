"""exp, exp2, expm1, sinh, cosh, tanh in float64.

``x = n ln 2 + r`` with |r| <= 0.35 held in two float64, and ``exp(r) = cosh r + sinh r`` by their minimax polynomials
in ``r**2``. The leading terms are added exactly, so the errors are those of the last rounding and little more.
"""

from __future__ import annotations

from gpuarray.kernels.functions.scalar import LN2, LN2_TAIL, LOG2_E, ROUND, power_of_two, scalar, scale
from gpuarray.kernels.intrinsics import copysign, fabs, fma, select


@scalar
def _sinh_polynomial(z: float) -> float:
    """``(sinh r - r) / r**3`` of ``z = r**2``, within 2**-61 of ``sinh r``."""
    p = fma(z, 2.5109088129795327e-08, 2.755724407236607e-06)
    p = fma(z, p, 0.00019841269886251286)
    p = fma(z, p, 0.008333333333321586)
    return fma(z, p, 0.16666666666666677)


@scalar
def _cosh_polynomial(z: float) -> float:
    """``(cosh r - 1 - r**2 / 2) / r**4`` of ``z = r**2``."""
    p = fma(z, 2.0921669769963285e-09, 2.755725212231724e-07)
    p = fma(z, p, 2.4801587348877344e-05)
    p = fma(z, p, 0.0013888888888873429)
    return fma(z, p, 0.041666666666666685)


@scalar
def _reduce(x: float) -> tuple[float, float, float]:
    """``n + ROUND``, and ``x - n ln 2`` as a sum of two."""
    rounded = fma(x, LOG2_E, ROUND)
    n = rounded - ROUND
    exact = fma(-n, LN2, x)
    r = fma(-n, LN2_TAIL, exact)
    return rounded, r, fma(-n, LN2_TAIL, exact - r)


@scalar
def _exp_reduced(r: float, tail: float) -> float:
    """``exp(r + tail)`` for |r| <= 0.35."""
    z = r * r
    q = fma(r, _sinh_polynomial(z), fma(z, _cosh_polynomial(z), 0.5))
    one = 1.0 + r
    lost = r - (one - 1.0)
    return one + fma(z, q, lost + tail)


@scalar
def exp(x: float) -> float:
    x = select(x > 710.0, 710.0, x)
    x = select(x < -746.0, -746.0, x)
    rounded, r, tail = _reduce(x)
    return scale(_exp_reduced(r, tail), rounded)


@scalar
def exp_of_sum(x: float, tail: float) -> float:
    """``exp(x + tail)`` for |x| <= 1000 and a tail below 2**-40."""
    rounded, r, r_tail = _reduce(x)
    tail += r_tail
    s = r + tail
    return scale(_exp_reduced(s, tail - (s - r)), rounded)


@scalar
def exp2(x: float) -> float:
    x = select(x > 1025.0, 1025.0, x)
    x = select(x < -1076.0, -1076.0, x)
    rounded = x + ROUND
    fraction = x - (rounded - ROUND)
    r = fraction * LN2
    tail = fma(fraction, LN2_TAIL, fma(fraction, LN2, -r))
    return scale(_exp_reduced(r, tail), rounded)


@scalar
def expm1(x: float) -> float:
    y = select(x > 710.0, 710.0, x)
    y = select(y < -60.0, -60.0, y)
    rounded, r, tail = _reduce(y)
    z = r * r
    cubic = r * z * fma(r, _cosh_polynomial(z), _sinh_polynomial(z))
    # twice (a - 1/2) + a expm1(r), where a is half the power of two, which is never too large
    a = power_of_two(rounded - 1.0)
    d = a - 0.5
    other = d - a
    lost = (a - (d - other)) + (-0.5 - other)
    first = a * r
    t = d + first
    lost += first - (t - d)
    second = 0.5 * a * z
    u = t + second
    lost += second - (u - t)
    result = 2.0 * (u + fma(a, cubic + fma(0.5, fma(r, r, -z), tail + tail * r), lost))
    return select(fabs(x) < 2.0**-54, x, result)


@scalar
def sinh(x: float) -> float:
    y = fabs(x)
    y = select(y > 710.5, 710.5, y)
    rounded, r, tail = _reduce(y)
    n = rounded - ROUND
    # 4 a = exp(n ln 2), 4 b = exp(-n ln 2)
    a = power_of_two(rounded - 2.0)
    b = power_of_two(ROUND - 2.0 - select(n > 100.0, 100.0, n))
    d = a - b
    s = a + b
    z = r * r
    first = s * r
    t = d + first
    lost = first - (t - d)
    lost += fma(s, r, -first) + fma(b - (s - a), r, (a - d) - b)
    rest = fma(d, z * fma(z, _cosh_polynomial(z), 0.5), s * fma(r * z, _sinh_polynomial(z), tail))
    result = 2.0 * (t + (lost + rest))
    return select(fabs(x) < 2.0**-27, x, copysign(result, x))


@scalar
def cosh(x: float) -> float:
    y = fabs(x)
    y = select(y > 710.5, 710.5, y)
    rounded, r, tail = _reduce(y)
    n = rounded - ROUND
    a = power_of_two(rounded - 2.0)
    b = power_of_two(ROUND - 2.0 - select(n > 100.0, 100.0, n))
    d = a - b
    s = a + b
    z = r * r
    first = d * r
    t = s + first
    lost = first - (t - s)
    lost += fma(d, r, -first) + fma((a - d) - b, r, b - (s - a))
    rest = fma(s, z * fma(z, _cosh_polynomial(z), 0.5), d * fma(r * z, _sinh_polynomial(z), tail))
    return 2.0 * (t + (lost + rest))


@scalar
def tanh(x: float) -> float:
    y = fabs(x)
    y = select(y > 22.0, 22.0, y)
    rounded, r, tail = _reduce(y)
    # sinh and cosh over 2**(n-1), each as a sum of two
    n = rounded - ROUND
    b = power_of_two(ROUND - 2.0 * n)
    d = 1.0 - b
    s = 1.0 + b
    lost_d = (1.0 - d) - b
    lost_s = b - (s - 1.0)
    z = r * r
    odd = fma(r * z, _sinh_polynomial(z), tail)
    even = z * fma(z, _cosh_polynomial(z), 0.5)

    first = s * r
    sine = d + first
    sine_tail = (first - (sine - d)) + fma(s, r, -first) + fma(d, even, s * odd) + fma(lost_s, r, lost_d)
    first = d * r
    t = s + first
    rest = (first - (t - s)) + fma(d, r, -first) + fma(s, even, d * odd) + fma(lost_d, r, lost_s)
    cosine = t + rest
    cosine_tail = rest - (cosine - t)

    # the quotient, corrected once by its remainder
    inverse = 1.0 / cosine
    q = sine * inverse
    remainder = fma(-q, cosine, sine) + fma(-q, cosine_tail, sine_tail)
    result = fma(remainder, inverse, q)
    return select(fabs(x) < 2.0**-27, x, copysign(result, x))
