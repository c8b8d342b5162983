"""Arrays that are in memory already: is the memory's bandwidth used?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks import libraries
from benchmarks.rows import Case, Disagreement, Piece, Row, close, faster


def arrays(case: Case) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.Generator(np.random.SFC64(0))
    shape = (case.size.rows, case.size.columns)
    return rng.random(shape), rng.random(shape)


def ours(case: Case) -> Piece:
    ga = libraries.gpuarray()
    a, b = (ga.asarray(x) for x in case.arrays)
    return libraries.ours(ga, lambda: float(((a * 2 + b) ** 2).sum().compute()))


def numpy(case: Case) -> Piece:
    a, b = case.arrays
    return Piece(lambda: float(((a * 2 + b) ** 2).sum()))


def numexpr(case: Case) -> Piece:
    import numexpr

    a, b = case.arrays
    numexpr.set_num_threads(libraries.threads())
    return Piece(lambda: float(numexpr.evaluate("sum((a * 2 + b) ** 2)", {"a": a, "b": b})))


def jax(case: Case) -> Piece:
    jax = libraries.jax()
    a, b = (jax.device_put(x, may_alias=True) for x in case.arrays)
    work = jax.jit(lambda a, b: ((a * 2 + b) ** 2).sum())
    return Piece(lambda: float(work(a, b)))


def dask(case: Case) -> list[Piece]:
    da = libraries.dask()

    def make(rows: int) -> Any:
        a, b = (da.from_array(x, chunks=(rows, -1), name=False) for x in case.arrays)
        return lambda: float(((a * 2 + b) ** 2).sum().compute())

    return libraries.settings(make, [max(1, case.size.rows // k) for k in (1000, 200, 40)], "rows")


def bandwidth(case: Case) -> Piece:
    """What the memory gives: the plainest sum of both arrays, which fetches ahead, a thread per processor."""
    import numba

    from gpuarray.kernels.pointers import ahead, pointer, prefetch

    @numba.njit(nogil=True, fastmath={"reassoc", "contract"})
    def total(a: Any, b: Any) -> float:
        found = 0.0
        left, right = pointer(a.ctypes.data), pointer(b.ctypes.data)
        for start in range(0, a.size, 128):
            for line in range(8 * start + 2048, 8 * start + 3072, 64):  # of the distances, the best found
                prefetch(ahead(left, line))
                prefetch(ahead(right, line))
            x, y = a[start : start + 128], b[start : start + 128]
            for i in range(x.size):
                found += x[i] + y[i]
        return found

    a, b = (x.reshape(-1) for x in case.arrays)
    total(a[:8], b[:8])
    part = -(-a.size // (4 * libraries.threads()))
    return Piece(lambda: sum(libraries.in_threads(lambda lo, hi: total(a[lo:hi], b[lo:hi]), a.size, part)))


def check(values: Mapping[str, Any], case: Case) -> None:
    a, b = case.arrays
    rest = dict(values)
    read = rest.pop("read bandwidth", None)
    expected = sum(float(np.square(2 * a[k] + b[k]).sum()) for k in range(len(a)))
    close(rest, expected, 1e-11 * expected)
    if read is not None:
        plain = float(a.sum() + b.sum())
        if not abs(read - plain) < 1e-11 * plain:
            raise Disagreement(f"read bandwidth has {read}, expected is {plain}")


ROWS = [
    Row(
        "fused-sum",
        "((a * 2 + b) ** 2).sum(), two arrays {rows} x {columns} in memory",
        {
            "gpuarray": ours,
            "read bandwidth": bandwidth,
            "numexpr": numexpr,
            "JAX": jax,
            "NumPy": numpy,
            "dask": dask,
        },
        full={"rows": 20_000, "columns": 10_000},
        quick={"rows": 2_000, "columns": 10_000},
        targets=(faster("read bandwidth", 0.85), faster("numexpr", 1), faster("JAX", 1)),
        check=check,
        arrays=arrays,
        notes="read bandwidth: the same two arrays summed by a loop written by hand, which computes nothing else",
    ),
]
