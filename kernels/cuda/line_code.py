"""The text of CUDA kernels for several steps of a one-dimensional stencil in one pass over memory.

A block of threads owns a tile of the line, a few positions for each thread, and does all steps on it: after every step
each thread gives its positions to shared memory, from which its neighbours read. The tile is larger than what it
writes, by the radius for every step and side. Of two buffers one is written while the other is read, so there is one
barrier a step. Fields that no step changes are read once.
"""

from __future__ import annotations

from collections.abc import Iterator

from gpuarray.kernels.cuda.offline import Kernel
from gpuarray.kernels.cuda.positions import FUNCTIONS
from gpuarray.kernels.cuda.scalar_code import choice, indented, kernel_text, moved, scalar_parameters, steps
from gpuarray.kernels.cuda.stencil_code import Modes, constant_edges, kept_widths
from gpuarray.kernels.cuda.sweep_plan import (
    PER_THREAD,
    Tile,
    loaded_fields,
    radius,
    running,
    threads_of,
    wrapped_axes,
    written,
)
from gpuarray.kernels.row import type_name
from gpuarray.kernels.stencils.program import StencilProgram


def line_kernel(stencil: StencilProgram, modes: Modes, count: int, tile: Tile) -> Kernel:
    """A kernel of `count` steps with the parameters of `sweep_code.sweep_kernel`, but for the last two."""
    return _Writer(stencil, modes, count, tile).kernel()


