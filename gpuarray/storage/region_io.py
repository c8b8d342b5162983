"""Regions of an array that lies in one file in C order: read and written without mapping or copying the whole.

Memory that is mapped counts as resident where the engine cannot see it, and a file that shrinks while it is mapped
kills the process; so everything is read with `preadv` into memory of its own.
"""

from __future__ import annotations

import math
import mmap
import os
from typing import Any

import numpy as np

from gpuarray import recycled
from gpuarray.errors import StorageError
from gpuarray.graph.grid import Region, Shape, shape_of, size_of

GAP = 8 * 1024
"""Bytes between runs from which a system call for each run is cheaper than reading the gaps as well."""
SPAN = 4 << 20
"""Most bytes of file that are read at once to pick runs from."""
SMALL_WRITE = 512
"""Runs shorter than this are written through a mapping."""
WINDOW = 16 << 20
"""Most bytes of file that are mapped at once."""
PAGE = 4096

Array = np.ndarray[Any, Any]


def strides_of(shape: Shape, itemsize: int) -> tuple[int, ...]:
    """Bytes between neighbours along each axis of an array in C order."""
    strides = [itemsize] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)


class Layout:
    """How a region's elements lie in the file: runs of bytes, and groups of runs with short gaps between them."""

    def __init__(self, shape: Shape, itemsize: int, region: Region) -> None:
        self.region, self.itemsize = region, itemsize
        self.strides = strides_of(shape, itemsize)
        self.steps = tuple(r.step * s for r, s in zip(region, self.strides, strict=True))
        """Bytes between neighbours of the region."""
        axis = len(shape)
        while axis and len(region[axis - 1]) == shape[axis - 1]:
            axis -= 1
        if axis and (region[axis - 1].step == 1 or len(region[axis - 1]) == 1):
            axis -= 1
        self.axis = axis
        """The first axis from which on the elements lie side by side."""
        self.run = math.prod(len(r) for r in region[axis:]) * itemsize
        self.group, self.span, self.together = self._groups()

    def _groups(self) -> tuple[int, int, int]:
        """The first axis of a group, the bytes of file it spans, and how many groups along the axis before it are
        read at once."""
        axis, span = self.axis, self.run
        while axis:
            step, n = self.steps[axis - 1], len(self.region[axis - 1])
            if n > 1 and (step - span > GAP or span > SPAN):
                break
            if span + (n - 1) * step > SPAN:
                return axis, span, max(1, (SPAN - span) // step + 1)
            span += (n - 1) * step
            axis -= 1
        return axis, span, 1

    @property
    def grouped(self) -> bool:
        return self.group < self.axis or self.together > 1

    @property
    def buffer(self) -> int:
        """Bytes of the largest piece of file that is read to pick runs from."""
        if not self.grouped:
            return 0
        return self.span + (self.together - 1) * (self.steps[self.group - 1] if self.together > 1 else 0)

    def starts(self, start: int, axis: int) -> list[int]:
        """Where each element of the first `axis` axes begins in the file."""
        at = np.full((1,) * axis, start + sum(r.start * s for r, s in zip(self.region, self.strides, strict=True)))
        for a in range(axis):
            along = np.arange(len(self.region[a]), dtype=np.int64) * self.steps[a]
            at = at + along.reshape((-1,) + (1,) * (axis - a - 1))
        flat: list[int] = at.ravel().tolist()
        return flat


def offset_of(shape: Shape, region: Region) -> int | None:
    """How many elements before a region in an array in C order, if the region lies in one piece; None if it does not.

    >>> offset_of((5, 4), (range(2, 4), range(4))), offset_of((5, 4), (range(2, 4), range(3)))
    (8, None)
    """
    if not all(region) or any(r.step != 1 and len(r) > 1 for r in region):
        return None
    cut = next((axis for axis, r in enumerate(region) if len(r) > 1), len(region))
    if any(len(r) != n for r, n in list(zip(region, shape, strict=True))[cut + 1 :]):
        return None
    offset = 0
    for r, n in zip(region, shape, strict=True):
        offset = offset * n + r.start
    return offset


def transient_nbytes(shape: Shape, itemsize: int, region: Region) -> int:
    """The most that `read_region` allocates beside the region itself."""
    return Layout(shape, itemsize, region).buffer if size_of(region) else 0


def disk_nbytes(shape: Shape, itemsize: int, region: Region) -> int:
    """Bytes that a disk moves for a region: whole pages, and the gaps that are read."""
    if not size_of(region):
        return 0
    layout = Layout(shape, itemsize, region)
    groups = math.prod(len(r) for r in region[: layout.group])
    pages = groups * (-(-layout.span // PAGE) * PAGE)
    extent = sum((len(r) - 1) * t for r, t in zip(region, layout.steps, strict=True)) + itemsize
    return max(size_of(region) * itemsize, min(pages, extent))


def read_region(fd: int, start: int, shape: Shape, region: Region, dtype: np.dtype[Any], name: str) -> Array:
    """A region of an array that begins at byte `start`, in memory of its own.

    Raises StorageError where the file ends too early.
    """
    out = recycled.empty(shape_of(region), dtype)
    read_region_into(fd, start, shape, region, out, name)
    return out


def read_region_into(fd: int, start: int, shape: Shape, region: Region, out: Array, name: str) -> None:
    """The same into an array in C order, of the file's dtype."""
    if not out.size:
        return
    layout = Layout(shape, out.itemsize, region)
    if layout.grouped:
        _read_groups(fd, start, layout, out, name)
        return
    data, run = as_bytes(out), layout.run
    for k, offset in enumerate(layout.starts(start, layout.axis)):
        read_exactly(fd, data[k * run : (k + 1) * run], offset, name)


def _read_groups(fd: int, start: int, layout: Layout, out: Array, name: str) -> None:
    """Read runs with the gaps between them, and pick the runs."""
    buffer = recycled.empty((layout.buffer,), np.dtype(np.uint8))
    axis, steps, together = layout.group, layout.steps, layout.together
    if together == 1:
        for index, offset in zip(np.ndindex(out.shape[:axis]), layout.starts(start, axis), strict=True):
            _pick(fd, offset, buffer, steps[axis:], out[(*index, ...)], name)
        return
    axis -= 1
    for index, offset in zip(np.ndindex(out.shape[:axis]), layout.starts(start, axis), strict=True):
        for k in range(0, out.shape[axis], together):
            part = out[index][k : k + together]
            _pick(fd, offset + k * steps[axis], buffer, steps[axis:], part, name)


def _pick(fd: int, offset: int, buffer: Array, steps: tuple[int, ...], part: Array, name: str) -> None:
    used = sum((n - 1) * t for n, t in zip(part.shape, steps, strict=True)) + part.itemsize
    read_exactly(fd, buffer.data[:used], offset, name)
    part[...] = np.ndarray(part.shape, part.dtype, buffer.data, 0, steps)


def as_bytes(array: Array) -> memoryview:
    """The memory of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data


def read_exactly(fd: int, into: memoryview, offset: int, name: str) -> None:
    """Fill `into` from byte `offset`; a StorageError where the file ends before."""
    wanted, done = len(into), 0
    while done < wanted:
        n = os.preadv(fd, [into[done:] if done else into], offset + done)
        if n == 0:
            raise StorageError(
                f"{name} ends at byte {offset + done}, but data is expected up to byte {offset + wanted}: "
                "the file is truncated"
            )
        done += n


def write_region(fd: int, start: int, shape: Shape, region: Region, array: Array, *, mapped: bool) -> None:
    """Write an array of the file's dtype to a region. Several threads may write regions that do not overlap.

    `mapped`: the file's blocks are allocated, so that very short runs may be written through a mapping.
    """
    if not array.size:
        return
    layout = Layout(shape, array.itemsize, region)
    if mapped and layout.run < SMALL_WRITE and layout.axis:
        _write_mapped(fd, layout.starts(start, 0)[0], layout.steps, array)
        return
    data, run = as_bytes(np.ascontiguousarray(array)), layout.run
    for k, offset in enumerate(layout.starts(start, layout.axis)):
        write_exactly(fd, data[k * run : (k + 1) * run], offset)


def write_exactly(fd: int, data: memoryview, offset: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:] if done else data, offset + done)


def _write_mapped(fd: int, start: int, steps: tuple[int, ...], array: Array) -> None:
    """Write elements that lie `steps` apart through short-lived mappings of a window each."""
    reach = [(n - 1) * t for n, t in zip(array.shape, steps, strict=True)]
    axis = 0  # the axis along which windows follow each other
    while axis < array.ndim - 1 and sum(reach[axis + 1 :]) + array.itemsize > WINDOW:
        axis += 1
    inner = sum(reach[axis + 1 :]) + array.itemsize
    together = max(1, (WINDOW - inner) // steps[axis] + 1)
    for lead in np.ndindex(array.shape[:axis]):
        for k in range(0, array.shape[axis], together):
            part = array[lead][k : k + together]
            first = start + sum(i * t for i, t in zip((*lead, k), steps, strict=False))
            base = first - first % mmap.ALLOCATIONGRANULARITY
            end = first + inner + (part.shape[0] - 1) * steps[axis]
            with mmap.mmap(fd, end - base, offset=base) as window:
                view: Array | None = np.ndarray(part.shape, array.dtype, window, first - base, steps[axis:])
                view[...] = part  # type: ignore[index]
                view = None  # or the mapping cannot be closed
