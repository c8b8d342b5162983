"""`.npy` files: read in regions, written in regions, never held whole."""

from __future__ import annotations

import io
import os
import stat
import struct
from pathlib import Path
from typing import Any

import numpy as np

from gpuarray import recycled
from gpuarray.array import NDArray, asarray
from gpuarray.chunking import Chunks as ChunksLike
from gpuarray.chunking import normalize_chunks
from gpuarray.cluster.gds import Run
from gpuarray.errors import StorageError, StorageWriteError
from gpuarray.graph.grid import Region, Shape, nbytes, shape_of, size_of
from gpuarray.graph.leaves import Source
from gpuarray.graph.select import Select
from gpuarray.storage.common import (
    PathLike,
    Pending,
    Place,
    StorageSink,
    as_path,
    check_shape,
    check_stored_dtype,
    write_all,
)
from gpuarray.storage.region_io import (
    disk_nbytes,
    offset_of,
    read_exactly,
    read_region_into,
    transient_nbytes,
    write_region,
)

MAX_HEADER = 1 << 20
"""Bytes of header beyond which a file is taken for damaged; NumPy itself writes a few hundred."""

Stamp = tuple[int, int, int]
"""Inode, bytes and time of the last change of a file."""


class NpyReader:
    """The data of a `.npy` file, in the order in which it lies there. Readers of one unchanged file are equal."""

    in_memory = False
    in_pieces = True

    def __init__(self, path: str, start: int, shape: Shape, dtype: np.dtype[Any], stamp: Stamp, strict: bool) -> None:
        self.path, self.start, self.shape, self.dtype, self.stamp = path, start, shape, dtype, stamp
        self.strict = strict
        """Whether the file must not have changed at all. Another machine may see a copy of its own."""
        self.name = os.path.basename(path)
        self.place = Place(path)

    def _key(self) -> tuple[Any, ...]:
        return self.path, self.start, self.shape, self.dtype.str, self.stamp

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NpyReader) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple[Any, ...]:
        return NpyReader, (self.path, self.start, self.shape, self.dtype, self.stamp, False)

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        out = recycled.empty(shape_of(region), self.dtype.newbyteorder("="))
        self.read_into(region, out)
        return out

    def read_into(self, region: Region, out: np.ndarray[Any, Any]) -> None:
        """Read a region into an array in C order."""
        fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            self._check(os.fstat(fd))
            read_region_into(fd, self.start, self.shape, region, out.view(self.dtype), self.path)
        finally:
            os.close(fd)
        if not self.dtype.isnative:
            out.byteswap(inplace=True)

    def runs(self, region: Region) -> list[Run] | None:
        """Where a region lies in the file, if in one piece and native bytes."""
        offset = offset_of(self.shape, region)
        if offset is None or not self.dtype.isnative:
            return None
        self._check(os.stat(self.path))
        return [(self.path, self.start + offset * self.dtype.itemsize, nbytes(region, self.dtype))]

    def _check(self, found: os.stat_result) -> None:
        changed = stamp_of(found) != self.stamp if self.strict else found.st_size != self.stamp[1]
        if changed:
            raise StorageError(
                f"{self.path} was changed after it was opened (it had {self.stamp[1]} bytes, it has {found.st_size}); "
                "call from_npy again"
            )

    def read_nbytes(self, region: Region) -> int:
        return nbytes(region, self.dtype) + transient_nbytes(self.shape, self.dtype.itemsize, region)

    def disk_nbytes(self, region: Region) -> int:
        return disk_nbytes(self.shape, self.dtype.itemsize, region)


