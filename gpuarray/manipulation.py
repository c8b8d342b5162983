"""The same elements under another shape, direction or dtype. No data is touched."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from gpuarray import views
from gpuarray.array import NDArray, asarray, install
from gpuarray.axes import (
    as_shape,
    normalize_axes,
    normalize_axis,
    ordered_axes,
    permuted,
    sliced,
    with_new_axes,
    without_axes,
)
from gpuarray.checks import check_dtype
from gpuarray.dimensions import swapaxes
from gpuarray.elementwise import cast
from gpuarray.graph.move import Concat, Rechunk, Reshape
from gpuarray.graph.node import Node

# Shapes.


def reshaped(node: Node, shape: tuple[int, ...]) -> Node:
    """The elements in C order under another shape, of as many elements; a view where only axes of length one differ."""
    if shape == node.shape:
        return node
    if 0 not in shape and [n for n in shape if n != 1] == [n for n in node.shape if n != 1]:
        inner = without_axes(node, tuple(a for a, n in enumerate(node.shape) if n == 1))
        return with_new_axes(inner, tuple(a for a, n in enumerate(shape) if n == 1))
    made: Node = Reshape(shape, node)
    return made


def reversed_axes(node: Node) -> Node:
    return permuted(node, tuple(range(node.ndim))[::-1])


def _full_shape(shape: Any, size: int) -> tuple[int, ...]:
    """The shape with -1 filled in."""
    lengths = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    try:
        lengths = tuple(operator.index(n) for n in lengths)
    except TypeError:
        raise TypeError(
            f"shape={shape!r} is no shape: the length of an axis is an integer, or -1 for the rest"
        ) from None
    unknown = [a for a, n in enumerate(lengths) if n == -1]
    if len(unknown) > 1:
        raise ValueError(f"can only specify one unknown dimension, got shape {lengths}")
    known = math.prod(n for n in lengths if n != -1)
    if unknown and known > 0 and size % known == 0:
        lengths = tuple(size // known if n == -1 else n for n in lengths)
    if any(n < 0 for n in lengths) or math.prod(lengths) != size:
        raise ValueError(f"cannot reshape array of size {size} into shape {lengths}: the products must be equal")
    return lengths


def reshape(a: Any, /, shape: Any, order: str = "C", *, copy: bool | None = None) -> NDArray:
    """The same elements under another shape; one length may be -1.

    >>> import gpuarray as ga
    >>> ga.reshape(ga.arange(6), (2, -1)).compute()
    array([[0, 1, 2],
           [3, 4, 5]])

    Arguments as in `numpy.reshape`; `order` is "C", "F", or "A", which means "C". Raises ValueError where the
    numbers of elements differ.
    """
    x = asarray(a)
    if order not in ("C", "F", "A"):
        raise ValueError(f'order={order!r} is no order; write "C", "F" or "A"')
    lengths = _full_shape(shape, x.size)
    if order == "F":
        return NDArray(reversed_axes(reshaped(reversed_axes(x.node), lengths[::-1])))
    return views.reshaped(x, lengths)


def ravel(a: Any, order: str = "C") -> NDArray:
    """All elements along one axis.

    >>> import gpuarray as ga
    >>> ga.ravel([[1, 2], [3, 4]]).compute()
    array([1, 2, 3, 4])

    Arguments as in `numpy.ravel`; "K" and "A" mean "C".
    """
    x = asarray(a)
    if order in ("C", "K", "A"):
        return views.reshaped(x, (x.size,), ravel=True)
    return reshape(x, (x.size,), order)


def broadcast_to(array: Any, shape: Any, subok: bool = False) -> NDArray:
    """A view with a larger shape, in which axes of length one are repeated.

    >>> import gpuarray as ga
    >>> ga.broadcast_to([1, 2], (3, 2)).compute()
    array([[1, 2],
           [1, 2],
           [1, 2]])

    Arguments as in `numpy.broadcast_to`. Raises ValueError where the shapes do not fit.
    """
    from gpuarray.indexing import broadcast

    x, lengths = asarray(array), as_shape(shape)
    try:
        fits = np.broadcast_shapes(x.shape, lengths) == lengths
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"an array of shape {x.shape} cannot be broadcast to {lengths}: each axis, counted from the last, must "
            "have that length or length 1"
        )
    return NDArray(broadcast(x.node, lengths))


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape that shapes broadcast to.

    >>> import gpuarray as ga
    >>> ga.broadcast_shapes((3, 1), (4,))
    (3, 4)

    Raises ValueError where they do not.
    """
    lengths = [as_shape(s) for s in shapes]
    try:
        return np.broadcast_shapes(*lengths)
    except ValueError:
        raise ValueError(
            f"shapes {' '.join(map(str, lengths))} do not broadcast together: each axis, counted from the last, must "
            "have equal lengths or length 1"
        ) from None


