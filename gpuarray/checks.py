"""What is refused wherever arrays come in: dtypes no chunk can hold, masks, devices and orders that mean nothing."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from gpuarray.errors import UnsupportedDTypeError

REFUSED_KINDS = "OV"
"""Kinds of dtype that no chunk can hold: Python objects, and records."""


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Refuse dtypes that cannot be held in chunks."""
    if dtype.kind in REFUSED_KINDS or dtype.hasobject or dtype.char in "gG":
        raise UnsupportedDTypeError(
            f"arrays of dtype {dtype} are not supported; use a boolean, integer, float or complex dtype "
            "of at most 64 bits a component (numpy.asarray(x, dtype=...) converts)"
        )


def refuse_masked(obj: Any) -> None:
    """Refuse a masked array: what is hidden in it would count."""
    masked = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(obj, masked.MaskedArray):
        raise TypeError(
            f"a masked array of shape {obj.shape} would lose its mask; use .filled(value), or pass its .data and hand "
            "the mask on as an array of its own (where=)"
        )


def check_device(device: Any) -> None:
    """Accept what the array API standard passes: where a run computes is a setting, not a property of an array."""
    if device not in (None, "cpu"):
        raise ValueError(
            f"device={device!r}: arrays are lazy and belong to no device; gpuarray.config.set(device=...) says where a "
            "run computes"
        )


def check_order(order: Any) -> None:
    """Accept NumPy's memory orders, which say nothing about lazy arrays."""
    if order not in (None, "C", "F", "A", "K"):
        raise ValueError(f"order={order!r}: write 'C', 'F', 'A' or 'K', which all mean the same for a lazy array")
