"""Two workers of one thread each on this machine: gpuarray and dask.array on the same dask.distributed.

Each way has the cluster open before it is timed; so is dask's default memory management, and ours, left as it is.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks import libraries
from benchmarks.rows import Case, Disagreement, Piece, Row, Timed, close, faster, within
from benchmarks.suites.out_of_core import files
from benchmarks.worker import Memory

LENGTH = 10
"""Elements of each of many small chunks."""
K = 0.1
WORKERS = 2


def open_ours(**options: Any) -> tuple[Any, Any]:
    """gpuarray with a cluster open, whose workers have loaded the compiler."""
    ga = libraries.gpuarray()
    may_have_children()
    cluster = ga.cluster.Cluster(n_workers=WORKERS, threads_per_worker=1, dashboard=False, device="cpu", **options)
    atexit.register(cluster.close)
    with ga.config.set(compile="always"):
        (ga.random.default_rng(0).random((2000, 2000), chunks=500) * 2.5).sum().compute()
    return ga, cluster


def open_dask(**options: Any) -> tuple[Any, Any]:
    """dask.array with a client of a LocalCluster, which it uses by default."""
    import dask.array as da
    from distributed import Client, LocalCluster

    may_have_children()
    cluster = LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address="127.0.0.1:0", **options)
    client = Client(cluster)
    da.ones(10, chunks=5).sum().compute()
    return da, client


def may_have_children() -> None:
    """Pieces run in daemons, which multiprocessing lets have no children; workers end when they lose their parent."""
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]


class Count:
    """Counts tasks, of all and of each stage."""

    def __init__(self) -> None:
        self.tasks = 0
        self.by_stage: Counter[int] = Counter()

    def __call__(self, event: Any) -> None:
        from gpuarray.cluster.events import TaskDone

        if isinstance(event, TaskDone):
            self.tasks += 1
            self.by_stage[event.key[0]] += 1


def fetched(cluster: Any) -> float:
    """Bytes that workers have had from each other."""
    return float(sum(s["fetched"] for s in cluster.statistics().values()))


# Many small chunks


def chunks_ours(case: Case) -> Piece:
    ga, cluster = open_ours()
    n = case.size.chunks

    def call() -> float:
        x = ga.arange(n * LENGTH, dtype="float64", chunks=LENGTH)
        return float((x + 1).sum().compute())

    def probe() -> dict[str, float]:
        count = Count()
        with cluster.executor.events.heard_by([count]):
            call()
        # dask.array has a task for each chunk, at least
        return {"tasks": float(count.tasks), "tasks_of_dasks": count.tasks / n}

    return Piece(call, probe=probe)


def chunks_dask(case: Case) -> Piece:
    da, _ = open_dask()
    n = case.size.chunks
    return Piece(lambda: float((da.arange(n * LENGTH, dtype="float64", chunks=LENGTH) + 1).sum().compute()))


def check_chunks(values: Mapping[str, Any], case: Case) -> None:
    n = case.size.chunks * LENGTH
    close(values, n * (n + 1) / 2, 1e-6 * n * n)


# Heat


def start(case: Case) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).random((case.size.n, case.size.n))


def heat_ours(case: Case) -> Piece:
    ga, cluster = open_ours()
    call = steps_of(ga, case)

    def probe() -> dict[str, float]:
        before, count = fetched(cluster), Count()
        with cluster.executor.events.heard_by([count]):
            call()
        got = fetched(cluster) - before
        # the halo of every chunk, one thick, as often as there are steps, is at least what a halo k thick takes every k
        # steps; its corners are what it may be more
        chunks = max(count.by_stage.values())
        halos = chunks * 4 * (case.size.n / chunks**0.5) * case.size.steps * 8
        return {"fetched_bytes": got, "fetched_of_halos": got / halos}

    return Piece(call, probe=probe)


def heat_local(case: Case) -> Piece:
    ga = libraries.gpuarray()
    ga.config.set(threads=WORKERS)
    return Piece(steps_of(ga, case))


def steps_of(ga: Any, case: Case) -> Any:
    def heat(u: Any, k: Any) -> Any:
        return u[0, 0] + k * (u[1, 0] + u[-1, 0] + u[0, 1] + u[0, -1] - 4 * u[0, 0])

    step = ga.stencil(heat)
    n = case.size.n
    with ga.config.set(compile="always"):  # the workers' kernels
        u = ga.random.default_rng(0).random((1100, 1100))
        ga.iterate(step, u, steps=4, k=K, boundary="periodic").sum().compute()

    def call() -> float:
        u = ga.random.default_rng(0).random((n, n))
        return float(ga.iterate(step, u, steps=case.size.steps, k=K, boundary="periodic").sum().compute())

    return call


def heat_dask(case: Case) -> Piece:
    da, _ = open_dask()
    n = case.size.n

    def step(u: Any) -> Any:
        out = u.copy()
        around = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2]
        out[1:-1, 1:-1] += K * (around - 4 * u[1:-1, 1:-1])
        return out

    def run(steps: int) -> float:
        u = da.random.default_rng(0).random((n, n), chunks=n // 4)
        for _ in range(steps):
            u = da.map_overlap(step, u, depth=1, boundary="periodic")
        return float(u.sum().compute())

    def call() -> Timed:
        """A few steps, and what each more of them takes: all of them would take minutes."""
        taken, cpu = [], []
        few, more = 1, case.size.dask_steps
        for steps in (few, more):
            start, busy = time.perf_counter(), time.process_time()
            value = run(steps)
            taken.append(time.perf_counter() - start)
            cpu.append(time.process_time() - busy)
        ratio = (case.size.steps - few) / (more - few)
        return Timed(value, *(a + ratio * (b - a) for a, b in (taken, cpu)))

    return Piece(call)


def check_heat(values: Mapping[str, Any], case: Case) -> None:
    """Heat is neither lost nor made on a torus: the sum is that of random numbers, whose generators differ."""
    n = case.size.n
    close(values, n * n / 2, 5 * n * (1 / 12) ** 0.5)
    ours = [value for who, value in values.items() if who.startswith("gpuarray")]
    if len(set(ours)) > 1:
        raise Disagreement(f"gpuarray has {ours}: the bits are to be the same on a cluster")


# Files larger than the workers' memory


def standardise_ours(case: Case) -> Piece:
    ga, cluster = open_ours(host_memory=case.size.memory)

    def call() -> float:
        return standardised(ga, case, "ours.zarr")

    def probe() -> dict[str, float]:
        peaks = [s["tiers"]["host"]["peak"] for s in cluster.statistics().values()]
        resident = max(cluster.client.run(resident_peak).values())
        return {"engine_bytes": float(max(peaks)), "process_bytes": float(resident)}

    return Piece(call, probe=probe)


def standardise_killed(case: Case) -> Piece:
    ga, cluster = open_ours(host_memory=case.size.memory)
    expected: list[float] = []

    def call() -> float:
        expected[:] = [standardised(ga, case, "ours.zarr")]
        return expected[0]

    return Piece(call, probe=lambda: killed(ga, cluster, case, expected[0]))


def resident_peak() -> int:
    """The most memory that this process has had."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def standardised(ga: Any, case: Case, name: str) -> float:
    x = ga.from_zarr(case.folder / "x.zarr")
    # in chunks as large as dask's are
    ((x - x.mean()) / x.std()).to_zarr(case.folder / name, chunks=case.size.chunk, overwrite=True)
    return float(ga.from_zarr(case.folder / name)[::100].sum().compute())


