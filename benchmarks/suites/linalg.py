"""Factorisations of a matrix in a file, four times as large as the memory that may be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks import libraries
from benchmarks.rows import Case, Disagreement, Piece, Row, faster, within


def files(case: Case) -> None:
    """A positive definite matrix: random numbers, their transpose, and a large diagonal."""
    n = case.size.n
    a = np.random.Generator(np.random.SFC64(0)).random((n, n)) - 0.5
    a += a.T.copy()
    a[np.diag_indices(n)] += n
    np.save(case.folder / "a.npy", a)


def summary(factor: Any) -> float:
    """A number that every element of the diagonal has a part in."""
    return float(np.log(np.abs(np.diagonal(factor))).sum())


def ours(factored: Callable[[Any, Any], Any]) -> Callable[[Case], Piece]:
    def setup(case: Case) -> Piece:
        ga = libraries.gpuarray()
        ga.config.set(host_memory=case.size.memory)

        def call() -> float:
            made = factored(ga, ga.from_npy(case.folder / "a.npy"))
            made.to_npy(case.folder / "made.npy", overwrite=True)
            return summary(np.load(case.folder / "made.npy", mmap_mode="r"))

        return libraries.ours(ga, call)

    return setup


def lapack(factored: Callable[[Any], Any]) -> Callable[[Case], Piece]:
    def setup(case: Case) -> Piece:
        a = np.load(case.folder / "a.npy")
        return Piece(lambda: summary(factored(a)))

    return setup


def scipy_cholesky(a: Any) -> Any:
    """LAPACK's, in two halves where it is large: OpenBLAS 0.3.31 ends the process for 20,000 columns at once."""
    from scipy.linalg import cholesky, solve_triangular

    n = len(a)
    if n <= 12_000:
        return cholesky(a, lower=True, check_finite=False)
    h = n // 2
    made = np.zeros_like(a)
    made[:h, :h] = cholesky(a[:h, :h], lower=True, check_finite=False)
    made[h:, :h] = solve_triangular(made[:h, :h], a[h:, :h].T, lower=True, check_finite=False).T
    rest = made[h:, :h] @ made[h:, :h].T
    np.subtract(a[h:, h:], rest, out=rest)
    made[h:, h:] = cholesky(rest, lower=True, check_finite=False)
    return made


def scipy_qr(a: Any) -> Any:
    from scipy.linalg import qr

    return qr(a, mode="r", check_finite=False)[0]


def check(values: Mapping[str, Any], case: Case) -> None:
    expected = values["LAPACK in memory"] if "LAPACK in memory" in values else next(iter(values.values()))
    for who, value in values.items():
        if not abs(value - expected) <= 1e-6 * abs(expected):
            raise Disagreement(f"{who} has {value!r}, expected is {expected!r}")


def row(name: str, words: str, factored: Callable[[Any, Any], Any], theirs: Callable[[Any], Any]) -> Row:
    return Row(
        name,
        words + " of {n} x {n} float64 from and to a file, host_memory={memory}",
        {"gpuarray": ours(factored), "LAPACK in memory": lapack(theirs)},
        full={"n": 20_000, "memory": 800_000_000},
        quick={"n": 2_000, "memory": 8_000_000},
        targets=(faster("LAPACK in memory", 0.7), within("engine_bytes", 800_000_000)),
        check=check,
        files=files,
        once=True,
        warm_up=False,
        notes="LAPACK, by way of SciPy, has the matrix in memory and no limit",
    )


ROWS = [
    row("cholesky", "linalg.cholesky", lambda ga, x: ga.linalg.cholesky(x), scipy_cholesky),
    row("qr", 'linalg.qr(x, "r")', lambda ga, x: ga.linalg.qr(x, "r"), scipy_qr),
]
