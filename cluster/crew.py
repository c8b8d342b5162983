"""The threads of one run."""

from __future__ import annotations

import contextvars
import functools
import threading
from collections import deque
from collections.abc import Iterable

from gpuarray.cluster.events import monotonic
from gpuarray.cluster.ledger import Ticket
from gpuarray.cluster.pool import THREADS
from gpuarray.cluster.running import Cancelled, Running
from gpuarray.cluster.task import Key
from gpuarray.cluster.window import Node, Window
from gpuarray.kernels.errors import TaskError
from gpuarray.kernels.stopping import asking

_LOOK = 0.25
"""Seconds after which the caller looks whether Ctrl-C came just as it went to sleep: then nothing wakes it."""
_BRIEFLY = 0.01
"""Seconds between two looks whether all threads have stopped."""
PATIENCE = 0.002
"""Seconds that a task waits at most while others that came later may compute."""


class Slots:
    """Places among those who may compute.

    A place goes to who asks for it first when it is free, which is mostly the thread that has just left it: nobody
    needs to wake up. But who has waited longer than `PATIENCE` is next; a `threading.Semaphore` can let a task wait for
    all others, and what it has loaded with it.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._lock = threading.Lock()
        self._waiting: deque[tuple[float, threading.Lock]] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if self._free and not self._late():
                self._free -= 1
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append((monotonic(), gate))
        while True:
            gate.acquire()
            with self._lock:
                if self._free:
                    self._waiting.popleft()
                    self._free -= 1
                    self._wake()
                    return

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._free += 1
            self._wake()

    def _late(self) -> bool:
        return bool(self._waiting) and monotonic() - self._waiting[0][0] > PATIENCE

    def _wake(self) -> None:
        """Have who waits longest look again, and nobody else."""
        if self._free and self._waiting and self._waiting[0][1].locked():
            self._waiting[0][1].release()


class Crew:
    """Performs the tasks of a window with `workers` threads, of which `computing` may compute at once.

    One thread at a time admits a task, so that tasks get their memory in order. The caller only waits: Ctrl-C can
    strike no bookkeeping.
    """

    def __init__(self, running: Running, window: Window, computing: int, workers: int) -> None:
        self._running, self._window = running, window
        self._slots = Slots(computing)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._idle = 0
        self._admitting = False
        self._active = 0
        self._finished = 0
        self._full_at = -1
        self._workers = workers
        self._serving = 0
        self._left = 0
        self._closed = False
        self._error: BaseException | None = None
        self._done = threading.Lock()  # a bare lock: Ctrl-C cannot break it as it can an Event

    def work(self) -> None:
        """Perform every task, or raise what the first to fail has raised once all have stopped."""
        self._done.acquire()
        try:
            self._hire()
            while not self._done.acquire(timeout=_LOOK):
                pass
        except BaseException:  # the system has no more threads, or Ctrl-C, which may strike as the last one leaves
            self._closed = True
            self._stop()
            while self._serving:  # a second Ctrl-C leaves the threads behind
                self._done.acquire(timeout=_BRIEFLY)
            raise
        if self._error is not None:
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error  # or this frame and the traceback would keep each other, and arrays, alive

    def _hire(self) -> None:
        for _ in range(self._workers):
            # each in its own copy of the caller's context: numpy.errstate holds for the tasks as well
            context = contextvars.copy_context()
            THREADS.start(functools.partial(context.run, self._serve))

    def _enter(self) -> bool:
        """Count a worker in, unless the caller does not wait for any that come now."""
        with self._lock:
            self._serving += 1
            if self._closed:
                self._serving -= 1
            return not self._closed

    def _leave(self) -> None:
        with self._lock:
            self._serving -= 1
            self._left += 1
            last = self._left == self._workers
        if last:
            self._done.release()

    def _stop(self) -> None:
        self._running.stopped = True
        self._running.memory.wake()
        with self._lock:
            self._wake_all()

    def _serve(self) -> None:
        if not self._enter():
            return
        try:
            while (job := self._next()) is not None:
                self._perform(*job)
                del job
        except BaseException as error:
            self._fail(error)
        finally:
            self._leave()

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._error is None and not isinstance(error, Cancelled):
                self._error = error
        self._stop()

    def _next(self) -> tuple[Node, Ticket] | None:
        """The next task, admitted; None when there are no more."""
        while True:
            with self._lock:
                found = self._find()
                if found is None:
                    return None
                self._admitting = True
                finished = self._finished
            node, ahead = found
            ticket = None
            try:
                ticket = self._running.admit(node, ahead=ahead)
            except Exception as error:
                self._running.explain(error, node.task)
                raise
            finally:
                with self._lock:
                    self._admitting = False
                    if ticket is not None:
                        self._window.start(node)
                        self._active += 1
                        self._wake()
                    elif ahead:
                        self._full_at = finished
            if ticket is not None:
                return node, ticket

    def _find(self) -> tuple[Node, bool] | None:
        """Wait for a task that is ready while no other thread admits one."""
        while not self._running.cancelled():
            if not self._admitting:
                found = self._window.next()
                # one that overtakes and had no room will have none until some task is done
                if found is not None and not (found[1] and self._full_at == self._finished):
                    return found
                if found is None and self._window.head() is None:
                    self._wake_all()
                    return None
                if not self._active:
                    raise TaskError(f"internal error: {self._window.stuck()}")
            self._pause()
        return None

    def _pause(self) -> None:
        self._idle += 1
        self._changed.wait()

    def _wake(self) -> None:
        """Wake one thread that waits, if any; who wakes counts, so that nobody is woken twice."""
        if self._idle:
            self._idle -= 1
            self._changed.notify()

    def _wake_all(self) -> None:
        self._idle = 0
        self._changed.notify_all()

    def _perform(self, node: Node, ticket: Ticket) -> None:
        running = self._running
        try:
            with asking(running.check):
                running.perform(node, ticket, self._slots, self._made)
        except BaseException as error:
            if not isinstance(error, Cancelled):
                running.explain(error, node.task)
            raise
        finally:
            self._end(node, ticket)

    def _end(self, node: Node, ticket: Ticket) -> None:
        running = self._running
        try:
            if node.task.inputs and not running.stopped:
                with self._lock:
                    unread = self._window.read(node)
                # while the ticket is there: who waits for memory is refused when nobody is left who could give any
                running.dispose(unread)
        finally:
            running.memory.release(ticket)
            with self._lock:
                self._active -= 1
                self._finished += 1
                self._wake()

    def _made(self, keys: Iterable[Key]) -> None:
        with self._lock:
            if self._window.made(keys):
                self._wake()
