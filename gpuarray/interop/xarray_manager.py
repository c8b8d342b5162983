"""How xarray cuts, computes and writes our arrays: the entry point ``xarray.chunkmanagers``.

xarray looks this module up by name when it first meets a chunked array; nothing here runs before.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from xarray.core.indexing import ExplicitlyIndexed
from xarray.namedarray.parallelcompat import ChunkManagerEntrypoint

from gpuarray import config
from gpuarray.array import NDArray, asarray
from gpuarray.blocks import map_blocks
from gpuarray.chunking import normalize_chunks
from gpuarray.graph.grid import Region, as_slices, size_of
from gpuarray.graph.leaves import Source
from gpuarray.gufuncs import apply_gufunc
from gpuarray.run import compute_nodes
from gpuarray.searching import elementwise_with
from gpuarray.several import persist
from gpuarray.storage.store import store

Tuples = tuple[tuple[int, ...], ...]


class LazyReader:
    """An array that xarray has opened and not read: parts are read as tasks ask for them."""

    name = "xarray"
    in_memory = False

    def __init__(self, data: Any) -> None:
        self.data, self.dtype = data, np.dtype(data.dtype)

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        return np.asarray(self.data[as_slices(region)], self.dtype)

    def read_nbytes(self, region: Region) -> int:
        return size_of(region) * self.dtype.itemsize

    def disk_nbytes(self, region: Region) -> int:
        return self.read_nbytes(region)


class Coordinate(NDArray, ExplicitlyIndexed):
    """Positions along an axis, which xarray picks by a chunked array of any dimensions (`idxmax` and `idxmin` do).

    It does that with its own adapters of dask's arrays alone; so this is an adapter itself, of what it is.
    """

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        key = getattr(key, "tuple", key)
        if isinstance(key, tuple) and len(key) == 1 and isinstance(key[0], NDArray) and key[0].dtype.kind in "iu":
            if not key[0].ndim:
                raise NotImplementedError("xarray cannot pick by a single chunked number: .compute() the vector first")
            return elementwise_with(_picked, (), key[0], self.dtype, "take", self.node)  # lazily, whole as it is
        return self.get_duck_array()[key]

    def get_duck_array(self) -> NDArray:
        return NDArray(self.node)

    @property
    def vindex(self) -> NDArray:
        return self

    @property
    def oindex(self) -> NDArray:
        return self


def _picked(xp: Any, positions: Any, values: Any) -> Any:
    return values[positions]


class Manager(ChunkManagerEntrypoint[Any]):
    """What xarray asks of a library of chunked arrays; ``x.chunk(..., chunked_array_type="gpuarray")`` chooses it.

    Where xarray has one of dask's collections in mind (`map_blocks` of its own, `ffill`), it says that this is not
    implemented.
    """

    def __init__(self) -> None:
        self.array_cls = NDArray

    def chunks(self, data: NDArray) -> Tuples:
        return tuple(tuple(c) for c in data.chunks)

    def normalize_chunks(
        self, chunks: Any, shape: Any = None, limit: Any = None, dtype: Any = None, previous_chunks: Any = None
    ) -> Tuples:
        before = None if previous_chunks is None else _lengths(previous_chunks, shape, dtype)
        with config.set(**({} if limit is None else {"chunk_bytes": limit})):
            return tuple(tuple(c) for c in normalize_chunks(chunks, tuple(shape), _kind(dtype), before))

    def from_array(self, data: Any, chunks: Any, **kwargs: Any) -> NDArray:
        if isinstance(data, NDArray):
            return data.rechunk(chunks)
        if isinstance(data, np.ndarray):
            made = asarray(data, chunks=chunks)
            return Coordinate(made.node) if made.ndim == 1 and len(made.chunks[0]) == 1 else made
        reader = LazyReader(data)
        if reader.dtype.hasobject:  # refused with our words
            return asarray(np.asarray(data))
        return NDArray(Source(reader, data.shape, reader.dtype, normalize_chunks(chunks, data.shape, reader.dtype)))

    def compute(self, *data: Any, **kwargs: Any) -> tuple[np.ndarray[Any, Any], ...]:
        lazy = iter(compute_nodes([x.node for x in data if isinstance(x, NDArray)]))
        return tuple(next(lazy) if isinstance(x, NDArray) else x for x in data)

    def persist(self, *data: Any, **kwargs: Any) -> tuple[Any, ...]:
        lazy = iter(persist(*(x for x in data if isinstance(x, NDArray))))
        return tuple(next(lazy) if isinstance(x, NDArray) else x for x in data)

    @property
    def array_api(self) -> ModuleType:
        import gpuarray

        return gpuarray

    def apply_gufunc(
        self,
        func: Any,
        signature: str,
        *args: Any,
        axes: Any = None,
        axis: Any = None,
        keepdims: bool = False,
        output_dtypes: Any = None,
        output_sizes: dict[str, int] | None = None,
        vectorize: bool | None = None,
        allow_rechunk: bool = False,
        meta: Any = None,
        **kwargs: Any,
    ) -> Any:
        if axes is not None or axis is not None or keepdims:
            raise NotImplementedError("axes=, axis= and keepdims= of apply_gufunc: transpose arguments and results")
        kinds = [m.dtype for m in meta] if output_dtypes is None and meta is not None else output_dtypes
        options: dict[str, Any] = {"output_dtypes": kinds, "output_sizes": output_sizes, "vectorize": bool(vectorize)}
        return apply_gufunc(func, signature, *args, **options, **kwargs)

    def map_blocks(self, func: Any, *args: Any, **kwargs: Any) -> NDArray:
        kwargs = {k: v for k, v in kwargs.items() if k not in ("name", "meta", "token")}
        return map_blocks(func, *args, **kwargs)

    def unify_chunks(self, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], list[Any]]:
        """Pairs of an array and the names of its axes, cut alike: as the array is that is cut most."""
        arrays, names = list(args[::2]), list(args[1::2])
        cut: dict[Any, tuple[int, ...]] = {}
        for x, axes in zip(arrays, names, strict=True):
            for name, lengths in zip(axes or (), x.chunks if axes else (), strict=True):
                if name not in cut or len(lengths) > len(cut[name]) or cut[name] == (1,):
                    cut[name] = tuple(lengths)
        made = [
            x.rechunk(tuple(cut[a] if n > 1 else (n,) for a, n in zip(axes, x.shape, strict=True))) if axes else x
            for x, axes in zip(arrays, names, strict=True)
        ]
        return cut, made

    def store(self, sources: Any, targets: Any, **kwargs: Any) -> None:
        if kwargs.get("compute") is False:
            raise NotImplementedError("compute=False: gpuarray writes when it is told to; leave it out")
        regions = kwargs.get("regions")
        store(sources, targets, list(regions) if isinstance(regions, Sequence) else regions)

    def get_auto_chunk_size(self) -> int:
        return config.get().chunk_bytes


def _kind(dtype: Any) -> np.dtype[Any]:
    return np.dtype(float if dtype is None else dtype)


def _lengths(chunks: Any, shape: Any, dtype: Any) -> Any:
    return normalize_chunks(chunks, tuple(shape), _kind(dtype))
