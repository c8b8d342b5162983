"""When a kernel is compiled, and when the interpreter does the work."""

from __future__ import annotations

from gpuarray.optimize.fuse import Policy

WORTH = 2e8
"""Scalar operations from which a kernel is compiled: a quarter of a second of interpreting, the price of compiling."""


def policy(setting: str, gpu: bool = False) -> Policy:
    """The policy of the setting `compile`.

    On a GPU all is compiled: what interprets there is compiled as well, operation by operation. Else it looks at the
    program and the size of the whole array, never at chunks, caches or machines: whether a kernel happens to be
    compiled already must not change the last bit of a result.
    """
    if setting == "always" or (gpu and setting == "auto"):
        return lambda program, elements: True
    if setting == "never":
        return lambda program, elements: False
    return lambda program, elements: elements * (1 + program.cost) >= WORTH
