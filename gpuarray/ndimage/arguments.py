"""What the filters take, checked: modes, origins, sizes, axes, dtypes of the output."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import ordered_axes
from gpuarray.checks import check_dtype
from gpuarray.elementwise import cast
from gpuarray.errors import UnsupportedDTypeError
from gpuarray.kernels.stencils.program import Mode

MODES: dict[str, Mode] = {
    "reflect": "symmetric",
    "grid-mirror": "symmetric",
    "mirror": "reflect",
    "nearest": "nearest",
    "wrap": "periodic",
    "grid-wrap": "periodic",
    "constant": "constant",
    "grid-constant": "constant",
}
"""SciPy's names of what stands past the ends, and those of stencils."""


def image(input: Any, *, complex: bool = False) -> NDArray:
    """The array to filter."""
    x = asarray(input)
    if x.dtype.kind not in ("biufc" if complex else "biuf"):
        what = "numbers" if complex else "real numbers"
        raise UnsupportedDTypeError(f"this filter takes {what}, got dtype {x.dtype}; cast with astype first")
    return x


def output_dtype(output: Any, natural: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of the result: `output` if it is given, `natural` otherwise.

    Raises TypeError for an array, ValueError for a real dtype where the result is complex.
    """
    if output is None:
        return natural
    if isinstance(output, (np.ndarray, NDArray)):
        raise TypeError(
            "output= is a dtype here: arrays are lazy and never written to; use the result, or gpuarray.store"
        )
    dtype: np.dtype[Any] = np.dtype(output)
    check_dtype(dtype)
    if dtype.kind not in "biufc":
        raise UnsupportedDTypeError(f"output={dtype} is no dtype of numbers")
    if natural.kind == "c" and dtype.kind != "c":
        raise ValueError(f"output={dtype} cannot hold the result, which is complex; use {natural}")
    return dtype


def complex_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    made: np.dtype[Any] = np.promote_types(dtype, np.complex64)
    return made


def sequence(given: Any, length: int, name: str) -> list[Any]:
    """One entry for each axis that is filtered, of a sequence or of one for all."""
    if isinstance(given, str) or not isinstance(given, Iterable) or np.ndim(given) == 0:  # type: ignore[arg-type]
        return [given] * length
    entries = list(given)
    if len(entries) != length:
        raise ValueError(f"{name}={given!r} has {len(entries)} entries for {length} axes")
    return entries


def modes_of(mode: Any, axes: tuple[int, ...], ndim: int) -> list[Mode]:
    """What stands past the ends, by axis of the array; axes that are not filtered have none that matters."""
    found: list[Mode] = ["nearest"] * ndim
    for axis, entry in zip(axes, sequence(mode, len(axes), "mode"), strict=True):
        if not isinstance(entry, str) or entry not in MODES:
            raise ValueError(f"mode={entry!r} is unknown; there are {', '.join(map(repr, MODES))}")
        found[axis] = MODES[entry]
    return found


def axes_of(axes: Any, ndim: int) -> tuple[int, ...]:
    """The axes that are filtered, in the order given; None is all of them."""
    return ordered_axes(axes, ndim)


def ascending_axes(axes: Any, ndim: int) -> tuple[int, ...]:
    """The axes that weights or a footprint lie along.

    Raises ValueError for another order than the array's: SciPy takes the axes of weights in the array's order and the
    entries of `origin` in the order of `axes`, and nobody means that.
    """
    named = axes_of(axes, ndim)
    if list(named) != sorted(named):
        raise ValueError(f"axes={axes} must be in the order of the array's; transpose the weights, sizes and origins")
    return named


def size_of(size: Any) -> int:
    """How many elements a filter covers along an axis."""
    try:
        n = operator.index(size)
    except TypeError:
        raise TypeError(f"size={size!r} must be an integer, or one for each axis") from None
    if n < 1:
        raise ValueError(f"size={size!r} must be at least 1")
    return n


def start_of(size: int, origin: Any) -> int:
    """The offset of the first element that a filter of `size` elements covers.

    Raises ValueError for an origin that would take the filter away from its point.
    """
    try:
        shift = operator.index(origin)
    except TypeError:
        raise TypeError(f"origin={origin!r} must be an integer, or one for each axis") from None
    if not -(size // 2) <= shift <= (size - 1) // 2:
        raise ValueError(
            f"origin={shift} moves a filter of {size} elements off its point; it must be in "
            f"[{-(size // 2)}, {(size - 1) // 2}]"
        )
    return -(size // 2) - shift


def number(value: Any, name: str) -> Any:
    """A scalar: a Python number."""
    given = np.asarray(value)
    if given.ndim or given.dtype.kind not in "biufc":
        raise TypeError(f"{name}={value!r} must be a number")
    return given.item()


def constant(x: NDArray, modes: Iterable[Mode], cval: Any) -> tuple[NDArray, Any]:
    """The array and what stands past its ends, as a scalar of its dtype.

    Where the dtype cannot hold `cval` the array is converted to doubles, in which all filters but those by rank
    compute anyway.
    """
    value = number(cval, "cval")
    if isinstance(value, complex) and x.dtype.kind != "c":
        raise ValueError(f"cval={cval!r} is complex and the array real; cast the array with astype(complex) first")
    if "constant" not in modes:
        return x, x.dtype.type(0).item()
    with np.errstate(all="ignore"):
        held = np.asarray(value).astype(x.dtype).item()
    if held == value or (held != held and value != value):
        return x, held
    wide = np.dtype(np.complex128 if x.dtype.kind == "c" else np.float64)
    return NDArray(cast(x.node, wide)), wide.type(value).item()
