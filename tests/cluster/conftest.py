"""Backends and folders for the tests of the cluster."""

from __future__ import annotations

import gc

import pytest

from gpuarray.kernels.backends.fake import Fake


class HostBackend:
    """The host's own memory."""

    name = "numpy"

    def from_host(self, array):
        return array

    def to_host(self, array):
        return array

    def nbytes(self, array):
        return array.nbytes


class DeviceBackend(Fake):
    """A fake device."""

    @property
    def live(self):
        return self.counters.used_nbytes

    @property
    def peak(self):
        return self.counters.peak_nbytes


@pytest.fixture
def host():
    return HostBackend()


@pytest.fixture
def device():
    backend = DeviceBackend()
    yield backend
    check(backend)


@pytest.fixture(params=["host", "device"])
def backend(request):
    backend = HostBackend() if request.param == "host" else DeviceBackend()
    yield backend
    if request.param == "device":
        check(backend)


def check(backend):
    """Nothing happened that would have spoilt data on a GPU."""
    gc.collect()
    assert backend.hazards == []


@pytest.fixture
def spill(tmp_path):
    """A folder for spill files, which must be empty at the end."""
    folder = tmp_path / "spill"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []
