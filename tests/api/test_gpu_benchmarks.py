"""The benchmarks of a GPU, dry: every row on the fake device, at its tiny size."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import process, report
from benchmarks.gpu.libraries import LIBRARIES, Library, NumPy, Stopwatch, on
from benchmarks.gpu.rows import Bound, Row
from benchmarks.gpu.work import ROWS


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    folder = tmp_path_factory.mktemp("results")
    return command.main(["--device", "fake", "--output", str(folder), "--seconds", "500", "--seed", "0"]), folder


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
    said = command.ask("PyTorch", "cuda", True, ["chain"], 1, 60, lambda line, library: None)
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


def test_what_was_measured_is_written_down_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is cut off keeps its rows."""

    class CutOffError(Exception):
        pass

    files: list[dict[str, Any]] = []

    def ask(library: str, device: str, tiny: bool, rows: Any, seed: int, seconds: float, hear: command.Hear) -> None:
        if library != "gpuarray":
            hear({"limits": {"copy": 1e9, "read": 1e9}}, library)
            return
        for name in ("chain", "sum-float64"):
            hear({"row": name, "who": "gpuarray", "seconds": 1.0, "samples": [1.0], "first": 1.0}, library)
            files.append(json.loads(next(tmp_path.glob("*.json")).read_text()))
        raise CutOffError

    monkeypatch.setattr(command, "ask", ask)
    with pytest.raises(CutOffError):
        command.main(["--device", "fake", "--output", str(tmp_path)])
    for file, done in zip(files, (1, 2), strict=True):
        assert file["complete"] is False
        assert sum(bool(row["pieces"]) for row in file["rows"]) == done
    assert "cut off" in next(tmp_path.glob("*.md")).read_text()
    assert list(tmp_path.glob("*.part")) == []


def test_a_process_that_dies_keeps_what_it_has_said(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{"row": "chain"}\\n{"row'
    script = f"import os, sys; f = open(sys.argv[1], 'a'); f.write('{text}'); f.flush(); os._exit(7)"
    started = command.subprocess.Popen

    def popen(given: Any, **named: Any) -> Any:
        return started([sys.executable, "-c", script, given[6]], **named)

    monkeypatch.setattr(command.subprocess, "Popen", popen)
    heard: list[Any] = []
    said = command.ask("gpuarray", "fake", True, ["chain"], 1, 20, lambda line, library: heard.append((library, line)))
    assert said == [{"row": "chain"}]
    assert heard == [("gpuarray", {"row": "chain"})]


class Clock:
    """As much of CuPy as a stopwatch asks for: events that tell how many launches were before them."""

    def __init__(self) -> None:
        self.cuda, self.time = self, 0

    def get_current_stream(self) -> Clock:
        return self

    def Event(self) -> Any:
        clock = self

        class Event:
            def record(self, stream: Any) -> None:
                assert stream is clock
                self.time = clock.time

            def synchronize(self) -> None:
                pass

        return Event()

    def get_elapsed_time(self, start: Any, end: Any) -> float:
        return float(end.time - start.time)


def test_kernels_are_timed_without_the_planning_before_them() -> None:
    clock = Clock()

    def run(launches: Any) -> None:
        clock.time += 100 * len(launches)

    launcher = SimpleNamespace(run=run)
    watch = Stopwatch(clock, launcher)
    for count in (1, 3):
        watch.start()
        assert watch.seconds() is None
        clock.time += 5000  # the plan
        for _ in range(count):
            launcher.run(["kernel", "kernel"])
        clock.time += 5000  # the caller
        assert watch.seconds() == pytest.approx(0.2 * count)
    rows = {row.name: row.by_kernels for row in ROWS}
    assert rows["chain"]
    assert rows["plate-1000-steps"]
    assert not rows["small-chunks"], "what is judged there is the engine"
    assert not rows["out-of-core-sum"]


def test_host_data_are_random_and_the_same_for_a_seed() -> None:
    made = [process.host_random((3, (1 << 22) + 5), "float64", seed) for seed in (1, 1, 2)]
    assert made[0].tobytes() == made[1].tobytes() != made[2].tobytes()
    assert 0.49 < made[0].mean() < 0.51
    assert len(np.unique(made[0][0, : 1 << 16])) > 60_000
    assert process.host_random((0,), "float32", 1).shape == (0,)
