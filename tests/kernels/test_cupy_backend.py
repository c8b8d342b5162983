"""The CuPy backend on a stand-in for CuPy: the contracts, with the CPU's kernels in place of CUDA's; copies; devices.

`test_cupy_simulated` runs the CUDA kernels themselves, `tests/gpu` all of it on a GPU.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels import interpreter
from gpuarray.kernels.backends import cupy as backend_module
from gpuarray.kernels.backends.cupy import CupyBackend
from gpuarray.kernels.backends.numpy import BACKEND as HOST
from gpuarray.kernels.cuda import launch, offline
from gpuarray.kernels.cuda.launch import Launcher
from gpuarray.kernels.errors import DeviceError, DeviceMemoryError, TaskError, UnsupportedDTypeError
from gpuarray.kernels.program import Builder, Program
from gpuarray.kernels.testing import BackendTests
from gpuarray.kernels.testing_device import DeviceTests
from gpuarray.kernels.testing_tools import identity, sample
from tests.kernels.cupy_standin import CUDADriverError, CUDARuntimeError, CuPy, PinnedMemory, ndarray


def opened(value: Any) -> Any:
    return value.inside if isinstance(value, ndarray) else value


class OnHost(Launcher):
    """Computes what it should launch by the CPU's compiled kernels, which have the same bits."""

    def elementwise(self, program: Program, operands: Sequence[Any], outputs: Sequence[Any]) -> None:
        (out,) = map(opened, outputs)
        HOST.elementwise(program, [*map(opened, operands)], out.shape, compiled=True, out=out)

    def reduce(self, program: Program, reduction: str, operands: Any, shape: Any, cuts: Any) -> Any:
        return self.there(HOST.reduce(program, reduction, [*map(opened, operands)], shape, cuts, compiled=True))

    def combine(self, reduction: str, states: Any, axes: Any, correction: float = 0.0) -> Any:
        named = {"correction": correction} if reduction == "var" else {}
        return self.there([interpreter.combine(np, reduction, [*map(opened, states)], axes, **named)])[0]

    def scan(self, name: str, array: Any, axis: int, carry: Any, dtype: np.dtype, out: Any) -> None:
        HOST.scan(name, opened(array), axis, opened(carry), dtype, out=opened(out))

    def gather(self, parts: Any) -> None:
        for source, target in parts:
            assert (source.shape, source.dtype) == (target.shape, target.dtype)
            opened(target)[...] = opened(source)

    def sweep(self, xp: Any, *given: Any) -> Any:
        *given, fields, origins, into = given
        targets = None if into is None else [*map(opened, into)]
        return self.there(HOST.sweep(*given, [*map(opened, fields)], origins, compiled=True, into=targets))

    def there(self, arrays: Sequence[np.ndarray]) -> tuple[Any, ...]:
        return tuple(self._cupy.asarray(a) for a in arrays)

    def run(self, launches: Any) -> None:
        raise AssertionError("a launch that no CPU kernel stands for")


def make(limit: int | None = None, devices: int = 1, number: int = 0) -> CupyBackend:
    cupy = CuPy(devices)
    return CupyBackend(cupy, number, limit, OnHost(cupy))


class TestCupy(BackendTests):
    @pytest.fixture
    def backend(self) -> Any:
        return make()


class TestCupyAsADevice(DeviceTests):
    @pytest.fixture
    def backend(self) -> Any:
        return make()

    @pytest.fixture
    def limited(self) -> Any:
        return make(1 << 20)


FLOAT = np.dtype("float64")


@pytest.mark.parametrize("shape", [(99,), (100,), (101,), (1000,), (7, 13), (3, 250), (1, 1, 401), (0, 3), ()])
@pytest.mark.parametrize("order", ["C", "F", "strided", "reversed"])
def test_pageable_arrays_of_any_order_are_copied(shape: tuple[int, ...], order: str) -> None:
    backend = make()
    host = np.asarray(sample(shape, "d"), order=order if order in "CF" else "C")  # type: ignore[arg-type]
    if order == "strided":
        host = np.repeat(host, 2, axis=-1)[..., ::2] if shape else host
    if order == "reversed":
        host = host[::-1] if shape else host
    there = backend.from_host(host)
    np.testing.assert_array_equal(opened(there), host)
    np.testing.assert_array_equal(backend.to_host(there), host)
    np.testing.assert_array_equal(backend.to_host(there[::2] if shape else there), host[::2] if shape else host)


