"""The text of CUDA kernels for one step of a stencil.

Two forms share the work. `interior_kernel` computes a box all of whose reads lie inside the arrays, and knows nothing
of edges: a thread owns a vector of 16 bytes along the last axis and marches along the first one, keeping in registers
what later rows read again; neighbours within a row come from the read-only path, where the L1 cache has them.
`edge_kernel` computes any box, one point per thread, and maps every read by the rules of the edges: it is for the thin
slabs around the interior, and for arrays whose last axis is not contiguous.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from gpuarray.kernels.cuda.offline import Kernel
from gpuarray.kernels.cuda.scalar_code import indented, kernel_text, moved, scalar_parameters, steps
from gpuarray.kernels.row import type_name
from gpuarray.kernels.stencils.program import Edge, StencilProgram

THREADS = 256
LONGEST = 8
"""Most elements of a vector, for fields of single bytes."""
MOST_STEPS = 256
"""Steps of the program times elements of a vector."""

Modes = tuple[tuple[tuple[str, str], ...], ...]
"""The mode of every field's edges, by axis and side; ``none`` where the array holds what lies past the edge."""


def modes_of(edges: tuple[tuple[tuple[Edge, Edge], ...], ...], extended: tuple[bool, ...]) -> Modes:
    """The modes without the values, and ``none`` along the axes that are extended (see `stencils.boxes`)."""
    return tuple(
        tuple(
            ("none", "none") if extended[axis] else (first.mode, last.mode) for axis, (first, last) in enumerate(field)
        )
        for field in edges
    )


def read_fields(stencil: StencilProgram) -> list[int]:
    """The fields that some tap reads."""
    return sorted({t.field for t in stencil.taps})


