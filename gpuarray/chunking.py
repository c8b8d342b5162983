"""How a user says what the chunks shall be."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from gpuarray import config
from gpuarray.errors import ChunkError
from gpuarray.graph.grid import Chunks as Cut
from gpuarray.graph.grid import Lengths
from gpuarray.kernels.errors import GPUArrayError

Chunks: TypeAlias = int | str | Sequence[Any] | Mapping[int, Any] | None
"""An int for all axes, "auto", or per axis: an int, the lengths, None (as it is), -1 (one chunk), "auto"."""


def normalize_chunks(chunks: Chunks, shape: tuple[int, ...], dtype: np.dtype[Any], previous: Cut | None = None) -> Cut:
    """The chunks that a user's `chunks` means for an array.

    >>> normalize_chunks((2, -1), (5, 3), np.dtype("f8"))
    ((2, 2, 1), (3,))

    Raises ChunkError (a ValueError): not positive, lengths that do not add up to the axis, wrong number of axes.
    """
    wanted = per_axis(chunks, shape)
    cut: list[Lengths | None] = []
    for axis, (c, n) in enumerate(zip(wanted, shape, strict=True)):
        cut.append(one_axis(c, n, axis, shape, previous))
    missing = [a for a, c in enumerate(cut) if c is None]
    if missing:
        fill_auto(cut, missing, shape, dtype)
    return tuple(c for c in cut if c is not None)


def contiguous_chunks(array: np.ndarray[Any, Any]) -> Cut:
    """Chunks of about `config.chunk_bytes` that are runs of an array's memory, which is read fastest in order.

    >>> contiguous_chunks(np.zeros((4000, 4000)))
    ((2000, 2000), (4000,))
    """
    room = config.get().chunk_bytes // max(1, array.itemsize)
    cut: list[Lengths] = [Lengths.regular(n, n) for n in array.shape]
    for axis in sorted(range(array.ndim), key=lambda a: abs(array.strides[a])):
        n = array.shape[axis]
        pieces = -(-n // max(1, room))
        cut[axis] = evenly(n, max(1, pieces))
        room //= max(1, n)
    return tuple(cut)


def per_axis(chunks: Chunks, shape: tuple[int, ...]) -> list[Any]:
    if isinstance(chunks, Mapping):
        wanted: list[Any] = [None] * len(shape)
        for axis, c in chunks.items():
            if not hasattr(axis, "__index__") or not -len(shape) <= operator.index(axis) < len(shape):
                raise ChunkError(
                    f"chunks={dict(chunks)!r} names axis {axis!r}, but the array has {len(shape)} dimensions; a key is "
                    f"an integer in [{-len(shape)}, {len(shape) - 1}]"
                )
            wanted[axis] = c
        return wanted
    if isinstance(chunks, (int, np.integer)) or chunks is None or isinstance(chunks, str):
        return [chunks] * len(shape)
    if not isinstance(chunks, Sequence) or isinstance(chunks, bytes | bytearray | memoryview):
        raise ChunkError(f'chunks={chunks!r} are no chunks; write an integer, an entry per axis, a dict, or "auto"')
    entries = list(chunks)
    if len(shape) == 1 and len(entries) != 1 and all(isinstance(c, (int, np.integer)) for c in entries):
        entries = [tuple(entries)]
    if len(entries) != len(shape):
        raise ChunkError(
            f"chunks={chunks!r} has {len(entries)} entries for an array of {len(shape)} dimensions, shape {shape}; "
            "give one entry per axis"
        )
    return entries


def one_axis(c: Any, n: int, axis: int, shape: tuple[int, ...], previous: Cut | None) -> Lengths | None:
    """The cut of one axis, or None for "auto"."""
    if isinstance(c, Lengths) and c.total == n:
        return c
    if c is None:
        return previous[axis] if previous is not None else Lengths.regular(n, n)
    if isinstance(c, str):
        if c != "auto":
            raise ChunkError(f'chunks={c!r} is no cut of axis {axis}; write an integer, lengths, None, -1 or "auto"')
        return None
    if isinstance(c, (bool, np.bool_)):
        raise ChunkError(f"chunks={c!r} for axis {axis} is a boolean; write a length")
    if isinstance(c, (int, np.integer)):
        if c == -1:
            return Lengths.regular(n, n)
        if c < 1:
            raise ChunkError(f"chunks={c} for axis {axis} of shape {shape}: a chunk has at least one element (-1: all)")
        return Lengths.regular(n, int(c))
    try:
        lengths = tuple(operator.index(k) for k in c)
        if isinstance(c, bytes) or any(isinstance(k, bool | np.bool_) for k in c):
            raise TypeError
    except TypeError:
        raise ChunkError(
            f'chunks={c!r} is no cut of axis {axis}; write an integer, lengths, None, -1 or "auto"'
        ) from None
    if any(k < 0 for k in lengths) or (any(k == 0 for k in lengths) and n):
        raise ChunkError(f"chunks={c!r} for axis {axis} has lengths that are not positive")
    if sum(lengths) != n:
        raise ChunkError(f"chunks={c!r} for axis {axis} add up to {sum(lengths)}, the axis has {n} elements")
    return Lengths.of(lengths)


ROUND = 8
"""What long chunks are a multiple of, so that they can be cut in equal parts again."""


def evenly(n: int, pieces: int) -> Lengths:
    """An axis in at most so many chunks of one length, the last perhaps shorter."""
    step = -(-n // pieces)
    if step >= 32 * ROUND:
        step = -(-step // ROUND) * ROUND
    return Lengths.regular(n, step)


def fill_auto(cut: list[Lengths | None], missing: list[int], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Cut the axes left to us: chunks of about `config.chunk_bytes`, nearly cubic, with whole axes where they fit."""
    target = config.get().chunk_bytes // max(1, dtype.itemsize)
    for c in cut:
        if c is not None:
            target //= max(1, c.largest)
    todo = sorted(missing, key=lambda a: shape[a])
    for k, axis in enumerate(todo):
        n = shape[axis]
        side = max(1, int(max(1, target) ** (1 / (len(todo) - k))))
        if n <= side:
            cut[axis] = Lengths.regular(n, n)
            target //= max(1, n)
        else:
            cut[axis] = lengths = evenly(n, math.ceil(n / side))
            target //= lengths.largest


__all__ = ["Chunks", "GPUArrayError", "normalize_chunks"]
