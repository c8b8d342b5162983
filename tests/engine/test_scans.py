"""Cumulative sums and products: any chunks, any limit, straight into the result, and the memory they say they need."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.plan import direct
from tests.engine.serial import Serial
from tests.engine.test_plan import plan_of


@pytest.fixture(autouse=True)
def planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "SMALL", 0)


def shapes(r: random.Random) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    shape = tuple(r.choice([1, 2, 7, 40, 300]) for _ in range(r.choice([1, 2, 2, 3])))
    while np.prod(shape) > 30_000:
        shape = shape[1:]
    return shape, tuple(r.randint(1, n) for n in shape), r.randrange(len(shape))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float32", "float64", "complex128"])
def test_any_chunks_axis_and_view(dtype: str) -> None:
    for seed in range(25):
        r, g = random.Random(seed), np.random.default_rng(seed)
        shape, chunks, axis = shapes(r)
        a = (g.standard_normal(shape) * 3).astype(dtype)
        x = ga.asarray(a, chunks=chunks)
        key: Any = tuple(slice(r.randrange(n), None, r.choice([1, 1, 2, -1])) for n in shape)
        for name in ("cumsum", "cumprod"):
            with np.errstate(all="ignore"):
                expected = getattr(np, name)(a, axis=axis)
                result = getattr(ga, name)(x, axis=axis)
                tolerance = 1e-4 if dtype == "float32" else 1e-9
                with ga.config.set(threads=2, host_memory="8 MiB"):
                    np.testing.assert_allclose(result.compute(), expected, rtol=tolerance, atol=tolerance)
                    np.testing.assert_allclose(result[key].compute(), expected[key], rtol=tolerance, atol=tolerance)


def test_the_bits_depend_on_the_chunks_alone() -> None:
    a = np.random.default_rng(0).standard_normal((200, 700))
    for axis in (0, 1):
        x = ga.asarray(a, chunks=(60, 90)).cumsum(axis=axis)
        whole = x.compute()
        for limit, threads in (("3 MiB", 1), ("2 MiB", 3)):
            with ga.config.set(host_memory=limit, threads=threads):
                assert x.compute().tobytes() == whole.tobytes()
        with ga.config.set(device="fake", device_memory="1 MiB"):
            assert x.compute().tobytes() == whole.tobytes()
        assert x[5:150, 30:601:7].compute().tobytes() == whole[5:150, 30:601:7].tobytes()


def test_results_that_nothing_writes_in_place_are_counted() -> None:
    """A task's result takes memory beside the array that is returned, unless it is computed straight into it."""
    from gpuarray.kernels.backends.numpy import BACKEND
    from gpuarray.plan.build import build
    from gpuarray.plan.policy import policy
    from gpuarray.sinks import ArraySink

    def work(x: ga.NDArray) -> int:
        sink = ArraySink(np.empty(x.shape, x.dtype))
        plan = build([x.node], [sink], 2**30, 1, policy("never"))
        Serial(BACKEND).run(plan)
        return max(task.work_nbytes for task in plan.tasks())

    a = ga.asarray(np.ones((400, 400)), chunks=400)
    nbytes = 400 * 400 * 8
    assert work(a + 1) < nbytes
    assert work(a @ a) >= nbytes
    assert work(ga.concatenate([a, a + 1])) >= 2 * nbytes
    assert plan_of(a.cumsum(axis=0)).program
