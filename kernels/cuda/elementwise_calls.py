"""Which kernel computes an elementwise program on which arrays: `calls.elementwise`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gpuarray.kernels.cuda import elementwise_code
from gpuarray.kernels.cuda.call import MOST_BLOCKS, Address, Call, launch_of, scalars_of
from gpuarray.kernels.cuda.elementwise_code import TILE, TILE_ROWS, Operands
from gpuarray.kernels.cuda.offline import Kernel
from gpuarray.kernels.elementwise import Loops, moving_steps
from gpuarray.kernels.program import Builder, Program


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
    scalars = scalars_of(program, operands)
    held = tuple(v for v, is_index in zip(values, index, strict=True) if not is_index)
    found = _contiguous(program, loops, moving, index, outputs, operands, aligned, coherent)
    if found is not None:
        kernel, letters, per_thread = found
        moves = [s for s, is_index in zip(letters, index, strict=True) if is_index]
        blocks = min(-(-n // (per_thread * kernel.threads)), MOST_BLOCKS)
        return launch_of(kernel, (blocks,), (kernel.threads,), *places, *moves, *scalars, n, holds=held)
    modes = Operands("".join("-" if i.kind == "scalar" else "s" for i in program.inputs), coherent)
    call = _strided(program, modes, loops, index, places, scalars, n)
    return replace(call, holds=held)


def copy(source: Any, target: Any, address: Address) -> Call | None:
    """The launch that copies an array to another of its shape and dtype, of any strides; they do not overlap."""
    return elementwise(_copied(source.dtype.name), [source], [target], address, lambda array: False)


def fill(target: Any, value: Any, address: Address) -> Call | None:
    """The launch that writes one value to all elements of an array."""
    return elementwise(_filled(target.dtype.name), [value], [target], address, lambda array: False)


@functools.cache
def _copied(dtype: str) -> Program:
    b = Builder()
    return b.build(b.input("array", dtype))


@functools.cache
def _filled(dtype: str) -> Program:
    b = Builder()
    return b.build(b.input("scalar", dtype))


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
    arrays = [(o, start) for o, start in zip(outputs, loops.starts, strict=False)]
    arrays += [
        (operands[k], start)
        for k, start in zip(moving, loops.starts[len(outputs) :], strict=True)
        if letters[k] == "u" and program.inputs[k].kind == "array"
    ]
    # where all walk backwards, the launch begins at what is their last element
    vectors = all(aligned(array) and start % 16 == 0 for array, start in arrays)
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
        return launch_of(kernel, (min(squares, MOST_BLOCKS),), (TILE, TILE_ROWS), *arguments)
    kernel = elementwise_code.strided_kernel(program, modes, axes, wide)
    copies = elementwise_code.IN_FLIGHT if len(index) > outputs else 1
    blocks = min(-(-n // (copies * kernel.threads)), MOST_BLOCKS)
    return launch_of(kernel, (blocks,), (kernel.threads,), *places, *moves, *scalars, *loops.lengths[1:], n)


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
