"""Scalar functions behind the table's code, where an expression does not suffice.

Plain Python that Numba compiles for CPU and CUDA alike: no exceptions, no arrays, `math` and operators only. A literal
would widen float32 to float64, so constants of the right type come in as arguments: `one`, and `big`, the number from
which on every float of the type is an integer (2**23, 2**52). None of it survives `fastmath`'s reassociation.
"""

from __future__ import annotations

# Numba infers the types of these functions from each call; an annotation would have to say "float32, or float64, ..."
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
import math

import numpy as np


def rint_float(x, big):
    y = math.fabs(x)
    r = (y + big) - big
    return math.copysign(r if y < big else y, x)


def floor_float(x, one, big):
    r = rint_float(x, big)
    return math.copysign(r - one, x) if r > x else r


def ceil_float(x, one, big):
    r = rint_float(x, big)
    return math.copysign(r + one, x) if r < x else r


def trunc_float(x, one, big):
    return math.copysign(floor_float(math.fabs(x), one, big), x)


def round_decimals(x, power, decimals, big):
    """NumPy's way: scale by a power of ten, round half to even, scale back."""
    if decimals == 0:
        return rint_float(x, big)
    if decimals > 0:
        return rint_float(x * power, big) / power
    return rint_float(x / power, big) * power


def round_decimals_complex(x, power, decimals, big):
    return complex(round_decimals(x.real, power, decimals, big), round_decimals(x.imag, power, decimals, big))


def fmod(a, b):
    """As in C; Numba has it for CUDA only, and ``%`` is the same where nothing is negative."""
    if b == 0:
        return a / b - a / b
    return math.copysign(math.fabs(a) % math.fabs(b), a)


def floor_divide(a, b, one, big):
    """As npy_divmod: exact where the quotient is, whatever `a / b` rounds to."""
    if b == 0:
        return a / b
    mod = fmod(a, b)
    div = (a - mod) / b
    if mod != 0 and (b < 0) != (mod < 0):
        div = div - one
    if div != 0:
        whole = floor_float(div, one, big)
        return whole + one if div - whole > one / (one + one) else whole
    return math.copysign(div, a / b)


def remainder(a, b):
    """The sign of the divisor, also where the result is zero."""
    mod = fmod(a, b)
    if b == 0:
        return mod
    if mod == 0:
        return math.copysign(mod, b)
    return mod + b if (b < 0) != (mod < 0) else mod


def floor_divide_int(a, b):
    """Division by zero gives 0, and the one quotient that overflows wraps around."""
    if b == 0:
        return 0
    if b == -1:
        return -a
    return a // b


def remainder_int(a, b):
    if b == 0 or b == -1:
        return 0
    return a % b


def fmod_int(a, b):
    r = remainder_int(a, b)
    return r - b if r != 0 and (a < 0) != (b < 0) else r


def integer_power(a, b, one):
    """a**b for b >= 0, wrapping around."""
    power = one
    base = a * one
    left = b
    while left > 0:
        if left & one != 0:
            power = power * base
        base = base * base
        left = left >> one
    return power


def gcd(a, b):
    """Of two uint64."""
    while b != 0:
        a, b = b, a % b
    return a


def lcm(a, b):
    g = gcd(a, b)
    return a // g * b if g != 0 else g


