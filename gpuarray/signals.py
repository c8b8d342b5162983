"""Sums over neighbours: convolutions, integrals, and differences that are summed again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import normalize_axis
from gpuarray.cumulative import cumsum
from gpuarray.elementwise import apply, cast
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.joining import concatenate
from gpuarray.manipulation import flip, ravel, reshape
from gpuarray.numeric import diff
from gpuarray.reductions import sum
from gpuarray.windows import sliding_window_view

MODES = ("full", "same", "valid")


def _mode(mode: Any) -> str:
    names = dict(enumerate(("valid", "same", "full")))
    found = names.get(mode, mode) if isinstance(mode, int) else str(mode).lower()
    matches = [m for m in MODES if isinstance(found, str) and found and m.startswith(found[0])]
    if not matches:
        raise ValueError(f"mode={mode!r} must be one of 'valid', 'same', or 'full'")
    return matches[0]


def _vectors(a: Any, v: Any) -> tuple[NDArray, NDArray]:
    x, kernel = asarray(a), asarray(v)
    x, kernel = (reshape(y, (1,)) if not y.ndim else y for y in (x, kernel))
    if x.ndim != 1 or kernel.ndim != 1:
        raise ValueError(f"object too deep for desired array: shapes {x.shape} and {kernel.shape} must be vectors")
    if not x.size or not kernel.size:
        raise ValueError("a cannot be empty" if not x.size else "v cannot be empty")
    return x, kernel


def convolve(a: Any, v: Any, mode: Any = "full") -> NDArray:
    """The convolution of two vectors.

    >>> import gpuarray as ga
    >>> ga.convolve([1, 2, 3], [0, 1, 0.5]).compute()
    array([0. , 1. , 2.5, 4. , 1.5])

    Arguments as in `numpy.convolve`. The longer vector is gone through once; each task holds the shorter one whole.
    Raises ValueError for empty arrays and those of several dimensions.
    """
    x, kernel = _vectors(a, v)
    how = _mode(mode)
    if kernel.size > x.size:
        x, kernel = kernel, x
    n, m = x.size, kernel.size
    kind = np.result_type(x.dtype, kernel.dtype)
    x, kernel = (NDArray(cast(y.node, kind)) for y in (x, kernel))
    before, after = {"full": (m - 1, m - 1), "same": (m - 1 - (m - 1) // 2, (m - 1) // 2), "valid": (0, 0)}[how]
    if how == "same":
        before, after = m - 1 - (m - 1) // 2, (m - 1) // 2
    ends = [np.zeros(k, kind) for k in (before, after)]
    x = concatenate([ends[0], x, ends[1]]).rechunk((_longest(x, n),))
    windows = sliding_window_view(x, m)
    traits = Traits("convolve", scratch=6 / m, cost=2 * m)
    made: Node = Routine(
        _convolved, (), kind, windows.chunks[:1], ((0, None), (None,)), traits, windows.node, kernel.node
    )
    return NDArray(made)


def _longest(x: NDArray, n: int) -> int:
    return max(1, min(n, x.chunks[0].largest))


def _convolved(xp: Any, windows: Any, kernel: Any) -> Any:
    """From the windows of a run of elements, which are a view of it."""
    run = xp.concatenate([windows[:, 0], windows[-1, 1:]])
    return xp.convolve(run, kernel, mode="valid")


def correlate(a: Any, v: Any, mode: Any = "valid") -> NDArray:
    """The cross-correlation of two vectors.

    >>> import gpuarray as ga
    >>> ga.correlate([1, 2, 3], [0, 1, 0.5]).compute()
    array([3.5])

    Arguments as in `numpy.correlate`; see `convolve`.
    """
    x, kernel = _vectors(a, v)
    if kernel.size > x.size:
        made = flip(correlate(kernel, x, mode))
        return apply("conjugate", made) if made.dtype.kind == "c" else made
    turned = flip(kernel)
    return convolve(x, apply("conjugate", turned) if turned.dtype.kind == "c" else turned, mode)


def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> NDArray:
    """The integral along an axis by the trapezoidal rule.

    >>> import gpuarray as ga
    >>> ga.trapezoid([1, 2, 3]).compute()
    array(4.)

    Arguments as in `numpy.trapezoid`. Raises AxisError out of range, ValueError for places that do not broadcast.
    """
    values = asarray(y)
    at = normalize_axis(axis, values.ndim)
    step: Any = dx
    if x is not None:
        places = asarray(x)
        step = diff(places, axis=at if places.ndim != 1 else 0)
        if places.ndim == 1:
            step = reshape(step, tuple(-1 if a == at else 1 for a in range(values.ndim)))
    part: list[Any] = [slice(None)] * values.ndim
    part[at] = slice(1, None)
    later = values[tuple(part)]
    part[at] = slice(None, -1)
    return sum(step * (later + values[tuple(part)]) / 2.0, axis=at)


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> NDArray:
    """Differences of neighbours in the flattened array, with other elements before and behind them.

    >>> import gpuarray as ga
    >>> ga.ediff1d([1, 2, 4, 7], to_begin=-99, to_end=[88, 99]).compute()
    array([-99,   1,   2,   3,  88,  99])

    Arguments as in `numpy.ediff1d`. Raises TypeError for ends that cannot be cast to the dtype.
    """
    x = ravel(ary)
    middle = x[1:] - x[:-1] if x.dtype != bool else apply("not_equal", x[1:], x[:-1])
    parts = [middle]
    for ends, name, front in ((to_begin, "to_begin", True), (to_end, "to_end", False)):
        if ends is None:
            continue
        more = ravel(ends)
        weak = not hasattr(ends, "dtype")
        if not np.can_cast(more.dtype, x.dtype, "same_kind") and not (weak and more.dtype.kind == x.dtype.kind):
            raise TypeError(f"dtype of `{name}` must be compatible with input `ary` under the `same_kind` rule.")
        more = NDArray(cast(more.node, x.dtype))
        parts = [more, *parts] if front else [*parts, more]
    return concatenate(parts) if len(parts) > 1 else middle


def unwrap(p: Any, discont: float | None = None, axis: int = -1, *, period: float = 2 * math.pi) -> NDArray:
    """Angles made continuous along an axis: jumps of more than half a period are taken back.

    >>> import gpuarray as ga
    >>> ga.unwrap([0, 1, 2, -1, 0], period=4).compute()
    array([0, 1, 2, 3, 4])

    Arguments as in `numpy.unwrap`.
    """
    x = asarray(p)
    at = normalize_axis(axis, x.ndim)
    step = diff(x, axis=at)
    limit = period / 2 if discont is None else discont
    kind = np.result_type(step.dtype, period)
    exact = kind.kind in "iu"
    if exact:
        high, remainder = divmod(period, 2)
        boundary = remainder == 0
    else:
        high, boundary = period / 2, True
    low = -high
    jump = (step - low) % period + low
    if boundary:
        jump = apply("where", (jump == low) & (step > 0), high, jump)
    correct = jump - step
    correct = apply("where", apply("absolute", step) < limit, 0, correct)
    part: list[Any] = [slice(None)] * x.ndim
    part[at] = slice(0, 1)
    first = NDArray(cast(x[tuple(part)].node, kind))
    part[at] = slice(1, None)
    rest = x[tuple(part)] + cumsum(correct, axis=at)
    return concatenate([first, NDArray(cast(rest.node, kind))], axis=at)
