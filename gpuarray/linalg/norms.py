"""Norms of vectors and matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import ordered_axes, with_new_axes, without_axes
from gpuarray.dimensions import moveaxis
from gpuarray.elementwise import apply, cast
from gpuarray.linalg.solving import inv
from gpuarray.linalg.spectra import eigvalsh, svdvals
from gpuarray.linalg.stacks import matrices
from gpuarray.reductions import max as largest
from gpuarray.reductions import min as smallest
from gpuarray.reductions import sum as total


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> NDArray:
    """Norm of vectors: of the whole array, or along axes.

    >>> import gpuarray as ga
    >>> ga.linalg.vector_norm([3.0, 4.0]).compute()
    array(5.)

    Arguments as in `numpy.linalg.vector_norm`. Raises ValueError for an `ord` that is no number.
    """
    a = asarray(x)
    if a.dtype.kind in "biu":
        a = NDArray(cast(a.node, np.dtype(np.float64)))
    if isinstance(ord, str):
        raise ValueError(f"ord={ord!r} is no norm of vectors; write a number, inf or -inf")
    size = apply("absolute", a)
    if ord == math.inf:
        return largest(size, axis, keepdims=keepdims, initial=0)
    if ord == -math.inf:
        return smallest(size, axis, keepdims=keepdims)
    if ord == 0:
        return total(apply("not_equal", a, 0), axis, size.dtype, keepdims=keepdims)
    if ord == 1:
        return total(size, axis, keepdims=keepdims)
    if ord == 2:
        squares = apply("square", a)
        if a.dtype.kind == "c":  # without the square root in between
            squares = apply("square", apply("real", a)) + apply("square", apply("imag", a))
        return apply("sqrt", total(squares, axis, keepdims=keepdims))
    made: NDArray = total(size**ord, axis, keepdims=keepdims) ** (1 / ord)
    return made


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> NDArray:
    """Norm of the matrices in the last two axes.

    >>> import gpuarray as ga
    >>> ga.linalg.matrix_norm([[3.0, 0.0], [0.0, 4.0]]).compute()
    array(5.)

    Arguments as in `numpy.linalg.matrix_norm`. For 2, -2 and "nuc" see `svd` on which matrices fit. Raises ValueError
    for another `ord`, and for fewer than two dimensions.
    """
    a = asarray(x)
    if a.ndim < 2:
        raise ValueError(f"a norm of matrices takes at least 2 dimensions, got shape {a.shape}")
    if ord in (None, "fro"):
        return vector_norm(a, axis=(-2, -1), keepdims=keepdims)
    if ord in (2, -2, "nuc"):
        s = svdvals(a)
        made = total(s, -1) if ord == "nuc" else largest(s, -1, initial=0) if ord == 2 else smallest(s, -1)
        return NDArray(with_new_axes(made.node, (a.ndim - 2, a.ndim - 1))) if keepdims else made
    if ord not in (1, -1, math.inf, -math.inf):
        raise ValueError(f'ord={ord!r} is no norm of matrices; there are "fro", "nuc", 1, -1, 2, -2, inf and -inf')
    rows = abs(ord) == math.inf
    sums = vector_norm(a, ord=1, axis=-1 if rows else -2, keepdims=True)
    along = -2 if rows else -1
    made = largest(sums, along, keepdims=True, initial=0) if ord > 0 else smallest(sums, along, keepdims=True)
    return made if keepdims else NDArray(without_axes(made.node, (a.ndim - 2, a.ndim - 1)))


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> NDArray:
    """Norm of a vector, a matrix, or of those along one or two axes.

    >>> import gpuarray as ga
    >>> ga.linalg.norm([[3.0, 4.0], [0.0, 0.0]], axis=1).compute()
    array([5., 0.])

    Arguments as in `numpy.linalg.norm`. Raises as `vector_norm` and `matrix_norm`.
    """
    a = asarray(x)
    if axis is None and ord is None:
        return vector_norm(a, keepdims=keepdims)
    axes = ordered_axes(axis, a.ndim)
    if axis is None and len(axes) > 2:
        raise ValueError(
            f"norm with an ord takes a vector or a matrix, got shape {a.shape}; name axes, or leave ord out"
        )
    if len(axes) == 1:
        return vector_norm(a, axis=axes, keepdims=keepdims, ord=2 if ord is None else ord)
    if len(axes) != 2:
        raise ValueError(f"norm takes one axis or two, got axis={axis} for an array of shape {a.shape}")
    made = matrix_norm(moveaxis(a, axes, (-2, -1)), ord=ord)
    return NDArray(with_new_axes(made.node, tuple(sorted(axes)))) if keepdims else made


# What norms and singular values say of a matrix.


def cond(x: Any, p: Any = None) -> NDArray:
    """Condition number: the norm of a matrix times that of its inverse.

    >>> import gpuarray as ga
    >>> ga.linalg.cond([[2.0, 0.0], [0.0, 4.0]]).compute()
    array(2.)

    Arguments as in `numpy.linalg.cond`. Raises LinAlgError (a ValueError) for shapes that are not square, where the
    norm needs the inverse, for an array without elements and, when it is computed, for a singular matrix.
    """
    a = matrices(x, "cond", square=p not in (None, 2, -2))
    if not a.size:
        raise np.linalg.LinAlgError(f"cond takes matrices with elements, got shape {a.shape}")
    if p in (None, 2, -2):
        s = svdvals(a)
        return apply("divide", s[..., -1], s[..., 0]) if p == -2 else apply("divide", s[..., 0], s[..., -1])
    return apply("multiply", matrix_norm(a, ord=p), matrix_norm(inv(a), ord=p))


def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> NDArray:
    """Rank of matrices: the number of singular values that are not negligible.

    >>> import gpuarray as ga
    >>> ga.linalg.matrix_rank([[1.0, 2.0], [2.0, 4.0]]).compute()
    array(1)

    Arguments as in `numpy.linalg.matrix_rank`. Raises ValueError for both `tol` and `rtol`, and as `svd`.
    """
    a = asarray(A)
    if tol is not None and rtol is not None:
        raise ValueError("matrix_rank takes tol or rtol, not both: a size, or a share of the largest singular value")
    if a.ndim < 2:
        return cast_int(apply("logical_not", (apply("equal", a, 0)).all()))
    x = matrices(a, "matrix_rank", square=hermitian)
    s = apply("absolute", eigvalsh(x)) if hermitian else svdvals(x)
    if not s.shape[-1]:
        return total(apply("greater", s, 0), -1, np.int64)
    if tol is None:
        share = max(x.shape[-2:]) * float(np.finfo(s.dtype).eps) if rtol is None else _column(rtol)
        bound = apply("multiply", largest(s, -1, keepdims=True), share)
    else:
        bound = _column(tol)
    return total(apply("greater", s, bound), -1, np.int64)


def _column(value: Any) -> Any:
    """A number for each matrix, beside its singular values."""
    return value if isinstance(value, (int, float)) else asarray(value)[..., None]


def cast_int(x: NDArray) -> NDArray:
    return NDArray(cast(x.node, np.dtype(np.int64)))
