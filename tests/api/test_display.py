"""How plans and arrays look: well-formed, escaped, bounded in size, and drawn without computing."""

from __future__ import annotations

import itertools
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray import config
from gpuarray.display import chunks, html, stages, text
from gpuarray.display.layers import apart, crossings, layout
from gpuarray.graph.grid import Lengths
from tests.api.conftest import least_peak
from tests.api.test_explain import on_file

EVIL = "<script>alert('x')</script>&\"$\\frac"


@pytest.fixture(autouse=True)
def _settings() -> Any:
    with config.set(threads=2, host_memory="1 GiB", compile="never"):
        yield


@pytest.fixture
def standard() -> ga.NDArray:
    x = on_file((4000, 4000), (1000, 1000))
    return ga.sum((x - ga.mean(x)) / ga.std(x))


def parse(markup: str) -> ET.Element:
    """Raises where tags are not closed or names are not escaped."""
    return ET.fromstring(f"<div>{markup}</div>")


def words(element: ET.Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def chained(count: int) -> ga.NDArray:
    """A plan of `count` stages."""
    x = ga.ones((300, 300), chunks=150)
    for _ in range(count):
        x = ga.map_blocks(np.negative, x, dtype=float)
    return x


class TestText:
    def test_fits_the_page(self, standard: ga.NDArray) -> None:
        long = on_file((10**6, 10**5), (10**3, 10**3), name="a very long name of a file " * 10)
        for x in (standard, ga.sum(ga.sqrt(long) + 1, 0), ga.arange(3), chained(3), ga.ones((0, 3))):
            for then in ("compute", "persist", "store"):
                if then == "persist" and x.nbytes > 1e9:
                    continue
                shown = str(x.explain(then=then))  # type: ignore[arg-type]
                assert max(map(len, shown.splitlines())) <= text.WIDTH

    def test_columns_are_aligned(self, standard: ga.NDArray) -> None:
        lines = str(standard.explain()).splitlines()
        head = next(line for line in lines if line.startswith("#"))
        rows = [line for line in lines if re.match(r"\d  ", line)]
        assert len(rows) == 5
        for name in ("operation", "line", "grid"):
            at = head.index(name)
            assert all(row[at - 1] == " " and row[at] != " " for row in rows), name
        assert {len(head), *map(len, rows)} == {len(head)}

    def test_says_the_numbers(self, standard: ga.NDArray) -> None:
        shown = str(standard.explain())
        assert "244 MiB from in.zarr, 2.00 times the 122 MiB that are needed" in shown
        assert "after 2 and 3" in shown
        assert "estimate" in shown
        assert "limit of 1 GiB" in shown

    def test_the_middle_of_a_long_plan_is_left_out(self) -> None:
        plan = chained(text.MOST + 30).explain(then="store")
        assert "... 30 stages ..." in str(plan)
        assert "30 stages more" in plan._repr_html_()
        assert len(str(plan).splitlines()) < 3 * text.MOST

    def test_passes(self, standard: ga.NDArray) -> None:
        passes = standard.explain().passes()
        names = [name for name, _ in passes.steps]
        assert names[0] == "as written"
        assert names[-1] == "what is kept"
        shown = dict(passes.steps)
        assert "cells of sum" not in shown["as written"]
        assert "cells of sum" in shown["to_trees"]
        assert shown["drop_rechunks"].strip() == "no change"
        assert "test_display.py:" in str(passes)
        assert repr(passes) == str(passes)

    def test_passes_of_a_long_chain_do_not_recurse(self) -> None:
        x = ga.ones(10)
        for k in range(3000):
            x = x + k
        shown = dict(x.explain().passes().steps)["as written"]
        assert len(shown.splitlines()) == 201
        assert shown.endswith("... and more")

    def test_a_node_that_is_read_twice_is_shown_once(self) -> None:
        x = ga.sqrt(ga.ones(10) + 1)
        for _ in range(40):  # 2**40 paths
            x = x + x
        assert len(dict(x.explain().passes().steps)["as written"].splitlines()) < 100


class TestHtml:
    def test_names_are_escaped(self) -> None:
        def evil(block: Any) -> Any:
            return block

        evil.__name__ = EVIL
        x = on_file((500, 500), (100, 100), name=EVIL)
        plan = ga.map_blocks(evil, x, dtype=float).explain(then="store")
        made = parse(plan._repr_html_())
        assert "<script>" in words(made)  # as text
        assert not list(made.iter("script"))
        drawn = ga.visualize(ga.map_blocks(evil, x, dtype=float), then="store")._repr_svg_()
        assert "<script" not in drawn
        ET.fromstring(drawn)
        assert not list(parse(html.array(x)).iter("script"))

    def test_refusals_are_escaped(self) -> None:
        def evil(block: Any) -> Any:
            return block

        evil.__name__ = EVIL
        with config.set(host_memory="1 MiB"):
            plan = ga.map_blocks(evil, ga.ones((3000, 3000), chunks=1000), dtype=float).explain(then="persist")
        assert plan.refusal is not None
        assert EVIL in plan.refusal
        assert not list(parse(plan._repr_html_()).iter("script"))

    def test_says_what_the_text_says(self, standard: ga.NDArray) -> None:
        plan = standard.explain()
        shown = words(parse(plan._repr_html_()))
        for part in ("sum(subtract, divide)", "244 MiB from in.zarr", "after 2 and 3", "4 × 4"):
            assert part in shown

    def test_no_colours_of_its_own(self, standard: ga.NDArray) -> None:
        """So that it can be read in dark notebooks and light ones."""
        assert not re.search(r"color\s*:\s*(?!currentColor)", standard.explain()._repr_html_())
        assert 'fill="black"' not in standard._repr_html_()  # type: ignore[operator]

    def test_notebooks_get_both(self, standard: ga.NDArray) -> None:
        bundle = standard.explain()._repr_mimebundle_()
        assert sorted(bundle) == ["text/html", "text/plain"]


class TestArray:
    def test_properties(self) -> None:
        x = ga.ones((4000, 3000), chunks=(1000, 3000)) + 1
        shown = words(parse(x._repr_html_()))  # type: ignore[operator]
        for part in ("(4,000, 3,000)", "float64", "91.6 MiB", "4 chunks, 4 × 1", "1000 × 3000, 22.9 MiB", "steps"):
            assert part in shown, part

    def test_one_step(self) -> None:
        assert "1 step" in words(parse(ga.asarray(np.ones(3))._repr_html_()))  # type: ignore[operator]

    @pytest.mark.parametrize("ndim", range(8))
    def test_a_drawing_for_every_three_axes(self, ndim: int) -> None:
        shape = tuple(range(3, 3 + ndim))
        made = parse(ga.ones(shape, chunks=2)._repr_html_())  # type: ignore[operator]
        drawn = [e for e in made.iter() if e.tag.endswith("svg")]
        assert len(drawn) == max(1, -(-ndim // 3))
        lengths = [e.text for d in drawn for e in d.iter() if e.tag.endswith("text")]
        assert sorted(map(int, lengths)) == sorted(shape)  # type: ignore[arg-type]

    @pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0, 4), (0, 0, 0, 0)])
    def test_nothing_is_dashed(self, shape: tuple[int, ...]) -> None:
        assert "stroke-dasharray" in ga.ones(shape)._repr_html_()  # type: ignore[operator]
        parse(ga.ones(shape)._repr_html_())  # type: ignore[operator]

    def test_cuts_are_where_they_are(self) -> None:
        assert chunks.cuts(Lengths.of((1, 2, 1)), 100.0) == [25, 75]
        assert chunks.cuts(Lengths.regular(10, 10), 100.0) == []
        assert chunks.cuts(Lengths.regular(0, 1), 100.0) == []

    def test_many_chunks_are_cheap_and_small(self) -> None:
        for x in (
            ga.ones(10**9, chunks=1),
            ga.ones((10**6, 10**6, 10**6), chunks=1000),
            ga.ones((10**6,), chunks=((*range(1, 1000), 500_500),)),
        ):
            x._repr_html_()  # type: ignore[operator]  # imports are made
            assert least_peak(x._repr_html_) < 1_000_000  # type: ignore[arg-type]
            assert _steps(x) < 20_000
            assert len(x._repr_html_()) < 20_000  # type: ignore[operator]
        parse(x._repr_html_())  # type: ignore[operator]

    def test_uneven_chunks(self) -> None:
        shown = words(parse(ga.ones(10, chunks=((1, 2, 7),))._repr_html_()))  # type: ignore[operator]
        assert "up to 7" in shown

    def test_a_large_graph_is_not_counted_to_the_end(self) -> None:
        x = ga.ones(3)
        for k in range(html.MANY_STEPS + 10):
            x = x + k
        assert html.count_steps(x.node) == html.MANY_STEPS + 1
        assert "over 5,000 steps" in words(parse(x._repr_html_()))  # type: ignore[operator]

    def test_repr_stays_lazy(self) -> None:
        x = on_file((30,), (10,))
        assert repr(x) == "gpuarray.NDArray(shape=(30,), dtype=float64, chunks=((10, 10, 10),))"
        x._repr_html_()  # type: ignore[operator]

    def test_the_code_that_draws_is_not_imported_before(self) -> None:
        code = (
            "import sys, gpuarray; late = [m for m in sys.modules if m.startswith(('gpuarray.display', "
            "'gpuarray.plan.explain', 'gpuarray.plan.survey', 'gpuarray.plan.roofline', 'matplotlib'))]; print(late)"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == "[]"


def _steps(x: Any) -> int:
    """Calls of functions that drawing an array takes."""
    calls = itertools.count()
    sys.setprofile(lambda *_: next(calls) and None)
    try:
        x._repr_html_()
    finally:
        sys.setprofile(None)
    return next(calls)


class TestVisualize:
    def test_boxes_and_arrows(self, standard: ga.NDArray) -> None:
        drawing = standard.visualize()  # type: ignore[operator]
        assert [b.kind for b in drawing.boxes] == ["data", *["stage"] * 5, "result"]
        assert drawing.boxes[0].lines == ("in.zarr", "(4000, 4000) float64, 122 MiB")
        assert drawing.boxes[4].lines[0] == "4  sum(subtract, divide)"
        assert "16 tasks, 4 × 4 of 1000 × 1000" in drawing.boxes[4].lines
        assert sum(a.label == "122 MiB" for a in drawing.arrows) == 2
        assert "test_display.py:" in drawing.boxes[4].title
        shown = ET.fromstring(drawing._repr_svg_())
        titles = [e.text for e in shown.iter() if e.tag.endswith("title")]
        assert len(titles) == 7

    @pytest.mark.parametrize("seed", range(12))
    def test_nothing_overlaps_and_arrows_go_down(self, seed: int) -> None:
        drawing = ga.visualize(*_random_plan(seed), then="store")
        for n, a in enumerate(drawing.boxes):
            assert a.x >= 0
            assert a.x + a.width <= drawing.width
            assert a.y >= 0
            assert a.y + a.height <= drawing.height
            for b in drawing.boxes[n + 1 :]:
                apart_x = a.x + a.width <= b.x or b.x + b.width <= a.x
                apart_y = a.y + a.height <= b.y or b.y + b.height <= a.y
                assert apart_x or apart_y, (a, b)
        for arrow in drawing.arrows:
            heights = [y for _, y in arrow.points]
            assert heights == sorted(heights)
            for x, y in arrow.points[1:-1]:  # waypoints go round boxes
                assert not any(b.x < x < b.x + b.width and b.y < y < b.y + b.height for b in drawing.boxes)

    def test_too_many_boxes(self) -> None:
        with pytest.raises(ValueError, match=r"more than the 300 boxes"):
            chained(stages.MOST + 1).visualize()  # type: ignore[operator]

    def test_nothing_to_draw(self) -> None:
        with pytest.raises(ValueError, match=r"visualize\(\) needs at least one array"):
            ga.visualize()
        ET.fromstring(ga.visualize(ga.ones((0, 3)), then="store")._repr_svg_())
        ET.fromstring(ga.visualize(ga.ones(()))._repr_svg_())

    def test_files(self, standard: ga.NDArray, tmp_path: Path) -> None:
        svg, png, pdf = tmp_path / "plan.svg", tmp_path / "plan.PNG", tmp_path / "plan.pdf"
        drawing = standard.visualize(svg)  # type: ignore[operator]
        assert svg.read_text(encoding="utf-8") == drawing._repr_svg_()
        pytest.importorskip("matplotlib")
        drawing.save(png)
        drawing.save(str(pdf))
        assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert pdf.read_bytes()[:5] == b"%PDF-"

    def test_formulas_in_names_are_text(self, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        ga.visualize(on_file((500, 500), (100, 100), name=EVIL) + 1, filename=tmp_path / "x.png")
        assert (tmp_path / "x.png").stat().st_size > 1000

    def test_other_endings(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"\.svg, \.png or \.pdf"):
            ga.visualize(ga.ones(3), filename=tmp_path / "plan.jpeg")
        assert not list(tmp_path.iterdir())

    def test_without_matplotlib(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [m for m in sys.modules if m.split(".")[0] == "matplotlib"]:
            monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(ImportError, match=r"pip install matplotlib, or write \.svg"):
            ga.visualize(ga.ones(3), filename=tmp_path / "plan.png")


def _random_plan(seed: int) -> list[ga.NDArray]:
    r = random.Random(seed)
    pool = [ga.ones((300, 300), chunks=150), on_file((300, 300), (150, 150))]
    for _ in range(r.randint(3, 25)):
        a, b = r.choice(pool), r.choice(pool)
        made = ga.map_blocks(np.add, a, b, dtype=float)
        pool.append(made - ga.mean(made) if r.random() < 0.4 else made)
    return r.sample(pool[2:], min(3, len(pool) - 2))


class TestLayers:
    def test_a_crossing_is_undone(self) -> None:
        edges = [(0, 3), (1, 2), (2, 4), (3, 5)]
        made = layout([10.0] * 6, edges, 5.0, 2.0)
        assert crossings(made.layers, edges) == 0

    def test_edges_that_span_layers_have_waypoints(self) -> None:
        made = layout([10.0] * 3, [(0, 1), (1, 2), (0, 2)], 5.0, 2.0)
        assert made.layers == [[0], [1, 3], [2]]
        assert made.routes[0, 2] == [0, 3, 2]

    def test_a_late_source_stands_above_its_reader(self) -> None:
        made = layout([10.0] * 5, [(0, 1), (1, 2), (2, 4), (3, 4)], 5.0, 2.0)
        assert made.layers[2] == [2, 3]

    @pytest.mark.parametrize("seed", range(20))
    def test_apart_is_the_nearest(self, seed: int) -> None:
        """Against projected gradient descent on the same problem."""
        r = np.random.default_rng(seed)
        n = int(r.integers(1, 8))
        wanted, widths = r.uniform(-50, 50, n), r.uniform(1, 30, n)
        found = np.array(apart(wanted.tolist(), widths.tolist(), 3.0))
        room = np.diff(found) - ((widths[1:] + widths[:-1]) / 2 + 3)
        assert (room > -1e-9).all()
        best = ((found - wanted) ** 2).sum()
        for _ in range(300):
            other = found + r.normal(0, 1, n)
            if (np.diff(other) >= (widths[1:] + widths[:-1]) / 2 + 3).all():
                assert ((other - wanted) ** 2).sum() >= best - 1e-9

    def test_nothing(self) -> None:
        assert layout([], [], 1.0, 1.0).layers == []