def test_pageable_arrays_are_copied_by_many_threads() -> None:
    backend = make()
    wrong: list[Any] = []

    def work(seed: int) -> None:
        try:
            with backend.active():
                for n in range(5):
                    host = np.full((40, 100), 100.0 * seed + n)
                    if not (backend.to_host(backend.from_host(host) + 1) == host + 1).all():
                        wrong.append((seed, n))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert wrong == []


def test_copies_are_right_where_no_memory_can_be_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PinnedMemory, "refuse", True)
    backend = make()
    host = sample((3, 250), "d")
    np.testing.assert_array_equal(backend.to_host(backend.from_host(host)), host)
    with pytest.raises(MemoryError, match="no 100 bytes of pinned memory"):
        backend.pinned(100)


def test_an_upload_is_not_done_before_it_is_waited_for() -> None:
    """That the stand-in is as late as a GPU may be: else the tests above would show nothing."""
    backend = make()
    staging = backend.pinned(80).view(FLOAT)
    staging[:] = 1
    target = backend.allocate((10,), FLOAT)
    opened(target)[:] = 0
    copy = backend.upload(staging, target)
    assert (opened(target) == 0).all()
    assert (opened(copy.wait()) == 1).all()
    back = backend.download(target, backend.pinned(80).view(FLOAT))
    opened(target)[:] = 2
    assert (back.wait() == 2).all()


def test_a_copy_of_what_is_done_waits_for_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = make()
    there, waited = backend.from_host(np.ones(10)), []
    stream = backend._copier.out_of
    monkeypatch.setattr(stream, "wait_event", waited.append)
    for done, events in ((True, 0), (False, 1)):
        copy = backend.download(there, backend.pinned(80).view(FLOAT), done=done)
        assert len(waited) == events
        assert (copy.wait() == 1).all()


def test_the_limit_is_hard_and_freed_memory_is_used_again() -> None:
    backend = make(limit=1000)
    with backend.active():
        held = [backend.empty((100,), FLOAT), backend.empty((10,), FLOAT), backend.empty((10,), FLOAT)]
        with pytest.raises(DeviceMemoryError, match=r"80 bytes were asked for on cuda:0 .*limit of 1000") as caught:
            backend.empty((10,), FLOAT)
        assert isinstance(caught.value, MemoryError)
        del held, caught
        # the pool keeps the blocks of 800 and 80 bytes; one of another size fits when they are given back
        for n in (120, 60, 125):
            assert backend.empty((n,), FLOAT).shape == (n,)
        assert backend.used_nbytes() <= 1000


class CUBLASError(RuntimeError):
    """`cupy_backends.cuda.libs.cublas.CUBLASError`."""


CUBLASError.__module__ = "cupy_backends.cuda.libs.cublas"


