"""What is made of the numbers: metrics, verdicts, a table in Markdown, a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.rows import Bound, Row
from benchmarks.rows import format_seconds

OURS = "gpuarray"


def judged(rows: Sequence[Row], pieces: Sequence[dict[str, Any]], rates: Mapping[str, float], tiny: bool) -> list[Any]:
    """A dictionary for each row: who took how long, metrics, and bounds with what was found."""
    made: list[dict[str, Any]] = []
    for row in rows:
        size = row.size(tiny)
        mine = [dict(p) for p in pieces if p.get("row") == row.name]
        for p in mine:
            if "seconds" in p:
                p["metrics"] = row.metrics(p["seconds"], size, rates)
        made.append({"name": row.name, "work": row.work.format(**vars(size)), "pieces": mine})
    by_name = {r["name"]: r for r in made}
    for row, found in zip(rows, made, strict=True):
        found["bounds"] = [verdict(b, found, by_name, tiny) for b in row.bounds]
        ours = _piece(found, OURS)
        if row.exact and ours is not None and "same_bits" in ours:
            found["bounds"].append(
                {"metric": "same bits every run", "found": ours["same_bits"], "passed": ours["same_bits"]}
            )
    return made


def _piece(found: Mapping[str, Any], who: str) -> dict[str, Any] | None:
    return next((p for p in found["pieces"] if p["who"] == who and "seconds" in p), None)


def verdict(bound: Bound, found: Mapping[str, Any], by_name: Mapping[str, Any], tiny: bool) -> dict[str, Any]:
    """What was found of a bound; `passed` is None where it cannot be judged, as at tiny sizes."""
    value = _value(bound.metric, found, by_name)
    passed = None
    if value is not None and not tiny:
        passed = value <= bound.must if bound.most else value >= bound.must
    return {"metric": bound.metric, "must": bound.must, "aim": bound.aim, "most": bound.most,
            "found": value, "passed": passed}  # fmt: skip


def _value(metric: str, found: Mapping[str, Any], by_name: Mapping[str, Any]) -> float | None:
    ours = _piece(found, OURS)
    if ours is None:
        return None
    if metric.startswith("vs "):
        names = re.split(r",\s*", metric.removeprefix("vs ").removeprefix("best of "))
        times = [p["seconds"] for name in names if (p := _piece(found, name))]
        return min(times) / ours["seconds"] if times else None
    if metric.startswith("rate_of "):
        other = _piece(by_name.get(metric.removeprefix("rate_of "), {"pieces": []}), OURS)
        if other is None or "metrics" not in other or "metrics" not in ours:
            return None
        return float(ours["metrics"]["elements_per_second"] / other["metrics"]["elements_per_second"])
    known = {**ours, **ours.get("metrics", {})}
    return known.get(metric)


def lines(found: Mapping[str, Any]) -> list[str]:
    """A row for the terminal."""
    said = [f"{found['name']}: {found['work']}"]
    ours = _piece(found, OURS)
    for p in found["pieces"]:
        if "seconds" in p:
            rate = p.get("metrics", {}).get("fraction")
            ratio = f"{p['seconds'] / ours['seconds']:6.2f}x" if ours else ""
            share = f"  {rate:.2f} of the limit" if rate is not None else ""
            call = f"  {format_seconds(p['call_seconds'])} with planning" if "call_seconds" in p else ""
            said.append(f"    {p['who']:<24}{format_seconds(p['seconds']):>10} {ratio}{share}{call}")
        else:
            said.append(f"    {p['who']:<24}{p.get('trouble') or p.get('missing')}")
    said += [f"    {describe(b)}" for b in found["bounds"]]
    return said


def describe(bound: Mapping[str, Any]) -> str:
    """
    >>> describe({"metric": "fraction", "must": 0.9, "aim": 0.95, "most": False, "found": 0.934, "passed": True})
    'pass: fraction 0.934, must be >= 0.9, aim 0.95'
    """
    word = {True: "pass", False: "MISS", None: "not judged"}[bound["passed"]]
    value = "" if bound["found"] is None else f" {bound['found']:.3g}"
    if "must" not in bound:
        return f"{word}: {bound['metric']}"
    aim = f", aim {bound['aim']:g}" if bound["aim"] else ""
    return f"{word}: {bound['metric']}{value}, must be {'<=' if bound['most'] else '>='} {bound['must']:g}{aim}"


def markdown(data: Mapping[str, Any]) -> str:
    """The whole report."""
    about, rates = data["machine"], data["limits"]
    where = ", ".join(about["gpus"]) if data["device"] == "cuda" else "no GPU: the fake device, which shows no speed"
    clock = "CUDA events" if data["device"] == "cuda" else "the clock"
    text = [
        f"# GPU benchmarks, {data['date']}",
        "",
        f"{where}; driver {about.get('driver') or 'none'}; {about['processor']}, {about['cores']} cores; commit "
        f"{about['commit']}; Python {about['python']}, "
        + ", ".join(f"{name} {version}" for name, version in about["packages"].items())
        + ".",
        "",
        f"Medians, timed by {clock}. Each result was compared with NumPy's in double precision on small random data "
        f"(seed {data['seed']}).",
        "",
        *([] if data.get("complete", True) else ["**The run was cut off: this is what there was by then.**", ""]),
        "Where the data is on the device, gpuarray's kernels are timed, from before the first to after the last; what "
        "its call takes with planning and waiting is in brackets. Other libraries' calls are timed as they are.",
        "",
        "| limit | measured |",
        "|---|---|",
        *(f"| {name} | {rate / 1e9:.1f} GB/s |" for name, rate in rates.items()),
        "",
        "| work | who | time | of the limit | gpuarray's time is |",
        "|---|---|---|---|---|",
    ]
    for row in data["rows"]:
        ours = _piece(row, OURS)
        for k, p in enumerate(row["pieces"]):
            name = f"{row['name']}: {row['work']}" if k == 0 else ""
            if "seconds" not in p:
                text.append(f"| {name} | {p['who']} | {p.get('trouble') or p.get('missing')} | | |")
                continue
            share = p.get("metrics", {}).get("fraction")
            ratio = f"{p['seconds'] / ours['seconds']:.2f}x shorter" if ours and ours is not p else ""
            call = f" ({format_seconds(p['call_seconds'])})" if "call_seconds" in p else ""
            text.append(
                f"| {name} | {p['who']} | {format_seconds(p['seconds'])}{call} | "
                f"{'' if share is None else f'{share:.2f}'} | {ratio} |"
            )
    text += ["", "| work | verdict |", "|---|---|"]
    text += [f"| {row['name']} | {describe(b)} |" for row in data["rows"] for b in row["bounds"]]
    return "\n".join(text) + "\n"


def draw(data: Mapping[str, Any], path: Path) -> None:
    """A bar for everybody in every row: time over gpuarray's.

    Raises ModuleNotFoundError without matplotlib.
    """
    from matplotlib.figure import Figure

    bars = []
    for row in data["rows"]:
        ours = _piece(row, OURS)
        if ours is not None:
            bars += [
                (f"{row['name']}  {p['who']}", p["seconds"] / ours["seconds"], p["who"] == OURS)
                for p in row["pieces"]
                if "seconds" in p
            ]
    figure = Figure(figsize=(9, 1.5 + 0.22 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(bars), 0, -1)
    axes.barh(list(places), [b[1] for b in bars], color=["tab:blue" if b[2] else "tab:gray" for b in bars])
    axes.set_yticks(list(places), [b[0] for b in bars], fontsize=7)
    if bars:
        axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.6)
    axes.set_xlabel("time over gpuarray's (logarithmic)")
    where = ", ".join(data["machine"]["gpus"]) if data["device"] == "cuda" else "fake device: shows no speed"
    axes.set_title(f"{where}, commit {data['machine']['commit']}", fontsize=9)
    figure.savefig(path, dpi=130)
