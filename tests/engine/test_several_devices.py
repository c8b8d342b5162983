"""Several devices in one process: the bits of one, each within its limit, and nothing that a GPU would not forgive."""

from __future__ import annotations

import gc
import os
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray import executors
from gpuarray.errors import ConfigError, DeviceMemoryError, MemoryLimitError
from gpuarray.executors import Engine
from gpuarray.kernels.backends.fake import Fake
from gpuarray.plan import direct
from tests.engine.programs import Program

PROGRAMS = int(os.environ.get("RANDOM_PROGRAMS", "600"))
BATCH = 20
SEVERAL = ["fake:0,1", "fake:0,1,2"]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(direct, "SMALL", 0)
    executors._engines.clear()
    yield
    executors._engines.clear()


def devices(engine: Engine) -> tuple[Fake, ...]:
    found: tuple[Fake, ...] = engine.executor.memory.backends
    return found


def check(engine: Engine) -> None:
    """The limits were kept, and nothing is left."""
    gc.collect()
    memory = engine.executor.memory
    for device in devices(engine):
        assert device.counters.peak_nbytes <= engine.limit
        assert device.hazards == []
        assert device.counters.used_nbytes == 0
    assert all(tier.held == tier.reserved == 0 for tier in memory.states())
    assert all(tier.limit is None or tier.peak <= tier.limit for tier in memory.states())
    assert sum(d.counters.peak_pinned_nbytes for d in devices(engine)) <= memory.staging.nbytes


