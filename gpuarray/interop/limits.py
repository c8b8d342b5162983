"""The limits of dtypes: `finfo` and `iinfo` as NumPy has them, with the numbers that the array API standard wants."""

from __future__ import annotations

from typing import Any

import numpy as np


def _dtype_of(type: Any) -> Any:
    """The dtype of an array, or what NumPy takes for one."""
    dtype = getattr(type, "dtype", None)
    return dtype if isinstance(dtype, np.dtype) else type


class finfo:
    """The limits of a floating-point dtype, or of the real part of a complex one.

    >>> import gpuarray as ga
    >>> ga.finfo(ga.float32).eps
    1.1920928955078125e-07
    >>> ga.finfo(ga.ones(3)).bits
    64

    `eps`, `max`, `min` and `smallest_normal` are Python floats, so that they never widen what they are combined with;
    the other attributes are those of `numpy.finfo`. Raises ValueError for dtypes that are not floating-point.
    """

    __slots__ = ("_numpys", "bits", "dtype", "eps", "max", "min", "smallest_normal")

    def __init__(self, type: Any, /) -> None:
        numpys = np.finfo(_dtype_of(type))
        self._numpys = numpys
        self.bits, self.dtype = int(numpys.bits), numpys.dtype
        self.eps, self.max, self.min = float(numpys.eps), float(numpys.max), float(numpys.min)
        self.smallest_normal = float(numpys.smallest_normal)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._numpys, name)

    def __repr__(self) -> str:
        return repr(self._numpys)

    def __str__(self) -> str:
        return str(self._numpys)


class iinfo(np.iinfo):
    """The limits of an integer dtype.

    >>> import gpuarray as ga
    >>> ga.iinfo(ga.int8).max, ga.iinfo(ga.arange(3)).bits
    (127, 64)

    Attributes as in `numpy.iinfo`. Raises ValueError for dtypes that are not integers.
    """

    def __init__(self, type: Any, /) -> None:
        super().__init__(_dtype_of(type))
