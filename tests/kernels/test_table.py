"""Every row of the table against NumPy: dtype rules, the interpreter (exactly), and compiled code."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.backends.numpy import BACKEND
from gpuarray.kernels.errors import UnsupportedDTypeError
from gpuarray.kernels.program import Builder, Program
from gpuarray.kernels.row import Elementwise, as_scalar, promote
from gpuarray.kernels.table import ALIASES, ELEMENTWISE, find, power_row

EVERY = [np.dtype(c) for c in "?bBhHiIlLefdFD"]
ROWS = [
    row
    for row in ELEMENTWISE.values()
    if row.home == "numpy" and not row.name.startswith("random_") and row.name != "cast"
]
BY_NAME = [pytest.param(row, id=row.name) for row in ROWS]

ARRAY_API_2025_12 = """
abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert
bitwise_or bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1 floor floor_divide
greater greater_equal hypot imag isfinite isinf isnan less less_equal log log1p log2 log10 logaddexp logical_and
logical_not logical_or logical_xor maximum minimum multiply negative nextafter not_equal positive pow real reciprocal
remainder round sign signbit sin sinh square sqrt subtract tan tanh trunc where
"""

REFERENCES: dict[str, Any] = {
    "integer_power": np.power,
    "round": lambda x, decimals: np.round(x, int(decimals.flat[0])),
    "nan_to_num": lambda x, a, b, c: np.nan_to_num(x, nan=a.flat[0], posinf=b.flat[0], neginf=c.flat[0]),
}


def adversarial(dtype: np.dtype[Any], small: bool = False) -> np.ndarray[Any, Any]:
    """The values at which functions of this dtype go wrong."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        values = {info.min, info.min + 1, -100, -8, -7, -2, -1, 0, 1, 2, 3, 7, 8, 31, 32, 63, 64, 100, info.max - 1}
        return np.array(sorted(v for v in values | {info.max} if info.min <= v <= info.max), dtype)
    info = np.finfo(dtype)
    edge = 2.0 ** (info.nmant - 1) + 0.5
    values = [0.0, 1.0, 0.5, 1.5, 2.5, 0.3, np.inf, float(info.max), float(info.smallest_subnormal), edge]
    if not small:
        values += [2.0, 3.0, 0.7, 1e-3, 7.25, 100.0, float(info.tiny), 2 * edge, 4 * edge, np.pi]
    if dtype.kind == "c":
        values = [0.0, 1.0, 2.5, np.inf, 1e-3] if not small else [0.0, 1.5, np.inf]
    real = np.array([*values, *[-v for v in values], np.nan], f"f{dtype.itemsize // (2 if dtype.kind == 'c' else 1)}")
    if dtype.kind == "f":
        return real
    grid = np.empty((real.size, real.size), dtype)
    grid.real, grid.imag = real[:, None], real
    return grid.ravel()


