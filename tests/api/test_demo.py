"""The demonstration on a small record: its result, its report, and what it refuses."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gpuarray as ga
from gpuarray import demo
from gpuarray.demo import check, climate, watch
from gpuarray.errors import ConfigError, MemoryLimitError, StorageError

zarr = pytest.importorskip("zarr")
pytest.importorskip("matplotlib")

SIZE, MEMORY = 3_000_000, 64 << 20
PATIENCE = 180
"""Seconds that anything may take on a busy machine."""


def test_a_small_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "folder"
    status = demo.main(SIZE, MEMORY, folder, keep=True)
    printed = capsys.readouterr().out
    assert "FAILED" not in printed
    # the allocator's and the interpreter's own megabytes weigh more than a tenth of so small a limit
    assert status == 0 or "MORE THAN THE LIMIT ALLOWS" in printed
    picture = folder / demo.PICTURE
    assert printed.rstrip().splitlines()[-1] == f"picture     {picture}"
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    for expected in ("make", "mean, deviation", "standardise, reduce, write", "check", "limit of 64 MiB"):
        assert expected in printed
    (kept,) = [p for p in folder.iterdir() if p.is_dir()]
    assert f"kept        {kept}" in printed
    x, z = (zarr.open_array(kept / name, mode="r")[...].astype("f8") for name in ("x.zarr", "z.zarr"))
    np.testing.assert_allclose(z, (x - x.mean()) / x.std(), atol=1e-5)


def test_nothing_but_the_picture_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo.main(SIZE, MEMORY, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [demo.PICTURE]
    assert "kept" not in [line.split(" ")[0] for line in capsys.readouterr().out.splitlines()]


def test_a_wrong_result_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    standardise = demo._standardise

    def wrong(*arguments: object) -> object:
        plan, results = standardise(*arguments)  # type: ignore[arg-type]
        results[1][0, 0] += 1e-3
        return plan, results

    monkeypatch.setattr(demo, "_standardise", wrong)
    assert demo.main(SIZE, 1 << 30, tmp_path) == 1
    printed = capsys.readouterr().out
    assert "check       FAILED" in printed
    assert re.search(r"z.mean\(axis=0\)\s+1.0e-03\s+MORE THAN", printed)


def test_memory_above_the_limit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watch.Watch, "peak", property(lambda self: 80 << 20))
    assert demo.main(SIZE, 72 << 20, tmp_path) == 1
    assert "111 % of the limit of 72 MiB, MORE THAN THE LIMIT ALLOWS" in capsys.readouterr().out
    assert demo.main(SIZE, 74 << 20, tmp_path) == 0


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"976 KiB is too small .* take 977 KiB"):
        demo.main(10**6 - 1000, MEMORY, tmp_path)
    with pytest.raises(MemoryLimitError, match="memory limit"):
        demo.main(SIZE, 100_000, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=50 << 20))
    with pytest.raises(StorageError, match=r"need 55.9 MiB of disk, .* has 50 MiB free; .*--directory.*--size"):
        demo.main(SIZE, MEMORY, tmp_path)
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs zarr and matplotlib: pip install 'gpuarray-engine\[io,plot\]'"):
        demo.main(SIZE, MEMORY, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gpuarray", "demo", "--size", "2GB", "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            until = time.monotonic() + PATIENCE
            while not list(tmp_path.glob("data-*/x.zarr/c/*")) and run.poll() is None:
                assert time.monotonic() < until
                time.sleep(0.05)
            run.send_signal(signal.SIGINT)
            _, errors = run.communicate(timeout=PATIENCE)
        finally:
            run.kill()
    assert run.returncode == 130, errors
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in errors


@pytest.mark.parametrize("size", [10**6, 10**7, 10**9, 4 * 10**9, 10**11, 10**13])
def test_grids(size: int) -> None:
    grid = climate.grid_of(size)
    assert 0.9 * size < grid.nbytes < 1.1 * size
    assert grid.days >= 700
    assert 4 * np.prod(grid.chunks, dtype=float) <= max(16 << 20, 4 * grid.latitudes * grid.longitudes)


def test_temperatures_are_those_of_a_planet() -> None:
    grid = climate.Grid(800, 10, 20)
    t = climate.temperature(ga, grid).compute()
    assert t.dtype == np.float32
    assert t.shape == grid.shape
    by_latitude = t.mean(axis=(0, 2))
    assert by_latitude[4:6].min() > 15 > -5 > by_latitude[[0, -1]].max()
    july, january = t[190:215, -1].mean(), t[5:30, -1].mean()
    assert july > january + 5  # in the north
    assert np.isfinite(t).all()
    assert t.std() > 10


def test_the_check_finds_one_wrong_element(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(10, 3, (50, 4, 5)).astype("f4")
    z = ((x - x.mean(dtype="f8")) / x.std(dtype="f8")).astype("f4")
    for name, array in (("x", x), ("z", z)):
        zarr.create_array(tmp_path / name, shape=x.shape, chunks=(8, 4, 5), dtype="f4")[...] = array
    results = [None, z.mean(0), z.mean(1), z.mean(2)]

    def compare() -> list[bool]:
        return [f.fine for f in check.compare(tmp_path / "x", tmp_path / "z", results, lambda done: None)]

    assert compare() == [True] * 4
    zarr.open_array(tmp_path / "z")[49, 3, 4] = np.nan
    assert compare() == [False, True, True, True]
    results[2][31, 2] += 1e-4
    assert compare() == [False, True, False, True]


def test_phases_of_a_watch() -> None:

    def looked(watch: watch.Watch) -> None:
        """Return when it has looked."""
        looks, until = len(watch.looks), time.monotonic() + PATIENCE
        while len(watch.looks) < looks + 2:  # the first may have begun before
            assert time.monotonic() < until
            time.sleep(0.001)

    with watch.Watch() as seen:
        with seen.phase("first"):
            held = np.ones(4_000_000)
            looked(seen)
            del held
        with seen.phase("second", judged=False):
            held = np.ones(16_000_000)
            looked(seen)
            del held
    assert [p.name for p in seen.phases] == ["first", "second"]
    assert 25e6 < seen.peak < 100e6  # of the first, which is judged
    assert os.getpid() == seen._process.pid
