"""Compiled reductions: values against the interpreter and exact sums, and the same bits however memory lies."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels import fused_code, interpreter, reduce
from gpuarray.kernels.program import Affine, Builder, Program
from gpuarray.kernels.reductions import REDUCTIONS

Array = np.ndarray[Any, Any]
Cuts = tuple[tuple[int, ...] | None, ...]


def identity(dtype: str, second: str | None = None) -> Program:
    """The elements as they are, with a mask or an index if `second` says so."""
    b = Builder()
    x = b.input("array", dtype)
    if second is None:
        return b.build(x)
    return b.build(x, b.input("array", "bool") if second == "mask" else b.input("index", "int64"))


def whole(shape: tuple[int, ...]) -> Cuts:
    return tuple((0, n) for n in shape)


def finish(name: str, states: tuple[Array, ...], **parameters: Any) -> Any:
    return interpreter.combine(np, name, states, tuple(range(states[0].ndim)), **parameters)


def check(program: Program, name: str, operands: tuple[Any, ...], shape: tuple[int, ...], cuts: Cuts) -> None:
    """Compiled and interpreted states: equal, or as near as rounding allows."""
    got = reduce.run(program, name, operands, shape, cuts)
    wanted = interpreter.reduce(np, program, name, operands, shape, cuts)
    for a, b in zip(got, wanted, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        scale = float(np.nanmax(np.abs(b[np.isfinite(b)]), initial=1.0)) if b.dtype.kind in "fc" else 0.0
        if b.dtype.kind in "fc":
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * scale)
        else:
            np.testing.assert_array_equal(a, b)


def data(dtype: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    numbers = np.random.default_rng(seed).integers(0 if dtype[0] in "ub" else -50, 50, shape)
    if dtype == "bool":
        return numbers > 20
    return (numbers / 8 if dtype[0] in "fc" else numbers).astype(dtype)


def layouts(x: Array) -> list[Array]:
    backwards = tuple(slice(None, None, -1) for _ in x.shape)
    result = [np.asfortranarray(x), x[backwards].copy()[backwards], np.repeat(x, 2, axis=-1)[..., ::2]]
    result += [
        np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))
        for axes in list(itertools.permutations(range(x.ndim)))[1:5]
    ]
    return result


def same_bits(first: tuple[Array, ...], second: tuple[Array, ...]) -> bool:
    return all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))


OPERANDS = {"any": "bool", "all": "bool", "count_nonzero": "bool"}


@pytest.mark.parametrize("name", sorted(REDUCTIONS))
def test_every_reduction(name: str) -> None:
    dtype = OPERANDS.get(name, "float64")
    arg = REDUCTIONS[name].family == "arg"
    program = identity(dtype, "index" if arg else None)
    for shape in ((7,), (130, 9), (3, 4, 200), (2000, 3)):
        x = data(dtype, shape)
        index = (Affine(0, tuple(s // x.itemsize for s in x.strides)),) if arg else ()
        for kept in list(itertools.product((False, True), repeat=len(shape)))[:-1]:
            cuts = tuple(None if k else (0, n) for k, n in zip(kept, shape, strict=True))
            check(program, name, (x, *index), shape, cuts)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *(("sum", d) for d in ("float32", "int64", "complex64")),
        *(("min", "int8"), ("min", "bool"), ("max", "uint64"), ("max", "complex128"), ("var", "complex64")),
    ],
)
def test_dtypes(name: str, dtype: str) -> None:
    for shape in ((300,), (40, 50)):
        x = data(dtype, shape)
        for cuts in (whole(shape), (*whole(shape[:-1]), None), ((0, shape[0] // 3, shape[0]), *whole(shape[1:]))):
            check(identity(dtype), name, (x,), shape, cuts)


@pytest.mark.parametrize("name", ["sum", "var"])
def test_masks(name: str) -> None:
    x, mask = data("float64", (70, 90)), data("bool", (70, 90), 1)
    mask[:, 5] = False
    mask[3] = True
    x[~mask] = np.nan
    for cuts in (whole(x.shape), (None, (0, 90)), ((0, 70), None), ((0, 1, 35, 70), (0, 6, 90))):
        check(identity("float64", "mask"), name, (x, mask), x.shape, cuts)
        check(identity("float64", "mask"), name, (x, mask[:1]), x.shape, cuts)


def test_first_of_equals_and_nan() -> None:
    for name, extreme in (("argmax", np.inf), ("argmin", -np.inf)):
        program = identity("float64", "index")
        for shape in ((5000,), (40, 130)):
            x = np.zeros(shape)
            flat = Affine(0, tuple(s // 8 for s in x.strides))
            for mark, places in ((extreme, (4711, 17)), (np.nan, (4999, 4100, 4097)), (1.0, ())):
                x.ravel()[list(places)] = mark
                for y in (x, np.asfortranarray(x)):
                    (got,) = (reduce.run(program, name, (y, flat), shape, whole(shape))[1],)
                    assert got.item() == getattr(np, name)(x)
                    if len(shape) == 2:
                        columns = Affine(0, (1, 0))
                        got = reduce.run(program, name, (y, columns), shape, ((0, 40), None))[1][0]
                        np.testing.assert_array_equal(got, getattr(np, name)(x, axis=0))


@pytest.mark.parametrize("name", ["max", "min", "fmax", "fmin"])
def test_nan(name: str) -> None:
    for shape in ((1000,), (70, 33)):
        x = data("float64", shape)
        for place in (0, x.size // 2, x.size - 1):
            y = x.copy()
            y.ravel()[place] = np.nan
            wanted = {"max": np.nan, "min": np.nan, "fmax": np.nanmax(y), "fmin": np.nanmin(y)}[name]
            np.testing.assert_equal(reduce.run(identity("float64"), name, (y,), shape, whole(shape))[0].item(), wanted)


SHAPES = [(5,), (0,), (100,), (129,), (9001,), (3, 200), (200, 3), (70, 5000), (5000, 70), (20, 30, 40), (4, 4500, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits_do_not_depend_on_memory(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape) * 10
    for name in ("sum", "var"):
        for kept in itertools.product((False, True), repeat=len(shape)):
            cuts = tuple(
                None if k else tuple(sorted({0, n // 3, n // 3 * 2, n})) if n > 9 else (0, n)
                for k, n in zip(kept, shape, strict=True)
            )
            wanted = reduce.run(identity("float64"), name, (x,), shape, cuts)
            assert all(same_bits(reduce.run(identity("float64"), name, (y,), shape, cuts), wanted) for y in layouts(x))


def test_bits_do_not_depend_on_the_region() -> None:
    """A cell reduced alone, and as one of many."""
    shape, cuts = (90, 5000, 4), ((0, 33, 50, 90), (0, 4600, 5000), None)
    x = np.random.default_rng(1).standard_normal(shape)
    b = Builder()
    y = b.input("array", "float64")
    program = b.build(b.step("multiply", y, b.step("add", y, b.input("scalar", "float64"))))
    for name in ("sum", "var", "min"):
        states = reduce.run(program, name, (x, 0.5), shape, cuts)
        for i, j, k in itertools.product(range(3), range(2), range(4)):
            cell = x[cuts[0][i] : cuts[0][i + 1], cuts[1][j] : cuts[1][j + 1], k : k + 1]
            one = reduce.run(program, name, (cell, 0.5), cell.shape, (*whole(cell.shape[:2]), None))
            assert same_bits(one, tuple(s[i : i + 1, j : j + 1, k : k + 1].copy() for s in states))


def test_bits_do_not_depend_on_fusion() -> None:
    """A fused prologue gives what reducing its result gives."""
    x = np.random.default_rng(2).standard_normal((130, 700))
    b = Builder()
    y, z = b.input("array", "float64"), b.input("array", "float64")
    program = b.build(b.step("subtract", b.step("multiply", y, y), z))
    for cuts in (whole(x.shape), (None, (0, 700)), ((0, 130), None)):
        for a, c in itertools.product((x, np.asfortranarray(x)), (x, x[:, :1], np.asfortranarray(x))):
            fused = reduce.run(program, "sum", (a, c), x.shape, cuts)
            assert same_bits(fused, reduce.run(identity("float64"), "sum", (x * x - c,), x.shape, cuts))


@pytest.mark.parametrize(
    ("name", "dtype"), [("sum", "float64"), ("sum", "float32"), ("max", "int16"), ("argmin", "float64")]
)
@pytest.mark.parametrize("masked", [False, True])
def test_folding_as_computed_changes_no_bit(
    name: str, dtype: str, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same lanes whether values are folded in registers or from a buffer, wherever blocks and rows of lanes end."""
    arg = REDUCTIONS[name].family == "arg"
    if arg and masked:
        pytest.skip("arg reductions take no mask")
    b = Builder()
    x, y = b.input("array", dtype), b.input("array", dtype)
    outputs = [b.step("subtract", b.step("multiply", x, x), y)]
    if arg:
        outputs.append(b.input("index", "int64"))
    elif masked:
        outputs.append(b.step("less", x, y))
    program = b.build(*outputs)
    sizes = (127, 128, 129, 160, 255, 287, 4095, 4096, 4097, 4111, 4112, 4223, 4224, 9000)
    left, right = data(dtype, (3, max(sizes))), data(dtype, (3, max(sizes)), seed=1)

    def states(n: int, cuts: Cuts) -> tuple[Array, ...]:
        operands = (left[:, :n], right[:, :n], *([Affine(0, (n, 1))] if arg else []))
        return reduce.run(program, name, operands, (3, n), cuts)

    calls = [(n, cuts) for n in sizes for cuts in (whole((3, n)), (None, (0, n)))]
    fused = [states(n, cuts) for n, cuts in calls]
    monkeypatch.setattr(fused_code, "fusible", lambda program, fold: False)
    monkeypatch.setattr(reduce, "_plans", {})
    for (n, cuts), found in zip(calls, fused, strict=True):
        assert same_bits(found, states(n, cuts)), n


