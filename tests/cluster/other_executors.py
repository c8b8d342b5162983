"""A program that runs on an executor of another library; `test_other_executors` starts it in a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import gpuarray as ga


@contextmanager
def loky() -> Iterator[Any]:
    from loky import ProcessPoolExecutor

    with ProcessPoolExecutor(2) as pool:
        yield pool


@contextmanager
def mpi4py() -> Iterator[Any]:
    """Started by ``mpiexec -n 3 python -m mpi4py.futures``: one process asks, two work."""
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as pool:
        yield pool


@contextmanager
def ipyparallel() -> Iterator[Any]:
    import ipyparallel

    with ipyparallel.Cluster(n=2, log_level=40) as client:
        client.wait_for_engines(2, timeout=60)
        yield client.executor()


@contextmanager
def distributed() -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1") as cluster,
        Client(cluster) as client,
    ):
        yield client.get_executor()


def process(block: Any) -> Any:
    return np.full_like(block, os.getpid())


def check(pool: Any) -> None:
    """Halos, a tree of sums and chunks of several sizes; every task in a process of the pool's."""
    x = ga.random.default_rng(0).random((301, 200), chunks=(64, 90))
    x[0] = np.nan
    wanted = [ga.nansum((x - x[-1]) ** 2, axis=0), ga.gradient(x, axis=1)[::7]]
    here = [y.compute() for y in wanted]
    with ga.config.set(executor=pool):
        there = ga.compute(*wanted)
        who = ga.map_blocks(process, x, dtype=float).compute()
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)
    assert os.getpid() not in who
    print(f"the same bits, from {len(np.unique(who))} processes")


def ray() -> None:
    """Ray has no executor of the standard's: dask's graphs run on it, and ours by way of them."""
    import dask
    import dask.array as da
    import ray
    from ray.util.dask import ray_dask_get

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        x = ga.random.default_rng(0).random((301, 200), chunks=(64, 90))
        y = ((x - x[-1]) ** 2).sum(axis=0)
        np.testing.assert_array_equal(y.to_dask().compute(scheduler=ray_dask_get), y.compute())
        who = ga.map_blocks(process, x, dtype=float).to_dask().compute(scheduler=ray_dask_get)
        assert os.getpid() not in who
        with dask.config.set(scheduler=ray_dask_get):
            z = ga.from_dask(da.arange(10, chunks=3).map_blocks(process, dtype=int)).compute()
        assert os.getpid() not in z
    finally:
        ray.shutdown()
    print("the same bits, from Ray's processes")


if __name__ == "__main__":
    if sys.argv[1] == "ray":
        ray()
    else:
        with globals()[sys.argv[1]]() as pool:
            check(pool)
