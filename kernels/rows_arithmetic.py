"""Rows of the table: arithmetic, and what rounds or orders."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.kernels.row import (
    BOOL,
    INT64,
    STRINGS,
    DType,
    Elementwise,
    Loop,
    Operand,
    kinds,
    promote,
)


def _round_loop(x: DType, decimals: Operand) -> Loop:
    result = np.dtype(np.float16) if x == BOOL else promote(x)
    return (result, INT64), result


def _round(xp: Any, dtype: DType, x: Any, decimals: Any) -> Any:
    return xp.round(x, int(decimals))


def _clip_loop(x: Operand, low: Operand, high: Operand) -> Loop:
    dtype = promote(x, low, high)
    return (dtype, dtype, dtype), dtype


def _clip(xp: Any, dtype: DType, x: Any, low: Any, high: Any) -> Any:
    return xp.clip(x, low, high)


def _comparison(name: str, doc: str, dunder: str, sign: str, complex_code: str) -> Elementwise:
    code = kinds("iuf", f"{{0}} {sign} {{1}}") | dict.fromkeys(("iu", "ui"), f"{{0}} {sign} {{1}}")
    code |= {"b": f"np.int8({{0}}) {sign} np.int8({{1}})", "c": complex_code}
    return Elementwise(name, 2, doc, code, ufunc=name, dunder=dunder, kinds="biufcmM" + STRINGS)


_MAGNITUDES = "np.uint64(abs(np.int64({0}))), np.uint64(abs(np.int64({1})))"

ROWS: tuple[Elementwise, ...] = (
    Elementwise("add", 2, "Sum.", kinds("iufc", "{0} + {1}") | {"b": "{0} | {1}"}, ufunc="add", dunder="add"),
    Elementwise("subtract", 2, "Difference.", kinds("iufc", "{0} - {1}"), ufunc="subtract", dunder="sub"),
    Elementwise(
        "multiply", 2, "Product.", kinds("iufc", "{0} * {1}") | {"b": "{0} & {1}"}, ufunc="multiply", dunder="mul"
    ),
    Elementwise(
        "divide",
        2,
        "Quotient in floating point.",
        {"f": "{0} / {1}", "c": "divide_complex({0}, {1}, {one})"},
        ufunc="divide",
        dunder="truediv",
        aliases=("true_divide",),
        cost=4,
    ),
    Elementwise(
        "floor_divide",
        2,
        "Largest integer not above the quotient; integer division by zero gives 0.",
        {
            "i": "floor_divide_int({0}, {1})",
            "u": "{0} // {1} if {1} != 0 else {T}(0)",
            "f": "floor_divide({0}, {1}, {one}, {big})",
        },
        ufunc="floor_divide",
        dunder="floordiv",
        cost=20,
    ),
    Elementwise(
        "remainder",
        2,
        "Remainder with the sign of the divisor.",
        {
            "i": "remainder_int({0}, {1})",
            "u": "{0} % {1} if {1} != 0 else {T}(0)",
            "f": "remainder({0}, {1})",
        },
        ufunc="remainder",
        dunder="mod",
        aliases=("mod",),
        cost=20,
    ),
    Elementwise(
        "fmod",
        2,
        "Remainder with the sign of the dividend, as in C.",
        {
            "i": "fmod_int({0}, {1})",
            "u": "{0} % {1} if {1} != 0 else {T}(0)",
            "f": "fmod({0}, {1})",
        },
        ufunc="fmod",
        cost=20,
    ),
    Elementwise(
        "power",
        2,
        "x1 to the power x2; of integers only interpreted, because a negative exponent must raise.",
        kinds("f", "{0} ** {1}"),
        ufunc="power",
        dunder="pow",
        aliases=("pow",),
        cost=40,
    ),
    Elementwise(
        "integer_power",
        2,
        "x1 to the power x2 for integers, where the caller knows that no exponent is negative.",
        kinds("iu", "integer_power({0}, {1}, {T}(1))"),
        ufunc="power",
        kinds="biu",
        cost=10,
    ),
    Elementwise(
        "float_power",
        2,
        "x1 to the power x2 in double precision.",
        kinds("f", "{0} ** {1}"),
        ufunc="float_power",
        cost=40,
    ),
    Elementwise("negative", 1, "-x.", kinds("iufc", "-{0}"), ufunc="negative", dunder="neg"),
    Elementwise("positive", 1, "+x.", kinds("iufc", "{0}"), ufunc="positive", dunder="pos", cost=0),
    Elementwise(
        "absolute",
        1,
        "Magnitude.",
        {"b": "{0}", "i": "abs({0})", "u": "{0}", "f": "math.fabs({0})", "c": "math.hypot({0}.real, {0}.imag)"},
        ufunc="absolute",
        dunder="abs",
        aliases=("abs",),
    ),
    Elementwise("fabs", 1, "Magnitude in floating point.", kinds("f", "math.fabs({0})"), ufunc="fabs"),
    Elementwise("square", 1, "x * x.", kinds("iufc", "{0} * {0}") | {"b": "{0}"}, ufunc="square"),
    Elementwise(
        "reciprocal",
        1,
        "1 / x in the dtype of x.",
        {"f": "{one} / {0}", "c": "reciprocal_complex({0}, {one})"},
        ufunc="reciprocal",
        cost=4,
    ),
    Elementwise(
        "sign",
        1,
        "-1, 0 or 1; NaN for NaN; x / |x| for complex x.",
        {
            "i": "({0} > 0) - ({0} < 0)",
            "u": "{0} != 0",
            "f": "{one} if {0} > 0 else (-{one} if {0} < 0 else ({T}(0) if {0} == 0 else {0}))",
        },
        ufunc="sign",
        cost=2,
    ),
    Elementwise(
        "gcd",
        2,
        "Greatest common divisor.",
        {"b": "{0} | {1}", "i": f"gcd({_MAGNITUDES})", "u": "gcd(np.uint64({0}), np.uint64({1}))"},
        ufunc="gcd",
        cost=200,
    ),
    Elementwise(
        "lcm",
        2,
        "Lowest common multiple.",
        {"b": "{0} & {1}", "i": f"lcm({_MAGNITUDES})", "u": "lcm(np.uint64({0}), np.uint64({1}))"},
        ufunc="lcm",
        cost=200,
    ),
    # rounding
    Elementwise(
        "floor",
        1,
        "Largest integer not above x.",
        kinds("biu", "{0}") | {"f": "floor_float({0}, {one}, {big})"},
        ufunc="floor",
    ),
    Elementwise(
        "ceil",
        1,
        "Smallest integer not below x.",
        kinds("biu", "{0}") | {"f": "ceil_float({0}, {one}, {big})"},
        ufunc="ceil",
    ),
    Elementwise(
        "trunc",
        1,
        "x without its fraction.",
        kinds("biu", "{0}") | {"f": "trunc_float({0}, {one}, {big})"},
        ufunc="trunc",
        aliases=("fix",),
    ),
    Elementwise(
        "rint",
        1,
        "Nearest integer, halves to even.",
        {"f": "rint_float({0}, {big})", "c": "complex(rint_float({0}.real, {big}), rint_float({0}.imag, {big}))"},
        ufunc="rint",
    ),
    Elementwise(
        "round",
        2,
        "Rounded to a number of decimals, which is a scalar.",
        {
            "fi": "round_decimals({0}, {F}(10.0 ** np.float64(abs({1}))), {1}, {big})",
            "ci": "round_decimals_complex({0}, {F}(10.0 ** np.float64(abs({1}))), {1}, {big})",
        },
        aliases=("around",),
        cost=10,
        kinds="biufc",
        rule=_round_loop,
        function=_round,
    ),
    # order
    Elementwise(
        "maximum",
        2,
        "The larger; NaN if either is.",
        kinds("iuf", "maximum({0}, {1})") | {"b": "{0} | {1}", "c": "maximum_complex({0}, {1})"},
        ufunc="maximum",
    ),
    Elementwise(
        "minimum",
        2,
        "The smaller; NaN if either is.",
        kinds("iuf", "minimum({0}, {1})") | {"b": "{0} & {1}", "c": "minimum_complex({0}, {1})"},
        ufunc="minimum",
    ),
    Elementwise(
        "fmax",
        2,
        "The larger; a NaN is passed over.",
        kinds("iuf", "fmax({0}, {1})") | {"b": "{0} | {1}", "c": "fmax_complex({0}, {1})"},
        ufunc="fmax",
    ),
    Elementwise(
        "fmin",
        2,
        "The smaller; a NaN is passed over.",
        kinds("iuf", "fmin({0}, {1})") | {"b": "{0} & {1}", "c": "fmin_complex({0}, {1})"},
        ufunc="fmin",
    ),
    Elementwise(
        "clip",
        3,
        "x held between a lower and an upper bound.",
        kinds("iuf", "clip({0}, {1}, {2})") | {"b": "({0} | {1}) & {2}"},
        cost=2,
        rule=_clip_loop,
        function=_clip,
    ),
    _comparison("equal", "x1 == x2.", "eq", "==", "({0}.real == {1}.real) & ({0}.imag == {1}.imag)"),
    _comparison("not_equal", "x1 != x2.", "ne", "!=", "({0}.real != {1}.real) | ({0}.imag != {1}.imag)"),
    _comparison("less", "x1 < x2.", "lt", "<", "less_complex({0}, {1})"),
    _comparison("less_equal", "x1 <= x2.", "le", "<=", "less_equal_complex({0}, {1})"),
    _comparison("greater", "x1 > x2.", "gt", ">", "less_complex({1}, {0})"),
    _comparison("greater_equal", "x1 >= x2.", "ge", ">=", "less_equal_complex({1}, {0})"),
)
