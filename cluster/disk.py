"""Spill files: chunks as raw bytes in a private folder that does not outlive its owner.

They stay in the system's page cache: it gives that memory back when anybody needs it, and until then a chunk comes
back faster than from the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import struct
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpuarray.cluster.buffers import as_bytes, like_memory
from gpuarray.cluster.owner import OWNER_FILE, Owner, sweep
from gpuarray.cluster.sizes import format_bytes
from gpuarray.cluster.task import Chunk, Key
from gpuarray.cluster.tiers import Tier
from gpuarray.kernels.errors import ConfigError, SpillError

PREFIX = "gpuarray-spill-"
_BLOCK = 16 << 20
_HEADER = struct.Struct("<8s16sQI28x")  # magic, the file's own token, bytes, CRC-32: 64 bytes with padding
_MAGIC = b"gaspill1"
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | (_READ & ~os.O_RDONLY)
_REMEDY = "run the computation again; if this returns, check the disk or set another spill_directory"


@dataclass(frozen=True, slots=True)
class SpillFile:
    """A chunk on disk. Shapes and dtypes stay in memory: a damaged file cannot lie about them."""

    path: str
    header: bytes
    layout: tuple[tuple[tuple[int, ...], np.dtype[Any], tuple[int, ...]], ...]
    """Shape, dtype and order of the axes in memory, per array."""
    nbytes: int


class DiskTier(Tier):
    """Holds chunks in files under `directory`. The folder appears with the first file and goes with the last.

    >>> import tempfile
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
        self._files = 0
        self._cleaner: weakref.finalize[Any, Any] | None = None

    def put(self, key: Key, chunk: Chunk) -> SpillFile:
        if any(array.dtype.hasobject for array in chunk):
            dtypes = ", ".join(sorted({str(array.dtype) for array in chunk}))
            raise SpillError(f"chunk {key} of dtype {dtypes} holds references, which no file can; use another dtype")
        nbytes = sum(array.nbytes for array in chunk)
        folder = self._open_folder()
        path = os.path.join(folder, secrets.token_hex(8))
        try:
            file = _write(path, chunk, nbytes)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(path + ".part")
            self._forget_file()
            raise self._write_error(key, nbytes, error) from error
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path + ".part")
            self._forget_file()
            raise
        return file

    def get(self, key: Key, payload: SpillFile) -> Chunk:
        with self.reading(key, payload) as fill:
            chunk = tuple(like_memory(*layout) for layout in payload.layout)
            for array in chunk:
                fill(as_bytes(array)[0])
        return chunk

    @contextlib.contextmanager
    def reading(self, key: Key, payload: SpillFile) -> Iterator[Callable[[memoryview], None]]:
        """Gives a function that fills memory with the next bytes of a file; all must be read before the block ends.

        Raises
        ------
        SpillError
            if the file is not what was written. That may be found out at the end of the block.
        """
        try:
            with _opened(payload) as fill:
                yield fill
        except _DamageError as error:
            raise SpillError(f"the spill file {payload.path} of chunk {key} {error}; {_REMEDY}") from None
        except OSError as error:
            what = {errno.ENOENT: "was deleted", errno.ELOOP: "was replaced by a symbolic link"}
            why = what.get(error.errno or 0, f"cannot be read ({error.strerror or error})")
            raise SpillError(f"the spill file {payload.path} of chunk {key} {why}; {_REMEDY}") from error

    def drop(self, payload: SpillFile) -> None:
        if os.path.dirname(payload.path) == self._folder:  # else it belongs to the process this one was forked from
            with contextlib.suppress(OSError):
                os.unlink(payload.path)
            self._forget_file()

    def close(self) -> None:
        """Remove the folder and everything in it. A later `put` makes a new one."""
        with self._lock:
            self._files = 0
            self._remove_folder()

    def purge(self, known: set[str]) -> None:
        """Delete every file but those in `known`. No `put` may be under way."""
        with self._lock:
            if self._folder is not None:
                for name in os.listdir(self._folder):
                    path = os.path.join(self._folder, name)
                    if path not in known and name != OWNER_FILE:
                        with contextlib.suppress(OSError):
                            os.unlink(path)
                self._files = len(known) + 1
        self._forget_file()

    def disown(self) -> None:
        """Leave the folder to the process that made it: this one was forked from it."""
        self._lock = threading.Lock()
        if self._cleaner is not None:
            self._cleaner.detach()
        self._folder = self._cleaner = None
        self._files = 0

    def _open_folder(self) -> str:
        """The folder, made if there is none, with one more file counted in it."""
        with self._lock:
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
            self._files += 1
            return self._folder

    def _forget_file(self) -> None:
        with self._lock:
            self._files -= 1
            if self._files <= 0:
                self._files = 0
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
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        why = "is full" if full else f"cannot be written ({error.strerror or error})"
        return SpillError(
            f"the spill directory {self.directory} {why}: chunk {key} needs {format_bytes(nbytes)}, "
            f"{free} are free; make room, set another spill_directory or raise the memory limit"
        )


class _DamageError(Exception):
    """A spill file is not what was written."""


def _write(path: str, chunk: Chunk, nbytes: int) -> SpillFile:
    token, crc, layout = secrets.token_bytes(16), 0, []
    fd = os.open(path + ".part", _CREATE, 0o600)
    try:
        os.lseek(fd, _HEADER.size, os.SEEK_SET)
        for array in chunk:
            data, axes = as_bytes(array)
            layout.append((array.shape, array.dtype, axes))
            for block in _blocks(data):
                crc = zlib.crc32(block, crc)  # while the block is in the processor's cache for the copy
                while block:
                    block = block[os.write(fd, block) :]
        header = _HEADER.pack(_MAGIC, token, nbytes, crc)
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, header)
    finally:
        os.close(fd)
    os.rename(path + ".part", path)
    return SpillFile(path, header, tuple(layout), nbytes)


@contextlib.contextmanager
def _opened(file: SpillFile) -> Iterator[Callable[[memoryview], None]]:
    fd = os.open(file.path, _READ)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise _DamageError("is no regular file any more")
        if status.st_size != _HEADER.size + file.nbytes:
            raise _DamageError(f"has {status.st_size} bytes instead of {_HEADER.size + file.nbytes}")
        with os.fdopen(fd, "rb", buffering=0, closefd=False) as stream:
            if stream.read(_HEADER.size) != file.header:
                raise _DamageError("has another header than was written")
            crc = 0

            def fill(memory: memoryview) -> None:
                nonlocal crc
                for block in _blocks(memory):
                    left = block
                    while left:
                        got = stream.readinto(left)
                        if not got:
                            raise _DamageError("was truncated")
                        left = left[got:]
                    crc = zlib.crc32(block, crc)

            yield fill
        if crc != _HEADER.unpack(file.header)[3]:
            raise _DamageError("is damaged: its checksum does not match")
    finally:
        os.close(fd)


def _blocks(data: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(data), _BLOCK):
        yield data[start : start + _BLOCK]


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
