"""The elementary functions against an exact reference and against NumPy, at random and at every edge."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit

from gpuarray.kernels import special
from gpuarray.kernels.functions import ANY_RANGE, CPU_FUNCTIONS, SAFE_LIMIT
from gpuarray.kernels.intrinsics import prefer_wide_vectors

WIDE = np.finfo(np.longdouble).nmant >= 63
exact_reference = pytest.mark.skipif(not WIDE, reason="no wider type to compare with")

UNARY = sorted(k for k in CPU_FUNCTIONS if k[0] not in ("power", "arctan2", *special.FUNCTIONS))
BINARY = sorted(k for k in CPU_FUNCTIONS if k[0] in ("power", "arctan2"))
PERIODIC = sorted(ANY_RANGE)

# where each function's results are neither constant nor infinite
INTERVALS = {
    "exp": (-746, 710),
    "exp2": (-1076, 1025),
    "expm1": (-50, 710),
    "sinh": (-711, 711),
    "cosh": (-711, 711),
    "tanh": (-22, 22),
    "log": (0, 10),
    "log2": (0, 10),
    "log10": (0, 10),
    "log1p": (-1, 10),
    "sin": (-1e4, 1e4),
    "cos": (-1e4, 1e4),
    "tan": (-1e4, 1e4),
    "arcsin": (-1, 1),
    "arccos": (-1, 1),
    "arctan": (-10, 10),
}

_runs: dict[Any, Any] = {}


def apply(function: Any, *arguments: np.ndarray) -> np.ndarray:
    """Run over arrays in a compiled loop of the kind that kernels have."""
    key = function, arguments[0].dtype
    if key not in _runs:
        if len(arguments) == 1:

            @njit(error_model="numpy")
            def run(out: Any, a: Any) -> None:
                prefer_wide_vectors()
                for i in range(out.size):
                    out[i] = function(a[i])
        else:

            @njit(error_model="numpy")
            def run(out: Any, a: Any, b: Any) -> None:
                prefer_wide_vectors()
                for i in range(out.size):
                    out[i] = function(a[i], b[i])

        _runs[key] = run
    out = np.empty_like(arguments[0])
    _runs[key](out, *arguments)
    return out


def numpy_of(name: str, *arguments: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return getattr(np, name)(*arguments)


def ulps(result: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Distance from the exact values in units of the last place; 0 where both are the same NaN, infinity or zero."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(result.dtype)
        both = np.isfinite(rounded) & np.isfinite(result)
        unit = np.spacing(np.where(both, abs(rounded), 1)).astype(np.longdouble)
        distance = np.where(both, abs(result.astype(np.longdouble) - exact) / unit, np.inf)
    same = (result == rounded) | (np.isnan(result) & np.isnan(rounded))
    # one side may round to the largest finite number where the other overflows
    return np.where(~both & same, 0, distance).astype(float)


def edges(dtype: str) -> np.ndarray:
    info = np.finfo(dtype)
    positive = [0, info.smallest_subnormal, 3 * info.smallest_subnormal, info.tiny, np.nextafter(info.tiny, 0)]
    positive += [info.eps, 1e-5, 0.25, 0.5, 1, 2, 2.5, 3, 10, 1e3, 2**52, 2**53, 1e30, info.max, np.inf]
    one = np.array(positive, dtype)
    with np.errstate(over="ignore"):
        near = np.concatenate([np.nextafter(one[5:], dtype_of(end, dtype)) for end in (0, np.inf)])
    return np.concatenate([one, -one, near, -near, np.array([np.nan], dtype)])


def converted(x: np.ndarray, dtype: Any) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return x.astype(dtype)


def dtype_of(value: float, dtype: str) -> Any:
    return np.array(value, dtype)


def any_bits(rng: np.random.Generator, dtype: str, n: int) -> np.ndarray:
    kind = np.uint64 if dtype == "float64" else np.uint32
    return rng.integers(0, np.iinfo(kind).max, n, kind, endpoint=True).view(dtype)


def samples(name: str, dtype: str, n: int = 100_000) -> np.ndarray:
    rng = np.random.default_rng(len(name))
    low, high = INTERVALS[name]
    parts = [
        edges(dtype),
        any_bits(rng, dtype, n),
        rng.uniform(low, high, n),
        rng.uniform(max(low, -2), min(high, 2), n),
        np.exp2(rng.uniform(-40, 5, n)) * rng.choice([-1, 1], n),
        1 + rng.uniform(-1, 1, n) * 2.0 ** -rng.integers(1, 50, n),
    ]
    if dtype == "float32" and name in ("exp", "sinh", "cosh", "exp2", "expm1"):
        parts.append(rng.uniform(-160, 130, n))
    x = np.concatenate([converted(p, dtype) for p in parts])
    return x[~(abs(x) > SAFE_LIMIT) | np.isinf(x)] if (name, dtype) in ANY_RANGE else x


@exact_reference
@pytest.mark.parametrize(("name", "dtype"), UNARY)
def test_within_an_ulp(name: str, dtype: str) -> None:
    x = samples(name, dtype)
    result = apply(CPU_FUNCTIONS[name, dtype], x)
    assert result.dtype == dtype
    error = ulps(result, numpy_of(name, converted(x, np.longdouble)))
    worst = int(error.argmax())
    limit = 1.0 if dtype == "float64" else 0.52
    assert error[worst] < limit, f"{name}({x[worst]!r}) = {result[worst]!r}, {error[worst]} ulp"


@pytest.mark.parametrize(("name", "dtype"), UNARY)
def test_beside_numpy(name: str, dtype: str) -> None:
    """The same kind of result everywhere: sign of zero, infinity, NaN; and nearly the same number."""
    x = samples(name, dtype, 20_000)
    result, expected = apply(CPU_FUNCTIONS[name, dtype], x), numpy_of(name, x)
    for kind in (np.isnan, np.isinf):
        differs = kind(result) != kind(expected)
        assert not differs.any(), x[differs][:5]
    zero = (result == 0) & (expected == 0)
    assert (np.signbit(result) == np.signbit(expected))[zero].all()
    finite = np.isfinite(expected)
    difference = abs(result[finite].astype(np.longdouble) - expected[finite])
    # NumPy's float32 is off by up to 3.4 ulp itself
    limit = 1.01 if dtype == "float64" and name != "tanh" else 2.01 if dtype == "float64" else 4.01
    assert (difference <= limit * np.spacing(abs(expected[finite])).astype(np.longdouble)).all()


def pairs(name: str, dtype: str, n: int = 100_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    edge = edges(dtype)
    x, y = (a.ravel() for a in np.meshgrid(edge, edge))
    parts = [(x, y), (any_bits(rng, dtype, n), any_bits(rng, dtype, n)), tuple(rng.uniform(-3, 3, (2, n)))]
    if name == "power":
        whole = np.rint(rng.uniform(-20, 20, n))
        spread, close = np.exp(rng.uniform(-80, 80, n)), 1 + rng.uniform(-1e-3, 1e-3, n)
        reach = 745 if dtype == "float64" else 104
        target = rng.uniform(-reach, reach, n)
        parts += [(rng.uniform(-9, 9, n), whole), (spread, target / np.log(spread)), (close, target / np.log(close))]
    else:
        size = 1000 if dtype == "float64" else 120
        parts.append((np.exp2(rng.uniform(-size, size, n)), np.exp2(rng.uniform(-size, size, n))))
    columns = zip(*parts, strict=True)
    left, right = (np.concatenate([converted(p, dtype) for p in column]) for column in columns)
    return left, right


@exact_reference
@pytest.mark.parametrize(("name", "dtype"), BINARY)
def test_pairs_within_an_ulp(name: str, dtype: str) -> None:
    x, y = pairs(name, dtype)
    result = apply(CPU_FUNCTIONS[name, dtype], x, y)
    assert result.dtype == dtype
    error = ulps(result, numpy_of(name, converted(x, np.longdouble), converted(y, np.longdouble)))
    worst = int(error.argmax())
    assert error[worst] < 1.1, f"{name}({x[worst]!r}, {y[worst]!r}) = {result[worst]!r}, {error[worst]} ulp"


@pytest.mark.parametrize(("name", "dtype"), BINARY)
def test_pairs_beside_numpy(name: str, dtype: str) -> None:
    x, y = pairs(name, dtype, 20_000)
    result, expected = apply(CPU_FUNCTIONS[name, dtype], x, y), numpy_of(name, x, y)
    for kind in (np.isnan, np.isinf):
        differs = kind(result) != kind(expected)
        assert not differs.any(), (x[differs][:5], y[differs][:5])
    zero = (result == 0) & (expected == 0)
    assert (np.signbit(result) == np.signbit(expected))[zero].all()


def next_to_multiples_of_a_right_angle() -> np.ndarray:
    right_angle = np.longdouble(np.pi / 2) + np.longdouble(6.123233995736766e-17)
    n = np.concatenate([np.arange(1, 50_000), np.random.default_rng(0).integers(1, 2**44, 50_000)])
    x = (n.astype(np.longdouble) * right_angle).astype(np.float64)
    # the float64 that comes nearest of all, and it times powers of two
    nearest = 6381956970095103.0 * 2.0 ** np.arange(-30, -9)
    return np.concatenate([x, np.nextafter(x, 0), np.nextafter(x, np.inf), nearest])


@exact_reference
@pytest.mark.parametrize(("name", "dtype"), PERIODIC)
def test_next_to_multiples_of_a_right_angle(name: str, dtype: str) -> None:
    x = converted(next_to_multiples_of_a_right_angle(), dtype)
    x = x[abs(x) <= SAFE_LIMIT]
    error = ulps(apply(CPU_FUNCTIONS[name, dtype], x), numpy_of(name, converted(x, np.longdouble)))
    assert error.max() < 1


@pytest.mark.parametrize(("name", "dtype"), PERIODIC)
def test_any_range(name: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    top = 1023 if dtype == "float64" else 127
    huge = np.exp2(rng.uniform(40, top, 2000)) * rng.choice([-1, 1], 2000)
    x = np.concatenate([huge.astype(dtype), edges(dtype), dtype_of(SAFE_LIMIT, dtype).reshape(1)])
    result, expected = apply(ANY_RANGE[name, dtype], x), numpy_of(name, x)
    assert (np.isnan(result) == np.isnan(expected)).all()
    finite = np.isfinite(expected)
    unit = np.spacing(abs(expected[finite]))
    assert (abs(result[finite] - expected[finite]) <= (1 if dtype == "float64" else 4) * unit).all()
    inside = abs(x) <= SAFE_LIMIT
    assert apply(CPU_FUNCTIONS[name, dtype], x[inside]).tobytes() == result[inside].tobytes()


def test_exact_results() -> None:
    """Where the exact result is a number, a user expects that number."""
    powers = np.arange(-1074, 1024)
    assert (apply(CPU_FUNCTIONS["log2", "float64"], np.ldexp(1.0, powers)) == powers).all()
    assert (apply(CPU_FUNCTIONS["exp2", "float64"], powers.astype(float)) == np.ldexp(1.0, powers)).all()
    tens = np.arange(23)
    assert (apply(CPU_FUNCTIONS["log10", "float64"], 10.0**tens) == tens).all()
    x, y = (a.ravel().astype(float) for a in np.meshgrid(np.arange(-30, 31), np.arange(0, 10)))
    assert (
        apply(CPU_FUNCTIONS["power", "float64"], x, y) == [int(a) ** int(b) for a, b in zip(x, y, strict=True)]
    ).all()
    x = np.arange(1.0, 3000)
    assert (apply(CPU_FUNCTIONS["power", "float64"], x * x, np.full(x.size, 0.5)) == x).all()


@pytest.mark.parametrize(("name", "dtype"), UNARY + BINARY)
def test_bits_do_not_depend_on_the_place(name: str, dtype: str) -> None:
    """The vector loop and the scalar loop of the last few elements agree."""
    rng = np.random.default_rng(1)
    low, high = INTERVALS.get(name, (0, 3))
    arguments = rng.uniform(low, high, (2 if (name, dtype) in BINARY else 1, 67)).astype(dtype)
    whole = apply(CPU_FUNCTIONS[name, dtype], *arguments)
    for i in range(67):
        alone = apply(CPU_FUNCTIONS[name, dtype], *arguments[:, i : i + 1])
        assert alone.tobytes() == whole[i : i + 1].tobytes()


@pytest.mark.parametrize(("name", "dtype"), UNARY + BINARY)
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
def test_vectorises(name: str, dtype: str) -> None:
    x = np.ones(8, dtype)
    function = CPU_FUNCTIONS[name, dtype]
    apply(function, *([x, x] if (name, dtype) in BINARY else [x]))
    (assembly,) = _runs[function, x.dtype].inspect_asm().values()
    packed = [line for line in assembly.splitlines() if "fmadd" in line and "pd" in line.split()[0]]
    if "fmadd" not in assembly:
        pytest.skip("no fused multiply-add on this machine")
    assert any("ymm" in line or "zmm" in line for line in packed)


def test_fastmath_of_the_first_caller_stays_outside(tmp_path: Path) -> None:
    """Numba compiles a callee with options of its first caller; in a fresh process that caller is a careless one."""
    code = """
