"""Workers in Kubernetes, by dask's operator: python kube.py --image registry.example.org/gpuarray:cpu

kubernetes.yaml beside this file says what they are, and how the operator is installed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml
from common import standardize
from dask_kubernetes.operator import KubeCluster

HERE = Path(__file__).resolve().parent


def resource(image: str, workers: int) -> dict[str, Any]:
    """The DaskCluster of kubernetes.yaml, with this image and so many workers."""
    documents = yaml.safe_load_all((HERE / "kubernetes.yaml").read_text())
    found: dict[str, Any] = next(d for d in documents if d["kind"] == "DaskCluster")
    spec = found["spec"]
    for part in (spec["scheduler"], spec["worker"]):
        part["spec"]["containers"][0]["image"] = image
    spec["worker"]["replicas"] = workers
    return found


def arguments(image: str, workers: int, namespace: str) -> dict[str, Any]:
    """For `dask_kubernetes.operator.KubeCluster`."""
    made = resource(image, workers)
    return {"namespace": namespace, "custom_cluster_spec": made, "n_workers": workers, "resource_timeout": 600}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--image", required=True, help="with the same gpuarray and Python as here")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--namespace", default="gpuarray")
    parser.add_argument("--memory", default="10 GiB", help="that a worker's chunks may take (default: %(default)s)")
    parser.add_argument("--size", type=int, default=20_000, help="of the matrix (default: %(default)s)")
    options = parser.parse_args()
    with KubeCluster(**arguments(options.image, options.workers, options.namespace)) as cluster:
        cluster.wait_for_workers(options.workers, timeout=600)
        # by way of a port on this machine that kubectl forwards, encrypted
        standardize(cluster, size=options.size, host_memory=options.memory, spill_directory="/var/spool/gpuarray")


if __name__ == "__main__":
    main()
