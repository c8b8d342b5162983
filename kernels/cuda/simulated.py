"""What the text of a CUDA kernel may name, in plain Python for Numba's simulator (NUMBA_ENABLE_CUDASIM=1).

A place in memory is a `Memory`, which refuses to be read or written outside its array: on a GPU that would go
unnoticed. Arithmetic is NumPy's on scalars, so it has the same bits.
"""

from __future__ import annotations

import functools
import inspect
import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray.kernels import philox, scalar, special
from gpuarray.kernels.cuda import formulas, positions


class Memory:
    """An address: so many bytes from the beginning of an array's memory.

    >>> x = np.arange(5.0)
    >>> load(np.float64, Memory.of(x[1:], -8), 1)
    np.float64(1.0)
    >>> load(np.float64, Memory.of(x), 5)
    Traceback (most recent call last):
        ...
    IndexError: bytes 40 to 48 of an array of 40
    """

    __slots__ = ("data", "offset")

    def __init__(self, data: np.ndarray[Any, Any], offset: int) -> None:
        self.data, self.offset = data, offset

    @classmethod
    def of(cls, array: np.ndarray[Any, Any], offset: int = 0) -> Memory:
        """Where element 0 of `array` lies, moved by `offset` bytes; all of the memory below it may be used."""
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        start = array.ctypes.data - owner.ctypes.data
        order: Any = "C" if owner.flags.c_contiguous else "F"
        return cls(owner.reshape(-1, order=order).view(np.uint8), start + offset)

    def span(self, offset: int, nbytes: int) -> np.ndarray[Any, Any]:
        at = self.offset + offset
        if not 0 <= at <= self.data.size - nbytes:
            raise IndexError(f"bytes {at} to {at + nbytes} of an array of {self.data.size}")
        return self.data[at : at + nbytes]


def load(dtype: Any, place: Memory, index: Any) -> Any:
    size = np.dtype(dtype).itemsize
    return place.span(int(index) * size, size).view(dtype)[0]


def load_vector(dtype: Any, length: int, place: Memory, index: Any) -> Any:
    size = np.dtype(dtype).itemsize
    offset = int(index) * size
    assert (place.offset + offset + place.data.ctypes.data) % min(16, length * size) == 0, "a vector is not aligned"
    return tuple(place.span(offset, length * size).view(dtype))


def store(dtype: Any, place: Memory, index: Any, value: Any) -> None:
    size = np.dtype(dtype).itemsize
    place.span(int(index) * size, size).view(dtype)[0] = value


def store_vector(dtype: Any, length: int, place: Memory, index: Any, values: Any) -> None:
    size = np.dtype(dtype).itemsize
    offset = int(index) * size
    assert (place.offset + offset + place.data.ctypes.data) % min(16, length * size) == 0, "a vector is not aligned"
    place.span(offset, length * size).view(dtype)[:] = values


def ahead(place: Memory, nbytes: Any) -> Memory:
    return Memory(place.data, place.offset + int(nbytes))


def quotient(a: Any, b: Any) -> Any:
    return type(a)(int(a) // int(b))


_exchange: dict[tuple[Any, int], Any] = {}


def shuffle_down(x: Any, distance: Any) -> Any:
    """Every thread of the block takes part."""
    return _exchanged(x, lambda lane: lane + int(distance))


def shuffle(x: Any, lane: Any) -> Any:
    return _exchanged(x, lambda _: int(lane))


def _exchanged(x: Any, other: Callable[[int], int]) -> Any:
    """The `x` of another lane of the warp; one's own where there is none."""
    thread: Any = threading.current_thread()
    rank = thread.thread_id
    number = thread.shuffles = getattr(thread, "shuffles", 0) + 1
    place = (*thread.blockIdx, number % 2)  # of two places one may be written while the other is read
    _exchange[place, rank] = x
    thread.syncthreads()
    lane = other(rank % 32)
    return _exchange.get((place, rank // 32 * 32 + lane), x) if lane < 32 else x


def _math() -> Any:
    names = ["fabs", "copysign", "sqrt", "hypot", "fmod", "ldexp", "sin", "cos", "tan", "sinh", "cosh", "tanh"]
    names += ["exp", "exp2", "expm1", "log", "log2", "log10", "log1p"]
    found = types.SimpleNamespace(inf=np.inf, nan=np.nan, pi=np.pi, **{name: getattr(np, name) for name in names})
    for name in ("asin", "acos", "atan", "atan2", "asinh", "acosh", "atanh"):
        setattr(found, name, getattr(np, name.replace("a", "arc", 1)))
    return found


@functools.cache
def namespace() -> dict[str, Any]:
    """The globals of a kernel's text in the simulator."""
    from gpuarray.kernels.cuda import device
    from gpuarray.kernels.cuda.offline import numba_cuda

    cuda = numba_cuda()
    names: dict[str, Any] = {"cuda": cuda, "math": _math(), "np": np}
    names["cmath"] = types.SimpleNamespace(exp=np.exp, sqrt=np.sqrt)
    names |= {"load": load, "read": load, "load_vector": load_vector, "read_vector": load_vector}
    names |= {"store": store, "store_vector": store_vector, "ahead": ahead, "quotient": quotient}
    names |= {
        "shuffle_down": shuffle_down,
        "shuffle": shuffle,
        "power_of_ten": device.power_of_ten,
        "nextafter": np.nextafter,
    }
    for module in (scalar, philox, positions):
        own: dict[str, Any] = {**vars(module), "math": names["math"]}
        for name, function in vars(module).items():
            if inspect.isfunction(function) and function.__module__ == module.__name__ and name not in names:
                own[name] = types.FunctionType(function.__code__, own, name, function.__defaults__)
                names[name] = own[name]
    library = {name: _in_double(special.functions_of(np)[name]) for name in formulas.LIBRARY}
    steps = {name: special.functions_of(np)[name] for name in formulas.STEPS} | {"select": formulas.select}
    return names | formulas.formulas(steps, library, lambda function: function)


def _in_double(function: Callable[..., Any]) -> Callable[..., Any]:
    """What CUDA's library has for both precisions."""
    return lambda x: x.dtype.type(function(np.float64(x)))


def launch(source: str, blocks: tuple[int, ...], threads: tuple[int, ...], *arguments: Any) -> None:
    """Run a kernel's text: arrays are given as `Memory`, numbers as NumPy scalars."""
    from gpuarray.kernels.cuda.offline import numba_cuda

    cuda = numba_cuda()
    names = dict(namespace())
    exec(compile(source, "<kernel>", "exec"), names)
    cuda.jit(names["kernel"])[blocks, threads](*arguments)
