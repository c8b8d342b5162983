"""The results once more, by a plain loop over the files: NumPy and zarr, float64, no line of gpuarray."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Finding:
    """How far one result is from what the loop finds."""

    name: str
    largest: float
    """The largest difference."""
    allowed: float
    """What rounding to float32 explains."""

    @property
    def fine(self) -> bool:
        return self.largest <= self.allowed  # false for NaN


def compare(x_path: Path, z_path: Path, results: list[Any], progress: Progress) -> list[Finding]:
    """Read both files in blocks and compare everything that was computed.

    Parameters
    ----------
    results : the zarr array of z, and the means of z along axes 0, 1 and 2
    progress : told the fraction that is done
    """
    x: Any = zarr.open_array(x_path, mode="r")
    z: Any = zarr.open_array(z_path, mode="r")
    starts = range(0, x.shape[0], x.chunks[0])
    mean, deviation = _moments(x, starts, lambda done: progress(done / 3))
    along_0 = np.zeros(x.shape[1:])
    largest = [0.0] * 3
    for count, lo in enumerate(starts):
        part = slice(lo, lo + x.chunks[0])
        expected = (x[part].astype(np.float64) - mean) / deviation
        along_0 += expected.sum(axis=0)
        found = (z[part], results[2][part], results[3][part])
        for k, wanted in enumerate((expected, expected.mean(axis=1), expected.mean(axis=2))):
            largest[k] = max(largest[k], _largest(found[k], wanted))
        progress((1 + 2 * (count + 1) / len(starts)) / 3)
    # a temperature in float32 is known to 2**-24 of itself, and z is that over the deviation
    rounding = 8 * 2.0**-24 * max(1.0, (abs(mean) + 20 * deviation) / deviation)
    return [
        Finding("z", largest[0], rounding),
        Finding("z.mean(axis=0)", _largest(results[1], along_0 / x.shape[0]), rounding),
        Finding("z.mean(axis=1)", largest[1], rounding),
        Finding("z.mean(axis=2)", largest[2], rounding),
    ]


def _moments(x: Any, starts: range, progress: Progress) -> tuple[float, float]:
    """Mean and standard deviation, from sums about the mean of the first block."""
    about = float(x[: x.chunks[0]].astype(np.float64).mean())
    sums, squares = [], []
    for count, lo in enumerate(starts):
        block = x[lo : lo + x.chunks[0]].astype(np.float64)
        block -= about
        sums.append(float(block.sum()))
        squares.append(float(np.einsum("ijk,ijk->", block, block)))
        progress((count + 1) / len(starts))
    offset = math.fsum(sums) / math.prod(x.shape)
    return about + offset, math.sqrt(math.fsum(squares) / math.prod(x.shape) - offset**2)


def _largest(found: Any, expected: Any) -> float:
    """The largest difference; infinite where something is not a number."""
    difference = float(np.abs(found - expected).max())
    return difference if difference == difference else math.inf
