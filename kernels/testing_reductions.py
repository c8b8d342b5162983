"""What every backend must do, part two: reductions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.program import Affine, Builder
from gpuarray.kernels.reductions import REDUCTIONS
from gpuarray.kernels.testing_tools import NUMBERS, Array, Contract, identity, laid_out, numpy_reduce, sample


class ReductionTests(Contract):
    """`reduce` and `combine`."""

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
        if letters != "?lfD" and axes != (0, 1):
            letters = "d"  # loops over axes are compiled for one width of each kind above, and for this one
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
