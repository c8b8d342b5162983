"""Running checks of CUDA kernels in Numba's simulator, and what they compare.

The simulator replaces Numba's CUDA for a whole process, so the checks of a file run in one process of their own: the
file, executed as a script. Each `check_...` is a test.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.program import Builder, Program


def checks(names: dict[str, Any]) -> list[str]:
    """The checks among a module's globals."""
    return [name for name, value in names.items() if name.startswith("check_") and callable(value)]


def simulate(file: str) -> dict[str, str]:
    """Run all checks of a file: by name, what went wrong."""
    pytest.importorskip("numba_cuda", reason="needs numba-cuda, which has the simulator")
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, file], capture_output=True, text=True, env=environment, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(names: dict[str, Any]) -> None:
    """What a file does as a script: the checks that the command line names, or all."""
    warnings.simplefilter("ignore")  # of numbers that wrap around, which they should
    outcome = {}
    for name in checks(names):
        if not sys.argv[1:] or name in sys.argv[1:]:
            started = time.process_time()
            try:
                names[name]()
                outcome[name] = ""
            except Exception:
                outcome[name] = traceback.format_exc()[-3000:]
            print(f"{time.process_time() - started:6.1f} s  {name}", file=sys.stderr)
    print(json.dumps(outcome))


def aligned(shape: tuple[int, ...], dtype: Any, shift: int = 0) -> np.ndarray:
    """An array that begins `shift` elements after a multiple of 64 bytes, and owns nothing beyond its end."""
    size = int(np.prod(shape))
    dtype = np.dtype(dtype)
    raw = np.zeros((size + shift) * dtype.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    memory = raw[start : start + (size + shift) * dtype.itemsize]
    return memory.view(dtype)[shift:].reshape(shape)


def place(array: np.ndarray, offset: int = 0) -> Any:
    """Where element 0 of an array of `aligned` lies; only the array's own memory may be touched."""
    from gpuarray.kernels.cuda.simulated import Memory

    low, high = np.lib.array_utils.byte_bounds(array)
    memory = np.frombuffer((ctypes.c_uint8 * (high - low)).from_address(low), np.uint8)
    return Memory(memory, array.ctypes.data - low + offset)


def sample(shape: tuple[int, ...], dtype: Any, seed: int = 0, shift: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = aligned(shape, dtype, shift)
    values = rng.normal(size=shape) * 20
    if out.dtype.kind == "c":
        out[...] = values + 1j * rng.normal(size=shape)
    else:
        out[...] = rng.integers(0, 100, shape) if out.dtype.kind in "bu" else values
        if out.dtype.kind == "f" and out.size > 4:
            out.reshape(-1)[1:4] = np.nan, np.inf, -0.0
    return out


def same(found: np.ndarray, expected: np.ndarray, what: str = "") -> None:
    assert found.dtype == expected.dtype, (what, found.dtype, expected.dtype)
    assert found.shape == expected.shape, (what, found.shape, expected.shape)
    if found.dtype.kind in "fc":  # any NaN is as good as another
        found, expected = found.copy(), expected.copy()
        for array in (found, expected):
            parts = array.view(array.real.dtype) if array.ndim else array.reshape(1).view(array.real.dtype)
            parts[np.isnan(parts)] = np.nan
    if found.tobytes() != expected.tobytes():
        at = np.argwhere(~((found == expected) | ((found != found) & (expected != expected))))[:5]
        raise AssertionError(f"{what}: differ at {at.tolist()}: {found[tuple(at[0])]} {expected[tuple(at[0])]}")


def number(value: Any, dtype: Any) -> list[Any]:
    """A scalar as the parameters of a kernel."""
    from gpuarray.kernels.cuda.calls import scalar_arguments

    return scalar_arguments(value, np.dtype(dtype))


def run(kernel: Any, blocks: tuple[int, ...], threads: tuple[int, ...], *arguments: Any) -> None:
    from gpuarray.kernels.cuda import simulated

    assert len(kernel.parameters) == len(arguments), (kernel.parameters, arguments)
    given = [
        a if t == "uint64" and not np.isscalar(a) else np.dtype(t).type(a)
        for t, a in zip(kernel.parameters, arguments, strict=True)
    ]
    simulated.launch(kernel.source, blocks, threads, *given)


def perform(call: Any, blocks: tuple[int, ...] | None = None, threads: tuple[int, ...] | None = None) -> None:
    """Run a launch; with fewer blocks and threads where the kernel strides over the grid."""
    from gpuarray.kernels.cuda import simulated

    kernel = call.kernel
    simulated.launch(kernel.source, blocks or call.blocks, threads or call.threads, *call.arguments)


def begins_aligned(array: np.ndarray) -> bool:
    return array.ctypes.data % 16 == 0


def perform_all(launches: list[Any], threads: int = 32) -> None:
    """With one block of few threads, where a kernel strides over the grid."""
    for call in launches:
        perform(call, (1,), call.threads if call.threads[1] > 1 else (threads,))


def new(n: int, dtype: Any) -> np.ndarray:
    """`calls.Empty`."""
    return aligned((n,), dtype)


def identity(dtype: str) -> Program:
    b = Builder()
    return b.build(b.input("array", dtype))


def finite(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    out = sample(shape, dtype, seed)
    if out.dtype.kind == "f":
        out[~np.isfinite(out)] = 0.5
    return out
