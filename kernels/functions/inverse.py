"""arctan, arctan2, arcsin, arccos in float64."""

from __future__ import annotations

from gpuarray.kernels.functions.scalar import INF, NAN, SIGN_BIT, scalar
from gpuarray.kernels.intrinsics import copysign, fabs, float_bits, fma, select, sqrt

_PI_2 = float.fromhex("0x1.921fb54442d18p+0")
_PI_2_TAIL = float.fromhex("0x1.1a62633145c07p-54")
_PI_4 = 0.5 * _PI_2
_PI_4_TAIL = 0.5 * _PI_2_TAIL
_TAN_PI_8 = 0.41421356237309503
_TAN_3_PI_8 = 2.414213562373095


@scalar
def _arctan_polynomial(z: float) -> float:
    """``(arctan q - q) / q**3`` of ``z = q**2``, |q| <= tan(pi / 8)."""
    p = fma(z, -0.017907416599209157, 0.03806502670970371)
    p = fma(z, p, -0.05039333901843665)
    p = fma(z, p, 0.05847898140463911)
    p = fma(z, p, -0.06663105569810593)
    p = fma(z, p, 0.07692060373092399)
    p = fma(z, p, -0.09090897767808202)
    p = fma(z, p, 0.11111110783844239)
    p = fma(z, p, -0.14285714280204745)
    p = fma(z, p, 0.19999999999953672)
    return fma(z, p, -0.333333333333332)


@scalar
def _angle(eighths: float, sign: float, above: float, above_tail: float, below: float, below_tail: float) -> float:
    """``eighths * pi/4 + sign * arctan(above / below)``; the quotient is at most tan(pi / 8)."""
    inverse = 1.0 / below
    q = above * inverse
    q_tail = (fma(-q, below, above) + fma(-q, below_tail, above_tail)) * inverse
    z = q * q
    rest = fma(q * z, _arctan_polynomial(z), fma(-z, q_tail, q_tail))
    offset = eighths * _PI_4
    offset_tail = fma(eighths, _PI_4, -offset) + eighths * _PI_4_TAIL
    q *= sign
    t = offset + q
    lost = select(eighths == 0.0, 0.0, q - (t - offset))
    return t + (lost + fma(sign, rest, offset_tail))


@scalar
def arctan(x: float) -> float:
    size = fabs(x)
    size = select(size > 2.0**70, 2.0**70, size)
    large = size > _TAN_3_PI_8
    middle = size > _TAN_PI_8
    difference = size - 1.0
    total = size + 1.0
    above = select(large, -1.0, select(middle, difference, size))
    below = select(large, size, select(middle, total, 1.0))
    middle = middle & (not large)
    above_tail = select(middle, size - (difference + 1.0), 0.0)
    other = total - size
    below_tail = select(middle, (size - (total - other)) + (1.0 - other), 0.0)
    eighths = select(large, 2.0, select(middle, 1.0, 0.0))
    result = _angle(eighths, 1.0, above, above_tail, below, below_tail)
    return select(fabs(x) < 2.0**-27, x, copysign(result, x))


@scalar
def arctan2(y: float, x: float) -> float:
    swap = fabs(y) > fabs(x)
    large = select(swap, fabs(y), fabs(x))
    small = select(swap, fabs(x), fabs(y))
    small = select(large == INF, select(small == INF, 1.0, 0.0), small)
    large = select(large == INF, 1.0, large)
    # away from the subnormal numbers and from overflow
    factor = select(large < 2.0**500, 2.0**500, 2.0**-100)
    small *= factor
    large = select(large == 0.0, 1.0, large * factor)

    middle = small > _TAN_PI_8 * large
    difference = small - large
    total = small + large
    above = select(middle, difference, small)
    below = select(middle, total, large)
    above_tail = select(middle, small - (difference + large), 0.0)
    below_tail = select(middle, small - (total - large), 0.0)
    # pi/2 - angle where swapped, pi - angle for x < 0
    eighths = select(middle, 1.0, 0.0)
    eighths = select(swap, 2.0 - eighths, eighths)
    negative = (float_bits(x) & SIGN_BIT) != 0
    eighths = select(negative, 4.0 - eighths, eighths)
    sign = select(swap ^ negative, -1.0, 1.0)
    result = copysign(_angle(eighths, sign, above, above_tail, below, below_tail), y)
    return select((x != x) | (y != y), NAN, result)


@scalar
def _arcsin_polynomial(z: float) -> float:
    """``(arcsin q - q) / q**3`` of ``z = q**2``, |q| <= 1/2."""
    p = fma(z, 0.032676697632262365, -0.02107696992112613)
    p = fma(z, p, 0.02176325948446823)
    p = fma(z, p, 0.003683145956377549)
    p = fma(z, p, 0.010786499905985332)
    p = fma(z, p, 0.011397781512666426)
    p = fma(z, p, 0.013980960730901942)
    p = fma(z, p, 0.01735160015638618)
    p = fma(z, p, 0.0223722156564026)
    p = fma(z, p, 0.030381942683770164)
    p = fma(z, p, 0.04464285717511717)
    p = fma(z, p, 0.07499999999970267)
    return fma(z, p, 0.16666666666666763)


@scalar
def _arcsin_parts(x: float) -> tuple[bool, float, float]:
    """Whether |x| <= 1/2, and ``arcsin |x|``, or else ``arcsin sqrt((1 - |x|) / 2)``, as a sum of two."""
    size = fabs(x)
    small = size <= 0.5
    square = 0.5 * (1.0 - size)
    root = sqrt(square)
    # the tiny number keeps 0 / 0 away and is lost in any other root
    root_tail = 0.5 * fma(-root, root, square) / (root + 1e-300)
    z = select(small, size * size, square)
    q = select(small, size, root)
    return small, q, fma(q * z, _arcsin_polynomial(z), select(small, 0.0, root_tail))


@scalar
def arcsin(x: float) -> float:
    small, q, tail = _arcsin_parts(x)
    t = _PI_2 - 2.0 * q
    lost = (_PI_2 - t) - 2.0 * q
    result = select(small, q + tail, t + (fma(-2.0, tail, _PI_2_TAIL) + lost))
    return select(fabs(x) < 2.0**-27, x, copysign(result, x))


@scalar
def arccos(x: float) -> float:
    small, q, tail = _arcsin_parts(x)
    # offset + turn * (q + tail)
    negative = x < 0.0
    turn = select(small, select(negative, 1.0, -1.0), select(negative, -2.0, 2.0))
    eighths = select(small, 2.0, select(negative, 4.0, 0.0))
    offset = eighths * _PI_4
    q *= turn
    t = offset + q
    lost = select(eighths == 0.0, 0.0, q - (t - offset))
    return t + (lost + fma(turn, tail, eighths * _PI_4_TAIL))
