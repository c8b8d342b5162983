"""Programs: what the builder writes, and that source, interpreter and steps mean the same."""

from __future__ import annotations

import math
import pickle
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from gpuarray.kernels import scalar
from gpuarray.kernels.errors import UnsupportedDTypeError
from gpuarray.kernels.program import Builder, Input, Program, Step
from gpuarray.kernels.table import ELEMENTWISE


def names(program: Program) -> list[str]:
    return [s.op for s in program.steps]


def test_a_program_is_plain_data() -> None:
    def build() -> Program:
        b = Builder()
        x = b.input("array", np.float32)
        return b.build(b.step("multiply", x, b.input("scalar", np.dtype("f4"))))

    program = build()
    assert program == build()
    assert hash(program) == hash(build())
    assert pickle.loads(pickle.dumps(program)) == program
    assert eval(repr(program)) == program
    assert program == Program(
        (Input("array", "float32"), Input("scalar", "float32")), (Step("multiply", (0, 1), "float32"),), (2,)
    )


def test_casts_go_to_the_loop() -> None:
    b = Builder()
    x, y = b.input("array", "int32"), b.input("array", "float32")
    program = b.build(b.step("add", x, y))
    assert program.steps == (
        Step("cast", (0,), "float64"),
        Step("cast", (1,), "float64"),
        Step("add", (2, 3), "float64"),
    )
    (value,) = program.interpret(np, np.array([2**30 + 1], "i4"), np.array([0.5], "f4"))
    assert value.dtype == np.float64
    assert value == 2**30 + 1.5


def test_equal_steps_are_written_once_also_with_operands_swapped() -> None:
    b = Builder()
    x, y = b.input("array", "float64"), b.input("array", "float64")
    s = b.step("add", x, y)
    assert b.step("add", x, y) == s
    assert b.step("add", y, x) == s
    assert b.step("subtract", y, x) != b.step("subtract", x, y)
    program = b.build(b.step("multiply", s, b.step("add", y, x)))
    assert names(program) == ["add", "multiply"]
    assert program.steps[1].args == (2, 2)


def test_complex_factors_are_not_swapped() -> None:
    # with a fused multiply-add, the rounding depends on the order
    b = Builder()
    x, y = b.input("array", "complex128"), b.input("array", "complex128")
    assert b.step("multiply", x, y) != b.step("multiply", y, x)


def test_what_no_output_needs_is_dropped_but_inputs_stay() -> None:
    b = Builder()
    x, y = b.input("array", "float64"), b.input("array", "float64")
    b.step("exp", b.step("multiply", x, y))
    kept = b.step("negative", y)
    late = b.input("scalar", "float64")
    program = b.build(kept)
    assert names(program) == ["negative"]
    assert len(program.inputs) == 3
    assert late == 5
    assert program.outputs == (3,)


def test_build_several_outputs_and_inputs_as_outputs() -> None:
    b = Builder()
    x, i = b.input("array", "float64"), b.input("index", "int64")
    program = b.build(b.step("absolute", x), i)
    assert program.outputs == (2, 1)
    value, index = program.interpret(np, np.array([-1.0]), np.array([7]))
    assert (value, index) == (1.0, 7)
    assert program.source().endswith("return v2, v1")


@pytest.mark.parametrize(
    ("op", "dtype", "steps"),
    [
        ("positive", "f8", 0),
        ("conjugate", "f4", 0),
        ("conjugate", "c8", 1),
        ("real", "i4", 0),
        ("real", "c8", 1),
        ("floor", "i8", 0),
        ("ceil", "u1", 0),
        ("trunc", "?", 0),
        ("floor", "f8", 1),
        ("rint", "i8", 2),
        ("absolute", "u4", 0),
        ("absolute", "?", 0),
        ("absolute", "i4", 1),
    ],
)
def test_steps_that_change_nothing_are_left_out(op: str, dtype: str, steps: int) -> None:
    b = Builder()
    assert len(b.build(b.step(op, b.input("array", dtype))).steps) == steps


@pytest.mark.parametrize(
    ("op", "dtype"), [("negative", "f8"), ("negative", "i1"), ("invert", "u2"), ("conjugate", "c8")]
)
def test_twice_is_never(op: str, dtype: str) -> None:
    b = Builder()
    x = b.input("array", dtype)
    assert b.step(op, b.step(op, x)) == x


def test_logical_not_twice_makes_truth_values() -> None:
    b = Builder()
    x = b.input("array", "float64")
    program = b.build(b.step("logical_not", b.step("logical_not", x)))
    np.testing.assert_array_equal(program.interpret(np, np.array([0.0, 2.0]))[0], [False, True])


def test_casts_that_lose_nothing_on_the_way_are_one() -> None:
    def through(*dtypes: str) -> list[str]:
        b = Builder()
        v = b.input("array", dtypes[0])
        for d in dtypes[1:]:
            v = b.cast(v, d)
        return [s.dtype for s in b.build(v).steps]

    assert through("f4", "f8", "f4") == []
    assert through("i1", "i8", "f4") == ["float32"]
    assert through("?", "f8", "?") == []
    assert through("f4", "c16", "f4") == []
    assert through("i4", "f8", "i4") == []
    assert through("i8", "f8", "i8") == ["float64", "int64"]
    assert through("i4", "f4", "f8") == ["float32", "float64"]
    assert through("f8", "f4", "f8") == ["float32", "float64"]
    assert through("f8", "?", "f8") == ["bool", "float64"]
    assert through("c8", "f4", "c8") == ["float32", "complex64"]


