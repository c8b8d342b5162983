"""Linear algebra on stacks of matrices, and on matrices larger than memory.

>>> import gpuarray as ga
>>> ga.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 4.0]).compute()
array([1., 1.])

Names and arguments are those of `numpy.linalg`; `solve_triangular` and `svd_compressed` come in addition. Small
matrices are the library's work, one task for many or one; large ones are cut into blocks.
"""

from __future__ import annotations

from numpy.linalg import LinAlgError

from gpuarray.dimensions import matrix_transpose
from gpuarray.linalg.factors import cholesky, qr, solve_triangular
from gpuarray.linalg.more import cross_3 as cross
from gpuarray.linalg.more import diagonal, multi_dot, outer, trace
from gpuarray.linalg.norms import cond, matrix_norm, matrix_rank, norm, vector_norm
from gpuarray.linalg.products import matmul, tensordot, vecdot
from gpuarray.linalg.solving import det, inv, lstsq, matrix_power, pinv, slogdet, solve, tensorinv, tensorsolve
from gpuarray.linalg.spectra import eig, eigh, eigvals, eigvalsh, svd, svd_compressed, svdvals

__all__ = [
    "LinAlgError",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svd_compressed",
    "svdvals",
    "tensordot",
    "tensorinv",
    "tensorsolve",
    "trace",
    "vecdot",
    "vector_norm",
]
