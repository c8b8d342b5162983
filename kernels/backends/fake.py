"""Device memory played on the CPU, stricter than a device: for testing what a GPU does not forgive.

Arrays refuse to mix with NumPy's, memory has a hard limit, transfers are counted, an array whose asynchronous copy has
not been waited for cannot be used, nor can its memory be given back before the work that uses it was waited for.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from gpuarray.kernels.backends.base import Cuts
from gpuarray.kernels.backends.fake_array import FakeArray
from gpuarray.kernels.backends.fake_memory import (
    Buffer,
    Copy,
    Counters,
    FakeOutOfMemoryError,
    Host,
    Memory,
    NotReadyError,
    OverwrittenError,
    refuse_unlike,
)
from gpuarray.kernels.backends.numpy import BACKEND as HOST
from gpuarray.kernels.program import Program
from gpuarray.kernels.stencils.boxes import Box
from gpuarray.kernels.stencils.program import Edges, StencilProgram

__all__ = [
    "BACKEND",
    "Copy",
    "Counters",
    "Fake",
    "FakeArray",
    "FakeOutOfMemoryError",
    "NotReadyError",
    "OverwrittenError",
]


class _Namespace:
    """NumPy's functions on device arrays: what `cupy` is for CuPy."""

    def __init__(self, device: Fake, module: Any) -> None:
        self._device, self._module = device, module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if isinstance(found, type) or not (callable(found) or type(found) is type(np)):
            return FakeArray if found is np.ndarray else found
        if type(found) is type(np):
            return _Namespace(self._device, found)
        return _Function(self._device, found, uploads=name in ("array", "asarray", "ascontiguousarray"))

    def asnumpy(self, array: FakeArray) -> Host:
        return self._device.to_host(array)


