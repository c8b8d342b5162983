"""Schedule: whatever dies, every task finds its inputs, everything is done, and nothing is left behind."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from gpuarray.cluster.schedule import Record, Schedule, describe
from gpuarray.cluster.task import Part, StageInfo
from gpuarray.cluster.testing import ListPlan, mix_plan, task
from gpuarray.kernels.errors import TaskError


def record_of(plan, name="run", given=None):
    return Record(name, plan.portable(), b"", [], given or {}, frozenset(plan.kept), {s.number: s for s in plan.stages})


class Cluster:
    """Workers that are played: they hold names of chunks, and die when they are told to."""

    def __init__(self, count, seed):
        self.rng = random.Random(seed)
        self.alive = [f"w{n}" for n in range(count)]
        self.names = iter(f"x{n}" for n in range(10_000))
        self.held = {worker: set() for worker in self.alive}
        self.records = []
        self.kills = 0
        self.performed = []

    def perform(self, job, worker):
        for home, key in job.refs:
            at = home.places[key]
            assert at in self.alive, "a task was told of a worker that is dead"
            assert (home.name, key) in self.held[at], "a task reads a chunk that is not where it should be"
        self.performed.append((job.record.name, job.task.key))
        for key, _ in job.task.outputs:
            self.held[worker].add((job.record.name, key))

    def drop(self, schedule):
        for worker, keys in schedule.drops.items():
            for key in keys:
                self.held[worker].discard(key)
        schedule.drops.clear()

    def kill(self, schedule):
        worker = self.rng.choice(self.alive)
        self.alive.remove(worker)
        del self.held[worker]
        schedule.gone(worker, self.records, 1)
        new = next(self.names)
        self.alive.append(new)
        self.held[new] = set()
        schedule.joined(new)

    def run(self, schedule, kill=0.0):
        flying = []
        for worker in self.alive:
            schedule.joined(worker)
        for _ in range(100_000):
            schedule.extend()
            if schedule.finished():
                assert not flying
                self.drop(schedule)
                return
            for worker in self.alive:
                flying += [(worker, job) for job in schedule.take(worker, self.rng.randint(0, 2))]
            if self.kills < 20 and self.rng.random() < kill:
                self.kills += 1
                self.kill(schedule)
                flying = [(worker, job) for worker, job in flying if worker in self.alive]
            if flying:
                worker, job = flying.pop(self.rng.randrange(len(flying)))
                if all(key in home.places for home, key in job.refs):
                    self.perform(job, worker)
                    schedule.done(job)
                else:  # its input died after it was told
                    schedule.retry([job])
                self.drop(schedule)
        pytest.fail("it never ends")


def graph(seed, count=50):
    rng = random.Random(seed)
    sizes = [rng.randint(1, 9) for _ in range(count)]
    edges = [tuple(rng.sample(range(i), min(i, rng.randint(0, 3)))) for i in range(count)]
    return sizes, edges, rng.sample(range(count), 5)


@pytest.mark.parametrize("kill", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("seed", range(6))
def test_every_task_is_done_and_only_what_is_kept_is_left(seed, workers, kill):
    sizes, edges, kept = graph(seed)
    plan = mix_plan(sizes, edges, kept=kept)
    record, cluster = record_of(plan), Cluster(workers, seed)
    cluster.records.append(record)
    cluster.run(Schedule(record, plan, 16), kill)
    assert {key for _, key in cluster.performed} == {(0, n) for n in range(len(sizes))}
    left = {key for held in cluster.held.values() for key in held}
    assert left == {("run", (0, 0, n)) for n in kept}
    assert set(record.places) == {(0, 0, n) for n in kept}
    assert all(("run", key) in cluster.held[at] for key, at in record.places.items())
    if not kill:
        assert len(cluster.performed) == len(sizes)
        assert not record.readers


@pytest.mark.parametrize("seed", range(6))
def test_chunks_of_earlier_runs_are_made_again(seed):
    sizes, edges, kept = graph(seed, 20)
    first_plan = mix_plan(sizes, edges, kept=kept)
    first, cluster = record_of(first_plan, "first"), Cluster(2, seed)
    cluster.records.append(first)
    cluster.run(Schedule(first, first_plan, 16))
    again = ListPlan(
        [task((7, n), [(0, 0, k)], {(7, 0, n): 8}) for n, k in enumerate(kept)], [(7, 0, n) for n in range(len(kept))]
    )
    second = record_of(again, "second", {0: first})
    cluster.records.append(second)
    schedule = Schedule(second, again, 16)
    for worker in list(cluster.alive):
        schedule.joined(worker)
    cluster.kill(schedule)
    cluster.run(schedule, 0.1)
    left = {key for held in cluster.held.values() for key in held}
    assert {("second", (7, 0, n)) for n in range(len(kept))} <= left
    # what was lost of the first run is there again where the second has read it; nothing else of it is
    assert {key for name, key in left if name == "first"} <= {(0, 0, n) for n in kept}


def test_a_forgotten_run_is_made_again_and_forgotten():
    first_plan = mix_plan([3, 4], [(), (0,)], kept=[1])
    first, cluster = record_of(first_plan, "first"), Cluster(1, 0)
    cluster.records.append(first)
    cluster.run(Schedule(first, first_plan, 4))
    second_plan = ListPlan([task((5, 0), [(0, 0, 1)], {(5, 0, 0): 8})], [(5, 0, 0)])
    second = record_of(second_plan, "second", {0: first})
    cluster.records.append(second)
    cluster.run(Schedule(second, second_plan, 4))
    first.held = False  # nobody refers to it any more
    first.places.clear()
    cluster.held = {worker: {key for key in held if key[0] != "first"} for worker, held in cluster.held.items()}
    schedule = Schedule(second, None, 4)
    for worker in list(cluster.alive):
        schedule.joined(worker)
    cluster.kill(schedule)
    schedule.restore([(second, (5, 0, 0))])
    cluster.run(schedule)
    assert {key for held in cluster.held.values() for key in held} == {("second", (5, 0, 0))}
    assert not first.places
    assert not first.readers


def test_neighbours_go_to_one_worker():
    plan = ListPlan([task((0, n), outputs={(0, 0, n): 8}) for n in range(40)], [(0, 0, n) for n in range(40)])
    record, cluster = record_of(plan), Cluster(2, 0)
    schedule = Schedule(record, plan, 256)
    cluster.run(schedule)
    places = [record.places[0, 0, n] for n in range(40)]
    assert sum(a != b for a, b in pairwise(places)) < 12


def test_a_task_goes_where_its_inputs_are():
    def make(n):
        return task((0, n), outputs={(0, 0, n): 1000})

    plan = ListPlan(
        [*(make(n) for n in range(2)), task((1, 0), [(0, 0, 1)], {(1, 0, 0): 10}, work=10)], [(1, 0, 0), (0, 0, 1)]
    )
    record, cluster = record_of(plan), Cluster(2, 0)
    cluster.run(Schedule(record, plan, 256))
    assert record.places[1, 0, 0] == record.places[0, 0, 1]


def test_a_task_goes_where_what_it_reads_of_its_inputs_is(monkeypatch):
    """And not where chunks are that it reads a halo of."""
    made = {(0, 0, n): 1000 for n in range(4)}
    plan = ListPlan(
        [
            *(task((0, n), outputs={(0, 0, n): 1000}) for n in range(4)),
            *(task((1, n), list(made), {(1, 0, n): 10}, work=10) for n in range(4)),
        ],
        [*((1, 0, n) for n in range(4)), *made],
    )
    monkeypatch.setattr(
        type(plan.portable()),
        "parts",
        lambda self, task: {
            key: Part(None, 0) if key[2] == task.key[1] else Part(((0, 1),), 10) for key in task.inputs
        },
    )
    record, cluster = record_of(plan), Cluster(2, 0)
    schedule = Schedule(record, plan, 256)
    monkeypatch.setattr(schedule, "_steal", lambda idle: None)
    cluster.run(schedule)
    assert len(set(record.places.values())) == 2
    for n in range(4):
        assert record.places[1, 0, n] == record.places[0, 0, n]


@pytest.mark.parametrize("work", [10, 10_000])
def test_an_idle_worker_takes_tasks_that_are_worth_moving_their_inputs(work):
    tasks = [task((0, 0), outputs={(0, 0, 0): 1000})]
    tasks += [task((1, n), [(0, 0, 0)], work=work) for n in range(8)]
    plan = ListPlan(tasks)
    schedule = Schedule(record_of(plan), plan, 256)
    schedule.joined("a")
    schedule.extend()
    schedule.done(*schedule.take("a", 1))
    schedule.joined("b")
    assert schedule.take("b", 1) == []
    taken = [job.task.key for job in schedule.take("b", 1, idle=True)]
    assert taken == ([(1, 7)] if work > 1000 else []), "what the other would do last"
    assert len(schedule.take("a", 5)) == 5
    assert schedule.take("b", 1, idle=True) == [], "the other is about to do it"


def test_the_plan_is_read_no_further_than_it_must():
    read = []

    def tasks():
        for n in range(10_000):
            read.append(n)
            yield task((0, n), load=1)

    plan = ListPlan(tasks, stages=(StageInfo(0, "x", "", 10_000),))
    schedule = Schedule(record_of(plan), plan, 32)
    schedule.joined("w")
    schedule.extend()
    assert len(read) <= 33
    for _ in range(100):
        for job in schedule.take("w", 4):
            schedule.done(job)
        schedule.extend()
        assert len(schedule.jobs) <= 32


def test_what_no_task_makes_is_named():
    plan = ListPlan([task((1, 0), [(7, 7, 7)])])
    schedule = Schedule(record_of(plan), plan, 8)
    schedule.joined("w")
    with pytest.raises(TaskError, match=r"internal error: task \(1, 0\) reads \[\(7, 7, 7\)\]"):
        schedule.extend()


def test_deaths_in_a_row_are_those_without_progress():
    plan = ListPlan([task((0, n), load=1) for n in range(4)])
    schedule = Schedule(record_of(plan), plan, 8)
    schedule.joined("a")
    schedule.extend()
    (first,) = schedule.take("a", 1)
    for n in range(3):
        schedule.gone("abc"[n], [], 1)
        schedule.joined("bcd"[n])
        assert schedule.take("bcd"[n], 1) == [first]
    assert (first.deaths, first.deaths_in_row) == (3, 3)
    (other,) = schedule.take("d", 1)
    schedule.done(other)
    schedule.gone("d", [], 1)
    assert (first.deaths, first.deaths_in_row) == (4, 1)
    assert describe(first) == "task 1 of stage0, asked for at script.py:1"
