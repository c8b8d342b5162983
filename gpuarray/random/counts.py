"""Distributions of counts: int64, clipped where NumPy's would overflow."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.chunking import Chunks
from gpuarray.elementwise import apply
from gpuarray.random.arguments import INT64, bounded, not_negative, positive, result_shape, share
from gpuarray.random.continuous import Continuous


class Counts(Continuous):
    """Distributions of integers; arguments as in `Continuous`."""

    def poisson(self, lam: Any = 1.0, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Poisson distribution of mean `lam`.

        >>> import gpuarray as ga
        >>> bool(abs(ga.random.default_rng(0).poisson(4.0, size=5000).mean() - 4) < 0.2)
        True
        """
        bounded("lam", lam, lambda v: (v >= 0) & (v <= 9.2e18), "between 0 and 9.2e18")
        return self._tried("poisson", size, chunks, lam, dtype=INT64)

    def binomial(self, n: Any, p: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Successes among `n` trials of probability `p`.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).binomial(10, 0.5, size=9).max() <= 10)
        True
        """
        not_negative("n", n)
        share("p", p)
        return self._tried("binomial", size, chunks, n, p, dtype=INT64)

    def negative_binomial(self, n: Any, p: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Failures before `n` successes of probability `p`.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).negative_binomial(3, 0.5, size=9).min() >= 0)
        True
        """
        positive("n", n)
        bounded("p", p, lambda v: (v > 0) & (v <= 1), "above 0 and at most 1")
        return self._tried("negative_binomial", size, chunks, n, p, dtype=INT64)

    def geometric(self, p: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Trials of probability `p` up to the first success.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).geometric(0.3, size=9).min() >= 1)
        True
        """
        bounded("p", p, lambda v: (v > 0) & (v <= 1), "above 0 and at most 1")
        trials = self._exponentials(size, chunks, p) / -apply("log1p", apply("negative", p))
        return apply("clip", apply("ceil", trials), 1.0, 2.0**63 - 1024).astype(INT64)

    def hypergeometric(
        self, ngood: Any, nbad: Any, nsample: Any, size: Any = None, *, chunks: Chunks = "auto"
    ) -> NDArray:
        """Good ones among `nsample` taken from `ngood` and `nbad`.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).hypergeometric(5, 5, 4, size=9).max() <= 4)
        True
        """
        for name, value in (("ngood", ngood), ("nbad", nbad), ("nsample", nsample)):
            not_negative(name, value)
        bounded(
            "ngood, nbad, nsample",
            (ngood, nbad, nsample),
            lambda v: v[0] + v[1] >= v[2],
            "such that nsample is at most ngood + nbad",
        )
        return self._tried("hypergeometric", size, chunks, ngood, nbad, nsample, dtype=INT64)

    def multivariate_hypergeometric(
        self, colors: Any, nsample: Any, size: Any = None, method: str = "marginals", *, chunks: Chunks = "auto"
    ) -> NDArray:
        """How many of each colour among `nsample` taken from a collection; the last axis is the colours'.

        >>> import gpuarray as ga
        >>> ga.random.default_rng(0).multivariate_hypergeometric([5, 3, 8], 6, size=3).sum(axis=1).compute()
        array([6, 6, 6])

        `colors` is a vector in memory; `method` changes nothing.
        """
        numbers = np.asarray(colors)
        if numbers.ndim != 1 or not numbers.size or numbers.dtype.kind not in "iu":
            raise ValueError(f"colors={colors} must be a vector of integers, with elements")
        if method not in ("count", "marginals"):
            raise ValueError(f'method={method!r} must be "count" or "marginals"')
        not_negative("colors", numbers)
        bounded("nsample", nsample, lambda v: (v >= 0) & (v <= numbers.sum()), f"between 0 and {numbers.sum()}")
        from gpuarray.joining import stack

        shape = result_shape(size)
        left: Any = int(nsample)
        found: list[NDArray] = []
        for k, n in enumerate(numbers[:-1]):
            rest = int(numbers[k + 1 :].sum())
            found.append(self._tried("hypergeometric", shape, chunks, int(n), rest, left, dtype=INT64))
            left = apply("subtract", left, found[-1])
        last = apply("add", left, np.zeros(shape, np.int64))
        return stack([*found, last.astype(INT64)], -1)

    def logseries(self, p: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Logarithmic series distribution.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).logseries(0.6, size=9).min() >= 1)
        True
        """
        bounded("p", p, lambda v: (v >= 0) & (v < 1), "at least 0 and below 1")
        return self._tried("logseries", size, chunks, p, dtype=INT64)

    def zipf(self, a: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Zipf distribution of exponent `a`.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).zipf(2.0, size=9).min() >= 1)
        True
        """
        bounded("a", a, lambda v: v > 1, "above 1")
        return self._tried("zipf", size, chunks, a, dtype=INT64)

    def multinomial(self, n: Any, pvals: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """How often each of several outcomes happens in `n` trials; the last axis is the outcomes'.

        >>> import gpuarray as ga
        >>> ga.random.default_rng(0).multinomial(10, [0.2, 0.3, 0.5], size=4).sum(axis=1).compute()
        array([10, 10, 10, 10])

        `pvals` is an array in memory; its last axis adds up to at most 1, and the last outcome takes the rest.
        """
        not_negative("n", n)
        chances = np.asarray(pvals, float)
        if not chances.ndim or not chances.shape[-1]:
            raise ValueError(f"pvals of shape {chances.shape} must have at least one outcome along the last axis")
        share("pvals", chances)
        if (chances[..., :-1].sum(-1) > 1 + 1e-12).any():
            raise ValueError(f"pvals={pvals} must add up to at most 1 along the last axis")
        from gpuarray.joining import stack

        shape = result_shape(size, n, chances[..., 0])
        left: Any = n
        rest = np.ones(chances.shape[:-1])
        found: list[NDArray] = []
        for k in range(chances.shape[-1] - 1):
            part = np.clip(np.divide(chances[..., k], rest, out=np.ones_like(rest), where=rest > 1e-300), 0, 1)
            found.append(self._tried("binomial", shape, chunks, left, part, dtype=INT64))
            left = apply("subtract", left, found[-1])
            rest = rest - chances[..., k]
        last = apply("add", left, np.zeros(shape, np.int64)) if not found else left
        return stack([*found, last.astype(INT64)], -1)
