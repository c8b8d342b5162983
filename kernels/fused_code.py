"""The text of fused kernels: a program's values are folded as they are computed, and never written to memory.

A fused kernel is an evaluator (`gpuarray.kernels.compile_code`) of one row, which is a block or a part of one that
begins with lane 0. Where an evaluator has the address of its first output, this one has that of the lanes; in place of
the output's step it has their number. The lanes and what falls into them are those of `gpuarray.kernels.reduce_code`,
to the bit.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from gpuarray.kernels import reduce_code
from gpuarray.kernels.compile_code import Writer, heavy, indent, module, rereads
from gpuarray.kernels.operands import Template
from gpuarray.kernels.program import Program
from gpuarray.kernels.reduce_code import LANES, Fold

LONG = 16
"""Steps above which a program is not fused: what is computed hides the way through the cache, and compiles longer."""
SHORT = 4
"""Steps of a program of which several rows of lanes are written out."""
ROWS = 4
"""So many: a kilobyte of every operand, in which order matters little to the memory; with more it is slower."""
AHEAD = 4096
"""Bytes from what is read to what is fetched meanwhile: a core waits for memory less than with the machine's own
prefetching, which stops at every page."""


def fusible(program: Program, fold: Fold) -> bool:
    """Whether the fold can take values as they are computed, once and in one pass, and whether that pays."""
    once = not fold.across and fold.reduction not in reduce_code.TWO_PASSES and not rereads(program)
    return once and len(program.steps) <= LONG


@functools.lru_cache(1024)
def source(program: Program, template: Template, fold: Fold) -> str:
    """The module's text."""
    return module(program, FusedWriter(program, template, fold))


class FusedWriter(Writer):
    """Writes one fused kernel: an evaluator whose innermost loop folds."""

    def __init__(self, program: Program, template: Template, fold: Fold) -> None:
        super().__init__(program, template)
        self.fold = reduce_code.Writer(fold)
        self.modes = "f" * self.words.outputs + self.modes[self.words.outputs :]

    def _tails(self) -> list[str]:
        """Buffers for the elements that fill no row of lanes."""
        return [f"y{j} = scratch({128 * self.sizes[j]})" for j in range(self.words.outputs)]

    def lines(self) -> list[str]:
        return [*indent(self._tails()), *super().lines()]

    def _loop(self, length: str, row: str, *, any_range: bool) -> Iterator[str]:
        fold = self.fold
        rows = ROWS if len(self.program.steps) <= SHORT and not heavy(self.program) else 1
        yield "lanes = p0"
        yield "done = 0"
        yield f"if d0 == {LANES}:"
        yield f"    width = opaque(1) * {LANES}"
        yield f"    while done + {LANES * rows} <= {length}:"
        yield from indent(self._prefetch(row, LANES * rows), 2)
        yield "        for j in range(width):"
        yield from indent(fold.fetch(), 3)
        for number in range(rows):
            yield f"            k = done + {LANES * number} + j"
            yield from indent([*self._values(row, any_range=any_range), *self._element(), *fold.step()], 3)
        yield from indent(fold.keep(), 3)
        yield f"        done += {LANES * rows}"
        yield f"for k in range(done, {length}):"
        yield from indent(self._values(row, any_range=any_range))
        for j, value in enumerate(self.program.outputs):
            yield f"    store('d', {self.types[j]}, y{j}, k - done, v{value})"
        yield f"for k in range({length} - done):"
        yield "    j = k & (d0 - 1)"
        for j, name in enumerate("xz"[: self.words.outputs]):
            yield f"    {name} = load('d', {self.types[j]}, y{j}, k)"
        yield from indent([*fold.fetch(), *fold.step(), *fold.keep()])

    def _element(self) -> list[str]:
        return [f"{name} = v{value}" for name, value in zip("xz", self.program.outputs, strict=False)]

    def _prefetch(self, row: str, elements: int) -> Iterator[str]:
        for j in range(self.words.outputs, self.words.count):
            if self.modes[j] == "u" and not self.index[j]:
                yield f"for line in range(0, {elements * self.sizes[j]}, 64):"
                yield f"    prefetch(ahead({row}{j}, done * {self.sizes[j]} + {AHEAD} + line))"
