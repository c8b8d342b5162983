"""Workers as PBS jobs, one for each GPU or part of a node: python pbs.py --jobs 8 --queue gpu --gpus

Run it where `qsub` works: the scheduler lives in this process, on a login node or in a job of its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from common import standardize
from dask_jobqueue import PBSCluster

# the port that answers health checks has no TLS
QUIET = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]


def arguments(
    *, queue: str | None, project: str | None, gpus: bool, interface: str | None, folder: Path
) -> dict[str, Any]:
    """For `dask_jobqueue.PBSCluster`: one job is one worker."""
    made: dict[str, Any] = {
        "queue": queue,
        "account": project,
        "cores": 8,
        "processes": 1,
        "memory": "64 GB",  # what the job asks PBS for; gpuarray's share of it is --memory
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
        # ngpus is a resource that sites define; that a job sees its own GPU alone is the work of PBS's cgroups hook
        made["resource_spec"] = "select=1:ncpus=8:mem=64gb:ngpus=1"
        # dask-cuda's worker places itself on the cores next to its GPU
        made["worker_command"] = "dask_cuda.cli worker"
        made["worker_extra_args"] = [*QUIET, "--memory-limit", "0", "--device-memory-limit", "0", "--nthreads", "1"]
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--queue")
    parser.add_argument("--project")
    parser.add_argument("--interface", help="of the fast network, such as ib0")
    parser.add_argument("--gpus", action="store_true", help="one for each worker")
    parser.add_argument("--folder", type=Path, default=Path.home() / ".gpuarray-jobs", help="all nodes see it")
    parser.add_argument("--show", action="store_true", help="print the job script and stop")
    parser.add_argument("--memory", default="40 GiB", help="that a worker's chunks may take (default: %(default)s)")
    parser.add_argument("--size", type=int, default=20_000, help="of the matrix (default: %(default)s)")
    options = parser.parse_args()
    options.folder.mkdir(mode=0o700, exist_ok=True)
    given = arguments(
        queue=options.queue,
        project=options.project,
        gpus=options.gpus,
        interface=options.interface,
        folder=options.folder,
    )
    # jobs are handed in here: what the queue refuses is told at once
    with PBSCluster(**given, n_workers=0 if options.show else options.jobs) as cluster:
        if options.show:
            print(cluster.job_script())
            return
        cluster.wait_for_workers(options.jobs, timeout=3600)
        standardize(cluster, size=options.size, host_memory=options.memory, spill_directory="/tmp")


if __name__ == "__main__":
    main()
