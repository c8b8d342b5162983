"""The table: what must be shown on one H200, by everybody who can do it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.gpu.rows import Arrays, Bound, Piece, Row
from benchmarks.gpu.stencils import ROWS as STENCILS

Size = SimpleNamespace


def two(size: Size) -> dict[str, Any]:
    return {"x": ((size.n,), "float64"), "y": ((size.n,), "float64")}


def chain(x: Any, y: Any, sqrt: Any) -> Any:
    """Five operations of which none is worth a pass over memory."""
    return sqrt(x * x + y * y) * 0.5 + x


def ours_chain(lib: Any, a: Arrays, size: Size) -> Any:
    return lambda: chain(a["x"], a["y"], lib.ga.sqrt).persist()


def cupy_chain(lib: Any, a: Arrays, size: Size) -> Any:
    return lambda: chain(a["x"], a["y"], lib.cupy.sqrt)


def fuse_chain(lib: Any, a: Arrays, size: Size) -> Any:
    fused = lib.cupy.fuse(lambda x, y: chain(x, y, lib.cupy.sqrt))
    return lambda: fused(a["x"], a["y"])


def kernel_chain(lib: Any, a: Arrays, size: Size) -> Any:
    kernel = lib.cupy.ElementwiseKernel("T x, T y", "T z", "z = sqrt(x * x + y * y) * 0.5 + x", "bench_chain")
    return lambda: kernel(a["x"], a["y"])


def jax_chain(lib: Any, a: Arrays, size: Size) -> Any:
    fused = lib.jax.jit(lambda x, y: chain(x, y, lib.jax.numpy.sqrt))
    return lambda: fused(a["x"], a["y"])


def torch_chain(lib: Any, a: Arrays, size: Size) -> Any:
    fused = lib.torch.compile(lambda x, y: chain(x, y, lib.torch.sqrt))
    return lambda: fused(a["x"], a["y"])


def dask_chain(lib: Any, a: Arrays, size: Size) -> Any:
    return lambda: chain(a["x"], a["y"], np.sqrt).persist()


def numpy_chain(lib: Any, a: Arrays, size: Size) -> Any:
    return lambda: chain(a["x"], a["y"], np.sqrt)


CHAIN = Row(
    "chain",
    "sqrt(x * x + y * y) * 0.5 + x, {n} float64 each",
    full={"n": 1 << 29},
    tiny={"n": 70_001},
    arrays=two,
    pieces={
        "gpuarray": ours_chain,
        "CuPy": cupy_chain,
        "CuPy/fuse": fuse_chain,
        "CuPy/ElementwiseKernel": kernel_chain,
        "JAX": jax_chain,
        "PyTorch/compile": torch_chain,
        "dask+CuPy": dask_chain,
        "NumPy": numpy_chain,
    },
    oracle=lambda a, size: chain(a["x"], a["y"], np.sqrt),
    moved=lambda size: 3 * 8 * size.n,
    bounds=(
        Bound("fraction", 0.90, 0.95),
        Bound("vs CuPy/fuse", 1.1),
        Bound("vs best of CuPy/ElementwiseKernel, JAX, PyTorch/compile", 0.98),
    ),
)


# Reductions


def reduced(name: str) -> dict[str, Piece]:
    def lazy(lib: Any, a: Arrays, size: Size) -> Any:
        return lambda: getattr(a["x"], name)().compute()

    def at_once(lib: Any, a: Arrays, size: Size) -> Any:
        return lambda: getattr(a["x"], name)()

    def jax(lib: Any, a: Arrays, size: Size) -> Any:
        fused = lib.jax.jit(getattr(lib.jax.numpy, name))
        return lambda: fused(a["x"])

    def torch(lib: Any, a: Arrays, size: Size) -> Any:
        options = {"correction": 0} if name == "var" else {}
        fused = lib.torch.compile(lambda x: getattr(lib.torch, name)(x, **options))
        return lambda: fused(a["x"])

    return {
        "gpuarray": lazy,
        "CuPy": at_once,
        "JAX": jax,
        "PyTorch/compile": torch,
        "dask+CuPy": lazy,
        "NumPy": at_once,
    }


def reduction(name: str, dtype: str) -> Row:
    item = np.dtype(dtype).itemsize
    return Row(
        f"{name}-{dtype}",
        f"x.{name}(), {{n}} {dtype}",
        full={"n": (4 << 30) // item},
        tiny={"n": 70_001},
        arrays=lambda size: {"x": ((size.n,), dtype)},
        pieces=reduced(name),
        oracle=lambda a, size: getattr(a["x"].astype("float64"), name)(),
        tolerance=1e-11 if dtype == "float64" else 1e-3,  # peers add float32 in float32
        moved=lambda size: item * size.n,
        limit="read",
        bounds=(Bound("fraction", 0.93, 0.97),),
        exact=True,
    )


def few_rows(lib: Any, a: Arrays, size: Size) -> Any:
    return lambda: a["x"].sum(axis=1)


def few_rows_lazy(lib: Any, a: Arrays, size: Size) -> Any:
    return lambda: a["x"].sum(axis=1).compute()


FEW_ROWS = Row(
    "few-long-rows",
    "x.sum(axis=1), ({rows}, {n}) float64",
    full={"rows": 8, "n": 1 << 26},
    tiny={"rows": 8, "n": 9_001},
    arrays=lambda size: {"x": ((size.rows, size.n), "float64")},
    pieces={"gpuarray": few_rows_lazy, "CuPy": few_rows, "dask+CuPy": few_rows_lazy, "NumPy": few_rows},
    oracle=lambda a, size: a["x"].sum(axis=1),
    tolerance=1e-11,
    moved=lambda size: 8 * size.rows * size.n,
    limit="read",
    bounds=(Bound("vs CuPy", 10),),
    exact=True,
)


# Random numbers: nothing is read


def ours_random(lib: Any, a: Arrays, size: Size) -> Any:
    return lambda: lib.ga.exp(lib.ga.random.default_rng(0).random(size.n)).sum().compute()


def cupy_random(lib: Any, a: Arrays, size: Size) -> Any:
    return lambda: lib.cupy.exp(lib.cupy.random.default_rng(0).random(size.n)).sum()


def jax_random(lib: Any, a: Arrays, size: Size) -> Any:
    jax = lib.jax
    fused = jax.jit(lambda key: jax.numpy.exp(jax.random.uniform(key, (size.n,), "float64")).sum())
    return lambda: fused(jax.random.key(0))


def torch_random(lib: Any, a: Arrays, size: Size) -> Any:
    torch = lib.torch
    fused = torch.compile(lambda: torch.exp(torch.rand(size.n, dtype=torch.float64, device="cuda")).sum())
    return lambda: fused()


def numpy_random(lib: Any, a: Arrays, size: Size) -> Any:
    return lambda: np.exp(np.random.default_rng(0).random(size.n)).sum()


RANDOM = Row(
    "exp-random",
    "exp(random({n})).sum(), float64",
    full={"n": 400_000_000},
    tiny={"n": 200_000},
    arrays=lambda size: {},
    pieces={
        "gpuarray": ours_random,
        "CuPy": cupy_random,
        "JAX": jax_random,
        "PyTorch/compile": torch_random,
        "NumPy": numpy_random,
    },
    oracle=lambda a, size: size.n * (np.e - 1),  # the numbers differ from library to library
    tolerance=5e-3,
    elements=lambda size: size.n,
    bounds=(Bound("vs CuPy", 3), Bound("elements_per_second", 200e9, 280e9)),
)


# Many small chunks


def ours_chunks(lib: Any, a: Arrays, size: Size) -> Any:
    x = lib.ga.arange(size.chunks * size.n, dtype="float64", chunks=size.n)
    return lambda: (x * 2 + 1).sum().compute()


def numpy_chunks(lib: Any, a: Arrays, size: Size) -> Any:
    return lambda: (np.arange(size.chunks * size.n, dtype="float64") * 2 + 1).sum()


CHUNKS = Row(
    "small-chunks",
    "(arange * 2 + 1).sum() in {chunks} chunks of {n}",
    full={"chunks": 10_000, "n": 1_000},
    tiny={"chunks": 100, "n": 1_000},
    arrays=lambda size: {},
    pieces={"gpuarray": ours_chunks, "NumPy": numpy_chunks},
    oracle=lambda a, size: float(size.chunks * size.n) ** 2,
    chunks=lambda size: size.chunks,
    bounds=(Bound("chunk_us", 15, most=True),),
)


# Out of core: the data are in the host's memory


def ours_total(lib: Any, a: Arrays, size: Size) -> Any:
    return lambda: a["x"].sum().compute()


def ours_both_ways(lib: Any, a: Arrays, size: Size) -> Any:
    return lambda: (a["x"] * 2 + 1).compute()


OUT_OF_CORE = [
    Row(
        "out-of-core-sum",
        "x.sum(), {gb} GB in host memory",
        full={"n": (64 << 30) // 8, "gb": 64},
        tiny={"n": 1 << 18, "gb": 0},
        arrays=lambda size: {"x": ((size.n,), "float64")},
        pieces={"gpuarray": ours_total, "NumPy": lambda lib, a, size: lambda: a["x"].sum()},
        oracle=lambda a, size: a["x"].sum(),
        tolerance=1e-11,
        moved=lambda size: 8 * size.n,
        limit="upload",
        bounds=(Bound("fraction", 0.93, 0.97), Bound("pool_over_limit", 1.0, most=True)),
        settings={
            "device_memory": "16 GiB",
            "chunk_bytes": "256 MiB",
            "threads": 8,  # twice as many copy: one fills pinned memory at a sixth of the bus
            "tiny_device_memory": "1 MiB",
            "tiny_chunk_bytes": "64 KiB",
        },
        on_host=True,
        repeat=3,
        exact=True,
    ),
    Row(
        "out-of-core-in-and-out",
        "x * 2 + 1, {gb} GB in host memory, to host memory",
        full={"n": (32 << 30) // 8, "gb": 32},
        tiny={"n": 1 << 18, "gb": 0},
        arrays=lambda size: {"x": ((size.n,), "float64")},
        pieces={"gpuarray": ours_both_ways, "NumPy": lambda lib, a, size: lambda: a["x"] * 2 + 1},
        oracle=lambda a, size: a["x"] * 2 + 1,
        moved=lambda size: 2 * 8 * size.n,
        limit="both",
        bounds=(Bound("fraction", 0.90), Bound("pool_over_limit", 1.0, most=True)),
        settings={
            "device_memory": "16 GiB",
            "chunk_bytes": "256 MiB",
            "threads": 8,  # twice as many copy: one fills pinned memory at a sixth of the bus
            "tiny_device_memory": "1 MiB",
            "tiny_chunk_bytes": "64 KiB",
        },
        on_host=True,
        repeat=3,
    ),
]

ROWS: list[Row] = [
    CHAIN,
    *(reduction(name, dtype) for dtype in ("float32", "float64") for name in ("sum", "mean", "var")),
    FEW_ROWS,
    RANDOM,
    *STENCILS[:4],
    CHUNKS,
    *OUT_OF_CORE,
    *STENCILS[4:],
]
"""The most telling first: a run that is short of time leaves out those at the end."""
