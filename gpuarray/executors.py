"""The executor in force: where `compute` runs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray import config
from gpuarray.cluster import active
from gpuarray.graph.leaves import Stored
from gpuarray.kernels import backends, cache
from gpuarray.kernels.devices import backends_for, budget
from gpuarray.plan.elsewhere import Elsewhere
from gpuarray.readers import KeptReader

KEPT = 8
"""Executors that are remembered; one more makes the one used longest ago go, once nothing it keeps is referred to."""


@dataclass(frozen=True)
class Engine:
    """An executor with what a plan must know of it."""

    executor: Any
    backend: Any
    """What tasks compute with; the first of several devices, where results are that stay there."""
    limit: int
    """Bytes of the memory in which tasks compute that a run may hold; of each device."""
    host_limit: int
    """Bytes of host memory that a run may hold; the same where tasks compute there. What is pinned for the copies to
    and from a device is not among them."""
    threads: int
    elsewhere: Elsewhere | None = None
    """Set where tasks compute in other processes."""
    devices: int = 1
    """That share the tasks out; 1 where the processor computes."""

    @property
    def has_own_memory(self) -> bool:
        """Whether tasks compute in the memory of a device, not in the host's."""
        return self.backend.xp is not np

    @property
    def is_gpu(self) -> bool:
        """Whether tasks compute on a real device."""
        return bool(self.backend.name == "cupy")

    @property
    def small_backend(self) -> Any:
        """What computes results of few bytes: the processor is done with them before a GPU has begun."""
        return backends.get("numpy") if self.is_gpu else self.backend


_engines: OrderedDict[tuple[Any, ...], Engine] = OrderedDict()
_lock = threading.Lock()


def current() -> Engine:
    """The engine for the settings in force; the same one as long as they are the same."""
    settings = config.get()
    cluster = active.current()
    if cluster is not None and settings.executor is None and settings.scheduler == "auto":
        return on_cluster(cluster.executor, settings)
    key: tuple[Any, ...] = (settings.device, settings.host_memory, settings.device_memory, settings.threads)
    key += (settings.spill_directory, settings.scheduler, settings.executor and id(settings.executor))
    with _lock:
        engine = _engines.get(key)
        if engine is None:
            engine = _engines[key] = make(settings)
            if len(_engines) > KEPT:
                _engines.popitem(last=False)
        _engines.move_to_end(key)
    return engine


def make(settings: config.Settings) -> Engine:
    """An engine for settings: its memory is the device's where the device has its own, else the host's."""
    from gpuarray.cluster.local import LocalExecutor

    cache.set_folder(settings.cache_path())
    threads, host = settings.thread_count(), settings.host_limit()
    devices = backends_for(settings.device, settings.device_memory)
    backend = devices[0]
    device = None if backend.name == "numpy" else min(budget(b) or host for b in devices)
    directory = settings.spill_path()
    if settings.executor is not None:
        from gpuarray.cluster.futures import FuturesExecutor

        pool = FuturesExecutor(settings.executor, host_limit=host, directory=directory, threads=settings.threads)
        elsewhere = Elsewhere(pool.threads, None, lambda reader: None)
        return Engine(pool, pool.backend, host, host, pool.threads, elsewhere)
    executor = LocalExecutor(
        devices,
        host_limit=host,
        device_limit=device,
        directory=directory,
        threads=threads,
        in_caller=settings.scheduler == "single-threaded",
    )
    staging = executor.memory.staging
    host -= staging.nbytes if staging else 0
    return Engine(executor, backend, device or host, host, threads, devices=len(devices))


def on_cluster(executor: Any, settings: config.Settings) -> Engine:
    """The engine of an open cluster, as its workers are now."""

    def kept_there(reader: Any) -> tuple[Stored, Any] | None:
        """The chunks of a persisted array, if they are on these workers."""
        if isinstance(reader, KeptReader) and getattr(reader.chunks, "executor", None) is executor:
            return reader.leaf, reader.chunks
        return None

    elsewhere = Elsewhere(executor.threads_each, executor.host_limit if executor.device else None, kept_there)
    here = backends.get("numpy")
    return Engine(executor, here, executor.limit, settings.host_limit(), executor.threads, elsewhere)
