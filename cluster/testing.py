"""Hand-made plans, and the tests that every executor must pass.

An implementer inherits `ExecutorTests` and says how to make an executor; see ``tests/cluster/test_local.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.cluster.task import Chunk, Key, Result, StageInfo, Task, Write


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


class ListPlan:
    """A plan made of a list, or of a function that gives an iterator, of tasks."""

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
        self.reserved_nbytes = reserved_nbytes
        self.stages = stages or tuple(
            StageInfo(number, f"stage{number}", f"script.py:{number + 1}", count) for number, count in numbers.items()
        )

    def tasks(self) -> Iterator[Task]:
        return self._tasks()

    def readers(self, key: Key) -> int:
        return self._readers(key)


class ArraySink:
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
