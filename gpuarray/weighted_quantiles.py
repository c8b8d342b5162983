"""Quantiles of elements that count as much as their weights say: a sort, a cumulative sum, and a pass to look."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import normalize_axes, permuted
from gpuarray.elementwise import apply, cast
from gpuarray.graph.select import Select
from gpuarray.joining import stack
from gpuarray.kernels import ordering
from gpuarray.manipulation import broadcast_to, reshape
from gpuarray.rearranging import PACKED, as_complex, rearranged, together
from gpuarray.reductions import all as every
from gpuarray.reductions import min as least
from gpuarray.sorting import argsort, sort, sort_with_positions

FLOAT64 = np.dtype(np.float64)
NEGATIVE = "Weights must be non-negative."


def checked_weights(weights: Any, x: NDArray, axis: Any, method: str) -> NDArray:
    """Weights in the shape of the array, checked as NumPy checks them; those of lazy arrays when they are computed."""
    if method != "inverted_cdf":
        raise ValueError(f"Only method 'inverted_cdf' supports weights. Got: {method}.")
    w = asarray(weights)
    if w.dtype.kind not in "biuf":
        raise TypeError(f"weights must be real numbers, got dtype {w.dtype}")
    if not isinstance(weights, NDArray) and np.any(np.asarray(weights) < 0):
        raise ValueError(NEGATIVE)
    if w.shape == x.shape:
        return w
    if axis is None:
        raise TypeError(f"Axis must be specified when shapes of a and weights differ: {x.shape} and {w.shape}")
    axes = normalize_axes(axis, x.ndim)
    given = (axis,) if np.ndim(axis) == 0 else tuple(axis)
    order = [a % x.ndim for a in given]
    if w.shape != tuple(x.shape[a] for a in order):
        raise ValueError(
            f"Shape of weights must be consistent with shape of a along specified axis: weights have shape {w.shape}, "
            f"a has {x.shape}, axis={axis}"
        )
    w = NDArray(permuted(w.node, tuple(int(k) for k in np.argsort(order))))
    return broadcast_to(reshape(w, tuple(n if a in axes else 1 for a, n in enumerate(x.shape))), x.shape)


def weighted(x: NDArray, w: NDArray, q: np.ndarray[Any, Any], axes: tuple[int, ...], skip: bool) -> NDArray:
    """For each of the numbers `q`, which are the first axis, the element up to which that share of the weights is."""
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    shape = tuple(x.shape[a] for a in kept)
    n = math.prod(x.shape[a] for a in axes)
    x, w = (reshape(NDArray(permuted(a.node, (*kept, *axes))), (*shape, n)) for a in (x, w.astype(FLOAT64)))
    w = w.rechunk(x.chunks)
    absent = None
    if skip:
        absent = apply("isnan", x)
        x, w = apply("where", absent, x.dtype.type(np.inf), x), apply("where", absent, 0.0, w)
        absent = every(absent, axis=-1, keepdims=True)
    values, weights = _sorted(x, w)
    sums = weights.cumsum(axis=-1)
    total = sums[..., -1:]
    nodes = [sums, total] if absent is None else [sums, total, absent]
    dtype = q.dtype if q.dtype.kind == "f" else FLOAT64
    shares = together(_shares, (("dtype", dtype),), dtype, "weighted quantile", *nodes)
    last = np.asarray(np.inf if x.dtype.kind == "f" else ordering.last(x.dtype), x.dtype)
    found = []
    for one in q.ravel():
        reached = apply("greater_equal", shares, one) & apply("greater", shares, dtype.type(0))
        made = least(apply("where", reached, values, last), axis=-1)
        found.append(made if absent is None else apply("where", absent[..., 0], x.dtype.type(np.nan), made))
    return stack(found, axis=0) if found else NDArray(Select((0, *shape), (), cast(asarray(last).node, x.dtype)))


def _sorted(x: NDArray, w: NDArray) -> tuple[NDArray, NDArray]:
    """Sorted rows, and the weights of their elements."""
    if x.dtype.itemsize <= 4 or x.dtype == FLOAT64:  # a float64 holds them, so values and weights are sorted as one
        pairs = sort(together(_paired, (), PACKED, "weighted quantile", x, w, kept=True))
        return apply("real", pairs).astype(x.dtype), apply("imag", pairs)
    w = together(_checked, (), FLOAT64, "weighted quantile", w)
    values, positions = sort_with_positions(x)
    return values, rearranged(w, argsort(positions))


def _paired(xp: Any, x: Any, w: Any) -> Any:
    return as_complex(xp, x, _checked(xp, w))


def _checked(xp: Any, w: Any) -> Any:
    if bool((w < 0).any()):
        raise ValueError(NEGATIVE)
    if bool(xp.isnan(w).any()):
        raise ValueError(USELESS)
    return w


USELESS = "Weights included NaN, inf or were all zero."


def _shares(xp: Any, sums: Any, total: Any, *absent: Any, dtype: np.dtype[Any]) -> Any:
    """Which share of the weights is reached at each element."""
    wrong = ~(xp.isfinite(total) & (total > 0))
    if absent:
        wrong = wrong & ~absent[0]
    if bool(wrong.any()):
        raise ValueError(USELESS)
    return (sums / total).astype(dtype)