def test_square_sum_with_its_transpose() -> None:
    x = np.random.default_rng(3).random((300, 300))
    b = Builder()
    program = b.build(b.step("add", b.input("array", "float64"), b.input("array", "float64")))
    for cuts in (whole(x.shape), (None, (0, 300)), ((0, 300), None)):
        states = reduce.run(program, "sum", (x, x.T), x.shape, cuts)
        assert same_bits(states, reduce.run(identity("float64"), "sum", (x + x.T,), x.shape, cuts))


def test_random_numbers_are_reduced_unstored() -> None:
    b = Builder()
    key, stream, index = b.input("scalar", "uint64"), b.input("scalar", "uint64"), b.input("index", "int64")
    program = b.build(b.step("random_uniform", key, stream, index))
    shape = (60, 1100)
    for strides in ((1100, 1), (1, 60)):
        numbers = interpreter.elementwise(np, program, (1, 2, Affine(3, strides)), shape)
        for cuts in (whole(shape), (None, (0, 1100)), ((0, 60), None)):
            states = reduce.run(program, "sum", (1, 2, Affine(3, strides)), shape, cuts)
            assert same_bits(states, reduce.run(identity("float64"), "sum", (numbers,), shape, cuts))


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_sums_are_nearly_exact(axis: int | None) -> None:
    """The error of pairwise summation, where adding in order would lose six digits."""
    x = np.full((1 << 10, 1 << 11), 0.1)
    x[::3] = 1e5 / 3
    cuts = whole(x.shape) if axis is None else tuple(None if a != axis else (0, n) for a, n in enumerate(x.shape))
    (got,) = reduce.run(identity("float64"), "sum", (x,), x.shape, cuts)
    rows = [x.ravel()] if axis is None else list(np.moveaxis(x, axis, -1))
    for value, row in zip(got.ravel()[:50], rows[:50], strict=True):
        assert abs(value - math.fsum(row)) <= 16 * np.finfo("f8").eps * math.fsum(row) / 2


