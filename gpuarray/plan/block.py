"""One task's work: a region of each of a stage's results, what it reads, the bytes it needs, and how it is computed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from gpuarray.cluster.task import Chunk, Key, Result, Write
from gpuarray.graph.elementwise import Fused
from gpuarray.graph.grid import Region, shape_of, size_of, touching
from gpuarray.graph.leaves import Const, Source, Stored
from gpuarray.graph.move import Concat, Rechunk
from gpuarray.graph.node import Node
from gpuarray.graph.overlap import Windows
from gpuarray.graph.routine import Strip
from gpuarray.graph.scan import Scan
from gpuarray.graph.select import VIEW, Select
from gpuarray.graph.sorting import Runs
from gpuarray.graph.stencil import Part, Sweep

Value = tuple[Node, Region]
"""A node's result over a region."""
SLACK = 1 << 20
"""Bytes, or a sixteenth of what it needs if that is less, that a task may need more to have its sources early."""
IN_PLACE = (Fused, Scan, Sweep)
"""Nodes that can write their result to memory they are given."""


@dataclass(frozen=True, slots=True)
class Block:
    """Values in an order in which they can be computed, the wanted ones last among their like."""

    values: dict[Value, tuple[Value, ...]]
    """Every value with the values it is computed from."""
    wanted: tuple[Value, ...]
    stepped: tuple[Value, ...]
    """Values that are accumulated in pieces; what those read is not among `values`."""

    def sources(self) -> list[Value]:
        return [v for v in self.values if isinstance(v[0], Source)]


def expand(wanted: Iterable[Value]) -> Block:
    """Everything below `wanted`; a value that is needed twice for the same region is there once."""
    wanted = tuple(wanted)
    values: dict[Value, tuple[Value, ...]] = {}
    stepped: list[Value] = []
    stack: list[tuple[Value, tuple[Value, ...] | None]] = [(v, None) for v in reversed(wanted)]
    while stack:
        value, inputs = stack.pop()
        if value in values:
            continue
        if inputs is not None:
            values[value] = inputs
            continue
        node, region = value
        if not node.inputs:
            values[value] = ()
        elif node.pieces(region) is not None:
            values[value] = ()
            stepped.append(value)
        else:
            inputs = tuple(zip(node.inputs, node.regions(region), strict=True))
            stack.append((value, inputs))
            stack.extend((v, None) for v in reversed(inputs) if v not in values)
    return Block(values, wanted, tuple(stepped))


@dataclass(frozen=True, slots=True)
class Needs:
    """What a block reads and how many bytes it takes."""

    inputs: tuple[tuple[Key, int], ...]
    """Kept chunks, with their bytes."""
    load: int
    """Host bytes of what is read from files."""
    work: int
    """Bytes beyond inputs and loads where it computes: temporaries, results, and what a device has a copy of."""
    device: bool = False
    """It computes in the memory of a device, where loads are not."""

    @property
    def own(self) -> int:
        """Bytes beyond inputs in the memory where it computes."""
        return self.work + (0 if self.device else self.load)

    @property
    def total(self) -> int:
        """Bytes in the memory where it computes."""
        return self.own + sum(n for _, n in self.inputs)


def needs(block: Block, into: frozenset[Value] = frozenset(), device: bool = False) -> Needs:
    """Count a block's bytes by going through it with the lifetimes that `run` gives its values.

    `into`: wanted values that are computed straight into memory counted elsewhere. `device`: sources are copied to the
    memory of a device.
    """
    inputs: dict[Key, int] = {}
    load, steps = profile(block, inputs, into, device)
    work = _ahead(block, steps)[1] if device else max(steps)
    return Needs(tuple(inputs.items()), load, work, device)


def profile(
    block: Block, inputs: dict[Key, int], into: frozenset[Value] = frozenset(), device: bool = False
) -> tuple[int, list[int]]:
    """The bytes read, and those held beside inputs at each step and at the end; `inputs` is filled."""
    load = held = 0
    steps = []
    last = last_uses(block)
    size: dict[Value, int] = {}
    for k, (value, _) in enumerate(block.values.items()):
        node, region = value
        if isinstance(node, Source):
            load += node.reader.read_nbytes(region)
            size[value] = node.nbytes(region) if device else 0
        elif isinstance(node, Stored):
            parts = stored_parts(node, region)
            inputs.update(parts)
            size[value] = node.nbytes(region) if len(parts) > 1 else 0
        elif isinstance(node, Const):
            size[value] = node.dtype.itemsize
        else:
            elsewhere = is_view(node, block.values[value]) or (value in into and isinstance(node, IN_PLACE))
            size[value] = 0 if elsewhere else node.nbytes(region)
        extra = node.workspace(region)
        if value in block.stepped:
            pieces = _pieces_needs(node, region, device)
            inputs.update(pieces.inputs)
            extra += pieces.own
            load += pieces.load if device else 0
        held += size[value]
        steps.append(held + extra)
        for freed in last[k]:
            held -= size[freed]
    # A wanted view is copied when it is kept or written.
    copies = sum(
        node.nbytes(r)
        for node, r in block.wanted
        if is_view(node, block.values[node, r]) or isinstance(node, (Source, Stored))
    )
    steps.append(held + copies)
    return load, steps


