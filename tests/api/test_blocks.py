"""`map_blocks`: every chunk once, whole, and checked."""

from __future__ import annotations

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.errors import BlockFunctionError, ChunkError


@pytest.fixture(autouse=True, params=["direct", "planned"])
def path(request, monkeypatch):
    if request.param == "planned":
        monkeypatch.setattr("gpuarray.plan.direct.order_if_small", lambda roots, limit: None)


def test_a_function_of_each_chunk(same):
    a = np.arange(35.0).reshape(5, 7)
    x = ga.asarray(a, chunks=(2, 3))
    same(ga.map_blocks(np.negative, x), -a)
    same(ga.map_blocks(lambda b: b - b.min(), x)[:2, :3], a[:2, :3])
    same(ga.map_blocks(lambda b, k: b * k, x, 3), a * 3)
    same(ga.map_blocks(lambda b, k=1: b * k, x, k=np.arange(1, 2)), a)
    same(ga.map_blocks(lambda b: b.astype("f4"), x), a.astype("f4"))
    same(ga.map_blocks(lambda b: b > 3, x)[::2, 1::3], (a > 3)[::2, 1::3])
    same(ga.map_blocks(lambda b: b + 1, x).sum(axis=0) * 2, (a + 1).sum(axis=0) * 2)


def test_blocks_come_whole_and_once():
    seen = []

    def note(block, block_index):
        seen.append((block_index, block.shape))
        return block

    x = ga.map_blocks(note, ga.ones((5, 7), chunks=(2, 3)), dtype=float)
    assert seen == []
    x.compute()
    expected = [((i, j), (2 if i < 2 else 1, 3 if j < 2 else 1)) for i in range(3) for j in range(3)]
    assert sorted(seen) == expected
    seen.clear()
    assert x[1, 1:5].compute().shape == (4,)
    assert {((0, 0), (2, 3)), ((0, 1), (2, 3))} <= set(seen)
    assert len(seen) == len(set(seen))


def test_inputs_cut_differently_are_cut_alike(same):
    a = np.arange(12.0).reshape(3, 4)
    x, y, z = ga.asarray(a, chunks=(2, 3)), ga.asarray(a + 1, chunks=(3, 2)), ga.asarray(a[0], chunks=1)
    made = ga.map_blocks(lambda b, c: b * c, x, y)
    assert made.chunks == ((2, 1), (2, 1, 1))
    same(made, a * (a + 1))
    same(ga.map_blocks(lambda b, c: b + c, x, z), a + a[0])
    same(ga.map_blocks(lambda b, c: b + c, z, x), a + a[0])
    same(ga.map_blocks(lambda b, c: b + c, x, a[:, :1]), a + a[:, :1])
    same(ga.map_blocks(lambda b, c: b + c, x, ga.asarray(5.0)), a + 5)


def test_other_chunks_than_the_inputs(same):
    a = np.arange(24.0).reshape(4, 6)
    x = ga.asarray(a, chunks=2)
    same(ga.map_blocks(lambda b: b[:, :1], x, chunks=(2, 1)), a[:, ::2])
    same(
        ga.map_blocks(lambda b: np.repeat(b, 2, 0), x, chunks=(4, 2)), np.repeat(a.reshape(2, 2, 6), 2, 1).reshape(8, 6)
    )
    same(ga.map_blocks(lambda b: b[:1], x, chunks=((1, 1), (2, 2, 2)))[1:, ::3], a[2:3, ::3])
    same(ga.map_blocks(lambda b: b[:0], x, chunks=(0, 2)), a[:0])


@pytest.mark.parametrize("axis", [0, 1, 2, -1, (0, 2), (2, 0), (0, 1, 2)])
def test_dropped_axes(axis, same):
    a = np.arange(120.0).reshape(4, 5, 6)
    x = ga.asarray(a, chunks=(2, 3, 4))
    same(ga.map_blocks(lambda b: b.sum(axis=axis), x, drop_axis=axis), a.sum(axis=axis))
    same(ga.map_blocks(lambda b, c: (b * c).sum(axis=axis), x, a[0], drop_axis=axis), (a * a[0]).sum(axis=axis))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, (0, 1), (0, 3)])
def test_new_axes(axis, same):
    a = np.arange(20.0).reshape(4, 5)
    x = ga.asarray(a, chunks=(3, 2))
    same(ga.map_blocks(lambda b: np.expand_dims(b, axis), x, new_axis=axis), np.expand_dims(a, axis))


