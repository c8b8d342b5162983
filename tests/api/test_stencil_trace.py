"""What a stencil's function means: the function itself, run by Python at every point, is the oracle."""

from __future__ import annotations

import cmath
import functools
import itertools
import math
import operator
from math import sqrt as root

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.stencils.stencil import Stencil

RNG = np.random.default_rng(7)
A = np.round(RNG.normal(size=(7, 8)) * 3, 2)
B = np.round(RNG.normal(size=(7, 8)) * 3, 2)
WEIGHTS = np.array([0.25, 0.5, 0.25])
TABLE = {"left": -1, "right": 1}
SCALE = 2.0


class At:
    """A field as Python sees it at one point: NumPy scalars at offsets; used bare, its own value."""

    def __init__(self, array, point):
        self.array, self.point = array, point

    def __getitem__(self, offset):
        offset = offset if isinstance(offset, tuple) else (offset,)
        return self.array[tuple(p + o for p, o in zip(self.point, offset, strict=True))]


def interior(shape, width):
    return itertools.product(*(range(width, n - width) for n in shape))


def by_points(function, arrays, bare, scalars, width):
    """What the function returns at every point that is `width` from the edges, as arrays."""
    found = []
    with np.errstate(all="ignore"):
        for point in interior(arrays[0].shape, width):
            fields = [At(a, point) for a in arrays]
            found.append(function(*fields, *(b[point] for b in bare), **scalars))
    several = isinstance(found[0], tuple)
    columns = zip(*found, strict=True) if several else [found]
    return [list(c) for c in columns]


def by_program(stencil, args, kwargs, width):
    """The same by the stencil's program, interpreted on shifted arrays."""
    bound = stencil.bind(args, kwargs)
    fields = [x.compute() for x in bound.fields.values()]
    programs, _ = stencil._programs(bound.dtypes, bound.scalars, False)
    return [made for program, scalars in programs for made in interpreted(program, scalars, fields, width)]


def interpreted(program, scalars, fields, width):
    values, taps = iter(scalars), iter(program.taps)
    operands = []
    for given in program.program.inputs:
        if given.kind == "scalar":
            operands.append(next(values))
            continue
        tap = next(taps)
        at = tuple(slice(width + o, n - width + o) for o, n in zip(tap.offset, fields[0].shape, strict=True))
        operands.append(fields[tap.field][at])
    assert next(values, None) is next(taps, None) is None
    made = program.program.interpret(np, *operands)
    shape = tuple(n - 2 * width for n in fields[0].shape)
    return [np.broadcast_to(m, shape).ravel() for m in made]


def check(function, arrays=(A,), bare=(), width=1, **scalars):
    stencil = function if isinstance(function, Stencil) else ga.stencil(function)
    expected = by_points(stencil.__wrapped__, arrays, bare, scalars, width)
    made = by_program(stencil, (*arrays, *bare), scalars, width)
    assert len(made) == len(expected)
    for m, e in zip(made, expected, strict=True):
        if not any(type(v) in (int, float) for v in e):  # which take the dtype of the field
            assert m.dtype.kind == np.array(e).dtype.kind
        np.testing.assert_allclose(m, e, rtol=1e-12, atol=1e-12)
    return stencil


# Taps, radius, roles.


def test_radius_and_roles():
    @ga.stencil
    def upwind(u, v, k):
        """Doc."""
        return u[0, 0] - k * v[0, 2] * (u[0, 0] - u[-3, 1])

    assert upwind.radius == {"u": ((3, 0), (0, 1)), "v": ((0, 0), (0, 2))}
    assert (upwind.fields, upwind.ndim, upwind.outputs) == (("u", "v"), 2, 1)
    assert upwind.__name__ == "upwind"
    assert upwind.__doc__ == "Doc."
    assert "upwind(u, v, k)" in repr(upwind)
    assert "(-3..0, 0..1)" in repr(upwind)
    program, scalars = upwind.program((np.dtype("f4"), np.dtype("f8")), {"k": 0.5}, True)
    assert {(t.field, t.offset) for t in program.taps} == {(0, (0, 0)), (0, (-3, 1)), (1, (0, 2))}
    assert scalars == (0.5,)
    assert program.dtypes == ("float32", "float64")
    assert program.radius(0, 0) == (3, 0)
    assert program.program.dtype_of(program.program.outputs[0]) == np.float32


