"""What a client does about workers that come, go and fall silent; the network is made up."""

from __future__ import annotations

import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("distributed")

from gpuarray.cluster.hands import SILENT, Hands, Sent
from gpuarray.cluster.link import Link
from gpuarray.cluster.orders import Limits, Order, Unfinished
from gpuarray.cluster.worker import Store


class Network:
    """A scheduler and workers that say what a test lets them say."""

    def __init__(self, *workers):
        self.alive = dict.fromkeys(workers, 1)
        self.deaf, self.under_way, self.idle, self.cancelled = set(), {}, True, []

    def workers(self):
        return dict(self.alive)

    def ready(self, worker):
        return worker not in self.deaf

    def orders(self, worker):
        return None if worker in self.deaf else (self.under_way.get(worker, set()), self.idle)

    def cancel(self, futures):
        self.cancelled += futures


class Run:
    """A run that only notes what it is told."""

    def __init__(self):
        self.schedule = types.SimpleNamespace(joined=self.joined, gone=lambda worker, *_: self.told.append(worker))
        self.told, self.here, self.hurt = [], set(), False

    def joined(self, worker):
        self.here.add(worker)

    def given_up(self, sent):
        self.told.append(sent.name)


@pytest.fixture
def network():
    return Network("a", "b")


@pytest.fixture
def hands(network):
    """Which ask at every look."""
    hands = Hands(network, timeout=-1)
    hands.look()
    hands.runs.append(Run())
    return hands


def send(hands, worker, *names):
    for name in names:
        hands.known[worker].sent[name] = Sent(name, hands.runs[0], worker, [], (), 0.0, f"future of {name}")


def test_a_worker_takes_part_when_it_is_ready(network, hands):
    network.alive["c"] = 2
    hands.meet()
    assert set(hands.known) == {"a", "b"}, "at the look that finds it, it has no store yet"
    hands.meet()
    assert set(hands.known) == hands.runs[0].here == {"a", "b", "c"}
    assert hands.known["c"].threads == 2


def test_a_worker_that_is_not_ready_is_not_asked_all_the_time(network, hands, monkeypatch):
    now = 100.0
    monkeypatch.setattr("gpuarray.cluster.hands.time.monotonic", lambda: now)
    asked = []

    def ready(worker):
        nonlocal now
        asked.append(worker)
        now += 5
        return False

    network.ready = ready
    network.alive["c"] = 1
    for _ in range(5):
        hands.meet()
        now += 0.5
    assert asked == ["c"]
    now += 60
    hands.meet()
    assert asked == ["c", "c"]
    assert set(hands.known) == {"a", "b"}


def test_numbers_are_given_again_and_never_twice(network, hands):
    del network.alive["a"]
    network.alive["c"] = 1
    for _ in range(2):
        hands.meet()
    assert hands.runs[0].told == ["a"]
    assert hands.runs[0].hurt
    assert sorted(hand.number for hand in hands.known.values()) == [0, 1]


def test_orders_that_were_lost_are_given_up(network, hands):
    send(hands, "a", "lost", "begun")
    network.under_way["a"] = {"begun"}
    hands.meet()
    assert hands.runs[0].told == [], "it may be on its way"
    hands.meet()
    assert hands.runs[0].told == ["lost"]
    assert network.cancelled == ["future of lost"]
    assert list(hands.known["a"].sent) == ["begun"]
    hands.meet()
    assert hands.runs[0].told == ["lost"]


def test_orders_wait_for_a_worker_that_is_busy(network, hands):
    send(hands, "a", "one", "two")
    network.idle = False  # it may do what others have asked for
    for _ in range(5):
        hands.meet()
    assert hands.runs[0].told == []


def test_nobody_is_asked_who_was_heard_of(network, hands):
    hands.timeout = 1e9
    send(hands, "a", "lost")
    for _ in range(5):
        hands.meet()
    assert hands.runs[0].told == []


def test_a_worker_that_does_not_answer_is_given_up(network, hands):
    send(hands, "a", "one")
    network.deaf.add("a")
    for _ in range(SILENT - 1):
        hands.meet()
    assert "a" in hands.known
    network.deaf.clear()
    hands.meet()
    network.deaf.add("a")
    for _ in range(SILENT):
        assert "a" in hands.known
        hands.meet()
    assert "a" not in hands.known
    assert hands.runs[0].told == ["a"]
    assert network.cancelled == ["future of one"]
    for _ in range(5):
        hands.meet()
    assert "a" not in hands.known, "it is there, says the scheduler, and does not answer"


