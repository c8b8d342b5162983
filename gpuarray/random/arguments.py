"""The arguments of random distributions, checked as NumPy checks its own; arrays that are lazy are believed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray.array import NDArray, as_node, asarray
from gpuarray.axes import as_shape
from gpuarray.elementwise import apply, cast
from gpuarray.graph.node import Node
from gpuarray.manipulation import broadcast_shapes

UINT64 = np.dtype(np.uint64)
INT64 = np.dtype(np.int64)


def asked_shape(size: Any, out: Any) -> tuple[int, ...]:
    """The shape of what a distribution without other parameters makes."""
    if size is None:
        return out.shape if isinstance(out, NDArray) else ()
    return as_shape(size)


def float_dtype(dtype: Any, name: str) -> np.dtype[Any]:
    kind: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    if kind not in (np.dtype(np.float64), np.dtype(np.float32)):
        raise TypeError(f"dtype {kind} is not supported for {name}; use float64 or float32")
    return kind


def result_shape(size: Any, *parameters: Any) -> tuple[int, ...]:
    """The shape asked for, which the parameters must broadcast to, or the one they broadcast to."""
    common = broadcast_shapes(*(getattr(p, "shape", None) or np.shape(p) for p in parameters))
    if size is None:
        return common
    shape = as_shape(size)
    if broadcast_shapes(common, shape) != shape:
        raise ValueError(f"size={shape} does not fit parameters that broadcast to shape {common}")
    return shape


def known(value: Any) -> bool:
    """Whether a parameter's values are there to be checked."""
    return not isinstance(value, NDArray)


def not_negative(name: str, value: Any) -> None:
    if known(value) and (np.signbit(np.asarray(value, float))).any():
        raise ValueError(f"{name}={value} must not be negative")


def integer_range(low: Any, high: Any, dtype: np.dtype[Any], endpoint: bool) -> tuple[Node, Node]:
    """The first integer and how many there are, as int64 and uint64; 0 stands for 2**64."""
    least, most = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    if known(low) and known(high):
        first = np.asarray(exact(low, "low"), object)
        last = np.asarray(exact(high, "high"), object) - (0 if endpoint else 1)
        if np.any(first > last):
            raise ValueError(f"low={low} must be {'at most' if endpoint else 'below'} high={high}")
        if np.any(first < least):
            raise ValueError(f"low={low} is out of bounds for {dtype}, whose least value is {least}")
        if np.any(last > most):
            raise ValueError(f"high={high} is out of bounds for {dtype}, whose largest value is {most}")
        wrapped = np.asarray(first % 2**64, object).astype(np.uint64).view(np.int64)
        return as_node(wrapped), as_node(np.asarray((last - first + 1) % 2**64, object).astype(np.uint64))
    start, stop = asarray(low), asarray(high)
    for name, x in (("low", start), ("high", stop)):
        if x.dtype.kind not in "biu":
            raise TypeError(f"{name} must be integers, got dtype {x.dtype}")
    begin, end = NDArray(cast(start.node, INT64)), NDArray(cast(stop.node, INT64))
    span = apply("subtract", end, begin)
    return begin.node, cast((apply("add", span, 1) if endpoint else span).node, UINT64)


def exact(value: Any, name: str) -> Any:
    """Integers as Python integers, which do not wrap around."""
    array = np.asarray(value)
    if array.dtype.kind == "O" and all(isinstance(v, int) for v in array.flat):
        return array
    if array.dtype.kind == "f" and not (array % 1 == 0).all():
        raise TypeError(f"{name}={value} must be integers")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}={value!r} must be integers, got dtype {array.dtype}")
    return np.vectorize(int, otypes=[object])(array) if array.size else array.astype(object)


def cumulative(p: Any, n: int) -> np.ndarray[Any, Any]:
    """The distribution function of a choice."""
    chances = np.asarray(p, float)
    if chances.shape != (n,):
        raise ValueError(f"p of shape {chances.shape} must have one probability for each of {n} elements")
    if not (chances >= 0).all() or abs(math.fsum(chances) - 1) > 1e-8:
        raise ValueError(f"probabilities must not be negative and must add up to 1, got p={p}")
    edges: np.ndarray[Any, Any] = np.cumsum(chances)
    edges /= edges[-1]
    return edges


def bounded(name: str, value: Any, fits: Callable[[Any], Any], rule: str) -> None:
    """Refuse parameters that break a rule; of several together `value` is a tuple."""
    parts = value if isinstance(value, tuple) and "," in name else (value,)
    if not all(map(known, parts)):
        return
    arrays = [np.asarray(p, float) for p in parts]
    if not np.all(fits(arrays if len(arrays) > 1 else arrays[0])):
        raise ValueError(f"{name}={value} must be {rule}")


def positive(name: str, value: Any) -> None:
    bounded(name, value, lambda v: v > 0, "positive")


def share(name: str, value: Any) -> None:
    bounded(name, value, lambda v: (v >= 0) & (v <= 1), "between 0 and 1")
