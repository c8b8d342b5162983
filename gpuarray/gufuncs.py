"""Functions of whole axes, applied along all others: what NumPy calls generalized ufuncs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.checks import check_dtype
from gpuarray.errors import BlockFunctionError
from gpuarray.graph.grid import Chunks, Lengths
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.manipulation import broadcast_shapes

Core = tuple[str, ...]
"""The names of the axes that a function takes or gives whole."""
REMEDY = "the function takes these axes whole: cut the other axes into smaller chunks, or shorten these"
_ARGUMENT = r"\(\s*(?:\w+(?:\s*,\s*\w+)*\s*,?)?\s*\)"
_LIST = rf"\s*{_ARGUMENT}(?:\s*,\s*{_ARGUMENT})*\s*"


def parsed(signature: str) -> tuple[list[Core], list[Core]]:
    """The axes of each argument and of each result.

    >>> parsed("(i,j),(j)->(i)")
    ([('i', 'j'), ('j',)], [('i',)])
    """
    if not re.fullmatch(rf"(?:{_LIST})?->{_LIST}", signature):
        raise ValueError(f'signature={signature!r} is none; write axes by name, as in "(i,j),(j)->(i)"')
    left, right = (
        [tuple(re.findall(r"\w+", part)) for part in re.findall(_ARGUMENT, side)] for side in signature.split("->")
    )
    return left, right


def apply_gufunc(
    function: Callable[..., Any],
    signature: str,
    *args: Any,
    output_dtypes: Any = None,
    output_sizes: dict[str, int] | None = None,
    vectorize: bool = False,
    **kwargs: Any,
) -> Any:
    """Apply a function that takes some axes whole along all the others.

    >>> import gpuarray as ga
    >>> x = ga.asarray([[1.0, 2.0, 6.0], [4.0, 4.0, 4.0]])
    >>> ga.apply_gufunc(lambda v: v.max(axis=-1) - v.min(axis=-1), "(i)->()", x).compute()
    array([5., 0.])

    Parameters
    ----------
    function : called with parts of the arrays, the axes of the signature last and whole; it returns an array, or a
        tuple of as many as the signature says. What it gets must not be written to.
    signature : the axes of arguments and results by name, as in ``"(i,j),(j)->(i)"``
    *args : arrays; their other axes broadcast
    output_dtypes : the dtype of each result; None: found by calling the function with ones
    output_sizes : the lengths of axes that no argument has
    vectorize : the function takes one element of the other axes at a time (a loop in Python)
    **kwargs : passed on

    Each of several results is computed on its own. Raises ValueError for arguments that do not fit the signature,
    BlockFunctionError, when it is computed, for results that do not.
    """
    call = np.vectorize(function, signature=signature, excluded=set(kwargs)) if vectorize else function
    name = getattr(function, "__name__", "gufunc")
    made = on_whole_axes(call, name, signature, args, output_dtypes, output_sizes, on_host=vectorize, keywords=kwargs)
    return made[0] if len(made) == 1 else tuple(made)


def on_whole_axes(
    call: Callable[..., Any],
    name: str,
    signature: str,
    args: Sequence[Any],
    output_dtypes: Any,
    output_sizes: dict[str, int] | None = None,
    *,
    on_host: bool = True,
    keywords: dict[str, Any] | None = None,
) -> list[NDArray]:
    """`apply_gufunc`, with the operation's name and whether the function is one of NumPy's arrays alone."""
    left, right = parsed(signature)
    keywords = keywords or {}
    arrays = [asarray(a) for a in args]
    if len(arrays) != len(left):
        raise ValueError(f"signature={signature!r} has {len(left)} arguments, got {len(arrays)}")
    sizes = _sizes(arrays, left, dict(output_sizes or {}), signature)
    for axis in {n for core in right for n in core} - set(sizes):
        raise ValueError(f"axis {axis!r} of a result is in no argument: say how long it is with output_sizes=")
    kinds = _dtypes(call, left, right, arrays, sizes, output_dtypes, keywords)
    loops = [x.shape[: x.ndim - len(core)] for x, core in zip(arrays, left, strict=True)]
    shape = broadcast_shapes(*loops)
    chunks = _loop_chunks(shape, arrays, loops)
    along: list[tuple[int | None, ...]] = []
    for loop, core in zip(loops, left, strict=True):
        along.append((*(len(shape) - len(loop) + k for k in range(len(loop))), *(None for _ in core)))
    held = _Call(call, keywords, len(right), on_host)
    made = []
    for k, (core, kind) in enumerate(zip(right, kinds, strict=True)):
        lengths = tuple(sizes[n] for n in core)
        cut = (*chunks, *(Lengths.regular(n, n) for n in lengths))
        whole = tuple(range(len(shape), len(cut)))
        traits = Traits(name, whole=whole, scratch=2.0, cost=100, remedy=REMEDY)
        nodes = (x.node for x in arrays)
        words = (("call", held), ("number", k), ("core", lengths))
        node: Node = Routine(_called, words, kind, cut, tuple(along), traits, *nodes)
        made.append(NDArray(node))
    return made


class _Call:
    """A user's function with its keywords, which may not hash; equal to itself alone."""

    def __init__(self, function: Callable[..., Any], keywords: dict[str, Any], results: int, on_host: bool) -> None:
        self.function, self.keywords, self.results, self.on_host = function, keywords, results, on_host


