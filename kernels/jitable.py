"""The names that the scalar code of the table may use, callable from compiled code. Importing this imports Numba."""

from __future__ import annotations

import inspect
from typing import Any

from numba.extending import register_jitable

from gpuarray.kernels import intrinsics, philox, philox_cpu, scalar

_OPTIONS = {"forceinline": True, "error_model": "numpy"}


def _functions(module: Any) -> dict[str, Any]:
    return {k: f for k, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__}


for _function in _functions(scalar).values():
    register_jitable(**_OPTIONS)(_function)

_NAMES = _functions(scalar) | _functions(philox)
_NAMES |= {name: value for name, value in vars(intrinsics).items() if type(value).__name__ == "_Intrinsic"}
globals().update(_NAMES)
__all__ = sorted(_NAMES)
assert philox_cpu.VERSION == philox.VERSION
