"""Arrays made from nothing: constants and coordinates, which kernels count instead of reading."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpuarray.array import NDArray, as_node, asarray, check_dtype
from gpuarray.chunking import Chunks, normalize_chunks
from gpuarray.elementwise import apply
from gpuarray.graph.elementwise import Map
from gpuarray.graph.grid import Chunks as Cut
from gpuarray.graph.leaves import Const, Index
from gpuarray.graph.move import Rechunk
from gpuarray.graph.node import Node
from gpuarray.graph.select import Select

Shape = int | Sequence[int]


def as_shape(shape: Any) -> tuple[int, ...]:
    """A shape as a tuple of lengths.

    Raises ValueError for negative lengths, TypeError for what is no integer.
    """
    lengths = (shape,) if not isinstance(shape, (tuple, list)) and hasattr(shape, "__index__") else tuple(shape)
    made = tuple(operator.index(n) for n in lengths)
    if any(n < 0 for n in made):
        raise ValueError(f"negative dimensions are not allowed: shape {made}")
    if math.prod(made) > 2**63 - 1:
        raise ValueError(f"shape {made} has {math.prod(made):,} elements, more than 2**63 - 1 can be counted")
    return made


def full(shape: Shape, fill_value: Any, dtype: Any = None, *, chunks: Chunks = "auto") -> NDArray:
    """An array of one value.

    >>> import gpuarray as ga
    >>> ga.full((2, 2), 7).compute()
    array([[7, 7],
           [7, 7]])

    Arguments as in `numpy.full`, and `chunks` as in `NDArray.rechunk`. The value is not stored.
    """
    lengths = as_shape(shape)
    if np.ndim(fill_value):
        from gpuarray.indexing import broadcast, fitted

        values = asarray(fill_value, dtype=dtype)
        return NDArray(broadcast(fitted(values.node, lengths), lengths)).rechunk(chunks)
    value = np.asarray(fill_value if dtype is None else np.asarray(fill_value).astype(dtype))
    check_dtype(value.dtype)
    node: Node = Select(lengths, (), Const.of(value, value.dtype))
    return recut(node, normalize_chunks(chunks, lengths, value.dtype))


def recut(node: Node, chunks: Cut) -> NDArray:
    return NDArray(node if node.chunks == chunks else Rechunk(chunks, node))


def zeros(shape: Shape, dtype: Any = float, *, chunks: Chunks = "auto") -> NDArray:
    """An array of zeros.

    >>> import gpuarray as ga
    >>> ga.zeros(3, dtype=int).compute()
    array([0, 0, 0])

    Arguments as in `numpy.zeros`, and `chunks`.
    """
    return full(shape, np.zeros((), dtype), dtype, chunks=chunks)


def ones(shape: Shape, dtype: Any = float, *, chunks: Chunks = "auto") -> NDArray:
    """An array of ones.

    >>> import gpuarray as ga
    >>> ga.ones((1, 2)).compute()
    array([[1., 1.]])

    Arguments as in `numpy.ones`, and `chunks`.
    """
    return full(shape, np.ones((), dtype), dtype, chunks=chunks)


def empty(shape: Shape, dtype: Any = float, *, chunks: Chunks = "auto") -> NDArray:
    """An array whose values do not matter; they are zeros, because nothing is allocated that could be reused.

    >>> import gpuarray as ga
    >>> ga.empty((2, 3)).shape
    (2, 3)

    Arguments as in `numpy.empty`, and `chunks`.
    """
    return zeros(shape, dtype, chunks=chunks)


def _like(a: Any, shape: Any, chunks: Chunks) -> tuple[tuple[int, ...], Any]:
    x = asarray(a)
    lengths = x.shape if shape is None else as_shape(shape)
    keep = isinstance(chunks, str) and chunks == "auto" and lengths == x.shape
    return lengths, x.chunks if keep else chunks


def zeros_like(a: Any, dtype: Any = None, *, shape: Any = None, chunks: Chunks = "auto") -> NDArray:
    """Zeros with the shape, dtype and chunks of another array.

    >>> import gpuarray as ga
    >>> ga.zeros_like(ga.asarray([1, 2])).compute()
    array([0, 0])
    """
    lengths, cut = _like(a, shape, chunks)
    return zeros(lengths, asarray(a).dtype if dtype is None else dtype, chunks=cut)


def ones_like(a: Any, dtype: Any = None, *, shape: Any = None, chunks: Chunks = "auto") -> NDArray:
    """Ones with the shape, dtype and chunks of another array.

    >>> import gpuarray as ga
    >>> ga.ones_like(ga.asarray([1.5, 2])).compute()
    array([1., 1.])
    """
    lengths, cut = _like(a, shape, chunks)
    return ones(lengths, asarray(a).dtype if dtype is None else dtype, chunks=cut)


def empty_like(a: Any, dtype: Any = None, *, shape: Any = None, chunks: Chunks = "auto") -> NDArray:
    """An array like another whose values do not matter (they are zeros).

    >>> import gpuarray as ga
    >>> ga.empty_like(ga.asarray([1, 2])).dtype
    dtype('int64')
    """
    return zeros_like(a, dtype, shape=shape, chunks=chunks)


def full_like(a: Any, fill_value: Any, dtype: Any = None, *, shape: Any = None, chunks: Chunks = "auto") -> NDArray:
    """One value with the shape, dtype and chunks of another array.

    >>> import gpuarray as ga
    >>> ga.full_like(ga.asarray([1, 2]), 9).compute()
    array([9, 9])
    """
    lengths, cut = _like(a, shape, chunks)
    return full(lengths, fill_value, asarray(a).dtype if dtype is None else dtype, chunks=cut)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, *, chunks: Chunks = "auto") -> NDArray:
    """Evenly spaced values in the half-open interval ``[start, stop)``.

    >>> import gpuarray as ga
    >>> ga.arange(2, 8, 3).compute()
    array([2, 5])

    Arguments as in `numpy.arange`, and `chunks`. Raises ZeroDivisionError for ``step=0``, ValueError for arguments
    that are not finite.
    """
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ZeroDivisionError("arange with step=0 never ends; give a step that is not zero")
    length = (stop - start) / step
    if isinstance(length, complex) or not math.isfinite(length):
        raise ValueError(f"arange({start}, {stop}, {step}) has no finite real length")
    n = max(0, -(-(stop - start) // step) if _integers(start, stop, step) else math.ceil(length))
    kind = np.dtype(dtype) if dtype is not None else np.result_type(*(np.asarray(v).dtype for v in (start, stop, step)))
    check_dtype(kind)
    cut = normalize_chunks(chunks, (n,), kind)
    if _integers(start, step) and kind.kind in "iu" and abs(start) < 2**63 and abs(start + step * n) < 2**63:
        node: Node = Index((n,), int(start), (int(step),), cut)
        return NDArray(node if kind == node.dtype else Map("cast", kind, node))
    # NumPy's: the first two values are rounded to the dtype, and their difference is the step.
    work = kind if kind.kind in "fc" else np.dtype(np.float64)
    with np.errstate(all="ignore"):
        first = np.asarray(start).astype(work)[()]
        delta = (np.asarray(start + step).astype(work) - first)[()]
    if kind == np.float16:
        work, first, delta = np.dtype(np.float32), np.float32(first), np.float32(delta)
    count: Node = Map("cast", work, Index((n,), 0, (1,), cut))
    values = apply("add", NDArray(Map("multiply", work, count, Const.of(delta, work))), NDArray(Const.of(first, work)))
    return values if kind == work else NDArray(Map("cast", kind, values.node))


def _integers(*values: Any) -> bool:
    return all(isinstance(v, (int, np.integer)) for v in values)


def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, *, chunks: Chunks = "auto"
) -> NDArray:
    """`num` evenly spaced values from `start` to `stop`.

    >>> import gpuarray as ga
    >>> ga.linspace(0, 1, 5).compute()
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])

    Arguments as in `numpy.linspace` (scalars only), and `chunks`. Raises ValueError for a negative `num`.
    """
    num = operator.index(num)
    if num < 0:
        raise ValueError(f"number of samples, {num}, must not be negative")
    kind = np.result_type(np.asarray(start), np.asarray(stop), float(num))
    kind = kind if kind.kind in "fc" else np.dtype(np.float64)
    parts = num - 1 if endpoint else num
    first, last = np.asarray(start).astype(kind)[()], np.asarray(stop).astype(kind)[()]
    cut = normalize_chunks(chunks, (num,), kind if dtype is None else np.dtype(dtype))
    index: Node = Index((num,), 0, (1,), cut)
    count = NDArray(Map("cast", kind, index))
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
    if dtype is None:
        return values
    if np.dtype(dtype).kind in "iu":
        values = apply("floor", values)
    return NDArray(Map("cast", np.dtype(dtype), values.node)) if values.dtype != dtype else values


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = float, *, chunks: Chunks = "auto") -> NDArray:  # noqa: N803 (NumPy's names)
    """Ones on a diagonal, zeros elsewhere.

    >>> import gpuarray as ga
    >>> ga.eye(2, k=1).compute()
    array([[0., 1.],
           [0., 0.]])

    Arguments as in `numpy.eye`, and `chunks`.
    """
    shape = as_shape((N, N if M is None else M))
    kind = np.dtype(dtype)
    cut = normalize_chunks(chunks, shape, kind)
    off: Node = Index(shape, operator.index(k), (1, -1), cut)
    on = apply("equal", NDArray(off), 0)
    return NDArray(Map("cast", kind, on.node)) if kind != on.dtype else on


def identity(n: int, dtype: Any = float, *, chunks: Chunks = "auto") -> NDArray:
    """The square identity matrix.

    >>> import gpuarray as ga
    >>> ga.identity(2, dtype=int).compute()
    array([[1, 0],
           [0, 1]])
    """
    return eye(n, dtype=dtype, chunks=chunks)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = float, *, chunks: Chunks = "auto") -> NDArray:  # noqa: N803
    """Ones at and below a diagonal, zeros above.

    >>> import gpuarray as ga
    >>> ga.tri(2, dtype=int).compute()
    array([[1, 0],
           [1, 1]])
    """
    shape = as_shape((N, N if M is None else M))
    cut = normalize_chunks(chunks, shape, np.dtype(dtype))
    below = apply("greater_equal", NDArray(Index(shape, operator.index(k), (1, -1), cut)), 0)
    return NDArray(Map("cast", np.dtype(dtype), below.node)) if below.dtype != dtype else below


def tril(m: Any, k: int = 0) -> NDArray:
    """A copy with the elements above a diagonal zeroed.

    >>> import gpuarray as ga
    >>> ga.tril(ga.ones((2, 2))).compute()
    array([[1., 0.],
           [1., 1.]])
    """
    x = asarray(m)
    return apply("where", _below(x, operator.index(k)), x, x.dtype.type(0))


def triu(m: Any, k: int = 0) -> NDArray:
    """A copy with the elements below a diagonal zeroed.

    >>> import gpuarray as ga
    >>> ga.triu(ga.ones((2, 2))).compute()
    array([[1., 1.],
           [0., 1.]])
    """
    x = asarray(m)
    return apply("where", _below(x, operator.index(k) - 1), x.dtype.type(0), x)


def _below(x: NDArray, k: int) -> NDArray:
    """Whether an element is at or below a diagonal of the last two axes."""
    if x.ndim < 2:
        raise ValueError(f"tril and triu take arrays of at least 2 dimensions, got shape {x.shape}")
    index: Node = Index(x.shape[-2:], k, (1, -1), x.chunks[-2:])
    return apply("greater_equal", NDArray(index), 0)


def indices(dimensions: Sequence[int], dtype: Any = int, sparse: bool = False, *, chunks: Chunks = "auto") -> Any:
    """The coordinates of a grid, one array for each axis, stacked (or a tuple that broadcasts, where `sparse`).

    >>> import gpuarray as ga
    >>> ga.indices((2, 2))[1].compute()
    array([[0, 1],
           [0, 1]])

    Arguments as in `numpy.indices`, and `chunks` of one coordinate array.
    """
    from gpuarray.manipulation import stack

    shape = as_shape(dimensions)
    cut = normalize_chunks(chunks, shape, np.dtype(dtype))
    arrays = []
    for axis, n in enumerate(shape):
        mine = tuple(n if a == axis else 1 for a in range(len(shape))) if sparse else shape
        strides = tuple(int(a == axis) for a in range(len(shape)))
        node: Node = Index(mine, 0, strides, tuple(c if m != 1 or not sparse else None for c, m in zip(cut, mine, strict=True)) if not sparse else None)
        arrays.append(NDArray(node if np.dtype(dtype) == node.dtype else Map("cast", np.dtype(dtype), node)))
    if sparse:
        return tuple(arrays)
    return stack(arrays) if arrays else zeros((0,), dtype)


def fromfunction(function: Callable[..., Any], shape: Sequence[int], *, dtype: Any = float, chunks: Chunks = "auto", **kwargs: Any) -> NDArray:
    """A function of the coordinates, called once with lazy coordinate arrays.

    >>> import gpuarray as ga
    >>> ga.fromfunction(lambda i, j: i + 10 * j, (2, 2)).compute()
    array([[ 0., 10.],
           [ 1., 11.]])

    Arguments as in `numpy.fromfunction`, and `chunks`.
    """
    lengths = as_shape(shape)
    cut = normalize_chunks(chunks, lengths, np.dtype(dtype))
    coordinates = []
    for axis in range(len(lengths)):
        node: Node = Index(lengths, 0, tuple(int(a == axis) for a in range(len(lengths))), cut)
        coordinates.append(NDArray(node if np.dtype(dtype) == node.dtype else Map("cast", np.dtype(dtype), node)))
    made = function(*coordinates, **kwargs)
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
        maps = ((order[k], range(v.size)),) if v.ndim else ()
        made.append(NDArray(Select(shape, maps, v.node)))
    return tuple(made)


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
        rows = range(max(0, -k), x.shape[0])
        n = max(0, min(len(rows), x.shape[1] - max(0, k)))
        first, second = range(max(0, -k), max(0, -k) + n), range(max(0, k), max(0, k) + n)
        return NDArray(Select((n,), ((0, first), (0, second)), x.node))
    if x.ndim != 1:
        raise ValueError(f"diag takes arrays of 1 or 2 dimensions, got shape {x.shape}")
    n = x.size + abs(k)
    made = zeros((n, n), x.dtype)
    if x.size:
        from gpuarray.indexing import scattered

        at = np.arange(x.size)
        made = NDArray(scattered(made, (at + max(0, -k), at + max(0, k)), as_node(x)))
    return made
