"""What every recipe computes: something that needs all workers, and a page about it."""

from __future__ import annotations

from typing import Any

import gpuarray as ga


def standardize(cluster: Any, *, size: int = 20_000, **options: Any) -> float:
    """On the workers of one of dask's clusters: the largest deviation from the mean, in standard deviations."""
    with ga.cluster.Cluster(cluster, **options) as workers, ga.cluster.report("report.html", title="standardize"):
        print(workers)
        x = ga.random.default_rng(0).random((size, size))
        found = float(abs((x - x.mean()) / x.std()).max())
    print(f"{found:.6f}; report.html shows what ran where")
    return found
