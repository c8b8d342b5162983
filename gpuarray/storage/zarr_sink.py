"""Writes results into zarr arrays: whole chunks, each by one task."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from gpuarray.errors import StorageError, StorageWriteError
from gpuarray.graph.grid import Chunks, Lengths, Region, Shape
from gpuarray.graph.node import Node
from gpuarray.storage.common import StorageSink, public_name, refuse_own_source
from gpuarray.storage.zarr_open import MARK, import_zarr, is_incomplete, open_array, quiet
from gpuarray.storage.zarr_reader import BATCH, MANY, store_place


class ZarrSink(StorageSink):
    """A region of a zarr array that is there already.

    Parameters
    ----------
    region : where the result's element 0 goes and how far apart its elements are, along each axis of the zarr array
    lock : held while writing, where another sink may write to the same chunks
    """

    def __init__(self, array: Any, name: str, region: Region, lock: Any = None) -> None:
        self.array, self.name, self.region, self.lock = array, name, region, lock
        grain = array.shards or array.chunks
        self.grain_nbytes = math.prod(grain) * array.dtype.itemsize
        self.write_nbytes = writing_nbytes(self.grain_nbytes, copies_of(array))
        self.units: Chunks | None = tuple(written_units(r, g) for r, g in zip(region, grain, strict=True))

    @property
    def stays_here(self) -> bool:
        return self.lock is not None or not _shared(self.array.store)

    def __getstate__(self) -> dict[str, Any]:
        if not _shared(self.array.store):
            raise StorageError(f"{self.name} is in this process's memory; another process cannot write to it")
        return {**self.__dict__, "lock": None}

    def write(self, region: Region, array: np.ndarray[Any, Any]) -> None:
        guard: AbstractContextManager[Any] = self.lock or nullcontext()
        with guard, failures(self.name):
            if not region:
                self.array[...] = array
                return
            from gpuarray.cluster.local import check_cancelled  # all that runs plans

            for part in self._parts(region):
                check_cancelled()
                at = tuple(slice(p.start - r.start, p.stop - r.start) for p, r in zip(part, region, strict=True))
                to = tuple(_placed(p, r) for p, r in zip(part, self.region, strict=True))
                self.array[to] = array[at]

    def _parts(self, region: Region) -> Iterator[Region]:
        """A region cut so that no more than `BATCH` bytes, or one chunk, and `MANY` chunks are encoded in one call."""
        assert self.units is not None
        touched = [u.touched(r) for u, r in zip(self.units, region, strict=True)]
        together = max(1, min(MANY, BATCH // max(1, self.grain_nbytes)))
        along = []
        for unit, chunks in zip(reversed(self.units), reversed(touched), strict=True):
            step = max(1, min(len(chunks), together))
            together //= step
            pieces = [chunks[k : k + step] for k in range(0, len(chunks), step)]
            along.append([range(unit.edge(p[0]), unit.edge(p[-1] + 1)) for p in pieces])
        return itertools.product(*reversed(along))


class NewZarrSink(StorageSink):
    """A zarr array that is made when the run starts and marked complete when it ends."""

    def __init__(
        self,
        name: str,
        store: Any,
        path: str,
        shape: Shape,
        dtype: np.dtype[Any],
        chunks: Shape,
        shards: Any,
        overwrite: bool,
        options: Mapping[str, Any],
        attributes: Mapping[str, Any] | None,
    ) -> None:
        self.name, self.store, self.path, self.shape, self.dtype = name, store, path, shape, dtype
        self.chunks, self.overwrite, self.options = chunks, overwrite, dict(options)
        self.shards = self._whole_shards(shards)
        self.attributes = dict(attributes or {})
        self.grain = self.shards or chunks
        self.units: Chunks | None = tuple(Lengths.regular(n, g) for n, g in zip(shape, self.grain, strict=True))
        self.write_nbytes = writing_nbytes(math.prod(self.grain) * dtype.itemsize, self._copies())
        self.replaces = False
        """Whether there is an array to delete; where there is none, nothing is ever deleted."""
        self.inner: ZarrSink | None = None

    def _whole_shards(self, shards: Any) -> Shape | None:
        if shards is None:
            return None
        given = (shards,) * len(self.shape) if isinstance(shards, int) else tuple(shards)
        if len(given) != len(self.shape) or any(
            not isinstance(s, (int, np.integer)) or s < c or s % c for s, c in zip(given, self.chunks, strict=False)
        ):
            raise StorageError(
                f"shards={shards!r} are no multiples of the chunks {self.chunks}; give one length for each axis"
            )
        return tuple(int(s) for s in given)

    def _copies(self) -> int:
        codecs = self.options.get("compressors")
        count = len(codecs) if isinstance(codecs, (list, tuple)) else int(codecs is not None)
        return 4 if self.shards else 1 + max(1, count) + (self.options.get("zarr_format") == 2)

    def check(self, node: Node) -> None:
        """Refuse what is there already, unless it is an array that may be replaced and that `node` does not read."""
        local = isinstance(self.store, str) and "://" not in self.store
        if local and not self._check_folder(os.path.join(self.store, *self.path.strip("/").split("/"))):
            return
        try:
            array, _ = open_array(self.store, self.path or None, self.options.get("storage_options"))
        except FileNotFoundError:
            return
        except StorageError:
            if not local:
                raise
            self.replaces = True  # a damaged array that `_check_folder` has let pass
            return
        if not self.overwrite:
            state = "is there, and its writing never finished" if is_incomplete(array) else "is there already"
            raise FileExistsError(f"{self.name} {state}; pass overwrite=True to replace it, or choose another name")
        refuse_own_source(node, store_place(array), self.name)
        self.replaces = True

    def _check_folder(self, folder: str) -> bool:
        """Whether there is an array, if only a damaged one. A folder that holds anything else is refused."""
        folder = folder.rstrip("/") or "/"
        if not os.path.lexists(folder):
            return False
        if not os.path.isdir(folder):
            raise FileExistsError(f"{folder} is a file; a zarr array is a folder: choose another name")
        if not os.listdir(folder):
            return False
        try:
            open_array(self.store, self.path)
        except (StorageError, FileNotFoundError) as error:
            if not self._ours_to_replace(folder):
                raise FileExistsError(
                    f"{folder} is there and is no zarr array ({error}); nothing in it is deleted: choose another "
                    "name, pass path= for an array inside a group, or delete it yourself"
                ) from None
        return True

    def _ours_to_replace(self, folder: str) -> bool:
        """A folder that holds one damaged array and nothing else may be replaced, if the user says so."""
        return (
            self.overwrite
            and set(os.listdir(folder)) <= {"zarr.json", "c", ".zarray", ".zattrs"}
            and not (os.path.isfile(os.path.join(folder, "zarr.json")) and _is_group(os.path.join(folder, "zarr.json")))
        )

    def begin(self) -> None:
        zarr = import_zarr()
        with failures(self.name), quiet():
            array = zarr.create_array(
                self.store,
                name=self.path or None,
                shape=self.shape,
                dtype=self.dtype,
                chunks=self.chunks,
                shards=self.shards,
                overwrite=self.replaces,
                attributes={**self.attributes, MARK: {"complete": False}},
                **self.options,
            )
        self.inner = ZarrSink(array, self.name, tuple(range(n) for n in self.shape))

    @property
    def stays_here(self) -> bool:
        return self.inner is None or self.inner.stays_here

    def write(self, region: Region, array: np.ndarray[Any, Any]) -> None:
        assert self.inner is not None
        self.inner.write(region, array)

    def commit(self) -> None:
        assert self.inner is not None
        with failures(self.name):
            self.inner.array.update_attributes({MARK: {"complete": True}})


@contextmanager
def failures(name: str) -> Iterator[None]:
    """Say which store is incomplete when writing fails."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        reason = error.strerror or public_name(error)
        raise StorageWriteError(
            f"writing {name} failed: {reason}. What is there is incomplete: make room or choose another place, and "
            "write it again with overwrite=True.",
            error.errno,
        ) from None
    except Exception as error:
        raise StorageError(
            f"writing {name} failed ({type(error).__name__}: {public_name(error)[:200]}); what is there is incomplete"
        ) from error