def test_single_precision_is_summed_in_double() -> None:
    x = np.full(1 << 20, np.float32(0.1))
    (got,) = reduce.run(identity("float32"), "sum", (x,), x.shape, whole(x.shape))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, (1 << 20) * float(np.float32(0.1)), rtol=1e-14)


def test_variance_far_from_zero() -> None:
    x = 1e9 + np.random.default_rng(0).standard_normal((500, 700))
    for cuts in (whole(x.shape), ((0, 500), None), (None, (0, 700))):
        count, _, m2 = reduce.run(identity("float64"), "var", (x,), x.shape, cuts)
        axes = tuple(a for a, c in enumerate(cuts) if c is not None)
        np.testing.assert_allclose(m2 / count, np.var(x - 1e9, axis=axes, keepdims=True), rtol=1e-6)


def test_no_elements() -> None:
    """Cells without elements have the state that merges without effect."""
    for name in ("sum", "max", "var", "argmin"):
        program = identity("float64", "index" if REDUCTIONS[name].family == "arg" else None)
        start = REDUCTIONS[name].start(np.dtype("float64"))
        for shape, cuts in (
            ((0,), ((0, 0),)),
            ((0, 3), ((0, 0), None)),
            ((3, 0), (None, (0, 0))),
            ((3, 0), ((0, 3), None)),
        ):
            index = (Affine(0, (1,) * len(shape)),) if len(program.inputs) > 1 else ()
            states = reduce.run(program, name, (np.ones(shape), *index), shape, cuts)
            assert [s.shape for s in states] == [
                tuple(n if c is None else 1 for n, c in zip(shape, cuts, strict=True)) for _ in states
            ]
            for state, value in zip(states, start, strict=True):
                assert (state == value).all()
    x = np.arange(6.0)
    (got,) = reduce.run(identity("float64"), "sum", (x,), (6,), ((0, 0, 2, 2, 6, 6),))
    np.testing.assert_array_equal(got, [0, 1, 0, 14, 0])


