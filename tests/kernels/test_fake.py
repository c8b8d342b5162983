"""The fake device is as strict as it promises: no mixing, no more than its limit, no use before a copy is done."""

from __future__ import annotations

import gc
import pickle
import threading
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.backends.fake import Copy, Fake, FakeArray, FakeOutOfMemoryError, NotReadyError, OverwrittenError
from gpuarray.kernels.errors import GPUArrayError
from gpuarray.kernels.program import Affine, Builder
from gpuarray.kernels.testing_tools import identity

FLOAT = np.dtype("float64")


@pytest.fixture
def device() -> Fake:
    return Fake(limit=10_000)


@pytest.fixture
def x(device: Fake) -> FakeArray:
    return device.from_host(np.arange(12.0).reshape(3, 4))


HOST = np.ones((3, 4))


@pytest.mark.parametrize(
    "mix",
    [
        lambda d, x: x + HOST,
        lambda d, x: HOST + x,
        lambda d, x: np.add(x, HOST),
        lambda d, x: np.concatenate([x, HOST]),
        lambda d, x: d.xp.add(x, HOST),
        lambda d, x: d.xp.concatenate([x, (HOST)]),
        lambda d, x: d.xp.where(x > 0, x, HOST),
        lambda d, x: d.xp.copyto(x, HOST),
        lambda d, x: d.xp.add(x, x, out=HOST),
        lambda d, x: x.dot(HOST.T),
        lambda d, x: x.__setitem__(slice(None), HOST),
        lambda d, x: x.__setitem__(HOST > 0, 1),
        lambda d, x: x[np.array([0, 1])],
        lambda d, x: HOST.__setitem__(slice(None), x),
        lambda d, x: HOST.__iadd__(x),
        lambda d, x: x.__iadd__(HOST),
        lambda d, x: x == HOST,
        lambda d, x: np.asarray(x),
        lambda d, x: pickle.dumps(x),
        lambda d, x: d.to_host(HOST),
        lambda d, x: d.from_host(x),
        lambda d, x: d.scan("sum", HOST, 0, None, FLOAT),
        lambda d, x: d.combine("sum", (HOST,), (0,)),
        lambda d, x: Fake().to_host(x),
        lambda d, x: x + Fake().from_host(HOST),
    ],
)
def test_host_and_device_do_not_mix(device: Fake, x: FakeArray, mix: Any) -> None:
    with pytest.raises(TypeError):
        mix(device, x)


def test_host_arrays_are_no_operands(device: Fake, x: FakeArray) -> None:
    b = Builder()
    program = b.build(b.step("add", b.input("array", "float64"), b.input("array", "float64")))
    for operands in ((x, HOST), (HOST, x)):
        with pytest.raises(TypeError, match="move it with from_host"):
            device.elementwise(program, operands, (3, 4), compiled=False)
        with pytest.raises(TypeError, match="move it with from_host"):
            device.reduce(program, "sum", operands, (3, 4), ((0, 3), (0, 4)), compiled=False)
    with pytest.raises(TypeError):
        device.elementwise(program, (x, x), (3, 4), compiled=False, out=np.empty((3, 4)))


def test_numpys_functions_methods_and_operators_work_on_the_device(device: Fake, x: FakeArray) -> None:
    host = np.arange(12.0).reshape(3, 4)
    xp = device.xp
    for got, wanted in [
        (x + 1, host + 1),
        (2 - x, 2 - host),
        (x**2 // 3 % 2, host**2 // 3 % 2),
        (-x, -host),
        (abs(-x), host),
        (x @ x.T, host @ host.T),
        ((x > 3) & ~(x > 7), (host > 3) & ~(host > 7)),
        (x[1:, ::-2], host[1:, ::-2]),
        (x[x > 3], host[host > 3]),
        (x[xp.asarray(np.array([2, 0]))], host[[2, 0]]),
        (x[..., None], host[..., None]),
        (x.sum(axis=0), host.sum(axis=0)),
        (x.max(), host.max()),
        (x.T.reshape(-1), host.T.reshape(-1)),
        (x.astype("i1"), host.astype("i1")),
        (x.real, host),
        (x.imag, host * 0),
        (np.sin(x), np.sin(host)),
        (np.stack([x, x]), np.stack([host, host])),
        (xp.add.accumulate(x, axis=1), np.add.accumulate(host, axis=1)),
        (xp.fmax.reduce(x), np.fmax.reduce(host)),
        (xp.linalg.norm(x), np.linalg.norm(host)),
        (xp.divmod(x, 2)[1], host % 2),
        (xp.linalg.qr(x).R, np.linalg.qr(host).R),
        (xp.broadcast_to(x, (2, 3, 4)), np.broadcast_to(host, (2, 3, 4))),
    ]:
        assert isinstance(got, FakeArray)
        np.testing.assert_array_equal(device.to_host(got), wanted)
    x += 1
    x[0] = x[1]
    x[2, 1] = 50
    x[1, 0] = np.float32(7)
    host += 1
    host[0], host[2, 1], host[1, 0] = host[1], 50, 7
    np.testing.assert_array_equal(device.to_host(x), host)
    assert (len(x), x.shape, x.ndim, x.size, x.nbytes, x.dtype) == (3, (3, 4), 2, 12, 96, FLOAT)
    assert [float(v[0]) for v in x] == [5, 7, 9]
    assert float(x[0, 0]) == int(x[0, 0]) == complex(x[0, 0]) == x[0, 0].item() == 5
    assert range(9)[x.astype("i8")[0, 0]] == 5
    assert bool(x[0, 0] == 5)
    assert "dtype=float64" in repr(x)
    assert xp.float32 is np.float32
    assert xp.pi == np.pi
    assert xp.ndarray is FakeArray
    for name in ("nonsense", "ctypes", "__array_interface__", "data"):
        with pytest.raises(AttributeError):
            getattr(x, name)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x)
    with pytest.raises(TypeError):
        hash(x)


