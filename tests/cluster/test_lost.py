"""What is lost on a cluster, and what then is said and left: schedulers, disks, whole programs; and bad clusters."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed")

from distributed import Client, LocalCluster

import gpuarray as ga
from gpuarray.cluster import active
from gpuarray.cluster.clusters import Cluster
from gpuarray.errors import ClusterError, ConfigError, IncompleteStoreError, SpillError

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning",  # sockets and processes of dask's that are closed a little later
        "ignore::pytest.PytestUnraisableExceptionWarning",
    ),
]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def _what_dask_leaves_open_is_collected_here():
    """Sockets of connections that never came about: not in a test of another file, or as pytest ends."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


DATA = np.random.default_rng(0).standard_normal((700, 900))
SECONDS = 90


@ga.stencil
def heat(u, k):
    return u[0, 0] + k * (u[1, 0] + u[-1, 0] + u[0, 1] + u[0, -1] - 4 * u[0, 0])


@contextlib.contextmanager
def elsewhere(folder):
    """A scheduler and a worker in a process that can be killed: it, and the file with its address."""
    file = folder / "scheduler.json"
    words = ["local", "--workers", "1", "--threads", "1", "--no-dashboard", "--scheduler-file", str(file)]
    with subprocess.Popen(
        [sys.executable, "-m", "gpuarray", "cluster", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            deadline = time.monotonic() + SECONDS
            while not file.exists() or not file.read_text().endswith("\n"):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield process, file
        finally:
            process.kill()


STRUCK = """
import os, signal, sys, time
import numpy as np
import gpuarray as ga
from gpuarray.cluster.events import TaskDone

def slow(block):
    time.sleep(0.02)
    return block * 2

def strike(event):
    global struck
    if isinstance(event, TaskDone) and not struck:
        struck = True
        os.kill(int(sys.argv[2]), int(sys.argv[3]))

struck = False
ga.config.set(compile="never")
cluster = ga.cluster.Cluster(scheduler_file=sys.argv[1], timeout=30, device="cpu")
x = ga.map_blocks(slow, ga.asarray(np.load(sys.argv[4]), chunks=(10, 900)), dtype=float)
with cluster.executor.events.heard_by([strike]):
    try:
        x.to_zarr(sys.argv[5])
    except ga.errors.ClusterError as error:
        print(error, flush=True)
os._exit(0)  # dask would let go of the scheduler in its own time
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "silent"])
def test_a_scheduler_that_is_lost_during_a_run(tmp_path, number):
    """An error before long, and what was written is known to be a part."""
    pytest.importorskip("zarr")
    np.save(tmp_path / "x.npy", DATA)
    written = tmp_path / "x.zarr"
    with elsewhere(tmp_path) as (process, file):
        words = [str(file), str(process.pid), str(int(number)), str(tmp_path / "x.npy"), str(written)]
        done = subprocess.run(
            [sys.executable, "-c", STRUCK, *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    assert re.match(r"the scheduler at tcp://127\.0\.0\.1:[0-9]+ (is gone|did not answer)", done.stdout), done
    with pytest.raises(IncompleteStoreError):
        ga.from_zarr(written)
    ga.asarray(DATA).to_zarr(written, overwrite=True)
    np.testing.assert_array_equal(ga.from_zarr(written).compute(), DATA)


PROGRAM = """
import json, os, signal, sys
import numpy as np
import gpuarray as ga

@ga.stencil
def heat(u, k):
    return u[0, 0] + k * (u[1, 0] + u[-1, 0] + u[0, 1] + u[0, -1] - 4 * u[0, 0])

def die(step, u):
    if step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    ga.config.set(compile="never")
    with ga.cluster.Cluster(n_workers=2, threads_per_worker=1, dashboard=False, device="cpu") as cluster:
        print(json.dumps(list(cluster.client.run(os.getpid).values())), flush=True)
        u = ga.asarray(np.random.default_rng(0).random((60, 50)), chunks=20)
        steps = dict(k=0.1, boundary="fixed", checkpoint=sys.argv[1], checkpoint_every=2)
        ga.iterate(heat, u, steps=8, callback=die, every=1, **steps)
"""


@pytest.mark.parametrize("step", [5])
def test_a_program_that_is_killed_with_its_workers_goes_on_from_its_checkpoint(tmp_path, step):
    """Here in one process, with the bits of a run that nothing happened to; its workers do not outlive it."""
    psutil = pytest.importorskip("psutil")
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "c"), str(step)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    workers = json.loads(done.stdout)
    assert len(workers) == 2
    kept = json.loads((tmp_path / "c" / "state.json").read_text())["step"]
    assert step - 3 < kept <= step
    u = ga.asarray(np.random.default_rng(0).random((60, 50)), chunks=20)
    steps = {"k": 0.1, "boundary": "fixed"}
    got = ga.iterate(heat, u, steps=8, checkpoint=tmp_path / "c", checkpoint_every=2, **steps).compute()
    assert got.tobytes() == ga.iterate(heat, u, steps=8, **steps).compute().tobytes()
    deadline = time.monotonic() + SECONDS
    while any(map(psutil.pid_exists, workers)):
        assert time.monotonic() < deadline, "workers outlive the program that started them"
        time.sleep(0.1)


# A disk that is full


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A file system of 4 MiB."""
    folder = tmp_path_factory.mktemp("small")
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=60)


def test_a_full_disk_fails_what_writes_and_not_what_reads(small):
    limit = 6 << 20
    with Cluster(
        n_workers=1, threads_per_worker=1, dashboard=False, host_memory=limit, spill_directory=small, device="cpu"
    ) as cluster:
        (worker,) = cluster.workers
        kept = ga.asarray(DATA[:400], chunks=(50, 900)).persist()  # 2.7 MiB, in memory
        with pytest.raises(SpillError, match="is full") as caught:
            ga.random.default_rng(0).random((4000, 500), chunks=(50, 500)).persist()  # 15 MiB
        assert str(small) in str(caught.value)
        assert "KiB" in str(caught.value)
        assert caught.value.__notes__[0].startswith("in random")
        # a part of it may be on the disk by now
        np.testing.assert_array_equal(kept.compute(), DATA[:400])
        np.testing.assert_array_equal((kept[::-1] + 1).compute(), DATA[:400][::-1] + 1)
        assert cluster.workers == (worker,), "the worker did not survive"
        tiers = cluster.statistics()[worker]["tiers"]
        assert tiers["host"]["peak"] <= limit


# Clusters that cannot be used


@pytest.fixture(scope="module")
def local():
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
    ) as cluster:
        yield cluster


