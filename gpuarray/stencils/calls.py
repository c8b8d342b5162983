"""What functions called in a stencil mean on values that are only known when it runs."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterable
from types import GeneratorType
from typing import Any

import numpy as np

from gpuarray import elementwise, numeric, special
from gpuarray.array import NDArray
from gpuarray.elementwise import apply
from gpuarray.graph.elementwise import Map
from gpuarray.graph.leaves import Const
from gpuarray.stencils.choice import Choice, as_condition, choose, is_traced
from gpuarray.stencils.taps import Refused, TapNode

# Builtin functions.


def _sum(values: Iterable[Any], /, start: Any = 0) -> Any:
    listed = list(values)
    if not any(map(is_traced, (start, *listed))):
        return sum(listed, start)
    return functools.reduce(lambda a, b: a + b, listed, start)


def _extreme(op: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        listed = list(args[0]) if len(args) == 1 else list(args)
        if not any(map(is_traced, listed)):
            return plain(listed, **kwargs)
        if kwargs:
            raise Refused(
                f"{plain.__name__} with {next(iter(kwargs))}= cannot compare values of the point; compare them with "
                "conditional expressions"
            )
        return functools.reduce(lambda a, b: apply(op, *alike(a, b)), listed)

    return function


def _all(values: Iterable[Any], /) -> Any:
    return _folded(values, "logical_and", False)


def _any(values: Iterable[Any], /) -> Any:
    return _folded(values, "logical_or", True)


def _folded(values: Iterable[Any], op: str, ends: bool) -> Any:
    """Truth of several: a plain one that decides ends it."""
    made: Any = not ends
    for value in values:
        if is_traced(value):
            condition = as_condition(value)
            made = condition if made is (not ends) else apply(op, made, condition)
        elif bool(value) is ends:
            return ends
    return made


def _round(value: Any, ndigits: int | None = None) -> Any:
    return numeric.round(alike(value)[0], 0 if ndigits is None else ndigits)


def _pow(base: Any, exponent: Any, mod: Any = None) -> Any:
    if mod is not None:
        raise Refused("pow with three arguments has no counterpart; write base ** exponent % mod")
    return base**exponent


def _cast(dtype: Any) -> Callable[..., Any]:
    def function(value: Any = 0, /) -> Any:
        return alike(value)[0].astype(dtype)

    return function


def _bool(value: Any = False, /) -> Any:
    return as_condition(value)


# Functions of `math`.


def _as_float(value: Any) -> Any:
    (made,) = alike(value)
    return made.astype(np.float64) if made.dtype.kind in "biu" else made


def _fabs(x: Any, /) -> Any:
    return apply("absolute", _as_float(x))


def _log(x: Any, /, base: Any = None) -> Any:
    made = apply("log", *alike(x)) if is_traced(x) else math.log(x)
    if base is None:
        return made
    return made / (apply("log", *alike(base)) if is_traced(base) else math.log(base))


def _power(x: Any, y: Any, /) -> Any:
    return (_as_float(x) if is_traced(x) else float(x)) ** (y if is_traced(y) else float(y))


def _hypot(*values: Any) -> Any:
    made = functools.reduce(lambda a, b: apply("hypot", *alike(a, b)), values)
    return apply("absolute", *alike(made)) if len(values) == 1 else made


def _prod(values: Iterable[Any], /, *, start: Any = 1) -> Any:
    return functools.reduce(lambda a, b: a * b, values, start)


def _math_isclose(a: Any, b: Any, /, *, rel_tol: float = 1e-09, abs_tol: float = 0.0) -> Any:
    larger = apply("maximum", *alike(abs(a), abs(b)))
    near = abs(a - b) <= apply("maximum", *alike(rel_tol * larger, abs_tol))
    return (a == b) | (near & apply("isfinite", *alike(a - b)))


def _modf(x: Any, /) -> Any:
    return numeric.modf(*alike(x))


def _of_table(name: str) -> Callable[..., Any]:
    return lambda *args: apply(name, *alike(*args))


SAME = (
    *("sqrt", "exp", "expm1", "log2", "log10", "log1p", "sin", "cos", "tan", "sinh", "cosh", "tanh"),
    *("floor", "ceil", "trunc", "copysign", "fmod", "isnan", "isinf", "isfinite", "degrees", "radians", "ldexp"),
    *("nextafter", "gcd", "lcm", "exp2", "cbrt"),
)
"""Functions of `math` that have NumPy's names."""
RENAMED = {"atan2": "arctan2", "ulp": "spacing"} | {f"a{n}": f"arc{n}" for n in ("sin", "cos", "tan", "sinh", "cosh")}
RENAMED |= {"atanh": "arctanh", "erf": "erf", "erfc": "erfc", "gamma": "gamma", "lgamma": "gammaln"}

