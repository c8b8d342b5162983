"""What the engine itself costs: many small chunks, tiny arrays, the import."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import libraries
from benchmarks.rows import Case, Piece, Row, Timed, close, within
from benchmarks.worker import Memory

LENGTH = 10
"""Elements of each of many small chunks."""


def chunks_ours(case: Case) -> Piece:
    ga, n = libraries.gpuarray(), case.size.chunks

    def call() -> float:
        x = ga.arange(n * LENGTH, dtype="float64", chunks=LENGTH)
        return float((x + 1).sum().compute())

    def probe() -> dict[str, float]:
        from gpuarray.cluster.events import TaskStarted
        from gpuarray.executors import current

        started: list[float] = []

        def hear(event: Any) -> None:
            if isinstance(event, TaskStarted) and not started:
                started.append(time.monotonic())

        with current().executor.events.heard_by([hear]):
            begin = time.monotonic()
            call()
        first = started[0] - begin if started else 0.0  # worked out at once, without a task
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
        return {
            "chunk_us": statistics.median(times) / n * 1e6,
            "first_chunk_seconds": first,
            "growth_bytes": float(growth(ga, n)),
        }

    return libraries.ours(ga, call, probe=probe)


def growth(ga: Any, n: int) -> int:
    """How much more memory so many chunks take than a tenth of them."""
    peaks = []
    for count in (n // 10, n):
        memory = Memory()
        memory.reset()
        x = ga.arange(count * LENGTH, dtype="float64", chunks=LENGTH)
        (x + 1).sum().compute()
        peaks.append(memory.peak())
    return peaks[1] - peaks[0]


def chunks_dask(case: Case) -> Piece:
    da, n = libraries.dask(), case.size.chunks

    def call() -> float:
        x = da.arange(n * LENGTH, dtype="float64", chunks=LENGTH)
        return float((x + 1).sum().compute())

    return Piece(call)


def chunks_check(values: Mapping[str, Any], case: Case) -> None:
    n = case.size.chunks * LENGTH
    close(values, n * (n + 1) / 2, 0)


def distinct_ours(case: Case) -> Piece:
    """Chunks that cannot be put together: each is handed to a function of the user's."""
    ga, n = libraries.gpuarray(), case.size.chunks

    def call() -> float:
        x = ga.arange(n * LENGTH, dtype="float64", chunks=LENGTH)
        return float(ga.map_blocks(np.positive, x, dtype="float64").sum().compute())

    def probe() -> dict[str, float]:
        begin = time.perf_counter()
        call()
        return {"chunk_us": (time.perf_counter() - begin) / n * 1e6}

    return libraries.ours(ga, call, probe=probe)


def distinct_dask(case: Case) -> Piece:
    da, n = libraries.dask(), case.size.chunks

    def call() -> float:
        x = da.arange(n * LENGTH, dtype="float64", chunks=LENGTH)
        return float(x.map_blocks(np.positive, dtype="float64").sum().compute())

    return Piece(call)


def distinct_check(values: Mapping[str, Any], case: Case) -> None:
    n = case.size.chunks * LENGTH
    close(values, n * (n - 1) / 2, 0)


def tiny_ours(case: Case) -> Piece:
    import gpuarray as ga

    x = ga.asarray(np.arange(case.size.n, dtype=np.float64))
    return Piece(lambda: float((x + 1).sum().compute()), loops=300)


def tiny_dask(case: Case) -> Piece:
    da = libraries.dask()
    x = da.from_array(np.arange(case.size.n, dtype=np.float64))
    return Piece(lambda: float((x + 1).sum().compute(scheduler="sync")), loops=20)


def tiny_numpy(case: Case) -> Piece:
    x = np.arange(case.size.n, dtype=np.float64)
    return Piece(lambda: float((x + 1).sum()), loops=3000)


def tiny_jax(case: Case) -> Piece:
    jax = libraries.jax()
    x = jax.numpy.arange(case.size.n, dtype="float64")
    return Piece(lambda: float((x + 1).sum()), loops=300)


def tiny_check(values: Mapping[str, Any], case: Case) -> None:
    close(values, case.size.n * (case.size.n + 1) / 2, 0)


_IMPORT = """
import json, sys, time
wall, cpu = time.perf_counter(), time.process_time()
import {module}
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
found = [m for m in ("numba", "dask", "distributed", "zarr", "h5py", "cupy", "matplotlib") if m in sys.modules]
print(json.dumps([wall, cpu, found]))
"""


def importing(module: str) -> Any:
    """A setup that imports a module in a fresh interpreter each time."""

    def once() -> tuple[float, float, list[str]]:
        code = _IMPORT.format(module=module)
        root = Path(__file__).resolve().parents[2]
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root)
        if done.returncode:
            raise ImportError(done.stderr.strip().splitlines()[-1])
        wall, cpu, found = json.loads(done.stdout)
        return wall, cpu, found

    def setup(case: Case) -> Piece:
        def call() -> Timed:
            wall, cpu, _ = once()
            return Timed(0.0, wall, cpu)

        return Piece(call, probe=lambda: {"heavy_modules": float(len(once()[2]))})

    return setup


def _needs(name: str, setup: Any) -> Any:
    def checked(case: Case) -> Piece:
        from importlib.util import find_spec

        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return setup(case)

    return checked


_CHUNK_TARGETS = (within("chunk_us", 20), within("first_chunk_seconds", 0.2), within("growth_bytes", 10e6))

ROWS = [
    Row(
        "chunks-10k",
        "(x + 1).sum(), {chunks:,} chunks of 10 numbers",
        {"gpuarray": chunks_ours, "dask": chunks_dask},
        full={"chunks": 10_000},
        quick={"chunks": 1_000},
        targets=_CHUNK_TARGETS,
        check=chunks_check,
    ),
    Row(
        "chunks-100k",
        "(x + 1).sum(), {chunks:,} chunks of 10 numbers",
        {"gpuarray": chunks_ours, "dask": chunks_dask},
        full={"chunks": 100_000},
        quick={"chunks": 3_000},
        targets=_CHUNK_TARGETS,
        check=chunks_check,
    ),
    Row(
        "distinct-chunks",
        "map_blocks(positive, x).sum(), {chunks:,} chunks of 10 numbers",
        {"gpuarray": distinct_ours, "dask": distinct_dask},
        full={"chunks": 10_000},
        quick={"chunks": 500},
        check=distinct_check,
        notes="one task for each chunk: nothing may be put together",
    ),
    Row(
        "tiny",
        "(x + 1).sum(), {n} numbers",
        {"gpuarray": tiny_ours, "dask": tiny_dask, "NumPy": tiny_numpy, "JAX": tiny_jax},
        full={"n": 10},
        quick={"n": 10},
        targets=(within("wall_seconds", 300e-6),),
        check=tiny_check,
    ),
    Row(
        "import",
        "import",
        {
            "gpuarray": importing("gpuarray"),
            "NumPy": importing("numpy"),
            "dask": _needs("dask", importing("dask.array")),
            "JAX": _needs("jax", importing("jax.numpy")),
            "Numba": importing("numba"),
        },
        full={},
        quick={},
        targets=(within("wall_seconds", 0.4), within("heavy_modules", 0)),
        notes="in a fresh interpreter each time, its files in the file cache",
    ),
]
