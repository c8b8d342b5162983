"""Fourier transforms: against NumPy, for every kind, axis, length, norm, dtype and cut, in and out of core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.graph.node import toposort
from gpuarray.graph.routine import Strip

ONE = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
SEVERAL = ["fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2", "irfft2"]
REAL = {"rfft", "ihfft", "rfftn", "rfft2"}
NORMS = [None, "backward", "ortho", "forward"]


def numbers(*shape: int, dtype: Any = "D") -> np.ndarray:
    rng = np.random.default_rng(len(shape))
    made = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        return (made + 1j * rng.standard_normal(shape)).astype(dtype)
    return (4 * made).astype(dtype)


def agree(mine: Any, theirs: np.ndarray) -> None:
    assert isinstance(mine, ga.NDArray)
    assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
    assert tuple(sum(c) for c in mine.chunks) == mine.shape
    got = mine.compute()
    assert (got.shape, got.dtype) == (theirs.shape, theirs.dtype)
    size = max(1.0, float(np.abs(theirs).max(initial=0)))
    np.testing.assert_allclose(got, theirs, rtol=0, atol=64 * size * float(np.finfo(theirs.dtype).eps))


@pytest.fixture(params=["direct", "planned", "strips", "fake"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Small arrays at once, planned, cut in strips between the axes, and in the memory of a device."""
    if request.param != "direct":
        monkeypatch.setattr("gpuarray.plan.direct.order_if_small", lambda roots, limit: None)
    device = "fake" if request.param == "fake" else "cpu"
    chunk = "200 B" if request.param in ("strips", "fake") else "64 MiB"
    with ga.config.set(device=device, chunk_bytes=chunk):
        yield request.param


@pytest.mark.parametrize("name", ONE)
def test_one_axis(name: str, way: str, cut: Callable[..., ga.NDArray]) -> None:
    a = numbers(6, 5, 4)
    a = a.real if name in REAL else a
    mine, theirs = getattr(ga.fft, name), getattr(np.fft, name)
    for how in ("odd", "ones"):
        agree(mine(cut(a, how)), theirs(a))
    for axis in (0, 1, -1):
        for n in (None, 1, 3, 8):
            agree(mine(cut(a), n, axis), theirs(a, n, axis))
    for norm in NORMS:
        agree(mine(cut(a), norm=norm), theirs(a, norm=norm))
    agree(mine(cut(a)[::-2, 1:, :]), theirs(a[::-2, 1:, :]))
    agree(mine(cut(a))[1, ::2, -1:], theirs(a)[1, ::2, -1:])


@pytest.mark.parametrize("name", SEVERAL)
def test_several_axes(name: str, way: str, cut: Callable[..., ga.NDArray]) -> None:
    a = numbers(6, 5, 4)
    a = a.real if name in REAL else a
    mine, theirs = getattr(ga.fft, name), getattr(np.fft, name)
    for how in ("odd", "ones"):
        agree(mine(cut(a, how)), theirs(a))
    for axes in ((0, 1), (2, 0), (1,)):
        for s in (None, (3, 8)[: len(axes)]):
            agree(mine(cut(a), s, axes), theirs(a, s, axes))
    agree(mine(cut(a), (-1, 7), (1, 2)), theirs(a, (-1, 7), (1, 2)))
    for norm in NORMS:
        agree(mine(cut(a), norm=norm), theirs(a, norm=norm))


@pytest.mark.parametrize("dtype", ["?", "b", "H", "l", "L", "e", "f", "d", "F", "D"])
def test_dtypes(dtype: str, way: str, cut: Callable[..., ga.NDArray]) -> None:
    a = numbers(6, 5, dtype=dtype)
    for name in ("fft", "ifft", "irfft", "hfft", "fftn", "irfftn", "rfft", "rfftn", "ihfft"):
        if a.dtype.kind != "c" or name not in REAL:
            agree(getattr(ga.fft, name)(cut(a)), getattr(np.fft, name)(a))