MEANINGS: dict[Any, Callable[..., Any]] = {
    sum: _sum,
    min: _extreme("minimum", min),
    max: _extreme("maximum", max),
    all: _all,
    any: _any,
    round: _round,
    pow: _pow,
    int: _cast(np.int64),
    float: _cast(np.float64),
    complex: _cast(np.complex128),
    bool: _bool,
    math.fabs: _fabs,
    math.log: _log,
    math.pow: _power,
    math.hypot: _hypot,
    math.prod: _prod,
    math.isclose: _math_isclose,
    math.modf: _modf,
}
MEANINGS |= {getattr(math, n): _of_table(n) for n in SAME if hasattr(math, n)}
MEANINGS |= {getattr(math, n): _of_table(to) for n, to in RENAMED.items() if hasattr(math, n)}
"""What a builtin means on traced values, or on iterators that may have them."""

STRUCTURAL = frozenset(
    {abs, divmod, list, tuple, dict, zip, enumerate, reversed, len, isinstance, type, iter, next, print, repr, str}
)
"""Builtins that only move values about, or call the operators."""
CALLING = frozenset({map, filter, functools.reduce})
"""Builtins that call what they are given."""
MUTATING = frozenset(
    {
        *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "add", "discard", "update"),
        *("setdefault", "popitem", "fill", "put", "send"),
    }
)
"""Methods after which a list or another container is no longer what it was."""
UNSEEN: tuple[type[Iterable[Any]], ...] = (
    *(GeneratorType, zip, map, filter, enumerate, reversed, itertools.chain, itertools.starmap, itertools.product),
    *(type(iter([])), type(iter(())), type(iter(range(0)))),
)
"""Iterators: what they will give is not known without going through them."""


OURS: dict[str, Callable[..., Any]] = elementwise.FUNCTIONS | {
    name: getattr(numeric, name)
    for name in (
        *("where", "clip", "round", "around", "nan_to_num", "angle", "divmod", "modf", "isclose", "isreal"),
        "iscomplex",
    )
}
"""What NumPy's functions are here; those that are not elementwise have no place in a stencil."""
SCIPYS: dict[str, Callable[..., Any]] = {name: getattr(special, name) for name in special.__all__ if name != "i0"}
"""What SciPy's special functions are here."""


def holds_traced(value: Any, depth: int = 4) -> bool:
    """Whether a value, or an element of it, is only known when the stencil runs."""
    if is_traced(value):
        return True
    if depth and isinstance(value, (tuple, list, set, frozenset)):
        return any(holds_traced(v, depth - 1) for v in value)
    return depth > 0 and isinstance(value, dict) and any(holds_traced(v, depth - 1) for v in value.values())


def alike(*values: Any) -> list[Any]:
    """Operands of a function: a `Choice` takes the dtype of the others, Python numbers stay weak."""
    strong = [v.dtype for v in values if isinstance(v, (NDArray, np.generic))]
    dtype = np.result_type(*strong) if strong else None
    return [v.typed(dtype) if isinstance(v, Choice) else v for v in values]


