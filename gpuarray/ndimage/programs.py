"""The programs of the filters. Weights are scalar inputs, so one kernel serves all filters of a shape.

Elements are converted where they are used, one after another: an interpreter then holds few of them at a time.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpuarray.kernels.program import Builder, Program

Term = tuple[int, int, int]
"""(first, second, sign): a tap, or a pair of taps that share a weight: ``first + sign * second``; sign 0 for none."""


@functools.lru_cache(256)
def weighted(dtype: np.dtype[Any], taps: int, terms: tuple[Term, ...], output: np.dtype[Any]) -> Program:
    """The sum of terms, each times its weight, in double precision, in the order given."""
    b = Builder()
    read = [b.input("array", dtype) for _ in range(taps)]
    weights = [b.input("scalar", np.float64) for _ in terms]
    total: int | None = None
    for (first, second, sign), weight in zip(terms, weights, strict=True):
        value = b.cast(read[first], np.float64)
        if sign:
            value = b.step("add" if sign > 0 else "subtract", value, b.cast(read[second], np.float64))
        total = added(b, total, b.step("multiply", value, weight))
    assert total is not None
    return b.build(whole_cast(b, total, output))


@functools.lru_cache(256)
def weighted_complex(dtype: np.dtype[Any], taps: int, complex_weights: bool, output: np.dtype[Any]) -> Program:
    """The sum of taps times weights where either is complex: real and imaginary parts are summed apart."""
    b = Builder()
    read = [b.input("array", dtype) for _ in range(taps)]
    real_weights = [b.input("scalar", np.float64) for _ in range(taps)]
    imag_weights = [b.input("scalar", np.float64) for _ in range(taps)] if complex_weights else []
    one_i = b.input("scalar", np.complex128)
    real: int | None = None
    imag: int | None = None
    for k, tap in enumerate(read):
        if dtype.kind == "c":
            x, y = (b.cast(b.step(part, tap), np.float64) for part in ("real", "imag"))
            real = added(b, real, b.step("multiply", x, real_weights[k]))
            imag = added(b, imag, b.step("multiply", y, real_weights[k]))
            if imag_weights:
                real = b.step("subtract", real, b.step("multiply", y, imag_weights[k]))
                imag = b.step("add", imag, b.step("multiply", x, imag_weights[k]))
        else:
            x = b.cast(tap, np.float64)
            real = added(b, real, b.step("multiply", x, real_weights[k]))
            imag = added(b, imag, b.step("multiply", x, imag_weights[k]))
    assert real is not None
    assert imag is not None
    made = b.step("add", b.cast(real, np.complex128), b.step("multiply", b.cast(imag, np.complex128), one_i))
    return b.build(b.cast(made, output))


def added(b: Builder, total: int | None, value: int) -> int:
    return value if total is None else b.step("add", total, value)


def whole_cast(b: Builder, value: int, output: np.dtype[Any]) -> int:
    """A sum in the dtype of the output, without its fraction, also of booleans: 0.5 is false, as in SciPy."""
    return b.cast(b.step("trunc", value) if output.kind == "b" else value, output)


@functools.lru_cache(256)
def averaged(dtype: np.dtype[Any], taps: int, output: np.dtype[Any]) -> Program:
    """The sum of taps, divided by a scalar."""
    b = Builder()
    wide = np.dtype(np.complex128 if dtype.kind == "c" else np.float64)
    read = [b.input("array", dtype) for _ in range(taps)]
    total: int | None = None
    for tap in read:
        total = added(b, total, b.cast(tap, wide))
    assert total is not None
    return b.build(whole_cast(b, b.step("divide", total, b.input("scalar", np.float64)), output))


@functools.lru_cache(256)
def curvature(dtype: np.dtype[Any], axes: int, output: np.dtype[Any]) -> Program:
    """The sum over axes of ``before - 2 * here + after``, each converted to the output's dtype, as SciPy sums them.

    The taps are the point itself, then those before and after it along each axis.
    """
    b = Builder()
    read = [b.input("array", dtype) for _ in range(1 + 2 * axes)]
    here = b.step("multiply", b.cast(read[0], np.float64), b.input("scalar", np.float64))
    total: int | None = None
    for k in range(axes):
        before, after = (b.cast(read[1 + 2 * k + side], np.float64) for side in (0, 1))
        along = b.step("add", here, b.step("add", before, after))
        total = added(b, total, whole_cast(b, along, output))
    assert total is not None
    return b.build(b.cast(total, output))


@functools.lru_cache(256)
def folded(dtype: np.dtype[Any], op: str, taps: int, output: np.dtype[Any]) -> Program:
    """The smallest or largest of the taps."""
    b = Builder()
    read = [b.input("array", dtype) for _ in range(taps)]
    made = functools.reduce(lambda x, y: b.step(op, x, y), read)
    return b.build(b.cast(made, output))


@functools.lru_cache(256)
def folded_inside(op: str, taps: int) -> Program:
    """The smallest or largest of booleans; outside a mask, the last tap but one, the booleans before."""
    b = Builder()
    *read, before, inside = (b.input("array", np.bool_) for _ in range(taps + 2))
    made = functools.reduce(lambda x, y: b.step(op, x, y), read)
    return b.build(b.step("where", inside, made, before))


@functools.lru_cache(256)
def raised(dtype: np.dtype[Any], op: str, taps: int, output: np.dtype[Any]) -> Program:
    """The largest of the taps plus a height each, or the smallest of the taps less theirs, in double precision."""
    b = Builder()
    read = [b.input("array", dtype) for _ in range(taps)]
    heights = [b.input("scalar", np.float64) for _ in range(taps)]
    move = "add" if op == "maximum" else "subtract"
    moved = (b.step(move, b.cast(tap, np.float64), h) for tap, h in zip(read, heights, strict=True))
    made = functools.reduce(lambda x, y: b.step(op, x, y), moved)
    return b.build(b.cast(made, output))


@functools.lru_cache(256)
def ranked(dtype: np.dtype[Any], taps: int, rank: int, output: np.dtype[Any]) -> Program:
    """The tap that would stand at `rank` were they sorted; NaN comes last, as `numpy.sort` has it.

    A network of exchanges that puts the smallest and the largest of enough taps aside, over and over; what they need
    not know of each other is left out by the builder. The median of nine takes 32 operations.
    """
    b = Builder()
    # Of a number and a NaN, fmin is the number and maximum the NaN.
    lower, upper = ("fmin", "maximum") if dtype.kind == "f" else ("minimum", "maximum")
    read = [b.input("array", dtype) for _ in range(taps)]
    below, above = rank, taps - 1 - rank
    pool = read[: min(taps, max(below, above) + 2)]
    rest = iter(read[len(pool) :])
    while len(pool) > 1:
        for i, j in exchanges(len(pool), bool(below), bool(above)):
            pool[i], pool[j] = b.step(lower, pool[i], pool[j]), b.step(upper, pool[i], pool[j])
        if below:
            pool, below = pool[1:], below - 1
        if above:
            pool, above = pool[:-1], above - 1
        pool += itertools.islice(rest, 1)
    return b.build(b.cast(pool[0], output))


def exchanges(n: int, smallest: bool, largest: bool) -> Iterator[tuple[int, int]]:
    """Pairs to put in order, one after another, so that the smallest comes first and the largest last.

    >>> list(exchanges(4, True, True))
    [(0, 3), (1, 2), (0, 1), (2, 3)]
    """
    if smallest and largest:
        yield from ((i, n - 1 - i) for i in range(n // 2))
        yield from ((0, i) for i in range(1, (n + 1) // 2))
        yield from ((i, n - 1) for i in range(n // 2, n - 1))
    elif smallest:
        yield from ((0, i) for i in range(1, n))
    else:
        yield from ((i, n - 1) for i in range(n - 1))