def test_equal_expressions_are_one_step_and_coefficients_are_arguments():
    @ga.stencil
    def f(u, k):
        return (u[1] - u[-1]) * k + (u[1] - u[-1]) * k

    one, first = f.program((np.dtype(float),), {"k": 0.1}, True)
    two, second = f.program((np.dtype(float),), {"k": 0.2}, True)
    assert one == two
    assert (first, second) == ((0.1,), (0.2,))
    assert [s.op for s in one.program.steps] == ["subtract", "multiply", "add"]


def test_coefficients_are_python_numbers_in_the_trace():
    seen = []

    def note(value):
        seen.append(value)
        return value

    @ga.stencil
    def f(u, k):
        return u[1] * note(k * 2)

    seen.clear()
    assert f.program((np.dtype("f4"),), {"k": 0.1}, True)[1] == (np.float32(0.2),)
    assert seen == [0.2]


def test_array_coefficients_come_after_the_fields():
    @ga.stencil
    def f(k, u, c, v):
        return k * u[1] + c * v[-1], v[0]

    bound = f.bind((A[0], A[1], 3.0), {"v": B[0]})
    assert tuple(bound.fields) == ("u", "v", "k")
    assert bound.scalars == {"c": 3.0}
    program, _ = f.program(bound.dtypes, bound.scalars, True)
    assert {(t.field, t.offset) for t in program.taps} == {(0, (1,)), (1, (-1,)), (1, (0,)), (2, (0,))}
    assert program.outputs == 2


def test_a_field_that_is_only_written():
    @ga.stencil
    def shift(now, before):
        return now[1], now[0]

    assert shift.fields == ("now", "before")
    assert shift.radius["before"] == ((0, 0),)
    ignoring = ga.stencil(lambda u, k: u[1])
    assert ignoring.fields == ("u",)
    assert ignoring(A[0], 5).compute().tolist() == [*A[0, 1:], A[0, -1]]


# Statements.


def test_statements():
    def f(u, k):
        """A docstring."""
        import math as m
        from operator import add

        a, (b, *c) = u[0, 0], (u[0, 1], u[1, 0], u[-1, 0])
        d: float = 1.5
        e: int
        a += b * d
        a -= 1
        x = y = c[0]
        listed = [x, y]
        listed[0] = a
        listed[1] *= 2
        listed += [u[0, -1]]
        listed.append(d)
        e = add(3, k)
        pass
        assert k > 0, "positive"
        if k > 10:
            raise ValueError("large")
        return sum(listed) + m.floor(m.pi) * e

    check(f, k=2)
    with pytest.raises(AssertionError, match="positive"):
        ga.stencil(f)(A, -1)
    with pytest.raises(ValueError, match=r"^large\n"):
        ga.stencil(f)(A, 11)


def test_loops():
    def f(u):
        total = 0.0
        for i in range(-1, 2):
            for j, w in enumerate(WEIGHTS, start=-1):
                if i == j == 0:
                    continue
                if i > 0 and j > 0:
                    break
                total += w * u[i, j]
            else:
                total += 1
        n = 0
        while True:
            n += 1
            if n > 3:
                break
            total = total * 0.5 + u[0, 0]
        while n < 6:
            n += 1
        else:
            total += n
        for name, d in TABLE.items():
            total += u[0, d] if name == "left" else 2 * u[d, 0]
        return total

    check(f)


def test_comprehensions_generators_and_lambdas():
    def f(u, k):
        square = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
        values = {at: u[at] for at in square}
        part = lambda i, more=k: u[i, 0] * more  # noqa: E731
        pair = tuple(part(i) for i in (-1, 1))
        ones = map(lambda o: u[o], square[:2])  # noqa: C417
        chained = functools.reduce(operator.add, itertools.chain(ones, pair))
        index = int(f"{1}")
        return chained + sum(values.values()) / len(square) + part(index) + [*pair][1]

    check(f, k=3.0)


