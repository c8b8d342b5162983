"""One iteration, bound to its arguments: what a step computes, and the state some steps later."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gpuarray import config
from gpuarray.array import NDArray, asarray
from gpuarray.graph.stencil import Scalars, sweep
from gpuarray.kernels.stencils.program import Edges, StencilProgram
from gpuarray.stencils.stencil import Stencil

State = tuple[NDArray, ...]


@dataclass(frozen=True, eq=False)
class Steps:
    """A stencil with the state it starts from and its coefficients."""

    stencil: Stencil
    state: State
    arrays: State
    """The coefficients that are arrays, in the order of the stencil's fields."""
    scalars: dict[str, Any]
    varying: dict[str, Callable[[int], Any]]
    """The coefficients that are functions of the step."""
    edges: Edges
    most: int
    together: int
    recorded: bool | None = None
    """Whether kernels were compiled in the run that this one goes on from."""

    @classmethod
    def of(
        cls,
        stencil: Stencil,
        state: Any,
        boundary: Any,
        coefficients: dict[str, Any],
        most: int,
        together: int | None,
    ) -> Steps:
        several = isinstance(state, (tuple, list)) and (stencil.outputs > 1 or len(state) == 1)
        given = tuple(asarray(x) for x in state) if several else (asarray(state),)
        if len(given) != stencil.outputs:
            raise stencil.error(
                f"{stencil.__name__} returns {stencil.outputs} values, so the state is {stencil.outputs} arrays; "
                f"got {len(given)}"
            )
        varying = {k: v for k, v in coefficients.items() if callable(v) and not isinstance(v, NDArray)}
        at_first = {**coefficients, **{k: v(0) for k, v in varying.items()}} if most else coefficients
        bound = stencil.bind((), {**dict(zip(stencil.fields, given, strict=False)), **at_first})
        fields = tuple(bound.fields.values())
        for name in varying:
            if name in bound.fields:
                raise stencil.error(f"{name}= returns an array; a coefficient that depends on the step is a scalar")
        edges = stencil.edges(boundary, tuple(bound.fields), bound.dtypes)
        scalars = {k: v for k, v in bound.scalars.items() if k not in varying}
        outputs = stencil.outputs
        return cls(stencil, fields[:outputs], fields[outputs:], scalars, varying, edges, most, together or 0)

    @property
    def dtypes(self) -> tuple[Any, ...]:
        return tuple(x.dtype for x in (*self.state, *self.arrays))

    def at(self, step: int) -> tuple[StencilProgram, tuple[Any, ...]]:
        """The program of a step, and its scalars."""
        scalars = {**self.scalars, **{name: function(step) for name, function in self.varying.items()}}
        self.stencil.check_scalars(scalars)
        return self.stencil.program(self.dtypes, scalars, True)

    def runs(self, lo: int, hi: int) -> Iterator[tuple[StencilProgram, list[tuple[Any, ...]]]]:
        """The steps from `lo` to `hi` as runs of one program, with their rows of scalars: one row if all are alike."""
        if not self.varying:
            program, row = self.at(lo)
            yield program, [row]
            return
        for program, steps in itertools.groupby(map(self.at, range(lo, hi)), key=lambda found: found[0]):
            yield program, [row for _, row in steps]

    @functools.cached_property
    def compiled(self) -> bool:
        """Whether kernels are compiled: decided once, by the whole iteration, wherever it pauses."""
        if self.recorded is not None or not self.most:
            return bool(self.recorded)
        from gpuarray.plan.policy import policy
        from gpuarray.plan.sweeps import worth_compiling

        program, _ = self.at(0)
        size = math.prod(self.state[0].shape)
        return worth_compiling(program, size * self.most, policy(config.get().compile))

    def advance(self, state: State, lo: int, hi: int) -> State:
        """The state after step `hi` from that after step `lo`; lazy."""
        nodes = tuple(x.node for x in state)
        done = lo
        for program, rows in self.runs(lo, hi) if hi > lo else ():
            steps = hi - done if not self.varying else len(rows)
            scalars = Scalars.of(rows, scalar_dtypes(program))
            fixed = tuple(x.node for x in self.arrays)
            nodes = sweep(program, self.edges, scalars, steps, min(self.together, steps), self.compiled, *nodes, *fixed)
            done += steps
        return tuple(map(NDArray, nodes))


def scalar_dtypes(program: StencilProgram) -> Sequence[Any]:
    """The dtypes of a stencil's scalar arguments, in order."""
    return [program.program.dtype_of(k) for k, i in enumerate(program.program.inputs) if i.kind == "scalar"]