@given(st.lists(st.sampled_from("?bBhHiIlLefdFD"), min_size=2, max_size=5), st.data())
@settings(max_examples=300)
def test_chains_of_casts_mean_astype_after_astype(letters: list[str], data: st.DataObject) -> None:
    value = data.draw(st.integers(0, 2) | st.integers(-(2**62), 2**62))
    with np.errstate(all="ignore"):
        x = wanted = np.array([value, 1, 0]).astype(letters[0])
        b = Builder()
        v = b.input("array", letters[0])
        for letter in letters[1:]:
            real = wanted.real if np.dtype(letter).kind not in "cb" else wanted
            whole = real.dtype.kind == "f" and np.dtype(letter).kind in "iu"
            if whole and not (np.isfinite(real).all() and real.min() >= 0 and real.max() <= np.iinfo(letter).max / 2):
                return  # what a float out of range becomes is the machine's affair
            wanted = real.astype(letter)
            v = b.cast(v, letter)
        program = b.build(v)
        (got,) = program.interpret(np, x)
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)


def test_byte_swapped_and_string_inputs_keep_their_dtype() -> None:
    b = Builder()
    x = b.input("array", ">f8")
    program = b.build(b.step("negative", x))
    assert program.inputs[0].dtype == ">f8"
    assert names(program) == ["cast", "negative"]
    (value,) = program.interpret(np, np.array([1.5], ">f8"))
    assert value.dtype.isnative
    assert value == -1.5
    b = Builder()
    assert b.build(b.step("equal", b.input("array", "U3"), b.input("array", "U5"))).inputs[1].dtype == "<U5"


def test_scalars_are_strong_in_their_inputs_dtype() -> None:
    b = Builder()
    x = b.input("array", "float32")
    program = b.build(b.step("multiply", x, b.input("scalar", "float32")))
    for given_scalar in (2, 2.0, np.float64(2), np.int8(2)):
        (value,) = program.interpret(np, np.ones(2, "f4"), given_scalar)
        assert value.dtype == np.float32
    with pytest.raises(ValueError, match="argument 2"):
        program.interpret(np, np.ones(2, "f4"))


def test_interpreting_warns_of_nothing() -> None:
    b = Builder()
    x = b.input("array", "float64")
    (value,) = b.build(b.step("log", b.step("divide", x, x))).interpret(np, np.array([0.0, -1.0]))
    assert math.isnan(value[0])


def test_interpreting_lets_go_of_temporaries() -> None:
    class Counted(np.ndarray):  # type: ignore[type-arg]
        alive = most = 0

        def __array_finalize__(self, obj: Any) -> None:
            Counted.alive += 1
            Counted.most = max(Counted.most, Counted.alive)

        def __del__(self) -> None:
            Counted.alive -= 1

    b = Builder()
    v = b.input("array", "float64")
    for _ in range(50):
        v = b.step("sqrt", b.step("exp", v))
    b.build(v).interpret(np, np.zeros(3).view(Counted))
    assert Counted.most < 12


def test_unsupported_operands_name_operation_and_dtype() -> None:
    b = Builder()
    x = b.input("array", "complex64")
    with pytest.raises(UnsupportedDTypeError, match="floor is not defined for complex64"):
        b.step("floor", x)
    with pytest.raises(TypeError, match="add takes 2 operands, got 1"):
        b.step("add", x)
    with pytest.raises(KeyError):
        b.step("nonsense", x)


def test_source_is_python_that_computes_the_same() -> None:
    b = Builder()
    x, y, k = b.input("array", "float64"), b.input("scalar", "float64"), b.input("index", "int64")
    program = b.build(b.step("where", b.step("less", x, y), b.step("floor", x), b.step("multiply", k, x)))
    names_: dict[str, Any] = {"np": np, "math": math, **vars(scalar)}
    exec(program.source("body"), names_)
    xs, ks = np.array([-1.5, 0.25, 7.0, 2.5]), np.arange(4)
    got = [names_["body"](float(a), 1.0, int(i)) for a, i in zip(xs, ks, strict=True)]
    np.testing.assert_array_equal(got, program.interpret(np, xs, 1.0, ks)[0])


def test_source_is_refused_where_a_step_has_no_code() -> None:
    b = Builder()
    program = b.build(b.step("power", b.input("array", "int64"), b.input("array", "int64")))
    assert [s.op for s in program.missing_code()] == ["power"]
    with pytest.raises(ValueError, match="power has no scalar code for int64"):
        program.source()
    b = Builder()
    assert b.build(b.step("add", b.input("array", "float16"), b.input("array", "float16"))).missing_code()


def test_cost_adds_up() -> None:
    b = Builder()
    x, z = b.input("array", "float64"), b.input("array", "complex128")
    assert b.build(x).cost == 0
    assert b.build(b.step("exp", b.step("negative", x))).cost == 1 + ELEMENTWISE["exp"].cost
    assert b.build(b.step("negative", z)).cost == 4


def test_a_program_of_a_thousand_steps() -> None:
    b = Builder()
    v = b.input("array", "float64")
    one = b.input("scalar", "float64")
    for _ in range(1000):
        v = b.step("add", v, one)
    program = b.build(v)
    assert len(program.steps) == 1000
    np.testing.assert_array_equal(program.interpret(np, np.zeros(2), 1.0)[0], [1000, 1000])
    assert program.source().count("\n") == 1001
