"""Every error gpuarray raises on purpose.

    GPUArrayError
      MemoryLimitError      (MemoryError)        a plan needs more than it may use; raised before anything runs
      DeviceMemoryError     (MemoryError)        the device itself ran out, after spilling and one retry
      SpillError            (OSError)            the spill folder is full, missing, unwritable, or has a damaged file
      StorageError          (ValueError)         a file or store is corrupt, truncated, or of a kind we do not read
        IncompleteStoreError                     a store whose writing never finished
        StorageWriteError   (OSError)            writing failed: no space, no permission, a lost connection
        MissingDatasetError (KeyError)           a file has no dataset of that name
      ImplicitComputeError  (TypeError)          an implicit conversion would compute a large array
      BlockFunctionError    (ValueError)         a function given to map_blocks returned what it did not promise
      DeviceError           (ValueError)         there is no such device here
      ClusterError          (ConnectionError)    a scheduler or its workers cannot be reached, are gone, or do not match
      ConfigError           (ValueError)         a setting is unknown or has a value that makes no sense
      ChunkError            (ValueError)         chunks that do not fit the shape
      TaskError             (RuntimeError)       a task failed; names the operation and the user's line
      UnsupportedDTypeError (TypeError)          a dtype that no kernel of ours takes
      StencilError          (ValueError)         a stencil, or what it is called with, that cannot be; names the line
      MissingPackageError   (ImportError)        the demonstration needs a package that is not installed

Each is also the built-in that a NumPy user would catch. A message holds the value, the rule and the way out.
"""

from __future__ import annotations

# The kernels and the cluster raise some of these; the tree lives in the lowest room so that all three can import it.
from gpuarray.kernels.errors import (
    BlockFunctionError,
    ChunkError,
    ClusterError,
    ConfigError,
    DeviceError,
    DeviceMemoryError,
    GPUArrayError,
    ImplicitComputeError,
    IncompleteStoreError,
    MemoryLimitError,
    SpillError,
    StorageError,
    TaskError,
    UnsupportedDTypeError,
)

__all__ = [
    "BlockFunctionError",
    "ChunkError",
    "ClusterError",
    "ConfigError",
    "DeviceError",
    "DeviceMemoryError",
    "GPUArrayError",
    "ImplicitComputeError",
    "IncompleteStoreError",
    "MemoryLimitError",
    "MissingDatasetError",
    "MissingPackageError",
    "SpillError",
    "StencilError",
    "StorageError",
    "StorageWriteError",
    "TaskError",
    "UnsupportedDTypeError",
]


class StencilError(GPUArrayError, ValueError):
    """A stencil says what a stencil cannot, or is called with what does not fit; the message shows the line.

    >>> import gpuarray as ga
    >>> blur = ga.stencil(lambda u: (u[-1] + u[1]) / 2)
    >>> try:
    ...     blur([1.0, 2.0, 3.0], boundary="wrap")
    ... except ga.StencilError as error:
    ...     print(str(error).partition(": ")[2])
    boundary='wrap' is no mode; write 'periodic'
    """


class StorageWriteError(StorageError, OSError):
    """Writing failed: no space, no permission, a lost connection. `errno` is the system's."""

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class MissingDatasetError(StorageError, KeyError):
    """A file has no dataset of this name."""

    __str__ = Exception.__str__  # KeyError shows its argument as code


class MissingPackageError(GPUArrayError, ImportError):
    """The demonstration needs a package that is not installed."""