def killed(ga: Any, cluster: Any, case: Case, expected: float) -> dict[str, float]:
    """The same with workers killed at random; how many were, and whether the result was another."""
    from gpuarray.cluster.events import TaskDone

    rng, kills = random.Random(0), 0
    due = time.monotonic()
    pids: dict[str, int] = {}

    def kill(event: Any) -> None:
        nonlocal kills, due
        if not isinstance(event, TaskDone) or kills >= case.size.kills or time.monotonic() < due:
            return
        alive = [worker for worker in cluster.executor.hands if worker in cluster.workers]
        if len(alive) < WORKERS:
            return
        worker = rng.choice(alive)
        if worker not in pids:
            pids.update(cluster.client.run(os.getpid, workers=[worker]))
        os.kill(pids[worker], signal.SIGKILL)
        kills, due = kills + 1, time.monotonic() + rng.random()

    runs = wrong = 0
    while kills < case.size.kills:
        with cluster.executor.events.heard_by([kill]):
            wrong += standardised(ga, case, "killed.zarr") != expected or not same_files(
                case, "ours.zarr", "killed.zarr"
            )
        runs += 1
    return {"kills": float(kills), "runs": float(runs), "wrong_results": float(wrong)}


def same_files(case: Case, *names: str) -> bool:
    """Whether two zarr arrays have the same bits."""
    import zarr

    a, b = (zarr.open_array(case.folder / name, mode="r") for name in names)
    step = case.size.chunk
    return all(np.array_equal(a[lo : lo + step], b[lo : lo + step]) for lo in range(0, case.size.rows, step))


