"""What is here: versions, devices, limits, and what works with them. `gpuarray info` prints it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, distributions, version
from importlib.util import find_spec
from typing import Any

from gpuarray import _origin, config
from gpuarray._version import __version__
from gpuarray.cluster.host import available_memory, available_threads
from gpuarray.cluster.sizes import format_bytes
from gpuarray.kernels.pruning import usage

_PACKAGES = ("numpy", "numba", "numba-cuda", "zarr", "h5py", "dask", "distributed", "dask-cuda", "xarray", "matplotlib")


@dataclass(frozen=True, slots=True)
class Device:
    """One place where arrays are computed."""

    name: str
    model: str
    memory: int
    """Bytes there are."""
    free: int


@dataclass(frozen=True, slots=True)
class Ability:
    """Something that needs more than the base packages, and whether it would work now."""

    name: str
    works: bool
    remark: str
    """Why not and the way out; where it works, an empty text."""


def versions() -> dict[str, str]:
    """The version of this package, of Python and of each package that is installed.

    >>> versions()["python"] == platform.python_version()
    True
    """
    found = {"gpuarray-engine": __version__, "python": platform.python_version()}
    for name in (*_PACKAGES, *_cupy_packages()):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def devices() -> list[Device]:
    """The CPU, then every CUDA device that can be used.

    >>> devices()[0].name
    'cpu'
    """
    import psutil

    cpu = Device("cpu", f"{available_threads()} threads", int(psutil.virtual_memory().total), available_memory())
    return [cpu, *_cuda()[0]]


def abilities() -> list[Ability]:
    """What works here, and for what does not, what is missing."""
    gpus, trouble = _cuda()
    found = [
        Ability("compute on a GPU", bool(gpus), trouble),
        _needs("read and write zarr", "zarr", extra="io"),
        _needs("read and write HDF5", "h5py", extra="io"),
        _needs("run on a cluster", "distributed", extra="cluster"),
        _needs("draw pictures", "matplotlib", extra="plot"),
    ]
    if gpus:
        found.insert(1, _needs("one worker per GPU", "dask_cuda", extra="cluster-cuda12 or cluster-cuda13"))
    return found


def report() -> dict[str, Any]:
    """All of it as plain data, for ``gpuarray info --json`` and bug reports.

    >>> sorted(report())
    ['abilities', 'devices', 'limits', 'other_gpuarray', 'platform', 'settings', 'versions']
    """
    settings = config.get()
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "devices": [_plain(device) for device in devices()],
        "limits": {
            "host_memory": settings.host_limit(),
            "threads": settings.thread_count(),
            "spill_directory": str(settings.spill_path()),
            "cache_directory": str(settings.cache_path()),
            "cache_nbytes": usage(settings.cache_path())[1],
        },
        "settings": {
            name: {"value": getattr(settings, name), "source": source} for name, source in config.sources().items()
        },
        "abilities": [_plain(ability) for ability in abilities()],
        "other_gpuarray": _origin.other(),
    }


def text() -> str:
    """The same for people."""
    here = report()
    lines = ["versions"]
    lines += [f"  {name:<17}{value}" for name, value in here["versions"].items()]
    lines += [f"  {'platform':<17}{here['platform']}", "", "devices"]
    for device in here["devices"]:
        free, memory = format_bytes(device["free"]), format_bytes(device["memory"])
        lines.append(f"  {device['name']:<17}{device['model']}, {free} free of {memory}")
    lines += ["", "limits"]
    for name, value in here["limits"].items():
        lines.append(f"  {name:<17}{format_bytes(value) if name in ('host_memory', 'cache_nbytes') else value}")
    chosen = {name: given for name, given in here["settings"].items() if given["source"] != "default"}
    if chosen:
        lines += ["", "settings"]
        lines += [f"  {name} = {given['value']!r} ({given['source']})" for name, given in chosen.items()]
    lines += ["", "what works"]
    for ability in here["abilities"]:
        lines.append(f"  {'yes' if ability['works'] else 'no ':<5}{ability['name']}  {ability['remark']}".rstrip())
    if here["other_gpuarray"]:
        lines += ["", f"another project called gpuarray is in {here['other_gpuarray']}: run `pip uninstall gpuarray`"]
    return "\n".join(lines)


def _plain(item: Device | Ability) -> dict[str, Any]:
    return {f.name: getattr(item, f.name) for f in fields(item)}


def _needs(name: str, module: str, *, extra: str) -> Ability:
    works = find_spec(module) is not None
    return Ability(name, works, "" if works else f"{module} is not installed; pip install -e '.[{extra}]'")


def _cupy_packages() -> list[str]:
    """Every installed distribution of cupy; it has one for each version of CUDA, and two break each other."""
    names = {(distribution.name or "").lower() for distribution in distributions()}
    return sorted(name for name in names if name == "cupy" or name.startswith("cupy-cuda"))


def _cuda() -> tuple[list[Device], str]:
    """The usable CUDA devices, and what is in the way where there is none."""
    packages = _cupy_packages()
    if not packages:
        return [], "cupy is not installed; pip install -e '.[cuda12]' or '.[cuda13]'"
    if len(packages) > 1:
        return [], f"{' and '.join(packages)} break each other; uninstall them all, then install one"
    try:
        import cupy

        if not cupy.cuda.is_available():
            hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
            why = f" (CUDA_VISIBLE_DEVICES={hidden!r})" if hidden is not None else ""
            return [], f"{packages[0]} is installed, but finds no CUDA device or driver{why}"
        runtime = cupy.cuda.runtime
        found = []
        for number in range(runtime.getDeviceCount()):
            properties = runtime.getDeviceProperties(number)
            with cupy.cuda.Device(number):
                free, memory = runtime.memGetInfo()
            found.append(Device(f"cuda:{number}", properties["name"].decode(), int(memory), int(free)))
    except Exception as error:  # a broken driver raises errors of many kinds; a report must not fail on any
        return [], f"{packages[0]} fails: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    driver, toolkit = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if driver // 1000 < toolkit // 1000:
        return [], f"the driver knows CUDA {driver // 1000}, {packages[0]} is for {toolkit // 1000}; update the driver"
    if find_spec("numba_cuda") is None:
        return [], f"numba-cuda is not installed; pip install -e '.[cuda{toolkit // 1000}]'"
    return found, ""
