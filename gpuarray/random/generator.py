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
from gpuarray.gathering import take
from gpuarray.graph.blocks import MapBlocks
from gpuarray.graph.grid import one_chunk
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.kernels import ordering
from gpuarray.manipulation import ravel, reshape
from gpuarray.random.arguments import INT64, cumulative, positive, result_shape
from gpuarray.random.base import FLOAT64
from gpuarray.random.counts import Counts
from gpuarray.rearranging import gathered, rearranged, room
from gpuarray.sorting import argsort


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
        self,
        a: Any,
        size: Any = None,
        replace: bool = True,
        p: Any = None,
        axis: int = 0,
        shuffle: bool = True,
        *,
        chunks: Chunks = "auto",
    ) -> NDArray:
        """Elements drawn from a vector, slices from an array along an axis, or numbers from ``range(a)``.

        >>> import gpuarray as ga
        >>> set(ga.random.default_rng(0).choice([2, 3, 5], 100).tolist())
        {2, 3, 5}

        Parameters
        ----------
        a : an array, or an int
        size : shape
        replace : whether an element may be drawn more than once
        p : probability of each element; None for equal ones
        axis : along which slices are drawn; their positions are computed at once where there are other axes
        shuffle : changes nothing: what is drawn is always in random order

        A task holds a vector `a` whole; one that is too long for that is gone through at once, after a sort of the
        positions. Without replacement, and with `p`, one after the other is drawn as from those that are left, by
        a sort of exponential numbers (Efraimidis and Spirakis, Information Processing Letters 97, 2006).

        Raises ValueError for an empty `a`, for more elements than there are without replacement, and for `p` that is
        negative or does not add up to 1; AxisError out of range.
        """
        values = None if isinstance(a, (int, np.integer)) else asarray(a)
        if values is not None and not values.ndim:
            raise ValueError(f"a={a!r} must be an integer, or an array with dimensions")
        at = 0 if values is None else normalize_axis(axis, values.ndim)
        n = operator.index(a) if values is None else values.shape[at]
        if n < 1 and size != 0:
            raise ValueError(f"a={a} must be positive, or an array with elements")
        shares = None if p is None else cumulative(p, n)
        if not replace:
            drawn = self._without_replacement(n, size, p, chunks)
        elif shares is None:
            drawn = self.integers(n, size=size, chunks=chunks)
        else:
            drawn = _looked_up(_searched, asarray(shares), self.random(size, chunks=chunks), INT64)
        if values is None:
            return drawn
        if values.ndim > 1:
            return take(values, drawn, axis=at)
        if 4 * values.nbytes > room():
            return reshape(gathered(values, ravel(drawn)), drawn.shape)
        return _looked_up(_taken, values, drawn, values.dtype)

    def _without_replacement(self, n: int, size: Any, p: Any, chunks: Chunks) -> NDArray:
        """Positions in ``range(n)``, each at most once."""
        shape = result_shape(size)
        count = math.prod(shape)
        if count > n:
            raise ValueError(f"size={size} asks for {count} of {n} elements without replacement")
        if p is None:
            return reshape(self._order(n, count, chunks if isinstance(chunks, str) else "auto"), shape)
        given = np.asarray(p, dtype=np.float64)
        possible = int(np.count_nonzero(given))
        if count > possible:
            raise ValueError(f"Fewer non-zero entries in p than size: {possible} of {count}")
        waits = self._draw("random_exponential", (n,), FLOAT64, "auto") / asarray(given)
        return reshape(argsort(apply("where", asarray(given > 0), waits, np.inf))[:count], shape)

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
        once, and a task holds as much of it as its elements come from; where the axis is too long for that, it is
        sorted by them, externally. Raises AxisError out of range.
        """
        if isinstance(x, (int, np.integer)):
            n = operator.index(x)
            if n < 0:
                raise ValueError(f"x={x} must not be negative")
            return self._order(n, n, chunks)
        a = asarray(x)
        at = normalize_axis(axis, a.ndim)
        n = a.shape[at]
        if 4 * n * (24 + a.dtype.itemsize) > room():
            places = self._tried("unpermuted", (n,), "auto", float(n), dtype=INT64)
            return rearranged(a, reshape(places, (-1, *(1,) * (a.ndim - at - 1))), at).rechunk(a.chunks)
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

        By a sort of random numbers; where an axis is too long for a task, by three external ones. Raises AxisError out
        of range.
        """
        a = asarray(x)
        if axis is None:
            return into(out, reshape(self.permutation(ravel(a)), a.shape))
        at = normalize_axis(axis, a.ndim)
        keys = self._draw("random_uniform", a.shape, FLOAT64, a.chunks)
        if 4 * a.shape[at] * (24 + 2 * a.dtype.itemsize) > room():
            return into(out, rearranged(a, argsort(argsort(keys, at), at), at))
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
    return xp.take_along_axis(x, ordering.argsort(xp, keys, axis, "stable"), axis=axis)


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
