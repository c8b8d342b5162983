"""The text of CUDA kernels for reductions, whose states have the bits of the CPU's.

What a state is was defined for the CPU (`gpuarray.kernels.reduce_code`), and fits a warp as if made for it: a block of
elements falls into 32 lanes, element k into lane k mod 32, lanes merge in halves, blocks as neighbours in a binary
tree. So there are no atomics, and neither the grid nor the order of blocks has a say in the result. Three kernels:

    along   a group of lanes folds a block that lies along the lanes, or many short ones side by side in a warp
    across  cells lie along the warp, and 8 rows of it hold 4 lanes of each cell
    merge   32 states become one; again and again until one is left
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gpuarray.kernels.cuda.elementwise_code import MOST_STEPS, is_heavy
from gpuarray.kernels.cuda.offline import Kernel
from gpuarray.kernels.cuda.scalar_code import indented, kernel_text, scalar_parameters, steps
from gpuarray.kernels.cuda.state_code import StateWriter
from gpuarray.kernels.program import Program
from gpuarray.kernels.reduce_axes import BLOCK
from gpuarray.kernels.row import type_name

Work = Callable[[int, list[str], str, str], list[str]]
"""``work(lane, lines, element, mask or index)``: what is done with an element that `lines` compute."""

THREADS = 256
CELLS = 32
"""Cells side by side in a block of threads of the kernel across, in CELLS x ROWS threads."""
ROWS = 8
IN_FLIGHT = 8
"""Elements of a lane that are asked for before the first is needed."""
MOST_HELD = 32
"""Steps of programs of which a lane computes all of its elements of a block of moments before the first pass."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The axes of a reduction as kernels see them; lengths and steps are parameters."""

    kept: int
    """Axes of cells, at least 1: kept ones, the grid of cells, and reduced axes around the cut one."""
    whole: int
    """Reduced axes inside the cut one."""
    across: bool = False
    """Whether cells along one more axis, in addition to `kept`, lie along the warp."""
    lanes: int = 32
    """Lanes of a group of the kernel along: 32, or 8 or 1 where every block has so few."""


def lanes_of(elements: int) -> int:
    """The lanes into which a block of so many elements falls.

    >>> [lanes_of(n) for n in (0, 15, 16, 127, 128, 4096)]
    [1, 1, 8, 8, 32, 32]
    """
    return 32 if elements >= 128 else 8 if elements >= 16 else 1


_LANES = "W = np.int64(32) if n >= 128 else (np.int64(8) if n >= 16 else np.int64(1))"