def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[NDArray, ...]:
    """Views of arrays with the shape that they broadcast to.

    >>> import gpuarray as ga
    >>> [x.shape for x in ga.broadcast_arrays([[1], [2]], [1, 2, 3])]
    [(2, 3), (2, 3)]

    Raises ValueError where they do not broadcast.
    """
    arrays = [asarray(a) for a in args]
    shape = broadcast_shapes(*(x.shape for x in arrays))
    return tuple(broadcast_to(x, shape) for x in arrays)


# Directions.


def flip(m: Any, axis: Any = None) -> NDArray:
    """A view backwards along axes, by default all.

    >>> import gpuarray as ga
    >>> ga.flip([[1, 2], [3, 4]], axis=1).compute()
    array([[2, 1],
           [4, 3]])

    Arguments as in `numpy.flip`. Raises AxisError out of range.
    """
    x = asarray(m)
    axes = normalize_axes(axis, x.ndim)
    return x[tuple(slice(None, None, -1 if a in axes else 1) for a in range(x.ndim))]


def fliplr(m: Any) -> NDArray:
    """A view backwards along the second axis.

    >>> import gpuarray as ga
    >>> ga.fliplr([[1, 2], [3, 4]]).compute()
    array([[2, 1],
           [4, 3]])

    Raises AxisError (a ValueError) for fewer than two dimensions.
    """
    return flip(m, 1)


def flipud(m: Any) -> NDArray:
    """A view backwards along the first axis.

    >>> import gpuarray as ga
    >>> ga.flipud([1, 2, 3]).compute()
    array([3, 2, 1])

    Raises AxisError (a ValueError) for no dimensions.
    """
    return flip(m, 0)


def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> NDArray:
    """A view turned by `k` times 90 degrees in the plane of two axes, from the first towards the second.

    >>> import gpuarray as ga
    >>> ga.rot90([[1, 2], [3, 4]]).compute()
    array([[2, 4],
           [1, 3]])

    Arguments as in `numpy.rot90`. Raises ValueError unless `axes` are two different ones.
    """
    x = asarray(m)
    plane = tuple(axes)
    if len(plane) != 2:
        raise ValueError(f"axes={axes} must be two axes")
    first, second = ordered_axes(plane, x.ndim)
    turns = operator.index(k) % 4
    if turns == 2:
        return flip(x, (first, second))
    if turns == 1:
        return swapaxes(flip(x, second), first, second)
    return flip(swapaxes(x, first, second), second) if turns == 3 else x


