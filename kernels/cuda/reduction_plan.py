"""Which kernels reduce a region, on what axes, and how many states are left in between: arithmetic, no arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gpuarray.kernels.cuda.merge_code import merge_kernel
from gpuarray.kernels.cuda.offline import Kernel
from gpuarray.kernels.cuda.reduction_code import CELLS, ROWS, THREADS, Layout, fold_kernel, lanes_of
from gpuarray.kernels.program import Program
from gpuarray.kernels.reduce_axes import BLOCK, Axis, split
from gpuarray.kernels.reductions import REDUCTIONS
from gpuarray.kernels.row import DType


@dataclass(frozen=True, slots=True)
class Merge:
    """One pass: the last axis of the states, of length `row`, in groups of `lanes`."""

    kernel: Kernel
    row: int
    pieces: int
    total: int
    """States that come out."""
    lanes: int

    @property
    def groups(self) -> int:
        """Groups of lanes in a block of threads."""
        return THREADS // self.lanes


@dataclass(frozen=True, slots=True)
class Plan:
    """The reduction of a set of cells of one shape."""

    kernel: Kernel
    threads: tuple[int, int]
    blocks: int
    """Blocks of threads that do all of the work in one go."""
    integers: tuple[int, ...]
    """Arguments of the kernel between the places and the scalars, but for the steps, which come before them."""
    steps: tuple[int, ...]
    """By moving input, along the kernel's axes."""
    total: int
    states: int
    """States that the first kernel writes."""
    merges: tuple[Merge, ...]
    order: tuple[int, ...]
    """The axes of cells as the states lie, by their numbers among those given."""


def plan(program: Program, reduction: str, kept: Sequence[Axis], reduced: Sequence[Axis]) -> Plan:
    """How to reduce ``reduced`` axes of every cell along ``kept`` axes, neither of them of length 0.

    Steps of an `Axis` are those of the moving inputs (arrays and indices), in order, as for the CPU.
    """
    row = REDUCTIONS[reduction]
    operand = program.dtype_of(program.outputs[0])
    moving = [k for k, i in enumerate(program.inputs) if i.kind != "scalar"]
    arrays = [j for j, k in enumerate(moving) if program.inputs[k].kind == "array"]
    outer, cut, block, whole = _flattened(*split(reduced, BLOCK[row.family], len(moving)))
    runs = -(-cut.length // block)
    unit = math.prod(a.length for a in whole)
    elements = min(block, cut.length) * unit
    side = None if outer else _across(kept, (whole or [cut])[-1], arrays)
    order = tuple(a for a in range(len(kept)) if a != side) + (() if side is None else (side,))
    cells = [kept[a] for a in order if a != side] + outer or [Axis(1, (0,) * len(moving))]
    layout = Layout(len(cells), len(whole), side is not None, 32 if runs > 1 else lanes_of(elements))
    axes = [*cells, *([] if side is None else [kept[side]]), cut, *whole]
    total = math.prod(a.length for a in cells) * runs
    across = () if side is None else (kept[side].length,)
    states = total * math.prod(across)
    blocks = -(-across[0] // CELLS) * total if across else -(-total // (THREADS // layout.lanes))
    merges: list[Merge] = []
    left = states
    for length in (runs, *(a.length for a in reversed(outer))):
        left = _merges(merges, reduction, operand, left, length)
    return Plan(
        fold_kernel(program, reduction, layout),
        (CELLS, ROWS) if across else (THREADS, 1),
        blocks,
        (*(a.length for a in cells[1:]), *across, cut.length, block, runs, unit, *(a.length for a in whole)),
        tuple(a.steps[j] for j in range(len(moving)) for a in axes),
        total,
        states,
        tuple(merges),
        order,
    )


def states_of(program: Program, reduction: str) -> tuple[DType, ...]:
    """The dtypes of the arrays of states."""
    return REDUCTIONS[reduction].state(program.dtype_of(program.outputs[0]))


def _merges(merges: list[Merge], reduction: str, operand: DType, states: int, row: int) -> int:
    while row > 1:
        lanes = min(32, 1 << (row - 1).bit_length())
        pieces = -(-row // lanes)
        states = states // row * pieces
        kernel = merge_kernel(reduction, operand, lanes)
        merges.append(Merge(kernel, row, pieces, states, lanes))
        row = pieces
    return states


def _flattened(outer: list[Axis], cut: Axis, block: int, whole: list[Axis]) -> tuple[list[Axis], Axis, int, list[Axis]]:
    """See whole axes, and the cut one with them, as one where every operand walks them as one."""
    joined: list[Axis] = []
    for axis in whole:
        if joined and all(a == b * axis.length for a, b in zip(joined[-1].steps, axis.steps, strict=True)):
            joined[-1] = Axis(joined[-1].length * axis.length, axis.steps)
        else:
            joined.append(axis)
    if len(joined) == 1:
        n = joined[0].length
        if all(c == s * n for c, s in zip(cut.steps, joined[0].steps, strict=True)):
            return outer, Axis(cut.length * n, joined[0].steps), block * n, []
    return outer, cut, block, joined


def _across(kept: Sequence[Axis], inner: Axis, arrays: list[int]) -> int | None:
    """The axis of cells to lay along the warp: one along which arrays are denser than along the elements."""
    best, choice = sum(abs(inner.steps[j]) for j in arrays), None
    for a, axis in enumerate(kept):
        here = sum(abs(axis.steps[j]) for j in arrays)
        if axis.length >= CELLS // 4 and here < best:
            best, choice = here, a
    return choice
