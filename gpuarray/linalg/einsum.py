"""Einstein's sums: pairs of operands, in NumPy's order, as products of matrices, of elements, and sums."""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.axes import permuted, with_new_axes
from gpuarray.elementwise import CASTINGS, apply, cast, into
from gpuarray.graph.select import AxisMap, Select
from gpuarray.linalg.products import product
from gpuarray.manipulation import broadcast_to, reshaped
from gpuarray.reductions import sum as total

Operand = tuple[NDArray, str]
"""An array, and a letter for each of its axes; no letter twice."""


def einsum(
    *operands: Any, out: Any = None, dtype: Any = None, casting: Any = "safe", optimize: Any = "greedy"
) -> NDArray:
    """Sum of products of elements, by Einstein's convention.

    >>> import gpuarray as ga
    >>> ga.einsum("ij,jk->ik", [[1, 2], [3, 4]], [[0, 1], [1, 0]]).compute()
    array([[2, 1],
           [4, 3]])

    Parameters
    ----------
    operands : the subscripts and the arrays, or arrays each followed by a list of axis numbers, as in `numpy.einsum`
    out : an `NDArray` that is made to stand for the result
    dtype : in which to compute
    casting : which conversions to it are allowed
    optimize : the order of contraction: "greedy" (also for True), "optimal", a path from `einsum_path`, or False for
        from left to right

    Operands are contracted in pairs: a pair with axes to sum over is a product of matrices, with memory for a few of
    its blocks. Raises ValueError for subscripts that do not fit the arrays, TypeError for dtypes that have no product.
    """
    subscripts, arrays = parsed(operands)
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    if casting not in CASTINGS:
        raise ValueError(f"casting={casting!r} is no rule; write one of {', '.join(map(repr, CASTINGS))}")
    kind = np.result_type(*(a.dtype for a in arrays)) if dtype is None else np.dtype(dtype)
    if kind.kind not in "biufc":
        raise TypeError(f"einsum is not defined for {kind}; cast with astype first")
    for a in arrays:
        if not np.can_cast(a.dtype, kind, casting):
            raise TypeError(f"cannot cast from {a.dtype} to {kind} with casting={casting!r}; use another dtype=")
    lengths = lengths_of(terms, arrays)
    pool = [one(NDArray(cast(a.node, kind)), t, lengths) for a, t in zip(arrays, terms, strict=True)]
    for step in order(subscripts, arrays, optimize):
        picked = [pool.pop(k) for k in sorted(step, reverse=True)]
        needed = set(output).union(*(t for _, t in pool))
        made = picked[0]
        for other in picked[1:]:
            made = pair(made, other, needed if other is picked[-1] else needed.union(*(t for _, t in picked)))
        pool.append(summed(made, needed))
    ((found, letters),) = pool
    found = NDArray(permuted(found.node, tuple(letters.index(c) for c in output)))
    shape = tuple(lengths[c] for c in output)
    return into(out, found if found.shape == shape else broadcast_to(found, shape), casting)


def einsum_path(*operands: Any, optimize: Any = "greedy", einsum_call: bool = False) -> tuple[list[Any], str]:
    """The order in which `einsum` contracts, and what it saves; nothing is computed.

    >>> import gpuarray as ga
    >>> a = ga.ones((10, 10))
    >>> ga.einsum_path("ij,jk,kl->il", a, a, a)[0]
    ['einsum_path', (0, 1), (0, 1)]

    Arguments as in `numpy.einsum_path`, whose answer it is.
    """
    subscripts, arrays = parsed(operands)
    path, words = np.einsum_path(subscripts, *map(stand_in, arrays), optimize=optimize)
    return path, words


def stand_in(a: NDArray) -> np.ndarray[Any, Any]:
    """An array of the same shape that takes no memory."""
    return np.broadcast_to(np.zeros((), np.float64), a.shape)


def order(subscripts: str, arrays: Sequence[NDArray], optimize: Any) -> list[tuple[int, ...]]:
    """Which operands to put together, step by step; each result goes to the end of the list."""
    if optimize is False:
        return [(0, 1)[: len(arrays)]] + [(0, len(arrays) - 1 - k) for k in range(1, len(arrays) - 1)]
    asked = "greedy" if optimize is True else optimize
    path = np.einsum_path(subscripts, *map(stand_in, arrays), optimize=asked)[0][1:]
    return [tuple(step) for step in path]


# Subscripts.


def parsed(operands: Sequence[Any]) -> tuple[str, list[NDArray]]:
    """The subscripts with an output and without dots, and the arrays."""
    if not operands:
        raise ValueError("einsum takes subscripts and at least one array")
    if isinstance(operands[0], str):
        subscripts, arrays = operands[0].replace(" ", ""), [asarray(a) for a in operands[1:]]
    else:
        subscripts, arrays = from_lists(operands)
    for c in subscripts:
        if c not in string.ascii_letters and c not in ",->.":
            raise ValueError(f"subscripts {subscripts!r} hold {c!r}; axes are letters")
    inputs, arrow, output = subscripts.partition("->")
    if "-" in inputs + output or ">" in inputs + output or "," in output:
        raise ValueError(f"subscripts {subscripts!r} must be terms with commas between them, then at most one ->")
    terms = inputs.split(",")
    if len(terms) != len(arrays):
        raise ValueError(f"subscripts {subscripts!r} have {len(terms)} terms for {len(arrays)} arrays")
    terms, dots = without_dots(terms, arrays, set(inputs + output))
    if not arrow:
        seen = "".join(terms)
        output = dots + "".join(sorted(c for c in set(seen) - set(dots) if seen.count(c) == 1))
    else:
        if "." in output:
            if output.count(".") != 3 or "..." not in output:
                raise ValueError(f"subscripts {subscripts!r}: the dots of the output must be three in a row")
            output = output.replace("...", dots)
        elif dots:
            raise ValueError(f"subscripts {subscripts!r} have dots in the terms and none in the output; write ->...")
        if len(set(output)) != len(output) or not set(output) <= set("".join(terms)):
            raise ValueError(f"subscripts {subscripts!r}: each letter of the output must be in it once and in a term")
    return ",".join(terms) + "->" + output, arrays


