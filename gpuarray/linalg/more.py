"""Products of more kinds: Kronecker's, of vectors in three dimensions, of many matrices, of matrices and vectors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuarray import gathering
from gpuarray.array import NDArray, asarray
from gpuarray.axes import normalize_axis, with_new_axes
from gpuarray.dimensions import moveaxis
from gpuarray.elementwise import apply, into
from gpuarray.joining import stack
from gpuarray.linalg.products import matmul
from gpuarray.linalg.products import outer as products_of_all
from gpuarray.manipulation import broadcast_arrays, reshaped


def kron(a: Any, b: Any) -> NDArray:
    """Kronecker product: `b` times each element of `a`, in its place.

    >>> import gpuarray as ga
    >>> ga.kron([1, 10], [1, 2, 3]).compute()
    array([ 1,  2,  3, 10, 20, 30])

    Arguments as in `numpy.kron`.
    """
    x, y = asarray(a), asarray(b)
    n = max(x.ndim, y.ndim)
    shapes = [(1,) * (n - z.ndim) + z.shape for z in (x, y)]
    left = with_new_axes(x.node, tuple(range(n - x.ndim)))
    right = with_new_axes(y.node, tuple(range(n - y.ndim)))
    left = with_new_axes(left, tuple(range(1, 2 * n, 2)))
    right = with_new_axes(right, tuple(range(0, 2 * n, 2)))
    made = apply("multiply", NDArray(left), NDArray(right))
    return NDArray(reshaped(made.node, tuple(i * j for i, j in zip(*shapes, strict=True))))


def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> NDArray:
    """Cross product of vectors in three dimensions.

    >>> import gpuarray as ga
    >>> ga.cross([1, 0, 0], [0, 1, 0]).compute()
    array([0, 0, 1])

    Arguments as in `numpy.cross`. Raises ValueError for vectors that have not three elements (NumPy's two are on their
    way out) and shapes that do not broadcast, AxisError for axes out of range.
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = asarray(a), asarray(b)
    if not x.ndim or not y.ndim:
        raise ValueError(f"cross takes vectors, got shapes {x.shape} and {y.shape}")
    x = moveaxis(x, normalize_axis(axisa, x.ndim), -1)
    y = moveaxis(y, normalize_axis(axisb, y.ndim), -1)
    if x.shape[-1] != 3 or y.shape[-1] != 3:
        raise ValueError(
            f"cross takes vectors of 3 elements, got {x.shape[-1]} and {y.shape[-1]}; of 2 elements, "
            "x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0] is what it would be"
        )
    x, y = broadcast_arrays(x, y)
    parts = []
    for i, j in ((1, 2), (2, 0), (0, 1)):
        first = apply("multiply", x[..., i], y[..., j])
        parts.append(apply("subtract", first, apply("multiply", x[..., j], y[..., i])))
    made = stack(parts, -1)
    return moveaxis(made, -1, normalize_axis(axisc, made.ndim))


def cross_3(x1: Any, x2: Any, /, *, axis: int = -1) -> NDArray:
    """Cross product of vectors of three elements along an axis; see `gpuarray.cross`.

    >>> import gpuarray as ga
    >>> ga.linalg.cross([1, 0, 0], [0, 1, 0]).compute()
    array([0, 0, 1])
    """
    return cross(x1, x2, axis=axis)


def outer(x1: Any, x2: Any, /) -> NDArray:
    """Every product of an element of one vector and one of another.

    >>> import gpuarray as ga
    >>> ga.linalg.outer([1, 2], [1, 10]).compute()
    array([[ 1, 10],
           [ 2, 20]])

    Raises ValueError for what is no vector (`gpuarray.outer` flattens).
    """
    a, b = asarray(x1), asarray(x2)
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"linalg.outer takes vectors, got shapes {a.shape} and {b.shape}; gpuarray.outer flattens")
    return products_of_all(a, b)


