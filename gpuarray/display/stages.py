"""The stages of a plan drawn as boxes and arrows, as SVG or through matplotlib."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from gpuarray.cluster.sizes import format_bytes
from gpuarray.display import facts
from gpuarray.display.layers import layout, ports
from gpuarray.display.words import plural, shape_of, shortened, times

if TYPE_CHECKING:
    from gpuarray.plan.explain import Explanation

MOST = 300
"""Boxes that are drawn; a picture of more says nothing."""
_LETTER, _LINE = 6.7, 16.0
"""Pixels of a letter and of a line at 12 pixels."""
_PAD, _GAP, _DROP, _MARGIN = 10.0, 26.0, 58.0, 14.0
_FILLS = {"data": "#e8f1e4", "stage": "#e3edf9", "result": "#fbf0dc"}
_LONGEST = 44

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A stage, or what it reads or makes."""

    kind: str
    lines: tuple[str, ...]
    title: str
    """Shown when the pointer rests on it."""
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0


@dataclass(frozen=True, slots=True)
class Arrow:
    points: tuple[Point, ...]
    """Ends and waypoints; it leaves and arrives straight down."""
    label: str


@dataclass(frozen=True)
class Drawing:
    """Boxes and arrows; shows in notebooks."""

    stages: int
    width: float
    height: float
    boxes: tuple[Box, ...] = field(repr=False)
    arrows: tuple[Arrow, ...] = field(repr=False)

    def __repr__(self) -> str:
        return f"<drawing of {plural(self.stages, 'stage')}; shows in a notebook, save(filename) writes it>"

    def _repr_svg_(self) -> str:
        return svg(self)

    def save(self, filename: str | os.PathLike[str]) -> None:
        """Write to a file: ``.svg``, or ``.png`` and ``.pdf`` with matplotlib.

        Raises ValueError for other endings, ImportError without matplotlib.
        """
        path = os.fspath(filename)
        ending = os.path.splitext(path)[1].lower()
        if ending == ".svg":
            with open(path, "w", encoding="utf-8") as file:
                file.write(svg(self))
        elif ending in (".png", ".pdf"):
            matplotlib_figure(self).savefig(path, dpi=144)
        else:
            raise ValueError(f"cannot draw to {path!r}: the name must end in .svg, .png or .pdf")


def draw(plan: Explanation) -> Drawing:
    """Lay out the stages of a plan.

    Raises ValueError for more than MOST boxes.
    """
    count = len(plan.stages) + len(plan.sources)
    if count > MOST:
        raise ValueError(
            f"the plan has {len(plan.stages):,} stages and {len(plan.sources):,} sources, more than the {MOST} boxes "
            "that make a picture; explain() lists them, and a part of the computation can be drawn by itself"
        )
    boxes, edges = graph(plan)
    sized = [measured(b) for b in boxes]
    if not sized:
        return Drawing(0, 2 * _MARGIN, 2 * _MARGIN, (), ())
    made = layout([b[0] for b in sized], list(edges), _GAP, 20.0)
    top, tops = _MARGIN, []
    for layer in made.layers:
        tops.append(top)
        top += max((sized[n][1] for n in layer if n < len(boxes)), default=0.0) + _DROP
    depth = {n: k for k, layer in enumerate(made.layers) for n in layer}
    placed = tuple(
        Box(b.kind, b.lines, b.title, made.centre[n] - w / 2 + _MARGIN, tops[depth[n]], w, h)
        for n, (b, (w, h)) in enumerate(zip(boxes, sized, strict=True))
    )
    leaves, arrives = ports(made.routes, made.centre)
    arrows = []
    for edge, route in made.routes.items():
        first, last = placed[edge[0]], placed[edge[1]]
        points = [(first.x + first.width * (0.5 + 0.4 * leaves[edge]), first.y + first.height)]
        for n in route[1:-1]:
            points.append((made.centre[n] + _MARGIN, tops[depth[n]]))
            points.append((made.centre[n] + _MARGIN, tops[depth[n] + 1] - _DROP))
        points.append((last.x + last.width * (0.5 + 0.4 * arrives[edge]), last.y))
        arrows.append(Arrow(tuple(points), format_bytes(edges[edge])))
    width = max(*(b.x + b.width for b in placed), *(x for a in arrows for x, _ in a.points), 0.0) + _MARGIN
    return Drawing(len(plan.stages), width, max(b.y + b.height for b in placed) + _MARGIN, placed, tuple(arrows))


def graph(plan: Explanation) -> tuple[list[Box], dict[tuple[int, int], int]]:
    """Sources, stages and results as boxes, and the bytes that go from one to another."""
    boxes: list[Box] = []
    edges: dict[tuple[int, int], int] = {}
    for source in plan.sources:
        name: tuple[str, ...] = (
            shortened(source.name, _LONGEST, keep_end=True),
            f"{shape_of(source.shape, source.dtype)}, {format_bytes(source.nbytes)}",
        )
        boxes.append(Box("data", name, source.name))
    before = len(boxes) - 1  # stages count from one
    for stage in plan.stages:
        tasks = plural(stage.tasks, "task") + (f", {times(stage.grid)}" if stage.tasks > 1 else "")
        tasks += f" of {times(stage.region)}" if stage.grid else ""
        lines = (
            f"{stage.number}  {stage.label}",
            tasks,
            f"a task holds {format_bytes(stage.task_nbytes)}",
            *([stage.origin] if stage.origin else []),
        )
        title = "\n".join(t for t in (stage.origin, stage.label, facts.kernels(stage)) if t)
        here = len(boxes)
        boxes.append(Box("stage", lines, title))
        for place, nbytes in stage.sources:
            edges[place, here] = nbytes
        for number, nbytes in stage.inputs:
            edges[before + number, here] = nbytes
    last = {"compute": "NumPy array", "store": "file", "persist": "kept in memory"}[plan.then]
    read = {number for stage in plan.stages for number, _ in stage.inputs}
    for stage in plan.stages:
        nbytes = stage.written_nbytes or (stage.kept_nbytes if stage.number not in read else 0)
        if nbytes:
            edges[before + stage.number, len(boxes)] = nbytes
            boxes.append(Box("result", (last, format_bytes(nbytes)), last))
    return boxes, edges


