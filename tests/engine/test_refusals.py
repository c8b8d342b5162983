"""What a refusal says: what is too large, and what would make it fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.errors import MemoryLimitError


def refused(x: ga.NDArray, limit: str) -> str:
    with ga.config.set(host_memory=limit), pytest.raises(MemoryLimitError) as caught:
        x.compute()
    return str(caught.value)


class TestPersisted:
    """Chunks that a run left in memory are what later runs read, however the user cut the array."""

    @pytest.fixture
    def x(self) -> ga.NDArray:
        a = np.random.default_rng(0).random((1000, 600))
        with ga.config.set(host_memory="64 MiB", threads=2):
            return ga.asarray(a, chunks=(100, 200)).persist()

    def test_the_message_says_what_is_fetched_and_what_to_do(self, x: ga.NDArray) -> None:
        for y in (x.sum(), x.sum(axis=0)[3], (x + 1).max(axis=1)):
            text = refused(y, "700 KiB")
            assert "Reading any element of the persisted array of shape (1000, 600) takes 4.12 MiB" in text
            assert "persist it again under this limit" in text
            assert "left of the memory limit" in text
            assert "smaller chunks than" not in text

    def test_doing_so_helps(self, x: ga.NDArray) -> None:
        with ga.config.set(host_memory="12 MiB", threads=2):
            again = (x + 0).persist()
        expected = x.sum(axis=0)[3].compute()
        with ga.config.set(host_memory="700 KiB"):
            assert again.sum(axis=0)[3].compute() == expected


def test_chunks_of_a_file_that_are_too_large(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.create_array(tmp_path / "x.zarr", shape=(2000, 1000), chunks=(1000, 1000), dtype="float64")[:] = 1
    for y in (ga.from_zarr(tmp_path / "x.zarr").sum(), ga.from_zarr(tmp_path / "x.zarr", chunks=(10, 10)).sum(axis=0)):
        text = refused(y, "1 MiB")
        assert "x.zarr of shape (2000, 1000) takes 15.3 MiB" in text
        assert "write it in smaller chunks" in text
        assert "smaller chunks than" not in text


@pytest.mark.parametrize("n", [2**48, 2**56, 2**62])
def test_more_cells_than_memory_holds_states(n: int) -> None:
    text = refused(ga.zeros(n).sum(), "1 GiB")
    assert "region" not in text
    assert f"sum keeps a state for each of {n // 2**18:,} cells" in text
    assert "reduce parts" in text
    assert "chunks" not in text


def test_more_cells_along_one_axis_of_two() -> None:
    text = refused(ga.zeros((2**60, 4)).mean(axis=0), "1 GiB")
    assert "sum keeps a state for each of" in text


def test_chunks_that_are_too_large() -> None:
    x = ga.map_blocks(lambda b: b * 2, ga.ones((1000, 1000), chunks=(1000, 500)), dtype=float)
    assert "smaller chunks than (1000, 500)" in refused(x.sum(), "2 MiB")


def test_the_line_that_asked_for_it() -> None:
    x = ga.map_blocks(np.abs, ga.ones((1000, 1000), chunks=1000)).sum()
    assert "on the region [0:1000, 0:1000] (asked for at test_refusals.py:" in refused(x, "1 MiB")
