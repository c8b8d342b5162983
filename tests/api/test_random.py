"""Random arrays: the same bits whatever the chunks, golden values, the right distributions, clear refusals."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.kernels import philox

DRAWS: dict[str, Any] = {
    "random": lambda r, c: r.random((23, 17), chunks=c),
    "random of float32": lambda r, c: r.random((23, 17), dtype="f4", chunks=c),
    "standard_normal": lambda r, c: r.standard_normal((23, 17), chunks=c),
    "standard_normal of float32": lambda r, c: r.standard_normal((23, 17), "f4", chunks=c),
    "standard_exponential": lambda r, c: r.standard_exponential((23, 17), chunks=c),
    "standard_exponential of float32": lambda r, c: r.standard_exponential((23, 17), "f4", chunks=c),
    "uniform": lambda r, c: r.uniform(np.arange(17), 20, (23, 17), chunks=c),
    "normal": lambda r, c: r.normal(ga.arange(17, chunks=5), 2, (23, 17), chunks=c),
    "lognormal": lambda r, c: r.lognormal(0, 0.5, (23, 17), chunks=c),
    "exponential": lambda r, c: r.exponential(np.arange(23)[:, None], (23, 17), chunks=c),
    "integers": lambda r, c: r.integers(-5, 5, (23, 17), chunks=c),
    "integers of arrays": lambda r, c: r.integers(np.arange(17), ga.arange(17) + 9, (23, 17), "i4", chunks=c),
    "choice": lambda r, c: r.choice(9, (23, 17), chunks=c),
    "choice of elements": lambda r, c: r.choice(ga.arange(9.0, chunks=2), (23, 17), p=np.arange(9) / 36, chunks=c),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_the_same_array_whatever_the_chunks(draw, monkeypatch):
    whole = draw(ga.random.default_rng(5), -1).compute()
    assert not (whole == whole.flat[0]).all()
    monkeypatch.setattr("gpuarray.plan.direct.order_if_small", lambda roots, limit: None)
    for chunks in ("auto", 1, 4, (23, 1), ((20, 3), (1, 16))):
        x = draw(ga.random.default_rng(5), chunks)
        made = x.compute()
        assert made.dtype == whole.dtype
        np.testing.assert_array_equal(made, whole)
        np.testing.assert_array_equal(x[3::5, ::-2].compute(), whole[3::5, ::-2])
        np.testing.assert_array_equal(x.T.compute(), whole.T)


def test_golden_values():
    """Changing any of these changes every user's results."""
    r = ga.random.default_rng(12345)
    golden = [
        ("random", "f8", ["0x1.50b96da58a180p-8", "0x1.27ccb553f2f0ep-2", "0x1.f7d2c28cf8feap-2"]),
        ("random", "f4", ["0x1.d7df64p-1", "0x1.263ee6p-1", "0x1.512168p-3"]),
        ("standard_normal", "f8", ["-0x1.81f002cdca6cbp+0", "0x1.e3bccd141a8d7p-2", "0x1.2957a089ed32dp+1"]),
        ("standard_normal", "f4", ["-0x1.528d1ap+0", "-0x1.f44126p-2", "0x1.052228p-5"]),
        ("standard_exponential", "f8", ["0x1.556951383e353p-5", "0x1.68f4ed83b4bd4p+0", "0x1.421ade22b6660p-3"]),
        ("standard_exponential", "f4", ["0x1.cbbf96p-1", "0x1.403ae8p-1", "0x1.5ce44ep+0"]),
    ]
    for name, dtype, values in golden:
        assert getattr(r, name)(3, dtype=dtype).tolist() == [float.fromhex(v) for v in values], name
    assert r.integers(-10, 10, 8).tolist() == [2, -3, 5, 7, -6, -10, -7, -4]
    assert r.integers(0, 2**64, 2, "u8").tolist() == [12118042614575246169, 4428851421797669305]
    assert r.integers(0, 2**64 - 1, 2, "u8", True).tolist() == [10448882821133761210, 17520752618744406107]
    assert r.integers(-(2**63), 2**63 - 1, 2, endpoint=True).tolist() == [4926085916925996798, 225380347300237289]
    assert r.uniform(-1, 1, 2).tolist() == [0.24854112501267855, 0.04846106138007156]
    assert r.normal(5, 2, 2).tolist() == [3.298309620328372, 5.141517598470902]
    assert r.choice(10, 5).tolist() == [0, 6, 8, 1, 1]
    assert r.choice([1.5, 2.5, 3.5], 5, p=[0.5, 0.25, 0.25]).tolist() == [3.5, 1.5, 1.5, 3.5, 1.5]
    children = ga.random.default_rng([1, 2, 3]).spawn(2)
    assert [c.random().item() for c in children] == [0.7845105258628579, 0.10772514835054237]


