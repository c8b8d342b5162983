"""The folder of compiled kernels stays small, whatever other processes do with it meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpuarray.kernels import cache, pruning
from tests.kernels.test_compile import ROOT, folder, forget, source, written

__all__ = ["folder"]


def aged(path: Path, number: int, days: float) -> str:
    """A kernel that was last used so many days ago; its name."""
    key = cache.key_of(source(number))
    assert written(cache.load(source(number))) == number
    then = time.time() - days * pruning.DAY
    for file in path.rglob(f"{key}*"):
        if file.suffix != ".py":
            os.utime(file, (then, then))
    return key


def names(path: Path) -> set[str]:
    return set(pruning.stored(path))


def look_again(path: Path) -> None:
    (path / pruning.STAMP).unlink(missing_ok=True)


def test_what_nobody_uses_goes(folder: Path) -> None:
    old, young = aged(folder, 1, 91), aged(folder, 2, 89)
    look_again(folder)
    new = cache.key_of(source(3))
    assert written(cache.load(source(3))) == 3  # a new kernel is when the folder is looked at
    assert names(folder) == {young, new}
    assert not [f for f in folder.rglob("*") if old in f.name]
    forget()
    assert written(cache.load(source(1))) == 1  # compiled again
    assert old in names(folder)


def test_loading_is_using(folder: Path) -> None:
    key = aged(folder, 1, 91)
    forget()
    assert written(cache.load(source(1))) == 1
    look_again(folder)
    pruning.prune(folder)
    assert names(folder) == {key}
    stamp = (folder / f"{key}.sum").stat().st_mtime_ns
    forget()
    cache.load(source(1))
    assert (folder / f"{key}.sum").stat().st_mtime_ns == stamp  # writes nothing on the same day


def test_the_oldest_of_too_many_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [aged(folder, k, 10 - k) for k in range(4)]
    kernels, nbytes = pruning.usage(folder)
    assert kernels == 4
    monkeypatch.setattr(pruning, "MOST", nbytes)
    look_again(folder)
    pruning.prune(folder)
    assert names(folder) == set(keys)
    monkeypatch.setattr(pruning, "MOST", nbytes - 1)
    look_again(folder)
    pruning.prune(folder)
    left = names(folder)
    assert keys[0] not in left
    assert keys[3] in left
    assert 0 < pruning.usage(folder)[1] <= 0.75 * nbytes


def test_the_folder_is_looked_at_now_and_then(folder: Path) -> None:
    aged(folder, 1, 91)
    pruning.prune(folder)
    assert len(names(folder)) == 1  # the kernel's own making was the last look
    hours = time.time() - 2 * 3600
    os.utime(folder / pruning.STAMP, (hours, hours))
    pruning.prune(folder)
    assert not names(folder)


def test_what_is_not_ours_stays(folder: Path) -> None:
    cache.load(source(1))
    others = [folder / "rates.json", folder / "notes.py", folder / "k12.py", folder / "__pycache__" / "x.nbc"]
    key = cache.key_of(source(9))
    fresh, left = folder / f"{key}abc.tmp", folder / f"{key}def.tmp"
    for file in (*others, fresh, left):
        file.write_text("")
        os.utime(file, (0, 0))
    os.utime(fresh)
    assert pruning.clear(folder)[0] == 1
    look_again(folder)
    pruning.prune(folder)
    assert pruning.usage(folder) == (0, 0)
    assert all(f.exists() for f in (*others, fresh))
    assert not left.exists()


def test_nothing_there_and_nothing_allowed(folder: Path, tmp_path: Path) -> None:
    pruning.prune(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert pruning.clear(tmp_path / "none") == (0, 0)
    pruning.mark_used(tmp_path / "none.sum")


REMOVES = """
import sys
from pathlib import Path
from gpuarray.kernels import pruning
pruning.clear(Path(sys.argv[1]))
print("removing", flush=True)
while not Path(sys.argv[2]).exists():
    pruning.clear(Path(sys.argv[1]))
"""


def test_loading_survives_a_process_that_removes_everything(folder: Path, tmp_path: Path) -> None:
    enough = tmp_path / "enough"
    command = [sys.executable, "-c", REMOVES, str(folder), str(enough)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as remover:
        try:
            assert remover.stdout is not None
            assert remover.stdout.readline() == "removing\n"
            for number in range(15):
                forget()
                assert written(cache.load(source(number % 5))) == number % 5
        finally:
            enough.touch()
    assert remover.returncode == 0
    forget()
    assert written(cache.load(source(0))) == 0
