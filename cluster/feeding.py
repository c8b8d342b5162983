"""How tasks get their inputs on a worker: from its own chunks, and from those of others."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gpuarray.cluster.ledger import Ticket
from gpuarray.cluster.running import Running, Slot, check_outputs
from gpuarray.cluster.shipping import Returned
from gpuarray.cluster.slabs import placed
from gpuarray.cluster.task import (
    Chunk,
    Given,
    Key,
    Part,
    Picked,
    PickingWork,
    Portable,
    Result,
    StageInfo,
    Task,
    Wanted,
    Write,
)

if TYPE_CHECKING:
    from gpuarray.cluster.orders import Item
    from gpuarray.cluster.worker import Run, Store


TOGETHER = 8
"""Parts of chunks that a task asks of other workers at once."""


class Cache:
    """Copies of other workers' small chunks that several tasks read; the one used longest ago goes first."""

    def __init__(self, most: int) -> None:
        self.most = max(1, most)
        self._held: OrderedDict[Any, tuple[Chunk, int]] = OrderedDict()
        self._nbytes = 0
        self._lock = threading.Lock()

    def get(self, key: Any) -> Chunk | None:
        with self._lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key][0]

    def put(self, key: Any, chunk: Chunk, nbytes: int) -> None:
        if nbytes > self.most // 4:
            return
        with self._lock:
            if key in self._held:
                return
            self._held[key] = chunk, nbytes
            self._nbytes += nbytes
            while self._nbytes > self.most:
                _, (_, less) = self._held.popitem(last=False)
                self._nbytes -= less


class Stages:
    """What a `Running` asks of a plan, on a worker: who reads what, the client knows."""

    def __init__(self, stages: tuple[StageInfo, ...]) -> None:
        self.stages = stages
        self.kept: tuple[Key, ...] = ()
        self.given: Mapping[int, Given] = {}
        self.reserved_nbytes = 0
        self.elements, self.waits = 0, True

    def tasks(self) -> Iterator[Task]:
        return iter(())

    def readers(self, key: Key) -> int:
        return 1

    def portable(self) -> Portable:
        raise NotImplementedError


class WorkerRunning(Running):
    """A run on a worker. A task that is done again keeps what is there of its chunks: it has the same bits."""

    def _keep(self, task: Task, result: Result, ticket: Ticket, loaded: Any) -> None:
        there = {key for key, _ in task.outputs if self.memory.holds(self.number, key)}
        if there:
            task = replace(task, outputs=tuple(out for out in task.outputs if out[0] not in there))
            result = Result({k: v for k, v in result.kept.items() if k not in there}, result.writes)
        super()._keep(task, result, ticket, loaded)

    def _fill(self, task: Task, parts: Iterable[Slot]) -> None:
        work: Fed = task.work  # type: ignore[assignment]
        here = [(work.names[key], box, out) for key, box, out in parts if key in work.names]
        try:
            super()._fill(task, here)
        except KeyError:  # dropped by the order of another thread meanwhile
            raise work.gone() from None
        work.fill_from_afar([part for part in parts if part[0] not in work.names])


class Gone(Exception):
    """Chunks that cannot be had, as (run, key) pairs."""

    def __init__(self, lost: tuple[tuple[str, Key], ...]) -> None:
        super().__init__(lost)
        self.lost = lost


@dataclass(slots=True)
class Loaded:
    slabs: dict[Key, Chunk]
    inner: Any


class Fed:
    """A task's work, given its inputs from here and from other workers under the names that it knows."""

    def __init__(
        self,
        store: Store,
        run: Run,
        task: Task,
        names: Mapping[Key, Key],
        elsewhere: Mapping[Key, tuple[str, str, bool, Part]],
        item: Item,
    ) -> None:
        self._store, self._run, self._task, self.names = store, run, task, names
        picked = frozenset(task.picked)
        self._elsewhere = {key: where for key, where in elsewhere.items() if key not in picked}
        self._afar = {key: where for key, where in elsewhere.items() if key in picked}
        self._item = item
        self.ticket: Ticket | None = None

    def load(self) -> Any:
        slabs = self._store.fetch(self._elsewhere) if self._elsewhere else {}
        return Loaded(slabs, self._task.work.load())

    def pick(self, backend: Any, loaded: Any, chunks: Mapping[Key, Chunk]) -> tuple[Wanted, ...]:
        work: PickingWork = self._task.work  # type: ignore[assignment]
        return work.pick(backend, loaded.inner, self._known(backend, loaded, chunks))

    def gone(self) -> Gone:
        """What to raise where chunks that were here are not."""
        return Gone(tuple((self._item.sources[key][0], key) for key in self.names))

    def fill_from_afar(self, parts: list[Slot]) -> None:
        """Read parts of other workers' chunks to memory: a few at a time, as each is held twice, and of a chunk one."""
        while parts:
            now = {part[0]: part for part in reversed(parts[:TOGETHER])}
            asked = {key: (*self._afar[key][:3], Part(box, 0)) for key, box, _ in now.values()}
            for key, arrays in self._store.fetch(asked).items():
                for array, out in zip(arrays, now[key][2], strict=True):
                    out[...] = array.reshape(-1)
            parts = [part for part in parts if now.get(part[0]) is not part]

    def _known(self, backend: Any, loaded: Any, chunks: Mapping[Key, Chunk]) -> dict[Key, Chunk]:
        """The chunks that a task reads, by the names that it knows."""
        known = {key: chunks[name] for key, name in self.names.items() if name in chunks}
        for key, arrays in loaded.slabs.items():
            known[key] = placed(tuple(map(backend.from_host, arrays)), self._elsewhere[key][3].box)
        return known

    def run(self, backend: Any, loaded: Any, chunks: Mapping[Key, Chunk]) -> Result:
        picked = loaded if isinstance(loaded, Picked) else None
        loaded = loaded if picked is None else picked.loaded
        known = self._known(backend, loaded, chunks)
        inner = loaded.inner if picked is None else Picked(loaded.inner, picked.arrays)
        result = self._task.work.run(backend, inner, known)
        check_outputs(self._task, result, backend)  # by the names that the plan knows
        number = self._run.number
        return Result({(number, *key): chunk for key, chunk in result.kept.items()}, result.writes)

    def store(self, backend: Any, result: Result) -> None:
        back = [w for w in result.writes if isinstance(w.sink, Returned)]
        self._task.work.store(backend, Result({}, tuple(w for w in result.writes if w not in back)))
        if back:
            self._send_back(back)

    def _send_back(self, writes: list[Write]) -> None:
        """Hold what goes to sinks of the client until it asks."""
        store, run = self._store, self._run
        stage, number = self._task.key
        found: list[tuple[int, tuple[range, ...], Key]] = []
        for n, write in enumerate(writes):
            key = (stage, -1 - n, number)
            store._drop(run, key)  # of an earlier try
            nbytes = store.backend.nbytes(write.array)
            ticket = self.ticket
            assert ticket is not None  # the task is under way
            if ticket.reserved.get(0, 0) >= nbytes:
                store.memory.put(store._number, (run.number, *key), (write.array,), ticket)
            else:  # more than the plan has counted: it must not wait for itself
                own = store.memory.admit(store._number, (), work=nbytes, overdraw=True)
                assert own is not None  # nothing cancels it
                try:
                    store.memory.put(store._number, (run.number, *key), (write.array,), own)
                finally:
                    store.memory.release(own)
            store._hold(run, (key,))
            found.append((write.sink.number, write.region, key))
        run.results[self._task.key] = found
