"""How the operands of a kernel lie, and the table of words in which it finds them.

A row is the innermost axis, of length n; the next one has length m.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpuarray.kernels.program import Program, remembered


@dataclass(frozen=True, slots=True)
class Template:
    """How the operands move along the innermost axis; with the program, all that the generated code depends on.

    ======  =============================================================================
    ``u``   by one element                  ``r``  by minus one element
    ``c``   not at all                      ``s``  by any number of bytes
    ``t``   by one element along the next axis: turned through a tile buffer
    ``-``   a scalar
    ======  =============================================================================
    """

    inputs: str
    outputs: str

    @property
    def tiled(self) -> bool:
        return "t" in self.inputs


def contiguous(program: Program) -> Template:
    """The template of operands that all lie like the result."""
    return Template("".join("-" if i.kind == "scalar" else "u" for i in program.inputs), "u" * len(program.outputs))


@dataclass(frozen=True)
class Words:
    """Where an evaluator finds what in its table of 64-bit words.

    The first four are the innermost length n, the next length m, the number of (m, n) boxes, and the number R of axes
    around them. Then for each *moving* value (outputs, then array and index inputs): address or index, step along n,
    step along m. Then two words per scalar. Then R lengths, R counters, and for each of the R axes the change of every
    moving value when that axis advances and those inside it start again.
    """

    moving: tuple[int, ...]
    """Input numbers of the moving inputs; the outputs come before them."""
    outputs: int
    scalars: tuple[int, ...]

    @staticmethod
    def of(program: Program) -> Words:
        return _words(program)

    @property
    def count(self) -> int:
        """Moving values."""
        return self.outputs + len(self.moving)

    def base(self, j: int) -> int:
        """Address, step along n and step along m of moving value `j` are here and in the two words after."""
        return 4 + 3 * j

    def scalar(self, j: int) -> int:
        return 4 + 3 * self.count + 2 * j

    @property
    def axes(self) -> int:
        """The table of outer axes."""
        return self.scalar(len(self.scalars))

    def size(self, outer_axes: int) -> int:
        return self.axes + outer_axes * (2 + self.count)


@remembered
def _words(program: Program) -> Words:
    kinds = [i.kind for i in program.inputs]
    moving = tuple(k for k, kind in enumerate(kinds) if kind != "scalar")
    return Words(moving, len(program.outputs), tuple(k for k, kind in enumerate(kinds) if kind == "scalar"))
