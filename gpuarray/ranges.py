"""Numbers evenly spaced, which kernels count instead of reading."""

from __future__ import annotations

import math
import operator
from typing import Any, Literal, overload

import numpy as np

from gpuarray.array import NDArray
from gpuarray.checks import check_device, check_dtype
from gpuarray.chunking import Chunks, normalize_chunks
from gpuarray.elementwise import apply, cast
from gpuarray.graph.elementwise import Map
from gpuarray.graph.leaves import Const, Index
from gpuarray.graph.node import Node
from gpuarray.manipulation import astype


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


def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, *, chunks: Any = "auto"
) -> NDArray:
    """`num` values from `start` to `stop`, each the same multiple of the one before.

    >>> import gpuarray as ga
    >>> ga.geomspace(1, 1000, 4)
    array([   1.,   10.,  100., 1000.])

    Arguments as in `numpy.geomspace` (real scalars only), and `chunks`. Raises ValueError for zero and for ends of
    different signs.
    """
    first, last = np.asarray(start), np.asarray(stop)
    if first.ndim or last.ndim or first.dtype.kind not in "biuf" or last.dtype.kind not in "biuf":
        raise ValueError(f"geomspace takes real numbers, got {start!r} and {stop!r}")
    if first == 0 or last == 0 or (first < 0) != (last < 0):
        raise ValueError(f"geomspace({start}, {stop}): both ends must be positive, or both negative")
    kind = np.result_type(first, last, np.float64)
    sign, n = -1 if first < 0 else 1, operator.index(num)
    low, high = np.log10(np.abs(first.astype(kind))), np.log10(np.abs(last.astype(kind)))
    made = sign * logspace(low, high, n, endpoint, chunks=chunks)
    at = arange(n, chunks=made.chunks) if n else arange(0)
    if n > 0:  # the ends are exact
        made = apply("where", at == 0, first.astype(kind)[()], made)
    if n > 1 and endpoint:
        made = apply("where", at == n - 1, last.astype(kind)[()], made)
    return astype(made, kind if dtype is None else np.dtype(dtype))
