"""Booleans as the bits of bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import normalize_axis
from gpuarray.elementwise import apply, cast
from gpuarray.joining import concatenate
from gpuarray.manipulation import ravel, reshape
from gpuarray.reductions import sum


def _places(bitorder: str) -> np.ndarray[Any, Any]:
    if bitorder not in ("big", "little"):
        raise ValueError(f"'order' must be either 'little' or 'big', got {bitorder!r}")
    places = np.arange(8, dtype=np.uint8)
    return places[::-1].copy() if bitorder == "big" else places


def packbits(a: Any, /, axis: int | None = None, bitorder: str = "big") -> NDArray:
    """Eight elements along an axis as the bits of one byte; those that lack at the end are zeros.

    >>> import gpuarray as ga
    >>> ga.packbits([1, 0, 1]).compute()
    array([160], dtype=uint8)

    Arguments as in `numpy.packbits`. Raises TypeError for what is neither boolean nor integer.
    """
    x = ravel(a) if axis is None else asarray(a)
    if x.dtype.kind not in "biu":
        raise TypeError("Expected an input array of integer or boolean data type")
    at = normalize_axis(0 if axis is None else axis, x.ndim)
    places = _places(bitorder)
    bits = NDArray(cast((x if x.dtype == bool else x != 0).node, np.dtype(np.uint8)))
    missing = -x.shape[at] % 8
    if missing:
        shape = (*x.shape[:at], missing, *x.shape[at + 1 :])
        bits = concatenate([bits, np.zeros(shape, np.uint8)], axis=at)
    n = bits.shape[at] // 8
    bits = reshape(bits, (*x.shape[:at], n, 8, *x.shape[at + 1 :]))
    weights = (np.uint8(1) << places).reshape((8,) + (1,) * (x.ndim - at - 1))
    return sum(bits * weights, axis=at + 1, dtype=np.uint8)


def unpackbits(a: Any, /, axis: int | None = None, count: int | None = None, bitorder: str = "big") -> NDArray:
    """The bits of bytes as elements along an axis, the first `count` of them, or without the last if it is negative.

    >>> import gpuarray as ga
    >>> ga.unpackbits(ga.asarray([160], dtype="uint8"), count=3).compute()
    array([1, 0, 1], dtype=uint8)

    Arguments as in `numpy.unpackbits`. Raises TypeError for another dtype than uint8.
    """
    x = ravel(a) if axis is None else asarray(a)
    if x.dtype != np.uint8:
        raise TypeError(f"Expected an input array of unsigned byte data type, got {x.dtype}")
    at = normalize_axis(0 if axis is None else axis, x.ndim)
    places = _places(bitorder).reshape((8,) + (1,) * (x.ndim - at - 1))
    spread = reshape(x, (*x.shape[: at + 1], 1, *x.shape[at + 1 :]))
    bits = apply("bitwise_and", apply("right_shift", spread, places), np.uint8(1))
    total = 8 * x.shape[at]
    bits = reshape(bits, (*x.shape[:at], total, *x.shape[at + 1 :]))
    if count is None:
        return bits
    if count < 0 and -count > total:
        raise ValueError(f"-count={-count} is larger than the number of bits, {total}")
    part: list[Any] = [slice(None)] * x.ndim
    part[at] = slice(0, count)
    if count <= total:
        return bits[tuple(part)]
    shape = (*x.shape[:at], count - total, *x.shape[at + 1 :])
    return concatenate([bits, np.zeros(shape, np.uint8)], axis=at)
