"""Workers as SLURM jobs, one for each GPU or part of a node: python slurm.py --jobs 8 --partition gpu --gpus

Run it where `sbatch` works: the scheduler lives in this process, on a login node or in a job of its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from common import standardize
from dask_jobqueue import SLURMCluster

# the port that answers health checks has no TLS
QUIET = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]


def arguments(
    *, partition: str | None, account: str | None, gpus: bool, interface: str | None, folder: Path
) -> dict[str, Any]:
    """For `dask_jobqueue.SLURMCluster`: one job is one worker."""
    made: dict[str, Any] = {
        "queue": partition,
        "account": account,
        "cores": 8,
        "processes": 1,
        "memory": "64 GB",  # what the job asks SLURM for; gpuarray's share of it is --memory
        "walltime": "01:00:00",
        "interface": interface,
        "local_directory": "/tmp",
        "log_directory": str(folder / "logs"),
        "worker_extra_args": [*QUIET, "--memory-limit", "0"],
        # TLS with certificates that exist for this run; the jobs read them from a folder of yours
        "security": True,
        "shared_temp_directory": str(folder),
        "scheduler_options": {"dashboard_address": "127.0.0.1:8787"},
    }
    if gpus:
        made["job_extra_directives"] = ["--gpus-per-task=1"]
        # dask-cuda's worker: SLURM shows it one GPU, and it places itself on the cores next to that
        made["worker_command"] = "dask_cuda.cli worker"
        made["worker_extra_args"] = [*QUIET, "--memory-limit", "0", "--device-memory-limit", "0", "--nthreads", "1"]
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--partition")
    parser.add_argument("--account")
    parser.add_argument("--interface", help="of the fast network, such as ib0")
    parser.add_argument("--gpus", action="store_true", help="one for each worker")
    parser.add_argument("--folder", type=Path, default=Path.home() / ".gpuarray-jobs", help="all nodes see it")
    parser.add_argument("--show", action="store_true", help="print the job script and stop")
    parser.add_argument("--memory", default="40 GiB", help="that a worker's chunks may take (default: %(default)s)")
    parser.add_argument("--size", type=int, default=20_000, help="of the matrix (default: %(default)s)")
    options = parser.parse_args()
    options.folder.mkdir(mode=0o700, exist_ok=True)
    given = arguments(
        partition=options.partition,
        account=options.account,
        gpus=options.gpus,
        interface=options.interface,
        folder=options.folder,
    )
    # jobs are handed in here: what the queue refuses is told at once
    with SLURMCluster(**given, n_workers=0 if options.show else options.jobs) as cluster:
        if options.show:
            print(cluster.job_script())
            return
        cluster.wait_for_workers(options.jobs, timeout=3600)
        standardize(cluster, size=options.size, host_memory=options.memory, spill_directory="/tmp")


if __name__ == "__main__":
    main()
