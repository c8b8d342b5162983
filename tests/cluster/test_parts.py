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
        parts_of = [array[tuple(index)] for array in chunk]
        out = tuple(np.empty(part.size, part.dtype) for part in parts_of)
        disk.fill((trial, 0, 0), file, tuple(index), out)
        for found, part in zip(out, parts_of, strict=True):
            np.testing.assert_array_equal(found, part.ravel())
        disk.drop(file)


def test_a_row_of_a_transposed_chunk_is_read_straight_to_where_it_goes(
    disk: DiskTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.arange(5 * 1000.0).reshape(5, 1000)
    file = disk.put((1, 0, 0), (array.T,))
    monkeypatch.setattr(parts, "read_part", None)
    for lo, hi in ((0, 1000), (0, 1), (999, 1000), (31, 64), (32, 64), (33, 97), (500, 500 + 256)):
        out = (np.empty(hi - lo),)
        disk.fill((1, 0, 0), file, (slice(lo, hi), slice(3, 4)), out)
        np.testing.assert_array_equal(out[0], array[3, lo:hi])


def test_damage_is_found_in_the_blocks_that_are_read(disk: DiskTier) -> None:
    array = np.arange(1000.0)
    file = disk.put((1, 0, 0), (array,))
    with open(file.path, "r+b") as stream:
        stream.seek(file.offset + 64 + 2000)  # in the block from 1792 to 2048
        stream.write(b"\xff")
    for lo, hi in ((0, 224), (256, 1000)):
        out = (np.empty(hi - lo),)
        disk.fill((1, 0, 0), file, (slice(lo, hi),), out)
        np.testing.assert_array_equal(out[0], array[lo:hi])
    for lo, hi in ((0, 225), (224, 256), (255, 300), (240, 241)):
        with pytest.raises(SpillError, match="damaged"):
            disk.fill((1, 0, 0), file, (slice(lo, hi),), (np.empty(hi - lo),))


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
