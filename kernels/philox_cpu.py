"""The random numbers of `gpuarray.kernels.philox`, compiled by Numba for the CPU.

Two forms, with the bits of the interpreter:

    one element    `uniform_float64(key, stream, index)` and its like inline into any loop and vectorise there.
    a run of them  `fill_uniform_float64(out, key, stream, start)` writes ``start, start + 1, ...``: it uses both
                   halves of every Philox block, so it costs half as much where an element takes 64 bits.

`key`, `stream` are uint64, `index` and `start` int64, `out` is a contiguous one-dimensional array. Importing this
module imports Numba; nothing is compiled before the first call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload, register_jitable

from gpuarray.kernels import intrinsics, philox
from gpuarray.kernels.philox import VERSION

__all__ = ["FILLS", "SCALARS", "STRIDED_FILLS", "VERSION"]

# Explicit, because Numba lets a callee inherit what it does not set from the first caller that compiles it.
_OPTIONS = {"forceinline": True, "fastmath": False, "error_model": "numpy"}


def _compiled(function: Callable[..., Any], implementation: Callable[..., Any]) -> None:
    """Let compiled code call `implementation` where the source says `function`."""

    @overload(function, jit_options=_OPTIONS, strict=False)
    def choose(*arguments: Any) -> Any:
        return implementation


_compiled(philox.unsigned, lambda x: np.uint64(x))
_compiled(philox.signed, lambda x: np.int64(x))
_compiled(philox.float64_from_bits, lambda x: intrinsics.float_from_bits(x))
_compiled(philox.bits_from_float64, lambda x: intrinsics.float_bits(x))
_compiled(philox.float64_from_53_bits, lambda x: intrinsics.float64_from_small_uint64(x))
_compiled(philox.narrow, lambda x: np.float32(x))

for _function in (
    philox.product,
    philox.philox_block,
    philox.random_bits,
    philox.uniform_from_bits,
    philox.uniform32_from_bits,
    philox.log_of_uniform,
    philox.cos_of_turn,
    philox.normal_from_bits,
    philox.exponential_from_bits,
    philox.integers_from_bits,
    philox.random_uniform,
    philox.random_uniform32,
    philox.random_normal,
    philox.random_normal32,
    philox.random_exponential,
    philox.random_exponential32,
    philox.random_integers,
):
    register_jitable(**_OPTIONS)(_function)

_njit = njit(nogil=True, fastmath=False, error_model="numpy")
_ONE = np.uint64(1)
_32 = np.uint64(32)
_MASK32 = np.uint64(0xFFFFFFFF)
_TWO_TO_32 = np.uint64(1 << 32)


def _scalar(function: Callable[..., Any]) -> Callable[..., Any]:
    compiled: Callable[..., Any] = njit(nogil=True, **_OPTIONS)(function)
    return compiled


@register_jitable(**_OPTIONS)
def _block(key: Any, stream: Any, low: Any, high: Any) -> Any:
    """`philox.philox_block` of the counter ``low + 2**32 * high``, in the fewest vector instructions.

    `low` may have bits above the lowest 32. Where a loop leaves `high` as it is, much of two rounds is done before the
    loop; the last round's products turn by half a word into the places of the result, which takes one instruction
    where two shifts would take three.
    """
    k0 = key & _MASK32
    k1 = key >> _32
    x0 = low
    x1 = high
    x2 = stream
    x3 = stream >> _32
    for _ in range(9):
        p0 = philox._MULTIPLIER_0 * (x0 & _MASK32)
        p1 = philox._MULTIPLIER_1 * (x2 & _MASK32)
        x0 = (p1 >> _32) ^ x1 ^ k0
        x1 = p1
        x2 = (p0 >> _32) ^ x3 ^ k1
        x3 = p0
        k0 = (k0 + philox._WEYL_0) & _MASK32
        k1 = (k1 + philox._WEYL_1) & _MASK32
    p0 = philox._MULTIPLIER_0 * (x0 & _MASK32)
    p1 = philox._MULTIPLIER_1 * (x2 & _MASK32)
    return intrinsics.swap_halves(p1) ^ (x1 & _MASK32) ^ k0, intrinsics.swap_halves(p0) ^ (x3 & _MASK32) ^ k1


@register_jitable(**_OPTIONS)
def _stretch(counter: Any, pairs: Any) -> Any:
    """The halves of a counter, and how many of the next `pairs` counters share the upper one."""
    low = counter & _MASK32
    return low, counter >> _32, min(pairs, np.int64(_TWO_TO_32 - low))


def _pair_fill(first: Callable[..., Any], second: Callable[..., Any], function: Callable[..., Any]) -> Any:
    """A fill whose block gives `first` and `second` of its halves; `function` gives a lone element at either end."""
    element = _njit(function)

    def fill(out: Any, key: Any, stream: Any, start: Any) -> None:
        intrinsics.prefer_wide_vectors()
        n = out.size
        head = min(start & 1, n)
        pairs = (n - head) // 2
        if head:
            out[0] = element(key, stream, start)
        if head + 2 * pairs < n:
            out[n - 1] = element(key, stream, start + (n - 1))
        body = out[head:]
        base = np.uint64((start + head) >> 1)
        done = 0
        while done < pairs:
            low, high, count = _stretch(base + np.uint64(done), pairs - done)
            part = body[2 * done :]
            for i in range(count):
                a, b = _block(key, stream, low + np.uint64(i), high)
                part[2 * i] = first(a, b)
                part[2 * i + 1] = second(a, b)
            done += count

    return _njit(fill)


def _strided_fill(element: Callable[..., Any]) -> Any:
    def fill(out: Any, key: Any, stream: Any, start: Any, step: Any) -> None:
        intrinsics.prefer_wide_vectors()
        for i in range(out.size):
            out[i] = element(key, stream, start + i * step)

    return _njit(fill)


def _halves(convert: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return _scalar(lambda low, high: convert(low)), _scalar(lambda low, high: convert(high))


_cosine = _scalar(lambda low, high: philox.normal_from_bits(low, high, 0.0))
_sine = _scalar(lambda low, high: philox.normal_from_bits(low, high, 0.25))
_cosine32 = _scalar(lambda low, high: np.float32(philox.normal_from_bits(low, high, 0.0)))
_sine32 = _scalar(lambda low, high: np.float32(philox.normal_from_bits(low, high, 0.25)))
_exponential32 = _scalar(lambda bits: np.float32(philox.exponential_from_bits(bits)))
_bits = _scalar(lambda bits: bits)

bits_uint64 = _scalar(philox.random_bits)
uniform_float64 = _scalar(philox.random_uniform)
uniform_float32 = _scalar(philox.random_uniform32)
normal_float64 = _scalar(philox.random_normal)
normal_float32 = _scalar(philox.random_normal32)
exponential_float64 = _scalar(philox.random_exponential)
exponential_float32 = _scalar(philox.random_exponential32)
integers_int64 = _scalar(philox.random_integers)

fill_bits_uint64 = _pair_fill(*_halves(_bits), philox.random_bits)
fill_uniform_float64 = _pair_fill(*_halves(philox.uniform_from_bits), philox.random_uniform)
fill_uniform_float32 = _pair_fill(*_halves(philox.uniform32_from_bits), philox.random_uniform32)
fill_normal_float64 = _pair_fill(_cosine, _sine, philox.random_normal)
fill_normal_float32 = _pair_fill(_cosine32, _sine32, philox.random_normal32)
fill_exponential_float64 = _pair_fill(*_halves(philox.exponential_from_bits), philox.random_exponential)
fill_exponential_float32 = _pair_fill(*_halves(_exponential32), philox.random_exponential32)


_lone_integer = _njit(philox.random_integers)


@_njit
def fill_integers_int64(out: Any, key: Any, stream: Any, start: Any, low: Any, span: Any) -> None:
    """Write int64 in ``[low, low + span)``, elements ``start, start + 1, ...``; `low` is int64, `span` uint64."""
    intrinsics.prefer_wide_vectors()
    n = out.size
    head = min(start & 1, n)
    pairs = (n - head) // 2
    if head:
        out[0] = _lone_integer(key, stream, start, low, span)
    if head + 2 * pairs < n:
        out[n - 1] = _lone_integer(key, stream, start + (n - 1), low, span)
    body = out[head:]
    base = np.uint64((start + head) >> 1)
    done = 0
    while done < pairs:
        lower, upper, count = _stretch(base + np.uint64(done), pairs - done)
        part = body[2 * done :]
        for i in range(count):
            a, b = _block(key, stream, lower + np.uint64(i), upper)
            part[2 * i] = philox.integers_from_bits(a, low, span)
            part[2 * i + 1] = philox.integers_from_bits(b, low, span)
        done += count


@_njit
def fill_strided_integers_int64(out: Any, key: Any, stream: Any, start: Any, step: Any, low: Any, span: Any) -> None:
    """Write int64 in ``[low, low + span)``, elements ``start, start + step, ...``."""
    intrinsics.prefer_wide_vectors()
    for i in range(out.size):
        out[i] = philox.random_integers(key, stream, start + i * step, low, span)


SCALARS: dict[tuple[str, str], Callable[..., Any]] = {
    ("random_bits", "uint64"): bits_uint64,
    ("random_uniform", "float64"): uniform_float64,
    ("random_uniform", "float32"): uniform_float32,
    ("random_normal", "float64"): normal_float64,
    ("random_normal", "float32"): normal_float32,
    ("random_exponential", "float64"): exponential_float64,
    ("random_exponential", "float32"): exponential_float32,
    ("random_integers", "int64"): integers_int64,
}
"""One element: ``f(key, stream, index)``, and ``f(key, stream, index, low, span)`` for integers."""

FILLS: dict[tuple[str, str], Callable[..., None]] = {
    ("random_bits", "uint64"): fill_bits_uint64,
    ("random_uniform", "float64"): fill_uniform_float64,
    ("random_uniform", "float32"): fill_uniform_float32,
    ("random_normal", "float64"): fill_normal_float64,
    ("random_normal", "float32"): fill_normal_float32,
    ("random_exponential", "float64"): fill_exponential_float64,
    ("random_exponential", "float32"): fill_exponential_float32,
    ("random_integers", "int64"): fill_integers_int64,
}
"""Consecutive elements: ``f(out, key, stream, start)``, and ``f(out, key, stream, start, low, span)`` for integers."""

STRIDED_FILLS: dict[tuple[str, str], Callable[..., None]] = {
    key: fill_strided_integers_int64 if key[0] == "random_integers" else _strided_fill(function)
    for key, function in philox.OPERATIONS.items()
}
"""Every `step`-th element: ``f(out, key, stream, start, step)``, and ``f(..., step, low, span)`` for integers.

`step` is any int64; `out` may have any stride."""
