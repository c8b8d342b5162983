"""The store of a worker, put into dask's worker: how it is started, asked and told."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from distributed import WorkerPlugin
from distributed.protocol import to_serialize
from distributed.utils import sync

from gpuarray.cluster import worker as workers
from gpuarray.cluster.asking import answer
from gpuarray.cluster.orders import Limits
from gpuarray.cluster.panel import METRIC
from gpuarray.cluster.task import Chunk, Key, Part

logger = logging.getLogger("gpuarray")

_TOGETHER = 4
"""Questions that one task asks at once."""
_AT_ONCE = 64
"""Slabs asked for in one question."""
_MOST_RESULTS = 64 << 20
"""Bytes after which no further task's results go into an answer."""


class StorePlugin(WorkerPlugin):
    """Gives every worker of a cluster a `Store`, those that join later too.

    Parameters
    ----------
    name : of the cluster context; several can share the workers
    limits : of each worker
    timeout : seconds that another worker may take to answer
    """

    idempotent = True

    def __init__(self, name: str, limits: Limits, timeout: float) -> None:
        self.name, self.limits, self.timeout = name, limits, timeout
        self.store: Any = None

    def setup(self, worker: Any) -> None:
        self.worker = worker
        manager = worker.memory_manager
        # our chunks are no data of dask's, which it could wait for to go: it would pause the worker for good
        self._pause, manager.memory_pause_fraction = manager.memory_pause_fraction, False
        # dask's limit for a worker is its share of the machine, by its number of threads
        share = workers.host_share(worker.memory_manager.memory_limit, worker.state.nthreads)
        limits = replace(self.limits, spill_directory=self.limits.spill_directory or worker.local_directory)
        self.store = workers.Store(limits, share, worker.state.nthreads, self._ask)
        worker.handlers[self.name] = self._answer
        told = {METRIC + self.name: lambda _: self.store.statistics()}
        worker.metrics = worker.metrics | told  # another dict: a heartbeat may be going through this one

    def teardown(self, worker: Any) -> None:
        worker.handlers.pop(self.name, None)
        worker.metrics = {name: f for name, f in worker.metrics.items() if name != METRIC + self.name}
        worker.memory_manager.memory_pause_fraction = self._pause
        if self.store is not None:
            for name in tuple(self.store._runs):
                self.store.close(name)
            self.store = None

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "limits": self.limits, "timeout": self.timeout, "store": None}

    # Other workers

    def _ask(self, wanted: Mapping[Key, tuple[str, str, Part]]) -> dict[Key, Chunk | None]:
        """Parts of chunks from the workers that have them; None for those that cannot be had. Called by tasks."""
        found: dict[Key, Chunk | None] = sync(self.worker.loop, self._gather, wanted)
        return found

    async def _gather(self, wanted: Mapping[Key, tuple[str, str, Part]]) -> dict[Key, Chunk | None]:
        by_worker: dict[str, list[Key]] = {}
        for key, (_, address, _) in wanted.items():
            by_worker.setdefault(address, []).append(key)
        limit = asyncio.Semaphore(_TOGETHER)

        async def some(address: str, keys: list[Key]) -> list[Chunk | None]:
            async with limit:
                asked = [(wanted[key][0], key, wanted[key][2].box) for key in keys]
                try:
                    call = getattr(self.worker.rpc(address), self.name)
                    question = call(what="parts", asked=asked)
                    reply = await answer(question, address, self.worker.scheduler, self.timeout)
                except OSError as error:  # a timeout among them
                    logger.info("%d chunks are not to be had from %s: %r", len(keys), address, error)
                    return [None] * len(keys)
            if not isinstance(reply, dict) or reply["status"] != "OK":
                return [None] * len(keys)
            return [None if arrays is None else tuple(arrays) for arrays in reply["chunks"]]

        calls = [
            (address, keys[k : k + _AT_ONCE])
            for address, keys in by_worker.items()
            for k in range(0, len(keys), _AT_ONCE)
        ]
        replies = await asyncio.gather(*(some(*call) for call in calls))
        return {
            key: chunk
            for (_, keys), chunks in zip(calls, replies, strict=True)
            for key, chunk in zip(keys, chunks, strict=True)
        }

    async def _answer(self, what: str, **message: Any) -> dict[str, Any]:
        """Do what a client or another worker asks for, off the event loop."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(workers.HANDLERS, lambda: self._do(what, **message))
        except KeyError as error:
            return {"status": "gone", "key": repr(error)}
        except Exception as error:
            return {"status": "error", "error": _pickled(error)}

    def _do(self, what: str, **message: Any) -> dict[str, Any]:
        store = self.store
        if what == "parts":
            return {"status": "OK", "chunks": [_sent(store, *asked) for asked in message["asked"]]}
        if what == "part":
            arrays = store.part(message["run"], tuple(message["key"]), message["box"])
            return {"status": "OK", "arrays": [to_serialize(a) for a in arrays]}
        if what == "results":
            return {"status": "OK", **_results(store, message["run"], [tuple(key) for key in message["keys"]])}
        if what == "put":
            there = store.put(message["run"], tuple(message["key"]), tuple(message["arrays"]), message["patient"])
            return {"status": "OK" if there else "full"}
        if what == "orders":
            state = self.worker.state
            return {"status": "OK", "under_way": list(store.under_way), "idle": state.executing_count < state.nthreads}
        if what == "open":
            store.open(message["run"], message["plan"], message["returns"])
        elif what == "close":
            for run in message["runs"]:
                store.close(run)
        elif what == "facts":
            return {"status": "OK", **store.facts()}
        elif what == "statistics":
            return {"status": "OK", **store.statistics()}
        else:
            raise ValueError(f"there is nothing called {what!r} to do")
        return {"status": "OK"}


def _sent(store: Any, run: str, key: Any, box: Any) -> list[Any] | None:
    """A part of a chunk as it goes to another worker; None where it is not here."""
    try:
        return [to_serialize(a) for a in store.part(run, tuple(key), box)]
    except KeyError:
        return None


def _results(store: Any, run: str, tasks: list[Key]) -> dict[str, Any]:
    """What tasks have for sinks of the client: as many of the first as go into one answer, and those that are lost."""
    found, lost, nbytes = [], [], 0
    for task in tasks:
        if nbytes > _MOST_RESULTS:
            break
        try:
            handed = store.results(run, task)
        except KeyError:
            lost.append(task)
            continue
        nbytes += sum(chunk[0].nbytes for _, _, chunk in handed)
        # lists, not tuples: between workers in one process dask looks into lists alone for what is to be handed over
        found += [
            [sink, [(r.start, r.stop, r.step) for r in region], to_serialize(chunk[0])]
            for sink, region, chunk in handed
        ]
    else:
        return {"results": found, "lost": lost, "rest": []}
    return {"results": found, "lost": lost, "rest": tasks[tasks.index(task) :]}


def _pickled(error: Exception) -> bytes:
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return data