def roll(a: Any, shift: Any, axis: Any = None) -> NDArray:
    """Elements moved along axes; those that leave at the end come in at the beginning.

    >>> import gpuarray as ga
    >>> ga.roll(ga.arange(5), 2).compute()
    array([3, 4, 0, 1, 2])

    Arguments as in `numpy.roll`; without `axis` the flattened array is rolled. Raises AxisError out of range,
    ValueError for numbers of shifts and axes that do not broadcast.
    """
    x = asarray(a)
    if axis is None:
        flat = roll(ravel(x), int(np.sum(shift)), 0)
        return reshape(flat, x.shape).rechunk(x.chunks)
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    shifts = tuple(shift) if isinstance(shift, (tuple, list, np.ndarray)) and np.ndim(shift) else (shift,)
    if len(axes) != len(shifts) and 1 not in (len(axes), len(shifts)):
        raise ValueError(f"shift={shift} and axis={axis} must have as many entries, or one of them a single one")
    node, many = x.node, max(len(axes), len(shifts))
    for s, i in zip(shifts * (many // len(shifts)), axes * (many // len(axes)), strict=True):
        i = normalize_axis(i, x.ndim)
        n = node.shape[i]
        by = operator.index(s) % n if n else 0
        if by:
            node = Concat(i, sliced(node, i, range(n - by, n)), sliced(node, i, range(n - by)))
    return NDArray(node if node.chunks == x.chunks else Rechunk(x.chunks, node))


# Types and copies.


def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """The dtype that NumPy's promotion gives arrays, dtypes and Python scalars together.

    >>> import gpuarray as ga
    >>> ga.result_type(ga.ones(2, dtype="float32"), 1.5)
    dtype('float32')

    Raises TypeError where there is none.
    """
    return np.result_type(*(a.dtype if isinstance(a, NDArray) else a for a in arrays_and_dtypes))


def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    """Whether a dtype, or an array's, may be cast to another.

    >>> import gpuarray as ga
    >>> ga.can_cast(ga.float64, ga.float32), ga.can_cast("int32", "float64")
    (False, True)
    """
    return np.can_cast(from_.dtype if isinstance(from_, NDArray) else from_, to, casting)


def astype(x: Any, dtype: Any, /, *, copy: bool = True, casting: Any = "unsafe", device: Any = None) -> NDArray:
    """The elements converted to another dtype.

    >>> import gpuarray as ga
    >>> ga.astype(ga.asarray([1.5, -2.5]), int).compute()
    array([ 1, -2])

    Parameters
    ----------
    copy : means nothing here, because arrays are never changed in place
    casting : which conversions are allowed: "no", "equiv", "safe", "same_kind" or "unsafe"

    Raises TypeError for a conversion that `casting` does not allow. Warns as NumPy does where an imaginary part is
    dropped.
    """
    array, kind = asarray(x), np.dtype(dtype).newbyteorder("=")
    check_dtype(kind)
    if not np.can_cast(array.dtype, kind, casting):
        raise TypeError(
            f'cannot cast from {array.dtype} to {kind} with casting={casting!r}; casting="unsafe" allows it'
        )
    if array.dtype.kind == "c" and kind.kind in "iuf":
        import warnings

        message = "casting complex values to real discards the imaginary part; .real does so without a warning"
        warnings.warn(message, np.exceptions.ComplexWarning, stacklevel=2)
    return NDArray(cast(array.node, kind))


def copy(a: Any, order: Any = "K", subok: bool = False) -> NDArray:
    """A handle of its own on the same values: writing to one does not change the other.

    >>> import gpuarray as ga
    >>> x = ga.zeros(2)
    >>> y = ga.copy(x)
    >>> y[0] = 1
    >>> x.compute()
    array([0., 0.])

    Of an `NDArray` nothing is copied, because its data never changes. `order` and `subok` are NumPy's and mean nothing.
    """
    return asarray(a, order=order, copy=True)


# Methods.


def _method_reshape(self: NDArray, *shape: Any, order: str = "C", copy: bool | None = None) -> NDArray:
    """The same elements under another shape; see `gpuarray.reshape`."""
    return reshape(self, shape[0] if len(shape) == 1 else shape, order=order)


def _method_astype(
    self: NDArray, dtype: Any, order: str = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True
) -> NDArray:
    """The elements converted to another dtype; see `gpuarray.astype`."""
    return astype(self, dtype, casting=casting)


def _method_copy(self: NDArray, order: Any = "C") -> NDArray:
    """A handle of its own on the same values; see `gpuarray.copy`."""
    return copy(self)


def _method_flatten(self: NDArray, order: str = "C") -> NDArray:
    """A copy of all elements along one axis; see `gpuarray.ravel`."""
    return copy(ravel(self, order))


install("reshape", _method_reshape)
install("astype", _method_astype)
install("flatten", _method_flatten)
install("copy", _method_copy)
install("__copy__", copy)
install("__deepcopy__", _method_copy)
install("ravel", ravel)
