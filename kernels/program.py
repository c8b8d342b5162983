"""A fused expression as plain data.

A `Program` is a list of steps in single-assignment form. Values are numbered: first the inputs, then one
value per step. Being made of strings and integers, a program hashes, pickles and prints, so it is its own
cache key. Constants are *scalar inputs*, not literals: `x * 0.1` and `x * 0.2` are one program.

`interpret` runs it operation by operation with NumPy or CuPy: the oracle in tests, the fallback where Numba
cannot, and the fast path for small arrays. `source` is the same program as the Python text that Numba compiles.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from gpuarray.kernels.row import Elementwise, as_scalar, type_name
from gpuarray.kernels.table import ELEMENTWISE

Kind = Literal["array", "scalar", "index"]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Affine:
    """The integers ``offset + sum(strides[k] * i[k])`` over a region: an index array that no memory holds.

    Random numbers, `arange`, `linspace`, `eye` and the coordinates of `fromfunction` are programs over these.
    `strides` has one entry per axis of the region that is computed (0 where the index does not vary).
    """

    offset: int
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Input:
    """One argument of a program.

    array   an array that broadcasts to the region (any strides)
    scalar  one value, passed at call time
    index   an `Affine`, int64
    """

    kind: Kind
    dtype: str


@dataclass(frozen=True, slots=True)
class Step:
    """``value = op(*args)``: `op` is a row of the table, `args` number earlier values, which have exactly the
    dtypes that the operation's loop takes (casts are steps of their own, with op ``"cast"``)."""

    op: str
    args: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Program:
    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    """The values returned. One for elementwise work; a reduction may take two (value and mask, value and index)."""

    def dtype_of(self, value: int) -> np.dtype[Any]:
        n = len(self.inputs)
        return np.dtype(self.inputs[value].dtype if value < n else self.steps[value - n].dtype)

    @property
    def cost(self) -> float:
        """Work for one element, in additions; complex arithmetic counts four times."""
        return sum(ELEMENTWISE[s.op].cost * (4 if np.dtype(s.dtype).kind == "c" else 1) for s in self.steps)

    def interpret(self, xp: Any, *operands: Any) -> tuple[Any, ...]:
        """Run step by step with whole-array functions of `xp`: slow and obviously right.

        >>> b = Builder()
        >>> x = b.input("array", "int64")
        >>> b.build(b.step("add", x, b.input("scalar", "int64"))).interpret(np, np.arange(3), 10)
        (array([10, 11, 12]),)

        Operands match `inputs`; an index is given as an int64 array here (`Affine` belongs to the backends).
        """
        values: list[Any] = [
            as_scalar(o, np.dtype(i.dtype)) if i.kind == "scalar" else o
            for i, o in zip(self.inputs, operands, strict=True)
        ]
        n = len(values)
        last = {a: k for k, step in enumerate(self.steps) for a in step.args}
        keep = set(self.outputs)
        with np.errstate(all="ignore"):
            for k, step in enumerate(self.steps):
                args = [values[a] for a in step.args]
                values.append(ELEMENTWISE[step.op].apply(xp, np.dtype(step.dtype), *args))
                for a in step.args:
                    if a >= n and last[a] == k and a not in keep:
                        values[a] = None  # lets temporaries be reused while they are still in the cache
        return tuple(values[o] for o in self.outputs)

    def missing_code(self) -> tuple[Step, ...]:
        """The steps that have no scalar code: a program that has any can only be interpreted."""
        return tuple(s for s in self.steps if self._code(s) is None)

    def source(self, name: str = "scalar") -> str:
        """The program on scalars as the text of a Python function, one parameter per input.

        >>> b = Builder()
        >>> x, y = b.input("array", "float32"), b.input("scalar", "float32")
        >>> print(b.build(b.step("square", b.step("add", x, y))).source())
        def scalar(v0, v1):
            v2 = np.float32(v0 + v1)
            v3 = np.float32(v2 * v2)
            return v3

        The names that the text may use besides are those listed at `Elementwise`. Several outputs come as a tuple.
        Raises ValueError where a step has no scalar code.
        """
        n = len(self.inputs)
        lines = [f"def {name}({', '.join(f'v{k}' for k in range(n))}):"]
        for k, step in enumerate(self.steps):
            code = self._code(step)
            if code is None:
                raise ValueError(f"{step.op} has no scalar code for {step.dtype}; the program must be interpreted")
            text = code.format(*(f"v{a}" for a in step.args))
            lines.append(f"    v{n + k} = {type_name(np.dtype(step.dtype))}({text})")
        lines.append("    return " + ", ".join(f"v{o}" for o in self.outputs))
        return "\n".join(lines)

    def _code(self, step: Step) -> str | None:
        return ELEMENTWISE[step.op].code_for(tuple(self.dtype_of(a) for a in step.args), np.dtype(step.dtype))


_COMMUTATIVE = frozenset({"add", "multiply", "bitwise_and", "bitwise_or", "bitwise_xor", "equal", "not_equal"})
_INVOLUTIONS = frozenset({"negative", "invert", "conjugate"})


