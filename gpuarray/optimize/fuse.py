"""Elementwise trees become programs: one kernel, one pass over memory, no temporaries."""

from __future__ import annotations

from collections.abc import Callable, Set

from gpuarray.graph.elementwise import Fused, Map, Operand
from gpuarray.graph.leaves import Const, Index
from gpuarray.graph.node import Node, elements, from_line_of, toposort
from gpuarray.graph.reduce import Partial
from gpuarray.graph.select import Select
from gpuarray.kernels.program import Builder, Program

MAX_STEPS = 256
"""Longer trees become several kernels, whose results pass through memory within the task."""

Policy = Callable[[Program, int], bool]
"""``policy(program, elements)``: is a kernel worth compiling for so many elements?"""


def fuse(roots: tuple[Node, ...], policy: Policy) -> tuple[Node, ...]:
    """Replace every elementwise tree by a `Fused` node; those that only a reduction reads are absorbed into it."""
    cut = too_long(*roots)
    order = toposort(*roots)
    readers = {i for n in order if not isinstance(n, (Map, Partial)) for i in n.inputs}
    wanted = readers.union(roots, cut)
    new: dict[Node, Node] = {}
    for node in order:
        if isinstance(node, Partial):
            new[node] = absorb(node, cut, new, policy)
        elif not isinstance(node, (Map, Index)):
            new[node] = node.with_inputs(*(new[i] for i in node.inputs)) if node.inputs else node
        elif node in wanted:
            new[node] = kernel(node, cut, new, policy)
        else:
            continue
        from_line_of(node, new[node])
    return tuple(new[r] for r in roots)


def kernel(node: Node, cut: Set[Node], new: dict[Node, Node], policy: Policy) -> Node:
    """One elementwise tree as one node."""
    program, operands, arrays = program_of((node,), cut - {node})
    inputs = tuple(new[a] for a in arrays)
    made: Node = Fused(program, operands, node.shape, node.chunks, policy(program, elements(node)), *inputs)
    return made


def absorb(node: Partial, cut: Set[Node], new: dict[Node, Node], policy: Policy) -> Node:
    """A reduction with the elementwise work below it in its own program."""
    program, operands, arrays = program_of(node.inputs, cut)
    inputs = tuple(new[a] for a in arrays)
    compiled = policy(program, node.size)
    made: Node = Partial(node.op, node.cuts, node.domain, node.size, program, operands, compiled, *inputs)
    return made


def program_of(
    trees: tuple[Node, ...], cut: Set[Node] = frozenset()
) -> tuple[Program, tuple[Operand, ...], tuple[Node, ...]]:
    """The program of elementwise trees, one output each: (program, operands, array inputs).

    Nodes in `cut` and all that is not elementwise are its array inputs.
    """
    builder = Builder()
    operands: list[Operand] = []
    arrays: list[Node] = []
    value: dict[Node, int] = {}
    for node in below(trees, cut):
        if isinstance(node, Map) and node not in cut:
            args = [value[i] for i in node.inputs]
            made = args[0] if node.op == "cast" else builder.step(node.op, *args)
            value[node] = builder.cast(made, node.dtype)
        elif (constant := constant_of(node)) is not None:
            value[node] = builder.input("scalar", node.dtype)
            operands.append(constant)
        elif isinstance(node, Index):
            value[node] = builder.input("index", node.dtype)
            operands.append(node)
        else:
            value[node] = builder.input("array", node.dtype)
            operands.append(len(arrays))
            arrays.append(node)
    return builder.build(*(value[t] for t in trees)), tuple(operands), tuple(arrays)


def constant_of(node: Node) -> Const | None:
    """The one value of a node that is a constant, or a view of one (``full``)."""
    if isinstance(node, Select):
        node = node.inputs[0]
    return node if isinstance(node, Const) else None


def below(trees: tuple[Node, ...], cut: Set[Node]) -> list[Node]:
    """The elementwise trees in evaluation order, with their arguments but nothing below those."""
    order: dict[Node, None] = {}
    stack: list[tuple[Node, bool]] = [(t, False) for t in reversed(trees)]
    while stack:
        node, ready = stack.pop()
        if node in order:
            continue
        if ready or not isinstance(node, Map) or node in cut:
            order[node] = None
        else:
            stack.append((node, True))
            stack.extend((i, False) for i in reversed(node.inputs) if i not in order)
    return list(order)


def too_long(*roots: Node) -> frozenset[Node]:
    """Where trees of over MAX_STEPS operations are cut: below the one that exceeds it, the longest input first."""
    steps: dict[Node, int] = {}
    cut: set[Node] = set()
    for node in toposort(*roots):
        if not isinstance(node, Map):
            continue
        inputs = [i for i in dict.fromkeys(node.inputs) if i in steps and i not in cut]
        total = 1 + sum(steps[i] for i in inputs)
        for i in sorted(inputs, key=steps.__getitem__, reverse=True):
            if total > MAX_STEPS:
                cut.add(i)
                total -= steps[i]
        steps[node] = total
    return frozenset(cut)
