"""Quantiles with weights: against NumPy, and within a limit that the array does not fit."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import gpuarray as ga

HOW = {"method": "inverted_cdf"}


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@pytest.mark.parametrize("dtype", list("?bBhHiIlLefd"))
@pytest.mark.parametrize("axis", [None, 1, (-1, 0)])
def test_against_numpy(dtype, axis, cut, same):
    rng = np.random.default_rng(0)
    a = rng.integers(0, 9, (3, 4, 5)).astype(dtype)
    if dtype in "lL":
        a += a.dtype.type(2**62)
    if dtype in "efd":
        a[0, :, 1] = a[2, 3] = np.nan
    whole = rng.integers(0, 4, a.shape) + (rng.random(a.shape) > 0.7)
    for q in (0.5, [0, 0.25, 1], [[0.1, 0.2], [0.3, 0.9]]):
        for keepdims in (False, True):
            every = HOW | {"axis": axis, "keepdims": keepdims, "weights": whole}
            same(ga.quantile(cut(a), q, **every), np.quantile(a, q, **every))
            if np.ndim(q) < 2:
                same(ga.nanpercentile(cut(a), q, **every), np.nanpercentile(a, q, **every))
    if axis is not None:
        along = rng.random([a.shape[i] for i in np.atleast_1d(axis)])
        every = HOW | {"axis": axis, "weights": along}
        same(ga.quantile(cut(a), np.float32(0.3), **every), np.quantile(a, np.float32(0.3), **every))
        same(ga.percentile(cut(a), [30, 60], **every), np.percentile(a, [30, 60], **every))


def test_rows_of_nan(same):
    a, w = np.array([[np.nan, np.nan], [np.nan, 2.0]]), np.array([[1, 1], [5, 1]])
    same(ga.nanquantile(a, 0.5, axis=1, weights=w, **HOW), np.array([np.nan, 2.0]))


def test_errors():
    x = ga.arange(3.0)
    with pytest.raises(ValueError, match="inverted_cdf"):
        ga.quantile(x, 0.5, weights=[1, 2, 3])
    for weights, rule in (([1, -1, 1], "non-negative"), ([0, 0, 0], "all zero"), ([1, np.inf, 1], "inf")):
        for given in (weights, ga.asarray(weights)):
            with pytest.raises(ValueError, match=rule):
                ga.quantile(x, 0.5, weights=given, **HOW).compute()
    with pytest.raises(ValueError, match="NaN"):
        ga.quantile(x, 0.5, weights=[1, np.nan, 1], **HOW).compute()
    with pytest.raises(ValueError, match=r"\(2,\)"):
        ga.quantile(x, 0.5, axis=0, weights=[1, 2], **HOW)
    with pytest.raises(TypeError, match="Axis must"):
        ga.quantile(ga.zeros((2, 3)), 0.5, weights=[1, 2, 3], **HOW)
    with pytest.raises(TypeError, match="real"):
        ga.quantile(x, 0.5, weights=[1j, 2, 3], **HOW)


@pytest.mark.parametrize("dtype", ["f8", "i8"])
def test_beyond_the_limit(dtype, tmp_path):
    """Two million elements and their weights, 32 MB, with 24 MB."""
    n = 2_000_003
    a = np.random.default_rng(1).integers(0, 10**6, n).astype(dtype)
    w = np.random.default_rng(2).integers(0, 5, n).astype("f8")
    q = [0.0, 0.1, 0.5, 1.0]
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "w.npy", w)
    with ga.config.set(host_memory="24 MB", spill_directory=tmp_path):
        x, weights = ga.from_npy(tmp_path / "a.npy"), ga.from_npy(tmp_path / "w.npy")
        made = ga.quantile(x, q, weights=weights, **HOW)
        report = made.explain()
        assert report.refusal is None
        assert all(peak.nbytes <= 24e6 for peak in report.peaks if peak.tier == "host")
        np.testing.assert_array_equal(made.compute(), np.quantile(a, q, weights=w, **HOW))
