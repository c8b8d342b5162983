"""The text of CUDA kernels for elementwise programs.

Three forms. `contiguous_kernel` is for operands that all lie like the result, or are one number: threads move vectors
of 16 bytes, several in flight at once, which is what it takes to keep the memory of recent GPUs busy. `tiled_kernel` is
for operands that lie along another axis than the result: a block computes squares, whose lines stay in the L1 cache
until all of their elements are used. `strided_kernel` is for all else. All of them stride over the whole grid, so any
number of blocks computes any number of elements.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from gpuarray.kernels.cuda.offline import Kernel
from gpuarray.kernels.cuda.scalar_code import indented, kernel_text, scalar_parameters, steps
from gpuarray.kernels.program import Program
from gpuarray.kernels.row import type_name
from gpuarray.kernels.table import ELEMENTWISE

THREADS = 256
TILE, TILE_ROWS = 32, 8
"""Side of a square of `tiled_kernel`, and rows of threads that compute it."""
IN_FLIGHT = 4
"""Pieces of 16 bytes that a thread has asked for before it needs the first."""
MOST_COPIES = {False: 32, True: 4}
"""Elements that a thread computes at once: of programs of plain arithmetic, and with functions that take many steps."""
MOST_STEPS = 256
"""Steps of the program times copies of it: more are slow to compile and run out of registers."""
HEAVY = 20
"""The cost of a row (`Elementwise.cost`) from which on arithmetic is what takes the time."""


@dataclass(frozen=True, slots=True)
class Operands:
    """How the operands of a program lie; with the program, all that the kernel depends on.

    ======  =========================================
    ``u``   contiguous like the result
    ``c``   one element for all
    ``s``   strided in its own way (`strided` alone)
    ``-``   a scalar
    ======  =========================================
    """

    inputs: str
    coherent: bool = False
    """Whether the result is written where an operand is read: then no read may use the read-only path."""


def contiguous(program: Program) -> Operands:
    """Operands that all lie like the result."""
    return Operands("".join("-" if i.kind == "scalar" else "u" for i in program.inputs))


def is_heavy(program: Program) -> bool:
    """Whether a step of the program takes many instructions."""
    return any(ELEMENTWISE[s.op].cost >= HEAVY for s in program.steps)


@functools.lru_cache(1024)
def vector_length(program: Program, operands: Operands) -> tuple[int, int]:
    """(elements of a vector, vectors in flight) of `contiguous_kernel`; what a vector spans is what must be aligned."""
    sizes = [program.dtype_of(o).itemsize for o in program.outputs]
    arrays = [k for k, i in enumerate(program.inputs) if i.kind == "array" and operands.inputs[k] == "u"]
    read = [program.dtype_of(k).itemsize for k in arrays]
    length = max(1, 16 // min(sizes + read))
    most = min(MOST_COPIES[is_heavy(program)], max(1, MOST_STEPS // max(1, len(program.steps))))
    while length > 1 and (length * max(sizes + read) > 32 or length > most):
        length //= 2
    pieces = sum(-(-length * size // 16) for size in read)
    vectors = 1
    while pieces and vectors * pieces < IN_FLIGHT and 2 * vectors * length <= most:
        vectors *= 2
    return length, vectors


def _copies(program: Program) -> int:
    """Elements in flight where each is read by itself."""
    return max(1, min(IN_FLIGHT, MOST_STEPS // max(1, len(program.steps))))


def _blocks(program: Program) -> int:
    return 2 if is_heavy(program) or len(program.steps) > 32 else 4


class _Values:
    """The parameters of a program's operands, and what its values are called."""

    def __init__(self, program: Program, operands: Operands) -> None:
        self.program, self.operands = program, operands
        self.read = "load" if operands.coherent else "read"
        self.types = [type_name(program.dtype_of(k)) for k in range(len(program.inputs) + len(program.steps))]
        self.moving = [k for k, i in enumerate(program.inputs) if i.kind != "scalar"]
        self.fixed = {k for k in range(len(program.inputs)) if operands.inputs[k] in "-c"}

    def index(self, k: int) -> bool:
        return self.program.inputs[k].kind == "index"

    def places(self) -> list[tuple[str, str]]:
        outputs = [(f"o{j}", "uint64") for j in range(len(self.program.outputs))]
        return outputs + [(f"p{k}", "int64" if self.index(k) else "uint64") for k in self.moving]

    def scalars(self) -> tuple[list[tuple[str, str]], list[str]]:
        """The parameters of scalars, and the lines for all that is one value for every element."""
        parameters: list[tuple[str, str]] = []
        lines: list[str] = []
        for k, given in enumerate(self.program.inputs):
            if given.kind == "scalar":
                some, made = scalar_parameters(f"v{k}", self.program.dtype_of(k))
                parameters += some
                lines += made
            elif self.operands.inputs[k] == "c":
                lines.append(f"v{k} = p{k}" if self.index(k) else f"v{k} = {self.read}({self.types[k]}, p{k}, 0)")
        return parameters, lines

    def name(self, value: int, copy: str) -> str:
        return f"v{value}" if value in self.fixed else f"v{value}{copy}"

    def compute(self, copy: str) -> list[str]:
        return list(steps(self.program, lambda value: self.name(value, copy)))


