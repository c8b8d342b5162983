"""CUDA kernels run by Numba's simulator on small arrays, against the interpreter: the same bits (see `simulator`)."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.program import Builder, Program
from tests.kernels.simulator import (
    aligned,
    begins_aligned,
    checks,
    finite,
    main,
    new,
    number,
    perform,
    perform_all,
    place,
    run,
    same,
    sample,
    simulate,
)

DTYPES = ["bool", "int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"]
FLOATS = ["float32", "float64", "complex64", "complex128"]


def arithmetic(dtype: str) -> tuple[Program, bool]:
    b = Builder()
    x, y = b.input("array", dtype), b.input("array", dtype)
    if dtype == "bool":
        return b.build(b.step("logical_xor", x, b.step("add", x, y))), False
    s = b.input("scalar", dtype)
    return b.build(b.step("add", b.step("multiply", x, s), b.step("subtract", y, x))), True


def check_contiguous_arithmetic() -> None:
    from gpuarray.kernels.cuda import elementwise_code

    for dtype in DTYPES + FLOATS:
        program, scalar = arithmetic(dtype)
        for n, threads, blocks in ((0, 8, 1), (1, 8, 1), (37, 8, 1), (1043, 16, 2)):
            x, y, out = sample((n,), dtype), sample((n,), dtype, 1), aligned((n,), dtype)
            value = np.dtype(dtype).type(3)
            arguments = number(value, dtype) if scalar else []
            kernel = elementwise_code.contiguous_kernel(program, elementwise_code.contiguous(program))
            run(kernel, (blocks,), (threads,), place(out), place(x), place(y), *arguments, n)
            same(out, program.interpret(np, x, y, *([value] if scalar else []))[0], dtype)


def check_unaligned_and_in_place() -> None:
    from gpuarray.kernels.cuda import elementwise_code
    from gpuarray.kernels.cuda.elementwise_code import Operands

    for dtype in ("int8", "float64"):
        program, _ = arithmetic(dtype)
        x, y = sample((331,), dtype, shift=1), sample((331,), dtype, 1, shift=3)
        value = np.dtype(dtype).type(3)
        expected = program.interpret(np, x, y, value)[0]
        out = aligned((331,), dtype, shift=1)
        kernel = elementwise_code.contiguous_kernel(program, Operands("uu-"), aligned=False)
        run(kernel, (2,), (16,), place(out), place(x), place(y), value, 331)
        same(out, expected, dtype)
        x = sample((331,), dtype)
        expected = program.interpret(np, x, y, value)[0]
        y = aligned((331,), dtype)
        y[:] = sample((331,), dtype, 1, shift=3)
        kernel = elementwise_code.contiguous_kernel(program, Operands("uu-", coherent=True))
        run(kernel, (2,), (16,), place(x), place(x), place(y), value, 331)
        same(x, expected, dtype)


def check_one_element_for_all() -> None:
    from gpuarray.kernels.cuda import elementwise_code
    from gpuarray.kernels.cuda.elementwise_code import Operands

    b = Builder()
    x, y, k = b.input("array", "float32"), b.input("array", "bool"), b.input("index", "int64")
    program = b.build(b.step("where", y, b.step("add", x, k), k), b.step("less", k, x))
    x, y = sample((1,), "float32", 5), aligned((100,), "bool")
    y[::3] = True
    first, second = aligned((100,), "float64"), aligned((100,), "bool")
    kernel = elementwise_code.contiguous_kernel(program, Operands("cuu"))
    run(kernel, (1,), (16,), place(first), place(second), place(x), place(y), -50, 2, 100)
    expected = program.interpret(np, x, y, np.arange(100) * 2 - 50)
    same(first, expected[0])
    same(second, expected[1])


def check_strided() -> None:
    from gpuarray.kernels.cuda import elementwise_code
    from gpuarray.kernels.cuda.elementwise_code import Operands

    for dtype, wide in itertools.product(("float64", "int16", "complex64", "bool"), (False, True)):
        program, scalar = arithmetic(dtype)
        x = sample((7, 5, 4), dtype).transpose(1, 2, 0)
        y = sample((5, 9, 7), dtype, 1)[::-1, ::2][:, :4]
        base = aligned((5, 4, 14), dtype)
        out = base[:, :, ::2]
        value = np.dtype(dtype).type(3)
        kernel = elementwise_code.strided_kernel(program, Operands("ss-" if scalar else "ss"), 3, wide)
        places = [place(a) for a in (out, x, y)]
        moves = [s for a in (out, x, y) for s in a.strides]
        scalars = number(value, dtype) if scalar else []
        run(kernel, (2,), (16,), *places, *moves, *scalars, 4, 7, 140)
        same(np.ascontiguousarray(out), program.interpret(np, x, y, *([value] if scalar else []))[0], dtype)


def check_layouts() -> None:
    """What `calls.elementwise` chooses for arrays of all kinds."""
    from gpuarray.kernels.cuda import calls

    program, _ = arithmetic("float64")
    flat, cube = sample((3 * 36 * 70,), "float64"), (3, 36, 70)
    layouts: list[tuple[str, Any]] = [
        ("contiguous", flat.reshape(cube)),
        ("contiguous", np.broadcast_to(sample((1,), "float64"), cube)),
        ("squares", sample((3, 70, 36), "float64").transpose(0, 2, 1)),
        ("strided", sample((70, 36, 3), "float64").transpose(2, 1, 0)),
        ("strided", np.broadcast_to(sample((70,), "float64"), cube)),
        ("strided", sample((3, 36, 140), "float64")[:, ::-1, ::-2]),
    ]
    for (first, x), (second, y) in itertools.product(layouts[:5:2], layouts):
        out = aligned(cube, "float64")
        call = calls.elementwise(program, [x, y, 3.0], [out], place, begins_aligned)
        assert call is not None
        title = call.kernel.source.splitlines()[0]
        kind = (
            "contiguous"
            if {first, second} == {"contiguous"}
            else "squares"
            if "squares" in (first, second)
            else "strided"
        )
        assert kind in title, (title, first, second)
        perform(call, (2,), call.threads if call.threads[1] > 1 else (32,))
        same(out, program.interpret(np, x, y, 3.0)[0], title)
    for shape in ((), (1,), (0, 4), (5, 1)):
        x, out = sample(shape, "float64"), aligned(shape, "float64")
        call = calls.elementwise(program, [x, x, 3.0], [out], place, begins_aligned)
        if call is None:
            assert 0 in shape
        else:
            perform(call, (2,), (8,))
            same(out, np.asarray(program.interpret(np, x, x, 3.0)[0]), str(shape))
    x, y, out = (sample((42,), "float64", k, shift=1)[::-1] for k in range(3))  # aligned where they begin alone
    call = calls.elementwise(program, [x, y, 3.0], [out], place, begins_aligned)
    assert begins_aligned(out)
    perform(call, (2,), (8,))
    same(np.ascontiguousarray(out), program.interpret(np, x, y, 3.0)[0])
    x, y, out = sample((40, 60), "float64"), sample((60,), "float64", 1), aligned((40, 60), "float64")[::-1, ::-1]
    call = calls.elementwise(program, [x, y, 3.0], [out], place, begins_aligned)
    perform(call, (2,), (32,))
    same(np.ascontiguousarray(out), program.interpret(np, x, y, 3.0)[0])


def check_random_numbers() -> None:
    from gpuarray.kernels import philox
    from gpuarray.kernels.cuda import elementwise_code

    for name, dtype in philox.OPERATIONS:
        b = Builder()
        single = dtype == "float32"
        inputs = [b.input("scalar", "uint64"), b.input("scalar", "uint64"), b.input("index", "int64")]
        extra = [np.int64(-500), np.uint64(1000)] if name == "random_integers" else []
        inputs += [b.input("scalar", e.dtype) for e in extra]
        program = b.build(b.step(name + ("32" if single else ""), *inputs))
        out = aligned((50,), dtype)
        kernel = elementwise_code.contiguous_kernel(program, elementwise_code.contiguous(program))
        key, stream = 2**64 - 7, 2**63 + 5
        run(kernel, (1,), (8,), place(out), 2**40 + 1, 3, key, stream, *extra, 50)
        index = 2**40 + 1 + 3 * np.arange(50)
        same(out, philox.interpret(name, dtype, key, stream, index, *(int(e) for e in extra)), name)
        strided = elementwise_code.strided_kernel(program, elementwise_code.contiguous(program), 2)
        run(
            strided,
            (1,),
            (8,),
            place(out),
            2**40 + 1,
            5 * out.itemsize,
            out.itemsize,
            15,
            3,
            key,
            stream,
            *extra,
            5,
            50,
        )
        same(out, philox.interpret(name, dtype, key, stream, index, *(int(e) for e in extra)), name)


def check_rows_of_arithmetic() -> None:
    """What is exact, for every dtype: the bits of NumPy, special values and zero divisors among the operands."""
    from gpuarray.kernels.cuda import elementwise_code, scalar_code
    from gpuarray.kernels.table import ELEMENTWISE

    binary = (
        "add subtract multiply divide floor_divide remainder fmod maximum minimum fmax fmin equal less greater_equal"
    )
    binary += " bitwise_and left_shift right_shift gcd lcm logical_or copysign nextafter heaviside"
    unary = "negative absolute square reciprocal sign floor ceil trunc rint invert logical_not conjugate isnan isinf"
    unary += " isfinite signbit sqrt bitwise_count"
    for name, dtype in itertools.product(f"{binary} {unary}".split(), ["float16", *DTYPES, *FLOATS]):
        row = ELEMENTWISE[name]
        b = Builder()
        try:
            program = b.build(b.step(name, *(b.input("array", dtype) for _ in range(row.nin))))
        except TypeError:
            continue
        if scalar_code.missing(program) or (name == "sqrt" and dtype.startswith("complex")):
            continue
        if name == "sign" and dtype not in ("float16", *FLOATS):
            continue  # NumPy's truth values cannot be subtracted, Numba's can
        operands = [sample((40,), dtype, k) for k in range(row.nin)]
        if operands[-1].dtype.kind != "c":
            operands[-1][::7] = 0
            operands[-1][::9] = 1
        if dtype.startswith("complex") and name in ("absolute", "divide", "multiply", "reciprocal", "square"):
            continue  # NumPy contracts their arithmetic to fma on some processors
        memory = [aligned((40,), dtype) for _ in operands]
        for m, o in zip(memory, operands, strict=True):
            m[:] = o
        out = aligned((40,), program.dtype_of(program.outputs[0]))
        kernel = elementwise_code.contiguous_kernel(program, elementwise_code.contiguous(program))
        run(kernel, (1,), (5,), place(out), *map(place, memory), 40)
        same(out, program.interpret(np, *memory)[0], f"{name} {dtype}")


def check_special_functions() -> None:
    """The text that CUDA has for both precisions; double precision is that of the interpreter, but for fma."""
    from gpuarray.kernels import special
    from gpuarray.kernels.cuda import elementwise_code
    from gpuarray.kernels.table import ELEMENTWISE

    for name, dtype in itertools.product(special.FUNCTIONS, ("float32", "float64")):
        row = ELEMENTWISE[name]
        b = Builder()
        program = b.build(b.step(name, *(b.input("array", dtype) for _ in range(row.nin))))
        memory = [aligned((12,), dtype) for _ in range(row.nin)]
        for k, m in enumerate(memory):
            m[:] = np.roll([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 7.0, 30.0, 0.875, 1e-20, np.inf, np.nan], 5 * k)
        out = aligned((12,), dtype)
        kernel = elementwise_code.contiguous_kernel(program, elementwise_code.contiguous(program))
        run(kernel, (1,), (3,), place(out), *map(place, memory), 12)
        expected = program.interpret(np, *memory)[0]
        assert out.dtype == expected.dtype
        np.testing.assert_allclose(out, expected, rtol=8 * np.finfo(dtype).eps, atol=0, err_msg=f"{name} {dtype}")


def check_half_precision() -> None:
    """NumPy's bits: each operation rounds once. Integers below 16 bits become half precision in NumPy's functions."""
    from gpuarray.kernels.cuda import calls

    def compare(program: Program, *operands: Any) -> None:
        expected = program.interpret(np, *operands)
        outputs = [aligned(operands[0].shape, e.dtype) for e in expected]
        call = calls.elementwise(program, list(operands), outputs, place, begins_aligned)
        assert call is not None
        perform(call, (1,), (8,))
        for found, e in zip(outputs, expected, strict=True):
            same(found, e, program.steps[0].op)

    x, y = finite((101,), "float16"), finite((101,), "float16", 1)
    x[::9], y[::7] = 0, np.inf
    for name in ("add", "multiply", "divide", "remainder", "floor_divide", "maximum", "copysign", "less"):
        b = Builder()
        compare(b.build(b.step(name, b.input("array", "float16"), b.input("array", "float16"))), x, y)
    b = Builder()
    u, s = b.input("array", "float16"), b.input("scalar", "float16")
    total = b.step("subtract", b.step("multiply", u, s), s)
    compare(b.build(total, b.cast(total, "float64"), b.cast(total, "bool"), b.step("isnan", u)), x, np.float16(0.1))
    b = Builder()
    i = b.input("array", "int8")
    compare(b.build(b.step("sqrt", i), b.cast(b.cast(i, "float64"), "float16")), np.abs(finite((50,), "int8")))
    sums = b.build(b.cast(i, "float16"))
    launches, (found,) = calls.reduce(sums, "sum", [finite((60,), "int8")], (60,), ((0, 60),), place, new)
    perform_all(launches)
    assert found[0] == finite((60,), "int8").sum(dtype="float64")


# Parts of several arrays


def check_gathering() -> None:
    """One array put together from parts of others, in words as large as places and steps allow."""
    from gpuarray.kernels.cuda import calls

    def phase(array: np.ndarray, nbytes: int) -> int:
        return int(array.ctypes.data % nbytes)

    for dtype, words in (("float64", {8, 16}), ("int8", {1, 2}), ("complex128", {16}), ("S3", {1}), ("U1", {4})):
        parts = [aligned((9, 14), dtype, shift=k % 2 * 2) for k in range(11)]
        for k, part in enumerate(parts):
            part[...] = (np.arange(126) + k).reshape(9, 14).astype(dtype)
        regions = [(p[: 9 - k % 2], 2 + k, 14 * k) for k, p in enumerate(parts[:3])]
        regions += [(parts[3][3:5, ::-1], 14, 7), (parts[4][:0], 0, 0), (parts[4][:1, :1], 0, 3)]
        regions += [(p.T[4:9:2, ::3], 18, 3 * k) for k, p in enumerate(parts[:10])]
        out, expected = aligned((22, 42), dtype), aligned((22, 42), dtype)
        pairs = []
        for source, row, column in regions:
            region = slice(row, row + source.shape[0]), slice(column, column + source.shape[1])
            pairs.append((source, out[region]))
            expected[region] = source
        launches = calls.gather(pairs, place, phase)
        assert {int(c.kernel.source.split("words of ")[1].split()[0]) for c in launches} >= words, dtype
        assert len(launches) < len(pairs)
        for call in launches:
            perform(call, (1, call.blocks[1]), (8,))
        assert out.tobytes() == expected.tobytes(), dtype
    with pytest.raises(ValueError, match="does not fit"):
        calls.gather([(parts[0], parts[1][1:])], place, phase)
    assert calls.gather([], place, phase) == []


# Scans


@contextlib.contextmanager
def small_scans(**values: int) -> Any:
    """Blocks of few threads, and lines cut early."""
    from gpuarray.kernels.cuda import scan_calls, scan_code

    scan_code.rows_kernel.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan_code, "THREADS", 32)
        for name, value in values.items():
            patch.setattr(scan_calls, name, value)
        yield
    scan_code.rows_kernel.cache_clear()


def compare_scan(name: str, array: np.ndarray, axis: int, dtype: Any, carry: np.ndarray | None, cut: int = 0) -> None:
    """NumPy's bits, for one scan and for one in two pieces; in place where the dtypes agree."""
    from gpuarray.kernels import interpreter
    from gpuarray.kernels.cuda import calls

    dtype = np.dtype(dtype)
    assert calls.scannable(name, array.dtype, dtype) == ""
    with np.errstate(all="ignore"):
        expected = interpreter.scan(np, name, array, axis, carry, dtype)
    out = aligned(array.shape, dtype)
    if array.dtype == dtype and array.flags.c_contiguous:
        out[...] = array
        array = out
    along = [slice(None)] * array.ndim
    ends = [0, cut, array.shape[axis]] if cut else [0, array.shape[axis]]
    for low, high in itertools.pairwise(ends):
        along[axis] = slice(low, high)
        part = out[tuple(along)]
        for call in calls.scan(name, array[tuple(along)], axis, carry, dtype, part, place, new):
            perform(call, (1,), (32,))
        along[axis] = slice(high - 1, high)
        carry = out[tuple(along)]
    same(out, expected, f"{name} {array.dtype} {dtype} {array.shape} {axis} {cut}")


