"""Views: arrays that look into another one, so that writing to either is seen in both, as in NumPy.

A view is its base's node with an operation on top. It remembers which node that was: where the base stands for another
one since, the operation is applied anew. Written to, it has the base stand for what the base would be in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.axes import permuted
from gpuarray.graph.move import Rechunk
from gpuarray.graph.node import Node
from gpuarray.indexing import Key, assigned, basic

NO_COPY = tuple(map(int, np.__version__.split(".")[:2])) >= (2, 1)
"""Whether NumPy's reshape can be told to copy nothing."""


class View:
    """What a view knows of its base, which may be a view itself.

    `take` makes its node of the base's, `put` the base's of the base's before and its own, and `layout` does as `take`
    with a NumPy array that has the strides of the base.
    """

    __slots__ = ("at", "base", "key", "layout", "put", "seen", "take")

    def __init__(
        self,
        base: NDArray,
        take: Callable[[Node], Node],
        put: Callable[[Node, Node], Node],
        layout: Callable[[Any], Any],
        key: Key | None = None,
    ) -> None:
        self.base, self.take, self.put, self.layout, self.key = base, take, put, layout, key
        self.at = NDArray.last_write
        self.seen = base.node

    def refresh(self, x: NDArray) -> None:
        """Bring a view up to date, and what it is a view of: the outermost base first.

        Loops, for a view may look into ten thousand others; and where nothing was written since, one comparison.
        """
        now = NDArray.last_write
        if self.at is now:
            return
        for over, view in reversed(_chain(x)):
            base = view.base._node
            if base is not view.seen:
                view.seen = base
                over.rebind(view.take(base))
            view.at = now

    @staticmethod
    def written(x: NDArray) -> None:
        """Have all that a view looks into, which are up to date, stand for what was written to it."""
        for over, view in _chain(x):
            base = view.base
            made = view.put(base._node, over._node)
            chunks = base._node.chunks
            base.rebind(made if made.chunks == chunks else Rechunk(chunks, made))
            view.seen = base._node

    def is_at(self, base: NDArray, key: Key) -> bool:
        """Whether this is ``base[key]``, and up to date: then assigning it there changes nothing."""
        return self.base is base and self.key == key and base.node is self.seen


def _chain(x: NDArray) -> list[tuple[NDArray, View]]:
    """A view, what it looks into, and so on: all but the last base."""
    found = []
    while (view := x.view_of) is not None:
        found.append((x, view))
        x = view.base
    return found


def _view(view: View) -> NDArray:
    made = NDArray(view.take(view.seen))
    made.view_of = view
    return made


def sliced(x: NDArray, key: Key) -> NDArray:
    """The view that slices, integers and new axes select."""
    take = partial(basic, key=key)
    return _view(View(x, take, lambda base, node: assigned(base, key, node), lambda a: a[key], key))


def transposed(x: NDArray, order: tuple[int, ...]) -> NDArray:
    """The view with the axes in another order."""
    back = tuple(int(a) for a in np.argsort(order))
    take = partial(permuted, order=order)
    return _view(View(x, take, lambda base, node: permuted(node, back), lambda a: a.transpose(order)))


def reshaped(x: NDArray, shape: tuple[int, ...], ravel: bool = False) -> NDArray:
    """The elements in C order under another shape: a view where it is one in NumPy.

    NumPy's `ravel` gives a view of elements that lie one after the other, and a copy of others.
    """
    from gpuarray.manipulation import reshaped as made

    take = partial(made, shape=shape)
    if not _fits(x, shape, ravel):
        return NDArray(take(x.node))
    old = x.shape
    return _view(View(x, take, lambda base, node: made(node, old), lambda a: _without_copy(a, shape)))


def _fits(x: NDArray, shape: tuple[int, ...], ravel: bool) -> bool:
    if x.view_of is None:
        return True
    layout = _layout(x)
    if ravel and not layout.flags.c_contiguous:
        return False
    try:
        _without_copy(layout, shape)
    except (ValueError, AttributeError):
        return False
    return True


def _layout(x: NDArray) -> np.ndarray[Any, Any]:
    """An array of NumPy's with the strides that this one would have there; its elements must not be touched."""
    chain = _chain(x)
    shape = chain[-1][1].base.shape if chain else x.shape
    strides = [1]
    for n in shape[:0:-1]:
        strides.append(strides[-1] * max(n, 1))
    made = np.lib.stride_tricks.as_strided(np.empty(1, np.int8), shape, strides[::-1][: len(shape)])
    for _, view in reversed(chain):
        made = view.layout(made)
    return made


def _without_copy(a: np.ndarray[Any, Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    if NO_COPY:
        return a.reshape(shape, copy=False)
    a = a.view()
    a.shape = shape
    return a
