"""The text of CUDA kernels for several steps of a two-dimensional stencil in one pass over memory.

A block of threads owns a strip of columns, one for each thread, and streams down its rows. All steps are under way at
once, each a few rows behind the one before: of every step a thread keeps the last rows of its own column in registers,
and gives to shared memory the row that its neighbours read. The strip is wider than what it writes, by the radius for
every step and side: what depends on columns beyond the strip is computed, wrong, and not written.

Edges are treated where an element is read, so every step sees what the edges say of the step before it. The scheme is
that of AN5D (Matsumura et al., CGO 2020); a step trails by one row more than it must, and so one barrier a row will do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gpuarray.kernels.cuda.offline import SHARED_BY_DEFAULT, Kernel
from gpuarray.kernels.cuda.positions import FUNCTIONS
from gpuarray.kernels.cuda.scalar_code import indented, kernel_text, scalar_parameters, steps
from gpuarray.kernels.cuda.stencil_code import Modes, constant_edges, kept_widths, read_fields
from gpuarray.kernels.row import type_name
from gpuarray.kernels.stencils.boxes import source
from gpuarray.kernels.stencils.program import Edge, StencilProgram

WIDTHS = (512, 256)
"""Columns of a strip."""
REGISTERS = 120
"""Registers of a thread that the rows of all steps may take."""
OTHER_REGISTERS = 40
"""What a thread takes besides, about."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is kept of one field at every step."""

    own: tuple[int, int]
    """Rows of the thread's own column in registers: from the oldest to the newest, counted from the row computed."""
    shared: tuple[int, int] | None
    """Rows in shared memory, in the same way."""

    @property
    def slots(self) -> int:
        """Rows that shared memory holds: one may be written while all others are read."""
        return self.shared[1] - self.shared[0] + 2 if self.shared else 0


def missing(stencil: StencilProgram, modes: Modes, domain: tuple[int, ...]) -> str:
    """Why there is no kernel of several steps, or an empty text: then there is one."""
    if stencil.ndim != 2:
        return f"{stencil.ndim} axes; several steps at once are done on 2"
    state = range(stencil.outputs)
    for f in state:
        if stencil.program.dtype_of(stencil.program.outputs[f]) != stencil.dtype(f):
            return f"field {f} changes its dtype"
        for sides in modes[f]:
            if "periodic" in sides:
                return "a periodic axis that is not extended"
    if any(t.field not in state and any(t.offset) for t in stencil.taps):
        return "a field that no step changes is read around the point"
    for axis, n in enumerate(domain):
        below, above = _radius(stencil, axis)
        if n >= 1 << 30:
            return f"axis {axis} is too long for positions of 32 bits: {n} points"
        if n < 2 * (below + above) + 1:
            return f"axis {axis} is too short for the edges: {n} points, radius {below} and {above}"
    try:
        _rows(stencil, modes)
    except ValueError as error:
        return str(error)
    return ""


def _radius(stencil: StencilProgram, axis: int) -> tuple[int, int]:
    both = [stencil.radius(f, axis) for f in range(stencil.outputs)]
    return max(b for b, _ in both), max(a for _, a in both)


def _mapped(mode: str, offset: int) -> list[tuple[int, int]]:
    """(distance of the row from the edge, offset of the row that is read instead), for rows whose read passes it.

    >>> _mapped("reflect", -2), _mapped("symmetric", 1)
    ([(0, 2), (1, 0)], [(0, 0)])
    """
    if mode not in FUNCTIONS:
        return []
    sign = -1 if offset < 0 else 1
    edge = Edge(mode)  # type: ignore[arg-type]
    return [
        (r, sign * (r - found))
        for r in range(abs(offset))
        if (found := source(r - abs(offset), 1 << 30, edge)) is not None
    ]


def _reads(stencil: StencilProgram, modes: Modes, field: int) -> set[tuple[int, int]]:
    """Every (row, column) offset at which the kernel may read the field, edges included."""
    found = {(0, 0)}  # what `fixed` keeps
    for tap in stencil.taps:
        if tap.field == field:
            dy, dx = tap.offset
            rows = [dy] + [m for _, m in _mapped(modes[field][0][0 if dy < 0 else 1], dy)]
            found |= {(m, dx) for m in rows}
            # the columns that edges map to are in the same rows
    return found