def stamp_of(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_size, found.st_mtime_ns


def from_npy(path: PathLike, chunks: ChunksLike = "auto") -> NDArray:
    """A lazy array of a `.npy` file; only its header is read now.

    >>> import tempfile, numpy as np, gpuarray as ga
    >>> path = tempfile.mkdtemp() + "/x.npy"
    >>> np.save(path, np.arange(6).reshape(2, 3))
    >>> ga.from_npy(path)[1].compute()
    array([3, 4, 5])

    Tasks read the regions they need; the file is neither copied whole nor mapped. It must not change while arrays
    made from it are computed. A file in Fortran order is read as the transpose of one in C order.

    Parameters
    ----------
    path : the file
    chunks : as in `NDArray.rechunk`

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    StorageError
        if it is no `.npy` file, is truncated or too long, or was changed since it was opened.
    UnsupportedDTypeError
        if it has Python objects (they are never unpickled) or records.
    """
    where = os.path.realpath(as_path(path, "from_npy"))
    start, shape, fortran, dtype, stamp = read_header(where)
    stored = shape[::-1] if fortran else shape
    native = dtype.newbyteorder("=")
    cut = normalize_chunks(chunks, shape, native)
    reader = NpyReader(where, start, stored, dtype, stamp, True)
    source = Source(reader, stored, native, cut[::-1] if fortran else cut)
    if not fortran:
        return NDArray(source)
    return NDArray(Select(shape, tuple((len(shape) - 1 - a, range(n)) for a, n in enumerate(stored)), source))


def read_header(path: str) -> tuple[int, Shape, bool, np.dtype[Any], Stamp]:
    """Where the data begins, its shape, whether it is in Fortran order, its dtype; checked against the file's size."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for ever
        raise StorageError(f"{path} is no regular file; from_npy reads .npy files")
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        stamp = stamp_of(os.fstat(fd))
        head = bytearray(min(stamp[1], 12))
        read_exactly(fd, memoryview(head), 0, path)
        start = _data_start(bytes(head), stamp[1], path)
        text = bytearray(start)
        read_exactly(fd, memoryview(text), 0, path)
    finally:
        os.close(fd)
    shape, fortran, dtype = _parse(bytes(text), path)
    if dtype.hasobject:
        raise StorageError(
            f"{path} holds Python objects (dtype {dtype}), which are never unpickled; "
            "save an array of numbers: numpy.save(path, x.astype(float))"
        )
    check_stored_dtype(dtype, path)
    shape = check_shape(shape, dtype, path)
    expected = start + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if expected != stamp[1]:
        wrong = "is truncated" if stamp[1] < expected else "has trailing bytes"
        raise StorageError(
            f"{path} {wrong}: an array of shape {shape} and dtype {dtype} takes {expected} bytes with its header, "
            f"the file has {stamp[1]}; write it again"
        )
    return start, shape, fortran, dtype, stamp


def _data_start(head: bytes, size: int, path: str) -> int:
    if head[:6] != b"\x93NUMPY":
        found = f"begins with {head[:6]!r}" if head else "is empty"
        hint = " (a .npz archive: unpack it first)" if head[:2] == b"PK" else ""
        raise StorageError(f"{path} is no .npy file: it {found}{hint}, a .npy file begins with b'\\x93NUMPY'")
    version = tuple(head[6:8])
    if version not in ((1, 0), (2, 0), (3, 0)) or len(head) < (10 if version == (1, 0) else 12):
        raise StorageError(f"{path}: the .npy format version {version} is not known; there are 1.0, 2.0 and 3.0")
    width = 2 if version == (1, 0) else 4
    length = struct.unpack("<H" if width == 2 else "<I", head[8 : 8 + width])[0]
    start = 8 + width + length
    if length > MAX_HEADER or start > size:
        raise StorageError(
            f"{path} is damaged: its header claims {length} bytes, the file has {size} "
            f"(a header has at most {MAX_HEADER})"
        )
    return int(start)


def _parse(text: bytes, path: str) -> tuple[Any, bool, np.dtype[Any]]:
    stream = io.BytesIO(text)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream, max_header_size=MAX_HEADER)
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError, OverflowError) as error:
        raise StorageError(f"{path}: its .npy header cannot be read: {str(error)[:200]}") from None
    return shape, bool(fortran), dtype


class NpySink(StorageSink):
    """A `.npy` file that is written under a temporary name, region by region, and renamed when it is whole."""

    def __init__(self, path: str, shape: Shape, dtype: np.dtype[Any], overwrite: bool) -> None:
        import uuid

        self.name = self.path = path
        self.shape, self.dtype, self.overwrite = shape, dtype, overwrite
        folder, name = os.path.split(path)
        self.temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:12]}.part")
        self.header = _header(shape, dtype)
        self.mapped = False

    def begin(self) -> None:
        size = len(self.header) + size_of(tuple(range(n) for n in self.shape)) * self.dtype.itemsize
        try:
            fd = os.open(self.temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                self.mapped = _allocate(fd, size)
                os.pwrite(fd, self.header, 0)
            finally:
                os.close(fd)
        except OSError as error:
            raise self._failed(error) from error

    def write(self, region: Region, array: np.ndarray[Any, Any]) -> None:
        if is_blank(array):
            return  # as the new file is
        try:
            fd = os.open(self.temporary, os.O_RDWR)
            try:
                array = array.astype(self.dtype, copy=False)
                write_region(fd, len(self.header), self.shape, region, array, mapped=self.mapped)
            finally:
                os.close(fd)
        except OSError as error:
            raise self._failed(error) from error

    def commit(self) -> None:
        try:
            if not self.overwrite and os.path.lexists(self.path):
                raise FileExistsError(f"{self.path} was made by someone else meanwhile; choose another name")
            sync(self.temporary)
            os.replace(self.temporary, self.path)
            sync(os.path.dirname(self.path))
        except FileExistsError:
            raise
        except OSError as error:
            raise self._failed(error) from error

    def abort(self) -> None:
        Path(self.temporary).unlink(missing_ok=True)

    def _failed(self, error: OSError) -> StorageWriteError:
        size = len(self.header) + size_of(tuple(range(n) for n in self.shape)) * self.dtype.itemsize
        return StorageWriteError(
            f"writing {self.path} ({size} bytes) failed: {error.strerror or error}. Nothing was left there; "
            "make room or choose another folder.",
            error.errno,
        )


def is_blank(array: np.ndarray[Any, Any]) -> bool:
    """Whether all bits are zero; of others, most have some at the ends."""
    if array.itemsize not in (1, 2, 4, 8) or array.dtype.hasobject or not array.size:
        return False
    bits = array.view(f"u{array.itemsize}")
    return not (bits[(0,) * bits.ndim] or bits[(-1,) * bits.ndim] or bits.any())


def _header(shape: Shape, dtype: np.dtype[Any]) -> bytes:
    stream = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue()


def _allocate(fd: int, size: int) -> bool:
    """Take the space now, so that a full disk is told before the work is done. False where that is not possible."""
    try:
        os.posix_fallocate(fd, 0, size)
        return True
    except (AttributeError, OSError) as error:
        import errno

        if isinstance(error, OSError) and error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    os.ftruncate(fd, size)
    return False


def sync(path: str) -> None:
    """Wait until a file or a folder is on the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def to_npy(x: Any, path: PathLike, overwrite: bool = False, compute: bool = True) -> Any:
    """Compute an array into a `.npy` file; return the lazy array that reads it.

    >>> import tempfile, numpy as np, gpuarray as ga
    >>> path = tempfile.mkdtemp() + "/x.npy"
    >>> stored = ga.arange(4).to_npy(path)
    >>> np.load(path)
    array([0, 1, 2, 3])

    The file is written under a temporary name in the same folder, with its space taken before the run starts, and
    renamed at the end: it is there whole or not at all. So it may replace a file that the computation reads.

    Parameters
    ----------
    path : the file; its folder must exist
    overwrite : replace a file that is there
    compute : False returns an object whose `compute()` does the work

    Raises
    ------
    FileExistsError
        if the file is there and `overwrite` is False.
    StorageWriteError
        if it cannot be written: no space, no permission. It is a StorageError and an OSError.
    """
    array = asarray(x)
    where = os.path.realpath(as_path(path, "to_npy"))
    check_target(where, overwrite)
    sink = NpySink(where, array.shape, array.dtype, overwrite)
    if not compute:
        return Pending(array.node, sink, lambda: from_npy(where, array.chunks))
    write_all([array.node], [sink])
    return from_npy(where, array.chunks)


def check_target(path: str, overwrite: bool) -> None:
    """Refuse a file that is there, a folder, and a file in no folder."""
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(f"{path} exists; pass overwrite=True to replace it, or choose another name")
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"the folder {folder} does not exist; make it first")
