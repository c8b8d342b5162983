"""`.npy` files: what numpy.save writes we read, what we write numpy.load reads, and nothing damaged gets by."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import gpuarray as ga
from gpuarray import config
from gpuarray.errors import GPUArrayError, MemoryLimitError, StorageError, StorageWriteError, UnsupportedDTypeError
from gpuarray.graph.grid import Region, shape_of, whole
from gpuarray.storage import region_io
from gpuarray.storage.region_io import disk_nbytes, read_region, transient_nbytes, write_region

DTYPES = ["?", "i1", "u1", "<i2", ">i4", "u8", "f2", "<f4", ">f8", "c8", ">c16", "M8[s]", "m8[ns]"]
SHAPES = [(), (1,), (7,), (0,), (0, 3), (5, 0, 2), (4, 6), (3, 1, 5), (2, 3, 4, 5)]


def some(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    dtype = np.dtype(dtype)
    values = np.random.default_rng(1).integers(0, 200, shape)
    return np.asarray(values % 2 == 0 if dtype.kind == "b" else values % 100).astype(dtype)


def equal(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, wanted)


class TestRoundTrip:
    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", SHAPES)
    def test_read_what_numpy_wrote(self, tmp_path: Path, shape: tuple[int, ...], dtype: str, order: Any) -> None:
        array = np.asarray(some(shape, dtype), order=order)
        np.save(tmp_path / "x.npy", array)
        equal(ga.from_npy(tmp_path / "x.npy", chunks=2).compute(), array)

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", SHAPES)
    def test_numpy_reads_what_was_written(self, tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
        array = some(shape, dtype)
        stored = ga.asarray(array, chunks=3).to_npy(tmp_path / "x.npy")
        equal(np.load(tmp_path / "x.npy", allow_pickle=False), array.astype(array.dtype.newbyteorder("=")))
        equal(stored.compute(), array)
        assert os.listdir(tmp_path) == ["x.npy"]

    @pytest.mark.parametrize("dtype", ["?", "u1", "f2", "<f4", ">f8", "c16", "M8[s]"])
    def test_zeros_are_not_written_and_those_below_zero_are(self, tmp_path: Path, dtype: str) -> None:
        array = np.zeros((6, 8), dtype)
        array[2:4, 5] = np.array(-0.0).astype(dtype) if np.dtype(dtype).kind in "fc" else np.array(1).astype(dtype)
        array[3, 1] = np.array(1).astype(dtype)
        ga.asarray(array, chunks=(2, 4)).to_npy(tmp_path / "x.npy")
        native = array.astype(array.dtype.newbyteorder("="))
        assert np.load(tmp_path / "x.npy").tobytes() == native.tobytes()

    def test_nan_infinity_and_signs_keep_their_bits(self, tmp_path: Path) -> None:
        array = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324])
        stored = ga.asarray(array).to_npy(tmp_path / "x.npy")
        assert stored.compute().tobytes() == array.tobytes()

    def test_chunks_are_as_asked_in_both_orders(self, tmp_path: Path) -> None:
        array = some((6, 9), "f8")
        for order in ("C", "F"):
            np.save(tmp_path / "x.npy", np.asarray(array, order=order))
            assert ga.from_npy(tmp_path / "x.npy", chunks=(4, (2, 7))).chunks == ((4, 2), (2, 7))

    def test_views_of_a_file_read_only_what_they_need(self, tmp_path: Path) -> None:
        array = some((40, 50), "i8")
        np.save(tmp_path / "x.npy", array)
        x = ga.from_npy(tmp_path / "x.npy", chunks=(7, 11))
        equal(x[::-3, 5:45:4].compute(), array[::-3, 5:45:4])
        equal((x[1:] - x[:-1]).compute(), array[1:] - array[:-1])

    def test_version_2_and_3_headers(self, tmp_path: Path) -> None:
        array = some((3, 4), "f8")
        for version in ((2, 0), (3, 0)):
            with (tmp_path / "x.npy").open("wb") as file:
                np.lib.format.write_array(file, array, version=version)
            equal(ga.from_npy(tmp_path / "x.npy").compute(), array)


@st.composite
def regions(draw: Any) -> tuple[tuple[int, ...], Region]:
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, max_side=9))
    region = []
    for n in shape:
        start = draw(st.integers(0, n - 1))
        step = draw(st.integers(1, 4))
        region.append(range(start, draw(st.integers(start, n)), step) if draw(st.booleans()) else range(n))
    return shape, tuple(range(r[0], r[-1] + 1, r.step) if r else range(0) for r in region)


class TestRegions:
    @settings(max_examples=300)
    @given(regions(), st.sampled_from([0, 16, 64, 8192]), st.sampled_from([16, 100, 1 << 22]), st.booleans())
    def test_any_region_is_read_and_written(
        self, case: tuple[tuple[int, ...], Region], gap: int, span: int, mapped: bool
    ) -> None:
        shape, region = case
        array = some(shape, "i8")
        at = tuple(slice(r.start, r.stop, r.step) for r in region)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(region_io, "GAP", gap)
            patch.setattr(region_io, "SPAN", span)
            patch.setattr(region_io, "WINDOW", span)
            fd = os.memfd_create("x") if hasattr(os, "memfd_create") else pytest.skip("no memfd")
            try:
                os.pwrite(fd, b"head!" + array.tobytes(), 0)
                found = read_region(fd, 5, shape, region, array.dtype, "x")
                np.testing.assert_array_equal(found, array[at])
                assert found.shape == shape_of(region)
                assert transient_nbytes(shape, 8, region) <= max(span, 8 * array.size)
                assert found.nbytes <= disk_nbytes(shape, 8, region)
                new = np.array(some(found.shape, "i8") + 1000, order="F")
                write_region(fd, 5, shape, region, new, mapped=mapped)
                array[at] = new
                assert os.pread(fd, 5 + array.nbytes + 1, 0) == b"head!" + array.tobytes()
            finally:
                os.close(fd)

    def test_several_threads_read_at_once(self, tmp_path: Path) -> None:
        array = some((300, 300), "i8")
        np.save(tmp_path / "x.npy", array)
        reader = ga.from_npy(tmp_path / "x.npy").node.reader
        wrong = []

        def work(k: int) -> None:
            for i in range(30):
                region = (range(k, 300, 1 + i % 5), range(i, 300, 1 + k))
                if (reader.read(region) != array[k :: 1 + i % 5, i :: 1 + k]).any():
                    wrong.append((k, i))

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert not wrong


class TestReader:
    def test_two_readers_of_one_file_are_one_source(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.arange(5))
        os.symlink(tmp_path / "x.npy", tmp_path / "y.npy")
        assert ga.from_npy(tmp_path / "x.npy").node is ga.from_npy(str(tmp_path / "y.npy")).node

    def test_a_changed_file_is_another_source_and_the_old_one_says_so(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.arange(5))
        old = ga.from_npy(tmp_path / "x.npy")
        os.unlink(tmp_path / "x.npy")
        np.save(tmp_path / "x.npy", np.arange(5) + 1)
        os.utime(tmp_path / "x.npy", ns=(1, 1))
        new = ga.from_npy(tmp_path / "x.npy")
        assert new.node is not old.node
        equal(new.compute(), np.arange(5) + 1)
        with pytest.raises(StorageError, match="was changed after it was opened"):
            old.compute()

    def test_a_pickled_reader_reads(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.arange(6))
        reader = ga.from_npy(tmp_path / "x.npy").node.reader
        other = pickle.loads(pickle.dumps(reader))
        assert other == reader
        assert hash(other) == hash(reader)
        equal(other.read((range(1, 6, 2),)), np.arange(6)[1::2])

    def test_bytes_are_counted(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.zeros((100, 200)))
        reader = ga.from_npy(tmp_path / "x.npy").node.reader
        assert reader.read_nbytes(whole((100, 200))) == 160_000
        assert reader.disk_nbytes((range(10), range(200))) == 16_000


def damaged(what: str, path: Path) -> None:
    np.save(path, np.arange(100.0).reshape(10, 10))
    raw = path.read_bytes()

    def header(text: str, version: int = 1) -> bytes:
        body = text.encode() + b"\n"
        size = struct.pack("<H", len(body)) if version == 1 else struct.pack("<I", len(body))
        return b"\x93NUMPY" + bytes([version, 0]) + size + body

    made = {
        "truncated": lambda: raw[:-1],
        "header only": lambda: raw[:128],
        "half a header": lambda: raw[:40],
        "empty": lambda: b"",
        "six bytes": lambda: raw[:6],
        "trailing": lambda: raw + b"\0",
        "bad magic": lambda: b"NUMPY!" + raw[6:],
        "zip": lambda: b"PK\x03\x04" + raw,
        "bad version": lambda: raw[:6] + b"\x09\x00" + raw[8:],
        "huge shape": lambda: header("{'descr': '<f8', 'fortran_order': False, 'shape': (10**18, 10)}") + raw[128:],
        "huge literal": lambda: (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000000, 10)}") + raw[128:]
        ),
        "beyond 64 bits": lambda: (
            header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10**30},)}}") + raw[128:]
        ),
        "negative": lambda: header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"),
        "boolean length": lambda: header("{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}") + b"\0" * 8,
        "no dtype": lambda: header("{'descr': 'nope', 'fortran_order': False, 'shape': (1,)}"),
        "no dict": lambda: header("[1, 2]"),
        "code": lambda: header("__import__('os').abort()"),
        "deep": lambda: header("(" * 5000 + ")" * 5000),
        "claims 4 GB of header": lambda: b"\x93NUMPY\x02\x00" + b"\xff\xff\xff\xff" + raw,
        "objects": lambda: header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}") + pickle.dumps([1]),
    }
    path.write_bytes(made[what]())


DAMAGE = {
    "truncated": "is truncated.*takes 928 bytes.*has 927",
    "header only": "is truncated",
    "half a header": "header claims",
    "empty": "is empty",
    "six bytes": "version",
    "trailing": "trailing bytes.*takes 928 bytes.*has 929",
    "bad magic": "no .npy file",
    "zip": "npz archive",
    "bad version": r"version \(9, 0\) is not known",
    "huge shape": "header cannot be read",
    "huge literal": "more than any machine|truncated",
    "beyond 64 bits": "more than any machine can address",
    "negative": "no count of elements",
    "boolean length": "no count of elements",
    "no dtype": "header cannot be read",
    "no dict": "header cannot be read",
    "code": "header cannot be read",
    "deep": "header cannot be read",
    "claims 4 GB of header": "header claims 4294967295 bytes",
    "objects": "never unpickled",
}


class TestDamage:
    @pytest.mark.parametrize("what", DAMAGE)
    def test_one_error_names_the_file(self, tmp_path: Path, what: str) -> None:
        damaged(what, tmp_path / "x.npy")
        with pytest.raises(StorageError, match=DAMAGE[what]) as caught:
            ga.from_npy(tmp_path / "x.npy")
        assert str(tmp_path / "x.npy") in str(caught.value)
        assert len(str(caught.value)) < 600

    def test_records_are_refused(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.zeros(3, "i4,f8"))
        with pytest.raises(UnsupportedDTypeError, match=r"x\.npy"):
            ga.from_npy(tmp_path / "x.npy")

    def test_no_file_a_folder_a_pipe_a_number(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            ga.from_npy(tmp_path / "none.npy")
        with pytest.raises(StorageError, match="no regular file"):
            ga.from_npy(tmp_path)
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(StorageError, match="no regular file"):
            ga.from_npy(tmp_path / "pipe")
        with pytest.raises(TypeError, match="takes a path, not int"):
            ga.from_npy(7)  # type: ignore[arg-type]
        with pytest.raises(StorageError, match="null character"):
            ga.from_npy("x\0.npy")

    def test_a_file_that_shrinks_later(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.zeros(1000))
        x = ga.from_npy(tmp_path / "x.npy")
        other = pickle.loads(pickle.dumps(x.node.reader))
        os.truncate(tmp_path / "x.npy", 500)
        for reader in (x.node.reader, other):
            with pytest.raises(StorageError, match="call from_npy again"):
                reader.read((range(1000),))


class TestWrite:
    def test_an_existing_file_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / "x.npy").write_text("mine")
        with pytest.raises(FileExistsError, match="overwrite=True"):
            ga.ones(3).to_npy(tmp_path / "x.npy")
        assert (tmp_path / "x.npy").read_text() == "mine"
        ga.ones(3).to_npy(tmp_path / "x.npy", overwrite=True)
        equal(np.load(tmp_path / "x.npy"), np.ones(3))

    def test_onto_the_file_it_reads(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.arange(1000.0))
        x = ga.from_npy(tmp_path / "x.npy", chunks=100)
        stored = (x[::-1] + 1).to_npy(tmp_path / "x.npy", overwrite=True)
        equal(stored.compute(), np.arange(1000.0)[::-1] + 1)
        with pytest.raises(StorageError, match="was changed"):
            x.compute()

    def test_through_a_link_the_file_is_replaced(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.zeros(2))
        os.symlink("x.npy", tmp_path / "y.npy")
        ga.ones(3).to_npy(tmp_path / "y.npy", overwrite=True)
        assert (tmp_path / "y.npy").is_symlink()
        equal(np.load(tmp_path / "x.npy"), np.ones(3))

    def test_nowhere(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="does not exist"):
            ga.ones(3).to_npy(tmp_path / "none" / "x.npy")
        with pytest.raises(IsADirectoryError):
            ga.ones(3).to_npy(tmp_path, overwrite=True)

    def test_a_failing_task_leaves_nothing(self, tmp_path: Path) -> None:
        def fail(block: np.ndarray) -> np.ndarray:
            raise ZeroDivisionError("on purpose")

        y = ga.map_blocks(fail, ga.ones((100, 100), chunks=50), dtype=float)
        with pytest.raises(ZeroDivisionError):
            y.to_npy(tmp_path / "x.npy")
        assert os.listdir(tmp_path) == []

    def test_a_plan_that_does_not_fit_touches_nothing(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.zeros(2))
        y = ga.map_blocks(np.sort, ga.ones((1000, 1000), chunks=1000), dtype=float)
        with config.set(host_memory="1 MiB"), pytest.raises(MemoryLimitError):
            y.to_npy(tmp_path / "x.npy", overwrite=True)
        equal(np.load(tmp_path / "x.npy"), np.zeros(2))
        assert os.listdir(tmp_path) == ["x.npy"]

    def test_compute_false(self, tmp_path: Path) -> None:
        pending = ga.arange(3).to_npy(tmp_path / "x.npy", compute=False)
        assert os.listdir(tmp_path) == []
        assert "pending" in repr(pending)
        equal(pending.compute().compute(), np.arange(3))

    def test_a_full_disk(self, tmp_path: Path) -> None:
        code = f"""
import resource, signal
import gpuarray as ga
from gpuarray.errors import GPUArrayError
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    ga.ones((1000, 1000), chunks=300).to_npy({str(tmp_path / "x.npy")!r})
except GPUArrayError as error:
    assert isinstance(error, OSError) and error.errno, error
    print(type(error).__name__, error)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert "StorageWriteError" in done.stdout
        assert "x.npy (8000128 bytes) failed" in done.stdout
        assert os.listdir(tmp_path) == []

    def test_the_write_error_is_what_users_catch(self) -> None:
        assert issubclass(StorageWriteError, OSError)
        assert issubclass(StorageWriteError, StorageError)
        assert issubclass(StorageWriteError, GPUArrayError)


class TestMemory:
    def test_a_file_larger_than_the_limit_is_copied(self, tmp_path: Path) -> None:
        array = np.random.default_rng(0).random((1500, 1000))
        np.save(tmp_path / "x.npy", array)
        with config.set(host_memory="4 MiB", threads=2):
            stored = (ga.from_npy(tmp_path / "x.npy").T * 2).to_npy(tmp_path / "y.npy")
        equal(np.load(tmp_path / "y.npy"), array.T * 2)
        assert stored.shape == (1000, 1500)
