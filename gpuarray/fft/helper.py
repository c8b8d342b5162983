"""Frequencies, and where zero frequency stands."""

from __future__ import annotations

import operator
from typing import Any

from gpuarray.array import NDArray, asarray
from gpuarray.axes import normalize_axes
from gpuarray.chunking import Chunks
from gpuarray.elementwise import apply
from gpuarray.manipulation import roll
from gpuarray.ranges import arange


def fftfreq(n: int, d: float = 1.0, device: Any = None, *, dtype: Any = None, chunks: Chunks = "auto") -> NDArray:
    """The frequency of each element of a transform, in cycles per unit of the spacing `d`.

    >>> import gpuarray as ga
    >>> ga.fft.fftfreq(4, 0.5).compute()
    array([ 0. ,  0.5, -1. , -0.5])

    Arguments as in `numpy.fft.fftfreq`, `dtype` of the array API, and `chunks`. Raises TypeError for an `n` that is
    no integer, ValueError unless it is positive.
    """
    length = _length(n)
    k = arange(length, chunks=chunks)
    signed = apply("where", apply("less", k, (length - 1) // 2 + 1), k, apply("subtract", k, length))
    return _scaled(signed, length, d, dtype)


def rfftfreq(n: int, d: float = 1.0, device: Any = None, *, dtype: Any = None, chunks: Chunks = "auto") -> NDArray:
    """The frequency of each element of the transform of a real array.

    >>> import gpuarray as ga
    >>> ga.fft.rfftfreq(4, 0.5).compute()
    array([0. , 0.5, 1. ])

    Arguments as in `fftfreq`.
    """
    length = _length(n)
    return _scaled(arange(length // 2 + 1, chunks=chunks), length, d, dtype)


def _length(n: Any) -> int:
    try:
        length = operator.index(n)
    except TypeError:
        raise ValueError(f"n={n!r} must be an integer: the number of elements that are transformed") from None
    if length < 1:
        raise ValueError(f"n={n} must be positive: the number of elements that are transformed")
    return length


def _scaled(k: NDArray, n: int, d: float, dtype: Any) -> NDArray:
    made = apply("multiply", k, 1.0 / (n * d))
    return made if dtype is None else made.astype(dtype)


def fftshift(x: Any, axes: Any = None) -> NDArray:
    """The result of a transform with zero frequency moved to the middle.

    >>> import gpuarray as ga
    >>> ga.fft.fftshift(ga.fft.fftfreq(4, 0.25)).compute()
    array([-2., -1.,  0.,  1.])

    Arguments as in `numpy.fft.fftshift`. Raises AxisError out of range.
    """
    a = asarray(x)
    along = normalize_axes(axes, a.ndim)
    return roll(a, tuple(a.shape[i] // 2 for i in along), along) if along else a


def ifftshift(x: Any, axes: Any = None) -> NDArray:
    """What `fftshift` moved, moved back.

    >>> import gpuarray as ga
    >>> ga.fft.ifftshift(ga.fft.fftshift(ga.arange(5))).compute()
    array([0, 1, 2, 3, 4])

    Arguments as in `numpy.fft.ifftshift`. Raises AxisError out of range.
    """
    a = asarray(x)
    along = normalize_axes(axes, a.ndim)
    return roll(a, tuple(-(a.shape[i] // 2) for i in along), along) if along else a
