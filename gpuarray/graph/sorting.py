"""Sorting along an axis: rows that a task can hold (`Sort`), and the steps of an external sort of longer ones.

    Runs        the axis in runs as long as memory allows, each sorted
    Shelved     the runs as they are kept, on disk if need be
    Samples     of every run each `step`-th element, kept beside it
    order       whose samples they are, in the order of all samples (`order_of_samples`)
    Merged      any region of the result: from the order of the samples follows where in each run its elements can be,
                to a few samples; these parts of the runs are read and merged, and what is not of the region is left out

Of `i` samples in order, at least ``i * step`` elements are not behind the last of them, and at most ``(step - 1)`` more
for each run. So a region of `m` elements is sought among ``m + 2 * step * (runs + 1)``, whatever the data are: equal
elements are in the order of their runs, and of their places there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, TypeVar

import numpy as np

from gpuarray.graph.grid import Chunks, Lengths, Region, covering, nbytes, shape_of, size_of
from gpuarray.graph.node import Node
from gpuarray.kernels import ordering

POSITION = np.dtype(np.int64)
ORDER = np.dtype(np.int32)
"""Of the runs that samples are of."""


T = TypeVar("T")


def along(every: Sequence[T], axis: int, one: T) -> tuple[T, ...]:
    """What belongs to each axis, with another thing for one of them.

    >>> along((4, 5, 6), 1, 0)
    (4, 0, 6)
    """
    return (*every[:axis], one, *every[axis + 1 :])


class Sort(Node):
    """An array sorted along an axis, each row in one task; the planner replaces those whose rows are too long.

    `what`: "values", "positions" (argsort), or "both", which are two arrays.
    """

    __slots__ = ("axis", "kind", "what")

    inline = False

    def __init__(self, axis: int, what: str, kind: str | None, input: Node) -> None:
        self.axis, self.what, self.kind, self.inputs = axis, what, kind, (input,)
        self.dtype = POSITION if what == "positions" else input.dtype
        self.shape, self.chunks = input.shape, input.chunks

    @property
    def whole(self) -> tuple[int, ...]:
        return (self.axis,)

    @property
    def parts(self) -> tuple[np.dtype[Any], ...] | None:
        return (self.dtype, POSITION) if self.what == "both" else None

    @property
    def label(self) -> str:
        return "sort" if self.what == "values" else "argsort"

    def cost(self) -> float:
        return 4 * max(1, self.shape[self.axis]).bit_length()

    def regions(self, out: Region) -> tuple[Region, ...]:
        n = self.shape[self.axis]
        return (along(out, self.axis, range(n if out[self.axis] else 0)),)

    def workspace(self, out: Region) -> int:
        region = self.regions(out)[0]
        if self.what == "values":
            row = len(region[self.axis])
            return nbytes(region, self.dtype) + ordering.settling_nbytes(size_of(region), row, self.dtype)
        return nbytes(region, self.dtype) + nbytes(region, POSITION)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        (array,) = inputs
        xp, r = backend.xp, out[self.axis]
        at = (*(slice(None),) * self.axis, slice(r.start, r.stop, r.step))
        if self.what == "values":
            return ordering.sort(xp, array, self.axis, self.kind)[at]
        order = ordering.argsort(xp, array, self.axis, self.kind)
        if self.what == "positions":
            return order[at]
        return xp.take_along_axis(array, order, self.axis)[at], order[at]


class Runs(Node):
    """Runs along an axis, each sorted: values, or values and their positions. Asked for one run at a time.

    In memory the axis runs last, so that a part of a row lies together.
    """

    __slots__ = ("axis", "kind", "paired")

    together = True

    def __init__(self, axis: int, paired: bool, kind: str | None, chunks: Chunks, input: Node) -> None:
        self.axis, self.paired, self.kind = axis, paired, kind
        self.inputs, self.dtype, self.shape, self.chunks = (input,), input.dtype, input.shape, chunks

    @property
    def parts(self) -> tuple[np.dtype[Any], ...]:
        return (self.dtype, POSITION) if self.paired else (self.dtype,)

    @property
    def label(self) -> str:
        return "sort, runs"

    def cost(self) -> float:
        return 4 * self.chunks[self.axis].largest.bit_length()

    def regions(self, out: Region) -> tuple[Region, ...]:
        return (out,)

    def workspace(self, out: Region) -> int:
        size, row = size_of(out), len(out[self.axis])
        if not self.paired:
            return ordering.sorting_nbytes(size, row, self.dtype, self.kind)
        return nbytes(out, self.dtype) + ordering.argsorting_nbytes(size)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        """One run."""
        xp = backend.xp
        given = xp.moveaxis(inputs[0], self.axis, -1)
        values = backend.empty(given.shape, self.dtype)
        values[...] = given
        if not self.paired:
            ordering.sort_in_place(xp, values, self.kind)
            return (xp.moveaxis(values, -1, self.axis),)
        order = ordering.argsort(xp, values, -1, "stable")
        made = xp.take_along_axis(values, order, -1)
        order += out[self.axis].start
        return xp.moveaxis(made, -1, self.axis), xp.moveaxis(order, -1, self.axis)


class Shelved(Node):
    """Runs as they are kept."""

    __slots__ = ()

    inline = False

    def __init__(self, runs: Node) -> None:
        self.inputs, self.dtype, self.shape, self.chunks = (runs,), runs.dtype, runs.shape, runs.chunks

    @property
    def parts(self) -> tuple[np.dtype[Any], ...] | None:
        return self.inputs[0].parts

    @property
    def label(self) -> str:
        return "sort, runs"

    def cost(self) -> float:
        return 0

    def regions(self, out: Region) -> tuple[Region, ...]:
        return (out,)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        return inputs[0]


class Samples(Node):
    """Every `step`-th element of each run; the tasks that make the runs keep it as well."""

    __slots__ = ("axis", "domain", "step")

    inline = False

    def __init__(self, axis: int, step: int, runs: Node) -> None:
        self.axis, self.step, self.domain = axis, step, runs.chunks
        self.inputs, self.dtype = (runs,), runs.dtype
        lengths = runs.chunks[axis]
        taken = Lengths.between(self._before(lengths.edge(k)) for k in range(len(lengths) + 1))
        self.chunks = along(runs.chunks, axis, taken)
        self.shape = along(runs.shape, axis, taken.total)

    def _before(self, edge: int) -> int:
        """How many samples the runs up to an edge have."""
        lengths = self.domain[self.axis]
        run, rest = divmod(edge, lengths.largest)
        return run * (lengths.largest // self.step) + rest // self.step

    @property
    def label(self) -> str:
        return "samples"

    def cost(self) -> float:
        return 0

    def result_region(self, region: Region) -> Region:
        """What a task for a region of the runs keeps."""
        r = region[self.axis]
        return along(region, self.axis, range(self._before(r.start), self._before(r.stop)))

    def result_chunks(self, grid: Chunks) -> Chunks:
        return along(grid, self.axis, Lengths.between(map(self._before, grid[self.axis].edges())))

    def regions(self, out: Region) -> tuple[Region, ...]:
        taken, lengths = self.chunks[self.axis], self.domain[self.axis]
        runs = taken.touched(out[self.axis])
        return (along(out, self.axis, range(lengths.edge(runs.start), lengths.edge(runs.stop)) if runs else range(0)),)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        values = inputs[0][0][(*(slice(None),) * self.axis, slice(self.step - 1, None, self.step))]
        result = backend.empty(shape_of(out), self.dtype)
        result[...] = values
        return result


def order_of_samples(xp: Any, samples: Any, axis: int, each: int, kind: str | None) -> Any:
    """The runs that samples are of, `each` of one run, in the order of the samples."""
    settled = ordering.way(samples.dtype, kind) is None and ordering.settles(samples.dtype)
    keys = ordering.to_order(xp, samples) if settled else samples
    return (ordering.argsort(xp, keys, axis, "stable") // each).astype(ORDER)


class Merged(Node):
    """Runs merged. Its inputs are the order of their samples, and the runs, of which a task reads what it needs.

    `what`: as for `Sort`.
    """

    __slots__ = ("axis", "kind", "step", "what")

    inline = False
    picks = True

    def __init__(
        self, axis: int, what: str, kind: str | None, step: int, chunks: Chunks, order: Node, runs: Node
    ) -> None:
        self.axis, self.what, self.kind, self.step = axis, what, kind, step
        self.inputs, self.shape, self.chunks = (order, runs), runs.shape, chunks
        self.dtype = POSITION if what == "positions" else runs.dtype

    @property
    def parts(self) -> tuple[np.dtype[Any], ...] | None:
        return (self.dtype, POSITION) if self.what == "both" else None

    @property
    def label(self) -> str:
        return "sort, merge" if self.what == "values" else "argsort, merge"

    def cost(self) -> float:
        return 4 * len(self._runs).bit_length()

    @property
    def _runs(self) -> Lengths:
        return self.inputs[1].chunks[self.axis]

    def regions(self, out: Region) -> tuple[Region, ...]:
        order, runs = (i.shape[self.axis] if all(out) else 0 for i in self.inputs)
        return along(out, self.axis, range(order)), along(out, self.axis, range(runs))

    def picked(self, out: Region) -> int:
        r = covering(out[self.axis])
        rows = size_of(out) // len(out[self.axis]) if r else 0
        return rows * min(self._runs.total, len(r) + 2 * self.step * (len(self._runs) + 1))

    def workspace(self, out: Region) -> int:
        r = out[self.axis]
        row = self.picked(along(tuple(one[:1] for one in out), self.axis, r))
        if self.what == "values":
            return ordering.sorting_nbytes(row, row, self.dtype, self.kind)
        return ordering.argsorting_nbytes(row) + 8 * row + len(r) * max(self.dtype.itemsize, POSITION.itemsize)

    def _windows(self, out: Region, order: Any) -> Iterator[tuple[tuple[int, ...], Any, Any, int]]:
        """For every row of a region: where it is, where the elements begin and end in each run that may be of the
        region, and how many of them come before it."""
        r, runs = covering(out[self.axis]), self._runs
        edges = np.asarray(runs.edges())
        rows = np.moveaxis(np.asarray(order), self.axis, -1)
        others = [range(len(a)) for k, a in enumerate(out) if k != self.axis]
        for row in product(*others) if r else ():
            ids = rows[row]
            before = max(0, (r.start - len(runs) * (self.step - 1)) // self.step)
            lo = np.bincount(ids[:before], minlength=len(runs)) * self.step
            until = -(-r.stop // self.step)
            hi = np.diff(edges)
            if until <= len(ids):
                hi = np.minimum(hi, (np.bincount(ids[:until], minlength=len(runs)) + 1) * self.step - 1)
            yield row, edges[:-1] + lo, edges[:-1] + hi, r.start - int(lo.sum())

    def pick(self, out: Region, *inputs: Any) -> list[Region]:
        found = []
        for row, lo, hi, _ in self._windows(out, inputs[0]):
            at = [range(a[k], a[k] + 1) for k, a in zip(row, self._others(out), strict=True)]
            for a, b in zip(lo.tolist(), hi.tolist(), strict=True):
                if a < b:
                    found.append((*at[: self.axis], range(a, b), *at[self.axis :]))
        return found

    def _others(self, out: Region) -> Region:
        return (*out[: self.axis], *out[self.axis + 1 :])

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        order, flat = inputs
        xp, r, done = backend.xp, out[self.axis], 0
        results = [backend.empty(shape_of(out), d) for d in self.fields]
        rows = [xp.moveaxis(a, self.axis, -1) for a in results]
        for row, lo, hi, skipped in self._windows(out, backend.to_host(order)):
            n = int((hi - lo).sum())
            several = [a[done : done + n] for a in flat]
            done += n
            at = slice(skipped, skipped + r[-1] - r[0] + 1, r.step)
            if self.what == "values":
                ordering.sort_in_place(xp, several[0], self.kind)
                rows[0][row] = several[0][at]
                continue
            # as the parts of the runs stand, equal elements are in the order of their positions
            found = ordering.argsort(xp, several[0], -1, "stable")[at]
            taken = several[-1:] if self.what == "positions" else several
            for target, array in zip(rows, taken, strict=True):
                target[row] = array[found]
        return tuple(results) if self.parts else results[0]
