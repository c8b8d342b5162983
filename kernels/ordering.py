"""Sorting one block: values, values with their positions, and the integers that stand for the order of floats."""

from __future__ import annotations

from typing import Any

import numpy as np

SEAMS = "biufM" + "m"
"""Kinds of dtype whose sorted halves are merged at the seam: those that compare with one instruction."""


def last(dtype: np.dtype[Any]) -> Any:
    """A value that no other of its dtype is sorted behind: what padding is made of.

    >>> last(np.dtype("i1")), last(np.dtype("f8"))
    (127, nan)
    """
    if dtype.kind == "b":
        return True
    if dtype.kind in "iu":
        return int(np.iinfo(dtype).max)
    if dtype.kind == "f":
        return float("nan")
    if dtype.kind == "c":
        return complex(float("nan"), float("nan"))
    if dtype.kind in "mM":
        return np.array("NaT", dtype)[()]
    if dtype.kind == "U":
        return chr(0x10FFFF) * (dtype.itemsize // 4)
    return b"\xff" * dtype.itemsize


def sort(xp: Any, array: Any, axis: int, kind: str | None) -> Any:
    """A sorted copy; CuPy knows the stable order only, which is every kind."""
    return xp.sort(array, axis=axis, kind=_kind(xp, kind))


def argsort(xp: Any, array: Any, axis: int, kind: str | None) -> Any:
    """The positions that sort an array, as int64."""
    return xp.argsort(array, axis=axis, kind=_kind(xp, kind)).astype(np.int64, copy=False)


def _kind(xp: Any, kind: str | None) -> str | None:
    return kind if kind is None or getattr(xp, "__name__", "numpy") != "cupy" else "stable"


def sort_in_place(xp: Any, array: Any, axis: int) -> None:
    """Sort an array where it is; CuPy does so with contiguous ones only."""
    if array.flags.c_contiguous:
        array.sort(axis=axis)
    else:
        array[...] = xp.sort(array, axis=axis)


def merge(xp: Any, array: Any, axis: int, seam: int) -> None:
    """Sort two sorted parts, of which the second begins at `seam`, where they are: only what overlaps is sorted."""
    n = array.shape[axis]
    if not 0 < seam < n:
        return
    if array.size != n or array.dtype.kind not in SEAMS:
        sort_in_place(xp, array, axis)
        return
    flat = array[tuple(slice(None) if a == axis else 0 for a in range(array.ndim))]
    lo = int(xp.searchsorted(flat[:seam], flat[seam : seam + 1], side="right")[0])
    hi = seam + int(xp.searchsorted(flat[seam:], flat[seam - 1 : seam], side="left")[0])
    if lo < hi:
        sort_in_place(xp, flat[lo:hi], 0)


def sort_pair(xp: Any, values: Any, positions: Any, axis: int) -> tuple[Any, Any]:
    """Values sorted along an axis and their positions with them; equal values in the order of their positions."""
    order = xp.argsort(values, axis=axis, kind="stable")
    values, positions = xp.take_along_axis(values, order, axis), xp.take_along_axis(positions, order, axis)
    del order
    rows = xp.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
    places = xp.moveaxis(positions, axis, -1)
    shape = places.shape
    places = places.reshape(rows.shape)
    changed = False
    for k in range(rows.shape[0]):
        changed = _in_order(xp, rows[k], places[k]) or changed
    if changed:
        positions = xp.moveaxis(places.reshape(shape), -1, axis)
    return values, positions


def _in_order(xp: Any, values: Any, positions: Any) -> bool:
    """Bring the positions of equal values, which are neighbours, into order; whether any were not."""
    with np.errstate(invalid="ignore"):
        tied = ~(values[:-1] < values[1:])  # a NaN is tied with what follows it
    if not bool((tied & (positions[:-1] > positions[1:])).any()):
        return False
    member = xp.zeros(values.shape, dtype=bool)
    member[:-1] |= tied
    member[1:] |= tied
    del tied
    at = xp.flatnonzero(member)
    del member
    order = at[xp.argsort(positions[at])]
    order = order[xp.argsort(values[order], kind="stable")]
    positions[at] = positions[order]
    return True


def order_bits(dtype: np.dtype[Any]) -> int:
    """Bits of the integers that stand for the order of a dtype's values; 0 where there are none."""
    return 8 * dtype.itemsize if dtype.kind in "biuf" and dtype.itemsize <= 8 else 0


def to_order(xp: Any, array: Any) -> Any:
    """Unsigned integers in the order of the values; every NaN is the largest, and nothing else is."""
    dtype = array.dtype
    unsigned = np.dtype(f"u{dtype.itemsize}")
    bits = array.view(unsigned)
    top = unsigned.type(1 << (8 * dtype.itemsize - 1))
    if dtype.kind in "bu":
        return bits
    if dtype.kind == "i":
        return bits ^ top
    negative = (array.view(np.dtype(f"i{dtype.itemsize}")) >> (8 * dtype.itemsize - 1)).view(unsigned)
    return xp.where(array != array, unsigned.type(np.iinfo(unsigned).max), bits ^ (negative | top))


def from_order(xp: Any, keys: Any, dtype: np.dtype[Any]) -> Any:
    """The values that unsigned integers of `to_order` stand for."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    keys = keys.astype(unsigned)
    top = unsigned.type(1 << (8 * dtype.itemsize - 1))
    if dtype.kind == "i":
        keys = keys ^ top
    elif dtype.kind == "f":
        keys = xp.where(keys & top, keys ^ top, ~keys)
    return keys.view(dtype)
