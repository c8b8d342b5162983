"""What the engine asks of an array library.

A backend is one file in this folder that defines ``BACKEND``; `get` finds it by name.
"""

from __future__ import annotations

from collections.abc import Sequence
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
