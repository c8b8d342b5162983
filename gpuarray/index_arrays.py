"""Positions as arrays: flat and by axis, of diagonals and triangles, open grids."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.gathering import nonzero
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.grids import tri
from gpuarray.manipulation import broadcast_arrays
from gpuarray.ranges import arange
from gpuarray.searching import elementwise_with


def _integers(indices: Any, what: str) -> NDArray:
    x = asarray(indices)
    if not x.size and not hasattr(indices, "dtype"):
        x = asarray(np.zeros(x.shape, np.int64))
    if x.dtype.kind not in "iu":
        raise TypeError(f"{what} must be integers, got dtype {x.dtype}")
    return x


def _shape(shape: Any) -> tuple[int, ...]:
    return tuple(map(operator.index, shape)) if np.ndim(shape) else (operator.index(shape),)


def _order(order: str) -> str:
    if order not in ("C", "F"):
        raise ValueError(f'order={order!r} is no order; write "C" or "F"')
    return order


def unravel_index(indices: Any, shape: Any, order: str = "C") -> tuple[NDArray, ...]:
    """The positions along each axis that flat positions stand for.

    >>> import gpuarray as ga
    >>> [where.compute().tolist() for where in ga.unravel_index([22, 41], (7, 6))]
    [[3, 6], [4, 5]]

    Arguments as in `numpy.unravel_index`. Raises TypeError for what is no integer; ValueError, when it is computed, for
    positions out of bounds.
    """
    x = _integers(indices, "indices")
    keywords = (("shape", _shape(shape)), ("order", _order(order)))
    return tuple(
        elementwise_with(_unraveled, (*keywords, ("axis", k)), x, np.int64, "unravel_index")
        for k in range(len(keywords[0][1]))
    )


def _unraveled(xp: Any, x: Any, shape: tuple[int, ...], order: str, axis: int) -> Any:
    size = int(np.prod(shape, dtype=object))
    if x.size and not bool(((x >= 0) & (x < size)).all()):
        raise ValueError(f"an index is out of bounds for an array of shape {shape}, which has {size} elements")
    before = shape[axis + 1 :] if order == "C" else shape[:axis]
    return (x.astype(np.int64) // int(np.prod(before, dtype=np.int64))) % shape[axis]


def ravel_multi_index(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> NDArray:
    """The flat positions that positions along each axis stand for.

    >>> import gpuarray as ga
    >>> ga.ravel_multi_index(([3, 6], [4, 5]), (7, 6)).compute()
    array([22, 41])

    Arguments as in `numpy.ravel_multi_index`. Raises ValueError for another number of axes and, when it is computed,
    for positions out of bounds unless `mode` is "wrap" or "clip".
    """
    shape = _shape(dims)
    given = [_integers(m, "multi_index") for m in multi_index]
    if len(given) != len(shape):
        raise ValueError(f"parameter multi_index must be a sequence of length {len(shape)}, got {len(given)}")
    modes = (mode,) * len(shape) if isinstance(mode, str) else tuple(mode)
    if len(modes) != len(shape) or any(m not in ("raise", "wrap", "clip") for m in modes):
        raise ValueError(f'mode={mode!r} must be "raise", "wrap" or "clip", or one of them for each axis')
    arrays = [NDArray(a.node) for a in broadcast_arrays(*given)]
    first = arrays[0]
    along = tuple(tuple(range(a.ndim)) for a in arrays)
    keywords = (("shape", shape), ("modes", modes), ("order", _order(order)))
    traits = Traits("ravel_multi_index", scratch=2.0)
    nodes = (a.node for a in arrays)
    made: Node = Routine(_raveled, keywords, np.dtype(np.int64), first.chunks, along, traits, *nodes)
    return NDArray(made)


def _raveled(xp: Any, *where: Any, shape: tuple[int, ...], modes: tuple[str, ...], order: str) -> Any:
    flat = xp.zeros(where[0].shape, np.int64)
    step = 1
    for k in range(len(shape))[:: -1 if order == "C" else 1]:
        n, i = shape[k], where[k].astype(np.int64)
        if modes[k] == "wrap":
            i = i % n
        elif modes[k] == "clip":
            i = xp.clip(i, 0, n - 1)
        elif i.size and not bool(((i >= 0) & (i < n)).all()):
            raise ValueError(f"invalid entry in coordinates array: axis {k} of shape {shape}")
        flat = flat + i * step
        step *= n
    return flat


def diag_indices(n: int, ndim: int = 2) -> tuple[NDArray, ...]:
    """The positions of the main diagonal of a cube.

    >>> import gpuarray as ga
    >>> [i.compute().tolist() for i in ga.diag_indices(2)]
    [[0, 1], [0, 1]]
    """
    return (arange(n),) * ndim


def diag_indices_from(arr: Any) -> tuple[NDArray, ...]:
    """The positions of the main diagonal of an array whose axes are equally long.

    >>> import gpuarray as ga
    >>> len(ga.diag_indices_from(ga.zeros((3, 3))))
    2

    Raises ValueError for fewer than two dimensions and axes of different lengths.
    """
    x = asarray(arr)
    if x.ndim < 2:
        raise ValueError("input array must be at least 2-d")
    if len(set(x.shape)) > 1:
        raise ValueError(f"All dimensions of input must be of equal length, got shape {x.shape}")
    return diag_indices(x.shape[0], x.ndim)


def mask_indices(n: int, mask_func: Callable[..., Any], k: Any = 0) -> tuple[NDArray, ...]:
    """The positions at which a function like `triu` leaves something of an n by n matrix of ones.

    >>> import gpuarray as ga
    >>> [i.compute().tolist() for i in ga.mask_indices(2, ga.triu)]
    [[0, 0, 1], [0, 1, 1]]
    """
    from gpuarray.creation import ones

    return nonzero(mask_func(ones((n, n), dtype=np.int64), k))


def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[NDArray, ...]:
    """The positions at and below a diagonal of an n by m matrix, counted at once.

    >>> import gpuarray as ga
    >>> [i.compute().tolist() for i in ga.tril_indices(2)]
    [[0, 1, 1], [0, 0, 1]]
    """
    return nonzero(tri(n, m, k, dtype=bool))


def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[NDArray, ...]:
    """The positions at and above a diagonal of an n by m matrix, counted at once.

    >>> import gpuarray as ga
    >>> [i.compute().tolist() for i in ga.triu_indices(2)]
    [[0, 0, 1], [0, 1, 1]]
    """
    return nonzero(~tri(n, m, k - 1, dtype=bool))


def _matrix(arr: Any) -> tuple[int, int]:
    x = asarray(arr)
    if x.ndim != 2:
        raise ValueError(f"input array must be 2-d, got shape {x.shape}")
    return x.shape[0], x.shape[1]


def tril_indices_from(arr: Any, k: int = 0) -> tuple[NDArray, ...]:
    """The positions at and below a diagonal of a matrix.

    >>> import gpuarray as ga
    >>> len(ga.tril_indices_from(ga.zeros((3, 3)))[0])
    6
    """
    n, m = _matrix(arr)
    return tril_indices(n, k, m)


def triu_indices_from(arr: Any, k: int = 0) -> tuple[NDArray, ...]:
    """The positions at and above a diagonal of a matrix.

    >>> import gpuarray as ga
    >>> len(ga.triu_indices_from(ga.zeros((3, 3)))[0])
    6
    """
    n, m = _matrix(arr)
    return triu_indices(n, k, m)


def ix_(*args: Any) -> tuple[NDArray, ...]:
    """An open grid of positions: each vector along an axis of its own; booleans are the positions where they are true.

    >>> import gpuarray as ga
    >>> [i.shape for i in ga.ix_([0, 1], [2, 4, 5])]
    [(2, 1), (1, 3)]

    Raises ValueError for what is no vector.
    """
    made = []
    for k, given in enumerate(args):
        x = asarray(given)
        if x.ndim != 1:
            raise ValueError(f"Cross index must be 1 dimensional, got shape {x.shape}")
        if not x.size and not hasattr(given, "dtype"):
            x = asarray(np.zeros(0, np.int64))
        if x.dtype == bool:
            (x,) = nonzero(x)
        made.append(x.reshape((1,) * k + (-1,) + (1,) * (len(args) - k - 1)))
    return tuple(made)
