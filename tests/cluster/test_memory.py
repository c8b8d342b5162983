"""MemoryManager: its promises after any sequence of calls, and what it moves."""

from __future__ import annotations

import errno
import gc
import tempfile
import threading
import time

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from gpuarray.cluster import disk as disk_module
from gpuarray.cluster.events import Dropped, Events, Moved
from gpuarray.cluster.memory import MemoryManager
from gpuarray.kernels.errors import MemoryLimitError, SpillError
from tests.cluster.conftest import DeviceBackend, HostBackend


def chunk_of(number, size):
    return np.arange(size, dtype=np.float64) + number


class Machine(RuleBasedStateMachine):
    """One thread calls in any order; the disk may fail at any time."""

    chunks = Bundle("chunks")
    tickets = Bundle("tickets")

    @initialize(device=st.booleans(), limit=st.integers(20, 200), host=st.integers(20, 200), spills=st.booleans())
    def start(self, device, limit, host, spills):
        self.folder = tempfile.TemporaryDirectory()
        self.disk_is_full = False
        self.write = disk_module._write
        disk_module._write = self.write_or_fail
        self.backend = DeviceBackend(8 * limit) if device else HostBackend()
        self.memory = MemoryManager(
            self.backend, 8 * host, self.folder.name if spills else None, 8 * limit if device else None
        )
        self.limit = limit if device else host
        self.run = self.memory.open_run()
        self.contents = {}
        self.open = {}
        self.count = 0

    def write_or_fail(self, *args):
        if self.disk_is_full:
            raise OSError(errno.ENOSPC, "full")
        return self.write(*args)

    @rule(full=st.booleans())
    def fill_the_disk(self, full):
        self.disk_is_full = full

    @rule(target=chunks, size=st.integers(0, 60))
    def put(self, size):
        self.count += 1
        key = (0, 0, self.count)
        try:
            ticket = self.memory.admit(self.run, (), work=8 * size, wait=False)
        except MemoryLimitError:
            assert size > self.limit
            return key
        if ticket is not None:
            array = chunk_of(self.count, size)
            self.memory.put(self.run, key, (self.backend.from_host(array),), ticket)
            self.memory.release(ticket)
            self.contents[key] = array
        return key

    @rule(target=tickets, keys=st.lists(chunks, max_size=3, unique=True), load=st.integers(0, 30), evict=st.booleans())
    def admit(self, keys, load, evict):
        keys = tuple(key for key in keys if key in self.contents)
        try:
            ticket = self.memory.admit(self.run, keys, load=8 * load, wait=False, evict=evict)
        except MemoryLimitError:
            return None
        if ticket is not None:
            self.open[id(ticket)] = keys
        return ticket

    @rule(ticket=tickets)
    def take(self, ticket):
        if ticket is not None and id(ticket) in self.open:
            for key, (array,) in self.memory.take(ticket).items():
                np.testing.assert_array_equal(self.backend.to_host(array), self.contents[key])

    @rule(ticket=consumes(tickets))
    def release(self, ticket):
        if ticket is not None:
            self.memory.release(ticket)
            self.open.pop(id(ticket), None)

    @rule(key=consumes(chunks))
    def drop(self, key):
        if key in self.contents and not any(key in keys for keys in self.open.values()):
            self.memory.drop(self.run, key)
            del self.contents[key]

    @rule(key=chunks, position=st.integers(0, 50))
    def expect(self, key, position):
        self.memory.expect(self.run, [key], position)
        if position % 3 == 0:
            self.memory.used(self.run, [key], position)

    @rule()
    def relieve(self):
        self.memory.relieve(self.run)

    @invariant()
    def within_the_limits(self):
        if not hasattr(self, "memory"):
            return
        for tier in self.memory.states():
            assert tier.held >= 0
            assert tier.reserved >= 0
            assert tier.limit is None or tier.held + tier.reserved <= tier.limit
            assert tier.limit is None or tier.peak <= tier.limit

    @invariant()
    def the_books_are_true(self):
        if not hasattr(self, "memory"):
            return
        ledger = self.memory._ledger
        before = [(tier.held, tier.reserved) for tier in ledger.tiers]
        owners = set(ledger.owners)
        ledger.sum_up()
        assert before == [(tier.held, tier.reserved) for tier in ledger.tiers]
        assert owners == ledger.owners
        assert set(ledger.runs[self.run].held) == set(self.contents)
        if isinstance(self.backend, DeviceBackend):
            gc.collect(0)
            assert self.backend.live == ledger.tiers[0].held

    def teardown(self):
        if not hasattr(self, "memory"):
            return
        disk_module._write = self.write
        try:
            # whatever happened, no chunk is lost
            ledger = self.memory._ledger
            for key, array in self.contents.items():
                entry = ledger.runs[self.run].held[key]
                np.testing.assert_array_equal(ledger.tiers[entry.level].get(key, entry.payload)[0], array)
            self.memory.close_run(self.run)
            assert all(tier.held == tier.reserved == 0 for tier in self.memory.states())
        finally:
            self.folder.cleanup()


