"""Bridges to dask, both ways lazy and chunk for chunk. They are explicit: an `NDArray` is no dask collection."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpuarray import config
from gpuarray.array import NDArray, install
from gpuarray.axes import as_shape
from gpuarray.checks import check_dtype
from gpuarray.errors import BlockFunctionError, ChunkError
from gpuarray.graph.grid import Lengths, Region, shape_of, size_of, touching
from gpuarray.graph.leaves import Source
from gpuarray.graph.move import Rechunk, Reshape
from gpuarray.graph.node import Node
from gpuarray.graph.select import Select
from gpuarray.kernels.devices import array_on_gpu


def from_dask(x: Any) -> NDArray:
    """An `NDArray` of a dask array: dask computes a chunk when it is read, and keeps none.

    >>> import dask.array as da
    >>> import gpuarray as ga
    >>> x = ga.from_dask(da.ones((4, 6), chunks=(2, 3)) * 3)
    >>> x.chunks
    ((2, 2), (3, 3))
    >>> x.sum().compute()
    array(72.)

    dask's part runs where dask is told to (``dask.config.set(scheduler=...)``, a `distributed.Client`, Dask-on-Ray),
    and in the thread that reads where it is told nothing. What several chunks of a dask array share, such as its mean,
    is computed for each of them: ``x.persist()`` with dask first, or write that part with gpuarray.

    Parameters
    ----------
    x : a `dask.array.Array` of NumPy's or CuPy's chunks; its chunks are the result's

    Raises
    ------
    TypeError
        if `x` is no dask array, or its chunks are of a type that gpuarray has not (masked, sparse).
    ChunkError
        if lengths of chunks are unknown.
    UnsupportedDTypeError
        for dtypes that gpuarray has not.
    BlockFunctionError
        in the run, if a chunk has another shape or dtype than dask has promised.
    """
    import dask.array as da

    if not isinstance(x, da.Array):
        raise TypeError(
            f"from_dask takes a dask.array.Array, got {type(x).__name__}; gpuarray.from_delayed takes one delayed "
            "value, and gpuarray.asarray what NumPy takes"
        )
    _check_meta(x)
    if any(math.isnan(n) for lengths in x.chunks for n in lengths):
        raise ChunkError(
            f"the dask array has chunks of unknown length, {x.chunks}; call x.compute_chunk_sizes() on it, which "
            "computes them"
        )
    dtype = np.dtype(x.dtype)
    check_dtype(dtype)
    chunks = tuple(Lengths.of(map(int, lengths)) for lengths in x.chunks)
    native = dtype.newbyteorder("=")
    return NDArray(Source(DaskReader(x, chunks, native), tuple(map(int, x.shape)), native, chunks))


def from_delayed(value: Any, shape: Any, dtype: Any) -> NDArray:
    """An `NDArray` of one chunk: what a delayed value of dask returns when it is computed.

    >>> import dask
    >>> import numpy as np
    >>> import gpuarray as ga
    >>> x = ga.from_delayed(dask.delayed(np.arange)(4), (4,), int)
    >>> ga.concatenate([x, x]).compute()
    array([0, 1, 2, 3, 0, 1, 2, 3])

    Parameters
    ----------
    value : a `dask.delayed.Delayed`, or a `distributed.Future`
    shape, dtype : of the array that it returns

    Raises as `from_dask`: BlockFunctionError, in the run, where the value is another array than promised.
    """
    import dask.array as da
    from dask.delayed import Delayed, delayed

    if not isinstance(value, Delayed):
        if not hasattr(value, "key"):
            raise TypeError(
                f"from_delayed takes a dask.delayed value or a Future, got {type(value).__name__}; gpuarray.asarray "
                "takes arrays"
            )
        value = delayed(value)
    kind = np.dtype(dtype)
    check_dtype(kind)
    lengths = as_shape(shape)
    return from_dask(da.from_delayed(value, lengths, dtype=kind, meta=np.empty((0,) * len(lengths), kind)))


def to_dask(self: NDArray) -> Any:
    """A dask array with the same chunks, each of which gpuarray computes when dask asks for it.

    >>> import gpuarray as ga
    >>> y = (ga.arange(6, chunks=2) * 10).to_dask()
    >>> y.chunks, y.dtype
    (((2, 2, 2),), dtype('int64'))
    >>> y[1:3].compute(scheduler="threads")
    array([10, 20])

    Any scheduler of dask's can run it: threads, processes, distributed, Dask-on-Ray. A task of it computes one chunk,
    in its thread and within the limits set here, with all that leads to the chunk; what all chunks share is computed
    for each of them, so `persist` that (for schedulers in this process), or write it to zarr.
    """
    import uuid

    import dask.array as da
    from dask._task_spec import DataNode, Task, TaskRef
    from dask.highlevelgraph import HighLevelGraph

    name = f"{_operation(self.node)}-{uuid.uuid4().hex}"
    chunks = tuple(tuple(lengths) for lengths in self.chunks)
    source = f"gpuarray-{name}"
    graph: dict[Any, Any] = {source: DataNode(source, Carried(self))}
    for key, spans in _blocks(name, chunks):
        graph[key] = Task(key, compute_part, TaskRef(source), spans)
    layers = HighLevelGraph.from_collections(name, graph, dependencies=())
    return da.Array(layers, name, chunks, dtype=self.dtype, meta=np.empty((0,) * self.ndim, self.dtype))


def _operation(node: Node) -> str:
    """What dask shows, up to the first hyphen: the last step that is more than another view."""
    while isinstance(node, (Select, Reshape, Rechunk)) and len(node.inputs) == 1 and node.inputs[0].inputs:
        node = node.inputs[0]
    return node.label.replace("-", "_")[:60]


class Carried:
    """An array inside a graph of dask's, which would take the array itself for what it calls array-like."""

    __slots__ = ("array",)

    def __init__(self, array: NDArray) -> None:
        self.array = array

    def __getstate__(self) -> bytes:
        from gpuarray.cluster.shipping import dumps

        return dumps(self.array, [])  # with functions from scripts and notebooks

    def __setstate__(self, state: bytes) -> None:
        from gpuarray.cluster.shipping import loads

        self.array = loads(state)


