"""CuPy: arrays in the memory of an NVIDIA GPU.

Programs run as the CUDA kernels of `gpuarray.kernels.cuda`; those that have none are interpreted with CuPy's functions.
All work of a device is queued on one stream, copies on two others (`cupy_copies`). Nothing here has run on a GPU yet.

CuPy is imported by `find`, not with this module; the class is handed it, so that a stand-in can take its place.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from gpuarray.kernels import interpreter
from gpuarray.kernels.backends.base import Cuts
from gpuarray.kernels.backends.cupy_copies import Copier, Copy, Event
from gpuarray.kernels.backends.cupy_errors import meaning
from gpuarray.kernels.backends.cupy_layouts import (
    check_dtype,
    in_memory_order,
    memory_order,
    refuse_other,
    refuse_strided,
    refuse_unlike,
)
from gpuarray.kernels.backends.cupy_namespace import Namespace
from gpuarray.kernels.cuda.launch import Launcher
from gpuarray.kernels.errors import DeviceError, DeviceMemoryError, TaskError
from gpuarray.kernels.program import Program
from gpuarray.kernels.stencils import interpreter as stencils
from gpuarray.kernels.stencils.boxes import Box
from gpuarray.kernels.stencils.program import Edges, StencilProgram

Host = np.ndarray[Any, Any]


class CupyBackend:
    """One GPU with the memory that we may take of it.

    Parameters
    ----------
    cupy : the module
    number : of the device, as CUDA counts
    limit : bytes that arrays may take at once; more is refused by CuPy's pool. None: what there is
    launcher : runs the kernels
    """

    name = "cupy"

    def __init__(self, cupy: Any, number: int = 0, limit: int | None = None, launcher: Any = None) -> None:
        self._cupy, self.number = cupy, number
        self.xp: Any = Namespace(cupy)
        self._launcher = launcher or Launcher(cupy)
        self._entered, self._starved = threading.local(), False
        self._pid = os.getpid()
        self._pool = cupy.cuda.MemoryPool()
        with cupy.cuda.Device(number):
            # of the kind that keeps in step with the default stream, where users' own CuPy code runs
            self._work = cupy.cuda.Stream()
            self._copier = Copier(cupy, self._work, number)
        self.set_limit(limit)
        _BACKENDS.add(self)

    def __repr__(self) -> str:
        return f"CupyBackend(number={self.number}, limit={self.limit})"

    # What a device is.

    def active(self) -> Any:
        """Make the device, its stream of work and our pool the thread's own, and translate CUDA's errors."""
        return self._here()

    @contextmanager
    def _here(self) -> Iterator[None]:
        if getattr(self._entered, "depth", 0):
            yield
            return
        if os.getpid() != self._pid:
            raise DeviceError(
                f"this process was forked from one that uses cuda:{self.number}, and CUDA does not survive that; start "
                'processes by "spawn" (multiprocessing.set_start_method), or fork before the first run'
            )
        self._entered.depth = 1
        try:
            cuda = self._cupy.cuda  # a Device of one's own: it remembers what was current before
            with cuda.Device(self.number), cuda.using_allocator(self._malloc), self._work, self._translated():
                yield
        finally:
            self._entered.depth = 0

    @contextmanager
    def _translated(self) -> Iterator[None]:
        if self._starved:  # who tries again may need memory that the pool keeps
            self._starved = False
            _give_back(self.number)
        try:
            yield
        except Exception as error:
            what = meaning(self._cupy, error)
            if what == "memory":
                self._starved = True
                raise self._out_of_memory(error) from error
            if what == "failure":
                raise TaskError(
                    f"cuda:{self.number} has failed ({error}): what is on it is lost, and this process cannot use it "
                    'any more; start another, or compute with device="cpu"'
                ) from error
            raise

    def _malloc(self, nbytes: int) -> Any:
        """Memory of the pool, which keeps what is freed in blocks: at the limit they are given back first."""
        try:
            return self._pool.malloc(nbytes)
        except self._cupy.cuda.memory.OutOfMemoryError:
            _give_back(self.number)
        try:
            return self._pool.malloc(nbytes)
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            raise self._out_of_memory(error, nbytes) from error

    def _out_of_memory(self, error: BaseException, nbytes: int | None = None) -> DeviceMemoryError:
        asked = "memory was" if nbytes is None else f"{nbytes} bytes were"
        limit = f"a limit of {self.limit}" if self.limit is not None else "no limit of ours"
        return DeviceMemoryError(
            f"{asked} asked for on cuda:{self.number} with {self._pool.used_bytes()} bytes in use and {limit}; lower "
            f"device_memory, or free what others hold there ({error})"
        )

    def memory(self) -> tuple[int, int]:
        """Bytes of the device: those that are free or ours already, and all."""
        with self._here():
            _give_back(self.number)
            free, total = self._cupy.cuda.runtime.memGetInfo()
            return int(free) + int(self._pool.total_bytes()), int(total)

    def set_limit(self, limit: int | None) -> None:
        """Let arrays take so many bytes at once and no more; None: what there is."""
        self.limit = limit
        with self._cupy.cuda.Device(self.number):
            self._pool.set_limit(size=limit or 0)

    def used_nbytes(self) -> int:
        """Bytes of device memory that our pool has taken."""
        with self._here():
            return int(self._pool.total_bytes())

    def synchronize(self) -> None:
        """Return when all work and all copies are done."""
        with self._here():
            self.record().wait()
            for stream in (self._copier.into, self._copier.out_of):
                self._copier.event(stream).synchronize()

    def record(self) -> Event:
        """Mark the end of the work queued so far."""
        with self._here():
            return Event(self._copier.event(self._work))

    # Moving.

    def is_array(self, array: Any) -> bool:
        """Whether an array is CuPy's."""
        return isinstance(array, self._cupy.ndarray)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        check_dtype(dtype)
        with self._here():
            return self._cupy.empty(shape, dtype)

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """An array to copy to: CuPy's pool reuses memory within a stream, and this is that of the copies."""
        check_dtype(dtype)
        with self._here(), self._copier.into:
            return self._cupy.empty(shape, dtype)

    def from_host(self, array: Any) -> Any:
        """A copy of a NumPy array, in the native byte order; an array of this device is handed back."""
        if self.is_array(array):
            return self.moved(array)
        if not isinstance(array, np.ndarray):
            raise TypeError(f"from_host takes a NumPy array, not {type(array).__name__}")
        dense, back = in_memory_order(array)
        with self._here():
            target = self.empty(dense.shape, dense.dtype)
            # its memory may be that of an array which work still reads
            self._copier.into.wait_event(self._copier.event(self._work))
            self._copier.upload(dense, target).wait()
            return target.transpose(back)

    def moved(self, array: Any) -> Any:
        """An array of CuPy on this device; those of others come over the bus between them."""
        if array.device.id == self.number:
            return array
        cuda = self._cupy.cuda
        with cuda.Device(array.device.id), cuda.using_allocator(None):
            # its owner's work is queued where the owner works: on that device's default stream, or `finish` was called
            dense = self._cupy.ascontiguousarray(array)
            ready = self._copier.event(cuda.get_current_stream())
        with self._here():
            target = self.empty(dense.shape, dense.dtype)
            self._copier.into.wait_event(self._copier.event(self._work))  # see `from_host`
            self._copier.sees(array.device.id)
            return self._copier.across(dense, array.device.id, ready, target).wait().reshape(array.shape)

    def copy_from(self, other: CupyBackend, array: Any) -> Copy | None:
        with other._here():
            refuse_strided("source", array)
            ready = other._copier.event(other._work)
        with self._here():
            if not self._copier.sees(other.number):
                return None
            return self._copier.across(array, other.number, ready, self.allocate(array.shape, array.dtype))

    def to_host(self, array: Any) -> Host:
        if not self.is_array(array):
            raise TypeError(f"to_host takes an array of CuPy, not {type(array).__name__}")
        with self._here():
            axes = memory_order(array)
            dense = array.transpose(axes)
            if not dense.flags.c_contiguous:
                dense, axes = self._cupy.ascontiguousarray(array), tuple(range(array.ndim))
            target = np.empty(dense.shape, dense.dtype)
            self._copier.download(dense, target).wait()
            return target.transpose(np.argsort(axes)) if axes else target

    def pinned(self, nbytes: int) -> Host:
        with self._here():
            return self._copier.pinned.new(nbytes)

    def upload(self, array: Host, out: Any = None) -> Copy:
        if not isinstance(array, np.ndarray) or self.is_array(array):
            raise TypeError(f"upload takes a NumPy array, not {type(array).__name__}")
        if out is not None and not self.is_array(out):
            raise TypeError(f"upload copies to an array of CuPy, not to {type(out).__name__}")
        with self._here():
            refuse_strided("source", array)
            target = self.allocate(array.shape, array.dtype) if out is None else out
            refuse_unlike(array, target)
            return self._copier.upload(array, target)

    def download(self, array: Any, out: Host | None = None, *, done: bool = False) -> Copy:
        if not self.is_array(array):
            raise TypeError(f"download takes an array of CuPy, not {type(array).__name__}")
        if out is not None and (not isinstance(out, np.ndarray) or self.is_array(out)):
            raise TypeError(f"download copies to a NumPy array, not to {type(out).__name__}")
        with self._here():
            refuse_strided("source", array)
            target = np.empty(array.shape, array.dtype) if out is None else out
            refuse_unlike(array, target)
            return self._copier.download(array, target, done)

    def nbytes(self, array: Any) -> int:
        return int(array.nbytes)

    # Computing.

    def gather(self, parts: Sequence[tuple[Any, Any]]) -> None:
        """Copy parts of arrays, (source, target) of one shape and dtype, by few launches; none overlaps another."""
        with self._here():
            self._launcher.gather(parts)

    def elementwise(
        self, program: Program, operands: Sequence[Any], shape: tuple[int, ...], *, compiled: bool, out: Any = None
    ) -> Any:
        with self._here():
            if not compiled or self._launcher.missing(program):
                return interpreter.elementwise(self.xp, program, operands, shape, out)
            dtype = program.dtype_of(program.outputs[0])
            target = self.empty(shape, dtype) if out is None else out
            refuse_other(target, shape, dtype)
            self._launcher.elementwise(program, operands, [target])
            return target

    def reduce(
        self,
        program: Program,
        reduction: str,
        operands: Sequence[Any],
        shape: tuple[int, ...],
        cuts: tuple[Cuts, ...],
        *,
        compiled: bool,
    ) -> tuple[Any, ...]:
        with self._here():
            if not compiled or self._launcher.missing_reduction(program, reduction):
                return interpreter.reduce(self.xp, program, reduction, operands, shape, cuts)
            states: tuple[Any, ...] = self._launcher.reduce(program, reduction, operands, shape, cuts)
            return states

    def combine(self, reduction: str, states: Sequence[Any], axes: tuple[int, ...], **parameters: Any) -> Any:
        with self._here():
            if not self._launcher.missing_merge(reduction, states):
                return self._launcher.combine(reduction, states, axes, **parameters)
            return interpreter.combine(self.xp, reduction, states, axes, **parameters)

    def scan(self, name: str, array: Any, axis: int, carry: Any, dtype: np.dtype[Any], *, out: Any = None) -> Any:
        with self._here():
            if self._launcher.missing_scan(name, array.dtype, dtype):
                return interpreter.scan(self.xp, name, array, axis, carry, dtype, out)
            target = self.empty(array.shape, dtype) if out is None else out
            refuse_other(target, array.shape, dtype)
            self._launcher.scan(name, array, axis, carry, dtype, target)
            return target

    def sweep(
        self,
        stencil: StencilProgram,
        edges: Edges,
        scalars: Host,
        domain: tuple[int, ...],
        out: Box,
        fields: Sequence[Any],
        origins: Sequence[tuple[int, ...]],
        *,
        compiled: bool,
        into: Sequence[Any] | None = None,
    ) -> tuple[Any, ...]:
        given = (stencil, edges, scalars, domain, out, fields, origins, into)
        with self._here():
            if not compiled or not len(scalars) or self._launcher.missing_sweep(stencil, edges):
                return stencils.sweep(self.xp, *given)
            swept: tuple[Any, ...] = self._launcher.sweep(self.xp, *given)
            return swept


