"""CUDA kernels of stencils in Numba's simulator, one step and several at once: the bits of the interpreter."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.program import Builder
from gpuarray.kernels.stencils.program import MODES, Edge, StencilProgram, Tap
from tests.kernels.simulator import (
    aligned,
    checks,
    finite,
    main,
    perform,
    place,
    same,
    sample,
    simulate,
)

DTYPES = ["bool", "int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"]
FLOATS = ["float32", "float64", "complex64", "complex128"]


def stencil(offsets: list[tuple[int, ...]], dtype: str, fields: int = 1) -> StencilProgram:
    """A weighted sum of the taps, in an order that no rearrangement could give; the last field is a coefficient."""
    b = Builder()
    taps = [Tap(f, o) for f in range(fields) for o in offsets]
    values = [b.input("array", dtype) for _ in taps]
    weight = b.input("scalar", dtype)
    outputs = []
    for state in range(max(1, fields - 1)):
        total = values[state]
        for v in values:
            if dtype == "bool":
                total = b.step("logical_xor", total, v)
            else:
                total = b.step("subtract", v, b.step("multiply", total, weight))
        outputs.append(total)
    return StencilProgram(b.build(*outputs), tuple(taps), (dtype,) * fields, len(offsets[0]))


def star(ndim: int, radius: int) -> list[tuple[int, ...]]:
    unit = np.eye(ndim, dtype=int)
    found = [tuple(s * unit[a]) for a in range(ndim) for s in range(-radius, radius + 1) if s]
    return [(0,) * ndim, *[tuple(map(int, f)) for f in found]]


def stepped(
    s: StencilProgram, edges: Any, fields: list[np.ndarray], weight: Any, box: Any, origins: Any
) -> list[np.ndarray]:
    """One step at every point of the box, tap by tap, with NumPy."""
    from gpuarray.kernels.stencils.boxes import source
    from gpuarray.kernels.stencils.program import kept_border

    domain = edges[1]
    at = np.meshgrid(*[np.arange(r.start, r.stop) for r in box], indexing="ij", sparse=False)
    taps = []
    for tap in s.taps:
        index, constant = [], np.full(at[0].shape, None, object)
        for a in range(s.ndim):
            first, last = edges[0][tap.field][a]
            n = domain[a]
            line = []
            for p in range(box[a].start + tap.offset[a], box[a].stop + tap.offset[a]):
                edge = first if p < 0 else last
                line.append(p if 0 <= p < n or edges[2][a] else source(p, n, edge))
            chosen = np.array([0 if q is None else q for q in line])
            shape = [1] * s.ndim
            shape[a] = -1
            index.append(chosen.reshape(shape) - origins[tap.field][a])
            for k, q in enumerate(line):
                if q is None:
                    where: list[Any] = [slice(None)] * s.ndim
                    where[a] = k
                    p = box[a].start + tap.offset[a] + k
                    constant[tuple(where)] = (first if p < 0 else last).value
        limits = fields[tap.field].shape
        index = [np.clip(i, 0, n - 1) for i, n in zip(index, limits, strict=True)]
        value = fields[tap.field][tuple(np.broadcast_arrays(*index))].copy()
        given = constant != np.array(None)
        value[given] = constant[given].astype(value.dtype)
        taps.append(value)
    results = list(s.program.interpret(np, *taps, weight))
    kept = np.zeros(at[0].shape, bool)
    for a in range(s.ndim):
        if not edges[2][a]:
            low, high = kept_border(s, edges[0], a)
            kept |= (at[a] < low) | (at[a] >= domain[a] - high)
    for j, r in enumerate(results):
        here = fields[j][tuple(p - o for p, o in zip(at, origins[j], strict=True))]
        r[kept] = here[kept]
    return results


def sweep_of(s: StencilProgram, edges: Any, domain: tuple[int, ...], extended: tuple[bool, ...]) -> Any:
    from gpuarray.kernels.cuda.calls import Sweep

    return Sweep(s, edges, extended, domain, place, lambda array, nbytes: array.ctypes.data % nbytes)


def one_step(
    s: StencilProgram, edges: Any, fields: Any, origins: Any, weight: Any, domain: Any, box: Any, extended: Any
) -> list[np.ndarray]:
    """By `interior_kernel` where it can, by `edge_kernel` around it."""
    outputs = [aligned(tuple(len(r) for r in box), s.program.dtype_of(o)) for o in s.program.outputs]
    low = tuple(r.start for r in box)
    sweep = sweep_of(s, edges, domain, extended)
    arrays = list(zip(fields, origins, strict=True))
    for call in sweep.step(arrays, [(o, low) for o in outputs], box, [weight], (4, 2 if s.ndim > 1 else 1, 1)):
        if "edges" in call.kernel.source.split("\n")[0]:
            perform(call, (2,), (8,))
        else:
            perform(call)
    return outputs


def compare_step(
    s: StencilProgram, domain: tuple[int, ...], first: str, last: str, pad: int = 0, seed: int = 0
) -> None:
    dtype = s.dtypes[0]
    edges = tuple(tuple((Edge(first, 1 + a), Edge(last, 7 + f)) for a in range(s.ndim)) for f in range(s.fields))  # type: ignore[arg-type]
    fields = [sample((*domain[:-1], domain[-1] + pad), dtype, seed + f)[..., : domain[-1]] for f in range(s.fields)]
    origins = [(0,) * s.ndim] * s.fields
    box = tuple(range(n) for n in domain)
    weight = np.dtype(dtype).type(1 if dtype == "bool" else 2)
    extended = (False,) * s.ndim
    found = one_step(s, edges, fields, origins, weight, domain, box, extended)
    expected = stepped(s, (edges, domain, extended), fields, weight, box, origins)
    for f, e in zip(found, expected, strict=True):
        same(f, e, f"{first} {last} {domain} {dtype}")


def check_stencil_edges() -> None:
    for mode in MODES:
        compare_step(stencil(star(2, 1), "float64"), (9, 12), mode, mode)
        compare_step(stencil([(-2, -1), (1, 2), (0, 0)], "float32"), (6, 16), mode, mode)
    for first, last in itertools.permutations([m for m in MODES if m != "periodic"], 2):
        compare_step(stencil([(-2, -1), (1, 2), (0, 0), (0, -1)], "int32"), (6, 11), first, last)


def check_stencil_dimensions() -> None:
    compare_step(stencil(star(1, 2), "float64"), (23,), "nearest", "constant")
    compare_step(stencil(star(3, 1), "float64"), (5, 6, 12), "fixed", "fixed")
    compare_step(stencil(list(itertools.product((-1, 0, 1), repeat=3)), "float32"), (5, 5, 12), "periodic", "periodic")
    compare_step(stencil(star(4, 1), "float64"), (3, 4, 4, 6), "reflect", "symmetric")


def check_stencil_dtypes() -> None:
    for dtype in DTYPES + FLOATS:
        compare_step(stencil(star(2, 1), dtype), (6, 24), "constant", "nearest")


def check_stencil_of_several_fields() -> None:
    compare_step(stencil([(0, 0), (0, 1), (-1, 0)], "float64", 3), (8, 14), "constant", "symmetric")
    compare_step(stencil([(0, 0), (0, 1), (-1, 0)], "float64", 3), (8, 14), "fixed", "constant")


def check_stencil_of_awkward_sizes() -> None:
    for shape, pad in (((1, 1), 0), ((2, 3), 1), ((3, 2), 0), ((7, 13), 0), ((7, 13), 3), ((4, 40), 0)):
        for mode in ("reflect", "periodic", "fixed"):
            compare_step(stencil(star(2, 1), "float64"), shape, mode, mode, pad)


def check_stencil_of_a_part() -> None:
    """A box in the middle, fields that begin elsewhere, and an extended periodic axis."""
    s = stencil(star(2, 1), "float64")
    edges = (((Edge("periodic"),) * 2, (Edge("fixed"),) * 2),)
    field = sample((8, 20), "float64")
    box = (range(-1, 5), range(3, 17))
    found = one_step(s, edges, [field], [(-2, 0)], np.float64(2), (30, 40), box, (True, False))
    expected = stepped(s, (edges, (30, 40), (True, False)), [field], np.float64(2), box, [(-2, 0)])
    same(found[0], expected[0])


# Several steps at once


def compare_sweep(
    s: StencilProgram,
    domain: tuple[int, ...],
    modes: tuple[str, ...],
    count: int,
    box: tuple[range, ...] | None = None,
    tile: tuple[int, ...] = (24,),
) -> None:
    """`modes` are those of the first axis' ends, then of the next axis', or one for all."""
    from gpuarray.kernels.cuda import stencil_code, sweep_code

    dtype = s.dtypes[0]
    if len(modes) == 1:
        modes *= 2 * s.ndim
    edges: Any = tuple(
        tuple((Edge(modes[2 * a], 3 + 2 * a), Edge(modes[2 * a + 1], 4 + f)) for a in range(s.ndim))  # type: ignore[arg-type]
        for f in range(s.fields)
    )
    none = (False,) * s.ndim
    kinds = stencil_code.modes_of(edges, none)
    assert sweep_code.missing(s, kinds, domain) == ""
    fields = [finite(domain, s.dtypes[f], f) for f in range(s.fields)]
    whole = tuple(range(n) for n in domain)
    box = box or whole
    weights = [np.dtype(dtype).type(1 if dtype == "bool" else k % 3 - 1) for k in range(count)]
    expected = list(fields)
    for weight in weights:
        expected[: s.outputs] = stepped(s, (edges, domain, none), expected, weight, whole, [(0,) * s.ndim] * s.fields)
    outputs = [aligned(tuple(len(r) for r in box), s.dtype(j)) for j in range(s.outputs)]
    low = tuple(r.start for r in box)
    arrays = [(f, (0,) * s.ndim) for f in fields]
    perform(
        sweep_of(s, edges, domain, none).steps(
            arrays, [(o, low) for o in outputs], box, whole, [[w] for w in weights], tile, rows=5
        )
    )
    part = tuple(slice(r.start, r.stop) for r in box)
    for found, e in zip(outputs, expected, strict=False):
        same(found, np.ascontiguousarray(e[part]), f"{modes} {count}")


def check_sweep_edges() -> None:
    for mode in ("fixed", "constant", "nearest", "reflect", "symmetric"):
        compare_sweep(stencil(star(2, 1), "float64"), (8, 30), (mode,) * 4, 3)
    compare_sweep(stencil(star(2, 1), "float64"), (9, 17), ("fixed", "reflect", "constant", "nearest"), 2)
    compare_sweep(stencil(star(2, 2), "float32"), (13, 25), ("reflect", "symmetric", "symmetric", "reflect"), 2)


def check_sweep_stencils() -> None:
    corners = list(itertools.product((-1, 0, 1), repeat=2))
    for mode in ("fixed", "constant", "symmetric"):
        compare_sweep(stencil(corners, "float64"), (7, 20), (mode,) * 4, 3)
    compare_sweep(stencil([(0, 0), (-1, 2), (-2, 0)], "int32"), (9, 30), ("constant", "fixed", "nearest", "fixed"), 3)
    compare_sweep(stencil(corners, "bool"), (7, 20), ("constant",) * 4, 2)
    compare_sweep(stencil(star(2, 1), "complex64"), (7, 20), ("nearest",) * 4, 2)


def check_sweep_of_a_part() -> None:
    compare_sweep(stencil(star(2, 1), "float64"), (20, 40), ("fixed",) * 4, 3, (range(6, 14), range(9, 31)))
    compare_sweep(stencil(star(2, 1), "float64"), (20, 40), ("constant",) * 4, 3, (range(0, 7), range(30, 40)))


def check_sweep_past_the_ends() -> None:
    """A periodic axis of which the field holds a part, and the rows past an end: positions run on."""
    s, domain, extended = stencil(star(2, 1), "float64"), (12, 20), (True, False)
    edges = (((Edge("periodic"),) * 2, (Edge("fixed"), Edge("constant", 3))),)
    whole = finite(domain, "float64")
    field = aligned((13, 20), "float64")
    field[...] = whole[np.arange(-4, 9) % 12]
    weights = [np.float64(2), np.float64(-1), np.float64(3)]
    expected = whole
    for weight in weights:
        (expected,) = stepped(s, (edges, domain, (False, False)), [expected], weight, (range(12), range(20)), [(0, 0)])
    box, out = (range(-1, 6), range(20)), aligned((7, 20), "float64")
    sweep = sweep_of(s, edges, domain, extended)
    perform(
        sweep.steps(
            [(field, (-4, 0))], [(out, (-1, 0))], box, (range(-4, 9), range(20)), [[w] for w in weights], (24,), 5
        )
    )
    same(out, np.ascontiguousarray(expected[np.arange(-1, 6) % 12]))


def check_sweep_of_several_fields() -> None:
    b = Builder()
    taps = (Tap(0, (0, 0)), Tap(0, (0, 1)), Tap(1, (-1, 0)), Tap(1, (0, -1)), Tap(2, (0, 0)))
    v = [b.input("array", "float64") for _ in taps]
    c = b.input("scalar", "float64")
    u = b.step("add", b.step("multiply", v[4], b.step("subtract", v[1], v[0])), v[2])
    program = b.build(u, b.step("multiply", b.step("add", v[3], u), c))
    s = StencilProgram(program, taps, ("float64",) * 3, 2)
    for mode in ("fixed", "constant", "symmetric"):
        compare_sweep(s, (8, 20), (mode,) * 4, 3)


def check_sweep_of_a_line() -> None:
    """One axis: every kind of edge, several tiles, a part of the line."""
    for mode in MODES:
        compare_sweep(stencil(star(1, 1), "float64"), (50,), (mode,), 3, tile=(32,))
    compare_sweep(stencil([(-2,), (0,), (1,)], "float32"), (41,), ("reflect", "constant"), 4, tile=(32,))
    compare_sweep(stencil(star(1, 1), "bool"), (9,), ("symmetric",), 2, tile=(32,))
    compare_sweep(stencil(star(1, 1), "float64"), (60,), ("fixed",), 3, (range(17, 45),), tile=(32,))
    compare_sweep(stencil([(0,), (2,), (-1,)], "float64", 3), (50,), ("symmetric",), 3, tile=(32,))
    compare_sweep(stencil([(0,), (2,), (-1,)], "float64", 3), (50,), ("periodic",), 3, tile=(32,))


def check_sweep_in_three_dimensions() -> None:
    cube = list(itertools.product((-1, 0, 1), repeat=3))
    for mode in MODES:
        compare_sweep(stencil(star(3, 1), "float64"), (5, 7, 9), (mode,), 2, tile=(8, 10))
    mixed = ("fixed", "reflect", "constant", "symmetric", "nearest", "constant")
    compare_sweep(stencil(cube, "float32"), (5, 5, 6), mixed, 2, tile=(8, 8))
    part = (range(1, 4), range(2, 6), range(3, 9))
    compare_sweep(stencil([(0, 0, 0), (-1, 0, 1), (0, -2, 0)], "int32"), (6, 7, 9), ("fixed",), 2, part, (8, 8))


def check_sweep_of_coefficients() -> None:
    """A field that no step changes is read around the point, past its own edges too."""
    corners = [(0, 0), (0, 1), (-1, 0), (1, -1)]
    for mode in MODES:
        compare_sweep(stencil(corners, "float64", 2), (8, 20), (mode,), 3)
    compare_sweep(stencil(corners, "float64", 2), (8, 20), ("constant", "reflect", "symmetric", "constant"), 2)
    apart = [(0, 0, 0), (1, 0, -1), (0, 1, 0)]
    compare_sweep(stencil(apart, "float64", 2), (4, 6, 7), ("constant", "nearest") * 3, 2, tile=(8, 8))


if __name__ == "__main__":
    main(globals())
else:

    @pytest.fixture(scope="module")
    def results() -> dict[str, str]:
        return simulate(__file__)

    @pytest.mark.parametrize("name", checks(globals()))
    def test_simulated(results: dict[str, str], name: str) -> None:
        assert results[name] == ""
