"""The libraries that are compared: how each is loaded, given arrays, and timed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np


class Library:
    """One library. The base class works on the host, by the clock.

    Parameters
    ----------
    device : ``"cuda"`` or ``"fake"``
    """

    name = ""

    def __init__(self, device: str) -> None:
        self.device = device

    def array(self, host: np.ndarray[Any, Any]) -> Any:
        """An array of the library's with these values."""
        return host

    def random(self, shape: tuple[int, ...], dtype: str, seed: int) -> Any:
        """An array of random numbers in [0, 1), made where the library has its arrays."""
        return self.array(np.random.default_rng(seed).random(shape, dtype=dtype))

    def host(self, value: Any) -> np.ndarray[Any, Any]:
        """A result as a NumPy array."""
        return np.asarray(value)

    def wait(self, value: Any) -> None:
        """Return when a result is complete."""

    def seconds(self, call: Callable[[], Any]) -> float:
        """How long a call and what it has queued take."""
        start = time.perf_counter()
        self.wait(call())
        return time.perf_counter() - start

    def free(self) -> None:
        """Give back the memory of arrays that are gone."""


class OnGPU(Library):
    """Timed by CUDA's events, through CuPy; by the clock where CuPy is not installed."""

    def __init__(self, device: str) -> None:
        super().__init__(device)
        try:
            import cupy

            self._cupy: Any = cupy
        except ImportError:
            self._cupy = None

    def seconds(self, call: Callable[[], Any]) -> float:
        if self._cupy is None:
            return super().seconds(call)
        cuda = self._cupy.cuda
        start, end = cuda.Event(), cuda.Event()
        cuda.Device().synchronize()
        start.record()
        self.wait(call())
        end.record()
        end.synchronize()
        return float(cuda.get_elapsed_time(start, end)) / 1e3

    def free(self) -> None:
        if self._cupy is not None:
            self._cupy.get_default_memory_pool().free_all_blocks()


class Stopwatch:
    """Times what an engine's launcher launches, on the device: from before the first kernel to after the last.

    A call plans before it launches anything, and waits for its result; a kernel of another library is timed without.
    """

    def __init__(self, cupy: Any, launcher: Any) -> None:
        self._cuda, self._run = cupy.cuda, launcher.run
        self._first, self._last = cupy.cuda.Event(), cupy.cuda.Event()
        self._launched = False
        launcher.run = self.run

    def run(self, launches: Any) -> None:
        """`Launcher.run`, on the stream that it is called with."""
        stream = self._cuda.get_current_stream()
        if not self._launched:
            self._launched = True
            self._first.record(stream)
        self._run(launches)
        self._last.record(stream)

    def start(self) -> None:
        self._launched = False

    def seconds(self) -> float | None:
        """Since `start`; None if nothing was launched."""
        if not self._launched:
            return None
        self._last.synchronize()
        return float(self._cuda.get_elapsed_time(self._first, self._last)) / 1e3


class Ours(OnGPU):
    """gpuarray, in chunks of 512 MiB: a GPU's launches are then a hundredth of its work."""

    name = "gpuarray"

    def __init__(self, device: str) -> None:
        Library.__init__(self, device)
        self._cupy = None
        if device != "fake":
            super().__init__(device)
        import gpuarray as ga

        self.ga = ga
        ga.config.set(device=device, chunk_bytes="512 MiB", progress=False, threads=4)
        self._watches: dict[int, Stopwatch] = {}
        self.on_device: float | None = None
        """Seconds that the kernels of the call last timed took."""

    def seconds(self, call: Callable[[], Any]) -> float:
        watch = self._watch()
        if watch is not None:
            watch.start()
        found = super().seconds(call)
        self.on_device = None if watch is None else watch.seconds()
        return found

    def _watch(self) -> Stopwatch | None:
        """The stopwatch of the engine in force."""
        from gpuarray.executors import current

        launcher = getattr(current().backend, "_launcher", None)
        if self._cupy is None or launcher is None:
            return None
        if id(launcher) not in self._watches:
            self._watches[id(launcher)] = Stopwatch(self._cupy, launcher)
        return self._watches[id(launcher)]

    def array(self, host: np.ndarray[Any, Any]) -> Any:
        if self._cupy is None:
            return self.ga.asarray(host)
        return self.ga.asarray(self._cupy.asarray(host))

    def random(self, shape: tuple[int, ...], dtype: str, seed: int) -> Any:
        if self._cupy is None:
            return super().random(shape, dtype, seed)
        return self.ga.asarray(self._cupy.random.default_rng(seed).random(shape, dtype=np.dtype(dtype)))

    def host(self, value: Any) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = value.compute() if isinstance(value, self.ga.NDArray) else np.asarray(value)
        return found

    def peak_nbytes(self) -> int:
        """The most that the engine's books say was held on the device."""
        from gpuarray.executors import current

        return int(current().executor.memory.states()[0].peak)

    def pool_nbytes(self) -> int:
        """What the device's pool has taken, and on the fake device the most that was in use."""
        from gpuarray.executors import current

        backend = current().backend
        return int(backend.counters.peak_nbytes if backend.name == "fake" else backend.used_nbytes())


