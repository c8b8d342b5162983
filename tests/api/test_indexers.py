"""`mgrid`, `ogrid`, `r_`, `c_`, `ndenumerate`, and names that are NumPy's alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpuarray as ga


@pytest.mark.parametrize(
    "key", [np.s_[0:5], np.s_[0:5,], np.s_[0:5, 1:9:2], np.s_[-1:1:5j, 0:3, :4], np.s_[0:0, 2:4], np.s_[0.5:3, 0:2]]
)
def test_grids(key: Any) -> None:
    theirs, mine = np.mgrid[key], ga.mgrid[key]
    assert isinstance(mine, ga.NDArray)
    assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
    np.testing.assert_array_equal(mine.compute(), theirs)
    for m, t in zip(ga.ogrid[key], np.ogrid[key], strict=True):
        assert m.shape == t.shape
        np.testing.assert_array_equal(np.asarray(m), t)


def test_bounds_that_are_arrays() -> None:
    np.testing.assert_array_equal(ga.mgrid[0 : ga.asarray(3), 0 : np.asarray(2)].compute(), np.mgrid[0:3, 0:2])


A, B = np.arange(3), np.ones((2, 3), "f4")
JOINED = [
    lambda a, b: (a, 0, 5, slice(1, 4)),
    lambda a, b: (a.astype("f4"), 2.5),
    lambda a, b: (a, True),
    lambda a, b: slice(0, 1, 5j),
    lambda a, b: (b, b),
    lambda a, b: ("0,2", a, a),
    lambda a, b: ("1,2,0", a, a, 7, slice(0, 3)),
    lambda a, b: ("-1", b, b),
    lambda a, b: ("0,3,1", a, b),
    lambda a, b: a,
    lambda a, b: ([1, 2], a),
]


@pytest.mark.parametrize("entries", JOINED)
@pytest.mark.parametrize("name", ["r_", "c_"])
def test_joined(name: str, entries: Any) -> None:
    try:
        theirs = getattr(np, name)[entries(A, B)]
    except ValueError:
        with pytest.raises(ValueError, match=r"\w"):
            getattr(ga, name)[entries(ga.asarray(A), ga.asarray(B))]
        return
    mine = getattr(ga, name)[entries(ga.asarray(A, chunks=2), ga.asarray(B, chunks=2))]
    assert isinstance(mine, ga.NDArray)
    assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
    np.testing.assert_array_equal(mine.compute(), theirs)


@pytest.mark.parametrize(
    ("key", "words"),
    [(("r", 1), "numpy.matrix"), (("0,x", 1), "unknown special"), ((1, "0"), "first"), ((), "least one")],
)
def test_refused(key: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ga.r_[key]


def test_ndenumerate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuarray.indexers.BLOCK", 100)
    for shape in ((), (0,), (7,), (5, 4), (3, 0, 2), (6, 2, 3)):
        a = np.arange(np.prod(shape, dtype=int)).reshape(shape)
        assert list(ga.ndenumerate(ga.asarray(a))) == list(np.ndenumerate(a))


def test_poly1d() -> None:
    p, q = ga.poly1d(ga.asarray([1, 0, -1])), np.poly1d([1, 0, -1])
    assert p == q
    assert repr(p * p) == repr(q * q)
    assert isinstance(p(ga.arange(3)), ga.NDArray)
    assert p(3) == q(3)
    np.testing.assert_array_equal(p.deriv()(ga.arange(3)).compute(), q.deriv()(np.arange(3)))
    assert repr(ga.poly1d([1, 2], r=True, variable="z")) == repr(np.poly1d([1, 2], r=True, variable="z"))


@pytest.mark.parametrize("entry", [[1, 2], slice(0, 2)])
def test_axes_of_an_array_begin_among_those_of_the_result(entry: Any) -> None:
    for place in (-3, -2, -1, 0, 1, 2):
        key = (f"0,3,{place}", entry, entry)
        assert np.array_equal(ga.r_[key], np.r_[key]), place
    for place in (3, 5, -4, -9):
        with pytest.raises(ValueError, match=f"{place}, says .* from -3 to 2"):
            ga.r_[f"0,3,{place}", entry]


def test_names_of_numpys() -> None:
    assert isinstance(ga.ones(3), ga.ndarray)
    assert ga.ndarray[Any, ga.dtype[ga.float64]]
    ga.testing.assert_allclose(ga.ones(3), 1)
    assert ga.exceptions is np.exceptions
    for name, words in (
        ("savetxt", r"x\.compute"),
        ("nditer", "element by element"),
        ("ma", "where="),
        ("memmap", "from_npy"),
        ("no_such", "no attribute 'no_such'"),
    ):
        with pytest.raises(AttributeError, match=words):
            getattr(ga, name)
    for name in ("rand", "seed", "RandomState", "no_such"):
        with pytest.raises(AttributeError, match=r"default_rng|no attribute 'no_such'"):
            getattr(ga.random, name)
