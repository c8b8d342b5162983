"""A slice of a reduction reads and reduces the slice, with the bits of the whole."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.plan import direct
from tests.engine.programs import DTYPES, Program
from tests.engine.test_plan import on_file, plan_of

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "SMALL", 0)


def data(*shape: int) -> Array:
    return np.random.default_rng(0).random(shape)


def reduced_elements(*arrays: ga.NDArray) -> float:
    """Elements that the tasks of a run put through reductions."""
    from gpuarray.graph.grid import size_of
    from gpuarray.graph.reduce import Partial

    plan = plan_of(*arrays)
    made = {task.key: task.work.block.values for task in plan.tasks()}  # type: ignore[attr-defined]
    return sum(size_of(n.reduced(r)) for values in made.values() for n, r in values if isinstance(n, Partial))


READS: dict[str, tuple[Callable[[Any], Any], int]] = {
    "an integer": (lambda x: x.sum(axis=0)[3], 100),
    "a slice": (lambda x: x.sum(axis=0)[10:13], 300),
    "from the end": (lambda x: x.sum(axis=0)[::-1][:2], 200),
    "every twentieth": (lambda x: x.sum(axis=0)[::20], 400),
    "transposed": (lambda x: x.T.sum(axis=1)[7], 100),
    "a new axis": (lambda x: x.sum(axis=0)[None, 5:6, None], 100),
    "kept dimensions": (lambda x: x.sum(axis=0, keepdims=True)[0, 5], 100),
    "an index array": (lambda x: x.sum(axis=0)[np.array([9, 7, 7])], 300),
    "a mean": (lambda x: x.mean(axis=0)[3], 100),
    "a variance": (lambda x: x.var(axis=0)[3:5], 200),
    "a position": (lambda x: x.argmax(axis=0)[3], 100),
    "of what is computed": (lambda x: (x * 2 + 1).sum(axis=0)[3], 100),
    "and computed with": (lambda x: (x.sum(axis=0) / 7 - 1)[3], 100),
    "two reductions": (lambda x: (x.max(axis=0) - x.min(axis=0))[3], 100),
    "one slice twice": (lambda x: x.sum(axis=0)[3] + x.sum(axis=0)[4], 200),
}


@pytest.mark.parametrize("what", READS)
def test_only_the_slice_is_read(what: str) -> None:
    function, elements = READS[what]
    a = data(100, 80)
    x, reader = on_file(a, (30, 80))
    result = np.asarray(function(x).compute())
    assert reader.elements == elements
    if what == "a new axis":
        np.testing.assert_allclose(result, a.sum(axis=0)[None, 5:6, None])
    else:
        np.testing.assert_allclose(result, function(a), rtol=1e-12)


def test_only_the_slice_is_reduced() -> None:
    x = ga.asarray(data(100, 80, 6), chunks=(30, 80, 2))
    assert reduced_elements(x.sum(axis=0)) == 48_000
    assert reduced_elements(x.sum(axis=0)[3]) == 600
    assert reduced_elements(x.sum(axis=0)[3, 2:4]) == 200
    assert reduced_elements(x.sum(axis=(0, 2))[4:6]) == 1200
    assert reduced_elements(x.sum(axis=0).T[::-1, 4]) == 600
    assert reduced_elements(x.sum(axis=0)[[2, 4], [1, 1]]) == 300


def test_a_slice_goes_through_reductions_of_reductions() -> None:
    x, reader = on_file(data(20, 30, 40), (5, 30, 40))
    y = x.sum(axis=0).max(axis=0)[7]
    assert reduced_elements(y) == 20 * 30 + 30
    np.testing.assert_allclose(float(y), reader.array.sum(axis=0).max(axis=0)[7])
    assert reader.elements == 600


def test_what_is_also_read_whole_is_computed_once() -> None:
    x, reader = on_file(data(100, 80), (30, 80))
    s = x.sum(axis=0)
    for several in ([s, s[3]], [s * 2, s[3:5]], [s - s[3]], [s[1:] - s[:-1]], [s[0], s[-1]], [s.std(), s[3]]):
        reader.elements = 0
        ga.compute(*several)
        assert reader.elements == 8000
    assert reduced_elements(s[10:14], s[12:20]) == 1000


def test_variance_and_deviation_of_one_slice_are_one_reduction() -> None:
    x = ga.asarray(data(100, 80), chunks=(30, 80))
    assert reduced_elements(x.var(axis=0)[3:5], x.std(axis=0)[3:5]) == 200
    assert reduced_elements(x.var(axis=0)[3:5], x.std(axis=0)) == 8000


def test_a_pass_over_a_file_is_not_made_twice_for_a_slice() -> None:
    x, reader = on_file(data(100, 80), (30, 20))
    ga.compute(x.sum(axis=0)[5:], x.mean())
    assert reader.elements == 8000
    reader.elements = 0
    ga.compute(x.sum(axis=0)[3], x.mean())  # little is read again, much need not be summed
    assert reader.elements == 8100
    reader.elements = 0
    ga.compute(x.sum(axis=0)[5:], x.max(axis=0)[5:], x.std(axis=0)[5:])
    assert reader.elements == 7500


def test_nothing_of_a_reduction() -> None:
    x = ga.asarray(data(100, 80), chunks=(30, 80))
    assert x.sum(axis=0)[5:5].compute().shape == (0,)
    assert x.sum(axis=0, keepdims=True)[:0, 5].compute().shape == (0,)
    assert x.sum(axis=0)[4:6, None][:, :0].compute().shape == (2, 0)


def view(r: random.Random, p: Program, shape: tuple[int, ...]) -> Callable[[Any], Any]:
    key: list[Any] = []
    for n in shape:
        kind = r.random()
        if kind < 0.3 and n:
            key.append(r.randint(-n, n - 1))
        elif kind < 0.9:
            key.append(p.slice(n))
        else:
            key.append(slice(None))
        if r.random() < 0.15:
            key.append(None)
    left = sum(k is None or isinstance(k, slice) for k in key)
    axes = r.sample(range(left), left)
    if r.random() < 0.2 and len(key) and isinstance(key[0], slice) and None not in key and shape[0]:
        key[0] = np.array([r.randrange(shape[0]) for _ in range(3)])
        return lambda s: s[tuple(key)]
    return lambda s: s[tuple(key)].transpose(axes)


REDUCTIONS = ["sum", "prod", "min", "max", "mean", "var", "std", "any", "argmax", "argmin"]


@pytest.mark.parametrize("compiled", ["never", "always"])
@pytest.mark.parametrize("first", range(0, 200, 50))
def test_a_slice_has_the_bits_of_the_whole(first: int, compiled: str) -> None:
    for seed in range(first, first + (50 if compiled == "never" else 5)):
        r, p = random.Random(seed), Program(seed, 0)
        shape = tuple(r.choice([1, 2, 3, 5, 13, 40]) for _ in range(r.choice([2, 2, 3, 3, 4])))
        dtype = np.dtype(r.choice(DTYPES if compiled == "never" else ["float32", "float64", "int16"]))
        x = ga.asarray(p.values(shape, dtype), chunks=tuple(p.chunking(n) for n in shape))
        if r.random() < 0.5:
            x = x * x if r.random() < 0.5 else ga.absolute(x) + ga.asarray(p.values(shape[-1:], dtype))
        axes = tuple(r.sample(range(x.ndim), r.randint(1, x.ndim - 1)))
        name = r.choice(REDUCTIONS)
        whole = getattr(ga, name)(x, axes[0] if name.startswith("arg") else axes)
        look = view(r, p, whole.shape)
        with ga.config.set(compile=compiled), np.errstate(all="ignore"):
            found, expected = look(whole).compute(), np.asarray(look(whole.compute()), order="C")
        assert found.shape == expected.shape, f"seed {seed}"
        assert found.dtype == expected.dtype, f"seed {seed}"
        assert found.tobytes() == expected.tobytes(), f"seed {seed}: {name} over {axes} of {x}"


def test_what_is_compiled_whole_is_compiled_in_slices() -> None:
    """exp compiled and interpreted may differ in the last bit."""
    g = np.random.default_rng(0)
    x = ga.asarray(g.normal(size=(3000, 2500)), chunks=(800, 600))
    s = ga.exp(x * 1.1).sum(axis=0)
    whole = s.compute()
    assert s[17:19].compute().tobytes() == whole[17:19].tobytes()


def test_a_slice_of_a_long_chain() -> None:
    """Chains longer than Python's recursion goes."""
    x = ga.asarray(np.ones((60, 40)), chunks=10)
    y = x
    for _ in range(3000):
        y = y + 1
    assert y[3].compute().tolist() == [3001.0] * 40
    assert y.sum(axis=0)[3:5].compute().tolist() == [3001.0 * 60] * 2


def test_chunks_of_a_file_are_read_by_every_thread(tmp_path: Path) -> None:
    """However few of their elements are wanted."""
    zarr = pytest.importorskip("zarr")
    zarr.create_array(tmp_path / "x.zarr", shape=(16_000, 1000), chunks=(1000, 1000), dtype="float32")
    x = ga.from_zarr(tmp_path / "x.zarr", chunks=(1000, 1000))
    with ga.config.set(threads=2):
        (stage,) = [s for s in ga.explain(x.sum(axis=0)[3]).stages if s.read_nbytes]
    assert stage.tasks >= 8
    assert stage.read_nbytes == 64_000_000