class CuPy(OnGPU):
    name = "CuPy"

    def __init__(self, device: str) -> None:
        super().__init__(device)
        import cupy

        self.cupy = cupy

    def array(self, host: np.ndarray[Any, Any]) -> Any:
        return self.cupy.asarray(host)

    def random(self, shape: tuple[int, ...], dtype: str, seed: int) -> Any:
        return self.cupy.random.default_rng(seed).random(shape, dtype=np.dtype(dtype))

    def host(self, value: Any) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = self.cupy.asnumpy(value)
        return found


class JAX(OnGPU):
    name = "JAX"

    def __init__(self, device: str) -> None:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # or it takes three quarters of the memory
        super().__init__(device)
        import jax

        jax.config.update("jax_enable_x64", True)
        if jax.default_backend() != "gpu":
            raise ModuleNotFoundError("JAX finds no GPU", name="jax-cuda")
        self.jax = jax

    def array(self, host: np.ndarray[Any, Any]) -> Any:
        return self.jax.device_put(host)

    def random(self, shape: tuple[int, ...], dtype: str, seed: int) -> Any:
        return self.jax.random.uniform(self.jax.random.key(seed), shape, dtype)

    def wait(self, value: Any) -> None:
        self.jax.block_until_ready(value)


class Torch(OnGPU):
    name = "PyTorch"

    def __init__(self, device: str) -> None:
        super().__init__(device)
        import torch

        if not torch.cuda.is_available():
            raise ModuleNotFoundError("PyTorch finds no GPU", name="torch-cuda")
        self.torch = torch

    def array(self, host: np.ndarray[Any, Any]) -> Any:
        return self.torch.asarray(host, device="cuda")

    def random(self, shape: tuple[int, ...], dtype: str, seed: int) -> Any:
        generator = self.torch.Generator("cuda").manual_seed(seed)
        return self.torch.rand(shape, dtype=getattr(self.torch, dtype), device="cuda", generator=generator)

    def host(self, value: Any) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = value.cpu().numpy()
        return found

    def wait(self, value: Any) -> None:
        self.torch.cuda.synchronize()

    def free(self) -> None:
        super().free()
        self.torch.cuda.empty_cache()


class Dask(CuPy):
    name = "dask+CuPy"

    def __init__(self, device: str) -> None:
        super().__init__(device)
        import dask
        import dask.array as da

        dask.config.set({"array.backend": "cupy", "scheduler": "threads", "num_workers": 4})
        self.da = da

    def _cut(self, array: Any) -> Any:
        rows = max(1, (512 << 20) // max(1, array.nbytes // max(1, len(array))))
        return self.da.from_array(array, chunks=(rows, *array.shape[1:]), asarray=False, name=False)

    def array(self, host: np.ndarray[Any, Any]) -> Any:
        return self._cut(super().array(host))

    def random(self, shape: tuple[int, ...], dtype: str, seed: int) -> Any:
        return self._cut(super().random(shape, dtype, seed))

    def host(self, value: Any) -> np.ndarray[Any, Any]:
        return super().host(value.compute() if hasattr(value, "dask") else value)


class NumPy(Library):
    """The one peer where there is no GPU: that something is compared."""

    name = "NumPy"


LIBRARIES: dict[str, type[Library]] = {k.name: k for k in (Ours, CuPy, JAX, Torch, Dask, NumPy)}


def on(device: str) -> list[str]:
    """The libraries that are compared on a device."""
    if device == "fake":
        return ["gpuarray", "NumPy"]
    return [name for name in LIBRARIES if name != "NumPy"]
