"""Arguments and corner cases in which functions were once seen to differ from NumPy's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpuarray as ga

Call = Callable[[Any], Any]
A = np.random.default_rng(0).random((3, 4))
C = A + 1j * A[::-1]
MASK = A > 0.3
MEAN = A.mean(axis=1, keepdims=True)

CALLS: dict[str, Call] = {
    "comparisons of Python's numbers": lambda m: [f(5, 2) for f in (m.less, m.equal, m.greater_equal, m.not_equal)],
    "powers of Python's numbers": lambda m: [m.power(3, 2), m.power(3, 2.5), m.power(2.5, 2), m.add(True, True)],
    "functions of Python's numbers": lambda m: [m.sinc(5), m.sinc(0.5), m.angle(-5), m.angle(2.5), m.heaviside(0, 1)],
    "axes of numbers": lambda m: [f(2.5, axis=a) for f in (m.sum, m.max, m.any, m.cumsum, m.argmax) for a in (0, -1)],
    "var around a mean": lambda m: m.var(m.asarray(A), axis=1, mean=MEAN),
    "std around a mean": lambda m: m.std(m.asarray(C), axis=1, mean=C.mean(1, keepdims=True), ddof=1, keepdims=True),
    "std around a mean, masked": lambda m: m.std(m.asarray(A), axis=1, mean=MEAN, where=MASK, correction=1),
    "nanvar around a mean": lambda m: m.nanvar(m.where(MASK, A, np.nan), axis=1, mean=MEAN),
    "nanstd around a mean": lambda m: m.nanstd(m.where(MASK, A, np.nan), axis=1, mean=MEAN, ddof=1),
    "tril of a vector": lambda m: [m.tril([3, 1, 2]), m.triu([3, 1, 2], 1), m.tril([]), m.triu([4])],
    "argwhere of a number": lambda m: [m.argwhere(3), m.argwhere(0)],
    "cumulative sums of numbers": lambda m: [m.cumulative_sum(2.5), m.cumulative_prod(2)],
    "norms of nothing": lambda m: [
        m.linalg.norm(m.zeros(s), o) for s in ((3, 0), (0, 3)) for o in (1, 2, np.inf, "fro")
    ],
    "norms": lambda m: [
        m.linalg.norm(m.asarray(A), o, keepdims=k) for o in (1, -1, 2, -2, np.inf) for k in (True, False)
    ],
    "tensordot by name": lambda m: m.tensordot(a=[1, 2], b=[[1, 2], [3, 4]], axes=1),
    "divmod with a dtype": lambda m: m.divmod([7, -7], 2, dtype="f4"),
    "modf with a dtype": lambda m: m.modf([1.5, -2.25], dtype="f4"),
    "concat with a dtype": lambda m: m.concat([[1, 2], [3]], 0, dtype="f4"),
    "broadcast_to": lambda m: m.broadcast_to(m.asarray([1, 2]), (2, 2), subok=True),
    "broadcast_arrays": lambda m: m.broadcast_arrays(m.asarray([1, 2]), m.asarray([[1], [2]]), subok=True),
}


def flat(made: Any) -> list[np.ndarray]:
    if isinstance(made, (list, tuple)):
        return [x for part in made for x in flat(part)]
    return [np.asarray(made.compute() if isinstance(made, ga.NDArray) else made)]


@pytest.mark.parametrize("name", CALLS)
def test_calls(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mine, theirs = flat(CALLS[name](ga)), flat(CALLS[name](np))
    assert len(mine) == len(theirs)
    for m, t in zip(mine, theirs, strict=True):
        assert (m.shape, m.dtype) == (t.shape, t.dtype)
        np.testing.assert_allclose(m, t, rtol=1e-12)


def test_results_of_two_arrays_go_where_they_are_wanted() -> None:
    quotient, rest, whole = ga.zeros(2), ga.ones(2), ga.zeros(2)
    made = ga.divmod([7.0, -7.0], 2, out=(quotient, rest), where=[True, False])
    assert made[0] is quotient
    assert (quotient.tolist(), rest.tolist()) == ([3, 0], [1, 1])
    ga.modf([1.5, -2.25], (None, whole))
    assert whole.tolist() == [1, -2]


ERRORS: dict[str, tuple[Call, type[Exception]]] = {
    "tril of a number": (lambda m: m.tril(3), TypeError),
    "weights of zero": (lambda m: m.average(A, axis=1, weights=[1, -1, 0, 0]), ZeroDivisionError),
    "rows of weights of zero": (lambda m: m.average(A, axis=1, weights=A * 0), ZeroDivisionError),
    "fft of a number": (lambda m: m.fft.fft(3.0), IndexError),
    "mean of a number along an axis": (lambda m: m.mean(3.0, axis=0), np.exceptions.AxisError),
    "sum of a number along axis 1": (lambda m: m.sum(3.0, axis=1), np.exceptions.AxisError),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    call, kind = ERRORS[name]
    for module in (np, ga):
        with pytest.raises(kind):
            call(module)
