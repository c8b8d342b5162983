"""The table: one row per elementwise operation, found by NumPy's name.

To add a ufunc or an operator, write a row in the `rows_*` module of its family. Operators, methods, module functions,
the interpreter and the compiled kernels all follow from it.
"""

from __future__ import annotations

from gpuarray.kernels import rows_arithmetic, rows_logic, rows_math
from gpuarray.kernels.row import Elementwise, Loop, as_scalar, promote, type_name

__all__ = ["ALIASES", "ELEMENTWISE", "Elementwise", "Loop", "as_scalar", "find", "promote", "type_name"]

ELEMENTWISE: dict[str, Elementwise] = {
    row.name: row for family in (rows_arithmetic, rows_math, rows_logic) for row in family.ROWS
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
