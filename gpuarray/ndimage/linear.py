"""Correlation and convolution along axes and over neighbourhoods, and means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.axes import normalize_axis
from gpuarray.kernels.stencils.program import Mode
from gpuarray.ndimage.arguments import (
    ascending_axes,
    axes_of,
    complex_of,
    constant,
    image,
    modes_of,
    output_dtype,
    sequence,
    size_of,
    start_of,
)
from gpuarray.ndimage.around import MAX_TAPS, Offset, depths_around, near, swept, unfiltered
from gpuarray.ndimage.programs import Term, averaged, weighted, weighted_complex

RUNNING = 16
"""Elements of a mean from which sums of halves are faster than adding each."""


def correlate1d(
    input: Any,
    weights: Any,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int = 0,
) -> NDArray:
    """Correlation with weights along one axis.

    >>> import gpuarray as ga
    >>> ga.ndimage.correlate1d([2, 8, 0, 4, 1, 9, 9, 0], weights=[1, 3]).compute()
    array([ 8, 26,  8, 12,  7, 28, 36,  9])

    Arguments as in `scipy.ndimage.correlate1d`; `output` is a dtype. Sums are made in double precision and converted
    to the dtype of the input. Raises ValueError for no weights, unknown modes and origins out of range.
    """
    x = image(input, complex=True)
    at = normalize_axis(axis, x.ndim)
    w = weights_of(weights, 1)
    if w.dtype.kind == "c":
        w = w.conj()
    return along_axis(x, w, at, output, mode, cval, origin)


def convolve1d(
    input: Any,
    weights: Any,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int = 0,
) -> NDArray:
    """Convolution with weights along one axis.

    >>> import gpuarray as ga
    >>> ga.ndimage.convolve1d([2, 8, 0, 4, 1, 9, 9, 0], weights=[1, 3]).compute()
    array([14, 24,  4, 13, 12, 36, 27,  0])

    Arguments as in `scipy.ndimage.convolve1d`; `output` is a dtype. Raises as `correlate1d`.
    """
    x = image(input, complex=True)
    at = normalize_axis(axis, x.ndim)
    w = weights_of(weights, 1)
    start_of(len(w), -origin if len(w) % 2 else -origin - 1)
    return along_axis(x, w[::-1], at, output, mode, cval, -origin if len(w) % 2 else -origin - 1)


def correlate(
    input: Any,
    weights: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: complex = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """Correlation with an array of weights.

    >>> import gpuarray as ga
    >>> x = ga.arange(9).reshape(3, 3)
    >>> ga.ndimage.correlate(x, [[0, 1, 0], [1, 0, 1], [0, 1, 0]], mode="constant").compute()
    array([[ 4,  6,  6],
           [10, 16, 14],
           [10, 18, 12]])

    Arguments as in `scipy.ndimage.correlate`; `output` is a dtype, and `mode` may be one for each axis. Sums are made
    in double precision and converted to the dtype of the input. Raises ValueError for weights of another number of
    dimensions, unknown modes and origins out of range.
    """
    x = image(input, complex=True)
    named = ascending_axes(axes, x.ndim)
    w = weights_of(weights, len(named))
    if w.dtype.kind == "c":
        w = w.conj()
    return over_axes(x, w, named, output, mode, cval, sequence(origin, len(named), "origin"))


def convolve(
    input: Any,
    weights: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: complex = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """Convolution with an array of weights.

    >>> import gpuarray as ga
    >>> ga.ndimage.convolve([[1, 2], [3, 4]], [[1, 0], [0, 10]], mode="constant").compute()
    array([[14, 20],
           [30, 40]])

    Arguments as in `scipy.ndimage.convolve`; `output` is a dtype. Raises as `correlate`.
    """
    x = image(input, complex=True)
    named = ascending_axes(axes, x.ndim)
    w = weights_of(weights, len(named))
    origins = [-o if n % 2 else -o - 1 for o, n in zip(sequence(origin, len(named), "origin"), w.shape, strict=True)]
    return over_axes(x, w[(slice(None, None, -1),) * w.ndim], named, output, mode, cval, origins)


def weights_of(weights: Any, ndim: int) -> np.ndarray[Any, Any]:
    """Weights as doubles, real or complex."""
    if isinstance(weights, NDArray):
        weights = weights.compute()
    w = np.asarray(weights)
    if w.dtype.kind not in "biufc":
        raise TypeError(f"weights of dtype {w.dtype} are no numbers")
    if w.ndim != ndim:
        raise ValueError(f"weights have {w.ndim} dimensions, and {ndim} axes are filtered: shape {w.shape}")
    if not w.size:
        raise ValueError(f"no filter weights given: shape {w.shape}")
    return w.astype(np.complex128 if w.dtype.kind == "c" else np.float64)


def along_axis(
    x: NDArray, w: np.ndarray[Any, Any], axis: int, output: Any, mode: Any, cval: Any, origin: Any
) -> NDArray:
    """The correlation with weights along one axis."""
    modes = modes_of(mode, (axis,), x.ndim)
    start = start_of(len(w), origin)
    offsets: list[Offset] = [tuple(start + k if a == axis else 0 for a in range(x.ndim)) for k in range(len(w))]
    return summed(x, offsets, w, paired(w), modes, cval, output)


def over_axes(
    x: NDArray, w: np.ndarray[Any, Any], axes: tuple[int, ...], output: Any, mode: Any, cval: Any, origins: list[Any]
) -> NDArray:
    """The correlation with an array of weights; elements whose weight is zero are not read."""
    modes = modes_of(mode, axes, x.ndim)
    starts = [start_of(n, o) for n, o in zip(w.shape, origins, strict=True)]
    at = [tuple(int(i) for i in index) for index in np.argwhere(w)] or [(0,) * w.ndim]
    offsets: list[Offset] = []
    for index in at:
        offset = [0] * x.ndim
        for axis, start, i in zip(axes, starts, index, strict=True):
            offset[axis] = start + i
        offsets.append(tuple(offset))
    return summed(x, offsets, np.array([w[i] for i in at]), None, modes, cval, output)


def paired(w: np.ndarray[Any, Any]) -> tuple[tuple[Term, ...], tuple[float, ...]] | None:
    """The terms of symmetric or antisymmetric weights: the middle, then pairs from the ends inwards; None of others."""
    middle = len(w) // 2
    if len(w) % 2 == 0 or w.dtype.kind == "c":
        return None
    sign = 1 if np.array_equal(w, w[::-1]) else -1 if np.array_equal(w[:middle], -w[: -middle - 1 : -1]) else 0
    if not sign or not middle:
        return None
    terms = ((middle, 0, 0), *((k, len(w) - 1 - k, sign) for k in range(middle)))
    return terms, (float(w[middle]), *map(float, w[:middle]))


def summed(
    x: NDArray,
    offsets: list[Offset],
    w: np.ndarray[Any, Any],
    pairs: tuple[tuple[Term, ...], tuple[float, ...]] | None,
    modes: list[Mode],
    cval: Any,
    output: Any,
) -> NDArray:
    """The sum of the elements at offsets times their weights."""
    complex_result = "c" in (x.dtype.kind, w.dtype.kind)
    dtype = output_dtype(output, complex_of(x.dtype) if complex_result else x.dtype)
    x, value = constant(x, modes, cval)
    if not x.size:
        return unfiltered(x, dtype)
    if len(offsets) > MAX_TAPS:
        from gpuarray.ndimage.local import Correlation

        wide = "complex128" if complex_result else "float64"
        weights = tuple(w.tolist())
        return near(x, Correlation(tuple(offsets), weights, wide, depths_around(offsets, x.ndim)), dtype, modes, value)
    if complex_result:
        program = weighted_complex(x.dtype, len(offsets), w.dtype.kind == "c", dtype)
        imag = w.imag.tolist() if w.dtype.kind == "c" else []
        return swept(x, program, offsets, modes, value, [*w.real.tolist(), *imag, 1j])
    terms, scalars = pairs or (tuple((k, 0, 0) for k in range(len(w))), tuple(w.tolist()))
    return swept(x, weighted(x.dtype, len(offsets), terms, dtype), offsets, modes, value, scalars)


# Means.


def uniform_filter1d(
    input: Any,
    size: int,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int = 0,
) -> NDArray:
    """Mean of `size` elements along one axis.

    >>> import gpuarray as ga
    >>> ga.ndimage.uniform_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3).compute()
    array([4, 3, 4, 1, 4, 6, 6, 3])

    Arguments as in `scipy.ndimage.uniform_filter1d`; `output` is a dtype. Raises ValueError for sizes below 1, unknown
    modes and origins out of range.
    """
    x = image(input, complex=True)
    at = normalize_axis(axis, x.ndim)
    dtype = output_dtype(output, x.dtype if x.dtype.kind != "c" else complex_of(x.dtype))
    n = size_of(size)
    start = start_of(n, origin)
    modes = modes_of(mode, (at,), x.ndim)
    x, value = constant(x, modes, cval)
    if not x.size:
        return unfiltered(x, dtype)
    if n >= RUNNING:
        from gpuarray.ndimage.local import Running

        depths = tuple((-start, start + n - 1) if a == at else (0, 0) for a in range(x.ndim))
        wide = "complex128" if x.dtype.kind == "c" else "float64"
        return near(x, Running("add", at, n, wide, depths), dtype, modes, value)
    offsets = [tuple(start + k if a == at else 0 for a in range(x.ndim)) for k in range(n)]
    return swept(x, averaged(x.dtype, n, dtype), offsets, modes, value, [float(n)])


def uniform_filter(
    input: Any,
    size: Any = 3,
    output: Any = None,
    mode: Any = "reflect",
    cval: complex = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """Mean of the elements in a box around every point.

    >>> import gpuarray as ga
    >>> ga.ndimage.uniform_filter(ga.eye(3), size=3).compute().round(2)
    array([[0.56, 0.33, 0.11],
           [0.33, 0.33, 0.33],
           [0.11, 0.33, 0.56]])

    Arguments as in `scipy.ndimage.uniform_filter`; `output` is a dtype. It is done axis by axis, each result in the
    dtype of the output. Raises as `uniform_filter1d`.
    """
    x = image(input, complex=True)
    dtype = output_dtype(output, x.dtype)
    along = per_axis(x, size, mode, origin, axes)
    return one_by_one(x, along, dtype, lambda y, a, n, m, o: uniform_filter1d(y, n, a, dtype, m, cval, o))


Along = list[tuple[int, int, Any, Any]]
"""By axis that is filtered: axis, size, mode, origin."""


def per_axis(x: NDArray, size: Any, mode: Any, origin: Any, axes: Any) -> Along:
    """The arguments of a filter that is done axis by axis."""
    named = axes_of(axes, x.ndim)
    sizes = [size_of(n) for n in sequence(size, len(named), "size")]
    modes = sequence(mode, len(named), "mode")
    origins = sequence(origin, len(named), "origin")
    for n, o, m in zip(sizes, origins, modes, strict=True):
        start_of(n, o)
        modes_of(m, (0,), 1)
    return [(a, n, m, o) for a, n, m, o in zip(named, sizes, modes, origins, strict=True) if n > 1]


def one_by_one(
    x: NDArray, along: Along, dtype: np.dtype[Any], step: Callable[[NDArray, int, int, Any, Any], NDArray]
) -> NDArray:
    """A filter along one axis after the other."""
    for axis, n, m, o in along:
        x = step(x, axis, n, m, o)
    return x if along else unfiltered(x, dtype)
