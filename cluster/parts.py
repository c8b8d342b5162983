"""Reading the bytes of a chunk from a file, or some of them: block by block, each with its checksum."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

BLOCK = 1 << 17
"""Bytes that have a checksum of their own: the least that is read of a chunk."""


Layout = tuple[tuple[int, ...], np.dtype[Any], tuple[int, ...]]
"""Shape, dtype and order of the axes in memory."""

Array = tuple[int, tuple[int, ...], np.dtype[Any], tuple[int, ...], tuple[int, ...]]
"""Where an array begins, its `Layout`, and the checksums before, between and after its blocks."""


class DamageError(Exception):
    """A spill file is not what was written."""


def filled(stream: io.FileIO, block: memoryview, crc: int) -> int:
    """Read a block; the checksum that goes on from `crc`."""
    left = block
    while left:
        got = stream.readinto(left)
        if not got:
            raise DamageError("was truncated")
        left = left[got:]
    return zlib.crc32(block, crc)


def check(crc: int, expected: int) -> None:
    if crc != expected:
        raise DamageError("is damaged: its checksum does not match")


def arrays(start: int, layout: Sequence[Layout], found: Sequence[tuple[int, ...]]) -> Iterator[Array]:
    """The arrays of a chunk whose bytes begin at `start`, and the checksums `found` after their blocks."""
    crc = 0
    for (shape, dtype, axes), crcs in zip(layout, found, strict=True):
        yield start, shape, dtype, axes, (crc, *crcs)
        crc = crcs[-1] if crcs else crc
        start += math.prod(shape) * dtype.itemsize


def read_part(
    stream: io.FileIO,
    start: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: tuple[int, ...],
    crcs: tuple[int, ...],
    index: tuple[slice, ...],
) -> np.ndarray[Any, Any]:
    """A part of an array whose bytes begin at `start`, `crcs` being the checksums before, between and after blocks."""
    dense = tuple(shape[axis] for axis in axes)
    wanted = [range(n)[index[axis]] for n, axis in zip(dense, axes, strict=True)]
    size = math.prod(dense) * dtype.itemsize
    if not all(wanted) or not dense:
        first, last = 0, size if not dense else 0
    else:
        strides = [math.prod(dense[k + 1 :]) * dtype.itemsize for k in range(len(dense))]
        first = sum(min(r[0], r[-1]) * s for r, s in zip(wanted, strides, strict=True))
        last = sum(max(r[0], r[-1]) * s for r, s in zip(wanted, strides, strict=True)) + dtype.itemsize
    low, high = first // BLOCK, -(-last // BLOCK)
    memory = np.empty(max(0, min(high * BLOCK, size) - low * BLOCK), np.uint8)
    stream.seek(start + low * BLOCK)
    for k, block in enumerate(blocks(memory.data), low):
        check(filled(stream, block, crcs[k]), crcs[k + 1])
    if not all(wanted):
        return np.empty(tuple(len(range(n)[i]) for n, i in zip(shape, index, strict=True)), dtype)
    if not dense:
        return np.array(memory.view(dtype)[0])
    # positions are counted from the first byte that is wanted, so that nothing before it need be there
    at = memory[first - low * BLOCK :]
    steps = [r.step * s for r, s in zip(wanted, strides, strict=True)]
    lowest = sum(r[0] * s for r, s in zip(wanted, strides, strict=True)) - first
    view = np.ndarray(tuple(map(len, wanted)), dtype, at.data, lowest, steps)
    order = tuple(map(int, np.argsort(axes)))
    return np.array(view.transpose(order))


def read_into(
    stream: io.FileIO,
    start: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: tuple[int, ...],
    crcs: tuple[int, ...],
    index: tuple[slice, ...],
    out: np.ndarray[Any, Any],
) -> None:
    """Read a part as `read_part` does, in C order into memory of one dimension; what lies together in the file goes
    there at once."""
    found = [(range(shape[axis])[index[axis]], shape[axis]) for axis in axes]
    first = len(found)
    while first and len(found[first - 1][0]) == found[first - 1][1]:
        first -= 1
    together = all(len(r) == 1 for r, _ in found[: max(0, first - 1)]) and all(r.step == 1 for r, _ in found)
    several = [axis for axis, (r, _) in zip(axes, found, strict=True) if len(r) > 1]
    if not out.size or not together or several != sorted(several):
        out[...] = read_part(stream, start, shape, dtype, axes, crcs, index).reshape(-1)
        return
    at = 0
    for r, n in found:
        at = at * n + r[0]
    size = math.prod(shape) * dtype.itemsize
    _read_span(stream, start, at * dtype.itemsize, size, crcs, out.view(np.uint8).data)


def _read_span(stream: io.FileIO, start: int, at: int, size: int, crcs: tuple[int, ...], target: memoryview) -> None:
    """Read the bytes from `at` of `size` that begin at `start`: whole blocks to where they go, others through one."""
    end = at + len(target)
    stream.seek(start + at // BLOCK * BLOCK)
    for k in range(at // BLOCK, -(-end // BLOCK)):
        low, high = k * BLOCK, min((k + 1) * BLOCK, size)
        a, b = max(at, low), min(end, high)
        if (a, b) == (low, high):
            check(filled(stream, target[a - at : b - at], crcs[k]), crcs[k + 1])
            continue
        block = memoryview(bytearray(high - low))
        check(filled(stream, block, crcs[k]), crcs[k + 1])
        target[a - at : b - at] = block[a - low : b - low]


def blocks(data: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(data), BLOCK):
        yield data[start : start + BLOCK]
