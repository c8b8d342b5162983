"""What several steps at once keep of a stencil's fields, and in which tiles: arithmetic, no text."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from gpuarray.kernels.cuda.offline import SHARED_BY_DEFAULT
from gpuarray.kernels.cuda.positions import FUNCTIONS
from gpuarray.kernels.cuda.stencil_code import Modes, read_fields
from gpuarray.kernels.stencils.boxes import source
from gpuarray.kernels.stencils.program import Edge, StencilProgram

Tile = tuple[int, ...]
"""Positions that a block of threads has along the axes that it does not stream down; along the only axis in 1-D."""

TILES: dict[int, tuple[Tile, ...]] = {1: ((1024,), (2048,)), 2: ((512,), (256,)), 3: ((32, 32), (16, 32), (16, 64))}
"""By the number of axes. In two and three dimensions a thread has one position, in one dimension `PER_THREAD`."""
PER_THREAD = 4
"""Positions of a thread in one dimension."""
REGISTERS = 120
"""Registers of a thread that the rows of all steps may take."""
LEAST_WRITTEN = 0.6
"""Of a tile in three dimensions: where less of it is written, computing the rest takes longer than another pass."""
OTHER_REGISTERS = 40
"""What a thread takes besides, about."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What is kept of one field at every step; a row is all that has one position along the first axis."""

    own: tuple[int, int]
    """Rows at the thread's own position, in registers: from the oldest to the newest, from the row computed."""
    shared: tuple[int, int] | None
    """Rows in shared memory, in the same way."""

    @property
    def slots(self) -> int:
        """Rows that shared memory holds: one may be written while all others are read."""
        return self.shared[1] - self.shared[0] + 2 if self.shared else 0


def loaded_fields(stencil: StencilProgram) -> list[int]:
    """The fields that a kernel is given: those read, and the state."""
    return sorted({*read_fields(stencil), *range(stencil.outputs)})


@functools.lru_cache(1024)
def wrapped_axes(stencil: StencilProgram, modes: Modes) -> tuple[bool, ...]:
    """By axis, whether it is periodic for all fields read along it: positions run on then, and loads wrap around."""

    def wrapped(axis: int) -> bool:
        around = [f for f in loaded_fields(stencil) if any(stencil.radius(f, axis))]
        return bool(around) and all(modes[f][axis] == ("periodic", "periodic") for f in around)

    return tuple(map(wrapped, range(stencil.ndim)))


@functools.lru_cache(1024)
def running(stencil: StencilProgram, modes: Modes) -> Modes:
    """The modes with ``none`` along wrapped axes."""
    wraps = wrapped_axes(stencil, modes)
    return tuple(
        tuple(("none", "none") if wrap else sides for wrap, sides in zip(wraps, field, strict=True)) for field in modes
    )


@functools.lru_cache(1024)
def missing(stencil: StencilProgram, modes: Modes, domain: tuple[int, ...]) -> str:
    """Why there is no kernel of several steps, or an empty text: then there is one."""
    if stencil.ndim > 3:
        return f"{stencil.ndim} axes; several steps at once are done on 1 to 3"
    wraps = wrapped_axes(stencil, modes)
    for f in range(stencil.outputs):
        if stencil.program.dtype_of(stencil.program.outputs[f]) != stencil.dtype(f):
            return f"field {f} changes its dtype"
        for axis, sides in enumerate(modes[f]):
            if "periodic" in sides and not wraps[axis] and any(stencil.radius(f, axis)):
                return f"axis {axis} is periodic for field {f}, and not for all fields at both ends"
    for axis, n in enumerate(domain):
        below, above = radius(stencil, axis)
        if n >= 1 << 30:
            return f"axis {axis} is too long for positions of 32 bits: {n} points"
        if n < 2 * (below + above) + 1:
            return f"axis {axis} is too short for the edges: {n} points, radius {below} and {above}"
    try:
        rows_of(stencil, running(stencil, modes))
    except ValueError as error:
        return str(error)
    return ""


def radius(stencil: StencilProgram, axis: int) -> tuple[int, int]:
    """How far the state is read below and above."""
    both = [stencil.radius(f, axis) for f in range(stencil.outputs)]
    return max(b for b, _ in both), max(a for _, a in both)


def mapped(mode: str, offset: int) -> list[tuple[int, int]]:
    """(distance of the row from the edge, offset of the row that is read instead), for rows whose read passes it.

    >>> mapped("reflect", -2), mapped("symmetric", 1)
    ([(0, 2), (1, 0)], [(0, 0)])
    """
    if mode not in FUNCTIONS:
        return []
    sign = -1 if offset < 0 else 1
    edge = Edge(mode)  # type: ignore[arg-type]
    return [
        (r, sign * (r - found))
        for r in range(abs(offset))
        if (found := source(r - abs(offset), 1 << 30, edge)) is not None
    ]


