"""Runs the rows: everybody in turns, results compared, targets judged."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks import machine
from benchmarks.rows import Case, Disagreement, Row, Target, format_metric
from benchmarks.worker import Failed, Ready, Sample, apart, serve, start_context

OURS = "gpuarray"
LONG = 10.0
"""Seconds of a warm-up from which a piece is run fewer times."""
FEW = 2


@dataclass
class Outcome:
    """What one piece has taken."""

    who: str
    variant: str = ""
    samples: list[Sample] = field(default_factory=list)
    warm_up: Sample | None = None
    value: Any = None
    metrics: dict[str, float] = field(default_factory=dict)
    missing: str = ""
    """Why there are no samples."""
    failed: bool = False

    @property
    def wall(self) -> float:
        return statistics.median(s.wall for s in self.samples)

    @property
    def cpu(self) -> float:
        return statistics.median(s.cpu for s in self.samples)

    @property
    def spread(self) -> float:
        """The slowest run over the fastest: what the machine's other work did."""
        return max(s.wall for s in self.samples) / min(s.wall for s in self.samples)

    @property
    def peak(self) -> int:
        """Bytes, the warm-up included."""
        runs = [*self.samples, *([self.warm_up] if self.warm_up else [])]
        return max(s.peak for s in runs)


@dataclass
class Verdict:
    """A target and what was found."""

    target: Target
    found: float | None
    passed: bool | None
    """None where it cannot be judged."""

    def describe(self) -> str:
        """
        >>> from benchmarks.rows import within
        >>> Verdict(within("peak_bytes", 3e8), 1.2e8, True).describe()
        'pass: peak_bytes 120 MB, target <= 300 MB'
        """
        word = {True: "pass", False: "MISS", None: "not judged"}[self.passed]
        name = f"vs {self.target.peer}" if self.target.peer else self.target.metric
        if self.found is None:
            return f"{word}: {name}, target {self.target.describe()}"
        found = f"{self.found:.2f}x" if self.target.peer else format_metric(self.target.metric, self.found)
        return f"{word}: {name} {found}, target {self.target.describe()}"


