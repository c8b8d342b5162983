"""What a row of the table of elementwise operations is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gpuarray.kernels.errors import UnsupportedDTypeError

DType = np.dtype[Any]
Operand = Any
"""An array's dtype, or a Python scalar (or its type: bool, int, float, complex), which is weak as in NEP 50."""
Loop = tuple[tuple[DType, ...], DType]
"""The dtypes that the operands are cast to, and the dtype of the result."""
Code = Mapping[str, str] | Callable[[tuple[DType, ...], DType], "str | None"]

BOOL = np.dtype(np.bool_)
INT64 = np.dtype(np.int64)
UINT64 = np.dtype(np.uint64)
FLOAT64 = np.dtype(np.float64)

NUMERIC = "biufc"
TIMES = "mM"
STRINGS = "SU"

_WEAK: dict[type, Any] = {int: 0, float: 0.0, complex: 0j}
_COMPARISONS = frozenset({"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"})


def kinds(letters: str, text: str) -> dict[str, str]:
    """The same code for several kinds of dtype.

    >>> kinds("iu", "{0} + {1}")
    {'i': '{0} + {1}', 'u': '{0} + {1}'}
    """
    return dict.fromkeys(letters, text)


@dataclass(frozen=True, eq=False)
class Elementwise:
    """One elementwise operation: how its result's dtype follows, what it computes, and how it is spelt.

    `code` is the operation on scalars, as Python text that Numba compiles for CPU and CUDA. It is looked up by the
    kinds of the loop's operands (one letter if they agree: ``"f"``; else one each: ``"fi"``); where there is none,
    the operation is only interpreted. Division by zero must not raise: compile with ``error_model="numpy"``, without
    ``fastmath`` flags that assume finite numbers. The text may name `math`, `cmath`, `np` dtypes (``np.float32(...)``),
    the functions of `gpuarray.kernels.scalar`, `gpuarray.kernels.functions` and `gpuarray.kernels.philox`, and

    =============  ==========================================================================
    ``{0}, {1}``   the operands, which have exactly the loop's dtypes
    ``{T}``        the type of the first operand: ``{T}(0.5)`` is a literal of that type
    ``{R}``        the type of the result
    ``{F}``        the type of the first operand's real part
    ``{one}``      1 in that type
    ``{big}``      the number in that type from which on all are integers: 2**23, 2**52
    ``{bits}``     width in bits of the first operand
    =============  ==========================================================================

    Its value is converted to the result's type by whoever uses it (`Program.source`), so that Numba's wider
    intermediate types wrap around as NumPy's do.
    """

    name: str
    """NumPy's name, that is ``ufunc.__name__`` where there is a ufunc."""
    nin: int
    doc: str
    code: Code = field(default_factory=dict)
    ufunc: str | None = None
    dunder: str | None = None
    """``"add"`` stands for ``__add__``, ``__radd__`` and ``__iadd__``; ``"neg"`` and ``"lt"`` for one method."""
    aliases: tuple[str, ...] = ()
    """Other names of the same function, in NumPy and in the array API standard."""
    cost: float = 1.0
    """Work for one element, in additions; the planner's measure."""
    kinds: str = NUMERIC + TIMES
    """Kinds of operand dtypes it takes."""
    rule: Callable[..., Loop] | None = None
    """``rule(*operands) -> loop`` where no ufunc has it."""
    function: Callable[..., Any] | None = None
    """``function(xp, dtype, *arrays)`` where no ufunc has it."""
    home: str = "numpy"
    """The module that has the function: NumPy's rows are functions of the top level, others of a namespace."""

    @cached_property
    def _resolver(self) -> Callable[..., Loop]:
        if self.rule is not None:
            return self.rule
        assert self.ufunc is not None, f"{self.name} has neither a rule nor a ufunc"
        resolve_dtypes = getattr(np, self.ufunc).resolve_dtypes

        def resolver(*operands: Operand) -> Loop:
            loop = resolve_dtypes((*operands, None))
            return loop[:-1], loop[-1]

        return resolver

    def resolve(self, *operands: Operand) -> Loop:
        """The loop that NumPy would choose: (dtypes of the operands, dtype of the result).

        >>> from gpuarray.kernels.table import ELEMENTWISE
        >>> ELEMENTWISE["add"].resolve(np.dtype("int8"), float)
        ((dtype('float64'), dtype('float64')), dtype('float64'))

        Operands are dtypes, or Python scalars or their types. A comparison looks at a scalar's value, because
        NumPy compares ``uint8`` with 300 rightly; all else takes the array's dtype, and `as_scalar` checks the range.

        Raises UnsupportedDTypeError (a TypeError) for dtypes it does not take, naming them.
        """
        if len(operands) != self.nin:
            raise TypeError(f"{self.name} takes {self.nin} operands, got {len(operands)}")
        kinds = [o if isinstance(o, type) else type(o) for o in operands]
        alone = all(kind is bool or kind in _WEAK for kind in kinds)  # there is nothing to be weak beside
        known = tuple(self._known(o, operands) for o in operands)
        known = tuple(map(np.dtype, kinds)) if alone else known
        if self.name in _COMPARISONS:
            known = self._widened(operands, known)
        try:
            loop, result = self._resolver(*known)
        except UnsupportedDTypeError:
            raise
        except TypeError as error:
            raise self._unsupported(operands) from error
        for dtype in (*loop, result):
            if dtype.char in "gGO":
                raise self._unsupported(operands)
        return loop, result

    def _known(self, operand: Operand, operands: tuple[Operand, ...]) -> Any:
        """A dtype, or int, float or complex; a Python bool is as strong as an array of them."""
        kind = operand if isinstance(operand, type) else type(operand)
        if kind in _WEAK:
            return kind
        if kind is bool:
            return BOOL
        dtype = operand if isinstance(operand, np.dtype) else np.dtype(getattr(operand, "dtype", operand))
        if dtype.kind not in self.kinds or dtype.char in "gG":
            raise self._unsupported(operands)
        return dtype.newbyteorder("=")

    def _widened(self, operands: tuple[Operand, ...], known: tuple[Any, ...]) -> tuple[Any, ...]:
        """A Python integer that does not fit the other operand's integer dtype makes the comparison wider."""
        widened = list(known)
        for k, value in enumerate(operands):
            other = known[1 - k]
            if type(value) is not int or not isinstance(other, np.dtype) or other.kind not in "iu":
                continue
            if np.iinfo(other).min <= value <= np.iinfo(other).max:
                continue
            if np.iinfo(np.int64).min <= value <= np.iinfo(np.int64).max:
                widened[k] = INT64
            elif 0 <= value <= np.iinfo(np.uint64).max:
                widened[k] = UINT64
            else:
                raise OverflowError(
                    f"{self.name}: Python integer {value} is beyond 64 bits; compare with a float: {float(value)!r}"
                )
        return tuple(widened)

    def _unsupported(self, operands: tuple[Operand, ...]) -> UnsupportedDTypeError:
        names = ", ".join(_name(o) for o in operands)
        return UnsupportedDTypeError(f"{self.name} is not defined for {names}; cast with astype first")

    def code_for(self, operands: tuple[DType, ...], result: DType) -> str | None:
        """The scalar code of one loop with ``{T}``, ``{R}`` and ``{bits}`` filled in, or None (interpreter only).

        >>> from gpuarray.kernels.table import ELEMENTWISE
        >>> f = np.dtype("float32")
        >>> ELEMENTWISE["deg2rad"].code_for((f,), f)
        '{0} * (np.float32(3.141592653589793) / np.float32(180))'
        """
        if any(d.kind not in NUMERIC or d == np.float16 or not d.isnative for d in (*operands, result)):
            return None
        if callable(self.code):
            text = self.code(operands, result)
        else:
            letters = "".join(d.kind for d in operands)
            text = self.code.get(letters[0] if len(set(letters)) == 1 else letters)
        if text is None:
            return None
        first = operands[0] if operands else result
        return _filled(text, first, result)

    def interpret(self, xp: Any, dtype: DType, *arrays: Any) -> Any:
        """The operation on whole arrays of `xp` (numpy, cupy), which have the loop's dtypes; the result has `dtype`.

        >>> from gpuarray.kernels.table import ELEMENTWISE
        >>> ELEMENTWISE["sqrt"].interpret(np, np.dtype("float64"), np.array([4.0, -1.0]))
        array([ 2., nan])
        """
        with np.errstate(all="ignore"):
            return self.apply(xp, dtype, *arrays)

    def apply(self, xp: Any, dtype: DType, *arrays: Any) -> Any:
        """`interpret` for callers that have silenced floating-point warnings already."""
        if self.function is not None:
            value = self.function(xp, dtype, *arrays)
        else:
            assert self.ufunc is not None
            value = getattr(xp, self.ufunc)(*arrays)
        return value if value.dtype == dtype else value.astype(dtype)


