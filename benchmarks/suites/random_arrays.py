"""Arrays of random numbers that are never stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks import libraries
from benchmarks.rows import Case, Disagreement, Piece, Row, close, faster, within

# exp(random).sum()


def exp_ours(case: Case) -> Piece:
    ga = libraries.gpuarray()
    shape = (case.size.n, case.size.n)
    return libraries.ours(ga, lambda: float(ga.exp(ga.random.default_rng(0).random(shape)).sum().compute()))


def exp_dask(case: Case) -> list[Piece]:
    da, n = libraries.dask(), case.size.n

    def make(side: int) -> Any:
        def call() -> float:
            return float(da.exp(da.random.default_rng(0).random((n, n), chunks=(side, side))).sum().compute())

        return call

    return libraries.settings(make, (500, 1000, 2000, 4000), "chunks")


def exp_numpy(case: Case) -> Piece:
    n = case.size.n
    return Piece(lambda: float(np.exp(np.random.default_rng(0).random((n, n))).sum()))


def exp_jax(case: Case) -> Piece:
    jax, n = libraries.jax(), case.size.n
    work = jax.jit(lambda key: jax.numpy.exp(jax.random.uniform(key, (n, n), "float64")).sum())
    return Piece(lambda: float(work(jax.random.key(0))))


def exp_loop(case: Case) -> Piece:
    """A block loop in NumPy as an expert writes it: threads, buffers used again."""
    total, step = case.size.n**2, 1 << 17

    def part(lo: int, hi: int) -> float:
        rng, buffer, found = np.random.Generator(np.random.SFC64(lo)), np.empty(step), 0.0
        for at in range(lo, hi, step):
            block = buffer[: min(step, hi - at)]
            rng.random(out=block)
            found += float(np.exp(block, out=block).sum())
        return found

    return Piece(lambda: math.fsum(libraries.in_threads(part, total, -(-total // libraries.threads()))))


def exp_check(values: Mapping[str, Any], case: Case) -> None:
    """Everybody draws other numbers: six standard deviations of the sum."""
    total = case.size.n**2
    variance = (math.e**2 - 1) / 2 - (math.e - 1) ** 2
    close(values, (math.e - 1) * total, 6 * math.sqrt(variance * total))


# x + x.T


def transposed_ours(case: Case) -> Piece:
    ga = libraries.gpuarray()
    n, skip = case.size.n, case.size.skip

    def call() -> Any:
        x = ga.random.default_rng(0).random((n, n))
        y = x + x.T
        return y[::2, skip:].mean(axis=1).compute()

    return libraries.ours(ga, call)


def transposed_dask(case: Case) -> list[Piece]:
    da, n, skip = libraries.dask(), case.size.n, case.size.skip

    def make(side: int) -> Any:
        def call() -> Any:
            x = da.random.default_rng(0).random((n, n), chunks=(side, side))
            y = x + x.T
            return y[::2, skip:].mean(axis=1).compute()

        return call

    return libraries.settings(make, (500, 1000, 2000, 4000), "chunks")


def transposed_numpy(case: Case) -> Piece:
    n, skip = case.size.n, case.size.skip

    def call() -> Any:
        x = np.random.default_rng(0).random((n, n))
        y = x + x.T
        return y[::2, skip:].mean(axis=1)

    return Piece(call)


def transposed_check(values: Mapping[str, Any], case: Case) -> None:
    """Every mean is that of 2 (n - skip) uniform numbers; their spread shows that rows are neither shared nor lost."""
    columns = case.size.n - case.size.skip
    sigma = math.sqrt(2 / 12 / columns)
    for who, rows in values.items():
        if rows.shape != ((case.size.n + 1) // 2,):
            raise Disagreement(f"{who}: shape {rows.shape}")
        if not (np.abs(rows - 1) < 7 * sigma).all() or not 0.85 < rows.std() / sigma < 1.15:
            raise Disagreement(f"{who}: means from {rows.min()} to {rows.max()}, spread {rows.std() / sigma:.3f}")


# pi


def pi_ours(case: Case) -> Piece:
    ga, n = libraries.gpuarray(), case.size.n

    def call() -> float:
        rng = ga.random.default_rng(0)
        x, y = rng.random(n), rng.random(n)
        return float(4 * (x**2 + y**2 < 1).mean().compute())

    return libraries.ours(ga, call)


def pi_dask(case: Case) -> list[Piece]:
    da, n = libraries.dask(), case.size.n

    def make(size: int) -> Any:
        def call() -> float:
            rng = da.random.default_rng(0)
            x, y = rng.random(n, chunks=size), rng.random(n, chunks=size)
            return float(4 * (x**2 + y**2 < 1).mean().compute())

        return call

    return libraries.settings(make, (250_000, 1_000_000, 4_000_000, 16_000_000), "chunks")


def pi_numpy(case: Case) -> Piece:
    n = case.size.n

    def call() -> float:
        rng = np.random.default_rng(0)
        x, y = rng.random(n), rng.random(n)
        return float(4 * (x**2 + y**2 < 1).mean())

    return Piece(call)


def pi_numba(case: Case) -> Piece:
    """The loop of the textbook, compiled, in one thread for each processor."""
    import numba

    @numba.njit(nogil=True)
    def inside(seed: int, count: int) -> int:
        np.random.seed(seed)
        found = 0
        for _ in range(count):
            x, y = np.random.random(), np.random.random()
            if x * x + y * y < 1:
                found += 1
        return found

    inside(0, 1)
    n = case.size.n
    part = -(-n // libraries.threads())
    return Piece(lambda: 4 * sum(libraries.in_threads(lambda lo, hi: inside(lo, hi - lo), n, part)) / n)


def pi_check(values: Mapping[str, Any], case: Case) -> None:
    close(values, math.pi, 6 * math.sqrt(math.pi * (4 - math.pi) / case.size.n))


ROWS = [
    Row(
        "exp-random-sum",
        "exp(random(({n}, {n}))).sum()",
        {"gpuarray": exp_ours, "dask": exp_dask, "NumPy": exp_numpy, "JAX": exp_jax, "NumPy block loop": exp_loop},
        full={"n": 20_000},
        quick={"n": 4_000},
        targets=(faster("dask", 2.5), faster("NumPy", 5), within("engine_bytes", 300e6)),
        check=exp_check,
    ),
    Row(
        "transposed-mean",
        "x = random(({n}, {n})); y = x + x.T; y[::2, {skip}:].mean(axis=1)",
        {"gpuarray": transposed_ours, "dask": transposed_dask, "NumPy": transposed_numpy},
        full={"n": 20_000, "skip": 1000},
        quick={"n": 4_000, "skip": 1000},
        targets=(faster("dask", 1.5), within("engine_bytes", 300e6), within("peak_bytes", 300e6)),
        check=transposed_check,
    ),
    Row(
        "transposed-mean-80gb",
        "x = random(({n}, {n})); y = x + x.T; y[::2, {skip}:].mean(axis=1)",
        {"gpuarray": transposed_ours},
        full={"n": 100_000, "skip": 1000},
        quick={"n": 10_000, "skip": 1000},
        targets=(within("engine_bytes", 300e6), within("peak_bytes", 300e6)),
        check=transposed_check,
        once=True,
        notes="80 GB of float64 that are never stored",
    ),
    Row(
        "pi",
        "4 * (x**2 + y**2 < 1).mean(), {n:.0e} points",
        {"gpuarray": pi_ours, "dask": pi_dask, "NumPy": pi_numpy, "Numba by hand": pi_numba},
        full={"n": 10**8},
        quick={"n": 10**7},
        targets=(faster("dask", 2), within("engine_bytes", 300e6)),
        check=pi_check,
    ),
]
