"""Programs as the body of a CUDA kernel: the rows' own scalar code, but for what CUDA's library does worse."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np

from gpuarray.kernels.cuda.positions import FUNCTIONS
from gpuarray.kernels.program import Program
from gpuarray.kernels.row import DType, Elementwise, type_name
from gpuarray.kernels.table import ELEMENTWISE

SUBSTITUTES = {
    "10.0 ** np.float64(abs({1}))": "power_of_ten(abs({1}))",
    "math.nextafter(": "nextafter(",
}
"""Parts of texts, and what stands for them on CUDA."""


HALF = np.dtype(np.float16)
_COMPLEX = "compiled complex functions are less accurate than NumPy's, and differ at infinities"
INTERPRETED: dict[tuple[str, str], str] = {
    ("power", "iu"): "a negative exponent must raise; integer_power is for those that are known not to be",
    ("power", "c"): _COMPLEX,
    ("float_power", "c"): _COMPLEX,
    ("reciprocal", "iu"): "NumPy's result for 0 is not defined",
    ("sign", "c"): "x / |x| is not NumPy's at infinities",
    ("round", "iu"): "NumPy rounds integers by way of floats, beyond 2**53 too",
    ("clip", "c"): "NumPy's order of complex numbers with NaN",
    ("spacing", "f"): "there is no function for it on the CPU either",
    ("sinc", "c"): _COMPLEX,
    **{
        (name, "c"): _COMPLEX
        for name in (
            *("exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "sinh", "cosh", "tanh"),
            *("arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh"),
        )
    },
}
"""The rows that have no CUDA code, by name and kinds of dtype, and why. On the CPU they have none either. Times and
strings are interpreted everywhere; half precision on the CPU, and here what is more than one of NumPy's loops."""


def text_of(row: Elementwise, operands: tuple[DType, ...], result: DType) -> str | None:
    """`Elementwise.code_for` for CUDA: the scalar code of one loop, or None where the row is only interpreted."""
    text = _half_text(row, operands, result) if HALF in (*operands, result) else row.code_for(operands, result)
    if text is not None:
        for part, substitute in SUBSTITUTES.items():
            text = text.replace(part, substitute)
    return text


def _half_text(row: Elementwise, operands: tuple[DType, ...], result: DType) -> str | None:
    """The code for half precision: that for single precision, whose result the caller rounds once, as NumPy's loops do.

    Casts aside, of rows that are one loop of NumPy's.
    """
    if row.name == "cast":
        (source,) = operands
        if source.kind == "f" or result.kind == "f":  # integers by way of single precision, like NumPy's
            wide = "np.float32({0})" if source == HALF or source.kind in "biu" else "{0}"
            return wide if result.kind != "b" else f"{wide} != np.float32(0)"
        return None
    if row.name in ("nextafter", "spacing") or (row.ufunc is None and row.name != "where"):
        return None
    single = np.dtype(np.float32)
    text = row.code_for(tuple(single if d == HALF else d for d in operands), single if result == HALF else result)
    if text is None:
        return None
    for k, d in enumerate(operands):
        if d == HALF:
            text = text.replace(f"{{{k}}}", f"np.float32({{{k}}})")
    return text


def missing(program: Program) -> str:
    """Why a program has no CUDA kernel, or an empty text: then it has one.

    >>> from gpuarray.kernels.program import Builder
    >>> b = Builder()
    >>> missing(b.build(b.step("sin", b.input("array", "complex64"))))
    'sin of complex64 has no scalar code'
    """
    for dtype in (program.dtype_of(k) for k in range(len(program.inputs) + len(program.steps))):
        if dtype.kind not in "biufc" or dtype.char in "gG" or not dtype.isnative:
            return f"{dtype} is no dtype of CUDA kernels"
    for step in program.steps:
        operands = tuple(program.dtype_of(a) for a in step.args)
        if text_of(ELEMENTWISE[step.op], operands, np.dtype(step.dtype)) is None:
            return f"{step.op} of {operands[0]} has no scalar code"
    return ""


def steps(program: Program, name: Callable[[int], str]) -> Iterator[str]:
    """One line per step of the program; `name` says what a value is called.

    >>> from gpuarray.kernels.program import Builder
    >>> b = Builder()
    >>> x = b.input("array", "float32")
    >>> list(steps(b.build(b.step("multiply", x, x)), lambda value: f"v{value}"))
    ['v1 = np.float32(v0 * v0)']
    """
    first = len(program.inputs)
    for k, step in enumerate(program.steps):
        result = np.dtype(step.dtype)
        text = text_of(ELEMENTWISE[step.op], tuple(program.dtype_of(a) for a in step.args), result)
        assert text is not None, f"{step.op} has no scalar code for {step.dtype}"
        yield f"{name(first + k)} = {type_name(result)}({text.format(*(name(a) for a in step.args))})"


def scalar_parameters(name: str, dtype: DType) -> tuple[list[tuple[str, str]], list[str]]:
    """A scalar as parameters of a kernel, (name, type) each, and the lines that make it of them.

    >>> scalar_parameters("v1", np.dtype("complex64"))
    ([('v1_real', 'float32'), ('v1_imag', 'float32')], ['v1 = np.complex64(complex(v1_real, v1_imag))'])
    """
    if dtype.kind == "c":
        part = f"float{4 * dtype.itemsize}"
        parameters = [(f"{name}_real", part), (f"{name}_imag", part)]
        return parameters, [f"{name} = {type_name(dtype)}(complex({name}_real, {name}_imag))"]
    if dtype.kind == "b":
        return [(f"{name}_bits", "uint8")], [f"{name} = {name}_bits != np.uint8(0)"]
    if dtype == HALF:
        return [(f"{name}_wide", "float32")], [f"{name} = np.float16({name}_wide)"]
    return [(name, dtype.name)], []


def choice(name: str, cases: list[tuple[str, str]], value: str) -> Iterator[str]:
    """Give `name` the value of the first case that holds, or the last value."""
    if not cases:
        yield f"{name} = {value}"
        return
    for k, (condition, one) in enumerate(cases):
        yield f"{'elif' if k else 'if'} {condition}:"
        yield f"    {name} = {one}"
    yield "else:"
    yield f"    {name} = {value}"


def moved(at: str, axis: int, mode: str, offset: int) -> Iterator[str]:
    """Put the position `at`, which is `offset` from the point, where its element is if it is past an end."""
    if mode in FUNCTIONS:
        yield f"if {f'{at} < 0' if offset < 0 else f'{at} >= n{axis}'}:"
        yield f"    {at} = {FUNCTIONS[mode]}({at}, n{axis})"


def indented(lines: Iterator[str] | list[str], by: int = 1) -> list[str]:
    return ["    " * by + line for line in lines]


def kernel_text(title: str, parameters: list[tuple[str, str]], body: Iterator[str] | list[str]) -> str:
    """The whole text of a kernel."""
    names = ", ".join(name for name, _ in parameters)
    return "\n".join([f"# {re.sub(r'[^ -~]', '', title)}", f"def kernel({names}):", *indented(body)]) + "\n"
