"""Choosing by a condition that is only known when the stencil runs."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.elementwise import apply
from gpuarray.kernels.row import as_scalar, promote
from gpuarray.stencils.taps import Parameter, Refused, counted

SCALARS = (bool, int, float, complex)
MAX_LEAVES = 16


class Choice:
    """One of two Python numbers: as weak as they are, so that ``1.0 if u[0] > 0 else -1.0`` leaves float32 alone.

    It takes the dtype of what it meets. Arithmetic with other Python numbers is Python's, on both.
    """

    __slots__ = ("condition", "no", "yes")
    __array_ufunc__ = None

    def __init__(self, condition: NDArray, yes: Any, no: Any) -> None:
        self.condition, self.yes, self.no = condition, yes, no

    @property
    def leaves(self) -> list[Any]:
        """The numbers it may be."""
        return [v for part in (self.yes, self.no) for v in (part.leaves if isinstance(part, Choice) else [part])]

    @property
    def kind(self) -> type:
        """The most general type of them."""
        return max({type(v) for v in self.leaves}, key=SCALARS.index)

    def typed(self, other: np.dtype[Any] | None = None) -> NDArray:
        """As an operand beside one of a dtype; beside none, as `numpy.where` has it."""
        kind = self.kind
        dtype = np.dtype(kind) if other is None else promote(other, kind)
        if kind is int and dtype.kind in "iu":
            limits = np.iinfo(dtype)
            if any(not limits.min <= v <= limits.max for v in self.leaves):
                raise OverflowError(f"{self.leaves} hold a Python integer out of bounds for {dtype}")
        parts = [p.typed(other) if isinstance(p, Choice) else as_scalar(p, dtype) for p in (self.yes, self.no)]
        return apply("where", self.condition, *parts)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.typed(), name)

    def __bool__(self) -> bool:
        raise Refused(
            "a number chosen by a condition is only known when the stencil runs; decide with an `if` in the stencil",
            "value",
            self.condition,
        )

    __float__ = __int__ = __index__ = __complex__ = __bool__
    __hash__ = None  # type: ignore[assignment]


def _binary(function: Callable[[Any, Any], Any], reflected: bool) -> Any:
    def method(self: Choice, other: Any) -> Any:
        if isinstance(other, (NDArray, np.generic)):
            mine = self.typed(other.dtype)
            return function(other, mine) if reflected else function(mine, other)
        if not isinstance(other, (Choice, *SCALARS)):
            return NotImplemented
        count = len(self.leaves) * (len(other.leaves) if isinstance(other, Choice) else 1)
        if count > MAX_LEAVES:
            theirs = other.typed() if isinstance(other, Choice) else other
            return function(theirs, self.typed()) if reflected else function(self.typed(), theirs)
        try:
            parts = [function(other, v) if reflected else function(v, other) for v in (self.yes, self.no)]
        except ArithmeticError:  # by a number that may never be chosen
            typed = self.typed()
            return function(other, typed) if reflected else function(typed, other)
        return choose(self.condition, *parts)

    return method


def _unary(function: Callable[[Any], Any]) -> Any:
    return lambda self: choose(self.condition, function(self.yes), function(self.no))


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift"):
    _function = getattr(operator, f"__{_name}__")
    setattr(Choice, f"__{_name}__", _binary(_function, False))
    setattr(Choice, f"__r{_name}__", _binary(_function, True))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Choice, f"__{_name}__", _binary(getattr(operator, f"__{_name}__"), False))
setattr(Choice, "__divmod__", _binary(divmod, False))  # noqa: B010
setattr(Choice, "__rdivmod__", _binary(divmod, True))  # noqa: B010
for _name in ("neg", "pos", "invert", "abs"):
    setattr(Choice, f"__{_name}__", _unary(getattr(operator, f"__{_name}__")))


def is_traced(value: Any) -> bool:
    """Whether a value is only known when the stencil runs."""
    return isinstance(value, (NDArray, Choice))


def as_condition(value: Any) -> NDArray:
    """Whether a traced value is true, as Python has it: not zero."""
    if isinstance(value, Choice):
        value = value.typed()
    return value if value.dtype == bool and not isinstance(value, Parameter) else apply("not_equal", value, 0)


def choose(condition: NDArray, yes: Any, no: Any) -> Any:
    """`yes` where a condition is true, else `no`; tuples and lists element by element.

    Raises Refused for what no condition of a point can choose between.
    """
    if yes is no or same(yes, no):
        return yes
    weak = (Choice, *SCALARS)
    if type(yes) is bool and type(no) is bool:
        return condition if yes else apply("logical_not", condition)
    if type(yes) in weak and type(no) in weak:
        made = Choice(condition, yes, no)
        return made if len(made.leaves) <= MAX_LEAVES else made.typed()
    strong = (NDArray, np.generic)
    if isinstance(yes, (*strong, *weak)) and isinstance(no, (*strong, *weak)):
        if isinstance(yes, Choice) and isinstance(no, strong):
            yes = yes.typed(no.dtype)
        if isinstance(no, Choice) and isinstance(yes, strong):
            no = no.typed(yes.dtype)
        return apply("where", condition, yes, no)
    if isinstance(yes, (tuple, list)) and type(yes) is type(no):
        if len(yes) != len(no):
            raise Refused(f"one of them has {counted(len(yes), 'element')}, the other {len(no)}")
        return type(yes)([choose(condition, y, n) for y, n in zip(yes, no, strict=True)])
    raise Refused(f"one of them is {described(yes)}, the other {described(no)}, and no point can choose between these")


def same(a: Any, b: Any) -> bool:
    """Whether two values are one: numbers to the last bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Parameter):
        return bool(a.name == b.name)
    if isinstance(a, NDArray):
        return a.node is b.node
    if isinstance(a, (*SCALARS, np.generic)):
        return repr(a) == repr(b)
    return isinstance(a, str) and a == b


def described(value: Any) -> str:
    """A value in a message."""
    if isinstance(value, Parameter):
        return f"the field {value.name}"
    if isinstance(value, NDArray):
        return "a number of the point"
    if value is None or isinstance(value, (str, *SCALARS)):
        return repr(value)
    return f"a {type(value).__name__}"
