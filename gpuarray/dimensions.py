"""The axes of an array: their order, new ones, and those of length one. All are views."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpuarray import views
from gpuarray.array import NDArray, asarray, install
from gpuarray.axes import normalize_axes, normalize_axis, ordered_axes


def transpose(a: Any, axes: Any = None) -> NDArray:
    """A view with the axes in another order, by default reversed.

    >>> import gpuarray as ga
    >>> ga.transpose([[1, 2, 3], [4, 5, 6]]).compute()
    array([[1, 4],
           [2, 5],
           [3, 6]])

    Arguments as in `numpy.transpose`. Raises ValueError where `axes` is no permutation, AxisError out of range.
    """
    x = asarray(a)
    if axes is None:
        return views.transposed(x, tuple(range(x.ndim))[::-1])
    order = ordered_axes(axes, x.ndim)
    if len(order) != x.ndim:
        raise ValueError(f"axes={axes} do not match an array of {x.ndim} dimensions; name each axis once")
    return views.transposed(x, order)


def permute_dims(a: Any, /, axes: Any) -> NDArray:
    """A view with the axes in another order: `transpose` under its name in the array API standard.

    >>> import gpuarray as ga
    >>> ga.permute_dims(ga.ones((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    return transpose(a, axes)


def matrix_transpose(x: Any, /) -> NDArray:
    """A view with the last two axes swapped.

    >>> import gpuarray as ga
    >>> ga.matrix_transpose(ga.ones((5, 2, 3))).shape
    (5, 3, 2)

    Raises ValueError for fewer than two dimensions.
    """
    array = asarray(x)
    if array.ndim < 2:
        raise ValueError(f"a matrix transpose takes at least 2 dimensions, got shape {array.shape}")
    return swapaxes(array, -2, -1)


def swapaxes(a: Any, axis1: int, axis2: int) -> NDArray:
    """A view with two axes swapped.

    >>> import gpuarray as ga
    >>> ga.swapaxes(ga.ones((2, 3, 4)), 0, 2).shape
    (4, 3, 2)

    Arguments as in `numpy.swapaxes`. Raises AxisError out of range.
    """
    x = asarray(a)
    i, j = normalize_axis(axis1, x.ndim), normalize_axis(axis2, x.ndim)
    order = list(range(x.ndim))
    order[i], order[j] = j, i
    return views.transposed(x, tuple(order))


def moveaxis(a: Any, source: Any, destination: Any) -> NDArray:
    """A view with axes moved to other places; the rest keep their order.

    >>> import gpuarray as ga
    >>> ga.moveaxis(ga.ones((2, 3, 4)), 0, -1).shape
    (3, 4, 2)

    Arguments as in `numpy.moveaxis`. Raises ValueError for different numbers of axes, AxisError out of range.
    """
    x = asarray(a)
    start, end = ordered_axes(source, x.ndim), ordered_axes(destination, x.ndim)
    if len(start) != len(end):
        raise ValueError(f"source={source} and destination={destination} must name as many axes")
    order = [n for n in range(x.ndim) if n not in start]
    for to, of in sorted(zip(end, start, strict=True)):
        order.insert(to, of)
    return views.transposed(x, tuple(order))


def rollaxis(a: Any, axis: int, start: int = 0) -> NDArray:
    """A view with one axis moved before another; `moveaxis` is easier to read.

    >>> import gpuarray as ga
    >>> ga.rollaxis(ga.ones((3, 4, 5)), 2).shape
    (5, 3, 4)

    Arguments as in `numpy.rollaxis`. Raises AxisError out of range.
    """
    x = asarray(a)
    axis = normalize_axis(axis, x.ndim)
    before = start + x.ndim if start < 0 else start
    if not 0 <= before <= x.ndim:
        raise np.exceptions.AxisError(start, x.ndim)
    return moveaxis(x, axis, before - 1 if axis < before else before)


def squeeze(a: Any, axis: Any = None) -> NDArray:
    """A view without axes of length one: all of them, or those that `axis` names.

    >>> import gpuarray as ga
    >>> ga.squeeze(ga.ones((1, 3, 1))).shape
    (3,)

    Arguments as in `numpy.squeeze`. Raises ValueError for an axis of another length, AxisError out of range.
    """
    x = asarray(a)
    ones = tuple(a for a, n in enumerate(x.shape) if n == 1)
    axes = ones if axis is None else normalize_axes(axis, x.ndim)
    for i in axes:
        if i not in ones:
            raise ValueError(f"cannot squeeze axis {i} of length {x.shape[i]} (shape {x.shape}); only length 1 can go")
    return views.reshaped(x, tuple(n for a, n in enumerate(x.shape) if a not in axes))


def expand_dims(a: Any, axis: Any = 0) -> NDArray:
    """A view with new axes of length one at the places `axis` of the result.

    >>> import gpuarray as ga
    >>> ga.expand_dims(ga.ones((2, 3)), (0, -1)).shape
    (1, 2, 3, 1)

    Arguments as in `numpy.expand_dims`. Raises AxisError out of range.
    """
    x = asarray(a)
    new = len(axis) if isinstance(axis, (tuple, list)) else 1
    return _with_ones(x, normalize_axes(axis, x.ndim + new))


def _with_ones(x: NDArray, places: tuple[int, ...]) -> NDArray:
    """A view with axes of length one at places of the result; the array itself where there are none."""
    if not places:
        return x
    lengths = iter(x.shape)
    return views.reshaped(x, tuple(1 if a in places else next(lengths) for a in range(x.ndim + len(places))))


def _at_least(ndim: int, arrays: tuple[Any, ...]) -> Any:
    made = []
    for a in arrays:
        x = asarray(a)
        # NumPy's: a vector becomes a row, and in three dimensions its axis is the middle one.
        places = {(0, 1): (0,), (0, 2): (0, 1), (1, 2): (0,), (0, 3): (0, 1, 2), (1, 3): (0, 2), (2, 3): (2,)}
        made.append(_with_ones(x, places.get((x.ndim, ndim), ())))
    return made[0] if len(made) == 1 else tuple(made)


def atleast_1d(*arys: Any) -> Any:
    """Each array with at least one axis.

    >>> import gpuarray as ga
    >>> ga.atleast_1d(3).shape
    (1,)
    """
    return _at_least(1, arys)


def atleast_2d(*arys: Any) -> Any:
    """Each array with at least two axes; a vector becomes a row.

    >>> import gpuarray as ga
    >>> ga.atleast_2d([1, 2]).shape
    (1, 2)
    """
    return _at_least(2, arys)


def atleast_3d(*arys: Any) -> Any:
    """Each array with at least three axes.

    >>> import gpuarray as ga
    >>> ga.atleast_3d([1, 2]).shape
    (1, 2, 1)
    """
    return _at_least(3, arys)


def ndim(a: Any) -> int:
    """Number of axes.

    >>> import gpuarray as ga
    >>> ga.ndim(ga.ones((2, 3)))
    2
    """
    return a.ndim if isinstance(a, NDArray) else np.ndim(a)


def shape(a: Any) -> tuple[int, ...]:
    """Lengths of the axes.

    >>> import gpuarray as ga
    >>> ga.shape(ga.ones((2, 3)))
    (2, 3)
    """
    return a.shape if isinstance(a, NDArray) else np.shape(a)


def size(a: Any, axis: Any = None) -> int:
    """Number of elements, or of those along an axis.

    >>> import gpuarray as ga
    >>> ga.size(ga.ones((2, 3))), ga.size(ga.ones((2, 3)), 1)
    (6, 3)

    Raises AxisError out of range.
    """
    lengths = shape(a)
    return math.prod(lengths[i] for i in ordered_axes(axis, len(lengths)))


def _method_transpose(self: NDArray, *axes: Any) -> NDArray:
    """A view with the axes in another order; see `gpuarray.transpose`."""
    given = axes[0] if len(axes) == 1 and not hasattr(axes[0], "__index__") else axes or None
    return transpose(self, given)


install("transpose", _method_transpose)
install("swapaxes", swapaxes)
install("squeeze", squeeze)
install("T", property(transpose, doc="A view with the axes reversed."))
install("mT", property(matrix_transpose, doc="A view with the last two axes swapped."))
