"""What settings may be: each function makes what `gpuarray.config.Settings` holds of what a user writes.

They raise ConfigError, which says what to write instead.
"""

from __future__ import annotations

import os
import re
from typing import Any, Literal, cast

from gpuarray.cluster.host import physical_memory
from gpuarray.cluster.sizes import parse_bytes
from gpuarray.errors import ConfigError
from gpuarray.kernels.devices import NAMES

MOST_THREADS = 1024


def device(value: object, name: str) -> str:
    if isinstance(value, str) and re.fullmatch(NAMES, value):
        return value
    raise ConfigError(
        f'{name}={value!r} is no device; write "auto", "cpu", "cuda" or "cuda:N" with N = 0, 1, ..., or for several '
        '"cuda:0,1" or "cuda:all"'
    )


def size(value: object, name: str) -> int:
    return cast(int, parse_bytes(value, name))  # None never comes here


def host_size(value: object, name: str) -> int:
    return cast(int, parse_bytes(value, name, most=physical_memory()))


def directory(value: object, name: str) -> str:
    if isinstance(value, str | os.PathLike):
        path = os.fspath(value)
        if isinstance(path, str) and path.strip() and "\0" not in path:
            return os.path.abspath(os.path.expanduser(path))
    raise ConfigError(f'{name}={value!r} is no folder; write a path such as "/scratch/me"')


def threads(value: object, name: str) -> int:
    number = int(value) if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value) else value
    if isinstance(number, bool) or not hasattr(number, "__index__") or not 1 <= number.__index__() <= MOST_THREADS:
        raise ConfigError(f"{name}={value!r} is no number of threads; write an integer from 1 to {MOST_THREADS}")
    return int(number.__index__())


def progress(value: object, name: str) -> bool | Literal["auto"]:
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else None
    if word == "auto":
        return "auto"
    if word in ("true", "yes", "on", "1", "false", "no", "off", "0"):
        return word in ("true", "yes", "on", "1")
    raise ConfigError(f'{name}={value!r} is no choice; write "auto", True or False')


def compile(value: object, name: str) -> str:
    if isinstance(value, str) and value in ("auto", "always", "never"):
        return value
    raise ConfigError(f'{name}={value!r} is no choice; write "auto", "always" or "never"')


def scheduler(value: object, name: str) -> str:
    if isinstance(value, str) and value in ("auto", "threads", "single-threaded"):
        return value
    raise ConfigError(f'{name}={value!r} is no choice; write "auto", "threads" or "single-threaded"')


def executor(value: object, name: str) -> Any:
    if callable(getattr(value, "submit", None)) and not isinstance(value, type):
        return value
    raise ConfigError(
        f"{name}={value!r} has no method submit: pass a concurrent.futures.Executor, such as "
        "ProcessPoolExecutor(); for dask, open a gpuarray.cluster.Cluster"
    )
