"""How many threads NumPy's BLAS uses.

Tiles that threads share are each multiplied with one thread: the library's own wait for one another within every
product, which for tiles costs a third of the time; and how it divides a product may change the last bits.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


class Single(contextlib.ContextDecorator):
    """While any thread is inside, NumPy's BLAS uses one thread for each product."""

    _lock = threading.Lock()
    _inside = 0
    _before = 0

    def __enter__(self) -> None:
        found = controls()
        if found is None:
            return
        with Single._lock:
            if not Single._inside:
                Single._before = found[0]()
                found[1](1)
            Single._inside += 1

    def __exit__(self, *error: object) -> None:
        found = controls()
        if found is None:
            return
        with Single._lock:
            Single._inside -= 1
            if not Single._inside:
                found[1](Single._before)


single = Single()


@functools.cache
def controls() -> tuple[Callable[[], int], Callable[[int], object]] | None:
    """How many threads NumPy's BLAS uses, and how to change that; None for a library that is not known."""
    try:
        library = ctypes.CDLL(np.linalg._umath_linalg.__file__)
    except (AttributeError, OSError):
        return None
    for get, put in names():
        try:
            found = getattr(library, get), getattr(library, put)
        except AttributeError:
            continue
        found[0].restype, found[0].argtypes = ctypes.c_int, []
        found[1].restype, found[1].argtypes = None, [ctypes.c_int]
        made: tuple[Any, Any] = found
        return made
    return None


def names() -> Iterator[tuple[str, str]]:
    """What the functions are called in the builds of OpenBLAS, and in MKL."""
    for before, after in itertools.product(("scipy_", ""), ("64_", "", "_64")):
        yield f"{before}openblas_get_num_threads{after}", f"{before}openblas_set_num_threads{after}"
    yield "MKL_Get_Max_Threads", "MKL_Set_Num_Threads"
