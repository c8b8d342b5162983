"""The library's routines on stacks of matrices, each of which one task holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpuarray import config
from gpuarray.array import NDArray, asarray
from gpuarray.elementwise import apply, cast
from gpuarray.graph.contract import batch_chunks
from gpuarray.graph.grid import Lengths
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.kernels.errors import UnsupportedDTypeError
from gpuarray.manipulation import reshaped

HOLD = "a task holds a whole matrix here"


def room() -> int:
    """Bytes of the memory in which tasks compute."""
    settings = config.get()
    device = None if settings.device in ("auto", "cpu") else settings.device_memory
    return device or settings.host_limit()


def fits_a_task(*nbytes: int) -> bool:
    """Whether matrices are so small that one task does the work, with the library's own routine."""
    return sum(nbytes) <= min(config.get().chunk_bytes, room() // 8)


LIBRARY = 8 << 20
"""Bytes of a matrix up to which the library factors it, where it fits: a larger one is cut, however much would fit."""


def of_the_library(nbytes: int) -> bool:
    """Whether a matrix is small enough to be factored by the library's own routine."""
    return nbytes <= LIBRARY and fits_a_task(nbytes)


def matrices(x: Any, name: str, least: int = 2, square: bool = False) -> NDArray:
    """An array of matrices in a dtype of linear algebra: floats stay, integers become float64.

    Raises LinAlgError (a ValueError) for fewer dimensions than two, UnsupportedDTypeError (a TypeError) for halves.
    """
    a = asarray(x)
    if a.ndim < least:
        raise np.linalg.LinAlgError(f"{name} takes an array of at least {least} dimensions, got shape {a.shape}")
    if square and a.shape[-1] != a.shape[-2]:
        raise np.linalg.LinAlgError(f"{name} takes square matrices, got shape {a.shape}")
    return NDArray(cast(a.node, inexact(a.dtype, name)))


def inexact(dtype: np.dtype[Any], name: str) -> np.dtype[Any]:
    """The dtype in which linear algebra is done."""
    if dtype.kind in "biu":
        return np.dtype(np.float64)
    if dtype.kind not in "fc" or dtype == np.float16:
        raise UnsupportedDTypeError(f"{name} is not defined for {dtype}; cast to float32 or float64 with astype first")
    return dtype


def real_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of the absolute values."""
    made: np.dtype[Any] = np.zeros((), dtype).real.dtype
    return made


def complex_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.result_type(dtype, np.complex64)


def stacked(
    function: Callable[..., Any],
    core: tuple[int, ...],
    dtype: np.dtype[Any],
    arguments: Sequence[tuple[Node, int]],
    label: str,
    *,
    scratch: float = 2.0,
    cost: float = 1.0,
    remedy: str = "",
    keywords: dict[str, Any] | None = None,
) -> Node:
    """``function(xp, *arrays, **keywords)`` for every element of a stack; `core` is the shape of one result.

    `arguments`: arrays with the number of their axes that are not the stack's.
    """
    batch = np.broadcast_shapes(*(node.shape[: node.ndim - k] for node, k in arguments))
    cut = batch_chunks(batch, arguments)
    chunks = (*cut, *(Lengths.regular(n, n) for n in core))
    n = len(batch)
    along = tuple((*range(n - node.ndim + k, n), *(None,) * k) for node, k in arguments)
    traits = Traits(label, tuple(range(n, n + len(core))), scratch=scratch, cost=cost, remedy=remedy)
    given = tuple(sorted((keywords or {}).items()))
    made: Node = Routine(function, given, dtype, chunks, along, traits, *(node for node, _ in arguments))
    return made


# Several results in one.


def packed(xp: Any, *arrays: Any, name: str, options: tuple[tuple[str, Any], ...], dtype: Any, cores: Any) -> Any:
    """The results of a function of the library, flattened and end to end along the last axis."""
    found = getattr(xp.linalg, name)(*arrays, **dict(options))
    flat = []
    for part, core in zip(found, cores, strict=True):
        batch = part.shape[: part.ndim - core]
        flat.append(part.reshape((*batch, math.prod(part.shape[part.ndim - core :]))).astype(dtype))
    return xp.concatenate(flat, axis=-1)


def several(
    name: str,
    shapes: Sequence[tuple[int, ...]],
    dtypes: Sequence[np.dtype[Any]],
    arguments: Sequence[tuple[Node, int]],
    *,
    scratch: float = 3.0,
    cost: float = 1.0,
    remedy: str = "",
    **options: Any,
) -> list[NDArray]:
    """The results of a function of the library that returns several, for every element of a stack."""
    dtype = np.result_type(*dtypes)
    total = sum(math.prod(s) for s in shapes)
    node = stacked(
        packed,
        (total,),
        dtype,
        arguments,
        name,
        scratch=scratch,
        cost=cost,
        remedy=remedy,
        keywords={
            "name": name,
            "options": tuple(sorted(options.items())),
            "dtype": dtype,
            "cores": tuple(map(len, shapes)),
        },
    )
    return [unpacked(node, k, shapes, d) for k, d in enumerate(dtypes)]


def unpacked(node: Node, number: int, shapes: Sequence[tuple[int, ...]], dtype: np.dtype[Any]) -> NDArray:
    """One of several results that were put end to end."""
    start = sum(math.prod(s) for s in shapes[:number])
    part = NDArray(node)[..., start : start + math.prod(shapes[number])]
    made = NDArray(reshaped(part.node, (*part.shape[:-1], *shapes[number])))
    if made.dtype.kind == "c" and dtype.kind != "c":
        made = apply("real", made)
    return NDArray(cast(made.node, dtype))