def compute_part(carried: Carried, spans: tuple[tuple[int, int], ...]) -> np.ndarray[Any, Any]:
    """A chunk, in the thread of dask's that asks: dask has as many of them as are to compute at once."""
    part = carried.array
    if spans != tuple((0, n) for n in part.shape):
        part = part[tuple(slice(a, b) for a, b in spans)]
    with config.set(scheduler="single-threaded", progress=False):
        return part.compute()


def _blocks(name: str, chunks: tuple[tuple[int, ...], ...]) -> Iterator[tuple[Any, tuple[tuple[int, int], ...]]]:
    """dask's key and the span along each axis of every chunk."""
    edges = [np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).tolist() for lengths in chunks]
    for index in np.ndindex(*map(len, chunks)):
        yield (name, *index), tuple((e[i], e[i + 1]) for e, i in zip(edges, index, strict=True))


class DaskReader:
    """Chunks that dask computes."""

    name = "dask"
    in_memory = False

    def __init__(self, array: Any, chunks: tuple[Lengths, ...], dtype: np.dtype[Any]) -> None:
        self.array, self.chunks, self.dtype = array, chunks, dtype
        self._graph: dict[Any, Any] | None = None

    @property
    def stays_here(self) -> bool:
        """Whether only this process can have dask compute it: futures belong to a client."""
        distributed = sys.modules.get("distributed")
        return distributed is not None and any(isinstance(t, distributed.Future) for t in self._tasks().values())

    def _tasks(self) -> dict[Any, Any]:
        """dask's graph, optimized once for all chunks; threads that come at once do it twice at worst."""
        if self._graph is None:
            x = self.array
            graph, distributed = dict(x.__dask_graph__()), sys.modules.get("distributed")
            if distributed is None or not any(isinstance(t, distributed.Future) for t in graph.values()):
                graph = dict(x.__dask_optimize__(x.__dask_graph__(), list(_flat(x.__dask_keys__()))))
            self._graph = graph  # futures do not come through dask's optimization
        return self._graph

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        from dask.base import get_scheduler
        from dask.local import get_sync
        from dask.optimization import cull

        touched = list(touching(self.chunks, region))
        counts = tuple(map(len, self.chunks))
        indices = [tuple(map(int, np.unravel_index(n, counts))) if counts else () for n, _, _ in touched]
        keys = [(self.array.name, *index) for index in indices]
        out = np.empty(shape_of(region), self.dtype)
        if not keys:
            return out
        tasks, _ = cull(self._tasks(), keys)
        get = get_sync if _on_a_worker() else get_scheduler() or get_sync
        for index, block, (_, inside, at) in zip(indices, get(tasks, keys), touched, strict=True):
            out[at] = self._checked(block, index)[inside or ...]
        return out

    def _checked(self, block: Any, index: tuple[int, ...]) -> np.ndarray[Any, Any]:
        there = array_on_gpu(block)
        array = np.asarray(block if there is None else there.get())
        shape = tuple(lengths.edge(i + 1) - lengths.edge(i) for lengths, i in zip(self.chunks, index, strict=True))
        if array.shape != shape or array.dtype.newbyteorder("=") != self.dtype:
            raise BlockFunctionError(
                f"chunk {index} of the dask array {self.array.name} has shape {array.shape} and dtype {array.dtype}, "
                f"and dask has promised {shape} and {self.dtype}; give dask the right shape, chunks and meta="
            )
        if isinstance(block, np.ma.MaskedArray):
            raise BlockFunctionError(
                f"chunk {index} of the dask array {self.array.name} is masked and would lose its mask; fill it first"
            )
        return array

    def read_nbytes(self, region: Region) -> int:
        """The region and the chunks that it touches; what dask takes on the way, it does not say."""
        chunks = sum(math.prod(self._shape_of(n)) for n, _, _ in touching(self.chunks, region))
        return (size_of(region) + chunks) * self.dtype.itemsize

    def _shape_of(self, number: int) -> tuple[int, ...]:
        index = np.unravel_index(number, tuple(map(len, self.chunks))) if self.chunks else ()
        return tuple(c.edge(int(i) + 1) - c.edge(int(i)) for c, i in zip(self.chunks, index, strict=True))

    def disk_nbytes(self, region: Region) -> int:
        return 0

    def __getstate__(self) -> bytes:
        from gpuarray.cluster.shipping import dumps

        return dumps((self.array, self.chunks, self.dtype), [])

    def __setstate__(self, state: bytes) -> None:
        from gpuarray.cluster.shipping import loads

        self.__init__(*loads(state))  # type: ignore[misc]


def _check_meta(x: Any) -> None:
    meta = x._meta
    if isinstance(meta, np.ma.MaskedArray):
        raise TypeError("the dask array's chunks are masked and would lose their masks; fill them: da.ma.filled(x, 0)")
    if not isinstance(meta, np.ndarray) and array_on_gpu(meta) is None and not np.isscalar(meta):
        raise TypeError(
            f"the dask array's chunks are of type {type(meta).__name__}; gpuarray takes NumPy's and CuPy's: convert "
            "them with x.map_blocks(...)"
        )


def _flat(keys: Any) -> Iterator[Any]:
    if isinstance(keys, list):
        for key in keys:
            yield from _flat(key)
    else:
        yield keys


def _on_a_worker() -> bool:
    """Whether this thread performs a task of dask's: one that asked the scheduler for more would hold its place."""
    if "distributed" not in sys.modules:
        return False
    from distributed.worker import thread_state

    return hasattr(thread_state, "execution_state")


install("to_dask", to_dask)

__all__ = ["DaskReader", "from_dask", "from_delayed", "to_dask"]
