"""Sums and products of everything up to each position."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray, install
from gpuarray.axes import normalize_axis
from gpuarray.elementwise import apply, cast, into
from gpuarray.graph.cells import cells
from gpuarray.graph.leaves import Const
from gpuarray.graph.move import Concat
from gpuarray.graph.node import Node
from gpuarray.graph.scan import Scan
from gpuarray.graph.select import Select
from gpuarray.kernels.reductions import REDUCTIONS
from gpuarray.manipulation import ravel


def scan(op: str, a: Any, axis: Any, dtype: Any, out: Any = None) -> NDArray:
    """A scan of the table (``sum``, ``prod``, ``max``, ``min``) along an axis, or of the flattened array."""
    x = ravel(a) if axis is None or (not np.ndim(a) and axis in (0, -1)) else asarray(a)
    at = normalize_axis(0 if axis is None else axis, x.ndim)
    # NumPy's: small integers become the default integer, as in a sum
    kind = REDUCTIONS[op].operand(x.dtype, None if dtype is None else np.dtype(dtype))
    if not x.size:
        return into(out, NDArray(cast(x.node, kind)))
    pieces = cells(x.chunks, (at,))[at]
    assert pieces is not None  # the axis is among those it cuts
    return into(out, NDArray(Scan(op, at, pieces, kind, cast(x.node, kind))))


def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> NDArray:
    """Cumulative sum along an axis, or of the flattened array.

    >>> import gpuarray as ga
    >>> ga.cumsum(ga.asarray([1, 2, 3])).compute()
    array([1, 3, 6])

    Arguments as in `numpy.cumsum`. Raises AxisError out of range.
    """
    return scan("sum", a, axis, dtype, out)


def cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> NDArray:
    """Cumulative product along an axis, or of the flattened array.

    >>> import gpuarray as ga
    >>> ga.cumprod(ga.asarray([1, 2, 3])).compute()
    array([1, 2, 6])

    Arguments as in `numpy.cumprod`. Raises AxisError out of range.
    """
    return scan("prod", a, axis, dtype, out)


def nancumsum(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> NDArray:
    """Cumulative sum that takes NaN for 0.

    >>> import gpuarray as ga
    >>> ga.nancumsum([1.0, float("nan"), 3.0]).compute()
    array([1., 1., 4.])

    Arguments as in `numpy.nancumsum`.
    """
    return cumsum(_without_nan(a, 0), axis, dtype, out)


def nancumprod(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> NDArray:
    """Cumulative product that takes NaN for 1.

    >>> import gpuarray as ga
    >>> ga.nancumprod([2.0, float("nan"), 3.0]).compute()
    array([2., 2., 6.])

    Arguments as in `numpy.nancumprod`.
    """
    return cumprod(_without_nan(a, 1), axis, dtype, out)


def _without_nan(a: Any, instead: int) -> NDArray:
    x = asarray(a)
    return apply("where", apply("isnan", x), x.dtype.type(instead), x) if x.dtype.kind in "fc" else x


def _standard(op: str, x: Any, axis: Any, dtype: Any, include_initial: bool, out: Any) -> NDArray:
    array = asarray(x)
    if axis is None:
        if array.ndim > 1:
            raise ValueError(f"axis must be given for an array of {array.ndim} dimensions, shape {array.shape}")
        axis = 0
    made = scan(op, array, axis, dtype, None)
    if include_initial:
        at = normalize_axis(axis, made.ndim)
        shape = tuple(1 if a == at else n for a, n in enumerate(made.shape))
        first: Node = Select(shape, (), Const.of(0 if op == "sum" else 1, made.dtype))
        made = NDArray(Concat(at, first, made.node))
    return into(out, made)


def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, out: Any = None, include_initial: bool = False
) -> NDArray:
    """Cumulative sum along an axis, after a 0 where `include_initial`.

    >>> import gpuarray as ga
    >>> ga.cumulative_sum([1, 2, 3], include_initial=True).compute()
    array([0, 1, 3, 6])

    Arguments as in `numpy.cumulative_sum`. Raises ValueError without `axis` unless there is one dimension.
    """
    return _standard("sum", x, axis, dtype, include_initial, out)


def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, out: Any = None, include_initial: bool = False
) -> NDArray:
    """Cumulative product along an axis, after a 1 where `include_initial`.

    >>> import gpuarray as ga
    >>> ga.cumulative_prod([1, 2, 3]).compute()
    array([1, 2, 6])

    Arguments as in `numpy.cumulative_prod`. Raises ValueError without `axis` unless there is one dimension.
    """
    return _standard("prod", x, axis, dtype, include_initial, out)


install("cumsum", cumsum)
install("cumprod", cumprod)
