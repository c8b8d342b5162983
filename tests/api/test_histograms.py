"""Histograms and counts: against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import gpuarray as ga

CUTS = ["whole", "ones", "odd", "uneven"]


@pytest.fixture
def data():
    return np.random.default_rng(0).integers(0, 20, (4, 5, 3)) / 2


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("bins", [1, 7, [0, 1, 5, 5.5, 9], [0.0, 20.0]])
def test_histogram(bins, how, data, cut, same):
    x, w = cut(data, how), data[::-1] + 1
    for keywords in ({}, {"range": (1, 8)}, {"density": True}, {"range": (3, 3)}):
        same(ga.histogram(x, bins, **keywords), np.histogram(data, bins, **keywords), close=True)
    same(ga.histogram(x, bins, weights=cut(w, how)), np.histogram(data, bins, weights=w), close=True)
    same(ga.histogram(x, bins, weights=w * 1j), np.histogram(data, bins, weights=w * 1j), close=True)
    same(ga.histogram_bin_edges(x, bins), np.histogram_bin_edges(data, bins))


@pytest.mark.parametrize("dtype", ["b", "B", "h", "H", "i", "I", "l", "L", "e", "f", "d"])
def test_dtypes(dtype, data, cut, same):
    a = data.astype(dtype)
    same(ga.histogram(cut(a), 6), np.histogram(a, 6), close=True)
    same(ga.histogram(cut(a), [0, 2, 8]), np.histogram(a, [0, 2, 8]))


@pytest.mark.parametrize("name", ["auto", "doane", "fd", "rice", "scott", "sqrt", "sturges"])
def test_estimators(name, cut, same):
    a = np.random.default_rng(1).standard_normal(300)
    same(ga.histogram_bin_edges(cut(a), name), np.histogram_bin_edges(a, name), close=True)
    same(ga.histogram_bin_edges(cut(a), name, (-1, 1)), np.histogram_bin_edges(a, name, (-1, 1)), close=True)
    same(ga.histogram_bin_edges(np.zeros(5), name), np.histogram_bin_edges(np.zeros(5), name))


def test_estimators_of_other_values(cut, same):
    flat = np.r_[np.zeros(90), np.arange(10.0)]  # its quartiles are equal
    for a in (flat, flat.astype(int), flat.astype("f4")):
        same(ga.histogram(cut(a), "auto"), np.histogram(a, "auto"))
    a = flat > 0
    same(ga.histogram(cut(a), "sturges")[0], np.histogram(a.astype("u1"), "sturges")[0])


def test_edges_are_spaced_in_the_dtype_of_the_data(cut, same):
    a = np.random.default_rng(3).random(1000, "f4") * 1000
    same(ga.histogram(cut(a), 50), np.histogram(a, 50))
    with pytest.raises(ValueError, match="100000 bins are too many between"):
        ga.histogram(cut(a.astype("f2")), 100_000)[1].compute()
    with pytest.raises(ValueError, match="10 bins are too many between"):
        ga.histogram(cut(a), 10, (1, 1 + 3e-16))


def test_nothing(same):
    same(ga.histogram(ga.zeros(0), 3), np.histogram(np.zeros(0), 3))
    same(ga.bincount(np.zeros(0, int)), np.bincount(np.zeros(0, int)))
    same(ga.bincount(np.zeros(0, int), minlength=2), np.bincount(np.zeros(0, int), minlength=2))


@pytest.mark.parametrize("how", CUTS)
def test_bincount(how, cut, same):
    a = np.random.default_rng(2).integers(0, 9, 50)
    same(ga.bincount(cut(a, how)), np.bincount(a))
    same(ga.bincount(cut(a, how), minlength=12), np.bincount(a, minlength=12))
    same(ga.bincount(cut(a, how), weights=cut(a * 0.5, how)), np.bincount(a, weights=a * 0.5), close=True)


@pytest.mark.parametrize("how", CUTS)
def test_of_points(how, data, cut, same):
    points = data.reshape(-1, 3)
    x = cut(points, how)
    for keywords in ({}, {"density": True}, {"range": [(0, 5), (1, 9), (2, 8)]}):
        mine, theirs = ga.histogramdd(x, 3, **keywords), np.histogramdd(points, 3, **keywords)
        same((mine[0], *mine[1]), (theirs[0], *theirs[1]), close=True)
    w = points[:, 0]
    theirs = np.histogramdd(points, [2, [0, 4, 9], 3], weights=w)
    mine = ga.histogramdd(x, [2, [0, 4, 9], 3], weights=w)
    same((mine[0], *mine[1]), (theirs[0], *theirs[1]), close=True)
    same(ga.histogram2d(x[:, 0], x[:, 1], [4, 3]), np.histogram2d(points[:, 0], points[:, 1], [4, 3]))


def test_errors(data):
    for f, match in [
        (lambda: ga.histogram(data, 0), "positive"),
        (lambda: ga.histogram(data, [2, 1]), "monotonically"),
        (lambda: ga.histogram(data, 3, range=(2, 1)), "larger"),
        (lambda: ga.histogram(data, 3, range=(0, np.inf)), "finite"),
        (lambda: ga.histogram([np.nan, 1.0], 3)[0].compute(), "finite"),
        (lambda: ga.histogram(data, "best"), "estimator"),
        (lambda: ga.histogram(data, 3, weights=[1]), "shape"),
        (lambda: ga.histogramdd(data[0], [2, 2]), "dimension"),
        (lambda: ga.bincount([-1, 2]), "from 0"),
        (lambda: ga.bincount([[1]]), "one dimension"),
        (lambda: ga.bincount([1], minlength=-1), "negative"),
        (lambda: ga.bincount([1], weights=[1, 2]), "shape"),
    ]:
        with pytest.raises(ValueError, match=match):
            f()
    with pytest.raises(TypeError, match="integers"):
        ga.bincount([1.5])
    with pytest.raises(TypeError, match="integer"):
        ga.histogram(data, 2.5)


def test_on_a_device_in_little_memory():
    a = np.random.default_rng(3).standard_normal(200_000)
    with ga.config.set(device="fake", device_memory="6 MiB", threads=1):
        x = ga.asarray(a, chunks=10_000)
        got = [r.compute() for r in ga.histogram(x, 50)]
        counts = ga.bincount((x * 10 + 100).astype("i8")).compute()
    np.testing.assert_array_equal(got[0], np.histogram(a, 50)[0])
    np.testing.assert_array_equal(counts, np.bincount((a * 10 + 100).astype("i8")))