@pytest.mark.parametrize("first", range(0, PROGRAMS // 10, BATCH))
def test_random_programs_have_the_bits_of_one_device(first: int) -> None:
    for seed in range(first, first + BATCH):
        r = random.Random(seed)
        settings = {
            "device_memory": r.choice(["64 KiB", "100 KB", "256 KiB", "1 MiB"]),
            "host_memory": r.choice(["512 KiB", "2 MiB", "64 MiB"]),
            "threads": r.choice([1, 2, 3]),
        }
        found = []
        for name in ("fake", *SEVERAL):
            with warnings.catch_warnings(), ga.config.set(device=name, **settings):
                warnings.simplefilter("ignore", RuntimeWarning)
                try:
                    found.append(Program(seed).result[0].compute())
                    check(executors.current())
                except Exception as error:
                    error.add_note(f"seed {seed}, {name}, {settings}")
                    raise
        for other in found[1:]:
            assert (other.shape, other.dtype) == (found[0].shape, found[0].dtype)
            assert other.tobytes() == found[0].tobytes(), seed


def products() -> ga.NDArray:
    """Chunks that tasks of every device read."""
    a = np.random.default_rng(0).standard_normal((400, 300))
    x = ga.asarray(a, chunks=(50, 60))
    y = x - x.mean(axis=0)
    return (y @ y.T)[::2] + y.sum(axis=1)


def scaled() -> ga.NDArray:
    return ga.asarray(np.arange(200_000.0), chunks=5_000) * 3 + 1


def sweeps() -> ga.NDArray:
    @ga.stencil
    def heat(u: Any, k: Any) -> Any:
        return u[0, 0] + k * (u[1, 0] + u[-1, 0] + u[0, 1] + u[0, -1] - 4 * u[0, 0])

    u = ga.asarray(np.random.default_rng(1).random((300, 200)), chunks=50)
    return ga.iterate(heat, u, steps=6, boundary="fixed", k=0.1)


def ordered() -> ga.NDArray:
    return ga.sort(ga.asarray(np.random.default_rng(2).random(400_000), chunks=20_000))


@pytest.mark.parametrize("make", [products, scaled, sweeps, ordered])
@pytest.mark.parametrize("memory", ["600 KiB", "4 MiB"])
def test_all_devices_take_part(make: Callable[[], ga.NDArray], memory: str) -> None:
    settings = {"device_memory": memory, "host_memory": "64 MiB", "threads": 4, "chunk_bytes": "64 KiB"}
    found = set()
    for name in ("fake", *SEVERAL):
        with ga.config.set(device=name, **settings):
            found.add(make().compute().tobytes())
            engine = executors.current()
            used = [device.counters.allocations for device in devices(engine)]
            assert min(used) > sum(used) / len(used) / 4, used
            check(engine)
    assert len(found) == 1


@pytest.mark.parametrize("sees", [None, ()])
def test_chunks_go_between_devices_with_the_bits_they_have(sees: Any) -> None:
    settings = {"device_memory": "1 MiB", "host_memory": "64 MiB", "threads": 3, "chunk_bytes": "64 KiB"}
    with ga.config.set(device="fake", **settings):
        expected = products().compute().tobytes()
    with ga.config.set(device="fake:0,1", **settings):
        engine = executors.current()
        for device in devices(engine):
            device.sees = sees
        assert products().compute().tobytes() == expected
        copies = sum(device.counters.peer_copies for device in devices(engine))
        assert (copies > 0) == (sees is None)
        moved = [tier.moves_in for tier in engine.executor.memory.states()[:2]]
        assert min(moved) > 0
        check(engine)


def test_neighbours_are_computed_on_one_device() -> None:
    """A chain of tasks over the same chunks passes nothing between devices."""
    settings = {"device_memory": "64 MiB", "host_memory": "64 MiB", "threads": 2, "chunk_bytes": "800 KB"}
    with ga.config.set(device="fake:0,1", **settings):
        engine = executors.current()
        x = ga.asarray(np.arange(1_600_000.0), chunks=100_000).persist()
        y = (x * 2).persist()
        z = (y + x).persist()
        assert all(device.counters.peer_copies == 0 for device in devices(engine))
        held = [tier.held for tier in engine.executor.memory.states()[:2]]
        assert sum(held) == 3 * 8 * 1_600_000
        assert min(held) >= max(held) / 3
        uploads = sum(device.counters.uploaded_nbytes for device in devices(engine))
        assert uploads == 8 * 1_600_000  # what is persisted is read where it is
        np.testing.assert_array_equal(z.compute(), np.arange(1_600_000.0) * 3)
        del x, y, z
        check(engine)


def test_results_that_stay_are_on_the_first_device() -> None:
    settings = {"device_memory": "4 MiB", "host_memory": "64 MiB", "threads": 3, "chunk_bytes": "40 KB"}
    with ga.config.set(device="fake:0,1,2", **settings):
        engine = executors.current()
        kept = scaled().persist()
        for part in (slice(None), slice(90_000, 95_000), slice(4_000, 6_000), slice(0, 0)):
            made = kept[part].compute(device=True)
            assert made._device is devices(engine)[0]
            np.testing.assert_array_equal(engine.backend.to_host(made), np.arange(200_000.0)[part] * 3 + 1)
        del kept, made
        check(engine)


@pytest.mark.parametrize("which", [0, 1])
def test_memory_that_runs_out_at_any_allocation_of_one_device(which: int) -> None:
    with ga.config.set(
        device="fake:0,1", device_memory="512 KiB", host_memory="16 MiB", threads=2, chunk_bytes="40 KB"
    ):
        engine = executors.current()
        device = devices(engine)[which]
        expected = scaled().compute().tobytes()
        for n in range(1, 60, 3):
            device.refused = {device.counters.allocations + n}
            assert scaled().compute().tobytes() == expected
            check(engine)
        device.refused = range(device.counters.allocations + 5, 10**9)
        with pytest.raises(DeviceMemoryError, match=r"device \d memory ran out twice.*lower device_memory") as caught:
            scaled().compute()
        device.refused = ()
        del caught
        check(engine)
        assert scaled().compute().tobytes() == expected


@pytest.mark.parametrize("sees", [None, ()])
def test_memory_that_runs_out_while_chunks_go_between_devices(sees: Any) -> None:
    with ga.config.set(device="fake:0,1", device_memory="1 MiB", host_memory="64 MiB", threads=3, chunk_bytes="64 KiB"):
        engine = executors.current()
        for device in devices(engine):
            device.sees = sees
        expected = products().compute().tobytes()
        for n in range(60, 220, 40):
            for device in devices(engine):
                device.refused = {device.counters.allocations + n}
            assert products().compute().tobytes() == expected
            check(engine)


def test_a_task_that_fits_no_device_is_refused() -> None:
    with (
        ga.config.set(device="fake:0,1", device_memory="64 KiB", host_memory="16 MiB", spill_directory=None),
        pytest.raises(MemoryLimitError, match="device_memory"),
    ):
        ga.linalg.svd(ga.asarray(np.ones((200, 200))))[0].compute()


@pytest.mark.parametrize(
    "name", ["fake:", "fake:0,", "fake:0,0x1", "fake:,1", "fake:01", "cuda:0,,1", "cuda:ALL", "cpu:0,1"]
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ConfigError, match="is no device"):
        ga.config.set(device=name)


def test_a_device_is_named_once() -> None:
    with ga.config.set(device="fake:0,1,0"), pytest.raises(ConfigError, match="names a device twice"):
        ga.ones(10**6).compute()


def test_all_fakes() -> None:
    with ga.config.set(device="fake:all"):
        assert [device.number for device in devices(executors.current())] == [0, 1]
        assert float(ga.ones(10**5, chunks=10**4).sum().compute()) == 10**5
