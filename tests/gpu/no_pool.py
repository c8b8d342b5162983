"""For compute-sanitizer, as a plugin of pytest: each array of CuPy has its own memory, so what is past it is seen."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    import cupy

    cupy.cuda.set_allocator(None)