def _rows(stencil: StencilProgram, modes: Modes) -> dict[int, _Rows]:
    _, above = _radius(stencil, 0)
    found = {}
    for f in range(stencil.outputs):
        reads = _reads(stencil, modes, f)
        if max(dy for dy, _ in reads) > above:
            raise ValueError("an edge reflects to rows that the stencil itself does not reach")
        across = [dy for dy, dx in reads if dx]
        shared = (min(across), max(across)) if across else None
        own = min([dy for dy, dx in reads if not dx] + ([shared[1]] if shared else []))
        found[f] = _Rows((own, above), shared)
    return found


def width(stencil: StencilProgram, modes: Modes, count: int) -> int:
    """The columns of a strip for `count` steps at once, or 0: shared memory or registers are too few."""
    rows = _rows(stencil, modes)
    per_column = sum(count * r.slots * stencil.dtype(f).itemsize for f, r in rows.items())
    registers = sum(count * (r.own[1] - r.own[0] + 2) * max(1, stencil.dtype(f).itemsize // 4) for f, r in rows.items())
    around = sum(_radius(stencil, 1))
    if registers > REGISTERS:
        return 0
    fitting = [w for w in WIDTHS if per_column * (w + around) <= SHARED_BY_DEFAULT and count * around <= w // 2]

    def useful(w: int) -> float:
        """Threads of a multiprocessor that compute what is written; blocks wait for each other's barriers best."""
        blocks = min(65536 // ((registers + OTHER_REGISTERS) * w), 2048 // w)
        return min(blocks * w, 1024) * (w - count * around) / w

    return max(fitting, key=useful, default=0)


def written(stencil: StencilProgram, columns: int, count: int) -> int:
    """The columns of a strip that `count` steps leave right, which is what it writes."""
    return columns - count * sum(_radius(stencil, 1))


def most_steps(stencil: StencilProgram, modes: Modes, limit: int = 16) -> int:
    """The largest number of steps at once, up to `limit`, for which there is a kernel; 0 if for none."""
    return next((count for count in range(limit, 0, -1) if width(stencil, modes, count)), 0)


def sweep_kernel(stencil: StencilProgram, modes: Modes, count: int, columns: int | None = None) -> Kernel:
    """A kernel of `count` steps over a box of the last one, in strips of `columns` columns (None: `width`).

    Its parameters: the places of outputs and of the fields read (position 0 on both axes), their steps along the first
    axis, the values of constant edges, the scalars of the first step, of the second, and so on; the domain, low and
    high of the box along both axes, low and high of what the fields cover, and the rows that a block writes. The last
    axis is contiguous. Block x is the strip, block y the piece of the first axis; a thread of a block is a column.
    """
    return _Writer(stencil, modes, count, columns or width(stencil, modes, count)).kernel()


class _Writer:
    """Names: ``w{level}_{field}_{row}`` in registers, ``m{level}_{field}`` in shared memory, ``new{level}_{field}``."""

    def __init__(self, stencil: StencilProgram, modes: Modes, count: int, columns: int) -> None:
        self.stencil, self.modes, self.count = stencil, modes, count
        self.program = stencil.program
        self.rows = _rows(stencil, modes)
        self.width = columns
        self.below, self.above = _radius(stencil, 0)
        self.left, self.right = _radius(stencil, 1)
        if columns <= count * (self.left + self.right):
            raise ValueError(
                f"{count} steps at once in strips of {columns} columns; `most_steps` says how many there may be"
            )
        self.pitch = columns + self.left + self.right
        self.slots = sorted({r.slots for r in self.rows.values() if r.shared})
        self.kept = [kept_widths(stencil, modes, axis) for axis in (0, 1)]
        self.fields = read_fields(stencil)
        self.loaded = sorted({*self.fields, *self.rows})
        self.types = [type_name(stencil.dtype(f)) for f in range(stencil.fields)]
        self.bools = [stencil.dtype(f).kind == "b" for f in range(stencil.fields)]
        arrays = [i for i, given in enumerate(self.program.inputs) if given.kind == "array"]
        self.taps = dict(zip(arrays, stencil.taps, strict=True))

    def kernel(self) -> Kernel:
        names = [f"o{j}" for j in range(self.stencil.outputs)] + [f"f{f}" for f in self.loaded]
        parameters = [(n, "uint64") for n in names] + [(f"s_{n}", "int64") for n in names]
        made: list[str] = []
        for f, a, side in constant_edges(self.modes, list(self.rows)):
            some, lines = scalar_parameters(f"c{f}_{a}_{side}", self.stencil.dtype(f))
            parameters += some
            made += lines
        for level in range(1, self.count + 1):
            for k, given in enumerate(self.program.inputs):
                if given.kind == "scalar":
                    some, lines = scalar_parameters(f"v{k}_{level}", self.program.dtype_of(k))
                    parameters += some
                    made += lines
        integers = ["n0", "n1", "lo0", "hi0", "lo1", "hi1", "in_lo0", "in_hi0", "in_lo1", "in_hi1", "rows"]
        parameters += [(name, "int64") for name in integers]
        body = [*made, *self._before(), "while y <= end:", *indented(self._step())]
        title = f"{self.count} steps of a 2-D stencil of {len(self.taps)} taps"
        text = kernel_text(title, parameters, body)
        return Kernel(text, tuple(t for _, t in parameters), self.width, 1)

    def _before(self) -> Iterator[str]:
        valid = written(self.stencil, self.width, self.count)
        yield "tx = np.int64(cuda.threadIdx.x)"
        yield f"x = lo1 + np.int64(cuda.blockIdx.x) * {valid} + tx - {self.count * self.left}"
        yield "q0 = lo0 + np.int64(cuda.blockIdx.y) * rows"
        yield "q1 = min(q0 + rows, hi0)"
        yield "inside = (x >= in_lo1) & (x < in_hi1)"
        yield f"mine = inside & (tx >= {self.count * self.left}) & (tx < {self.width - self.count * self.right})"
        yield "mine = mine & (x < hi1)"
        yield f"y = max(q0 - {self.count * self.below}, in_lo0)"
        yield f"end = q1 - 1 + {self.count * self.above + self.count - 1}"
        for f, r in self.rows.items():
            name = "np.uint8" if self.bools[f] else self.types[f]
            for level in range(self.count if r.shared else 0):
                yield f"m{level}_{f} = cuda.shared.array({r.slots * self.pitch}, {name})"
        yield from self._columns()
        for f, r in self.rows.items():
            zero = f"{self.types[f]}(0)"
            for level in range(self.count):
                yield from (f"w{level}_{f}_{_row(d)} = {zero}" for d in range(r.own[0], r.own[1] + 1))
                yield f"new{level}_{f} = {zero}"
            yield f"new{self.count}_{f} = {zero}"
            yield f"p{f} = ahead(f{f}, y * s_f{f} + x * {self.stencil.dtype(f).itemsize})"
            yield from self._load(f)
        for slots in self.slots:
            yield f"slot{slots} = np.uint64(0)"
        yield f"place = np.uint64(tx + {self.left})"
        for a, (low, high) in enumerate(self.kept):
            yield f"first{a} = np.int32({low})"
            yield f"last{a} = np.int32(n{a} - {high})"
        if any(self.kept[1]):
            yield "kept = (np.int32(x) < first1) | (np.int32(x) >= last1)"

    def _columns(self) -> Iterator[str]:
        """Where in a row of shared memory the neighbours are that edges may have moved."""
        for key in sorted({self._column(t.field, t.offset[1]) for t in self.stencil.taps if t.field in self.rows}):
            dx, mode = key
            if dx and mode in FUNCTIONS:
                yield f"at = x + {dx}"
                yield f"if {'at < 0' if dx < 0 else 'at >= n1'}:"
                yield f"    at = {FUNCTIONS[mode]}(at, n1)"
                at = f"min(max(tx + (at - x) + {self.left}, np.int64(0)), np.int64({self.pitch - 1}))"
                yield f"{_name(key)} = np.uint64({at})"

    def _column(self, field: int, dx: int) -> tuple[int, str]:
        mode = self.modes[field][1][0 if dx < 0 else 1]
        return dx, mode if mode in FUNCTIONS else "none"

    def _load(self, f: int) -> Iterator[str]:
        """The next row of the fields as they are, to be there when its turn comes."""
        yield f"new0_{f} = {self.types[f]}(0)"
        yield "if inside & (y < in_hi0):"
        yield f"    new0_{f} = read({self.types[f]}, p{f}, 0)"

    def _step(self) -> Iterator[str]:
        for slots in self.slots:
            for back in range(slots - 1):
                yield f"r{slots}_{back} = (slot{slots} + np.uint64({slots - back})) % np.uint64({slots})"
                yield f"r{slots}_{back} = r{slots}_{back} * np.uint64({self.pitch})"
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
            yield f"p{f} = ahead(p{f}, s_f{f})"
            yield from self._load(f)
        for level in range(1, self.count + 1):
            # rows beyond the fields are computed too, of whatever there is, and never used
            yield f"row = np.int32(near - np.int32({level * self.above + level - 1}))"
            yield from self._level(level)
        yield "if mine & (row >= q0) & (row < q1):"
        for j in range(self.stencil.outputs):
            size = self.stencil.dtype(j).itemsize
            place = f"ahead(o{j}, np.int64(row) * s_o{j} + x * {size})"
            yield f"    store({self.types[j]}, {place}, 0, new{self.count}_{j})"
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
                f, size = tap.field, self.stencil.dtype(tap.field).itemsize
                yield f"g{number} = {self.types[f]}(0)"
                yield "if inside & (row >= in_lo0) & (row < in_hi0):"
                yield f"    g{number} = read({self.types[f]}, ahead(f{f}, np.int64(row) * s_f{f} + x * {size}), 0)"

        def name(value: int) -> str:
            if value in taps:
                return taps[value]
            return f"v{value}_{level}" if value < len(self.program.inputs) else f"v{value}"

        yield from steps(self.program, name)
        for j, output in enumerate(self.program.outputs):
            yield f"new{level}_{j} = {name(output)}"
        kept = ["kept"] * any(self.kept[1]) + ["(row < first0)", "(row >= last0)"] * any(self.kept[0])
        if kept:
            yield f"if {' | '.join(kept)}:"
            yield from (f"    new{level}_{j} = w{level - 1}_{j}_{_row(0)}" for j in range(self.stencil.outputs))

    def _tap(self, name: str, field: int, offset: tuple[int, ...], level: int) -> Iterator[str]:
        """Read one element of the step before, or what the edges say stands there."""
        dy, dx = offset
        words = ["if"]

        def case(condition: str, value: str) -> Iterator[str]:
            yield f"{words[-1]} {condition}:"
            yield f"    {name} = {value}"
            words.append("elif")

        side, beyond = (0, f"x + {dx} < 0") if dx < 0 else (1, f"x + {dx} >= n1")
        if dx and self.modes[field][1][side] == "constant":
            yield from case(beyond, f"c{field}_1_{side}")
        side, beyond = (0, f"row + {dy} < 0") if dy < 0 else (1, f"row + {dy} >= n0")
        mode = self.modes[field][0][side]
        if dy and mode == "constant":
            yield from case(beyond, f"c{field}_0_{side}")
        for distance, mapped in _mapped(mode, dy) if dy else []:
            at = f"row == {distance}" if side == 0 else f"row == n0 - {1 + distance}"
            yield from case(at, self._element(field, mapped, dx, level))
        value = self._element(field, dy, dx, level)
        yield from [f"{name} = {value}"] if len(words) == 1 else ["else:", f"    {name} = {value}"]

    def _element(self, field: int, dy: int, dx: int, level: int) -> str:
        if not dx:
            return f"w{level}_{field}_{_row(dy)}"
        rows = self.rows[field]
        assert rows.shared is not None
        key = self._column(field, dx)
        back = f"{rows.slots}_{rows.shared[1] - dy}"
        at = f"r{back} + {_name(key)}" if key[1] in FUNCTIONS else f"{_plus(f't{back}', dx)}"
        value = f"m{level}_{field}[{at}]"
        return f"({value} != np.uint8(0))" if self.bools[field] else value


def _row(d: int) -> str:
    return f"m{-d}" if d < 0 else str(d)


def _plus(place: str, offset: int) -> str:
    return f"{place} {'-' if offset < 0 else '+'} np.uint64({abs(offset)})"


def _name(column: tuple[int, str]) -> str:
    return f"col_{_row(column[0])}_{column[1]}"
