"""Pure movement: every element of the result is one element of the input.

Slicing with any step, integer and array indexing, flip, transpose, newaxis, broadcast and diagonal are all one
node, so a chain of views is one `Select` and costs nothing: composing two is slicing ranges.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from gpuarray.graph.grid import (
    Chunks,
    Lengths,
    Region,
    Shape,
    ascending,
    compose,
    covering,
    nbytes,
    shape_of,
)
from gpuarray.graph.node import Node


class Indices:
    """Positions along an axis, as an array that hashes; never negative."""

    __slots__ = ("_digest", "array")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        import hashlib

        self.array = np.array(array, dtype=np.int64)  # a copy: the user may write to theirs
        self.array.flags.writeable = False
        self._digest = hashlib.blake2b(self.array.tobytes(), digest_size=16).digest()

    def __len__(self) -> int:
        return int(self.array.size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Indices) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __reduce__(self) -> tuple[Any, ...]:
        return Indices, (self.array,)

    def at(self, r: range) -> np.ndarray[Any, Any]:
        if not r:
            return self.array[:0]
        return self.array[r[0] : r[-1] + 1 : r.step] if r.step > 0 else self.array[r[-1] : r[0] + 1][:: r.step]


VIEW, TAKE = "view", "take"
"""The labels of a `Select` that copies nothing, and of one with index arrays, which does."""

AxisMap: TypeAlias = int | tuple[int, range] | tuple[int, Indices]
"""What happens to one axis of the input: fixed at a position, or read along an axis of the result."""


class Select(Node):
    """A view. `maps` has one entry per axis of the input; axes of the result that none names are broadcast."""

    __slots__ = ("maps",)

    def __init__(self, shape: Shape, maps: tuple[AxisMap, ...], input: Node) -> None:
        self.maps = maps
        self.shape, self.dtype, self.inputs = shape, input.dtype, (input,)
        self.chunks = self._cut(input.chunks)

    def _cut(self, chunks: Chunks) -> Chunks:
        """The result's chunks are the images of the input's."""
        cut: list[Lengths | None] = [None] * len(self.shape)
        for m, lengths in zip(self.maps, chunks, strict=True):
            if isinstance(m, int):
                continue
            axis, positions = m
            if cut[axis] is not None:
                continue
            n = self.shape[axis]
            if isinstance(positions, Indices):
                cut[axis] = Lengths.regular(n, max(1, lengths.largest))
            else:
                cut[axis] = images(positions, lengths)
        return tuple(c if c is not None else Lengths.regular(n, n) for c, n in zip(cut, self.shape, strict=True))

    @property
    def label(self) -> str:
        gathers = any(not isinstance(m, int) and isinstance(m[1], Indices) for m in self.maps)
        return TAKE if gathers else VIEW

    def regions(self, out: Region) -> tuple[Region, ...]:
        empty = any(not r for r in out)
        return (tuple(range(0) if empty else self._along(m, out) for m in self.maps),)

    @staticmethod
    def _along(m: AxisMap, out: Region) -> range:
        if isinstance(m, int):
            return range(m, m + 1)
        axis, positions = m
        if isinstance(positions, Indices):
            picked = positions.at(out[axis])
            return range(int(picked.min()), int(picked.max()) + 1)
        return ascending(compose(positions, out[axis]))

    def workspace(self, out: Region) -> int:
        # A gather copies and needs its positions, a slice is a view; the result is counted by the caller either way.
        if self.label != TAKE:
            return 0
        positions = sum(len(out[m[0]]) * np.dtype(np.intp).itemsize for m in self.maps if not isinstance(m, int))
        return nbytes(out, self.dtype) + positions

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        (array,) = inputs
        xp = backend.xp
        if any(not r for r in out):
            return backend.empty(shape_of(out), self.dtype)
        array, axes = self._pick(xp, array, out)
        order = sorted(range(len(axes)), key=axes.__getitem__)
        array = xp.transpose(array, order)
        present = set(axes)
        lengths = iter(array.shape)
        array = array.reshape(tuple(next(lengths) if a in present else 1 for a in range(len(out))))
        return xp.broadcast_to(array, shape_of(out))

    def _pick(self, xp: Any, array: Any, out: Region) -> tuple[Any, list[int]]:
        """Apply the maps; return the array and the result's axis that each of its axes stands for."""
        axes: list[int] = [m[0] for m in self.maps if not isinstance(m, int)]
        basic: list[Any] = []
        paired: dict[int, list[tuple[int, Any]]] = {}
        kept = 0
        for m in self.maps:
            if isinstance(m, int):
                basic.append(0)
                continue
            axis, positions = m
            if isinstance(positions, Indices):
                picked = positions.at(out[axis])
                paired.setdefault(axis, []).append((kept, picked - int(picked.min())))
                basic.append(slice(None))
            else:
                step = compose(positions, out[axis]).step if len(out[axis]) > 1 else 1
                basic.append(slice(None, None, -1 if step < 0 else 1))
                if axes.count(axis) > 1:
                    paired.setdefault(axis, []).append((kept, np.arange(len(out[axis]))))
            kept += 1
        array = array[(*basic, ...)]  # with the ellipsis it stays an array: a scalar would forget how long its text is
        for axis in sorted(paired):
            array, axes = _pointwise(xp, array, axes, axis, paired[axis])
        return array, axes


