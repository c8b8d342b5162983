"""Zarr arrays, format 2 and 3: opened, created, and the functions users call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from gpuarray import config
from gpuarray.array import NDArray, asarray
from gpuarray.chunking import Chunks as ChunksLike
from gpuarray.chunking import normalize_chunks
from gpuarray.errors import ChunkError, IncompleteStoreError, StorageError
from gpuarray.graph.grid import Chunks, Lengths, Shape
from gpuarray.graph.leaves import Source
from gpuarray.storage.common import Pending, check_stored_dtype
from gpuarray.storage.zarr_open import array_name, is_incomplete, locate, open_array, url_options
from gpuarray.storage.zarr_reader import ZarrReader
from gpuarray.storage.zarr_sink import NewZarrSink

CHUNK_TARGET = 8 << 20
"""Bytes that a chunk of a new store has at most, where the user does not say how it is cut."""


def from_zarr(
    store: Any,
    path: str | None = None,
    chunks: ChunksLike = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    allow_incomplete: bool = False,
) -> NDArray:
    """A lazy array of a zarr array, format 2 or 3; only its metadata is read now.

    >>> import tempfile, gpuarray as ga
    >>> folder = tempfile.mkdtemp() + "/x.zarr"
    >>> stored = ga.ones((4, 6), chunks=(2, 3)).to_zarr(folder)
    >>> ga.from_zarr(folder).sum(axis=0).compute()
    array([4., 4., 4., 4., 4., 4.])

    Tasks read and decode whole chunks of the store, one at a time. A chunk that is missing holds the fill value.

    Parameters
    ----------
    store : a folder, a ``.zip`` file, a URL, a zarr store, or a `zarr.Array`
    path : the array inside the store, ``"group/name"``
    chunks : as in `NDArray.rechunk`; None and "auto" take as many whole chunks of the store as make about
        ``config.chunk_bytes``
    storage_options : for URLs, as in `zarr.open_array`
    allow_incomplete : read an array whose writing never finished; what is missing holds the fill value

    Raises
    ------
    FileNotFoundError
        if there is no such store or no array at `path`.
    IncompleteStoreError
        if writing the array never finished.
    StorageError
        if the store is damaged, or `path` names a group (the message lists its arrays).
    UnsupportedDTypeError
        if its elements are records, strings of any length, or Python objects.
    """
    array, name = open_array(store, path, storage_options)
    if not allow_incomplete and is_incomplete(array):
        raise IncompleteStoreError(
            f"{name}: writing this array never finished. Write it again with overwrite=True, or pass "
            "allow_incomplete=True to read what is there."
        )
    reader = ZarrReader(array, name)
    dtype = array.dtype.newbyteorder("=")
    cut = reading_chunks(chunks, array.shape, dtype, reader.grain)
    return NDArray(Source(reader, array.shape, dtype, cut))


def reading_chunks(chunks: ChunksLike, shape: Shape, dtype: np.dtype[Any], grain: Shape) -> Chunks:
    """How a stored array is cut for reading: by default on the store's own cuts, until chunks have a good size."""
    stored = tuple(Lengths.regular(n, g) for n, g in zip(shape, grain, strict=True))
    if chunks is not None and not (isinstance(chunks, str) and chunks == "auto"):
        return normalize_chunks(chunks, shape, dtype, stored)
    target = config.get().chunk_bytes
    sides = [min(g, max(1, n)) for g, n in zip(grain, shape, strict=True)]
    while True:
        room = [a for a, (s, n) in enumerate(zip(sides, shape, strict=True)) if s < n]
        if not room or 2 * math.prod(sides) * dtype.itemsize > target:
            break
        axis = min(room, key=lambda a: sides[a])
        sides[axis] *= 2
    return tuple(Lengths.regular(n, s) for n, s in zip(shape, sides, strict=True))