class _Function:
    """One function of NumPy's, and its methods if it is a ufunc."""

    def __init__(self, device: Fake, function: Any, uploads: bool = False) -> None:
        self._device, self._function, self._uploads = device, function, uploads

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self._uploads and arguments and isinstance(arguments[0], np.ndarray | np.generic):
            arguments = (self._device.from_host(np.asarray(arguments[0])), *arguments[1:])
        return self._device._call(self._function, *arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return _Function(self._device, getattr(self._function, name))


class Fake(Memory):
    """One fake device. Arrays of two refuse to mix.

    >>> device = Fake(limit=100)
    >>> x = device.empty((10,), np.dtype("float64"))
    >>> x.copy()
    Traceback (most recent call last):
        ...
    gpuarray.kernels.backends.fake_memory.FakeOutOfMemoryError: 80 bytes asked for, 80 of 100 in use

    Parameters
    ----------
    limit : bytes
    number : of the device
    sees : numbers of the devices whose memory it can copy from; None: all
    """

    name = "fake"

    def __init__(self, limit: int | None = None, number: int = 0, sees: Collection[int] | None = None) -> None:
        super().__init__(limit)
        self.number, self.sees = number, sees
        self.xp: Any = _Namespace(self, np)

    def __repr__(self) -> str:
        return f"Fake(limit={self.limit}, number={self.number})"

    # Calls: device arrays are opened, NumPy works on what is inside, and results are closed again.

    def _call(self, function: Callable[..., Any], *arguments: Any, on: FakeArray | None = None, **named: Any) -> Any:
        opened: dict[int, FakeArray] = {}
        given = [self._open(a, opened) for a in arguments]
        options = {k: self._open(v, opened) for k, v in named.items()}
        inside = None if on is None else self._open(on, opened)
        result = function(*given, **options)
        if on is not None:
            result = result(inside)
        if function is operator.setitem:
            self._worked(opened, arguments[0])
        elif "out" in named or not _looks_into(result, opened):
            out = named.get("out")
            self._worked(opened, *(out if isinstance(out, tuple) else (out,)))
        return self._close(result, opened)

    def _worked(self, opened: dict[int, FakeArray], *written: Any) -> None:
        self.work([array._buffer for array in opened.values()])
        for array in written:
            if isinstance(array, FakeArray):
                array._buffer.made = self.queued

    def _open(self, value: Any, opened: dict[int, FakeArray]) -> Any:
        if isinstance(value, FakeArray):
            if value._device is not self:
                raise TypeError("an array of another device; move it by way of to_host and from_host")
            if value._buffer.pending:
                raise NotReadyError("an array is used before its copy has been waited for")
            opened[id(_owner(value._data))] = value
            return value._data
        if isinstance(value, np.ndarray):
            raise TypeError("a NumPy array in an operation on device arrays; move it with from_host")
        if type(value) in (list, tuple):
            return type(value)(self._open(v, opened) for v in value)
        return value

    def _close(self, value: Any, opened: dict[int, FakeArray]) -> Any:
        if isinstance(value, np.generic):
            value = np.asarray(value)  # a device returns no scalars
        if isinstance(value, np.ndarray):
            owner = _owner(value)
            known = opened.get(id(owner))
            return FakeArray(self, value, Buffer(self, owner.nbytes) if known is None else known._buffer)
        if isinstance(value, tuple | list):
            parts = [self._close(v, opened) for v in value]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        return value

    def _inside(self, array: Any) -> Any:
        return self._open(array, {})

    # The protocol.

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FakeArray:
        array: FakeArray = self.xp.empty(shape, dtype)
        return array

    def from_host(self, array: Host) -> FakeArray:
        """A copy of a NumPy array, in its turn among the work."""
        if not isinstance(array, np.ndarray):
            raise TypeError(f"from_host takes a NumPy array, not {type(array).__name__}")
        target = FakeArray(self, np.empty_like(array), Buffer(self, array.nbytes))
        target._data[...] = array
        target._buffer.made = 0  # by a copy, which is done
        self._count_upload(array.nbytes)
        return target

    def to_host(self, array: FakeArray) -> Host:
        """A copy of a device array, once all work queued so far is done."""
        if not isinstance(array, FakeArray):
            raise TypeError(f"to_host takes a device array, not {type(array).__name__}")
        target: Host = self._inside(array).copy(order="K")
        self.record().wait()
        self._count_download(target.nbytes)
        return target

    def _count_upload(self, nbytes: int) -> None:
        with self.lock:
            self.counters.uploads += 1
            self.counters.uploaded_nbytes += nbytes

    def _count_download(self, nbytes: int) -> None:
        with self.lock:
            self.counters.downloads += 1
            self.counters.downloaded_nbytes += nbytes

    # The protocol of devices.

    def active(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def synchronize(self) -> None:
        self.record().wait()

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FakeArray:
        data = np.empty(shape, dtype)
        return FakeArray(self, data, Buffer(self, data.nbytes, ordered=False))

    def upload(self, array: Host, out: FakeArray | None = None) -> Copy:
        """Start to copy a NumPy array to the device; the bytes are read when the copy is waited for."""
        if not isinstance(array, np.ndarray):
            raise TypeError(f"upload takes a NumPy array, not {type(array).__name__}")
        if out is not None and not (isinstance(out, FakeArray) and out._device is self):
            raise TypeError("upload copies to an array of its own device")
        target = self.allocate(array.shape, array.dtype) if out is None else out
        refuse_unlike(array, target)
        buffer = target._buffer

        def finish() -> None:
            buffer.pending -= 1
            self._count_upload(array.nbytes)

        with self.lock:
            buffer.pending += 1
            return Copy(self, array, target._data, target, finish)

    def copy_from(self, other: Fake, array: FakeArray) -> Copy | None:
        """Start to copy an array of another device; the bytes are read when the copy is waited for."""
        if self.sees is not None and other.number not in self.sees:
            return None
        source = other._inside(array)
        target = self.allocate(source.shape, source.dtype)
        refuse_unlike(source, target)
        buffer, ready = target._buffer, other.record()

        def finish() -> None:
            assert array is not None  # and so kept
            buffer.pending -= 1
            self.counters.peer_copies += 1
            self.counters.peer_nbytes += source.nbytes

        with self.lock:
            buffer.pending += 1
            return Copy(self, source, target._data, target, finish, ready)

    def download(self, array: FakeArray, out: Host | None = None, *, done: bool = False) -> Copy:
        """Start to copy a device array to the host; until it is waited for, the NumPy array holds rubbish."""
        if not isinstance(array, FakeArray):
            raise TypeError(f"download takes a device array, not {type(array).__name__}")
        if out is not None and not isinstance(out, np.ndarray):
            raise TypeError(f"download copies to a NumPy array, not to {type(out).__name__}")
        source = self._inside(array)
        if done and not self.reached(array._buffer.made):
            raise NotReadyError("an array is copied as if it were done, before its work has been waited for")
        target = np.empty_like(source) if out is None else out
        refuse_unlike(source, target)
        if target.dtype.kind not in "SUO":
            target.reshape(-1).view(np.uint8)[...] = 0xA5

        def finish() -> None:
            assert array is not None  # and so kept
            self._count_download(source.nbytes)

        return Copy(self, source, target, target, finish, done=done)

    def nbytes(self, array: FakeArray) -> int:
        return int(array.nbytes)

    def moved(self, array: FakeArray) -> FakeArray:
        if array._device is self:
            return array
        there = array._device._inside(array)
        target = FakeArray(self, np.empty_like(there), Buffer(self, there.nbytes))
        array._device.record().wait()
        target._data[...] = there
        target._buffer.made = 0
        with self.lock:
            self.counters.peer_copies += 1
            self.counters.peer_nbytes += there.nbytes
        return target

    def gather(self, parts: Sequence[tuple[FakeArray, FakeArray]]) -> None:
        for source, target in parts:
            target[...] = source

    def elementwise(
        self, program: Program, operands: Sequence[Any], shape: tuple[int, ...], *, compiled: bool, out: Any = None
    ) -> FakeArray:
        opened: dict[int, FakeArray] = {}
        given = [self._open(o, opened) for o in operands]
        into = None if out is None else self._open(out, opened)
        made = HOST.elementwise(program, given, shape, compiled=compiled, out=into)
        self._worked(opened, out)
        result: FakeArray = self._close(made, opened)
        return result

    def reduce(
        self,
        program: Program,
        reduction: str,
        operands: Sequence[Any],
        shape: tuple[int, ...],
        cuts: tuple[Cuts, ...],
        *,
        compiled: bool,
    ) -> tuple[FakeArray, ...]:
        opened: dict[int, FakeArray] = {}
        given = [self._open(o, opened) for o in operands]
        made = HOST.reduce(program, reduction, given, shape, cuts, compiled=compiled)
        self._worked(opened)
        states: tuple[FakeArray, ...] = self._close(made, {})
        return states

    def combine(self, reduction: str, states: Sequence[Any], axes: tuple[int, ...], **parameters: Any) -> FakeArray:
        opened: dict[int, FakeArray] = {}
        given = [self._open(s, opened) for s in states]
        made = HOST.combine(reduction, given, axes, **parameters)
        self._worked(opened)
        result: FakeArray = self._close(made, opened)
        return result

    def scan(self, name: str, array: Any, axis: int, carry: Any, dtype: np.dtype[Any], *, out: Any = None) -> FakeArray:
        opened: dict[int, FakeArray] = {}
        into = None if out is None else self._open(out, opened)
        given, start = self._open(array, opened), self._open(carry, opened)
        made = HOST.scan(name, given, axis, start, dtype, out=into)
        self._worked(opened, out)
        result: FakeArray = self._close(made, opened)
        return result

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
    ) -> tuple[FakeArray, ...]:
        opened: dict[int, FakeArray] = {}
        given = [self._open(f, opened) for f in fields]
        targets = None if into is None else [self._open(r, opened) for r in into]
        made = HOST.sweep(stencil, edges, scalars, domain, out, given, origins, compiled=compiled, into=targets)
        self._worked(opened, *(into or ()))
        results: tuple[FakeArray, ...] = self._close(made, opened)
        return results


def _looks_into(result: Any, opened: dict[int, FakeArray]) -> bool:
    """Whether a result is a view, which takes no work."""
    if not isinstance(result, np.ndarray) or id(_owner(result)) not in opened:
        return False
    return all(result is not array._data for array in opened.values())


def _owner(array: Host) -> Host:
    """The array that owns the memory."""
    while True:
        base = array.base
        if not isinstance(base, np.ndarray):
            base = getattr(base, "base", None)  # as_strided puts an object of its own in between
        if not isinstance(base, np.ndarray):
            return array
        array = base


BACKEND = Fake()