_BACKENDS: weakref.WeakSet[CupyBackend] = weakref.WeakSet()


def _give_back(number: int) -> None:
    """Free what the pools of a device, which is current, keep for later: one may hold what another needs."""
    for backend in tuple(_BACKENDS):
        if backend.number == number:
            backend._pool.free_all_blocks()


# The devices of this machine.


def find() -> Any:
    """CuPy, if it is installed and finds a GPU.

    Raises DeviceError that says what is missing.
    """
    try:
        import cupy
    except Exception as error:  # two of its packages in one place break each other in many ways
        raise DeviceError(
            f'there is no CuPy ({error}); pip install "gpuarray-engine[cuda12]", or [cuda13] from driver 580 on'
        ) from None
    try:
        if cupy.cuda.is_available():
            return cupy
        cupy.cuda.runtime.getDeviceCount()
        reason = "it finds no device"
    except Exception as error:
        reason = str(error)
    raise DeviceError(f"CuPy {cupy.__version__} can use no GPU: {reason}")


def devices() -> list[str]:
    """The names of the GPUs that CuPy can use: ``["cuda:0", "cuda:1"]``; empty where there is none."""
    try:
        cupy = find()
    except DeviceError:
        return []
    return [f"cuda:{k}" for k in range(cupy.cuda.runtime.getDeviceCount())]


def device(number: int = 0, limit: int | None = None) -> CupyBackend:
    """The backend of one GPU.

    Raises DeviceError where there is no such GPU, naming those there are.
    """
    cupy = find()
    count = cupy.cuda.runtime.getDeviceCount()
    if not 0 <= number < count:
        there = ", ".join(f"cuda:{k}" for k in range(count))
        raise DeviceError(f'there is no device "cuda:{number}" on this machine; there are cpu, {there}')
    return CupyBackend(cupy, number, limit)
