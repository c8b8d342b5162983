"""Whole programs that are killed, interrupted, forked, or have their spill files damaged: what they say and leave."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gpuarray as ga
from gpuarray.cluster import crew, pool

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and permissions of POSIX")

ROOT = Path(__file__).parents[2]
SECONDS = 180

HEAD = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
import gpuarray as ga

SPILL = Path(sys.argv[1])
ga.config.set(host_memory="2 MB", spill_directory=SPILL, progress=False, threads=2, compile="never")

def spilled(start=0):
    # four times what fits
    return (ga.arange(start, start + 10**6, chunks=20_000) + 1).persist()

def files():
    return [f for d in SPILL.iterdir() if d.is_dir() for f in d.iterdir() if len(f.name) == 16]

TOTAL = 500_000_500_000
"""


def start(code: str, spill: Path, *before: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, sys.executable, "-c", HEAD + code, str(spill)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def running(code: str, spill: Path, *before: str) -> Iterator[subprocess.Popen[str]]:
    with start(code, spill, *before) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail("the program hangs: " + "".join(process.communicate()))


FOREVER = """
print("ready", flush=True)
kept = []  # Python loses a Ctrl-C that strikes as it calls a finalizer
for _ in range(200):
    kept.append(spilled())
    assert int(kept[-1].sum()) == TOTAL
time.sleep(600)
"""


def until_it_spills(process: subprocess.Popen[str], spill: Path) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    end = time.monotonic() + SECONDS
    while not any(spill.iterdir()):
        assert time.monotonic() < end
        time.sleep(0.005)
    time.sleep(0.05)


def test_killed_while_it_spills_and_swept_by_the_next(spill: Path) -> None:
    with running(FOREVER, spill) as process:
        until_it_spills(process, spill)
        process.send_signal(signal.SIGSTOP)  # or it could be between two arrays
        left = list(spill.iterdir())
        process.kill()
        process.wait(SECONDS)
    if not left:
        pytest.skip("it was between two arrays")
    assert list(spill.iterdir()) == left
    out, err = ended(start("assert int(spilled().sum()) == TOTAL; print('right')", spill))
    assert (out, err) == ("right\n", "")


def test_ctrl_c_while_it_spills(spill: Path) -> None:
    with running(FOREVER, spill) as process:
        until_it_spills(process, spill)
        process.send_signal(signal.SIGINT)
        out, err = ended(process)
    assert out == ""
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "Exception ignored" not in err
    assert process.returncode == -signal.SIGINT


def test_ctrl_c_and_then_on(spill: Path) -> None:
    code = """
import threading
for k in range(25):
    struck, kept = False, []
    try:
        threading.Timer(0.002 * k, os.kill, [os.getpid(), signal.SIGINT]).start()
        while True:
            kept.append(spilled())  # kept: Python loses a Ctrl-C that strikes in a finalizer
    except KeyboardInterrupt:
        struck = True
    assert struck
    kept = None
    assert int(spilled().sum()) == TOTAL
print(len(files()))
"""
    assert ended(start(code, spill)) == ("0\n", "")


class Struck:
    """A lock in whose `number`th `acquire` Ctrl-C strikes, once it is acquired."""

    def __init__(self, number: int) -> None:
        self.lock, self.left = threading.Lock(), number
        self.release = self.lock.release

    def acquire(self, timeout: float = 20) -> None:
        assert self.lock.acquire(timeout=timeout) or timeout < 1, "it waits for nobody"
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("number", [1, 2])
def test_ctrl_c_as_the_last_thread_leaves(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    init = crew.Crew.__init__

    def with_struck(self: crew.Crew, *args: Any) -> None:
        init(self, *args)
        self._done = Struck(number)  # type: ignore[assignment]

    monkeypatch.setattr(crew.Crew, "__init__", with_struck)
    x = ga.arange(10**6, chunks=20_000)
    with ga.config.set(threads=2):
        with pytest.raises(KeyboardInterrupt):
            x.persist()
        monkeypatch.undo()
        assert int(x.persist().sum()) == 499_999_500_000


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("can't start new thread")])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("number", [0, 1, 3])
def test_threads_that_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch, number: int, before: bool, error: BaseException
) -> None:
    start, count = pool.THREADS.start, 0

    def refuse(function: Callable[[], None]) -> None:
        nonlocal count
        count += 1
        if count <= number or not before:
            start(function)
        if count > number:
            raise error

    monkeypatch.setattr(pool.THREADS, "start", refuse)
    x = ga.arange(10**6, chunks=20_000)
    with ga.config.set(threads=4):
        with pytest.raises((KeyboardInterrupt, RuntimeError)):
            x.persist()
        monkeypatch.undo()
        assert int(x.persist().sum()) == 499_999_500_000


