"""What an array keeps alive."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from gpuarray.cluster.buffers import as_bytes, like_memory, root, roots, settle


def test_the_owner_of_a_view_of_a_view():
    array = np.zeros((4, 5))
    assert root(array[1:][:, 2]) is array
    assert roots([array, array[0], array.T]) == {id(array)}


def test_memory_that_no_array_owns(tmp_path):
    path = tmp_path / "file.npy"
    np.save(path, np.arange(1000.0))
    mapped = np.load(path, mmap_mode="r")
    anonymous = np.frombuffer(mmap.mmap(-1, 800))
    for array in (mapped, mapped[:], np.frombuffer(b"12345678"), anonymous):
        assert root(array) is None
        (copy,) = settle((array,))
        assert type(copy) is np.ndarray or copy.base is None
        assert root(copy) is not None
        np.testing.assert_array_equal(copy, array)


@pytest.mark.parametrize(
    ("make", "copied"),
    [
        (lambda: np.zeros((3, 4)), False),
        (lambda: np.zeros((3, 4)).T, False),
        (lambda: np.zeros((3, 4)).reshape(-1), False),
        (lambda: np.zeros((2, 3, 4)).transpose(2, 0, 1), False),
        (lambda: np.asfortranarray(np.zeros((3, 4))), False),
        (lambda: np.zeros((3, 4))[:, :3], True),
        (lambda: np.zeros((3, 4))[::-1], True),
        (lambda: np.broadcast_to(np.zeros(3), (2, 3)), True),
        (lambda: np.zeros(6).view(np.complex128), False),
        (lambda: np.zeros((0, 4)), False),
        (lambda: np.float64(3), True),
    ],
)
def test_copies_are_made_where_a_view_keeps_more_or_repeats(make, copied):
    array = make()
    (settled,) = settle((array,))
    assert (settled is not array) == copied
    assert settled.dtype == array.dtype
    np.testing.assert_array_equal(settled, array)
    assert root(settled).nbytes == settled.nbytes


def test_no_two_arrays_share():
    array = np.zeros(3)
    one, two = settle((array, array))
    assert one is array
    assert not np.shares_memory(one, two)
    (three,) = settle((array.reshape(3, 1),), set(), {id(array)})
    assert not np.shares_memory(three, array)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_bytes_run_along_memory(order):
    array = np.arange(24.0).reshape(2, 3, 4).transpose(order)
    data, axes = as_bytes(array)
    assert np.shares_memory(np.frombuffer(data), array)
    back = like_memory(array.shape, array.dtype, axes)
    as_bytes(back)[0][:] = data
    np.testing.assert_array_equal(back, array)
    assert back.strides == array.strides
