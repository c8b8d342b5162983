"""Means and spreads, and reductions that pass over NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray, install
from gpuarray.axes import normalize_axes
from gpuarray.elementwise import apply, cast, into
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.kernels.errors import UnsupportedDTypeError
from gpuarray.manipulation import broadcast_to, reshape
from gpuarray.reductions import Axis, argmax, argmin, count, count_nonzero, masked, reduce
from gpuarray.reductions import any as any_of
from gpuarray.reductions import max as largest
from gpuarray.reductions import min as smallest
from gpuarray.reductions import prod as product
from gpuarray.reductions import sum as total


def _float_of(x: NDArray, requested: Any) -> np.dtype[Any]:
    """The dtype of a mean: integers become float64."""
    if x.dtype.kind not in "biufc":
        raise UnsupportedDTypeError(f"means of {x.dtype} are not defined; cast with astype first")
    natural = x.dtype if x.dtype.kind in "fc" else np.float64
    dtype: np.dtype[Any] = np.dtype(natural if requested is None else requested)
    if dtype.kind not in "biufc":
        raise UnsupportedDTypeError(f"dtype={dtype} is no dtype of a mean; use a float or complex dtype")
    return dtype


def mean(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = None
) -> NDArray:
    """Arithmetic mean over axes; NaN where there are no elements.

    >>> import gpuarray as ga
    >>> ga.mean(ga.asarray([1, 2, 4])).compute()
    array(2.33333333)

    Arguments as in `numpy.mean`. Sums are made in double precision.
    """
    x = asarray(a)
    result = _float_of(x, dtype)
    wide = np.result_type(result, np.float64) if result.kind in "fc" else np.dtype(np.float64)
    inputs = masked(x.node, where)
    number = count(x, axis) if len(inputs) == 1 else count_nonzero(NDArray(inputs[1]), axis, keepdims=keepdims)
    made = apply("divide", reduce("sum", x, axis, wide, keepdims, where), number)
    return into(out, NDArray(cast(made.node, result)))


def var(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: float | None = None,
) -> NDArray:
    """Variance over axes, in one pass, by merging counts, means and squared deviations (Chan, Golub, LeVeque 1982).

    >>> import gpuarray as ga
    >>> ga.var(ga.asarray([1.0, 2.0, 4.0]), correction=1).compute()
    array(2.33333333)

    Arguments as in `numpy.var`; `ddof` and `correction` are two names of one thing, and `mean` is one that is known
    already, with the reduced axes as of length one.
    """
    if correction is not None and ddof != 0:
        raise ValueError(f"ddof={ddof} and correction={correction} are two names of one argument; pass one")
    x = asarray(a)
    result = _float_of(x, dtype)
    wide = np.dtype(np.complex128) if result.kind == "c" else np.dtype(np.float64)
    real = np.dtype(f"f{result.itemsize // 2}") if result.kind == x.dtype.kind == "c" else result
    amount = float(ddof if correction is None else correction)
    if mean is not None:
        return into(out, NDArray(cast(_around(x, mean, axis, wide, keepdims, where, amount).node, real)))
    made = reduce("var", x, axis, wide, keepdims, where, (("correction", amount),))
    return into(out, NDArray(cast(made.node, real)))


def _around(x: NDArray, center: Any, axis: Any, wide: Any, keepdims: bool, where: Any, amount: float) -> NDArray:
    """The variance around a mean that is given."""
    apart = apply("subtract", NDArray(cast(x.node, wide)), center)
    squares = apply("square", apply("absolute", apart))
    inputs = masked(x.node, where)
    number = count(x, axis) if len(inputs) == 1 else count_nonzero(NDArray(inputs[1]), axis, keepdims=keepdims)
    return apply(
        "divide", total(squares, axis, None, None, keepdims, where=where), apply("maximum", number - amount, 0)
    )


def std(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: float | None = None,
) -> NDArray:
    """Standard deviation over axes: the square root of `var`.

    >>> import gpuarray as ga
    >>> ga.std(ga.asarray([1.0, 3.0])).compute()
    array(1.)

    Arguments as in `numpy.std`.
    """
    made = var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    return into(out, apply("sqrt", made))


def ptp(a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False) -> NDArray:
    """Range of the values over axes: the largest less the smallest.

    >>> import gpuarray as ga
    >>> ga.ptp([3, 9, 4]).compute()
    array(6)

    Arguments as in `numpy.ptp`. Raises ValueError where there are no elements.
    """
    x = asarray(a)
    high, low = largest(x, axis, keepdims=keepdims), smallest(x, axis, keepdims=keepdims)
    return into(out, apply("subtract", high, low))


def average(a: Any, axis: Axis = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    """Weighted mean over axes.

    >>> import gpuarray as ga
    >>> ga.average([1.0, 4.0], weights=[2, 1]).compute()
    array(2.)

    Arguments as in `numpy.average`, but that lazy weights which sum to zero give NaN or infinity, because that is not
    known before the run. Raises ValueError or TypeError for weights whose shape does not fit, ZeroDivisionError.
    """
    x = asarray(a)
    if weights is None:
        made = mean(x, axis, keepdims=keepdims)
        weight = asarray(np.asarray(count(x, axis)).astype(made.dtype))
        return (made, broadcast_to(weight, made.shape)) if returned else made
    w = asarray(weights)
    if not isinstance(weights, NDArray) and not np.all(np.sum(weights, axis if w.shape == x.shape else None)):
        raise ZeroDivisionError("Weights sum to zero, can't be normalized")
    if w.shape != x.shape:
        if axis is None:
            raise TypeError(f"weights of shape {w.shape} need an axis where the array has another shape, {x.shape}")
        axes = normalize_axes(axis, x.ndim)
        if w.shape != tuple(x.shape[i] for i in axes):
            raise ValueError(f"weights of shape {w.shape} do not fit axis {axis} of an array of shape {x.shape}")
        w = reshape(w, tuple(n if i in axes else 1 for i, n in enumerate(x.shape)))
    dtype = np.result_type(x.dtype, w.dtype, np.float64 if x.dtype.kind in "biu" else x.dtype)
    scale = total(broadcast_to(w, x.shape), axis, dtype, keepdims=keepdims)
    sums = total(apply("multiply", x, w), axis, dtype, keepdims=keepdims)
    made = apply("divide", sums, scale)
    return (made, scale) if returned else made


# Passing over NaN.


def _present(a: Any) -> tuple[NDArray, Any]:
    """An array and the mask of what is not NaN; None where there can be no NaN."""
    x = asarray(a)
    return x, apply("logical_not", apply("isnan", x)) if x.dtype.kind in "fc" else None


def _both(present: Any, where: Any) -> Any:
    if where is None or where is True:
        return present
    return asarray(where) if present is None else apply("logical_and", present, where)


def nansum(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> NDArray:
    """Sum over axes of the elements that are not NaN.

    >>> import gpuarray as ga
    >>> ga.nansum([1.0, float("nan"), 2.0]).compute()
    array(3.)

    Arguments as in `numpy.nansum`.
    """
    x, present = _present(a)
    return total(x, axis, dtype, out, keepdims, initial, _both(present, where))


def nanprod(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> NDArray:
    """Product over axes of the elements that are not NaN.

    >>> import gpuarray as ga
    >>> ga.nanprod([3.0, float("nan"), 2.0]).compute()
    array(6.)

    Arguments as in `numpy.nanprod`.
    """
    x, present = _present(a)
    return product(x, axis, dtype, out, keepdims, initial, _both(present, where))


def nanmean(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = None
) -> NDArray:
    """Mean over axes of the elements that are not NaN; NaN where there are none.

    >>> import gpuarray as ga
    >>> ga.nanmean([1.0, float("nan"), 2.0]).compute()
    array(1.5)

    Arguments as in `numpy.nanmean`.
    """
    x, present = _present(a)
    return mean(x, axis, dtype, out, keepdims, where=_both(present, where))


def _enough(x: NDArray, made: NDArray, present: Any, axis: Any, ddof: float, keepdims: bool) -> NDArray:
    """NaN where there are no more elements than degrees of freedom taken."""
    if present is None:
        return made if count(x, axis) > ddof else apply("multiply", made, math.nan)
    enough = apply("greater", count_nonzero(present, axis, keepdims=keepdims), ddof)
    return apply("where", enough, made, made.dtype.type(math.nan))


def nanvar(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: float | None = None,
) -> NDArray:
    """Variance over axes of the elements that are not NaN; NaN where there are too few.

    >>> import gpuarray as ga
    >>> ga.nanvar([1.0, float("nan"), 3.0]).compute()
    array(1.)

    Arguments as in `numpy.nanvar`.
    """
    x, present = _present(a)
    present = _both(present, where)
    if present is not None:
        present = broadcast_to(present, x.shape)
    made = var(x, axis, dtype, None, ddof, keepdims, where=present, mean=mean, correction=correction)
    amount = ddof if correction is None else correction
    return into(out, _enough(x, made, present, axis, amount, keepdims))


def nanstd(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: float | None = None,
) -> NDArray:
    """Standard deviation over axes of the elements that are not NaN; NaN where there are too few.

    >>> import gpuarray as ga
    >>> ga.nanstd([1.0, float("nan"), 3.0]).compute()
    array(1.)

    Arguments as in `numpy.nanstd`.
    """
    made = nanvar(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    return into(out, apply("sqrt", made))


def nanmin(
    a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> NDArray:
    """Smallest element over axes that is not NaN; NaN where there are none.

    >>> import gpuarray as ga
    >>> ga.nanmin([2.0, float("nan"), 1.0]).compute()
    array(1.)

    Arguments as in `numpy.nanmin`. Raises ValueError where there are no elements and no `initial`.
    """
    return _nan_extremum("fmin", a, axis, out, keepdims, initial, where)


def nanmax(
    a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> NDArray:
    """Largest element over axes that is not NaN; NaN where there are none.

    >>> import gpuarray as ga
    >>> ga.nanmax([2.0, float("nan"), 1.0]).compute()
    array(2.)

    Arguments as in `numpy.nanmax`. Raises ValueError where there are no elements and no `initial`.
    """
    return _nan_extremum("fmax", a, axis, out, keepdims, initial, where)


def _nan_extremum(op: str, a: Any, axis: Any, out: Any, keepdims: bool, initial: Any, where: Any) -> NDArray:
    x, present = _present(a)
    if initial is None and (where is None or where is True):
        return into(out, reduce(op, x, axis, None, keepdims))
    plain = smallest if op == "fmin" else largest
    return plain(x, axis, out, keepdims, initial, _both(present, where))


def _nan_position(op: str, a: Any, axis: Any, out: Any, keepdims: bool) -> NDArray:
    x = asarray(a)
    find = argmin if op == "min" else argmax
    if x.dtype.kind not in "fc":
        return find(x, axis, out, keepdims=keepdims)
    worst = x.dtype.type(np.inf if op == "min" else -np.inf)
    found = find(apply("where", apply("isnan", x), worst, x), axis, keepdims=keepdims)
    some = any_of(~apply("isnan", x), axis, keepdims=keepdims)
    every = tuple(range(found.ndim))
    traits = Traits(f"nanarg{op}")
    node: Node = Routine(_where_some, (), found.dtype, found.chunks, (every, every), traits, found.node, some.node)
    return into(out, NDArray(node))


def _where_some(xp: Any, positions: Any, some: Any) -> Any:
    """Positions, if each is of an element that is not NaN."""
    if not bool(some.all()):
        raise ValueError("All-NaN slice encountered: it has no smallest or largest element")
    return positions


def nanargmin(a: Any, axis: int | None = None, out: Any = None, *, keepdims: bool = False) -> NDArray:
    """Position of the smallest element that is not NaN, the first of equals; flat where `axis` is None.

    >>> import gpuarray as ga
    >>> ga.nanargmin([float("nan"), 4.0, 2.0]).compute()
    array(2)

    Arguments as in `numpy.nanargmin`. Raises ValueError where there are no elements and, when it is computed, where all
    are NaN.
    """
    return _nan_position("min", a, axis, out, keepdims)


def nanargmax(a: Any, axis: int | None = None, out: Any = None, *, keepdims: bool = False) -> NDArray:
    """Position of the largest element that is not NaN, the first of equals; flat where `axis` is None.

    >>> import gpuarray as ga
    >>> ga.nanargmax([float("nan"), 4.0, 2.0]).compute()
    array(1)

    Arguments as in `numpy.nanargmax`; see `nanargmin`.
    """
    return _nan_position("max", a, axis, out, keepdims)


for _function in (mean, var, std):
    install(_function.__name__, _function)
