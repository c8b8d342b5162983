"""The text of compiled kernels: programs over boxes of elements.

See `gpuarray.kernels.compile` for what an evaluator is. A row is the innermost axis, of length n; the next one has
length m. Importing this module does not import Numba; writing a kernel does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from gpuarray.kernels.program import Program
from gpuarray.kernels.row import type_name
from gpuarray.kernels.table import ELEMENTWISE

BLOCK = 1024
"""Elements of a row that are computed at once where an operand is generated into a buffer first."""
ROWS, COLUMNS = 256, 64
"""The tile in which operands that lie across the innermost axis are turned: long along the lines that they are read in,
for memory serves long pieces of lines best."""
DRAWN_ROWS = 64
"""The same for random numbers, which come from no memory: small enough for the L1 cache."""
LINES = 8
"""Lines that are turned together, so that a whole cache line is written at a time."""
PITCH = COLUMNS + 8
"""Elements from one line of a tile buffer to the next: not a power of two, or lines would share sets of the cache."""
MAX_TURNED = 4
"""Operands turned through tile buffers at once; more would not fit the L2 cache, or the stack."""


_T = TypeVar("_T")


def remembered(function: Callable[[Program], _T]) -> Callable[[Program], _T]:
    """Cache a function of programs by identity: to hash a long program takes longer than to run it."""
    known: dict[int, tuple[Program, _T]] = {}

    @functools.wraps(function)
    def wrapper(program: Program) -> _T:
        found = known.get(id(program))
        if found is None:
            if len(known) >= 4096:
                known.clear()
            found = known[id(program)] = (program, function(program))  # the program held keeps its id its own
        return found[1]

    return wrapper


@dataclass(frozen=True, slots=True)
class Template:
    """How the operands move along the innermost axis; with the program, all that the generated code depends on.

    ======  =============================================================================
    ``u``   by one element                  ``r``  by minus one element
    ``c``   not at all                      ``s``  by any number of bytes
    ``t``   by one element along the next axis: turned through a tile buffer
    ``-``   a scalar
    ======  =============================================================================
    """

    inputs: str
    outputs: str

    @property
    def tiled(self) -> bool:
        return "t" in self.inputs


def contiguous(program: Program) -> Template:
    """The template of operands that all lie like the result."""
    return Template("".join("-" if i.kind == "scalar" else "u" for i in program.inputs), "u" * len(program.outputs))


@dataclass(frozen=True)
class Words:
    """Where an evaluator finds what in its table of 64-bit words.

    The first four are the innermost length n, the next length m, the number of (m, n) boxes, and the number R of axes
    around them. Then for each *moving* value (outputs, then array and index inputs): address or index, step along n,
    step along m. Then two words per scalar. Then R lengths, R counters, and for each of the R axes the change of every
    moving value when that axis advances and those inside it start again.
    """

    moving: tuple[int, ...]
    """Input numbers of the moving inputs; the outputs come before them."""
    outputs: int
    scalars: tuple[int, ...]

    @staticmethod
    def of(program: Program) -> Words:
        return _words(program)

    @property
    def count(self) -> int:
        """Moving values."""
        return self.outputs + len(self.moving)

    def base(self, j: int) -> int:
        """Address, step along n and step along m of moving value `j` are here and in the two words after."""
        return 4 + 3 * j

    def scalar(self, j: int) -> int:
        return 4 + 3 * self.count + 2 * j

    @property
    def axes(self) -> int:
        """The table of outer axes."""
        return self.scalar(len(self.scalars))

    def size(self, outer_axes: int) -> int:
        return self.axes + outer_axes * (2 + self.count)


@remembered
def _words(program: Program) -> Words:
    kinds = [i.kind for i in program.inputs]
    moving = tuple(k for k, kind in enumerate(kinds) if kind != "scalar")
    return Words(moving, len(program.outputs), tuple(k for k, kind in enumerate(kinds) if kind == "scalar"))


@functools.lru_cache(1024)
def source(program: Program, template: Template) -> str:
    """The module's text."""
    return module(program, Writer(program, template))


