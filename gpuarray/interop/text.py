"""How arrays print: small ones as NumPy's, the others as what is known without computing.

Small is what NumPy would print in full and what costs next to nothing: a graph that is worked out directly
(`gpuarray.plan.direct`), which reads no file and runs no function of the user's. A `repr` is asked for by debuggers and
test reports too, so it never raises and never starts a run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.array import NDArray, install


def values(x: NDArray) -> np.ndarray[Any, Any] | None:
    """The elements where showing them costs next to nothing, else None."""
    if x._value is not None:
        return x._value.reshape(x.shape)
    if x.size > np.get_printoptions()["threshold"]:
        return None
    from gpuarray.kernels import backends
    from gpuarray.plan import direct

    try:
        order = direct.order_if_small([x.node], 4 * direct.SMALL)
        return None if order is None else direct.compute(order, [x.node], backends.get("numpy"))[0]
    except Exception:  # what cannot be computed is shown as what it would be; `compute` says what is wrong
        return None


def described(x: NDArray) -> str:
    """Shape, dtype and chunks.

    >>> import gpuarray as ga
    >>> described(ga.ones((4, 6), chunks=(2, 6)))
    'gpuarray.NDArray(shape=(4, 6), dtype=float64, chunks=((2, 2), (6,)))'
    """
    chunks = ", ".join(map(repr, x.chunks)) + ("," if x.ndim == 1 else "")
    return f"gpuarray.NDArray(shape={x.shape}, dtype={x.dtype}, chunks=({chunks}))"


def _repr(self: NDArray) -> str:
    known = values(self)
    return described(self) if known is None else np.array_repr(known)


def _str(self: NDArray) -> str:
    known = values(self)
    return described(self) if known is None else np.array_str(known)


def _format(self: NDArray, spec: str) -> str:
    """``f"{x:.3f}"``: of an array without dimensions the number, which is computed for it."""
    if not spec:
        return str(self)
    if self.ndim:
        raise TypeError(
            f"the format {spec!r} is one for numbers, and this array has shape {self.shape}; format its elements, or "
            "set gpuarray.set_printoptions"
        )
    return format(self.item(), spec)


def array_repr(
    arr: Any, max_line_width: int | None = None, precision: int | None = None, suppress_small: bool | None = None
) -> str:
    """The text of an array as code, computed for it whatever its size.

    >>> import gpuarray as ga
    >>> ga.array_repr(ga.arange(3))
    'array([0, 1, 2])'

    Arguments as in `numpy.array_repr`. Raises ImplicitComputeError for arrays above the setting's size.
    """
    return np.array_repr(np.asarray(arr), max_line_width, precision, suppress_small)


def array_str(
    a: Any, max_line_width: int | None = None, precision: int | None = None, suppress_small: bool | None = None
) -> str:
    """The text of an array's elements, computed for it whatever its size.

    >>> import gpuarray as ga
    >>> ga.array_str(ga.arange(3) / 2)
    '[0.  0.5 1. ]'

    Arguments as in `numpy.array_str`. Raises ImplicitComputeError for arrays above the setting's size.
    """
    return np.array_str(np.asarray(a), max_line_width, precision, suppress_small)


def array2string(a: Any, *args: Any, **kwargs: Any) -> str:
    """The text of an array's elements, with NumPy's choices of how they look.

    >>> import gpuarray as ga
    >>> ga.array2string(ga.arange(3), separator=", ")
    '[0, 1, 2]'

    Arguments as in `numpy.array2string`. Raises ImplicitComputeError for arrays above the setting's size.
    """
    return np.array2string(np.asarray(a), *args, **kwargs)


def _contains(self: NDArray, value: Any) -> bool:
    """``value in x``: whether any element equals it, in one run."""
    return bool((self == value).any())


def _round(self: NDArray, ndigits: int | None = None) -> Any:
    """``round(x, 2)``; without `ndigits` an integer where there are no dimensions, as for Python's numbers."""
    if ndigits is None and not self.ndim:
        return round(self.item())
    return self.round(0 if ndigits is None else ndigits)


install("__repr__", _repr)
install("__str__", _str)
install("__format__", _format)
install("__contains__", _contains)
install("__round__", _round)
