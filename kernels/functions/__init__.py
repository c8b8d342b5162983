"""Elementary functions of float64 and float32 for the CPU that vectorise in the loop that calls them.

Numba has no vector library: `math.exp` in a loop is one call for each element. These are branch-free, so that the loop

    exp = CPU_FUNCTIONS["exp", "float64"]

    @njit(nogil=True, error_model="numpy")
    def kernel(a, out):
        prefer_wide_vectors()
        for i in range(out.size):
            out[i] = exp(a[i])

becomes vector instructions, without ``fastmath``: where a product and a sum are to round once, they say so by
`intrinsics.fma`, and the caller's arithmetic stays exactly IEEE. Those of NumPy are within 1 ulp of the exact ones over
the whole range, with subnormal numbers, signed zeros, infinities and NaN as NumPy has them. They are not always the
bits of NumPy, whose own errors reach 1.2 ulp in float64 and 3.4 in float32.

**sin, cos and tan** take arguments up to `SAFE_LIMIT` in magnitude (3.5e13), for the bits of pi that larger ones need
do not fit in a branch-free loop. A caller looks first, and computes such a block with the functions of `ANY_RANGE`:

    unsafe = False
    for i in range(n):
        unsafe |= abs(a[i]) > SAFE_LIMIT
    if unsafe:
        for i in range(n):
            out[i] = sin_any(a[i])
    else:
        for i in range(n):
            out[i] = sin(a[i])

Importing this package imports Numba; it compiles nothing before the first call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpuarray.kernels.functions import exponential, inverse, logarithm, power, single, special, trigonometric
from gpuarray.kernels.functions.trigonometric import SAFE_LIMIT

__all__ = ["ANY_RANGE", "CPU_FUNCTIONS", "SAFE_LIMIT", "VERSION"]

VERSION = 1
"""Part of the key of every cached kernel that calls these functions: count it up when a bit of a result changes."""

_DOUBLE = {
    exponential: ("exp", "exp2", "expm1", "sinh", "cosh", "tanh"),
    logarithm: ("log", "log2", "log10", "log1p"),
    trigonometric: ("sin", "cos", "tan"),
    inverse: ("arcsin", "arccos", "arctan", "arctan2"),
    power: ("power",),
}

CPU_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    (name, dtype): getattr(module, name)
    for home, names in _DOUBLE.items()
    for name in names
    for dtype, module in (("float64", home), ("float32", single))
}
CPU_FUNCTIONS |= {
    (name, dtype): function
    for dtype, functions in (("float64", special.DOUBLE), ("float32", special.SINGLE))
    for name, function in functions.items()
}
"""NumPy's name of the ufunc, or SciPy's, and the dtype of arguments and result: the compiled function of an element."""

ANY_RANGE: dict[tuple[str, str], Callable[..., Any]] = {
    (name, dtype): getattr(module, f"{name}_any")
    for name in _DOUBLE[trigonometric]
    for dtype, module in (("float64", trigonometric), ("float32", single))
}
"""Of the functions that are right up to `SAFE_LIMIT` only: the same for every argument, without vectorising."""
