"""Functions that write into an array, which then stands for a new one, and so do its views."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.array import NDArray, as_node, asarray, install
from gpuarray.axes import normalize_axis
from gpuarray.elementwise import apply, cast
from gpuarray.graph.node import Node
from gpuarray.graph.scatter import Scatter
from gpuarray.graph.select import Indices
from gpuarray.manipulation import ravel, reshape


def target(a: Any, what: str) -> NDArray:
    """The array that a function writes into, or TypeError."""
    if not isinstance(a, NDArray):
        raise TypeError(f"{what} writes into a gpuarray.NDArray, got {type(a).__name__}")
    return a


def written(a: NDArray, positions: np.ndarray[Any, Any], values: NDArray) -> None:
    """Write values at flat positions, the last winning where one is named twice."""
    made: Node = Scatter(Indices(positions), a.node, cast(values.node, a.dtype))
    a.stand_for(made)


def resize(a: Any, new_shape: Any) -> NDArray:
    """The elements in C order, repeated or cut off to fill another shape.

    >>> import gpuarray as ga
    >>> ga.resize([1, 2, 3], (2, 2)).compute()
    array([[1, 2],
           [3, 1]])

    Arguments as in `numpy.resize`. Raises ValueError for negative lengths.
    """
    from gpuarray.joining import concatenate

    shape = (int(new_shape),) if np.ndim(new_shape) == 0 else tuple(map(int, new_shape))
    if any(n < 0 for n in shape):
        raise ValueError(f"all elements of new_shape={new_shape} must be non-negative")
    x, size = ravel(a), int(np.prod(shape, dtype=object))
    if not x.size or not size:
        return asarray(np.zeros((), x.dtype)) + np.zeros(shape, x.dtype) if size else asarray(np.zeros(shape, x.dtype))
    times = -(-size // x.size)
    if times > 1000:
        from gpuarray.joining import tile

        return reshape(tile(x, times)[:size], shape)
    return reshape(concatenate([x] * times)[:size] if times > 1 else x[:size], shape)


def put(a: NDArray, ind: Any, v: Any, mode: str = "raise") -> None:
    """Write values at flat positions; `a` then stands for the result.

    >>> import gpuarray as ga
    >>> x = ga.arange(5)
    >>> ga.put(x, [0, 2], [-44, -55])
    >>> x.compute()
    array([-44,   1, -55,   3,   4])

    Arguments as in `numpy.put`; positions are computed at once. Raises IndexError out of bounds unless `mode` is "wrap"
    or "clip", TypeError for an `a` that is no NDArray.
    """
    x = target(a, "put")
    where = np.asarray(ind).ravel()
    where = where.astype(np.intp) if not where.size else where
    if where.dtype.kind not in "iub":
        raise TypeError(f"positions must be integers, got dtype {where.dtype}")
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f'mode={mode!r} is no mode; write "raise", "wrap" or "clip"')
    n = x.size
    if mode == "wrap" and n:
        where = where % n
    elif mode == "clip":
        where = np.clip(where, 0, n - 1)
    elif where.size and (int(where.min()) < -n or int(where.max()) >= n):
        raise IndexError(f"a position is out of bounds for an array of {n} elements")
    values = ravel(v)
    if not where.size or not values.size:
        return
    written(x, np.where(where < 0, where + n, where), resize(values, where.shape))


def place(arr: NDArray, mask: Any, vals: Any) -> None:
    """Write values in turn where a mask is true; `arr` then stands for the result.

    >>> import gpuarray as ga
    >>> x = ga.arange(4)
    >>> ga.place(x, x > 1, [44, 55])
    >>> x.compute()
    array([ 0,  1, 44, 55])

    Arguments as in `numpy.place`; the mask is computed at once. Raises ValueError for no values or a mask of another
    size.
    """
    x = target(arr, "place")
    chosen = np.flatnonzero(np.asarray(mask))
    if asarray(mask).size != x.size:
        raise ValueError(f"place: mask and data must be the same size, got {asarray(mask).size} and {x.size}")
    values = ravel(vals)
    if not chosen.size:
        return
    if not values.size:
        raise ValueError("Cannot insert from an empty array!")
    written(x, chosen, resize(values, chosen.shape))


def putmask(a: NDArray, /, mask: Any, values: Any) -> None:
    """Write, where a mask is true, the value of the same place, of values repeated to the size of `a`.

    >>> import gpuarray as ga
    >>> x = ga.arange(4)
    >>> ga.putmask(x, x > 1, [-1, -2])
    >>> x.compute()
    array([ 0,  1, -1, -2])

    Arguments as in `numpy.putmask`. Raises ValueError for a mask of another size.
    """
    x = target(a, "putmask")
    chosen = asarray(mask)
    if chosen.size != x.size:
        raise ValueError(f"putmask: mask and data must be the same size, got {chosen.size} and {x.size}")
    given = NDArray(cast(as_node(values, x.dtype), x.dtype))
    if not given.size:
        return
    full = given if given.size == 1 else resize(given, x.shape)
    full = reshape(full, ()) if full.size == 1 and x.size != 1 else full
    chosen = reshape(NDArray(cast(chosen.node, np.dtype(bool))), x.shape)
    x.stand_for(apply("where", chosen, full, x).node)


def put_along_axis(arr: NDArray, indices: Any, values: Any, axis: int | None) -> None:
    """Write values at positions along an axis that differ from place to place; `arr` then stands for the result.

    >>> import gpuarray as ga
    >>> x = ga.asarray([[10, 30, 20]])
    >>> ga.put_along_axis(x, [[1]], 99, axis=1)
    >>> x.compute()
    array([[10, 99, 20]])

    Arguments as in `numpy.put_along_axis`; positions are computed at once. Raises IndexError out of bounds, ValueError
    for another number of dimensions.
    """
    x = target(arr, "put_along_axis")
    where = np.asarray(indices)
    if where.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    shape = (x.size,) if axis is None else x.shape
    at = normalize_axis(0 if axis is None else axis, len(shape))
    if where.ndim != len(shape):
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    n = shape[at]
    if where.size and (int(where.min()) < -n or int(where.max()) >= n):
        raise IndexError(f"a position is out of bounds for axis {at} with size {n}")
    where = np.where(where < 0, where + n, where)
    others = np.ogrid[tuple(slice(m) for m in shape)]
    key = tuple(where if a == at else o for a, o in enumerate(others))
    flat = np.ravel_multi_index(np.broadcast_arrays(*key), shape)
    from gpuarray.manipulation import broadcast_to

    spread = broadcast_to(NDArray(cast(as_node(values, x.dtype), x.dtype)), flat.shape)
    written(x, np.asarray(flat).ravel(), ravel(spread))


def fill_diagonal(a: NDArray, val: Any, wrap: bool = False) -> None:
    """Write values, in turn, on the main diagonal; `a` then stands for the result.

    >>> import gpuarray as ga
    >>> x = ga.zeros((2, 2), dtype=int)
    >>> ga.fill_diagonal(x, 5)
    >>> x.compute()
    array([[5, 0],
           [0, 5]])

    Arguments as in `numpy.fill_diagonal`. Raises ValueError for fewer than two dimensions, and for more with axes of
    different lengths.
    """
    x = target(a, "fill_diagonal")
    if x.ndim < 2:
        raise ValueError("array must be at least 2-d")
    if x.ndim > 2 and len(set(x.shape)) > 1:
        raise ValueError(f"All dimensions of input must be of equal length, got shape {x.shape}")
    step = 1 + int(np.cumprod(x.shape[1:])[::-1].sum() if x.ndim > 2 else x.shape[1])
    if x.ndim > 2:
        step = 1 + int(np.cumprod(x.shape[:-1]).sum())
    end = None if wrap or x.ndim > 2 else x.shape[1] * x.shape[1]
    positions = np.arange(x.size)[:end:step] if x.size < 2**20 else np.arange(0, min(x.size, end or x.size), step)
    values = ravel(val)
    if positions.size and values.size:
        written(x, positions, resize(values, positions.shape))


def _method_put(self: NDArray, indices: Any, values: Any, mode: str = "raise") -> None:
    """Write values at flat positions; see `gpuarray.put`."""
    put(self, indices, values, mode)


install("put", _method_put)
