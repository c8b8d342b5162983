"""The picture: the standardised record on the left, memory and traffic over time on the right."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from gpuarray.cluster.sizes import format_bytes
from gpuarray.demo.climate import FIRST_YEAR, YEAR, Grid
from gpuarray.demo.watch import Watch

_MIB = 2**20
_INK, _LIMIT, _PROCESS, _ENGINE = "#333333", "#c0392b", "#1b6ca8", "#e08e0b"
_PHASES = ("#f3f6f9", "#e2ebf3", "#d3e1ee", "#f4f4f0")
_PIXELS = 1200
"""Along time, more cannot be seen."""


def draw(results: list[Any], grid: Grid, watch: Watch, limit: int, path: Path) -> None:
    """Save the picture.

    Parameters
    ----------
    results : the array z and its means along axes 0, 1 and 2
    limit : bytes that a run may use
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(13.5, 7), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
    FigureCanvasAgg(figure)
    left, right = cast(Any, figure.subfigures(1, 2, width_ratios=(1, 1.05)))
    upper, lower = left.subplots(2, 1, height_ratios=(1.15, 1))
    _map(upper, results[1])
    _belts(lower, results[3], grid)
    memory, traffic = right.subplots(2, 1, height_ratios=(2.3, 1), sharex=True)
    _memory(memory, watch, limit, grid)
    _traffic(traffic, watch)
    figure.savefig(path, dpi=120)


def _map(axes: Any, mean: Any) -> None:
    image = axes.imshow(
        mean, origin="lower", extent=(0, 360, -90, 90), cmap="RdYlBu_r", aspect="auto", **_around_zero(mean)
    )
    axes.set_title("z.mean(axis=0): the mean over all days", fontsize=11, loc="left")
    axes.set_xticks(range(0, 361, 60), [f"{d}°E" for d in range(0, 361, 60)])
    _latitudes(axes)
    axes.figure.colorbar(image, ax=axes, label="standard deviations", pad=0.02)


def _belts(axes: Any, belts: Any, grid: Grid) -> None:
    """Time against latitude: what is left when each day's and latitude's mean over the years is taken away."""
    shown = _by_year(np.asarray(belts, np.float64))
    last = FIRST_YEAR + grid.days / YEAR
    image = axes.imshow(
        shown.T,
        origin="lower",
        extent=(FIRST_YEAR, last, -90, 90),
        cmap="RdBu_r",
        aspect="auto",
        interpolation="nearest",
        **_around_zero(shown),
    )
    axes.set_title("z.mean(axis=2): latitude over time, less the mean year", fontsize=11, loc="left")
    axes.set_xlabel("year")
    _latitudes(axes)
    axes.figure.colorbar(image, ax=axes, label="standard deviations", pad=0.02)


def _by_year(belts: Any) -> Any:
    """Less the mean of the same day in all years, averaged over what one pixel covers."""
    days = len(belts)
    day_of_year = (np.arange(days) % YEAR).astype(int)
    count = np.bincount(day_of_year, minlength=366)
    total = np.zeros((366, belts.shape[1]))
    np.add.at(total, day_of_year, belts)
    anomaly = belts - (total / np.maximum(count, 1)[:, None])[day_of_year]
    step = max(1, -(-days // _PIXELS), min(30, days // 60))
    starts = np.arange(0, days, step)
    return np.add.reduceat(anomaly, starts, axis=0) / np.diff([*starts, days])[:, None]


def _around_zero(values: Any) -> dict[str, float]:
    most = float(np.quantile(np.abs(values), 0.995)) or 1.0
    return {"vmin": -most, "vmax": most}


def _latitudes(axes: Any) -> None:
    axes.set_yticks((-90, -45, 0, 45, 90), ("90°S", "45°S", "0°", "45°N", "90°N"))


def _memory(axes: Any, watch: Watch, limit: int, grid: Grid) -> None:
    times = [look.time for look in watch.looks]
    resident = np.array([look.resident for look in watch.looks]) / _MIB
    top = 1.3 * max(limit / _MIB, float(resident.max()))
    _shade(axes, watch, names_at=0.985)
    axes.fill_between(times, resident, color=_PROCESS, alpha=0.22, linewidth=0)
    axes.plot(times, resident, color=_PROCESS, linewidth=1.3, label="the process, above its base")
    engine = [look.engine / _MIB for look in watch.looks]
    axes.plot(times, engine, color=_ENGINE, linewidth=0.9, label="the engine's own account")
    axes.axhline(limit / _MIB, color=_LIMIT, linewidth=1.6, linestyle=(0, (6, 3)))
    axes.text(
        times[-1],
        limit / _MIB * 1.02,
        f"limit {format_bytes(limit)}",
        color=_LIMIT,
        ha="right",
        va="bottom",
        weight="bold",
    )
    axes.set_ylim(0, top)
    axes.set_ylabel("memory, MiB")
    title = f"{format_bytes(grid.nbytes)} of data, {format_bytes(watch.peak)} of memory"
    axes.set_title(title, fontsize=11, loc="left")
    axes.legend(loc="lower right", frameon=True, framealpha=0.9, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _traffic(axes: Any, watch: Watch) -> None:
    _shade(axes, watch)
    times = np.array([look.time for look in watch.looks])
    for name, color in (("read", _PROCESS), ("written", _LIMIT)):
        moved = np.array([getattr(look, name) for look in watch.looks]) / 2**30
        axes.plot(times, moved, color=color, linewidth=1.4, label=name)
    axes.set_ylim(0)
    axes.set_xlim(0, times[-1])
    axes.set_ylabel("files, GiB so far")
    axes.set_xlabel("seconds")
    axes.legend(loc="upper left", frameon=True, framealpha=0.9, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _shade(axes: Any, watch: Watch, names_at: float | None = None) -> None:
    """A band for each phase, with its name if it is wide enough."""
    total = watch.looks[-1].time
    for k, phase in enumerate(watch.phases):
        axes.axvspan(phase.begin, phase.end, color=_PHASES[k % len(_PHASES)], linewidth=0, zorder=0)
        if names_at is not None and phase.end - phase.begin > 0.03 * total:
            text = phase.name if phase.judged else f"{phase.name}\n(NumPy)"
            axes.text(
                (phase.begin + phase.end) / 2,
                names_at,
                text.replace(", ", ",\n"),
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="top",
                fontsize=9,
                color=_INK,
            )
