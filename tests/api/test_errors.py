"""The tree of errors is drawn whole, and as it is."""

from __future__ import annotations

import builtins
import importlib
import pkgutil
import re

import pytest

import gpuarray
from gpuarray import errors

TEST_DOUBLES = ("gpuarray.kernels.backends.fake_memory",)
GPU = re.compile(r"__main__|\.cuda\b|\.cupy\b|gpuarray\.gpus")


def every_error() -> set[type[Exception]]:
    for module in pkgutil.walk_packages(gpuarray.__path__, "gpuarray."):
        if not GPU.search(module.name):
            try:
                importlib.import_module(module.name)
            except ImportError as error:
                if (error.name or "").startswith("gpuarray"):
                    raise
    found: set[type[Exception]] = set()
    left: list[type[Exception]] = [errors.GPUArrayError]
    while left:
        found.add(left[-1])
        left += left.pop().__subclasses__()
    return {e for e in found if e.__module__ not in TEST_DOUBLES and not GPU.search(e.__module__)}


def test_every_error_is_drawn_and_exported() -> None:
    names = {e.__name__ for e in every_error()}
    assert names == set(errors.__all__)
    assert names == set(re.findall(r"^ +(\w+Error)\b", errors.__doc__ or "", re.MULTILINE))


@pytest.mark.parametrize("name", errors.__all__)
def test_an_error_stands_where_it_is_drawn(name: str) -> None:
    error = getattr(errors, name)
    lines = (errors.__doc__ or "").splitlines()
    k = next(k for k, line in enumerate(lines) if line.split()[:1] == [name])
    depth = len(lines[k]) - len(lines[k].lstrip())
    if name == "GPUArrayError":
        assert error.__bases__ == (Exception,)
        return
    above = next(line for line in reversed(lines[:k]) if len(line) - len(line.lstrip()) < depth and line.strip())
    assert issubclass(error, getattr(errors, above.split()[0]))
    drawn = re.findall(r"\((\w+)\)", lines[k][: depth + 40])
    direct = [b.__name__ for b in error.__bases__ if b.__module__ == builtins.__name__]
    assert drawn == direct
    assert error.__doc__