def writing_nbytes(grain: int, copies: int) -> int:
    """What writing takes for a while: chunks in the store's order, and encoded by each codec."""
    return copies * max(grain, BATCH) + (1 << 20)


def copies_of(array: Any) -> int:
    """How many copies of a chunk writing it makes at most. A shard is put together from its encoded chunks."""
    metadata = array.metadata
    if array.shards is not None:
        return 4
    if metadata.zarr_format == 2:
        return 3 + len(metadata.filters or ())
    return max(2, len(metadata.codecs))


def written_units(r: range, grain: int) -> Lengths:
    """The elements of a region of an axis, by the chunk of the store that they go to."""
    if r.step == 1 and r.start % grain == 0:
        return Lengths.regular(len(r), grain)
    edges = {0, len(r)}
    for chunk in range(r.start // grain + 1, (r.stop - 1) // grain + 1 if r else 0):
        edges.add(min(len(r), -(-(chunk * grain - r.start) // r.step)))
    return Lengths.between(sorted(edges)) if len(edges) > 1 else Lengths.regular(len(r), max(1, len(r)))


def _placed(part: range, into: range) -> slice:
    """Where elements `part` of a result go, if the whole of it goes to `into`."""
    picked = into[part.start : part.stop]
    return slice(picked.start, picked.stop, picked.step)


def _is_group(file: str) -> bool:
    try:
        with open(file, "rb") as stream:
            return b'"group"' in stream.read(1 << 20)
    except OSError:
        return True


def _shared(store: Any) -> bool:
    """Whether other processes see what is written to a store."""
    return type(store).__name__ != "MemoryStore"
