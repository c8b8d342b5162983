"""Rows of the table: bits, truth values, complex parts, choice, conversion and random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.kernels import philox
from gpuarray.kernels.errors import UnsupportedDTypeError
from gpuarray.kernels.row import (
    BOOL,
    INT64,
    STRINGS,
    UINT64,
    DType,
    Elementwise,
    Loop,
    Operand,
    kinds,
    promote,
    real_type,
)


def _logical(name: str, doc: str, code: str) -> Elementwise:
    """`code` in terms of two truth values."""
    truth = code.format("({0} != {T}(0))", "({1} != {T}(0))")
    return Elementwise(name, 2, doc, {"b": code} | kinds("iufc", truth), ufunc=name, kinds="biufc")


def _bitwise(name: str, doc: str, dunder: str, sign: str) -> Elementwise:
    return Elementwise(name, 2, doc, kinds("biu", f"{{0}} {sign} {{1}}"), ufunc=name, dunder=dunder, kinds="biu")


def _where_loop(condition: Operand, x: Operand, y: Operand) -> Loop:
    dtype = promote(x, y)
    return (BOOL, dtype, dtype), dtype


def _where(xp: Any, dtype: DType, condition: Any, x: Any, y: Any) -> Any:
    return xp.where(condition, x, y)


def _cast_loop(x: Operand) -> Loop:
    dtype = promote(x, x)
    return (dtype,), dtype


def _cast(xp: Any, dtype: DType, x: Any) -> Any:
    if x.dtype.kind == "c" and dtype.kind not in "cb":
        x = x.real  # NumPy would warn that it drops the imaginary part
    return x.astype(dtype)


def _cast_code(operands: tuple[DType, ...], result: DType) -> str | None:
    source = operands[0]
    if result.kind == "b":
        return "{0} != {T}(0)"
    return "{0}.real" if source.kind == "c" and result.kind != "c" else "{0}"


def _part_loop(x: Operand) -> Loop:
    dtype = promote(x, x)
    return (dtype,), real_type(dtype)


def _real(xp: Any, dtype: DType, x: Any) -> Any:
    return x.real.copy()


def _imag(xp: Any, dtype: DType, x: Any) -> Any:
    return x.imag.copy()


def _random(name: str, dtype: str, doc: str, cost: float, *parameters: DType) -> Elementwise:
    """A row whose operands are key, stream, index and `parameters`, which the code takes in exactly these dtypes."""
    loop: Loop = (UINT64, UINT64, INT64, *parameters), np.dtype(dtype)
    generate = getattr(philox, name)

    def rule(*operands: Operand) -> Loop:
        for given, wanted in zip(operands, loop[0], strict=True):
            if isinstance(given, np.dtype) and given.kind not in "iu":
                raise UnsupportedDTypeError(f"{name} takes {', '.join(d.name for d in loop[0])}; got {given}")
            del wanted
        return loop

    def function(xp: Any, dtype: DType, key: Any, stream: Any, index: Any, *rest: Any) -> Any:
        # the generator is NumPy's: arrays of other libraries go by way of the host (their compiled kernels do not)
        host = [a if isinstance(a, np.generic | np.ndarray) else xp.asnumpy(a) for a in (key, stream, index, *rest)]
        shape = np.broadcast_shapes(*(a.shape for a in host))
        # NumPy warns when a scalar wraps around, and never when an array does
        return xp.asarray(generate(*(np.atleast_1d(a) for a in host)).reshape(shape))

    code = f"{name}({', '.join(f'{{{k}}}' for k in range(len(loop[0])))})"
    return Elementwise(
        name,
        len(loop[0]),
        doc,
        lambda operands, result: code,
        cost=cost,
        kinds="iu",
        rule=rule,
        function=function,
    )


ROWS: tuple[Elementwise, ...] = (
    # bits
    _bitwise("bitwise_and", "Bits set in both.", "and", "&"),
    _bitwise("bitwise_or", "Bits set in either.", "or", "|"),
    _bitwise("bitwise_xor", "Bits set in one of the two.", "xor", "^"),
    Elementwise(
        "invert",
        1,
        "All bits flipped; not, for bool.",
        kinds("iu", "~{0}") | {"b": "not {0}"},
        ufunc="invert",
        dunder="invert",
        aliases=("bitwise_invert", "bitwise_not"),
        kinds="biu",
    ),
    Elementwise(
        "left_shift",
        2,
        "Bits moved to the left; 0 from the width of the dtype on.",
        {
            "i": "{0} << {1} if ({1} >= 0) & ({1} < {bits}) else 0",
            "u": "{0} << {1} if {1} < {bits} else {T}(0)",
        },
        ufunc="left_shift",
        dunder="lshift",
        aliases=("bitwise_left_shift",),
        kinds="biu",
    ),
    Elementwise(
        "right_shift",
        2,
        "Bits moved to the right; the sign from the width of the dtype on.",
        {
            "i": "{0} >> ({1} if ({1} >= 0) & ({1} < {bits}) else {T}({bits} - 1))",
            "u": "{0} >> {1} if {1} < {bits} else {T}(0)",
        },
        ufunc="right_shift",
        dunder="rshift",
        aliases=("bitwise_right_shift",),
        kinds="biu",
    ),
    Elementwise(
        "bitwise_count",
        1,
        "Ones among the bits of the magnitude.",
        {"i": "popcount(np.uint64(abs(np.int64({0}))))", "u": "popcount(np.uint64({0}))"},
        ufunc="bitwise_count",
        cost=10,
        kinds="biu",
    ),
    # truth
    _logical("logical_and", "Whether both are true.", "{0} & {1}"),
    _logical("logical_or", "Whether either is true.", "{0} | {1}"),
    _logical("logical_xor", "Whether one of the two is true.", "{0} ^ {1}"),
    Elementwise(
        "logical_not",
        1,
        "Whether x is false.",
        {"b": "not {0}"} | kinds("iufc", "{0} == {T}(0)"),
        ufunc="logical_not",
        kinds="biufc",
    ),
    # complex parts
    Elementwise(
        "conjugate",
        1,
        "Complex conjugate.",
        kinds("iuf", "{0}") | {"c": "complex({0}.real, -{0}.imag)"},
        ufunc="conjugate",
        aliases=("conj",),
        kinds="biufc",
    ),
    Elementwise(
        "real",
        1,
        "Real part.",
        kinds("biuf", "{0}") | {"c": "{0}.real"},
        cost=0,
        kinds="biufc",
        rule=_part_loop,
        function=_real,
    ),
    Elementwise(
        "imag",
        1,
        "Imaginary part.",
        kinds("biuf", "{T}(0)") | {"c": "{0}.imag"},
        cost=0,
        kinds="biufc",
        rule=_part_loop,
        function=_imag,
    ),
    # choice and conversion
    Elementwise(
        "where",
        3,
        "x2 where x1 is true, else x3.",
        {"b": "{1} if {0} else {2}"} | dict.fromkeys(("bii", "buu", "bff", "bcc"), "{1} if {0} else {2}"),
        kinds="biufcmM" + STRINGS,
        rule=_where_loop,
        function=_where,
    ),
    Elementwise(
        "cast",
        1,
        "x converted to the dtype of the step; an imaginary part is dropped.",
        _cast_code,
        kinds="biufcmM" + STRINGS,
        rule=_cast_loop,
        function=_cast,
    ),
    # random numbers of (key, stream, index): see `gpuarray.kernels.philox`
    _random("random_bits", "uint64", "64 random bits.", 30),
    _random("random_uniform", "float64", "Uniform in [0, 1).", 32),
    _random("random_uniform32", "float32", "Uniform in [0, 1), in single precision.", 32),
    _random("random_normal", "float64", "Standard normal.", 70),
    _random("random_normal32", "float32", "Standard normal, in single precision.", 70),
    _random("random_exponential", "float64", "Standard exponential.", 55),
    _random("random_exponential32", "float32", "Standard exponential, in single precision.", 55),
    _random("random_integers", "int64", "Integers in [x4, x4 + x5); x5 = 0 stands for 2**64.", 36, INT64, UINT64),
)
