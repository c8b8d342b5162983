"""Transforms along one axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import normalize_axis
from gpuarray.elementwise import apply, into
from gpuarray.fft.arguments import SWAPPED, checked_length, checked_norm, real_array
from gpuarray.fft.passes import Step, run


def along_one(kind: str, a: NDArray, n: Any, axis: Any, norm: Any, out: Any) -> NDArray:
    """A transform along an axis, of the length that the array has unless `n` says another."""
    if not a.ndim:
        raise np.exceptions.AxisError(f"{kind} takes an array of at least one dimension, got shape ()")
    at = normalize_axis(axis, a.ndim)
    length = a.shape[at] if kind != "irfft" else 2 * (a.shape[at] - 1)
    step = Step(kind, (at,), (checked_length(length if n is None else n),), checked_norm(norm))
    return into(out, NDArray(run(a.node, [step])))


def fft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> NDArray:
    """Discrete Fourier transform along an axis.

    >>> import gpuarray as ga
    >>> ga.fft.fft([0.0, 1.0, 0.0, 0.0]).compute()
    array([ 1.+0.j,  0.-1.j, -1.+0.j,  0.+1.j])

    Parameters
    ----------
    a : array, real or complex
    n : the length that is transformed: longer arrays are cropped, shorter ones padded with zeros
    axis : the axis
    norm : "backward" (None) divides the inverse transform by n, "forward" this one, "ortho" both by its square root
    out : an `NDArray` that is made to stand for the result

    Raises ValueError for a length that is not positive and another `norm`, AxisError for the axis, TypeError for
    what is no number. An axis that is too long for memory is split in two factors; MemoryLimitError where it has none.
    """
    return along_one("fft", asarray(a), n, axis, norm, out)


def ifft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> NDArray:
    """Inverse of `fft`.

    >>> import gpuarray as ga
    >>> ga.fft.ifft([4, 0, 0, 0]).compute()
    array([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j])

    Arguments as in `fft`.
    """
    return along_one("ifft", asarray(a), n, axis, norm, out)


def rfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> NDArray:
    """Transform of real numbers, without the second half, which mirrors the first.

    >>> import gpuarray as ga
    >>> ga.fft.rfft([0.0, 1.0, 0.0, 0.0]).compute()
    array([ 1.+0.j,  0.-1.j, -1.+0.j])

    Arguments as in `fft`. Raises TypeError for complex numbers.
    """
    return along_one("rfft", real_array(a, "rfft"), n, axis, norm, out)


def irfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> NDArray:
    """Inverse of `rfft`: real numbers.

    >>> import gpuarray as ga
    >>> ga.fft.irfft([1, -1j, -1]).compute()
    array([0., 1., 0., 0.])

    Arguments as in `fft`; `n` is the length of the result, an even one where it is not given.
    """
    return along_one("irfft", asarray(a), n, axis, norm, out)


def hfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> NDArray:
    """Transform of what mirrors itself (the second half is not given): real numbers.

    >>> import gpuarray as ga
    >>> ga.fft.hfft([1, 2, 3]).compute()
    array([ 8., -2.,  0., -2.])

    Arguments as in `irfft`.
    """
    return along_one("irfft", apply("conjugate", asarray(a)), n, axis, SWAPPED[checked_norm(norm)], out)


def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> NDArray:
    """Inverse of `hfft`.

    >>> import gpuarray as ga
    >>> ga.fft.ihfft([8.0, -2.0, 0.0, -2.0]).compute()
    array([1.-0.j, 2.-0.j, 3.-0.j])

    Arguments as in `rfft`.
    """
    made = along_one("rfft", real_array(a, "ihfft"), n, axis, SWAPPED[checked_norm(norm)], None)
    return into(out, apply("conjugate", made))
