"""The special functions against exact values (special_values.json), compiled and interpreted, and against SciPy."""

from __future__ import annotations

import functools
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit

from gpuarray.kernels import special
from gpuarray.kernels.backends.fake import Fake
from gpuarray.kernels.backends.numpy import BACKEND
from gpuarray.kernels.cuda import formulas
from gpuarray.kernels.functions import CPU_FUNCTIONS
from gpuarray.kernels.intrinsics import prefer_wide_vectors
from gpuarray.kernels.program import Builder, Program
from gpuarray.kernels.table import ELEMENTWISE

EXACT = json.loads(Path(__file__).with_name("special_values.json").read_text())
NAMES = sorted(special.FUNCTIONS)
UNARY = [name for name in NAMES if ELEMENTWISE[name].nin == 1]
BINARY = [name for name in NAMES if ELEMENTWISE[name].nin == 2]
# in units of the last place of float64; docs/special.md promises them
BOUNDS = {
    "entr": 2,
    "erf": 2,
    "erfc": 4,
    "erfcinv": 6,
    "erfcx": 4,
    "erfinv": 6,
    "expit": 2,
    "exprel": 4,
    "gamma": 8,
    "gammaln": 4,
    "kl_div": 5,
    "log_expit": 2,
    "log_ndtr": 6,
    "logit": 3,
    "ndtr": 6,
    "ndtri": 6,
    "rel_entr": 4,
    "xlog1py": 2,
    "xlogy": 2,
}
EDGES = [0.0, 1.0, 2.0, 0.5, 3.0, 24.0, 170.0, np.inf, 5e-324, 1e-310, 1e-20, 1e300, 1e10 + 0.5, 171.7, 184.3, 2.25]


@functools.cache
def program_of(names: tuple[str, ...], dtype: str) -> Program:
    """One program of several functions of the same operands."""
    b = Builder()
    operands = [b.input("array", dtype) for _ in range(ELEMENTWISE[names[0]].nin)]
    return b.build(*(b.step(name, *operands) for name in names))


@functools.cache
def numba_loop(name: str, dtype: str) -> Any:
    function = CPU_FUNCTIONS[name, dtype]
    if name in UNARY:

        @njit(error_model="numpy")
        def run(out: Any, a: Any) -> None:
            prefer_wide_vectors()
            for i in range(out.size):
                out[i] = function(a[i])

        return run

    @njit(error_model="numpy")
    def run_two(out: Any, a: Any, b: Any) -> None:
        prefer_wide_vectors()
        for i in range(out.size):
            out[i] = function(a[i], b[i])

    return run_two


def computed(name: str, arrays: list[np.ndarray], compiled: bool) -> np.ndarray:
    if compiled:
        out = np.empty_like(arrays[0])
        numba_loop(name, arrays[0].dtype.name)(out, *arrays)
        return out
    return ELEMENTWISE[name].interpret(np, arrays[0].dtype, *arrays)


def arguments(name: str) -> list[np.ndarray]:
    return [np.array(a) for a in EXACT[name]["arguments"]]


def test_every_function_is_here() -> None:
    assert set(EXACT) == set(BOUNDS) == set(NAMES)
    assert {row.name for row in ELEMENTWISE.values() if row.home == "scipy.special"} == set(NAMES)
    assert {(n, d) for n in NAMES for d in ("float32", "float64")} <= set(CPU_FUNCTIONS)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "interpreted"])
@pytest.mark.parametrize("name", NAMES)
def test_within_the_bound(name: str, compiled: bool) -> None:
    high, low = np.array(EXACT[name]["high"]), np.array(EXACT[name]["low"])
    given = arguments(name)
    error = abs((computed(name, given, compiled) - high) - low) / np.spacing(abs(high))
    worst = int(error.argmax())
    assert error[worst] <= BOUNDS[name], f"{name}({[a[worst] for a in given]}) is {error[worst]} ulp off"


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "interpreted"])
@pytest.mark.parametrize("name", NAMES)
def test_single_precision_rounds_double_once(name: str, compiled: bool) -> None:
    with np.errstate(all="ignore"):
        given = [a.astype("f4") for a in arguments(name)]
        found = computed(name, given, compiled)
        double = computed(name, [a.astype("f8") for a in given], compiled)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, double.astype("f4"))


