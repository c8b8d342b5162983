"""CUDA kernels on a GPU, launched through CuPy: the bits of the interpreter and of the CPU's kernels."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels import interpreter, philox, reduce
from gpuarray.kernels.cuda import calls, launch, registers, stencil_code, sweep_code
from gpuarray.kernels.program import Affine, Builder, Program
from gpuarray.kernels.stencils.program import Edge, StencilProgram

pytestmark = pytest.mark.gpu

N = 1_000_003
GRID = (517, 1030)
STEPS = 13
REAL = ["int8", "uint16", "int32", "uint64", "float32", "float64"]


@pytest.fixture
def cupy() -> Any:
    return pytest.importorskip("cupy")


def sample(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=shape) * 20
    return np.abs(values).astype(dtype) if dtype[0] == "u" else values.astype(dtype)


def same(found: Any, expected: np.ndarray) -> None:
    found = found if isinstance(found, np.ndarray) else found.get()
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == np.ascontiguousarray(expected).tobytes()


# Elementwise


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("n", [0, 1, 255, N])
def test_arithmetic(cupy: Any, dtype: str, n: int) -> None:
    program = registers.arithmetic(dtype)
    x, y = sample((n,), dtype), sample((n,), dtype, 1)
    for first in (0, 1):
        out = cupy.empty(n, dtype)[first:]
        launch.elementwise(program, [cupy.asarray(x)[first:], cupy.asarray(y)[first:], 3], [out])
        same(out, program.interpret(np, x, y, 3)[0][first:])


@pytest.mark.parametrize("dtype", ["int8", "float64"])
def test_layouts(cupy: Any, dtype: str) -> None:
    program = registers.arithmetic(dtype)
    x, y = sample(GRID, dtype), sample(GRID[::-1], dtype, 1)
    there, turned = cupy.asarray(x), cupy.asarray(y)
    for u, v, a, b in (
        (x, y.T, there, turned.T),
        (x, x[:1], there, there[:1]),
        (x[::-1, ::2], x[:, ::2], there[::-1, ::2], there[:, ::2]),
        (x, x[:, :1], there, there[:, :1]),
    ):
        out = cupy.empty(u.shape, dtype)
        launch.elementwise(program, [a, b, 3], [out])
        same(out, program.interpret(np, u, v, 3)[0])


def test_over_an_operand(cupy: Any) -> None:
    program = registers.arithmetic("float64")
    x, y = sample((N,), "float64"), sample((N,), "float64", 1)
    there = cupy.asarray(x)
    launch.elementwise(program, [there, cupy.asarray(y), 3], [there])
    same(there, program.interpret(np, x, y, 3)[0])
    there = cupy.asarray(x)
    launch.elementwise(program, [there[:-1], there[1:], 3], [there[1:]])
    same(there[1:], program.interpret(np, x[:-1], x[1:], 3)[0])


@pytest.mark.parametrize(("name", "dtype"), list(philox.OPERATIONS))
def test_random_numbers(cupy: Any, name: str, dtype: str) -> None:
    b = Builder()
    extra = [np.int64(-500), np.uint64(1000)] if name == "random_integers" else []
    inputs = [b.input("scalar", "uint64"), b.input("scalar", "uint64"), b.input("index", "int64")]
    inputs += [b.input("scalar", e.dtype) for e in extra]
    program = b.build(b.step(name + ("32" if dtype == "float32" else ""), *inputs))
    out = cupy.empty(N, dtype)
    launch.elementwise(program, [2**64 - 7, 5, Affine(2**40 + 1, (3,)), *extra], [out])
    index = 2**40 + 1 + 3 * np.arange(N)
    same(out, philox.interpret(name, dtype, 2**64 - 7, 5, index, *(int(e) for e in extra)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["exp", "log1p", "sin", "tanh", "cbrt", "arctan", "expm1", "log2", "sinh", "arcsinh"])
def test_functions(cupy: Any, name: str, dtype: str) -> None:
    program = registers.function(name, dtype)
    x = np.abs(sample((N,), dtype))
    out = cupy.empty(N, dtype)
    launch.elementwise(program, [cupy.asarray(x)], [out])
    expected = program.interpret(np, x.astype("float64"))[0]
    np.testing.assert_allclose(out.get(), expected, rtol=4 * float(np.finfo(dtype).eps))


# Reductions


def compare_reduction(
    cupy: Any, program: Program, name: str, operands: list[Any], shape: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    there = [cupy.asarray(o) if isinstance(o, np.ndarray) else o for o in operands]
    cuts = tuple((0, n) if a in axes else None for a, n in enumerate(shape))
    launches, states = calls.reduce(program, name, there, shape, cuts, launch.address, cupy.empty)
    launch.run(launches)
    for state, expected in zip(states, reduce.run(program, name, operands, shape, cuts), strict=True):
        same(state.get(), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("name", ["sum", "max", "prod"])
def test_folds_have_the_bits_of_the_cpu(cupy: Any, name: str, dtype: str) -> None:
    b = Builder()
    program = b.build(b.input("array", dtype))
    for shape, axes in (((N,), (0,)), ((N // 7, 7), (1,)), (GRID, (0,)), (GRID, (1,)), ((9, 40, 50), (0, 2))):
        compare_reduction(cupy, program, name, [sample(shape, dtype)], shape, axes)


def test_moments_and_positions_have_the_bits_of_the_cpu(cupy: Any) -> None:
    b = Builder()
    program = b.build(b.input("array", "float64"))
    for shape, axes in (((N,), (0,)), (GRID, (0,)), (GRID, (1,))):
        compare_reduction(cupy, program, "var", [sample(shape, "float64")], shape, axes)
    b = Builder()
    program = b.build(b.input("array", "float64"), b.input("index", "int64"))
    x = np.round(sample((N,), "float64"))
    for name in ("argmin", "argmax"):
        compare_reduction(cupy, program, name, [x, Affine(0, (1,))], (N,), (0,))


# Stencils

PAD = {"constant": "constant", "periodic": "wrap", "reflect": "reflect", "symmetric": "symmetric", "nearest": "edge"}


def sweep_of(stencil: StencilProgram, edge: Edge, domain: tuple[int, ...]) -> calls.Sweep:
    edges = (((edge, edge),) * stencil.ndim,)
    return calls.Sweep(stencil, edges, (False,) * stencil.ndim, domain, launch.address, launch.phase)


def step(cupy: Any, sweep: calls.Sweep, field: Any, weight: Any) -> Any:
    origin, out = (0,) * field.ndim, cupy.empty(field.shape, field.dtype)
    box = tuple(map(range, field.shape))
    launch.run(sweep.step([(field, origin)], [(out, origin)], box, [weight]))
    return out


def padded_step(stencil: StencilProgram, edge: Edge, field: np.ndarray, weight: Any) -> np.ndarray:
    radius = max(max(map(abs, t.offset)) for t in stencil.taps)
    values: dict[str, Any] = {"constant_values": edge.value} if edge.mode == "constant" else {}
    wide = np.pad(field, radius, PAD[edge.mode], **values)  # type: ignore[call-overload]
    taps = [
        wide[tuple(slice(radius + o, radius + o + n) for o, n in zip(t.offset, field.shape, strict=True))]
        for t in stencil.taps
    ]
    return stencil.program.interpret(np, *taps, weight)[0]


@pytest.mark.parametrize("mode", list(PAD))
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_one_step(cupy: Any, mode: Any, dtype: str) -> None:
    edge = Edge(mode, 3)
    for offsets, shape in (
        (registers.star(1, 2), (N,)),
        (registers.star(2, 1), GRID),
        (registers.cube(2), (GRID[0], GRID[1] - 3)),
        (registers.star(2, 4), GRID),
        (registers.star(3, 1), (37, 41, 70)),
        (registers.cube(3), (20, 30, 64)),
        (registers.star(4, 1), (9, 10, 11, 24)),
    ):
        stencil = registers.relaxation(offsets, dtype)
        field = sample(shape, dtype)
        found = step(cupy, sweep_of(stencil, edge, shape), cupy.asarray(field), 2)
        same(found, padded_step(stencil, edge, field, np.dtype(dtype).type(2)))


@pytest.mark.parametrize("mode", ["fixed", "constant", "nearest", "reflect", "symmetric", "periodic"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_several_steps_at_once_are_as_many_steps(cupy: Any, mode: Any, dtype: str) -> None:
    for offsets, shape in (
        *((o, GRID) for o in (registers.star(2, 1), registers.cube(2), registers.star(2, 2))),
        *((o, (61, 70, 131)) for o in (registers.star(3, 1), registers.cube(3))),
        (registers.star(1, 1), (N,)),
    ):
        stencil = registers.relaxation(offsets, dtype)
        sweep = sweep_of(stencil, Edge(mode, 3), shape)
        assert sweep_code.missing(stencil, sweep.modes, shape) == ""
        count = sweep_code.most_steps(stencil, sweep.modes, STEPS)
        assert count > 1
        weights = [np.dtype(dtype).type(0.01 * (k + 1)) for k in range(count)]
        field = cupy.asarray(sample(shape, dtype))
        expected = field
        for weight in weights:
            expected = step(cupy, sweep, expected, weight)
        out = cupy.empty(shape, dtype)
        box, origin = tuple(map(range, shape)), (0,) * len(shape)
        launch.run([sweep.steps([(field, origin)], [(out, origin)], box, box, [[w] for w in weights])])
        same(out, expected.get())


def test_scans(cupy: Any) -> None:
    for shape, axis in (((N,), 0), ((3, N // 3), 1), ((N // 9, 9), 0), ((400, 500), 0), ((40, 50, 60), 1)):
        for name, dtype in (("sum", "float64"), ("sum", "int32"), ("max", "float32"), ("prod", "uint64")):
            x = sample(shape, dtype)
            there, out = cupy.asarray(x), cupy.empty(shape, dtype)
            launch.run(calls.scan(name, there, axis, None, np.dtype(dtype), out, launch.address, cupy.empty))
            same(out, interpreter.scan(np, name, x, axis, None, np.dtype(dtype)))


def test_fixed_points_keep_their_value(cupy: Any) -> None:
    stencil = registers.relaxation(registers.star(2, 2), "float64")
    field = sample(GRID, "float64")
    found = step(cupy, sweep_of(stencil, Edge("fixed"), GRID), cupy.asarray(field), 0.1).get()
    expected = padded_step(stencil, Edge("constant"), field, np.float64(0.1))
    for rows, columns in itertools.product((slice(2), slice(-2, None), slice(None)), repeat=2):
        if rows != slice(None) or columns != slice(None):
            expected[rows, columns] = field[rows, columns]
    expected[2:-2, 2:-2] = padded_step(stencil, Edge("constant"), field, np.float64(0.1))[2:-2, 2:-2]
    same(found, expected)
    assert stencil_code.kept_widths(stencil, ((("fixed", "fixed"),) * 2,), 0) == (2, 2)
