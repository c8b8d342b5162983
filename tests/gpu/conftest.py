"""What the tests on a GPU share; each module is marked `gpu`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _on_the_gpu() -> Iterator[None]:
    """Tests share one GPU, with small limits."""
    import gpuarray as ga

    with ga.config.set(device="cuda", device_memory="256 MiB", host_memory="2 GiB"):
        yield
