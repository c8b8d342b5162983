"""Stencils: one step, many steps in memory, and a state larger than the limit."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks import libraries
from benchmarks.rows import Case, Disagreement, Piece, Row, Timed, faster, within

K = 0.1


def digest(array: np.ndarray) -> str:
    """The bits of a result, short."""
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=8).hexdigest()


def same_bits(values: Mapping[str, Any], case: Case) -> None:
    """Raise `Disagreement` unless all who did the same steps have the same bits."""
    found = {who: value for who, value in values.items() if isinstance(value, str)}
    if len(set(found.values())) > 1:
        raise Disagreement(f"the results differ in some bits: {found}")


def scaled(steps: int, full: int, work: Callable[[int], Any]) -> Callable[[], Timed]:
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
    return libraries.ours(ga, lambda: timed(lambda: ga.iterate(heat, u, steps=case.size.steps, k=K).compute()))


def ours_one_thread(case: Case) -> Piece:
    ga = libraries.gpuarray()
    ga.config.set(threads=1)
    return ours(case)


def ours_single_steps(case: Case) -> Piece:
    """One step per pass over memory, as often; its result has the same bits."""
    ga = libraries.gpuarray()
    heat = stencil(ga)
    u = ga.asarray(case.arrays)

    work = lambda: ga.iterate(heat, u, steps=case.size.steps, k=K, steps_per_visit=1).compute()  # noqa: E731
    return Piece(lambda: timed(work))


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
        return Piece(lambda: timed(lambda: steps_numpy(case.arrays, case.size.steps)))
    return Piece(
        scaled(case.size.numpy_steps, case.size.steps, lambda steps: steps_numpy(case.arrays, steps)),
        variant=f"{case.size.numpy_steps} steps",
    )


def by_hand() -> Callable[..., None]:
    """The loop a user would write."""
    import numba

    @numba.njit(nogil=True)
    def rows(u: Any, new: Any, lo: int, hi: int) -> None:
        for i in range(lo, hi):
            for j in range(1, u.shape[1] - 1):
                new[i, j] = u[i, j] + K * (u[i + 1, j] + u[i - 1, j] + u[i, j + 1] + u[i, j - 1] - 4 * u[i, j])

    rows(np.zeros((3, 3)), np.zeros((3, 3)), 1, 2)
    return rows


def numba_by_hand(case: Case) -> Piece:
    """A thread per processor over blocks of rows, one pass over memory for each step."""
    rows = by_hand()
    u, new = case.arrays.copy(), case.arrays.copy()
    n = len(u)
    part = -(-(n - 2) // libraries.threads())

    def work() -> np.ndarray:
        a, b = u, new
        for _ in range(case.size.steps):
            libraries.in_threads(lambda lo, hi, a=a, b=b: rows(a, b, 1 + lo, 1 + hi), n - 2, part)
            a, b = b, a
        return a

    def call() -> Timed:
        u[:] = case.arrays
        new[:] = case.arrays
        return timed(work)

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


def devito(case: Case) -> Piece:
    """Devito's C for the same steps, all processors; whether its rounding is ours is its own choice."""
    import os

    os.environ.setdefault("DEVITO_LANGUAGE", "openmp")
    os.environ.setdefault("OMP_NUM_THREADS", str(libraries.threads()))
    from devito import Eq, Grid, Operator, TimeFunction, configuration

    configuration["log-level"] = "ERROR"
    n = case.size.n
    grid = Grid(shape=(n, n), extent=(n - 1.0, n - 1.0), dtype=np.float64)
    u = TimeFunction(name="u", grid=grid, space_order=2, time_order=1, dtype=np.float64)
    inside = Eq(u.forward, u + K * u.laplace, subdomain=grid.interior)
    operator = Operator([inside], opt=("advanced", {"openmp": True}))

    def work() -> np.ndarray:
        operator.apply(time_M=case.size.steps - 1, dt=1.0)
        return np.asarray(u.data[case.size.steps % 2])

    def call() -> Timed:
        u.data[0] = u.data[1] = case.arrays
        done = timed(work)
        return Timed(None, done.wall, done.cpu)

    return Piece(call)


# One step: against a loop by hand, and what the memory gives. All write to fresh memory, as a result is.


def one_step_ours(case: Case) -> Piece:
    ga = libraries.gpuarray()
    heat = stencil(ga)
    u = ga.asarray(case.arrays)
    return libraries.ours(ga, lambda: timed(lambda: heat(u, K).compute()))


