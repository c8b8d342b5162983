"""What an array keeps alive, and copies of those that keep too much."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from gpuarray.cluster.task import Chunk


def root(array: Any) -> Any:
    """The array that owns the memory `array` looks into, or None if no array does (a mapped file, foreign memory)."""
    while (base := getattr(array, "base", None)) is not None:
        if not hasattr(base, "nbytes") or isinstance(base, (np.memmap, memoryview)):
            return None
        array = base
    return None if isinstance(array, np.memmap) else array


def roots(arrays: Iterable[Any]) -> set[int]:
    """The identities of the owners of several arrays; meaningful while the arrays live.

    >>> a = np.zeros(3)
    >>> roots([a[1:], a[:1]]) == {id(a)}
    True
    """
    return {id(owner) for array in arrays if (owner := root(array)) is not None}


def settle(chunk: Chunk, *taken: Collection[int]) -> Chunk:
    """The chunk, with a copy in place of every array whose bytes are not its own.

    Dropping a chunk must free what it is counted for. So an array is copied if it looks into a larger one, is
    broadcast, lies in memory that no array owns, or shares its owner with one of `taken` or of the chunk itself.

    >>> big = np.zeros(1000)
    >>> settle((big[:2],))[0].base is None
    True
    >>> settle((big,))[0] is big
    True
    >>> settle((big,), {id(big)})[0] is big
    False
    """
    settled: list[Any] = []
    seen: set[int] = set()
    for array in chunk:
        if isinstance(array, np.generic):
            array = np.asarray(array)
        owner = root(array)
        shared = owner is not None and any(id(owner) in ids for ids in (seen, *taken))
        if owner is None or owner.nbytes != array.nbytes or shared or (owner is not array and holes(array)):
            # a plain array, even of a mapped file
            owner = array = np.array(array) if isinstance(array, np.ndarray) else array.copy()
        seen.add(id(owner))
        settled.append(array)
    return tuple(settled)


def holes(array: Any) -> bool:
    """Whether no order of the axes makes the array contiguous: ``a[::-1]``, a broadcast view."""
    return isinstance(array, np.ndarray) and not in_memory_order(array)[0].flags.c_contiguous


def in_memory_order(array: Any) -> tuple[Any, tuple[int, ...]]:
    """An array, of any library, with its axes in the order in which they run in memory, and those axes."""
    axes = tuple(sorted(range(array.ndim), key=lambda axis: -array.strides[axis]))
    return array.transpose(axes), axes


def as_bytes(array: np.ndarray[Any, Any]) -> tuple[memoryview, tuple[int, ...]]:
    """The raw bytes of an array in the order of its memory, and the axes in that order. No copy is made."""
    dense, axes = in_memory_order(array)
    if not dense.flags.c_contiguous:
        dense, axes = np.ascontiguousarray(array), tuple(range(array.ndim))
    return dense.reshape(-1).view(np.uint8).data if dense.nbytes else memoryview(b""), axes


def like_memory(shape: tuple[int, ...], dtype: np.dtype[Any], axes: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """An empty array of `shape` whose memory runs along `axes`: what `as_bytes` told."""
    dense = np.empty([shape[axis] for axis in axes], dtype)
    return dense.transpose(np.argsort(axes)) if axes != tuple(range(len(axes))) else dense
