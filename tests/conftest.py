"""What every test needs: a clean configuration, a cache of compiled kernels, and no GPU tests without a GPU."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# Set before gpuarray is imported, and for subprocesses too: the settings of whoever runs the tests have no say, and
# compiled kernels are kept from one run of the tests to the next.
for _name in [name for name in os.environ if name.startswith("GPUARRAY_") and name != "GPUARRAY_CACHE_DIRECTORY"]:
    del os.environ[_name]
os.environ["XDG_CONFIG_HOME"] = os.path.join(tempfile.gettempdir(), "gpuarray-tests-have-no-config")
os.environ.setdefault("GPUARRAY_CACHE_DIRECTORY", str(Path(__file__).parents[1] / ".cache"))
os.environ.setdefault("MPLBACKEND", "agg")

collect_ignore = ["kernels/special_values.py"]  # a program, and it needs mpmath

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would the processes they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long anything takes is up to what else the machine does.
_PATIENT = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("local", _PATIENT)
hypothesis.settings.register_profile("ci", _PATIENT, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


_HANGS = 600
"""Seconds after which a test, or a fixture, fails: several times what the longest takes on a busy machine."""


def _fail_if_it_hangs() -> Generator[None, Any, Any]:
    """Raise in the main thread, which every wait of Python's lets happen. What waits elsewhere is ended with its
    process, later: `faulthandler_timeout` in pyproject.toml."""
    if not hasattr(signal, "setitimer"):
        return (yield)

    def strike(*_: object) -> None:
        if sys.__stderr__ is not None:
            faulthandler.dump_traceback(file=sys.__stderr__)
        pytest.fail(f"it hangs: not done after {_HANGS} s; where its threads were is on standard error")

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, _HANGS, 10)  # again, where a finalizer has swallowed it
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup() -> Generator[None, Any, Any]:
    return (yield from _fail_if_it_hangs())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    return (yield from _fail_if_it_hangs())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Generator[None, Any, Any]:
    return (yield from _fail_if_it_hangs())


@cache
def _no_gpu() -> str | None:
    """Why no CUDA device can be used, or None where one can."""
    try:
        import cupy

        return None if cupy.cuda.is_available() else "cupy finds no CUDA device"
    except ImportError:
        return "cupy is not installed"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and (reason := _no_gpu()):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _on_the_cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU is used by the tests that ask for one, whatever machine they run on."""
    if request.node.get_closest_marker("gpu") is None:
        from gpuarray.kernels import devices

        monkeypatch.setattr(devices, "has_driver", lambda: False)


@pytest.fixture(scope="module", autouse=True)
def _collections_are_quick() -> None:
    """Tests that look for what is left behind collect garbage: not through all that the tests before them have made."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _settings_end_with_the_test() -> Iterator[None]:
    from gpuarray import config

    yield
    if config._process is not None and "config.set" in config.sources().values():
        config.reset()
