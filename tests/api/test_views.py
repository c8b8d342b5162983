"""What is written to an array is seen in its views, and the other way round, as in NumPy."""

from __future__ import annotations

import copy
import pickle
import random
from typing import Any

import numpy as np
import pytest

import gpuarray as ga


def test_views_of_views_of_views() -> None:
    """Ten thousand of them, seen and written through, without recursion."""
    x = ga.arange(24).reshape(4, 6)
    y = x
    for _ in range(10_001):
        y = y.T
    x[1, 0] = 70
    assert y[0, 1] == 70
    y[5, 3] = 90
    assert x[3, 5] == 90
    z = ga.arange(10_003)
    for _ in range(10_000):
        z = z[1:]
    assert z.compute().tolist() == [10_000, 10_001, 10_002]


def chunked(a: np.ndarray[Any, Any], r: random.Random) -> ga.NDArray:
    return ga.asarray(a.copy(), chunks=tuple(r.randint(1, max(1, n)) for n in a.shape))


def piece(r: random.Random, n: int) -> Any:
    start, stop, step = r.randint(-n, n), r.randint(-n, n), r.choice([1, 1, 2, -1, -2])
    return r.choice([slice(None), slice(start, None, step), slice(None, stop), slice(start, stop, step)])


def looked_into(r: random.Random, shape: tuple[int, ...]) -> Any:
    """A function that makes a view, or what NumPy makes a copy of."""
    kinds = ["slice", "slice", "T", "swap", "reshape", "ravel", "new axis", "flip", "squeeze", "flatten", "row", "2d"]
    kind = r.choice(kinds)
    size = int(np.prod(shape))
    if kind == "slice":
        key = tuple(piece(r, n) for n in shape)
        return lambda a, xp: a[key]
    if kind == "row" and len(shape) > 1 and shape[0]:
        at = r.randrange(shape[0])
        return lambda a, xp: a[at]
    if kind == "swap" and len(shape) > 1:
        i, j = r.sample(range(len(shape)), 2)
        return lambda a, xp: xp.swapaxes(a, i, j)
    if kind == "reshape" and size:
        n = r.choice([k for k in range(1, size + 1) if size % k == 0])
        return lambda a, xp: a.reshape(n, -1)
    if kind in ("ravel", "flatten"):
        return lambda a, xp: getattr(a, kind)()
    others = {
        "new axis": lambda a, xp: a[..., None, :] if a.ndim else a,
        "flip": lambda a, xp: xp.flip(a, 0),
        "squeeze": lambda a, xp: xp.squeeze(a),
        "2d": lambda a, xp: xp.atleast_2d(a),
    }
    return others.get(kind, lambda a, xp: a.T)


def write(r: random.Random, n: int) -> Any:
    value = r.randint(-9, 9)
    return r.choice(
        [
            lambda a: a.__iadd__(value),
            lambda a: a.__imul__(2),
            lambda a: a.__setitem__(Ellipsis, value),
            lambda a: a.__setitem__(a > value, n),
            lambda a: a.__setitem__((slice(None, None, 2),), value) if a.ndim else None,
            lambda a: a.__setitem__(0, a[-1]) if a.ndim and len(a) else None,
            lambda a: a.fill(n),
            lambda a: a.sort(axis=0) if a.ndim else None,
        ]
    )


@pytest.mark.parametrize("seed", range(60))
def test_any_views_and_writes(seed: int) -> None:
    r = random.Random(seed)
    shape = r.choice([(12,), (4, 6), (3, 4, 2), (5, 1), (0, 3)])
    a = np.random.default_rng(seed).integers(-50, 50, shape)
    theirs, mine = [a.copy()], [chunked(a, r)]
    for step in range(10):
        k = r.randrange(len(theirs))
        if r.random() < 0.5:
            function = looked_into(r, theirs[k].shape)
            made = function(theirs[k], np)
            if made.ndim:
                theirs.append(made)
                mine.append(function(mine[k], ga))
        else:
            change = write(r, 100 + step)
            change(theirs[k])
            change(mine[k])
        if r.random() < 0.5:
            for m, t in zip(mine, theirs, strict=True):
                assert m.shape == t.shape
                np.testing.assert_array_equal(m.compute(), t)
    for m, t in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(m.compute(), t)


