"""The tables of compiled reductions: which way a set of equal cells is walked, and the words that say so."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpuarray.kernels import cache, compile, fused_code, reduce_code
from gpuarray.kernels import reduce_loops as words_of
from gpuarray.kernels.elementwise import Array, Loops, fill_words, modes, put_scalar
from gpuarray.kernels.operands import Words
from gpuarray.kernels.program import Program
from gpuarray.kernels.reduce_axes import Axis
from gpuarray.kernels.reduce_code import LANES, LOOPS, Fold
from gpuarray.kernels.reductions import REDUCTIONS

CHUNK = 2048
"""Elements evaluated at once along a row."""
AREA = 16384
"""Elements evaluated at once for a tile of cells."""
TILE = {"direct": 512, "moments": 128, "fused": 128}
"""Cells side by side: read from where they lie, once or twice, or evaluated into a buffer."""


@dataclass(slots=True)
class Shape:
    """The axes of one set of equal cells, sorted by what they do."""

    kept: list[Axis]
    """Of cells: kept axes, and the grid of cells along reduced ones."""
    outer: list[Axis]
    """Reduced, around the cut axis."""
    cut: Axis
    block: int
    """Positions along the cut axis that make a block."""
    whole: list[Axis]
    """Reduced, inside the cut axis."""


_here = threading.local()


def _workspace(size: int) -> int:
    """The address of this thread's scratch memory, which every reduction on it uses: 1 MB or two at most."""
    if getattr(_here, "size", 0) < size:
        _here.memory = np.empty(size + 64, np.uint8)
        _here.size = size
        _here.address = -(-_here.memory.ctypes.data // 64) * 64
    address: int = _here.address
    return address


@dataclass(slots=True)
class Call:
    """One kernel call: a set of equal cells."""

    kernel: cache.Kernel
    tables: tuple[Array, Array, Array]
    """Words of the loops, of the evaluator and of the fold."""
    starts: list[int]
    """By moving input, where its first element is in the region."""
    outs: list[int]
    """By state array, bytes from its beginning."""
    scratch: list[tuple[int, int, int]]
    """(table, word, bytes into the workspace) of each pointer into it."""
    scratch_size: int
    spare: list[tuple[tuple[Array, Array, Array], int, int]] = field(default_factory=list)
    """Tables not in use, the address of the first, and the workspace that they point into."""

    def _ready(self) -> tuple[tuple[Array, Array, Array], int, int]:
        """Tables that point into this thread's workspace."""
        base = _workspace(self.scratch_size)
        try:
            tables, address, before = self.spare.pop()
        except IndexError:
            loops, evaluator, fold = (t.copy() for t in self.tables)
            loops[words_of.TABLE], loops[words_of.FOLD_TABLE] = evaluator.ctypes.data, fold.ctypes.data
            tables, address, before = (loops, evaluator, fold), loops.ctypes.data, 0
        if before != base:
            for table, word, at in self.scratch:
                tables[table][word] = base + at
        return tables, address, base

    def __call__(self, program: Program, operands: Sequence[Any], states: Sequence[Array]) -> None:
        tables, address, base = self._ready()
        words = Words.of(program)
        inputs = program.inputs
        loops, evaluator, _ = tables
        at = len(words_of.FIELDS)
        for k, start in zip(words.moving, self.starts, strict=True):
            operand = operands[k]
            loops[at] = (operand.ctypes.data if inputs[k].kind == "array" else operand.offset) + start
            at += 1
        for state, start in zip(states, self.outs, strict=True):
            loops[at] = state.ctypes.data + start
            at += 1
        for j, k in enumerate(words.scalars):
            put_scalar(evaluator, words.scalar(j), operands[k], inputs[k].dtype)
        self.kernel(address)
        self.spare.append((tables, address, base))


class Tables:
    """Chooses the direction for one set of equal cells and writes the words of driver and evaluator."""

    def __init__(self, program: Program, reduction: str, shape: Shape) -> None:
        self.program, self.reduction, self.shape = program, reduction, shape
        self.words = Words.of(program)
        self.operand = program.dtype_of(program.outputs[0])
        self.family = REDUCTIONS[reduction].family
        self.units = [program.dtype_of(k).itemsize if self._array(k) else 1 for k in self.words.moving]
        self.ends = reduce_code.state_bytes(reduction, self.operand)
        self._flatten()
        self.across = self._choose()

    def _array(self, k: int) -> bool:
        return self.program.inputs[k].kind == "array"

    def _flatten(self) -> None:
        """See cut and whole axes as one where every operand walks them as one: a unit is an element then."""
        cut, block, whole = self.shape.cut, self.shape.block, list(self.shape.whole)
        merged = _joined(whole)
        self.elements = math.prod(a.length for a in whole)
        if len(merged) == 1:
            n = merged[0].length
            if all(c == s * n for c, s in zip(cut.steps, merged[0].steps, strict=True)):
                cut, block, merged = Axis(cut.length * n, merged[0].steps), block * n, []
                self.elements = 1
        self.cut, self.block, self.inner = cut, block, merged

    def _choose(self) -> Axis | None:
        """The axis of cells to walk across, or None to walk along: the one that costs least by a rough count."""
        inside = [self.cut, *self.inner]
        n = min(self.block, self.cut.length) * self.elements
        mid = inside[-2] if len(inside) > 1 else None
        best, choice = self._cost(inside[-1], mid) + 60 / n, None
        for axis in (*self.shape.kept, *self.shape.outer[:1]):
            overhead = 8 / min(axis.length, 128) + (40 / n if n < 32 else 0)
            cost = self._cost(axis, inside[-1]) * 1.1 + overhead
            if axis.length > 1 and cost < best:
                best, choice = cost, axis
        return choice

    def _cost(self, inner: Axis, mid: Axis | None) -> float:
        """About how many tenths of nanoseconds an element takes to read if the innermost loop goes along `inner`."""
        cost = 0.0
        for j, k in enumerate(self.words.moving):
            if not self._array(k):
                continue
            step, unit = abs(inner.steps[j]), self.units[j]
            if step <= unit:
                cost += step / 10
            elif mid is not None and abs(mid.steps[j]) == unit:
                cost += 2 * unit / 10
            else:
                cost += min(step, 64) / 10
        return cost

    def _direct(self) -> bool:
        """Whether elements can be read from the one operand, with nothing to evaluate."""
        program = self.program
        if program.steps or len(program.outputs) != 1 or self.elements != 1:
            return False
        k = program.outputs[0]
        if not self._array(k) or len(self.words.moving) != 1:
            return False
        inner = self.cut if self.across is None else self.across
        return inner.steps[0] == self.operand.itemsize

    def call(self, starts: list[int], outs: list[int]) -> Call:
        across, inputs = self.across, len(self.words.moving)
        direct = self._direct()
        kept = [a for a in self.shape.kept if a is not across]
        outer = [a for a in self.shape.outer if a is not across]
        folded = any(a is across for a in self.shape.outer)
        masked = self.family != "arg" and len(self.program.outputs) > 1
        self.fold = Fold(self.reduction, self.operand.name, masked, across is not None)
        fused = not direct and self._fused()
        tile, chunk = self._sizes(direct, fused)
        fold = cache.load(reduce_code.source(self.fold))
        fields = dict.fromkeys(words_of.FIELDS, 0)
        fields |= {"FOLD": fold.address, "HEADER": len(words_of.FIELDS), "MOVING": inputs}
        fields |= {"KEEPS": len(kept), "KEPT": math.prod(a.length for a in kept)}
        fields |= {"OUTERS": len(outer), "OUTER": math.prod(a.length for a in outer)}
        fields |= {"LENGTH": self.cut.length, "BLOCK": self.block, "CHUNK": chunk, "UNIT": self.elements}
        fields |= {"CELLS": across.length if across else 1, "TILE": tile, "FOLDED": int(folded)}
        fields |= {"UNIT_BYTES": self.elements * self.operand.itemsize, "Z_BYTES": 8 if self.family == "arg" else 1}
        fields |= {"OUTPUTS": self.words.outputs, "STATES": len(self.ends) - 1, "CELL_BYTES": self.ends[-1]}
        table = np.zeros(self.words.size(0), np.int64)
        if not direct:
            fields["EVALUATE"], table, fields["SIZE_WORD"], fields["SIZE_FACTOR"] = self._evaluator(tile, chunk, fused)
            fields["WIDTH_WORD"] = self.words.base(0) + 1 if fused else 0
        scratch, size, fields["COUNTER_BYTES"] = self._scratch(tile, chunk, outer, direct, fused)
        folds = np.zeros(len(words_of.FOLD_FIELDS), np.int64)
        folds[words_of.PITCH] = self.cut.steps[0] if direct else tile * self.operand.itemsize
        folds[words_of.Z_PITCH] = tile * fields["Z_BYTES"]
        folds[words_of.TILE_CELLS] = folds[words_of.TILE_PITCH] = 1
        loops = cache.load(LOOPS.format(name="along" if across is None else "across")).call
        return Call(loops, (self._words(fields, kept, outer, folded), table, folds), starts, outs, scratch, size)

    def _fused(self) -> bool:
        """Whether elements are folded as they are computed: a block is one row, and long enough for all lanes."""
        row = not self.inner or (len(self.inner) == 1 and self.block == 1)
        long = min(self.block, self.cut.length) * self.elements >= 4 * LANES
        return self.across is None and row and long and fused_code.fusible(self.program, self.fold)

    def _sizes(self, direct: bool, fused: bool) -> tuple[int, int]:
        """(cells in a tile, units evaluated at once)."""
        block, p = min(self.block, self.cut.length), self.elements
        if self.across is None:
            if fused:
                return 1, block
            if self.inner or self.cut.length <= CHUNK:
                return 1, block
            if direct:
                return 1, self.block * max(1, 4096 // self.block)
            return 1, max(CHUNK // self.block, 1) * self.block if self.block < CHUNK else CHUNK
        if direct:
            return min(self.across.length, TILE["direct" if self.family != "moments" else "moments"]), block
        tile = min(
            self.across.length, TILE["fused"], max(8, 4 * AREA // (p * (block if self.family == "moments" else 1)))
        )
        if self.family == "moments":
            return tile, block
        chunk = max(AREA // (tile * p), 1)
        return tile, min(block, chunk // 32 * 32 if chunk >= 32 else chunk)

    def _evaluator(self, tile: int, chunk: int, fused: bool) -> tuple[int, Array, int, int]:
        """(address, words, the word that holds the units to evaluate, what one unit counts there)."""
        sizes = [self.program.dtype_of(o).itemsize for o in self.program.outputs]
        axes = [self.cut, *self.inner]
        lengths = [chunk, *(a.length for a in self.inner)]
        if self.across is not None:
            axes.append(self.across)
            lengths.append(tile)
        # the block buffers are contiguous, but for a row of cells, which has the pitch of a whole tile
        unit = 1
        columns: list[list[int]] = []
        for n in reversed(lengths):
            columns.insert(0, [unit * s for s in sizes])
            unit *= n
        steps = [c + list(a.steps) for c, a in zip(columns, axes, strict=True)]
        loops = Loops(lengths, steps, [0] * self.words.count)
        mid = steps[-2] if len(steps) > 1 and min(lengths[-2:]) >= 16 else None
        template = modes(self.program, steps[-1], mid)
        table = fill_words(self.words, loops)
        word = min(len(lengths) - 1, 2)
        factor = math.prod(lengths[1:-2])
        if len(lengths) > 2:
            table[self.words.axes] = np.iinfo(np.int64).max
        if fused:
            kernel = cache.load(fused_code.source(self.program, template, self.fold))
        else:
            kernel = compile.evaluator(self.program, template)
        return kernel.address, table, word, factor

    def _scratch(
        self, tile: int, chunk: int, outer: list[Axis], direct: bool, fused: bool
    ) -> tuple[list[tuple[int, int, int]], int, int]:
        """Where the buffers lie in the workspace, its size, and the size of a counter."""
        per_cell = self.ends[-1]
        pushes = max([-(-self.cut.length // self.block), *(a.length for a in outer)])
        counter = 64 + tile * per_cell * (pushes.bit_length() + 1)
        row = 64 + per_cell * (self.across.length.bit_length() + 1) if self.across is not None else 0
        lanes = 32 if self.across is None else 33 * tile
        area = 0 if direct or fused else tile * chunk * self.elements
        second = 0 if self.words.outputs < 2 else area * (8 if self.family == "arg" else 1)
        parts = {
            "X": area * self.operand.itemsize,
            "Z": second,
            "LANES": lanes * per_cell,
            "STATE": tile * per_cell,
            "COUNTERS": counter * (len(outer) + 1),
            "ONE": per_cell + row,
        }
        scratch, at = [], 0
        fold = {"X": words_of.FX, "Z": words_of.FZ, "LANES": words_of.LANES_AT, "STATE": words_of.RESULT}
        for name, size in parts.items():
            scratch.append((0, words_of.FIELDS.index(name), at))
            if name in fold:
                scratch.append((2, fold[name], at))
            if fused and name == "LANES":
                scratch.append((1, self.words.base(0), at))
            if name in "XZ" and not direct and not fused and "XZ".index(name) < self.words.outputs:
                scratch.append((1, self.words.base("XZ".index(name)), at))
            at += -(-size // 64) * 64
        return scratch, at, counter

    def _words(self, fields: dict[str, int], kept: list[Axis], outer: list[Axis], folded: bool) -> Array:
        """The loops' table, without addresses of operands and results."""
        inputs, states = len(self.words.moving), len(self.ends) - 1
        across = self.across or Axis(1, (0,) * inputs)
        sizes = [d.itemsize for d in REDUCTIONS[self.reduction].state(self.operand)]
        words = [fields[name] for name in words_of.FIELDS] + [0] * (inputs + states + inputs)
        words += [*self.cut.steps, *across.steps, *(across.outs or [0] * states), *sizes, *self.ends[:-1]]
        words += [a.length for a in kept] + [0] * len(kept) + _changes([(a.length, (*a.steps, *a.outs)) for a in kept])
        words += [a.length for a in outer] + [0] * len(outer) + _changes([(a.length, a.steps) for a in outer])
        return np.array(words, np.int64)


def _joined(axes: list[Axis]) -> list[Axis]:
    """Neighbours among whole axes joined where every operand walks them as one; the order stays."""
    result: list[Axis] = []
    for axis in axes:
        if result and all(a == b * axis.length for a, b in zip(result[-1].steps, axis.steps, strict=True)):
            result[-1] = Axis(result[-1].length * axis.length, axis.steps)
        else:
            result.append(axis)
    return result


def _changes(axes: list[tuple[int, tuple[int, ...]]]) -> list[int]:
    """By axis: what every value changes by when the axis advances and those inside it start again."""
    rows: list[list[int]] = []
    back: list[int] | None = None
    for length, steps in reversed(axes):
        back = back or [0] * len(steps)
        rows.insert(0, [s - b for s, b in zip(steps, back, strict=True)])
        back = [b + (length - 1) * s for s, b in zip(steps, back, strict=True)]
    return [value for row in rows for value in row]


def merged(axes: list[Axis]) -> list[Axis]:
    """Axes of cells in the order of the first operand's memory, neighbours joined where all arrays allow."""
    axes = sorted(axes, key=lambda a: -max((abs(s) for s in a.steps), default=0))
    result: list[Axis] = []
    for axis in axes:
        before = (*result[-1].steps, *result[-1].outs) if result else ()
        here = (*axis.steps, *axis.outs)
        if result and all(a == b * axis.length for a, b in zip(before, here, strict=True)):
            result[-1] = Axis(result[-1].length * axis.length, axis.steps, axis.outs)
        else:
            result.append(axis)
    return result