def without_dots(terms: list[str], arrays: list[NDArray], used: set[str]) -> tuple[list[str], str]:
    """The terms with letters for their dots, and the letters for all axes that dots stand for."""
    free = [c for c in string.ascii_letters if c not in used]
    extra = [0] * len(terms)
    for k, (term, a) in enumerate(zip(terms, arrays, strict=True)):
        named = len(term.replace("...", "", 1))
        if "." in term and (term.count(".") != 3 or "..." not in term):
            raise ValueError(f"term {term!r}: dots must be three in a row, once")
        extra[k] = a.ndim - named
        if extra[k] < 0 or (extra[k] and "." not in term):
            raise ValueError(f"term {term!r} names {named} axes of an array of shape {a.shape}")
    dots = "".join(free[: max(extra, default=0)])
    return [t.replace("...", dots[len(dots) - n :]) for t, n in zip(terms, extra, strict=True)], dots


def from_lists(operands: Sequence[Any]) -> tuple[str, list[NDArray]]:
    """The subscripts of arrays that are each followed by a list of axes, with maybe one for the result at the end."""
    lists = list(operands[1::2])
    output = operands[-1] if len(operands) % 2 else None
    terms = lists
    arrays = [asarray(a) for a in operands[: 2 * len(lists) : 2]]

    def written(axes: Any) -> str:
        try:
            return "".join("..." if a is Ellipsis else string.ascii_letters[a] for a in axes)
        except (TypeError, IndexError):
            raise ValueError(f"axes {axes!r} must be integers from 0 to 51, or Ellipsis") from None

    text = ",".join(map(written, terms))
    return text + ("" if output is None else "->" + written(output)), arrays


def lengths_of(terms: Sequence[str], arrays: Sequence[NDArray]) -> dict[str, int]:
    """The length of each letter's axes; those of length one are broadcast."""
    found: dict[str, int] = {}
    for c, n in itertools.chain(*(zip(t, a.shape, strict=True) for t, a in zip(terms, arrays, strict=True))):
        if found.get(c, 1) != 1 and n not in (1, found[c]):
            raise ValueError(f"subscript {c!r} stands for axes of lengths {found[c]} and {n}, which must be equal")
        found[c] = n if found.get(c, 1) == 1 else found[c]
    return found


# Steps.


def one(a: NDArray, term: str, lengths: dict[str, int]) -> Operand:
    """An operand without letters twice (diagonals are taken) and without axes that are only broadcast."""
    letters = "".join(c for k, c in enumerate(term) if c not in term[:k])
    kept = "".join(c for c in letters if lengths[c] == 1 or any(a.shape[k] != 1 for k, d in enumerate(term) if d == c))
    maps: list[AxisMap] = []
    for c, n in zip(term, a.shape, strict=True):
        maps.append((kept.index(c), range(n)) if c in kept and (n == lengths[c]) else 0)
    if kept == term:
        return a, term
    return NDArray(Select(tuple(lengths[c] for c in kept), tuple(maps), a.node)), kept


def summed(operand: Operand, needed: set[str]) -> Operand:
    """The sum over the axes that nobody needs any more."""
    a, letters = operand
    gone = tuple(k for k, c in enumerate(letters) if c not in needed)
    if not gone:
        return operand
    return logical(a, gone), "".join(c for c in letters if c in needed)


def logical(a: NDArray, axes: tuple[int, ...]) -> NDArray:
    """A sum in the array's own dtype, as einsum has it: of booleans, whether any is true."""
    if a.dtype.kind == "b":
        from gpuarray.reductions import any as some

        return some(a, axes)
    return total(a, axes, a.dtype)


def pair(first: Operand, second: Operand, needed: set[str]) -> Operand:
    """The product of two operands, summed over the letters that both have and nobody else needs."""
    (a, left), (b, right) = summed(first, needed | set(second[1])), summed(second, needed | set(first[1]))
    inner = [c for c in left if c in right and c not in needed]
    both = [c for c in left if c in right and c in needed]
    rows, columns = [c for c in left if c not in right], [c for c in right if c not in left]
    letters = "".join(both + rows + columns)
    if not inner:
        x = aligned(a, left, both + rows + columns)
        y = aligned(b, right, both + rows + columns)
        return apply("logical_and" if a.dtype.kind == "b" else "multiply", x, y), letters
    size = {c: n for t, z in ((left, a), (right, b)) for c, n in zip(t, z.shape, strict=True)}

    def matrix(z: NDArray, letters: str, *groups: list[str]) -> Any:
        turned = permuted(z.node, tuple(letters.index(c) for g in (both, *groups) for c in g))
        return reshaped(turned, (*(size[c] for c in both), *(math.prod(size[c] for c in g) for g in groups)))

    made = product(matrix(a, left, rows, inner), matrix(b, right, inner, columns))
    return NDArray(reshaped(made, tuple(size[c] for c in letters))), letters


def aligned(a: NDArray, letters: str, wanted: list[str]) -> NDArray:
    """A view with an axis for each letter, of length one where the array has none."""
    present = [c for c in wanted if c in letters]
    node = permuted(a.node, tuple(letters.index(c) for c in present))
    return NDArray(with_new_axes(node, tuple(k for k, c in enumerate(wanted) if c not in letters)))
