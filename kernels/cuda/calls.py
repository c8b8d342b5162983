"""Which kernel serves which arrays, in what grid, with what arguments: arithmetic on addresses, shapes and strides.

Arrays are anything that has `shape`, `strides`, `dtype` and `ndim`; where one lies is asked of a function, so that the
same code drives a GPU and Numba's simulator. A call is a plain value: `launch.run` hands it to CuPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.kernels.cuda import elementwise_code, reduction_plan, stencil_code, sweep_code
from gpuarray.kernels.cuda.elementwise_code import TILE, TILE_ROWS, Operands
from gpuarray.kernels.cuda.offline import Kernel
from gpuarray.kernels.elementwise import Loops, moving_steps
from gpuarray.kernels.program import Program
from gpuarray.kernels.stencils.boxes import Box
from gpuarray.kernels.stencils.program import Edges, StencilProgram

Address = Callable[[Any, int], Any]
"""``address(array, offset)``: where element 0 of an array lies, moved by so many bytes."""
Three = tuple[int, int, int]

MOST_ACROSS = 65535
"""Blocks along the second and the third axis of a grid."""
ENOUGH_THREADS = 1 << 18
"""That keep a large GPU busy."""
MOST_BLOCKS = 1 << 20
"""Of the first axis of a grid whose blocks stride over it; far more than any GPU holds at once."""


@dataclass(frozen=True, slots=True)
class Call:
    """One launch."""

    kernel: Kernel
    blocks: Three
    threads: Three
    arguments: tuple[Any, ...]
    """By parameter: what `Address` gave, or a NumPy scalar of the parameter's type."""


def scalar_arguments(value: Any, dtype: np.dtype[Any]) -> list[Any]:
    """A scalar as the arguments that `scalar_code.scalar_parameters` stands for.

    >>> scalar_arguments(1 + 2j, np.dtype("complex64")), scalar_arguments(True, np.dtype(bool))
    ([np.float32(1.0), np.float32(2.0)], [np.uint8(1)])
    """
    value = np.asarray(value).astype(dtype)[()]
    if dtype.kind == "c":
        return [value.real, value.imag]
    return [np.uint8(value)] if dtype.kind == "b" else [value]


def _call(kernel: Kernel, blocks: tuple[int, ...], threads: tuple[int, ...], *arguments: Any) -> Call:
    typed = [
        np.dtype(t).type(a) if isinstance(a, int | float | np.generic) else a
        for t, a in zip(kernel.parameters, arguments, strict=True)
    ]
    return Call(kernel, _three(blocks), _three(threads), tuple(typed))


def _three(sizes: tuple[int, ...]) -> Three:
    x, y, z, *_ = (*sizes, 1, 1)
    return x, y, z


def _scalars(program: Program, operands: Sequence[Any]) -> list[Any]:
    return [
        a
        for given, operand in zip(program.inputs, operands, strict=True)
        if given.kind == "scalar"
        for a in scalar_arguments(operand, np.dtype(given.dtype))
    ]


# Elementwise


