"""Medians and quantiles: against NumPy, by sorting rows and by selection."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.kernels.quantiles import METHODS

NAMES = ["median", "nanmedian"]
DTYPES = ["b", "B", "h", "H", "i", "I", "l", "L", "e", "f", "d"]


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@pytest.fixture
def data():
    a = np.random.default_rng(0).integers(-9, 9, (4, 5, 6)).astype(float)
    a[0, :, 1] = a[2, 3] = np.nan
    return a


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (2, 1), (), (0, 1, 2)])
@pytest.mark.parametrize("how", ["whole", "ones", "odd", "uneven"])
def test_axes(how, axis, data, cut, same):
    x = cut(data, how)
    for keepdims in (False, True):
        for name in NAMES:
            same(
                getattr(ga, name)(x, axis=axis, keepdims=keepdims),
                getattr(np, name)(data, axis=axis, keepdims=keepdims),
            )
        for q in (0.3, [0.1, 0.9], [[0.0, 1.0], [0.5, 0.25]]):
            for name in ("quantile", "nanquantile")[: 3 - np.ndim(q)]:  # NumPy's nanquantile mixes up two axes of q
                theirs = getattr(np, name)(data, q, axis=axis, keepdims=keepdims)
                same(getattr(ga, name)(x, q, axis=axis, keepdims=keepdims), theirs, close=True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 2, 3, 10, 11])
def test_methods(method, n, cut, same):
    a = np.random.default_rng(1).random(n)
    q = [0, 0.1, 0.25, 0.3, 0.5, 0.7, 0.9, 1.0]
    same(ga.quantile(cut(a), q, method=method), np.quantile(a, q, method=method), close=True)
    same(ga.percentile(cut(a), 35, method=method), np.percentile(a, 35, method=method), close=True)
    a[n // 2] = np.nan
    same(ga.nanpercentile(cut(a), q, method=method), np.nanpercentile(a, q, method=method), close=True)


@pytest.mark.parametrize("dtype", [*DTYPES, "?", "F", "D"])
def test_dtypes(dtype, cut, same):
    a = np.random.default_rng(2).integers(0, 90, (4, 7)).astype(dtype)
    for name in NAMES:
        same(getattr(ga, name)(cut(a), axis=1), getattr(np, name)(a, axis=1), close=True)
    for q in (0.4, [0.4], 1):
        for method in ("linear", "lower", "hazen"):
            try:
                theirs = np.quantile(a, q, axis=1, method=method)
            except TypeError:
                with pytest.raises(TypeError):
                    ga.quantile(cut(a), q, axis=1, method=method)
                continue
            same(ga.quantile(cut(a), q, axis=1, method=method), theirs, close=True)


def test_nothing(same):
    same(ga.median(ga.zeros((0, 3)), axis=1), np.zeros(0))
    same(ga.median(ga.zeros((3, 0)), axis=1), np.full(3, np.nan))
    same(ga.nanmedian(ga.zeros(0)), np.float64(np.nan))
    same(ga.nanquantile(ga.zeros(0), 0.5), np.float64(np.nan))
    same(ga.quantile(ga.zeros((0, 3)), [0.5], axis=1), np.zeros((1, 0)))
    same(ga.median(3.0), np.float64(3))
    with pytest.raises(IndexError, match="no elements"):
        ga.quantile(ga.zeros(0), 0.5)


def test_errors():
    x = ga.zeros(3)
    for q in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="range"):
            ga.quantile(x, q)
    with pytest.raises(ValueError, match="'linear'"):
        ga.quantile(x, 0.5, method="guess")
    with pytest.raises(TypeError, match="complex"):
        ga.quantile(x * 1j, 0.5)
    with pytest.raises(TypeError, match="real numbers"):
        ga.quantile(x, "half")
    with pytest.raises(np.exceptions.AxisError):
        ga.median(x, axis=1)


def test_infinities_are_numbers(same):
    a = np.array([-np.inf, -1.0, np.inf, np.inf])
    same(ga.quantile(a, [0.0, 1.0], method="linear"), np.array([-np.inf, np.inf]))
    same(ga.quantile(a, 0.5, method="lower"), np.float64(-1))


@pytest.mark.parametrize("dtype", [*DTYPES, "?"])
@pytest.mark.parametrize("device", ["cpu", "fake"])
def test_selection_is_exact(dtype, device, monkeypatch):
    """Rows are said to be too long, so that every dtype goes through all its digits."""
    from gpuarray.plan import sorts

    rng = np.random.default_rng(3)
    a = rng.integers(0, 120, (2, 3, 4001)) if dtype not in "efd" else 1000 * rng.standard_normal((2, 3, 4001))
    a = a.astype(dtype)
    if dtype in "efd":
        a[0, 0, :9], a[0, 1], a[1, 1, ::2] = np.nan, np.nan, np.inf
        a[1, 2] = -0.0
    x = ga.asarray(a, chunks=(2, 2, 700))
    monkeypatch.setattr(sorts, "too_long", lambda node, budget: True)
    memory = {"device_memory": "64 MiB"} if device == "fake" else {}
    with ga.config.set(device=device, threads=1, host_memory="128 MiB", **memory):
        for axis in (2, (0, 2), None):
            for skip in ("", "nan"):
                got = getattr(ga, skip + "median")(x, axis=axis).compute()
                np.testing.assert_array_equal(got, getattr(np, skip + "median")(a, axis=axis))
        q = [0.0, 0.013, 0.5, 0.999, 1.0]
        got = ga.nanquantile(x, q, axis=2, method="inverted_cdf").compute()
        np.testing.assert_array_equal(got, np.nanquantile(a, q, axis=2, method="inverted_cdf"))


def test_a_median_takes_four_passes_at_most():
    from tests.engine.test_plan import on_file

    a = np.random.default_rng(4).standard_normal(400_000)
    x, reader = on_file(a, 20_000)
    with ga.config.set(host_memory="8 MiB", threads=1, device="cpu"):
        got = ga.median(x).compute()
    assert got == np.median(a)
    assert reader.elements <= 4 * a.size
    with ga.config.set(host_memory="8 MiB", threads=1, device="cpu"):
        got = ga.quantile(x, [0.25, 0.75], method="hazen").compute()
    np.testing.assert_allclose(got, np.quantile(a, [0.25, 0.75], method="hazen"), rtol=1e-15)
