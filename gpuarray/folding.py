"""A function of every piece of some arrays, added up: what histograms and counts are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.graph.cells import cells
from gpuarray.graph.fold import Fold
from gpuarray.graph.grid import Lengths
from gpuarray.graph.node import Node

GROUPS = 16
"""Tasks that go through the pieces, at most."""
MOST = 2**24
"""Elements of all their results together."""


def folded(
    function: Callable[..., Any],
    arrays: Sequence[NDArray],
    tail: tuple[int, ...],
    dtype: Any,
    *others: Node,
    scratch: int = 40,
    **keywords: Any,
) -> NDArray:
    """The sum over pieces of ``function(xp, *rows, *others, **keywords)``, which gives arrays of shape `tail`.

    Rows are pieces of the arrays, all of one shape, as vectors; `others` are given whole. The order of additions
    depends on the chunks of the first array alone.
    """
    from gpuarray.reductions import sum

    first = arrays[0]
    axes = tuple(range(first.ndim))
    cut = tuple(c if c is not None else Lengths.regular(1, 1) for c in cells(first.chunks, axes))
    groups = max(1, min(GROUPS, MOST // max(1, math.prod(tail))))
    kind = np.dtype(dtype)
    given = (x.node for x in arrays)
    node: Node = Fold(
        function, tuple(keywords.items()), axes, cut, groups, tail, kind, scratch, len(arrays), *given, *others
    )
    return sum(NDArray(node), axis=0, dtype=kind)
