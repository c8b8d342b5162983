"""Counting elements: in bins of the same width, and by digits of the integers that stand for their order.

What NumPy does in several passes with temporaries, compiled kernels do in one. Counts are exact, so it does not matter
which of them counts.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpuarray.kernels import ordering
from gpuarray.kernels.worth import Worth

BLOCK = 1 << 16
"""Elements that are binned at a time: temporaries stay in the caches."""
DIGIT = 16
"""Bits of a digit."""
_BINNED = {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"}

worth = Worth(elements=2**26, at_least=2**14)


def in_bins(xp: Any, rows: Any, edges: Any, weights: Any = None) -> Any:
    """How many elements of a vector, or the sum of their weights, are in each bin of about the same width.

    >>> in_bins(np, np.array([0.0, 0.5, 1.0, 2.0, np.nan]), np.array([0.0, 1.0, 2.0]))
    array([2, 2])

    What counts are the edges themselves, however they were rounded; the last bin holds its right one.
    """
    if xp is not np:
        return xp.histogram(rows, bins=edges, weights=weights)[0]
    if weights is None and compiled(rows) and worth(source := _binning(rows.dtype.name), rows.size):
        counts = np.zeros(len(edges) - 1, np.int64)
        _call(source, rows, np.ascontiguousarray(edges, np.float64), counts, len(counts))
        return counts
    kind = np.dtype(np.int64) if weights is None else weights.dtype
    made = np.zeros(len(edges) - 1, kind)
    for start in range(0, rows.size, BLOCK):
        at = slice(start, start + BLOCK)
        made += _binned(rows[at], edges, None if weights is None else weights[at], kind)
    return made


def compiled(rows: Any) -> bool:
    """Whether kernels can read a vector."""
    plain = rows.dtype.name in _BINNED and rows.dtype.isnative and rows.flags.aligned
    return bool(plain and rows.flags.c_contiguous)


def _binned(rows: Any, edges: Any, weights: Any, kind: np.dtype[Any]) -> Any:
    number = len(edges) - 1
    first, last = float(edges[0]), float(edges[-1])
    keep = (rows >= edges[0]) & (rows <= edges[-1])
    if not keep.all():
        rows, weights = rows[keep], None if weights is None else weights[keep]
    with np.errstate(all="ignore"):
        at = (rows.astype(np.float64) - first) * (number / (last - first))
        index = np.where(at < number, at, number - 1).astype(np.intp)  # NaN where all of this is infinite
    while True:  # no more than a step or two, as edges are about as far apart from each other
        below, above = (rows < edges[index]) & (index > 0), (rows >= edges[index + 1]) & (index < number - 1)
        if not (below.any() or above.any()):
            break
        index += above.astype(np.intp) - below
    if weights is None:
        return np.bincount(index, minlength=number)
    if kind.kind == "c":
        made = np.bincount(index, weights.real, number) + 1j * np.bincount(index, weights.imag, number)
    else:
        made = np.bincount(index, weights, number)
    return made.astype(kind)


def digits(xp: Any, rows: Any, level: int, prefixes: Any, digit: int = DIGIT) -> Any:
    """How often each digit follows each prefix among the keys of rows (`ordering.to_order`): (rows, prefixes, digits).

    >>> digits(np, np.array([[3, 3, 250]], np.uint8), 0, np.array([[0]]))[0, 0, [3, 250]]
    array([2, 1])

    `level` is the number of digits before; at level 0 there is one prefix, of no bits. A digit has `digit` bits, a
    divisor of a key's, or all of the key's where those are fewer.
    """
    bits = ordering.order_bits(rows.dtype)
    digit = min(digit, bits)
    several = prefixes.shape[1]
    rows = xp.ascontiguousarray(rows)
    if xp is np and compiled(rows) and worth(source := _digits(rows.dtype.str[1:], digit), rows.size * several):
        counts = np.zeros((len(rows), several, 1 << digit), np.int64)
        _call(source, rows, np.ascontiguousarray(prefixes, np.uint64), counts, several, level, len(rows))
        return counts
    counts = xp.empty((len(rows), several, 1 << digit), np.int64)
    for row, wanted, made in zip(rows, prefixes, counts, strict=True):
        keys = ordering.to_order(xp, row)
        low = (keys >> keys.dtype.type(bits - digit * (level + 1))) & keys.dtype.type((1 << digit) - 1)
        top = keys >> keys.dtype.type(bits - digit * level) if level else xp.zeros_like(keys)
        seen: dict[int, int] = {}
        for p in range(several):
            prefix = int(wanted[p])
            first = seen.setdefault(prefix, p)
            made[p] = made[first] if first < p else _occur(xp, low[top == keys.dtype.type(prefix)], 1 << digit)
    return counts


def _occur(xp: Any, digits: Any, number: int) -> Any:
    return xp.bincount(digits.astype(np.int64), minlength=number).astype(np.int64, copy=False)


def _call(source: str, rows: Any, table: Any, counts: Any, *numbers: int) -> None:
    from gpuarray.kernels import cache

    words = np.array([rows.shape[-1], *(a.ctypes.data for a in (rows, table, counts)), *numbers], np.int64)
    cache.load(source).call(words.ctypes.data)


@functools.cache
def _binning(dtype: str) -> str:
    return _BINNING.format(dtype="uint8" if dtype == "bool" else dtype)


@functools.cache
def _digits(code: str, digit: int) -> str:
    """The kernel for a dtype's keys, in the upper bits of a word."""
    kind, size = code[0], int(code[1:])
    lines = []
    if kind == "i":
        lines = ["key ^= TOP"]
    elif kind == "f":
        infinite = np.array(np.inf, f"f{size}").view(f"u{size}").item() << (64 - 8 * size)
        lines = [
            f"nan = (key & ~TOP) > np.uint64({infinite})",
            "key ^= np.uint64(np.int64(key) >> np.int64(63)) | TOP",
            "key = ~np.uint64(0) if nan else key",
        ]
    text = "\n".join(" " * 20 + line for line in lines)
    return _DIGITS.format(unsigned=f"uint{8 * size}", up=64 - 8 * size, digit=digit, key=text)


