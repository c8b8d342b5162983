"""Plans whose tasks run in other processes: what must be handed to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.cluster.task import Chunk, Given
from gpuarray.graph.grid import Chunks, Lengths, Shape, nbytes, region_at, whole
from gpuarray.graph.leaves import Reader, Source, Stored
from gpuarray.graph.node import Node

SMALL = 1 << 18
"""Bytes of an array in memory up to which it goes with the plan, to every process that works on it."""
LEAST, MOST = 1 << 20, 32 << 20
"""Bytes of the blocks that larger ones are cut into."""


class ReaderChunks:
    """Blocks of a source that only this process can read, as chunks of a stage that no task makes."""

    def __init__(self, reader: Reader, chunks: Chunks) -> None:
        self.reader, self.chunks = reader, chunks

    def chunk(self, number: int) -> Chunk:
        return (self.reader.read(region_at(self.chunks, number)),)


@dataclass(frozen=True)
class Elsewhere:
    """Where tasks are computed, if not in this process."""

    threads: int
    """How many tasks share the memory limit, which is one process's."""
    host_limit: int | None
    """Bytes of host memory of one process, where tasks compute in a device's; else None."""
    kept_there: Callable[[Reader], tuple[Stored, Given] | None]
    """The chunks that a reader reads, if the processes hold them already."""

    def given(
        self, order: Iterable[Node], numbers: Iterator[int], share: int
    ) -> Iterator[tuple[Source, Stored, Given]]:
        """For each source that the processes cannot read by themselves, the leaf that stands for it and its chunks."""
        for node in order:
            if not isinstance(node, Source):
                continue
            held = self.kept_there(node.reader)
            if held is not None:
                yield node, *held
                continue
            large = node.reader.in_memory and nbytes(whole(node.shape), node.dtype) > SMALL
            if large or here_only(node.reader):
                chunks = cut(node.shape, node.dtype, max(LEAST, min(MOST, share // 8)))
                leaf: Any = Stored(next(numbers), 0, node.shape, node.dtype, None, chunks)
                yield node, leaf, ReaderChunks(node.reader, chunks)


def here_only(reader: Reader) -> bool:
    """Whether a reader cannot be sent to other processes at all."""
    return bool(getattr(reader, "stays_here", False))


def cut(shape: Shape, dtype: np.dtype[Any], size: int) -> Chunks:
    """Slabs of rows of about `size` bytes, or of planes where a row is larger.

    >>> cut((100, 1000), np.dtype(np.int64), 200_000)
    ((25, 25, 25, 25), (1000,))
    >>> cut((2, 3, 1000), np.dtype(np.int8), 500)
    ((1, 1), (1, 1, 1), (500, 500))
    """
    lengths = []
    left = size
    inner = nbytes(whole(shape), dtype)
    for n in shape:
        inner //= max(1, n)
        step = max(1, min(n, left // max(1, inner)))
        lengths.append(Lengths.regular(n, step))
        left = max(1, left // step) if step < n else left // max(1, n)
    return tuple(lengths)
