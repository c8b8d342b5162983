"""The CuPy backend on a GPU does what every backend must do."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from gpuarray.kernels.testing import BackendTests
from gpuarray.kernels.testing_device import DeviceTests

pytestmark = pytest.mark.gpu


@cache
def backend_with(limit: int) -> Any:
    """One for all tests: its kernels are loaded once."""
    from gpuarray.kernels.backends import cupy

    return cupy.device(0, limit)


class TestCupy(BackendTests):
    @pytest.fixture
    def backend(self) -> Any:
        return backend_with(512 << 20)


class TestCupyAsADevice(DeviceTests):
    @pytest.fixture
    def backend(self) -> Any:
        return backend_with(512 << 20)

    @pytest.fixture
    def limited(self) -> Any:
        return backend_with(1 << 20)
