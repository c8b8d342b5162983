"""A stencil as plain data: what one point computes, from which elements around it, and what lies past the edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gpuarray.kernels.program import Program

Mode = Literal["constant", "periodic", "reflect", "symmetric", "nearest", "fixed"]
FIELD = 12
"""Operations that take as long as handing one more field from step to step: rings are read and written for each, and
less of them is in the cache. Measured: a point of heat (7 operations, one field) takes 0.8 ns of a core, of waves (9,
two fields) 2.2 to 2.6, of Gray-Scott (23, two fields) 3.0."""
MODES: tuple[Mode, ...] = ("constant", "periodic", "reflect", "symmetric", "nearest", "fixed")


@dataclass(frozen=True, slots=True)
class Tap:
    """One element that a point reads: ``field[point + offset]``."""

    field: int
    offset: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StencilProgram:
    """What one step computes at one point.

    `program` has one input of kind "array" for each tap, in the order of `taps`, and any number of scalars; it has no
    index inputs. Fields are arrays of one shape. Output j is the next value of field j: the first
    ``len(program.outputs)`` fields are the *state*, the others are coefficients that no step changes. A program that
    is applied more than once returns each field of the state in that field's own dtype.
    """

    program: Program
    taps: tuple[Tap, ...]
    dtypes: tuple[str, ...]
    """The dtype of every field, also of those that no tap reads."""
    ndim: int

    @property
    def fields(self) -> int:
        return len(self.dtypes)

    @property
    def outputs(self) -> int:
        return len(self.program.outputs)

    @property
    def cost(self) -> float:
        """What a point takes, in scalar operations of a stencil of one field."""
        return max(1.0, self.program.cost) + FIELD * (self.outputs - 1)

    def dtype(self, field: int) -> np.dtype[Any]:
        return np.dtype(self.dtypes[field])

    def radius(self, field: int, axis: int) -> tuple[int, int]:
        """How far the point reads below and above itself: both 0 or more."""
        along = [t.offset[axis] for t in self.taps if t.field == field]
        return max(0, -min(along, default=0)), max(0, max(along, default=0))


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """What lies past one end of one axis of a field.

    ============  =======================  ======================  ====================
    mode          past the end of a b c d  `numpy.pad`             `scipy.ndimage`
    ============  =======================  ======================  ====================
    constant      v v v                    ``constant``            ``grid-constant``
    periodic      a b c                    ``wrap``                ``grid-wrap``
    reflect       c b a                    ``reflect``             ``mirror``
    symmetric     d c b                    ``symmetric``           ``reflect``
    nearest       d d d                    ``edge``                ``nearest``
    fixed         nothing: a point that would read there keeps its value
    ============  =======================  ======================  ====================

    Where two axes are passed, the axes are padded one after the other, as `numpy.pad` does it: the value of a
    ``constant`` on the last axis stands in the corners. Where both ends of an axis are ``reflect`` or both are
    ``symmetric`` and the axis is shorter than the radius, it is reflected as often as it takes.
    """

    mode: Mode
    value: float | complex | int | bool = 0
    """Of ``constant``; a scalar of the field's dtype."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Edge) and (self.mode, repr(self.value)) == (other.mode, repr(other.value))

    def __hash__(self) -> int:
        return hash((self.mode, repr(self.value)))  # 0.0 and -0.0 are two values, and a NaN equals itself


Edges = tuple[tuple[tuple[Edge, Edge], ...], ...]
"""By field, axis and side."""


def kept_border(stencil: StencilProgram, edges: Edges, axis: int) -> tuple[int, int]:
    """How many points at both ends of an axis keep their value: those that would read past a ``fixed`` edge.

    Such a point of output j keeps ``field j`` at the point, for all outputs, whichever field is fixed.
    """
    widths = [0, 0]
    for field in range(stencil.fields):
        for side in (0, 1):
            if edges[field][axis][side].mode == "fixed":
                widths[side] = max(widths[side], stencil.radius(field, axis)[side])
    return widths[0], widths[1]
