"""The text of compiled stencils: one step over a box of points, row by row along the last axis.

A kernel is a flat generated function, ``void kernel(int64)``, whose argument is the address of a table of words
(`Words`). Where a row of a field lies is looked up in tables of byte offsets, one for each axis but the last: they hold
what the edges mean, that levels lie in rings, and the strides, so that the code knows none of it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpuarray.kernels.compile_code import Writer, indent, module
from gpuarray.kernels.operands import contiguous
from gpuarray.kernels.row import type_name
from gpuarray.kernels.stencils.program import StencilProgram

OUTSIDE = 1 << 61
"""Added to an entry of a table that is no offset but the address of a row: where past an edge a constant stands."""


@dataclass(frozen=True)
class Words:
    """Where a kernel finds what in its table of 64-bit words; positions are those of the tables of offsets.

    - for every axis but the last the range of the box
    - along the last axis the range that is written, the range in it that does not keep its value, and the range that is
      computed in one go: in rings it begins and ends with cache lines, and what is too much is overwritten or never
      read; where fields are read in place, it leaves out the points at the ends, whose taps are looked up one by one
    - for every axis but the last the range that is computed; rows outside keep their values
    - the address of the step's scalars, 16 bytes each
    - for every field: the address of its first element, of the table of offsets of every axis but the last, and of the
      tables of where the elements at both ends of a row stand
    - for every output: the address of its first element, of the table of offsets of the first axis, the strides of the
      axes between the first and the last, how many margin elements are copied when a row is done, and their list
    - whether the outputs are streamed: written past the caches
    """

    ndim: int
    fields: int
    outputs: int

    def box(self, axis: int) -> int:
        return 2 * axis

    @property
    def row(self) -> int:
        return 2 * self.ndim - 2

    def computed(self, axis: int) -> int:
        return self.row + 6 + 2 * axis

    @property
    def scalars(self) -> int:
        return self.computed(self.ndim - 1)

    def field(self, f: int) -> int:
        return self.scalars + 1 + f * (self.ndim + 2)

    def output(self, j: int) -> int:
        return self.field(self.fields) + j * (self.ndim + 2)

    @property
    def streamed(self) -> int:
        return self.output(self.outputs)

    @property
    def size(self) -> int:
        return self.streamed + 1


@functools.lru_cache(1024)
def source(stencil: StencilProgram, fixed: bool) -> str:
    """The module's text; `fixed`: some points may keep their values."""
    text = module(stencil.program, _Writer(stencil, fixed))
    return text.replace("\n@njit", f"\n{_FUNCTIONS}\n@njit", 1)


_FUNCTIONS = "from gpuarray.kernels.pointers import address, drain, located, stream_line\n"
PIECE = 512
"""Elements of a row that are computed at once where outputs are streamed: a multiple of any cache line."""


