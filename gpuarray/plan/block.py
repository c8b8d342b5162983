"""One task's block: a region of each of a stage's results, what it reads, and the bytes it needs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from gpuarray.cluster.task import Key
from gpuarray.graph.elementwise import Fused
from gpuarray.graph.grid import Region, size_of, touching
from gpuarray.graph.leaves import Const, Source, Stored
from gpuarray.graph.move import Concat, Rechunk
from gpuarray.graph.node import Node
from gpuarray.graph.overlap import Windows
from gpuarray.graph.routine import Strip
from gpuarray.graph.scan import Scan
from gpuarray.graph.select import VIEW, Select
from gpuarray.graph.slabs import Settled
from gpuarray.graph.sorting import Shelved
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
    picking: tuple[Value, ...] = ()
    """Values that read parts of a kept result, chosen when the task runs; that result is not among `values`."""

    def sources(self) -> list[Value]:
        return [v for v in self.values if isinstance(v[0], Source)]


def expand(wanted: Iterable[Value]) -> Block:
    """Everything below `wanted`; a value that is needed twice for the same region is there once."""
    wanted = tuple(wanted)
    values: dict[Value, tuple[Value, ...]] = {}
    stepped: list[Value] = []
    picking: list[Value] = []
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
            if node.picks:
                picking.append(value)
                inputs = inputs[:-1]
            stack.append((value, inputs))
            stack.extend((v, None) for v in reversed(inputs) if v not in values)
    return Block(values, wanted, tuple(stepped), tuple(picking))


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
    picked: tuple[Key, ...] = ()
    """Kept chunks of which parts are read, chosen when the task runs."""
    picked_nbytes: int = 0
    """The most bytes of these parts, which are among the loads."""

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
    picked = dict.fromkeys(key for value in block.picking for key in pickable(*value) if key not in inputs)
    return Needs(tuple(inputs.items()), load, work, device, tuple(picked), sum(parts_nbytes(*v) for v in block.picking))


def pickable(node: Node, region: Region) -> Iterator[Key]:
    """The chunks of which a value may read parts."""
    leaf = node.inputs[-1]
    if isinstance(leaf, Stored):  # else the plan is not made yet
        yield from stored_parts(leaf, node.regions(region)[-1])


def parts_nbytes(node: Node, region: Region) -> int:
    """The most bytes of the parts of a kept result that a value reads."""
    return node.picked(region) * sum(d.itemsize for d in node.inputs[-1].fields)


def profile(
    block: Block, inputs: dict[Key, int], into: frozenset[Value] = frozenset(), device: bool = False
) -> tuple[int, list[int]]:
    """The bytes read, and those held beside inputs at each step and at the end; `inputs` is filled."""
    load = sum(parts_nbytes(*value) for value in block.picking)
    held = load if device else 0
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
        if isinstance(node, (Source, Stored))
        or (is_view(node, block.values[node, r]) and not isinstance(node, Shelved))  # arrays of their own
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
    if isinstance(node, (Concat, Settled)):
        return sum(bool(size_of(r)) for _, r in inputs) == 1
    return isinstance(node, (Rechunk, Const, Part, Windows, Strip, Shelved)) or (
        isinstance(node, Select) and node.label == VIEW
    )


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
    if not size_of(region):
        return parts
    if all(len(r) == n for r, n in zip(region, node.shape, strict=True)):  # all of them, as a merge of states reads
        sizes = map(math.prod, itertools.product(*node.chunks))
        return {(node.stage, node.output, number): size * item for number, size in enumerate(sizes) if size}
    for number, _, _ in touching(node.chunks, region):
        chunk = 1
        rest = number
        for c in reversed(node.chunks):
            rest, k = divmod(rest, len(c))
            chunk *= c[k]
        parts[node.stage, node.output, number] = chunk * item
    return parts
