"""Launches through CuPy: a cubin from the cache becomes a module of CuPy's, with its streams, memory pool and graphs.

The one module here that needs CuPy and a GPU; importing it needs neither. It has not run on a GPU yet.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuarray.kernels.cuda import calls, offline
from gpuarray.kernels.cuda.calls import Call
from gpuarray.kernels.cuda.offline import ENTRY, Kernel
from gpuarray.kernels.program import Program


def capability() -> tuple[int, int]:
    """The compute capability of CuPy's current device.

    Raises ImportError without CuPy.
    """
    import cupy

    text = cupy.cuda.Device().compute_capability
    return int(text[:-1]), int(text[-1])


@functools.cache
def function(kernel: Kernel, device: int) -> Any:
    """The kernel as a function of CuPy's on a device, which is the current one; compiled if no cache has it."""
    import cupy

    return cupy.RawModule(path=str(offline.cubin(kernel, capability()))).get_function(ENTRY)


def run(launches: Sequence[Call]) -> None:
    """Launch on CuPy's current stream; does not wait."""
    import cupy

    device = cupy.cuda.Device().id
    for call in launches:
        function(call.kernel, device)(call.blocks, call.threads, call.arguments)


def elementwise(program: Program, operands: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Compute a program into `outputs`, arrays of CuPy of one shape, which may be or overlap operands."""
    import cupy

    given = list(operands)
    coherent = False
    for k, operand in enumerate(given):
        for out in outputs:
            if program.inputs[k].kind == "array" and cupy.may_share_memory(operand, out):
                same = operand.data.ptr == out.data.ptr and operand.strides == out.strides
                if not (same and operand.shape == out.shape and operand.dtype == out.dtype):
                    given[k] = operand.copy()
                coherent = True
    call = calls.elementwise(program, given, outputs, address, is_aligned, coherent)
    if call is not None:
        run([call])


def address(array: Any, offset: int = 0) -> Any:
    """`calls.Address` for arrays of CuPy."""
    return np.uint64((array.data.ptr + offset) % (1 << 64))


def is_aligned(array: Any) -> bool:
    """Whether an array of CuPy begins at a multiple of 16 bytes."""
    return bool(array.data.ptr % 16 == 0)


def phase(array: Any, nbytes: int) -> int:
    """`calls.Sweep.phase` for arrays of CuPy."""
    return int(array.data.ptr % nbytes)
