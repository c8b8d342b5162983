"""Stencils on arrays: arguments, boundaries, results."""

from __future__ import annotations

import inspect
import math
import pickle
import threading

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.kernels.stencils.program import Edge
from gpuarray.stencils.edges import normalize

RNG = np.random.default_rng(3)
F4, F8, I2 = np.dtype("f4"), np.dtype("f8"), np.dtype("i2")
PADS = {"periodic": "wrap", "reflect": "reflect", "symmetric": "symmetric", "nearest": "edge", "constant": "constant"}


@ga.stencil
def blur(u, k):
    """A blur."""
    return u[0, 0] + k * (u[-1, 0] + 2 * u[2, 0] - 3 * u[0, -2] + u[1, 1])


@ga.stencil(boundary=("periodic", 0))
def drift(u):
    return u[-1, 1]


class Holder:
    kept = ga.stencil(lambda u: u[1])


def padded_blur(a, k, **kwargs):
    p = np.pad(a, 2, **kwargs)

    def at(i, j):
        return p[2 + i : p.shape[0] - 2 + i, 2 + j : p.shape[1] - 2 + j]

    return at(0, 0) + k * (at(-1, 0) + 2 * at(2, 0) - 3 * at(0, -2) + at(1, 1))


@pytest.fixture
def array():
    return RNG.integers(-9, 9, (6, 7)).astype("f4")


@pytest.mark.parametrize("mode", PADS)
def test_boundaries_are_numpys(array, cut, same, mode):
    for how in ("whole", "odd", "ones"):
        same(blur(cut(array, how), 0.5, boundary=mode), padded_blur(array, np.float32(0.5), mode=PADS[mode]))


def test_fixed_points_keep_their_value(array, cut, same):
    expected = array.copy()
    expected[1:-2, 2:-1] = padded_blur(array, np.float32(2), mode="edge")[1:-2, 2:-1]
    same(blur(cut(array), 2), expected)
    same(blur(array, 2, boundary="fixed"), expected)


def test_constants_and_mixed_boundaries(array, cut, same):
    constant = {"mode": "constant", "constant_values": 3}
    same(blur(cut(array), 1.0, boundary=3), padded_blur(array, np.float32(1), **constant))
    p = np.pad(np.pad(array, ((2, 2), (0, 0)), mode="wrap"), ((0, 0), (2, 0)), mode="edge")
    p = np.pad(p, ((0, 0), (0, 2)), mode="constant", constant_values=-1)
    n, m = array.shape
    expected = p[2 : n + 2, 2 : m + 2] + 1 * (
        p[1 : n + 1, 2 : m + 2] + 2 * p[4:, 2 : m + 2] - 3 * p[2 : n + 2, :m] + p[3 : n + 3, 3 : m + 3]
    )
    same(blur(cut(array), 1, boundary=("periodic", ("nearest", -1))), expected)


def test_the_decorators_boundary_and_the_calls(array, same):
    same(drift(array), np.pad(np.roll(array, 1, 0), ((0, 0), (0, 1)))[:, 1:])
    same(drift(array, boundary="periodic"), np.roll(array, (1, -1), (0, 1)))


def test_empty_and_short_axes(same):
    for shape in ((0, 5), (5, 0), (0, 0), (1, 1), (1, 4), (2, 2)):
        a = np.ones(shape, "f4")
        same(blur(a, 1), a)
        assert blur(a, 1, boundary="periodic").compute().shape == shape
        assert blur(a, 1, boundary="reflect").compute().shape == shape


def test_several_outputs(array, same):
    @ga.stencil
    def wave(u, v, c):
        now = v[0, 0] + c * (u[0, 1] + u[0, -1] - 2 * u[0, 0])
        return u[0, 0] + now, now

    v = np.roll(array, 1)
    made = wave(array, v, 0.5, boundary="periodic")
    now = v + np.float32(0.5) * (np.roll(array, -1, 1) + np.roll(array, 1, 1) - 2 * array)
    same(made, (array + now, now))
    gradient = ga.stencil(lambda u: (u[1, 0] - u[0, 0], (u[0, 1] - u[0, 0]) > 0, 3))
    made = gradient(array, boundary="periodic")
    assert isinstance(made, tuple)
    same(made, (np.roll(array, -1, 0) - array, np.roll(array, -1, 1) > array, np.full_like(array, 3)))
    one = ga.stencil(lambda u: (u[0, 0],))(array)
    assert isinstance(one, tuple)
    same(one, (array,))