def module(program: Program, writer: Writer) -> str:
    """The text around a writer's lines: the functions that the program's steps need."""
    functions = {f for k in range(len(program.steps)) if (f := _function(program, k)) is not None}
    named = [f"{_name(f)} = CPU_FUNCTIONS[{f}]" for f in sorted(functions)]
    named += [f"{_name(f)}_any = ANY_RANGE[{f}]" for f in sorted(functions & _limited())]
    fills = {(program.steps[k].op.removesuffix("32"), program.steps[k].dtype) for k in drawn(program)}
    named += [f"fill_{op}_{dtype} = FILLS[{(op, dtype)}]" for op, dtype in sorted(fills)]
    return "\n".join((*_HEADER, *named, *_KERNEL, *writer.lines())) + "\n"


_HEADER = (
    '"""Generated by gpuarray.kernels.compile_code."""',
    "import cmath",
    "import math",
    "import numpy as np",
    "from numba import carray, njit",
    "from gpuarray.kernels.functions import ANY_RANGE, CPU_FUNCTIONS",
    "from gpuarray.kernels.jitable import *",
    "from gpuarray.kernels.philox_cpu import FILLS",
    "from gpuarray.kernels.pointers import ahead, load, opaque, pointer, prefetch, scratch, store",
    "",
)

_KERNEL = (
    '@njit("void(int64)", nogil=True, cache=True, error_model="numpy")',
    "def kernel(words):",
    "    q = pointer(words)",
)


def indent(lines: Iterable[str], by: int = 1) -> list[str]:
    return ["    " * by + line for line in lines]


