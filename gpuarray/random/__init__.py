"""Random arrays: the same for the same seed, whatever the chunks, the device and the number of workers.

>>> import gpuarray as ga
>>> rng = ga.random.default_rng(0)
>>> rng.normal(size=(1000, 1000)).shape
(1000, 1000)
"""

from __future__ import annotations

from gpuarray.random.generator import Generator, default_rng

__all__ = ["Generator", "default_rng"]


def __getattr__(name: str) -> object:
    import numpy as np

    if hasattr(np.random, name):
        raise AttributeError(
            f"gpuarray.random has no {name}: it is of NumPy's old generator, with a state that all calls share, or of "
            "its bit generators; write rng = gpuarray.random.default_rng(seed), and rng.random(...), rng.normal(...)"
        )
    raise AttributeError(f"module 'gpuarray.random' has no attribute {name!r}")
