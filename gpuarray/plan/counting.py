"""How many tasks read each chunk, where there are too many chunks to go through one by one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from gpuarray.cluster.task import Key
from gpuarray.graph.grid import count, region_at, size_of
from gpuarray.graph.leaves import Stored
from gpuarray.plan.block import Value, expand


class Merged(Mapping[Key, int]):
    """The readers of states that are merged in groups: worked out, as there are too many to count."""

    def __init__(self, readers: tuple[Any, ...]) -> None:
        self._readers = readers

    def __getitem__(self, key: Key) -> int:
        return sum(self._of(node, key) for node in self._readers if node.inputs[0].output == key[1])

    @staticmethod
    def _of(node: Any, key: Key) -> int:
        cells = region_at(node.inputs[0].chunks, key[2])
        groups = (node.groups(a, r) for a, r in enumerate(cells))
        return math.prod(len(c.touched(r)) for c, r in zip(node.chunks, groups, strict=True))

    def __len__(self) -> int:
        return sum(count(node.inputs[0].chunks) for node in self._readers)

    def __iter__(self) -> Iterator[Key]:
        for node in self._readers:
            leaf: Any = node.inputs[0]
            yield from ((leaf.stage, leaf.output, number) for number in range(count(leaf.chunks)))


class Counted(Mapping[Key, int]):
    """The readers of a stage's chunks as arrays of the shape of its grid, by output."""

    def __init__(self, stage: int, counts: dict[int, np.ndarray[Any, Any]]) -> None:
        self._stage, self._counts = stage, counts

    def __getitem__(self, key: Key) -> int:
        found = self._counts.get(key[1])
        return 0 if found is None else int(found.flat[key[2]])

    def __len__(self) -> int:
        return sum(int(np.count_nonzero(c)) for c in self._counts.values())

    def __iter__(self) -> Iterator[Key]:
        for output, counts in self._counts.items():
            yield from ((self._stage, output, int(number)) for number in np.flatnonzero(counts))


def count_boxes(stage: int, tasks: Iterable[tuple[Value, ...]]) -> Counted | None:
    """The readers of a stage's chunks among tasks that compute these values, a box of chunks at a time.

    None where what they read is no box, or chosen later: of every second element, say, or of cells of different sizes.
    """
    counts: dict[int, np.ndarray[Any, Any]] = {}
    for wanted in tasks:
        block = expand(wanted)
        if block.stepped or block.picking:
            return None
        boxes: dict[int, list[tuple[slice, ...]]] = {}
        for node, region in block.values:
            if not isinstance(node, Stored) or node.stage != stage or not size_of(region):
                continue
            if any(r.step != 1 for r in region) or not all(c.step for c in node.chunks):
                return None
            touched = (c.touched(r) for c, r in zip(node.chunks, region, strict=True))
            boxes.setdefault(node.output, []).append(tuple(slice(t.start, t.stop) for t in touched))
            if node.output not in counts:
                counts[node.output] = np.zeros(tuple(map(len, node.chunks)), np.int32)
        for output, found in boxes.items():
            if len(found) == 1:
                counts[output][found[0]] += 1
            else:  # a chunk that is in several of them is read once
                read = np.zeros(counts[output].shape, bool)
                for box in found:
                    read[box] = True
                counts[output] += read
    return Counted(stage, counts)
