"""What functions with several results return: NumPy's names, with arrays of ours."""

from __future__ import annotations

from typing import NamedTuple

from gpuarray.array import NDArray


class QRResult(NamedTuple):
    """Orthonormal columns and an upper triangular matrix."""

    Q: NDArray
    R: NDArray


class SVDResult(NamedTuple):
    """Left singular vectors, singular values, and right singular vectors as rows."""

    U: NDArray
    S: NDArray
    Vh: NDArray


class EighResult(NamedTuple):
    """Eigenvalues in ascending order, and eigenvectors as columns."""

    eigenvalues: NDArray
    eigenvectors: NDArray


class EigResult(NamedTuple):
    """Eigenvalues, and eigenvectors as columns."""

    eigenvalues: NDArray
    eigenvectors: NDArray


class SlogdetResult(NamedTuple):
    """The sign of a determinant, and the logarithm of its size."""

    sign: NDArray
    logabsdet: NDArray