def test_slices_and_stars_of_tables():
    def f(u):
        a, b = WEIGHTS[1:]
        at = (0, 1)
        return a * u[at] + b * u[(*at[:1], -1)] + WEIGHTS[-1] * u[np.int64(1), 0]

    check(f)


def test_if_on_the_point():
    def f(u, k):
        a = u[0, 0]
        limit = 1.0
        if a > 1:
            b, limit = u[1, 0], 2.0
        elif a > -1:
            b = k
            if u[0, 1] > 0:
                b = b + u[0, 1]
        else:
            b = u[-1, 0]
        if k > 2:
            b = b * 2
        return min(b, limit) if b > a else b

    check(f, k=1.5)
    check(f, k=2.5)


def test_early_returns():
    def f(u):
        if u[0, 0] > 2:
            return u[1, 0]
        x = u[0, 1]
        if x > 1:
            if u[0, -1] > 1:
                return 5.0
            x = x - 1
        elif x < -1:
            return -x
        else:
            x = x * 2
        return x + u[0, 0]

    check(f)


def test_return_in_a_loop():
    def f(u):
        total = 0.0
        for i in range(1, 4):
            total = total + u[0, 0] * i
            if total > 3:
                return total
            if total < -5:
                total = total / 2
        else:
            total = total + 100
        return total

    check(f, width=0)


def test_lists_and_tuples_of_branches_are_merged_element_by_element():
    def f(u):
        if u[0, 0] > 0:
            flux, names = (u[1, 0], 1.0), ["a", 2]
        else:
            flux, names = (u[-1, 0], u[0, 0]), ["a", 3]
        return flux[0] * flux[1] + names[1] + len(names[0])

    check(f)


def test_lambdas_see_the_names_as_they_are_when_called():
    def f(u):
        c = 1
        g = lambda: c * u[0, 0]  # noqa: E731
        if u[0, 1] > 0:
            c = 2
        first = g()
        c = 10
        return first + g()

    check(f)


def test_conditions():
    def f(u, v):
        a, b = u[0, 0], v[0, 0]
        inside = -1 < a <= 2 < b + 3
        flag = not (a > 0 and b > 0) or a == b
        other = (a or b) + (a and b)
        third = 1 if inside and not flag else 2 if flag else 3
        found = a in (1.0, 2.0) or b not in (1.5, a)
        return inside, flag, other, third, found, bool(a), not b, (a > 0) & (b > 0) | ~(a > b)

    u, v = A.copy(), B.copy()
    u[2, 2], u[3, 3], v[4, 4], v[3, 4] = 0, 1, 0, 1.5
    check(f, (u, v))


def test_plain_conditions_are_pythons():
    def f(u, order="second", flag=False, w=(1, 2, 1)):
        if order == "fourth" and not flag:
            return u[2, 0] * w[0]
        return u[1, 0] * w[1] if flag is False or (order in ("a", "b")) else u[0, 0] * w[2]

    stencil = check(f, width=2)
    assert stencil.radius == {"u": ((0, 1), (0, 0))}
    check(f, width=2, order="fourth")
    check(f, width=2, order="b", flag=True)
    check(f, width=2, flag=True, w=(3, 4, 5))
    check(f, width=2, flag=True, w=np.array([3.0, 4.0, 5.0]))


def test_fields_by_another_name():
    def f(u, v):
        total = 0
        for w in (u, v):
            total += w[1, 0]
        x = u
        return total * x[0, 0]

    check(f, (A, B))


# Functions.


def laplacian(w, h=1.0):
    return (w[1, 0] + w[-1, 0] + w[0, 1] + w[0, -1] - 4 * w[0, 0]) / h**2


def limiter(r):
    if r > 1:
        return 1.0
    return r if r > 0 else 0.0


def powers(x, n):
    return 1.0 if n == 0 else x * powers(x, n - 1)


@functools.lru_cache
def cached(n):
    return n * 2.0


class Model:
    k = 3.0

    def flux(self, a, b=1):
        return self.k * (a - b) if a > b else 0.0


MODEL = Model()
inner = ga.stencil(lambda u: u[1, 0] - u[0, 0])


def test_helpers_are_interpreted():
    def f(u, k):
        return k * laplacian(u, h=0.5) + limiter(u[0, 0]) + powers(u[0, 1], 3) + cached(2)

    check(f, k=0.25)


