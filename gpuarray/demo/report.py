"""What the demonstration prints."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gpuarray.cluster.sizes import format_bytes
from gpuarray.demo.check import Finding
from gpuarray.demo.climate import Grid
from gpuarray.demo.watch import Phase, Watch


def title(grid: Grid, limit: int, data: Path) -> None:
    days, latitudes, longitudes = grid.shape
    print(f"data        {days:,} days x {latitudes} x {longitudes}, float32: {format_bytes(grid.nbytes)} in {data}")
    ratio = f"the data is {grid.nbytes / limit:.1f} times as large"
    print(f"limit       {format_bytes(limit)} for a run: {ratio}")
    print("work        z = (x - x.mean()) / x.std();  z to zarr;  z.mean(axis=0), z.mean(axis=1), z.mean(axis=2)")
    sys.stdout.flush()


def ready(seconds: float) -> None:
    print(f"ready       after {seconds:.1f} s: the first time, kernels are compiled and kept for the next", flush=True)


def counting() -> Callable[[float], None]:
    """A line that counts the check's progress, where somebody looks."""
    shown = [-1]

    def show(done: float) -> None:
        percent = int(100 * done)
        if percent != shown[0] and sys.stderr.isatty():
            shown[0] = percent
            end = "\r\x1b[K" if percent == 100 else ""
            sys.stderr.write(f"\rchecking with NumPy: {percent} %{end}")
            sys.stderr.flush()

    return show


def phases(watch: Watch) -> None:
    """One line for each phase: seconds, bytes read and written, bytes a second."""
    print(f"\n{'':<12}{'seconds':>9}{'read':>12}{'written':>12}{'together':>14}")
    for phase in watch.phases:
        print(_line(phase, *watch.moved(phase)))


def _line(phase: Phase, read: int, written: int) -> str:
    seconds = max(phase.end - phase.begin, 1e-9)
    rate = f"{format_bytes((read + written) / seconds)}/s" if read + written else ""
    cells = f"{seconds:>9.1f}{_bytes(read):>12}{_bytes(written):>12}{rate:>14}"
    return f"{phase.name}\n{'':<12}{cells}" if len(phase.name) > 11 else f"{phase.name:<12}{cells}"


def _bytes(count: int) -> str:
    return format_bytes(count) if count >= 2**20 else "-"


def plan(explanation: Any) -> None:
    print(f"\nThe plan of the run\n\n{explanation}\n")


def memory(watch: Watch, limit: int, excess: bool) -> None:
    """The peak against the limit."""
    word = "MORE THAN THE LIMIT ALLOWS" if excess else "within the limit"
    share = f"{100 * watch.peak / limit:.0f} % of the limit of {format_bytes(limit)}"
    print(f"memory      {format_bytes(watch.peak)} above a base of {format_bytes(watch.base)}: {share}, {word}")
    print(f"            the engine's own account: {format_bytes(watch.engine_peak)}")


def findings(found: Sequence[Finding]) -> None:
    """How far the results are from those of the loop in NumPy."""
    verdict = "passed" if all(f.fine for f in found) else "FAILED"
    print(f"check       {verdict}: largest differences from a plain NumPy loop over the files, float64")
    for f in found:
        print(f"            {f.name:<16}{f.largest:.1e}  {'<=' if f.fine else 'MORE THAN'} {f.allowed:.1e}")
