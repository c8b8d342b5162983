"""Kernels that do what NumPy does, to the same bits: chosen by what is compiled already, as programs may not be."""

from __future__ import annotations

import sys


class Worth:
    """Whether such a kernel is to be used: it is there, or the process does so much of it that it compiles one.

    >>> worth = Worth(elements=1000, at_least=10)
    >>> worth("no such kernel", 5), worth("no such kernel", 999), worth("no such kernel", 999)
    (False, False, True)

    Parameters
    ----------
    elements : that a process goes through before it compiles: about as long as compiling takes
    at_least : elements of a call that is worth its overhead
    """

    def __init__(self, elements: int, at_least: int) -> None:
        self.elements, self.at_least = elements, at_least
        self._seen: dict[str, int] = {}
        self._chosen: set[str] = set()

    def __call__(self, source: str, size: int) -> bool:
        """Whether to do a call of so many elements with the kernel."""
        if size < self.at_least:
            return False
        if source not in self._chosen:
            self._seen[source] = self._seen.get(source, 0) + size
            from gpuarray.kernels import cache

            if self._seen[source] >= self.elements or ("numba" in sys.modules and cache.ready(source)):
                self._chosen.add(source)
        return source in self._chosen

    def forget(self) -> None:
        """Begin again."""
        self._seen.clear()
        self._chosen.clear()
