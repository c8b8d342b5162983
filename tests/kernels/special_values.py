"""Write special_values.json, exact values of the special functions: python tests/kernels/special_values.py

Needs mpmath. Each function has a list of its arguments, and of its values as sums of two float64.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

mp.mp.dps = 40
RNG = np.random.default_rng(0)


def normal(x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def quantile(p: Any) -> Any:
    """The x of ``normal(x) = p`` for p up to 1/2, by Halley's method."""
    x = -mp.sqrt(-2 * mp.log(p)) if p < 0.02 else mp.mpf(0)
    for _ in range(12):
        u = (normal(x) - p) * mp.sqrt(2 * mp.pi) * mp.exp(x * x / 2)
        x -= u / (1 + x * u / 2)
    return x


def any_quantile(p: Any) -> Any:
    return quantile(p) if p <= 0.5 else -quantile(1 - p)


def scaled(x: Any) -> Any:
    if x < 50:
        return mp.exp(x * x) * mp.erfc(x)
    return (1 - 1 / (2 * x**2) + 3 / (4 * x**4) - 15 / (8 * x**6) + 105 / (16 * x**8)) / (x * mp.sqrt(mp.pi))


EXACT: dict[str, Callable[..., Any]] = {
    "erf": mp.erf,
    "erfc": mp.erfc,
    "erfcx": scaled,
    "ndtr": normal,
    "log_ndtr": lambda x: mp.log(normal(x)) if x < 0 else mp.log1p(-normal(-x)),
    "gamma": mp.gamma,
    "gammaln": lambda x: mp.log(abs(mp.gamma(x))) if abs(x) < 1e4 else mp.loggamma(x),
    "erfinv": lambda y: mp.sign(y) * -quantile((1 - abs(y)) / 2) / mp.sqrt(2) if abs(y) > 1e-30 else y * normal_slope(),
    "erfcinv": lambda y: -any_quantile(y / 2) / mp.sqrt(2),
    "ndtri": any_quantile,
    "expit": lambda x: 1 / (1 + mp.exp(-x)),
    "logit": lambda p: mp.log(p / (1 - p)),
    "log_expit": lambda x: -mp.log1p(mp.exp(-x)),
    "exprel": lambda x: mp.expm1(x) / x,
    "entr": lambda x: -x * mp.log(x),
    "xlogy": lambda x, y: x * mp.log(y),
    "xlog1py": lambda x, y: x * mp.log1p(y),
    "rel_entr": lambda x, y: x * mp.log(x / y),
    "kl_div": lambda x, y: x * mp.log(x / y) - x + y,
}


def normal_slope() -> Any:
    return mp.sqrt(mp.pi) / 2


def within(low: float, high: float, n: int = 40) -> Any:
    return RNG.uniform(low, high, n)


def powers(low: float, high: float, n: int = 20) -> Any:
    return np.exp2(RNG.uniform(low, high, n))


def signed(low: float, high: float, n: int = 20) -> Any:
    return powers(low, high, n) * RNG.choice([-1, 1], n)


def arguments() -> dict[str, list[Any]]:
    near = 1 + signed(-50, -1)
    wide = [signed(-500, 500), within(-3, 3, 20)]
    pairs = [
        np.concatenate([powers(-1000, 500), powers(-4, 4), near]),
        np.concatenate([powers(-500, 1000), powers(-4, 4), np.ones(20)]),
    ]
    return {
        "erf": [np.concatenate([within(-6, 6), within(-1.2, 1.2), signed(-1070, 3)])],
        "erfc": [np.concatenate([within(0, 27.2, 60), within(-6, 1), signed(-1070, 3)])],
        "erfcx": [np.concatenate([within(-26.6, 0), within(0, 10, 60), powers(-60, 1020)])],
        "ndtr": [np.concatenate([within(-38.4, 8, 60), within(-1, 1), signed(-1000, 2)])],
        "log_ndtr": [np.concatenate([within(-40, 37, 60), within(-2, 2), signed(-1000, 5), -powers(5, 500)])],
        "gamma": [np.concatenate([within(0, 171.6, 60), within(0, 30, 60), within(-170, 0), signed(-1022, 2)])],
        "gammaln": [np.concatenate([within(0, 12, 60), powers(-1060, 1000), near, 2 * near])],
        "erfinv": [np.concatenate([within(-1, 1), signed(-1000, 0), 1 - powers(-53, -1)])],
        "erfcinv": [np.concatenate([within(0, 2), powers(-1000, 0), 2 - powers(-52, 0), near])],
        "ndtri": [np.concatenate([within(0, 1), powers(-1000, 0), 1 - powers(-53, -1), 0.5 * near])],
        "expit": [np.concatenate([within(-50, 40), within(-745, -30), signed(-60, 5)])],
        "logit": [np.concatenate([within(0, 1), powers(-1000, 0), 1 - powers(-53, -1), 0.5 * near])],
        "log_expit": [np.concatenate([within(-50, 745), signed(-60, 5), -powers(5, 1000)])],
        "exprel": [np.concatenate([within(-50, 716), signed(-1000, 5)])],
        "entr": [np.concatenate([powers(-1000, 1000), near])],
        "xlogy": [np.concatenate(wide), np.concatenate([powers(-1000, 1000), near])],
        "xlog1py": [np.concatenate(wide), np.concatenate([powers(-1000, 1000), signed(-80, -1)])],
        "rel_entr": pairs,
        "kl_div": pairs,
    }


def main() -> None:
    record: dict[str, Any] = {}
    for name, columns in arguments().items():
        exact = [EXACT[name](*map(mp.mpf, map(float, row))) for row in zip(*columns, strict=True)]
        keep = [k for k, e in enumerate(exact) if abs(e) < 1.7e308]
        high = [float(exact[k]) for k in keep]
        low = [float(exact[k] - mp.mpf(h)) for k, h in zip(keep, high, strict=True)]
        given = [[float(c[k]) for k in keep] for c in columns]
        record[name] = {"arguments": given, "high": high, "low": low}
        print(name, len(keep))
    path = Path(__file__).with_suffix(".json")
    path.write_text("{\n" + ",\n".join(f'"{n}": {json.dumps(v)}' for n, v in record.items()) + "\n}\n")


if __name__ == "__main__":
    main()