def popcount(x):
    """Ones in a uint64."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


def maximum(a, b):
    """The larger, or NaN if either is: as NumPy, and without a branch."""
    return a if (a > b) | (a != a) else b


def minimum(a, b):
    return a if (a < b) | (a != a) else b


def fmax(a, b):
    return a if (a > b) | (b != b) else b


def fmin(a, b):
    return a if (a < b) | (b != b) else b


def clip(x, low, high):
    return minimum(maximum(x, low), high)


def heaviside(x, half, one):
    if x != x:
        return x
    if x == 0:
        return half
    return one if x > 0 else one - one


def cbrt(x, three):
    y = math.fabs(x)
    if y == 0 or y + y == y or y != y:
        return x
    t = y ** (three / (three * three))
    t = t - (t - y / (t * t)) / three
    t = t - (t - y / (t * t)) / three
    return math.copysign(t, x)


def logaddexp(a, b, log2):
    if a == b:
        return a + log2
    d = a - b
    if d > 0:
        return a + math.log1p(math.exp(-d))
    return b + math.log1p(math.exp(d))


def logaddexp2(a, b, one, log2e):
    if a == b:
        return a + one
    d = a - b
    if d > 0:
        return a + log2e * math.log1p(math.exp2(-d))
    return b + log2e * math.log1p(math.exp2(d))


def sinc(y, eps):
    z = eps if y == 0 else y
    return math.sin(z) / z


def nan_to_num(x, nan, posinf, neginf):
    if x != x:
        return nan
    if x + x == x and x != 0:
        return posinf if x > 0 else neginf
    return x


def nan_to_num_complex(x, nan, posinf, neginf):
    return complex(nan_to_num(x.real, nan, posinf, neginf), nan_to_num(x.imag, nan, posinf, neginf))


def less_complex(a, b):
    """NumPy orders complex numbers by real, then imaginary part; a NaN in either is not less."""
    return ((a.real < b.real) & (a.imag == a.imag) & (b.imag == b.imag)) | ((a.real == b.real) & (a.imag < b.imag))


def less_equal_complex(a, b):
    return ((a.real < b.real) & (a.imag == a.imag) & (b.imag == b.imag)) | ((a.real == b.real) & (a.imag <= b.imag))


def isnan_complex(x):
    return (x.real != x.real) | (x.imag != x.imag)


def maximum_complex(a, b):
    return a if isnan_complex(a) | less_equal_complex(b, a) else b


def minimum_complex(a, b):
    return a if isnan_complex(a) | less_equal_complex(a, b) else b


def fmax_complex(a, b):
    return a if isnan_complex(b) | less_equal_complex(b, a) else b


def fmin_complex(a, b):
    return a if isnan_complex(b) | less_equal_complex(a, b) else b


def divide_complex(a, b, one):
    """Smith's algorithm, as NumPy: no overflow where the quotient is representable."""
    if math.fabs(b.real) >= math.fabs(b.imag):
        if b.real == 0:
            zero = math.fabs(b.real)
            return complex(a.real / zero, a.imag / zero)
        ratio = b.imag / b.real
        scale = one / (b.real + b.imag * ratio)
        return complex((a.real + a.imag * ratio) * scale, (a.imag - a.real * ratio) * scale)
    ratio = b.real / b.imag
    scale = one / (b.imag + b.real * ratio)
    return complex((a.real * ratio + a.imag) * scale, (a.imag * ratio - a.real) * scale)


def reciprocal_complex(x, one):
    if math.fabs(x.imag) <= math.fabs(x.real):
        ratio = x.imag / x.real
        scale = x.real + x.imag * ratio
        return complex(one / scale, -ratio / scale)
    ratio = x.real / x.imag
    scale = x.real * ratio + x.imag
    return complex(ratio / scale, -one / scale)


def argmax_takes(s, i, t, j):
    """Whether (value t, index j) replaces (s, i) as the first largest; index -1 stands for nothing yet."""
    wins = (t > s) & (s == s) | (t != t) & (s == s) | ((t == s) | (t != t) & (s != s)) & (j < i)
    return (j >= 0) & ((i < 0) | wins)


def argmin_takes(s, i, t, j):
    wins = (t < s) & (s == s) | (t != t) & (s == s) | ((t == s) | (t != t) & (s != s)) & (j < i)
    return (j >= 0) & ((i < 0) | wins)


def argmax_takes_complex(s, i, t, j):
    s_nan = isnan_complex(s)
    t_nan = isnan_complex(t)
    equal = (s.real == t.real) & (s.imag == t.imag) | s_nan & t_nan
    wins = (t_nan & (not s_nan)) | (less_complex(s, t) & (not s_nan)) | equal & (j < i)
    return (j >= 0) & ((i < 0) | wins)


def argmin_takes_complex(s, i, t, j):
    s_nan = isnan_complex(s)
    t_nan = isnan_complex(t)
    equal = (s.real == t.real) & (s.imag == t.imag) | s_nan & t_nan
    wins = (t_nan & (not s_nan)) | (less_complex(t, s) & (not s_nan)) | equal & (j < i)
    return (j >= 0) & ((i < 0) | wins)
