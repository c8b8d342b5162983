"""Sorting along an axis: rows that a task can hold (`Sort`), and the steps of an external sort (`Runs`, `Piece`).

An external sort is Leighton's columnsort. What each step reads is known without looking at the data, so its memory is
counted before the run like that of any other step, and no data, equal, skewed or sorted, can make it need more.

    runs      the axis in `s` runs of `r` elements, each sorted (padded with what is sorted last)
    dealt     each run is dealt to `s` hands like cards, `b` at a time; a hand of all runs together is sorted
    cut       each hand is cut in `s` parts; the same part of all hands together is sorted
    merged    now no element is farther than half a run from its place: the halves of neighbours are merged

It is right where ``r >= 2 * (s - 1) ** 2``; T. Leighton, Tight bounds on the complexity of parallel sorting, IEEE
Transactions on Computers 34, 1985. With `b` cards at a time hands differ `b` times as much, and ``r >= 2 * b * s ** 2``
will do: where runs are that long, elements are moved by whole lines of the processor's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from gpuarray.graph.grid import Chunks, Lengths, Region, nbytes, shape_of
from gpuarray.graph.move import Concat
from gpuarray.graph.node import Node
from gpuarray.kernels import ordering

_SEAMS = 1024
"""Bytes for where the halves of a run overlap."""
POSITION = np.dtype(np.int64)


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

    def with_inputs(self, *inputs: Node) -> Node:
        made: Node = Sort(self.axis, self.what, self.kind, *inputs)
        return made

    def regions(self, out: Region) -> tuple[Region, ...]:
        n = self.shape[self.axis]
        return (along(out, self.axis, range(n if out[self.axis] else 0)),)

    def workspace(self, out: Region) -> int:
        region = self.regions(out)[0]
        return nbytes(region, self.dtype) + (nbytes(region, POSITION) if self.what != "values" else 0)

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
    """Runs along an axis, each sorted.

    `width` is the length of every run in the result, which shorter ones are padded to; 0: the runs are pieces that
    were exchanged, which nobody else reads, and so they are sorted where they are.
    `paired`: the result is values and positions; positions are made here where the input has none. `seams`: each run
    is two sorted halves that meet at a multiple of this, and is stored.
    """

    __slots__ = ("axis", "cuts", "ends", "paired", "seams", "width")

    together = True

    def __init__(
        self, axis: int, cuts: Lengths, width: int, paired: bool, seams: int, chunks: Chunks, input: Node
    ) -> None:
        """`cuts`: where runs begin in the input. `chunks`: of the other axes."""
        self.axis, self.cuts, self.width, self.paired, self.seams = axis, cuts, width, paired, seams
        self.inputs, self.dtype = (input,), input.dtype
        self.ends = Lengths.regular(width * len(cuts), width) if width else cuts
        self.shape = along(input.shape, axis, self.ends.total)
        self.chunks = along(chunks, axis, self.ends)

    @property
    def inline(self) -> bool:  # type: ignore[override]
        return not self.seams

    @property
    def in_place(self) -> bool:
        """Its result is its input's memory."""
        return not self.width and not self.paired

    @property
    def parts(self) -> tuple[np.dtype[Any], ...] | None:
        return (self.dtype, POSITION) if self.paired else None

    @property
    def label(self) -> str:
        return "sort, runs merged" if self.seams else "sort, runs"

    def cost(self) -> float:
        return 4 * self.ends.largest.bit_length()

    def with_inputs(self, *inputs: Node) -> Node:
        rest = along(self.chunks, self.axis, self.cuts)
        made: Node = Runs(self.axis, self.cuts, self.width, self.paired, self.seams, rest, *inputs)
        return made

    def _runs(self, out: Region) -> range:
        return self.ends.touched(out[self.axis])

    def regions(self, out: Region) -> tuple[Region, ...]:
        runs = self._runs(out)
        span = range(self.cuts.edge(runs.start), self.cuts.edge(runs.stop)) if runs else range(0)
        return (along(out, self.axis, span),)

    def workspace(self, out: Region) -> int:
        if not self.paired:
            return _SEAMS
        return nbytes(out, self.dtype) + 6 * nbytes(out, POSITION)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        """The runs that a region touches; tasks ask for whole ones."""
        made = [self._sorted(backend, out, k, inputs[0]) for k in self._runs(out)]
        if not made:
            empty = tuple(backend.empty(shape_of(out), d) for d in self.fields)
            return empty if self.paired else empty[0]
        if len(made) == 1:
            return made[0]
        if self.in_place:
            return inputs[0]
        join = backend.xp.concatenate
        if not self.paired:
            return join(made, axis=self.axis)
        return tuple(join([run[k] for run in made], axis=self.axis) for k in range(2))

    def _sorted(self, backend: Any, out: Region, k: int, given: Any) -> Any:
        """One run, from the input over all runs of a region."""
        xp, start = backend.xp, self.cuts.edge(self._runs(out).start)
        lo, hi = self.cuts.edge(k), self.cuts.edge(k + 1)
        at: list[Any] = [slice(None)] * len(out)
        at[self.axis] = slice(lo - start, hi - start)
        several = isinstance(given, tuple)
        values = given[0] if several else given
        values = values if values.shape[self.axis] == hi - lo else values[tuple(at)]
        missing = self.width - (hi - lo) if self.width else 0
        if not self.paired:
            if self.width:
                values = self._padded(backend, values, missing, self.dtype)
                ordering.sort_in_place(xp, values, self.axis)
            elif self.seams:
                ordering.merge(xp, values, self.axis, -lo % self.seams)
            else:
                ordering.sort_in_place(xp, values, self.axis)
            return values
        if several:
            return ordering.sort_pair(xp, values, given[1][tuple(at)], self.axis)
        order = ordering.argsort(xp, values, self.axis, "stable")
        values = xp.take_along_axis(values, order, self.axis)
        order += lo
        if not missing:
            return values, order
        return self._padded(backend, values, missing, self.dtype), self._padded(backend, order, missing, POSITION)

    def _padded(self, backend: Any, array: Any, missing: int, dtype: np.dtype[Any]) -> Any:
        """A copy with what is sorted last behind it."""
        n = array.shape[self.axis]
        result = backend.empty(along(array.shape, self.axis, n + missing), dtype)
        at: list[Any] = [slice(None)] * array.ndim
        at[self.axis] = slice(0, n)
        result[tuple(at)] = array
        if missing:
            at[self.axis] = slice(n, None)
            result[tuple(at)] = ordering.last(dtype)
        return result


