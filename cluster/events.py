"""What happens during a run, as data. Executors emit; progress bars, timelines and tests subscribe.

A subscriber is any callable that takes one event. It is called from the thread in which the event happened, so it
must be quick and thread-safe, and it must not wait for the run it hears of.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

from gpuarray.cluster.task import Key, StageInfo

__all__ = [
    "Dropped",
    "Event",
    "Events",
    "MemoryState",
    "Moved",
    "RunDone",
    "RunFailed",
    "RunStarted",
    "Subscriber",
    "TaskDone",
    "TaskStarted",
    "TierState",
    "monotonic",
]


@dataclass(frozen=True, slots=True)
class Event:
    """Base of every event."""

    time: float
    """When, on the monotonic clock (`time.monotonic`)."""
    run: int
    """Which run of this executor; 0 where no run asked for it."""


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    stages: tuple[StageInfo, ...]


@dataclass(frozen=True, slots=True)
class TaskStarted(Event):
    """A task was admitted: its memory is reserved and it starts to load."""

    key: Key
    """(stage, number of the task within the stage)."""
    thread: int


@dataclass(frozen=True, slots=True)
class TaskDone(Event):
    key: Key
    thread: int
    load: float
    """Seconds spent on reading, and on raising spilled chunks."""
    wait: float
    """Seconds spent waiting for a free core."""
    compute: float
    store: float
    nbytes: int
    """What was reserved for it: loads, temporaries and results."""


@dataclass(frozen=True, slots=True)
class Moved(Event):
    """A chunk went from one tier of memory to another."""

    key: Key
    src: str
    dst: str
    nbytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Dropped(Event):
    """The last reader of a chunk is done."""

    key: Key
    tier: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class TierState:
    """The bytes of one tier. In memory, ``held + reserved`` never exceeds `limit`."""

    name: str
    held: int
    """Bytes of kept chunks."""
    reserved: int
    """Bytes promised to running tasks and to the results of runs."""
    limit: int | None
    peak: int
    """The most that was ever held and reserved at once."""
    moved_in: int
    """Bytes that came from other tiers, all told."""
    moves_in: int


@dataclass(frozen=True, slots=True)
class MemoryState(Event):
    tiers: tuple[TierState, ...]
    """From the fastest to the slowest."""


@dataclass(frozen=True, slots=True)
class RunDone(Event):
    seconds: float


@dataclass(frozen=True, slots=True)
class RunFailed(Event):
    seconds: float
    error: str
    """The type of the exception and its message."""


Subscriber = Callable[[Any], object]


class Events:
    """A list of subscribers. False while nobody listens, so that emitters can skip making events.

    >>> heard = []
    >>> events = Events([heard.append])
    >>> events.emit(RunDone(time=0.0, run=1, seconds=2.0))
    >>> heard
    [RunDone(time=0.0, run=1, seconds=2.0)]
    """

    def __init__(self, subscribers: Iterable[Subscriber] = ()) -> None:
        self._subscribers: tuple[Subscriber, ...] = tuple(subscribers)
        self._lock = threading.Lock()
        self._broken: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._subscribers)

    def emit(self, event: Event) -> None:
        """Tell every subscriber. One that raises is reported once and does not disturb the run."""
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except Exception as error:
                self._complain(subscriber, error)

    @contextlib.contextmanager
    def heard_by(self, subscribers: Iterable[Subscriber]) -> Iterator[None]:
        """Add subscribers for the length of a ``with`` block."""
        added = tuple(subscribers)
        if not added:
            yield
            return
        with self._lock:
            self._subscribers += added
        try:
            yield
        finally:
            with self._lock:
                left = list(self._subscribers)
                for subscriber in added:
                    # by identity: a subscriber may define __eq__
                    at = next((i for i, other in enumerate(left) if other is subscriber), None)
                    if at is not None:
                        del left[at]
                self._subscribers = tuple(left)

    def _complain(self, subscriber: Subscriber, error: Exception) -> None:
        with self._lock:
            if id(subscriber) in self._broken:
                return
            self._broken.add(id(subscriber))
        message = f"the subscriber {subscriber!r} raised {error!r}; the run goes on (said once)"
        try:
            warnings.warn(message, RuntimeWarning, stacklevel=4)
        except RuntimeWarning:  # warnings are errors here, but a display must not break a run
            logging.getLogger("gpuarray").warning(message)
