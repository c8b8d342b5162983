"""The text of CUDA kernels for inclusive scans: a *line* is what is scanned, and one thread goes down it.

A thread takes up one element after the other, as the CPU does. It must: a scan that goes on from a carry has the bits
of one scan over all, wherever it is cut, so every value is the one before it and its element, rounded once. What is
done in parallel is the lines, and what memory needs:

    stacked   lines lie side by side: each thread reads and writes its own, neighbours together
    rows      elements of a line lie side by side: a block reads a tile of all its lines, one thread of each line goes
              down it in shared memory, and the block writes it, having asked for the next one

Where the operation is associative to the bit (integers, maxima), `calls.scan` makes many short lines of a long one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpuarray.kernels.cuda.offline import Kernel
from gpuarray.kernels.cuda.scalar_code import indented, kernel_text
from gpuarray.kernels.row import DType, type_name
from gpuarray.kernels.table import ELEMENTWISE

OPERATIONS = {"sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum"}
THREADS = 256
IN_FLIGHT = 8
"""Elements that a thread has asked for before it needs the first."""
LINES = (32, 8, 1)
"""Lines of a block of the kernel for rows."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a kernel depends on."""

    name: str
    source: str
    """The dtype of the elements; they are cast before anything else."""
    dtype: str
    carry: str
    """The dtype of what the lines go on from; empty where they begin with their first element."""
    axes: int
    """Axes of lines, at least 1: the last one varies fastest."""
    total: bool = False
    """Whether only the last value of each line is written."""


def code_of(name: str, dtype: DType) -> str | None:
    """The text of one step, ``{0}`` being the value so far and ``{1}`` the element; None where there is none."""
    text = ELEMENTWISE[OPERATIONS[name]].code_for((dtype, dtype), dtype)
    return None if text is None else f"{type_name(dtype)}({text})"


def is_associative(name: str, dtype: DType) -> bool:
    """Whether elements may be taken together in any order of brackets, for the same bits."""
    return dtype.kind in ("biuf" if name in ("max", "min") else "biu")


def identity(name: str, dtype: DType) -> object:
    """What changes no element, of an associative operation.

    >>> identity("max", np.dtype("float32")), identity("min", np.dtype("uint8"))
    (np.float32(-inf), np.uint8(255))
    """
    if name in ("sum", "prod"):
        return dtype.type(name == "prod")
    if dtype.kind == "b":
        return dtype.type(name == "min")
    if dtype.kind == "f":
        return dtype.type(-np.inf if name == "max" else np.inf)
    limits = np.iinfo(dtype)
    return dtype.type(limits.min if name == "max" else limits.max)


