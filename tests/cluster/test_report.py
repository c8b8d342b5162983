"""The page about runs: what it counts is what happened, it is bounded, and it is a page that stands alone."""

from __future__ import annotations

import itertools
import re
import threading
import tracemalloc
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.cluster.events import MemoryState, Moved, RunDone, RunFailed, RunStarted, TaskDone, TaskStarted, TierState
from gpuarray.cluster.page import STYLE, duration, page
from gpuarray.cluster.recording import EXACT, Bins, Recording, combined, largest, summing
from gpuarray.cluster.reporting import listeners
from gpuarray.cluster.task import StageInfo

VOID = {"meta", "br"}


class Checked(HTMLParser):
    """Every element is closed, in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert tag not in ("script", "link", "img", "iframe")
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def pictures(html):
    """The drawings of a page, parsed."""
    Checked(html)
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


def made_up(tasks, workers, names=("add", "sum(multiply)"), seconds=0.01, start=0.0):
    """A recording of tasks one after the other on each worker."""
    recording = Recording(start=0.0)
    recording.workers = {n: f"worker {n} (10.0.0.{n}:1)" for n in range(workers)}
    stages = tuple(StageInfo(n, name, "", tasks // len(names)) for n, name in enumerate(names))
    recording(RunStarted(start, 1, stages))
    for n in range(tasks):
        worker, turn = n % workers, n // workers
        key = (n * len(names) // tasks, n)
        recording(TaskStarted(start + turn * seconds, 1, key, worker))
        recording(TaskDone(start + (turn + 1) * seconds, 1, key, worker, 0.0, 0.0, seconds, 0.0, 1 << 20))
    recording(RunDone(recording.stop, 1, recording.stop - start))
    return recording


# Bins


@pytest.mark.parametrize("count", [2, 4, 480])
def test_bins_keep_sums_however_often_they_double(count):
    rng = np.random.default_rng(0)
    bins, whole = Bins(lambda a, b: a + b, count=count, width=0.01), 0.0
    for start, length, amount in rng.random((300, 3)) * [50, 3, 10]:
        bins.spread(start, start + length, amount)
        whole += amount
    assert sum(bins.values) == pytest.approx(whole)
    assert len(bins.values) == count
    assert bins.width * count > 50


def test_bins_put_amounts_where_they_belong():
    bins = summing()
    bins.spread(0.1, 0.3, 2.0)
    bins.spread(100.0, 100.0, 5.0)
    (row,) = combined([bins], 101.0, 101)
    assert row[0] == pytest.approx(2.0)
    assert sum(row[99:]) == pytest.approx(5.0)  # within the length of a bin, a quarter of a second
    bins = largest()
    for time, value in ((0.0, 3.0), (5.0, 9.0), (400.0, 1.0)):
        bins.at(time, value)
    assert max(bins.values) == 9.0


# What is recorded


def test_totals_are_those_of_the_tasks():
    recording = made_up(100, 4)
    assert {name: total.tasks for name, total in recording.totals.items()} == {"add": 50, "sum(multiply)": 50}
    assert sum(total.compute for total in recording.totals.values()) == pytest.approx(1.0)
    assert recording.lanes == {f"worker {n} (10.0.0.{n}:1)": 1 for n in range(4)}
    assert sum(sum(b.values) for w in recording.busy.values() for b in w.values()) == pytest.approx(1.0)


def test_tasks_at_once_lie_beside_each_other_and_never_on_each_other():
    recording = Recording(start=0.0)
    recording(RunStarted(0.0, 1, (StageInfo(0, "add", "", 6),)))
    for n, start in enumerate([0.0, 0.5, 0.7, 1.2, 1.3, 2.5]):
        for ended, stop in enumerate([1.0, 1.1, 2.0, 2.2, 2.4]):
            if recording.stop < stop <= start:
                recording(TaskDone(stop, 1, (0, ended), 1 << 30, 0.0, 0.0, 0.1, 0.0, 1))
        recording(TaskStarted(start, 1, (0, n), 1 << 30))
    for ended, stop in enumerate([1.0, 1.1, 2.0, 2.2, 2.4, 3.0]):
        if stop > recording.stop:
            recording(TaskDone(stop, 1, (0, ended), 1 << 30, 0.0, 0.0, 0.1, 0.0, 1))
    spans = sorted(recording.spans, key=lambda s: (s.lane, s.start))
    assert len(spans) == 6
    assert recording.lanes == {"this process": 3}
    for one, other in itertools.pairwise(spans):
        assert one.lane < other.lane or one.stop <= other.start


def test_tasks_given_together_come_one_after_the_other():
    recording = Recording(start=0.0)
    recording(RunStarted(0.0, 1, (StageInfo(0, "add", "", 4),)))
    for n in range(4):
        recording(TaskStarted(1.0, 1, (0, n), 0))
    for n in range(4):  # all are back at 3.0: 0.5 s each
        recording(TaskDone(3.0, 1, (0, n), 0, 0.0, 0.0, 0.5, 0.0, 1))
    assert [(s.start, s.stop, s.lane) for s in recording.spans] == [(1 + n / 2, 1.5 + n / 2, 0) for n in range(4)]


def test_a_run_that_fails_leaves_nothing_under_way():
    recording = Recording(start=0.0)
    for run in (1, 2):
        recording(RunStarted(0.0, run, (StageInfo(0, "add", "", 1),)))
        recording(TaskStarted(0.1, run, (0, 0), 0))
        recording(RunFailed(1.0, run, 1.0, "ValueError: <b>no</b>"))
    assert not recording._started
    assert not recording._orders
    assert recording.lanes == {"worker 0": 1}
    html = page(recording, "failed")
    assert html.count("failed: ValueError: &lt;b&gt;no&lt;/b&gt;") == 2
    Checked(html)


# The page


@pytest.mark.parametrize(("tasks", "workers"), [(0, 1), (1, 1), (10, 2), (EXACT, 3), (EXACT + 1, 3), (20_000, 40)])
def test_any_number_of_tasks_makes_a_page_that_is_not_large(tasks, workers):
    recording = made_up(tasks, workers) if tasks else Recording(start=0.0)
    html = page(recording, "run")
    assert len(html) < 1_500_000
    drawn = pictures(html)
    if tasks:
        bars = [e for e in drawn[0].iter() if e.get("class") in ("f0", "f1")]
        assert len(bars) == (tasks if tasks <= EXACT else 2 * workers) if workers != 40 else bars
    else:
        assert "Nothing ran" in html


def test_memory_does_not_grow_with_the_tasks():
    made_up(EXACT + 10, 4)
    tracemalloc.start()
    made_up(4_000, 4)
    few = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    made_up(12_000, 4)
    many = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert many < 1.5 * few + 200_000


def test_many_operations_share_a_colour_and_many_workers_are_counted():
    recording = made_up(4_000, 100, names=[f"operation {n}" for n in range(400)])
    html = page(recording, "many")
    assert "The first 64 of 100 workers" in html
    assert "other operations" in html
    assert len(recording.totals) <= 201
    pictures(html)


def test_names_are_escaped():
    name = "<script>alert('x')</script>&\""
    recording = made_up(10, 1, names=[name])
    html = page(recording, name)
    assert "<script" not in html
    assert name in "".join(Checked(html).text)


def test_limits_and_moves():
    recording = Recording(start=0.0)
    recording(RunStarted(0.0, 1, ()))
    for n in range(10):
        tiers = (TierState("host", n * 100, 50, 1000, 950, 0, 0), TierState("disk", n * 7, 0, None, 63, 0, 0))
        recording(MemoryState(float(n), 1, tiers))
        recording(Moved(float(n), 1, (0, n), "host", "disk", 7, 0.1))
    html = page(recording, "bytes")
    text = "".join(Checked(html).text)
    assert "at most 950 B of 1000 B" in text
    assert "at most 63 B" in text
    assert recording.moved["host to disk"].nbytes == 70
    memory, moves = pictures(html)
    assert len([e for e in memory.iter() if e.get("class") == "limit"]) == 1
    assert [e for e in moves.iter() if (e.text or "") == "host to disk"]


def test_every_colour_is_there_in_light_and_in_dark():
    light, dark = STYLE.split("@media (prefers-color-scheme: dark)")
    for name in set(re.findall(r"var\((--\w+)\)", STYLE)):
        assert f"{name}:" in light, name
        assert f"{name}:" in dark.partition("} }")[0], name


def test_workers_of_a_cluster_say_what_they_hold():
    recording = Recording(start=0.0)
    before = {
        "tiers": {"host": {"held": 1, "reserved": 2, "limit": 10, "peak": 5, "moved_in": 3}},
        "fetched": 4,
        "fetches": 1,
    }
    after = {
        "tiers": {"host": {"held": 4, "reserved": 2, "limit": 10, "peak": 8, "moved_in": 13}},
        "fetched": 9,
        "fetches": 3,
    }
    recording.looked("worker 0", before, None, 0.25)
    recording.looked("worker 0", after, before, 0.25)
    assert recording.memory["worker 0"]["host"].peak == 8
    assert recording.moved["into host"].nbytes == 13
    assert (recording.moved["from other workers"].nbytes, recording.moved["from other workers"].moves) == (9, 3)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-1, "0 s"),
        (1e-6, "1 µs"),
        (0.0125, "12.5 ms"),
        (59.94, "59.9 s"),
        (120, "2 min"),
        (9000, "2 h 30 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


# With runs


def test_a_report_of_a_run_here(tmp_path):
    path = tmp_path / "run.html"
    x = ga.random.default_rng(0).random((600, 600), chunks=200)
    with ga.cluster.report(path, title="sums & more") as report:
        assert not path.exists()
        x.sum().compute()
        (x + 1).sum(axis=0).compute()
    assert not listeners()
    html = path.read_text()
    assert html == report.html()
    assert "<title>sums &amp; more</title>" in html
    assert len(report.recording.runs) == 2
    assert all(run.stop is not None and run.error is None for run in report.recording.runs)
    assert sum(t.tasks for t in report.recording.totals.values()) == sum(run.tasks for run in report.recording.runs)
    assert "run" in report.summary()
    assert report._repr_html_().startswith("<iframe srcdoc=")
    assert [p.name for p in tmp_path.iterdir()] == ["run.html"]


def test_what_runs_outside_is_not_heard():
    report = ga.cluster.report()
    x = ga.ones((600, 600), chunks=200)
    x.sum().compute()
    with report:
        pass
    (x * 2).sum().compute()
    assert not report.recording.runs
    assert "Nothing ran" in report.html()
    with pytest.raises(ga.errors.ConfigError, match="has been used"):
        report.__enter__()


def test_a_failed_run_is_reported_and_its_error_comes_through(tmp_path):
    path = tmp_path / "run.html"

    def fail(block):
        raise ZeroDivisionError("on purpose")

    with pytest.raises(ZeroDivisionError), ga.cluster.report(path):
        ga.map_blocks(fail, ga.ones((400, 400), chunks=200), dtype=float).compute()
    assert "failed: ZeroDivisionError: on purpose" in path.read_text()


def test_reports_in_reports_and_in_threads():
    x = ga.ones((600, 600), chunks=200)
    with ga.cluster.report() as outer:
        with ga.cluster.report() as inner:
            thread = threading.Thread(target=lambda: x.sum().compute())
            thread.start()
            thread.join(timeout=60)
        (x + 1).sum().compute()
    assert (len(outer.recording.runs), len(inner.recording.runs)) == (2, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"path": "/no/such/folder/run.html"},
        {"path": "/"},
        {"interval": 0},
        {"interval": float("nan")},
        {"interval": "1"},
    ],
)
def test_bad_arguments(arguments):
    with pytest.raises(ga.errors.ConfigError):
        ga.cluster.report(**arguments)


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning",  # sockets and processes of dask's that are closed a little later
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:.*fork:DeprecationWarning",
    "ignore:Port 8787 is already in use:UserWarning",
)
def test_a_report_of_a_cluster(tmp_path):
    pytest.importorskip("distributed")
    path = tmp_path / "run.html"
    with (
        ga.cluster.Cluster(n_workers=2, threads_per_worker=1, dashboard="127.0.0.1:0", host_memory="256 MiB"),
        ga.cluster.report(path, interval=0.05) as report,
    ):
        x = ga.random.default_rng(0).random((1200, 1200), chunks=300).persist()
        (x + x.T).sum().compute()
    recording = report.recording
    assert set(recording.busy) <= set(recording.memory) == set(recording.workers.values())
    assert len(recording.memory) == 2
    held = sum(tiers["host"].peak for tiers in recording.memory.values())
    assert held >= x.nbytes
    assert all(tiers["host"].limit <= 256 << 20 for tiers in recording.memory.values())
    assert recording.moved["from other workers"].nbytes > 0
    assert "worker 0, host" in "".join(Checked(path.read_text()).text)
