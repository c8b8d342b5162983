"""An explanation as an aligned table of at most 100 columns."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from gpuarray.display import facts
from gpuarray.display.words import listed, shortened, size

if TYPE_CHECKING:
    from gpuarray.plan.explain import Explanation, StageSummary

WIDTH = 100
MOST = 120
"""Stages shown; of longer plans the first and the last."""
_GAP = "  "
_HEADER = ("#", "operation", "line", "tasks", "grid", "read", "in", "out", "a task")
_LEFT = (1, 2, 4)
"""Columns of words, aligned left."""
_LEAST_LABEL = 16


def table(plan: Explanation) -> str:
    """The whole explanation."""
    lines = textwrap.wrap(facts.headline(plan), WIDTH)
    for note in facts.notes(plan):
        lines += textwrap.wrap(note, WIDTH, subsequent_indent="  ")
    shown, left_out = few(plan)
    rows = [row(s) for s in shown]
    widths = fit([_HEADER, *rows])
    lines += ["", aligned(_HEADER, widths)]
    for n, (stage, cells) in enumerate(zip(shown, rows, strict=True)):
        if left_out and n == MOST // 2:
            lines.append(f"... {left_out:,} stages ...")
        lines.append(aligned(cells, widths))
        lines += detail(stage, widths[0])
    lines.append("")
    pad = max(len(name) for name, _ in facts.totals(plan))
    for name, text in facts.totals(plan):
        lines += textwrap.wrap(f"{name:{pad}}  {text}", WIDTH, subsequent_indent=" " * (pad + 2))
    return "\n".join(line.rstrip() for line in lines)


def few(plan: Explanation) -> tuple[list[StageSummary], int]:
    """The stages to show, and how many are left out in the middle."""
    stages = list(plan.stages)
    if len(stages) <= MOST:
        return stages, 0
    half = MOST // 2
    return stages[:half] + stages[-half:], len(stages) - MOST


def row(stage: StageSummary) -> tuple[str, ...]:
    return (
        str(stage.number),
        shortened(stage.label, 40),
        shortened(stage.origin, 20, keep_end=True),
        f"{stage.tasks:,}",
        shortened(facts.grid(stage), 16),
        size(stage.read_nbytes),
        facts.taken(stage),
        facts.made(stage),
        size(stage.task_nbytes),
    )


def fit(rows: list[tuple[str, ...]]) -> list[int]:
    """Widths of the columns; what is too much for the page is taken from the labels, then from the lines."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - WIDTH
    for column, least in ((1, _LEAST_LABEL), (2, 8), (4, 6), (1, 6)):
        cut = min(max(0, over), max(0, widths[column] - least))
        widths[column] -= cut
        over -= cut
    return widths


def aligned(cells: tuple[str, ...], widths: list[int]) -> str:
    made = []
    for k, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        text = shortened(cell, width, keep_end=k == 2)
        made.append(text.ljust(width) if k in _LEFT else text.rjust(width))
    return _GAP.join(made)


def detail(stage: StageSummary, indent: int) -> list[str]:
    """The second line of a stage: what it waits for, its kernels, and what its largest task holds."""
    parts = [f"after {listed(stage.depends)}"] if stage.depends else []
    parts.append(facts.kernels(stage))
    if stage.task_nbytes:
        parts.append(f"a task holds {facts.task_bytes(stage)}")
    start = " " * (indent + len(_GAP))
    return textwrap.wrap(
        shortened("; ".join(parts), 4 * WIDTH), WIDTH, initial_indent=start, subsequent_indent=start + _GAP
    )
