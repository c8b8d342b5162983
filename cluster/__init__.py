"""Where and when tasks run, and where their bytes live. Knows tasks; knows no arrays' meaning.

For users: `Cluster` and `report`.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "Cluster":  # dask.distributed takes a while to import
        from gpuarray.cluster.clusters import Cluster

        return Cluster
    if name == "report":
        from gpuarray.cluster.reporting import report

        return report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
