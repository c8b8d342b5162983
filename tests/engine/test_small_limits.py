"""What users do to an array of some chunks, each larger than a task may hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import gpuarray as ga

LIMIT = 12_000_000


@pytest.fixture
def a() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((160_000, 10))


@pytest.fixture
def x(a: np.ndarray, tmp_path) -> Iterator[ga.NDArray]:
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


def test_factors_of_tall_matrices(a: np.ndarray, x: ga.NDArray, tmp_path) -> None:
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
