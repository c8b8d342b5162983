"""Singular values and eigenvalues."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.dimensions import matrix_transpose
from gpuarray.elementwise import apply
from gpuarray.linalg.factors import qr
from gpuarray.linalg.products import matmul
from gpuarray.linalg.results import EighResult, EigResult, SVDResult
from gpuarray.linalg.stacks import complex_of, fits_a_task, matrices, real_of, several, stacked
from gpuarray.random import default_rng

WHOLE = "a task holds a whole matrix; of a larger one gpuarray.linalg.svd_compressed finds the leading singular vectors"


def adjoint(x: NDArray) -> NDArray:
    """The conjugate transpose of matrices."""
    turned = matrix_transpose(x)
    return apply("conjugate", turned) if x.dtype.kind == "c" else turned


# Singular values.


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """Singular value decomposition: ``a = U @ diag(S) @ Vh``, the singular values in descending order.

    >>> import gpuarray as ga
    >>> ga.linalg.svd([[3.0, 0.0], [0.0, 4.0]]).S.compute()
    array([4., 3.])

    Parameters
    ----------
    a : stacks of matrices
    full_matrices : whether U and Vh are square; much work and memory for a long matrix
    compute_uv : False returns the singular values alone
    hermitian : found by eigenvalues, for matrices known to be Hermitian

    A matrix much longer than wide (or wider than long) may be larger than memory: it is factored by `qr` in one pass,
    and the small factor in a task. Any other must fit in one (MemoryLimitError otherwise; see `svd_compressed`).
    Raises LinAlgError (a ValueError) for fewer than two dimensions, and for what does not converge.
    """
    x = matrices(a, "svd", square=hermitian)
    if not compute_uv:
        return _values(x, hermitian)
    m, n = x.shape[-2:]
    k = min(m, n)
    if _tall(x) and not full_matrices:
        if m < n:
            u, s, vh = svd(adjoint(x), False)
            return SVDResult(adjoint(vh), s, adjoint(u))
        q, r = qr(x)
        u, s, vh = svd(r, False)
        return SVDResult(matmul(q, u), s, vh)
    shapes = [(m, m if full_matrices else k), (k,), (n if full_matrices else k, n)]
    d = x.dtype
    options = (
        {"full_matrices": bool(full_matrices), "hermitian": True}
        if hermitian
        else {"full_matrices": bool(full_matrices)}
    )
    made = several("svd", shapes, [d, real_of(d), d], [(x.node, 2)], cost=12 * k, remedy=WHOLE, **options)
    return SVDResult(*made)


def _tall(x: NDArray) -> bool:
    """Whether a matrix is factored in blocks of rows (or columns) first."""
    m, n = x.shape[-2:]
    return x.ndim == 2 and not fits_a_task(x.nbytes) and max(m, n) >= 4 * min(m, n)


def _values(x: NDArray, hermitian: bool = False) -> NDArray:
    m, n = x.shape[-2:]
    if _tall(x) and not hermitian:
        x = qr(x if m >= n else adjoint(x), "r")
    k = min(m, n)
    given = [(x.node, 2)]
    keywords = {"hermitian": hermitian}
    return NDArray(
        stacked(_svdvals, (k,), real_of(x.dtype), given, "svd", cost=4.0 * m * n, remedy=WHOLE, keywords=keywords)
    )


def _svdvals(xp: Any, a: Any, hermitian: bool) -> Any:
    if hermitian:  # CuPy's svd has no such argument
        sizes = abs(xp.linalg.eigvalsh(a))
        return xp.sort(sizes, axis=-1)[..., ::-1]
    return xp.linalg.svd(a, compute_uv=False)


def svdvals(x: Any, /) -> NDArray:
    """Singular values in descending order.

    >>> import gpuarray as ga
    >>> ga.linalg.svdvals([[3.0, 0.0], [0.0, 4.0]]).compute()
    array([4., 3.])

    Raises as `svd`.
    """
    return _values(matrices(x, "svdvals"))


def svd_compressed(a: Any, k: int, *, n_power_iter: int = 2, n_oversamples: int = 10, seed: Any = 0) -> SVDResult:
    """The `k` leading singular values and vectors of a matrix of any size, by random projection.

    >>> import gpuarray as ga
    >>> x = ga.outer(ga.arange(1.0, 9.0), ga.ones(5))
    >>> u, s, vh = ga.linalg.svd_compressed(x, 1)
    >>> ga.allclose(u * s @ vh, x).compute()
    array(True)

    Parameters
    ----------
    a : a matrix
    k : how many
    n_power_iter : passes over `a` and its transpose that sharpen the result where singular values decay slowly
    n_oversamples : directions beyond `k`
    seed : of the projection

    ``2 + 2 * n_power_iter`` passes over `a`; memory holds a few columns of it. Raises ValueError for a `k` that is not
    between 1 and the shorter side. Source: Halko, Martinsson, Tropp, "Finding structure with randomness", SIAM Review
    53, 2011.
    """
    x = matrices(a, "svd_compressed")
    if x.ndim != 2:
        raise np.linalg.LinAlgError(f"svd_compressed takes one matrix, got shape {x.shape}")
    m, n = x.shape
    k = operator.index(k)
    if not 1 <= k <= min(m, n):
        raise ValueError(f"k={k} must be between 1 and {min(m, n)}, the shorter side of shape {x.shape}")
    width = min(k + max(0, operator.index(n_oversamples)), m, n)
    omega = default_rng(seed).standard_normal((n, width)).astype(x.dtype)
    q = qr(matmul(x, omega)).Q
    for _ in range(operator.index(n_power_iter)):
        z = qr(matmul(adjoint(x), q)).Q
        q = qr(matmul(x, z)).Q
    u, s, vh = svd(matmul(adjoint(q), x), False)
    return SVDResult(matmul(q, u[:, :k]), s[:k], vh[:k])


# Eigenvalues.


def _checked(UPLO: Any) -> str:
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        raise ValueError(f'UPLO={UPLO!r} must be "L" or "U"')
    return UPLO.upper()


def eigh(a: Any, UPLO: str = "L") -> EighResult:
    """Eigenvalues, ascending, and eigenvectors of Hermitian matrices.

    >>> import gpuarray as ga
    >>> ga.linalg.eigh([[2.0, 0.0], [0.0, 1.0]]).eigenvalues.compute()
    array([1., 2.])

    Arguments as in `numpy.linalg.eigh`. A task holds a whole matrix. Raises LinAlgError (a ValueError) for shapes that
    are not square, ValueError for another `UPLO`, MemoryLimitError for a matrix too large for one task.
    """
    x = matrices(a, "eigh", square=True)
    n, d = x.shape[-1], x.dtype
    triangle = _checked(UPLO)
    w, v = several("eigh", [(n,), (n, n)], [real_of(d), d], [(x.node, 2)], cost=9 * n, remedy=WHOLE, UPLO=triangle)
    return EighResult(w, v)


def eigvalsh(a: Any, UPLO: str = "L") -> NDArray:
    """Eigenvalues of Hermitian matrices, ascending.

    >>> import gpuarray as ga
    >>> ga.linalg.eigvalsh([[2.0, 0.0], [0.0, 1.0]]).compute()
    array([1., 2.])

    Arguments and errors as in `eigh`.
    """
    x = matrices(a, "eigvalsh", square=True)
    n, keywords = x.shape[-1], {"UPLO": _checked(UPLO)}
    given = [(x.node, 2)]
    return NDArray(
        stacked(_eigvalsh, (n,), real_of(x.dtype), given, "eigvalsh", cost=2.0 * n * n, remedy=WHOLE, keywords=keywords)
    )


def _eigvalsh(xp: Any, a: Any, UPLO: str) -> Any:
    return xp.linalg.eigvalsh(a, UPLO)


def eig(a: Any) -> EigResult:
    """Eigenvalues and eigenvectors of square matrices; always complex, because the dtype must be known beforehand.

    >>> import gpuarray as ga
    >>> ga.linalg.eig([[2.0, 0.0], [0.0, 1.0]]).eigenvalues.compute()
    array([2.+0.j, 1.+0.j])

    A task holds a whole matrix. Raises LinAlgError (a ValueError) for shapes that are not square,
    MemoryLimitError for a matrix too large for one task.
    """
    x = matrices(a, "eig", square=True)
    n, d = x.shape[-1], complex_of(x.dtype)
    return EigResult(*several("eig", [(n,), (n, n)], [d, d], [(x.node, 2)], cost=25 * n, remedy=WHOLE))


def eigvals(a: Any) -> NDArray:
    """Eigenvalues of square matrices; always complex.

    >>> import gpuarray as ga
    >>> ga.linalg.eigvals([[0.0, -1.0], [1.0, 0.0]]).compute()
    array([0.+1.j, 0.-1.j])

    Errors as in `eig`.
    """
    x = matrices(a, "eigvals", square=True)
    n, d = x.shape[-1], complex_of(x.dtype)
    return NDArray(stacked(_eigvals, (n,), d, [(x.node, 2)], "eigvals", cost=10.0 * n * n, remedy=WHOLE))


def _eigvals(xp: Any, a: Any) -> Any:
    return xp.linalg.eigvals(a)