import numpy as np
from numba import njit
from gpuarray.kernels.functions import CPU_FUNCTIONS
exp, log1p = CPU_FUNCTIONS["exp", "float64"], CPU_FUNCTIONS["log1p", "float64"]

@njit(fastmath=True)
def careless(a):
    for i in range(a.size):
        a[i] = exp(a[i]) + log1p(a[i])

@njit
def careful(a, b):
    for i in range(a.size):
        b[i] = exp(a[i])
        a[i] = log1p(a[i])

careless(np.ones(10))
x = np.append(np.linspace(-0.9, 5, 10_000), [np.inf, np.nan, -1.0, 1e-300])
y, z = x.copy(), np.empty_like(x)
careful(y, z)
np.save({path!r}, (y, z))
"""
    path = str(tmp_path / "result.npy")
    subprocess.run([sys.executable, "-c", code.replace("{path!r}", repr(path))], check=True)
    y, z = np.load(path)
    x = np.append(np.linspace(-0.9, 5, 10_000), [np.inf, np.nan, -1.0, 1e-300])
    assert y.tobytes() == apply(CPU_FUNCTIONS["log1p", "float64"], x).tobytes()
    assert z.tobytes() == apply(CPU_FUNCTIONS["exp", "float64"], x).tobytes()


def test_kernels_that_call_them_are_cached_on_disk(tmp_path: Path) -> None:
    (tmp_path / "cached_kernel.py").write_text(
        """
from numba import njit
from gpuarray.kernels.functions import CPU_FUNCTIONS
exp_float64 = CPU_FUNCTIONS["exp", "float64"]

@njit("void(float64[::1])", cache=True, nogil=True, error_model="numpy")
def kernel(a):
    for i in range(a.size):
        a[i] = exp_float64(a[i])
"""
    )
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import numpy as np
from cached_kernel import kernel
a = np.arange(10.0)
kernel(a)
assert abs(a - np.exp(np.arange(10.0))).max() < 1e-11
print(sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values()))
"""
    counts = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
        for _ in range(2)
    ]
    assert counts == [["0", "1"], ["1", "0"]]
