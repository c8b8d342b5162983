"""What a worker can run: the contract between the engine, which writes plans, and the cluster, which runs them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Key = tuple[int, ...]
"""(stage, output of the stage, chunk number): names one kept chunk for the length of a run."""

Chunk = tuple[Any, ...]
"""A kept result: one or several arrays of one backend (a reduction's state has several)."""


@dataclass(frozen=True, slots=True)
class Write:
    """An array on its way to where the user wants it: a zarr array, a .npy file, the NumPy array `compute` returns."""

    sink: Any
    """Has ``write(region, array)``; safe to call from several threads for regions that do not overlap."""
    region: tuple[range, ...]
    array: Any


class StaysHere:
    """Base of sinks. Other processes write to those for which `stays_here` is false; what goes to the others is sent
    back to the process that made the plan, which writes it."""

    @property
    def stays_here(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Result:
    """What running a task gave."""

    kept: Mapping[Key, Chunk] = field(default_factory=dict)
    writes: tuple[Write, ...] = ()


Box = tuple[tuple[int, int], ...]
"""A part of a chunk: (start, stop) along each axis."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Parts of kept chunks that a task reads, end to end, each in C order."""

    parts: tuple[tuple[Key, Box], ...]
    dtypes: tuple[Any, ...]
    """Of the arrays that each of the chunks has."""

    @property
    def nbytes(self) -> int:
        return sum(part_size(box) for _, box in self.parts) * sum(dtype.itemsize for dtype in self.dtypes)


@dataclass(frozen=True, slots=True)
class Picked:
    """What a task has loaded, and the parts of chunks that it has picked."""

    loaded: Any
    arrays: tuple[Chunk, ...]
    """For each `Wanted`, its parts as arrays of one dimension."""


class Work(Protocol):
    """The callable part of a task; picklable. An executor calls its three phases in order and may overlap the
    phases of different tasks: `load` and `store` are input and output, `run` is compute."""

    def load(self) -> Any:
        """Read what comes from files and arrays in host memory: a list of NumPy arrays (views where possible)."""

    def run(self, backend: Any, loaded: Any, chunks: Mapping[Key, Chunk]) -> Result:
        """Compute. `chunks` has every key of the task's `inputs`."""

    def store(self, backend: Any, result: Result) -> None:
        """Hand `result.writes` to their sinks."""


class LiftableWork(Work, Protocol):
    """Work of which a device can have what is read before its turn comes."""

    def lift(self, staging: Any) -> Any:
        """In place of `load`, where tasks compute on a device: read, and bring there what may be there from before
        `run` to after it, within the task's `work_nbytes`.

        `staging` has `cluster.staging.Staging`'s methods ``upload(array)`` and ``stream(shape, dtype, read, runs)``,
        and as `memory` a `running.Place`.
        """


class PickingWork(Work, Protocol):
    """Work that reads parts of kept chunks, and finds out which when it runs: from its other inputs.

    How many bytes these are at most is known before the run. An executor calls `pick` between `load` and `run`, and
    hands `run` a `Picked` in place of what was loaded; its arrays are where tasks compute, and may be written to.
    """

    def pick(self, backend: Any, loaded: Any, chunks: Mapping[Key, Chunk]) -> tuple[Wanted, ...]:
        """Say what to read of the chunks in the task's `picked`; `chunks` has its other inputs."""


@dataclass(frozen=True, slots=True)
class Task:
    """One unit of work with what it needs, known before it runs. Bytes are exact upper bounds."""

    key: Key
    """(stage, number of the task within the stage)."""
    inputs: tuple[Key, ...]
    """Kept chunks that must exist before this task runs; no duplicates."""
    outputs: tuple[tuple[Key, int], ...]
    """Kept chunks it makes, with their bytes."""
    load_nbytes: int
    """Host bytes that `load` fills, transient buffers of the reader included (0 for views of the user's arrays); and,
    where tasks compute on a device, those through which its writes leave it."""
    work_nbytes: int
    """Bytes beyond inputs while it runs, in the memory where it computes: temporaries, results and kept outputs, and on
    a device its copies of what is loaded; where that is the host's, loads come on top."""
    work: Work
    picked: tuple[Key, ...] = ()
    """Those of `inputs` that stay where they are: the task reads parts of them only, which its work picks."""
    picked_nbytes: int = 0
    """The most bytes of these parts; `load_nbytes`, and on a device `work_nbytes`, hold them."""

    @property
    def raised(self) -> tuple[Key, ...]:
        """The inputs that must be where the task computes."""
        picked = frozenset(self.picked)
        return tuple(key for key in self.inputs if key not in picked) if picked else self.inputs


@dataclass(frozen=True, slots=True)
class StageInfo:
    """One line of a plan, for progress, errors and `explain`."""

    number: int
    label: str
    """What it computes, in the user's words: ``sum(multiply, add)``."""
    origin: str
    """The user's line that asked for it, ``script.py:12``, or an empty string."""
    tasks: int
    depends: tuple[int, ...] = ()


CHOSEN: Box = ()
"""Stands for a part that is chosen when the task runs."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a task reads of a chunk."""

    box: Box | None
    """None: all of it."""
    nbytes: int


def part_size(box: Box) -> int:
    """Elements of a part of a chunk."""
    return math.prod(stop - start for start, stop in box)


class Given(Protocol):
    """Chunks that exist before a run and that no task of it makes: arrays of this process, results of earlier runs."""

    def chunk(self, number: int) -> Chunk:
        """One of them, as NumPy arrays; views where possible."""


class Portable(Protocol):
    """What other processes need of a plan: picklable, and small but for the sources in it."""

    stages: tuple[StageInfo, ...]

    def task(self, key: Key) -> Task:
        """Make a task: the same each time, on any machine. The task (s, n) makes the chunks (s, ..., n).

        Raises KeyError where the plan has none of that name.
        """

    def parts(self, task: Task) -> Mapping[Key, Part]:
        """What the task reads of each of its inputs."""


class Plan(Protocol):
    """A run: tasks in an order in which every input comes before its reader."""

    stages: tuple[StageInfo, ...]
    kept: tuple[Key, ...]
    """Chunks that outlive the run (for `persist`)."""
    given: Mapping[int, Given]
    """Stages that tasks read and that are none of this run's; only for executors that compute elsewhere."""
    reserved_nbytes: int
    """Host bytes held for the whole run outside the tasks: the result array that `compute` fills."""
    elements: int
    """How many elements tasks go through, about."""
    waits: bool
    """Whether tasks wait for anything but the processor: for files, a device, or chunks that may be spilled."""

    def tasks(self) -> Iterator[Task]:
        """Enumerate the tasks lazily: memory does not grow with their number."""

    def readers(self, key: Key) -> int:
        """How many tasks read a kept chunk; it is dropped after the last one unless it is in `kept`."""

    def portable(self) -> Portable:
        """The part of the plan that other processes make tasks with."""


class Executor(Protocol):
    """Runs a plan. `local`, `distributed` and `futures` are three."""

    def run(self, plan: Plan, subscribers: Iterable[Any] = ()) -> Mapping[Key, Chunk]:
        """Run every task; return the chunks in `plan.kept`, which live as long as the mapping. On any failure
        nothing is left running or on disk."""
