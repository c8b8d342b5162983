"""Parts of chunks in spill files: what `get` has there, from the blocks that hold it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpuarray.cluster import parts
from gpuarray.cluster.disk import DiskTier
from gpuarray.kernels.errors import SpillError


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(parts, "BLOCK", 256)
    made = DiskTier(tmp_path)
    yield made
    made.close()


def test_any_part_of_any_array(disk: DiskTier) -> None:
    rng = np.random.default_rng(0)
    for trial in range(200):
        ndim = int(rng.integers(0, 4))
        shape = tuple(int(n) for n in rng.choice([0, 1, 2, 7, 20], ndim, p=[0.05, 0.15, 0.2, 0.3, 0.3]))
        chunk = []
        for dtype in rng.choice(["f8", "i2", "c16", "?"], int(rng.integers(1, 3))):
            array = rng.integers(0, 99, shape).astype(dtype)
            chunk.append(array.transpose(rng.permutation(ndim)).copy("C").transpose(rng.permutation(ndim)))
        chunk = [a for a in chunk if a.shape == chunk[0].shape]
        index = []
        for n in chunk[0].shape:
            lo, hi = sorted(int(k) for k in rng.integers(0, n + 1, 2))
            index.append(slice(lo, hi, int(rng.integers(1, 4))))
        file = disk.put((trial, 0, 0), tuple(chunk))
        for found, array in zip(disk.part((trial, 0, 0), file, tuple(index)), chunk, strict=True):
            np.testing.assert_array_equal(found, array[tuple(index)])
            assert found.dtype == array.dtype
            assert found.base is None
        disk.drop(file)


def test_only_what_holds_it_is_read(disk: DiskTier, monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = (np.arange(64 * 32.0).reshape(64, 32), np.arange(64 * 32).reshape(64, 32))
    file = disk.put((1, 0, 0), chunk)
    read: list[int] = []
    filled = parts.filled

    def counted(stream: io.FileIO, block: memoryview, crc: int) -> int:
        read.append(len(block))
        return filled(stream, block, crc)

    monkeypatch.setattr(parts, "filled", counted)
    for found, array in zip(disk.part((1, 0, 0), file, (slice(3, 5), slice(0, 32))), chunk, strict=True):
        np.testing.assert_array_equal(found, array[3:5])
    assert read == [256] * 4  # two rows of 256 bytes, of each array


def test_damage_is_found_where_it_is_read(disk: DiskTier) -> None:
    array = np.arange(64 * 32.0).reshape(64, 32)
    file = disk.put((1, 0, 0), (array,))
    with open(file.path, "r+b") as bytes_of:
        bytes_of.seek(file.offset + 64 + 10 * 256 + 5)
        bytes_of.write(b"\xff")
    whole = slice(None)
    np.testing.assert_array_equal(disk.part((1, 0, 0), file, (slice(0, 10), whole))[0], array[:10])
    np.testing.assert_array_equal(disk.part((1, 0, 0), file, (slice(11, 64), whole))[0], array[11:])
    with pytest.raises(SpillError, match="checksum"):
        disk.part((1, 0, 0), file, (slice(10, 11), slice(31, 32)))
    with pytest.raises(SpillError, match="checksum"):
        disk.get((1, 0, 0), file)
