"""Arrays in the memory of a fake device (see `gpuarray.kernels.backends.fake`)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpuarray.kernels.backends.fake_memory import Buffer, Host


class FakeArray:
    """An array in the memory of a `Fake` device: NumPy's methods and operators, on its kind alone.

    >>> from gpuarray.kernels.backends.fake import BACKEND
    >>> x = BACKEND.from_host(np.arange(3))
    >>> x + np.arange(3)
    Traceback (most recent call last):
        ...
    TypeError: a NumPy array in an operation on device arrays; move it with from_host
    >>> BACKEND.to_host(x + x)
    array([0, 2, 4])
    """

    __slots__ = ("_buffer", "_data", "_device")

    def __init__(self, device: Any, data: Host, buffer: Buffer) -> None:
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
    def base(self) -> Buffer:
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
