"""The benchmarks of a GPU, dry: every row on the fake device, at its tiny size."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import process, report
from benchmarks.gpu.libraries import LIBRARIES, Library, NumPy, on
from benchmarks.gpu.rows import Bound, Row
from benchmarks.gpu.work import ROWS


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    folder = tmp_path_factory.mktemp("results")
    return command.main(["--device", "fake", "--output", str(folder), "--seconds", "240"]), folder


def test_a_dry_run_does_every_row(dry_run: tuple[int, Path]) -> None:
    status, folder = dry_run
    data = json.loads(next(folder.glob("*-gpu-dry-run.json")).read_text())
    assert status == 0
    assert (data["device"], data["tiny"]) == ("fake", True)
    assert {"commit", "packages", "processor"} <= set(data["machine"])
    assert set(data["limits"]) == {"copy", "read", "upload", "download", "both"}
    assert [r["name"] for r in data["rows"]] == [r.name for r in ROWS]
    for row in data["rows"]:
        done = {p["who"]: p for p in row["pieces"]}
        assert set(done) == {"gpuarray", "NumPy"}, row
        for piece in done.values():
            assert piece["seconds"] > 0, piece
        verdicts = {b["metric"]: b["passed"] for b in row["bounds"]}
        assert verdicts.pop("same bits every run", True) is True
        assert set(verdicts.values()) <= {None}, "tiny sizes are not judged"
    limited = [p for r in data["rows"] for p in r["pieces"] if "pool_over_limit" in p]
    assert len(limited) == 3
    assert all(0 < p["pool_over_limit"] <= 1 for p in limited)


def test_a_table_and_a_picture_are_made_of_it(dry_run: tuple[int, Path]) -> None:
    folder = dry_run[1]
    text = next(folder.glob("*.md")).read_text()
    assert "fake device, which shows no speed" in text
    assert all(f"| {row.name}: " in text for row in ROWS)
    pytest.importorskip("matplotlib")
    assert next(folder.glob("*.png")).stat().st_size > 10_000


def test_the_rows_are_those_that_must_be_shown() -> None:
    bounds = {row.name: {b.metric: (b.must, b.aim) for b in row.bounds} for row in ROWS}
    assert bounds["chain"]["fraction"] == (0.90, 0.95)
    assert all(
        bounds[f"{f}-{d}"]["fraction"] == (0.93, 0.97) for f in ("sum", "mean", "var") for d in ("float32", "float64")
    )
    assert bounds["exp-random"]["elements_per_second"] == (200e9, 280e9)
    assert bounds["small-chunks"]["chunk_us"] == (15, None)
    named = {who.partition("/")[0] for row in ROWS for who in row.pieces}
    assert named == set(LIBRARIES)
    assert set(on("cuda")) == set(LIBRARIES) - {"NumPy"}


def example(**more: Any) -> Row:
    given: dict[str, Any] = {
        "full": {"n": 100},
        "tiny": {"n": 10},
        "arrays": lambda size: {"x": ((size.n,), "float64")},
        "pieces": {"gpuarray": lambda lib, a, size: lambda: a["x"] * 2},
        "oracle": lambda a, size: a["x"] * 2,
        "moved": lambda size: 16 * size.n,
    }
    return Row("example", "x * 2, {n}", **{**given, **more})


def test_a_wrong_result_is_not_timed() -> None:
    library: Library = NumPy("fake")
    row = example()
    found = process.attempt(library, row, lambda lib, a, size: lambda: a["x"] * 2, True, 1, 60)
    assert found["seconds"] > 0
    for bad in (lambda x: x * 2.1, lambda x: x[:-1] * 2, lambda x: x * np.nan):
        found = process.attempt(library, row, lambda lib, a, size, bad=bad: lambda: bad(a["x"]), True, 1, 60)
        assert found["trouble"].startswith("Wrong: the result")
        assert "seconds" not in found


def test_bounds_are_judged() -> None:
    row = example(
        bounds=(
            Bound("fraction", 0.5),
            Bound("fraction", 0.9),
            Bound("vs CuPy", 3),
            Bound("vs best of CuPy, JAX", 3),
            Bound("vs nobody", 1),
            Bound("rate_of example", 1),
            Bound("seconds", 2.0, most=True),
        ),
        elements=lambda size: size.n,
    )
    pieces = [
        {"row": "example", "who": who, "seconds": s} for who, s in (("gpuarray", 1.0), ("CuPy", 4.0), ("JAX", 2.0))
    ]
    (found,) = report.judged([row], pieces, {"copy": 2000.0}, False)
    assert [b["passed"] for b in found["bounds"]] == [True, False, True, False, None, True, True]
    assert found["bounds"][0]["found"] == pytest.approx(0.8)
    (found,) = report.judged([row], pieces, {"copy": 2000.0}, True)
    assert {b["passed"] for b in found["bounds"]} == {None}
    assert row.metrics(1.0, SimpleNamespace(n=100), {"copy": 1600.0})["fraction"] == 1


def test_a_library_that_is_not_installed_is_said_to_be_missing(capsys: pytest.CaptureFixture[str]) -> None:
    said = command.ask("PyTorch", "cuda", True, ["chain"], 1, 60)
    if "missing" not in said[0]:
        pytest.skip("PyTorch and a GPU are here")
    assert "row" not in said[0]


def test_the_command_names_every_file_with_tests_that_need_a_gpu() -> None:
    root = Path(__file__).parents[2]
    (line,) = [one for one in (root / "Makefile").read_text().splitlines() if one.startswith("GPU_TESTS = ")]
    named = [root / path for path in line.split()[2:]]
    marked = {
        path
        for path in (root / "tests").rglob("test_*.py")
        if "pytestmark = pytest.mark.gpu" in path.read_text() and path != Path(__file__)
    }
    assert len(marked) > 2
    assert {path for path in marked if not any(path.is_relative_to(one) for one in named)} == set()
    assert all(path.exists() for path in named)
