"""Stencils: every element from elements around it, step after step.

A `Sweep` of many steps over a region reads the region grown by the radius for each of them. Which steps are done by
one task, and which results between them are kept, is the planner's to choose (`gpuarray.plan.sweeps`): a sweep of n
steps is one of k steps after one of n - k.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.graph.grid import Lengths, Region, Shape, covering, nbytes, shape_of, size_of
from gpuarray.graph.node import Node
from gpuarray.kernels.stencils.boxes import Box, boxes
from gpuarray.kernels.stencils.program import Edges, StencilProgram
from gpuarray.kernels.stencils.scratch import scratch_nbytes


class Scalars:
    """The scalar arguments of a stencil: one row for all steps, or one for each."""

    __slots__ = ("data", "dtype")

    def __init__(self, data: bytes, dtype: np.dtype[Any]) -> None:
        # The bytes, not the values: 0.0 and -0.0 are two scalars, and a NaN equals itself.
        self.data, self.dtype = data, dtype

    @classmethod
    def of(cls, rows: Sequence[tuple[Any, ...]], dtypes: Sequence[np.dtype[Any]]) -> Scalars:
        """From one row of values, or one for each step."""
        dtype = np.dtype([(f"s{k}", d) for k, d in enumerate(dtypes)])
        return cls(np.array(list(rows), dtype).tobytes(), dtype)

    def table(self, steps: int) -> np.ndarray[Any, Any]:
        """One row for each of so many steps."""
        if not self.dtype.itemsize:
            return np.zeros(steps, self.dtype)
        rows = np.frombuffer(self.data, self.dtype)
        return np.repeat(rows, steps) if len(rows) == 1 else rows[:steps]

    def part(self, start: int, stop: int) -> Scalars:
        """Those of some of the steps."""
        size = self.dtype.itemsize
        return self if len(self.data) <= size else Scalars(self.data[start * size : stop * size], self.dtype)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scalars) and (self.data, self.dtype) == (other.data, other.dtype)

    def __hash__(self) -> int:
        return hash((self.data, self.dtype))

    def __reduce__(self) -> tuple[Any, ...]:
        return Scalars, (self.data, self.dtype)


@dataclass(frozen=True)
class Visit:
    """How the plan does a sweep."""

    together: int = 0
    """Steps that a task does; 0 until the plan has decided."""
    compiled: bool | None = None
    cut: Lengths | None = None
    """The rows of each task along the first axis, where they are not the planner's to choose."""
    last: bool = False
    """All of its result is computed before any task reads it."""


class Sweep(Node):
    """A stencil applied `steps` times; its result is the state: several arrays where the stencil has several outputs.

    Its fields are the state (one input for each field, or one input that holds them all: another sweep) and then the
    coefficients. Each stands among the inputs once for every part of it that a region may need: along a periodic axis
    the far end is a region of its own.
    """

    __slots__ = ("edges", "scalars", "split", "stencil", "steps", "visit")

    rereads = True

    def __init__(
        self, stencil: StencilProgram, edges: Edges, scalars: Scalars, steps: int, visit: Visit, *inputs: Node
    ) -> None:
        self.stencil, self.edges, self.scalars, self.steps, self.visit = stencil, edges, scalars, steps, visit
        self.inputs = inputs
        self.shape, self.chunks = inputs[0].shape, inputs[0].chunks
        if visit.cut is not None:
            self.chunks = (visit.cut, *(Lengths.regular(n, n) for n in self.shape[1:]))
        self.dtype = stencil.program.dtype_of(stencil.program.outputs[0])
        self.split = tuple(a for a in range(self.ndim) if any(e[a][0].mode == "periodic" for e in edges))
        """The axes along which a field may be needed in two parts."""

    @property
    def parts(self) -> tuple[np.dtype[Any], ...] | None:
        program = self.stencil.program
        return tuple(map(program.dtype_of, program.outputs)) if len(program.outputs) > 1 else None

    @property
    def label(self) -> str:
        return "stencil" if self.steps == 1 else f"stencil, {self.steps} steps"

    @property
    def costly(self) -> bool:  # type: ignore[override]
        """What the plan has split is not to be put together again by computing it where it is read."""
        return self.visit.together > 0

    @property
    def sources(self) -> tuple[Node, ...]:
        """The state and the coefficients, each once."""
        return self.inputs[:: 2 ** len(self.split)]

    @property
    def held(self) -> int:
        """How many of the sources are the state."""
        return 1 if self.inputs[0].parts else self.stencil.outputs

    def cost(self) -> float:
        return self.stencil.program.cost * self.steps

    def box(self, out: Region) -> Box:
        """What is needed of the fields for a region of the result, as `gpuarray.kernels.stencils.boxes` counts it."""
        return boxes(self.stencil, self.edges, self.shape, tuple(map(covering, out)), self.steps)[0]

    def _fields(self, box: Box) -> list[list[tuple[int, Region, tuple[int, ...]]]]:
        """For each source, what it is put together from: number of the input, its region, where that is in the box."""
        along = [[(r, 0)] for r in box]
        for a in self.split:
            along[a] = wrapped(box[a], self.shape[a])
        every = 2 ** len(self.split)
        return [self._parts_of(k * every, along) for k in range(len(self.sources))]

    @staticmethod
    def _parts_of(first: int, along: list[list[tuple[range, int]]]) -> list[tuple[int, Region, tuple[int, ...]]]:
        found = enumerate(itertools.product(*along), first)
        return [(k, tuple(r for r, _ in part), tuple(at for _, at in part)) for k, part in found]

    def regions(self, out: Region) -> tuple[Region, ...]:
        wanted = {k: region for field in self._fields(self.box(out)) for k, region, _ in field}
        return tuple(wanted[k] for k in range(len(self.inputs)))

    def workspace(self, out: Region) -> int:
        if not size_of(out):
            return 0
        box, dense = self.box(out), tuple(map(covering, out))
        total = scratch_nbytes(self.stencil, self.edges, self.shape, dense, self.steps)
        for node, parts in zip(self.sources, self._fields(box), strict=True):
            if sum(bool(size_of(region)) for _, region, _ in parts) > 1:
                total += sum(nbytes(box, d) for d in node.fields)
        if dense != out:
            total += sum(nbytes(dense, d) for d in self.fields)
        return total

    def evaluate(self, backend: Any, out: Region, *inputs: Any, into: Any = None) -> Any:
        if not size_of(out):
            nothing = tuple(backend.empty(shape_of(out), d) for d in self.fields)
            return nothing if self.parts else nothing[0]
        box, dense = self.box(out), tuple(map(covering, out))
        fields: list[Any] = []
        for parts in self._fields(box):
            present = [part for part in parts if size_of(part[1])]
            several = isinstance(inputs[parts[0][0]], tuple)
            held = [[(inputs[k], at) for k, _, at in present]]
            if several:
                held = [[(a[f], at) for a, at in held[0]] for f in range(len(inputs[parts[0][0]]))]
            fields += [put_together(backend, shape_of(box), found) for found in held]
        direct = into is not None and dense == out
        made = backend.sweep(
            self.stencil,
            self.edges,
            self.scalars.table(self.steps),
            self.shape,
            dense,
            fields,
            [tuple(r.start for r in box)] * len(fields),
            compiled=bool(self.visit.compiled),
            into=(into,) if direct else None,
        )
        if dense != out:
            made = tuple(picked(backend, a, out) for a in made)
        return made if self.parts else made[0]


