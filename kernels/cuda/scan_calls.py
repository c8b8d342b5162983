"""The launches of a scan: `calls.scan`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpuarray.kernels.cuda import scan_code
from gpuarray.kernels.cuda.call import MOST_BLOCKS, Address, Call, Empty, launch_of
from gpuarray.kernels.cuda.elementwise_calls import fill
from gpuarray.kernels.cuda.scan_code import Scan, rows_kernel, stacked_kernel
from gpuarray.kernels.elementwise import Loops
from gpuarray.kernels.table import ELEMENTWISE

FEW_LINES = 1 << 14
"""Lines that leave a large GPU idle: of fewer, those that may be cut are."""
SEGMENT = 1024
"""Elements of a piece of a line, at least."""
SIDE_BY_SIDE = 16
"""Lines next to each other in memory from which on a thread reads its own."""


@dataclass(frozen=True, slots=True)
class _Walk:
    """How lines lie in an array: bytes from its element 0, along a line, and along the axes of lines."""

    array: Any
    offset: int
    along: int
    steps: tuple[int, ...]

    @property
    def dtype(self) -> str:
        return str(self.array.dtype.name)

    def cut(self, length: int) -> _Walk:
        """Pieces of so many elements as one more axis of lines."""
        return replace(self, steps=(*self.steps, length * self.along))

    def behind(self, elements: int) -> _Walk:
        return replace(self, offset=self.offset + elements * self.along)


def scannable(name: str, source: np.dtype[Any], dtype: np.dtype[Any]) -> str:
    """Why there is no CUDA scan of elements of dtype `source` in dtype `dtype`, or an empty text: then there is one.

    >>> scannable("sum", np.dtype("int8"), np.dtype("int64")), scannable("sum", np.dtype("f2"), np.dtype("f2"))
    ('', 'sum of float16 has no scalar code')
    """
    if scan_code.code_of(name, dtype) is None:
        return f"{name} of {dtype} has no scalar code"
    known = source.isnative and ELEMENTWISE["cast"].code_for((source,), dtype) is not None
    return "" if known else f"a cast of {source} to {dtype} has no scalar code"


def scan(
    name: str, array: Any, axis: int, carry: Any, dtype: np.dtype[Any], out: Any, address: Address, empty: Empty
) -> list[Call]:
    """The launches that compute `Backend.scan` into `out`, in order.

    `out` has the array's shape and `dtype`; it is the array itself, element for element, or does not overlap it. For
    integers and floats the bits are NumPy's.
    """
    if 0 in array.shape:
        return []
    values = [out, array] if carry is None else [out, array, carry]
    kept = [a for a in range(array.ndim) if a != axis]
    loops = Loops([array.shape[a] for a in kept], [[v.strides[a] for v in values] for a in kept], [0] * len(values))
    loops.drop_ones()
    loops.forwards()
    loops.by_memory()
    loops.merge()
    lengths = tuple(loops.lengths) or (1,)
    steps = loops.steps or [[0] * len(values)]
    walks = [
        _Walk(v, start, v.strides[axis], tuple(step[j] for step in steps))
        for j, (v, start) in enumerate(zip(values, loops.starts, strict=True))
    ]
    return _scan(
        name, lengths, array.shape[axis], walks[1], walks[0], walks[2] if carry is not None else None, address, empty
    )


def _scan(
    name: str,
    lengths: tuple[int, ...],
    n: int,
    source: _Walk,
    target: _Walk,
    carry: _Walk | None,
    address: Address,
    empty: Empty,
) -> list[Call]:
    """Scan all lines, in pieces at once where that has the same bits and lines are few."""
    dtype = target.array.dtype
    lines = math.prod(lengths)
    if lines >= FEW_LINES or n < 2 * SEGMENT or not scan_code.is_associative(name, dtype):
        return [_launch(name, lengths, n, source, target, carry, address)]
    # as many pieces as keep a large GPU busy; of each its total, then the scan of the totals, then the pieces' own
    piece = max(SEGMENT, -(-n * lines // (4 * FEW_LINES * 64)) * 64)
    count, whole = -(-n // piece), n // piece
    totals = empty(lines * count, dtype).reshape(lines, count)
    size = dtype.itemsize
    before = tuple(count * size * math.prod(lengths[a + 1 :]) for a in range(len(lengths)))
    first = _Walk(totals, 0, size, before)
    if carry is not None:
        calls = [_launch(name, lengths, 1, replace(carry, along=0), first, None, address)]
    else:
        calls = [c for c in (fill(totals[:, :1], scan_code.identity(name, dtype), address),) if c]
    row = _Walk(totals, 0, size, (count * size,))
    pieces = (*lengths, count - 1)
    if count > 1:
        calls.append(_launch(name, pieces, piece, source.cut(piece), first.behind(1).cut(1), None, address, total=True))
        calls += _scan(name, (lines,), count, row, row, None, address, empty)
    if whole:
        pieces = (*lengths, whole)
        calls.append(
            _launch(
                name,
                pieces,
                piece,
                source.cut(piece),
                target.cut(piece),
                replace(first, along=0, steps=(*before, size)),
                address,
            )
        )
    if n > whole * piece:
        done = whole * piece
        last = _Walk(totals, whole * size, 0, before)
        calls.append(_launch(name, lengths, n - done, source.behind(done), target.behind(done), last, address))
    return calls


def _launch(
    name: str,
    lengths: tuple[int, ...],
    n: int,
    source: _Walk,
    target: _Walk,
    carry: _Walk | None,
    address: Address,
    total: bool = False,
) -> Call:
    kind = Scan(name, source.dtype, target.dtype, carry.dtype if carry else "", len(lengths), total)
    lines = math.prod(lengths)
    if lengths[-1] >= SIDE_BY_SIDE and abs(source.steps[-1]) < abs(source.along):
        kernel = stacked_kernel(kind)
        blocks = -(-lines // kernel.threads)
    else:
        together = next(k for k in scan_code.LINES if lines >= k)
        kernel = rows_kernel(kind, together)
        blocks = -(-lines // together)
    walks = [target, source] + [carry] * (carry is not None)
    arguments = [address(w.array, w.offset) for w in walks if w]
    arguments += [target.along, source.along, *(s for w in walks if w for s in w.steps), *lengths[1:], n, lines]
    held = [w.array for w in walks if w]
    return launch_of(kernel, (min(blocks, MOST_BLOCKS),), (kernel.threads,), *arguments, holds=held)
