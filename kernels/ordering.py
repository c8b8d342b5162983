"""Sorting one block: values, values with their positions, and the integers that stand for the order of floats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

LONG_ROW = 1024
"""Elements of a row from which its zeros are found by bisection."""
BLOCK = 1 << 18
"""Elements that are looked at at once for zeros."""


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
    elements alike, or they are so; a stable one where they can be told apart.

    So are float16: NumPy 2.4's vectorised sort of them misplaces zeros of both signs, on processors with AVX-512 FP16.
    """
    if dtype.kind == "c" or dtype == np.float16:
        return "stable"
    return kind if dtype.kind == "f" else None


def settles(dtype: np.dtype[Any]) -> bool:
    """Whether equal elements of a dtype may have different bits, which `settle` puts in order."""
    return dtype.kind == "f" and dtype != np.float16


def sort(xp: Any, array: Any, axis: int, kind: str | None) -> Any:
    """A sorted copy; CuPy knows the stable order only, which is every kind."""
    kind = way(array.dtype, kind)
    if kind is not None or not settles(array.dtype):
        return xp.sort(array, axis=axis, kind=_kind(xp, kind))
    negative = negative_zeros(xp, xp.moveaxis(array, axis, -1))
    made = xp.sort(array, axis=axis, kind=_kind(xp, kind))
    settle(xp, xp.moveaxis(made, axis, -1), negative)
    return made


def argsort(xp: Any, array: Any, axis: int, kind: str | None) -> Any:
    """The positions that sort an array, as int64."""
    return xp.argsort(array, axis=axis, kind=_kind(xp, kind)).astype(np.int64, copy=False)


def _kind(xp: Any, kind: str | None) -> str | None:
    return kind if kind is None or getattr(xp, "__name__", "numpy") != "cupy" else "stable"


def sort_in_place(xp: Any, array: Any, kind: str | None) -> None:
    """Sort an array in C order along its last axis, where it is."""
    kind = way(array.dtype, kind)
    if kind is not None:
        array.sort(axis=-1, **({} if _kind(xp, None) else {"kind": kind}))
    elif not settles(array.dtype):
        array.sort(axis=-1)
    else:
        negative = negative_zeros(xp, array)
        array.sort(axis=-1)
        settle(xp, array, negative)


def negative_zeros(xp: Any, array: Any) -> Any:
    """How many zeros of each row are -0.0; an axis of one is left."""
    bits = array.view(np.dtype(f"i{array.dtype.itemsize}"))
    found = xp.zeros((*array.shape[:-1], 1), dtype=np.int64)
    for at in _blocks(array.shape):
        there = bits[at] == np.iinfo(bits.dtype).min
        if bool(there.any()):
            found[at[:-1]] += there.sum(axis=-1, keepdims=True)
    return found


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[Any, ...]]:
    """Where an array is cut into blocks of at most so many elements, or of one row of fewer than `LONG_ROW`: along the
    last axis where rows are long, else along the one before it."""
    *others, n = shape
    if n >= LONG_ROW or not others:
        for row in np.ndindex(*others):
            for k in range(0, n, BLOCK):
                yield *row, slice(k, k + BLOCK)
        return
    *planes, rows = others
    step = max(1, BLOCK // max(1, n))
    for plane in np.ndindex(*planes):
        for k in range(0, rows, step):
            yield *plane, slice(k, k + step), slice(None)


def settle(xp: Any, array: Any, negative: Any) -> None:
    """Have the zeros of sorted rows in one order, `negative` of them -0.0 and these first, and every NaN the same.

    A quick sort leaves equal elements anywhere, and NumPy's vectorised one loses the signs of zeros; so the bits of the
    result are the same however the data were cut.
    """
    if not array.size:
        return
    if array.ndim == 1 or array.shape[-1] >= LONG_ROW:
        for row in np.ndindex(*array.shape[:-1]):
            _settle_row(xp, array[row], int(negative[row][0]))
        return
    for at in _blocks(array.shape):
        rows, there = array[at], negative[at[:-1]]
        if bool(there.any()):  # else all zeros are alike
            zero = rows == 0
            before = xp.cumsum(zero, axis=-1) <= there
            rows[zero & before] = -0.0
            rows[zero & ~before] = 0.0
        if bool((rows[:, -1] != rows[:, -1]).any()):
            rows[rows != rows] = np.nan


def _settle_row(xp: Any, row: Any, negative: int) -> None:
    zero, nan = xp.zeros(1, row.dtype), xp.full(1, np.nan, row.dtype)
    if negative:  # else all zeros are alike
        lo, hi = (int(xp.searchsorted(row, zero, side=side)[0]) for side in ("left", "right"))
        row[lo : lo + negative] = -0.0
        row[lo + negative : hi] = 0.0
    if bool(row[-1] != row[-1]):
        row[int(xp.searchsorted(row, nan, side="left")[0]) :] = np.nan


def settling_nbytes(size: int, row: int, dtype: np.dtype[Any]) -> int:
    """Bytes that `negative_zeros` and `settle` take for `size` elements in rows."""
    if not settles(dtype) or not size:
        return 0
    counts = 8 * (size // max(1, row)) + 1024
    return counts + (16 * min(size, BLOCK + row) if row < LONG_ROW else 2 * min(row, BLOCK))


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
