"""What a worker can run: the contract between the engine, which writes plans, and the cluster, which runs them."""

from __future__ import annotations

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


Box = tuple[tuple[int, int], ...]
"""A part of a chunk: (start, stop) along each axis."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a task reads of a chunk."""

    box: Box | None
    """None: all of it."""
    nbytes: int


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
