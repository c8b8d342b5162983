"""Every window of an array, as a view."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

from gpuarray.array import NDArray, asarray
from gpuarray.axes import normalize_axis
from gpuarray.graph.overlap import Windows


def sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> NDArray:
    """A view of every window of an array, whose elements lie along axes at the end.

    >>> import gpuarray as ga
    >>> windows = ga.sliding_window_view([1, 2, 4, 8], 3)
    >>> windows.sum(axis=-1).compute()
    array([ 7, 14])

    Arguments as in `numpy.lib.stride_tricks.sliding_window_view`; `subok` changes nothing. Reductions of the windows
    read each element once and do not hold the windows. Raises ValueError for windows that are negative, longer than
    the axis, or not as many as `axis` names, and for ``writeable=True``.
    """
    array = asarray(x)
    if writeable:
        raise ValueError("windows share elements and arrays are never written to: writeable=True is not possible")
    given = tuple(window_shape) if isinstance(window_shape, Iterable) else (window_shape,)
    try:
        lengths = tuple(operator.index(n) for n in given)
    except TypeError:
        raise TypeError(f"window_shape={window_shape!r} must be integers") from None
    if any(n < 0 for n in lengths):
        raise ValueError(f"window_shape={window_shape!r} must not be negative")
    if axis is None:
        axes = tuple(range(array.ndim))
    else:
        axes = tuple(normalize_axis(a, array.ndim) for a in (axis if isinstance(axis, Iterable) else (axis,)))
    if len(axes) != len(lengths):
        raise ValueError(
            f"window_shape={window_shape!r} has {len(lengths)} lengths for {len(axes)} axes; name as many with axis="
        )
    shorter = list(array.shape)
    for a, n in zip(axes, lengths, strict=True):
        if n > shorter[a]:
            raise ValueError(f"a window of {n} elements is longer than axis {a} of an array of shape {array.shape}")
        shorter[a] -= n - 1
    return NDArray(Windows(axes, lengths, array.node)) if axes else array
