"""How transforms become passes over an array: which axes at once, and how it is cut between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from gpuarray import config
from gpuarray.axes import permuted, sliced
from gpuarray.chunking import normalize_chunks
from gpuarray.elementwise import cast
from gpuarray.graph.grid import Chunks, Lengths
from gpuarray.graph.leaves import Index, Source
from gpuarray.graph.move import Concat, Reshape
from gpuarray.graph.node import Node, toposort
from gpuarray.graph.routine import Routine, Traits, strips
from gpuarray.kernels.errors import UnsupportedDTypeError

REMEDY = "cut the array into shorter pieces along the transformed axis or pad it (n=) to a product of small factors"
MOST = 4096
"""Strips between two passes."""


@dataclass(frozen=True)
class Step:
    """One call of the library: a transform along axes, of which the last may change its length."""

    kind: str
    """"fft", "ifft", "rfft" or "irfft"; of several axes the library's function of that name with an n."""
    axes: tuple[int, ...]
    lengths: tuple[int, ...]
    """The length along each of the axes that is transformed: what is shorter is padded with zeros."""
    norm: str | None


def room() -> int:
    """Bytes of the memory in which tasks compute."""
    settings = config.get()
    device = None if settings.device in ("auto", "cpu") else settings.device_memory
    return device or settings.host_limit()