def _pointwise(xp: Any, array: Any, axes: list[int], axis: int, along: list[tuple[int, Any]]) -> tuple[Any, list[int]]:
    """Index the axes of `array` that stand for `axis` of the result together, as NumPy does with index arrays."""
    here = [k for k, a in enumerate(axes) if a == axis]
    positions = [xp.asarray(p) for _, p in along]
    array = xp.moveaxis(array, here, range(len(here)))[tuple(positions)]
    return array, [axis, *(a for a in axes if a != axis)]


MANY = 100_000
"""Above so many chunks along an axis, a slice is cut evenly rather than at the images of the input's cuts."""


def images(positions: range, lengths: Lengths) -> Lengths:
    """How the chunks along an axis appear through a slice of it."""
    n = len(positions)
    if n == 0:
        return Lengths.regular(0, 1)
    if len(lengths) == 1:
        return Lengths.regular(n, n)
    if lengths.step and lengths.step % abs(positions.step) == 0 and positions.step > 0:
        first = positions[0]
        if (lengths.edge(lengths.find(first)) - first) % lengths.step == 0:
            return Lengths.regular(n, lengths.step // positions.step)
    if len(lengths) > n:
        return Lengths.regular(n, 1)
    step = positions.step
    touched = lengths.touched(covering(ascending(positions)))
    if len(touched) > MANY and lengths.step:
        return Lengths.regular(n, max(1, lengths.step // abs(step)))
    cuts = {0, n}
    for k in touched:
        edge = lengths.edge(k) if step > 0 else lengths.edge(k) - 1
        cuts.add(min(max(-(-(edge - positions.start) // step), 0), n))
    return Lengths.between(sorted(cuts))


def through(inner: AxisMap, outer: tuple[AxisMap, ...]) -> AxisMap:
    """One axis of an inner view, read through an outer one."""
    if isinstance(inner, int):
        return inner
    axis, positions = inner
    m = outer[axis]
    if isinstance(m, int):
        return int(positions.array[m]) if isinstance(positions, Indices) else positions[m]
    further, again = m
    if isinstance(positions, range) and isinstance(again, range):
        return further, compose(positions, again)
    if isinstance(positions, Indices):
        return further, Indices(positions.at(again) if isinstance(again, range) else positions.array[again.array])
    assert isinstance(again, Indices)  # the three other pairs are handled above
    return further, Indices(positions.start + positions.step * again.array)