def test_array_coefficients(array, same):
    f = ga.stencil(lambda u, k, c: k * u[0, 1] + c)
    column, row = np.arange(6.0)[:, None], np.arange(7)[None]
    same(f(array, column, row, boundary="periodic"), column * np.roll(array, -1, 1) + row)
    same(f(array, 2, ga.asarray(array).sum(), boundary="periodic"), 2 * np.roll(array, -1, 1) + array.sum())
    same(f(array, np.array(2.0), [[1.0]], boundary="periodic"), 2.0 * np.roll(array, -1, 1).astype("f8") + 1)
    same(f(row, array, 1, boundary="periodic"), array * np.roll(row, -1, 1) + 1)


def test_results_go_on_in_the_graph(array, same):
    x = ga.asarray(array, chunks=(4, 3))
    made = blur(x * 2, 0.5, boundary="nearest")[1:4, ::2].sum(axis=0)
    same(made, padded_blur(array * 2, np.float32(0.5), mode="edge")[1:4, ::2].sum(axis=0), close=True)
    assert blur(x, 1).chunks == x.chunks


# Arguments.


def test_signature():
    for args, kwargs, text in (
        ((), {}, r"blur\(\) missing a required argument: 'u'"),
        ((1,), {}, "missing a required argument: 'k'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1, 2), {"k": 3}, "multiple values for argument 'k'"),
        ((1, 2), {"z": 3}, "unexpected keyword argument 'z'"),
    ):
        with pytest.raises(TypeError, match=text):
            blur(*args, **kwargs)
    assert str(inspect.signature(blur)) == "(u, k, *, boundary=None)"
    assert (blur.__name__, blur.__doc__, blur.__module__) == ("blur", "A blur.", __name__)
    keywords = ga.stencil(lambda u, /, *, k=2: u[1] * k)
    assert keywords(np.arange(3), boundary=0, k=3).compute().tolist() == [3, 6, 0]
    assert keywords(np.arange(3), boundary=0).compute().tolist() == [2, 4, 0]


def test_arguments_that_do_not_fit(array):
    for args, text in (
        ((3.0, 1), r"test_stencil_call\.py:\d+, blur: u is read with offsets.*2 dimensions; got 3\.0"),
        ((None, 1), "got None"),
        ((array[0], 1), r"u has 1 dimension \(shape \(7,\)\), and the stencil reads with 2 offsets"),
        ((array, array[0]), r"k has 1 dimension .* of length 1 where it does not vary"),
        ((array, array[1:]), r"different shapes: u \(6, 7\), k \(5, 7\)"),
        ((array, np.array([["a"]])), "k has dtype <U1"),
        ((array, np.array([[None]])), "k is no array and no number"),
        ((array.astype("M8[s]"), 1), "u has dtype datetime64"),
        ((array, "x"), "multiply is not defined"),
        ((array, None), "test_stencil_call"),
    ):
        with pytest.raises(ga.StencilError, match=text):
            blur(*args)


def test_check_scalars():
    blur.check_scalars({"k": 1.0})
    blur.check_scalars({"k": np.float32(1)})
    with pytest.raises(ga.StencilError, match="k=nan: every point"):
        blur.check_scalars({"k": math.nan})
    with pytest.raises(ga.StencilError, match=r"k=\[1, 2\] is no number"):
        blur.check_scalars({"k": [1, 2]})
    with pytest.raises(ga.StencilError, match="k=nan: every point"):
        blur(ga.ones((3, 3)), k=math.nan)


def test_pickling():
    assert pickle.loads(pickle.dumps(drift)) is drift
    named = ga.stencil(np_free, boundary="periodic")
    again = pickle.loads(pickle.dumps(named))
    assert (again.boundary, again.radius) == ("periodic", {"u": ((0, 1),)})
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(ga.stencil(lambda u: u[1]))


def np_free(u):
    return u[1]


def test_held_by_a_class_and_called_from_threads(array):
    assert Holder().kept(np.arange(3), boundary=0).compute().tolist() == [1, 2, 0]
    found, failed = [], []

    def work(k):
        try:
            for _ in range(20):
                bound = blur.bind((array, k), {})
                found.append(blur.program(bound.dtypes, bound.scalars, True)[1])
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(k / 7,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed
    assert len(set(found)) == 4


# Edges.


def test_normalize():
    fixed, periodic, nearest = Edge("fixed"), Edge("periodic"), Edge("nearest")
    assert normalize(None, ["u"], 2, [F8]) == (((fixed, fixed),) * 2,)
    assert normalize("periodic", ["u", "v"], 1, [F8, F8]) == (((periodic, periodic),),) * 2
    assert normalize(("periodic", ("fixed", "nearest")), ["u"], 2, [F8]) == (((periodic,) * 2, (fixed, nearest)),)
    assert normalize([["fixed", "nearest"]], ["u"], 1, [F8]) == (((fixed, nearest),),)
    made = normalize({"v": (("nearest", 2),), "u": None}, ["u", "v"], 1, [F8, I2])
    assert made == (((fixed, fixed),), ((nearest, Edge("constant", np.int16(2))),))
    assert type(made[1][0][1].value) is np.int16
    assert normalize("constant", ["u"], 1, [I2])[0][0][0] == Edge("constant", np.int16(0))
    assert normalize(Edge("constant", 2), ["u"], 1, [F4])[0][0][0].value.dtype == F4
    assert normalize(np.array(2), ["u"], 1, [F4])[0][0][0] == Edge("constant", np.float32(2))


@pytest.mark.parametrize(
    ("value", "dtype", "result"),
    [
        (1e300, "f8", 1e300),
        (math.inf, "f4", np.inf),
        (math.nan, "f4", np.nan),
        (0.1, "f4", np.float32(0.1)),
        (2.0, "i4", 2),
        (True, "u1", 1),
        (1, "?", True),
        (-0.0, "f8", -0.0),
        (2, "c8", 2),
        (1j, "c16", 1j),
        (2**63, "u8", 2**63),
    ],
)
def test_constants_that_fit(value, dtype, result):
    made = normalize(value, ["u"], 1, [np.dtype(dtype)])[0][0][0].value
    assert made.dtype == dtype
    assert repr(made) == repr(np.dtype(dtype).type(result))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        *((1e300, "f4"), (70000, "f2"), (math.nan, "i4"), (math.inf, "i8"), (0.5, "i4"), (256, "u1"), (-1, "u8")),
        *((2, "?"), (1j, "f8"), (2**63, "i8"), (2**64, "u8"), (np.nan, "?"), (1e300, "c8")),
    ],
)
def test_constants_that_do_not_fit(value, dtype):
    does_not_fit(value, dtype)


