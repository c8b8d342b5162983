"""CUDA kernels compiled to PTX and cubins where there is no GPU: all rows, exact arithmetic, and what kernels take."""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import math
import operator
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels import philox
from gpuarray.kernels.cuda import (
    calls,
    elementwise_code,
    merge_code,
    offline,
    reduction_code,
    registers,
    scalar_code,
    stencil_code,
    sweep_code,
)
from gpuarray.kernels.cuda.offline import Kernel
from gpuarray.kernels.program import Builder
from gpuarray.kernels.row import type_name
from gpuarray.kernels.stencils.program import Edge
from gpuarray.kernels.table import ELEMENTWISE

ARCH = (9, 0)
DTYPES = ["bool", "int8", "uint8", "int64", "uint64", "float32", "float64", "complex64", "complex128"]
MORE_DTYPES = ["int16", "uint16", "int32", "uint32"]
TABLE = Path(__file__).with_name("cuda_registers.json")

compiles = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="needs numba-cuda: pip install 'numba-cuda[cu12]'"
)


@pytest.fixture(autouse=True)
def _only_where_it_can_and_should(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("slow") and "slow" not in request.config.getoption("markexpr"):
        pytest.skip("takes minutes of compiling; run it with -m slow")
    if request.node.get_closest_marker("skipif") and not offline.available():
        pytest.skip("Numba-CUDA has no NVVM or no ptxas here")


# Rows


def operands_of(name: str, dtype: str) -> list[np.dtype[Any]] | None:
    """The operands with which a row is tried for a dtype; None where it does not take that dtype itself."""
    row, d = ELEMENTWISE[name], np.dtype(dtype)
    if name.startswith("random_"):
        loop = ["uint64", "uint64", "int64", "int64", "uint64"][: row.nin]
        return [np.dtype(x) for x in loop] if dtype == "int64" else None
    special = {"where": ["bool", d, d], "round": [d, "int64"], "ldexp": [d, "int64"]}
    real = np.dtype(f"f{d.itemsize // 2}") if d.kind == "c" else d if d.kind == "f" else np.dtype("f8")
    special["nan_to_num"] = [d, real, real, real]
    operands = [np.dtype(x) for x in special.get(name, [d] * row.nin)]
    try:
        loop_, _ = row.resolve(*operands)
    except TypeError:
        return None
    return operands if list(loop_) == operands else None


def rows_kernel(dtype: str) -> tuple[Kernel, list[str], list[str]]:
    """One kernel of all rows of a dtype; the names of the rows in it, and of those that have no text."""
    lines, inside, without = [], [], []
    for name, row in ELEMENTWISE.items():
        operands = operands_of(name, dtype)
        if operands is None:
            continue
        loop, result = row.resolve(*operands)
        text = scalar_code.text_of(row, loop, result)
        if text is None:
            without.append(name)
            continue
        values = [f"a{np.dtype(d).name}_{k}" for k, d in enumerate(loop)]
        for k, (value, d) in enumerate(zip(values, loop, strict=True)):
            line = f"{value} = load({type_name(d)}, p, np.uint64({k}))"
            if line not in lines:
                lines.append(line)
        at = len(inside)
        lines.append(f"r{at} = {type_name(result)}({text.format(*values)})")
        lines.append(f"store({type_name(result)}, o, np.uint64({at}), r{at})")
        inside.append(name)
    parameters = [("p", "uint64"), ("o", "uint64")]
    return Kernel(scalar_code.kernel_text("rows", parameters, lines), ("uint64", "uint64"), 64), inside, without


@compiles
@pytest.mark.parametrize("dtype", [*DTYPES, "float16", *(pytest.param(d, marks=pytest.mark.slow) for d in MORE_DTYPES)])
def test_every_row_compiles(dtype: str) -> None:
    kernel, inside, _ = rows_kernel(dtype)
    assert len(inside) > 20
    text = offline.ptx(kernel, ARCH)
    assert ".extern .func" not in text
    content, _ = offline.assemble(text, ARCH)
    assert content[:4] == b"\x7fELF"


@pytest.mark.parametrize("dtype", DTYPES + MORE_DTYPES)
def test_rows_without_code_are_listed(dtype: str) -> None:
    kind = np.dtype(dtype).kind
    listed = {n for n, kinds in scalar_code.INTERPRETED if kind in kinds and operands_of(n, dtype) is not None}
    assert set(rows_kernel(dtype)[2]) == listed


def test_why_a_program_is_missing() -> None:
    b = Builder()
    x = b.input("array", "float16")
    assert "float16" in scalar_code.missing(b.build(b.step("nextafter", x, x)))
    assert scalar_code.missing(b.build(b.step("sqrt", x))) == ""
    b = Builder()
    assert scalar_code.missing(b.build(b.step("sin", b.input("array", "complex128")))).startswith("sin of complex128")
    assert scalar_code.missing(registers.arithmetic("float64")) == ""


# Exactness and memory access


def ptx_of(name: str, arch: tuple[int, int] = ARCH) -> str:
    return offline.ptx(registers.cases()[name](), arch)


ARITHMETIC = ["elementwise arithmetic float64", "elementwise arithmetic complex64", "stencil 2-D 5 points float64"]
ARITHMETIC += ["4 steps 2-D 5 points float32", "sum float64 along", "var float64 across", "squares arithmetic float32"]


@compiles
@pytest.mark.parametrize("name", ARITHMETIC)
def test_nothing_is_contracted(name: str) -> None:
    """A product and a sum round twice, as NumPy's."""
    text = ptx_of(name)
    assert re.search(r"\b(add|mul)\.rn\.f(32|64)\b", text)
    assert not re.search(r"\bfma\b", text)
    assert not re.search(r"\b(add|mul)\.f(32|64)\b", text), "ptxas may contract what has no rounding mode"
    assert ".ftz" not in text
    assert ".approx" not in text


@compiles
def test_random_numbers_are_not_contracted() -> None:
    assert "fma" not in ptx_of("elementwise random_normal")


@compiles
@pytest.mark.parametrize("form", ["contiguous", "strided", "squares", "stencil", "edges", "steps", "sum", "merge"])
def test_indices_are_integers(form: str) -> None:
    """Numba makes a float64 of uint64 and int64: a kernel of integers that has floats computes addresses in them."""
    program = registers.arithmetic("int32")
    modes = ((("reflect", "constant"),) * 2,)
    stencil = registers.relaxation(registers.star(2, 1), "int32")
    b = Builder()
    plain = b.build(b.input("array", "int64"))
    fixed = ((("fixed", "nearest"),) * 2,)
    kernels = {
        "contiguous": lambda: elementwise_code.contiguous_kernel(program, elementwise_code.contiguous(program)),
        "strided": lambda: elementwise_code.strided_kernel(program, elementwise_code.Operands("ss-"), 3, True),
        "squares": lambda: elementwise_code.tiled_kernel(program, elementwise_code.Operands("ss-"), 3),
        "stencil": lambda: stencil_code.interior_kernel(stencil),
        "edges": lambda: stencil_code.edge_kernel(stencil, modes),
        "steps": lambda: sweep_code.sweep_kernel(stencil, fixed, 2),
        "sum": lambda: reduction_code.fold_kernel(plain, "sum", reduction_code.Layout(2, 2, True)),
        "merge": lambda: merge_code.merge_kernel("sum", np.dtype("int64")),
    }
    assert not re.search(r"\.f(32|64)\b", offline.ptx(kernels[form](), ARCH))


@compiles
@pytest.mark.parametrize("dtype", ["int8", "float16", "float32", "float64", "complex64", "complex128"])
def test_memory_is_read_in_vectors(dtype: str) -> None:
    """16 bytes a load, read-only; 64 bytes asked for before the first is used; strides over the grid."""
    program = registers.arithmetic(dtype)
    text = offline.ptx(elementwise_code.contiguous_kernel(program, elementwise_code.contiguous(program)), ARCH)
    label, loop = re.findall(r"(?ms)^(\$L\w+):(?=[^:]*ld\.global\.nc\.v)(.*?@%p\d+ bra)", text)[0]
    assert f"bra \t{label};" in text
    loads = [m.start() for m in re.finditer(r"ld\.global\.nc\.(v4\.\w32|v2\.\w64)", loop)]
    assert len(loads) == elementwise_code.IN_FLIGHT
    stores = [m.start() for m in re.finditer(r"st\.global\.(v4\.\w32|v2\.\w64)", loop)]
    assert len(stores) == elementwise_code.IN_FLIGHT // 2
    arithmetic = [m.start() for m in re.finditer(r"\b(add|mul|mad)\S*\.(rn\.f|f|s16|s32|lo)", loop)]
    assert arithmetic
    assert max(loads) < min(arithmetic)
    assert "%nctaid.x" in text
    # indices are unsigned: no fix-ups of negative ones, no signed comparisons
    assert not re.search(r"selp|setp\.\w+\.s(32|64)", loop)


@compiles
def test_half_precision_rounds_once_after_single() -> None:
    program = registers.arithmetic("float16")
    text = offline.ptx(elementwise_code.contiguous_kernel(program, elementwise_code.contiguous(program)), ARCH)
    assert "add.rn.f32" in text
    assert "cvt.rn.f16.f32" in text
    assert not re.search(r"\b(add|mul|fma)\S*\.f16", text)


@compiles
def test_memory_that_is_written_is_not_read_through_the_read_only_path() -> None:
    program = registers.arithmetic("float64")
    operands = elementwise_code.Operands("uu-", coherent=True)
    text = offline.ptx(elementwise_code.contiguous_kernel(program, operands), ARCH)
    assert "ld.global.nc" not in text
    assert "ld.global.v2.f64" in text


# Philox


@compiles
def test_random_numbers_are_the_generator_of_the_cpu() -> None:
    """The device functions are made of `philox`'s own text, so there is one generator; this says they are there."""
    from gpuarray.kernels.cuda import device

    for function in philox.OPERATIONS.values():
        assert function.__name__ in device.namespace()


# CuPy


def test_calls_are_what_cupy_takes() -> None:
    cupy = pytest.importorskip("cupy")
    module = inspect.signature(cupy.RawModule.__init__).parameters
    assert "path" in module or "path" in (cupy.RawModule.__doc__ or "")
    text = inspect.getdoc(cupy.RawKernel.__call__) or ""
    for word in ("grid", "block", "args"):
        assert word in text
    assert callable(cupy.may_share_memory)


@dataclass
class _Array:
    """An array that no memory could hold."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def strides(self) -> tuple[int, ...]:
        sizes = itertools.accumulate((self.dtype.itemsize, *reversed(self.shape[1:])), operator.mul)
        return tuple(sizes)[::-1]


@pytest.mark.parametrize(
    "shape",
    [(3,), (2**33,), (2, 2**30), (2**30, 2), (7, 2**21, 64), (2**21, 7, 64), (5, 3000, 3000, 64), (5, 2, 2**21, 64)],
)
def test_grids_are_within_the_limits_and_cover_the_box(shape: tuple[int, ...]) -> None:
    stencil = registers.relaxation(registers.star(len(shape), 1), "float64")
    array, origin = _Array(shape, np.dtype("float64")), (0,) * len(shape)
    sweep = calls.Sweep(
        stencil,
        (((Edge("reflect"),) * 2,) * len(shape),),
        (False,) * len(shape),
        shape,
        lambda array, offset: np.uint64((2**40 + offset) % 2**64),
        lambda array, nbytes: 0,
    )
    whole = tuple(map(range, shape))
    launches = sweep.step([(array, origin)], [(array, origin)], whole, [1.0])
    points = 0
    for call in launches:
        assert call.blocks[0] < 2**31
        assert max(call.blocks[1:]) <= 65535
        assert np.prod(call.threads) <= call.kernel.threads
        rows = "interior" in call.kernel.source.splitlines()[0]
        ends = [int(a) for a in call.arguments[-2 * len(shape) - rows :]]
        lengths = [high - low for low, high in zip(ends[0 : 2 * len(shape) : 2], ends[1::2], strict=False)]
        points += math.prod(lengths)
        if rows:
            length = stencil_code.vector_length(stencil)
            x, y, z = (b * t for b, t in zip(call.blocks, call.threads, strict=True))
            assert x * length >= lengths[-1]
            assert ends[-1] * (y if len(shape) == 2 else z) >= lengths[0] or len(shape) == 1
            assert len(shape) < 3 or y >= math.prod(lengths[1:-1])
    assert points == math.prod(shape)


@pytest.mark.parametrize(
    ("shape", "step", "word"),
    [((2**15, 2**13), 2, "uint32"), ((2**15, 2**15), 2, "uint64"), ((2**12, 2**12), 2**8, "uint64")],
)
def test_indices_are_as_wide_as_they_must(shape: tuple[int, int], step: int, word: str) -> None:
    """32 bits while neither elements nor bytes from the first to the last of an operand reach 2**31."""

    class Strided(_Array):
        strides = (shape[1] * step * 4, step * 4)

    program = registers.arithmetic("float32")
    x, out = Strided(shape, np.dtype("float32")), _Array(shape, np.dtype("float32"))
    call = calls.elementwise(program, [x, x, 1.0], [out], lambda array, offset: np.uint64(offset), lambda array: True)
    assert call is not None
    assert call.kernel.parameters[-1] == word


def test_launches_of_one_kind_share_their_plan() -> None:
    """What is remembered holds neither addresses nor scalars, nor another program's kernel."""

    def place(array: np.ndarray, offset: int) -> np.uint64:
        return np.uint64(array.ctypes.data + offset)

    program, x, y = registers.arithmetic("float64"), np.zeros(8), np.zeros(8)
    first, second = (calls.elementwise(program, [a, a, s], [a], place, lambda _: True) for a, s in ((x, 1.0), (y, 2.0)))
    assert first is not None
    assert second is not None
    assert first.kernel is second.kernel
    assert first.arguments[:4] == (*[place(x, 0)] * 3, 1.0)
    assert second.arguments[:4] == (*[place(y, 0)] * 3, 2.0)
    apart = calls.elementwise(program, [x, x, 1.0], [x], place, lambda array: array is not x)
    assert apart is not None
    assert apart.kernel is not first.kernel
    b = Builder()
    plain = b.build(b.step("multiply", b.input("array", "float64"), b.input("scalar", "float64")))
    for factor, a in ((2.0, x), (3.0, y)):
        (call,), _ = calls.reduce(plain, "sum", [a, factor], (8,), ((0, 8),), place, np.empty)
        assert factor in call.arguments
        assert place(a, 0) in call.arguments


def test_the_toolkit_of_the_assembler_is_named_where_it_has_the_only_nvvm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "toolkit" / "bin" / "ptxas"
    library = tmp_path / "toolkit" / "nvvm" / "lib64" / "libnvvm.so"
    wheel = tmp_path / "nvidia" / "cu13" / "lib" / "libnvvm.so.4"
    for file in (tool, library, wheel):
        file.parent.mkdir(parents=True)
        file.touch()
    monkeypatch.setattr(offline, "assembler", lambda: str(tool))
    monkeypatch.setattr(offline, "_wheels", list)
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    offline._name_toolkit()
    assert os.environ.pop("CUDA_HOME") == str(tmp_path / "toolkit")
    monkeypatch.setattr(offline, "_wheels", lambda: [tmp_path / "nvidia"])
    offline._name_toolkit()
    assert "CUDA_HOME" not in os.environ
    monkeypatch.setattr(offline, "_wheels", list)
    monkeypatch.setenv("CUDA_PATH", "/elsewhere")
    offline._name_toolkit()
    assert "CUDA_HOME" not in os.environ
    monkeypatch.delenv("CUDA_PATH")
    library.unlink()
    offline._name_toolkit()
    assert "CUDA_HOME" not in os.environ
