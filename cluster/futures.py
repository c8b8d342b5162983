"""Run plans on any `concurrent.futures.Executor`: process pools, loky, MPI, ipyparallel, other people's schedulers.

Chunks stay in this process, which spills them; with each task go the parts of them that it reads, and its results come
back. For heavy tasks on few data; `gpuarray.cluster.Cluster` keeps data where it is computed.
"""

from __future__ import annotations

import concurrent.futures as cf
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpuarray.cluster.events import Subscriber
from gpuarray.cluster.host import available_threads
from gpuarray.cluster.local import LocalExecutor
from gpuarray.cluster.shipping import Returned, dumps, loads
from gpuarray.cluster.slabs import cut, placed
from gpuarray.cluster.task import (
    Box,
    Chunk,
    Given,
    Key,
    Part,
    Picked,
    PickingWork,
    Plan,
    Portable,
    Result,
    StageInfo,
    Task,
    Wanted,
    Write,
)
from gpuarray.kernels import backends
from gpuarray.kernels.errors import ClusterError, ConfigError

_WAIT = 0.5
"""Seconds between two looks whether a run was cancelled."""


class FuturesExecutor(LocalExecutor):
    """Runs plans on an executor of the standard's interface, within the memory limit of this process.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     executor = FuturesExecutor(pool, host_limit=1 << 30)

    What a task needs is counted here, as if it were computed here: the processes of a pool share the machine.

    Parameters
    ----------
    executor : what has `submit`; it is not shut down here
    host_limit, directory, subscribers : as for `LocalExecutor`
    threads : how many tasks are handed out at once; None: as many as the executor has workers, if it says so

    Raises
    ------
    ConfigError
        if `executor` has no `submit`.
    """

    def __init__(
        self,
        executor: Any,
        *,
        host_limit: int | None = None,
        directory: str | os.PathLike[str] | None = None,
        threads: int | None = None,
        subscribers: Iterable[Subscriber] = (),
    ) -> None:
        if not callable(getattr(executor, "submit", None)):
            raise ConfigError(f"executor={executor!r} has no method submit: pass a concurrent.futures.Executor")
        super().__init__(
            backends.get("numpy"),
            host_limit=host_limit,
            directory=directory,
            threads=threads or workers_of(executor),
            subscribers=subscribers,
        )
        self.executor = executor

    def run(self, plan: Plan, subscribers: Iterable[Subscriber] = ()) -> Mapping[Key, Chunk]:
        """As `LocalExecutor.run`; also raises ClusterError where the executor is broken or shut down, and TaskError
        where a task cannot be pickled."""
        return super().run(Remote(plan, self.executor), subscribers)


class Remote:
    """A plan whose tasks are computed by an executor."""

    def __init__(self, plan: Plan, executor: Any) -> None:
        self._plan, self._executor = plan, executor
        self._portable: Portable = plan.portable()
        self.kept, self.reserved_nbytes = plan.kept, plan.reserved_nbytes
        self.elements, self.waits = plan.elements, True
        self.given: Mapping[int, Given] = {}
        self.stages: tuple[StageInfo, ...] = plan.stages

    def tasks(self) -> Iterator[Task]:
        given = self._plan.given
        for task in self._plan.tasks():
            parts = self._portable.parts(task)
            work = RemoteWork(self._executor, task, parts, given)
            inputs = tuple(key for key in task.inputs if key[0] not in given)
            sent = sum(parts[key].nbytes for key in task.inputs if key[0] in given)
            yield replace(task, inputs=inputs, load_nbytes=task.load_nbytes + sent, work=work)

    def readers(self, key: Key) -> int:
        return self._plan.readers(key)

    def portable(self) -> Portable:
        return self._portable


@dataclass(frozen=True, slots=True)
class RemoteWork:
    """A task's work, done by an executor."""

    executor: Any
    task: Task
    parts: Mapping[Key, Part]
    given: Mapping[int, Given]

    def load(self) -> Any:
        return None

    def pick(self, backend: Any, loaded: Any, chunks: Mapping[Key, Chunk]) -> tuple[Wanted, ...]:
        work: PickingWork = self.task.work  # type: ignore[assignment]
        return work.pick(backend, None, chunks)

    def run(self, backend: Any, loaded: Any, chunks: Mapping[Key, Chunk]) -> Result:
        sinks: list[Any] = []
        slabs: dict[Key, tuple[Box | None, Chunk]] = {}
        for key in self.task.raised:
            chunk = self.given[key[0]].chunk(key[2]) if key[0] in self.given else chunks[key]
            box = self.parts[key].box
            slabs[key] = box, tuple(np.asarray(a, order="C") for a in cut(chunk, box))
        data = dumps(self.task, sinks)
        try:
            future = self.executor.submit(perform, data, slabs, loaded.arrays if isinstance(loaded, Picked) else None)
        except RuntimeError as error:  # it is broken, or shut down
            raise broken(self.executor, error) from error
        kept, writes = self._wait(future)
        return Result(kept, tuple(Write(sinks[sink], region, array) for sink, region, array in writes))

    def _wait(self, future: Any) -> Any:
        while True:
            try:
                return future.result(timeout=_WAIT)
            except cf.CancelledError as error:
                raise broken(self.executor, error) from error
            except cf.BrokenExecutor as error:
                raise broken(self.executor, error) from error
            except TimeoutError:
                if future.done():  # the task's own
                    return future.result(timeout=0)

    def store(self, backend: Any, result: Result) -> None:
        for write in result.writes:
            write.sink.write(write.region, write.array)


def perform(data: bytes, slabs: Mapping[Key, tuple[Box | None, Chunk]], picked: tuple[Chunk, ...] | None = None) -> Any:
    """A task, in a worker: what it keeps, and what it has for sinks of the caller."""
    task: Task = loads(data)
    backend = backends.get("numpy")
    chunks = {key: placed(arrays, box) for key, (box, arrays) in slabs.items()}
    loaded = task.work.load()
    result = task.work.run(backend, loaded if picked is None else Picked(loaded, picked), chunks)
    back = [w for w in result.writes if isinstance(w.sink, Returned)]
    task.work.store(backend, Result({}, tuple(w for w in result.writes if not isinstance(w.sink, Returned))))
    return dict(result.kept), [(w.sink.number, w.region, backend.to_host(w.array)) for w in back]


def workers_of(executor: Any) -> int:
    """How many tasks an executor computes at once."""
    for name in ("_max_workers", "max_workers", "num_workers"):
        found = getattr(executor, name, None)
        if isinstance(found, int) and not isinstance(found, bool) and found > 0:
            return found
    return available_threads()


def broken(executor: Any, error: BaseException) -> ClusterError:
    return ClusterError(
        f"{type(executor).__name__} takes no more tasks: {error} ({type(error).__name__}). If a worker was killed, it "
        "may have run out of memory: use smaller chunks or fewer workers; then make a new executor"
    )
