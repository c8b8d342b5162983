"""CUDA kernels run by Numba's simulator on small arrays, against the interpreter: the same bits.

The simulator replaces Numba's CUDA for a whole process, so the checks run in one process of their own: this file,
executed as a script. Each `check_...` is a test.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.program import Affine, Builder, Program
from gpuarray.kernels.stencils.program import MODES, Edge, StencilProgram, Tap

DTYPES = ["bool", "int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"]
FLOATS = ["float32", "float64", "complex64", "complex128"]


def aligned(shape: tuple[int, ...], dtype: Any, shift: int = 0) -> np.ndarray:
    """An array that begins `shift` elements after a multiple of 64 bytes, and owns nothing beyond its end."""
    size = int(np.prod(shape))
    dtype = np.dtype(dtype)
    raw = np.zeros((size + shift) * dtype.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    memory = raw[start : start + (size + shift) * dtype.itemsize]
    return memory.view(dtype)[shift:].reshape(shape)


def place(array: np.ndarray, offset: int = 0) -> Any:
    """Where element 0 of an array of `aligned` lies; only the array's own memory may be touched."""
    from gpuarray.kernels.cuda.simulated import Memory

    low, high = np.lib.array_utils.byte_bounds(array)
    memory = np.frombuffer((ctypes.c_uint8 * (high - low)).from_address(low), np.uint8)
    return Memory(memory, array.ctypes.data - low + offset)


