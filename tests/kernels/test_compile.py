"""Generated kernels on disk: shared, rebuilt when damaged, never trusted from a folder that others can write to."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels import cache, compile, compile_code, elementwise
from gpuarray.kernels.operands import Template, contiguous
from gpuarray.kernels.program import Builder, Program

ROOT = Path(__file__).parents[2]
CODE = """
import sys
import numpy as np
from gpuarray.kernels import cache, compile, elementwise
from gpuarray.kernels.program import Builder
cache.set_folder(sys.argv[1])
b = Builder()
x = b.input("array", "float64")
program = b.build(b.step("sqrt", b.step("add", x, x)))
known = compile.ready(program)
assert elementwise.run(program, (np.full(100, 8.0),), (100,)).tolist() == [4.0] * 100
print(known, len(list(cache.folder().glob("*.py"))))
"""


def source(number: int) -> str:
    """A tiny module that writes a number."""
    return f"""
from numba import njit
import numpy as np
from gpuarray.kernels.pointers import pointer, store

@njit("void(int64)", nogil=True, cache=True, error_model="numpy")
def kernel(words):
    store("out", np.int64, pointer(words), 0, {number})
"""


def written(kernel: cache.Loaded) -> int:
    out = np.zeros(1, np.int64)
    kernel.call(out.ctypes.data)
    return int(out[0])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A fresh cache, in a process that remembers no kernel."""
    chosen, remembered = cache._chosen, dict(cache._loaded)
    cache.set_folder(tmp_path / "kernels")
    cache._loaded.clear()
    yield cache.folder()
    cache.set_folder(chosen)
    cache._loaded.clear()
    cache._loaded.update(remembered)


def forget() -> None:
    """As a new process: nothing is remembered but what lies on disk."""
    cache._loaded.clear()


def machine_code(folder: Path) -> list[Path]:
    return sorted(folder.glob("__pycache__/*.nb?"))


def test_loads_what_it_compiled(folder: Path) -> None:
    assert not cache.ready(source(1))
    assert written(cache.load(source(1))) == 1
    assert cache.ready(source(1))
    stamps = [f.stat().st_mtime_ns for f in machine_code(folder)]
    assert stamps
    forget()
    assert cache.ready(source(1))
    assert written(cache.load(source(1))) == 1
    assert [f.stat().st_mtime_ns for f in machine_code(folder)] == stamps
    assert os.stat(folder).st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "gone", "nonsense"])
@pytest.mark.parametrize("suffix", ["nbc", "nbi", "sum", "py"])
def test_damaged_files_are_rebuilt(folder: Path, damage: str, suffix: str) -> None:
    assert written(cache.load(source(2))) == 2
    (file,) = folder.rglob(f"*.{suffix}")
    content = file.read_bytes()
    file.unlink()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]
    new = {"cut": content[:middle], "flip": flipped, "empty": b"", "nonsense": os.urandom(200)}.get(damage)
    if new is not None:
        file.write_bytes(new)
    forget()
    assert written(cache.load(source(2))) == 2
    forget()
    assert cache.ready(source(2))
    assert written(cache.load(source(2))) == 2


def test_index_of_another_version_is_rebuilt(folder: Path) -> None:
    """A sound checksum over files that Numba cannot read."""
    cache.load(source(3))
    for file in machine_code(folder):
        file.write_bytes(b"\x80\x04N.")
    key = cache.key_of(source(3))
    cache._seal(key, folder / f"{key}.py")
    forget()
    assert written(cache.load(source(3))) == 3


@pytest.mark.parametrize("mode", [0o777, 0o720])
def test_folders_that_others_can_write_to_are_not_used(tmp_path: Path, folder: Path, mode: int) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    cache.set_folder(shared)
    assert cache.folder() != shared
    assert os.stat(cache.folder()).st_mode & 0o777 == 0o700
    assert written(cache.load(source(4))) == 4
    assert not list(shared.iterdir())


def test_folders_that_cannot_be_made(tmp_path: Path, folder: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    for path in (blocked, blocked / "below"):
        cache.set_folder(path)
        assert written(cache.load(source(5))) == 5


def test_a_full_disk_is_no_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_write", full)
    assert written(cache.load(source(6))) == 6


def test_threads_compile_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, original = [], cache._compile
    monkeypatch.setattr(cache, "_compile", lambda *a: (compiled.append(a[0]), original(*a))[1])
    barrier = threading.Barrier(8)

    def load(k: int) -> int:
        barrier.wait()
        return written(cache.load(source(7 + k % 2)))

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(load, range(8))) == [7] * 4 + [8] * 4
    assert len(compiled) == 2


def test_processes_compile_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, str(tmp_path / "kernels")]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert all(p.communicate()[0] and p.returncode == 0 for p in running)
    again = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    assert again.stdout.split() == ["True", "1"]
    assert not list((tmp_path / "kernels").glob("*.tmp*"))


def program(steps: int, dtype: str = "float64") -> Program:
    b = Builder()
    x, y = b.input("array", dtype), b.input("scalar", dtype)
    for _ in range(steps):
        x = b.step("add", b.step("multiply", x, y), x)
    return b.build(x)


def test_the_text_is_the_key() -> None:
    assert compile_code.source(program(2), contiguous(program(2))) == compile_code.source(
        program(2), Template("u-", "u")
    )
    texts = {
        compile_code.source(p, t) for p in (program(2), program(3)) for t in (Template("u-", "u"), Template("s-", "u"))
    }
    assert len({cache.key_of(text) for text in texts}) == 4


def test_what_is_supported() -> None:
    assert compile.supported(program(3))
    assert not compile.supported(program(3, "float16"))
    assert not compile.supported(program(compile.MAX_STEPS))
    for dtype in ("M8[s]", "U3", ">f8"):
        b = Builder()
        x = b.input("array", dtype)
        assert not compile.supported(b.build(b.step("equal", x, x))), dtype


def test_estimate_of_compile_time() -> None:
    """Grows with the steps, and is of the right order for a program that is compiled here."""
    assert compile.cost_seconds(program(100)) > compile.cost_seconds(program(1)) > 0
    long = program(60)
    source = compile_code.source(long, contiguous(long))
    name = "test" + secrets.token_hex(14)  # under a name that no cache has seen
    start = time.process_time()
    try:
        cache._load(name, source)
    finally:
        cache._forget(name, cache.folder() / f"{name}.py")
        (cache.folder() / f"{name}.py").unlink(missing_ok=True)
    took = time.process_time() - start
    assert took / 10 < compile.cost_seconds(long) < took * 10


def test_importing_the_planner_s_words_does_not_import_numba() -> None:
    code = "import sys; from gpuarray.kernels import compile, program; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_long_programs_are_compiled() -> None:
    x: Any = np.linspace(0, 1e-3, 50)
    got = elementwise.run(program(250), (x, 0.001), x.shape)
    np.testing.assert_array_equal(got, np.array(program(250).interpret(np, x, 0.001)[0]))


def test_a_call_asks_once_whether_it_can_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpuarray.kernels.backends.numpy import BACKEND

    asked: list[Program] = []

    def supported(p: Program) -> bool:
        asked.append(p)
        return True

    monkeypatch.setattr(compile, "supported", supported)
    x = np.arange(6.0)
    BACKEND.reduce(program(1), "sum", (x, 2.0), (6,), ((0, 6),), compiled=True)
    BACKEND.elementwise(program(1), (x, 2.0), (6,), compiled=True)
    assert len(asked) == 2
