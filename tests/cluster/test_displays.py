"""Progress bars and timelines."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpuarray.cluster import progress
from gpuarray.cluster.local import LocalExecutor
from gpuarray.cluster.progress import ProgressBar, progress_bars
from gpuarray.cluster.task import Result
from gpuarray.cluster.testing import ListPlan, mix_plan, task
from gpuarray.cluster.timeline import Timeline


class Terminal(io.StringIO):
    def isatty(self):
        return True


def plan_until(condition, count=10):
    """Tasks of which the last ends when a condition holds."""
    end = time.monotonic() + 60

    def run(*_):
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)
        return Result()

    tasks = [task((0, n), load=1, work=1 << 20) for n in range(count - 1)]
    return ListPlan([*tasks, task((0, count - 1), load=1, work=1 << 20, function=run)])


@pytest.mark.parametrize(
    ("setting", "terminal", "shown"), [(True, False, 1), (False, True, 0), ("auto", True, 1), ("auto", False, 0)]
)
def test_who_gets_a_bar(monkeypatch, setting, terminal, shown):
    monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
    assert len(progress_bars(setting)) == shown


def test_a_closed_or_missing_stderr_gets_none(monkeypatch):
    stream = io.StringIO()
    stream.close()
    for broken in (stream, None):
        monkeypatch.setattr(sys, "stderr", broken)
        assert progress_bars("auto") == ()


def test_a_notebook_gets_one(monkeypatch):
    class ZMQInteractiveShell:
        pass

    class IPython:
        get_ipython = staticmethod(ZMQInteractiveShell)

    monkeypatch.setitem(sys.modules, "ipykernel", object())
    monkeypatch.setitem(sys.modules, "IPython", IPython)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert progress.visible()


def test_the_bar_shows_tasks_label_and_memory(host, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    executor = LocalExecutor(host, threads=1, host_limit=8 << 20)
    shown = ("stage0", "/10 ", "of 8 MiB")
    plan = plan_until(lambda: all(words in screen.getvalue() for words in shown))
    executor.run(plan, [ProgressBar(delay=0.1)])


def test_the_bar_appears_before_the_first_task_is_done(host, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    plan = plan_until(lambda: "0/1 " in screen.getvalue(), count=1)
    LocalExecutor(host, threads=1).run(plan, [ProgressBar(delay=0.05)])


def test_a_short_run_shows_nothing_and_does_not_import_tqdm(host, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    for bar in (ProgressBar(delay=60), *progress_bars(True)):
        bar._delay *= 120  # so that any machine is fast enough
        assert bar._delay >= 60
        LocalExecutor(host, threads=1).run(plan_until(lambda: True), [bar])
    assert screen.getvalue() == ""


def test_the_bar_goes_when_the_run_fails_and_is_there_for_the_next(host, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    executor, bar = LocalExecutor(host, threads=1), ProgressBar(delay=0.0)

    def fail(*_):
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            executor.run(ListPlan([task((0, n), load=1) for n in range(9)] + [task((0, 9), function=fail)]), [bar])
        assert bar._bar is None
        assert bar._run is None


def test_importing_progress_does_not_import_tqdm():
    code = "import sys, gpuarray.cluster.progress; sys.exit('tqdm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_a_timeline_sums_up(host, spill):
    timeline = Timeline()
    executor = LocalExecutor(host, threads=2, host_limit=8 * 300, directory=spill)
    kept = executor.run(mix_plan([100] * 12, [()] * 12, kept=range(12)), [timeline])
    with pytest.raises(ZeroDivisionError):
        executor.run(ListPlan([task((0, 0), function=lambda *_: 1 / 0)]), [timeline])
    text = timeline.summary()
    assert "run 1: done in " in text
    assert "12/12" in text
    assert "9.38 KiB" in text  # 12 times 800 bytes
    assert "failed after" in text
    assert "ZeroDivisionError: division by zero" in text
    assert "host: peak 2.3" in text
    assert "(limit 2.34 KiB)" in text
    assert timeline.moves["host", "disk"].nbytes >= 9 * 800
    assert "host to disk: " in text
    del kept


def test_a_timeline_is_bounded(host):
    timeline = Timeline(capacity=10)
    LocalExecutor(host, threads=2).run(ListPlan([task((0, n), load=1) for n in range(100)]), [timeline])
    assert len(timeline.events) == 10
    assert timeline.stages[1, 0].tasks == 100
