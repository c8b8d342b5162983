"""What the tests of the public functions share: arrays cut awkwardly, and comparing with NumPy."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpuarray as ga

Same = Callable[..., None]
CUTS = ("whole", "ones", "odd", "uneven")


def _cut(n: int, how: str) -> tuple[int, ...]:
    """The lengths of the chunks along an axis."""
    if n == 0 or how == "whole":
        return (n,)
    if how == "ones":
        return (1,) * n
    if how == "odd":
        return tuple(min(3, n - k) for k in range(0, n, 3))
    return tuple(k for k in (1, n - 2, 1) if k > 0) if n > 2 else (n,)


def least_peak(call: Callable[[], object]) -> int:
    """The most bytes that a call takes, of Python's and NumPy's: the least of three calls, because what other threads
    allocate meanwhile is seen, too."""
    peaks = []
    for _ in range(3):
        tracemalloc.start()
        try:
            call()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return min(peaks)


@pytest.fixture
def cut() -> Callable[..., ga.NDArray]:
    """``cut(array, how)``: an NDArray of a NumPy array in chunks of one of the kinds of `CUTS`."""

    def made(array: Any, how: str = "odd") -> ga.NDArray:
        a = np.asarray(array)
        return ga.asarray(a, chunks=tuple(_cut(n, how) for n in a.shape))

    return made


def _compare(mine: Any, theirs: Any, close: bool) -> None:
    if isinstance(theirs, (tuple, list)):
        assert isinstance(mine, (tuple, list)), type(mine)
        assert len(mine) == len(theirs)
        for m, t in zip(mine, theirs, strict=True):
            _compare(m, t, close)
        return
    assert isinstance(mine, ga.NDArray), type(mine)
    theirs = np.asarray(theirs)
    assert mine.shape == theirs.shape
    assert mine.dtype == theirs.dtype
    assert tuple(sum(c) for c in mine.chunks) == mine.shape
    got = mine.compute()
    with pytest.MonkeyPatch.context() as patch:  # small arrays are worked out at once: plan them too
        patch.setattr("gpuarray.plan.direct.order_if_small", lambda roots, limit: None)
        planned = mine.compute()
    np.testing.assert_array_equal(got, planned)
    assert got.shape == planned.shape == theirs.shape
    assert got.dtype == planned.dtype
    assert got.dtype == theirs.dtype
    if close and theirs.dtype.kind in "fc":
        eps = float(np.finfo(theirs.dtype).eps)
        np.testing.assert_allclose(got, theirs, rtol=32 * eps, atol=32 * eps)
    else:
        np.testing.assert_array_equal(got, theirs)


@pytest.fixture
def same() -> Same:
    """``same(mine, theirs)``: assert that an NDArray equals a NumPy array in shape, dtype and elements (NaN is NaN)."""

    def check(mine: Any, theirs: Any, *, close: bool = False) -> None:
        _compare(mine, theirs, close)

    return check
