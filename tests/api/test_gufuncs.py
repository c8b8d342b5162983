"""Functions of whole axes: against NumPy's generalized ufuncs."""

from __future__ import annotations

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.gufuncs import parsed

A = np.random.default_rng(0).random((3, 4, 5))


@pytest.mark.parametrize("how", ["whole", "ones", "odd", "uneven"])
def test_against_numpy(how, cut, same):
    x, v = cut(A, how), cut(A[0, 0], how)
    same(ga.apply_gufunc(np.matmul, "(i,j),(j,k)->(i,k)", x, cut(A[0].T, how)), A @ A[0].T, close=True)
    same(ga.apply_gufunc(lambda a, b: (a * b).sum(-1), "(j),(j)->()", x, v), (A * A[0, 0]).sum(-1), close=True)
    low, high = ga.apply_gufunc(lambda a: (a.min(-1), a.argmax(-1)), "(j)->(),()", x)
    same((low, high), (A.min(-1), A.argmax(-1)))
    made = ga.apply_gufunc(lambda a: np.stack([a, -a], -1), "()->(p)", x, output_sizes={"p": 2}, output_dtypes="f4")
    same(made, np.stack([A, -A], -1).astype("f4"))
    same(ga.apply_gufunc(lambda a, k: a * k, "()->()", x, k=3), A * 3)
    same(
        ga.apply_gufunc(np.linalg.det, "(i,j)->()", x[:, :, :4], vectorize=True), np.linalg.det(A[:, :, :4]), close=True
    )
    same(ga.apply_gufunc(np.add, "(),()->()", x[:, :1], v), A[:, :1] + A[0, 0])


def test_on_a_device(same):
    with ga.config.set(device="fake", device_memory="1 MiB"):
        x = ga.asarray(A, chunks=2)
        got = ga.apply_gufunc(np.sort, "(j)->(j)", x, output_dtypes="f8").compute()
        det = ga.apply_gufunc(np.linalg.det, "(i,j)->()", x[:, :, :4], vectorize=True).compute()
    np.testing.assert_array_equal(got, np.sort(A))
    np.testing.assert_allclose(det, np.linalg.det(A[:, :, :4]))


def test_errors():
    assert parsed(" ( i , j ),() ->(j) , ()") == ([("i", "j"), ()], [("j",), ()])
    for bad in ("(i)", "i->i", "(i)->", "(i)->(j))", "(i,)->(i"):
        with pytest.raises(ValueError, match="signature"):
            ga.apply_gufunc(np.sort, bad, A)
    for f, match in [
        (lambda: ga.apply_gufunc(np.add, "(i),(i)->(i)", A), "2 arguments"),
        (lambda: ga.apply_gufunc(np.add, "(i),(i)->(i)", A, A[0, 0, :2]), "length 5"),
        (lambda: ga.apply_gufunc(np.sort, "(i,j)->(i)", A[0, 0]), "2 axes"),
        (lambda: ga.apply_gufunc(np.sort, "(i)->(q)", A), "output_sizes"),
        (lambda: ga.apply_gufunc(np.sort, "(i)->(i)", A, output_dtypes=["f8", "f8"]), "2 entries"),
    ]:
        with pytest.raises(ValueError, match=match):
            f()
    with pytest.raises(ga.errors.BlockFunctionError, match="lengths"):
        ga.apply_gufunc(lambda a: a[..., :2], "(i)->(i)", A, output_dtypes="f8").compute()
