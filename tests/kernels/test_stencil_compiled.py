"""The compiled sweep against the interpreted one, bit by bit, however it is cut; and the memory that it promises."""

from __future__ import annotations

import functools
import mmap
import sys
import threading
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.program import Builder
from gpuarray.kernels.stencils import compiled, interpreter, tile, visits
from gpuarray.kernels.stencils.plan import Plan, choose, cut
from gpuarray.kernels.stencils.program import Edge, StencilProgram
from gpuarray.kernels.stencils.rings import Domain
from gpuarray.kernels.stencils.scratch import redundancy, scratch_nbytes
from gpuarray.kernels.testing_stencils import (
    Case,
    assert_same_bits,
    build,
    combination,
    data,
    draw_edges,
    within,
)

Array = np.ndarray[Any, Any]
Taps = list[tuple[int, tuple[int, ...]]]

SHAPES: dict[str, tuple[Taps, str, int]] = {
    "1d": ([(0, (0,)), (0, (-2,)), (0, (1,)), (1, (1,)), (1, (-1,))], "dd", 1),
    "2d": ([(0, (0, 0)), (0, (-1, 0)), (0, (1, 1)), (0, (0, -2)), (1, (0, 0))], "dd", 1),
    "2d far": ([(0, (0, 0)), (0, (-3, 1)), (1, (2, 0)), (1, (0, -1)), (2, (1, 1))], "fff", 2),
    "3d": ([(0, (0, 0, 0)), (0, (-1, 0, 0)), (0, (0, 1, 0)), (0, (0, -1, 1)), (1, (0, 0, -1))], "dd", 2),
    "4d": ([(0, (0, 0, 0, 0)), (0, (1, 0, -1, 0)), (0, (0, 1, 0, 1))], "l", 1),
    "bytes": ([(0, (0, 0)), (0, (-1, 1)), (0, (1, -1))], "B", 1),
    "bool": ([(0, (0, 0)), (0, (-1, 1)), (0, (1, 0))], "?", 1),
    "complex": ([(0, (0, 0)), (0, (-1, 1)), (0, (1, -1))], "F", 1),
}
"""Few, for each is compiled once with fixed edges and once without."""


@functools.cache
def stencil_of(name: str) -> StencilProgram:
    taps, dtypes, outputs = SHAPES[name]
    kind = np.dtype(dtypes[0]).kind
    scalars = [] if kind in "bc" else [dtypes[0]] * 2
    return build(lambda b, read, given: combination(b, read, given, outputs), taps, dtypes, scalars)


def run(case: Case, out: tuple[range, ...], spare: int = 0) -> tuple[Array, ...]:
    arrays, origins = case.level0(out, spare)
    return compiled.sweep(case.stencil, case.edges, case.scalars, case.domain, out, arrays, origins)


def interpreted(case: Case) -> tuple[Array, ...]:
    origins = [(0,) * len(case.domain)] * len(case.fields)
    given = (case.stencil, case.edges, case.scalars, case.domain, case.whole(), case.fields, origins)
    return interpreter.sweep(np, *given)


def drawn_plan(rng: np.random.Generator) -> Any:
    """A way to cut a sweep that nobody would choose."""

    def plan(domain: Domain, levels: Any) -> Plan:
        lengths = tuple(int(rng.integers(1, len(r) + 3)) for r in levels[-1][1:])
        return Plan(int(rng.integers(1, len(levels))), lengths, int(rng.integers(1, 6)), 1.0)

    return plan


@pytest.mark.parametrize("name", SHAPES)
def test_any_cut_has_the_bits_of_the_interpreter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stencil = stencil_of(name)
    rng = np.random.default_rng(len(name))
    choice = [1, 2, 3, 5, 8, 13, 21, 40] if stencil.ndim < 3 else [1, 2, 3, 5, 8, 13]
    for trial in range(60):
        domain = tuple(map(int, rng.choice(choice, stencil.ndim)))
        case = data(rng, stencil, draw_edges(rng, stencil), domain, int(rng.integers(1, 10)))
        assert compiled.applies(stencil, case.edges, case.steps)
        monkeypatch.setattr(tile, "STREAMED", int(rng.choice([0, 1 << 40])))
        monkeypatch.setattr(visits, "_CALL", float(rng.choice([1, 500, 1e9])))
        monkeypatch.setattr(visits, "plan", drawn_plan(rng))
        wanted = interpreted(case)
        for out in (case.whole(), case.box(rng), case.box(rng)):
            for got, value in zip(run(case, out, trial % 3), wanted, strict=True):
                assert_same_bits(got, within(value, out), f"{trial} {case.edges} {domain} {out} {case.steps}")