def of_library(function: Any) -> Callable[..., Any] | None:
    """Our function for one of NumPy's or of ours, or None where it is neither."""
    if isinstance(function, type) and issubclass(function, np.generic):
        return _cast(np.dtype(function))
    module = getattr(function, "__module__", None) or ""
    if isinstance(function, np.ufunc) or module == "numpy" or module.startswith("numpy."):
        name = getattr(function, "__name__", "")
        known = SCIPYS if isinstance(function, np.ufunc) and elementwise.ufunc_home(function) != "numpy" else OURS
        found = None if module.startswith("numpy.") else known.get(name)
        if found is None:
            raise Refused(f"{named(function)} has no counterpart in a stencil{hint(name)}")
        return found
    ours: Callable[..., Any] | None = function if module.split(".")[0] == "gpuarray" and callable(function) else None
    return ours


def hint(name: str) -> str:
    """What to write instead of a function on arrays."""
    if name in ("array", "asarray", "stack", "concatenate"):
        return "; keep several values in a tuple or list"
    if name in ("dot", "sum", "einsum", "inner", "convolve", "vdot", "tensordot", "matmul"):
        return "; write sum(w[i] * u[i - 1] for i in range(3))"
    return "; write it with operators, `math` or numpy's elementwise functions"


def checked(made: Any, what: str) -> Any:
    """A result, if it is a value of the point. Raises Refused for arrays and for what is not elementwise."""
    for value in made if isinstance(made, tuple) else (made,):
        if not isinstance(value, NDArray):
            continue
        node = value._node
        if node.shape:
            raise Refused(
                f"{what} gives an array of shape {node.shape} at every point; a stencil computes numbers: take single "
                "elements of arrays, as in w[i] * u[i]"
            )
        if not isinstance(node, (Map, TapNode, Const)):
            raise Refused(f"{what} is not elementwise{hint('')}")
    return made


def named(function: Any) -> str:
    """A function's name as one would write it."""
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or repr(function)
    module = getattr(function, "__module__", None)
    if isinstance(function, np.ufunc):
        module = elementwise.ufunc_home(function) or None
    return name if module in (None, "builtins", "__main__") else f"{module}.{name}"


def contained(value: Any, container: Any) -> Any:
    """``value in container`` by comparing with each element."""
    if not isinstance(container, (tuple, list, set, frozenset, range)):
        raise Refused(
            f"`in` cannot search a {type(container).__name__} for a value of the point; compare with the elements "
            "of a tuple",
            "value",
            value,
        )
    return _any([value == c for c in container])


def compared(name: str, a: Any, b: Any) -> Any:
    """One comparison of a chain."""
    if name in ("In", "NotIn"):
        found = contained(a, b) if holds_traced(a) or holds_traced(b) else a in b
        return found if name == "In" else negated(found)
    function = {
        "Eq": operator.eq,
        "NotEq": operator.ne,
        "Lt": operator.lt,
        "LtE": operator.le,
        "Gt": operator.gt,
        "GtE": operator.ge,
        "Is": operator.is_,
        "IsNot": operator.is_not,
    }[name]
    return function(a, b)


def negated(value: Any) -> Any:
    """``not value``"""
    return apply("logical_not", as_condition(value)) if is_traced(value) else not value


def both(a: Any, b: Any, is_and: bool) -> Any:
    """``a and b``, ``a or b``, where `a` is traced: Python's value, which is one of the two."""
    condition = as_condition(a)
    boolean = (bool, np.bool_)
    b_boolean = isinstance(b, boolean) or (isinstance(b, NDArray) and b.dtype == bool)
    if isinstance(a, NDArray) and a.dtype == bool and b_boolean:
        if isinstance(b, boolean):
            return condition if bool(b) is is_and else bool(b)
        return apply("logical_and" if is_and else "logical_or", condition, b)
    return choose(condition, b, a) if is_and else choose(condition, a, b)
