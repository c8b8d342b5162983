"""NumPy's functions called on our arrays, and Python's own protocols."""

from __future__ import annotations

import copy
import inspect
import math
import operator
import pickle

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.elementwise import FUNCTIONS
from gpuarray.errors import ImplicitComputeError


@pytest.fixture
def a():
    return np.arange(1.0, 13).reshape(3, 4)


@pytest.fixture
def x(a):
    return ga.asarray(a, chunks=2)


def test_ufuncs(x, a, same):
    same(np.sin(x), np.sin(a), close=True)
    same(np.add(1, x), 1 + a)
    same(np.add(x, a), a + a)
    same(np.multiply(a, x), a * a)
    same(a + x, a + a)
    same(a[0] < x, a[0] < a)
    same(np.float64(2) * x, 2 * a)
    same(np.float32(2) ** x, np.float32(2) ** a, close=True)
    same(np.add(x, 1, dtype="f4"), np.add(a, 1, dtype="f4"))
    same(np.divmod(x, 3), np.divmod(a, 3))
    same(np.modf(x), np.modf(a))
    same(np.matmul(x, a.T), a @ a.T, close=True)
    same(np.vecdot(x, a), np.vecdot(a, a), close=True)


def test_every_ufunc_of_ours_is_reached_through_numpys():
    for name, function in FUNCTIONS.items():
        ufunc = getattr(np, name, None)
        if isinstance(ufunc, np.ufunc) and name != "isnat":
            args = [ga.asarray([1, 2])] * ufunc.nin
            assert ufunc(*args).node is function(*args).node, name


def test_ufunc_methods(x, a, same):
    same(np.add.reduce(x), np.add.reduce(a))
    same(np.add.reduce(x, axis=None), np.add.reduce(a, axis=None))
    same(np.maximum.reduce(x, axis=1, keepdims=True), np.maximum.reduce(a, axis=1, keepdims=True))
    same(np.multiply.reduce(x, axis=(0, 1)), np.multiply.reduce(a, axis=(0, 1)))
    same(np.logical_and.reduce(x), np.logical_and.reduce(a))
    same(np.add.reduce(x, dtype="f4", initial=3), np.add.reduce(a, dtype="f4", initial=3))
    for first in (True, 0, 2.5):
        same(np.logical_or.reduce(x, initial=first), np.logical_or.reduce(a, initial=first))
        same(np.logical_and.reduce(x, axis=1, initial=first), np.logical_and.reduce(a, axis=1, initial=first))
    out = ga.zeros(4, dtype=bool)
    assert np.logical_or.reduce(x > 11, initial=False, where=a < 12, out=out) is out
    same(out, np.zeros(4, bool))
    same(np.add.accumulate(x), np.add.accumulate(a))
    same(np.multiply.accumulate(x, axis=1), np.multiply.accumulate(a, axis=1))
    same(np.subtract.outer(x, a[0]), np.subtract.outer(a, a[0]))
    same(np.multiply.outer(2, x), np.multiply.outer(2, a))


