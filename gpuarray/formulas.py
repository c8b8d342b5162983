"""Functions of a formula that no kernel has."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.blocks import map_blocks
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
