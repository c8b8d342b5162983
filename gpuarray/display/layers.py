"""Where to put the boxes of a small graph: in layers, with few crossings and short arrows (Sugiyama's method).

Edges that span several layers get a waypoint in each layer between. The order within a layer follows the mean place of
the neighbours, swept down and up; places along it are then the nearest to those means that keep boxes apart.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T", bound=Hashable)
Edge = tuple[int, int]

SWEEPS = 6
STRAIGHTEN = 12


@dataclass(frozen=True, slots=True)
class Layout:
    """Layers from the top, and a place along its layer for every box and waypoint.

    Boxes have the numbers that they were given with; waypoints come after them.
    """

    layers: list[list[int]]
    centre: list[float]
    routes: dict[Edge, list[int]]
    """From an edge to the boxes and waypoints that it goes through, both ends included."""


def layout(widths: Sequence[float], edges: Sequence[Edge], gap: float, waypoint: float) -> Layout:
    """Place boxes of `widths`, `gap` apart; every edge goes from a lower number to a higher, and is down the page.

    >>> layout([10, 10, 10], [(0, 1), (0, 2)], gap=4, waypoint=2).layers
    [[0], [1, 2]]
    """
    level = levels(len(widths), edges)
    widths = list(widths)
    routes: dict[Edge, list[int]] = {}
    for a, b in edges:
        route = [a]
        for between in range(level[a] + 1, level[b]):
            route.append(len(level))
            level.append(between)
            widths.append(waypoint)
        routes[a, b] = [*route, b]
    links = [pair for route in routes.values() for pair in pairwise(route)]
    above = neighbours(len(level), [(b, a) for a, b in links])
    below = neighbours(len(level), links)
    layers: list[list[int]] = [[] for _ in range(max(level, default=-1) + 1)]
    for n, at in enumerate(level):
        layers[at].append(n)
    layers = ordered(layers, above, below, links)
    return Layout(layers, placed(layers, widths, above, below, gap), routes)


def levels(count: int, edges: Sequence[Edge]) -> list[int]:
    """The layer of each box: below all it comes from, and what comes from nothing just above its first reader."""
    level = [0] * count
    for a, b in sorted(edges):
        level[b] = max(level[b], level[a] + 1)
    made = {b for _, b in edges}
    for n in range(count):
        readers = [level[b] for a, b in edges if a == n]
        if n not in made and readers:
            level[n] = min(readers) - 1
    return level


def neighbours(count: int, links: Sequence[Edge]) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(count)]
    for a, b in links:
        found[a].append(b)
    return found


def ordered(
    layers: list[list[int]], above: list[list[int]], below: list[list[int]], links: Sequence[Edge]
) -> list[list[int]]:
    """The layers with their boxes in an order that crosses few links."""
    best, fewest = layers, crossings(layers, links)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        layers = [list(layer) for layer in layers]
        down = sweep % 2 == 0
        sequence = layers[1:] if down else layers[-2::-1]
        near = above if down else below
        for layer in sequence:
            place = {n: k for other in layers for k, n in enumerate(other)}
            mean = {n: sum(place[m] for m in near[n]) / len(near[n]) if near[n] else place[n] for n in layer}
            layer.sort(key=mean.__getitem__)
        found = crossings(layers, links)
        if found < fewest:
            best, fewest = layers, found
    return best


def crossings(layers: list[list[int]], links: Sequence[Edge]) -> int:
    """How many pairs of links cross."""
    place = {n: (depth, k) for depth, layer in enumerate(layers) for k, n in enumerate(layer)}
    between: dict[int, list[Edge]] = {}
    for a, b in links:
        between.setdefault(place[a][0], []).append((place[a][1], place[b][1]))
    count = 0
    for pairs in between.values():
        ends: list[int] = []
        for _, end in sorted(pairs):
            count += sum(e > end for e in ends)
            ends.append(end)
    return count


def placed(
    layers: list[list[int]], widths: Sequence[float], above: list[list[int]], below: list[list[int]], gap: float
) -> list[float]:
    """The centre of every box along its layer; the leftmost edge is at 0."""
    centre = [0.0] * len(widths)
    for layer in layers:
        x = 0.0
        for n in layer:
            centre[n] = x + widths[n] / 2
            x += widths[n] + gap
        for n in layer:
            centre[n] -= (x - gap) / 2
    for step in range(STRAIGHTEN):
        for layer in layers if step % 2 == 0 else layers[::-1]:
            wanted = []
            for n in layer:
                near = above[n] + below[n] if step >= STRAIGHTEN - 2 else (above if step % 2 == 0 else below)[n]
                wanted.append(sum(centre[m] for m in near) / len(near) if near else centre[n])
            for n, x in zip(layer, apart(wanted, [widths[n] for n in layer], gap), strict=True):
                centre[n] = x
    left = min((centre[n] - widths[n] / 2 for n in range(len(widths))), default=0.0)
    return [x - left for x in centre]


def apart(wanted: Sequence[float], widths: Sequence[float], gap: float) -> list[float]:
    """The centres nearest to the wanted ones (in least squares) at which boxes in this order do not overlap.

    >>> apart([0.0, 0.0], [10, 10], 2)
    [-6.0, 6.0]
    """
    offset = [0.0]
    for a, b in pairwise(widths):
        offset.append(offset[-1] + (a + b) / 2 + gap)
    # Pool adjacent violators: neighbours that want to overlap move as one block.
    blocks: list[tuple[float, int]] = []
    for x, o in zip(wanted, offset, strict=False):
        total, count = x - o, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / count:
            before, n = blocks.pop()
            total, count = total + before, count + n
        blocks.append((total, count))
    starts = [total / count for total, count in blocks for _ in range(count)]
    return [s + o for s, o in zip(starts, offset, strict=False)]


def ports(routes: Mapping[Edge, Sequence[int]], centre: Sequence[float]) -> tuple[dict[Edge, float], dict[Edge, float]]:
    """Where along a box, from -1 to 1, each edge leaves and arrives: side by side, in the order of the other ends."""
    leaves: dict[int, list[tuple[float, Edge]]] = {}
    arrives: dict[int, list[tuple[float, Edge]]] = {}
    for edge, route in routes.items():
        leaves.setdefault(edge[0], []).append((centre[route[1]], edge))
        arrives.setdefault(edge[1], []).append((centre[route[-2]], edge))
    return spread(leaves), spread(arrives)


def spread(sides: Mapping[int, list[tuple[float, Edge]]]) -> dict[Edge, float]:
    return {
        edge: (2 * (k + 1) / (len(side) + 1) - 1) for side in sides.values() for k, (_, edge) in enumerate(sorted(side))
    }
