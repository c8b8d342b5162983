"""Functions of functions: along axes, element by element, and by condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpuarray.array import NDArray, as_node, asarray, install
from gpuarray.axes import normalize_axis
from gpuarray.checks import check_dtype
from gpuarray.elementwise import apply, cast
from gpuarray.graph.grid import Lengths
from gpuarray.graph.node import Node
from gpuarray.graph.routine import Routine, Traits
from gpuarray.manipulation import broadcast_arrays, broadcast_shapes, broadcast_to


def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> NDArray:
    """A function of vectors, on every vector along an axis.

    >>> import gpuarray as ga
    >>> ga.apply_along_axis(lambda v: v.max() - v.min(), 1, ga.asarray([[1, 5], [2, 3]])).compute()
    array([4, 1])

    Arguments as in `numpy.apply_along_axis`. The first vector is computed at once, to find out the shape and dtype that
    the function returns; each task holds the axis whole. Raises ValueError for an array without elements, AxisError out
    of range.
    """
    x = asarray(arr)
    at = normalize_axis(axis, x.ndim)
    if any(not n for a, n in enumerate(x.shape) if a != at):
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    first = x[tuple(slice(None) if a == at else 0 for a in range(x.ndim))].compute()
    sample = np.asanyarray(func1d(first, *args, **kwargs))
    check_dtype(sample.dtype)
    core = sample.shape
    chunks = (*x.chunks[:at], *(Lengths.regular(n, n) for n in core), *x.chunks[at + 1 :])
    along = tuple(None if a == at else a if a < at else a + len(core) - 1 for a in range(x.ndim))
    traits = Traits("apply_along_axis", whole=tuple(range(at, at + len(core))), scratch=2.0, cost=100)
    keywords = (("function", func1d), ("axis", at), ("args", args), ("kwargs", tuple(sorted(kwargs.items()))))
    made: Node = Routine(_along_axis, _hashed(keywords), sample.dtype, chunks, (along,), traits, x.node)
    return NDArray(made)


class _Held:
    """Something that may not hash, as an argument of a node; equal to itself alone."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _hashed(keywords: tuple[tuple[str, Any], ...]) -> tuple[tuple[str, Any], ...]:
    return (("given", _Held(dict(keywords))),)


def _along_axis(xp: Any, x: Any, given: _Held) -> Any:
    g = given.value
    return xp.apply_along_axis(g["function"], g["axis"], x, *g["args"], **dict(g["kwargs"]))


def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> NDArray:
    """A reduction over one axis after the other; the axes stay, with length one.

    >>> import gpuarray as ga
    >>> ga.apply_over_axes(ga.sum, ga.ones((2, 3)), [0, 1]).compute()
    array([[6.]])

    Arguments as in `numpy.apply_over_axes`. Raises ValueError for a function that returns another number of dimensions.
    """
    value = asarray(a)
    ndim = value.ndim
    for axis in np.atleast_1d(axes):
        at = normalize_axis(int(axis), ndim)
        made = func(value, at)
        if made.ndim != ndim:
            from gpuarray.dimensions import expand_dims

            made = expand_dims(made, at)
            if made.ndim != ndim:
                raise ValueError("function is not returning an array of the correct shape")
        value = asarray(made)
    return value


class vectorize:
    """A function of scalars as one of arrays, called for every element.

    >>> import gpuarray as ga
    >>> clamp = ga.vectorize(lambda a, b: a if a > b else b)
    >>> clamp([1, 5], 3).compute()
    array([3, 5])

    Parameters
    ----------
    pyfunc : called with one element of each argument
    otypes : the dtype of the result; None: that of the first element's, which is computed at once
    doc : the documentation, instead of the function's

    It is a loop in Python, of which each task does a part. Raises ValueError for arguments of size 0 without `otypes`,
    NotImplementedError for several results.
    """

    def __init__(self, pyfunc: Callable[..., Any], otypes: Any = None, doc: str | None = None) -> None:
        if not callable(pyfunc):
            raise TypeError("When used as a decorator, only accepts keyword arguments.")
        self.pyfunc = pyfunc
        self.__doc__ = pyfunc.__doc__ if doc is None else doc
        self.__name__ = getattr(pyfunc, "__name__", "vectorize")
        kinds = [otypes] if isinstance(otypes, (str, type, np.dtype)) else list(otypes or [])
        if isinstance(otypes, str):
            kinds = list(otypes)
        if len(kinds) > 1:
            raise NotImplementedError("functions of several results are not supported; make one of each result")
        self.dtype = np.dtype(kinds[0]) if kinds else None

    def __call__(self, *args: Any) -> NDArray:
        arrays = broadcast_arrays(*(asarray(a) for a in args))
        first = arrays[0]
        dtype = self.dtype
        if dtype is None:
            if not first.size:
                raise ValueError("cannot call `vectorize` on size 0 inputs unless `otypes` is set")
            sample = self.pyfunc(*(a[(0,) * a.ndim].compute()[()] for a in arrays))
            if isinstance(sample, tuple):
                raise NotImplementedError("functions of several results are not supported; make one of each result")
            dtype = np.asarray(sample).dtype
        check_dtype(dtype)
        every = tuple(range(first.ndim))
        traits = Traits(self.__name__, scratch=8.0, cost=200)
        keywords = (("function", self.pyfunc), ("dtype", dtype))
        nodes = (a.node for a in arrays)
        made: Node = Routine(_each, keywords, dtype, first.chunks, (every,) * len(arrays), traits, *nodes)
        return NDArray(made)


