"""A function of the user's on every chunk."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from itertools import zip_longest
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import ordered_axes, permuted, with_new_axes, without_axes
from gpuarray.checks import check_dtype
from gpuarray.errors import BlockFunctionError, ChunkError
from gpuarray.graph.blocks import MapBlocks
from gpuarray.graph.grid import MANY, Chunks, Lengths
from gpuarray.graph.node import Node
from gpuarray.manipulation import broadcast_shapes


class Call:
    """The user's function as `MapBlocks` calls it: on blocks with the grid's axes, returning a block with them.

    The grid has the axes that are dropped in front, then those of the result. Compared by identity.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        dropped: tuple[int, ...],
        new: tuple[int, ...],
    ) -> None:
        """`arguments`: a `Block` where a block goes, all else as it is."""
        self.function, self.arguments, self.keywords = function, arguments, keywords
        self.dropped, self.new = dropped, new
        self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __call__(self, *blocks: Any, block_index: tuple[int, ...] | None = None) -> Any:
        given = iter(blocks)
        arguments = [
            a.restored(next(given), self.new, self.dropped) if isinstance(a, Block) else a for a in self.arguments
        ]
        keywords = self.keywords
        if block_index is not None:
            keywords = {**keywords, "block_index": block_index[len(self.dropped) :]}
        made = self.function(*arguments, **keywords)
        if not self.dropped or not hasattr(made, "reshape"):
            return made
        return made.reshape((1,) * len(self.dropped) + made.shape)


class Block:
    """Where a block goes among the arguments, and how many leading axes it was given to fit the others."""

    def __init__(self, extra: int) -> None:
        self.extra = extra

    def restored(self, block: Any, new: tuple[int, ...], dropped: tuple[int, ...]) -> Any:
        """The block with the axes that the user's array has."""
        if not new and not dropped:
            return block
        d = len(dropped)
        block = block.reshape(tuple(n for a, n in enumerate(block.shape) if a - d not in new))
        order = (*dropped, *(a for a in range(block.ndim) if a not in dropped))
        block = block.transpose(tuple(order.index(a) for a in range(block.ndim)))
        return block.reshape(block.shape[self.extra :])


