"""Threads that share the tiles of a block, while the library keeps to one thread for each.

A library's own threads wait for one another within every product, which for tiles costs a third of the time; and how it
divides a product may change the last bits.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import functools
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gpuarray import config

MOST = 8
"""Threads that share a block at most: each needs memory for what products leave in between."""


def threads(fit: int) -> int:
    """How many threads share a block, where memory is enough for so many as `fit`."""
    settings = config.get()
    allowed = 1 if settings.scheduler == "single-threaded" else settings.thread_count()
    return max(1, min(MOST, allowed, fit))


def share(jobs: Sequence[Callable[[], None]], threads: int) -> None:
    """Do jobs that do not depend on each other, the first ones first. Raises what the first that failed raised."""
    if threads < 2 or len(jobs) < 2:
        for job in jobs:
            job()
        return
    left, lock, errors = iter(jobs), threading.Lock(), list[BaseException]()

    def work() -> None:
        while not errors:
            with lock:
                job = next(left, None)
            if job is None:
                return
            try:
                job()
            except BaseException as error:
                errors.append(error)

    # each in a copy of the caller's context: numpy.errstate holds for them as well
    others = [
        threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
        for _ in range(min(threads, len(jobs)) - 1)
    ]
    for other in others:
        other.start()
    work()
    for other in others:
        other.join()
    if errors:
        raise errors[0]


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
