"""einsum and further products, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpuarray as ga

SIZE = {"i": 3, "j": 4, "k": 5, "l": 2}


def numbers(*shape: int, dtype: str = "d") -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(-3, 4, shape).astype(dtype)


@pytest.mark.parametrize(
    "subscripts",
    [
        "ij,jk->ik", "ij,jk", "ji,jk->ki", "ij->ji", "ij->", "ij->j", "ii->i", "ii", "iji->j", "ij,ij->", "ij,ij->ij",
        "i,j->ij", "i,i->i", "i,i", "ijk,ikl->ijl", "ijk,kl->jil", "ijk,ijk->j", "ij,jk,kl->il", "ij,k,jk->i",
        "i,j,k->kji", "ijkl->ljki", "ij,j->", "i,jk->", "ij,ik,il->jkl", "iij,jkk->ki", "...i,...i->...",
        "i...,i...", "...ij,...jk->...ik", "ij...->...ji", "...->...", ",ij->ij", " i j , j k -> i k ",
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["odd", "ones"])
def test_einsum(subscripts: str, how: str, cut: Callable[..., ga.NDArray], same: Callable[..., None]) -> None:
    terms = subscripts.replace(" ", "").split("->")[0].split(",")
    arrays = []
    for t in terms:
        dots = (2, 3) if "..." in t else ()
        letters = t.replace("...", "")
        at = t.index("...") if dots else 0
        shape = [SIZE[c] for c in letters]
        arrays.append(numbers(*shape[:at], *dots, *shape[at:]))
    for optimize in (True, False, "optimal"):
        mine = ga.einsum(subscripts, *(cut(a, how) for a in arrays), optimize=optimize)
        same(mine, np.asarray(np.einsum(subscripts, *arrays)), close=True)


@pytest.mark.parametrize("dtype", ["?", "b", "L", "e", "f", "D"])
def test_dtypes(dtype: str, cut: Callable[..., ga.NDArray], same: Callable[..., None]) -> None:
    a, b = numbers(3, 4, dtype=dtype), numbers(4, 5, dtype=dtype)
    for text in ("ij,jk->ik", "ij,jk->i", "ij,jk->ijk"):
        same(ga.einsum(text, cut(a), cut(b)), np.einsum(text, a, b), close=True)
    same(ga.einsum("ij,jk", cut(a), numbers(4, 2)), np.einsum("ij,jk", a, numbers(4, 2)), close=True)
    same(ga.einsum("ij->i", cut(a)), np.einsum("ij->i", a), close=True)


def test_other_forms(cut: Callable[..., ga.NDArray], same: Callable[..., None]) -> None:
    a, b = numbers(3, 4), numbers(4, 5)
    same(ga.einsum(cut(a), [0, 1], cut(b), [1, 2], [0, 2]), np.einsum(a, [0, 1], b, [1, 2], [0, 2]), close=True)
    same(ga.einsum(cut(a), [0, 1], cut(b), [1, 2]), np.einsum(a, [0, 1], b, [1, 2]), close=True)
    same(ga.einsum(cut(a), [..., 1]), np.einsum(a, [..., 1]))
    same(ga.einsum("ij,ij->ij", cut(a), a[:1]), np.einsum("ij,ij->ij", a, a[:1]))
    same(ga.einsum("ij,jk->ik", cut(a), b[:1]), np.einsum("ij,jk->ik", a, b[:1]), close=True)
    same(ga.einsum("ij,jk->k", np.zeros((0, 4)), b), np.einsum("ij,jk->k", np.zeros((0, 4)), b))
    same(ga.einsum("ij->i", a.astype(int), dtype=float), np.einsum("ij->i", a.astype(int), dtype=float))
    out = ga.zeros((3, 5))
    assert ga.einsum("ij,jk", a, b, out=out) is out
    same(out, a @ b, close=True)
    operands = ("ij,jk,kl->il", numbers(3, 40), numbers(40, 5), numbers(5, 2))
    assert ga.einsum_path(*operands) == np.einsum_path(*operands)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: ga.einsum("ij,jk", x), "2 terms for 1"),
        (lambda x: ga.einsum("ijk", x), r"3 axes.*\(3, 4\)"),
        (lambda x: ga.einsum("i", x), r"1 axes.*\(3, 4\)"),
        (lambda x: ga.einsum("ij->ik", x), "'ij->ik'"),
        (lambda x: ga.einsum("ij->ii", x), "once"),
        (lambda x: ga.einsum("i1", x), "'1'"),
        (lambda x: ga.einsum("ij,ij", x, ga.ones((3, 5))), "'j'.*4 and 5"),
        (lambda x: ga.einsum("..ij", x), "dots"),
        (lambda x: ga.einsum("i...->i", x), "dots"),
        (lambda x: ga.einsum(), "subscripts"),
        (lambda x: ga.einsum(x, [0, 99]), "0 to 51"),
    ],
)
def test_errors(call: Callable[[ga.NDArray], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(ga.ones((3, 4), chunks=2))


@pytest.mark.parametrize("how", ["odd", "ones", "whole"])
def test_kron(how: str, cut: Callable[..., ga.NDArray], same: Callable[..., None]) -> None:
    for first, second in (((3, 4), (2, 5)), ((3,), (2, 5)), ((2, 3, 2), (4,)), ((), (3,)), ((0, 2), (2, 2))):
        a, b = numbers(*first), numbers(*second)
        same(ga.kron(cut(a, how), cut(b, how)), np.kron(a, b))


def test_cross(cut: Callable[..., ga.NDArray], same: Callable[..., None]) -> None:
    a, b = numbers(4, 3), numbers(3)
    same(ga.cross(cut(a), b), np.cross(a, b))
    same(ga.cross(cut(a.T), cut(a), axisa=0, axisc=0), np.cross(a.T, a, axisa=0, axisc=0))
    same(ga.cross(cut(a.T), cut(a.T), axis=0), np.cross(a.T, a.T, axis=0))
    same(ga.linalg.cross(cut(a), cut(a[::-1])), np.linalg.cross(a, a[::-1]))
    with pytest.raises(ValueError, match="3 elements, got 2"):
        ga.cross([1, 2], [3, 4])


def test_matrices_and_vectors(cut: Callable[..., ga.NDArray], same: Callable[..., None]) -> None:
    a, v = numbers(2, 3, 4, dtype="D") * 1j, numbers(4, dtype="D") + 1j
    same(ga.matvec(cut(a), v), np.matvec(a, v), close=True)
    same(ga.vecmat(v[:3], cut(a)), np.vecmat(v[:3], a), close=True)
    with pytest.raises(ValueError, match="matvec"):
        ga.matvec(a, v[:3])
    with pytest.raises(ValueError, match="vecmat"):
        ga.vecmat(v, a)


def test_multi_dot(cut: Callable[..., ga.NDArray], same: Callable[..., None]) -> None:
    a, b, c, d = numbers(3, 7), numbers(7, 2), numbers(2, 6), numbers(6)
    for chain in ([a, b], [a, b, c], [a, b, c, d], [a[0], b, c, d], [a[0], b]):
        same(ga.linalg.multi_dot([cut(x) for x in chain]), np.asarray(np.linalg.multi_dot(chain)), close=True)
    with pytest.raises(ValueError, match="at least two"):
        ga.linalg.multi_dot([a])
    with pytest.raises(ValueError, match=r"\(3, 7\) and \(2, 6\)"):
        ga.linalg.multi_dot([a, c])


def test_of_the_last_two_axes(cut: Callable[..., ga.NDArray], same: Callable[..., None]) -> None:
    a = numbers(2, 3, 4)
    for offset in (-1, 0, 2):
        same(ga.linalg.diagonal(cut(a), offset=offset), np.linalg.diagonal(a, offset=offset))
        same(ga.linalg.trace(cut(a), offset=offset), np.linalg.trace(a, offset=offset))
    same(ga.linalg.outer(cut(a[0, 0]), cut(a[0, :, 0])), np.linalg.outer(a[0, 0], a[0, :, 0]))
    with pytest.raises(ValueError, match="vectors"):
        ga.linalg.outer(a, a)


def test_every_name_of_numpy_is_there() -> None:
    assert set(np.linalg.__all__) - {"LinAlgWarning"} <= set(ga.linalg.__all__)
    assert set(np.fft.__all__) <= set(ga.fft.__all__)
