"""Systems of equations, inverses and determinants."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import sliced
from gpuarray.creation import eye, zeros
from gpuarray.dimensions import transpose
from gpuarray.elementwise import apply, cast
from gpuarray.graph.grid import Lengths
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.joining import stack
from gpuarray.linalg import blocks
from gpuarray.linalg.columns import REMEDY, end_to_end, kept
from gpuarray.linalg.factors import minus, panel, panel_width, system
from gpuarray.linalg.products import matmul, product
from gpuarray.linalg.results import SlogdetResult
from gpuarray.linalg.spectra import adjoint, svd
from gpuarray.linalg.stacks import fits_a_task, matrices, real_of, several, stacked
from gpuarray.manipulation import reshape
from gpuarray.reductions import max as largest
from gpuarray.reductions import prod as multiplied
from gpuarray.reductions import sum as total

# Elimination.


def panels(a: Node, b: Node | None = None) -> tuple[list[Node], list[list[Node]], list[Node]]:
    """LU by panels of columns, left-looking: the factored panels; for each, the blocks of U above its diagonal; and the
    right-hand side `b` after forward substitution, as blocks of rows."""
    n, dtype = a.shape[0], a.dtype
    cuts = Lengths.regular(n, panel_width(n, dtype.itemsize, 6))
    factors: list[Node] = []
    upper: list[list[Node]] = []
    for j in range(len(cuts)):
        x, above = eliminated(factors, sliced(a, 1, cuts.span(j)))
        upper.append(above)
        factors.append(panel(blocks.lu_panel, x.shape[0], len(cuts.span(j)) + 2, "lu", x))
    done = [] if b is None else eliminated(factors, b)[1]
    return factors, upper, done


def eliminated(factors: Sequence[Node], x: Node) -> tuple[Node, list[Node]]:
    """Columns after elimination by factored panels: the rows that are left, and those that are done."""
    done = []
    for factor in factors:
        width = factor.shape[1] - 2
        x = panel(blocks.eliminate, x.shape[0], x.shape[1], "lu", factor, x)
        done.append(kept(sliced(x, 0, range(width)), "lu"))
        x = sliced(x, 0, range(width, x.shape[0]))
    return x, done


def solved(a: Node, b: Node) -> Node:
    """``a x = b`` for a large matrix."""
    factors, upper, right = panels(a, b)
    found: list[Node] = []
    for j in range(len(factors))[::-1]:
        rest, width = right[j], factors[j].shape[1] - 2
        if found:
            rest = minus(rest, product(end_to_end(1, [above[j] for above in upper[j + 1 :]]), end_to_end(0, found)))
        corner = sliced(sliced(factors[j], 0, range(width)), 1, range(width))
        traits = Traits("solve", (0,), scratch=1, cost=float(width), remedy=REMEDY)
        cut = (Lengths.regular(width, width), b.chunks[1])
        keywords = (("lower", False), ("unit", False))
        x: Node = Routine(blocks.triangular, keywords, a.dtype, cut, ((None, None), (None, 1)), traits, corner, rest)
        found.insert(0, x)
    return end_to_end(0, found)


def solve(a: Any, b: Any) -> NDArray:
    """Solve ``a @ x = b``.

    >>> import gpuarray as ga
    >>> ga.linalg.solve([[2.0, 1.0], [1.0, 3.0]], [3.0, 4.0]).compute()
    array([1., 1.])

    Parameters
    ----------
    a : stacks of square matrices
    b : a vector, or stacks of matrices

    A large matrix is eliminated by panels of columns with partial pivoting, each from the panels before it. Raises
    LinAlgError (a ValueError) for shapes that are not square and, when it is computed, for a singular matrix;
    ValueError for shapes that do not fit.
    """
    left, right, vector = system(matrices(a, "solve", square=True), b, "solve")
    if left.ndim == right.ndim == 2 and not fits_a_task(left.nbytes, right.nbytes):
        made = solved(left.node, right.node)
    else:
        given = [(left.node, 2), (right.node, 2)]
        made = stacked(_solve, right.shape[-2:], left.dtype, given, "solve", cost=left.shape[-1], remedy=REMEDY)
    found = NDArray(made)
    return found[..., 0] if vector else found


def _solve(xp: Any, a: Any, b: Any) -> Any:
    return xp.linalg.solve(a, b)


def inv(a: Any) -> NDArray:
    """Inverse of square matrices.

    >>> import gpuarray as ga
    >>> ga.linalg.inv([[2.0, 0.0], [0.0, 4.0]]).compute()
    array([[0.5 , 0.  ],
           [0.  , 0.25]])

    Errors as in `solve`.
    """
    x = matrices(a, "inv", square=True)
    n = x.shape[-1]
    if x.ndim == 2 and not fits_a_task(x.nbytes):
        return NDArray(solved(x.node, eye(n, dtype=x.dtype, chunks=(n, panel_width(n, x.itemsize, 6))).node))
    return NDArray(stacked(_inv, (n, n), x.dtype, [(x.node, 2)], "inv", cost=2 * n))


def _inv(xp: Any, a: Any) -> Any:
    return xp.linalg.inv(a)


def slogdet(a: Any) -> SlogdetResult:
    """Sign of the determinant, and logarithm of its size, which does not overflow.

    >>> import gpuarray as ga
    >>> ga.linalg.slogdet([[2.0, 0.0], [0.0, -0.5]])[0].compute()
    array(-1.)

    Arguments as in `numpy.linalg.slogdet`; a large matrix is eliminated as in `solve`. Raises LinAlgError (a
    ValueError) for shapes that are not square.
    """
    x = matrices(a, "slogdet", square=True)
    d = x.dtype
    if x.ndim > 2 or fits_a_task(x.nbytes):
        made = several("slogdet", [(), ()], [d, real_of(d)], [(x.node, 2)], cost=x.shape[-1] ** 3)
        return SlogdetResult(*made)
    parts = [
        NDArray(stacked(blocks.sign_and_log, (2,), d, [(f, 2)], "slogdet", cost=f.shape[1])) for f in panels(x.node)[0]
    ]
    signs, logs = stack([p[0] for p in parts]), stack([p[1] for p in parts])
    return SlogdetResult(multiplied(signs), total(apply("real", logs) if d.kind == "c" else logs))


def det(a: Any) -> NDArray:
    """Determinant of square matrices.

    >>> import gpuarray as ga
    >>> ga.linalg.det([[2.0, 0.0], [0.0, 3.0]]).compute()
    array(6.)

    Errors as in `slogdet`.
    """
    x = matrices(a, "det", square=True)
    if x.ndim > 2 or fits_a_task(x.nbytes):
        return NDArray(stacked(_det, (), x.dtype, [(x.node, 2)], "det", cost=x.shape[-1] ** 3))
    sign, size = slogdet(x)
    return apply("multiply", sign, apply("exp", size))


def _det(xp: Any, a: Any) -> Any:
    return xp.asarray(xp.linalg.det(a))


# Least squares.


def lstsq(a: Any, b: Any, rcond: Any = None) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Least-squares solution of ``a @ x = b``, the one of least norm where there are several.

    >>> import gpuarray as ga
    >>> x, residuals, rank, s = ga.linalg.lstsq([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], [1.0, 3.0, 5.0])
    >>> ga.allclose(x, [1, 2]).compute()
    array(True)

    Parameters
    ----------
    a : a matrix; one much longer than wide may be larger than memory
    b : a vector or a matrix
    rcond : singular values below this times the largest count as zero; None: the precision times the longer side

    Returns the solution, the sums of squared residuals (of no elements where `a` has not full rank or is not longer
    than wide), the rank and the singular values. The rank of a matrix longer than wide is computed at once, for the
    shape of the residuals depends on it. Raises LinAlgError (a ValueError) for shapes that do not fit.
    """
    x = matrices(a, "lstsq")
    y = matrices(b, "lstsq", least=1)
    if x.ndim != 2 or y.ndim > 2:
        raise np.linalg.LinAlgError(f"lstsq takes a matrix and a vector or matrix, got shapes {x.shape} and {y.shape}")
    if x.shape[0] != y.shape[0]:
        raise np.linalg.LinAlgError(f"lstsq: a of shape {x.shape} and b of shape {y.shape} must have as many rows")
    d = np.result_type(x.dtype, y.dtype)
    x, y = NDArray(cast(x.node, d)), NDArray(cast(y.node, d))
    columns = y[:, None] if y.ndim == 1 else y
    m, n = x.shape
    u, s, vh = svd(x, False)
    eps = float(np.finfo(d).eps)
    cutoff = eps * max(m, n) if rcond is None else eps if rcond == -1 else float(rcond)
    counts = _above(s, cutoff)
    rank = total(counts, dtype=np.int32)
    weights = apply("where", counts, apply("reciprocal", apply("where", counts, s, s.dtype.type(1))), s.dtype.type(0))
    found = matmul(adjoint(vh), apply("multiply", weights[:, None], matmul(adjoint(u), columns)))
    residuals = zeros((0,), real_of(d))
    if m > n and int(rank) == n:
        off = apply("absolute", apply("subtract", columns, matmul(x, found)))
        residuals = total(apply("square", off), 0)
    return (found[:, 0] if y.ndim == 1 else found), residuals, rank, s


