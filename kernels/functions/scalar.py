"""How the elementary functions are compiled, and the constants and steps that they share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

from gpuarray.kernels.intrinsics import float_bits, float_from_bits

F = TypeVar("F", bound=Callable[..., Any])


def scalar(function: F) -> F:
    """Compile `function` to be inlined into the loop that calls it, which then vectorises.

    Every option is explicit: Numba lets a callee inherit what it does not set from the first caller that compiles it,
    and neither reassociation nor contraction may get in here.
    """
    return cast(F, njit(forceinline=True, fastmath=False, error_model="numpy")(function))


INF = math.inf
NAN = math.nan

# Adding this rounds to an integer, and leaves the integer in the low bits of the sum.
ROUND = 1.5 * 2.0**52
ROUND_BITS = np.uint64(0x4338000000000000)

ONE_BITS = np.uint64(0x3FF0000000000000)
SIGN_BIT = np.uint64(1 << 63)
MANTISSA_BITS = np.uint64((1 << 52) - 1)
EXPONENT_BITS = np.uint64(0xFFF0000000000000)
TWICE_ONE_BITS = np.uint64(0x7FE0000000000000)
SHIFT_1 = np.uint64(1)
SHIFT_51 = np.uint64(51)
SHIFT_52 = np.uint64(52)
SHIFT_62 = np.uint64(62)

# ln 2 as the sum of two float64. `fma(-n, LN2, x)` is exact: x is then a multiple of LN2's last bit.
LN2 = float.fromhex("0x1.62e42fefa39efp-1")
LN2_TAIL = float.fromhex("0x1.abc9e3b39803fp-56")
LOG2_E = float.fromhex("0x1.71547652b82fep+0")


@scalar
def power_of_two(rounded: float) -> float:
    """``2**n`` for -1022 <= n <= 1023 out of ``n + ROUND``."""
    return float_from_bits((float_bits(rounded) << SHIFT_52) + ONE_BITS)


@scalar
def scale(y: float, rounded: float) -> float:
    """``y * 2**n`` out of ``n + ROUND``, |n| < 2000: in two factors, so that only the result over- or underflows."""
    bits = float_bits(rounded)
    half = ((bits << SHIFT_51) & EXPONENT_BITS) + ONE_BITS  # 2**floor(n / 2)
    return y * float_from_bits(half) * float_from_bits((bits << SHIFT_52) + TWICE_ONE_BITS - half)
