"""The steps of which the functions are made, on NumPy's arrays; what runs compiled has others of the same names."""

from __future__ import annotations

from typing import Any

import numpy as np

NUMPYS = {
    "select": "where",
    "fabs": "absolute",
    "round_down": "floor",
    **{name: name for name in ("copysign", "sqrt", "exp", "expm1", "log", "log1p", "power")},
}
"""What NumPy, and libraries like it, call them."""

select = np.where
fabs = np.absolute
round_down = np.floor
copysign = np.copysign
sqrt = np.sqrt
exp = np.exp
expm1 = np.expm1
log = np.log
log1p = np.log1p
power = np.power


def fma(a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, which may round twice."""
    return a * b + c
