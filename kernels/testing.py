"""What every backend must do: test classes that the tests of a backend inherit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.program import Affine, Builder, Program
from gpuarray.kernels.reductions import REDUCTIONS

Array = np.ndarray[Any, Any]

SHAPES: list[tuple[int, ...]] = [
    (),
    (1,),
    (0,),
    (7,),
    (3, 0, 4),
    (2, 1, 3),
    (37, 41),
    (1, 40_000),
    (70_001,),
    (5, 60, 200),
]
LAYOUTS = ["C", "F", "reversed", "strided", "broadcast"]
NUMBERS = "?blBLfdFD"


def sample(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Array:
    """Random values; floats with a few NaN, infinities and zeros of both signs among them."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return np.asarray(rng.random(shape) < 0.3)
    if kind in "iu":
        return np.asarray(rng.integers(0 if kind == "u" else -100, 100, shape)).astype(dtype)
    values: Array = np.asarray(rng.normal(size=shape))
    if kind == "c":
        values = values + 1j * rng.normal(size=shape)
    return np.asarray(values).astype(dtype)


def laid_out(array: Array, layout: str) -> Array:
    """The same values, differently in memory."""
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "reversed":
        return np.ascontiguousarray(array[tuple(slice(None, None, -1) for _ in array.shape)])[
            tuple(slice(None, None, -1) for _ in array.shape)
        ]
    if layout == "strided":
        wide = np.zeros([2 * n for n in array.shape], array.dtype)
        view = wide[tuple(slice(None, None, 2) for _ in array.shape)]
        view[...] = array
        return view
    if layout == "broadcast":
        first = array[tuple(slice(0, 1) for _ in array.shape)] if array.size else array
        return np.broadcast_to(first, array.shape)
    return np.ascontiguousarray(array)


def identity(dtype: Any) -> Program:
    b = Builder()
    return b.build(b.input("array", dtype))


def numpy_reduce(name: str, values: Array, axes: tuple[int, ...]) -> Array:
    """NumPy's own answer, the axes kept with length one."""
    with np.errstate(all="ignore"):
        if name in ("fmin", "fmax"):
            result = getattr(np, name).reduce(values, axis=axes, keepdims=True)
        elif name.startswith("arg"):
            kept = [a for a in range(values.ndim) if a not in axes]
            flat = values.transpose(*kept, *axes).reshape([values.shape[a] for a in kept] + [-1])
            result = getattr(np, name)(flat, axis=-1).reshape(
                [1 if a in axes else n for a, n in enumerate(values.shape)]
            )
        elif name == "sum" and values.dtype.kind in "fc":
            wide = values.astype(np.result_type(values.dtype, np.float64))
            result = np.sum(wide, axis=axes, keepdims=True)
        elif name == "var":
            wide = values.astype(np.result_type(values.dtype, np.float64))
            result = np.var(wide, axis=axes, keepdims=True)
        else:
            result = getattr(np, name)(values, axis=axes, keepdims=True)
    return np.asarray(result)