class _Elements:
    """How a thread finds the elements of its block, and what it does to have their values."""

    def __init__(self, program: Program, layout: Layout) -> None:
        self.program, self.layout = program, layout
        self.moving = [k for k, i in enumerate(program.inputs) if i.kind != "scalar"]
        self.types = [type_name(program.dtype_of(k)) for k in range(len(program.inputs) + len(program.steps))]
        self.masked = len(program.outputs) > 1
        self.value_type = self.types[program.outputs[0]]
        names = [f"{a}" for a in range(layout.kept)] + ["x"] * layout.across + ["c"]
        self.axes = names + [f"w{a}" for a in range(layout.whole)]

    def index(self, k: int) -> bool:
        return self.program.inputs[k].kind == "index"

    def parameters(self) -> tuple[list[tuple[str, str]], list[str]]:
        found = [(f"p{k}", "int64" if self.index(k) else "uint64") for k in self.moving]
        found += [(f"t{k}_{a}", "int64") for k in self.moving for a in self.axes]
        found += [(f"l{a}", "int64") for a in range(1, self.layout.kept)]
        found += [(name, "int64") for name in (["cells"] if self.layout.across else [])]
        found += [(name, "int64") for name in ("length", "positions", "runs", "unit")]
        found += [(f"lw{a}", "int64") for a in range(self.layout.whole)]
        made: list[str] = []
        for k, given in enumerate(self.program.inputs):
            if given.kind == "scalar":
                some, lines = scalar_parameters(f"v{k}", self.program.dtype_of(k))
                found += some
                made += lines
        return found, made

    def block(self, number: str) -> Iterator[str]:
        """Where block `number` begins, and how many elements `n` it has: cells first, then the runs of a cell."""
        yield f"run = {number} % runs"
        yield f"cell = quotient({number}, runs)"
        for a in range(self.layout.kept - 1, 0, -1):
            yield f"rest = quotient(cell, l{a})"
            yield f"c{a} = cell - rest * l{a}"
            yield "cell = rest"
        yield "c0 = cell"
        yield "n = min(positions, length - run * positions) * unit"
        for k in self.moving:
            terms = [f"c{a} * t{k}_{a}" for a in range(self.layout.kept)] + [f"run * positions * t{k}_c"]
            if self.layout.across:
                terms.append(f"x * t{k}_x")
            offset = " + ".join(terms)
            yield f"r{k} = p{k} + {offset}" if self.index(k) else f"r{k} = ahead(p{k}, {offset})"

    def read(self, at: str, copy: str) -> Iterator[str]:
        """Read element `at` of the block."""
        offsets = {k: f"({at}) * t{k}_c" for k in self.moving}
        if self.layout.whole:
            yield f"rest = {at}"
            for a in range(self.layout.whole - 1, -1, -1):
                yield f"next = quotient(rest, lw{a})"
                yield f"w{a} = rest - next * lw{a}"
                yield "rest = next"
            for k in self.moving:
                terms = [f"rest * t{k}_c"] + [f"w{a} * t{k}_w{a}" for a in range(self.layout.whole)]
                offsets[k] = " + ".join(terms)
        for k in self.moving:
            if self.index(k):
                yield f"v{k}{copy} = r{k} + {offsets[k]}"
            else:
                yield f"v{k}{copy} = read({self.types[k]}, ahead(r{k}, {offsets[k]}), 0)"

    def name(self, value: int, copy: str) -> str:
        scalar = value < len(self.program.inputs) and self.program.inputs[value].kind == "scalar"
        return f"v{value}" if scalar else f"v{value}{copy}"

    def compute(self, copy: str) -> tuple[list[str], str, str]:
        """(lines, the element, its mask or index)."""
        lines = list(steps(self.program, lambda value: self.name(value, copy)))
        found = [self.name(o, copy) for o in self.program.outputs]
        return lines, found[0], found[1] if self.masked else ""


def _title(reduction: str, program: Program, form: str) -> str:
    return f"{reduction} of {program.dtype_of(program.outputs[0])}, {form}"


@functools.lru_cache(1024)
def fold_kernel(program: Program, reduction: str, layout: Layout) -> Kernel:
    """The first kernel of a reduction: a state for every block.

    Its parameters: the places of the state arrays; of moving inputs the places (or first indices), and the steps along
    the axes of cells, the axis across, the cut axis and whole axes; the lengths of the axes of cells but the first; the
    cells across; the length of the cut axis, its positions in a block, the runs that makes, the elements of a position;
    the lengths of whole axes; the scalars. Then, along: the number of blocks, ``cells x runs``, whose
    states lie in this order. Across: the number of blocks of one cell each across, ``outer x runs``; states lie in the
    order (outer, across, runs).
    """
    writer = StateWriter(reduction, program.dtype_of(program.outputs[0]))
    elements = _Elements(program, layout)
    found, made = elements.parameters()
    parameters = [*writer.places(), *found, ("total", "int64")]
    body = made + (_across if layout.across else _along)(writer, elements)
    text = kernel_text(_title(reduction, program, "across" if layout.across else "along"), parameters, body)
    return Kernel(text, tuple(t for _, t in parameters), THREADS, 2)


