"""What a stencil's parameters are while its function is traced: fields that note which elements are read."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.graph.node import Node, users_line

MAX_OFFSET = 64
"""How far a point may read: a wider neighbourhood is a convolution, for which a transform is faster."""
MAX_TAPS = 1000
"""How many elements a point may read."""
MAX_READS = 100_000
"""How often a function may read elements while it is traced: a loop that never ends would trace for ever."""


class Refused(Exception):
    """Something that a stencil cannot do; the interpreter adds the line, the stencil makes it a `StencilError`.

    `kind`: "value" where a value must be known that is only known at run time, "dtype" where another dtype might do.
    """

    def __init__(self, text: str, kind: str = "", value: Any = None) -> None:
        super().__init__(text)
        self.text, self.kind, self.value = text, kind, value
        self.place: str | None = None
        self.line = ""
        self.trace: Trace | None = None

    def __str__(self) -> str:
        line = f"\n    {self.line}" if self.line else ""
        return f"{self.place}: {self.text}{line}" if self.place else self.text


class TapNode(Node):
    """An element that a point reads: ``field[point + offset]``; of a bare parameter (offset None) the point's own."""

    __slots__ = ("field", "offset")

    def __init__(self, field: str, offset: tuple[int, ...] | None, dtype: np.dtype[Any]) -> None:
        self.field, self.offset = field, offset
        self.shape, self.dtype, self.chunks = (), dtype, ()
        self.origin = users_line() or "?"  # so that nobody asks for the inputs

    @property
    def inputs(self) -> tuple[Node, ...]:  # type: ignore[override]
        """Asked for by whoever wants to compute it, in the middle of a trace."""
        raise Refused(
            f"the value of {self.label} is only known when the stencil runs, so Python cannot decide or convert by it; "
            "an `if` or a conditional expression written in the stencil can, and numpy's elementwise functions",
            "value",
        )

    @property
    def label(self) -> str:
        if self.offset is None:
            return self.field
        return f"{self.field}[{', '.join(map(str, self.offset))}]"


class Trace:
    """What is found out while a function runs on `Parameter`s."""

    def __init__(self, symbolic: frozenset[str] = frozenset()) -> None:
        """`symbolic`: parameters that stand for any coefficient; when called it may be a Python number."""
        self.symbolic = symbolic
        self.ndim: int | None = None
        self.first = ""
        self.subscripted: dict[str, str] = {}
        """The fields that were read, and where first."""
        self.bare: dict[str, str] = {}
        self.taps: dict[TapNode, None] = {}
        self.reads = 0
        self.assumed = False
        """Both branches were taken where a coefficient decides."""

    def tap(self, name: str, dtype: np.dtype[Any], index: Any) -> NDArray:
        """The element of a field at a constant offset."""
        offset = self.offset(name, index)
        place = users_line()
        if self.ndim is None:
            self.ndim, self.first = len(offset), f"{name}[{', '.join(map(str, offset))}] in {place}"
        if len(offset) != self.ndim:
            raise Refused(
                f"{name}[{', '.join(map(str, offset))}] has {counted(len(offset), 'offset')}, {self.first} has "
                f"{self.ndim}; a stencil has one offset for each axis of its fields"
            )
        if name in self.bare:
            raise Refused(self.both(name, self.bare[name]))
        self.subscripted.setdefault(name, place)
        self.reads += 1
        if self.reads > MAX_READS:
            raise Refused(f"more than {MAX_READS:,} elements are read; does a loop in it never end?")
        node = TapNode(name, offset, dtype)
        self.taps[node] = None
        if len(self.taps) > MAX_TAPS:
            raise Refused(
                f"more than {MAX_TAPS:,} different elements are read; apply several smaller stencils after one another"
            )
        return NDArray(node)

    def offset(self, name: str, index: Any) -> tuple[int, ...]:
        """Offsets as integers."""
        offset = []
        for o in index if isinstance(index, tuple) else (index,):
            if isinstance(o, NDArray):
                raise Refused(
                    f"an offset of {name} is computed from values that are only known when the stencil runs; offsets "
                    "are constants: choose between elements with a conditional expression",
                    "value",
                    o,
                )
            if isinstance(o, (bool, np.bool_)) or not hasattr(o, "__index__") or np.ndim(o):
                shown = "a slice" if isinstance(o, slice) else repr(o)
                raise Refused(
                    f"{shown} is no offset of {name}: offsets are integers from the point itself, as in "
                    f"{name}[0, 1] for its right neighbour"
                )
            offset.append(operator.index(o))
            if abs(offset[-1]) > MAX_OFFSET:
                raise Refused(
                    f"offset {offset[-1]} of {name} is farther than {MAX_OFFSET}; apply smaller stencils after one "
                    "another, or shift the whole array with gpuarray.roll"
                )
        if not offset:
            raise Refused(f"{name}[()] has no offset; write one for each axis: {name}[0] is the point itself")
        return tuple(offset)

    def used_bare(self, name: str) -> None:
        """Note that a parameter is used without a subscript."""
        place = users_line()
        if name in self.subscripted:
            raise Refused(self.both(name, place, self.subscripted[name]))
        self.bare.setdefault(name, place)

    def both(self, name: str, bare: str, subscripted: str | None = None) -> str:
        zeros = ", ".join("0" * (self.ndim or 1))
        read = f" in {subscripted}" if subscripted else ""
        return (
            f"{name} is read with offsets{read} and without in {bare}; write {name}[{zeros}] for its value at the "
            "point itself"
        )

    def depends_on_coefficients_alone(self, value: Any) -> bool:
        """Whether a value would be known if the coefficients were numbers."""
        if isinstance(value, (tuple, list)):
            return any(map(self.depends_on_coefficients_alone, value))
        if not self.symbolic or not isinstance(value, NDArray):
            return False
        if isinstance(value, Parameter):
            return value.name in self.symbolic and value.name not in self.subscripted
        found, stack, seen = False, [value._node], set()
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if isinstance(node, TapNode):
                if node.offset is not None or node.field not in self.symbolic:
                    return False
                found = True
            else:
                stack.extend(node.inputs)
        return found


class Parameter(NDArray):
    """A parameter of a stencil that stands for an array: an array of elements around it, or its own value."""

    __slots__ = ("_trace", "name")

    def __init__(self, trace: Trace, name: str, dtype: np.dtype[Any]) -> None:
        self._trace, self.name = trace, name
        super().__init__(TapNode(name, None, dtype))

    @property
    def node(self) -> Node:
        """Its value at the point; asked for by every operation on it."""
        self._trace.used_bare(self.name)
        return self._node

    @property
    def shape(self) -> tuple[int, ...]:
        raise Refused(
            f"a stencil is written for one point and knows no shape of {self.name}; pass what depends on it as a "
            "coefficient"
        )

    @property
    def ndim(self) -> int:
        return self._trace.ndim or 1

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<field {self.name}>"

    __str__ = __repr__

    def __getitem__(self, key: Any) -> NDArray:
        return self._trace.tap(self.name, self.dtype, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise Refused(
            f"a stencil does not write to its input: return the new value of {self.name} instead of assigning to it"
        )

    def __iter__(self) -> Iterator[NDArray]:
        raise Refused(f"{self.name} cannot be iterated over; loop over constant offsets: for i in (-1, 0, 1)")


def counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
