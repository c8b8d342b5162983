"""Hand-made plans, and the tests that every executor must pass.

An implementer inherits `ExecutorTests` and says how to make an executor; see ``tests/cluster/test_local.py``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gpuarray.cluster.task import Chunk, Key, Part, Result, StageInfo, StaysHere, Task, Wanted, Write
from gpuarray.kernels.errors import TaskError


@dataclass(frozen=True, slots=True)
class FunctionWork:
    """A task made of functions; without them it does nothing."""

    function: Callable[[Any, Any, Mapping[Key, Chunk]], Result] | None = None
    loader: Callable[[], Any] | None = None
    storer: Callable[[Any, Result], None] | None = None

    def load(self) -> Any:
        return self.loader() if self.loader else []

    def run(self, backend: Any, loaded: Any, chunks: Mapping[Key, Chunk]) -> Result:
        return self.function(backend, loaded, chunks) if self.function else Result()

    def store(self, backend: Any, result: Result) -> None:
        if self.storer:
            self.storer(backend, result)
        for write in result.writes:
            write.sink.write(write.region, backend.to_host(write.array))


@dataclass(frozen=True, slots=True)
class PickSums:
    """Reads of each of `chunks` the numbers from the place that the first input names on, `count` of them, and makes
    one chunk of their sums."""

    key: Key
    places: Key
    chunks: tuple[Key, ...]
    count: int

    def load(self) -> Any:
        return []

    def pick(self, backend: Any, loaded: Any, chunks: Mapping[Key, Chunk]) -> tuple[Wanted, ...]:
        (places,) = map(backend.to_host, chunks[self.places])
        parts = tuple((key, ((int(at), int(at) + self.count),)) for key, at in zip(self.chunks, places, strict=True))
        return (Wanted(parts, (np.dtype(np.float64),)),)

    def run(self, backend: Any, loaded: Any, chunks: Mapping[Key, Chunk]) -> Result:
        ((flat,),) = loaded.arrays
        sums = backend.to_host(flat).reshape(len(self.chunks), self.count).sum(axis=1)
        return Result({(self.key[0], 0, self.key[1]): (backend.from_host(sums),)})

    def store(self, backend: Any, result: Result) -> None:
        pass


def pick_plan(places: list[int], count: int, declared: int) -> ListPlan:
    """A plan whose last task reads `count` numbers of chunks of 100, from places that another task has made on, and
    declares so many bytes."""
    n = len(places)
    keys = tuple((0, 0, k) for k in range(n))
    tasks = [task((0, k), outputs={(0, 0, k): 800}, function=Mix((0, k), (), 100)) for k in range(n)]
    named = np.array(places, np.float64)
    made = lambda backend, *_: Result({(1, 0, 0): (backend.from_host(named),)})  # noqa: E731
    tasks.append(task((1, 0), outputs={(1, 0, 0): 8 * n}, function=made))
    work = PickSums((2, 0), (1, 0, 0), keys, count)
    last = Task((2, 0), ((1, 0, 0), *keys), (((2, 0, 0), 8 * n),), declared, declared + 16 * n, work, keys, declared)
    return ListPlan([*tasks, last], [(2, 0, 0)])


@dataclass(frozen=True)
class PortableList:
    """The part of a `ListPlan` that other processes need."""

    tasks: Callable[[], Iterator[Task]]
    stages: tuple[StageInfo, ...]

    def task(self, key: Key) -> Task:
        for found in self.tasks():
            if found.key == key:
                return found
        raise KeyError(key)

    def parts(self, task: Task) -> dict[Key, Part]:
        return {key: Part(None, 0) for key in task.inputs}


class ListPlan:
    """A plan made of a list, or of a function that gives an iterator, of tasks."""

    elements = 0
    waits = True

    def __init__(
        self,
        tasks: Iterable[Task] | Callable[[], Iterator[Task]],
        kept: Iterable[Key] = (),
        reserved_nbytes: int = 0,
        readers: Callable[[Key], int] | None = None,
        stages: tuple[StageInfo, ...] | None = None,
    ) -> None:
        self._tasks: Callable[[], Iterator[Task]]
        self._readers: Callable[[Key], int]
        if callable(tasks):
            self._tasks, self._readers = tasks, readers or (lambda key: 0)
            numbers: dict[int, int] = {0: 0}
        else:
            listed = list(tasks)
            counts: dict[Key, int] = {}
            numbers = {}
            for task in listed:
                numbers[task.key[0]] = numbers.get(task.key[0], 0) + 1
                for key in task.inputs:
                    counts[key] = counts.get(key, 0) + 1
            self._tasks, self._readers = (lambda: iter(listed)), readers or (lambda key: counts.get(key, 0))
        self.kept = tuple(kept)
        self.given: dict[int, Any] = {}
        self.reserved_nbytes = reserved_nbytes
        self.stages = stages or tuple(
            StageInfo(number, f"stage{number}", f"script.py:{number + 1}", count) for number, count in numbers.items()
        )

    def tasks(self) -> Iterator[Task]:
        return self._tasks()

    def readers(self, key: Key) -> int:
        return self._readers(key)

    def portable(self) -> PortableList:
        return PortableList(self._tasks, self.stages)


class ArraySink(StaysHere):
    """Writes into a NumPy array."""

    def __init__(self, shape: tuple[int, ...], dtype: Any = np.float64) -> None:
        self.array = np.zeros(shape, dtype)

    def write(self, region: tuple[range, ...], array: Any) -> None:
        self.array[tuple(slice(r.start, r.stop, r.step) for r in region)] = array


def task(
    key: Key,
    inputs: Iterable[Key] = (),
    outputs: Mapping[Key, int] | None = None,
    *,
    load: int = 0,
    work: int = 0,
    function: Callable[[Any, Any, Mapping[Key, Chunk]], Result] | None = None,
    loader: Callable[[], Any] | None = None,
    storer: Callable[[Any, Result], None] | None = None,
) -> Task:
    """A task that needs `work` bytes beyond its outputs."""
    declared = tuple((outputs or {}).items())
    total = work + sum(nbytes for _, nbytes in declared)
    return Task(key, tuple(inputs), declared, load, total, FunctionWork(function, loader, storer))


@dataclass(frozen=True, slots=True)
class Mix:
    """Makes one chunk of `size` numbers that depends on every number of the inputs, in their order."""

    key: Key
    inputs: tuple[Key, ...]
    size: int
    sink: Any = None

    def __call__(self, backend: Any, loaded: Any, chunks: Mapping[Key, Chunk]) -> Result:
        total = float(self.key[0] * 31 + self.key[1])
        for n, key in enumerate(self.inputs):
            total = (total + (n + 1) * float(backend.to_host(chunks[key][0]).sum())) % 1009.0
        made = np.arange(self.size, dtype=np.float64) + total
        writes = () if self.sink is None else (Write(self.sink, (range(self.key[1], self.key[1] + 1),), made[:1]),)
        return Result({(self.key[0], 0, self.key[1]): (backend.from_host(made),)}, writes)


def mix_plan(sizes: list[int], edges: list[tuple[int, ...]], kept: Iterable[int] = (), **options: Any) -> ListPlan:
    """A plan whose task `i` reads the chunks of tasks ``edges[i]`` and makes one of ``sizes[i]`` numbers."""
    tasks = []
    for i, (size, sources) in enumerate(zip(sizes, edges, strict=True)):
        inputs = tuple((0, 0, source) for source in sources)
        tasks.append(task((0, i), inputs, {(0, 0, i): 8 * size}, function=Mix((0, i), inputs, size)))
    return ListPlan(tasks, [(0, 0, i) for i in kept], **options)


def mix_expected(sizes: list[int], edges: list[tuple[int, ...]]) -> list[np.ndarray[Any, Any]]:
    """What the tasks of `mix_plan` make, computed in order."""
    made: list[np.ndarray[Any, Any]] = []
    for i, (size, sources) in enumerate(zip(sizes, edges, strict=True)):
        total = float(i)
        for n, source in enumerate(sources):
            total = (total + (n + 1) * float(made[source].sum())) % 1009.0
        made.append(np.arange(size, dtype=np.float64) + total)
    return made


def _divide_by_zero(*_: Any) -> Result:
    raise ZeroDivisionError("division by zero")


class ExecutorTests:
    """What every executor must do. Inherit it and define `make`."""

    def make(self, **options: Any) -> Any:
        """An executor over the NumPy backend; `options` are the limits of `LocalExecutor`, for those that have them."""
        raise NotImplementedError

    def test_an_empty_plan(self) -> None:
        assert dict(self.make().run(ListPlan([]))) == {}

    def test_kept_chunks_come_back(self) -> None:
        sizes, edges = [3, 1, 7, 2], [(), (0,), (0, 1), (2, 0)]
        kept = self.make().run(mix_plan(sizes, edges, kept=[0, 3]))
        expected = mix_expected(sizes, edges)
        assert set(kept) == {(0, 0, 0), (0, 0, 3)}
        for i in (0, 3):
            np.testing.assert_array_equal(kept[0, 0, i][0], expected[i])

    @pytest.mark.parametrize("seed", range(6))
    def test_random_graphs(self, seed: int) -> None:
        rng = random.Random(seed)
        count = rng.randint(2, 80)
        sizes = [rng.choice([0, 1, 5, 1000]) for _ in range(count)]
        edges = [tuple(rng.sample(range(i), min(i, rng.randint(0, 4)))) for i in range(count)]
        kept = self.make().run(mix_plan(sizes, edges, kept=range(count)))
        for i, expected in enumerate(mix_expected(sizes, edges)):
            np.testing.assert_array_equal(kept[0, 0, i][0], expected)

    def test_what_was_loaded_is_run_and_stored(self) -> None:
        sink = ArraySink((20,))

        def double(n: int) -> Callable[..., Result]:
            return lambda backend, loaded, chunks: Result({}, (Write(sink, (range(n, n + 1),), loaded[0] * 2),))

        def load(n: int) -> Callable[[], Any]:
            return lambda: [np.array([float(n)])]

        tasks = (task((0, n), load=8, work=8, loader=load(n), function=double(n)) for n in range(20))
        self.make().run(ListPlan(tasks))
        np.testing.assert_array_equal(sink.array, 2.0 * np.arange(20))

    @pytest.mark.parametrize("phase", ["loader", "function", "storer"])
    @pytest.mark.parametrize("count", [1, 40])
    def test_the_first_error_keeps_its_type_and_gets_a_note(self, phase: str, count: int) -> None:
        def fail(*_: Any) -> Any:
            raise LookupError("no such thing")

        tasks = [task((0, n), load=1) for n in range(count - 1)]
        failing = task((1, 0), load=1, **{phase: fail})  # type: ignore[arg-type]
        with pytest.raises(LookupError, match="no such thing") as caught:
            self.make().run(ListPlan([*tasks, failing]))
        assert caught.value.__notes__ == ["in stage1, task 1 of 1, asked for at script.py:2"]

    def test_an_executor_can_be_used_after_a_failure(self) -> None:
        executor = self.make()
        bad = task((0, 20), function=_divide_by_zero)
        with pytest.raises(ZeroDivisionError):
            executor.run(ListPlan([*(task((0, n)) for n in range(20)), bad]))
        self.check_one_chunk(executor)

    def test_a_plan_that_fails_to_enumerate(self) -> None:
        def tasks() -> Iterator[Task]:
            yield from (task((0, n), load=1) for n in range(50))
            raise LookupError("the plan broke")

        executor = self.make()
        with pytest.raises(LookupError, match="the plan broke"):
            executor.run(ListPlan(tasks))
        self.check_one_chunk(executor)

    def test_an_input_that_nothing_makes_is_named(self) -> None:
        for count in (0, 50):
            tasks = [*(task((0, n), load=1) for n in range(count)), task((1, 0), [(7, 7, 7)])]
            with pytest.raises(TaskError, match=r"internal error: .*\(7, 7, 7\)"):
                self.make().run(ListPlan(tasks))

    def test_an_output_larger_than_declared_is_named(self) -> None:
        def big(*_: Any) -> Result:
            return Result({(0, 0, 0): (np.zeros(100),)})

        with pytest.raises(TaskError, match=r"output \(0, 0, 0\) was declared with .*799 B.* has .*800 B") as caught:
            self.make().run(ListPlan([task((0, 0), outputs={(0, 0, 0): 799}, work=800, function=big)], [(0, 0, 0)]))
        assert "stage0" in caught.value.__notes__[0]

    def test_an_output_that_was_not_made_is_named(self) -> None:
        with pytest.raises(TaskError, match=r"internal error: .*\(0, 0, 0\)"):
            self.make().run(ListPlan([task((0, 0), outputs={(0, 0, 0): 8})], [(0, 0, 0)]))

    def test_a_kept_chunk_that_no_task_makes_is_named(self) -> None:
        with pytest.raises(TaskError, match=r"internal error: .*\(3, 0, 0\)"):
            self.make().run(ListPlan([task((0, 0))], [(3, 0, 0)]))

    def test_parts_that_are_picked_when_a_task_runs(self) -> None:
        places = [0, 90, 17, 50]
        kept = self.make().run(pick_plan(places, 10, 320))
        expected = [(np.arange(at, at + 10) + k).sum() for k, at in enumerate(places)]
        np.testing.assert_array_equal(kept[2, 0, 0][0], expected)

    def test_parts_of_more_bytes_than_declared_are_named(self) -> None:
        with pytest.raises(TaskError, match=r"declared parts of .*319 B.* and picked .*320 B"):
            self.make().run(pick_plan([0, 90, 17, 50], 10, 319))

    def test_results_do_not_depend_on_the_order_of_threads(self) -> None:
        rng = random.Random(1)
        sizes = [rng.randint(1, 50) for _ in range(60)]
        edges = [tuple(rng.sample(range(i), min(i, 2))) for i in range(60)]
        runs = [self.make().run(mix_plan(sizes, edges, kept=[59])) for _ in range(3)]
        assert len({run[0, 0, 59][0].tobytes() for run in runs}) == 1

    def check_one_chunk(self, executor: Any) -> None:
        kept = executor.run(mix_plan([4], [()], kept=[0]))
        np.testing.assert_array_equal(kept[0, 0, 0][0], np.arange(4.0))
