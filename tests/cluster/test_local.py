"""LocalExecutor: the contract of every executor, limits, failures, interrupts, nesting, forks."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import random
import signal
import sys
import threading
import time
import weakref
from functools import partial

import numpy as np
import psutil
import pytest

from gpuarray.cluster.events import Dropped, MemoryState, RunDone, RunFailed, RunStarted, TaskDone, TaskStarted
from gpuarray.cluster.local import LocalExecutor
from gpuarray.cluster.pool import ThreadCache
from gpuarray.cluster.task import Result
from gpuarray.cluster.testing import ExecutorTests, ListPlan, mix_expected, mix_plan, task
from gpuarray.kernels import backends
from gpuarray.kernels.errors import ConfigError, DeviceMemoryError, MemoryLimitError, SpillError

THREADS = [1, 2, 5]


class TestLocal(ExecutorTests):
    def make(self, **options):
        return LocalExecutor(backends.get("numpy"), threads=2, **options)


class TestLocalWithinLimits(ExecutorTests):
    """Any test of the contract fits in a few kilobytes, with a disk."""

    @pytest.fixture(autouse=True)
    def _folder(self, spill):
        self.folder = spill

    def make(self, **options):
        return LocalExecutor(backends.get("numpy"), threads=2, host_limit=48_000, directory=self.folder, **options)


def is_clean(executor):
    return (
        all(tier.held == tier.reserved == 0 for tier in executor.memory.states()) and not executor.memory._ledger.runs
    )


def random_graph(seed, count=60, most=400, inputs=3):
    rng = random.Random(seed)
    sizes = [rng.randint(0, most) for _ in range(count)]
    edges = [tuple(rng.sample(range(i), min(i, rng.randint(0, inputs)))) for i in range(count)]
    return sizes, edges


def largest_task(sizes, edges):
    return max(8 * (size + sum(sizes[s] for s in sources)) for size, sources in zip(sizes, edges, strict=True))


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("slack", [0, 1000])
def test_random_graphs_in_the_least_memory(host, spill, seed, threads, slack):
    sizes, edges = random_graph(seed)
    limit = largest_task(sizes, edges) + slack
    executor = LocalExecutor(host, host_limit=limit, directory=spill, threads=threads)
    kept = executor.run(mix_plan(sizes, edges, kept=[len(sizes) - 1]))
    np.testing.assert_array_equal(kept[0, 0, len(sizes) - 1][0], mix_expected(sizes, edges)[-1])
    assert executor.memory.states()[0].peak <= limit
    del kept
    assert is_clean(executor)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("seed", range(4))
def test_one_byte_less_is_refused_with_the_numbers(host, spill, seed, threads):
    sizes, edges = random_graph(seed)
    executor = LocalExecutor(host, host_limit=largest_task(sizes, edges) - 1, directory=spill, threads=threads)
    with pytest.raises(MemoryLimitError, match=r"are needed at once in host memory, of which .* may be used") as caught:
        executor.run(mix_plan(sizes, edges))
    assert "in stage0, task" in caught.value.__notes__[0]
    assert is_clean(executor)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("seed", range(6))
def test_three_tiers(device, spill, seed, threads):
    sizes, edges = random_graph(seed)
    limit = largest_task(sizes, edges)
    device.limit = limit  # the device itself refuses what the books would miss
    host_limit = 8 * max(sizes)
    executor = LocalExecutor(device, device_limit=limit, host_limit=host_limit, directory=spill, threads=threads)
    wanted = len(sizes) - 1
    kept = executor.run(mix_plan(sizes, edges, kept=[wanted]))
    np.testing.assert_array_equal(kept.on_host((0, 0, wanted))[0], mix_expected(sizes, edges)[-1])
    np.testing.assert_array_equal(device.to_host(kept[0, 0, wanted][0]), mix_expected(sizes, edges)[-1])
    tiers = {tier.name: tier for tier in executor.memory.states()}
    assert device.peak <= limit
    assert tiers["device"].peak <= limit
    assert tiers["host"].peak <= host_limit
    assert tiers["host"].moves_in > 0
    del kept
    gc.collect()
    assert is_clean(executor)
    assert device.live == 0


@pytest.mark.parametrize("threads", THREADS)
def test_three_tiers_on_the_fake_device(spill, threads):
    fake = pytest.importorskip("gpuarray.kernels.backends.fake")
    sizes, edges = random_graph(11)
    limit = largest_task(sizes, edges)
    device = fake.Fake(limit)
    executor = LocalExecutor(device, device_limit=limit, host_limit=8 * max(sizes), directory=spill, threads=threads)
    kept = executor.run(mix_plan(sizes, edges, kept=[59]))
    np.testing.assert_array_equal(device.to_host(kept[0, 0, 59][0]), mix_expected(sizes, edges)[-1])
    del kept
    assert is_clean(executor)
    gc.collect()
    assert device.counters.used_nbytes == 0
    assert limit / 2 < device.counters.peak_nbytes <= limit


def test_without_a_disk_what_fits_in_order_fits_in_threads(host):
    """A pair of chunks and their reader, many times: made out of order, the chunks would fill the memory."""
    edges, sizes = [], []
    for n in range(40):
        edges += [(), (), (3 * n, 3 * n + 1)]
        sizes += [100, 100, 1]
    limit = 8 * (100 + 100 + 1) + 8 * 40
    for threads in (1, 2, 4):
        executor = LocalExecutor(host, host_limit=limit, threads=threads)
        executor.run(mix_plan(sizes, edges, kept=range(2, 120, 3)))
        assert executor.memory.states()[0].peak <= limit


def test_without_a_disk_the_refusal_says_that_a_disk_would_help(host):
    executor = LocalExecutor(host, host_limit=8 * 150, threads=2)
    with pytest.raises(MemoryLimitError, match=r"held by chunks that are still wanted.*set spill_directory"):
        executor.run(mix_plan([100] * 12, [()] * 12, kept=range(12)))
    assert is_clean(executor)


def test_a_full_disk_fails_with_the_numbers_and_loses_nothing(host, spill, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gpuarray.cluster.disk._write", full)
    executor = LocalExecutor(host, host_limit=8 * 150, directory=spill, threads=2)
    with pytest.raises(SpillError, match=r"are needed in host memory.*nothing more could be spilled.*is full"):
        executor.run(mix_plan([100] * 12, [()] * 12, kept=range(12)))
    assert is_clean(executor)
    # what fits without the disk runs on
    executor.run(mix_plan([20] * 12, [()] + [(i,) for i in range(11)]))


def test_what_is_kept_may_be_larger_than_memory(host, spill):
    executor = LocalExecutor(host, host_limit=8 * 300, directory=spill, threads=2)
    kept = executor.run(mix_plan([100] * 12, [()] * 12, kept=range(12)))
    assert len(kept) == len(list(kept)) == 12
    for _ in range(2):
        for i in range(12):
            np.testing.assert_array_equal(kept[0, 0, i][0], np.arange(100.0) + i)
    assert executor.memory.states()[0].held <= 8 * 300
    with pytest.raises(KeyError):
        kept[0, 0, 99]
    # another run makes what is kept give way
    executor.run(mix_plan([100] * 12, [()] + [(i,) for i in range(11)]))
    del kept
    assert is_clean(executor)


def test_the_reserve_of_a_run_counts(host):
    executor = LocalExecutor(host, host_limit=1000, threads=2)
    plan = ListPlan([task((0, n), work=400, load=1) for n in range(10)], reserved_nbytes=500)
    executor.run(plan)
    assert executor.memory.states()[0].peak <= 1000
    with pytest.raises(MemoryLimitError, match="are needed at once"):
        executor.run(ListPlan([task((0, 0), work=501)], reserved_nbytes=500))
    with pytest.raises(MemoryLimitError, match="are needed at once"):
        executor.run(ListPlan([], reserved_nbytes=1001))
    assert is_clean(executor)


def test_two_runs_that_block_each_other_do_not_hang(host):
    """Each holds a result and waits for the other's: one must fail, and then the other goes on."""
    executor = LocalExecutor(host, host_limit=1000, threads=1)
    both = threading.Barrier(2)
    outcomes = []

    def run():
        first = task((0, 0), load=1, loader=lambda: both.wait(60) and [])
        plan = ListPlan([first, *(task((0, n), load=1, work=400) for n in range(1, 4))], reserved_nbytes=400)
        try:
            executor.run(plan)
            outcomes.append("done")
        except MemoryLimitError:
            outcomes.append("refused")

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) in (["done", "refused"], ["done", "done"])
    assert is_clean(executor)


