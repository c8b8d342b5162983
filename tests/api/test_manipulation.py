"""Axes, shapes, directions: against NumPy, however the array is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpuarray as ga

SHAPES = [(), (1,), (7,), (0,), (4, 6), (5, 1, 3), (3, 0, 2), (2, 3, 4, 5)]
CUTS = ["whole", "ones", "odd", "uneven"]


def numbers(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.arange(np.prod(shape, dtype=int)).reshape(shape)


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_views_of_every_shape(shape, how, cut, same):
    a = numbers(shape)
    x = cut(a, how)
    same(x.T, a.T)
    same(ga.transpose(x), np.transpose(a))
    same(ga.ravel(x), np.ravel(a))
    same(ga.ravel(x, order="F"), np.ravel(a, order="F"))
    same(x.flatten(), a.flatten())
    same(ga.flip(x), np.flip(a))
    same(ga.squeeze(x), np.squeeze(a))
    same(ga.expand_dims(x, 0), np.expand_dims(a, 0))
    same(ga.expand_dims(x, (0, -1)), np.expand_dims(a, (0, -1)))
    same(ga.roll(x, 3), np.roll(a, 3))
    same(ga.broadcast_to(x, (2, *shape)), np.broadcast_to(a, (2, *shape)))
    for function in ("atleast_1d", "atleast_2d", "atleast_3d"):
        same(getattr(ga, function)(x), getattr(np, function)(a))
    for axis in range(-len(shape), len(shape)):
        same(ga.flip(x, axis), np.flip(a, axis))
        same(ga.roll(x, -2, axis), np.roll(a, -2, axis))
        same(ga.moveaxis(x, axis, 0), np.moveaxis(a, axis, 0))
        same(ga.rollaxis(x, axis), np.rollaxis(a, axis))
        same(ga.swapaxes(x, axis, 0), np.swapaxes(a, axis, 0))


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((24,), (4, 6)),
        ((24,), (2, 3, -1)),
        ((4, 6), (24,)),
        ((4, 6), (6, 4)),
        ((4, 6), (3, 8)),
        ((2, 3, 4), (6, 4)),
        ((2, 3, 4), (2, 12)),
        ((2, 3, 4), (4, 3, 2)),
        ((2, 3, 4), (1, 2, 1, 3, 4, 1)),
        ((1, 5, 1), (5,)),
        ((0, 3), (0,)),
        ((0, 3), (5, 0, 2)),
        ((3, 0), (-1, 2)),
        ((), (1, 1)),
        ((1, 1), ()),
        ((7, 11), (11, 7)),
    ],
)
def test_reshape(old, new, how, cut, same):
    a = numbers(old)
    x = cut(a, how)
    same(ga.reshape(x, new), a.reshape(new))
    if new:
        same(x.reshape(*new), a.reshape(*new))
    same(ga.reshape(x, new, order="F"), a.reshape(new, order="F"))
    same(x.T.reshape(new), a.T.reshape(new))
    same(x[..., None].reshape(new), a.reshape(new))


def test_reshape_twice_and_slices_of_it(cut, same):
    a = numbers((6, 10))
    for how in CUTS:
        x = cut(a, how)
        same(x.reshape(4, 15)[1:3, ::4], a.reshape(4, 15)[1:3, ::4])
        same(x.reshape(4, 15).reshape(3, 20)[::-1, 5], a.reshape(3, 20)[::-1, 5])
        same(x.reshape(60)[::7], a.reshape(60)[::7])
        same((x.reshape(5, 12) + 1).T, (a.reshape(5, 12) + 1).T)


@pytest.mark.parametrize("axes", [(2, 0, 1), (-1, 0, 1), (0, 1, 2)])
def test_transpose_with_axes(axes, cut, same):
    a = numbers((2, 3, 4))
    same(ga.transpose(cut(a), axes), a.transpose(axes))
    same(cut(a).transpose(*axes), a.transpose(*axes))
    same(ga.permute_dims(cut(a), axes), np.permute_dims(a, axes))


def test_matrix_transpose(cut, same):
    a = numbers((2, 3, 4))
    same(cut(a).mT, a.mT)
    same(ga.matrix_transpose(cut(a)), np.matrix_transpose(a))


@pytest.mark.parametrize(("source", "to"), [(0, 2), ((0, 1), (-1, 0)), ((2, 0), (0, 1)), (-1, -3)])
def test_moveaxis(source, to, cut, same):
    a = numbers((2, 3, 4))
    same(ga.moveaxis(cut(a), source, to), np.moveaxis(a, source, to))


@pytest.mark.parametrize("start", range(-3, 4))
@pytest.mark.parametrize("axis", range(3))
def test_rollaxis(axis, start, cut, same):
    a = numbers((2, 3, 4))
    same(ga.rollaxis(cut(a), axis, start), np.rollaxis(a, axis, start))


@pytest.mark.parametrize("k", range(-4, 5))
@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (2, 0), (1, -1)])
def test_rot90(k, axes, cut, same):
    a = numbers((2, 3, 4))
    same(ga.rot90(cut(a), k, axes), np.rot90(a, k, axes))


@pytest.mark.parametrize(
    ("shift", "axis"), [(0, 0), (100, 1), (-3, 0), ((1, 2), (0, 1)), ((1, 2), (1, 1)), (2, (0, 1)), ((1, 2), None)]
)
def test_roll_keeps_the_chunks(shift, axis, cut, same):
    a = numbers((5, 7))
    x = cut(a)
    same(ga.roll(x, shift, axis), np.roll(a, shift, axis))
    assert ga.roll(x, shift, axis).chunks == x.chunks


def test_flips(cut, same):
    a = numbers((3, 4, 2))
    same(ga.fliplr(cut(a)), np.fliplr(a))
    same(ga.flipud(cut(a)), np.flipud(a))
    same(ga.flip(cut(a), (0, 2)), np.flip(a, (0, 2)))


def test_broadcasting(cut, same):
    a, b = numbers((3, 1)), numbers((4,))
    same(ga.broadcast_arrays(cut(a), cut(b)), np.broadcast_arrays(a, b))
    assert ga.broadcast_shapes((3, 1), 4, ()) == (3, 4)
    same(ga.broadcast_to(cut(a), (2, 3, 5))[1, :, 2], a[:, 0])


DTYPES = ["?", "b", "B", "h", "H", "i", "I", "l", "L", "e", "f", "d", "F", "D"]


@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("target", DTYPES)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_astype(source, target, same):
    a = np.array([0, 1, 2, 100]).astype(source)
    same(ga.asarray(a).astype(target), a.astype(target))


def test_astype_warns_where_an_imaginary_part_goes():
    x = ga.asarray([1 + 2j])
    with pytest.warns(np.exceptions.ComplexWarning, match="imaginary"):
        y = x.astype(float)
    assert y.compute().tolist() == [1.0]


def test_astype_obeys_casting():
    x = ga.asarray([1.5])
    with pytest.raises(TypeError, match=r"float64 to int64 .*same_kind"):
        x.astype(int, casting="same_kind")
    assert x.astype(np.float32, casting="same_kind").dtype == np.float32


def test_dtypes_of_the_other_byte_order_become_native(same):
    a = np.arange(4, dtype=">i4")
    same(ga.asarray(a) + 1, a.astype("i4") + 1)
    assert ga.zeros(3).astype(">f8").dtype.isnative


def test_copies_do_not_follow_each_other():
    import copy

    x = ga.arange(3)
    copies = [x.copy(), ga.copy(x), copy.copy(x), copy.deepcopy(x), ga.array(x)]
    x[0] = 9
    x += 1
    assert x.compute().tolist() == [10, 2, 3]
    for y in copies:
        assert y.compute().tolist() == [0, 1, 2]


def test_array_copies_and_asarray_does_not():
    a = np.zeros(2)
    copied, shared = ga.array(a), ga.asarray(a)
    a[0] = 5
    assert copied.compute().tolist() == [0, 0]
    assert shared.compute().tolist() == [5, 0]


def test_views_take_no_memory():
    x = ga.broadcast_to(ga.asarray(3.0), (10**9, 10**6))
    assert float(x.T[::-1, 5:][3, 7]) == 3.0
    assert float(ga.flip(ga.roll(x, (10**8, 17), (0, 1)))[12, 13]) == 3.0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ga.reshape(x, (5, 5)), ValueError, r"size 24 into shape \(5, 5\)"),
        (lambda x: ga.reshape(x, (-1, -1)), ValueError, r"one unknown dimension.*\(-1, -1\)"),
        (lambda x: ga.reshape(x, (-1, 7)), ValueError, r"size 24"),
        (lambda x: ga.reshape(x, (-2, -12)), ValueError, r"\(-2, -12\)"),
        (lambda x: ga.reshape(x, (2.0, 12)), TypeError, "integer"),
        (lambda x: ga.reshape(x, 24, order="Z"), ValueError, "'Z'"),
        (lambda x: ga.transpose(x, (0, 0, 1)), ValueError, r"\(0, 0, 1\)"),
        (lambda x: ga.transpose(x, (0, 1)), ValueError, "3 dimensions"),
        (lambda x: ga.transpose(x, (0, 1, 3)), np.exceptions.AxisError, "axis 3"),
        (lambda x: ga.swapaxes(x, 0, 5), np.exceptions.AxisError, "axis 5"),
        (lambda x: ga.moveaxis(x, (0, 1), 0), ValueError, r"\(0, 1\)"),
        (lambda x: ga.moveaxis(x, 4, 0), np.exceptions.AxisError, "axis 4"),
        (lambda x: ga.rollaxis(x, 0, 4), np.exceptions.AxisError, "axis 4"),
        (lambda x: ga.squeeze(x, 1), ValueError, "axis 1 of length 3"),
        (lambda x: ga.squeeze(x, 3), np.exceptions.AxisError, "axis 3"),
        (lambda x: ga.expand_dims(x, 5), np.exceptions.AxisError, "axis 5"),
        (lambda x: ga.expand_dims(x, (0, 0)), ValueError, r"\(0, 0\)"),
        (lambda x: ga.flip(x, 3), np.exceptions.AxisError, "axis 3"),
        (lambda x: ga.flip(x, (1, 1)), ValueError, r"\(1, 1\)"),
        (lambda x: ga.flip(x, 1.0), TypeError, "1.0"),
        (lambda x: ga.fliplr(x[0, 0]), ValueError, "axis 1"),
        (lambda x: ga.rot90(x, 1, (0, 0)), ValueError, r"\(0, 0\)"),
        (lambda x: ga.rot90(x, 1, (0, 1, 2)), ValueError, "two axes"),
        (lambda x: ga.roll(x, (1, 2), (0, 1, 2)), ValueError, "as many"),
        (lambda x: ga.roll(x, 1.5, 0), TypeError, "float"),
        (lambda x: ga.broadcast_to(x, (2, 3, 5)), ValueError, r"\(2, 3, 4\).*\(2, 3, 5\)"),
        (lambda x: ga.broadcast_to(x, (3, 4)), ValueError, r"\(3, 4\)"),
        (lambda x: ga.broadcast_arrays(x, ga.ones(3)), ValueError, "broadcast"),
        (lambda x: ga.matrix_transpose(x[0, 0]), ValueError, r"\(4,\)"),
        (lambda x: x.astype(object), TypeError, "object"),
        (lambda x: x.astype("no such"), TypeError, "no such"),
    ],
)
def test_errors(call, error, words):
    x = ga.ones((2, 3, 4), chunks=2)
    with pytest.raises(error, match=words):
        call(x)
