"""Padding that is computed: ramps, statistics of the ends, and reflections at a point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpuarray.array import NDArray, asarray
from gpuarray.axes import sliced
from gpuarray.elementwise import apply, cast
from gpuarray.joining import concatenate
from gpuarray.manipulation import broadcast_to, flip, reshape
from gpuarray.numeric import round
from gpuarray.padding import per_side
from gpuarray.ranges import arange

Widths = Sequence[tuple[Any, Any]]


def extended(x: NDArray, widths: Widths, mode: str, given: Mapping[str, Any]) -> NDArray:
    """An array with more elements at the ends of each axis, one axis after the other, as NumPy does."""
    ends = per_side(given.get("end_values", 0), x.ndim, "end_values")
    lengths = given.get("stat_length")
    counts = [(None, None)] * x.ndim if lengths is None else per_side(lengths, x.ndim, "stat_length")
    odd = given.get("reflect_type", "even")
    if odd not in ("even", "odd"):
        raise ValueError(f'reflect_type={odd!r} must be "even" or "odd"')
    for axis, (before, after) in enumerate(widths):
        if not before and not after:
            continue
        if not x.shape[axis]:
            raise ValueError(f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'")
        if mode == "linear_ramp":
            x = _ramps(x, axis, int(before), int(after), ends[axis])
        elif mode in ("reflect", "symmetric"):
            x = _turned(x, axis, int(before), int(after), mode == "symmetric")
        else:
            x = _summarised(x, axis, int(before), int(after), mode, counts[axis])
    return x


def _part(x: NDArray, axis: int, part: range) -> NDArray:
    return NDArray(sliced(x.node, axis, part))


def _ramps(x: NDArray, axis: int, before: int, after: int, ends: tuple[Any, Any]) -> NDArray:
    """From a value outside to the element at the end, in even steps."""
    n = x.shape[axis]
    parts = [x]
    for width, end, at, left in ((before, ends[0], 0, True), (after, ends[1], n - 1, False)):
        if not width:
            continue
        edge = _part(x, axis, range(at, at + 1))
        shape = tuple(-1 if a == axis else 1 for a in range(x.ndim))
        steps = reshape(arange(width), shape)
        made = steps * ((edge - end) / width) + end
        if x.dtype.kind in "iu":
            made = apply("floor", made)
        made = NDArray(cast(made.node, x.dtype))
        parts = [made, *parts] if left else [*parts, flip(made, axis=axis)]
    return concatenate(parts, axis=axis)


def _summarised(x: NDArray, axis: int, before: int, after: int, mode: str, counts: tuple[Any, Any]) -> NDArray:
    """The largest, smallest, mean or middle element of those near the end."""
    from gpuarray.order_statistics import median
    from gpuarray.reductions import max, min
    from gpuarray.statistics import mean

    functions: dict[str, Callable[..., NDArray]] = {"maximum": max, "minimum": min, "mean": mean, "median": median}
    function = functions[mode]
    n = x.shape[axis]
    parts = [x]
    for width, count, left in ((before, counts[0], True), (after, counts[1], False)):
        length = n if count is None else int(count)
        if length < 0:
            raise ValueError(f"index can't contain negative values: stat_length {count}")
        if not length and mode in ("maximum", "minimum"):
            raise ValueError("stat_length of 0 yields no value for padding")
        length = length if length < n else n
        near = _part(x, axis, range(length) if left else range(n - length, n))
        made = function(near, axis=axis, keepdims=True)
        if x.dtype.kind in "iu" and made.dtype.kind == "f":
            made = round(made)
        made = NDArray(cast(made.node, x.dtype))
        if width:
            shape = tuple(width if a == axis else m for a, m in enumerate(x.shape))
            made = broadcast_to(made, shape)
            parts = [made, *parts] if left else [*parts, made]
    return concatenate(parts, axis=axis)


def _turned(x: NDArray, axis: int, before: int, after: int, symmetric: bool) -> NDArray:
    """Reflected at the element at the end: as far above it as the other side is below."""
    if x.shape[axis] == 1 and not symmetric:
        ends = [(0, 0)] * x.ndim
        ends[axis] = (before, after)
        from gpuarray.padding import pad

        return pad(x, ends, "edge")
    period = x.shape[axis] - (0 if symmetric else 1)
    skip = 0 if symmetric else 1
    two = asarray(2).astype(x.dtype)
    while before or after:
        n = x.shape[axis]
        length = (n - skip) // period * period
        parts = [x]
        left, right = (w if w < length else length for w in (before, after))
        if left:
            near = flip(_part(x, axis, range(skip, skip + left)), axis=axis)
            parts = [two * _part(x, axis, range(1)) - near, *parts]
        if right:
            near = flip(_part(x, axis, range(n - skip - right, n - skip)), axis=axis)
            parts = [*parts, two * _part(x, axis, range(n - 1, n)) - near]
        x = concatenate(parts, axis=axis)
        before, after = before - left, after - right
    return x
