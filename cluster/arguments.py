"""The arguments of clusters, checked."""

from __future__ import annotations

import difflib
import inspect
import json
import numbers
import re
from pathlib import Path
from typing import Any

from gpuarray.kernels.errors import ClusterError, ConfigError

LOOPBACK = "127.0.0.1"
OURS = ("device", "device_memory", "host_memory", "retries", "scheduler_file", "spill_directory", "timeout")
"""Arguments of `Cluster` that are not dask's."""
_DEVICE = r"auto|cpu|fake|cuda"


def whole(value: object, name: str, least: int) -> int:
    """A whole number of at least `least`, or ConfigError."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ConfigError(f"{name}={value!r} must be a whole number of {least} or more")
    return int(value)


def seconds(value: object, name: str) -> float:
    """A time, or ConfigError."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < 1e7:
        raise ConfigError(f"{name}={value!r} must be a positive number of seconds")
    return float(value)


def checked_device(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(_DEVICE, value):
        raise ConfigError(f'device={value!r} is no device of workers; write "auto", "cpu" or "cuda" (one GPU for each)')
    return value


def checked_address(value: object) -> str:
    """A scheduler's address with its protocol, or ConfigError."""
    pattern = r"(?:(tcp|tls|ucx|ucxx|ws|wss|inproc)://)?[\w.\-\[\]:%/]+"
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ConfigError(
            f"{value!r} is no address of a scheduler, no Client and no cluster of dask's; an address looks like "
            '"tls://10.0.0.5:8786" or "127.0.0.1:8786"'
        )
    if "://" not in value:
        value = f"tcp://{value}"
    if not value.startswith("inproc") and not re.search(r":[0-9]{1,5}$", value):
        raise ConfigError(f"the address {value!r} has no port; write one, such as {value}:8786")
    return value


def read_scheduler_file(path: Any) -> str:
    """The address in a scheduler file."""
    try:
        found = json.loads(Path(path).read_text())
        address = found["address"]
    except FileNotFoundError:
        raise ClusterError(f"there is no scheduler file {path}; is the scheduler running?") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(f"{path} is no scheduler file ({type(error).__name__}: {error})") from error
    return checked_address(address)


def checked_options(options: dict[str, Any], *takers: Any) -> None:
    """ConfigError for options that none of dask's classes knows: told now, not by each worker as it fails to start."""
    known = {name for taker in takers for name in inspect.signature(taker).parameters} - {"kwargs", "self"}
    for name in options.keys() - known:
        near = difflib.get_close_matches(name, {*known, *OURS}, 1)
        hint = f"; did you mean {near[0]}=?" if near else ""
        raise ConfigError(f"{name}= is no argument of Cluster, nor of dask's LocalCluster and workers{hint}")


def dashboard_address(dashboard: bool | str) -> str:
    """Where the dashboard listens: dask's own default is every interface. ConfigError for what is no address."""
    port = re.search(r":([0-9]+)$", dashboard) if isinstance(dashboard, str) else None
    if not isinstance(dashboard, bool) and (port is None or int(port[1]) > 65535):
        raise ConfigError(
            f'dashboard={dashboard!r} is no address; write True, False, ":8787", or a host and a port of at most 65535'
        )
    if dashboard is False:  # dask's scheduler serves its health over HTTP in any case
        return f"{LOOPBACK}:0"
    if dashboard is True:
        return f"{LOOPBACK}:8787"
    return f"{LOOPBACK}{dashboard}" if dashboard.startswith(":") else dashboard
