"""A launch of a CUDA kernel as a plain value, and what all that make them share.

Arrays are anything that has `shape`, `strides`, `dtype` and `ndim`; where one lies is asked of a function, so that the
same code drives a GPU and Numba's simulator.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpuarray.kernels.cuda.offline import Kernel
from gpuarray.kernels.program import Program

Address = Callable[[Any, int], Any]
"""``address(array, offset)``: where element 0 of an array lies, moved by so many bytes."""
Empty = Callable[[int, np.dtype[Any]], Any]
"""``empty(n, dtype)``: a new array of one axis, that begins at a multiple of 16 bytes."""
Phase = Callable[[Any, int], int]
"""``phase(array, bytes)``: the address of an array's element 0 modulo so many bytes."""
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
    holds: tuple[Any, ...] = field(default=(), compare=False)
    """Arrays that must live until the launch is queued: some were made for it, and nobody else holds them."""


def scalar_arguments(value: Any, dtype: np.dtype[Any]) -> list[Any]:
    """A scalar as the arguments that `scalar_code.scalar_parameters` stands for.

    >>> scalar_arguments(1 + 2j, np.dtype("complex64")), scalar_arguments(True, np.dtype(bool))
    ([np.float32(1.0), np.float32(2.0)], [np.uint8(1)])
    """
    value = np.asarray(value).astype(dtype)[()]
    if dtype.kind == "c":
        return [value.real, value.imag]
    if dtype == np.float16:
        return [np.float32(value)]
    return [np.uint8(value)] if dtype.kind == "b" else [value]


def launch_of(
    kernel: Kernel, blocks: tuple[int, ...], threads: tuple[int, ...], *arguments: Any, holds: Sequence[Any] = ()
) -> Call:
    """A launch whose numbers have the types of the kernel's parameters."""
    typed = [
        t(a) if isinstance(a, int | float | np.generic) else a
        for t, a in zip(_types(kernel.parameters), arguments, strict=True)
    ]
    return Call(kernel, _three(blocks), _three(threads), tuple(typed), tuple(holds))


@functools.lru_cache(1024)
def _types(parameters: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(np.dtype(name).type for name in parameters)


def _three(sizes: tuple[int, ...]) -> Three:
    x, y, z, *_ = (*sizes, 1, 1)
    return x, y, z


def scalars_of(program: Program, operands: Sequence[Any]) -> list[Any]:
    """The arguments that stand for a program's scalars."""
    return [
        a
        for given, operand in zip(program.inputs, operands, strict=True)
        if given.kind == "scalar"
        for a in scalar_arguments(operand, np.dtype(given.dtype))
    ]