Machine.TestCase.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
TestMachine = Machine.TestCase


def held_memory(backend, limit, spill, sizes, **options):
    memory = MemoryManager(backend, limit, spill, **options)
    run = memory.open_run()
    for n, size in enumerate(sizes):
        memory.put(run, (0, 0, n), (backend.from_host(chunk_of(n, size)),))
    return memory, run


def in_memory(memory, run):
    return {key[2] for key, entry in memory._ledger.runs[run].held.items() if entry.level == 0}


def test_the_farthest_next_use_goes_first(host, spill):
    memory, run = held_memory(host, 8 * 50, spill, [10] * 5)
    for key, position in [(0, 7), (1, 3), (2, 9), (3, 1), (4, 5)]:
        memory.expect(run, [(0, 0, key)], position)
    memory.put(run, (0, 0, 5), (chunk_of(5, 10),))
    assert in_memory(memory, run) == {0, 1, 3, 4, 5}
    memory.expect(run, [(0, 0, 5)], 0)
    memory.put(run, (0, 0, 6), (chunk_of(6, 20),))  # no use known
    assert in_memory(memory, run) == {1, 3, 5, 6}  # 0 and then 4 went
    memory.close_run(run)


def test_expectations_may_come_before_the_chunk_and_end_with_the_use(host, spill):
    memory, run = held_memory(host, 8 * 30, spill, [])
    memory.expect(run, [(0, 0, 0), (0, 0, 1)], 5)
    memory.expect(run, [(0, 0, 0)], 9)
    memory.expect(run, [(0, 0, 2)], 8)
    for n in range(3):
        memory.put(run, (0, 0, n), (chunk_of(n, 10),))
    memory.used(run, [(0, 0, 0), (0, 0, 1)], 5)  # now 0 is used at 9, 1 never, 2 at 8
    memory.put(run, (0, 0, 3), (chunk_of(3, 10),))
    memory.expect(run, [(0, 0, 3)], 0)
    assert in_memory(memory, run) == {0, 2, 3}
    memory.put(run, (0, 0, 4), (chunk_of(4, 10),))
    assert in_memory(memory, run) == {2, 3, 4}
    memory.close_run(run)


def test_a_cyclic_scan_keeps_what_it_can(host, spill):
    """Least recently used would move all ten chunks in every round."""
    memory, run = held_memory(host, 8 * 60, spill, [10] * 10)
    before = memory.states()[0].moves_in
    for _ in range(5):
        for n in range(10):
            memory.fetch(run, (0, 0, n))
    assert memory.states()[0].moves_in - before < 35
    # a raised chunk keeps its file: every chunk is written once
    assert memory.states()[1].moved_in <= 10 * 80
    memory.close_run(run)


def test_pinned_chunks_stay(host, spill):
    memory, run = held_memory(host, 8 * 30, spill, [10, 10])
    ticket = memory.admit(run, ((0, 0, 0), (0, 0, 1)))
    assert memory.admit(run, (), work=8 * 11, wait=False) is None
    memory.release(ticket)
    other = memory.admit(run, (), work=8 * 11, wait=False)
    assert in_memory(memory, run) in ({0}, {1})
    memory.release(other)
    memory.close_run(run)


def test_nothing_is_moved_in_vain(host, spill):
    memory, run = held_memory(host, 8 * 30, spill, [10, 10])
    ticket = memory.admit(run, ((0, 0, 0),))
    assert memory.admit(run, (), work=8 * 25, wait=False) is None
    assert in_memory(memory, run) == {0, 1}
    memory.release(ticket)
    memory.close_run(run)


