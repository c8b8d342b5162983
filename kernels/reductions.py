"""Reductions as mergeable state: how a state starts, takes up an element, merges with another, and becomes a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gpuarray.kernels.row import DType

Family = Literal["fold", "moments", "arg"]


@dataclass(frozen=True, eq=False)
class Reduction:
    """One reduction.

    The code is Python text for Numba like that of `Elementwise` rows, one text per state value, by the kind of the
    operand's dtype. ``{s0}, {s1}, ...`` are the state's values *before* the step (all texts of a step read the old
    ones), ``{x}`` is the element in the operand's dtype and ``{i}`` its index (``arg`` only), ``{t0}, ...`` the state
    merged in, which comes later in index order; ``{T}`` is the operand's type, ``{S0}, {S1}, ...`` the state's types.
    ``start`` is the state of no elements; a compiled kernel begins every cell (and lane) with it, and it is neutral
    in `merge`. Each text's value is converted to its state's dtype by whoever uses it.
    """

    name: str
    family: Family
    doc: str
    start: Callable[[DType], tuple[str, ...] | None]
    """Texts of the empty state for an operand dtype; None: interpreter only."""
    update: tuple[str, ...]
    merge: tuple[str, ...]
    finish: str
    operand_rule: Callable[[DType, DType | None], DType]
    state_rule: Callable[[DType], tuple[DType, ...]]
    result_rule: Callable[[DType], DType]
    identity_rule: Callable[[DType], Any]

    def operand(self, dtype: DType, requested: DType | None = None) -> DType:
        """The dtype in which elements enter, `requested` being the user's ``dtype=``."""
        return self.operand_rule(np.dtype(dtype), requested)

    def state(self, operand: DType) -> tuple[DType, ...]:
        """The dtypes of the state arrays."""
        return self.state_rule(operand)

    def result(self, operand: DType) -> DType:
        """The dtype of the result, NumPy's."""
        return self.result_rule(operand)

    def identity(self, operand: DType) -> Any:
        """The result of no elements, or None where NumPy raises ValueError."""
        return self.identity_rule(operand)
