"""Rows of the table: exponentials, logarithms, trigonometry and other functions of floating-point numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpuarray.kernels.row import FLOAT64, DType, Elementwise, Loop, kinds, promote, real_type


def _math(name: str, doc: str, cost: float, *aliases: str, code: str = "", complex_code: str = "") -> Elementwise:
    """A function of one float that `math` has, under NumPy's name or its own.

    Of `cmath`, only `exp` and `sqrt` are as accurate as NumPy's and give its infinities and NaNs; the rest of the
    complex functions are interpreted.
    """
    texts = {"f": code or f"math.{aliases[0] if name.startswith('arc') else name}({{0}})"}
    if complex_code:
        texts["c"] = complex_code
    return Elementwise(name, 1, doc, texts, ufunc=name, aliases=aliases, cost=cost)


def _binary(name: str, doc: str, cost: float, code: str, *aliases: str) -> Elementwise:
    return Elementwise(name, 2, doc, {"f": code}, ufunc=name, aliases=aliases, cost=cost)


def _float_of(x: DType) -> DType:
    """The floating dtype in which NumPy computes a function of `x` that has no integer loops."""
    return x if x.kind in "fc" else FLOAT64


def _sinc_loop(x: DType) -> Loop:
    return (_float_of(x),), _float_of(x)


def _sinc(xp: Any, dtype: DType, x: Any) -> Any:
    return xp.sinc(x)


def _angle_loop(x: DType) -> Loop:
    if x.kind == "c":
        return (x,), real_type(x)
    result: DType = np.arctan2.resolve_dtypes((int, x, None))[-1]
    return (result,), result


def _angle(xp: Any, dtype: DType, x: Any) -> Any:
    return xp.angle(x)


def _nan_to_num_loop(x: DType, nan: Any, posinf: Any, neginf: Any) -> Loop:
    other = real_type(x) if x.kind in "fc" else FLOAT64
    return (x, other, other, other), x


def _nan_to_num(xp: Any, dtype: DType, x: Any, nan: Any, posinf: Any, neginf: Any) -> Any:
    return xp.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


def _signed_infinity(name: str, sign: str) -> Elementwise:
    def function(xp: Any, dtype: DType, x: Any) -> Any:
        return getattr(xp, name)(x)

    doc = f"Whether x is {'minus' if sign else 'plus'} infinity."
    code = kinds("biu", "False") | {"f": f"{{0}} == {{T}}({sign}math.inf)"}
    return Elementwise(
        name, 1, doc, code, kinds="biuf", rule=lambda x: ((promote(x),), np.dtype(bool)), function=function
    )


def _sinc_code(operands: tuple[DType, ...], result: DType) -> str | None:
    if result.kind != "f":
        return None
    return f"sinc({{T}}({math.pi!r}) * {{0}}, {{T}}({float(np.finfo(result).eps)!r}))"


_LOG2 = repr(math.log(2))
_LOG2E = repr(1 / math.log(2))
_DEGREE = f"{{0}} * ({{T}}({math.pi!r}) / {{T}}(180))"
_RADIAN = f"{{0}} * ({{T}}(180) / {{T}}({math.pi!r}))"

ROWS: tuple[Elementwise, ...] = (
    _math("exp", "e to the power x.", 20, complex_code="cmath.exp({0})"),
    _math("exp2", "2 to the power x.", 20),
    _math("expm1", "e to the power x, less 1.", 30),
    _math("log", "Natural logarithm.", 20),
    _math("log2", "Logarithm to base 2.", 20),
    _math("log10", "Logarithm to base 10.", 20),
    _math("log1p", "Logarithm of 1 + x.", 30),
    _math("sqrt", "Square root.", 6, complex_code="cmath.sqrt({0})"),
    _math("cbrt", "Cube root.", 50, code="cbrt({0}, {T}(3))"),
    _math("sin", "Sine.", 20),
    _math("cos", "Cosine.", 20),
    _math("tan", "Tangent.", 30),
    _math("arcsin", "Inverse sine.", 30, "asin"),
    _math("arccos", "Inverse cosine.", 30, "acos"),
    _math("arctan", "Inverse tangent.", 30, "atan"),
    _math("sinh", "Hyperbolic sine.", 30),
    _math("cosh", "Hyperbolic cosine.", 30),
    _math("tanh", "Hyperbolic tangent.", 30),
    _math("arcsinh", "Inverse hyperbolic sine.", 30, "asinh"),
    _math("arccosh", "Inverse hyperbolic cosine.", 30, "acosh"),
    _math("arctanh", "Inverse hyperbolic tangent.", 30, "atanh"),
    _math("deg2rad", "Degrees to radians.", 1, code=_DEGREE),
    _math("radians", "Degrees to radians.", 1, code=_DEGREE),
    _math("rad2deg", "Radians to degrees.", 1, code=_RADIAN),
    _math("degrees", "Radians to degrees.", 1, code=_RADIAN),
    _binary("arctan2", "Angle of the point (x2, x1).", 40, "math.atan2({0}, {1})", "atan2"),
    _binary("hypot", "Length of the vector (x1, x2).", 20, "math.hypot({0}, {1})"),
    _binary("copysign", "x1 with the sign of x2.", 1, "math.copysign({0}, {1})"),
    _binary("nextafter", "The next number after x1 towards x2.", 4, "math.nextafter({0}, {1})"),
    _binary("logaddexp", "log(exp(x1) + exp(x2)).", 60, f"logaddexp({{0}}, {{1}}, {{T}}({_LOG2}))"),
    _binary("logaddexp2", "log2(2**x1 + 2**x2).", 60, f"logaddexp2({{0}}, {{1}}, {{one}}, {{T}}({_LOG2E}))"),
    _binary("heaviside", "0 below 0, 1 above 0, x2 at 0.", 2, "heaviside({0}, {1}, {one})"),
    Elementwise(
        "ldexp", 2, "x1 * 2**x2.", {"fi": "math.ldexp({0}, min(max({1}, -20000), 20000))"}, ufunc="ldexp", cost=10
    ),
    Elementwise("spacing", 1, "Distance to the next larger magnitude.", ufunc="spacing", cost=4),
    Elementwise("sinc", 1, "sin(pi x) / (pi x).", _sinc_code, cost=30, kinds="biufc", rule=_sinc_loop, function=_sinc),
    Elementwise(
        "angle",
        1,
        "Argument of a complex number.",
        {"f": "math.atan2({T}(0), {0})", "c": "math.atan2({0}.imag, {0}.real)"},
        cost=40,
        kinds="biufc",
        rule=_angle_loop,
        function=_angle,
    ),
    Elementwise(
        "nan_to_num",
        4,
        "x with NaN and the infinities replaced by x2, x3 and x4.",
        {
            "f": "nan_to_num({0}, {1}, {2}, {3})",
            "cfff": "nan_to_num_complex({0}, {1}, {2}, {3})",
            "bfff": "{0}",
            "ifff": "{0}",
            "ufff": "{0}",
        },
        cost=3,
        kinds="biufc",
        rule=_nan_to_num_loop,
        function=_nan_to_num,
    ),
    # what kind of number it is
    Elementwise(
        "isnan",
        1,
        "Whether x is not a number.",
        kinds("biu", "False") | {"f": "{0} != {0}", "c": "isnan_complex({0})"},
        ufunc="isnan",
    ),
    Elementwise(
        "isinf",
        1,
        "Whether x is infinite.",
        kinds("biu", "False")
        | {
            "f": "math.fabs({0}) == {T}(math.inf)",
            "c": "(math.fabs({0}.real) == {F}(math.inf)) | (math.fabs({0}.imag) == {F}(math.inf))",
        },
        ufunc="isinf",
    ),
    Elementwise(
        "isfinite",
        1,
        "Whether x is neither infinite nor NaN.",
        kinds("biu", "True")
        | {
            "f": "math.fabs({0}) < {T}(math.inf)",
            "c": "(math.fabs({0}.real) < {F}(math.inf)) & (math.fabs({0}.imag) < {F}(math.inf))",
        },
        ufunc="isfinite",
    ),
    _signed_infinity("isneginf", "-"),
    _signed_infinity("isposinf", ""),
    Elementwise("signbit", 1, "Whether the sign bit is set.", {"f": "math.copysign({one}, {0}) < 0"}, ufunc="signbit"),
    Elementwise("isnat", 1, "Whether x is not a time.", ufunc="isnat", kinds="mM"),
)
