"""The demonstration: statistics of an array that is larger than the memory they may use, checked and drawn.

climate    the data: a made-up record of temperatures, as one lazy expression
watch      the memory of the process and the bytes it reads and writes, over time
check      the same results by a plain loop over the files in NumPy
report     what is printed
picture    what is drawn
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gpuarray.cluster.sizes import format_bytes
from gpuarray.demo.watch import Watch
from gpuarray.errors import ConfigError, MissingPackageError, StorageError

SMALLEST = 10**6
"""Bytes below which there is nothing to see."""
TOLERANCE = 0.1
"""By how much of the limit the process may exceed it: what the allocator and the interpreter keep to themselves."""
PICTURE = "gpuarray-demo.png"

_Z, _MAP, _WAVES, _BELTS = range(4)


def main(size: int, memory: int, directory: Path | None = None, keep: bool = False) -> int:
    """Run the demonstration and return the exit status: 0, or 1 if a result is wrong or memory exceeds its limit.

    A record of temperatures (time, latitude, longitude) is made and written to zarr; then one run reads it twice:
    for its mean and deviation, and to write the standardised record and reduce it along each axis.

    Parameters
    ----------
    size : bytes of the record; about twice as much is written to disk
    memory : bytes that each run may use, on the host and on a device
    directory : where the files and the picture go; None is the folder ``demo`` here
    keep : leave the two zarr arrays there

    Raises
    ------
    MissingPackageError
        if zarr or matplotlib is not installed.
    ConfigError
        if `size` is too small.
    StorageError
        if the disk has too little room.
    MemoryLimitError
        if `memory` is too little for a task.
    """
    _check_packages()
    if size < SMALLEST:
        raise ConfigError(f"size={format_bytes(size)} is too small to show anything; take {format_bytes(SMALLEST)}")
    folder = (Path("demo") if directory is None else directory).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    _check_room(folder, size)
    with ExitStack() as stack:
        data = Path(tempfile.mkdtemp(prefix="data-", dir=folder))
        if not keep:
            stack.callback(shutil.rmtree, data, ignore_errors=True)
        return _show(size, memory, data, folder / PICTURE, keep)


def _show(size: int, memory: int, data: Path, picture: Path, keep: bool) -> int:
    import gpuarray as ga
    from gpuarray.demo import check, climate, report
    from gpuarray.demo import picture as drawing

    grid = climate.grid_of(size)
    report.title(grid, memory, data)
    with ga.config.set(host_memory=memory, device_memory=memory):
        report.ready(_warm_up(data))
        watch = Watch()
        with watch:
            with watch.phase("make"):
                _write(ga, grid, data / "x.zarr")
            plan, results = _standardise(ga, data, watch)
            with watch.phase("check", judged=False):
                findings = check.compare(data / "x.zarr", data / "z.zarr", results, report.counting())
    excess = watch.peak > (1 + TOLERANCE) * memory
    report.phases(watch)
    report.plan(plan)
    report.memory(watch, memory, excess)
    report.findings(findings)
    drawing.draw(results, grid, watch, memory, picture)
    if keep:
        print(f"kept        {data}")
    print(f"picture     {picture}")
    return int(excess or not all(f.fine for f in findings))


def _warm_up(data: Path) -> float:
    """The same on a small record, so that neither compiling nor imports are taken for the work's memory and time.

    Returns the seconds it takes.
    """
    import gpuarray as ga
    from gpuarray.demo import climate

    begin = time.monotonic()
    with (
        ga.config.set(compile="always", host_memory="1 GiB", progress=False),
        tempfile.TemporaryDirectory(dir=data) as d,
    ):
        _write(ga, climate.grid_of(SMALLEST), Path(d) / "x.zarr")
        _standardise(ga, Path(d), None)
    return time.monotonic() - begin


def _write(ga: Any, grid: Any, path: Path) -> None:
    from gpuarray.demo import climate

    # noise does not compress: trying would only take time
    climate.temperature(ga, grid).to_zarr(path, chunks=grid.chunks, compressors=None)


def _standardise(ga: Any, data: Path, watch: Watch | None) -> tuple[Any, list[Any]]:
    """Everything in one run. Returns its plan, and the mean of z along each axis after the zarr array of z."""
    import zarr

    written: Any = zarr.open_array(data / "x.zarr", mode="r")
    x = ga.from_zarr(data / "x.zarr", chunks=written.chunks)  # so that z is cut as its zarr array
    z = (x - x.mean()) / x.std()
    arrays = [z, z.mean(axis=0), z.mean(axis=1), z.mean(axis=2)]
    plan = ga.explain(*arrays, then="store")
    store: Any = zarr.create_array(
        data / "z.zarr", shape=z.shape, chunks=written.chunks, dtype=z.dtype, compressors=None
    )
    targets = [store, *(np.empty(a.shape, a.dtype) for a in arrays[1:])]
    if watch is None:
        ga.store(arrays, targets)
    else:
        with watch.stages(["mean, deviation", "standardise, reduce, write"]):
            ga.store(arrays, targets)
    return plan, targets


def _check_packages() -> None:
    missing = [name for name in ("zarr", "matplotlib") if find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f"the demonstration needs {' and '.join(missing)}: pip install 'gpuarray-engine[io,plot]' "
            "(from a checkout: pip install -e '.[io,plot]', or make demo)"
        )


def _check_room(folder: Path, size: int) -> None:
    need, free = int(2.05 * size) + (50 << 20), shutil.disk_usage(folder).free
    if need > free:
        raise StorageError(
            f"two zarr arrays of {format_bytes(size)} need {format_bytes(need)} of disk, {folder} has "
            f"{format_bytes(free)} free; name another folder with --directory, or a smaller --size"
        )
