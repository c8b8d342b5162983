"""How arrays print: small ones as NumPy's, and nothing that costs anything is computed for it."""

from __future__ import annotations

import numpy as np
import pytest

import gpuarray as ga

SMALL = [
    np.arange(6).reshape(2, 3),
    np.asarray(2.5),
    np.asarray(True),
    np.zeros((0, 3)),
    np.asarray([1.5, np.nan, -np.inf], "f4"),
    np.asarray([1 + 2j, -0.0]),
    np.arange(1000),
    np.arange(24, dtype="u1").reshape(2, 3, 4),
    np.asarray(["2024-02-29", "NaT"], dtype="M8[D]"),
    np.asarray(["a", "bcd"]),
]


@pytest.mark.parametrize("a", SMALL, ids=lambda a: f"{a.dtype}{a.shape}")
def test_small_arrays_print_like_numpys(a):
    x = ga.asarray(a, chunks=1)
    assert repr(x) == repr(a)
    assert str(x) == str(a)
    assert f"{x}" == f"{a}"
    assert ga.array_repr(x) == np.array_repr(a) == np.array_repr(x)
    assert ga.array_str(x) == np.array_str(a) == np.array_str(x)
    assert ga.array2string(x, separator=";") == np.array2string(a, separator=";") == np.array2string(x, separator=";")


def test_what_is_worked_out_prints_too():
    x = ga.arange(5)
    assert repr((x * 2)[::-1] + x.sum()) == "array([18, 16, 14, 12, 10])"
    x[0] = 9
    assert str(x) == "[9 1 2 3 4]"
    with ga.printoptions(precision=2):
        assert str(ga.asarray([1.23456])) == "[1.23]"
        assert f"{ga.asarray([1.23456])}" == "[1.23]"


def test_the_rest_is_described(monkeypatch):
    monkeypatch.setattr("gpuarray.run.compute_nodes", lambda roots: pytest.fail("computed"))
    large = ga.ones((400, 300), chunks=(200, 300))
    described = "gpuarray.NDArray(shape=(400, 300), dtype=float64, chunks=((200, 200), (300,)))"
    assert repr(large) == str(large) == f"{large}" == described
    total = ga.ones((4000, 3000)).sum()  # small, but much to compute
    assert repr(total) == str(total) == "gpuarray.NDArray(shape=(), dtype=float64, chunks=())"
    with ga.printoptions(threshold=5):
        assert repr(ga.arange(6)).startswith("gpuarray.NDArray(shape=(6,)")


def test_functions_of_the_users_do_not_run_for_it():
    x = ga.map_blocks(lambda block: pytest.fail("ran"), ga.ones(3), dtype=float)
    assert repr(x).startswith("gpuarray.NDArray(shape=(3,)")


def test_what_cannot_be_computed_is_described():
    x = ga.asarray([1, 2]) ** ga.asarray([-1, 1])
    assert repr(x) == "gpuarray.NDArray(shape=(2,), dtype=int64, chunks=((2,),))"
    with pytest.raises(ValueError, match="negative"):
        x.compute()


def test_a_value_that_is_known_is_shown():
    total = ga.ones((600, 500)).sum()
    assert float(total) == 300000.0
    assert repr(total) == "array(300000.)"
    total += 1
    assert repr(total).startswith("gpuarray.NDArray")


@pytest.mark.parametrize("spec", [".2f", "10.3e", "+g", "%"])
def test_format(spec):
    assert format(ga.asarray(2.5), spec) == format(2.5, spec)
    assert f"{ga.ones((600, 500)).mean():{spec}}" == format(1.0, spec)
    with pytest.raises(TypeError, match=r"\(2,\)"):
        format(ga.ones(2), spec)
    with pytest.raises(ValueError, match="nknown format code"):
        format(ga.asarray(2.5), "d")
    assert f"{ga.asarray(42):#x}" == "0x2a"