def test_an_order_that_was_struck_before_it_was_sent_is_not_cancelled():
    told = []
    client = types.SimpleNamespace(status="running", _cancel=None, sync=lambda _, futures, **__: told.append(futures))
    client.scheduler = types.SimpleNamespace(address="tcp://a")
    link = Link(client, "store", 1)
    link.cancel([None, "future"])
    link.cancel([None])
    assert told == [["future"]]


def test_workers_that_were_never_ready_are_forgotten_when_they_are_gone(network, hands):
    network.alive["c"] = 1
    network.deaf.add("c")
    for _ in range(2):
        hands.meet()
    assert set(hands._not_before) == {"c"}
    del network.alive["c"]
    hands.meet()
    assert not hands._not_before


# A worker's store


class Portable:
    """A plan of which nothing is made."""

    stages = ()


@pytest.fixture
def store(monkeypatch, spill):
    monkeypatch.setattr("gpuarray.cluster.worker.loads", lambda payload: payload)
    store = Store(Limits("cpu", host_memory=1 << 20, spill_directory=str(spill)), 1 << 30, 1, None)
    store.open("run", Portable(), True)
    yield store
    store.close("run")


def held(store):
    return store.memory.states()[0].held


def test_statistics_while_another_thread_opens_a_run(store):
    class Held(set):
        def __len__(self):
            store.open(f"run {len(store._runs)}", Portable(), False)
            return super().__len__()

    store.open("another", Portable(), False)
    store._runs["run"].held = Held([(0, 0, 0)])
    assert store.statistics()["chunks"] == 1
    store._runs["run"].held = set()


def test_a_chunk_for_which_there_is_no_room_now(store):
    chunk = (np.zeros(1 << 16),)
    ticket = store.memory.admit(store._number, (), work=store.host_limit - 1000)
    assert not store.put("run", (0, 0, 0), chunk, wait=False)
    assert held(store) == 0
    store.memory.release(ticket)
    assert store.put("run", (0, 0, 0), chunk, wait=False)
    assert store.put("run", (0, 0, 0), chunk, wait=False), "it is there"
    assert held(store) == chunk[0].nbytes


def test_a_chunk_that_another_worker_reads_makes_room_when_it_is_read(store, monkeypatch):
    chunk = (np.zeros(store.host_limit // 16),)  # half of what there is
    assert store.put("run", (0, 0, 0), chunk, wait=False)
    reading, go_on = threading.Event(), threading.Event()
    tier = store.memory._ledger.tiers[0]
    get = type(tier).get

    def slow(self, key, payload):
        reading.set()
        assert go_on.wait(120)
        return get(self, key, payload)

    with ThreadPoolExecutor(2) as threads:
        with monkeypatch.context() as patch:
            patch.setattr(type(tier), "get", slow)
            part = threads.submit(store.part, "run", (0, 0, 0), None)
            assert reading.wait(120)
        ticket = threads.submit(store.memory.admit, store._number, (), work=store.host_limit - 1000)
        deadline = time.monotonic() + 120
        while not store.memory._waiting:
            assert not ticket.done(), "there will be room in a moment"
            assert time.monotonic() < deadline
        go_on.set()
        assert part.result(120)[0].nbytes == chunk[0].nbytes
        store.memory.release(ticket.result(120))
    assert held(store) == 0


def test_what_comes_for_a_closed_run_goes_at_once(store):
    run = store._runs["run"]
    store.close("run")
    store.memory.put(store._number, (run.number, 0, 0, 0), (np.zeros(1000),))
    store._hold(run, [(0, 0, 0)])
    assert held(store) == 0


def test_results_are_handed_over_once(store):
    with pytest.raises(KeyError):
        store.results("run", (0, 0))
    store._runs["run"].results[0, 0] = []
    assert store.results("run", (0, 0)) == []
    with pytest.raises(KeyError):
        store.results("run", (0, 0))


def test_an_order_of_a_run_that_is_not_known(store):
    item = types.SimpleNamespace(run="other")
    with pytest.raises(Unfinished) as caught:
        store.perform(Order("store", "name", (item,)))
    assert caught.value.unknown == ("other",)
    assert store.under_way == set()
