"""Programs run uncompiled, tile by tile: temporaries stay in the cache, whatever the size of the region.

Written in terms of an array namespace `xp`, so any backend can fall back on it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gpuarray.kernels.program import Affine, Program
from gpuarray.kernels.reductions import REDUCTIONS, Reduction, merge_tree
from gpuarray.kernels.row import as_scalar
from gpuarray.kernels.stopping import go_on

TILE = 32_768
"""Elements that are computed at once: 256 KiB of float64 for each temporary."""
BLOCK = 4096
"""Elements of one cell that are reduced at once; where a cell is cut decides its bits, so this is never tuned."""

ROW = 256
"""Elements beside each other from which a scan goes row by row."""

Box = tuple[slice, ...]
Cuts = Sequence[tuple[int, ...] | None]


def tiles(shape: Sequence[int], limit: int) -> Iterator[Box]:
    """Cut a region into boxes of at most `limit` elements, whole along the last axes.

    >>> [t for t in tiles((3, 4), 8)]
    [(slice(0, 2, None), slice(0, 4, None)), (slice(2, 3, None), slice(0, 4, None))]
    """
    steps = []
    inner = 1
    for length in reversed(shape):
        step = max(1, min(length, limit // inner))
        steps.append(step)
        inner *= step
    ranges = [
        [slice(start, min(start + step, length)) for start in range(0, length, step)]
        for length, step in zip(shape, reversed(steps), strict=True)
    ]
    for box in itertools.product(*ranges):
        go_on()  # between two boxes, a run that was stopped can end
        yield box


class _Operands:
    """The operands of a program over a region, to be taken box by box."""

    def __init__(self, xp: Any, program: Program, operands: Sequence[Any], shape: Sequence[int]) -> None:
        self.xp = xp
        self.shape = tuple(shape)
        self.operands = [
            as_scalar(o, np.dtype(i.dtype)) if i.kind == "scalar" else self._checked(o)
            for o, i in zip(operands, program.inputs, strict=True)
        ]

    def _checked(self, operand: Any) -> Any:
        """`elementwise` must not grow the region by broadcasting."""
        if isinstance(operand, Affine):
            if len(operand.strides) != len(self.shape):
                raise ValueError(f"an index over {len(operand.strides)} axes in a region of shape {self.shape}")
            return operand
        extra = len(self.shape) - operand.ndim
        if extra < 0 or any(n not in (1, m) for n, m in zip(operand.shape, self.shape[extra:], strict=True)):
            raise ValueError(f"an operand of shape {operand.shape} does not broadcast to the region {self.shape}")
        return operand

    def whole(self) -> list[Any]:
        if any(isinstance(o, Affine) for o in self.operands):
            return self.within(tuple(slice(0, n) for n in self.shape))
        return self.operands

    def within(self, box: Box) -> list[Any]:
        """The parts of the operands over a box; they broadcast to its shape."""
        return [self._part(operand, box) for operand in self.operands]

    def _part(self, operand: Any, box: Box) -> Any:
        if isinstance(operand, Affine):
            return self._index(operand, box)
        if isinstance(operand, np.generic):
            return operand
        axes = box[len(box) - operand.ndim :]
        return operand[tuple(s if n > 1 else slice(None) for s, n in zip(axes, operand.shape, strict=True))]

    def _index(self, affine: Affine, box: Box) -> Any:
        """An index as an array, of length one along the axes where it does not vary."""
        index = self.xp.full((1,) * len(box), affine.offset, dtype=np.int64)
        for axis, (part, stride) in enumerate(zip(box, affine.strides, strict=True)):
            if stride:
                along = [1] * len(box)
                along[axis] = -1
                index = index + (self.xp.arange(part.start, part.stop, dtype=np.int64) * stride).reshape(along)
        return index


def elementwise(xp: Any, program: Program, operands: Sequence[Any], shape: tuple[int, ...], out: Any = None) -> Any:
    """Run a one-output program over a region of `shape`; write to `out` (of any strides) or to a new array."""
    dtype = program.dtype_of(program.outputs[0])
    given = _Operands(xp, program, operands, shape)
    size = math.prod(shape)
    if out is None and size <= TILE and program.outputs[0] >= len(program.inputs):
        (value,) = program.interpret(xp, *given.whole())
        if value.shape == shape:
            return xp.asarray(value)
    if out is None:
        out = xp.empty(shape, dtype)
    else:
        _check_out(out, shape, dtype)
        given.operands = [_apart(xp, o, out) for o in given.operands]
    if size == 0:
        return out
    for box in tiles(shape, TILE):
        (value,) = program.interpret(xp, *given.within(box))
        out[box] = value
    return out


def _check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out has shape {out.shape} and dtype {out.dtype}; the result has {shape} and {dtype}")


def _apart(xp: Any, operand: Any, out: Any) -> Any:
    """A copy of an operand that `out` overlaps, unless each element lies exactly where its result goes."""
    if isinstance(operand, np.generic | Affine) or operand is out or not xp.may_share_memory(operand, out):
        return operand
    if isinstance(operand, np.ndarray) and operand.shape == out.shape and operand.strides == out.strides:
        start = operand.__array_interface__["data"] == out.__array_interface__["data"]
        if start and operand.dtype == out.dtype:
            return operand
    return operand.copy()


def reduce(
    xp: Any, program: Program, name: str, operands: Sequence[Any], shape: tuple[int, ...], cuts: Cuts
) -> tuple[Any, ...]:
    """The states of every cell that `cuts` draws on the region (see `Backend.reduce`)."""
    work = _Reduce(xp, program, REDUCTIONS[name], _Operands(xp, program, operands, shape), cuts)
    cells = math.prod(len(c) - 1 for c in cuts if c is not None)
    if cells == 1 and math.prod(shape) <= BLOCK:
        states = work.block(tuple(slice(0, n) for n in shape), 1, whole=True)
        return tuple(s.reshape([n if c is None else 1 for n, c in zip(shape, cuts, strict=True)]) for s in states)
    return work.run(shape)


class _Blocks:
    """How a cell is cut into blocks: whole along its last axes, `step` along axis `cut`, one along those before."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.cut = max(len(lengths) - 1, 0)
        self.inner = 1
        while self.cut > 0 and self.inner * lengths[self.cut] <= BLOCK:
            self.inner *= lengths[self.cut]
            self.cut -= 1
        self.length = lengths[self.cut] if lengths else 1
        self.step = max(1, min(BLOCK // self.inner, self.length))
        self.counts = (*lengths[: self.cut], -(-self.length // self.step), *[1] * (len(lengths) - self.cut - 1))

    def batches(self, rows: int) -> Iterator[tuple[int, int]]:
        """Ranges along `cut` of as many whole blocks as fit a tile of that many rows, and one of what is left."""
        many = max(1, TILE // max(rows * self.step * self.inner, 1))
        whole = self.length // self.step * self.step
        for first in range(0, whole, many * self.step):
            yield first, min(first + many * self.step, whole)
        if whole < self.length:
            yield whole, self.length


class _Reduce:
    """One call of `reduce`. Kept axes come first and reduced ones last in the arrays that are folded."""

    def __init__(self, xp: Any, program: Program, row: Reduction, operands: _Operands, cuts: Cuts) -> None:
        self.xp, self.program, self.row, self.operands, self.cuts = xp, program, row, operands, cuts
        self.kept = [a for a, c in enumerate(cuts) if c is None]
        self.reduced = [a for a, c in enumerate(cuts) if c is not None]
        self.order = (*self.kept, *self.reduced)
        self.back = tuple(self.order.index(a) for a in range(len(self.order)))
        self.state = row.state(program.dtype_of(program.outputs[0]))

    def run(self, shape: tuple[int, ...]) -> tuple[Any, ...]:
        grid = [n if c is None else len(c) - 1 for n, c in zip(shape, self.cuts, strict=True)]
        states = tuple(self.xp.empty(grid, d) for d in self.state)
        if math.prod(grid) == 0:
            return states
        for cell in itertools.product(*(range(grid[a]) for a in self.reduced)):
            box = [slice(0, n) for n in shape]
            at: list[Any] = [slice(None)] * len(shape)
            for axis, number in zip(self.reduced, cell, strict=True):
                edges = self.cuts[axis] or ()
                box[axis] = slice(edges[number], edges[number + 1])
                at[axis] = slice(number, number + 1)
            for target, source in zip(states, self.cell(box), strict=True):
                target[tuple(at)] = source
        return states

    def cell(self, box: Sequence[slice]) -> tuple[Any, ...]:
        """The states of one cell for all that is kept: blocks, whose states are merged in a tree."""
        lengths = [box[a].stop - box[a].start for a in self.reduced]
        kept = [box[a].stop for a in self.kept]
        if 0 in lengths:
            shape = (*kept, *[1] * len(lengths))
            return tuple(s.reshape(shape).transpose(self.back) for s in self.block(tuple(box), 1))
        blocks = _Blocks(lengths)
        partial = tuple(self.xp.empty((*kept, *blocks.counts), d) for d in self.state)
        for part in tiles(kept, max(1, TILE // (blocks.step * blocks.inner))):
            for leading in itertools.product(*(range(n) for n in lengths[: blocks.cut])):
                for first, last in blocks.batches(math.prod(s.stop - s.start for s in part)):
                    self.batch(box, blocks, part, (*leading, first), last, partial)
        merged = merge_tree(self.xp, self.row, partial, tuple(range(len(kept), len(self.order))))
        return tuple(m.transpose(self.back) for m in merged)

    def batch(
        self,
        box: Sequence[slice],
        blocks: _Blocks,
        part: Box,
        start: tuple[int, ...],
        last: int,
        partial: tuple[Any, ...],
    ) -> None:
        """Several blocks in one go: their states go to their places in `partial`."""
        where = list(box)
        for axis, along in zip(self.kept, part, strict=True):
            where[axis] = along
        for axis, k in zip(self.reduced, start, strict=False):
            where[axis] = slice(box[axis].start + k, box[axis].start + k + 1)
        at: tuple[Any, ...] = (*part, *start[:-1])
        count = 1
        if self.reduced:
            axis, first = self.reduced[blocks.cut], start[-1]
            where[axis] = slice(box[axis].start + first, box[axis].start + last)
            count = max(1, (last - first) // blocks.step)
            at += (slice(first // blocks.step, first // blocks.step + count),)
        for target, source in zip(partial, self.block(tuple(where), count), strict=True):
            view = target[at]
            view[...] = source.reshape(view.shape)

    def block(self, box: Box, count: int, whole: bool = False) -> tuple[Any, ...]:
        """States of `count` equal parts of a box, cut along the first reduced axis that is longer than one."""
        given = self.operands.whole() if whole else self.operands.within(box)
        shape = tuple(s.stop - s.start for s in box)
        rows = math.prod(shape[a] for a in self.kept)
        values = [self._folded(v, shape, rows, count) for v in self.program.interpret(self.xp, *given)]
        extra = values[1] if len(values) > 1 else None
        with np.errstate(all="ignore"):
            return self.row.reduce_arrays(self.xp, self.row, values[0], extra)

    def _folded(self, value: Any, shape: tuple[int, ...], rows: int, count: int) -> Any:
        """As (rows, count, elements), contiguous: the order of summation is that of the elements, never of memory."""
        if value.shape != shape:
            value = self.xp.broadcast_to(value, shape)
        length = math.prod(shape[a] for a in self.reduced) // count
        return self.xp.ascontiguousarray(value.transpose(self.order).reshape(rows, count, length))


def combine(xp: Any, name: str, states: Sequence[Any], axes: tuple[int, ...], **parameters: Any) -> Any:
    """Merge states along `axes` in a fixed tree, and finish (see `Backend.combine`)."""
    row = REDUCTIONS[name]
    states = tuple(states)
    if any(states[0].shape[a] == 0 for a in axes):
        if row.identity_of is None:
            raise row.empty_error()
        operand = states[1].dtype if row.family == "moments" else states[0].dtype
        shape = tuple(1 if a in axes else n for a, n in enumerate(states[0].shape))
        states = tuple(xp.full(shape, value, dtype=value.dtype) for value in row.start(operand))
    merged = merge_tree(xp, row, states, axes)
    with np.errstate(all="ignore"):
        return row.finish_arrays(xp, merged, **parameters)


_SCANS = {"sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum"}


def scan(xp: Any, name: str, array: Any, axis: int, carry: Any, dtype: np.dtype[Any], out: Any = None) -> Any:
    """Inclusive scan along `axis` from `carry`, with the bits of one scan over all (see `Backend.scan`)."""
    if out is None:
        out = xp.empty(array.shape, dtype)
    else:
        _check_out(out, array.shape, dtype)
        array = _apart(xp, array, out)
    if math.prod(array.shape) == 0:
        return out
    operation = getattr(xp, _SCANS[name])
    with np.errstate(all="ignore"):
        if carry is not None and dtype.kind == "c":
            # as one more element, not added to the first: NumPy's loops differ in how they round a complex product
            whole = xp.concatenate((carry.astype(dtype), array.astype(dtype)), axis=axis)
            out[...] = operation.accumulate(whole, axis=axis)[_along(axis, slice(1, None))]
        elif dtype.kind != "c" and array.size >= ROW * array.shape[axis] and array.ndim - 1 != axis:
            _scan_rows(operation, array, axis, carry, dtype, out)
        else:
            out[...] = array
            if carry is not None:
                first = out[_along(axis, slice(0, 1))]
                operation(carry.astype(dtype), first, out=first)
            operation.accumulate(out, axis=axis, out=out)
    return out


def _scan_rows(operation: Any, array: Any, axis: int, carry: Any, dtype: np.dtype[Any], out: Any) -> None:
    """Row after row, many columns at once: NumPy's `accumulate` would go down one column after the other."""
    row = _along(axis, slice(0, 1))
    if carry is None:
        out[row] = array[row]
    else:
        operation(carry.astype(dtype), array[row].astype(dtype), out=out[row])
    for k in range(1, array.shape[axis]):
        before, row = row, _along(axis, slice(k, k + 1))
        operation(out[before], array[row].astype(dtype, copy=False), out=out[row])


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (*[slice(None)] * axis, part)