@pytest.mark.parametrize(
    ("error", "ours", "says"),
    [
        (CUDARuntimeError("cudaErrorMemoryAllocation: out of memory"), DeviceMemoryError, "lower device_memory"),
        (CUDADriverError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"), DeviceMemoryError, "lower device_memory"),
        (CUBLASError("CUBLAS_STATUS_ALLOC_FAILED"), DeviceMemoryError, "lower device_memory"),
        (CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access"), TaskError, "cuda:0 has failed"),
        (CUDADriverError("CUDA_ERROR_ECC_UNCORRECTABLE: ECC"), TaskError, "cuda:0 has failed"),
        (CUBLASError("CUBLAS_STATUS_INVALID_VALUE"), CUBLASError, "INVALID_VALUE"),
        (ValueError("axis 7"), ValueError, "axis 7"),
    ],
)
def test_errors_of_cuda_are_ours(error: Exception, ours: type[Exception], says: str) -> None:
    """A device out of memory outside our pool makes room like any other; a device that has failed says so."""
    backend = make()
    with pytest.raises(ours, match=says), backend.active():
        raise error
    given_back: list[int] = []
    backend._pool.free_all_blocks = lambda: given_back.append(1)
    for _ in range(2):
        with backend.active():
            pass
    assert len(given_back) == (ours is DeviceMemoryError), "the second try has what the pool has kept"


def test_what_an_operation_allocates_counts() -> None:
    backend = make(limit=10_000)
    x = backend.from_host(np.ones(600))
    with backend.active(), pytest.raises(DeviceMemoryError, match="9600 bytes were asked for"):
        backend.xp.concatenate((x + x, x))
    assert backend.to_host(x).sum() == 600


@pytest.mark.parametrize("dtype", ["M8[s]", "m8[ns]", "U3", "S2", "O", "V4", "g", "G"])
def test_dtypes_without_a_place_on_a_gpu(dtype: str) -> None:
    backend = make()
    with pytest.raises(UnsupportedDTypeError, match='device="cpu"'):
        backend.from_host(np.zeros(3, dtype))
    with pytest.raises(UnsupportedDTypeError, match="on a GPU"):
        backend.empty((3,), np.dtype(dtype))
    with pytest.raises(UnsupportedDTypeError, match="on a GPU"):
        backend.allocate((3,), np.dtype(dtype))


def test_arrays_of_another_kind_are_refused() -> None:
    backend = make()
    with pytest.raises(TypeError, match="from_host takes a NumPy array, not list"):
        backend.from_host([1])
    with pytest.raises(TypeError, match="to_host takes an array of CuPy, not ndarray"):
        backend.to_host(np.zeros(3))
    there = backend.from_host(np.zeros(3))
    assert backend.from_host(there) is there
    with pytest.raises(TypeError):
        there + np.zeros(3)


def test_arrays_of_another_device_are_moved() -> None:
    cupy = CuPy(2)
    zero, one = (CupyBackend(cupy, n, launcher=OnHost(cupy)) for n in range(2))
    x = zero.from_host(np.arange(3.0))
    assert (x.device.id, one.from_host(np.zeros(1)).device.id) == (0, 1)
    y = one.from_host(x)
    assert y is not x
    assert y.device.id == 1
    np.testing.assert_array_equal(one.to_host(y), np.arange(3.0))
    wide = zero.from_host(sample((6, 8), "d"))[::2, ::-1]
    np.testing.assert_array_equal(one.to_host(one.moved(wide)), opened(wide))


def test_arrays_are_copied_between_devices_that_see_each_other() -> None:
    cupy = CuPy(3)
    cupy.peers = {0, 1}
    zero, one, two = (CupyBackend(cupy, n, launcher=OnHost(cupy)) for n in range(3))
    for host in (sample((7, 11), "d"), sample((0, 3), "d"), sample((), "D")):
        x = zero.from_host(host)
        copy = one.copy_from(zero, x)
        assert copy is not None
        assert copy.array.device.id == 1
        np.testing.assert_array_equal(one.to_host(copy.wait()), host)
    assert cupy.peer_copies == 2
    with pytest.raises(ValueError, match="in C order"):
        one.copy_from(zero, zero.from_host(sample((7, 11), "d"))[:, ::2])
    assert zero.copy_from(two, two.from_host(np.zeros(3))) is None


def test_a_copy_between_devices_comes_after_the_work_on_the_other() -> None:
    cupy = CuPy(2)
    zero, one = (CupyBackend(cupy, n, launcher=OnHost(cupy)) for n in range(2))
    staging = zero.pinned(80).view(FLOAT)
    staging[:] = 7
    upload = zero.upload(staging)  # as late as a GPU may be
    late = zero.copy_from(one, one.from_host(np.zeros(10)))
    copy = one.copy_from(zero, upload.wait())
    assert copy is not None
    assert late is not None
    np.testing.assert_array_equal(one.to_host(copy.wait()), np.full(10, 7.0))
    late.wait()


def test_programs_without_kernels_are_interpreted() -> None:
    backend = make()
    b = Builder()
    program = b.build(b.step("sin", b.input("array", "complex128")))
    assert Launcher.missing(program)
    x = sample((20,), "D")
    with np.errstate(all="ignore"):
        got = backend.elementwise(program, (backend.from_host(x),), (20,), compiled=True)
        np.testing.assert_array_equal(backend.to_host(got), np.sin(x))
        states = backend.reduce(program, "sum", (backend.from_host(x),), (20,), ((0, 20),), compiled=True)
        total = backend.to_host(backend.combine("sum", states, (0,)))[0]
        np.testing.assert_allclose(total, np.sin(x).sum(), rtol=1e-12)
    long = Builder()
    value = long.input("array", "float64")
    for _ in range(1100):
        value = long.step("sin", value)
    assert Launcher.missing(long.build(value)) == "1100 steps, more than 1000"


@pytest.mark.parametrize("name", ["sum", "prod"])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 64, 1001])
def test_sums_have_bits_that_no_layout_changes(name: str, n: int) -> None:
    xp = make().xp
    host = sample((4, n), "d", 3)
    cupy = CuPy()
    whole = getattr(xp, name)(cupy.asarray(host), axis=-1)
    np.testing.assert_allclose(opened(whole), getattr(np, name)(host, axis=-1), rtol=1e-12)
    for part in (cupy.asarray(host[2:3]), cupy.asarray(np.asfortranarray(host))[2:3], cupy.asarray(host)[2:3]):
        assert opened(getattr(xp, name)(part, axis=1)).tobytes() == opened(whole)[2:3].tobytes()


