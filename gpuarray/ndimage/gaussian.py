"""Gaussian filters and derivatives."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.axes import normalize_axis
from gpuarray.elementwise import apply, cast
from gpuarray.ndimage.arguments import axes_of, image, modes_of, output_dtype, sequence
from gpuarray.ndimage.around import unfiltered
from gpuarray.ndimage.derivatives import generic_laplace, over_derivatives
from gpuarray.ndimage.linear import along_axis

MOST = 10**6
"""Weights of a filter, at most: a larger standard deviation is a mistake, or a smoothing that needs another method."""


def gaussian_filter1d(
    input: Any,
    sigma: float,
    axis: int = -1,
    order: int = 0,
    output: Any = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | None = None,
) -> NDArray:
    """Gaussian filter along one axis, or a derivative of one.

    >>> import gpuarray as ga
    >>> ga.ndimage.gaussian_filter1d([1.0, 2.0, 3.0, 4.0, 5.0], 1).compute()
    array([1.42704095, 2.06782203, 3.        , 3.93217797, 4.57295905])

    Arguments as in `scipy.ndimage.gaussian_filter1d`; `output` is a dtype. Raises ValueError for a standard deviation
    that is not positive, a negative order or radius, and unknown modes.
    """
    x = image(input, complex=True)
    at = normalize_axis(axis, x.ndim)
    return along_axis(x, gaussian_weights(sigma, order, truncate, radius)[::-1], at, output, mode, cval, 0)


def gaussian_weights(sigma: Any, order: Any, truncate: Any, radius: Any) -> np.ndarray[Any, Any]:
    """The weights of a convolution: a polynomial, by the order of the derivative, times a Gaussian of sum one."""
    sd = float(sigma)
    if not 0 < sd < math.inf:
        raise ValueError(f"sigma={sigma!r} must be positive and finite")
    degree = operator.index(order)
    if degree < 0:
        raise ValueError(f"order={order!r} must not be negative")
    width = float(truncate) * sd + 0.5 if radius is None else operator.index(radius)
    if not 0 <= width < MOST / 2:
        raise ValueError(
            f"a filter reaches from 0 to {MOST // 2:,} elements, not {width}: sigma={sigma!r}, truncate={truncate!r}, "
            f"radius={radius!r}"
        )
    x = np.arange(-int(width), int(width) + 1)
    phi = np.exp(-0.5 / (sd * sd) * x**2)
    phi /= phi.sum()
    if not degree:
        return np.asarray(phi)
    # The derivative of q(x) phi(x) is (q'(x) - x / sigma**2 q(x)) phi(x): a linear map of the coefficients of q.
    q = np.zeros(degree + 1)
    q[0] = 1.0
    step = np.diag(np.arange(1, degree + 1), 1) - np.diag(np.ones(degree) / (sd * sd), -1)
    for _ in range(degree):
        q = step @ q
    weights: np.ndarray[Any, Any] = (x[:, None] ** np.arange(degree + 1)) @ q * phi
    return weights


def gaussian_filter(
    input: Any,
    sigma: Any,
    order: Any = 0,
    output: Any = None,
    mode: Any = "reflect",
    cval: complex = 0.0,
    truncate: float = 4.0,
    *,
    radius: Any = None,
    axes: Any = None,
) -> NDArray:
    """Gaussian filter, or derivatives of one, along axes.

    >>> import gpuarray as ga
    >>> ga.ndimage.gaussian_filter(ga.arange(9).reshape(3, 3) * 10, sigma=1).compute()
    array([[16, 22, 27],
           [34, 40, 45],
           [51, 57, 62]])

    Arguments as in `scipy.ndimage.gaussian_filter`; `output` is a dtype. It is done axis by axis, each result in the
    dtype of the output; axes of a standard deviation of zero are left out. Raises as `gaussian_filter1d`.
    """
    x = image(input, complex=True)
    dtype = output_dtype(output, x.dtype)
    named = axes_of(axes, x.ndim)
    entries = [
        sequence(given, len(named), name)
        for given, name in ((sigma, "sigma"), (order, "order"), (mode, "mode"), (radius, "radius"))
    ]
    modes_of(entries[2], named, x.ndim)
    done = False
    for axis, sd, degree, m, r in zip(named, *entries, strict=True):
        if float(sd) < 0 or math.isnan(float(sd)):
            raise ValueError(f"sigma={sigma!r} must not be negative")
        if sd > 1e-15:
            x, done = gaussian_filter1d(x, sd, axis, degree, dtype, m, cval, truncate, radius=r), True
    return x if done else unfiltered(x, dtype)


def gaussian_laplace(
    input: Any,
    sigma: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: complex = 0.0,
    *,
    axes: Any = None,
    **kwargs: Any,
) -> NDArray:
    """Sum of the second derivatives of a Gaussian filter along axes.

    >>> import gpuarray as ga
    >>> ga.ndimage.gaussian_laplace([0.0, 0.0, 1.0, 0.0, 0.0], sigma=1).compute().round(3)
    array([ 0.197,  0.002, -0.399,  0.002,  0.197])

    Arguments as in `scipy.ndimage.gaussian_laplace`; `output` is a dtype, and keywords go to `gaussian_filter`. Raises
    as that does.
    """
    x = image(input, complex=True)
    named = axes_of(axes, x.ndim)
    sds = [0] * x.ndim
    for axis, sd in zip(named, sequence(sigma, len(named), "sigma"), strict=True):
        sds[axis] = sd
    return generic_laplace(x, _derivative(2, sds), output, mode, cval, (), kwargs, axes=named)


def gaussian_gradient_magnitude(
    input: Any,
    sigma: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: complex = 0.0,
    *,
    axes: Any = None,
    **kwargs: Any,
) -> NDArray:
    """Length of the gradient of a Gaussian filter.

    >>> import gpuarray as ga
    >>> ga.ndimage.gaussian_gradient_magnitude([0.0, 0.0, 4.0, 4.0], sigma=1).compute().round(2)
    array([0.43, 1.45, 1.45, 0.43])

    Arguments as in `scipy.ndimage.gaussian_gradient_magnitude`; `output` is a dtype, and keywords go to
    `gaussian_filter`. Raises as that does.
    """
    x = image(input, complex=True)
    return generic_gradient_magnitude(
        x, _derivative(1, sequence(sigma, x.ndim, "sigma")), output, mode, cval, (), kwargs, axes=axes
    )


def _derivative(order: int, sigma: list[Any]) -> Callable[..., NDArray]:
    def made(input: NDArray, axis: int, output: Any, mode: Any, cval: Any, **kwargs: Any) -> NDArray:
        orders = [order if a == axis else 0 for a in range(input.ndim)]
        return gaussian_filter(input, sigma, orders, output, mode, cval, **kwargs)

    return made


def generic_gradient_magnitude(
    input: Any,
    derivative: Callable[..., Any],
    output: Any = None,
    mode: Any = "reflect",
    cval: complex = 0.0,
    extra_arguments: tuple[Any, ...] = (),
    extra_keywords: dict[str, Any] | None = None,
    *,
    axes: Any = None,
) -> NDArray:
    """Length of the gradient, by a derivative of yours.

    >>> import gpuarray as ga
    >>> x = ga.asarray([[0.0, 0.0], [3.0, 3.0]])
    >>> ga.ndimage.generic_gradient_magnitude(x, ga.ndimage.sobel).compute()
    array([[12., 12.],
           [12., 12.]])

    Arguments as in `scipy.ndimage.generic_gradient_magnitude`: `derivative` gets the array, an axis, the dtype of the
    result, a mode and `cval`, and returns an array. Raises TypeError where it is no function.
    """
    x = image(input, complex=True)
    total = over_derivatives(x, derivative, output, mode, cval, extra_arguments, extra_keywords, axes, True)
    if not axes_of(axes, x.ndim):
        return total
    return NDArray(cast(apply("sqrt", total).node, total.dtype))