def elementwise(
    program: Program,
    operands: Sequence[Any],
    outputs: Sequence[Any],
    address: Address,
    aligned: Callable[[Any], bool],
    coherent: bool = False,
) -> Call | None:
    """The launch that computes a program; None where there are no elements.

    `outputs` have one shape and equal strides in elements, and the operands broadcast to it. `aligned` says whether an
    array begins at a multiple of 16 bytes. `coherent`: an output is one of the operands.
    """
    shape = tuple(outputs[0].shape)
    loops = Loops(
        list(shape),
        moving_steps(program, operands, shape, [o.strides for o in outputs]),
        [0] * (len(outputs) + sum(i.kind != "scalar" for i in program.inputs)),
    )
    loops.drop_ones()
    loops.forwards()
    loops.by_memory()
    loops.merge()
    n = math.prod(shape)
    if not n:
        return None
    moving = [k for k, i in enumerate(program.inputs) if i.kind != "scalar"]
    values = [*outputs, *(operands[k] for k in moving)]
    index = [False] * len(outputs) + [program.inputs[k].kind == "index" for k in moving]
    places = [
        v.offset + start if is_index else address(v, start)
        for v, start, is_index in zip(values, loops.starts, index, strict=True)
    ]
    scalars = _scalars(program, operands)
    found = _contiguous(program, loops, moving, index, outputs, operands, aligned, coherent)
    if found is not None:
        kernel, letters, per_thread = found
        moves = [s for s, is_index in zip(letters, index, strict=True) if is_index]
        blocks = min(-(-n // (per_thread * kernel.threads)), MOST_BLOCKS)
        return _call(kernel, (blocks,), (kernel.threads,), *places, *moves, *scalars, n)
    modes = Operands("".join("-" if i.kind == "scalar" else "s" for i in program.inputs), coherent)
    return _strided(program, modes, loops, index, places, scalars, n)


def _contiguous(
    program: Program,
    loops: Loops,
    moving: list[int],
    index: list[bool],
    outputs: Sequence[Any],
    operands: Sequence[Any],
    aligned: Callable[[Any], bool],
    coherent: bool,
) -> tuple[Kernel, list[int], int] | None:
    """(kernel, steps, elements of a thread) if all operands lie like the result, or are one element."""
    if len(loops.lengths) > 1:
        return None
    steps = loops.steps[0] if loops.lengths else [o.dtype.itemsize for o in outputs] + [0] * len(moving)
    letters = ["-"] * len(program.inputs)
    for j, step in enumerate(steps):
        if index[j]:
            letters[moving[j - len(outputs)]] = "u"
        elif j < len(outputs):
            if step != outputs[j].dtype.itemsize:
                return None
        elif step not in (0, operands[moving[j - len(outputs)]].dtype.itemsize):
            return None
        else:
            letters[moving[j - len(outputs)]] = "u" if step else "c"
    modes = Operands("".join(letters), coherent)
    arrays = [operands[k] for k in moving if letters[k] == "u" and program.inputs[k].kind == "array"]
    vectors = all(map(aligned, [*outputs, *arrays]))
    kernel = elementwise_code.contiguous_kernel(program, modes, vectors)
    length, count = elementwise_code.vector_length(program, modes)
    return kernel, steps, length * count if vectors else elementwise_code.IN_FLIGHT


def _strided(
    program: Program, modes: Operands, loops: Loops, index: list[bool], places: list[Any], scalars: list[Any], n: int
) -> Call:
    outputs = len(program.outputs)
    turned = _turned(program, loops, index)
    if turned is not None:
        loops.reorder(turned, len(loops.lengths) - 2)
    spans = [
        sum(abs(step[j]) * (length - 1) for length, step in zip(loops.lengths, loops.steps, strict=True))
        for j in range(len(index))
        if not index[j]
    ]
    wide = max(n, *spans) >= 1 << 31
    moves = [step[j] for j in range(len(index)) for step in loops.steps]
    axes = len(loops.lengths)
    if turned is not None:
        squares = math.prod(loops.lengths[:-2]) * math.prod(-(-length // TILE) for length in loops.lengths[-2:])
        kernel = elementwise_code.tiled_kernel(program, modes, axes, wide)
        arguments = (*places, *moves, *scalars, *loops.lengths, squares)
        return _call(kernel, (min(squares, MOST_BLOCKS),), (TILE, TILE_ROWS), *arguments)
    kernel = elementwise_code.strided_kernel(program, modes, axes, wide)
    copies = elementwise_code.IN_FLIGHT if len(index) > outputs else 1
    blocks = min(-(-n // (copies * kernel.threads)), MOST_BLOCKS)
    return _call(kernel, (blocks,), (kernel.threads,), *places, *moves, *scalars, *loops.lengths[1:], n)


def _turned(program: Program, loops: Loops, index: list[bool]) -> int | None:
    """The axis along which an operand lies that does not lie along the last one, or None."""
    if len(loops.lengths) < 2 or loops.lengths[-1] < TILE:
        return None
    moving = [k for k, i in enumerate(program.inputs) if i.kind != "scalar"]
    for j, k in enumerate(moving, len(program.outputs)):
        size = program.dtype_of(k).itemsize
        if not index[j] and abs(loops.steps[-1][j]) > size:
            for axis in range(len(loops.lengths) - 1):
                if abs(loops.steps[axis][j]) == size and loops.lengths[axis] >= TILE:
                    return axis
    return None


# Reductions


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
    arguments += (*_scalars(program, operands), plan.total)
    calls = [_call(plan.kernel, (min(plan.blocks, MOST_BLOCKS),), plan.threads, *arguments)]
    for merge in plan.merges:
        merged = [empty(merge.total, d) for d in dtypes]
        blocks = min(-(-merge.total // merge.groups), MOST_BLOCKS)
        places = [address(s, 0) for s in (*merged, *states)]
        arguments = (*places, merge.row, merge.pieces, merge.total)
        calls.append(_call(merge.kernel, (blocks,), (merge.kernel.threads,), *arguments))
        states = merged
    return calls, states, plan.order


# Stencils


@dataclass(frozen=True, slots=True)
class Sweep:
    """What the launches of a stencil have in common. Arrays are given with the position of their element 0."""

    stencil: StencilProgram
    edges: Edges
    extended: tuple[bool, ...]
    """By axis, whether positions run on past the ends of it, as those of a periodic axis do (`stencils.boxes`)."""
    domain: tuple[int, ...]
    address: Address
    phase: Callable[[Any, int], int]
    """``phase(array, bytes)``: the address of an array's element 0 modulo so many bytes."""

    @property
    def modes(self) -> stencil_code.Modes:
        return stencil_code.modes_of(self.edges, self.extended)

    def _zero(self, array: Any, origin: tuple[int, ...]) -> Any:
        """Where position 0 of an array lies, or would."""
        return self.address(array, -sum(o * s for o, s in zip(origin, array.strides, strict=True)))

    def _scalars(self, row: Any) -> list[Any]:
        kinds = [np.dtype(i.dtype) for i in self.stencil.program.inputs if i.kind == "scalar"]
        return [a for value, dtype in zip(row, kinds, strict=True) for a in scalar_arguments(value, dtype)]

    def _constants(self, fields: Sequence[int]) -> list[Any]:
        return [
            c
            for f, a, side in stencil_code.constant_edges(self.modes, list(fields))
            for c in scalar_arguments(self.edges[f][a][side].value, self.stencil.dtype(f))
        ]

    def step(
        self,
        fields: Sequence[tuple[Any, tuple[int, ...]]],
        outputs: Sequence[tuple[Any, tuple[int, ...]]],
        box: Box,
        scalars: Sequence[Any],
        threads: Three | None = None,
    ) -> list[Call]:
        """The launches of one step over `box`; `fields` and `outputs` are (array, position of its element 0)."""
        s = self.stencil
        length, phase = self._vectors([*fields, *outputs])
        inner, around = stencil_code.slabs(s, self.modes, self.domain, box, length, phase)
        calls = []
        values = self._scalars(scalars)
        if inner is not None:
            kernel = stencil_code.interior_kernel(s, length > 1)
            arrays = [*outputs, *(fields[f] for f in stencil_code.read_fields(s))]
            places = [self._zero(*a) for a in arrays]
            moves = [m for a, _ in arrays for m in a.strides[:-1]]
            for part in _parts(inner):
                ends = [e for r in part for e in (r.start, r.stop)]
                blocks, shape, rows = _march(part, length, threads)
                calls.append(_call(kernel, blocks, shape, *places, *moves, *values, *ends, rows))
        kernel = stencil_code.edge_kernel(s, self.modes)
        for slab in around:
            arrays = [*outputs, *fields]
            moves = [m for a, _ in arrays for m in a.strides]
            ends = [e for r in slab for e in (r.start, r.stop)]
            blocks = (min(-(-math.prod(map(len, slab)) // kernel.threads), MOST_BLOCKS),)
            arguments = (*(self._zero(*a) for a in arrays), *moves, *self._constants(range(s.fields)), *values)
            calls.append(_call(kernel, blocks, (kernel.threads,), *arguments, *self.domain, *ends))
        return calls

    def _vectors(self, arrays: Sequence[tuple[Any, tuple[int, ...]]]) -> tuple[int, int]:
        """(elements of a vector, positions of the last axis at which vectors begin modulo that); (1, 0) if none fit."""
        length = stencil_code.vector_length(self.stencil)
        if length == 1 or any(a.strides[-1] != a.dtype.itemsize for a, _ in arrays):
            return 1, 0
        phases = set()
        for array, origin in arrays:
            size = array.dtype.itemsize
            elements, rest = divmod(self.phase(array, length * size), size)
            if rest or any(stride % (length * size) for stride in array.strides[:-1]):
                return 1, 0
            phases.add((origin[-1] - elements) % length)
        return (length, phases.pop()) if len(phases) == 1 else (1, 0)

    def steps(
        self,
        fields: Sequence[tuple[Any, tuple[int, ...]]],
        outputs: Sequence[tuple[Any, tuple[int, ...]]],
        box: Box,
        read: Box,
        scalars: Sequence[Sequence[Any]],
        columns: int | None = None,
        rows: int = 256,
    ) -> Call:
        """The launch of as many steps as there are rows of `scalars`, all at once (see `sweep_code.missing`).

        `read` is the box of level 0: what the fields hold of the positions that matter.
        """
        s, count = self.stencil, len(scalars)
        columns = columns or sweep_code.width(s, self.modes, count)
        kernel = sweep_code.sweep_kernel(s, self.modes, count, columns)
        loaded = sorted({*stencil_code.read_fields(s), *range(s.outputs)})
        arrays = [*outputs, *(fields[f] for f in loaded)]
        valid = sweep_code.written(s, columns, count)
        rows = max(rows, -(-len(box[0]) // MOST_ACROSS))
        blocks = (-(-len(box[1]) // valid), -(-len(box[0]) // rows))
        ends = [e for r in (*box, *read) for e in (r.start, r.stop)]
        values = [v for row in scalars for v in self._scalars(row)]
        arguments = (*(self._zero(*a) for a in arrays), *(a.strides[0] for a, _ in arrays))
        constants = self._constants(range(s.outputs))
        return _call(kernel, blocks, (columns,), *arguments, *constants, *values, *self.domain, *ends, rows)


def _parts(box: Box) -> list[Box]:
    """The box, cut along its second axis where a grid could not hold all of its lines."""
    if len(box) < 3:
        return [box]
    others = math.prod(len(r) for r in box[2:-1])
    most = max(1, MOST_ACROSS // others)
    second = box[1]
    return [
        (box[0], range(start, min(start + most, second.stop)), *box[2:])
        for start in range(second.start, second.stop, most)
    ]


def _march(box: Box, length: int, threads: Three | None) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """(blocks, threads, rows that a thread computes one after the other) of `stencil_code.interior_kernel`."""
    across = -(-len(box[-1]) // length)
    if threads is None:
        x = min(128 if len(box) == 2 else 32, 1 << max(across - 1, 0).bit_length())
        threads = (max(x, 32), stencil_code.THREADS // max(x, 32) if len(box) > 1 else 1, 1)
    x, y, _ = threads
    if len(box) == 1:
        return (-(-across // x),), (x,), 1
    middle = math.prod(len(r) for r in box[1:-1])
    # long pieces read few rows twice, and many pieces give all of the GPU work
    rows = max(8, min(64, len(box[0]) * across * middle // ENOUGH_THREADS), -(-len(box[0]) // MOST_ACROSS))
    pieces = -(-len(box[0]) // rows)
    if len(box) == 2:
        return (-(-across // x), -(-pieces // y)), (x, y), rows
    return (-(-across // x), -(-middle // y), pieces), (x, y), rows
