"""The command line, run as users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from gpuarray import __version__, _origin, _report, cli
from gpuarray.kernels.errors import MemoryLimitError


def gpuarray(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpuarray", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=180,
    )


def test_version() -> None:
    run = gpuarray("--version")
    assert (run.returncode, run.stdout) == (0, f"gpuarray {__version__}\n")


def test_info() -> None:
    run = gpuarray("info", GPUARRAY_HOST_MEMORY="3 GiB", CUDA_VISIBLE_DEVICES="")
    assert run.returncode == 0
    assert run.stderr == ""
    for expected in (
        f"gpuarray-engine  {__version__}",
        "numpy ",
        "cpu ",
        "host_memory      3 GiB",
        "host_memory = 3221225472 (environment variable GPUARRAY_HOST_MEMORY)",
        "no   compute on a GPU",
    ):
        assert expected in run.stdout


def test_info_as_json() -> None:
    run = gpuarray("info", "--json", GPUARRAY_THREADS="3")
    report = json.loads(run.stdout)
    assert report["limits"]["threads"] == 3
    assert report["settings"]["threads"] == {"value": 3, "source": "environment variable GPUARRAY_THREADS"}
    assert report["devices"][0]["free"] <= report["devices"][0]["memory"]
    assert report["versions"]["python"] == sys.version.split()[0]


def test_the_cache_is_shown_and_cleared(tmp_path: Path) -> None:
    here = {"GPUARRAY_CACHE_DIRECTORY": str(tmp_path / "cache")}
    assert gpuarray("cache", **here).stdout == f"0 kernels, 0 B, in {tmp_path / 'cache'}\n"
    code = "import gpuarray as ga; ga.config.set(compile='always'); x = ga.arange(1e6); print(float((x + 1).sum()))"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **here}, check=True, stdout=subprocess.DEVNULL)
    (tmp_path / "cache" / "other").write_text("")
    nbytes = json.loads(gpuarray("info", "--json", **here).stdout)["limits"]["cache_nbytes"]
    assert nbytes > 10_000
    shown = gpuarray("cache", **here).stdout
    assert str(tmp_path) in shown
    assert gpuarray("cache", "--clear", **here).stdout == f"removed {shown}"
    assert gpuarray("cache", **here).stdout.startswith("0 kernels, 0 B")
    assert (tmp_path / "cache" / "other").exists()


def test_bad_setting_is_one_line() -> None:
    run = gpuarray("info", GPUARRAY_DEVICE="gpu")
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith("gpuarray: environment variable GPUARRAY_DEVICE: device='gpu' is no device; write")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required: command"),
        (["fly"], "invalid choice: 'fly'"),
        (["info", "--yaml"], "unrecognized arguments: --yaml"),
        (["info", "more"], "unrecognized arguments: more"),
        (["demo", "--size", "4 bananas"], "'4 bananas' is not a size"),
        (["demo", "--memory", "0"], "'0' is not positive"),
        (["demo", "--memory", "-1"], "argument --memory"),
        (["demo", "--mem", "1"], "unrecognized arguments: --mem"),
    ],
)
def test_bad_usage(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert says in capsys.readouterr().err


def test_reader_that_goes_away() -> None:
    command = f"{sys.executable} -m gpuarray info | head -n 1; exit ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=180)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands in for the demonstration, which takes minutes."""
    seen = SimpleNamespace(options=None, raises=None, status=0)

    def main(**options: Any) -> int:
        seen.options = options
        if seen.raises is not None:
            raise seen.raises
        return int(seen.status)

    module = ModuleType("gpuarray.demo")
    module.main = main  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gpuarray.demo", module)
    monkeypatch.setattr("gpuarray.demo", module, raising=False)
    return seen


def test_demo_gets_its_options(demo: SimpleNamespace, tmp_path: Path) -> None:
    assert cli.main(["demo"]) == 0
    assert demo.options == {"size": 4 * 10**9, "memory": 500 << 20, "directory": None, "keep": False}
    demo.status = 1
    assert cli.main(["demo", "--size", "1.5MB", "--memory=64 KiB", "--directory", str(tmp_path), "--keep"]) == 1
    assert demo.options == {"size": 1_500_000, "memory": 1 << 16, "directory": tmp_path, "keep": True}


