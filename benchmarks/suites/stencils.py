"""Stencils: one step, many steps in memory, and a state larger than the limit."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks import libraries
from benchmarks.rows import Case, Disagreement, Piece, Row, Timed, faster

K = 0.1


def digest(array: np.ndarray) -> str:
    """The bits of a result, short."""
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=8).hexdigest()


def same_bits(values: Mapping[str, Any], case: Case) -> None:
    """Raise `Disagreement` unless all who did the same steps have the same bits."""
    found = {who: value for who, value in values.items() if isinstance(value, str)}
    if len(set(found.values())) > 1:
        raise Disagreement(f"the results differ in some bits: {found}")


def scaled(steps: int, full: int, work: Callable[[int], Any]) -> Callable[[], Timed | Any]:
    """Work of fewer steps than the others do, its time multiplied; its result is not comparable."""

    def call() -> Timed:
        wall, cpu = time.perf_counter(), time.process_time()
        work(steps)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Timed(None, wall * full / steps, cpu * full / steps)

    return call


# The plate: a square of which one edge is hot, and fixed.


def plate(case: Case) -> np.ndarray:
    n = case.size.n
    u = np.zeros((n, n))
    u[0], u[-1], u[:, 0], u[:, -1] = 100, 0, 0, 30
    return u


def stencil(ga: Any) -> Any:
    def heat(u: Any, k: Any) -> Any:
        return u[0, 0] + k * (u[1, 0] + u[-1, 0] + u[0, 1] + u[0, -1] - 4 * u[0, 0])

    return ga.stencil(heat)


def ours(case: Case) -> Piece:
    ga = libraries.gpuarray()
    heat = stencil(ga)
    u = ga.asarray(case.arrays)
    return libraries.ours(ga, lambda: digest(ga.iterate(heat, u, steps=case.size.steps, k=K).compute()))


def ours_one_thread(case: Case) -> Piece:
    ga = libraries.gpuarray()
    ga.config.set(threads=1)
    return ours(case)


def ours_single_steps(case: Case) -> Piece:
    """One step per pass over memory, as often; its result has the same bits."""
    ga = libraries.gpuarray()
    heat = stencil(ga)
    u = ga.asarray(case.arrays)

    def call() -> str:
        return digest(ga.iterate(heat, u, steps=case.size.steps, k=K, steps_per_visit=1).compute())

    return Piece(call)


def step_numpy(u: np.ndarray, new: np.ndarray) -> None:
    new[1:-1, 1:-1] = u[1:-1, 1:-1] + K * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])


def steps_numpy(u: np.ndarray, steps: int) -> np.ndarray:
    u, new = u.copy(), u.copy()
    for _ in range(steps):
        step_numpy(u, new)
        u, new = new, u
    return u


def numpy(case: Case) -> Piece:
    if case.size.numpy_steps == case.size.steps:
        return Piece(lambda: digest(steps_numpy(case.arrays, case.size.steps)))
    return Piece(
        scaled(case.size.numpy_steps, case.size.steps, lambda steps: steps_numpy(case.arrays, steps)),
        variant=f"{case.size.numpy_steps} steps",
    )


def numba_by_hand(case: Case) -> Piece:
    """The loop a user would write, a thread per processor over blocks of rows."""
    import numba

    @numba.njit(nogil=True)
    def rows(u: Any, new: Any, lo: int, hi: int) -> None:
        for i in range(lo, hi):
            for j in range(1, u.shape[1] - 1):
                new[i, j] = u[i, j] + K * (u[i + 1, j] + u[i - 1, j] + u[i, j + 1] + u[i, j - 1] - 4 * u[i, j])

    u, new = case.arrays.copy(), case.arrays.copy()
    n = len(u)
    rows(u, new, 1, 2)
    part = -(-(n - 2) // libraries.threads())

    def call() -> str:
        a, b = u, new
        a[:] = case.arrays
        b[:] = case.arrays
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(case.size.steps):
            libraries.in_threads(lambda lo, hi, a=a, b=b: rows(a, b, 1 + lo, 1 + hi), n - 2, part)
            a, b = b, a
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        return Timed(digest(a), wall, cpu)  # type: ignore[return-value]

    return Piece(call)


def dask_delayed(case: Case) -> Piece:
    """The textbook's way: a delayed step at a time."""
    import dask

    @dask.delayed
    def step(u: np.ndarray) -> np.ndarray:
        new = u.copy()
        step_numpy(u, new)
        return new

    def work(steps: int) -> np.ndarray:
        u = case.arrays
        for _ in range(steps):
            u = step(u).compute(scheduler="threads")
        return u

    return Piece(scaled(case.size.dask_steps, case.size.steps, work), variant=f"{case.size.dask_steps} steps")