UFUNCS = sorted({u for u in vars(np).values() if isinstance(u, np.ufunc) and u.signature is None}, key=repr)
METHODS = {
    "call": lambda u, v, xp: u(*(v,) * u.nin),
    "boolean": lambda u, v, xp: u(*(v > 2,) * u.nin),
    "integer": lambda u, v, xp: u(*(v.astype(int),) * u.nin),
    "complex": lambda u, v, xp: u(*(v * 1j,) * u.nin),
    "dtype": lambda u, v, xp: u(*(v,) * u.nin, dtype="f4"),
    "where": lambda u, v, xp: u(*(v,) * u.nin, where=v > 2, out=xp.zeros(v.shape)),
    "reduce": lambda u, v, xp: u.reduce(v),
    "reduce all": lambda u, v, xp: u.reduce(v, axis=None),
    "reduce axis": lambda u, v, xp: u.reduce(v, axis=1, keepdims=True),
    "reduce where": lambda u, v, xp: u.reduce(v, axis=-1, initial=2, where=v > 3),
    "reduce bools": lambda u, v, xp: u.reduce(v > 2),
    "accumulate": lambda u, v, xp: u.accumulate(v),
    "accumulate axis": lambda u, v, xp: u.accumulate(v, axis=-1),
    "outer": lambda u, v, xp: u.outer(v, v[0]),
    "reduceat": lambda u, v, xp: u.reduceat(v, [0, 1]),
}


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda u: u.__name__)
def test_every_ufunc_and_method_is_numpys_or_refused(ufunc, x, a):
    """Where NumPy raises, ours raises; where it does not, ours has its values or a TypeError that says what to do."""
    with np.errstate(all="ignore"):
        for name, call in METHODS.items():
            if ufunc.nin != 2 and ("reduce" in name or name in ("accumulate", "accumulate axis", "outer")):
                continue
            try:
                theirs = call(ufunc, a, np)
            except (TypeError, ValueError):
                with pytest.raises((TypeError, ValueError)):
                    call(ufunc, x, ga)
                continue
            try:
                mine = call(ufunc, x, ga)
            except TypeError as error:
                words = str(error)
                assert f"numpy.{ufunc.__name__}" in words or "cast with astype" in words, name
                continue
            for m, t in zip(*(v if isinstance(v, tuple) else (v,) for v in (mine, theirs)), strict=True):
                assert (m.shape, m.dtype) == (t.shape, t.dtype), name
                np.testing.assert_allclose(m.compute(), t, rtol=1e-6 if t.dtype == "f4" else 1e-13, err_msg=name)


def test_out_of_ufuncs(x, a, same):
    out = ga.zeros((3, 4))
    assert np.add(x, 1, out=out) is out
    same(out, a + 1)
    assert np.add(a, 1, out=out) is out
    np.sqrt(x, out=out, where=a > 4)
    same(out, np.where(a > 4, np.sqrt(a), a + 1), close=True)
    with pytest.raises(TypeError, match="NDArray, got ndarray"):
        np.add(x, 1, out=np.zeros((3, 4)))
    b = np.zeros((3, 4))
    with pytest.raises(TypeError, match="NDArray, got ndarray"):
        b += x


