"""CuPy's functions with what NumPy has and CuPy lacks, or does in an order that differs from call to call.

The interpreter and the engine call it as they call NumPy. A sum of floating-point numbers has the same bits whatever
the layout, the number of rows or the GPU: CuPy's own reductions choose their order by all of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Ufunc:
    """A ufunc of CuPy's with `reduce` and `accumulate`, of which CuPy has few."""

    def __init__(self, namespace: Namespace, function: Any) -> None:
        self._namespace, self._function = namespace, function
        self.__name__: str = function.__name__

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._function(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)

    def reduce(self, array: Any, axis: int = 0) -> Any:
        """Fold an axis that is not empty: halves by halves."""
        return _halved(self._function, array, axis)

    def accumulate(self, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        """One element after the other, as NumPy does it: so the bits are NumPy's; a launch for each."""
        target = self._namespace.empty(array.shape, dtype=dtype or array.dtype) if out is None else out
        source, rows = self._namespace.moveaxis(array, axis, 0), self._namespace.moveaxis(target, axis, 0)
        if len(rows):
            rows[0] = source[0]
        for k in range(1, len(rows)):
            rows[k] = self._function(rows[k - 1], source[k].astype(target.dtype, copy=False))
        return target


def _halved(function: Callable[..., Any], array: Any, axis: int) -> Any:
    """Fold an axis: the second half onto the first, until one is left. The order depends on the length alone."""
    before = (slice(None),) * (axis % array.ndim)
    n = array.shape[axis]
    if n > 1:
        array = array.copy()
    while n > 1:
        half = (n + 1) // 2  # of an odd number, the one in the middle has no partner
        head = array[(*before, slice(0, n - half))]
        function(head, array[(*before, slice(half, n))], out=head)
        n = half
    return array[(*before, 0)]


class Namespace:
    """The module, and beside it what it lacks.

    Parameters
    ----------
    cupy : the module
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self.__name__ = "cupy"
        self._ufuncs = {
            name: Ufunc(self, getattr(cupy, name))
            for name in ("add", "multiply", "minimum", "maximum", "fmin", "fmax", "logical_and", "logical_or")
        }

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = self._ufuncs.get(name)
        return getattr(self._cupy, name) if found is None else found

    def sum(self, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """`cupy.sum`; along one axis in a fixed order."""
        return self._folded("add", "sum", 0, a, axis, dtype, out, keepdims)

    def prod(self, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """`cupy.prod`; along one axis in a fixed order."""
        return self._folded("multiply", "prod", 1, a, axis, dtype, out, keepdims)

    def _folded(
        self, ufunc: str, name: str, start: int, a: Any, axis: Any, dtype: Any, out: Any, keepdims: bool
    ) -> Any:
        if not isinstance(axis, int) or out is not None or keepdims or a.dtype.kind not in "fc":
            return getattr(self._cupy, name)(a, axis=axis, dtype=dtype, out=out, keepdims=keepdims)
        a = a.astype(dtype or a.dtype, copy=False)
        if a.shape[axis] == 0:
            shape = [n for k, n in enumerate(a.shape) if k != axis % a.ndim]
            return self._cupy.full(tuple(shape), start, dtype=a.dtype)
        return _halved(getattr(self._cupy, ufunc), a, axis)

    def spacing(self, x: Any) -> Any:
        """`numpy.spacing`: the distance to the next number away from zero."""
        xp, kind = self._cupy, x.dtype.type
        away = xp.nextafter(x, xp.copysign(kind(np.inf), x)) - x
        return xp.where(x == 0, np.finfo(x.dtype).smallest_subnormal, away).astype(x.dtype, copy=False)
