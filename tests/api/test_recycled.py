"""Memory that is used again: never by two arrays at once, and never kept when nothing is in use."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import numpy as np
import pytest

import gpuarray as ga
from gpuarray import recycled
from gpuarray.recycled import LEAST, Recycler

U1 = np.dtype(np.uint8)


def test_small_arrays_are_plain() -> None:
    recycler = Recycler()
    assert recycler.empty((10,), np.dtype("f8")).base is None
    assert recycler.empty((0, 5), np.dtype("f8")).shape == (0, 5)
    assert recycler.empty((), np.dtype("f4")).shape == ()
    assert recycler._used == 0


@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "c16", ">f8", "?", "M8[s]"])
def test_shape_and_dtype(dtype: str) -> None:
    made = Recycler().empty((3, LEAST), np.dtype(dtype))
    assert made.shape == (3, LEAST)
    assert made.dtype == np.dtype(dtype)
    assert made.flags.c_contiguous
    assert made.flags.writeable
    made[...] = 1
    assert made[2, -1] == np.ones((), dtype)


def test_nothing_is_kept_when_nothing_is_used() -> None:
    recycler = Recycler()
    arrays = [recycler.empty((LEAST,), U1) for _ in range(9)]
    assert recycler._used == 9 * LEAST
    del arrays[3:]
    assert recycler._kept <= recycler._used // 2 == 3 * LEAST // 2
    arrays.clear()
    assert (recycler._kept, recycler._used) == (0, 0)


def test_results_are_kept_until_the_next_run_has_no_use_for_them() -> None:
    a = np.arange(2 * LEAST, dtype="f8").reshape(-1, 1024)
    x = ga.asarray(a)
    first = (x + 1).compute()
    address = first.ctypes.data
    half = first[::2]
    del first
    again = (x + 2).compute()  # a view of the first is in use
    assert (half == a[::2] + 1).all()
    assert (again == a + 2).all()
    del half
    third = (x + 3).compute()
    assert third.ctypes.data == address
    assert (third == a + 3).all()
    assert (again == a + 2).all()
    del third
    assert recycled._RESULTS._kept == a.nbytes
    assert float((x + 1).sum(axis=0)[0]) == (a + 1).sum(axis=0)[0]
    assert recycled._RESULTS._kept == 0


def test_a_view_keeps_its_memory() -> None:
    recycler = Recycler()
    other = recycler.empty((8 * LEAST,), U1)
    made = recycler.empty((LEAST,), U1)
    made[...] = 7
    view = made[5::100].reshape(-1, 1)
    del made
    again = recycler.empty((LEAST,), U1)
    again[...] = 9
    assert (view == 7).all()
    address = view.ctypes.data - 5
    del view
    assert recycler.empty((LEAST,), U1).ctypes.data == address
    del other


def test_memory_is_used_again_for_another_dtype() -> None:
    recycler = Recycler()
    held = recycler.empty((4 * LEAST,), U1)
    first = recycler.empty((LEAST // 8 + 5,), np.dtype("f8"))
    address = first.ctypes.data
    del first
    second = recycler.empty((LEAST + 1000,), U1)  # rounds up to as many bytes
    assert second.ctypes.data == address
    assert held.size


def test_many_threads() -> None:
    recycler = Recycler()
    wrong: list[int] = []

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        for _ in range(150):
            a = recycler.empty((int(rng.integers(1, 4)) * LEAST,), U1)
            a[...] = number
            if rng.random() < 0.3:
                cycle: list[object] = [a]
                cycle.append(cycle)  # goes when the collector finds it, wherever that is
            if not (a[:: LEAST // 64] == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    gc.collect()
    assert wrong == []
    assert (recycler._kept, recycler._used) == (0, 0)


def test_results_do_not_share_memory_with_what_is_read_later(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    data = np.random.default_rng(0).random((16, 400, 500))
    zarr.create_array(tmp_path / "x", shape=data.shape, chunks=(1, 400, 500), dtype="f8")[...] = data
    x = ga.from_zarr(tmp_path / "x", chunks=(1, 400, 500))
    with ga.config.set(threads=2):
        kept, same = x.persist(), x.compute()
        for _ in range(3):
            np.testing.assert_array_equal(x.max(axis=(1, 2)).compute(), data.max(axis=(1, 2)))
        np.testing.assert_array_equal(same, data)
        np.testing.assert_array_equal(kept.compute(), data)
