"""Reductions and scans become trees: states of cells, then one merge.

What is a cell depends on the chunks alone, never on memory or workers, and so does the order of every addition.
"""

from __future__ import annotations

import math

from gpuarray.graph.cells import cells
from gpuarray.graph.elementwise import Map
from gpuarray.graph.grid import Lengths
from gpuarray.graph.node import Node, elements, from_line_of, rewrite
from gpuarray.graph.reduce import Combine, Merge, Partial, Reduce
from gpuarray.graph.scan import ExclusiveScan, Scan
from gpuarray.kernels.program import Builder

MANY_STATES = 2**14
"""States that one task merges."""
MOST_STATES = 2**26
"""States beyond which a reduction is refused: computing their cells would take days."""
GROUP = 2**12
"""Those of a group, where there are more."""
GROUP_BYTES = 16 << 20
"""The most that those of a group may take, where each is an array along the axes that stay."""


def to_trees(*roots: Node) -> tuple[Node, ...]:
    """Lower every reduction and scan."""
    return rewrite(lower, *roots)


def lower(node: Node) -> Node | None:
    if isinstance(node, Reduce):
        cuts = cells(node.inputs[0].chunks, node.axes)
        partial = partial_of(node.op, cuts, *node.inputs)
        return Combine(node.op, node.axes, node.parameters, node.dtype, from_line_of(node, partial))
    if isinstance(node, Scan) and len(node.inputs) == 1 and len(node.cuts) > 1:
        cuts = tuple(node.cuts if a == node.axis else None for a in range(node.ndim))
        values: Node = node.inputs[0]
        if values.dtype != node.dtype:
            values = Map("cast", node.dtype, values)
        totals = from_line_of(node, partial_of(node.op, cuts, values))
        carry = from_line_of(node, ExclusiveScan(node.op, node.axis, node.dtype, totals))
        return Scan(node.op, node.axis, node.cuts, node.dtype, node.inputs[0], carry)
    return None


def in_levels(*roots: Node) -> tuple[Node, ...]:
    """Merge very many states in groups first: no task reads them all."""
    return rewrite(grouped, *roots)


def grouped(node: Node) -> Node | None:
    if not isinstance(node, Combine):
        return None
    (states,) = node.inputs
    while (found := grouping(states, node.axes)) is not None:
        states = from_line_of(node, Merge(node.op, node.axes, *found, states))
    return node if states is node.inputs[0] else node.with_inputs(states)


def grouping(states: Node, axes: tuple[int, ...]) -> tuple[int, int] | None:
    """The axis, and how many cells along it make a group; None where cells are few, or no groups are subtrees.

    The tree pairs neighbours in the order of all cells, so a group is a power of two of them, one after the other.
    """
    several = [a for a in sorted(axes) if states.shape[a] > 1]
    if not MANY_STATES < math.prod(states.shape[a] for a in several) <= MOST_STATES:
        return None
    axis, *others = several
    across = math.prod(states.shape[a] for a in others)
    state = sum(d.itemsize for d in states.fields) * math.prod(
        c.largest for a, c in enumerate(states.chunks) if a not in axes
    )
    most = min(GROUP, GROUP_BYTES // max(1, state)) // across
    group = 1 << (most.bit_length() - 1) if most else 0
    return (axis, group) if group * across > 1 and across.bit_count() == 1 else None


def partial_of(op: str, cuts: tuple[Lengths | None, ...], *inputs: Node) -> Node:
    """The states of the cells. Its program only passes its inputs on, until `fuse` puts the work below them in it."""
    builder = Builder()
    values = [builder.input("array", i.dtype) for i in inputs]
    program = builder.build(*values)
    made: Node = Partial(op, cuts, inputs[0].chunks, elements(inputs[0]), program, tuple(values), False, *inputs)
    return made
