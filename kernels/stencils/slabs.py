"""A visit of one slab: some steps, from what the slab before left of every level to what the next one needs.

The carried rows of one field are one array: for each level before the last as many rows as are carried, the oldest
first, and for a periodic axis as many of its first rows again. Where `group` steps are done at once, only every
`group`-th level is carried, and as many times the rows of it: the array has the same size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gpuarray.kernels.stencils.course import Course
from gpuarray.kernels.stencils.program import StencilProgram


@dataclass(frozen=True)
class Visit:
    """Some steps of a course in one slab."""

    course: Course
    level: int
    """Where it begins."""
    steps: int
    slab: int

    @property
    def carried_rows(self) -> int:
        return carried_rows(self.course, self.steps)

    @property
    def begun(self) -> bool:
        """Whether it needs what the slab before carried."""
        return self.course.begun(self.level, self.steps, self.slab)

    def window(self, step: int) -> range:
        return self.course.window(self.level + step, self.slab)

    def tail(self, carried: Any, step: int, group: int) -> Any:
        """Where the carried rows of a level are; there may be more than are carried."""
        width = self.course.width
        return carried[step * width : (step + group) * width]

    def head(self, carried: Any, step: int, group: int) -> Any:
        """Where the first rows of a level are."""
        width = self.course.width
        return carried[(self.steps + step) * width : (self.steps + step + group) * width]

    def groups(self, group: int) -> list[tuple[int, int]]:
        """The steps after which something is carried, and how many are done at once from there."""
        return [(s, min(group, self.steps - s)) for s in range(0, self.steps, max(1, group))]


def carried_rows(course: Course, steps: int) -> int:
    return steps * course.width * (2 if course.periodic else 1)


Sweep = Callable[[Any, tuple[range, ...], Sequence[Any], Sequence[tuple[int, ...]]], tuple[Any, ...]]
"""Some steps on fields that begin at given positions: the rows of scalars, the box, the fields and their origins."""


def advance(
    backend: Any,
    sweep: Sweep,
    stencil: StencilProgram,
    scalars: Any,
    visit: Visit,
    shape: tuple[int, ...],
    fields: Sequence[Any],
    first: int,
    carried: Sequence[Any] | None,
    group: int,
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The state after a visit's steps, over its last window, and what it carries to the next slab; by sweeps of `group`
    steps, of which the points between are computed once more at the ends of slabs.

    `fields`: the state over the first window, and the coefficients from row `first` on, all whole along the other axes
    of `shape`. `carried` is None where nothing was.
    """
    course, level, rest = visit.course, visit.level, tuple(map(range, shape[1:]))
    origin = (0,) * len(rest)
    state, coefficients = list(fields[: stencil.outputs]), list(fields[stencil.outputs :])
    left = tuple(backend.empty((visit.carried_rows, *shape[1:]), stencil.dtype(j)) for j in range(stencil.outputs))
    for step, count in visit.groups(group):
        before = course.carried(level + step, visit.slab, count)
        after = course.images(level + step, visit.slab, count)
        held = []
        for j, array in enumerate(state):
            pieces = [] if carried is None else [visit.tail(carried[j], step, count)[: len(before)]]
            pieces.append(array)
            if after and carried is not None:
                start = after.start - course.low(level + step) - course.n
                pieces.append(visit.head(carried[j], step, count)[start : start + len(after)])
            held.append(joined(backend, pieces))
            _leave(visit, left[j], None if carried is None else carried[j], held[-1], array, step, count)
        window = visit.window(step + count)
        if window:
            back = window.start // course.n * course.n if course.periodic else 0
            out = (range(window.start - back, window.stop - back), *rest)
            origins = [(before.start - back, *origin)] * len(held) + [(first - back, *origin)] * len(coefficients)
            state = list(sweep(scalars[step : step + count], out, [*held, *coefficients], origins))
        else:
            state = [backend.empty((0, *shape[1:]), stencil.dtype(j)) for j in range(stencil.outputs)]
    return tuple(state), left


def _leave(visit: Visit, left: Any, carried: Any, held: Any, window: Any, step: int, count: int) -> None:
    """Carry on the last rows of a level, and its first ones."""
    course, level = visit.course, visit.level + step
    last = course.carried(level, visit.slab + 1, count)
    if last:
        visit.tail(left, step, count)[: len(last)] = held[len(held) - len(last) :]
    if course.periodic and course.width:
        if carried is not None:
            visit.head(left, step, count)[...] = visit.head(carried, step, count)
        rows = course.first(level, visit.slab, count)
        if rows:
            at = rows.start - course.low(level)
            visit.head(left, step, count)[at : at + len(rows)] = window[: len(rows)]


def joined(backend: Any, pieces: Sequence[Any]) -> Any:
    """Rows one after the other; those that are alone stay where they are."""
    present = [p for p in pieces if len(p)] or list(pieces[:1])
    if len(present) == 1:
        return present[0]
    result = backend.empty((sum(map(len, pieces)), *present[0].shape[1:]), present[0].dtype)
    at = 0
    for piece in present:
        result[at : at + len(piece)] = piece
        at += len(piece)
    return result
