"""The rows of the table. A module here with a list called ROWS is found by itself."""

from __future__ import annotations

import importlib
import pkgutil

from benchmarks.rows import Row


def rows() -> list[Row]:
    """Every row of every suite, in the order of the modules' names."""
    found: list[Row] = []
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
        found += importlib.import_module(f"{__name__}.{module.name}").ROWS
    return found