def test_there_are_no_scalars_on_a_device(device: Fake, x: FakeArray) -> None:
    assert isinstance(x[0, 0], FakeArray)
    assert x.sum().shape == ()
    assert isinstance(device.xp.max(x), FakeArray)


def test_the_limit_is_hard_and_what_is_dropped_is_free(device: Fake) -> None:
    a = device.empty((1250,), FLOAT)
    assert device.counters.used_nbytes == 10_000
    with pytest.raises(FakeOutOfMemoryError, match="1 bytes asked for, 10000 of 10000 in use") as caught:
        device.empty((1,), np.dtype("i1"))
    assert isinstance(caught.value, MemoryError)
    assert isinstance(caught.value, GPUArrayError)
    del caught
    with pytest.raises(MemoryError):
        device.from_host(np.zeros(1))
    view = a[::2].reshape(25, 25)
    del a
    gc.collect()
    assert device.counters.used_nbytes == 10_000, "a view holds the whole buffer"
    del view
    gc.collect()
    assert device.counters.used_nbytes == 0
    assert device.counters.peak_nbytes == 10_000
    device.empty((1250,), FLOAT)


def test_results_and_temporaries_count(device: Fake) -> None:
    x = device.from_host(np.zeros(500))
    y = x + 1
    assert device.counters.used_nbytes == 8000
    with pytest.raises(MemoryError):
        y * 2
    assert device.counters.used_nbytes == 8000, "the failed result is gone"
    x += y
    device.xp.add(x, y, out=y)
    device.xp.transpose(x)
    x[:250] = y[250:]
    assert device.counters.peak_nbytes == 8000


def test_results_of_programs_count(device: Fake) -> None:
    b = Builder()
    program = b.build(b.step("sqrt", b.step("add", b.input("index", "int64"), b.input("scalar", "int64"))))
    kept = device.elementwise(program, (Affine(0, (1,)), 1), (1000,), compiled=False)
    assert device.counters.used_nbytes == 8000
    with pytest.raises(MemoryError):
        device.elementwise(program, (Affine(0, (1,)), 1), (1000,), compiled=False)
    device.elementwise(program, (Affine(0, (1,)), 1), (1000,), compiled=False, out=kept)
    assert device.counters.used_nbytes == 8000
    del kept
    gc.collect()
    assert device.counters.used_nbytes == 0


def test_transfers_are_counted_each_way(device: Fake) -> None:
    x = device.from_host(np.zeros(10))
    device.xp.asarray(np.zeros(2, "i1"))
    device.to_host(x[2:4])
    float(x[0])
    x.sum()
    c = device.counters
    assert (c.uploads, c.uploaded_nbytes, c.downloads, c.downloaded_nbytes) == (2, 82, 2, 24)


def test_from_host_copies(device: Fake) -> None:
    host = np.zeros(3)
    there = device.from_host(host)
    host[:] = 7
    back = device.to_host(there)
    assert back.tolist() == [0, 0, 0]
    back[:] = 5
    assert device.to_host(there).tolist() == [0, 0, 0]


def test_an_array_is_not_used_before_its_copy_is_done(device: Fake) -> None:
    host = np.arange(4.0)
    copy = device.upload(host)
    for use in (
        lambda a: a + 1,
        lambda a: a[0],
        lambda a: a.sum(),
        device.to_host,
        lambda a: a.__setitem__(0, 1),
        lambda a: device.scan("sum", a, 0, None, FLOAT),
    ):
        with pytest.raises(NotReadyError, match="before its copy"):
            use(copy.array)
    assert "not ready" in repr(copy.array)
    assert copy.array.shape == (4,)
    x = copy.wait()
    assert device.to_host(x).tolist() == [0, 1, 2, 3]
    assert copy.wait() is x
    assert device.counters.uploads == 1
    assert device.hazards == []


