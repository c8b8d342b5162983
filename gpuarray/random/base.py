"""Random arrays: the same for the same seed, whatever the chunks, the device and the number of workers.

Each element is computed from the seed, the number of the call and its own position (Philox4x32-10, counter based), in
the kernel that reads it, so a random array of any size takes no memory. The values differ from those of
`numpy.random.Generator`, whose algorithms go from one element to the next.
"""

from __future__ import annotations

import math
import operator
import threading
from typing import Any, Self

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.chunking import Chunks, normalize_chunks
from gpuarray.elementwise import apply, cast, into
from gpuarray.graph.elementwise import Map
from gpuarray.graph.leaves import Const, Index
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.random.arguments import (
    INT64,
    UINT64,
    asked_shape,
    float_dtype,
    integer_range,
    known,
    not_negative,
    result_shape,
)
from gpuarray.random.variates import drawn

FLOAT64 = np.dtype(np.float64)


class BaseGenerator:
    """Makes random arrays of the basic distributions; each call is another, independent sequence.

    >>> import gpuarray as ga
    >>> rng = ga.random.default_rng(7)
    >>> one, other = rng.random(5), rng.random(5)
    >>> bool((one == other).any())
    False
    >>> bool((one == ga.random.default_rng(7).random(5, chunks=2)).all())
    True
    """

    def __init__(self, seed: Any = None) -> None:
        try:
            sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
        except (TypeError, ValueError) as error:
            rule = "a seed is None, an integer that is not negative, a sequence of them, or a SeedSequence"
            raise type(error)(f"seed={seed!r}: {rule}") from error
        self.seed_sequence = sequence
        self._key = int(sequence.generate_state(1, np.uint64)[0])
        self._calls = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"gpuarray.random.Generator(seed={self.seed_sequence.entropy!r}, calls={self._calls})"

    def __getstate__(self) -> dict[str, Any]:
        return {"seed_sequence": self.seed_sequence, "_key": self._key, "_calls": self._calls}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def spawn(self, n_children: int) -> list[Self]:
        """Independent generators, for parts of a program that should not depend on each other.

        >>> import gpuarray as ga
        >>> len(ga.random.default_rng(0).spawn(3))
        3

        Raises ValueError for a negative number.
        """
        if operator.index(n_children) < 0:
            raise ValueError(f"n_children={n_children} must not be negative")
        return [type(self)(child) for child in self.seed_sequence.spawn(n_children)]

    # Distributions.

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Uniform in [0, 1).

        >>> import gpuarray as ga
        >>> ga.random.default_rng(0).random((2, 3)).shape
        (2, 3)

        Parameters
        ----------
        size : shape; None for a single number, as an array without dimensions
        dtype : float64 or float32
        out : an `NDArray` that is made to stand for the result
        chunks : as in `NDArray.rechunk`

        Raises TypeError for another `dtype`.
        """
        return into(out, self._draw("random_uniform", asked_shape(size, out), float_dtype(dtype, "random"), chunks))

    def standard_normal(
        self, size: Any = None, dtype: Any = np.float64, out: Any = None, *, chunks: Chunks = "auto"
    ) -> NDArray:
        """Normal, with mean 0 and standard deviation 1.

        >>> import gpuarray as ga
        >>> ga.random.default_rng(0).standard_normal(4, dtype="float32").dtype
        dtype('float32')

        Arguments as in `random`.
        """
        return into(
            out, self._draw("random_normal", asked_shape(size, out), float_dtype(dtype, "standard_normal"), chunks)
        )

    def standard_exponential(
        self,
        size: Any = None,
        dtype: Any = np.float64,
        method: str = "inv",
        out: Any = None,
        *,
        chunks: Chunks = "auto",
    ) -> NDArray:
        """Exponential, with scale 1.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).standard_exponential(9).min() >= 0)
        True

        Arguments as in `random`; `method` changes nothing.
        """
        kind = float_dtype(dtype, "standard_exponential")
        return into(out, self._draw("random_exponential", asked_shape(size, out), kind, chunks))

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Uniform in [low, high).

        >>> import gpuarray as ga
        >>> ga.random.default_rng(0).uniform(-1, [1, 10, 100]).shape
        (3,)

        Parameters
        ----------
        low, high : numbers, or arrays that broadcast
        size : shape; None takes that of the parameters

        Raises OverflowError for a range that is not finite, ValueError for shapes that do not fit.
        """
        if known(low) and known(high) and not np.isfinite(np.subtract(high, low, dtype=float)).all():
            raise OverflowError(f"the range from low={low} to high={high} is not finite")
        u = self._draw("random_uniform", result_shape(size, low, high), FLOAT64, chunks)
        return apply("add", apply("multiply", u, apply("subtract", high, low)), low)

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Normal, with mean `loc` and standard deviation `scale`.

        >>> import gpuarray as ga
        >>> x = ga.random.default_rng(0).normal(10, 2, size=10_000)
        >>> bool(abs(x.mean() - 10) < 0.1)
        True

        Parameters
        ----------
        loc, scale : numbers, or arrays that broadcast
        size : shape; None takes that of the parameters

        Raises ValueError for a negative `scale` and shapes that do not fit.
        """
        not_negative("scale", scale)
        z = self._draw("random_normal", result_shape(size, loc, scale), FLOAT64, chunks)
        return apply("add", apply("multiply", z, scale), loc)

    def lognormal(self, mean: Any = 0.0, sigma: Any = 1.0, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Numbers whose logarithm is normal, with mean `mean` and standard deviation `sigma`.

        >>> import gpuarray as ga
        >>> bool(ga.random.default_rng(0).lognormal(size=100).min() > 0)
        True

        Arguments as in `normal`.
        """
        not_negative("sigma", sigma)
        return apply("exp", self.normal(mean, sigma, size, chunks=chunks))

    def exponential(self, scale: Any = 1.0, size: Any = None, *, chunks: Chunks = "auto") -> NDArray:
        """Exponential, with mean `scale`.

        >>> import gpuarray as ga
        >>> ga.random.default_rng(0).exponential([1.0, 2.0], size=(3, 2)).shape
        (3, 2)

        Raises ValueError for a negative `scale` and shapes that do not fit.
        """
        not_negative("scale", scale)
        return apply("multiply", self._draw("random_exponential", result_shape(size, scale), FLOAT64, chunks), scale)

    def integers(
        self,
        low: Any,
        high: Any = None,
        size: Any = None,
        dtype: Any = np.int64,
        endpoint: bool = False,
        *,
        chunks: Chunks = "auto",
    ) -> NDArray:
        """Integers in [low, high), or [low, high] with `endpoint`; in [0, low) without `high`.

        >>> import gpuarray as ga
        >>> x = ga.random.default_rng(0).integers(1, 6, size=1000, endpoint=True)
        >>> ga.compute(x.min(), x.max())
        (array(1), array(6))

        Parameters
        ----------
        low, high : integers, or arrays of them that broadcast
        size : shape; None takes that of the parameters
        dtype : an integer dtype or bool

        Raises ValueError for an empty range or one that the dtype cannot hold, TypeError for what is no integer.
        """
        if high is None:
            low, high = 0, low
        kind = np.dtype(dtype).newbyteorder("=")
        if kind.kind not in "biu":
            raise TypeError(f"dtype {kind} is not supported for integers; use an integer dtype or bool")
        start, span = integer_range(low, high, kind, bool(endpoint))
        shape = result_shape(size, low, high)
        made = self._draw("random_integers", shape, INT64, chunks, start, span)
        return NDArray(cast(made.node, kind))

    def _draw(self, op: str, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: Chunks, *rest: Any) -> NDArray:
        """The next sequence of numbers, as a row of the table."""
        stream, index = self._next(shape, dtype, chunks)
        inputs = (Const.of(self._key, UINT64), Const.of(stream, UINT64), index, *rest)
        return NDArray(Map(op + ("32" if dtype == np.float32 else ""), dtype, *inputs))

    def _next(self, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: Chunks) -> tuple[int, Node]:
        """The number of the next sequence, and the positions of its elements."""
        with self._lock:
            stream = self._calls
            self._calls += 1
        strides = tuple(math.prod(shape[a + 1 :]) for a in range(len(shape)))
        return stream, Index(shape, 0, strides, normalize_chunks(chunks, shape, dtype))

    def _tried(
        self, method: str, size: Any, chunks: Chunks, *parameters: Any, dtype: np.dtype[Any] = FLOAT64
    ) -> NDArray:
        """Numbers that are found by trial (see `gpuarray.random.variates`)."""
        shape = result_shape(size, *parameters)
        stream, index = self._next(shape, dtype, chunks)
        nodes = [cast(asarray(p).node, FLOAT64) for p in parameters]
        n = len(shape)
        along = (tuple(range(n)), *(tuple(range(n - p.ndim, n)) for p in nodes))
        keywords = (("dtype", dtype.name), ("key", self._key), ("method", method), ("stream", stream))
        traits = Traits(f"random_{method}", scratch=1, cost=400, within=True)
        made: Node = Routine(drawn, keywords, dtype, index.chunks, along, traits, index, *nodes)
        return NDArray(made)
