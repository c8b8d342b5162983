"""Rows of the table: stencils, one step and many, in the device's memory and out of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.gpu.rows import Arrays, Bound, Row

Size = SimpleNamespace
K = 0.1


def plate(u: Any, k: Any) -> Any:
    return u[0, 0] + k * (u[1, 0] + u[-1, 0] + u[0, 1] + u[0, -1] - 4 * u[0, 0])


def block(u: Any, k: Any) -> Any:
    around = u[1, 0, 0] + u[-1, 0, 0] + u[0, 1, 0] + u[0, -1, 0] + u[0, 0, 1] + u[0, 0, -1]
    return u[0, 0, 0] + k * (around - 6 * u[0, 0, 0])


def step(u: Any, new: Any) -> Any:
    """One step by slices of arrays, the edge fixed: NumPy's way, and CuPy's."""
    middle = (slice(1, -1),) * u.ndim
    around = None
    for axis in range(u.ndim):
        for part in (slice(2, None), slice(None, -2)):
            tap = u[(*middle[:axis], part, *middle[axis + 1 :])]
            around = tap if around is None else around + tap
    new[middle] = u[middle] + K * (around - 2 * u.ndim * u[middle])
    return new


def by_slices(copy: Any) -> Any:
    def piece(lib: Any, a: Arrays, size: Size) -> Any:
        def call() -> Any:
            u, new = copy(a["u"]), copy(a["u"])
            for _ in range(size.steps):
                u, new = step(u, new), u
            return u

        return call

    return piece


def ours(lib: Any, a: Arrays, size: Size) -> Any:
    stencil = lib.ga.stencil(plate if a["u"].ndim == 2 else block)
    return lambda: lib.ga.iterate(stencil, a["u"], steps=size.steps, boundary="fixed", k=K).persist()


def ours_to_host(lib: Any, a: Arrays, size: Size) -> Any:
    stencil = lib.ga.stencil(plate)
    return lambda: lib.ga.iterate(stencil, a["u"], steps=size.steps, boundary="fixed", k=K).compute()


def jitted(lib: Any, a: Arrays, size: Size) -> Any:
    jax = lib.jax

    def one(u: Any) -> Any:
        middle = (slice(1, -1),) * u.ndim
        around = sum(
            u[(*middle[:axis], part, *middle[axis + 1 :])]
            for axis in range(u.ndim)
            for part in (slice(2, None), slice(None, -2))
        )
        return u.at[middle].add(K * (around - 2 * u.ndim * u[middle]))

    fused = jax.jit(lambda u: jax.lax.fori_loop(0, size.steps, lambda _, v: one(v), u))
    return lambda: fused(a["u"])


def oracle(a: Arrays, size: Size) -> Any:
    u, new = a["u"].copy(), a["u"].copy()
    for _ in range(size.steps):
        u, new = step(u, new), u
    return u


def row(
    name: str, work: str, full: dict[str, Any], tiny: dict[str, Any], bounds: tuple[Bound, ...], **more: Any
) -> Row:
    pieces = {
        "gpuarray": ours,
        "CuPy/slices": by_slices(lambda u: u.copy()),
        "JAX": jitted,
        "NumPy": by_slices(lambda u: u.copy()),
    }
    return Row(
        name,
        work,
        full=full,
        tiny=tiny,
        arrays=lambda size: {"u": (tuple(size.shape), "float64")},
        pieces=more.pop("pieces", pieces),
        oracle=oracle,
        # the least that a step after another must move: each element read and written once a step
        moved=more.pop("moved", lambda size: 16 * float(np.prod(size.shape)) * size.steps),
        elements=lambda size: float(np.prod(size.shape)) * size.steps,
        bounds=bounds,
        **more,
    )


OUT_OF_CORE = {
    "device_memory": "16 GiB",
    "chunk_bytes": "512 MiB",
    "tiny_device_memory": "1 MiB",
    "tiny_chunk_bytes": "64 KiB",
}

ROWS = [
    row(
        "plate-one-step",
        "5 points of {shape}, 1 step, float64",
        {"shape": (16_384, 16_384), "steps": 1},
        {"shape": (130, 203), "steps": 1},
        (Bound("fraction", 0.88, 0.95), Bound("vs CuPy/slices", 6)),
    ),
    row(
        "plate-1000-steps",
        "5 points of {shape}, {steps} steps, float64",
        {"shape": (16_384, 16_384), "steps": 1000},
        {"shape": (130, 203), "steps": 20},
        (Bound("fraction", 2, 3),),
        repeat=3,
    ),
    row(
        "block-one-step",
        "7 points of {shape}, 1 step, float64",
        {"shape": (800, 800, 800), "steps": 1},
        {"shape": (20, 33, 40), "steps": 1},
        (Bound("fraction", 0.78, 0.88),),
    ),
    row(
        "block-100-steps",
        "7 points of {shape}, {steps} steps, float64",
        {"shape": (800, 800, 800), "steps": 100},
        {"shape": (20, 33, 40), "steps": 6},
        (Bound("fraction", 1.3, 1.8),),
        repeat=3,
    ),
    row(
        "out-of-core-plate",
        "5 points of {shape} in host memory, {steps} steps, float64",
        {"shape": (57_344, 57_344), "steps": 256},  # twice 26 GB: the state of two passes must fit the host
        {"shape": (260, 203), "steps": 8},
        (Bound("rate_of plate-1000-steps", 0.85, 0.95), Bound("pool_over_limit", 1.0, most=True)),
        pieces={"gpuarray": ours_to_host, "NumPy": by_slices(lambda u: u.copy())},
        settings=OUT_OF_CORE,
        on_host=True,
        repeat=1,
    ),
]
