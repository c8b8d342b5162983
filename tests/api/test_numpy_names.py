"""What is written from the code is not stale: the page of names, its totals, and the stubs."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import gpuarray as ga

NAMES = Path(__file__).parents[2] / "docs" / "names"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_names_{name}", NAMES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table() -> ModuleType:
    return script("table")


@pytest.mark.parametrize("name", ["numpy-names.md", "README.md"])
def test_the_page_of_names(name, table):
    for path, text in table.made().items():
        if path.name == name:
            assert path.read_text() == text, f"{name} is stale: python docs/names/table.py writes it"


def test_what_is_left_out_has_a_reason_and_is_not_there(table):
    for names in table.LEFT_OUT.values():
        for name in names.split():
            assert hasattr(np, name), name
            assert name not in ga.__all__, f"{name} is there now: take it out of LEFT_OUT"


def test_lazy_is_seen_not_said(table):
    assert table.row("numpy", "add", ga).lazy == "yes"
    assert table.row("numpy", "nonzero", ga).lazy == "runs first"
    assert table.row("numpy", "array_repr", ga).lazy == "computes"
    assert table.row("numpy", "shape", ga).lazy == "no array"
    assert table.row("numpy", "isdtype", ga).lazy == "NumPy's"
    assert not table.row("numpy", "get_include", ga).there
    assert (table.row("numpy", "add", ga).cpu, table.row("numpy", "matmul", ga).cuda) == ("Numba", "cuBLAS")


def test_the_record_of_peers():
    record = json.loads((NAMES / "peers.json").read_text())
    for has in record.values():
        for group in ("numpy", "numpy.linalg", "numpy.fft", "numpy.random.Generator"):
            assert set(has[group]) <= set(record["NumPy"][group])
    assert len(record["NumPy"]["numpy"]) > 350


@pytest.mark.parametrize("name", ["__init__.pyi", "_functions.pyi", "installed.pyi"])
def test_stubs(name):
    for path, text in script("stubs").made().items():
        if path.name == name:
            assert path.read_text() == text, f"{name} is stale: python docs/names/stubs.py writes it"
