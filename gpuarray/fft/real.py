"""Transforms of real numbers along an axis that is too long for a task: complex ones of half the length.

The elements with even and with odd positions become the real and the imaginary parts of an array of half the length.
Source: Cooley, Lewis and Welch, "The fast Fourier transform algorithm: programming considerations in the calculation
of sine, cosine and Laplace transforms", Journal of Sound and Vibration 12, 1970.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpuarray.axes import sliced
from gpuarray.elementwise import cast
from gpuarray.fft.passes import Step, factors, four_steps, padded, result_dtype
from gpuarray.graph.elementwise import Map
from gpuarray.graph.grid import Lengths
from gpuarray.graph.leaves import Index
from gpuarray.graph.move import Concat, Reshape
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits


def in_steps(node: Node, step: Step) -> Node | None:
    """A real transform of an axis that is not held whole; None where its length has no factors for that."""
    (n,) = step.lengths
    half = factors(n // 2) if n % 2 == 0 else None
    whole = None if half else factors(n)
    if half is None and whole is None:
        return None
    if step.kind == "rfft":
        return _halved(node, step, half) if half else _cut(node, step, whole)
    node = padded(cast(node, result_dtype("ifft", node.dtype)), step.axes[0], n // 2 + 1)
    return _unhalved(node, step, half) if half else _mirrored(node, step, whole)


def _halved(node: Node, step: Step, split: tuple[int, int]) -> Node:
    """`rfft` of an even length, from the transform of its even and odd elements as one of complex numbers."""
    (axis,), (n,) = step.axes, step.lengths
    dtype, m = result_dtype("rfft", node.dtype), n // 2
    node = padded(cast(node, dtype.type(0).real.dtype), axis, n)
    before, after = node.shape[:axis], node.shape[axis + 1 :]
    pairs: Node = Reshape((*before, m, 2, *after), node)
    others = tuple(range(axis)), tuple(range(axis + 1, node.ndim))
    along = (*others[0], axis, None, *others[1])
    cut = (*pairs.chunks[: axis + 1], *pairs.chunks[axis + 2 :])
    packed: Node = Routine(_packed, (("axis", axis),), dtype, cut, (along,), _traits("rfft"), pairs)
    z = four_steps(packed, Step("fft", (axis,), (m,), None), split)
    scale = {None: 1.0, "backward": 1.0, "ortho": 1 / math.sqrt(n), "forward": 1 / n}[step.norm]
    return _facing(z, Concat(axis, z, sliced(z, axis, range(1))), _untangled, axis, n, scale)


def _facing(z: Node, ring: Node, function: Any, axis: int, n: int, scale: float) -> Node:
    """A function of each element and the one that it mirrors: the k-th from the end."""
    length = n // 2 + (1 if function is _untangled else 0)
    m = n // 2
    seen = ring if ring.shape[axis] == length else sliced(ring, axis, range(length))
    facing = sliced(ring, axis, range(m, m - length, -1))
    position: Node = Index((length,), 0, (1,), None)
    each = Lengths.regular(length, max(1, min(length, z.chunks[axis].largest)))
    cut = (*z.chunks[:axis], each, *z.chunks[axis + 1 :])
    keywords = (("axis", axis), ("n", n), ("scale", scale))
    same = tuple(range(z.ndim))
    made: Node = Routine(
        function, keywords, z.dtype, cut, (same, same, (axis,)), _traits("rfft"), seen, facing, position
    )
    return made


def _unhalved(node: Node, step: Step, split: tuple[int, int]) -> Node:
    """`irfft` of an even length."""
    (axis,), (n,) = step.axes, step.lengths
    m = n // 2
    scale = {None: 1 / m, "backward": 1 / m, "ortho": math.sqrt(n) / m, "forward": 2.0}[step.norm]
    tangled = _facing(node, node, _tangled, axis, n, scale)
    z = four_steps(tangled, Step("ifft", (axis,), (m,), "forward"), split)
    dtype = result_dtype("irfft", node.dtype)
    before, after = z.shape[:axis], z.shape[axis + 1 :]
    along = (*range(axis + 1), *range(axis + 2, z.ndim + 1))
    cut = (*z.chunks[: axis + 1], Lengths.regular(2, 2), *z.chunks[axis + 1 :])
    pairs: Node = Routine(_unpacked, (("axis", axis),), dtype, cut, (along,), _traits("irfft"), z)
    made: Node = Reshape((*before, n, *after), pairs)
    return made


def _cut(node: Node, step: Step, split: tuple[int, int] | None) -> Node:
    """`rfft` of an odd length: the first half of the complex transform."""
    assert split is not None
    (axis,), (n,) = step.axes, step.lengths
    return sliced(four_steps(node, Step("fft", (axis,), (n,), step.norm), split), axis, range(n // 2 + 1))


def _mirrored(node: Node, step: Step, split: tuple[int, int] | None) -> Node:
    """`irfft` of an odd length: the complex transform of both halves."""
    assert split is not None
    (axis,), (n,) = step.axes, step.lengths
    other = Map("conjugate", node.dtype, sliced(node, axis, range((n - 1) // 2, 0, -1)))
    made = four_steps(Concat(axis, node, other), Step("ifft", (axis,), (n,), step.norm), split)
    real: Node = Map("real", result_dtype("irfft", node.dtype), made)
    return real


def _traits(label: str) -> Traits:
    return Traits(label, scratch=2.0, cost=30, within=True)


def _packed(xp: Any, pairs: Any, axis: int) -> Any:
    """Neighbours as the two parts of complex numbers."""
    last = xp.ascontiguousarray(xp.moveaxis(pairs, axis + 1, -1))
    return last.view(np.result_type(pairs.dtype, np.complex64))[..., 0]


def _unpacked(xp: Any, z: Any, axis: int) -> Any:
    return xp.stack([z.real, z.imag], axis=axis + 1)


def _turned(xp: Any, position: Any, shape: tuple[int, ...], axis: int, n: int, sign: int) -> Any:
    """The roots of one that turn the odd elements, along an axis."""
    angle = position * (sign * 2 * np.pi / n)
    return (xp.cos(angle) + 1j * xp.sin(angle)).reshape((-1,) + (1,) * (len(shape) - axis - 1))


def _untangled(xp: Any, z: Any, facing: Any, position: Any, axis: int, n: int, scale: float) -> Any:
    """From the transform of complex numbers that of the real ones which they are made of."""
    facing = xp.conj(facing)
    roots = _turned(xp, position, z.shape, axis, n, -1).astype(z.dtype)
    half = z.real.dtype.type(scale / 2)
    return ((z + facing) - z.dtype.type(1j) * roots * (z - facing)) * half


def _tangled(xp: Any, x: Any, facing: Any, position: Any, axis: int, n: int, scale: float) -> Any:
    """The other way round; the first and the last element count as real, whatever their imaginary parts."""
    end = (position == 0).reshape((-1,) + (1,) * (x.ndim - axis - 1))
    x, facing = xp.where(end, x.real, x), xp.where(end, facing.real, xp.conj(facing))
    roots = _turned(xp, position, x.shape, axis, n, 1).astype(x.dtype)
    half = x.real.dtype.type(scale / 2)
    return ((x + facing) + x.dtype.type(1j) * roots * (x - facing)) * half
