"""The common kind of zarr chunk, a file in a folder with one well-known codec, read without the zarr library.

One call of the library costs some 300 us and its copies pass through one thread; a file that is read and decoded where
it is wanted costs a tenth of that. Every size is compared with what the metadata says before memory is asked for, so a
small file cannot decode to a huge chunk.
"""

from __future__ import annotations

import itertools
import math
import os
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray import recycled
from gpuarray.cluster.gds import Run
from gpuarray.errors import StorageError
from gpuarray.graph.grid import Lengths, Region, as_slices
from gpuarray.storage.region_io import offset_of, read_exactly, read_region

Array = np.ndarray[Any, Any]
Decode = Callable[[Array, int, Array | None], Array]
"""Decode bytes to as many as are expected, into the array that is given if the codec can; any exception means that
the chunk is damaged."""


class LocalChunks:
    """The chunk files of one array.

    Parameters
    ----------
    folder : the array's folder
    key : a chunk's file in it
    stored : dtype in the file
    order : "C" or "F", how a chunk's elements lie in the file
    decode : decompression, None where there is none
    """

    def __init__(
        self,
        folder: str,
        key: Callable[[tuple[int, ...]], str],
        chunk: tuple[int, ...],
        shape: tuple[int, ...],
        stored: np.dtype[Any],
        order: str,
        fill: Any,
        decode: Decode | None,
    ) -> None:
        self.folder, self.key, self.chunk, self.stored, self.order = folder, key, chunk, stored, order
        self.fill, self.decode = fill, decode
        self.cut = tuple(Lengths.regular(n, c) for n, c in zip(shape, chunk, strict=True))
        self.copies = 3 if decode is _deflate else 2
        """Chunks' worth of memory that reading one takes for a while."""
        self.size = int(np.prod(chunk, dtype=object)) * stored.itemsize

    def read(self, region: Region, out: np.ndarray[Any, Any], name: str) -> None:
        """Fill `out` with a region, one chunk after the other."""
        for index in itertools.product(*(c.touched(r) for c, r in zip(self.cut, region, strict=True))):
            inside, at = [], []
            for k, side, r in zip(index, self.chunk, region, strict=True):
                lo = max(0, -(-(k * side - r.start) // r.step))
                hi = min(len(r), -(-((k + 1) * side - r.start) // r.step))
                part = r[lo:hi]
                inside.append(range(part.start - k * side, part.stop - k * side, part.step))
                at.append(slice(lo, hi))
            target = out[tuple(at)] if at else out
            if target.size:
                self._fill(index, tuple(inside), target, name)

    def runs(self, region: Region, name: str) -> list[Run] | None:
        """Where a region lies in the files, if piece after piece and in native bytes; None if a file is missing."""
        found = []
        if self.decode is not None or self.order != "C" or not self.stored.isnative or not all(region):
            return None
        touched = [list(c.touched(r)) for c, r in zip(self.cut, region, strict=True)]
        if any(len(t) > 1 for t in touched[1:]) or region[0].step != 1:
            return None
        for index in itertools.product(*touched):
            sides = zip(index, self.chunk, region, strict=True)
            inside = [range(r.start - k * n, r.stop - k * n, r.step) for k, n, r in sides]
            inside[0] = range(max(0, inside[0].start), min(self.chunk[0], inside[0].stop))
            offset = offset_of(self.chunk, tuple(inside))
            file = os.path.join(self.folder, self.key(index))
            if offset is None or not os.path.isfile(file):
                return None
            self._check(os.path.getsize(file), index, name, file)
            count = math.prod(map(len, inside))
            found.append((file, offset * self.stored.itemsize, count * self.stored.itemsize))
        return found

    def _fill(self, index: tuple[int, ...], inside: Region, target: np.ndarray[Any, Any], name: str) -> None:
        file = os.path.join(self.folder, self.key(index))
        try:
            fd = os.open(file, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except (FileNotFoundError, NotADirectoryError):
            target[...] = self.fill
            return
        except OSError as error:
            raise StorageError(f"{name}: chunk {index} cannot be read: {error.strerror} ({file})") from None
        try:
            size = os.fstat(fd).st_size
            straight = self._straight(inside, target)
            if self.decode is None:
                self._check(size, index, name, file)
                if straight is not None:
                    read_exactly(fd, straight.data, 0, file)
                else:
                    target[...] = self._plain(fd, inside, file)
            elif straight is not None:
                decoded = self._decoded(fd, size, index, straight, name, file)
                if decoded is not straight:
                    straight[...] = decoded
            else:
                decoded = self._decoded(fd, size, index, None, name, file)
                chunk = decoded.view(self.stored).reshape(self.chunk, order="C" if self.order == "C" else "F")
                target[...] = chunk[as_slices(inside) or ...]
        except OSError as error:
            raise StorageError(f"{name}: chunk {index} cannot be read: {error.strerror} ({file})") from None
        finally:
            os.close(fd)

    def _straight(self, inside: Region, target: np.ndarray[Any, Any]) -> Array | None:
        """The bytes of the target where a whole chunk lies in it as in its file, so that it can be read into place."""
        if self.order != "C" or target.dtype != self.stored or not target.flags.c_contiguous or not target.ndim:
            return None
        if any(r != range(side) for r, side in zip(inside, self.chunk, strict=True)):
            return None
        return target.reshape(-1).view(np.uint8)

    def _check(self, size: int, index: tuple[int, ...], name: str, file: str) -> None:
        if size != self.size:
            raise StorageError(
                f"{name}: chunk {index} is damaged: it has {size} bytes, chunks of shape {self.chunk} and dtype "
                f"{self.stored} have {self.size} ({file})"
            )

    def _plain(self, fd: int, inside: Region, file: str) -> np.ndarray[Any, Any]:
        if self.order == "C":
            return read_region(fd, 0, self.chunk, inside, self.stored, file)
        return read_region(fd, 0, self.chunk[::-1], inside[::-1], self.stored, file).T

    def _decoded(self, fd: int, size: int, index: tuple[int, ...], into: Array | None, name: str, file: str) -> Array:
        if size > self.size + self.size // 8 + 65536:
            raise StorageError(f"{name}: chunk {index} is damaged: {size} bytes encode {self.size} ({file})")
        encoded = recycled.empty((size,), np.dtype(np.uint8))
        read_exactly(fd, encoded.data, 0, file)
        assert self.decode is not None
        try:
            return self.decode(encoded, self.size, into)
        except Exception as error:
            raise StorageError(f"{name}: chunk {index} is damaged: {str(error)[:200]} ({file})") from None


def local_chunks(array: Any) -> LocalChunks | None:
    """A direct way to the chunks of a `zarr.Array`, or None where it is not of the common kind."""
    store = array.store
    if type(store).__name__ != "LocalStore" or type(store).__module__ != "zarr.storage._local":
        return None
    if array.shards is not None:
        return None
    metadata = array.metadata
    found = _codec_v2(metadata) if metadata.zarr_format == 2 else _codec_v3(metadata)
    if found is None:
        return None
    decode, stored, order = found
    fill = metadata.fill_value if metadata.fill_value is not None else np.zeros((), stored)[()]
    folder = os.path.join(os.path.realpath(store.root), array.path)
    return LocalChunks(folder, metadata.encode_chunk_key, array.chunks, array.shape, stored, order, fill, decode)


_Found = tuple[Decode | None, np.dtype[Any], str]


def _codec_v2(metadata: Any) -> _Found | None:
    dtype = metadata.dtype.to_native_dtype()
    if metadata.filters or dtype.kind not in "biufcMm":
        return None
    if metadata.compressor is None:
        return None, dtype, metadata.order
    decode = _DECODERS.get(metadata.compressor.codec_id)
    return None if decode is None else (decode, dtype, metadata.order)


def _codec_v3(metadata: Any) -> _Found | None:
    described = [codec.to_dict() for codec in metadata.codecs]
    dtype = metadata.data_type.to_native_dtype()
    if not described or described[0]["name"] != "bytes" or len(described) > 2 or dtype.kind not in "biufcMm":
        return None
    endian = described[0].get("configuration", {}).get("endian")
    if endian is not None:
        dtype = dtype.newbyteorder("<" if endian == "little" else ">")
    if len(described) == 1:
        return None, dtype, "C"
    decode = _DECODERS.get(described[1]["name"])
    return None if decode is None else (decode, dtype, "C")


def _expect(found: int, expected: int) -> None:
    if found != expected:
        raise ValueError(f"it decodes to {found} bytes, {expected} are expected")


def _room(nbytes: int, into: Array | None) -> Array:
    return recycled.empty((nbytes,), np.dtype(np.uint8)) if into is None else into


def _zstd(encoded: Array, nbytes: int, into: Array | None) -> Array:
    from numcodecs import zstd

    size = zstd_content_size(bytes(encoded[:18]))
    if size is None:  # a frame written as a stream: its size is known when it is decoded
        decoded = np.frombuffer(zstd.decompress(encoded), np.uint8)
        _expect(decoded.size, nbytes)
        return decoded
    _expect(size, nbytes)
    out = _room(nbytes, into)
    zstd.decompress(encoded, out)
    return out


def zstd_content_size(head: bytes) -> int | None:
    """The decoded size that a zstd frame declares (RFC 8878, 3.1.1.1), None where it declares none."""
    if head[:4] != b"\x28\xb5\x2f\xfd" or len(head) < 6:
        raise ValueError("it is no zstd frame")
    descriptor = head[4]
    flag, single = descriptor >> 6, descriptor >> 5 & 1
    if flag == 0 and not single:
        return None
    start = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3]
    width = (1, 2, 4, 8)[flag]
    field = head[start : start + width]
    if len(field) < width:
        raise ValueError("its zstd header is cut off")
    return int.from_bytes(field, "little") + (256 if flag == 1 else 0)


def _blosc(encoded: Array, nbytes: int, into: Array | None) -> Array:
    from numcodecs import blosc

    if len(encoded) < 16 or int.from_bytes(bytes(encoded[12:16]), "little") > len(encoded):
        raise ValueError("its blosc data is cut off")
    _expect(int.from_bytes(bytes(encoded[4:8]), "little"), nbytes)
    out = _room(nbytes, into)
    blosc.decompress(encoded, out)
    return out


def _lz4(encoded: Array, nbytes: int, into: Array | None) -> Array:
    from numcodecs import lz4

    _expect(int.from_bytes(bytes(encoded[:4]), "little"), nbytes)
    out = _room(nbytes, into)
    lz4.decompress(encoded, out)
    return out


def _deflate(encoded: Array, nbytes: int, into: Array | None) -> Array:
    decoder = zlib.decompressobj(wbits=47)  # the header says whether it is gzip or zlib
    decoded = np.frombuffer(decoder.decompress(encoded.data, nbytes + 1), np.uint8)
    if not decoder.eof and decoded.size <= nbytes:
        raise ValueError("it is cut off")
    _expect(decoded.size, nbytes)
    return decoded


_DECODERS: dict[str, Decode] = {"zstd": _zstd, "blosc": _blosc, "lz4": _lz4, "gzip": _deflate, "zlib": _deflate}