def test_functions_that_cupy_lacks() -> None:
    xp, cupy = make().xp, CuPy()
    x = np.array([1.0, -1.0, 0.0, -0.0, 1e300, np.finfo("d").max, -np.finfo("d").max, np.inf, np.nan, 5e-324])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(opened(xp.spacing(cupy.asarray(x))), np.spacing(x))
    y = np.array([[3.0, np.nan, 1.0], [2.0, 5.0, np.nan]])
    for name in ("fmin", "fmax", "maximum"):
        for axis in (0, 1, -1):
            found = getattr(xp, name).reduce(cupy.asarray(y), axis=axis)
            np.testing.assert_array_equal(opened(found), getattr(np, name).reduce(y, axis=axis))
    for name in ("add", "multiply", "maximum", "minimum"):
        for axis in (0, 1, -1):
            found = getattr(xp, name).accumulate(cupy.asarray(y), axis=axis)
            np.testing.assert_array_equal(opened(found), getattr(np, name).accumulate(y, axis=axis))
    assert not hasattr(xp, "isnat")


def test_an_interpreted_reduction_does_not_mix_with_numpy() -> None:
    backend = make()
    x = sample((5, 30), "d")
    states = backend.reduce(
        identity("float64"), "var", (backend.from_host(x),), (5, 30), (None, (0, 30)), compiled=False
    )
    got = backend.to_host(backend.combine("var", states, (1,), correction=1.0))
    np.testing.assert_allclose(got[:, 0], x.var(axis=1, ddof=1), rtol=1e-12)


@pytest.mark.parametrize(("capability", "version"), [((9, 0), "8.0"), ((10, 0), "8.7")])
def test_without_an_assembler_the_driver_is_given_ptx(
    capability: tuple[int, int], version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("numba_cuda", reason="needs numba-cuda, which writes PTX")
    monkeypatch.setattr(launch.offline, "assembler", lambda: None)
    monkeypatch.setattr(launch.offline, "ptxas_version", lambda: "")
    monkeypatch.setattr(launch.cache, "folder", lambda: tmp_path)
    kernel = offline.Kernel("def kernel(x):\n    store(np.float64, x, 0, np.float64(1))\n", ("uint64",), 32)
    path = launch.module_of(kernel, capability)
    text = path.read_text()
    assert path.suffix == ".ptx"
    assert f"\n.version {version}\n" in text
    assert f".target sm_{capability[0]}{capability[1]}" in text
    assert ".entry kernel(" in text
    monkeypatch.setattr(launch.offline, "ptx", None)  # the second time it is there
    assert launch.module_of(kernel, capability) == path


# Which devices there are


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``machine(n)``: one with n GPUs."""

    def with_gpus(count: int) -> None:
        cupy = CuPy(count)

        def found() -> Any:
            if not count:
                raise DeviceError("CuPy can use no GPU: there is none")
            return cupy

        monkeypatch.setattr(backend_module, "find", found)

    return with_gpus


def test_devices(machine: Any) -> None:
    machine(0)
    assert backend_module.devices() == []
    with pytest.raises(DeviceError, match="no GPU"):
        backend_module.device()
    machine(2)
    assert backend_module.devices() == ["cuda:0", "cuda:1"]
    assert (backend_module.device(1).number, backend_module.device(0, 99).limit) == (1, 99)
    with pytest.raises(DeviceError, match='no device "cuda:7" on this machine; there are cpu, cuda:0, cuda:1'):
        backend_module.device(7)


def test_a_forked_process_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = make()
    monkeypatch.setattr(backend_module.os, "getpid", lambda: -1)
    with pytest.raises(DeviceError, match="was forked"):
        backend.from_host(np.zeros(3))


def test_without_cupy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    with pytest.raises(DeviceError, match="pip install"):
        backend_module.find()
