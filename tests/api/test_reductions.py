"""Reductions, statistics and cumulative functions: against NumPy, over every choice of axes."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest

import gpuarray as ga

CUTS = ["whole", "ones", "odd", "uneven"]
DTYPES = ["?", "b", "B", "h", "H", "i", "I", "l", "L", "e", "f", "d", "F", "D"]
PLAIN = ["sum", "prod", "min", "max", "any", "all", "mean", "var", "std", "count_nonzero"]
AXES = [None, (), 0, -1, (0, 2), (2, 1), (0, 1, 2)]


def quietly(function: Any, *args: Any, **keywords: Any) -> Any:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return function(*args, **keywords)


def tolerant(dtype: str) -> bool:
    return dtype in "efdFD"


@pytest.fixture
def data() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 7, (4, 5, 3))


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("name", PLAIN)
def test_axes(name, how, axis, data, cut, same):
    a = data - 2.5
    x = cut(a, how)
    for keepdims in (False, True):
        theirs = getattr(np, name)(a, axis=axis, keepdims=keepdims)
        same(getattr(ga, name)(x, axis=axis, keepdims=keepdims), theirs, close=True)
    if hasattr(a, name):
        same(getattr(x, name)(axis=axis), getattr(a, name)(axis=axis), close=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*PLAIN, "argmin", "argmax", "cumsum", "cumprod", "ptp"])
def test_dtypes(name, dtype, data, cut, same):
    a = data.astype(dtype)
    if name in ("prod", "cumprod"):
        a = (data % 2 + 1).astype(dtype) if dtype != "?" else a
        a = a[:2, :2, :2] if dtype == "e" else a
    axis = 1 if name not in ("cumsum", "cumprod") or dtype != "e" else 2
    try:
        theirs = quietly(getattr(np, name), a, axis=axis)
    except TypeError:
        with pytest.raises(TypeError):
            getattr(ga, name)(a, axis=axis)
        return
    # NumPy rounds halves and singles at every step, we once
    if dtype in "ef" and name in ("mean", "var", "std"):
        theirs = getattr(np, name)(a.astype("f8"), axis=axis).astype(dtype)
    same(getattr(ga, name)(cut(a), axis=axis), theirs, close=tolerant(dtype))


@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1])
@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("name", ["argmin", "argmax"])
def test_positions(name, how, axis, data, cut, same):
    x = cut(data, how)  # many equal elements: the first one wins
    same(getattr(ga, name)(x, axis=axis), getattr(np, name)(data, axis=axis))
    same(getattr(ga, name)(x, axis=axis, keepdims=True), getattr(np, name)(data, axis=axis, keepdims=True))
    same(getattr(x.T, name)(axis), getattr(data.T, name)(axis))
    holes = np.where(data == 3, np.nan, data)
    same(getattr(ga, name)(cut(holes, how), axis=axis), getattr(np, name)(holes, axis=axis))


@pytest.mark.parametrize("axis", [None, 0, 1, 2, -3])
@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_cumulative(name, how, axis, data, cut, same):
    a = data + 1.0
    x = cut(a, how)
    same(getattr(ga, name)(x, axis), getattr(np, name)(a, axis), close=True)
    same(getattr(x, name)(axis), getattr(a, name)(axis), close=True)
    same(getattr(ga, name)(x, axis)[..., ::-2], np.asarray(getattr(np, name)(a, axis))[..., ::-2], close=True)
    same(
        getattr(ga, "nan" + name)(ga.where(x > 4, np.nan, x), axis),
        quietly(getattr(np, "nan" + name), np.where(a > 4, np.nan, a), axis),
        close=True,
    )
    for small in ("i1", "?", "u2", "f4"):
        same(getattr(ga, name)(cut(data.astype(small), how), 1), getattr(np, name)(data.astype(small), 1), close=True)


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod"])
def test_cumulative_of_the_standard(name, include, data, cut, same):
    for axis in (0, 1, -1):
        theirs = getattr(np, name)(data, axis=axis, include_initial=include)
        same(getattr(ga, name)(cut(data), axis=axis, include_initial=include), theirs)
    same(getattr(ga, name)(cut(data[0, 0]), dtype="f4"), getattr(np, name)(data[0, 0], dtype="f4"))
    with pytest.raises(ValueError, match="axis must be given"):
        getattr(ga, name)(cut(data))


@pytest.mark.parametrize("name", ["nansum", "nanprod", "nanmin", "nanmax", "nanmean", "nanvar", "nanstd"])
@pytest.mark.parametrize("axis", [None, 0, (1, 2)])
def test_passing_over_nan(name, axis, data, cut, same):
    a = np.where(data == 3, np.nan, data) / 7
    a[0] = np.nan
    a[1, 1:] = np.nan
    for b in (a, a.astype("f4"), data, data > 3, a * 1j):
        if b.dtype.kind == "c" and name in ("nanmin", "nanmax"):
            continue
        theirs = quietly(getattr(np, name), b, axis=axis)
        if b.dtype == np.float32 and name in ("nanmean", "nanvar", "nanstd"):
            theirs = np.asarray(quietly(getattr(np, name), b.astype("f8"), axis=axis)).astype("f4")
        same(getattr(ga, name)(cut(b), axis=axis), theirs, close=True)


def test_nanvar_with_degrees_of_freedom(cut, same):
    a = np.array([[1.0, np.nan, np.nan], [1.0, 4.0, np.nan], [np.nan] * 3])
    for ddof in (0, 1, 2):
        same(ga.nanvar(cut(a), 1, ddof=ddof), quietly(np.nanvar, a, 1, ddof=ddof), close=True)
        same(ga.nanstd(cut(a), 1, ddof=ddof), quietly(np.nanstd, a, 1, ddof=ddof), close=True)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)])
@pytest.mark.parametrize("name", [*PLAIN, "argmin", "argmax", "ptp", "cumsum", "nanmax", "nansum"])
def test_no_elements(name, shape, same):
    a = np.ones(shape)
    x = ga.ones(shape)
    for axis in (None, *range(len(shape))):
        try:
            theirs = quietly(getattr(np, name), a, axis=axis)
        except ValueError:
            with pytest.raises(ValueError, match=r"shape \("):
                getattr(ga, name)(x, axis=axis)
            continue
        same(getattr(ga, name)(x, axis=axis), theirs)


@pytest.mark.parametrize("name", [*PLAIN, "argmin", "argmax", "cumsum", "cumprod", "ptp"])
def test_without_dimensions(name, same):
    same(getattr(ga, name)(ga.asarray(3.0)), getattr(np, name)(np.asarray(3.0)))


@pytest.mark.parametrize("name", ["sum", "prod", "min", "max"])
def test_initial_and_where(name, data, cut, same):
    x, keep = cut(data), data % 2 == 0
    mine, theirs = getattr(ga, name), getattr(np, name)
    same(mine(x, axis=1, initial=2), theirs(data, axis=1, initial=2))
    same(mine(x, axis=(0, 2), initial=2, where=cut(keep)), theirs(data, axis=(0, 2), initial=2, where=keep))
    same(mine(x, initial=2, where=keep[:1, :1]), theirs(data, initial=2, where=keep[:1, :1]))
    same(mine(x[:0], axis=0, initial=5), theirs(data[:0], axis=0, initial=5))
    same(mine(x, initial=2, where=False), theirs(data, initial=2, where=False))


@pytest.mark.parametrize("name", ["sum", "prod", "any", "all", "mean", "var", "std"])
def test_where(name, data, cut, same):
    keep = data % 3 != 0
    for axis in (None, 0, (1, 2)):
        theirs = quietly(getattr(np, name), data, axis=axis, where=keep)
        same(getattr(ga, name)(cut(data), axis=axis, where=cut(keep)), theirs, close=True)


@pytest.mark.parametrize("name", ["min", "max"])
def test_where_needs_initial(name):
    with pytest.raises(ValueError, match="initial="):
        getattr(ga, name)(ga.ones(3), where=[True, False, True])


@pytest.mark.parametrize("dtype", ["f4", "f8", "c16", "i2", "u8"])
def test_dtype(dtype, data, cut, same):
    for name in ("sum", "prod", "cumsum"):
        theirs = quietly(getattr(np, name), data % 2 + 1, axis=1, dtype=dtype)
        same(getattr(ga, name)(cut(data % 2 + 1), axis=1, dtype=dtype), theirs, close=True)
    if dtype[0] in "fc":
        for name in ("mean", "var", "std"):
            theirs = getattr(np, name)(data, axis=0, dtype=dtype)
            same(getattr(ga, name)(cut(data), axis=0, dtype=dtype), theirs, close=True)


def test_out(data, cut, same):
    for name in (*PLAIN[:-1], "argmax", "cumsum"):
        out = ga.zeros(
            (4, 3) if name != "cumsum" else data.shape, dtype=np.asarray(getattr(np, name)(data, axis=1)).dtype
        )
        assert getattr(ga, name)(cut(data), axis=1, out=out) is out
        same(out, getattr(np, name)(data, axis=1), close=True)


@pytest.mark.parametrize("correction", [0, 1, 0.5, 100])
def test_degrees_of_freedom(correction, data, cut, same):
    for name in ("var", "std"):
        theirs = quietly(getattr(np, name), data, axis=2, correction=correction)
        if correction == 100:
            continue
        same(getattr(ga, name)(cut(data), axis=2, correction=correction), theirs, close=True)
        same(getattr(ga, name)(cut(data), axis=2, ddof=correction), theirs, close=True)


def test_average(data, cut, same):
    a = data / 3
    x, w = cut(a), data + 1.0
    same(ga.average(x), np.average(a), close=True)
    same(ga.average(x, axis=1, weights=cut(w)), np.average(a, axis=1, weights=w), close=True)
    same(ga.average(x, axis=1, weights=[1, 2, 3, 4, 5]), np.average(a, axis=1, weights=[1, 2, 3, 4, 5]), close=True)
    same(ga.average(x, axis=(0, 1), weights=w[..., 0]), np.average(a, axis=(0, 1), weights=w[..., 0]), close=True)
    same(ga.average(x, axis=0, weights=w, returned=True), np.average(a, axis=0, weights=w, returned=True), close=True)
    same(ga.average(x, axis=0, returned=True), np.average(a, axis=0, returned=True), close=True)
    with pytest.raises(TypeError, match="axis"):
        ga.average(x, weights=[1, 2])
    with pytest.raises(ValueError, match=r"\(2,\)"):
        ga.average(x, axis=0, weights=[1, 2])


@pytest.mark.parametrize(("first", "second"), [*itertools.product([2, 5, 100], repeat=2)])
def test_sums_do_not_depend_on_how_a_run_is_planned(first, second):
    """The same chunks give the same bits, as part of a larger graph and alone."""
    a = np.random.default_rng(3).random((60, 70)).astype("f4")
    x = ga.asarray(a, chunks=(first, second))
    alone = x.sum(1).compute()
    together = ga.compute(x.sum(1), x.mean(), x.T.sum(0))
    np.testing.assert_array_equal(alone, together[0])
    np.testing.assert_array_equal(alone, together[2])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: x.sum(3), np.exceptions.AxisError, "axis 3.*dimension 2"),
        (lambda x: x.sum(-3), IndexError, "axis -3"),
        (lambda x: x.sum((0, 0)), ValueError, r"\(0, 0\)"),
        (lambda x: x.sum(1.0), TypeError, "1.0"),
        (lambda x: x.sum("0"), TypeError, "'0'"),
        (lambda x: ga.argmax(x, (0, 1)), TypeError, r"\(0, 1\)"),
        (lambda x: ga.sum(x, dtype="M8[s]"), TypeError, "datetime64"),
        (lambda x: ga.max(x[:0]), ValueError, r"max.*no identity.*\(0, 3\)"),
        (lambda x: ga.argmin(x[:, :0], 1), ValueError, "argmin of an empty"),
        (lambda x: ga.var(x, ddof=1, correction=1), ValueError, "two names"),
        (lambda x: ga.sum(x, where=[True, False]), ValueError, r"\(2,\).*\(4, 3\)"),
        (lambda x: ga.sum(x, 0, out=ga.zeros(4)), ValueError, r"\(4,\).*\(3,\)"),
        (lambda x: ga.sum(x, 0, out=np.zeros(3)), TypeError, "ndarray"),
        (lambda x: ga.cumsum(x, 2), np.exceptions.AxisError, "axis 2"),
        (lambda x: ga.mean(ga.asarray(np.array(["2020"], "M8[Y]"))), TypeError, "datetime64"),
        (lambda x: ga.mean(x, dtype="U5"), TypeError, "<U5"),
        (lambda x: ga.sum(["a"]), TypeError, "<U1"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(ga.ones((4, 3), chunks=2))
