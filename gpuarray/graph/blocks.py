"""A user's function, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpuarray.graph.grid import Chunks, Region, shape_of
from gpuarray.graph.node import Node
from gpuarray.kernels.errors import BlockFunctionError


class MapBlocks(Node):
    """``function(*blocks, **keywords)`` on the chunks of inputs that are cut alike; one result chunk per chunk.

    Only whole chunks of the result are computed, because what the function does with part of a chunk is its
    own business: a region is widened to the chunks it touches.
    """

    __slots__ = ("cut_as", "function", "keywords", "with_index")

    inline = False
    costly = True

    def __init__(
        self,
        function: Callable[..., Any],
        keywords: tuple[tuple[str, Any], ...],
        with_index: bool,
        dtype: np.dtype[Any],
        chunks: Chunks,
        cut_as: tuple[Chunks, ...],
        *inputs: Node,
    ) -> None:
        """`cut_as`: how each input is cut, whatever its own chunks are by the time this runs."""
        self.cut_as = cut_as
        self.function, self.keywords, self.with_index = function, keywords, with_index
        self.dtype, self.chunks, self.inputs = dtype, chunks, inputs
        self.shape = tuple(c.total for c in chunks)

    @property
    def label(self) -> str:
        return f"map_blocks({getattr(self.function, '__name__', repr(self.function))})"

    def _index(self, out: Region) -> tuple[int, ...]:
        return tuple(c.find(r[0]) if r else 0 for c, r in zip(self.chunks, out, strict=True))

    def regions(self, out: Region) -> tuple[Region, ...]:
        index = self._index(out)
        wanted = []
        for chunks in self.cut_as:
            back = index[len(index) - len(chunks) :]
            wanted.append(tuple(c.span(k if len(c) > 1 else 0) for c, k in zip(chunks, back, strict=True)))
        return tuple(wanted)

    def workspace(self, out: Region) -> int:
        # What the function allocates cannot be known; one result and one copy of its inputs is the usual case.
        return sum(i.nbytes(r) for i, r in zip(self.inputs, self.regions(out), strict=True))

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        index = self._index(out)
        keywords: dict[str, Any] = dict(self.keywords)
        if self.with_index:
            keywords["block_index"] = index
        result = self._called(tuple(map(_guarded, inputs)), keywords, index)
        expected = tuple(c[k] for c, k in zip(self.chunks, index, strict=True))
        shape, dtype = getattr(result, "shape", None), getattr(result, "dtype", None)
        if shape != expected or dtype != self.dtype or not _is_array(result, backend.xp):
            raise BlockFunctionError(
                f"{self.label} returned {_describe(result)} for block {index}; it promised shape {expected} and dtype "
                f"{self.dtype}. Pass the shapes and dtype it returns as chunks= and dtype=."
            )
        if shape_of(out) != expected:
            at = tuple(
                slice(r.start - c.edge(k), r.stop - c.edge(k), r.step)
                for r, c, k in zip(out, self.chunks, index, strict=True)
            )
            return result[at]
        return result

    def _called(self, blocks: tuple[Any, ...], keywords: dict[str, Any], index: tuple[int, ...]) -> Any:
        try:
            return self.function(*blocks, **keywords)
        except Exception as error:
            if not isinstance(error, ValueError) or "read-only" not in str(error):
                error.add_note(f"in block {index} of {self.label}")
                raise
            raise BlockFunctionError(
                f"{self.label} writes to its input in block {index} ({error}), which others may read, you among them; "
                "a block is read-only: let the function begin with block = block.copy()"
            ) from error


def _guarded(block: Any) -> Any:
    """A block as the function may have it: it may be the user's own array, or read by others."""
    if not isinstance(block, np.ndarray):
        return block.copy()  # a device's arrays cannot be made read-only
    view = block.view()
    view.flags.writeable = False
    return view


def _is_array(result: Any, xp: Any) -> bool:
    """Whether a result is what it looks like: neither sparse nor with a mask that would be lost."""
    return not hasattr(result, "mask") and (xp is not np or hasattr(result, "__array__"))


def _describe(result: Any) -> str:
    shape, dtype = getattr(result, "shape", None), getattr(result, "dtype", None)
    if shape is None or dtype is None or not _is_array(result, np):
        return f"a {type(result).__name__}"
    return f"shape {tuple(shape)} and dtype {dtype}"
