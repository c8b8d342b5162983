"""Stencil sweeps on CUDA: which launches take a state over many steps."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuarray.kernels.cuda import sweep_code
from gpuarray.kernels.cuda.calls import Sweep
from gpuarray.kernels.cuda.scalar_code import missing
from gpuarray.kernels.stencils.boxes import Box, boxes
from gpuarray.kernels.stencils.interpreter import check, new
from gpuarray.kernels.stencils.margins import extended
from gpuarray.kernels.stencils.program import Edges, StencilProgram

MOST_AXES = 4
"""Of stencils that have kernels."""
Placed = tuple[Any, tuple[int, ...]]
"""An array and the position of its element 0."""


@functools.lru_cache(1024)
def missing_sweep(stencil: StencilProgram, edges: Edges) -> str:
    """Why sweeps of a stencil are interpreted, or an empty text: then `sweep` does them."""
    if why := missing(stencil.program):
        return why
    if stencil.ndim > MOST_AXES:
        return f"{stencil.ndim} axes, more than {MOST_AXES}"
    inputs = [i for i in stencil.program.inputs if i.kind == "array"]
    for tap, declared in zip(stencil.taps, inputs, strict=True):
        if stencil.dtype(tap.field) != np.dtype(declared.dtype):
            return f"field {tap.field} is {stencil.dtype(tap.field)}, and read as {declared.dtype}"
    for axis in range(stencil.ndim):
        reading = [f for f in range(stencil.fields) if any(stencil.radius(f, axis))]
        if len({edges[f][axis][0].mode == "periodic" for f in reading}) > 1:
            return f"axis {axis} is periodic for some fields only"
    same = all(stencil.program.dtype_of(o) == stencil.dtype(j) for j, o in enumerate(stencil.program.outputs))
    if not same and any(e.mode == "fixed" for field in edges for axis in field for e in axis):
        return "a fixed edge of a field whose dtype changes"
    return ""


def sweep(
    launcher: Any,
    xp: Any,
    stencil: StencilProgram,
    edges: Edges,
    scalars: np.ndarray[Any, Any],
    domain: tuple[int, ...],
    out: Box,
    fields: Sequence[Any],
    origins: Sequence[tuple[int, ...]],
    into: Sequence[Any] | None = None,
) -> tuple[Any, ...]:
    """Apply a stencil step after step (see `Backend.sweep`), one at least; `missing_sweep` has nothing against it.

    Parameters
    ----------
    launcher : a `launch.Launcher`
    xp : what new arrays are made with
    """
    steps = len(scalars)
    levels = boxes(stencil, edges, domain, out, steps)
    check(stencil, levels, fields, origins, into)
    results = tuple(into) if into is not None else new(xp, stencil, out)
    if not all(out):
        return results
    overlaps = into is not None and any(xp.may_share_memory(r, f) for r in results for f in fields)
    targets = new(xp, stencil, out) if overlaps else results
    images = tuple(extended(stencil, edges, a, n, levels[0][a]) for a, n in enumerate(domain))
    shared = Sweep(stencil, edges, images, domain, launcher.address, launcher.phase)
    rows = [[scalars[name][k] for name in scalars.dtype.names or ()] for k in range(steps)]
    state: list[Placed] = list(zip(fields, origins, strict=True))
    at = 0
    while at < steps:
        count = at_once(shared, state, targets, steps - at)
        box = levels[at + count]
        made = targets if at + count == steps else new(xp, stencil, box)
        start = tuple(r.start for r in box)
        placed = [(m, start) for m in made]
        if count > 1:
            launcher.run([shared.steps(state, placed, box, levels[at], rows[at : at + count])])
        else:
            launcher.run(shared.step(state, placed, box, rows[at]))
        state[: len(placed)] = placed
        at += count
    if overlaps:
        for result, target in zip(results, targets, strict=True):
            result[...] = target
    return results


def at_once(sweep: Sweep, state: Sequence[Placed], targets: Sequence[Any], steps: int) -> int:
    """How many of the steps left one launch does: about as many as those after it."""
    stencil = sweep.stencil
    if steps == 1 or sweep_code.missing(stencil, sweep.modes, sweep.domain):
        return 1
    if any(a.strides[-1] != a.dtype.itemsize for a in (*targets, *(a for a, _ in state))):
        return 1
    most = max(1, sweep_code.most_steps(stencil, sweep.modes))
    launches = -(-steps // most)
    return -(-steps // launches)