def test_a_failed_spill_loses_nothing_and_reads_go_on(host, spill, monkeypatch):
    memory, run = held_memory(host, 8 * 30, spill, [10, 10, 10, 10])
    write = disk_module._write

    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(disk_module, "_write", full)
    with pytest.raises(SpillError, match=r"nothing more could be spilled.*is full.*raise the memory limit"):
        memory.put(run, (0, 0, 4), (chunk_of(4, 25),))
    for n in range(4):
        np.testing.assert_array_equal(memory.fetch(run, (0, 0, n))[0], chunk_of(n, 10))
    monkeypatch.setattr(disk_module, "_write", write)
    memory.put(run, (0, 0, 4), (chunk_of(4, 25),))
    memory.close_run(run)


def test_spare_files_give_way_on_a_full_disk(host, spill, monkeypatch):
    memory, run = held_memory(host, 8 * 20, spill, [10, 10, 10])  # one is on disk
    for n in range(3):
        memory.fetch(run, (0, 0, n))  # now those in memory may have files as well
    refused, written = [], []
    write = disk_module._write

    def quota(slot, chunk, nbytes):
        if any(entry.file is not None for entry in memory._ledger.at[0]):  # of chunks that are in memory as well
            refused.append(slot)
            raise OSError(errno.ENOSPC, "full")
        written.append(slot)
        return write(slot, chunk, nbytes)

    monkeypatch.setattr(disk_module, "_write", quota)
    for _ in range(3):
        for n in range(3):
            np.testing.assert_array_equal(memory.fetch(run, (0, 0, n))[0], chunk_of(n, 10))
    assert refused
    assert written
    memory.close_run(run)


def test_arrays_of_references_stay_in_memory(host, spill):
    memory, run = held_memory(host, 200, spill, [])
    memory.put(run, (0, 0, 0), (np.array(["a"] * 10, object),))
    memory.put(run, (0, 0, 1), (np.zeros(10),))
    memory.put(run, (0, 0, 2), (np.zeros(10),))
    assert in_memory(memory, run) == {0, 2}
    with pytest.raises(MemoryLimitError, match="are still wanted"):
        memory.put(run, (0, 0, 3), (np.zeros(20),))
    memory.close_run(run)


def test_a_damaged_spill_file_fails_the_reader_alone(host, spill):
    memory, run = held_memory(host, 8 * 20, spill, [10, 10, 10])
    (entry,) = (e for e in memory._ledger.runs[run].held.values() if e.level)
    with open(entry.file.path, "r+b") as file:
        file.truncate(10)
    with pytest.raises(SpillError, match=rf"{entry.file.path} of chunk \(0, 0, {entry.key[2]}\)"):
        memory.fetch(run, entry.key)
    for n in {0, 1, 2} - {entry.key[2]}:
        memory.fetch(run, (0, 0, n))
    memory.close_run(run)


def test_views_and_shared_arrays_are_counted_for_what_they_keep(host):
    memory = MemoryManager(host)
    run = memory.open_run()
    big = np.zeros(1000)
    memory.put(run, (0, 0, 0), (big[:1], big[:1], np.broadcast_to(big[:1], (4,))))
    assert memory.states()[0].held == 8 + 8 + 32
    memory.put(run, (0, 0, 1), (big,))
    memory.put(run, (0, 0, 2), (big.reshape(10, 100),))  # the same memory once more
    chunks = [memory.fetch(run, (0, 0, n))[0] for n in (1, 2)]
    assert chunks[0] is big
    assert not np.shares_memory(*chunks)
    assert memory.states()[0].held == 48 + 2 * 8000
    memory.close_run(run)


def test_events_of_moves_and_drops(device, spill):
    heard = []
    memory, run = held_memory(device, 8 * 10, spill, [10, 10, 10], device_limit=8 * 10, events=Events([heard.append]))
    assert [(e.key[2], e.src, e.dst, e.nbytes) for e in heard] == [
        (0, "device", "host", 80),
        (0, "host", "disk", 80),
        (1, "device", "host", 80),
    ]
    assert all(isinstance(e, Moved) and e.run == run and e.seconds >= 0 for e in heard)
    heard.clear()
    memory.fetch(run, (0, 0, 0))
    assert (heard[-1].src, heard[-1].dst) == ("disk", "device")
    memory.drop(run, (0, 0, 1))
    assert isinstance(heard[-1], Dropped)
    assert (heard[-1].key, heard[-1].tier) == ((0, 0, 1), "disk")
    memory.close_run(run)


