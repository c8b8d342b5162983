"""Covariances and correlations of variables."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.elementwise import apply, cast
from gpuarray.joining import concatenate
from gpuarray.numeric import clip
from gpuarray.reductions import sum
from gpuarray.statistics import average


def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> NDArray:
    """The covariance of variables, which are rows (or columns, where `rowvar` is False).

    >>> import gpuarray as ga
    >>> ga.cov([[0, 1, 2], [2, 1, 0]]).compute()
    array([[ 1., -1.],
           [-1.,  1.]])

    Arguments as in `numpy.cov`. Two passes over the data: means, then products. Raises ValueError for more than two
    dimensions and weights that do not fit, TypeError for frequencies that are no integers.
    """
    if ddof is not None and ddof != int(ddof):
        raise ValueError("ddof must be integer")
    first = asarray(m)
    if first.ndim > 2:
        raise ValueError(f"m has more than 2 dimensions: shape {first.shape}")
    second = None if y is None else asarray(y)
    if second is not None and second.ndim > 2:
        raise ValueError(f"y has more than 2 dimensions: shape {second.shape}")
    natural = np.result_type(first.dtype, first.dtype if second is None else second.dtype, np.float64)
    kind: np.dtype[Any] = natural if dtype is None else np.dtype(dtype)
    x = _rows(first, rowvar, kind)
    if not x.shape[0]:
        return asarray(np.zeros((0, 0), kind))
    if second is not None:
        x = concatenate([x, _rows(second, rowvar, kind)], axis=0)
    ddof = (0 if bias else 1) if ddof is None else ddof
    weights = _weights(fweights, aweights, x.shape[1])
    mean = average(x, axis=1, weights=weights)
    total: Any = x.shape[1] if weights is None else sum(weights)
    if weights is None:
        factor: Any = total - ddof
    elif ddof == 0:
        factor = total
    elif aweights is None:
        factor = total - ddof
    else:
        factor = total - ddof * sum(weights * asarray(aweights)) / total
    x = x - mean[:, None]
    heavy = x if weights is None else x * weights
    turned = heavy.T
    factor = apply("maximum", factor, 0.0) if isinstance(factor, NDArray) else max(0.0, float(factor))
    made = x @ (apply("conjugate", turned) if turned.dtype.kind == "c" else turned)
    made = apply("divide", made, factor)
    made = made[0, 0] if made.shape == (1, 1) else made
    return NDArray(cast(made.node, kind)) if made.dtype != kind else made


def _rows(a: NDArray, rowvar: bool, kind: np.dtype[Any]) -> NDArray:
    x = NDArray(cast(a.node, kind))
    if x.ndim < 2:
        return x.reshape((1, -1)) if x.ndim else x.reshape((1, 1))
    return x if rowvar or x.shape[0] == 1 else x.T


def _weights(frequencies: Any, importance: Any, n: int) -> NDArray | None:
    """What each observation counts."""
    found: NDArray | None = None
    for given, name in ((frequencies, "fweights"), (importance, "aweights")):
        if given is None:
            continue
        w = np.asarray(given, dtype=float)
        if name == "fweights" and not np.all(w == np.around(w)):
            raise TypeError("fweights must be integer")
        if w.ndim > 1:
            raise RuntimeError(f"cannot handle multidimensional {name}")
        if w.shape[0] != n:
            raise RuntimeError(f"incompatible numbers of samples and {name}")
        if (w < 0).any():
            raise ValueError(f"{name} cannot be negative")
        found = asarray(w) if found is None else found * w
    return found


def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> NDArray:
    """The correlation coefficients of variables.

    >>> import gpuarray as ga
    >>> ga.corrcoef([[0, 1, 2], [2, 1, 0]]).compute()
    array([[ 1., -1.],
           [-1.,  1.]])

    Arguments as in `numpy.corrcoef`; see `cov`.
    """
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return c / c
    from gpuarray.gathering import diagonal

    spread = apply("sqrt", apply("real", diagonal(c)))
    c = c / spread[:, None] / spread[None, :]
    if c.dtype.kind != "c":
        return clip(c, -1, 1)
    return clip(apply("real", c), -1, 1) + 1j * clip(apply("imag", c), -1, 1)
