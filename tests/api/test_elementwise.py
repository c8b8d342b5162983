"""The functions and operators of the table: NumPy's values, promotion, `out`, `where` and `dtype`."""

from __future__ import annotations

import inspect
import operator
import warnings
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.elementwise import FUNCTIONS
from gpuarray.errors import UnsupportedDTypeError
from gpuarray.kernels.table import ALIASES, ELEMENTWISE

DTYPES = ["?", "b", "B", "h", "H", "i", "I", "l", "L", "e", "f", "d", "F", "D"]
NAMES = sorted(set(FUNCTIONS) - set(ALIASES))
VALUES = [0, 1, 2, 3, 5, 100]
SPECIAL = [-0.0, -1.5, 0.5, np.inf, -np.inf, np.nan]


def sample(char: str, shift: int = 0) -> np.ndarray[Any, Any]:
    values = np.roll(np.array(VALUES, dtype="f8"), shift)
    if char in "efd":
        values = np.concatenate([values, np.roll(SPECIAL, shift)])
    elif char in "bhil":
        values = np.concatenate([values, -values])
    with np.errstate(all="ignore"):
        made = values.astype(char)
    return made * made.dtype.type(1 + 1j if shift else 1 - 2j) if char in "FD" else made


def numpys(name: str, *args: Any) -> Any:
    """What NumPy makes of it, or None where it takes no such dtypes."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            made = getattr(np, name)(*args)
        except TypeError:
            return None
    return None if made.dtype.kind not in "biufc" or made.dtype.char in "gG" else made


@pytest.mark.parametrize("name", [n for n in NAMES if ELEMENTWISE[n].nin == 1])
def test_functions_of_one(name, cut, same):
    taken = 0
    for char in DTYPES:
        a = sample(char)
        theirs = numpys(name, a)
        if theirs is None:
            with pytest.raises(TypeError, match=name):
                FUNCTIONS[name](a)
            continue
        same(FUNCTIONS[name](cut(a)), theirs, close=char not in "efd" or name not in EXACT)
        taken += 1
    assert taken or name == "isnat"


EXACT = {
    "absolute",
    "fabs",
    "negative",
    "positive",
    "square",
    "sqrt",
    "floor",
    "ceil",
    "trunc",
    "rint",
    "sign",
    "isnan",
}


@pytest.mark.parametrize("name", [n for n in NAMES if ELEMENTWISE[n].nin == 2])
def test_functions_of_two(name, cut, same):
    for first, second in [(c, c) for c in DTYPES] + [
        ("b", "H"),
        ("f", "i"),
        ("e", "d"),
        ("L", "l"),
        ("F", "d"),
        ("?", "f"),
    ]:
        a, b = sample(first), sample(second, 1)
        if name in ("power", "left_shift", "right_shift"):
            a, b = a[:6], np.abs(b[:6]) % 4 if second not in "?FD" else b[:6]
        n = min(len(a), len(b))
        a, b = a[:n], b[:n]
        theirs = numpys(name, a, b)
        if theirs is None:
            with pytest.raises(TypeError, match=name):
                FUNCTIONS[name](a, b)
            continue
        same(FUNCTIONS[name](cut(a), cut(b, "uneven")), theirs, close=True)


def test_aliases_are_the_same_function():
    for alias, name in ALIASES.items():
        if name in FUNCTIONS:
            assert getattr(ga, alias) is getattr(ga, name)


def test_names_and_signatures():
    for name, function in FUNCTIONS.items():
        row = ELEMENTWISE[ALIASES.get(name, name)]
        assert function.__name__ == row.name
        parameters = inspect.signature(function).parameters
        assert [p for p in parameters if parameters[p].kind is inspect.Parameter.POSITIONAL_ONLY] == (
            ["x"] if row.nin == 1 else [f"x{k + 1}" for k in range(row.nin)]
        )
        assert {"dtype", "out", "where"} < set(parameters)


OPERATORS = [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "lt",
    "le",
    "gt",
    "ge",
    "eq",
    "ne",
    "and_",
    "or_",
    "xor",
    "lshift",
    "rshift",
]
SCALARS = [True, 2, 2.5, 1j, np.int8(3), np.float32(0.5), np.float64(2), np.array([1, 2, 3], "i2")]


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("char", ["?", "b", "B", "l", "e", "f", "d", "F"])
def test_promotion_of_operators(name, char, same):
    """NEP 50: Python scalars are weak, NumPy's are not."""
    a = np.array([1, 2, 3]).astype(char)
    x, op = ga.asarray(a), getattr(operator, name)
    for other in SCALARS:
        for mine, theirs in (
            (lambda o=other: op(x, o), lambda o=other: op(a, o)),
            (lambda o=other: op(o, x), lambda o=other: op(o, a)),
        ):
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                try:
                    expected = theirs()
                except (TypeError, OverflowError, ValueError) as error:
                    with pytest.raises(type(error).__mro__[-3] if isinstance(error, TypeError) else type(error)):
                        mine().compute()
                    continue
            same(mine(), expected, close=True)


