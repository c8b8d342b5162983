"""The table: one row per elementwise operation, found by NumPy's name.

To add a ufunc or an operator, write a row in the `rows_*` module of its family. Operators, methods, module functions,
the interpreter and the compiled kernels all follow from it.
"""

from __future__ import annotations

from typing import Any

from gpuarray.kernels import rows_arithmetic, rows_logic, rows_math, rows_special
from gpuarray.kernels.row import DType, Elementwise, Loop, as_scalar, promote, type_name

__all__ = ["ALIASES", "ELEMENTWISE", "Elementwise", "Loop", "as_scalar", "find", "power_row", "promote", "type_name"]

ELEMENTWISE: dict[str, Elementwise] = {
    row.name: row for family in (rows_arithmetic, rows_math, rows_logic, rows_special) for row in family.ROWS
}

ALIASES: dict[str, str] = {alias: row.name for row in ELEMENTWISE.values() for alias in row.aliases}
"""Other names, of NumPy and of the array API standard: ``{"abs": "absolute", "acos": "arccos", ...}``."""


def find(name: str) -> Elementwise:
    """The row called `name`, by NumPy's name or another.

    >>> find("abs").name
    'absolute'

    Raises KeyError if there is none.
    """
    return ELEMENTWISE[ALIASES.get(name, name)]


def power_row(dtype: DType, exponent: Any) -> str:
    """The operation that NumPy's operator ``x ** exponent`` stands for, `x` being an array of `dtype`.

    >>> import numpy as np
    >>> power_row(np.dtype("float64"), 2), power_row(np.dtype("float64"), 3), power_row(np.dtype("int64"), 3)
    ('square', 'power', 'integer_power')

    All but ``power`` and ``integer_power`` take `x` alone. Raises ValueError for an integer to a negative power.
    """
    kind = type(exponent)
    if dtype.kind in "bi" and kind is int and exponent < 0:
        raise ValueError(f"Integers to negative integer powers are not allowed: exponent {exponent}; use a float")
    if dtype.kind in "biu" and kind is int and exponent == 2:
        return "square"
    if dtype.kind in "iu" and kind is int:
        return "integer_power"
    if dtype.kind == "f" and kind in (int, float):
        return {-1: "reciprocal", 0.5: "sqrt", 1: "positive", 2: "square"}.get(exponent, "power")
    if dtype.kind == "c":  # NumPy tells 2 from 2.0 here: their roundings differ
        return {(int, -1): "reciprocal", (int, 2): "square", (float, 0.5): "sqrt"}.get((kind, exponent), "power")
    return "power"
