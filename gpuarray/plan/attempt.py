"""The plan of a run that does not happen: what it is made for, and what to show where it would be refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, NamedTuple

from gpuarray.cluster.sizes import format_bytes
from gpuarray.graph.grid import Chunks
from gpuarray.graph.node import Node
from gpuarray.kernels.errors import MemoryLimitError
from gpuarray.optimize.fuse import Policy
from gpuarray.plan.build import RunPlan, build
from gpuarray.plan.roofline import Rates
from gpuarray.plan.survey import output_nbytes

Then = Literal["compute", "persist", "store"]
"""What becomes of the results: a NumPy array, chunks kept in memory, chunks written to a file."""

_NO_LIMIT = 2**62
_STORED_CHUNK = 16 << 20
"""Bytes copied to encode a chunk of a new store: those of one chunk, which is seldom larger than this."""


@dataclass(frozen=True, slots=True, eq=False)
class Destination:
    """Stands for where a result would go."""

    nbytes: int
    in_memory: bool
    units: Chunks | None
    write_nbytes: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """What a plan is made for."""

    limit: int
    """Bytes of the memory in which tasks compute."""
    threads: int
    rates: Rates
    device: bool = False
    """Tasks compute in a device's memory."""
    host_limit: int | None = None
    """Bytes of host memory, for a machine with a device."""
    devices: int = 1
    """That share the tasks out."""


class Planned(NamedTuple):
    """A plan, and what it was made under."""

    plan: RunPlan
    refusal: str | None
    """Why the run would be refused."""
    limit: int | None
    """What the plan keeps to; None for no limit."""
    reserved: int
    """Bytes of results that the plan makes room for."""


def planned(roots: Sequence[Node], then: Then, machine: Machine, policy: Policy) -> Planned:
    """The plan of a run, or of the nearest that can be planned where the run would be refused."""

    def attempt(to: Then, limit: int, reserved: int) -> RunPlan:
        sinks = [destination(n, to) for n in roots]
        host = None
        if machine.device:
            host = _NO_LIMIT if machine.host_limit is None or limit == _NO_LIMIT else machine.host_limit
        return build(roots, sinks, limit, machine.threads, policy, reserved, host, devices=machine.devices)

    results = sum(map(output_nbytes, roots)) if then == "compute" else 0
    room = machine.host_limit if machine.device else machine.limit
    if room is not None and results > room:
        refusal = (
            f"the result takes {format_bytes(results)} of memory, more than the limit of {format_bytes(room)}. Write "
            "it with .to_zarr() or .to_npy() instead of .compute(), reduce it first, or raise host_memory."
        )
    else:
        try:
            plan = attempt(then, machine.limit, results)
            return Planned(plan, None, machine.limit, results)
        except MemoryLimitError as error:
            refusal = str(error)
    if then == "compute":  # the tasks may fit where only the result does not
        with suppress(MemoryLimitError):
            return Planned(attempt("store", machine.limit, 0), refusal, machine.limit, 0)
    return Planned(attempt(then, _NO_LIMIT, 0), refusal, None, results)


def destination(node: Node, then: Then) -> Destination | None:
    if then == "persist":
        return None
    if then == "compute":
        return Destination(output_nbytes(node), True, None)
    chunk = math.prod(c.largest for c in node.chunks) * node.dtype.itemsize
    return Destination(output_nbytes(node), False, node.chunks, min(chunk, _STORED_CHUNK))