class Builder:
    """Writes a program step by step.

    >>> b = Builder()
    >>> x = b.input("array", "int8")
    >>> b.build(b.step("sqrt", x)).steps
    (Step(op='cast', args=(0,), dtype='float16'), Step(op='sqrt', args=(1,), dtype='float16'))

    Casts to the operation's loop are put in, equal steps are written once, steps that change nothing are left out, and
    those that no output needs are dropped. None of it changes a bit of the result.
    """

    def __init__(self) -> None:
        self._inputs: list[Input] = []
        self._steps: list[Step | None] = []
        """By value; None stands for an input. Arguments are the builder's values, renumbered by `build`."""
        self._dtypes: list[np.dtype[Any]] = []
        self._known: dict[Step, int] = {}

    def input(self, kind: Kind, dtype: Any) -> int:
        """A new argument of the program; its value. Inputs keep the order in which they were made."""
        dtype = np.dtype(dtype)
        self._inputs.append(Input(kind, dtype.str if dtype.kind in "SUmM" or not dtype.isnative else dtype.name))
        self._steps.append(None)
        self._dtypes.append(dtype)
        return len(self._dtypes) - 1

    def dtype(self, value: int) -> np.dtype[Any]:
        return self._dtypes[value]

    def step(self, op: str, *values: int) -> int:
        """``op(*values)``, as NumPy does it on arrays of the values' dtypes; the result's value.

        Raises UnsupportedDTypeError where the operation does not take these dtypes.
        """
        row = ELEMENTWISE[op]
        loop, result = row.resolve(*(self._dtypes[v] for v in values))
        args = tuple(self.cast(v, d) for v, d in zip(values, loop, strict=True))
        same = self._unchanged(row, args, result)
        return self._add(op, args, result) if same is None else same

    def cast(self, value: int, dtype: Any) -> int:
        """`value` converted to `dtype` (``astype``); nothing if it has it already."""
        dtype = np.dtype(dtype).newbyteorder("=")
        inner = self._steps[value]
        if inner is not None and inner.op == "cast":
            source = inner.args[0]
            if _lossless(self._dtypes[source], self._dtypes[value]):
                value = source
        if self._dtypes[value] == dtype:
            return value
        return self._add("cast", (value,), dtype)

    def build(self, *outputs: int) -> Program:
        """The program that returns `outputs`, with only the steps they need."""
        needed = set(outputs)
        for value in range(len(self._steps) - 1, -1, -1):
            step = self._steps[value]
            if step is not None and value in needed:
                needed.update(step.args)
        order = [v for v, s in enumerate(self._steps) if s is None]
        order += [v for v, s in enumerate(self._steps) if s is not None and v in needed]
        number = {v: k for k, v in enumerate(order)}
        steps = [self._steps[v] for v in order]
        return Program(
            tuple(self._inputs),
            tuple(Step(s.op, tuple(number[a] for a in s.args), s.dtype) for s in steps if s is not None),
            tuple(number[o] for o in outputs),
        )

    def _add(self, op: str, args: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        name = dtype.str if dtype.kind in "SUmM" else dtype.name
        step = Step(op, args, name)
        swapped = Step(op, args[::-1], name)
        if op in _COMMUTATIVE and dtype.kind != "c" and swapped in self._known:
            step = swapped
        if step not in self._known:
            self._steps.append(step)
            self._dtypes.append(dtype)
            self._known[step] = len(self._dtypes) - 1
        return self._known[step]

    def _unchanged(self, row: Elementwise, args: tuple[int, ...], result: np.dtype[Any]) -> int | None:
        """The value that an operation would only copy, or None."""
        value, kind = args[0], result.kind
        if self._dtypes[value] != result:
            return None
        if row.name == "positive":
            return value
        if row.name in ("conjugate", "real") and kind != "c":
            return value
        if row.name in ("floor", "ceil", "trunc") and kind in "biu":
            return value
        if row.name == "absolute" and kind in "bu":
            return value
        inner = self._steps[value]
        if row.name in _INVOLUTIONS and inner is not None and inner.op == row.name:
            return inner.args[0]
        return None


def _lossless(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    """Whether every value of `source` is a value of `target` (NumPy's "safe" lets int64 become float64)."""
    if source.kind not in "biufc" or target.kind not in "biufc" or not np.can_cast(source, target, "safe"):
        return False
    if source.kind in "iu" and target.kind in "fc":
        return bool(np.iinfo(source).bits <= np.finfo(target).nmant + 1)
    return True


def remembered(function: Callable[[Program], _T]) -> Callable[[Program], _T]:
    """Cache a function of programs by identity: to hash a long program takes longer than to run it."""
    known: dict[int, tuple[Program, _T]] = {}

    @functools.wraps(function)
    def wrapper(program: Program) -> _T:
        found = known.get(id(program))
        if found is None:
            if len(known) >= 4096:
                known.clear()
            found = known[id(program)] = (program, function(program))  # the program held keeps its id its own
        return found[1]

    return wrapper
