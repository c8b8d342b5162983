"""``gpuarray cluster``: dask's scheduler and workers from the command line, set up as our clusters need them."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gpuarray.cluster.arguments import LOOPBACK, checked_address, read_scheduler_file, whole
from gpuarray.cluster.clusters import gpu_count
from gpuarray.cluster.security import on_loopback
from gpuarray.kernels.errors import ClusterError, ConfigError

OURS = {
    # the memory is the store's: dask is to spill nothing, to pause nobody and to end no worker for it
    "DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "False",
}
"""dask's configuration for workers."""
_APPEARS = 60.0
"""Seconds that a worker waits for a scheduler file."""


def add_parsers(commands: Any) -> None:
    """Add ``cluster scheduler``, ``cluster worker`` and ``cluster local`` to a command line."""
    cluster = commands.add_parser("cluster", allow_abbrev=False, help="a scheduler, workers, or both on this machine")
    kinds = cluster.add_subparsers(required=True, metavar="what")

    scheduler = kinds.add_parser(
        "scheduler", allow_abbrev=False, help="a scheduler; other options go to `dask scheduler`"
    )
    scheduler.add_argument("--host", default=LOOPBACK, help="where it listens (default: %(default)s)")
    scheduler.add_argument("--port", default="8786", help="default: %(default)s")
    scheduler.add_argument("--scheduler-file", help="a file to write its address to, for workers and clients")
    _tls(scheduler)
    _dashboard(scheduler)
    scheduler.set_defaults(run=_scheduler, passes_on=True)

    worker = kinds.add_parser(
        "worker", allow_abbrev=False, help="workers for a scheduler; other options go to `dask worker`"
    )
    worker.add_argument("address", nargs="?", help="of the scheduler, such as tls://10.0.0.5:8786")
    worker.add_argument("--scheduler-file", help="the file that the scheduler wrote, in place of its address")
    worker.add_argument("--host", help=f"where it listens (default: {LOOPBACK} beside a scheduler that is here)")
    worker.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    worker.add_argument("--nthreads", help="tasks at once, of each worker")
    _tls(worker)
    worker.set_defaults(run=_worker, passes_on=True)

    local = kinds.add_parser("local", allow_abbrev=False, help="a scheduler and workers on this machine, until Ctrl-C")
    local.add_argument(
        "--workers",
        "--n-workers",
        "--nworkers",
        type=int,
        help="how many (default: one for each GPU, or by the processors)",
    )
    local.add_argument(
        "--threads", "--threads-per-worker", "--nthreads", type=int, help="tasks at once, of each worker"
    )
    local.add_argument("--scheduler-file", help="a file to write the address to, for clients")
    _dashboard(local)
    local.set_defaults(run=_local)


def _tls(parser: argparse.ArgumentParser) -> None:
    for name, what in (("ca-file", "certificate authority"), ("cert", "certificate"), ("key", "private key")):
        parser.add_argument(f"--tls-{name}", help=f"file of the {what}")
    parser.add_argument("--insecure", action="store_true", help="beyond this machine without TLS: anybody may run code")


