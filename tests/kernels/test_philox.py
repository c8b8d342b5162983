"""Philox4x32-10: the published vectors, the same bits from every form, and the statistics of what comes out."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gpuarray.kernels import philox

U64 = 2**64 - 1
N = 200_003


def u64(x: int) -> np.ndarray:
    return np.array([x], np.uint64)


def extra(operation: str) -> tuple[int, ...]:
    return (-500, 1000) if operation == "random_integers" else ()


def typed(*integers: int) -> tuple[Any, ...]:
    return (np.int64(integers[0]), np.uint64(integers[1])) if integers else ()


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.fixture(scope="module")
def cpu() -> Any:
    return pytest.importorskip("gpuarray.kernels.philox_cpu")


# counter (4 words), key (2 words), result (4 words): the kat_vectors of Random123
VECTORS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def halves(words: str) -> list[int]:
    w = [int(word, 16) for word in words.split()]
    return [low | high << 32 for low, high in zip(w[::2], w[1::2], strict=True)]


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_known_answers(counter: str, key: str, expected: str, cpu: Any) -> None:
    (low, high), (k,), result = halves(counter), halves(key), halves(expected)
    interpreted = philox.philox_block(u64(k), u64(high), u64(low))
    assert [int(half[0]) for half in interpreted] == result
    if low < 2**63:  # as an element: index = 2 * counter + half
        for half in (0, 1):
            index = 2 * low + half
            if index < 2**63:
                assert int(philox.interpret("random_bits", "uint64", k, high, index)) == result[half]
                assert int(cpu.bits_uint64(np.uint64(k), np.uint64(high), index)) == result[half]


def test_agrees_with_a_plain_implementation() -> None:
    def philox4x32(counter: list[int], key: list[int]) -> list[int]:
        for _ in range(10):
            p0, p1 = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
            counter = [(p1 >> 32) ^ counter[1] ^ key[0], p1 % 2**32, (p0 >> 32) ^ counter[3] ^ key[1], p0 % 2**32]
            key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
        return counter

    rng = np.random.default_rng(0)
    for key, stream in rng.integers(0, U64, (50, 2), np.uint64, endpoint=True).tolist():
        index = int(rng.integers(0, 2**63, dtype=np.int64))
        c = index >> 1
        w = philox4x32([c % 2**32, c >> 32, stream % 2**32, stream >> 32], [key % 2**32, key >> 32])
        expected = (w[2] | w[3] << 32) if index & 1 else (w[0] | w[1] << 32)
        assert int(philox.interpret("random_bits", "uint64", key, stream, index)) == expected


START = st.one_of(
    st.integers(0, 100),
    st.integers(2**31 - 9, 2**33),
    st.integers(2**33 - 99, 2**33),
    st.integers(2**62 - 99, 2**62 + 99),
)


@settings(max_examples=60, deadline=None)
@given(key=st.integers(0, U64), stream=st.integers(0, U64), start=START, n=st.integers(0, 70))
def test_all_forms_give_the_same_bits(key: int, stream: int, start: int, n: int) -> None:
    from gpuarray.kernels import philox_cpu

    k, s = np.uint64(key), np.uint64(stream)
    for name, dtype in philox.OPERATIONS:
        e = extra(name)
        expected = philox.interpret(name, dtype, key, stream, np.arange(start, start + n), *e)
        filled = np.empty(n, dtype)
        philox_cpu.FILLS[name, dtype](filled, k, s, start, *typed(*e))
        assert same_bits(filled, expected)
        element = philox_cpu.SCALARS[name, dtype]
        single = [element(k, s, start + i, *typed(*e)) for i in range(min(n, 5))]
        assert same_bits(np.array(single, dtype), expected[: len(single)])


@pytest.mark.parametrize(("name", "dtype"), list(philox.OPERATIONS))
@pytest.mark.parametrize("step", [-3, -1, 0, 1, 2, 5, 10**12])
def test_strided_fill(name: str, dtype: str, step: int, cpu: Any) -> None:
    start, n = 10**6, 1001
    index = start + step * np.arange(n, dtype=np.int64)
    expected = philox.interpret(name, dtype, 3, 4, index, *extra(name))
    out = np.empty(3 * n, dtype)[::3]
    cpu.STRIDED_FILLS[name, dtype](out, np.uint64(3), np.uint64(4), start, step, *typed(*extra(name)))
    assert same_bits(np.ascontiguousarray(out), expected)


@pytest.mark.parametrize(("name", "dtype"), list(philox.OPERATIONS))
def test_long_fill_and_cut_fill_agree(name: str, dtype: str, cpu: Any) -> None:
    """Enough for millions of roundings to agree, and for every cut to give the same array."""
    n = 1_000_003
    fill, e, start = cpu.FILLS[name, dtype], typed(*extra(name)), 2**62 - 11
    whole, cut = np.empty(n, dtype), np.empty(n, dtype)
    fill(whole, np.uint64(1), np.uint64(2), start, *e)
    for lo, hi in ((0, 1), (1, 2), (2, 777), (777, 778), (778, 500_000), (500_000, n)):
        fill(cut[lo:hi], np.uint64(1), np.uint64(2), start + lo, *e)
    assert same_bits(whole, cut)
    expected = philox.interpret(name, dtype, 1, 2, np.arange(start, start + n), *extra(name))
    assert same_bits(whole, expected)


def test_inlines_into_a_users_loop() -> None:
    """Contraction and reassociation in the caller may not reach the generator."""
    from numba import njit

    from gpuarray.kernels import philox_cpu

    element = philox_cpu.normal_float64

    @njit(fastmath=True)
    def loop(out: Any, key: Any, stream: Any) -> None:
        for i in range(out.size):
            out[i] = element(key, stream, i)

    out = np.empty(10_000)
    loop(out, np.uint64(5), np.uint64(6))
    assert same_bits(out, philox.interpret("random_normal", "float64", 5, 6, np.arange(10_000)))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3)])
@pytest.mark.parametrize(("name", "dtype"), list(philox.OPERATIONS))
def test_interpret_keeps_the_shape(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    index = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    result = philox.interpret(name, dtype, U64, U64, index, *extra(name))
    assert result.shape == shape
    assert result.dtype == dtype


def test_interpret_refuses() -> None:
    with pytest.raises(KeyError):
        philox.interpret("random_uniform", "int8", 0, 0, 0)
    for arguments in ((-1, 0), (2**64, 0), (0, -1)):
        with pytest.raises(OverflowError):
            philox.interpret("random_uniform", "float64", *arguments, 0)


def test_the_interpreter_needs_no_numba() -> None:
    code = """
