"""Several arrays in one run: what they share is done once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuarray.array import NDArray


def _nodes(arrays: Sequence[Any], what: str) -> list[Any]:
    for k, a in enumerate(arrays):
        if not isinstance(a, NDArray):
            raise TypeError(
                f"{what} takes NDArrays, but argument {k} is a {type(a).__name__}; gpuarray.asarray makes one of it"
                + (f", and {what}(*arrays) takes a list apart" if isinstance(a, (list, tuple)) else "")
            )
    return [a.node for a in arrays]


def compute(*arrays: NDArray, executor: Any = None, scheduler: str | None = None) -> tuple[np.ndarray[Any, Any], ...]:
    """The results of several arrays as NumPy arrays, in one run.

    >>> import gpuarray as ga
    >>> x = ga.arange(4.0)
    >>> ga.compute(x.sum(), x.max())
    (array(6.), array(3.))

    Data that several of them read is read once. `executor`, any `concurrent.futures.Executor`, and `scheduler`,
    ``"threads"`` or ``"single-threaded"``, are settings (`config.set`) for this run alone.

    Raises TypeError for what is no NDArray, MemoryLimitError, before anything runs, where results or tasks do not fit
    the memory limit.
    """
    from gpuarray import run

    nodes = _nodes(arrays, "compute")
    with run.where(executor, scheduler):
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
    from gpuarray import run

    nodes = _nodes(arrays, "persist")
    return tuple(NDArray(n) for n in run.persist_nodes(nodes)) if nodes else ()
