"""Random numbers found by trial: each element has a counter of its own for every attempt (Philox), so neither the
chunks nor the other elements have a say in it.

Every function takes a `Draws`, which stands for some elements, and their parameters as arrays, and returns values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray.kernels import philox
from gpuarray.kernels.stopping import go_on

Array = np.ndarray[Any, Any]
BLOCK = 2**15
"""Elements that are worked on at once: what is needed in between stays in the cache."""
ATTEMPTS = 10_000
"""More than any of the methods needs: none accepts less than one in four."""
LANE = 1 << 32
"""Streams that belong to the attempts lie above those of whole calls."""


PHASE = 1 << 20
"""Attempts that one step of a method may take."""


class Draws:
    """Random numbers for some elements; each call gives others.

    What a call gives depends on the calls before it and never on how many attempts they took, which is a matter of
    which other elements there are.
    """

    def __init__(self, key: int, stream: int, index: Array, base: int = 0, step: int = PHASE) -> None:
        self.key, self.stream, self.index, self.step = key, stream, index, step
        self.count = [base]

    def of(self, which: Array) -> Draws:
        """For some of the elements; calls are counted for all of them."""
        made = Draws(self.key, self.stream, self.index[which], 0, self.step)
        made.count = self.count
        return made

    def attempts(self) -> Draws:
        """For one step of attempts."""
        return Draws(self.key, self.stream, self.index, self._next(), 1)

    def _next(self) -> int:
        number = self.count[0]
        self.count[0] += self.step
        return number

    def bits(self) -> tuple[Array, Array]:
        lane = self.stream + LANE * (self._next() + 1)
        low, high = philox.philox_block(np.uint64(self.key), np.uint64(lane), self.index)
        return low, high

    def uniforms(self) -> tuple[Array, Array]:
        """Two independent numbers in (0, 1)."""
        low, high = self.bits()
        return philox.uniform_from_bits(low) + 2.0**-54, philox.uniform_from_bits(high) + 2.0**-54

    def uniform(self) -> Array:
        return self.uniforms()[0]

    def normal(self) -> Array:
        low, high = self.bits()
        made: Array = philox.normal_from_bits(low, high, 0.0)
        return made

    def exponential(self) -> Array:
        return -np.log(self.uniform())


Attempt = Callable[..., tuple[Array, Array]]
"""``(values, accepted)`` of one attempt for some elements and their parameters."""


def tried(attempt: Attempt, draws: Draws, *parameters: Array) -> Array:
    """Attempt after attempt, for those elements that were not accepted yet. What has NaN among its parameters stays."""
    result = np.full(draws.index.shape, np.nan)
    draws = draws.attempts()
    open_ = np.flatnonzero(~np.isnan(sum(parameters, np.zeros(()))) if parameters else np.ones(result.shape, bool))
    for _ in range(ATTEMPTS):
        if not open_.size:
            return result
        values, accepted = attempt(draws.of(open_), *(p[open_] for p in parameters))
        result[open_[accepted]] = values[accepted]
        open_ = open_[~accepted]
    return result


# Gamma and what is made of it.


def log_gamma(draws: Draws, shape: Array) -> Array:
    """The logarithm of gamma variates, which for small shapes lie below the smallest float.

    Source: Marsaglia and Tsang, "A simple method for generating gamma variables", ACM TOMS 26, 2000.
    """
    small = shape < 1
    d = np.where(small, shape + 1, shape) - 1 / 3

    def attempt(some: Draws, d: Array) -> tuple[Array, Array]:
        x, u = some.normal(), some.uniform()
        v = (1 + x / np.sqrt(9 * d)) ** 3
        log_v = np.log(np.where(v > 0, v, 1))
        return np.log(d) + log_v, (v > 0) & (np.log(u) < 0.5 * x * x + d * (1 - v + log_v))

    made = tried(attempt, draws, d)
    boost = np.where(small & (shape > 0), -draws.exponential() / np.where(shape > 0, shape, 1), 0.0)
    return np.where(shape == 0, -np.inf, made + boost)


def standard_gamma(draws: Draws, shape: Array) -> Array:
    made: Array = np.exp(log_gamma(draws, shape))
    return made


def beta(draws: Draws, a: Array, b: Array) -> Array:
    made: Array = 1 / (1 + np.exp(log_gamma(draws, b) - log_gamma(draws, a)))
    return made


def wald(draws: Draws, mean: Array, scale: Array) -> Array:
    """Source: Michael, Schucany, Haas, "Generating random variates using transformations with multiple roots", 1976."""
    y = mean * draws.normal() ** 2
    half = mean / (2 * scale)
    x = mean + half * (y - np.sqrt(4 * scale * y + y * y))
    x = np.where(x <= 0, mean * mean / (mean + 2 * half * y + 1e-300), x)
    made: Array = np.where(draws.uniform() <= mean / (mean + x), x, mean * mean / x)
    return made


def vonmises(draws: Draws, mu: Array, kappa: Array) -> Array:
    """Source: Best and Fisher, "Efficient simulation of the von Mises distribution", Applied Statistics 28, 1979."""
    flat = kappa < 1e-8
    k = np.where(flat, 1.0, kappa)
    tau = 1 + np.sqrt(1 + 4 * k * k)
    rho = (tau - np.sqrt(2 * tau)) / (2 * k)
    r = np.where(k < 1e-5, 1 / k + k, (1 + rho * rho) / (2 * rho))

    def attempt(some: Draws, r: Array, k: Array) -> tuple[Array, Array]:
        u, v = some.uniforms()
        z = np.cos(np.pi * u)
        w = (1 + r * z) / (r + z)
        y = k * (r - w)
        return w, (y * (2 - y) - v >= 0) | (np.log(y / v) + 1 - y >= 0)

    angle = np.arccos(np.clip(tried(attempt, draws, r, k), -1, 1))
    side, turn = draws.uniforms()
    made = np.where(flat, np.pi * (2 * turn - 1), np.where(side < 0.5, -angle, angle)) + mu
    return (made + np.pi) % (2 * np.pi) - np.pi


# Counts.


def log_factorial(n: Array) -> Array:
    """Stirling's series from 10 on, a table below."""
    table = np.array([math.lgamma(k + 1) for k in range(10)])
    small = n < 10
    x = np.where(small, 10.0, n) + 1
    series = (x - 0.5) * np.log(x) - x + 0.5 * math.log(2 * math.pi)
    series += 1 / (12 * x) - 1 / (360 * x**3) + 1 / (1260 * x**5) - 1 / (1680 * x**7)
    made: Array = np.where(small, table[np.clip(np.nan_to_num(n), 0, 9).astype(np.int64)], series)
    return made


