"""Grey-value morphology: the smallest and the largest around a point, and what is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.elementwise import cast
from gpuarray.ndimage.arguments import axes_of, constant, image, output_dtype, sequence, size_of
from gpuarray.ndimage.around import MAX_TAPS, swept, unfiltered
from gpuarray.ndimage.morphology import reflected
from gpuarray.ndimage.order import covering, extremum
from gpuarray.ndimage.programs import raised


def grey_erosion(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: float = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """Smallest of the elements that a box, a footprint or a structuring element covers, less its heights.

    >>> import gpuarray as ga
    >>> ga.ndimage.grey_erosion([3, 5, 4, 8, 7], size=3).compute()
    array([3, 3, 4, 4, 7])

    Arguments as in `scipy.ndimage.grey_erosion`; `output` is a dtype. Heights (`structure`) are taken off in double
    precision. Raises ValueError where none of `size`, `footprint` and `structure` is given, or shapes do not agree.
    """
    return _extremum("minimum", input, size, footprint, structure, output, mode, cval, origin, axes)


def grey_dilation(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: float = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """Largest of the elements from which a box, a footprint or a structuring element reaches a point, plus its heights.

    >>> import gpuarray as ga
    >>> ga.ndimage.grey_dilation([3, 5, 4, 8, 7], size=3).compute()
    array([5, 5, 8, 8, 8])

    Arguments as in `scipy.ndimage.grey_dilation`; else as `grey_erosion`.
    """
    _asked(size, footprint, structure)
    rank = len(axes_of(axes, image(input).ndim))
    shape = next((np.asarray(a) for a in (footprint, structure) if a is not None), None)
    if shape is None:
        shape = np.broadcast_to(True, [size_of(n) for n in sequence(size, rank, "size")])
    if shape.ndim != rank:
        raise ValueError(f"a footprint or structure of {shape.ndim} dimensions cannot cover {rank} axes")
    origins = reflected(shape, origin)[1]
    turned, heights = (None if a is None else np.flip(np.asarray(a)) for a in (footprint, structure))
    return _extremum("maximum", input, size, turned, heights, output, mode, cval, origins, axes)


def grey_opening(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: float = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """Erosion, then dilation: peaks that the structuring element does not fit under are cut off.

    >>> import gpuarray as ga
    >>> ga.ndimage.grey_opening([1, 9, 1, 5, 5, 5, 1], size=3).compute()
    array([1, 1, 1, 5, 5, 5, 1])

    Arguments as in `scipy.ndimage.grey_opening`; else as `grey_erosion`.
    """
    low = grey_erosion(input, size, footprint, structure, None, mode, cval, origin, axes=axes)
    return grey_dilation(low, size, footprint, structure, output, mode, cval, origin, axes=axes)


def grey_closing(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: float = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """Dilation, then erosion: pits that the structuring element does not fit in are filled.

    >>> import gpuarray as ga
    >>> ga.ndimage.grey_closing([9, 1, 9, 5, 5, 5, 9], size=3).compute()
    array([9, 9, 9, 5, 5, 5, 9])

    Arguments as in `scipy.ndimage.grey_closing`; else as `grey_erosion`.
    """
    high = grey_dilation(input, size, footprint, structure, None, mode, cval, origin, axes=axes)
    return grey_erosion(high, size, footprint, structure, output, mode, cval, origin, axes=axes)


def white_tophat(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: float = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """The input less its opening: its peaks.

    >>> import gpuarray as ga
    >>> ga.ndimage.white_tophat([1, 9, 1, 5, 5, 5, 1], size=3).compute()
    array([0, 8, 0, 0, 0, 0, 0])

    Arguments as in `scipy.ndimage.white_tophat`; else as `grey_erosion`.
    """
    x = image(input)
    opened = grey_opening(x, size, footprint, structure, output, mode, cval, origin, axes=axes)
    return _difference(x, opened, opened.dtype)


def black_tophat(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: float = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """The closing of the input less the input: its pits.

    >>> import gpuarray as ga
    >>> ga.ndimage.black_tophat([9, 1, 9, 5, 5, 5, 9], size=3).compute()
    array([0, 8, 0, 0, 0, 0, 0])

    Arguments as in `scipy.ndimage.black_tophat`; else as `grey_erosion`.
    """
    x = image(input)
    closed = grey_closing(x, size, footprint, structure, output, mode, cval, origin, axes=axes)
    return _difference(closed, x, closed.dtype)


def morphological_gradient(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: float = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """Dilation less erosion: how much values differ around a point.

    >>> import gpuarray as ga
    >>> ga.ndimage.morphological_gradient([1, 1, 1, 7, 7], size=3).compute()
    array([0, 0, 6, 6, 0])

    Arguments as in `scipy.ndimage.morphological_gradient`; else as `grey_erosion`.
    """
    x = image(input)
    high, low = (f(x, size, footprint, structure, None, mode, cval, origin, axes=axes) for f in BOTH)
    return _difference(high, low, output_dtype(output, x.dtype))


def morphological_laplace(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: float = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """Dilation plus erosion, less twice the input.

    >>> import gpuarray as ga
    >>> ga.ndimage.morphological_laplace([1, 1, 1, 7, 7], size=3).compute()
    array([ 0,  0,  6, -6,  0])

    Arguments as in `scipy.ndimage.morphological_laplace`; else as `grey_erosion`.
    """
    x = image(input)
    high, low = (f(x, size, footprint, structure, None, mode, cval, origin, axes=axes) for f in BOTH)
    dtype = output_dtype(output, x.dtype)
    if dtype.kind == "b":
        raise TypeError("booleans have no differences; cast with astype first")
    total = cast((high + low).node, dtype)
    return NDArray(cast((NDArray(cast((NDArray(total) - x).node, dtype)) - x).node, dtype))


BOTH = (grey_dilation, grey_erosion)


def _asked(size: Any, footprint: Any, structure: Any) -> None:
    if size is None and footprint is None and structure is None:
        raise ValueError("this filter needs size=, the lengths of a box, footprint=, booleans, or structure=, heights")


def _difference(high: NDArray, low: NDArray, dtype: np.dtype[Any]) -> NDArray:
    """What is left of `high` without `low`, in a dtype."""
    both = high ^ low if high.dtype == low.dtype == bool else high - low
    return NDArray(cast(both.node, dtype))


def _extremum(
    op: str,
    input: Any,
    size: Any,
    footprint: Any,
    structure: Any,
    output: Any,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
) -> NDArray:
    _asked(size, footprint, structure)
    if structure is None:
        return extremum(op, input, size, footprint, output, mode, cval, origin, axes)
    x = image(input)
    dtype = output_dtype(output, x.dtype)
    heights = np.asarray(structure, dtype=np.float64)
    covered = np.ones(heights.shape, bool) if footprint is None else np.asarray(footprint, dtype=bool)
    if covered.shape != heights.shape:
        raise ValueError(f"footprint of shape {covered.shape} must have the shape of the structure, {heights.shape}")
    if covered.sum() > MAX_TAPS:
        raise ValueError(f"a structure with heights may cover {MAX_TAPS} elements, not {covered.sum()}")
    offsets, modes = covering(x.ndim, covered, mode, origin, axes)
    x, value = constant(x, modes, cval)
    if not x.size:
        return unfiltered(x, dtype)
    return swept(x, raised(x.dtype, op, len(offsets), dtype), offsets, modes, value, heights[covered].tolist())


__all__ = [
    "black_tophat",
    "grey_closing",
    "grey_dilation",
    "grey_erosion",
    "grey_opening",
    "morphological_gradient",
    "morphological_laplace",
    "white_tophat",
]
