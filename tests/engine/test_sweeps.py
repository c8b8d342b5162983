"""Sweeps in the graph: any chunks, any limit, any number of steps per visit, to the last bit."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.array import NDArray
from gpuarray.graph.node import flatten, unflatten
from gpuarray.graph.stencil import Scalars, sweep
from gpuarray.plan import sweeps
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
        if any(e[0][0].mode == "periodic" for e in case.edges) or not case.fields[0].size:
            continue
        rng = np.random.default_rng(seed)
        radii = [case.stencil.radius(f, 0) for f in range(case.stencil.fields)]
        below, above = max(r[0] for r in radii), max(r[1] for r in radii)
        steps = int(rng.integers(1, 4))
        way = sweeps.Way(0.0, steps, max(steps * (below + above), int(rng.integers(1, 9))), int(rng.integers(2, 6)))
        monkeypatch.setattr(sweeps, "way_for", lambda node, budget, caution, way=way: way)
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
