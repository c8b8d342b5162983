"""Rules that make a graph smaller without changing its meaning."""

from __future__ import annotations

from gpuarray.graph.elementwise import Map
from gpuarray.graph.leaves import Const, Index
from gpuarray.graph.move import Rechunk
from gpuarray.graph.node import Node, from_line_of, rewrite
from gpuarray.graph.select import AxisMap, Indices, Select, through

LIGHT = 64
"""Operations that may be computed again for each view that reads them. Heavier results are computed once per region."""


def drop_rechunks(*roots: Node) -> tuple[Node, ...]:
    """Chunks are a promise about results, kept when those are written; between operations they are nobody's."""
    return rewrite(lambda node: node.inputs[0] if isinstance(node, Rechunk) else None, *roots)


def views(*roots: Node) -> tuple[Node, ...]:
    """Compose views of views, and push views through elementwise operations down to what holds data.

    A slice of a long chain then reads and computes only the slice, and `x + x.T` is one kernel.
    """
    return Views().run(*roots)


class Views:
    """One run of the pass: it remembers how much work is below each node."""

    def __init__(self) -> None:
        self.work: dict[Node, int] = {}

    def run(self, *roots: Node) -> tuple[Node, ...]:
        return rewrite(self.rule, *roots)

    def rule(self, node: Node) -> Node | None:
        made = self.push(node) if isinstance(node, Select) else None
        self.work_below(made or node)  # those below are known by now: a chain of thousands is not gone down at once
        return made

    def work_below(self, node: Node) -> int:
        """Elementwise operations between a node and data, counted along every path, up to a little over LIGHT."""
        known = self.work.get(node)
        if known is None:
            known = 0
            if isinstance(node, Map):
                known = min(LIGHT + 1, 1 + sum(self.work_below(i) for i in node.inputs))
            elif isinstance(node, Select):
                known = self.work_below(node.inputs[0])
            self.work[node] = known
        return known

    def push(self, node: Node) -> Node:
        """A view, as far down as it goes. Depth is bounded: only trees lighter than LIGHT are entered."""
        if not isinstance(node, Select):
            return node
        (inner,) = node.inputs
        made: Node = node
        if is_identity(node):
            return inner
        if isinstance(inner, Select):
            made = self.push(Select(node.shape, tuple(through(m, node.maps) for m in inner.maps), inner.inputs[0]))
        elif isinstance(inner, Index) and all(isinstance(m, int) or isinstance(m[1], range) for m in node.maps):
            made = index_through(node, inner)
        elif isinstance(inner, Map) and self.work_below(inner) <= LIGHT:
            made = self.through_map(node, inner)
        return from_line_of(node, made)

    def through_map(self, node: Select, inner: Map) -> Node:
        """The operation on views of its inputs, instead of a view of its result."""
        named = {m[0] for m in node.maps if not isinstance(m, int)}
        pushed: list[Node] = []
        carries_shape = False
        for i in inner.inputs:
            if isinstance(i, Const):
                pushed.append(i)
                continue
            # The first full-size input keeps the axes that the view broadcasts; others need not.
            keep = not carries_shape
            pushed.append(self.push(self.view_of_input(node, inner, i, named, keep)))
            carries_shape = True
        result: Node = Map(inner.op, inner.dtype, *pushed)
        return result if result.shape == node.shape else node

    @staticmethod
    def view_of_input(node: Select, inner: Map, i: Node, named: set[int], keep: bool) -> Select:
        back = node.maps[len(node.maps) - i.ndim :]
        maps: list[AxisMap] = []
        varies: set[int] = set()
        for n, full, m in zip(i.shape, inner.shape[inner.ndim - i.ndim :], back, strict=True):
            if n == 1 and full != 1:
                maps.append(0)  # broadcast: the result's axis takes it from another input
            else:
                maps.append(m)
                if not isinstance(m, int):
                    varies.add(m[0])
        shape = tuple(n if a in varies or (keep and a not in named) else 1 for a, n in enumerate(node.shape))
        made: Select = Select(shape, tuple(maps), i)
        return made


def is_identity(node: Select) -> bool:
    (inner,) = node.inputs
    return node.shape == inner.shape and all(
        not isinstance(m, int) and m[0] == a and isinstance(m[1], range) and m[1] == range(n)
        for a, (m, n) in enumerate(zip(node.maps, inner.shape, strict=True))
    )


def index_through(node: Select, inner: Index) -> Node:
    """Coordinates seen through a slice are coordinates."""
    offset, strides = inner.offset, [0] * node.ndim
    for m, s in zip(node.maps, inner.strides, strict=True):
        if isinstance(m, int):
            offset += s * m
        elif not isinstance(m[1], Indices):
            axis, positions = m
            offset += s * positions.start
            strides[axis] += s * positions.step
    made: Node = Index(node.shape, offset, tuple(strides), node.chunks)
    return made
