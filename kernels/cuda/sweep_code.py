"""The text of CUDA kernels for several steps of a stencil of two or three dimensions in one pass over memory.

A block of threads owns a tile of the last axes, a position for each thread, and streams down the first axis: what has
one position along it is called a *row*, of columns or of planes. All steps are under way at once, each a few rows
behind the one before: of every step a thread keeps the last rows at its own position in registers, and gives to shared
memory the row that its neighbours read. The tile is larger than what it writes, by the radius for every step and side:
what depends on positions beyond the tile is computed, wrong, and not written.

Edges are treated where an element is read, so every step sees what the edges say of the step before it. The scheme is
that of AN5D (Matsumura et al., CGO 2020); a step trails by one row more than it must, and so one barrier a row will do.
Fields that no step changes are read where they are needed, through the caches.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

from gpuarray.kernels.cuda import line_code
from gpuarray.kernels.cuda.offline import Kernel
from gpuarray.kernels.cuda.positions import FUNCTIONS
from gpuarray.kernels.cuda.scalar_code import choice, indented, kernel_text, moved, scalar_parameters, steps
from gpuarray.kernels.cuda.stencil_code import Modes, constant_edges, kept_widths
from gpuarray.kernels.cuda.sweep_plan import (
    Tile,
    loaded_fields,
    mapped,
    missing,
    most_steps,
    radius,
    rows_of,
    running,
    threads_of,
    tile_of,
    wrapped_axes,
    written,
)
from gpuarray.kernels.row import type_name
from gpuarray.kernels.stencils.program import StencilProgram

__all__ = ["loaded_fields", "missing", "most_steps", "running", "sweep_kernel", "tile_of", "written"]


@functools.lru_cache(1024)
def sweep_kernel(stencil: StencilProgram, modes: Modes, count: int, tile: Tile | None = None) -> Kernel:
    """A kernel of `count` steps over a box of the last one, in tiles (None: `tile_of`).

    Its parameters: the places of outputs and of the fields (position 0 on all axes), their steps along all axes but the
    last, the values of constant edges, the scalars of the first step, of the second, and so on; the domain, low and
    high of the box along all axes, low and high of what the fields cover, the rows that a block writes, and the tiles
    along the last axis. The last axis is contiguous. Block x is the tile, block y the piece of the first axis; thread x
    goes along the last axis, and thread y along the one before.
    """
    tile = tile or tile_of(stencil, modes, count)
    if not tile or min(written(stencil, tile, count)) < 1:
        raise ValueError(f"{count} steps at once in tiles of {tile}; `most_steps` says how many there may be")
    if stencil.ndim == 1:
        return line_code.line_kernel(stencil, modes, count, tile)
    return _Writer(stencil, modes, count, tile).kernel()


class _Writer:
    """Names: ``w{level}_{field}_{row}`` in registers, ``m{level}_{field}`` in shared memory, ``new{level}_{field}``."""

    def __init__(self, stencil: StencilProgram, modes: Modes, count: int, tile: Tile) -> None:
        self.stencil, self.count, self.tile = stencil, count, tile
        self.wraps, self.modes = wrapped_axes(stencil, modes), running(stencil, modes)
        self.program = stencil.program
        self.rows = rows_of(stencil, self.modes)
        self.axes = range(1, stencil.ndim)
        self.radius = [radius(stencil, a) for a in range(stencil.ndim)]
        self.below, self.above = self.radius[0]
        self.pitches = [t + sum(self.radius[a]) for a, t in zip(self.axes, tile, strict=True)]
        self.area = math.prod(self.pitches)
        self.unit = {a: math.prod(self.pitches[a:]) for a in self.axes}
        """Elements of shared memory from one position along an axis to the next."""
        self.slots = sorted({r.slots for r in self.rows.values() if r.shared})
        self.kept = [kept_widths(stencil, self.modes, axis) for axis in range(stencil.ndim)]
        self.loaded = loaded_fields(stencil)
        self.types = [type_name(stencil.dtype(f)) for f in range(stencil.fields)]
        self.bools = [stencil.dtype(f).kind == "b" for f in range(stencil.fields)]
        arrays = [i for i, given in enumerate(self.program.inputs) if given.kind == "array"]
        self.taps = dict(zip(arrays, stencil.taps, strict=True))

    def kernel(self) -> Kernel:
        ndim = self.stencil.ndim
        names = [f"o{j}" for j in range(self.stencil.outputs)] + [f"f{f}" for f in self.loaded]
        parameters = [(n, "uint64") for n in names] + [(f"s_{n}_{a}", "int64") for n in names for a in range(ndim - 1)]
        made: list[str] = []
        for f, a, side in constant_edges(self.modes, self.loaded):
            some, lines = scalar_parameters(f"c{f}_{a}_{side}", self.stencil.dtype(f))
            parameters += some
            made += lines
        for level in range(1, self.count + 1):
            for k, given in enumerate(self.program.inputs):
                if given.kind == "scalar":
                    some, lines = scalar_parameters(f"v{k}_{level}", self.program.dtype_of(k))
                    parameters += some
                    made += lines
        integers = [f"n{a}" for a in range(ndim)]
        integers += [f"{side}{a}" for word in ("", "in_") for a in range(ndim) for side in (f"{word}lo", f"{word}hi")]
        parameters += [(name, "int64") for name in (*integers, "rows", "tiles")]
        body = [*made, *self._before(), "while y <= end:", *indented(self._step())]
        title = f"{self.count} steps of a {ndim}-D stencil of {len(self.taps)} taps"
        text = kernel_text(title, parameters, body)
        return Kernel(text, tuple(t for _, t in parameters), threads_of(self.tile, ndim), 1)

    def _before(self) -> Iterator[str]:
        yield from self._positions()
        yield "q0 = lo0 + np.int64(cuda.blockIdx.y) * rows"
        yield "q1 = min(q0 + rows, hi0)"
        first = f"q0 - {self.count * self.below}"
        yield f"y = {first}" if self.wraps[0] else f"y = max({first}, in_lo0)"
        yield f"end = q1 - 1 + {self.count * self.above + self.count - 1}"
        for f, r in self.rows.items():
            name = "np.uint8" if self.bools[f] else self.types[f]
            for level in range(self.count if r.shared else 0):
                yield f"m{level}_{f} = cuda.shared.array({r.slots * self.area}, {name})"
        yield from self._beside()
        for f, r in self.rows.items():
            zero = f"{self.types[f]}(0)"
            for level in range(self.count):
                yield from (f"w{level}_{f}_{_row(d)} = {zero}" for d in range(r.own[0], r.own[1] + 1))
                yield f"new{level}_{f} = {zero}"
            yield f"new{self.count}_{f} = {zero}"
            if not self.wraps[0]:
                yield f"p{f} = ahead(b_f{f}, y * s_f{f}_0)"
            yield from self._load(f)
        for slots in self.slots:
            yield f"slot{slots} = np.uint64(0)"
        for a, (low, high) in enumerate(self.kept):
            yield f"first{a} = np.int32({low})"
            yield f"last{a} = np.int32(n{a} - {high})"
        beside = [f"(np.int32(x{a}) < first{a}) | (np.int32(x{a}) >= last{a})" for a in self.axes if any(self.kept[a])]
        if beside:
            yield f"kept = {' | '.join(beside)}"

    def _positions(self) -> Iterator[str]:
        """``t1`` in the tile and ``x1`` in the domain along axis 1; where the fields and outputs lie for the thread."""
        if self.stencil.ndim == 2:
            yield "t1 = np.int64(cuda.threadIdx.x)"
            yield "b1 = np.int64(cuda.blockIdx.x)"
        else:
            yield "t1 = np.int64(cuda.threadIdx.y)"
            yield "t2 = np.int64(cuda.threadIdx.x)"
            yield "b1 = quotient(np.int64(cuda.blockIdx.x), tiles)"
            yield "b2 = np.int64(cuda.blockIdx.x) - b1 * tiles"
        inside, mine = [], ["inside"]
        for a, size, valid in zip(self.axes, self.tile, written(self.stencil, self.tile, self.count), strict=True):
            left, right = self.radius[a]
            yield f"x{a} = lo{a} + b{a} * {valid} + t{a} - {self.count * left}"
            yield f"at{a} = wrapped(x{a}, n{a})" if self.wraps[a] else f"at{a} = x{a}"
            inside += [f"(at{a} >= in_lo{a})", f"(at{a} < in_hi{a})"]
            mine += [f"(t{a} >= {self.count * left})", f"(t{a} < {size - self.count * right})", f"(x{a} < hi{a})"]
        yield f"inside = {' & '.join(inside)}"
        yield f"mine = {' & '.join(mine)}"
        for j in range(self.stencil.outputs):
            yield f"b_o{j} = ahead(o{j}, {self._bytes(f'o{j}', 'x', self.stencil.dtype(j).itemsize)})"
        for f in self.loaded:
            yield f"b_f{f} = ahead(f{f}, {self._bytes(f'f{f}', 'at', self.stencil.dtype(f).itemsize)})"

    def _bytes(self, name: str, at: str, size: int) -> str:
        last = self.stencil.ndim - 1
        return " + ".join([f"{at}{a} * s_{name}_{a}" for a in self.axes if a != last] + [f"{at}{last} * {size}"])

    def _beside(self) -> Iterator[str]:
        """Where in a row of shared memory the thread and its neighbours are, as parts of a sum by axis."""
        for a in self.axes:
            yield f"u{a} = np.uint64((t{a} + {self.radius[a][0]}) * {self.unit[a]})"
        yield f"place = {' + '.join(f'u{a}' for a in self.axes)}"
        state = [t for t in self.stencil.taps if t.field in self.rows]
        for a, d, mode in sorted(
            {(a, t.offset[a], self._mode(t.field, a, t.offset[a])) for t in state for a in self.axes}
        ):
            if mode in FUNCTIONS:
                left, pitch = self.radius[a][0], self.pitches[a - 1]
                yield f"at = x{a} + {d}"
                yield from moved("at", a, mode, d)
                at = f"min(max(t{a} + (at - x{a}) + {left}, np.int64(0)), np.int64({pitch - 1}))"
                yield f"{_name(a, d, mode)} = np.uint64({at} * {self.unit[a]})"

    def _mode(self, field: int, axis: int, d: int) -> str:
        """The function that maps positions past the edge, or ``none``."""
        mode = self.modes[field][axis][0 if d < 0 else 1]
        return mode if d and mode in FUNCTIONS else "none"

    def _load(self, f: int) -> Iterator[str]:
        """The next row of the fields as they are, to be there when its turn comes."""
        yield f"new0_{f} = {self.types[f]}(0)"
        if self.wraps[0]:
            yield "at = wrapped(y, n0)"
            yield "if inside & (at >= in_lo0) & (at < in_hi0):"
            yield f"    new0_{f} = read({self.types[f]}, ahead(b_f{f}, at * s_f{f}_0), 0)"
        else:
            yield "if inside & (y < in_hi0):"
            yield f"    new0_{f} = read({self.types[f]}, p{f}, 0)"

    def _step(self) -> Iterator[str]:
        for slots in self.slots:
            for back in range(slots - 1):
                yield f"r{slots}_{back} = (slot{slots} + np.uint64({slots - back})) % np.uint64({slots})"
                yield f"r{slots}_{back} = r{slots}_{back} * np.uint64({self.area})"
                yield f"t{slots}_{back} = r{slots}_{back} + place"
        for f, r in self.rows.items():
            for level in range(self.count):
                for d in range(*r.own):
                    yield f"w{level}_{f}_{_row(d)} = w{level}_{f}_{_row(d + 1)}"
                yield f"w{level}_{f}_{_row(r.own[1])} = new{level}_{f}"
                if r.shared:
                    value = f"w{level}_{f}_{_row(r.shared[1])}"
                    yield f"m{level}_{f}[t{r.slots}_0] = {f'np.uint8({value})' if self.bools[f] else value}"
        yield "cuda.syncthreads()"
        yield "near = np.int32(y)"
        yield "y += 1"
        for f in self.rows:
            if not self.wraps[0]:
                yield f"p{f} = ahead(p{f}, s_f{f}_0)"
            yield from self._load(f)
        for level in range(1, self.count + 1):
            # rows beyond the fields are computed too, of whatever there is, and never used
            yield f"row = np.int32(near - np.int32({level * self.above + level - 1}))"
            yield from self._level(level)
        yield "if mine & (row >= q0) & (row < q1):"
        for j in range(self.stencil.outputs):
            yield f"    store({self.types[j]}, ahead(b_o{j}, np.int64(row) * s_o{j}_0), 0, new{self.count}_{j})"
        for slots in self.slots:
            yield f"slot{slots} = (slot{slots} + np.uint64(1)) % np.uint64({slots})"

    def _level(self, level: int) -> Iterator[str]:
        """One point of one step."""
        taps = {}
        for number, (value, tap) in enumerate(self.taps.items()):
            taps[value] = f"g{number}"
            if tap.field in self.rows:
                yield from self._tap(f"g{number}", tap.field, tap.offset, level - 1)
            else:
                yield from self._coefficient(f"g{number}", tap.field, tap.offset)

        def name(value: int) -> str:
            if value in taps:
                return taps[value]
            return f"v{value}_{level}" if value < len(self.program.inputs) else f"v{value}"

        yield from steps(self.program, name)
        for j, output in enumerate(self.program.outputs):
            yield f"new{level}_{j} = {name(output)}"
        kept = ["kept"] * any(map(any, self.kept[1:])) + ["(row < first0)", "(row >= last0)"] * any(self.kept[0])
        if kept:
            yield f"if {' | '.join(kept)}:"
            yield from (f"    new{level}_{j} = w{level - 1}_{j}_{_row(0)}" for j in range(self.stencil.outputs))

    def _constants(self, field: int, offset: tuple[int, ...]) -> Iterator[tuple[str, str]]:
        """(condition, value) of the constant edges that a read may pass, the last axis first: its value has corners."""
        for a in reversed(range(self.stencil.ndim)):
            side = 0 if offset[a] < 0 else 1
            if offset[a] and self.modes[field][a][side] == "constant":
                at = f"{'row' if a == 0 else f'x{a}'} + {offset[a]}"
                yield (f"{at} < 0" if side == 0 else f"{at} >= n{a}"), f"c{field}_{a}_{side}"

    def _tap(self, name: str, field: int, offset: tuple[int, ...], level: int) -> Iterator[str]:
        """Read one element of the step before, or what the edges say stands there."""
        cases = list(self._constants(field, offset))
        side = 0 if offset[0] < 0 else 1
        for distance, row in mapped(self.modes[field][0][side], offset[0]) if offset[0] else []:
            at = f"row == {distance}" if side == 0 else f"row == n0 - {1 + distance}"
            cases.append((at, self._element(field, (row, *offset[1:]), level)))
        value = self._element(field, offset, level)
        yield from choice(name, cases, value)

    def _element(self, field: int, offset: tuple[int, ...], level: int) -> str:
        if not any(offset[1:]):
            return f"w{level}_{field}_{_row(offset[0])}"
        rows = self.rows[field]
        assert rows.shared is not None
        back = f"{rows.slots}_{rows.shared[1] - offset[0]}"
        modes = [self._mode(field, a, offset[a]) for a in self.axes]
        away = sum(offset[a] * self.unit[a] for a, mode in zip(self.axes, modes, strict=True) if mode == "none")
        parts = [f"t{back}"]
        if set(modes) != {"none"}:
            parts = [f"r{back}"]
            for a, mode in zip(self.axes, modes, strict=True):
                parts.append(f"u{a}" if mode == "none" else _name(a, offset[a], mode))
        at = " + ".join(parts) + (f" {'-' if away < 0 else '+'} np.uint64({abs(away)})" if away else "")
        value = f"m{level}_{field}[{at}]"
        return f"({value} != np.uint8(0))" if self.bools[field] else value

    def _coefficient(self, name: str, field: int, offset: tuple[int, ...]) -> Iterator[str]:
        """Read a field that no step changes, which is in memory."""
        size, zero = self.stencil.dtype(field).itemsize, f"{self.types[field]}(0)"
        inside = ["(k0 >= in_lo0)", "(k0 < in_hi0)"]
        yield f"k0 = np.int64(row) + {offset[0]}"
        yield from self._moved("k0", 0, field, offset[0])
        place = f"ahead(b_f{field}, k0 * s_f{field}_0)"
        if any(offset[1:]):
            for a in self.axes:
                yield f"k{a} = x{a} + {offset[a]}"
                yield from self._moved(f"k{a}", a, field, offset[a])
                inside += [f"(k{a} >= in_lo{a})", f"(k{a} < in_hi{a})"]
            place = f"ahead(f{field}, k0 * s_f{field}_0 + {self._bytes(f'f{field}', 'k', size)})"
        else:
            inside.append("inside")
        cases = list(self._constants(field, offset))
        yield from choice(name, [*cases, (" & ".join(inside), f"read({self.types[field]}, {place}, 0)")], zero)

    def _moved(self, at: str, axis: int, field: int, d: int) -> Iterator[str]:
        if self.wraps[axis]:  # where positions run on, so that a point itself may be past an end
            yield f"{at} = wrapped({at}, n{axis})"
        else:
            yield from moved(at, axis, self._mode(field, axis, d), d)


def _row(d: int) -> str:
    return f"m{-d}" if d < 0 else str(d)


def _name(axis: int, offset: int, mode: str) -> str:
    return f"col{axis}_{_row(offset)}_{mode}"
