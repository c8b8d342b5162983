"""Sorting and selecting in files larger than the memory that may be used."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import libraries
from benchmarks.rows import Case, Disagreement, Piece, Row, faster, within

BLOCK = 8 << 20
BUFFER = 1 << 20


def files(case: Case) -> None:
    """Normal numbers in one .npy file."""
    n = case.size.n
    x = np.lib.format.open_memmap(case.folder / "x.npy", mode="w+", dtype="float64", shape=(n,))
    rng = np.random.Generator(np.random.SFC64(0))
    for lo in range(0, n, BLOCK // 8):
        x[lo : lo + BLOCK // 8] = rng.standard_normal(min(BLOCK // 8, n - lo))
    x.flush()


def ours_sort(case: Case) -> Piece:
    ga = libraries.gpuarray()
    ga.config.set(host_memory=case.size.memory, spill_directory=str(case.folder))
    target = case.folder / "sorted.npy"

    def call() -> float:
        ga.sort(ga.from_npy(case.folder / "x.npy", chunks=case.size.chunk)).to_npy(target, overwrite=True)
        some = picked(target)
        return float(np.mean(some)) if bool((some[1:] >= some[:-1]).all()) else float("nan")

    return libraries.ours(ga, call, probe=lambda: {"limit_bytes": float(ga.config.get().host_memory)})


def picked(path: Path, count: int = 10_000) -> np.ndarray[Any, Any]:
    """Elements spread over a file, read one by one: of a file that is mapped, all would count as the sort's memory."""
    with open(path, "rb") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        start, item = file.tell(), dtype.itemsize
        places = range(0, shape[0], max(1, shape[0] // count))
        return np.frombuffer(b"".join(os.pread(file.fileno(), item, start + item * k) for k in places), dtype)


def three_copies(case: Case) -> Piece:
    """Read the file and write as much, three times: what an external sort by fixed steps cannot do without.

    Through one buffer that stays in the cache; the last copy is on the disk when it ends, as a result of `to_npy` is.
    """
    buffer = memoryview(bytearray(BUFFER))

    def copied(source: Path, target: Path, sync: bool) -> None:
        with open(source, "rb", buffering=0) as from_, open(target, "wb", buffering=0) as to:
            while got := from_.readinto(buffer):
                to.write(buffer[:got])
            if sync:
                os.fsync(to.fileno())

    def call() -> float:
        names = [case.folder / name for name in ("x.npy", "1.npy", "2.npy", "3.npy")]
        for source, target in itertools.pairwise(names):
            copied(source, target, sync=target == names[-1])
            if source != names[0]:
                os.unlink(source)
        return 0.0

    return Piece(call)


def ours_median(case: Case) -> Piece:
    ga = libraries.gpuarray()
    ga.config.set(host_memory=case.size.memory)
    x = ga.from_npy(case.folder / "x.npy", chunks=case.size.chunk)

    def passes() -> float:
        from gpuarray.graph.fold import Fold
        from gpuarray.run import make_plan
        from gpuarray.sinks import ArraySink

        plan = make_plan([ga.median(x).node], [ArraySink(np.empty(()))])
        return float(sum(any(isinstance(o.node, Fold) for o in s.outputs) for s in plan.program))

    return libraries.ours(ga, lambda: float(ga.median(x)), probe=lambda: {"passes": passes()})


def in_memory_median(case: Case) -> Piece:
    return Piece(lambda: float(np.median(np.load(case.folder / "x.npy"))))


def check_sort(values: Mapping[str, Any], case: Case) -> None:
    """The elements picked are in order, and evenly spread quantiles of a normal distribution have mean zero."""
    if not abs(values["gpuarray"]) < 0.05:
        raise Disagreement(f"gpuarray: the sorted elements have mean {values['gpuarray']}")


def check_median(values: Mapping[str, Any], case: Case) -> None:
    if len(set(values.values())) > 1:
        raise Disagreement(f"the medians differ: {dict(values)}")


SIZES: dict[str, Mapping[str, Any]] = {
    "full": {"n": 500_000_000, "chunk": 4_000_000, "gb": 4, "memory": "500 MiB"},
    "quick": {"n": 5_000_000, "chunk": 100_000, "gb": 0.04, "memory": "40 MiB"},
}

ROWS = [
    Row(
        "sort-file",
        "sort(x), x of {gb} GB float64 in .npy, host_memory={memory!r}",
        {"gpuarray": ours_sort, "read and write it three times": three_copies},
        full=SIZES["full"],
        quick=SIZES["quick"],
        targets=(
            faster("read and write it three times", 0.5),
            within("peak_bytes", 1.1 * (500 << 20)),
            within("engine_bytes", 500 << 20),
        ),
        check=check_sort,
        files=files,
        notes="runs, and a merge of parts of them: whatever the values are, it reads and writes the data twice",
    ),
    Row(
        "median-file",
        "median(x), x of {gb} GB float64 in .npy, host_memory={memory!r}",
        {"gpuarray": ours_median, "NumPy in memory": in_memory_median},
        full=SIZES["full"],
        quick=SIZES["quick"],
        targets=(within("passes", 4), within("engine_bytes", 500 << 20)),
        check=check_median,
        files=files,
        notes="exact, two bytes of the elements in each pass",
    ),
]
