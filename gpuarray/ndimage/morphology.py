"""Binary morphology: what a structuring element fits in, and what it reaches."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.creation import full_like
from gpuarray.elementwise import apply, cast
from gpuarray.ndimage.arguments import axes_of, image, output_dtype, sequence
from gpuarray.ndimage.around import MAX_TAPS, swept
from gpuarray.ndimage.order import covering, of_offsets
from gpuarray.ndimage.programs import folded_inside
from gpuarray.numeric import where

BOOL = np.dtype(bool)
BETWEEN_LOOKS = 16
"""Steps between two looks whether anything still changes."""


def generate_binary_structure(rank: int, connectivity: int) -> np.ndarray[Any, Any]:
    """The structuring element of a point's neighbours that are at most `connectivity` steps along axes away.

    >>> import gpuarray as ga
    >>> ga.ndimage.generate_binary_structure(2, 1).astype(int)
    array([[0, 1, 0],
           [1, 1, 1],
           [0, 1, 0]])

    A NumPy array of 3 elements along each of `rank` axes, as from `scipy.ndimage.generate_binary_structure`.
    """
    steps = np.abs(np.indices([3] * max(0, operator.index(rank))) - 1).sum(axis=0)
    return np.asarray(steps <= max(1, connectivity))


def iterate_structure(structure: Any, iterations: int, origin: Any = None) -> Any:
    """A structuring element dilated by itself so many times, less one.

    >>> import gpuarray as ga
    >>> ga.ndimage.iterate_structure([1, 1, 1], 2)
    array([ True,  True,  True,  True,  True])

    A NumPy array, and with `origin` the new origins, as from `scipy.ndimage.iterate_structure`.
    """
    given = np.asarray(structure)
    more = operator.index(iterations) - 1
    grown = given.astype(bool)
    if more > 0:
        width = [(more * (n // 2), more * (n - 1) - more * (n // 2)) for n in given.shape]
        grown = binary_dilation(np.pad(grown, width), given, more).compute()
    if origin is None:
        return grown
    return grown, [iterations * o for o in sequence(origin, given.ndim, "origin")]


def binary_erosion(
    input: Any,
    structure: Any = None,
    iterations: int = 1,
    mask: Any = None,
    output: Any = None,
    border_value: int = 0,
    origin: Any = 0,
    brute_force: bool = False,
    *,
    axes: Any = None,
) -> NDArray:
    """Where the structuring element, put on a point, covers nothing but non-zero elements.

    >>> import gpuarray as ga
    >>> ga.ndimage.binary_erosion([0, 1, 1, 1, 0]).compute()
    array([False, False,  True, False, False])

    Arguments as in `scipy.ndimage.binary_erosion`; `output` is a dtype, and `brute_force` makes no difference. Lazy,
    but for `iterations` below 1, which goes on until nothing changes and looks at results on the way. Raises
    ValueError for a structure or a mask of another shape.
    """
    return _eroded("minimum", input, structure, iterations, mask, output, border_value, origin, axes)


def binary_dilation(
    input: Any,
    structure: Any = None,
    iterations: int = 1,
    mask: Any = None,
    output: Any = None,
    border_value: int = 0,
    origin: Any = 0,
    brute_force: bool = False,
    *,
    axes: Any = None,
) -> NDArray:
    """Where the structuring element, put on a non-zero element, reaches.

    >>> import gpuarray as ga
    >>> ga.ndimage.binary_dilation([0, 0, 1, 0, 0]).compute()
    array([False,  True,  True,  True, False])

    Arguments as in `scipy.ndimage.binary_dilation`; else as `binary_erosion`.
    """
    rank = len(axes_of(axes, asarray(input).ndim))
    turned, origins = reflected(_structure(structure, rank), origin)
    return _eroded("maximum", input, turned, iterations, mask, output, border_value, origins, axes)


def binary_opening(
    input: Any,
    structure: Any = None,
    iterations: int = 1,
    output: Any = None,
    origin: Any = 0,
    mask: Any = None,
    border_value: int = 0,
    brute_force: bool = False,
    *,
    axes: Any = None,
) -> NDArray:
    """Erosion, then dilation: what the structuring element does not fit in goes away.

    >>> import gpuarray as ga
    >>> ga.ndimage.binary_opening([0, 1, 0, 1, 1, 1, 0]).compute()
    array([False, False, False,  True,  True,  True, False])

    Arguments as in `scipy.ndimage.binary_opening`; else as `binary_erosion`.
    """
    inner = binary_erosion(input, structure, iterations, mask, None, border_value, origin, axes=axes)
    return binary_dilation(inner, structure, iterations, mask, output, border_value, origin, axes=axes)


def binary_closing(
    input: Any,
    structure: Any = None,
    iterations: int = 1,
    output: Any = None,
    origin: Any = 0,
    mask: Any = None,
    border_value: int = 0,
    brute_force: bool = False,
    *,
    axes: Any = None,
) -> NDArray:
    """Dilation, then erosion: holes that the structuring element does not fit in are filled.

    >>> import gpuarray as ga
    >>> ga.ndimage.binary_closing([0, 1, 1, 0, 1, 1, 0]).compute()
    array([False,  True,  True,  True,  True,  True, False])

    Arguments as in `scipy.ndimage.binary_closing`; else as `binary_erosion`.
    """
    outer = binary_dilation(input, structure, iterations, mask, None, border_value, origin, axes=axes)
    return binary_erosion(outer, structure, iterations, mask, output, border_value, origin, axes=axes)


def binary_hit_or_miss(
    input: Any,
    structure1: Any = None,
    structure2: Any = None,
    output: Any = None,
    origin1: Any = 0,
    origin2: Any = None,
    *,
    axes: Any = None,
) -> NDArray:
    """Where one structuring element covers non-zero elements only and the other only zeros.

    >>> import gpuarray as ga
    >>> ga.ndimage.binary_hit_or_miss([0, 1, 1, 0, 1], structure1=[1, 1, 0]).compute()
    array([False, False,  True, False, False])

    Arguments as in `scipy.ndimage.binary_hit_or_miss`; else as `binary_erosion`.
    """
    x = image(input)
    dtype = output_dtype(output, BOOL)
    hit = _structure(structure1, len(axes_of(axes, x.ndim)))
    miss = ~hit if structure2 is None else _structure(structure2, hit.ndim)
    inside = _eroded("minimum", x, hit, 1, None, None, 0, origin1, axes)
    touched = _eroded("maximum", x, miss, 1, None, None, 0, origin1 if origin2 is None else origin2, axes)
    return NDArray(cast(apply("logical_and", inside, apply("logical_not", touched)).node, dtype))


def binary_propagation(
    input: Any,
    structure: Any = None,
    mask: Any = None,
    output: Any = None,
    border_value: int = 0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> NDArray:
    """Dilation inside a mask until nothing changes: the parts of the mask that the input touches.

    >>> import gpuarray as ga
    >>> ga.ndimage.binary_propagation([0, 1, 0, 0, 0], mask=[1, 1, 1, 0, 1]).compute()
    array([ True,  True,  True, False, False])

    Arguments as in `scipy.ndimage.binary_propagation`; else as `binary_erosion`, computed at once.
    """
    return binary_dilation(input, structure, -1, mask, output, border_value, origin, axes=axes)


def binary_fill_holes(
    input: Any, structure: Any = None, output: Any = None, origin: Any = 0, *, axes: Any = None
) -> NDArray:
    """The input with its holes filled: the zeros that the outside does not reach.

    >>> import gpuarray as ga
    >>> ga.ndimage.binary_fill_holes([0, 1, 0, 0, 1, 0]).compute()
    array([False,  True,  True,  True,  True, False])

    Arguments as in `scipy.ndimage.binary_fill_holes`; else as `binary_erosion`, computed at once.
    """
    x = image(input)
    dtype = output_dtype(output, BOOL)
    empty = apply("logical_not", x)
    outside = binary_dilation(full_like(empty, False), structure, -1, empty, None, 1, origin, axes=axes)
    return NDArray(cast(apply("logical_not", outside).node, dtype))


def reflected(structure: np.ndarray[Any, Any], origin: Any) -> tuple[np.ndarray[Any, Any], list[int]]:
    """A structuring element seen from the points that it covers, with its origins."""
    origins = sequence(origin, structure.ndim, "origin")
    turned = [-operator.index(o) - (n % 2 == 0) for o, n in zip(origins, structure.shape, strict=True)]
    return np.flip(structure), turned


def _structure(given: Any, rank: int) -> np.ndarray[Any, Any]:
    if given is None:
        return generate_binary_structure(rank, 1)
    structure = np.asarray(given).astype(bool)
    if structure.ndim != rank:
        raise ValueError(f"structure has {structure.ndim} dimensions, and {rank} axes are filtered")
    if not structure.size:
        raise ValueError(f"structure of shape {structure.shape} must not be empty")
    return structure


def _eroded(
    op: str, input: Any, structure: Any, iterations: Any, mask: Any, output: Any, border: Any, origin: Any, axes: Any
) -> NDArray:
    """Erosion ("minimum") by a structuring element, or what it does to zeros ("maximum")."""
    x = image(input)
    dtype = output_dtype(output, BOOL)
    shape = _structure(structure, len(axes_of(axes, x.ndim)))
    try:
        number = operator.index(iterations)
    except TypeError:
        raise TypeError(f"iterations={iterations!r} must be an integer") from None
    inside = None if mask is None else NDArray(cast(asarray(mask).node, BOOL))
    if inside is not None and inside.shape != x.shape:
        raise ValueError(f"mask of shape {inside.shape} must have the shape of the input, {x.shape}")
    state = NDArray(cast(x.node, BOOL))
    if not shape.any():  # it covers nothing, so all of that is not zero, and none of it is
        made = full_like(state, op == "minimum")
        return NDArray(cast((made if inside is None else where(inside, made, state)).node, dtype))
    offsets, modes = covering(x.ndim, shape, "constant", origin, axes)

    def steps(state: NDArray, n: int) -> NDArray:
        if inside is None:
            return of_offsets(op, state, offsets, modes, bool(border), BOOL, n)
        if len(offsets) < MAX_TAPS and state.size:
            program, here = folded_inside(op, len(offsets)), (0,) * state.ndim
            return swept(state, program, [*offsets, here], modes, bool(border), (), n, [inside])
        for _ in range(n):
            state = where(inside, of_offsets(op, state, offsets, modes, bool(border), BOOL), state)
        return state

    made = steps(state, number) if number >= 1 else _settled(state, steps)
    return NDArray(cast(made.node, dtype))


def _settled(state: NDArray, steps: Any) -> NDArray:
    """The state that steps change no more."""
    from gpuarray.reductions import any as some
    from gpuarray.several import persist

    changes = True
    while changes:
        before = steps(state, BETWEEN_LOOKS - 1)
        state, last = persist(steps(before, 1), before)
        changes = bool(some(state != last))
    return state


__all__ = [
    "binary_closing",
    "binary_dilation",
    "binary_erosion",
    "binary_fill_holes",
    "binary_hit_or_miss",
    "binary_opening",
    "binary_propagation",
    "generate_binary_structure",
    "iterate_structure",
]
