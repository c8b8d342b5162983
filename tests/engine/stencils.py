"""Random stencils, and the same steps done with `numpy.pad` on whole arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuarray.kernels.program import Builder
from gpuarray.kernels.stencils.program import MODES, Edge, Edges, StencilProgram, Tap, kept_border

PADS = {"periodic": "wrap", "reflect": "reflect", "symmetric": "symmetric", "nearest": "edge"}


@dataclass
class Case:
    """A stencil with its edges, scalars and fields."""

    stencil: StencilProgram
    edges: Edges
    rows: list[tuple[float, ...]]
    fields: list[np.ndarray]
    steps: int

    def expected(self) -> list[np.ndarray]:
        state = list(self.fields)
        for row in self.rows:
            state = one_step(self.stencil, self.edges, row, state)
        return state[: self.stencil.outputs]


def random_case(seed: int, most: int = 24) -> Case:
    """A stencil of one to three dimensions on short, often awkward, axes."""
    rng = np.random.default_rng(seed)
    ndim = int(rng.integers(1, 4))
    shape = tuple(int(n) for n in rng.choice([0, 1, 2, 3, 5, 8, 13, most], ndim, p=[0.02, 0.06, 0.1, *[0.82 / 5] * 5]))
    state, coefficients = int(rng.integers(1, 3)), int(rng.integers(0, 2))
    dtype = str(rng.choice(["float64", "float64", "float32", "complex128", "int32"]))
    fields = [some(rng, shape, dtype) for _ in range(state + coefficients)]
    reach = rng.integers(0, 3, (state + coefficients, ndim, 2))
    taps = [Tap(f, (0,) * ndim) for f in range(state)]
    for field in range(state + coefficients):
        for _ in range(int(rng.integers(1, 5))):
            taps.append(Tap(field, tuple(int(rng.integers(-lo, hi + 1)) for lo, hi in reach[field])))
    taps = list(dict.fromkeys(taps))
    program = combined(rng, len(taps), state, dtype)
    stencil = StencilProgram(program, tuple(taps), (dtype,) * (state + coefficients), ndim)
    steps = int(rng.integers(1, 10))
    scalar = np.dtype(dtype).type
    rows = [(scalar(rng.integers(1, 4)),) for _ in range(steps)]
    edges = tuple(tuple(random_edges(rng, dtype) for _ in range(ndim)) for _ in fields)
    return Case(stencil, edges, rows, fields, steps)


def some(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    values = rng.integers(-3, 4, shape).astype(dtype)
    return values + (1j * rng.integers(-3, 4, shape)).astype(dtype) if dtype[0] == "c" else values


def combined(rng: np.random.Generator, taps: int, outputs: int, dtype: str) -> Any:
    """For each output a sum of some taps with weights of one or minus one, kept small by a division."""
    builder = Builder()
    values = [builder.input("array", dtype) for _ in range(taps)]
    scalar = builder.input("scalar", dtype)
    results = []
    for k in range(outputs):
        total = builder.step("multiply", values[k], scalar)
        for v in rng.permutation(values)[: int(rng.integers(1, taps + 1))]:
            total = builder.step(str(rng.choice(["add", "subtract"])), total, int(v))
        if dtype[0] != "i":
            total = builder.step("divide", total, scalar)
        results.append(builder.cast(total, dtype))
    return builder.build(*results)


def random_edges(rng: np.random.Generator, dtype: str) -> tuple[Edge, Edge]:
    modes = [str(m) for m in rng.choice(MODES, 2)]
    if "periodic" in modes:
        modes = ["periodic"] * 2
    if set(modes) == {"reflect", "symmetric"}:
        modes[0] = modes[1]
    scalar = np.dtype(dtype).type
    first, last = (Edge(m, scalar(rng.integers(-2, 3)) if m == "constant" else 0) for m in modes)
    return first, last


def one_step(stencil: StencilProgram, edges: Edges, row: tuple[Any, ...], fields: list[np.ndarray]) -> list[np.ndarray]:
    """Every field padded axis after axis, the program on shifted views, and the border that keeps its values."""
    shape = fields[0].shape
    if 0 in shape:
        return [f.copy() for f in fields]
    padded = [pad(stencil, edges, f, k) for k, f in enumerate(fields)]
    arrays = []
    for tap in stencil.taps:
        at = tuple(
            slice(stencil.radius(tap.field, a)[0] + o, stencil.radius(tap.field, a)[0] + o + n)
            for a, (o, n) in enumerate(zip(tap.offset, shape, strict=True))
        )
        arrays.append(padded[tap.field][at])
    made = [np.array(a) for a in stencil.program.interpret(np, *arrays, *row)]
    for axis, n in enumerate(shape):
        lo, hi = kept_border(stencil, edges, axis)
        for r in (slice(0, lo), slice(max(0, n - hi), n)):
            at = (slice(None),) * axis + (r,)
            for k, a in enumerate(made):
                a[at] = fields[k][at]
    return [*made, *fields[stencil.outputs :]]


def pad(stencil: StencilProgram, edges: Edges, field: np.ndarray, number: int) -> np.ndarray:
    for axis, sides in enumerate(edges[number]):
        low, high = stencil.radius(number, axis)
        first = margin(field, axis, (low, 0), sides[0])
        last = margin(field, axis, (0, high), sides[1])
        field = np.concatenate([first, field, last], axis)
    return field


def margin(field: np.ndarray, axis: int, width: tuple[int, int], edge: Edge) -> np.ndarray:
    """What lies past one end of an axis."""
    widths = [(0, 0)] * field.ndim
    widths[axis] = width
    if edge.mode in PADS:
        padded = np.pad(field, widths, mode=PADS[edge.mode])
    else:  # past a fixed edge nothing is read that is used
        padded = np.pad(field, widths, constant_values=edge.value if edge.mode == "constant" else 0)
    n = padded.shape[axis]
    return np.take(padded, range(width[0]) if width[0] else range(n - width[1], n), axis)
