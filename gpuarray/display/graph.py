"""A graph as indented text: every node once, with what it reads below it."""

from __future__ import annotations

from collections.abc import Sequence

from gpuarray.display.words import shortened
from gpuarray.graph.leaves import Const, Index, Source
from gpuarray.graph.node import Node
from gpuarray.graph.reduce import Combine, Merge, Partial

MOST = 200
"""Lines of a graph that are shown."""
DEEPEST = 40
"""Levels that are indented; deeper ones say how deep they are."""


PARTS: dict[type[Node], str] = {Partial: "cells of ", Merge: "groups of ", Combine: "merged "}
"""What a reduction is lowered to has its name; this tells them apart."""


def tree(roots: Sequence[Node]) -> str:
    """The nodes below `roots`, each a line; one that is read again is named by its number.

    >>> import gpuarray as ga
    >>> x = ga.arange(3)
    >>> print(tree([(x + x).node]))  # doctest: +ELLIPSIS
      add int64 (3,)  [...]
        index int64 (3,)
        index int64 (3,), as above
    """
    shared = read_twice(roots)
    number: dict[Node, int] = {}
    shown: set[Node] = set()
    lines: list[str] = []
    stack: list[tuple[Node, int]] = [(r, 1) for r in reversed(roots)]
    while stack:
        node, depth = stack.pop()
        if len(lines) == MOST:
            return "\n".join([*lines, "  ... and more"])
        again, mark = node in shown, ""
        if again and not node.inputs:
            mark = ", as above"
        elif node in shared and node.inputs:
            n = number.setdefault(node, len(number) + 1)
            mark = f", see #{n} above" if again else f"  #{n}"
        lines.append(indent(depth) + line(node) + mark + (where(node) if not again else ""))
        if not again:
            shown.add(node)
            stack.extend((i, depth + 1) for i in reversed(node.inputs))
    return "\n".join(lines)


def read_twice(roots: Sequence[Node]) -> set[Node]:
    """Nodes with more than one place in the text."""
    seen: set[Node] = set()
    twice: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node in seen:
            twice.add(node)
            continue
        seen.add(node)
        stack.extend(node.inputs)
    return twice


def indent(depth: int) -> str:
    return "  " * depth if depth <= DEEPEST else "  " * DEEPEST + f"[{depth}] "


def line(node: Node) -> str:
    if isinstance(node, Const):
        return f"{node.value} {node.dtype}"
    if isinstance(node, Source):
        return f"{shortened(node.label, 60, keep_end=True)} {node.dtype} {node.shape}"
    part = PARTS.get(type(node), "")
    return f"{part}{shortened(node.label, 60)} {node.dtype} {node.shape}"


def where(node: Node) -> str:
    origin = getattr(node, "origin", "")
    return f"  [{shortened(origin, 40, keep_end=True)}]" if origin and not isinstance(node, (Const, Index)) else ""
