"""Reads regions of a zarr array, one chunk at a time, so that what decoding takes is known beforehand."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpuarray import recycled
from gpuarray.cluster.gds import Run
from gpuarray.errors import StorageError
from gpuarray.graph.grid import Lengths, Region, nbytes, shape_of
from gpuarray.storage.common import Place, public_name
from gpuarray.storage.zarr_chunks import LocalChunks, local_chunks

BATCH = 4 << 20
"""Bytes of small chunks that are asked for in one call of the zarr library."""
MANY = 1024
"""Chunks that are asked for in one call, which nothing can stop."""
WHOLE_SHARD = 16 << 20
"""Bytes of a shard up to which its chunks are asked for in one call: each call reads the shard's index again."""

Box = tuple[range, ...]
"""Chunks, by their indices along each axis."""


class ZarrReader:
    """The data of a zarr array. Readers of one array in one folder are equal as long as its metadata is the same."""

    in_memory = False

    def __init__(self, array: Any, name: str) -> None:
        self.array, self.name = array, name
        self.dtype: np.dtype[Any] = array.dtype
        self.grain: tuple[int, ...] = array.shards or array.chunks
        """What is stored as one: a shard where there are shards."""
        unit = array.chunks if _partial(array) else self.grain
        self.unit = tuple(Lengths.regular(n, u) for n, u in zip(array.shape, unit, strict=True))
        """What must be decoded as one."""
        self.unit_nbytes: int = math.prod(unit) * self.dtype.itemsize
        grain_nbytes = math.prod(self.grain) * self.dtype.itemsize
        self.box = self.unit
        """What is asked for in one call, at least."""
        self.box_nbytes: int = self.unit_nbytes
        if array.shards is not None and grain_nbytes <= WHOLE_SHARD:
            self.box = tuple(Lengths.regular(n, g) for n, g in zip(array.shape, self.grain, strict=True))
            self.box_nbytes = grain_nbytes
        self.direct: LocalChunks | None = local_chunks(array)
        self.place = store_place(array)
        self._key = self._identity()

    def _identity(self) -> Any:
        if not isinstance(self.place.root, str):
            return object()
        folder = os.path.join(self.place.root, self.place.path)
        for name in ("zarr.json", ".zarray"):
            try:
                found = os.stat(os.path.join(folder, name))
            except OSError:
                continue
            return folder, found.st_ino, found.st_mtime_ns, found.st_size
        return object()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZarrReader) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def stays_here(self) -> bool:
        """Whether the array is in this process's memory, where no other process can read it."""
        return type(self.array.store).__name__ == "MemoryStore"

    def __reduce__(self) -> tuple[Any, ...]:
        return ZarrReader, (self.array, self.name)

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        out = recycled.empty(shape_of(region), self.dtype.newbyteorder("="))
        self.read_into(region, out)
        return out

    def read_into(self, region: Region, out: np.ndarray[Any, Any]) -> None:
        """Read a region into an array."""
        if not out.size:
            return
        if self.direct is not None:
            self.direct.read(region, out, self.name)
            return
        for box in self._boxes(region):
            self._check_shards(box)
            wanted, at = box_part(self.box, box, region)
            out[at] = self._decode(wanted)

    def runs(self, region: Region) -> list[Run] | None:
        """Where a region lies in uncompressed files, piece after piece."""
        return self.direct.runs(region, self.name) if self.direct is not None and region else None

    @property
    def in_pieces(self) -> bool:
        """Whether parts of chunks can be read without decoding all of them."""
        return self.direct is not None and self.direct.decode is None

    def _check_shards(self, box: Box) -> None:
        """An empty file would be read as a shard that is missing."""
        if self.array.shards is None or self.box is self.unit or not isinstance(self.place.root, str):
            return
        for index in itertools.product(*box):
            file = os.path.join(self.place.root, self.place.path, self.array.metadata.encode_chunk_key(index))
            if os.path.isfile(file) and not os.path.getsize(file):
                raise StorageError(f"{self.name}: the shard of chunks {index} is damaged: {file} is empty")

    def _decode(self, wanted: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        try:
            return np.asarray(self.array[wanted])
        except StorageError:
            raise
        except Exception as error:
            where = ", ".join(f"{s.start}:{s.stop}" for s in wanted)
            kind = type(error).__name__
            raise StorageError(
                f"{self.name}: the chunk that holds [{where}] cannot be read ({kind}: {public_name(error)[:200]}); "
                "the store is damaged or not reachable"
            ) from None

    def _boxes(self, region: Region) -> Iterator[Box]:
        """The chunks a region touches, in boxes of no more than `BATCH` bytes (or one chunk) and `MANY` chunks."""
        touched = [c.touched(r) for c, r in zip(self.box, region, strict=True)]
        together = max(1, min(MANY, BATCH // max(1, self.box_nbytes)))
        sides = [1] * len(touched)
        for axis in reversed(range(len(touched))):
            sides[axis] = max(1, min(len(touched[axis]), together))
            together //= sides[axis]
        along = [[t[k : k + s] for k in range(0, len(t), s)] for t, s in zip(touched, sides, strict=True)]
        return itertools.product(*along)

    def read_nbytes(self, region: Region) -> int:
        """The region, and what decoding one box takes: encoded, decoded, and a copy between two codecs."""
        touched = math.prod(len(c.touched(r)) for c, r in zip(self.unit, region, strict=True)) * self.unit_nbytes
        copies = self.direct.copies if self.direct is not None else 4
        limit = self.unit_nbytes if self.direct is not None else max(self.box_nbytes, BATCH)
        overhead = 64 << 10 if self.direct is not None else 1 << 20
        return nbytes(region, self.dtype) + copies * min(touched, limit) + overhead * bool(touched)

    def disk_nbytes(self, region: Region) -> int:
        return math.prod(len(c.touched(r)) for c, r in zip(self.unit, region, strict=True)) * self.unit_nbytes


def _partial(array: Any) -> bool:
    """Whether chunks inside a shard can be read without the rest of it."""
    codecs = getattr(array.metadata, "codecs", ())
    return array.shards is None or len(codecs) == 1


def box_part(unit: tuple[Lengths, ...], box: Box, region: Region) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The part of a region that lies in a box of chunks: as slices of the array and as slices of the region."""
    wanted, at = [], []
    for lengths, chunks, r in zip(unit, box, region, strict=True):
        start, stop = lengths.edge(chunks[0]), lengths.edge(chunks[-1] + 1)
        lo = max(0, -(-(start - r.start) // r.step))
        hi = min(len(r), -(-(stop - r.start) // r.step))
        part = r[lo:hi]
        wanted.append(slice(part.start, part[-1] + 1, part.step) if part else slice(0, 0))
        at.append(slice(lo, max(lo, hi)))
    return tuple(wanted), tuple(at)


def store_place(array: Any) -> Place:
    """Where an array is, comparable: a folder by its real path, any other store by itself."""
    root = getattr(array.store, "root", None)
    if root is not None and type(array.store).__name__ == "LocalStore":
        return Place(os.path.realpath(root), array.path)
    return Place(array.store, array.path)
