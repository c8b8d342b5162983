"""What the engine asks of an array library.

A backend is one file in this folder that defines ``BACKEND``; `get` finds it by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from gpuarray.kernels.program import Program
from gpuarray.kernels.stencils.boxes import Box
from gpuarray.kernels.stencils.program import Edges, StencilProgram

Cuts = tuple[int, ...] | None
"""Where one axis is cut for a reduction: ``(0, ..., n)`` for a reduced axis, None for one that is kept."""


class Backend(Protocol):
    """Arrays of one library in one memory."""

    name: str
    xp: Any
    """The array namespace: numpy, cupy."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any: ...

    def from_host(self, array: np.ndarray[Any, Any]) -> Any:
        """A NumPy array in this backend's memory (the same object where that memory is the host's)."""

    def to_host(self, array: Any) -> np.ndarray[Any, Any]: ...

    def nbytes(self, array: Any) -> int: ...

    def gather(self, parts: Sequence[tuple[Any, Any]]) -> None:
        """Copy arrays to others, (source, target) of one shape and dtype; no target overlaps another array."""

    def elementwise(
        self, program: Program, operands: Sequence[Any], shape: tuple[int, ...], *, compiled: bool, out: Any = None
    ) -> Any:
        """Run a one-output program over a region of `shape`.

        `operands` match `program.inputs`: arrays that broadcast to `shape`, Python or NumPy scalars, `Affine`s.
        `compiled` chooses between the compiled kernel and the interpreter. `out` may be given (any strides) to write
        there; it may be or overlap an operand. Raises ValueError where an operand or `out` does not fit.
        """

    def reduce(
        self,
        program: Program,
        reduction: str,
        operands: Sequence[Any],
        shape: tuple[int, ...],
        cuts: tuple[Cuts, ...],
        *,
        compiled: bool,
    ) -> tuple[Any, ...]:
        """Reduce every cell of the grid that `cuts` draws on the region; return the reduction's state arrays.

        A state array has length ``len(cuts[a]) - 1`` along a reduced axis and the region's length along the others.
        The bits of a cell depend on the cell's elements and shape alone: not on `shape`, threads or memory.
        The program's outputs are (value,) or (value, where) for folds and moments, (value, index) for arg reductions.
        """

    def combine(self, reduction: str, states: Sequence[Any], axes: tuple[int, ...], **parameters: Any) -> Any:
        """Merge state arrays along `axes` in a fixed tree, finish, and return the result with those axes of length 1.

        The result has the dtype in which was computed (float64 for a float32 sum); the caller rounds it once.
        Merging no states gives the identity, or raises ValueError where there is none.
        """

    def scan(self, name: str, array: Any, axis: int, carry: Any, dtype: np.dtype[Any], *, out: Any = None) -> Any:
        """Inclusive scan (``sum``, ``prod``, ``max``, ``min``) along `axis`, from `carry` (length 1 along `axis`,
        or None), into `out` or a new array; scanning in pieces gives the bits of one scan."""

    def sweep(
        self,
        stencil: StencilProgram,
        edges: Edges,
        scalars: np.ndarray[Any, Any],
        domain: tuple[int, ...],
        out: Box,
        fields: Sequence[Any],
        origins: Sequence[tuple[int, ...]],
        *,
        compiled: bool,
        into: Sequence[Any] | None = None,
    ) -> tuple[Any, ...]:
        """Apply a stencil step after step and return the state over the box `out`, one array per output.

        `scalars` is a structured array with one row for each step and a field for each scalar of the program, in the
        program's order and dtypes. `domain` is the shape of the whole fields. Element 0 of ``fields[f]`` stands at
        position ``origins[f]``; each covers level 0 of ``boxes(stencil, edges, domain, out, steps)``, in its positions:
        no fields are changed, and they may have any strides. `into`: arrays to write to instead of new ones.
        The bits do not depend on `out`, on how often it is cut, or on how many steps are done by one call.
        """


class Copy(Protocol):
    """A copy between host and device under way."""

    array: Any
    """Where it goes; not to be used before `wait`."""

    def wait(self) -> Any:
        """Return `array` when the copy is done. Every copy is waited for, on the way out of an error as well."""


class Event(Protocol):
    """A point in the order of a device's work."""

    def wait(self) -> None:
        """Return when all that was queued before it is done; other threads run meanwhile."""


class DeviceBackend(Backend, Protocol):
    """A backend with memory of its own, which works beside the processor: calls may return before they are done.

    *Work* is what the methods of `Backend`, `xp` and operators do. It is done in the order in which it is queued, by
    whatever thread, as if by one stream. Copies in and copies out are done beside it, each kind in its order. Every
    method is called from several threads.

    Out of memory is an exception that is a MemoryError; it leaves the device as it was.
    """

    def active(self) -> AbstractContextManager[Any]:
        """Around everything that a thread does with this backend: makes the device the thread's current one."""

    def pinned(self, nbytes: int) -> np.ndarray[Any, Any]:
        """Host memory from and to which is copied asynchronously: bytes (uint8), freed with the array."""

    def moved(self, array: Any) -> Any:
        """An array of the library in this device's memory; the same object where it is there already."""

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """An array in C order for `upload` to copy to; no work queued earlier uses its memory still.

        Nor does the backend wait for any when the array is dropped: who drops it has waited for an `Event` after the
        last work that reads it. (Arrays that work has made may be dropped at any time.)
        """

    def upload(self, array: np.ndarray[Any, Any], out: Any = None) -> Copy:
        """Start to copy a NumPy array to the device: to `out`, a part of an array of `allocate`, or a new one.

        `array` stays as it is until the copy is done. Both are contiguous in C order, of one shape and dtype, or
        ValueError is raised. From memory that is not `pinned` the copy may be done before this returns.
        """

    def copy_from(self, other: Any, array: Any) -> Copy | None:
        """Start to copy an array of another device of the library, after all work queued there so far, to a new one of
        `allocate` here. None where the devices do not see each other's memory.

        The array is contiguous in C order. It is not changed, nor its memory given back, before the copy is done.
        """

    def download(self, array: Any, out: np.ndarray[Any, Any] | None = None, *, done: bool = False) -> Copy:
        """Start to copy a device array to the host, after all work queued so far: to `out`, or a new array.

        Both are contiguous in C order, as for `upload`. The device array is not changed until the copy is done.
        `done`: an `Event` after the work that has written the array was waited for; the copy then waits for none, and
        is made beside what was queued since.
        """

    def record(self) -> Event:
        """Mark the end of the work queued so far."""

    def synchronize(self) -> None:
        """Return when all work and all copies are done."""