def sample(shape: tuple[int, ...], dtype: Any, seed: int = 0, shift: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = aligned(shape, dtype, shift)
    values = rng.normal(size=shape) * 20
    if out.dtype.kind == "c":
        out[...] = values + 1j * rng.normal(size=shape)
    else:
        out[...] = rng.integers(0, 100, shape) if out.dtype.kind in "bu" else values
        if out.dtype.kind == "f" and out.size > 4:
            out.reshape(-1)[1:4] = np.nan, np.inf, -0.0
    return out


def same(found: np.ndarray, expected: np.ndarray, what: str = "") -> None:
    assert found.dtype == expected.dtype, (what, found.dtype, expected.dtype)
    assert found.shape == expected.shape, (what, found.shape, expected.shape)
    if found.dtype.kind in "fc":  # any NaN is as good as another
        found, expected = found.copy(), expected.copy()
        for array in (found, expected):
            parts = array.view(array.real.dtype) if array.ndim else array.reshape(1).view(array.real.dtype)
            parts[np.isnan(parts)] = np.nan
    if found.tobytes() != expected.tobytes():
        at = np.argwhere(~((found == expected) | ((found != found) & (expected != expected))))[:5]
        raise AssertionError(f"{what}: differ at {at.tolist()}: {found[tuple(at[0])]} {expected[tuple(at[0])]}")


def number(value: Any, dtype: Any) -> list[Any]:
    """A scalar as the parameters of a kernel."""
    from gpuarray.kernels.cuda.calls import scalar_arguments

    return scalar_arguments(value, np.dtype(dtype))


def run(kernel: Any, blocks: tuple[int, ...], threads: tuple[int, ...], *arguments: Any) -> None:
    from gpuarray.kernels.cuda import simulated

    assert len(kernel.parameters) == len(arguments), (kernel.parameters, arguments)
    given = [
        a if t == "uint64" and not np.isscalar(a) else np.dtype(t).type(a)
        for t, a in zip(kernel.parameters, arguments, strict=True)
    ]
    simulated.launch(kernel.source, blocks, threads, *given)


def perform(call: Any, blocks: tuple[int, ...] | None = None, threads: tuple[int, ...] | None = None) -> None:
    """Run a launch; with fewer blocks and threads where the kernel strides over the grid."""
    from gpuarray.kernels.cuda import simulated

    kernel = call.kernel
    simulated.launch(kernel.source, blocks or call.blocks, threads or call.threads, *call.arguments)


def begins_aligned(array: np.ndarray) -> bool:
    return array.ctypes.data % 16 == 0


# Elementwise


def arithmetic(dtype: str) -> tuple[Program, bool]:
    b = Builder()
    x, y = b.input("array", dtype), b.input("array", dtype)
    if dtype == "bool":
        return b.build(b.step("logical_xor", x, b.step("add", x, y))), False
    s = b.input("scalar", dtype)
    return b.build(b.step("add", b.step("multiply", x, s), b.step("subtract", y, x))), True


def check_contiguous_arithmetic() -> None:
    from gpuarray.kernels.cuda import elementwise_code

    for dtype in DTYPES + FLOATS:
        program, scalar = arithmetic(dtype)
        for n, threads, blocks in ((0, 8, 1), (1, 8, 1), (37, 8, 1), (1043, 16, 2)):
            x, y, out = sample((n,), dtype), sample((n,), dtype, 1), aligned((n,), dtype)
            value = np.dtype(dtype).type(3)
            arguments = number(value, dtype) if scalar else []
            kernel = elementwise_code.contiguous_kernel(program, elementwise_code.contiguous(program))
            run(kernel, (blocks,), (threads,), place(out), place(x), place(y), *arguments, n)
            same(out, program.interpret(np, x, y, *([value] if scalar else []))[0], dtype)


def check_unaligned_and_in_place() -> None:
    from gpuarray.kernels.cuda import elementwise_code
    from gpuarray.kernels.cuda.elementwise_code import Operands

    for dtype in ("int8", "float64"):
        program, _ = arithmetic(dtype)
        x, y = sample((331,), dtype, shift=1), sample((331,), dtype, 1, shift=3)
        value = np.dtype(dtype).type(3)
        expected = program.interpret(np, x, y, value)[0]
        out = aligned((331,), dtype, shift=1)
        kernel = elementwise_code.contiguous_kernel(program, Operands("uu-"), aligned=False)
        run(kernel, (2,), (16,), place(out), place(x), place(y), value, 331)
        same(out, expected, dtype)
        x = sample((331,), dtype)
        expected = program.interpret(np, x, y, value)[0]
        y = aligned((331,), dtype)
        y[:] = sample((331,), dtype, 1, shift=3)
        kernel = elementwise_code.contiguous_kernel(program, Operands("uu-", coherent=True))
        run(kernel, (2,), (16,), place(x), place(x), place(y), value, 331)
        same(x, expected, dtype)


def check_one_element_for_all() -> None:
    from gpuarray.kernels.cuda import elementwise_code
    from gpuarray.kernels.cuda.elementwise_code import Operands

    b = Builder()
    x, y, k = b.input("array", "float32"), b.input("array", "bool"), b.input("index", "int64")
    program = b.build(b.step("where", y, b.step("add", x, k), k), b.step("less", k, x))
    x, y = sample((1,), "float32", 5), aligned((100,), "bool")
    y[::3] = True
    first, second = aligned((100,), "float64"), aligned((100,), "bool")
    kernel = elementwise_code.contiguous_kernel(program, Operands("cuu"))
    run(kernel, (1,), (16,), place(first), place(second), place(x), place(y), -50, 2, 100)
    expected = program.interpret(np, x, y, np.arange(100) * 2 - 50)
    same(first, expected[0])
    same(second, expected[1])


def check_strided() -> None:
    from gpuarray.kernels.cuda import elementwise_code
    from gpuarray.kernels.cuda.elementwise_code import Operands

    for dtype, wide in itertools.product(("float64", "int16", "complex64", "bool"), (False, True)):
        program, scalar = arithmetic(dtype)
        x = sample((7, 5, 4), dtype).transpose(1, 2, 0)
        y = sample((5, 9, 7), dtype, 1)[::-1, ::2][:, :4]
        base = aligned((5, 4, 14), dtype)
        out = base[:, :, ::2]
        value = np.dtype(dtype).type(3)
        kernel = elementwise_code.strided_kernel(program, Operands("ss-" if scalar else "ss"), 3, wide)
        places = [place(a) for a in (out, x, y)]
        moves = [s for a in (out, x, y) for s in a.strides]
        scalars = number(value, dtype) if scalar else []
        run(kernel, (2,), (16,), *places, *moves, *scalars, 4, 7, 140)
        same(np.ascontiguousarray(out), program.interpret(np, x, y, *([value] if scalar else []))[0], dtype)


def check_layouts() -> None:
    """What `calls.elementwise` chooses for arrays of all kinds."""
    from gpuarray.kernels.cuda import calls

    program, _ = arithmetic("float64")
    flat, cube = sample((3 * 36 * 70,), "float64"), (3, 36, 70)
    layouts: list[tuple[str, Any]] = [
        ("contiguous", flat.reshape(cube)),
        ("contiguous", np.broadcast_to(sample((1,), "float64"), cube)),
        ("squares", sample((3, 70, 36), "float64").transpose(0, 2, 1)),
        ("strided", sample((70, 36, 3), "float64").transpose(2, 1, 0)),
        ("strided", np.broadcast_to(sample((70,), "float64"), cube)),
        ("strided", sample((3, 36, 140), "float64")[:, ::-1, ::-2]),
    ]
    for (first, x), (second, y) in itertools.product(layouts[:5:2], layouts):
        out = aligned(cube, "float64")
        call = calls.elementwise(program, [x, y, 3.0], [out], place, begins_aligned)
        assert call is not None
        title = call.kernel.source.splitlines()[0]
        kind = (
            "contiguous"
            if {first, second} == {"contiguous"}
            else "squares"
            if "squares" in (first, second)
            else "strided"
        )
        assert kind in title, (title, first, second)
        perform(call, (2,), call.threads if call.threads[1] > 1 else (32,))
        same(out, program.interpret(np, x, y, 3.0)[0], title)
    for shape in ((), (1,), (0, 4), (5, 1)):
        x, out = sample(shape, "float64"), aligned(shape, "float64")
        call = calls.elementwise(program, [x, x, 3.0], [out], place, begins_aligned)
        if call is None:
            assert 0 in shape
        else:
            perform(call, (2,), (8,))
            same(out, np.asarray(program.interpret(np, x, x, 3.0)[0]), str(shape))
    x, y, out = (sample((42,), "float64", k, shift=1)[::-1] for k in range(3))  # aligned where they begin alone
    call = calls.elementwise(program, [x, y, 3.0], [out], place, begins_aligned)
    assert begins_aligned(out)
    perform(call, (2,), (8,))
    same(np.ascontiguousarray(out), program.interpret(np, x, y, 3.0)[0])
    x, y, out = sample((40, 60), "float64"), sample((60,), "float64", 1), aligned((40, 60), "float64")[::-1, ::-1]
    call = calls.elementwise(program, [x, y, 3.0], [out], place, begins_aligned)
    perform(call, (2,), (32,))
    same(np.ascontiguousarray(out), program.interpret(np, x, y, 3.0)[0])


def check_random_numbers() -> None:
    from gpuarray.kernels import philox
    from gpuarray.kernels.cuda import elementwise_code

    for name, dtype in philox.OPERATIONS:
        b = Builder()
        single = dtype == "float32"
        inputs = [b.input("scalar", "uint64"), b.input("scalar", "uint64"), b.input("index", "int64")]
        extra = [np.int64(-500), np.uint64(1000)] if name == "random_integers" else []
        inputs += [b.input("scalar", e.dtype) for e in extra]
        program = b.build(b.step(name + ("32" if single else ""), *inputs))
        out = aligned((50,), dtype)
        kernel = elementwise_code.contiguous_kernel(program, elementwise_code.contiguous(program))
        key, stream = 2**64 - 7, 2**63 + 5
        run(kernel, (1,), (8,), place(out), 2**40 + 1, 3, key, stream, *extra, 50)
        index = 2**40 + 1 + 3 * np.arange(50)
        same(out, philox.interpret(name, dtype, key, stream, index, *(int(e) for e in extra)), name)
        strided = elementwise_code.strided_kernel(program, elementwise_code.contiguous(program), 2)
        run(
            strided,
            (1,),
            (8,),
            place(out),
            2**40 + 1,
            5 * out.itemsize,
            out.itemsize,
            15,
            3,
            key,
            stream,
            *extra,
            5,
            50,
        )
        same(out, philox.interpret(name, dtype, key, stream, index, *(int(e) for e in extra)), name)


def check_rows_of_arithmetic() -> None:
    """What is exact, for every dtype: the bits of NumPy, special values and zero divisors among the operands."""
    from gpuarray.kernels.cuda import elementwise_code
    from gpuarray.kernels.table import ELEMENTWISE

    binary = (
        "add subtract multiply divide floor_divide remainder fmod maximum minimum fmax fmin equal less greater_equal"
    )
    binary += " bitwise_and left_shift right_shift gcd lcm logical_or copysign nextafter heaviside"
    unary = "negative absolute square reciprocal sign floor ceil trunc rint invert logical_not conjugate isnan isinf"
    unary += " isfinite signbit sqrt bitwise_count"
    for name, dtype in itertools.product(f"{binary} {unary}".split(), DTYPES + FLOATS):
        row = ELEMENTWISE[name]
        b = Builder()
        try:
            program = b.build(b.step(name, *(b.input("array", dtype) for _ in range(row.nin))))
        except TypeError:
            continue
        if any(program.dtype_of(k) == np.float16 for k in range(len(program.inputs) + len(program.steps))):
            continue
        if program.missing_code() or (name == "sqrt" and dtype.startswith("complex")):
            continue
        if name == "sign" and dtype not in FLOATS:
            continue  # NumPy's truth values cannot be subtracted, Numba's can
        operands = [sample((40,), dtype, k) for k in range(row.nin)]
        if operands[-1].dtype.kind != "c":
            operands[-1][::7] = 0
            operands[-1][::9] = 1
        if dtype.startswith("complex") and name in ("absolute", "divide", "multiply", "reciprocal", "square"):
            continue  # NumPy contracts their arithmetic to fma on some processors
        memory = [aligned((40,), dtype) for _ in operands]
        for m, o in zip(memory, operands, strict=True):
            m[:] = o
        out = aligned((40,), program.dtype_of(program.outputs[0]))
        kernel = elementwise_code.contiguous_kernel(program, elementwise_code.contiguous(program))
        run(kernel, (1,), (5,), place(out), *map(place, memory), 40)
        same(out, program.interpret(np, *memory)[0], f"{name} {dtype}")


def check_half_precision() -> None:
    """NumPy's bits: each operation rounds once. Integers below 16 bits become half precision in NumPy's functions."""
    from gpuarray.kernels.cuda import calls

    def compare(program: Program, *operands: Any) -> None:
        expected = program.interpret(np, *operands)
        outputs = [aligned(operands[0].shape, e.dtype) for e in expected]
        call = calls.elementwise(program, list(operands), outputs, place, begins_aligned)
        assert call is not None
        perform(call, (1,), (8,))
        for found, e in zip(outputs, expected, strict=True):
            same(found, e, program.steps[0].op)

    x, y = finite((101,), "float16"), finite((101,), "float16", 1)
    x[::9], y[::7] = 0, np.inf
    for name in ("add", "multiply", "divide", "remainder", "floor_divide", "maximum", "copysign", "less"):
        b = Builder()
        compare(b.build(b.step(name, b.input("array", "float16"), b.input("array", "float16"))), x, y)
    b = Builder()
    u, s = b.input("array", "float16"), b.input("scalar", "float16")
    total = b.step("subtract", b.step("multiply", u, s), s)
    compare(b.build(total, b.cast(total, "float64"), b.cast(total, "bool"), b.step("isnan", u)), x, np.float16(0.1))
    b = Builder()
    i = b.input("array", "int8")
    compare(b.build(b.step("sqrt", i), b.cast(b.cast(i, "float64"), "float16")), np.abs(finite((50,), "int8")))
    sums = b.build(b.cast(i, "float16"))
    launches, (found,) = calls.reduce(sums, "sum", [finite((60,), "int8")], (60,), ((0, 60),), place, new)
    perform_all(launches)
    assert found[0] == finite((60,), "int8").sum(dtype="float64")


# Stencils


def stencil(offsets: list[tuple[int, ...]], dtype: str, fields: int = 1) -> StencilProgram:
    """A weighted sum of the taps, in an order that no rearrangement could give; the last field is a coefficient."""
    b = Builder()
    taps = [Tap(f, o) for f in range(fields) for o in offsets]
    values = [b.input("array", dtype) for _ in taps]
    weight = b.input("scalar", dtype)
    outputs = []
    for state in range(max(1, fields - 1)):
        total = values[state]
        for v in values:
            if dtype == "bool":
                total = b.step("logical_xor", total, v)
            else:
                total = b.step("subtract", v, b.step("multiply", total, weight))
        outputs.append(total)
    return StencilProgram(b.build(*outputs), tuple(taps), (dtype,) * fields, len(offsets[0]))


def star(ndim: int, radius: int) -> list[tuple[int, ...]]:
    unit = np.eye(ndim, dtype=int)
    found = [tuple(s * unit[a]) for a in range(ndim) for s in range(-radius, radius + 1) if s]
    return [(0,) * ndim, *[tuple(map(int, f)) for f in found]]


def stepped(
    s: StencilProgram, edges: Any, fields: list[np.ndarray], weight: Any, box: Any, origins: Any
) -> list[np.ndarray]:
    """One step at every point of the box, tap by tap, with NumPy."""
    from gpuarray.kernels.stencils.boxes import source
    from gpuarray.kernels.stencils.program import kept_border

    domain = edges[1]
    at = np.meshgrid(*[np.arange(r.start, r.stop) for r in box], indexing="ij", sparse=False)
    taps = []
    for tap in s.taps:
        index, constant = [], np.full(at[0].shape, None, object)
        for a in range(s.ndim):
            first, last = edges[0][tap.field][a]
            n = domain[a]
            line = []
            for p in range(box[a].start + tap.offset[a], box[a].stop + tap.offset[a]):
                edge = first if p < 0 else last
                line.append(p if 0 <= p < n or edges[2][a] else source(p, n, edge))
            chosen = np.array([0 if q is None else q for q in line])
            shape = [1] * s.ndim
            shape[a] = -1
            index.append(chosen.reshape(shape) - origins[tap.field][a])
            for k, q in enumerate(line):
                if q is None:
                    where: list[Any] = [slice(None)] * s.ndim
                    where[a] = k
                    p = box[a].start + tap.offset[a] + k
                    constant[tuple(where)] = (first if p < 0 else last).value
        limits = fields[tap.field].shape
        index = [np.clip(i, 0, n - 1) for i, n in zip(index, limits, strict=True)]
        value = fields[tap.field][tuple(np.broadcast_arrays(*index))].copy()
        given = constant != np.array(None)
        value[given] = constant[given].astype(value.dtype)
        taps.append(value)
    results = list(s.program.interpret(np, *taps, weight))
    kept = np.zeros(at[0].shape, bool)
    for a in range(s.ndim):
        if not edges[2][a]:
            low, high = kept_border(s, edges[0], a)
            kept |= (at[a] < low) | (at[a] >= domain[a] - high)
    for j, r in enumerate(results):
        here = fields[j][tuple(p - o for p, o in zip(at, origins[j], strict=True))]
        r[kept] = here[kept]
    return results


def sweep_of(s: StencilProgram, edges: Any, domain: tuple[int, ...], extended: tuple[bool, ...]) -> Any:
    from gpuarray.kernels.cuda.calls import Sweep

    return Sweep(s, edges, extended, domain, place, lambda array, nbytes: array.ctypes.data % nbytes)


def one_step(
    s: StencilProgram, edges: Any, fields: Any, origins: Any, weight: Any, domain: Any, box: Any, extended: Any
) -> list[np.ndarray]:
    """By `interior_kernel` where it can, by `edge_kernel` around it."""
    outputs = [aligned(tuple(len(r) for r in box), s.program.dtype_of(o)) for o in s.program.outputs]
    low = tuple(r.start for r in box)
    sweep = sweep_of(s, edges, domain, extended)
    arrays = list(zip(fields, origins, strict=True))
    for call in sweep.step(arrays, [(o, low) for o in outputs], box, [weight], (4, 2 if s.ndim > 1 else 1, 1)):
        if "edges" in call.kernel.source.split("\n")[0]:
            perform(call, (2,), (8,))
        else:
            perform(call)
    return outputs


def compare_step(
    s: StencilProgram, domain: tuple[int, ...], first: str, last: str, pad: int = 0, seed: int = 0
) -> None:
    dtype = s.dtypes[0]
    edges = tuple(tuple((Edge(first, 1 + a), Edge(last, 7 + f)) for a in range(s.ndim)) for f in range(s.fields))  # type: ignore[arg-type]
    fields = [sample((*domain[:-1], domain[-1] + pad), dtype, seed + f)[..., : domain[-1]] for f in range(s.fields)]
    origins = [(0,) * s.ndim] * s.fields
    box = tuple(range(n) for n in domain)
    weight = np.dtype(dtype).type(1 if dtype == "bool" else 2)
    extended = (False,) * s.ndim
    found = one_step(s, edges, fields, origins, weight, domain, box, extended)
    expected = stepped(s, (edges, domain, extended), fields, weight, box, origins)
    for f, e in zip(found, expected, strict=True):
        same(f, e, f"{first} {last} {domain} {dtype}")


def check_stencil_edges() -> None:
    for mode in MODES:
        compare_step(stencil(star(2, 1), "float64"), (9, 12), mode, mode)
        compare_step(stencil([(-2, -1), (1, 2), (0, 0)], "float32"), (6, 16), mode, mode)
    for first, last in itertools.permutations([m for m in MODES if m != "periodic"], 2):
        compare_step(stencil([(-2, -1), (1, 2), (0, 0), (0, -1)], "int32"), (6, 11), first, last)


def check_stencil_dimensions() -> None:
    compare_step(stencil(star(1, 2), "float64"), (23,), "nearest", "constant")
    compare_step(stencil(star(3, 1), "float64"), (5, 6, 12), "fixed", "fixed")
    compare_step(stencil(list(itertools.product((-1, 0, 1), repeat=3)), "float32"), (5, 5, 12), "periodic", "periodic")
    compare_step(stencil(star(4, 1), "float64"), (3, 4, 4, 6), "reflect", "symmetric")


def check_stencil_dtypes() -> None:
    for dtype in DTYPES + FLOATS:
        compare_step(stencil(star(2, 1), dtype), (6, 24), "constant", "nearest")


def check_stencil_of_several_fields() -> None:
    compare_step(stencil([(0, 0), (0, 1), (-1, 0)], "float64", 3), (8, 14), "constant", "symmetric")
    compare_step(stencil([(0, 0), (0, 1), (-1, 0)], "float64", 3), (8, 14), "fixed", "constant")


def check_stencil_of_awkward_sizes() -> None:
    for shape, pad in (((1, 1), 0), ((2, 3), 1), ((3, 2), 0), ((7, 13), 0), ((7, 13), 3), ((4, 40), 0)):
        for mode in ("reflect", "periodic", "fixed"):
            compare_step(stencil(star(2, 1), "float64"), shape, mode, mode, pad)


def check_stencil_of_a_part() -> None:
    """A box in the middle, fields that begin elsewhere, and an extended periodic axis."""
    s = stencil(star(2, 1), "float64")
    edges = (((Edge("periodic"),) * 2, (Edge("fixed"),) * 2),)
    field = sample((8, 20), "float64")
    box = (range(-1, 5), range(3, 17))
    found = one_step(s, edges, [field], [(-2, 0)], np.float64(2), (30, 40), box, (True, False))
    expected = stepped(s, (edges, (30, 40), (True, False)), [field], np.float64(2), box, [(-2, 0)])
    same(found[0], expected[0])


# Reductions


def perform_all(launches: list[Any], threads: int = 32) -> None:
    """With one block of few threads, where a kernel strides over the grid."""
    for call in launches:
        perform(call, (1,), call.threads if call.threads[1] > 1 else (threads,))


def new(n: int, dtype: Any) -> np.ndarray:
    """`calls.Empty`."""
    return aligned((n,), dtype)


def compare_reduction(
    program: Program, reduction: str, operands: list[Any], shape: tuple[int, ...], axes: Any, *cuts: Any
) -> None:
    """The bits of the compiled CPU kernels; `axes` are reduced whole, or `cuts` given by axis."""
    from gpuarray.kernels import reduce
    from gpuarray.kernels.cuda import calls

    assert calls.reducible(program, reduction) == ""
    grid = cuts or tuple((0, n) if a in axes else None for a, n in enumerate(shape))
    launches, found = calls.reduce(program, reduction, operands, shape, grid, place, new)
    perform_all(launches)
    expected = reduce.run(program, reduction, operands, shape, grid)
    for f, e in zip(found, expected, strict=True):
        same(np.ascontiguousarray(f), e, f"{reduction} {shape} {grid}")


def identity(dtype: str) -> Program:
    b = Builder()
    return b.build(b.input("array", dtype))


def finite(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    out = sample(shape, dtype, seed)
    if out.dtype.kind == "f":
        out[~np.isfinite(out)] = 0.5
    return out


def check_sums_have_the_bits_of_the_cpu() -> None:
    for n in (1, 7, 15, 16, 50, 127, 128, 1000, 4096, 4097, 9000):
        compare_reduction(identity("float64"), "sum", [finite((n,), "float64")], (n,), (0,))
    for dtype in ("float32", "complex64", "int64", "uint64"):
        compare_reduction(identity(dtype), "sum", [finite((5000,), dtype)], (5000,), (0,))
    compare_reduction(identity("float64"), "prod", [finite((300,), "float64")], (300,), (0,))


def check_many_short_segments() -> None:
    for n, cells in ((1, 33), (5, 40), (16, 9), (60, 5), (200, 3)):
        compare_reduction(identity("float64"), "sum", [finite((cells, n), "float64")], (cells, n), (1,))
        compare_reduction(identity("float32"), "max", [sample((cells, n), "float32")], (cells, n), (1,))


def check_reductions_across() -> None:
    for n in (1, 5, 60, 200):
        x = finite((n, 45), "float64")
        compare_reduction(identity("float64"), "sum", [x], (n, 45), (0,))
        compare_reduction(identity("float64"), "var", [x], (n, 45), (0,))
    x = finite((4100, 9), "float32")
    compare_reduction(identity("float32"), "sum", [x], (4100, 9), (0,))
    x = finite((3, 140, 9), "float32")
    compare_reduction(identity("float32"), "sum", [x], (3, 140, 9), (1,))


def check_every_reduction() -> None:
    for name in ("min", "max", "fmin", "fmax"):
        for dtype in ("float32", "int8", "bool", "complex64"):
            compare_reduction(identity(dtype), name, [sample((140,), dtype)], (140,), (0,))
    x = aligned((2, 130), "bool")
    x[0, 77] = x[1] = True
    for name in ("any", "all", "count_nonzero"):
        compare_reduction(identity("bool"), name, [x], (2, 130), (1,))
    compare_reduction(identity("bool"), "any", [x.reshape(26, 10)], (26, 10), (0,))
    for dtype, n in (("float32", 3), ("float64", 40), ("float64", 700)):
        compare_reduction(identity(dtype), "var", [finite((2, n), dtype)], (2, n), (1,))


def check_positions() -> None:
    b = Builder()
    program = b.build(b.input("array", "float64"), b.input("index", "int64"))
    for n in (5, 100, 4500):
        x = aligned((n,), "float64")
        x[:] = np.round(finite((n,), "float64"))
        for name in ("argmin", "argmax"):
            compare_reduction(program, name, [x, Affine(0, (1,))], (n,), (0,))
            if n == 100:
                x[41] = np.nan
                compare_reduction(program, name, [x, Affine(0, (1,))], (n,), (0,))


def check_reductions_of_programs() -> None:
    """A program before the reduction, a mask, broadcast operands, and several axes of which not all are reduced."""
    b = Builder()
    x, y, s = b.input("array", "float64"), b.input("array", "float64"), b.input("scalar", "float64")
    value = b.step("multiply", b.step("subtract", x, y), s)
    program = b.build(value, b.step("greater", x, y))
    for shape, axes in (((4, 2, 30), (0, 2)), ((3, 5, 33), (1,)), ((1, 70, 65), (1, 2))):
        operands = [finite(shape, "float64"), finite(shape[-1:], "float64", 1), 0.1]
        for name in ("sum", "var"):
            compare_reduction(program, name, operands, shape, axes)
    z = finite((70, 65, 1), "float64").transpose(2, 1, 0)
    compare_reduction(program, "sum", [z, finite((1,), "float64"), 0.1], z.shape, (1, 2))
    z = finite((9, 2, 70), "float64").transpose(2, 1, 0)
    compare_reduction(program, "sum", [z, finite((1,), "float64"), 0.1], z.shape, (0, 2))


def check_random_numbers_are_reduced_where_they_are_drawn() -> None:
    """Along and across, whole and in cells: programs over indices read no memory."""
    b = Builder()
    key, stream, index = b.input("scalar", "uint64"), b.input("scalar", "uint64"), b.input("index", "int64")
    drawn = b.step("random_uniform", key, stream, index)
    program = b.build(b.step("multiply", drawn, drawn))
    operands = [2**64 - 7, 2**63 + 5]
    compare_reduction(program, "sum", [*operands, Affine(2**40 + 1, (1,))], (140,), (0,))
    compare_reduction(program, "sum", [*operands, Affine(3, (9, 1))], (4, 9), (), (0, 3, 4), None)
    b = Builder()
    key, stream, index = b.input("scalar", "uint64"), b.input("scalar", "uint64"), b.input("index", "int64")
    x = b.input("array", "float64")
    normal = b.build(b.step("add", x, b.step("random_normal", key, stream, index)))
    compare_reduction(normal, "var", [*operands, Affine(3, (9, 1)), finite((6, 9), "float64")], (6, 9), (0,))


def check_grids_of_cells() -> None:
    """Cells of several lengths along several axes, cells without elements, regions without any."""
    b = Builder()
    x, y = b.input("array", "float64"), b.input("array", "float64")
    program = b.build(b.step("multiply", x, y), b.step("less", x, y))
    operands = [finite((5, 40), "float64"), finite((40,), "float64", 1)]
    for name in ("sum", "var"):
        compare_reduction(program, name, operands, (5, 40), (), (0, 2, 4, 5), (0, 18, 18, 36, 40))
    compare_reduction(program, "max", operands, (5, 40), (), None, (0, 20, 40))
    turned = [finite((40, 5), "float64").T, operands[1]]
    compare_reduction(program, "sum", turned, (5, 40), (), (0, 3, 5), None)
    index = Affine(7, (40, 1))
    b = Builder()
    program = b.build(b.input("array", "float64"), b.input("index", "int64"))
    compare_reduction(program, "argmax", [np.round(operands[0]), index], (5, 40), (), (0, 3, 5), (0, 25, 40))
    for name in ("sum", "prod", "any"):
        kind = "bool" if name == "any" else "float64"
        for shape, cuts in (((0, 4), ((0, 0), None)), ((0, 4), ((0,), None)), ((3, 0), (None, (0, 0, 0)))):
            compare_reduction(identity(kind), name, [aligned(shape, kind)], shape, (), *cuts)


def check_combining() -> None:
    """The tree of the interpreter, for merged axes first, last, in the middle and apart, and for none at all."""
    from gpuarray.kernels import interpreter
    from gpuarray.kernels.cuda import calls

    def compare(name: str, states: list[np.ndarray], axes: tuple[int, ...], **parameters: Any) -> None:
        launches, found = calls.combine(name, states, axes, place, new, **parameters)
        perform_all(launches)
        expected = interpreter.combine(np, name, states, axes, **parameters)
        same(np.ascontiguousarray(found), np.ascontiguousarray(expected), f"{name} {states[0].shape} {axes}")

    for shape, axes in (((45,), (0,)), ((3, 9, 2), (1,)), ((17, 5), (0,)), ((3, 2, 5), (0, 2)), ((2, 3, 4), (0, 1))):
        compare("sum", [finite(shape, "float64")], axes)
    compare("sum", [finite((9, 6), "complex128").T], (0,))
    compare("any", [sample((9, 3), "bool")], (0,))
    compare("prod", [finite((0, 3), "float64")], (0,))
    compare("sum", [finite((0, 3), "float64")], (1,))
    compare("max", [finite((1, 3), "float32")], (0,))
    for shape in ((11, 3), (2, 0)):
        counts = aligned(shape, "int64")
        counts[...] = np.arange(counts.size).reshape(shape) % 4
        states = [counts, finite(shape, "float64", 1), np.abs(finite(shape, "float64", 2))]
        compare("var", states, (0 if shape[1] else 1,), correction=1.5)
    at = aligned((4, 5), "int64")
    at[...] = np.random.default_rng(0).permutation(20).reshape(4, 5)
    at[1, 2] = -1
    compare("argmin", [np.round(finite((4, 5), "float64") / 9), at], (1,))
    with pytest.raises(ValueError, match="no identity"):
        calls.combine("max", [aligned((2, 0), "float64")], (1,), place, new)


# Parts of several arrays


def check_gathering() -> None:
    """One array put together from parts of others, in words as large as places and steps allow."""
    from gpuarray.kernels.cuda import calls

    def phase(array: np.ndarray, nbytes: int) -> int:
        return int(array.ctypes.data % nbytes)

    for dtype, words in (("float64", {8, 16}), ("int8", {1, 2}), ("complex128", {16}), ("S3", {1}), ("U1", {4})):
        parts = [aligned((9, 14), dtype, shift=k % 2 * 2) for k in range(11)]
        for k, part in enumerate(parts):
            part[...] = (np.arange(126) + k).reshape(9, 14).astype(dtype)
        regions = [(p[: 9 - k % 2], 2 + k, 14 * k) for k, p in enumerate(parts[:3])]
        regions += [(parts[3][3:5, ::-1], 14, 7), (parts[4][:0], 0, 0), (parts[4][:1, :1], 0, 3)]
        regions += [(p.T[4:9:2, ::3], 18, 3 * k) for k, p in enumerate(parts[:10])]
        out, expected = aligned((22, 42), dtype), aligned((22, 42), dtype)
        pairs = []
        for source, row, column in regions:
            region = slice(row, row + source.shape[0]), slice(column, column + source.shape[1])
            pairs.append((source, out[region]))
            expected[region] = source
        launches = calls.gather(pairs, place, phase)
        assert {int(c.kernel.source.split("words of ")[1].split()[0]) for c in launches} >= words, dtype
        assert len(launches) < len(pairs)
        for call in launches:
            perform(call, (1, call.blocks[1]), (8,))
        assert out.tobytes() == expected.tobytes(), dtype
    with pytest.raises(ValueError, match="does not fit"):
        calls.gather([(parts[0], parts[1][1:])], place, phase)
    assert calls.gather([], place, phase) == []


# Scans


@contextlib.contextmanager
def small_scans(**values: int) -> Any:
    """Blocks of few threads, and lines cut early."""
    from gpuarray.kernels.cuda import scan_calls, scan_code

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan_code, "THREADS", 32)
        for name, value in values.items():
            patch.setattr(scan_calls, name, value)
        yield


def compare_scan(name: str, array: np.ndarray, axis: int, dtype: Any, carry: np.ndarray | None, cut: int = 0) -> None:
    """NumPy's bits, for one scan and for one in two pieces; in place where the dtypes agree."""
    from gpuarray.kernels import interpreter
    from gpuarray.kernels.cuda import calls

    dtype = np.dtype(dtype)
    assert calls.scannable(name, array.dtype, dtype) == ""
    with np.errstate(all="ignore"):
        expected = interpreter.scan(np, name, array, axis, carry, dtype)
    out = aligned(array.shape, dtype)
    if array.dtype == dtype and array.flags.c_contiguous:
        out[...] = array
        array = out
    along = [slice(None)] * array.ndim
    ends = [0, cut, array.shape[axis]] if cut else [0, array.shape[axis]]
    for low, high in itertools.pairwise(ends):
        along[axis] = slice(low, high)
        part = out[tuple(along)]
        for call in calls.scan(name, array[tuple(along)], axis, carry, dtype, part, place, new):
            perform(call, (1,), (32,))
        along[axis] = slice(high - 1, high)
        carry = out[tuple(along)]
    same(out, expected, f"{name} {array.dtype} {dtype} {array.shape} {axis} {cut}")


def check_scans() -> None:
    """Along and across memory, for few and for many lines."""
    with small_scans():
        for name in ("sum", "prod", "max", "min"):
            x = finite((300,), "float64") / 16
            compare_scan(name, x, 0, "float64", None, 77)
            compare_scan(name, x, 0, "float64", finite((1,), "float64", 1))
        x = finite((3, 40, 5), "float32")
        for axis in range(3):
            compare_scan("sum", x, axis, "float32", None)
        compare_scan("sum", finite((20, 18), "float32"), 0, "float64", None, 7)  # lines side by side
        compare_scan("prod", finite((20, 18), "float64"), 0, "float64", finite((1, 18), "float32"))
        compare_scan("sum", finite((34, 11), "float64"), 1, "float64", None, 3)  # more lines than a block has
        compare_scan("sum", finite((9, 30), "float64")[::-1, ::-2], 1, "float64", None)
        compare_scan("sum", sample((4, 7), "bool"), 1, "int64", None)
        compare_scan("max", sample((4, 7), "bool"), 1, "bool", sample((4, 1), "bool", 1))
        compare_scan("sum", finite((9,), "complex64"), 0, "complex64", finite((1,), "complex64", 1))
        compare_scan("max", sample((12,), "float64"), 0, "float64", None)  # with NaN
        compare_scan("sum", finite((2, 0, 3), "float64"), 1, "float64", None)
        compare_scan("sum", finite((1, 1), "float64"), 0, "float64", None)


def check_scans_in_pieces() -> None:
    """What is associative is cut into pieces of lines, whose totals are scanned in the same way."""
    with small_scans(SEGMENT=8, FEW_LINES=16):
        compare_scan("sum", sample((150,), "int8"), 0, "int8", None)
        compare_scan("prod", sample((140,), "int64") % 7 - 3, 0, "int64", sample((1,), "int32", 1))
        compare_scan("max", sample((2, 70), "float32"), 1, "float32", sample((2, 1), "float32", 2))
        compare_scan("min", sample((64, 3), "uint16"), 0, "uint16", None, 20)
        compare_scan("max", sample((40,), "bool") & False, 0, "bool", None)


# Several steps at once


def compare_sweep(
    s: StencilProgram,
    domain: tuple[int, ...],
    modes: tuple[str, ...],
    count: int,
    box: tuple[range, ...] | None = None,
    tile: tuple[int, ...] = (24,),
) -> None:
    """`modes` are those of the first axis' ends, then of the next axis', or one for all."""
    from gpuarray.kernels.cuda import stencil_code, sweep_code

    dtype = s.dtypes[0]
    if len(modes) == 1:
        modes *= 2 * s.ndim
    edges: Any = tuple(
        tuple((Edge(modes[2 * a], 3 + 2 * a), Edge(modes[2 * a + 1], 4 + f)) for a in range(s.ndim))  # type: ignore[arg-type]
        for f in range(s.fields)
    )
    none = (False,) * s.ndim
    kinds = stencil_code.modes_of(edges, none)
    assert sweep_code.missing(s, kinds, domain) == ""
    fields = [finite(domain, s.dtypes[f], f) for f in range(s.fields)]
    whole = tuple(range(n) for n in domain)
    box = box or whole
    weights = [np.dtype(dtype).type(1 if dtype == "bool" else k % 3 - 1) for k in range(count)]
    expected = list(fields)
    for weight in weights:
        expected[: s.outputs] = stepped(s, (edges, domain, none), expected, weight, whole, [(0,) * s.ndim] * s.fields)
    outputs = [aligned(tuple(len(r) for r in box), s.dtype(j)) for j in range(s.outputs)]
    low = tuple(r.start for r in box)
    arrays = [(f, (0,) * s.ndim) for f in fields]
    perform(
        sweep_of(s, edges, domain, none).steps(
            arrays, [(o, low) for o in outputs], box, whole, [[w] for w in weights], tile, rows=5
        )
    )
    part = tuple(slice(r.start, r.stop) for r in box)
    for found, e in zip(outputs, expected, strict=False):
        same(found, np.ascontiguousarray(e[part]), f"{modes} {count}")


def check_sweep_edges() -> None:
    for mode in ("fixed", "constant", "nearest", "reflect", "symmetric"):
        compare_sweep(stencil(star(2, 1), "float64"), (8, 30), (mode,) * 4, 3)
    compare_sweep(stencil(star(2, 1), "float64"), (9, 17), ("fixed", "reflect", "constant", "nearest"), 2)
    compare_sweep(stencil(star(2, 2), "float32"), (13, 25), ("reflect", "symmetric", "symmetric", "reflect"), 2)


def check_sweep_stencils() -> None:
    corners = list(itertools.product((-1, 0, 1), repeat=2))
    for mode in ("fixed", "constant", "symmetric"):
        compare_sweep(stencil(corners, "float64"), (7, 20), (mode,) * 4, 3)
    compare_sweep(stencil([(0, 0), (-1, 2), (-2, 0)], "int32"), (9, 30), ("constant", "fixed", "nearest", "fixed"), 3)
    compare_sweep(stencil(corners, "bool"), (7, 20), ("constant",) * 4, 2)
    compare_sweep(stencil(star(2, 1), "complex64"), (7, 20), ("nearest",) * 4, 2)


def check_sweep_of_a_part() -> None:
    compare_sweep(stencil(star(2, 1), "float64"), (20, 40), ("fixed",) * 4, 3, (range(6, 14), range(9, 31)))
    compare_sweep(stencil(star(2, 1), "float64"), (20, 40), ("constant",) * 4, 3, (range(0, 7), range(30, 40)))


def check_sweep_of_several_fields() -> None:
    b = Builder()
    taps = (Tap(0, (0, 0)), Tap(0, (0, 1)), Tap(1, (-1, 0)), Tap(1, (0, -1)), Tap(2, (0, 0)))
    v = [b.input("array", "float64") for _ in taps]
    c = b.input("scalar", "float64")
    u = b.step("add", b.step("multiply", v[4], b.step("subtract", v[1], v[0])), v[2])
    program = b.build(u, b.step("multiply", b.step("add", v[3], u), c))
    s = StencilProgram(program, taps, ("float64",) * 3, 2)
    for mode in ("fixed", "constant", "symmetric"):
        compare_sweep(s, (8, 20), (mode,) * 4, 3)


def check_sweep_of_a_line() -> None:
    """One axis: every kind of edge, several tiles, a part of the line."""
    for mode in MODES:
        compare_sweep(stencil(star(1, 1), "float64"), (50,), (mode,), 3, tile=(32,))
    compare_sweep(stencil([(-2,), (0,), (1,)], "float32"), (41,), ("reflect", "constant"), 4, tile=(32,))
    compare_sweep(stencil(star(1, 1), "bool"), (9,), ("symmetric",), 2, tile=(32,))
    compare_sweep(stencil(star(1, 1), "float64"), (60,), ("fixed",), 3, (range(17, 45),), tile=(32,))
    compare_sweep(stencil([(0,), (2,), (-1,)], "float64", 3), (50,), ("symmetric",), 3, tile=(32,))
    compare_sweep(stencil([(0,), (2,), (-1,)], "float64", 3), (50,), ("periodic",), 3, tile=(32,))


def check_sweep_in_three_dimensions() -> None:
    cube = list(itertools.product((-1, 0, 1), repeat=3))
    for mode in MODES:
        compare_sweep(stencil(star(3, 1), "float64"), (5, 7, 9), (mode,), 2, tile=(8, 10))
    mixed = ("fixed", "reflect", "constant", "symmetric", "nearest", "constant")
    compare_sweep(stencil(cube, "float32"), (5, 5, 6), mixed, 2, tile=(8, 8))
    part = (range(1, 4), range(2, 6), range(3, 9))
    compare_sweep(stencil([(0, 0, 0), (-1, 0, 1), (0, -2, 0)], "int32"), (6, 7, 9), ("fixed",), 2, part, (8, 8))


def check_sweep_of_coefficients() -> None:
    """A field that no step changes is read around the point, past its own edges too."""
    corners = [(0, 0), (0, 1), (-1, 0), (1, -1)]
    for mode in MODES:
        compare_sweep(stencil(corners, "float64", 2), (8, 20), (mode,), 3)
    compare_sweep(stencil(corners, "float64", 2), (8, 20), ("constant", "reflect", "symmetric", "constant"), 2)
    apart = [(0, 0, 0), (1, 0, -1), (0, 1, 0)]
    compare_sweep(stencil(apart, "float64", 2), (4, 6, 7), ("constant", "nearest") * 3, 2, tile=(8, 8))


if __name__ != "__main__":
    CHECKS = [name for name, value in list(globals().items()) if name.startswith("check_") and callable(value)]

    @pytest.fixture(scope="module")
    def results() -> dict[str, str]:
        pytest.importorskip("numba_cuda", reason="needs numba-cuda, which has the simulator")
        environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(
            [sys.executable, __file__], capture_output=True, text=True, env=environment, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr[-4000:]
        found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
        return found

    @pytest.mark.parametrize("name", CHECKS)
    def test_simulated(results: dict[str, str], name: str) -> None:
        assert results[name] == ""

else:
    warnings.simplefilter("ignore")  # of numbers that wrap around, which they should
    outcome = {}
    for name, value in list(globals().items()):
        if name.startswith("check_") and (not sys.argv[1:] or name in sys.argv[1:]):
            started = time.process_time()
            try:
                value()
                outcome[name] = ""
            except Exception:
                outcome[name] = traceback.format_exc()[-3000:]
            print(f"{time.process_time() - started:6.1f} s  {name}", file=sys.stderr)
    print(json.dumps(outcome))