import sys
sys.modules["numba"] = None
from gpuarray.kernels import philox
print(philox.interpret("random_normal", "float64", 1, 2, [0, 1, 2]))
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_keys_streams_and_elements_differ() -> None:
    index = np.arange(1000)
    draws = [philox.interpret("random_bits", "uint64", k, s, index) for k in (0, 1, 2**32) for s in (0, 1, 2**32)]
    assert len(np.unique(np.concatenate(draws))) == 9000


def draw(name: str, dtype: str = "float64", key: int = 42, stream: int = 0, n: int = N, **parameters: int) -> Any:
    return philox.interpret(name, dtype, key, stream, np.arange(n), **parameters)


# The seeds are fixed, so these pass or fail for good: a p-value below 1e-4 means a defect, not bad luck.
P = 1e-4


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("name", "distribution", "moments"),
    [
        ("random_uniform", stats.uniform, (1 / 2, 1 / 12, 0.0, -1.2)),
        ("random_normal", stats.norm, (0.0, 1.0, 0.0, 0.0)),
        ("random_exponential", stats.expon, (1.0, 1.0, 2.0, 6.0)),
    ],
)
def test_distribution(name: str, distribution: Any, moments: tuple[float, ...], dtype: str) -> None:
    for key in (0, 1, 2**63):
        x = draw(name, dtype, key).astype(np.float64)
        assert np.isfinite(x).all()
        assert stats.kstest(x, distribution.cdf).pvalue > P
        for part in (x[::2], x[1::2]):  # the two halves of the blocks
            assert stats.kstest(part, distribution.cdf).pvalue > P
    mean, variance, skew, kurtosis = moments
    deviation = np.sqrt(variance)
    assert abs(x.mean() - mean) < 4 * deviation / np.sqrt(N)
    assert abs(x.var() - variance) < 4 * variance * np.sqrt((kurtosis + 2) / N)
    assert abs(stats.skew(x) - skew) < 0.1
    assert abs(stats.kurtosis(x) - kurtosis) < 0.6


def test_uniform_range_and_resolution() -> None:
    x, y = draw("random_uniform"), draw("random_uniform", "float32")
    assert 0 <= x.min() < 1e-4
    assert 1 - 1e-4 < x.max() < 1
    assert (x * 2.0**53 == np.floor(x * 2.0**53)).all()
    assert y.max() < 1
    assert (y * np.float32(2**24) == np.floor(y * np.float32(2**24))).all()
    bits = draw("random_bits", "uint64")
    ones = np.unpackbits(bits.view(np.uint8).reshape(N, 8), axis=1).sum(0)
    assert (abs(ones - N / 2) < 4.5 * np.sqrt(N) / 2).all()


