"""What every kind of kernel takes of a multiprocessor: the table that tells when a change makes kernels worse.

``python -m gpuarray.kernels.cuda tests/kernels/cuda_registers.json`` writes it, with no GPU.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from gpuarray.kernels.cuda import (
    elementwise_code,
    merge_code,
    offline,
    reduction_code,
    scan_code,
    stencil_code,
    sweep_code,
)
from gpuarray.kernels.cuda.elementwise_code import Operands
from gpuarray.kernels.cuda.gather_code import gather_kernel
from gpuarray.kernels.cuda.offline import Kernel
from gpuarray.kernels.cuda.reduction_code import Layout
from gpuarray.kernels.cuda.scan_code import Scan
from gpuarray.kernels.program import Builder, Program
from gpuarray.kernels.stencils.program import StencilProgram, Tap

CAPABILITIES = ((7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0))
REDUCTIONS = (
    *(("sum", "float32"), ("sum", "float64"), ("sum", "complex128"), ("sum", "int64"), ("prod", "float64")),
    *(("min", "float64"), ("max", "float32"), ("any", "bool"), ("all", "bool"), ("count_nonzero", "bool")),
    *(("var", "float32"), ("var", "float64"), ("argmin", "float32"), ("argmax", "float64")),
)


def cases() -> dict[str, Callable[[], Kernel]]:
    """The kernels of the table, by name."""
    return dict(itertools.chain(_elementwise(), _stencils(), _reductions(), _scans(), _gathers()))


def arithmetic(dtype: str) -> Program:
    """``(x + y) * s``; of truth values ``x and y``."""
    b = Builder()
    x, y = b.input("array", dtype), b.input("array", dtype)
    if dtype == "bool":
        return b.build(b.step("logical_and", x, y))
    return b.build(b.step("multiply", b.step("add", x, y), b.input("scalar", dtype)))


def function(name: str, dtype: str) -> Program:
    """A function of one array."""
    b = Builder()
    return b.build(b.step(name, b.input("array", dtype)))


def random(name: str) -> Program:
    """Random numbers of consecutive indices."""
    b = Builder()
    return b.build(b.step(name, b.input("scalar", "uint64"), b.input("scalar", "uint64"), b.input("index", "int64")))


def comparison(dtype: str) -> Program:
    """Operands of many bytes, a result of one."""
    b = Builder()
    return b.build(b.step("less", b.input("array", dtype), b.input("array", dtype)))


def _contiguous(program: Program) -> Callable[[], Kernel]:
    return partial(elementwise_code.contiguous_kernel, program, elementwise_code.contiguous(program))


def _elementwise() -> Iterator[tuple[str, Callable[[], Kernel]]]:
    for dtype in (
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "float16",
        "float32",
        "float64",
        "complex64",
        "complex128",
    ):
        yield f"elementwise arithmetic {dtype}", _contiguous(arithmetic(dtype))
    for name, dtype in itertools.product(("exp", "sin", "tanh"), ("float32", "float64")):
        yield f"elementwise {name} {dtype}", _contiguous(function(name, dtype))
    for name in ("random_uniform", "random_normal", "random_normal32"):
        yield f"elementwise {name}", _contiguous(random(name))
    yield "elementwise less float64", _contiguous(comparison("float64"))
    for dtype in ("int8", "float32", "float64", "complex128"):
        program = arithmetic(dtype)
        strided = Operands("ss-")
        yield f"strided arithmetic {dtype}", partial(elementwise_code.strided_kernel, program, strided, 3)
        yield f"squares arithmetic {dtype}", partial(elementwise_code.tiled_kernel, program, strided, 3)


def star(ndim: int, radius: int) -> list[tuple[int, ...]]:
    """The offsets along the axes, the point first."""
    found = [(0,) * ndim]
    for axis, distance in itertools.product(range(ndim), range(1, radius + 1)):
        for sign in (-1, 1):
            found.append(tuple(sign * distance if a == axis else 0 for a in range(ndim)))
    return found


def cube(ndim: int) -> list[tuple[int, ...]]:
    """All neighbours, the point first."""
    return sorted(itertools.product((-1, 0, 1), repeat=ndim), key=lambda o: sum(map(abs, o)))


def relaxation(offsets: list[tuple[int, ...]], dtype: str) -> StencilProgram:
    """``u + c * (sum of the neighbours)``."""
    b = Builder()
    values = [b.input("array", dtype) for _ in offsets]
    total = values[1]
    for value in values[2:]:
        total = b.step("add", total, value)
    result = b.step("add", values[0], b.step("multiply", total, b.input("scalar", dtype)))
    return StencilProgram(b.build(result), tuple(Tap(0, o) for o in offsets), (dtype,), len(offsets[0]))


def _stencils() -> Iterator[tuple[str, Callable[[], Kernel]]]:
    shapes: list[tuple[str, list[tuple[int, ...]]]] = [
        *(("1-D 3 points", star(1, 1)), ("2-D 5 points", star(2, 1)), ("2-D 9 points", cube(2))),
        *(("2-D 17 points", star(2, 4)), ("3-D 7 points", star(3, 1)), ("3-D 27 points", cube(3))),
        *(("3-D 25 points", star(3, 4)), ("4-D 9 points", star(4, 1))),
    ]
    for (name, offsets), dtype in itertools.product(shapes, ("float32", "float64")):
        stencil = relaxation(offsets, dtype)
        yield f"stencil {name} {dtype}", partial(stencil_code.interior_kernel, stencil)
        modes = ((("reflect", "reflect"),) * stencil.ndim,)
        if stencil.ndim in (2, 3) and len(offsets) <= 7:
            yield f"edges {name} {dtype}", partial(stencil_code.edge_kernel, stencil, modes)
    for (name, offsets), dtype in itertools.product(shapes[:6], ("float32", "float64")):
        stencil = relaxation(offsets, dtype)
        fixed = ((("fixed", "fixed"),) * stencil.ndim,)
        for count in {1: (4, 16), 2: (4, 8, 16), 3: (2, 3)}[stencil.ndim]:
            if sweep_code.tile_of(stencil, fixed, count):
                yield f"{count} steps {name} {dtype}", partial(sweep_code.sweep_kernel, stencil, fixed, count)
    name = "4 steps 2-D 5 points, coefficients around the point"
    yield name, partial(sweep_code.sweep_kernel, diffusion(), ((("reflect", "constant"),) * 2,) * 2, 4)


def diffusion() -> StencilProgram:
    """``u + c * sum(a * (neighbour - u))``, `a` being read at the neighbours too."""
    b = Builder()
    offsets = star(2, 1)
    u, a = ([b.input("array", "float64") for _ in offsets] for _ in range(2))
    flows = [b.step("multiply", w, b.step("subtract", v, u[0])) for v, w in zip(u[1:], a[1:], strict=True)]
    total = flows[0]
    for flow in flows[1:]:
        total = b.step("add", total, flow)
    result = b.step("add", u[0], b.step("multiply", b.step("multiply", total, a[0]), b.input("scalar", "float64")))
    taps = tuple(Tap(f, o) for f in (0, 1) for o in offsets)
    return StencilProgram(b.build(result), taps, ("float64", "float64"), 2)


def _reductions() -> Iterator[tuple[str, Callable[[], Kernel]]]:
    for name, dtype in REDUCTIONS:
        b = Builder()
        values = [b.input("array", dtype)] + [b.input("index", "int64")] * name.startswith("arg")
        program = b.build(*values)
        layouts = {"along": Layout(1, 0), "short": Layout(1, 0, lanes=8), "across": Layout(1, 0, across=True)}
        for form, layout in layouts.items():
            yield (
                f"{name} {dtype} {form}",
                partial(reduction_code.fold_kernel, program, name, layout),
            )
        operand = program.dtype_of(program.outputs[0])
        yield f"{name} {dtype} merge", partial(merge_code.merge_kernel, name, operand)
        yield f"{name} {dtype} stack", partial(merge_code.stack_kernel, name, operand)


def _scans() -> Iterator[tuple[str, Callable[[], Kernel]]]:
    for name, dtype in (
        ("sum", "float32"),
        ("sum", "float64"),
        ("prod", "complex128"),
        ("sum", "int64"),
        ("max", "bool"),
    ):
        for axes, carry in ((1, ""), (2, dtype)):
            title = f"scan {name} {dtype}{' from a carry' if carry else ''}"
            scan = Scan(name, dtype, dtype, carry, axes)
            yield f"{title} stacked", partial(scan_code.stacked_kernel, scan)
            yield f"{title} rows 32", partial(scan_code.rows_kernel, scan, 32)
    scan = Scan("max", "float32", "float32", "", 2, total=True)
    yield "scan max float32 totals 1", partial(scan_code.rows_kernel, scan, 1)


def _gathers() -> Iterator[tuple[str, Callable[[], Kernel]]]:
    for nbytes, axes, parts in ((16, 2, 1), (16, 3, 8), (1, 3, 8)):
        yield f"gather {parts} parts, {axes} axes, {nbytes} bytes", partial(gather_kernel, nbytes, axes, parts)


def table(names: list[str] | None = None, tell: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Compile the kernels called `names`, or all, for every capability: [registers, bytes spilled, bytes shared]."""
    found: dict[str, Any] = {}
    for name, make in cases().items():
        if names is None or name in names:
            kernel = make()
            measured = {f"sm_{a}{b}": offline.measure(kernel, (a, b)) for a, b in CAPABILITIES}
            found[name] = {arch: [r.registers, r.spills, r.shared] for arch, r in measured.items()}
            tell(f"{name:32}" + "".join(f"{r.registers:5}{'!' * (r.spills > 0)}" for r in measured.values()))
    return found


def versions() -> dict[str, str]:
    """What the table depends on."""
    from importlib.metadata import version

    return {name: version(name) for name in ("numba-cuda", "numba", "llvmlite")} | {"ptxas": offline.ptxas_version()}
