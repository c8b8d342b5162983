"""Elementwise operations, one by one as the user wrote them (`Map`) and fused for a kernel (`Fused`)."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from gpuarray.graph.grid import Chunks, Lengths, Region, Shape, shape_of
from gpuarray.graph.leaves import Const, Index
from gpuarray.graph.node import Node
from gpuarray.kernels.program import Program
from gpuarray.kernels.table import ELEMENTWISE


class Map(Node):
    """One operation of the table on inputs that broadcast."""

    __slots__ = ("op",)

    def __init__(self, op: str, dtype: np.dtype[Any], *inputs: Node) -> None:
        self.op, self.dtype, self.inputs = op, dtype, inputs
        self.shape = np.broadcast_shapes(*(i.shape for i in inputs))
        self.chunks = broadcast_chunks(self.shape, inputs)

    @property
    def label(self) -> str:
        return self.op

    def cost(self) -> float:
        return ELEMENTWISE[self.op].cost

    def regions(self, out: Region) -> tuple[Region, ...]:
        return tuple(broadcast_region(i.shape, out) for i in self.inputs)


def broadcast_chunks(shape: Shape, inputs: tuple[Node, ...]) -> Chunks:
    """Each axis is cut as in the largest input that has it."""
    by_size = sorted((i for i in inputs if i.shape), key=lambda i: -np.prod(i.shape, dtype=float))
    chunks = []
    for back in range(len(shape), 0, -1):
        n = shape[-back]
        found = (i.chunks[-back] for i in by_size if len(i.shape) >= back and i.shape[-back] == n)
        chunks.append(next(found, Lengths.regular(n, n)))
    return tuple(chunks)


def broadcast_region(shape: Shape, out: Region) -> Region:
    """The region of an input of `shape` that broadcasts to `out`."""
    back = out[len(out) - len(shape) :]
    return tuple(range(len(r) and 1) if n == 1 else r for n, r in zip(shape, back, strict=True))


Operand: TypeAlias = Const | Index | int
"""One input of a fused program: a constant, coordinates, or the number of an input node."""


def bind(operands: tuple[Operand, ...], out: Region, arrays: tuple[Any, ...]) -> list[Any]:
    """What a kernel is called with: arrays, scalars and `Affine`s, in the program's order."""
    bound: list[Any] = []
    for operand in operands:
        if isinstance(operand, int):
            bound.append(arrays[operand])
        elif isinstance(operand, Const):
            bound.append(operand.value)
        else:
            affine = operand.affine(broadcast_region(operand.shape, out))
            bound.append(type(affine)(affine.offset, (0,) * (len(out) - operand.ndim) + affine.strides))
    return bound


class Fused(Node):
    """A whole elementwise tree as one program, hence one kernel and one pass over memory."""

    __slots__ = ("compiled", "operands", "program")

    def __init__(
        self,
        program: Program,
        operands: tuple[Operand, ...],
        shape: Shape,
        chunks: Chunks,
        compiled: bool,
        *inputs: Node,
    ) -> None:
        self.program, self.operands, self.compiled = program, operands, compiled
        self.shape, self.chunks, self.inputs = shape, chunks, inputs
        self.dtype = program.dtype_of(program.outputs[0])

    @property
    def label(self) -> str:
        return program_label(self.program)

    def cost(self) -> float:
        return sum(ELEMENTWISE[s.op].cost for s in self.program.steps)

    def regions(self, out: Region) -> tuple[Region, ...]:
        return tuple(broadcast_region(i.shape, out) for i in self.inputs)

    def evaluate(self, backend: Any, out: Region, *inputs: Any, into: Any = None) -> Any:
        operands = bind(self.operands, out, inputs)
        return backend.elementwise(self.program, operands, shape_of(out), compiled=self.compiled, out=into)


def program_label(program: Program) -> str:
    """The operations in order, shortened: ``subtract, divide``."""
    ops = list(dict.fromkeys(s.op for s in program.steps if s.op != "cast"))
    if len(ops) > 4:
        ops = [*ops[:2], f"{len(ops) - 3} more", ops[-1]]
    return ", ".join(ops) or "copy"
