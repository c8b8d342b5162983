"""Parts of chunks: what goes over the wire in place of whole ones."""

from __future__ import annotations

from typing import Any

from gpuarray.cluster.task import Box, Chunk


class Slab:
    """The part of an array that somebody reads, indexed as if all of it were there.

    >>> import numpy as np
    >>> a = np.arange(100).reshape(10, 10)
    >>> Slab(a[7:, 2:5], (7, 2))[8:10, 3:5]
    array([[83, 84],
           [93, 94]])
    """

    __slots__ = ("array", "dtype", "origin")

    def __init__(self, array: Any, origin: tuple[int, ...]) -> None:
        self.array, self.origin, self.dtype = array, origin, array.dtype

    def __getitem__(self, index: Any) -> Any:
        if index is Ellipsis:
            return self.array
        return self.array[
            tuple(slice(s.start - o, s.stop - o, s.step) for s, o in zip(index, self.origin, strict=True))
        ]


def widened(box: Box | None, inside: tuple[slice, ...]) -> Box:
    """The smallest box that holds a box and a selection of a chunk.

    >>> widened(None, (slice(2, 9, 2),))
    ((2, 9),)
    >>> widened(((0, 4),), (slice(3, 5),))
    ((0, 5),)
    """
    found = tuple((s.start, s.stop) for s in inside)
    if box is None:
        return found
    return tuple((min(a, c), max(b, d)) for (a, b), (c, d) in zip(box, found, strict=True))


def cut(chunk: Chunk, box: Box | None) -> Chunk:
    """A part of a chunk, as views; None is all of it."""
    return chunk if box is None else tuple(a[tuple(slice(*edge) for edge in box)] for a in chunk)


def placed(arrays: Chunk, box: Box | None) -> Chunk:
    """Arrays that were `cut`, to be indexed as the chunk they are part of."""
    return arrays if box is None else tuple(Slab(a, tuple(start for start, _ in box)) for a in arrays)
