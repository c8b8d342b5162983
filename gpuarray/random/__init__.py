"""Random arrays: the same for the same seed, whatever the chunks, the device and the number of workers.

>>> import gpuarray as ga
>>> rng = ga.random.default_rng(0)
>>> rng.normal(size=(1000, 1000)).shape
(1000, 1000)
"""

from __future__ import annotations

from gpuarray.random.generator import Generator, default_rng

__all__ = ["Generator", "default_rng"]
