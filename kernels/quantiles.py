"""Quantiles of rows: by sorting them, or by counting digits of what stands for their order (radix selection).

Methods are those of R. J. Hyndman and Y. Fan, Sample quantiles in statistical packages, The American Statistician 50,
1996, under NumPy's names; "median" is the mean of the two elements in the middle.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.kernels import counting, ordering
from gpuarray.kernels.counting import DIGIT

EXACT = ("inverted_cdf", "closest_observation", "lower", "higher", "nearest")
"""Methods whose result is an element."""
OFFSETS = {
    "interpolated_inverted_cdf": (0.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "median_unbiased": (1 / 3.0, 1 / 3.0),
    "normal_unbiased": (3 / 8.0, 3 / 8.0),
}
METHODS = (*EXACT, "averaged_inverted_cdf", "linear", "midpoint", *OFFSETS)


def places(xp: Any, n: Any, q: Any, method: str) -> tuple[Any, Any, Any]:
    """Of sorted rows of `n` elements: which two are wanted for each quantile, and the weight of the second."""
    top = xp.maximum(n - 1, 0)
    if method == "median":
        low, high = top // 2, n // 2
        shape = np.broadcast_shapes(low.shape, q.shape)
        low, high = (xp.broadcast_to(i, shape).astype(np.int64) for i in (low, xp.minimum(high, top)))
        return low, high, xp.where(low == high, 0.0, 0.5)
    virtual, weight = _virtual(xp, n, top, q, method)
    low = xp.floor(virtual)
    high = low + 1
    if weight is None:
        weight = virtual - low
    low, high = (xp.clip(i, 0, top).astype(np.int64) for i in (low, high))
    return low, xp.where(virtual < 0, low, high), weight


def _virtual(xp: Any, n: Any, top: Any, q: Any, method: str) -> tuple[Any, Any]:
    """The place of a quantile between two elements, and the weight of the second where it is not its fraction."""
    at = top * q
    if method == "linear":
        return at, None
    if method in ("lower", "higher", "nearest"):
        at = {"lower": xp.floor, "higher": xp.ceil, "nearest": xp.around}[method](at)
        return at, xp.zeros(at.shape)
    if method == "midpoint":
        at = 0.5 * (xp.floor(at) + xp.ceil(at))
        return at, xp.where(at % 1 == 0, 0.0, 0.5)
    if method in ("inverted_cdf", "closest_observation"):
        at = n * q - (1 if method == "inverted_cdf" else 1.5)
        whole = xp.floor(at)
        keep = (at == whole) if method == "inverted_cdf" else (at == whole) & (whole % 2 == 1)
        at = xp.maximum(xp.where(keep, whole, whole + 1), 0)
        return at, xp.zeros(at.shape)
    if method == "averaged_inverted_cdf":
        at = n * q - 1
        return at, xp.where(at == xp.floor(at), 0.5, 1.0)
    alpha, beta = OFFSETS[method]
    return n * q + (alpha + q * (1 - alpha - beta)) - 1, None


def between(xp: Any, low: Any, high: Any, weight: Any, method: str, dtype: np.dtype[Any]) -> Any:
    """The quantiles between two elements."""
    if method in EXACT:
        return low.astype(dtype, copy=False)
    with np.errstate(all="ignore"):
        if method == "median":
            wide = np.result_type(dtype, np.float64) if dtype.kind in "fc" else dtype
            low, high = low.astype(wide), high.astype(wide)
            made = xp.where(weight == 0, low, (low + high) / 2)
        else:
            wide = np.result_type(low.dtype, np.float64)
            low, high = low.astype(wide), high.astype(wide)
            step = high - low
            made = xp.where(weight >= 0.5, high - step * (1 - weight), low + step * weight)
            made = xp.where((low == high) | (weight == 0), low, made)  # infinities have no difference
        return made.astype(dtype)


def of_rows(
    xp: Any, block: Any, *, axes: int, q: tuple[float, ...], method: str, skip: bool, dtype: np.dtype[Any]
) -> Any:
    """Quantiles over the last `axes` axes, by sorting; `skip` leaves NaN out."""
    shape = block.shape[: block.ndim - axes]
    rows = xp.sort(block.reshape((*shape, -1)), axis=-1)
    n = xp.full((*shape, 1), rows.shape[-1], np.float64)
    absent = xp.isnan(rows).sum(axis=-1, keepdims=True) if rows.dtype.kind in "fcmM" else xp.zeros(n.shape, np.int64)
    if skip:
        n = n - absent
    low, high, weight = places(xp, n, xp.asarray(np.array(q)), method)
    first, second = (xp.take_along_axis(rows, i, -1) for i in (low, high))
    return _without(xp, between(xp, first, second, weight, method, dtype), n, absent, skip)


def _without(xp: Any, made: Any, n: Any, absent: Any, skip: bool) -> Any:
    """NaN where there is nothing, or where there is a NaN that counts."""
    missing = n == 0 if skip else absent > 0
    if made.dtype.kind in "fc":
        return xp.where(missing, made.dtype.type(np.nan), made)
    return made


# Selection by digits: `count` goes through the data, `refine` and `finish` through the counts.


def levels(dtype: np.dtype[Any], digit: int = DIGIT) -> int:
    """Passes over the data that a selection takes.

    >>> levels(np.dtype("f8")), levels(np.dtype("f4")), levels(np.dtype("u1"))
    (4, 2, 1)
    """
    return -(-ordering.order_bits(dtype) // digit)


def bins(dtype: np.dtype[Any], digit: int = DIGIT) -> int:
    """Values of a digit of so many bits."""
    return 1 << min(digit, ordering.order_bits(dtype))


def count(xp: Any, rows: Any, state: Any = None, *, level: int, digit: int = DIGIT) -> Any:
    """How often each digit occurs in rows: at the first level all, at others after each prefix of the state."""
    loops = rows.shape[:-1]
    flat = rows.reshape((-1, rows.shape[-1]))
    several = 1 if level == 0 else (state.shape[-1] - 2) // 2
    prefixes = xp.zeros((len(flat), 1)) if level == 0 else state.reshape((-1, state.shape[-1]))[:, :several]
    made = counting.digits(xp, flat, level, prefixes, digit)
    return made.reshape((*loops, *made.shape[1:]))


def refine(
    xp: Any,
    counts: Any,
    state: Any = None,
    *,
    q: tuple[float, ...],
    method: str,
    skip: bool,
    level: int,
    floating: bool,
) -> Any:
    """One digit more of every wanted element: (..., prefixes, ranks left, NaNs, elements), in 64 bits each."""
    total = xp.cumsum(counts.sum(axis=0), axis=-1)
    if level == 0:
        n = total[..., -1]
        absent = n - total[..., -2] if floating else xp.zeros(n.shape, np.int64)
        valid = (n - absent if skip else n).astype(np.float64)
        low, high, _ = places(xp, valid, xp.asarray(np.array(q)), method)
        ranks = xp.concatenate([low, high], axis=-1)
        prefixes, rest = xp.zeros(ranks.shape, np.uint64), [absent, n]
        total = xp.broadcast_to(total, (*ranks.shape, total.shape[-1]))
    else:
        several = (state.shape[-1] - 2) // 2
        prefixes, ranks = state[..., :several], state[..., several : 2 * several].astype(np.int64)
        rest = [state[..., -2:-1], state[..., -1:]]
    digit = (total <= ranks[..., None]).sum(axis=-1)
    before = xp.take_along_axis(total, xp.maximum(digit - 1, 0)[..., None], -1)[..., 0]
    ranks = ranks - xp.where(digit > 0, before, 0)
    prefixes = prefixes * np.uint64(total.shape[-1]) + digit.astype(np.uint64)
    return xp.concatenate([prefixes, *(a.astype(np.uint64) for a in (ranks, *rest))], axis=-1)


def finish(
    xp: Any,
    state: Any,
    *,
    q: tuple[float, ...],
    method: str,
    skip: bool,
    of: np.dtype[Any],
    dtype: np.dtype[Any],
) -> Any:
    """The quantiles, when all digits of the elements around them are known."""
    k = len(q)
    absent, n = (state[..., i : i + 1 or None].astype(np.float64) for i in (-2, -1))
    valid = n - absent if skip else n
    weight = places(xp, valid, xp.asarray(np.array(q)), method)[2]
    low, high = (ordering.from_order(xp, state[..., i : i + k], of) for i in (0, k))
    return _without(xp, between(xp, low, high, weight, method, dtype), valid, absent, skip)
