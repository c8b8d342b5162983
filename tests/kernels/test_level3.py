"""Products and triangular systems in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.backends import level3

DTYPES = "fdFD"
LAYOUTS: list[Callable[[Any], Any]] = [
    lambda a: a,
    np.asfortranarray,
    lambda a: np.repeat(np.repeat(a, 2, 0), 3, 1)[::2, ::3],  # neither rows nor columns lie together
    lambda a: np.concatenate([a, a], 1)[:, : a.shape[1]],
    lambda a: np.concatenate([a, a], 0).T[:, : a.shape[0]].T,
    lambda a: a[::-1][::-1] if len(a) < 2 else np.ascontiguousarray(a[::-1])[::-1],  # the rows go back
]


def numbers(*shape: int, dtype: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = rng.standard_normal(shape)
    return (made + 1j * rng.standard_normal(shape) if dtype in "FD" else made).astype(dtype)


def adjoint(a: np.ndarray) -> np.ndarray:
    return a.conj().T


def known() -> bool:
    return level3.routine("gemm", "d") is not None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("turned", ["", "left", "right"])
@pytest.mark.parametrize("shape", [(7, 5, 6), (1, 1, 1), (1, 5, 3), (5, 1, 3), (4, 3, 1), (3, 4, 0), (0, 4, 2)])
def test_a_product_is_added_in_place(dtype: str, turned: str, shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    left = numbers(m, k, dtype=dtype) if turned != "left" else numbers(k, m, dtype=dtype)
    right = numbers(k, n, dtype=dtype, seed=1) if turned != "right" else numbers(n, k, dtype=dtype, seed=1)
    product = (adjoint(left) if turned == "left" else left) @ (adjoint(right) if turned == "right" else right)
    whole = numbers(m, n + 4, dtype=dtype, seed=2)
    taken = 0
    for one in LAYOUTS:
        for other in LAYOUTS:
            around = whole.copy()
            x = around[:, 2 : n + 2]
            wanted = x - product
            if level3.add(x, one(left), other(right), -1.0, turned):
                taken += 1
                np.testing.assert_allclose(x, wanted, atol=200 * np.finfo(dtype).eps)
            else:
                np.testing.assert_array_equal(x, whole[:, 2 : n + 2])  # left as it was
            np.testing.assert_array_equal(around[:, [0, 1, -2, -1]], whole[:, [0, 1, -2, -1]])
    assert taken >= 4 * known() or 0 in shape


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 4), (1, 3), (5, 1), (3, 0), (0, 2)])
def test_a_square_is_subtracted_below_the_diagonal(dtype: str, shape: tuple[int, int]) -> None:
    rows = numbers(*shape, dtype=dtype)
    before = numbers(shape[0], shape[0], dtype=dtype, seed=1)
    before += adjoint(before)
    x = before.copy()
    if level3.subtract_square(x, rows):
        np.testing.assert_allclose(np.tril(x), np.tril(before - rows @ adjoint(rows)), atol=100 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(np.triu(x, 1), np.triu(before, 1))
    else:
        assert not known() or 0 in shape


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 4), (1, 3), (5, 1), (0, 2), (2, 0)])
def test_a_triangle_is_divided_by(dtype: str, shape: tuple[int, int]) -> None:
    n = shape[1]
    lower = np.tril(numbers(n, n, dtype=dtype)) + 9 * np.eye(n, dtype=dtype)
    given = lower + np.triu(np.full((n, n), np.nan, dtype), 1)  # which nobody looks at
    b = numbers(*shape, dtype=dtype, seed=1)
    x = b.copy()
    if level3.divide(x, given):
        np.testing.assert_allclose(x @ adjoint(lower), b, atol=100 * np.finfo(dtype).eps)
    else:
        assert not known() or 0 in shape


def test_what_the_library_cannot_do_is_left_to_the_caller() -> None:
    x, a = np.zeros((3, 3)), np.ones((3, 3))
    assert not level3.add(x, a, a.astype("f"))
    assert not level3.add(x.astype("i8"), a.astype("i8"), a.astype("i8"))
    assert not level3.add(x.astype(">f8"), a.astype(">f8"), a.astype(">f8"))
    assert not level3.add(np.asfortranarray(x), a, a)  # the result is written row by row
    assert not level3.add(np.zeros((3, 6))[:, ::2], a, a)
    assert not level3.add(x, a, np.ones((4, 3)))  # it would read what is not there
    assert not level3.add(x, a, np.ones((3, 4)))
    assert not level3.divide(x, np.ones((2, 2)))
    assert not level3.subtract_square(x, np.ones((4, 4)))
    assert not level3.divide(np.asfortranarray(x), a)
    assert not level3.subtract_square(x, np.asfortranarray(np.ones((3, 4))))
    assert not x.any()
