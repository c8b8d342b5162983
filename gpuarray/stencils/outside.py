"""What a traced function reads from outside, as a key: a trace is used again only while that is the same."""

from __future__ import annotations

import sys
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np

from gpuarray.stencils.names import outside
from gpuarray.stencils.source import source_of

LARGE = 2**16
"""Bytes of an array that are compared; functions that read larger ones are traced anew."""


class Unknown(Exception):
    """A value that may change without being seen."""


def key_of(value: Any, seen: frozenset[int] = frozenset()) -> Any:
    """A hashable that differs where a value does. Raises Unknown where that cannot be told."""
    if value is None or isinstance(value, (str, bytes)):
        return value
    if isinstance(value, (bool, int, float, complex)):
        return type(value), repr(value)
    if isinstance(value, (np.generic, np.ndarray)):
        if value.nbytes > LARGE or value.dtype.hasobject:
            raise Unknown
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, (tuple, list)):
        return type(value), tuple(key_of(v, seen) for v in value)
    if isinstance(value, dict):
        return tuple((key_of(k, seen), key_of(v, seen)) for k, v in value.items())
    if isinstance(value, range):
        return value
    if isinstance(value, FunctionType):
        return _key_of_function(value, seen)
    if isinstance(value, (BuiltinFunctionType, np.ufunc, type)):
        return value
    if isinstance(value, ModuleType) and _is_library(value.__name__):
        return value
    wrapped = getattr(value, "__wrapped__", None)
    if isinstance(wrapped, FunctionType):
        return _key_of_function(wrapped, seen)
    raise Unknown


def _key_of_function(function: FunctionType, seen: frozenset[int]) -> Any:
    if _is_library(function.__module__) or id(function) in seen:
        return function
    source = source_of(function)
    within = seen | {id(function)}
    defaults = key_of(function.__defaults__, within), key_of(function.__kwdefaults__, within)
    names = outside(source, function)
    return function.__code__, defaults, tuple((n, key_of(names[n], within)) for n in sorted(names))


def _is_library(name: str | None) -> bool:
    """Modules whose functions and constants stay what they are."""
    top = (name or "").partition(".")[0]
    return top in ("numpy", "gpuarray") or top in sys.stdlib_module_names