def test_every_element_a_cell() -> None:
    x = data("float64", (3, 40))
    for y in (x, x.T[::-1]):
        (got,) = reduce.run(identity("float64"), "sum", (y,), y.shape, (None, None))
        np.testing.assert_array_equal(got, y)
    (got,) = reduce.run(identity("float64"), "sum", (np.float64(3.0),), (), ())
    assert got == 3.0


def test_bad_cuts() -> None:
    x = np.ones((3, 4))
    for cuts in (((0, 3),), ((0, 2), None), ((1, 3), None), ((0, 2, 1, 3), None), ((), None)):
        with pytest.raises(ValueError, match="cuts"):
            reduce.run(identity("float64"), "sum", (x,), x.shape, cuts)
    with pytest.raises(ValueError, match="does not broadcast"):
        reduce.run(identity("float64"), "sum", (np.ones(3),), x.shape, whole(x.shape))


def test_threads_share_plans() -> None:
    x = np.random.default_rng(0).random((64, 3000))
    wanted = [reduce.run(identity("float64"), "sum", (row,), (3000,), ((0, 3000),))[0].item() for row in x]
    program = identity("float64")
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            got = pool.map(lambda row: reduce.run(program, "sum", (row,), (3000,), ((0, 3000),))[0].item(), x)
            assert list(got) == wanted


def test_ready_after_running() -> None:
    x = np.ones(5)
    reduce.run(identity("float64"), "sum", (x,), (5,), ((0, 5),))
    assert reduce.ready(identity("float64"), "sum")
    assert not reduce.ready(identity("float16"), "sum")
