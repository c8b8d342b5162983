"""What NumPy writes with square brackets, ``mgrid[0:3, 0:4]`` and ``r_[1:4, x]``, and `ndenumerate`."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.grids import meshgrid
from gpuarray.joining import concatenate, stack
from gpuarray.manipulation import reshape, result_type

BLOCK = 2**20
"""Bytes that `ndenumerate` computes at a time."""


def _plain(value: Any) -> Any:
    """The bound of a slice as a number."""
    return value.item() if isinstance(value, (NDArray, np.ndarray)) else value


def _slices(key: Any) -> Any:
    if isinstance(key, slice):
        return slice(_plain(key.start), _plain(key.stop), _plain(key.step))
    return tuple(_slices(k) for k in key) if isinstance(key, tuple) else key


class Grid:
    """`mgrid` and `ogrid`."""

    def __init__(self, sparse: bool) -> None:
        self._sparse = sparse

    def __getitem__(self, key: Any) -> Any:
        """The coordinates that slices stand for; an imaginary step counts points and takes the end in."""
        vectors: Any = np.ogrid[_slices(key)]
        if not isinstance(vectors, tuple):
            return asarray(vectors)
        if self._sparse:
            return tuple(asarray(v) for v in vectors)
        return stack(meshgrid(*(v.ravel() for v in vectors), indexing="ij"))


class Joined:
    """`r_` and `c_`."""

    def __init__(self, axis: int = 0, ndmin: int = 1, place: int = -1) -> None:
        self._axis, self._ndmin, self._place = axis, ndmin, place

    def __getitem__(self, key: Any) -> NDArray:
        """The entries, one after the other: arrays, numbers, and slices, which stand for ranges."""
        entries = list(key) if isinstance(key, tuple) else [key]
        axis, ndmin, place = self._axis, self._ndmin, self._place
        if entries and isinstance(entries[0], str):
            axis, ndmin, place = self._directive(entries.pop(0))
        arrays: list[NDArray] = []
        kinds: list[Any] = []
        for entry in entries:
            if isinstance(entry, str):
                raise ValueError("special directives must be the first entry")
            x = asarray(np.r_[_slices(entry)] if isinstance(entry, slice) else entry)
            given = 1 if isinstance(entry, slice) else x.ndim
            kinds.append(entry if type(entry) in (bool, int, float, complex) else x.dtype)
            arrays.append(self._lifted(x, given, ndmin, place))
        if not arrays:
            raise ValueError("need at least one array to concatenate")
        kind = result_type(*kinds)
        return concatenate([x.astype(kind) for x in arrays], axis=axis)

    def _directive(self, text: str) -> tuple[int, int, int]:
        if text in ("r", "c"):
            raise ValueError(f"{text!r} asks for a numpy.matrix, which gpuarray has not; leave it out")
        try:
            axis, ndmin, place = (*map(int, text.split(",")), *(self._ndmin, self._place)[text.count(",") :])
        except ValueError:
            raise ValueError(f"unknown special directive {text!r}; write up to three integers, as in '0,2'") from None
        return axis, ndmin, place

    @staticmethod
    def _lifted(x: NDArray, given: int, ndmin: int, place: int) -> NDArray:
        """New axes up to `ndmin`; those of the array begin at `place` among them."""
        new = ndmin - given
        if new <= 0:
            return x
        at = 0 if not given else place if place >= 0 else place + new + 1
        if not 0 <= at <= new:
            raise ValueError(
                f"the third integer of a directive, {place}, says where {given} of {ndmin} axes begin: "
                f"write one from {-new - 1} to {new}"
            )
        return reshape(x, (*(1,) * at, *x.shape, *(1,) * (new - at)))


mgrid = Grid(sparse=False)
"""Coordinates of a grid, as `numpy.mgrid`.

>>> import gpuarray as ga
>>> ga.mgrid[0:2, 0:3][1].compute()
array([[0, 1, 2],
       [0, 1, 2]])
"""

ogrid = Grid(sparse=True)
"""Coordinates of a grid that broadcast against each other, as `numpy.ogrid`.

>>> import gpuarray as ga
>>> [v.shape for v in ga.ogrid[0:2, 0:1:3j]]
[(2, 1), (1, 3)]
"""

r_ = Joined()
"""Arrays, numbers and ranges joined along the first axis, as `numpy.r_`.

>>> import gpuarray as ga
>>> ga.r_[ga.ones(2), 0, 1:4].compute()
array([1., 1., 0., 1., 2., 3.])
"""

c_ = Joined(-1, 2, 0)
"""One-dimensional arrays as columns, as `numpy.c_`.

>>> import gpuarray as ga
>>> ga.c_[ga.arange(2), ga.ones(2)].compute()
array([[0., 1.],
       [1., 1.]])
"""


class ndenumerate(Iterator[Any]):
    """Positions and elements, as `numpy.ndenumerate`; computes some rows at a time.

    >>> import gpuarray as ga
    >>> [(place, int(value)) for place, value in ga.ndenumerate(ga.asarray([[1, 2], [3, 4]]))]
    [((0, 0), 1), ((0, 1), 2), ((1, 0), 3), ((1, 1), 4)]
    """

    def __init__(self, arr: Any) -> None:
        self._items = self._all(asarray(arr))

    @staticmethod
    def _all(x: NDArray) -> Iterator[tuple[tuple[int, ...], Any]]:
        if not x.ndim:
            yield (), x.compute()[()]
            return
        step = max(1, BLOCK // max(1, x.nbytes // max(1, x.shape[0])))
        for first in range(0, x.shape[0], step):
            for place, value in np.ndenumerate(x[first : first + step].compute()):
                yield (operator.add(place[0], first), *place[1:]), value

    def __next__(self) -> tuple[tuple[int, ...], Any]:
        return next(self._items)

    def __iter__(self) -> ndenumerate:
        return self
