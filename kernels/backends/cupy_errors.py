"""What an error of CUDA or its libraries means to us."""

from __future__ import annotations

from typing import Any, Literal

OUT_OF_MEMORY = ("MemoryAllocation", "OUT_OF_MEMORY", "ALLOC_FAILED")
"""In the messages of CUDA's runtime, its driver and its libraries, of which only CuPy's pool raises a MemoryError."""


def meaning(cupy: Any, error: BaseException) -> Literal["memory", "failure", ""]:
    """Whether a device has run out of memory or has failed; an empty text for whatever else was raised.

    The libraries (`cupy_backends.cuda.libs`) say so of their own memory; what else they say is about what was asked.
    """
    cuda = cupy.cuda
    if isinstance(error, cuda.memory.OutOfMemoryError):
        return "memory"
    of_cuda = isinstance(error, (cuda.runtime.CUDARuntimeError, cuda.driver.CUDADriverError))
    if not of_cuda and not type(error).__module__.startswith("cupy_backends"):
        return ""
    if any(word in str(error) for word in OUT_OF_MEMORY):
        return "memory"
    return "failure" if of_cuda else ""
