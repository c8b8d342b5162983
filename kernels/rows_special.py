"""Rows of the table: SciPy's special functions, which NumPy lacks."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpuarray.kernels import special
from gpuarray.kernels.row import FLOAT64, DType, Elementwise, Loop, Operand

_SINGLE = np.dtype(np.float32)
_ALIKE = {"erf", "erfc", "erfcx", "erfinv", "erfcinv", "gamma", "gammaln", "ndtr", "ndtri"}
"""Functions that have one name for both precisions in the text, which is CUDA's: its library has them."""


def _loop(*operands: Operand) -> Loop:
    """float32 stays float32, with NumPy's promotion; all else is float64. SciPy's own rules differ by function."""
    pair = (*operands, *operands)[:2]
    result: DType = np.logaddexp.resolve_dtypes((*pair, None))[-1]
    if result != _SINGLE or _SINGLE not in [o for o in operands if isinstance(o, np.dtype)]:
        result = FLOAT64
    return (result,) * len(operands), result


def _row(name: str, nin: int, doc: str, cost: float) -> Elementwise:
    def code(operands: tuple[DType, ...], result: DType) -> str | None:
        """For CUDA: the CPU has vectorising functions of the same names, `gpuarray.kernels.functions`."""
        single = "_single" if result == _SINGLE and name not in _ALIKE else ""
        return f"{name}{single}({', '.join(f'{{{k}}}' for k in range(nin))})"

    interpreted: Any = functools.partial(special.interpret, name)
    return Elementwise(
        name, nin, doc, code, cost=cost, kinds="biuf", rule=_loop, function=interpreted, home="scipy.special"
    )


ROWS: tuple[Elementwise, ...] = (
    _row("erf", 1, "The error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t**2)`` from 0 to x.", 60),
    _row("erfc", 1, "The complementary error function, ``1 - erf(x)``, also where that is tiny.", 60),
    _row("erfcx", 1, "The scaled complementary error function, ``exp(x**2) * erfc(x)``.", 60),
    _row("erfinv", 1, "The inverse of the error function.", 60),
    _row("erfcinv", 1, "The inverse of the complementary error function.", 60),
    _row("ndtr", 1, "The cumulative distribution of the standard normal distribution.", 60),
    _row("ndtri", 1, "The quantiles of the standard normal distribution: the inverse of `ndtr`.", 60),
    _row("log_ndtr", 1, "The logarithm of `ndtr`, also where that is tiny.", 100),
    _row("gamma", 1, "The gamma function; ``gamma(n + 1)`` is n factorial.", 150),
    _row("gammaln", 1, "The logarithm of the absolute value of the gamma function.", 100),
    _row("expit", 1, "The logistic function, ``1 / (1 + exp(-x))``.", 25),
    _row("logit", 1, "The inverse of the logistic function, ``log(x / (1 - x))``.", 50),
    _row("log_expit", 1, "The logarithm of the logistic function.", 50),
    _row("exprel", 1, "``(exp(x) - 1) / x``, which is 1 at 0.", 50),
    _row("xlogy", 2, "``x1 * log(x2)``, which is 0 where x1 is 0.", 25),
    _row("xlog1py", 2, "``x1 * log(1 + x2)``, which is 0 where x1 is 0.", 30),
    _row("entr", 1, "The term of an entropy, ``-x * log(x)``; minus infinity below 0.", 25),
    _row("rel_entr", 2, "The term of a relative entropy, ``x1 * log(x1 / x2)``.", 40),
    _row("kl_div", 2, "The term of a Kullback-Leibler divergence, ``x1 * log(x1 / x2) - x1 + x2``.", 40),
)
