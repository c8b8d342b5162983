"""Elementwise programs on the CPU, compiled: how a region's axes become the loops of an evaluator."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpuarray.kernels import cache, compile
from gpuarray.kernels.compile_code import MAX_TURNED, drawn, rereads
from gpuarray.kernels.operands import Template, Words
from gpuarray.kernels.program import Program
from gpuarray.kernels.row import as_scalar

Array = np.ndarray[Any, Any]

_MAX_CALLS = 4096
"""Layouts remembered."""


@dataclass(slots=True)
class Loops:
    """The steps of every moving value (outputs first) along the axes that are left, outermost first.

    Arrays step in bytes, indices in units. `starts` is where each value begins, relative to its first element: not 0
    where an axis is walked backwards.
    """

    lengths: list[int]
    steps: list[list[int]]
    """By axis, then by moving value."""
    starts: list[int]

    def merge(self) -> None:
        """Join neighbouring axes that every value walks as one."""
        axis = 1
        while axis < len(self.lengths):
            n, inner, outer = self.lengths[axis], self.steps[axis], self.steps[axis - 1]
            if all(o == i * n for o, i in zip(outer, inner, strict=True)):
                self.lengths[axis - 1 : axis + 1] = [self.lengths[axis - 1] * n]
                self.steps[axis - 1 : axis + 1] = [inner]
            else:
                axis += 1

    def drop_ones(self) -> None:
        keep = [a for a, n in enumerate(self.lengths) if n != 1]
        self.lengths = [self.lengths[a] for a in keep]
        self.steps = [self.steps[a] for a in keep]

    def forwards(self) -> None:
        """Walk every axis so that the first value (the result) moves up in memory."""
        for axis, (n, steps) in enumerate(zip(self.lengths, self.steps, strict=True)):
            if steps[0] < 0:
                self.starts = [s + (n - 1) * d for s, d in zip(self.starts, steps, strict=True)]
                self.steps[axis] = [-d for d in steps]

    def by_memory(self) -> None:
        """Order the axes so that the first value (the result) is walked in the order of its memory."""
        order = sorted(range(len(self.lengths)), key=lambda a: -abs(self.steps[a][0]))
        self.lengths = [self.lengths[a] for a in order]
        self.steps = [self.steps[a] for a in order]

    def reorder(self, axis: int, position: int) -> None:
        self.lengths.insert(position, self.lengths.pop(axis))
        self.steps.insert(position, self.steps.pop(axis))


def turn(program: Program, loops: Loops, first: int = 0) -> int | None:
    """The axis (numbered from `first`) along which operands lie that do not lie along the last one, or None.

    Operands that lie along it are turned through tile buffers, so both they and the result are walked line by line.
    """
    if len(loops.lengths) < 2 or loops.lengths[-1] < 16:
        return None
    votes: dict[int, int] = {}
    for j, unit in _turnable(program):
        if abs(loops.steps[-1][j]) <= unit:
            continue
        for axis in range(first, len(loops.lengths) - 1):
            if loops.steps[axis][j] == unit and loops.lengths[axis] >= 16:
                votes[axis] = votes.get(axis, 0) + 1
    return max(votes, key=lambda a: votes[a]) if votes else None


def _turnable(program: Program) -> list[tuple[int, int]]:
    """The moving values that tile buffers can turn, each with its unit step: arrays, and indices of random numbers."""
    words = Words.of(program)
    indices = set(drawn(program).values())
    units = ((j, k, program.inputs[k].kind == "array") for j, k in enumerate(words.moving, words.outputs))
    return [(j, program.dtype_of(k).itemsize if array else 1) for j, k, array in units if array or k in indices]


def modes(program: Program, steps: Sequence[int], across: Sequence[int] | None) -> Template:
    """How each value moves along the innermost axis, and along the next one (`across`) if operands are turned."""
    words = Words.of(program)
    letters = ["-"] * len(program.inputs)
    turnable = dict(_turnable(program))
    turned = 0
    for j, k in enumerate(words.moving, words.outputs):
        unit = program.dtype_of(k).itemsize if program.inputs[k].kind == "array" else 1
        letters[k] = {unit: "u", -unit: "r", 0: "c"}.get(steps[j], "s")
        fits = j in turnable and across is not None and across[j] == unit and turned < MAX_TURNED
        if letters[k] == "s" and fits:
            letters[k] = "t"
            turned += 1
    sizes = [program.dtype_of(o).itemsize for o in program.outputs]
    return Template("".join(letters), "".join("u" if steps[j] == s else "s" for j, s in enumerate(sizes)))


def fill_words(words: Words, loops: Loops) -> Array:
    """An evaluator's table for these loops, without addresses and scalars."""
    outer = max(len(loops.lengths) - 2, 0)
    lengths = [1] * (2 - len(loops.lengths)) + loops.lengths
    steps = [[0] * words.count] * (2 - len(loops.steps)) + loops.steps
    table = np.zeros(words.size(outer), np.int64)
    table[:4] = lengths[-1], lengths[-2], math.prod(lengths[:-2]), outer
    for j in range(words.count):
        table[words.base(j) + 1 : words.base(j) + 3] = steps[-1][j], steps[-2][j]
    changes = table[words.axes + 2 * outer :].reshape(outer, words.count)
    table[words.axes : words.axes + outer] = lengths[:outer]
    back = np.zeros(words.count, np.int64)
    for axis in range(outer - 1, -1, -1):
        changes[axis] = np.array(steps[axis], np.int64) - back
        back += (lengths[axis] - 1) * np.array(steps[axis], np.int64)
    return table


