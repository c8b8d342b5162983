"""Medians, quantiles and percentiles: exact, of arrays of any size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import normalize_axes, permuted
from gpuarray.dimensions import moveaxis
from gpuarray.elementwise import into
from gpuarray.graph.leaves import Const
from gpuarray.graph.node import Node
from gpuarray.graph.select import Select
from gpuarray.graph.selection import quantile as quantile_node
from gpuarray.kernels.errors import UnsupportedDTypeError
from gpuarray.kernels.quantiles import EXACT, METHODS
from gpuarray.manipulation import reshape
from gpuarray.weighted_quantiles import checked_weights, weighted

Axis = int | tuple[int, ...] | None


def _over(
    x: NDArray, q: tuple[float, ...], axis: Any, method: str, skip: bool, dtype: np.dtype[Any], keepdims: bool
) -> NDArray:
    """Quantiles over axes; those of the list `q` are the first axis."""
    axes = normalize_axes(axis, x.ndim)
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    node = permuted(x.node, (*kept, *axes))
    made: Node
    if not axes:  # of every element alone
        node = Select((*node.shape, 1), tuple((a, range(n)) for a, n in enumerate(node.shape)), node)
    if math.prod(node.shape[len(kept) :]):
        made = quantile_node(max(1, len(axes)), q, method, skip, dtype, node)
    else:
        made = Select((*node.shape[: len(kept)], len(q)), (), Const.of(np.nan, dtype))
    result = moveaxis(NDArray(made), -1, 0)
    if keepdims:
        result = reshape(result, (len(q), *(1 if a in axes else n for a, n in enumerate(x.shape))))
    return result


def _real(a: Any, what: str) -> NDArray:
    x = asarray(a)
    if x.dtype.kind == "c":
        raise TypeError(f"{what} takes real numbers: complex ones, as in a, have no order")
    if x.dtype.kind not in "biuf":
        raise UnsupportedDTypeError(f"{what} of {x.dtype} is not supported; cast with astype first")
    return x


def _median(a: Any, axis: Axis, out: Any, keepdims: bool, skip: bool) -> NDArray:
    x = asarray(a)
    if x.dtype.kind not in "biufc":
        raise UnsupportedDTypeError(f"medians of {x.dtype} are not supported; cast with astype first")
    dtype = x.dtype if x.dtype.kind in "fc" else np.dtype(np.float64)
    return into(out, _over(x, (0.5,), axis, "median", skip and x.dtype.kind in "fc", dtype, keepdims)[0])


def median(
    a: Any, axis: Axis = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False
) -> NDArray:
    """The middle of the sorted elements over axes, or the mean of the two in the middle; NaN if there is one.

    >>> import gpuarray as ga
    >>> ga.median(ga.asarray([[7, 1, 2], [4, 4, 9]]), axis=1).compute()
    array([2., 4.])

    Arguments as in `numpy.median`. Rows that fit a task are sorted. Of longer ones, of all dtypes but complex, elements
    are selected exactly, in one pass over the data for each two bytes of an element: four for float64, two for float32.
    Raises AxisError out of range.
    """
    return _median(a, axis, out, keepdims, False)


def nanmedian(
    a: Any, axis: Axis = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False
) -> NDArray:
    """The median of the elements that are not NaN; NaN where there are none.

    >>> import gpuarray as ga
    >>> ga.nanmedian([1.0, float("nan"), 4.0]).compute()
    array(2.5)

    Arguments as in `numpy.nanmedian`; see `median`.
    """
    return _median(a, axis, out, keepdims, True)


def _quantile(
    a: Any, q: Any, scale: float, axis: Axis, out: Any, method: str, keepdims: bool, weights: Any, skip: bool, what: str
) -> NDArray:
    x = _real(a, what)
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not a valid method; use one of {', '.join(map(repr, METHODS))}")
    wanted = np.asarray(q)
    if wanted.dtype.kind not in "biuf":
        raise TypeError(f"q must be real numbers, got dtype {wanted.dtype}")
    if wanted.ndim > 2:
        raise ValueError(f"q must be a scalar or have one dimension, got shape {wanted.shape}")
    exact = wanted.astype(np.float64) / scale
    if not bool(((exact >= 0) & (exact <= 1)).all()):
        raise ValueError(f"Quantiles must be in the range [0, 1], percentiles in [0, 100]; got {q}")
    axes = normalize_axes(axis, x.ndim)
    heavy = None if weights is None else checked_weights(weights, x, axis, method)
    if not all(x.shape[i] for i in axes) and all(n for i, n in enumerate(x.shape) if i not in axes):
        if not skip:
            raise IndexError(f"{what} of no elements: shape {x.shape}, axis {axis}")
        dtype = np.result_type(x.dtype, np.float64) if x.dtype.kind != "f" else x.dtype
    else:
        dtype = _result(x.dtype, q, scale, method)
    if scale == 1 and method == "linear" and wanted.dtype.kind in "iu":
        method = "lower"  # whole numbers ask for elements, as NumPy has it
    if x.dtype == bool and method not in EXACT:
        raise TypeError(f"{what} of booleans takes a difference, which they do not have; cast with astype first")
    skip = skip and x.dtype.kind == "f"
    if heavy is not None and x.size and axes:
        shares = np.asanyarray(
            q if scale == 1 else np.true_divide(q, x.dtype.type(100) if x.dtype.kind == "f" else 100)
        )
        made = weighted(x, heavy, shares, axes, skip)
        if keepdims:
            made = reshape(made, (-1, *(1 if a in axes else n for a, n in enumerate(x.shape))))
        return into(out, reshape(made, (*wanted.shape, *made.shape[1:])))
    made = _over(x, tuple(exact.ravel().tolist()), axes, method, skip, dtype, keepdims)
    return into(out, reshape(made, (*wanted.shape, *made.shape[1:])))


def _result(dtype: np.dtype[Any], q: Any, scale: float, method: str) -> np.dtype[Any]:
    """The dtype that NumPy gives."""
    if dtype.kind == "b":
        return dtype
    function: Any = np.quantile if scale == 1 else np.percentile
    found: np.dtype[Any] = function(np.zeros(1, dtype), q, method=method).dtype
    return found


def quantile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> NDArray:
    """Quantiles over axes, of numbers `q` from 0 to 1; NaN if there is one.

    >>> import gpuarray as ga
    >>> ga.quantile(ga.arange(11), [0.5, 0.75]).compute()
    array([5. , 7.5])

    Arguments as in `numpy.quantile`, with all its methods. Passes over the data as in `median`; about ten quantiles are
    selected at once with a limit of 500 MiB, more take more passes. With `weights` (and method="inverted_cdf", as NumPy
    has it) values and weights are sorted together, externally where they must be. Raises ValueError for `q` out of
    range, unknown methods, and weights that are negative, of another shape, not finite or all zero (those of lazy
    arrays when they are computed), IndexError where there are no elements, TypeError for complex numbers.
    """
    return _quantile(a, q, 1, axis, out, method, keepdims, weights, False, "quantile")


def percentile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> NDArray:
    """Percentiles over axes, of numbers `q` from 0 to 100; NaN if there is one.

    >>> import gpuarray as ga
    >>> ga.percentile(ga.arange(11), 90).compute()
    array(9.)

    Arguments as in `numpy.percentile`; see `quantile`.
    """
    return _quantile(a, q, 100, axis, out, method, keepdims, weights, False, "percentile")


def nanquantile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> NDArray:
    """Quantiles of the elements that are not NaN; NaN where there are none.

    >>> import gpuarray as ga
    >>> ga.nanquantile([1.0, float("nan"), 3.0], 0.5).compute()
    array(2.)

    Arguments as in `numpy.nanquantile`; see `quantile`.
    """
    return _quantile(a, q, 1, axis, out, method, keepdims, weights, True, "nanquantile")


def nanpercentile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> NDArray:
    """Percentiles of the elements that are not NaN; NaN where there are none.

    >>> import gpuarray as ga
    >>> ga.nanpercentile([1.0, float("nan"), 3.0], 50).compute()
    array(2.)

    Arguments as in `numpy.nanpercentile`; see `quantile`.
    """
    return _quantile(a, q, 100, axis, out, method, keepdims, weights, True, "nanpercentile")