def _each(xp: Any, *arrays: Any, function: Callable[..., Any], dtype: np.dtype[Any]) -> Any:
    """The function element by element, which is Python's and so on the host."""
    host = [a if isinstance(a, np.ndarray) else xp.asnumpy(a) for a in arrays]
    made = np.vectorize(function, otypes=[dtype])(*host)
    return xp.asarray(np.asarray(made, dtype))


def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> NDArray:
    """Different functions, or constants, where different conditions are true; one more of them is for elsewhere.

    >>> import gpuarray as ga
    >>> x = ga.arange(-2.0, 3.0)
    >>> ga.piecewise(x, [x < 0, x >= 0], [-1, lambda v: v * v]).compute()
    array([-1., -1.,  0.,  1.,  4.])

    Arguments as in `numpy.piecewise`. Functions are called with the whole array and must go element by element. Raises
    ValueError for another number of functions.
    """
    values = asarray(x)
    one = not isinstance(condlist, (list, tuple)) or (
        values.ndim != 0 and bool(condlist) and not isinstance(condlist[0], (list, tuple, np.ndarray, NDArray))
    )
    conditions = [asarray(c) for c in ([condlist] if one else condlist)]
    number = len(conditions)
    if len(funclist) not in (number, number + 1):
        raise ValueError(
            f"with {number} condition(s), either {number} or {number + 1} functions are expected, got {len(funclist)}"
        )

    def called(f: Any) -> NDArray:
        made = f(values, *args, **kw) if callable(f) else f
        return NDArray(cast(as_node(made, values.dtype), values.dtype))

    result = called(funclist[number]) if len(funclist) > number else called(0)
    result = broadcast_to(result, values.shape)
    for condition, f in zip(conditions, funclist, strict=False):
        result = apply("where", condition, called(f), result)
    return result


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> NDArray:
    """Elements of the first choice whose condition is true.

    >>> import gpuarray as ga
    >>> x = ga.arange(5)
    >>> ga.select([x < 2, x > 3], [x, x * 10], default=-1).compute()
    array([ 0,  1, -1, -1, 40])

    Arguments as in `numpy.select`. Raises ValueError for lists of different lengths or empty ones, TypeError for
    conditions that are not boolean.
    """
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    if not len(condlist):
        raise ValueError("select with an empty condition list is not possible")
    conditions = [asarray(c) for c in condlist]
    for k, c in enumerate(conditions):
        if c.dtype != bool:
            raise TypeError(f"invalid entry {k} in condlist: should be boolean ndarray, got dtype {c.dtype}")
    choices = [c if type(c) in (bool, int, float, complex) else asarray(c) for c in choicelist]
    kinds = [c.dtype if isinstance(c, NDArray) else c for c in choices]
    weak = type(default) in (bool, int, float, complex)
    kind = np.result_type(*kinds, default if weak else asarray(default).dtype)
    result = NDArray(cast(as_node(default, kind), kind))
    for condition, choice in zip(reversed(conditions), reversed(choices), strict=True):
        result = apply("where", condition, NDArray(cast(as_node(choice, kind), kind)), result)
    shape = broadcast_shapes(*(c.shape for c in conditions), *(getattr(c, "shape", ()) for c in choices))
    return broadcast_to(result, shape)


def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> NDArray:
    """Elements of the choice whose number stands in `a`.

    >>> import gpuarray as ga
    >>> ga.choose([1, 0, 1], [[10, 20, 30], [11, 21, 31]]).compute()
    array([11, 20, 31])

    Arguments as in `numpy.choose`. Raises TypeError for numbers that are no integers; ValueError, when it is computed,
    for one out of range unless `mode` is "wrap" or "clip".
    """
    from gpuarray.elementwise import into

    numbers = asarray(a)
    if numbers.dtype.kind not in "biu":
        raise TypeError(f"the numbers of choices must be integers, got dtype {numbers.dtype}")
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f'mode={mode!r} is no mode; write "raise", "wrap" or "clip"')
    made = [asarray(c) for c in choices]
    if not made:
        raise ValueError("choose needs at least one choice")
    kind = np.result_type(*(c.dtype for c in made))
    arrays = broadcast_arrays(numbers, *(NDArray(cast(c.node, kind)) for c in made))
    first = arrays[0]
    every = tuple(range(first.ndim))
    traits = Traits("choose", scratch=1.0, cost=4)
    nodes = (x.node for x in arrays)
    node: Node = Routine(_chosen, (("mode", mode),), kind, first.chunks, (every,) * len(arrays), traits, *nodes)
    return into(out, NDArray(node))


def _chosen(xp: Any, numbers: Any, *choices: Any, mode: str) -> Any:
    n = len(choices)
    at = numbers.astype(np.int64)
    if mode == "raise" and at.size and not bool(((at >= 0) & (at < n)).all()):
        raise ValueError(f"invalid entry in choice array: there are {n} choices, numbered from 0")
    at = at % n if mode == "wrap" else xp.clip(at, 0, n - 1)
    result = choices[0]
    for k in range(1, n):
        result = xp.where(at == k, choices[k], result)
    return result


def _method_choose(self: NDArray, choices: Any, out: Any = None, mode: str = "raise") -> NDArray:
    """Elements of the choice whose number stands here; see `gpuarray.choose`."""
    return choose(self, choices, out, mode)


install("choose", _method_choose)