def _above(s: NDArray, cutoff: Any) -> NDArray:
    """Which singular values count."""
    if not s.shape[-1]:
        return apply("greater", s, 0)
    return apply("greater", s, apply("multiply", largest(s, -1, keepdims=True), cutoff))


def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> NDArray:
    """Pseudo-inverse (Moore-Penrose) of matrices.

    >>> import gpuarray as ga
    >>> ga.linalg.pinv([[2.0], [0.0]]).compute()
    array([[0.5, 0. ]])

    Arguments as in `numpy.linalg.pinv`. A matrix much longer than wide (or wider than long) may be larger than memory.
    Raises as `svd`, and ValueError for both `rcond` and `rtol`.
    """
    x = matrices(a, "pinv", square=hermitian)
    if rcond is not None and rtol is not None:
        raise ValueError("pinv takes rtol or rcond, which mean the same, not both")
    given = rtol if rcond is None else rcond
    cutoff: Any = 1e-15 if given is None and rtol is None else given
    if not x.size:
        return zeros((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)
    u, s, vh = svd(x, False, hermitian=hermitian)
    counts = _above(s, cutoff[..., None] if getattr(cutoff, "ndim", 0) else cutoff)
    weights = apply("where", counts, apply("reciprocal", apply("where", counts, s, s.dtype.type(1))), s.dtype.type(0))
    return matmul(adjoint(vh), apply("multiply", weights[..., None], adjoint(u)))


# Powers and tensors.


def matrix_power(a: Any, n: Any) -> NDArray:
    """Power of square matrices, by repeated squaring; a negative one is that of the inverse.

    >>> import gpuarray as ga
    >>> ga.linalg.matrix_power([[1, 1], [0, 1]], 5).compute()
    array([[1, 5],
           [0, 1]])

    Raises LinAlgError (a ValueError) for shapes that are not square, TypeError for an exponent that is no integer.
    """
    x = asarray(a)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise np.linalg.LinAlgError(f"matrix_power takes square matrices, got shape {x.shape}")
    try:
        power = operator.index(n)
    except TypeError:
        raise TypeError(f"n={n!r} must be an integer: the exponent") from None
    if not power:
        from gpuarray.manipulation import broadcast_to

        return broadcast_to(eye(x.shape[-1], dtype=x.dtype), x.shape)
    if power < 0:
        x, power = inv(x), -power
    result: NDArray | None = None
    while power:
        if power & 1:
            result = x if result is None else matmul(result, x)
        power >>= 1
        if power:
            x = matmul(x, x)
    assert result is not None  # the exponent is positive here
    return result


def tensorsolve(a: Any, b: Any, axes: Any = None) -> NDArray:
    """Solve ``tensordot(a, x, x.ndim) = b``.

    >>> import gpuarray as ga
    >>> ga.linalg.tensorsolve(2 * ga.eye(4).reshape((2, 2, 4)), ga.ones((2, 2))).compute()
    array([0.5, 0.5, 0.5, 0.5])

    Arguments as in `numpy.linalg.tensorsolve`. Raises LinAlgError (a ValueError) where the products of the axes
    differ.
    """
    x, y = asarray(a), asarray(b)
    if axes is not None:
        moved = [i % x.ndim for i in axes]
        x = transpose(x, [i for i in range(x.ndim) if i not in moved] + moved)
    shape = x.shape[-(x.ndim - y.ndim) :]
    size = math.prod(shape)
    if x.size != size**2:
        raise np.linalg.LinAlgError(
            f"tensorsolve: a of shape {x.shape} has not as many elements in its first {y.ndim} axes as in the others"
        )
    return reshape(solve(reshape(x, (size, size)), reshape(y, (size,))), shape)


def tensorinv(a: Any, ind: int = 2) -> NDArray:
    """Inverse of an array as the matrix whose rows are its first `ind` axes.

    >>> import gpuarray as ga
    >>> ga.linalg.tensorinv(2 * ga.eye(4).reshape((2, 2, 4))).shape
    (4, 2, 2)

    Raises ValueError unless `ind` is positive, LinAlgError where the products of the axes differ.
    """
    x = asarray(a)
    if operator.index(ind) <= 0:
        raise ValueError(f"ind={ind} must be positive")
    shape = x.shape[ind:] + x.shape[:ind]
    rows = math.prod(x.shape[:ind])
    return reshape(inv(reshape(x, (rows, -1 if rows else 0))), shape)
