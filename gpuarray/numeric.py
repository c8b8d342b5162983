"""Elementwise functions whose arguments are not just the operands: rounding, clipping, choosing, comparing."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from gpuarray.array import NDArray, as_node, asarray, install
from gpuarray.axes import normalize_axis, sliced
from gpuarray.elementwise import apply, into
from gpuarray.joining import concatenate
from gpuarray.manipulation import broadcast_to


def round(a: Any, /, decimals: int = 0, out: Any = None) -> NDArray:
    """Elements rounded to a number of decimals, halves to even.

    >>> import gpuarray as ga
    >>> ga.round(ga.asarray([0.15, 2.5, 3.49]), 1).compute()
    array([0.2, 2.5, 3.5])

    Arguments as in `numpy.round`.
    """
    return into(out, apply("round", a, np.int64(operator.index(decimals))))


around = round


def clip(
    a: Any,
    /,
    min: Any = None,
    max: Any = None,
    out: Any = None,
    *,
    a_min: Any = None,
    a_max: Any = None,
    where: Any = True,
    dtype: Any = None,
    casting: Any = "same_kind",
) -> NDArray:
    """Elements held between a lower and an upper bound; None means no bound.

    >>> import gpuarray as ga
    >>> ga.clip(ga.arange(6), 1, 4).compute()
    array([1, 1, 2, 3, 4, 4])

    Arguments as in `numpy.clip`; `a_min` and `a_max` are other names of the bounds. Raises OverflowError for a Python
    integer that the array's dtype cannot hold, ValueError for a bound given twice.
    """
    if (a_min is not None and min is not None) or (a_max is not None and max is not None):
        raise ValueError("a_min and min, and a_max and max, are two names of one bound; pass one")
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    if low is None and high is None:
        made = NDArray(as_node(a))
    elif low is None or high is None:
        made = apply("minimum" if low is None else "maximum", a, high if low is None else low)
    else:
        made = apply("clip", a, low, high)
    return into(out, made if dtype is None else apply("positive", made, dtype=dtype, casting=casting), casting, where)


def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    """Elements of `x` where a condition is true, of `y` elsewhere; without `x` and `y`: `nonzero`.

    >>> import gpuarray as ga
    >>> x = ga.arange(5)
    >>> ga.where(x > 2, x, -1).compute()
    array([-1, -1, -1,  3,  4])

    Arguments as in `numpy.where`. Raises ValueError for one of `x` and `y` without the other, and for shapes that do
    not broadcast.
    """
    if x is None and y is None:
        from gpuarray.gathering import nonzero

        return nonzero(condition)
    if x is None or y is None:
        raise ValueError("where takes a condition, or a condition and both x and y")
    return apply("where", asarray(condition), x, y)


def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> NDArray:
    """NaN and the infinities replaced by numbers: 0, and the largest and smallest of the dtype.

    >>> import gpuarray as ga
    >>> ga.nan_to_num(ga.asarray([1.0, float("nan")]), nan=-1).compute()
    array([ 1., -1.])

    Arguments as in `numpy.nan_to_num`; arrays are never changed in place, whatever `copy` says.
    """
    array = asarray(x)
    if array.dtype.kind not in "fc":
        return NDArray(array.node)
    limits = np.finfo(array.dtype)
    low = float(limits.min) if neginf is None else neginf
    high = float(limits.max) if posinf is None else posinf
    return apply("nan_to_num", array, float(nan), float(high), float(low))


def angle(z: Any, deg: bool = False) -> NDArray:
    """Argument of complex numbers, in radians or degrees.

    >>> import gpuarray as ga
    >>> ga.angle([1.0, 1j], deg=True).compute()
    array([ 0., 90.])

    Arguments as in `numpy.angle`.
    """
    made = apply("angle", z)
    return apply("multiply", made, 180 / math.pi) if deg else made


def divmod(
    x1: Any, x2: Any, /, out: Any = (None, None), *, where: Any = True, casting: str = "same_kind", dtype: Any = None
) -> tuple[NDArray, NDArray]:
    """Quotient and remainder: ``(x1 // x2, x1 % x2)``.

    >>> import gpuarray as ga
    >>> [part.compute().tolist() for part in ga.divmod([7, -7], 2)]
    [[3, -4], [1, 1]]

    Arguments as in `numpy.divmod`. Raises as `floor_divide`, ValueError for an `out` of another length.
    """
    ops = ("floor_divide", "remainder")
    made = [apply(op, x1, x2, dtype=dtype, casting=casting) for op in ops]
    first, second = (into(o, m, casting, where) for o, m in zip(out, made, strict=True))
    return first, second


def modf(
    x: Any, /, out: Any = (None, None), *, where: Any = True, casting: str = "same_kind", dtype: Any = None
) -> tuple[NDArray, NDArray]:
    """Fraction and whole part, both with the sign of `x`.

    >>> import gpuarray as ga
    >>> [part.compute().tolist() for part in ga.modf([1.5, -2.25])]
    [[0.5, -0.25], [1.0, -2.0]]

    Raises TypeError for complex numbers.
    """
    array = asarray(x)
    if array.dtype.kind not in "fc":
        array = apply("positive", array, dtype=np.modf.resolve_dtypes((array.dtype, None, None))[1])
    if dtype is not None:
        array = apply("positive", array, dtype=dtype, casting=casting)
    whole = apply("trunc", array)
    fraction = apply("where", apply("isinf", array), array.dtype.type(0), apply("subtract", array, whole))
    made = (apply("copysign", fraction, array), whole)
    first, second = (into(o, m, casting, where) for o, m in zip(out, made, strict=True))
    return first, second


def isclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> NDArray:
    """Whether elements are equal within ``atol + rtol * abs(b)``.

    >>> import gpuarray as ga
    >>> ga.isclose([1.0, 2.0], [1.0 + 1e-9, 2.1]).compute()
    array([ True, False])

    Arguments as in `numpy.isclose`.
    """
    x, y = asarray(a), asarray(b)
    if y.dtype.kind in "biu":  # the magnitude of the smallest integer is no integer of its dtype
        y = apply("multiply", y, 1.0)
    near = apply("less_equal", apply("absolute", x - y), atol + rtol * apply("absolute", y))
    made = (near & apply("isfinite", y)) | (x == y)
    return made | (apply("isnan", x) & apply("isnan", y)) if equal_nan else made


def allclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> NDArray:
    """Whether all elements are equal within a tolerance: an array without dimensions, which ``if`` computes.

    >>> import gpuarray as ga
    >>> bool(ga.allclose([1.0, 2.0], [1.0, 2.0 + 1e-9]))
    True

    Arguments as in `numpy.allclose`.
    """
    from gpuarray.reductions import all

    return all(isclose(a, b, rtol, atol, equal_nan))


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> NDArray:
    """Whether two arrays have the same shape and elements: an array without dimensions, which ``if`` computes.

    >>> import gpuarray as ga
    >>> bool(ga.array_equal([1, 2], ga.arange(1, 3)))
    True

    Arguments as in `numpy.array_equal`.
    """
    from gpuarray.reductions import all

    x, y = asarray(a1), asarray(a2)
    if x.shape != y.shape:
        return asarray(False)
    same = x == y
    return all(same | (apply("isnan", x) & apply("isnan", y)) if equal_nan else same)


def isreal(x: Any) -> NDArray:
    """Whether elements have no imaginary part.

    >>> import gpuarray as ga
    >>> ga.isreal([1.0, 1j]).compute()
    array([ True, False])
    """
    return apply("equal", apply("imag", x), 0)


def iscomplex(x: Any) -> NDArray:
    """Whether elements have an imaginary part.

    >>> import gpuarray as ga
    >>> ga.iscomplex([1.0, 1j]).compute()
    array([False,  True])
    """
    return apply("not_equal", apply("imag", x), 0)


def iscomplexobj(x: Any) -> bool:
    """Whether the dtype is complex.

    >>> import gpuarray as ga
    >>> ga.iscomplexobj(ga.asarray([1 + 0j]))
    True
    """
    return asarray(x).dtype.kind == "c"


def isrealobj(x: Any) -> bool:
    """Whether the dtype is not complex.

    >>> import gpuarray as ga
    >>> ga.isrealobj(ga.asarray([1.0]))
    True
    """
    return not iscomplexobj(x)


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> NDArray:
    """Differences of neighbours along an axis, taken `n` times.

    >>> import gpuarray as ga
    >>> ga.diff([1, 4, 9]).compute()
    array([3, 5])

    Arguments as in `numpy.diff`. Raises ValueError for a negative `n` or an array without dimensions, AxisError out
    of range.
    """
    x = asarray(a)
    if operator.index(n) < 0:
        raise ValueError(f"order n={n} must not be negative")
    if not x.ndim:
        raise ValueError("diff takes an array of at least one dimension")
    if n == 0:
        return NDArray(x.node)
    at = normalize_axis(axis, x.ndim)
    one = (*x.shape[:at], 1, *x.shape[at + 1 :])
    ends = [e if e is None or np.ndim(e) else broadcast_to(e, one) for e in (prepend, append)]
    if any(e is not None for e in ends):
        x = concatenate([e for e in (ends[0], x, ends[1]) if e is not None], axis=at)
    op = "not_equal" if x.dtype == bool else "subtract"
    for _ in range(n):
        length = x.shape[at]
        later, earlier = range(min(1, length), length), range(max(0, length - 1))
        x = apply(op, NDArray(sliced(x.node, at, later)), NDArray(sliced(x.node, at, earlier)))
    return x


def _method_clip(self: NDArray, min: Any = None, max: Any = None, out: Any = None) -> NDArray:
    """Elements held between bounds; see `gpuarray.clip`."""
    return clip(self, min, max, out)


def _conjugate(self: NDArray) -> NDArray:
    """The complex conjugate."""
    return apply("conjugate", self)


def _real(self: NDArray) -> NDArray:
    """The real part."""
    return apply("real", self)


def _imag(self: NDArray) -> NDArray:
    """The imaginary part."""
    return apply("imag", self)


install("round", round)
install("clip", _method_clip)
install("conj", _conjugate)
install("conjugate", _conjugate)
install("real", property(_real))
install("imag", property(_imag))