def test_strings_and_times_compare(same):
    a = np.array(["a", "bc"])
    same(ga.asarray(a) == "a", a == "a")
    same(ga.asarray(a) > "b", a > "b")
    t = np.array(["2024-01-03", "NaT"], "M8[D]")
    same(ga.asarray(t) - np.datetime64("2024-01-01"), t - np.datetime64("2024-01-01"))
    same(ga.isnat(t), np.isnat(t))


def test_python_integers_must_fit():
    with pytest.raises(OverflowError, match="300"):
        ga.asarray(np.array([1], "u1")) + 300
    with pytest.raises(OverflowError, match="-1"):
        ga.asarray(np.array([1], "u1")) * -1
    assert (ga.asarray(np.array([1], "u1")) < 300).tolist() == [True]
    assert (ga.asarray(np.array([1], "u1")) > -1).tolist() == [True]


def test_unary_operators_and_divmod(cut, same):
    a = np.array([-7, 3, 0, 5])
    x = cut(a)
    same(-x, -a)
    same(+x, +a)
    same(abs(x), abs(a))
    same(~x, ~a)
    same(divmod(x, 3), divmod(a, 3))
    same(divmod(9, x[:2]), divmod(9, a[:2]))
    same(ga.divmod(x, 3), np.divmod(a, 3))
    same(x + [1, 2, 3, 4], a + [1, 2, 3, 4])  # noqa: RUF005 (a sum)
    same((1, 2, 3, 4) - x, (1, 2, 3, 4) - a)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 0.5, 2.0, -1.0, -0.5, 1j])
@pytest.mark.parametrize("char", ["b", "l", "f", "d", "F"])
def test_powers(exponent, char, same):
    a = np.array([0, 1, 4, 7]).astype(char)
    with np.errstate(all="ignore"):
        expected, reverse = a**exponent, 2**a
    same(ga.asarray(a) ** exponent, expected, close=True)
    same(2 ** ga.asarray(a), reverse, close=True)


def test_square_root_of_minus_infinity_as_numpys_operator(same):
    a = np.array([-np.inf, -0.0])
    with np.errstate(all="ignore"):
        same(ga.asarray(a) ** 0.5, a**0.5)
        same(ga.power(a, 0.5), np.power(a, 0.5))


def test_negative_integer_powers_raise():
    x = ga.arange(3)
    with pytest.raises(ValueError, match="exponent -1"):
        x**-1
    with pytest.raises(ValueError, match="negative integer powers"):
        (2 ** (x - 1)).compute()


