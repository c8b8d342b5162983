"""The executor in force: where `compute` runs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from gpuarray import config
from gpuarray.kernels import backends, cache

KEPT = 8
"""Executors that are remembered; one more makes the one used longest ago go, once nothing it keeps is referred to."""


@dataclass(frozen=True)
class Engine:
    """An executor with what a plan must know of it."""

    executor: Any
    backend: Any
    limit: int
    """Bytes of the memory in which tasks compute that a run may hold."""
    threads: int


_engines: OrderedDict[tuple[Any, ...], Engine] = OrderedDict()
_lock = threading.Lock()


def current() -> Engine:
    """The engine for the settings in force; the same one as long as they are the same."""
    settings = config.get()
    key = (settings.device, settings.host_memory, settings.device_memory, settings.threads, settings.spill_directory)
    with _lock:
        engine = _engines.get(key)
        if engine is None:
            engine = _engines[key] = make(settings)
            if len(_engines) > KEPT:
                _engines.popitem(last=False)
        _engines.move_to_end(key)
    return engine


def make(settings: config.Settings) -> Engine:
    from gpuarray.cluster.local import LocalExecutor

    cache.set_folder(settings.cache_path())
    limit, threads = settings.host_limit(), settings.thread_count()
    backend = backends.get("numpy")
    executor = LocalExecutor(backend, host_limit=limit, directory=settings.spill_path(), threads=threads)
    return Engine(executor, backend, limit, threads)
