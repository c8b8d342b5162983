"""A Fourier transform along both axes of a file larger than the memory that may be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks import libraries
from benchmarks.rows import Case, Disagreement, Piece, Row, faster, within


def files(case: Case) -> None:
    n = case.size.n
    rng = np.random.Generator(np.random.SFC64(0))
    made = np.lib.format.open_memmap(case.folder / "x.npy", "w+", np.complex64, (n, n))
    for k in range(n):
        made[k] = rng.standard_normal(n, np.float32) + 1j * rng.standard_normal(n, np.float32)


def summary(x: Any) -> tuple[float, ...]:
    """A few elements."""
    return tuple(abs(complex(x[k, -k])) for k in (0, 1, 7, len(x) // 2))


def ours(case: Case) -> Piece:
    ga = libraries.gpuarray()
    ga.config.set(host_memory=case.size.memory)

    def call() -> tuple[float, ...]:
        ga.fft.fft2(ga.from_npy(case.folder / "x.npy")).to_npy(case.folder / "made.npy", overwrite=True)
        return summary(np.load(case.folder / "made.npy", mmap_mode="r"))

    return libraries.ours(ga, call)


def numpy(case: Case) -> Piece:
    x = np.load(case.folder / "x.npy")
    return Piece(lambda: summary(np.fft.fft2(x)))


def check(values: Mapping[str, Any], case: Case) -> None:
    expected = next(iter(values.values()))
    for who, value in values.items():
        if not np.allclose(value, expected, rtol=1e-3, atol=1e-3 * case.size.n):
            raise Disagreement(f"{who} has {value}, others have {expected}")


ROWS = [
    Row(
        "fft2",
        "fft.fft2 of {n} x {n} complex64 from and to a file, host_memory={memory!r}",
        {"gpuarray": ours, "numpy.fft in memory": numpy},
        full={"n": 16_384, "memory": "512 MiB"},
        quick={"n": 2_048, "memory": "16 MiB"},
        targets=(faster("numpy.fft in memory", 0.5), within("engine_bytes", 512 << 20)),
        check=check,
        files=files,
        once=True,
        warm_up=False,
        notes="numpy.fft has the array in memory, and no limit",
    ),
]