def _reads(stencil: StencilProgram, modes: Modes, field: int) -> set[tuple[int, bool]]:
    """Every row at which the kernel may read the field, edges included, and whether beside the thread's position."""
    found = {(0, False)}  # what `fixed` keeps
    for tap in stencil.taps:
        if tap.field == field:
            dy, beside = tap.offset[0], any(tap.offset[1:])
            rows = [dy] + [m for _, m in mapped(modes[field][0][0 if dy < 0 else 1], dy)]
            found |= {(m, beside) for m in rows}
            # the positions that edges of other axes map to are in the same rows
    return found


def rows_of(stencil: StencilProgram, modes: Modes) -> dict[int, Rows]:
    """By field of the state. Raises ValueError where an edge reflects too far."""
    if stencil.ndim == 1:
        return {f: Rows((0, 0), (0, 0)) for f in range(stencil.outputs)}
    _, above = radius(stencil, 0)
    found = {}
    for f in range(stencil.outputs):
        reads = _reads(stencil, modes, f)
        if max(dy for dy, _ in reads) > above:
            raise ValueError("an edge reflects to rows that the stencil itself does not reach")
        across = [dy for dy, beside in reads if beside]
        shared = (min(across), max(across)) if across else None
        own = min([dy for dy, beside in reads if not beside] + ([shared[1]] if shared else []))
        found[f] = Rows((own, above), shared)
    return found


@functools.lru_cache(1024)
def tile_of(stencil: StencilProgram, modes: Modes, count: int) -> Tile:
    """The tile for `count` steps at once, or (): shared memory or registers are too few."""
    axes = range(0 if stencil.ndim == 1 else 1, stencil.ndim)
    around = [sum(radius(stencil, a)) for a in axes]
    rows = rows_of(stencil, running(stencil, modes))
    sizes = {f: stencil.dtype(f).itemsize for f in rows}
    if stencil.ndim == 1:
        per_point = sum(2 * size for size in sizes.values())
        coefficients = sum(max(1, stencil.dtype(t.field).itemsize // 4) for t in stencil.taps if t.field not in rows)
        registers = PER_THREAD * (coefficients + 2 * sum(max(1, size // 4) for size in sizes.values()))
    else:
        per_point = sum(count * r.slots * sizes[f] for f, r in rows.items())
        registers = sum(count * (r.own[1] - r.own[0] + 2) * max(1, sizes[f] // 4) for f, r in rows.items())

    def share(tile: Tile) -> float:
        """How much of the tile is written."""
        return math.prod((t - count * d) / t for t, d in zip(tile, around, strict=True))

    def fits(tile: Tile) -> bool:
        shared = math.prod(t + d for t, d in zip(tile, around, strict=True)) * per_point
        if shared > SHARED_BY_DEFAULT or any(count * d > t // 2 for t, d in zip(tile, around, strict=True)):
            return False
        few = (registers + OTHER_REGISTERS) * threads_of(tile, stencil.ndim) <= 65536
        return stencil.ndim < 3 or (few and share(tile) >= LEAST_WRITTEN)

    def useful(tile: Tile) -> float:
        """Threads of a multiprocessor that compute what is written; blocks wait for each other's barriers best."""
        threads = threads_of(tile, stencil.ndim)
        blocks = max(1, min(65536 // ((registers + OTHER_REGISTERS) * threads), 2048 // threads))
        return min(blocks * threads, 1024) * share(tile)

    if registers > REGISTERS:
        return ()
    return max(filter(fits, TILES[stencil.ndim]), key=useful, default=())


def threads_of(tile: Tile, ndim: int) -> int:
    """The threads of a block with such a tile."""
    per_thread = PER_THREAD if ndim == 1 else 1
    return math.prod(tile) // per_thread


def written(stencil: StencilProgram, tile: Tile, count: int) -> Tile:
    """By axis of the tile, the positions that `count` steps leave right, which are what it writes."""
    first = stencil.ndim - len(tile)
    return tuple(t - count * sum(radius(stencil, a)) for a, t in enumerate(tile, first))


@functools.lru_cache(1024)
def most_steps(stencil: StencilProgram, modes: Modes, limit: int = 16) -> int:
    """The largest number of steps at once, up to `limit`, for which there is a kernel; 0 if for none."""
    return next((count for count in range(limit, 0, -1) if tile_of(stencil, modes, count)), 0)
