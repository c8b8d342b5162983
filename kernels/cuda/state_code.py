"""The text that starts, updates and merges the states of a reduction, for kernels that fold and that merge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from gpuarray.kernels.cuda.scalar_code import HALF, indented
from gpuarray.kernels.reduction import StateCode
from gpuarray.kernels.reductions import REDUCTIONS
from gpuarray.kernels.row import DType, type_name


def code_of(reduction: str, operand: DType) -> StateCode | None:
    """The scalar code of a reduction's states; of half precision where states are those of single precision."""
    row, single = REDUCTIONS[reduction], np.dtype(np.float32)
    if operand == HALF:
        return row.code(single) if row.state(operand) == row.state(single) else None
    return row.code(operand)


class StateWriter:
    """The pieces of the kernels. ``s0, s1, ...`` are a thread's state, ``t0, ...`` one that is merged in."""

    def __init__(self, reduction: str, operand: DType) -> None:
        row, code = REDUCTIONS[reduction], code_of(reduction, operand)
        assert code is not None, f"{reduction} has no scalar code for {operand}"
        self.code, self.family = code, row.family
        self.dtypes = row.state(operand)
        self.types = [type_name(d) for d in self.dtypes]
        self.count = len(self.types)

    def places(self) -> list[tuple[str, str]]:
        return [(f"S{k}", "uint64") for k in range(self.count)]

    def start(self, suffix: str = "") -> list[str]:
        return [f"s{k}{suffix} = {text}" for k, text in enumerate(self.code.start)]

    def _fill(self, texts: Iterable[str], s: str, t: str, x: str = "", z: str = "") -> list[str]:
        names = {f"s{k}": f"s{k}{s}" for k in range(self.count)} | {f"t{k}": f"t{k}{t}" for k in range(self.count)}
        return [f"{name}({text.format(x=x, i=z, **names)})" for name, text in zip(self.types, texts, strict=True)]

    def merge(self, s: str = "", t: str = "") -> list[str]:
        """Merge state ``t`` into ``s``: all texts read the old values."""
        texts = self._fill(self.code.merge, s, t)
        return [f"u{k} = {text}" for k, text in enumerate(texts)] + [f"s{k}{s} = u{k}" for k in range(self.count)]

    def update(self, x: str, z: str, masked: bool, suffix: str = "") -> list[str]:
        texts = self._fill(self.code.update, suffix, suffix, x, z)
        if masked:
            texts = [f"{text} if {z} else s{k}{suffix}" for k, text in enumerate(texts)]
        return [f"u{k} = {text}" for k, text in enumerate(texts)] + [f"s{k}{suffix} = u{k}" for k in range(self.count)]

    def halves(self, lanes: int) -> Iterator[str]:
        """Merge the lanes of a group in halves; the result is in its lane 0. Every thread of the block takes part."""
        distance = lanes // 2
        while distance:
            yield from (f"t{k} = shuffle_down(s{k}, {distance})" for k in range(self.count))
            yield f"if ({distance} < W) & (lane < {distance}):"
            yield from indented(self.merge())
            distance //= 2

    def store(self, at: str) -> list[str]:
        return [f"store({name}, S{k}, {at}, s{k})" for k, name in enumerate(self.types)]

    # Moments of a block, in two passes: of a lane's state, value 0 counts, 1 sums, 2 sums the squared deviations.

    def moments(self, lines: list[str], x: str, z: str, masked: bool, suffix: str = "") -> tuple[list[str], list[str]]:
        """What the two passes do with an element, which `lines` compute: (first, second)."""
        _, mean, m2 = self.types
        s0, s1, s2 = (f"s{k}{suffix}" for k in range(3))
        take, part = f"{mean}({x})", "d.real * d.real + d.imag * d.imag" if self.dtypes[1].kind == "c" else "d * d"
        first = list(lines)
        if masked:
            take, part = f"({take}) if {z} else {mean}(0)", f"({part}) if {z} else {m2}(0)"
            first.append(f"{s0} = {s0} + (np.int64(1) if {z} else np.int64(0))")
        first.append(f"{s1} = {mean}({s1} + ({take}))")
        return first, [*lines, f"d = {mean}({mean}({x}) - mean)", f"{s2} = {m2}({s2} + ({part}))"]
