"""Each backend does what the contract says; and the fake device is as strict as it promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gpuarray.kernels import backends, interpreter
from gpuarray.kernels.backends.fake import Fake
from gpuarray.kernels.errors import DeviceError
from gpuarray.kernels.stencils import interpreter as stencils
from gpuarray.kernels.testing import BackendTests
from gpuarray.kernels.testing_device import DeviceTests


class TestNumPy(BackendTests):
    @pytest.fixture
    def backend(self) -> Any:
        return backends.get("numpy")


class TestFake(BackendTests):
    @pytest.fixture
    def backend(self) -> Any:
        return Fake(limit=64 << 20)


class TestFakeAsADevice(DeviceTests):
    @pytest.fixture
    def backend(self) -> Iterator[Any]:
        device = Fake(limit=64 << 20)
        yield device
        assert device.hazards == []

    @pytest.fixture
    def limited(self) -> Any:
        return Fake(limit=1 << 20)


class Interpreted(Fake):
    """Runs the interpreter on device arrays, so that it is seen to use nothing but the namespace it is given."""

    def elementwise(self, program: Any, operands: Any, shape: Any, *, compiled: bool, out: Any = None) -> Any:
        return interpreter.elementwise(self.xp, program, operands, shape, out)

    def reduce(self, program: Any, reduction: Any, operands: Any, shape: Any, cuts: Any, *, compiled: bool) -> Any:
        return interpreter.reduce(self.xp, program, reduction, operands, shape, cuts)

    def combine(self, reduction: str, states: Any, axes: Any, **parameters: Any) -> Any:
        return interpreter.combine(self.xp, reduction, states, axes, **parameters)

    def scan(self, name: str, array: Any, axis: int, carry: Any, dtype: Any, *, out: Any = None) -> Any:
        return interpreter.scan(self.xp, name, array, axis, carry, dtype, out)

    def sweep(self, *given: Any, compiled: bool, into: Any = None) -> Any:
        return stencils.sweep(self.xp, *given, into)


class TestInterpreterOnADevice(BackendTests):
    @pytest.fixture
    def backend(self) -> Any:
        return Interpreted()

    @pytest.fixture
    def compiled(self) -> bool:  # type: ignore[override]
        return False


def test_backends_are_found_by_name() -> None:
    assert [backends.get(name).name for name in ("numpy", "fake")] == ["numpy", "fake"]
    with pytest.raises(DeviceError, match="no backend 'nympy'; there are numpy, fake"):
        backends.get("nympy")
