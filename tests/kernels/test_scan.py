"""Compiled scans have the bits of NumPy's, from any start, for rows anywhere in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpuarray.kernels import cache, interpreter, scan
from gpuarray.kernels.backends.numpy import BACKEND
from gpuarray.kernels.worth import Worth

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "worth", Worth(elements=0, at_least=1))


def values(shape: tuple[int, ...], dtype: str) -> Array:
    g = np.random.default_rng(sum(shape))
    a = g.standard_normal(shape) * 10
    if dtype.startswith("float"):
        a[g.random(shape) < 0.02] = -0.0
        a[..., -1:][g.random((*shape[:-1], 1)) < 0.3] = np.inf
        return a.astype(dtype)
    return a.astype("int64").astype(dtype)


@pytest.mark.parametrize("shape", [(1,), (7,), (100_000,), (1, 1), (3, 50), (2, 3, 40), (2, 1, 3, 5)])
@pytest.mark.parametrize("dtype", ["int64", "uint64", "float32", "float64"])
@pytest.mark.parametrize("name", ["sum", "prod"])
def test_the_bits_are_numpys(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    a = values(shape, dtype)
    axis = len(shape) - 1
    space = np.zeros((*shape[:-1], 3 * shape[-1] + 5), dtype)
    for carry in (None, values((*shape[:-1], 1), dtype)):
        for array in (a, np.broadcast_to(a[..., :1, :], shape) if len(shape) > 1 else a):
            for out in (np.empty_like(a), space[..., 2 : 2 + shape[-1]]):
                assert scan.applies(name, array, axis, carry, a.dtype, out)
                got = BACKEND.scan(name, array, axis, carry, a.dtype, out=out)
                with np.errstate(all="ignore"):
                    expected = interpreter.scan(np, name, array, axis, carry, a.dtype)
                assert got is out
                assert got.tobytes() == expected.tobytes()
    assert not space[..., :2].any()
    assert not space[..., 2 + shape[-1] :].any()


def test_what_does_not_apply_is_interpreted() -> None:
    a = np.arange(12.0).reshape(3, 4)
    cases: list[tuple[str, Array, int, str]] = [
        ("max", a, 1, "float64"),
        ("sum", a, 0, "float64"),
        ("sum", a.T, 1, "float64"),
        ("sum", a[:, ::-1], 1, "float64"),
        ("sum", a.astype("int32"), 1, "int64"),
        ("sum", a.astype(">f8"), 1, "float64"),
        ("sum", a.astype(complex), 1, "complex128"),
        ("sum", np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view("float64").reshape(3, 4), 1, "float64"),
    ]
    for name, array, axis, dtype in cases:
        kind = np.dtype(dtype)
        assert not scan.applies(name, array, axis, None, kind, np.empty(array.shape, kind))
        function = {"sum": np.add, "max": np.maximum}[name]
        np.testing.assert_array_equal(BACKEND.scan(name, array, axis, None, kind), function.accumulate(array, axis))
    same = a.copy()
    assert not scan.applies("sum", same, 1, None, a.dtype, same)
    assert BACKEND.scan("sum", same, 1, None, a.dtype, out=same) is same
    np.testing.assert_array_equal(same, a.cumsum(axis=1))
    with pytest.raises(ValueError, match="out has shape"):
        BACKEND.scan("sum", a, 1, None, a.dtype, out=np.empty((4, 3)))


def test_a_process_compiles_when_it_has_scanned_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "worth", Worth(elements=1000, at_least=1))
    monkeypatch.setattr(cache, "ready", lambda text: False)
    a = np.ones((3, 150))
    done = [scan.applies("sum", a, 1, None, a.dtype, np.empty_like(a)) for _ in range(5)]
    assert done == [False, False, True, True, True]
    scan.worth.forget()
    monkeypatch.setattr(cache, "ready", lambda text: True)
    assert scan.applies("sum", a, 1, None, a.dtype, np.empty_like(a))  # on disk already
