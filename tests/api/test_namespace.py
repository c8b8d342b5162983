"""The public namespace: every name has a true example, and the standard's names are there."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

import gpuarray as ga

MODULES = {
    "gpuarray": ga,
    "gpuarray.lib.stride_tricks": ga.lib.stride_tricks,
    "gpuarray.linalg": ga.linalg,
    "gpuarray.ndimage": ga.ndimage,
    "gpuarray.random": ga.random,
    "gpuarray.special": ga.special,
}

# https://data-apis.org/array-api/2025.12/API_specification/ (the names that this package has so far)
STANDARD = """
    abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert bitwise_or
    bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1 floor floor_divide greater
    greater_equal hypot imag isfinite isinf isnan less less_equal log log1p log2 log10 logaddexp logical_and logical_not
    logical_or logical_xor maximum minimum multiply negative nextafter not_equal positive pow real reciprocal remainder
    round sign signbit sin sinh square sqrt subtract tan tanh trunc
    arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like tril triu zeros
    zeros_like astype broadcast_arrays broadcast_shapes broadcast_to can_cast finfo iinfo isdtype result_type
    bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128
    e inf nan newaxis pi take take_along_axis matmul matrix_transpose tensordot vecdot
    concat expand_dims flip moveaxis permute_dims repeat reshape roll squeeze stack tile unstack
    argmax argmin count_nonzero nonzero where cumulative_prod cumulative_sum max mean min prod std sum var all any diff
"""


def public() -> list[tuple[str, object]]:
    """Every public function and class, and the methods of the classes."""
    found = []
    for prefix, module in MODULES.items():
        for name in module.__all__:
            value = getattr(module, name)
            if not getattr(value, "__module__", "").startswith("gpuarray") or not callable(value):
                continue
            found.append((f"{prefix}.{name}", value))
    return found


PUBLIC = public()


@pytest.mark.parametrize("name", STANDARD.split())
def test_names_of_the_array_api_standard(name):
    assert name in ga.__all__


def test_all_is_what_there_is():
    for prefix, module in MODULES.items():
        assert len(set(module.__all__)) == len(module.__all__), prefix
        for name in module.__all__:
            assert hasattr(module, name), f"{prefix}.{name}"
    extra = {n for n in vars(ga) if not n.startswith("_") and not isinstance(getattr(ga, n), ModuleType)} - set(
        ga.__all__
    )
    assert extra <= {"annotations", "Any", "TYPE_CHECKING", "ModuleType"}, extra


@pytest.mark.parametrize(("name", "value"), PUBLIC, ids=[n for n, _ in PUBLIC])
def test_every_public_name_has_a_true_example(name, value):
    """The smallest example is the documentation that cannot go stale."""
    text = inspect.getdoc(value) or ""
    summary = text.partition("\n")[0]
    assert summary.endswith((".", ":")), f"{name}: the first line is not a sentence: {summary!r}"
    assert ">>> " in text, f"{name} has no example"
    examples = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_ONLY_FIRST_FAILURE, verbose=False)
    failures: list[str] = []
    runner.run(examples, out=failures.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(failures)


def test_methods_of_arrays_are_documented():
    for name, value in vars(ga.NDArray).items():
        if not name.startswith("_") and (callable(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"NDArray.{name}"


NUMPYS_METHODS = """
    all any argmax argmin astype clip compress conj conjugate copy cumprod cumsum diagonal dot flatten item max mean min
    nonzero prod ravel repeat reshape round squeeze std sum swapaxes take tolist trace transpose var
    T mT dtype imag itemsize nbytes ndim real shape size