class Writer:
    """Writes one evaluator. Names: ``v`` values, ``p`` where a moving value stands, ``d`` and ``e`` its steps along
    n and m, ``r`` where it stands in the row."""

    def __init__(self, program: Program, template: Template) -> None:
        self.program = program
        self.words = Words.of(program)
        self.modes = template.outputs + "".join(m for m in template.inputs if m != "-")
        self.tiled = template.tiled
        n = self.words.outputs
        self.types = [type_name(program.dtype_of(o)) for o in program.outputs]
        self.types += [type_name(program.dtype_of(k)) for k in self.words.moving]
        self.sizes = [program.dtype_of(o).itemsize for o in program.outputs]
        self.sizes += [program.dtype_of(k).itemsize for k in self.words.moving]
        self.index = [False] * n + [program.inputs[k].kind == "index" for k in self.words.moving]

        arrays = any(m == "t" and not index for m, index in zip(self.modes, self.index, strict=True))
        self.rows = ROWS if arrays else DRAWN_ROWS
        self.drawn = {step: n + self.words.moving.index(k) for step, k in drawn(program).items()}
        self.drawn = {step: j for step, j in self.drawn.items() if self.modes[j] in "ut"}
        """Steps whose values are filled in blocks, by the moving value that is their index."""

    def lines(self) -> list[str]:
        words = self.words
        text = ["prefer_wide_vectors()"] if self.drawn or heavy(self.program) else []
        text += [f"{name} = load('in', np.int64, q, {k})" for k, name in enumerate(("n", "m", "boxes", "R"))]
        for j in range(words.count):
            at = words.base(j)
            place = f"load('in', np.int64, q, {at})"
            text.append(f"p{j} = {place if self.index[j] else f'pointer({place})'}")
            text.append(f"d{j} = {self._step(j)}")
            text.append(f"e{j} = load('in', np.int64, q, {at + 2})")
        for j, k in enumerate(words.scalars):
            name = type_name(self.program.dtype_of(k))
            text.append(f"v{k} = load('in', {name}, ahead(q, {8 * words.scalar(j)}), 0)")
        text += [f"b{j} = scratch({self.rows * PITCH * self.sizes[j]})" for j in self._turned()]
        for step, j in self.drawn.items():
            size = np.dtype(self.program.steps[step].dtype).itemsize
            text.append(f"g{step} = scratch({max(BLOCK, LINES * self.rows) * size})")
            if self.modes[j] == "t":
                text.append(f"h{step} = scratch({self.rows * PITCH * size})")
        text.append("for a in range(R):")
        text.append(f"    store('a', np.int64, q, {words.axes} + R + a, 0)")
        text.append("for box in range(boxes):")
        text += indent(self._tiles() if self.tiled else self._rows())
        text += indent(self._advance())
        return indent(text)

    def _step(self, j: int) -> str:
        """The step along n, known where the mode says it: then the loop vectorises."""
        unit = 1 if self.index[j] else self.sizes[j]
        known = {"u": unit, "r": -unit, "c": 0}.get(self.modes[j])
        return f"load('in', np.int64, q, {self.words.base(j) + 1})" if known is None else f"np.int64({known})"

    def _turned(self) -> list[int]:
        return [j for j, mode in enumerate(self.modes) if mode == "t" and not self.index[j]]

    def _move(self, j: int, place: str, by: str) -> str:
        return f"{place} + ({by})" if self.index[j] else f"ahead({place}, {by})"

    def _rows(self) -> Iterator[str]:
        for j in range(self.words.count):
            yield f"r{j} = p{j}"
        yield "for i in range(m):"
        if self.drawn:
            yield f"    for k0 in range(0, n, {BLOCK}):"
            yield f"        w = min({BLOCK}, n - k0)"
            for j in range(self.words.count):
                yield f"        f{j} = {self._move(j, f'r{j}', f'k0 * d{j}')}"
            for step, j in self.drawn.items():
                yield f"        {self._fill(step, f'g{step}', 'w', f'f{j}')}"
            yield from indent(self._row("w", "f"), 2)
        else:
            yield from indent(self._row("n", "r"))
        for j in range(self.words.count):
            yield f"    r{j} = {self._move(j, f'r{j}', f'e{j}')}"

    def _tiles(self) -> Iterator[str]:
        yield f"for i0 in range(0, m, {self.rows}):"
        yield f"    h = min({self.rows}, m - i0)"
        yield f"    for j0 in range(0, n, {COLUMNS}):"
        yield f"        w = min({COLUMNS}, n - j0)"
        for j in self._turned():
            yield from indent(self._turn(j), 2)
        for step, j in self.drawn.items():
            if self.modes[j] == "t":
                yield from indent(self._turn_drawn(step, j), 2)
        yield "        for i in range(h):"
        rows = []
        for j, mode in enumerate(self.modes):
            if mode == "t" and not self.index[j]:
                rows.append(f"r{j} = ahead(b{j}, i * {PITCH * self.sizes[j]})")
            else:
                rows.append(f"r{j} = {self._move(j, f'p{j}', f'(i0 + i) * e{j} + j0 * d{j}')}")
        for step, j in self.drawn.items():
            if self.modes[j] == "t":
                size = np.dtype(self.program.steps[step].dtype).itemsize
                rows.append(f"t_{step} = ahead(h{step}, i * {PITCH * size})")
            else:
                rows.append(self._fill(step, f"g{step}", "w", f"r{j}"))
        yield from indent(rows, 3)
        yield from indent(self._row("w", "r"), 3)

    def _turn(self, j: int) -> Iterator[str]:
        """Fill a tile buffer, reading along the operand's own contiguous axis."""
        size = self.sizes[j]
        name = self.types[j]
        yield f"for j1 in range(0, w, {LINES}):"
        yield f"    t{j} = ahead(p{j}, i0 * {size} + (j0 + j1) * d{j})"
        lines = [f"load('in', {name}, ahead(t{j}, {line} * d{j}), i)" for line in range(LINES)]
        yield from indent(self._scatter("b", name, f"b{j}", lines, f"load('in', {name}, ahead(t{j}, j * d{j}), i)"))

    def _turn_drawn(self, step: int, j: int) -> Iterator[str]:
        """Draw a tile of random numbers along their own consecutive indices."""
        name = type_name(np.dtype(self.program.steps[step].dtype))
        size = np.dtype(self.program.steps[step].dtype).itemsize
        yield f"for j1 in range(0, w, {LINES}):"
        yield f"    for j in range(min({LINES}, w - j1)):"
        start = f"p{j} + i0 + (j0 + j1 + j) * d{j}"
        yield f"        {self._fill(step, f'ahead(g{step}, j * {self.rows * size})', 'h', start)}"
        lines = [f"load('b', {name}, g{step}, {line * self.rows} + i)" for line in range(LINES)]
        yield from indent(
            self._scatter("c", name, f"h{step}", lines, f"load('b', {name}, g{step}, j * {self.rows} + i)")
        )

    def _scatter(self, scope: str, name: str, buffer: str, lines: list[str], line: str) -> Iterator[str]:
        """Write lines as columns of a tile buffer, so many at a time that cache lines are filled."""
        yield f"if j1 + {LINES} <= w:"
        yield "    for i in range(h):"
        for number, value in enumerate(lines):
            yield f"        store('{scope}', {name}, {buffer}, i * {PITCH} + (j1 + {number}), {value})"
        yield "else:"
        yield "    for j in range(w - j1):"
        yield "        for i in range(h):"
        yield f"            store('{scope}', {name}, {buffer}, i * {PITCH} + j1 + j, {line})"

    def _fill(self, step: int, buffer: str, length: str, start: str) -> str:
        """Draw consecutive random numbers into a buffer."""
        row = self.program.steps[step]
        key, stream, _, *rest = (f"v{a}" for a in row.args)
        function = f"fill_{row.op.removesuffix('32')}_{row.dtype}"
        out = f"carray({buffer}, ({length},), {type_name(np.dtype(row.dtype))})"
        return f"{function}({', '.join((out, key, stream, start, *rest))})"

    def _row(self, length: str, row: str) -> Iterator[str]:
        """The innermost loop from the places ``row``, and where functions have a limited range, a second try without.

        A function of limited range is fast; the loop notes whether an argument was beyond, and is then done again.
        """
        for j, k in enumerate(self.words.moving, self.words.outputs):
            if self.modes[j] == "c":
                yield f"v{k} = {self._read(j, row)}"
        limited = any(_function(self.program, step) in _limited() for step in range(len(self.program.steps)))
        if limited:
            yield "beyond = False"
        yield from self._loop(length, row, any_range=False)
        if limited:
            yield "if beyond:"
            yield from indent(self._loop(length, row, any_range=True))

    def _loop(self, length: str, row: str, *, any_range: bool) -> Iterator[str]:
        yield f"for k in range({length}):"
        yield from indent(self._values(row, any_range=any_range))
        for j, value in enumerate(self.program.outputs):
            place = f"{row}{j}, k" if self.modes[j] == "u" else f"ahead({row}{j}, k * d{j}), 0"
            yield f"    store('out', {self.types[j]}, {place}, v{value})"

    def _values(self, row: str, *, any_range: bool) -> Iterator[str]:
        """Of element ``k``: one value per step, in the order of the program."""
        for j, k in enumerate(self.words.moving, self.words.outputs):
            if self.modes[j] != "c":
                yield f"v{k} = {self._read(j, row)}"
        first = len(self.program.inputs)
        for number, step in enumerate(self.program.steps):
            function = _function(self.program, number)
            if number in self.drawn:
                place = f"'c', {type_name(np.dtype(step.dtype))}, t_{number}"
                if self.modes[self.drawn[number]] == "u":
                    place = f"'b', {type_name(np.dtype(step.dtype))}, g{number}"
                text = f"load({place}, k)"
            elif function is None:
                text = step_code(self.program, number)
            else:
                name = _name(function) + ("_any" if any_range and function in _limited() else "")
                text = f"{name}({', '.join(f'v{a}' for a in step.args)})"
                if function in _limited() and not any_range:
                    yield f"beyond |= abs(v{step.args[0]}) > {type_name(np.dtype(step.dtype))}({_safe_limit()})"
            yield f"v{first + number} = {text}"

    def _read(self, j: int, row: str) -> str:
        mode, name, place = self.modes[j], self.types[j], f"{row}{j}"
        if self.index[j]:
            return {"u": f"{place} + k", "r": f"{place} - k", "c": place}.get(mode, f"{place} + k * d{j}")
        scope = "'b'" if mode == "t" else "'in'"
        at = {"u": f"{place}, k", "t": f"{place}, k", "r": f"{place}, -k", "c": f"{place}, 0"}
        return f"load({scope}, {name}, {at.get(mode, f'ahead({place}, k * d{j}), 0')})"

    def _advance(self) -> Iterator[str]:
        """Count up the axes around the box, the last one fastest."""
        axes = self.words.axes
        yield "a = R - 1"
        yield "while a >= 0:"
        yield f"    c = load('a', np.int64, q, {axes} + R + a) + 1"
        yield f"    if c < load('in', np.int64, q, {axes} + a):"
        yield f"        store('a', np.int64, q, {axes} + R + a, c)"
        yield f"        t = ahead(q, 8 * ({axes} + 2 * R + a * {self.words.count}))"
        for j in range(self.words.count):
            step = f"load('in', np.int64, t, {j})"
            yield f"        p{j} = {self._move(j, f'p{j}', step)}"
        yield "        break"
        yield f"    store('a', np.int64, q, {axes} + R + a, 0)"
        yield "    a -= 1"