class BackendTests:
    """The contract of `gpuarray.kernels.backends.base.Backend`.

    Inherit, and give the backend as a fixture of that name. Everything runs interpreted and compiled.
    """

    @pytest.fixture
    def backend(self) -> Any:
        raise NotImplementedError

    @pytest.fixture(params=[False, True], ids=["interpreted", "compiled"])
    def compiled(self, request: pytest.FixtureRequest) -> bool:
        return bool(request.param)

    def moved(self, backend: Any, operands: Sequence[Any]) -> list[Any]:
        return [backend.from_host(o) if isinstance(o, np.ndarray) else o for o in operands]

    def check(
        self, backend: Any, program: Program, operands: Sequence[Any], shape: tuple[int, ...], compiled: bool
    ) -> None:
        """The result is what the program means on whole NumPy arrays."""
        got = backend.elementwise(program, self.moved(backend, operands), shape, compiled=compiled)
        assert got.shape == shape
        assert got.dtype == program.dtype_of(program.outputs[0])
        (wanted,) = program.interpret(np, *(index_array(o, shape) if isinstance(o, Affine) else o for o in operands))
        found, wanted = backend.to_host(got), np.broadcast_to(wanted, shape)
        if got.dtype.kind == "c":  # NumPy's vector loops contract complex products to fused multiply-add
            np.testing.assert_allclose(found, wanted, rtol=4 * float(np.finfo(got.dtype).eps))
        else:
            np.testing.assert_array_equal(found, wanted)

    def result(
        self,
        backend: Any,
        name: str,
        program: Program,
        operands: Sequence[Any],
        shape: tuple[int, ...],
        cuts: tuple[Any, ...],
        compiled: bool,
        **parameters: Any,
    ) -> Array:
        states = backend.reduce(program, name, self.moved(backend, operands), shape, cuts, compiled=compiled)
        grid = tuple(n if c is None else len(c) - 1 for n, c in zip(shape, cuts, strict=True))
        operand = program.dtype_of(program.outputs[0])
        assert tuple(s.dtype for s in states) == REDUCTIONS[name].state(operand)
        assert {s.shape for s in states} == {grid}
        axes = tuple(a for a, c in enumerate(cuts) if c is not None)
        combined = backend.combine(name, states, axes, **parameters)
        assert combined.shape == tuple(n if c is None else 1 for n, c in zip(shape, cuts, strict=True))
        result: Array = backend.to_host(combined).astype(REDUCTIONS[name].result(operand))
        return result

    # Moving

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("dtype", ["?", "b", "e", "d", "D", ">i4"])
    def test_arrays_come_back_as_they_went(self, backend: Any, shape: tuple[int, ...], dtype: str) -> None:
        host = sample(shape, dtype).astype(dtype)
        there = backend.from_host(host)
        assert (there.shape, there.dtype) == (host.shape, host.dtype)
        assert backend.nbytes(there) == host.nbytes
        back = backend.to_host(there)
        assert type(back) is np.ndarray
        assert back.dtype == host.dtype
        np.testing.assert_array_equal(back, host)

    def test_empty(self, backend: Any) -> None:
        array = backend.empty((3, 0, 2), np.dtype("f4"))
        assert (array.shape, array.dtype, backend.nbytes(array)) == ((3, 0, 2), np.float32, 0)
        array = backend.empty((), np.dtype("c16"))
        array[...] = 1 + 2j
        assert backend.to_host(array)[()] == 1 + 2j

    # Elementwise

    @pytest.mark.parametrize("shape", SHAPES)
    def test_fused_arithmetic(self, backend: Any, shape: tuple[int, ...], compiled: bool) -> None:
        b = Builder()
        x, y, c = b.input("array", "float64"), b.input("array", "int32"), b.input("scalar", "float64")
        program = b.build(b.step("subtract", b.step("multiply", b.step("add", x, c), y), x))
        self.check(backend, program, (sample(shape, "d"), sample(shape, "i", 1), 0.1), shape, compiled)

    @pytest.mark.parametrize("first", LAYOUTS)
    @pytest.mark.parametrize("second", LAYOUTS)
    def test_every_layout(self, backend: Any, first: str, second: str, compiled: bool) -> None:
        b = Builder()
        program = b.build(b.step("add", b.input("array", "float32"), b.input("array", "int16")))
        x = laid_out(sample((33, 5, 37), "f"), first)
        y = laid_out(sample((33, 5, 37), "h", 1), second)
        self.check(backend, program, (x, y), x.shape, compiled)

    @pytest.mark.parametrize(
        "shapes", [((41,), (37, 1)), ((), (37, 41)), ((1, 1), (1,)), ((1, 41), (37, 41)), ((37, 1), ())]
    )
    def test_broadcasting(self, backend: Any, shapes: tuple[Any, Any], compiled: bool) -> None:
        b = Builder()
        program = b.build(b.step("multiply", b.input("array", "float64"), b.input("array", "float64")))
        self.check(backend, program, (sample(shapes[0], "d"), sample(shapes[1], "d", 1)), (37, 41), compiled)

    @pytest.mark.parametrize("dtype", [*NUMBERS, "e", "H", "I"])
    def test_every_dtype(self, backend: Any, dtype: str, compiled: bool) -> None:
        b = Builder()
        x, y = b.input("array", dtype), b.input("array", dtype)
        program = b.build(b.step("where", b.step("less", x, y), b.step("multiply", x, y), y))
        self.check(backend, program, (sample((9, 11), dtype), sample((9, 11), dtype, 1)), (9, 11), compiled)

    @pytest.mark.parametrize("strides", [(41, 1), (0, 1), (1, 0), (0, 0), (-3, 2)])
    def test_indices(self, backend: Any, strides: tuple[int, int], compiled: bool) -> None:
        b = Builder()
        k, x = b.input("index", "int64"), b.input("array", "float64")
        program = b.build(b.step("add", b.step("multiply", k, k), x))
        self.check(backend, program, (Affine(-7, strides), sample((37, 41), "d")), (37, 41), compiled)
        b = Builder()
        program = b.build(b.step("negative", b.input("index", "int64")))
        self.check(backend, program, (Affine(3, (200, 1)),), (300, 200), compiled)

    def test_a_program_of_scalars_fills(self, backend: Any, compiled: bool) -> None:
        b = Builder()
        program = b.build(b.step("add", b.input("scalar", "int8"), b.input("scalar", "int8")))
        for shape in SHAPES:
            self.check(backend, program, (100, 27), shape, compiled)

    def test_the_result_is_never_the_operand(self, backend: Any, compiled: bool) -> None:
        for shape in ((4,), (40_000,)):
            x = backend.from_host(sample(shape, "d"))
            result = backend.elementwise(identity("float64"), (x,), shape, compiled=compiled)
            before = backend.to_host(x).copy()
            result[...] = 7
            np.testing.assert_array_equal(backend.to_host(x), before)

    @pytest.mark.parametrize("shape", [(6, 7), (300, 200)])
    def test_out(self, backend: Any, shape: tuple[int, int], compiled: bool) -> None:
        b = Builder()
        program = b.build(b.step("square", b.input("array", "float64")))
        x = sample(shape, "d")
        wide = backend.empty((shape[0], 2 * shape[1]), np.dtype("float64"))
        wide[...] = -1
        out = wide[:, ::2]
        given = backend.elementwise(program, self.moved(backend, (x,)), shape, compiled=compiled, out=out)
        np.testing.assert_array_equal(backend.to_host(given), x * x)
        np.testing.assert_array_equal(backend.to_host(wide)[:, ::2], x * x)
        assert (backend.to_host(wide)[:, 1::2] == -1).all()

    def test_out_may_be_an_operand(self, backend: Any, compiled: bool) -> None:
        b = Builder()
        program = b.build(b.step("add", b.input("array", "float64"), b.input("array", "float64")))
        for shape in ((50,), (70_000,)):
            host, other = sample(shape, "d"), sample(shape, "d", 1)
            x = backend.from_host(host.copy())
            backend.elementwise(program, (x, backend.from_host(other)), shape, compiled=compiled, out=x)
            np.testing.assert_array_equal(backend.to_host(x), host + other)

    @pytest.mark.parametrize("n", [50, 100_000])
    def test_out_may_overlap_an_operand(self, backend: Any, n: int, compiled: bool) -> None:
        b = Builder()
        program = b.build(b.step("negative", b.input("array", "float64")))
        host = sample((n + 1,), "d")
        for source, target in ((slice(0, n), slice(1, n + 1)), (slice(1, n + 1), slice(0, n))):
            memory = backend.from_host(host.copy())
            backend.elementwise(program, (memory[source],), (n,), compiled=compiled, out=memory[target])
            np.testing.assert_array_equal(backend.to_host(memory)[target], -host[source])

    def test_operands_and_out_that_do_not_fit(self, backend: Any, compiled: bool) -> None:
        program = identity("float64")
        x = backend.from_host(np.zeros((2, 3)))
        for shape in ((3,), (4, 3), (1, 3), (2, 1, 3)[:2]):
            with pytest.raises(ValueError, match=r"\(2, 3\)"):
                backend.elementwise(program, (x,), shape, compiled=compiled)
        for out in (backend.empty((3, 2), np.dtype("d")), backend.empty((2, 3), np.dtype("f"))):
            with pytest.raises(ValueError, match="out has shape"):
                backend.elementwise(program, (x,), (2, 3), compiled=compiled, out=out)

    # Reductions

    @pytest.mark.parametrize(
        "cuts",
        [
            ((0, 23), (0, 19)),
            (None, (0, 19)),
            ((0, 23), None),
            ((0, 5, 10, 23), None),
            ((0, 8, 16, 23), (0, 1, 19)),
            (None, (0, 4, 8, 12, 16, 19)),
        ],
    )
    @pytest.mark.parametrize("letters", ["?lfD", pytest.param("bLBFd", marks=pytest.mark.slow)])
    @pytest.mark.parametrize("name", REDUCTIONS)
    def test_reductions_are_numpys(
        self, backend: Any, name: str, letters: str, cuts: tuple[Any, ...], compiled: bool
    ) -> None:
        axes = tuple(a for a, c in enumerate(cuts) if c is not None)
        for dtype, special in itertools.product(letters if compiled else NUMBERS, (False, True)):
            row = REDUCTIONS[name]
            x = sample((23, 19), dtype)
            if special:
                if x.dtype.kind not in "fc":
                    continue
                x[3, 4], x[4, 4], x[22, 18], x[0] = np.nan, np.inf, np.nan, [0.0, -0.0] * 9 + [-np.inf]
            if name == "prod" and x.dtype.kind in "iu":
                x = np.where(x % 5 == 0, 2, 1).astype(dtype)
            operand = row.operand(x.dtype)
            b = Builder()
            value = b.cast(b.input("array", dtype), operand)
            program = b.build(value, b.input("index", "int64")) if row.family == "arg" else b.build(value)
            strides = tuple(int(math.prod(x.shape[b] for b in axes if b > a)) if a in axes else 0 for a in range(2))
            operands = (x, Affine(0, strides)) if row.family == "arg" else (x,)
            got = self.result(backend, name, program, operands, x.shape, cuts, compiled)
            wanted = numpy_reduce(name, x, axes)
            if got.dtype.kind in "fc" and name in ("sum", "prod", "var"):
                rounding = 50 * float(np.finfo(got.dtype).eps)
                wanted = wanted.astype(got.dtype)
                for part in ("real", "imag"):
                    np.testing.assert_allclose(getattr(got, part), getattr(wanted, part), rounding, rounding)
            else:
                np.testing.assert_array_equal(got, wanted, err_msg=f"{name} of {dtype}")
            with np.errstate(all="ignore"):
                wide = x.real if name == "var" else x
                natural = getattr(np, name)(wide) if name not in ("fmin", "fmax") else x
            assert got.dtype == natural.dtype if hasattr(natural, "dtype") else got.dtype == np.int64

    @pytest.mark.parametrize("name", ["sum", "prod", "var", "min", "count_nonzero", "any", "fmax"])
    @pytest.mark.parametrize("shape", [(30, 50), (7, 30_000)])
    def test_masks(self, backend: Any, name: str, shape: tuple[int, int], compiled: bool) -> None:
        x, mask = sample(shape, "d"), sample(shape, "?", 1)
        mask[3] = False
        operand = REDUCTIONS[name].operand(x.dtype)
        b = Builder()
        program = b.build(b.cast(b.input("array", "float64"), operand), b.input("array", "bool"))
        got = self.result(backend, name, program, (x, mask), shape, (None, (0, 11, shape[1])), compiled)
        for row, taken, value in zip(x, mask, got[:, 0], strict=True):
            kept = row[taken]
            if kept.size:
                wanted = numpy_reduce(name, kept, (0,))[0]
            else:
                wanted = {"min": np.inf, "var": np.nan, "fmax": np.nan, "prod": 1}.get(name, 0)
            np.testing.assert_allclose(value, wanted, rtol=1e-12)

    @pytest.mark.parametrize("name", ["sum", "prod", "var"])
    @pytest.mark.parametrize("dtype", ["f", "d", "D"])
    def test_bits_depend_on_the_cell_alone(self, backend: Any, name: str, dtype: str, compiled: bool) -> None:
        x = sample((6, 50, 700), dtype)
        program = identity(x.dtype)

        def states(region: Array, cuts: tuple[Any, ...]) -> list[bytes]:
            given = backend.reduce(program, name, self.moved(backend, (region,)), region.shape, cuts, compiled=compiled)
            return [np.ascontiguousarray(backend.to_host(s)) for s in given]  # type: ignore[misc]

        everything = states(x, (None, (0, 17, 50), (0, 300, 700)))
        for layout in ("F", "strided", "reversed"):
            for one, other in zip(
                states(laid_out(x, layout), (None, (0, 17, 50), (0, 300, 700))), everything, strict=True
            ):
                np.testing.assert_array_equal(one, other)
        for one, other in zip(states(x[2:3, 17:], (None, (0, 33), (0, 300, 700))), everything, strict=True):
            np.testing.assert_array_equal(one, other[2:3, 1:])  # type: ignore[call-overload]
        for one, other in zip(states(x[4, 17:, :300][None], (None, (0, 33), (0, 300))), everything, strict=True):
            np.testing.assert_array_equal(one, other[4:5, 1:, :1])  # type: ignore[call-overload]
        turned = states(x[:, 17:].transpose(1, 0, 2), ((0, 33), None, (0, 300, 700)))
        for one, other in zip(turned, everything, strict=True):
            np.testing.assert_array_equal(one[0], other[:, 1])  # type: ignore[call-overload]

    @pytest.mark.parametrize("cells", [1, 2, 3, 7, 8, 33])
    def test_states_merge_in_pairs_in_index_order(self, backend: Any, cells: int) -> None:
        host = sample((4, cells, 2), "d")
        level = [host[:, k] for k in range(cells)]
        while len(level) > 1:
            pairs = [a + b for a, b in zip(level[0::2], level[1::2], strict=False)]
            level = pairs + (level[-1:] if len(level) % 2 else [])
        got = backend.to_host(backend.combine("sum", (backend.from_host(host),), (1,)))
        np.testing.assert_array_equal(got[:, 0], level[0])
        alone = backend.combine("sum", (backend.from_host(host[1:2, :, 1:].copy()),), (1,))
        np.testing.assert_array_equal(backend.to_host(alone)[0, 0, 0], level[0][1, 1])

    def test_several_axes_merge_as_one_in_index_order(self, backend: Any) -> None:
        host = sample((3, 5, 4), "d")
        got = backend.to_host(backend.combine("sum", (backend.from_host(host),), (0, 2)))
        flat = np.ascontiguousarray(host.transpose(1, 0, 2)).reshape(1, 5, 12)
        wanted = backend.to_host(backend.combine("sum", (backend.from_host(flat),), (2,)))
        np.testing.assert_array_equal(got[0, :, 0], wanted[0, :, 0])

    @pytest.mark.parametrize("correction", [0, 1, 0.5, 5, 6])
    def test_variance(self, backend: Any, correction: float, compiled: bool) -> None:
        x = np.array([[1.0, 2.0, 4.0, 8.0, 16.0]]) + 1e6
        got = self.result(
            backend, "var", identity("float64"), (x,), (1, 5), (None, (0, 2, 5)), compiled, correction=correction
        )
        with np.errstate(all="ignore"):
            wanted = np.sum((x - x.mean()) ** 2) / max(5 - correction, 0)
        np.testing.assert_allclose(got, [[wanted]], rtol=1e-10)

    def test_single_precision_is_summed_in_double(self, backend: Any, compiled: bool) -> None:
        x = np.full((1_000_000,), 0.1, "f")
        got = self.result(backend, "sum", identity("float32"), (x,), x.shape, ((0, 999, 1_000_000),), compiled)
        assert got[0] == np.float32(np.float64(np.float32(0.1)) * 1_000_000)
        half = np.full((4000,), 1000, "e")
        got = self.result(backend, "sum", identity("float16"), (half / 100,), (4000,), ((0, 4000),), compiled)
        assert got[0] == np.float16(40_000)

    @pytest.mark.parametrize("name", ["argmin", "argmax"])
    @pytest.mark.parametrize("dtype", ["d", "l", "?", "D"])
    def test_the_first_of_equals_is_found(self, backend: Any, name: str, dtype: str, compiled: bool) -> None:
        b = Builder()
        program = b.build(b.input("array", dtype), b.input("index", "int64"))
        for n in (10, 20_000):
            for special in (False, True):
                x = np.ones(n, dtype)
                if special and x.dtype.kind in "fc":
                    x[[n // 2, n // 3 + 1]] = np.nan
                got = self.result(backend, name, program, (x, Affine(5, (1,))), (n,), ((0, 3, n // 2, n),), compiled)
                assert got.tolist() == [5 + getattr(np, name)(x)]

    @pytest.mark.parametrize("name", REDUCTIONS)
    def test_no_elements(self, backend: Any, name: str, compiled: bool) -> None:
        row = REDUCTIONS[name]
        operand = row.operand(np.dtype("float32"))
        b = Builder()
        outputs = [b.input("array", operand)] + ([b.input("index", "int64")] if row.family == "arg" else [])
        program = b.build(*outputs)
        x = np.zeros((3, 0), operand)
        operands = (x, Affine(0, (0, 1)))[: len(outputs)]
        if row.identity(operand) is None:
            # a cell without elements, and no cell at all
            states = backend.reduce(
                program, name, self.moved(backend, operands), (3, 0), (None, (0,)), compiled=compiled
            )
            with pytest.raises(ValueError, match=str(row.empty_error())):
                backend.combine(name, states, (1,))
            return
        for cuts in ((0, 0), (0,)):
            got = self.result(backend, name, program, operands, (3, 0), (None, cuts), compiled)
            np.testing.assert_array_equal(got, np.full((3, 1), row.identity(operand)))
        none = self.result(backend, name, program, (np.zeros((0, 4), operand),), (0, 4), (None, (0, 4)), compiled)
        assert none.shape == (0, 1)

    def test_a_fused_prologue(self, backend: Any, compiled: bool) -> None:
        b = Builder()
        x, k, c = b.input("array", "float64"), b.input("index", "int64"), b.input("scalar", "float64")
        program = b.build(b.step("multiply", b.step("add", x, c), k))
        for shape in ((300, 400), (3, 5)):
            host = sample(shape, "d")
            cuts = ((0, 2, shape[0]), None)
            got = self.result(backend, "sum", program, (host, Affine(1, (shape[1], 1)), 0.5), shape, cuts, compiled)
            index = 1 + np.arange(host.size).reshape(shape)
            np.testing.assert_allclose(got, ((host + 0.5) * index).sum(0, keepdims=True), rtol=1e-11, atol=1e-6)

    # Scans

    @pytest.mark.parametrize("dtype", ["l", "f", "d", "D", "B"])
    @pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
    def test_scans_in_pieces_are_one_scan(self, backend: Any, name: str, dtype: str) -> None:
        x = sample((4, 60, 3), dtype)
        function = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}[name]
        with np.errstate(all="ignore"):
            wanted = function.accumulate(x, axis=1, dtype=x.dtype)
        carry, at = None, 0
        for length in (1, 25, 0, 34):
            piece = backend.from_host(x[:, at : at + length].copy())
            got = backend.scan(name, piece, 1, carry, x.dtype)
            assert got.shape == (4, length, 3)
            np.testing.assert_array_equal(backend.to_host(got), wanted[:, at : at + length])
            at += length
            carry = got[:, -1:] if length else carry

    def test_scan_converts_and_leaves_its_operand_alone(self, backend: Any) -> None:
        host = np.array([[1, 200], [100, 100]], "B")
        x = backend.from_host(host.copy())
        got = backend.to_host(backend.scan("sum", x, 0, None, np.dtype("uint64")))
        assert got.dtype == np.uint64
        np.testing.assert_array_equal(got, [[1, 200], [101, 300]])
        np.testing.assert_array_equal(backend.to_host(x), host)
        same = backend.from_host(np.arange(5.0))
        backend.scan("sum", same, 0, None, np.dtype("float64"))
        np.testing.assert_array_equal(backend.to_host(same), np.arange(5.0))


def index_array(affine: Affine, shape: tuple[int, ...]) -> Array:
    """What an `Affine` stands for."""
    index = np.full(shape, affine.offset, np.int64)
    for axis, stride in enumerate(affine.strides):
        index += stride * np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return index
