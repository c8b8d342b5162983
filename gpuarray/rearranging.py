"""Elements put in places that are computed, and rows ranked by several keys: by sorts, so of arrays of any size.

A sort that carries something along is a sort of one number in which the places are the leading bits. Up to 64 bits
are an unsigned integer, up to 106 a complex number: its real part and then its imaginary part count, as in `sort`, and
each holds integers of 53 bits exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuarray import config
from gpuarray.array import NDArray
from gpuarray.elementwise import apply
from gpuarray.graph.grid import Chunks
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.kernels import ordering
from gpuarray.manipulation import broadcast_to
from gpuarray.sorting import sort, sort_with_positions

HALF = 53
"""Bits of the integers that a float64 holds exactly."""
WORD = np.dtype(np.uint64)
PACKED = np.dtype(np.complex128)


def room() -> int:
    """Bytes of the memory in which tasks compute."""
    settings = config.get()
    device = None if settings.device in ("auto", "cpu") else settings.device_memory
    return device or settings.host_limit()


def together(
    function: Any, keywords: tuple[tuple[str, Any], ...], dtype: Any, label: str, *arrays: NDArray, kept: bool = False
) -> NDArray:
    """``function(xp, *blocks, **keywords)`` of arrays of one shape, piece by piece.

    `kept`: by tasks of its own, for a sort, whose tasks have no memory left.
    """
    first = arrays[0]
    if kept:
        first = first.rechunk(fitting(first.chunks))
    traits = Traits(label, scratch=1.5, cost=8, within=not kept)
    along = (tuple(range(first.ndim)),) * len(arrays)
    nodes = (a.node for a in arrays)
    made: Node = Routine(function, keywords, np.dtype(dtype), first.chunks, along, traits, *nodes)
    return NDArray(made)


def fitting(chunks: Chunks) -> tuple[int, ...]:
    """Lengths of chunks of which a task holds a dozen copies easily, no longer than others."""
    lengths, most = [max(1, c.largest) for c in chunks], max(4096, room() // 1024)
    while math.prod(lengths) > most:
        longest = max(range(len(lengths)), key=lengths.__getitem__)
        lengths[longest] = -(-lengths[longest] // 2)
    return tuple(lengths)


def rearranged(x: NDArray, places: NDArray, axis: int = -1) -> NDArray:
    """The array whose element at ``places[i]`` along an axis is ``x[i]``; `places` has each place once.

    `places` broadcasts to the shape of the array. One external sort, and one more for each 8 bytes of an element beyond
    the first 8.
    """
    at = axis % x.ndim
    n = x.shape[at]
    if n < 2 or not x.size:
        return x
    places = broadcast_to(places, x.shape).rechunk(x.chunks)
    bits, width = (n - 1).bit_length(), min(8, x.dtype.itemsize)
    narrow = bits + 8 * width <= 64
    words = []
    for k in range(-(-x.dtype.itemsize // 8)):
        keywords = (("bits", bits), ("narrow", narrow), ("number", k))
        packed = together(_labelled, keywords, WORD if narrow else PACKED, "rearrange", places, x, kept=True)
        words.append(sort(packed, axis=at))
    return together(_unlabelled, (("bits", bits), ("dtype", x.dtype)), x.dtype, "rearrange", *words)


def _labelled(xp: Any, places: Any, x: Any, bits: int, narrow: bool, number: int) -> Any:
    """The place, and behind it the bits of one word of an element."""
    word = _word(xp, x, number)
    if narrow:
        return (places.astype(WORD) << np.uint64(64 - bits)) | word
    top = HALF - bits
    high = (places.astype(WORD) << np.uint64(top)) | (word >> np.uint64(64 - top))
    return as_complex(xp, high, word & np.uint64((1 << (64 - top)) - 1))


def as_complex(xp: Any, real: Any, imag: Any) -> Any:
    """Complex numbers of their parts, infinities and all."""
    parts = xp.stack([real.astype(np.float64), imag.astype(np.float64)], axis=-1)
    return parts.view(PACKED)[..., 0]


def _word(xp: Any, x: Any, number: int) -> Any:
    """The bits of an element, 8 bytes of them where it has more."""
    size = x.dtype.itemsize
    x = xp.ascontiguousarray(x)
    if size in (1, 2, 4, 8):
        return x.view(f"u{size}").astype(WORD)
    raw = x.reshape(-1).view(np.uint8).reshape(-1, size)[:, 8 * number : 8 * number + 8]
    whole = xp.zeros((raw.shape[0], 8), np.uint8)
    whole[:, : raw.shape[1]] = raw
    return whole.reshape(-1).view(WORD).reshape(x.shape)


def _unlabelled(xp: Any, *packed: Any, bits: int, dtype: np.dtype[Any]) -> Any:
    """The elements without their places."""
    words = [_word_of(p, bits, 8 * min(8, dtype.itemsize)) for p in packed]
    size = dtype.itemsize
    if size in (1, 2, 4, 8):
        return words[0].astype(f"u{size}").view(dtype)
    raw = xp.stack([w.reshape(-1) for w in words], axis=-1).reshape(-1).view(np.uint8).reshape(-1, 8 * len(words))
    return xp.ascontiguousarray(raw[:, :size]).reshape(-1).view(dtype).reshape(packed[0].shape)


def _word_of(packed: Any, bits: int, width: int) -> Any:
    if packed.dtype == WORD:
        return packed & np.uint64((1 << width) - 1)
    top = HALF - bits
    high = packed.real.astype(WORD) & np.uint64((1 << top) - 1)
    return (high << np.uint64(64 - top)) | packed.imag.astype(WORD)


def gathered(x: NDArray, index: NDArray) -> NDArray:
    """``x[index]`` of vectors, for positions that are lazy and not negative; they are sorted at once.

    Sorted, they go through the array once, block by block; what they found is put in order by another sort.
    """
    from gpuarray.joining import concatenate
    from gpuarray.searching import searchsorted
    from gpuarray.several import persist

    ordered, positions = persist(*sort_with_positions(index))
    block = max(1, room() // (32 * max(8, x.dtype.itemsize)))
    starts = np.arange(0, x.size + block, block)
    edges = searchsorted(ordered, starts).compute()
    found = []
    for k in range(len(starts) - 1):
        if edges[k] < edges[k + 1]:
            part, places = x[starts[k] : starts[k + 1]], ordered[edges[k] : edges[k + 1]]
            along: tuple[tuple[int | None, ...], ...] = ((0,), (None,))
            traits = Traits("gather", scratch=1.5, cost=8)
            nodes = (places.node, part.node)
            cut = places.chunks
            made: Node = Routine(_picked, (("start", int(starts[k])),), x.dtype, cut, along, traits, *nodes)
            found.append(NDArray(made))
    return rearranged(concatenate(found), positions) if found else x[:0]


def _picked(xp: Any, places: Any, part: Any, start: int) -> Any:
    return part[places - start]


# Ranks by several keys.


def lexical(keys: Sequence[NDArray], axis: int) -> NDArray:
    """Numbers in the order of several keys of one shape, of which the first counts most; equal for equal keys.

    Keys that together have no more than 106 bits are put side by side. Of more, the first ones are replaced by their
    ranks, with two external sorts each time.
    """
    n = keys[0].shape[axis]
    rank_bits = max(1, (n - 1).bit_length())
    parts: list[tuple[NDArray, int]] = []
    for key in (part for k in keys for part in _real_parts(k)):
        code, bits = _code(key, axis, rank_bits)
        if parts and sum(b for _, b in parts) + bits > 2 * HALF:
            parts = [(ranks(_side_by_side(parts), axis), rank_bits)]
        parts.append((code, bits))
    return _side_by_side(parts)


def _real_parts(key: NDArray) -> list[NDArray]:
    """Keys that order complex numbers as a sort does: those with NaN last, and else by one part and then the other."""
    if key.dtype.kind != "c":
        return [key]
    parts = [apply("real", key), apply("imag", key)]
    absent = [apply("isnan", p) for p in parts]
    return [*absent, *(apply("where", a, p.dtype.type(0), p) for a, p in zip(absent, parts, strict=True))]


def _code(key: NDArray, axis: int, rank_bits: int) -> tuple[NDArray, int]:
    """Unsigned integers in the order of a key, and how many bits they have."""
    if key.dtype == bool:
        return key.astype(WORD), 1
    key = key.astype(key.dtype.newbyteorder("="), copy=False)
    bits = ordering.order_bits(key.dtype)
    return (together(_ordered, (), WORD, "order", key), bits) if bits else (ranks(key, axis), rank_bits)


def _ordered(xp: Any, key: Any) -> Any:
    if key.dtype.kind == "f":
        key = key + key.dtype.type(0)  # -0.0 is 0.0
    return ordering.to_order(xp, xp.ascontiguousarray(key)).astype(WORD)


def ranks(x: NDArray, axis: int) -> NDArray:
    """For each element along an axis, how many different ones are smaller; NaN is the largest."""
    values, positions = sort_with_positions(x, axis)
    dense = changes(values, axis).astype(np.int64).cumsum(axis=axis)
    small = np.dtype(np.uint32 if values.shape[axis] < 2**32 else np.uint64)
    return rearranged(dense.astype(small), positions, axis).astype(WORD)


def changes(values: NDArray, axis: int) -> NDArray:
    """Where sorted values differ from the one before; False at the first."""
    from gpuarray.joining import concatenate

    before: tuple[slice, ...] = (slice(None),) * axis
    later, earlier = values[(*before, slice(1, None))], values[(*before, slice(None, -1))]
    differ = apply("not_equal", later, earlier)
    if values.dtype.kind in "fc":
        differ = differ & ~(apply("isnan", later) & apply("isnan", earlier))
    elif values.dtype.kind in "mM":
        differ = differ & ~(apply("isnat", later) & apply("isnat", earlier))
    shape = (*values.shape[:axis], min(1, values.shape[axis]), *values.shape[axis + 1 :])
    return concatenate([np.zeros(shape, bool), differ], axis=axis).rechunk(values.chunks)


def _side_by_side(parts: Sequence[tuple[NDArray, int]]) -> NDArray:
    widths = tuple(b for _, b in parts)
    if len(parts) == 1:
        return parts[0][0]
    dtype = WORD if sum(widths) <= 64 else PACKED
    first = parts[0][0]
    arrays = (first, *(a.rechunk(first.chunks) for a, _ in parts[1:]))
    return together(_joined, (("widths", widths), ("dtype", dtype)), dtype, "lexical order", *arrays, kept=True)


def _joined(xp: Any, *codes: Any, widths: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Codes as the digits of one number."""
    if dtype == WORD:
        whole = codes[0]
        for code, bits in zip(codes[1:], widths[1:], strict=True):
            whole = (whole << np.uint64(bits)) | code
        return whole
    high, low = xp.zeros(codes[0].shape, WORD), xp.zeros(codes[0].shape, WORD)
    mask = np.uint64((1 << HALF) - 1)
    for code, bits in zip(codes, widths, strict=True):
        halves = (
            [(code >> np.uint64(32), bits - 32), (code & np.uint64(2**32 - 1), 32)] if bits > 32 else [(code, bits)]
        )
        for part, count in halves:
            high = (high << np.uint64(count)) | (low >> np.uint64(HALF - count))
            low = ((low << np.uint64(count)) & mask) | part
    return as_complex(xp, high, low)
