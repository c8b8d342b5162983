"""The arguments of transforms, checked as NumPy checks its own."""

from __future__ import annotations

import operator
from typing import Any

from gpuarray.array import NDArray, asarray
from gpuarray.axes import normalize_axis

NORMS = ("backward", "ortho", "forward")
SWAPPED = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}
"""The norm of a transform in the other direction that gives the same factor."""


def checked_norm(norm: Any) -> str | None:
    if norm is not None and norm not in NORMS:
        raise ValueError(f"norm={norm!r} is no norm; write one of {', '.join(map(repr, NORMS))}")
    made: str | None = norm
    return made


def checked_length(n: Any) -> int:
    try:
        length = operator.index(n)
    except TypeError:
        raise TypeError(f"n={n!r} must be an integer: the number of elements that are transformed") from None
    if length < 1:
        raise ValueError(f"cannot transform {length} elements: the length along a transformed axis must be positive")
    return length


def checked_axes(a: NDArray, s: Any, axes: Any, name: str) -> tuple[tuple[int, ...], list[int | None]]:
    """The axes of a transform along several, and the lengths asked for (None: the array's)."""
    if axes is None:
        if s is None:
            chosen = tuple(range(a.ndim))
        else:
            chosen = tuple(range(a.ndim - len(tuple(s)), a.ndim))
            if chosen and chosen[0] < 0:
                raise ValueError(f"s={s} has more entries than an array of shape {a.shape} has axes")
    else:
        chosen = tuple(normalize_axis(i, a.ndim) for i in axes)
    if s is None:
        return chosen, [None] * len(chosen)
    lengths = tuple(s)
    if len(lengths) != len(chosen):
        raise ValueError(f"{name}: s={s} and axes={axes} must have as many entries")
    wanted = [None if n is None or n == -1 else checked_length(n) for n in lengths]
    return chosen, wanted


def real_array(x: Any, name: str) -> NDArray:
    a = asarray(x)
    if a.dtype.kind == "c":
        raise TypeError(
            f"{name} takes real numbers, got dtype {a.dtype}; take .real, or use the transform without an r"
        )
    return a