def counted_down(draws: Draws, first: Array, ratio: Callable[[int, Array], Array], most: int) -> Array:
    """Inversion: from the chance of 0, and that of k over that of k - 1, the k at which a uniform number is used up."""
    left, p = draws.uniform(), first.copy()
    result = np.zeros(left.shape)
    open_ = np.flatnonzero(left > p)
    for k in range(1, most + 1):
        if not open_.size:
            break
        left[open_] -= p[open_]
        p[open_] *= ratio(k, open_)
        result[open_] = k
        open_ = open_[(left[open_] > p[open_])]
    return result


def poisson(draws: Draws, lam: Array) -> Array:
    """Source: Hörmann, "The transformed rejection method for generating Poisson random variables", 1993."""
    large = lam >= 10
    low = np.where(large, 0.0, lam)
    few = counted_down(draws, np.exp(-low), lambda k, at: low[at] / k, 200)
    if not large.any():
        return few

    def attempt(some: Draws, lam: Array) -> tuple[Array, Array]:
        u, v = some.uniforms()
        u = u - 0.5
        b = 0.931 + 2.53 * np.sqrt(lam)
        a = -0.059 + 0.02483 * b
        us = 0.5 - abs(u)
        k = np.floor((2 * a / us + b) * u + lam + 0.43)
        inverse = 1.1239 + 1.1328 / (b - 3.4)
        bound = k * np.log(lam) - lam - log_factorial(np.maximum(k, 0))
        inside = (us >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
        edge = (k >= 0) & ~((us < 0.013) & (v > us)) & (np.log(v * inverse / (a / (us * us) + b)) <= bound)
        return k, inside | edge

    at = np.flatnonzero(large)
    few[at] = tried(attempt, draws.of(at), lam[at])
    return few


def binomial(draws: Draws, n: Array, p: Array) -> Array:
    """Source: Hörmann, "The generation of binomial random variates", J. Stat. Comput. Simul. 46, 1993."""
    q = np.minimum(p, 1 - p)
    large = n * q >= 10
    r, m = np.where(large, 0.0, q), np.where(large, 0.0, n)
    odds = r / (1 - r)
    few = counted_down(draws, np.exp(m * np.log1p(-r)), lambda k, at: odds[at] * (m[at] - k + 1) / k, 200)
    few = np.minimum(few, m)

    def attempt(some: Draws, n: Array, q: Array) -> tuple[Array, Array]:
        u, v = some.uniforms()
        u = u - 0.5
        deviation = np.sqrt(n * q * (1 - q))
        b = 1.15 + 2.53 * deviation
        a = -0.0873 + 0.0248 * b + 0.01 * q
        us = 0.5 - abs(u)
        k = np.floor((2 * a / us + b) * u + n * q + 0.5)
        alpha = (2.83 + 5.1 / b) * deviation
        mode = np.floor((n + 1) * q)
        fits = (k >= 0) & (k <= n)
        j = np.clip(k, 0, n)
        bound = log_factorial(mode) + log_factorial(n - mode) - log_factorial(j) - log_factorial(n - j)
        bound += (j - mode) * np.log(q / (1 - q))
        inside = (us >= 0.07) & (v <= 0.92 - 4.2 / b)
        return k, fits & (inside | (np.log(v * alpha / (a / (us * us) + b)) <= bound))

    at = np.flatnonzero(large)
    if at.size:
        few[at] = tried(attempt, draws.of(at), n[at], q[at])
    return np.where(p > 0.5, n - few, few)


def negative_binomial(draws: Draws, n: Array, p: Array) -> Array:
    return poisson(draws, standard_gamma(draws, n) * ((1 - p) / p))


def hypergeometric(draws: Draws, good: Array, bad: Array, sample: Array) -> Array:
    """Ratio of uniforms around the mode, with the exact chances.

    Source: Stadlober, "The ratio of uniforms approach for generating discrete random variates", J. Comput. Appl. Math.
    31, 1990.
    """
    total = good + bad
    few, drawn = np.minimum(good, bad), np.minimum(sample, total - sample)
    low, high = np.maximum(0.0, drawn - (total - few)), np.minimum(few, drawn)
    share = np.where(total > 0, few / np.maximum(total, 1), 0)
    centre = drawn * share + 0.5
    spread = np.sqrt(np.maximum(0, (total - drawn) * drawn * share * (1 - share) / np.maximum(total - 1, 1)) + 0.5)
    width = 1.7155277699214135 * spread + 0.8989161620588988  # 2 sqrt(2 / e), 3 - 2 sqrt(3 / e)
    mode = np.floor((drawn + 1) * (few + 1) / (total + 2))

    def chance(k: Array, few: Array, drawn: Array, total: Array) -> Array:
        rest = total - few - drawn + k
        return -(log_factorial(k) + log_factorial(few - k) + log_factorial(drawn - k) + log_factorial(rest))

    def attempt(some: Draws, *of: Array) -> tuple[Array, Array]:
        few, drawn, total, low, high, centre, width, mode = of
        u, v = some.uniforms()
        k = np.floor(centre + width * (v - 0.5) / u)
        inside = (k >= low) & (k <= high)
        j = np.clip(k, low, high)
        gain = chance(j, few, drawn, total) - chance(np.clip(mode, low, high), few, drawn, total)
        return k, inside & (2 * np.log(u) <= gain)

    k = tried(attempt, draws, few, drawn, total, low, high, centre, width, mode)
    k = np.where(good > bad, drawn - k, k)
    return np.where(sample > drawn, good - k, k)


def zipf(draws: Draws, a: Array) -> Array:
    """Source: Devroye, "Non-uniform random variate generation", Springer 1986, chapter X.6."""

    def attempt(some: Draws, a: Array) -> tuple[Array, Array]:
        u, v = some.uniforms()
        x = np.floor(u ** (-1 / (a - 1)))
        t = (1 + 1 / x) ** (a - 1)
        b = 2 ** (a - 1)
        return x, (x < 2.0**63) & (v * x * (t - 1) / (b - 1) <= t / b)

    return tried(attempt, draws, a)


def logseries(draws: Draws, p: Array) -> Array:
    """Source: Kemp, "Efficient generation of logarithmically distributed pseudo-random variables", 1981."""

    def attempt(some: Draws, p: Array) -> tuple[Array, Array]:
        u, v = some.uniforms()
        q = -np.expm1(np.log1p(-p) * u)
        k = np.where(v <= q * q, np.floor(1 + np.log(v) / np.log(q)), np.where(v >= q, 1.0, 2.0))
        return k, k >= 1

    return np.where(p == 0, 1.0, tried(attempt, draws, np.where(p == 0, 0.5, p)))


def permuted(draws: Draws, n: Array) -> Array:
    """The places of elements in a random order of ``range(n)``: a bijection worked out for each by itself.

    A Feistel network on the bits of the index, repeated where it leaves the range. Source: Black and Rogaway, "Ciphers
    with arbitrary finite domains", CT-RSA 2002.
    """
    return _walked(draws, n, range(6))


def unpermuted(draws: Draws, n: Array) -> Array:
    """Where `permuted` has each element: the rounds of its network backwards."""
    return _walked(draws, n, range(5, -1, -1))


def _walked(draws: Draws, n: Array, rounds: range) -> Array:
    most = int(n.flat[0])
    half = max(1, (max(1, most - 1).bit_length() + 1) // 2)
    mask, forwards = np.uint64((1 << half) - 1), rounds.step > 0
    x = draws.index.copy()
    open_ = np.arange(x.size)
    while open_.size:
        left, right = x[open_] >> np.uint64(half), x[open_] & mask
        for number in rounds:
            lane = np.uint64(draws.stream + LANE * (number + 1))
            bits, _ = philox.philox_block(np.uint64(draws.key), lane, right if forwards else left)
            left, right = (right, left ^ (bits & mask)) if forwards else (right ^ (bits & mask), left)
        x[open_] = (left << np.uint64(half)) | right
        open_ = open_[x[open_] >= np.uint64(most)]
    return x.astype(np.int64)


METHODS: dict[str, Callable[..., Array]] = {
    f.__name__: f
    for f in (
        beta,
        binomial,
        hypergeometric,
        log_gamma,
        logseries,
        negative_binomial,
        permuted,
        poisson,
        standard_gamma,
        unpermuted,
        vonmises,
        wald,
        zipf,
    )
}


def drawn(xp: Any, index: Any, *parameters: Any, method: str, key: int, stream: int, dtype: str) -> Any:
    """A block of a random array; a device's is worked out on the host."""
    if xp is not np:
        host = (xp.asnumpy(a) for a in (index, *parameters))
        return xp.asarray(drawn(np, *host, method=method, key=key, stream=stream, dtype=dtype))
    flat = index.reshape(-1).astype(np.uint64)
    given = [np.broadcast_to(p, index.shape).reshape(-1) for p in parameters]
    result = np.empty(flat.shape, dtype)
    for lo in range(0, flat.size, BLOCK):
        go_on()
        at = slice(lo, lo + BLOCK)
        values = METHODS[method](Draws(key, stream, flat[at]), *(p[at].astype(np.float64) for p in given))
        if result.dtype.kind == "i" and values.dtype.kind == "f":
            values = np.clip(np.nan_to_num(values), 0, 2.0**63 - 1024)
        result[at] = values
    return result.reshape(index.shape)
