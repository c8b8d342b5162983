"""A slice of a reduction becomes the reduction of a slice: what nobody looks at is not computed.

The cells stay those of the whole, and so do the bits. One reduction is never made two: where several views look at it,
what is reduced is the smallest box that holds all they need.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from gpuarray.graph.grid import Region, ascending, covering, whole
from gpuarray.graph.leaves import Source
from gpuarray.graph.node import Node, from_line_of, toposort
from gpuarray.graph.reduce import Combine, Partial
from gpuarray.graph.select import AxisMap, Indices, Select, images
from gpuarray.optimize.simplify import LIGHT, Views
from gpuarray.optimize.stages import domain

SPARSE = 8
"""Smaller steps are not taken: what lies between is in the same lines of memory."""
AGAIN = 4
"""Reading an element once more takes about as long as reducing so many."""

Boxes = Mapping[Partial, Region]


def through_reductions(*roots: Node) -> tuple[Node, ...]:
    """Reduce no more than is looked at, along the axes that a reduction keeps."""
    while boxes := worthwhile(roots, looked_at(roots)):
        roots = narrowed(roots, boxes)
    return roots


def looked_at(roots: Sequence[Node]) -> dict[Partial, Region]:
    """The box that is needed of each reduction, where that is less than all."""
    looks: defaultdict[Node, list[Region]] = defaultdict(list)
    for root in roots:
        looks[root].append(whole(root.shape))
    order = toposort(*roots)
    for node in reversed(order):
        for i in node.inputs:
            if isinstance(node, Select) and isinstance(i, Combine):
                looks[i].append(needed(node))
            elif isinstance(node, Combine):
                looks[i] += looks[node]
            elif isinstance(i, (Combine, Partial)):
                looks[i].append(whole(i.shape))
    partials = [n for n in order if isinstance(n, Partial) and all(i.ndim == len(n.domain) for i in n.inputs)]
    boxes = {p: box_of(p, looks[p]) for p in partials}
    return {p: box for p, box in boxes.items() if box != whole(p.shape)}


def needed(view: Select) -> Region:
    """The region of its input that a view looks at."""
    (region,) = view.regions(whole(view.shape))
    return region


def box_of(partial: Partial, looks: Sequence[Region]) -> Region:
    """The smallest box that holds several regions; whole along the reduced axes."""
    box = []
    for k, n, along in zip(partial.cuts, partial.shape, zip(*looks, strict=True), strict=True):
        if k is not None:
            box.append(range(n))
            continue
        ranges = {ascending(r) for r in along if r}
        if len(ranges) == 1 and (r := ranges.pop()).step >= SPARSE:
            box.append(r)
        else:
            ranges = {covering(r) for r in along if r}
            box.append(range(min((r.start for r in ranges), default=0), max((r.stop for r in ranges), default=0)))
    return tuple(box)


def worthwhile(roots: Sequence[Node], boxes: Boxes) -> Boxes:
    """Those that make less work: no kernel is torn apart, no large part of a file read again for a pass of its own."""
    order = toposort(*roots) if boxes else []
    asked = set(roots)
    views = Views()
    passes: defaultdict[Node, set[Node]] = defaultdict(set)
    """The reductions and results that go through each node."""
    for node in order:
        views.work_below(node)  # inputs first: it would go down a long chain at once
    for node in reversed(order):
        through = {node} if isinstance(node, Partial) else passes[node] | ({node} if node in asked else set())
        for i in node.inputs:
            passes[i] |= through
    chosen = {p: box for p, box in boxes.items() if all(views.work_below(i) <= LIGHT for i in p.inputs)}
    for source in (n for n in order if isinstance(n, Source)):
        together = Counter(domain(n) for n in passes[source])
        alike = Counter((domain(n), boxes.get(n)) for n in passes[source] if isinstance(n, Partial))
        for partial, box in [(p, chosen[p]) for p in passes[source] if isinstance(p, Partial) and p in chosen]:
            space = domain(partial)
            alone = together[space] == alike[space, box]
            if not alone and AGAIN * read_again(source, partial, box) > math.prod(space[0]):
                del chosen[partial]
    return chosen


def read_again(source: Source, partial: Partial, box: Region) -> int:
    """Elements that a pass of its own reads: of files whole chunks."""
    read = 1
    for k, lengths, r in zip(partial.cuts, partial.domain, box, strict=True):
        if k is not None:
            read *= lengths.total
        elif source.reader.in_memory:
            read *= len(r)
        else:
            touched = lengths.touched(r)
            read *= lengths.edge(touched.stop) - lengths.edge(touched.start)
    return read


def narrowed(roots: Sequence[Node], boxes: Boxes) -> tuple[Node, ...]:
    """The graph with reductions of boxes, and the views of them moved to where those begin."""
    views = Views()
    new: dict[Node, Node] = {}
    for node in toposort(*roots):
        views.work_below(node)
        inputs = tuple([new[i] for i in node.inputs])
        if isinstance(node, Partial) and node in boxes:
            made = reduced_box(node, boxes[node], inputs, views)
        elif isinstance(node, Select) and inputs[0].shape != node.inputs[0].shape:
            (partial,) = node.inputs[0].inputs
            assert isinstance(partial, Partial)  # nothing else changes its shape
            maps = tuple(moved(m, r) for m, r in zip(node.maps, boxes[partial], strict=True))
            made = Select(node.shape, maps, *inputs)
        else:
            made = node if inputs == node.inputs else node.with_inputs(*inputs)
        new[node] = from_line_of(node, made)
        views.work_below(made)
    return tuple([new[r] for r in roots])


def reduced_box(node: Partial, box: Region, inputs: tuple[Node, ...], views: Views) -> Node:
    """The reduction of what is reduced to a box of the result, in the same cells."""
    each = zip(node.cuts, node.domain, box, strict=True)
    read = tuple(range(c.total) if k is not None else r for k, c, r in each)
    maps = tuple(enumerate(read))
    taken = tuple([views.push(Select(tuple(len(r) for r in read), maps, i)) for i in inputs])
    chunks = tuple(c if k is not None else images(r, c) for k, c, r in zip(node.cuts, node.domain, box, strict=True))
    made: Node = Partial(node.op, node.cuts, chunks, node.size, node.program, node.operands, node.compiled, *taken)
    return made


def moved(m: AxisMap, box: range) -> AxisMap:
    """One axis of a view of the whole, as a view of the box."""
    if isinstance(m, int):
        return (m - box.start) // box.step
    axis, positions = m
    if isinstance(positions, Indices):
        return axis, Indices((positions.array - box.start) // box.step)
    first, step = (positions.start - box.start) // box.step, positions.step // box.step or 1
    return axis, range(first, first + len(positions) * step, step)
