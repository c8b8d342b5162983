"""The array API standard: what code that works with any array library asks for."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from gpuarray.array import NDArray, install
from gpuarray.checks import check_device
from gpuarray.kernels.devices import CUDA
from gpuarray.readers import DeviceReader, KeptReader, read_kept

HOST = 1
"""DLPack's number of the host's memory."""

VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")


class Info:
    """What ``__array_namespace_info__()`` returns."""

    def capabilities(self) -> dict[str, Any]:
        """Results whose shape depends on data are counted first, so that every shape is known."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """There is one: where a run computes is a setting."""
        return "cpu"

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype[Any]]:
        """The dtypes of what is made without saying one."""
        check_device(device)
        kinds = {"real floating": "f8", "complex floating": "c16", "integral": "i8", "indexing": "i8"}
        return {kind: np.dtype(code) for kind, code in kinds.items()}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, np.dtype[Any]]:
        """The dtypes of a kind, by name.

        Raises ValueError for a kind that the standard does not know.
        """
        check_device(device)
        names = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
        every = {n: np.dtype(n) for n in (*names, "float32", "float64", "complex64", "complex128")}
        return {n: d for n, d in every.items() if kind is None or np.isdtype(d, kind)}


def array_namespace_info() -> Info:
    """What this library can do, in the words of the array API standard.

    >>> import gpuarray as ga
    >>> ga.__array_namespace_info__().capabilities()["boolean indexing"]
    True
    """
    return Info()


def array_namespace(self: NDArray, *, api_version: str | None = None) -> ModuleType:
    """The module of functions for this array, that is `gpuarray`."""
    import gpuarray

    if api_version is not None and api_version not in VERSIONS:
        raise ValueError(f"api_version={api_version!r} is no version of the array API standard: {', '.join(VERSIONS)}")
    return gpuarray


def _device(self: NDArray) -> str:
    """Where `compute` puts the result; where it runs is a setting (`gpuarray.config`)."""
    return "cpu"


def _to_device(self: NDArray, device: Any, /, *, stream: Any = None) -> NDArray:
    """The array itself: see `device`."""
    check_device(device)
    return self


def _dlpack(
    self: NDArray,
    *,
    stream: Any = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None,
    copy: bool | None = None,
) -> Any:
    """The computed array, for another library: made for it alone, so that ``copy=False`` finds nothing to copy.

    It stays on the GPU where there is one, unless `dl_device` asks for the host's memory.
    """
    if _dlpack_device(self)[0] != HOST and (dl_device is None or dl_device[0] != HOST):
        made: Any = self.compute(device=True)
        return made.__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device, copy=copy)
    return np.asarray(self).__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device, copy=copy)


def _dlpack_device(self: NDArray) -> tuple[int, int]:
    """Where results are: a GPU's memory if tasks compute there, else the host's."""
    from gpuarray.executors import current

    engine = current()
    return (CUDA, engine.backend.number) if engine.is_gpu else (HOST, 0)


def _cuda_array_interface(self: NDArray) -> dict[str, Any]:
    """For Numba, PyTorch and others: the memory of a persisted array of one chunk on a GPU.

    Raises AttributeError for all else, as whoever asks expects; ``compute(device=True)`` computes one.
    """
    reader = getattr(self.node, "reader", None)
    if isinstance(reader, DeviceReader):
        described: dict[str, Any] = reader.array.__cuda_array_interface__
        return described
    if isinstance(reader, KeptReader) and self.npartitions == 1 and self.size:
        from gpuarray.executors import current

        if (engine := current()).is_gpu:
            # held by the reader: the chunk may be spilled while whoever asked reads this memory
            reader.lent = read_kept(reader.chunks, reader.leaf, tuple(map(range, self.shape)), engine.backend)
            described = reader.lent.__cuda_array_interface__
            return described
    raise AttributeError("only a persisted array of one chunk on a GPU has __cuda_array_interface__")


install("__array_namespace__", array_namespace)
install("__dlpack__", _dlpack)
install("__dlpack_device__", _dlpack_device)
install("__cuda_array_interface__", property(_cuda_array_interface))
install("device", property(_device))
install("to_device", _to_device)