def test_two_programs_in_one_directory(spill: Path) -> None:
    code = """
for _ in range(3):
    x, y = spilled(), spilled(7)
    assert int(x.sum()) == TOTAL
    assert int((y - x).min()) == int((y - x).max()) == 7
"""
    for process in [start(code, spill) for _ in range(2)]:
        assert ended(process) == ("", "")


DAMAGES = {
    "truncated": ("os.truncate(f, 100)", "has 100 bytes instead of at least"),
    "bit flipped": (
        "data = bytearray(f.read_bytes()); data[500::4096] = b'x' * len(data[500::4096]); f.write_bytes(data)",
        "checksum does not match",
    ),
    "deleted": ("f.unlink()", "was deleted"),
    "a link": ("f.rename(f'{f}x'); f.symlink_to(f'{f}x')", "was replaced by a symbolic link"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_spill_files(spill: Path, name: str) -> None:
    damage, words = DAMAGES[name]
    code = f"""
x = spilled()
for f in files():
    {damage}
for _ in range(2):
    try:
        print("wrong:", x.sum().compute())
    except ga.errors.SpillError as error:
        print(error)
assert int(spilled().sum()) == TOTAL  # others are not harmed
del x
for f in SPILL.glob("*/*x"):
    f.unlink()
"""
    out, err = ended(start(code, spill))
    assert err == ""
    lines = out.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert words in line
        assert str(spill) in line
        assert "run the computation again" in line


def test_damage_by_a_users_function_while_it_runs(spill: Path) -> None:
    code = """
def worse(block):
    for f in files():
        os.truncate(f, 10)
    return block

x = spilled()
try:
    print("wrong:", ga.map_blocks(worse, x, dtype=int).sum().compute())
except ga.errors.SpillError as error:
    print(error, *error.__notes__)
x = None
assert int(spilled().sum()) == TOTAL
"""
    out, err = ended(start(code, spill))
    assert err == ""
    # what is found depends on how far a file was read or written then; by whom, on which block is read next
    found = "has 10 bytes instead of at least|was truncated|has another header|checksum does not match"
    assert re.search(rf"spill file .* ({found}).*in (map_blocks\(worse\)|sum), task \d+ of \d+", out), out


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="needs to mount a file system")
def test_a_full_file_system(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    code = """
for _ in range(2):
    try:
        spilled()
    except ga.errors.SpillError as error:
        print(error)
assert ga.ones(1000, chunks=10).persist().sum().item() == 1000
with ga.config.set(host_memory="40 MB"):
    assert int(spilled().sum()) == TOTAL
print(list(SPILL.iterdir()))
"""
    try:
        out, err = ended(start(code, tmp_path))
        left = list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert err == ""
    first, second, listed = out.splitlines()
    for line in (first, second):
        for words in ("is full", str(tmp_path), "469 KiB", "spill_directory", "memory limit"):
            assert words in line
    assert (listed, left) == ("[]", [])


def test_an_unwritable_directory(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    before: list[str] = []
    if os.access(folder, os.W_OK):  # root may write anywhere, until it gives that up
        if shutil.which("setpriv") is None:
            pytest.skip("permissions do not hold for this user")
        before = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    code = """
try:
    spilled()
except ga.errors.ConfigError as error:
    print(error)
"""
    out, err = ended(start(code, folder, *before))
    assert err == ""
    assert str(folder) in out
    assert "spill_directory" in out
    assert "writ" in out


@pytest.mark.parametrize("leave", ["os._exit(0)", "sys.exit(0)"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_of_a_program_that_has_spilled(spill: Path, leave: str) -> None:
    code = f"""
x = spilled()
before = sorted(files())
assert before
child = os.fork()
if not child:
    signal.alarm(120)
    assert int((ga.ones(10**6, chunks=20_000) * 2).sum()) == 2 * 10**6
    assert int(x.sum()) == TOTAL
    del x
    {leave}
assert os.waitpid(child, 0)[1] == 0
assert set(before) <= set(files())
assert int(x.sum()) == TOTAL
print("right")
"""
    out, err = ended(start(code, spill))
    assert (out, err) == ("right\n", "")


def test_a_function_that_ends_the_program(spill: Path) -> None:
    """Whatever a user's function raises comes out, and nothing is left."""
    code = """
def leave(block):
    raise SystemExit(3)

x = spilled()
ga.map_blocks(leave, x, dtype=int).sum().compute()
"""
    process = start(code, spill)
    out, err = ended(process)
    assert (out, err, process.returncode) == ("", "", 3)
