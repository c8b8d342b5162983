"""HDF5 datasets: round trips, one file read and written at once, and files that are damaged, locked or elsewhere."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray import config
from gpuarray.errors import (
    GPUArrayError,
    IncompleteStoreError,
    MemoryLimitError,
    MissingDatasetError,
    StorageError,
    UnsupportedDTypeError,
)
from gpuarray.storage.hdf5_file import reason
from tests.api.conftest import least_peak

h5py = pytest.importorskip("h5py")

DTYPES = ["?", "i1", "u2", "<i4", ">i4", "u8", "f2", "<f4", ">f8", "c8", "c16"]
SHAPES = [(), (1,), (7,), (0,), (0, 3), (5, 7), (3, 1, 5)]


def some(shape: tuple[int, ...], dtype: Any = "f8") -> np.ndarray:
    values = np.random.default_rng(1).integers(0, 100, shape)
    return np.asarray(values % 2 == 0 if np.dtype(dtype).kind == "b" else values).astype(dtype)


def equal(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, wanted)


def made(path: Path, name: str = "x", array: np.ndarray | None = None, **options: Any) -> Path:
    with h5py.File(path, "a") as file:
        file.create_dataset(name, data=some((25, 37)) if array is None else array, **options)
    return path


class TestRead:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", SHAPES)
    def test_what_h5py_wrote(self, tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
        array = some(shape, dtype)
        made(tmp_path / "x.h5", array=array)
        equal(ga.from_hdf5(tmp_path / "x.h5", "x", chunks=3).compute(), array)

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"chunks": (6, 10)},
            {"chunks": (6, 10), "compression": "gzip", "shuffle": True, "fletcher32": True},
            {"chunks": (25, 37), "compression": "lzf"},
        ],
    )
    def test_layouts_and_filters(self, tmp_path: Path, options: dict[str, Any]) -> None:
        array = some((25, 37))
        made(tmp_path / "x.h5", "a/b", array, **options)
        x = ga.from_hdf5(tmp_path / "x.h5", "/a/b/")
        equal(x[::-2, 3::4].compute(), array[::-2, 3::4])
        equal((x[1:] - x[:-1]).compute(), array[1:] - array[:-1])

    def test_the_only_dataset_needs_no_name(self, tmp_path: Path) -> None:
        made(tmp_path / "x.h5", "a/b")
        equal(ga.from_hdf5(tmp_path / "x.h5").compute(), some((25, 37)))
        made(tmp_path / "x.h5", "c")
        with pytest.raises(StorageError, match=r"datasets a/b, c; say which"):
            ga.from_hdf5(tmp_path / "x.h5")

    def test_a_dataset_that_is_open(self, tmp_path: Path) -> None:
        made(tmp_path / "x.h5")
        with h5py.File(tmp_path / "x.h5", "r") as file:
            equal(ga.from_hdf5(file["x"]).compute(), some((25, 37)))

    def test_chunks(self, tmp_path: Path) -> None:
        made(tmp_path / "x.h5", array=np.zeros((1000, 70)), chunks=(10, 30))
        with config.set(chunk_bytes=10_000):
            assert ga.from_hdf5(tmp_path / "x.h5", "x").chunksize == (40, 30)
        assert ga.from_hdf5(tmp_path / "x.h5", "x", chunks=(7, None)).chunksize == (7, 30)

    def test_links_within_the_file(self, tmp_path: Path) -> None:
        made(tmp_path / "x.h5", "a/b")
        with h5py.File(tmp_path / "x.h5", "a") as file:
            file["soft"] = h5py.SoftLink("/a/b")
            file["hard"] = file["a/b"]
        for name in ("soft", "hard"):
            equal(ga.from_hdf5(tmp_path / "x.h5", name).compute(), some((25, 37)))

    def test_fill_values_and_enums(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file.create_dataset("filled", (5,), "f8", chunks=(2,), fillvalue=7)[3] = 1
            kind = h5py.enum_dtype({"red": 1, "green": 2}, "i2")
            file.create_dataset("colours", data=np.array([1, 2], "i2"), dtype=kind)
        equal(ga.from_hdf5(tmp_path / "x.h5", "filled").compute(), np.array([7.0, 7, 7, 1, 7]))
        equal(ga.from_hdf5(tmp_path / "x.h5", "colours").compute(), np.array([1, 2], "i2"))

    def test_virtual_datasets(self, tmp_path: Path) -> None:
        made(tmp_path / "part.h5")
        layout = h5py.VirtualLayout((25, 37), "f8")
        layout[:] = h5py.VirtualSource("part.h5", "x", (25, 37))
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file.create_virtual_dataset("v", layout)
        equal(ga.from_hdf5(tmp_path / "x.h5", "v").compute(), some((25, 37)))
        os.unlink(tmp_path / "part.h5")
        with pytest.raises(StorageError, match=r"needs the file .*part\.h5, which is missing"):
            ga.from_hdf5(tmp_path / "x.h5", "v")

    def test_equal_and_picklable(self, tmp_path: Path) -> None:
        made(tmp_path / "x.h5")
        made(tmp_path / "x.h5", "y")
        x = ga.from_hdf5(tmp_path / "x.h5", "x")
        assert ga.from_hdf5(str(tmp_path / "x.h5"), "/x").node is x.node
        assert ga.from_hdf5(tmp_path / "x.h5", "y").node is not x.node
        reader = pickle.loads(pickle.dumps(x.node.reader))
        assert reader == x.node.reader
        equal(reader.read((range(3, 5), range(0, 37, 5))), some((25, 37))[3:5, ::5])

    def test_several_threads_read_at_once(self, tmp_path: Path) -> None:
        array = some((100, 100))
        made(tmp_path / "x.h5", array=array, chunks=(10, 10), compression="lzf")
        reader = ga.from_hdf5(tmp_path / "x.h5", "x").node.reader
        wrong = []

        def work(k: int) -> None:
            for i in range(10):
                if (reader.read((range(k, 100, 3), range(i, 100))) != array[k::3, i:]).any():
                    wrong.append((k, i))

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert not wrong

    @pytest.mark.parametrize("options", [{}, {"chunks": (256, 256)}, {"chunks": (256, 256), "compression": "lzf"}])
    def test_memory_is_no_more_than_counted(self, tmp_path: Path, options: dict[str, Any]) -> None:
        made(tmp_path / "x.h5", array=np.random.default_rng(0).random((1024, 1024)), **options)
        reader = ga.from_hdf5(tmp_path / "x.h5", "x").node.reader
        region = (range(0, 1024, 2), range(700))
        nbytes = reader.read(region).nbytes
        assert nbytes <= least_peak(lambda: reader.read(region)) <= reader.read_nbytes(region)


class TestDamage:
    def test_missing_datasets_are_named_with_those_there_are(self, tmp_path: Path) -> None:
        made(tmp_path / "x.h5", "a/b")
        for name in ("c", "a/c", "a/b/c", ""):
            with pytest.raises(StorageError, match="a/b"):
                ga.from_hdf5(tmp_path / "x.h5", name)
        with pytest.raises(StorageError, match="is a group, not a dataset"):
            ga.from_hdf5(tmp_path / "x.h5", "a")
        assert issubclass(MissingDatasetError, KeyError)
        with pytest.raises(TypeError):
            ga.from_hdf5(tmp_path / "x.h5", 3)  # type: ignore[arg-type]

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            ga.from_hdf5(tmp_path / "x.h5", "x")
        with pytest.raises(IsADirectoryError):
            ga.from_hdf5(tmp_path, "x")

    @pytest.mark.parametrize("what", ["truncated", "no hdf5", "empty", "header only"])
    def test_damaged_files(self, tmp_path: Path, what: str) -> None:
        raw = made(tmp_path / "x.h5").read_bytes()
        content = {"truncated": raw[: len(raw) // 2], "no hdf5": b"hello" * 99, "empty": b"", "header only": raw[:64]}
        (tmp_path / "x.h5").write_bytes(content[what])
        with pytest.raises(StorageError, match=r"x\.h5") as caught:
            ga.from_hdf5(tmp_path / "x.h5", "x")
        assert len(str(caught.value)) < 500

    def test_a_damaged_chunk(self, tmp_path: Path) -> None:
        made(tmp_path / "x.h5", chunks=(25, 37), fletcher32=True)
        with h5py.File(tmp_path / "x.h5", "r") as file:
            at = file["x"].id.get_chunk_info(0).byte_offset
        raw = bytearray((tmp_path / "x.h5").read_bytes())
        raw[at + 100] ^= 0xFF
        (tmp_path / "x.h5").write_bytes(raw)
        with pytest.raises(StorageError, match="the file is damaged"):
            ga.from_hdf5(tmp_path / "x.h5", "x").compute()

    def test_what_lies_in_other_files(self, tmp_path: Path) -> None:
        made(tmp_path / "other.h5")
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["link"] = h5py.ExternalLink("other.h5", "/x")
            file["group"] = h5py.ExternalLink("other.h5", "/")
            file["soft"] = h5py.SoftLink("/link")
            file.create_dataset("raw", (4,), "i1", external=[(str(tmp_path / "secret"), 0, 4)])
        (tmp_path / "secret").write_bytes(b"abcd")
        for name in ("link", "group/x", "soft"):
            with pytest.raises(StorageError, match=r"other\.h5"):
                ga.from_hdf5(tmp_path / "x.h5", name)
        with pytest.raises(StorageError, match="lies in other files"):
            ga.from_hdf5(tmp_path / "x.h5", "raw")

    def test_elements_that_no_kernel_takes(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["text"] = ["a", "b"]
            file["records"] = np.zeros(3, "i4,f8")
            file["empty"] = h5py.Empty("f8")
        for name in ("text", "records"):
            with pytest.raises(UnsupportedDTypeError, match=rf"x\.h5:{name}"):
                ga.from_hdf5(tmp_path / "x.h5", name)
        with pytest.raises(StorageError, match="without a shape"):
            ga.from_hdf5(tmp_path / "x.h5", "empty")

    def test_locked_by_another_process(self, tmp_path: Path) -> None:
        made(tmp_path / "x.h5")
        code = "import h5py, sys; f = h5py.File(sys.argv[1], 'r+'); print('open', flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "x.h5")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"open\n"
            with pytest.raises(StorageError, match="is open for writing somewhere else"):
                ga.from_hdf5(tmp_path / "x.h5", "x")
            with pytest.raises(StorageError, match="is open for writing somewhere else"):
                ga.ones(3).to_hdf5(tmp_path / "x.h5", "y")
            other.kill()

    def test_a_dataset_that_changes_later(self, tmp_path: Path) -> None:
        made(tmp_path / "x.h5")
        x = ga.from_hdf5(tmp_path / "x.h5", "x")
        with h5py.File(tmp_path / "x.h5", "a") as file:
            del file["x"]
            file["x"] = np.zeros(3)
        with pytest.raises(StorageError, match="call from_hdf5 again"):
            x.compute()


class TestWrite:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", SHAPES)
    def test_h5py_reads_what_was_written(self, tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
        array = some(shape, dtype)
        for options in ({}, {"compression": "gzip"}):
            if options and not array.size:
                continue
            stored = ga.asarray(array, chunks=2).to_hdf5(tmp_path / "x.h5", "a/x", overwrite=True, **options)
            equal(stored.compute(), array)
            with h5py.File(tmp_path / "x.h5", "r") as file:
                equal(np.asarray(file["a/x"][...]), array.astype(array.dtype.newbyteorder("=")))
                assert list(file["a"]) == ["x"]
        assert os.listdir(tmp_path) == ["x.h5"]

    def test_options(self, tmp_path: Path) -> None:
        array = some((50, 70))
        x = ga.asarray(array, chunks=((13, 20, 17), 30))
        for options, chunks in (
            ({}, None),
            ({"chunks": True}, (20, 30)),
            ({"chunks": (7, -1), "compression": "gzip", "compression_opts": 1, "shuffle": True}, (7, 70)),
            ({"fletcher32": True}, (20, 30)),
        ):
            equal(x.to_hdf5(tmp_path / "x.h5", "x", overwrite=True, **options).compute(), array)
            with h5py.File(tmp_path / "x.h5", "r") as file:
                assert file["x"].chunks == chunks

    def test_what_is_there_is_kept(self, tmp_path: Path) -> None:
        made(tmp_path / "x.h5", "a/b")
        with pytest.raises(FileExistsError, match="overwrite=True"):
            ga.ones(3).to_hdf5(tmp_path / "x.h5", "a/b")
        with pytest.raises(FileExistsError, match="is a group"):
            ga.ones(3).to_hdf5(tmp_path / "x.h5", "a", overwrite=True)
        for name in ("", "/", "a/../b"):
            with pytest.raises(StorageError, match="no name of a dataset"):
                ga.ones(3).to_hdf5(tmp_path / "x.h5", name)
        ga.ones(3).to_hdf5(tmp_path / "x.h5", "a/c")
        equal(ga.from_hdf5(tmp_path / "x.h5", "a/b").compute(), some((25, 37)))
        (tmp_path / "text").write_text("mine")
        with pytest.raises(StorageError, match="cannot be read as an HDF5 file"):
            ga.ones(3).to_hdf5(tmp_path / "text", "x", overwrite=True)
        assert (tmp_path / "text").read_text() == "mine"
        with pytest.raises(FileNotFoundError):
            ga.ones(3).to_hdf5(tmp_path / "none" / "x.h5", "x")

    def test_into_the_file_and_onto_the_dataset_it_reads(self, tmp_path: Path) -> None:
        array = some((50, 70))
        made(tmp_path / "x.h5", array=array)
        x = ga.from_hdf5(tmp_path / "x.h5", "x", chunks=10)
        with config.set(threads=4):
            equal((x + 1).to_hdf5(tmp_path / "x.h5", "y", chunks=(10, 10)).compute(), array + 1)
            equal((x[::-1] + 2).to_hdf5(tmp_path / "x.h5", "x", overwrite=True).compute(), array[::-1] + 2)

    def test_a_failing_task_leaves_nothing(self, tmp_path: Path) -> None:
        def fail(block: np.ndarray) -> np.ndarray:
            raise ZeroDivisionError("on purpose")

        y = ga.map_blocks(fail, ga.ones((100, 100), chunks=50), dtype=float)
        made(tmp_path / "old.h5", array=np.zeros((100, 100)))
        with pytest.raises(ZeroDivisionError):
            y.to_hdf5(tmp_path / "new.h5", "x")
        with pytest.raises(ZeroDivisionError):
            y.to_hdf5(tmp_path / "old.h5", "x", overwrite=True)
        assert os.listdir(tmp_path) == ["old.h5"]
        equal(ga.from_hdf5(tmp_path / "old.h5").compute(), np.zeros((100, 100)))

    def test_a_plan_that_does_not_fit_touches_nothing(self, tmp_path: Path) -> None:
        y = ga.map_blocks(np.sort, ga.ones((1000, 1000), chunks=1000), dtype=float)
        with config.set(host_memory="1 MiB"), pytest.raises(MemoryLimitError):
            y.to_hdf5(tmp_path / "x.h5", "x")
        assert os.listdir(tmp_path) == []

    def test_only_this_process_writes(self, tmp_path: Path) -> None:
        pending = ga.ones(3).to_hdf5(tmp_path / "x.h5", "x", compute=False)
        assert os.listdir(tmp_path) == []
        with pytest.raises(StorageError, match="one process only; use to_zarr"):
            pickle.dumps(pending._sink)
        equal(pending.compute().compute(), np.ones(3))

    @pytest.mark.parametrize("there", [False, True])
    def test_kill_9(self, tmp_path: Path, there: bool) -> None:
        if there:
            made(tmp_path / "x.h5", "old")
        code = f"""
            import os, time
            import numpy as np, gpuarray as ga
            def slow(block):
                os.write(1, b"w")
                time.sleep(0.2)
                return block
            x = ga.map_blocks(slow, ga.ones((1000, 1000), chunks=100), dtype=float)
            x.to_hdf5({str(tmp_path / "x.h5")!r}, "x")
            """
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            assert process.stdout.read(7) == b"wwwwwww"
            time.sleep(0.05)
        finally:
            process.kill()
            assert process.wait() == -signal.SIGKILL
            process.stdout.close()  # type: ignore[union-attr]
        if there:
            # A file of HDF5 that dies open for writing may be damaged; it never looks whole.
            with pytest.raises(StorageError):
                ga.from_hdf5(tmp_path / "x.h5", "x")
        else:
            assert not (tmp_path / "x.h5").exists()
            equal(ga.ones(5).to_hdf5(tmp_path / "x.h5", "x").compute(), np.ones(5))

    def test_without_h5py(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made(tmp_path / "x.h5")
        monkeypatch.setitem(sys.modules, "h5py", None)
        with pytest.raises(ImportError, match=r"gpuarray-engine\[io\]"):
            ga.from_hdf5(tmp_path / "x.h5", "x")
        with pytest.raises(ImportError, match=r"gpuarray-engine\[io\]"):
            ga.ones(3).to_hdf5(tmp_path / "y.h5", "x")
        assert os.listdir(tmp_path) == ["x.h5"]

    def test_an_unfinished_dataset_is_recognised(self, tmp_path: Path) -> None:
        made(tmp_path / "x.h5", "x.incomplete")
        with pytest.raises(IncompleteStoreError, match="never finished"):
            ga.from_hdf5(tmp_path / "x.h5", "x")
        equal(ga.ones(5).to_hdf5(tmp_path / "x.h5", "x").compute(), np.ones(5))
        with h5py.File(tmp_path / "x.h5", "r") as file:
            assert list(file) == ["x"]

    def test_a_full_disk(self, tmp_path: Path) -> None:
        code = f"""
            import resource
            import gpuarray as ga
            from gpuarray.errors import GPUArrayError
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
            try:
                ga.ones((1000, 1000), chunks=300).to_hdf5({str(tmp_path / "x.h5")!r}, "x")
            except GPUArrayError as error:
                assert isinstance(error, OSError), error
                print(error)
            """
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
        assert "x.h5:x failed" in done.stdout, done.stderr
        assert os.listdir(tmp_path) == []
        assert issubclass(StorageError, GPUArrayError)


def test_why_the_library_could_not_write():
    text = "Can't write data (file write failed: errno = 28, error message = 'No space left on device', buf)"
    assert reason(OSError(text)) == os.strerror(28)
    assert reason(RuntimeError("no dataset")) == "no dataset"