def test_tasks_start_in_order_when_nothing_holds_them_up(host):
    started = []
    executor = LocalExecutor(host, threads=2)

    def note(event):
        if isinstance(event, TaskStarted):
            started.append(event.key[1])

    executor.run(ListPlan([task((0, n), load=1) for n in range(200)]), [note])
    assert sorted(started) == list(range(200))
    # a thread may be overtaken between its admission and its first line, by the other threads only
    assert all(abs(place - number) <= 4 for place, number in enumerate(started))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_only_so_many_compute_at_once_and_reading_overlaps(host, threads):
    now, most, during = {"run": 0, "load": 0}, {"run": 0, "load": 0}, []
    changed, end = threading.Condition(), time.monotonic() + 60

    def wait_for(condition):
        changed.notify_all()
        changed.wait_for(condition, timeout=max(0, end - time.monotonic()))

    @contextlib.contextmanager
    def phase(name):
        with changed:
            now[name] += 1
            most[name] = max(most[name], now[name])
            yield
        time.sleep(0.001)  # one that is too many would come now
        with changed:
            now[name] -= 1

    def load(n):
        with phase("load"):
            if n >= threads:
                wait_for(lambda: now["run"])
                during.append(now["run"])
                changed.notify_all()
        return []

    def run(*_):
        with phase("run"):
            wait_for(lambda: most["run"] >= threads and during)
        return Result()

    LocalExecutor(host, threads=threads).run(
        ListPlan([task((0, n), load=1, loader=partial(load, n), function=run) for n in range(30)])
    )
    assert most["run"] == threads
    assert most["load"] <= 2 * threads
    assert any(during)