def vector_length(stencil: StencilProgram) -> int:
    """Elements of a row that one thread computes: a power of two.

    Element 0 of its vector is to lie on a multiple of so many elements in every array.
    """
    sizes = [stencil.dtype(f).itemsize for f in range(stencil.fields)]
    sizes += [stencil.program.dtype_of(o).itemsize for o in stencil.program.outputs]
    length = min(LONGEST, max(1, 16 // max(sizes)))
    while length > 1 and length * len(stencil.program.steps) > MOST_STEPS:
        length //= 2
    return length


@dataclass(frozen=True, slots=True)
class Column:
    """What a thread keeps of one line of elements along the first axis, from the furthest down to the last needed."""

    field: int
    middle: tuple[int, ...]
    """Offset along the axes between the first and the last."""
    last: int
    """Position along the last axis, counted from the thread's first element."""
    depths: tuple[int, int]
    """Lowest and highest offset along the first axis."""


def columns(stencil: StencilProgram, length: int) -> list[Column]:
    """The columns that a thread reads whose vector has `length` elements."""
    needed: dict[tuple[int, tuple[int, ...], int], set[int]] = {}
    for tap in stencil.taps:
        first = tap.offset[0] if stencil.ndim > 1 else 0
        for c in range(length):
            needed.setdefault((tap.field, tap.offset[1:-1], tap.offset[-1] + c), set()).add(first)
    found = [Column(f, m, k, (min(d), max(d))) for (f, m, k), d in sorted(needed.items())]
    # the columns of one vector are read together, so all of them as early as the first one that is needed
    tops: dict[tuple[int, tuple[int, ...], int], int] = {}
    for column in found:
        group = (column.field, column.middle, column.last // length)
        tops[group] = max(tops.get(group, column.depths[1]), column.depths[1])
    whole = _whole(found, length)
    return [
        Column(c.field, c.middle, c.last, (c.depths[0], tops[c.field, c.middle, c.last // length]))
        if (c.field, c.middle, c.last // length) in whole
        else c
        for c in found
    ]


def _whole(found: list[Column], length: int) -> set[tuple[int, tuple[int, ...], int]]:
    """The vectors all of whose elements are needed; of others, single elements are read."""
    counts: dict[tuple[int, tuple[int, ...], int], int] = {}
    for c in found:
        group = (c.field, c.middle, c.last // length)
        counts[group] = counts.get(group, 0) + 1
    return {group for group, count in counts.items() if count == length > 1}


def _letter(number: int) -> str:
    return f"m{-number}" if number < 0 else str(number)


class _Names:
    """Parameters that both forms have, and the names of values."""

    def __init__(self, stencil: StencilProgram) -> None:
        self.stencil = stencil
        self.program = stencil.program
        self.arrays = [i for i in range(len(self.program.inputs)) if self.program.inputs[i].kind == "array"]
        self.types = [type_name(stencil.dtype(f)) for f in range(stencil.fields)]
        self.sizes = [stencil.dtype(f).itemsize for f in range(stencil.fields)]
        self.outputs = [type_name(self.program.dtype_of(o)) for o in self.program.outputs]
        self.out_sizes = [self.program.dtype_of(o).itemsize for o in self.program.outputs]
        self.tap_of = dict(zip(self.arrays, stencil.taps, strict=True))

    def places(self, fields: list[int], axes: int) -> list[tuple[str, str]]:
        """Of outputs and fields: the place of position 0 on all axes, and the bytes from one position to the next."""
        names = [f"o{j}" for j in range(self.stencil.outputs)] + [f"f{f}" for f in fields]
        return [(n, "uint64") for n in names] + [(f"s_{n}_{a}", "int64") for n in names for a in range(axes)]

    def scalars(self) -> tuple[list[tuple[str, str]], list[str]]:
        parameters: list[tuple[str, str]] = []
        lines: list[str] = []
        for k, given in enumerate(self.program.inputs):
            if given.kind == "scalar":
                some, made = scalar_parameters(f"v{k}", self.program.dtype_of(k))
                parameters += some
                lines += made
        return parameters, lines

    def compute(self, taps: dict[int, str], copy: str) -> list[str]:
        """The program's steps; `taps` says what the value of each array input is called."""

        def name(value: int) -> str:
            if value < len(self.program.inputs):
                return taps.get(value, f"v{value}")
            return f"v{value}{copy}"

        return [*steps(self.program, name)]

    def result(self, output: int, taps: dict[int, str], copy: str) -> str:
        value = self.program.outputs[output]
        return taps.get(value, f"v{value}") if value < len(self.program.inputs) else f"v{value}{copy}"


@functools.lru_cache(1024)
def interior_kernel(stencil: StencilProgram, aligned: bool = True) -> Kernel:
    """A kernel ``(places, steps along all axes but the last, scalars, lows, highs, rows)``.

    The places of the outputs, then those of the fields that are read. The box is ``low <= position < high``; where
    `aligned`, its last axis begins and ends at vectors. Each thread marches over `rows` positions of the first axis.
    Threads lie along the last axis (x), the axes between (y; in two dimensions the pieces of the first axis) and the
    pieces of the first axis (z).
    """
    names = _Names(stencil)
    length = vector_length(stencil) if aligned else 1
    ndim, fields = stencil.ndim, read_fields(stencil)
    scalars, made = names.scalars()
    parameters = names.places(fields, ndim - 1) + scalars
    parameters += [(f"{end}{a}", "int64") for a in range(ndim) for end in ("lo", "hi")] + [("rows", "int64")]
    last = ndim - 1
    body = [
        *made,
        f"x = lo{last} + (np.int64(cuda.blockIdx.x) * np.int64(cuda.blockDim.x) + np.int64(cuda.threadIdx.x))"
        f" * {length}",
        "m = np.int64(cuda.blockIdx.y) * np.int64(cuda.blockDim.y) + np.int64(cuda.threadIdx.y)",
        "z = np.int64(cuda.blockIdx.z)",
    ]
    inside = [f"x < hi{last}"]
    where = []
    if ndim == 2:
        body.append("z = m")
    for a in range(ndim - 2, 0, -1):
        if a == 1:
            body.append("q1 = lo1 + m")
            inside.append("q1 < hi1")
        else:
            body += [f"d = quotient(m, hi{a} - lo{a})", f"q{a} = lo{a} + (m - d * (hi{a} - lo{a}))", "m = d"]
        where.append(a)
    if ndim > 1:
        body += ["q0 = lo0 + z * rows", "end = min(q0 + rows, hi0)"]
        inside.append("q0 < end")
        where.append(0)
    body.append(f"if {' and '.join(inside)}:")
    work = [
        f"p_{n} = ahead({n}, " + " + ".join([f"q{a} * s_{n}_{a}" for a in reversed(where)] + [f"x * {size}"]) + ")"
        for n, size in [(f"o{j}", s) for j, s in enumerate(names.out_sizes)]
        + [(f"f{f}", names.sizes[f]) for f in fields]
    ]
    kept = columns(stencil, length)
    if ndim == 1:
        work += [*_read(names, kept, length, None), *_compute(names, length)]
    else:
        for depth in range(min(c.depths[0] for c in kept), max(c.depths[1] for c in kept)):
            work += _read(names, [c for c in kept if c.depths[0] <= depth < c.depths[1]], length, depth)
        row = [*_read(names, kept, length, None), *_compute(names, length)]
        for c in kept:
            row += [f"{_kept(c, d)} = {_kept(c, d + 1)}" for d in range(*c.depths)]
        row += [f"p_{n} = ahead(p_{n}, s_{n}_0)" for n in _moving(stencil)]
        unrolled = 2 if length * len(stencil.program.steps) <= 64 and len(kept) <= 12 else 1
        for count in dict.fromkeys((unrolled, 1)):
            work.append(f"while q0 < end - {count - 1}:" if count > 1 else "while q0 < end:")
            work += indented(row * count)
            work.append(f"    q0 += {count}")
    body += indented(work)
    text = kernel_text(f"{ndim}-D stencil of {len(stencil.taps)} taps: interior, {length} wide", parameters, body)
    registers = sum(c.depths[1] - c.depths[0] + 1 for c in kept) * max(names.sizes) // 4
    return Kernel(text, tuple(t for _, t in parameters), THREADS, 4 if registers <= 32 else 2 if registers <= 64 else 1)


def _moving(stencil: StencilProgram) -> list[str]:
    return [f"o{j}" for j in range(stencil.outputs)] + [f"f{f}" for f in read_fields(stencil)]


def _kept(column: Column, depth: int) -> str:
    middle = "".join(f"_{_letter(m)}" for m in column.middle)
    return f"w{column.field}{middle}_{_letter(column.last)}_{_letter(depth)}"


def _read(names: _Names, kept: list[Column], length: int, depth: int | None) -> Iterator[str]:
    """Read the columns at `depth`, each at its highest where that is None."""
    whole = _whole(kept, length)
    done = set()
    by_vector = {(c.field, c.middle, c.last): c for c in kept}
    for c in kept:
        at = c.depths[1] if depth is None else depth
        size = names.sizes[c.field]
        offsets = [f"{at} * s_f{c.field}_0"] if at and names.stencil.ndim > 1 else []
        offsets += [f"{m} * s_f{c.field}_{a}" for a, m in enumerate(c.middle, 1) if m]
        place = f"p_f{c.field}"
        if offsets:
            place = f"ahead({place}, {' + '.join(offsets)})"
        group = (c.field, c.middle, c.last // length)
        if group not in whole:
            yield f"{_kept(c, at)} = read({names.types[c.field]}, {place}, {c.last})"
        elif group not in done:
            done.add(group)
            first = c.last // length * length
            yield f"t = read_vector({names.types[c.field]}, {length}, ahead({place}, {first * size}), 0)"
            for k in range(length):
                yield f"{_kept(by_vector[c.field, c.middle, first + k], at)} = t[{k}]"


def _compute(names: _Names, length: int) -> Iterator[str]:
    """Compute the elements of a vector and write them."""
    stencil = names.stencil
    columns_ = {(c.field, c.middle, c.last): c for c in columns(stencil, length)}
    taps = []
    for k in range(length):
        found = {}
        for value, tap in names.tap_of.items():
            column = columns_[tap.field, tap.offset[1:-1], tap.offset[-1] + k]
            found[value] = _kept(column, tap.offset[0] if stencil.ndim > 1 else 0)
        taps.append(found)
        yield from names.compute(found, f"_{k}")
    for j, name in enumerate(names.outputs):
        values = [names.result(j, taps[k], f"_{k}") for k in range(length)]
        if length == 1:
            yield f"store({name}, p_o{j}, 0, {values[0]})"
        else:
            yield f"store_vector({name}, {length}, p_o{j}, 0, ({', '.join(values)}))"


def constant_edges(modes: Modes, fields: list[int]) -> list[tuple[int, int, int]]:
    """The edges whose value a kernel takes: (field, axis, side)."""
    return [
        (f, a, side)
        for f in fields
        for a, sides in enumerate(modes[f])
        for side, mode in enumerate(sides)
        if mode == "constant"
    ]


def kept_widths(stencil: StencilProgram, modes: Modes, axis: int) -> tuple[int, int]:
    """`stencils.program.kept_border` out of modes."""
    widths = [0, 0]
    for f in range(stencil.fields):
        for side in (0, 1):
            if modes[f][axis][side] == "fixed":
                widths[side] = max(widths[side], stencil.radius(f, axis)[side])
    return widths[0], widths[1]


@functools.lru_cache(1024)
def edge_kernel(stencil: StencilProgram, modes: Modes) -> Kernel:
    """A kernel ``(places, steps along all axes, values of constant edges, scalars, domain, lows, highs)``.

    Places and steps of all outputs and all fields, read or not. One thread per point of the box; any number of blocks.
    """
    names = _Names(stencil)
    ndim, fields = stencil.ndim, list(range(stencil.fields))
    parameters = names.places(fields, ndim)
    body: list[str] = []
    for f, a, side in constant_edges(modes, fields):
        some, made = scalar_parameters(f"c{f}_{a}_{side}", stencil.dtype(f))
        parameters += some
        body += made
    scalars, made = names.scalars()
    parameters += scalars + [(f"n{a}", "int64") for a in range(ndim)]
    parameters += [(f"{end}{a}", "int64") for a in range(ndim) for end in ("lo", "hi")]
    body += [
        *made,
        "i = np.int64(cuda.blockIdx.x) * np.int64(cuda.blockDim.x) + np.int64(cuda.threadIdx.x)",
        "step = np.int64(cuda.gridDim.x) * np.int64(cuda.blockDim.x)",
        f"while i < {' * '.join(f'(hi{a} - lo{a})' for a in range(ndim))}:",
        "    d = i",
    ]
    for a in range(ndim - 1, 0, -1):
        body += [f"    r = quotient(d, hi{a} - lo{a})", f"    q{a} = lo{a} + (d - r * (hi{a} - lo{a}))", "    d = r"]
    body += ["    q0 = lo0 + d", *indented(_point(names, modes)), "    i += step"]
    text = kernel_text(f"{ndim}-D stencil of {len(stencil.taps)} taps: edges", parameters, body)
    return Kernel(text, tuple(t for _, t in parameters), THREADS, 2)


def _point(names: _Names, modes: Modes) -> Iterator[str]:
    stencil = names.stencil
    ndim = stencil.ndim

    def place(name: str, at: list[str]) -> str:
        return f"ahead({name}, {' + '.join(f'{q} * s_{name}_{a}' for a, q in enumerate(at))})"

    here = [f"q{a}" for a in range(ndim)]
    kept = []
    for a in range(ndim):
        low, high = kept_widths(stencil, modes, a)
        kept += [f"(q{a} < {low})"] * (low > 0) + [f"(q{a} >= n{a} - {high})"] * (high > 0)
    inner: list[str] = []
    taps = {}
    known: set[str] = set()
    for number, (value, tap) in enumerate(names.tap_of.items()):
        at = []
        cases = []
        for a, (offset, sides) in enumerate(zip(tap.offset, modes[tap.field], strict=True)):
            if not offset:
                at.append(f"q{a}")
                continue
            side = 0 if offset < 0 else 1
            mode = sides[side]
            name = f"q{a}_{_letter(offset)}_{mode}"
            at.append(name)
            beyond = f"{name} < 0" if offset < 0 else f"{name} >= n{a}"
            if name not in known:
                known.add(name)
                inner.append(f"{name} = q{a} + {offset}")
                inner += moved(name, a, mode, offset)
            if mode == "constant":
                cases.append((beyond, f"c{tap.field}_{a}_{side}"))
        taps[value] = f"w{number}"
        read = f"w{number} = read({names.types[tap.field]}, {place(f'f{tap.field}', at)}, 0)"
        for word, (beyond, constant) in zip(["if"] + ["elif"] * ndim, reversed(cases), strict=False):
            inner += [f"{word} {beyond}:", f"    w{number} = {constant}"]
        inner += ["else:", f"    {read}"] if cases else [read]
    inner += names.compute(taps, "")
    inner += [
        f"store({t}, {place(f'o{j}', here)}, 0, {names.result(j, taps, '')})" for j, t in enumerate(names.outputs)
    ]
    if not kept:
        yield from inner
        return
    yield f"if {' | '.join(kept)}:"
    for j, t in enumerate(names.outputs):
        yield f"    store({t}, {place(f'o{j}', here)}, 0, read({names.types[j]}, {place(f'f{j}', here)}, 0))"
    yield "else:"
    yield from indented(inner)


def slabs(
    stencil: StencilProgram, modes: Modes, domain: tuple[int, ...], box: tuple[range, ...], length: int, phase: int
) -> tuple[tuple[range, ...] | None, list[tuple[range, ...]]]:
    """(the box for `interior_kernel` or None, boxes for `edge_kernel`), which together are `box`.

    Vectors begin at positions of the last axis that are `phase` modulo `length`.
    """
    inner = []
    for a, (n, r) in enumerate(zip(domain, box, strict=True)):
        low, high = r.start, r.stop
        for f in range(stencil.fields):
            first, last = modes[f][a]
            below, above = stencil.radius(f, a)
            low = low if first == "none" else max(low, below)
            high = high if last == "none" else min(high, n - above)
        if a == len(box) - 1:
            low += (phase - low) % length
            high -= (high - phase) % length
        inner.append(range(low, max(low, high)))
    if not all(inner):
        return None, [box] if all(box) else []
    edges = []
    rest = list(box)
    for a, r in enumerate(inner):
        for piece in (range(rest[a].start, r.start), range(r.stop, rest[a].stop)):
            if piece:
                edges.append((*inner[:a], piece, *rest[a + 1 :]))
        rest[a] = r
    return tuple(inner), edges
