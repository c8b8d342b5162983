"""Which device computes, and arrays on it: the engine on the CuPy backend, on stand-ins for CuPy and the kernels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray import executors
from gpuarray.cluster.orders import Limits
from gpuarray.cluster.worker import Store
from gpuarray.kernels import devices
from gpuarray.kernels.backends import cupy as backend_module
from gpuarray.kernels.backends.cupy import CupyBackend
from gpuarray.plan import direct
from tests.engine.programs import Program
from tests.engine.test_random_programs import compare
from tests.gpu.test_engine import PROGRAMS, data
from tests.kernels.cupy_standin import CUDARuntimeError, CuPy, ndarray
from tests.kernels.test_cupy_backend import OnHost


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[CuPy]:
    """A machine with two GPUs."""
    module = CuPy(2)
    monkeypatch.setattr(backend_module, "find", lambda: module)
    monkeypatch.setattr(
        backend_module, "CupyBackend", lambda cupy, number, limit: CupyBackend(cupy, number, limit, OnHost(cupy))
    )
    for name in ("has_driver", "compiles"):
        monkeypatch.setattr(devices, name, lambda: True)
    monkeypatch.setattr(devices, "find_spec", lambda name: object())
    executors._engines.clear()
    yield module
    executors._engines.clear()


def plain(array: Any) -> np.ndarray:
    assert isinstance(array, ndarray)
    return array.inside


def test_auto_takes_a_gpu_where_there_is_one(cupy: CuPy) -> None:
    for device, name, number in (("auto", "cupy", 0), ("cuda", "cupy", 0), ("cuda:1", "cupy", 1), ("cpu", "numpy", 0)):
        with ga.config.set(device=device):
            backend = executors.current().backend
            assert (backend.name, getattr(backend, "number", 0)) == (name, number)
    cupy.devices = 0
    executors._engines.clear()
    with ga.config.set(device="auto"):
        assert executors.current().backend.name == "numpy"


def test_devices_that_are_not_there(cupy: CuPy, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        ga.config.set(device="cuda:7"),
        pytest.raises(ga.errors.DeviceError, match=r'no device "cuda:7".*cuda:0, cuda:1'),
    ):
        ga.ones(3).compute()
    with (
        ga.config.set(device="cuda", device_memory="1 TiB"),
        pytest.raises(ga.errors.ConfigError, match="more than cuda:0"),
    ):
        ga.ones(3).compute()
    monkeypatch.setattr(devices, "compiles", lambda: False)
    with ga.config.set(device="cuda"), pytest.raises(ga.errors.DeviceError, match="numba-cuda"):
        ga.ones(3).compute()
    assert devices.backend_for("auto", None).name == "numpy"


def test_device_memory_is_a_hard_limit_or_a_part_of_what_is_free(cupy: CuPy) -> None:
    with ga.config.set(device="cuda", device_memory="3 MiB"):
        engine = executors.current()
        assert engine.backend.limit == 3 << 20
        assert engine.limit == (3 << 20) * 15 // 16  # the pool rounds up
    with ga.config.set(device="cuda"):
        engine = executors.current()
        assert engine.backend.limit == int(0.9 * (1 << 30))
        assert 0.93 < engine.limit / engine.backend.limit < 0.94


def random(shape: Any, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


@pytest.mark.parametrize("memory", ["64 MiB", "3 MiB"])
def test_results_are_numpys_or_stay(cupy: CuPy, memory: str) -> None:
    x, y = random((600, 500)), random((600, 500), 1)
    with ga.config.set(device="cuda", device_memory=memory, chunk_bytes="256 KiB", threads=2):
        a, b = ga.asarray(x), ga.asarray(y)
        z = (a * 2 + b.T.T) ** 2
        assert type(z.compute()) is np.ndarray
        np.testing.assert_array_equal(z.compute(), (x * 2 + y) ** 2)
        row = (z.sum(axis=0) / 3)[10:]
        there = row.compute(device=True)
        np.testing.assert_allclose(plain(there), ((x * 2 + y) ** 2).sum(axis=0)[10:] / 3, rtol=1e-12)
        np.testing.assert_array_equal(plain(there), row.compute())
        pool = executors.current().backend._pool
        assert pool.peak <= executors.current().limit


def test_one_array_of_many_chunks_stays_in_one_piece(cupy: CuPy) -> None:
    x = random((300, 400))
    with ga.config.set(device="cuda", chunk_bytes="64 KiB", device_memory="16 MiB"):
        there = (ga.asarray(x) + 1).compute(device=True)
        np.testing.assert_array_equal(plain(there), x + 1)
        assert plain(ga.zeros((0, 3)).compute(device=True)).shape == (0, 3)
        assert plain(ga.asarray(7.5).compute(device=True)) == 7.5


def test_device_is_whether_and_not_which() -> None:
    with pytest.raises(TypeError, match="device='cuda' says whether"):
        ga.ones(3).compute(device="cuda")  # type: ignore[arg-type]


def test_on_the_cpu_a_result_that_stays_is_numpys() -> None:
    with ga.config.set(device="cpu"):
        assert type((ga.ones(3) + 1).compute(device=True)) is np.ndarray


def test_arrays_of_the_fake_device_stay_there() -> None:
    x = random((300, 400))
    with ga.config.set(device="fake", chunk_bytes="64 KiB"):
        there = (ga.asarray(x) * 3).compute(device=True)
        assert type(there).__name__ == "FakeArray"
        np.testing.assert_array_equal(executors.current().backend.to_host(there), x * 3)


def test_an_array_on_the_gpu_is_taken_without_a_copy(cupy: CuPy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndarray, "__cuda_array_interface__", {"version": 3}, raising=False)
    x = random((300, 400))
    there = cupy.asarray(x)
    with ga.config.set(device="cuda", chunk_bytes="64 KiB", device_memory="16 MiB"):
        a = ga.asarray(there)
        assert a.node.reader.array is there  # type: ignore[attr-defined]
        assert a.npartitions > 1
        np.testing.assert_array_equal((a + 1).compute(), x + 1)
        np.testing.assert_array_equal(a[5, 7:].compute(), x[5, 7:])
        np.testing.assert_allclose(ga.asarray(there[::2].T, dtype="float32").compute(), x[::2].T.astype("f"))
        there[0, 0] = 99  # as with NumPy's arrays, later writes are seen, but not in a copy
        assert float(a[0, 0].compute()) == 99
        copied = ga.asarray(there, copy=True)
        there[0, 0] = 1
        assert float(copied[0, 0].compute()) == 99
        with pytest.raises(ValueError, match="copy=None"):
            ga.asarray(there, dtype="float32", copy=False)
        with pytest.raises(TypeError, match="cannot be pickled"):
            __import__("pickle").dumps(a)
    with ga.config.set(device="cpu"):
        np.testing.assert_array_equal((ga.asarray(there) * 2).sum(axis=1).compute(), (plain(there) * 2).sum(axis=1))


def test_an_array_on_another_gpu_is_moved(cupy: CuPy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndarray, "__cuda_array_interface__", {"version": 3}, raising=False)
    x = random((300, 400))
    with cupy.cuda.Device(1):
        there = cupy.asarray(x)
    with ga.config.set(device="cuda:0", chunk_bytes="64 KiB"):
        made = (ga.asarray(there) + 1).compute(device=True)
    np.testing.assert_array_equal(plain(made), x + 1)
    assert cupy.peer_copies > 0


def test_an_array_whose_stream_is_gone_is_refused(cupy: CuPy, monkeypatch: pytest.MonkeyPatch) -> None:
    class Tensor:
        __cuda_array_interface__ = {"version": 3, "stream": 4711}  # noqa: RUF012

    def asarray(obj: Any, dtype: Any = None) -> Any:
        raise CUDARuntimeError("cudaErrorInvalidResourceHandle: invalid resource handle")

    monkeypatch.setattr(cupy, "asarray", asarray)
    with pytest.raises(ga.errors.DeviceError, match=r"a Tensor on a GPU cannot be read \(cudaErrorInvalid.*stream"):
        ga.asarray(Tensor())


def test_dlpack_says_where_results_are(cupy: CuPy) -> None:
    with ga.config.set(device="cuda:1"):
        assert ga.ones(3).__dlpack_device__() == (2, 1)
        np.testing.assert_array_equal(np.from_dlpack(_Host(ga.arange(5) + 1)), [1, 2, 3, 4, 5])
    with ga.config.set(device="cpu"):
        assert ga.ones(3).__dlpack_device__() == (1, 0)
        assert not hasattr(ga.ones(3), "__cuda_array_interface__")


class _Host:
    """Asks for the host's memory, as a consumer without a GPU does."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **named: Any) -> Any:
        return self._array.__dlpack__(**{**named, "dl_device": (1, 0)})


