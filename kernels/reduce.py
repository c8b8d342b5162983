"""Reductions on the CPU, compiled: how a region's axes become blocks, and which way they are walked.

The value of a cell is defined by its elements and its shape, never by strides, threads or neighbours:

    The last reduced axes, as many as hold at most `block` elements together, are taken whole; the axis before them is
    cut into runs of as many positions as fit. Such a *block* is folded in lanes (`gpuarray.kernels.reduce_code`).
    The blocks along the cut axis merge as neighbours in a binary tree; then, axis by axis outwards, the results.

So a sum's error grows like that of pairwise summation, and any walk over memory gives the same bits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpuarray.kernels import cache, compile, reduce_code
from gpuarray.kernels.compile import Words
from gpuarray.kernels.elementwise import Array, Loops, as_declared, fill_words, layout_of, modes, moving_steps, put_scalar
from gpuarray.kernels.program import Program
from gpuarray.kernels.reduce_code import FOLD_WORDS, LOOPS, Fold
from gpuarray.kernels.reductions import REDUCTIONS

BLOCK = {"fold": 4096, "arg": 4096, "moments": 256}
"""Elements of a block, by family. A change changes the bits of results."""
CHUNK = 1024
"""Elements evaluated at once along a row."""
AREA = 16384
"""Elements evaluated at once for a tile of cells."""
TILE = {"direct": 512, "fused": 128}
"""Cells side by side, read from where they lie or evaluated into a buffer."""

Cuts = tuple[int, ...] | None

_FIELDS = (
    *("evaluate", "table", "fold", "fold_table", "outers", "outer", "keeps", "kept", "L", "S", "size_word"),
    *("size_factor", "x", "z", "lanes", "state", "counters", "counter_bytes", "V", "tile", "unit_bytes", "moving"),
    *("C", "p", "outputs", "states", "cell_bytes", "folded", "one", "z_bytes", "header"),
)
"""The first words of the table that `reduce_loops` reads.

evaluate, table, fold, fold_table   addresses of the evaluator (0: read the one operand where it lies), of the fold, and of
                                    their tables
outers, keeps                       reduced axes around the cut one, axes of cells; `outer` and `kept` are their positions
L, S, C, p                          units along the cut axis, units of a block, units evaluated at once, elements of a unit
size_word, size_factor              where the evaluator's table wants the units, and times what
x, z, lanes, state, counters, one   buffers: elements, masks or indices, lanes, a state, trees, a single cell and its tree
V, tile                             across: cells side by side, and how many of them at a time
folded                              across: whether the axis of these cells is itself reduced
"""
_AT = {name: k for k, name in enumerate(_FIELDS)}


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis as loops see it: its length, and a step for every moving input."""

    length: int
    steps: tuple[int, ...]
    outs: tuple[int, ...] = ()
    """Steps of the state arrays, for axes of cells."""


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


