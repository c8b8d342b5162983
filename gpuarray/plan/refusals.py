"""What is said where a plan does not fit: the bytes, the rule, and what would make it fit."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gpuarray.cluster.sizes import format_bytes
from gpuarray.graph.grid import Chunks, Region, count, region_at, size_of
from gpuarray.graph.leaves import Source, Stored
from gpuarray.graph.node import Node, toposort
from gpuarray.graph.reduce import Combine
from gpuarray.graph.select import Select
from gpuarray.kernels.errors import MemoryLimitError
from gpuarray.plan.block import Needs, Value, expand

RAISE = "raise host_memory (device_memory on a GPU)"


def named(nodes: Sequence[Node]) -> str:
    """The results as a user would call them: not by the view that drops an axis at the end."""
    below = []
    for node in nodes:
        while isinstance(node, Select):
            (node,) = node.inputs
        below.append(node.label)
    return " and ".join(dict.fromkeys(below))


def asked_for(nodes: Sequence[Node]) -> str:
    """The user's line, as errors at run time say it."""
    line = next((n.origin for n in nodes if getattr(n, "origin", "")), "")
    return f" (asked for at {line})" if line else ""


def too_large(
    nodes: Sequence[Node], grid: Chunks, number: int, wanted: Sequence[Value], need: Needs, hard: int
) -> MemoryLimitError:
    """The error for a task that needs more than the limit however the work is cut."""
    kept = sum(n for _, n in need.inputs)
    region = ", ".join(f"{r.start}:{r.stop}" for r in region_at(grid, number))
    where = f" on the region [{region}]" if region else ""
    cause = large_chunks(wanted, hard) or f"Use smaller chunks than {tuple(c.largest for c in grid)}, or {RAISE}."
    told = next((n.remedy for n, _ in expand(wanted).values if n.remedy), "")
    if told:
        cause = f"{told[0].upper()}{told[1:]}, or {RAISE}."
    elif not region and kept > need.load:
        cause = f"It takes all of these results at once: {RAISE[0].upper()}{RAISE[1:]}."
    return MemoryLimitError(
        f"{named(nodes)}{where}{asked_for(nodes)} needs {format_bytes(need.total)} ({format_bytes(kept)} of earlier "
        f"results, {format_bytes(need.load)} read, {format_bytes(need.work)} of results and temporaries), more than "
        f"the {format_bytes(hard)} that are left of the memory limit, and it cannot be split further. {cause}"
    )


def too_much_read(
    nodes: Sequence[Node], grid: Chunks, number: int, wanted: Sequence[Value], need: Needs, host: int
) -> MemoryLimitError:
    """The error for a task that reads more, on its way to a device, than the host may hold."""
    cause = large_chunks(wanted, host) or f"Use smaller chunks than {tuple(c.largest for c in grid)}, or {RAISE[:17]}."
    return MemoryLimitError(
        f"{named(nodes)}{asked_for(nodes)} reads {format_bytes(need.load)} at once, more than the "
        f"{format_bytes(host)} that are left of host_memory for it on its way to the device, and it cannot be split "
        f"further. {cause}"
    )


def too_many(nodes: Sequence[Node], grid: Chunks, size: int, wanted: Sequence[Value], hard: int) -> MemoryLimitError:
    """The error for tasks so small that a run would take hours."""
    cause = large_chunks(wanted, hard) or f"Raise{RAISE[5:]}."
    return MemoryLimitError(
        f"{named(nodes)}{asked_for(nodes)} would be cut into {count(grid):,} tasks of at most {size} elements, because "
        f"only {format_bytes(hard)} are left of the memory limit. {cause}"
    )


def large_chunks(wanted: Sequence[Value], hard: int) -> str:
    """What to do about what is read in pieces that alone take most of the limit; nothing where there is none."""
    for node, region in expand(wanted).sources():
        if not isinstance(node, Source) or not size_of(region):
            continue
        one: Region = tuple(range(r.start, r.start + 1) for r in region)
        least = node.reader.read_nbytes(one)
        if 2 * least > hard:
            persisted = node.reader.name == "persisted"
            name = "the persisted array" if persisted else node.reader.name
            remedy = "persist it again under this limit" if persisted else "write it in smaller chunks"
            return (
                f"Reading any element of {name} of shape {node.shape} takes {format_bytes(least)}, because its chunks "
                f"are large: {remedy}, or {RAISE}."
            )
    return ""


def check_states(nodes: Sequence[Node], hard: int) -> None:
    """Refuse to merge more states than the limit holds; there may be too many to list them."""
    for node in toposort(*nodes):
        if not isinstance(node, Combine) or not isinstance(node.inputs[0], Stored):
            continue
        (states,) = node.inputs
        (region,) = node.regions(tuple(range(min(1, n)) for n in node.shape))
        if states.nbytes(region) > hard:
            cells = math.prod(len(region[a]) for a in node.axes)
            raise MemoryLimitError(
                f"{node.label} keeps a state for each of {cells:,} cells and merges them at once, "
                f"{format_bytes(states.nbytes(region))}, more than the {format_bytes(hard)} that are left of the "
                f"memory limit. To reduce so much, reduce parts of the array and then their results, or {RAISE}."
            )
