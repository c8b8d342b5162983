"""A task with a stencil below other work, done strip by strip: what lies between two kernels stays in the cache.

A stencil's result that is only handed to an elementwise kernel or a reduction of the same task would go to memory and
back, and the memory would be fresh at that. In strips of a few rows it is read where it was written. The strips end
between a reduction's cells, and the bits of a sweep do not depend on how it is cut, so the results are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from gpuarray.cluster.task import Chunk, Key
from gpuarray.graph.elementwise import Fused
from gpuarray.graph.grid import Region, nbytes, shape_of, size_of
from gpuarray.graph.leaves import Const, Index, Source, Stored
from gpuarray.graph.move import Rechunk
from gpuarray.graph.node import Node
from gpuarray.graph.reduce import Partial
from gpuarray.graph.select import VIEW, Select
from gpuarray.graph.stencil import Part, Sweep
from gpuarray.plan.block import IN_PLACE, Block, Value, expand
from gpuarray.plan.compute import compute

BYTES = 8 << 20
"""Bytes of a stencil's result in a strip: enough that going through Python costs little beside it, and in the cache."""
AGAIN = 1.1
"""The most work over what is done at once: neighbouring strips need the same margins."""
_PLAIN = (Sweep, Fused, Partial, Part, Source, Stored, Const, Index, Rechunk)


def in_strips(
    block: Block, backend: Any, loaded: Mapping[Value, Any], chunks: Mapping[Key, Chunk], into: Mapping[Value, Any]
) -> list[Any] | None:
    """The block's wanted values, or None where strips do not pay."""
    strips = cut(block) if backend.xp is np else []
    if len(strips) < 2:
        return None
    results: list[Any] = [into.get(value) for value in block.wanted]
    done = [0] * len(results)
    scratch: dict[Node, Any] = {}
    for domain in strips:
        wanted = tuple((node, rows(node, region, domain)) for node, region in block.wanted)
        strip = expand(wanted)
        for k, (node, region) in enumerate(block.wanted):
            if results[k] is None:
                results[k] = allocated(backend, node, region)
        targets = {
            value: results[k][done[k] : done[k] + len(value[1][0])]
            for k, value in enumerate(wanted)
            if isinstance(value[0], IN_PLACE) and not value[0].parts
        }
        targets |= between(strip, backend, scratch)
        made = compute(strip, backend, sources(strip, loaded), chunks, targets)
        for k, value in enumerate(wanted):
            n = len(value[1][0])
            for target, array in pairs(results[k], made[k]):
                part = target[done[k] : done[k] + n]
                if value not in targets or array is not targets[value]:
                    part[...] = array
            done[k] += n
    return results


def between(strip: Block, backend: Any, scratch: dict[Node, Any]) -> dict[Value, Any]:
    """Memory for the sweeps of a strip, the same for each: it is in the cache, and fresh memory is slow."""
    found = {}
    values = [v for v in strip.values if isinstance(v[0], Sweep) and v not in strip.wanted]
    for node, region in values:
        if node.parts or [n for n, _ in values].count(node) > 1:
            continue
        n = size_of(region)
        if node not in scratch or scratch[node].size < n:
            scratch[node] = backend.empty((n,), node.dtype)
        found[node, region] = scratch[node][:n].reshape(shape_of(region))
    return found


def allocated(backend: Any, node: Node, region: Region) -> Any:
    arrays = tuple(backend.empty(shape_of(region), d) for d in node.fields)
    return arrays if node.parts else arrays[0]


def pairs(target: Any, made: Any) -> zip[tuple[Any, Any]]:
    return zip(target, made, strict=True) if isinstance(target, tuple) else zip((target,), (made,), strict=True)


def cut(block: Block) -> list[Region]:
    """The strips of the domain that the wanted values go through; one, or none, where it is done at once."""
    values = list(block.values)
    between = [v for v in values if isinstance(v[0], Sweep) and v not in block.wanted]
    if not between or block.stepped or not all(map(is_plain, (n for n, _ in values))):
        return []
    domains = {node.reduced(r) if isinstance(node, Partial) else r for node, r in block.wanted}
    if len(domains) > 1:
        return []
    (domain,) = domains
    if not domain or not size_of(domain) or domain[0].step != 1:
        return []
    largest = max(sum(nbytes(r, d) for d in n.fields) for n, r in between)
    edges = common_edges([node for node, _ in block.wanted], domain[0], -(-largest // BYTES))
    strips = [(range(a, b), *domain[1:]) for a, b in pairwise(edges)]
    return strips if len(strips) > 1 and again(block, strips) <= AGAIN else []


def is_plain(node: Node) -> bool:
    """Whether a region of a result, in rows, needs about those rows of the inputs."""
    return isinstance(node, _PLAIN) or (isinstance(node, Select) and node.label == VIEW)


def common_edges(nodes: list[Node], r: range, pieces: int) -> list[int]:
    """Where to cut a run of rows into about so many pieces of whole cells."""
    cells = [n.cuts[0] for n in nodes if isinstance(n, Partial) and n.cuts[0] is not None]
    step = -(-len(r) // max(1, pieces))
    if not cells:
        return [*range(r.start, r.stop, step), r.stop]
    shared = set.intersection(*({c.edge(k) for k in c.touched(r)} for c in cells))
    edges = [r.start]
    for edge in sorted(shared):
        if edge - edges[-1] >= step:
            edges.append(edge)
    return [*edges, r.stop]


def rows(node: Node, region: Region, domain: Region) -> Region:
    """The part of a wanted region that a strip of the domain is for."""
    if not isinstance(node, Partial) or node.cuts[0] is None:
        return domain if not isinstance(node, Partial) else (domain[0], *region[1:])
    cells = node.cuts[0]
    return range(cells.find(domain[0][0]), cells.find(domain[0][-1]) + 1), *region[1:]


def again(block: Block, strips: list[Region]) -> float:
    """The work of all strips over that of the block."""
    middle = strips[len(strips) // 2]
    strip = expand((node, rows(node, region, middle)) for node, region in block.wanted)
    return work(strip) * len(strips) / max(1, work(block))


def work(block: Block) -> float:
    """Of sweeps, which begin with the box that is read and end with the region."""
    swept = ((n, r) for n, r in block.values if isinstance(n, Sweep))
    return sum(node.cost() * (size_of(r) + size_of(node.box(r))) for node, r in swept)


def sources(strip: Block, loaded: Mapping[Value, Any]) -> dict[Value, Any]:
    """What a strip reads, out of what its task has loaded."""
    found = {}
    for node, region in strip.sources():
        for (other, whole), array in loaded.items():
            if other is node and all(inside(r, w) for r, w in zip(region, whole, strict=True)):
                at = tuple(
                    slice((r.start - w.start) // w.step, (r[-1] - w.start) // w.step + 1, r.step // w.step)
                    if r
                    else slice(0)
                    for r, w in zip(region, whole, strict=True)
                )
                found[node, region] = array[at or ...]
                break
    return found


def inside(r: range, whole: range) -> bool:
    return not r or (r[0] in whole and r[-1] in whole and r.step % whole.step == 0)