def test_a_hundred_thousand_tasks_in_constant_memory(host):
    executor = LocalExecutor(host, threads=2, host_limit=1 << 20)

    def plan(count):
        def tasks():
            for n in range(count):
                inputs = [(0, 0, n - 1)] if n % 2 else []
                outputs = {} if n % 2 else {(0, 0, n): 8}
                made = {key: (np.zeros(1),) for key in outputs}
                yield task((0, n), inputs, outputs, function=lambda *_, made=made: Result(made))

        return ListPlan(tasks, readers=lambda key: 1)

    def grown():
        before = psutil.Process().memory_info().rss
        executor.run(plan(50_000))
        return psutil.Process().memory_info().rss - before

    executor.run(plan(2000))
    assert min(grown(), grown()) < 4_000_000  # the less: what is kept for each task would grow every time
    assert is_clean(executor)


def test_chunks_are_dropped_after_the_last_reader_and_never_held_unread(host):
    alive = []

    def make(n):
        def function(backend, loaded, chunks):
            array = np.zeros(1000)
            alive.append(weakref.ref(array))
            return Result({(0, 0, n): (array,)})

        return function

    def look(*_):
        return Result({(0, 0, 9): (np.array([sum(ref() is not None for ref in alive)]),)})

    tasks = [
        task((0, 0), outputs={(0, 0, 0): 8000}, function=make(0)),
        task((0, 1), [(0, 0, 0)], outputs={(0, 0, 1): 8000}, function=make(1)),
        task((0, 2), [(0, 0, 1)], outputs={(0, 0, 2): 8000}, function=make(2)),  # nobody reads 2
        task((0, 3), [], outputs={(0, 0, 9): 8}, function=look),
    ]
    kept = LocalExecutor(host, threads=1).run(ListPlan(tasks, [(0, 0, 9)]))
    assert kept[0, 0, 9][0] == 0


