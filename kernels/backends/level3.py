"""Products and triangular systems in place, by the BLAS that NumPy brings.

NumPy's own product makes a new array, which is then subtracted: for tiles that go through the cache a fifth of the
time. Where the library, the dtype or the layout is another, the functions do nothing and return False.

>>> import numpy as np
>>> x = np.ones((2, 2))
>>> if not add(x, np.eye(2), np.full((2, 2), 3.0), -1):  # where the library is not known
...     x -= np.full((2, 2), 3.0)
>>> x
array([[-2., -2.],
       [-2., -2.]])
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

ROWS_FIRST, PLAIN, TURNED, ADJOINT = 101, 111, 112, 113
RIGHT, LOWER, GENERAL = 142, 122, 131
LETTERS = {"f": "s", "d": "d", "F": "c", "D": "z"}
_SCALARS = {"f": ctypes.c_float, "d": ctypes.c_double}


def add(x: Any, left: Any, right: Any, factor: float = 1.0, turned: str = "") -> bool:
    """``x += factor * left @ right``; `turned` names the operand to conjugate and transpose, "left" or "right"."""
    known = found("gemm", x)
    if known is None or not (x.dtype == left.dtype == right.dtype) or row_stride(x) is None:
        return False
    a, b = operand(left, turned == "left"), operand(right, turned == "right")
    (m, n), k = x.shape, left.shape[0 if turned == "left" else 1]
    fits = left.size == m * k and right.shape == ((n, k) if turned == "right" else (k, n))
    if a is None or b is None or not fits:
        return False
    if x.size:
        call, number = known
        matrices = (left.ctypes.data, a[1], right.ctypes.data, b[1])
        call(ROWS_FIRST, a[0], b[0], m, n, k, number(factor), *matrices, number(1), x.ctypes.data, row_stride(x))
    return True


def subtract_square(x: Any, rows: Any) -> bool:
    """``x -= rows @ rows^H``, on and below the diagonal alone."""
    known = found("herk" if x.dtype.kind == "c" else "syrk", x)
    if known is None:
        return False
    (n, k), given, step = rows.shape, row_stride(rows), row_stride(x)
    if x.dtype != rows.dtype or x.shape != (n, n) or given is None or step is None:
        return False
    if x.size:
        call, number = known
        call(ROWS_FIRST, LOWER, PLAIN, n, k, number(-1), rows.ctypes.data, given, number(1), x.ctypes.data, step)
    return True


def divide(x: Any, triangle: Any) -> bool:
    """Solve ``y triangle^H = x`` for a lower triangle: y takes the place of x."""
    known = found("trsm", x)
    if known is None:
        return False
    given, step, n = row_stride(triangle), row_stride(x), x.shape[1]
    if x.dtype != triangle.dtype or triangle.shape != (n, n) or given is None or step is None:
        return False
    if x.size:
        call, number = known
        call(
            *(ROWS_FIRST, RIGHT, LOWER, ADJOINT, GENERAL, *x.shape, number(1)),
            *(triangle.ctypes.data, given, x.ctypes.data, step),
        )
    return True


def operand(a: Any, adjoint: bool) -> tuple[int, int] | None:
    """How the library is to read a matrix, and what lies between its rows, or its columns; None if it cannot."""
    step = row_stride(a)
    if step is not None:
        return ADJOINT if adjoint else PLAIN, step
    step = row_stride(a.T)
    if step is None or (adjoint and a.dtype.kind == "c"):
        return None
    return PLAIN if adjoint else TURNED, step


def row_stride(a: Any) -> int | None:
    """Elements from one row to the next where each row lies together, else None."""
    (m, n), (down, across), size = a.shape, a.strides, a.itemsize
    if (n > 1 and across != size) or not a.flags.aligned:
        return None
    if m < 2 or not n:
        return max(1, int(n))
    step = int(down // size)
    return step if step * size == down and step >= max(1, n) else None


def found(name: str, x: Any) -> tuple[Callable[..., None], Callable[[float], Any]] | None:
    """A routine for arrays of NumPy in the dtype of one of them, and what makes its scalars; None if there is none."""
    if type(x) is not np.ndarray or x.dtype.char not in LETTERS or not x.dtype.isnative:
        return None
    return routine(name, x.dtype.char)


@functools.cache
def routine(name: str, char: str) -> tuple[Callable[..., None], Callable[[float], Any]] | None:
    try:
        library = ctypes.CDLL(np.linalg._umath_linalg.__file__)
    except (AttributeError, OSError):
        return None
    for before, after in itertools.product(("scipy_", ""), ("64_", "_64", "")):
        call = getattr(library, f"{before}cblas_{LETTERS[char]}{name}{after}", None)
        if call is not None:
            # most systems pass 32 bits in the place of 64, so that either is right for a name that does not tell
            size = ctypes.c_int if not after and sys.platform == "darwin" else ctypes.c_int64
            return prepared(call, name, char, size)
    return None


def prepared(call: Any, name: str, char: str, size: Any) -> tuple[Callable[..., None], Callable[[float], Any]]:
    """The routine with the types of its arguments; scalars go by value, complex ones by pointer."""
    flag, pointer = ctypes.c_int, ctypes.c_void_p
    number = _SCALARS.get(char.lower() if name == "herk" else char, pointer)
    call.restype = None
    call.argtypes = {
        "gemm": [flag] * 3 + [size] * 3 + [number, pointer, size, pointer, size, number, pointer, size],
        "trsm": [flag] * 5 + [size] * 2 + [number, pointer, size, pointer, size],
    }.get(name, [flag] * 3 + [size] * 2 + [number, pointer, size, number, pointer, size])
    return call, scalar(char) if number is pointer else float


def scalar(char: str) -> Callable[[float], Any]:
    """A complex number where the library finds it."""
    kind = _SCALARS[char.lower()]

    def made(value: float) -> Any:
        return ctypes.cast((kind * 2)(value, 0.0), ctypes.c_void_p)

    return made
