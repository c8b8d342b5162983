"""Programs on a device: its memory is kept to, whatever fails, and nothing is done that a GPU would not forgive."""

from __future__ import annotations

import gc
import random
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray import config, executors
from gpuarray.errors import DeviceMemoryError, MemoryLimitError
from gpuarray.executors import Engine
from gpuarray.graph.leaves import Source
from gpuarray.graph.node import toposort
from gpuarray.kernels.backends.fake import Fake
from gpuarray.plan.block import ahead
from tests.engine.programs import Program
from tests.engine.test_plan import plan_of
from tests.engine.test_random_programs import compare

BATCH = 40


@pytest.fixture(autouse=True)
def _device_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The engine alone keeps the limit. A device that refused more would hide that it is asked for: tasks try twice."""

    def make(settings: config.Settings, make: Any = executors.make) -> Engine:
        engine = make(settings)
        assert isinstance(engine.backend, Fake)
        engine.backend.limit = None
        return engine

    monkeypatch.setattr(executors, "make", make)
    executors._engines.clear()
    yield
    executors._engines.clear()


def check(engine: Engine) -> None:
    """The limit was kept, and nothing is left."""
    gc.collect()
    device, memory = engine.backend, engine.executor.memory
    assert device.counters.peak_nbytes <= engine.limit
    assert device.hazards == []
    assert device.counters.used_nbytes == 0
    assert all(tier.held == tier.reserved == 0 for tier in memory.states())
    assert all(tier.limit is None or tier.peak <= tier.limit for tier in memory.states())
    assert device.counters.peak_pinned_nbytes <= memory.staging.nbytes <= memory.states()[1].limit // 16


@pytest.mark.parametrize("first", range(0, 200, BATCH))
def test_random_programs(first: int) -> None:
    for seed in range(first, first + BATCH):
        r = random.Random(seed)
        settings = {
            "device": "fake",
            "device_memory": r.choice(["64 KiB", "100 KB", "256 KiB", "1 MiB"]),
            "host_memory": r.choice(["512 KiB", "2 MiB", "64 MiB"]),
            "threads": r.choice([1, 2, 3]),
        }
        with warnings.catch_warnings(), ga.config.set(**settings):
            warnings.simplefilter("ignore", RuntimeWarning)
            program = Program(seed)
            x, expected = program.result
            engine = executors.current()
            try:
                compare(x.compute(), expected, program.text)
                del x, program
                check(engine)
            except Exception as error:
                error.add_note(f"seed {seed}, {settings}")
                raise


def spilling() -> ga.NDArray:
    a = np.random.default_rng(0).standard_normal((60, 50))
    x = ga.asarray(a, chunks=(30, 50))
    y = x - x.mean(axis=0)
    return (y @ y.T)[::2] + y.sum(axis=1)


@pytest.mark.parametrize("threads", [1, 3])
def test_memory_that_runs_out_at_any_allocation(threads: int) -> None:
    with ga.config.set(device="fake", device_memory="100 KiB", threads=threads):
        engine = executors.current()
        device = engine.backend
        expected = spilling().compute().tobytes()
        count = device.counters.allocations
        assert count > 30
        for n in range(1, count + 1, threads):
            device.refused = {device.counters.allocations + n}
            assert spilling().compute().tobytes() == expected
            check(engine)
        for n in range(1, count + 1, 3 * threads):
            start = device.counters.allocations + n
            device.refused = range(start, start + 10**6)
            with pytest.raises(DeviceMemoryError, match=r"ran out twice, although only .* are held") as caught:
                spilling().compute()
            assert re.search(r"limit: 100 KiB\) and .* were moved out; lower device_memory", str(caught.value))
            assert any("task" in note for note in caught.value.__notes__)
            device.refused = ()
            del caught
            check(engine)
        assert spilling().compute().tobytes() == expected


@pytest.mark.parametrize("count", [1, 2, 7])
def test_sources_of_one_step_are_all_uploaded_ahead(count: int) -> None:
    """A fused step reads all of them at once: having them early takes no more. (`Serial` checks that it does not.)"""
    arrays = [ga.asarray(np.full((40, 40), k), chunks=20) for k in range(count)]
    plan = plan_of(sum(arrays[1:], arrays[0]) + 1)
    for task in plan.tasks():
        block = task.work._block()
        assert len(block.sources()) == count
        assert set(ahead(block)) == set(block.sources())


def test_a_source_that_is_read_late_waits_where_there_is_no_room() -> None:
    a, b = (ga.asarray(np.ones((64, 64)), chunks=64) for _ in range(2))
    (task,) = plan_of(ga.concatenate([a, a]).cumsum(axis=0)[:64] + b).tasks()
    block = task.work._block()
    assert len(ahead(block)) < len(block.sources())


@pytest.mark.parametrize("kind", ["npy", "fortran", "swapped", "raw zarr", "zarr"])
def test_files_go_through_pinned_memory(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where parts of a file can be read as they are, they are read into pinned memory, and held nowhere else."""
    a = np.random.default_rng(0).standard_normal((90, 70))
    path = str(tmp_path / "x")
    if "zarr" in kind:
        zarr = pytest.importorskip("zarr")
        codecs = {"compressors": None} if kind == "raw zarr" else {}
        made = zarr.create_array(path, shape=a.shape, chunks=(40, 30), dtype=a.dtype, **codecs)
        made[...] = a
        x = ga.from_zarr(path)
    else:
        np.save(path, {"npy": a, "fortran": np.asfortranarray(a), "swapped": a.astype(">f8")}[kind])
        x = ga.from_npy(path + ".npy", chunks=(50, 30))
    reads = []
    reader = type(next(leaf.reader for leaf in toposort(x.node) if isinstance(leaf, Source)))
    read = reader.read
    monkeypatch.setattr(reader, "read", lambda self, region: reads.append(region) or read(self, region))
    with ga.config.set(device="fake", device_memory="64 KiB", host_memory="1 MiB"):
        for view in ((), (slice(None, None, -3), slice(1, None, 2)), (5,), (slice(7, 8), slice(60, 70))):
            np.testing.assert_array_equal((x + 1)[view].compute(), (a + 1)[view])
        assert float((x * 2).sum().compute()) == pytest.approx(2 * a.sum())
        check(executors.current())
    assert bool(reads) == (kind == "zarr")