@dataclass(slots=True)
class _Call:
    """What is remembered of one program and layout: the kernel, and tables to fill in and hand over."""

    program: Program
    """Held so that its `id`, which is the key, stays its own."""
    kernel: cache.Kernel
    words: Words
    starts: list[int]
    table: Array
    arrays: list[tuple[int, int]]
    """(input, moving value) of each array."""
    spare: list[tuple[Array, int]] = field(default_factory=list)
    """Tables not in use, with their addresses: `list.pop` and `append` are atomic."""

    def __call__(self, operands: Sequence[Any], out: Array) -> None:
        words, starts, inputs = self.words, self.starts, self.program.inputs
        try:
            table, address = self.spare.pop()
        except IndexError:
            table = self.table.copy()
            address = table.ctypes.data
        table[4] = out.ctypes.data + starts[0]
        for j, k in enumerate(words.moving, 1):
            operand = operands[k]
            place = operand.ctypes.data if inputs[k].kind == "array" else operand.offset
            table[4 + 3 * j] = place + starts[j]
        for j, k in enumerate(words.scalars):
            put_scalar(table, words.scalar(j), operands[k], inputs[k].dtype)
        self.kernel(address)
        self.spare.append((table, address))


def put_scalar(table: Array, at: int, value: Any, dtype: str) -> None:
    """Write a scalar into its two words."""
    view = table[at : at + 2].view(dtype)
    view[0] = value if type(value) is float and dtype == "float64" else as_scalar(value, np.dtype(dtype))


_calls: dict[Any, _Call] = {}


def run(program: Program, operands: Sequence[Any], shape: tuple[int, ...], out: Array | None = None) -> Array:
    """Compute a one-output program over a region.

    >>> from gpuarray.kernels.program import Builder
    >>> b = Builder()
    >>> x, y = b.input("array", "float64"), b.input("scalar", "float64")
    >>> run(b.build(b.step("add", x, y)), (np.arange(3.0), 0.5), (3,))
    array([0.5, 1.5, 2.5])

    Parameters
    ----------
    program
        For which `compile.supported` holds.
    operands
        One per input: arrays that broadcast to `shape`, of any strides; scalars; `Affine`s.
    out
        Where to write: an array of this shape and the program's dtype, of any strides. It may be one of the operands.

    Without `out` the result is new, its axes in memory ordered as the operands' (C order if they disagree).
    Raises ValueError where an operand does not broadcast to `shape` or `out` does not fit.
    """
    operands = as_declared(program, operands)
    dtype = program.dtype_of(program.outputs[0])
    if out is None:
        out = _empty(program, operands, shape, dtype)
    elif out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out has shape {out.shape} and dtype {out.dtype}; the result has {shape} and {dtype}")
    elif not out.flags.writeable:
        raise ValueError("out is read-only; give an array that can be written")
    elif any(i.kind == "array" and _overlap(program, o, out) for o, i in zip(operands, program.inputs, strict=True)):
        out[...] = run(program, operands, shape)
        return out
    if out.size:
        _call(program, operands, shape, out)(operands, out)
    return out


def ready(program: Program, operands: Sequence[Any], shape: tuple[int, ...], out: Array | None = None) -> bool:
    """Whether `run` would compile nothing: it has run on such a layout, or the kernel is on disk."""
    operands = as_declared(program, operands)
    out = _empty(program, operands, shape, program.dtype_of(program.outputs[0])) if out is None else out
    return compile.ready(program, _loops(program, operands, shape, out)[0])


def _call(program: Program, operands: Sequence[Any], shape: tuple[int, ...], out: Array) -> _Call:
    key = (id(program), layout_of(program, operands), out.shape, out.strides)
    call = _calls.get(key)
    if call is None:
        if len(_calls) >= _MAX_CALLS:
            _calls.clear()
        call = _calls[key] = _plan(program, operands, shape, out)
    return call


