"""The base of all nodes, and the three questions every node answers.

    chunks                            how is my result cut?
    regions(out)                      which region of each input does a region of my result need?
    evaluate(backend, out, *inputs)   what do I do with them?

Fusing, costing, planning, drawing and running use only these three.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, ClassVar, TypeAlias

import numpy as np

from gpuarray.graph.grid import Chunks, Region, Shape, nbytes


class Interned(type):
    """Equal nodes are one object: equality is identity, and common subexpressions are shared without a search."""

    _made: ClassVar[weakref.WeakValueDictionary[tuple[Any, ...], Any]] = weakref.WeakValueDictionary()
    _lock = threading.RLock()

    def __call__(cls, *args: Any) -> Any:
        key = (cls, *args)
        with Interned._lock:
            node = Interned._made.get(key)
            if node is None:
                node = super().__call__(*args)
                node.args = args
                Interned._made[key] = node
        return node


class Node(metaclass=Interned):
    """An immutable step of a computation. Subclasses set `shape`, `dtype`, `chunks` and `inputs`, which are the last
    arguments that they are made with."""

    __slots__ = ("__weakref__", "args", "chunks", "dtype", "inputs", "origin", "shape")

    inline: ClassVar[bool] = True
    """May be computed for any region inside whichever task reads it."""
    rereads: ClassVar[bool] = False
    """Neighbouring regions of the result need the same elements of an input."""
    costly: ClassVar[bool] = False
    """Computing it twice costs more than keeping it."""
    together: ClassVar[bool] = False
    """All that read it are computed by the same tasks, which compute it once."""
    picks: ClassVar[bool] = False
    """Of its last input, which is kept, it reads parts that `pick` chooses when a task runs."""

    args: tuple[Any, ...]
    shape: Shape
    dtype: np.dtype[Any]
    chunks: Chunks
    inputs: tuple[Node, ...]
    origin: str

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def fields(self) -> tuple[np.dtype[Any], ...]:
        """The dtypes of the arrays that hold the result; there is one unless it is a reduction's state."""
        return self.parts or (self.dtype,)

    @property
    def parts(self) -> tuple[np.dtype[Any], ...] | None:
        """The dtypes of a result that is several arrays (a reduction's state), which its readers get as a tuple."""
        return None

    @property
    def whole(self) -> tuple[int, ...]:
        """Axes of the result that tasks are not cut along."""
        return ()

    @property
    def alone(self) -> bool:
        """Whether one task of it keeps all processors busy: its tasks are cut for memory only."""
        return False

    @property
    def remedy(self) -> str:
        """What to do where the smallest task does not fit the limit; empty for what is true of any."""
        return ""

    @property
    def label(self) -> str:
        return type(self).__name__.lower()

    def nbytes(self, out: Region) -> int:
        """Bytes of the result over a region."""
        return sum(nbytes(out, d) for d in self.fields)

    def workspace(self, out: Region) -> int:
        """Bytes beyond inputs and result that `evaluate` needs for a region."""
        return 0

    def cost(self) -> float:
        """Scalar operations per element of the result."""
        return 1

    def with_inputs(self, *inputs: Node) -> Node:
        """The same step of other inputs."""
        made: Node = type(self)(*self.args[: len(self.args) - len(self.inputs)], *inputs)
        return made

    def regions(self, out: Region) -> tuple[Region, ...]:
        return ()

    def pieces(self, out: Region) -> Iterator[tuple[Region, ...]] | None:
        """Regions of the inputs to go through one after another with `accumulate`, or None to `evaluate` at once."""
        return None

    def accumulate(self, backend: Any, out: Region, so_far: Any, *inputs: Any) -> Any:
        """Take in one piece (see `pieces`); `so_far` is None for the first."""
        raise NotImplementedError(type(self).__name__)

    def pick(self, out: Region, *inputs: Any) -> list[Region]:
        """The parts of the last input that a region needs, from the other inputs, as NumPy arrays over `regions` of it.
        `evaluate` gets them end to end, each in C order, as arrays of one dimension, which it may write to."""
        raise NotImplementedError(type(self).__name__)

    def picked(self, out: Region) -> int:
        """The most elements that `pick` chooses for a region."""
        raise NotImplementedError(type(self).__name__)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        """The result over a region, from the inputs over `regions` of it."""
        raise NotImplementedError(type(self).__name__)


def toposort(*roots: Node) -> list[Node]:
    """Every node below `roots`, inputs before readers."""
    order: dict[Node, None] = {}
    stack: list[tuple[Node, bool]] = [(r, False) for r in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if node in order:
            continue
        if ready or not node.inputs:
            order[node] = None
        else:
            stack.append((node, True))
            stack.extend((i, False) for i in reversed(node.inputs) if i not in order)
    return list(order)


Flat: TypeAlias = list[tuple[type[Node], tuple[Any, ...]]]
"""A graph as a list, inputs before readers; an argument that is a node is its `Ref`."""


class Ref(int):
    """The place of a node in a flat graph."""


def flatten(root: Node) -> Flat:
    """A graph without nesting: pickling a long chain of nodes as they are would exceed Python's recursion limit."""
    order = toposort(root)
    place = {node: Ref(k) for k, node in enumerate(order)}
    return [(type(n), tuple(place.get(a, a) if isinstance(a, Node) else a for a in n.args)) for n in order]


def unflatten(flat: Flat) -> Node:
    """The graph that `flatten` was given."""
    made: list[Node] = []
    for kind, args in flat:
        made.append(kind(*(made[a] if isinstance(a, Ref) else a for a in args)))
    return made[-1]


def rewrite(rule: Callable[[Node], Node | None], *roots: Node) -> tuple[Node, ...]:
    """Rebuild the graph bottom up, letting ``rule(node)`` return a replacement or None."""
    new: dict[Node, Node] = {}
    for node in toposort(*roots):
        inputs = tuple([new[i] for i in node.inputs])
        made = node if inputs == node.inputs else from_line_of(node, node.with_inputs(*inputs))
        replaced = rule(made)
        new[node] = made if replaced is None else from_line_of(node, replaced)
    return tuple(new[r] for r in roots)


def from_line_of(old: Node, new: Node) -> Node:
    """`new`, and what was made with it, said to come from the user's line that asked for `old`."""
    line: str = getattr(old, "origin", "")
    if line and not getattr(new, "origin", ""):
        _mark(new, line)
    return new


def mark_origin(node: Node) -> None:
    """Say of a new node, and of those made with it, that they come from the user's line that runs now."""
    if not getattr(node, "origin", ""):
        _mark(node, users_line())


def _mark(node: Node, line: str) -> None:
    stack = [node]
    while stack:
        n = stack.pop()
        if not getattr(n, "origin", ""):
            n.origin = line
            stack.extend(n.inputs)


_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_DEMO = _HERE + "demo" + os.sep
"""A program that uses this package as others do."""


def users_line() -> str:
    """``file.py:12``: the innermost caller outside this package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (name := frame.f_code.co_filename).startswith(_HERE) and not name.startswith(_DEMO):
        frame = frame.f_back
    if frame is None:
        return ""
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"


def elements(node: Node) -> int:
    """How many elements a node's result has."""
    return math.prod(node.shape)


def apart(backend: Any, view: Any, base: Any) -> Any:
    """A view of something larger as an array of its own: it would keep the whole of it in memory."""
    if view.size == base.size:
        return view
    copy = backend.empty(view.shape, view.dtype)
    copy[...] = view
    return copy
