"""Files larger than the memory that may be used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks import libraries
from benchmarks.rows import Case, Disagreement, Piece, Row, faster, within


def files(case: Case) -> None:
    """Normal numbers of mean 3 and standard deviation 2, in zarr with its own choice of compression."""
    import zarr

    rows, columns, step = case.size.rows, case.size.columns, case.size.chunk
    store = zarr.create_array(case.folder / "x.zarr", shape=(rows, columns), chunks=(step, step), dtype="float64")
    rng = np.random.Generator(np.random.SFC64(0))
    for lo in range(0, rows, step):
        store[lo : lo + step] = 3 + 2 * rng.standard_normal((min(step, rows - lo), columns))


def ours(case: Case) -> Piece:
    ga = libraries.gpuarray()
    import zarr

    zarr.open_array(case.folder / "x.zarr", mode="r")[:1, :1]
    ga.config.set(host_memory=case.size.memory)
    path = case.folder / "x.zarr"

    def call() -> float:
        x = ga.from_zarr(path)
        return float(((x - x.mean()) / x.std()).sum().compute())

    def probe() -> dict[str, float]:
        x = ga.from_zarr(path)
        squares = float((((x - x.mean()) / x.std()) ** 2).sum().compute())
        return {"squares_off": abs(squares / x.size - 1), "limit_bytes": float(ga.config.get().host_memory)}

    return libraries.ours(ga, call, probe=probe)


def dask(case: Case) -> Piece:
    da = libraries.dask()

    def call() -> float:
        x = da.from_zarr(str(case.folder / "x.zarr"))
        return float(((x - x.mean()) / x.std()).sum().compute())

    return Piece(call)


def loop(case: Case) -> Piece:
    """Two passes over the chunks by hand, a thread for each processor."""
    import zarr

    store = zarr.open_array(case.folder / "x.zarr", mode="r")
    rows, columns, step = case.size.rows, case.size.columns, case.size.chunk
    grid = [(i, j) for i in range(0, rows, step) for j in range(0, columns, step)]

    def block(k: int) -> Any:
        i, j = grid[k]
        return store[i : i + step, j : j + step]

    def moments(k: int, _: int) -> tuple[int, float, float]:
        x = block(k)
        mean = float(x.mean())
        x -= mean
        return x.size, mean, float(np.square(x, out=x).sum())

    def call() -> float:
        parts = libraries.in_threads(moments, len(grid), 1)
        total = sum(n for n, _, _ in parts)
        mean = math.fsum(n * m for n, m, _ in parts) / total
        spread = math.fsum(s + n * (m - mean) ** 2 for n, m, s in parts)
        deviation = math.sqrt(spread / total)

        def standardised(k: int, _: int) -> float:
            x = block(k)
            x -= mean
            x /= deviation
            return float(x.sum())

        return math.fsum(libraries.in_threads(standardised, len(grid), 1))

    return Piece(call)


def check(values: Mapping[str, Any], case: Case) -> None:
    """The sum is zero but for rounding; the sum of squares, which is not, is among gpuarray's targets."""
    for who, value in values.items():
        if not abs(value) < 1e-9 * case.size.rows * case.size.columns:
            raise Disagreement(f"{who}: the standardised numbers add up to {value}")


ROWS = [
    Row(
        "standardise-file",
        "((x - x.mean()) / x.std()).sum(), x of {gb} GB in zarr, host_memory={memory!r}",
        {"gpuarray": ours, "dask": dask, "NumPy block loop": loop},
        full={"rows": 30_000, "columns": 25_000, "chunk": 2500, "gb": 6, "memory": "500 MiB"},
        quick={"rows": 5_000, "columns": 5_000, "chunk": 1000, "gb": 0.2, "memory": "100 MiB"},
        targets=(
            faster("dask", 2),
            within("peak_bytes", 1.1 * (500 << 20)),
            within("engine_bytes", 500 << 20),
            within("squares_off", 1e-9),
        ),
        check=check,
        files=files,
        notes="dask has no limit and keeps the whole array",
    ),
]
