"""A function of the user's on every chunk with the elements around it."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.axes import normalize_axis
from gpuarray.blocks import common_cut, cut_of, found_dtype, given_chunks, inputs_of, takes_index
from gpuarray.checks import check_dtype
from gpuarray.errors import BlockFunctionError
from gpuarray.graph.grid import Chunks
from gpuarray.graph.overlap import Depths, Overlap
from gpuarray.manipulation import broadcast_shapes
from gpuarray.padding import pad

PADDING = {
    "constant": "constant",
    "periodic": "wrap",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "nearest": "edge",
}
"""What stands past the ends, in the words of stencils and in those of `gpuarray.pad`."""

TRIED = 2**20
"""Elements of the largest block that a function is tried on to find out its dtype."""

Boundary = tuple[str, Any] | None
"""A key of `PADDING` with the value of a constant; None: nothing stands past the ends."""


def map_overlap(
    function: Callable[..., Any],
    *arrays: Any,
    depth: Any,
    boundary: Any = "reflect",
    trim: bool = True,
    dtype: Any = None,
    chunks: Any = None,
    **kwargs: Any,
) -> NDArray:
    """Apply a function to every chunk with the elements around it.

    >>> import gpuarray as ga
    >>> x = ga.asarray([1, 2, 4, 7, 11, 16], chunks=3)
    >>> ga.map_overlap(lambda block: block[2:] - block[:-2], x, depth=1, trim=False).compute()
    array([0, 3, 5, 7, 9, 0])

    Parameters
    ----------
    function : called with a chunk of each array and the elements around it, and with the keyword `block_index`, a
        tuple, if it has a parameter of that name. It returns an array; what it gets is read-only.
    *arrays : arrays that broadcast; they are cut alike first. What is no array is passed on as it is.
    depth : how many elements around: an int, or for each axis an int or a pair (before, after), as a tuple or a dict
        by axis; a list has one of these for each array. It may exceed the length of a chunk.
    boundary : what stands past the ends of the array: "reflect" (c b a), "symmetric" (d c b), "nearest" (d d d),
        "periodic" (a b c past a b c d), a number, or None, for no margin there; or one of these for each axis, as
        for `depth`
    trim : what the function returns has the margins still, and they are cut off; False: it returns the chunk alone
    dtype : of what it returns; None: found out by calling it once with a chunk of one element
    chunks : with ``trim=False``, the shape of the chunks it returns, where it is not that of the array's
    **kwargs : passed on

    Margins are read by themselves: not the whole of the chunks next to one. Along axes that an array broadcasts there
    are none. What is returned is checked, as by `map_blocks`, which raises the same errors; ValueError also for
    negative depths and unknown boundaries.
    """
    inputs = inputs_of("map_overlap", function, arrays, kwargs)
    if trim and chunks is not None:
        raise ValueError("chunks= says what a function returns that cuts off the margins itself: pass trim=False")
    slots = tuple(SLOT if isinstance(a, (NDArray, np.ndarray)) else a for a in arrays)
    shape = broadcast_shapes(*(x.shape for x in inputs))
    around = [
        _without_broadcast(x, shape, depths_of(d, x.ndim), boundaries_of(b, x.ndim))
        for x, d, b in zip(inputs, _each(depth, inputs, "depth"), _each(boundary, inputs, "boundary"), strict=True)
    ]
    with_index = takes_index(function) and "block_index" not in kwargs
    if dtype is None:
        wide = iter([depths for depths, _ in around])
        probe = _Probe(function, tuple(next(wide) if a is SLOT else None for a in slots))
        dtype = found_dtype(probe, arrays, kwargs, with_index, len(shape))
    kind = np.dtype(dtype)
    check_dtype(kind)

    cut = common_cut(shape, [x.chunks for x in inputs])
    cut_as = tuple(cut_of(x.shape, cut) for x in inputs)
    padded = [_padded(x, depths, ends) for x, (depths, ends) in zip(inputs, around, strict=True)]
    first = max(range(len(inputs)), key=lambda k: (inputs[k].ndim, -k))
    trimmed = _expanded(around[first], len(shape), inputs[first].ndim) if trim else None
    call = Call(function, slots, kwargs, with_index, cut, trimmed)
    promised = cut if chunks is None else given_chunks(chunks, cut)
    depths = tuple(d for d, _ in around)
    before = tuple(tuple(0 if e is None else d[0] for d, e in zip(*pair, strict=True)) for pair in around)
    return NDArray(Overlap(call, kind, promised, cut_as, depths, before, *(p.node for p in padded)))


class Call:
    """The user's function as `Overlap` calls it: what is no array put in, the margins of the result cut off.

    Compared by identity.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        with_index: bool,
        cut: Chunks,
        trimmed: tuple[tuple[tuple[int, int], bool], ...] | None,
    ) -> None:
        """`arguments`: `SLOT` where a block goes. `cut`: the chunks. `trimmed`: the margins that are cut off the result
        by axis, and whether there are any past the ends of the array."""
        self.function, self.arguments, self.keywords = function, arguments, keywords
        self.with_index, self.cut, self.trimmed = with_index, cut, trimmed
        self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __call__(self, *blocks: Any, block_index: tuple[int, ...]) -> Any:
        given = iter(blocks)
        keywords = {**self.keywords, "block_index": block_index} if self.with_index else self.keywords
        made = self.function(*(next(given) if a is SLOT else a for a in self.arguments), **keywords)
        shape = getattr(made, "shape", None)
        if self.trimmed is None or shape is None:
            return made
        at, expected = [], []
        for k, lengths, ((lo, hi), ends) in zip(block_index, self.cut, self.trimmed, strict=True):
            start = lo if ends else min(lo, lengths.edge(k))
            at.append(slice(start, start + lengths[k]))
            expected.append(at[-1].stop + (hi if ends else min(hi, lengths.total - lengths.edge(k + 1))))
        if shape != tuple(expected):
            raise BlockFunctionError(
                f"map_overlap({self.__name__}) returned shape {tuple(shape)} for block {block_index}, which has shape "
                f"{tuple(expected)} with its margins; return that, or pass trim=False and return the block alone"
            )
        return made[tuple(at)]


