"""The engine on a GPU: NumPy's results, the CPU's bits, the limits, and arrays that stay there or come from there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray import executors

pytestmark = pytest.mark.gpu

SHAPE = (1500, 1100)


def data(seed: int = 0, dtype: str = "float64", shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=shape) * 10
    return values.astype(dtype)


@ga.stencil
def heat(u: Any, k: Any) -> Any:
    return u[0, 0] + k * (u[1, 0] + u[-1, 0] + u[0, 1] + u[0, -1] - 4 * u[0, 0])


PROGRAMS = {
    "arithmetic": lambda x, y: (x * 2 + y) * x - y / 3,
    "turned": lambda x, y: x[:1000, :1000] + y[:1000, :1000].T,
    "broadcast": lambda x, y: x - y.mean(axis=0),
    "sum": lambda x, y: (x * y).sum(),
    "sums": lambda x, y: (x + y).sum(axis=1),
    "variance": lambda x, y: x.var(axis=0, ddof=1),
    "extremes": lambda x, y: ga.stack([x.max(axis=1), y.min(axis=1)]),
    "positions": lambda x, y: x.argmax(axis=1),
    "scan": lambda x, y: x[:200].cumsum(axis=1),
    "slices": lambda x, y: x[10:-7:3, ::-2] * 2,
    "gathered": lambda x, y: x[np.array([5, 3, 900, 3]), 4:],
    "logic": lambda x, y: ga.where((x > y) & (y < 0), x, -y).sum(axis=0),
    "stencil": lambda x, y: ga.iterate(heat, x, steps=20, boundary="fixed", k=0.1),
    "periodic": lambda x, y: ga.iterate(heat, x, steps=7, boundary="periodic", k=0.1),
    "random": lambda x, y: ga.random.default_rng(3).random(SHAPE) + x,
}


@pytest.mark.parametrize("memory", ["256 MiB", "24 MiB"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_results_have_the_bits_of_the_cpu(name: str, memory: str) -> None:
    x, y = data(), data(1)
    with ga.config.set(device="cuda", device_memory=memory, chunk_bytes="1 MiB"):
        found = PROGRAMS[name](ga.asarray(x), ga.asarray(y)).compute()
        backend = executors.current().backend
        assert backend.name == "cupy"
        assert backend.used_nbytes() <= backend.limit
    with ga.config.set(device="cpu", compile="always", chunk_bytes="1 MiB"):
        expected = PROGRAMS[name](ga.asarray(x), ga.asarray(y)).compute()
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if memory == "256 MiB":
        assert found.tobytes() == expected.tobytes()
    else:  # a smaller limit may cut reductions elsewhere
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128", "int16", "uint8", "bool"])
def test_dtypes(dtype: str) -> None:
    x = data(0, "float64") > 0 if dtype == "bool" else np.abs(data(0)).astype(dtype)
    a, wide = ga.asarray(x, chunks=400), {"float32": "float64"}.get(dtype)  # NumPy adds float32 in float32
    np.testing.assert_array_equal((a + a).compute(), x + x)
    np.testing.assert_allclose(a.sum(axis=0).compute(), x.sum(axis=0, dtype=wide), rtol=1e-6)
    np.testing.assert_array_equal(a.any(axis=1).compute(), x.any(axis=1))


@pytest.mark.parametrize("name", ["exp", "log1p", "sin", "tanh", "arctan", "sqrt", "cbrt"])
def test_functions_are_near_numpys(name: str) -> None:
    x = np.abs(data())
    found = getattr(ga, name)(ga.asarray(x)).compute()
    np.testing.assert_allclose(found, getattr(np, name)(x), rtol=4 * np.finfo("d").eps)


def test_half_precision_is_interpreted() -> None:
    x = np.random.default_rng(0).random((700, 900)).astype("float16")
    found = (ga.asarray(x) * 2 + 1).sum(axis=1).compute()
    np.testing.assert_allclose(found, (x * 2 + 1).sum(axis=1, dtype="float32"), rtol=2e-3)


def test_sums_have_the_same_bits_every_run() -> None:
    x = ga.asarray(data(0, "float32", (4_000_037,)), chunks=1_000_000)
    assert len({(x * 1.1).sum().compute().tobytes() for _ in range(5)}) == 1


def test_results_stay_on_the_gpu() -> None:
    import cupy

    x = data()
    made = (ga.asarray(x, chunks=500) * 3).compute(device=True)
    assert isinstance(made, cupy.ndarray)
    np.testing.assert_array_equal(cupy.asnumpy(made + 1), x * 3 + 1)  # on CuPy's own stream


def test_arrays_of_cupy_are_taken_without_a_copy() -> None:
    import cupy

    there = cupy.asarray(data())
    a = ga.asarray(there, chunks=400)
    assert a.node.reader.array.data.ptr == there.data.ptr  # type: ignore[attr-defined]
    np.testing.assert_array_equal((a * 2)[3:].compute(), cupy.asnumpy(there * 2)[3:])
    other = cupy.asfortranarray(there)[::2, ::-1]
    np.testing.assert_array_equal(ga.asarray(other).compute(), cupy.asnumpy(other))
    with ga.config.set(device="cpu"):
        np.testing.assert_array_equal((ga.asarray(there) + 1).compute(), cupy.asnumpy(there) + 1)


def test_dlpack_both_ways() -> None:
    import cupy

    x = data()
    a = ga.asarray(x) + 1
    assert a.__dlpack_device__()[0] == 2
    np.testing.assert_array_equal(cupy.asnumpy(cupy.from_dlpack(a)), x + 1)
    np.testing.assert_array_equal(ga.from_dlpack(cupy.asarray(x)).compute(), x)
    kept = a.rechunk(-1).persist()
    np.testing.assert_array_equal(cupy.asnumpy(cupy.asarray(kept)), x + 1)


def test_more_than_the_device_memory() -> None:
    x = data(0, "float64", (4000, 4000))  # 128 MB
    with ga.config.set(device="cuda", device_memory="32 MiB", chunk_bytes="2 MiB"):
        a = ga.asarray(x)
        np.testing.assert_allclose(
            ((a - a.mean()) / a.std()).sum(axis=0).compute(), ((x - x.mean()) / x.std()).sum(0), atol=1e-8
        )
        np.testing.assert_array_equal((a + 1).persist()[::100].compute(), (x + 1)[::100])
        backend = executors.current().backend
        assert 0 < backend.used_nbytes() <= 32 << 20


def test_a_stencil_larger_than_the_device_memory_has_the_bits_of_one_in_it() -> None:
    x = data(0, "float64", (3000, 2000))
    with ga.config.set(device="cuda", device_memory="16 MiB", chunk_bytes="1 MiB"):
        small = ga.iterate(heat, ga.asarray(x), steps=30, boundary="fixed", k=0.1).compute()
    large = ga.iterate(heat, ga.asarray(x), steps=30, boundary="fixed", k=0.1).compute()
    assert small.tobytes() == large.tobytes()


def test_what_does_not_fit_is_refused_before_it_runs() -> None:
    with ga.config.set(device="cuda", device_memory="1 MiB"), pytest.raises(ga.errors.MemoryLimitError):
        ga.ones((400, 2000)).compute(device=True)


def test_devices_that_are_not_there() -> None:
    with ga.config.set(device="cuda:99"), pytest.raises(ga.errors.DeviceError, match="cuda:0"):
        ga.ones(10**6).compute()
    with ga.config.set(device="cuda", device_memory="100 TiB"), pytest.raises(ga.errors.ConfigError, match="more than"):
        ga.ones(10**6).compute()


def test_every_gpu_computes() -> None:
    import cupy

    x = data()
    for number in range(cupy.cuda.runtime.getDeviceCount()):
        with ga.config.set(device=f"cuda:{number}"):
            made = (ga.asarray(x) + number).compute(device=True)
            assert made.device.id == number
            np.testing.assert_array_equal(cupy.asnumpy(made), x + number)


@pytest.mark.parametrize("memory", ["256 MiB", "24 MiB"])
@pytest.mark.parametrize("name", ["arithmetic", "turned", "sums", "variance", "stencil", "random"])
def test_several_gpus_have_the_bits_of_one(name: str, memory: str) -> None:
    import cupy

    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs two GPUs")
    x, y, found = data(), data(1), set()
    for device in ("cuda:0", "cuda:all"):
        with ga.config.set(device=device, device_memory=memory, chunk_bytes="1 MiB"):
            found.add(PROGRAMS[name](ga.asarray(x), ga.asarray(y)).compute().tobytes())
            backends = executors.current().executor.memory.backends
            assert all(0 < backend.used_nbytes() <= backend.limit for backend in backends)
    assert len(found) == 1
