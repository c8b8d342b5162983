"""Plans in other processes: the tasks of a run, made where they are computed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpuarray.cluster.slabs import widened
from gpuarray.cluster.task import CHOSEN, Box, Key, Part, StageInfo, Task
from gpuarray.graph.grid import count, region_at, shape_of, touching
from gpuarray.graph.leaves import Stored
from gpuarray.plan.block import Block, expand


@dataclass(frozen=True, slots=True)
class PortablePlan:
    """What `gpuarray.cluster.task.Portable` asks for."""

    program: Mapping[int, Any]
    """Stages by their numbers."""
    stages: tuple[StageInfo, ...]

    def task(self, key: Key) -> Task:
        stage, number = key
        found = self.program[stage]
        if not 0 <= number < found.tasks:
            raise KeyError(key)
        task: Task = found.task(number)
        return task

    def parts(self, task: Task) -> dict[Key, Part]:
        """The smallest box of each chunk that holds all that is read of it."""
        work: Any = task.work
        boxes: dict[Key, Box] = {}
        leaves: dict[Key, Stored] = {}
        blocks: list[Block] = [work.block or expand(work.wanted)]
        while blocks:
            block = blocks.pop()
            for node, region in block.values:
                if isinstance(node, Stored):
                    for number, inside, _ in touching(node.chunks, region):
                        key = (node.stage, node.output, number)
                        boxes[key] = widened(boxes.get(key), inside)
                        leaves[key] = node
            for node, region in block.stepped:
                for regions in node.pieces(region) or ():
                    blocks.append(expand(zip(node.inputs, regions, strict=True)))
        found = {key: part(leaves[key], key[2], box) for key, box in boxes.items()}
        each = task.picked_nbytes // max(1, len(task.picked))
        return {**dict.fromkeys(task.picked, Part(CHOSEN, each)), **found}


def part(leaf: Stored, number: int, box: Box) -> Part:
    """A box of a chunk, with its bytes; one that is the whole chunk is None."""
    whole = shape_of(region_at(leaf.chunks, number))
    elements = math.prod(stop - start for start, stop in box)
    item = sum(d.itemsize for d in leaf.fields)
    return Part(None if box == tuple((0, n) for n in whole) else box, elements * item)


def chunk_numbers(leaf: Stored) -> range:
    """The numbers of a stored result's chunks."""
    return range(count(leaf.chunks))