def test_extreme_bits_stay_finite() -> None:
    edge = np.array([0, 1, 2**11 - 1, 2**11, 2**63 - 1, 2**63, U64 - 2**11, U64], np.uint64)
    low, high = (a.ravel() for a in np.meshgrid(edge, edge))
    for quarter in (0.0, 0.25):
        z = philox.normal_from_bits(low, high, quarter)
        assert np.isfinite(z).all()
        assert abs(z).max() <= 8.58
    x = philox.exponential_from_bits(edge)
    assert x.min() == 0
    assert not np.signbit(x).any()
    assert 36.7 < x.max() < 36.8
    assert (philox.uniform_from_bits(edge) < 1).all()
    assert (philox.uniform32_from_bits(edge) < 1).all()


def test_own_logarithm_and_cosine_are_accurate() -> None:
    if np.finfo(np.longdouble).nmant < 63:
        pytest.skip("no wider type to compare with")
    u = (np.random.default_rng(0).integers(0, 2**53, 100_000) + 1) * 2.0**-53
    u[:2000] = np.concatenate([np.arange(1, 1001), 2**53 - np.arange(1000)]) * 2.0**-53
    exact = np.log(u.astype(np.longdouble))
    error = abs(philox.log_of_uniform(u) - exact) / np.spacing(abs(exact.astype(np.float64)))
    assert error.max() < 1.5
    v = np.random.default_rng(1).integers(0, 2**53, 100_000) * 2.0**-53
    z = (abs(v - 0.5) - 0.25).astype(np.longdouble)
    exact = np.sin(z * 8 * np.arctan(np.longdouble(1)))
    error = abs(philox.cos_of_turn(v) - exact) / np.spacing(abs(exact.astype(np.float64)))
    assert error.max() < 3.5


@pytest.mark.parametrize("span", [1, 2, 6, 7, 1000])
def test_integers_are_uniform(span: int) -> None:
    x = draw("random_integers", "int64", low=-3, span=span)
    assert x.min() == -3
    assert x.max() == span - 4
    if span > 1:
        assert stats.chisquare(np.bincount(x + 3, minlength=span)).pvalue > P


@pytest.mark.parametrize(
    ("low", "span"),
    [(0, 0), (-(2**63), 0), (-(2**63), U64), (-5, 2**63), (0, 2**32), (7, 2**32 + 1), (2**63 - 1, 1), (-1, 3 * 2**61)],
)
def test_integers_are_the_upper_half_of_the_product(low: int, span: int, cpu: Any) -> None:
    n = 1000
    bits = draw("random_bits", "uint64", n=n)
    expected = [low + (int(b) * (span or 2**64) >> 64) for b in bits]
    wrapped = [(x + 2**63) % 2**64 - 2**63 for x in expected]
    assert draw("random_integers", "int64", n=n, low=low, span=span).tolist() == wrapped
    out = np.empty(n, np.int64)
    cpu.fill_integers_int64(out, np.uint64(42), np.uint64(0), 0, np.int64(low), np.uint64(span))
    assert out.tolist() == wrapped


@pytest.mark.parametrize("name", ["random_uniform", "random_normal"])
def test_neighbours_are_uncorrelated(name: str) -> None:
    """Elements at small lags, the same elements of the next key and of the next stream."""
    x = draw(name)
    limit = 4.5 / np.sqrt(N)
    for lag in (1, 2, 3, 4, 8, 256, 1024):
        assert abs(np.corrcoef(x[:-lag], x[lag:])[0, 1]) < limit
        assert abs(np.corrcoef(x[:-lag] ** 2, x[lag:] ** 2)[0, 1]) < limit
    for key, stream in ((43, 0), (42 ^ 2**32, 0), (42, 1), (42, 2**32), (42, 2**63)):
        assert abs(np.corrcoef(x, draw(name, key=key, stream=stream))[0, 1]) < limit


def test_pairs_fill_the_square() -> None:
    x = draw("random_uniform", n=400_000)
    for a, b in ((x[:-1], x[1:]), (x[::2], x[1::2]), (x[:-2], x[2:])):
        counts = np.histogram2d(a, b, bins=32, range=((0, 1), (0, 1)))[0]
        assert stats.chisquare(counts.ravel()).pvalue > P
    z = draw("random_normal", n=400_000)
    radius, angle = z[::2] ** 2 + z[1::2] ** 2, np.arctan2(z[1::2], z[::2])
    assert stats.kstest(radius, stats.expon(scale=2).cdf).pvalue > P
    assert stats.kstest(angle, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > P
