"""Sorting, searching and sets: against NumPy, as one block and in many."""

from __future__ import annotations

import numpy as np
import pytest

import gpuarray as ga
from gpuarray import sets

CUTS = ["whole", "ones", "odd", "uneven"]
NAN = float("nan")


@pytest.fixture
def data():
    return np.random.default_rng(0).integers(-4, 5, (4, 5, 6))


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_sort(axis, how, data, cut, same):
    x = cut(data, how)
    same(ga.sort(x, axis=axis), np.sort(data, axis=axis))
    same(ga.argsort(x, axis=axis), np.argsort(data, axis=axis, kind="stable"))
    same(ga.sort(x, axis=axis, descending=True), np.flip(np.sort(data, axis=axis), axis=-1 if axis is None else axis))
    same(ga.partition(x, 2, axis=axis), np.sort(data, axis=axis))
    same(ga.argpartition(x, [-1, 0], axis=axis), np.argsort(data, axis=axis, kind="stable"))
    same(ga.lexsort((x, x % 3), axis=-1), np.lexsort((data, data % 3), axis=-1))
    same(ga.lexsort((x, x * 1.5), axis=1), np.lexsort((data, data * 1.5), axis=1))
    at = -1 if axis is None else axis
    mine, theirs = ga.topk(x, 3, axis=at), np.flip(np.sort(data, axis=at), axis=at)
    same(mine, np.take(theirs, range(3), axis=at))
    same(ga.topk(x, 2, axis=at, largest=False), np.take(np.sort(data, axis=at), range(2), axis=at))


@pytest.mark.parametrize("dtype", [*"?bBhHiIlLefdFD", "U2", "M8[D]", "m8[h]"])
def test_sorted_dtypes(dtype, cut, same):
    a = np.random.default_rng(1).integers(0, 9, 30)
    a = a.astype(dtype) if dtype[0] not in "M" else a.astype("i8").astype(dtype)
    if dtype in "efdFD":
        a[::4], a[3] = NAN, -np.inf
    for kind in (None, "stable", "heapsort"):
        same(ga.sort(cut(a), kind=kind), np.sort(a))
    same(ga.argsort(cut(a)), np.argsort(a, kind="stable"))
    x = cut(a)
    x.sort()
    same(x, np.sort(a))
    x.partition(3)
    same(x, np.sort(a))
    if dtype not in ("U2", "M8[D]", "m8[h]"):
        same(ga.sort_complex(cut(a)), np.sort_complex(a))


def test_descending_keeps_the_order_of_equals(cut, same):
    a = np.array([1, 3, 1, 3, 2])
    same(ga.argsort(cut(a), descending=True), np.array([1, 3, 4, 0, 2]))
    same(ga.argsort(3), np.argsort(3))


def test_topk_goes_through_chunks(same):
    a = np.random.default_rng(2).permutation(5000)
    a = np.where(a % 7 == 0, NAN, a)
    same(ga.topk(ga.asarray(a, chunks=311), 4, largest=False), np.sort(a)[:4])
    same(ga.topk(ga.asarray(a[:2000], chunks=300), 4), np.sort(a[:2000])[-4:][::-1])
    same(ga.topk(ga.asarray(a, chunks=311), 0), np.zeros(0))


def test_sort_errors(data):
    for f in (lambda: ga.sort(data, kind="bogo"), lambda: ga.sort(data, kind="stable", stable=True)):
        with pytest.raises(ValueError, match="kind"):
            f()
    with pytest.raises(np.exceptions.AxisError):
        ga.sort(data, axis=3)
    with pytest.raises(np.exceptions.AxisError):
        ga.sort(3.0)
    with pytest.raises(ValueError, match="records"):
        ga.sort(data, order="x")
    with pytest.raises(ValueError, match="kth=9"):
        ga.partition(data, 9)
    with pytest.raises(TypeError, match="integer"):
        ga.partition(data, 1.5)
    with pytest.raises(ValueError, match="k=7"):
        ga.topk(data, 7)
    with pytest.raises(ValueError, match="same shape"):
        ga.lexsort(([1], [1, 2]))


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(side, how, data, cut, same, monkeypatch):
    a = np.sort(data.ravel())
    same(ga.searchsorted(cut(a, how), cut(data + 0.5, how), side), np.searchsorted(a, data + 0.5, side))
    same(cut(a, how).searchsorted(3, side), np.searchsorted(a, 3, side))
    b = data.ravel()
    same(ga.searchsorted(b, 1, side, np.argsort(b)), np.searchsorted(b, 1, side, np.argsort(b)))
    monkeypatch.setattr("gpuarray.searching.LONG", 0)
    same(ga.searchsorted(cut(a, how), cut(data, how), side), np.searchsorted(a, data, side))