def inputs_of(
    caller: str, function: Callable[..., Any], arrays: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[NDArray]:
    """The arrays among the arguments. Raises TypeError for what is no function, and for lazy arrays by keyword."""
    if not callable(function):
        raise TypeError(f"{caller} takes a function first, got {type(function).__name__}")
    for name, value in kwargs.items():
        if isinstance(value, NDArray):
            raise TypeError(
                f"{name}= is a lazy array; pass it by position to get its blocks, or {name}.compute() whole"
            )
    inputs = [asarray(a) for a in arrays if isinstance(a, (NDArray, np.ndarray))]
    if not inputs:
        raise TypeError(f"{caller} needs at least one array")
    return inputs


def map_blocks(
    function: Callable[..., Any],
    *arrays: Any,
    dtype: Any = None,
    chunks: Any = None,
    drop_axis: Any = None,
    new_axis: Any = None,
    **kwargs: Any,
) -> NDArray:
    """Apply a function to every chunk.

    >>> import gpuarray as ga
    >>> x = ga.arange(6, chunks=3)
    >>> ga.map_blocks(lambda block: block - block[0], x).compute()
    array([0, 1, 2, 0, 1, 2])

    Parameters
    ----------
    function : called with a whole chunk of each array, and with the keyword `block_index`, a tuple, if it has a
        parameter of that name. It returns an array; the chunks it gets are read-only.
    *arrays : arrays that broadcast; they are cut alike first. What is no array is passed on as it is.
    dtype : of what it returns; None: found out by calling it once with blocks of one element
    chunks : the shape of the chunks it returns, an int or lengths for each axis, where it is not that of its inputs
    drop_axis : axes that it removes; each is one chunk then
    new_axis : axes of the result that it adds; of length one unless `chunks` says more
    **kwargs : passed on

    What it returns is checked against `dtype` and `chunks` at run time. Raises BlockFunctionError (a ValueError),
    which names the block, where they differ, or where the function fails when it is tried; ValueError for shapes that
    do not broadcast, ChunkError for `chunks` that do not fit, AxisError for axes out of range.
    """
    inputs = inputs_of("map_blocks", function, arrays, kwargs)
    shape = broadcast_shapes(*(x.shape for x in inputs))
    dropped = () if drop_axis is None else tuple(sorted(ordered_axes(drop_axis, len(shape))))
    ndim = len(shape) - len(dropped) + (0 if new_axis is None else np.size(new_axis))
    new = () if new_axis is None else tuple(sorted(ordered_axes(new_axis, ndim)))
    extras = iter([len(shape) - x.ndim for x in inputs])
    slots = tuple(Block(next(extras)) if isinstance(a, (NDArray, np.ndarray)) else a for a in arrays)
    call = Call(function, slots, kwargs, dropped, new)
    with_index = takes_index(function) and "block_index" not in kwargs
    if dtype is None:
        dtype = found_dtype(function, arrays, kwargs, with_index, ndim)
    kind = np.dtype(dtype)
    check_dtype(kind)

    cut = common_cut(shape, [x.chunks for x in inputs])
    cut = tuple(Lengths.regular(n, n) if a in dropped else c for a, (c, n) in enumerate(zip(cut, shape, strict=True)))
    whole = bool(dropped or new)
    nodes = [on_grid(x.node, len(shape), dropped, new) if whole else x.node for x in inputs]
    one = Lengths.regular(1, 1)
    kept = [c for a, c in enumerate(cut) if a not in dropped]
    result = [one if a in new else kept.pop(0) for a in range(ndim)]
    grid = (*(cut[a] for a in dropped), *result)
    cut_as = tuple(cut_of(n.shape, grid) for n in nodes)
    promised = tuple(result) if chunks is None else given_chunks(chunks, tuple(result))
    made: Node = MapBlocks(call, (), with_index, kind, ((one,) * len(dropped)) + promised, cut_as, *nodes)
    return NDArray(without_axes(made, tuple(range(len(dropped)))))


def takes_index(function: Callable[..., Any]) -> bool:
    """Whether a function has a parameter `block_index`."""
    try:
        return "block_index" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False


def common_cut(shape: tuple[int, ...], cuts: list[Chunks]) -> Chunks:
    """The coarsest chunks whose edges hold the edges of all inputs that have the axis whole."""
    made = []
    for back in range(len(shape), 0, -1):
        n = shape[-back]
        along = list(dict.fromkeys(c[-back] for c in cuts if len(c) >= back and c[-back].total == n))
        if len(along) == 1 or not along:
            made.append(along[0] if along else Lengths.regular(n, n))
        elif sum(map(len, along)) > MANY:
            raise ChunkError(
                f"inputs cut into {' and '.join(f'{len(c):,}' for c in along)} chunks along an axis of {n:,} "
                "elements are too many to cut alike; .rechunk() one as the other, or both into longer chunks"
            )
        else:
            made.append(Lengths.between(sorted({e for c in along for e in c.edges()})) if n else along[0])
    return tuple(made)


def cut_of(shape: tuple[int, ...], grid: Chunks) -> Chunks:
    """How an input is cut on a grid: as the last axes of the grid are, but for axes that it broadcasts along."""
    along = grid[len(grid) - len(shape) :]
    return tuple(c if c.total == n else Lengths.regular(n, n) for c, n in zip(along, shape, strict=True))


def on_grid(node: Node, ndim: int, dropped: tuple[int, ...], new: tuple[int, ...]) -> Node:
    """A view with the axes that are dropped in front, and axes of length one where the result has new ones."""
    node = with_new_axes(node, tuple(range(ndim - node.ndim)))
    order = (*dropped, *(a for a in range(ndim) if a not in dropped))
    return with_new_axes(permuted(node, order), tuple(a + len(dropped) for a in new))


def given_chunks(chunks: Any, cut: Chunks) -> Chunks:
    """The chunks of the result as the user promises them: for each axis an int, or a length for each block."""
    entries = list(chunks) if isinstance(chunks, (tuple, list)) else [chunks]
    if len(entries) != len(cut):
        raise ChunkError(f"chunks={chunks!r} has {len(entries)} entries for a result of {len(cut)} dimensions")
    made = []
    for axis, (c, blocks) in enumerate(zip_longest(entries, cut)):
        if hasattr(c, "__index__") and not isinstance(c, bool):
            lengths = [int(c)] * len(blocks)
        elif isinstance(c, (tuple, list, Lengths)) and len(c) == len(blocks):
            lengths = [int(n) for n in c]
        else:
            raise ChunkError(
                f"chunks={chunks!r}: axis {axis} has {len(blocks)} blocks; give one length, or one for each of them"
            )
        if any(n < 0 for n in lengths):
            raise ChunkError(f"chunks={chunks!r}: a length of axis {axis} is negative")
        made.append(Lengths.of(lengths))
    return tuple(made)


def found_dtype(
    function: Callable[..., Any], arrays: tuple[Any, ...], kwargs: dict[str, Any], with_index: bool, ndim: int
) -> np.dtype[Any]:
    """What a function returns for blocks of one element, or of none if it cannot take one."""
    name = getattr(function, "__name__", repr(function))
    keywords = {**kwargs, "block_index": (0,) * ndim} if with_index else kwargs
    failure: Exception | None = None
    for length in (1, 0):
        blocks = [np.ones((length,) * a.ndim, a.dtype) if isinstance(a, (NDArray, np.ndarray)) else a for a in arrays]
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                made = function(*blocks, **keywords)
        except Exception as error:
            failure = failure or error
            continue
        shape, dtype = getattr(made, "shape", None), getattr(made, "dtype", None)
        if shape is None or not isinstance(dtype, np.dtype):
            raise BlockFunctionError(
                f"{name} returned a {type(made).__name__} for blocks of one element; it must return an array"
            )
        if len(shape) != ndim:
            raise BlockFunctionError(
                f"{name} returned {len(shape)} dimensions for blocks of one element, where {ndim} are expected; say "
                "what it removes and adds with drop_axis= and new_axis="
            )
        return dtype
    raise BlockFunctionError(
        f"the dtype of {name} could not be found out: called with blocks of one element it raised "
        f"{type(failure).__name__}: {failure}. Pass dtype="
    ) from failure
