"""The launches that reduce a region and that merge states: `calls.reduce` and `calls.combine`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.kernels.cuda import merge_code, reduction_code, reduction_plan, state_code
from gpuarray.kernels.cuda.call import MOST_BLOCKS, Address, Call, Empty, launch_of, scalars_of
from gpuarray.kernels.cuda.elementwise_calls import copy, elementwise, fill
from gpuarray.kernels.cuda.merge_code import STACK
from gpuarray.kernels.cuda.scalar_code import missing
from gpuarray.kernels.elementwise import layout_of, moving_steps
from gpuarray.kernels.program import Affine, Builder, Program
from gpuarray.kernels.reduce_axes import Axis, Cuts, check_cuts, runs_of
from gpuarray.kernels.reductions import REDUCTIONS

MOST_KNOWN = 4096
"""Plans remembered."""


def reducible(program: Program, reduction: str) -> str:
    """Why a program's values have no CUDA reduction of that name, or an empty text: then they have one.

    >>> b = Builder()
    >>> reducible(b.build(b.input("array", "float16")), "max")
    'max of float16 has no scalar code'
    """
    why = missing(program)
    operand = program.dtype_of(program.outputs[0])
    return why or ("" if state_code.code_of(reduction, operand) else f"{reduction} of {operand} has no scalar code")


def reduce(
    program: Program,
    reduction: str,
    operands: Sequence[Any],
    shape: tuple[int, ...],
    cuts: Sequence[Cuts],
    address: Address,
    empty: Empty,
) -> tuple[list[Call], tuple[Any, ...]]:
    """The launches that compute `Backend.reduce`, in order, and the arrays of states that they write.

    The bits are those of the compiled CPU kernels. Arrays between two launches are made by `empty` and held by the
    calls alone.
    """
    check_cuts(cuts, shape)
    row = REDUCTIONS[reduction]
    operand = program.dtype_of(program.outputs[0])
    dtypes = row.state(operand)
    grid = tuple(n if c is None else len(c) - 1 for n, c in zip(shape, cuts, strict=True))
    if 0 in grid:
        return [], tuple(empty(0, d).reshape(grid) for d in dtypes)
    runs = [[(0, n, 1, 0)] if c is None else runs_of(c) for n, c in zip(shape, cuts, strict=True)]
    sets = list(itertools.product(*runs))
    if len(sets) == 1 and 0 not in shape:
        return _cells(program, reduction, operands, shape, cuts, sets[0], address, empty)
    calls: list[Call] = []
    states = tuple(empty(math.prod(grid), d).reshape(grid) for d in dtypes)
    for cells in sets:
        ends = [
            slice(None) if c is None else slice(first, first + count)
            for c, (_, _, count, first) in zip(cuts, cells, strict=True)
        ]
        parts = [s[tuple(ends)] for s in states]
        if any(c is not None and not length for c, (_, length, _, _) in zip(cuts, cells, strict=True)):
            calls += [c for p, v in zip(parts, row.start(operand), strict=True) if (c := fill(p, v, address))]
            continue
        more, found = _cells(program, reduction, operands, shape, cuts, cells, address, empty)
        calls += more
        calls += [c for f, p in zip(found, parts, strict=True) if (c := copy(f, p, address))]
    return calls, states


def _cells(
    program: Program,
    reduction: str,
    operands: Sequence[Any],
    shape: tuple[int, ...],
    cuts: Sequence[Cuts],
    cells: Sequence[tuple[int, int, int, int]],
    address: Address,
    empty: Empty,
) -> tuple[list[Call], tuple[Any, ...]]:
    """The launches for one set of equal cells, by axis (start, length, how many, number of the first)."""
    key = (id(program), reduction, shape, tuple(cuts), tuple(cells), layout_of(program, operands))
    found = _known.get(key)
    if found is None:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        found = _known[key] = _Cells.of(program, reduction, operands, shape, cuts, cells)
    plan = found.plan
    states = [empty(plan.states, d) for d in found.dtypes]
    moving = (o for o, i in zip(operands, program.inputs, strict=True) if i.kind != "scalar")
    places = [
        v.offset + start if isinstance(v, Affine) else address(v, start)
        for v, start in zip(moving, found.starts, strict=True)
    ]
    arguments = (*(address(s, 0) for s in states), *places, *plan.steps, *plan.integers)
    arguments += (*scalars_of(program, operands), plan.total)
    calls = [launch_of(plan.kernel, (min(plan.blocks, MOST_BLOCKS),), plan.threads, *arguments, holds=states)]
    for merge in plan.merges:
        integers = (merge.row, merge.pieces)
        more, states = _merged(merge.kernel, states, merge.total, merge.groups, integers, address, empty)
        calls += more
    return calls, tuple(s.reshape(found.shape).transpose(*found.back) for s in states)


@dataclass(frozen=True, slots=True)
class _Cells:
    """What is remembered of a program, of how its operands lie, and of one set of equal cells."""

    program: Program
    """Held so that its `id`, which is in the key, stays its own."""
    plan: reduction_plan.Plan
    dtypes: tuple[np.dtype[Any], ...]
    starts: tuple[int, ...]
    """By moving input, where the first cell begins."""
    shape: tuple[int, ...]
    """Of the states as they are computed, and `back` how to turn their axes."""
    back: tuple[int, ...]

    @classmethod
    def of(
        cls,
        program: Program,
        reduction: str,
        operands: Sequence[Any],
        shape: tuple[int, ...],
        cuts: Sequence[Cuts],
        cells: Sequence[tuple[int, int, int, int]],
    ) -> _Cells:
        steps = moving_steps(program, operands, shape, ())
        kept, reduced, starts, counts = [], [], [0] * sum(i.kind != "scalar" for i in program.inputs), []
        for step, cut, (start, length, count, _) in zip(steps, cuts, cells, strict=True):
            if cut is None:
                kept.append(Axis(length, tuple(step)))
                counts.append(length)
                continue
            starts = [a + start * s for a, s in zip(starts, step, strict=True)]
            kept.append(Axis(count, tuple(length * s for s in step)))
            reduced.append(Axis(length, tuple(step)))
            counts.append(count)
        plan = reduction_plan.plan(program, reduction, kept, reduced)
        dtypes = reduction_plan.states_of(program, reduction)
        back = tuple(int(a) for a in np.argsort(plan.order))
        return cls(program, plan, dtypes, tuple(starts), tuple(counts[a] for a in plan.order), back)


_known: dict[Any, _Cells] = {}


def _merged(
    kernel: Any,
    states: Sequence[Any],
    total: int,
    groups: int,
    integers: tuple[int, ...],
    address: Address,
    empty: Empty,
) -> tuple[list[Call], list[Any]]:
    """One pass of merging: `total` new states, `groups` of them by a block of threads."""
    merged = [empty(total, s.dtype) for s in states]
    places = [address(s, 0) for s in (*merged, *states)]
    blocks = (min(-(-total // groups), MOST_BLOCKS),)
    return [launch_of(kernel, blocks, (kernel.threads,), *places, *integers, total, holds=(*merged, *states))], merged


def combine(
    reduction: str,
    states: Sequence[Any],
    axes: tuple[int, ...],
    address: Address,
    empty: Empty,
    correction: float = 0.0,
) -> tuple[list[Call], Any]:
    """The launches that compute `Backend.combine`, and the array of results that they write.

    Raises ValueError where there are no states to merge and no identity.
    """
    row = REDUCTIONS[reduction]
    operand = states[1].dtype if row.family == "moments" else states[0].dtype
    shape = states[0].shape
    result = tuple(1 if a in axes else n for a, n in enumerate(shape))
    calls: list[Call] = []
    given = list(states)
    if any(shape[a] == 0 for a in axes):
        if row.identity_of is None:
            raise row.empty_error()
        given = [empty(math.prod(result), s.dtype).reshape(result) for s in states]
        calls += [c for s, v in zip(given, row.start(operand), strict=True) if (c := fill(s, v, address))]
    elif math.prod(shape):
        more, given = _tree(reduction, given, axes, address, empty)
        calls += more
        given = [s.reshape(result) for s in given]
    else:
        given = [s.reshape(result) for s in states]
    if row.family == "arg":
        return calls, given[1]
    if row.family != "moments":
        return calls, given[0]
    out = empty(math.prod(result), np.dtype(np.float64)).reshape(result)
    finish = elementwise(_VARIANCE, [given[0], given[2], float(correction), 0.0], [out], address, lambda array: False)
    return [*calls, *([finish] if finish else [])], out


def _variance() -> Program:
    """``m2 / max(count - correction, 0)``, as `reductions` writes it for whole arrays."""
    b = Builder()
    count, m2 = b.input("array", "int64"), b.input("array", "float64")
    correction, zero = b.input("scalar", "float64"), b.input("scalar", "float64")
    return b.build(b.step("divide", m2, b.step("maximum", b.step("subtract", count, correction), zero)))


_VARIANCE = _variance()


def _tree(
    reduction: str, states: list[Any], axes: tuple[int, ...], address: Address, empty: Empty
) -> tuple[list[Call], list[Any]]:
    """Merge all states along `axes`, which are not empty."""
    shape = states[0].shape
    merged = sorted(a for a in axes if shape[a] != 1)
    if not merged:
        return [], states
    calls: list[Call] = []
    row = REDUCTIONS[reduction]
    operand = states[1].dtype if row.family == "moments" else states[0].dtype
    first, last = merged[0], merged[-1]
    if any(a not in merged and shape[a] != 1 for a in range(first, last)):
        # states of one cell lie in several pieces: bring them together, cells first
        order = [a for a in range(len(shape)) if a not in merged] + merged
        states = [s.transpose(*order) for s in states]
        outer, inner = math.prod(shape[a] for a in order[: -len(merged)]), 1
    else:
        outer, inner = math.prod(shape[:first]), math.prod(shape[last + 1 :])
    dense: list[Any] = []
    for s in states:
        if _in_order(s):
            dense.append(s)
            continue
        dense.append(empty(math.prod(s.shape), s.dtype).reshape(s.shape))
        calls += [c for c in (copy(s, dense[-1], address),) if c]
    m = math.prod(shape[a] for a in merged)
    while m > 1:
        if inner == 1:
            lanes = min(32, 1 << (m - 1).bit_length())
            kernel, groups = merge_code.merge_kernel(reduction, operand, lanes), reduction_code.THREADS // lanes
            pieces = -(-m // lanes)
            integers: tuple[int, ...] = (m, pieces)
        else:
            kernel, groups = merge_code.stack_kernel(reduction, operand), reduction_code.THREADS
            pieces = -(-m // STACK)
            integers = (m, inner, pieces)
        more, dense = _merged(kernel, dense, outer * pieces * inner, groups, integers, address, empty)
        calls += more
        m = pieces
    return calls, dense


def _in_order(array: Any) -> bool:
    """Whether an array is contiguous, its axes in order."""
    step = array.dtype.itemsize
    for n, stride in zip(reversed(array.shape), reversed(array.strides), strict=True):
        if n != 1 and stride != step:
            return False
        step *= n
    return True
