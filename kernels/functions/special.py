"""The special functions for the CPU: the formulas of `gpuarray.kernels.special`, bound to what vectorises.

Of float64, they are the same text as the interpreter's, with fused multiply-adds and the exponentials and logarithms of
this package; of float32, the same in double precision, rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray.kernels import special
from gpuarray.kernels.functions import exponential, logarithm
from gpuarray.kernels.functions.power import power
from gpuarray.kernels.functions.scalar import scalar
from gpuarray.kernels.intrinsics import copysign, fabs, fma, round_down, select, sqrt

STEPS: dict[str, Any] = {
    "exp": exponential.exp,
    "expm1": exponential.expm1,
    "log": logarithm.log,
    "log1p": logarithm.log1p,
    "power": power,
    "copysign": copysign,
    "fabs": fabs,
    "fma": fma,
    "round_down": round_down,
    "select": select,
    "sqrt": sqrt,
}


_NAMES = special.bound(STEPS, scalar)
DOUBLE: dict[str, Callable[..., Any]] = {name: _NAMES[name] for name in special.FUNCTIONS}


def _single(double: Any, operands: int) -> Callable[..., Any]:
    if operands == 1:

        def function(x: Any) -> Any:
            return np.float32(double(np.float64(x)))

        return scalar(function)

    def function_of_two(x: Any, y: Any) -> Any:
        return np.float32(double(np.float64(x), np.float64(y)))

    return scalar(function_of_two)


SINGLE: dict[str, Callable[..., Any]] = {
    name: _single(double, special.FUNCTIONS[name].__code__.co_argcount) for name, double in DOUBLE.items()
}
