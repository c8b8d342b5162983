"""The tree of errors; `gpuarray.errors` is where users find it and where it is drawn."""

from __future__ import annotations


class GPUArrayError(Exception):
    """Base of every error gpuarray raises on purpose."""


class MemoryLimitError(GPUArrayError, MemoryError):
    """A plan needs more memory than it may use. Raised before anything runs."""


class DeviceMemoryError(GPUArrayError, MemoryError):
    """The device ran out of memory although everything that could be spilled was."""


class SpillError(GPUArrayError, OSError):
    """The spill folder is full, missing or unwritable, or a file in it is damaged."""


class StorageError(GPUArrayError, ValueError):
    """A file or store is corrupt, truncated, or of a kind that is not read."""


class IncompleteStoreError(StorageError):
    """A store whose writing never finished."""


class ImplicitComputeError(GPUArrayError, TypeError):
    """An implicit conversion would compute a large array."""


class BlockFunctionError(GPUArrayError, ValueError):
    """A function given to `map_blocks` returned another shape or dtype than it promised."""


class DeviceError(GPUArrayError, ValueError):
    """There is no such device on this machine."""


class ConfigError(GPUArrayError, ValueError):
    """A setting is unknown, or its value makes no sense."""


class ChunkError(GPUArrayError, ValueError):
    """Chunks that do not fit the shape."""


class TaskError(GPUArrayError, RuntimeError):
    """A task failed; the message names the operation and the line that asked for it, the cause is chained."""


class ClusterError(GPUArrayError, ConnectionError):
    """The scheduler or the workers of a cluster cannot be reached, are gone, or do not match this process."""


class UnsupportedDTypeError(GPUArrayError, TypeError):
    """A dtype that no kernel takes."""