def test_views_do_not_keep_more_than_they_are_counted_for(host):
    bases = []

    def view(*_):
        base = np.arange(10_000.0)
        bases.append(weakref.ref(base))
        return Result({(0, 0, 0): (base[:10],)})

    kept = LocalExecutor(host).run(
        ListPlan([task((0, 0), outputs={(0, 0, 0): 80}, work=80_000, function=view)], [(0, 0, 0)])
    )
    assert bases[0]() is None
    np.testing.assert_array_equal(kept[0, 0, 0][0], np.arange(10.0))


def test_a_kept_chunk_is_not_the_users_array(host):
    mine = np.arange(10.0)
    whole = task(
        (0, 0),
        outputs={(0, 0, 0): 80},
        loader=lambda: [mine[:]],
        function=lambda _, loaded, __: Result({(0, 0, 0): (loaded[0],)}),
    )
    kept = LocalExecutor(host).run(ListPlan([whole], [(0, 0, 0)]))
    mine[:] = -1
    np.testing.assert_array_equal(kept[0, 0, 0][0], np.arange(10.0))


class TestNested:
    """A task that runs a plan."""

    @pytest.mark.parametrize("threads", THREADS)
    @pytest.mark.parametrize("limit", [None, 10_000])
    def test_on_the_same_executor(self, host, spill, threads, limit):
        executor = LocalExecutor(host, threads=threads, host_limit=limit, directory=spill)

        def inner(*_):
            kept = executor.run(mix_plan([50, 50, 50], [(), (0,), (0, 1)], kept=[2]))
            return Result({}, ()) if kept[0, 0, 2][0].size == 50 else None

        executor.run(ListPlan([task((0, n), load=1, work=3000, function=inner) for n in range(20)]))
        assert is_clean(executor)

    def test_back_and_forth_between_two_executors(self, host):
        one, two = (LocalExecutor(host, threads=1) for _ in range(2))
        plan = mix_plan([1] * 20, [()] * 20, kept=[0])

        def inner(*_):
            assert one.run(plan)[0, 0, 0]
            return Result()

        def outer(*_):
            two.run(ListPlan([task((0, n), load=1, function=inner) for n in range(10)]))
            return Result()

        one.run(ListPlan([task((0, n), load=1, function=outer) for n in range(10)]))

    def test_in_threads_of_the_task(self, host):
        executor = LocalExecutor(host, threads=1)
        plan = mix_plan([1] * 20, [()] * 20)

        def spawn(*_):
            thread = threading.Thread(target=executor.run, args=(plan,))
            thread.start()
            thread.join(60)
            assert not thread.is_alive()
            return Result()

        executor.run(ListPlan([task((0, n), load=1, function=spawn) for n in range(5)]))

    def test_an_error_inside_is_noted_at_every_level(self, host):
        executor = LocalExecutor(host, threads=2)

        def fail(*_):
            raise LookupError("deep")

        def inner(*_):
            executor.run(ListPlan([task((0, n), load=1, function=fail) for n in range(3)]))

        with pytest.raises(LookupError) as caught:
            executor.run(ListPlan([task((1, n), load=1, function=inner) for n in range(3)]))
        assert [note.split(",")[0] for note in caught.value.__notes__] == ["in stage0", "in stage1"]