def split(reduced: Sequence[Axis], block: int, inputs: int) -> tuple[list[Axis], Axis, int, list[Axis]]:
    """(outer axes, cut axis, its positions per block, whole axes): the definition above."""
    axes = [a for a in reduced if a.length != 1] or [Axis(1, (0,) * inputs)]
    whole: list[Axis] = []
    elements = 1
    while len(axes) > 1 and axes[-1].length * elements <= block:
        elements *= axes[-1].length
        whole.insert(0, axes.pop())
    return axes[:-1], axes[-1], max(block // elements, 1), whole


def run(
    program: Program, reduction: str, operands: Sequence[Any], shape: tuple[int, ...], cuts: Sequence[Cuts]
) -> tuple[Array, ...]:
    """Reduce every cell of the grid that `cuts` draws on a region: the state arrays.

    >>> from gpuarray.kernels.program import Builder
    >>> b = Builder()
    >>> x = b.input("array", "float64")
    >>> run(b.build(b.step("square", x)), "sum", (np.arange(6.0).reshape(2, 3),), (2, 3), (None, (0, 2, 3)))
    (array([[ 1.,  4.],
           [25., 25.]]),)

    Parameters
    ----------
    program
        Its outputs are (value,) or (value, mask) for folds and moments, (value, index) for arg reductions; the value
        has the reduction's operand dtype.
    reduction
        A row of `REDUCTIONS` for which `supported` holds.
    operands, shape
        As for `elementwise.run`.
    cuts
        By axis, where it is cut into cells, ``(0, ..., length)``; None for an axis that is kept.

    A state array has length ``len(cuts[a]) - 1`` along a reduced axis and the region's length along the others.
    Raises ValueError where operands or cuts do not fit the shape.
    """
    operands = as_declared(program, operands)
    key = (id(program), reduction, shape, tuple(cuts), layout_of(program, operands))
    plan = _plans.get(key)
    if plan is None:
        if len(_plans) >= 4096:
            _plans.clear()
        plan = _plans[key] = _Plan.of(program, reduction, operands, shape, cuts)
    return plan(operands)


def supported(program: Program, reduction: str) -> bool:
    """Whether the program and the reduction of its values can be compiled."""
    operand = program.dtype_of(program.outputs[0])
    return compile.supported(program) and REDUCTIONS[reduction].code(operand) is not None


def ready(program: Program, reduction: str) -> bool:
    """Whether `run` on contiguous operands would compile nothing."""
    if not supported(program, reduction):
        return False
    operand = program.dtype_of(program.outputs[0])
    masked = REDUCTIONS[reduction].family != "arg" and len(program.outputs) > 1
    modules = [reduce_code.source(Fold(reduction, operand.name, masked, False)), LOOPS.format(name="along")]
    if program.steps or len(program.outputs) > 1:
        modules.append(compile.source(program, compile.contiguous(program)))
    return all(map(cache.ready, modules))


@dataclass(slots=True)
class _Plan:
    """What is remembered of one program, reduction, layout and grid."""

    program: Program
    shape: tuple[int, ...]
    dtypes: tuple[np.dtype[Any], ...]
    start: tuple[Any, ...]
    calls: list[_Call]

    @classmethod
    def of(
        cls, program: Program, reduction: str, operands: Sequence[Any], shape: tuple[int, ...], cuts: Sequence[Cuts]
    ) -> _Plan:
        _check(cuts, shape)
        row = REDUCTIONS[reduction]
        operand = program.dtype_of(program.outputs[0])
        dtypes = row.state(operand)
        result = tuple(n if c is None else len(c) - 1 for n, c in zip(shape, cuts, strict=True))
        plan = cls(program, result, dtypes, row.start(operand), [])
        # moving steps: no outputs, inputs only
        steps = [tuple(s) for s in moving_steps(program, operands, shape, ())]
        strides = [_c_strides(result, d.itemsize) for d in dtypes]
        if math.prod(result) == 0:
            return plan
        runs = [[(0, n, 1, 0)] if c is None else _runs(c) for n, c in zip(shape, cuts, strict=True)]
        for cells in itertools.product(*runs):
            if all(c is None or length for c, (_, length, _, _) in zip(cuts, cells, strict=True)):
                plan.calls.append(_call(program, reduction, steps, strides, cuts, cells))
        return plan

    def __call__(self, operands: Sequence[Any]) -> tuple[Array, ...]:
        states = tuple(np.empty(self.shape, d) for d in self.dtypes)
        if not self.calls or any(c.partial for c in self.calls):
            for state, value in zip(states, self.start, strict=True):
                state[...] = value
        for call in self.calls:
            call(self.program, operands, states)
        return states


_plans: dict[Any, _Plan] = {}


def _check(cuts: Sequence[Cuts], shape: tuple[int, ...]) -> None:
    if len(cuts) != len(shape):
        raise ValueError(f"{len(cuts)} cuts for a region of shape {shape}; give one per axis")
    for n, cut in zip(shape, cuts, strict=True):
        if cut is not None and (not cut or cut[0] != 0 or cut[-1] != n or any(a > b for a, b in itertools.pairwise(cut))):
            raise ValueError(f"cuts {cut} of an axis of length {n}; they rise from 0 to the length")


def _runs(cuts: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """Neighbouring cells of one length: (start, length, how many, number of the first)."""
    runs: list[tuple[int, int, int, int]] = []
    for number, (a, b) in enumerate(itertools.pairwise(cuts)):
        if runs and runs[-1][1] == b - a:
            start, length, count, first = runs[-1]
            runs[-1] = (start, length, count + 1, first)
        else:
            runs.append((a, b - a, 1, number))
    return runs


def _c_strides(shape: tuple[int, ...], itemsize: int) -> list[int]:
    strides = [itemsize]
    for n in reversed(shape[1:]):
        strides.append(strides[-1] * n)
    return strides[::-1][: len(shape)]


@dataclass(slots=True)
class _Call:
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
    partial: bool = False
    spare: list[tuple[tuple[Array, Array, Array], int, Array]] = field(default_factory=list)

    def _workspace(self) -> tuple[tuple[Array, Array, Array], int, Array]:
        loops, evaluator, fold = tables = tuple(t.copy() for t in self.tables)
        memory = np.zeros(self.scratch_size + 64, np.uint8)
        base = -(-memory.ctypes.data // 64) * 64
        for table, word, at in self.scratch:
            tables[table][word] = base + at
        loops[_AT["table"]], loops[_AT["fold_table"]] = evaluator.ctypes.data, fold.ctypes.data
        return (loops, evaluator, fold), loops.ctypes.data, memory

    def __call__(self, program: Program, operands: Sequence[Any], states: Sequence[Array]) -> None:
        try:
            tables, address, memory = self.spare.pop()
        except IndexError:
            tables, address, memory = self._workspace()
        words = Words.of(program)
        inputs = program.inputs
        loops, evaluator, _ = tables
        at = len(_FIELDS)
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
        self.spare.append((tables, address, memory))


def _call(
    program: Program,
    reduction: str,
    steps: Sequence[tuple[int, ...]],
    strides: Sequence[Sequence[int]],
    cuts: Sequence[Cuts],
    cells: Sequence[tuple[int, int, int, int]],
) -> _Call:
    """Sort the axes of one set of equal cells, choose a direction, and write the tables."""
    inputs = len(Words.of(program).moving)
    kept, reduced = [], []
    starts, outs = [0] * inputs, [0] * len(strides)
    partial = False
    for axis, (cut, (start, length, count, first)) in enumerate(zip(cuts, cells, strict=True)):
        out = tuple(s[axis] for s in strides)
        if cut is None:
            kept.append(Axis(length, steps[axis], out))
            continue
        starts = [a + start * b for a, b in zip(starts, steps[axis], strict=True)]
        outs = [a + first * b for a, b in zip(outs, out, strict=True)]
        partial |= count != len(cut) - 1
        kept.append(Axis(count, tuple(length * s for s in steps[axis]), out))
        reduced.append(Axis(length, steps[axis]))
    family = REDUCTIONS[reduction].family
    outer, cut_axis, block, whole = split(reduced, BLOCK[family], inputs)
    shape = Shape(_merged([a for a in kept if a.length != 1]), outer, cut_axis, block, whole)
    call = _Tables(program, reduction, shape).call(starts, outs)
    call.partial = partial
    return call


def _merged(axes: list[Axis]) -> list[Axis]:
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


class _Tables:
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

    def call(self, starts: list[int], outs: list[int]) -> _Call:
        across, inputs = self.across, len(self.words.moving)
        direct = self._direct()
        kept = [a for a in self.shape.kept if a is not across]
        outer = [a for a in self.shape.outer if a is not across]
        folded = any(a is across for a in self.shape.outer)
        tile, chunk = self._sizes(direct)
        masked = self.family != "arg" and len(self.program.outputs) > 1
        fold = cache.load(reduce_code.source(Fold(self.reduction, self.operand.name, masked, across is not None)))
        fields = dict.fromkeys(_FIELDS, 0) | {"fold": fold.address, "header": len(_FIELDS), "moving": inputs}
        fields |= {"keeps": len(kept), "kept": math.prod(a.length for a in kept)}
        fields |= {"outers": len(outer), "outer": math.prod(a.length for a in outer)}
        fields |= {"L": self.cut.length, "S": self.block, "C": chunk, "p": self.elements}
        fields |= {"V": across.length if across else 1, "tile": tile, "folded": int(folded)}
        fields |= {"unit_bytes": self.elements * self.operand.itemsize, "z_bytes": 8 if self.family == "arg" else 1}
        fields |= {"outputs": self.words.outputs, "states": len(self.ends) - 1, "cell_bytes": self.ends[-1]}
        table = np.zeros(self.words.size(0), np.int64)
        if not direct:
            fields["evaluate"], table, fields["size_word"], fields["size_factor"] = self._evaluator(tile, chunk)
        scratch, size, fields["counter_bytes"] = self._scratch(tile, chunk, outer, direct)
        folds = np.zeros(FOLD_WORDS, np.int64)
        folds[5] = self.cut.steps[0] if direct else tile * self.operand.itemsize
        folds[6] = tile * fields["z_bytes"]
        folds[9] = folds[10] = 1
        loops = cache.load(LOOPS.format(name="along" if across is None else "across")).call
        return _Call(loops, (self._words(fields, kept, outer, folded), table, folds), starts, outs, scratch, size)

    def _sizes(self, direct: bool) -> tuple[int, int]:
        """(cells in a tile, units evaluated at once)."""
        block, p = min(self.block, self.cut.length), self.elements
        if self.across is None:
            if self.inner or self.cut.length <= CHUNK:
                return 1, block
            if direct:
                return 1, self.block * max(1, 4096 // self.block)
            return 1, max(CHUNK // self.block, 1) * self.block if self.block < CHUNK else CHUNK
        if direct:
            return min(self.across.length, TILE["direct" if self.family != "moments" else "fused"]), block
        tile = min(self.across.length, TILE["fused"], max(8, 4 * AREA // (p * (block if self.family == "moments" else 1))))
        if self.family == "moments":
            return tile, block
        chunk = max(AREA // (tile * p), 1)
        return tile, min(block, chunk // 32 * 32 if chunk >= 32 else chunk)

    def _evaluator(self, tile: int, chunk: int) -> tuple[int, Array, int, int]:
        """(address, words, the word that holds the units to evaluate, what one unit counts there)."""
        sizes = [self.program.dtype_of(o).itemsize for o in self.program.outputs]
        axes = [self.cut, *self.inner]
        lengths = [chunk, *(a.length for a in self.inner)]
        if self.across is not None:
            axes.append(self.across)
            lengths.append(tile)
        # the block buffers are contiguous, but for a row of cells, which has the pitch of a whole tile
        unit, columns = 1, []
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
        return compile.evaluator(self.program, template).address, table, word, factor

    def _scratch(
        self, tile: int, chunk: int, outer: list[Axis], direct: bool
    ) -> tuple[list[tuple[int, int, int]], int, int]:
        """Where the buffers lie in the workspace, its size, and the size of a counter."""
        per_cell = self.ends[-1]
        pushes = max([-(-self.cut.length // self.block), *(a.length for a in outer)])
        counter = 64 + tile * per_cell * (pushes.bit_length() + 1)
        row = 64 + per_cell * (self.across.length.bit_length() + 1) if self.across is not None else 0
        lanes = 32 if self.across is None else 33 * tile
        area = 0 if direct else tile * chunk * self.elements
        second = 0 if self.words.outputs < 2 else area * (8 if self.family == "arg" else 1)
        parts = {
            "x": area * self.operand.itemsize,
            "z": second,
            "lanes": lanes * per_cell,
            "state": tile * per_cell,
            "counters": counter * (len(outer) + 1),
            "one": per_cell + row,
        }
        scratch, at = [], 0
        fold = {"x": 1, "z": 2, "lanes": 7, "state": 13}
        for name, size in parts.items():
            scratch.append((0, _AT[name], at))
            if name in fold:
                scratch.append((2, fold[name], at))
            if name in "xz" and not direct and "xz".index(name) < self.words.outputs:
                scratch.append((1, self.words.base("xz".index(name)), at))
            at += -(-size // 64) * 64
        return scratch, at, counter

    def _words(self, fields: dict[str, int], kept: list[Axis], outer: list[Axis], folded: bool) -> Array:
        """The loops' table, without addresses of operands and results."""
        inputs, states = len(self.words.moving), len(self.ends) - 1
        across = self.across or Axis(1, (0,) * inputs)
        sizes = [d.itemsize for d in REDUCTIONS[self.reduction].state(self.operand)]
        words = [fields[name] for name in _FIELDS] + [0] * (inputs + states + inputs)
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