def test_a_persisted_array_of_one_chunk_tells_its_address(cupy: CuPy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ndarray, "__cuda_array_interface__", property(lambda a: {"data": (a.data.ptr, False)}), raising=False
    )
    x = random((50, 40))
    with ga.config.set(device="cuda", device_memory="16 MiB"):
        a = (ga.asarray(x) + 1).persist()
        address = a.__cuda_array_interface__["data"][0]
        assert a.node.reader.lent.data.ptr == address  # type: ignore[attr-defined]
        np.testing.assert_array_equal(plain(a.node.reader.lent), x + 1)  # type: ignore[attr-defined]
        assert not hasattr(a + 1, "__cuda_array_interface__")
        assert not hasattr(a.rechunk(10), "__cuda_array_interface__")


def test_what_no_gpu_holds_is_refused_or_done_on_the_host(cupy: CuPy) -> None:
    days = np.arange(5).astype("M8[D]")
    with ga.config.set(device="cuda"):
        np.testing.assert_array_equal(
            (ga.asarray(days) + np.timedelta64(1, "D")).compute(), days + np.timedelta64(1, "D")
        )
        many = ga.asarray(np.arange(200_000).astype("M8[s]"))
        with pytest.raises(ga.errors.UnsupportedDTypeError, match=r'datetime64.* device="cpu"'):
            (many + np.timedelta64(1, "s")).compute()


