"""How work is cut on a device: one task keeps it busy where nothing is copied, and many where copies are to overlap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.plan.build import RunPlan, build
from gpuarray.plan.policy import policy
from gpuarray.plan.sweeps import DEVICE, PROCESSOR, candidates
from gpuarray.run import ArraySink, make_plan

N = 1 << 22
SIDE = 1500


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    with ga.config.set(device="fake", device_memory="1 GiB", host_memory="2 GiB", threads=2):
        yield


def tasks(plan: RunPlan) -> list[int]:
    return [stage.tasks for stage in plan.stages]


def host(n: int = N) -> np.ndarray:
    return np.arange(n) % 1000 / 8


@ga.stencil
def heat(u: Any, k: Any) -> Any:
    return u[0, 0] + k * (u[1, 0] + u[-1, 0] + u[0, 1] + u[0, -1] - 4 * u[0, 0])


def test_what_is_on_the_device_and_stays_there_is_one_task() -> None:
    x = ga.asarray(host(), chunks=1 << 18).persist()
    total, made = x.sum(), ga.sqrt(x) * 2 + x
    assert tasks(make_plan([total.node], [None])) == [1, 1]
    assert tasks(make_plan([made.node], [None])) == [1]
    assert tasks(make_plan([total.node], [ArraySink(np.empty(()))])) == [1, 1]
    assert total.compute() == host().sum()
    np.testing.assert_array_equal(made.persist().compute(), np.sqrt(host()) * 2 + host())


def test_what_comes_from_the_host_or_goes_there_is_many_tasks() -> None:
    x = ga.asarray(host(), chunks=1 << 18)
    assert tasks(make_plan([x.sum().node], [None]))[0] >= 8
    kept = x.persist()
    assert tasks(make_plan([(kept + 1).node], [ArraySink(np.empty(N))]))[0] >= 8
    with ga.config.set(device="cpu"):
        assert tasks(make_plan([ga.asarray(host(), chunks=1 << 18).sum().node], [None]))[0] > 4


def test_what_hardly_fits_is_many_tasks() -> None:
    """Chunks may have been spilled."""
    with ga.config.set(device_memory="48 MiB"):
        x = ga.asarray(host(), chunks=1 << 18).persist()
        assert tasks(make_plan([x.sum().node], [None]))[0] >= 8
        assert x.sum().compute() == host().sum()


def test_several_devices_all_have_something_to_do() -> None:
    with ga.config.set(device="fake:0,1"):
        x = ga.asarray(host(), chunks=1 << 18).persist()
        assert tasks(make_plan([x.sum().node], [None]))[0] >= 4
        assert x.sum().compute() == host().sum()


def test_a_state_on_the_device_has_no_margins() -> None:
    u = host(SIDE * SIDE).reshape(SIDE, SIDE)
    x = ga.asarray(u, chunks=250).persist()
    y = ga.iterate(heat, x, steps=12, boundary="fixed", k=0.1)
    assert tasks(make_plan([y.node], [None])) == [1]
    found = y.compute()
    with ga.config.set(device="cpu"):
        expected = ga.iterate(heat, ga.asarray(u), steps=12, boundary="fixed", k=0.1).compute()
    assert found.tobytes() == expected.tobytes()


def test_tasks_of_many_steps_from_the_host_are_even() -> None:
    """Margins are computed twice: a task that is as wide as it is long has the fewest."""
    x = ga.ones((20_000, 20_000), chunks=(500, 20_000))
    y = ga.iterate(heat, x, steps=256, boundary="fixed", k=0.1)
    sink = ArraySink(np.empty((1, 1)))
    plan = build([y.node], [sink], 1 << 30, 2, policy("always", True), 0, 1 << 34)
    for stage in plan.program:
        rows, columns = (along.largest for along in stage.grid)
        assert 0.4 < rows / columns < 2.6, stage.grid


def test_costs_are_those_of_where_tasks_compute() -> None:
    assert DEVICE.operation < PROCESSOR.operation / 50
    assert DEVICE.beyond < PROCESSOR.beyond / 50
    assert list(candidates(20, 1)) == [1, 2, 4, 8, 16, 20]
    assert list(candidates(20)) == [1, 2, 3, 4, 6, 8, 12, 16, 20]
