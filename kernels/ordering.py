"""Sorting one block: values, values with their positions, and the integers that stand for the order of floats."""

from __future__ import annotations

from typing import Any

import numpy as np

LONG_ROW = 1024
"""Elements of a row from which its zeros are found by bisection."""
SETTLED = 1 << 16
"""Elements of shorter rows whose zeros are looked for at once."""


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


def way(dtype: np.dtype[Any], kind: str | None) -> str | None:
    """NumPy's kind of sort that gives the same bits however the data are cut: the quickest where `settle` makes equal
    elements alike, or they are so; a stable one where they can be told apart."""
    if dtype.kind == "c" or (dtype.kind == "f" and not settles(dtype)):
        return "stable"
    return kind if dtype.kind == "f" else None


def settles(dtype: np.dtype[Any]) -> bool:
    """Whether equal elements of a dtype may have different bits, which `settle` puts in order."""
    return dtype.kind == "f" and dtype.itemsize <= 8


def sort(xp: Any, array: Any, axis: int, kind: str | None) -> Any:
    """A sorted copy; CuPy knows the stable order only, which is every kind."""
    kind = way(array.dtype, kind)
    made = xp.sort(array, axis=axis, kind=_kind(xp, kind))
    if kind is None:
        settle(xp, xp.moveaxis(made, axis, -1))
    return made


def argsort(xp: Any, array: Any, axis: int, kind: str | None) -> Any:
    """The positions that sort an array, as int64."""
    return xp.argsort(array, axis=axis, kind=_kind(xp, kind)).astype(np.int64, copy=False)


def _kind(xp: Any, kind: str | None) -> str | None:
    return kind if kind is None or getattr(xp, "__name__", "numpy") != "cupy" else "stable"


def sort_in_place(xp: Any, array: Any, kind: str | None) -> None:
    """Sort an array in C order along its last axis, where it is."""
    kind = way(array.dtype, kind)
    if kind is None or _kind(xp, None) is not None:
        array.sort(axis=-1)
    else:
        array.sort(axis=-1, kind=kind)
    if kind is None:
        settle(xp, array)


def settle(xp: Any, array: Any) -> None:
    """Have the zeros of rows that are sorted in one order, -0.0 before 0.0, and every NaN the same: equal elements,
    which a quick sort leaves anywhere, have the same bits then however the data were cut."""
    if not settles(array.dtype) or not array.size:
        return
    n = array.shape[-1]
    if array.ndim > 1 and n >= LONG_ROW:
        for row in np.ndindex(array.shape[:-1]):
            _settle_row(xp, array[row])
    elif array.ndim > 1:
        step = max(1, SETTLED // max(1, n))
        if array.ndim > 2:
            for plane in array:
                settle(xp, plane)
            return
        for lo in range(0, array.shape[0], step):
            _settle_rows(xp, array[lo : lo + step])
    elif n >= LONG_ROW:
        _settle_row(xp, array)
    else:
        _settle_rows(xp, array[None])


def _settle_row(xp: Any, row: Any) -> None:
    dtype = row.dtype
    found = (
        xp.searchsorted(row, xp.zeros(1, dtype), side="left"),
        xp.searchsorted(row, xp.zeros(1, dtype), side="right"),
    )
    lo, hi = (int(at[0]) for at in found)
    if lo < hi:
        negative = sum(int(xp.signbit(row[k : min(hi, k + SETTLED)]).sum()) for k in range(lo, hi, SETTLED))
        row[lo : lo + negative] = -0.0
        row[lo + negative : hi] = 0.0
    if bool(row[-1] != row[-1]):
        row[int(xp.searchsorted(row, xp.full(1, np.nan, dtype), side="left")[0]) :] = np.nan


def _settle_rows(xp: Any, rows: Any) -> None:
    zero = rows == 0
    if bool(zero.any()):
        negative = (zero & xp.signbit(rows)).sum(axis=-1, keepdims=True)
        if bool(negative.any()):
            before = xp.cumsum(zero, axis=-1) <= negative
            rows[zero & before] = -0.0
            rows[zero & ~before] = 0.0
    if bool((rows[:, -1] != rows[:, -1]).any()):
        rows[rows != rows] = np.nan


def settling_nbytes(size: int, row: int, dtype: np.dtype[Any]) -> int:
    """Bytes that `settle` takes for `size` elements in rows."""
    if not settles(dtype) or not size:
        return 0
    return min(size, 2 * SETTLED) * 16 if row < LONG_ROW else 1024 + 2 * min(row, SETTLED)


def sorting_nbytes(size: int, row: int, dtype: np.dtype[Any], kind: str | None) -> int:
    """Bytes that `sort_in_place` takes beside the array."""
    if way(dtype, kind) is not None:
        return row * dtype.itemsize // 2 + dtype.itemsize
    return settling_nbytes(size, row, dtype)


def argsorting_nbytes(size: int) -> int:
    """Bytes that `argsort` takes beside its result, and more."""
    return 4 * size + 1024


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
