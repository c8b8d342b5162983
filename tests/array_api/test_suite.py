"""The array API's own tests, run in a process of their own: see README.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXAMPLES = int(os.environ.get("ARRAY_API_EXAMPLES", 0))
LEAST = 1340
"""Tests that pass: fewer means that the suite did not find our functions."""

# The suite reports to a plugin for JSON, which is not needed.
REPORTING = "pytest_metadata = pytest_json_modifyreport = add_extra_json_metadata = None\n"


def known() -> list[str]:
    lines = (HERE / "known.txt").read_text().splitlines()
    return [line for line in lines if line.startswith("array_api_tests/")]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("array-api-tests")
    with tarfile.open(HERE / "suite.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    (folder / "reporting.py").write_text(REPORTING)
    return folder


def run(folder: Path, device: str, examples: int, *arguments: str) -> str:
    """The report of a run of the suite."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment |= {
        "ARRAY_API_TESTS_MODULE": "gpuarray",
        "ARRAY_API_TESTS_XFAIL_MARK": "skip",
        "GPUARRAY_DEVICE": device,
        "PYTHONPATH": str(HERE.parents[1]),
    }
    options = [
        "-c",
        "pytest.ini",
        "--rootdir",
        ".",
        "-q",
        "-p",
        "no:cacheprovider",
        "--max-examples",
        str(examples),
        "--derandomize",
        "--disable-deadline",
    ]
    command = [sys.executable, "-m", "pytest", *options, *arguments, "array_api_tests"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1200)
    return done.stdout + done.stderr


def counted(report: str, what: str) -> int:
    found = re.findall(rf"(\d+) {what}", report.splitlines()[-1])
    return int(found[0]) if found else 0


@pytest.mark.parametrize(("device", "few"), [("cpu", 10), ("fake", 2)])
def test_the_suite(suite: Path, device: str, few: int) -> None:
    report = run(suite, device, EXAMPLES or few, "--xfails-file", str(HERE / "known.txt"))
    failed = "\n".join(line for line in report.splitlines() if line.startswith(("FAILED", "ERROR", "E  ")))
    assert counted(report, "failed") == 0, failed
    assert counted(report, "error") == 0, failed
    assert counted(report, "passed") >= LEAST, report[-2000:]
    assert "don't match any collected tests" not in report, "known.txt names tests that the suite does not have"


@pytest.mark.skipif(EXAMPLES < 100, reason="known failures need many examples to be found: ARRAY_API_EXAMPLES=100")
def test_known_failures_fail(suite: Path) -> None:
    report = run(suite, "cpu", EXAMPLES, "-k", "expm1 or floordiv or floor_divide or tanh", "-rf")
    passed = [name for name in known() if f"FAILED {name}" not in report]
    assert not passed, "these pass now, so they need no reason in known.txt:\n" + "\n".join(passed)
