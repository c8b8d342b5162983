"""The results as text: one table for the terminal, one in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.rows import format_metric, format_seconds
from benchmarks.runner import OURS, Outcome, Report

_WIDTHS = (26, 10, 10, 10, 9, 11)


def lines(report: Report) -> Iterator[str]:
    """One row for the terminal."""
    load = " -> ".join(f"{x:.1f}" for x in report.load)
    yield f"\n{report.name}: {report.work}   [load {load}]"
    for o in report.outcomes:
        cells = cells_of(o, report)
        left, *rest = cells
        yield (
            "  " + left.ljust(_WIDTHS[0]) + "".join(c.rjust(w) for c, w in zip(rest, _WIDTHS[1:], strict=True))
        ).rstrip()
    for verdict in report.verdicts:
        yield f"  {verdict.describe()}"
    for trouble in report.trouble:
        yield f"  TROUBLE: {trouble}"


def header() -> str:
    names = ("wall", "CPU", "memory", "times", "CPU times")
    return "  " + " " * _WIDTHS[0] + "".join(n.rjust(w) for n, w in zip(names, _WIDTHS[1:], strict=True))


def cells_of(o: Outcome, report: Report) -> list[str]:
    """Who, wall, CPU, memory, and how many times gpuarray's wall and CPU seconds those are."""
    name = f"{o.who} ({o.variant})" if o.variant else o.who
    if not o.samples:
        return [name, "failed" if o.failed else "not installed", "", "", "", ""]
    ours = report.outcome(OURS)
    times = ["", ""]
    if ours is not None and o.who != OURS:
        times = [f"{o.wall / ours.wall:.2f}x", f"{o.cpu / max(ours.cpu, 1e-9):.2f}x"]
    return [name, format_seconds(o.wall), format_seconds(o.cpu), format_metric("bytes", o.peak), *times]


def markdown(reports: Sequence[Report], machine: dict[str, Any]) -> str:
    """The whole document."""
    return "\n".join([*_head(machine), *_table(reports), *_misses(reports), ""])


def _head(machine: dict[str, Any]) -> Iterator[str]:
    packages = ", ".join(f"{name} {v}" for name, v in machine["packages"].items())
    yield "# Benchmarks\n"
    yield f"{machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / 1e9:.0f} GB"
    yield f"{', '.join(machine['gpus']) or 'no GPU'}; {machine['system']}; Python {machine['python']}; {packages}.\n"
    yield "Wall and CPU seconds are medians after a warm-up, everybody in turns. Memory is the most that the process"
    yield "held above what it held before the first run. Times: how often gpuarray's wall or CPU seconds fit. Load: the"
    yield "machine's load average before and after the row. Where it is above the number of cores others were at work,"
    yield "and CPU seconds say more.\n"


def _table(reports: Iterable[Report]) -> Iterator[str]:
    yield "| work | who | wall | CPU | memory | times | CPU times | targets | load | measured |"
    yield "|---|---|--:|--:|--:|--:|--:|---|---|---|"
    for report in reports:
        targets = "<br>".join(v.describe() for v in report.verdicts)
        load = " to ".join(f"{x:.1f}" for x in report.load)
        for k, o in enumerate(report.outcomes):
            work, *rest = (f"`{report.work}`", targets, load, f"{report.date}, {report.commit}") if k == 0 else [""] * 4
            yield f"| {work} | {' | '.join([*cells_of(o, report), *rest])} |"


def _misses(reports: Sequence[Report]) -> Iterator[str]:
    notes = [f"- {r.name}: {r.notes}" for r in reports if r.notes]
    trouble = [f"- {r.name}: {t.splitlines()[0]}" for r in reports for t in r.trouble]
    if notes:
        yield "\n" + "\n".join(notes)
    if trouble:
        yield "\n## Trouble\n\n" + "\n".join(trouble)


def summary(reports: Sequence[Report]) -> str:
    """How many targets are met, and which are not."""
    verdicts = [(r.name, v) for r in reports for v in r.verdicts]
    judged = [v for _, v in verdicts if v.passed is not None]
    text = [f"\n{sum(bool(v.passed) for v in judged)} of {len(judged)} targets met"]
    text += [f"  {name}: {v.describe()}" for name, v in verdicts if v.passed is False]
    return "\n".join(text)
