"""Factorisations by block columns: the same bits under any limit, as accurate as the library, and within the limit."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.cluster import jobs
from gpuarray.graph.node import toposort
from gpuarray.graph.routine import Routine
from gpuarray.linalg import columns, tiles


def numbers(*shape: int, dtype: Any = "d") -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    made = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        made = made + 1j * rng.standard_normal(shape)
    return made.astype(dtype)


def definite(n: int, dtype: Any = "d") -> np.ndarray:
    a = numbers(n, n, dtype=dtype)
    made: np.ndarray = a @ a.T.conj() + n * np.eye(n, dtype=dtype)
    return made


LIMITS = ["70 KiB", "280 KiB", "1 MiB", "64 MiB"]


def routines(*made: ga.NDArray) -> int:
    return sum(isinstance(n, Routine) for n in toposort(*(m.node for m in made)))


@pytest.mark.parametrize(("n", "dtype"), [(256, "d"), (250, "F")])
def test_a_cholesky_factor_has_the_same_bits_under_any_limit(n: int, dtype: str, tmp_path: Any) -> None:
    a = definite(n, dtype)  # 500 KiB
    found, graphs = [], set()
    for chunks, limit in zip((50, 17, 144, 29), LIMITS, strict=True):
        with ga.config.set(device="cpu", chunk_bytes="8 KiB", host_memory=limit):
            made = ga.linalg.cholesky(ga.asarray(a, chunks=chunks))
            graphs.add(routines(made))
            made.to_npy(tmp_path / "made.npy", overwrite=True)
        found.append(np.load(tmp_path / "made.npy"))
    assert len(graphs) > 1
    assert all(np.array_equal(f, found[0]) for f in found)
    np.testing.assert_allclose(found[0], np.linalg.cholesky(a), atol=(1e-2 if dtype == "F" else 1e-11))


@pytest.mark.parametrize("dtype", ["d", "F"])
@pytest.mark.parametrize("shape", [(260, 260), (120, 301), (301, 120)])
def test_a_qr_has_the_same_bits_under_any_limit(shape: tuple[int, int], dtype: str, tmp_path: Any) -> None:
    (m, n), a = shape, numbers(*shape, dtype=dtype)
    found, graphs = [], set()
    for chunks, limit in zip((50, 17, 144), LIMITS[1:], strict=True):
        with ga.config.set(device="cpu", chunk_bytes="8 KiB", host_memory=limit):
            q, r = ga.linalg.qr(ga.asarray(a, chunks=chunks))
            graphs.add(routines(q, r))
            q.to_npy(tmp_path / "q.npy", overwrite=True)
            r.to_npy(tmp_path / "r.npy", overwrite=True)
        found.append((np.load(tmp_path / "q.npy"), np.load(tmp_path / "r.npy")))
    assert len(graphs) > (m >= n)
    q, r = found[0]
    assert all(np.array_equal(f[0], q) and np.array_equal(f[1], r) for f in found)
    eps = 300 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(q @ r, a, atol=20 * eps)
    np.testing.assert_allclose(q.conj().T @ q, np.eye(q.shape[1]), atol=eps)


def test_a_large_matrix_is_cut_however_much_memory_there_is() -> None:
    made = ga.linalg.cholesky(ga.zeros((2000, 2000)))
    assert routines(made) > 8
    small = ga.linalg.cholesky(ga.zeros((900, 900)))
    assert routines(small) == 1


@pytest.mark.parametrize("power", [0, 8, 14])
def test_a_factor_is_as_accurate_as_the_librarys_where_the_matrix_is_nearly_singular(power: int) -> None:
    n = 300
    q = np.linalg.qr(numbers(n, n))[0]
    a = (q * np.logspace(0, -power, n)) @ q.T
    a = (a + a.T) / 2
    with ga.config.set(device="cpu", chunk_bytes="8 KiB"):
        mine = ga.linalg.cholesky(ga.asarray(a)).compute()
    theirs = np.linalg.cholesky(a)
    off = [np.linalg.norm(f @ f.T - a) / np.linalg.norm(a) for f in (mine, theirs)]
    assert off[0] <= 4 * off[1] + 1e-16


def test_only_the_lower_triangle_is_looked_at() -> None:
    a = definite(140)
    b = a.copy()
    b[np.triu_indices(140, 1)] = np.nan
    with ga.config.set(device="cpu", chunk_bytes="8 KiB"):
        np.testing.assert_array_equal(ga.linalg.cholesky(b).compute(), ga.linalg.cholesky(a).compute())


def test_what_is_not_positive_definite_is_refused_wherever_it_is_not() -> None:
    for at in (0, 77, 139):
        a = definite(140)
        a[at, at] = -1
        with ga.config.set(device="cpu", chunk_bytes="8 KiB"), pytest.raises(np.linalg.LinAlgError):
            ga.linalg.cholesky(ga.asarray(a, chunks=40)).compute()


def test_a_part_of_a_factor() -> None:
    a = definite(150)
    with ga.config.set(device="cpu", chunk_bytes="8 KiB"):
        made = ga.linalg.cholesky(ga.asarray(a, chunks=40))
        whole = made.compute()
        np.testing.assert_array_equal(made[100:3:-7, 5:60].compute(), whole[100:3:-7, 5:60])


def test_rows_are_solved_for_as_by_substitution() -> None:
    n = 300
    lower = np.tril(numbers(n, n)) + 20 * np.eye(n)
    inverses = np.zeros((tiles.LEAF, n))
    for lo in range(0, n, tiles.LEAF):
        hi = min(n, lo + tiles.LEAF)
        inverses[: hi - lo, lo:hi] = np.linalg.inv(lower[lo:hi, lo:hi])
    b = numbers(40, n)
    x = b.copy()
    tiles.solve_rows(np, x, lower, inverses)
    np.testing.assert_allclose(x @ lower.T, b, atol=1e-12)


@pytest.mark.parametrize("settings", [{"threads": 1}, {"threads": 3, "scheduler": "single-threaded"}])
def test_one_thread_is_one_thread(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    a = definite(256)
    with ga.config.set(device="cpu", host_memory="1 MiB", chunk_bytes="8 KiB", threads=4):
        factors = [
            np.asarray(f(ga.asarray(a, chunks=50))) for f in (ga.linalg.cholesky, lambda x: ga.linalg.qr(x, "r"))
        ]

    def refused(*args: Any, **keywords: Any) -> Any:
        raise AssertionError("a thread beside those that are asked for")

    monkeypatch.setattr(jobs, "threading", SimpleNamespace(Thread=refused, Lock=threading.Lock))
    with ga.config.set(device="cpu", host_memory="1 MiB", chunk_bytes="8 KiB", **settings):
        assert columns.threads(100) == 1
        again = [np.asarray(f(ga.asarray(a, chunks=50))) for f in (ga.linalg.cholesky, lambda x: ga.linalg.qr(x, "r"))]
    assert all(np.array_equal(x, y) for x, y in zip(factors, again, strict=True))  # whatever the number of threads
