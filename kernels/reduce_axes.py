"""What a reduction does with the axes of a region, whoever computes it: integers only.

A cell's blocks, and so its bits, follow from `split` and `BLOCK`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

Cuts = tuple[int, ...] | None

BLOCK = {"fold": 4096, "arg": 4096, "moments": 256}
"""Elements of a block, by family. A change changes the bits of results."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis as loops see it: its length, and a step for every moving input."""

    length: int
    steps: tuple[int, ...]
    outs: tuple[int, ...] = ()
    """Steps of the state arrays, for axes of cells."""


def split(reduced: Sequence[Axis], block: int, inputs: int) -> tuple[list[Axis], Axis, int, list[Axis]]:
    """(outer axes, cut axis, its positions per block, whole axes), as `gpuarray.kernels.reduce` defines them.

    `inputs`: steps of an `Axis`.
    """
    axes = [a for a in reduced if a.length != 1] or [Axis(1, (0,) * inputs)]
    whole: list[Axis] = []
    elements = 1
    while len(axes) > 1 and axes[-1].length * elements <= block:
        elements *= axes[-1].length
        whole.insert(0, axes.pop())
    return axes[:-1], axes[-1], max(block // elements, 1), whole


def check_cuts(cuts: Sequence[Cuts], shape: tuple[int, ...]) -> None:
    if len(cuts) != len(shape):
        raise ValueError(f"{len(cuts)} cuts for a region of shape {shape}; give one per axis")
    for n, cut in zip(shape, cuts, strict=True):
        if cut is not None and (
            not cut or cut[0] != 0 or cut[-1] != n or any(a > b for a, b in itertools.pairwise(cut))
        ):
            raise ValueError(f"cuts {cut} of an axis of length {n}; they rise from 0 to the length")


def runs_of(cuts: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """Neighbouring cells of one length: (start, length, how many, number of the first)."""
    runs: list[tuple[int, int, int, int]] = []
    for number, (a, b) in enumerate(itertools.pairwise(cuts)):
        if runs and runs[-1][1] == b - a:
            start, length, count, first = runs[-1]
            runs[-1] = (start, length, count + 1, first)
        else:
            runs.append((a, b - a, 1, number))
    return runs
