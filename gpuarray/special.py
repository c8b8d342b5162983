"""Functions of a formula that no kernel has, and sequences."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.blocks import map_blocks
from gpuarray.creation import arange, logspace
from gpuarray.elementwise import apply
from gpuarray.manipulation import astype
from gpuarray.reductions import all as every

FLOAT64 = np.dtype(np.float64)


def i0(x: Any) -> NDArray:
    """The modified Bessel function of the first kind, order 0.

    >>> import gpuarray as ga
    >>> ga.round(ga.i0([0.0, 1.0]), 6).compute()
    array([1.      , 1.266066])

    Raises TypeError for complex numbers.
    """
    array = asarray(x)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"i0 takes real numbers, got dtype {array.dtype}")
    kind = array.dtype if array.dtype.kind == "f" else FLOAT64
    return map_blocks(_i0, astype(array, kind), dtype=kind)


def _i0(block: Any) -> Any:
    return np.i0(block).astype(block.dtype, copy=False)


def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, *, chunks: Any = "auto"
) -> NDArray:
    """`num` values from `start` to `stop`, each the same multiple of the one before.

    >>> import gpuarray as ga
    >>> ga.geomspace(1, 1000, 4)
    array([   1.,   10.,  100., 1000.])

    Arguments as in `numpy.geomspace` (real scalars only), and `chunks`. Raises ValueError for zero and for ends of
    different signs.
    """
    first, last = np.asarray(start), np.asarray(stop)
    if first.ndim or last.ndim or first.dtype.kind not in "biuf" or last.dtype.kind not in "biuf":
        raise ValueError(f"geomspace takes real numbers, got {start!r} and {stop!r}")
    if first == 0 or last == 0 or (first < 0) != (last < 0):
        raise ValueError(f"geomspace({start}, {stop}): both ends must be positive, or both negative")
    kind = np.result_type(first, last, FLOAT64)
    sign, n = -1 if first < 0 else 1, operator.index(num)
    low, high = np.log10(np.abs(first.astype(kind))), np.log10(np.abs(last.astype(kind)))
    made = sign * logspace(low, high, n, endpoint, chunks=chunks)
    at = arange(n, chunks=made.chunks) if n else arange(0)
    if n > 0:  # the ends are exact
        made = apply("where", at == 0, first.astype(kind)[()], made)
    if n > 1 and endpoint:
        made = apply("where", at == n - 1, last.astype(kind)[()], made)
    return astype(made, kind if dtype is None else np.dtype(dtype))


def real_if_close(a: Any, tol: float = 100) -> NDArray:
    """The real parts where all imaginary parts are nearly zero, which a run finds out now; else the array.

    >>> import gpuarray as ga
    >>> ga.real_if_close([2.0 + 4e-15j, 3.0])
    array([2., 3.])

    Arguments as in `numpy.real_if_close`.
    """
    x = asarray(a)
    if x.dtype.kind != "c":
        return x
    most = tol * float(np.finfo(x.dtype).eps) if tol > 1 else tol
    return apply("real", x) if every(apply("absolute", apply("imag", x)) < most) else x


def frexp(x: Any, /) -> tuple[NDArray, NDArray]:
    """Mantissa and exponent: ``x == mantissa * 2**exponent``.

    >>> import gpuarray as ga
    >>> ga.compute(*ga.frexp([8.0, 0.75]))
    (array([0.5 , 0.75]), array([4, 0], dtype=int32))

    Raises TypeError for complex numbers.
    """
    array = asarray(x)
    mantissa, exponent = np.frexp.resolve_dtypes((array.dtype, None, None))[1:]
    return map_blocks(_mantissa, array, dtype=mantissa), map_blocks(_exponent, array, dtype=exponent)


def _mantissa(block: Any) -> Any:
    return np.frexp(block)[0]


def _exponent(block: Any) -> Any:
    return np.frexp(block)[1]
