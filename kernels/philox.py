"""Counter-based random numbers: Philox4x32-10 on the element's index.

The same `key`, `stream` and `index` give the same bits whatever the chunks, the order, the device or the worker,
so a random array is an expression like any other: it is computed where it is read and never stored.

Every function here is written once, in ``uint64`` and IEEE ``+ - * /`` and ``sqrt``, and runs in three places:

    NumPy       on whole arrays, by `interpret`
    Numba       on scalars, registered by `gpuarray.kernels.philox_cpu` and inlined into the fused loop
    CUDA        on scalars, from this same source, where `product` is ``libdevice.dmul_rn``, which is never contracted

The results have the same bits in all three. This is why there is no ``fma``, no ``log`` and no ``cos`` of a library in
here, and why conditions are arithmetic: the one name for each step works on arrays and on scalars.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

VERSION = 1
"""Part of the key of every cached kernel that draws random numbers: count it up when a bit of a result changes."""

# Uint64 constants must be typed: Numba makes float64 of `uint64 + int literal`.
_MASK32 = np.uint64(0xFFFFFFFF)
_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)
_ONE = np.uint64(1)
_11 = np.uint64(11)
_32 = np.uint64(32)
_40 = np.uint64(40)
_52 = np.uint64(52)
_63 = np.uint64(63)
_TWO_TO_MINUS_24 = 2.0**-24
_TWO_TO_MINUS_53 = 2.0**-53

_MANTISSA = np.uint64((1 << 52) - 1)
_ONE_BITS = np.uint64(0x3FF0000000000000)
_SQRT_HALF_BITS = np.uint64(0x3FE6A09E667F3BCD)
_TO_SQRT_HALF = _ONE_BITS - _SQRT_HALF_BITS
_EXPONENT_BIAS = 1023.0
# ln 2 in two parts: the first has 32 significant bits, so that a small integer times it is exact
_LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")


def unsigned(x: Any) -> Any:
    """The bits of an int64 as uint64."""
    return np.asarray(x, np.int64).view(np.uint64)


def signed(x: Any) -> Any:
    """The bits of a uint64 as int64."""
    return np.asarray(x, np.uint64).view(np.int64)


def float64_from_bits(x: Any) -> Any:
    """The float64 whose bits are a uint64."""
    return np.asarray(x, np.uint64).view(np.float64)


def bits_from_float64(x: Any) -> Any:
    """The bits of a float64 as uint64."""
    return np.asarray(x, np.float64).view(np.uint64)


def float64_from_53_bits(x: Any) -> Any:
    """A uint64 below 2**53 as float64, exactly."""
    return x.astype(np.float64)


def narrow(x: Any) -> Any:
    """A float64 rounded to float32."""
    return x.astype(np.float32)


def product(a: Any, b: Any) -> Any:
    """``a * b`` of float64 where an addition follows: CUDA, which would make one ``fma`` of both, has its own."""
    return a * b


def philox_block(key: Any, stream: Any, counter: Any) -> Any:
    """Philox4x32-10 of the 128-bit counter ``counter + 2**64 * stream``: 128 bits as two uint64, the low half first."""
    # The upper halves of the x hold rubbish between rounds: masking at the multiplication is free, for the machine's
    # 32 x 32 bit vector multiplication reads the lower halves alone.
    k0 = key & _MASK32
    k1 = key >> _32
    x0 = counter
    x1 = counter >> _32
    x2 = stream
    x3 = stream >> _32
    for _ in range(10):
        p0 = _MULTIPLIER_0 * (x0 & _MASK32)
        p1 = _MULTIPLIER_1 * (x2 & _MASK32)
        x0 = (p1 >> _32) ^ x1 ^ k0
        x1 = p1
        x2 = (p0 >> _32) ^ x3 ^ k1
        x3 = p0
        k0 = (k0 + _WEYL_0) & _MASK32
        k1 = (k1 + _WEYL_1) & _MASK32
    return (x0 & _MASK32) | (x1 << _32), (x2 & _MASK32) | (x3 << _32)


def random_bits(key: Any, stream: Any, index: Any) -> Any:
    """64 random bits: half ``index & 1`` of the block at counter ``index >> 1``."""
    counter = unsigned(index)
    low, high = philox_block(key, stream, counter >> _ONE)
    odd = counter & _ONE
    return low ^ ((low ^ high) * odd)


def uniform_from_bits(bits: Any) -> Any:
    """The upper 53 bits as float64 in [0, 1)."""
    return float64_from_53_bits(bits >> _11) * _TWO_TO_MINUS_53


def uniform32_from_bits(bits: Any) -> Any:
    """The upper 24 bits as float32 in [0, 1)."""
    return narrow(float64_from_53_bits(bits >> _40) * _TWO_TO_MINUS_24)


def log_of_uniform(u: Any) -> Any:
    """Natural logarithm of a float64 in [2**-53, 1], 1.5 ulp: ``u = 2**e * m``, ``log(m) = 2 atanh((m-1)/(m+1))``."""
    shifted = bits_from_float64(u) + _TO_SQRT_HALF
    e = float64_from_53_bits(shifted >> _52) - _EXPONENT_BIAS
    m = float64_from_bits((shifted & _MANTISSA) + _SQRT_HALF_BITS)
    f = m - 1.0
    s = f / (m + 1.0)
    z = product(s, s)
    p = 0.15314073375534110 + product(z, 0.14795754270778427)
    p = 0.18183563298068828 + product(z, p)
    p = 0.22222198595568157 + product(z, p)
    p = 0.28571428742147280 + product(z, p)
    p = 0.39999999999415825 + product(z, p)
    p = product(z, 0.66666666666667340 + product(z, p))
    # 2 s = f - s f keeps the leading term exact
    return product(e, _LN2_HIGH) + (f - (product(s, f - p) - product(e, _LN2_LOW)))


def cos_of_turn(v: Any) -> Any:
    """``cos(2 pi v)`` for v in [0, 1) a multiple of 2**-53, 3 ulp: folded exactly to ``sin(2 pi z)``, |z| <= 1/4."""
    z = abs(v - 0.5) - 0.25
    y = product(z, z)
    p = -0.71772357926589450 + product(y, 0.10085632716972767)
    p = 3.8199270503900260 + product(y, p)
    p = -15.094641620505369 + product(y, p)
    p = 42.058693923785110 + product(y, p)
    p = -76.705859752798490 + product(y, p)
    p = 81.605249276073410 + product(y, p)
    p = -41.341702240399755 + product(y, p)
    p = 6.2831853071795860 + product(y, p)
    return product(z, p)


def normal_from_bits(low: Any, high: Any, quarter: Any) -> Any:
    """Box-Muller: float64 of the standard normal distribution from 128 bits; at most 8.58 in magnitude.

    `quarter` is 0.0 for the cosine and 0.25 for the sine, which are independent of each other.
    """
    radius_uniform = (float64_from_53_bits(low >> _11) + 1.0) * _TWO_TO_MINUS_53
    radius = np.sqrt(-2.0 * log_of_uniform(radius_uniform))
    return radius * cos_of_turn(abs(uniform_from_bits(high) - quarter))


def exponential_from_bits(bits: Any) -> Any:
    """``-log(1 - u)``: float64 of the standard exponential distribution, in [0, 36.8]."""
    return 0.0 - log_of_uniform(1.0 - uniform_from_bits(bits))


def integers_from_bits(bits: Any, low: Any, span: Any) -> Any:
    """``low`` (int64) plus the upper half of the 128-bit product ``bits * span``; ``span == 0`` means 2**64.

    A value's probability is off by less than ``2**-64``: at most ``span / 2**64`` of its own size.
    """
    a0 = bits & _MASK32
    a1 = bits >> _32
    b0 = span & _MASK32
    b1 = span >> _32
    middle = a1 * b0 + ((a0 * b0) >> _32)
    cross = a0 * b1 + (middle & _MASK32)
    product = a1 * b1 + (middle >> _32) + (cross >> _32)
    # all ones where span is 0, else 0: (span | -span) has its top bit set for every span but 0
    whole = ((span | (~span + _ONE)) >> _63) - _ONE
    return signed(unsigned(low) + product + (bits & whole))


def random_uniform(key: Any, stream: Any, index: Any) -> Any:
    """float64 in [0, 1), a multiple of 2**-53."""
    return uniform_from_bits(random_bits(key, stream, index))


def random_uniform32(key: Any, stream: Any, index: Any) -> Any:
    """float32 in [0, 1), a multiple of 2**-24."""
    return uniform32_from_bits(random_bits(key, stream, index))


def random_normal(key: Any, stream: Any, index: Any) -> Any:
    """float64 of the standard normal distribution; the two halves of a block give two elements together."""
    counter = unsigned(index)
    low, high = philox_block(key, stream, counter >> _ONE)
    return normal_from_bits(low, high, float64_from_53_bits(counter & _ONE) * 0.25)


def random_normal32(key: Any, stream: Any, index: Any) -> Any:
    """`random_normal` rounded to float32."""
    return narrow(random_normal(key, stream, index))


def random_exponential(key: Any, stream: Any, index: Any) -> Any:
    """float64 of the standard exponential distribution."""
    return exponential_from_bits(random_bits(key, stream, index))


def random_exponential32(key: Any, stream: Any, index: Any) -> Any:
    """`random_exponential` rounded to float32."""
    return narrow(random_exponential(key, stream, index))


def random_integers(key: Any, stream: Any, index: Any, low: Any, span: Any) -> Any:
    """int64 in ``[low, low + span)``."""
    return integers_from_bits(random_bits(key, stream, index), low, span)


OPERATIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("random_bits", "uint64"): random_bits,
    ("random_uniform", "float64"): random_uniform,
    ("random_uniform", "float32"): random_uniform32,
    ("random_normal", "float64"): random_normal,
    ("random_normal", "float32"): random_normal32,
    ("random_exponential", "float64"): random_exponential,
    ("random_exponential", "float32"): random_exponential32,
    ("random_integers", "int64"): random_integers,
}
"""Operation and dtype of the result to the function of one element, whose arguments are those of `interpret`."""


def interpret(operation: str, dtype: str, key: int, stream: int, index: Any, low: int = 0, span: int = 0) -> Any:
    """Draw random numbers with NumPy alone: the elements `index` of a random array.

    >>> interpret("random_uniform", "float64", 0, 0, [0, 1])
    array([0.8805202 , 0.60548185])

    Parameters
    ----------
    operation, dtype
        A key of `OPERATIONS`.
    key, stream
        The generator: any integers in [0, 2**64). Different ones are different, independent sequences.
    index
        Elements, int64 >= 0, of any shape; the result has this shape.
    low, span
        For ``random_integers``: the half-open interval ``[low, low + span)``; span 0 stands for 2**64.

    Raises
    ------
    KeyError
        There is no such operation and dtype.
    OverflowError
        `key`, `stream` or `span` is no uint64, or `low` no int64.
    """
    function = OPERATIONS[operation, dtype]
    where = np.asarray(index, np.int64)
    parameters: tuple[Any, ...] = (np.uint64(key), np.uint64(stream))
    # NumPy warns when a scalar wraps around, and never when an array does: at least one axis
    arguments: list[Any] = [*parameters, where.reshape(-1)]
    if operation == "random_integers":
        arguments += [np.asarray([low], np.int64), np.asarray([span], np.uint64)]
    result: Any = function(*arguments).reshape(where.shape)
    return result