def test_reading_on_the_host_moves_nothing(device, spill):
    memory, run = held_memory(device, 8 * 10, spill, [10, 10, 10], device_limit=8 * 10)
    before = memory.states()
    for n in range(3):  # one on disk, one on the host, one on the device
        (array,) = memory.read(run, (0, 0, n))
        np.testing.assert_array_equal(array, chunk_of(n, 10))
    assert memory.states() == before
    memory.close_run(run)


def test_a_waiting_admission_goes_on_when_there_is_room(host):
    memory = MemoryManager(host, 1000)
    run = memory.open_run()
    first = memory.admit(run, (), work=600)
    got = []
    thread = threading.Thread(target=lambda: got.append(memory.admit(run, (), work=600)))
    thread.start()
    time.sleep(0.05)
    assert got == []
    memory.release(first)
    thread.join(60)
    assert len(got) == 1
    memory.release(got[0])
    memory.close_run(run)


def test_a_waiting_admission_can_be_cancelled(host):
    memory = MemoryManager(host, 1000)
    run = memory.open_run()
    first = memory.admit(run, (), work=600)
    cancelled, got = [], []
    thread = threading.Thread(
        target=lambda: got.append(memory.admit(run, (), work=600, cancelled=lambda: bool(cancelled)))
    )
    thread.start()
    time.sleep(0.02)
    cancelled.append(1)
    memory.wake()
    thread.join(60)
    assert got == [None]
    memory.release(first)
    memory.close_run(run)


def test_a_key_is_put_once(host):
    memory, run = held_memory(host, None, None, [3])
    with pytest.raises(ValueError, match="exists already"):
        memory.put(run, (0, 0, 0), (np.zeros(1),))
    memory.close_run(run)
    assert all(tier.held == tier.reserved == 0 for tier in memory.states())


def test_many_threads_raise_and_spill_the_same_chunks(backend, spill):
    options = {"device_limit": 8 * 45} if isinstance(backend, DeviceBackend) else {}
    memory, run = held_memory(backend, 8 * 45, spill, [10] * 12, **options)
    failures = []

    def work(seed):
        rng = np.random.default_rng(seed)
        try:
            for _ in range(60):
                keys = tuple((0, 0, int(n)) for n in rng.choice(12, 2, replace=False))
                ticket = memory.admit(run, keys, work=8 * 5)
                for key, (array,) in memory.take(ticket).items():
                    if backend.to_host(array)[0] != key[2]:
                        failures.append(key)
                memory.release(ticket)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert memory.states()[0].peak <= 8 * 45
    memory.close_run(run)
    assert all(tier.held == tier.reserved == 0 for tier in memory.states())


def test_a_chunk_that_is_held_stays(device, spill):
    memory, run = held_memory(device, 8 * 100, spill, [10, 10], device_limit=8 * 20)
    held = [memory.hold(run, (0, 0, n)) for n in range(2)]
    again = memory.hold(run, (0, 0, 0))
    assert memory.admit(run, (), work=8, wait=False) is None
    held.pop(0)
    gc.collect()
    assert memory.admit(run, (), work=8, wait=False) is None  # it is held twice
    del again
    gc.collect()
    ticket = memory.admit(run, (), work=8, wait=False)
    assert in_memory(memory, run) == {1}
    assert memory.hold(run, (0, 0, 0)) is None  # it is on the host
    assert memory.hold(run, (7, 7, 7)) is None
    np.testing.assert_array_equal(device.to_host(held[0].chunk[0]), chunk_of(1, 10))
    memory.release(ticket)
    memory.close_run(run)
    del held
    gc.collect()
    assert all(tier.held == tier.reserved == 0 for tier in memory.states())
    assert device.live == 0


def test_a_hold_that_ends_while_the_books_are_open(device, spill):
    """A finalizer may strike where the lock is held: whoever takes it next ends the hold."""
    memory, run = held_memory(device, 8 * 100, spill, [10], device_limit=8 * 10)
    hold = memory.hold(run, (0, 0, 0))
    with memory._lock:
        del hold
        gc.collect()
        assert [entry.holds for entry in memory._ledger.runs[run].held.values()] == [1]
    ticket = memory.admit(run, (), work=8, wait=False)
    assert ticket is not None
    memory.release(ticket)
    memory.close_run(run)
