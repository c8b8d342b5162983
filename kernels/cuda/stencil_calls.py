"""The launches of a stencil, one step or several at a time: `calls.Sweep`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.kernels.cuda import stencil_code, sweep_code
from gpuarray.kernels.cuda.call import (
    ENOUGH_THREADS,
    MOST_ACROSS,
    MOST_BLOCKS,
    Address,
    Call,
    Phase,
    Three,
    launch_of,
    scalar_arguments,
)
from gpuarray.kernels.stencils.boxes import Box
from gpuarray.kernels.stencils.program import Edges, StencilProgram


@dataclass(frozen=True, slots=True)
class Sweep:
    """What the launches of a stencil have in common. Arrays are given with the position of their element 0."""

    stencil: StencilProgram
    edges: Edges
    extended: tuple[bool, ...]
    """By axis, whether positions run on past the ends of it, as those of a periodic axis do (`stencils.boxes`)."""
    domain: tuple[int, ...]
    address: Address
    phase: Phase

    @property
    def modes(self) -> stencil_code.Modes:
        return stencil_code.modes_of(self.edges, self.extended)

    def _zero(self, array: Any, origin: tuple[int, ...]) -> Any:
        """Where position 0 of an array lies, or would."""
        return self.address(array, -sum(o * s for o, s in zip(origin, array.strides, strict=True)))

    def _scalars(self, row: Any) -> list[Any]:
        kinds = [np.dtype(i.dtype) for i in self.stencil.program.inputs if i.kind == "scalar"]
        return [a for value, dtype in zip(row, kinds, strict=True) for a in scalar_arguments(value, dtype)]

    def _constants(self, fields: Sequence[int], modes: stencil_code.Modes) -> list[Any]:
        return [
            c
            for f, a, side in stencil_code.constant_edges(modes, list(fields))
            for c in scalar_arguments(self.edges[f][a][side].value, self.stencil.dtype(f))
        ]

    def step(
        self,
        fields: Sequence[tuple[Any, tuple[int, ...]]],
        outputs: Sequence[tuple[Any, tuple[int, ...]]],
        box: Box,
        scalars: Sequence[Any],
        threads: Three | None = None,
    ) -> list[Call]:
        """The launches of one step over `box`; `fields` and `outputs` are (array, position of its element 0)."""
        s = self.stencil
        length, phase = self._vectors([*fields, *outputs])
        inner, around = stencil_code.slabs(s, self.modes, self.domain, box, length, phase)
        calls = []
        values = self._scalars(scalars)
        if inner is not None:
            kernel = stencil_code.interior_kernel(s, length > 1)
            arrays = [*outputs, *(fields[f] for f in stencil_code.read_fields(s))]
            places = [self._zero(*a) for a in arrays]
            moves = [m for a, _ in arrays for m in a.strides[:-1]]
            for part in _parts(inner):
                ends = [e for r in part for e in (r.start, r.stop)]
                blocks, shape, rows = _march(part, length, threads)
                calls.append(launch_of(kernel, blocks, shape, *places, *moves, *values, *ends, rows))
        kernel = stencil_code.edge_kernel(s, self.modes)
        for slab in around:
            arrays = [*outputs, *fields]
            moves = [m for a, _ in arrays for m in a.strides]
            ends = [e for r in slab for e in (r.start, r.stop)]
            blocks = (min(-(-math.prod(map(len, slab)) // kernel.threads), MOST_BLOCKS),)
            arguments = (
                *(self._zero(*a) for a in arrays),
                *moves,
                *self._constants(range(s.fields), self.modes),
                *values,
            )
            calls.append(launch_of(kernel, blocks, (kernel.threads,), *arguments, *self.domain, *ends))
        return calls

    def _vectors(self, arrays: Sequence[tuple[Any, tuple[int, ...]]]) -> tuple[int, int]:
        """(elements of a vector, positions of the last axis at which vectors begin modulo that); (1, 0) if none fit."""
        length = stencil_code.vector_length(self.stencil)
        if length == 1 or any(a.strides[-1] != a.dtype.itemsize for a, _ in arrays):
            return 1, 0
        phases = set()
        for array, origin in arrays:
            size = array.dtype.itemsize
            elements, rest = divmod(self.phase(array, length * size), size)
            if rest or any(stride % (length * size) for stride in array.strides[:-1]):
                return 1, 0
            phases.add((origin[-1] - elements) % length)
        return (length, phases.pop()) if len(phases) == 1 else (1, 0)

    def steps(
        self,
        fields: Sequence[tuple[Any, tuple[int, ...]]],
        outputs: Sequence[tuple[Any, tuple[int, ...]]],
        box: Box,
        read: Box,
        scalars: Sequence[Sequence[Any]],
        tile: tuple[int, ...] | None = None,
        rows: int | None = None,
    ) -> Call:
        """The launch of as many steps as there are rows of `scalars`, all at once (see `sweep_code.missing`).

        `read` is the box of level 0: what the fields hold of the positions that matter. `rows`: of the first axis, that
        a block streams down.
        """
        s, count = self.stencil, len(scalars)
        tile = tile or sweep_code.tile_of(s, self.modes, count)
        kernel = sweep_code.sweep_kernel(s, self.modes, count, tile)
        loaded = sweep_code.loaded_fields(s)
        arrays = [*outputs, *(fields[f] for f in loaded)]
        valid = sweep_code.written(s, tile, count)
        ends = [e for r in (*box, *read) for e in (r.start, r.stop)]
        values = [v for row in scalars for v in self._scalars(row)]
        constants = self._constants(loaded, sweep_code.running(s, self.modes))
        arguments = (*(self._zero(*a) for a in arrays), *(m for a, _ in arrays for m in a.strides[:-1]))
        arguments += (*constants, *values, *self.domain, *ends)
        if s.ndim == 1:
            return launch_of(kernel, (-(-len(box[0]) // valid[0]),), (kernel.threads,), *arguments)
        rows = max(rows or (256 if s.ndim == 2 else 128), -(-len(box[0]) // MOST_ACROSS))
        tiles = [-(-len(r) // v) for r, v in zip(box[1:], valid, strict=True)]
        blocks = (math.prod(tiles), -(-len(box[0]) // rows))
        return launch_of(kernel, blocks, tile[::-1], *arguments, rows, tiles[-1])


def _parts(box: Box) -> list[Box]:
    """The box, cut along its second axis where a grid could not hold all of its lines."""
    if len(box) < 3:
        return [box]
    others = math.prod(len(r) for r in box[2:-1])
    most = max(1, MOST_ACROSS // others)
    second = box[1]
    return [
        (box[0], range(start, min(start + most, second.stop)), *box[2:])
        for start in range(second.start, second.stop, most)
    ]


def _march(box: Box, length: int, threads: Three | None) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """(blocks, threads, rows that a thread computes one after the other) of `stencil_code.interior_kernel`."""
    across = -(-len(box[-1]) // length)
    if threads is None:
        x = min(128 if len(box) == 2 else 32, 1 << max(across - 1, 0).bit_length())
        threads = (max(x, 32), stencil_code.THREADS // max(x, 32) if len(box) > 1 else 1, 1)
    x, y, _ = threads
    if len(box) == 1:
        return (-(-across // x),), (x,), 1
    middle = math.prod(len(r) for r in box[1:-1])
    # long pieces read few rows twice, and many pieces give all of the GPU work
    rows = max(8, min(64, len(box[0]) * across * middle // ENOUGH_THREADS), -(-len(box[0]) // MOST_ACROSS))
    pieces = -(-len(box[0]) // rows)
    if len(box) == 2:
        return (-(-across // x), -(-pieces // y)), (x, y), rows
    return (-(-across // x), -(-middle // y), pieces), (x, y), rows