@functools.lru_cache(1024)
def contiguous_kernel(program: Program, operands: Operands, aligned: bool = True) -> Kernel:
    """A kernel ``(outputs, moving inputs, steps of index inputs, scalars, number of elements)``.

    A place in memory for each output and array (of its one element where the mode is ``c``), the first index and the
    step from one element to the next for an index, then the scalars in order, a complex one as two numbers, then the
    length, uint64. `aligned`: whether all places are multiples of 16 bytes.
    """
    values = _Values(program, operands)
    length, vectors = vector_length(program, operands) if aligned else (1, _copies(program))
    scalars, fixed = values.scalars()
    parameters = values.places() + [(f"t{k}", "int64") for k in values.moving if values.index(k)] + scalars
    parameters.append(("n", "uint64"))
    body = [
        *fixed,
        "step = np.uint64(cuda.gridDim.x) * np.uint64(cuda.blockDim.x)",
        "first = np.uint64(cuda.blockIdx.x) * np.uint64(cuda.blockDim.x) + np.uint64(cuda.threadIdx.x)",
        f"vectors = n >> np.uint64({length.bit_length() - 1})",
        "i = first",
    ]
    if vectors > 1:
        body.append(f"while i + step * np.uint64({vectors - 1}) < vectors:")
        body += indented(_vectors(values, length, vectors, aligned))
        body.append(f"    i += step * np.uint64({vectors})")
    body.append("while i < vectors:")
    body += indented(_vectors(values, length, 1, aligned))
    body.append("    i += step")
    if length > 1:
        body.append(f"i = vectors * np.uint64({length}) + first")
        body.append("while i < n:")
        body += indented(_vectors(values, 1, 1, False))
        body.append("    i += step")
    text = kernel_text(f"{_title(program)}: contiguous, {length} x {vectors}", parameters, body)
    return Kernel(text, tuple(t for _, t in parameters), THREADS, _blocks(program))


def _title(program: Program) -> str:
    return " ".join(dict.fromkeys(s.op for s in program.steps[:20])) or "copy"


def _vectors(values: _Values, length: int, vectors: int, wide: bool) -> Iterator[str]:
    """Read so many vectors, compute each of their elements, write them; `wide`: with one access of up to 16 bytes."""
    program = values.program
    for u in range(vectors):
        number = f"(i + step * np.uint64({u}))" if u else "i"
        yield f"e{u} = {number} * np.uint64({length})"
        for k in values.moving:
            if k in values.fixed or values.index(k):
                continue
            if not wide:
                yield f"{values.name(k, f'_{u}_0')} = {values.read}({values.types[k]}, p{k}, e{u})"
            else:
                yield f"x{k}_{u} = {values.read}_vector({values.types[k]}, {length}, p{k}, e{u})"
    for u in range(vectors):
        for c in range(length):
            copy = f"_{u}_{c}"
            for k in values.moving:
                if k in values.fixed:
                    continue
                if values.index(k):
                    yield f"{values.name(k, copy)} = p{k} + t{k} * np.int64(e{u} + np.uint64({c}))"
                elif wide:
                    yield f"{values.name(k, copy)} = x{k}_{u}[{c}]"
            yield from values.compute(copy)
        for j, output in enumerate(program.outputs):
            if not wide:
                yield f"store({values.types[output]}, o{j}, e{u}, {values.name(output, f'_{u}_0')})"
            else:
                parts = ", ".join(values.name(output, f"_{u}_{c}") for c in range(length))
                yield f"store_vector({values.types[output]}, {length}, o{j}, e{u}, ({parts},))"


