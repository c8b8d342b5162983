"""HDF5 datasets: the functions users call, and how a dataset is written."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.chunking import Chunks as ChunksLike
from gpuarray.chunking import normalize_chunks
from gpuarray.errors import StorageError, StorageWriteError
from gpuarray.graph.grid import Chunks, Lengths, Region, Shape, as_slices
from gpuarray.graph.leaves import Source
from gpuarray.storage.common import (
    PathLike,
    Pending,
    StorageSink,
    as_path,
    check_shape,
    check_stored_dtype,
    write_all,
)
from gpuarray.storage.hdf5_file import (
    CONVERSION,
    UNFINISHED,
    Hdf5Reader,
    file_at,
    find_dataset,
    forget,
    import_h5py,
    only_dataset,
    open_error,
    opened,
    reason,
)
from gpuarray.storage.npy import check_target, stamp_of, sync
from gpuarray.storage.zarr import reading_chunks, writing_chunks


def from_hdf5(path: Any, dataset: str | None = None, chunks: ChunksLike = None) -> NDArray:
    """A lazy array of an HDF5 dataset; only its description is read now.

    >>> import tempfile, gpuarray as ga
    >>> path = tempfile.mkdtemp() + "/x.h5"
    >>> stored = ga.arange(6).to_hdf5(path, "group/x")
    >>> ga.from_hdf5(path, "group/x")[::2].compute()
    array([0, 2, 4])

    The HDF5 library reads for one thread at a time. Where that is too slow, copy the data once:
    ``ga.from_hdf5(...).to_zarr(...)``.

    Parameters
    ----------
    path : the file, or an `h5py.Dataset`
    dataset : its name in the file; may be left out where the file has one only
    chunks : as in `NDArray.rechunk`; None and "auto" take as many whole chunks of the dataset as make about
        ``config.chunk_bytes``

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    MissingDatasetError
        if it has no such dataset; the message lists those it has. It is a StorageError and a KeyError.
    StorageError
        if the file is damaged, open for writing elsewhere, or the dataset lies in another file.
    UnsupportedDTypeError
        if its elements are records, strings or references.
    """
    if dataset is None and hasattr(path, "file") and hasattr(path, "name"):
        path, dataset = path.file.filename, path.name
    where = os.path.realpath(as_path(path, "from_hdf5"))
    if not os.path.exists(where):
        raise FileNotFoundError(f"there is no file {where}")
    if os.path.isdir(where):
        raise IsADirectoryError(f"{where} is a folder; from_hdf5 reads files (from_zarr reads folders)")
    stamp = stamp_of(os.stat(where))
    with opened(where) as file:
        name = dataset if dataset is not None else only_dataset(file, where)
        data = find_dataset(file, name, where)
        place = f"{where}:{name}"
        check_stored_dtype(data.dtype, place)
        if data.shape is None:
            raise StorageError(f"{place} is an empty dataset without a shape; there is nothing to read")
        shape = check_shape(data.shape, data.dtype, place)
        coded = data.chunks is not None and data.id.get_create_plist().get_nfilters() > 0
        dtype = np.dtype(data.dtype.newbyteorder("=").str)
        reader = Hdf5Reader(where, data.name, shape, dtype, data.chunks, coded, stamp)
    if reader.grain is None:
        cut = normalize_chunks("auto" if chunks is None else chunks, shape, dtype)
    else:
        cut = reading_chunks(chunks, shape, dtype, reader.grain)
    return NDArray(Source(reader, shape, dtype, cut))


class Hdf5Sink(StorageSink):
    """A dataset that is written under another name and renamed when it is whole: the file itself where it is new,
    the dataset where the file is there already."""

    def __init__(
        self, path: str, dataset: str, shape: Shape, dtype: np.dtype[Any], chunks: Shape | None, overwrite: bool,
        options: Mapping[str, Any],
    ) -> None:  # fmt: skip
        import uuid

        self.name = f"{path}:{dataset}"
        self.path, self.dataset, self.shape, self.dtype = path, dataset, shape, dtype
        self.chunks, self.overwrite, self.options = chunks, overwrite, dict(options)
        self.new = not os.path.exists(path)
        folder, name = os.path.split(path)
        self.written = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:12]}.part") if self.new else path
        self.units: Chunks | None = None
        if chunks is not None:
            self.units = tuple(Lengths.regular(n, c) for n, c in zip(shape, chunks, strict=True))
        self.write_nbytes = 3 * math.prod(chunks or (0,)) * dtype.itemsize + CONVERSION
        self.file = file_at(self.written)
        self.handle: Any = None

    def __getstate__(self) -> dict[str, Any]:
        raise StorageError(
            f"{self.path}: an HDF5 file is written by one process only; use to_zarr to write from several"
        )

    def begin(self) -> None:
        h5py = import_h5py()
        with self.file.lock, self._failures():
            if self.file.writer is not None:
                raise StorageError(f"{self.path} is being written already; wait for that to end")
            self.handle = h5py.File(self.written, "w-" if self.new else "r+")
            if not self.new:
                self.file.writer = self.handle
            temporary = self._temporary()
            if temporary in self.handle:
                del self.handle[temporary]
            self.handle.create_dataset(temporary, self.shape, self.dtype, chunks=self.chunks, **self.options)

    def _temporary(self) -> str:
        return self.dataset if self.new else self.dataset + UNFINISHED

    def write(self, region: Region, array: np.ndarray[Any, Any]) -> None:
        if not array.size:
            return
        with self.file.lock, self._failures():
            data = self.handle[self._temporary()]
            data[as_slices(region) or ...] = array

    def commit(self) -> None:
        with self.file.lock, self._failures():
            if not self.new:
                if self.dataset in self.handle:
                    del self.handle[self.dataset]
                self.handle.move(self._temporary(), self.dataset)
            self._close()
            if self.new:
                if os.path.lexists(self.path):
                    raise FileExistsError(f"{self.path} was made by someone else meanwhile; choose another name")
                sync(self.written)
                os.replace(self.written, self.path)
            if self.new:
                forget(self.written)

    def _close(self) -> None:
        handle, self.handle, self.file.writer = self.handle, None, None
        if handle is not None:
            handle.close()

    def abort(self) -> None:
        with self.file.lock:
            if self.handle is not None and not self.new and self._temporary() in self.handle:
                del self.handle[self._temporary()]
            with contextlib.suppress(OSError, RuntimeError):  # what a full disk did not take before, it does not now
                self._close()
            if self.new and os.path.exists(self.written):
                os.unlink(self.written)
            if self.new:
                forget(self.written)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (StorageError, FileExistsError):
            raise
        except (OSError, RuntimeError, ValueError) as error:
            if self.handle is None and isinstance(error, OSError) and not self.new:
                raise open_error(self.path, error) from None
            left = "Nothing was left there" if self.new else f"{self.dataset!r} was not written"
            raise StorageWriteError(
                f"writing {self.name} failed: {reason(error)}. {left}; make room or choose another place.",
                getattr(error, "errno", None),
            ) from None


def to_hdf5(
    x: Any,
    path: PathLike,
    dataset: str,
    overwrite: bool = False,
    *,
    chunks: Any = None,
    compression: Any = None,
    compression_opts: Any = None,
    shuffle: bool | None = None,
    fletcher32: bool | None = None,
    compute: bool = True,
) -> Any:
    """Compute an array into a dataset of an HDF5 file; return the lazy array that reads it.

    >>> import tempfile, h5py, gpuarray as ga
    >>> path = tempfile.mkdtemp() + "/x.h5"
    >>> stored = ga.arange(4).to_hdf5(path, "x")
    >>> with h5py.File(path) as file:
    ...     file["x"][:]
    array([0, 1, 2, 3])

    A new file is written under a temporary name and renamed at the end. In a file that is there the dataset is called
    ``<name>.incomplete`` until it is whole; the other datasets stay. The computation may read from the file it is
    written to, the dataset that is replaced included.

    Parameters
    ----------
    path : the file; its folder must exist
    dataset : the name in the file, ``"group/x"``; groups are made
    overwrite : replace a dataset that is there
    chunks : shape of the dataset's chunks; None: stored in one piece, unless it is compressed; True: as `x` is cut,
        up to 8 MiB
    compression, compression_opts, shuffle, fletcher32 : as in `h5py.Group.create_dataset`
    compute : False returns an object whose `compute()` does the work

    Raises
    ------
    FileExistsError
        if the dataset is there and `overwrite` is False.
    StorageError
        if the file is no HDF5 file or is open elsewhere.
    StorageWriteError
        if it cannot be written: no space, no permission. It is a StorageError and an OSError.
    """
    array = asarray(x)
    where = os.path.realpath(as_path(path, "to_hdf5"))
    parts = [p for p in dataset.split("/") if p]
    if not parts or any(p in (".", "..") for p in parts):
        raise StorageError(f"dataset={dataset!r} is no name of a dataset; write one such as 'group/x'")
    name = "/".join(parts)
    check_target(where, True)
    check_stored_dtype(array.dtype, where)
    _check_dataset(where, name, overwrite)
    cut = None
    if chunks is not None or compression is not None or shuffle or fletcher32:
        cut = writing_chunks(None if chunks is True else chunks, array.shape, array.dtype, array.chunks)
        cut = tuple(min(c, n) for c, n in zip(cut, array.shape, strict=True)) if array.size and cut else None
    given = {"compression": compression, "compression_opts": compression_opts, "shuffle": shuffle}
    options = {**given, "fletcher32": fletcher32} if cut is not None else {}
    sink = Hdf5Sink(where, name, array.shape, array.dtype, cut, overwrite, options)

    def stored() -> NDArray:
        return from_hdf5(where, name)

    if not compute:
        return Pending(array.node, sink, stored)
    write_all([array.node], [sink])
    return stored()


def _check_dataset(where: str, name: str, overwrite: bool) -> None:
    """Refuse a dataset that is there, and a group of that name."""
    if not os.path.exists(where):
        return
    h5py = import_h5py()
    with opened(where) as file:
        found = file.get(name, getlink=False)
        if isinstance(found, h5py.Group):
            raise FileExistsError(f"{where}: {name!r} is a group; choose another name")
        if found is not None and not overwrite:
            raise FileExistsError(f"{where} has a dataset {name!r}; pass overwrite=True to replace it")