@pytest.mark.parametrize("memory", ["256 MiB", "24 MiB"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_have_the_bits_of_the_cpu(cupy: CuPy, name: str, memory: str) -> None:
    """What `tests/gpu` runs on a GPU: here the engine, the backend and the copies are shown to hold together."""
    x, y = data(), data(1)
    with ga.config.set(device="cuda", device_memory=memory, chunk_bytes="1 MiB", threads=2):
        found = PROGRAMS[name](ga.asarray(x), ga.asarray(y)).compute()
        backend = executors.current().backend
        assert backend.name == "cupy"
        assert backend._pool.peak <= backend.limit
    with ga.config.set(device="cpu", compile="always", chunk_bytes="1 MiB"):
        expected = PROGRAMS[name](ga.asarray(x), ga.asarray(y)).compute()
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_random_programs_equal_numpy(cupy: CuPy, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "SMALL", 0)
    for seed in range(first, first + 20):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's own, of what is compared with
            program = Program(seed)
            x, expected = program.result
            with ga.config.set(device="cuda", device_memory=("1 MiB", "64 MiB")[seed % 2], compile="never", threads=1):
                compare(x.compute(), expected, program.text)


@pytest.mark.parametrize("peers", [{0, 1}, set()])
def test_several_gpus_share_the_tasks(cupy: CuPy, peers: set[int]) -> None:
    cupy.peers = peers
    x, found = random((300, 400)), set()
    for name in ("cuda:0", "cuda:0,1", "cuda:all"):
        with ga.config.set(device=name, chunk_bytes="64 KiB", device_memory="1 MiB", threads=3):
            a = ga.asarray(x, chunks=50)
            found.add((((a - a.mean(axis=0)) @ a.T).compute()).tobytes())
            kept = (a * 2).persist()
            there = kept[:60].compute(device=True)
            np.testing.assert_array_equal(plain(there), x[:60] * 2)
            assert there.device.id == 0
            engine = executors.current()
            for backend in engine.executor.memory.backends:
                assert 0 < backend._pool.peak <= backend.limit
    assert len(found) == 1
    assert (cupy.peer_copies > 0) == bool(peers)
    with (
        ga.config.set(device="cuda:0,7"),
        pytest.raises(ga.errors.DeviceError, match=r'no device "cuda:7".*cuda:0, cuda:1'),
    ):
        a.sum().compute()


def test_a_worker_takes_the_device_it_is_told(cupy: CuPy) -> None:
    store = Store(Limits(device="cuda:1", device_memory=3 << 20, host_memory=64 << 20), 1 << 30, 2, None)
    assert (store.backend.name, store.backend.number, store.backend.limit) == ("cupy", 1, 3 << 20)
    assert store.limit == (3 << 20) * 15 // 16  # as in a process of its own
    assert store.memory.staging is not None
    assert store.host_limit < (64 << 20) - store.memory.staging.nbytes
    assert Store(Limits(), 1 << 30, 2, None).backend.name == "numpy"  # who opened the cluster has looked for GPUs
