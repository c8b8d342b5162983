"""Numerical derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import ordered_axes, sliced
from gpuarray.elementwise import apply, cast
from gpuarray.joining import concatenate
from gpuarray.manipulation import reshape
from gpuarray.numeric import diff


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Derivatives along axes, by central differences; one-sided at the ends.

    >>> import gpuarray as ga
    >>> ga.gradient([1.0, 2.0, 4.0, 7.0, 11.0]).compute()
    array([1. , 1.5, 2.5, 3.5, 4. ])

    Parameters
    ----------
    f : array
    *varargs : the spacing: nothing for 1, one scalar for all axes, or for each axis a scalar or the coordinates
    axis : an axis or several; None is all of them
    edge_order : 1 or 2, the order of the differences at the ends

    Returns an array, or a tuple with one for each of several axes, as `numpy.gradient`. Raises ValueError for axes
    shorter than ``edge_order + 1`` and coordinates of another length, TypeError for a wrong number of spacings.
    """
    x = asarray(f)
    axes = ordered_axes(axis, x.ndim)
    if edge_order not in (1, 2):
        raise ValueError(f"edge_order={edge_order!r} must be 1 or 2")
    steps = _spacings(varargs, [x.shape[a] for a in axes])
    x, dtype = _differentiable(x)
    made = []
    for a, dx in zip(axes, steps, strict=True):
        if x.shape[a] < edge_order + 1:
            raise ValueError(
                f"axis {a} has {x.shape[a]} elements; a gradient with edge_order={edge_order} takes at least "
                f"{edge_order + 1}"
            )
        interior = _interior(x, a, dx)
        first, last = _one_sided(x, a, dx) if edge_order == 1 else _second_order(x, a, dx)
        made.append(concatenate([NDArray(cast(p.node, dtype)) for p in (first, interior, last)], axis=a))
    return made[0] if len(made) == 1 else tuple(made)


def _differentiable(x: NDArray) -> tuple[NDArray, np.dtype[Any]]:
    """The array as its differences are taken, and the dtype of its gradient."""
    if x.dtype.kind == "M":
        start = np.zeros((), x.dtype)
        x = apply("subtract", x, start)
    if x.dtype.kind in "mfc":
        return x, x.dtype
    if x.dtype.kind in "iu":
        x = NDArray(cast(x.node, np.dtype(np.float64)))
    return x, np.dtype(np.float64)


def _spacings(given: tuple[Any, ...], lengths: list[int]) -> list[Any]:
    """For each axis a scalar, or the distances between neighbours."""
    if not given:
        return [1.0] * len(lengths)
    if len(given) == 1 and np.ndim(given[0]) == 0:
        return [_scalar(given[0])] * len(lengths)
    if len(given) != len(lengths):
        raise TypeError(
            f"gradient takes no spacing, one scalar, or one spacing for each of the {len(lengths)} axes; got "
            f"{len(given)}"
        )
    made: list[Any] = []
    for distances, n in zip(given, lengths, strict=True):
        ndim = distances.ndim if isinstance(distances, NDArray) else np.ndim(distances)
        if ndim == 0:
            made.append(_scalar(distances))
            continue
        shape = distances.shape if isinstance(distances, NDArray) else np.shape(distances)
        if shape != (n,):
            raise ValueError(f"coordinates of shape {shape} along an axis of {n} elements must have shape ({n},)")
        made.append(_distances(distances))
    return made


def _scalar(value: Any) -> Any:
    """A spacing; a Python number stays one, and leaves the dtype of the array alone."""
    return value if isinstance(value, (int, float, complex, NDArray, np.generic)) else np.asarray(value)[()]


def _distances(coordinates: Any) -> Any:
    """The distances between coordinates: a scalar where they are known and all the same."""
    if isinstance(coordinates, NDArray):
        x = coordinates
        return diff(x.astype(np.float64) if x.dtype.kind in "iu" else x)
    known = np.asarray(coordinates)
    steps = np.diff(known.astype(np.float64) if known.dtype.kind in "iu" else known)
    return steps[0] if len(steps) and (steps == steps[0]).all() else asarray(steps)


def _is_even(dx: Any) -> bool:
    return not isinstance(dx, NDArray) or dx.ndim == 0


def _part(x: NDArray, axis: int, start: int, stop: int) -> NDArray:
    return NDArray(sliced(x.node, axis, range(x.shape[axis])[slice(start, stop or None)]))


def _interior(x: NDArray, axis: int, dx: Any) -> NDArray:
    below, above = _part(x, axis, 0, -2), _part(x, axis, 2, 0)
    if _is_even(dx):
        return apply("divide", apply("subtract", above, below), 2.0 * dx)
    d1, d2 = _part(dx, 0, 0, -1), _part(dx, 0, 1, 0)
    a, b, c = -d2 / (d1 * (d1 + d2)), (d2 - d1) / (d1 * d2), d1 / (d2 * (d1 + d2))
    shape = tuple(-1 if k == axis else 1 for k in range(x.ndim))
    a, b, c = (reshape(w, shape) for w in (a, b, c))
    return a * below + b * _part(x, axis, 1, -1) + c * above


def _one_sided(x: NDArray, axis: int, dx: Any) -> tuple[NDArray, NDArray]:
    """The ends, by the difference of two elements."""
    first, last = (dx, dx) if _is_even(dx) else (dx[0], dx[-1])
    n = x.shape[axis]
    start = apply("subtract", _part(x, axis, 1, 2), _part(x, axis, 0, 1))
    stop = apply("subtract", _part(x, axis, n - 1, n), _part(x, axis, n - 2, n - 1))
    return apply("divide", start, first), apply("divide", stop, last)


def _second_order(x: NDArray, axis: int, dx: Any) -> tuple[NDArray, NDArray]:
    """The ends, by the derivative of the parabola through three elements."""
    n = x.shape[axis]
    if _is_even(dx):
        start, stop = (-1.5 / dx, 2.0 / dx, -0.5 / dx), (0.5 / dx, -2.0 / dx, 1.5 / dx)
    else:
        d1, d2 = dx[0], dx[1]
        start = (-(2.0 * d1 + d2) / (d1 * (d1 + d2)), (d1 + d2) / (d1 * d2), -d1 / (d2 * (d1 + d2)))
        d1, d2 = dx[-2], dx[-1]
        stop = (d2 / (d1 * (d1 + d2)), -(d2 + d1) / (d1 * d2), (2.0 * d2 + d1) / (d2 * (d1 + d2)))
    ends = []
    for at, weights in ((0, start), (n - 3, stop)):
        terms = [apply("multiply", w, _part(x, axis, at + k, at + k + 1)) for k, w in enumerate(weights)]
        ends.append(terms[0] + terms[1] + terms[2])
    return ends[0], ends[1]
