"""compute, persist and store: the whole way of the data, on one page.

roots      the nodes the user asks for, each with a sink: a NumPy array, a zarr array, or None to keep it
plan       optimize, cut into stages and tasks, count the bytes; refuse here, before anything runs
execute    the executor streams the tasks; chunks go to the sinks, or stay in the memory manager
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpuarray import config
from gpuarray.cluster.task import Chunk, Key
from gpuarray.graph.grid import Chunks, Region, as_slices
from gpuarray.graph.leaves import Stored
from gpuarray.graph.node import Node
from gpuarray.kernels import backends
from gpuarray.plan import direct
from gpuarray.plan.build import RunPlan, build
from gpuarray.plan.policy import policy


class ArraySink:
    """A NumPy array that `compute` returns, filled region by region."""

    units: Chunks | None = None
    in_memory = True

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    @property
    def nbytes(self) -> int:
        return int(self.array.nbytes)

    def target(self, region: Region, backend: Any) -> Any:
        """Memory that a kernel may write a region to directly, where the backend's memory is the host's."""
        return self.array[as_slices(region)] if backend.xp is np else None

    def write(self, region: Region, array: np.ndarray[Any, Any]) -> None:
        self.array[as_slices(region)] = array


def make_plan(roots: Sequence[Node], sinks: Sequence[Any]) -> RunPlan:
    """Plan a run under the settings in force."""
    settings = config.get()
    reserved = sum(s.nbytes for s in sinks if s is not None and s.in_memory)
    return build(roots, sinks, settings.host_limit(), settings.thread_count(), policy(settings.compile), reserved)


def execute(plan: RunPlan) -> dict[Key, Chunk]:
    """Run a plan on the executor in force."""
    from gpuarray.executors import current

    return current().run(plan)


def run(roots: Sequence[Node], sinks: Sequence[Any]) -> tuple[Node, ...]:
    """Plan and execute; return the leaves that stand for what was kept."""
    plan = make_plan(roots, sinks)
    execute(plan)
    return plan.stored


def compute_nodes(roots: Sequence[Node]) -> list[np.ndarray[Any, Any]]:
    """The results as NumPy arrays, in one run that does shared work once."""
    limit = config.get().host_limit()
    small = direct.order_if_small(roots, limit)
    if small is not None:
        return direct.compute(small, roots, backends.get("numpy"))
    check_fits(roots, limit)
    results = [np.empty(n.shape, n.dtype) for n in roots]
    run(roots, [ArraySink(r) for r in results])
    return results


def check_fits(roots: Sequence[Node], limit: int) -> None:
    """Refuse results that do not fit before memory is asked for."""
    from gpuarray.cluster.sizes import format_bytes
    from gpuarray.errors import MemoryLimitError

    total = sum(int(np.prod(n.shape, dtype=object)) * n.dtype.itemsize for n in roots)
    if total > limit:
        shapes = ", ".join(f"{n.shape} {n.dtype}" for n in roots)
        raise MemoryLimitError(
            f"the result, {shapes}, takes {format_bytes(total)} of memory, more than the limit of "
            f"{format_bytes(limit)}. Write it with .to_zarr() or .to_npy() instead of .compute(), reduce it first, "
            "or raise host_memory."
        )


class Holder:
    """Keeps the chunks of a persisted result in the memory manager for as long as a node refers to it."""

    def __init__(self, keys: Sequence[Key], drop: Callable[[Sequence[Key]], None]) -> None:
        self.keys = tuple(keys)
        weakref.finalize(self, drop, self.keys)


def persist_nodes(roots: Sequence[Node]) -> list[Node]:
    """Compute results and keep them where they are; return leaves that stand for them."""
    from gpuarray.executors import current

    executor = current()
    plan = make_plan(roots, [None] * len(roots))
    executor.run(plan)
    leaves = []
    for leaf in plan.stored:
        assert isinstance(leaf, Stored)
        keys = [key for key in plan.kept if key[:2] == (leaf.stage, leaf.output)]
        holder = Holder(keys, executor.drop)
        leaves.append(Stored(leaf.stage, leaf.output, leaf.shape, leaf.dtype, leaf.parts, leaf.chunks, holder))
    return leaves
