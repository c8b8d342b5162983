"""How compiled kernels are launched: arguments, grids and blocks, and the one place that calls CuPy.

Everything but `Function` is arithmetic that runs anywhere. Importing this module does not import CuPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def scalar_arguments(value: Any, dtype: np.dtype[Any]) -> list[Any]:
    """A scalar as the arguments that `scalar_code.scalar_parameters` stands for.

    >>> scalar_arguments(1 + 2j, np.dtype("complex64"))
    [np.float32(1.0), np.float32(2.0)]
    >>> scalar_arguments(True, np.dtype(bool))
    [np.uint8(1)]
    """
    value = np.asarray(value).astype(dtype)[()]
    if dtype.kind == "c":
        return [value.real, value.imag]
    return [np.uint8(value)] if dtype.kind == "b" else [value]
