"""The logistic function, its inverse and its logarithm, and the relative exponential."""

from __future__ import annotations

from typing import Any

from gpuarray.kernels.special.steps import exp, expm1, fabs, log, log1p, select

_INFINITY = float("inf")


def expit(x: Any) -> Any:
    e = exp(-fabs(x))
    return select(x < 0.0, e, 1.0) / (1.0 + e)


def log_expit(x: Any) -> Any:
    lost = log1p(exp(-fabs(x)))
    return select(x < 0.0, x - lost, -lost)


def logit(p: Any) -> Any:
    other = 1.0 - p
    middle = log1p((p - 0.5 + (p - 0.5)) / other)
    return select(fabs(p - 0.5) <= 0.25, middle, log(p / other))


def exprel(x: Any) -> Any:
    root = exp(0.5 * x)
    result = select(x > 80.0, root / x * root, expm1(x) / x)
    return select(x == 0.0, 1.0, select(x == _INFINITY, x, result))