def diagonal(x: Any, /, *, offset: int = 0) -> NDArray:
    """A view of the diagonals of matrices, the last two axes.

    >>> import gpuarray as ga
    >>> ga.linalg.diagonal([[1, 2], [3, 4]]).compute()
    array([1, 4])

    Raises ValueError for fewer than two dimensions.
    """
    a = asarray(x)
    if a.ndim < 2:
        raise ValueError(f"linalg.diagonal takes matrices, got shape {a.shape}")
    return gathering.diagonal(a, offset, -2, -1)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> NDArray:
    """Sums of the diagonals of matrices, the last two axes.

    >>> import gpuarray as ga
    >>> ga.linalg.trace([[1, 2], [3, 4]]).compute()
    array(5)

    Raises ValueError for fewer than two dimensions.
    """
    a = asarray(x)
    if a.ndim < 2:
        raise ValueError(f"linalg.trace takes matrices, got shape {a.shape}")
    return gathering.trace(a, offset, -2, -1, dtype)


def matvec(x1: Any, x2: Any, /, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind") -> NDArray:
    """Products of matrices and vectors, of stacks of them.

    >>> import gpuarray as ga
    >>> ga.matvec([[1, 2], [3, 4]], [1, 10]).compute()
    array([21, 43])

    Arguments as in `numpy.matvec`. Raises ValueError for shapes that do not fit.
    """
    a, b = _two(x1, x2, "matvec", 2, 1)
    made = matmul(a, b[..., None], dtype=dtype, casting=casting)
    return into(out, made[..., 0], casting)


def vecmat(x1: Any, x2: Any, /, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind") -> NDArray:
    """Products of vectors, conjugated, and matrices, of stacks of them.

    >>> import gpuarray as ga
    >>> ga.vecmat([1, 10], [[1, 2], [3, 4]]).compute()
    array([31, 42])

    Arguments as in `numpy.vecmat`. Raises ValueError for shapes that do not fit.
    """
    a, b = _two(x1, x2, "vecmat", 1, 2)
    left = apply("conjugate", a) if a.dtype.kind == "c" else a
    made = matmul(left[..., None, :], b, dtype=dtype, casting=casting)
    return into(out, made[..., 0, :], casting)


def _two(x1: Any, x2: Any, name: str, first: int, second: int) -> tuple[NDArray, NDArray]:
    a, b = asarray(x1), asarray(x2)
    if a.ndim < first or b.ndim < second or a.shape[-1] != b.shape[-second]:
        raise ValueError(f"{name} of shapes {a.shape} and {b.shape}: they do not fit together")
    return a, b


def multi_dot(arrays: Sequence[Any], *, out: Any = None) -> NDArray:
    """Product of several matrices, in the order that takes the fewest operations.

    >>> import gpuarray as ga
    >>> ga.linalg.multi_dot([ga.ones((2, 3)), ga.ones((3, 4)), ga.ones(4)]).compute()
    array([12., 12.])

    Arguments as in `numpy.linalg.multi_dot`: the first and the last may be vectors. Raises ValueError for fewer than
    two arrays and shapes that do not fit, LinAlgError (a ValueError) for other numbers of dimensions.
    """
    given = [asarray(a) for a in arrays]
    if len(given) < 2:
        raise ValueError(f"multi_dot takes at least two arrays, got {len(given)}")
    ends = (given[0].ndim, given[-1].ndim)
    row, column = ends[0] == 1, ends[1] == 1
    chain = list(given)
    if row:
        chain[0] = chain[0][None, :]
    if column:
        chain[-1] = chain[-1][:, None]
    if any(a.ndim != 2 for a in chain):
        raise np.linalg.LinAlgError(f"multi_dot takes matrices, got shapes {[a.shape for a in given]}")
    for a, b in itertools.pairwise(chain):
        if a.shape[1] != b.shape[0]:
            raise ValueError(f"multi_dot: shapes {a.shape} and {b.shape} do not fit together")
    made = _in_order(chain)
    made = made[0] if row else made
    return into(out, made[..., 0] if column else made)


def _in_order(chain: list[NDArray]) -> NDArray:
    """The product of a chain of matrices, by the textbook's table of costs (Cormen et al., chapter 15.2)."""
    n = len(chain)
    p = [a.shape[0] for a in chain] + [chain[-1].shape[1]]
    best: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(n)}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            best[i, j] = min((best[i, k][0] + best[k + 1, j][0] + p[i] * p[k + 1] * p[j + 1], k) for k in range(i, j))

    def made(i: int, j: int) -> NDArray:
        if i == j:
            return chain[i]
        k = best[i, j][1]
        return matmul(made(i, k), made(k + 1, j))

    return made(0, n - 1)
