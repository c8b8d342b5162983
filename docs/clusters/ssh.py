"""Workers on machines that SSH reaches: python ssh.py scheduler-host worker-host worker-host ...

Certificates are made once, on a home that all machines share (or copied to the same place on each):

    mkdir -p ~/.config/gpuarray/tls && cd ~/.config/gpuarray/tls && umask 077
    openssl req -x509 -newkey rsa:3072 -nodes -days 365 -subj /CN=gpuarray -keyout key.pem -out cert.pem
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import dask
from common import standardize
from distributed import Security, SSHCluster

TLS = Path.home() / ".config" / "gpuarray" / "tls"


def security(folder: Path) -> Security:
    """Whoever has these files may run code on the workers; nobody else."""
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    names = {f"tls_{role}_{what}": path for role in ("scheduler", "worker", "client") for what, path in
             (("cert", cert), ("key", key))}  # fmt: skip
    return Security(tls_ca_file=cert, require_encryption=True, **names)


def configuration(folder: Path) -> dict[str, Any]:
    """dask's settings, which SSHCluster hands on to the processes that it starts."""
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    both = {"cert": cert, "key": key}
    return {
        "distributed.comm.require-encryption": True,
        "distributed.comm.tls.ca-file": cert,
        "distributed.comm.tls.scheduler": both,
        "distributed.comm.tls.worker": both,
        "distributed.comm.tls.client": both,
    }


def arguments(hosts: list[str], threads: int, folder: Path, interface: str | None = None) -> dict[str, Any]:
    """For `distributed.SSHCluster`; the first host has the scheduler."""
    both = {"protocol": "tls://", "interface": interface}
    return {
        "hosts": hosts,
        # the machines' keys are checked against ~/.ssh/known_hosts, as ssh does
        "worker_options": {**both, "nthreads": threads, "memory_limit": 0, "dashboard_address": "127.0.0.1:0"},
        # should this program be killed, the processes on the machines end too, an hour after the last task
        "scheduler_options": {**both, "port": 0, "dashboard_address": "127.0.0.1:8787", "idle_timeout": "1 hour"},
        "security": security(folder),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("hosts", nargs="+", help="the scheduler's, then the workers'")
    parser.add_argument("--threads", type=int, default=8, help="of each worker")
    parser.add_argument("--interface", help="on which they listen, such as ib0 (default: all)")
    parser.add_argument("--tls", type=Path, default=TLS, help="folder of cert.pem and key.pem")
    parser.add_argument("--memory", default="16 GiB", help="that a worker's chunks may take (default: %(default)s)")
    parser.add_argument("--size", type=int, default=20_000, help="of the matrix (default: %(default)s)")
    options = parser.parse_args()
    given = arguments(options.hosts, options.threads, options.tls, options.interface)
    with dask.config.set(configuration(options.tls)), SSHCluster(**given) as cluster:
        standardize(cluster, size=options.size, host_memory=options.memory, spill_directory="/tmp")


if __name__ == "__main__":
    main()
