"""The special functions on CUDA: its library's, and of the others the text of `gpuarray.kernels.special`.

That text is for float64. For float32 there is a second function of each, called ``..._single``, whose literals are
float32 too: double precision is slow on most GPUs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gpuarray.kernels import special

LIBRARY = {
    "erf": "erf",
    "erfc": "erfc",
    "erfcx": "erfcx",
    "erfcx_positive": "erfcx",
    "erfinv": "erfinv",
    "erfcinv": "erfcinv",
    "gamma": "tgamma",
    "gammaln": "lgamma",
    "ndtr": "normcdf",
    "ndtri": "normcdfinv",
}
"""What CUDA's library calls the functions that it has, for both precisions."""
STEPS = {
    **{name: (name, 1) for name in ("exp", "expm1", "log", "log1p", "sqrt", "fabs")},
    "round_down": ("floor", 1),
    "copysign": ("copysign", 2),
    "power": ("pow", 2),
    "fma": ("fma", 3),
}
"""What it calls the steps of the text, and how many arguments they have."""
_LITERAL = re.compile(r"(?<![\w.])(?:\d+\.\d*(?:e[+-]?\d+)?|\d+e[+-]?\d+)")


def select(condition: Any, a: Any, b: Any) -> Any:
    return a if condition else b


def formulas(
    steps: Mapping[str, Any], library: Mapping[str, Any], wrapped: Callable[[Any], Any]
) -> dict[str, Callable[..., Any]]:
    """The functions of both precisions, by the names that the table's text has.

    They are executed from their text, so that what they call are the functions given here.
    """
    found: dict[str, Callable[..., Any]] = dict(library)
    for suffix, kind in (("", float), ("_single", np.float32)):
        names: dict[str, Any] = {"np": np, **steps, **library}
        for module in special.MODULES:
            with np.errstate(over="ignore"):
                names |= {name: kind(value) for name, value in special.constants(module).items()}
            for name, function in special.texts(module).items():
                if name not in library:
                    text = inspect.getsource(function)
                    if suffix:
                        text = _LITERAL.sub(r"np.float32(\g<0>)", text)
                    names[name] = wrapped(_executed(text, name, module.__name__, names))
        found |= {f"{name}{suffix}": names[name] for name in special.FUNCTIONS if name not in library}
    return found


def _executed(text: str, name: str, file: str, names: dict[str, Any]) -> Any:
    made: dict[str, Any] = {}
    exec(compile("from __future__ import annotations\n" + text, f"<{file}>", "exec"), names, made)
    return made[name]