def test_dropped_and_new_axes_together(same):
    a = np.arange(60.0).reshape(3, 4, 5)
    x = ga.asarray(a, chunks=2)

    def histogram(block, block_index):
        assert len(block_index) == 2
        assert block.shape[2] == 5
        return np.stack([block.sum(2)[:, 0], block.min(axis=(1, 2))], axis=1)

    made = ga.map_blocks(histogram, x[:, :2], dtype=float, drop_axis=(1, 2), new_axis=1, chunks=((2, 1), 2))
    same(made, np.stack([a[:, 0].sum(1), a[:, :2].min(axis=(1, 2))], axis=1))


def test_zero_lengths_and_no_dimensions(same):
    same(ga.map_blocks(lambda b: b + 1, ga.ones((0, 3))), np.ones((0, 3)))
    same(ga.map_blocks(lambda b: b + 1, ga.asarray(3)), np.asarray(4))


def test_dtype_is_found_where_one_element_is_too_few(same):
    def needs_none(block):
        if block.size == 1:
            raise ValueError("too few")
        return block.astype("f4")

    same(ga.map_blocks(needs_none, ga.arange(6, chunks=3)), np.arange(6, dtype="f4"))


def test_warnings_while_the_dtype_is_found_are_not_the_users():
    made = ga.map_blocks(lambda b: np.log(b - 1), ga.arange(2.0, 6.0, chunks=2))
    assert made.dtype == np.float64


def test_a_method_or_callable_object(same):
    class Scale:
        def __init__(self, by):
            self.by = by

        def __call__(self, block):
            return block * self.by

        def twice(self, block):
            return block * 2

    same(ga.map_blocks(Scale(3), ga.arange(4, chunks=2)), np.arange(4) * 3)
    same(ga.map_blocks(Scale(3).twice, ga.arange(4, chunks=2)), np.arange(4) * 2)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda b: b[:1], r"shape \(1, 2\).*block \(0, 0\).*\(2, 2\)"),
        (lambda b: b.astype(int), "int64.*block.*float64"),
        (lambda b: b.sum(), r"shape \(\).*\(2, 2\)"),
        (lambda b: b.tolist(), "a list"),
        (lambda b: None, "a NoneType"),
        (lambda b: b.T[..., None], r"\(2, 2, 1\)"),
    ],
)
def test_what_was_not_promised_is_refused_at_run_time(function, words):
    x = ga.map_blocks(function, ga.ones((4, 4), chunks=2), dtype=float)
    with pytest.raises(BlockFunctionError, match=words):
        x.compute()


def test_a_failure_in_one_block_names_it():
    def fails(block):
        if block[0] == 4:
            raise KeyError("no such thing")
        return block

    x = ga.map_blocks(fails, ga.arange(8, chunks=2))
    with pytest.raises(KeyError, match="no such thing") as caught:
        x.compute()
    assert any("map_blocks(fails)" in note and "test_blocks.py" in note for note in caught.value.__notes__)
    assert "in block (2,) of map_blocks(fails)" in caught.value.__notes__


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ga.map_blocks(3, x), TypeError, "function first, got int"),
        (lambda x: ga.map_blocks(np.sin), TypeError, "at least one array"),
        (lambda x: ga.map_blocks(lambda b, y: b, x, y=x), TypeError, "y="),
        (lambda x: ga.map_blocks(lambda b: 1 / 0, x), BlockFunctionError, "ZeroDivisionError.*dtype="),
        (lambda x: ga.map_blocks(lambda b: 3, x), BlockFunctionError, "returned a int"),
        (lambda x: ga.map_blocks(lambda b: b.sum(), x), BlockFunctionError, "0 dimensions.*2.*drop_axis"),
        (lambda x: ga.map_blocks(lambda b: b, x, ga.ones(3)), ValueError, r"\(4, 4\) \(3,\)"),
        (lambda x: ga.map_blocks(lambda b: b, x, chunks=(1,)), ChunkError, "1 entries.*2 dimensions"),
        (lambda x: ga.map_blocks(lambda b: b, x, chunks=((1, 1, 1), 2)), ChunkError, "axis 0 has 2 blocks"),
        (lambda x: ga.map_blocks(lambda b: b, x, chunks=(-1, 2)), ChunkError, "negative"),
        (lambda x: ga.map_blocks(lambda b: b, x, chunks=("a", 2)), ChunkError, "axis 0"),
        (lambda x: ga.map_blocks(lambda b: b, x, dtype=object), TypeError, "object"),
        (lambda x: ga.map_blocks(lambda b: b.astype(object), x), TypeError, "object"),
        (lambda x: ga.map_blocks(lambda b: b.sum(0), x, drop_axis=2), np.exceptions.AxisError, "axis 2"),
        (lambda x: ga.map_blocks(lambda b: b[None], x, new_axis=4), np.exceptions.AxisError, "axis 4"),
        (lambda x: ga.map_blocks(lambda b: b, x, drop_axis=(0, 0)), ValueError, "twice"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(ga.ones((4, 4), chunks=2))
