"""Files that kvikIO reads into the memory of a GPU, by a stand-in for it on a stand-in for CuPy."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.cluster import gds
from gpuarray.errors import StorageError
from tests.api.test_devices import cupy  # noqa: F401
from tests.kernels.cupy_standin import ndarray


class CuFile:
    """`kvikio.CuFile`, with the arguments of its documentation."""

    reads: list[tuple[str, int, int]] = []  # noqa: RUF012
    fails: Callable[[], object] = staticmethod(lambda: None)

    def __init__(self, file: Any, flags: str = "r") -> None:
        assert flags == "r"
        self._path = str(file)
        self._file: Any = open(self._path, "rb")  # noqa: SIM115

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> CuFile:
        return self

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        self.close()

    def pread(self, buf: Any, size: int | None = None, file_offset: int = 0, task_size: int | None = None) -> Any:
        assert isinstance(buf, ndarray)
        assert buf.inside.flags.c_contiguous
        self.fails()
        self._file.seek(file_offset)
        found = self._file.read(size)
        buf.inside.reshape(-1).view(np.uint8)[: len(found)] = np.frombuffer(found, np.uint8)
        self.reads.append((self._path, file_offset, len(found)))
        return types.SimpleNamespace(get=lambda: len(found), done=lambda: True)


@pytest.fixture
def kvikio(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    module, defaults = types.ModuleType("kvikio"), types.ModuleType("kvikio.defaults")
    module.CuFile, module.defaults = CuFile, defaults  # type: ignore[attr-defined]
    defaults.is_compat_mode_preferred = lambda: False  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kvikio", module)
    monkeypatch.setitem(sys.modules, "kvikio.defaults", defaults)
    monkeypatch.setattr(CuFile, "reads", [])
    gds.library.cache_clear()
    yield module
    gds.library.cache_clear()


@pytest.fixture
def file(tmp_path: Path) -> tuple[Path, np.ndarray]:
    x = np.random.default_rng(0).random((1200, 500))
    np.save(tmp_path / "x.npy", x)
    return tmp_path / "x.npy", x


SETTINGS = {"device": "cuda", "chunk_bytes": "2 MiB", "device_memory": "64 MiB"}


@pytest.mark.usefixtures("cupy")
def test_a_file_is_read_straight_into_the_device(kvikio: Any, file: tuple[Path, np.ndarray]) -> None:
    path, x = file
    with ga.config.set(**SETTINGS):
        np.testing.assert_array_equal((ga.from_npy(path, chunks=(400, 500)) * 2)[3:].compute(), x[3:] * 2)
    assert sum(nbytes for *_, nbytes in CuFile.reads) == x[3:].nbytes
    assert all(nbytes >= gds.LEAST for *_, nbytes in CuFile.reads)


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("rows", [400, 700])
def test_so_are_uncompressed_chunks_of_zarr(kvikio: Any, tmp_path: Path, rows: int) -> None:
    zarr = pytest.importorskip("zarr")
    x = np.random.default_rng(0).random((2000, 500))
    stored = zarr.create_array(
        str(tmp_path / "x.zarr"), shape=x.shape, chunks=(rows, 500), dtype="f8", compressors=None
    )
    stored[:] = x
    with ga.config.set(**{**SETTINGS, "chunk_bytes": "8 MiB"}):
        np.testing.assert_array_equal((ga.from_zarr(stored) * 2)[3:1999].compute(), x[3:1999] * 2)
        assert sum(nbytes for *_, nbytes in CuFile.reads) == x[3:1999].nbytes
        CuFile.reads.clear()
        np.testing.assert_array_equal((ga.from_zarr(stored)[:, 3:] * 2).compute(), x[:, 3:] * 2)
        np.testing.assert_array_equal((ga.from_zarr(stored)[::2] * 2).compute(), x[::2] * 2)
        assert CuFile.reads == []
        for chunk in (tmp_path / "x.zarr").rglob("c/0/0"):
            chunk.unlink()  # one that was never written
        np.testing.assert_array_equal((ga.from_zarr(stored) * 2).compute()[:rows], np.zeros((rows, 500)))


@pytest.mark.usefixtures("cupy")
def test_what_does_not_lie_in_one_piece_comes_by_the_host(kvikio: Any, file: tuple[Path, np.ndarray]) -> None:
    path, x = file
    with ga.config.set(**SETTINGS):
        a = ga.from_npy(path)
        np.testing.assert_array_equal((a[:, 7:] + 1).compute(), x[:, 7:] + 1)
        np.testing.assert_array_equal((a[::3] + 1).compute(), x[::3] + 1)
        np.testing.assert_array_equal((a[5:9] + 1).compute(), x[5:9] + 1)  # too little
        np.save(path.with_name("swapped.npy"), x.astype(">f8"))
        np.testing.assert_array_equal((ga.from_npy(path.with_name("swapped.npy")) + 1).compute(), x + 1)
    assert CuFile.reads == []


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("error", [RuntimeError("cuFile: no GPUDirect Storage on this file system"), OSError(5, "I/O")])
def test_where_it_fails_the_file_is_read_in_the_ordinary_way(
    kvikio: Any, file: tuple[Path, np.ndarray], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    path, x = file
    monkeypatch.setattr(CuFile, "fails", staticmethod(fail))
    with ga.config.set(**SETTINGS):
        np.testing.assert_array_equal((ga.from_npy(path) * 2).compute(), x * 2)


@pytest.mark.usefixtures("cupy")
def test_a_file_that_was_cut_short_is_no_rubbish(kvikio: Any, file: tuple[Path, np.ndarray]) -> None:
    path, _ = file
    with ga.config.set(**SETTINGS):
        a = ga.from_npy(path) * 2
        path.write_bytes(path.read_bytes()[:-4096])
        with pytest.raises(StorageError, match="was changed after it was opened"):
            a.compute()


@pytest.mark.usefixtures("cupy")
def test_it_is_left_alone_where_it_makes_do_with_ordinary_reads(kvikio: Any, file: tuple[Path, np.ndarray]) -> None:
    path, x = file
    kvikio.defaults.is_compat_mode_preferred = lambda: True
    with ga.config.set(**SETTINGS):
        np.testing.assert_array_equal((ga.from_npy(path) * 2).compute(), x * 2)
    assert CuFile.reads == []


@pytest.mark.parametrize(
    ("mode", "used"), [(False, True), (True, False), ("OFF", True), ("ON", False), ("AUTO", False)]
)
def test_older_versions_say_it_by_their_mode(kvikio: Any, mode: Any, used: bool) -> None:
    del kvikio.defaults.is_compat_mode_preferred
    kvikio.defaults.compat_mode = lambda: mode if isinstance(mode, bool) else types.SimpleNamespace(name=mode)
    assert (gds.library() is kvikio) == used


def test_one_that_does_not_load_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kvikio", None)
    gds.library.cache_clear()
    assert gds.library() is None
    gds.library.cache_clear()


def test_the_stand_in_has_the_arguments_of_kvikio() -> None:
    real = pytest.importorskip("kvikio", reason="needs kvikIO, which needs CUDA's libraries")
    for name in ("__init__", "pread", "close"):
        there = list(inspect.signature(getattr(real.CuFile, name)).parameters)
        assert there == list(inspect.signature(getattr(CuFile, name)).parameters)
    assert callable(real.defaults.is_compat_mode_preferred)
