"""A model of weak and strong scaling to 8 GPUs and to 1,000: python -m benchmarks.scaling [--measure]

Three works, from three ends: `heat` exchanges halos, `sum` merges states in a tree, `standardize` streams from the
hosts' memory. What the model knows is in scaling-inputs.json, each number with where it comes from; what it assumes is
below. `--measure` runs heat and sum on 1, 2 and 4 workers of this machine, and sets the model, given this machine's own
numbers, beside what they take.

Assumed:
- Every worker has one GPU, or one core, and the same share. Where there are more workers than cores they share those.
- One client hands out all tasks, one after the other, while workers compute: a round takes as long as the slower of
  both. This is what ends the scaling to 1,000: tasks must be larger there, or handed out by more than one.
- Halos are exchanged between rounds, not during them; a worker's messages go out at once, its bytes one by one.
- The GPUs of a box form a square of tiles; a box's outer halos take the network, the others NVLink.
- Halos that overlap are computed twice. A tree of sums has 16 branches.
- Nothing fails, nobody else is on the network, and the storage is not read.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
INPUTS = HERE / "scaling-inputs.json"
WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
BRANCHES = 16


@dataclass(frozen=True)
class Machine:
    """What the model knows; the names and units are those of scaling-inputs.json."""

    gpus_per_box: float
    cells_per_second: float
    memory_rate: float
    host_rate: float
    box_rate: float
    network_rate: float
    socket_rate: float
    message_seconds: float
    task_seconds: float
    cores: int | None = None
    """Set for workers that share cores."""

    def speed(self, workers: int) -> float:
        """Of one worker, as a share of what it does alone."""
        return 1.0 if self.cores is None else min(1.0, self.cores / workers)


def read(path: Path) -> Machine:
    """The inputs of a file. Raises SystemExit, naming what is wrong, for one that has not all of them."""
    try:
        found = {name: float(entry["value"]) for name, entry in json.loads(path.read_text())["inputs"].items()}
        if bad := [name for name, value in found.items() if not value > 0]:
            raise ValueError(f"{', '.join(bad)}: must be positive")
        return Machine(**found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{path}: {type(error).__name__}: {error}") from error


# The model: seconds of one round of work, on so many workers


def heat(m: Machine, workers: int, cells: float, *, steps: int = 64, chunks: int = 4, itemsize: int = 8) -> float:
    """`steps` steps between two exchanges of halos as thick; `cells` in all, in `chunks` tasks for each worker."""
    side = math.sqrt(cells / workers)
    tile = side / math.sqrt(chunks)
    redundant = (1 + steps / tile) ** 2 if workers * chunks > 1 else 1.0  # on average half of it on either side
    compute = side**2 * steps * redundant / (m.cells_per_second * m.speed(workers))
    return max(compute, workers * chunks * m.task_seconds) + exchange(m, workers, side * steps * itemsize)


def exchange(m: Machine, workers: int, edge: float) -> float:
    """Halos of `edge` bytes on each side of every worker's square."""
    if workers == 1:
        return 0.0
    sides = 2 if workers == 2 else 4
    if m.cores is not None:
        return m.message_seconds + sides * edge / (m.socket_rate * m.speed(workers))
    if workers <= m.gpus_per_box:
        return m.message_seconds + sides * edge / m.box_rate
    outside = sides * edge / math.sqrt(m.gpus_per_box)  # of the box's edge, one GPU's part
    return m.message_seconds + max(sides * edge / m.box_rate, outside / m.network_rate)


def summed(m: Machine, workers: int, nbytes: float, *, chunks: int = 8) -> float:
    """A sum of `nbytes` that lie in the workers' memory, in `chunks` tasks for each."""
    compute = nbytes / workers / (m.memory_rate * m.speed(workers))
    levels = math.ceil(math.log(workers, BRANCHES)) if workers > 1 else 0
    merges = sum(math.ceil(workers / BRANCHES**n) for n in range(1, levels + 1))
    tree = levels * m.message_seconds + merges * m.task_seconds
    return max(compute, workers * chunks * m.task_seconds) + tree


