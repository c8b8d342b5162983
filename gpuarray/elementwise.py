"""NumPy's elementwise functions and the operators, one for each row of the table.

Nothing here names an operation that is not special: a row of `gpuarray.kernels.table` becomes a function of this
module, with its aliases, and the operators that the row asks for.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray.array import NDArray, as_node, install
from gpuarray.graph.elementwise import Map
from gpuarray.graph.leaves import Const
from gpuarray.graph.move import Rechunk
from gpuarray.graph.node import Node
from gpuarray.kernels.row import Elementwise, Loop, as_scalar
from gpuarray.kernels.table import ALIASES, ELEMENTWISE

SCALARS = (bool, int, float, complex)


def cast(node: Node, dtype: np.dtype[Any]) -> Node:
    """The node's values in a dtype."""
    return node if node.dtype == dtype else Map("cast", dtype, node)


def apply(op: str, *args: Any, dtype: Any = None, casting: str = "same_kind") -> NDArray:
    """An operation of the table on anything NumPy takes, with NumPy's promotion (NEP 50).

    `dtype` is that of the result, as a ufunc takes it: it chooses the loop.
    """
    operands = [a if type(a) in SCALARS else as_node(a) for a in args]
    if op == "power":
        op, operands = _power(operands)
    row = ELEMENTWISE[op]
    kinds = [a.dtype if isinstance(a, Node) else a for a in operands]
    loop, result = row.resolve(*kinds) if dtype is None else loop_for(row, kinds, np.dtype(dtype), casting)
    nodes = [a if isinstance(a, Node) else Const.of(as_scalar(a, d), d) for a, d in zip(operands, loop, strict=True)]
    check_broadcast(op, nodes)
    if dtype is not None:  # the table would promote for itself
        nodes = [cast(n, d) for n, d in zip(nodes, loop, strict=True)]
    return NDArray(Map(op, result, *nodes))


def loop_for(row: Elementwise, operands: list[Any], dtype: np.dtype[Any], casting: str) -> Loop:
    """The loop whose result has a dtype. Raises TypeError where NumPy would not cast the operands to it."""
    if row.ufunc is None or row.rule is not None:
        raise TypeError(f"{row.name} takes no dtype=; use .astype({dtype.name!r}) on the result")
    known = tuple(np.dtype(bool) if type(o) is bool else type(o) if type(o) in SCALARS else o for o in operands)
    signature = (*(None,) * row.nin, dtype)
    loop = getattr(np, row.ufunc).resolve_dtypes((*known, None), signature=signature, casting=casting)
    return loop[:-1], loop[-1]


def _power(operands: list[Any]) -> tuple[str, list[Any]]:
    """A power that another row computes exactly: squares, and integers to an exponent known not to be negative."""
    base, exponent = operands
    kind = base.dtype.kind if isinstance(base, Node) else "i" if type(base) in (bool, int) else "f"
    if type(exponent) in (int, float) and exponent == 2 and (kind in "fc" or (kind in "iu" and type(exponent) is int)):
        return "square", [base]
    if type(exponent) is int and kind in "iu":
        if exponent < 0:
            raise ValueError(
                f"integers to negative integer powers are not allowed: exponent {exponent}; make the base a float: "
                f"x.astype(float) ** {exponent}"
            )
        return "integer_power", operands
    return "power", operands


def check_broadcast(op: str, nodes: list[Node]) -> None:
    try:
        np.broadcast_shapes(*(n.shape for n in nodes))
    except ValueError:
        shapes = " ".join(str(n.shape) for n in nodes)
        raise ValueError(
            f"operands of {op} could not be broadcast together with shapes {shapes}: each axis, counted from the last, "
            "must have equal lengths or length 1"
        ) from None


