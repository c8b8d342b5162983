"""Which results are kept. Everything else is computed inside the tasks that read it.

A result is kept when it is asked for, when it cannot be computed region by region, or when it is read in more than
one way and computing it again would cost more than keeping it. Data in files is re-read rather than hoarded.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from gpuarray.graph.elementwise import Map
from gpuarray.graph.grid import Chunks, Shape
from gpuarray.graph.leaves import Const, Index, Source, Stored
from gpuarray.graph.move import Assign, Concat
from gpuarray.graph.node import Node, elements, from_line_of, toposort
from gpuarray.graph.reduce import Partial
from gpuarray.graph.select import Select
from gpuarray.optimize.simplify import LIGHT

HEAVY = 10**6
"""More work than any elementwise operation is."""
LARGE = 2**16
"""Elements from which a stage of its own for a small input pays."""


@dataclass(frozen=True)
class Group:
    """Results that are kept, computed by the same tasks because they read the same data."""

    level: int
    nodes: tuple[Node, ...]


def kept(*roots: Node) -> dict[Node, None]:
    """The nodes whose results are kept, inputs before readers."""
    order = toposort(*roots)
    readers = Counter(i for n in order for i in dict.fromkeys(n.inputs))
    reread = {i for n in order if n.rereads for i in n.inputs}
    spread = {i for n in order for i in n.inputs if spreads(n, i)}
    work: dict[Node, float] = {}
    keep: dict[Node, None] = {}
    for node in order:
        own = HEAVY if node.costly else 0 if is_leaf(node) or isinstance(node, Select) else node.cost()
        work[node] = min(HEAVY, own + sum(work[i] for i in dict.fromkeys(node.inputs)))
        again = readers[node] > 1 or node in reread
        if node in roots or not node.inline or (again and work[node] > LIGHT) or (node in spread and work[node]):
            keep[node] = None
            work[node] = 0
    return keep


def spreads(reader: Node, node: Node) -> bool:
    """Whether a small result is broadcast: working it out once is better than for every element that reads it."""
    if isinstance(reader, (Concat, Assign)):  # they read each element once, however small a part it is of theirs
        return False
    space = math.prod(c.total for c in domain(reader)[1])
    return space >= LARGE and elements(node) * 16 <= space


def is_leaf(node: Node) -> bool:
    return isinstance(node, (Source, Const, Index, Stored))


def groups(*roots: Node) -> list[Group]:
    """Kept results in the order of their stages; those that share a pass over the same data are together."""
    keep = kept(*roots)
    level: dict[Node, int] = {}
    made: dict[tuple[object, ...], list[Node]] = {}
    data: dict[Node, frozenset[Node]] = {}
    for node in toposort(*roots):
        deepest = max((level[i] + (i in keep) for i in node.inputs), default=0)
        level[node] = deepest
        data[node] = frozenset().union(*(data[i] if i not in keep else {i} for i in node.inputs))
        if isinstance(node, Source):
            data[node] = frozenset({node})
        if node not in keep:
            continue
        shared = data[node] if shares(node) else frozenset()
        key: tuple[object, ...] = (deepest, domain(node), shared) if shared else (deepest, node)
        made.setdefault(key, []).append(node)
    return sorted((Group(nodes_level(key), tuple(nodes)) for key, nodes in made.items()), key=lambda g: g.level)


def nodes_level(key: tuple[object, ...]) -> int:
    level = key[0]
    assert isinstance(level, int)
    return level


def shares(node: Node) -> bool:
    """Whether a result may be computed in the same tasks as others: it goes through its data once, in order."""
    return isinstance(node, (Partial, Map, Select)) and not node.rereads


def domain(node: Node) -> tuple[Shape, Chunks]:
    """The space that a node's tasks divide: what is reduced, or the result itself."""
    chunks = node.domain if isinstance(node, Partial) else node.chunks
    return tuple(c.total for c in chunks), chunks


def substitute(node: Node, stored: dict[Node, Node]) -> Node:
    """The node with the results of earlier stages put in below it."""
    new: dict[Node, Node] = {}
    stack: list[tuple[Node, bool]] = [(node, False)]
    while stack:
        n, ready = stack.pop()
        if n in new:
            continue
        if n in stored and n is not node:
            new[n] = stored[n]
        elif not n.inputs:
            new[n] = n
        elif ready:
            inputs = tuple([new[i] for i in n.inputs])
            new[n] = n if inputs == n.inputs else from_line_of(n, n.with_inputs(*inputs))
        else:
            stack.append((n, True))
            stack.extend((i, False) for i in n.inputs)
    return new[node]
