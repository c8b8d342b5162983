"""Functions of NumPy's that are made of others: against NumPy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import gpuarray as ga

CUTS = ["whole", "ones", "odd", "uneven"]
RNG = np.random.default_rng(0)
VECTOR = RNG.standard_normal(13)
MATRIX = RNG.integers(-5, 6, (4, 5)).astype(float)
CUBE = RNG.integers(0, 9, (3, 4, 5))


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("m", [1, 2, 3, 6, 13, 17])
@pytest.mark.parametrize("how", CUTS)
def test_convolve(how, m, mode, cut, same):
    v = RNG.standard_normal(m)
    for a, b in ((VECTOR, v), (VECTOR * 1j + 1, v * 2j), (CUBE[0, 0], np.arange(m))):
        same(ga.convolve(cut(a, how), cut(b, how), mode), np.convolve(a, b, mode), close=True)
        same(ga.correlate(cut(a, how), cut(b, how), mode), np.correlate(a, b, mode), close=True)


@pytest.mark.parametrize("how", CUTS)
def test_neighbours(how, cut, same):
    x = cut(CUBE, how)
    for axis in range(3):
        same(ga.trapezoid(x, axis=axis, dx=0.5), np.trapezoid(CUBE, axis=axis, dx=0.5), close=True)
        places = np.arange(CUBE.shape[axis]) ** 2
        same(ga.trapezoid(x, places, axis=axis), np.trapezoid(CUBE, places, axis=axis), close=True)
        same(ga.unwrap(x * 1.7, axis=axis), np.unwrap(CUBE * 1.7, axis=axis), close=True)
        same(ga.unwrap(x, axis=axis, period=5), np.unwrap(CUBE, axis=axis, period=5), close=True)
        same(ga.unwrap(x, axis=axis, period=6), np.unwrap(CUBE, axis=axis, period=6), close=True)
    same(ga.trapezoid(x, x * x, axis=1), np.trapezoid(CUBE, CUBE * CUBE, axis=1), close=True)
    same(ga.ediff1d(x), np.ediff1d(CUBE))
    same(ga.ediff1d(x, [1, 2], 7), np.ediff1d(CUBE, [1, 2], 7))
    same(ga.ediff1d([3], to_end=[1]), np.ediff1d([3], to_end=[1]))


@pytest.mark.parametrize("how", CUTS)
def test_covariances(how, cut, same):
    x, rng = cut(MATRIX, how), np.random.default_rng(1)
    cases: list[dict[str, Any]] = [
        {}, {"rowvar": False}, {"bias": True}, {"ddof": 2}, {"y": MATRIX[::-1]}, {"fweights": [1, 2, 3, 1, 2]},
        {"aweights": rng.random(5)}, {"fweights": [1, 2, 3, 1, 2], "aweights": rng.random(5)},
        {"aweights": rng.random(5), "ddof": 0}, {"dtype": "f4"},
    ]  # fmt: skip
    for keywords in cases:
        same(ga.cov(x, **keywords), np.cov(MATRIX, **keywords), close=True)
    same(ga.cov(x * (1 + 2j)), np.cov(MATRIX * (1 + 2j)), close=True)
    same(ga.cov(cut(VECTOR, how)), np.cov(VECTOR), close=True)
    same(ga.corrcoef(x), np.corrcoef(MATRIX), close=True)
    same(ga.corrcoef(x, rowvar=False), np.corrcoef(MATRIX, rowvar=False), close=True)
    same(ga.corrcoef(cut(VECTOR, how)), np.corrcoef(VECTOR), close=True)
    same(ga.corrcoef(x * (1 + 2j)), np.corrcoef(MATRIX * (1 + 2j)), close=True)
    with pytest.raises(ValueError, match="dimensions"):
        ga.cov(CUBE)
    with pytest.raises(TypeError, match="integer"):
        ga.cov(MATRIX, fweights=[0.5] * 5)


@pytest.mark.parametrize("order", ["C", "F"])
def test_positions(order, cut, same):
    flat = RNG.integers(0, 60, (4, 3))
    same(ga.unravel_index(cut(flat), (3, 4, 5), order), np.unravel_index(flat, (3, 4, 5), order))
    where = np.unravel_index(flat, (3, 4, 5))
    same(
        ga.ravel_multi_index(tuple(map(cut, where)), (3, 4, 5), order=order),
        np.ravel_multi_index(where, (3, 4, 5), order=order),
    )
    wild = tuple(w - 3 for w in where)
    for mode in ("wrap", "clip", ("wrap", "clip", "wrap")):
        theirs = np.ravel_multi_index(wild, (3, 4, 5), mode=mode, order=order)
        same(ga.ravel_multi_index(wild, (3, 4, 5), mode, order), theirs)
    with pytest.raises(ValueError, match="out of bounds"):
        ga.unravel_index([60], (3, 4, 5))[0].compute()
    with pytest.raises(ValueError, match="invalid entry"):
        ga.ravel_multi_index(([3], [0]), (3, 4)).compute()
    with pytest.raises(TypeError, match="integers"):
        ga.unravel_index([1.5], (3,))


@pytest.mark.parametrize("k", [-2, 0, 1])
def test_triangles(k, same):
    for name in ("tril_indices", "triu_indices"):
        same(getattr(ga, name)(4, k), getattr(np, name)(4, k))
        same(getattr(ga, name)(4, k, 3), getattr(np, name)(4, k, 3))
        same(getattr(ga, name + "_from")(MATRIX, k), getattr(np, name + "_from")(MATRIX, k))
    same(ga.mask_indices(4, ga.triu, k), np.mask_indices(4, np.triu, k))
    same(ga.diag_indices(3, 3), np.diag_indices(3, 3))
    same(ga.diag_indices_from(np.zeros((2, 2))), np.diag_indices_from(np.zeros((2, 2))))
    same(ga.ix_([1, 2], [True, False, True], []), np.ix_([1, 2], [True, False, True], []))
    with pytest.raises(ValueError, match="2-d"):
        ga.tril_indices_from(VECTOR)
    with pytest.raises(ValueError, match="equal length"):
        ga.diag_indices_from(MATRIX)


def written(function: str, a: np.ndarray, cut: Any, same: Any, *args: Any) -> None:
    x, other, b = cut(a), cut(a), a.copy()
    alias = x[...]
    assert getattr(ga, function)(x, *args) is None
    getattr(np, function)(b, *args)
    same(x, b)
    same(alias, b)
    same(other, a)


def test_writing(cut, same):
    for mode, where in (("raise", [0, 5, -1, 5]), ("wrap", [25, -30]), ("clip", [99, -99])):
        written("put", MATRIX, cut, same, where, [1, 2, 3], mode)
    written("put", MATRIX, cut, same, [], [])
    written("place", MATRIX, cut, same, MATRIX > 0, [10, 20, 30])
    written("place", MATRIX, cut, same, MATRIX > 99, [10])
    written("putmask", MATRIX, cut, same, MATRIX > 0, [10, 20, 30])
    written("putmask", MATRIX, cut, same, MATRIX > 0, -MATRIX)
    written("putmask", MATRIX, cut, same, MATRIX > 0, 3)
    best = np.argmax(CUBE, axis=1, keepdims=True)
    written("put_along_axis", CUBE, cut, same, best, 99, 1)
    written("put_along_axis", CUBE, cut, same, np.array([3, -1]), [7, 8], None)
    for shape in ((4, 4), (7, 3), (3, 7), (3, 3, 3)):
        for wrap in (False, True):
            written("fill_diagonal", np.zeros(shape), cut, same, 5, wrap)
            written("fill_diagonal", np.zeros(shape, int), cut, same, [1, 2], wrap)
    for shape in ((2, 3), 30, (0,), (5, 2, 3), ()):
        same(ga.resize(cut(MATRIX), shape), np.resize(MATRIX, shape))
    same(ga.resize(np.zeros(0), 3), np.resize(np.zeros(0), 3))
    with pytest.raises(TypeError, match="NDArray"):
        ga.put(MATRIX, [0], 1)
    with pytest.raises(IndexError, match="out of bounds"):
        ga.put(cut(MATRIX), [20], 1)
    with pytest.raises(ValueError, match="empty"):
        ga.place(cut(MATRIX), MATRIX > 0, [])
    with pytest.raises(ValueError, match="same size"):
        ga.putmask(cut(MATRIX), [True], 1)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("runs", [0, 1000])
def test_delete_and_insert(runs, axis, cut, same, monkeypatch):
    monkeypatch.setattr("gpuarray.editing.RUNS", runs)
    n = CUBE.size if axis is None else CUBE.shape[axis]
    for obj in (0, -1, [1], [0, 2, 2, -1], slice(None, None, 2), slice(1, 1), [], np.arange(n) % 2 == 0, slice(None)):
        same(ga.delete(cut(CUBE), obj, axis), np.delete(CUBE, obj, axis))
    for obj in (0, -1, 2, n, [1], [0, 2, 2, n], [2, 0], slice(0, 2), []):
        same(ga.insert(cut(CUBE), obj, 7, axis), np.insert(CUBE, obj, 7, axis))
    same(ga.insert(cut(MATRIX), 1, [1, 2, 3, 4], 1), np.insert(MATRIX, 1, [1, 2, 3, 4], 1))
    same(ga.insert(cut(MATRIX), [1], [[1], [2], [3], [4]], 1), np.insert(MATRIX, [1], [[1], [2], [3], [4]], 1))
    same(ga.insert(cut(MATRIX), [3, 1], [[1.7, 2]], 1), np.insert(MATRIX, [3, 1], [[1.7, 2]], 1))
    same(ga.insert([1, 2], 1, [5, 6, 7]), np.insert([1, 2], 1, [5, 6, 7]))
    for f in (lambda: ga.delete(CUBE, n, axis), lambda: ga.insert(CUBE, n + 1, 0, axis)):
        with pytest.raises(IndexError, match="out of bounds"):
            f()


def test_trim_and_block(cut, same):
    a = np.array([0, 0, 1, 2, 0, 3, 0])
    for trim in ("f", "b", "fb"):
        same(ga.trim_zeros(cut(a), trim), np.trim_zeros(a, trim))
        same(ga.trim_zeros(np.zeros(3), trim), np.trim_zeros(np.zeros(3), trim))
        b = np.pad(MATRIX, 2)
        same(ga.trim_zeros(cut(b), trim), np.trim_zeros(b, trim))
        same(ga.trim_zeros(cut(b), trim, axis=1), np.trim_zeros(b, trim, axis=1))
    o, z = np.ones((2, 2)), np.zeros((2, 3))
    for blocks in ([[o, z], [np.full((1, 5), 7)]], [1, 2, 3], [o, o], [[[o]]], 5, [[VECTOR], [VECTOR]]):
        same(ga.block(blocks), np.block(blocks))
    for bad, error in (([], ValueError), ([[1], 2], ValueError), ((1, 2), TypeError)):
        with pytest.raises(error):
            ga.block(bad)


@pytest.mark.parametrize("how", CUTS)
def test_functions_of_functions(how, cut, same):
    x = cut(CUBE, how)
    for axis in (0, 1, -1):
        for f in (np.sum, np.sort, lambda v: np.outer(v, v[:2]), lambda v: v[:2] * 0.5):
            same(ga.apply_along_axis(f, axis, x), np.apply_along_axis(f, axis, CUBE))
    same(ga.apply_over_axes(ga.sum, x, [0, 2]), np.apply_over_axes(np.sum, CUBE, [0, 2]))

    def larger(a, b):
        return a if a > b else b

    same(ga.vectorize(larger)(x, 4), np.vectorize(larger)(CUBE, 4))
    same(ga.vectorize(larger, otypes="d")(x, x[0]), np.vectorize(larger, otypes="d")(CUBE, CUBE[0]))
    conditions = [CUBE < 3, CUBE > 6]
    same(ga.select([x < 3, x > 6], [x, x * 0.5], -1), np.select(conditions, [CUBE, CUBE * 0.5], -1))
    same(ga.select([x < 3], [7], 1.5), np.select([CUBE < 3], [7], 1.5))
    same(
        ga.piecewise(x, [x < 3, x > 6], [-1, lambda v: v * 2, 5]),
        np.piecewise(CUBE, conditions, [-1, lambda v: v * 2, 5]),
    )
    same(ga.piecewise(x, [x < 3], [lambda v: v + 0.5]), np.piecewise(CUBE, [CUBE < 3], [lambda v: v + 0.5]))
    choices = [CUBE, CUBE * 10, 3.5]
    same(ga.choose(x % 3, choices), np.choose(CUBE % 3, choices))
    for mode in ("wrap", "clip"):
        same(ga.choose(x, choices, mode=mode), np.choose(CUBE, choices, mode=mode))
    with pytest.raises(ValueError, match="choices"):
        ga.choose(x, choices).compute()
    with pytest.raises(ValueError, match="same length"):
        ga.select([x < 3], [])
    with pytest.raises(TypeError, match="boolean"):
        ga.select([x], [x])
    with pytest.raises(ValueError, match="functions"):
        ga.piecewise(x, [x < 3], [1, 2, 3])
    with pytest.raises(ValueError, match="otypes"):
        ga.vectorize(larger)(np.zeros(0), 1)


@pytest.mark.parametrize("how", CUTS)
def test_bits(how, cut, same):
    a = RNG.integers(0, 2, (3, 11))
    for order in ("big", "little"):
        for axis in (None, 0, 1):
            same(ga.packbits(cut(a, how), axis, order), np.packbits(a, axis, order))
            b = np.packbits(a, 1)
            for count in (None, 0, 5, -3, 40):
                theirs = np.unpackbits(b, axis=axis, count=count, bitorder=order)
                same(ga.unpackbits(cut(b, how), axis, count, order), theirs)
    same(ga.packbits(np.zeros(0, bool)), np.packbits(np.zeros(0, bool)))
    with pytest.raises(TypeError, match="unsigned byte"):
        ga.unpackbits([1])
    with pytest.raises(TypeError, match="integer or boolean"):
        ga.packbits([1.5])


def test_polynomials(cut, same):
    same(ga.polyval([2, -1, 3], cut(CUBE)), np.polyval([2, -1, 3], CUBE))
    same(ga.polyval([2.5, -1], cut(VECTOR)), np.polyval([2.5, -1], VECTOR), close=True)
    for n in (None, 0, 1, 4):
        for increasing in (False, True):
            same(ga.vander(cut(CUBE[0, 0]), n, increasing), np.vander(CUBE[0, 0], n, increasing))
    for name, args in {
        "poly": ([1, 2.0],), "roots": ([1.0, -3, 2],), "polyadd": ([1, 2], [3]), "polysub": ([1, 2], [3]),
        "polymul": ([1, 2], [3, 4]), "polydiv": ([1.0, 3, 2], [1.0, 1]), "polyder": ([3, 2, 1],), "polyint": ([3, 2],),
        "bartlett": (5,), "blackman": (5,), "hamming": (5,), "hanning": (5,), "kaiser": (5, 2.0),
    }.items():  # fmt: skip
        same(getattr(ga, name)(*args), getattr(np, name)(*args))


@pytest.mark.parametrize("how", ["whole", "odd"])
@pytest.mark.parametrize("dtype", ["i8", "u1", "f8", "D"])
def test_computed_padding(dtype, how, cut, same):
    a = (MATRIX + 5).astype(dtype)
    x = cut(a, how)
    for width in (2, (0, 3), ((1, 2), (9, 0))):
        for mode in ("maximum", "minimum", "mean", "median"):
            for length in (None, 2, ((1, 3), (2, 9))):
                if dtype == "u1" and mode in ("mean", "median"):
                    continue  # sums of small integers
                theirs = np.pad(a, width, mode, stat_length=length)
                same(ga.pad(x, width, mode, stat_length=length), theirs, close=True)
        for ends in (0, (3, -4) if dtype != "u1" else (3, 4)):
            theirs = np.pad(a, width, "linear_ramp", end_values=ends)
            same(ga.pad(x, width, "linear_ramp", end_values=ends), theirs, close=True)
        for mode in ("reflect", "symmetric"):
            theirs = np.pad(a, width, mode, reflect_type="odd")
            same(ga.pad(x, width, mode, reflect_type="odd"), theirs)


def test_padding_errors():
    for f, match in [
        (lambda: ga.pad(VECTOR, 1, "mean", end_values=1), "end_values"),
        (lambda: ga.pad(VECTOR, 1, "maximum", stat_length=0), "stat_length"),
        (lambda: ga.pad(VECTOR, 1, "reflect", reflect_type="strange"), "strange"),
        (lambda: ga.pad(np.zeros(0), 1, "mean"), "empty axis"),
    ]:
        with pytest.raises(ValueError, match=match):
            f()
    with pytest.raises(TypeError, match="colour"):
        ga.pad(VECTOR, 1, colour=3)


@pytest.mark.parametrize("how", CUTS)
def test_positions_beside_nan(how, cut, same):
    a = MATRIX.copy()
    a[0, 0] = a[2, 1:] = a[1, 4] = np.nan
    for name in ("nanargmin", "nanargmax"):
        for axis in (None, 0, 1):
            same(getattr(ga, name)(cut(a, how), axis), getattr(np, name)(a, axis))
        same(getattr(ga, name)(cut(a, how), 0, keepdims=True), getattr(np, name)(a, 0, keepdims=True))
        same(getattr(ga, name)(cut(CUBE, how), 1), getattr(np, name)(CUBE, 1))
        with pytest.raises(ValueError, match="All-NaN"):
            getattr(ga, name)(cut(a * np.nan, how), 1).compute()