@dataclass
class Report:
    """One finished row."""

    name: str
    work: str
    outcomes: list[Outcome]
    verdicts: list[Verdict]
    trouble: list[str]
    """Results that differ, pieces that died."""
    load: tuple[float, float]
    """The machine's load average before and after."""
    notes: str = ""
    date: str = ""
    commit: str = ""

    def outcome(self, who: str) -> Outcome | None:
        return next((o for o in self.outcomes if o.who == who and o.samples), None)

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        pieces = []
        for o in self.outcomes:
            measured = {"wall": o.wall, "cpu": o.cpu, "peak": o.peak, "spread": o.spread} if o.samples else {}
            pieces.append(
                {
                    "who": o.who,
                    "variant": o.variant,
                    **measured,
                    "metrics": o.metrics,
                    "missing": o.missing,
                    "failed": o.failed,
                    "warm_up": asdict(o.warm_up) if o.warm_up else None,
                    "samples": [asdict(s) for s in o.samples],
                }
            )
        targets = [{"target": v.target.describe(), **asdict(v.target), "found": v.found, "passed": v.passed}
                   for v in self.verdicts]  # fmt: skip
        return {
            "name": self.name,
            "work": self.work,
            "date": self.date,
            "commit": self.commit,
            "load": list(self.load),
            "pieces": pieces,
            "targets": targets,
            "trouble": self.trouble,
            "notes": self.notes,
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Report:
        """The row that `as_dict` has described."""
        outcomes = []
        for p in data["pieces"]:
            warm_up = Sample(**p["warm_up"]) if p["warm_up"] else None
            samples = [Sample(**s) for s in p["samples"]]
            outcomes.append(
                Outcome(p["who"], p["variant"], samples, warm_up, None, p["metrics"], p["missing"], p["failed"])
            )
        verdicts = [
            Verdict(Target(t["bound"], t["peer"], t["metric"], t["most"]), t["found"], t["passed"])
            for t in data["targets"]
        ]
        plain = {name: data[name] for name in ("name", "work", "trouble", "notes", "date", "commit")}
        return cls(**plain, outcomes=outcomes, verdicts=verdicts, load=tuple(data["load"]))


class Worker:
    """The process of one piece, seen from here."""

    def __init__(self, row: Row, who: str, case: Case) -> None:
        context = start_context()
        self.connection, there = context.Pipe()
        self.process = context.Process(target=serve, args=(there, row, who, case), daemon=True)
        self.process.start()
        there.close()

    def hear(self) -> Any:
        try:
            return self.connection.recv()
        except EOFError:
            self.process.join()
            return Failed(f"its process died with exit status {self.process.exitcode}")

    def ask(self, order: str) -> Any:
        self.connection.send(order)
        return self.hear()

    def stop(self) -> None:
        if self.process.is_alive():
            with contextlib.suppress(OSError):
                self.connection.send("stop")
            self.process.join(5)
            self.process.kill()
        self.process.join()
        self.connection.close()


def run_row(
    row: Row, *, quick: bool, repeat: int, peers: bool, folder: Path | None, say: Callable[[str], None]
) -> Report:
    """Run one row with everybody in it, or gpuarray alone.

    `folder`: where the scratch folder is made; None is the system's temporary folder.
    """
    scratch = Path(tempfile.mkdtemp(prefix="gpuarray-bench-", dir=folder))
    try:
        size = SimpleNamespace(**(row.quick if quick else row.full))
        case = Case(size, scratch)
        if row.files is not None:
            say("writing files")
            apart(row.files, case)
        if row.arrays is not None:
            say("making arrays")
            case = Case(size, scratch, row.arrays(case))
        load = os.getloadavg()[0]
        outcomes, trouble = take_turns(row, case, 1 if row.once else repeat, peers, say)
        values = {o.who: o.value for o in outcomes if o.samples}
        try:
            row.check(values, case)
        except Disagreement as difference:
            trouble.append(str(difference))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    verdicts = [judge(t, outcomes, quick) for t in row.targets]
    work = row.work.format(**vars(size))
    loads = (load, os.getloadavg()[0])
    today = datetime.date.today().isoformat()
    return Report(row.name, work, outcomes, verdicts, trouble, loads, row.notes, today, machine.commit())


def take_turns(
    row: Row, case: Case, repeat: int, peers: bool, say: Callable[[str], None]
) -> tuple[list[Outcome], list[str]]:
    """Warm everybody up, then run them one after another, round after round, so that a disturbance meets all."""
    trouble: list[str] = []
    outcomes = {who: Outcome(who) for who in row.pieces if peers or who == OURS}
    workers: dict[str, Worker] = {}

    def drop(who: str, failure: Failed) -> None:
        outcomes[who].missing, outcomes[who].failed = failure.reason, not failure.missing
        outcomes[who].samples.clear()
        if not failure.missing:
            trouble.append(f"{who}: {failure.reason}\n{failure.trace}".strip())
        workers.pop(who).stop()

    try:
        for who in outcomes:  # one after another, so that nobody is disturbed
            say(f"{who}: warming up")
            workers[who] = Worker(row, who, case)
            said = workers[who].hear()
            if isinstance(said, Ready):
                outcomes[who].variant, outcomes[who].warm_up, outcomes[who].value = (
                    said.variant,
                    said.warm_up,
                    said.value,
                )
            else:
                drop(who, said)
        for turn, who in rounds(outcomes, repeat):
            if who not in workers:
                continue
            say(f"{who}: run {turn + 1}")
            said = workers[who].ask("run")
            if isinstance(said, Failed):
                drop(who, said)
                continue
            taken, outcomes[who].value = said
            outcomes[who].samples.append(taken)
        for who in list(workers):
            said = workers[who].ask("probe")
            if isinstance(said, Failed):
                drop(who, said)
            else:
                outcomes[who].metrics.update(said)
    finally:
        for worker in workers.values():
            worker.stop()
    for o in outcomes.values():
        if o.samples:
            o.metrics.setdefault("peak_bytes", o.peak)
            o.metrics.setdefault("wall_seconds", o.wall)
    return list(outcomes.values()), trouble


def rounds(outcomes: dict[str, Outcome], repeat: int) -> Iterator[tuple[int, str]]:
    """(turn, who), everybody once in each turn; those who are slow only in the first few."""
    for turn in range(repeat):
        for who, o in outcomes.items():
            slow = o.warm_up is not None and o.warm_up.wall > LONG
            if not slow or turn < FEW:
                yield turn, who


def judge(target: Target, outcomes: list[Outcome], quick: bool) -> Verdict:
    """Whether a target is met; small sizes are not judged."""
    by_name = {o.who: o for o in outcomes if o.samples}
    ours = by_name.get(OURS)
    if ours is None:
        return Verdict(target, None, None)
    if target.peer:
        if target.peer not in by_name:
            return Verdict(target, None, None)
        found = by_name[target.peer].wall / ours.wall
    elif target.metric not in ours.metrics:
        return Verdict(target, None, None)
    else:
        found = ours.metrics[target.metric]
    passed = found <= target.bound if target.most else found >= target.bound
    return Verdict(target, found, None if quick else passed)


def settle(most: float, patience: float, say: Callable[[str], None]) -> None:
    """Wait a while for the machine to be idle."""
    until = time.monotonic() + patience
    while os.getloadavg()[0] > most and time.monotonic() < until:
        say(f"waiting: the load average is {os.getloadavg()[0]:.1f}")
        time.sleep(2)
