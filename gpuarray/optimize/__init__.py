"""From the graph as written to stages ready for planning: the passes, in order.

Each pass is a function from roots to roots. `trace` shows what each one made of a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gpuarray.graph.node import Node
from gpuarray.optimize import reductions, simplify, slices

Pass = Callable[..., tuple[Node, ...]]

PASSES: tuple[Pass, ...] = (
    simplify.drop_rechunks,
    simplify.views,
    reductions.to_trees,
    slices.through_reductions,
    reductions.in_levels,
)
"""What changes the graph. Then `stages.groups` decides which results are kept, and `fuse` makes kernels."""


def optimize(*roots: Node) -> tuple[Node, ...]:
    """The graph that is planned: smaller, views pushed to the leaves, reductions as trees."""
    for step in PASSES:
        roots = step(*roots)
    return roots


def trace(*roots: Node) -> Iterator[tuple[str, tuple[Node, ...]]]:
    """Yield (name of the pass, roots after it)."""
    yield "as written", roots
    for step in PASSES:
        roots = step(*roots)
        yield step.__name__, roots
