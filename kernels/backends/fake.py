"""Device memory played on the CPU, stricter than a device: for testing what a GPU does not forgive.

Arrays refuse to mix with NumPy's, memory has a hard limit, transfers are counted, and an array whose asynchronous copy
has not been waited for cannot be used.
"""

from __future__ import annotations

import operator
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.kernels.backends.base import Cuts
from gpuarray.kernels.backends.numpy import BACKEND as HOST
from gpuarray.kernels.errors import GPUArrayError
from gpuarray.kernels.program import Program
from gpuarray.kernels.stencils.boxes import Box
from gpuarray.kernels.stencils.program import Edges, StencilProgram

Host = np.ndarray[Any, Any]


class FakeOutOfMemoryError(GPUArrayError, MemoryError):
    """The fake device's limit is reached: what CuPy's OutOfMemoryError is on a GPU."""


class NotReadyError(GPUArrayError, RuntimeError):
    """An array is used whose copy is still on its way: on a GPU, a read of whatever was there before."""


@dataclass
class Counters:
    """What has happened on one device so far."""

    uploads: int = 0
    uploaded_nbytes: int = 0
    downloads: int = 0
    downloaded_nbytes: int = 0
    used_nbytes: int = 0
    peak_nbytes: int = 0


class _Buffer:
    """Memory that one or several arrays share; given back when the last of them is gone."""

    __slots__ = ("__weakref__", "nbytes", "pending")

    def __init__(self, device: Fake, nbytes: int) -> None:
        device._take(nbytes)
        self.nbytes = nbytes
        self.pending = False
        weakref.finalize(self, device._give, nbytes).atexit = False


class FakeArray:
    """An array in the memory of a `Fake` device: NumPy's methods and operators, on its kind alone.

    >>> x = BACKEND.from_host(np.arange(3))
    >>> x + np.arange(3)
    Traceback (most recent call last):
        ...
    TypeError: a NumPy array in an operation on device arrays; move it with from_host
    >>> BACKEND.to_host(x + x)
    array([0, 2, 4])
    """

    __slots__ = ("_buffer", "_data", "_device")

    def __init__(self, device: Fake, data: Host, buffer: _Buffer) -> None:
        self._device, self._data, self._buffer = device, data, buffer

    shape = property(lambda self: self._data.shape)
    dtype = property(lambda self: self._data.dtype)
    ndim = property(lambda self: self._data.ndim)
    size = property(lambda self: self._data.size)
    strides = property(lambda self: self._data.strides)
    nbytes = property(lambda self: self._data.nbytes)
    itemsize = property(lambda self: self._data.itemsize)
    flags = property(lambda self: self._data.flags)
    T = property(lambda self: self.transpose())
    real = property(lambda self: self._device._call(operator.attrgetter("real"), self))
    imag = property(lambda self: self._device._call(operator.attrgetter("imag"), self))

    def __getattr__(self, name: str) -> Any:
        """A method of NumPy's arrays."""
        if name.startswith("__") or not callable(getattr(Host, name, None)):
            raise AttributeError(f"device arrays have no {name!r}")
        if name in ("item", "tolist", "tobytes", "tofile", "dump", "dumps"):
            return getattr(self._device.to_host(self), name)

        def method(*arguments: Any, **named: Any) -> Any:
            return self._device._call(operator.methodcaller, name, *arguments, **named, on=self)

        return method

    @property
    def base(self) -> _Buffer:
        """The memory that the array keeps alive, which may be larger than itself."""
        return self._buffer

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        return self._device._call(operator.getitem, self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._device._call(operator.setitem, self, key, value)

    def __bool__(self) -> bool:
        return bool(self._device.to_host(self))

    def __int__(self) -> int:
        return int(self._device.to_host(self))

    def __float__(self) -> float:
        return float(self._device.to_host(self))

    def __complex__(self) -> complex:
        return complex(self._device.to_host(self))

    def __index__(self) -> int:
        return operator.index(self._device.to_host(self)[()])

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a device array is not converted to a NumPy array by itself; move it with to_host")

    def __reduce__(self) -> Any:
        raise TypeError("a device array is not pickled; move it with to_host")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        return self._device._call(getattr(ufunc, method), *inputs, **named)

    def __array_function__(self, function: Any, types: Any, arguments: Any, named: Any) -> Any:
        return self._device._call(function, *arguments, **named)

    def __repr__(self) -> str:
        state = "not ready" if self._buffer.pending else np.array2string(self._data, threshold=20)
        return f"FakeArray({state}, dtype={self.dtype})"

    __hash__ = None  # type: ignore[assignment]


def _operation(function: Callable[..., Any], reflected: bool = False) -> Callable[..., Any]:
    def method(self: FakeArray, *other: Any) -> Any:
        return self._device._call(function, *((*other, self) if reflected else (self, *other)))

    return method


for _name in (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "lshift",
    "rshift",
    "and",
    "or",
    "xor",
):
    _function = getattr(operator, f"__{_name}__")
    setattr(FakeArray, f"__{_name}__", _operation(_function))
    setattr(FakeArray, f"__r{_name}__", _operation(_function, reflected=True))
    setattr(FakeArray, f"__i{_name}__", _operation(getattr(operator, f"__i{_name}__")))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "pos", "abs", "invert"):
    setattr(FakeArray, f"__{_name}__", _operation(getattr(operator, f"__{_name}__")))


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


