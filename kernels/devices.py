"""Where arrays are computed: the backend of a device's name, and arrays that other libraries have on a GPU."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from gpuarray.kernels import backends
from gpuarray.kernels.errors import ConfigError, DeviceError

PART = 0.9
"""Of what a GPU has free, the part that arrays may take where `device_memory` is None: its libraries take some, too."""

SPARE = 16
"""One part in so many of `device_memory` is not planned with: CuPy's pool rounds sizes up, and holds them in pieces."""

CUDA, CUDA_MANAGED = 2, 13
"""DLPack's numbers of the memory of NVIDIA's GPUs."""


NAMES = r"auto|cpu|fake|cuda|(fake|cuda):(all|(0|[1-9][0-9]{0,3})(,(0|[1-9][0-9]{0,3}))*)"
"""The names of devices, as a regular expression."""

FAKES = 2
"""Devices that ``"fake:all"`` is."""


def backend_for(device: str, memory: int | None) -> Any:
    """The backend of the name of one device; see `backends_for`."""
    found = backends_for(device, memory)
    if len(found) > 1:
        raise ConfigError(f'device="{device}" names {len(found)} devices where there can be but one; write one of them')
    return found[0]


def backends_for(device: str, memory: int | None) -> tuple[Any, ...]:
    """The backends of the name of a device, or of several: ``"cuda:0,2"``, ``"cuda:all"``; ``"auto"`` is the first GPU,
    or the processor where none can be used. Each may take `memory`.

    >>> backends_for("fake:0,1", 1000)
    (Fake(limit=1000, number=0), Fake(limit=1000, number=1))

    Raises DeviceError where a device is not to be had, ConfigError where one is named twice or has less memory than
    `memory`.
    """
    if device == "cpu" or (device == "auto" and not usable()):
        return (backends.get("numpy"),)
    kind, _, which = device.partition(":")
    numbers = [int(n) for n in which.split(",")] if which and which != "all" else [0]
    if len(set(numbers)) < len(numbers):
        raise ConfigError(f'device="{device}" names a device twice; write each once')
    if kind == "fake":
        from gpuarray.kernels.backends.fake import Fake

        return tuple(Fake(memory, n) for n in (range(FAKES) if which == "all" else numbers))
    if which == "all":
        from gpuarray.kernels.backends import cupy as gpus

        numbers = list(range(len(gpus.devices()))) or [0]
    return tuple(_gpu(device, n, memory) for n in numbers)


def _gpu(device: str, number: int, memory: int | None) -> Any:
    from gpuarray.kernels.backends import cupy as gpus

    try:
        if not compiles():
            raise DeviceError("there is no numba-cuda with an NVVM, which compiles the kernels")
        backend = gpus.device(number)
    except DeviceError as error:
        raise DeviceError(
            f'device="{device}" is not to be had: {error}; use device="cpu", or "auto" to take what there is'
        ) from None
    free, total = backend.memory()
    if memory is not None and memory > total:
        raise ConfigError(
            f"device_memory={memory} is more than cuda:{number} has, which is {total} bytes; write less, or None for "
            f"{PART:.0%} of what is free"
        )
    backend.set_limit(memory or max(1, int(PART * free)))
    return backend


def budget(backend: Any) -> int | None:
    """Bytes that runs may plan with on a device; None where it has no limit of its own."""
    limit: int | None = getattr(backend, "limit", None)
    return limit - limit // SPARE if limit is not None and backend.name == "cupy" else limit


def usable() -> bool:
    """Whether there is a GPU that can be used. CuPy is imported only where there is a driver for it."""
    if find_spec("cupy") is None or not has_driver():
        return False
    from gpuarray.kernels.backends import cupy as gpus

    return bool(gpus.devices()) and compiles()


@cache
def has_driver() -> bool:
    """Whether NVIDIA's driver is installed."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


@cache
def compiles() -> bool:
    """Whether CUDA kernels can be compiled here: by Numba-CUDA, with the NVVM that it finds."""
    if find_spec("numba_cuda") is None:
        return False
    try:
        from gpuarray.kernels.cuda.offline import numba_cuda

        numba_cuda()
        from numba.cuda.cudadrv import nvvm

        return bool(nvvm.is_available())
    except Exception:  # whatever is wrong with it, it compiles nothing
        return False


def array_on_gpu(obj: Any) -> Any:
    """An array of another library that lies on a GPU, as an array of CuPy on the same memory; None for all else.

    It is known by ``__cuda_array_interface__`` or DLPack, and complete when this returns.
    """
    if isinstance(obj, np.generic | list | tuple | int | float | complex | str | bytes) or type(obj) is np.ndarray:
        return None
    interface = hasattr(obj, "__cuda_array_interface__")  # of PyTorch's tensors, those on a GPU have it
    if not interface and not (hasattr(obj, "__dlpack_device__") and obj.__dlpack_device__()[0] in (CUDA, CUDA_MANAGED)):
        return None
    cupy = _cupy(obj)
    try:
        found = cupy.asarray(obj) if interface else cupy.from_dlpack(obj)
        finish(found)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(
            f"a {type(obj).__name__} on a GPU cannot be read ({error}); its memory and the stream that it names must "
            "still be there, in this process"
        ) from error
    return found


def _cupy(obj: Any) -> Any:
    from gpuarray.kernels.backends import cupy as gpus

    try:
        return gpus.find()
    except DeviceError as error:
        raise DeviceError(f"a {type(obj).__name__} on a GPU is read through CuPy, but {error}") from None


def finish(array: Any) -> None:
    """Wait for what its owner has queued to write an array."""
    from gpuarray.kernels.backends import cupy as gpus

    module = gpus.find()
    with module.cuda.Device(array.device.id):
        module.cuda.get_current_stream().synchronize()
