"""Small arrays, worked out at once: each step of the graph as one call on whole arrays, no plan and no tasks.

Planning costs a few hundred microseconds; a loop over `float(x[i])` or a test suite asks for thousands of such
results. What goes this way depends on sizes alone, never on chunks, so a result's bits do not depend on them either.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from gpuarray.graph.elementwise import Map
from gpuarray.graph.grid import as_slices, whole
from gpuarray.graph.leaves import Const, Index, Source
from gpuarray.graph.move import Assign, Concat, Rechunk, Reshape
from gpuarray.graph.node import Node, toposort
from gpuarray.graph.reduce import Reduce
from gpuarray.graph.routine import Routine
from gpuarray.graph.scan import Scan
from gpuarray.graph.scatter import Scatter
from gpuarray.graph.select import Select
from gpuarray.graph.sorting import Sort
from gpuarray.graph.stencil import Part
from gpuarray.kernels.program import Builder, Program
from gpuarray.kernels.table import ELEMENTWISE

SMALL = 2**18
"""Bytes of all results together, up to which a graph is worked out at once."""
STEPS = 200
"""Longer graphs are planned: they would be fused."""

_SIMPLE = (Map, Const, Index, Source, Select, Reshape, Concat, Rechunk, Assign, Scatter, Reduce, Routine, Sort, Part)


def order_if_small(roots: Sequence[Node], limit: int) -> list[Node] | None:
    """The graph in evaluation order, or None where it is to be planned."""
    room = min(SMALL, limit // 4)
    order = toposort(*roots)
    if len(order) > STEPS:
        return None
    total = 0
    for node in order:
        if not isinstance(node, _SIMPLE) and not (isinstance(node, Scan) and len(node.inputs) == 1):
            return None
        if isinstance(node, Source):
            if not node.reader.in_memory:
                return None
            continue
        total += nbytes(node)
        if isinstance(node, (Reduce, Routine)):  # a small result of much data
            total += sum(nbytes(i) for i in node.inputs if isinstance(i, Source))
        if total > room:
            return None
    return order


def nbytes(node: Node) -> int:
    """Bytes of a whole result."""
    size = node.dtype.itemsize
    for n in node.shape:
        size *= n
    return size


def compute(order: Sequence[Node], roots: Sequence[Node], backend: Any) -> list[np.ndarray[Any, Any]]:
    """The results, as NumPy arrays that share memory with nothing."""
    values: dict[Node, Any] = {}
    for node in order:
        inputs = [values[i] for i in node.inputs]
        try:
            values[node] = evaluate(node, backend, inputs)
        except Exception as error:
            line = getattr(node, "origin", "")
            error.add_note(f"in {node.label}" + (f", asked for at {line}" if line else ""))
            raise
    return [np.array(backend.to_host(values[r])) for r in roots]


def evaluate(node: Node, backend: Any, inputs: list[Any]) -> Any:
    """One step on whole arrays."""
    if isinstance(node, Map):
        return apply(node, backend, inputs)
    if isinstance(node, Source):
        return backend.from_host(node.reader.read(whole(node.shape)))
    if isinstance(node, Reduce):
        return reduce(node, backend, inputs)
    if isinstance(node, Index):
        return index(node, backend)
    if isinstance(node, Scan):
        return backend.scan(node.op, inputs[0], node.axis, None, node.dtype)
    out = whole(node.shape)
    regions = zip(inputs, node.regions(out), strict=True)
    wanted = [a if isinstance(a, tuple) else a[as_slices(r) or ...] for a, r in regions]
    return node.evaluate(backend, out, *wanted)


def apply(node: Map, backend: Any, inputs: list[Any]) -> Any:
    if node.op == "cast":
        with np.errstate(all="ignore"):
            return ELEMENTWISE["cast"].apply(backend.xp, node.dtype, inputs[0])
    row = ELEMENTWISE[node.op]
    loop, result = row.resolve(*(i.dtype for i in node.inputs))
    with np.errstate(all="ignore"):
        args = [a if a.dtype == d else a.astype(d) for a, d in zip(inputs, loop, strict=True)]
        made = row.apply(backend.xp, result, *args)
        return made if result == node.dtype else made.astype(node.dtype)


def reduce(node: Reduce, backend: Any, inputs: list[Any]) -> Any:
    """The reduction of one cell."""
    shape = node.inputs[0].shape
    cuts = tuple((0, n) if a in node.axes else None for a, n in enumerate(shape))
    program = passing(tuple(i.dtype for i in node.inputs))
    states = backend.reduce(program, node.op, inputs, shape, cuts, compiled=False)
    return backend.combine(node.op, states, node.axes, **dict(node.parameters)).astype(node.dtype, copy=False)


@cache
def passing(dtypes: tuple[np.dtype[Any], ...]) -> Program:
    """The program that hands its inputs on."""
    builder = Builder()
    return builder.build(*(builder.input("array", d) for d in dtypes))


def index(node: Index, backend: Any) -> Any:
    made = np.asarray(np.int64(node.offset))
    for n, s in zip(node.shape, node.strides, strict=True):
        made = made[..., None] + np.arange(n, dtype=np.int64) * s
    return backend.from_host(made)
