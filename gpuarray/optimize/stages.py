"""Which results are kept. Everything else is computed inside the tasks that read it.

A result is kept when it is asked for, when it cannot be computed region by region, or when it is read in more than
one way and computing it again would cost more than keeping it. Data in files is re-read rather than hoarded.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass

from gpuarray.graph.elementwise import Map
from gpuarray.graph.grid import Chunks, Shape
from gpuarray.graph.leaves import Const, Index, Source, Stored
from gpuarray.graph.move import Assign, Concat
from gpuarray.graph.node import Node, elements, from_line_of, toposort
from gpuarray.graph.reduce import Partial
from gpuarray.graph.routine import Strip
from gpuarray.graph.select import Select
from gpuarray.graph.slabs import Advanced, Carried
from gpuarray.graph.sorting import Samples
from gpuarray.graph.stencil import Part
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


@dataclass(frozen=True)
class Kept:
    """Which results the tasks of a run hand on."""

    results: dict[Node, None]
    """Those that stages compute, inputs before readers."""
    bounds: frozenset[Node]
    """Those of them that later stages read. What is only asked for, and light, is worked out again by its readers:
    they go through the same data, most often in the same task."""


def kept(*roots: Node) -> Kept:
    """The results of stages."""
    order = toposort(*roots)
    asked = frozenset(roots)
    readers = Counter(i for n in order for i in dict.fromkeys(n.inputs))
    reread = {i for n in order if n.rereads for i in n.inputs}
    spread = {i for n in order for i in n.inputs if spreads(n, i)}
    whole = taken_apart(order, asked, readers)
    work: dict[Node, float] = {}
    bounds: set[Node] = set()
    for node in order:
        own = HEAVY if node.costly else 0 if is_leaf(node) or isinstance(node, Select) else node.cost()
        work[node] = min(HEAVY, own + sum(work[i] for i in dict.fromkeys(node.inputs)))
        several = readers[node] + (node in asked) > 1 and node not in whole and not node.together
        again = several or node in reread
        if not node.inline or (again and work[node] > LIGHT) or (node in spread and work[node]):
            bounds.add(node)
            work[node] = 0
    bounds |= sharing(order, asked, bounds)
    return Kept({n: None for n in order if n in bounds or n in asked}, frozenset(bounds))


def taken_apart(order: list[Node], asked: frozenset[Node], readers: Counter[Node]) -> set[Node]:
    """Results of several arrays of which each is asked for and nothing else reads any: the arrays are what is kept."""
    parts = [n for n in order if isinstance(n, Part)]
    read = {n.inputs[0] for n in parts if n not in asked or readers[n]}
    taken = Counter(n.inputs[0] for n in parts)
    taken.update(n.inputs[0] for n in order if isinstance(n, Strip))
    return {n for n, k in taken.items() if n not in read and n not in asked and readers[n] == k}


def sharing(order: list[Node], asked: frozenset[Node], bounds: Set[Node]) -> set[Node]:
    """The reductions that could be computed where they are read, but go through the same data as another result."""
    chosen: set[Node] = {n for n in order if isinstance(n, Partial) and n not in bounds and shrinks(n)}
    while chosen:
        found = places(order, bounds | chosen)
        others = [n for n in order if n in bounds or n in asked or n in chosen]
        passes = Counter(found[n] for n in others if shares(n))
        alone = {n for n in chosen if passes[found[n]] < 2 or not any(isinstance(d, Source) for d in found[n].data)}
        if not alone:
            break
        chosen -= alone  # which moves what reads them: look again
    return chosen


def shrinks(node: Partial) -> bool:
    """Whether a reduction's states are next to nothing beside what is reduced."""
    return elements(node) * 16 <= math.prod(c.total for c in node.domain)


@dataclass(frozen=True)
class Place:
    """Results in the same place can be computed by the same tasks."""

    level: int
    """How many stages come before."""
    domain: tuple[Shape, Chunks]
    data: frozenset[Node]
    """The files and arrays, and the earlier results, that it goes through."""


def places(order: list[Node], bounds: Set[Node]) -> dict[Node, Place]:
    """Where each node stands when those in `bounds` are results of stages that others read."""
    found: dict[Node, Place] = {}
    for node in order:
        level = max((found[i].level + (i in bounds) for i in node.inputs), default=0)
        data: frozenset[Node] = frozenset({node} if isinstance(node, Source) else ())
        for i in node.inputs:
            data |= {i} if i in bounds else found[i].data
        found[node] = Place(level, domain(node), data)
    return found


def spreads(reader: Node, node: Node) -> bool:
    """Whether a small result is broadcast: working it out once is better than for every element that reads it."""
    if isinstance(reader, (Concat, Assign)):  # they read each element once, however small a part it is of theirs
        return False
    space = math.prod(c.total for c in domain(reader)[1])
    return space >= LARGE and elements(node) * 16 <= space


def is_leaf(node: Node) -> bool:
    return isinstance(node, (Source, Const, Index, Stored))


def groups(*roots: Node) -> tuple[list[Group], frozenset[Node]]:
    """The results in the order of their stages, those that share a pass over the same data together; and those of
    them that later stages read."""
    keep = kept(*roots)
    found = places(toposort(*roots), keep.bounds)
    made: dict[object, list[Node]] = {}
    for node in keep.results:
        place = found[node]
        alike: object = place if place.data and shares(node) else (place.level, node)
        if isinstance(node, Strip):
            alike = place.level, node.inputs[0], "strips"
        elif node.inputs and node.inputs[0].together:
            alike = place.level, node.inputs[0], domain(node)
        made.setdefault(alike, []).append(node)
    together = [Group(found[nodes[0]].level, tuple(nodes)) for nodes in made.values()]
    return sorted(together, key=lambda g: g.level), keep.bounds


def shares(node: Node) -> bool:
    """Whether a result may be computed in the same tasks as others: it goes through its data once, in order."""
    return isinstance(node, (Partial, Map, Select, Part)) and not node.rereads


def domain(node: Node) -> tuple[Shape, Chunks]:
    """The space that a node's tasks divide: what is reduced, or the result itself."""
    chunks = node.domain if isinstance(node, (Partial, Strip, Advanced, Carried, Samples)) else node.chunks
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