class Piece(Node):
    """One hand or one part of every run, end to end; run k is cut in `of` of them of equal length.

    `dealt`: how many elements at a time are dealt to the hands; 0 for parts, which are not dealt but cut.
    """

    __slots__ = ("axis", "dealt", "number", "of", "piece", "width")

    inline = False

    def __init__(self, axis: int, number: int, of: int, dealt: int, width: int, input: Node) -> None:
        self.axis, self.number, self.of, self.dealt, self.width = axis, number, of, dealt, width
        self.inputs, self.dtype = (input,), input.dtype
        self.piece = width // of
        n = input.shape[axis] // of
        self.shape = along(input.shape, axis, n)
        self.chunks = along(input.chunks, axis, Lengths.regular(n, self.piece))

    @property
    def parts(self) -> tuple[np.dtype[Any], ...] | None:
        return self.inputs[0].parts

    @property
    def label(self) -> str:
        return "sort, exchange"

    def cost(self) -> float:
        return 0

    def with_inputs(self, *inputs: Node) -> Node:
        made: Node = Piece(self.axis, self.number, self.of, self.dealt, self.width, *inputs)
        return made

    def regions(self, out: Region) -> tuple[Region, ...]:
        r = out[self.axis]
        runs = range(r[0] // self.piece, r[-1] // self.piece + 1) if r else range(0)
        return (along(out, self.axis, range(runs.start * self.width, runs.stop * self.width)),)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        if not self.parts:
            return self._taken(backend, out, inputs[0])
        return tuple(self._taken(backend, out, a) for a in inputs[0])

    def _taken(self, backend: Any, out: Region, array: Any) -> Any:
        """Memory of its own: the runs themselves are to be dropped."""
        result = backend.empty(shape_of(out), array.dtype)
        r, runs = out[self.axis], array.shape[self.axis] // self.width
        before, after = array.shape[: self.axis], array.shape[self.axis + 1 :]
        if r.step == 1 and len(r) == runs * self.piece:  # whole pieces, as tasks ask for
            b = self.dealt or self.piece
            dealt = array.reshape(*before, runs, self.piece // b, self.of, b, *after)
            hand = dealt[(*(slice(None),) * (self.axis + 2), self.number)]
            result.reshape(hand.shape)[...] = hand
        elif r:
            at: list[Any] = [slice(None)] * len(out)
            at[self.axis] = backend.from_host(self._places(r))
            result[...] = array[tuple(at)]
        return result

    def _places(self, r: range) -> np.ndarray[Any, Any]:
        """Where elements of the result are among the runs that it touches."""
        run, inside = np.divmod(np.arange(r.start, r.stop, r.step), self.piece)
        b = self.dealt or self.piece
        rounds, card = np.divmod(inside, b)
        places: np.ndarray[Any, Any] = (run - run.min()) * self.width + (rounds * self.of + self.number) * b + card
        return places


class Hands(Concat):
    """The same pieces of all runs, end to end; each is values, or values and positions."""

    __slots__ = ()

    @property
    def parts(self) -> tuple[np.dtype[Any], ...] | None:
        return self.inputs[0].parts

    def with_inputs(self, *inputs: Node) -> Node:
        made: Node = Hands(self.axis, *inputs)
        return made

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        if not self.parts:
            return super().evaluate(backend, out, *inputs)
        present = [i for i in inputs if i[0].shape[self.axis]]
        if len(present) == 1:
            return present[0]
        xp = backend.xp
        return tuple(xp.concatenate([i[k] for i in present], axis=self.axis) for k in range(len(self.fields)))


class Halves(Node):
    """Columns put together from their first and their second halves; each is values, or values and positions."""

    __slots__ = ("axis", "half")

    def __init__(self, axis: int, half: int, first: Node, second: Node) -> None:
        self.axis, self.half, self.inputs, self.dtype = axis, half, (first, second), first.dtype
        n = 2 * first.shape[axis]
        self.shape = along(first.shape, axis, n)
        self.chunks = along(first.chunks, axis, Lengths.regular(n, 2 * half))

    @property
    def parts(self) -> tuple[np.dtype[Any], ...] | None:
        return self.inputs[0].parts

    def with_inputs(self, *inputs: Node) -> Node:
        made: Node = Halves(self.axis, self.half, *inputs)
        return made

    def _needed(self, r: range) -> tuple[range, range]:
        """The halves that a region lies in, of the first and of the second ones."""
        lo, hi = (r[0] // self.half, r[-1] // self.half + 1) if r else (0, 0)
        return range((lo + 1) // 2, (hi + 1) // 2), range(lo // 2, hi // 2)

    def regions(self, out: Region) -> tuple[Region, ...]:
        spans = (range(k.start * self.half, k.stop * self.half) for k in self._needed(out[self.axis]))
        return tuple(along(out, self.axis, span) for span in spans)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        if not self.parts:
            return self._put_together(backend, out, inputs)
        return tuple(self._put_together(backend, out, [i[k] for i in inputs]) for k in range(len(self.fields)))

    def _put_together(self, backend: Any, out: Region, arrays: Sequence[Any]) -> Any:
        result = backend.empty(shape_of(out), arrays[0].dtype)
        r, needed = out[self.axis], self._needed(out[self.axis])
        at: list[Any] = [slice(None)] * len(out)
        into = at[:]
        for which, array in enumerate(arrays):
            for k in needed[which]:
                begin = (2 * k + which) * self.half
                into[self.axis], lo = _meeting(r, begin, begin + self.half)
                start = (k - needed[which].start) * self.half + lo - begin
                count = into[self.axis].stop - into[self.axis].start
                at[self.axis] = slice(start, start + (count - 1) * r.step + 1, r.step)
                if count > 0:
                    result[tuple(into)] = array[tuple(at)]
        return result


def _meeting(r: range, start: int, stop: int) -> tuple[slice, int]:
    """The part of a region that lies between two positions, and the first position of it."""
    lo = max(0, -(-(start - r.start) // r.step))
    hi = max(lo, min(len(r), -(-(stop - r.start) // r.step)))
    return slice(lo, hi), r.start + lo * r.step


class Trimmed(Node):
    """The first elements along each axis of a result of two arrays."""

    __slots__ = ("cut",)

    def __init__(self, cut: Chunks, input: Node) -> None:
        self.cut, self.inputs, self.dtype = cut, (input,), input.dtype
        self.shape, self.chunks = tuple(c.total for c in cut), cut

    @property
    def parts(self) -> tuple[np.dtype[Any], ...] | None:
        return self.inputs[0].parts

    def cost(self) -> float:
        return 0

    def with_inputs(self, *inputs: Node) -> Node:
        made: Node = Trimmed(self.cut, *inputs)
        return made

    def regions(self, out: Region) -> tuple[Region, ...]:
        return (out,)

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        return inputs[0]