def standardise_dask(case: Case) -> Piece:
    da, _ = open_dask(memory_limit=case.size.memory)

    def call() -> float:
        x = da.from_zarr(str(case.folder / "x.zarr"))
        shutil.rmtree(case.folder / "dask.zarr", ignore_errors=True)
        ((x - x.mean()) / x.std()).to_zarr(str(case.folder / "dask.zarr"))
        return float(da.from_zarr(str(case.folder / "dask.zarr"))[::100].sum().compute())

    return Piece(call)


def check_standardised(values: Mapping[str, Any], case: Case) -> None:
    n = case.size.rows * case.size.columns / 100
    close(values, values["gpuarray"], 1e-6 * n)


# A plan of very many tasks


def million(case: Case) -> Piece:
    ga, cluster = open_ours()

    def call() -> float:
        from gpuarray.cluster.events import TaskDone

        memory = Memory()
        memory.reset()
        begin = time.monotonic()
        first: list[float] = []

        def hear(event: Any) -> None:
            if isinstance(event, TaskDone) and not first:
                first.append(time.monotonic() - begin)
                raise Enough

        x = ga.random.default_rng(0).random((case.size.chunks, 1 << 20), chunks=(1, 1 << 20))
        with cluster.executor.events.heard_by([hear]), contextlib.suppress(Enough):
            (x + 1).sum(axis=1).compute()
        # the scheduler is a part of this process, too
        numbers["client_bytes"] = float(memory.peak())
        numbers["first_chunk_seconds"] = first[0]
        return first[0]

    numbers: dict[str, float] = {}
    return Piece(call, probe=lambda: numbers)


class Enough(BaseException):
    """The first chunk is done."""


ROWS = [
    Row(
        "cluster-small-chunks",
        "(x + 1).sum() over {chunks} chunks of 10 numbers, on 2 workers",
        {"gpuarray": chunks_ours, "dask": chunks_dask},
        full={"chunks": 10_000},
        quick={"chunks": 300},
        targets=(faster("dask", 10), within("tasks_of_dasks", 0.1)),
        check=check_chunks,
    ),
    Row(
        "cluster-heat",
        "heat {n}^2, {steps} steps, on 2 workers",
        {"gpuarray": heat_ours, "gpuarray, one process": heat_local, "dask": heat_dask},
        full={"n": 8192, "steps": 200, "dask_steps": 6},
        quick={"n": 1024, "steps": 8, "dask_steps": 3},
        targets=(faster("dask", 10), faster("gpuarray, one process", 0.7), within("fetched_of_halos", 1.1)),
        check=check_heat,
        notes="The sum of the result is taken, so that the state need not come back. dask's time is that of its first "
        "step and of some more, as many times as there are steps.",
        once=True,
    ),
    Row(
        "cluster-standardise-file",
        "((x - x.mean()) / x.std()) to zarr, x of {gb} GB, on 2 workers of {memory}",
        {"gpuarray": standardise_ours, "dask": standardise_dask},
        full={"rows": 20_000, "columns": 20_000, "chunk": 2000, "gb": 3.2, "memory": "400 MB"},
        quick={"rows": 3_000, "columns": 3_000, "chunk": 500, "gb": 0.07, "memory": "100 MB"},
        targets=(faster("dask", 1.5), within("engine_bytes", 400e6)),
        check=check_standardised,
        files=files,
        once=True,
        notes="Data is four times the memory of both workers, which counts all that a process has for dask, and what "
        "it holds and computes with for gpuarray.",
    ),
    Row(
        "cluster-killed-workers",
        "the same with x of {gb} GB, on 2 workers of {memory}, {kills} of which are killed",
        {"gpuarray": standardise_killed},
        full={"rows": 10_000, "columns": 10_000, "chunk": 1000, "gb": 0.8, "memory": "100 MB", "kills": 20},
        quick={"rows": 3_000, "columns": 3_000, "chunk": 500, "gb": 0.07, "memory": "100 MB", "kills": 2},
        targets=(within("wrong_results", 0),),
        files=files,
        once=True,
        notes="At random, again and again until there were so many; the files are compared bit by bit.",
    ),
    Row(
        "cluster-million-chunks",
        "until the first of {chunks} chunks is done",
        {"gpuarray": million},
        full={"chunks": 1_000_000},
        quick={"chunks": 20_000},
        targets=(within("first_chunk_seconds", 2), within("client_bytes", 500e6)),
        once=True,
    ),
]