def wrapped(r: range, n: int) -> list[tuple[range, int]]:
    """A run of positions along a periodic axis: those inside, and the elements that stand for the others; and where
    each begins in the run."""
    if r.start < 0:
        return [(range(0, r.stop), -r.start), (range(n + r.start, n), 0)]
    if r.stop > n:
        return [(range(r.start, n), 0), (range(0, r.stop - n), n - r.start)]
    return [(r, 0), (range(0), 0)]


def put_together(backend: Any, shape: Shape, found: Sequence[tuple[Any, tuple[int, ...]]]) -> Any:
    """A field over a box, from arrays that each begin somewhere in it; one that is alone stays as it is."""
    if len(found) == 1:
        return found[0][0]
    result = backend.empty(shape, found[0][0].dtype)
    for array, at in found:
        result[tuple(slice(start, start + n) for start, n in zip(at, array.shape, strict=True))] = array
    return result


def picked(backend: Any, array: Any, out: Region) -> Any:
    """Every step-th element, in memory of its own."""
    result = backend.empty(shape_of(out), array.dtype)
    result[...] = array[tuple(slice(None, None, r.step) for r in out)]
    return result


class Part(Node):
    """One array of a result that has several."""

    __slots__ = ("number",)

    def __init__(self, number: int, input: Node) -> None:
        self.number, self.inputs = number, (input,)
        self.shape, self.chunks, self.dtype = input.shape, input.chunks, input.fields[number]

    @property
    def label(self) -> str:
        return self.inputs[0].label

    def cost(self) -> float:
        return 0

    def regions(self, out: Region) -> tuple[Region, ...]:
        return (out,)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        return inputs[0][self.number]


def sweep(
    stencil: StencilProgram,
    edges: Edges,
    scalars: Scalars,
    steps: int,
    together: int,
    compiled: bool | None,
    *fields: Node,
) -> tuple[Node, ...]:
    """The state after `steps` steps, one node for each field of it.

    `fields`: the state, each a node or a part of one result that has all of them, and the coefficients.
    """
    return visited(stencil, edges, scalars, steps, Visit(together, compiled), *fields)


def visited(
    stencil: StencilProgram, edges: Edges, scalars: Scalars, steps: int, visit: Visit, *fields: Node
) -> tuple[Node, ...]:
    """`sweep`, the way the plan wants it done."""
    state = together(fields[: stencil.outputs])
    split = sum(any(e[a][0].mode == "periodic" for e in edges) for a in range(stencil.ndim))
    repeated = (f for f in (*state, *fields[stencil.outputs :]) for _ in range(2**split))
    made: Node = Sweep(stencil, edges, scalars, steps, visit, *repeated)
    return tuple(Part(k, made) for k in range(stencil.outputs)) if stencil.outputs > 1 else (made,)


def together(state: tuple[Node, ...]) -> tuple[Node, ...]:
    """The fields of a state, or the one result that all of them are parts of."""
    whole = state[0].inputs[0] if isinstance(state[0], Part) else None
    if whole is not None and state == tuple(Part(k, whole) for k in range(len(whole.fields))):
        return (whole,)
    return state
