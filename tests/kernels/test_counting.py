"""Counting in bins and by digits: compiled and with NumPy's functions, against counts made another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpuarray.kernels import counting, ordering
from gpuarray.kernels.worth import Worth

DTYPES = ["?", "b", "B", "h", "H", "i", "I", "l", "L", "e", "f", "d"]


@pytest.fixture(autouse=True, params=["compiled", "NumPy"])
def who(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "worth", Worth(0, at_least=1 if request.param == "compiled" else 1 << 60))


def values(dtype: str, n: int = 5000) -> Any:
    g = np.random.default_rng(ord(dtype))
    kind = np.dtype(dtype)
    if dtype == "?":
        return g.random(n) < 0.3
    if kind.kind != "f":
        return g.integers(0, 256, n * kind.itemsize, "u1").view(kind)
    with np.errstate(over="ignore"):
        made = (g.standard_normal(n) * 10.0 ** g.integers(-3, 6, n)).astype(kind)
    odd = [np.nan, np.inf, -np.inf, 0.0, -0.0, np.finfo(kind).tiny, np.finfo(kind).max, -np.nan]
    made[: 50 * len(odd) : 50] = odd
    return made


def found(rows: Any, edges: Any) -> Any:
    """Bins by a search in the edges."""
    rows = rows[(rows >= edges[0]) & (rows <= edges[-1])]
    index = np.searchsorted(edges, rows, side="right") - 1
    return np.bincount(np.minimum(index, len(edges) - 2), minlength=len(edges) - 1)


@pytest.mark.parametrize("dtype", DTYPES[1:])
@pytest.mark.parametrize("number", [1, 7, 1000])
def test_bins(dtype: str, number: int) -> None:
    rows = values(dtype)
    for low, high in ((-1, 1), (0, 100), (-3000.5, 17.25)):
        for kind in ("f8", "f4"):
            edges = np.linspace(low, high, number + 1).astype(kind)
            np.testing.assert_array_equal(counting.in_bins(np, rows, edges), found(rows, edges))


def test_edges_that_are_rounded_by_more_than_a_bin() -> None:
    edges = np.unique(np.linspace(0, 4000, 3000).astype("f2"))
    rows = np.random.default_rng(0).random(20_000) * 4100 - 50
    np.testing.assert_array_equal(counting.in_bins(np, rows, edges), found(rows, edges))
    wide = np.array([-1.7e308, 0, 1.7e308])  # their difference is infinite
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(counting.in_bins(np, np.array([-1.0, 2.0, 1.7e308]), wide), [1, 2])


@pytest.mark.parametrize("weight", [np.float32, np.float64, np.int64, np.complex128])
def test_weights(weight: Any) -> None:
    rows, edges = values("d"), np.linspace(-2, 2, 12)
    heavy = (np.arange(rows.size) % 7).astype(weight)
    made = counting.in_bins(np, rows, edges, heavy)
    assert made.dtype == weight
    np.testing.assert_array_equal(made, np.histogram(rows, edges, weights=heavy)[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_digits(dtype: str) -> None:
    rows = values(dtype)
    keys = ordering.to_order(np, rows).astype("u8")
    bits = ordering.order_bits(rows.dtype)
    for digit in {min(bits, wanted) for wanted in (8, counting.DIGIT)}:
        check_digits(rows, keys, bits, digit)


def check_digits(rows: Any, keys: Any, bits: int, digit: int) -> None:
    for level in range(bits // digit):
        top = keys >> np.uint64(bits - digit * level) if level else np.zeros_like(keys)
        prefixes = [int(top[0]), int(top[3]), int(top[0]), int(top.max()), 12345][: 5 if level else 1]
        several = np.array([prefixes, prefixes[::-1]], np.uint64)
        made, other = counting.digits(np, np.stack([rows, rows[::-1]]), level, several, digit)
        np.testing.assert_array_equal(other, made[::-1])
        low = (keys >> np.uint64(bits - digit * (level + 1))) & np.uint64((1 << digit) - 1)
        wanted = [np.bincount(low[top == p].astype(int), minlength=1 << digit) for p in prefixes]
        np.testing.assert_array_equal(made, wanted)


def test_rows_that_no_kernel_reads() -> None:
    a = np.random.default_rng(5).random(1000)
    edges = np.linspace(0, 1, 6)
    shifted = np.frombuffer(b"x" + a.tobytes(), "u1")[1:].view("f8")
    for rows in (a[::3], a.astype(">f8"), shifted, a.astype("f2"), a.astype(np.longdouble), a[:0]):
        np.testing.assert_array_equal(counting.in_bins(np, rows, edges), found(rows, edges))