@pytest.mark.parametrize("name", ["2d", "2d far", "3d"])
def test_its_own_plans(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger fields, that are cut as they are in earnest, in a small cache."""
    stencil = stencil_of(name)
    rng = np.random.default_rng(1)
    monkeypatch.setattr(visits, "cache_nbytes", lambda: 100_000)
    for trial in range(3):
        domain = (70, 300) if stencil.ndim == 2 else (30, 41, 66)
        case = data(rng, stencil, draw_edges(rng, stencil), domain, (1, 7, 40)[trial])
        wanted = interpreted(case)
        for out in (case.whole(), tuple(range(n // 3, n - 5) for n in domain)):
            for got, value in zip(run(case, out), wanted, strict=True):
                assert_same_bits(got, within(value, out))


@pytest.mark.parametrize("name", ["complex", "2d"])
@pytest.mark.parametrize("shift", [0, 4, 8, 3])
def test_results_are_streamed_to_any_address(name: str, shift: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile, "passes_caches", lambda result: True)
    stencil, rng = stencil_of(name), np.random.default_rng(shift)
    for width in (1, 7, 1030):
        case = data(rng, stencil, draw_edges(rng, stencil), (5, width), 1)
        dtype = stencil.dtype(0)
        memory = np.full(5 * (width + 9) * dtype.itemsize + 64, 0x77, np.uint8)
        rows = memory[shift : shift + 5 * (width + 9) * dtype.itemsize].view(dtype).reshape(5, width + 9)
        arrays, origins = case.level0(case.whole())
        given = (stencil, case.edges, case.scalars, case.domain, case.whole(), arrays, origins)
        (got,) = compiled.sweep(*given, into=[rows[:, 4 : 4 + width]])
        assert_same_bits(np.array(got), interpreted(case)[0])
        assert (rows[:, :4].copy().view(np.uint8) == 0x77).all()
        assert (rows[:, 4 + width :].copy().view(np.uint8) == 0x77).all()


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for pages")
def test_large_results_in_memory_that_was_used_pass_the_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile, "STREAMED", 1 << 20)
    fresh = np.frombuffer(mmap.mmap(-1, 1 << 22), np.uint8)
    assert not tile.passes_caches(fresh)
    fresh[: 1 << 21] = 1
    assert not tile.passes_caches(fresh)
    assert tile.passes_caches(fresh[: 1 << 21])
    assert not tile.passes_caches(fresh[: 1 << 10].copy())


def test_steps_may_be_cut_anywhere() -> None:
    stencil, rng = stencil_of("2d"), np.random.default_rng(2)
    case = data(rng, stencil, draw_edges(rng, stencil), (50, 60), 30)
    (whole,) = run(case, case.whole())
    state = case
    for first, last in ((0, 1), (1, 8), (8, 30)):
        part = replace(state, scalars=case.scalars[first:last])
        state = replace(state, fields=(*run(part, case.whole()), *case.fields[1:]))
    assert_same_bits(state.fields[0], whole)


@pytest.mark.parametrize("steps", [1, 6])
def test_functions_of_limited_range(steps: int) -> None:
    """A row is done again where an argument is beyond: with the bits that it has in any other row."""

    def write(b: Builder, taps: Any, scalars: Any) -> list[int]:
        return [b.step("sin", b.step("multiply", b.step("add", taps[0], taps[1]), scalars[0]))]

    stencil = build(write, [(0, (0, -1)), (0, (1, 0))], "d", ["float64"])
    edges = (((Edge("nearest"), Edge("periodic")),) * 2,)
    edges = (((Edge("periodic"), Edge("periodic")), (Edge("reflect"), Edge("constant", 0.5))),)
    case = data(np.random.default_rng(0), stencil, edges, (30, 200), steps)
    case.scalars["s0"] = 1
    case.fields[0][3, 7] = 1e300
    case.fields[0][5, 199] = np.inf
    (whole,) = run(case, case.whole())
    for wanted, got in zip(interpreted(case), (whole,), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9)
    for out in ((range(10), range(200)), (range(3, 9), range(190, 200)), (range(2, 3), range(6, 7))):
        assert_same_bits(run(case, out)[0], within(whole, out))


@pytest.mark.parametrize("name", ["1d", "2d", "2d far", "3d"])
@pytest.mark.parametrize("steps", [1, 2, 9, 70])
def test_scratch_is_promised(name: str, steps: int) -> None:
    stencil = stencil_of(name)
    rng = np.random.default_rng(steps)
    domain = {1: (300_000,), 2: (500, 700), 3: (60, 70, 90)}[stencil.ndim]
    for part in (False, True):
        case = data(rng, stencil, draw_edges(rng, stencil), domain, steps)
        out = tuple(range(n // 4, n - 1) for n in domain) if part else case.whole()
        arrays, origins = case.level0(out)
        into = interpreter.new(np, stencil, out)
        given = (stencil, case.edges, case.scalars, domain, out, arrays, origins, into)
        compiled.sweep(*given)
        tracemalloc.start()
        compiled.sweep(*given)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        promised = scratch_nbytes(stencil, case.edges, domain, out, steps)
        assert peak <= compiled.scratch_nbytes(stencil, case.edges, domain, out, steps) <= promised
        state = sum(a.nbytes for a in arrays[: stencil.outputs])
        assert promised < 2 * state + (12 << 20)


def test_promises_are_remembered_for_parts_alike() -> None:
    stencil, rng = stencil_of("2d"), np.random.default_rng(5)
    edges = draw_edges(rng, stencil)
    for _ in range(300):
        domain = (40, 50)
        case = data(rng, stencil, edges, domain, int(rng.integers(0, 5)))
        given = (stencil, edges, domain, case.box(rng), case.steps)
        assert scratch_nbytes(*given) == max(interpreter.scratch_nbytes(*given), compiled.scratch_nbytes(*given))


def test_redundancy() -> None:
    stencil = stencil_of("2d")
    edges = (((Edge("nearest"), Edge("nearest")),) * 2,) * 2
    assert redundancy(stencil, edges, (90, 90), (range(90), range(90)), 4) == 1
    assert redundancy(stencil, edges, (90, 90), (range(90), range(0, 0)), 4) == 1
    # one row above and two columns before, one row and one column after, for each step that follows
    asked = sum((30 + 2 * t) * (20 + 3 * t) for t in range(4)) / (4 * 30 * 20)
    part = (range(30, 60), range(30, 50))
    assert redundancy(stencil, edges, (90, 90), part, 4) == pytest.approx(asked)


def test_what_is_not_compiled() -> None:
    constant, around = (Edge("constant"), Edge("constant")), (Edge("periodic"), Edge("periodic"))
    stencil = stencil_of("1d")
    assert not compiled.applies(stencil, ((constant,), (around,)), 1)  # periodic for one field, not for the other
    assert compiled.applies(stencil, ((constant,), (constant,)), 1)
    assert not compiled.applies(stencil, ((constant,), (constant,)), 0)
    half = build(lambda b, read, given: [b.step("add", *read)], [(0, (0,)), (0, (1,))], "e")
    assert not compiled.supported(half)
    assert compiled.supported(stencil)
    assert compiled.ready(stencil, ((constant,), (constant,)))


def test_plans_fit_the_cache() -> None:
    from gpuarray.kernels.stencils.plan import Costs, ring_nbytes

    for lengths in ((4096, 4096), (1, 10**7), (512, 512, 512), (40, 40, 40, 40), (3, 3, 3, 3, 3)):
        reach = (0, 2) if lengths[0] == 1 else (2,) * len(lengths)
        costs = Costs(lengths, reach, (False,) * len(lengths), 8, 8, 48, 10.0)
        for steps in (1, 5, 100):
            plan = choose(costs, steps, 1 << 20, 8)
            assert 1 <= plan.steps <= steps
            assert plan.updates >= 1
            if plan.steps > 1:
                assert ring_nbytes(costs, plan.steps, plan.tile, plan.planes) <= 1 << 20


def test_tiles_cover_a_box() -> None:
    box = (range(3, 9), range(-2, 11), range(5, 6))
    seen = np.zeros((6, 13, 1), int)
    for part in cut(box, (4, 8)):
        seen[tuple(slice(r.start - b.start, r.stop - b.start) for r, b in zip(part, box, strict=True))] += 1
    assert (seen == 1).all()


def test_python_is_heard_within_a_visit(monkeypatch: pytest.MonkeyPatch) -> None:
    stencil, rng = stencil_of("2d"), np.random.default_rng(4)
    for steps in (1, 8):
        case = data(rng, stencil, draw_edges(rng, stencil), (64, 200), steps)
        calls: list[tuple[int, ...]] = []
        original = visits.Visits._run

        def run_and_count(self: visits.Visits, made: tile.Tile, calls: Any = calls, original: Any = original) -> None:
            stream, kernel = self.stream, self.kernel
            for loaded in ("stream", "kernel"):
                known = getattr(self, loaded)
                counted = known._replace(call=lambda words, known=known: (calls.append(words), known.call(words)))
                setattr(self, loaded, counted)
            original(self, made)
            self.stream, self.kernel = stream, kernel

        monkeypatch.setattr(visits.Visits, "_run", run_and_count)
        monkeypatch.setattr(visits, "_CALL", 1e3)
        assert_same_bits(run(case, case.whole())[0], interpreted(case)[0])
        assert len(calls) >= 10
        monkeypatch.undo()


def test_threads_sweep_at_once() -> None:
    stencil, rng = stencil_of("2d"), np.random.default_rng(3)
    case = data(rng, stencil, draw_edges(rng, stencil), (200, 300), 12)
    wanted = interpreted(case)[0]
    found: list[Array] = []
    threads = [threading.Thread(target=lambda: found.append(run(case, case.whole())[0])) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 4
    for got in found:
        assert_same_bits(got, wanted)
