"""Special functions of real numbers, with SciPy's names and arguments: lazy, fused with the steps around them.

>>> import gpuarray as ga
>>> x = ga.asarray([-1.0, 0.0, 2.0])
>>> (100 * ga.special.ndtr(x)).round(2).compute()
array([15.87, 50.  , 97.72])

Each is `scipy.special`'s function of that name, and ``scipy.special.erf(x)`` on an array of ours is ``special.erf(x)``.
float32 stays float32; all else gives float64, and complex numbers are refused. SciPy is not needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpuarray.array import NDArray
from gpuarray.elementwise import function
from gpuarray.formulas import i0
from gpuarray.kernels.table import ELEMENTWISE

__all__ = [
    "entr",
    "erf",
    "erfc",
    "erfcinv",
    "erfcx",
    "erfinv",
    "expit",
    "exprel",
    "gamma",
    "gammaln",
    "i0",
    "kl_div",
    "log_expit",
    "log_ndtr",
    "logit",
    "ndtr",
    "ndtri",
    "rel_entr",
    "xlog1py",
    "xlogy",
]


def _row(name: str) -> Callable[..., NDArray]:
    made: Any = function(ELEMENTWISE[name])
    made.__module__ = __name__
    return made  # type: ignore[no-any-return]


entr = _row("entr")
erf = _row("erf")
erfc = _row("erfc")
erfcinv = _row("erfcinv")
erfcx = _row("erfcx")
erfinv = _row("erfinv")
expit = _row("expit")
exprel = _row("exprel")
gamma = _row("gamma")
gammaln = _row("gammaln")
kl_div = _row("kl_div")
log_expit = _row("log_expit")
log_ndtr = _row("log_ndtr")
logit = _row("logit")
ndtr = _row("ndtr")
ndtri = _row("ndtri")
rel_entr = _row("rel_entr")
xlog1py = _row("xlog1py")
xlogy = _row("xlogy")