def _copies(program: Program, layout: Layout) -> int:
    most = max(1, MOST_STEPS // max(1, len(program.steps)))
    copies = 2 if is_heavy(program) else 4 if layout.whole else IN_FLIGHT
    while copies > most:
        copies //= 2
    return copies


def _along(writer: StateWriter, elements: _Elements) -> list[str]:
    layout = elements.layout
    lanes = layout.lanes
    inner = [*writer.start(), "n = np.int64(0)", "if g < total:", *indented(elements.block("g")), _LANES]
    copies = _copies(elements.program, layout) if lanes == 32 else 1
    if writer.family == "moments":
        inner += _moments_along(writer, elements, lanes)
    else:
        inner += ["k = lane", "if lane >= W:", "    k = n"]
        for number in dict.fromkeys((copies, 1)):
            inner.append(f"while k + {number - 1} * W < n:" if number > 1 else "while k < n:")
            for c in range(number):
                inner += indented(elements.read(f"k + {c} * W" if c else "k", f"_{c}"))
            for c in range(number):
                lines, x, z = elements.compute(f"_{c}")
                inner += indented(lines + writer.update(x, z, elements.masked and writer.family != "arg"))
            inner.append(f"    k += {number} * W")
        inner += writer.halves(lanes)
    inner += ["if (lane == 0) & (g < total):", *indented(writer.store("g"))]
    shift = lanes.bit_length() - 1
    return [
        f"lane = np.int64(cuda.threadIdx.x) & {lanes - 1}",
        f"groups = np.int64(cuda.blockDim.x) >> {shift}",
        "first = np.int64(cuda.blockIdx.x) * groups",
        "while first < total:",
        f"    g = first + (np.int64(cuda.threadIdx.x) >> {shift})",
        *indented(inner),
        "    first += np.int64(cuda.gridDim.x) * groups",
    ]


def _moments_along(writer: StateWriter, elements: _Elements, lanes: int) -> Iterator[str]:
    """Two passes over a block. A whole one, of which a lane has few elements, is read and computed once."""
    _, mean, m2 = writer.types
    lines, x, z = elements.compute("_0")
    passes = writer.moments([*elements.read("k", "_0"), *lines], x, z, elements.masked)
    held = BLOCK["moments"] // 32 if lanes == 32 and len(elements.program.steps) <= MOST_HELD else 0
    if held:
        yield from (f"h{c} = {elements.value_type}(0)" for c in range(held))
        yield from (f"z{c} = np.bool_(False)" for c in range(held if elements.masked else 0))
        yield f"if n == {32 * held}:"
        for c in range(held):
            yield from indented(elements.read(f"lane + {32 * c}" if c else "lane", f"_{c}"))
        for c in range(held):
            lines, x, z = elements.compute(f"_{c}")
            yield from indented([*lines, f"h{c} = {x}", *([f"z{c} = {z}"] if elements.masked else [])])
    for number, (work, value) in enumerate(zip(passes, (1, 2), strict=True)):
        loop = ["k = lane", "if lane >= W:", "    k = n", "while k < n:", *indented([*work, "k += W"])]
        if held:
            yield f"if n == {32 * held}:"
            for c in range(held):
                yield from indented(writer.moments([], f"h{c}", f"z{c}", elements.masked)[number])
            yield "else:"
            loop = indented(loop)
        yield from loop
        for v in [0, value] if elements.masked and not number else [value]:
            distance = lanes // 2
            while distance:
                yield f"t = shuffle_down(s{v}, {distance})"
                yield f"if ({distance} < W) & (lane < {distance}):"
                yield f"    s{v} = {writer.types[v]}(s{v} + t)"
                distance //= 2
        if not number:
            if not elements.masked:
                yield "s0 = n"
            yield f"mean = {mean}(s1 / {m2}(max(s0, np.int64(1))))"
            if lanes > 1:
                # of the first lane of the group
                yield "mean = shuffle(mean, (np.int64(cuda.threadIdx.x) & 31) - lane)"
    yield "s1 = mean"


def _across(writer: StateWriter, elements: _Elements) -> list[str]:
    """Thread (x, y) has the lanes y, y + 8, y + 16 and y + 24 of cell x."""
    per = 32 // ROWS
    shared = [
        f"m{k} = cuda.shared.array({ROWS * CELLS}, np.{'uint8' if d.kind == 'b' else d.name})"
        for k, d in enumerate(writer.dtypes)
    ]
    inner = [
        f"x = quotient(tile, total) * {CELLS} + column",
        "g = tile % total",
        *(line for a in range(per) for line in writer.start(f"_{a}")),
        "n = np.int64(0)",
        "if x < cells:",
        *indented(elements.block("g")),
        _LANES,
    ]
    if writer.family == "moments":
        inner += _moments_across(writer, elements, per)
    else:

        def fold(a: int, lines: list[str], x: str, z: str) -> list[str]:
            return [*lines, *writer.update(x, z, elements.masked and writer.family != "arg", f"_{a}")]

        inner += _lanes_across(elements, per, fold)
        inner.append("if W == 32:")
        for a in range(per // 2):
            inner += indented([f"t{k} = s{k}_{a + per // 2}" for k in range(writer.count)] + writer.merge(f"_{a}"))
        inner += indented([f"t{k} = s{k}_1" for k in range(writer.count)] + writer.merge("_0"))
        inner += _rows(writer, list(range(writer.count)), writer.merge("_0"))
    at = "((quotient(g, runs) * cells + x) * runs + run)"
    inner += ["if (row == 0) & (x < cells):"]
    inner += [f"    store({name}, S{k}, {at}, s{k}_0)" for k, name in enumerate(writer.types)]
    return [
        *shared,
        "column = np.int64(cuda.threadIdx.x)",
        "row = np.int64(cuda.threadIdx.y)",
        "tile = np.int64(cuda.blockIdx.x)",
        f"while tile < quotient(cells + {CELLS - 1}, np.int64({CELLS})) * total:",
        *indented(inner),
        "    tile += np.int64(cuda.gridDim.x)",
    ]


def _lanes_across(elements: _Elements, per: int, work: Work) -> Iterator[str]:
    """Every element of the cell into its lane, the rows of threads side by side."""
    yield "k = row"
    yield "if W == 32:"
    yield f"    while k + {(per - 1) * ROWS} < n:"
    for a in range(per):
        yield from indented(elements.read(f"k + {a * ROWS}" if a else "k", f"_{a}"), 2)
    for a in range(per):
        yield from indented(work(a, *elements.compute(f"_{a}")), 2)
    yield "        k += 32"
    for a in range(per):
        yield f"    if k + {a * ROWS} < n:"
        yield from indented(elements.read(f"k + {a * ROWS}" if a else "k", f"_{a}"), 2)
        yield from indented(work(a, *elements.compute(f"_{a}")), 2)
    yield "elif row < W:"
    yield "    while k < n:"
    yield from indented(elements.read("k", "_0"), 2)
    yield from indented(work(0, *elements.compute("_0")), 2)
    yield "        k += W"


def _rows(writer: StateWriter, values: list[int], merge: list[str]) -> Iterator[str]:
    """Merge what the rows of threads hold, in halves; the result is in row 0."""
    bools = {k for k in values if writer.dtypes[k].kind == "b"}
    at = "np.uint32(row) * np.uint32(" + str(CELLS) + ") + np.uint32(column)"
    distance = ROWS // 2
    while distance:
        yield "cuda.syncthreads()"
        for k in values:
            yield f"m{k}[{at}] = {f'np.uint8(s{k}_0)' if k in bools else f's{k}_0'}"
        yield "cuda.syncthreads()"
        yield f"if ({distance} < W) & (row < {distance}):"
        for k in values:
            other = f"m{k}[np.uint32(row + {distance}) * np.uint32({CELLS}) + np.uint32(column)]"
            yield f"    t{k} = {other}" + (" != np.uint8(0)" if k in bools else "")
        yield from indented(merge)
        distance //= 2
    yield "cuda.syncthreads()"


def _moments_across(writer: StateWriter, elements: _Elements, per: int) -> Iterator[str]:
    _, mean, m2 = writer.types
    for number, value in enumerate((1, 2)):

        def work(a: int, lines: list[str], x: str, z: str, number: int = number) -> list[str]:
            return writer.moments(lines, x, z, elements.masked, f"_{a}")[number]

        yield from _lanes_across(elements, per, work)
        values = [0, value] if elements.masked and not number else [value]

        def add(a: int, other: str, values: list[int] = values) -> list[str]:
            return [f"s{v}_{a} = {writer.types[v]}(s{v}_{a} + {other.format(v=v)})" for v in values]

        yield "if W == 32:"
        for a in range(per // 2):
            yield from indented(add(a, f"s{{v}}_{a + per // 2}"))
        yield from indented(add(0, "s{v}_1"))
        yield from _rows(writer, values, [f"s{v}_0 = {writer.types[v]}(s{v}_0 + t{v})" for v in values])
        if not number:
            if not elements.masked:
                yield "s0_0 = n"
            yield f"mean = {mean}(s1_0 / {m2}(max(s0_0, np.int64(1))))"
            yield "if row == 0:"
            yield "    m1[np.uint32(column)] = mean"
            yield "cuda.syncthreads()"
            yield "mean = m1[np.uint32(column)]"
    yield "s1_0 = mean"