_HEAD = '''"""Generated by gpuarray.kernels.counting."""
import numpy as np
from numba import njit
from gpuarray.kernels.pointers import load, pointer, store

TOP = np.uint64(1 << 63)

@njit
def earlier(given, base, p):
    for k in range(p):
        if load("b", np.uint64, given, base + k) == load("b", np.uint64, given, base + p):
            return k
    return p

@njit("void(int64)", nogil=True, cache=True, error_model="numpy")
def kernel(words):
    table = pointer(words)
    length = load("a", np.int64, table, 0)
    rows = pointer(load("a", np.int64, table, 1))
    given = pointer(load("a", np.int64, table, 2))
    counts = pointer(load("a", np.int64, table, 3))
    number = load("a", np.int64, table, 4)
'''

_BINNING = (
    _HEAD
    + """
    first, last = load("b", np.float64, given, 0), load("b", np.float64, given, number)
    scale = number / (last - first)
    for k in range(length):
        value = np.float64(load("in", np.{dtype}, rows, k))
        if first <= value <= last:
            at = (value - first) * scale
            bin = np.int64(at) if at < number else number - 1
            while bin > 0 and value < load("b", np.float64, given, bin):
                bin -= 1
            while bin < number - 1 and value >= load("b", np.float64, given, bin + 1):
                bin += 1
            store("out", np.int64, counts, bin, load("out", np.int64, counts, bin) + 1)
"""
)

_DIGITS = (
    _HEAD
    + """
    level = load("a", np.int64, table, 5)
    shift = np.uint64(64 - {digit} * (level + 1))
    for row in range(load("a", np.int64, table, 6)):
        for start in range(0, length, 4096):
            for p in range(number):
                prefix = load("b", np.uint64, given, row * number + p)
                if earlier(given, row * number, p) < p:
                    continue
                base = (row * number + p) * (1 << {digit})
                for k in range(row * length + start, row * length + min(start + 4096, length)):
                    key = np.uint64(load("in", np.{unsigned}, rows, k)) << np.uint64({up})
{key}
                    high = key >> shift
                    if level == 0 or (high >> np.uint64({digit})) == prefix:
                        at = np.int64(high & np.uint64((1 << {digit}) - 1)) + base
                        store("out", np.int64, counts, at, load("out", np.int64, counts, at) + 1)
        for p in range(number):
            first = earlier(given, row * number, p)
            for k in range(1 << {digit} if first < p else 0):
                value = load("out", np.int64, counts, (row * number + first) * (1 << {digit}) + k)
                store("out", np.int64, counts, (row * number + p) * (1 << {digit}) + k, value)
"""
)
