"""What sweeps are tested with: stencils drawn at random, an oracle made of `numpy.pad`, and the contract's tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.program import Builder
from gpuarray.kernels.stencils.boxes import Box, boxes
from gpuarray.kernels.stencils.program import Edge, Edges, Mode, StencilProgram, Tap, kept_border
from gpuarray.kernels.testing_tools import Contract, sample

Array = np.ndarray[Any, Any]

_PAD = {"constant": "constant", "periodic": "wrap", "reflect": "reflect", "symmetric": "symmetric", "nearest": "edge"}
FREE = ("constant", "reflect", "symmetric", "nearest", "fixed")
"""The modes that may differ from one end to the other."""


@dataclass(frozen=True)
class Case:
    """Everything that a sweep takes, for the whole fields."""

    stencil: StencilProgram
    edges: Edges
    scalars: Array
    fields: tuple[Array, ...]

    @property
    def domain(self) -> tuple[int, ...]:
        return self.fields[0].shape

    @property
    def steps(self) -> int:
        return len(self.scalars)

    def whole(self) -> Box:
        return tuple(map(range, self.domain))

    def box(self, rng: np.random.Generator) -> Box:
        """A part of the result: often at an end of an axis, seldom the whole axis, at times empty."""
        cuts = (sorted(map(int, rng.choice([0, n, int(rng.integers(0, n + 1))], 2))) for n in self.domain)
        drawn = (rng.integers(0, n + 1, 2) for n in self.domain)
        chosen = (c if c[0] < c[1] else sorted(map(int, d)) for c, d in zip(cuts, drawn, strict=True))
        return tuple(range(*c) for c in chosen)

    def level0(self, out: Box, spare: int = 0) -> tuple[list[Array], list[tuple[int, ...]]]:
        """The parts of the fields that a part of the result needs, and where they start; with elements to spare."""
        needed = boxes(self.stencil, self.edges, self.domain, out, self.steps)[0]
        arrays, origins = [], []
        for k, field in enumerate(self.fields):
            more = spare * (k % 2 + 1)
            box = [range(r.start - more, r.stop + more) for r in needed]
            part = field
            for axis, along in enumerate(box):
                n = self.domain[axis]
                part = np.take(part, [p % n for p in along if n], axis)
            arrays.append(part)
            origins.append(tuple(r.start for r in box))
        return arrays, origins


def build(
    write: Any, taps: Sequence[tuple[int, tuple[int, ...]]], dtypes: Sequence[str], scalars: Sequence[str] = ()
) -> StencilProgram:
    """A stencil whose outputs are ``write(builder, taps, scalars)``, cast to the dtypes of the fields."""
    b = Builder()
    read = [b.input("array", dtypes[f]) for f, _ in taps]
    given = [b.input("scalar", d) for d in scalars]
    outputs = [b.cast(v, dtypes[j]) for j, v in enumerate(write(b, read, given))]
    return StencilProgram(b.build(*outputs), tuple(Tap(f, o) for f, o in taps), tuple(dtypes), len(taps[0][1]))


def combination(b: Builder, taps: Sequence[int], scalars: Sequence[int], outputs: int) -> list[int]:
    """Outputs that depend on every tap, each in its own way, without overflow to infinity in a few steps."""
    kind = b.dtype(taps[0]).kind
    join = {"b": ["bitwise_xor", "bitwise_or", "bitwise_and"]}.get(kind, ["add", "subtract"])
    found = []
    for j in range(outputs):
        total = taps[j % len(taps)]
        for k, tap in enumerate(taps[j:] + taps[:j] if isinstance(taps, list) else taps):
            term = tap
            if kind in "fiu" and scalars:
                term = b.step("multiply", tap, scalars[(j + k) % len(scalars)])
            total = b.step(join[(j + k) % len(join)], total, term)
        if kind == "f":
            total = b.step("multiply", total, scalars[0]) if scalars else total
        found.append(total)
    return found


def draw(rng: np.random.Generator, ndim: int, dtypes: Sequence[str], outputs: int, radius: int) -> StencilProgram:
    """A stencil with taps at random."""
    taps = [(0, (0,) * ndim)]
    for f in range(len(dtypes)):
        reach = 0 if f >= outputs and rng.random() < 0.5 else radius
        taps += [(f, tuple(map(int, rng.integers(-reach, reach + 1, ndim)))) for _ in range(int(rng.integers(1, 4)))]
    kind = np.dtype(dtypes[0]).kind
    scalars = [] if kind in "bc" else [dtypes[0]] * int(rng.integers(1, 3))
    return build(lambda b, read, given: combination(b, read, given, outputs), taps, dtypes, scalars)


def draw_edges(rng: np.random.Generator, stencil: StencilProgram, mixed: bool = False) -> Edges:
    """An edge for every field, axis and side; axes are periodic for all fields or for none, unless `mixed`."""
    periodic = rng.random(stencil.ndim) < 0.3

    def axis(a: int, dtype: np.dtype[Any]) -> tuple[Edge, Edge]:
        if periodic[a] ^ (mixed and rng.random() < 0.4):
            return Edge("periodic"), Edge("periodic")
        values = sample((2,), dtype.char, int(rng.integers(1 << 30)))
        first, last = (Edge(str(rng.choice(FREE)), v) for v in values.tolist())  # type: ignore[arg-type]
        return first, last

    return tuple(tuple(axis(a, stencil.dtype(f)) for a in range(stencil.ndim)) for f in range(stencil.fields))


def data(rng: np.random.Generator, stencil: StencilProgram, edges: Edges, domain: tuple[int, ...], steps: int) -> Case:
    """Fields and scalars at random."""
    seeds = rng.integers(1 << 30, size=stencil.fields + 1)
    fields = tuple(sample(domain, d, int(s)) for d, s in zip(stencil.dtypes, seeds, strict=False))
    declared = [i.dtype for i in stencil.program.inputs if i.kind == "scalar"]
    scalars = np.zeros(steps, [(f"s{k}", d) for k, d in enumerate(declared)])
    for k, d in enumerate(declared):
        scalars[f"s{k}"] = sample((steps,), d, int(seeds[-1]) + k) * np.dtype(d).type(1)
        if np.dtype(d).kind == "f":
            scalars[f"s{k}"] /= 2
    return Case(stencil, edges, scalars, fields)


def pad(array: Array, widths: Sequence[tuple[int, int]], edges: Sequence[tuple[Edge, Edge]]) -> Array:
    """A whole field with its margins, by `numpy.pad`, axis after axis and end after end."""
    for axis, (width, ends) in enumerate(zip(widths, edges, strict=True)):
        parts = [array]
        for side in (0, 1):
            amount = [(0, 0)] * array.ndim
            amount[axis] = (width[0], 0) if side == 0 else (0, width[1])
            mode = _PAD.get(ends[side].mode, "edge")
            named = {"constant_values": ends[side].value} if mode == "constant" else {}
            padded = np.pad(array, amount, mode, **named)  # type: ignore[call-overload]
            margin = np.split(padded, [width[0]] if side == 0 else [array.shape[axis]], axis)[side]
            parts.insert(0 if side == 0 else len(parts), margin)
        array = np.concatenate(parts, axis)
    return array


def oracle(case: Case) -> tuple[Array, ...]:
    """What a sweep of the whole fields returns."""
    stencil, fields = case.stencil, list(case.fields)
    if not all(case.domain):
        return tuple(f.copy() for f in fields[: stencil.outputs])
    for row in case.scalars:
        padded = []
        for f, array in enumerate(fields):
            widths = [stencil.radius(f, a) for a in range(stencil.ndim)]
            padded.append((pad(array, widths, case.edges[f]), widths))
        operands: list[Any] = []
        for tap in stencil.taps:
            array, widths = padded[tap.field]
            starts = [w[0] + o for w, o in zip(widths, tap.offset, strict=True)]
            operands.append(array[tuple(slice(s, s + n) for s, n in zip(starts, case.domain, strict=True))])
        values = stencil.program.interpret(np, *operands, *(row[name] for name in case.scalars.dtype.names or ()))
        kept = np.zeros(case.domain, bool)
        for axis, n in enumerate(case.domain):
            below, above = kept_border(stencil, case.edges, axis)
            position = np.arange(n).reshape([-1 if a == axis else 1 for a in range(len(case.domain))])
            kept |= (position < below) | (position >= n - above)
        fields[: len(values)] = [np.where(kept, f, v) for f, v in zip(fields, values, strict=False)]
    return tuple(fields[: stencil.outputs])


def assert_same_bits(got: Array, wanted: Array, message: str = "") -> None:
    """The same numbers, and zeros of the same sign; a NaN is a NaN."""
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype), message
    np.testing.assert_array_equal(got, wanted, err_msg=message)
    for part in (np.real, np.imag) if got.dtype.kind == "c" else (np.asarray,):
        if got.dtype.kind in "fc":
            one, other = part(got), part(wanted)
            numbers = ~np.isnan(other)
            np.testing.assert_array_equal(np.signbit(one)[numbers], np.signbit(other)[numbers], err_msg=message)


def within(array: Array, box: Box) -> Array:
    return array[tuple(slice(r.start, r.stop) for r in box)]


class StencilTests(Contract):
    """`Backend.sweep`. The stencils are few, because each is compiled; edges, shapes and parts are drawn at random."""

    def sweep(self, backend: Any, case: Case, out: Box, compiled: bool, spare: int = 0) -> list[Array]:
        arrays, origins = case.level0(out, spare)
        before = [a.copy() for a in arrays]
        given = self.moved(backend, arrays)
        got = backend.sweep(case.stencil, case.edges, case.scalars, case.domain, out, given, origins, compiled=compiled)
        for array, old in zip(given, before, strict=True):
            np.testing.assert_array_equal(backend.to_host(array), old)
        return [backend.to_host(g) for g in got]

    def check_sweep(self, backend: Any, case: Case, outs: Sequence[Box], compiled: bool, spare: int = 0) -> None:
        wanted = oracle(case)
        for out in outs:
            for got, value in zip(self.sweep(backend, case, out, compiled, spare), wanted, strict=True):
                assert_same_bits(got, within(value, out), f"{case.stencil.taps} {case.edges} {case.domain} {out}")

    @pytest.mark.parametrize(
        ("ndim", "dtypes", "outputs", "radius"),
        [
            (1, "d", 1, 1),
            (1, "ff", 2, 3),
            (2, "d", 1, 1),
            (2, "fff", 2, 2),
            (2, "l", 1, 2),
            (2, "D", 1, 1),
            (3, "dd", 1, 1),
            (3, "B", 1, 2),
            (4, "?", 1, 1),
        ],
    )
    def test_sweeps(self, backend: Any, ndim: int, dtypes: str, outputs: int, radius: int, compiled: bool) -> None:
        rng = np.random.default_rng([ndim, radius, outputs])
        stencil = draw(rng, ndim, dtypes, outputs, radius)
        for _ in range(12):
            domain = tuple(map(int, rng.choice([1, 2, 3, 5, 9, 14, 20], ndim)))
            case = data(rng, stencil, draw_edges(rng, stencil, rng.random() < 0.2), domain, int(rng.integers(1, 9)))
            self.check_sweep(
                backend, case, [case.whole(), case.box(rng), case.box(rng)], compiled, int(rng.integers(2))
            )

    def test_no_elements_and_no_steps(self, backend: Any, compiled: bool) -> None:
        stencil = build(lambda b, t, s: [b.step("add", *t)], [(0, (0, 1)), (0, (0, -1))], "d")
        edges = (((Edge("reflect"), Edge("reflect")), (Edge("periodic"), Edge("periodic"))),)
        rng = np.random.default_rng(0)
        for domain in ((0, 5), (5, 0), (0, 0)):
            case = data(rng, stencil, edges, domain, 3)
            self.check_sweep(backend, case, [case.whole()], compiled)
        case = data(rng, stencil, edges, (6, 7), 3)
        self.check_sweep(backend, case, [(range(6), range(3, 3)), (range(2, 2), range(7))], compiled)
        case = data(rng, stencil, edges, (6, 7), 0)
        self.check_sweep(backend, case, [case.whole(), (range(1, 3), range(2, 7))], compiled)

    def test_sweep_into(self, backend: Any, compiled: bool) -> None:
        stencil = build(lambda b, t, s: [b.step("add", *t)], [(0, (0, 1)), (0, (1, 0))], "d")
        edges = (((Edge("constant", 2.0), Edge("nearest")), (Edge("reflect"), Edge("fixed"))),)
        for steps in (1, 4):
            case = data(np.random.default_rng(1), stencil, edges, (11, 13), steps)
            out = (range(2, 11), range(1, 13))
            arrays, origins = case.level0(out)
            wide = backend.from_host(np.full((9, 24), -1.0))
            given = self.moved(backend, arrays)
            got = backend.sweep(
                stencil, edges, case.scalars, case.domain, out, given, origins, compiled=compiled, into=[wide[:, ::2]]
            )
            assert len(got) == 1
            host = backend.to_host(wide)
            assert_same_bits(host[:, ::2], within(oracle(case)[0], out))
            assert (host[:, 1::2] == -1).all()

    def test_one_step_may_change_the_dtype(self, backend: Any, compiled: bool) -> None:
        stencil = build(lambda b, t, s: [b.step("greater", *t)], [(0, (0, 1)), (0, (-1, 0))], "d")
        b = Builder()
        x, y = b.input("array", "float64"), b.input("array", "float64")
        stencil = replace(stencil, program=b.build(b.step("greater", x, y)))
        modes: tuple[Mode, ...] = ("fixed", "nearest")
        for mode in modes:
            edges: Edges = (((Edge(mode), Edge(mode)),) * 2,)
            case = data(np.random.default_rng(2), stencil, edges, (15, 40), 1)
            shifted = [pad(case.fields[0], [(1, 0), (0, 1)], case.edges[0])]
            wanted = shifted[0][1:, 1:] > shifted[0][:-1, :-1]
            if mode == "fixed":
                wanted[:1], wanted[:, -1:] = case.fields[0][:1].astype(bool), case.fields[0][:, -1:].astype(bool)
            (got,) = self.sweep(backend, case, case.whole(), compiled)
            assert_same_bits(got, wanted)

    @pytest.mark.parametrize("layout", ["F", "strided", "reversed", "broadcast", "swapped"])
    def test_fields_lie_anyhow(self, backend: Any, layout: str, compiled: bool) -> None:
        from gpuarray.kernels.testing_tools import laid_out

        stencil = build(lambda b, t, s: [b.step("add", *t)], [(0, (0, 1)), (1, (1, 0))], "dd")
        edges = (((Edge("reflect"), Edge("nearest")), (Edge("periodic"), Edge("periodic"))),) * 2
        for steps in (1, 3):
            case = data(np.random.default_rng(3), stencil, edges, (12, 17), steps)
            fields = tuple(laid_out(f, layout) for f in case.fields)
            if layout == "swapped":
                fields = tuple(np.ascontiguousarray(f.T).T for f in case.fields)
            case = replace(case, fields=fields)
            out, origin = case.whole(), [(0, 0)] * 2
            got = backend.sweep(
                stencil, edges, case.scalars, case.domain, out, self.moved(backend, fields), origin, compiled=compiled
            )
            assert_same_bits(backend.to_host(got[0]), oracle(case)[0])

    def test_sweeps_that_do_not_fit(self, backend: Any, compiled: bool) -> None:
        stencil = build(lambda b, t, s: [b.step("add", *t)], [(0, (0, 1)), (0, (1, 0))], "d")
        edges = (((Edge("nearest"), Edge("nearest")),) * 2,)
        out, scalars = (range(4), range(4)), np.zeros(1, [])

        def run(field: Array, origin: tuple[int, int], into: Any = None) -> None:
            backend.sweep(
                stencil,
                edges,
                scalars,
                (8, 8),
                out,
                self.moved(backend, [field]),
                [origin],
                compiled=compiled,
                into=into,
            )

        for field, origin in ((np.zeros((4, 5)), (0, 0)), (np.zeros((5, 5)), (0, 1)), (np.zeros((5, 4)), (0, 0))):
            with pytest.raises(ValueError, match="covers positions"):
                run(field, origin)
        with pytest.raises(ValueError, match="the stencil declares"):
            run(np.zeros((5, 5), "f"), (0, 0))
        for into in (backend.empty((4, 5), np.dtype("d")), backend.empty((4, 4), np.dtype("f"))):
            with pytest.raises(ValueError, match="into has shape"):
                run(np.zeros((5, 5)), (0, 0), [into])