class _Writer:
    """Names: ``x{j}`` the positions of a thread, ``w{field}_{j}`` what stands there, ``m{field}`` both buffers."""

    def __init__(self, stencil: StencilProgram, modes: Modes, count: int, tile: Tile) -> None:
        self.stencil, self.count, self.tile = stencil, count, tile
        self.program = stencil.program
        (self.wraps,), self.modes = wrapped_axes(stencil, modes), running(stencil, modes)
        self.threads = threads_of(tile, 1)
        self.valid = written(stencil, tile, count)[0]
        self.left, self.right = radius(stencil, 0)
        self.pitch = tile[0] + self.left + self.right
        self.kept = kept_widths(stencil, self.modes, 0)
        self.loaded = loaded_fields(stencil)
        self.state = range(stencil.outputs)
        self.types = [type_name(stencil.dtype(f)) for f in range(stencil.fields)]
        self.bools = [stencil.dtype(f).kind == "b" for f in range(stencil.fields)]
        arrays = [i for i, given in enumerate(self.program.inputs) if given.kind == "array"]
        self.taps = dict(zip(arrays, stencil.taps, strict=True))

    def kernel(self) -> Kernel:
        parameters = [(f"o{j}", "uint64") for j in self.state] + [(f"f{f}", "uint64") for f in self.loaded]
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
        parameters += [(name, "int64") for name in ("n0", "lo0", "hi0", "in_lo0", "in_hi0")]
        body = [*made, *self._before()]
        for level in range(1, self.count + 1):
            body += self._step(level)
        body += self._write()
        text = kernel_text(f"{self.count} steps of a 1-D stencil of {len(self.taps)} taps", parameters, body)
        return Kernel(text, tuple(t for _, t in parameters), self.threads, 1)

    def _before(self) -> Iterator[str]:
        for f in self.state:
            yield f"m{f} = cuda.shared.array({2 * self.pitch}, {'np.uint8' if self.bools[f] else self.types[f]})"
        yield "thread = np.int64(cuda.threadIdx.x)"
        yield f"begin = lo0 + np.int64(cuda.blockIdx.x) * {self.valid} - {self.count * self.left}"
        for j in range(PER_THREAD):
            yield f"x{j} = begin + thread + {j * self.threads}"
            yield f"at = {f'wrapped(x{j}, n0)' if self.wraps else f'x{j}'}"
            for f in self.state:
                yield f"w{f}_{j} = {self.types[f]}(0)"
            yield "if (at >= in_lo0) & (at < in_hi0):"
            for f in self.state:
                yield f"    w{f}_{j} = read({self.types[f]}, f{f}, at)"
            if any(self.kept):
                yield f"kept{j} = (x{j} < {self.kept[0]}) | (x{j} >= n0 - {self.kept[1]})"
            for number, tap in enumerate(self.stencil.taps):
                if tap.field not in self.state:
                    yield from self._coefficient(f"g{number}_{j}", tap.field, tap.offset[0], f"x{j}")
        for j in range(PER_THREAD):
            yield f"place{j} = np.uint64(thread + {j * self.threads + self.left})"

    def _mode(self, field: int, d: int) -> str:
        return self.modes[field][0][0 if d < 0 else 1] if d else "none"

    def _constant(self, field: int, d: int, x: str) -> list[tuple[str, str]]:
        if self._mode(field, d) != "constant":
            return []
        return [(f"{x} + {d} < 0", f"c{field}_0_0") if d < 0 else (f"{x} + {d} >= n0", f"c{field}_0_1")]

    def _coefficient(self, name: str, field: int, d: int, x: str) -> Iterator[str]:
        """Read a field that no step changes."""
        yield f"at = {x} + {d}"
        if self.wraps:
            yield "at = wrapped(at, n0)"
        else:
            yield from moved("at", 0, self._mode(field, d), d)
        inside = ("(at >= in_lo0) & (at < in_hi0)", f"read({self.types[field]}, f{field}, at)")
        yield from choice(name, [*self._constant(field, d, x), inside], f"{self.types[field]}(0)")

    def _step(self, level: int) -> Iterator[str]:
        buffer = level % 2 * self.pitch
        for f in self.state:
            for j in range(PER_THREAD):
                value = f"np.uint8(w{f}_{j})" if self.bools[f] else f"w{f}_{j}"
                yield f"m{f}[place{j} + np.uint64({buffer})] = {value}"
        yield "cuda.syncthreads()"
        for j in range(PER_THREAD):
            yield from self._point(level, j, buffer)
        for j in range(PER_THREAD):
            new = [f"w{f}_{j} = new{f}_{j}" for f in self.state]
            if any(self.kept):
                yield f"if not kept{j}:"
                new = indented(new)
            yield from new

    def _point(self, level: int, j: int, buffer: int) -> Iterator[str]:
        taps = {}
        for number, (value, tap) in enumerate(self.taps.items()):
            taps[value] = f"g{number}_{j}"
            if tap.field in self.state:
                yield from self._tap(f"g{number}_{j}", tap.field, tap.offset[0], j, buffer)

        def name(value: int) -> str:
            if value in taps:
                return taps[value]
            return f"v{value}_{level}" if value < len(self.program.inputs) else f"v{value}"

        yield from steps(self.program, name)
        for f, output in zip(self.state, self.program.outputs, strict=True):
            yield f"new{f}_{j} = {name(output)}"

    def _tap(self, name: str, field: int, d: int, j: int, buffer: int) -> Iterator[str]:
        """Read one element of the step before, or what the edges say stands there."""
        if not d:
            yield f"{name} = w{field}_{j}"
            return
        at = f"place{j} {'-' if d < 0 else '+'} np.uint64({abs(d)})"
        mode = self._mode(field, d)
        if mode in FUNCTIONS:
            yield f"at = x{j} + {d}"
            yield from moved("at", 0, mode, d)
            at = f"np.uint64(min(max(at - begin + {self.left}, np.int64(0)), np.int64({self.pitch - 1})))"
        value = f"m{field}[{at} + np.uint64({buffer})]"
        value = f"({value} != np.uint8(0))" if self.bools[field] else value
        yield from choice(name, self._constant(field, d, f"x{j}"), value)

    def _write(self) -> Iterator[str]:
        first, last = self.count * self.left, self.tile[0] - self.count * self.right
        for j in range(PER_THREAD):
            at = f"thread + {j * self.threads}"
            yield f"if ({at} >= {first}) & ({at} < {last}) & (x{j} < hi0):"
            for f in self.state:
                yield f"    store({self.types[f]}, o{f}, x{j}, w{f}_{j})"