def test_what_is_copied_must_stay_as_it_is(device: Fake) -> None:
    host = np.arange(4.0)
    copy = device.upload(host)
    host[0] = 50
    with pytest.raises(OverwrittenError, match="changed while it was copied"):
        copy.wait()
    x = device.from_host(host)
    copy = device.download(x)
    x += 1
    with pytest.raises(OverwrittenError, match="changed while it was copied"):
        copy.wait()


def test_a_copy_that_nobody_waits_for_is_noticed(device: Fake) -> None:
    copy = device.upload(np.zeros(3))
    del copy
    gc.collect()
    assert device.hazards == ["nobody waited for a copy of 24 bytes"]
    assert device.counters.used_nbytes == 0


def test_uploaded_memory_is_given_back_after_the_work_on_it(device: Fake) -> None:
    def use(event: bool, copied: bool = True) -> list[str]:
        x = device.upload(np.zeros(3)).wait() if copied else device.from_host(np.zeros(3))
        y = x[1:].reshape(-1) + 1
        if event:
            device.record().wait()
        del x, y
        gc.collect()
        return device.hazards

    assert use(True) == []
    assert use(False, copied=False) == []
    early = device.record()
    assert use(False) == ["24 bytes were given back before the work that uses them was waited for"]
    device.hazards.clear()
    early.wait()
    view = device.upload(np.zeros(3)).wait()[1:]
    del view
    assert device.hazards == []  # a view is no work
    device.to_host(device.upload(np.zeros(3)).wait())
    assert device.hazards == []


def test_allocations_fail_where_they_are_told_to(device: Fake) -> None:
    device.refused = {2}
    device.from_host(np.zeros(1))
    with pytest.raises(FakeOutOfMemoryError, match="allocation 2 is to fail"):
        device.upload(np.zeros(1))
    device.from_host(np.zeros(1))
    gc.collect()
    assert device.counters.used_nbytes == 0
    assert device.counters.allocations == 3


def test_pinned_memory_is_counted(device: Fake) -> None:
    arrays = [device.pinned(100).view(np.float32) for _ in range(3)]
    assert device.counters.pinned_nbytes == 300
    del arrays
    gc.collect()
    assert (device.counters.pinned_nbytes, device.counters.peak_pinned_nbytes) == (0, 300)


@pytest.mark.parametrize("dtype", ["f8", "i2", "?", "c8", "U3", "M8[s]"])
def test_a_download_holds_rubbish_until_it_is_done(device: Fake, dtype: str) -> None:
    host = np.arange(6).reshape(3, 2).astype(dtype)
    x = device.from_host(host)
    copy: Copy = device.download(x)
    assert copy.array.shape == (3, 2)
    assert not np.array_equal(copy.array.astype("U30"), host.astype("U30"))
    assert device.counters.downloads == 0
    np.testing.assert_array_equal(copy.wait(), host)
    assert device.counters.downloads == 1


def test_counting_is_exact_with_many_threads() -> None:
    device = Fake()

    def work() -> None:
        for _ in range(200):
            device.to_host(device.from_host(np.zeros(10)) + 1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    gc.collect()
    c = device.counters
    assert (c.used_nbytes, c.uploads, c.downloaded_nbytes) == (0, 1600, 128_000)


def test_arrays_of_two_devices_do_not_mix(x: FakeArray) -> None:
    other = Fake().from_host(np.zeros((3, 4)))
    with pytest.raises(TypeError, match="another device"):
        x + other


def test_what_is_not_done_is_not_copied_as_if_it_were() -> None:
    device = Fake()
    x = device.upload(np.arange(4.0)).wait()
    np.testing.assert_array_equal(device.download(x, done=True).wait(), np.arange(4.0))
    out, shape = device.empty((4,), np.dtype("float64")), (4,)
    device.record().wait()
    program = identity("float64")
    made: list[Any] = [lambda: x + 1, lambda: x * 2, lambda: device.elementwise(program, (x,), shape, compiled=False)]
    made += [lambda: device.elementwise(program, (x,), shape, compiled=True, out=out), lambda: fill(out, x)]
    made += [lambda: device.xp.add(x, x, out=out), lambda: device.xp.concatenate([x, x])]
    for make in made:
        y = make()
        with pytest.raises(NotReadyError, match="before its work has been waited for"):
            device.download(y, done=True)
        device.record().wait()
        assert device.download(y, done=True).wait().shape == y.shape
        device.download(x, done=True).wait()
    assert device.hazards == []


def fill(target: Any, value: Any) -> Any:
    target[:] = value
    return target
