"""Settings: where they come from, who sees them, and what a bad one says."""

from __future__ import annotations

import asyncio
import contextvars
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuarray import config
from gpuarray.cluster.host import available_memory, available_threads
from gpuarray.cluster.sizes import format_bytes
from gpuarray.errors import ConfigError, GPUArrayError

GIB = 1 << 30


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GPUARRAY_")]:
        monkeypatch.delenv(name)
    config.reset()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], Path]:
    """Write a settings file and have it used."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "settings.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        monkeypatch.setenv("GPUARRAY_CONFIG", str(path))
        config.reset()
        return path

    return write


def test_defaults() -> None:
    settings = config.get()
    assert settings == config.Settings()
    assert (settings.device, settings.chunk_bytes, settings.implicit_compute_limit) == ("auto", 64 << 20, GIB)
    assert (settings.device_memory, settings.host_memory, settings.threads) == (None, None, None)
    assert set(config.sources().values()) == {"default"}


def test_what_none_stands_for_is_found_at_run_time(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config.get()
    monkeypatch.setattr(config, "available_memory", lambda: 10 * GIB)
    monkeypatch.setattr(config, "available_threads", lambda: 7)
    assert settings.host_limit() == 6 * GIB
    assert settings.thread_count() == 7
    monkeypatch.setattr(config, "available_memory", lambda: 0)
    assert settings.host_limit() == 1
    assert settings.spill_path().is_dir()
    assert settings.cache_path().name == "gpuarray"
    with config.set(host_memory="1 MB", threads=3, spill_directory="~/s", cache_directory="c") as settings:
        assert (settings.host_limit(), settings.thread_count()) == (10**6, 3)
        assert settings.spill_path() == Path.home() / "s"
        assert settings.cache_path() == Path.cwd() / "c"


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        config.get().device = "cpu"  # type: ignore[misc]


def test_set_as_a_block() -> None:
    with config.set(device="cpu", chunk_bytes="1 MiB") as settings:
        assert settings is config.get()
        assert (settings.device, settings.chunk_bytes) == ("cpu", 1 << 20)
        with config.set(device="cuda:1"):
            assert (config.get().device, config.get().chunk_bytes) == ("cuda:1", 1 << 20)
        assert config.get().device == "cpu"
    assert config.get() == config.Settings()


def test_block_ends_with_an_error() -> None:
    with pytest.raises(RuntimeError, match="inside"), config.set(device="cpu"):
        raise RuntimeError("inside")
    assert config.get().device == "auto"


def test_set_as_a_function_holds_for_every_thread() -> None:
    config.set(device="cpu")
    assert config.get().device == "cpu"
    assert _in_thread(lambda: config.get().device) == "cpu"
    config.set(threads=2)
    assert (config.get().device, config.get().threads) == ("cpu", 2)


def test_block_is_not_seen_by_other_threads() -> None:
    with config.set(device="cpu"):
        assert _in_thread(lambda: config.get().device) == "auto"
        context = contextvars.copy_context()
        assert _in_thread(lambda: context.run(lambda: config.get().device)) == "cpu"


def test_block_over_a_function_and_a_function_in_a_block() -> None:
    config.set(threads=3, device="cuda")
    with config.set(device="cpu"):
        config.set(device="fake")
        assert (config.get().device, config.get().threads) == ("fake", 3)
        assert _in_thread(lambda: config.get().device) == "cuda"
    assert config.get().device == "cuda"


def test_none_is_the_default_again() -> None:
    config.set(device_memory="1 GiB", chunk_bytes=10)
    config.set(device_memory=None, chunk_bytes=None)
    assert (config.get().device_memory, config.get().chunk_bytes) == (None, 64 << 20)


def test_one_object_entered_twice() -> None:
    block = config.set(threads=2)
    with block, block:
        assert config.get().threads == 2
    assert config.get().threads is None
    with block:
        assert config.get().threads == 2
    assert config.get().threads is None


def test_blocks_of_many_threads_do_not_mix() -> None:
    wrong: list[object] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for _ in range(300):
            with config.set(threads=number, device=f"cuda:{number}"):
                settings = config.get()
                if (settings.threads, settings.device) != (number, f"cuda:{number}"):
                    wrong.append(settings)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert config.get() == config.Settings()
    assert set(config.sources().values()) == {"default"}


def test_calls_do_not_pile_up() -> None:
    kept = [config.set(threads=n) for n in range(1, 6)]
    for n in range(1, 1000):
        config.set(threads=n)
    assert config._process is not None
    assert len(config._process._calls) <= 2 * len(kept) + 2
    assert config.get().threads == 999
    with kept[-1]:
        assert config.get().threads == 5
    assert config.get().threads == 999


def test_asynchronous_tasks_do_not_mix() -> None:
    async def work(number: int) -> bool:
        with config.set(threads=number):
            await asyncio.sleep(0.001 * (number % 3))
            return config.get().threads == number

    async def main() -> list[bool]:
        return await asyncio.gather(*(work(n) for n in range(1, 30)))

    assert all(asyncio.run(main()))
    assert config.get().threads is None


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "DEVICE": "cuda:0",
        "DEVICE_MEMORY": "8 GiB",
        "HOST_MEMORY": "500MB",
        "SPILL_DIRECTORY": "/scratch",
        "CHUNK_BYTES": "1_000",
        "THREADS": " 4 ",
        "PROGRESS": "Off",
        "IMPLICIT_COMPUTE_LIMIT": "1k",
        "SCHEDULER": "threads",
        "COMPILE": "never",
        "CACHE_DIRECTORY": "/cache",
    }
    for name, text in given.items():
        monkeypatch.setenv(f"GPUARRAY_{name}", text)
    config.reset()
    assert config.get() == config.Settings(
        device="cuda:0",
        device_memory=8 * GIB,
        host_memory=500_000_000,
        spill_directory="/scratch",
        chunk_bytes=1000,
        threads=4,
        progress=False,
        implicit_compute_limit=1000,
        scheduler="threads",
        compile="never",
        cache_directory="/cache",
    )
    assert {"executor"} == set(config.sources()) - {name.lower() for name in given}, "a setting without a test"
    assert config.sources()["threads"] == "environment variable GPUARRAY_THREADS"


def test_environment_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.get().threads is None
    monkeypatch.setenv("GPUARRAY_THREADS", "4")
    assert config.get().threads is None
    config.reset()
    assert config.get().threads == 4


def test_empty_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUARRAY_DEVICE_MEMORY", "")
    config.reset()
    assert config.get().device_memory is None


def test_file(write: Callable[[str], Path]) -> None:
    path = write("# mine\ndevice: cpu\ndevice_memory: 2 GiB\nthreads: 3\nprogress: off\ncompile: null\n")
    settings = config.get()
    assert (settings.device, settings.device_memory, settings.threads) == ("cpu", 2 * GIB, 3)
    assert (settings.progress, settings.compile) == (False, "auto")
    assert config.sources()["threads"] == f"settings file {path}, line 4"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}"])
def test_empty_file(write: Callable[[str], Path], text: str) -> None:
    write(text)
    assert config.get() == config.Settings()


def test_file_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".config/gpuarray").mkdir(parents=True)
    (tmp_path / ".config/gpuarray/config.yaml").write_text("threads: 5\n")
    config.reset()
    assert config.get().threads == 5
    assert config.get().cache_path() == tmp_path / ".cache/gpuarray" or "XDG_CACHE_HOME" in os.environ


def test_precedence(write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    write("threads: 1\ndevice: cpu\nchunk_bytes: 1 MB\ncompile: never\n")
    monkeypatch.setenv("GPUARRAY_DEVICE", "cuda")
    monkeypatch.setenv("GPUARRAY_CHUNK_BYTES", "2 MB")
    monkeypatch.setenv("GPUARRAY_THREADS", "2")
    config.reset()
    config.set(chunk_bytes="3 MB", threads=3)
    with config.set(threads=4):
        settings = config.get()
    assert (settings.compile, settings.device, settings.chunk_bytes, settings.threads) == (
        "never",
        "cuda",
        3_000_000,
        4,
    )


BAD = [
    ("device", "gpu"),
    ("device", "cuda:-1"),
    ("device", "cuda:"),
    ("device", "cuda:01"),
    ("device", "cuda:1\n"),
    ("device", "banana"),
    ("device", 0),
    ("device", True),
    ("device", b"cpu"),
    *(
        (name, value)
        for name in ("device_memory", "host_memory", "chunk_bytes", "implicit_compute_limit")
        for value in (
            "10 bananas",
            -1,
            0,
            "0 GiB",
            "-1",
            "",
            math.nan,
            math.inf,
            "nan",
            "1e999",
            "9" * 5000,
            0.5,
            True,
            np.True_,
            1j,
            [1],
            b"1 GiB",
        )
    ),
    ("threads", 0),
    ("threads", -2),
    ("threads", 10**9),
    ("threads", 1.5),
    ("threads", 2.0),
    ("threads", True),
    ("threads", "many"),
    ("threads", "9" * 5000),
    ("threads", math.nan),
    ("progress", "loud"),
    ("progress", 2),
    ("compile", True),
    ("compile", "sometimes"),
    ("spill_directory", ""),
    ("spill_directory", "  "),
    ("spill_directory", "a\0b"),
    ("spill_directory", 3),
    ("cache_directory", b"/tmp"),
    ("cache_directory", False),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda value: repr(value)[:20])
def test_bad_argument(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        config.set(threads=1, **{name: value}) if name != "threads" else config.set(threads=value)
    message = str(caught.value)
    assert message.startswith("config.set: ")
    assert name in message
    assert repr(value)[:100] in message
    assert "write " in message
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, GPUArrayError)
    assert config.get() == config.Settings(), "nothing is changed"


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, v in BAD if isinstance(v, str) and v and "\0" not in v])
def test_bad_variable(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"GPUARRAY_{name.upper()}", value)
    config.reset()
    with pytest.raises(ConfigError, match=f"^environment variable GPUARRAY_{name.upper()}: "):
        config.get()


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("device: cpu\ndevice_memory: 10 bananas\n", 2, "10 bananas"),
        ("device_memory: -1", 1, "-1"),
        ("host_memory: .nan", 1, "nan"),
        ("host_memory: yes", 1, "True"),
        ("\n\nmemory: 1", 3, "there is no setting 'memory'"),
        ("devise: cpu", 1, "did you mean 'device'"),
        ("device: cpu\ndevice: cpu", 2, "stands on line 1 too"),
        ("device: [cpu]", 1, "a list or a mapping"),
        ("- device", 1, "no mapping"),
        ("just words", 1, "no mapping"),
        ("[a, b]: 1", 1, "a setting's name is a word"),
        ("device: cpu\nthreads: [1", 2, "not YAML"),
        ("device: cpu\n\tthreads: 1", 2, "not YAML"),
        ("device: !!python/object/apply:os.system ['true']", 1, "a list or a mapping"),
        ("device: !!python/name:os.system x", 1, "cannot be read"),
        ("threads: 2024-99-99", 1, "cannot be read"),
        ("a: &a [x]\nb: *a", 1, "a list or a mapping"),
        ("device: cpu\n---\ndevice: cpu\n", 2, "not YAML"),
    ],
)
def test_bad_file(write: Callable[[str], Path], text: str, line: int, says: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        config.get()
    assert str(caught.value).startswith(f"settings file {path}, line {line}: ")
    assert says in str(caught.value)


@pytest.mark.parametrize("data", [b"\xff\xfe\xfa", b"device: \x00", b"[" * 100_000, b"#" * (1 << 20) + b"###"])
def test_bytes_that_are_no_file(write: Callable[[bytes], Path], data: bytes) -> None:
    path = write(data)
    with pytest.raises(ConfigError, match=r"^settings file ") as caught:
        config.get()
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("path", ["/nowhere/settings.yaml", "/dev/zero", "/"])
def test_file_that_is_not_there(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUARRAY_CONFIG", path)
    config.reset()
    with pytest.raises(ConfigError, match=f"GPUARRAY_CONFIG='{path}' is no file"):
        config.get()


def test_unknown_setting() -> None:
    with pytest.raises(ConfigError, match="there is no setting 'devcie_memory'; did you mean 'device_memory'"):
        config.set(devcie_memory=1)
    with pytest.raises(ConfigError, match="there are device, device_memory"):
        config.set(zzz=1)


def test_unknown_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUARRAY_DEVICE_MEMROY", "1 GiB")
    config.reset()
    with pytest.raises(ConfigError, match="environment variable GPUARRAY_DEVICE_MEMROY: there is no setting"):
        config.get()


def test_bad_environment_does_not_stop_the_import() -> None:
    code = "import gpuarray\ntry: gpuarray.config.get()\nexcept gpuarray.errors.ConfigError as e: print(e)"
    environment = {**os.environ, "GPUARRAY_THREADS": "none"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("environment variable GPUARRAY_THREADS: threads='none' is no number of threads")


@given(st.integers(1, 2**80), st.sampled_from(["B", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"]))
def test_sizes_are_exact(number: int, unit: str) -> None:
    factor = (1024 if "i" in unit else 1000) ** ("BKMGT".index(unit[0].upper()))
    with config.set(device_memory=f"{number} {unit}", host_memory=np.int64(number % 1000 + 1)) as settings:
        assert settings.device_memory == number * factor
        assert type(settings.host_memory) is int


def test_host_memory_heeds_control_groups(tmp_path: Path) -> None:
    free = available_memory(tmp_path / "none", tmp_path)
    assert free > 0

    def group(path: str, **files: object) -> None:
        (tmp_path / path).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (tmp_path / path / name.replace("memory_", "memory.")).write_text(f"{text}\n")

    proc = tmp_path / "cgroup"
    stat = "anon 1\nactive_file 30000\ninactive_file 20000\nshmem 7"
    group("job/step", memory_max="max", memory_current=10, memory_stat=stat)
    group("job", memory_max=1_000_000, memory_current=450_000, memory_stat=stat)
    proc.write_text("0::/job/step\n")
    assert available_memory(proc, tmp_path) == 600_000
    group("job/step", memory_max=100_000, memory_current=200_000, memory_stat=stat)
    assert available_memory(proc, tmp_path) == 0

    stat = "active_file 9\ntotal_active_file 100\ntotal_inactive_file 200"
    group("memory/a", memory_limit_in_bytes=5000, memory_usage_in_bytes=1300, memory_stat=stat)
    proc.write_text("5:cpu,cpuacct:/x\n4:memory:/a\n0::/nowhere\n")
    assert available_memory(proc, tmp_path) == 4000


def test_threads_heed_affinity() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n" * hasattr(os, "sched_setaffinity")
    code += "from gpuarray import config; print(config.get().thread_count())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) == (1 if hasattr(os, "sched_setaffinity") else available_threads())


def test_sizes_in_messages_are_for_people() -> None:
    assert format_bytes(config.get().chunk_bytes) == "64 MiB"


def _in_thread(function: Callable[[], object]) -> object:
    result: list[object] = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    thread.join()
    return result[0]
