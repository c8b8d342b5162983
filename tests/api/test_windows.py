"""Windows against NumPy's, and that reductions of them do not hold them."""

from __future__ import annotations

import numpy as np
import pytest

import gpuarray as ga

view = np.lib.stride_tricks.sliding_window_view


@pytest.mark.parametrize("how", ["whole", "ones", "odd", "uneven"])
@pytest.mark.parametrize("shape", [(1,), (7,), (0,), (4, 5), (3, 4, 5)])
def test_windows_of_every_shape(shape, how, cut, same):
    rng = np.random.default_rng(len(shape))
    a = rng.integers(0, 100, shape)
    x = cut(a, how)
    for _ in range(8):
        many = int(rng.integers(0, 4))
        axis = tuple(int(i) for i in rng.integers(-len(shape), len(shape), many))
        window = tuple(int(n) for n in rng.integers(0, 4, many))
        try:
            theirs = view(a, window, axis=axis)
        except ValueError:
            with pytest.raises(ValueError, match="longer than axis"):
                ga.sliding_window_view(x, window, axis=axis)
            continue
        mine = ga.sliding_window_view(x, window, axis=axis)
        same(mine, theirs)
        same(mine.T, theirs.T)
        key = tuple(slice(int(rng.integers(0, 3)), None, int(rng.choice([-2, -1, 1, 2, 3]))) for _ in theirs.shape)
        same((mine * 2)[key], (theirs * 2)[key])
        for k in range(theirs.ndim):
            same(mine.sum(axis=k), theirs.sum(axis=k))
        same((mine - 50.5) / 2, (theirs - 50.5) / 2)


def test_under_numpys_names(same):
    a = np.arange(10.0)
    x = ga.asarray(a, chunks=3)
    for function in (ga.lib.stride_tricks.sliding_window_view, view):
        same(function(x, 3), view(a, 3))
        same(function(x, (2, 3), axis=(0, 0), subok=True), view(a, (2, 3), axis=(0, 0)))
    same(ga.sliding_window_view([[1, 2], [3, 4]], (2, 1)), view(np.array([[1, 2], [3, 4]]), (2, 1)))


def test_windows_of_windows_and_of_work(same):
    a = np.random.default_rng(0).random((6, 20))
    x = ga.asarray(a, chunks=(4, 7))
    twice = view(view(np.sqrt(a), 3, axis=1), 2, axis=1)
    same(ga.sliding_window_view(ga.sliding_window_view(ga.sqrt(x), 3, axis=1), 2, axis=1), twice, close=True)
    same(ga.sliding_window_view(x.T[::2], 3, axis=0), view(a.T[::2], 3, axis=0))
    deviations = view(a, 5, axis=1) - view(a, 5, axis=1).mean(-1, keepdims=True)
    mine = ga.sliding_window_view(x, 5, axis=1)
    same(((mine - mine.mean(-1, keepdims=True)) ** 2).sum(-1), (deviations**2).sum(-1), close=True)


def test_reductions_do_not_hold_the_windows(tmp_path):
    a = np.random.default_rng(0).random((40, 3000))
    np.save(tmp_path / "a.npy", a)
    with ga.config.set(host_memory="2 MiB", threads=1):  # the windows are 400 MiB
        x = ga.from_npy(tmp_path / "a.npy")
        ga.sliding_window_view(x, 600, axis=1).max(-1).to_npy(tmp_path / "out.npy")
        means = ga.sliding_window_view(x, (20, 30)).mean((-2, -1))[::5, ::100].compute()
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), view(a, 600, axis=1).max(-1))
    np.testing.assert_allclose(means, view(a, (20, 30))[::5, ::100].mean((-2, -1)), rtol=1e-13)


def test_each_element_is_read_once_by_a_task(monkeypatch):
    from gpuarray.readers import ArrayReader

    reads = []
    read = ArrayReader.read
    monkeypatch.setattr(ArrayReader, "read", lambda self, region: reads.append(region) or read(self, region))
    x = ga.asarray(np.ones(1000), chunks=1000)
    assert ga.sliding_window_view(x, 100).sum(-1)[100:300].compute().tolist() == [100.0] * 200
    assert reads == [(range(100, 399),)]


def test_on_a_device(same):
    a = np.random.default_rng(0).random((130, 140))
    with ga.config.set(device="fake", device_memory="1 MiB", compile="never"):
        x = ga.asarray(a, chunks=71)
        same(ga.sliding_window_view(x, (3, 4)).max((-2, -1)), view(a, (3, 4)).max((-2, -1)))
        same(ga.sliding_window_view(x, 3, axis=0)[::2], view(a, 3, axis=0)[::2])


def test_xarray_rolls():
    xarray = pytest.importorskip("xarray")
    a = np.random.default_rng(0).random((5, 12))
    rolled = xarray.DataArray(ga.asarray(a, chunks=4), dims=("y", "x")).rolling(x=3).mean()
    theirs = xarray.DataArray(a, dims=("y", "x")).rolling(x=3).construct("w").mean("w", skipna=False)
    np.testing.assert_allclose(np.asarray(rolled.data), theirs.data)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ga.sliding_window_view(x, 5), ValueError, "1 lengths for 2 axes"),
        (lambda x: ga.sliding_window_view(x, (2, 2), axis=0), ValueError, "2 lengths for 1 axes"),
        (lambda x: ga.sliding_window_view(x, (5, 1)), ValueError, "5 elements is longer than axis 0"),
        (lambda x: ga.sliding_window_view(x, (3, 3), axis=(1, 1)), ValueError, "longer than axis 1"),
        (lambda x: ga.sliding_window_view(x, (-1, 1)), ValueError, "negative"),
        (lambda x: ga.sliding_window_view(x, 1.5, axis=0), TypeError, "1.5"),
        (lambda x: ga.sliding_window_view(x, 2, axis=2), np.exceptions.AxisError, "axis 2"),
        (lambda x: ga.sliding_window_view(x, (2, 2), writeable=True), ValueError, "writeable"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(ga.ones((4, 4), chunks=2))
