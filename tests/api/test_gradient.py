"""`gradient` and `diff` against NumPy's, their errors included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpuarray as ga

SHAPES = [(7,), (2,), (1,), (3,), (4, 5), (3, 4, 6)]
DTYPES = ["float64", "float32", "float16", "int64", "uint8", "complex128", "bool", "datetime64[s]", "timedelta64[s]"]


def numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    a = np.random.default_rng(0).random(shape) * 100
    return a.astype(dtype) if dtype.startswith(("float", "complex")) else a.astype("int64").astype(dtype)


def agrees(call, x: Any, a: Any) -> None:
    """Ours does what NumPy does: the values, up to rounding, or an error."""
    try:
        theirs = call(np, a)
    except (TypeError, ValueError, IndexError):
        with pytest.raises((TypeError, ValueError)):
            call(ga, x)
        return
    mine = call(ga, x)
    assert isinstance(mine, tuple) == isinstance(theirs, (tuple, list))
    for m, t in zip(
        mine if isinstance(mine, tuple) else (mine,), theirs if isinstance(mine, tuple) else (theirs,), strict=True
    ):
        assert (m.dtype, m.shape) == (t.dtype, t.shape)
        got = m.compute()
        if t.dtype.kind in "fc":
            np.testing.assert_allclose(got, t, rtol=64 * float(np.finfo(t.dtype).eps))
        else:
            np.testing.assert_array_equal(got, t)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradient(shape, dtype):
    a = numbers(shape, dtype)
    x = ga.asarray(a, chunks=2)
    uneven = [np.sort(np.random.default_rng(n).random(n)) for n in shape]
    squares = np.arange(shape[0]) ** 2
    for order in (1, 2, 3):
        agrees(lambda m, y, o=order: m.gradient(y, edge_order=o), x, a)
        agrees(lambda m, y, o=order: m.gradient(y, 2.5, edge_order=o), x, a)
        agrees(lambda m, y, o=order: m.gradient(y, np.float64(2.5), axis=-1, edge_order=o), x, a)
        agrees(lambda m, y, o=order: m.gradient(y, *uneven, edge_order=o), x, a)
        agrees(lambda m, y, o=order: m.gradient(y, squares, axis=0, edge_order=o), x, a)
        agrees(lambda m, y, o=order: m.gradient(y, np.arange(shape[0]), axis=0, edge_order=o), x, a)
        agrees(lambda m, y, o=order: m.gradient(y, 1, 2, edge_order=o), x, a)
        agrees(lambda m, y, o=order: m.gradient(y, uneven[0].tolist(), axis=(0,), edge_order=o), x, a)


@pytest.mark.parametrize("order", [1, 2])
def test_coordinates_that_are_not_known_yet(order):
    a = np.random.default_rng(0).random((5, 9))
    at = np.cumsum(np.random.default_rng(1).random(9))
    for coordinates in (at, np.arange(9), np.arange(9) ** 2):
        mine = ga.gradient(ga.asarray(a, chunks=4), ga.asarray(coordinates, chunks=2), axis=1, edge_order=order)
        np.testing.assert_allclose(mine.compute(), np.gradient(a, coordinates, axis=1, edge_order=order), rtol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0,), *SHAPES])
def test_diff(shape, dtype):
    a = numbers(shape, dtype)
    x = ga.asarray(a, chunks=2)
    for n in (-1, 0, 1, 2, 5):
        for axis in range(-len(shape), len(shape) + 1):
            agrees(lambda m, y, n=n, axis=axis: m.diff(y, n, axis), x, a)
            agrees(lambda m, y, n=n, axis=axis: m.diff(y, n, axis, prepend=a[:1], append=a[-1:]), x, a)
            agrees(lambda m, y, n=n, axis=axis: m.diff(y, n, axis, prepend=0), x, a)


def test_through_numpy(same):
    a = np.arange(12.0).reshape(3, 4) ** 2
    x = ga.asarray(a, chunks=2)
    same(np.gradient(x, axis=1), np.gradient(a, axis=1))
    same(np.gradient(x), np.gradient(a))
    same(np.diff(x), np.diff(a))


def test_under_a_limit(tmp_path):
    a = np.random.default_rng(0).random((500, 2000))
    np.save(tmp_path / "a.npy", a)
    with ga.config.set(host_memory="3 MiB", threads=1):
        ga.gradient(ga.from_npy(tmp_path / "a.npy"), axis=0).to_npy(tmp_path / "out.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), np.gradient(a, axis=0))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ga.gradient(x, edge_order=3), ValueError, "edge_order=3"),
        (lambda x: ga.gradient(x[:1]), ValueError, "axis 0 has 1 elements.*at least 2"),
        (lambda x: ga.gradient(x[:, :2], edge_order=2), ValueError, "axis 1 has 2 elements.*at least 3"),
        (lambda x: ga.gradient(x, 1, 2, 3), TypeError, "2 axes; got 3"),
        (lambda x: ga.gradient(x, [1, 2], axis=0), ValueError, r"shape \(2,\) along an axis of 4"),
        (lambda x: ga.gradient(x, np.ones((4, 4)), axis=0), ValueError, r"shape \(4, 4\)"),
        (lambda x: ga.gradient(x, axis=2), np.exceptions.AxisError, "axis 2"),
        (lambda x: ga.gradient(x, axis=(0, 0)), ValueError, "twice"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(ga.ones((4, 4), chunks=2))