def check_scans() -> None:
    """Along and across memory, for few and for many lines."""
    with small_scans():
        for name in ("sum", "prod", "max", "min"):
            x = finite((300,), "float64") / 16
            compare_scan(name, x, 0, "float64", None, 77)
            compare_scan(name, x, 0, "float64", finite((1,), "float64", 1))
        x = finite((3, 40, 5), "float32")
        for axis in range(3):
            compare_scan("sum", x, axis, "float32", None)
        compare_scan("sum", finite((20, 18), "float32"), 0, "float64", None, 7)  # lines side by side
        compare_scan("prod", finite((20, 18), "float64"), 0, "float64", finite((1, 18), "float32"))
        compare_scan("sum", finite((34, 11), "float64"), 1, "float64", None, 3)  # more lines than a block has
        compare_scan("sum", finite((9, 30), "float64")[::-1, ::-2], 1, "float64", None)
        compare_scan("sum", sample((4, 7), "bool"), 1, "int64", None)
        compare_scan("max", sample((4, 7), "bool"), 1, "bool", sample((4, 1), "bool", 1))
        compare_scan("sum", finite((9,), "complex64"), 0, "complex64", finite((1,), "complex64", 1))
        compare_scan("max", sample((12,), "float64"), 0, "float64", None)  # with NaN
        compare_scan("sum", finite((2, 0, 3), "float64"), 1, "float64", None)
        compare_scan("sum", finite((1, 1), "float64"), 0, "float64", None)


def check_scans_in_pieces() -> None:
    """What is associative is cut into pieces of lines, whose totals are scanned in the same way."""
    with small_scans(SEGMENT=8, FEW_LINES=16):
        compare_scan("sum", sample((150,), "int8"), 0, "int8", None)
        compare_scan("prod", sample((140,), "int64") % 7 - 3, 0, "int64", sample((1,), "int32", 1))
        compare_scan("max", sample((2, 70), "float32"), 1, "float32", sample((2, 1), "float32", 2))
        compare_scan("min", sample((64, 3), "uint16"), 0, "uint16", None, 20)
        compare_scan("max", sample((40,), "bool") & False, 0, "bool", None)


if __name__ == "__main__":
    main(globals())
else:

    @pytest.fixture(scope="module")
    def results() -> dict[str, str]:
        return simulate(__file__)

    @pytest.mark.parametrize("name", checks(globals()))
    def test_simulated(results: dict[str, str], name: str) -> None:
        assert results[name] == ""
