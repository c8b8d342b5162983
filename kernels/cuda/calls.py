"""Which kernel serves which arrays, in what grid, with what arguments: arithmetic on addresses, shapes and strides.

One name for what the modules ``*_calls`` make. A call is a plain value: `launch.run` hands it to CuPy.
"""

from __future__ import annotations

from gpuarray.kernels.cuda.call import Address, Call, Empty, Phase, scalar_arguments
from gpuarray.kernels.cuda.elementwise_calls import copy, elementwise, fill
from gpuarray.kernels.cuda.gather_calls import gather
from gpuarray.kernels.cuda.reduction_calls import combine, reduce, reducible
from gpuarray.kernels.cuda.scan_calls import scan, scannable
from gpuarray.kernels.cuda.stencil_calls import Sweep

__all__ = [
    "Address",
    "Call",
    "Empty",
    "Phase",
    "Sweep",
    "combine",
    "copy",
    "elementwise",
    "fill",
    "gather",
    "reduce",
    "reducible",
    "scalar_arguments",
    "scan",
    "scannable",
]