@functools.lru_cache(1024)
def strided_kernel(program: Program, operands: Operands, axes: int, wide: bool = False) -> Kernel:
    """A kernel ``(outputs, moving inputs, their steps axis by axis, scalars, lengths of axes 1.., elements)``.

    Steps are bytes for arrays, int64 if `wide` else int32, and int64 for an index. `wide` is needed from 2**31 elements
    or bytes on, from the first element of an operand to its last.
    """
    walk = _Walk(program, operands, axes, wide)
    word = walk.word
    parameters, fixed = walk.parameters()
    parameters += [(f"l{a}", word) for a in range(1, axes)] + [("n", word)]
    copies = _copies(program) if walk.reads else 1
    thread = f"np.{word}(np.{word}(cuda.blockIdx.x) * np.{word}(cuda.blockDim.x)) + np.{word}(cuda.threadIdx.x)"
    body = [
        *fixed,
        f"step = np.{word}(np.{word}(cuda.gridDim.x) * np.{word}(cuda.blockDim.x))",
        f"i = np.{word}({thread})",
    ]
    for number in dict.fromkeys((copies, 1)):
        # never `i + step`, which may be beyond what the word holds
        body.append(f"while i < n and np.{word}(n - i) > np.{word}(step * np.{word}({number - 1})):")
        for u in range(number):
            body.append(f"    q = np.{word}(i + np.{word}(step * np.{word}({u})))" if u else "    q = i")
            body += indented([*walk.unravel("q", axes, "l"), *walk.read(u)])
        for u in range(number):
            body += indented(walk.compute(u))
        body.append(f"    if np.{word}(n - i) <= np.{word}(step * np.{word}({number})):")
        body.append("        i = n")
        body.append("    else:")
        body.append(f"        i = np.{word}(i + np.{word}(step * np.{word}({number})))")
    text = kernel_text(f"{_title(program)}: {axes} axes, strided", parameters, body)
    return Kernel(text, tuple(t for _, t in parameters), THREADS, _blocks(program))


