"""Steps of a stencil through slabs that carry rows of every level to the next one (see `kernels.stencils.course`).

A task does some steps in one slab. It reads the slab as the visit before has left it, and what the task of the slab
before *carried*: a stage reads its own earlier results. What is carried is a result of its own, so that slabs can go.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.graph.grid import Chunks, Lengths, Region, covering, nbytes, one_chunk, shape_of, size_of
from gpuarray.graph.leaves import Stored
from gpuarray.graph.node import Node
from gpuarray.graph.stencil import Scalars, put_together, wrapped
from gpuarray.kernels.stencils import slabs
from gpuarray.kernels.stencils.course import Course
from gpuarray.kernels.stencils.program import Edges, StencilProgram
from gpuarray.kernels.stencils.scratch import in_slabs, scratch_nbytes, slab_scratch_nbytes

OWN = 0
"""The stage of a `Stored` that is a result of the very stage that reads it; the plan puts its number there."""


class SlabSweep(Node):
    """`steps` steps of a course from a level on; an element of its first axis stands for a slab.

    `group` steps are done at once: with one, nothing is computed twice, but rows of every step are carried.

    Its inputs are the state (one input for each field, or one for all), the coefficients (twice along a periodic axis:
    the far end is a region of its own), what earlier slabs carried, and what the visit before carried, of which
    nothing is read: it is made by the same tasks as the state.
    """

    __slots__ = ("compiled", "course", "edges", "group", "held", "level", "linked", "scalars", "stencil", "steps")

    together = True
    rereads = True
    costly = True

    def __init__(
        self,
        stencil: StencilProgram,
        edges: Edges,
        scalars: Scalars,
        course: Course,
        level: int,
        steps: int,
        group: int,
        compiled: bool,
        linked: bool,
        *inputs: Node,
    ) -> None:
        self.group = group
        self.stencil, self.edges, self.scalars, self.compiled, self.linked = stencil, edges, scalars, compiled, linked
        self.course, self.level, self.steps, self.inputs = course, level, steps, inputs
        self.held = 1 if inputs[0].parts else stencil.outputs
        """How many of the inputs are the state."""
        self.shape = (course.slabs, *inputs[0].shape[1:])
        self.chunks = (Lengths.regular(course.slabs, 1), *one_chunk(self.shape[1:]))
        self.dtype = stencil.dtype(0)

    @property
    def parts(self) -> tuple[np.dtype[Any], ...]:
        return tuple(self.stencil.dtype(j) for j in range(self.stencil.outputs)) * 2

    @property
    def domain(self) -> tuple[int, ...]:
        """The shape of the fields."""
        return (self.course.n, *self.shape[1:])

    @property
    def label(self) -> str:
        return "stencil" if self.steps == 1 else f"stencil, {self.steps} steps"

    @property
    def points(self) -> int:
        """Points that are computed in all slabs: each of every level once."""
        windows = (
            self.course.window(self.level + t, s) for t in range(1, self.steps + 1) for s in range(self.course.slabs)
        )
        return sum(map(len, windows)) * size_of(tuple(map(range, self.shape[1:])))

    def cost(self) -> float:
        return self.stencil.program.cost * self.steps

    def visit(self, slab: int) -> slabs.Visit:
        return slabs.Visit(self.course, self.level, self.steps, slab)

    def _coefficients(self, slab: int) -> tuple[range, list[tuple[range, int]]]:
        """The rows of them that are read, and in which parts."""
        rows = self.course.reads(self.level, self.steps, slab)
        if not self.course.periodic:
            return rows, [(rows, 0)]
        back = rows.start // self.course.n * self.course.n
        return rows, wrapped(range(rows.start - back, rows.stop - back), self.course.n)

    def regions(self, out: Region) -> tuple[Region, ...]:
        if not size_of(out):
            return tuple(tuple(range(0) for _ in i.shape) for i in self.inputs)
        (slab,), rest = out[0], tuple(map(range, self.shape[1:]))
        visit, low = self.visit(slab), self.course.low(self.level)
        window = visit.window(0)
        found: list[Region] = [(range(window.start - low, window.stop - low), *rest)] * self.held
        _, parts = self._coefficients(slab)
        for _ in range(self.stencil.fields - self.stencil.outputs):
            found += [(rows, *rest) for rows, _ in parts]
        if self.course.width:
            rows = visit.carried_rows
            found.append((range((slab - 1) * rows, slab * rows) if visit.begun else range(0), *rest))
        if self.linked:
            found.append((range(0), *rest))
        return tuple(found)

    def nbytes(self, out: Region) -> int:
        """What reads it takes its arrays; they are counted there, and in the workspace before."""
        return 0

    def workspace(self, out: Region) -> int:
        if not size_of(out):
            return 0
        (slab,), rest = out[0], tuple(map(range, self.shape[1:]))
        visit, course = self.visit(slab), self.course
        state = sum(nbytes(rest, self.stencil.dtype(j)) for j in range(self.stencil.outputs))
        window = visit.window(self.steps)
        total = state * (len(window) + visit.carried_rows)
        rows, parts = self._coefficients(slab)
        if sum(bool(r) for r, _ in parts) > 1:
            total += sum(nbytes((rows, *rest), d) for d in self._others)
        if self._own_kernel:
            return total + slab_scratch_nbytes(self.stencil, self.edges, self.domain, course, self.steps)
        # by sweeps: the rows put together, and the state between
        back = window.start // course.n * course.n if course.periodic else 0
        box = (range(window.start - back, window.stop - back), *rest)
        total += scratch_nbytes(self.stencil, self.edges, self.domain, box, min(self.group, self.steps))
        between = course.rows if self.group < self.steps else 0
        return total + state * (course.rows + between + 2 * self.group * course.width)

    @property
    def _own_kernel(self) -> bool:
        return self.group == 1 and self.compiled and in_slabs(self.stencil, self.edges)

    @property
    def _others(self) -> list[np.dtype[Any]]:
        return [self.stencil.dtype(f) for f in range(self.stencil.outputs, self.stencil.fields)]

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        if not size_of(out):
            return tuple(backend.empty(shape_of(out), d) for d in self.fields)
        (slab,), given = out[0], list(inputs)
        visit = self.visit(slab)
        fields: list[Any] = []
        for array in given[: self.held]:
            fields += array if isinstance(array, tuple) else [array]
        rows, parts = self._coefficients(slab)
        shape = (len(rows), *self.shape[1:])
        for k in range(len(self._others)):
            at = self.held + k * len(parts)
            pieces = zip(given[at : at + len(parts)], parts, strict=True)
            present = [(a, (start,) + (0,) * len(self.shape[1:])) for a, (r, start) in pieces if r]
            fields.append(put_together(backend, shape, present) if present else given[at])
        carried = None
        if visit.begun:
            carried = given[-1 - self.linked]
            carried = carried if isinstance(carried, tuple) else (carried,)
        state, left = self._advance(backend, visit, fields, rows.start, carried)
        return (*state, *left)

    def _advance(
        self, backend: Any, visit: slabs.Visit, fields: list[Any], first: int, carried: Any
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        table, domain = self.scalars.table(self.steps), self.domain
        if self._own_kernel and hasattr(backend, "sweep_slab"):
            given = (self.stencil, self.edges, table, domain, visit, fields, first, carried)
            made: tuple[tuple[Any, ...], tuple[Any, ...]] = backend.sweep_slab(*given)
            return made

        def sweep(rows: Any, box: Any, arrays: Any, origins: Any) -> Any:
            wanted = (self.stencil, self.edges, rows, domain, box, arrays, origins)
            return backend.sweep(*wanted, compiled=self.compiled)

        return slabs.advance(backend, sweep, self.stencil, table, visit, domain, fields, first, carried, self.group)


class _Output(Node):
    """Some of the arrays that tasks of a `SlabSweep` make."""

    __slots__ = ()

    inline = False

    def _take(self, input: Node) -> SlabSweep:
        assert isinstance(input, SlabSweep)
        self.inputs, self.dtype = (input,), input.dtype
        return input

    @property
    def swept(self) -> SlabSweep:
        made = self.inputs[0]
        assert isinstance(made, SlabSweep)
        return made

    @property
    def domain(self) -> Chunks:
        """The space that tasks divide."""
        return self.inputs[0].chunks

    @property
    def parts(self) -> tuple[np.dtype[Any], ...] | None:
        half = self.swept.parts[: self.swept.stencil.outputs]
        return half if len(half) > 1 else None

    @property
    def label(self) -> str:
        return self.inputs[0].label

    def cost(self) -> float:
        return 0

    def result_chunks(self, grid: Chunks) -> Chunks:
        return self.chunks

    def result_region(self, domain: Region) -> Region:
        if not domain[0]:
            return (range(0), *domain[1:])
        (slab,) = domain[0]
        return (self.chunks[0].span(slab), *domain[1:])

    def regions(self, out: Region) -> tuple[Region, ...]:
        if not out[0]:
            return ((range(0), *out[1:]),)
        slab = self.chunks[0].find(out[0].start)
        return ((range(slab, slab + 1), *out[1:]),)

    def _of(self, arrays: Any) -> Any:
        return arrays if self.parts else arrays[0]


class Advanced(_Output):
    """The state after the steps of a visit; `last`: all of it is computed before any task reads it.

    Along a periodic axis it begins with the first row of its level.
    """

    __slots__ = ("last",)

    def __init__(self, last: bool, input: Node) -> None:
        swept, self.last = self._take(input), last
        self.shape = swept.domain
        cut = Lengths.between(swept.course.cut(swept.level + swept.steps))
        self.chunks = (cut, *one_chunk(self.shape[1:]))

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        return self._of(inputs[0][: self.swept.stencil.outputs])


class Carried(_Output):
    """What every slab of a visit carries to the next."""

    __slots__ = ()

    def __init__(self, input: Node) -> None:
        swept = self._take(input)
        rows = slabs.carried_rows(swept.course, swept.steps)
        self.shape = (swept.course.slabs * rows, *swept.shape[1:])
        self.chunks = carried_chunks(swept.course, swept.steps, self.shape)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        return self._of(inputs[0][self.swept.stencil.outputs :])


def carried_chunks(course: Course, steps: int, shape: tuple[int, ...]) -> Chunks:
    rows = slabs.carried_rows(course, steps)
    return (Lengths.between(slab * rows for slab in range(course.slabs + 1)), *one_chunk(shape[1:]))


class Settled(Node):
    """A state at the end of a course, from row 0 on: its inputs are that, which begins with the row `first`, twice, and
    what was carried, of which nothing is read.
    """

    __slots__ = ("first",)

    def __init__(self, first: int, *inputs: Node) -> None:
        self.first, self.inputs = first, inputs
        self.shape, self.dtype, self.chunks = inputs[0].shape, inputs[0].dtype, inputs[0].chunks

    @property
    def parts(self) -> tuple[np.dtype[Any], ...] | None:
        return self.inputs[0].parts

    @property
    def label(self) -> str:
        return self.inputs[0].label

    def cost(self) -> float:
        return 0

    def _parts(self, rows: range) -> list[tuple[range, int]]:
        n = self.shape[0]
        start = (rows.start - self.first) % n if n else 0
        return wrapped(range(start, start + len(rows)), n)

    def regions(self, out: Region) -> tuple[Region, ...]:
        rest = tuple(map(covering, out[1:]))
        found = [(rows, *rest) for rows, _ in self._parts(covering(out[0]))]
        return (*found, (range(0), *rest))

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        dense = tuple(map(covering, out))
        present = [(a, at) for a, (r, at) in zip(inputs, self._parts(dense[0]), strict=False) if r]
        steps = tuple(slice(None, None, r.step) for r in out)
        several = isinstance(inputs[0], tuple)
        made = []
        for j, dtype in enumerate(self.fields):
            pieces = [(a[j] if several else a, (at,) + (0,) * (len(out) - 1)) for a, at in present]
            whole = put_together(backend, shape_of(dense), pieces) if pieces else backend.empty(shape_of(dense), dtype)
            made.append(whole if dense == out else whole[steps])
        return tuple(made) if several else made[0]


def slab_sweep(
    stencil: StencilProgram,
    edges: Edges,
    scalars: Scalars,
    course: Course,
    level: int,
    steps: int,
    group: int,
    compiled: bool,
    last: bool,
    state: tuple[Node, ...],
    coefficients: tuple[Node, ...],
    link: Node | None,
) -> tuple[Advanced, Carried]:
    """The state after some steps of a course, and what its slabs carry.

    `state`: one node for all fields, or one for each; `link`: what the visit before carried.
    """
    inputs = [*state, *(c for c in coefficients for _ in range(2 if course.periodic else 1))]
    dtypes = tuple(stencil.dtype(j) for j in range(stencil.outputs))
    if course.width:
        shape = (course.slabs * slabs.carried_rows(course, steps), *state[0].shape[1:])
        chunks = carried_chunks(course, steps, shape)
        inputs.append(Stored(OWN, 0, shape, dtypes[0], dtypes if len(dtypes) > 1 else None, chunks))
    inputs += [link] if link is not None else []
    made = SlabSweep(stencil, edges, scalars, course, level, steps, group, compiled, link is not None, *inputs)
    return Advanced(last, made), Carried(made)