@functools.cache
def _limited() -> frozenset[tuple[str, str]]:
    from gpuarray.kernels.functions import ANY_RANGE

    return frozenset(ANY_RANGE)


def _safe_limit() -> float:
    from gpuarray.kernels.functions import SAFE_LIMIT

    return SAFE_LIMIT


def _name(function: tuple[str, str]) -> str:
    return "cpu_" + "_".join(function)


def _function(program: Program, number: int) -> tuple[str, str] | None:
    """The vectorising function that computes a step, if there is one."""
    from gpuarray.kernels.functions import CPU_FUNCTIONS

    step = program.steps[number]
    if (step.op, step.dtype) in CPU_FUNCTIONS and all(program.dtype_of(a) == step.dtype for a in step.args):
        return step.op, step.dtype
    return None


def heavy(program: Program) -> bool:
    """Whether arithmetic outweighs memory, so that the widest vectors pay."""
    return any(ELEMENTWISE[s.op].cost >= 10 for s in program.steps)


@remembered
def rereads(program: Program) -> bool:
    """Whether a row may be computed twice, so that a result must not be written over an operand."""
    return any(_function(program, number) in _limited() for number in range(len(program.steps)))


@remembered
def drawn(program: Program) -> dict[int, int]:
    """Steps that draw random numbers at an index that no memory holds, by step: the index input."""
    kinds = [i.kind for i in program.inputs] + ["step"] * len(program.steps)
    return {
        number: step.args[2]
        for number, step in enumerate(program.steps)
        if step.op.startswith("random_")
        and kinds[step.args[2]] == "index"
        and all(kinds[a] == "scalar" for k, a in enumerate(step.args) if k != 2)
    }


def step_code(program: Program, number: int) -> str:
    """One step's expression, of exactly the step's dtype."""
    step = program.steps[number]
    dtype = np.dtype(step.dtype)
    code = ELEMENTWISE[step.op].code_for(tuple(program.dtype_of(a) for a in step.args), dtype)
    assert code is not None, f"{step.op} has no scalar code for {step.dtype}"
    return f"{type_name(dtype)}({code.format(*(f'v{a}' for a in step.args))})"
