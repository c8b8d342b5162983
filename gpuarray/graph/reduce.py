"""Reductions: as the user wrote them (`Reduce`), and as the tree they are lowered to (`Partial`, `Combine`).

A region is reduced in *cells*, whose states are kept and merged in a fixed tree. The cells depend on the chunks
alone, so the result has the same bits for any number of workers, any memory limit and any spilling.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.graph.elementwise import Operand, bind, broadcast_region, program_label
from gpuarray.graph.grid import Chunks, Lengths, Region, nbytes, shape_of
from gpuarray.graph.node import Node
from gpuarray.kernels.program import Program
from gpuarray.kernels.reductions import REDUCTIONS, merge_tree

Parameters = tuple[tuple[str, Any], ...]
"""What finishing a reduction takes, as ``(("correction", 1),)``: hashable."""


class Reduce(Node):
    """A reduction over axes, which keep length one. Inputs: the values, and a mask or positions if it takes them."""

    __slots__ = ("axes", "op", "parameters")

    def __init__(self, op: str, axes: tuple[int, ...], parameters: Parameters, *inputs: Node) -> None:
        self.op, self.axes, self.parameters, self.inputs = op, axes, parameters, inputs
        values = inputs[0]
        self.dtype = np.dtype(REDUCTIONS[op].result(values.dtype))
        self.shape = tuple(1 if a in axes else n for a, n in enumerate(values.shape))
        self.chunks = tuple(Lengths.regular(1, 1) if a in axes else c for a, c in enumerate(values.chunks))

    @property
    def label(self) -> str:
        return self.op


class Partial(Node):
    """The states of a reduction's cells. `cuts` has, per axis, the cell boundaries, or None for an axis that stays.

    Its inputs enter through a fused program, so the elementwise work before a reduction needs no memory.
    """

    __slots__ = ("_parts", "compiled", "cuts", "domain", "op", "operands", "program", "size")

    def __init__(
        self,
        op: str,
        cuts: tuple[Lengths | None, ...],
        domain: Chunks,
        size: int,
        program: Program,
        operands: tuple[Operand, ...],
        compiled: bool,
        *inputs: Node,
    ) -> None:
        self.op, self.cuts, self.program, self.operands, self.compiled = op, cuts, program, operands, compiled
        self.domain, self.size = domain, size
        """The chunks of what is reduced, and the elements of the whole if that is a slice: the same kernel, the same
        bits."""
        self.inputs = inputs
        self._parts = tuple(np.dtype(d) for d in REDUCTIONS[op].state(program.dtype_of(program.outputs[0])))
        self.dtype = self._parts[0]
        self.shape = tuple(c.total if k is None else len(k) for k, c in zip(cuts, domain, strict=True))
        self.chunks = tuple(c if k is None else cells_per_chunk(k, c) for k, c in zip(cuts, domain, strict=True))

    @property
    def inline(self) -> bool:  # type: ignore[override]
        """What is whole along every reduced axis needs no tree, so it may be computed where it is read."""
        return all(k is None or len(k) == len(c) == 1 for k, c in zip(self.cuts, self.domain, strict=True))

    @property
    def parts(self) -> tuple[np.dtype[Any], ...] | None:
        return self._parts

    @property
    def label(self) -> str:
        inner = program_label(self.program)
        return f"{self.op}({inner})" if inner != "copy" else self.op

    def reduced(self, out: Region) -> Region:
        """The region that is reduced to `out`."""
        return tuple(
            r if k is None else (range(k.edge(r[0]), k.edge(r[-1] + 1)) if r else range(0))
            for k, r in zip(self.cuts, out, strict=True)
        )

    def regions(self, out: Region) -> tuple[Region, ...]:
        domain = self.reduced(out)
        return tuple(broadcast_region(i.shape, domain) for i in self.inputs)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        domain = self.reduced(out)
        cuts: list[tuple[int, ...] | None] = []
        for k, r, d in zip(self.cuts, out, domain, strict=True):
            if k is None:
                cuts.append(None)
            else:
                cuts.append(tuple(k.edge(c) - d.start for c in range(r[0], r[-1] + 2)) if r else (0,))
        states = backend.reduce(
            self.program,
            self.op,
            bind(self.operands, domain, inputs),
            shape_of(domain),
            tuple(cuts),
            compiled=self.compiled,
        )
        every = tuple(slice(None, None, 1 if k is None else r.step) for k, r in zip(self.cuts, out, strict=True))
        return tuple(s[(*every, ...)] for s in states)  # with the ellipsis it stays an array


def cells_per_chunk(cuts: Lengths, chunks: Lengths) -> Lengths:
    """How many cells end in each chunk: how a reduction's cells are cut into tasks."""
    if len(cuts) == 1 or len(chunks) == 1:
        return Lengths.regular(len(cuts), len(cuts))
    if cuts.step and chunks.step and chunks.step % cuts.step == 0:
        return Lengths.regular(len(cuts), chunks.step // cuts.step)
    if cuts.step and chunks.step and cuts.step % chunks.step == 0:
        return Lengths.regular(len(cuts), 1)
    edges = np.searchsorted(cuts.edges(), chunks.edges()[1:-1], side="left")
    return Lengths.between(sorted({0, *(int(e) for e in edges), len(cuts)}))


class Merge(Node):
    """The states of groups of cells, each merged to one: what stands between very many cells and their `Combine`.

    A group is `group` cells along `axis`, all along the other reduced axes. `grouping` chooses groups that are subtrees
    of the tree in which `Combine` would merge all states, so it makes no difference to the bits.
    """

    __slots__ = ("axes", "axis", "group", "op")

    inline = False

    def __init__(self, op: str, axes: tuple[int, ...], axis: int, group: int, states: Node) -> None:
        self.op, self.axes, self.axis, self.group, self.inputs = op, axes, axis, group, (states,)
        groups = -(-states.shape[axis] // group)
        self.dtype = states.dtype
        self.shape = tuple(groups if a == axis else 1 if a in axes else n for a, n in enumerate(states.shape))
        self.chunks = tuple(
            Lengths.regular(n, 1) if a in axes else c
            for a, (n, c) in enumerate(zip(self.shape, states.chunks, strict=True))
        )

    @property
    def parts(self) -> tuple[np.dtype[Any], ...] | None:
        return self.inputs[0].parts

    @property
    def label(self) -> str:
        return self.op

    def regions(self, out: Region) -> tuple[Region, ...]:
        (states,) = self.inputs
        return (tuple(self._read(a, r, n) for a, (r, n) in enumerate(zip(out, states.shape, strict=True))),)

    def _read(self, axis: int, r: range, n: int) -> range:
        if axis == self.axis:
            return range(r.start * self.group, min(n, r.stop * self.group))
        return range(n) if axis in self.axes else r

    def groups(self, axis: int, cells: range) -> range:
        """The groups along an axis that take in a run of cells."""
        if axis == self.axis:
            return range(cells.start // self.group, -(-cells.stop // self.group))
        return range(1) if axis in self.axes else cells

    def workspace(self, out: Region) -> int:
        return self.inputs[0].nbytes(self.regions(out)[0])

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        (states,) = inputs
        merged = []
        for k in range(len(out[self.axis])):
            at = (slice(None),) * self.axis + (slice(k * self.group, (k + 1) * self.group),)
            merged.append(merge_tree(backend.xp, REDUCTIONS[self.op], tuple(s[at] for s in states), self.axes))
        if len(merged) == 1:
            return merged[0]
        return tuple(backend.xp.concatenate(part, axis=self.axis) for part in zip(*merged, strict=True))


class Combine(Node):
    """Merge the states of all cells along the reduced axes, and finish."""

    __slots__ = ("axes", "op", "parameters")

    def __init__(self, op: str, axes: tuple[int, ...], parameters: Parameters, dtype: Any, partial: Node) -> None:
        self.op, self.axes, self.parameters, self.dtype, self.inputs = op, axes, parameters, dtype, (partial,)
        self.shape = tuple(1 if a in axes else n for a, n in enumerate(partial.shape))
        self.chunks = tuple(Lengths.regular(1, 1) if a in axes else c for a, c in enumerate(partial.chunks))

    @property
    def label(self) -> str:
        return self.op

    def regions(self, out: Region) -> tuple[Region, ...]:
        (partial,) = self.inputs
        empty = any(not r for r in out)
        return (
            tuple(
                range(0) if empty else (range(n) if a in self.axes else r)
                for a, (r, n) in enumerate(zip(out, partial.shape, strict=True))
            ),
        )

    def workspace(self, out: Region) -> int:
        return self.inputs[0].nbytes(self.regions(out)[0]) + nbytes(out, self.dtype)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        if any(not r for r in out):
            return backend.empty(shape_of(out), self.dtype)
        result = backend.combine(self.op, inputs[0], self.axes, **dict(self.parameters))
        return result.astype(self.dtype, copy=False)
