"""What a client tells workers to do, and how their stores are set up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpuarray.cluster.task import Key

HOST_FRACTION = 0.6
"""Of a worker's share of the memory, the part that chunks and tasks may take where no limit is given."""


class Unfinished(Exception):
    """An order was not carried out to its end: some chunks are not where the client thought they were.

    Its arguments are how many tasks were done, the runs that this worker does not know, and the chunks that it could
    not get as (run, key) pairs.
    """

    def __init__(self, done: int, unknown: tuple[str, ...], lost: tuple[tuple[str, Key], ...]) -> None:
        super().__init__(done, unknown, lost)
        self.done, self.unknown, self.lost = done, unknown, lost


@dataclass(frozen=True, slots=True)
class Item:
    """One task of an order."""

    run: str
    task: Key
    sources: Mapping[Key, tuple[str, str, bool]]
    """For each input: the run that made it, the worker that has it, and whether other tasks read it too."""
    position: int


@dataclass(frozen=True, slots=True)
class Order:
    """Tasks for one worker, one after the other."""

    store: str
    name: str
    items: tuple[Item, ...]
    drops: tuple[tuple[str, Key], ...] = ()
    """Chunks that nobody needs any more."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How a store is set up. None: worked out on the worker."""

    device: str = "auto"
    device_memory: int | None = None
    host_memory: int | None = None
    spill_directory: str | None = None
    cache_directory: str | None = None
