"""Explanations and arrays as HTML for notebooks, dark or light: no colours of their own, every name escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

from gpuarray.cluster.sizes import format_bytes
from gpuarray.display import chunks, facts
from gpuarray.display.text import MOST, few
from gpuarray.display.words import listed, plural, shortened, size, times

if TYPE_CHECKING:
    from gpuarray.array import NDArray
    from gpuarray.plan.explain import Explanation, StageSummary

MANY_STEPS = 5_000
"""Steps of a graph that are counted; counting more would be felt."""
MANY_EDGES = 10_000
"""Chunks of different lengths along an axis, up to which the longest is looked for."""

_CELL = "padding:2px 10px;border:none;vertical-align:top;background:none;"
_LEFT, _RIGHT = _CELL + "text-align:left;", _CELL + "text-align:right;white-space:nowrap;"
_RULE = "border-bottom:1px solid currentColor;"
_FAINT = "opacity:.65;font-size:85%;"


def table(plan: Explanation) -> str:
    """The whole explanation."""
    notes = "".join(f'<div style="margin:4px 0"><em>{escape(note)}</em></div>' for note in facts.notes(plan))
    names = ("#", "operation", "line", "tasks", "grid", "read", "in", "out", "a task")
    head = "".join(
        f'<th style="{(_LEFT if name in ("operation", "line", "grid") else _RIGHT) + _RULE}">{name}</th>'
        for name in names
    )
    shown, left_out = few(plan)
    rows = [row(s) for s in shown]
    if left_out:
        rows.insert(MOST // 2, f'<tr><td colspan="9" style="{_LEFT}">{left_out:,} stages more</td></tr>')
    below = "".join(
        f'<tr><th style="{_LEFT}">{escape(name)}</th><td style="{_LEFT}">{escape(text)}</td></tr>'
        for name, text in facts.totals(plan)
    )
    return (
        f"<div><div><strong>{escape(facts.headline(plan))}</strong></div>{notes}"
        f'<table style="border-collapse:collapse;margin:6px 0"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
        f'<table style="border-collapse:collapse"><tbody>{below}</tbody></table></div>'
    )


def row(stage: StageSummary) -> str:
    after = f"after {listed(stage.depends)}; " if stage.depends else ""
    operation = (
        f'{escape(shortened(stage.label, 80))}<div style="{_FAINT}">'
        f"{escape(shortened(after + facts.kernels(stage), 300))}</div>"
    )
    return (
        f'<tr><td style="{_RIGHT}">{stage.number}</td><td style="{_LEFT}">{operation}</td>'
        f'<td style="{_LEFT}">{escape(shortened(stage.origin, 60, keep_end=True))}</td>'
        f'<td style="{_RIGHT}">{stage.tasks:,}</td><td style="{_LEFT}white-space:nowrap">{facts.grid(stage)}</td>'
        f'<td style="{_RIGHT}">{size(stage.read_nbytes)}</td><td style="{_RIGHT}">{facts.taken(stage)}</td>'
        f'<td style="{_RIGHT}">{facts.made(stage)}</td>'
        f'<td style="{_RIGHT}" title="{escape(facts.task_bytes(stage))}">{size(stage.task_nbytes)}</td></tr>'
    )


def array(x: NDArray) -> str:
    """Shape, dtype, chunks and steps of an array, beside a picture of its chunks."""
    rows = "".join(
        f'<tr><th style="{_LEFT}">{name}</th><td style="{_LEFT}">{escape(text)}</td></tr>'
        for name, text in properties(x)
    )
    return (
        '<table style="border:none;border-collapse:collapse"><tbody><tr style="background:none">'
        f'<td style="{_CELL}"><table style="border-collapse:collapse"><tbody>{rows}</tbody></table></td>'
        f'<td style="{_CELL}">{chunks.picture(x.chunks)}</td></tr></tbody></table>'
    )


def properties(x: NDArray) -> list[tuple[str, str]]:
    count = math.prod(len(c) for c in x.chunks)
    rows = [
        ("array", "gpuarray.NDArray"),
        ("shape", f"({', '.join(f'{n:,}' for n in x.shape)}{',' if x.ndim == 1 else ''})"),
        ("dtype", str(x.dtype)),
        ("bytes", format_bytes(x.nbytes)),
    ]
    if x.ndim:
        rows.append(("chunks", plural(count, "chunk") + (f", {times(map(len, x.chunks))}" if x.ndim > 1 else "")))
        rows.append(("a chunk", largest_chunk(x)))
    steps = count_steps(x.node)
    rows.append(("graph", plural(steps, "step") if steps <= MANY_STEPS else f"over {MANY_STEPS:,} steps"))
    return rows


def largest_chunk(x: NDArray) -> str:
    """``1000 × 1000, 7.63 MiB``; chunks that differ are said to be "up to" the longest along each axis."""
    uneven = [c for c in x.chunks if not c.step]
    if any(len(c) > MANY_EDGES for c in uneven):
        return "of many lengths"
    lengths = [c.largest for c in x.chunks]
    text = f"{times(lengths)}, {format_bytes(math.prod(lengths) * x.dtype.itemsize)}"
    return f"up to {text}" if uneven else text


def count_steps(node: Any) -> int:
    """The steps of a graph, or MANY_STEPS + 1 for more."""
    seen = {node}
    stack = [node]
    while stack and len(seen) <= MANY_STEPS:
        new = set(fresh(stack.pop().inputs, seen))
        seen |= new
        stack.extend(new)
    return min(len(seen), MANY_STEPS + 1)


def fresh(nodes: Iterable[Any], seen: set[Any]) -> Iterable[Any]:
    return (n for n in nodes if n not in seen)