def _name(operand: Operand) -> str:
    if isinstance(operand, type) and operand in (bool, int, float, complex):
        return f"Python {operand.__name__}"
    if type(operand) in (bool, int, float, complex):
        return f"Python {type(operand).__name__}"
    dtype = operand if isinstance(operand, np.dtype) else np.dtype(getattr(operand, "dtype", operand))
    return dtype.name


def _filled(text: str, first: DType, result: DType) -> str:
    real = real_type(first)
    words = {"T": type_name(first), "R": type_name(result), "F": type_name(real), "bits": str(8 * first.itemsize)}
    if real.kind == "f":
        words |= {"one": f"{type_name(real)}(1)", "big": f"{type_name(real)}({2 ** np.finfo(real).nmant})"}
    for word, value in words.items():
        text = text.replace(f"{{{word}}}", value)
    return text


def real_type(dtype: DType) -> DType:
    """The dtype of the real part.

    >>> real_type(np.dtype("complex64"))
    dtype('float32')
    """
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def type_name(dtype: DType) -> str:
    """How Numba spells a dtype's scalar type.

    >>> type_name(np.dtype(bool)), type_name(np.dtype("f4"))
    ('np.bool_', 'np.float32')
    """
    return "np.bool_" if dtype.kind == "b" else f"np.{dtype.name}"


def promote(*operands: Operand) -> DType:
    """NumPy's common dtype, Python scalars or their types being weak.

    >>> promote(np.dtype("float32"), float)
    dtype('float32')
    """
    samples = [_WEAK[o] if isinstance(o, type) and o in _WEAK else o for o in operands]
    return np.result_type(*samples).newbyteorder("=")


def as_scalar(value: Any, dtype: DType) -> Any:
    """A Python or NumPy scalar as a scalar of the loop's dtype.

    >>> as_scalar(7, np.dtype("uint8"))
    np.uint8(7)

    Raises OverflowError for an integer that does not fit, as NumPy does.
    """
    if isinstance(value, np.generic) and value.dtype == dtype:
        return value
    if type(value) is int and dtype.kind in "iu":
        return dtype.type(value)
    if type(value) is float and dtype.char == "d":
        return np.float64(value)
    with np.errstate(all="ignore"):
        return np.asarray(value).astype(dtype)[()]
