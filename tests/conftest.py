"""What every test needs: a clean configuration, a cache of compiled kernels, and no GPU tests without a GPU."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import hypothesis
import pytest

# Set before gpuarray is imported, and for subprocesses too: the settings of whoever runs the tests have no say, and
# compiled kernels are kept from one run of the tests to the next.
for _name in [name for name in os.environ if name.startswith("GPUARRAY_") and name != "GPUARRAY_CACHE_DIRECTORY"]:
    del os.environ[_name]
os.environ["XDG_CONFIG_HOME"] = os.path.join(tempfile.gettempdir(), "gpuarray-tests-have-no-config")
os.environ.setdefault("GPUARRAY_CACHE_DIRECTORY", str(Path(__file__).parents[1] / ".cache"))
os.environ.setdefault("MPLBACKEND", "agg")

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would the processes they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


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
