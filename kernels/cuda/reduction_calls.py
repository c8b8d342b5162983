"""The launches that reduce a region: `calls.reduction`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpuarray.kernels.cuda import reduction_plan
from gpuarray.kernels.cuda.call import MOST_BLOCKS, Address, Call, launch_of, scalars_of
from gpuarray.kernels.elementwise import moving_steps
from gpuarray.kernels.program import Program


def reduction(
    program: Program,
    name: str,
    operands: Sequence[Any],
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    address: Address,
    empty: Callable[[int, np.dtype[Any]], Any],
) -> tuple[list[Call], list[Any], tuple[int, ...]]:
    """The launches that reduce whole `axes` of a region, none of length 0, in order.

    Returns them, the arrays of states (one-dimensional, from `empty`), and the order of the kept axes in these.
    """
    from gpuarray.kernels.reduce_tables import Axis

    steps = moving_steps(program, operands, shape, ())
    kept = [Axis(n, tuple(steps[a])) for a, n in enumerate(shape) if a not in axes]
    plan = reduction_plan.plan(program, name, kept, [Axis(shape[a], tuple(steps[a])) for a in axes])
    dtypes = reduction_plan.states_of(program, name)
    states = [empty(plan.states, d) for d in dtypes]
    places = [
        address(operand, 0) if given.kind == "array" else operand.offset
        for given, operand in zip(program.inputs, operands, strict=True)
        if given.kind != "scalar"
    ]
    arguments = (*(address(s, 0) for s in states), *places, *plan.steps, *plan.integers)
    arguments += (*scalars_of(program, operands), plan.total)
    calls = [launch_of(plan.kernel, (min(plan.blocks, MOST_BLOCKS),), plan.threads, *arguments)]
    for merge in plan.merges:
        merged = [empty(merge.total, d) for d in dtypes]
        blocks = min(-(-merge.total // merge.groups), MOST_BLOCKS)
        places = [address(s, 0) for s in (*merged, *states)]
        arguments = (*places, merge.row, merge.pieces, merge.total)
        calls.append(launch_of(merge.kernel, (blocks,), (merge.kernel.threads,), *arguments))
        states = merged
    return calls, states, plan.order