def test_programs_that_write_through_views() -> None:
    """The Gray-Scott model and the game of life as they stand in the books."""

    def gray_scott(xp: Any) -> Any:
        field, other = xp.ones((20, 24)), xp.zeros((20, 24))
        field[8:12, 8:12], other[8:12, 8:12] = 0.5, 0.25
        u, v = field[1:-1, 1:-1], other[1:-1, 1:-1]
        for _ in range(4):
            flow = [f[:-2, 1:-1] + f[1:-1, :-2] - 4 * f[1:-1, 1:-1] + f[1:-1, 2:] + f[2:, 1:-1] for f in (field, other)]
            reaction = u * v * v
            u += 0.16 * flow[0] - reaction + 0.06 * (1 - u)
            v += 0.08 * flow[1] + reaction - 0.122 * v
        return field

    def life(xp: Any) -> Any:
        cells = xp.zeros((12, 12), dtype=int)
        cells[1:4, 1:4] = xp.asarray([[0, 0, 1], [1, 0, 1], [0, 1, 1]])
        for _ in range(4):
            near = sum(cells[1 + i : 11 + i, 1 + j : 11 + j] for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j)
            birth = (near == 3) & (cells[1:-1, 1:-1] == 0)
            stays = ((near == 2) | (near == 3)) & (cells[1:-1, 1:-1] == 1)
            cells[...] = 0
            cells[1:-1, 1:-1][birth | stays] = 1
        return cells

    def rows(xp: Any) -> Any:
        a = xp.arange(12.0).reshape(3, 4)
        for row in a:
            row -= row.mean()
        a.T[0] = 7
        left, right = xp.split(a, 2, axis=1)
        left += 100
        right[:, 0] = xp.asarray([1, 2, 3])
        return a

    for program in (gray_scott, life, rows):
        np.testing.assert_allclose(np.asarray(program(ga)), program(np), rtol=1e-14)


def test_adding_to_a_part_makes_one_step() -> None:
    """``x[key] += y`` writes through the view, and Python then assigns it where it is already."""
    x = ga.ones((8, 8), chunks=4)
    before = x.node
    x[1:-1, 1:-1] += 1
    assert x.node.inputs[0] is before


def test_what_is_no_view() -> None:
    a = np.arange(6.0).reshape(2, 3)
    for make in (
        lambda x: x.copy(),
        lambda x: x + 0,
        lambda x: x[[0, 1]],
        lambda x: x[x >= 0],
        lambda x: x.flatten(),
        lambda x: x.astype(float),
        lambda x: ga.array(x),
        lambda x: copy.copy(x[:]),
        lambda x: copy.deepcopy(x[:]),
        lambda x: pickle.loads(pickle.dumps(x[:])),
        lambda x: x.T.reshape(-1),
        lambda x: x.reshape(3, 2, order="F"),
        lambda x: x[0, 0],
        lambda x: x[:].persist(),
    ):
        x = ga.asarray(a.copy(), chunks=2)
        y = make(x)
        before = y.compute()
        x += 100
        np.testing.assert_array_equal(y.compute(), before)
        y += 1000
        np.testing.assert_array_equal(x.compute(), a + 100)


def test_remembered_numbers_are_forgotten() -> None:
    x = ga.arange(4.0)
    first = x[:1]
    assert float(first) == 0
    x += 5
    assert float(first) == 5
    first += 1
    assert float(x[0]) == 6
    assert first.compute() == 6


def test_a_view_that_an_error_leaves_as_it_was() -> None:
    x = ga.arange(4)
    y = x[1:3]
    with pytest.raises(TypeError, match="cast"):
        y += 1.5
    with pytest.raises(ValueError, match="broadcast"):
        y[:] = [1, 2, 3]
    assert x.compute().tolist() == [0, 1, 2, 3]
    assert y.compute().tolist() == [1, 2]
