"""Reading the bytes of a chunk from a file, or some of them: block by block, each with its checksum."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

BLOCK = 1 << 20
"""Bytes that have a checksum of their own: the least that is read of a chunk."""


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


def before(found: Sequence[tuple[int, ...]]) -> Iterator[int]:
    """The checksum before every array, from those after its blocks."""
    crc = 0
    for crcs in found:
        yield crc
        crc = crcs[-1] if crcs else crc


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


def blocks(data: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(data), BLOCK):
        yield data[start : start + BLOCK]
