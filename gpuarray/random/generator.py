"""The generator that users hold: all distributions, and random orders."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import as_shape, normalize_axis
from gpuarray.chunking import Chunks
from gpuarray.elementwise import apply, into
from gpuarray.graph.blocks import MapBlocks
from gpuarray.graph.grid import one_chunk
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.manipulation import ravel, reshape
from gpuarray.random.arguments import INT64, cumulative, positive, result_shape
from gpuarray.random.base import FLOAT64
from gpuarray.random.counts import Counts


def default_rng(seed: Any = None) -> Generator:
    """A generator of random arrays.

    >>> import gpuarray as ga
    >>> ga.random.default_rng(0).random(3, chunks=2).shape
    (3,)

    Parameters
    ----------
    seed : None for another one each time, an int, a sequence of ints, or a `numpy.random.SeedSequence`; a `Generator`
        comes back as it is

    Raises TypeError and ValueError for seeds that NumPy does not take either.
    """
    if isinstance(seed, Generator):
        return seed
    if isinstance(seed, (np.random.Generator, np.random.BitGenerator, np.random.RandomState)):
        raise TypeError(
            f"seed is a {type(seed).__name__}, whose algorithm goes from one element to the next; pass an integer, "
            "such as its .integers(2**63)"
        )
    return Generator(seed)


class Generator(Counts):
    """Makes random arrays; each call is another, independent sequence.

    >>> import gpuarray as ga
    >>> rng = ga.random.default_rng(7)
    >>> one, other = rng.random(5), rng.random(5)
    >>> bool((one == other).any())
    False
    >>> bool((one == ga.random.default_rng(7).random(5, chunks=2)).all())
    True
    """

    # Vectors.

    def dirichlet(self, alpha: Any, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Dirichlet distribution: vectors of shares that add up to 1, along the last axis.

        >>> import gpuarray as ga
        >>> ga.random.default_rng(0).dirichlet([1.0, 2.0, 3.0], size=4).shape
        (4, 3)

        Raises ValueError for an `alpha` that is no vector or not positive.
        """
        a = asarray(alpha)
        if a.ndim != 1 or not a.size:
            raise ValueError(f"alpha must be a vector with elements, got shape {a.shape}")
        positive("alpha", alpha)
        shape = (*(() if size is None else as_shape(size)), a.size)
        logs = self._tried("log_gamma", shape, chunks, a)
        weights = apply("exp", logs - logs.max(axis=-1, keepdims=True))
        made: NDArray = weights / weights.sum(axis=-1, keepdims=True)
        return made

    def multivariate_normal(
        self,
        mean: Any,
        cov: Any,
        size: Any = None,
        check_valid: str = "warn",
        tol: float = 1e-8,
        *,
        method: str = "svd",
        chunks: Chunks = "auto",
    ) -> NDArray:
        """Vectors of normal numbers with a mean and a covariance matrix, along the last axis.

        >>> import gpuarray as ga
        >>> ga.random.default_rng(0).multivariate_normal([0, 1], [[2, 1], [1, 2]], size=5).shape
        (5, 2)

        Parameters
        ----------
        mean, cov : a vector and a matrix, in memory
        size : shape of the array of vectors
        check_valid : "warn", "raise" or "ignore" where `cov` is not positive semidefinite within `tol`
        method : "svd", "eigh" or "cholesky": how the matrix is factored

        Raises ValueError for shapes that do not fit, LinAlgError where "cholesky" cannot factor.
        """
        m, c = np.asarray(mean, float), np.asarray(cov, float)
        if m.ndim != 1 or c.shape != (m.size, m.size):
            raise ValueError(f"mean of shape {m.shape} and cov of shape {c.shape} must be a vector and a square matrix")
        if method not in ("svd", "eigh", "cholesky"):
            raise ValueError(f'method={method!r} must be "svd", "eigh" or "cholesky"')
        if check_valid not in ("warn", "raise", "ignore"):
            raise ValueError(f'check_valid={check_valid!r} must be "warn", "raise" or "ignore"')
        if method == "cholesky":
            factor = np.linalg.cholesky(c)
        else:
            values, vectors = np.linalg.eigh((c + c.T) / 2)
            if check_valid != "ignore" and not (values >= -tol * max(1, abs(values).max(initial=0))).all():
                words = f"cov is not positive semidefinite: its least eigenvalue is {values.min()}"
                if check_valid == "raise":
                    raise ValueError(words)
                import warnings

                warnings.warn(words, RuntimeWarning, stacklevel=2)
            factor = vectors * np.sqrt(np.maximum(values, 0))
        shape = (*(() if size is None else as_shape(size)), m.size)
        normal = self._draw("random_normal", shape, FLOAT64, chunks)
        made: NDArray = normal @ asarray(np.ascontiguousarray(factor.T)) + m
        return made

    # Choices and orders.

    def choice(
        self, a: Any, size: Any = None, replace: bool = True, p: Any = None, axis: int = 0, *, chunks: Chunks = "auto"
    ) -> NDArray:
        """Elements drawn from a vector, or from ``range(a)``, with or without replacement.

        >>> import gpuarray as ga
        >>> set(ga.random.default_rng(0).choice([2, 3, 5], 100).tolist())
        {2, 3, 5}

        Parameters
        ----------
        a : a vector, or an int; each task holds it whole
        size : shape
        replace : whether an element may be drawn more than once; False needs equal probabilities
        p : probability of each element; None for equal ones

        Raises ValueError for an empty `a`, for more elements than there are without replacement, and for `p` that is
        negative, does not add up to 1, or stands beside ``replace=False``.
        """
        values = None if isinstance(a, (int, np.integer)) else asarray(a)
        if values is not None and (values.ndim != 1 or axis != 0):
            raise ValueError(f"choice draws from a vector, got shape {values.shape} and axis={axis}")
        n = operator.index(a) if values is None else values.size
        if n < 1 and size != 0:
            raise ValueError(f"a={a} must be positive, or a vector with elements")
        if not replace:
            shape = result_shape(size)
            count = math.prod(shape)
            if count > n:
                raise ValueError(f"size={size} asks for {count} of {n} elements without replacement")
            if p is not None:
                raise ValueError(
                    "p= with replace=False is not supported: such draws depend on each other; "
                    "numpy.random.default_rng(seed).choice(n, size, False, p) gives positions to index with"
                )
            drawn = reshape(self._order(n, count, chunks if isinstance(chunks, str) else "auto"), shape)
        elif p is None:
            drawn = self.integers(n, size=size, chunks=chunks)
        else:
            drawn = _looked_up(_searched, asarray(cumulative(p, n)), self.random(size, chunks=chunks), INT64)
        return drawn if values is None else _looked_up(_taken, values, drawn, values.dtype)

    def _order(self, n: int, count: int, chunks: Chunks) -> NDArray:
        """The first elements of a random order of ``range(n)``."""
        made = self._tried("permuted", (count,), chunks, float(n), dtype=INT64) if n else asarray(np.zeros(0, np.int64))
        return made

    def permutation(self, x: Any, axis: int = 0, *, chunks: Chunks = "auto") -> NDArray:
        """A random order of ``range(x)``, or of an array along an axis.

        >>> import gpuarray as ga
        >>> sorted(ga.random.default_rng(0).permutation(5).tolist())
        [0, 1, 2, 3, 4]

        An order of integers takes no memory: each is worked out by itself. For an array the positions are computed at
        once, and a task holds as much of it as its elements come from. Raises AxisError out of range.
        """
        if isinstance(x, (int, np.integer)):
            n = operator.index(x)
            if n < 0:
                raise ValueError(f"x={x} must not be negative")
            return self._order(n, n, chunks)
        a = asarray(x)
        at = normalize_axis(axis, a.ndim)
        n = a.shape[at]
        positions = self._order(n, n, "auto").compute()
        return a[(slice(None),) * at + (positions,)].rechunk(a.chunks)

    def shuffle(self, x: NDArray, axis: int = 0) -> None:
        """Put an array in a random order along an axis: the `NDArray` is made to stand for it.

        >>> import gpuarray as ga
        >>> x = ga.arange(5)
        >>> ga.random.default_rng(0).shuffle(x)
        >>> sorted(x.tolist())
        [0, 1, 2, 3, 4]

        Raises TypeError for what is no `NDArray`.
        """
        if not isinstance(x, NDArray):
            raise TypeError(f"shuffle changes a gpuarray.NDArray, got {type(x).__name__}; use x = permutation(x)")
        into(x, self.permutation(x, axis))

    def permuted(self, x: Any, *, axis: int | None = None, out: Any = None) -> NDArray:
        """An array with the elements along an axis in another random order for each of the others; of all elements
        without `axis`.

        >>> import gpuarray as ga
        >>> ga.random.default_rng(0).permuted([[1, 2], [3, 4]], axis=1).sum(axis=1).compute()
        array([3, 7])

        A task holds the axis whole. Raises AxisError out of range.
        """
        a = asarray(x)
        if axis is None:
            return into(out, reshape(self.permutation(ravel(a)), a.shape))
        at = normalize_axis(axis, a.ndim)
        keys = self._draw("random_uniform", a.shape, FLOAT64, a.chunks)
        along = tuple(None if i == at else i for i in range(a.ndim))
        traits = Traits("permuted", (at,), scratch=2, cost=50)
        made: Node = Routine(_sorted_by, (("axis", at),), a.dtype, a.chunks, (along, along), traits, a.node, keys.node)
        return into(out, NDArray(made))

    def bytes(self, length: int) -> Any:
        """Random bytes, at once.

        >>> import gpuarray as ga
        >>> len(ga.random.default_rng(0).bytes(10))
        10
        """
        return self.integers(0, 256, size=operator.index(length), dtype=np.uint8).compute().tobytes()


def _sorted_by(xp: Any, x: Any, keys: Any, axis: int) -> Any:
    return xp.take_along_axis(x, xp.argsort(keys, axis=axis), axis=axis)


def _searched(edges: Any, u: Any) -> Any:
    return edges.searchsorted(u, side="right").astype(INT64)


def _taken(values: Any, index: Any) -> Any:
    return values[index]


def _looked_up(function: Callable[..., Any], table: NDArray, index: NDArray, dtype: np.dtype[Any]) -> NDArray:
    """A function of a table, whole, and of the chunks of an array."""
    if not index.ndim:
        return _looked_up(function, table, index[None], dtype)[0]
    cut_as = (one_chunk(table.shape), index.chunks)
    made: Node = MapBlocks(function, (), False, dtype, index.chunks, cut_as, table.node, index.node)
    return NDArray(made)