def _dashboard(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dashboard-address", default=f"{LOOPBACK}:8787", help="default: %(default)s")
    parser.add_argument("--no-dashboard", action="store_true")


def scheduler_command(options: argparse.Namespace) -> list[str]:
    """The command line of dask's scheduler.

    Raises ConfigError for one that listens beyond this machine without TLS.
    """
    if not options.port.isdecimal() or int(options.port) > 65535:
        raise ConfigError(f"--port {options.port}: a port is a number from 0 to 65535")
    tls = tls_options(options, on_loopback(options.host), f"--host {options.host}")
    command = [sys.executable, "-m", "dask", "scheduler", "--host", options.host, "--port", options.port, *tls]
    if tls:
        command += ["--protocol", "tls"]
    if options.scheduler_file:
        command += ["--scheduler-file", options.scheduler_file]
    if options.no_dashboard:
        return [*command, "--no-dashboard", "--dashboard-address", f"{LOOPBACK}:0", *options.rest]
    return [*command, "--dashboard-address", options.dashboard_address, *options.rest]


def worker_command(options: argparse.Namespace, gpus: int) -> list[str]:
    """The command line of dask's worker, or of dask-cuda's where there are GPUs.

    Raises ConfigError without a scheduler, and without TLS for a scheduler beyond this machine or a worker that listens
    beyond it; ClusterError for a scheduler file that does not appear.
    """
    if (options.address is None) == (options.scheduler_file is None):
        raise ConfigError("name the scheduler: an address such as tls://10.0.0.5:8786, or --scheduler-file, not both")
    cuda = options.device == "cuda" or (options.device == "auto" and gpus > 0)
    if options.device == "cuda" and not gpus:
        raise ConfigError("--device cuda: this machine has no GPU that can be used")
    nthreads: list[str] = []
    if options.nthreads is not None:
        text = options.nthreads
        nthreads = ["--nthreads", str(whole(int(text) if text.isdecimal() else text, "--nthreads", 1))]
    address = awaited(options.scheduler_file) if options.address is None else checked_address(options.address)
    near = on_loopback(address.partition("://")[2].rsplit(":", 1)[0])
    if near and options.host and not on_loopback(options.host):
        tls = tls_options(options, False, f"--host {options.host}")
    else:
        tls = tls_options(options, near and not address.startswith(("tls://", "wss://")), address)
    command = [sys.executable, "-m", "dask", *(("cuda", "worker") if cuda else ("worker",)), address, *tls, *nthreads]
    if cuda:
        command += ["--device-memory-limit", "0"]
    # dask's default is every address. Beside --host it takes no --interface and no --listen-address
    host = options.host or (LOOPBACK if near and not options.insecure else None)
    command += ["--host", host] if host else []
    # nor has the port that answers health checks any TLS
    return [*command, "--no-dashboard", "--dashboard-address", f"{LOOPBACK}:0", *options.rest]


def awaited(path: str) -> str:
    """The address in a scheduler file, which its scheduler may still be about to write."""
    deadline = time.monotonic() + _APPEARS
    while True:
        try:
            return read_scheduler_file(path)
        except ClusterError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.1)


def tls_options(options: argparse.Namespace, near: bool, what: str) -> list[str]:
    """The options of dask's for TLS; ConfigError where it is needed and not asked for."""
    given = {"ca-file": options.tls_ca_file, "cert": options.tls_cert, "key": options.tls_key}
    if not any(given.values()):
        if not near and not options.insecure:
            raise ConfigError(
                f"{what} is not this machine alone, and whoever reaches it can run code: pass --tls-ca-file, "
                "--tls-cert and --tls-key, or --insecure on a network that you trust"
            )
        return []
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise ConfigError(f"TLS needs all of --tls-ca-file, --tls-cert and --tls-key; --tls-{missing[0]} is missing")
    return [part for name, value in given.items() for part in (f"--tls-{name}", value)]


def _scheduler(options: argparse.Namespace) -> int:
    return become(scheduler_command(options), {})


def _worker(options: argparse.Namespace) -> int:
    gpus = gpu_count() if options.device != "cpu" else 0
    return become(worker_command(options, gpus), OURS)


def become(command: Sequence[str], settings: Mapping[str, str]) -> int:
    """Run a command in place of this process, so that signals reach it."""
    env = {**settings, **os.environ}
    sys.stdout.flush()
    if os.name == "posix":
        os.execve(command[0], list(command), env)
    import subprocess

    return subprocess.run(command, env=env, check=False).returncode


def _local(options: argparse.Namespace) -> int:
    """Workers here until Ctrl-C. Clients set their memory: each opens a `Cluster` around the address."""
    import signal
    import threading

    import dask
    from distributed import LocalCluster

    from gpuarray.cluster.clusters import cuda_cluster

    gpus = gpu_count()
    arguments: dict[str, Any] = {
        "n_workers": None if options.workers is None else whole(options.workers, "--workers", 1),
        "threads_per_worker": None if options.threads is None else whole(options.threads, "--threads", 1),
        "host": LOOPBACK,
        "dashboard_address": f"{LOOPBACK}:0" if options.no_dashboard else options.dashboard_address,
        "scheduler_kwargs": {"dashboard": not options.no_dashboard},
    }
    if gpus:
        arguments |= {"n_workers": options.workers or gpus, "threads_per_worker": options.threads or 1}
        arguments["device_memory_limit"] = 0
    memory = dict.fromkeys(("target", "spill", "pause", "terminate"), False)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with (
        dask.config.set({f"distributed.worker.memory.{name}": value for name, value in memory.items()}),
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"}),  # as in `Cluster`
        (cuda_cluster() if gpus else LocalCluster)(**arguments) as cluster,
    ):
        if options.scheduler_file:
            with open(options.scheduler_file, "w") as file:
                file.write(f'{{"address": "{cluster.scheduler_address}"}}\n')
        print(f"{len(cluster.workers)} workers at {cluster.scheduler_address}; Ctrl-C ends them", flush=True)
        while not stop.wait(1):  # a signal that comes just before the wait wakes nobody
            pass
    return 0
