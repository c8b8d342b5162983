"""Arrays made from nothing: against NumPy, in every cut and dtype."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.errors import ChunkError, UnsupportedDTypeError

CHUNKS = ["auto", 1, 2, 3, -1]
DTYPES = ["?", "b", "B", "i", "l", "L", "e", "f", "d", "F", "D"]


@pytest.mark.parametrize("shape", [(), 3, (0,), (2, 3), [4, 1, 2], (np.int64(2), 0)])
@pytest.mark.parametrize("name", ["zeros", "ones", "empty"])
def test_constants(name, shape, same):
    theirs = getattr(np, name if name != "empty" else "zeros")
    for dtype in DTYPES:
        same(getattr(ga, name)(shape, dtype), theirs(shape, dtype))
    same(getattr(ga, name)(shape), theirs(shape))
    for chunks in CHUNKS:
        same(getattr(ga, name)(shape, chunks=chunks), theirs(shape))
    same(getattr(ga, name + "_like")(theirs(shape, "f4")), theirs(shape, "f4"))


@pytest.mark.parametrize("value", [7, 2.5, True, 1j, np.float32(3), np.nan, -0.0, [1, 2, 3], [[1], [2]]])
def test_full(value, same):
    same(ga.full((2, 3), value, chunks=1), np.full((2, 3), value))
    same(ga.full_like(ga.ones((2, 3), dtype="c8"), value), np.full_like(np.ones((2, 3), "c8"), value))
    if value != 1j and value is not True and np.isfinite(value).all():
        same(ga.full((2, 3), value, dtype="i2"), np.full((2, 3), value, dtype="i2"))


def test_minus_zero_is_not_zero():
    assert np.signbit(ga.full(2, -0.0).compute()).all()
    assert not np.signbit(ga.full(2, 0.0).compute()).any()


def test_like(same):
    x = ga.ones((4, 6), chunks=(2, 3), dtype="i2")
    for name in ("zeros_like", "ones_like", "empty_like"):
        made = getattr(ga, name)(x)
        assert made.chunks == x.chunks
        assert made.dtype == x.dtype
        assert getattr(ga, name)(x, dtype=float, shape=(5,)).shape == (5,)
    same(ga.full_like(x, 3, chunks=4), np.full((4, 6), 3, "i2"))


RANGES = [
    (5,),
    (0,),
    (-3,),
    (2, 8),
    (2, 8, 3),
    (8, 2, -1),
    (8, 2),
    (0, 1, 0.1),
    (1.0, 2.0, 0.3),
    (0.5, 4),
    (0, -2, -0.5),
    (2**40, 2**40 + 5),
    (np.float32(1), np.float32(2), np.float32(0.25)),
    (np.int8(3), np.int8(9)),
    (1e300, 3e300, 1e299),
    (-5, 5, 2),
]


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("args", RANGES)
def test_arange(args, chunks, same):
    same(ga.arange(*args, chunks=chunks), np.arange(*args))


@pytest.mark.parametrize("args", [(5,), (2, 8, 3), (8, 2, -2), (0, 1, 0.25)])
@pytest.mark.parametrize("dtype", ["b", "i", "L", "e", "f", "d", "D"])
def test_arange_dtype(args, dtype, same):
    if dtype == "L" and args[-1] == -2:
        pytest.skip("the step has no such dtype")
    same(ga.arange(*args, dtype=dtype, chunks=2), np.arange(*args, dtype=dtype))


@pytest.mark.parametrize("num", [0, 1, 2, 5, 50])
@pytest.mark.parametrize("endpoint", [True, False])
@pytest.mark.parametrize(
    ("start", "stop"), [(0, 1), (1, -3.5), (2, 2), (0, 1j), (np.float32(0), np.float32(1)), (5, 0)]
)
def test_linspace(start, stop, endpoint, num, same):
    same(ga.linspace(start, stop, num, endpoint, chunks=3), np.linspace(start, stop, num, endpoint), close=True)
    for dtype in ("f4", "i4"):
        if isinstance(stop, complex):
            continue
        same(ga.linspace(start, stop, num, endpoint, dtype=dtype), np.linspace(start, stop, num, endpoint, dtype=dtype))


def test_linspace_ends_exactly():
    for stop in (0.1, 1 / 3, 1e300, 5e-324):
        assert float(ga.linspace(0, stop, 7)[-1]) == stop


def test_logspace(same):
    same(ga.logspace(0, 3, 7, chunks=2), np.logspace(0, 3, 7), close=True)
    same(ga.logspace(0, 3, 4, False, base=2, dtype="f4"), np.logspace(0, 3, 4, False, base=2, dtype="f4"), close=True)


@pytest.mark.parametrize("k", range(-4, 5))
def test_triangles(k, cut, same):
    for chunks in (2, -1):
        same(ga.eye(3, 4, k, chunks=chunks), np.eye(3, 4, k))
        same(ga.eye(3, k=k, dtype="i2", chunks=chunks), np.eye(3, k=k, dtype="i2"))
        same(ga.tri(3, 4, k, chunks=chunks), np.tri(3, 4, k))
        same(ga.tri(3, k=k, dtype=bool, chunks=chunks), np.tri(3, k=k, dtype=bool))
    for a in (
        np.arange(12.0).reshape(3, 4),
        np.arange(24).reshape(2, 4, 3),
        np.ones((2, 2), bool),
        np.full((2, 2), np.nan),
    ):
        same(ga.tril(cut(a), k), np.tril(a, k))
        same(ga.triu(cut(a), k), np.triu(a, k))
    same(ga.identity(3), np.identity(3))


def test_grids(cut, same):
    same(ga.indices((2, 3), chunks=2), np.indices((2, 3)))
    same(ga.indices((2, 3), sparse=True), np.indices((2, 3), sparse=True))
    same(ga.indices((), dtype="f4"), np.indices((), dtype="f4"))
    same(ga.fromfunction(lambda i, j: i * 2 + j, (3, 4), chunks=2), np.fromfunction(lambda i, j: i * 2 + j, (3, 4)))
    same(ga.fromfunction(lambda i: i > 1, (3,), dtype=int), np.fromfunction(lambda i: i > 1, (3,), dtype=int))
    vectors = [np.array([1, 2]), np.array([1.5, 2.5, 3.5]), np.array(7)]
    for indexing in ("xy", "ij"):
        for sparse in (False, True):
            for n in range(4):
                mine = ga.meshgrid(*map(cut, vectors[:n]), indexing=indexing, sparse=sparse)
                same(mine, tuple(np.meshgrid(*vectors[:n], indexing=indexing, sparse=sparse)))


@pytest.mark.parametrize(
    "obj", [3, 2.5, 1j, True, [1, 2], [[1.0], [2.0]], (), [[]], np.arange(3, dtype="u1"), np.float32(2), range(4)]
)
def test_asarray(obj, same):
    same(ga.asarray(obj), np.asarray(obj))
    same(ga.array(obj, ndmin=2), np.array(obj, ndmin=2))
    same(ga.asarray(ga.asarray(obj)), np.asarray(obj))


def test_asarray_of_other_kinds(same):
    same(ga.asarray(np.array(["a", "bc"])), np.array(["a", "bc"]))
    same(ga.asarray(np.array(["2024-01-01", "NaT"], "M8[D]")), np.array(["2024-01-01", "NaT"], "M8[D]"))
    same(ga.asarray([1, 2], dtype="f4"), np.asarray([1, 2], dtype="f4"))
    same(ga.asarray(np.asfortranarray(np.arange(6).reshape(2, 3)), chunks=2), np.arange(6).reshape(2, 3))
    same(ga.asarray(np.arange(10)[::-3], chunks=2), np.arange(10)[::-3])
    same(ga.from_dlpack(np.arange(3.0)), np.arange(3.0))
    masked = np.arange(3)
    masked.flags.writeable = False
    same(ga.asarray(masked) + 1, masked + 1)


def test_huge_arrays_are_descriptions():
    x = ga.ones((10**9, 10**6))
    assert float((x + ga.arange(10**6))[10**8, 5:7].sum()) == 5 + 6 + 2
    assert float(ga.eye(10**9)[10**8, 10**8]) == 1
    assert int(ga.arange(10**15, chunks=10**13)[-1]) == 10**15 - 1


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ga.zeros(-1), ValueError, r"\(-1,\)"),
        (lambda: ga.zeros((2, -3)), ValueError, r"\(2, -3\)"),
        (lambda: ga.zeros(2.5), TypeError, "2.5"),
        (lambda: ga.zeros((2, 1.0)), TypeError, "1.0"),
        (lambda: ga.zeros("3"), TypeError, "'3'"),
        (lambda: ga.zeros((2**40, 2**40)), ValueError, r"2\*\*63"),
        (lambda: ga.zeros(3, dtype=object), UnsupportedDTypeError, "object"),
        (lambda: ga.zeros(3, dtype="no such"), TypeError, "no such"),
        (lambda: ga.zeros(3, dtype=[("a", int)]), UnsupportedDTypeError, r"\('a'"),
        (lambda: ga.zeros(3, dtype=np.longdouble), UnsupportedDTypeError, "float128|longdouble"),
        (lambda: ga.zeros(3, device="cuda:7"), ValueError, "cuda:7"),
        (lambda: ga.zeros((4, 4), chunks=0), ChunkError, "chunks=0"),
        (lambda: ga.zeros((4, 4), chunks=-2), ChunkError, "chunks=-2"),
        (lambda: ga.zeros((4, 4), chunks=(2, 2, 2)), ChunkError, "3 entries.*2 dimensions"),
        (lambda: ga.zeros((4, 4), chunks=((1, 2), 4)), ChunkError, "add up to 3.*4"),
        (lambda: ga.zeros((4, 4), chunks=((1, -1, 4), 4)), ChunkError, "not positive"),
        (lambda: ga.zeros((4, 4), chunks="big"), ChunkError, "'big'"),
        (lambda: ga.zeros((4, 4), chunks=1.5), (ChunkError, TypeError), "1.5"),
        (lambda: ga.zeros((4, 4), chunks=True), ChunkError, "True"),
        (lambda: ga.zeros((4, 4), chunks={2: 1}), ChunkError, "axis 2"),
        (lambda: ga.zeros((4, 4)).rechunk(0), ChunkError, "0"),
        (lambda: ga.full(3, [1, 2]), ValueError, r"\(2,\).*\(3,\)"),
        (lambda: ga.full(3, object()), UnsupportedDTypeError, "object"),
        (lambda: ga.full(3, "a", dtype=float), ValueError, "could not convert"),
        (lambda: ga.arange(0, 5, 0), ZeroDivisionError, "step=0"),
        (lambda: ga.arange(np.nan), ValueError, "nan"),
        (lambda: ga.arange(0, np.inf), ValueError, "inf"),
        (lambda: ga.arange(0, 5, dtype=object), UnsupportedDTypeError, "object"),
        (lambda: ga.arange("a"), TypeError, "str"),
        (lambda: ga.linspace(0, 1, -1), ValueError, "-1"),
        (lambda: ga.linspace(0, 1, 2.5), TypeError, "float"),
        (lambda: ga.linspace([0, 1], 2), ValueError, r"\(2,\)"),
        (lambda: ga.asarray(ga.ones(2), dtype=object), UnsupportedDTypeError, "object"),
        (lambda: ga.eye(-1), ValueError, "-1"),
        (lambda: ga.eye(3, k=0.5), TypeError, "float"),
        (lambda: ga.tril(ga.ones(())), TypeError, r"shape \(\)"),
        (lambda: ga.meshgrid([1], indexing="no"), ValueError, "'no'"),
        (lambda: ga.meshgrid([[1]]), ValueError, r"\(1, 1\)"),
        (lambda: ga.asarray(object()), UnsupportedDTypeError, "object"),
        (lambda: ga.asarray([1, [2, 3]]), ValueError, "inhomogeneous"),
        (lambda: ga.asarray([1, "a", None]), UnsupportedDTypeError, "object"),
        (lambda: ga.asarray(np.zeros(2, [("a", int)])), UnsupportedDTypeError, "'a'"),
        (lambda: ga.asarray([1, 2], chunks=(3,) * 2), ChunkError, "6"),
    ],
)
def test_errors(call, error, words):
    with warnings.catch_warnings(), pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    "args",
    [
        ("2020-01-01", "2020-03-01", 1, "M8[D]"),
        ("2020-01", "2020-03", 1, "M8[D]"),
        ("2020-01", "2020-12", 3, "M8"),
        (np.datetime64("2020-01-01"), np.datetime64("2020-02-01")),
        (np.datetime64("2020-01-01"), np.datetime64("2020-01-03"), np.timedelta64(6, "h")),
        (np.datetime64("2020-02-01"), np.datetime64("2020-01-01"), -3),
        (np.datetime64("2020-02-01"), np.datetime64("2020-01-01")),
        (np.datetime64("2020-02-01"), 5),
        (np.timedelta64(7, "D"),),
        (np.timedelta64(1, "h"), np.timedelta64(3, "D"), np.timedelta64(7, "h")),
    ],
)
def test_dates(args):
    expected = np.arange(*args)
    made = ga.arange(*args, chunks=4)
    assert (made.shape, made.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(made.compute(), expected)


def test_dates_that_are_none():
    day = np.datetime64("2020-01-01")
    with pytest.raises(ZeroDivisionError, match="step=0"):
        ga.arange(day, day + 1, 0)
    with pytest.raises(ValueError, match="NaT"):
        ga.arange(day, np.datetime64("NaT"))


@pytest.mark.parametrize(
    "args", [(0, 2 * np.pi, 5, False), (3, 3, 4), (0, 1, 1), (0, 1, 0), (1, 9, 5, True), (0, 1j, 3)]
)
def test_the_distance_of_points(args):
    with np.errstate(all="ignore"):
        (made, step), (expected, distance) = ga.linspace(*args, retstep=True), np.linspace(*args, retstep=True)
    np.testing.assert_array_equal(made.compute(), expected)
    np.testing.assert_equal(step, distance)
