"""Nodes that move whole regions: the same elements cut differently, put end to end, reshaped, replaced."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpuarray.graph.grid import (
    Chunks,
    Lengths,
    Region,
    Shape,
    nbytes,
    shape_of,
    within,
)
from gpuarray.graph.node import Node, apart


class Rechunk(Node):
    """The same data cut differently."""

    __slots__ = ()

    def __init__(self, chunks: Chunks, input: Node) -> None:
        self.shape, self.dtype, self.inputs, self.chunks = input.shape, input.dtype, (input,), chunks

    def regions(self, out: Region) -> tuple[Region, ...]:
        return (out,)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        return inputs[0]


class Concat(Node):
    """Arrays of one dtype end to end along one axis."""

    __slots__ = ("axis", "offsets")

    def __init__(self, axis: int, *inputs: Node) -> None:
        self.axis, self.inputs, self.dtype = axis, inputs, inputs[0].dtype
        self.offsets = [0]
        for i in inputs:
            self.offsets.append(self.offsets[-1] + i.shape[axis])
        first = inputs[0]
        self.shape = (*first.shape[:axis], self.offsets[-1], *first.shape[axis + 1 :])
        self.chunks = (*first.chunks[:axis], Lengths.joined(i.chunks[axis] for i in inputs), *first.chunks[axis + 1 :])

    @property
    def label(self) -> str:
        return "concatenate"

    def _parts(self, r: range) -> list[range]:
        """The positions of `r` in the result that fall in each input, counted within `r`."""
        parts = []
        for lo, hi in zip(self.offsets, self.offsets[1:], strict=False):
            first = max(0, -(-(lo - r.start) // r.step))
            last = min(len(r), -(-(hi - r.start) // r.step))
            parts.append(range(first, max(first, last)))
        return parts

    def regions(self, out: Region) -> tuple[Region, ...]:
        r, wanted = out[self.axis], []
        for lo, part in zip(self.offsets, self._parts(r), strict=False):
            along = range(0)
            if part:
                picked = r[part.start : part.stop]
                along = range(picked.start - lo, picked[-1] - lo + 1, r.step)
            wanted.append((*out[: self.axis], along, *out[self.axis + 1 :]))
        return tuple(wanted)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        present = [a for a in inputs if a.shape[self.axis]]
        if len(present) == 1:
            return present[0]
        result = backend.empty(shape_of(out), self.dtype)
        at: list[slice] = [slice(None)] * len(out)
        for part, array in zip(self._parts(out[self.axis]), inputs, strict=True):
            if part:
                at[self.axis] = slice(part.start, part.stop)
                result[tuple(at)] = array
        return result


class Reshape(Node):
    """The elements in C order under another shape.

    The two shapes are split into groups of axes with equal products, as ``(6, 4, 5) -> (24, 5)`` is
    ``(6, 4) -> (24)`` and ``(5) -> (5)``. Within a group a region of the result is an interval of flat positions,
    and an interval of flat positions lies in a box of the input: whole trailing axes and part of a leading one.
    """

    __slots__ = ("groups",)

    def __init__(self, shape: Shape, input: Node) -> None:
        self.shape, self.dtype, self.inputs = shape, input.dtype, (input,)
        self.groups = axis_groups(input.shape, shape)
        chunks: list[Lengths] = []
        for old, new in self.groups:
            chunks += reshaped_chunks(
                [input.chunks[a] for a in old], [input.shape[a] for a in old], [shape[a] for a in new]
            )
        self.chunks = tuple(chunks)

    def regions(self, out: Region) -> tuple[Region, ...]:
        (input,) = self.inputs
        boxes: list[range] = []
        for old, new in self.groups:
            if len(old) == len(new) == 1:
                boxes.append(out[new[0]])
            else:
                flat = flat_interval([self.shape[a] for a in new], [out[a] for a in new])
                boxes += box_of([input.shape[a] for a in old], flat)
        return (tuple(boxes),)

    def workspace(self, out: Region) -> int:
        return 2 * nbytes(self.regions(out)[0], self.dtype) + sum(self._positions_nbytes(out))

    def _positions_nbytes(self, out: Region) -> Iterator[int]:
        """By group, the bytes of index arrays; none where a region is an interval of flat positions."""
        for old, new in self.groups:
            region = [out[a] for a in new]
            if not len(old) == len(new) == 1 and not is_interval([self.shape[a] for a in new], region):
                yield 3 * math.prod(map(len, region)) * np.dtype(np.int64).itemsize

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        (given,), (box,) = inputs, self.regions(out)
        if any(not r for r in out):
            return backend.empty(shape_of(out), self.dtype)
        array = given
        array = array.reshape(tuple(math.prod(len(box[a]) for a in old) for old, _ in self.groups))
        for k, (old, new) in enumerate(self.groups):
            if not len(old) == len(new) == 1:
                array = self._pick(backend, array, k, [box[a] for a in old], [out[a] for a in new])
        return apart(backend, array.reshape(shape_of(out)), given)

    def _pick(self, backend: Any, array: Any, k: int, box: list[range], region: list[range]) -> Any:
        """Of one group, which is axis `k` of `array`, the elements of the region among those of its box."""
        old, new = self.groups[k]
        start = flat_position([self.inputs[0].shape[a] for a in old], [r[0] for r in box])
        shape = [self.shape[a] for a in new]
        at = (slice(None),) * k
        if is_interval(shape, region):
            flat = flat_interval(shape, region)
            return array[(*at, slice(flat.start - start, flat.stop - start))]
        positions = flat_positions(shape, region) - start
        return backend.xp.take(array, backend.xp.asarray(positions), axis=k)


def axis_groups(old: Shape, new: Shape) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Split two shapes of equal size into the smallest groups of axes with equal products."""
    if 0 in old or 0 in new:
        return ((tuple(range(len(old))), tuple(range(len(new)))),)
    groups = []
    i = j = 0
    while i < len(old) or j < len(new):
        left, right = i, j
        a, b = (old[i] if i < len(old) else 1), (new[j] if j < len(new) else 1)
        i, j = min(i + 1, len(old)), min(j + 1, len(new))
        while a != b:
            if a < b:
                a *= old[i]
                i += 1
            else:
                b *= new[j]
                j += 1
        groups.append((tuple(range(left, i)), tuple(range(right, j))))
    return tuple(groups)


