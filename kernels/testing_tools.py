"""Arrays to test with, and checks that the contract tests of backends share."""

from __future__ import annotations

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


class Contract:
    """Fixtures and checks: everything runs interpreted and compiled."""

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


def index_array(affine: Affine, shape: tuple[int, ...]) -> Array:
    """What an `Affine` stands for."""
    index = np.full(shape, affine.offset, np.int64)
    for axis, stride in enumerate(affine.strides):
        index += stride * np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return index
