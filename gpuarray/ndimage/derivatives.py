"""First and second differences: Sobel, Prewitt, Laplace, and sums of derivatives by any function."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from gpuarray.array import NDArray
from gpuarray.axes import normalize_axis
from gpuarray.elementwise import apply, cast
from gpuarray.ndimage.arguments import axes_of, constant, image, modes_of, output_dtype, sequence
from gpuarray.ndimage.around import Offset, swept, unfiltered
from gpuarray.ndimage.linear import correlate1d
from gpuarray.ndimage.programs import curvature


def sobel(input: Any, axis: int = -1, output: Any = None, mode: Any = "reflect", cval: complex = 0.0) -> NDArray:
    """Derivative along one axis, smoothed with 1, 2, 1 along the others.

    >>> import gpuarray as ga
    >>> ga.ndimage.sobel([[0, 0, 4], [0, 0, 4]]).compute()
    array([[ 0, 16, 16],
           [ 0, 16, 16]])

    Arguments as in `scipy.ndimage.sobel`; `output` is a dtype. Raises ValueError for unknown modes.
    """
    return _difference(input, axis, output, mode, cval, [1, 2, 1])


def prewitt(input: Any, axis: int = -1, output: Any = None, mode: Any = "reflect", cval: complex = 0.0) -> NDArray:
    """Derivative along one axis, smoothed with 1, 1, 1 along the others.

    >>> import gpuarray as ga
    >>> ga.ndimage.prewitt([[0, 0, 4], [0, 0, 4]]).compute()
    array([[ 0, 12, 12],
           [ 0, 12, 12]])

    Arguments as in `scipy.ndimage.prewitt`; `output` is a dtype. Raises ValueError for unknown modes.
    """
    return _difference(input, axis, output, mode, cval, [1, 1, 1])


def _difference(input: Any, axis: int, output: Any, mode: Any, cval: Any, smooth: list[int]) -> NDArray:
    x = image(input, complex=True)
    at = normalize_axis(axis, x.ndim)
    modes = sequence(mode, x.ndim, "mode")
    modes_of(modes, tuple(range(x.ndim)), x.ndim)
    made = correlate1d(x, [-1, 0, 1], at, output, modes[at], cval)
    for a in range(x.ndim):
        if a != at:
            made = correlate1d(made, smooth, a, None, modes[a], cval)
    return made


def laplace(input: Any, output: Any = None, mode: Any = "reflect", cval: complex = 0.0, *, axes: Any = None) -> NDArray:
    """Sum of the second differences along axes.

    >>> import gpuarray as ga
    >>> ga.ndimage.laplace([0, 0, 1, 0, 0]).compute()
    array([ 0,  1, -2,  1,  0])

    Arguments as in `scipy.ndimage.laplace`; `output` is a dtype. Raises ValueError for unknown modes.
    """
    x = image(input, complex=True)
    named = axes_of(axes, x.ndim)
    if x.dtype.kind == "c" or not named:

        def second(y: Any, axis: int, out: Any, m: Any, c: Any) -> NDArray:
            return correlate1d(y, [1, -2, 1], axis, out, m, c)

        return generic_laplace(x, second, output, mode, cval, axes=named)
    dtype = output_dtype(output, x.dtype)
    modes = modes_of(mode, named, x.ndim)
    x, value = constant(x, modes, cval)
    if not x.size:
        return unfiltered(x, dtype)
    offsets: list[Offset] = [(0,) * x.ndim]
    for axis, step in itertools.product(named, (-1, 1)):
        offsets.append(tuple(step if a == axis else 0 for a in range(x.ndim)))
    return swept(x, curvature(x.dtype, len(named), dtype), offsets, modes, value, [-2.0])


def generic_laplace(
    input: Any,
    derivative2: Callable[..., Any],
    output: Any = None,
    mode: Any = "reflect",
    cval: complex = 0.0,
    extra_arguments: tuple[Any, ...] = (),
    extra_keywords: dict[str, Any] | None = None,
    *,
    axes: Any = None,
) -> NDArray:
    """Sum of second derivatives along axes, by a function of yours.

    >>> import gpuarray as ga
    >>> def second(input, axis, output, mode, cval):
    ...     return ga.ndimage.correlate1d(input, [1, -2, 1], axis, output, mode, cval)
    >>> ga.ndimage.generic_laplace([0, 0, 1, 0, 0], second).compute()
    array([ 0,  1, -2,  1,  0])

    Arguments as in `scipy.ndimage.generic_laplace`: `derivative2` gets the array, an axis, the dtype of the result, a
    mode and `cval`, and returns an array. Raises TypeError where it is no function.
    """
    return over_derivatives(input, derivative2, output, mode, cval, extra_arguments, extra_keywords, axes, False)


def over_derivatives(
    input: Any,
    derivative: Callable[..., Any],
    output: Any,
    mode: Any,
    cval: Any,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any] | None,
    axes: Any,
    squared: bool,
) -> NDArray:
    """The sum of derivatives along axes, or of their squares, in the dtype of the output."""
    if not callable(derivative):
        raise TypeError(f"a derivative is a function, got {type(derivative).__name__}")
    x = image(input, complex=True)
    dtype = output_dtype(output, x.dtype)
    named = axes_of(axes, x.ndim)
    total: NDArray | None = None
    for axis, m in zip(named, sequence(mode, len(named), "mode"), strict=True):
        made = derivative(x, axis, dtype, m, cval, *arguments, **(keywords or {}))
        term = NDArray(cast(image(made, complex=True).node, dtype))
        if squared:
            term = apply("multiply", term, term)
        total = term if total is None else apply("add", total, term)
    return unfiltered(x, dtype) if total is None else total