def test_results_that_leave_no_room_for_pinned_memory_are_refused_before_the_run() -> None:
    with ga.config.set(device="fake", device_memory="64 KiB", host_memory="1 MiB"):
        engine = executors.current()
        assert engine.host_limit == (1 << 20) - (1 << 16)
        fits = engine.host_limit // 8 - 1024  # a task reads and writes no more than 8 KiB at once
        assert (ga.asarray(np.ones(fits), chunks=500) + 1).compute().sum() == 2 * fits
        x = ga.asarray(np.ones(engine.host_limit // 8 + 1), chunks=500) + 1
        before = engine.backend.counters.uploads
        with pytest.raises(ga.errors.MemoryLimitError, match="host_memory"):
            x.compute()
        assert engine.backend.counters.uploads == before
        del x
        check(engine)


def test_what_is_persisted_on_a_device_is_read_there() -> None:
    a = np.random.default_rng(0).standard_normal((60, 50))
    with ga.config.set(device="fake", device_memory="256 KiB", threads=2):
        engine = executors.current()
        c = engine.backend.counters
        x = (ga.asarray(a, chunks=(20, 25)) + 1).persist()
        moved = c.uploaded_nbytes, c.downloaded_nbytes
        for view in ((), (slice(5, 55, 3), slice(None, None, -2)), (slice(20, 40), slice(0, 25))):
            assert float((x[view] * 2).sum().compute()) == pytest.approx(2 * (a + 1)[view].sum())
        assert c.uploaded_nbytes == moved[0]
        assert c.downloaded_nbytes < moved[1] + 1000
        np.testing.assert_array_equal((x + x).compute(), (a + 1) * 2)
        np.testing.assert_array_equal(x.compute(), a + 1)
        y = x.persist()  # chunks of its own
        assert c.uploaded_nbytes == moved[0]
        del x
        gc.collect()
        np.testing.assert_array_equal(y.compute(), a + 1)
        del y
        check(engine)


def test_what_is_persisted_and_spilled_is_read_from_where_it_is() -> None:
    """Chunks that tasks read on the device stay there meanwhile; the others come through the host."""
    a = np.random.default_rng(0).standard_normal((150, 100))
    with ga.config.set(device="fake", device_memory="100 KB", host_memory="2 MiB", threads=3):
        engine = executors.current()
        x = (ga.asarray(a, chunks=(10, 100)) + 1).persist()
        for _ in range(3):
            np.testing.assert_array_equal((x * 2).compute(), (a + 1) * 2)
            np.testing.assert_allclose((x @ x.T).compute(), (a + 1) @ (a + 1).T)
            np.testing.assert_array_equal(x[::-2].compute(), (a + 1)[::-2])
        assert engine.executor.memory.states()[1].moves_in > 0
        del x
        check(engine)


def test_a_result_that_stays_is_refused_or_has_room_made_for_it() -> None:
    with ga.config.set(device="fake", device_memory="1 MiB", host_memory="16 MiB"):
        engine = executors.current()
        with pytest.raises(MemoryLimitError, match=r"takes 6\.1 MiB of device memory, more than the limit of 1 MiB"):
            ga.ones((400, 2000)).compute(device=True)
        x = ga.asarray(
            np.arange(90_000.0).reshape(300, 300), chunks=100
        )  # in chunks and in one piece: too much at once
        made = (x + 1).compute(device=True)
        assert (engine.backend.to_host(made) == np.arange(1.0, 90_001).reshape(300, 300)).all()
        assert engine.backend.counters.peak_nbytes <= 2**20
        del made
        check(engine)
