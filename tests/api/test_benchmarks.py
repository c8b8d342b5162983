"""The benchmarks' machinery on rows of its own, and every real row at its smallest."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import machine, plot, table
from benchmarks.rows import Case, Disagreement, Piece, Row, Timed, close, faster, format_metric, within
from benchmarks.runner import Outcome, Report, judge, run_row
from benchmarks.suites import rows
from benchmarks.worker import Memory, Sample, apart, sample

MIB = 2**20


def quiet(text: str) -> None:
    pass


def taking(seconds: float, value: float = 1.0) -> Any:
    """A piece that says how long it took, whatever else the machine does."""

    def setup(case: Case) -> Piece:
        took = seconds * case.size.scale
        return Piece(lambda: Timed(value, took, took / 10), probe=lambda: {"answer": 42.0})

    return setup


def sleeper(seconds: float) -> Any:
    return lambda case: Piece(lambda: time.sleep(seconds) or 1.0)


def row(pieces: Mapping[str, Any], **more: Any) -> Row:
    return Row("example", "sleep {scale} times", pieces, {"scale": 1}, {"scale": 0.5}, **more)


def run(of: Row, tmp_path: Path, *, quick: bool = False, repeat: int = 2, peers: bool = True) -> Report:
    return run_row(of, quick=quick, repeat=repeat, peers=peers, folder=tmp_path, say=quiet)


def test_everybody_is_timed_and_judged(tmp_path: Path) -> None:
    targets = (faster("slow", 2), faster("slow", 50), within("answer", 42), within("answer", 41), faster("nobody", 1))
    report = run(row({"gpuarray": taking(0.02), "slow": taking(0.1)}, targets=targets), tmp_path)
    assert [o.who for o in report.outcomes] == ["gpuarray", "slow"]
    assert [len(o.samples) for o in report.outcomes] == [2, 2]
    assert [o.wall for o in report.outcomes] == [0.02, 0.1]
    assert [o.cpu for o in report.outcomes] == [0.002, 0.01]
    assert [v.passed for v in report.verdicts] == [True, False, True, False, None]
    assert report.work == "sleep 1 times"
    assert report.trouble == []
    assert list(tmp_path.iterdir()) == []  # the scratch folder is gone


def test_wall_and_processor_time(tmp_path: Path) -> None:
    (found,) = run(row({"gpuarray": sleeper(0.2)}), tmp_path).outcomes
    assert found.wall >= 0.2
    assert found.cpu < found.wall / 2


def test_small_sizes_are_not_judged_and_peers_can_be_left_out(tmp_path: Path) -> None:
    of = row({"gpuarray": taking(0.02), "slow": taking(0.1)}, targets=(faster("slow", 2), within("answer", 1)))
    report = run(of, tmp_path, quick=True, repeat=1, peers=False)
    assert [o.who for o in report.outcomes] == ["gpuarray"]
    assert [v.passed for v in report.verdicts] == [None, None]
    assert report.work == "sleep 0.5 times"


def test_different_results_are_trouble(tmp_path: Path) -> None:
    of = row(
        {"gpuarray": taking(0), "wrong": taking(0, 1.5)},
        check=lambda values, case: close(values, expected=1, tolerance=0.1),
    )
    assert run(of, tmp_path).trouble == ["wrong has 1.5, expected is 1 within 0.1"]
    with pytest.raises(Disagreement):
        close({"a": float("nan")}, 1, 1)


def test_missing_packages_failures_and_deaths(tmp_path: Path) -> None:
    def missing(case: Case) -> Piece:
        import no_such_package_anywhere  # noqa: F401

        raise AssertionError

    def failing(case: Case) -> Piece:
        return Piece(lambda: 1 / 0)

    def dying(case: Case) -> Piece:
        return Piece(lambda: os._exit(7))

    pieces = {"gpuarray": taking(0), "missing": missing, "failing": failing, "dying": dying}
    report = run(row(pieces, targets=(faster("failing", 1),)), tmp_path)
    assert [bool(o.samples) for o in report.outcomes] == [True, False, False, False]
    assert [o.failed for o in report.outcomes] == [False, False, True, True]
    assert report.trouble[0].startswith("failing: ZeroDivisionError: division by zero\nTraceback")
    assert report.trouble[1] == "dying: its process died with exit status 7"
    assert report.verdicts[0].passed is None
    text = "\n".join(table.lines(report))
    assert "not installed" in text
    assert "failed" in text


def test_the_fastest_setting_is_kept(tmp_path: Path) -> None:
    def setup(case: Case) -> list[Piece]:
        def make(seconds: float) -> Piece:
            return Piece(lambda: Timed(1.0, seconds, seconds), variant=f"{seconds}")

        return [make(0.05), make(0.005), make(0.1)]

    report = run(row({"gpuarray": setup}), tmp_path)
    assert report.outcomes[0].variant == "0.005"
    assert report.outcomes[0].wall == 0.005


def test_files_and_arrays_are_shared(tmp_path: Path) -> None:
    def files(case: Case) -> None:
        (case.folder / "x").write_text("7")

    def setup(case: Case) -> Piece:
        return Piece(lambda: float((case.folder / "x").read_text()) + case.arrays[2])

    of = row({"gpuarray": setup}, files=files, arrays=lambda case: np.arange(5.0), once=True)
    report = run(of, tmp_path)
    assert report.outcomes[0].value == 9
    assert len(report.outcomes[0].samples) == 1


def test_failing_files_are_told(tmp_path: Path) -> None:
    def files(case: Case) -> None:
        raise OSError("no room")

    with pytest.raises(RuntimeError, match="no room"):
        run(row({"gpuarray": taking(0)}, files=files), tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="it died"):
        apart(lambda: os._exit(1))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="exact peaks need Linux")
def test_memory_is_the_peak_of_each_run() -> None:
    memory = Memory()

    def use(mebibytes: int) -> Piece:
        return Piece(lambda: float(np.ones(mebibytes * MIB // 8).sum()))

    peaks = [sample(use(m), memory)[0].peak / MIB for m in (100, 300, 50)]
    assert peaks == pytest.approx([100, 300, 50], abs=12)


def test_loops_and_own_clocks() -> None:
    calls: list[int] = []
    taken, _ = sample(Piece(lambda: calls.append(1), loops=50), Memory())
    assert len(calls) == 50
    assert taken.wall < 0.01
    taken, value = sample(Piece(lambda: Timed("x", 3.0, 2.0)), Memory())
    assert (taken.wall, taken.cpu, value) == (3.0, 2.0, "x")


def test_verdicts_without_a_result() -> None:
    assert judge(faster("dask", 2), [], False).passed is None
    ours = Outcome("gpuarray", samples=[Sample(1.0, 1.0, 0)])
    verdict = judge(faster("dask", 2), [ours], False)
    assert verdict.describe() == "not judged: vs dask, target >= 2x"


def test_numbers_for_people() -> None:
    assert format_metric("peak_bytes", 577e6) == "577 MB"
    assert format_metric("engine_bytes", 5.24e9) == "5.24 GB"
    assert within("first_chunk_seconds", 0.2).describe() == "<= 200 ms"
    assert faster("dask", 2.5).describe() == ">= 2.5x"


def test_every_row_is_well_formed() -> None:
    every = rows()
    assert len({r.name for r in every}) == len(every)
    for r in every:
        assert next(iter(r.pieces)) == "gpuarray"
        for sizes in (r.full, r.quick):
            r.work.format(**sizes)
        assert set(r.full) == set(r.quick)
        for target in r.targets:
            assert not target.peer or target.peer in r.pieces
            assert bool(target.peer) != bool(target.metric)


@pytest.mark.parametrize("name", ["transposed-mean", "fused-sum", "chunks-10k", "tiny", "pi"])
def test_rows_run(name: str, tmp_path: Path) -> None:
    (chosen,) = [r for r in rows() if r.name == name]
    smaller = {"n": 1500, "rows": 300, "columns": 1000, "chunks": 200}
    size = {k: min(v, smaller.get(k, v)) for k, v in chosen.quick.items()}
    pieces = {w: p for w, p in chosen.pieces.items() if w in ("gpuarray", "NumPy")}
    report = run(Row(name, chosen.work, pieces, size, size, chosen.targets, chosen.check, chosen.arrays), tmp_path)
    assert report.trouble == []
    assert report.outcomes[0].samples
    missing = [v.target.metric for v in report.verdicts if v.target.metric and v.found is None]
    assert missing == []


def test_results_are_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--quick", "--only", "tiny", "--alone", "--repeat", "1", "--patience", "0", "--output", str(tmp_path)]
    assert command.main(arguments) == 0
    assert "targets met" in capsys.readouterr().out
    (path,) = tmp_path.glob("*.json")
    data = json.loads(path.read_text())
    assert data["rows"][0]["name"] == "tiny"
    assert data["rows"][0]["pieces"][0]["wall"] > 0
    assert set(data["machine"]) >= {"processor", "cores", "packages", "commit", "gpus"}
    assert "| `(x + 1).sum(), 10 numbers` | gpuarray |" in path.with_suffix(".md").read_text()
    assert path.with_suffix(".png").stat().st_size > 1000
    host = os.uname().nodename
    assert len(host) < 5 or host not in path.read_text() + path.name


def test_rows_that_are_not_measured_again_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quickly = ["--quick", "--alone", "--repeat", "1", "--patience", "0", "--output", str(tmp_path)]
    assert command.main([*quickly, "--only", "tiny"]) == 0
    (path,) = tmp_path.glob("*.json")
    first = json.loads(path.read_text())["rows"]
    assert command.main([*quickly, "--only", "chunks-10k"]) == 0
    both = json.loads(path.read_text())["rows"]
    assert [r["name"] for r in both] == ["chunks-10k", "tiny"]  # as the suites have them
    assert both[1:] == first
    assert all(r["date"] and r["commit"] for r in both)
    assert command.main([*quickly, "--only", "tiny"]) == 0
    again = json.loads(path.read_text())["rows"]
    assert again[:1] == both[:1]
    assert again[1] != both[1]
    assert [Report.of(r).as_dict() for r in again] == again
    path.write_text("{}")
    with pytest.raises(SystemExit, match="is no file of results"):
        command.main([*quickly, "--only", "tiny"])


def test_bad_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="there is no row 'flying'; there are"):
        command.main(["--only", "flying"])
    with pytest.raises(SystemExit):
        command.main(["--repeat", "0"])
    assert "at least one run" in capsys.readouterr().err
    assert command.main(["--list", "--only", "chunks"]) == 0
    assert "chunks-100k" in capsys.readouterr().out


def test_the_plot_takes_rows_without_results(tmp_path: Path) -> None:
    empty = Report("example", "nothing", [Outcome("gpuarray")], [], [], (0.0, 0.0))
    about = {"processor": "P", "cores": 1, "commit": "c", "gpus": [], "memory_bytes": 1}
    plot.draw([empty], about, tmp_path / "x.png")
    assert machine.slug({**about, "gpus": ["NVIDIA H200"]}) == "nvidia-h200-1-cores-0gb"
    assert SimpleNamespace(**about).cores == 1