def into(out: Any, made: NDArray, casting: Any = "same_kind", where: Any = True) -> NDArray:
    """What a function with ``out=`` returns: `out`, made to stand for the result and cut as before; or the result.

    Raises TypeError for another type of `out` or a cast that `casting` does not allow, ValueError for shapes.
    """
    if isinstance(out, tuple):
        if len(out) != 1:
            raise ValueError(f"out= has {len(out)} entries for a function with one result")
        (out,) = out
    if out is None:
        if where is not True:
            raise ValueError(
                "where= without out= would leave elements without a value; pass out=, or choose with gpuarray.where"
            )
        return made
    if not isinstance(out, NDArray):
        raise TypeError(
            f"out= must be a gpuarray.NDArray, got {type(out).__name__}; without out=, .compute() gives a NumPy array "
            "and gpuarray.store writes into one"
        )
    if not np.can_cast(made.dtype, out.dtype, casting):
        raise TypeError(
            f"cannot cast the result from {made.dtype} to out's {out.dtype} with casting={casting!r}; use an out of "
            f'dtype {made.dtype}, or casting="unsafe"'
        )
    from gpuarray.indexing import broadcast

    node = cast(made.node, out.dtype)
    try:
        fits = np.broadcast_shapes(node.shape, out.shape) == out.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"out of shape {out.shape} cannot hold a result of shape {node.shape}")
    if where is not True:
        node = Map("where", out.dtype, cast(as_node(where), np.dtype(bool)), node, out.node)
    node = broadcast(node, out.shape)
    out.stand_for(node if node.chunks == out.chunks else Rechunk(out.chunks, node))
    return out


# The functions.

CASTINGS = ("no", "equiv", "safe", "same_kind", "unsafe")
"""NumPy's names for the casts that are allowed."""

PRIVATE = {"cast", "integer_power", "where", "clip", "round", "angle", "nan_to_num"}
"""Rows whose functions need other arguments (`gpuarray.numeric` has them) or that are for the graph alone."""

EXAMPLES = {
    "arccosh": "[1.0, 2.0]",
    "equal": "[7, 5], [2, 5]",
    "gamma": "[0.5, 5.0]",
    "heaviside": "[-1.0, 0.0, 2.0], 0.5",
    "invert": "[0, 7]",
    "isneginf": "[1.0, -float('inf')]",
    "isnat": 'np.array(["2024-02-29", "NaT"], dtype="M8[D]")',
    "logical_and": "[True, True], [True, False]",
    "logical_not": "[True, False]",
    "logical_or": "[False, True], [False, False]",
    "logical_xor": "[True, True], [True, False]",
    "not_equal": "[7, 5], [2, 5]",
}
"""The arguments of an example where those for its kind of function would make a poor one."""


def example(row: Elementwise) -> str:
    if row.name in EXAMPLES:
        return EXAMPLES[row.name]
    if row.nin == 2:
        return "[7, 12], [2, 5]"
    if row.name.startswith("is"):
        return "[1.0, float('nan'), float('inf')]"
    if row.name in ("real", "imag", "conjugate"):
        return "[1 + 2j, 3j]"
    if row.kinds == "biu":
        return "[1, 6]"
    signed = {"absolute", "fabs", "sign", "signbit", "floor", "ceil", "trunc", "rint", "negative", "positive"}
    return "[-1.5, 2.5]" if row.name in signed else "[0.25, 0.5]"


def documentation(row: Elementwise) -> str:
    """One line, an example computed by the table itself, and whose arguments these are."""
    args = example(row)
    values = [np.asarray(v) for v in eval(f"({args},)", {"np": np})]
    loop, dtype = row.resolve(*(v.dtype for v in values))
    result = row.interpret(np, dtype, *(v.astype(d) for v, d in zip(values, loop, strict=True)))
    imports = "\n>>> import numpy as np" if "np." in args else ""
    path = f"{row.home.partition('.')[2]}.{row.name}".lstrip(".")
    return f"""{row.doc}

>>> import gpuarray as ga{imports}
>>> ga.{path}({args}).compute()
{result!r}

Arguments as in `{row.home}.{row.name}`. `out` is an `NDArray`, which then stands for the result; `where` takes effect
only with `out`. Raises ValueError for shapes that do not broadcast, TypeError for dtypes that it does not take.
"""


