"""In which order the tasks of a plan are enumerated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gpuarray.cluster.task import Key, Task
from gpuarray.graph.grid import Chunks, count
from gpuarray.graph.leaves import Stored
from gpuarray.graph.move import Concat
from gpuarray.graph.node import Node, toposort


def in_order(program: Sequence[Any], asked: Iterable[Any]) -> Iterator[Task]:
    """The tasks that some of a plan's stages need, each after those it reads from and as late as possible."""
    stages = {s.number: s for s in program}
    done = {s.number: bytearray(s.tasks) for s in program}
    for stage in asked:
        for turn in turns([o.node for o in stage.outputs], stage.grid):
            if len(turn) > 1:
                yield from needed(sorted({key for k in turn for key in stage.reads(k)}), stages, done)
            for number in turn:
                yield from needed([(stage.number, 0, number)], stages, done)


def needed(keys: Sequence[Key], stages: Mapping[int, Any], done: Mapping[int, bytearray]) -> Iterator[Task]:
    """The tasks that make chunks, and those that they need."""
    stack: list[tuple[int, int, Task | None]] = []
    stack.extend((s, k, None) for s, _, k in reversed(keys) if s in done)
    while stack:
        at, k, task = stack.pop()
        if done[at][k]:
            continue
        task = task or stages[at].task(k)
        missing = [i for i in task.inputs if i[0] in done and not done[i[0]][i[2]]]
        if missing:
            stack.append((at, k, task))
            stack.extend((s, n, None) for s, _, n in reversed(missing))
            continue
        done[at][k] = 1
        yield task


def turns(nodes: Iterable[Node], grid: Chunks) -> Iterator[Sequence[int]]:
    """The numbers of a stage's tasks, of which some are asked for at once: in C order, one by one.

    But where a result is put together from parts that are made one after the other, as the block columns of a
    factorisation, all that lie in one part are a turn. Row by row, each task would wait for the one before it.
    """
    axes = {growing(node) for node in nodes}
    if len(axes) != 1 or not 0 < max(axes) < len(grid):
        yield from ((k,) for k in range(count(grid)))
        return
    numbers = np.arange(count(grid)).reshape([len(along) for along in grid])
    for turn in np.moveaxis(numbers, axes.pop(), 0):
        yield turn.ravel().tolist()


def growing(node: Node) -> int:
    """The axis, but the first, along which a result is put together from results of ever later stages; 0 for none."""
    left = [node]
    while left:
        at = left.pop()
        if isinstance(at, Concat) and at.axis and in_turn(at.inputs):
            return at.axis
        left += [i for i in at.inputs if i.shape == node.shape]
    return 0


def in_turn(parts: Sequence[Node]) -> bool:
    """Whether each part is read from later stages than those before it."""
    last, made = 0, 0
    for part in parts:
        stages = [n.stage for n in toposort(part) if isinstance(n, Stored)]
        if stages and min(stages) <= last:
            return False
        last, made = max([last, *stages]), made + bool(stages)
    return made > 1
