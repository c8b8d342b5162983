"""Filters against SciPy, however the array is cut."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.ndimage as scipy

import gpuarray as ga
from gpuarray import ndimage

MODES = ["reflect", "mirror", "nearest", "wrap", "constant", "grid-mirror", "grid-constant", "grid-wrap"]
SHAPES = [(1,), (2,), (9,), (1, 6), (5, 7), (3, 4, 5)]
DTYPES = ["uint8", "int16", "float32", "float64"]
CASES = [(s, DTYPES[(k + j) % 4]) for (k, s), j in itertools.product(enumerate(SHAPES), (0, 2))]


def numbers(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.asarray(np.random.default_rng(seed).integers(0, 100, shape) * 1.25).astype(dtype)


def agrees(mine: ga.NDArray, theirs: Any, scale: float | None = None) -> None:
    """Equal up to a few roundings of the largest number that is summed; exactly where there are only integers."""
    theirs = np.asarray(theirs)
    assert mine.dtype == theirs.dtype
    got = mine.compute()
    assert got.shape == theirs.shape
    if theirs.dtype.kind in "fc":
        eps = float(np.finfo(theirs.dtype).eps)
        largest = float(np.max(np.abs(theirs), initial=1, where=np.isfinite(theirs)))
        np.testing.assert_allclose(got, theirs, rtol=16 * eps, atol=32 * eps * (scale or largest))
    else:
        np.testing.assert_array_equal(got, theirs)


def both(name: str, x: ga.NDArray, a: np.ndarray[Any, Any], *args: Any, **kwargs: Any) -> None:
    agrees(getattr(ndimage, name)(x, *args, **kwargs), getattr(scipy, name)(a, *args, **kwargs))


@pytest.mark.parametrize("shape", [(9, 8), (3, 40)])
def test_sums_of_booleans_lose_their_fractions(shape):
    a = np.random.default_rng(0).random(shape) < 0.5
    x = ga.asarray(a, chunks=4)
    for weights in ([1, -0.5, 0.5], [0.4, 0.2, 0.4], [2.0, 1.5], np.ones(41) / 20.5):
        both("correlate1d", x, a, weights)
        both("convolve1d", x, a, weights, mode="nearest")
    for weights in (np.ones((3, 3)), [[0.3, 0.3], [0.2, 0.4]], np.ones((21, 9)) / 90, [[1, 0.5, 0], [0, 0, 2]]):
        both("correlate", x, a, weights)
        both("convolve", x, a, weights)
    both("uniform_filter1d", x, a, 3)
    both("uniform_filter1d", x, a, 17)
    both("uniform_filter", x, a, 3)
    both("gaussian_filter", x, a, 1.0)
    both("gaussian_laplace", x, a, 1.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shape", "dtype"), CASES)
def test_correlation_and_convolution(shape, dtype, mode):
    rng = np.random.default_rng(len(shape))
    a = numbers(shape, dtype)
    x = ga.asarray(a, chunks=2)
    one = rng.random(5)
    for weights in (rng.random(1), rng.random(4), one + one[::-1], one - one[::-1], rng.random(21)):
        axis = int(rng.integers(-len(shape), len(shape)))
        for origin in {-(len(weights) // 2), 0, (len(weights) - 1) // 2}:
            kwargs = {"axis": axis, "output": "float64", "mode": mode, "cval": 2.5}
            both("correlate1d", x, a, weights, origin=origin, **kwargs)
            both("convolve1d", x, a, weights, origin=min(0, origin), **(kwargs | {"axis": 0})) if origin else None
    sizes = tuple(int(n) for n in rng.integers(1, 5, len(shape)))
    weights = rng.random(sizes) * (rng.random(sizes) > 0.3)
    origins = [int(rng.integers(-(n // 2) + (n % 2 == 0), (n - 1) // 2 + 1)) for n in sizes]
    both("correlate", x, a, weights, mode=mode, cval=3, origin=origins)
    both("convolve", x, a, weights, mode=mode, cval=3, origin=[-o for o in origins])
    agrees(ndimage.correlate(x.rechunk(100), weights, mode=mode), scipy.correlate(a, weights, mode=mode))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shape", "dtype"), CASES)
def test_means_and_gaussians(shape, dtype, mode):
    a = numbers(shape, dtype)
    x = ga.asarray(a, chunks=3)
    sizes = tuple(range(4, 4 - len(shape), -1))
    both("uniform_filter", x, a, sizes, mode=mode, cval=7, origin=[-1] * len(shape))
    both("uniform_filter1d", x, a, 41, 0, "float64", mode, 2.5, 3)
    both("gaussian_filter", x, a, 1.3, mode=mode, cval=7)
    both("gaussian_filter", x, a, 1.3, order=1, output="float32", mode=mode)
    both("gaussian_filter1d", x, a, 0.7, 0, 3, output="float64", mode=mode, radius=2)
    both("gaussian_laplace", x, a, 1.1, output="float64", mode=mode)
    both("gaussian_gradient_magnitude", x, a, 1.1, output="float64", mode=mode, truncate=2.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shape", "dtype"), CASES)
def test_derivatives(shape, dtype, mode):
    a = numbers(shape, "float64" if dtype == "uint8" else dtype)  # what C does with negative numbers is its own affair
    x = ga.asarray(a, chunks=2)
    both("sobel", x, a, mode=mode, cval=1)
    both("prewitt", x, a, 0, mode=mode, cval=1)
    both("laplace", x, a, mode=mode, cval=1)
    both("laplace", x, a, output="float32", mode=mode, axes=(-1,))
    both("laplace", x, a, mode=[mode] * len(shape))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shape", "dtype"), CASES)
def test_order_statistics(shape, dtype, mode):
    rng = np.random.default_rng(3)
    a = numbers(shape, dtype)
    x = ga.asarray(a, chunks=2)
    sizes = tuple(int(n) for n in rng.integers(1, 5, len(shape)))
    origins = [int(rng.integers(-(n // 2), (n - 1) // 2 + 1)) for n in sizes]
    given = {"mode": mode, "cval": 3, "origin": origins}
    both("minimum_filter", x, a, sizes, **given)
    both("maximum_filter", x, a, sizes, **given)
    both("minimum_filter1d", x, a, 23, 0, None, mode, 3, 5)
    both("maximum_filter1d", x, a, 3, -1, "float64", mode, 2.5, -1)
    footprint = rng.random(sizes) > 0.3
    footprint[(0,) * len(shape)] = True
    both("maximum_filter", x, a, footprint=footprint, **given)
    both("minimum_filter", x, a, footprint=footprint, **given)
    for rank in {0, int(footprint.sum()) // 2, -1}:
        # SciPy has a method of its own for one dimension, which is wrong for short arrays.
        theirs = scipy.rank_filter(a[None], rank, None, footprint[None], None, mode, 3, [0, *origins])[0]
        agrees(ndimage.rank_filter(x, rank, footprint=footprint, **given), theirs)
    theirs = scipy.median_filter(a[None], (1, *sizes), None, None, mode, 3, [0, *origins])[0]
    agrees(ndimage.median_filter(x, sizes, **given), theirs)


@pytest.mark.parametrize("size", [1, 2, 3, (2, 5), 5, 6, (1, 30), 11])
def test_ranks_of_any_number_of_elements(size):
    a = np.random.default_rng(0).random((13, 17))
    x = ga.asarray(a, chunks=(5, 4))
    both("median_filter", x, a, size)
    for percentile in (0, 3, 20.5, 50, 77, -1, 100):
        both("percentile_filter", x, a, percentile, size, mode="mirror")
    n = int(np.prod(np.broadcast_to(size, 2)))
    for rank in {0, 1, n // 3, n - 2, n - 1} & set(range(n)):
        both("rank_filter", x, a, rank, size)
        both("rank_filter", x, a, rank - n, size)


def test_every_rank_of_a_network():
    a = np.random.default_rng(0).integers(0, 9, 60).astype("int8")
    x = ga.asarray(a, chunks=7)
    for n in range(1, 12):
        windows = np.sort(np.lib.stride_tricks.sliding_window_view(np.pad(a, (n // 2, n - 1 - n // 2), "edge"), n))
        for rank in range(n):
            made = ndimage.rank_filter(x, rank, n, mode="nearest")
            np.testing.assert_array_equal(made.compute(), windows[:, rank])


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "float32", "int16"])
@pytest.mark.parametrize("shape", [(9,), (5, 7)])
def test_complex_numbers(shape, dtype):
    rng = np.random.default_rng(0)
    a = numbers(shape, dtype)
    if a.dtype.kind == "c":
        a = a + 1j * numbers(shape, a.real.dtype.name, 1)
    x = ga.asarray(a, chunks=3)
    value = 2 + 1j if a.dtype.kind == "c" else 2
    for mode in ("reflect", "constant", "wrap"):
        both("correlate1d", x, a, rng.random(4) + 1j * rng.random(4), mode=mode, cval=value)
        both("convolve1d", x, a, rng.random(3) + 1j * rng.random(3), mode=mode, cval=value)
        both("correlate", x, a, rng.random((2, 3)[: len(shape)]) * (1 - 1j), mode=mode, cval=value)
        both("convolve", x, a, rng.random((2, 3)[: len(shape)]) * (1 - 1j), mode=mode, cval=value)
        if a.dtype.kind == "c":
            both("correlate1d", x, a, rng.random(5), mode=mode, cval=value)
            both("uniform_filter", x, a, 3, mode=mode)
            both("uniform_filter1d", x, a, 40, mode=mode, cval=2)
            both("sobel", x, a, mode=mode)
            both("laplace", x, a, mode=mode)


@pytest.mark.parametrize("dtype", ["complex128", "float32"])
def test_more_weights_than_a_program_takes(dtype):
    rng = np.random.default_rng(0)
    a = rng.random((40, 45)).astype(dtype)
    x = ga.asarray(a, chunks=17)
    weights = rng.random((41, 37)) - 0.5
    both("correlate", x, a, weights, mode="mirror", origin=(3, -4))
    both("convolve", x, a, weights, mode="constant", cval=1.5)
    if dtype == "float32":
        both("gaussian_filter", x, a, 150.0, output="float64")
        both("maximum_filter", x, a, footprint=weights > 0, mode="wrap")
        both("minimum_filter", x, a, 45, mode="nearest", origin=7)


def test_axes_and_modes_for_each():
    a = numbers((4, 5, 6), "float64")
    x = ga.asarray(a, chunks=(2, 5, 4))
    weights = np.arange(6.0).reshape(2, 3)
    both("correlate", x, a, weights, axes=(0, 2), origin=(0, 1))
    both("convolve", x, a, weights, axes=(1, -1), mode="wrap")
    both("uniform_filter", x, a, (2, 3), axes=(2, 0), mode=["wrap", "mirror"])
    both("gaussian_filter", x, a, (1, 2), (0, 1), mode=["nearest", "constant"], axes=(1, 2), radius=(2, 3))
    both("gaussian_filter", x, a, (0, 2, 0))
    both("gaussian_laplace", x, a, (1, 2), axes=(0, 1))
    both("minimum_filter", x, a, (3, 2), axes=(0, 1), mode=["wrap", "mirror"])
    both("maximum_filter", x, a, footprint=[[1, 0], [1, 1]], axes=(0, 2))
    both("median_filter", x, a, 3, axes=(0, 2))
    both("laplace", x, a, axes=())
    both("uniform_filter", x, a, axes=())
    # SciPy takes one mode here: axis after axis is extended, as numpy.pad does it
    padded = np.pad(np.pad(a, ((1, 0), (0, 0), (0, 0)), "wrap"), ((0, 0), (0, 0), (1, 1)), "edge")
    made = ndimage.correlate(x, weights, mode=["wrap", "nearest"], axes=(0, 2))
    agrees(made, scipy.correlate(padded, weights, axes=(0, 2))[1:, :, 1:-1])


def test_functions_of_the_users():
    a = numbers((5, 6), "float64")
    x = ga.asarray(a, chunks=3)

    def second(module):
        def derivative(input, axis, output, mode, cval, scale, **kwargs):
            return module.correlate1d(input, [scale, -2 * scale, scale], axis, output, mode, cval, **kwargs)

        return derivative

    args = (None, "wrap", 0.0, (3.0,), {"origin": 1})
    for name in ("generic_laplace", "generic_gradient_magnitude"):
        agrees(getattr(ndimage, name)(x, second(ndimage), *args), getattr(scipy, name)(a, second(scipy), *args))


def test_nothing_to_filter():
    for shape in ((0,), (3, 0), (0, 4, 2)):
        a = np.zeros(shape, "float32")
        x = ga.asarray(a)
        both("gaussian_filter", x, a, 2.0)
        both("correlate", x, a, np.ones((3,) * len(shape)), output="float64")
        both("uniform_filter", x, a, 40)
        both("median_filter", x, a, 9)
        both("minimum_filter", x, a, 20, mode="wrap")
        both("laplace", x, a)


def test_nan_and_infinities():
    a = np.array([1.0, 2.0, np.nan, 3.0, 4.0, np.inf, 5.0, 6.0, 7.0, -np.inf, 0.0])
    x = ga.asarray(a, chunks=4)
    both("correlate1d", x, a, [-1, 0, 1])
    both("correlate", x, a, [1, 0, 0, 2, 0])
    both("gaussian_filter", x, a, 0.5)
    made = ndimage.minimum_filter(x, 3).compute()
    np.testing.assert_array_equal(np.isnan(made), [False, True, True, True, *[False] * 7])
    sorted_ = np.sort(np.lib.stride_tricks.sliding_window_view(np.pad(a, 1, "symmetric"), 3))
    for rank in range(3):
        np.testing.assert_array_equal(ndimage.rank_filter(x, rank, 3).compute(), sorted_[:, rank])
    long = np.where(np.arange(60) % 13 == 0, np.nan, np.arange(60.0))
    sorted_ = np.sort(np.lib.stride_tricks.sliding_window_view(np.pad(long, 15, "symmetric"), 31))
    made = ndimage.median_filter(ga.asarray(long, chunks=9), 31).compute()
    np.testing.assert_array_equal(made, sorted_[:, 15])
    made = ndimage.maximum_filter1d(ga.asarray(long, chunks=9), 31).compute()
    assert np.isnan(made).all()


def test_values_that_the_dtype_does_not_hold():
    a = numbers((9,), "uint8")
    x = ga.asarray(a, chunks=2)
    both("correlate1d", x, a, [1.0, 1.0, 1.0], mode="constant", cval=0.5, output="float64")
    both("minimum_filter1d", x, a, 3, mode="constant", cval=-1.0, output="int16")
    both("maximum_filter1d", x, a, 3, mode="constant", cval=1000, output="int16")
    b = numbers((9,), "float32")
    both("uniform_filter1d", ga.asarray(b), b, 3, mode="constant", cval=0.1, output="float64")
    large = np.array([2**53 + 1, 2**60 + 3, -(2**62) - 1])
    np.testing.assert_array_equal(ndimage.minimum_filter1d(large, 1).compute(), large)
    np.testing.assert_array_equal(ndimage.maximum_filter1d(large, 3).compute(), [2**60 + 3] * 3)


def test_dtypes_that_scipy_lacks():
    a = numbers((7,), "float16")
    theirs = scipy.correlate1d(a.astype(float), [0.5, 0.25]).astype("float16")
    np.testing.assert_array_equal(ndimage.correlate1d(a, [0.5, 0.25]).compute(), theirs)
    np.testing.assert_array_equal(ndimage.median_filter(a, 3).compute(), scipy.median_filter(a, 3))
    b = np.array([True, False, True, True])
    np.testing.assert_array_equal(ndimage.minimum_filter1d(b, 2).compute(), [True, False, False, True])
    np.testing.assert_array_equal(ndimage.uniform_filter1d(b, 2, output=float).compute(), [1, 0.5, 0.5, 1])


@pytest.mark.parametrize("compile", ["always", "never"])
def test_compiled_and_interpreted_filters_are_the_same_filters(compile):
    a = numbers((30, 41), "float32")
    x = ga.asarray(a, chunks=(16, 41))
    with ga.config.set(compile=compile):
        both("gaussian_filter", x, a, 1.0, mode="wrap", radius=2)
        both("median_filter", x, a, 3)
        both("laplace", x, a, mode="constant", cval=2)


def test_under_a_limit(tmp_path):
    a = np.random.default_rng(0).random((1000, 900)).astype("float32")
    np.save(tmp_path / "a.npy", a)
    for name, args, mode in (
        ("gaussian_filter", (3.0,), "wrap"),
        ("median_filter", (3,), "reflect"),
        ("maximum_filter", (35,), "nearest"),
        ("uniform_filter", (25,), "mirror"),
        ("sobel", (), "constant"),
    ):
        with ga.config.set(host_memory="3 MiB", threads=1):
            made = getattr(ndimage, name)(ga.from_npy(tmp_path / "a.npy"), *args, mode=mode)
            made.to_npy(tmp_path / "out.npy", overwrite=True)
        expected = getattr(scipy, name)(a, *args, mode=mode)
        np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-5, atol=1e-5)


def test_on_a_device():
    a = numbers((20, 30), "float32")
    with ga.config.set(device="fake", device_memory="64 MiB"):
        x = ga.asarray(a, chunks=13)
        both("gaussian_filter", x, a, 1.0)
        both("median_filter", x, a, 7)
        both("maximum_filter", x, a, 20)
        both("uniform_filter", x, a, 17)
        both("correlate", x, a, np.ones((35, 31)), output="float64")
        both("minimum_filter", x, a, footprint=np.eye(31) + np.ones((35, 31)).cumsum(0)[:31, ::-1] % 2)


def test_what_a_filter_does_not_change(same):
    a = numbers((6, 7), "float64")
    x = ga.asarray(a, chunks=4)
    same(ndimage.uniform_filter(x, 1), a)
    same(ndimage.gaussian_filter(x, 0), a)
    same(ndimage.minimum_filter(x, 1, output="int32"), a.astype("int32"))
    same(ndimage.median_filter(x, 1), a)
    same(ndimage.correlate(x, [[2.0]]), 2 * a)
    same(ndimage.correlate(x, np.zeros((3, 3))), 0 * a)
    same(ndimage.sobel(x)[1:3, ::2].T, scipy.sobel(a)[1:3, ::2].T, close=True)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ndimage.gaussian_filter(x, 1, mode="edge"), ValueError, "'edge' is unknown.*'mirror'"),
        (lambda x: ndimage.gaussian_filter(x, 1, mode=["wrap"]), ValueError, "mode=.*1 entries for 2 axes"),
        (lambda x: ndimage.gaussian_filter(x, -1), ValueError, "sigma=-1.*negative"),
        (lambda x: ndimage.gaussian_filter(x, float("nan")), ValueError, "sigma=nan"),
        (lambda x: ndimage.gaussian_filter(x, 1e9), ValueError, "reaches"),
        (lambda x: ndimage.gaussian_filter(x, (1, 2, 3)), ValueError, "sigma=.*3 entries for 2 axes"),
        (lambda x: ndimage.gaussian_filter1d(x, 0), ValueError, "sigma=0 must be positive"),
        (lambda x: ndimage.gaussian_filter1d(x, 1, order=-1), ValueError, "order=-1"),
        (lambda x: ndimage.gaussian_filter1d(x, 1, radius=-1), ValueError, "radius=-1"),
        (lambda x: ndimage.gaussian_filter1d(x, 1, radius=1.5), TypeError, "float"),
        (lambda x: ndimage.correlate(x, [1, 2]), ValueError, "weights have 1 dimensions, and 2 axes"),
        (lambda x: ndimage.correlate(x, np.ones((0, 2))), ValueError, "no filter weights"),
        (lambda x: ndimage.correlate(x, [["a"]]), TypeError, "no numbers"),
        (lambda x: ndimage.correlate(x, np.ones((3, 3)), origin=2), ValueError, r"origin=2.*\[-1, 1\]"),
        (lambda x: ndimage.correlate(x, np.ones((3, 3)), origin=(0, 0, 0)), ValueError, "origin=.*3 entries"),
        (lambda x: ndimage.correlate(x, np.ones((3, 3)), origin=0.5), TypeError, "origin=0.5"),
        (lambda x: ndimage.correlate(x, np.ones((3, 3)), cval=1j), ValueError, "cval=1j is complex"),
        (lambda x: ndimage.correlate(x, np.ones((3, 3)), cval="a"), TypeError, "cval='a'"),
        (lambda x: ndimage.correlate(x, np.ones((3, 3)), output=np.zeros((4, 4))), TypeError, "output= is a dtype"),
        (lambda x: ndimage.correlate(x, np.ones((3, 3)) * 1j, output=float), ValueError, "output=float64.*complex"),
        (lambda x: ndimage.correlate(x, np.ones((3, 3)), axes=(0, 2)), np.exceptions.AxisError, "axis 2"),
        (lambda x: ndimage.correlate(x, np.ones((3, 3)), axes=(0, 0)), ValueError, "twice"),
        (lambda x: ndimage.correlate(x, np.ones((3, 3)), axes=(1, 0)), ValueError, "axes=.*order"),
        (lambda x: ndimage.correlate1d(x, [1, 2], axis=2), np.exceptions.AxisError, "axis 2"),
        (lambda x: ndimage.convolve1d(x, [1, 2], origin=1), ValueError, "origin=-2"),
        (lambda x: ndimage.uniform_filter(x, 0), ValueError, "size=0"),
        (lambda x: ndimage.uniform_filter(x, 2.5), TypeError, "size=2.5"),
        (lambda x: ndimage.uniform_filter1d(x, 3, origin=-2), ValueError, "origin=-2"),
        (lambda x: ndimage.minimum_filter(x), ValueError, "size=.*footprint="),
        (lambda x: ndimage.minimum_filter(x, 3, np.ones((3, 3))), ValueError, "pass one"),
        (lambda x: ndimage.minimum_filter(x, footprint=np.zeros((3, 3))), ValueError, "covers none"),
        (lambda x: ndimage.maximum_filter(x, footprint=np.ones(3)), ValueError, "footprint has 1 dimensions"),
        (lambda x: ndimage.minimum_filter(x + 1j, 3), TypeError, "real numbers"),
        (lambda x: ndimage.median_filter(x), ValueError, "size=.*footprint="),
        (lambda x: ndimage.rank_filter(x, 9, 3), ValueError, "rank=9"),
        (lambda x: ndimage.rank_filter(x, -10, 3), ValueError, "rank=-10"),
        (lambda x: ndimage.percentile_filter(x, 101, 3), ValueError, "percentile=101"),
        (lambda x: ndimage.percentile_filter(x, float("nan"), 3), ValueError, "percentile=nan"),
        (lambda x: ndimage.generic_laplace(x, 3), TypeError, "function, got int"),
        (lambda x: ndimage.laplace(np.array(["a"])), TypeError, "numbers"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(ga.ones((4, 4), chunks=2))
