"""CUDA kernels of reductions in Numba's simulator: the bits of the compiled CPU kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.program import Affine, Builder, Program
from tests.kernels.simulator import (
    aligned,
    checks,
    finite,
    identity,
    main,
    new,
    perform_all,
    place,
    same,
    sample,
    simulate,
)


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
    compare_reduction(normal, "var", [*operands, Affine(3, (9,)), finite((270,), "float64")], (270,), (0,))


def check_grids_of_cells() -> None:
    """Cells of several lengths along several axes, cells without elements, regions without any."""
    b = Builder()
    x, y = b.input("array", "float64"), b.input("array", "float64")
    program = b.build(b.step("multiply", x, y), b.step("less", x, y))
    operands = [finite((5, 40), "float64"), finite((40,), "float64", 1)]
    for name in ("sum", "var"):
        compare_reduction(program, name, operands, (5, 40), (), (0, 2, 4, 5), (0, 18, 18, 36, 40))
    long = [finite((530,), "float64", 2), finite((530,), "float64", 3)]
    compare_reduction(program, "var", long, (530,), (0,))  # whole blocks and a part of one
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


if __name__ == "__main__":
    main(globals())
else:

    @pytest.fixture(scope="module")
    def results() -> dict[str, str]:
        return simulate(__file__)

    @pytest.mark.parametrize("name", checks(globals()))
    def test_simulated(results: dict[str, str], name: str) -> None:
        assert results[name] == ""