def to_zarr(
    x: Any,
    store: Any,
    path: str | None = None,
    overwrite: bool = False,
    *,
    chunks: Any = None,
    shards: Any = None,
    compressors: Any = "auto",
    fill_value: Any = 0,
    zarr_format: int = 3,
    attributes: Mapping[str, Any] | None = None,
    dimension_names: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    compute: bool = True,
) -> Any:
    """Compute an array into a new zarr array, chunk by chunk; return the lazy array that reads it.

    >>> import tempfile, zarr, gpuarray as ga
    >>> folder = tempfile.mkdtemp() + "/x.zarr"
    >>> stored = ga.arange(6, chunks=4).to_zarr(folder)
    >>> zarr.open_array(folder)[:]
    array([0, 1, 2, 3, 4, 5])

    Until all is written the attribute ``gpuarray`` of the array is ``{"complete": false}``, then true. A write that was
    interrupted, even by SIGKILL, is so recognised: `from_zarr` refuses the array, and ``overwrite=True`` writes it
    again. Chunks that hold nothing but the fill value are not stored.

    Parameters
    ----------
    store : a folder, a URL, or a zarr store
    path : the array inside the store, ``"group/name"``
    overwrite : replace an array that is there; anything else that is there is left alone
    chunks : shape of the store's chunks, one length for every axis (the last chunk may be shorter); None takes the
        array's own where they are equal and no larger than 8 MiB, and cuts larger ones evenly
    shards : shape of the shards, a multiple of `chunks`; a task writes whole shards
    compressors : as in `zarr.create_array`: "auto", None for none, or codecs
    fill_value : what chunks that are not stored hold
    zarr_format : 3 or 2
    attributes, dimension_names, storage_options : as in `zarr.create_array`
    compute : False returns an object whose `compute()` does the work

    Raises
    ------
    FileExistsError
        if there is something already, and it is no array or `overwrite` is False.
    StorageError
        if the computation reads from the array that is to be replaced.
    StorageWriteError
        if a chunk cannot be written: no space, no permission. It is a StorageError and an OSError.
    ChunkError
        if `chunks` are not equal along an axis.
    """
    array = asarray(x)
    if zarr_format not in (2, 3):
        raise StorageError(f"zarr_format={zarr_format!r} is none that there is; write 3 or 2")
    store, name = locate_target(store, path)
    check_stored_dtype(array.dtype, name)
    side = writing_chunks(chunks, array.shape, array.dtype, array.chunks)
    given = {
        "compressors": compressors,
        "fill_value": fill_value,
        "zarr_format": zarr_format,
        "dimension_names": dimension_names,
        "storage_options": url_options(store, storage_options),
    }
    sink = NewZarrSink(name, store, path or "", array.shape, array.dtype, side, shards, overwrite, given, attributes)
    sink.check(array.node)
    write = Pending(array.node, sink, partial(from_zarr, store, path, storage_options=storage_options))
    return write.compute() if compute else write


def locate_target(store: Any, path: str | None) -> tuple[Any, str]:
    """What `locate` returns, for a store that is written."""
    if type(store).__name__ == "Array" and hasattr(store, "metadata"):
        raise StorageError(f"{array_name(store)} is an array already; gpuarray.store(x, array) writes into it")
    store, name = locate(store, path)
    if isinstance(store, str) and store.endswith(".zip"):
        raise StorageError(f"{name}: zip files are read, not written; write a folder and zip it, without compression")
    return store, name


def writing_chunks(chunks: Any, shape: Shape, dtype: np.dtype[Any], own: Chunks) -> Shape:
    """The shape of a new store's chunks: every length at least 1."""
    if chunks is not None:
        cut = normalize_chunks(chunks, shape, dtype, own)
        irregular = next((a for a, c in enumerate(cut) if not c.step), None)
        if irregular is not None:
            raise ChunkError(
                f"chunks={chunks!r}: the chunks of a zarr array are equal along an axis (the last may be shorter), "
                f"those along axis {irregular} are not; give one length per axis"
            )
        return tuple(max(1, c.largest) for c in cut)
    side = [max(1, c.largest) for c in own]
    while math.prod(side) * dtype.itemsize > CHUNK_TARGET and max(side) > 1:
        axis = side.index(max(side))
        parts = next((p for p in (2, 3, 5, 7) if side[axis] % p == 0), 2)
        side[axis] = -(-side[axis] // parts)
    return tuple(side)