def test_integers_beyond_all_dtypes():
    for dtype in ("f8", "i8", "c16"):
        does_not_fit(10**400, dtype)


def does_not_fit(value, dtype):
    with pytest.raises(ga.StencilError, match=r"does not fit the field u of dtype .*astype"):
        normalize(value, ["u"], 1, [np.dtype(dtype)])


@pytest.mark.parametrize(
    ("boundary", "text"),
    [
        ("wrap", "write 'periodic'"),
        ("edge", "write 'nearest'"),
        ("mirror", "write 'reflect'"),
        ("grid-wrap", "write 'periodic'"),
        ("Periodic", "write 'periodic'"),
        ("nonsense", "write one of 'constant', 'periodic'"),
        ({"w": "fixed"}, r"field 'w', and there are only 'u', 'v'"),
        (("fixed", "fixed", "fixed"), "3 entries for 2 axes"),
        (("fixed",), "1 entries for 2 axes"),
        ((), "0 entries for 2 axes"),
        ((("periodic", "fixed"), "fixed"), "periodic is so at both ends"),
        ((("fixed",), "fixed"), "a pair"),
        ((("fixed", "fixed", 0), "fixed"), "a pair"),
        (object(), "is no boundary"),
        (np.ones(2), "is no boundary"),
        (b"fixed", "is no boundary"),
        ({"u": {"v": 1}}, "is no boundary"),
    ],
)
def test_what_is_no_boundary(boundary, text):
    with pytest.raises(ga.StencilError, match=text):
        normalize(boundary, ["u", "v"], 2, [F8, F8])


def test_a_pair_on_one_axis_says_how():
    with pytest.raises(ga.StencilError, match=r"stands in a tuple of axes: \(\('fixed', 'nearest'\),\)"):
        normalize(("fixed", "nearest"), ["u"], 1, [F8])
    with pytest.raises(ga.StencilError, match=r"test_stencil_call\.py:\d+, blur: boundary='wrap'"):
        blur(np.ones((3, 3)), 1, boundary="wrap")
