"""The launches that copy parts of several arrays into one: `calls.gather`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpuarray.kernels.cuda.call import MOST_BLOCKS, Address, Call, Phase, launch_of
from gpuarray.kernels.cuda.gather_code import IN_FLIGHT, MOST_PARTS, gather_kernel
from gpuarray.kernels.elementwise import Loops


@dataclass(frozen=True, slots=True)
class _Part:
    """One copy in words of `word` bytes; steps along each axis are those of the target and of the source."""

    source: Any
    target: Any
    word: int
    lengths: tuple[int, ...]
    steps: tuple[tuple[int, int], ...]
    starts: tuple[int, int]

    def arguments(self, axes: int, address: Address, empty: bool) -> list[Any]:
        more = axes - len(self.lengths)
        lengths, steps = (1,) * more + self.lengths, ((0, 0),) * more + self.steps
        moves = [step[j] for j in (0, 1) for step in steps]
        words = 0 if empty else math.prod(lengths)
        target, source = address(self.target, self.starts[0]), address(self.source, self.starts[1])
        return [target, source, words, *lengths[1:], *moves]


def gather(parts: Sequence[tuple[Any, Any]], address: Address, phase: Phase) -> list[Call]:
    """The launches that copy each part, (source, target): arrays of one shape and dtype, of any strides.

    The parts of a launch share nothing but its cost; no target overlaps a source or another target. Raises ValueError
    where a target does not fit its source.
    """
    found: dict[int, list[_Part]] = {}
    for source, target in parts:
        if source.shape != target.shape or source.dtype != target.dtype:
            raise ValueError(
                f"a part of shape {source.shape} and dtype {source.dtype} does not fit its place of shape "
                f"{target.shape} and dtype {target.dtype}"
            )
        if 0 not in source.shape:
            part = _part(source, target, phase)
            found.setdefault(part.word, []).append(part)
    calls = []
    for word, alike in found.items():
        for k in range(0, len(alike), MOST_PARTS):
            calls.append(_launch(word, alike[k : k + MOST_PARTS], address))
    return calls


def _part(source: Any, target: Any, phase: Phase) -> _Part:
    loops = Loops(list(target.shape), [list(s) for s in zip(target.strides, source.strides, strict=True)], [0, 0])
    loops.drop_ones()
    loops.forwards()
    loops.by_memory()
    loops.merge()
    size = target.dtype.itemsize
    lengths, steps = list(loops.lengths), [tuple(s) for s in loops.steps]
    piece = size
    if steps and steps[-1] == (size, size):
        piece *= lengths.pop()
        steps.pop()
    # the largest power of two that divides all of it
    bits = 16 | piece
    for value in (
        phase(target, 16) + loops.starts[0],
        phase(source, 16) + loops.starts[1],
        *(s for p in steps for s in p),
    ):
        bits |= abs(value)
    word = bits & -bits
    if piece > word:
        lengths.append(piece // word)
        steps.append((word, word))
    starts = loops.starts[0], loops.starts[1]
    return _Part(source, target, word, tuple(lengths), tuple((a, b) for a, b in steps), starts)


def _launch(word: int, parts: list[_Part], address: Address) -> Call:
    axes = max(1, *(len(p.lengths) for p in parts))
    count = 1 << (len(parts) - 1).bit_length()
    kernel = gather_kernel(word, axes, count)
    arguments: list[Any] = []
    for k in range(count):  # as many as the kernel has, the last of them empty
        arguments += parts[min(k, len(parts) - 1)].arguments(axes, address, k >= len(parts))
    most = max(math.prod(p.lengths) for p in parts)
    blocks = min(-(-most // (kernel.threads * IN_FLIGHT)), MOST_BLOCKS), len(parts)
    held = [a for p in parts for a in (p.source, p.target)]
    return launch_of(kernel, blocks, (kernel.threads,), *arguments, holds=held)
