"""A recording as one HTML page: no scripts, nothing fetched, light or dark as the reader's browser is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any

from gpuarray.cluster.recording import HERE, Bins, Memory, Recording, Span, combined, seconds_of, summing_bins
from gpuarray.cluster.sizes import format_bytes

WIDTH, LEFT, RIGHT = 1120, 168, 16
PLOT = WIDTH - LEFT - RIGHT
COLOURS = 9
"""Operations with a colour of their own; the others share one."""
MOST_LANES, MOST_SHOWN = 48, 64
ACROSS, ACROSS_MANY, MANY = 480, 160, 16
"""Columns of a picture, and of each where there are many."""

STYLE = """
:root { color-scheme: light dark; --page:#fbfbfa; --card:#fff; --ink:#1d2430; --faint:#687182; --line:#e3e6ea;
  --limit:#c2353f; --held:#5b7db1; --c0:#3b6fb6; --c1:#e08a2e; --c2:#3f9b6c; --c3:#a65aa8; --c4:#c9504a; --c5:#2d9aa6;
  --c6:#8a7a2f; --c7:#7467c9; --c8:#d0709a; --c9:#9aa3af; }
@media (prefers-color-scheme: dark) { :root { --page:#14171c; --card:#1c2027; --ink:#e6e9ee; --faint:#98a2b3;
  --line:#2e343d; --limit:#ff7b81; --held:#6f95cf; --c0:#6ea3ea; --c1:#f0a556; --c2:#62c192; --c3:#c98acb; --c4:#ef7f78;
  --c5:#55c3cf; --c6:#c4b25a; --c7:#a196f2; --c8:#ee98bd; --c9:#6b7482; } }
* { box-sizing:border-box } body { margin:0; background:var(--page); color:var(--ink);
  font:14px/1.45 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif }
main { max-width:1180px; margin:0 auto; padding:28px 20px 60px }
h1 { font-size:22px; margin:0 } h2 { font-size:15px; margin:0 0 10px } p { margin:4px 0 }
.faint { color:var(--faint) } .bad { color:var(--limit); font-weight:600 }
section { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:16px 18px; margin-top:16px;
  overflow-x:auto }
.tiles { display:grid; grid-template-columns:repeat(auto-fit,minmax(150px,1fr)); gap:12px; margin-top:16px }
.tile { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:12px 14px }
.tile b { display:block; font-size:20px; font-weight:600; font-variant-numeric:tabular-nums }
.key { display:flex; flex-wrap:wrap; gap:4px 16px; margin:0 0 10px; font-size:12.5px }
.key i { display:inline-block; width:10px; height:10px; border-radius:3px; margin-right:6px }
svg { display:block; width:100%; min-width:720px; height:auto }
svg text { font-size:11px; fill:var(--faint) } svg .name { fill:var(--ink) }
.grid { stroke:var(--line); stroke-width:1 } .floor { stroke:var(--line) }
.limit { stroke:var(--limit); stroke-width:1.5; stroke-dasharray:5 3 } .held { fill:var(--held); fill-opacity:.8 }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums }
th { text-align:left; color:var(--faint); font-weight:500; font-size:12.5px } td,th { padding:4px 10px 4px 0;
  border-bottom:1px solid var(--line); white-space:nowrap } td.n,th.n { text-align:right } td.op { white-space:normal;
  min-width:220px; overflow-wrap:anywhere } .bar { height:8px; border-radius:4px; min-width:2px }
""" + "".join(f".f{n} {{ fill:var(--c{n}) }} .b{n} {{ background:var(--c{n}) }} " for n in range(COLOURS + 1))


def page(recording: Recording, title: str) -> str:
    """The whole page."""
    with recording._lock:
        order = recording.slowest_first()
        colours = {name: min(n, COLOURS) for n, name in enumerate(order)}
        parts = [
            headline(recording, title),
            tiles(recording),
            section("Tasks", legend(order) + tasks(recording, colours)) if order else "",
            section("Memory", memory(recording)) if recording.memory else "",
            section("Transfers", transfers(recording)) if recording.moved else "",
            section("Operations", operations(recording, order, colours)) if order else "",
        ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<style>{STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def framed(html: str) -> str:
    """A page inside another, such as a notebook, whose styles must not mix."""
    return (
        f'<iframe srcdoc="{escape(html)}" sandbox="" style="width:100%;height:900px;border:0" title="report"></iframe>'
    )


def section(name: str, body: str) -> str:
    return f"<section><h2>{name}</h2>{body}</section>"


def headline(recording: Recording, title: str) -> str:
    runs = recording.runs
    failed = [run for run in runs if run.error is not None]
    state = f"{len(runs):,} run{'' if len(runs) == 1 else 's'}"
    if under_way := sum(run.stop is None for run in runs):
        state += f", {under_way:,} under way"
    errors = "".join(f'<p class="bad">failed: {escape(shortened(run.error or "", 400))}</p>' for run in failed[:5])
    nothing = "" if runs else '<p class="faint">Nothing ran: small arrays are worked out at once, without tasks.</p>'
    return f'<h1>{escape(title)}</h1><p class="faint">{state}</p>{errors}{nothing}'


def tiles(recording: Recording) -> str:
    total = sum(t.tasks for t in recording.totals.values())
    planned = sum(run.tasks for run in recording.runs)
    seconds = sum(map(seconds_of, recording.totals.values()))
    compute = sum(t.compute for t in recording.totals.values())
    made = [
        ("time", duration(recording.stop)),
        ("tasks", f"{total:,}" if total == planned else f"{total:,} of {planned:,}"),
        ("tasks at once, on average", f"{busy_seconds(recording) / recording.stop:.1f}" if recording.stop else "-"),
    ]
    if compute < seconds:  # on a cluster, only the whole is known
        made.append(("of the tasks' time computing", f"{compute / seconds:.0%}"))
    tiers: dict[str, list[Memory]] = {}
    for by_tier in recording.memory.values():
        for name, tier in by_tier.items():
            tiers.setdefault(name, []).append(tier)
    for name, found in tiers.items():
        worst = max(found, key=lambda m: m.peak / m.limit if m.limit else m.peak)
        if worst.peak:
            limit = f"; the limit is {format_bytes(worst.limit)}" if worst.limit else ""
            where = f"{name} of a worker" if len(found) > 1 else name
            made.append((f"most in {where}{limit}", format_bytes(worst.peak)))
    if recording.moved:
        made.append(("moved between memories", format_bytes(sum(m.nbytes for m in recording.moved.values()))))
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><b>{escape(value)}</b><span class="faint">{escape(name)}</span></div>'
            for name, value in made
        )
        + "</div>"
    )


def busy_seconds(recording: Recording) -> float:
    return sum(sum(bins.values) for by_name in recording.busy.values() for bins in by_name.values())


def legend(order: Sequence[str]) -> str:
    shown = [
        f'<span><i class="b{n}"></i>{escape(shortened(name, 60))}</span>' for n, name in enumerate(order[:COLOURS])
    ]
    if len(order) > COLOURS:
        rest = len(order) - COLOURS
        shown.append(f'<span><i class="b{COLOURS}"></i>{rest:,} other operation{"" if rest == 1 else "s"}</span>')
    return f'<div class="key">{"".join(shown)}</div>'


# Pictures


def svg(rows: Iterable[tuple[str, int, str]], stop: float, note: str = "") -> str:
    """Rows of a name (and a second line), a height, and a drawing from the left top; over an axis of time."""
    y, drawn = 6, []
    for title, height, drawing in rows:
        name, _, detail = title.partition("\n")
        middle = y + height / 2 + (-2 if detail else 4)
        shown = f"{escape(shortened(name, 27))}<title>{escape(name)}</title>"
        text = f'<text class="name" x="0" y="{middle:.0f}">{shown}</text>'
        if detail:
            text += f'<text x="0" y="{middle + 13:.0f}">{escape(detail)}</text>'
        drawn.append(
            f'{text}<g transform="translate({LEFT},{y})">{drawing}'
            f'<line class="floor" x1="0" x2="{PLOT}" y1="{height + 0.5}" y2="{height + 0.5}"/></g>'
        )
        y += height + 8
    axis = "".join(
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{y}"/>'
        f'<text x="{x:.1f}" y="{y + 14}" text-anchor="middle">{text}</text>'
        for x, text in ticks(stop)
    )
    below = f'<p class="faint">{note}</p>' if note else ""
    return f'<svg viewBox="0 0 {WIDTH} {y + 22}" role="img">{axis}{"".join(drawn)}</svg>{below}'


def ticks(stop: float) -> Iterator[tuple[float, str]]:
    """Round times and where they are."""
    if stop <= 0:
        return
    power = 10.0 ** math.floor(math.log10(stop / 8))
    step = next(power * n for n in (1, 2, 5, 10) if stop / (power * n) <= 10)
    for n in range(int(stop / step + 1e-9) + 1):
        yield LEFT + PLOT * n * step / stop, duration(n * step)


def tasks(recording: Recording, colours: dict[str, int]) -> str:
    lanes = sum(recording.lanes.values())
    if recording.spans is not None and lanes <= MOST_LANES:
        return svg(lane_rows(recording, recording.spans, colours), recording.stop)
    workers = sorted(recording.busy, key=by_number)
    shown = workers[:MOST_SHOWN]
    height = 64 if len(shown) <= 8 else 30 if len(shown) <= 24 else 18
    columns = ACROSS if len(shown) <= MANY else ACROSS_MANY
    rows = (
        (worker, height, stacked(recording, worker, colours, height, columns)) for worker in shown
    )  # one at a time: there may be many
    note = "The height is the share of the most tasks that were under way at once on the worker."
    if len(workers) > len(shown):
        note += f" The first {len(shown)} of {len(workers):,} workers."
    return svg(rows, recording.stop, note)


def lane_rows(recording: Recording, spans: Sequence[Span], colours: dict[str, int]) -> Iterator[tuple[str, int, str]]:
    """A row for each worker, in it a line for each of its tasks at once."""
    thick = 15 if sum(recording.lanes.values()) <= 24 else 9
    scale = PLOT / max(recording.stop, 1e-9)
    by_worker: dict[str, list[Span]] = {}
    for span in spans:
        by_worker.setdefault(span.worker, []).append(span)
    for worker in sorted(by_worker, key=by_number):
        bars = []
        for s in by_worker[worker]:
            width = max(1.0, (s.stop - s.start) * scale - 0.6)
            bars.append(
                f'<rect class="f{colours[s.name]}" x="{s.start * scale:.1f}" y="{s.lane * thick}" width="{width:.1f}" '
                f'height="{thick - 2}" rx="{min(2.0, width / 2):.1f}"><title>{escape(told(s))}</title></rect>'
            )
        yield worker, recording.lanes[worker] * thick, "".join(bars)


def told(span: Span) -> str:
    done = span.done
    parts = {"load": done.load, "wait": done.wait, "compute": done.compute, "store": done.store}
    times = ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts.items() if seconds > 0)
    return (
        f"{shortened(span.name, 80)}\ntask {span.key[-1]}, {duration(span.start)} to {duration(span.stop)}\n{times}\n"
        f"{format_bytes(done.nbytes)} reserved"
    )


def stacked(recording: Recording, worker: str, colours: dict[str, int], height: int, columns: int) -> str:
    """Operations on top of each other, the busiest below."""
    groups: dict[int, list[str]] = {}
    for name in sorted(recording.busy[worker], key=lambda n: colours[n]):
        groups.setdefault(colours[name], []).append(name)
    full = recording.stop / columns * recording.lanes[worker]
    floor, drawn = [0.0] * columns, []
    for colour, names in groups.items():
        rows = combined((recording.busy[worker][name] for name in names), recording.stop, columns)
        ceiling = [f + sum(values) for f, values in zip(floor, zip(*rows, strict=True), strict=True)]
        title = shortened(names[0], 80) if len(names) == 1 else f"{len(names):,} operations"
        drawn.append(
            f'<path class="f{colour}" d="{between(floor, ceiling, full, height)}"><title>{escape(title)}</title></path>'
        )
        floor = ceiling
    return "".join(drawn)


def between(low: Sequence[float], high: Sequence[float], full: float, height: int) -> str:
    """The outline of an area of columns."""
    width = PLOT / len(high)

    def at(value: float) -> str:
        return f"{height * (1 - min(1.0, value / full if full else 0.0)):.1f}"

    there = [f"M0 {at(low[0])}"]
    last = ""
    for n, value in enumerate(high):
        if (y := at(value)) != last:
            there.append(f"H{n * width:.1f}V{y}")
            last = y
    there.append(f"H{PLOT}")
    last = ""
    for n in range(len(low) - 1, -1, -1):
        if (y := at(low[n])) != last:
            there.append(f"H{(n + 1) * width:.1f}V{y}")
            last = y
    return "".join(there) + "H0Z"


def memory(recording: Recording) -> str:
    """A row for each tier of each worker; a limit is as high as the picture."""
    workers = sorted(recording.memory, key=by_number)
    shown = workers[:MOST_SHOWN]
    height = 54 if len(shown) <= 8 else 26
    rows = []
    for worker in shown:
        for name, tier in recording.memory[worker].items():
            if tier.peak:
                label = name if worker == HERE else f"{worker.partition(' (')[0]}, {name}"
                limit = f" of {format_bytes(tier.limit)}" if tier.limit is not None else ""
                label += f"\nat most {format_bytes(tier.peak)}{limit}"
                rows.append((label, height, area(tier, recording.stop, height)))
    note = "Held by chunks and reserved by tasks; the dashed line is the limit."
    if len(workers) > len(shown):
        note += f" The first {len(shown)} of {len(workers):,} workers."
    return svg(rows, recording.stop, note)


def area(tier: Memory, stop: float, height: int) -> str:
    top = max(tier.peak, tier.limit if tier.limit is not None and tier.limit <= 20 * tier.peak else 0) or 1
    values = sampled(tier.used, stop, ACROSS)
    line = ""
    if tier.limit is not None and tier.limit <= top:
        y = 1 + (height - 1) * (1 - tier.limit / top)
        line = f'<line class="limit" x1="0" x2="{PLOT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return f'<path class="held" d="{between([0.0] * len(values), values, top, height)}"/>{line}'


def sampled(bins: Bins, stop: float, columns: int) -> list[float]:
    """What was held, column by column: between two looks, what was seen last."""
    made, last = [], 0.0
    for n in range(columns):
        first = int(n * stop / columns / bins.width)
        beyond = max(first + 1, int((n + 1) * stop / columns / bins.width))
        last = max(bins.values[first:beyond], default=0.0) or last
        made.append(last)
    return made


def transfers(recording: Recording) -> str:
    """Bytes a second, by way, of all workers together; and their sums."""
    ways: dict[str, list[Bins]] = {}
    for by_way in recording.moves.values():
        for way, bins in by_way.items():
            ways.setdefault(way, []).append(bins)
    rows, height = [], 40
    for colour, (way, found) in enumerate(sorted(ways.items())):
        values = summing_bins(ACROSS, recording.stop).values
        for row in combined(found, recording.stop, ACROSS):
            values = [a + b for a, b in zip(values, row, strict=True)]
        top = max(values) or 1.0
        rate = f"at most {format_bytes(int(top * ACROSS / max(recording.stop, 1e-9)))}/s"
        path = between([0.0] * ACROSS, values, top, height)
        rows.append((f"{way}\n{rate}", height, f'<path class="f{(colour + 5) % COLOURS}" d="{path}"/>'))
    cells = "".join(
        f'<tr><td>{escape(way)}</td><td class="n">{total.moves:,}</td><td class="n">{format_bytes(total.nbytes)}</td>'
        f'<td class="n">{duration(total.seconds)}</td></tr>'
        for way, total in sorted(recording.moved.items())
    )
    head = '<tr><th></th><th class="n">moves</th><th class="n">bytes</th><th class="n">time</th></tr>'
    return svg(rows, recording.stop) + f"<table>{head}{cells}</table>"


def operations(recording: Recording, order: Sequence[str], colours: dict[str, int]) -> str:
    most = max(seconds_of(recording.totals[order[0]]), 1e-12)
    rows = []
    for name in order[:100]:
        t = recording.totals[name]
        cells = "".join(f'<td class="n">{duration(s)}</td>' for s in (t.load, t.wait, t.compute, t.store))
        rows.append(
            f'<tr><td class="op">{escape(shortened(name, 160))}</td><td style="width:110px"><div class="bar '
            f'b{colours[name]}" style="width:{100 * seconds_of(t) / most:.1f}%"></div></td>'
            f'<td class="n">{t.tasks:,}</td>{cells}<td class="n">{format_bytes(t.nbytes // max(1, t.tasks))}</td></tr>'
        )
    names = ("tasks", "load", "wait", "compute", "store", "a task")
    head = "<tr><th>operation</th><th></th>" + "".join(f'<th class="n">{n}</th>' for n in names) + "</tr>"
    more = f'<p class="faint">{len(order) - 100:,} operations more.</p>' if len(order) > 100 else ""
    return f"<table>{head}{''.join(rows)}</table>{more}"


# Words


def duration(seconds: float) -> str:
    """A time as people write it.

    >>> duration(0.00125), duration(0), duration(2.5), duration(200)
    ('1.25 ms', '0 s', '2.5 s', '3 min 20 s')
    """
    if seconds <= 0:
        return "0 s"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def by_number(worker: str) -> tuple[Any, ...]:
    """Sorts worker 10 after worker 9.

    >>> sorted(["worker 10", "this process", "worker 9"], key=by_number)
    ['this process', 'worker 9', 'worker 10']
    """
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", worker))


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
