"""NumPy: the host's own memory, and the backend wherever there is no GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuarray.kernels import interpreter
from gpuarray.kernels.backends.base import Cuts
from gpuarray.kernels.program import Program
from gpuarray.kernels.stencils import interpreter as stencils
from gpuarray.kernels.stencils.boxes import Box
from gpuarray.kernels.stencils.program import Edges, StencilProgram
from gpuarray.kernels.stencils.slabs import Visit

Array = np.ndarray[Any, Any]


class NumPyBackend:
    """NumPy arrays; programs are interpreted, or compiled by Numba where `compiled` says so and Numba can.

    What compiles is imported where it is used: most processes of small arrays never need it.
    """

    name = "numpy"
    xp: Any = np

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        return np.empty(shape, dtype)

    def from_host(self, array: Any) -> Array:
        # what `get` has is an array of CuPy
        return array if type(array) is np.ndarray or not hasattr(array, "get") else array.get()

    def to_host(self, array: Array) -> Array:
        return array

    def nbytes(self, array: Array) -> int:
        return int(array.nbytes)

    def gather(self, parts: Sequence[tuple[Array, Array]]) -> None:
        for source, target in parts:
            target[...] = source

    def elementwise(
        self, program: Program, operands: Sequence[Any], shape: tuple[int, ...], *, compiled: bool, out: Any = None
    ) -> Array:
        if compiled:
            from gpuarray.kernels import compile, elementwise

            if compile.supported(program):
                return elementwise.run(program, operands, shape, out)
        result: Array = interpreter.elementwise(np, program, operands, shape, out)
        return result

    def reduce(
        self,
        program: Program,
        reduction: str,
        operands: Sequence[Any],
        shape: tuple[int, ...],
        cuts: tuple[Cuts, ...],
        *,
        compiled: bool,
    ) -> tuple[Array, ...]:
        if compiled:
            from gpuarray.kernels import reduce

            if reduce.supported(program, reduction):
                return reduce.run(program, reduction, operands, shape, cuts)
        return interpreter.reduce(np, program, reduction, operands, shape, cuts)

    def combine(self, reduction: str, states: Sequence[Array], axes: tuple[int, ...], **parameters: Any) -> Array:
        result: Array = interpreter.combine(np, reduction, states, axes, **parameters)
        return result

    def scan(
        self, name: str, array: Array, axis: int, carry: Array | None, dtype: np.dtype[Any], *, out: Array | None = None
    ) -> Array:
        from gpuarray.kernels import scan

        target = np.empty(array.shape, dtype) if out is None else out
        if scan.applies(name, array, axis, carry, dtype, target):
            return scan.run(name, array, carry, target)
        result: Array = interpreter.scan(np, name, array, axis, carry, dtype, target)
        return result

    def sweep(
        self,
        stencil: StencilProgram,
        edges: Edges,
        scalars: Array,
        domain: tuple[int, ...],
        out: Box,
        fields: Sequence[Array],
        origins: Sequence[tuple[int, ...]],
        *,
        compiled: bool,
        into: Sequence[Array] | None = None,
    ) -> tuple[Array, ...]:
        if compiled:
            from gpuarray.kernels.stencils import compiled as fast

            if fast.applies(stencil, edges, len(scalars)):
                return fast.sweep(stencil, edges, scalars, domain, out, fields, origins, into)
        return stencils.sweep(np, stencil, edges, scalars, domain, out, fields, origins, into)

    def sweep_slab(
        self,
        stencil: StencilProgram,
        edges: Edges,
        scalars: Array,
        domain: tuple[int, ...],
        visit: Visit,
        fields: Sequence[Array],
        first: int,
        carried: Sequence[Array] | None,
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """`slabs.advance`, compiled, where `scratch.in_slabs` holds; other backends have none."""
        from gpuarray.kernels.stencils import compiled

        return compiled.sweep_slab(stencil, edges, scalars, domain, visit, fields, first, carried)


BACKEND = NumPyBackend()
