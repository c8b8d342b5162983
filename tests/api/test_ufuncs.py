"""The methods of ufuncs, on our functions and through NumPy's: every one with NumPy's values, whatever the chunks."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.elementwise import FUNCTIONS
from gpuarray.ufuncs import UNSOUND

BINARY = sorted(
    name
    for name in FUNCTIONS
    if isinstance(getattr(np, name, None), np.ufunc)
    and getattr(np, name).nin == 2
    and getattr(np, name).__name__ == name
)


def outcome(call: Any) -> Any:
    """A value, or the kind of error."""
    with np.errstate(all="ignore"):
        try:
            return np.asarray(call())
        except (TypeError, ValueError) as error:
            return error


def agree(mine: Any, theirs: Any, what: Any) -> None:
    if isinstance(theirs, Exception):
        assert isinstance(mine, (TypeError, ValueError)), what
        return
    assert not isinstance(mine, Exception), (what, mine)
    assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype), what
    np.testing.assert_allclose(
        mine, theirs, rtol={2: 4e-3, 4: 1e-6}.get(theirs.dtype.itemsize, 1e-12), err_msg=str(what)
    )


def data(kind: str, shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    g = np.random.default_rng(seed)
    a = g.integers(1, 7, shape) if kind in ("bool", "int8", "uint16", "int64") else g.normal(size=shape)
    return (a % 2 if kind == "bool" else a).astype(kind)


@pytest.mark.parametrize("kind", ["bool", "int8", "uint16", "int64", "float32", "float64"])
def test_every_function_and_method(kind: str) -> None:
    a = data(kind, (5, 8), 0)
    x = ga.asarray(a, chunks=(2, 3))
    for name in BINARY:
        f, u = getattr(ga, name), getattr(np, name)
        if name in UNSOUND:
            with pytest.raises(TypeError, match="in memory"):
                f.reduce(x)
            continue
        for call in (
            lambda u, v: u.reduce(v),
            lambda u, v: u.reduce(v, axis=1, keepdims=True),
            lambda u, v: u.reduce(v, axis=(0, 1)),
            lambda u, v: u.reduce(v, axis=1, initial=2),
            lambda u, v: u.reduce(v, axis=1, initial=2, where=v > 2),
            lambda u, v: u.accumulate(v),
            lambda u, v: u.accumulate(v, axis=-1),
            lambda u, v: u.reduceat(v, [0, 3, 1], axis=1),
            lambda u, v: u.reduceat(v, [4, 0]),
        ):
            theirs = outcome(lambda u=u, call=call: call(u, a))
            agree(outcome(lambda f=f, call=call: call(f, x)), theirs, (name, call))
            agree(outcome(lambda u=u, call=call: call(u, x)), theirs, (name, call))


@pytest.mark.parametrize("kind", ["bool", "int8", "float32", "float64", "complex128", "M8[D]", "m8[s]"])
def test_running_extremes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuarray.graph.cells.CELL", 16)
    for seed in range(6):
        r, g = random.Random(seed), np.random.default_rng(seed)
        shape = tuple(r.choice([1, 7, 40, 90]) for _ in range(r.choice([1, 2])))
        a = (g.normal(size=shape) * 50).astype("i8" if kind[0] in "mM" else kind).astype(kind)
        if kind[0] in "fcmM":
            a[g.random(shape) < 0.01] = "nat" if kind[0] in "mM" else np.nan
        x = ga.asarray(a, chunks=tuple(r.randint(1, n) for n in shape))
        axis = r.randrange(len(shape))
        for name in ("maximum", "minimum"):
            made = getattr(ga, name).accumulate(x, axis=axis)
            assert isinstance(made, ga.NDArray)
            np.testing.assert_array_equal(made.compute(), getattr(np, name).accumulate(a, axis=axis))
            key = (slice(None, None, -2),) * a.ndim
            np.testing.assert_array_equal(made[key].compute(), getattr(np, name).accumulate(a, axis=axis)[key])
            with ga.config.set(device="fake", device_memory="1 MiB"):
                np.testing.assert_array_equal(made.compute(), getattr(np, name).accumulate(a, axis=axis))


def test_running_extremes_of_nothing() -> None:
    for shape in ((0,), (0, 3), (3, 0)):
        for name in ("add", "maximum", "logical_or", "bitwise_or"):
            a = np.ones(shape, int)
            agree(outcome(lambda: getattr(ga, name).accumulate(a)), getattr(np, name).accumulate(a), name)  # noqa: B023
            theirs = outcome(lambda: getattr(np, name).reduce(a))  # noqa: B023
            agree(outcome(lambda: getattr(ga, name).reduce(a)), theirs, (name, shape))  # noqa: B023


@pytest.mark.parametrize("chunks", [1, 3, (5, 2), 8])
def test_the_bits_are_the_same_for_any_chunks(chunks: Any) -> None:
    a = np.random.default_rng(3).normal(size=(5, 8)).astype("f4")
    x = ga.asarray(a, chunks=chunks)
    for name in ("hypot", "logaddexp", "subtract"):
        for axis in (0, 1):
            whole = getattr(ga, name).reduce(ga.asarray(a, chunks=-1), axis=axis).compute()
            assert getattr(ga, name).reduce(x, axis=axis).compute().tobytes() == whole.tobytes()
            whole = ga.add.reduceat(ga.asarray(a, chunks=-1), [0, 2], axis=axis).compute()
            assert ga.add.reduceat(x, [0, 2], axis=axis).compute().tobytes() == whole.tobytes()


def test_reductions_and_scans_stay_lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuarray.run.compute_nodes", lambda roots: pytest.fail("computed"))
    x = ga.ones((30, 20), dtype=int, chunks=7)
    for made in (
        ga.add.reduce(x),
        ga.hypot.reduce(x, axis=1),
        ga.maximum.accumulate(x),
        ga.bitwise_or.accumulate(x),
        np.add.reduceat(x, [0, 3]),
        ga.add.outer(x, x),
    ):
        assert isinstance(made, ga.NDArray)


AT = [
    ("add", (20,), np.array([3, 3, 3, -1, 7, 3]), 1),
    ("add", (20,), np.array([3, 3, -20, 7]), np.array([0.5, 0.25, 3, 1e9])),
    ("subtract", (6, 5), (np.array([0, 0, 2]), np.array([1, 1, 4])), 2.5),
    ("add", (6, 5), np.array([1, 1, 0]), np.arange(15.0).reshape(3, 5)),
    ("multiply", (6, 5), (slice(1, 4), np.array([2, 2])), 3.0),
    ("maximum", (6, 5), (np.array([[0], [0]]), np.array([1, 2])), np.array([[7.0, 8], [9, 1]])),
    ("add", (6, 5), np.s_[1:3, ::2], 4.0),
    ("add", (6, 5), (2, 3), 4.0),
    ("add", (6, 5), np.arange(30).reshape(6, 5) % 7 == 0, 5.0),
    ("add", (6,), [], 5.0),
    ("add", (6,), [True, False, True, False, False, True], [1.0, 2.0, 3.0]),
]


@pytest.mark.parametrize(("name", "shape", "key", "values"), AT)
def test_at(name: str, shape: tuple[int, ...], key: Any, values: Any) -> None:
    a = np.random.default_rng(1).normal(size=shape)
    for chunks in (2, 4, -1):
        theirs, mine, through = a.copy(), ga.asarray(a, chunks=chunks), ga.asarray(a, chunks=chunks)
        getattr(np, name).at(theirs, key, values)
        getattr(ga, name).at(mine, key, values)
        getattr(np, name).at(through, key, ga.asarray(values))
        np.testing.assert_array_equal(mine.compute(), theirs)
        np.testing.assert_array_equal(through.compute(), theirs)
        assert mine.chunks == ga.asarray(a, chunks=chunks).chunks


def test_at_of_one_operand_and_of_lazy_places() -> None:
    a = np.arange(-4, 4)
    x = ga.asarray(a.copy(), chunks=3)
    ga.negative.at(x, [0, 1, 1])
    ga.add.at(x, ga.argmax(x), 10)
    ga.add.at(x, x < -1, 1)
    np.negative.at(a, [0, 1, 1])
    np.add.at(a, np.argmax(a), 10)
    np.add.at(a, a < -1, 1)
    np.testing.assert_array_equal(x.compute(), a)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ga.add.at(np.ones(3), [0], 1), TypeError, r"add\.at writes into a gpuarray\.NDArray"),
        (lambda x: ga.add.at(x, [7], 1), IndexError, "out of bounds"),
        (lambda x: ga.add.at(x, [0]), ValueError, "takes a second operand"),
        (lambda x: ga.negative.at(x, [0], 1), ValueError, "takes no second operand"),
        (lambda x: ga.add.at(x, [0, 1], [1, 2, 3]), ValueError, "broadcast"),
        (lambda x: ga.sin.reduce(x), ValueError, "two arrays"),
        (lambda x: ga.sin.outer(x, x), ValueError, "two arrays"),
        (lambda x: ga.add.reduceat(x, [5]), IndexError, r"out-of-bounds in add.reduceat \[0, 5\)"),
        (lambda x: ga.add.reduceat(x, [0.5]), TypeError, "sequence of integers"),
        (lambda x: ga.add.reduceat(x, [[0]]), TypeError, "sequence of integers"),
        (lambda x: ga.add.accumulate(x, axis=1), np.exceptions.AxisError, "axis"),
        (lambda x: ga.add.accumulate(x[0]), TypeError, "scalar"),
        (lambda x: ga.subtract.reduce(x[:, None], axis=(0, 1)), ValueError, "reorderable"),
        (lambda x: ga.bitwise_or.reduce(x * 1.5), TypeError, "not supported"),
        (lambda x: np.matmul.reduce(x), RuntimeError, "ufunc with signature"),
    ],
)
def test_refused(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(ga.arange(5, chunks=2))


def test_reductions_along_no_axis_and_of_one_element() -> None:
    x = np.array([[1, 2], [4, 2]])
    for name in ("bitwise_or", "add", "logical_and"):
        made, expected = getattr(ga, name), getattr(np, name)
        assert np.array_equal(made.reduce(x, axis=(), initial=8), expected.reduce(x, axis=(), initial=8)), name
        for axis in (0, -1, None):  # NumPy's: a number has an axis, for them
            assert np.array_equal(made.reduce(5, axis=axis), expected.reduce(5, axis=axis)), (name, axis)
        with pytest.raises(ga.exceptions.AxisError):
            made.reduce(5, axis=1)


@pytest.mark.parametrize("name", ["add", "multiply", "bitwise_or", "logical_or"])
def test_none_to_begin_with_is_nothing_for_nothing(name: str) -> None:
    made, expected = getattr(ga, name), getattr(np, name)
    for shape, axis in (((0,), 0), ((0, 2), 0), ((2, 0), -1), ((2, 0), None), ((0, 0), 0)):
        for function, empty in ((made, ga.zeros(shape, int)), (expected, np.zeros(shape, int))):
            with pytest.raises(ValueError, match=f"reduction operation {name} which has no identity"):
                function.reduce(empty, axis=axis, initial=None)
    for shape, axis in (((2, 0), 0), ((0, 2), 1), ((0, 2), ()), ((3,), 0)):
        ours = made.reduce(ga.ones(shape, int), axis=axis, initial=None)
        assert np.array_equal(ours, expected.reduce(np.ones(shape, int), axis=axis, initial=None)), (shape, axis)


def test_attributes_are_numpys() -> None:
    for name in BINARY:
        for attribute in ("nin", "nout", "nargs", "identity", "ntypes"):
            assert getattr(getattr(ga, name), attribute) == getattr(getattr(np, name), attribute)
    assert not hasattr(ga.sinc, "reduce")
