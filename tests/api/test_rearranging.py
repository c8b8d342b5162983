"""Orders of arrays that no task holds: lexsort, permutations, choices and rows, against the ways of small ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray import rearranging
from gpuarray.unique_rows import unique_rows


@pytest.fixture
def external(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every array count as too long for a task."""
    for module in ("rearranging", "random.generator"):
        monkeypatch.setattr(f"gpuarray.{module}.room", lambda: 0)


@pytest.mark.parametrize("dtype", [*"?bHiQefdFD", "U3", "S5", "M8[s]"])
@pytest.mark.parametrize("device", ["cpu", "fake"])
def test_rearranged(dtype: str, device: str) -> None:
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a = rng.integers(0, 90, (3, 50, 2)).astype("i8" if "M" in dtype else "f8").astype(dtype)
    if dtype in "efdFD":
        a[0, :9], a[1, 3] = np.nan, -0.0
    if dtype in "U3S5" and device == "fake":
        return
    with ga.config.set(device=device):
        places = np.argsort(rng.random(a.shape), axis=1)
        expected = np.empty_like(a)
        np.put_along_axis(expected, places, a, 1)
        made = rearranging.rearranged(ga.asarray(a, chunks=(2, 7, 1)), ga.asarray(places, chunks=(3, 11, 2)), 1)
        got = made.compute()
    assert got.dtype == a.dtype
    assert got.tobytes() == expected.tobytes()
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("index", [[], [4], [9, 9, 0, 3] * 20])
def test_gathered(index: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.random.default_rng(0).random(10)
    where = np.array(index, dtype=np.int64)
    for size in (0, 32 * 8 * 3, 2**30):
        monkeypatch.setattr(rearranging, "room", lambda size=size: size)
        made = rearranging.gathered(ga.asarray(a, chunks=4), ga.asarray(where, chunks=7))
        np.testing.assert_array_equal(made.compute(), a[where])


def keys(names: str, shape: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    made = []
    for name in names:
        dtype = {"U": "U1", "S": "S1", "M": "M8[s]"}.get(name, name)
        a = rng.integers(-1 if name in "hidFD" else 0, 3, shape).astype(dtype)
        if name in "ed":
            a[rng.random(shape) < 0.3] = np.nan
            a[rng.random(shape) < 0.1] = -0.0
        if name in "FD":
            a += 1j * rng.integers(0, 2, shape)
            a[rng.random(shape) < 0.2] = complex(1, np.nan)
            a[rng.random(shape) < 0.2] = complex(np.nan, 2)
        if name == "M":
            a[rng.random(shape) < 0.3] = "NaT"
        made.append(a)
    return made


@pytest.mark.parametrize("names", ["?", "d", "ii", "dd", "ddd", "Qqd", "?bh", "UM", "eD", "F?", "iiii", "iS"])
def test_lexsort(names: str, external: None, cut: Callable[..., ga.NDArray]) -> None:
    for shape, axis in (((60,), 0), ((4, 9), 1), ((9, 4), 0), ((1,), -1), ((0,), 0)):
        given = keys(names, shape)
        made = ga.lexsort([cut(k, "ones" if i else "odd") for i, k in enumerate(given)], axis)
        np.testing.assert_array_equal(made.compute(), np.lexsort(given, axis))


@pytest.mark.parametrize("shape", [(1,), (2,), (101,), (7, 6), (3, 5, 4)])
def test_permutations_are_those_of_short_arrays(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.arange(np.prod(shape), dtype="f8").reshape(shape)
    for axis in range(len(shape)):
        way: list[Callable[[Any, Any], Any]] = [
            lambda r, x, axis=axis: r.permutation(x, axis),
            lambda r, x, axis=axis: r.permuted(x, axis=axis),
            lambda r, x: r.permuted(x),
        ]
        for make in way:
            short = make(ga.random.default_rng(3), ga.asarray(a)).compute()
            with monkeypatch.context() as patch:
                patch.setattr("gpuarray.random.generator.room", lambda: 0)
                for chunks in (-1, 2):
                    long = make(ga.random.default_rng(3), ga.asarray(a, chunks=chunks))
                    np.testing.assert_array_equal(long.compute(), short)
    assert sorted(short.ravel()) == sorted(a.ravel())


def test_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.random.default_rng(0).random(50)
    p = np.arange(50) / (49 * 25)
    ways: list[Callable[[Any, Any], Any]] = [
        lambda r, x: r.choice(x, (7, 9)),
        lambda r, x: r.choice(x, 30, p=p),
        lambda r, x: r.choice(x, 40, replace=False),
        lambda r, x: r.choice(x, 40, replace=False, p=p),
    ]
    for make in ways:
        short = make(ga.random.default_rng(1), ga.asarray(a)).compute()
        with monkeypatch.context() as patch:
            patch.setattr("gpuarray.random.generator.room", lambda: 0)
            np.testing.assert_array_equal(make(ga.random.default_rng(1), ga.asarray(a, chunks=7)).compute(), short)
        assert np.isin(short, a).all()
    assert len(np.unique(short)) == 40  # the last way has no element twice
    assert a[0] not in short


def test_choices_of_slices() -> None:
    a = np.arange(24).reshape(2, 3, 4)
    rng = ga.random.default_rng(1)
    made = rng.choice(ga.asarray(a), (5, 2), axis=-1)
    assert made.shape == (2, 3, 5, 2)
    assert (np.diff(made.compute().reshape(6, 10), axis=0) == 4).all()
    assert rng.choice(a, axis=1).shape == (2, 4)


def test_shares_of_what_is_drawn_without_replacement() -> None:
    """The first of two is drawn with the probabilities given, the second with those of the elements that are left."""
    p = np.array([0.5, 0.3, 0.2])
    rng = ga.random.default_rng(5)
    pairs = np.array([rng.choice(3, 2, replace=False, p=p).compute() for _ in range(1500)])
    np.testing.assert_allclose(np.bincount(pairs[:, 0], minlength=3) / 1500, p, atol=0.04)
    second = [sum(p[i] * p[j] / (1 - p[i]) for i in range(3) if i != j) for j in range(3)]
    np.testing.assert_allclose(np.bincount(pairs[:, 1], minlength=3) / 1500, second, atol=0.04)


@pytest.mark.parametrize("dtype", [*"?bHidefFD"])
@pytest.mark.parametrize("few", [True, False])
def test_unique_rows(dtype: str, few: bool, monkeypatch: pytest.MonkeyPatch, cut: Callable[..., ga.NDArray]) -> None:
    """With so much room that blocks of columns are ranked at once, and with so little that each is."""
    rng = np.random.default_rng(2)
    for shape, axis in (((30, 3), 0), ((4, 12, 2), 1), ((3, 40), -1), ((1, 2), 0), ((9,), 0)):
        a = rng.integers(0, 2, shape).astype(dtype)
        if dtype in "df":  # NumPy's order of records of float16 begins with NaN
            a[rng.random(shape) < 0.1] = np.nan
            a[rng.random(shape) < 0.2] *= -1
        size = a.shape[axis] * 64 * 4 if few else 1
        monkeypatch.setattr("gpuarray.unique_rows.room", lambda size=size: size)
        theirs = np.unique(a, True, True, True, axis=axis)
        mine = [m.compute() for m in unique_rows(cut(a), axis % a.ndim, True, True, True)]
        for m, t in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(m, t)
            assert m.dtype == t.dtype


def test_many_long_rows_are_refused(tmp_path: Any) -> None:
    with ga.config.set(host_memory="1 MB"), pytest.raises(ga.errors.MemoryLimitError, match="10,000 slices of 100"):
        ga.unique(ga.zeros((10_000, 100)), axis=0)


def test_within_a_limit(tmp_path: Any) -> None:
    """A million elements, 8 MB, with 10 MB."""
    n = 1_000_003
    a = np.random.default_rng(1).random(n)
    np.save(tmp_path / "a.npy", a)
    with ga.config.set(host_memory="10 MB", spill_directory=tmp_path):
        x = ga.from_npy(tmp_path / "a.npy")
        ga.random.default_rng(0).permutation(x).to_npy(tmp_path / "b.npy")
        ga.random.default_rng(0).permutation(n).to_npy(tmp_path / "order.npy")
        np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), a[np.load(tmp_path / "order.npy")])
        low = ga.floor(x * 8).astype("u1")
        ga.lexsort((x.astype("f4"), low)).to_npy(tmp_path / "c.npy")
        expected = np.lexsort((a.astype("f4"), np.floor(a * 8).astype("u1")))
        np.testing.assert_array_equal(np.load(tmp_path / "c.npy"), expected)
        drawn = ga.random.default_rng(0).choice(x, 100_000)
        where = ga.random.default_rng(0).choice(n, 100_000)
        np.testing.assert_array_equal(drawn.compute(), a[where.compute()])
    with ga.config.set(host_memory="24 MB", spill_directory=tmp_path):
        points = ga.stack([low[:500_000], low[500_000:1_000_000]], axis=1).astype("f8")  # 8 MB
        rows, counts = ga.unique(points, return_counts=True, axis=0)
        theirs = np.unique(np.floor(a[:1_000_000] * 8).reshape(2, -1).T, return_counts=True, axis=0)
        np.testing.assert_array_equal(rows.compute(), theirs[0])
        np.testing.assert_array_equal(counts.compute(), theirs[1])
