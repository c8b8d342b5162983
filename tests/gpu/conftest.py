"""Every test here needs a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(autouse=True)
def _on_the_gpu() -> Iterator[None]:
    """Tests share one GPU with small limits, and leave nothing on it."""
    import gpuarray as ga

    with ga.config.set(device="cuda", device_memory="256 MiB", host_memory="2 GiB"):
        yield