def test_methods_partials_and_stencils():
    twice = functools.partial(laplacian, h=2.0)

    def f(u):
        return MODEL.flux(u[0, 0], b=u[0, 1]) + twice(u) + sum(map(limiter, (u[0, 0], u[1, 0])))

    check(f)
    both = ga.stencil(lambda u: inner(u) * 2)
    expected = 2 * (A[2:, 1:-1] - A[1:-1, 1:-1])
    np.testing.assert_array_equal(by_program(both, (A,), {}, 1)[0], expected.ravel())


def test_math():
    def f(u, v):
        a, b = abs(u[0, 0]) + 0.5, v[0, 0]
        parts = (
            *(math.sqrt(a), root(a), math.exp(b), math.log(a), math.log(a, 2), math.log2(a), math.log10(a)),
            *(math.log1p(a), math.expm1(b), math.sin(b), math.cos(b), math.tan(b), math.asin(b / 100)),
            *(math.acos(b / 100), math.atan(b), math.atan2(b, a), math.sinh(b), math.cosh(b), math.tanh(b)),
            *(math.asinh(b), math.acosh(a + 1), math.atanh(b / 100), math.hypot(a, b), math.hypot(a, b, 3)),
            *(math.fabs(b), math.floor(b), math.ceil(b), math.trunc(b), math.copysign(a, b), math.fmod(b, a)),
            *(math.degrees(b), math.radians(b), math.pow(a, b), math.pow(2, b), math.prod((a, b, 2))),
            *(math.modf(b)[0], math.modf(b)[1], math.pi * math.e, math.hypot(b), math.log(8.0, a)),
        )
        return sum(parts)

    check(f, (A, B))


def test_math_conditions():
    def f(u):
        a = u[0, 0]
        return math.isnan(a), math.isinf(a), math.isfinite(a), math.isclose(a, u[0, 1], rel_tol=0.5, abs_tol=0.1)

    u = A.copy()
    u[2, 2], u[3, 3], u[4, 4], u[4, 5] = np.nan, np.inf, np.inf, np.inf
    check(f, (u,))


def test_builtins():
    def f(u):
        a, b, c = u[0, 0], u[0, 1], u[1, 0]
        values = [a, b, c]
        return (
            max(a, b) + min(values) + max(x for x in values) - abs(c) + sum(values, 1.5) + pow(a, 2) + round(b),
            int(a) + float(b) + divmod(a, 3)[1] + a // 2 + b % 2 + round(c, 1),
            any(x > 2 for x in values),
            all([a > -5, True, b > -5]),
            sum(x > 0 for x in values),
            any((False, 1 > 2)),
            max(3, a),
            len(values) + sum(range(4)) * a,
            list(reversed(values))[1] + dict(zip("abc", values, strict=True))["b"],
        )

    check(f)


def test_numpys_functions():
    def f(u):
        a, b = u[0, 0], u[0, 1]
        return (
            np.sqrt(np.abs(a)) + np.hypot(a, b) + np.maximum(a, 0) + np.clip(b, -1, 1) + np.sign(a) * np.float64(2),
            np.where(a > b, a, b) + np.float64(a) + np.round(a, 1),
            np.isfinite(a),
            np.logical_and(a > 0, b > 0),
            np.multiply(a, 1.0 if b > 0 else 2.0),
            np.minimum(2 if a > 0 else 3, b),
        )

    check(f)


def test_our_functions_and_methods():
    stencil = ga.stencil(lambda u: ga.where(u[0] > 0, ga.sqrt(u[0]), u[-1].clip(-1, 1)) + u[0].astype("i4"))
    a = np.array([1.5, -2.5, 4.0, -0.5])
    with np.errstate(invalid="ignore"):
        expected = np.where(a[1:-1] > 0, np.sqrt(a[1:-1]), a[:-2].clip(-1, 1)) + a[1:-1].astype("i4")
    np.testing.assert_array_equal(by_program(stencil, (a,), {}, 1)[0], expected)


def test_complex_numbers():
    def f(z, c):
        w = z[0, 0] ** 2 + c
        return w if abs(w) < 2 else z[0, 1].conjugate() * cmath.pi, z[0, 0].real + z[0, 0].imag

    check(f, (A + 1j * B,), c=0.3 - 0.1j)


