"""Which kernel computes an elementwise program on which arrays: `calls.elementwise`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.kernels.cuda import elementwise_code
from gpuarray.kernels.cuda.call import MOST_BLOCKS, Address, Call, Three, scalars_of
from gpuarray.kernels.cuda.elementwise_code import TILE, TILE_ROWS, Operands
from gpuarray.kernels.cuda.offline import Kernel
from gpuarray.kernels.elementwise import Loops, layout_of, moving_steps
from gpuarray.kernels.program import Affine, Builder, Program

MOST_KNOWN = 4096
"""Arrangements remembered."""
_Choice = tuple[Kernel, int, tuple[int, int], list[int], list[int]]
"""Kernel, blocks and threads, and its arguments before and after the scalars."""


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
    if 0 in shape:
        return None
    moving = [*outputs, *(o for o, i in zip(operands, program.inputs, strict=True) if i.kind != "scalar")]
    flags = tuple([isinstance(v, Affine) or aligned(v) for v in moving])
    key = (id(program), shape, tuple([o.strides for o in outputs]), layout_of(program, operands), flags, coherent)
    found = _known.get(key)
    if found is None:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        found = _known[key] = _Arrangement.of(program, operands, outputs, flags, coherent)
    places = [
        np.int64(v.offset + start) if isinstance(v, Affine) else address(v, start)
        for v, start in zip(moving, found.starts, strict=True)
    ]
    arguments = (*places, *found.moves, *scalars_of(program, operands), *found.lengths)
    held = tuple(v for v in moving if not isinstance(v, Affine))
    return Call(found.kernel, found.blocks, found.threads, arguments, held)


@dataclass(frozen=True, slots=True)
class _Arrangement:
    """What is remembered of a program and of how its operands lie."""

    program: Program
    """Held so that its `id`, which is in the key, stays its own."""
    kernel: Kernel
    blocks: Three
    threads: Three
    starts: tuple[int, ...]
    moves: tuple[Any, ...]
    """Arguments between the places and the scalars, and `lengths` those after them."""
    lengths: tuple[Any, ...]

    @classmethod
    def of(
        cls,
        program: Program,
        operands: Sequence[Any],
        outputs: Sequence[Any],
        flags: tuple[bool, ...],
        coherent: bool,
    ) -> _Arrangement:
        shape = tuple(outputs[0].shape)
        loops = Loops(
            list(shape), moving_steps(program, operands, shape, [o.strides for o in outputs]), [0] * len(flags)
        )
        loops.drop_ones()
        loops.forwards()
        loops.by_memory()
        loops.merge()
        index = [False] * len(outputs) + [i.kind == "index" for i in program.inputs if i.kind != "scalar"]
        kernel, blocks, threads, moves, lengths = _contiguous(
            program, loops, index, math.prod(shape), flags, coherent
        ) or _strided(program, coherent, loops, index, math.prod(shape))
        first = len(flags)
        last = len(kernel.parameters) - len(lengths)
        typed = [np.dtype(kind).type for kind in kernel.parameters]
        return cls(
            program,
            kernel,
            (min(blocks, MOST_BLOCKS), 1, 1),
            (*threads, 1),
            tuple(loops.starts),
            tuple(kind(m) for kind, m in zip(typed[first:], moves, strict=False)),
            tuple(kind(m) for kind, m in zip(typed[last:], lengths, strict=True)),
        )


_known: dict[Any, _Arrangement] = {}


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
    program: Program, loops: Loops, index: list[bool], n: int, flags: tuple[bool, ...], coherent: bool
) -> _Choice | None:
    """If all operands lie like the result, or are one element."""
    if len(loops.lengths) > 1:
        return None
    outputs = len(program.outputs)
    moving = [k for k, i in enumerate(program.inputs) if i.kind != "scalar"]
    sizes = [program.dtype_of(k).itemsize for k in (*program.outputs, *moving)]
    steps = loops.steps[0] if loops.lengths else sizes[:outputs] + [0] * len(moving)
    letters = ["-"] * len(program.inputs)
    vectors = True
    for j, (step, size) in enumerate(zip(steps, sizes, strict=True)):
        if index[j]:
            letters[moving[j - outputs]] = "u"
            continue
        if step not in ((size,) if j < outputs else (0, size)):
            return None
        if j >= outputs:
            letters[moving[j - outputs]] = "u" if step else "c"
        # where all walk backwards, the launch begins at what is their last element
        vectors &= not step or (flags[j] and loops.starts[j] % 16 == 0)
    modes = Operands("".join(letters), coherent)
    kernel = elementwise_code.contiguous_kernel(program, modes, vectors)
    length, count = elementwise_code.vector_length(program, modes)
    per_thread = length * count if vectors else elementwise_code.IN_FLIGHT
    moves = [step for step, is_index in zip(steps, index, strict=True) if is_index]
    return kernel, -(-n // (per_thread * kernel.threads)), (kernel.threads, 1), moves, [n]


def _strided(program: Program, coherent: bool, loops: Loops, index: list[bool], n: int) -> _Choice:
    modes = Operands("".join("-" if i.kind == "scalar" else "s" for i in program.inputs), coherent)
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
        return kernel, squares, (TILE, TILE_ROWS), moves, [*loops.lengths, squares]
    kernel = elementwise_code.strided_kernel(program, modes, axes, wide)
    copies = elementwise_code.IN_FLIGHT if len(index) > outputs else 1
    return kernel, -(-n // (copies * kernel.threads)), (kernel.threads, 1), moves, [*loops.lengths[1:], n]


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
