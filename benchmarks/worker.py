"""One piece of work in a process of its own, so that its memory and its imports are nobody else's."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.rows import Case, Piece, Row, Timed

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Sample:
    """One timed run."""

    wall: float
    cpu: float
    peak: int
    """Most bytes resident at any time of the run above those before the first run."""


@dataclass(frozen=True)
class Ready:
    """The piece is set up and warm."""

    value: Any
    variant: str
    warm_up: Sample | None


@dataclass(frozen=True)
class Failed:
    """The piece cannot go on."""

    reason: str
    missing: bool = False
    """Whether only a package is not installed."""
    trace: str = field(default="", repr=False)


class Memory:
    """The resident memory of this process and its peak: exact on Linux, the largest ever elsewhere."""

    def __init__(self) -> None:
        gc.collect()
        self.base = self._read("VmRSS")

    def reset(self) -> None:
        with contextlib.suppress(OSError):
            _CLEAR.write_text("5")  # the peak starts again from here

    def peak(self) -> int:
        return max(0, self._read("VmHWM") - self.base)

    @staticmethod
    def _read(name: str) -> int:
        if _STATUS.exists():
            line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
            return int(line.split()[1]) * 1024
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def sample(piece: Piece, memory: Memory) -> tuple[Sample, Any]:
    """Run a piece once, as often as it loops, and measure it."""
    gc.collect()
    memory.reset()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(piece.loops):
        value = piece.call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if isinstance(value, Timed):
        wall, cpu, value = value.wall * piece.loops, value.cpu * piece.loops, value.value
    return Sample(wall / piece.loops, cpu / piece.loops, memory.peak()), value


def serve(connection: Connection, row: Row, who: str, case: Case) -> None:
    """Set a piece up and run it each time the other end says "run"; "probe" asks for its further numbers."""
    try:
        made = row.pieces[who](case)
        pieces = made if isinstance(made, list) else [made]
        memory = Memory()
        piece, ready = _warm_up(pieces, memory, row)
        connection.send(ready)
        while (order := connection.recv()) != "stop":
            connection.send(sample(piece, memory) if order == "run" else _probe(piece))
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and not str(error.name).startswith(("gpuarray", "benchmarks"))
        connection.send(Failed(str(error), missing, traceback.format_exc()))
    except EOFError:
        pass  # the runner is gone
    except Exception as error:
        connection.send(Failed(f"{type(error).__name__}: {error}", False, traceback.format_exc()))
    connection.close()
    sys.stdout.flush()
    os._exit(0)  # what the libraries would tidy up is the system's to take back


def _warm_up(pieces: list[Piece], memory: Memory, row: Row) -> tuple[Piece, Ready]:
    """Run every setting once; the fastest stays, after a second run where there was a choice."""
    if row.once:
        return pieces[0], Ready(None, pieces[0].variant, None)
    runs = [(*sample(p, memory), p) for p in pieces]
    if len(pieces) > 1:  # the first run of the first setting has paid for what all need
        runs[0] = (*sample(pieces[0], memory), pieces[0])
    taken, value, piece = min(runs, key=lambda run: run[0].wall)
    return piece, Ready(value, piece.variant, taken)


def _probe(piece: Piece) -> Mapping[str, float]:
    return {} if piece.probe is None else dict(piece.probe())


def apart(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function in a process of its own and wait; what it raises is raised here as a RuntimeError."""
    context = start_context()
    here, there = context.Pipe()
    process = context.Process(target=_call, args=(there, function, arguments), daemon=True)
    process.start()
    there.close()
    try:
        said = here.recv()
    except EOFError:
        said = "it died"
    process.join()
    if said:
        raise RuntimeError(f"{function.__name__}: {said}")


def _call(connection: Connection, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    try:
        function(*arguments)
        connection.send("")
    except BaseException:
        connection.send(traceback.format_exc())
    connection.close()
    os._exit(0)


def start_context() -> Any:
    """How processes are made: forked where that is safe, so that they share arrays they do not write to."""
    import multiprocessing

    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
