"""DistributedExecutor and Cluster with real workers: two processes for all tests of this file."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("distributed")

import gpuarray as ga
from gpuarray import config
from gpuarray.cluster import active
from gpuarray.cluster.clusters import Cluster
from gpuarray.cluster.events import RunDone, RunStarted, TaskDone
from gpuarray.cluster.shipping import dumps
from gpuarray.cluster.testing import ExecutorTests
from gpuarray.errors import ClusterError, ConfigError, MemoryLimitError, TaskError

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning",  # sockets and processes of dask's that are closed a little later
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:.*fork:DeprecationWarning",
)

LIMIT = 48 << 20
PATIENCE = 180
"""Seconds that a worker may take to start, or anything else, on a busy machine."""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    spill = tmp_path_factory.mktemp("spill")
    cluster = Cluster(
        n_workers=2, threads_per_worker=1, dashboard=False, host_memory=LIMIT, spill_directory=spill, device="cpu"
    )
    active.leave(cluster)  # each test says whether it runs there
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(opened):
    """The cluster, with two living workers."""
    opened.client.wait_for_workers(2, timeout=PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while True:  # one that is new takes part from the second look on; one that was killed is gone from the first
        with opened.executor.workers.lock:
            opened.executor.workers.meet()
        if len(opened.executor.hands) == 2:
            break
        assert time.monotonic() < deadline
        time.sleep(0.01)
    active.enter(opened)
    with config.set(compile="never"):
        yield opened
    active.leave(opened)


def here():
    """Compute in this process: the reference."""
    return config.set(scheduler="threads")


def both(make, **settings):
    with here(), config.set(**settings):
        expected = make().compute()
    got = make().compute()
    return got, expected


@ga.stencil
def heat(u, k):
    return u[0, 0] + k * (u[1, 0] + u[-1, 0] + u[0, 1] + u[0, -1] - 4 * u[0, 0])


class TestContract(ExecutorTests):
    @pytest.fixture(autouse=True)
    def _cluster(self, cluster):
        self.cluster = cluster

    def make(self, **options):
        return self.cluster.executor


DATA = np.random.default_rng(0).standard_normal((700, 900))

EXPRESSIONS = {
    "a source": lambda x: x,
    "elementwise": lambda x: ga.exp(x) * 2 + 1,
    "transposed": lambda x: x[:, :700] + x[:, :700].T,
    "reduced": lambda x: x.sum(axis=0),
    "reduced to one": lambda x: (x * x).mean(),
    "standardised": lambda x: (x - x.mean()) / x.std(),
    "argmax": lambda x: x.argmax(axis=1),
    "cumulative": lambda x: x.cumsum(axis=1),
    "sliced": lambda x: x[5:600:3, ::-1],
    "joined": lambda x: ga.concatenate([x, x[:10]], axis=0),
    "random": lambda x: ga.random.default_rng(3).random((700, 900)) + x,
    "steps": lambda x: ga.iterate(heat, x, steps=12, k=0.1, boundary="fixed", steps_per_visit=4),
    "periodic steps": lambda x: ga.iterate(heat, x, steps=6, k=0.1, boundary="periodic", steps_per_visit=2),
    "empty": lambda x: x[:0] + 1,
    "0-d": lambda x: x.sum() * 2,
    "a function": lambda x: ga.map_blocks(lambda block: block * 3, x, dtype=np.float64),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_the_bits_are_those_of_one_process(cluster, name):
    x = ga.asarray(DATA, chunks=(100, 300))
    got, expected = both(lambda: EXPRESSIONS[name](x))
    assert got.dtype == expected.dtype
    assert got.tobytes() == expected.tobytes()


def test_a_small_array_goes_with_the_plan(cluster):
    x = ga.asarray(np.arange(100.0), chunks=10)
    y = ga.random.default_rng(0).random((3000, 100), chunks=500) * x
    got, expected = both(lambda: y.sum(axis=0))
    assert got.tobytes() == expected.tobytes()


def test_persisted_chunks_stay_on_the_workers(cluster):
    x = ga.asarray(DATA, chunks=(100, 300))
    y = (x * 2).persist()
    held = sum(s["tiers"]["host"]["held"] + s["tiers"]["disk"]["held"] for s in cluster.statistics().values())
    assert held >= y.nbytes
    np.testing.assert_array_equal((y[::2] + 1).compute(), DATA[::2] * 2 + 1)
    np.testing.assert_array_equal(y.compute(), DATA * 2)
    del y
    deadline = time.monotonic() + PATIENCE
    while any(s["chunks"] for s in cluster.statistics().values()):
        assert time.monotonic() < deadline, "chunks that nobody refers to are still held"
        time.sleep(0.05)


def test_persisted_here_and_used_there(cluster):
    with here():
        y = (ga.asarray(DATA, chunks=(100, 300)) * 2).persist()
    np.testing.assert_array_equal((y + 1).compute(), DATA * 2 + 1)


def test_persisted_there_and_used_here(cluster):
    y = (ga.asarray(DATA, chunks=(100, 300)) * 2).persist()
    with here():
        np.testing.assert_array_equal((y + 1).compute(), DATA * 2 + 1)


def test_only_halos_go_over_the_wire(cluster):
    """The state stays where it is: a visit of 5 steps fetches 5 rows from each side, not chunks."""
    n, steps, visit = 2000, 10, 5
    u = ga.random.default_rng(1).random((n, n), chunks=(250, n)).persist()
    before = sum(s["fetched"] for s in cluster.statistics().values())
    # visits between persists: each reads chunks that the one before has left
    state = u
    for _ in range(steps // visit):
        state = ga.iterate(heat, state, steps=visit, k=0.1, boundary="fixed", steps_per_visit=visit).persist()
    fetched = sum(s["fetched"] for s in cluster.statistics().values()) - before
    halos = 2 * visit * n * 8  # of one cut between two workers, both ways
    assert 0 < fetched <= 7 * halos * (steps // visit), "more than the halos of eight chunks"
    with here():
        expected = ga.iterate(
            heat, ga.random.default_rng(1).random((n, n), chunks=(250, n)), steps=steps, k=0.1, boundary="fixed"
        ).compute()
    np.testing.assert_array_equal(state.compute(), expected)


def test_more_than_the_memory_of_the_workers(cluster):
    x = ga.random.default_rng(0).random((4000, 4000), chunks=(250, 4000))  # 128 MB, and two workers of 48 MiB
    y = x.persist()
    held = [s["tiers"] for s in cluster.statistics().values()]
    assert all(tiers["host"]["peak"] <= LIMIT for tiers in held)
    assert sum(tiers["disk"]["held"] for tiers in held) > 20 << 20
    got, expected = both(lambda: y.sum(axis=0))
    assert got.tobytes() == expected.tobytes()


def test_workers_write_zarr(cluster, tmp_path):
    pytest.importorskip("zarr")
    x = ga.asarray(DATA, chunks=(100, 300))
    (x * 2).to_zarr(tmp_path / "x.zarr")
    y = ga.from_zarr(tmp_path / "x.zarr")
    ((y - y.mean()) / y.std()).to_zarr(tmp_path / "y.zarr")
    with here():
        expected = ((y - y.mean()) / y.std()).compute()
    np.testing.assert_array_equal(ga.from_zarr(tmp_path / "y.zarr").compute(), expected)


def test_what_only_this_process_can_write_comes_back(cluster, tmp_path):
    x = ga.asarray(DATA, chunks=(100, 300))
    into = np.zeros((2, *DATA.shape))
    ga.store([x, x * 2], [into, into], regions=[np.s_[0], np.s_[1]])
    np.testing.assert_array_equal(into, [DATA, DATA * 2])
    (x + 1).to_npy(tmp_path / "x.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), DATA + 1)


def test_checkpoints(cluster, tmp_path):
    pytest.importorskip("zarr")
    u = DATA[:200, :200]
    steps = {"k": 0.1, "boundary": "fixed", "checkpoint": tmp_path / "c", "checkpoint_every": 2}
    with pytest.raises(ZeroDivisionError):
        ga.iterate(heat, u, steps=6, callback=lambda step, u: 1 // (4 - step), every=4, **steps)
    got = ga.iterate(heat, u, steps=6, **steps).compute()
    with here():
        expected = ga.iterate(heat, u, steps=6, k=0.1, boundary="fixed").compute()
    np.testing.assert_array_equal(got, expected)


def test_events_are_told(cluster):
    events = []
    x = ga.random.default_rng(0).random((3000, 3000), chunks=500)
    with cluster.executor.events.heard_by([events.append]):
        x.sum().compute()
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunDone)
    done = [e for e in events if isinstance(e, TaskDone)]
    assert len(done) == sum(stage.tasks for stage in events[0].stages)


# Faults


def kill(cluster, number=0):
    """Kill a worker; returns its address."""
    worker = sorted(cluster.workers)[number]
    pid = cluster.client.run(os.getpid, workers=[worker])[worker]
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while worker in cluster.workers:  # dask's scheduler sees its socket close
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return worker


class KillAfter:
    """Kills a worker when so many tasks are done."""

    def __init__(self, cluster, tasks):
        self.cluster, self.tasks, self.killed = cluster, tasks, None

    def __call__(self, event):
        if isinstance(event, TaskDone):
            self.tasks -= 1
            if self.tasks == 0:
                self.killed = kill(self.cluster)


def test_a_worker_is_killed_during_a_run(cluster):
    x = ga.asarray(DATA, chunks=(100, 300))

    def make():
        return ga.iterate(heat, (x - x.mean()) / x.std(), steps=12, k=0.1, boundary="fixed", steps_per_visit=2)

    with here():
        expected = make().compute()
    killer = KillAfter(cluster, 7)
    with cluster.executor.events.heard_by([killer]):
        got = make().compute()
    assert killer.killed
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("tasks", [0, 2, 7])
def test_a_sort_picks_parts_of_what_other_workers_hold(cluster, tasks):
    """Also when one of them is killed, while runs are sorted or while they are merged."""
    a = np.random.default_rng(3).standard_normal(3_000_000)
    y = ga.sort(ga.asarray(a, chunks=250_000))
    done, killer = [], KillAfter(cluster, tasks)
    with cluster.executor.events.heard_by([killer, lambda event: done.append(isinstance(event, TaskDone))]):
        np.testing.assert_array_equal(y.compute(), np.sort(a))
    assert sum(done) >= 8
    assert bool(killer.killed) == bool(tasks)


def test_what_a_killed_worker_had_is_made_again(cluster):
    x = ga.asarray(DATA, chunks=(100, 300))
    y = (x - x.mean(axis=0)).persist()
    z = (y * 2).persist()
    del y
    kill(cluster)
    np.testing.assert_array_equal(z.compute(), both(lambda: (x - x.mean(axis=0)) * 2)[1])


def test_runs_of_several_threads_share_workers(cluster):
    """Also when a worker is killed, which both must hear of."""
    x = ga.asarray(DATA, chunks=(100, 300))
    makes = [
        lambda: ga.iterate(heat, x, steps=12, k=0.1, boundary="fixed", steps_per_visit=2),
        lambda: ga.iterate(heat, x * 2, steps=12, k=0.1, boundary="fixed", steps_per_visit=3).sum(axis=0),
    ]
    with here():
        expected = [make().compute() for make in makes]
    killer = KillAfter(cluster, 20)
    with cluster.executor.events.heard_by([killer]), ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(lambda make=make: make().compute()) for make in makes]
        got = [future.result(timeout=PATIENCE) for future in futures]
    assert killer.killed
    for a, b in zip(got, expected, strict=True):
        assert a.tobytes() == b.tobytes()
    assert not any(hand.sent for hand in cluster.executor.hands.values())


def test_a_subscriber_that_computes(cluster):
    x = ga.asarray(DATA, chunks=(100, 300))
    sums, left = [], 2

    def hear(event):
        nonlocal left
        if isinstance(event, TaskDone) and left:
            left -= 1
            sums.append((x + 1).sum().compute())

    with cluster.executor.events.heard_by([hear]):
        got = (x * 2).compute()
    np.testing.assert_array_equal(got, DATA * 2)
    assert sums == [both(lambda: (x + 1).sum())[1]] * 2


def test_orders_that_are_lost_on_the_way(cluster, monkeypatch):
    """Nothing comes back for them; they are sent again."""
    from distributed import Future

    submit, lost = cluster.executor.link.submit, []

    def lose_some(order, worker, done):
        if len(lost) < 2:
            lost.append(Future(order.name, cluster.client))
            return lost[-1]
        return submit(order, worker, done)

    monkeypatch.setattr(cluster.executor.link, "submit", lose_some)
    monkeypatch.setattr(cluster.executor.workers, "timeout", 0.2)
    x = ga.asarray(DATA, chunks=(100, 300))
    np.testing.assert_array_equal((x * 2).compute(), DATA * 2)
    assert len(lost) == 2


def test_a_run_that_nobody_performs_fails(cluster, monkeypatch):
    """A mistake in who does what must not end in waiting for ever."""
    monkeypatch.setattr("gpuarray.cluster.dispatch.STALLED", 1)
    monkeypatch.setattr("gpuarray.cluster.schedule.Schedule.take", lambda *_: [])
    with pytest.raises(ClusterError, match=r"internal error: no worker is told to do what is left: task 1 of"):
        (ga.asarray(DATA, chunks=(100, 300)) * 2).compute()


def test_workers_that_cannot_reach_each_other(cluster):
    def deaf(plugins, dask_worker):
        for name in plugins:
            dask_worker.plugins[name].store.peers = lambda asked: dict.fromkeys(asked)

    def hearing(plugins, dask_worker):
        for name in plugins:
            dask_worker.plugins[name].store.peers = dask_worker.plugins[name]._ask

    name = [cluster.executor.name]
    x = ga.random.default_rng(0).random((2000, 2000), chunks=(250, 2000)).persist()
    assert all(s["chunks"] for s in cluster.statistics().values())
    expected = x.compute() + x.compute()[::-1]
    cluster.client.run(deaf, name)
    try:
        with pytest.raises(ClusterError, match=r"cannot get chunks from .* see that workers can reach each other"):
            (x + x[::-1]).compute()
    finally:
        cluster.client.run(hearing, name)
    np.testing.assert_array_equal((x + x[::-1]).compute(), expected)


def test_results_that_do_not_go_into_one_answer(cluster):
    def most(nbytes):
        from gpuarray.cluster import plugin

        before, plugin._MOST_RESULTS = plugin._MOST_RESULTS, nbytes
        return before

    before = cluster.client.run(most, 100)
    x = ga.map_blocks(lambda b: b + 1, ga.arange(6000.0, chunks=10), dtype=np.float64)
    try:
        for _ in range(2):  # so that orders have several tasks
            np.testing.assert_array_equal(x.compute(), np.arange(1.0, 6001.0))
    finally:
        cluster.client.run(most, next(iter(before.values())))


def test_dask_pauses_no_worker(cluster):
    def fraction(dask_worker):
        return dask_worker.memory_manager.memory_pause_fraction

    assert set(cluster.client.run(fraction).values()) == {False}


def test_an_array_that_changed_cannot_be_used_again(cluster):
    a = DATA.copy()
    y = (ga.asarray(a, chunks=(100, 900)) + 1).persist()
    expected = DATA + 1
    a[...] = 0
    for number in range(2):
        cluster.client.wait_for_workers(2, timeout=PATIENCE)
        kill(cluster, number)
    try:
        np.testing.assert_array_equal(y.compute(), expected)  # the workers that were killed had none of it
    except TaskError as error:
        assert "was changed" in str(error)  # noqa: PT017  # both are right; zeros would not be


def test_a_function_that_ends_its_worker(cluster):
    def deadly(block):
        os._exit(1)

    x = ga.map_blocks(deadly, ga.ones((4, 4), chunks=4), dtype=np.float64)
    retries, cluster.executor.retries = cluster.executor.retries, 0
    try:
        with pytest.raises(ClusterError, match=r"1 workers died while they performed task 1 of map_blocks\(deadly\)"):
            x.compute()
    finally:
        cluster.executor.retries = retries
    cluster.client.wait_for_workers(2, timeout=PATIENCE)
    assert ga.ones((4, 4), chunks=2).sum().compute() == 16


def test_a_worker_out_of_memory_fails_its_task_alone(cluster):
    def hungry(block):
        return np.ones(1 << 44)

    x = ga.map_blocks(hungry, ga.ones((4, 4), chunks=4), dtype=np.float64)
    with pytest.raises(MemoryError) as caught:
        x.compute()
    notes = " ".join(caught.value.__notes__)
    assert "map_blocks(hungry)" in notes
    assert "reserved" in notes
    assert ga.ones((4, 4), chunks=2).sum().compute() == 16


def test_a_task_that_cannot_fit_is_refused(cluster):
    x = ga.map_blocks(lambda b: b + 1, ga.ones((6000, 6000), chunks=6000), dtype=np.float64)
    with pytest.raises(MemoryLimitError):
        x.compute()


def test_functions_that_cannot_be_sent(cluster):
    lock = threading.Lock()
    x = ga.map_blocks(lambda b: b + bool(lock), ga.ones((4, 4), chunks=4), dtype=np.float64)
    with pytest.raises(TaskError, match="cannot be sent to other processes"):
        x.compute()


def test_an_error_that_cannot_be_pickled(cluster):
    def fail(block):
        error = LookupError("no such thing")
        error.lock = threading.Lock()
        raise error

    x = ga.map_blocks(fail, ga.ones((4, 4), chunks=4), dtype=np.float64)
    with pytest.raises(Exception, match="no such thing"):
        x.compute()
    assert ga.ones((4, 4), chunks=2).sum().compute() == 16


def test_tasks_that_compute_themselves(cluster):
    def nested(block):
        return ga.asarray(block).sum(axis=0, keepdims=True).compute() + block

    x = ga.map_blocks(nested, ga.ones((8, 4), chunks=4), dtype=np.float64)
    np.testing.assert_array_equal(x.compute(), np.full((8, 4), 5.0))


def test_two_contexts_share_workers(cluster):
    y = (ga.asarray(DATA, chunks=(100, 300)) * 2).persist()
    with Cluster(cluster.client, host_memory="32 MiB") as other:
        assert active.current() is other
        np.testing.assert_array_equal((y + 1).compute(), DATA * 2 + 1)
        z = (y * 2).persist()
    assert active.current() is cluster
    np.testing.assert_array_equal(y.compute(), DATA * 2)
    with pytest.raises(ClusterError):
        z.compute()


def test_plans_are_small_beside_their_data():
    """What goes to each worker does not hold the user's arrays."""
    x = ga.asarray(np.zeros((2000, 2000)), chunks=100)
    from gpuarray.plan.build import build
    from gpuarray.plan.elsewhere import Elsewhere

    plan = build(
        [(x + 1).sum(axis=0).node], [None], 1 << 30, 2, lambda *_: False, 0, None, Elsewhere(1, None, lambda r: None)
    )
    assert len(dumps(plan.portable(), [])) < 50_000
    assert plan.given


