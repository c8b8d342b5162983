"""Special functions of real numbers: written once, and run on arrays, in compiled loops and on GPUs.

Every function here is arithmetic, `select` and the other functions of `steps`, so that one text is

    NumPy       array formulas, which the interpreter uses; of CuPy's arrays likewise
    Numba       `gpuarray.kernels.functions.special`: the loops that call them vectorise
    CUDA        `gpuarray.kernels.cuda.device`: those that CUDA's library lacks

where each has its own `steps`. All is meant for float64: single precision is computed in double, and rounded once, but
on CUDA, where literals become single ones. So a literal is written with a decimal point, and never part of a power. How
far results are from the exact ones is said in docs/special.md, and tests/kernels/test_special.py holds them to it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from gpuarray.kernels.special import entropy, error, gammas, logistic, quantiles, steps

MODULES = (error, gammas, quantiles, logistic, entropy)
NAMES: dict[ModuleType, tuple[str, ...]] = {
    error: ("erf", "erfc", "erfcx", "ndtr", "log_ndtr"),
    gammas: ("gamma", "gammaln"),
    quantiles: ("erfinv", "erfcinv", "ndtri"),
    logistic: ("expit", "logit", "log_expit", "exprel"),
    entropy: ("xlogy", "xlog1py", "entr", "rel_entr", "kl_div"),
}
FUNCTIONS: dict[str, Callable[..., Any]] = {n: getattr(m, n) for m, names in NAMES.items() for n in names}
"""SciPy's name to the function, on NumPy's arrays of float64."""


def texts(module: ModuleType) -> dict[str, FunctionType]:
    """The functions that a module defines, also those that are steps of others."""
    return {k: f for k, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__}


def constants(module: ModuleType) -> dict[str, float]:
    """The numbers that its functions name."""
    return {k: v for k, v in vars(module).items() if isinstance(v, float)}


def bound(names: Mapping[str, Any], wrapped: Callable[[Any], Any] = lambda function: function) -> dict[str, Any]:
    """All functions with other steps than NumPy's, and what each is wrapped in."""
    found: dict[str, Any] = dict(names)
    for module in MODULES:
        found |= constants(module)
        for name, function in texts(module).items():
            assert name not in found, f"two functions are called {name}"
            found[name] = wrapped(FunctionType(function.__code__, found, name))
    return found


@functools.lru_cache(16)
def functions_of(xp: Any) -> dict[str, Any]:
    """The functions on arrays of another namespace."""
    names = {name: getattr(xp, theirs) for name, theirs in steps.NUMPYS.items()}
    return bound(names | {"fma": steps.fma})


def interpret(name: str, xp: Any, dtype: np.dtype[Any], *arrays: Any) -> Any:
    """A function on arrays of `xp`, which have the dtype of the result.

    >>> interpret("erf", np, np.dtype("float32"), np.array([0.0, 0.5], "f4"))
    array([0.       , 0.5204999], dtype=float32)
    """
    function = FUNCTIONS[name] if xp is np else functions_of(xp)[name]
    return xp.asarray(function(*(a.astype(np.float64) for a in arrays))).astype(dtype)
