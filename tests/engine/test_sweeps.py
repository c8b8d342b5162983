"""Sweeps in the graph: any chunks, any limit, any number of steps per visit, to the last bit."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.array import NDArray
from gpuarray.cluster import parts
from gpuarray.graph.node import flatten, unflatten
from gpuarray.graph.stencil import Scalars, sweep
from gpuarray.kernels.stencils import slab_visits
from gpuarray.plan import sweeps
from gpuarray.plan.tiling import Budget
from tests.engine.stencils import Case, random_case

SETTINGS: list[dict[str, Any]] = [
    {},
    {"host_memory": "16 MiB", "threads": 3},
    {"device": "fake", "device_memory": "16 MiB"},
]


def lazy(case: Case, chunks: Any, together: int) -> tuple[NDArray, ...]:
    scalars = Scalars.of(case.rows, [np.dtype(case.stencil.program.inputs[-1].dtype)])
    fields = [ga.asarray(f, chunks=chunks).node for f in case.fields]
    nodes = sweep(case.stencil, case.edges, scalars, case.steps, together, None, *fields)
    return tuple(map(NDArray, nodes))


@pytest.mark.parametrize("first", range(0, 1500, 50))
def test_random_stencils(first: int) -> None:
    for seed in range(first, first + 50):
        case = random_case(seed)
        rng = np.random.default_rng(seed)
        chunks = tuple(int(rng.integers(max(1, n // 4), n + 2)) for n in case.fields[0].shape)
        together = int(rng.integers(0, case.steps + 1))
        with ga.config.set(**SETTINGS[seed % len(SETTINGS)]):
            found = ga.compute(*lazy(case, chunks, together))
        for k, (a, b) in enumerate(zip(found, case.expected(), strict=True)):
            np.testing.assert_array_equal(a, b, err_msg=f"seed {seed}, output {k}, {case.stencil}, {case.edges}")
            assert a.dtype == b.dtype


@pytest.mark.parametrize("together", range(1, 10))
def test_steps_per_visit(together: int) -> None:
    for seed in (3, 5, 8, 13):
        case = random_case(seed, most=40)
        found = ga.compute(*lazy(case, 7, together))
        for a, b in zip(found, case.expected(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("first", range(0, 300, 100))
def test_slabs_that_follow_each_other(first: int, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    done = 0
    for seed in range(first, first + 100):
        case = random_case(seed, most=40)
        if not case.fields[0].size:
            continue
        rng = np.random.default_rng(seed)
        drawn = (int(rng.integers(low, high)) for low, high in ((1, 4), (1, 9), (2, 6), (0, 3)))
        way = sweeps.Way(0.0, *drawn)

        def way_for(node: Any, budget: Any, caution: int, way: sweeps.Way = way) -> sweeps.Way:
            course = sweeps.course_of(node, way.rows, node.steps)
            around = course.periodic and way.rows + way.steps * course.width >= course.n
            return sweeps.Way(0.0, 1) if around or not sweeps.one_way_round(node) else way

        monkeypatch.setattr(sweeps, "way_for", way_for)
        with ga.config.set(**settings):
            found = ga.compute(*lazy(case, 9, 0))
        for a, b in zip(found, case.expected(), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f"seed {seed}, {way}, {case.stencil}, {case.edges}")
        done += 1
    assert done > 30


def test_views_of_a_sweep() -> None:
    case = random_case(21, most=30)
    (x, *_), expected = lazy(case, 5, 0), case.expected()[0]
    assert np.array_equal(x[::-2].compute(), expected[::-2])
    assert np.array_equal(x[1::3].T.compute(), expected[1::3].T)
    assert np.array_equal((x + x[::-1]).compute(), expected + expected[::-1])


def test_a_sweep_pickles() -> None:
    case = random_case(4)
    (x, *_) = lazy(case, 4, 0)
    again = unflatten(pickle.loads(pickle.dumps(flatten(x.node))))
    assert np.array_equal(NDArray(again).compute(), case.expected()[0])


@pytest.mark.parametrize("boundary", ["fixed", "periodic", "reflect"])
def test_slabs_that_compute_nothing_twice(boundary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state three times the limit, in three dimensions: the rows are counted where they are computed."""

    @ga.stencil
    def heat(u: Any, k: Any) -> Any:
        around = u[1, 0, 0] + u[-1, 0, 0] + u[0, 1, 0] + u[0, -1, 0] + u[0, 0, 1] + u[0, 0, -1]
        return u[0, 0, 0] + k * (around - 6 * u[0, 0, 0])

    rows: list[int] = []
    passage = slab_visits.SlabVisits.passage

    def counted(self: Any, one: Any, fields: Any, results: Any) -> None:
        rows.extend(len(one.window(t)) for t in range(1, one.steps + 1))
        passage(self, one, fields, results)

    n, steps = 96, 13
    u = np.random.default_rng(0).random((n, 64, 64))
    with ga.config.set(compile="always", threads=2):
        wanted = ga.iterate(heat, u, steps=steps, k=0.1, boundary=boundary).compute()
        monkeypatch.setattr(slab_visits.SlabVisits, "passage", counted)
        monkeypatch.setattr(sweeps, "way_for", lambda *given: sweeps.Way(0.0, 4, 5, 2, 1))
        x = ga.asarray(u)
        with ga.config.set(host_memory="4 MiB"):
            later = ga.iterate(heat, x, steps=steps, k=0.1, boundary=boundary)
            parts = [later[k : k + 8].compute() for k in (0, 40)]
    assert np.array_equal(parts[0], wanted[:8])
    assert np.array_equal(parts[1], wanted[40:48])
    done = steps - 4  # the last visit is cut as its result is wanted
    assert sum(rows) == 2 * done * n


def test_margins_of_spilled_chunks_are_read_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows of each of the chunks around, of a state that is on disk."""
    read: list[int] = []
    filled = parts.filled

    def counted(stream: Any, block: memoryview, crc: int) -> int:
        read.append(len(block))
        return filled(stream, block, crc)

    n = 1024
    u = np.random.default_rng(1).random((4 * n, n))
    with ga.config.set(host_memory="24 MiB", threads=2):
        kept = (ga.asarray(u, chunks=(n, n)) * 1.0).persist()
        other = (ga.asarray(u, chunks=(n, n)) * 2.0).persist()  # so that some of the first is on disk
        monkeypatch.setattr(parts, "filled", counted)
        for seam in (n, 2 * n, 3 * n):
            before = sum(read)
            assert np.array_equal(kept[seam - 2 : seam + 2].compute(), u[seam - 2 : seam + 2])
            assert sum(read) <= before + 2 * parts.BLOCK
        assert read  # memory holds three chunks of the eight, whichever
        assert np.array_equal(other[:1].compute(), 2 * u[:1])


def test_ways_through_slabs() -> None:
    """Points that take long are computed once, where little memory makes slabs thin."""

    def ways(operations: int) -> set[int]:
        @ga.stencil(boundary="periodic")
        def costly(u: Any) -> Any:
            total = u[1, 0, 0] + u[-1, 0, 0] + u[0, 1, 0] + u[0, 0, 1]
            for _ in range(operations):
                total = total * 0.5 + u[0, 0, 0]
            return total

        x = ga.asarray(np.zeros((512, 1, 1)))
        node: Any = ga.iterate(costly, x * np.ones((1, 256, 256)), steps=16).node
        budget = Budget(2**28, 2**26, 2)
        found = [way for way in sweeps.in_rows(node, budget, [4]) if way.visits > 1]
        assert found
        return {min(found, key=lambda way: way.seconds).group}

    assert ways(1) == {0}
    assert ways(100) == {1}
