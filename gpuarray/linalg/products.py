"""Products of vectors and matrices."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray, install
from gpuarray.axes import normalize_axis, ordered_axes, permuted, with_new_axes, without_axes
from gpuarray.dimensions import moveaxis
from gpuarray.elementwise import apply, cast, into
from gpuarray.graph.cells import merge, split
from gpuarray.graph.contract import MatMul, PartialProducts
from gpuarray.graph.grid import Lengths
from gpuarray.graph.node import Node
from gpuarray.kernels.errors import UnsupportedDTypeError
from gpuarray.manipulation import ravel, reshaped
from gpuarray.reductions import sum as total

PIECE = 2048
"""How far a product goes along the contracted axis at once: enough for BLAS, little for a task's memory."""
SMALL = 4 << 20
"""Bytes of a product, up to which the contracted axis is cut in parts with a task each."""
PART = (4 << 20, 32 << 20)
"""Bytes of what a part multiplies at least: little where there is little, so that every thread has some."""
MANY = 64
"""Parts that may be made larger instead."""


def pieces(lengths: Lengths) -> Lengths:
    """How the contracted axis is gone through: its chunks, put together or split to 1024 to 2048 elements."""
    if lengths.largest > PIECE:
        return split(lengths, math.ceil(lengths.largest / math.ceil(lengths.largest / PIECE)))
    if lengths.largest < PIECE // 2 and len(lengths) > 1:
        return merge(lengths, max(1, PIECE // max(1, lengths.largest)))
    return lengths


def product(left: Node, right: Node) -> Node:
    """``left @ right`` for nodes of two and more dimensions."""
    kind = np.result_type(left.dtype, right.dtype)
    if kind.kind not in "biufc":
        raise UnsupportedDTypeError(f"matmul is not defined for {left.dtype}, {right.dtype}; cast with astype first")
    # Halves are multiplied in single precision and rounded once: there is no BLAS for them, and they overflow early.
    work = np.dtype(np.float32) if kind == np.float16 else kind
    cuts, a, b = pieces(left.chunks[-1]), cast(left, work), cast(right, work)
    parts = parts_of(cuts, a, b)
    made: Node = MatMul(cuts, a, b) if parts is None else added(PartialProducts(cuts, parts, a, b))
    return cast(made, kind)


def parts_of(cuts: Lengths, left: Node, right: Node) -> Lengths | None:
    """How many pieces of the contracted axis make a part with a product of its own; None where one sum is best.

    The products of all parts take a sixteenth of what is multiplied at most.
    """
    if left.ndim != 2 or right.ndim != 2 or left.dtype.kind == "b":
        return None
    m, n, item = left.shape[0], right.shape[1], left.dtype.itemsize
    if not 0 < m * n * item <= SMALL:
        return None
    line = (m + n) * item
    part = min(max(PART[0], cuts.total * line // MANY), PART[1])
    together = max(part // line, 16 * m * n // (m + n)) // max(1, cuts.largest)
    return merge(Lengths.regular(len(cuts), 1), max(1, together)) if 2 * together <= len(cuts) > 1 else None


def added(products: Node) -> Node:
    return total(NDArray(products), axis=0, dtype=products.dtype).node


def matmul(x1: Any, x2: Any, /, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind") -> NDArray:
    """Matrix product; also of stacks of matrices, and of vectors: what ``x1 @ x2`` is.

    >>> import gpuarray as ga
    >>> ga.matmul([[1, 2], [3, 4]], [[0, 1], [1, 0]]).compute()
    array([[2, 1],
           [4, 3]])

    Arguments as in `numpy.matmul`. Raises ValueError for arrays without dimensions and shapes that do not fit,
    TypeError for dtypes that have no product.
    """
    a, b = asarray(x1), asarray(x2)
    if not a.ndim or not b.ndim:
        raise ValueError(f"matmul takes arrays of at least one dimension, got shapes {a.shape} and {b.shape}; use *")
    inner = b.shape[-2] if b.ndim > 1 else b.shape[0]
    if a.shape[-1] != inner:
        raise ValueError(
            f"matmul of shapes {a.shape} and {b.shape}: the last axis of the first, {a.shape[-1]}, and the "
            f"{'second to last' if b.ndim > 1 else 'only'} axis of the second, {inner}, must be equal"
        )
    if a.ndim == b.ndim == 1:
        made = vecdot(apply("conjugate", a) if a.dtype.kind == "c" else a, b)
    else:
        left = with_new_axes(a.node, (0,)) if a.ndim == 1 else a.node
        right = with_new_axes(b.node, (1,)) if b.ndim == 1 else b.node
        try:
            np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        except ValueError:
            raise ValueError(f"the stacks of matmul, shapes {a.shape} and {b.shape}, do not broadcast") from None
        node = product(left, right)
        dropped = (node.ndim - 2,) if a.ndim == 1 else (node.ndim - 1,) if b.ndim == 1 else ()
        made = NDArray(without_axes(node, dropped))
    if dtype is not None:
        made = apply("positive", made, dtype=dtype, casting=casting)
    return into(out, made, casting)


def dot(a: Any, b: Any, out: Any = None) -> NDArray:
    """Product of numbers, vectors and matrices: over the last axis of `a` and the second to last of `b`.

    >>> import gpuarray as ga
    >>> ga.dot([1, 2, 3], [4, 5, 6]).compute()
    array(32)

    Arguments as in `numpy.dot`. Raises ValueError for shapes that do not fit.
    """
    x, y = asarray(a), asarray(b)
    if not x.ndim or not y.ndim:
        return into(out, apply("multiply", x, y))
    if y.ndim == 1 or x.ndim <= 2 >= y.ndim:
        return matmul(x, y, out)
    return into(out, tensordot(x, y, axes=(-1, -2)))


def vdot(a: Any, b: Any, /) -> NDArray:
    """Sum of the products of all elements, the first array conjugated.

    >>> import gpuarray as ga
    >>> ga.vdot([1j, 2], [1j, 3]).compute()
    array(7.+0.j)

    Arguments as in `numpy.vdot`. Raises ValueError for different numbers of elements.
    """
    return vecdot(ravel(a), ravel(b))


def vecdot(x1: Any, x2: Any, /, out: Any = None, *, axis: int = -1) -> NDArray:
    """Sums along an axis of the products of elements, the first array conjugated.

    >>> import gpuarray as ga
    >>> ga.vecdot([[1, 2], [3, 4]], [1, 10]).compute()
    array([21, 43])

    Arguments as in `numpy.vecdot`. Products and sums are one pass. Raises ValueError where the lengths of the axis
    differ or the rest does not broadcast, AxisError out of range.
    """
    a, b = asarray(x1), asarray(x2)
    at = normalize_axis(axis, a.ndim), normalize_axis(axis, b.ndim)
    if a.shape[at[0]] != b.shape[at[1]]:
        raise ValueError(f"vecdot of shapes {a.shape} and {b.shape}: axis {axis} must have equal lengths")
    kind = np.result_type(a.dtype, b.dtype)
    a, b = moveaxis(a, at[0], -1), moveaxis(b, at[1], -1)
    left = apply("conjugate", a) if a.dtype.kind == "c" else a
    return into(out, total(apply("multiply", left, b), -1, kind))


def inner(a: Any, b: Any, /) -> NDArray:
    """Sum of products over the last axes.

    >>> import gpuarray as ga
    >>> ga.inner([[1, 2], [3, 4]], [[1, 0], [0, 1]]).compute()
    array([[1, 2],
           [3, 4]])

    Arguments as in `numpy.inner`. Raises ValueError where the last axes differ.
    """
    x, y = asarray(a), asarray(b)
    return tensordot(x, y, axes=(-1, -1)) if x.ndim and y.ndim else apply("multiply", x, y)


def outer(a: Any, b: Any, out: Any = None) -> NDArray:
    """Every product of an element of `a` and one of `b`, both flattened.

    >>> import gpuarray as ga
    >>> ga.outer([1, 2], [1, 10]).compute()
    array([[ 1, 10],
           [ 2, 20]])

    Arguments as in `numpy.outer`.
    """
    return into(out, apply("multiply", ravel(a)[:, None], ravel(b)[None, :]))


def tensordot(a: Any, b: Any, axes: Any = 2) -> NDArray:
    """Sums of products over several axes.

    >>> import gpuarray as ga
    >>> ga.tensordot(ga.ones((2, 3, 4)), ga.ones((3, 4, 5))).compute()[0, 0]
    np.float64(12.0)

    Arguments as in `numpy.tensordot`. Raises ValueError where the axes differ in number or length, AxisError out of
    range.
    """
    x, y = asarray(a), asarray(b)
    first, second = _contracted(axes, x, y)
    lengths = [x.shape[i] for i in first]
    if lengths != [y.shape[i] for i in second]:
        raise ValueError(
            f"tensordot of shapes {x.shape} and {y.shape} over axes {first} and {second}: their lengths must be equal"
        )
    rows = [i for i in range(x.ndim) if i not in first]
    columns = [i for i in range(y.ndim) if i not in second]
    shape = (*(x.shape[i] for i in rows), *(y.shape[i] for i in columns))
    k = math.prod(lengths)
    left = reshaped(permuted(x.node, (*rows, *first)), (math.prod(x.shape[i] for i in rows), k))
    right = reshaped(permuted(y.node, (*second, *columns)), (k, math.prod(y.shape[i] for i in columns)))
    return NDArray(reshaped(product(left, right), shape))


def _contracted(axes: Any, x: NDArray, y: NDArray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes of both arrays that a tensordot sums over."""
    if hasattr(axes, "__index__"):
        n = operator.index(axes)
        if not 0 <= n <= min(x.ndim, y.ndim):
            raise ValueError(
                f"axes={n} must lie between 0 and {min(x.ndim, y.ndim)} for shapes {x.shape} and {y.shape}"
            )
        return tuple(range(x.ndim - n, x.ndim)), tuple(range(n))
    first, second = axes
    made = ordered_axes(first, x.ndim), ordered_axes(second, y.ndim)
    if len(made[0]) != len(made[1]):
        raise ValueError(f"axes={axes} must name as many axes of the first array as of the second")
    return made


def _operator(self: NDArray, other: Any) -> Any:
    return matmul(self, other) if isinstance(other, (NDArray, np.ndarray, list, tuple)) else NotImplemented


def _reflected(self: NDArray, other: Any) -> Any:
    return matmul(other, self) if isinstance(other, (np.ndarray, list, tuple)) else NotImplemented


def _inplace(self: NDArray, other: Any) -> Any:
    return matmul(self, other, out=self) if isinstance(other, (NDArray, np.ndarray, list, tuple)) else NotImplemented


install("__matmul__", _operator)
install("__rmatmul__", _reflected)
install("__imatmul__", _inplace)
install("dot", dot)