# Dtypes.


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "c8", "i4", "u1", "i8"])
def test_python_numbers_are_weak(dtype):
    @ga.stencil
    def f(u, k):
        s = 1 if u[0] > u[1] else -1
        t = 0.5 if u[0] != u[1] else 2.0
        u_ = u[0] * s * 2 + k
        return u_, u_ * t, t * 2 + s, -s

    x = ga.asarray(np.arange(5).astype(dtype))
    if dtype == "u1":
        with pytest.raises(OverflowError):
            f(x, 2)
        return
    made = f(x, 2)
    floating = np.result_type(np.dtype(dtype), 0.5)
    assert [m.dtype for m in made] == [np.dtype(dtype), floating, floating, np.dtype(dtype)]


def test_functions_of_chosen_numbers_are_weak():
    f = ga.stencil(
        lambda u: (
            u[0] * math.sqrt(4.0 if u[0] > 0 else 9.0)
            + max(1 if u[0] > 0 else 2, 1.5)
            + divmod(u[0], 1 if u[0] > 0 else 2)[1] * 0
        )
    )
    a = np.array([1, -1], "f4")
    made = f(a)
    assert made.dtype == np.float32
    assert made.compute().tolist() == [2 + 1.5, -3 + 2]
    undefined = ga.stencil(lambda u: u[0] * math.log(4.0 if u[0] > 0 else -9.0))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(undefined(a).compute(), [np.log(4.0), np.nan])


def test_options_may_be_arrays():
    f = ga.stencil(lambda u, k=None, flag=False: u[1] if k is None else u[1] * k + (1 if flag else 0))
    a = np.arange(4.0)
    assert f(a, boundary=0).compute().tolist() == [1, 2, 3, 0]
    assert f(a, 2, boundary=0).compute().tolist() == [2, 4, 6, 0]
    assert f(a, a, a > 1, boundary=0).compute().tolist() == [0, 2, 7, 1]


def test_numpy_scalars_are_strong():
    f = ga.stencil(lambda u, k: u[0] * k)
    x = ga.asarray(np.ones(3, "f4"))
    assert f(x, 0.1).dtype == np.float32
    assert f(x, np.float64(0.1)).dtype == np.float64
    assert f(x, np.array(0.1)).dtype == np.float64
    assert f(x, 1j).dtype == np.complex64
    assert f(x, np.ones(3)).dtype == np.float64


def test_constants_alone_take_the_dtype_of_their_field():
    life = ga.stencil(lambda u: 1 if u[0] > 2 else 0)
    assert life(np.arange(5, dtype="u1")).dtype == np.uint8
    assert life(np.arange(5.0)).compute().tolist() == [0, 0, 0, 1, 1]
    seven = ga.stencil(lambda u: 7 if u[1] is not None else u[0])
    assert seven(np.arange(3), boundary="nearest").compute().tolist() == [7, 7, 7]


def test_state_has_the_fields_dtype():
    f = ga.stencil(lambda u: u[1] * np.float64(2))
    program, _ = f.program((np.dtype("f4"),), {}, True)
    assert program.program.dtype_of(program.program.outputs[0]) == np.float32
    program, _ = f.program((np.dtype("f4"),), {}, False)
    assert program.program.dtype_of(program.program.outputs[0]) == np.float64
    shift = ga.stencil(lambda u: u[0].astype("i8") >> 1)
    assert shift.program((np.dtype("u1"),), {}, True)[0].program.steps[-1].dtype == "uint8"
    alive = ga.stencil(lambda u: u[0] > 1)
    assert alive.program((np.dtype("f4"),), {}, True)[0].program.steps[-1].dtype == "float32"
    for stencil, dtype in ((f, "i4"), (ga.stencil(lambda u: u[0] * 1j), "f8"), (shift, "?")):
        with pytest.raises(ga.StencilError, match=r"astype"):
            stencil.program((np.dtype(dtype),), {}, True)


