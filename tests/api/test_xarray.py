"""xarray on our arrays: operations stay lazy, and its entry point cuts, opens, computes and writes them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuarray as ga

xr = pytest.importorskip("xarray")
parallelcompat = pytest.importorskip("xarray.namedarray.parallelcompat")

from gpuarray.interop.xarray_manager import LazyReader, Manager  # noqa: E402 (needs xarray)

ROOT = Path(__file__).parents[2]
VALUES = np.random.default_rng(0).random((24, 6, 8))
VALUES[3, 2, 1] = np.nan


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the package were installed: xarray finds managers by their entry points."""
    monkeypatch.setattr(parallelcompat, "list_chunkmanagers", lambda: {"gpuarray": Manager()})


def pair() -> tuple[Any, Any]:
    coords = {"t": np.arange(24), "month": ("t", np.arange(24) % 12)}
    theirs = xr.DataArray(VALUES, dims=("t", "y", "x"), coords=coords)
    return theirs.copy(data=ga.asarray(VALUES, chunks=(7, 3, 8))), theirs


WEIGHTS = xr.DataArray(np.arange(6.0), dims="y")
OPERATIONS = {
    "anomaly": lambda d: (d - d.mean("t")) / d.std("t"),
    "by month": lambda d: d.groupby("month") - d.groupby("month").mean(),
    "rolling": lambda d: d.rolling(t=5, center=True, min_periods=1).mean(),
    "coarsen": lambda d: d.coarsen(t=4).max(),
    "quantile": lambda d: d.quantile([0.1, 0.9], dim="t"),
    "select": lambda d: d.sel(t=slice(3, 9)).isel(x=[2, 1]).where(lambda v: v > 0.5),
    "weighted": lambda d: d.weighted(WEIGHTS).mean("y"),
    "interpolate": lambda d: d.interp(t=[1.5, 2.25]),
    "gufunc": lambda d: xr.apply_ufunc(np.hypot, d, 2.0, dask="parallelized", output_dtypes=[float]),
    "concat": lambda d: xr.concat([d.shift(t=2), d], "t"),
    "idxmax": lambda d: d.idxmax("t"),
    "idxmin": lambda d: d.idxmin("t", fill_value=-1),
    "fit": lambda d: d.fillna(0).polyfit("t", 1).polyfit_coefficients,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_stay_lazy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = pair()
    made, expected = OPERATIONS[name](mine), OPERATIONS[name](theirs)
    assert isinstance(made.data, ga.NDArray)
    assert made.dims == expected.dims
    assert isinstance(made.compute().data, np.ndarray)
    np.testing.assert_allclose(made.values, expected.values, rtol=1e-12)


@pytest.mark.parametrize("name", ["idxmax", "idxmin"])
def test_places_of_extremes_compute_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = pair()
    mine, theirs = (d.assign_coords(t=np.datetime64("2020-01-01", "ns") + np.arange(24)) for d in (mine, theirs))
    with monkeypatch.context() as patch:
        patch.setattr("gpuarray.run.make_plan", None)
        made = [getattr(d, name)("t") for d in (mine, mine.isel(x=0))]
    expected = [getattr(d, name)("t") for d in (theirs, theirs.isel(x=0))]
    for m, e in zip(made, expected, strict=True):
        assert isinstance(m.data, ga.NDArray)
        np.testing.assert_array_equal(m.values, e.values)
    with pytest.raises(NotImplementedError, match="compute"):
        mine.isel(x=0, y=1).idxmax("t")


def test_a_chunked_vector_is_indexed_as_others_are() -> None:
    theirs = xr.DataArray(np.arange(9.0), dims="t", coords={"t": np.arange(9)})
    mine = theirs.chunk({"t": 9}, chunked_array_type="gpuarray")
    where = xr.DataArray([[1, 2], [8, 0]], dims=("a", "b"))
    for index in ([2, 1], slice(None, None, -2), where, 3):
        made = mine.isel(t=index)
        assert isinstance(made.data, ga.NDArray)
        np.testing.assert_array_equal(made.values, theirs.isel(t=index).values)
    assert isinstance((mine + 1).data, ga.NDArray)
    np.testing.assert_array_equal(mine.rolling(t=3).sum().values, theirs.rolling(t=3).sum().values)


def test_chunks() -> None:
    x = xr.DataArray(VALUES, dims=("t", "y", "x")).chunk({"t": 10}, chunked_array_type="gpuarray")
    assert isinstance(x.data, ga.NDArray)
    assert x.chunks == ((10, 10, 4), (6,), (8,))
    assert x.chunk({"x": 3}).chunks == ((10, 10, 4), (6,), (3, 3, 2))
    assert x.chunk("auto").chunks == ((24,), (6,), (8,))
    kept = x.persist()
    assert isinstance(kept.data, ga.NDArray)
    np.testing.assert_array_equal(kept.values, VALUES)
    one, other = xr.unify_chunks(x, x.isel(x=0).chunk({"t": 3}))
    assert one.chunks[0] == other.chunks[0] == (3,) * 8
    with pytest.raises(ga.errors.ChunkError):
        x.chunk({"t": -5})


def test_files(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    mine, theirs = pair()
    xr.Dataset({"a": mine}).to_zarr(tmp_path / "a.zarr", zarr_format=2, consolidated=False)
    opened = xr.open_zarr(tmp_path / "a.zarr", chunked_array_type="gpuarray", consolidated=False).a
    assert isinstance(opened.data, ga.NDArray)
    assert opened.chunks == theirs.chunk({"t": 7, "y": 3}, chunked_array_type="gpuarray").chunks
    np.testing.assert_array_equal(opened[::-2, 1:, [3, 0]].values, VALUES[::-2, 1:, [3, 0]])
    np.testing.assert_allclose(opened.mean("t").values, theirs.mean("t").values, rtol=1e-12)


def test_nothing_is_read_before_it_is_asked_for() -> None:
    class Opened:
        shape, dtype, reads = (6, 4), np.dtype("f4"), 0

        def __getitem__(self, key: Any) -> Any:
            self.reads += 1
            return np.arange(24.0).reshape(6, 4)[key]

    opened = Opened()
    x = Manager().from_array(opened, ((2, 2, 2), (4,)))
    y = x[2:4, ::2] + 1
    assert opened.reads == 0
    np.testing.assert_array_equal(y.compute(), np.arange(24.0, dtype="f4").reshape(6, 4)[2:4, ::2] + 1)
    assert opened.reads == 1
    assert LazyReader(opened).read_nbytes((range(2), range(4))) == 32


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="axes="):
        Manager().apply_gufunc(np.sum, "(i)->()", ga.ones(3), axis=0)
    with pytest.raises(NotImplementedError, match="compute=False"):
        Manager().store(ga.ones(3), np.ones(3), compute=False)
    with pytest.raises(TypeError, match="not supported"):
        Manager().from_array(type("Texts", (), {"shape": (1,), "dtype": object, "__array__": texts})(), 1)


def texts(self: Any, dtype: Any = None, copy: Any = None) -> Any:
    return np.array(["a"], object)


def test_the_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["xarray.chunkmanagers"] == {"gpuarray": f"{Manager.__module__}:{Manager.__name__}"}