def standardized(m: Machine, workers: int, nbytes: float, *, chunk: float = 1 << 30) -> float:
    """``(x - x.mean()) / x.std()`` of what lies in the hosts' memory: read twice, written once."""
    passes = 3 * nbytes / workers / (m.host_rate * m.speed(workers))
    tasks = 2 * max(workers, nbytes / chunk)
    return max(passes, tasks * m.task_seconds) + 2 * math.ceil(math.log(max(2, workers), BRANCHES)) * m.message_seconds


@dataclass(frozen=True)
class Curve:
    """A work whose size is of one worker (weak) or of all (strong)."""

    name: str
    seconds: Callable[[Machine, int, float], float]
    weak: float
    """Size for each worker."""
    strong: float
    """Size of the whole."""
    unit: str


CURVES = (
    Curve("heat", heat, 4.0e9, 6.4e10, "cells"),
    Curve("sum", summed, 6.4e10, 1.0e12, "bytes"),
    Curve("standardize", standardized, 2.56e11, 8.0e12, "bytes"),
)


def efficiency(m: Machine, curve: Curve, weak: bool, workers: Sequence[int] = WORKERS) -> list[float]:
    """What share of `workers` times one worker's speed there is; of a strong curve, on one that could hold it all."""
    if weak:
        one = curve.seconds(m, 1, curve.weak)
        return [one / curve.seconds(m, n, n * curve.weak) for n in workers]
    one = curve.seconds(m, 1, curve.strong)
    return [one / n / curve.seconds(m, n, curve.strong) for n in workers]


def bound(m: Machine, curve: Curve, workers: int) -> str:
    """What ends the scaling: the term without which the most time would be saved."""
    size = workers * curve.weak
    now = curve.seconds(m, workers, size)
    without = {
        "handing out tasks": replace(m, task_seconds=1e-30),
        "messages": replace(m, message_seconds=1e-30),
        "bytes between workers": replace(m, box_rate=1e30, network_rate=1e30, socket_rate=1e30),
    }
    saved = {name: now - curve.seconds(other, workers, size) for name, other in without.items()}
    name = max(saved, key=lambda n: saved[n])
    return name if saved[name] > 0.02 * now else "nothing yet"


def table(m: Machine) -> Iterator[str]:
    yield f"{'workers':>8}" + "".join(f"{c.name + ' weak':>18}{'strong':>9}" for c in CURVES)
    rows = [(efficiency(m, c, True), efficiency(m, c, False)) for c in CURVES]
    for n, workers in enumerate(WORKERS):
        yield f"{workers:>8}" + "".join(f"{weak[n]:>18.0%}{strong[n]:>9.0%}" for weak, strong in rows)
    for curve in CURVES:
        yield f"{curve.name} on {WORKERS[-1]}: what costs most beside computing is {bound(m, curve, WORKERS[-1])}"