"""


def test_numpys_methods():
    x = ga.ones((2, 3))
    for name in NUMPYS_METHODS.split():
        assert hasattr(x, name), name
        assert hasattr(np.ones((1, 1)), name), name


def test_constants_and_dtypes_are_numpys():
    assert ga.pi == np.pi
    assert ga.e == np.e
    assert ga.newaxis is None
    assert np.isnan(ga.nan)
    assert ga.bool is np.bool_
    assert ga.ones(2, dtype=ga.float32).dtype == np.float32
    assert ga.isdtype(ga.ones(2).dtype, "real floating")


def test_code_for_any_library():
    x = ga.ones((2, 3))
    xp = x.__array_namespace__()
    assert xp is ga
    assert x.__array_namespace__(api_version="2024.12") is ga
    with pytest.raises(ValueError, match="1999"):
        x.__array_namespace__(api_version="1999")
    info = xp.__array_namespace_info__()
    assert info.default_dtypes()["integral"] == ga.arange(3).dtype
    assert set(info.dtypes(kind="signed integer")) == {"int8", "int16", "int32", "int64"}
    assert len(info.dtypes()) == 13
    assert info.devices() == (info.default_device(),) == (x.device,)
    assert x.to_device("cpu") is x
    with pytest.raises(ValueError, match="cuda:3"):
        x.to_device("cuda:3")
    assert np.from_dlpack(x).shape == (2, 3)
    assert ga.from_dlpack(x) is x
    assert np.from_dlpack(x, copy=False).tolist() == [[1, 1, 1], [1, 1, 1]]
    with pytest.raises(ValueError, match="cuda:3"):
        ga.asarray([1], device="cuda:3")
    assert ga.asarray([1], device="cpu").shape == (1,)


def test_copies_are_other_handles():
    x = ga.zeros(3)
    same, other = ga.asarray(x), ga.asarray(x, copy=True)
    assert same is x
    x += 1
    x[0] = 7
    assert other.tolist() == [0, 0, 0]
    assert x.tolist() == [7, 1, 1]
    with pytest.raises(ValueError, match="float32 makes a copy of an array of float64"):
        ga.asarray(x, dtype="f4", copy=False)
    assert ga.asarray(x, dtype="f8", copy=False) is x


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "c16"])
def test_limits_of_floats(dtype):
    mine, theirs = ga.finfo(dtype), np.finfo(dtype)
    for name in ("eps", "max", "min", "smallest_normal"):
        assert type(getattr(mine, name)) is float
        assert getattr(mine, name) == getattr(theirs, name)
    assert (mine.bits, mine.dtype, mine.tiny, mine.resolution) == (
        theirs.bits,
        theirs.dtype,
        theirs.tiny,
        theirs.resolution,
    )
    assert repr(mine) == repr(theirs)
    assert ga.finfo(ga.ones(2, dtype=dtype)).dtype == theirs.dtype
    assert not hasattr(mine, "no_such")
    assert not hasattr(mine, "_no_such")


def test_limits_of_integers():
    for dtype in "bBhHiIqQ":
        assert ga.iinfo(dtype).max == np.iinfo(dtype).max
        assert ga.iinfo(ga.ones(2, dtype=dtype)).min == np.iinfo(dtype).min
    for bad in ("f4", "c8", "O", ga.ones(2)):
        with pytest.raises(ValueError, match="nteger"):
            ga.iinfo(bad)
    for bad in ("i4", "O", ga.arange(2)):
        with pytest.raises(ValueError, match="inexact"):
            ga.finfo(bad)


@pytest.mark.parametrize("k", [-(2**70), -4, -3, 0, 2, 3, 2**63])
def test_diagonals_far_outside(k):
    near = max(-10, min(k, 10))
    np.testing.assert_array_equal(ga.eye(3, 2, k).compute(), np.eye(3, 2, near))
    np.testing.assert_array_equal(ga.tri(3, 2, k).compute(), np.tri(3, 2, near))
    a = np.arange(6).reshape(3, 2)
    np.testing.assert_array_equal(ga.tril(a, k).compute(), np.tril(a, near))
    np.testing.assert_array_equal(ga.triu(a, k).compute(), np.triu(a, near))


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("value", [5.0, np.ones((1, 3)), np.ones(3), np.ones((1, 2, 3))], ids=np.shape)
def test_assigning_through_one_boolean(mask, value):
    for key in (mask, np.bool_(mask), ga.asarray(mask), (mask, Ellipsis), (ga.asarray(mask), slice(None), slice(0, 3))):
        expected, x = np.zeros((2, 3)), ga.zeros((2, 3))
        expected[key if not isinstance(key, tuple) else (mask, *key[1:])] = value
        x[key] = value
        np.testing.assert_array_equal(x.compute(), expected)
    x = ga.zeros(())
    x[ga.asarray(mask)] = 7
    assert float(x) == 7 * mask
    with pytest.raises(ValueError, match="broadcast"):
        ga.zeros((2, 3))[True] = np.ones(2)
    with pytest.raises(IndexError, match="together with other arrays"):
        ga.zeros((2, 3))[True, [0, 1]] = 1


@pytest.mark.parametrize(
    ("shape", "mask"), [((0, 1), (0, 0)), ((3, 1), (0, 1)), ((3, 1), (0, 0)), ((2, 3, 4), (0, 3)), ((2, 3, 4), (2, 0))]
)
def test_empty_masks_select_nothing(shape, mask):
    a = np.ones(shape)
    for m in (np.zeros(mask, bool), ga.zeros(mask, dtype=bool)):
        assert ga.asarray(a)[m].shape == a[np.zeros(mask, bool)].shape
        x = ga.asarray(a)
        x[m] = 5
        np.testing.assert_array_equal(x.compute(), a)
    with pytest.raises(IndexError, match="does not match"):
        ga.asarray(a)[np.zeros((mask[0], mask[1] + 7), bool)]


def test_nothing_heavy_is_imported():
    code = "import sys, gpuarray; gpuarray.ones(3) + 1; print('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.startswith(
        "False"
    )
