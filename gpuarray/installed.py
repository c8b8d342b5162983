"""The base of `NDArray`, which stands for what `gpuarray.array.install` gives it.

Each function and operator is written once, in the module of its kind, and installed from there. Type checkers and
editors read ``installed.pyi``, which ``python docs/names/stubs.py`` writes.
"""

from __future__ import annotations


class Installed:
    """The base of `NDArray`."""

    __slots__ = ()
