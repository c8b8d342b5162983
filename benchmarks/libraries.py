"""What suites do with the libraries that are compared: bring each to the state in which a user's session has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.rows import Piece


def gpuarray() -> Any:
    """gpuarray with the compiler loaded, so that its memory is not mistaken for the work's."""
    import gpuarray as ga

    with ga.config.set(compile="always"):
        (ga.arange(1 << 19, dtype="float64") * 2.5).sum().compute()
    return ga


def ours(ga: Any, call: Callable[[], Any], **more: Any) -> Piece:
    """A piece of gpuarray's, with the peak of the engine's own account among its numbers."""
    probe = more.pop("probe", dict)

    def numbers() -> dict[str, float]:
        from gpuarray.executors import current

        peak = current().executor.memory.states()[0].peak
        return {"engine_bytes": float(peak), **probe()}

    return Piece(call, probe=numbers, **more)


def dask() -> Any:
    """dask.array on its threaded scheduler, loaded and run once."""
    import dask
    import dask.array as da

    dask.config.set(scheduler="threads")
    da.ones(10, chunks=5).sum().compute()
    return da


def jax() -> Any:
    """jax.numpy on the CPU in double precision."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    return jax


def threads() -> int:
    """Processors that this process may run on."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[int, int], Any], total: int, step: int) -> list[Any]:
    """``work(lo, hi)`` for every part of ``range(total)``, in a thread per processor: what one writes by hand."""
    with ThreadPoolExecutor(threads()) as pool:
        parts = [(lo, min(lo + step, total)) for lo in range(0, total, step)]
        return list(pool.map(lambda part: work(*part), parts))


def settings(make: Callable[[int], Callable[[], Any]], values: Iterable[int], name: str) -> list[Piece]:
    """One piece for each value of a peer's setting, the fastest of which is kept."""
    return [Piece(make(v), variant=f"{name}={v}") for v in values]
