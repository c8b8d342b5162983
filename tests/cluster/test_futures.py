"""FuturesExecutor: any executor of the standard's interface."""

from __future__ import annotations

import concurrent.futures as cf
import multiprocessing
import os
import threading

import numpy as np
import pytest

import gpuarray as ga
from gpuarray import config
from gpuarray.cluster.futures import FuturesExecutor, workers_of
from gpuarray.cluster.testing import ExecutorTests
from gpuarray.errors import ClusterError, ConfigError, TaskError

DATA = np.random.default_rng(0).standard_normal((700, 900))


@pytest.fixture(scope="module")
def processes():
    # forking a process that has threads is deprecated
    with cf.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


class TestThreads(ExecutorTests):
    @pytest.fixture(autouse=True)
    def _pool(self):
        with cf.ThreadPoolExecutor(2) as self.pool:
            yield

    def make(self, **options):
        return FuturesExecutor(self.pool, **options)


class TestProcesses(ExecutorTests):
    @pytest.fixture(autouse=True)
    def _pool(self, processes):
        pytest.importorskip("cloudpickle")
        self.pool = processes

    def make(self, **options):
        return FuturesExecutor(self.pool, **options)


class TestProcessesWithinLimits(TestProcesses):
    @pytest.fixture(autouse=True)
    def _folder(self, spill):
        self.folder = spill

    def make(self, **options):
        return FuturesExecutor(self.pool, host_limit=48_000, directory=self.folder, **options)


@ga.stencil
def blur(u):
    return (u[-1, 0] + u[1, 0]) / 2


EXPRESSIONS = {
    "a source": lambda x: x,
    "elementwise": lambda x: ga.exp(x) * 2 + 1,
    "reduced": lambda x: (x - x.mean()).sum(axis=0),
    "transposed": lambda x: x[:, :700] + x[:, :700].T,
    "0-d": lambda x: x.std(),
    "steps": lambda x: ga.iterate(blur, x, steps=6, boundary="reflect", steps_per_visit=2),
    "empty": lambda x: x[:0] + 1,
    "a function": lambda x: ga.map_blocks(lambda block: block * 3, x, dtype=np.float64),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_the_bits_are_those_of_one_process(processes, name):
    pytest.importorskip("cloudpickle")
    x = ga.asarray(DATA, chunks=(100, 300))
    with config.set(compile="never"):
        expected = EXPRESSIONS[name](x).compute()
        with config.set(executor=processes):
            got = EXPRESSIONS[name](x).compute()
            again = (EXPRESSIONS[name](x).persist() + 0).compute()
    assert got.tobytes() == expected.tobytes()
    np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("run", [lambda x, **o: x.compute(**o), lambda x, **o: ga.compute(x, **o)[0]])
def test_compute_takes_an_executor_or_a_scheduler(run):
    def where(block):
        name = threading.current_thread().name
        return block + (1 if name.startswith("mine") else 2 if name == "MainThread" else 3)

    x = ga.map_blocks(where, ga.ones((40, 40), chunks=4), dtype=np.float64)
    with cf.ThreadPoolExecutor(2, thread_name_prefix="mine") as pool:
        np.testing.assert_array_equal(run(x, executor=pool), np.full((40, 40), 2.0))
    np.testing.assert_array_equal(run(x, scheduler="single-threaded"), np.full((40, 40), 3.0))
    with pytest.raises(ConfigError, match="has no method submit"):
        run(x, executor="processes")
    with pytest.raises(ConfigError, match="single-threaded"):
        run(x, scheduler="processes")


def test_zarr_is_written_where_it_is_computed(processes, tmp_path):
    pytest.importorskip("zarr")
    pytest.importorskip("cloudpickle")

    def where(block):
        return np.full(block.shape, float(os.getpid()))

    with config.set(executor=processes):
        ga.map_blocks(where, ga.ones((8, 8), chunks=4), dtype=np.float64).to_zarr(tmp_path / "x.zarr")
    written = set(np.unique(ga.from_zarr(tmp_path / "x.zarr").compute()))
    assert float(os.getpid()) not in written


def test_what_cannot_be_pickled(processes):
    lock = threading.Lock()
    x = ga.map_blocks(lambda block: block + bool(lock), ga.ones((4, 4), chunks=4), dtype=np.float64)
    with config.set(executor=processes), pytest.raises(TaskError, match="cannot be sent to other processes"):
        x.compute()


def test_a_pool_that_is_shut_down():
    pool = cf.ThreadPoolExecutor(1)
    pool.shutdown()
    with config.set(executor=pool), pytest.raises(ClusterError, match="ThreadPoolExecutor takes no more tasks"):
        (ga.asarray(DATA, chunks=100) + 1).compute()


def test_a_worker_that_is_killed():
    pytest.importorskip("cloudpickle")
    context = multiprocessing.get_context("spawn")
    x = ga.map_blocks(lambda block: os._exit(1), ga.ones((4, 4), chunks=4), dtype=np.float64)
    with (
        cf.ProcessPoolExecutor(1, mp_context=context) as pool,
        config.set(executor=pool),
        pytest.raises(ClusterError, match="takes no more tasks"),
    ):
        x.compute()


def test_how_many_workers_there_are():
    with cf.ThreadPoolExecutor(3) as pool:
        assert workers_of(pool) == 3
    assert workers_of(object()) >= 1
    with pytest.raises(ConfigError, match="has no method submit"):
        FuturesExecutor(3)


def test_loky(tmp_path):
    loky = pytest.importorskip("loky")
    pool = loky.ProcessPoolExecutor(max_workers=1)
    try:
        with config.set(executor=pool, compile="never"):
            np.testing.assert_array_equal((ga.asarray(DATA, chunks=300) * 2).compute(), DATA * 2)
    finally:
        pool.shutdown(kill_workers=True)
