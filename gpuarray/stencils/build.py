"""From a traced function to the program that the kernels take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.elementwise import cast
from gpuarray.graph.leaves import Const
from gpuarray.graph.node import Node
from gpuarray.kernels.program import Program
from gpuarray.kernels.row import as_scalar, promote
from gpuarray.kernels.stencils.program import StencilProgram, Tap
from gpuarray.optimize.fuse import program_of
from gpuarray.stencils.calls import checked
from gpuarray.stencils.choice import SCALARS, Choice, described
from gpuarray.stencils.interpret import Interpreter
from gpuarray.stencils.taps import Parameter, Refused, TapNode, Trace

MAX_STEPS = 3000
"""Operations of one point: compiling takes milliseconds for each."""


@dataclass(frozen=True, eq=False)
class Traced:
    """What a function returned for one choice of dtypes and scalars, and what it read."""

    values: tuple[Any, ...]
    several: bool
    """It returned a tuple."""
    trace: Trace


def trace(
    function: FunctionType,
    dtypes: dict[str, np.dtype[Any]],
    scalars: dict[str, Any],
    symbolic: frozenset[str] = frozenset(),
) -> Traced:
    """Run a function on parameters that stand for arrays of these dtypes, and on scalars as they are."""
    found = Trace(symbolic)
    try:
        return _traced(function, found, dtypes, scalars)
    except Refused as error:
        error.trace = found
        raise


def _traced(function: FunctionType, found: Trace, dtypes: dict[str, np.dtype[Any]], scalars: dict[str, Any]) -> Traced:
    arguments = {**{n: Parameter(found, n, d) for n, d in dtypes.items()}, **scalars}
    code = function.__code__
    positional = code.co_varnames[: code.co_argcount]
    made = Interpreter(found).interpret(
        function,
        tuple(arguments[n] for n in positional),
        {n: v for n, v in arguments.items() if n not in positional},
    )
    several = isinstance(made, (tuple, list))
    values = tuple(made) if several else (made,)
    if not values:
        raise Refused("it returns an empty tuple; return the value of the point")
    for value in values:
        if not isinstance(value, (NDArray, Choice, np.generic, *SCALARS)):
            raise Refused(f"it returns {described(value)}; a stencil returns a number of the point, or a tuple of them")
        node(value, None)  # looks at what is used bare
    return Traced(values, several, found)


def node(value: Any, dtype: np.dtype[Any] | None) -> Node:
    """A value of the point as a node; a Python number takes the dtype of its field."""
    if isinstance(value, NDArray):
        checked(value, "the result")
        return value.node
    if isinstance(value, Choice):
        return value.typed(dtype).node
    if isinstance(value, np.generic):
        return Const.of(value, value.dtype)
    kind = np.dtype(type(value)) if dtype is None or isinstance(value, bool) else promote(dtype, type(value))
    return Const.of(as_scalar(value, kind), kind)


def checked_when_defined(traced: Traced, names: Sequence[str]) -> None:
    """Raises Refused for what no dtypes and coefficients would mend: arrays from outside, and too many operations."""
    built(traced, names, [np.dtype(float)] * len(names), False)


def built(traced: Traced, fields: Sequence[str], dtypes: Sequence[np.dtype[Any]], state: bool) -> Any:
    """(StencilProgram, the values of its scalars). Raises Refused."""
    ndim = traced.trace.ndim
    assert ndim is not None
    roots = []
    for k, value in enumerate(traced.values):
        made = node(value, dtypes[k] if k < len(fields) else None)
        if made.dtype.kind not in "biufc":
            raise Refused(f"it returns {made.dtype}; a stencil returns booleans, integers, floats or complex numbers")
        roots.append(cast(made, next_dtype(k, fields, dtypes, made.dtype)) if state else made)
    program, operands, arrays = program_of(tuple(roots))
    taps = []
    for leaf in arrays:
        if not isinstance(leaf, TapNode):
            raise Refused(
                f"it reads {leaf.label}, an array that is no parameter of it (made in {leaf.origin or 'the stencil'}); "
                "pass it as an argument, or use a NumPy array of constants"
            )
        taps.append(Tap(fields.index(leaf.field), (0,) * ndim if leaf.offset is None else leaf.offset))
    check_length(program)
    scalars = tuple(o.value for o in operands if isinstance(o, Const))
    return StencilProgram(program, tuple(taps), tuple(np.dtype(d).name for d in dtypes), ndim), scalars


def next_dtype(k: int, fields: Sequence[str], dtypes: Sequence[np.dtype[Any]], dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that output k must have to be the next value of field k."""
    if k >= len(fields):
        raise Refused(
            f"it returns {k + 1} values or more and has {len(fields)} fields; value j is the next one of field j"
        )
    target = np.dtype(dtypes[k])
    if np.can_cast(dtype, target, "same_kind") or (dtype.kind in "iu" and target.kind in "iu"):
        return target
    raise Refused(
        f"it returns {dtype} as the next value of {fields[k]}, which is {target}: a step would lose something; pass "
        f'{fields[k]}.astype("{dtype}"), or return a value with .astype("{target}")'
    )


def check_length(program: Program) -> None:
    if len(program.steps) > MAX_STEPS:
        raise Refused(
            f"a point takes {len(program.steps):,} operations, and at most {MAX_STEPS:,} can be compiled; write "
            "several smaller stencils"
        )