def test_an_axis_twice_and_no_axis(cut: Callable[..., ga.NDArray]) -> None:
    a = numbers(3, 4)
    agree(ga.fft.fftn(cut(a), axes=(0, 0)), np.fft.fftn(a, axes=(0, 0)))
    agree(ga.fft.fftn(cut(a), axes=()), np.fft.fftn(a, axes=()))


def test_no_elements(way: str) -> None:
    agree(ga.fft.fft(ga.zeros((0, 4))), np.fft.fft(np.zeros((0, 4))))
    agree(ga.fft.fft2(ga.zeros((0, 4, 3))), np.fft.fft2(np.zeros((0, 4, 3))))
    agree(ga.fft.fft(ga.zeros((4, 0)), 3), np.fft.fft(np.zeros((4, 0)), 3))


@pytest.mark.parametrize("kind", ["fft", "ifft"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("device", ["cpu", "fake"])
def test_an_axis_that_is_too_long_is_split(kind: str, norm: str | None, device: str) -> None:
    a = numbers(2400)
    with ga.config.set(chunk_bytes="1 KiB", device=device):
        x = ga.asarray(a, chunks=170)
        mine = getattr(ga.fft, kind)(x, norm=norm)
        assert sum(isinstance(n, Strip) for n in toposort(mine.node)) > 10
        agree(mine, getattr(np.fft, kind)(a, norm=norm))
        agree(getattr(ga.fft, kind)(x, 3000), getattr(np.fft, kind)(a, 3000))
        agree(getattr(ga.fft, kind)(x, 1600), getattr(np.fft, kind)(a, 1600))
        b = a.reshape(2, 600, 2)
        agree(getattr(ga.fft, kind)(ga.asarray(b, chunks=(1, 77, 2)), axis=1), getattr(np.fft, kind)(b, axis=1))
        agree(getattr(ga.fft, kind)(x[:1009]), getattr(np.fft, kind)(a[:1009]))  # a prime has no factors


@pytest.mark.parametrize("kind", ["rfft", "irfft", "hfft", "ihfft"])
@pytest.mark.parametrize("device", ["cpu", "fake"])
def test_a_long_axis_of_a_real_transform_is_split(kind: str, device: str) -> None:
    a = numbers(2401)
    a = a.real if kind in ("rfft", "ihfft") else a
    mine, theirs = getattr(ga.fft, kind), getattr(np.fft, kind)
    with ga.config.set(chunk_bytes="1 KiB", device=device):
        for norm in NORMS:
            for n in (2400, 2394, 2403):  # halves with factors, and an odd length
                made = mine(ga.asarray(a, chunks=170), n, norm=norm)
                assert sum(isinstance(m, Strip) for m in toposort(made.node)) > 10
                agree(made, theirs(a, n, norm=norm))
        x = ga.asarray(a, chunks=170)
        agree(mine(x, 5000), theirs(a, 5000))
        agree(mine(x, 1616), theirs(a, 1616))  # 16 * 101: only the whole has factors that are not tiny
        agree(mine(x, 2018), theirs(a, 2018))  # twice a prime
        b = a[:2400].reshape(2, 600, 2)
        agree(mine(ga.asarray(b, chunks=(1, 77, 2)), axis=1), theirs(b, axis=1))
        narrow = a.astype("f4" if a.dtype.kind == "f" else "F")
        agree(mine(ga.asarray(narrow, chunks=170), 2400), theirs(narrow, 2400))


def test_a_real_transform_within_a_limit(tmp_path: Any) -> None:
    a = numbers(2**21, dtype="f")  # 8 MiB, and so is its transform
    np.save(tmp_path / "x.npy", a)
    with ga.config.set(host_memory="4 MiB", chunk_bytes="256 KiB", spill_directory=tmp_path):
        made = ga.fft.rfft(ga.from_npy(tmp_path / "x.npy"))
        assert all(p.nbytes <= 4 << 20 for p in made.explain().peaks if p.tier == "host")
        made.to_npy(tmp_path / "y.npy")
        theirs = np.fft.rfft(a)
        assert abs(np.load(tmp_path / "y.npy") - theirs).max() < 1e-5 * abs(theirs).max()
        ga.fft.irfft(ga.from_npy(tmp_path / "y.npy")).to_npy(tmp_path / "z.npy")
        assert abs(np.load(tmp_path / "z.npy") - a).max() < 1e-5


def test_within_a_limit_that_is_half_of_the_array(tmp_path: Any) -> None:
    a = numbers(128, 128, dtype="F")  # 128 KiB
    np.save(tmp_path / "x.npy", a)
    with ga.config.set(chunk_bytes="32 KiB", device="fake", device_memory="64 KiB", host_memory="64 MiB"):
        x = ga.from_npy(tmp_path / "x.npy")
        agree(ga.fft.fft2(x), np.fft.fft2(a))
        agree(ga.fft.fft(x[:32].ravel()), np.fft.fft(a[:32].ravel()))
        agree(ga.fft.irfft2(ga.fft.rfft2(x.real)), a.real)


def test_what_does_not_fit_is_refused() -> None:
    with (
        ga.config.set(host_memory="1 MiB", chunk_bytes="64 KiB"),
        pytest.raises(ga.errors.MemoryLimitError, match="product of small factors"),
    ):
        ga.fft.fft(ga.ones(100_003)).sum().compute()


def test_frequencies(same: Callable[..., None]) -> None:
    for n in (1, 2, 7, 8):
        same(ga.fft.fftfreq(n, 0.3), np.fft.fftfreq(n, 0.3), close=True)
        same(ga.fft.rfftfreq(n, 0.3, chunks=2), np.fft.rfftfreq(n, 0.3), close=True)
    assert ga.fft.fftfreq(8, dtype="f4").dtype == np.float32


@pytest.mark.parametrize("axes", [None, 0, (0, 1), -1, (1, 0)])
def test_shifts(axes: Any, cut: Callable[..., ga.NDArray], same: Callable[..., None]) -> None:
    a = numbers(5, 4)
    same(ga.fft.fftshift(cut(a), axes), np.fft.fftshift(a, axes))
    same(ga.fft.ifftshift(cut(a), axes), np.fft.ifftshift(a, axes))


def test_into_an_array() -> None:
    a = numbers(4, 4)
    out = ga.zeros((4, 4), dtype=complex)
    assert ga.fft.fft(a, out=out) is out
    agree(out, np.fft.fft(a))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ga.fft.fft(x, 0), ValueError, "0 elements"),
        (lambda x: ga.fft.fft(x, 2.5), TypeError, "n=2.5"),
        (lambda x: ga.fft.fft(x, axis=2), np.exceptions.AxisError, "axis 2"),
        (lambda x: ga.fft.fft(x, norm="half"), ValueError, "'half'.*ortho"),
        (lambda x: ga.fft.fft(1.0), ValueError, r"shape \(\)"),
        (lambda x: ga.fft.fft(ga.zeros((3, 0))), ValueError, "0 elements"),
        (lambda x: ga.fft.irfft(x[:, :1]), ValueError, "0 elements"),
        (lambda x: ga.fft.rfft(x * 1j), TypeError, "rfft.*complex128"),
        (lambda x: ga.fft.rfftn(x * 1j), TypeError, "rfftn.*complex128"),
        (lambda x: ga.fft.fft(ga.asarray(["a"])), TypeError, "fft.*<U1"),
        (lambda x: ga.fft.fft(ga.asarray(["2024"], dtype="M8[D]")), TypeError, "fft.*datetime64"),
        (lambda x: ga.fft.fft2(x, (1, 2, 3)), ValueError, "as many"),
        (lambda x: ga.fft.fftn(x, (1, 2, 3)), ValueError, "more entries"),
        (lambda x: ga.fft.fft2(x[0]), np.exceptions.AxisError, "axis -2"),
        (lambda x: ga.fft.rfftn(x, axes=()), IndexError, "at least one"),
        (lambda x: ga.fft.fftfreq(0), ValueError, "n=0"),
        (lambda x: ga.fft.fftfreq(2.5), ValueError, "n=2.5"),
    ],
)
def test_errors(call: Callable[[ga.NDArray], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(ga.ones((3, 4), chunks=2))
