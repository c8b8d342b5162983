"""compute, persist and store: the whole way of the data, on one page.

roots      the nodes the user asks for, each with a sink: a NumPy array, a zarr array, or None to keep it
plan       optimize, cut into stages and tasks, count the bytes; refuse here, before anything runs
execute    the executor streams the tasks; chunks go to the sinks, or stay in the memory manager
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from gpuarray import config, recycled
from gpuarray.cluster.progress import progress_bars
from gpuarray.cluster.reporting import listeners
from gpuarray.cluster.sizes import format_bytes
from gpuarray.cluster.task import Chunk, Key
from gpuarray.errors import MemoryLimitError
from gpuarray.executors import current
from gpuarray.graph.grid import Lengths
from gpuarray.graph.leaves import Source, Stored
from gpuarray.graph.move import Rechunk
from gpuarray.graph.node import Node
from gpuarray.graph.select import Select
from gpuarray.plan import direct
from gpuarray.plan.build import RunPlan, build
from gpuarray.plan.policy import policy
from gpuarray.readers import KeptReader, read_kept
from gpuarray.sinks import ArraySink


def make_plan(roots: Sequence[Node], sinks: Sequence[Any]) -> RunPlan:
    """Plan a run under the settings in force."""
    engine = current()
    reserved = sum(s.nbytes for s in sinks if s is not None and s.in_memory)
    host = engine.host_limit if engine.has_own_memory else None
    if engine.elsewhere is not None:  # the results are here, and were looked at by `check_fits`
        reserved, host = 0, engine.elsewhere.host_limit
    kernels = policy(config.get().compile, engine.is_gpu)
    given = (engine.limit, engine.threads, kernels, reserved, host, engine.elsewhere, engine.devices)
    return build(roots, sinks, *given)


def run(roots: Sequence[Node], sinks: Sequence[Any]) -> None:
    """Compute every root into its sink."""
    execute(make_plan(roots, sinks))


def execute(plan: RunPlan) -> Mapping[Key, Chunk]:
    """Run a plan on the executor in force, with a progress bar and reports where they are wanted."""
    recycled.release_results()
    subscribers = (*progress_bars(config.get().progress), *listeners())
    kept: Mapping[Key, Chunk] = current().executor.run(plan, subscribers)
    return kept


def compute_nodes(roots: Sequence[Node]) -> list[np.ndarray[Any, Any]]:
    """The results as NumPy arrays, in one run that does shared work once."""
    engine = current()
    small = direct.order_if_small(roots, engine.limit)
    if small is not None:
        return direct.compute(small, roots, engine.small_backend)
    check_fits(roots, engine.host_limit)
    results = [recycled.result(n.shape, n.dtype) for n in roots]
    run(roots, [ArraySink(r) for r in results])
    return results


def element(node: Node) -> np.ndarray[Any, Any] | None:
    """A copy of one element where it lies in the host's memory, without a plan: loops ask for thousands of them."""
    if type(node) is not Select or node.shape or type(node.inputs[0]) is not Source:
        return None
    reader = node.inputs[0].reader
    if not reader.in_memory and (not isinstance(reader, KeptReader) or current().has_own_memory):
        return None
    return np.array(reader.read(tuple(range(m, m + 1) for m in node.maps if isinstance(m, int)))).reshape(())


def compute_on_device(root: Node) -> Any:
    """The result where tasks compute: an array of the backend, in one piece."""
    engine = current()
    if not engine.has_own_memory:
        return compute_nodes([root])[0]
    nbytes = math.prod(root.shape) * root.dtype.itemsize
    if nbytes > engine.limit:
        raise MemoryLimitError(
            f"the result, {root.shape} {root.dtype}, takes {format_bytes(nbytes)} of device memory, more than the "
            f"limit of {format_bytes(engine.limit)}. Leave device=True out, reduce it first, or raise device_memory."
        )
    if 0 in root.shape:
        with engine.backend.active():
            return engine.backend.empty(root.shape, root.dtype)
    whole = tuple(Lengths.regular(n, n) for n in root.shape)
    node = root if root.chunks == whole else Rechunk(whole, root)
    plan = make_plan([node], [None])
    kept = execute(plan)
    (leaf,) = plan.stored
    assert isinstance(leaf, Stored)
    return read_kept(kept, leaf, tuple(map(range, root.shape)), engine.backend)


def where(executor: Any, scheduler: str | None) -> AbstractContextManager[Any]:
    """The settings for a run with an executor or a scheduler of its own."""
    given = {"executor": executor, "scheduler": scheduler}
    chosen = {name: value for name, value in given.items() if value is not None}
    return config.set(**chosen) if chosen else nullcontext()


def check_fits(roots: Sequence[Node], limit: int) -> None:
    """Refuse results that do not fit before memory is asked for."""
    total = sum(math.prod(n.shape) * n.dtype.itemsize for n in roots)
    if total > limit:
        shapes = ", ".join(f"{n.shape} {n.dtype}" for n in roots)
        raise MemoryLimitError(
            f"the result, {shapes}, takes {format_bytes(total)} of memory, more than the limit of "
            f"{format_bytes(limit)}. Write it with .to_zarr() or .to_npy() instead of .compute(), reduce it first, "
            "or raise host_memory."
        )


def persist_nodes(roots: Sequence[Node]) -> list[Node]:
    """Compute results and keep them in the executor's memory; return sources that read them."""
    plan = make_plan(roots, [None] * len(roots))
    kept = execute(plan)
    sources: list[Node] = []
    for root, leaf in zip(roots, plan.stored, strict=True):
        assert isinstance(leaf, Stored)
        # cut as the user was told, however the plan put its chunks together
        sources.append(Source(KeptReader(kept, leaf), root.shape, root.dtype, root.chunks))
    return sources
