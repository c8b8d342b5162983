"""As much of CuPy as we call, on the CPU, and stricter than a GPU.

Arrays refuse to mix with NumPy's and to become them. Copies on a stream are done as late as may be: when an event after
them is waited for. They know addresses alone, as CUDA does, and fail where the memory at one is gone by then.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

CAPABILITY = "90"


class OutOfMemoryError(MemoryError):
    """`cupy.cuda.memory.OutOfMemoryError`."""


class CUDARuntimeError(RuntimeError):
    """`cupy.cuda.runtime.CUDARuntimeError`."""


class CUDADriverError(RuntimeError):
    """`cupy.cuda.driver.CUDADriverError`."""


class _Live:
    """Which memory there is: of the device, and pinned."""

    def __init__(self) -> None:
        self._spans: dict[int, tuple[int, bool]] = {}
        self._lock = threading.RLock()

    def add(self, owner: np.ndarray, pinned: bool) -> None:
        start = owner.ctypes.data
        with self._lock:
            self._spans[start] = (owner.nbytes, pinned)
        weakref.finalize(owner, self._spans.pop, start, None).atexit = False

    def find(self, address: int, nbytes: int) -> bool | None:
        """Whether memory is pinned; None where there is none."""
        with self._lock:
            for start, (length, pinned) in self._spans.items():
                if start <= address and address + nbytes <= start + length:
                    return pinned
        return None


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # CuPy's name
    """`cupy.ndarray`: NumPy's methods and operators, on its kind alone."""

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, inside: np.ndarray, base: ndarray | None = None, number: int | None = None) -> None:
        self.inside, self.base = inside, base
        self._number = getattr(_current, "device", 0) if number is None else number

    shape = property(lambda self: self.inside.shape)
    dtype = property(lambda self: self.inside.dtype)
    ndim = property(lambda self: self.inside.ndim)
    size = property(lambda self: self.inside.size)
    strides = property(lambda self: self.inside.strides)
    nbytes = property(lambda self: self.inside.nbytes)
    itemsize = property(lambda self: self.inside.itemsize)
    flags = property(lambda self: self.inside.flags)
    T = property(lambda self: self.transpose())
    real = property(lambda self: _closed(self.inside.real, [self]))
    imag = property(lambda self: _closed(self.inside.imag, [self]))
    device = property(lambda self: types.SimpleNamespace(id=self._number))
    data = property(lambda self: Pointer(self.inside, self.inside.ctypes.data))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not callable(getattr(np.ndarray, name, None)):
            raise AttributeError(name)
        if name in ("item", "tolist", "tobytes"):
            return getattr(self.inside, name)

        def method(*arguments: Any, **named: Any) -> Any:
            return _call(lambda a, *rest, **more: getattr(a, name)(*rest, **more), self, *arguments, **named)

        return method

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        return np.array(self.inside)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct one.")

    def __len__(self) -> int:
        return len(self.inside)

    def __getitem__(self, key: Any) -> Any:
        return _closed(self.inside[_opened(key)], [self])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.inside[_opened(key)] = _opened(value)

    def __float__(self) -> float:
        return float(self.inside)

    def __bool__(self) -> bool:
        return bool(self.inside)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        if method != "__call__":
            raise NotImplementedError(f"`cupy_{ufunc.__name__}.{method}` is not supported yet")
        return _call(ufunc, *inputs, **named)

    def __array_function__(self, function: Any, kinds: Any, arguments: Any, named: Any) -> Any:
        return _call(function, *arguments, **named)

    def copy(self, order: Any = "C") -> Any:
        return _closed(self.inside.copy(order))

    def astype(self, dtype: Any, order: Any = "K", casting: Any = None, subok: Any = None, copy: bool = True) -> Any:
        if casting is not None or subok is not None:
            raise TypeError("casting is not supported yet")
        found = self.inside.astype(dtype, order, copy=copy)
        return self if found is self.inside else _closed(found)

    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled here")


def _opened(value: Any, seen: list[Any] | None = None) -> Any:
    if isinstance(value, ndarray):
        if seen is not None:
            seen.append(value)
        return value.inside
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {np.ndarray}")
    if type(value) in (list, tuple):
        return type(value)(_opened(v, seen) for v in value)
    return value


def _closed(value: Any, seen: Any = ()) -> Any:
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        for array in seen:
            if value is array.inside:
                return array
            if np.may_share_memory(value, array.inside) and value.size:
                return ndarray(value, array if array.base is None else array.base, array._number)
        if value.base is not None:
            value = value.copy()
        _count(value, value.nbytes)
        _live.add(value, False)
        return ndarray(value)
    if isinstance(value, tuple | list):
        return type(value)(_closed(v, seen) for v in value)
    return value


