"""Continuous distributions beyond the basic ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.chunking import Chunks
from gpuarray.elementwise import apply, into
from gpuarray.random.arguments import asked_shape, bounded, float_dtype, positive, result_shape
from gpuarray.random.arguments import not_negative as least_zero
from gpuarray.random.base import FLOAT64, BaseGenerator

LEAST = 2.0**-54
"""Half of the smallest exponential variate above zero: it stands for zero where a logarithm is taken."""


class Continuous(BaseGenerator):
    """Distributions of real numbers. Parameters are numbers or arrays that broadcast; `size` is the shape, by default
    that of the parameters; `chunks` as in `NDArray.rechunk`. ValueError for parameters out of range."""

    def _exponentials(self, size: Any, chunks: Chunks, *parameters: Any) -> NDArray:
        made = self._draw("random_exponential", result_shape(size, *parameters), FLOAT64, chunks)
        return apply("maximum", made, LEAST)

    def laplace(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Laplace's double exponential distribution.

        >>> import gpuarray as ga
        >>> ga.random.default_rng(0).laplace(size=3).shape
        (3,)
        """
        least_zero("scale", scale)
        first, second = (self._exponentials(size, chunks, loc, scale) for _ in range(2))
        made: NDArray = loc + (first - second) * scale
        return made

    def logistic(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Logistic distribution.

        >>> import gpuarray as ga
        >>> ga.random.default_rng(0).logistic(size=3).shape
        (3,)
        """
        least_zero("scale", scale)
        first, second = (self._exponentials(size, chunks, loc, scale) for _ in range(2))
        made: NDArray = loc + (apply("log", first) - apply("log", second)) * scale
        return made

    def gumbel(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Gumbel's distribution of largest values.

        >>> import gpuarray as ga
        >>> ga.random.default_rng(0).gumbel(size=3).shape
        (3,)
        """
        least_zero("scale", scale)
        made: NDArray = loc - apply("log", self._exponentials(size, chunks, loc, scale)) * scale
        return made

    def rayleigh(self, scale: Any = 1.0, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Rayleigh distribution.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).rayleigh(size=9).min() > 0)
        True
        """
        least_zero("scale", scale)
        made: NDArray = apply("sqrt", self._exponentials(size, chunks, scale) * 2.0) * scale
        return made

    def weibull(self, a: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Weibull distribution of shape `a`.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).weibull(2.0, size=9).min() > 0)
        True
        """
        least_zero("a", a)
        made = self._exponentials(size, chunks, a) ** (1.0 / _or_one(a))
        return apply("where", apply("equal", a, 0), 0.0, made) if _has_zero(a) else made

    def pareto(self, a: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Pareto distribution of the second kind (Lomax) of shape `a`.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).pareto(3.0, size=9).min() > 0)
        True
        """
        positive("a", a)
        return apply("expm1", self._exponentials(size, chunks, a) / a)

    def power(self, a: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Numbers in [0, 1] with density ``a * x ** (a - 1)``.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).power(3.0, size=9).max() <= 1)
        True
        """
        positive("a", a)
        made: NDArray = (-apply("expm1", -self._exponentials(size, chunks, a))) ** (1.0 / a)
        return made

    def triangular(self, left: Any, mode: Any, right: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Triangular distribution between `left` and `right`, most likely at `mode`.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).triangular(-1, 0, 1, size=9).max() < 1)
        True
        """
        bounded(
            "left, mode, right",
            (left, mode, right),
            lambda v: (v[0] <= v[1]) & (v[1] <= v[2]) & (v[0] < v[2]),
            "ascending",
        )
        u = self._draw("random_uniform", result_shape(size, left, mode, right), FLOAT64, chunks)
        base = apply("subtract", right, left)
        share = apply("divide", apply("subtract", mode, left), base)
        below = left + apply("sqrt", u * (apply("subtract", mode, left) * base))
        above = right - apply("sqrt", (1.0 - u) * (apply("subtract", right, mode) * base))
        return apply("where", apply("less_equal", u, share), below, above)

    def standard_cauchy(self, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Cauchy distribution, with mode 0.

        >>> import gpuarray as ga
        >>> ga.random.default_rng(0).standard_cauchy(3).shape
        (3,)
        """
        first = self._draw("random_normal", result_shape(size), FLOAT64, chunks)
        return first / self._draw("random_normal", result_shape(size), FLOAT64, chunks)

    # By trial.

    def standard_gamma(
        self, shape: Any, size: Any = None, dtype: Any = np.float64, out: Any = None, *, chunks: Chunks = "auto"
    ) -> NDArray:
        """Gamma distribution of scale 1.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).standard_gamma(2.0, size=9).min() > 0)
        True

        `dtype` is float64 or float32, `out` an `NDArray` that is made to stand for the result.
        """
        least_zero("shape", shape)
        kind = float_dtype(dtype, "standard_gamma")
        wanted = asked_shape(size, out) if size is not None or out is not None else None
        return into(out, self._tried("standard_gamma", wanted, chunks, shape).astype(kind))

    def gamma(self, shape: Any, scale: Any = 1.0, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Gamma distribution.

        >>> import gpuarray as ga
        >>> bool(abs(ga.random.default_rng(0).gamma(2.0, 3.0, size=5000).mean() - 6) < 0.5)
        True
        """
        least_zero("shape", shape)
        least_zero("scale", scale)
        made: NDArray = self._tried("standard_gamma", result_shape(size, shape, scale), chunks, shape) * scale
        return made

    def beta(self, a: Any, b: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Beta distribution.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).beta(2.0, 3.0, size=9).max() < 1)
        True
        """
        positive("a", a)
        positive("b", b)
        return self._tried("beta", size, chunks, a, b)

    def chisquare(self, df: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Chi-square distribution.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).chisquare(3, size=9).min() > 0)
        True
        """
        positive("df", df)
        return self._tried("standard_gamma", result_shape(size, df), chunks, apply("divide", df, 2.0)) * 2.0

    def noncentral_chisquare(self, df: Any, nonc: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Noncentral chi-square distribution: the centres of a Poisson number of further degrees of freedom.

        >>> import gpuarray as ga
        >>> ga.random.default_rng(0).noncentral_chisquare(3, 1.0, size=3).shape
        (3,)
        """
        positive("df", df)
        least_zero("nonc", nonc)
        shape = result_shape(size, df, nonc)
        more = self._tried("poisson", shape, chunks, apply("divide", nonc, 2.0))
        return self._tried("standard_gamma", shape, chunks, more + apply("divide", df, 2.0)) * 2.0

    def f(self, dfnum: Any, dfden: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """F distribution.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).f(3, 10, size=9).min() > 0)
        True
        """
        shape = result_shape(size, dfnum, dfden)
        upper = self.chisquare(dfnum, shape, chunks=chunks) / dfnum
        made: NDArray = upper / (self.chisquare(dfden, shape, chunks=chunks) / dfden)
        return made

    def noncentral_f(self, dfnum: Any, dfden: Any, nonc: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Noncentral F distribution.

        >>> import gpuarray as ga
        >>> ga.random.default_rng(0).noncentral_f(3, 10, 1.0, size=3).shape
        (3,)
        """
        shape = result_shape(size, dfnum, dfden, nonc)
        upper = self.noncentral_chisquare(dfnum, nonc, shape, chunks=chunks) / dfnum
        made: NDArray = upper / (self.chisquare(dfden, shape, chunks=chunks) / dfden)
        return made

    def standard_t(self, df: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Student's t distribution.

        >>> import gpuarray as ga
        >>> ga.random.default_rng(0).standard_t(5, size=3).shape
        (3,)
        """
        positive("df", df)
        shape = result_shape(size, df)
        normal = self._draw("random_normal", shape, FLOAT64, chunks)
        return normal / apply("sqrt", self.chisquare(df, shape, chunks=chunks) / df)

    def vonmises(self, mu: Any, kappa: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Von Mises distribution: angles in [-pi, pi] around `mu`.

        >>> import gpuarray as ga
        >>> bool(abs(ga.random.default_rng(0).vonmises(0.0, 4.0, size=9)).max() <= 3.2)
        True
        """
        least_zero("kappa", kappa)
        return self._tried("vonmises", size, chunks, mu, kappa)

    def wald(self, mean: Any, scale: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Wald, or inverse Gaussian, distribution.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).wald(1.0, 2.0, size=9).min() > 0)
        True
        """
        positive("mean", mean)
        positive("scale", scale)
        return self._tried("wald", size, chunks, mean, scale)


def _has_zero(value: Any) -> bool:
    return isinstance(value, NDArray) or bool((np.asarray(value) == 0).any())


def _or_one(value: Any) -> Any:
    """A parameter that may be divided by; what is zero is looked at elsewhere."""
    return apply("where", apply("equal", value, 0), 1.0, value) if _has_zero(value) else value
