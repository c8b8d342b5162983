"""Where the elements past the end of an axis stand: the modes of `Edge`, in the arithmetic of kernels.

Plain functions of integers that Numba inlines into CUDA kernels.
"""

from __future__ import annotations

from typing import Any


def wrapped(p: Any, n: Any) -> Any:
    """Of ``periodic``.

    >>> wrapped(-1, 5), wrapped(12, 5)
    (4, 2)
    """
    return p % n


def clamped(p: Any, n: Any) -> Any:
    """Of ``nearest``.

    >>> clamped(-3, 5), clamped(7, 5)
    (0, 4)
    """
    return min(max(p, 0), n - 1)


def reflected(p: Any, n: Any) -> Any:
    """Of ``reflect``.

    >>> reflected(-1, 5), reflected(5, 5), reflected(-2, 1)
    (1, 3, 0)
    """
    period = max(2 * (n - 1), 1)
    q = p % period
    return q if q < n else period - q


def mirrored(p: Any, n: Any) -> Any:
    """Of ``symmetric``.

    >>> mirrored(-1, 5), mirrored(5, 5)
    (0, 4)
    """
    q = p % (2 * n)
    return q if q < n else 2 * n - 1 - q


FUNCTIONS = {"periodic": "wrapped", "nearest": "clamped", "reflect": "reflected", "symmetric": "mirrored"}
"""The name of the function that maps positions, by mode."""