class _Writer:
    """Values: ``p`` source, ``o`` target, ``c`` carry; ``s_p`` the bytes along a line, ``t_p_0`` along axis 0."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self.dtype = np.dtype(scan.dtype)
        self.type, self.source = type_name(self.dtype), np.dtype(scan.source)
        text = code_of(scan.name, self.dtype)
        assert text is not None, f"{scan.name} of {scan.dtype} has no scalar code"
        self.text = text
        self.moving = ["o", "p"] + ["c"] * bool(scan.carry)

    def parameters(self) -> list[tuple[str, str]]:
        found = [(name, "uint64") for name in self.moving]
        found += [(f"s_{name}", "int64") for name in ("o", "p")]
        found += [(f"t_{name}_{a}", "int64") for name in self.moving for a in range(self.scan.axes)]
        return found + [(f"l{a}", "int64") for a in range(1, self.scan.axes)] + [("n", "int64"), ("lines", "int64")]

    def cast(self, value: str, source: DType) -> str:
        text = ELEMENTWISE["cast"].code_for((source,), self.dtype)
        assert text is not None, f"a cast of {source} to {self.dtype} has no scalar code"
        return value if source == self.dtype else f"{self.type}({text.format(value)})"

    def find(self, line: str, names: list[str]) -> Iterator[str]:
        """Where a line begins: ``p_at`` for each of the names."""
        yield f"rest = {line}"
        for a in range(self.scan.axes - 1, 0, -1):
            yield f"next = quotient(rest, l{a})"
            yield f"r{a} = rest - next * l{a}"
            yield "rest = next"
        yield "r0 = rest"
        for name in names:
            yield f"{name}_at = ahead({name}, {' + '.join(f'r{a} * t_{name}_{a}' for a in range(self.scan.axes))})"

    def begin(self) -> Iterator[str]:
        """The value before the first element of the line at ``c_at``."""
        if self.scan.carry:
            carry = np.dtype(self.scan.carry)
            yield f"value = {self.cast(f'load({type_name(carry)}, c_at, 0)', carry)}"
        else:
            yield "begun = False"

    def read(self, at: str) -> str:
        return self.cast(f"load({type_name(self.source)}, ahead(p_at, ({at}) * s_p), 0)", self.source)

    def take(self, elements: list[str]) -> Iterator[str]:
        """Take up elements; ``y0``, ``y1`` ... are the values after each."""
        for k, element in enumerate(elements):
            step = self.text.format("value", element)
            if k == 0 and not self.scan.carry:
                step = f"({step}) if begun else {element}"
            yield f"value = {step}"
            yield f"y{k} = value"
        if not self.scan.carry:
            yield "begun = True"

    def store(self, at: str, value: str) -> str:
        place = "o_at" if self.scan.total else f"ahead(o_at, ({at}) * s_o)"
        return f"store({self.type}, {place}, 0, {value})"


@functools.lru_cache(1024)
def stacked_kernel(scan: Scan) -> Kernel:
    """A kernel ``(places, steps along lines, steps along axes, lengths of axes but the first, n, lines)``.

    Places and steps are those of the target, the source and (none along lines) the carry; `n` elements in a line. The
    target may be the source.
    """
    w = _Writer(scan)
    work = [*w.find("line", w.moving), f"value = {w.type}(0)", *w.begin(), "k = np.int64(0)"]
    for count in (IN_FLIGHT, 1):
        work.append(f"while k + {count} <= n:")
        inner = [f"x{u} = {w.read(f'k + {u}' if u else 'k')}" for u in range(count)]
        inner += w.take([f"x{u}" for u in range(count)])
        if not scan.total:
            inner += [w.store(f"k + {u}" if u else "k", f"y{u}") for u in range(count)]
        work += indented([*inner, f"k += {count}"])
    if scan.total:
        work.append(w.store("", "value"))
    body = [
        "line = np.int64(cuda.blockIdx.x) * np.int64(cuda.blockDim.x) + np.int64(cuda.threadIdx.x)",
        "while line < lines:",
        *indented(work),
        "    line += np.int64(cuda.gridDim.x) * np.int64(cuda.blockDim.x)",
    ]
    return _kernel(w, "stacked", body)


@functools.lru_cache(1024)
def rows_kernel(scan: Scan, lines: int) -> Kernel:
    """A kernel with the parameters of `stacked_kernel`, whose blocks have `lines` lines each."""
    w = _Writer(scan)
    across = THREADS // lines
    columns = across * IN_FLIGHT
    pitch = columns + 1  # so that the threads that go down the lines use different banks
    bools = w.dtype.kind == "b"

    def shared(at: str) -> str:
        return f"(m[{at}] != np.uint8(0))" if bools else f"m[{at}]"

    def put(at: str, value: str) -> str:
        return f"m[{at}] = {f'np.uint8({value})' if bools else value}"

    load: list[str] = []
    for j in range(IN_FLIGHT):
        load += [f"if mine & (k + {j * across} < n):", f"    x{j} = {w.read(f'k + {j * across}' if j else 'k')}"]
    place = [f"own + np.uint32({j * across})" for j in range(IN_FLIGHT)]
    down = ["at = np.uint32(thread) * np.uint32(" + str(pitch) + ")", f"left = min(np.int64({columns}), n - done)"]
    for count in (IN_FLIGHT, 1):
        inner = [f"z{u} = {shared(f'at + np.uint32({u})')}" for u in range(count)]
        inner += w.take([f"z{u}" for u in range(count)])
        inner += [] if scan.total else [put(f"at + np.uint32({u})", f"y{u}") for u in range(count)]
        down += [f"while left >= {count}:", *indented([*inner, f"at = at + np.uint32({count})", f"left -= {count}"])]
    tile = [*(put(at, f"x{j}") for j, at in enumerate(place)), f"k += {columns}", *load, "cuda.syncthreads()"]
    tile += ["if goes:", *indented(down), "cuda.syncthreads()"]
    if not scan.total:
        # a thread reads what it will overwrite itself, so there is no third barrier
        for j, at in enumerate(place):
            column = f"done + column + {j * across}"
            tile += [f"if mine & ({column} < n):", "    " + w.store(column, shared(at))]
    tile.append(f"done += {columns}")
    group = [
        f"line = first + quotient(thread, np.int64({across}))",
        "mine = line < lines",
        f"goes = (thread < {lines}) & (first + thread < lines)",
        f"value = {w.type}(0)",
        *([] if scan.carry else ["begun = False"]),
        "if goes:",
        *indented([*w.find("first + thread", ["c"] * bool(scan.carry) + ["o"] * scan.total), *w.begin()]),
    ]
    group += [*w.find("min(line, lines - 1)", ["p"] if scan.total else ["p", "o"]), "k = column"]
    group += [f"x{j} = {w.type}(0)" for j in range(IN_FLIGHT)]
    group += [*load, "done = np.int64(0)", "while done < n:", *indented(tile)]
    if scan.total:
        group += ["if goes:", "    " + w.store("", "value")]
    body = [
        f"m = cuda.shared.array({lines * pitch}, np.{'uint8' if bools else w.dtype.name})",
        "thread = np.int64(cuda.threadIdx.x)",
        f"column = thread % {across}",
        f"own = np.uint32(quotient(thread, np.int64({across}))) * np.uint32({pitch}) + np.uint32(column)",
        f"first = np.int64(cuda.blockIdx.x) * {lines}",
        *(["o_at = o"] if scan.total else []),
        "while first < lines:",
        *indented(group),
        f"    first += np.int64(cuda.gridDim.x) * {lines}",
    ]
    return _kernel(w, f"rows, {lines} at a time", body)


def _kernel(w: _Writer, form: str, body: list[str]) -> Kernel:
    scan, parameters = w.scan, w.parameters()
    what = f"{'totals of' if scan.total else 'scan:'} {scan.name} of {scan.source} as {scan.dtype}"
    text = kernel_text(f"{what}{' from a carry' if scan.carry else ''}, {form}", parameters, body)
    return Kernel(text, tuple(t for _, t in parameters), THREADS, 2)