@pytest.mark.parametrize(
    "name", ["iadd", "isub", "imul", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor", "ilshift"]
)
def test_in_place(name, cut, same):
    a = np.array([5, 6, 7])
    x = cut(a, "ones")
    alias, kept = x, x.copy()
    x = getattr(operator, name)(x, 2)
    assert x is alias
    same(kept, a)
    same(x, getattr(operator, name)(a.copy(), 2))
    assert x.chunks == kept.chunks


def test_in_place_keeps_dtype_and_shape():
    x = ga.arange(3)
    with pytest.raises(TypeError, match="float64 to out's int64"):
        x += 0.5
    with pytest.raises(ValueError, match=r"\(3,\).*\(2, 3\)"):
        x += ga.ones((2, 3), dtype=int)
    y = ga.ones(3, dtype="f4")
    y += np.ones(3, "f8")
    assert y.dtype == np.float32
    assert x.compute().tolist() == [0, 1, 2]


def test_out(same):
    a = np.arange(6.0).reshape(2, 3)
    x, out = ga.asarray(a, chunks=1), ga.zeros((2, 3), chunks=2)
    chunks = out.chunks
    assert ga.add(x, 1, out=out) is out
    same(out, a + 1)
    assert out.chunks == chunks
    assert ga.sin(x, out) is out
    same(out, np.sin(a), close=True)
    assert ga.add([1, 2, 3], 1, out=(out,)) is out
    same(out, np.broadcast_to([2.0, 3, 4], (2, 3)))


def test_where(same):
    a, keep = np.array([4.0, 9.0, 16.0]), np.array([True, False, True])
    mine, theirs = ga.full(3, -1.0), np.full(3, -1.0)
    ga.sqrt(a, out=mine, where=keep)
    np.sqrt(a, out=theirs, where=keep)
    same(mine, theirs)
    with pytest.raises(ValueError, match="pass out="):
        ga.sqrt(a, where=keep)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c16", "i8"])
def test_dtype(dtype, same):
    a = np.array([1, 2, 3], "i4")
    same(ga.add(a, 1, dtype=dtype), np.add(a, 1, dtype=dtype))
    same(ga.multiply(a, a, dtype=dtype), np.multiply(a, a, dtype=dtype))
    if dtype != "i8":
        same(ga.sqrt(a, dtype=dtype), np.sqrt(a, dtype=dtype))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ga.sin(1, 2, 3), TypeError, "takes 1 array, got 3"),
        (lambda: ga.add(1), TypeError, "takes 2 arrays, got 1"),
        (lambda: ga.sin("a"), TypeError, "sin"),
        (lambda: ga.sin(object()), UnsupportedDTypeError, "object"),
        (lambda: ga.add(ga.ones(3), ga.ones(4)), ValueError, r"\(3,\) \(4,\)"),
        (lambda: ga.bitwise_and(1.5, 2), UnsupportedDTypeError, "Python float, Python int"),
        (lambda: ga.ones(3) & 1, UnsupportedDTypeError, "bitwise_and.*float64"),
        (lambda: -ga.asarray([True]), TypeError, "negative.*bool"),
        (lambda: ga.sqrt([4.0], dtype=int), TypeError, "sqrt"),
        (lambda: ga.sinc([4.0], dtype="f4"), TypeError, "astype"),
        (lambda: ga.add(1.5, 1, dtype=int), TypeError, "add"),
        (lambda: ga.add(1, 1, out=np.zeros(())), TypeError, "NDArray, got ndarray"),
        (lambda: ga.add([1, 2], 1, out=ga.zeros(3)), ValueError, r"\(3,\).*\(2,\)"),
        (lambda: ga.add([1.5], 1, out=ga.zeros(1, dtype=int)), TypeError, "float64 to out's int64"),
        (lambda: ga.add(1, 1, out=(ga.zeros(()), ga.zeros(()))), ValueError, "2 entries"),
        (lambda: ga.add(1, 1, no_such=3), TypeError, "no_such"),
        (lambda: ga.ones(2) + None, TypeError, "NoneType"),
        (lambda: ga.ones(2) < "a", TypeError, "str"),
        (lambda: ga.ones(2) == "a", TypeError, "str"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


# Those with arguments of their own.


@pytest.mark.parametrize("decimals", [0, 1, 3, -1, -2])
@pytest.mark.parametrize("char", ["i", "l", "f", "d", "D"])
def test_round(decimals, char, cut, same):
    a = (np.array([0.05, 1.5, 2.5, -2.675, 15.0, 149.95, 1e8]) * 3).astype(char)
    same(ga.round(cut(a), decimals), np.round(a, decimals))
    same(cut(a).round(decimals), a.round(decimals))


def test_round_of_what_is_not_finite(same):
    a = np.array([np.nan, np.inf, -np.inf, -0.0])
    same(ga.round(a, 2), np.round(a, 2))


def test_clip(cut, same):
    a = np.array([-5.0, np.nan, 0, 3, 9])
    x = cut(a)
    for low, high in ((0, 4), (None, 4), (0, None), (None, None), (4, 0), ([0, 1, 2, 3, 4], 3), (np.nan, 2)):
        same(ga.clip(x, low, high), np.clip(a, low, high))
        same(x.clip(low, high), a.clip(low, high))
    same(ga.clip(x, min=1), np.clip(a, min=1))
    same(ga.clip(cut(np.arange(5, dtype="u1")), 1, 3), np.clip(np.arange(5, dtype="u1"), 1, 3))
    with pytest.raises(OverflowError, match="-1"):
        ga.clip(cut(np.arange(5, dtype="u1")), -1, 3)
    with pytest.raises(ValueError, match="two names"):
        ga.clip(x, 1, 2, a_min=1)


def test_where_with_three(cut, same):
    a = np.arange(6).reshape(2, 3)
    x = cut(a)
    same(ga.where(x > 2, x, -1), np.where(a > 2, a, -1))
    same(ga.where(x, 1, 2.5), np.where(a, 1, 2.5))
    same(ga.where([[True], [False]], x, x * 1j), np.where([[True], [False]], a, a * 1j))
    same(ga.where(x > 2, np.float32(1), np.int8(0)), np.where(a > 2, np.float32(1), np.int8(0)))
    with pytest.raises(ValueError, match="both x and y"):
        ga.where(x, 1)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        ga.where(x, [1, 2], 0)


def test_the_rest(cut, same):
    a = np.array([1.5, -2.25, np.nan, np.inf, -np.inf, -0.0])
    x = cut(a)
    same(ga.nan_to_num(x), np.nan_to_num(a))
    same(ga.nan_to_num(x, nan=1, posinf=2, neginf=3), np.nan_to_num(a, nan=1, posinf=2, neginf=3))
    same(ga.nan_to_num(cut(a.astype("f4"))), np.nan_to_num(a.astype("f4")))
    same(ga.nan_to_num([1, 2]), np.nan_to_num([1, 2]))
    same(ga.modf(x), np.modf(a))
    assert np.signbit(ga.modf(x)[0].compute()).tolist() == np.signbit(np.modf(a)[0]).tolist()
    same(ga.modf(np.array([3], "i1")), np.modf(np.array([3], "i1")))
    z = np.array([1 + 1j, -1, 2j])
    for deg in (False, True):
        same(ga.angle(cut(z), deg), np.angle(z, deg), close=True)
    same(cut(z).real, z.real)
    same(cut(z).imag, z.imag)
    same(cut(z).conj(), z.conj())
    same(cut(z).conjugate(), z.conjugate())
    same(x.real, a.real)


def test_comparing(cut, same):
    a = np.array([1.0, 2.0, np.nan, np.inf, -np.inf, 1e-9])
    b = np.array([1.0 + 1e-9, 2.1, np.nan, np.inf, np.inf, 0.0])
    x, y = cut(a), cut(b)
    for equal_nan in (False, True):
        same(ga.isclose(x, y, equal_nan=equal_nan), np.isclose(a, b, equal_nan=equal_nan))
        assert bool(ga.allclose(x, x, equal_nan=equal_nan)) == np.allclose(a, a, equal_nan=equal_nan)
        assert bool(ga.array_equal(x, x, equal_nan=equal_nan)) == np.array_equal(a, a, equal_nan=equal_nan)
    same(ga.isclose(x, 1, rtol=1e-3, atol=0.5), np.isclose(a, 1, rtol=1e-3, atol=0.5))
    assert not ga.array_equal(x, x[:2])
    assert ga.allclose([1, 2], [1, 2])


@pytest.mark.parametrize("n", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_diff(n, axis, cut, same):
    a = np.random.default_rng(0).integers(0, 50, (5, 6))
    same(ga.diff(cut(a), n, axis), np.diff(a, n, axis))
    same(ga.diff(cut(a), n, axis, prepend=0, append=cut(a)), np.diff(a, n, axis, prepend=0, append=a))
    same(ga.diff(cut(a > 20), 1, axis), np.diff(a > 20, 1, axis))


def test_diff_errors():
    with pytest.raises(ValueError, match="-1"):
        ga.diff(ga.ones(3), -1)
    with pytest.raises(ValueError, match="one dimension"):
        ga.diff(ga.asarray(1))