class Copy:
    """A copy under way. Its `array` may be used after `wait`; what is copied must stay as it is until then."""

    def __init__(self, array: Any, finish: Callable[[], None]) -> None:
        self.array = array
        self._finish: Callable[[], None] | None = finish

    def wait(self) -> Any:
        """Finish the copy and return `array`."""
        if self._finish is not None:
            self._finish()
            self._finish = None
        return self.array


class Fake:
    """One fake device.

    >>> device = Fake(limit=100)
    >>> x = device.empty((10,), np.dtype("float64"))
    >>> x.copy()
    Traceback (most recent call last):
        ...
    gpuarray.kernels.backends.fake.FakeOutOfMemoryError: 80 bytes asked for, 80 of 100 in use
    """

    name = "fake"

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.counters = Counters()
        self.xp: Any = _Namespace(self, np)
        self._lock = threading.RLock()

    def _take(self, nbytes: int) -> None:
        with self._lock:
            c = self.counters
            if self.limit is not None and c.used_nbytes + nbytes > self.limit:
                raise FakeOutOfMemoryError(f"{nbytes} bytes asked for, {c.used_nbytes} of {self.limit} in use")
            c.used_nbytes += nbytes
            c.peak_nbytes = max(c.peak_nbytes, c.used_nbytes)

    def _give(self, nbytes: int) -> None:
        with self._lock:
            self.counters.used_nbytes -= nbytes

    # Calls: device arrays are opened, NumPy works on what is inside, and results are closed again.

    def _call(self, function: Callable[..., Any], *arguments: Any, on: FakeArray | None = None, **named: Any) -> Any:
        opened: dict[int, FakeArray] = {}
        given = [self._open(a, opened) for a in arguments]
        options = {k: self._open(v, opened) for k, v in named.items()}
        if on is None:
            result = function(*given, **options)
        else:
            result = function(*given, **options)(self._open(on, opened))
        return self._close(result, opened)

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
            return FakeArray(self, value, _Buffer(self, owner.nbytes) if known is None else known._buffer)
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
        return self.upload(array).wait()

    def to_host(self, array: FakeArray) -> Host:
        return self.download(array).wait()

    def upload(self, array: Host) -> Copy:
        """Start to copy a NumPy array to the device; the bytes are read when the copy is waited for."""
        if not isinstance(array, np.ndarray):
            raise TypeError(f"from_host takes a NumPy array, not {type(array).__name__}")
        target = FakeArray(self, np.empty_like(array), _Buffer(self, array.nbytes))
        target._buffer.pending = True

        def finish() -> None:
            target._data[...] = array
            target._buffer.pending = False
            with self._lock:
                self.counters.uploads += 1
                self.counters.uploaded_nbytes += array.nbytes

        return Copy(target, finish)

    def download(self, array: FakeArray) -> Copy:
        """Start to copy a device array to the host; until it is waited for, the NumPy array holds rubbish."""
        if not isinstance(array, FakeArray):
            raise TypeError(f"to_host takes a device array, not {type(array).__name__}")
        source = self._inside(array)
        target = np.empty_like(source)
        if target.dtype.kind not in "SU":
            target.reshape(-1, order="A").view(np.uint8)[...] = 0xA5

        def finish() -> None:
            target[...] = source
            with self._lock:
                self.counters.downloads += 1
                self.counters.downloaded_nbytes += source.nbytes

        return Copy(target, finish)

    def nbytes(self, array: FakeArray) -> int:
        return int(array.nbytes)

    def elementwise(
        self, program: Program, operands: Sequence[Any], shape: tuple[int, ...], *, compiled: bool, out: Any = None
    ) -> FakeArray:
        opened: dict[int, FakeArray] = {}
        given = [self._open(o, opened) for o in operands]
        into = None if out is None else self._open(out, opened)
        result: FakeArray = self._close(HOST.elementwise(program, given, shape, compiled=compiled, out=into), opened)
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
        given = [self._inside(o) for o in operands]
        states: tuple[FakeArray, ...] = self._close(
            HOST.reduce(program, reduction, given, shape, cuts, compiled=compiled), {}
        )
        return states

    def combine(self, reduction: str, states: Sequence[Any], axes: tuple[int, ...], **parameters: Any) -> FakeArray:
        opened: dict[int, FakeArray] = {}
        given = [self._open(s, opened) for s in states]
        result: FakeArray = self._close(HOST.combine(reduction, given, axes, **parameters), opened)
        return result

    def scan(self, name: str, array: Any, axis: int, carry: Any, dtype: np.dtype[Any], *, out: Any = None) -> FakeArray:
        opened: dict[int, FakeArray] = {}
        into = None if out is None else self._open(out, opened)
        given = HOST.scan(name, self._inside(array), axis, self._inside(carry), dtype, out=into)
        result: FakeArray = self._close(given, opened)
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
        results: tuple[FakeArray, ...] = self._close(
            HOST.sweep(stencil, edges, scalars, domain, out, given, origins, compiled=compiled, into=targets), opened
        )
        return results


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
