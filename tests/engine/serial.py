"""The plainest executor there can be: one task after another, nothing spilled, everything checked."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gpuarray.cluster.running import gathered
from gpuarray.cluster.staging import Staging
from gpuarray.cluster.task import Chunk, Key, Picked
from gpuarray.kernels.backends.fake import Fake
from gpuarray.readers import ArrayReader, KeptReader
from gpuarray.sinks import ArraySink


class _Pickler(pickle.Pickler):
    """Pickles work, but hands over what stands for memory of this process."""

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, (ArraySink, ArrayReader, KeptReader)):
            shared[id(obj)] = obj
            return id(obj)
        return None


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Any:
        return shared[pid]


shared: dict[int, Any] = {}


def pickled(work: Any) -> Any:
    """The work as another process would get it."""
    buffer = io.BytesIO()
    _Pickler(buffer).dump(work)
    return _Unpickler(io.BytesIO(buffer.getvalue())).load()


class Serial:
    """Runs a plan in order and checks what it promises: inputs exist, bytes are as declared, readers are counted."""

    def __init__(self, backend: Any, *, through_pickle: bool = False) -> None:
        self.backend, self.through_pickle = backend, through_pickle
        self.peak = 0

    def run(self, plan: Any, subscribers: Any = ()) -> dict[Key, Chunk]:
        chunks: dict[Key, Chunk] = {}
        left: dict[Key, int] = {}
        for task in plan.tasks():
            work = pickled(task.work) if self.through_pickle else task.work
            assert all(key in chunks for key in task.inputs), f"{task.key} reads what is not there"
            with held_to(self.backend, task):
                loaded = lifted(self.backend, work)
                there = {key: chunks[key] for key in task.raised}
                if task.picked_nbytes:
                    loaded = picked(self.backend, task, work, loaded, there, chunks)
                result = work.run(self.backend, loaded, there)
                if isinstance(self.backend, Fake):
                    self.backend.record().wait()
                del loaded
            declared = dict(task.outputs)
            assert result.kept.keys() == declared.keys()
            for key, chunk in result.kept.items():
                assert sum(a.nbytes for a in chunk) <= declared[key], f"{key} is larger than declared"
                left[key] = plan.readers(key)
                chunks[key] = chunk
            self.peak = max(self.peak, task.load_nbytes + task.work_nbytes)
            work.store(self.backend, result)
            for key in task.inputs:
                left[key] -= 1
                assert left[key] >= 0, f"{key} has more readers than counted"
                if left[key] == 0 and key not in plan.kept:
                    del chunks[key]
        return Kept(self.backend, {key: chunks[key] for key in plan.kept})


def lifted(backend: Any, work: Any) -> Any:
    """What a task reads, and on a device what may be there before its turn."""
    return work.lift(Staging(backend, 1 << 16)) if isinstance(backend, Fake) else work.load()


def picked(backend: Any, task: Any, work: Any, loaded: Any, there: dict[Key, Chunk], chunks: dict[Key, Chunk]) -> Any:
    """What a task reads of chunks that stay where they are."""
    wanted = work.pick(backend, loaded, there)
    assert sum(one.nbytes for one in wanted) <= task.picked_nbytes, f"{task.key} reads more than it has declared"
    assert {key for one in wanted for key, _ in one.parts} <= set(task.picked)

    def fill(parts: Any) -> None:
        for key, box, out in parts:
            for array, target in zip(chunks[key], out, strict=True):
                target[...] = backend.to_host(array)[tuple(slice(*edge) for edge in box)].reshape(-1)

    arrays = (gathered(one, fill) for one in wanted)
    return Picked(loaded, tuple(tuple(map(backend.from_host, flat)) for flat in arrays))


@contextmanager
def held_to(backend: Any, task: Any) -> Iterator[None]:
    """Checks, on the fake device, that a task allocates no more than it has declared."""
    if not isinstance(backend, Fake):
        yield
        return
    counters = backend.counters
    before = counters.peak_nbytes = counters.used_nbytes
    yield
    taken = counters.peak_nbytes - before
    assert taken <= task.work_nbytes, f"{task.key} takes {taken} B of the device and declares {task.work_nbytes} B"


class Kept(dict[Key, Chunk]):
    """Kept chunks, as the executors hand them out."""

    def __init__(self, backend: Any, chunks: dict[Key, Chunk]) -> None:
        super().__init__(chunks)
        self.backend = backend

    def on_host(self, key: Key, part: tuple[slice, ...] | None = None) -> Chunk:
        return tuple(self.backend.to_host(array)[part or ...] for array in self[key])