def test_out_of_ufuncs_with_two_results(x, a, same):
    whole, rest = ga.zeros((3, 4)), ga.zeros((3, 4))
    assert np.divmod(x, 3, out=(whole, None))[0] is whole
    same(whole, a // 3)
    made = np.divmod(x, 2, out=(whole, rest), where=a > 4)
    assert made[0] is whole
    assert made[1] is rest
    same(whole, np.where(a > 4, a // 2, a // 3))
    same(rest, np.where(a > 4, a % 2, 0))
    with pytest.raises(TypeError, match="NDArray, got ndarray"):
        np.modf(x, out=(np.zeros((3, 4)), None))


class Theirs:
    """A type that knows how to deal with our arrays."""

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return "theirs", ufunc.__name__, method

    def __array_function__(self, func, types, args, kwargs):
        return "theirs", func.__name__


def test_types_with_protocols_of_their_own_are_asked(x):
    assert np.add(x, Theirs()) == ("theirs", "add", "__call__")
    assert np.add.outer(x, Theirs()) == ("theirs", "add", "outer")
    assert np.concatenate([x, Theirs()]) == ("theirs", "concatenate")
    assert np.add(x, 1, out=Theirs()) == ("theirs", "add", "__call__")


LIKE = {
    "ones": lambda like: np.ones((2, 3), **like),
    "zeros": lambda like: np.zeros(3, "f4", "F", **like),
    "empty": lambda like: np.empty(0, **like),
    "full": lambda like: np.full((2,), 7, **like),
    "arange": lambda like: np.arange(1, 9, 2, **like),
    "array": lambda like: np.array([1, 2], ndmin=2, **like),
    "asarray": lambda like: np.asarray([1, 2], dtype="f4", order="C", **like),
    "asanyarray": lambda like: np.asanyarray([1, 2], **like),
    "ascontiguousarray": lambda like: np.ascontiguousarray(5, **like),
    "asfortranarray": lambda like: np.asfortranarray([[5.0]], **like),
    "require": lambda like: np.require([1], "f8", ["C"], **like),
    "eye": lambda like: np.eye(3, 2, 1, **like),
    "identity": lambda like: np.identity(2, **like),
    "tri": lambda like: np.tri(2, **like),
    "fromfunction": lambda like: np.fromfunction(lambda i, j: i + j, (2, 2), **like),
    "frombuffer": lambda like: np.frombuffer(b"12345678", "u1", **like),
    "fromiter": lambda like: np.fromiter([1, 2], int, **like),
    "fromstring": lambda like: np.fromstring("1 2", sep=" ", **like),
    "loadtxt": lambda like: np.loadtxt(["1 2", "3 4"], **like),
    "genfromtxt": lambda like: np.genfromtxt(["1 2", "3 4"], **like),
}


@pytest.mark.parametrize("call", LIKE.values(), ids=LIKE)
def test_like(call, x, same):
    same(call({"like": x}), call({}))


def dispatched():
    """Every function of NumPy's that asks its arguments' `__array_function__`."""
    for module in (np, np.linalg, np.fft, np.lib.stride_tricks, np.char, np.emath):
        for name in dir(module):
            function = getattr(module, name)
            if not name.startswith("_") and hasattr(function, "_implementation"):
                yield function


DISPATCHED = {f.__module__ + "." + f.__name__: f for f in dispatched()}


@pytest.mark.parametrize("function", DISPATCHED.values(), ids=DISPATCHED.keys())
def test_numpys_functions_are_ours_or_refused(function, x, monkeypatch):
    """None of them falls back on computing everything."""
    if ga.protocols.ours(function.__module__, function.__name__) is not None:
        return
    monkeypatch.setattr("gpuarray.run.compute_nodes", lambda roots: pytest.fail("computed"))
    with pytest.raises(TypeError, match=rf"{function.__module__}\.{function.__name__} .*compute\(\)"):
        x.__array_function__(function, (ga.NDArray,), (x,), {})


FUNCTION_CALLS = {
    "sum": lambda np, x: np.sum(x, axis=0),
    "mean": lambda np, x: np.mean(x, 1, keepdims=True),
    "std": lambda np, x: np.std(x, ddof=1),
    "max": lambda np, x: np.max(x, axis=1, initial=5),
    "argmax": lambda np, x: np.argmax(x, axis=1),
    "cumsum": lambda np, x: np.cumsum(x, axis=1),
    "concatenate": lambda np, x: np.concatenate([x, x], axis=1),
    "stack": lambda np, x: np.stack([x, x]),
    "vstack": lambda np, x: np.vstack([x, x]),
    "where": lambda np, x: np.where(x > 3, x, 0),
    "clip": lambda np, x: np.clip(x, 2, 5),
    "round": lambda np, x: np.round(x / 3, 1),
    "reshape": lambda np, x: np.reshape(x, (4, 3)),
    "transpose": lambda np, x: np.transpose(x),
    "expand_dims": lambda np, x: np.expand_dims(x, 1),
    "squeeze": lambda np, x: np.squeeze(x[:1]),
    "broadcast_to": lambda np, x: np.broadcast_to(x, (2, 3, 4)),
    "roll": lambda np, x: np.roll(x, 1, axis=0),
    "pad": lambda np, x: np.pad(x, 1, mode="edge"),
    "diff": lambda np, x: np.diff(x, axis=0),
    "take": lambda np, x: np.take(x, [2, 0], axis=1),
    "dot": lambda np, x: np.dot(x, x.T),
    "tensordot": lambda np, x: np.tensordot(x, x, axes=((0, 1), (0, 1))),
    "linalg.norm": lambda np, x: np.linalg.norm(x, axis=1),
    "linalg.vector_norm": lambda np, x: np.linalg.vector_norm(x),
    "zeros_like": lambda np, x: np.zeros_like(x),
    "full_like": lambda np, x: np.full_like(x, 3, dtype=int),
    "isclose": lambda np, x: np.isclose(x, 3),
    "nan_to_num": lambda np, x: np.nan_to_num(x),
    "tril": lambda np, x: np.tril(x),
    "diagonal": lambda np, x: np.diagonal(x),
    "trace": lambda np, x: np.trace(x),
    "average": lambda np, x: np.average(x, axis=0),
    "nanmean": lambda np, x: np.nanmean(x),
    "split": lambda np, x: np.split(x, 2, axis=1),
    "meshgrid": lambda np, x: tuple(np.meshgrid(x[0], x[1])),
    "nonzero": lambda np, x: np.nonzero(x > 4),
    "moveaxis": lambda np, x: np.moveaxis(x, 0, 1),
    "tile": lambda np, x: np.tile(x, 2),
    "copy": lambda np, x: np.copy(x),
    "astype": lambda np, x: np.astype(x, int),
    "ptp": lambda np, x: np.ptp(x, axis=1),
}


@pytest.mark.parametrize("call", FUNCTION_CALLS.values(), ids=FUNCTION_CALLS)
def test_functions(call, x, a, same):
    same(call(np, x), call(np, a), close=True)
    same(call(ga, x), call(np, a), close=True)


@pytest.mark.parametrize("call", FUNCTION_CALLS.values(), ids=FUNCTION_CALLS)
def test_functions_on_a_device(call, x, a, same):
    with ga.config.set(device="fake"):
        same(call(np, x), call(np, a), close=True)


def test_protocols_on_a_device(x, a, same):
    with ga.config.set(device="fake"):
        same(np.add.reduce(x, axis=None, where=a > 3), np.add.reduce(a, axis=None, where=a > 3))
        same(np.multiply.accumulate(x, axis=1), np.multiply.accumulate(a, axis=1))
        same(np.subtract.outer(x, a[0]), np.subtract.outer(a, a[0]))
        out = ga.zeros((3, 4))
        np.sqrt(x, out=out, where=a > 4)
        same(out, np.where(a > 4, np.sqrt(a), 0), close=True)
        assert (float(x[1, 2]), bool(x[0, 0] == 1), 7 in x, f"{x[2, 3]:.1f}") == (7.0, True, True, "12.0")
        assert repr(x[0]) == repr(a[0])
        assert np.from_dlpack(x * 2).tolist() == (a * 2).tolist()
        same(pickle.loads(pickle.dumps(x + 1)), a + 1)


def test_questions_about_arrays(x, a):
    assert np.shape(x) == (3, 4)
    assert np.ndim(x) == 2
    assert np.size(x) == 12
    assert np.size(x, 1) == 4
    assert np.result_type(x, np.float32) == np.float64
    assert np.can_cast(x, np.complex64) is False
    assert not np.iscomplexobj(x)
    assert np.allclose(x, a)
    assert np.array_equal(x, a)


def test_what_we_lack_says_so_and_computes_nothing(x, monkeypatch):
    monkeypatch.setattr("gpuarray.run.compute_nodes", lambda roots: pytest.fail("computed"))
    for call, name in (
        (lambda: np.savetxt("x.txt", x), "numpy.savetxt"),
        (lambda: np.savez("x.npz", x), "numpy.savez"),
        (lambda: np.busday_count(x, x), "numpy.busday_count"),
        (lambda: np.arctan2.reduce(x), "numpy.arctan2.reduce"),
    ):
        with pytest.raises(TypeError, match=name) as caught:
            call()
        assert "compute()" in str(caught.value)


def test_arguments_we_lack_say_so(x):
    with pytest.raises(TypeError, match=r"numpy.mean.*no_such"):
        ga.protocols.array_function(x, np.mean, (), (x,), {"no_such": 1})
    with pytest.raises(TypeError, match=r"numpy.add.*order"):
        np.add(x, 1, order="sideways")
    with pytest.raises(ValueError, match="order='sideways'"):
        np.ones(3, order="sideways", like=x)


def test_memory_orders_and_subclasses_say_nothing(x, a, same):
    for order in "CFAK":
        same(np.add(x, 1, order=order, subok=True), a + 1)
        same(np.copy(x, order=order), a)
        same(np.zeros_like(x, order=order), np.zeros_like(a))
        same(ga.ones((2, 3), "f4", order), np.ones((2, 3), "f4"))
    same(ga.full_like(x, 7, None, "F", False, (2, 2)), np.full_like(a, 7, None, "F", False, (2, 2)))


def test_signatures_are_numpys():
    """Every argument of NumPy's function that ours has stands at the same place, so calls by position mean the same."""
    # clip's bounds have two names each: the array API standard's come first
    different = {"clip", "array", "asarray", "arange", "concat", "where", "dtype", "finfo", "iinfo", "average", "pad"}
    for name in sorted(set(ga.__all__) - different - set(FUNCTIONS)):
        mine, theirs = getattr(ga, name), getattr(np, name, None)
        if not inspect.isfunction(mine) or not callable(theirs) or not mine.__module__.startswith("gpuarray"):
            continue
        try:
            ours, numpys = inspect.signature(mine).parameters, inspect.signature(theirs).parameters
        except ValueError:
            continue
        positional = [
            [p.name for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
            for parameters in (ours, numpys)
        ]
        for k, (m, t) in enumerate(zip(*positional, strict=False)):
            if k and m != t and t in ours:
                pytest.fail(f"{name}: argument {k} is {m}, NumPy's is {t}")


def test_python_scalars():
    x = ga.arange(5)[3]
    assert (int(x), float(x), complex(x), bool(x), operator.index(x)) == (3, 3.0, 3 + 0j, True, 3)
    assert list(range(5))[x] == 3
    assert x.item() == 3
    assert f"{float(x):.1f}" == "3.0"
    assert (math.floor(ga.asarray(2.5)), math.ceil(ga.asarray(2.5))) == (2, 3)
    assert [int(v) for v in ga.arange(3)] == [0, 1, 2]
    assert ga.arange(3).tolist() == [0, 1, 2]
    assert 2 in ga.arange(3)
    assert 7 not in ga.arange(3)
    assert len(ga.ones((4, 2))) == 4
    assert 1.5 in ga.asarray([[1.0, 1.5], [2.0, float("nan")]])
    assert float("nan") not in ga.asarray([float("nan")])
    assert None not in ga.zeros(3)
    assert 0 not in ga.zeros((0, 3))
    assert (round(ga.asarray(2.7)), type(round(ga.asarray(2.7)))) == (3, int)
    assert round(ga.asarray(2.345), 1).item() == 2.3
    assert round(ga.asarray([1.26, 2.0]), 1).tolist() == [1.3, 2.0]


def test_elements_of_what_is_in_memory_need_no_run(monkeypatch):
    a = np.arange(24.0).reshape(2, 3, 4)
    x = ga.asarray(a, chunks=2)
    kept = (x + 1).persist()
    monkeypatch.setattr("gpuarray.run.compute_nodes", lambda roots: pytest.fail("computed"))
    for index in ((0, 0, 0), (1, 2, 3), (-1, -3, 2)):
        assert float(x[index]) == a[index]
        assert x[index].item() == a[index]
        assert complex(kept[index]) == a[index] + 1
    element = x[0, 0, 1]
    assert int(element) == 1
    a[0, 0, 1] = 99  # it was remembered
    assert int(element) == 1


def test_elements_of_what_is_kept_on_a_device():
    with ga.config.set(device="fake"):
        kept = (ga.arange(6, chunks=2) * 2).persist()
        assert [int(kept[i]) for i in range(6)] == [0, 2, 4, 6, 8, 10]
    with ga.config.set(host_memory="1 MiB"):
        kept = ga.arange(300_000, chunks=10_000).persist()  # spilled, most of it
        assert [int(kept[i]) for i in (0, 123_456, 299_999)] == [0, 123_456, 299_999]


def test_methods_about_bytes(x, a, same, tmp_path):
    assert x.tobytes() == a.tobytes()
    assert x.tobytes("F") == a.tobytes("F")
    x.tofile(tmp_path / "x")
    np.testing.assert_array_equal(np.fromfile(tmp_path / "x").reshape(3, 4), a)
    same(x.flat, a.ravel())
    x.fill(7)
    same(x, np.full((3, 4), 7.0))
    assert x.chunks == ((2, 1), (2, 2))
    with pytest.raises(ValueError, match="broadcast"):
        x.fill([1, 2])
    with ga.config.set(implicit_compute_limit=50), pytest.raises(ImplicitComputeError):
        x.tobytes()


@pytest.mark.parametrize("name", ["strides", "flags", "data", "base", "ctypes", "view", "__array_interface__"])
def test_attributes_of_memory_say_where_they_are(x, name):
    assert not hasattr(x, name)
    with pytest.raises(AttributeError, match=rf"has no memory.*x\.compute\(\)\.{name}"):
        getattr(x, name)


def test_membership_is_one_run(monkeypatch):
    runs = []
    compute = ga.run.compute_nodes
    monkeypatch.setattr("gpuarray.run.compute_nodes", lambda roots: runs.append(roots) or compute(roots))
    assert 999 in ga.arange(1000, chunks=10)
    assert len(runs) == 1


def test_copies_do_not_see_later_writes(same):
    a = np.zeros(3)
    copies = [ga.copy(a), ga.array(a), ga.asarray(a, copy=True), copy.copy(ga.array(a)), copy.deepcopy(ga.array(a))]
    a[:] = 7
    for c in copies:
        same(c, np.zeros(3))
    x = ga.zeros(3)
    y, z = copy.copy(x), copy.deepcopy(x)
    x[0] = 1
    same(y, np.zeros(3))
    same(z, np.zeros(3))
    with pytest.raises(ValueError, match="copy"):
        ga.array([1, 2], copy=False)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: bool(x), ValueError, r"\(3,\).*ambiguous"),
        (lambda x: int(x), TypeError, r"\(3,\)"),
        (lambda x: float(x), TypeError, r"\(3,\)"),
        (lambda x: operator.index(x[0] * 1.0), TypeError, "float64"),
        (lambda x: len(x[0]), TypeError, "without dimensions"),
        (lambda x: iter(x[0]), TypeError, "without dimensions"),
        (lambda x: hash(x), TypeError, "unhashable"),
        (lambda x: x.__setitem__(0, "a"), ValueError, "'a'"),
        (lambda x: x.__setitem__(0, 1j), TypeError, "complex"),
        (lambda x: x.astype("i1").__setitem__(0, 300), OverflowError, "300"),
        (lambda x: x.__setitem__(slice(2), [1, 2, 3]), ValueError, r"\(3,\).*\(2,\)"),
        (lambda x: x.no_such, AttributeError, "no_such"),
        (lambda x: np.asarray(x, copy=False), ValueError, "copy"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(ga.arange(3))


def test_conversion_to_numpy_is_limited(x, a):
    np.testing.assert_array_equal(np.asarray(x), a)
    assert np.asarray(x, dtype="f4").dtype == np.float32
    with (
        ga.config.set(implicit_compute_limit=50),
        pytest.raises(ImplicitComputeError, match=r"\(3, 4\).*96.*50.*compute"),
    ):
        np.asarray(x)


def test_pickle(x, a, same):
    same(pickle.loads(pickle.dumps(x + 1)), a + 1)


def test_several(x, a, same):
    first, second = ga.compute(x + 1, x.sum())
    np.testing.assert_array_equal(first, a + 1)
    assert second == a.sum()
    assert ga.compute() == ()
    kept = ga.persist(x * 2, x.mean(axis=0))
    same(kept, (a * 2, a.mean(axis=0)))
    assert kept[0].chunks == x.chunks
    same(kept[0][1:, ::2] + 1, a[1:, ::2] * 2 + 1)
    assert ga.persist() == ()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ga.compute(x, 3), TypeError, "argument 1 is a int"),
        (lambda x: ga.compute([x, x]), TypeError, r"argument 0 is a list.*\*arrays"),
        (lambda x: ga.persist(np.ones(3)), TypeError, "ndarray.*asarray"),
    ],
)
def test_errors_of_several(call, error, words, x):
    with pytest.raises(error, match=words):
        call(x)