def test_digitize_and_interp(data, cut, same):
    for bins in ([-3, 0, 2.5], [4, 1, 1, -2], [0]):
        for right in (False, True):
            same(ga.digitize(cut(data), bins, right), np.digitize(data, bins, right))
    places, values = [-2.0, 0.0, 0.5, 3.0], [1.0, 5.0, -1.0, 2.0]
    x = data + 0.3
    same(ga.interp(cut(x), places, values), np.interp(x, places, values), close=True)
    same(ga.interp(cut(x), places, values, left=9, right=-9), np.interp(x, places, values, 9, -9), close=True)
    same(ga.interp(cut(x), places, values, period=4), np.interp(x, places, values, period=4), close=True)
    same(ga.interp(1, places, np.array(values) * 1j), np.interp(1, places, np.array(values) * 1j), close=True)
    with pytest.raises(ValueError, match="monotonically"):
        ga.digitize(data, [1, 3, 2])
    with pytest.raises(TypeError, match="complex"):
        ga.digitize(data * 1j, [1])
    with pytest.raises(ValueError, match="empty"):
        ga.interp(data, [], [])
    with pytest.raises(ValueError, match="one length"):
        ga.interp(data, [1], [1, 2])
    with pytest.raises(ValueError, match="side"):
        ga.searchsorted([1], 1, side="middle")
    with pytest.raises(ValueError, match="one dimension"):
        ga.searchsorted(data, 1)


EVERY = {"return_index": True, "return_inverse": True, "return_counts": True}


@pytest.mark.parametrize("small", [0, 2**18])
@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("dtype", ["?", "b", "L", "f", "d", "D", "U1"])
def test_unique(dtype, how, small, data, cut, same, monkeypatch):
    monkeypatch.setattr(sets, "SMALL", small)
    a = (data[:2] + 4).astype(dtype)
    if dtype in "fdD":
        a[0, 1], a[1, 2, 3] = NAN, NAN
    x = cut(a, how)
    same(ga.unique(x), np.unique(a))
    for equal_nan in (True, False):
        same(ga.unique(x, **EVERY, equal_nan=equal_nan), np.unique(a, **EVERY, equal_nan=equal_nan))
    for name in ("unique_all", "unique_counts", "unique_inverse"):
        mine, theirs = getattr(ga, name)(x), getattr(np, name)(a)
        assert mine._fields == theirs._fields
        if name != "unique_inverse":
            same(tuple(mine), tuple(theirs))
        else:  # NumPy numbers the NaNs in no order here
            same(mine.values, theirs.values)
            known = ~np.isin(theirs.inverse_indices, np.flatnonzero(theirs.values != theirs.values))
            same(mine.inverse_indices[known], theirs.inverse_indices[known])
            same(mine.values[mine.inverse_indices], a)
    same(ga.unique_values(x), np.sort(np.unique_values(a)))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_unique_along_an_axis(axis, cut, same):
    a = np.random.default_rng(3).integers(0, 2, (5, 6))
    same(ga.unique(cut(a), **EVERY, axis=axis), np.unique(a, **EVERY, axis=axis))
    same(ga.unique(ga.zeros(0)), np.unique(np.zeros(0)))
    with pytest.raises(np.exceptions.AxisError):
        ga.unique(a, axis=2)


@pytest.mark.parametrize("small", [0, 2**18])
def test_sets(small, cut, same, monkeypatch):
    monkeypatch.setattr(sets, "SMALL", small)
    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 12, 30), rng.integers(6, 20, (4, 5))
    for name in ("union1d", "intersect1d", "setxor1d", "setdiff1d", "isin"):
        same(getattr(ga, name)(cut(a), cut(b)), getattr(np, name)(a, b))
        same(getattr(ga, name)(cut(a), np.zeros(0, int)), getattr(np, name)(a, np.zeros(0, int)))
        same(getattr(ga, name)(cut(b + 0.5), cut(a)), getattr(np, name)(b + 0.5, a))
    same(ga.isin(cut(b), cut(a), invert=True), np.isin(b, a, invert=True))
    same(ga.intersect1d(cut(a), cut(b), return_indices=True), np.intersect1d(a, b, return_indices=True))
    u, v = np.unique(a)[::-1], np.unique(b)
    theirs = np.intersect1d(u, v, assume_unique=True, return_indices=True)
    same(ga.intersect1d(cut(u), cut(v), assume_unique=True, return_indices=True), theirs)
    for name in ("setxor1d", "setdiff1d", "intersect1d"):
        same(getattr(ga, name)(cut(u), cut(v), assume_unique=True), getattr(np, name)(u, v, assume_unique=True))
    with pytest.raises(ValueError, match="kind"):
        ga.isin(a, b, kind="magic")


def test_large_sets_stay_in_the_limit():
    a = np.random.default_rng(5).integers(0, 1000, 300_000)
    with ga.config.set(host_memory="12 MiB", device="cpu", threads=1):
        x = ga.asarray(a, chunks=20_000)
        values, counts = ga.unique(x, return_counts=True)
        np.testing.assert_array_equal(values.compute(), np.unique(a))
        np.testing.assert_array_equal(counts.compute(), np.bincount(a))
        assert ga.sort(x).chunks == x.chunks


def test_what_holds_an_axis_whole_says_so_where_it_does_not_fit():
    x = ga.random.default_rng(0).integers(0, 9, 2_000_000, chunks=100_000)
    with (
        ga.config.set(host_memory="12 MB"),
        pytest.raises(ga.errors.MemoryLimitError, match="takes these axes whole"),
    ):
        ga.bitwise_or.reduce(x).compute()