def operands_for(row: Elementwise, dtypes: tuple[np.dtype[Any], ...], small: bool) -> list[np.ndarray[Any, Any]]:
    """One array per operand, all combinations of their values (the parameters of two functions are constants)."""
    if row.name == "round":
        return [adversarial(dtypes[0], small), np.full((1,), 2, dtypes[1])]
    if row.name == "nan_to_num":
        return [
            adversarial(dtypes[0], small),
            *(np.full((1,), v, d) for v, d in zip((1, 2, 3), dtypes[1:], strict=True)),
        ]
    values = [adversarial(d, small or len(dtypes) > 2) for d in dtypes]
    if row.name in ("power", "integer_power") and dtypes[1].kind in "iu":
        values[1] = values[1][values[1] >= 0]
    if row.nin == 3:
        values = [v[:: max(1, v.size // 8)] for v in values]
    return [v.ravel().copy() for v in np.meshgrid(*values, indexing="ij")]


def program_of(row: Elementwise, dtypes: tuple[np.dtype[Any], ...]) -> Program:
    b = Builder()
    kinds = ["scalar" if k and row.name in ("round", "nan_to_num") else "array" for k in range(row.nin)]
    values = [b.input(kind, d) for kind, d in zip(kinds, dtypes, strict=True)]  # type: ignore[arg-type]
    return b.build(b.step(row.name, *values))


def call(program: Program, arrays: list[np.ndarray[Any, Any]], compiled: bool) -> np.ndarray[Any, Any]:
    given = [a[0] if i.kind == "scalar" else a for a, i in zip(arrays, program.inputs, strict=True)]
    return BACKEND.elementwise(program, given, arrays[0].shape, compiled=compiled)


def assert_same_bits(got: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> None:
    """Equal dtype, values, NaNs and signs of zeros."""
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    if got.dtype.kind == "c":
        real = f"f{got.dtype.itemsize // 2}"
        got, wanted = (np.ascontiguousarray(a).view(real) for a in (got, wanted))
    np.testing.assert_array_equal(got, wanted)
    if got.dtype.kind == "f":
        number = wanted == wanted
        np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(wanted[number]))


@pytest.mark.parametrize("row", BY_NAME)
def test_interpreter_is_numpy_for_every_pair_of_dtypes(row: Elementwise) -> None:
    reference = REFERENCES.get(row.name) or getattr(np, row.name)
    taken = 0
    for dtypes in itertools.product(EVERY, repeat=min(row.nin, 2)):
        dtypes = (*dtypes, *dtypes[-1:] * (row.nin - len(dtypes)))
        if row.name == "round" and (dtypes[1].kind not in "iu" or dtypes[0].kind == "b"):
            continue  # NumPy's decimals are an int, and it rounds bool to no decimals only
        if row.name == "nan_to_num" and dtypes[1].kind not in "f":
            continue
        if row.name == "integer_power" and not {d.kind for d in dtypes} <= set("iu"):
            continue
        arrays = operands_for(row, dtypes, small=True)
        with np.errstate(all="ignore"):
            try:
                wanted = reference(*arrays)
            except TypeError:
                with pytest.raises(UnsupportedDTypeError, match=row.name):
                    row.resolve(*dtypes)
                continue
        program = program_of(row, dtypes)
        assert row.resolve(*dtypes)[1] == wanted.dtype
        assert program.dtype_of(program.outputs[0]) == wanted.dtype
        assert_same_bits(call(program, arrays, compiled=False), wanted)
        taken += 1
    assert taken or row.name == "isnat"


@pytest.mark.parametrize("row", [p for p in BY_NAME if p.values[0].nin == 2 and p.values[0].name not in REFERENCES])
def test_weak_scalars_promote_as_in_numpy(row: Elementwise) -> None:
    function = getattr(np, row.name)
    for dtype, scalar in itertools.product(EVERY, (True, 3, 2.5, 1 + 2j)):
        array = np.array([1, 0], dtype)
        for flipped in (False, True):
            operands: list[Any] = [scalar, array] if flipped else [array, scalar]
            known = [o.dtype if isinstance(o, np.ndarray) else type(o) for o in operands]
            try:
                with np.errstate(all="ignore"):
                    wanted = function(*operands)
            except TypeError:
                with pytest.raises(UnsupportedDTypeError):
                    row.resolve(*known)
                continue
            loop, result = row.resolve(*known)
            assert result == wanted.dtype, (row.name, known)
            assert row.resolve(*(o.dtype if isinstance(o, np.ndarray) else o for o in operands))[1] == wanted.dtype
            cast = [
                o.astype(d) if isinstance(o, np.ndarray) else as_scalar(o, d)
                for o, d in zip(operands, loop, strict=True)
            ]
            assert_same_bits(row.interpret(np, result, *cast), wanted)


@pytest.mark.parametrize("op", ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"])
@pytest.mark.parametrize("value", [300, -1, -129, 2**31, 2**63, 2**64 - 1, -(2**63), 0])
def test_comparison_with_a_python_integer_of_any_size(op: str, value: int) -> None:
    for dtype in EVERY[1:9]:
        x = adversarial(dtype)
        loop, _ = ELEMENTWISE[op].resolve(dtype, value)
        got = ELEMENTWISE[op].interpret(np, np.dtype(bool), x.astype(loop[0]), as_scalar(value, loop[1]))
        np.testing.assert_array_equal(got, getattr(np, op)(x, value))
        loop, _ = ELEMENTWISE[op].resolve(value, dtype)
        got = ELEMENTWISE[op].interpret(np, np.dtype(bool), as_scalar(value, loop[0]), x.astype(loop[1]))
        np.testing.assert_array_equal(got, getattr(np, op)(value, x))


def test_comparison_beyond_64_bits_names_the_value_and_a_way_out() -> None:
    with pytest.raises(OverflowError, match=r"18446744073709551616 .*1\.8446744073709552e\+19"):
        ELEMENTWISE["less"].resolve(np.dtype("uint8"), 2**64)


@pytest.mark.parametrize(("value", "dtype"), [(300, "u1"), (-1, "u8"), (2**63, "i8"), (128, "i1"), (2**64, "u8")])
def test_scalar_that_does_not_fit_raises_as_in_numpy(value: int, dtype: str) -> None:
    with pytest.raises(OverflowError):
        np.zeros(1, dtype) + value
    loop, _ = ELEMENTWISE["add"].resolve(np.dtype(dtype), value)
    with pytest.raises(OverflowError):
        as_scalar(value, loop[1])


def test_scalar_conversion() -> None:
    assert as_scalar(1e300, np.dtype("f4")) == np.inf
    assert as_scalar(np.float32(1.5), np.dtype("c8")).dtype == np.complex64
    assert as_scalar(2**60 + 1, np.dtype("f8")) == float(2**60 + 1)
    assert as_scalar(True, np.dtype("i2")).dtype == np.int16
    assert as_scalar(np.int8(-1), np.dtype("u1")) == 255


@pytest.mark.parametrize("dtype", ["O", "V4", "g", "G", [("a", "i4")], np.dtypes.StringDType()])
@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ELEMENTWISE.values()])
def test_unsupported_dtypes_are_named(row: Elementwise, dtype: Any) -> None:
    dtype = np.dtype(dtype)
    with pytest.raises(UnsupportedDTypeError) as caught:
        row.resolve(*[dtype] * row.nin)
    assert row.name in str(caught.value)
    assert dtype.name.split("(")[0] in str(caught.value)


def test_strings_are_compared_and_chosen_but_not_added() -> None:
    u = np.dtype("U3")
    assert ELEMENTWISE["equal"].resolve(u, np.dtype("U5"))[1] == np.dtype(bool)
    assert ELEMENTWISE["where"].resolve(np.dtype(bool), u, np.dtype("U5"))[1] == np.dtype("U5")
    with pytest.raises(UnsupportedDTypeError, match="add is not defined for str96"):
        ELEMENTWISE["add"].resolve(u, u)
    with pytest.raises(UnsupportedDTypeError):
        ELEMENTWISE["equal"].resolve(u, np.dtype("i4"))
    b = Builder()
    x, y = b.input("array", u), b.input("array", "U1")
    program = b.build(b.step("where", b.step("less", x, y), x, y))
    a, c = np.array(["abc", "x", ""]), np.array(["b", "a", "a"])
    np.testing.assert_array_equal(BACKEND.elementwise(program, (a, c), (3,), compiled=True), np.where(a < c, a, c))


@pytest.mark.parametrize(
    ("op", "dtypes"),
    [
        ("add", "M8[s] m8[ms]"),
        ("subtract", "M8[s] M8[D]"),
        ("subtract", "m8[s] m8[D]"),
        ("multiply", "m8[s] f8"),
        ("multiply", "m8[s] i4"),
        ("divide", "m8[s] m8[ms]"),
        ("floor_divide", "m8[s] m8[ms]"),
        ("remainder", "m8[s] m8[ms]"),
        ("less", "M8[s] M8[D]"),
        ("equal", "m8[s] m8[ms]"),
        ("maximum", "M8[s] M8[ns]"),
        ("fmin", "m8[s] m8[s]"),
        ("negative", "m8[s]"),
        ("absolute", "m8[s]"),
        ("sign", "m8[s]"),
        ("isnat", "M8[s]"),
        ("isfinite", "m8[s]"),
    ],
)
def test_times(op: str, dtypes: str) -> None:
    kinds = [np.dtype(d) for d in dtypes.split()]
    raw = np.array([0, 1, -5, 700, np.iinfo(np.int64).min])
    arrays = [a.ravel() for a in np.meshgrid(*[raw.astype(d) for d in kinds], indexing="ij")]
    with np.errstate(all="ignore"):
        wanted = getattr(np, op)(*arrays)
    program = program_of(ELEMENTWISE[op], tuple(kinds))
    assert hash(program) is not None
    assert_same_bits(call(program, arrays, compiled=True), wanted)


@pytest.mark.parametrize(
    ("op", "dtypes"), [("sin", "m8[s]"), ("add", "M8[s] M8[s]"), ("multiply", "m8[s] m8[s]"), ("less", "M8[s] f8")]
)
def test_times_that_make_no_sense(op: str, dtypes: str) -> None:
    with pytest.raises(UnsupportedDTypeError, match=op):
        ELEMENTWISE[op].resolve(*map(np.dtype, dtypes.split()))


def test_byte_order_of_the_result_is_native() -> None:
    big = np.dtype(">f4")
    x = np.array([1.5, -2.0], big)
    for op in ("add", "where", "clip", "real", "nan_to_num", "round", "maximum"):
        row = ELEMENTWISE[op]
        dtypes = (big,) * row.nin if op != "round" else (big, np.dtype(">i8"))
        assert row.resolve(*dtypes)[1].isnative
        program = program_of(row, dtypes)
        arrays = [x] * row.nin if op != "round" else [x, np.array([0, 0], ">i8")]
        assert call(program, arrays, compiled=True).dtype.isnative


def test_wrong_number_of_operands() -> None:
    with pytest.raises(TypeError, match="add takes 2 operands, got 1"):
        ELEMENTWISE["add"].resolve(np.dtype("f4"))


@pytest.mark.parametrize("source", EVERY, ids=str)
def test_cast_is_astype(source: np.dtype[Any]) -> None:
    with np.errstate(all="ignore"):
        x = adversarial(source)
        for target in EVERY:
            if source.kind in "fc" and target.kind in "iu":
                x = x[np.isfinite(x) & (np.abs(x) < 100) & ((x.real >= 0) | (target.kind == "i"))]
            b = Builder()
            v = b.input("array", source)
            program = b.build(b.cast(v, target))
            wanted = (x.real if source.kind == "c" and target.kind not in "cb" else x).astype(target)
            for compiled in (False, source.char in "?blLfdD" and target.char in "?blLfdD"):
                assert_same_bits(BACKEND.elementwise(program, (x,), x.shape, compiled=compiled), wanted)


def test_random_rows_agree_with_their_generator() -> None:
    from gpuarray.kernels import philox

    index = np.arange(24, dtype=np.int64).reshape(2, 3, 4)[:, :, ::2]
    for (op, dtype), row in {
        k: ELEMENTWISE[k[0] + ("32" if k[1] == "float32" else "")] for k in philox.OPERATIONS
    }.items():
        b = Builder()
        extra = (-5, 10) if op == "random_integers" else ()
        values = [b.input("scalar", "uint64"), b.input("scalar", "uint64"), b.input("array", "int64")]
        values += [b.input("scalar", d) for d in ("int64", "uint64")[: len(extra)]]
        program = b.build(b.step(row.name, *values))
        wanted = philox.interpret(op, dtype, 2**63 + 1, 7, index, *extra)
        for compiled in (False, True):
            got = BACKEND.elementwise(program, (2**63 + 1, 7, index, *extra), index.shape, compiled=compiled)
            assert_same_bits(got, wanted)


def test_the_array_api_is_covered() -> None:
    for name in ARRAY_API_2025_12.split():
        assert find(name).nin >= 1


def test_every_numeric_ufunc_of_numpy_with_one_result_has_a_row() -> None:
    ufuncs = {u.__name__ for u in vars(np).values() if isinstance(u, np.ufunc) and u.nout == 1 and u.signature is None}
    assert not ufuncs - set(ELEMENTWISE)


def test_names_are_numpys() -> None:
    assert len(ALIASES) == sum(len(row.aliases) for row in ELEMENTWISE.values())
    for alias, name in ALIASES.items():
        assert alias not in ELEMENTWISE
        function = getattr(np, alias, None)
        if isinstance(function, np.ufunc):
            assert function is getattr(np, ELEMENTWISE[name].ufunc or "")
    for name, row in ELEMENTWISE.items():
        assert name == row.name
        if row.ufunc is not None:
            assert getattr(np, row.ufunc).nin == row.nin
            assert getattr(np, row.ufunc).__name__ == name or name == "integer_power"
    with pytest.raises(KeyError):
        find("nonsense")


def test_operators_are_numpys() -> None:
    dunders = [row.dunder for row in ELEMENTWISE.values() if row.dunder]
    assert len(dunders) == len(set(dunders)) == 22
    for row in ELEMENTWISE.values():
        if row.dunder:
            dtype = row.resolve(*[np.dtype("i8")] * row.nin)[1]
            arrays = [np.array([7, 12, -3]), np.array([2, 5, 1])][: row.nin]
            np.testing.assert_array_equal(
                getattr(arrays[0], f"__{row.dunder}__")(*arrays[1:]), row.interpret(np, dtype, *_cast(row, arrays))
            )


def _cast(row: Elementwise, arrays: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    loop, _ = row.resolve(*(a.dtype for a in arrays))
    return [a.astype(d) for a, d in zip(arrays, loop, strict=True)]


@pytest.mark.parametrize(
    "exponent", [-1, 0, 1, 2, 3, -1.0, 0.0, 0.5, 1.0, 2.0, 2.5, True, 2j, np.float64(2), np.int8(2)]
)
def test_power_operator(exponent: Any) -> None:
    for dtype in EVERY:
        x = adversarial(dtype)
        with np.errstate(all="ignore"):
            try:
                wanted = x**exponent
            except ValueError:
                wanted = None
            except OverflowError:
                continue  # it is `as_scalar` that refuses -1 for an unsigned dtype
        if wanted is None:
            if type(exponent) is int:
                with pytest.raises(ValueError, match="Integers to negative integer powers are not allowed"):
                    power_row(dtype, exponent)
            continue
        row = ELEMENTWISE[power_row(dtype, exponent)]
        operands = [x, exponent][: row.nin]
        loop, result = row.resolve(*(o.dtype if hasattr(o, "dtype") else o for o in operands))
        cast = [o.astype(d) if o is x else as_scalar(o, d) for o, d in zip(operands, loop, strict=True)]
        assert_same_bits(row.interpret(np, result, *cast), wanted)


def test_promotion() -> None:
    assert promote(np.dtype("u8"), np.dtype("i8")) == np.float64
    assert promote(np.dtype("f4"), int) == np.float32
    assert promote(int, float) == np.float64
    assert promote(np.dtype("?"), int) == np.int64


ULPS = {"exp": 2, "log10": 2, "tanh": 2, "arctan2": 2, "cbrt": 2, "logaddexp": 4, "logaddexp2": 4, "sinc": 4}
"""How far compiled functions may be from NumPy's, in units of the last place; 1 for others of their kind."""
INEXACT = {row.name for row in ROWS if row.cost >= 20} - {
    *("floor_divide", "remainder", "fmod", "gcd", "lcm"),
} | {"absolute", "multiply", "square", "divide", "reciprocal", "sqrt"}
"""Transcendental functions; and complex arithmetic, which NumPy's vector loops contract to fused multiply-add."""
COMPILED = {"one_of_each_kind": "?bLfD", "the_other_widths": "hlBIdF"}
NARROW = "hBI"
"""Widths that take the code of others of their kind, letter for letter, where a row has one code for each kind."""


def assert_close(row: Elementwise, got: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], exact: bool) -> None:
    if exact:
        assert_same_bits(got, wanted)
        return
    assert got.dtype == wanted.dtype
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
    with np.errstate(all="ignore"):
        if got.dtype.kind != "c":
            np.testing.assert_array_equal(got[~finite], wanted[~finite])
            np.testing.assert_array_equal(np.signbit(got[finite]), np.signbit(wanted[finite]))
        unit = np.spacing(np.abs(wanted[finite]).astype(np.real(wanted).dtype))
        ulps = np.abs(got[finite] - wanted[finite]) / unit
        assert np.max(ulps, initial=0.0) <= ULPS.get(row.name, 1.5), (row.name, got.dtype)


@pytest.mark.parametrize(
    "letters", [COMPILED["one_of_each_kind"], pytest.param(COMPILED["the_other_widths"], marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("row", BY_NAME)
def test_compiled_is_numpy(row: Elementwise, letters: str) -> None:
    done = set()
    if not callable(row.code):
        letters = "".join(c for c in letters if c not in NARROW)
    for dtypes in combinations(row, letters):
        try:
            loop, result = row.resolve(*dtypes)
        except UnsupportedDTypeError:
            continue
        if (loop, result) in done or row.code_for(loop, result) is None:
            continue
        done.add((loop, result))
        arrays = operands_for(row, loop, small=False)
        program = program_of(row, loop)
        assert not program.missing_code()
        got, wanted = (call(program, arrays, compiled=c) for c in (True, False))
        assert_close(row, got, wanted, row.name not in INEXACT or wanted.dtype.kind not in "fc")


def combinations(row: Elementwise, letters: str) -> list[tuple[np.dtype[Any], ...]]:
    """The operand dtypes with which a row is compiled: all alike, but for those that take what is unlike."""
    every = [np.dtype(c) for c in letters]
    if row.name in ("ldexp", "round"):
        return [(d, np.dtype("l")) for d in every]
    if row.name == "where":
        return [(np.dtype(bool), d, d) for d in every]
    if row.name == "nan_to_num":
        return [(d, *[np.dtype("f" if d.char in "fF" else "d")] * 3) for d in every]
    unlike = [tuple(map(np.dtype, pair)) for pair in ("lL", "Ll")]
    return [(d,) * row.nin for d in every] + (unlike if row.nin == 2 and "l" in letters else [])