def _called(xp: Any, *blocks: Any, call: _Call, number: int, core: tuple[int, ...]) -> Any:
    given = blocks
    if call.on_host:
        given = tuple(b if isinstance(b, np.ndarray) else xp.asnumpy(b) for b in blocks)
    made = call.function(*given, **call.keywords)
    made = made[number] if call.results > 1 else made
    made = xp.asarray(made) if call.on_host or not hasattr(made, "shape") else made
    if made.shape[made.ndim - len(core) :] != core:
        raise BlockFunctionError(
            f"the function returned shape {made.shape} for result {number}; its last axes must have lengths {core}"
        )
    return made


def _sizes(arrays: list[NDArray], left: list[Core], sizes: dict[str, int], signature: str) -> dict[str, int]:
    """The length of each named axis."""
    for k, (x, core) in enumerate(zip(arrays, left, strict=True)):
        if x.ndim < len(core):
            raise ValueError(f"argument {k} has shape {x.shape}; signature={signature!r} asks for {len(core)} axes")
        for name, n in zip(core, x.shape[x.ndim - len(core) :], strict=True):
            if sizes.setdefault(name, n) != n:
                raise ValueError(f"axis {name!r} has length {sizes[name]} and, in argument {k}, length {n}")
    return sizes


def _dtypes(
    call: Any,
    left: list[Core],
    right: list[Core],
    arrays: list[NDArray],
    sizes: dict[str, int],
    asked: Any,
    keywords: dict[str, Any],
) -> list[np.dtype[Any]]:
    if asked is not None:
        several = asked if isinstance(asked, (list, tuple)) else [asked] * len(right)
        if len(several) != len(right):
            raise ValueError(f"output_dtypes has {len(several)} entries for {len(right)} results")
        kinds = [np.dtype(d) for d in several]
    else:
        ones = [np.ones(tuple(sizes[n] for n in core), x.dtype) for x, core in zip(arrays, left, strict=True)]
        with np.errstate(all="ignore"):
            found: Sequence[Any] = call(*ones, **keywords) if len(right) > 1 else [call(*ones, **keywords)]
        if len(found) != len(right):
            raise ValueError(f"the function returned {len(found)} results, its signature has {len(right)}")
        kinds = [np.asarray(f).dtype for f in found]
    for kind in kinds:
        check_dtype(kind)
    return kinds


def _loop_chunks(shape: tuple[int, ...], arrays: list[NDArray], loops: list[tuple[int, ...]]) -> Chunks:
    """How the axes are cut that the function does not take whole: as in the first argument that has them."""
    cut = []
    for a, n in enumerate(shape):
        back = len(shape) - a
        found = (
            x.chunks[len(loop) - back]
            for x, loop in zip(arrays, loops, strict=True)
            if len(loop) >= back and loop[len(loop) - back] == n
        )
        cut.append(next(found, Lengths.regular(n, n)))
    return tuple(cut)
