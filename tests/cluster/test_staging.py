"""Staging: what goes through pinned memory comes out the same, and no more is pinned than was said."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

from gpuarray.cluster import staging as module
from gpuarray.cluster.staging import Staging, pieces
from gpuarray.kernels.backends.fake import Fake, FakeOutOfMemoryError


@pytest.fixture
def device():
    made = Fake()
    yield made
    gc.collect()
    assert made.hazards == []
    assert made.counters.used_nbytes == 0


def whole(staging):
    """Every piece is back."""
    return staging._pinned.free.qsize() * staging._piece == staging.nbytes


ARRAYS = {
    "a number": np.array(3.5),
    "nothing": np.zeros((3, 0, 2)),
    "a row": np.arange(1000.0),
    "rows": np.arange(6000.0).reshape(100, 60),
    "long rows": np.arange(6000, dtype="i2").reshape(3, 2, 1000),
    "transposed": np.arange(6000.0).reshape(100, 60).T,
    "turned": np.arange(24_000.0).reshape(20, 30, 40).transpose(1, 2, 0),
    "every second": np.arange(9000.0).reshape(90, 100)[::2, 1::3],
    "backwards": np.arange(3000.0)[::-1],
    "broadcast": np.broadcast_to(np.arange(50.0), (40, 50)),
    "bools": np.arange(5000) % 3 == 0,
    "complex": np.arange(700) + 1j,
    "swapped": np.arange(700, dtype=">i4"),
    "text": np.array([["one", "two"], ["three", ""]] * 200),
    "dates": np.arange(900).astype("M8[s]"),
    "records": np.zeros(300, [("a", "i4"), ("b", "f8", 3)]),
    "wide": np.array(["x" * 3000, "y"]),
    "references": np.array([1, "a", None], object),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("limit", [None, 1 << 20, 40_000, 100], ids=["unlimited", "much", "little", "none"])
def test_arrays_go_there_and_back(device, name, limit):
    array, staging = ARRAYS[name], Staging(device, limit)
    there = staging.upload(array)
    assert (there.shape, there.dtype) == (array.shape, array.dtype)
    found = staging.download(there)
    assert type(found) is np.ndarray
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    if array.ndim == 2:
        view = there[::-1, 1::2]
        np.testing.assert_array_equal(staging.download(view), array[::-1, 1::2])
        np.testing.assert_array_equal(staging.download(there.T), array.T)
    assert whole(staging)
    if limit is not None:
        assert staging.nbytes <= limit // 16
        assert device.counters.peak_pinned_nbytes <= staging.nbytes


def test_downloads_go_where_they_are_told_to(device):
    staging = Staging(device, 100_000)
    array = np.arange(2000.0).reshape(40, 50)
    there = staging.upload(array)
    result = np.zeros((80, 150))
    out = result[1::2, 2::3]
    assert staging.download(there, out) is out
    np.testing.assert_array_equal(out, array)
    assert result.sum() == array.sum()
    other = np.zeros((50, 40)).T
    staging.download(there, other)
    np.testing.assert_array_equal(other, array)
    number = np.zeros(3)[1:2].reshape(())
    staging.download(staging.upload(np.array(7.0)), number)
    assert number == 7


def test_the_order_of_axes_is_kept(device):
    """A transposed chunk that is spilled and raised is as it was."""
    array = np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1)
    there = Staging(device).upload(array)
    assert there.strides == array.strides


def test_pinned_memory_is_allocated_when_it_is_needed(device):
    staging = Staging(device, 1 << 20)
    assert staging.nbytes == 1 << 16
    assert device.counters.pinned_nbytes == 0
    staging.upload(np.zeros(10))
    assert device.counters.pinned_nbytes == staging.nbytes // 8
    staging.upload(np.zeros(100_000))
    assert device.counters.peak_pinned_nbytes <= staging.nbytes
    del staging
    gc.collect()
    assert device.counters.pinned_nbytes == 0


def test_a_system_that_pins_no_more(device, monkeypatch):
    monkeypatch.setattr(device, "pinned", lambda nbytes: (_ for _ in ()).throw(MemoryError("no more")))
    staging, array = Staging(device, 1 << 20), np.arange(30_000.0)
    np.testing.assert_array_equal(staging.download(staging.upload(array)), array)


@pytest.mark.parametrize("threads", [2, 12])
def test_many_threads_share_a_few_pieces(device, threads):
    staging = Staging(device, 20_000)  # 8 pieces of 128 bytes
    wrong = []

    def work(seed):
        try:
            for n in range(6):
                array = np.arange(300.0) * (seed + 1) + n
                there = staging.upload(array)
                if not np.array_equal(staging.download(there), array):
                    wrong.append((seed, n))
        except BaseException as error:
            wrong.append(error)

    crew = [threading.Thread(target=work, args=(seed,)) for seed in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join(60)
    assert wrong == []
    assert not any(thread.is_alive() for thread in crew)
    assert whole(staging)


@pytest.mark.parametrize("way", ["upload", "download"])
@pytest.mark.parametrize("at", range(1, 12))
def test_a_copy_that_fails_leaves_nothing_behind(device, monkeypatch, way, at):
    """The copies under way are waited for: their memory is used again."""
    staging, array = Staging(device, 20_000), np.arange(160.0)  # 10 pieces
    there = staging.upload(array) if way == "download" else None
    start, count = getattr(device, way), [0]

    def fail(*given, **named):
        count[0] += 1
        if count[0] == at:
            raise OSError("the bus is gone")
        return start(*given, **named)

    monkeypatch.setattr(device, way, fail)
    call = (lambda: staging.upload(array)) if way == "upload" else (lambda: staging.download(there))
    if at <= 10:
        with pytest.raises(OSError, match="the bus is gone"):
            call()
    else:
        call()
    assert whole(staging)


def test_no_room_on_the_device(device):
    staging = Staging(device, 20_000)
    device.limit = 100
    with pytest.raises(FakeOutOfMemoryError):
        staging.upload(np.zeros(20))
    assert whole(staging)


def test_a_lost_piece_is_replaced(device, monkeypatch):
    """An interrupt between two bytecodes may lose one; nobody may wait for it for ever."""
    monkeypatch.setattr(module, "_PATIENCE", 0.001)
    staging, array = Staging(device, 20_000), np.arange(100.0)
    while not staging._pinned.free.empty():
        staging._pinned.free.get()
    np.testing.assert_array_equal(staging.download(staging.upload(array)), array)
    assert not staging._pinned.free.empty()


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (1, 1, 9), (5, 1), (4, 0)])
@pytest.mark.parametrize("most", [8, 9, 24, 40, 1000])
def test_pieces_cover_an_array_in_order(shape, most):
    array = np.arange(float(np.prod(shape))).reshape(shape)
    parts = [array[index] for index in pieces(array, most)]
    assert all(part.nbytes <= most and part.flags.c_contiguous for part in parts)
    assert [v for part in parts for v in part.ravel()] == list(array.ravel())


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (500,), (7, 60), (3, 2, 900)])
@pytest.mark.parametrize("limit", [None, 40_000, 100])
def test_arrays_are_read_piece_by_piece(device, shape, limit):
    staging, array = Staging(device, limit), np.random.default_rng(0).random(shape)
    seen = []

    def read(index, piece):
        seen.append(piece.nbytes)
        piece[...] = array[index]

    there = staging.stream(shape, array.dtype, read)
    np.testing.assert_array_equal(staging.download(there), array)
    assert sum(seen) == array.nbytes
    assert not staging.nbytes or max(seen, default=0) <= staging._piece
    assert whole(staging)


def test_a_read_that_fails_leaves_nothing_behind(device):
    staging, calls = Staging(device, 20_000), []

    def read(index, piece):
        calls.append(index)
        piece[...] = 1
        if len(calls) == 4:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        staging.stream((160,), np.dtype("f8"), read)
    assert whole(staging)