def draw(m: Machine, measured: Sequence[dict[str, Any]], path: Path) -> None:
    """Efficiency over workers, weak and strong; and what was measured here beside its own model."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13 if measured else 9.5, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    plots: Any = figure.subplots(1, 3 if measured else 2)
    colours = ("#1b6ca8", "#d9822b", "#3f9b6c")
    for axes, weak in zip(plots, (True, False), strict=False):
        for curve, colour in zip(CURVES, colours, strict=True):
            size = curve.weak if weak else curve.strong
            label = f"{curve.name}, {size:.3g} {curve.unit}{' each' if weak else ''}"
            axes.plot(WORKERS, efficiency(m, curve, weak), "o-", ms=3, color=colour, label=label)
        axes.axvline(m.gpus_per_box, color="#999", lw=0.8, ls=":")
        axes.set(xscale="log", ylim=(0, 1.08), xlabel="GPUs", title=f"{'weak' if weak else 'strong'} scaling (model)")
        axes.set_ylabel("efficiency")
        axes.legend(fontsize=8, loc="lower left")
        axes.grid(alpha=0.25)
    if measured:
        axes = plots[2]
        for name, colour in zip(("heat", "sum"), colours, strict=False):
            rows = [r for r in measured if r["work"] == name]
            axes.plot(
                [r["workers"] for r in rows], [r["model"] for r in rows], "--", color=colour, label=f"{name}, model"
            )
            axes.plot(
                [r["workers"] for r in rows], [r["seconds"] for r in rows], "o", color=colour, label=f"{name}, here"
            )
        axes.set(xlabel="workers of this machine", ylabel="seconds", title=f"model and {os.cpu_count()} cores")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=130)


# Measuring


HEAT = {"side": 2048, "steps": 64, "rounds": 2}
SUM = {"elements": 120_000_000}
TINY = 400


@contextmanager
def workers(number: int) -> Iterator[Any]:
    import gpuarray as ga

    with ga.cluster.Cluster(
        n_workers=number, threads_per_worker=1, dashboard="127.0.0.1:0", host_memory="2 GiB"
    ) as cluster:
        yield cluster


def median(call: Callable[[], object], repeat: int) -> float:
    """Of some runs after a first one, which compiles."""
    call()
    taken = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def measure(m: Machine, repeat: int) -> list[dict[str, Any]]:
    """Heat and sum on 1, 2 and 4 workers here, beside the model with this machine's numbers."""
    import gpuarray as ga

    @ga.stencil
    def step(u: Any) -> Any:
        return u[0, 0] + 0.1 * (u[1, 0] + u[-1, 0] + u[0, 1] + u[0, -1] - 4 * u[0, 0])

    side, steps, rounds = HEAT["side"], HEAT["steps"], HEAT["rounds"]
    found: dict[str, dict[int, float]] = {"heat": {}, "sum": {}}
    fetched = 0.0
    for number in (1, 2, 4):
        with workers(number) as cluster:
            across = math.ceil(math.sqrt(4 * number))
            u = ga.random.default_rng(0).random((side, side), chunks=-(-side // across)).persist()
            found["heat"][number] = median(lambda u=u: ga.iterate(step, u, steps=rounds * steps).persist(), repeat)
            x = ga.random.default_rng(0).random(SUM["elements"], chunks=SUM["elements"] // (8 * number)).persist()
            found["sum"][number] = median(lambda x=x: x.sum().compute(), repeat)
            if number == 1:
                many = ga.map_blocks(_nothing, ga.zeros(TINY * 1000, chunks=1000), dtype=float)
                each = median(lambda many=many: many.persist(), repeat) / TINY
                one = ga.map_blocks(_nothing, ga.zeros(1000), dtype=float)
                base = median(lambda one=one: one.persist(), repeat)
            if number == 2:
                fetched = sum(s["fetched"] for s in cluster.statistics().values())
    alone = {work: taken[1] - base for work, taken in found.items()}
    redundant = heat(replace(m, task_seconds=1e-30, cells_per_second=1.0), 1, side**2, steps=steps) / (side**2 * steps)
    local = replace(
        m,
        cores=os.cpu_count() or 1,
        task_seconds=each,
        cells_per_second=side**2 * steps * rounds * redundant / alone["heat"],
        memory_rate=8 * SUM["elements"] / alone["sum"],
    )
    print(f"here: {base * 1e3:.0f} ms a run, {each * 1e3:.2f} ms a task, ", end="")
    print(f"{local.cells_per_second:.3g} cells/s, {local.memory_rate:.3g} B/s, ", end="")
    print(f"{fetched / 1e6:.1f} MB between 2 workers")
    rows = []
    for number in (1, 2, 4):
        model = {
            "heat": base + rounds * heat(local, number, side**2, steps=steps),
            "sum": base + summed(local, number, 8 * SUM["elements"]),
        }
        for work, seconds in model.items():
            rows.append({"work": work, "workers": number, "seconds": found[work][number], "model": seconds})
    return rows


def _nothing(block: Any) -> Any:
    return block


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.scaling", description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=Path, default=INPUTS, help="what the model knows (default: %(default)s)")
    parser.add_argument("--measure", action="store_true", help="1, 2 and 4 workers of this machine, too")
    parser.add_argument("--repeat", type=int, default=3, help="runs, of which the median counts")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "scaling.png", help="default: %(default)s")
    options = parser.parse_args(arguments)
    m = read(options.inputs)
    print("\n".join(table(m)))
    measured = measure(m, max(1, options.repeat)) if options.measure else []
    for row in measured:
        print(f"{row['work']:>6} on {row['workers']}: {row['seconds']:.3f} s, model {row['model']:.3f} s")
    draw(m, measured, options.output)
    options.output.with_suffix(".json").write_text(
        json.dumps({"inputs": vars(m), "measured": measured}, indent=1) + "\n"
    )
    print(f"drawn: {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
