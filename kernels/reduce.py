"""Reductions on the CPU, compiled: how a region's axes become blocks, and which way they are walked.

The value of a cell is defined by its elements and its shape, never by strides, threads or neighbours:

    The last reduced axes, as many as hold at most `block` elements together, are taken whole; the axis before them is
    cut into runs of as many positions as fit. Such a *block* is folded in lanes (`gpuarray.kernels.reduce_code`).
    The blocks along the cut axis merge as neighbours in a binary tree; then, axis by axis outwards, the results.

So a sum's error grows like that of pairwise summation, and any walk over memory gives the same bits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.kernels import cache, compile, fused_code, reduce_code
from gpuarray.kernels.compile_code import source
from gpuarray.kernels.elementwise import Array, as_declared, layout_of, moving_steps
from gpuarray.kernels.operands import Words, contiguous
from gpuarray.kernels.program import Program
from gpuarray.kernels.reduce_axes import BLOCK, Axis, Cuts, check_cuts, runs_of, split
from gpuarray.kernels.reduce_code import LOOPS, Fold
from gpuarray.kernels.reduce_tables import Call, Shape, Tables, merged
from gpuarray.kernels.reductions import REDUCTIONS


def run(
    program: Program, reduction: str, operands: Sequence[Any], shape: tuple[int, ...], cuts: Sequence[Cuts]
) -> tuple[Array, ...]:
    """Reduce every cell of the grid that `cuts` draws on a region: the state arrays.

    >>> from gpuarray.kernels.program import Builder
    >>> b = Builder()
    >>> x = b.input("array", "float64")
    >>> run(b.build(b.step("square", x)), "sum", (np.arange(6.0).reshape(2, 3),), (2, 3), (None, (0, 2, 3)))
    (array([[ 1.,  4.],
           [25., 25.]]),)

    Parameters
    ----------
    program
        Its outputs are (value,) or (value, mask) for folds and moments, (value, index) for arg reductions; the value
        has the reduction's operand dtype.
    reduction
        A row of `REDUCTIONS` for which `supported` holds.
    operands, shape
        As for `elementwise.run`.
    cuts
        By axis, where it is cut into cells, ``(0, ..., length)``; None for an axis that is kept.

    A state array has length ``len(cuts[a]) - 1`` along a reduced axis and the region's length along the others.
    Raises ValueError where operands or cuts do not fit the shape.
    """
    operands = as_declared(program, operands)
    key = (id(program), reduction, shape, tuple(cuts), layout_of(program, operands))
    plan = _plans.get(key)
    if plan is None:
        if len(_plans) >= 4096:
            _plans.clear()
        plan = _plans[key] = _Plan.of(program, reduction, operands, shape, cuts)
    return plan(operands)


def supported(program: Program, reduction: str) -> bool:
    """Whether the program and the reduction of its values can be compiled."""
    operand = program.dtype_of(program.outputs[0])
    return compile.supported(program) and REDUCTIONS[reduction].code(operand) is not None


def ready(program: Program, reduction: str) -> bool:
    """Whether `run` on contiguous operands would compile nothing."""
    if not supported(program, reduction):
        return False
    operand = program.dtype_of(program.outputs[0])
    masked = REDUCTIONS[reduction].family != "arg" and len(program.outputs) > 1
    fold = Fold(reduction, operand.name, masked, False)
    modules = [reduce_code.source(fold), LOOPS.format(name="along")]
    if fused_code.fusible(program, fold) and (program.steps or len(program.outputs) > 1):
        modules.append(fused_code.source(program, contiguous(program), fold))
    elif program.steps or len(program.outputs) > 1:
        modules.append(source(program, contiguous(program)))
    return all(map(cache.ready, modules))


@dataclass(slots=True)
class _Plan:
    """What is remembered of one program, reduction, layout and grid."""

    program: Program
    shape: tuple[int, ...]
    dtypes: tuple[np.dtype[Any], ...]
    start: tuple[Any, ...]
    calls: list[Call]
    partial: bool = False
    """Whether there may be cells that no call writes: those without elements."""

    @classmethod
    def of(
        cls, program: Program, reduction: str, operands: Sequence[Any], shape: tuple[int, ...], cuts: Sequence[Cuts]
    ) -> _Plan:
        check_cuts(cuts, shape)
        row = REDUCTIONS[reduction]
        operand = program.dtype_of(program.outputs[0])
        dtypes = row.state(operand)
        result = tuple(n if c is None else len(c) - 1 for n, c in zip(shape, cuts, strict=True))
        plan = cls(program, result, dtypes, row.start(operand), [])
        # moving steps: no outputs, inputs only
        steps = [tuple(s) for s in moving_steps(program, operands, shape, ())]
        strides = [_c_strides(result, d.itemsize) for d in dtypes]
        if math.prod(result) == 0:
            return plan
        runs = [[(0, n, 1, 0)] if c is None else runs_of(c) for n, c in zip(shape, cuts, strict=True)]
        for cells in itertools.product(*runs):
            if all(c is None or length for c, (_, length, _, _) in zip(cuts, cells, strict=True)):
                call, partial = _call(program, reduction, steps, strides, cuts, cells)
                plan.calls.append(call)
                plan.partial |= partial
        return plan

    def __call__(self, operands: Sequence[Any]) -> tuple[Array, ...]:
        states = tuple(np.empty(self.shape, d) for d in self.dtypes)
        if not self.calls or self.partial:
            for state, value in zip(states, self.start, strict=True):
                state[...] = value
        for call in self.calls:
            call(self.program, operands, states)
        return states


_plans: dict[Any, _Plan] = {}


def _c_strides(shape: tuple[int, ...], itemsize: int) -> list[int]:
    strides = [itemsize]
    for n in reversed(shape[1:]):
        strides.append(strides[-1] * n)
    return strides[::-1][: len(shape)]


def _call(
    program: Program,
    reduction: str,
    steps: Sequence[tuple[int, ...]],
    strides: Sequence[Sequence[int]],
    cuts: Sequence[Cuts],
    cells: Sequence[tuple[int, int, int, int]],
) -> tuple[Call, bool]:
    """The kernel call for one set of equal cells, and whether other cells lie beside them."""
    inputs = len(Words.of(program).moving)
    kept, reduced = [], []
    starts, outs = [0] * inputs, [0] * len(strides)
    partial = False
    for axis, (cut, (start, length, count, first)) in enumerate(zip(cuts, cells, strict=True)):
        out = tuple(s[axis] for s in strides)
        if cut is None:
            kept.append(Axis(length, steps[axis], out))
            continue
        starts = [a + start * b for a, b in zip(starts, steps[axis], strict=True)]
        outs = [a + first * b for a, b in zip(outs, out, strict=True)]
        partial |= count != len(cut) - 1
        kept.append(Axis(count, tuple(length * s for s in steps[axis]), out))
        reduced.append(Axis(length, steps[axis]))
    family = REDUCTIONS[reduction].family
    outer, cut_axis, block, whole = split(reduced, BLOCK[family], inputs)
    shape = Shape(merged([a for a in kept if a.length != 1]), outer, cut_axis, block, whole)
    return Tables(program, reduction, shape).call(starts, outs), partial
