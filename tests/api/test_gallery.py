"""The gallery's programs run, small, and leave what they promise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GALLERY = Path(__file__).parents[2] / "docs" / "gallery"
PROGRAMS = {
    "heat_plate.py": (["--size", "60", "--steps", "40", "--every", "20", "--animate"], "heat-plate/heat.gif"),
    "wave.py": (["--size", "64", "--steps", "50"], "wave/wave.gif"),
    "gray_scott.py": (["--size", "64", "--steps", "20"], "gray-scott/gray-scott.png"),
    "life.py": (["--size", "300", "--generations", "10"], "life/life.png"),
}


def test_every_program_is_tried() -> None:
    assert {p.name for p in GALLERY.glob("*.py")} == set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_runs(name: str, tmp_path: Path) -> None:
    options, made = PROGRAMS[name]
    command = [sys.executable, str(GALLERY / name), *options]
    here = {**os.environ, "PYTHONPATH": str(GALLERY.parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=here, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / made).stat().st_size > 1000
