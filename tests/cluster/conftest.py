"""Backends and folders for the tests of the cluster."""

from __future__ import annotations

import threading
import weakref

import numpy as np
import pytest


class HostBackend:
    """The host's own memory."""

    name = "numpy"

    def from_host(self, array):
        return array

    def to_host(self, array):
        return array

    def nbytes(self, array):
        return array.nbytes


class DeviceArray:
    """An array in the memory of a `DeviceBackend`, counted while it lives."""

    base = None

    def __init__(self, backend, array):
        self._array = np.array(array)
        self.nbytes, self.shape, self.dtype = array.nbytes, array.shape, array.dtype
        backend.count(self.nbytes)
        weakref.finalize(self, backend.count, -self.nbytes)
        self._backend = backend

    def copy(self):
        return DeviceArray(self._backend, self._array)


class DeviceBackend:
    """A device whose memory runs out at `limit`."""

    name = "fake"

    def __init__(self, limit=None):
        self.limit, self.live, self.peak = limit, 0, 0
        self._lock = threading.RLock()

    def count(self, nbytes):
        with self._lock:
            if nbytes > 0 and self.limit is not None and self.live + nbytes > self.limit:
                raise MemoryError(f"the device has {self.limit} bytes, {self.live} in use, {nbytes} wanted")
            self.live += nbytes
            self.peak = max(self.peak, self.live)

    def from_host(self, array):
        assert type(array) is np.ndarray
        return DeviceArray(self, array)

    def to_host(self, array):
        assert type(array) is DeviceArray
        return array._array.copy()

    def nbytes(self, array):
        return array.nbytes


@pytest.fixture
def host():
    return HostBackend()


@pytest.fixture
def device():
    return DeviceBackend()


@pytest.fixture(params=["host", "device"])
def backend(request):
    return HostBackend() if request.param == "host" else DeviceBackend()


@pytest.fixture
def spill(tmp_path):
    """A folder for spill files, which must be empty at the end."""
    folder = tmp_path / "spill"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []
