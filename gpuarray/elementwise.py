"""NumPy's elementwise functions and the operators, one for each row of the table."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.array import NDArray, as_node, install
from gpuarray.graph.elementwise import Map
from gpuarray.graph.leaves import Const
from gpuarray.graph.node import Node
from gpuarray.kernels.row import as_scalar
from gpuarray.kernels.table import ELEMENTWISE

SCALARS = (bool, int, float, complex)


def apply(op: str, *args: Any) -> NDArray:
    """An operation of the table on anything NumPy takes, with NumPy's promotion (NEP 50)."""
    row = ELEMENTWISE[op]
    operands = [a if type(a) in SCALARS else as_node(a) for a in args]
    loop, result = row.resolve(*(a.dtype if isinstance(a, Node) else a for a in operands))
    nodes = [
        a if isinstance(a, Node) else Const.of(as_scalar(a, d), d) for a, d in zip(operands, loop, strict=True)
    ]
    check_broadcast(op, nodes)
    return NDArray(Map(op, result, *nodes))


def check_broadcast(op: str, nodes: list[Node]) -> None:
    try:
        np.broadcast_shapes(*(n.shape for n in nodes))
    except ValueError:
        shapes = " ".join(str(n.shape) for n in nodes)
        raise ValueError(
            f"operands of {op} could not be broadcast together with shapes {shapes}: each axis, counted from the last, "
            "must have equal lengths or length 1"
        ) from None


REFLECTED = {"lt", "le", "gt", "ge", "eq", "ne"}


def operators() -> None:
    """Give `NDArray` the operators of the table."""
    for name, row in ELEMENTWISE.items():
        if row.dunder is None or row.name != name:
            continue
        install(f"__{row.dunder}__", _operator(name, row.nin))
        if row.nin == 2 and row.dunder not in REFLECTED:
            install(f"__r{row.dunder}__", _reflected(name))
            install(f"__i{row.dunder}__", _inplace(name))


def _takes(value: Any) -> bool:
    return isinstance(value, (NDArray, np.ndarray, np.generic, *SCALARS))


def _operator(name: str, nin: int) -> Any:
    if nin == 1:
        return lambda self: apply(name, self)
    return lambda self, other: apply(name, self, other) if _takes(other) else NotImplemented


def _reflected(name: str) -> Any:
    return lambda self, other: apply(name, other, self) if _takes(other) else NotImplemented


def _inplace(name: str) -> Any:
    def method(self: NDArray, other: Any) -> Any:
        if not _takes(other):
            return NotImplemented
        made = apply(name, self, other)
        if made.shape != self.shape:
            raise ValueError(f"{name} in place would change the shape from {self.shape} to {made.shape}")
        if not np.can_cast(made.dtype, self.dtype, "same_kind"):
            raise np._core._exceptions._UFuncOutputCastingError(  # NumPy's own error, a TypeError
                getattr(np, name), "same_kind", made.dtype, self.dtype, 0
            )
        self._node = made.node if made.dtype == self.dtype else Map("cast", self.dtype, made.node)
        self._value = None
        return self

    return method


operators()
