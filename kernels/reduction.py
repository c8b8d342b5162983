"""What a row of the table of reductions is: mergeable state.

How a state starts, takes up an element, merges with another, and becomes a result: written twice, as scalar code for
compiled kernels and on whole arrays for the interpreter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gpuarray.kernels.errors import UnsupportedDTypeError
from gpuarray.kernels.row import DType, type_name

Family = Literal["fold", "moments", "arg"]
State = tuple[Any, ...]
"""Arrays of one shape: the values of many states."""


@dataclass(frozen=True, slots=True)
class StateCode:
    """A reduction on scalars, as Python text for Numba like that of `Elementwise` rows; one text per state value.

    =====================  ========================================================================================
    ``{s0}, {s1}, ...``    the state's values before the step (all texts of a step read the old ones)
    ``{t0}, {t1}, ...``    the state that is merged in
    ``{x}``                the element, in the operand's dtype
    ``{i}``                its index (family ``arg``)
    ``{correction}``       float64 parameter of `finish` (family ``moments``)
    =====================  ========================================================================================

    `start` is the state of no elements: every cell and every lane begins with it, and merging it changes nothing. The
    value of a text is converted to its state's dtype, that of `finish` to the result's, by whoever uses it. `merge` is
    associative up to rounding and finds the first of equal elements whatever the order of the states.
    """

    start: tuple[str, ...]
    update: tuple[str, ...]
    merge: tuple[str, ...]
    finish: str


@dataclass(frozen=True, eq=False)
class Reduction:
    """One reduction: its dtypes, its scalar code, and its form on whole arrays.

    In the array forms `x` has the shape (cells, elements of a cell) and state arrays the shape (cells,).
    """

    name: str
    family: Family
    doc: str
    kinds: str
    """Kinds of the operand dtypes it takes."""
    operand_rule: Callable[[DType, DType | None], DType]
    state_rule: Callable[[DType], tuple[DType, ...]]
    result_rule: Callable[[DType], DType]
    start: Callable[[DType], tuple[Any, ...]]
    """The state of no elements: one NumPy scalar per state value, for an operand dtype."""
    code_by_kind: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], str]]
    """Update, merge and finish, by the kind of the operand's dtype."""
    reduce_arrays: Callable[[Any, Reduction, Any, Any], State]
    """``(xp, self, x, extra) -> state``: `extra` is the mask or None, for ``arg`` the indices."""
    merge_arrays: Callable[[Any, State, State], State]
    finish_arrays: Callable[..., Any]
    """``(xp, state, **parameters)``."""
    identity_of: Any = None
    """The result of no elements as a Python scalar, or None where that is an error."""
    empty_message: str = ""
    requests: bool = False
    """Whether it takes NumPy's ``dtype=``."""

    def operand(self, dtype: Any, requested: Any = None) -> DType:
        """The dtype in which elements enter, `requested` being the user's ``dtype=``.

        >>> from gpuarray.kernels.reductions import REDUCTIONS
        >>> REDUCTIONS["sum"].operand("uint8")
        dtype('uint64')

        Raises UnsupportedDTypeError (a TypeError) for dtypes it does not take.
        """
        dtype = self._known(np.dtype(dtype))
        if requested is not None:
            if not self.requests:
                raise TypeError(f"{self.name} takes no dtype; cast its result with astype")
            requested = self._known(np.dtype(requested))
        return self.operand_rule(dtype, requested)

    def _known(self, dtype: DType) -> DType:
        if dtype.kind not in self.kinds or dtype.char in "gG":
            raise UnsupportedDTypeError(f"{self.name} is not defined for {dtype}; cast with astype first")
        return dtype.newbyteorder("=")

    def state(self, operand: DType) -> tuple[DType, ...]:
        """The dtypes of the state arrays."""
        return self.state_rule(operand)

    def result(self, operand: DType) -> DType:
        """The dtype of the result: NumPy's."""
        return self.result_rule(operand)

    def identity(self, operand: DType) -> Any:
        """The result of no elements, or None where NumPy raises ValueError (`empty_error`).

        >>> from gpuarray.kernels.reductions import REDUCTIONS
        >>> REDUCTIONS["prod"].identity(np.dtype("float32"))
        np.float32(1.0)
        """
        return None if self.identity_of is None else np.array(self.identity_of).astype(self.result(operand))[()]

    def empty_error(self) -> ValueError:
        """What reducing no elements raises where there is no identity."""
        return ValueError(self.empty_message)

    def code(self, operand: DType) -> StateCode | None:
        """The scalar code for elements of dtype `operand`, or None (interpreter only).

        >>> from gpuarray.kernels.reductions import REDUCTIONS
        >>> REDUCTIONS["sum"].code(np.dtype("float32")).update
        ('{s0} + np.float64({x})',)
        """
        if operand.kind not in self.code_by_kind or operand == np.float16:
            return None
        state = self.state(operand)
        words = {f"{{S{k}}}": type_name(d) for k, d in enumerate(state)} | {"{T}": type_name(operand)}

        def filled(text: str) -> str:
            for word, value in words.items():
                text = text.replace(word, value)
            return text

        update, merge, finish = self.code_by_kind[operand.kind]
        start = tuple(_literal(value) for value in self.start(operand))
        return StateCode(start, tuple(map(filled, update)), tuple(map(filled, merge)), filled(finish))


def _literal(value: Any) -> str:
    """A NumPy scalar as text that Numba compiles to a constant."""
    name, number = type_name(value.dtype), value.item()
    if isinstance(number, complex):
        return f"{name}(complex({_number(number.real)}, {_number(number.imag)}))"
    return f"{name}({_number(number)})"


def _number(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "math.nan" if math.isnan(value) else f"{'-' if value < 0 else ''}math.inf"
    return repr(value)


def merge_tree(xp: Any, reduction: Reduction, states: Sequence[Any], axes: tuple[int, ...]) -> State:
    """Merge all states along `axes`, which keep length 1: neighbours in pairs, in index order, again and again.

    The tree depends on the number of states alone, so its result has the same bits wherever they come from.
    """
    shape = states[0].shape
    if all(shape[a] == 1 for a in axes):
        return tuple(states)
    kept = tuple(a for a in range(len(shape)) if a not in axes)
    order = kept + tuple(sorted(axes))
    cells = math.prod(shape[a] for a in axes)
    level: State = tuple(s.transpose(order).reshape((*(shape[a] for a in kept), cells)) for s in states)
    with np.errstate(all="ignore"):
        while cells > 1:
            paired = cells - cells % 2
            merged = reduction.merge_arrays(
                xp,
                tuple(s[..., 0:paired:2] for s in level),
                tuple(s[..., 1:paired:2] for s in level),
            )
            if cells % 2:
                merged = tuple(
                    xp.concatenate((m, s[..., paired:]), axis=-1) for m, s in zip(merged, level, strict=True)
                )
            level, cells = merged, (cells + 1) // 2
    return tuple(s.reshape([1 if a in axes else n for a, n in enumerate(shape)]) for s in level)
