"""Filters as steps of the graph: programs over taps, and functions of regions with their margins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.elementwise import cast
from gpuarray.graph.overlap import Local, Neighbourhood
from gpuarray.graph.stencil import Scalars, sweep
from gpuarray.kernels.program import Program
from gpuarray.kernels.stencils.program import Edge, Mode, StencilProgram, Tap
from gpuarray.ndimage.arguments import constant
from gpuarray.overlap import PADDING
from gpuarray.padding import pad

Offset = tuple[int, ...]

FEW = 32
"""Taps up to which the policy is never overruled."""
MAX_TAPS = 1000
"""Filters that read more elements are computed by array functions: their programs would take seconds to build."""


def swept(
    x: NDArray,
    program: Program,
    offsets: Sequence[Offset],
    modes: Sequence[Mode],
    value: Any,
    scalars: Sequence[Any] = (),
    steps: int = 1,
    coefficients: Sequence[NDArray] = (),
) -> NDArray:
    """A program of the elements at `offsets` from every point, and of the coefficients there, so many times."""
    fields, here = (x, *coefficients), (0,) * x.ndim
    taps = (*(Tap(0, o) for o in offsets), *(Tap(k, here) for k in range(1, len(fields))))
    stencil = StencilProgram(program, taps, tuple(f.dtype.name for f in fields), x.ndim)
    read = [any(stencil.radius(0, a)) for a in range(x.ndim)]
    ends = (
        Edge(m, value if m == "constant" else 0) if r else Edge("nearest") for m, r in zip(modes, read, strict=True)
    )
    edges = (tuple((e, e) for e in ends), *(((Edge("nearest"),) * 2,) * x.ndim for _ in coefficients))
    dtypes = [np.dtype(i.dtype) for i in program.inputs if i.kind == "scalar"]
    compiled = None if may_compile(offsets, x.size) else False
    (made,) = sweep(stencil, edges, Scalars.of([tuple(scalars)], dtypes), steps, 0, compiled, *(f.node for f in fields))
    return NDArray(made)


def may_compile(offsets: Sequence[Offset], points: int) -> bool:
    """Whether to leave it to the policy if a kernel is compiled: for many taps that takes longer than it saves.

    Measured: 20 ms a tap, and 0.7 ms for each pair of rows; 1 ns is saved for every tap of a point. Kernels are kept,
    so a quarter of the price may do.
    """
    rows = len({o[:-1] for o in offsets})
    price, saved = 0.02 * len(offsets) + 0.0007 * rows**2, 1e-9 * len(offsets) * points
    return len(offsets) <= FEW or 4 * saved >= price


def near(x: NDArray, function: Local, dtype: np.dtype[Any], modes: Sequence[Mode], value: Any) -> NDArray:
    """A function of the elements around every point; it casts to `dtype` as it writes."""
    chunks = x.chunks
    for axis, (depth, mode) in enumerate(zip(function.depths, modes, strict=True)):
        if any(depth):
            how = PADDING[mode]
            x = pad(x, {axis: depth}, how, **({"constant_values": value} if how == "constant" else {}))
    return NDArray(Neighbourhood(function, dtype, chunks, x.node))


def unfiltered(x: NDArray, dtype: np.dtype[Any]) -> NDArray:
    """The array itself: where there are no elements, or no axes to filter along."""
    return NDArray(cast(x.node, dtype))


def depths_around(offsets: Sequence[Offset], ndim: int) -> tuple[tuple[int, int], ...]:
    """How many elements before and after a point are read, by axis."""
    return tuple((max(0, -min(o[a] for o in offsets)), max(0, *(o[a] for o in offsets))) for a in range(ndim))


__all__ = ["MAX_TAPS", "constant", "depths_around", "near", "swept", "unfiltered"]
