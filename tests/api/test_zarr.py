"""Zarr arrays: every kind that the zarr library writes is read, whole chunks are written, interrupted writes show."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray import config
from gpuarray.errors import (
    ChunkError,
    GPUArrayError,
    IncompleteStoreError,
    MemoryLimitError,
    StorageError,
    UnsupportedDTypeError,
)
from gpuarray.graph.grid import Region, whole
from gpuarray.storage.common import public_name
from gpuarray.storage.zarr_chunks import zstd_content_size
from gpuarray.storage.zarr_sink import written_units
from tests.api.conftest import least_peak

zarr = pytest.importorskip("zarr")
numcodecs = pytest.importorskip("numcodecs")

DTYPES = ["?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "c8", "c16"]
SHAPES = [(), (1,), (7,), (0,), (0, 3), (5, 7), (3, 1, 5)]

codecs = zarr.codecs
DIRECT: dict[str, dict[str, Any]] = {
    "zstd": {},
    "plain": {"compressors": None},
    "blosc": {"compressors": codecs.BloscCodec(cname="lz4", shuffle="shuffle")},
    "gzip": {"compressors": codecs.GzipCodec()},
    "big endian": {"serializer": codecs.BytesCodec(endian="big")},
    "v2": {"zarr_format": 2},
    "v2 plain": {"zarr_format": 2, "compressors": None},
    "v2 plain F": {"zarr_format": 2, "compressors": None, "order": "F"},
    "v2 blosc F": {"zarr_format": 2, "compressors": numcodecs.Blosc(), "order": "F"},
    "v2 zlib": {"zarr_format": 2, "compressors": numcodecs.Zlib()},
    "v2 lz4": {"zarr_format": 2, "compressors": numcodecs.LZ4()},
    "v2 big endian": {"zarr_format": 2, "dtype": ">f8"},
    "v2 dots": {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "."}},
    "v3 dots": {"chunk_key_encoding": {"name": "default", "separator": "."}},
    "v3 with v2 keys": {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
}
LIBRARY: dict[str, dict[str, Any]] = {
    "transposed": {"filters": [codecs.TransposeCodec(order=(1, 0))]},
    "crc": {"compressors": [codecs.ZstdCodec(), codecs.Crc32cCodec()]},
    "shards": {"shards": (12, 20)},
    "plain shards": {"shards": (12, 20), "compressors": None},
    "v2 delta": {"zarr_format": 2, "filters": [numcodecs.Delta("f8")]},
    "v2 bz2": {"zarr_format": 2, "compressors": numcodecs.BZ2()},
}
REGIONS: list[Region] = [
    whole((25, 37)),
    (range(3, 24), range(5, 36, 3)),
    (range(0, 25, 17), range(36, 37)),
    (range(6, 12), range(10, 20)),
    (range(0), range(4)),
]


def some(shape: tuple[int, ...], dtype: Any = "f8") -> np.ndarray:
    values = np.random.default_rng(1).integers(0, 100, shape)
    return np.asarray(values % 2 == 0 if np.dtype(dtype).kind == "b" else values).astype(dtype)


def equal(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, wanted)


def made(folder: Path, array: np.ndarray, **options: Any) -> Any:
    options = {"chunks": (6, 10), "dtype": array.dtype, **options}
    stored = zarr.create_array(str(folder), shape=array.shape, **options)
    stored[...] = array
    return stored


def slices(region: Region) -> tuple[slice, ...]:
    return tuple(slice(r.start, r.stop, r.step) for r in region)


class TestRead:
    @pytest.mark.parametrize("kind", [*DIRECT, *LIBRARY])
    def test_every_kind_of_store(self, tmp_path: Path, kind: str) -> None:
        array = some((25, 37))
        made(tmp_path / "x", array, **(DIRECT | LIBRARY)[kind])
        x = ga.from_zarr(tmp_path / "x")
        reader = x.node.reader
        assert (reader.direct is not None) == (kind in DIRECT)
        for region in REGIONS:
            equal(reader.read(region), array[slices(region)])
        equal(ga.from_zarr(tmp_path / "x", chunks=(4, -1))[::-2, 3:].compute(), array[::-2, 3:])

    @pytest.mark.parametrize("zarr_format", [2, 3])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_dtypes(self, tmp_path: Path, dtype: str, zarr_format: int) -> None:
        array = some((25, 37), dtype)
        made(tmp_path / "x", array, zarr_format=zarr_format)
        equal(ga.from_zarr(tmp_path / "x").compute(), array)

    @pytest.mark.filterwarnings("ignore:The data type")
    @pytest.mark.parametrize("dtype", ["M8[s]", "m8[ns]"])
    def test_times(self, tmp_path: Path, dtype: str) -> None:
        array = some((25, 37), "i8").view(dtype)
        made(tmp_path / "x", array, zarr_format=2)
        equal(ga.from_zarr(tmp_path / "x").compute(), array)

    @pytest.mark.parametrize("kind", ["zstd", "plain", "v2", "shards", "v2 delta"])
    def test_missing_chunks_hold_the_fill_value(self, tmp_path: Path, kind: str) -> None:
        options = (DIRECT | LIBRARY)[kind]
        stored = zarr.create_array(
            str(tmp_path / "x"), shape=(25, 37), chunks=(6, 10), dtype="f8", fill_value=7.5, **options
        )
        stored[6:12, 10:20] = 1
        wanted = np.full((25, 37), 7.5)
        wanted[6:12, 10:20] = 1
        equal(ga.from_zarr(tmp_path / "x").compute(), wanted)

    def test_a_v2_store_without_fill_value_reads_zeros(self, tmp_path: Path) -> None:
        zarr.create_array(str(tmp_path / "x"), shape=(5,), chunks=(2,), dtype="i4", zarr_format=2)
        meta = json.loads((tmp_path / "x/.zarray").read_text())
        (tmp_path / "x/.zarray").write_text(json.dumps({**meta, "fill_value": None}))
        equal(ga.from_zarr(tmp_path / "x").compute(), np.zeros(5, "i4"))

    def test_stores_of_all_sorts(self, tmp_path: Path) -> None:
        array = some((25, 37))
        group = zarr.open_group(str(tmp_path / "g"), mode="w")
        group.create_array("a/b", shape=array.shape, chunks=(6, 10), dtype="f8")[...] = array
        memory = zarr.storage.MemoryStore()
        zarr.create_array(memory, name="m", shape=array.shape, chunks=(6, 10), dtype="f8")[...] = array
        with zarr.storage.ZipStore(tmp_path / "x.zip", mode="w") as store:
            zarr.create_array(store, shape=array.shape, chunks=(6, 10), dtype="f8")[...] = array
        for x in (
            ga.from_zarr(tmp_path / "g", "a/b"),
            ga.from_zarr(str(tmp_path / "g" / "a"), "/b/"),
            ga.from_zarr(group["a/b"]),
            ga.from_zarr(zarr.storage.LocalStore(tmp_path / "g"), "a/b"),
            ga.from_zarr(memory, "m"),
            ga.from_zarr(tmp_path / "x.zip"),
        ):
            equal(x.compute(), array)
        with pytest.raises(StorageError, match="zip files are read, not written"):
            ga.ones(3).to_zarr(tmp_path / "y.zip")

    def test_chunks_are_whole_chunks_of_the_store(self, tmp_path: Path) -> None:
        zarr.create_array(str(tmp_path / "x"), shape=(1000, 70), chunks=(10, 30), dtype="f8")
        zarr.create_array(str(tmp_path / "s"), shape=(1000, 70), chunks=(10, 30), shards=(40, 60), dtype="f8")
        with config.set(chunk_bytes=10_000):
            assert ga.from_zarr(tmp_path / "x").chunksize == (40, 30)
            assert ga.from_zarr(tmp_path / "s").chunksize == (40, 60)
        assert ga.from_zarr(tmp_path / "x").chunksize == (1000, 70)
        assert ga.from_zarr(tmp_path / "x", chunks=(None, -1)).chunksize == (10, 70)
        with pytest.raises(ChunkError):
            ga.from_zarr(tmp_path / "x", chunks=(0, 3))

    @pytest.mark.parametrize("kind", ["zstd", "plain", "blosc", "gzip", "transposed", "shards", "v2 delta"])
    def test_memory_is_no_more_than_counted(self, tmp_path: Path, kind: str) -> None:
        array = np.random.default_rng(0).random((1024, 1024))
        options = {"chunks": (512, 512), **(DIRECT | LIBRARY)[kind]}
        if "shards" in options:
            options |= {"chunks": (128, 128), "shards": (1024, 512)}
        made(tmp_path / "x", array, **options)
        reader = ga.from_zarr(tmp_path / "x").node.reader
        for region in (whole(array.shape), (range(512), range(512)), (range(0, 1024, 3), range(7, 8))):
            nbytes = reader.read(region).nbytes
            assert nbytes <= least_peak(lambda region=region: reader.read(region)) <= reader.read_nbytes(region)

    def test_bytes_from_disk_are_whole_chunks(self, tmp_path: Path) -> None:
        made(tmp_path / "x", some((25, 37)))
        reader = ga.from_zarr(tmp_path / "x").node.reader
        assert reader.disk_nbytes((range(1), range(1))) == 6 * 10 * 8
        assert reader.disk_nbytes((range(5, 7), range(9, 11))) == 4 * 6 * 10 * 8
        assert reader.disk_nbytes((range(0), range(3))) == 0

    def test_one_array_is_one_source(self, tmp_path: Path) -> None:
        made(tmp_path / "x", some((25, 37)))
        x = ga.from_zarr(tmp_path / "x")
        assert ga.from_zarr(str(tmp_path / "." / "x")).node is x.node
        reader = pickle.loads(pickle.dumps(x.node.reader))
        assert reader == x.node.reader
        equal(reader.read(REGIONS[1]), some((25, 37))[slices(REGIONS[1])])
        time.sleep(0.01)
        zarr.open_array(str(tmp_path / "x"), mode="r+").update_attributes({"a": 1})
        assert ga.from_zarr(tmp_path / "x").node is not x.node


def metadata(folder: Path, **changes: Any) -> None:
    file = folder / "zarr.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def grid(*chunk: int) -> dict[str, Any]:
    return {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}}}


DAMAGE: dict[str, Any] = {
    "chunk 0": lambda f: metadata(f, **grid(0, 10)),
    "negative chunk": lambda f: metadata(f, **grid(-1, 10)),
    "chunk of one axis": lambda f: metadata(f, **grid(10)),
    "huge shape": lambda f: metadata(f, shape=[10**30, 3]),
    "shape beyond 64 bits": lambda f: metadata(f, shape=[2**40, 2**40]),
    "negative shape": lambda f: metadata(f, shape=[-1, 3]),
    "shape of text": lambda f: metadata(f, shape=["a", 3]),
    "unknown dtype": lambda f: metadata(f, data_type="float1024"),
    "unknown codec": lambda f: metadata(f, codecs=[{"name": "nope"}]),
    "no codecs": lambda f: metadata(f, codecs=[]),
    "bad fill value": lambda f: metadata(f, fill_value="abc"),
    "other format": lambda f: metadata(f, zarr_format=17),
    "deep json": lambda f: (f / "zarr.json").write_text("[" * 200_000),
    "no json": lambda f: (f / "zarr.json").write_text("hello"),
    "binary": lambda f: (f / "zarr.json").write_bytes(b"\xff\xfe\x00" * 100),
    "empty": lambda f: (f / "zarr.json").write_text(""),
    "a list": lambda f: (f / "zarr.json").write_text("[]"),
}


class TestDamage:
    @pytest.mark.parametrize("what", DAMAGE)
    def test_metadata(self, tmp_path: Path, what: str) -> None:
        made(tmp_path / "x", some((25, 37)))
        DAMAGE[what](tmp_path / "x")
        with pytest.raises(StorageError) as caught:
            ga.from_zarr(tmp_path / "x")
        assert str(tmp_path / "x") in str(caught.value)
        assert len(str(caught.value)) < 600

    def test_huge_metadata(self, tmp_path: Path) -> None:
        made(tmp_path / "x", some((25, 37)))
        os.truncate(tmp_path / "x" / "zarr.json", 1 << 30)
        with pytest.raises(StorageError, match="metadata has at most"):
            ga.from_zarr(tmp_path / "x")

    @pytest.mark.parametrize("kind", ["zstd", "plain", "blosc", "gzip", "v2 zlib", "v2 lz4", "v2", "shards", "v2 bz2"])
    @pytest.mark.parametrize("damage", ["cut", "empty", "other"])
    def test_chunks(self, tmp_path: Path, kind: str, damage: str) -> None:
        stored = made(tmp_path / "x", np.random.default_rng(0).random((25, 37)), **(DIRECT | LIBRARY)[kind])
        file = tmp_path / "x" / stored.metadata.encode_chunk_key((0, 0))
        raw = file.read_bytes()
        file.write_bytes({"cut": raw[:-20], "empty": b"", "other": b"\x07" * len(raw)}[damage])
        if (kind, damage) == ("plain", "other"):
            return  # these are numbers, too
        x = ga.from_zarr(tmp_path / "x")
        with pytest.raises(StorageError, match=r"x.*chunk"):
            x.compute()
        if kind != "shards":
            equal(x[10:, 15:].compute(), stored[10:, 15:])

    @pytest.mark.parametrize("kind", ["zstd", "blosc", "gzip", "v2 zlib", "v2 lz4"])
    @pytest.mark.parametrize("factor", [0.5, 2, 500_000])
    def test_a_chunk_that_decodes_to_another_size(self, tmp_path: Path, kind: str, factor: float) -> None:
        stored = made(tmp_path / "x", some((25, 37)), **DIRECT[kind])
        size = int(480 * factor)
        coder = {
            "zstd": numcodecs.Zstd(),
            "blosc": numcodecs.Blosc(),
            "gzip": numcodecs.GZip(),
            "v2 zlib": numcodecs.Zlib(),
            "v2 lz4": numcodecs.LZ4(),
        }[kind]
        encoded = bytes(coder.encode(np.zeros(size, np.uint8)))
        (tmp_path / "x" / stored.metadata.encode_chunk_key((0, 0))).write_bytes(encoded)
        reader = ga.from_zarr(tmp_path / "x").node.reader

        def read() -> None:
            with pytest.raises(StorageError, match="is damaged"):
                reader.read(REGIONS[0])

        assert least_peak(read) < 4_000_000

    def test_a_chunk_that_is_a_folder_or_a_loop(self, tmp_path: Path) -> None:
        made(tmp_path / "x", some((25, 37)))
        file = tmp_path / "x" / "c" / "0" / "0"
        file.unlink()
        file.mkdir()
        with pytest.raises(StorageError, match="chunk"):
            ga.from_zarr(tmp_path / "x").compute()
        file.rmdir()
        file.symlink_to(file)
        with pytest.raises(StorageError, match="chunk"):
            ga.from_zarr(tmp_path / "x").compute()

    def test_a_chunk_larger_than_memory(self, tmp_path: Path) -> None:
        made(tmp_path / "x", some((25, 37)))
        metadata(tmp_path / "x", **grid(10**6, 10**6))
        with pytest.raises(MemoryLimitError):
            ga.from_zarr(tmp_path / "x").compute()

    def test_paths_that_lead_elsewhere(self, tmp_path: Path) -> None:
        made(tmp_path / "secret", some((25, 37)))
        zarr.open_group(str(tmp_path / "g"), mode="w")
        for path in ("../secret", "a/../../secret", "..\\secret", "./x", "a\0b"):
            with pytest.raises(StorageError, match="leads out of the store"):
                ga.from_zarr(tmp_path / "g", path)
            with pytest.raises(StorageError, match="leads out of the store"):
                ga.ones(3).to_zarr(tmp_path / "g", path)
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        with pytest.raises((StorageError, FileNotFoundError)):
            ga.from_zarr(tmp_path / "loop")

    def test_groups_and_nothing(self, tmp_path: Path) -> None:
        group = zarr.open_group(str(tmp_path / "g"), mode="w")
        group.create_array("a/b", shape=(3,), dtype="i4")
        group.create_array("c", shape=(3,), dtype="i4")
        with pytest.raises(StorageError, match=r"is a group.*holds the arrays a/b, c"):
            ga.from_zarr(tmp_path / "g")
        with pytest.raises(FileNotFoundError, match=r"no zarr array at .*holds the arrays a/b, c"):
            ga.from_zarr(tmp_path / "g", "d")
        with pytest.raises(FileNotFoundError, match="no zarr array"):
            ga.from_zarr(tmp_path / "none")
        with pytest.raises(TypeError):
            ga.from_zarr(tmp_path / "g", 3)  # type: ignore[arg-type]

    @pytest.mark.filterwarnings("ignore::UserWarning", "ignore::zarr.errors.ZarrUserWarning")
    @pytest.mark.filterwarnings("ignore:The data type")
    @pytest.mark.parametrize("dtype", ["T", [("a", "i4"), ("b", "f8")]])
    def test_elements_that_no_kernel_takes(self, tmp_path: Path, dtype: Any) -> None:
        kind = np.dtypes.StringDType() if dtype == "T" else np.dtype(dtype)
        zarr.create_array(str(tmp_path / "x"), shape=(3,), chunks=(2,), dtype=kind)
        with pytest.raises(UnsupportedDTypeError, match="x: arrays of dtype"):
            ga.from_zarr(tmp_path / "x")

    def test_no_secrets_in_messages(self) -> None:
        url = "memory://user:pass@word@host/x.zarr?token=abc"
        assert public_name(url) == "memory://host/x.zarr"
        assert public_name(f"no {url} there") == "no memory://host/x.zarr there"
        with pytest.raises((GPUArrayError, OSError, ImportError)) as caught:
            ga.from_zarr(url)
        for secret in ("pass", "word", "abc"):
            assert secret not in str(caught.value)
        assert caught.value.__suppress_context__


class TestWrite:
    @pytest.mark.parametrize("zarr_format", [2, 3])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_round_trip(self, tmp_path: Path, dtype: str, zarr_format: int) -> None:
        for shape in SHAPES:
            array = some(shape, dtype)
            stored = ga.asarray(array, chunks=2).to_zarr(tmp_path / "x", overwrite=True, zarr_format=zarr_format)
            equal(stored.compute(), array)
            equal(np.asarray(zarr.open_array(str(tmp_path / "x"), mode="r")[...]), array)

    @pytest.mark.parametrize(
        "options",
        [
            {"chunks": (7, 9)},
            {"chunks": (7, 9), "shards": (14, 27)},
            {"compressors": None},
            {"zarr_format": 2, "compressors": numcodecs.Blosc()},
            {"compressors": [codecs.ZstdCodec(level=3), codecs.Crc32cCodec()]},
            {"fill_value": 3.0},
            {"dimension_names": ["y", "x"]},
        ],
    )
    def test_options(self, tmp_path: Path, options: dict[str, Any]) -> None:
        array = some((50, 70))
        stored = (ga.asarray(array, chunks=((13, 20, 17), 30)) + 1).to_zarr(tmp_path / "x", **options)
        equal(stored.compute(), array + 1)
        equal(zarr.open_array(str(tmp_path / "x"), mode="r")[...], array + 1)

    def test_chunks_follow_the_array(self, tmp_path: Path) -> None:
        def chunks(x: ga.NDArray, **options: Any) -> tuple[int, ...]:
            x.to_zarr(tmp_path / "x", overwrite=True, **options)
            return tuple(zarr.open_array(str(tmp_path / "x"), mode="r").chunks)

        assert chunks(ga.zeros((50, 70), chunks=(20, 30))) == (20, 30)
        assert chunks(ga.zeros((50, 70), chunks=((13, 20, 17), 30))) == (20, 30)
        assert chunks(ga.zeros((3000, 2000), chunks=-1)) == (750, 1000)
        assert chunks(ga.zeros((50, 70), chunks=20), chunks=(-1, 5)) == (50, 5)
        with pytest.raises(ChunkError, match="equal along an axis"):
            ga.zeros((5, 7)).to_zarr(tmp_path / "y", chunks=((1, 4), 7))
        with pytest.raises(StorageError, match="multiples of the chunks"):
            ga.zeros((5, 7)).to_zarr(tmp_path / "y", chunks=(2, 2), shards=(4, 5))
        assert not (tmp_path / "y").exists()

    def test_every_chunk_is_written_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        written: list[str] = []
        put = zarr.storage.LocalStore.set

        async def set_(self: Any, key: str, value: Any) -> None:
            written.append(key)
            await put(self, key, value)

        monkeypatch.setattr(zarr.storage.LocalStore, "set", set_)
        x = ga.asarray(some((50, 70)) + 1, chunks=((13, 20, 17), 11))
        with config.set(threads=2):
            x.to_zarr(tmp_path / "x", chunks=(8, 16))
        chunks = [k for k in written if "c/" in k]
        assert len(chunks) == len(set(chunks)) == 7 * 5

    def test_chunks_of_the_fill_value_are_not_stored(self, tmp_path: Path) -> None:
        array = np.zeros((4, 4))
        array[0, 0] = -0.0
        array[3, 3] = np.nan
        stored = ga.asarray(array, chunks=2).to_zarr(tmp_path / "x")
        assert sorted(p.parent.name + p.name for p in (tmp_path / "x/c").rglob("*") if p.is_file()) == ["00", "11"]
        assert stored.compute().tobytes() == array.tobytes()

    def test_attributes_and_mark(self, tmp_path: Path) -> None:
        ga.ones(3).to_zarr(tmp_path / "x", attributes={"units": "m"})
        attributes = dict(zarr.open_array(str(tmp_path / "x"), mode="r").attrs)
        assert attributes == {"units": "m", "gpuarray": {"complete": True}}

    def test_into_groups_and_memory(self, tmp_path: Path) -> None:
        ga.ones(3).to_zarr(tmp_path / "g", "a/b")
        ga.zeros(4).to_zarr(tmp_path / "g", "a/c")
        equal(ga.from_zarr(tmp_path / "g", "a/b").compute(), np.ones(3))
        assert sorted(zarr.open_group(str(tmp_path / "g"), mode="r")["a"].array_keys()) == ["b", "c"]
        store = zarr.storage.MemoryStore()
        equal(ga.ones(3).to_zarr(store, "x").compute(), np.ones(3))
        with pytest.raises(FileExistsError):
            ga.ones(3).to_zarr(store, "x")
        ga.zeros(3).to_zarr(store, "x", overwrite=True)
        equal(store and ga.from_zarr(store, "x").compute(), np.zeros(3))

    def test_what_is_there_is_kept(self, tmp_path: Path) -> None:
        made(tmp_path / "x", some((25, 37)))
        zarr.open_group(str(tmp_path / "g"), mode="w").create_array("a", shape=(3,), dtype="i4")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.txt").write_text("years")
        (tmp_path / "file").write_text("x")
        with pytest.raises(FileExistsError, match="overwrite=True"):
            ga.ones(3).to_zarr(tmp_path / "x")
        for folder in ("g", "mine", "file"):
            with pytest.raises(FileExistsError):
                ga.ones(3).to_zarr(tmp_path / folder, overwrite=True)
        with pytest.raises(FileExistsError):
            ga.ones(3).to_zarr(zarr.storage.LocalStore(tmp_path / "mine"), overwrite=True)
        assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"
        assert list(zarr.open_group(str(tmp_path / "g"), mode="r").array_keys()) == ["a"]
        (tmp_path / "empty").mkdir()
        ga.ones(3).to_zarr(tmp_path / "empty")

    def test_a_damaged_array_can_be_replaced(self, tmp_path: Path) -> None:
        made(tmp_path / "x", some((25, 37)))
        (tmp_path / "x" / "zarr.json").write_text("{")
        equal(ga.ones(3).to_zarr(tmp_path / "x", overwrite=True).compute(), np.ones(3))

    def test_onto_what_it_reads(self, tmp_path: Path) -> None:
        array = some((25, 37))
        made(tmp_path / "g" / "x", array)
        x = ga.from_zarr(tmp_path / "g" / "x")
        os.symlink(tmp_path / "g", tmp_path / "h")
        for target in ((tmp_path / "g" / "x", None), (tmp_path / "h", "x"), (tmp_path / "h" / "x", "")):
            with pytest.raises(StorageError, match="is also read by the computation"):
                (x + 1).to_zarr(*target, overwrite=True)
        equal(x.compute(), array)
        (x + 1).to_zarr(tmp_path / "g" / "y")
        assert sorted(os.listdir(tmp_path / "g")) == ["x", "y"]
        local = zarr.storage.LocalStore(tmp_path / "g")
        for store in (local, zarr.storage.StorePath(local, "x")):
            with pytest.raises(StorageError, match="is also read by the computation"):
                (x + 1).to_zarr(store, "x" if store is local else None, overwrite=True)
        memory = zarr.storage.MemoryStore()
        y = x.to_zarr(memory, "y")
        with pytest.raises(StorageError, match="is also read by the computation"):
            (y + 1).to_zarr(memory, "y", overwrite=True)

    def test_urls(self, tmp_path: Path) -> None:
        pytest.importorskip("fsspec")
        url = f"file://{tmp_path}/x"
        options = {"auto_mkdir": True}
        x = ga.asarray(some((25, 37)), chunks=10).to_zarr(url, storage_options=options)
        equal(x.compute(), some((25, 37)))
        equal(ga.from_zarr(tmp_path / "x").compute(), some((25, 37)))
        with pytest.raises(FileExistsError):
            x.to_zarr(url, storage_options=options)
        with pytest.raises(StorageError, match="is also read by the computation"):
            (x + 1).to_zarr(url, overwrite=True, storage_options=options)

    def test_without_zarr(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "zarr", None)
        with pytest.raises(ImportError, match=r"gpuarray-engine\[io\]"):
            ga.from_zarr(tmp_path / "x")
        with pytest.raises(ImportError, match=r"gpuarray-engine\[io\]"):
            ga.ones(3).to_zarr(tmp_path / "x")

    def test_a_plan_that_does_not_fit_touches_nothing(self, tmp_path: Path) -> None:
        made(tmp_path / "x", some((25, 37)))
        y = ga.map_blocks(np.sort, ga.ones((1000, 1000), chunks=1000), dtype=float)
        with config.set(host_memory="1 MiB"), pytest.raises(MemoryLimitError):
            y.to_zarr(tmp_path / "x", overwrite=True)
        equal(ga.from_zarr(tmp_path / "x").compute(), some((25, 37)))

    def test_compute_false(self, tmp_path: Path) -> None:
        pending = ga.arange(3).to_zarr(tmp_path / "x", compute=False)
        assert not (tmp_path / "x").exists()
        equal(pending.compute().compute(), np.arange(3))

    @pytest.mark.parametrize("options", [{}, {"compressors": None}, {"shards": (1024, 1024)}, {"zarr_format": 2}])
    def test_memory_is_no_more_than_counted(self, tmp_path: Path, options: dict[str, Any]) -> None:
        from gpuarray.storage.zarr_sink import NewZarrSink

        array = np.asfortranarray(np.random.default_rng(0).random((2048, 1024)))
        given = {"compressors": "auto", "zarr_format": 3, "fill_value": 0, **options}
        shards = given.pop("shards", None)
        place = str(tmp_path / "x")
        sink = NewZarrSink(place, place, "", array.shape, array.dtype, (512, 512), shards, False, given, None)
        sink.begin()
        sink.write(whole(array.shape), array)
        peak = least_peak(lambda: sink.write(whole(array.shape), array))
        sink.commit()
        assert peak <= sink.write_nbytes
        assert sink.inner is not None
        assert peak <= sink.inner.write_nbytes
        equal(ga.from_zarr(place).compute(), array)


class TestInterrupted:
    def test_a_failing_task_leaves_a_mark(self, tmp_path: Path) -> None:
        def fail(block: np.ndarray) -> np.ndarray:
            raise ZeroDivisionError("on purpose")

        y = ga.map_blocks(fail, ga.ones((100, 100), chunks=50), dtype=float)
        with pytest.raises(ZeroDivisionError):
            y.to_zarr(tmp_path / "x")
        with pytest.raises(IncompleteStoreError, match="overwrite=True"):
            ga.from_zarr(tmp_path / "x")
        assert ga.from_zarr(tmp_path / "x", allow_incomplete=True).shape == (100, 100)
        with pytest.raises(FileExistsError, match="never finished"):
            ga.ones((100, 100)).to_zarr(tmp_path / "x")
        equal(ga.ones((100, 100)).to_zarr(tmp_path / "x", overwrite=True).compute(), np.ones((100, 100)))

    @pytest.mark.parametrize("zarr_format", [2, 3])
    def test_kill_9(self, tmp_path: Path, zarr_format: int) -> None:
        code = f"""
            import time
            import numpy as np, gpuarray as ga
            def slow(block):
                time.sleep(0.05)
                return block
            x = ga.map_blocks(slow, ga.ones((1000, 1000), chunks=50), dtype=float)
            x.to_zarr({str(tmp_path / "x")!r}, zarr_format={zarr_format})
            """
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
        try:
            end = time.monotonic() + 180
            while len([p for p in (tmp_path / "x").rglob("*") if p.is_file()]) < 12:
                assert time.monotonic() < end
                assert process.poll() is None
                time.sleep(0.01)
        finally:
            process.kill()
            assert process.wait() == -signal.SIGKILL
        with pytest.raises(IncompleteStoreError, match="never finished"):
            ga.from_zarr(tmp_path / "x")
        equal(ga.ones((1000, 1000)).to_zarr(tmp_path / "x", overwrite=True).compute(), np.ones((1000, 1000)))

    def test_ctrl_c_stops_a_task_that_writes_very_many_chunks(self, tmp_path: Path) -> None:
        class Interrupting(zarr.storage.LocalStore):
            async def set(self, key: str, value: Any) -> None:
                if key == "c/100":
                    os.kill(os.getpid(), signal.SIGINT)
                await super().set(key, value)

        with pytest.raises(KeyboardInterrupt):
            ga.ones(30_000, chunks=1).to_zarr(Interrupting(tmp_path / "x"), chunks=1)
        assert sum(1 for _ in os.scandir(tmp_path / "x" / "c")) < 15_000
        with pytest.raises(IncompleteStoreError):
            ga.from_zarr(tmp_path / "x")

    def test_a_full_disk(self, tmp_path: Path) -> None:
        code = f"""
            import resource
            import gpuarray as ga
            from gpuarray.errors import GPUArrayError, IncompleteStoreError
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
            place = {str(tmp_path / "x")!r}
            try:
                ga.random.default_rng(0).random((1000, 1000), chunks=300).to_zarr(place)
            except GPUArrayError as error:
                assert isinstance(error, OSError) and error.errno, error
                print(error)
            try:
                ga.from_zarr(place)
            except IncompleteStoreError:
                print("marked")
            """
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
        assert f"writing {tmp_path / 'x'} failed: File too large. What is there is incomplete" in done.stdout
        assert "marked" in done.stdout
        assert not list(tmp_path.rglob("*.partial"))


class TestStore:
    def test_into_a_region_of_a_zarr_array(self, tmp_path: Path) -> None:
        array = some((50, 70)) + 1
        x = ga.asarray(array, chunks=(20, 30))
        for options in ({}, {"shards": (32, 32)}):
            target = zarr.create_array(
                str(tmp_path / "x"), shape=(60, 80), chunks=(16, 16), dtype="f8", overwrite=True, **options
            )
            with config.set(threads=4):
                ga.store(x, target, np.s_[3:53, 5:75])
            wanted = np.zeros((60, 80))
            wanted[3:53, 5:75] = array
            equal(target[...], wanted)
            ga.store(x[:, 0], target, np.s_[5:55, 2])
            wanted[5:55, 2] = array[:, 0]
            equal(target[...], wanted)
            ga.store(x[:10, :9], target, np.s_[0:50:5, -80::9])
            wanted[0:50:5, ::9] = array[:10, :9]
            equal(target[...], wanted)

    def test_units_are_the_chunks_that_are_touched(self) -> None:
        for n in range(0, 14):
            for start in range(6):
                for step in (1, 2, 3, 7):
                    r = range(start, start + n * step, step)
                    units = written_units(r, 4)
                    assert sum(units) == n
                    owners = [{p // 4 for p in r[units.edge(k) : units.edge(k + 1)]} for k in range(len(units))]
                    assert all(len(o) == 1 for o in owners) or n == 0
                    assert len(set.union(*owners)) == len(units) or n == 0

    def test_several_at_once_into_one_chunk(self, tmp_path: Path) -> None:
        target = zarr.create_array(str(tmp_path / "x"), shape=(40, 30), chunks=(40, 30), dtype="f8")
        x = ga.asarray(some((40, 30)), chunks=5)
        regions = [np.s_[:, k : k + 5] for k in range(0, 30, 5)]
        with config.set(threads=4):
            ga.store([x[:, k : k + 5] for k in range(0, 30, 5)], [target] * 6, regions)
        equal(target[...], some((40, 30)))

    def test_into_numpy_hdf5_and_anything(self, tmp_path: Path) -> None:
        h5py = pytest.importorskip("h5py")
        array = some((6, 8))
        x = ga.asarray(array, chunks=3)
        first, second, third = np.zeros((6, 8)), np.zeros((8, 8), "f4"), np.zeros(8)
        with h5py.File(tmp_path / "x.h5", "w") as file:
            data = file.create_dataset("d", (6, 8), "f8")
            ga.store(
                [x, x + 1, x.sum(axis=0), x * 2], [first, second, third, data], [None, np.s_[1:7], ..., np.s_[:, :]]
            )
            equal(data[...], array * 2)
        equal(first, array)
        equal(second[1:7], (array + 1).astype("f4"))
        assert not second[0].any()
        equal(third, array.sum(axis=0))

    def test_what_does_not_fit(self, tmp_path: Path) -> None:
        target = made(tmp_path / "x", some((25, 37)))
        x = ga.ones((25, 37))
        with pytest.raises(ValueError, match="does not fit a region of shape"):
            ga.store(x[1:], target)
        with pytest.raises(TypeError, match="cannot be stored as int32"):
            ga.store(x, np.zeros((25, 37), "i4"))
        with pytest.raises(TypeError, match="has no shape"):
            ga.store(x, {})
        with pytest.raises(ValueError, match="targets"):
            ga.store([x, x], [target])
        with pytest.raises(IndexError, match="backwards"):
            ga.store(x, target, np.s_[::-1])
        with pytest.raises(IndexError, match="slices and integers"):
            ga.store(x, target, [[0, 1]])
        with pytest.raises(IndexError, match="2 dimensions"):
            ga.store(x, target, np.s_[:, :, :])
        with pytest.raises(StorageError, match="is also read"):
            ga.store(ga.from_zarr(target) + 1, target)
        mine = np.ones((25, 37))
        with pytest.raises(ValueError, match="also read by the sources"):
            ga.store(ga.asarray(mine) + 1, mine)
        with pytest.raises(ValueError, match="shares memory"):
            ga.store([x, x], [mine, mine])
        mine.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            ga.store(x, mine)
        equal(target[...], some((25, 37)))


class TestZstdHeader:
    @pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_791, 65_792, 10**6])
    def test_the_size_is_read(self, size: int) -> None:
        encoded = numcodecs.Zstd().encode(np.zeros(size, np.uint8)) if size else numcodecs.Zstd().encode(b"")
        assert zstd_content_size(bytes(encoded)[:18]) == size

    @pytest.mark.parametrize("head", [b"", b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\xe0\x01", b"\0" * 18])
    def test_damaged_headers(self, head: bytes) -> None:
        with pytest.raises(ValueError, match="zstd"):
            zstd_content_size(head)


MEASURE = """
import sys, threading, time
import numpy as np, psutil, zarr
import gpuarray as ga
folder, limit = sys.argv[1], int(sys.argv[2])
process = psutil.Process()
def run(x, name):
    with ga.config.set(host_memory=limit, threads=2):
        return (x + 1).to_zarr(f"{folder}/{name}")