def measured(box: Box) -> tuple[float, float]:
    longest = max(len(shortened(line, _LONGEST)) for line in box.lines)
    return longest * _LETTER + 2 * _PAD, len(box.lines) * _LINE + _PAD


def texts(box: Box) -> Sequence[tuple[str, float, float, bool]]:
    """(text, x, y of the baseline, whether it is the heading) of a box's lines."""
    x = box.x + box.width / 2
    return [(shortened(t, _LONGEST), x, box.y + _LINE * (k + 1), k == 0) for k, t in enumerate(box.lines)]


def curves(arrow: Arrow) -> list[tuple[Point, Point, Point, Point]]:
    """Cubic curves from one waypoint to the next, each straight down at its ends."""
    made = []
    for (x0, y0), (x1, y1) in zip(arrow.points[:-1], arrow.points[1:], strict=True):
        bend = (y1 - y0) / 2
        made.append(((x0, y0), (x0, y0 + bend), (x1, y1 - bend), (x1, y1)))
    return made


def label_at(arrow: Arrow) -> Point:
    """Halfway along the last curve, where arrows to different boxes are apart."""
    (x0, y0), (x1, y1) = arrow.points[-2:]
    return (x0 + x1) / 2, (y0 + y1) / 2


def svg(drawing: Drawing) -> str:
    """The drawing on a white page: notebooks show it as an image, which knows nothing of their colours."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{drawing.width:.0f}" height="{drawing.height:.0f}" '
        f'viewBox="0 0 {drawing.width:.1f} {drawing.height:.1f}" font-family="Helvetica, Arial, sans-serif" '
        'font-size="12">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0,0.5 L8,4 L0,7.5 z" fill="#555"/></marker></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for arrow in drawing.arrows:
        path = "M{:.1f},{:.1f}".format(*arrow.points[0])
        for _, b, c, d in curves(arrow):
            path += " C{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}".format(*b, *c, *d)
        parts.append(f'<path d="{path}" fill="none" stroke="#555" stroke-width="1.1" marker-end="url(#tip)"/>')
    for arrow in drawing.arrows:
        x, y = label_at(arrow)
        width = len(arrow.label) * 6.0 + 4
        parts.append(f'<rect x="{x - width / 2:.1f}" y="{y - 8:.1f}" width="{width:.1f}" height="15" fill="white"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{y + 3.5:.1f}" text-anchor="middle" font-size="10.5" fill="#444">'
            f"{arrow.label}</text>"
        )
    for box in drawing.boxes:
        parts.append(
            f'<g><title>{escape(box.title)}</title><rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
            f'height="{box.height:.1f}" rx="5" fill="{_FILLS[box.kind]}" stroke="#777"/>'
        )
        for text, x, y, heading in texts(box):
            weight = ' font-weight="bold"' if heading else ""
            parts.append(
                f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" fill="#222"{weight}>{escape(text)}</text>'
            )
        parts.append("</g>")
    return "".join(parts) + "</svg>"


def matplotlib_figure(drawing: Drawing) -> Any:
    """The same picture as a matplotlib figure, for formats other than SVG."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
        from matplotlib.path import Path
    except ImportError as error:
        raise ImportError("writing .png and .pdf needs matplotlib: pip install matplotlib, or write .svg") from error
    figure = Figure(figsize=(drawing.width / 96, drawing.height / 96))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, drawing.width), ylim=(drawing.height, 0))
    axes.set_axis_off()
    points = 72 / 96  # a pixel of SVG
    for arrow in drawing.arrows:
        made = curves(arrow)
        vertices = [made[0][0], *(p for _, *rest in made for p in rest)]
        path = Path(vertices, [Path.MOVETO] + [Path.CURVE4] * (len(vertices) - 1))
        style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 8, "color": "#555", "linewidth": 1.1 * points}
        axes.add_patch(FancyArrowPatch(path=path, shrinkA=0, shrinkB=0, **style))
        page = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        x, y = label_at(arrow)
        axes.text(x, y, arrow.label, ha="center", va="center", fontsize=10.5 * points, color="#444", bbox=page)
    for box in drawing.boxes:
        style = {"boxstyle": "round,pad=0,rounding_size=5", "facecolor": _FILLS[box.kind], "edgecolor": "#777"}
        axes.add_patch(FancyBboxPatch((box.x, box.y), box.width, box.height, linewidth=points, zorder=2, **style))
        for text, x, y, heading in texts(box):
            weight = "bold" if heading else "normal"
            # A name with dollar signs is not a formula.
            axes.text(x, y, text, ha="center", fontsize=11 * points, weight=weight, zorder=3, parse_math=False)
    return figure