class TestInterrupts:
    """Ctrl-C."""

    @pytest.mark.parametrize("limit", [None, 8 * 1000])
    def test_in_the_middle_of_a_run(self, host, spill, limit):
        executor = LocalExecutor(host, threads=2, host_limit=limit, directory=spill)
        done = []

        def interrupt(n):
            def function(*_):
                if n == 30:
                    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                time.sleep(0.002)
                done.append(n)
                return Result({(0, 0, n): (np.zeros(100),)})

            return function

        plan = ListPlan(
            [task((0, n), outputs={(0, 0, n): 800}, function=interrupt(n)) for n in range(3000)],
            [(0, 0, n) for n in range(3000)],
        )
        with pytest.raises(KeyboardInterrupt):
            executor.run(plan)
        assert len(done) < 1500
        assert is_clean(executor)
        count = len(done)
        time.sleep(0.02)
        assert len(done) == count  # nothing runs on

    @pytest.mark.parametrize("kind", ["host", "device", "device with pinned memory"])
    def test_at_every_call_of_the_bookkeeping(self, host, device, spill, kind):
        """Where plans run in the caller's thread, Ctrl-C can strike anywhere."""
        sizes, edges = random_graph(3, count=8, most=60)
        limit = largest_task(sizes, edges)
        room = 17_000 if "pinned" in kind else 8 * max(sizes)
        limits = {"host_limit": limit} if kind == "host" else {"device_limit": limit, "host_limit": room}
        backend = host if kind == "host" else device
        rng, line = random.Random(7), 0
        while True:
            executor = LocalExecutor(backend, threads=1, directory=spill, **limits)
            survivor = executor.run(mix_plan([5], [()], kept=[0]))
            line += rng.randint(1, 15)
            struck = strike_at_call(line, lambda executor=executor: executor.run(mix_plan(sizes, edges)))
            if not struck:
                break
            assert executor.memory._lock.acquire(timeout=1), line
            executor.memory._lock.release()
            check_books(executor.memory._ledger)
            np.testing.assert_array_equal(backend.to_host(survivor[0, 0, 0][0]), np.arange(5.0))
            executor.run(mix_plan(sizes, edges))
            del survivor
            assert is_clean(executor), line
        assert line > 300


def strike_at_call(number, function):
    """Call a function and raise KeyboardInterrupt in it where the interpreter looks for signals: as a function of
    the executor's modules starts, and as a C function returns to one. `number` says at which of these places."""
    modules = {"running.py", "memory.py", "ledger.py", "tiers.py", "window.py", "buffers.py", "disk.py"}
    modules |= {"transfer.py", "staging.py"}
    seen = 0

    def profile(frame, event, _):
        nonlocal seen
        if event in ("call", "c_return") and os.path.basename(frame.f_code.co_filename) in modules:
            while frame is not None:
                if frame.f_code.co_name in ("abandon", "close_run", "forget", "__del__"):  # Python loses it in the last
                    return
                frame = frame.f_back
            seen += 1
            if seen == number:
                sys.setprofile(None)
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        function()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


def check_books(ledger):
    before = [(tier.held, tier.reserved) for tier in ledger.tiers]
    ledger.sum_up()
    assert before == [(tier.held, tier.reserved) for tier in ledger.tiers]


def test_a_failure_cancels_the_rest_and_waits_for_what_runs(host, spill):
    executor = LocalExecutor(host, threads=2, host_limit=8 * 1000, directory=spill)
    ended = []

    def function(n):
        def run(*_):
            if n == 40:
                raise OSError("the source is gone")
            time.sleep(0.001)
            ended.append(n)
            return Result({(0, 0, n): (np.zeros(100),)})

        return run

    plan = ListPlan(
        [task((0, n), outputs={(0, 0, n): 800}, function=function(n)) for n in range(2000)],
        [(0, 0, n) for n in range(2000)],
    )
    with pytest.raises(OSError, match="the source is gone"):
        executor.run(plan)
    assert len(ended) < 100
    assert is_clean(executor)


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, StopIteration, KeyboardInterrupt])
def test_strange_exceptions_come_through(host, error):
    def fail(*_):
        raise error

    with pytest.raises(error):
        LocalExecutor(host, threads=2).run(ListPlan([task((0, n), load=1, function=fail) for n in range(20)]))


def test_a_device_that_runs_out_is_relieved_once(device, spill):
    failures = []

    def flaky(limit):
        def function(*_):
            if len(failures) < limit:
                failures.append(1)
                raise MemoryError("fragmented")
            return Result()

        return function

    executor = LocalExecutor(device, threads=1, device_limit=10_000, directory=spill)
    held = executor.run(mix_plan([100], [()], kept=[0]))
    executor.run(ListPlan([task((0, 0), function=flaky(1))]))
    assert executor.memory.states()[0].held == 0  # the chunk went to the host
    failures.clear()
    with pytest.raises(DeviceMemoryError, match="device memory ran out twice"):
        executor.run(ListPlan([task((0, 0), function=flaky(2))]))
    assert held[0, 0, 0]
    del held