def function(row: Elementwise) -> Callable[..., NDArray]:
    """The public function of a row."""
    name, nin = row.name, row.nin

    def made(*args: Any, dtype: Any = None, out: Any = None, where: Any = True, casting: Any = "same_kind") -> NDArray:
        if len(args) == nin + 1 and out is None:
            *args, out = args  # type: ignore[assignment]  # NumPy takes it by position too
        if len(args) != nin:
            raise TypeError(f"{name}() takes {nin} array{'s' if nin > 1 else ''}, got {len(args)}")
        if casting not in CASTINGS:
            raise ValueError(f"casting={casting!r} is no rule; write one of {', '.join(map(repr, CASTINGS))}")
        return into(out, apply(name, *args, dtype=dtype, casting=casting), casting, where)

    names = ("x",) if nin == 1 else tuple(f"x{k + 1}" for k in range(nin))
    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in names]
    defaults = {"dtype": None, "out": None, "where": True, "casting": "same_kind"}
    parameters += [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d) for n, d in defaults.items()]
    made.__name__ = made.__qualname__ = name
    made.__doc__ = documentation(row)
    made.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return made


FUNCTIONS: dict[str, Callable[..., NDArray]] = {
    name: function(row)
    for name, row in ELEMENTWISE.items()
    if row.home == "numpy" and name not in PRIVATE and not name.startswith("random_")
}
FUNCTIONS |= {alias: FUNCTIONS[name] for alias, name in ALIASES.items() if name in FUNCTIONS}
globals().update(FUNCTIONS)


def ufunc_home(ufunc: np.ufunc) -> str:
    """The module that has a ufunc: NumPy's, SciPy's, or "" for somebody's own, whatever its name is."""
    name = ufunc.__name__
    for module in ("numpy", "scipy.special"):
        for place in (module, f"{module}._ufuncs"):  # SciPy's are behind wrappers with SCIPY_ARRAY_API=1
            if place in sys.modules and getattr(sys.modules[place], name, None) is ufunc:
                return module
    return ""


# The operators.

COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne"}


def operators() -> None:
    """Give `NDArray` the operators of the table."""
    for name, row in ELEMENTWISE.items():
        if row.dunder is None:
            continue
        install(f"__{row.dunder}__", _operator(name, row.nin))
        if row.nin == 2 and row.dunder not in COMPARISONS:
            install(f"__r{row.dunder}__", _reflected(name))
            install(f"__i{row.dunder}__", _inplace(name))
    install("__divmod__", lambda self, other: (self // other, self % other) if _takes(other) else NotImplemented)
    install("__rdivmod__", lambda self, other: (other // self, other % self) if _takes(other) else NotImplemented)


def _takes(value: Any) -> bool:
    return isinstance(value, (NDArray, np.ndarray, np.generic, list, tuple, str, bytes, *SCALARS))


def _operator(name: str, nin: int) -> Any:
    if nin == 1:
        return lambda self: apply(name, self)
    if name == "power":
        return lambda self, other: _raised(self, other) if _takes(other) else NotImplemented
    if name in ("equal", "not_equal"):
        return lambda self, other: _compared(name, self, other) if other is None or _takes(other) else NotImplemented
    return lambda self, other: apply(name, self, other) if _takes(other) else NotImplemented


def _compared(name: str, self: NDArray, other: Any) -> NDArray:
    """``x == other``; no element equals None, as in NumPy."""
    if other is not None:
        return apply(name, self, other)
    from gpuarray.indexing import broadcast

    dtype = np.dtype(bool)
    node = broadcast(Const.of(name == "not_equal", dtype), self.shape)
    return NDArray(node if node.chunks == self.chunks else Rechunk(self.chunks, node))


def _raised(self: NDArray, other: Any) -> NDArray:
    """``x ** y``, where NumPy's operator, unlike its function, takes 0.5 for a square root and 2 for a square."""
    if type(other) is int and other == 2:
        return apply("square", self)
    if type(other) is float and other == 0.5 and self.dtype.kind in "fc":
        return apply("sqrt", self)
    return apply("power", self, other)


def _reflected(name: str) -> Any:
    return lambda self, other: apply(name, other, self) if _takes(other) else NotImplemented


def _inplace(name: str) -> Any:
    def method(self: NDArray, other: Any) -> Any:
        return into(self, apply(name, self, other)) if _takes(other) else NotImplemented

    return method


operators()
