"""Tasks done strip by strip give the bits of tasks done at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.array import NDArray
from gpuarray.plan import block, strips
from tests.engine.stencils import random_case
from tests.engine.test_sweeps import lazy


@ga.stencil
def heat(u):
    return u[0, 0] + 0.1 * (u[1, 0] + u[-1, 0] + u[0, 1] + u[0, -1] - 4 * u[0, 0])


def programs(state: tuple[NDArray, ...]) -> list[NDArray]:
    """What reads a sweep: elementwise work, reductions of every kind of axes, several at once, a view."""
    u = state[0]
    made = [u * 2 + 1, (u * u).sum(), abs(u).max(axis=0) if u.shape[0] else u.sum(axis=0), u.sum(axis=-1) + 1]
    made += [(u + v).sum(axis=0) for v in state[1:]]
    return [*made, (u[::2] * 3).sum(), (u - u.mean()) * 2]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many strips each task was cut into."""
    found: list[int] = []
    cut = strips.cut

    def counting(task: block.Block) -> Any:
        made = cut(task)
        found.append(len(made))
        return made

    monkeypatch.setattr(strips, "cut", counting)
    return found


@pytest.mark.parametrize("first", range(0, 100, 50))
def test_random_stencils(first: int, monkeypatch: pytest.MonkeyPatch, counted: list[int]) -> None:
    for seed in range(first, first + 50):
        case = random_case(seed, most=40)
        rng = np.random.default_rng(seed)
        chunks = tuple(int(rng.integers(max(1, n // 2), n + 2)) for n in case.fields[0].shape)
        with np.errstate(all="ignore"):
            monkeypatch.setattr(strips, "BYTES", 1 << 40)
            at_once = [p.compute() for p in programs(lazy(case, chunks, 0))]
            monkeypatch.setattr(strips, "BYTES", 200)
            monkeypatch.setattr(strips, "AGAIN", 100)
            in_strips = [p.compute() for p in programs(lazy(case, chunks, 0))]
        for k, (a, b) in enumerate(zip(in_strips, at_once, strict=True)):
            np.testing.assert_array_equal(a, b, err_msg=f"seed {seed}, program {k}")
            assert a.dtype == b.dtype
            assert a.shape == b.shape
    assert max(counted) > 3


def test_a_residual_goes_in_strips_of_whole_cells(counted: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.random.default_rng(0).random((3000, 1000))
    u = ga.asarray(a, chunks=(3000, 1000))
    norm, plus = ((heat(u) - u) ** 2).sum(), heat(u) * 2 + 1
    expected = norm.compute(), plus.compute()
    counted.clear()
    monkeypatch.setattr(strips, "BYTES", 1 << 20)
    with ga.config.set(threads=1):
        assert norm.compute() == expected[0]
        assert plus.compute().tobytes() == expected[1].tobytes()
    assert max(counted) >= 5


def test_wide_margins_are_not_computed_again_and_again(counted: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    x = ga.asarray(np.random.default_rng(0).random((400, 300)), chunks=(400, 300))
    y = ga.iterate(heat, x, steps=30) * 2
    expected = y.compute()
    counted.clear()
    monkeypatch.setattr(strips, "BYTES", 20_000)
    np.testing.assert_array_equal(y.compute(), expected)
    assert max(counted) == 0