class _Slot:
    """Where a block goes among the arguments."""

    def __reduce__(self) -> str:
        return "SLOT"


SLOT = _Slot()


class _Probe:
    """The function as it is tried: the margins are put around blocks of one element."""

    def __init__(self, function: Callable[..., Any], depths: tuple[Depths | None, ...]) -> None:
        self.function, self.depths = function, depths
        self.__name__ = getattr(function, "__name__", repr(function))

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        wide = (self._widened(a, d) if d else a for a, d in zip(arguments, self.depths, strict=True))
        return self.function(*wide, **keywords)

    @staticmethod
    def _widened(block: Any, depths: Depths) -> Any:
        size = math.prod(n + sum(d) for n, d in zip(block.shape, depths, strict=True))
        if size > TRIED:
            raise ValueError(f"a block of one element has {size:,} with its margins, too many to try")
        return np.pad(block, depths, constant_values=1)


# What users write.


def _each(given: Any, inputs: list[NDArray], name: str) -> list[Any]:
    """One entry for each array."""
    if not isinstance(given, list):
        return [given] * len(inputs)
    if len(given) != len(inputs):
        raise ValueError(
            f"{name}={given!r} is a list, which has an entry for each array: {len(inputs)} here; for the axes of one "
            "array write a tuple"
        )
    return given


def _by_axis(given: Any, ndim: int, default: Any, name: str) -> list[Any]:
    """One entry for each axis."""
    if isinstance(given, dict):
        found = [default] * ndim
        for axis, value in given.items():
            found[normalize_axis(axis, ndim)] = value
        return found
    if isinstance(given, tuple):
        if len(given) != ndim:
            raise ValueError(f"{name}={given!r} has {len(given)} entries for an array of {ndim} dimensions")
        return list(given)
    return [given] * ndim


def depths_of(depth: Any, ndim: int) -> Depths:
    """How many elements around, by axis.

    >>> depths_of({0: 2, -1: (0, 3)}, 3)
    ((2, 2), (0, 0), (0, 3))

    Raises ValueError for negative ones, TypeError for what is no integer.
    """
    made = []
    for entry in _by_axis(depth, ndim, 0, "depth"):
        try:
            before, after = entry if isinstance(entry, tuple) else (entry, entry)
            pair = operator.index(before), operator.index(after)
        except (TypeError, ValueError):
            raise TypeError(
                f"depth={depth!r}: along an axis it is an int, or a pair of them, (before, after); {entry!r} is neither"
            ) from None
        if min(pair) < 0:
            raise ValueError(f"depth={depth!r} must not be negative")
        made.append(pair)
    return tuple(made)


def boundaries_of(boundary: Any, ndim: int) -> tuple[Boundary, ...]:
    """What stands past the ends, by axis."""
    made: list[Boundary] = []
    for entry in _by_axis(boundary, ndim, None, "boundary"):
        if entry is None:
            made.append(None)
        elif isinstance(entry, (numbers.Number, np.number, np.bool_)):
            made.append(("constant", entry))
        elif isinstance(entry, str) and entry in PADDING:
            made.append((entry, 0))
        else:
            raise ValueError(
                f"boundary={boundary!r} is unknown; past the ends stands one of {', '.join(map(repr, PADDING))}, a "
                "number, or None"
            )
    return tuple(made)


Around = tuple[Depths, tuple[Boundary, ...]]


def _without_broadcast(x: NDArray, shape: tuple[int, ...], depths: Depths, ends: tuple[Boundary, ...]) -> Around:
    """No margins along axes that are broadcast or have nothing to repeat."""
    full = shape[len(shape) - x.ndim :]
    kept = [n == m and n > 0 for n, m in zip(x.shape, full, strict=True)]
    none = (0, 0)
    return (
        tuple(d if k else none for d, k in zip(depths, kept, strict=True)),
        tuple(e if k else None for e, k in zip(ends, kept, strict=True)),
    )


def _padded(x: NDArray, depths: Depths, ends: tuple[Boundary, ...]) -> NDArray:
    for axis, (width, end) in enumerate(zip(depths, ends, strict=True)):
        if end is not None and any(width):
            mode, value = end
            if mode == "constant":
                _check_value(value, x.dtype)
            x = pad(x, {axis: width}, PADDING[mode], **({"constant_values": value} if mode == "constant" else {}))
    return x


def _check_value(value: Any, dtype: np.dtype[Any]) -> None:
    """Refuse a constant that an array cannot hold."""
    fits = np.can_cast(np.min_scalar_type(value), dtype, "same_kind")
    if fits and dtype.kind in "iu":
        fits = np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
    if not fits:
        raise ValueError(f"boundary={value!r} cannot stand around an array of dtype {dtype}; cast the array first")


def _expanded(around: Around, ndim: int, own: int) -> tuple[tuple[tuple[int, int], bool], ...]:
    """What is cut off by axis of the result, and whether at the ends of the array too."""
    none = ((0, 0), True)
    return (none,) * (ndim - own) + tuple((d, e is not None) for d, e in zip(*around, strict=True))


__all__ = ["PADDING", "boundaries_of", "depths_of", "map_overlap"]
