"""Launches on arrays of CuPy: a cubin from the cache becomes a module of CuPy's, with its streams, pool and graphs.

CuPy is handed in, so that a stand-in can take its place; importing this module needs neither it nor a GPU. None of it
has run on a GPU yet.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpuarray.kernels import cache
from gpuarray.kernels.cuda import calls, offline, sweeps
from gpuarray.kernels.cuda.calls import Call
from gpuarray.kernels.cuda.offline import ENTRY, Kernel
from gpuarray.kernels.cuda.scalar_code import missing
from gpuarray.kernels.program import Program
from gpuarray.kernels.reductions import REDUCTIONS
from gpuarray.kernels.row import as_scalar
from gpuarray.kernels.stencils.program import Edges, StencilProgram

MOST_STEPS = 1000
"""Longer programs are left to the interpreter: they would take seconds to compile."""


class Launcher:
    """The CUDA kernels of programs, on arrays of CuPy, queued on its current stream. Thread-safe.

    What `missing` gives a reason for has no kernel; calls with it are defects.

    Parameters
    ----------
    cupy : the module
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._functions: dict[tuple[Kernel, int], Any] = {}
        self._lock = threading.Lock()

    # Arrays

    def empty(self, n: int, dtype: np.dtype[Any]) -> Any:
        """`calls.Empty`: CuPy's pool begins every array at a multiple of 512 bytes."""
        return self._cupy.empty(n, dtype)

    def address(self, array: Any, offset: int = 0) -> Any:
        """`calls.Address`."""
        return address(array, offset)

    def place(self, array: Any) -> int:
        """The address of an array's element 0."""
        return int(array.data.ptr)

    def is_aligned(self, array: Any) -> bool:
        """Whether an array begins at a multiple of 16 bytes."""
        return self.place(array) % 16 == 0

    def phase(self, array: Any, nbytes: int) -> int:
        """`calls.Sweep.phase`."""
        return self.place(array) % nbytes

    # Programs

    @staticmethod
    def missing(program: Program) -> str:
        """Why a program has no kernel, or an empty text."""
        if len(program.steps) > MOST_STEPS:
            return f"{len(program.steps)} steps, more than {MOST_STEPS}"
        return _missing(program)

    def elementwise(self, program: Program, operands: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Compute a program into `outputs`, arrays of one shape, which may be or overlap operands."""
        given = as_declared(program, operands)
        coherent = False
        for k, operand in enumerate(given):
            for out in outputs:
                if program.inputs[k].kind == "array" and self._cupy.may_share_memory(operand, out):
                    if not self._in_one_place(operand, out):
                        given[k] = operand.copy()
                    coherent = True
        call = calls.elementwise(program, given, outputs, self.address, self.is_aligned, coherent)
        if call is not None:
            self.run([call])

    @staticmethod
    def missing_reduction(program: Program, reduction: str) -> str:
        """Why a reduction of a program's values has no kernel, or an empty text."""
        return Launcher.missing(program) or calls.reducible(program, reduction)

    def reduce(
        self, program: Program, reduction: str, operands: Sequence[Any], shape: tuple[int, ...], cuts: Sequence[Any]
    ) -> tuple[Any, ...]:
        """`Backend.reduce`."""
        given = as_declared(program, operands)
        launches, states = calls.reduce(program, reduction, given, shape, cuts, self.address, self.empty)
        self.run(launches)
        return states

    @staticmethod
    def missing_merge(reduction: str, states: Sequence[Any]) -> str:
        """Why states of a reduction have no merging kernel, or an empty text."""
        row = REDUCTIONS[reduction]
        operand = states[1].dtype if row.family == "moments" else states[0].dtype
        return "" if row.code(operand) else f"{reduction} of {operand} has no scalar code"

    def combine(self, reduction: str, states: Sequence[Any], axes: tuple[int, ...], correction: float = 0.0) -> Any:
        """`Backend.combine`."""
        launches, result = calls.combine(reduction, states, axes, self.address, self.empty, correction)
        self.run(launches)
        return result

    @staticmethod
    def missing_scan(name: str, source: np.dtype[Any], dtype: np.dtype[Any]) -> str:
        """Why there is no scan of such elements, or an empty text."""
        return calls.scannable(name, source, dtype)

    def scan(self, name: str, array: Any, axis: int, carry: Any, dtype: np.dtype[Any], out: Any) -> None:
        """`Backend.scan` into `out`, which may be or overlap the array."""
        if self._cupy.may_share_memory(array, out) and not self._in_one_place(array, out):
            array = array.copy()
        carry = None if carry is None else carry.astype(dtype, copy=False)
        self.run(calls.scan(name, array, axis, carry, dtype, out, self.address, self.empty))

    def _in_one_place(self, one: Any, other: Any) -> bool:
        """Whether each element of an array lies where that of another does."""
        alike = (one.shape, one.strides, one.dtype) == (other.shape, other.strides, other.dtype)
        return alike and self.place(one) == self.place(other)

    def gather(self, parts: Sequence[tuple[Any, Any]]) -> None:
        """Copy each part, (source, target), that share no memory; see `calls.gather`."""
        self.run(calls.gather(parts, self.address, self.phase))

    @staticmethod
    def missing_sweep(stencil: StencilProgram, edges: Edges) -> str:
        """Why sweeps of a stencil have no kernels, or an empty text."""
        return Launcher.missing(stencil.program) or sweeps.missing_sweep(stencil, edges)

    def sweep(self, xp: Any, *given: Any) -> tuple[Any, ...]:
        """`Backend.sweep`, for one step at least; see `sweeps.sweep`."""
        return sweeps.sweep(self, xp, *given)

    def run(self, launches: Sequence[Call]) -> None:
        """Launch one after the other; does not wait."""
        device = self._cupy.cuda.Device().id
        for call in launches:
            self._function(call.kernel, device)(call.blocks, call.threads, call.arguments)

    def _function(self, kernel: Kernel, device: int) -> Any:
        """The kernel as a function of CuPy's on a device, which is the current one; compiled if no cache has it."""
        found = self._functions.get((kernel, device))
        if found is None:
            path = module_of(kernel, self.capability())
            found = self._cupy.RawModule(path=str(path)).get_function(ENTRY)
            with self._lock:
                self._functions[kernel, device] = found
        return found

    def capability(self) -> tuple[int, int]:
        """The compute capability of the current device."""
        text = self._cupy.cuda.Device().compute_capability
        return int(text[:-1]), int(text[-1])


PTX_VERSION = {False: "8.0", True: "8.7"}
"""The oldest that knows the architectures before Blackwell, and those from it on: every driver for them takes it."""


def module_of(kernel: Kernel, capability: tuple[int, int]) -> Path:
    """The file that CuPy loads: a cubin, or where there is no assembler the PTX, which the driver assembles."""
    if offline.assembler() is not None:
        return offline.cubin(kernel, capability)
    path = cache.folder() / f"{offline.key_of(kernel, capability)}.ptx"
    if not path.exists():
        text = offline.ptx(kernel, capability)
        version = PTX_VERSION[capability[0] >= 10]
        cache._write(path, re.sub(r"(?m)^\.version .*$", f".version {version}", text).encode())
    return path


@functools.lru_cache(4096)
def _missing(program: Program) -> str:
    return missing(program)


def as_declared(program: Program, operands: Sequence[Any]) -> list[Any]:
    """The operands in the dtypes that the program declares, scalars as NumPy's."""
    given = []
    for operand, declared in zip(operands, program.inputs, strict=True):
        dtype = np.dtype(declared.dtype)
        if declared.kind == "scalar":
            operand = as_scalar(operand, dtype)
        elif declared.kind == "array" and operand.dtype != dtype:
            operand = operand.astype(dtype)
        given.append(operand)
    return given


def address(array: Any, offset: int = 0) -> Any:
    """`calls.Address` for arrays of CuPy."""
    return np.uint64((array.data.ptr + offset) % (1 << 64))


def is_aligned(array: Any) -> bool:
    """Whether an array of CuPy begins at a multiple of 16 bytes."""
    return bool(array.data.ptr % 16 == 0)


def phase(array: Any, nbytes: int) -> int:
    """`calls.Sweep.phase` for arrays of CuPy."""
    return int(array.data.ptr % nbytes)


@functools.cache
def launcher() -> Launcher:
    """The launcher of CuPy itself.

    Raises ImportError without CuPy.
    """
    import cupy

    return Launcher(cupy)


def run(launches: Sequence[Call]) -> None:
    """`Launcher.run` on CuPy's current stream and device."""
    launcher().run(launches)


def elementwise(program: Program, operands: Sequence[Any], outputs: Sequence[Any]) -> None:
    """`Launcher.elementwise` on CuPy's current stream and device."""
    launcher().elementwise(program, operands, outputs)
