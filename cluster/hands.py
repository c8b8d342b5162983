"""The workers as a client knows them: who is there, what is on its way to them, and who has fallen silent."""

from __future__ import annotations

import itertools
import logging
import threading
import time
import weakref
from dataclasses import dataclass, field
from typing import Any, Protocol

from gpuarray.cluster.link import Link
from gpuarray.cluster.orders import Item
from gpuarray.cluster.schedule import Job, Record, Schedule

logger = logging.getLogger("gpuarray")

SILENT = 10
"""Questions in a row that a worker leaves unanswered before its orders go to others, though dask thinks it alive."""


class Employer(Protocol):
    """A run that has orders on their way."""

    schedule: Schedule
    hurt: bool
    """Whether workers died under its tasks."""

    def given_up(self, sent: Sent) -> None:
        """An order will not come back."""


@dataclass(eq=False)
class Sent:
    """An order on its way."""

    name: str
    run: Employer
    worker: str
    jobs: list[Job]
    items: tuple[Item, ...]
    start: float
    future: Any = None


@dataclass(eq=False)
class Hand:
    """What the client knows of a worker."""

    threads: int
    number: int
    items: int = 1
    """Tasks of an order."""
    sent: dict[str, Sent] = field(default_factory=dict)
    heard: float = 0.0
    """When an order came back, was sent to a worker that had none, or was asked after."""
    unanswered: int = 0
    overdue: set[str] = field(default_factory=set)
    """Orders that had not begun when last asked after, though the worker could have taken more."""


class Hands:
    """The workers. `lock` is held to use anything here, and by runs while they use their schedules.

    Parameters
    ----------
    timeout : seconds without news after which a worker is asked what it is doing
    """

    def __init__(self, link: Link, timeout: float) -> None:
        self.link, self.timeout = link, timeout
        self.lock = threading.RLock()
        self.known: dict[str, Hand] = {}
        self.runs: list[Employer] = []
        self.records: weakref.WeakSet[Record] = weakref.WeakSet()
        self._new: set[str] = set()
        """Workers that were found at the last look and may not be ready."""
        self._not_before: dict[str, float] = {}
        """When to ask a worker again that was not ready."""

    def look(self) -> tuple[list[str], list[str]]:
        """Who is there now: the workers that joined, and those that are gone."""
        alive = self.link.workers()
        gone = [worker for worker in self.known if worker not in alive]
        joined = [worker for worker in alive if worker not in self.known]
        for worker in joined:
            taken = {hand.number for hand in self.known.values()}
            number = next(n for n in itertools.count() if n not in taken)
            self.known[worker] = Hand(alive[worker], number)
        return joined, gone

    def meet(self) -> None:
        """Let those go who are gone, take on those who have joined, and ask after those that nothing is heard of."""
        joined, gone = self.look()
        self._not_before = {worker: t for worker, t in self._not_before.items() if worker in joined}
        for worker in gone:
            self.bury(worker)
        for worker in joined:
            # dask gives it its store after it has joined: not at the look that finds it
            if worker not in self._new or not self._ready(worker):
                del self.known[worker]
        self._new = set(joined)
        for run in self.runs:
            for worker in self.known:
                run.schedule.joined(worker)
        now = time.monotonic()
        for worker, hand in list(self.known.items()):
            if hand.sent and now - hand.heard > self.timeout:
                hand.heard = now
                self._ask_after(worker, hand)

    def _ready(self, worker: str) -> bool:
        start = time.monotonic()
        if start < self._not_before.get(worker, start):
            return False
        self._not_before.pop(worker, None)
        if self.link.ready(worker):
            return True
        now = time.monotonic()
        self._not_before[worker] = now + 10 * (now - start)  # so that those who wait for answers wait little
        return False

    def _ask_after(self, worker: str, hand: Hand) -> None:
        """Send orders again that were lost on the way, and give up a worker that has not answered for long."""
        found = self.link.orders(worker)
        if found is None:
            hand.unanswered += 1
            if hand.unanswered >= SILENT:
                logger.warning("the worker %s does not answer; its tasks go to others", worker)
                self.bury(worker)
            return
        hand.unanswered = 0
        under_way, idle = found
        overdue = set(hand.sent) - under_way if idle else set()
        lost = [hand.sent.pop(name) for name in overdue & hand.overdue]
        hand.overdue = overdue
        if lost:
            logger.warning("%d orders to %s, or its answers, were lost; they are sent again", len(lost), worker)
            self.link.cancel([sent.future for sent in lost])
            for sent in lost:
                sent.run.given_up(sent)

    def bury(self, worker: str) -> None:
        """A worker is gone, or as good as gone, with all that it held."""
        hand = self.known.pop(worker, None)
        if hand is None:
            return
        self.link.cancel([sent.future for sent in hand.sent.values()])
        for run in self.runs:
            run.schedule.gone(worker, list(self.records), hand.threads)
            run.hurt = True
