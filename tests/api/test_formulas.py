"""Functions of a formula that no kernel has, and sequences, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import gpuarray as ga


@pytest.mark.parametrize("how", ["whole", "ones", "odd", "uneven"])
def test_formulas(cut, same, how):
    a = np.linspace(-3, 40, 11)
    same(ga.i0(cut(a, how)), np.i0(a), close=True)
    same(ga.i0(cut(np.arange(3), how)), np.i0(np.arange(3)), close=True)
    same(np.frexp(cut(a, how)), np.frexp(a))
    for special in (np.asarray([np.nan, np.inf, -0.0, 5e-324]), np.arange(4, dtype="i2"), np.ones(2, "f4")):
        same(ga.frexp(cut(special, how)), np.frexp(special))
    for bad in (ga.i0, ga.frexp):
        with pytest.raises(TypeError, match=r"complex|frexp"):
            bad(ga.asarray([1j]))


def test_close_to_real(same):
    near = np.asarray([2.1 + 4e-14j, 5.2 + 3e-15j])
    for tol in (1000, 10, 1e-10):
        same(ga.real_if_close(ga.asarray(near, chunks=1), tol), np.real_if_close(near, tol))
    same(ga.real_if_close([1.5]), np.asarray([1.5]))


@pytest.mark.parametrize(("start", "stop"), [(1, 1000), (1000.0, 1), (-1, -256), (np.float32(2), np.float32(9))])
@pytest.mark.parametrize("num", [0, 1, 2, 7])
@pytest.mark.parametrize("endpoint", [True, False])
def test_geomspace(start, stop, num, endpoint):
    mine, theirs = ga.geomspace(start, stop, num, endpoint, chunks=3), np.geomspace(start, stop, num, endpoint)
    assert mine.dtype == theirs.dtype
    np.testing.assert_allclose(mine.compute(), theirs, rtol=1e-13)
    if num > 1:
        assert mine[0].item() == start
        assert not endpoint or mine[-1].item() == stop


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (-1, 1), (1, 0), (1j, 2), ([1, 2], 3)])
def test_errors_of_geomspace(start, stop):
    with pytest.raises(ValueError, match="geomspace"):
        ga.geomspace(start, stop)