@pytest.mark.parametrize("name", NAMES)
def test_at_the_edges_as_scipy(name: str) -> None:
    """Infinities, NaN and subnormal numbers; SciPy's own faults there are few."""
    theirs = pytest.importorskip("scipy.special")
    edges = np.array([*EDGES, *(-e for e in EDGES), np.nan])
    given = [edges] if name in UNARY else [a.ravel() for a in np.meshgrid(edges, edges)]
    with np.errstate(all="ignore"):
        wanted = getattr(theirs, name)(*given)
        tiny = np.any([(abs(a) < 1e-300) & (a != 0) for a in given], axis=0)
        faults = {
            "erfcinv": tiny,
            "gamma": (given[0] < -171) & (given[0] > -180),
            "gammaln": tiny | (given[0] == -np.inf),  # C has infinity there, SciPy minus infinity
            "kl_div": np.isinf(wanted) & np.all([(a > 0) & np.isfinite(a) for a in given], axis=0),
        }
        keep = ~faults.get(name, np.zeros(wanted.shape, bool))
        given, wanted = [a[keep] for a in given], wanted[keep]
        for compiled in (True, False):
            np.testing.assert_allclose(
                computed(name, given, compiled), wanted, rtol=1e-11 if name == "kl_div" else 2e-13, atol=0
            )


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "interpreted"])
def test_logarithm_of_gamma_of_negative_numbers(compiled: bool) -> None:
    """Beside its zeros there the error is absolute, as SciPy's."""
    theirs = pytest.importorskip("scipy.special")
    x = -np.random.default_rng(0).uniform(0, 50, 2000)
    wanted = theirs.gammaln(x)
    error = abs(computed("gammaln", [x], compiled) - wanted) / np.maximum(abs(wanted), 1)
    assert error.max() < 8 * np.finfo("f8").eps


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "interpreted"])
def test_exact_results(compiled: bool) -> None:
    def at(name: str, *values: Any) -> list[float]:
        given = np.broadcast_arrays(*(np.asarray(v, "f8") for v in values))
        return computed(name, [np.atleast_1d(a).copy() for a in given], compiled).tolist()

    n = np.arange(1, 24)
    factorials = [float(np.prod(np.arange(1, k, dtype=object))) for k in n]
    assert at("gamma", n) == factorials
    assert at("gammaln", [1, 2]) == [0, 0]
    assert at("erf", [0, np.inf, -np.inf]) == [0, 1, -1]
    assert at("erfc", [0, np.inf, -np.inf]) == [1, 0, 2]
    assert at("ndtr", [0, np.inf, -np.inf]) == [0.5, 1, 0]
    assert at("ndtri", [0.5, 0, 1]) == [0, -np.inf, np.inf]
    assert at("expit", [0, -746, 800]) == [0.5, 0, 1]
    assert at("kl_div", [2, 0], [2, 3]) == [0, 3]
    assert np.signbit(at("erf", -0.0)[0])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_bits_do_not_depend_on_the_place(name: str, dtype: str) -> None:
    with np.errstate(all="ignore"):
        given = [a[:39].astype(dtype) for a in arguments(name)]
    whole = computed(name, given, compiled=True)
    for i in range(whole.size):
        alone = computed(name, [a[i : i + 1] for a in given], compiled=True)
        assert alone.tobytes() == whole[i : i + 1].tobytes()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
def test_vectorises(name: str) -> None:
    run = numba_loop(name, "float64")
    run(np.ones(8), *[np.ones(8)] * ELEMENTWISE[name].nin)
    (assembly,) = [text for signature, text in run.inspect_asm().items() if "float64" in str(signature)]
    if "fmadd" not in assembly:
        pytest.skip("no fused multiply-add on this machine")
    packed = [line for line in assembly.splitlines() if "fmadd" in line and "pd" in line.split()[0]]
    assert any("ymm" in line or "zmm" in line for line in packed)


@pytest.mark.parametrize("names", [UNARY[:6], BINARY], ids=["one operand", "two operands"])
def test_kernels_call_the_same_functions(names: list[str]) -> None:
    given = [np.linspace(0.01, 0.9, 101), np.linspace(3, 0.1, 101)][: ELEMENTWISE[names[0]].nin]
    for name in names[:1]:
        found = BACKEND.elementwise(program_of((name,), "float64"), given, (101,), compiled=True)
        assert found.tobytes() == computed(name, given, compiled=True).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_other_namespaces(name: str) -> None:
    """The interpreter uses nothing but the namespace that it is given."""
    device = Fake()
    given = [a[:20] for a in arguments(name)]
    found = device.elementwise(
        program_of((name,), "float64"), [device.from_host(a) for a in given], (20,), compiled=False
    )
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(device.to_host(found), computed(name, given, compiled=False))


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(formulas.LIBRARY)))
def test_single_precision_of_cuda(name: str) -> None:
    """What its library lacks is computed in single precision there."""
    numpys = special.functions_of(np)
    library = {n: _in_double(numpys[n]) for n in formulas.LIBRARY}
    made = formulas.formulas({n: numpys[n] for n in (*formulas.STEPS, "select")}, library, lambda function: function)
    with np.errstate(all="ignore"):
        given = [a.astype("f4") for a in arguments(name)]
        exact = computed(name, [a.astype("f8") for a in given], compiled=False)
        found = made[f"{name}_single"](*given)
        assert found.dtype == np.float32
        normal = (abs(exact) > 2.0**-126) & (abs(exact) < 2.0**127)
        for a in given:
            normal &= (abs(a) > 2.0**-125) & (abs(a) < 2.0**125)
        error = abs(found[normal] - exact[normal]) / np.spacing(abs(exact[normal]).astype("f4"))
    assert normal.sum() >= 10
    assert error.max() < 8


def _in_double(function: Any) -> Any:
    return lambda x: function(x.astype("f8")).astype(x.dtype)
