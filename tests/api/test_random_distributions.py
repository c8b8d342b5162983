"""Distributions: against SciPy's by Kolmogorov-Smirnov and moments, for fixed seeds; the same for every chunking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpuarray as ga

stats = pytest.importorskip("scipy.stats")
N = 20_000

Draw = Callable[[Any], ga.NDArray]

CONTINUOUS: dict[str, tuple[Draw, Callable[[], Any]]] = {
    "laplace": (lambda r: r.laplace(1, 2, N), lambda: stats.laplace(1, 2)),
    "logistic": (lambda r: r.logistic(1, 2, N), lambda: stats.logistic(1, 2)),
    "gumbel": (lambda r: r.gumbel(1, 2, N), lambda: stats.gumbel_r(1, 2)),
    "rayleigh": (lambda r: r.rayleigh(2, N), lambda: stats.rayleigh(scale=2)),
    "weibull": (lambda r: r.weibull(1.5, N), lambda: stats.weibull_min(1.5)),
    "pareto": (lambda r: r.pareto(3, N), lambda: stats.lomax(3)),
    "power": (lambda r: r.power(3, N), lambda: stats.powerlaw(3)),
    "triangular": (lambda r: r.triangular(-1, 0.5, 2, N), lambda: stats.triang(0.5, -1, 3)),
    "cauchy": (lambda r: r.standard_cauchy(N), lambda: stats.cauchy()),
    "gamma": (lambda r: r.gamma(2.5, 3, N), lambda: stats.gamma(2.5, scale=3)),
    "small gamma": (lambda r: r.standard_gamma(0.2, N), lambda: stats.gamma(0.2)),
    "large gamma": (lambda r: r.standard_gamma(1000, N), lambda: stats.gamma(1000)),
    "beta": (lambda r: r.beta(2, 5, N), lambda: stats.beta(2, 5)),
    "small beta": (lambda r: r.beta(0.3, 0.4, N), lambda: stats.beta(0.3, 0.4)),
    "chisquare": (lambda r: r.chisquare(3, N), lambda: stats.chi2(3)),
    "noncentral chisquare": (lambda r: r.noncentral_chisquare(0.7, 2, N), lambda: stats.ncx2(0.7, 2)),
    "f": (lambda r: r.f(4, 9, N), lambda: stats.f(4, 9)),
    "noncentral f": (lambda r: r.noncentral_f(4, 9, 2, N), lambda: stats.ncf(4, 9, 2)),
    "t": (lambda r: r.standard_t(4, N), lambda: stats.t(4)),
    "vonmises": (lambda r: r.vonmises(0, 2, N), lambda: stats.vonmises(2)),
    "flat vonmises": (lambda r: r.vonmises(0, 0, N), lambda: stats.uniform(-np.pi, 2 * np.pi)),
    "wald": (lambda r: r.wald(2, 3, N), lambda: stats.invgauss(2 / 3, scale=3)),
    "lognormal": (lambda r: r.lognormal(1, 0.5, N), lambda: stats.lognorm(0.5, scale=np.e)),
}
COUNTS: dict[str, tuple[Draw, Callable[[], Any]]] = {
    "poisson": (lambda r: r.poisson(3, N), lambda: stats.poisson(3)),
    "large poisson": (lambda r: r.poisson(50, N), lambda: stats.poisson(50)),
    "poisson of 10": (lambda r: r.poisson(10, N), lambda: stats.poisson(10)),
    "binomial": (lambda r: r.binomial(10, 0.3, N), lambda: stats.binom(10, 0.3)),
    "large binomial": (lambda r: r.binomial(100, 0.4, N), lambda: stats.binom(100, 0.4)),
    "reflected binomial": (lambda r: r.binomial(100, 0.8, N), lambda: stats.binom(100, 0.8)),
    "negative binomial": (lambda r: r.negative_binomial(3, 0.4, N), lambda: stats.nbinom(3, 0.4)),
    "geometric": (lambda r: r.geometric(0.2, N), lambda: stats.geom(0.2)),
    "hypergeometric": (lambda r: r.hypergeometric(20, 30, 12, N), lambda: stats.hypergeom(50, 20, 12)),
    "reflected hypergeometric": (lambda r: r.hypergeometric(40, 25, 50, N), lambda: stats.hypergeom(65, 40, 50)),
    "small hypergeometric": (lambda r: r.hypergeometric(3, 2, 2, N), lambda: stats.hypergeom(5, 3, 2)),
    "logseries": (lambda r: r.logseries(0.7, N), lambda: stats.logser(0.7)),
    "zipf": (lambda r: r.zipf(2.5, N), lambda: stats.zipf(2.5)),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name: str) -> None:
    draw, law = CONTINUOUS[name]
    values = draw(ga.random.default_rng(1)).compute()
    assert values.dtype == np.float64
    # Seeds are fixed, so this fails when a distribution is wrong, and never by chance.
    assert stats.kstest(values, law().cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    draw, law = COUNTS[name]
    values = draw(ga.random.default_rng(2)).compute()
    assert values.dtype == np.int64
    low, high = law().ppf([0.01, 0.99])
    edges = np.arange(low, high + 1)
    cdf = law().cdf(edges)
    chances = np.diff(np.concatenate([[0], cdf, [1]]))
    found = np.bincount(np.searchsorted(edges, values), minlength=edges.size + 1)
    many = N * chances > 5
    rest = np.array([found[~many].sum()]), np.array([N * chances[~many].sum()])
    seen, expected = np.concatenate([found[many], rest[0]]), np.concatenate([N * chances[many], rest[1]])
    keep = expected > 1e-9
    assert stats.chisquare(seen[keep], expected[keep] * seen[keep].sum() / expected[keep].sum()).pvalue > 1e-3


ALL: dict[str, Callable[[Any, Any, Any], Any]] = {
    "laplace": lambda r, s, c: r.laplace(size=s, chunks=c),
    "gamma": lambda r, s, c: r.gamma([0.5, 3, 20, 100, 0.01], 2, s, chunks=c),
    "beta": lambda r, s, c: r.beta(0.5, [0.5, 3, 20, 100, 0.01], s, chunks=c),
    "poisson": lambda r, s, c: r.poisson([0, 3, 20, 100, 1e6], s, chunks=c),
    "binomial": lambda r, s, c: r.binomial(40, [0, 0.1, 0.5, 0.9, 1], s, chunks=c),
    "hypergeometric": lambda r, s, c: r.hypergeometric([0, 1, 30, 100, 1000], 50, 20, s, chunks=c),
    "vonmises": lambda r, s, c: r.vonmises(0, [0, 0.1, 1, 10, 100], s, chunks=c),
    "zipf": lambda r, s, c: r.zipf([1.1, 2, 3, 4, 5], s, chunks=c),
    "logseries": lambda r, s, c: r.logseries([0, 0.1, 0.5, 0.9, 0.999], s, chunks=c),
    "wald": lambda r, s, c: r.wald(1, [0.1, 1, 10, 100, 1000], s, chunks=c),
    "t": lambda r, s, c: r.standard_t([1, 2, 5, 10, 100], s, chunks=c),
    "dirichlet": lambda r, s, c: r.dirichlet([0.01, 1, 100], s, chunks=(c, c, -1)),
    "multivariate": lambda r, s, c: r.multivariate_normal([1, 2], [[2, 1], [1, 2]], s, chunks=(c, c, -1)),
}


@pytest.mark.parametrize("name", ALL)
def test_the_same_for_every_chunking_and_backend(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = ALL[name]
    first = draw(ga.random.default_rng(3), (7, 5), -1).compute()
    assert np.isfinite(first).all()
    monkeypatch.setattr("gpuarray.plan.direct.order_if_small", lambda roots, limit: None)
    exact = name != "multivariate"  # a product of matrices may be rounded otherwise in other blocks
    for chunks in (-1, 1, 3):
        again = draw(ga.random.default_rng(3), (7, 5), chunks)
        np.testing.assert_allclose(again.compute(), first, rtol=0 if exact else 1e-12)
        np.testing.assert_allclose(again[1::2, 3].compute(), first[1::2, 3], rtol=0 if exact else 1e-12)
    with ga.config.set(device="fake"):
        np.testing.assert_allclose(draw(ga.random.default_rng(3), (7, 5), 2).compute(), first, rtol=1e-12)


def test_shares_and_vectors() -> None:
    rng = ga.random.default_rng(4)
    d = rng.dirichlet([1.0, 2.0, 5.0], 4000).compute()
    np.testing.assert_allclose(d.sum(-1), 1)
    np.testing.assert_allclose(d.mean(0), [1 / 8, 2 / 8, 5 / 8], atol=0.01)
    np.testing.assert_allclose(rng.dirichlet([1e-5, 1e-5], 50).sum(-1).compute(), 1)
    cov = np.array([[2.0, 0.5], [0.5, 1.0]])
    for method in ("svd", "eigh", "cholesky"):
        x = rng.multivariate_normal([1, -1], cov, 20_000, method=method).compute()
        np.testing.assert_allclose(x.mean(0), [1, -1], atol=0.05)
        np.testing.assert_allclose(np.cov(x.T), cov, atol=0.08)
    m = rng.multinomial(20, [0.2, 0.3, 0.5], 4000).compute()
    assert m.dtype == np.int64
    np.testing.assert_array_equal(m.sum(-1), 20)
    np.testing.assert_allclose(m.mean(0), [4, 6, 10], atol=0.15)
    assert rng.multinomial([3, 4], [[0.5, 0.5], [1, 0]]).shape == (2, 2)
    assert rng.multinomial(3, [1.0], 2).tolist() == [[3], [3]]


def test_colours() -> None:
    rng = ga.random.default_rng(8)
    m = rng.multivariate_hypergeometric([5, 10, 25], 12, 4000).compute()
    np.testing.assert_array_equal(m.sum(-1), 12)
    assert (m >= 0).all()
    assert (m <= [5, 10, 25]).all()
    np.testing.assert_allclose(m.mean(0), [1.5, 3, 7.5], atol=0.1)
    assert rng.multivariate_hypergeometric([3], 2).tolist() == [2]
    with pytest.raises(ValueError, match="nsample=9"):
        rng.multivariate_hypergeometric([3, 4], 9)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 1000])
def test_orders(n: int) -> None:
    rng = ga.random.default_rng(5)
    p = rng.permutation(n, chunks=7)
    np.testing.assert_array_equal(np.sort(p.compute()), np.arange(n))
    np.testing.assert_array_equal(p.compute(), ga.random.default_rng(5).permutation(n).compute())
    if n > 2:
        assert p.tolist() != rng.permutation(n).tolist()
    a = np.arange(2 * n).reshape(2, n)
    x = rng.permutation(ga.asarray(a, chunks=3), axis=1).compute()
    np.testing.assert_array_equal(np.sort(x, 1), a)
    np.testing.assert_array_equal(x[1] - x[0], np.full(n, n))
    y = rng.permuted(ga.asarray(a, chunks=3), axis=1).compute()
    np.testing.assert_array_equal(np.sort(y, 1), a)
    np.testing.assert_array_equal(np.sort(rng.permuted(ga.asarray(a, chunks=3)).compute(), None), np.arange(2 * n))
    z = ga.asarray(a[0], chunks=3)
    rng.shuffle(z)
    np.testing.assert_array_equal(np.sort(z.compute()), np.arange(n))
    assert len(rng.bytes(n)) == n


def test_every_order_is_as_likely() -> None:
    rng = ga.random.default_rng(6)
    seen = np.array([rng.permutation(4).compute() for _ in range(1500)])
    found = np.unique(seen @ [64, 16, 4, 1], return_counts=True)[1]
    assert found.size == 24
    assert stats.chisquare(found).pvalue > 1e-3


def test_choice_without_replacement() -> None:
    rng = ga.random.default_rng(7)
    found = rng.choice(100, (4, 5), replace=False).compute()
    assert np.unique(found).size == 20
    assert set(rng.choice([2, 3, 5], 3, replace=False).tolist()) == {2, 3, 5}


def test_every_distribution_of_numpy_is_there() -> None:
    theirs = {n for n in dir(np.random.Generator) if not n.startswith("_")} - {"bit_generator"}
    missing = theirs - set(dir(ga.random.Generator))
    assert not missing


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r: r.laplace(0, -1), "scale=-1"),
        (lambda r: r.gamma(-1), "shape=-1"),
        (lambda r: r.beta(0, 1), "a=0"),
        (lambda r: r.chisquare(0), "df=0"),
        (lambda r: r.standard_t([1, np.nan]), "df=.*nan"),
        (lambda r: r.triangular(0, 2, 1), "ascending"),
        (lambda r: r.vonmises(0, -1), "kappa=-1"),
        (lambda r: r.wald(0, 1), "mean=0"),
        (lambda r: r.poisson(-1), "lam=-1"),
        (lambda r: r.binomial(-1, 0.5), "n=-1"),
        (lambda r: r.binomial(1, 1.5), "p=1.5"),
        (lambda r: r.geometric(0), "p=0"),
        (lambda r: r.hypergeometric(1, 1, 3), "nsample"),
        (lambda r: r.logseries(1), "p=1"),
        (lambda r: r.zipf(1), "a=1"),
        (lambda r: r.multinomial(3, [0.9, 0.9, 0.1]), "add up"),
        (lambda r: r.dirichlet([0, 1]), "alpha"),
        (lambda r: r.dirichlet(1), r"shape \(\)"),
        (lambda r: r.multivariate_normal([0], [[1, 0], [0, 1]]), r"\(2, 2\)"),
        (lambda r: r.multivariate_normal([0, 0], [[1, 0], [0, -1]], check_valid="raise"), "semidefinite"),
        (lambda r: r.permutation(-1), "x=-1"),
    ],
)
def test_errors(call: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(ga.random.default_rng(0))


def test_shuffle_takes_arrays_of_ours() -> None:
    with pytest.raises(TypeError, match=r"list.*permutation"):
        ga.random.default_rng(0).shuffle([1, 2])
