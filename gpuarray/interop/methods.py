"""Methods of NumPy's arrays that are about bytes, and words for those that a lazy array cannot have."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray, install

BYTES = {"byteswap", "ctypes", "data", "getfield", "setfield", "view", "__array_interface__", "__array_struct__"}
IN_MEMORY = BYTES | {"base", "flags", "setflags", "strides"}
"""What is known of memory alone."""


def _fill(self: NDArray, value: Any) -> None:
    """Make every element the same."""
    self[...] = asarray(value)


def _flat(self: NDArray) -> NDArray:
    """The elements in one dimension; unlike NumPy's, writing to it does not write to the array."""
    return self.ravel()


def _tobytes(self: NDArray, order: str = "C") -> bytes:
    """The bytes of the elements, computed now."""
    return np.asarray(self).tobytes(order)  # type: ignore[arg-type]


def _tofile(self: NDArray, fid: Any, sep: str = "", format: str = "%s") -> None:
    """Write the elements, computed now, to a file without a header; `to_npy` writes chunk by chunk."""
    np.asarray(self).tofile(fid, sep, format)


def _missing(self: NDArray, name: str) -> Any:
    """Say where an attribute of NumPy's arrays is to be found."""
    kind = type(self).__name__
    if name in IN_MEMORY:
        raise AttributeError(
            f"{kind!r} object has no attribute {name!r}: a lazy array has no memory; that of its result has, "
            f"x.compute().{name}",
            name=name,
            obj=self,
        )
    raise AttributeError(f"{kind!r} object has no attribute {name!r}", name=name, obj=self)


install("fill", _fill)
install("flat", property(_flat))
install("tobytes", _tobytes)
install("tofile", _tofile)
install("__getattr__", _missing)
