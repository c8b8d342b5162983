"""What users do to an array of some chunks, each larger than a task may hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.graph.contract import PartialProducts
from gpuarray.graph.node import toposort
from gpuarray.linalg import products

LIMIT = 12_000_000


@pytest.fixture
def a() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((160_000, 10))


@pytest.fixture
def x(a: np.ndarray, tmp_path: Path) -> Iterator[ga.NDArray]:
    np.save(tmp_path / "x.npy", a)
    with ga.config.set(host_memory=LIMIT, spill_directory=tmp_path, threads=2):
        yield ga.from_npy(tmp_path / "x.npy", chunks=(80_000, 10))


@pytest.mark.parametrize("least", [2.5, 0.0, 9.0])
def test_selections(a: np.ndarray, x: ga.NDArray, least: float) -> None:
    made = x[x > least]
    assert len(made.chunks[0]) <= 2
    assert made[:1000].sum().compute() == pytest.approx(a[a > least][:1000].sum())
    assert made.size == (a > least).sum()
    with ga.config.set(host_memory=4 * LIMIT):
        np.testing.assert_array_equal(made.compute(), a[a > least])


def test_distinct_elements(a: np.ndarray, x: ga.NDArray) -> None:
    made = ga.unique((x * 100).astype("i4"))
    np.testing.assert_array_equal(made.compute(), np.unique((a * 100).astype("i4")))


def test_factors_of_tall_matrices(a: np.ndarray, x: ga.NDArray, tmp_path: Path) -> None:
    u, s, v = ga.linalg.svd(x, full_matrices=False)
    np.testing.assert_allclose(s.compute(), np.linalg.svd(a, compute_uv=False), rtol=1e-10)
    assert "nothing spilled" in str(s.explain())
    stored = u.to_npy(tmp_path / "u.npy")
    np.testing.assert_allclose((stored * s @ v)[:100].compute(), a[:100], rtol=1e-8, atol=1e-10)
    q, r = ga.linalg.qr(x)
    np.testing.assert_allclose((q.T @ q).compute(), np.eye(10), atol=1e-10)
    np.testing.assert_allclose((q @ r)[-50:].compute(), a[-50:], rtol=1e-8, atol=1e-10)
    found = ga.linalg.lstsq(x, x[:, 0] * 2 + x[:, 1])[0].compute()
    np.testing.assert_allclose(found, [2, 1] + [0] * 8, atol=1e-10)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u8", "c8", "c16"])
@pytest.mark.parametrize("chunks", [(1000, 7), (1500, 7), (4099, 3)])
def test_products_of_long_matrices(dtype: str, chunks: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "PART", (50_000, 50_000))
    g = np.random.default_rng(2)
    a = (g.integers(-9, 9, (20_011, 7)) + (1j * g.integers(-9, 9, (20_011, 7)) if dtype[0] == "c" else 0)).astype(dtype)
    b = a[:, :3][::-1]
    x, y = ga.asarray(a, chunks=chunks), ga.asarray(b, chunks=(777, 2))
    for mine, theirs in (
        (x.T @ y, a.T @ b),
        (y.T @ x, b.T @ a),
        (x.T @ y[:, 0], a.T @ b[:, 0]),
        (x[:, 0] @ x, a[:, 0] @ a),
    ):
        assert mine.dtype == theirs.dtype
        assert any(isinstance(n, PartialProducts) for n in toposort(mine.node))
        np.testing.assert_array_equal(mine.compute(), theirs)  # of integers: exact in any order
        again = [mine.compute(scheduler="single-threaded")]
        with ga.config.set(host_memory="600 kB", threads=3):
            again.append(mine.compute())
        with ga.config.set(device="fake"):
            again.append(mine.compute())
        for made in again:
            assert made.tobytes() == mine.compute().tobytes()


def test_the_bits_of_products_are_the_same_under_any_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "PART", (50_000, 50_000))
    a = np.random.default_rng(3).standard_normal((30_000, 20))
    x = ga.asarray(a, chunks=(1234, 20))
    made = (x.T @ x).compute()
    np.testing.assert_allclose(made, a.T @ a, rtol=1e-12, atol=1e-9)
    for keywords in ({"host_memory": "1 MB"}, {"threads": 1}, {"device": "fake"}):
        with ga.config.set(**keywords):
            assert (x.T @ x).compute().tobytes() == made.tobytes()
    assert (x[:0].T @ x[:0]).compute().tobytes() == bytes(20 * 20 * 8)
    empty = x[:, :0].T @ x
    assert empty.compute().shape == (0, 20)


@pytest.mark.parametrize(("limit", "most"), [(8_000_000, 24), (25_000_000, 8), (80_000_000, 8)])
def test_quantiles_of_columns_read_a_file_a_few_times(tmp_path: Path, limit: int, most: int) -> None:
    a = np.random.default_rng(4).standard_normal((60_000, 40))
    a[::1000, 3] = np.nan
    np.save(tmp_path / "x.npy", a)
    with ga.config.set(host_memory=limit, threads=2):
        x = ga.from_npy(tmp_path / "x.npy")
        made = ga.nanquantile(x, [0.1, 0.5], axis=0)
        read = float(re.search(r"x.npy, ([\d.]+) times", str(made.explain()))[1])
        assert read <= most
        np.testing.assert_array_equal(made.compute(), np.nanquantile(a, [0.1, 0.5], axis=0))
        whole = (np.nan_to_num(a) * 1000).astype("i2")
        found = ga.median((ga.nan_to_num(x) * 1000).astype("i2"), axis=0)
        np.testing.assert_array_equal(found.compute(), np.median(whole, axis=0))