def test_a_client_that_is_closed(local):
    client = Client(local, set_as_default=False)
    client.close()
    with pytest.raises(ClusterError, match="the Client is 'closed'; make a new one"):
        Cluster(client)
    assert active.current() is None


def test_an_asynchronous_client(local):
    async def use():
        async with Client(local.scheduler_address, asynchronous=True, set_as_default=False) as client:
            with pytest.raises(ConfigError, match="an asynchronous Client cannot be used"):
                Cluster(client)

    asyncio.run(use())
    assert active.current() is None


def test_a_cluster_of_dasks_that_is_closed():
    closed = LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0")
    closed.close()
    with pytest.raises(ClusterError, match=r"LocalCluster.* cannot be used: .*closed.* Make a new one"):
        Cluster(closed, timeout=5)
    assert active.current() is None


def test_a_cluster_without_workers():
    with LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as empty:
        with pytest.raises(ClusterError, match="has no worker; start one: gpuarray cluster worker"):
            Cluster(empty, timeout=5)
        assert active.current() is None


@pytest.mark.filterwarnings("ignore:.*Mismatched versions")
@pytest.mark.parametrize("package", ["python", "numpy"])
def test_a_worker_with_another_version(local, monkeypatch, package):
    from distributed import client as module

    told = module.version_module.get_versions

    def other(*args, **kwargs):
        found = told(*args, **kwargs)
        found["packages"] = {**found["packages"], package: "1.0.0"}
        return found

    # of two in one process, only the client's own versions can be made to differ
    monkeypatch.setattr(module.version_module, "get_versions", other)
    with pytest.raises(ClusterError, match=rf"the worker .* has {package} .*, this process 1\.0; .*install the same"):
        Cluster(local)
    assert active.current() is None


def test_a_worker_without_the_package(local, monkeypatch):
    from gpuarray.cluster.plugin import StorePlugin

    def setup(self, worker):
        raise ModuleNotFoundError("No module named 'gpuarray'")

    monkeypatch.setattr(StorePlugin, "setup", setup)
    with pytest.raises(ClusterError, match=r"cannot take part: .*gpuarray.*Every worker needs this gpuarray"):
        Cluster(local)
    assert active.current() is None


def test_more_workers_than_gpus(monkeypatch):
    monkeypatch.setattr("gpuarray.cluster.clusters.gpu_count", lambda: 2)
    with pytest.raises(ConfigError, match="n_workers=5: there is one worker for each GPU, and 2 of them"):
        Cluster(n_workers=5, device="cuda")
    monkeypatch.setattr("gpuarray.cluster.clusters.gpu_count", lambda: 0)
    with pytest.raises(ConfigError, match="this machine has no GPU"):
        Cluster(n_workers=1, device="cuda")


def test_a_port_that_is_taken():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ClusterError, match=r"could not be started here: .*in use"):
            Cluster(n_workers=1, threads_per_worker=1, dashboard=False, scheduler_port=port, device="cpu")
    assert active.current() is None


def test_a_function_that_fails_on_one_chunk(local):
    def picky(block):
        if block[0, 0] == 42:
            raise ValueError("42 is no good")
        return block

    x = ga.asarray(np.arange(100).reshape(10, 10), chunks=(2, 2))
    with Cluster(local), pytest.raises(ValueError, match="42 is no good") as caught:
        ga.map_blocks(picky, x, dtype=int).compute()
    notes = " ".join(caught.value.__notes__)
    assert "map_blocks(picky)" in notes
    assert "(2, 1)" in notes, "the block is not named"


def twice(block):
    return block * 2


def test_workers_in_this_process():
    """dask hands messages over as they are; what was computed must be nobody else's memory all the same."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0", memory_limit=0
    ) as inproc:
        assert inproc.scheduler_address.startswith("inproc://")
        with Cluster(inproc):
            x = ga.asarray(DATA, chunks=(100, 300))
            got = (x - x.mean(axis=0))[::-1].compute()
            np.testing.assert_array_equal(ga.map_blocks(twice, x, dtype=float).compute(), DATA * 2)
            kept = (ga.asarray(DATA) * 2).persist()
            kept.compute()[...] = 0
            np.testing.assert_array_equal(kept.compute(), DATA * 2)
    np.testing.assert_array_equal(got, (x - x.mean(axis=0))[::-1].compute())
