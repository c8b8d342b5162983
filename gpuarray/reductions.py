"""Reductions, under NumPy's names and with NumPy's arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray.array import NDArray, as_node, asarray, install
from gpuarray.axes import normalize_axes, normalize_axis, without_axes
from gpuarray.elementwise import apply, cast, into
from gpuarray.graph.leaves import Index
from gpuarray.graph.node import Node
from gpuarray.graph.reduce import Reduce
from gpuarray.kernels.reductions import REDUCTIONS

Axis = int | tuple[int, ...] | None


def finish(node: Node, axes: tuple[int, ...], keepdims: bool) -> NDArray:
    """Drop the reduced axes, which have length one, unless the user keeps them."""
    return NDArray(node if keepdims else without_axes(node, axes))


def masked(x: Node, where: Any) -> tuple[Node, ...]:
    """The inputs of a reduction with the mask that ``where=`` gives."""
    if where is None or where is True:
        return (x,)
    from gpuarray.indexing import broadcast

    mask = cast(as_node(where), np.dtype(bool))
    try:
        fits = np.broadcast_shapes(mask.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"where= of shape {mask.shape} does not broadcast to the array's shape {x.shape}")
    return (x, broadcast(mask, x.shape))


def count(x: NDArray, axis: Any) -> int:
    """How many elements each result is made of."""
    return math.prod(x.shape[i] for i in normalize_axes(axis, x.ndim))


def reduce(
    op: str,
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    keepdims: bool = False,
    where: Any = None,
    parameters: tuple[tuple[str, Any], ...] = (),
) -> NDArray:
    """A reduction of the table."""
    row = REDUCTIONS[op]
    x = asarray(a)
    if not x.ndim and type(axis) is int and axis in (0, -1) and op not in ("var", "mean"):
        axis = None  # as NumPy has it
    axes = normalize_axes(axis, x.ndim)
    operand = row.operand(x.dtype, None if dtype is None else np.dtype(dtype))
    if row.identity(operand) is None and not count(x, axes) and all_others(x.shape, axes):
        raise ValueError(f"{row.empty_error()}: shape {x.shape}, axis {axis}")
    node: Node = Reduce(op, axes, parameters, *masked(cast(x.node, operand), where))
    return finish(node, axes, keepdims)


def all_others(shape: tuple[int, ...], axes: tuple[int, ...]) -> bool:
    """Whether a reduction over `axes` has results."""
    return 0 not in (n for i, n in enumerate(shape) if i not in axes)


def with_initial(op: str, reduced: NDArray, initial: Any) -> NDArray:
    """Take `initial` in, as NumPy does: as one more element."""
    if initial is None:
        return reduced
    pair = {"sum": "add", "prod": "multiply", "min": "minimum", "max": "maximum"}[op]
    return NDArray(cast(apply(pair, reduced, initial).node, reduced.dtype))


def sum(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> NDArray:
    """Sum of the elements over axes; floats are summed in float64, in an order that depends on the chunks alone.

    >>> import gpuarray as ga
    >>> ga.sum(ga.asarray([[1, 2], [3, 4]]), axis=0).compute()
    array([4, 6])

    Arguments as in `numpy.sum`. Raises AxisError out of range.
    """
    return into(out, with_initial("sum", reduce("sum", a, axis, dtype, keepdims, where), initial))


def prod(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> NDArray:
    """Product of the elements over axes.

    >>> import gpuarray as ga
    >>> ga.prod(ga.asarray([2.0, 3.0])).compute()
    array(6.)

    Arguments as in `numpy.prod`. Raises AxisError out of range.
    """
    return into(out, with_initial("prod", reduce("prod", a, axis, dtype, keepdims, where), initial))


def _extremum(op: str, a: Any, axis: Any, out: Any, keepdims: bool, initial: Any, where: Any) -> NDArray:
    x = asarray(a)
    if initial is None:
        if where is not None and where is not True:
            raise ValueError(
                f"reduction operation {op!r} does not have an identity, so to use a where mask one has to specify "
                "initial="
            )
        return into(out, reduce(op, x, axis, None, keepdims))
    start = np.asarray(initial).astype(x.dtype)[()]
    inputs = masked(x.node, where)
    if len(inputs) > 1:
        x = apply("where", NDArray(inputs[1]), x, start)
    if count(x, axis) == 0:
        from gpuarray.indexing import broadcast

        axes = normalize_axes(axis, x.ndim)
        shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        return into(out, finish(broadcast(as_node(start), shape), axes, keepdims))
    return into(out, with_initial(op, reduce(op, x, axis, None, keepdims), start))


def min(
    a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> NDArray:
    """Smallest element over axes; NaN if there is one.

    >>> import gpuarray as ga
    >>> ga.min(ga.asarray([3, 1, 2])).compute()
    array(1)

    Arguments as in `numpy.min`. Raises ValueError where there are no elements and no `initial`.
    """
    return _extremum("min", a, axis, out, keepdims, initial, where)


def max(
    a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> NDArray:
    """Largest element over axes; NaN if there is one.

    >>> import gpuarray as ga
    >>> ga.max(ga.asarray([3, 1, 2])).compute()
    array(3)

    Arguments as in `numpy.max`. Raises ValueError where there are no elements and no `initial`.
    """
    return _extremum("max", a, axis, out, keepdims, initial, where)


amin, amax = min, max


def any(a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, *, where: Any = None) -> NDArray:
    """Whether any element is true (not zero).

    >>> import gpuarray as ga
    >>> ga.any(ga.asarray([0, 2])).compute()
    array(True)

    Arguments as in `numpy.any`.
    """
    return into(out, reduce("any", a, axis, None, keepdims, where))


def all(a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, *, where: Any = None) -> NDArray:
    """Whether all elements are true (not zero).

    >>> import gpuarray as ga
    >>> ga.all(ga.asarray([0, 2])).compute()
    array(False)

    Arguments as in `numpy.all`.
    """
    return into(out, reduce("all", a, axis, None, keepdims, where))


def count_nonzero(a: Any, axis: Axis = None, *, keepdims: bool = False) -> NDArray:
    """Number of elements that are not zero.

    >>> import gpuarray as ga
    >>> ga.count_nonzero(ga.asarray([[0, 7], [1, 2]]), axis=1).compute()
    array([1, 2])

    Arguments as in `numpy.count_nonzero`.
    """
    return reduce("count_nonzero", a, axis, None, keepdims)


def _position(op: str, a: Any, axis: Any, out: Any, keepdims: bool) -> NDArray:
    x = asarray(a)
    whole = axis is None or (not x.ndim and axis in (0, -1))
    axes = tuple(range(x.ndim)) if whole else (normalize_axis(axis, x.ndim),)
    row = REDUCTIONS[op]
    if not count(x, axes):
        raise ValueError(f"{row.empty_error()}: shape {x.shape}, axis {axis}")
    strides = [0] * x.ndim
    step = 1
    for i in reversed(axes):
        strides[i], step = step, step * x.shape[i]
    positions: Node = Index(x.shape, 0, tuple(strides), x.chunks)
    node: Node = Reduce(op, axes, (), cast(x.node, row.operand(x.dtype, None)), positions)
    return into(out, finish(node, axes, keepdims))


def argmin(a: Any, axis: int | None = None, out: Any = None, *, keepdims: bool = False) -> NDArray:
    """Position of the smallest element, the first of equals; flat where `axis` is None.

    >>> import gpuarray as ga
    >>> ga.argmin(ga.asarray([3, 1, 1])).compute()
    array(1)

    Arguments as in `numpy.argmin`. Raises ValueError where there are no elements.
    """
    return _position("argmin", a, axis, out, keepdims)


def argmax(a: Any, axis: int | None = None, out: Any = None, *, keepdims: bool = False) -> NDArray:
    """Position of the largest element, the first of equals; flat where `axis` is None.

    >>> import gpuarray as ga
    >>> ga.argmax(ga.asarray([[1, 5], [7, 2]]), axis=1).compute()
    array([1, 0])

    Arguments as in `numpy.argmax`. Raises ValueError where there are no elements.
    """
    return _position("argmax", a, axis, out, keepdims)


METHODS: tuple[Callable[..., NDArray], ...] = (sum, prod, min, max, any, all, argmin, argmax)
for _function in METHODS:
    install(_function.__name__, _function)
