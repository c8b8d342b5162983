"""Arrays of one value, which no memory holds, identity matrices, and arrays of what other libraries have."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import as_shape
from gpuarray.checks import check_device, check_dtype, check_order
from gpuarray.chunking import Chunks, normalize_chunks
from gpuarray.elementwise import apply, cast
from gpuarray.graph.grid import Chunks as Cut
from gpuarray.graph.leaves import Const, Index
from gpuarray.graph.move import Rechunk
from gpuarray.graph.node import Node
from gpuarray.graph.select import Select
from gpuarray.kernels.devices import array_on_gpu

Shape = int | Sequence[int]


def full(
    shape: Shape, fill_value: Any, dtype: Any = None, order: Any = "C", *, chunks: Chunks = "auto", device: Any = None
) -> NDArray:
    """An array of one value.

    >>> import gpuarray as ga
    >>> ga.full((2, 2), 7).compute()
    array([[7, 7],
           [7, 7]])

    Arguments as in `numpy.full`, and `chunks` as in `NDArray.rechunk`. The value is not stored.
    """
    check_device(device)
    check_order(order)
    lengths = as_shape(shape)
    if np.ndim(fill_value):
        from gpuarray.indexing import broadcast, fitted

        values = asarray(fill_value, dtype=dtype)
        return NDArray(broadcast(fitted(values.node, lengths), lengths)).rechunk(chunks)
    value = np.asarray(fill_value)
    if dtype is not None:
        check_dtype(np.dtype(dtype))
        # a Python integer that does not fit is an error, as it is to NumPy
        value = np.full((), fill_value if isinstance(fill_value, int) else value, dtype)
    check_dtype(value.dtype)
    node: Node = Select(lengths, (), Const.of(value, value.dtype))
    return recut(node, normalize_chunks(chunks, lengths, value.dtype))


def recut(node: Node, chunks: Cut) -> NDArray:
    return NDArray(node if node.chunks == chunks else Rechunk(chunks, node))


def zeros(
    shape: Shape, dtype: Any = float, order: Any = "C", *, chunks: Chunks = "auto", device: Any = None
) -> NDArray:
    """An array of zeros.

    >>> import gpuarray as ga
    >>> ga.zeros(3, dtype=int).compute()
    array([0, 0, 0])

    Arguments as in `numpy.zeros`, and `chunks`.
    """
    return full(shape, np.zeros((), dtype), dtype, order, chunks=chunks, device=device)


def ones(shape: Shape, dtype: Any = float, order: Any = "C", *, chunks: Chunks = "auto", device: Any = None) -> NDArray:
    """An array of ones.

    >>> import gpuarray as ga
    >>> ga.ones((1, 2)).compute()
    array([[1., 1.]])

    Arguments as in `numpy.ones`, and `chunks`.
    """
    return full(shape, np.ones((), dtype), dtype, order, chunks=chunks, device=device)


def empty(
    shape: Shape, dtype: Any = float, order: Any = "C", *, chunks: Chunks = "auto", device: Any = None
) -> NDArray:
    """An array whose values do not matter; they are zeros, because nothing is allocated that could be reused.

    >>> import gpuarray as ga
    >>> ga.empty((2, 3)).shape
    (2, 3)

    Arguments as in `numpy.empty`, and `chunks`.
    """
    return zeros(shape, dtype, order, chunks=chunks, device=device)


def _like(a: Any, shape: Any, chunks: Chunks) -> tuple[tuple[int, ...], Any]:
    x = asarray(a)
    lengths = x.shape if shape is None else as_shape(shape)
    keep = isinstance(chunks, str) and chunks == "auto" and lengths == x.shape
    return lengths, x.chunks if keep else chunks


def zeros_like(
    a: Any,
    dtype: Any = None,
    order: Any = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    chunks: Chunks = "auto",
    device: Any = None,
) -> NDArray:
    """Zeros with the shape, dtype and chunks of another array.

    >>> import gpuarray as ga
    >>> ga.zeros_like(ga.asarray([1, 2])).compute()
    array([0, 0])
    """
    lengths, cut = _like(a, shape, chunks)
    return zeros(lengths, asarray(a).dtype if dtype is None else dtype, order, chunks=cut, device=device)


def ones_like(
    a: Any,
    dtype: Any = None,
    order: Any = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    chunks: Chunks = "auto",
    device: Any = None,
) -> NDArray:
    """Ones with the shape, dtype and chunks of another array.

    >>> import gpuarray as ga
    >>> ga.ones_like(ga.asarray([1.5, 2])).compute()
    array([1., 1.])
    """
    lengths, cut = _like(a, shape, chunks)
    return ones(lengths, asarray(a).dtype if dtype is None else dtype, order, chunks=cut, device=device)


def empty_like(
    a: Any,
    dtype: Any = None,
    order: Any = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    chunks: Chunks = "auto",
    device: Any = None,
) -> NDArray:
    """An array like another whose values do not matter (they are zeros).

    >>> import gpuarray as ga
    >>> ga.empty_like(ga.asarray([1, 2])).dtype
    dtype('int64')
    """
    return zeros_like(a, dtype, order, shape=shape, chunks=chunks, device=device)


def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: Any = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    chunks: Chunks = "auto",
    device: Any = None,
) -> NDArray:
    """One value with the shape, dtype and chunks of another array.

    >>> import gpuarray as ga
    >>> ga.full_like(ga.asarray([1, 2]), 9).compute()
    array([9, 9])
    """
    lengths, cut = _like(a, shape, chunks)
    return full(lengths, fill_value, asarray(a).dtype if dtype is None else dtype, order, chunks=cut, device=device)


def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: bool | None = True,
    order: Any = "K",
    subok: bool = False,
    ndmin: int = 0,
    chunks: Chunks = "auto",
) -> NDArray:
    """An `NDArray` of anything NumPy takes, with a copy of its data: later writes to the original are not seen.

    >>> import gpuarray as ga
    >>> ga.array([1, 2], ndmin=2).compute()
    array([[1, 2]])

    Arguments as in `numpy.array`, and `chunks`. `asarray` does not copy.
    """
    from gpuarray.axes import with_new_axes

    made = asarray(object, dtype, chunks, order=order, copy=copy)
    return NDArray(with_new_axes(made.node, tuple(range(max(0, operator.index(ndmin) - made.ndim)))))


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None, chunks: Chunks = "auto") -> NDArray:
    """An `NDArray` of an array of another library that exchanges data through DLPack.

    >>> import gpuarray as ga
    >>> import numpy as np
    >>> ga.from_dlpack(np.arange(3)).compute()
    array([0, 1, 2])

    Parameters
    ----------
    x : array in host memory or on a GPU with a method ``__dlpack__``; an `NDArray` comes back as it is
    copy : as in `asarray`
    chunks : as in `NDArray.rechunk`

    Raises BufferError (from NumPy) for data on devices of other makers.
    """
    check_device(device)
    if not isinstance(x, NDArray):
        there = array_on_gpu(x)
        x = np.from_dlpack(x) if there is None else there
    return asarray(x, chunks=chunks, copy=copy)


def eye(
    N: int,
    M: int | None = None,
    k: int = 0,
    dtype: Any = float,
    order: Any = "C",
    *,
    chunks: Chunks = "auto",
    device: Any = None,
) -> NDArray:
    """Ones on a diagonal, zeros elsewhere.

    >>> import gpuarray as ga
    >>> ga.eye(2, k=1).compute()
    array([[0., 1.],
           [0., 0.]])

    Arguments as in `numpy.eye`, and `chunks`.
    """
    check_device(device)
    check_order(order)
    shape = as_shape((N, N if M is None else M))
    kind = np.dtype(dtype)
    cut = normalize_chunks(chunks, shape, kind)
    off: Node = Index(shape, diagonal_within(k, shape), (1, -1), cut)
    on = apply("equal", NDArray(off), 0)
    return NDArray(cast(on.node, kind))


def diagonal_within(k: Any, shape: tuple[int, ...]) -> int:
    """The number of a diagonal; of those outside the matrix, which may be any integers, the nearest one."""
    return max(-shape[-2], min(operator.index(k), shape[-1]))


def identity(n: int, dtype: Any = float, *, chunks: Chunks = "auto", device: Any = None) -> NDArray:
    """The square identity matrix.

    >>> import gpuarray as ga
    >>> ga.identity(2, dtype=int).compute()
    array([[1, 0],
           [0, 1]])
    """
    return eye(n, dtype=dtype, chunks=chunks, device=device)
