"""Opens HDF5 files and reads datasets. The HDF5 library works for one thread at a time: one lock per file."""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gpuarray.errors import IncompleteStoreError, MissingDatasetError, StorageError
from gpuarray.graph.grid import Lengths, Region, Shape, as_slices, nbytes, shape_of
from gpuarray.storage.common import Place
from gpuarray.storage.npy import Stamp

UNFINISHED = ".incomplete"
"""Ends the name of a dataset while it is written into a file that is there already."""
CONVERSION = 2 << 20
"""Bytes that the library takes to convert elements and to look through a dataset."""


def import_h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError('h5py is not installed; install it with: pip install "gpuarray-engine[io]"') from error
    return h5py


class OpenFile:
    """One file of this process: who uses it holds the lock; while it is written, readers use the writer's handle."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.writer: Any = None


_files: dict[str, OpenFile] = {}
_files_lock = threading.Lock()


def file_at(path: str) -> OpenFile:
    with _files_lock:
        return _files.setdefault(path, OpenFile())


def forget(path: str) -> None:
    """A file that is gone needs no lock."""
    with _files_lock:
        _files.pop(path, None)


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """The file for reading, by one thread at a time."""
    h5py = import_h5py()
    shared = file_at(path)
    with shared.lock:
        if shared.writer is not None:
            yield shared.writer
            return
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise open_error(path, error) from None
        with file:
            yield file


def open_error(path: str, error: OSError) -> Exception:
    """What is wrong with a file that the library does not open."""
    text = str(error)
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError)):
        return type(error)(f"{path}: {error.strerror or text}")
    if "truncated" in text:
        return StorageError(f"{path} is truncated: {text[:200]}")
    if "unable to lock" in text or "already open" in text:
        return StorageError(
            f"{path} is open for writing somewhere else; close it there (or set HDF5_USE_FILE_LOCKING=FALSE if nobody "
            "writes to it)"
        )
    return StorageError(f"{path} cannot be read as an HDF5 file: {text[:200]}")


def reason(error: Exception) -> str:
    """Why the library could not write: of its own report of a failing system call, what the system says."""
    text = str(error)
    if found := re.search(r"errno = (\d+)", text):
        return os.strerror(int(found[1]))
    return text[:300]


class Hdf5Reader:
    """A dataset. Readers of one dataset of an unchanged file are equal."""

    in_memory = False

    def __init__(
        self,
        path: str,
        dataset: str,
        shape: Shape,
        dtype: np.dtype[Any],
        grain: Shape | None,
        coded: bool,
        stamp: Stamp,
    ) -> None:
        self.path, self.dataset, self.shape, self.dtype = path, dataset, shape, dtype
        self.grain, self.coded, self.stamp = grain, coded, stamp
        self.name = f"{os.path.basename(path)}:{dataset}"
        self.place = Place(path, "")
        self.unit = tuple(Lengths.regular(n, g) for n, g in zip(shape, grain or (), strict=True)) if grain else None

    def _key(self) -> tuple[Any, ...]:
        return self.path, self.dataset, self.shape, self.dtype.str, self.stamp

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hdf5Reader) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple[Any, ...]:
        return Hdf5Reader, (self.path, self.dataset, self.shape, self.dtype, self.grain, self.coded, self.stamp)

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        out = np.empty(shape_of(region), self.dtype)
        if not out.size:
            return out
        with opened(self.path) as file:
            data = file.get(self.dataset)
            if data is None or data.shape != self.shape or data.dtype.newbyteorder("=") != self.dtype:
                raise StorageError(f"{self.path}: the dataset {self.dataset!r} was changed; call from_hdf5 again")
            try:
                if out.ndim:
                    data.read_direct(out, as_slices(region))
                else:
                    out[...] = data[()]
            except (OSError, RuntimeError, ValueError) as error:
                raise StorageError(
                    f"{self.path}: {self.dataset!r} cannot be read: {str(error)[:200]}; the file is damaged"
                ) from None
        return out

    def _chunk_nbytes(self) -> int:
        return math.prod(self.grain or ()) * self.dtype.itemsize if self.grain else 0

    def read_nbytes(self, region: Region) -> int:
        """The region, a chunk before and after each of its filters, and the library's own cache."""
        return nbytes(region, self.dtype) + 3 * self._chunk_nbytes() * self.coded + self._cache() + CONVERSION

    def _cache(self) -> int:
        return min(self._chunk_nbytes() * 2, 2 << 20) if self.grain else 0

    def disk_nbytes(self, region: Region) -> int:
        if self.unit is None:
            return nbytes(region, self.dtype)
        return math.prod(len(c.touched(r)) for c, r in zip(self.unit, region, strict=True)) * self._chunk_nbytes()


def find_dataset(file: Any, name: str, where: str) -> Any:
    """A dataset, reached without leaving the file."""
    h5py = import_h5py()
    if not isinstance(name, str):
        raise TypeError(f"dataset= takes a name such as 'group/x', not {type(name).__name__}")
    at = file
    parts = [p for p in name.split("/") if p]
    for k, part in enumerate(parts):
        link = at.get(part, getlink=True) if isinstance(at, h5py.Group) else None
        if isinstance(link, h5py.ExternalLink):
            raise StorageError(
                f"{where}: {'/'.join(parts[: k + 1])!r} is a link to {link.path!r} in the file {link.filename!r}; "
                "open that file instead"
            )
        try:
            at = at[part] if link is not None else None
        except (KeyError, OSError):
            at = None
        if at is None:
            if isinstance(file.get(name + UNFINISHED), h5py.Dataset):
                raise IncompleteStoreError(f"{where}: writing {name!r} never finished; write it again")
            raise MissingDatasetError(f"{where} has no dataset {name!r}; it has {_listed(file)}")
    if at.file.filename != file.filename:
        raise StorageError(f"{where}: {name!r} leads to the file {at.file.filename!r}; open that file instead")
    if not isinstance(at, h5py.Dataset):
        raise StorageError(f"{where}: {name!r} is a group, not a dataset; the file has {_listed(file)}")
    if at.external:
        files = ", ".join(repr(f[0]) for f in at.external)
        raise StorageError(f"{where}: the data of {name!r} lies in other files ({files}), which are not read")
    if at.is_virtual:
        _check_virtual(at, where, name)
    return at


def _check_virtual(data: Any, where: str, name: str) -> None:
    """The library reads fill values where a file of a virtual dataset is missing, and says nothing."""
    for source in data.virtual_sources():
        if source.file_name != "." and "%" not in source.file_name:
            file = os.path.join(os.path.dirname(where), source.file_name)
            if not os.path.exists(file):
                raise StorageError(f"{where}: the virtual dataset {name!r} needs the file {file}, which is missing")


def datasets_in(file: Any) -> list[str]:
    h5py = import_h5py()
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def _listed(file: Any) -> str:
    names = datasets_in(file)
    more = ", ..." if len(names) > 20 else ""
    return "the datasets " + ", ".join(names[:20]) + more if names else "no datasets"


def only_dataset(file: Any, where: str) -> str:
    names = datasets_in(file)
    if len(names) != 1:
        raise StorageError(f"{where} has {_listed(file)}; say which: dataset=")
    return names[0]
