"""Products and norms: against NumPy, in every cut."""

from __future__ import annotations

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.graph.grid import Lengths
from gpuarray.linalg.products import pieces

CUTS = ["whole", "ones", "odd", "uneven"]
DTYPES = ["?", "b", "B", "i", "l", "L", "e", "f", "d", "F", "D"]


def numbers(*shape: int, dtype: str = "d") -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(-3, 4, shape).astype(dtype)


SHAPES = [
    ((4, 5), (5, 3)),
    ((5,), (5, 3)),
    ((4, 5), (5,)),
    ((5,), (5,)),
    ((2, 4, 5), (5, 3)),
    ((4, 5), (2, 5, 3)),
    ((2, 4, 5), (2, 5, 3)),
    ((6, 1, 4, 5), (2, 5, 3)),
    ((2, 4, 5), (5,)),
    ((5,), (2, 5, 3)),
    ((4, 0), (0, 3)),
    ((0, 5), (5, 3)),
    ((4, 5), (5, 0)),
    ((0,), (0,)),
    ((1, 1), (1, 1)),
    ((0, 4, 5), (5, 3)),
]


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize(("first", "second"), SHAPES)
def test_matmul(first, second, how, cut, same):
    a, b = numbers(*first), numbers(*second)
    for x, y in ((cut(a, how), cut(b, "odd")), (cut(a), cut(b, how))):
        same(x @ y, a @ b, close=True)
    same(cut(a, how) @ b, a @ b, close=True)
    same(a @ cut(b, how), a @ b, close=True)
    if (a @ b).ndim:
        same(ga.matmul(cut(a), b)[..., ::-2], (a @ b)[..., ::-2], close=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_matmul_of_every_dtype(dtype, cut, same):
    a, b = numbers(6, 7, dtype=dtype), numbers(7, 5, dtype=dtype)
    same(cut(a) @ cut(b), a @ b, close=True)
    same(cut(a[0]) @ cut(b[:, 0]), a[0] @ b[:, 0], close=True)
    same(cut(a) @ cut(b.real.astype("f8")), a @ b.real.astype("f8"), close=True)
    same(ga.vecdot(cut(a), cut(b.T[:1])), np.vecdot(a, b.T[:1]), close=True)
    same(ga.dot(cut(a), cut(b)), np.dot(a, b), close=True)


def test_matmul_in_place_and_into(same):
    a, b = numbers(3, 3), numbers(3, 3)
    x = ga.asarray(a, chunks=2)
    alias = x
    x @= b
    assert x is alias
    same(x, a @ b, close=True)
    out = ga.zeros((3, 3))
    assert ga.matmul(a, b, out=out) is out
    same(out, a @ b, close=True)
    same(ga.matmul(a, b, dtype="f4"), np.matmul(a, b, dtype="f4"), close=True)


def test_a_product_in_pieces_has_the_same_bits_however_it_is_asked_for():
    rng = np.random.default_rng(0)
    a, b = rng.random((40, 5000)), rng.random((5000, 30))
    x = ga.asarray(a, chunks=(10, 500)) @ ga.asarray(b, chunks=(700, 11))
    whole = x.compute()
    np.testing.assert_allclose(whole, a @ b, rtol=1e-12)
    np.testing.assert_array_equal(whole, x.compute())


@pytest.mark.parametrize("step", [1, 7, 500, 1024, 2048, 4096, 5000, 10**5])
def test_pieces_are_neither_thin_nor_thick(step):
    made = pieces(Lengths.regular(10**6, step))
    assert made.total == 10**6
    assert 1000 <= made.largest <= 4096
    assert pieces(Lengths.regular(3, 1)).total == 3
    assert pieces(Lengths.regular(0, 1)).total == 0


@pytest.mark.parametrize("how", CUTS)
def test_other_products(how, cut, same):
    a, b, c = numbers(4, 5), numbers(5, 3), numbers(2, 5, 4)
    same(ga.dot(cut(a, how), cut(b, how)), np.dot(a, b), close=True)
    same(ga.dot(cut(a, how), 3), np.dot(a, 3), close=True)
    same(cut(a, how).dot(b[:, 0]), a.dot(b[:, 0]), close=True)
    same(ga.dot(cut(c, how), cut(a, how)), np.dot(c, a), close=True)
    same(ga.dot(cut(a.T, how), cut(c[:, :4], how)), np.dot(a.T, c[:, :4]), close=True)
    same(ga.inner(cut(a, how), cut(b.T, how)), np.inner(a, b.T), close=True)
    same(ga.inner(cut(a, how), 2), np.inner(a, 2), close=True)
    same(ga.outer(cut(a, how), cut(b, how)), np.outer(a, b))
    same(ga.vdot(cut(a, how), cut(a * 2j, how)), np.asarray(np.vdot(a, a * 2j)), close=True)
    same(ga.vdot(cut(a * 1j, how), cut(a, how)), np.asarray(np.vdot(a * 1j, a)), close=True)
    same(ga.vecdot(cut(a, how), cut(a, how), axis=0), np.vecdot(a, a, axis=0), close=True)


@pytest.mark.parametrize("axes", [0, 1, 2, ((0, 1), (1, 0)), (2, 0), ((-1,), (0,)), ([0, 2], [1, 0]), ([], [])])
@pytest.mark.parametrize("how", CUTS)
def test_tensordot(axes, how, cut, same):
    a, b = numbers(3, 4, 3), numbers(3, 3, 2) if axes != 2 else numbers(4, 3, 2)
    if axes == ((0, 1), (1, 0)):
        b = numbers(4, 3, 2)
    same(ga.tensordot(cut(a, how), cut(b, how), axes), np.tensordot(a, b, axes), close=True)


@pytest.mark.parametrize("ord", [None, 0, 1, 2, 3, 0.5, np.inf, -np.inf, -1, -2])
def test_vector_norms(ord, cut, same):
    a = numbers(4, 5) + 0.5
    for axis in (0, 1, -1):
        same(ga.linalg.norm(cut(a), ord, axis), np.linalg.norm(a, ord, axis), close=True)
        same(ga.linalg.norm(cut(a), ord, axis, keepdims=True), np.linalg.norm(a, ord, axis, keepdims=True), close=True)
    same(ga.linalg.norm(cut(a * 1j), ord, 1), np.linalg.norm(a * 1j, ord, 1), close=True)
    if ord is not None:
        same(ga.linalg.vector_norm(cut(a), ord=ord), np.linalg.vector_norm(a, ord=ord), close=True)
        same(
            ga.linalg.norm(cut(a[0].astype("f4")), ord), np.asarray(np.linalg.norm(a[0].astype("f4"), ord)), close=True
        )


@pytest.mark.parametrize("ord", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_matrix_norms(ord, cut, same):
    a = numbers(3, 4, 5)
    for axis in ((0, 1), (2, 0), (-2, -1)):
        for keepdims in (False, True):
            same(ga.linalg.norm(cut(a), ord, axis, keepdims), np.linalg.norm(a, ord, axis, keepdims), close=True)
    if ord is not None:
        same(ga.linalg.matrix_norm(cut(a), ord=ord), np.linalg.matrix_norm(a, ord=ord), close=True)
    same(ga.linalg.norm(cut(a[0]), ord), np.asarray(np.linalg.norm(a[0], ord)), close=True)
    same(ga.linalg.norm(cut(a)), np.asarray(np.linalg.norm(a)), close=True)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: x @ x, ValueError, r"\(3, 4\) and \(3, 4\).*4.*3"),
        (lambda x: x @ 2, TypeError, "@|matmul"),
        (lambda x: ga.matmul(x, 2), ValueError, r"\(3, 4\) and \(\)"),
        (lambda x: ga.matmul(ga.ones((2, 3, 4)), ga.ones((5, 4, 3))), ValueError, "broadcast"),
        (lambda x: ga.matmul(ga.asarray(["a"]), ga.asarray(["b"])), TypeError, "multiply.*str"),
        (lambda x: ga.vecdot(x, ga.ones(3)), ValueError, "axis -1"),
        (lambda x: ga.vecdot(x, x, axis=2), np.exceptions.AxisError, "axis 2"),
        (lambda x: ga.vdot(x, ga.ones(3)), ValueError, r"\(12,\) and \(3,\)"),
        (lambda x: ga.dot(x, ga.ones(3)), ValueError, r"\(3, 4\) and \(3,\)"),
        (lambda x: ga.tensordot(x, x, 1), ValueError, "lengths"),
        (lambda x: ga.tensordot(x, x, 3), ValueError, "axes=3"),
        (lambda x: ga.tensordot(x, x, -1), ValueError, "axes=-1"),
        (lambda x: ga.tensordot(x, x, ((0, 1), (0,))), ValueError, "as many"),
        (lambda x: ga.tensordot(x, x, ((0, 0), (0, 0))), ValueError, "twice"),
        (lambda x: ga.linalg.norm(x, "two"), ValueError, "'two'.*nuc"),
        (lambda x: ga.linalg.norm(x, 3), ValueError, "ord=3"),
        (lambda x: ga.linalg.norm(x, "fro", 1), ValueError, "'fro'"),
        (lambda x: ga.linalg.norm(ga.ones((2, 2, 2)), 1), ValueError, r"\(2, 2, 2\)"),
        (lambda x: ga.linalg.matrix_norm(x[0]), ValueError, r"\(4,\)"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(ga.ones((3, 4), chunks=2))
