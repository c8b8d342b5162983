"""Computing a block: its values one after the other, each freed after its last use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.cluster.task import Chunk, Key
from gpuarray.graph.grid import Region, shape_of, touching
from gpuarray.graph.leaves import Source, Stored
from gpuarray.graph.node import Node
from gpuarray.plan.block import IN_PLACE, Block, Value, expand, last_uses


def compute(
    block: Block,
    backend: Any,
    loaded: Mapping[Value, Any],
    chunks: Mapping[Key, Chunk],
    into: Mapping[Value, Any] | None = None,
) -> list[Any]:
    """Compute a block's wanted values, freeing each temporary after its last use."""
    done: dict[Value, Any] = {}
    last = last_uses(block)
    for k, (value, inputs) in enumerate(block.values.items()):
        node, region = value
        if isinstance(node, Source):
            array = loaded[value]
            if isinstance(array, Resident):
                array = array.gather(region, backend)
            if isinstance(array, np.ndarray) or backend.xp is np:
                done[value] = backend.from_host(array)
            else:  # it is on a device already, but a user's may be on another
                done[value] = backend.moved(array)
        elif isinstance(node, Stored):
            done[value] = gather(node, region, backend, chunks)
        elif value in block.stepped:
            done[value] = _accumulate(node, region, backend, chunks)
        elif value in block.picking:
            done[value] = node.evaluate(backend, region, *(done[i] for i in inputs), loaded[value])
        elif into and value in into and isinstance(node, IN_PLACE):
            done[value] = node.evaluate(backend, region, *(done[i] for i in inputs), into=into[value])
        else:
            done[value] = node.evaluate(backend, region, *(done[i] for i in inputs))
        for freed in last[k]:
            del done[freed]
    return [done[v] for v in block.wanted]


def _accumulate(node: Node, region: Region, backend: Any, chunks: Mapping[Key, Chunk]) -> Any:
    result = None
    for regions in node.pieces(region) or ():
        block = expand(zip(node.inputs, regions, strict=True))
        inputs = compute(block, backend, read_sources(block), chunks)
        result = node.accumulate(backend, region, result, *inputs)
    return result


def read_sources(block: Block) -> dict[Value, Any]:
    return {(n, r): n.reader.read(r) for n, r in block.sources()}  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Resident:
    """A source that an earlier run has left on the device; it stays there while this lives."""

    leaf: Stored
    holds: dict[Key, Any]

    def gather(self, region: Region, backend: Any) -> Any:
        return gather(self.leaf, region, backend, {key: hold.chunk for key, hold in self.holds.items()})


def read_piece(reader: Any, region: Region, index: tuple[int | slice, ...], piece: Any) -> None:
    """Read the part of a region that an index of its first axes selects."""
    first = tuple(r[i : i + 1] if isinstance(i, int) else r[i] for r, i in zip(region, index, strict=False))
    part = (*first, *region[len(index) :])
    reader.read_into(part, piece.reshape(shape_of(part)))


def gather(node: Stored, region: Region, backend: Any, chunks: Mapping[Key, Chunk]) -> Any:
    """A region of an earlier stage's result, from the chunks that hold it."""
    touched = list(touching(node.chunks, region))
    if len(touched) == 1:
        number, inside, _ = touched[0]
        arrays = tuple(a[inside or ...] for a in chunks[node.stage, node.output, number])
    else:
        arrays = tuple(backend.empty(shape_of(region), d) for d in node.fields)
        backend.gather(
            [
                (part[inside or ...], array[at or ...])
                for number, inside, at in touched
                for array, part in zip(arrays, chunks[node.stage, node.output, number], strict=True)
            ]
        )
    return arrays if node.parts else arrays[0]
