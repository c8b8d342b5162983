"""What runs on a worker: its chunks, within its limits of memory, and the tasks that it is told to perform.

Chunks live in the `MemoryManager` of the worker and never become results of dask's: it moves no bytes, and its limits
of memory have nothing to look at. What a task reads of other workers' chunks is asked of them, as slabs.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from gpuarray.cluster.allocator import return_freed_memory
from gpuarray.cluster.events import Events, Moved
from gpuarray.cluster.feeding import Cache, Fed, Gone, Stages, WorkerRunning
from gpuarray.cluster.host import available_memory, available_threads
from gpuarray.cluster.memory import MemoryManager
from gpuarray.cluster.orders import HOST_FRACTION, Item, Limits, Order, Unfinished
from gpuarray.cluster.running import Cancelled, Running
from gpuarray.cluster.shipping import loads
from gpuarray.cluster.task import CHOSEN, Chunk, Key, Part, Portable
from gpuarray.cluster.window import Node
from gpuarray.kernels.devices import backend_for, budget
from gpuarray.kernels.errors import ClusterError

CACHE_FRACTION, CACHE_MOST = 1 / 32, 64 << 20
"""Of the limit, the part that copies of other workers' small chunks may take; and the most of it."""


def perform(order: Order) -> None:
    """Carry out an order; what dask runs as a task."""
    from distributed import get_worker

    store: Store = get_worker().plugins[order.store].store
    store.perform(order)


@dataclass(slots=True, eq=False)
class Run:
    """A plan of which this worker performs some tasks."""

    number: int
    portable: Portable
    running: Running
    held: set[Key] = field(default_factory=set)
    returns: bool = False
    """Whether the client has sinks that only it can write to."""
    results: dict[Key, list[tuple[int, tuple[range, ...], Key]]] = field(default_factory=dict)
    """By task, what it hands to sinks of the client: sink, region, and the key under which the array is held. Where
    `returns`, every task that was performed is here until the client has asked, though it handed over nothing."""


