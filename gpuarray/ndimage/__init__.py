"""Filters of images and volumes, with SciPy's names, arguments and results: lazy, out of core, compiled where it pays.

>>> import gpuarray as ga
>>> x = ga.random.default_rng(0).random((1000, 1000))
>>> edges = ga.ndimage.sobel(ga.ndimage.gaussian_filter(x, sigma=2))
>>> edges[:2, :2].compute().shape
(2, 2)

Each is `scipy.ndimage`'s function of that name. What stands past the ends of the array is chosen by `mode`: "reflect"
(d c b a | a b c d), "mirror" (d c b | a b c d), "nearest", "wrap", "constant" (`cval`) and the "grid-" names.
"""

from __future__ import annotations

from gpuarray.ndimage.derivatives import generic_laplace, laplace, prewitt, sobel
from gpuarray.ndimage.gaussian import (
    gaussian_filter,
    gaussian_filter1d,
    gaussian_gradient_magnitude,
    gaussian_laplace,
    generic_gradient_magnitude,
)
from gpuarray.ndimage.grey import (
    black_tophat,
    grey_closing,
    grey_dilation,
    grey_erosion,
    grey_opening,
    morphological_gradient,
    morphological_laplace,
    white_tophat,
)
from gpuarray.ndimage.linear import (
    convolve,
    convolve1d,
    correlate,
    correlate1d,
    uniform_filter,
    uniform_filter1d,
)
from gpuarray.ndimage.morphology import (
    binary_closing,
    binary_dilation,
    binary_erosion,
    binary_fill_holes,
    binary_hit_or_miss,
    binary_opening,
    binary_propagation,
    generate_binary_structure,
    iterate_structure,
)
from gpuarray.ndimage.order import (
    maximum_filter,
    maximum_filter1d,
    median_filter,
    minimum_filter,
    minimum_filter1d,
    percentile_filter,
    rank_filter,
)

__all__ = [
    "binary_closing",
    "binary_dilation",
    "binary_erosion",
    "binary_fill_holes",
    "binary_hit_or_miss",
    "binary_opening",
    "binary_propagation",
    "black_tophat",
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "gaussian_filter",
    "gaussian_filter1d",
    "gaussian_gradient_magnitude",
    "gaussian_laplace",
    "generate_binary_structure",
    "generic_gradient_magnitude",
    "generic_laplace",
    "grey_closing",
    "grey_dilation",
    "grey_erosion",
    "grey_opening",
    "iterate_structure",
    "laplace",
    "maximum_filter",
    "maximum_filter1d",
    "median_filter",
    "minimum_filter",
    "minimum_filter1d",
    "morphological_gradient",
    "morphological_laplace",
    "percentile_filter",
    "prewitt",
    "rank_filter",
    "sobel",
    "uniform_filter",
    "uniform_filter1d",
    "white_tophat",
]