def timed(work: Callable[[], np.ndarray]) -> Timed:
    """The time of the work without that of looking at its bits."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Timed(digest(made), wall, cpu)


def one_step_numba(case: Case) -> Piece:
    rows = by_hand()
    u, n = case.arrays, case.size.n
    part = -(-(n - 2) // libraries.threads())

    def step() -> np.ndarray:
        new = np.empty_like(u)
        new[0], new[-1], new[:, 0], new[:, -1] = u[0], u[-1], u[:, 0], u[:, -1]
        libraries.in_threads(lambda lo, hi: rows(u, new, 1 + lo, 1 + hi), n - 2, part)
        return new

    return Piece(lambda: timed(step))


def triad(case: Case) -> Piece:
    """``a[i] = s * b[i]``: as many bytes as a step moves, one array read and one written."""
    import numba

    @numba.njit(nogil=True)
    def scale(a: Any, b: Any) -> None:
        for i in range(a.size):
            a[i] = K * b[i]

    b = case.arrays.reshape(-1)
    scale(np.empty(8), b[:8])
    part = -(-b.size // libraries.threads())

    def call() -> None:
        a = np.empty(b.size)
        libraries.in_threads(lambda lo, hi: scale(a[lo:hi], b[lo:hi]), b.size, part)

    return Piece(call)


# Three dimensions.


def cube(case: Case) -> np.ndarray:
    return np.random.default_rng(0).random((case.size.n,) * 3)


def stencil_3d(ga: Any) -> Any:
    def heat(u: Any, k: Any) -> Any:
        around = u[1, 0, 0] + u[-1, 0, 0] + u[0, 1, 0] + u[0, -1, 0] + u[0, 0, 1] + u[0, 0, -1]
        return u[0, 0, 0] + k * (around - 6 * u[0, 0, 0])

    return ga.stencil(heat)


def ours_3d(case: Case) -> Piece:
    ga = libraries.gpuarray()
    heat, u = stencil_3d(ga), ga.asarray(case.arrays)
    return libraries.ours(ga, lambda: timed(lambda: ga.iterate(heat, u, steps=case.size.steps, k=K).compute()))


def ours_3d_single_steps(case: Case) -> Piece:
    ga = libraries.gpuarray()
    heat, u = stencil_3d(ga), ga.asarray(case.arrays)
    work = lambda: ga.iterate(heat, u, steps=case.size.steps, k=K, steps_per_visit=1).compute()  # noqa: E731
    return Piece(lambda: timed(work))


# A state larger than the limit.


def state_on_disk(case: Case) -> None:
    ga = libraries.gpuarray()
    n = case.size.n
    ga.random.default_rng(0).random((n, n), chunks=(max(1, n // 64), n)).to_npy(str(case.folder / "state.npy"))


def out_of_core(case: Case) -> Piece:
    ga = libraries.gpuarray()
    heat = stencil(ga)
    nbytes = case.size.n**2 * 8

    def call() -> None:
        u = ga.from_npy(str(case.folder / "state.npy"))
        with ga.config.set(host_memory=nbytes // 4):
            later = ga.iterate(heat, u, steps=case.size.steps, k=K)
            later.to_npy(str(case.folder / "later.npy"), overwrite=True)

    return libraries.ours(ga, call)


def in_core_rate(case: Case) -> Piece:
    """As many updates of points on a state in memory, the time multiplied by how much larger the other one is."""
    ga = libraries.gpuarray()
    heat = stencil(ga)
    m = case.size.in_core
    u = ga.asarray(np.random.default_rng(0).random((m, m)))
    larger = (case.size.n / m) ** 2

    def call() -> Timed:
        wall, cpu = time.perf_counter(), time.process_time()
        ga.iterate(heat, u, steps=case.size.steps, k=K).compute()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Timed(None, wall * larger, cpu * larger)

    return Piece(call, variant=f"{m} x {m}, times {larger:.3g}")


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
        notes="dask does fewer steps, and its time is multiplied",
    ),
    Row(
        "heat-one-step",
        "heat, {n} x {n} float64, one step",
        {"gpuarray": one_step_ours, "Numba by hand": one_step_numba, "triad": triad},
        full={"n": 4096},
        quick={"n": 1024},
        targets=(faster("Numba by hand", 0.95), faster("triad", 0.85)),
        check=same_bits,
        arrays=plate,
        notes="triad: a[i] = s * b[i], the bytes of a step without its neighbours",
    ),
    Row(
        "heat-100-steps",
        "heat, {n} x {n} float64, {steps} steps in memory",
        {
            "gpuarray": ours,
            "single steps": ours_single_steps,
            "Numba by hand": numba_by_hand,
            "Devito": devito,
            "NumPy": numpy,
            "dask map_overlap": dask_overlap,
        },
        full={"n": 4096, "steps": 100, "numpy_steps": 10, "dask_steps": 5},
        quick={"n": 1024, "steps": 20, "numpy_steps": 20, "dask_steps": 2},
        targets=(
            faster("single steps", 2.2),
            faster("NumPy", 25),
            faster("dask map_overlap", 25),
            faster("Devito", 1.4),
        ),
        check=same_bits,
        arrays=plate,
        notes="NumPy and dask do fewer steps, and their time is multiplied",
    ),
    Row(
        "heat-3d",
        "heat in three dimensions, {n}^3 float64, {steps} steps in memory",
        {"gpuarray": ours_3d, "single steps": ours_3d_single_steps},
        full={"n": 512, "steps": 50},
        quick={"n": 128, "steps": 8},
        targets=(faster("single steps", 1.3),),
        check=same_bits,
        arrays=cube,
    ),
    Row(
        "heat-out-of-core",
        "heat, {n} x {n} float64 in .npy files, {steps} steps, host_memory a quarter of the state",
        {"gpuarray": out_of_core, "in core": in_core_rate},
        full={"n": 44_720, "steps": 128, "in_core": 8192},
        quick={"n": 4096, "steps": 16, "in_core": 2048},
        targets=(faster("in core", 0.8), within("peak_bytes", 1.1 * 44_720**2 * 2)),
        files=state_on_disk,
        warm_up=False,
        notes="in core: a smaller state that stays in memory, its time multiplied by how much larger the other is",
    ),
]
