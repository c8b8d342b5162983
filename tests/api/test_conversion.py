"""NumPy's other ways to make arrays, and questions about types."""

from __future__ import annotations

import numpy as np
import pytest

import gpuarray as ga


@pytest.mark.parametrize("name", ["asanyarray", "ascontiguousarray", "asfortranarray", "asarray_chkfinite", "require"])
@pytest.mark.parametrize("value", [3, [1, 2], [[1.5], [2.5]], np.zeros((0, 2), "f4"), [True]], ids=repr)
def test_as_arrays(name, value, same):
    same(getattr(ga, name)(value), getattr(np, name)(value))
    same(getattr(ga, name)(ga.asarray(value), "f4"), getattr(np, name)(value, "f4"))


def test_finite_or_an_error():
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="infs or NaNs"):
            ga.asarray_chkfinite(ga.asarray([1.0, bad], chunks=1))
    with pytest.raises(ValueError, match="infs or NaNs"):
        ga.asarray_chkfinite([1j, complex(0, np.nan)])


def test_requirements():
    assert ga.require([1], requirements="C").shape == (1,)
    with pytest.raises(ValueError, match=r"\['F'\]"):
        ga.require([1], requirements=["C", "f"])


def test_from_text_and_bytes(same, tmp_path):
    same(ga.fromiter(range(5), "f4", 3), np.fromiter(range(5), "f4", 3))
    with pytest.raises(ValueError, match="too short"):
        ga.fromiter(range(2), int, 3)
    assert ga.fromiter(range(6), int, chunks=2).chunks == ((2, 2, 2),)
    same(ga.frombuffer(b"abcdef", "u1", 3, 1), np.frombuffer(b"abcdef", "u1", 3, 1))
    same(ga.fromstring("1,2", int, sep=","), np.asarray([1, 2]))
    path = tmp_path / "x.txt"
    path.write_text("# head\n1 2\n3 nan\n")
    same(ga.loadtxt(path), np.loadtxt(path))
    same(ga.loadtxt(path, usecols=0, dtype=int, chunks=1), np.loadtxt(path, usecols=0, dtype=int))
    same(ga.genfromtxt(path, names=None), np.genfromtxt(path))
    np.arange(6, dtype="i2").tofile(path)
    same(ga.fromfile(path, "i2", 3, offset=2), np.fromfile(path, "i2", 3, offset=2))
    same(np.fromfile(path, "u1", like=ga.ones(1)), np.fromfile(path, "u1"))
    with pytest.raises(TypeError, match="not supported"):
        ga.genfromtxt(["1 a", "2 b"], dtype=None, encoding="utf-8")


def test_load_and_save(tmp_path, same):
    a = np.arange(12.0).reshape(3, 4)
    ga.save(tmp_path / "x", ga.asarray(a, chunks=2))
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), a)
    same(ga.load(tmp_path / "x.npy", chunks=2), a)
    np.save(tmp_path / "x.npy", ga.asarray(a) + 1)
    same(ga.load(tmp_path / "x.npy"), a + 1)
    np.savez(tmp_path / "x.npz", a)
    with pytest.raises(ValueError, match="several arrays"):
        ga.load(tmp_path / "x.npz")


def test_copyto(same):
    x = ga.zeros((2, 3), chunks=1)
    ga.copyto(x, [1, 2, 3], where=[[True], [False]])
    same(x, np.asarray([[1.0, 2, 3], [0, 0, 0]]))
    assert x.chunks == ((1, 1), (1, 1, 1))
    np.copyto(x, 7)
    same(x, np.full((2, 3), 7.0))
    with pytest.raises(TypeError, match="complex"):
        ga.copyto(x, 1j)
    with pytest.raises(ValueError, match="cannot hold"):
        ga.copyto(x, np.zeros((4, 1)))
    with pytest.raises(TypeError, match="ndarray"):
        np.copyto(np.zeros((2, 3)), x)


def test_types(same):
    for values in ([1], [1.0], [1j], np.ones(2, "f2"), np.ones(2, "c8")):
        a = np.asarray(values)
        assert ga.common_type(ga.asarray(a)) is np.common_type(a) is np.common_type(ga.asarray(a))
        assert ga.min_scalar_type(ga.asarray(a)) == np.min_scalar_type(a)
    assert ga.min_scalar_type(ga.asarray(300)) == ga.min_scalar_type(300) == np.dtype("u2")
    with pytest.raises(TypeError, match="non-numeric"):
        ga.common_type(ga.asarray(["a"]))
    assert not ga.isfortran(ga.ones((2, 2)))
    assert ga.isfortran(np.asfortranarray(np.ones((2, 2))))
    assert ga.isscalar(3.5)
    assert not ga.isscalar(ga.asarray(3.5))


def test_equivalence():
    assert ga.array_equiv([1, 2], [[1, 2], [1, 2]])
    assert not ga.array_equiv([1, 2], [[1, 2], [1, 3]])
    assert not ga.array_equiv([1, 2], [1, 2, 3])
    assert ga.array_equiv(ga.zeros((0, 3)), np.zeros((0, 3)))
    assert isinstance(np.array_equiv(ga.ones(3), 1), ga.NDArray)


def test_memory_is_never_shared():
    x = ga.zeros(3)
    assert np.shares_memory(x, x)
    assert not np.may_share_memory(x, x[:])
    assert not ga.shares_memory(x, np.zeros(3))
