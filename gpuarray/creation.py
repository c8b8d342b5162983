"""Arrays made from nothing: constants and coordinates, which kernels count instead of reading."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import as_shape
from gpuarray.checks import check_device, check_dtype, check_order
from gpuarray.chunking import Chunks, normalize_chunks
from gpuarray.elementwise import apply, cast
from gpuarray.graph.elementwise import Map
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


def arange(
    start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, *, chunks: Chunks = "auto", device: Any = None
) -> NDArray:
    """Evenly spaced values in the half-open interval ``[start, stop)``.

    >>> import gpuarray as ga
    >>> ga.arange(2, 8, 3).compute()
    array([2, 5])

    Arguments as in `numpy.arange`, and `chunks`. Raises ZeroDivisionError for ``step=0``, ValueError for arguments
    that are not finite.
    """
    check_device(device)
    if stop is None:
        start, stop = 0, start
    if any(
        np.dtype(d).kind in "mM" for d in (dtype, *(np.asarray(v).dtype for v in (start, stop, step))) if d is not None
    ):
        return _dates(start, stop, step, dtype, chunks)
    given = [np.asarray(v).dtype for v in (start, stop, step)]
    if _integers(start, stop, step):
        start, stop, step = int(start), int(stop), int(step)  # which do not wrap around
        if any(not -(2**63) <= n < 2**64 for n in (start, stop, step)):
            raise ValueError(f"arange({start}, {stop}, {step}): no integer dtype holds more than 64 bits")
    if step == 0:
        raise ZeroDivisionError("arange with step=0 never ends; give a step that is not zero")
    length = (stop - start) / step
    if isinstance(length, complex) or not math.isfinite(length):
        raise ValueError(f"arange({start}, {stop}, {step}) has no finite real length")
    n = max(0, -(-(stop - start) // step) if _integers(start, stop, step) else math.ceil(length))
    kind = np.dtype(dtype) if dtype is not None else np.result_type(int, *given)
    check_dtype(kind)
    cut = normalize_chunks(chunks, (n,), kind)
    if _integers(start, step) and kind.kind in "iu" and abs(start) < 2**63 and abs(start + step * n) < 2**63:
        node: Node = Index((n,), int(start), (int(step),), cut)
        return NDArray(cast(node, kind))
    # NumPy's: the first two values are rounded to the dtype, and their difference is the step.
    work = kind if kind.kind in "fc" else np.dtype(np.float64)
    with np.errstate(all="ignore"):
        first: Any = np.asarray(start).astype(work)[()]
        delta: Any = (np.asarray(start + step).astype(work) - first)[()]
    if kind == np.float16:
        work, first, delta = np.dtype(np.float32), np.float32(first), np.float32(delta)
    count: Node = Map("cast", work, Index((n,), 0, (1,), cut))
    values = apply("add", NDArray(Map("multiply", work, count, Const.of(delta, work))), NDArray(Const.of(first, work)))
    return NDArray(cast(values.node, kind))


def _dates(start: Any, stop: Any, step: Any, dtype: Any, chunks: Chunks) -> NDArray:
    """`arange` of dates or of spans of time: integers in a unit that all three can be told in."""
    given = [np.asarray(v, dtype if isinstance(v, str) else None) for v in (start, stop)]
    named = [g.dtype for g in given if g.dtype.kind in "mM"]
    if dtype is not None and np.datetime_data(dtype)[0] != "generic":
        kind = np.dtype(dtype)
    else:
        kind = np.result_type(*named, *([np.asarray(step).dtype] if np.asarray(step).dtype.kind == "m" else []))
    if kind.kind == "M" and len(named) == 1 and given[1].dtype.kind != "M":  # NumPy's: so many steps on
        given[1] = given[0] + given[1]
    unit = np.dtype(f"m8[{'{1}{0}'.format(*np.datetime_data(kind))}]")
    first, last = (int(g.astype(kind).astype(np.int64)) for g in given)
    by = int(np.asarray(step).astype(unit).astype(np.int64))
    if not by:
        raise ZeroDivisionError("arange with step=0 never ends; give a step that is not zero")
    if np.iinfo(np.int64).min in (first, last, by):
        raise ValueError(f"arange({start}, {stop}, {step}) has no finite length: one of them is NaT")
    n = max(0, -(-(last - first) // by))
    node: Node = Index((n,), first, (by,), normalize_chunks(chunks, (n,), kind))
    return NDArray(cast(node, kind))


def _integers(*values: Any) -> bool:
    return all(isinstance(v, (int, np.integer)) for v in values)


@overload
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: Literal[False] = False,
    dtype: Any = None,
    *,
    chunks: Chunks = "auto",
    device: Any = None,
) -> NDArray: ...
@overload
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    *,
    retstep: Literal[True],
    dtype: Any = None,
    chunks: Chunks = "auto",
    device: Any = None,
) -> tuple[NDArray, Any]: ...
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    *,
    chunks: Chunks = "auto",
    device: Any = None,
) -> Any:
    """`num` evenly spaced values from `start` to `stop`; with `retstep`, and their distance.

    >>> import gpuarray as ga
    >>> ga.linspace(0, 1, 5).compute()
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])

    Arguments as in `numpy.linspace` (scalars only), and `chunks`. Raises ValueError for a negative `num`.
    """
    check_device(device)
    if np.ndim(start) or np.ndim(stop):
        raise ValueError(
            f"linspace takes numbers, got shapes {np.shape(start)} and {np.shape(stop)}; scale one by hand"
        )
    num = operator.index(num)
    if num < 0:
        raise ValueError(f"number of samples, {num}, must not be negative")
    kind = np.result_type(np.asarray(start), np.asarray(stop), float(num))
    kind = kind if kind.kind in "fc" else np.dtype(np.float64)
    parts = num - 1 if endpoint else num
    first, last = np.asarray(start).astype(kind)[()], np.asarray(stop).astype(kind)[()]
    cut = normalize_chunks(chunks, (num,), kind if dtype is None else np.dtype(dtype))
    index: Node = Index((num,), 0, (1,), cut)
    count = NDArray(cast(index, kind))
    with np.errstate(all="ignore"):
        delta = last - first
        step = delta / parts if parts > 0 else kind.type(np.nan)
    if parts > 0 and step != 0:
        values = apply("add", apply("multiply", count, step), first)
    elif parts > 0:
        values = apply("add", apply("multiply", apply("divide", count, parts), delta), first)
    else:
        values = apply("add", apply("multiply", count, delta), first)
    if endpoint and num > 1:  # the last value is exactly `stop`
        values = apply("where", apply("equal", NDArray(index), num - 1), last, values)
    if dtype is not None:
        values = apply("floor", values) if np.dtype(dtype).kind in "iu" else values
        values = NDArray(cast(values.node, np.dtype(dtype)))
    return (values, step) if retstep else values


def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: float = 10.0,
    dtype: Any = None,
    *,
    chunks: Chunks = "auto",
) -> NDArray:
    """`num` values evenly spaced on a logarithmic scale, from ``base**start`` to ``base**stop``.

    >>> import gpuarray as ga
    >>> ga.logspace(0, 3, 4).compute()
    array([   1.,   10.,  100., 1000.])

    Arguments as in `numpy.logspace` (scalars only), and `chunks`. Raises ValueError for a negative `num`.
    """
    made = apply("power", float(base), linspace(start, stop, num, endpoint, chunks=chunks))
    return made if dtype is None else NDArray(cast(made.node, np.dtype(dtype)))


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