def ahead(block: Block) -> list[Value]:
    """Sources that a device has from before the first step to after the last: those that take hardly more so."""
    return _ahead(block, profile(block, {}, device=True)[1])[0]


def _ahead(block: Block, steps: list[int]) -> tuple[list[Value], int]:
    """Those sources, and the most bytes held at any step with them."""
    sources = block.sources()
    most = max(steps)
    if not sources:
        return [], most
    held = np.array(steps)
    most += min(most // 16, SLACK)
    until = {value: k for k, freed in enumerate(last_uses(block)) for value in freed}
    at = {value: k for k, value in enumerate(block.values)}
    found = []
    for value in sources:
        nbytes = value[0].nbytes(value[1])
        others = held[: at[value]], held[until.get(value, len(held)) + 1 :]
        if all(part.max(initial=0) + nbytes <= most for part in others):
            for part in others:
                part += nbytes
            found.append(value)
    return found, int(held.max())


def _pieces_needs(node: Node, region: Region, device: bool) -> Needs:
    """What all pieces read, and the most that one of them takes."""
    inputs: dict[Key, int] = {}
    load = work = 0
    for regions in node.pieces(region) or ():
        need = needs(expand(zip(node.inputs, regions, strict=True)), device=device)
        inputs.update(need.inputs)
        load, work = max(load, need.load), max(work, need.own)
    return Needs(tuple(inputs.items()), load if device else 0, work, device)


def is_view(node: Node, inputs: tuple[Value, ...]) -> bool:
    """Whether a node's result is a view of its input, and takes no memory."""
    if isinstance(node, Concat):
        return sum(bool(size_of(r)) for _, r in inputs) == 1
    if isinstance(node, Runs):
        return node.in_place
    return isinstance(node, (Rechunk, Const, Part, Windows, Strip)) or (isinstance(node, Select) and node.label == VIEW)


def last_uses(block: Block) -> list[list[Value]]:
    """For every step of a block, the values nobody needs after it. A view keeps what it looks at alive."""
    order = list(block.values)
    at = {v: k for k, v in enumerate(order)}
    last = dict(at)
    for value in reversed(order):
        until = last[value] if is_view(value[0], block.values[value]) else at[value]
        for i in block.values[value]:
            last[i] = max(last[i], until)
    for value in block.wanted:
        _keep(block, value, last, len(order))
    freed: list[list[Value]] = [[] for _ in order]
    for value, k in last.items():
        if k < len(order):
            freed[k].append(value)
    return freed


def _keep(block: Block, value: Value, last: dict[Value, int], until: int) -> None:
    stack = [value]
    while stack:
        v = stack.pop()
        last[v] = until
        if is_view(v[0], block.values[v]):
            stack.extend(block.values[v])


def stored_parts(node: Stored, region: Region) -> dict[Key, int]:
    """The chunks of an earlier stage that a region has elements in, with their bytes."""
    item = sum(d.itemsize for d in node.fields)
    parts: dict[Key, int] = {}
    if all(len(r) == n for r, n in zip(region, node.shape, strict=True)):  # all of them, as a merge of states reads
        sizes = map(math.prod, itertools.product(*node.chunks))
        return {(node.stage, node.output, number): size * item for number, size in enumerate(sizes)}
    for number, _, _ in touching(node.chunks, region):
        chunk = 1
        rest = number
        for c in reversed(node.chunks):
            rest, k = divmod(rest, len(c))
            chunk *= c[k]
        parts[node.stage, node.output, number] = chunk * item
    return parts


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
                done[value] = backend.moved(array) if hasattr(backend, "moved") else array
        elif isinstance(node, Stored):
            done[value] = gather(node, region, backend, chunks)
        elif value in block.stepped:
            done[value] = _accumulate(node, region, backend, chunks)
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
        parts = [
            (part[inside or ...], array[at or ...])
            for number, inside, at in touched
            for array, part in zip(arrays, chunks[node.stage, node.output, number], strict=True)
        ]
        if hasattr(backend, "gather"):  # a device whose launches cost more than small copies
            backend.gather(parts)
        else:
            for part, place in parts:
                place[...] = part
    return arrays if node.parts else arrays[0]


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
                loaded[value] = staging.stream(shape_of(region), node.dtype, partial(read_piece, reader, region))
                continue
            array = loaded[value] = reader.read(region)
            if value in early and getattr(array, "device", "cpu") == "cpu":  # or it is the user's array on the device
                loaded[value] = staging.upload(array)
        return loaded

    def run(self, backend: Any, loaded: Any, chunks: Mapping[Key, Chunk]) -> Result:
        block = self._block()
        into = {}
        for value, sink in zip(self.wanted, self.sinks, strict=True):
            target = sink.target(value[1], backend) if sink is not None else None
            if target is not None:
                into[value] = target
        from gpuarray.plan.strips import in_strips

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
