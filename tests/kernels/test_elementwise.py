"""Compiled elementwise programs against the interpreter: dtypes, layouts, outputs, random numbers, threads."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels import compile, elementwise, interpreter
from gpuarray.kernels.program import Affine, Builder, Program

Array = np.ndarray[Any, Any]
DTYPES = ("float64", "float32", "int8", "int16", "int64", "uint8", "uint64", "bool", "complex64", "complex128")


def arithmetic(dtype: str, second: str = "array") -> Program:
    """A few operations whose results are the same to the bit however they are computed."""
    b = Builder()
    x, y = b.input("array", dtype), b.input(second, dtype)  # type: ignore[arg-type]
    if dtype == "bool":
        return b.build(b.step("logical_xor", b.step("logical_and", x, y), b.step("logical_not", y)))
    if dtype[0] == "c":  # NumPy's product of complex numbers is fused on some processors
        return b.build(b.step("subtract", b.step("add", x, b.step("conjugate", y)), b.step("negative", x)))
    total = b.step("add", b.step("multiply", x, y), b.step("negative" if dtype[0] != "u" else "positive", x))
    return b.build(b.step("maximum", b.step("subtract", total, y), x))


def values(dtype: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    generator = np.random.default_rng(seed)
    numbers = generator.integers(-120 if dtype[0] != "u" else 0, 120, shape)
    if dtype[0] not in "fc":
        return numbers.astype(dtype)
    numbers = numbers / 7
    if dtype[0] == "c":
        numbers = numbers + 1j * generator.permutation(numbers.ravel()).reshape(shape)
    return numbers.astype(dtype)


def misaligned(x: Array) -> Array:
    """A copy whose address is no multiple of the item size."""
    memory = np.zeros(x.nbytes + 1, np.uint8)
    copy = memory[1:].view(x.dtype).reshape(x.shape)
    copy[...] = x
    return copy


def layouts(x: Array) -> dict[str, Array]:
    """The same values, laid out in memory in different ways."""
    backwards = tuple(slice(None, None, -1) for _ in x.shape)
    wide = np.repeat(np.repeat(x, 3, axis=-1), 2, axis=0)
    return {
        "c": x,
        "fortran": np.asfortranarray(x),
        "reversed": x[backwards].copy()[backwards],
        "sliced": wide[::2, ..., ::3] if x.ndim > 1 else wide[::6],
        "misaligned": misaligned(x),
        "moved": np.moveaxis(np.moveaxis(x, 0, -1).copy(), -1, 0),
    }


def check(program: Program, operands: tuple[Any, ...], shape: tuple[int, ...], out: Array | None = None) -> Array:
    """Run compiled and interpreted, and compare to the bit."""
    wanted = interpreter.elementwise(np, program, operands, shape)
    got = elementwise.run(program, operands, shape, out)
    assert got.dtype == wanted.dtype
    assert got.shape == shape
    np.testing.assert_array_equal(got, wanted)
    return got


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype: str) -> None:
    for shape in ((), (1,), (33,), (5, 77)):
        check(arithmetic(dtype), (values(dtype, shape), values(dtype, shape, 1)), shape)


@pytest.mark.parametrize("dtype", ["float64", "int8", "complex64"])
def test_layouts(dtype: str) -> None:
    shape = (19, 3, 35)
    program = arithmetic(dtype)
    first, second = (list(layouts(values(dtype, shape, seed)).values()) for seed in (0, 1))
    pairs = itertools.product(range(6), range(6)) if dtype == "float64" else ((0, 0), (0, 1), (2, 3), (4, 5))
    for a, b in pairs:
        check(program, (first[a], second[b]), shape)


def test_broadcasting() -> None:
    program = arithmetic("float64")
    shape = (21, 4, 18)
    x = values("float64", shape)
    for part in ((21, 4, 1), (1, 4, 18), (18,), (1, 1, 1), (), (21, 1, 18), (4, 1)):
        check(program, (x, values("float64", part)), shape)
        check(program, (values("float64", part), values("float64", part, 1)), shape)
    check(program, (np.broadcast_to(x[:1], shape), x), shape)


@pytest.mark.parametrize("shape", [(64, 64), (300, 517), (517, 16), (16, 1000), (65, 9, 70), (1, 90, 90)])
def test_turned_operands(shape: tuple[int, ...]) -> None:
    """Operands that lie across the result go through tiles."""
    program = arithmetic("float64")
    x, y = values("float64", shape), values("float64", shape, 1)
    for axes in itertools.permutations(range(len(shape))):
        turned = np.ascontiguousarray(y.transpose(axes)).transpose(np.argsort(axes))
        check(program, (x, turned), shape, np.empty(shape))
        check(program, (turned, turned[::-1]), shape, np.empty(shape))


@pytest.mark.parametrize("dtype", ["bool", "int16", "complex128"])
def test_turned_dtypes(dtype: str) -> None:
    x = values(dtype, (130, 75))
    check(arithmetic(dtype), (x, values(dtype, (75, 130)).T), x.shape)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 2)])
def test_nothing(shape: tuple[int, ...]) -> None:
    check(arithmetic("float64"), (np.ones(shape), np.ones(shape)), shape)


def test_result_lies_as_its_operands() -> None:
    x = np.asfortranarray(values("float64", (40, 30)))
    assert check(arithmetic("float64"), (x, x), x.shape).flags.f_contiguous
    assert check(arithmetic("float64"), (x, x.copy("C")), x.shape).flags.c_contiguous
    moved = values("float64", (3, 4, 5)).transpose(1, 2, 0)
    assert check(arithmetic("float64"), (moved, moved), moved.shape).strides == moved.strides


def test_outputs_of_any_strides() -> None:
    shape = (20, 33)
    program, x, y = arithmetic("float32"), values("float32", shape), values("float32", shape, 1)
    around = np.full((60, 80), np.float32(-7.5))
    for out in (around[::3, 2:35], around[20::-1, 70:4:-2][:20], around.T[:60:3, :33], misaligned(x)):
        assert out.shape == shape
        check(program, (x, y), shape, out)
    untouched = np.full((60, 80), np.float32(-7.5))
    elementwise.run(program, (x, y), shape, untouched[5:25, 7:40])
    untouched[5:25, 7:40] = -7.5
    assert (untouched == -7.5).all()


def test_output_may_be_an_operand() -> None:
    program = arithmetic("float64")
    shape = (50, 50)
    for view in (lambda a: a, lambda a: a.T, lambda a: a[::-1], lambda a: np.roll(a, 1, 0)):
        x, y = values("float64", shape), values("float64", shape, 1)
        wanted = interpreter.elementwise(np, program, (view(x.copy()), y), shape)
        elementwise.run(program, (view(x), y), shape, out=x)
        np.testing.assert_array_equal(x, wanted)
    line = values("float64", (101,))
    wanted = interpreter.elementwise(np, program, (line[:-1].copy(), line[:-1].copy()), (100,))
    elementwise.run(program, (line[:-1], line[:-1]), (100,), out=line[1:])
    np.testing.assert_array_equal(line[1:], wanted)


def test_bad_calls() -> None:
    program, x = arithmetic("float64"), np.ones((3, 4))
    with pytest.raises(ValueError, match=r"shape \(3,\) does not broadcast to the region's shape \(3, 4\)"):
        elementwise.run(program, (x, np.ones(3)), (3, 4))
    with pytest.raises(ValueError, match="does not broadcast"):
        elementwise.run(program, (x, np.ones((1, 3, 4))), (3, 4))
    with pytest.raises(ValueError, match=r"out has shape \(4, 3\)"):
        elementwise.run(program, (x, x), (3, 4), np.empty((4, 3)))
    with pytest.raises(ValueError, match="dtype float32"):
        elementwise.run(program, (x, x), (3, 4), np.empty((3, 4), np.float32))
    with pytest.raises(ValueError, match="read-only"):
        elementwise.run(program, (x, x), (3, 4), np.broadcast_to(np.zeros(4), (3, 4)))
    b = Builder()
    index = b.build(b.step("add", b.input("index", "int64"), b.input("scalar", "int64")))
    with pytest.raises(ValueError, match="one stride per axis"):
        elementwise.run(index, (Affine(0, (1,)), 1), (3, 4))
    with pytest.raises(OverflowError):
        elementwise.run(index, (Affine(0, (1,)), 2**63), (4,))
    with pytest.raises(ValueError, match=r"zip\(\)"):
        elementwise.run(program, (x,), (3, 4))


def test_scalars_of_every_dtype() -> None:
    for dtype in DTYPES:
        x = values(dtype, (40,))
        for scalar in (x[3], x[3].item()):
            check(arithmetic(dtype, "scalar"), (x, scalar), x.shape)


def test_index() -> None:
    b = Builder()
    i, j, s = b.input("index", "int64"), b.input("index", "int64"), b.input("scalar", "int64")
    program = b.build(b.step("add", b.step("multiply", i, j), s))
    shape = (37, 5, 70)
    for strides in [(0, 0, 0), (9, 1, -1), (-1, 9, 1), (350, 70, 1), (1, 0, 9)]:
        check(program, (Affine(11, strides), Affine(-4, strides[::-1]), 2**40), shape)
    check(program, (Affine(3, ()), Affine(4, ()), 5), ())


@pytest.mark.parametrize("op", ["random_uniform", "random_normal32", "random_bits", "random_integers"])
def test_random_numbers(op: str) -> None:
    """Drawn in blocks or one by one, in tiles or rows: the bits of the interpreter."""
    b = Builder()
    key, stream = b.input("scalar", "uint64"), b.input("scalar", "uint64")
    more = (b.input("scalar", "int64"), b.input("scalar", "uint64")) if op == "random_integers" else ()
    i, j = b.input("index", "int64"), b.input("index", "int64")
    first, second = (b.step(op, key, stream, index, *more) for index in (i, j))
    program = b.build(b.step("add", first, second) if op != "random_bits" else b.step("bitwise_xor", first, second))
    given = (2**63 + 5, 3, *((-7, 2**62) if more else ()))
    shape = (70, 130)
    along, turned, strided, constant = (-3, 1), (1, 2000), (7, -2), (0, 0)
    pairs = [(along, turned), (turned, strided), (turned, turned), (constant, along)]
    for a, c in pairs if op == "random_uniform" else pairs[:1]:
        check(program, (*given, Affine(2**33 + 1001, a), Affine(5000, c)), shape)
    check(program, (*given, Affine(7, (1,)), Affine(2**40, (1,))), (2500,))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_functions_of_limited_range(dtype: str) -> None:
    """Fast where all arguments of a row are small, right where one is not, even written over its operand."""
    b = Builder()
    program = b.build(b.step("sin", b.input("array", dtype)))
    x = np.linspace(-100, 100, 3000).astype(dtype).reshape(3, 1000)
    x[1, 500:503] = 3e30, np.inf, np.nan
    with np.errstate(invalid="ignore"):
        wanted = np.sin(x.astype("float64")).astype(dtype)
    for out in (None, x):
        got = elementwise.run(program, (x,), x.shape, out)
        np.testing.assert_allclose(got, wanted, rtol=4 * float(np.finfo(dtype).eps), atol=0)


def test_functions_vectorise_to_the_last_place() -> None:
    b = Builder()
    x = b.input("array", "float64")
    program = b.build(b.step("exp", b.step("negative", b.step("log1p", x))))
    numbers = np.geomspace(1e-300, 1e300, 5000)
    wanted = interpreter.elementwise(np, program, (numbers,), numbers.shape)
    np.testing.assert_array_max_ulp(elementwise.run(program, (numbers,), numbers.shape), wanted, 2)


def test_no_fused_multiply_add() -> None:
    """`x * x - y` of the rounded product: one rounding more than a fused instruction has."""
    b = Builder()
    x, y = b.input("array", "float64"), b.input("array", "float64")
    program = b.build(b.step("subtract", b.step("multiply", x, x), y))
    a = np.random.default_rng(0).random(1000)
    assert (elementwise.run(program, (a, a * a), a.shape) == 0).all()


def random_program(seed: int, inputs: int, steps: int) -> Program:
    """Exact operations on values of mixed dtypes."""
    generator = np.random.default_rng(seed)
    b = Builder()
    made = [b.input("array", d) for d in generator.choice(["float64", "float32", "int32", "int64", "bool"], inputs)]
    for _ in range(steps):
        op = generator.choice(["add", "multiply", "maximum", "minimum", "less", "where", "absolute", "logical_or"])
        nin = {"where": 3, "absolute": 1}.get(op, 2)
        chosen = [int(v) for v in generator.choice(made, nin)]
        if op == "where":
            chosen[0] = b.cast(chosen[0], "bool")
        made.append(b.step(op, *chosen))
    return b.build(made[-1])


@pytest.mark.parametrize("seed", range(10))
def test_random_programs(seed: int) -> None:
    program = random_program(seed, 4, 12)
    generator = np.random.default_rng(seed)
    shape = tuple(int(n) for n in generator.integers(1, 40, generator.integers(1, 4)))
    operands = []
    for k, declared in enumerate(program.inputs):
        kinds = list(layouts(values(declared.dtype, shape, k)).values())
        operands.append(kinds[generator.integers(len(kinds))])
    check(program, tuple(operands), shape)


def test_many_operands_and_steps() -> None:
    b = Builder()
    total = b.input("array", "float64")
    for k in range(40):
        total = b.step("add" if k % 2 else "multiply", total, b.input("array", "float64"))
    for _ in range(100):
        total = b.step("absolute", b.step("negative", b.step("add", total, total)))
    operands = tuple(values("float64", (50,), k) for k in range(41))
    check(b.build(total), operands, (50,))


def test_threads_share_kernels_and_tables() -> None:
    program = arithmetic("float64", "scalar")
    x = values("float64", (200, 300))

    def work(k: int) -> bool:
        part = x[k % 7 :]
        got = elementwise.run(program, (part, float(k)), part.shape)
        return np.array_equal(got, interpreter.elementwise(np, program, (part, float(k)), part.shape))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))


def test_ready_after_running() -> None:
    b = Builder()
    x = b.input("array", "float64")
    for _ in range(7):
        x = b.step("sqrt", b.step("add", x, b.input("scalar", "float64")))
    program = b.build(x)
    operands = (np.ones((5, 5)), *range(7))
    elementwise.run(program, operands, (5, 5))
    assert compile.ready(program)
    assert elementwise.ready(program, operands, (5, 5))
