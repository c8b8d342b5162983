"""Factorisations and what is made of them: against NumPy, on stacks, by blocks, on both backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.graph.node import toposort
from gpuarray.graph.routine import Routine

STACKS = [(5, 5), (1, 1), (0, 0), (3, 4, 4), (0, 4, 4), (2, 3, 2, 2)]
DTYPES = ["f", "d", "F", "D"]
N = 60


@pytest.fixture(params=["cpu", "fake"], autouse=True)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    with ga.config.set(device=request.param):
        yield request.param


@pytest.fixture
def blocked() -> Iterator[None]:
    """Matrices that one task would hold are cut into blocks: panels have 16 columns."""
    with ga.config.set(chunk_bytes="2 KiB"):
        yield


def numbers(*shape: int, dtype: Any = "d") -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    made = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        made = made + 1j * rng.standard_normal(shape)
    return made.astype(dtype)


def definite(*shape: int, dtype: Any = "d") -> np.ndarray:
    a = numbers(*shape, dtype=dtype)
    made: np.ndarray = a @ np.swapaxes(a, -1, -2).conj() + np.eye(shape[-1], dtype=dtype)
    return made


def agree(mine: Any, theirs: Any, scale: float = 1.0) -> None:
    if isinstance(theirs, tuple):
        assert len(mine) == len(theirs)
        for m, t in zip(mine, theirs, strict=True):
            agree(m, t, scale)
        return
    theirs = np.asarray(theirs)
    assert isinstance(mine, ga.NDArray)
    assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
    got = mine.compute()
    assert (got.shape, got.dtype) == (theirs.shape, theirs.dtype)
    if theirs.dtype.kind in "fc":
        size = max(1.0, float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0)))
        np.testing.assert_allclose(got, theirs, rtol=0, atol=scale * 1000 * size * float(np.finfo(theirs.dtype).eps))
    else:
        np.testing.assert_array_equal(got, theirs)


@pytest.mark.parametrize("shape", STACKS)
@pytest.mark.parametrize("dtype", [*DTYPES, "i"])
def test_square_stacks(shape: tuple[int, ...], dtype: str, cut: Callable[..., ga.NDArray]) -> None:
    a = (4 * definite(*shape)).astype(dtype) if dtype == "i" else definite(*shape, dtype=dtype)
    a = a + 50 * np.eye(shape[-1], dtype=dtype) if dtype == "i" else a
    a = (a + np.swapaxes(a, -1, -2)) // 2 if dtype == "i" else a
    x = cut(a)
    for name in ("cholesky", "inv", "det", "slogdet", "eigvalsh", "svdvals", "matrix_rank"):
        agree(getattr(ga.linalg, name)(x), getattr(np.linalg, name)(a))
    agree(ga.linalg.cholesky(x, upper=True), np.linalg.cholesky(a, upper=True))
    b = numbers(shape[-1], 3)
    agree(ga.linalg.solve(x, b), np.linalg.solve(a, b))
    agree(ga.linalg.solve(x, b[:, 0]), np.linalg.solve(a, b[:, 0]))
    if a.size or dtype != "i":  # NumPy's answer is one of integers there
        agree(ga.linalg.pinv(x), np.linalg.pinv(a))
    w, v = ga.compute(*ga.linalg.eigh(x))
    np.testing.assert_allclose(v * w[..., None, :] @ np.swapaxes(v, -1, -2).conj(), a, rtol=1e-3, atol=1e-3)
    w, v = ga.compute(*ga.linalg.eig(x))
    assert w.dtype.kind == v.dtype.kind == "c"
    np.testing.assert_allclose(a @ v, v * w[..., None, :], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(np.sort(ga.linalg.eigvals(x).compute().real), np.sort(w.real), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (0, 3), (3, 0), (2, 4, 3), (0, 4, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_oblong_stacks(shape: tuple[int, ...], dtype: str, cut: Callable[..., ga.NDArray]) -> None:
    a = numbers(*shape, dtype=dtype)
    x = cut(a)
    for mode in ("reduced", "complete", "r"):
        agree(ga.linalg.qr(x, mode), np.linalg.qr(a, mode))
    if len(shape) == 2:
        agree(ga.linalg.qr(x, "raw"), np.linalg.qr(a, "raw"))
    for full in (False, True):
        u, s, vh = ga.linalg.svd(x, full)
        eu, es, evh = np.linalg.svd(a, full)
        assert (u.shape, vh.shape, u.dtype, vh.dtype) == (eu.shape, evh.shape, eu.dtype, evh.dtype)
        agree(s, es)
        if not full:
            agree(u * s[..., None, :] @ vh, a)
    agree(ga.linalg.svd(x, compute_uv=False), np.linalg.svd(a, compute_uv=False))
    agree(ga.linalg.pinv(x), np.linalg.pinv(a))
    agree(ga.linalg.matrix_rank(x), np.asarray(np.linalg.matrix_rank(a)) if a.size else np.zeros(shape[:-2], int))


@pytest.mark.parametrize("dtype", DTYPES)
def test_by_blocks(dtype: str, blocked: None) -> None:
    a, s = numbers(N, N, dtype=dtype), definite(N, N, dtype=dtype)
    x, y = ga.asarray(a, chunks=(23, 17)), ga.asarray(s, chunks=(7, 31))
    made = ga.linalg.cholesky(y)
    assert sum(isinstance(n, Routine) for n in toposort(made.node)) > 2
    agree(made, np.linalg.cholesky(s))
    agree(ga.linalg.cholesky(y, upper=True), np.linalg.cholesky(s, upper=True))
    agree(made[10:40:3, ::-1], np.linalg.cholesky(s)[10:40:3, ::-1])
    b = numbers(N, 5, dtype=dtype)
    agree(ga.linalg.solve(x, b), np.linalg.solve(a, b), 100)
    agree(ga.linalg.solve(x, b[:, 0]), np.linalg.solve(a, b[:, 0]), 100)
    agree(ga.linalg.inv(x), np.linalg.inv(a), 100)
    agree(ga.linalg.slogdet(x), np.linalg.slogdet(a))
    for lower in (False, True):
        t = np.tril(s) if lower else np.triu(s)
        agree(ga.linalg.solve_triangular(y, b, lower=lower), np.linalg.solve(t, b), 1000)
        u = np.tril(a / N, -1) + np.eye(N, dtype=dtype) if lower else np.triu(a / N, 1) + np.eye(N, dtype=dtype)
        agree(
            ga.linalg.solve_triangular(x / N, b, lower=lower, unit_diagonal=True).astype(dtype),
            np.linalg.solve(u, b).astype(dtype),
            100,
        )


@pytest.mark.parametrize("shape", [(N, N), (N, 37), (37, N), (400, 6), (1601, 5)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_qr_by_blocks(shape: tuple[int, int], dtype: str, blocked: None) -> None:
    a = numbers(*shape, dtype=dtype)
    x = ga.asarray(a, chunks=(29, 13))
    eps = 500 * float(np.finfo(dtype).eps)
    for mode in ("reduced", "complete") if max(shape) <= N else ("reduced",):
        expected = np.linalg.qr(a, mode)
        made = ga.linalg.qr(x, mode)
        assert [(m.shape, m.dtype) for m in made] == [(e.shape, e.dtype) for e in expected]
        q, r = ga.compute(*made)
        np.testing.assert_allclose(q @ r, a, atol=20 * eps)
        np.testing.assert_allclose(q.conj().T @ q, np.eye(q.shape[1]), atol=eps)
        np.testing.assert_array_equal(np.tril(r, -1), 0)
    r = ga.linalg.qr(x, "r").compute()
    np.testing.assert_allclose(np.abs(r), np.abs(np.linalg.qr(a, "r")), atol=20 * eps)


def test_singular_values_of_long_and_wide_matrices(blocked: None) -> None:
    for a in (numbers(700, 6), numbers(700, 6).T, numbers(700, 6, dtype="F")):
        x = ga.asarray(a, chunks=50)
        u, s, vh = ga.linalg.svd(x, False)
        agree(u * s @ vh, a)
        agree(s, np.linalg.svd(a, False)[1])
        agree(ga.linalg.svdvals(x), np.linalg.svdvals(a))
        agree(ga.linalg.pinv(x), np.linalg.pinv(a))
        agree(ga.linalg.norm(x, 2), np.linalg.norm(a, 2))
        agree(ga.linalg.cond(x), np.linalg.cond(a))


def test_svd_compressed() -> None:
    a = numbers(80, 4) @ numbers(4, 50)
    u, s, vh = ga.linalg.svd_compressed(ga.asarray(a, chunks=30), 4)
    agree(u * s @ vh, a)
    agree(s, np.linalg.svdvals(a)[:4])
    with pytest.raises(ValueError, match="k=0"):
        ga.linalg.svd_compressed(a, 0)
    with pytest.raises(ValueError, match="k=51"):
        ga.linalg.svd_compressed(a, 51)


@pytest.mark.parametrize("rcond", [None, -1, 1e-3])
def test_least_squares(rcond: float | None) -> None:
    for a in (numbers(8, 3), numbers(3, 8), numbers(8, 1) @ numbers(1, 3), numbers(4, 4), numbers(8, 3, dtype="F")):
        for b in (numbers(a.shape[0]), numbers(a.shape[0], 2)):
            mine, theirs = ga.linalg.lstsq(ga.asarray(a, chunks=3), b, rcond), np.linalg.lstsq(a, b, rcond)
            if rcond == -1 and int(mine[2]) != theirs[2]:
                continue  # what counts as zero is a matter of one rounding error
            agree(mine[0], theirs[0])
            agree(mine[1], theirs[1])
            assert int(mine[2]) == theirs[2]
            agree(mine[3], theirs[3])


@pytest.mark.parametrize("p", [None, 1, -1, 2, -2, np.inf, -np.inf, "fro", "nuc"])
def test_condition_and_rank(p: Any) -> None:
    a = numbers(3, 4, 4)
    agree(ga.linalg.cond(ga.asarray(a, chunks=2), p), np.linalg.cond(a, p), 10)
    low = numbers(5, 2) @ numbers(2, 4)
    agree(ga.linalg.matrix_rank(low), np.asarray(np.linalg.matrix_rank(low)))
    agree(ga.linalg.matrix_rank(a, tol=1.0), np.linalg.matrix_rank(a, tol=1.0))
    agree(ga.linalg.matrix_rank(a, rtol=0.3), np.linalg.matrix_rank(a, rtol=0.3))
    agree(ga.linalg.matrix_rank(ga.ones(3)), np.asarray(1))
    agree(ga.linalg.matrix_rank(definite(4, 4), hermitian=True), np.asarray(4))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, -1, -3])
def test_matrix_power(n: int) -> None:
    a = definite(2, 3, 3)
    agree(ga.linalg.matrix_power(ga.asarray(a, chunks=2), n), np.linalg.matrix_power(a, n), 10)
    b = np.array([[1, 1], [0, 1]])
    if n >= 0:
        agree(ga.linalg.matrix_power(b, n), np.linalg.matrix_power(b, n))


def test_tensors() -> None:
    a, b = numbers(2, 3, 6), numbers(2, 3)
    agree(ga.linalg.tensorsolve(a, b), np.linalg.tensorsolve(a, b), 10)
    agree(ga.linalg.tensorinv(a, 2), np.linalg.tensorinv(a, 2), 10)
    c = np.moveaxis(a, 2, 0)
    agree(ga.linalg.tensorsolve(c, b, axes=(0,)), np.linalg.tensorsolve(c, b, axes=(0,)), 10)


def test_a_limit_of_a_third_of_the_matrix(tmp_path: Any, device: str) -> None:
    a = definite(192, 192)  # 288 KiB
    memory = {"device_memory": "100 KiB", "host_memory": "32 MiB"} if device == "fake" else {"host_memory": "100 KiB"}
    with ga.config.set(chunk_bytes="32 KiB", **memory):
        x = ga.asarray(a, chunks=50)
        for made, expected in (
            (ga.linalg.cholesky(x), np.linalg.cholesky(a)),
            (ga.linalg.qr(x, "r"), np.linalg.qr(a, "r")),
            (ga.linalg.solve(x, np.ones((192, 1))), np.linalg.solve(a, np.ones((192, 1)))),
        ):
            made.to_npy(tmp_path / "made.npy", overwrite=True)
            np.testing.assert_allclose(np.load(tmp_path / "made.npy"), expected, atol=1e-9)


def test_what_one_task_cannot_hold_is_refused() -> None:
    with (
        ga.config.set(host_memory="1 MiB", device_memory="1 MiB"),
        pytest.raises(ga.errors.MemoryLimitError, match=r"svd_compressed.*host_memory"),
    ):
        ga.linalg.eigvalsh(ga.eye(300)).sum().compute()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ga.linalg.cholesky(ga.asarray([[1.0, 0.0], [0.0, -1.0]])), "positive definite"),
        (lambda: ga.linalg.inv(ga.zeros((2, 2))), "[Ss]ingular"),
        (lambda: ga.linalg.solve(ga.zeros((N, N)), ga.ones(N)), "[Ss]ingular"),
        (lambda: ga.linalg.solve_triangular(ga.zeros((3, 3)), ga.ones(3)), "[Ss]ingular"),
    ],
)
def test_errors_of_data(call: Callable[[], ga.NDArray], words: str, blocked: None) -> None:
    made = call()
    with pytest.raises(np.linalg.LinAlgError, match=words):
        made.compute()


def test_the_determinant_of_a_singular_matrix_is_zero(blocked: None) -> None:
    a = np.ones((N, N))
    agree(ga.linalg.det(ga.asarray(np.zeros((N, N)))), np.asarray(0.0))
    sign, size = ga.compute(*ga.linalg.slogdet(ga.asarray(a)))
    assert (float(sign), float(size)) == (0.0, -np.inf)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ga.linalg.inv(x), np.linalg.LinAlgError, r"square.*\(3, 4\)"),
        (lambda x: ga.linalg.cholesky(x[0]), np.linalg.LinAlgError, r"\(4,\)"),
        (lambda x: ga.linalg.det(x), ValueError, "square"),
        (lambda x: ga.linalg.qr(x, "thin"), ValueError, "'thin'.*reduced"),
        (lambda x: ga.linalg.qr(x[0]), np.linalg.LinAlgError, r"\(4,\)"),
        (lambda x: ga.linalg.solve(x[:, :3], ga.ones(4)), ValueError, "3 rows"),
        (lambda x: ga.linalg.eigh(x[:, :3], "X"), ValueError, "'X'"),
        (lambda x: ga.linalg.inv(x[:, :3].astype("f2")), TypeError, "float16.*float32"),
        (lambda x: ga.linalg.inv(ga.asarray([["a"]])), TypeError, "<U1"),
        (lambda x: ga.linalg.lstsq(x, ga.ones(4)), np.linalg.LinAlgError, "as many rows"),
        (lambda x: ga.linalg.matrix_power(x, 2), np.linalg.LinAlgError, "square"),
        (lambda x: ga.linalg.matrix_power(x[:, :3], 0.5), TypeError, "n=0.5"),
        (lambda x: ga.linalg.pinv(x, 1e-3, rtol=1e-3), ValueError, "not both"),
        (lambda x: ga.linalg.tensorinv(x, 0), ValueError, "ind=0"),
        (lambda x: ga.linalg.tensorsolve(x, ga.ones(3)), np.linalg.LinAlgError, r"\(3, 4\)"),
        (lambda x: ga.linalg.cond(ga.zeros((0, 0))), np.linalg.LinAlgError, r"\(0, 0\)"),
    ],
)
def test_errors(call: Callable[[ga.NDArray], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(ga.ones((3, 4), chunks=2))


def test_the_line_of_a_small_computation_that_fails():
    inverse = ga.linalg.inv(ga.zeros((3, 3)))
    with pytest.raises(np.linalg.LinAlgError) as caught:
        inverse.compute()
    assert caught.value.__notes__[0].startswith("in inv, asked for at test_linalg_factors.py:")
