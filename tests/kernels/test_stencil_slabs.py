"""Steps through slabs that carry rows of every level: the bits of whole sweeps, and no point computed twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.backends import numpy as host
from gpuarray.kernels.stencils import compiled, interpreter, visits
from gpuarray.kernels.stencils.course import Course, is_periodic, span
from gpuarray.kernels.stencils.plan import Plan
from gpuarray.kernels.stencils.rings import Domain
from gpuarray.kernels.stencils.slabs import Visit, advance
from gpuarray.kernels.testing_stencils import Case, assert_same_bits, build, combination, data, draw, draw_edges

Array = np.ndarray[Any, Any]
Go = Callable[[Case, Any, Visit, list[Array], int, Any], tuple[tuple[Array, ...], tuple[Array, ...]]]


def interpreted(case: Case) -> tuple[Array, ...]:
    origins = [(0,) * len(case.domain)] * len(case.fields)
    given = (case.stencil, case.edges, case.scalars, case.domain, case.whole(), case.fields, origins)
    return interpreter.sweep(np, *given)


def by_sweeps(group: int) -> Go:
    """Slabs of sweeps on whole arrays, so many steps at once."""

    def go(case: Case, scalars: Any, visit: Visit, fields: list[Array], first: int, carried: Any) -> Any:
        def sweep(rows: Any, out: Any, given: Any, origins: Any) -> Any:
            return interpreter.sweep(np, case.stencil, case.edges, rows, case.domain, out, given, origins)

        shape = case.domain
        return advance(host.BACKEND, sweep, case.stencil, scalars, visit, shape, fields, first, carried, group)

    return go


def compiled_slabs(case: Case, scalars: Any, visit: Visit, fields: list[Array], first: int, carried: Any) -> Any:
    return compiled.sweep_slab(case.stencil, case.edges, scalars, case.domain, visit, fields, first, carried)


def course_of(case: Case, rows: int) -> Course:
    back, ahead = span(case.stencil, case.edges, 0, case.domain[0])
    return Course(case.domain[0], rows, back, ahead, is_periodic(case.stencil, case.edges, 0), case.steps)


def through_slabs(case: Case, course: Course, ends: list[int], go: Go) -> list[Array]:
    """All steps, in visits that end at the given levels, each whole before the next."""
    state = list(case.fields[: case.stencil.outputs])
    n = case.domain[0]
    for start, end in zip([0, *ends], ends, strict=False):
        made: list[tuple[Array, ...]] = []
        carried: Any = None
        low = course.low(start)
        for slab in range(course.slabs):
            visit = Visit(course, start, end - start, slab)
            given = [a[slice(visit.window(0).start - low, visit.window(0).stop - low)] for a in state]
            rows = course.reads(start, end - start, slab)
            taken = [p % n for p in rows]
            given += [np.ascontiguousarray(f[taken]) for f in case.fields[case.stencil.outputs :]]
            result, left = go(case, case.scalars[start:end], visit, given, rows.start, carried if visit.begun else None)
            made.append(result)
            for a in left:
                assert len(a) == visit.carried_rows
            carried = left
        state = [np.concatenate([m[j] for m in made]) for j in range(case.stencil.outputs)]
    low = course.low(case.steps) % n
    return [np.roll(a, low, 0) for a in state]


def drawn(seed: int, ndim: int) -> tuple[Case, Course, list[int]] | None:
    """A case with its course and visits; None where it does not go."""
    rng = np.random.default_rng(seed)
    dtypes = ["d", "dd", "ff", "ddd"][int(rng.integers(4))]
    stencil = draw(rng, ndim, dtypes, int(rng.integers(1, len(dtypes) + 1)), int(rng.integers(0, 3)))
    domain = tuple(int(n) for n in (rng.choice([1, 2, 3, 8, 21, 34]), *rng.choice([1, 2, 3, 5, 8, 13], ndim - 1)))
    case = data(rng, stencil, draw_edges(rng, stencil), domain, int(rng.integers(1, 10)))
    found = visits_of(case, rng)
    return None if found is None else (case, *found)


def visits_of(case: Case, rng: np.random.Generator) -> tuple[Course, list[int]] | None:
    ends = sorted({case.steps, *(int(e) for e in rng.integers(1, case.steps + 1, 2))})
    longest = max(b - a for a, b in zip([0, *ends], ends, strict=False))
    course = course_of(case, int(rng.integers(1, 9)))
    if course.periodic and course.rows + longest * course.width >= course.n:
        return None
    return course, ends


@pytest.mark.parametrize("group", [1, 2, 20])
def test_slabs_of_sweeps(group: int) -> None:
    done = around = 0
    for seed in range(150):
        found = drawn(seed, 1 + seed % 3)
        if found is None:
            continue
        case, course, ends = found
        made = through_slabs(case, course, ends, by_sweeps(group))
        for got, value in zip(made, interpreted(case), strict=True):
            assert_same_bits(got, value, f"seed {seed}, {course}, {ends}, {case.edges}")
        done, around = done + 1, around + course.periodic
    assert done > 100
    assert around > 10


KINDS: dict[str, tuple[list[tuple[int, tuple[int, ...]]], str, int]] = {
    "2d": ([(0, (0, 0)), (0, (-1, 0)), (0, (1, 1)), (0, (0, -2)), (1, (0, 0))], "dd", 1),
    "2d far": ([(0, (0, 0)), (0, (-3, 1)), (1, (2, 0)), (1, (0, -1)), (2, (1, 1))], "fff", 2),
    "3d": ([(0, (0, 0, 0)), (0, (-1, 0, 0)), (0, (0, 1, 0)), (0, (0, -1, 1)), (1, (0, 0, -1))], "dd", 2),
    "3d ahead": ([(0, (0, 0, 0)), (0, (2, 0, 0)), (0, (0, 1, 0)), (0, (0, -1, 1)), (1, (-1, 0, 0))], "dd", 1),
    "rows alone": ([(0, (0, 0)), (0, (0, -1)), (0, (0, 2))], "d", 1),
}
"""Few, for each is compiled once with fixed edges and once without."""


@pytest.mark.parametrize("name", KINDS)
def test_compiled_slabs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taps, dtypes, outputs = KINDS[name]
    stencil = build(lambda b, read, given: combination(b, read, given, outputs), taps, dtypes, [dtypes[0]] * 2)
    around = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        domain = (int(rng.choice([3, 8, 13, 21, 34])), *(int(n) for n in rng.choice([1, 2, 5, 13], stencil.ndim - 1)))
        case = data(rng, stencil, draw_edges(rng, stencil), domain, int(rng.integers(1, 10)))
        monkeypatch.setattr(visits, "plan", drawn_plan(rng))
        monkeypatch.setattr(visits, "_CALL", float(rng.choice([1, 500, 1e9])))
        found = visits_of(case, rng)
        if found is None:
            continue
        made = through_slabs(case, *found, compiled_slabs)
        for got, value in zip(made, interpreted(case), strict=True):
            assert_same_bits(got, value, f"seed {seed}, {found}, {domain}, {case.edges}")
        around += found[0].periodic
    assert around > 2 or name == "rows alone"


def drawn_plan(rng: np.random.Generator) -> Any:
    """A way to cut a sweep that nobody would choose."""

    def plan(domain: Domain, levels: Any) -> Plan:
        lengths = tuple(int(rng.integers(1, len(r) + 3)) for r in levels[-1][1:])
        return Plan(int(rng.integers(1, len(levels))), lengths, int(rng.integers(1, 6)), 1.0)

    return plan


def test_every_row_of_every_level_is_computed_once() -> None:
    for periodic in (False, True):
        for rows in (1, 3, 8):
            course = Course(n=40, rows=rows, back=1, ahead=2, periodic=periodic, levels=7)
            for level in range(8):
                windows = [course.window(level, slab) for slab in range(course.slabs)]
                assert [p - course.low(level) for w in windows for p in w] == list(range(40))
