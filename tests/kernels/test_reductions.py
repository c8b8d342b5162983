"""The dtype rules of reductions against NumPy; what they compute is in the backends' contract."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.backends.numpy import BACKEND
from gpuarray.kernels.errors import UnsupportedDTypeError
from gpuarray.kernels.program import Builder
from gpuarray.kernels.reductions import REDUCTIONS, Reduction

EVERY = [np.dtype(c) for c in "?bBhHiIlLefdFD"]
ROWS = [pytest.param(row, id=row.name) for row in REDUCTIONS.values()]


def numpy_function(name: str) -> Any:
    return getattr(np, name).reduce if name in ("fmin", "fmax") else getattr(np, name)


@pytest.mark.parametrize("row", ROWS)
def test_results_have_numpys_dtype(row: Reduction) -> None:
    for dtype in EVERY:
        wanted = np.asarray(numpy_function(row.name)(np.ones(3, dtype))).dtype
        assert row.result(row.operand(dtype)) == wanted, dtype
        assert row.result(row.operand(dtype.newbyteorder())) == wanted, dtype


@pytest.mark.parametrize("name", ["sum", "prod"])
def test_the_users_dtype(name: str) -> None:
    row = REDUCTIONS[name]
    for dtype, requested in itertools.product(EVERY, repeat=2):
        if dtype.kind == "c" and requested.kind not in "cb":
            continue  # NumPy warns
        x = np.array([1, 3, 2], dtype)
        wanted = getattr(np, name)(x, dtype=requested)
        operand = row.operand(dtype, requested)
        assert row.result(operand) == wanted.dtype
        b = Builder()
        program = b.build(b.cast(b.input("array", dtype), operand))
        states = BACKEND.reduce(program, name, (x,), (3,), ((0, 3),), compiled=False)
        got = BACKEND.combine(name, states, (0,)).astype(row.result(operand))
        np.testing.assert_array_equal(got[0], wanted)


def test_the_users_dtype_of_a_variance() -> None:
    row = REDUCTIONS["var"]
    assert row.operand("int8", "float32") == np.float32
    assert row.result(row.operand("float64", "complex64")) == np.float32
    with pytest.raises(UnsupportedDTypeError, match="not in int64"):
        row.operand("float32", "int64")


@pytest.mark.parametrize("name", [r.name for r in REDUCTIONS.values() if not r.requests])
def test_no_dtype_where_numpy_takes_none(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} takes no dtype"):
        REDUCTIONS[name].operand("int8", "float32")


@pytest.mark.parametrize("dtype", ["O", "V4", "g", "G", np.dtypes.StringDType()])
@pytest.mark.parametrize("row", ROWS)
def test_unsupported_dtypes_are_named(row: Reduction, dtype: Any) -> None:
    with pytest.raises(UnsupportedDTypeError, match=row.name):
        row.operand(dtype)


@pytest.mark.parametrize(("name", "dtype"), [("sum", "M8[s]"), ("prod", "m8[s]"), ("var", "m8[s]"), ("min", "U3")])
def test_times_and_strings_that_make_no_sense(name: str, dtype: str) -> None:
    with pytest.raises(UnsupportedDTypeError, match=name):
        REDUCTIONS[name].operand(dtype)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("sum", "m8[s]"),
        ("min", "M8[s]"),
        ("max", "m8[ms]"),
        ("fmin", "M8[s]"),
        ("fmax", "M8[s]"),
        ("argmin", "M8[s]"),
        ("argmax", "m8[s]"),
        ("count_nonzero", "m8[s]"),
        ("any", "m8[s]"),
        ("all", "U2"),
        ("count_nonzero", "U2"),
    ],
)
@pytest.mark.parametrize("special", [False, True])
def test_times_and_strings(name: str, dtype: str, special: bool) -> None:
    row = REDUCTIONS[name]
    raw = np.array([5, 3, 9, 3, -7, 9, 0])
    x = raw.astype(dtype) if dtype[0] != "U" else np.array(["a", "", "b", "c", "dd", "", "e"])
    if special and dtype[0] != "U":
        x[[2, 4]] = np.datetime64("NaT") if dtype[0] == "M" else np.timedelta64("NaT")
    wanted = numpy_function(name)(x)
    operand = row.operand(x.dtype)
    b = Builder()
    value = b.cast(b.input("array", x.dtype), operand)
    program = b.build(value, b.input("array", "int64")) if row.family == "arg" else b.build(value)
    operands = (x, np.arange(7)) if row.family == "arg" else (x,)
    for compiled in (False, True):
        states = BACKEND.reduce(program, name, operands, (7,), ((0, 2, 5, 7),), compiled=compiled)
        got = BACKEND.combine(name, states, (0,))
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got[0], wanted)


@pytest.mark.parametrize("row", ROWS)
def test_no_elements_as_in_numpy(row: Reduction) -> None:
    for dtype in EVERY:
        operand = row.operand(dtype)
        none = np.empty(0, dtype)
        if row.identity(operand) is None:
            with pytest.raises(ValueError, match=f"^{row.empty_error()}$"):
                numpy_function(row.name)(none)
            continue
        wanted = 0 if row.name == "var" else numpy_function(row.name)(none)
        identity = row.identity(operand)
        assert identity.dtype == row.result(operand)
        assert np.isnan(identity) if row.name == "var" else identity == wanted
    assert row.name != "sum" or row.identity(np.dtype("m8[s]")) == np.timedelta64(0, "s")


@pytest.mark.parametrize("row", ROWS)
def test_the_start_is_neutral(row: Reduction) -> None:
    for dtype in EVERY:
        operand = row.operand(dtype)
        start = tuple(np.asarray(v).reshape(1) for v in row.start(operand))
        assert tuple(v.dtype for v in start) == row.state(operand)
        x = np.array([[3, 1, 2]], operand)
        state = row.reduce_arrays(np, row, x, np.array([[4, 5, 6]]) if row.family == "arg" else None)
        for merged in (row.merge_arrays(np, start, state), row.merge_arrays(np, state, start)):
            for one, other in zip(merged, state, strict=True):
                np.testing.assert_array_equal(one, other)


def test_what_is_compiled() -> None:
    for row in REDUCTIONS.values():
        for dtype in EVERY:
            operand = row.operand(dtype)
            code = row.code(operand)
            assert (code is None) == (operand == np.float16)
            if code is not None:
                sizes = {len(code.start), len(code.update), len(code.merge), len(row.state(operand))}
                assert len(sizes) == 1
                assert not any("{S" in t or "{T}" in t for t in (*code.start, *code.update, *code.merge, code.finish))
    assert REDUCTIONS["min"].code(np.dtype("M8[s]")) is None
