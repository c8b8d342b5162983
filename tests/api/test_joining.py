"""Joining, splitting, repeating, padding, picking: against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpuarray as ga

CUTS = ["whole", "ones", "odd", "uneven"]


def numbers(*shape: int) -> np.ndarray[Any, Any]:
    return np.arange(np.prod(shape, dtype=int)).reshape(shape)


@pytest.mark.parametrize("how", CUTS)
def test_concatenate(how, cut, same):
    a, b, empty = numbers(4, 5), numbers(2, 5) * 10, numbers(0, 5)
    x, y, z = cut(a, how), cut(b), cut(empty)
    same(ga.concatenate([x, y]), np.concatenate([a, b]))
    same(ga.concatenate([x, z, y, x]), np.concatenate([a, empty, b, a]))
    same(ga.concatenate([x, y])[1::2, ::-1], np.concatenate([a, b])[1::2, ::-1])
    same(ga.concatenate([x, x.T[:4, :]], axis=1), np.concatenate([a, a.T[:4, :]], axis=1))
    same(ga.concatenate([x, y], axis=None), np.concatenate([a, b], axis=None))
    same(ga.concatenate((x,), axis=-1), a)
    same(ga.concat([x, y], axis=0), np.concat([a, b], axis=0))
    same(ga.append(x, b, axis=0), np.append(a, b, axis=0))
    same(ga.append(x, 7), np.append(a, 7))


@pytest.mark.parametrize("kinds", [("i4", "f4"), ("?", "u1"), ("f4", "D"), ("i8", "u8"), ("e", "i2")])
def test_concatenate_promotes(kinds, same):
    a, b = np.ones(3, kinds[0]), np.arange(2).astype(kinds[1])
    same(ga.concatenate([ga.asarray(a), b]), np.concatenate([a, b]))


def test_concatenate_dtype_and_out(same):
    a = np.ones(3)
    same(ga.concatenate([a, a], dtype="f4"), np.concatenate([a, a], dtype="f4"))
    out = ga.zeros(6)
    assert ga.concatenate([a, a], out=out) is out
    same(out, np.ones(6))


@pytest.mark.parametrize("axis", range(-3, 3))
def test_stack(axis, cut, same):
    a, b = numbers(3, 4), numbers(3, 4) * 2.5
    same(ga.stack([cut(a), cut(b, "ones")], axis), np.stack([a, b], axis))


@pytest.mark.parametrize("shape", [(), (3,), (3, 4), (3, 4, 2), (0, 2)])
@pytest.mark.parametrize("name", ["vstack", "hstack", "dstack", "column_stack"])
def test_stacks(name, shape, cut, same):
    a = numbers(*shape)
    same(getattr(ga, name)([cut(a), cut(a + 1)]), getattr(np, name)([a, a + 1]))


@pytest.mark.parametrize("how", CUTS)
def test_splits(how, cut, same):
    a = numbers(6, 4, 2)
    x = cut(a, how)
    for sections in (1, 2, 3, 6, [2, 3], [0, 9], [5, 2], [-2], []):
        same(ga.split(x, sections), np.split(a, sections))
    for sections in (4, 7, [1, 1]):
        same(ga.array_split(x, sections), np.array_split(a, sections))
    same(ga.array_split(x, 3, axis=-1), np.array_split(a, 3, axis=-1))
    same(ga.vsplit(x, 2), np.vsplit(a, 2))
    same(ga.hsplit(x, 2), np.hsplit(a, 2))
    same(ga.dsplit(x, 2), np.dsplit(a, 2))
    same(ga.hsplit(x[:, 0, 0], 2), np.hsplit(a[:, 0, 0], 2))
    same(ga.unstack(x), tuple(a))
    same(ga.unstack(x, axis=-1), tuple(np.moveaxis(a, -1, 0)))


@pytest.mark.parametrize("how", CUTS)
def test_repeating(how, cut, same):
    a = numbers(3, 5)
    x = cut(a, how)
    for reps in (1, 0, 3, (2,), (2, 3), (2, 1, 3), (0, 2), ()):
        same(ga.tile(x, reps), np.tile(a, reps))
    same(ga.tile(x, (2, 3))[1:5:2, ::-4], np.tile(a, (2, 3))[1:5:2, ::-4])
    for repeats, axis in ((2, None), (0, 0), (3, 1), ([1, 0, 4], 0), ([0, 0, 0], 0), ([2], 1), (2, -1)):
        same(ga.repeat(x, repeats, axis), np.repeat(a, repeats, axis))
        same(x.repeat(repeats, axis), a.repeat(repeats, axis))
    same(ga.repeat(x, ga.asarray([1, 0, 2]), 0), np.repeat(a, [1, 0, 2], 0))
    same(ga.tile(ga.asarray(7), (2, 2)), np.tile(7, (2, 2)))
    same(ga.repeat(ga.asarray(7), 3), np.repeat(7, 3))


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("mode", ["constant", "edge", "wrap", "reflect", "symmetric"])
@pytest.mark.parametrize("width", [0, 1, 2, (1, 0), ((0, 2), (3, 1)), 9, {0: (1, 2)}, {-1: 3}])
def test_pad(mode, width, how, cut, same):
    a = numbers(4, 3)
    if isinstance(width, dict) and not np.lib.NumpyVersion(np.__version__) >= "2.2.0":
        pytest.skip("this NumPy takes no dict")
    same(ga.pad(cut(a, how), width, mode), np.pad(a, width, mode))


def test_pad_constants(cut, same):
    a = numbers(4, 3)
    for values in (5, (1, 2), ((1, 2), (3, 4)), -1.7):
        same(ga.pad(cut(a), 2, constant_values=values), np.pad(a, 2, constant_values=values))
    same(ga.pad(ga.ones((0, 2)), 1), np.pad(np.ones((0, 2)), 1))
    same(ga.pad(ga.ones(1), 3, "reflect"), np.pad(np.ones(1), 3, "reflect"))


@pytest.mark.parametrize("how", CUTS)
def test_take(how, cut, same):
    a = numbers(4, 5)
    x = cut(a, how)
    for indices in (0, -1, [2, 0, 2], [[0, -1], [1, 1]], np.array([], int), np.array([3], "u1"), [True, False]):
        same(ga.take(x, indices, axis=1), np.take(a, indices, axis=1))
        same(x.take(indices), a.take(indices))
    same(ga.take(x, [], axis=1), a[:, :0])
    for mode in ("wrap", "clip"):
        same(ga.take(x, [-9, 7, 2], axis=0, mode=mode), np.take(a, [-9, 7, 2], axis=0, mode=mode))
    same(ga.take(x, ga.asarray([1, 0]), axis=0), np.take(a, [1, 0], axis=0))


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_take_along_axis(axis, how, cut, same):
    a = np.random.default_rng(0).random((4, 6))
    order = np.argsort(a, axis=axis)
    same(ga.take_along_axis(cut(a, how), cut(order), axis), np.take_along_axis(a, order, axis))
    same(ga.take_along_axis(cut(a, how), order, axis), np.take_along_axis(a, order, axis))


def test_take_along_axis_broadcasts(cut, same):
    a, at = np.random.default_rng(0).random((4, 6)), np.array([[5, -1]])
    same(ga.take_along_axis(cut(a), at, 1), np.take_along_axis(a, at, 1))
    same(ga.take_along_axis(cut(a)[:, 1:5], cut(at - at), 1)[::2], np.take_along_axis(a[:, 1:5], at - at, 1)[::2])


@pytest.mark.parametrize("offset", range(-5, 6))
def test_diagonals(offset, cut, same):
    a = numbers(3, 4, 2)
    same(ga.diagonal(cut(a), offset), a.diagonal(offset))
    same(ga.diagonal(cut(a), offset, 2, 0), a.diagonal(offset, 2, 0))
    same(cut(a).trace(offset), a.trace(offset))
    same(ga.diag(cut(a[..., 0]), offset), np.diag(a[..., 0], offset))
    same(ga.diag(cut(a[0, :, 0] + 1), offset), np.diag(a[0, :, 0] + 1, offset))
    same(ga.diagflat(cut(a[0]), offset), np.diagflat(a[0], offset))


@pytest.mark.parametrize("how", CUTS)
def test_what_is_not_zero(how, cut, same):
    a = np.random.default_rng(1).integers(0, 3, (5, 7))
    x = cut(a, how)
    same(ga.nonzero(x), np.nonzero(a))
    same(x.nonzero(), a.nonzero())
    same(ga.where(x), np.where(a))
    same(ga.flatnonzero(x), np.flatnonzero(a))
    same(ga.argwhere(x), np.argwhere(a))
    same(ga.extract(x > 1, x), np.extract(a > 1, a))
    same(ga.compress([True, False, True], x, axis=1), np.compress([True, False, True], a, axis=1))
    same(ga.nonzero(x > 9), np.nonzero(a > 9))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ga.concatenate([]), ValueError, "at least one array"),
        (lambda x: ga.concatenate([x, x[0]]), ValueError, r"array 1 has shape \(3,\)"),
        (lambda x: ga.concatenate([x, x.T]), ValueError, r"\(3, 4\)|\(4, 3\)"),
        (lambda x: ga.concatenate([1, 2]), ValueError, "without dimensions"),
        (lambda x: ga.concatenate([x], axis=2), np.exceptions.AxisError, "axis 2"),
        (lambda x: ga.concatenate(3), TypeError, "sequence of arrays"),
        (lambda x: ga.concatenate([x, x], dtype=int), TypeError, "float64 to int64"),
        (lambda x: ga.concatenate([x, x], out=ga.zeros((4, 4))), ValueError, r"\(4, 4\)"),
        (lambda x: ga.stack([x, x.T]), ValueError, r"\(3, 4\)"),
        (lambda x: ga.stack([x], axis=3), np.exceptions.AxisError, "axis 3"),
        (lambda x: ga.stack([]), ValueError, "at least one"),
        (lambda x: ga.split(x, 3), ValueError, "length 4.*3 equal parts"),
        (lambda x: ga.split(x, 0), ValueError, "0 equal"),
        (lambda x: ga.array_split(x, 0), ValueError, "must be at least 1"),
        (lambda x: ga.split(x, 2, axis=2), np.exceptions.AxisError, "axis 2"),
        (lambda x: ga.vsplit(x[0], 2), ValueError, r"2 or more dimensions.*\(3,\)"),
        (lambda x: ga.dsplit(x, 2), ValueError, "3 or more"),
        (lambda x: ga.unstack(ga.asarray(1)), ValueError, "without dimensions"),
        (lambda x: ga.tile(x, -1), ValueError, "-1"),
        (lambda x: ga.tile(x, 1.5), TypeError, "float"),
        (lambda x: ga.repeat(x, -1), ValueError, "-1"),
        (lambda x: ga.repeat(x, [1, 2], 0), ValueError, r"\(2,\).*4"),
        (lambda x: ga.repeat(x, 1.5), TypeError, "float64"),
        (lambda x: ga.pad(x, -1), ValueError, "-1"),
        (lambda x: ga.pad(x, 1.5), TypeError, "1.5"),
        (lambda x: ga.pad(x, (1, 2, 3)), ValueError, r"\(1, 2, 3\)"),
        (lambda x: ga.pad(x, 1, "mirror"), ValueError, "'mirror'"),
        (lambda x: ga.pad(x[:0], 1, "edge"), ValueError, "empty axis 0"),
        (lambda x: ga.take(x, 4, axis=0), IndexError, "index 4.*size 4"),
        (lambda x: ga.take(x, [-5], axis=0), IndexError, "index -5"),
        (lambda x: ga.take(x, [0.5], axis=0), TypeError, "float64"),
        (lambda x: ga.take(x, 0, axis=2), np.exceptions.AxisError, "axis 2"),
        (lambda x: ga.take(x, 0, axis=0, mode="other"), ValueError, "'other'"),
        (lambda x: ga.take_along_axis(x, [[0.5]], 0), TypeError, "float64"),
        (lambda x: ga.take_along_axis(x, [0], 0), ValueError, r"\(1,\)"),
        (lambda x: ga.take_along_axis(x, ga.asarray([[7]]), 0).compute(), IndexError, "7"),
        (lambda x: ga.diagonal(x[0]), ValueError, r"\(3,\)"),
        (lambda x: ga.diagonal(x, 0, 1, 1), ValueError, r"\(1, 1\)"),
        (lambda x: ga.nonzero(ga.asarray(1)), ValueError, "at least one dimension"),
        (lambda x: ga.diag(ga.ones((2, 2, 2))), ValueError, r"\(2, 2, 2\)"),
    ],
)
def test_errors(call, error, words):
    x = ga.ones((4, 3), chunks=2)
    with pytest.raises(error, match=words):
        call(x)
