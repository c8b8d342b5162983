"""Arrays with more elements around them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import normalize_axis
from gpuarray.graph.leaves import Const
from gpuarray.graph.move import Concat
from gpuarray.graph.select import AxisMap, Indices, Select

STATISTICS = ("maximum", "mean", "median", "minimum")
PAD_MODES = ("constant", "edge", "wrap", "reflect", "symmetric", "empty", "linear_ramp", *STATISTICS)
ARGUMENTS = {
    "constant_values": ("constant",),
    "end_values": ("linear_ramp",),
    "stat_length": STATISTICS,
    "reflect_type": ("reflect", "symmetric"),
}
"""The modes that take an argument."""


def pad(array: Any, pad_width: Any, mode: str = "constant", **kwargs: Any) -> NDArray:
    """An array with more elements before and after each axis: a constant, or its own by the rule `mode`.

    >>> import gpuarray as ga
    >>> ga.pad([1, 2, 3], (2, 1), mode="reflect").compute()
    array([3, 2, 1, 2, 3, 2])

    Arguments as in `numpy.pad` ("empty" is zeros), without functions as modes. Raises ValueError for another mode or an
    argument that a mode does not take, negative widths, or an empty axis that has nothing to repeat.
    """
    x = asarray(array)
    if mode not in PAD_MODES:
        raise ValueError(f"mode={mode!r} is not supported; there are {', '.join(map(repr, PAD_MODES))}")
    for name in kwargs:
        if name not in ARGUMENTS:
            raise TypeError(f"pad() has no argument {name!r}")
        if mode not in ARGUMENTS[name]:
            raise ValueError(f"unsupported keyword arguments for mode {mode!r}: {name}")
    constant_values = kwargs.get("constant_values", 0)
    widths = per_side(pad_width, x.ndim, "pad_width")
    if any(not isinstance(w, (int, np.integer)) for pair in widths for w in pair):
        raise TypeError(f"pad_width={pad_width!r} must be integers")
    if any(w < 0 for pair in widths for w in pair):
        raise ValueError(f"pad_width={pad_width!r} must not be negative")
    values = per_side(0 if mode == "empty" else constant_values, x.ndim, "constant_values")
    if mode == "linear_ramp" or mode in STATISTICS or kwargs.get("reflect_type", "even") != "even":
        from gpuarray.padding_rules import extended

        return extended(x, widths, mode, kwargs)
    node = x.node
    for axis, ((before, after), ends) in enumerate(zip(widths, values, strict=True)):
        n = node.shape[axis]
        if (before or after) and not n and mode not in ("constant", "empty"):
            raise ValueError(f"cannot extend the empty axis {axis} with mode={mode!r}; only a constant can pad it")
        parts = []
        for start, width, value in ((-before, before, ends[0]), (n, after, ends[1])):
            shape = tuple(width if a == axis else m for a, m in enumerate(node.shape))
            if mode in ("constant", "empty"):
                const = np.asarray(value).astype(x.dtype)
                parts.append(Select(shape, (), Const.of(const, x.dtype)) if width else None)
            else:
                maps: list[AxisMap] = [(a, range(m)) for a, m in enumerate(node.shape)]
                maps[axis] = (axis, Indices(_reflected(mode, np.arange(start, start + width), n)))
                parts.append(Select(shape, tuple(maps), node) if width else None)
        pieces = [p for p in (parts[0], node, parts[1]) if p is not None]
        node = pieces[0] if len(pieces) == 1 else Concat(axis, *pieces)
    return NDArray(node)


def _reflected(mode: str, positions: Any, n: int) -> Any:
    """Which of `n` elements stand at positions outside of ``range(n)``."""
    if mode == "edge":
        return np.clip(positions, 0, n - 1)
    if mode == "wrap":
        return positions % n
    period = 2 * n if mode == "symmetric" else max(1, 2 * (n - 1))
    folded = positions % period
    return np.where(folded < n, folded, (period - 1 if mode == "symmetric" else period) - folded)


def per_side(given: Any, ndim: int, name: str) -> list[tuple[Any, Any]]:
    """One pair, before and after, for each axis."""
    if isinstance(given, dict):
        pairs: list[tuple[Any, Any]] = [(0, 0)] * ndim
        for axis, value in given.items():
            pairs[normalize_axis(axis, ndim)] = (value, value) if np.ndim(value) == 0 else tuple(value)
        return pairs
    try:
        sides = np.broadcast_to(np.asarray(given), (ndim, 2))
    except ValueError:
        raise ValueError(f"{name}={given!r} must be one value, a pair, or a pair for each of {ndim} axes") from None
    return [(row[0], row[1]) for row in sides]
