"""What the text of a CUDA kernel may name, as Numba-CUDA intrinsics and inlined device functions.

A *place* in memory is an address, a uint64: a kernel has one parameter for an array, and reads and writes say what
they find there. `read` goes through the read-only path (``ld.global.nc``), for memory that the kernel does not write.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray.kernels import philox, scalar
from gpuarray.kernels.cuda import formulas, positions
from gpuarray.kernels.cuda.intrinsics import intrinsics, library_function
from gpuarray.kernels.cuda.offline import numba_cuda

LIBDEVICE = {
    "rint_float": ("rint", 1, 2),
    "floor_float": ("floor", 1, 3),
    "ceil_float": ("ceil", 1, 3),
    "trunc_float": ("trunc", 1, 3),
    "cbrt": ("cbrt", 1, 2),
    "fmod": ("fmod", 2, 2),
    "nextafter": ("nextafter", 2, 2),
}
"""Functions of floats that CUDA's library has for both precisions: its name, how many arguments it takes, and how many
the text passes: the others (`one`, `big`) are for the CPU's form."""


@functools.cache
def namespace() -> dict[str, Any]:
    """The globals of a kernel's text. The first call imports Numba-CUDA; it needs no device."""
    import cmath

    cuda = numba_cuda()
    names: dict[str, Any] = {"cuda": cuda, "math": math, "cmath": cmath, "np": np}
    names |= intrinsics()
    names |= {name: library_function(*entry) for name, entry in LIBDEVICE.items()}
    _define(scalar, names, {})
    _define(positions, names, {})
    names |= {"unsigned": _inline(_unsigned), "signed": _inline(_signed), "narrow": _inline(_narrow)}
    names |= {"float64_from_53_bits": _inline(_exact_float64)}
    _define(philox, names, {"np.sqrt(": "math.sqrt("})
    names["power_of_ten"] = _inline(power_of_ten)
    steps: dict[str, Any] = {name: library_function(to, n, n) for name, (to, n) in formulas.STEPS.items()}
    library = {name: library_function(to, 1, 1) for name, to in formulas.LIBRARY.items()}
    return names | formulas.formulas(steps | {"select": _inline(formulas.select)}, library, _inline)


def power_of_ten(exponent: Any) -> Any:
    """10.0**exponent for an integer >= 0, exact up to 22: the power function of CUDA's library is not."""
    power = 1.0
    while exponent > 0:
        power = power * 10.0
        exponent = exponent - 1
    return power


def _unsigned(x: Any) -> Any:
    return np.uint64(x)


def _signed(x: Any) -> Any:
    return np.int64(x)


def _narrow(x: Any) -> Any:
    return np.float32(x)


def _exact_float64(x: Any) -> Any:
    return np.float64(np.int64(x))  # the signed conversion is the cheaper one, and the number is small


def _inline(function: Callable[..., Any]) -> Any:
    """A device function that disappears into its caller: calling one would ask the current device what it can do."""
    return numba_cuda().jit(device=True, inline="always")(function)


def _define(module: Any, names: dict[str, Any], replaced: dict[str, str]) -> None:
    """Make device functions of a module's functions, but for those that `names` has already.

    They are executed from their text, so that what they call are the names given here.
    """
    for name, value in vars(module).items():
        if name.startswith("_") and not name.startswith("__") and isinstance(value, (np.generic, float)):
            names[name] = value
    for name, function in vars(module).items():
        own = inspect.isfunction(function) and function.__module__ == module.__name__
        if not own or name in names or name == "interpret":
            continue
        text = inspect.getsource(function)
        for old, new in replaced.items():
            text = text.replace(old, new)
        found: dict[str, Any] = {}
        exec(compile("from __future__ import annotations\n" + text, f"<{module.__name__}>", "exec"), names, found)
        names[name] = _inline(found[name])
