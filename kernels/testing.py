"""What every backend must do: test classes that the tests of a backend inherit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.program import Affine, Builder
from gpuarray.kernels.testing_reductions import ReductionTests
from gpuarray.kernels.testing_stencils import StencilTests
from gpuarray.kernels.testing_tools import LAYOUTS, NUMBERS, SHAPES, identity, laid_out, sample


class BackendTests(ReductionTests, StencilTests):
    """The contract of `gpuarray.kernels.backends.base.Backend`.

    Inherit, and give the backend as a fixture of that name. Everything runs interpreted and compiled.
    """

    # Moving

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("dtype", ["?", "b", "e", "d", "D", ">i4"])
    def test_arrays_come_back_as_they_went(self, backend: Any, shape: tuple[int, ...], dtype: str) -> None:
        host = sample(shape, dtype).astype(dtype)
        there = backend.from_host(host)
        same = (host.dtype, host.dtype.newbyteorder("="))  # a device may know one order of bytes alone
        assert there.shape == host.shape
        assert there.dtype in same
        assert backend.nbytes(there) == host.nbytes
        back = backend.to_host(there)
        assert type(back) is np.ndarray
        assert back.dtype in same
        np.testing.assert_array_equal(back, host)

    def test_gathering(self, backend: Any) -> None:
        """Parts of several arrays, of any steps, in one array."""
        first, second = (sample((7, 11), "d", seed) for seed in (1, 2))
        there = [backend.from_host(a) for a in (first, second)]
        result = backend.empty((7, 22), np.dtype("float64"))
        result[...] = -1
        backend.gather([(there[0][1:4, ::-1], result[:3, :11]), (there[1][::3], result[4:, ::2])])
        expected = np.full((7, 22), -1.0)
        expected[:3, :11], expected[4:, ::2] = first[1:4, ::-1], second[::3]
        np.testing.assert_array_equal(backend.to_host(result), expected)

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

    # Scans

    @pytest.mark.parametrize("into", [False, True])
    @pytest.mark.parametrize("shape", [(4, 60, 3), (2, 60, 300), (2, 60), (2, 60, 0)])
    @pytest.mark.parametrize("dtype", ["l", "f", "d", "D", "B"])
    @pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
    def test_scans_in_pieces_are_one_scan(
        self, backend: Any, name: str, dtype: str, shape: tuple[int, ...], into: bool
    ) -> None:
        x = sample(shape, dtype)
        function = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}[name]
        with np.errstate(all="ignore"):
            wanted = function.accumulate(x, axis=1, dtype=x.dtype)
        if (name, dtype) == ("prod", "D"):  # who fuses multiplication and addition rounds complex products otherwise
            once = backend.to_host(backend.scan(name, backend.from_host(x), 1, None, x.dtype))
            np.testing.assert_allclose(once, wanted, rtol=1e-13)
            wanted = np.ascontiguousarray(once)
        carry, at = None, 0
        whole = backend.empty(shape, x.dtype)
        for length in (1, 25, 0, 34):
            piece = backend.from_host(x[:, at : at + length].copy())
            out = whole[:, at : at + length] if into else None
            got = backend.scan(name, piece, 1, carry, x.dtype, out=out)
            assert got.shape == (shape[0], length, *shape[2:])
            assert backend.to_host(got).tobytes() == np.ascontiguousarray(wanted[:, at : at + length]).tobytes()
            at += length
            carry = got[:, -1:] if length else carry
        if into:
            assert backend.to_host(whole).tobytes() == wanted.tobytes()

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
        wide = np.full((3, 400), 200, "B")
        got = backend.to_host(backend.scan("sum", backend.from_host(wide), 0, None, np.dtype("uint64")))
        assert got.tolist() == [[200] * 400, [400] * 400, [600] * 400]
