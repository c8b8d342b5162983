"""What the hardware gives, measured in the same run: copy and read bandwidth, pinned transfers each and both ways."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.gpu.libraries import CuPy, Library, NumPy

SIZES = {"full": 2 << 30, "tiny": 1 << 20}
"""Bytes that are moved."""


def measure(device: str, tiny: bool) -> dict[str, float]:
    """Bytes per second, by name."""
    nbytes = SIZES["tiny" if tiny else "full"]
    return _host(nbytes) if device == "fake" else _gpu(nbytes)


def _rate(library: Library, call: Callable[[], Any], nbytes: int) -> float:
    library.seconds(call)
    return nbytes / statistics.median(library.seconds(call) for _ in range(7))


def _host(nbytes: int) -> dict[str, float]:
    library = NumPy("fake")
    x, y = np.ones(nbytes // 8), np.empty(nbytes // 8)
    copy = _rate(library, lambda: np.copyto(y, x), 2 * nbytes)
    return {"copy": copy, "read": _rate(library, x.sum, nbytes), "upload": copy, "download": copy, "both": copy}


def _gpu(nbytes: int) -> dict[str, float]:
    library = CuPy("cuda")
    cupy = library.cupy
    runtime, cuda = cupy.cuda.runtime, cupy.cuda
    x, y = cupy.ones(nbytes // 8), cupy.empty(nbytes // 8)
    memory = cuda.PinnedMemory(nbytes), cuda.PinnedMemory(nbytes)
    here, there = (cuda.PinnedMemoryPointer(m, 0) for m in memory)
    one, other = cuda.Stream(non_blocking=True), cuda.Stream(non_blocking=True)
    found = {"copy": _rate(library, lambda: cupy.copyto(y, x), 2 * nbytes)}
    # the plainest sum, of which every thread has four loads of 16 bytes in flight
    total = cupy.RawKernel(_READ, "total")
    out, blocks = cupy.empty(1 << 20), 132 * 16
    found["read"] = _rate(library, lambda: total((blocks,), (256,), (x, out, np.int64(x.size // 2))), nbytes)

    def upload() -> None:
        x.data.copy_from_host_async(here.ptr, nbytes, one)

    def download() -> None:
        y.data.copy_to_host_async(there.ptr, nbytes, other)

    def moved(*calls: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            for call in calls:
                call()
            one.synchronize()
            other.synchronize()

        return run

    found["upload"] = _rate(library, moved(upload), nbytes)
    found["download"] = _rate(library, moved(download), nbytes)
    found["both"] = _rate(library, moved(upload, download), 2 * nbytes)
    runtime.deviceSynchronize()
    return found


_READ = r"""
extern "C" __global__ void total(const double2* x, double* out, long long n) {
    double sum = 0;
    long long step = (long long)gridDim.x * blockDim.x;
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (; i + 3 * step < n; i += 4 * step) {
        double2 a = __ldg(x + i), b = __ldg(x + i + step), c = __ldg(x + i + 2 * step), d = __ldg(x + i + 3 * step);
        sum += ((a.x + a.y) + (b.x + b.y)) + ((c.x + c.y) + (d.x + d.y));
    }
    for (; i < n; i += step) { double2 a = __ldg(x + i); sum += a.x + a.y; }
    out[(blockIdx.x * blockDim.x + threadIdx.x) & ((1 << 20) - 1)] = sum;
}
"""