@functools.lru_cache(1024)
def tiled_kernel(program: Program, operands: Operands, axes: int, wide: bool = False) -> Kernel:
    """A kernel ``(outputs, moving inputs, their steps axis by axis, scalars, lengths of axes 0.., squares)``.

    The last axis is the one along which the result lies, the one before it that of the turned operands. A square is
    `TILE` by `TILE` elements of them, computed by ``TILE x TILE_ROWS`` threads; they are numbered like the elements.
    """
    walk = _Walk(program, operands, axes, wide)
    word = walk.word
    parameters, fixed = walk.parameters()
    parameters += [(f"l{a}", word) for a in range(axes)] + [("n", word)]
    rows = TILE // TILE_ROWS
    last, turned = axes - 1, axes - 2
    unit = f"np.{word}({TILE})"
    inner = ["q = i"]
    for a in (last, turned):
        inner.append(f"w{a} = quotient(np.{word}(l{a} + np.{word}({TILE - 1})), {unit})")
        inner.append(f"d = quotient(q, w{a})")
        inner.append(f"b{a} = np.{word}(np.{word}(q - np.{word}(d * w{a})) * {unit})")
        inner.append("q = d")
    inner += walk.unravel("q", turned, "l") if turned else []
    inner.append(f"r{last} = np.int64(b{last}) + np.int64(cuda.threadIdx.x)")
    inner.append(f"if r{last} < np.int64(l{last}):")
    copies = rows if MOST_STEPS // max(1, len(program.steps)) >= rows and not is_heavy(program) else 1
    row = f"r{turned} = np.int64(b{turned}) + np.int64(cuda.threadIdx.y)"
    if copies > 1:
        inner.append(f"    if np.int64(b{turned}) + {TILE} <= np.int64(l{turned}):")
        for u in range(copies):
            inner += indented([f"{row} + {u * TILE_ROWS}", *walk.read(u)], 2)
        for u in range(copies):
            inner += indented(walk.compute(u), 2)
        inner.append("    else:")
    inner.append(f"{'    ' * (1 + (copies > 1))}for u in range({rows}):")
    inner += indented([f"{row} + u * {TILE_ROWS}", f"if r{turned} < np.int64(l{turned}):"], 2 + (copies > 1))
    inner += indented([*walk.read(0), *walk.compute(0)], 3 + (copies > 1))
    body = [
        *fixed,
        f"i = np.{word}(cuda.blockIdx.x)",
        "while i < n:",
        *indented(inner),
        f"    if np.{word}(n - i) <= np.{word}(cuda.gridDim.x):",
        "        i = n",
        "    else:",
        f"        i = np.{word}(i + np.{word}(cuda.gridDim.x))",
    ]
    text = kernel_text(f"{_title(program)}: {axes} axes, in squares", parameters, body)
    return Kernel(text, tuple(t for _, t in parameters), TILE * TILE_ROWS, _blocks(program))


class _Walk:
    """How the operands move along several axes: ``t_p0_1`` is the step of input 0 along axis 1, ``r1`` the index."""

    def __init__(self, program: Program, operands: Operands, axes: int, wide: bool) -> None:
        self.program, self.axes = program, axes
        self.values = _Values(program, operands)
        self.word, self.offset = ("uint64", "int64") if wide else ("uint32", "int32")
        values = self.values
        self.moving = [(f"o{j}", False) for j in range(len(program.outputs))]
        self.moving += [(f"p{k}", values.index(k)) for k in values.moving if k not in values.fixed]
        self.reads = any(not index for _, index in self.moving[len(program.outputs) :])

    def parameters(self) -> tuple[list[tuple[str, str]], list[str]]:
        scalars, fixed = self.values.scalars()
        steps_ = [
            (f"t_{name}_{a}", "int64" if index else self.offset)
            for name, index in self.moving
            for a in range(self.axes)
        ]
        return self.values.places() + steps_ + scalars, fixed

    def unravel(self, number: str, axes: int, lengths: str) -> Iterator[str]:
        """The indices along the first axes out of the number of an element."""
        word = self.word
        for a in range(axes - 1, 0, -1):
            yield f"d = quotient({number}, {lengths}{a})"
            yield f"r{a} = np.int64(np.{self.offset}(np.{word}({number} - np.{word}(d * {lengths}{a}))))"
            yield f"{number} = d"
        yield f"r0 = np.int64(np.{self.offset}({number}))"

    def read(self, copy: int) -> Iterator[str]:
        values = self.values
        for name, _ in self.moving:
            yield f"{name}_{copy} = " + " + ".join(f"r{a} * np.int64(t_{name}_{a})" for a in range(self.axes))
        for k in values.moving:
            if k not in values.fixed and not values.index(k):
                place = f"ahead(p{k}, p{k}_{copy})"
                yield f"{values.name(k, f'_{copy}')} = {values.read}({values.types[k]}, {place}, 0)"

    def compute(self, copy: int) -> Iterator[str]:
        values = self.values
        for k in values.moving:
            if k not in values.fixed and values.index(k):
                yield f"{values.name(k, f'_{copy}')} = p{k} + p{k}_{copy}"
        yield from values.compute(f"_{copy}")
        for j, output in enumerate(self.program.outputs):
            value = values.name(output, f"_{copy}")
            yield f"store({values.types[output]}, ahead(o{j}, o{j}_{copy}), 0, {value})"
