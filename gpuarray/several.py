"""Several arrays in one run: what they share is done once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuarray import run
from gpuarray.array import NDArray


def _nodes(arrays: Sequence[Any], what: str) -> list[Any]:
    for k, a in enumerate(arrays):
        if not isinstance(a, NDArray):
            raise TypeError(
                f"{what} takes NDArrays, but argument {k} is a {type(a).__name__}; gpuarray.asarray makes one of it"
                + (f", and {what}(*arrays) takes a list apart" if isinstance(a, (list, tuple)) else "")
            )
    return [a.node for a in arrays]


def compute(*arrays: NDArray) -> tuple[np.ndarray[Any, Any], ...]:
    """The results of several arrays as NumPy arrays, in one run.

    >>> import gpuarray as ga
    >>> x = ga.arange(4.0)
    >>> ga.compute(x.sum(), x.max())
    (array(6.), array(3.))

    Data that several of them read is read once. Raises TypeError for what is no NDArray, MemoryLimitError, before
    anything runs, where results or tasks do not fit the memory limit.
    """
    nodes = _nodes(arrays, "compute")
    return tuple(run.compute_nodes(nodes)) if nodes else ()


def persist(*arrays: NDArray) -> tuple[NDArray, ...]:
    """Compute several arrays in one run and keep their chunks in memory; returns arrays of them.

    >>> import gpuarray as ga
    >>> x = ga.arange(6, chunks=2)
    >>> even, odd = ga.persist(x[::2], x[1::2])
    >>> odd.compute()
    array([1, 3, 5])

    Raises as `compute`.
    """
    nodes = _nodes(arrays, "persist")
    return tuple(NDArray(n) for n in run.persist_nodes(nodes)) if nodes else ()


def store(sources: Any, targets: Any) -> None:
    """Write arrays into NumPy arrays (or memory maps) that exist, in one run, chunk by chunk.

    >>> import gpuarray as ga
    >>> import numpy as np
    >>> target = np.zeros(3)
    >>> ga.store(ga.arange(3.0) + 1, target)
    >>> target
    array([1., 2., 3.])

    Parameters
    ----------
    sources : an `NDArray` or a sequence of them
    targets : a writeable NumPy array for each, of the same shape, and of a dtype that the source may be cast to
        ("same_kind"). They must not share memory with each other or with what the sources read.

    Raises TypeError for other types and casts, ValueError for shapes, numbers, read-only targets and shared memory.
    For files see `NDArray.to_zarr` and `NDArray.to_npy`.
    """
    arrays = [sources] if isinstance(sources, NDArray) else list(sources)
    into = [targets] if isinstance(targets, np.ndarray) else list(targets)
    _nodes(arrays, "store")
    if len(arrays) != len(into):
        raise ValueError(f"store got {len(arrays)} sources and {len(into)} targets; give one target for each")
    for k, (source, target) in enumerate(zip(arrays, into, strict=True)):
        check_target(k, source, target)
    _check_apart(arrays, into)
    cast = [s if s.dtype == t.dtype else s.astype(t.dtype) for s, t in zip(arrays, into, strict=True)]  # type: ignore[attr-defined]
    if cast:
        run.run([a.node for a in cast], [run.ArraySink(t) for t in into])


def check_target(k: int, source: NDArray, target: Any) -> None:
    if not isinstance(target, np.ndarray):
        raise TypeError(
            f"target {k} is a {type(target).__name__}; store writes into NumPy arrays, .to_zarr() and "
            ".to_npy() into files"
        )
    if target.shape != source.shape:
        raise ValueError(f"target {k} has shape {target.shape}, its source {source.shape}; they must be equal")
    if not target.flags.writeable:
        raise ValueError(f"target {k} is read-only; pass an array that can be written to")
    if not np.can_cast(source.dtype, target.dtype, "same_kind"):
        raise TypeError(
            f"target {k} has dtype {target.dtype}, which {source.dtype} cannot be cast to; use .astype first"
        )


def _check_apart(sources: Sequence[NDArray], targets: Sequence[np.ndarray[Any, Any]]) -> None:
    """Refuse to write over what is still to be read."""
    from gpuarray.graph.leaves import Source
    from gpuarray.graph.node import toposort
    from gpuarray.readers import ArrayReader

    read = [
        n.reader.array
        for n in toposort(*(s.node for s in sources))
        if isinstance(n, Source) and isinstance(n.reader, ArrayReader)
    ]
    for k, target in enumerate(targets):
        if any(np.may_share_memory(target, a) for a in read):
            raise ValueError(f"target {k} shares memory with an array that the sources read; store into another array")
        if any(np.may_share_memory(target, other) for other in targets[:k]):
            raise ValueError(f"target {k} shares memory with another target")