def test_integers_only():
    xor = ga.stencil(lambda u, v: (u[1] ^ u[-1]) & 3 if v[0] > 0.5 else u[0] << 1)
    assert xor.radius["u"] == ((1, 1),)
    u, v = np.arange(6), np.linspace(0, 1, 6)
    expected = np.where(v[1:-1] > 0.5, (u[2:] ^ u[:-2]) & 3, u[1:-1] << 1)
    np.testing.assert_array_equal(by_program(xor, (u, v), {}, 1)[0], expected)


# What is remembered, and what is known before a call.


def test_what_is_outside_may_change():
    outer = 2.0
    table = [1.0, 2.0]

    def helper(x):
        return x * SCALE

    @ga.stencil
    def f(u):
        return helper(u[0]) * outer * table[0]

    def value():
        return f(np.ones(1)).compute()[0]

    try:
        assert value() == 4
        outer = 3.0
        assert value() == 6
        table[0] = 10.0
        assert value() == 60
        globals()["SCALE"] = 1.0
        assert value() == 30
    finally:
        globals()["SCALE"] = 2.0


def test_objects_from_outside_are_looked_at_anew():
    f = ga.stencil(lambda u: u[0] * MODEL.k)
    try:
        assert f(np.ones(1)).compute()[0] == 3
        MODEL.k = 4.0
        assert f(np.ones(1)).compute()[0] == 4
    finally:
        MODEL.k = 3.0


def test_signed_zeros_and_nans_are_told_apart():
    f = ga.stencil(lambda u, k: u[0] * 0 + k if k == 0 else u[0] + k)
    for k in (0.0, -0.0, math.nan, 0, False, np.float32(0)):
        _, scalars = f.program((np.dtype(float),), {"k": k}, True)
        assert any(repr(np.float64(k)) == repr(s) for s in scalars), k


def test_coefficients_that_must_be_known():
    @ga.stencil
    def box(u, n, scheme, k=0.5):
        if n < 1:
            raise ValueError(f"n={n}")
        if scheme == "mean":
            return sum(u[i] for i in range(-n, n + 1)) / (2 * n + 1)
        return k * u[n]

    assert (box.ndim, box.fields, box.outputs) == (1, ("u",), 1)
    with pytest.raises(ga.StencilError, match="how far it reads depends on the value of a coefficient"):
        box.radius  # noqa: B018
    assert "depends" in repr(box)
    program, _ = box.program((np.dtype(float),), {"n": 2, "scheme": "mean", "k": 0.5}, True)
    assert program.radius(0, 0) == (2, 2)
    program, _ = box.program((np.dtype(float),), {"n": 3, "scheme": "one", "k": 0.5}, True)
    assert program.radius(0, 0) == (0, 3)
    with pytest.raises(ValueError, match=r"^n=0\n"):
        box(A[0], 0, "mean")


def test_branches_of_coefficients_are_both_seen_when_defined():
    @ga.stencil
    def f(u, k):
        if k > 0:
            return u[1] * k
        if not isinstance(k, float):
            raise TypeError("k must be a float")
        return u[-2] * k

    assert f.fields == ("u",)
    assert f.program((np.dtype(float),), {"k": 1.0}, True)[0].radius(0, 0) == (0, 1)
    assert f.program((np.dtype(float),), {"k": -1.0}, True)[0].radius(0, 0) == (2, 0)
    with pytest.raises(TypeError, match="k must be a float"):
        f(A[0], -1)


def test_lambdas_on_one_line():
    first, second = ga.stencil(lambda u: u[1]), ga.stencil(lambda u: u[-2])
    assert (first.radius, second.radius) == ({"u": ((0, 1),)}, {"u": ((2, 0),)})
    made = [ga.stencil(lambda u, n=n: u[0] * n) for n in (1.0, 2.0)]
    assert [m(np.ones(1)).compute()[0] for m in made] == [1, 2]


def test_decorators_and_indentation():
    if True:

        @ga.stencil(boundary="periodic")
        def f(
            u,
        ):
            return (
                u[1]
                - u[-1]
            )  # fmt: skip

    assert f(np.arange(4.0)).compute().tolist() == [-2.0, 2.0, 2.0, -2.0]
    assert f(np.arange(4.0), boundary=0).compute().tolist() == [1.0, 2.0, 2.0, -2.0]
