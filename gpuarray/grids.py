"""Arrays made of coordinates: grids, triangles, diagonals."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import as_shape
from gpuarray.chunking import Chunks, normalize_chunks
from gpuarray.creation import diagonal_within, zeros
from gpuarray.elementwise import apply, cast
from gpuarray.gathering import diagonal
from gpuarray.graph.grid import Chunks as Cut
from gpuarray.graph.grid import one_chunk
from gpuarray.graph.leaves import Index
from gpuarray.graph.node import Node
from gpuarray.graph.select import AxisMap, Select
from gpuarray.joining import stack
from gpuarray.manipulation import broadcast_to, ravel
from gpuarray.padding import pad


def coordinate(shape: tuple[int, ...], axis: int, dtype: np.dtype[Any], chunks: Cut) -> NDArray:
    """The positions along one axis, over a whole grid."""
    strides = tuple(int(a == axis) for a in range(len(shape)))
    return NDArray(cast(Index(shape, 0, strides, chunks), dtype))


def indices(dimensions: Sequence[int], dtype: Any = int, sparse: bool = False, *, chunks: Chunks = "auto") -> Any:
    """The coordinates of a grid, one array for each axis, stacked (or a tuple that broadcasts, where `sparse`).

    >>> import gpuarray as ga
    >>> ga.indices((2, 2))[1].compute()
    array([[0, 1],
           [0, 1]])

    Arguments as in `numpy.indices`, and `chunks` of one coordinate array.
    """
    shape = as_shape(dimensions)
    cut = normalize_chunks(chunks, shape, np.dtype(dtype))
    kind = np.dtype(dtype)
    if not sparse:
        arrays = [coordinate(shape, axis, kind, cut) for axis in range(len(shape))]
        return stack(arrays) if arrays else zeros((0,), dtype)
    made = []
    for axis, n in enumerate(shape):
        mine = tuple(n if a == axis else 1 for a in range(len(shape)))
        chunks_of_mine = tuple(c if a == axis else one_chunk((1,))[0] for a, c in enumerate(cut))
        made.append(coordinate(mine, axis, kind, chunks_of_mine))
    return tuple(made)


def fromfunction(
    function: Callable[..., Any], shape: Sequence[int], *, dtype: Any = float, chunks: Chunks = "auto", **kwargs: Any
) -> NDArray:
    """A function of the coordinates, called once with lazy coordinate arrays.

    >>> import gpuarray as ga
    >>> ga.fromfunction(lambda i, j: i + 10 * j, (2, 2)).compute()
    array([[ 0., 10.],
           [ 1., 11.]])

    Arguments as in `numpy.fromfunction`, and `chunks`.
    """
    lengths = as_shape(shape)
    cut = normalize_chunks(chunks, lengths, np.dtype(dtype))
    made = function(*(coordinate(lengths, axis, np.dtype(dtype), cut) for axis in range(len(lengths))), **kwargs)
    return made if isinstance(made, NDArray) else asarray(made)


def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[NDArray, ...]:
    """Coordinate arrays from coordinate vectors; views, whatever `copy` says.

    >>> import gpuarray as ga
    >>> ga.meshgrid([1, 2], [10, 20, 30])[0].compute()
    array([[1, 2],
           [1, 2],
           [1, 2]])

    Arguments as in `numpy.meshgrid`. Raises ValueError for another `indexing` than "xy" and "ij".
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f'indexing={indexing!r} is neither "xy" nor "ij"')
    vectors = [asarray(x) for x in xi]
    if any(v.ndim > 1 for v in vectors):
        raise ValueError(f"meshgrid takes vectors, got shapes {[v.shape for v in vectors]}")
    order = list(range(len(vectors)))
    if indexing == "xy" and len(order) > 1:
        order[0], order[1] = 1, 0
    full_shape = [0] * len(vectors)
    for k, v in enumerate(vectors):
        full_shape[order[k]] = v.size
    made = []
    for k, v in enumerate(vectors):
        shape = tuple(v.size if a == order[k] else (1 if sparse else n) for a, n in enumerate(full_shape))
        maps: tuple[AxisMap, ...] = ((order[k], range(v.size)),) if v.ndim else ()
        made.append(NDArray(Select(shape, maps, v.node)))
    return tuple(made)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = float, *, chunks: Chunks = "auto") -> NDArray:
    """Ones at and below a diagonal, zeros above.

    >>> import gpuarray as ga
    >>> ga.tri(2, dtype=int).compute()
    array([[1, 0],
           [1, 1]])
    """
    shape = as_shape((N, N if M is None else M))
    cut = normalize_chunks(chunks, shape, np.dtype(dtype))
    below = apply("greater_equal", NDArray(Index(shape, diagonal_within(k, shape), (1, -1), cut)), 0)
    return NDArray(cast(below.node, np.dtype(dtype)))


def tril(m: Any, k: int = 0) -> NDArray:
    """A copy with the elements above a diagonal zeroed.

    >>> import gpuarray as ga
    >>> ga.tril(ga.ones((2, 2))).compute()
    array([[1., 0.],
           [1., 1.]])
    """
    x = _matrices(m)
    return apply("where", _below(x, operator.index(k)), x, x.dtype.type(0))


def triu(m: Any, k: int = 0) -> NDArray:
    """A copy with the elements below a diagonal zeroed.

    >>> import gpuarray as ga
    >>> ga.triu(ga.ones((2, 2))).compute()
    array([[1., 1.],
           [0., 1.]])
    """
    x = _matrices(m)
    return apply("where", _below(x, operator.index(k) - 1), x.dtype.type(0), x)


def _matrices(m: Any) -> NDArray:
    """A stack of matrices; a vector stands for a square one of which it is every row, as in NumPy."""
    x = asarray(m)
    if not x.ndim:
        raise TypeError("tril and triu take arrays of at least one dimension, got shape ()")
    return broadcast_to(x, (x.size, x.size)) if x.ndim == 1 else x


def _below(x: NDArray, k: int) -> NDArray:
    """Whether an element is at or below a diagonal of the last two axes."""
    index: Node = Index(x.shape[-2:], diagonal_within(k, x.shape), (1, -1), x.chunks[-2:])
    return apply("greater_equal", NDArray(index), 0)


def diag(v: Any, k: int = 0) -> NDArray:
    """The diagonal of a matrix, or a matrix with a vector on its diagonal.

    >>> import gpuarray as ga
    >>> ga.diag(ga.asarray([1, 2])).compute()
    array([[1, 0],
           [0, 2]])

    Arguments as in `numpy.diag`.
    """
    x = asarray(v)
    k = operator.index(k)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ValueError(f"diag takes arrays of 1 or 2 dimensions, got shape {x.shape}")
    n = x.size + abs(k)
    column = pad(x, (max(0, k), max(0, -k)))
    on = Index((n, n), k, (1, -1), (column.chunks[0],) * 2)
    return apply("where", apply("equal", NDArray(on), 0), column, x.dtype.type(0))


def diagflat(v: Any, k: int = 0) -> NDArray:
    """A matrix with all elements of an array on its diagonal.

    >>> import gpuarray as ga
    >>> ga.diagflat([[1], [2]]).compute()
    array([[1, 0],
           [0, 2]])
    """
    return diag(ravel(v), k)