def _plan(program: Program, operands: Sequence[Any], shape: tuple[int, ...], out: Array) -> _Call:
    words = Words.of(program)
    template, loops = _loops(program, operands, shape, out)
    kernel = compile.evaluator(program, template).call
    arrays = [(k, j) for j, k in enumerate(words.moving, 1) if program.inputs[k].kind == "array"]
    return _Call(program, kernel, words, loops.starts, fill_words(words, loops), arrays)


def _loops(program: Program, operands: Sequence[Any], shape: tuple[int, ...], out: Array) -> tuple[Template, Loops]:
    loops = Loops(list(shape), moving_steps(program, operands, shape, [out.strides]), [0] * Words.of(program).count)
    loops.drop_ones()
    loops.forwards()
    loops.by_memory()
    loops.merge()
    axis = turn(program, loops)
    if axis is not None:
        loops.reorder(axis, len(loops.lengths) - 2)
    last = loops.steps[-1] if loops.steps else [0] * len(loops.starts)
    return modes(program, last, loops.steps[-2] if axis is not None else None), loops


def moving_steps(
    program: Program, operands: Sequence[Any], shape: tuple[int, ...], outputs: Sequence[Sequence[int]]
) -> list[list[int]]:
    """By axis of the region, the steps of the outputs and of every array and index."""
    columns = [list(o) for o in outputs]
    for k in Words.of(program).moving:
        operand = operands[k]
        if program.inputs[k].kind == "array":
            columns.append(broadcast_strides(operand, shape))
        elif len(operand.strides) != len(shape):
            raise ValueError(f"index has strides {operand.strides}; the region has shape {shape}: one stride per axis")
        else:
            columns.append(list(operand.strides))
    return [[column[axis] for column in columns] for axis in range(len(shape))]


def broadcast_strides(array: Array, shape: tuple[int, ...]) -> list[int]:
    """The strides of `array` as if it had `shape`: 0 where it repeats."""
    missing = len(shape) - array.ndim
    if missing < 0 or any(a not in (n, 1) for a, n in zip(array.shape, shape[missing:], strict=True)):
        raise ValueError(f"an operand of shape {array.shape} does not broadcast to the region's shape {shape}")
    return [0] * missing + [0 if n == 1 else s for n, s in zip(array.shape, array.strides, strict=True)]


def as_declared(program: Program, operands: Sequence[Any]) -> list[Any]:
    """Operands with arrays of the dtypes that the program declares; as a rule they have them already."""
    return [_native(o, i.dtype) if i.kind == "array" else o for o, i in zip(operands, program.inputs, strict=True)]


def layout_of(program: Program, operands: Sequence[Any]) -> tuple[Any, ...]:
    """What a plan depends on: shapes and strides, not addresses and values."""
    return tuple(
        [
            (o.shape, o.strides) if i.kind == "array" else (o.strides if i.kind == "index" else None)
            for o, i in zip(operands, program.inputs, strict=True)
        ]
    )


def _native(operand: Any, dtype: str) -> Array:
    """The operand as the program declares it; as a rule it is that already."""
    wanted = _dtype(dtype)
    if type(operand) is np.ndarray and operand.dtype is wanted:
        return operand
    array = np.asarray(operand)
    return array if array.dtype == wanted and array.dtype.isnative else array.astype(wanted)


@functools.cache
def _dtype(name: str) -> np.dtype[Any]:
    return np.dtype(name)


def _empty(program: Program, operands: Sequence[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A new result, laid out as those operands that have the region's shape, if they agree."""
    order = None
    for operand, declared in zip(operands, program.inputs, strict=True):
        if declared.kind == "array" and operand.shape == shape and len(shape) > 1:
            if operand.flags.c_contiguous:
                return np.empty(shape, dtype)
            mine = _order(operand)
            if order not in (None, mine):
                return np.empty(shape, dtype)
            order = mine
    if order is None:
        return np.empty(shape, dtype)
    axes = order
    return np.empty([shape[a] for a in axes], dtype).transpose(np.argsort(axes))


def _order(array: Array) -> tuple[int, ...]:
    """The axes from the largest step in memory to the smallest."""
    return tuple(sorted(range(array.ndim), key=lambda a: -abs(array.strides[a])))


def _overlap(program: Program, operand: Array, out: Array) -> bool:
    """Whether writing `out` may change what is yet to be read (the same elements in the same places are no harm)."""
    if not np.may_share_memory(operand, out):
        return False
    same = operand.shape == out.shape and operand.strides == out.strides and operand.dtype == out.dtype
    if same and operand.__array_interface__["data"] == out.__array_interface__["data"]:
        return rereads(program)
    return True
