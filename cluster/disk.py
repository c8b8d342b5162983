"""Spill files: chunks as raw bytes in a private folder that does not outlive its owner. Small ones share files.

They stay in the system's page cache: it gives that memory back when anybody needs it, and until then a chunk comes
back faster than from the disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import io
import os
import secrets
import shutil
import stat
import struct
import sys
import threading
import weakref
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpuarray.cluster.buffers import as_bytes, like_memory
from gpuarray.cluster.owner import OWNER_FILE, Owner, sweep
from gpuarray.cluster.parts import Array, DamageError, Layout, arrays, blocks, check, filled, read_into, read_part
from gpuarray.cluster.segments import Segments, Slot
from gpuarray.cluster.sizes import format_bytes
from gpuarray.cluster.task import Chunk, Key
from gpuarray.cluster.tiers import Tier
from gpuarray.kernels.errors import ConfigError, SpillError

PREFIX = "gpuarray-spill-"
_HEADER = struct.Struct("<8s16sQ32x")  # magic, the chunk's own token, bytes: 64 bytes with padding
_MAGIC = b"gaspill2"
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_WRITE = os.O_WRONLY | (_READ & ~os.O_RDONLY)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SPOILT = (errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.EIO)
_KEEP_SIZE_PUNCH_HOLE = 3
_REMEDY = "run the computation again; if this returns, check the disk or set another spill_directory"


@dataclass(frozen=True, slots=True)
class SpillFile:
    """A chunk on disk. Shapes, dtypes and the checksum stay in memory: a damaged file cannot lie about them."""

    slot: Slot
    header: bytes
    layout: tuple[Layout, ...]
    """Shape, dtype and order of the axes in memory, per array."""
    nbytes: int
    crcs: tuple[tuple[int, ...], ...]
    """The checksum after every block of an array, per array; each goes on from the one before."""

    @property
    def path(self) -> str:
        """The file, which other chunks may be in as well."""
        return self.slot.segment.path

    @property
    def offset(self) -> int:
        """Where its header begins."""
        return self.slot.offset

    def arrays(self) -> Iterator[Array]:
        """Where the bytes of every array are."""
        return arrays(self.offset + _HEADER.size, self.layout, self.crcs)


class DiskTier(Tier):
    """Holds chunks in files under `directory`. The folder appears with the first file and goes with the last.

    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     disk = DiskTier(directory)
    ...     file = disk.put((1, 0), (np.arange(3),))
    ...     print(disk.get((1, 0), file))
    ...     disk.close()
    (array([0, 1, 2]),)

    Raises
    ------
    ConfigError
        if there is no such directory (nor one in which it could be made) or it cannot be written.
    SpillError
        from `put` if a file cannot be written (nothing is left of it), from `get` if it is not what was written.
    """

    name = "disk"

    def __init__(self, directory: str | os.PathLike[str], limit: int | None = None) -> None:
        super().__init__(limit)
        self.directory = os.path.abspath(os.fspath(directory))
        _check_directory(self.directory)
        self._lock = threading.Lock()
        self._folder: str | None = None
        self._segments = Segments()
        self._cleaner: weakref.finalize[Any, Any] | None = None

    def put(self, key: Key, chunk: Chunk) -> SpillFile:
        if any(array.dtype.hasobject for array in chunk):
            dtypes = ", ".join(sorted({str(array.dtype) for array in chunk}))
            raise SpillError(f"chunk {key} of dtype {dtypes} holds references, which no file can; use another dtype")
        nbytes = sum(array.nbytes for array in chunk)
        for last in (False, False, True):
            try:
                slot = self._slot(nbytes)
            except OSError as error:
                raise self._write_error(key, nbytes, error) from error
            try:
                return _write(slot, chunk, nbytes)
            except OSError as error:
                self._give_up(slot)
                if last or not self._mended(slot, error):
                    raise self._write_error(key, nbytes, error) from error
            except BaseException:
                self._give_up(slot)
                raise
        raise AssertionError("unreachable")

    def get(self, key: Key, payload: SpillFile) -> Chunk:
        with self.reading(key, payload) as fill:
            chunk = tuple(like_memory(*layout) for layout in payload.layout)
            for array in chunk:
                fill(as_bytes(array)[0])
        return chunk

    def part(self, key: Key, payload: SpillFile, index: tuple[slice, ...]) -> Chunk:
        """A part of every array of a chunk: what is read are the blocks between its first and its last byte.

        Raises SpillError as `get`.
        """
        with self._in_use(key, payload), _opened(payload) as stream:
            return tuple(read_part(stream, *array, index) for array in payload.arrays())

    def fill(self, key: Key, payload: SpillFile, index: tuple[slice, ...], out: Chunk) -> None:
        with self._in_use(key, payload), _opened(payload) as stream:
            for array, target in zip(payload.arrays(), out, strict=True):
                read_into(stream, *array, index, target)

    @contextlib.contextmanager
    def reading(self, key: Key, payload: SpillFile) -> Iterator[Callable[[memoryview], None]]:
        """Gives a function that fills memory with the next bytes of a file; all must be read before the block ends.

        Raises
        ------
        SpillError
            if the file is not what was written. That may be found out at the end of the block.
        """
        with self._in_use(key, payload), _filling(payload) as fill:
            yield fill

    @contextlib.contextmanager
    def _in_use(self, key: Key, payload: SpillFile) -> Iterator[None]:
        """Around reading a file: it is not given away, and what is wrong with it is said."""
        slot = payload.slot
        with self._lock:
            slot.readers += 1
        try:
            yield
        except DamageError as error:
            raise SpillError(f"the spill file {payload.path} of chunk {key} {error}; {_REMEDY}") from None
        except OSError as error:
            what = {errno.ENOENT: "was deleted", errno.ELOOP: "was replaced by a symbolic link"}
            why = what.get(error.errno or 0, f"cannot be read ({error.strerror or error})")
            raise SpillError(f"the spill file {payload.path} of chunk {key} {why}; {_REMEDY}") from error
        finally:
            with self._lock:
                slot.readers -= 1
                dropped = slot.gone and not slot.readers
            if dropped:
                self._release(slot)

    def drop(self, payload: SpillFile) -> None:
        with self._lock:
            payload.slot.gone = True
            read = payload.slot.readers
        if not read:  # else the last reader does it
            self._release(payload.slot)

    def close(self) -> None:
        """Remove the folder and everything in it. A later `put` makes a new one."""
        with self._lock:
            self._segments = Segments()
            self._remove_folder()

    def purge(self, known: Collection[SpillFile]) -> None:
        """Free what is of no chunk in `known`, and delete every file without any. No `put` may be under way."""
        with self._lock:
            for slot in self._segments.unknown({file.slot for file in known}):
                self._segments.release(slot)
            for name in os.listdir(self._folder) if self._folder is not None else ():
                path = os.path.join(self._folder or "", name)
                if path not in self._segments.by_path and name != OWNER_FILE:
                    with contextlib.suppress(OSError):
                        os.unlink(path)
            self._remove_if_empty()

    def disown(self) -> None:
        """Leave the folder to the process that made it: this one was forked from it."""
        self._lock = threading.Lock()
        if self._cleaner is not None:
            self._cleaner.detach()
        self._folder = self._cleaner = None
        self._segments = Segments()

    def _slot(self, nbytes: int) -> Slot:
        """Room for a chunk, in a new file if need be."""
        with self._lock:
            folder = self._open_folder()
            try:
                slot = self._segments.take(_HEADER.size + nbytes)
                if slot is None:
                    path = os.path.join(folder, secrets.token_hex(8))
                    os.close(os.open(path, _WRITE | os.O_CREAT | os.O_EXCL, 0o600))
                    slot = self._segments.add(path, _HEADER.size + nbytes)
            finally:
                self._remove_if_empty()
            return slot

    def _give_up(self, slot: Slot) -> None:
        """Free what a chunk was not written to."""
        _hollow_out([slot])
        slot.hollow = True
        self._release(slot)

    def _mended(self, slot: Slot, error: OSError) -> bool:
        """Whether writing may succeed if it is tried again."""
        if error.errno in _FULL:
            return self._give_back(all_of_it=True)
        if error.errno not in _SPOILT:
            return False
        with self._lock:  # somebody has deleted, replaced or truncated the file: another one will do
            self._segments.retire(slot.segment)
        return True

    def _release(self, slot: Slot) -> None:
        with self._lock:
            segment = self._segments.release(slot)
        if segment is not None:
            with contextlib.suppress(OSError):
                os.unlink(segment.path)  # takes time, so without the lock
            with self._lock:
                self._remove_if_empty()
        self._give_back()

    def _give_back(self, all_of_it: bool = False) -> bool:
        """Let the file system have what is free inside files; whether there was any."""
        with self._lock:
            slots = self._segments.surplus(all_of_it)
        given = _hollow_out(slots)
        with self._lock:
            self._segments.restore(slots)
        return given

    def _open_folder(self) -> str:
        """The folder, made if there is none."""
        if self._folder is None:
            sweep(self.directory, PREFIX)
            try:
                if not os.path.isdir(self.directory):
                    os.mkdir(self.directory, 0o700)
                owner = Owner(os.path.join(self.directory, PREFIX + secrets.token_hex(8)))
                self._cleaner = weakref.finalize(self, owner.remove_folder)
                owner.make_folder()
                self._folder = owner.folder
            except OSError as error:
                self._remove_folder()
                raise SpillError(
                    f"no spill folder can be made in {self.directory} ({error.strerror or error}); "
                    "make room there or set another spill_directory"
                ) from error
        return self._folder

    def _remove_if_empty(self) -> None:
        if not self._segments.by_path:
            self._remove_folder()

    def _remove_folder(self) -> None:
        if self._cleaner is not None:
            self._cleaner()
        self._folder = self._cleaner = None

    def _write_error(self, key: Key, nbytes: int, error: OSError) -> SpillError:
        try:
            free = format_bytes(shutil.disk_usage(self.directory).free)
        except OSError:
            free = "an unknown amount"
        why = "is full" if error.errno in _FULL else f"cannot be written ({error.strerror or error})"
        return SpillError(
            f"the spill directory {self.directory} {why}: chunk {key} needs {format_bytes(nbytes)}, "
            f"{free} are free; make room, set another spill_directory or raise the memory limit"
        )


def _write(slot: Slot, chunk: Chunk, nbytes: int) -> SpillFile:
    header, crc, layout = _HEADER.pack(_MAGIC, secrets.token_bytes(16), nbytes), 0, []
    crcs: list[tuple[int, ...]] = []
    fd = os.open(slot.segment.path, _WRITE)
    try:
        if os.fstat(fd).st_size < slot.segment.written:
            raise OSError(errno.EIO, "it was truncated by somebody else")
        os.lseek(fd, slot.offset, os.SEEK_SET)
        os.write(fd, header)
        for array in chunk:
            data, axes = as_bytes(array)
            layout.append((array.shape, array.dtype, axes))
            found = []
            for block in blocks(data):
                crc = zlib.crc32(block, crc)  # while the block is in the processor's cache for the copy
                found.append(crc)
                while block:
                    block = block[os.write(fd, block) :]
            crcs.append(tuple(found))
        slot.segment.written = max(slot.segment.written, slot.offset + _HEADER.size + nbytes)
    finally:
        os.close(fd)
    return SpillFile(slot, header, tuple(layout), nbytes, tuple(crcs))


@contextlib.contextmanager
def _opened(file: SpillFile) -> Iterator[io.FileIO]:
    """A file that stands behind the header of a chunk."""
    fd = os.open(file.path, _READ)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise DamageError("is no regular file any more")
        end = file.offset + _HEADER.size + file.nbytes
        if status.st_size < end:
            raise DamageError(f"has {status.st_size} bytes instead of at least {end}")
        with io.FileIO(fd, "rb", closefd=False) as stream:
            stream.seek(file.offset)
            if stream.read(_HEADER.size) != file.header:
                raise DamageError("has another header than was written")
            yield stream
    finally:
        os.close(fd)


@contextlib.contextmanager
def _filling(file: SpillFile) -> Iterator[Callable[[memoryview], None]]:
    with _opened(file) as stream:
        crc = 0

        def fill(memory: memoryview) -> None:
            nonlocal crc
            for block in blocks(memory):
                crc = filled(stream, block, crc)

        yield fill
    check(crc, next((crcs[-1] for crcs in reversed(file.crcs) if crcs), 0))


def _hollow_out(slots: Iterable[Slot]) -> bool:
    """Give the room of slots back to the file system, where it can take it; whether there was any."""
    punch, any_given = _puncher(), False
    if punch is None:
        return False
    for slot in slots:
        with contextlib.suppress(OSError):
            fd = os.open(slot.segment.path, _WRITE)
            try:
                any_given = punch(fd, _KEEP_SIZE_PUNCH_HOLE, slot.offset, slot.length) == 0 or any_given
            finally:
                os.close(fd)
    return any_given


@functools.cache
def _puncher() -> Callable[[int, int, int, int], int] | None:
    """The C library's `fallocate`, where that can make holes in files: ``man 2 fallocate``."""
    if not sys.platform.startswith("linux"):
        return None
    function: Any = getattr(ctypes.CDLL(None), "fallocate64", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        function.restype = ctypes.c_int
    return function


def _check_directory(directory: str) -> None:
    """Refuse at once what can be known at once. The last folder of the path may be missing: `put` makes it."""
    path = Path(directory)
    if not path.exists():
        path = path.parent
        if not path.exists():
            raise ConfigError(f"spill_directory={directory!r}: {str(path)!r} does not exist; create it or name another")
    if not path.is_dir():
        raise ConfigError(f"spill_directory={directory!r}: {str(path)!r} is not a folder; name one")
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigError(f"spill_directory={directory!r} cannot be written; change its permissions or name another")
