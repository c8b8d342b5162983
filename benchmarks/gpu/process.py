"""One library's process: does every row that the library can do, and writes a line of JSON for each."""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import json
import os
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import numpy as np

from benchmarks.gpu import limits
from benchmarks.gpu.libraries import LIBRARIES, Library, Ours
from benchmarks.gpu.rows import Row
from benchmarks.gpu.work import ROWS
from benchmarks.machine import memory

LONG = 20.0
"""Seconds of a first run from which it is the only one."""
HOST_SHARE = 0.6
"""Of the host's memory, what gpuarray may take of it where operands are there."""


def main() -> None:
    """See `benchmarks.gpu.__main__.ask`, which starts it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("device", choices=("cuda", "fake"))
    parser.add_argument("output", type=Path)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--rows", nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    until = time.monotonic() + options.seconds
    with options.output.open("a") as out:
        if options.library == "limits":
            write(out, {"limits": limits.measure(options.device, options.tiny)})
            return
        try:
            library = LIBRARIES[options.library](options.device)
        except ImportError as error:
            write(out, {"missing": str(error)})
            return
        for row in ROWS:
            if row.name not in options.rows:
                continue
            for who, piece in row.pieces.items():
                if who.partition("/")[0] == options.library:
                    left = until - time.monotonic()
                    found = {"row": row.name, "who": who}
                    if left <= 0:
                        write(out, {**found, "missing": "there was no time left"})
                    else:
                        write(out, {**found, **attempt(library, row, piece, options.tiny, options.seed, left)})


def write(out: TextIO, line: Mapping[str, Any]) -> None:
    out.write(json.dumps(line) + "\n")
    out.flush()


def attempt(library: Library, row: Row, piece: Any, tiny: bool, seed: int, left: float) -> dict[str, Any]:
    """Compare a piece's result with NumPy's on small fresh data, then time it on large; or what went wrong."""
    try:
        with settings(library, row, True):
            check(library, row, piece, seed)
        with settings(library, row, tiny):
            return timed(library, row, piece, row.size(tiny), seed, left)
    except ImportError as error:
        return {"missing": str(error)}
    except Exception as error:
        return {"trouble": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()[-4000:]}
    finally:
        gc.collect()
        library.free()


@contextlib.contextmanager
def settings(library: Library, row: Row, tiny: bool) -> Iterator[None]:
    chosen = row.settings_for(tiny)
    if row.on_host and not tiny:
        # of all there is, not of what is free just now: operands and earlier results are in it
        chosen["host_memory"] = int(HOST_SHARE * memory())
    if isinstance(library, Ours) and chosen:
        with library.ga.config.set(**chosen):
            yield
    else:
        yield


class Wrong(Exception):
    """A result is not NumPy's."""


def check(library: Library, row: Row, piece: Any, seed: int) -> None:
    """Raise `Wrong` where the result on small random data is not that of NumPy in double precision."""
    size = row.size(True)
    rng = np.random.default_rng(seed)
    host = {name: rng.random(shape, dtype=dtype) for name, (shape, dtype) in row.arrays(size).items()}
    expected = np.asarray(row.oracle(host, size), dtype=np.float64)
    given = {name: given_array(library, row, a) for name, a in host.items()}
    found = np.asarray(library.host(piece(library, given, size)()), dtype=np.float64)
    if found.shape != expected.shape:
        raise Wrong(f"the result has shape {found.shape}, NumPy's has {expected.shape}")
    error = float(np.max(np.abs(found - expected), initial=0) / max(float(np.max(np.abs(expected), initial=0)), 1e-300))
    if not error <= row.tolerance:  # so that NaN fails
        raise Wrong(f"the result is off by {error:.3g} of NumPy's largest number, more than {row.tolerance:g}")


def given_array(library: Library, row: Row, host: np.ndarray[Any, Any]) -> Any:
    if row.on_host and isinstance(library, Ours):
        return library.ga.asarray(host)
    return library.array(host)


def operands(library: Library, row: Row, size: SimpleNamespace, seed: int) -> dict[str, Any]:
    made = {}
    for k, (name, (shape, dtype)) in enumerate(row.arrays(size).items()):
        if row.on_host and isinstance(library, Ours):
            made[name] = library.ga.asarray(host_random(shape, dtype, seed + k))
        else:
            made[name] = library.random(shape, dtype, seed + k)
    return made


def host_random(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray[Any, Any]:
    """Random numbers that repeat after a while: memory is filled, and first given out, by all processors at once."""
    array = np.empty(shape, dtype)
    flat = array.reshape(-1)
    block = np.random.default_rng(seed).random(min(flat.size, 1 << 22), dtype=dtype)

    def fill(start: int) -> None:
        part = flat[start : start + block.size]
        part[:] = block[: part.size]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, range(0, flat.size, max(1, block.size))))
    return array


def timed(library: Library, row: Row, piece: Any, size: SimpleNamespace, seed: int, left: float) -> dict[str, Any]:
    given = operands(library, row, size, seed)
    call = piece(library, given, size)
    start = time.monotonic()
    kernels: list[float] = []
    first = library.seconds(call)
    samples: list[float] = []
    if first >= LONG:
        samples = [first]
    while len(samples) < row.repeat and (not samples or time.monotonic() - start < min(left, LONG)):
        samples.append(library.seconds(call))
        if isinstance(library, Ours) and library.on_device is not None:
            kernels.append(library.on_device)
    found: dict[str, Any] = {"seconds": statistics.median(samples), "samples": samples, "first": first}
    if kernels and row.by_kernels:
        found |= {"seconds": statistics.median(kernels), "samples": kernels}
        found |= {"call_seconds": statistics.median(samples), "call_samples": samples}
    if isinstance(library, Ours):
        found |= {"books_nbytes": library.peak_nbytes(), "pool_nbytes": library.pool_nbytes()}
        limit = library.ga.config.get().device_memory
        if limit is not None:
            found["pool_over_limit"] = max(library.peak_nbytes(), library.pool_nbytes()) / limit
        if row.exact:
            found["same_bits"] = same_bits(library, call)
    return found


def same_bits(library: Library, call: Callable[[], Any], runs: int = 3) -> bool:
    """Whether a result has the same bits every time."""
    return len({hashlib.sha256(library.host(call()).tobytes()).digest() for _ in range(runs)}) == 1


if __name__ == "__main__":
    main()
