"""Polynomials by their coefficients, the highest first: few numbers, worked out by NumPy; many places, lazily."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.elementwise import apply, cast


def _given(x: Any) -> Any:
    return x.compute() if isinstance(x, NDArray) else x


def polyval(p: Any, x: Any) -> NDArray:
    """The values of a polynomial.

    >>> import gpuarray as ga
    >>> ga.polyval([3, 0, 1], [5, 2]).compute()
    array([76, 13])

    Arguments as in `numpy.polyval`; coefficients are computed at once, values are lazy.
    """
    coefficients = np.asarray(_given(p))
    places = asarray(x)
    made = places * 0
    for c in coefficients:
        made = made * places + c
    return made


def vander(x: Any, N: int | None = None, increasing: bool = False) -> NDArray:
    """The matrix of the powers of a vector.

    >>> import gpuarray as ga
    >>> ga.vander([1, 2, 3], 3).compute()
    array([[1, 1, 1],
           [4, 2, 1],
           [9, 3, 1]])

    Arguments as in `numpy.vander`. Raises ValueError for other than one dimension.
    """
    from gpuarray.joining import stack

    v = asarray(x)
    if v.ndim != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    n = len(v) if N is None else N
    kind = np.result_type(v.dtype, int)
    wide = NDArray(cast(v.node, kind))
    if not n:
        return asarray(np.zeros((len(v), 0), kind))
    powers = [wide * 0 + 1]
    for _ in range(n - 1):
        powers.append(powers[-1] * wide)
    return stack(powers if increasing else powers[::-1], axis=1)


def polyfit(
    x: Any, y: Any, deg: int, rcond: float | None = None, full: bool = False, w: Any = None, cov: Any = False
) -> Any:
    """The polynomial that fits points best, in the sense of least squares.

    >>> import gpuarray as ga
    >>> ga.polyfit([0.0, 1.0, 2.0], [1.0, 3.0, 5.0], 1).round(6).compute()
    array([2., 1.])

    Arguments as in `numpy.polyfit`, without `full` and `cov`. The points are gone through with `linalg.lstsq`. Raises
    ValueError for a negative degree, TypeError for no points or different numbers of them.
    """
    from gpuarray.linalg import lstsq

    if full or cov:
        raise NotImplementedError("full= and cov= are not supported; call gpuarray.linalg.lstsq(vander(x, deg + 1), y)")
    order = int(deg) + 1
    places, values = asarray(x), asarray(y)
    if deg < 0:
        raise ValueError("expected deg >= 0")
    if places.ndim != 1:
        raise TypeError("expected 1D vector for x")
    if not places.size:
        raise TypeError("expected non-empty vector for x")
    if values.ndim < 1 or values.ndim > 2:
        raise TypeError("expected 1D or 2D array for y")
    if places.shape[0] != values.shape[0]:
        raise TypeError("expected x and y to have same length")
    left, right = vander(places + 0.0, order), values + 0.0
    if w is not None:
        weights = asarray(w) + 0.0
        if weights.ndim != 1:
            raise TypeError("expected a 1-d array for weights")
        if weights.shape[0] != values.shape[0]:
            raise TypeError("expected w and y to have the same length")
        left = left * weights[:, None]
        right = right * (weights[:, None] if right.ndim == 2 else weights)
    scale = apply("sqrt", (left * left).sum(axis=0))
    limit = places.size * np.finfo(left.dtype).eps if rcond is None else rcond
    found = lstsq(left / scale, right, rcond=limit)[0]
    return found / (scale[:, None] if found.ndim == 2 else scale)


def _by_numpy(name: str, example: str) -> Callable[..., Any]:
    function = getattr(np, name)

    def made(*args: Any, **keywords: Any) -> Any:
        found = function(*map(_given, args), **keywords)
        return tuple(map(asarray, found)) if isinstance(found, tuple) else asarray(found)

    made.__name__ = made.__qualname__ = name
    made.__doc__ = f"""`numpy.{name}`: few numbers, worked out at once.

>>> import gpuarray as ga
>>> {example}
"""
    return made


poly = _by_numpy("poly", "ga.poly([1.0, 2.0]).compute()\narray([ 1., -3.,  2.])")
roots = _by_numpy("roots", "ga.roots([1.0, -2.0]).compute()\narray([2.])")
polyadd = _by_numpy("polyadd", "ga.polyadd([1, 2], [3]).compute()\narray([1, 5])")
polysub = _by_numpy("polysub", "ga.polysub([1, 2], [3]).compute()\narray([ 1, -1])")
polymul = _by_numpy("polymul", "ga.polymul([1, 2], [1, 3]).compute()\narray([1, 5, 6])")
polydiv = _by_numpy("polydiv", "ga.polydiv([1.0, 5.0, 6.0], [1.0, 2.0])[0].compute()\narray([1., 3.])")
polyder = _by_numpy("polyder", "ga.polyder([1, 2, 3]).compute()\narray([2, 2])")
polyint = _by_numpy("polyint", "ga.polyint([2.0, 2.0]).compute()\narray([1., 2., 0.])")
bartlett = _by_numpy("bartlett", "ga.bartlett(3).compute()\narray([0., 1., 0.])")
blackman = _by_numpy("blackman", "ga.blackman(3).round(6).compute()\narray([-0.,  1., -0.])")
hamming = _by_numpy("hamming", "ga.hamming(3).compute()\narray([0.08, 1.  , 0.08])")
hanning = _by_numpy("hanning", "ga.hanning(3).compute()\narray([0., 1., 0.])")
kaiser = _by_numpy("kaiser", "ga.kaiser(3, 0.0).compute()\narray([1., 1., 1.])")


class poly1d(np.poly1d):
    """A polynomial, as `numpy.poly1d`; its coefficients are computed and kept as NumPy's, its values are lazy.

    >>> import gpuarray as ga
    >>> ga.poly1d([1, 0, -1])(ga.arange(3)).compute()
    array([-1,  0,  3])
    """

    def __init__(self, c_or_r: Any, r: bool = False, variable: str | None = None) -> None:
        given = c_or_r if isinstance(c_or_r, np.poly1d) else np.asarray(c_or_r)
        super().__init__(given, r=r, variable=variable)
