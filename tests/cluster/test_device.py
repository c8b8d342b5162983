"""Runs on a device with memory of its own: what happens beside computing, and what happens when memory runs out."""

from __future__ import annotations

import gc
import re
import threading
from dataclasses import dataclass

import numpy as np
import pytest

from gpuarray.cluster.disk import DiskTier
from gpuarray.cluster.events import Moved
from gpuarray.cluster.local import LocalExecutor
from gpuarray.cluster.memory import MemoryManager
from gpuarray.cluster.task import Result, Task, Write
from gpuarray.cluster.testing import ArraySink, FunctionWork, ListPlan, mix_expected, mix_plan
from gpuarray.kernels.backends.fake import Fake
from gpuarray.kernels.errors import DeviceMemoryError, MemoryLimitError, SpillError

PATIENCE = 120
"""Seconds after which a test gives up what it waits for."""


@dataclass(frozen=True, slots=True)
class Lifted(FunctionWork):
    """Work whose loads go to the device before its turn."""

    def lift(self, staging):
        return [staging.upload(array) for array in self.load()]


def lifted(n, nbytes, function, sink=None):
    return Task((0, n), (), (), nbytes, 2 * nbytes, Lifted(function, lambda: [np.full(nbytes // 8, float(n))]))


class Target(ArraySink):
    """A result in memory."""

    def target(self, region, backend):
        assert backend.xp is np
        return self.array[tuple(slice(r.start, r.stop) for r in region)]


def clean(executor):
    gc.collect()
    memory, device = executor.memory, executor.backend
    assert device.hazards == []
    assert all(tier.held == tier.reserved == 0 for tier in memory.states())
    assert device.counters.used_nbytes == 0
    assert memory.staging._pinned.free.qsize() * memory.staging._piece == memory.staging.nbytes


def test_loads_are_uploaded_while_others_compute():
    device, started = Fake(), threading.Event()

    def function(backend, loaded, chunks):
        n = int(backend.to_host(loaded[0][:1])[0])
        if n == 0:
            started.set()
            for _ in range(PATIENCE * 1000):
                if device.counters.uploads >= 2:
                    return Result()
                threading.Event().wait(0.001)
            raise TimeoutError("the second task's load was not uploaded")
        assert started.is_set()
        return Result()

    executor = LocalExecutor(device, threads=1, device_limit=1 << 20, host_limit=1 << 20)
    executor.run(ListPlan([lifted(n, 800, function) for n in range(4)]))
    del function
    clean(executor)


def test_how_far_ahead_is_bounded_by_the_memory_of_the_device():
    device = Fake()

    def function(backend, loaded, chunks):
        loaded[0] + 1
        return Result()

    executor = LocalExecutor(device, threads=3, device_limit=4000, host_limit=1 << 20)
    executor.run(ListPlan([lifted(n, 800, function) for n in range(40)]))
    assert device.counters.peak_nbytes <= executor.memory.states()[0].peak <= 4000
    clean(executor)


def test_results_come_home_while_others_compute():
    device, arrived = Fake(), threading.Event()

    class Sink(ArraySink):
        def write(self, region, array):
            super().write(region, array)
            arrived.set()

    sink = Sink((2,))

    def function(n):
        def run(backend, loaded, chunks):
            if n and not arrived.wait(PATIENCE):
                raise TimeoutError("the first task's result did not come")
            return Result({}, (Write(sink, (range(n, n + 1),), loaded[0][:1] + 5),))

        return run

    executor = LocalExecutor(device, threads=1, device_limit=1 << 20, host_limit=1 << 20)
    executor.run(ListPlan([lifted(n, 800, function(n)) for n in range(2)]))
    assert sink.array.tolist() == [5, 6]
    clean(executor)


def test_what_a_task_does_not_need_any_more_is_free_while_its_result_comes_home():
    """Two tasks fit into the device once the first has only its result there."""
    device, started = Fake(), threading.Event()

    class Sink(ArraySink):
        def write(self, region, array):
            if not started.wait(PATIENCE):
                raise TimeoutError("the second task did not start")
            super().write(region, array)

    sink = Sink((2,))

    def function(n):
        def run(backend, loaded, chunks):
            if n:
                started.set()
            return Result({}, (Write(sink, (range(n, n + 1),), loaded[0][:1] + 5),))

        return run

    executor = LocalExecutor(device, threads=1, device_limit=1700, host_limit=1 << 20)
    executor.run(ListPlan([lifted(n, 800, function(n)) for n in range(2)]))
    assert sink.array.tolist() == [5, 6]
    clean(executor)


def test_results_in_memory_are_written_without_another_copy():
    sink = Target((3, 40))

    def function(backend, loaded, chunks):
        n = int(backend.to_host(loaded[0][:1])[0])
        return Result({}, (Write(sink, (range(n, n + 1), range(40)), loaded[0].reshape(1, 40)),))

    executor = LocalExecutor(Fake(), threads=2, host_limit=1 << 20)
    sink.write = None  # is not called
    executor.run(ListPlan([lifted(n, 320, function) for n in range(3)]))
    np.testing.assert_array_equal(sink.array, np.repeat([[0.0], [1], [2]], 40, axis=1))
    del function
    clean(executor)


def test_spilled_chunks_are_raised_before_their_turn(spill):
    """A task computes when all it reads is on the device: nothing moves in its turn."""
    device, computing, heard = Fake(), threading.local(), []

    def hear(event):
        if isinstance(event, Moved):
            heard.append((event.src, event.dst, getattr(computing, "now", False)))

    def make(n):
        return lambda backend, *_: Result({(0, 0, n): (backend.from_host(np.full(100, float(n))),)})

    def read(backend, loaded, chunks):
        computing.now = True
        try:
            assert sum(float(chunk[0].sum()) for chunk in chunks.values()) >= 0
        finally:
            computing.now = False
        return Result()

    tasks = [Task((0, n), (), (((0, 0, n), 800),), 0, 800, FunctionWork(make(n))) for n in range(12)]
    tasks += [Task((1, n), ((0, 0, n), (0, 0, 11 - n)), (), 0, 8, FunctionWork(read)) for n in range(6)]
    executor = LocalExecutor(device, threads=2, device_limit=4000, host_limit=4000, directory=spill)
    executor.run(ListPlan(tasks), [hear])
    assert {("device", "host", False), ("host", "disk", False)} <= set(heard)
    assert any(dst == "device" for _, dst, _ in heard)
    assert not any(now for _, _, now in heard)
    assert device.counters.peak_nbytes <= 4000
    clean(executor)


class Hasty(Fake):
    """A device whose events nobody waits for."""

    def record(self):
        class Nothing:
            def wait(self):
                pass

        return Nothing()


@pytest.mark.parametrize("kind", [Fake, Hasty])
@pytest.mark.parametrize("fails", [False, True])
def test_a_task_ends_when_its_work_is_done(kind, fails):
    device = kind()

    def function(backend, loaded, chunks):
        loaded[0] + 1
        if fails:
            raise LookupError("no such thing")
        return Result()

    executor = LocalExecutor(device, threads=1)
    try:
        executor.run(ListPlan([lifted(n, 80, function) for n in range(3)]))
    except LookupError:
        assert fails
    gc.collect()
    assert bool(device.hazards) == (kind is Hasty), "memory was given back while work used it"


def test_what_never_fits_is_refused_with_the_numbers_of_the_device():
    executor = LocalExecutor(Fake(), device_limit=1000, host_limit=1 << 20)
    with pytest.raises(MemoryLimitError, match=r"1.56 KiB are needed .* device memory, .* 1000 B .* device_memory"):
        executor.run(ListPlan([lifted(n, 800, lambda *_: Result()) for n in range(20)]))
    clean(executor)


def test_pinned_memory_counts_as_the_hosts():
    executor = LocalExecutor(Fake(), host_limit=1 << 20)
    host = executor.memory.states()[1]
    assert (host.held, host.reserved, host.peak) == (0, 0, 1 << 16)
    room = (1 << 20) - (1 << 16)
    executor.run(ListPlan([], reserved_nbytes=room))
    with pytest.raises(MemoryLimitError, match="of which 1 MiB may be used"):
        executor.run(ListPlan([], reserved_nbytes=room + 1))


def test_a_device_that_runs_out_pushes_through_to_disk(spill):
    """The host is full: chunks go from there to disk, so that those of the device can go to the host."""
    device = Fake()
    executor = LocalExecutor(device, threads=1, device_limit=4000, host_limit=1000, directory=spill)
    kept = executor.run(mix_plan([100] * 6, [()] * 6, kept=range(6)))
    failures = []

    def flaky(*_):
        if not failures:
            failures.append(1)
            raise MemoryError("fragmented")
        return Result()

    executor.run(ListPlan([Task((0, 0), (), (), 0, 0, FunctionWork(flaky))]))
    assert [tier.held for tier in executor.memory.states()] == [0, 800, 4000]
    for n in range(6):
        np.testing.assert_array_equal(device.to_host(kept[0, 0, n][0]), np.arange(100.0) + n)
    device.synchronize()
    del kept
    gc.collect()
    assert device.hazards == []


@pytest.mark.parametrize("threads", [1, 3])
def test_memory_that_runs_out_at_any_allocation(spill, threads):
    """Once: the run goes on after chunks made room. For good: it fails with the numbers. Nothing is left either way."""
    sizes = [40, 30, 60, 50, 20, 60, 40, 10]
    edges = [(), (), (0, 1), (0,), (2, 1), (3, 4), (5, 0, 1), (6, 2)]
    expected = mix_expected(sizes, edges)

    def make(refused):
        device = Fake()
        device.refused = refused
        return LocalExecutor(device, threads=threads, device_limit=1400, host_limit=20_000, directory=spill)

    plan = mix_plan(sizes, edges, kept=range(8))

    def check(executor):
        device, kept = executor.backend, executor.run(plan)
        for n in range(8):
            np.testing.assert_array_equal(device.to_host(kept[0, 0, n][0]), expected[n])
        del kept
        device.synchronize()
        clean(executor)
        return device.counters.allocations

    count = check(make(()))
    assert count > 15
    for n in range(1, count + 1):
        check(make({n}))
        executor = make(range(n, 10**6))
        try:
            executor.run(plan)
        except DeviceMemoryError as error:
            message = str(error)
        assert re.match(r"device memory ran out twice, although only .* are held .*limit: 1.37 KiB", message)
        executor.backend.refused = ()
        clean(executor)


@pytest.mark.parametrize("view", [False, True])
def test_chunks_that_are_copied_when_they_are_kept(view):
    """What a task keeps is its own: a copy of what was loaded, made before that is given back."""

    def function(n):
        return lambda backend, loaded, chunks: Result({(0, 0, n): (loaded[0][::2] if view else loaded[0],)})

    def work(n):
        return Lifted(function(n), lambda: [np.full(100, float(n))])

    plan = ListPlan([Task((0, n), (), (((0, 0, n), 800),), 800, 1600, work(n)) for n in range(5)])
    plan.kept = tuple((0, 0, n) for n in range(5))
    executor = LocalExecutor(Fake(), threads=2, device_limit=8000, host_limit=1 << 20)
    kept = executor.run(plan)
    for n in range(5):
        assert set(executor.backend.to_host(kept[0, 0, n][0])) == {float(n)}
    assert executor.backend.hazards == []
    del kept
    clean(executor)


@pytest.mark.parametrize("count", [1, 5])
def test_an_exception_that_is_kept_keeps_nothing_on_the_device(count):
    """As the interpreter keeps the last one."""

    def function(backend, loaded, chunks):
        doubled = loaded[0] * 2
        try:
            raise ValueError(f"{doubled.shape} is no shape")
        except ValueError as error:
            raise LookupError("no such thing") from error

    device = Fake()
    with pytest.raises(LookupError, match="no such thing") as caught:
        LocalExecutor(device, threads=2).run(ListPlan([lifted(n, 80, function) for n in range(count)]))
    assert isinstance(caught.value.__cause__, ValueError)
    gc.collect()
    assert device.counters.used_nbytes == 0
    assert device.hazards == []


@pytest.mark.parametrize("host", [200_000, 15_000], ids=["pinned", "not pinned"])
def test_spill_files_are_read_into_pinned_memory(spill, host, monkeypatch):
    """Straight from the file, in any order of axes; what is damaged never reaches a task, nor stays on the device."""
    monkeypatch.setattr(DiskTier, "get", None)  # would hold a chunk in the host's memory
    device = Fake()
    memory = MemoryManager(device, host, spill, 30_000)
    run = memory.open_run()
    arrays = [np.arange(1200.0).reshape(2, 30, 20).transpose(1, 2, 0) + n for n in range(30)]
    for n, array in enumerate(arrays):
        other = np.full(n, n, "i2")
        memory.put(run, (0, 0, n), (device.from_host(array), device.from_host(other)))
    assert memory.states()[2].held > 0
    for n, array in enumerate(arrays):
        chunk = memory.fetch(run, (0, 0, n))
        np.testing.assert_array_equal(device.to_host(chunk[0]), array)
        assert chunk[0].strides == array.strides
        assert device.to_host(chunk[1]).tolist() == [n] * n
        device.synchronize()
    del chunk
    entry = next(e for e in memory._ledger.runs[run].held.values() if e.level == 2)
    with open(entry.file.path, "r+b") as file:
        file.seek(entry.file.offset + 5000)
        file.write(b"damage")
    with pytest.raises(SpillError, match=r"is damaged: its checksum does not match"):
        memory.fetch(run, entry.key)
    memory.close_run(run)
    gc.collect()
    assert device.hazards == []
    assert device.counters.used_nbytes == 0
    assert memory.staging._pinned.free.qsize() * memory.staging._piece == memory.staging.nbytes
