"""What arrays on a GPU may be, how they lie in memory, and which copies cannot be made in one piece."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.kernels.errors import UnsupportedDTypeError

Host = np.ndarray[Any, Any]

KINDS = "biufc"
"""Kinds of dtypes that CuPy's arrays have."""


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Refuse dtypes that a GPU's arrays cannot have."""
    dtype = np.dtype(dtype)
    if dtype.kind not in KINDS or dtype.char in "gG" or not dtype.isnative:
        raise UnsupportedDTypeError(
            f"{dtype} is no dtype of arrays on a GPU, which hold numbers and booleans in the machine's byte order; "
            'compute with device="cpu"'
        )


def memory_order(array: Any) -> tuple[int, ...]:
    """The axes of an array from the longest step to the shortest."""
    return tuple(sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis])))


def in_memory_order(array: Host) -> tuple[Host, tuple[int, ...]]:
    """The array in C order and native bytes, without a copy if turning its axes does it, and how to turn them back."""
    check_dtype(array.dtype.newbyteorder("="))
    axes = memory_order(array)
    dense = array.transpose(axes)
    if not dense.flags.c_contiguous:
        dense, axes = np.ascontiguousarray(array).reshape(array.shape), tuple(range(array.ndim))
    if not dense.dtype.isnative:
        dense = dense.astype(dense.dtype.newbyteorder("="))
    return dense, tuple(int(a) for a in np.argsort(axes))


def refuse_other(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse an array to write to that does not fit the result."""
    if (out.shape, out.dtype) != (shape, dtype):
        raise ValueError(f"out has shape {out.shape} and dtype {out.dtype}; the result has {shape} and {dtype}")


def refuse_strided(what: str, array: Any) -> None:
    """Refuse what a copy cannot take in one piece."""
    if not array.flags.c_contiguous:
        raise ValueError(f"the {what} of a copy, {array.shape}, is not contiguous in C order; copy it first")


def refuse_unlike(source: Any, target: Any) -> None:
    """Refuse a copy between arrays that differ in shape or dtype."""
    refuse_strided("target", target)
    if source.shape != target.shape or source.dtype != target.dtype:
        raise ValueError(f"{source.shape} {source.dtype} is not copied to {target.shape} {target.dtype}")