def dask_overlap(case: Case) -> list[Piece]:
    da = libraries.dask()

    def block(u: np.ndarray) -> np.ndarray:
        return u[1:-1, 1:-1] + K * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])

    def make(chunk: int) -> Any:
        def work(steps: int) -> Any:
            u = da.from_array(case.arrays, chunks=chunk, name=False)
            for _ in range(steps):
                u = da.map_overlap(block, u, depth=1, boundary="nearest", trim=False, dtype=float)
            return u.compute()

        return scaled(case.size.dask_steps, case.size.steps, work)

    return libraries.settings(make, [case.size.n // 4, case.size.n // 2], "chunks")


# One step: against a loop by hand, and what the memory gives.


def one_step_ours(case: Case) -> Piece:
    ga = libraries.gpuarray()
    heat = stencil(ga)
    u = ga.asarray(case.arrays)
    new = np.empty_like(case.arrays)
    return libraries.ours(ga, lambda: into(heat(u, K), new))


def into(result: Any, new: np.ndarray) -> str:
    """Compute, and time that alone."""
    start, cpu = time.perf_counter(), time.process_time()
    found = result.compute()
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    return Timed(digest(found), wall, cpu)  # type: ignore[return-value]


def triad(case: Case) -> Piece:
    """``a[i] = b[i] + s * c[i]`` with as many bytes as a step moves: one array read, one written, write-allocate."""
    import numba

    @numba.njit(nogil=True)
    def scale(a: Any, b: Any) -> None:
        for i in range(a.size):
            a[i] = K * b[i]

    b = case.arrays.reshape(-1)
    scale(np.empty(8), b[:8])
    part = -(-b.size // (4 * libraries.threads()))

    def call() -> None:
        a = np.empty(b.size)  # like a result: fresh memory
        libraries.in_threads(lambda lo, hi: scale(a[lo:hi], b[lo:hi]), b.size, part)

    return Piece(call)


SIZES = {"full": {"n": 4096, "steps": 1}, "quick": {"n": 1024, "steps": 1}}

ROWS = [
    Row(
        "heat-textbook",
        "the textbook's plate, {n} x {n} float64, {steps} steps, one thread",
        {"gpuarray": ours_one_thread, "NumPy": numpy, "dask delayed": dask_delayed},
        full={"n": 400, "steps": 10_000, "numpy_steps": 10_000, "dask_steps": 1_000},
        quick={"n": 400, "steps": 200, "numpy_steps": 200, "dask_steps": 50},
        targets=(faster("NumPy", 12), faster("dask delayed", 30)),
        check=same_bits,
        arrays=plate,
    ),
    Row(
        "heat-100-steps",
        "heat, {n} x {n} float64, {steps} steps in memory",
        {
            "gpuarray": ours,
            "single steps": ours_single_steps,
            "Numba by hand": numba_by_hand,
            "NumPy": numpy,
            "dask map_overlap": dask_overlap,
        },
        full={"n": 4096, "steps": 100, "numpy_steps": 10, "dask_steps": 5},
        quick={"n": 1024, "steps": 20, "numpy_steps": 20, "dask_steps": 2},
        targets=(faster("single steps", 2.2), faster("NumPy", 25), faster("dask map_overlap", 25)),
        check=same_bits,
        arrays=plate,
        notes="NumPy and dask do fewer steps, and their time is multiplied",
    ),
]
