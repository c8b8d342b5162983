"""What the interpreter answers where an expression asks it: calls, subscripts, truth."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.stencils import calls
from gpuarray.stencils.calls import alike, both, checked, compared, holds_traced, named, negated
from gpuarray.stencils.choice import Choice, as_condition, choose, is_traced
from gpuarray.stencils.source import Asked
from gpuarray.stencils.taps import Parameter, Refused, Trace

MARK = "<stencil>"
"""In the names of what is interpreted: lambdas that it makes ask by themselves."""

CONTAINERS = (list, dict, set, bytearray, np.ndarray)
"""What a function may change that it is given."""

REFUSED = dict.fromkeys((eval, exec, compile), "write the expression itself")
REFUSED |= dict.fromkeys((locals, globals, vars), "use the names themselves")

Thunk = Callable[[], Any]


class Answers:
    """The meaning of expressions on traced values; on all others it is Python's."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.conditional = 0
        """How many branches that may not be taken we are in: nothing may be changed there but names."""
        self.names: dict[str, Any] = {
            Asked.CALL: self.call,
            Asked.ITEM: self.item,
            Asked.CHOOSE: self.choose,
            Asked.AND: functools.partial(self.all_or_any, True),
            Asked.OR: functools.partial(self.all_or_any, False),
            Asked.NOT: negated,
            Asked.COMPARE: self.compare,
            Asked.TRUTH: self.truth,
            Asked.SLICE: slice,
            MARK: self,
        }

    def interpret(self, function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a user's function statement by statement."""
        raise NotImplementedError

    # Values.

    def item(self, value: Any, index: Any) -> Any:
        """``value[index]``"""
        if isinstance(value, Parameter):
            return value[index]
        if isinstance(value, NDArray) and value.ndim:
            raise Refused(
                f"it reads an array of shape {value.shape} that is no parameter of it; pass it as an argument, or use "
                "a NumPy array of constants"
            )
        if isinstance(value, (NDArray, Choice)):
            raise Refused("a number of the point has no elements; write all offsets in one subscript, as in u[0, 1]")
        if holds_traced(index):
            raise Refused(
                "a table cannot be looked up by a value that is only known when the stencil runs; choose between its "
                "elements with conditional expressions",
                "value",
                index,
            )
        if isinstance(value, (bool, int, float, complex, np.generic)):
            raise Refused(f"{value!r} is a number and has no neighbours; pass an array for what is read with offsets")
        return value[index]

    def condition(self, value: Any) -> NDArray:
        """A traced value as a condition that both branches of are traced."""
        condition = as_condition(value)
        if self.trace.depends_on_coefficients_alone(condition):
            self.trace.assumed = True
        return condition

    def choose(self, test: Any, yes: Thunk, no: Thunk) -> Any:
        """``yes if test else no``"""
        if not is_traced(test):
            return yes() if test else no()
        condition = self.condition(test)
        self.conditional += 1
        try:
            parts = yes(), no()
        finally:
            self.conditional -= 1
        try:
            return choose(condition, *parts)
        except Refused as error:
            text = f"the values of a conditional expression differ in kind: {error.text}"
            raise Refused(text, "value", condition) from None

    def all_or_any(self, is_and: bool, *thunks: Thunk) -> Any:
        """``a and b and c``, ``a or b or c``"""
        first, *others = thunks
        value = first()
        if not others:
            return value
        if not is_traced(value):
            return self.all_or_any(is_and, *others) if bool(value) is is_and else value
        self.condition(value)
        self.conditional += 1
        try:
            rest = self.all_or_any(is_and, *others)
        finally:
            self.conditional -= 1
        return both(value, rest, is_and)

    def compare(self, operations: str, left: Any, *thunks: Thunk) -> Any:
        """``a < b <= c``: every operand is evaluated once, and not at all behind one that decides."""
        made: Any = True
        for name, thunk in zip(operations.split(), thunks, strict=True):
            right = thunk()
            test = compared(name, left, right)
            made = both(made, test, True) if is_traced(made) else test
            if not is_traced(made) and not made:
                return made
            left = right
        return made

    def truth(self, value: Any) -> Any:
        """The truth that Python itself decides by."""
        if is_traced(value):
            raise Refused(
                "what is only known when the stencil runs cannot decide which elements a loop has; choose with "
                "`x if condition else 0` instead",
                "value",
                value,
            )
        return value

    # Calls.

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """``function(*args, **kwargs)``"""
        function = unwrapped(function)
        if meaning_of(function, REFUSED) is not None:
            raise Refused(f"{function.__name__}() cannot see into a stencil; {REFUSED[function]}")
        if isinstance(function, functools.partial):
            return self.call(function.func, *function.args, *args, **{**function.keywords, **kwargs})
        owner = getattr(function, "__self__", None)
        if type(owner).__module__.startswith(("random", "numpy.random", "gpuarray.random")):
            raise Refused(
                f"{named(function)} would be called once, when the stencil is read, and not at every point; pass an "
                "array of random numbers as a coefficient"
            )
        if self.conditional and isinstance(function, BuiltinMethodType) and function.__name__ in calls.MUTATING:
            self.refuse_change(owner)
        if self.conditional and function is next:
            self.refuse_change(args[0] if args else None)
        if isinstance(owner, (NDArray, Choice)):
            return checked(function(*alike(*args), **kwargs), f".{function.__name__}()")
        if isinstance(function, FunctionType) and MARK in function.__globals__:
            return function(*args, **kwargs)
        chosen = [a for a in args if isinstance(a, Choice)]
        if len(chosen) == 1 and not kwargs and not any(holds_traced(a) for a in args if a is not chosen[0]):
            made = self.call_with_each(function, args, chosen[0])
            if made is not None:
                return made
        meaning = meaning_of(function)
        if meaning is not None and (unseen(args) or holds_traced(args) or holds_traced(kwargs)):
            return checked(meaning(*args, **kwargs), named(function))
        if calls_its_arguments(function):
            args = tuple(functools.partial(self.call, a) if is_function(a) else a for a in args)
            return function(*args, **kwargs)
        if structural(function, owner):
            return function(*args, **kwargs)
        args = tuple(list(a) if isinstance(a, calls.UNSEEN) else a for a in args)
        changed = (
            self.conditional and isinstance(function, FunctionType) and any(isinstance(a, CONTAINERS) for a in args)
        )
        if not (holds_traced(args) or holds_traced(kwargs) or changed):
            return function(*args, **kwargs)
        return self.call_with_traced(function, args, kwargs)

    def call_with_each(self, function: Any, args: tuple[Any, ...], choice: Choice) -> Any:
        """A function of one of two Python numbers is one of two as well; None where it is not defined for both."""
        try:
            parts = [self.call(function, *(v if a is choice else a for a in args)) for v in (choice.yes, choice.no)]
            return choose(choice.condition, *parts)
        except (ArithmeticError, ValueError, Refused):
            return None

    def call_with_traced(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        library = calls.of_library(function)
        if library is not None:
            if any(holds_traced(a) and not is_traced(a) for a in (*args, *kwargs.values())):
                name = getattr(function, "__name__", "")
                raise Refused(f"{named(function)} of several values has no counterpart in a stencil{calls.hint(name)}")
            named_args = dict(zip(kwargs, alike(*kwargs.values()), strict=True))
            return checked(library(*alike(*args), **named_args), named(function))
        if isinstance(function, MethodType):
            function, args = unwrapped(function.__func__), (function.__self__, *args)
        if isinstance(function, FunctionType):
            return self.interpret(function, args, kwargs)
        if isinstance(function, type) and issubclass(function, tuple):
            return function(*args, **kwargs)
        what = "range" if function is range else named(function)
        if function is range:
            raise Refused(
                "how often a loop runs must be known when the stencil is made: its bounds are constants",
                "value",
                next(a for a in args if is_traced(a)),
            )
        raise Refused(f"{what} cannot be called with a value of the point{calls.hint('')}", "value", args)

    def refuse_change(self, owner: Any) -> None:
        """Where a branch may not be taken, what it changes would be changed in either case."""
        raise Refused(
            f"a {type(owner).__name__} is changed under a condition that is only known when the stencil runs; assign a "
            "new value to a name instead"
        )


def unwrapped(function: Any) -> Any:
    """The Python function in a stencil, a compiled function or a cache."""
    if isinstance(function, (type, FunctionType)) or type(function).__module__.partition(".")[0] == "numpy":
        return function
    for attribute in ("py_func", "__wrapped__"):
        inner = getattr(function, attribute, None)
        if isinstance(inner, FunctionType):
            return inner
    return function


def meaning_of(function: Any, meanings: dict[Any, Any] = calls.MEANINGS) -> Any:
    try:
        return meanings.get(function)
    except TypeError:  # unhashable
        return None


def calls_its_arguments(function: Any) -> bool:
    if isinstance(function, type) and function.__module__ == "itertools":
        return True
    try:
        return function in calls.CALLING or isinstance(function, itertools.chain)
    except TypeError:
        return False


def structural(function: Any, owner: Any) -> bool:
    """Whether a function only moves values about, or is one of the operators."""
    if getattr(function, "__module__", None) == "_operator":
        return True
    if isinstance(function, BuiltinMethodType) and isinstance(owner, (list, tuple, dict, set, str)):
        return True
    try:
        return function in calls.STRUCTURAL
    except TypeError:
        return False


def is_function(value: Any) -> bool:
    return callable(value) and not is_traced(value)


def unseen(args: tuple[Any, ...]) -> bool:
    """Whether an argument is an iterator, whose elements may be traced."""
    return any(isinstance(a, calls.UNSEEN) for a in args)
