"""The results as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows import format_seconds
from benchmarks.runner import OURS, Report

_OURS, _PEER = "#1b6ca8", "#b8c4cc"
_LEAST = 0.05
"""Where the axis begins."""


def draw(reports: Sequence[Report], machine: dict[str, Any], path: Path) -> None:
    """Save bars of everybody's time over gpuarray's, on a logarithmic axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [r for r in reports if r.outcome(OURS) and sum(bool(o.samples) for o in r.outcomes) > 1]
    bars = sum(sum(bool(o.samples) for o in r.outcomes) for r in shown)
    figure = Figure(figsize=(9, 1.2 + 0.27 * bars + 0.55 * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    at, ticks, labels = 0.0, [], []
    for report in shown:
        ours = report.outcome(OURS)
        assert ours is not None
        axes.text(0, at - 0.75, report.work, transform=axes.get_yaxis_transform(), fontsize=8, weight="bold")
        for o in report.outcomes:
            if not o.samples:
                continue
            ratio = o.wall / ours.wall
            color = _OURS if o.who == OURS else _PEER
            end = max(ratio, _LEAST)  # what is faster still has a bar of no length
            axes.barh(at, end - _LEAST, left=_LEAST, height=0.78, color=color)
            axes.text(end * 1.06, at, f"{format_seconds(o.wall)}, {o.peak / 1e6:.0f} MB", va="center", fontsize=7)
            ticks.append(at)
            labels.append(o.who)
            at += 1
        at += 1.6
    axes.set_yticks(ticks, labels, fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(
        _LEAST, max([10.0, *(o.wall / r.outcome(OURS).wall for r in shown for o in r.outcomes if o.samples)]) * 8
    )
    axes.axvline(1, color=_OURS, linewidth=0.8)
    axes.set_ylim(at - 1, -1.5)
    axes.set_xlabel("times gpuarray's time (logarithmic); beside the bars: median time, memory")
    axes.set_title(
        f"{machine['processor'].split(',')[0]}, {machine['cores']} cores, {', '.join(measured(reports))}", fontsize=9
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def measured(reports: Sequence[Report]) -> list[str]:
    """The days on which they were."""
    return sorted({r.date for r in reports})