class Store:
    """The chunks of a worker and its tasks.

    Parameters
    ----------
    limits : of memory
    share : bytes of host memory that are this worker's part of the machine, where `limits` does not say
    threads : how many tasks it performs at once
    peers : how it asks other workers for slabs
    """

    def __init__(self, limits: Limits, share: int, threads: int, peers: Any) -> None:
        from gpuarray.kernels import cache

        if limits.cache_directory is not None:
            cache.set_folder(limits.cache_directory)
        return_freed_memory()
        # who opened the cluster has looked for GPUs: processes that share one would be in each other's way
        self.backend = backend_for("cpu" if limits.device == "auto" else limits.device, limits.device_memory)
        host = limits.host_memory or max(1, int(HOST_FRACTION * share))
        self.events = Events()
        device = None if self.backend.name == "numpy" else budget(self.backend) or host
        self.memory = MemoryManager(self.backend, host, limits.spill_directory, device, self.events)
        self.threads, self.peers = threads, peers
        self._number = self.memory.open_run()
        self._cache = Cache(min(CACHE_MOST, int(host * CACHE_FRACTION)))
        self.memory.reserve(self._number, self._cache.most)
        staging = self.memory.staging
        self.host_limit = host - self._cache.most - (staging.nbytes if staging else 0)
        self.limit = device if self.memory.device and device else self.host_limit
        self._runs: dict[str, Run] = {}
        self.under_way: set[str] = set()
        """The orders that are being carried out, by name."""
        self._opened = 0
        self._admitting = threading.Lock()
        self._lock = threading.Lock()
        self.fetched = self.fetches = self.sent = 0
        self.moved: deque[Moved] = deque(maxlen=1000)

    def facts(self) -> dict[str, Any]:
        """What a client plans with."""
        return {
            "backend": self.backend.name,
            "device": self.memory.device,
            "limit": self.limit,
            "host_limit": self.host_limit,
            "threads": self.threads,
        }

    def statistics(self) -> dict[str, Any]:
        """Bytes by tier, and over the network."""
        tiers = {
            s.name: {"held": s.held, "reserved": s.reserved, "limit": s.limit, "peak": s.peak, "moved_in": s.moved_in}
            for s in self.memory.states()
        }
        return {
            "tiers": tiers,
            "fetched": self.fetched,
            "fetches": self.fetches,
            "sent": self.sent,
            "chunks": sum(len(run.held) for run in tuple(self._runs.values())),
        }

    # Runs

    def open(self, name: str, payload: Any, returns: bool) -> None:
        """Get to know a plan. `returns`: whether its client has sinks that only it can write to."""
        if name in self._runs:
            return
        portable = loads(payload)
        with self._lock:
            self._opened += 1
            running = WorkerRunning(self.backend, self.memory, Stages(portable.stages), self._number, None)
            self._runs.setdefault(name, Run(self._opened, portable, running, returns=returns))

    def close(self, name: str) -> None:
        """Forget a run and all it holds; its tasks stop."""
        run = self._runs.pop(name, None)
        if run is None:
            return
        run.running.stopped = True
        self.memory.wake()
        for key in tuple(run.held):
            self._drop(run, key)

    def drop(self, keys: Iterable[tuple[str, Key]]) -> None:
        """Forget chunks."""
        for name, key in keys:
            run = self._runs.get(name)
            if run is not None:
                self._drop(run, tuple(key))

    def _drop(self, run: Run, key: Key) -> None:
        with self._lock:
            if key not in run.held:
                return
            run.held.discard(key)
        self.memory.drop(self._number, (run.number, *key))

    def put(self, name: str, key: Key, chunk: Chunk, wait: bool) -> bool:
        """Hold a chunk that comes from the client. False if there is no room now and it is not to `wait`."""
        run = self._runs[name]
        if key in run.held:
            return True
        nbytes = sum(a.nbytes for a in chunk)
        ticket = self.memory.admit(self._number, (), work=nbytes, wait=wait, cancelled=run.running.cancelled)
        if ticket is None:
            return False
        try:
            self.memory.put(self._number, (run.number, *key), tuple(map(self.backend.from_host, chunk)), ticket)
        finally:
            self.memory.release(ticket)
        self._hold(run, (key,))
        return True

    def _hold(self, run: Run, keys: Iterable[Key]) -> None:
        """Tell that chunks are there; those of a run that was closed meanwhile go at once."""
        run.held.update(keys)
        if run.running.stopped:
            for key in tuple(run.held):
                self._drop(run, key)

    def part(self, name: str, key: Key, box: Any) -> Chunk:
        """A part of a chunk, as NumPy arrays. Raises KeyError where the chunk is not here."""
        run = self._runs[name]
        if key not in run.held:
            raise KeyError(key)
        import numpy as np

        index = None if box is None else tuple(slice(*edge) for edge in box)
        chunk = self.memory.read(self._number, (run.number, *key), index)
        arrays = tuple(np.asarray(a, order="C") for a in chunk)
        with self._lock:
            self.sent += sum(a.nbytes for a in arrays)
        return arrays

    def results(self, name: str, task: Key) -> list[tuple[int, tuple[range, ...], Chunk]]:
        """Hand over what a task has for the client's sinks: sink, region, array. Raises KeyError where that was lost,
        or handed over before."""
        run = self._runs[name]
        handed = []
        for sink, region, key in run.results.pop(task):
            handed.append((sink, region, self.part(name, key, None)))
            self._drop(run, key)
        return handed

    # Tasks

    def perform(self, order: Order) -> None:
        """Carry out an order.

        Raises Unfinished where a chunk is not where it should be, and whatever a task raises.
        """
        self.under_way.add(order.name)
        try:
            self._carry_out(order)
        finally:
            self.under_way.discard(order.name)

    def _carry_out(self, order: Order) -> None:
        self.drop(order.drops)
        unknown = {item.run for item in order.items} - set(self._runs)
        if unknown:
            raise Unfinished(0, tuple(unknown), ())
        for done, item in enumerate(order.items):
            try:
                self._perform(item)
            except Gone as error:
                raise Unfinished(done, (), error.lost) from None
            except Cancelled:
                raise ClusterError("the run was cancelled while this task was under way") from None

    def _perform(self, item: Item) -> None:
        run = self._runs[item.run]
        task = run.portable.task(item.task)
        parts = run.portable.parts(task)
        names: dict[Key, Key] = {}
        elsewhere: dict[Key, tuple[str, str, bool, Part]] = {}
        for key in task.inputs:
            source, worker, shared = item.sources[key]
            holder = self._runs.get(source)
            if holder is not None and key in holder.held:
                names[key] = (holder.number, *key)
            else:
                elsewhere[key] = (source, worker, shared, parts.get(key, Part(None, 0)))
        work = Fed(self, run, task, names, elsewhere, item)
        fed = replace(
            task,
            inputs=tuple(names.values()),
            outputs=tuple(((run.number, *key), nbytes) for key, nbytes in task.outputs),
            load_nbytes=task.load_nbytes + sum(part.nbytes for *_, part in elsewhere.values() if part.box != CHOSEN),
            work=work,
            picked=tuple(names[key] for key in task.picked if key in names),
        )
        node = Node(fed, item.position, 0)
        try:
            with self._admitting:
                try:
                    ticket = run.running.admit(node)
                except KeyError:  # dropped by the order of another thread meanwhile
                    raise Gone(tuple((item.sources[key][0], key) for key in names)) from None
            if ticket is None:
                raise Cancelled
            work.ticket = ticket
            try:
                run.running.perform(node, ticket, contextlib.nullcontext(), lambda keys: None)
            finally:
                self.memory.release(ticket)
        except Gone:
            raise
        except Exception as error:
            run.running.explain(error, task)
            raise
        self._hold(run, (key for key, _ in task.outputs))
        if run.returns:
            run.results.setdefault(task.key, [])

    def fetch(self, wanted: Mapping[Key, tuple[str, str, bool, Part]]) -> dict[Key, Chunk]:
        """Parts of other workers' chunks. Raises Gone where one cannot be had."""
        found: dict[Key, Chunk] = {}
        ask: dict[Key, tuple[str, str, Part]] = {}
        for key, (source, worker, _, part) in wanted.items():
            cached = self._cache.get((source, key)) if part.box is None else None
            if cached is not None:
                found[key] = cached
            else:
                ask[key] = (source, worker, part)
        if ask:
            got = self.peers(ask)
            lost = tuple((ask[key][0], key) for key in ask if got.get(key) is None)
            if lost:
                raise Gone(lost)
            for key, arrays in got.items():
                found[key] = arrays
                nbytes = sum(a.nbytes for a in arrays)
                with self._lock:
                    self.fetches += 1
                    self.fetched += nbytes
                if wanted[key][2] and wanted[key][3].box is None:
                    self._cache.put((wanted[key][0], key), arrays, nbytes)
        return found


def host_share(memory_limit: int | None, threads: int) -> int:
    """Bytes of host memory that are a worker's part of its machine: dask's limit for it, or by its threads."""
    free = available_memory()
    return min(free, memory_limit) if memory_limit else max(1, int(free * min(1.0, threads / available_threads())))


HANDLERS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="gpuarray-serve")
"""Answer other workers: off the event loop, for a chunk may have to be read from disk."""
