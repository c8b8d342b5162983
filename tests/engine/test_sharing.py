"""Results that go through the same data are computed in one pass over it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.errors import MemoryLimitError

zarr = pytest.importorskip("zarr")

MIB = 2**20


@pytest.fixture
def data() -> np.ndarray:
    return np.random.default_rng(0).normal(3, 2, (96, 40, 60)).astype("float32")


@pytest.fixture
def x(data: np.ndarray, tmp_path: Path) -> ga.NDArray:
    store = zarr.create_array(tmp_path / "x.zarr", shape=data.shape, chunks=(8, 40, 60), dtype="float32")
    store[...] = data
    return ga.from_zarr(tmp_path / "x.zarr", chunks=(8, 40, 60))


def test_a_file_is_read_twice_for_what_is_standardised_written_and_reduced(
    x: ga.NDArray, data: np.ndarray, tmp_path: Path
) -> None:
    z = (x - x.mean()) / x.std()
    arrays = [z, z.mean(axis=0), z.mean(axis=1), z.max(axis=2)]
    plan = ga.explain(*arrays, then="store")
    assert plan.read_nbytes == 2 * data.nbytes
    assert sum(bool(s.read_nbytes) for s in plan.stages) == 2
    kept = sum(s.kept_nbytes for s in plan.stages)
    assert kept < data.nbytes / 2  # the states of the reductions, not z

    target = zarr.create_array(tmp_path / "z.zarr", shape=z.shape, chunks=(8, 40, 60), dtype="float32")
    into = [np.empty(a.shape, a.dtype) for a in arrays[1:]]
    ga.store(arrays, [target, *into])
    expected = (data - data.mean(dtype="f8")) / data.std(dtype="f8")
    np.testing.assert_allclose(target[...], expected, rtol=2e-6, atol=2e-6)
    for axis, (found, reduce) in enumerate(zip(into, (np.mean, np.mean, np.max), strict=True)):
        np.testing.assert_allclose(found, reduce(expected, axis=axis), rtol=2e-5, atol=2e-6)


def test_reductions_along_whole_axes_share_a_pass(x: ga.NDArray, data: np.ndarray) -> None:
    arrays = [x.sum(axis=1), x.max(axis=2), x.min(axis=(1, 2)), (x * 2).sum(axis=0)]
    assert ga.explain(*arrays).read_nbytes == data.nbytes
    found = ga.compute(*arrays)
    np.testing.assert_allclose(found[0], data.sum(axis=1), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(found[1], data.max(axis=2))
    np.testing.assert_array_equal(found[2], data.min(axis=(1, 2)))
    np.testing.assert_allclose(found[3], (data * 2).sum(axis=0), rtol=1e-5, atol=1e-4)


def test_a_chain_of_reductions_is_read_once_per_step(x: ga.NDArray, data: np.ndarray) -> None:
    centred = x - x.mean(axis=1, keepdims=True)
    arrays = [centred.std(axis=1), centred.max(axis=2)]
    found = ga.compute(*arrays)
    expected = data - data.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found[0], expected.std(axis=1), rtol=1e-4)
    np.testing.assert_allclose(found[1], expected.max(axis=2), rtol=1e-4, atol=1e-6)
    assert ga.explain(*arrays).read_nbytes <= 3 * data.nbytes


def test_persisted_and_reduced(x: ga.NDArray, data: np.ndarray) -> None:
    y = x * 2 + 1
    kept, total = ga.persist(y, y.sum())
    np.testing.assert_array_equal(kept[5, 3].compute(), data[5, 3] * 2 + 1)
    np.testing.assert_allclose(float(total), (data * 2 + 1).sum(dtype="f8"), rtol=1e-6)


def test_results_that_fit_one_by_one_but_not_together(tmp_path: Path) -> None:
    """Chunks of 7 rows and of 16 rows begin together only at row 0: one task would have to do everything."""
    data = np.random.default_rng(0).random((336, 8000))
    store = zarr.create_array(tmp_path / "x.zarr", shape=data.shape, chunks=(16, 8000), dtype="float64")
    store[...] = data
    x = ga.from_zarr(tmp_path / "x.zarr", chunks=(16, 8000))
    target = zarr.create_array(tmp_path / "y.zarr", shape=data.shape, chunks=(7, 8000), dtype="float64")
    total = np.empty(8000)
    with ga.config.set(host_memory=14 * MIB, threads=1):
        y = x + 1
        ga.store([y, y.sum(axis=0)], [target, total])
    np.testing.assert_array_equal(target[...], data + 1)
    np.testing.assert_allclose(total, (data + 1).sum(axis=0))
    with ga.config.set(host_memory=MIB, threads=1), pytest.raises(MemoryLimitError):
        ga.store([y, y.sum(axis=0)], [target, total])


def test_tall_arrays_are_reduced_by_every_thread(tmp_path: Path) -> None:
    """The result is small, what is reduced is not."""
    store = zarr.create_array(tmp_path / "x.zarr", shape=(4000, 4000), chunks=(100, 4000), dtype="float32")
    x = ga.from_zarr(tmp_path / "x.zarr", chunks=(100, 4000))
    assert store.nbytes > 16 * MIB
    with ga.config.set(threads=4):
        (stage,) = [s for s in ga.explain(x.mean(axis=1)).stages if s.read_nbytes]
    assert stage.tasks >= 8


def test_a_reduction_of_a_large_array_in_memory_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its result is small, its work is not."""
    from gpuarray.plan import direct

    monkeypatch.setattr(direct, "SMALL", 2**18)
    large, small = ga.asarray(np.ones((500, 1000))), ga.asarray(np.ones((50, 100)))
    limit = 2**30
    assert direct.order_if_small([large.sum().node], limit) is None
    assert direct.order_if_small([large[:, 0].sum().node], limit) is not None
    assert direct.order_if_small([small.sum().node], limit) is not None
    assert direct.order_if_small([small.max(axis=0).node], limit) is not None