def test_errors_of_a_run_are_one_line(demo: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    demo.raises = MemoryLimitError("needs 2 GiB, may use 1 GiB")
    assert cli.main(["demo"]) == 1
    assert capsys.readouterr().err == "gpuarray: needs 2 GiB, may use 1 GiB\n"
    demo.raises = KeyboardInterrupt()
    assert cli.main(["demo"]) == 130
    demo.raises = ZeroDivisionError("a defect keeps its traceback")
    with pytest.raises(ZeroDivisionError):
        cli.main(["demo"])


def test_bench_hands_its_options_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "gpuarray").mkdir()
    (tmp_path / "benchmarks").mkdir()
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "gpuarray" / "cli.py"))
    (tmp_path / "benchmarks" / "__init__.py").touch()
    script = tmp_path / "benchmarks" / "__main__.py"
    script.write_text("import sys, pathlib; pathlib.Path(__file__).with_name('seen').write_text(repr(sys.argv[1:]))")
    assert cli.main(["bench", "--help", "stencil", "--repeat", "3"]) == 0
    assert script.with_name("seen").read_text() == "['--help', 'stencil', '--repeat', '3']"
    script.write_text("raise SystemExit(5)")
    assert cli.main(["bench"]) == 5


def test_bench_without_a_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "gpuarray" / "cli.py"))
    assert cli.main(["bench"]) == 1
    assert "source checkout" in capsys.readouterr().err


class FakeRuntime:
    """CUDA's runtime of a machine with two devices."""

    driver, toolkit = 13000, 12090

    def getDeviceCount(self) -> int:
        return 2

    def getDeviceProperties(self, number: int) -> dict[str, bytes]:
        return {"name": b"Model %d" % number}

    def memGetInfo(self) -> tuple[int, int]:
        return 3, 4

    def driverGetVersion(self) -> int:
        return self.driver

    def runtimeGetVersion(self) -> int:
        return self.toolkit


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A cupy that says it has two devices."""
    import contextlib

    state = SimpleNamespace(runtime=FakeRuntime(), packages=["cupy-cuda12x"], available=lambda: True)
    module = ModuleType("cupy")
    module.cuda = SimpleNamespace(  # type: ignore[attr-defined]
        is_available=lambda: state.available(), runtime=state.runtime, Device=lambda number: contextlib.nullcontext()
    )
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(_report, "_cupy_packages", lambda: state.packages)
    monkeypatch.setattr(_report, "find_spec", lambda name: object())
    return state


def test_devices(cuda: SimpleNamespace) -> None:
    assert [(d.name, d.model, d.free, d.memory) for d in _report.devices()[1:]] == [
        ("cuda:0", "Model 0", 3, 4),
        ("cuda:1", "Model 1", 3, 4),
    ]
    assert all(ability.works for ability in _report.abilities())
    assert "cuda:1           Model 1, 3 B free of 4 B" in _report.text()


def test_what_is_in_the_way_of_a_gpu(cuda: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def remark() -> str:
        ability = _report.abilities()[0]
        assert not ability.works
        assert len(_report.devices()) == 1
        return ability.remark

    cuda.runtime.toolkit = 14000
    assert remark() == "the driver knows CUDA 13, cupy-cuda12x is for 14; update the driver"
    cuda.packages = ["cupy-cuda12x", "cupy-cuda13x"]
    assert remark().startswith("cupy-cuda12x and cupy-cuda13x break each other")
    cuda.packages = []
    assert remark().startswith("cupy is not installed")
    cuda.packages = ["cupy-cuda12x"]
    cuda.available = lambda: False
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert remark() == "cupy-cuda12x is installed, but finds no CUDA device or driver (CUDA_VISIBLE_DEVICES='7')"

    def broken() -> bool:
        raise RuntimeError("libcuda is damaged\nsecond line")

    cuda.available = broken
    assert remark() == "cupy-cuda12x fails: RuntimeError: libcuda is damaged"


def test_the_other_gpuarray_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _origin.other() is None
    (tmp_path / "gpuarray").mkdir()
    (tmp_path / "gpuarray" / "shaders.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert _origin.other() == str(tmp_path)
    with pytest.warns(RuntimeWarning, match="pip uninstall gpuarray"):
        _origin.check()
    assert f"another project called gpuarray is in {tmp_path}" in _report.text()


def test_the_other_gpuarray_is_named_on_import(tmp_path: Path) -> None:
    (tmp_path / "gpuarray").mkdir()
    (tmp_path / "gpuarray" / "shaders.py").touch()
    code = f"import sys; sys.path.append({str(tmp_path)!r})\nimport gpuarray"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"installed in {tmp_path}" in run.stderr
    assert "<string>:2: RuntimeWarning" in run.stderr