def _call(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    seen: list[Any] = []
    with np.errstate(all="ignore"):
        result = function(*(_opened(a, seen) for a in arguments), **{k: _opened(v, seen) for k, v in named.items()})
    return _closed(result, seen)


_current = threading.local()


def _count(owner: np.ndarray, nbytes: int) -> None:
    """Take memory from the pool in force, which may refuse; an operation's result takes some, too."""
    allocator = getattr(_current, "allocator", None)
    if allocator is not None:
        weakref.finalize(owner, allocator(nbytes).pool.give, nbytes).atexit = False


class Pointer:
    """`cupy.cuda.MemoryPointer`."""

    def __init__(self, owner: np.ndarray, ptr: int) -> None:
        self.ptr = ptr
        self._owner = owner

    def __add__(self, offset: int) -> Pointer:
        return Pointer(self._owner, self.ptr + offset)

    def copy_from_host_async(self, mem: int, size: int, stream: Stream) -> None:
        if _live.find(mem, size) is None:  # pageable: the driver has read it when it returns
            staged = np.frombuffer(ctypes.string_at(mem, size), np.uint8)
            stream.queue(_move, self.ptr, staged.ctypes.data, size, (self.ptr,), staged)
        else:
            stream.queue(_move, self.ptr, mem, size, (self.ptr, mem))

    def copy_to_host_async(self, mem: int, size: int, stream: Stream) -> None:
        if _live.find(mem, size) is None:  # pageable: it is there when the driver returns
            stream.synchronize()
            _move(mem, self.ptr, size, (self.ptr,))
        else:
            stream.queue(_move, mem, self.ptr, size, (self.ptr, mem))


def _move(target: int, source: int, nbytes: int, known: tuple[int, ...], held: Any = None) -> None:
    for address in known:
        if _live.find(address, nbytes) is None:
            raise CUDARuntimeError(f"cudaErrorIllegalAddress: {nbytes} bytes at {address} are gone")
    ctypes.memmove(target, source, nbytes)


class Stream:
    """`cupy.cuda.Stream`: what is queued is done when somebody waits for it."""

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self._pending: list[tuple[Any, ...]] = []
        self._done = 0
        self._lock = threading.RLock()
        self.ptr = id(self)
        _streams[self.ptr] = self

    def queue(self, *call: Any) -> None:
        with self._lock:
            self._pending.append(call)

    def reach(self, position: int) -> None:
        with self._lock:
            while self._done < position:
                function, *arguments = self._pending.pop(0)
                self._done += 1
                function(*arguments)

    @property
    def position(self) -> int:
        with self._lock:
            return self._done + len(self._pending)

    def wait_event(self, event: Event) -> None:
        if self._pending:
            self.queue(event.synchronize)
        else:
            event.synchronize()

    def synchronize(self) -> None:
        self.reach(self.position)

    def __enter__(self) -> Stream:
        self._before = getattr(_current, "stream", None)
        _current.stream = self
        return self

    def __exit__(self, *_: Any) -> None:
        _current.stream = None


class Event:
    """`cupy.cuda.Event`."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self._at: tuple[Stream, int] | None = None

    def record(self, stream: Stream | None = None) -> None:
        assert stream is not None
        self._at = stream, stream.position

    def synchronize(self) -> None:
        assert self._at is not None
        self._at[0].reach(self._at[1])


class MemoryPool:
    """`cupy.cuda.MemoryPool`, which keeps what is freed until it is told to give it back."""

    def __init__(self) -> None:
        self._limit = self._used = self._total = 0
        self._lock = threading.RLock()
        self.peak = 0

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        self._limit = size or 0

    def malloc(self, size: int) -> Any:
        with self._lock:
            total = max(self._total, self._used + size)
            if self._limit and self._total + size > self._limit and total > self._limit:
                raise OutOfMemoryError(f"Out of memory allocating {size} bytes (allocated so far: {self._total} bytes")
            self._used += size
            self._total = total
            self.peak = max(self.peak, total)
        return types.SimpleNamespace(pool=self)

    def give(self, size: int) -> None:
        with self._lock:
            self._used -= size

    def free_all_blocks(self, stream: Any = None) -> None:
        with self._lock:
            self._total = self._used

    def used_bytes(self) -> int:
        return self._used

    def total_bytes(self) -> int:
        return self._total


class PinnedMemory:
    """`cupy.cuda.PinnedMemory`."""

    refuse = False

    def __init__(self, size: int, flags: int = 0) -> None:
        if self.refuse:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        self.array = np.empty(size, np.uint8)
        _live.add(self.array, True)


_live = _Live()
_streams: weakref.WeakValueDictionary[int, Stream] = weakref.WeakValueDictionary()


class CuPy:
    """The module; one for each test, with as many devices as are asked for."""

    ndarray = ndarray
    __version__ = "0"

    def __init__(self, devices: int = 1) -> None:
        self.devices = devices
        self.peers = set(range(devices))
        """Devices whose memory the others see."""
        self.peer_copies = 0
        runtime = types.SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            memoryTypeHost=1,
            getDeviceCount=lambda: self.devices,
            deviceCanAccessPeer=lambda device, peer: int(peer in self.peers),
            deviceEnablePeerAccess=self._enable,
            memcpyPeerAsync=self._peer_copy,
            memGetInfo=lambda: (1 << 30, 2 << 30),
            pointerGetAttributes=lambda ptr: types.SimpleNamespace(type=1 if _live.find(ptr, 0) else 0),
        )
        self.cuda = types.SimpleNamespace(
            Device=self._device,
            Event=Event,
            MemoryPool=MemoryPool,
            PinnedMemory=PinnedMemory,
            PinnedMemoryPointer=lambda memory, offset: memory.array,
            Stream=Stream,
            is_available=lambda: self.devices > 0,
            driver=types.SimpleNamespace(CUDADriverError=CUDADriverError),
            memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            runtime=runtime,
            get_current_stream=lambda: getattr(_current, "stream", None) or Stream(),
            using_allocator=_using,
        )

    def _enable(self, peer: int) -> None:
        raise CUDARuntimeError("cudaErrorPeerAccessAlreadyEnabled: peer access is already enabled")

    def _peer_copy(self, dst: int, dst_device: int, src: int, src_device: int, size: int, stream: int) -> None:
        assert dst_device != src_device
        self.peer_copies += 1
        _streams[stream].queue(_move, dst, src, size, (dst, src))

    @staticmethod
    @contextlib.contextmanager
    def _entered(number: int) -> Iterator[None]:
        before = getattr(_current, "device", 0)
        _current.device = number
        try:
            yield
        finally:
            _current.device = before

    def _device(self, number: int | None = None) -> Any:
        manager: Any = self._entered(number or 0)
        manager.id = getattr(_current, "device", 0) if number is None else number
        manager.compute_capability = CAPABILITY
        return manager

    def empty(self, shape: Any, dtype: Any = float, order: str = "C") -> Any:
        raw = np.empty(int(np.prod(shape)) * np.dtype(dtype).itemsize + 64, np.uint8)
        nbytes = raw.nbytes - 64
        _count(raw, nbytes)
        _live.add(raw, False)
        start = -raw.ctypes.data % 64
        return ndarray(raw[start : start + nbytes].view(dtype).reshape(shape))

    def asarray(self, a: Any, dtype: Any = None) -> Any:
        if isinstance(a, ndarray):
            return a if dtype is None else a.astype(dtype, copy=False)
        host = np.asarray(a, dtype)
        array = self.empty(host.shape, host.dtype)
        array.inside[...] = host
        return array

    def asnumpy(self, a: Any) -> np.ndarray:
        return a.get()

    def may_share_memory(self, a: Any, b: Any) -> bool:
        return np.may_share_memory(_opened(a), _opened(b))

    def __getattr__(self, name: str) -> Any:
        if name in ("spacing", "isnat"):
            raise AttributeError(name)  # CuPy has none
        found = getattr(np, name)
        if isinstance(found, type):
            return found
        if isinstance(found, np.ufunc):
            return _Ufunc(found)
        if isinstance(found, types.ModuleType):
            return _Module(found)

        def function(*arguments: Any, **named: Any) -> Any:
            return _call(found, *arguments, **named)

        return function


class _Module:
    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if isinstance(found, types.ModuleType):
            return _Module(found)
        return lambda *arguments, **named: _call(found, *arguments, **named)


class _Ufunc:
    """`cupy.ufunc`: it has no methods here."""

    def __init__(self, ufunc: Any) -> None:
        self._ufunc = ufunc
        self.__name__ = f"cupy_{ufunc.__name__}"

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return _call(self._ufunc, *arguments, **named)


@contextlib.contextmanager
def _using(allocator: Any = None) -> Iterator[None]:
    before = getattr(_current, "allocator", None)
    _current.allocator = allocator
    try:
        yield
    finally:
        _current.allocator = before