def test_it_is_philox_of_key_call_and_position():
    r = ga.random.default_rng(99)
    key = int(np.random.SeedSequence(99).generate_state(1, np.uint64)[0])
    r.random()
    mine = r.random((3, 5), chunks=2)
    expected = philox.interpret("random_uniform", "float64", key, 1, np.arange(15).reshape(3, 5))
    np.testing.assert_array_equal(mine.compute(), expected)


def test_every_call_is_another_sequence():
    r = ga.random.default_rng(0)
    drawn = [r.random(100).compute() for _ in range(4)]
    drawn += [c.random(100).compute() for c in r.spawn(2)]
    drawn += [ga.random.default_rng(1).random(100).compute(), ga.random.default_rng(None).random(100).compute()]
    for k, a in enumerate(drawn):
        for b in drawn[:k]:
            assert not (a == b).any()


def test_a_call_keeps_its_sequence_however_often_it_is_computed():
    x = ga.random.default_rng(0).random(5)
    np.testing.assert_array_equal(x.compute(), x.compute())
    assert float((x - x).max()) == 0


@pytest.mark.parametrize("seed", [0, 2**100, [1, 2, 3], np.int64(7), (5,), np.random.SeedSequence(3)])
def test_seeds_of_numpys_kinds(seed):
    one, other = ga.random.default_rng(seed).random(3), ga.random.default_rng(seed).random(3)
    assert one.tolist() == other.tolist()


def test_generators_pass_through_and_pickle():
    r = ga.random.default_rng(4)
    assert ga.random.default_rng(r) is r
    r.random(3)
    copy = pickle.loads(pickle.dumps(r))
    assert copy.random(3).tolist() == r.random(3).tolist()
    assert "seed=4" in repr(r)


def test_sizes(same):
    r = ga.random.default_rng(0)
    assert r.random().shape == ()
    assert r.random(3).shape == (3,)
    assert r.random((2, 0)).compute().shape == (2, 0)
    assert r.normal([1, 2], [[1], [2]]).shape == (2, 2)
    assert r.integers([1, 2, 3]).shape == (3,)
    assert r.choice(3).shape == ()
    assert r.choice([5.0], p=[1.0]).item() == 5.0
    out = ga.zeros((2, 2))
    assert r.random(out=out) is out
    assert 0 < float(out.min()) < float(out.max()) < 1


def moments(x: ga.NDArray) -> tuple[float, float]:
    mean, var = ga.compute(x.mean(), x.var())
    return float(mean), float(var)


def test_distributions():
    """Means and variances of 200,000 draws, within five standard errors."""
    n = 200_000
    r = ga.random.default_rng(2024)
    for x, mean, var, fourth in (
        (r.random(n), 1 / 2, 1 / 12, 1 / 80),
        (r.random(n, "f4"), 1 / 2, 1 / 12, 1 / 80),
        (r.standard_normal(n), 0, 1, 3),
        (r.standard_normal(n, "f4"), 0, 1, 3),
        (r.standard_exponential(n), 1, 1, 9),
        (r.uniform(-3, 5, n), 1, 64 / 12, 64**2 / 80),
        (r.normal(10, 3, n), 10, 9, 3 * 81),
        (r.exponential(2, n), 2, 4, 9 * 16),
        (r.integers(0, 10, n), 4.5, 99 / 12, 120.8625),
        (r.choice([0.0, 1.0], n, p=[0.75, 0.25]), 0.25, 0.1875, 0.1875 * 0.4375),
    ):
        m, v = moments(x.astype(float))
        assert abs(m - mean) < 5 * (var / n) ** 0.5
        assert abs(v - var) < 5 * ((fourth - var**2) / n) ** 0.5


