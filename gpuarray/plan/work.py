"""A task's work, as executors call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gpuarray.cluster.task import Chunk, Key, Picked, Result, Wanted, Write
from gpuarray.graph.grid import shape_of, touching
from gpuarray.graph.leaves import Stored
from gpuarray.plan.block import Block, Value, ahead, expand
from gpuarray.plan.compute import Resident, compute, gather, read_piece, read_sources
from gpuarray.plan.strips import in_strips


def wanted_parts(value: Value, block: Block, backend: Any, chunks: Mapping[Key, Chunk]) -> Wanted:
    """The parts of a kept result that a value reads."""
    node, region = value
    (leaf,) = node.inputs[-1:]
    assert isinstance(leaf, Stored)
    others = [gather(i, r, backend, chunks) for i, r in block.values[value] if isinstance(i, Stored)]
    parts = []
    for part in node.pick(region, *map(backend.to_host, others)):
        for number, inside, _ in touching(leaf.chunks, part):
            parts.append(((leaf.stage, leaf.output, number), tuple((s.start, s.stop) for s in inside)))
    return Wanted(tuple(parts), leaf.fields)


@dataclass(slots=True)
class BlockWork:
    """The callable part of a task (see `gpuarray.cluster.task.Work`)."""

    stage: int
    number: int
    wanted: tuple[Value, ...]
    sinks: tuple[Any, ...]
    """Where each wanted value goes; None for one that is kept."""
    block: Block | None = field(default=None, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return BlockWork, (self.stage, self.number, self.wanted, self.sinks)

    def _block(self) -> Block:
        if self.block is None:
            self.block = expand(self.wanted)
        return self.block

    def load(self) -> dict[Value, Any]:
        return read_sources(self._block())

    def lift(self, staging: Any) -> dict[Value, Any]:
        block = self._block()
        early = set(ahead(block))
        loaded: dict[Value, Any] = {}
        for value in block.sources():
            node, region = value
            reader = node.reader  # type: ignore[attr-defined]
            memory, resident = getattr(staging, "memory", None), getattr(reader, "resident", None)
            holds = resident(region, memory) if resident is not None and memory is not None else None
            if holds is not None:
                loaded[value] = Resident(reader.leaf, holds)
                continue
            if value in early and getattr(reader, "in_pieces", False):
                runs = partial(reader.runs, region) if hasattr(reader, "runs") else None
                loaded[value] = staging.stream(shape_of(region), node.dtype, partial(read_piece, reader, region), runs)
                continue
            array = loaded[value] = reader.read(region)
            if value in early and getattr(array, "device", "cpu") == "cpu":  # or it is the user's array on the device
                loaded[value] = staging.upload(array)
        return loaded

    def pick(self, backend: Any, loaded: Any, chunks: Mapping[Key, Chunk]) -> tuple[Wanted, ...]:
        block = self._block()
        return tuple(wanted_parts(value, block, backend, chunks) for value in block.picking)

    def run(self, backend: Any, loaded: Any, chunks: Mapping[Key, Chunk]) -> Result:
        block = self._block()
        if isinstance(loaded, Picked):
            loaded = {**loaded.loaded, **dict(zip(block.picking, loaded.arrays, strict=True))}
        into = {}
        for value, sink in zip(self.wanted, self.sinks, strict=True):
            target = sink.target(value[1], backend) if sink is not None else None
            if target is not None:
                into[value] = target
        results = in_strips(block, backend, loaded, chunks, into) or compute(block, backend, loaded, chunks, into)
        kept: dict[Key, Chunk] = {}
        writes = []
        for output, (value, sink, array) in enumerate(zip(self.wanted, self.sinks, results, strict=True)):
            if sink is None:
                kept[self.stage, output, self.number] = self._own(value, array, backend)
            elif value not in into or array is not into[value]:
                writes.append(Write(sink, value[1], array))
        return Result(kept, tuple(writes))

    @staticmethod
    def _own(value: Value, array: Any, backend: Any) -> Chunk:
        """A chunk that shares memory with nothing, so that its bytes are what it keeps alive."""
        if value[0].parts:
            return tuple(array)
        base = getattr(array, "base", None)
        if base is None or (not isinstance(base, type(array)) and base.nbytes == array.nbytes):
            return (array,)
        copy = backend.empty(array.shape, value[0].dtype)
        copy[...] = array
        return (copy,)

    def store(self, backend: Any, result: Result) -> None:
        for write in result.writes:
            write.sink.write(write.region, backend.to_host(write.array))
