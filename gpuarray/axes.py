"""How a user names axes and shapes."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from gpuarray.graph.node import Node
from gpuarray.graph.select import AxisMap, Select


def as_shape(shape: Any) -> tuple[int, ...]:
    """A shape as a tuple of lengths.

    >>> as_shape(3), as_shape([2, 4])
    ((3,), (2, 4))

    Raises ValueError for negative lengths and more elements than can be counted, TypeError for what is no integer.
    """
    try:
        lengths = (shape,) if not isinstance(shape, (tuple, list)) and hasattr(shape, "__index__") else tuple(shape)
        made = tuple(operator.index(n) for n in lengths)
    except TypeError:
        raise TypeError(f"shape={shape!r} is no shape: the length of an axis is an integer") from None
    if any(n < 0 for n in made):
        raise ValueError(f"negative dimensions are not allowed: shape {made}")
    if math.prod(n for n in made if n) > 2**63 - 1:  # NumPy counts so too: axes of length zero do not make up for it
        raise ValueError(f"shape {made} has {math.prod(made):,} elements, more than 2**63 - 1 can be counted")
    return made


def normalize_axis(axis: Any, ndim: int) -> int:
    """One axis, counted from the front.

    >>> normalize_axis(-1, 3)
    2

    Raises numpy.exceptions.AxisError (an IndexError and a ValueError) out of range, TypeError for no integer.
    """
    try:
        i = None if isinstance(axis, bool | np.bool_) else operator.index(axis)
    except TypeError:
        i = None
    if i is None:
        raise TypeError(f"axis={axis!r} is no axis; an axis is an integer in [{-ndim}, {ndim - 1}]")
    if not -ndim <= i < ndim:
        raise np.exceptions.AxisError(i, ndim)
    return i % ndim


def ordered_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that an int, a sequence or None (all) names, in the order given.

    Raises as `normalize_axis`, and ValueError for duplicates.
    """
    if axis is None:
        return tuple(range(ndim))
    given = tuple(axis) if isinstance(axis, (tuple, list, np.ndarray)) else (axis,)
    axes = tuple(normalize_axis(a, ndim) for a in given)
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis={axis} names an axis twice")
    return axes


def normalize_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that `axis` names, ascending.

    >>> normalize_axes(-1, 3), normalize_axes(None, 2)
    ((2,), (0, 1))
    """
    return tuple(sorted(ordered_axes(axis, ndim)))


def permuted(node: Node, order: tuple[int, ...]) -> Node:
    """A view whose axis k is the node's axis ``order[k]``."""
    if order == tuple(range(node.ndim)):
        return node
    maps: list[AxisMap] = [(order.index(a), range(n)) for a, n in enumerate(node.shape)]
    made: Node = Select(tuple(node.shape[a] for a in order), tuple(maps), node)
    return made


def with_new_axes(node: Node, axes: tuple[int, ...]) -> Node:
    """A view with axes of length one where `axes` says, counted in the result."""
    if not axes:
        return node
    ndim = node.ndim + len(axes)
    old = [a for a in range(ndim) if a not in axes]
    maps: list[AxisMap] = [(new, range(n)) for new, n in zip(old, node.shape, strict=True)]
    lengths = dict(zip(old, node.shape, strict=True))
    made: Node = Select(tuple(lengths.get(a, 1) for a in range(ndim)), tuple(maps), node)
    return made


def without_axes(node: Node, axes: tuple[int, ...]) -> Node:
    """A view without axes that have length one."""
    if not axes:
        return node
    kept = [a for a in range(node.ndim) if a not in axes]
    maps: list[AxisMap] = [0 if a in axes else (kept.index(a), range(n)) for a, n in enumerate(node.shape)]
    made: Node = Select(tuple(node.shape[a] for a in kept), tuple(maps), node)
    return made


def sliced(node: Node, axis: int, part: range) -> Node:
    """A view of part of one axis, backwards where the range is."""
    shape = tuple(len(part) if a == axis else n for a, n in enumerate(node.shape))
    maps: list[AxisMap] = [(a, part if a == axis else range(n)) for a, n in enumerate(node.shape)]
    made: Node = Select(shape, tuple(maps), node)
    return made