def test_a_users_memory_error_on_the_host_keeps_its_type(host):
    def fail(*_):
        raise MemoryError("cannot allocate")

    with pytest.raises(MemoryError, match="cannot allocate") as caught:
        LocalExecutor(host).run(ListPlan([task((0, 0), function=fail)]))
    assert not isinstance(caught.value, DeviceMemoryError)


def test_the_callers_errstate_holds_in_tasks(host):
    def divide(*_):
        np.ones(1) / np.zeros(1)

    plan = ListPlan([task((0, n), load=1, function=divide) for n in range(20)])
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        LocalExecutor(host, threads=2).run(plan)


def test_events_of_a_run(host):
    heard = []
    executor = LocalExecutor(host, threads=2)
    executor.run(mix_plan([5] * 20, [()] + [(i,) for i in range(19)]), [heard.append])
    kinds = [type(event) for event in heard]
    assert kinds[0] is RunStarted
    assert kinds[-1] is RunDone
    assert kinds.count(TaskStarted) == kinds.count(TaskDone) == 20
    assert kinds.count(Dropped) == 19
    assert MemoryState in kinds
    assert len({event.run for event in heard}) == 1
    heard.clear()
    executor.run(mix_plan([5], [()]))
    assert heard == []
    with pytest.raises(ZeroDivisionError):
        executor.run(ListPlan([task((0, 0), function=lambda *_: 1 / 0)]), [heard.append])
    assert isinstance(heard[-1], RunFailed)
    assert heard[-1].error == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("count", [1, 30])
def test_a_subscriber_that_raises_does_not_break_the_run(host, count):
    def broken(event):
        raise ValueError("no display")

    with pytest.warns(RuntimeWarning, match="no display") as warned:
        LocalExecutor(host, threads=2).run(ListPlan([task((0, n), load=1) for n in range(count)]), [broken])
    assert len(warned) == 1


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": True}, {"host_limit": -1}, {"device_limit": 1.5}])
def test_bad_options_are_refused(host, options):
    with pytest.raises(ConfigError, match="is not a positive integer"):
        LocalExecutor(host, **options)


def test_a_fork_can_run_plans(host, spill):
    executor = LocalExecutor(host, threads=2, host_limit=8 * 300, directory=spill)
    plan = mix_plan([100] * 20, [()] * 20, kept=range(20))
    kept = executor.run(plan)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            again = executor.run(plan)
            ok = all(mapping[0, 0, i][0][0] == i for mapping in (kept, again) for i in range(20))
            del again, kept
            code = 0 if ok else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for i in range(20):
        assert kept[0, 0, i][0][0] == i
    del kept


def test_overheads_are_small(host, monkeypatch):
    """Calls, which are the same on any machine; the benchmarks measure times."""
    threads = ThreadCache("counted")  # new ones
    monkeypatch.setattr("gpuarray.cluster.crew.THREADS", threads)
    executor = LocalExecutor(host, threads=2, host_limit=1 << 30)
    one = ListPlan([task((0, 0))])
    many = ListPlan([task((0, n), load=1) for n in range(3000)])
    assert 50 < calls(lambda: executor.run(one)) < 150  # 91
    assert 20 < calls(lambda: executor.run(many)) / 3000 < 90  # 57
    threads.close()


def calls(function):
    """Functions of Python's that are called, in all threads."""
    counted = itertools.count()

    def profile(frame, event, _):
        if event == "call":
            next(counted)

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return next(counted)


@pytest.mark.parametrize(("elements", "here"), [(0, True), (10**9, False)])
def test_a_few_tasks_that_take_little_memory_may_be_much_work(host, elements, here):
    seen = set()

    def where(*_):
        seen.add(threading.get_ident())
        return Result()

    plan = ListPlan([task((0, n), work=100, function=where) for n in range(3)])
    plan.elements = elements
    LocalExecutor(host, threads=2).run(plan)
    assert (threading.get_ident() in seen) == here
