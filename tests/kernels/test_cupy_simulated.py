"""The CuPy backend with its CUDA kernels run by Numba's simulator: what the backend launches computes what it promises.

On a stand-in for CuPy, in a process of its own, as `test_cuda_simulated`. Each `check_...` is a test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpuarray.kernels import interpreter, reduce
from gpuarray.kernels.program import Affine, Builder, Program


def make() -> Any:
    """A backend whose kernels are simulated, and which must not interpret anything."""
    from gpuarray.kernels.backends.cupy import CupyBackend
    from gpuarray.kernels.cuda import simulated
    from gpuarray.kernels.cuda.launch import Launcher
    from tests.kernels.cupy_standin import CuPy

    class Simulated(Launcher):
        launches = 0

        def place(self, array: Any) -> int:
            return int(array.inside.ctypes.data)

        def address(self, array: Any, offset: int = 0) -> Any:
            return simulated.Memory.of(array.inside, offset)

        def run(self, launches: Sequence[Any]) -> None:
            for call in launches:
                self.launches += 1
                given = [
                    a if isinstance(a, simulated.Memory) else np.dtype(t).type(a)
                    for t, a in zip(call.kernel.parameters, call.arguments, strict=True)
                ]
                simulated.launch(call.kernel.source, call.blocks, call.threads, *given)

    cupy = CuPy()
    return CupyBackend(cupy, launcher=Simulated(cupy))


def sample(shape: tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=shape) * 20).astype(dtype)


def same(found: np.ndarray, expected: np.ndarray) -> None:
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype), (found.shape, expected.shape, found.dtype)
    assert found.tobytes() == np.ascontiguousarray(expected).tobytes(), (found, expected)


def arithmetic(dtype: str = "float64") -> Program:
    b = Builder()
    x, y, s = b.input("array", dtype), b.input("array", dtype), b.input("scalar", dtype)
    return b.build(b.step("add", b.step("multiply", x, s), b.step("subtract", y, x)))


def compute(backend: Any, program: Program, operands: Sequence[Any], shape: tuple[int, ...], out: Any = None) -> Any:
    given = [backend.from_host(o) if isinstance(o, np.ndarray) else o for o in operands]
    before = backend._launcher.launches
    result = backend.elementwise(program, given, shape, compiled=True, out=out)
    assert backend._launcher.launches == before + 1
    return result


def check_elementwise() -> None:
    backend, program = make(), arithmetic()
    x, y = sample((6, 40)), sample((6, 40), seed=1)
    expected = program.interpret(np, x, y, 3)[0]
    same(backend.to_host(compute(backend, program, (x, y, 3), x.shape)), expected)
    same(backend.to_host(compute(backend, program, (x, y[:1], 3), x.shape)), program.interpret(np, x, y[:1], 3)[0])
    same(backend.to_host(compute(backend, program, (x, np.asfortranarray(y), 3), x.shape)), expected)
    wide = backend.empty((6, 80), np.dtype("float64"))
    wide[...] = -1
    compute(backend, program, (x, y, 3), x.shape, wide[:, ::2])
    same(backend.to_host(wide)[:, ::2].copy(), expected)
    assert (backend.to_host(wide)[:, 1::2] == -1).all()


def check_elementwise_over_its_operands() -> None:
    backend, program = make(), arithmetic()
    x, y = sample((50,)), sample((50,), seed=1)
    there = backend.from_host(x)
    backend.elementwise(program, (there, backend.from_host(y), 3), (50,), compiled=True, out=there)
    same(backend.to_host(there), program.interpret(np, x, y, 3)[0])
    there = backend.from_host(x)
    backend.elementwise(program, (there[:-1], there[1:], 3), (49,), compiled=True, out=there[1:])
    same(backend.to_host(there[1:]), program.interpret(np, x[:-1], x[1:], 3)[0])
    b = Builder()
    program = b.build(b.step("multiply", b.input("index", "int64"), b.input("array", "int64")))
    found = backend.elementwise(program, (Affine(5, (10, 1)), backend.from_host(np.arange(10))), (4, 10), compiled=True)
    same(backend.to_host(found), (5 + np.arange(40).reshape(4, 10)) * np.arange(10))


def check_reductions_of_cells() -> None:
    backend = make()
    b = Builder()
    program = b.build(b.step("square", b.input("array", "float64")))
    x = sample((6, 70))
    cuts: Any
    for cuts in ((None, (0, 70)), ((0, 6), (0, 70)), ((0, 3, 6), (0, 32, 64, 70)), ((0, 0, 6), None)):
        for name in ("sum", "var"):
            axes = tuple(a for a, c in enumerate(cuts) if c is not None)
            expected = reduce.run(program, name, (x,), x.shape, cuts)
            states = backend.reduce(program, name, (backend.from_host(x),), x.shape, cuts, compiled=True)
            for found, state in zip(states, expected, strict=True):
                same(backend.to_host(found), state)
            result = backend.to_host(backend.combine(name, states, axes))
            np.testing.assert_array_equal(result, interpreter.combine(np, name, expected, axes))


def check_scans() -> None:
    backend = make()
    for dtype in ("float64", "int32"):
        x = sample((5, 40), dtype)
        for axis in (0, 1):
            expected = np.add.accumulate(x, axis=axis, dtype=x.dtype)
            for at in (2, 4):
                first, rest = np.split(x, [at], axis)
                head = backend.scan("sum", backend.from_host(first), axis, None, x.dtype)
                last = head[-1:] if axis == 0 else head[:, -1:]
                tail = backend.scan("sum", backend.from_host(rest), axis, last, x.dtype)
                same(np.concatenate([backend.to_host(head), backend.to_host(tail)], axis), expected)
        there = backend.from_host(x)
        backend.scan("max", there, 1, None, x.dtype, out=there)
        same(backend.to_host(there), np.maximum.accumulate(x, axis=1))


def check_parts_are_gathered() -> None:
    backend = make()
    for dtype in ("float64", "uint8"):
        x, y = sample((6, 20), dtype), sample((9, 7), dtype, 1)
        a, b = backend.from_host(x), backend.from_host(y)
        whole = backend.empty((10, 30), np.dtype(dtype))
        whole[...] = 0
        before = backend._launcher.launches
        backend.gather([(a[1:4, ::2], whole[:3, :10]), (b[::-1, 2:5].T, whole[4:7, 3:12]), (a[:0], whole[:0, :20])])
        assert backend._launcher.launches - before <= 2
        expected = np.zeros((10, 30), dtype)
        expected[:3, :10], expected[4:7, 3:12] = x[1:4, ::2], y[::-1, 2:5].T
        same(backend.to_host(whole), expected)


def sweeps(
    ndim: int, dtypes: str, outputs: int, radius: int, domains: Sequence[tuple[int, ...]], steps: int, seed: int
) -> None:
    from gpuarray.kernels.testing_stencils import assert_same_bits, data, draw, draw_edges, oracle, within

    backend = make()
    rng = np.random.default_rng(seed)
    stencil = draw(rng, ndim, dtypes, outputs, radius)
    for k, domain in enumerate(domains):
        case = data(rng, stencil, draw_edges(rng, stencil, False), domain, steps)
        if backend._launcher.missing_sweep(stencil, case.edges):
            continue
        wanted = oracle(case)
        for out in (case.whole(), case.box(rng)):
            if not all(out):
                continue
            arrays, origins = case.level0(out, k % 2)
            given = [backend.from_host(a) for a in arrays]
            before = backend._launcher.launches
            got = backend.sweep(case.stencil, case.edges, case.scalars, case.domain, out, given, origins, compiled=True)
            assert backend._launcher.launches > before
            for found, value in zip(got, wanted, strict=True):
                assert_same_bits(backend.to_host(found), within(value, out), f"{case.edges} {domain} {out} {steps}")


def check_sweeps_of_one_axis() -> None:
    sweeps(1, "d", 1, 1, [(20,), (33,)], 3, 1)
    sweeps(1, "ff", 2, 2, [(25,)], 2, 2)


def check_sweeps_of_two_axes() -> None:
    sweeps(2, "d", 1, 1, [(9, 20), (14, 9)], 4, 3)
    sweeps(2, "l", 1, 2, [(13, 18)], 2, 4)


def check_sweeps_of_three_axes() -> None:
    sweeps(3, "d", 1, 1, [(5, 6, 8), (6, 5, 9)], 2, 5)


def check_a_sweep_into_an_array_that_it_reads() -> None:
    from gpuarray.kernels.stencils.program import Edge
    from gpuarray.kernels.testing_stencils import assert_same_bits, build, data, oracle

    backend = make()
    stencil = build(lambda b, t, s: [b.step("add", *t)], [(0, (0, 1)), (0, (1, 0))], "d")
    edges = (((Edge("constant", 2.0), Edge("nearest")), (Edge("reflect"), Edge("fixed"))),)
    for steps in (1, 3):
        case = data(np.random.default_rng(1), stencil, edges, (8, 9), steps)
        field = backend.from_host(case.fields[0])
        (found,) = backend.sweep(
            stencil, edges, case.scalars, (8, 9), case.whole(), [field], [(0, 0)], compiled=True, into=[field]
        )
        assert found is field
        assert_same_bits(backend.to_host(field), oracle(case)[0])


if __name__ != "__main__":
    import pytest

    CHECKS = [name for name, value in list(globals().items()) if name.startswith("check_") and callable(value)]

    @pytest.fixture(scope="module")
    def results() -> dict[str, str]:
        pytest.importorskip("numba_cuda", reason="needs numba-cuda, which has the simulator")
        environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(
            [sys.executable, __file__], capture_output=True, text=True, env=environment, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr[-4000:]
        found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
        return found

    @pytest.mark.parametrize("name", CHECKS)
    def test_simulated(results: dict[str, str], name: str) -> None:
        assert results[name] == ""

else:
    warnings.simplefilter("ignore")  # of numbers that wrap around, which they should
    outcome = {}
    for name, value in list(globals().items()):
        if name.startswith("check_") and (not sys.argv[1:] or name in sys.argv[1:]):
            started = time.process_time()
            try:
                value()
                outcome[name] = ""
            except Exception:
                outcome[name] = traceback.format_exc()[-3000:]
            print(f"{time.process_time() - started:6.1f} s  {name}", file=sys.stderr)
    print(json.dumps(outcome))