def test_integers_cover_their_range():
    r = ga.random.default_rng(0)
    for dtype in ("b", "B", "h", "H", "i", "I", "l", "L"):
        x = r.integers(3, 7, 500, dtype)
        assert x.dtype == np.dtype(dtype)
        assert sorted(set(x.tolist())) == [3, 4, 5, 6]
        info = np.iinfo(dtype)
        ends = r.integers(info.min, info.max, 300, dtype, endpoint=True).compute()
        assert ends.min() < info.min / 2 + info.max / 4
        assert ends.max() > info.max * 0.9
    assert sorted(set(r.integers(0, 2, 50, bool).tolist())) == [False, True]
    assert sorted(set(r.integers(2, size=50, dtype=bool).tolist())) == [False, True]
    assert r.integers(5, 6, 3).tolist() == [5, 5, 5]
    assert r.integers(-3, -3, 2, endpoint=True).tolist() == [-3, -3]
    lows = r.integers(ga.asarray([0, 100]), ga.asarray([10, 110]), (200, 2), endpoint=True).compute()
    assert lows.min(0).tolist() == [0, 100]
    assert lows.max(0).tolist() == [10, 110]
    mixed = r.integers([-(2**63), 0], [2**63 - 1, 1], (100, 2)).compute()
    assert set(mixed[:, 1].tolist()) == {0}
    assert mixed[:, 0].min() < 0 < mixed[:, 0].max()


def test_a_random_array_is_never_stored():
    x = ga.random.default_rng(0).random((10**7, 10**7))
    y = x + x.T
    assert float(y[123, 456789]) == float(y[456789, 123])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda r: ga.random.default_rng(-1), ValueError, "seed=-1"),
        (lambda r: ga.random.default_rng(1.5), TypeError, "seed=1.5"),
        (lambda r: ga.random.default_rng("a"), TypeError, "'a'"),
        (lambda r: ga.random.default_rng(np.random.default_rng(0)), TypeError, "Generator"),
        (lambda r: r.random(-1), ValueError, "-1"),
        (lambda r: r.random((2, 1.5)), TypeError, "1.5"),
        (lambda r: r.random(3, dtype=int), TypeError, "int64 is not supported for random"),
        (lambda r: r.standard_normal(3, dtype="f2"), TypeError, "float16"),
        (lambda r: r.random(3, chunks=0), ValueError, "chunks=0"),
        (lambda r: r.random(out=np.zeros(3)), TypeError, "ndarray"),
        (lambda r: r.normal(0, -1), ValueError, "scale=-1"),
        (lambda r: r.normal(0, [1, -1]), ValueError, "scale="),
        (lambda r: r.lognormal(0, -1), ValueError, "sigma=-1"),
        (lambda r: r.exponential(-1), ValueError, "scale=-1"),
        (lambda r: r.normal([1, 2], 1, size=3), ValueError, r"\(2,\)"),
        (lambda r: r.normal([1, 2], [1, 2, 3]), ValueError, r"\(2,\) \(3,\)"),
        (lambda r: r.normal([[1], [2]], 1, size=2), ValueError, r"\(2,\)"),
        (lambda r: r.uniform(0, np.inf), OverflowError, "inf"),
        (lambda r: r.integers(0), ValueError, "low=0.*high=0"),
        (lambda r: r.integers(5, 2), ValueError, "low=5.*high=2"),
        (lambda r: r.integers(5, 4, endpoint=True), ValueError, "low=5.*high=4"),
        (lambda r: r.integers(0, 300, dtype="u1"), ValueError, "300.*uint8.*255"),
        (lambda r: r.integers(-1, 3, dtype="u1"), ValueError, "-1.*uint8.*0"),
        (lambda r: r.integers(0, 2**64 + 1, dtype="u8"), ValueError, "uint64"),
        (lambda r: r.integers(0, 3, dtype=float), TypeError, "float64"),
        (lambda r: r.integers(0.5, 3), TypeError, "low=0.5"),
        (lambda r: r.integers("a", 3), TypeError, "'a'"),
        (lambda r: r.integers(ga.ones(3), 3), TypeError, "low.*float64"),
        (lambda r: r.choice(0, 2), ValueError, "a=0"),
        (lambda r: r.choice([], 2), ValueError, "positive|elements"),
        (lambda r: r.choice([[1]], 2, axis=2), np.exceptions.AxisError, "axis 2"),
        (lambda r: r.choice(3.5, 2), ValueError, "3.5"),
        (lambda r: r.choice(3, 3, replace=False, p=[0.2, 0.8, 0.0]), ValueError, "Fewer non-zero"),
        (lambda r: r.choice(3, 4, replace=False), ValueError, "4 of 3"),
        (lambda r: r.choice(3, 2, p=[0.5, 0.5]), ValueError, r"\(2,\).*3"),
        (lambda r: r.choice(2, 2, p=[0.9, 0.9]), ValueError, "add up to 1"),
        (lambda r: r.choice(2, 2, p=[-0.5, 1.5]), ValueError, "negative"),
        (lambda r: r.choice(2, 2, p=[np.nan, 1]), ValueError, "nan"),
        (lambda r: r.spawn(-1), ValueError, "-1"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(ga.random.default_rng(0))
