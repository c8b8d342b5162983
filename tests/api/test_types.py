"""What type checkers know of the public face. ``make check`` checks this file with mypy; run, it shows the same."""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np

import gpuarray as ga


def test_functions() -> None:
    x = ga.ones((4, 6), chunks=2)
    assert_type(x, ga.NDArray)
    assert_type(ga.sum(x, axis=0), ga.NDArray)
    assert_type(ga.mean(x, axis=(0, 1), keepdims=True), ga.NDArray)
    assert_type(ga.sin(x), ga.NDArray)
    assert_type(ga.add(x, 1, out=x, where=x > 2), ga.NDArray)
    assert_type(ga.add.reduce(x, axis=1), ga.NDArray)
    assert_type(ga.linspace(0, 1, 5), ga.NDArray)
    assert_type(ga.linspace(0, 1, 5, retstep=True), tuple[ga.NDArray, Any])
    assert_type(ga.maximum.accumulate(x), ga.NDArray)
    assert_type(ga.concatenate([x, x], axis=1), ga.NDArray)
    assert_type(ga.matmul(x, x.T), ga.NDArray)
    assert_type(ga.divmod(x, 2), tuple[ga.NDArray, ga.NDArray])
    assert_type(ga.compute(x, x), "tuple[np.ndarray[Any, Any], ...]")


def test_operators() -> None:
    x = ga.arange(6)
    assert_type(-x + 1 * x**2 // 3, ga.NDArray)
    assert_type(x == 3, ga.NDArray)
    assert_type((x > 3) | ~(x <= 1), ga.NDArray)
    assert_type(x @ x, ga.NDArray)
    assert_type(x[1:, None], ga.NDArray)
    assert_type(divmod(x, 2), tuple[ga.NDArray, ga.NDArray])
    assert_type(3 in x, bool)
    assert_type(f"{x[0]:d}", str)
    assert_type([float(v) for v in x], list[float])


def test_methods() -> None:
    x = ga.ones((4, 6))
    assert_type(x.sum(axis=0), ga.NDArray)
    assert_type(x.std(axis=0, ddof=1, keepdims=True), ga.NDArray)
    assert_type(x.reshape(6, 4).T, ga.NDArray)
    assert_type(x.astype("f4", copy=False), ga.NDArray)
    assert_type(x.rechunk(3), ga.NDArray)
    assert_type(x.nonzero(), tuple[ga.NDArray, ...])
    assert_type(x.compute(), np.ndarray[Any, Any])
    assert_type(x.shape, tuple[int, ...])
    assert_type(x.device, str)


def test_mistakes_are_found() -> None:
    """mypy fails where an ``ignore`` is not needed, so these are errors to it."""
    for mistake in (
        lambda: ga.no_such,  # type: ignore[attr-defined]
        lambda: ga.ones(3).no_such,  # type: ignore[attr-defined]
        lambda: ga.sin(),  # type: ignore[call-arg]
        lambda: ga.ones(3).sum(axes=0),  # type: ignore[call-arg]
        lambda: ga.ones(3).rechunk(cut=2),  # type: ignore[call-arg]
    ):
        try:
            mistake()
        except (AttributeError, TypeError):
            continue
        raise AssertionError("no error when run")
