"""Histograms and counts: one pass over the data, and one before it where the range is not given."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.elementwise import cast
from gpuarray.folding import folded
from gpuarray.graph.grid import Lengths
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.manipulation import ravel, reshape
from gpuarray.numeric import diff
from gpuarray.reductions import max as largest
from gpuarray.reductions import min as smallest
from gpuarray.reductions import sum as total

ESTIMATORS = ("auto", "doane", "fd", "rice", "scott", "sqrt", "sturges")


def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> NDArray:
    """How often each number from 0 on occurs, or the sum of the weights of its occurrences.

    >>> import gpuarray as ga
    >>> ga.bincount([0, 1, 1, 3]).compute()
    array([1, 2, 0, 1])

    Arguments as in `numpy.bincount`. The largest number is found at once, because the length depends on it; tasks hold
    a result each. Raises ValueError for negative numbers, TypeError for what is no integer.
    """
    values = asarray(x)
    if values.ndim != 1:
        raise ValueError(f"bincount takes an array of one dimension, got shape {values.shape}")
    if values.dtype.kind not in "iub" or (values.dtype == np.uint64):
        raise TypeError(f"cannot count elements of dtype {values.dtype}; they must be integers that int64 holds")
    least = operator.index(minlength)
    if least < 0:
        raise ValueError(f"minlength={least} must not be negative")
    length = least
    if values.size:
        from gpuarray.several import compute

        low, high = compute(smallest(values), largest(values))
        if low < 0:
            raise ValueError(f"the smallest element is {low}; bincount takes numbers from 0 on")
        length = max(least, int(high) + 1)
    if weights is None:
        return folded(_occurrences, [values], (length,), np.int64, length=length)
    given = asarray(weights)
    if given.shape != values.shape:
        raise ValueError(f"weights of shape {given.shape} must have the shape of x, {values.shape}")
    if not np.can_cast(given.dtype, np.float64, "safe") and given.dtype.kind not in "iu":
        raise TypeError(f"weights of dtype {given.dtype} cannot be cast to float64")
    heavy = NDArray(cast(given.node, np.dtype(np.float64)))
    return folded(_occurrences, [values, heavy], (length,), np.float64, length=length)


def _occurrences(xp: Any, rows: Any, weights: Any = None, *, length: int) -> Any:
    return xp.bincount(rows.astype(np.int64, copy=False), weights, minlength=length)[:length]


def _checked_range(given: Any) -> tuple[float, float] | None:
    if given is None:
        return None
    low, high = given
    if low > high:
        raise ValueError(f"max must be larger than min in range parameter, got {given}")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"supplied range of [{low}, {high}] is not finite")
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _edges(x: NDArray, bins: Any, limits: Any, weights: Any) -> NDArray:
    """The edges of the bins of an array; lazy where they depend on its elements."""
    wanted = bins
    if isinstance(bins, str):
        if weights is not None:
            raise TypeError("Automated estimation of the number of bins is not supported for weighted data")
        wanted = _estimated(x, bins, limits)
    if np.ndim(wanted) == 1:
        edges = asarray(wanted).compute() if isinstance(wanted, NDArray) else np.asarray(wanted)
        if (edges[:-1] > edges[1:]).any():
            raise ValueError("`bins` must increase monotonically, when an array")
        return asarray(edges)
    if np.ndim(wanted) != 0:
        raise ValueError("`bins` must be 1d, when an array")
    try:
        number = operator.index(wanted)
    except TypeError:
        raise TypeError("`bins` must be an integer, a string, or an array") from None
    if number < 1:
        raise ValueError(f"`bins` must be positive, when an integer, got {number}")
    known = _checked_range(limits)
    kind = np.result_type(*(known or ()), x.dtype if x.dtype != bool else np.uint8)
    if kind.kind in "iu":
        kind = np.result_type(kind, np.float64)
    if known is None and x.size:
        plain = x if x.dtype != bool else NDArray(cast(x.node, np.dtype(np.uint8)))
        ends = [reshape(f(plain), ()) for f in (smallest, largest)]
        chunks = (Lengths.regular(number + 1, number + 1),)
        traits = Traits("histogram_bin_edges", whole=(0,))
        keywords = (("number", number), ("dtype", kind))
        nodes = tuple(e.node for e in ends)
        made: Node = Routine(_spread, keywords, kind, chunks, ((), ()), traits, *nodes)
        return NDArray(made)
    low, high = known or (0.0, 1.0)
    return asarray(_spaced(low, high, number, kind))


def _spread(xp: Any, low: Any, high: Any, number: int, dtype: np.dtype[Any]) -> Any:
    """Edges from the smallest element to the largest."""
    first, last = (v.dtype.type(v.item()) for v in (low, high))  # of its dtype: `linspace` computes in it
    if not (math.isfinite(first) and math.isfinite(last)):
        raise ValueError(f"autodetected range of [{first}, {last}] is not finite; pass range=")
    if first == last:
        first, last = first - 0.5, last + 0.5
    return xp.asarray(_spaced(first, last, number, dtype))


def _spaced(first: Any, last: Any, number: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    edges = np.linspace(first, last, number + 1, dtype=dtype)
    if (edges[:-1] >= edges[1:]).any():
        raise ValueError(f"{number} bins are too many between {first} and {last}: they have no width in {dtype}")
    return edges


def _estimated(x: NDArray, name: str, limits: Any) -> int:
    """How many bins an estimator asks for, computed at once."""
    if name not in ESTIMATORS:
        raise ValueError(f"bins={name!r} is not a valid estimator; use one of {', '.join(ESTIMATORS)}, or a number")
    known = _checked_range(limits)
    if x.dtype == bool:
        x = NDArray(cast(x.node, np.dtype(np.uint8)))
    if known:
        x = ravel(x)
        x = x[(x >= known[0]) & (x <= known[1])]
    if not x.size:
        return 1
    low, high = known or (float(smallest(x)), float(largest(x)))
    n, spread = x.size, float(largest(x)) - float(smallest(x))
    width = _width(x, name, n, spread)
    if not width:
        return 1
    if x.dtype.kind in "iu" and width < 1:
        width = 1.0
    return max(1, math.ceil((high - low) / width))


def _width(x: NDArray, name: str, n: int, spread: float) -> float:
    from gpuarray.order_statistics import percentile
    from gpuarray.statistics import mean, std

    if name == "sqrt":
        return spread / math.sqrt(n)
    if name == "sturges":
        return spread / (math.log2(n) + 1)
    if name == "rice":
        return float(spread / (2 * n ** (1 / 3)))
    if name == "scott":
        return float((24 * math.sqrt(math.pi) / n) ** (1 / 3) * float(std(x)))
    if name == "doane":
        sigma = float(std(x)) if n > 2 else 0.0
        if sigma <= 0:
            return 0.0
        skew = float(mean(((x - float(mean(x))) / sigma) ** 3))
        uncertain = math.sqrt(6 * (n - 2) / ((n + 1) * (n + 3)))
        return spread / (1 + math.log2(n) + math.log2(1 + abs(skew) / uncertain))
    upper, lower = percentile(x, [75, 25]).compute()
    width = float(2 * (upper - lower) * n ** (-1 / 3))
    if name == "fd":
        return width
    return min(max(width, spread / math.sqrt(n) / 2), spread / (math.log2(n) + 1))


def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> NDArray:
    """The edges of the bins that `histogram` would use.

    >>> import gpuarray as ga
    >>> ga.histogram_bin_edges([0, 1, 4], bins=2).compute()
    array([0., 2., 4.])

    Arguments as in `numpy.histogram_bin_edges`; estimators of the number of bins (all but "stone") look at the data at
    once. Raises ValueError for edges that do not rise, no bins, and a range that is not finite.
    """
    return _edges(asarray(a), bins, range, weights)


def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[NDArray, NDArray]:
    """How many elements are in each bin, and the edges of the bins; the last bin holds its right edge.

    >>> import gpuarray as ga
    >>> counts, edges = ga.histogram([1, 2, 1, 4], bins=3)
    >>> counts.compute(), edges.compute()
    (array([2, 1, 1]), array([1., 2., 3., 4.]))

    Arguments as in `numpy.histogram`. One pass over the data, after one for the smallest and largest element where
    neither `range` nor edges are given. Raises ValueError as `histogram_bin_edges`, and for weights of another shape.
    """
    x = asarray(a)
    if x.dtype.kind not in "biuf":
        raise TypeError(f"histogram of {x.dtype} is not supported; cast with astype first")
    edges = _edges(x, bins, range, weights)
    if x.dtype == bool:
        x = NDArray(cast(x.node, np.dtype(np.uint8)))
    arrays, kind = [x], np.dtype(np.int64)
    if weights is not None:
        given = asarray(weights)
        if given.shape != x.shape:
            raise ValueError(f"weights of shape {given.shape} should have the same shape as a, {x.shape}")
        arrays, kind = [x, given], given.dtype
    number = len(edges) - 1
    even = np.ndim(bins) == 0
    counts = folded(_histogram, arrays, (number,), kind, edges.node, even=even, scratch=64)
    if not density:
        return counts, edges
    return counts / diff(edges) / total(counts), edges


def _histogram(xp: Any, rows: Any, *rest: Any, even: bool) -> Any:
    *weights, edges = rest
    heavy = weights[0] if weights else None
    if not rows.size:
        return xp.zeros(len(edges) - 1, np.int64 if heavy is None else heavy.dtype)
    if even:
        from gpuarray.kernels import counting

        return counting.in_bins(xp, rows, edges, heavy)
    return xp.histogram(rows, bins=edges, weights=heavy)[0]


def histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[NDArray, tuple[NDArray, ...]]:
    """How many points are in each bin of a grid, and the edges along each axis.

    >>> import gpuarray as ga
    >>> counts, edges = ga.histogramdd(([0, 1, 1], [0, 2, 2]), bins=2)
    >>> counts.compute()
    array([[1., 0.],
           [0., 2.]])

    Arguments as in `numpy.histogramdd`: points are the rows of an array, or a sequence of coordinates. One pass over
    the data, after one for the smallest and largest where they are needed. Raises ValueError as `histogram`.
    """
    if isinstance(sample, (NDArray, np.ndarray)):
        points = asarray(sample)
        if points.ndim == 1:
            points = reshape(points, (-1, 1))
        if points.ndim != 2:
            raise ValueError(f"sample must be an array of points, one a row, got shape {points.shape}")
        axes = [points[:, k] for k in np.arange(points.shape[1])]
    else:
        axes = [asarray(c) for c in sample]
        if any(c.ndim != 1 or c.shape != axes[0].shape for c in axes):
            raise ValueError("the coordinates of the points must be vectors of one length")
    d = len(axes)
    several = list(bins) if isinstance(bins, Sequence) or np.ndim(bins) else [bins] * d
    if len(several) != d:
        raise ValueError("The dimension of bins must be equal to the dimension of the sample x.")
    limits = [None] * d if range is None else list(range)
    if len(limits) != d:
        raise ValueError("range argument must have one entry per dimension")
    edges = tuple(_edges(c, b, r, None) for c, b, r in zip(axes, several, limits, strict=True))
    shape = tuple(len(e) - 1 for e in edges)
    arrays = axes if weights is None else [*axes, asarray(weights)]
    if weights is not None and arrays[-1].shape != axes[0].shape:
        raise ValueError(f"weights of shape {arrays[-1].shape} must have one element for each point")
    counts = folded(_grid, arrays, shape, np.float64, *(e.node for e in edges), d=d, scratch=48 + 24 * d)
    if not density:
        return counts, edges
    made = counts
    for k, e in enumerate(edges):
        made = made / reshape(diff(e), tuple(-1 if i == k else 1 for i in np.arange(d)))
    return made / total(counts), edges


def _grid(xp: Any, *rest: Any, d: int) -> Any:
    rows, edges = rest[:d], rest[len(rest) - d :]
    weights = rest[d] if len(rest) > 2 * d else None
    shape = tuple(len(e) - 1 for e in edges)
    if not rows[0].size:
        return xp.zeros(shape)
    return xp.histogramdd(xp.stack(rows, axis=1), bins=list(edges), weights=weights)[0]


def histogram2d(
    x: Any, y: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[NDArray, NDArray, NDArray]:
    """How many points of the plane are in each bin, and the edges along both axes.

    >>> import gpuarray as ga
    >>> ga.histogram2d([0, 1, 1], [0, 2, 2], bins=2)[0].compute()
    array([[1., 0.],
           [0., 2.]])

    Arguments as in `numpy.histogram2d`.
    """
    if len(asarray(x)) != len(asarray(y)):
        raise ValueError("x and y must have the same length.")
    one = not isinstance(bins, Sequence) and np.ndim(bins) == 0
    each = (bins, bins) if one or len(bins) not in (1, 2) else bins
    counts, (first, second) = histogramdd((x, y), each, range, density, weights)
    return counts, first, second


__all__ = ["bincount", "histogram", "histogram2d", "histogram_bin_edges", "histogramdd"]
