"""`ga.special` and SciPy's functions on our arrays: values, dtypes, chunks, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gpuarray as ga

scipys = pytest.importorskip("scipy.special")

NAMES = [name for name in ga.special.__all__ if name != "i0"]
TWO = {"xlogy", "xlog1py", "rel_entr", "kl_div"}


def operands(name, dtype="f8"):
    a = np.array([0.25, 0.5, 0.75, 0.875, 0.125]).astype(dtype)
    return [a, a[::-1].copy()] if name in TWO else [a]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["whole", "ones", "uneven"])
def test_values_are_scipys(name, how, cut, same):
    given = operands(name)
    wanted = getattr(scipys, name)(*given)
    same(getattr(ga.special, name)(*(cut(a, how) for a in given)), wanted, close=True)
    made = getattr(scipys, name)(*(cut(a, how) for a in given))
    same(made, wanted, close=True)


@pytest.mark.parametrize("name", NAMES)
def test_dtypes(name):
    function, two = getattr(ga.special, name), name in TWO
    for char in "?bBhHiIlLefd":
        x = ga.ones(3, dtype=char)
        assert function(*[x] * (2 if two else 1)).dtype == ("f4" if char == "f" else "f8")
        if two:
            assert function(x, 2.5).dtype == function(1, x).dtype == ("f4" if char == "f" else "f8")
            assert function(x, ga.ones(3)).dtype == np.float64
    if two:
        assert function(ga.ones(3, dtype="f4"), ga.ones(3, dtype="i2")).dtype == np.float32
    for bad in (np.ones(2, "D"), np.array(["a"]), np.array(["2024-01-01"], "M8[D]")):
        with pytest.raises(TypeError, match=name):
            function(*[bad] * (2 if two else 1))


def test_bits_do_not_depend_on_chunks():
    a = np.random.default_rng(0).normal(size=(40, 37))
    made = set()
    with ga.config.set(compile="always"):
        for chunks in ((40, 37), (7, 37), (40, 5), (3, 4)):
            x = ga.asarray(a, chunks=chunks)
            y = ga.special.erf(x) * ga.special.expit(x) + ga.special.ndtr(x) - ga.special.gammaln(ga.absolute(x))
            made.add(y.compute().tobytes())
    assert len(made) == 1


def test_out_where_and_broadcasting(same):
    x, y = np.linspace(0.1, 0.9, 5), np.array([[1.0], [2.0]])
    same(ga.special.xlogy(ga.asarray(x), y), scipys.xlogy(x, y), close=True)
    out = ga.zeros(5)
    assert ga.special.erf(x, out=out) is out
    same(out, scipys.erf(x), close=True)
    kept, mine = np.full(5, -1.0), ga.full(5, -1.0)
    scipys.erf(x, out=kept, where=x > 0.5)
    scipys.erf(ga.asarray(x), out=mine, where=x > 0.5)
    same(mine, kept, close=True)


def test_what_is_missing_is_named():
    x = ga.ones(3)
    with pytest.raises(TypeError, match=r"scipy\.special\.jv has no counterpart"):
        scipys.jv(1, x)
    with pytest.raises(TypeError, match=r"scipy\.special\.xlogy\.outer has no counterpart"):
        scipys.xlogy.outer(x, x)
    own = np.frompyfunc(lambda a: a, 1, 1)
    with pytest.raises(TypeError, match=r"^<lambda> \(vectorized\) has no counterpart"):
        own(x)
    assert not hasattr(ga, "erf")


def test_a_ufunc_of_a_known_name_is_not_taken_for_numpys():
    def add(a, b):
        return a - b

    with pytest.raises(TypeError, match="has no counterpart"):
        np.frompyfunc(add, 2, 1)(ga.ones(3), 1)


@ga.stencil
def of_math(u):
    return math.erf(u[0]) + math.erfc(u[1]) * math.gamma(u[0]) - math.lgamma(u[1])


@ga.stencil
def of_scipy(u):
    return scipys.ndtr(u[0]) + ga.special.xlogy(u[0], u[1])


def refused(u):
    return scipys.jv(1, u[0])


def test_in_stencils():
    a = np.linspace(0.5, 6, 12)
    x = ga.asarray(a, chunks=5)
    made = of_math(x).compute()[:-1]
    wanted = scipys.erf(a[:-1]) + scipys.erfc(a[1:]) * scipys.gamma(a[:-1]) - scipys.gammaln(a[1:])
    np.testing.assert_allclose(made, wanted, rtol=1e-13)
    made = of_scipy(x).compute()[:-1]
    np.testing.assert_allclose(made, scipys.ndtr(a[:-1]) + scipys.xlogy(a[:-1], a[1:]), rtol=1e-13)
    with pytest.raises(ga.StencilError, match=r"scipy\.special\.jv has no counterpart"):
        ga.stencil(refused)