@cache
def result_dtype(kind: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of a transform, which is NumPy's. Raises UnsupportedDTypeError for what is no number."""
    if dtype.kind not in "biufc":
        raise UnsupportedDTypeError(f"{kind} is not defined for {dtype}; cast with astype first")
    if kind == "rfft" and dtype.kind == "c":
        raise UnsupportedDTypeError(f"rfft takes real numbers, got {dtype}; use fft, or .real")
    made: np.dtype[Any] = getattr(np.fft, kind)(np.ones(2, dtype)).dtype
    return made


def transform(xp: Any, x: Any, kind: str, axes: tuple[int, ...], lengths: tuple[int, ...], norm: str | None) -> Any:
    """One call of the library on whole axes."""
    if x.dtype.kind in "bui":  # what NumPy does; CuPy asks for it
        x = x.astype(np.float64)
    if len(axes) == 1:
        return getattr(xp.fft, kind)(x, n=lengths[0], axis=axes[0], norm=norm)
    return getattr(xp.fft, kind + "n")(x, s=lengths, axes=axes, norm=norm)


def run(node: Node, steps: Sequence[Step]) -> Node:
    """Transform after transform, each along other axes."""
    for number, step in enumerate(steps):
        node = cropped(node, step)
        later = steps[number + 1 :]
        if len(step.axes) == 1 and step.kind in ("fft", "ifft") and too_long(node, step):
            split = factors(step.lengths[0])
            if split is not None:
                node = four_steps(node, step, split)
                continue
        if len(step.axes) == 1 and step.kind in ("rfft", "irfft") and too_long(node, step):
            from gpuarray.fft.real import in_steps

            halved = in_steps(node, step)
            if halved is not None:
                node = halved
                continue
        across = [a for a in step.axes if later and a not in later[0].axes]
        node = one_pass(node, step, kept=not across)
        if across:  # the next pass goes through the result across these axes
            node = cut_in_strips(node, max(across, key=node.shape.__getitem__))
    return node


def cropped(node: Node, step: Step) -> Node:
    """The array without what is beyond the transformed lengths: it need not be read."""
    for axis, n in zip(step.axes, step.lengths, strict=True):
        used = n // 2 + 1 if step.kind == "irfft" and axis == step.axes[-1] else n
        if node.shape[axis] > used:
            node = sliced(node, axis, range(used))
    return node


def one_pass(node: Node, step: Step, kept: bool = True) -> Node:
    """A transform along axes that fit in memory."""
    several = len(step.axes) > 1 and step.kind == "irfft"  # then what it gets is complex already
    dtype = result_dtype(step.kind, result_dtype("ifft", node.dtype) if several else node.dtype)
    shape = list(node.shape)
    for axis, n in zip(step.axes, step.lengths, strict=True):
        shape[axis] = n
    if step.kind == "rfft":
        shape[step.axes[-1]] = step.lengths[-1] // 2 + 1
    along = tuple(None if a in step.axes else a for a in range(node.ndim))
    work = 5 * sum(math.log2(max(2, n)) for n in step.lengths)
    name = step.kind if len(step.axes) == 1 else step.kind + "n"
    # Without a cast the library needs a few lines; between axes it makes an array for each.
    scratch = 0.05 if len(step.axes) == 1 and node.dtype == dtype else 1.0
    traits = Traits(name, step.axes, scratch=scratch, cost=work, within=not kept, remedy=REMEDY)
    keywords = (("kind", step.kind), ("axes", step.axes), ("lengths", step.lengths), ("norm", step.norm))
    cut = chunks_across(node, tuple(shape), step.axes, dtype)
    made: Node = Routine(transform, keywords, dtype, cut, (along,), traits, node)
    return made


def chunks_across(node: Node, shape: tuple[int, ...], axes: tuple[int, ...], dtype: np.dtype[Any]) -> Chunks:
    """The chunks of a transform: whole along its axes, along the others as before unless that is too much."""
    cut = [Lengths.regular(n, n) if a in axes else node.chunks[a] for a, n in enumerate(shape)]
    if math.prod(c.largest for c in cut) * dtype.itemsize <= 2 * config.get().chunk_bytes:
        return tuple(cut)
    return normalize_chunks([-1 if a in axes else "auto" for a in range(len(shape))], shape, dtype)


def cut_in_strips(node: Node, axis: int) -> Node:
    """The result cut along an axis that its tasks hold whole; of about half a chunk's bytes each."""
    n = node.shape[axis]
    total = math.prod(node.shape) * node.dtype.itemsize
    settings = config.get()
    size = max(1, min(settings.chunk_bytes // 2, room() // 16))
    count = max(1, min(n, MOST, -(-total // size)))
    lengths = Lengths.regular(n, max(1, -(-n // count)))
    made: Node = Concat(axis, *strips(axis, lengths, node))
    return made


# An axis that is too long.


def too_long(node: Node, step: Step) -> bool:
    """Whether a task for a single run of the axis would take much of the memory limit, or very long."""
    settings = config.get()
    item = result_dtype("fft", node.dtype).itemsize // (1 if step.kind in ("fft", "ifft") else 2)
    return step.lengths[0] * item > min(room() // 8, 16 * settings.chunk_bytes)


def factors(n: int) -> tuple[int, int] | None:
    """Two factors of a length, as near to each other as there are; None where one of them is tiny.

    >>> factors(2**20), factors(10**6), factors(1_000_003)
    ((1024, 1024), (1000, 1000), None)
    """
    for small in range(math.isqrt(n), 15, -1):
        if n % small == 0:
            return small, n // small
    return None


def twiddled(xp: Any, x: Any, position: Any, axis: int, kind: str, n: int) -> Any:
    """The inner transforms of a long axis, turned by ``exp(-2 pi i j k / n)``; `position` holds j."""
    made = getattr(xp.fft, kind)(x, axis=axis, norm="backward" if kind == "fft" else "forward")
    k = xp.arange(made.shape[axis])
    turns = (k[:, None] * position[None, :]) % n
    angle = turns * ((-2 if kind == "fft" else 2) * np.pi / n)
    shape = (*made.shape[axis : axis + 2], *(1,) * (made.ndim - axis - 2))
    factor = (xp.cos(angle) + 1j * xp.sin(angle)).astype(made.dtype)
    return made * factor.reshape(shape)


def outer(xp: Any, x: Any, axis: int, kind: str, scale: float) -> Any:
    """The outer transforms of a long axis, with the factor that the norm asks for."""
    made = getattr(xp.fft, kind)(x, axis=axis, norm="backward" if kind == "fft" else "forward")
    return made if scale == 1 else made * made.real.dtype.type(scale)


def four_steps(node: Node, step: Step, split: tuple[int, int]) -> Node:
    """The transform of an axis that is not held whole: columns, turned, and then rows, of the axis as a matrix.

    Source: Bailey, "FFTs in external or hierarchical memory", The Journal of Supercomputing 4, 1990.
    """
    (axis,), (n,), kind = step.axes, step.lengths, step.kind
    rows, columns = split
    dtype = result_dtype(kind, node.dtype)
    node = padded(cast(node, dtype), axis, n)
    before, after = node.shape[:axis], node.shape[axis + 1 :]
    matrix: Node = Reshape((*before, rows, columns, *after), node)
    if any(isinstance(i, Source) and not i.reader.in_memory for i in toposort(node)):
        matrix = cut_in_strips(matrix, axis + 1)
    across = tuple(None if a == axis else a for a in range(matrix.ndim))
    position: Node = Index((columns,), 0, (1,), None)
    cut = (*matrix.chunks[:axis], Lengths.regular(rows, rows), *matrix.chunks[axis + 1 :])
    traits = Traits(kind, whole=(axis,), cost=5 * math.log2(rows) + 20, within=True, scratch=2)
    keywords = (("axis", axis), ("kind", kind), ("n", n))
    inner: Node = Routine(twiddled, keywords, dtype, cut, (across, (axis + 1,)), traits, matrix, position)
    inner = cut_in_strips(inner, axis)
    along = tuple(None if a == axis + 1 else a for a in range(matrix.ndim))
    traits = Traits(kind, whole=(axis + 1,), cost=5 * math.log2(columns), within=True)
    scaled = (("axis", axis + 1), ("kind", kind), ("scale", factor_of(step)))
    # Of the rows one chunk, which the planner cuts as memory asks: the chunks of the result are whole strips then.
    cut = (*inner.chunks[:axis], *(Lengths.regular(m, m) for m in split), *inner.chunks[axis + 2 :])
    made: Node = Routine(outer, scaled, dtype, cut, (along,), traits, inner)
    made = cut_in_strips(made, axis + 1)
    order = (*range(axis), axis + 1, axis, *range(axis + 2, made.ndim))
    whole: Node = Reshape((*before, n, *after), permuted(made, order))
    return whole


def factor_of(step: Step) -> float:
    """What a transform without any factor is multiplied by."""
    n, norm = step.lengths[0], step.norm or "backward"
    if norm == "ortho":
        return 1 / math.sqrt(n)
    return 1 / n if (norm == "forward") == (step.kind == "fft") else 1.0


def padded(node: Node, axis: int, n: int) -> Node:
    """The array with zeros at the end of an axis."""
    missing = n - node.shape[axis]
    if not missing:
        return node
    from gpuarray.creation import zeros

    shape = tuple(missing if a == axis else m for a, m in enumerate(node.shape))
    return Concat(axis, node, zeros(shape, node.dtype).node)