x = ga.from_zarr(f"{folder}/in")
run(x[:256, :256], "small")  # what is imported and compiled is no data
before = peak = process.memory_info().rss
done = threading.Event()
def watch():
    global peak
    while not done.wait(0.002):
        peak = max(peak, process.memory_info().rss)
watcher = threading.Thread(target=watch)
watcher.start()
run(x, "out")
done.set()
watcher.join()
print(peak - before)
"""


@pytest.mark.slow
class TestResidentMemory:
    def test_a_store_larger_than_the_limit(self, tmp_path: Path) -> None:
        n, limit = 7168, 100 << 20
        stored = zarr.create_array(str(tmp_path / "in"), shape=(n, n), chunks=(1024, 512), dtype="f8", compressors=None)
        rng = np.random.default_rng(0)
        for k in range(0, n, 1024):
            stored[k : k + 1024] = rng.random((1024, n))
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(tmp_path), str(limit)], capture_output=True, text=True, check=True
        )
        assert int(done.stdout) <= 1.1 * limit
        out = zarr.open_array(str(tmp_path / "out"), mode="r")
        for k in range(0, n, 1024):
            np.testing.assert_array_equal(out[k : k + 1024], stored[k : k + 1024] + 1)


@pytest.mark.parametrize("zarr_format", [1, 4, "3", None])
def test_formats_that_there_are_not(tmp_path: Path, zarr_format: Any) -> None:
    with pytest.raises(StorageError, match=f"zarr_format={zarr_format!r}.*write 3 or 2"):
        ga.ones(3).to_zarr(tmp_path / "x", zarr_format=zarr_format)
    assert not (tmp_path / "x").exists()


def test_an_array_is_no_store(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "x", shape=(3,), dtype="f8")
    with pytest.raises(StorageError, match=r"is an array already; gpuarray.store"):
        ga.ones(3).to_zarr(array, overwrite=True)


def test_a_refusal_says_what_the_chunks_of_the_file_have_to_do_with_it(tmp_path: Path) -> None:
    x = ga.sort(ga.random.default_rng(0).random((4000, 400), chunks=(400, 400)), axis=0)
    with ga.config.set(host_memory="16 MiB"):
        with pytest.raises(ga.errors.MemoryLimitError) as caught:
            x.to_zarr(tmp_path / "whole.zarr")
        assert "whole chunks of the file, (400, 400) elements; to_zarr(chunks=)" in caught.value.__notes__[0]
        x.to_zarr(tmp_path / "x.zarr", chunks=(1000, 20))
    assert (ga.from_zarr(tmp_path / "x.zarr") == x).all()