class _Writer(Writer):
    """Names: ``r`` where an output's row begins, ``l`` that of a field, ``w`` an offset along an axis."""

    def __init__(self, stencil: StencilProgram, fixed: bool) -> None:
        super().__init__(stencil.program, contiguous(stencil.program))
        self.stencil, self.fixed = stencil, fixed
        self.places = Words(stencil.ndim, stencil.fields, stencil.outputs)
        lines = [(t.field, t.offset[:-1]) for t in stencil.taps]
        if fixed:
            lines += [(j, (0,) * (stencil.ndim - 1)) for j in range(stencil.outputs)]
        self.rows_read = sorted(set(lines))
        arrays = (k for k, i in enumerate(stencil.program.inputs) if i.kind == "array")
        self.taps = dict(zip(arrays, stencil.taps, strict=True))
        self.at_ends = False
        """Whether the points that are being written are looked up one by one."""

    def lines(self) -> list[str]:
        words, text = self.places, ["prefer_wide_vectors()"]
        outer = range(self.stencil.ndim - 1)
        for a in outer:
            text += [f"lo{a} = {_word(words.box(a))}", f"hi{a} = {_word(words.box(a) + 1)}"]
        text += [f"{name} = {_word(words.row + k)}" for k, name in enumerate(("x0", "x1", "u0", "u1", "c0", "c1"))]
        if self.fixed:
            for a in outer:
                text += [f"klo{a} = {_word(words.computed(a))}", f"khi{a} = {_word(words.computed(a) + 1)}"]
        text += self._scalars()
        text.append(f"streamed = {_word(words.streamed)}")
        text += [f"h{j} = address(scratch({PIECE * size + 128}))" for j, size in enumerate(self.sizes[: words.outputs])]
        for f in sorted({f for f, _ in self.rows_read}):
            text.append(f"b{f} = {_word(words.field(f))}")
            text += [f"t{f}_{a} = pointer({_word(words.field(f) + 1 + a)})" for a in outer]
        for j in range(words.outputs):
            at = words.output(j)
            text += [f"d{j}_0 = {_word(at)}", f"g{j} = pointer({_word(at + 1)})"]
            text += [f"s{j}_{a} = {_word(at + 1 + a)}" for a in outer[1:]]
            text += [f"m{j} = {_word(at + words.ndim)}", f"q{j} = pointer({_word(at + words.ndim + 1)})"]
        for a in outer:
            text += indent(self._axis(a), a)
        text += indent(self._points(), len(outer))
        text += ["if streamed:", "    drain()"]
        return indent(text)

    def _scalars(self) -> Iterator[str]:
        yield f"q0_ = pointer({_word(self.places.scalars)})"
        for j, k in enumerate(self.words.scalars):
            yield f"v{k} = load('in', {type_name(self.program.dtype_of(k))}, ahead(q0_, {16 * j}), 0)"

    def _axis(self, a: int) -> Iterator[str]:
        yield f"for i{a} in range(lo{a}, hi{a}):"
        for f, offset in sorted({(f, o[a]) for f, o in self.rows_read}):
            yield f"    {_offset(f, a, offset)} = load('in', np.int64, t{f}_{a}, i{a} + ({offset}))"
        for j in range(self.places.outputs):
            step = f"load('in', np.int64, g{j}, i0)" if a == 0 else f"i{a} * s{j}_{a}"
            yield f"    d{j}_{a + 1} = d{j}_{a} + {step}"

    def _points(self) -> Iterator[str]:
        """One row: what is kept of it, what is computed, and the margins of both."""
        outer = range(self.stencil.ndim - 1)
        for number, (f, offsets) in enumerate(self.rows_read):
            names = [_offset(f, a, offsets[a]) for a in outer]
            place = " + ".join((f"b{f}", *names))
            for name in names:  # the last axis decides
                place = f"select({name} >= {OUTSIDE}, {name} - {OUTSIDE}, {place})"
            yield f"a{number} = {place}"
        if self.fixed:
            yield "kept = " + " or ".join(f"i{a} < klo{a} or i{a} >= khi{a}" for a in outer)
            yield "n = 0 if kept else c1 - c0"
        else:
            yield "kept = False"
            yield "n = c1 - c0"
        yield f"piece = {PIECE} if streamed else n"
        yield "p0 = 0"
        yield "while p0 < n:"
        yield "    w = min(piece, n - p0)"
        yield from indent(self._piece())
        yield "    p0 += w"
        if any(t.offset[-1] for t in self.stencil.taps):
            yield "if not kept and (u0 < c0 or c1 < u1):"
            yield from indent(self._ends())
        for j in range(self.places.outputs):
            if self.fixed:
                yield from self._kept(j)
            yield from self._margins(j)

    def _piece(self) -> Iterator[str]:
        """Some of a row, and what is streamed of it: by way of a buffer that lies to cache lines as the output does."""
        outputs = range(self.places.outputs)
        for number, (f, _) in enumerate(self.rows_read):
            yield f"l{number} = pointer(a{number} + (c0 + p0) * {self.stencil.dtype(f).itemsize})"
        for j in outputs:
            yield f"o{j} = d{j}_{self.stencil.ndim - 1} + (c0 + p0) * {self.sizes[j]}"
            yield f"f{j} = ((h{j} + 63) & ~63) + (o{j} & 63) if streamed else o{j}"
            yield f"r{j} = pointer(f{j})"
        yield from self._row("w", "r")
        yield "if streamed:"
        for j in outputs:
            size = self.sizes[j]
            yield f"    first = min(w * {size}, -o{j} & 63)"
            yield f"    lines = (w * {size} - first) >> 6"
            yield f"    for k in range(first // {size}):"
            yield f"        store('out', {self.types[j]}, pointer(o{j}), k, load('out', {self.types[j]}, r{j}, k))"
            yield "    for k in range(lines):"
            yield f"        stream_line(pointer(o{j} + first + 64 * k), pointer(f{j} + first + 64 * k))"
            yield f"    for k in range((first + 64 * lines) // {size}, w):"
            yield f"        store('out', {self.types[j]}, pointer(o{j}), k, load('out', {self.types[j]}, r{j}, k))"

    def _ends(self) -> Iterator[str]:
        """The points at the ends of a row."""
        yield "for side in range(2):"
        yield "    x = c1 if side else u0"
        yield "    w = (u1 if side else c0) - x"
        for j in range(self.places.outputs):
            yield f"    r{j} = pointer(d{j}_{self.stencil.ndim - 1} + x * {self.sizes[j]})"
        for f in sorted({t.field for t in self.stencil.taps}):
            left, right = (_word(self.places.field(f) + self.places.ndim + side) for side in (0, 1))
            yield f"    t{f} = pointer({right} if side else {left})"
        self.at_ends = True
        yield from indent(self._row("w", "r"))
        self.at_ends = False

    def _kept(self, j: int) -> Iterator[str]:
        name = self.types[j]
        line = self.rows_read.index((j, (0,) * (self.stencil.ndim - 1)))
        yield f"e{j} = pointer(d{j}_{self.stencil.ndim - 1})"
        for low, high in (("x0", "x1 if kept else u0"), ("x1 if kept else u1", "x1")):
            yield f"for k in range({low}, {high}):"
            yield f"    store('out', {name}, e{j}, k, load('in', {name}, pointer(a{line}), k))"

    def _margins(self, j: int) -> Iterator[str]:
        """A list of (place, from, whether `from` is an address), in bytes."""
        name = self.types[j]
        yield f"for k in range(m{j}):"
        yield f"    e{j} = pointer(d{j}_{self.stencil.ndim - 1} + load('in', np.int64, q{j}, 3 * k))"
        yield f"    k0 = load('in', np.int64, q{j}, 3 * k + 1)"
        yield f"    if load('in', np.int64, q{j}, 3 * k + 2):"
        yield f"        store('out', {name}, e{j}, 0, load('in', {name}, pointer(k0), 0))"
        yield "    else:"
        yield f"        z{j} = load('out', {name}, pointer(d{j}_{self.stencil.ndim - 1} + k0), 0)"
        yield f"        store('out', {name}, e{j}, 0, z{j})"

    def _read(self, j: int, row: str) -> str:
        tap = self.taps[self.words.moving[j - self.words.outputs]]
        line = self.rows_read.index((tap.field, tap.offset[:-1]))
        if not self.at_ends:
            return f"load('in', {self.types[j]}, l{line}, k + ({tap.offset[-1]}))"
        offset = f"load('in', np.int64, t{tap.field}, x + k + ({tap.offset[-1]}))"
        return f"load('in', {self.types[j]}, pointer(located(a{line}, {offset}, {OUTSIDE})), 0)"


def _word(k: int) -> str:
    return f"load('in', np.int64, q, {k})"


def _offset(field: int, axis: int, offset: int) -> str:
    return f"w{field}_{axis}_{offset}".replace("-", "m")


def dtypes(stencil: StencilProgram) -> list[np.dtype[np.generic]]:
    return [stencil.dtype(f) for f in range(stencil.fields)]
