"""Threads that are kept between runs."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue


class ThreadCache:
    """Runs functions in daemon threads: an idle one if there is one, a new one otherwise.

    It never queues: a run that is started from inside another run's task gets threads of its own, so neither can
    wait for the other's. The runs limit how many threads compute.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[Callable[[], None] | None]] = []
        self._threads: set[threading.Thread] = set()
        self._count = 0

    def start(self, function: Callable[[], None]) -> None:
        """Run `function`, which must not raise, in a thread."""
        with self._lock:
            inbox = self._idle.pop() if self._idle else None
            if inbox is None:
                self._count += 1
                inbox = SimpleQueue()
                thread = threading.Thread(
                    target=self._serve, args=(inbox,), name=f"{self._name}-{self._count}", daemon=True
                )
                thread.start()
                self._threads.add(thread)
        inbox.put(function)

    def _serve(self, inbox: SimpleQueue[Callable[[], None] | None]) -> None:
        while (function := inbox.get()) is not None:
            function()
            del function  # or the idle thread would keep the run's arrays alive
            with self._lock:
                self._idle.append(inbox)

    def close(self) -> None:
        """End the idle threads and wait for them."""
        with self._lock:
            for inbox in self._idle:
                inbox.put(None)
            idle = len(self._idle)
            self._idle.clear()
            threads, self._threads = self._threads, set()
        if idle == len(threads):  # a busy thread may never end; it is a daemon
            for thread in threads:
                thread.join(timeout=1.0)


THREADS = ThreadCache("gpuarray")
atexit.register(THREADS.close)
if hasattr(os, "register_at_fork"):
    # a child has none of its parent's threads, and must not wait for them
    os.register_at_fork(after_in_child=THREADS._reset)