# Opening and closing


def test_a_closed_cluster_and_a_lost_scheduler():
    from distributed import LocalCluster

    local = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0")
    cluster = Cluster(local, timeout=30)
    try:
        y = (ga.asarray(DATA, chunks=(100, 300)) * 2).persist()
        assert "1 workers" in repr(cluster)
        local.close()
        with pytest.raises(ClusterError, match=r"scheduler at .* is gone"):
            y.compute()
        with pytest.raises(ClusterError, match="is gone"):
            (ga.asarray(DATA, chunks=(100, 300)) + 1).compute()
    finally:
        cluster.close()
    cluster.close()
    assert repr(cluster) == "<Cluster: closed>"
    assert active.current() is None
    with pytest.raises(ClusterError, match="closed"):
        cluster.__enter__()
    assert ga.ones(3).sum().compute() == 3


BAD = {
    "n_workers=0": {"n_workers": 0},
    "n_workers=True": {"n_workers": True},
    "threads_per_worker=-1": {"threads_per_worker": -1},
    "timeout=-1": {"timeout": -1},
    "timeout=nan": {"timeout": float("nan")},
    "retries=-1": {"retries": -1},
    "device='cuda:99'": {"device": "cuda:99"},
    "device='gpu'": {"device": "gpu"},
    "host_memory='10 bananas'": {"host_memory": "10 bananas"},
    "device_memory=-1": {"device_memory": -1},
    "dashboard=5": {"dashboard": 5},
    "dashboard=':99999999'": {"dashboard": ":99999999"},
    "did you mean n_workers=?": {"nworkers": 3},
    "no_such= is no argument": {"no_such": 3},
    "'not an address!'": {"target": "not an address!"},
    "'tcp://127.0.0.1'": {"target": "tcp://127.0.0.1"},
    "target and file": {"target": "127.0.0.1:1", "scheduler_file": "x.json"},
    "for workers that are started": {"target": "127.0.0.1:1", "n_workers": 2},
    "is not encrypted": {"target": "tcp://10.0.0.5:8786"},
    "needs credentials": {"target": "tls://10.0.0.5:8786"},
    "3": {"target": 3},
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name):
    with pytest.raises(ConfigError, match=re.escape(name) if "=" in name else None):
        Cluster(**BAD[name])
    assert active.current() is None


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nobody_answers():
    with pytest.raises(ClusterError, match=r"no scheduler answers at tcp://127\.0\.0\.1:1 within 0\.5 s"):
        Cluster("127.0.0.1:1", timeout=0.5)


def test_tls(tmp_path):
    pytest.importorskip("cryptography")
    from distributed import Security

    security = Security.temporary()
    with Cluster(n_workers=1, threads_per_worker=1, dashboard=False, security=security, device="cpu") as cluster:
        assert cluster.executor.link.address.startswith("tls://127.0.0.1:")
        assert all(worker.startswith("tls://") for worker in cluster.workers)
        np.testing.assert_array_equal((ga.asarray(DATA, chunks=100) * 2).compute(), DATA * 2)
        with pytest.raises(ClusterError, match="no scheduler answers"):
            Cluster(cluster.executor.link.address, security=Security.temporary(), timeout=1)


def test_scheduler_files(tmp_path):
    with pytest.raises(ClusterError, match="there is no scheduler file"):
        Cluster(scheduler_file=tmp_path / "none.json")
    bad = tmp_path / "bad.json"
    bad.write_text("[]")
    with pytest.raises(ClusterError, match="is no scheduler file"):
        Cluster(scheduler_file=bad)


def test_an_executor_setting_that_is_none():
    with pytest.raises(ConfigError, match="has no method submit"):
        config.set(executor=3)
    with pytest.raises(ConfigError, match="single-threaded"):
        config.set(scheduler="banana")
