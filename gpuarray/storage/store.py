"""`store`: results into arrays of other libraries that are there already."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.errors import StorageError
from gpuarray.graph.grid import Region, as_slices
from gpuarray.graph.node import Node
from gpuarray.readers import ArrayReader
from gpuarray.sinks import ArraySink
from gpuarray.storage.common import StorageSink, readers_of, refuse_own_source, write_all
from gpuarray.storage.zarr_open import array_name
from gpuarray.storage.zarr_reader import store_place
from gpuarray.storage.zarr_sink import ZarrSink


class AnySink(StorageSink):
    """Anything with ``target[slices] = array``; one thread at a time."""

    def __init__(self, target: Any, region: Region, lock: Any) -> None:
        self.array, self.region, self.lock = target, region, lock
        self.name = type(target).__name__

    def __getstate__(self) -> dict[str, Any]:
        raise StorageError(
            f"a target of type {self.name} is written in this process only; use to_zarr to write from several"
        )

    def write(self, region: Region, array: np.ndarray[Any, Any]) -> None:
        at = []
        for r, into in zip(region, self.region, strict=True):
            picked = into[r.start : r.stop]
            at.append(slice(picked.start, picked.stop, picked.step))
        with self.lock:
            self.array[tuple(at) or ...] = array


class NumpySink(ArraySink):
    """A part of a NumPy array of the user's, who has accounted for its memory."""

    nbytes = 0

    def __getstate__(self) -> dict[str, Any]:
        raise StorageError("a NumPy array is written in this process only; use to_zarr to write from several")

    def begin(self) -> None:
        """It is there."""

    def commit(self) -> None:
        """It is written."""

    def abort(self) -> None:
        """What is written stays."""


def store(sources: Any, targets: Any, regions: Any = None) -> None:
    """Compute arrays into targets that are there already, in one run that does shared work once.

    >>> import numpy as np, gpuarray as ga
    >>> x, total = ga.arange(4), np.zeros((2, 4))
    >>> ga.store([x, x * 2], [total, total], regions=[np.s_[0], np.s_[1]])
    >>> total
    array([[0., 1., 2., 3.],
           [0., 2., 4., 6.]])

    Parameters
    ----------
    sources : an array, or a list of arrays
    targets : a zarr array, an `h5py.Dataset`, a NumPy array or memmap, anything with ``target[slices] = array``; or a
        list of as many. A zarr array is written in its own chunks by several threads, others by one at a time
    regions : where in its target each source goes, as an index of slices and integers; None is all of it

    Raises
    ------
    ValueError
        if a source does not have the shape of its region.
    TypeError
        if a target cannot be assigned to, or its dtype cannot hold the source's ("same_kind" casts are done).
        if a target is read-only, shares memory with another, or is read by a source.
    StorageError
        if a target cannot be written.
    """
    several = isinstance(sources, (list, tuple))
    arrays = [asarray(s) for s in (sources if several else [sources])]
    into = list(targets) if isinstance(targets, (list, tuple)) else [targets]
    if (len(into) == 1 and len(arrays) > 1) or len(into) != len(arrays):
        raise ValueError(f"{len(arrays)} sources go to as many targets, {len(into)} were given")
    where = list(regions) if isinstance(regions, list) else [regions] * len(arrays)
    if len(where) != len(arrays):
        raise ValueError(f"{len(arrays)} sources go to as many regions, {len(where)} were given")
    locks: dict[int, Any] = {}
    sinks: list[Any] = []
    nodes: list[Node] = []
    for array, target, region in zip(arrays, into, where, strict=True):
        shared = sum(t is target for t in into) > 1
        node, sink = sink_for(array, target, region, locks.setdefault(id(target), threading.Lock()), shared)
        nodes.append(node)
        sinks.append(sink)
    _refuse_own(nodes, sinks, into)
    write_all(nodes, sinks)


def _refuse_own(nodes: Sequence[Node], sinks: Sequence[Any], targets: Sequence[Any]) -> None:
    """Refuse to write over what is still to be read, and over each other."""
    for k, (sink, target) in enumerate(zip(sinks, targets, strict=True)):
        for node in nodes:
            if isinstance(sink, ZarrSink):
                refuse_own_source(node, store_place(target), sink.name)
            elif isinstance(sink, NumpySink):
                for reader in readers_of(node):
                    if isinstance(reader, ArrayReader) and np.may_share_memory(reader.array, sink.array):
                        raise ValueError(f"target {k} is also read by the sources; store into another array")
        others = [s.array for s in sinks[:k] if isinstance(s, NumpySink)]
        if isinstance(sink, NumpySink) and any(np.may_share_memory(o, sink.array) for o in others):
            raise ValueError(f"target {k} shares memory with the target of another source")


def sink_for(array: NDArray, target: Any, region: Any, lock: Any, shared: bool) -> tuple[Node, Any]:
    """The sink for a target, and the source with the axes that it takes."""
    if not hasattr(target, "__setitem__") or not hasattr(target, "shape"):
        raise TypeError(f"a target of type {type(target).__name__} has no shape, or cannot be assigned to by slices")
    index = positions(region, tuple(target.shape))
    expected = tuple(len(r) for r, kept in index if kept)
    if expected != array.shape:
        raise ValueError(f"a source of shape {array.shape} does not fit a region of shape {expected}; reshape it first")
    dtype = getattr(target, "dtype", None)
    if dtype is not None and not np.can_cast(array.dtype, dtype, "same_kind"):
        raise TypeError(f"a source of dtype {array.dtype} cannot be stored as {dtype}; convert it with astype")
    if len(expected) != len(index):
        array = array[tuple(slice(None) if kept else None for _, kept in index)]
    whole = tuple(r for r, _ in index)
    if type(target).__module__.startswith("zarr.") and hasattr(target, "metadata"):
        return array.node, ZarrSink(target, array_name(target), whole, lock if shared else None)
    if isinstance(target, np.ndarray):
        if not target.flags.writeable:
            raise ValueError("a target is read-only; pass an array that can be written to")
        if dtype != array.dtype:
            array = asarray(array, dtype)
        return array.node, NumpySink(target[as_slices(whole) or ...])
    return array.node, AnySink(target, whole, lock)


def positions(region: Any, shape: tuple[int, ...]) -> list[tuple[range, bool]]:
    """The positions along each axis of a target, and whether the axis is one of the source's."""
    given = region if isinstance(region, tuple) else (() if region is None else (region,))
    if Ellipsis in given:
        k = given.index(Ellipsis)
        given = (*given[:k], *[slice(None)] * (len(shape) - len(given) + 1), *given[k + 1 :])
    if len(given) > len(shape):
        raise IndexError(f"the region {region!r} has {len(given)} entries, its target {len(shape)} dimensions")
    found: list[tuple[range, bool]] = []
    for axis, n in enumerate(shape):
        entry = given[axis] if axis < len(given) else slice(None)
        if isinstance(entry, slice):
            r = range(n)[entry]
            if r.step < 0:
                raise IndexError(f"the region {region!r} goes backwards along axis {axis}; flip the source instead")
            found.append((r, True))
        elif isinstance(entry, (int, np.integer)) and not isinstance(entry, bool):
            k = range(n)[entry]
            found.append((range(k, k + 1), False))
        else:
            raise IndexError(f"the region {region!r} is made of {type(entry).__name__}; use slices and integers")
    return found