def reshaped_chunks(chunks: list[Lengths], old: list[int], new: list[int]) -> list[Lengths]:
    """Chunks for one group of a reshape: as many elements as the input's chunks have, in runs of the flat order."""
    if len(chunks) == len(new) == 1:
        return list(chunks)
    if 0 in new or not new:
        return [Lengths.regular(n, n) for n in new]
    target = max(1, math.prod(c.largest for c in chunks))
    cut: list[Lengths] = []
    for n in reversed(new):
        step = max(1, min(n, target))
        if step < n:  # whole multiples of what is below, so that a chunk is one run
            cut.append(Lengths.regular(n, step))
            target = 1
        else:
            cut.append(Lengths.regular(n, n))
            target //= max(1, n)
    return cut[::-1]


def flat_position(shape: list[int], index: list[int]) -> int:
    position = 0
    for n, i in zip(shape, index, strict=True):
        position = position * n + i
    return position


def flat_interval(shape: list[int], region: list[range]) -> range:
    """From the first to the last flat position of a region."""
    if any(not r for r in region):
        return range(0)
    return range(flat_position(shape, [r[0] for r in region]), flat_position(shape, [r[-1] for r in region]) + 1)


def is_interval(shape: list[int], region: list[range]) -> bool:
    """Whether a region's elements follow each other in C order."""
    return len(flat_interval(shape, region)) == math.prod(map(len, region))


def flat_positions(shape: list[int], region: list[range]) -> np.ndarray[Any, Any]:
    """The flat positions of a region's elements, in C order."""
    positions = np.zeros(1, dtype=np.int64)
    for n, r in zip(shape, region, strict=True):
        along = np.arange(r.start, r.stop, r.step, dtype=np.int64)
        positions = (positions[:, None] * n + along).ravel()
    return positions


def box_of(shape: list[int], flat: range) -> list[range]:
    """The smallest box of an array of `shape` that is contiguous in C order and holds an interval of flat positions."""
    if not flat:
        return [range(0) for _ in shape]
    first, last = list(np.unravel_index(flat[0], shape)), list(np.unravel_index(flat[-1], shape))
    box: list[range] = []
    for axis in range(len(shape)):
        lo, hi = int(first[axis]), int(last[axis])
        box.append(range(lo, hi + 1))
        if lo != hi:
            return box + [range(m) for m in shape[axis + 1 :]]
    return box


class Assign(Node):
    """A copy of an array with the elements that a view selects replaced: ``x[key] = value``."""

    __slots__ = ("key",)

    def __init__(self, key: tuple[range, ...], base: Node, value: Node) -> None:
        """`key` has an ascending range per axis of `base`; `value` has exactly the shape it selects."""
        self.key = key
        self.shape, self.dtype, self.chunks, self.inputs = base.shape, base.dtype, base.chunks, (base, value)

    @property
    def label(self) -> str:
        return "setitem"

    def _meet(self, out: Region) -> tuple[Region, tuple[slice, ...]]:
        """The part of `value` that lands in `out`, and where in `out` it lands."""
        value, at = [], []
        for k, r in zip(self.key, out, strict=True):
            both = meet(k, r)
            if not both:
                return tuple(range(0) for _ in out), tuple(slice(0, 0) for _ in out)
            picked = within(both, k)
            value.append(range(picked.start, picked.stop, picked.step))
            at.append(within(both, r))
        return tuple(value), tuple(at)

    def regions(self, out: Region) -> tuple[Region, ...]:
        return out, self._meet(out)[0]

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        base, value = inputs
        result = backend.empty(shape_of(out), self.dtype)
        result[...] = base
        at = self._meet(out)[1]
        if all(s.stop > s.start for s in at):
            result[at] = value
        return result


def meet(a: range, b: range) -> range:
    """The positions in both of two ascending ranges."""
    if not a or not b:
        return range(0)
    step = math.lcm(a.step, b.step)
    # Solve start = a.start + i * a.step = b.start + j * b.step for the smallest i (the Chinese remainder theorem).
    g = math.gcd(a.step, b.step)
    if (b.start - a.start) % g:
        return range(0)
    i = (b.start - a.start) // g * pow(a.step // g, -1, b.step // g) % (b.step // g) if b.step // g > 1 else 0
    start = a.start + i * a.step
    low = max(a.start, b.start)
    if start < low:
        start += -(-(low - start) // step) * step
    stop = min(a[-1], b[-1]) + 1
    return range(start, stop, step) if start < stop else range(0)
