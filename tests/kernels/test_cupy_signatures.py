"""Every call of CuPy that we write exists in CuPy and takes what it is given, as far as can be told without a GPU."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.backends.cupy_namespace import Namespace
from gpuarray.kernels.reductions import REDUCTIONS
from gpuarray.kernels.table import ELEMENTWISE

cupy = pytest.importorskip("cupy", reason="needs CuPy, which is imported without a GPU")

ROOT = Path(__file__).parents[2]
ROOMS = ("kernels", "cluster", "gpuarray", "benchmarks/gpu")
NAMES = {"cupy": "", "_cupy": "", "module": "", "cp": "", "cuda": "cuda", "_cuda": "cuda", "runtime": "cuda.runtime"}
"""What the module and parts of it are called where we call them."""
ON_CPU_ONLY = {
    "isnat": "times are no dtype of a GPU's arrays",
    "spacing": "`Namespace` has one",
}


@cache
def _trees() -> tuple[tuple[Path, ast.Module], ...]:
    found = []
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if not path.is_relative_to(ROOT / "gpuarray" / "kernels") and not path.is_relative_to(
                ROOT / "gpuarray" / "cluster"
            ):
                found.append((path, ast.parse(path.read_text())))
    return tuple(found)


def dotted(node: ast.expr) -> list[str]:
    """``self._cupy.cuda.Event`` as its names; empty where it is no such thing."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else []


def called(roots: dict[str, str]) -> Iterator[tuple[str, tuple[str, ...], ast.Call | None]]:
    """(place, names behind the module's, the call if it is one) wherever code names something of the module's."""
    for path, tree in _trees():
        calls = {id(n.func): n for n in ast.walk(tree) if isinstance(n, ast.Call)}
        inner = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or id(node) in inner:
                continue
            names = dotted(node)
            at = next((k for k, n in enumerate(names) if n in roots and k < 2), None)
            if at is not None and names[at + 1 :]:
                behind = (*filter(None, roots[names[at]].split(".")), *names[at + 1 :])
                yield f"{path.relative_to(ROOT)}:{node.lineno}", behind, calls.get(id(node))


def files_of_cupy() -> set[Path]:
    return {
        p for p, _ in _trees() if "cupy" in p.name or p.name in ("launch.py", "devices.py") or "benchmarks" in p.parts
    }


def our_calls() -> list[tuple[str, tuple[str, ...], ast.Call | None]]:
    names = {str(p.relative_to(ROOT)) for p in files_of_cupy()}
    return [found for found in called(NAMES) if found[0].split(":")[0] in names]


def resolved(root: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        root = getattr(root, name)
    return root


def signature(function: Any) -> inspect.Signature | None:
    """Of Python's functions as they are; of Cython's, which hide it, from the first line of their documentation."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        pass
    text = (function.__doc__ or "").strip().split("\n")[0]
    found = re.match(r"\w+(?:\.\w+)*\((.*)\)(?: ->.*)?$", text)
    if not found:
        return None
    parts = []
    for part in found[1].split(","):
        name = part.strip()
        if name in ("", "self", "/"):
            continue
        # "size_t size=0" -> "size=0"
        head, equals, default = name.partition("=")
        parts.append(head.split()[-1] + (equals + "None" if equals else ""))
        del default
    try:
        tree = ast.parse(f"def f({', '.join(parts)}): pass")
    except SyntaxError:
        return None
    names: dict[str, Any] = {}
    exec(compile(tree, "<signature>", "exec"), names)
    return inspect.signature(names["f"])


def refused(function: Any, call: ast.Call) -> str:
    """Why a call does not fit a function, or an empty text."""
    known = signature(function)
    if known is None or any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords):
        return ""
    try:
        known.bind(*call.args, **{str(k.arg): k.value for k in call.keywords})
    except TypeError as error:
        return f"{ast.unparse(call)}: {error}, of {known}"
    return ""


def test_we_call_cupy_in_many_places() -> None:
    """Or the tests below would show nothing."""
    named = {".".join(names) for _, names, _ in our_calls()}
    assert {"cuda.Event", "cuda.MemoryPool", "cuda.Stream", "RawModule", "cuda.runtime.pointerGetAttributes"} <= named
    assert len(named) > 20


def test_what_we_name_exists_and_takes_our_arguments() -> None:
    wrong = []
    for place, names, call in our_calls():
        try:
            found = resolved(cupy, names)
        except AttributeError as error:
            wrong.append(f"{place}: {error}")
            continue
        if call is not None and (why := refused(found, call)):
            wrong.append(f"{place}: {why}")
    assert wrong == []


@pytest.mark.parametrize(
    ("owner", "method", "arguments", "named"),
    [
        ("cuda.MemoryPool", "malloc", (1,), {}),
        ("cuda.MemoryPool", "set_limit", (), {"size": 1}),
        ("cuda.MemoryPool", "free_all_blocks", (), {}),
        ("cuda.MemoryPool", "used_bytes", (), {}),
        ("cuda.MemoryPool", "total_bytes", (), {}),
        ("cuda.Stream", "wait_event", ("event",), {}),
        ("cuda.Stream", "synchronize", (), {}),
        ("cuda.Event", "record", ("stream",), {}),
        ("cuda.Event", "synchronize", (), {}),
        ("cuda.MemoryPointer", "copy_from_host_async", (1, 2, "stream"), {}),
        ("cuda.MemoryPointer", "copy_to_host_async", (1, 2, "stream"), {}),
        ("RawModule", "get_function", ("kernel",), {}),
        ("ndarray", "get", (), {}),
        ("ndarray", "astype", ("f4",), {"copy": False}),
        ("ndarray", "copy", (), {}),
        ("ndarray", "transpose", ((1, 0),), {}),
        ("ndarray", "__dlpack__", (), {"stream": None, "max_version": None, "dl_device": None, "copy": None}),
    ],
)
def test_methods_take_our_arguments(owner: str, method: str, arguments: Any, named: Any) -> None:
    found = getattr(resolved(cupy, tuple(owner.split("."))), method)
    known = signature(found)
    if known is None:
        pytest.skip(f"CuPy does not say what {owner}.{method} takes")
    drop_self = "self" in known.parameters and not isinstance(found, property)
    known.bind(*((None,) if drop_self else ()), *arguments, **named)


def test_attributes() -> None:
    for name in ("cuda.MemoryPointer.ptr", "ndarray.data", "ndarray.device", "ndarray.base", "ndarray.flags"):
        resolved(cupy, tuple(name.split(".")))
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    assert issubclass(cupy.cuda.runtime.CUDARuntimeError, Exception)
    assert {"type"} <= set(dir(cupy.cuda.runtime.PointerAttributes))
    assert hasattr(cupy.cuda.Device, "compute_capability")
    assert hasattr(cupy.ndarray, "__cuda_array_interface__")


def test_numpys_functions_that_the_engine_calls_are_there() -> None:
    """All that graph, kernels and ndimage call as ``xp.name`` or ``backend.xp.name``."""
    xp, wrong = Namespace(cupy), []
    for place, names, call in called({"xp": ""}):
        if names[0] in ("ndarray",):
            continue
        try:
            found = resolved(xp, names)
        except AttributeError as error:
            wrong.append(f"{place}: {error}")
            continue
        if call is not None and (why := refused(found, call)):
            wrong.append(f"{place}: {why}")
    assert wrong == []


def test_every_row_of_the_table_has_its_function() -> None:
    xp = Namespace(cupy)
    lacking = {row.ufunc for row in ELEMENTWISE.values() if row.ufunc and not hasattr(xp, row.ufunc)}
    assert lacking == {name for name in ON_CPU_ONLY if name != "spacing"}
    for name in REDUCTIONS:
        if name not in ("count_nonzero", "var"):
            assert hasattr(xp, name), name


@pytest.mark.parametrize(
    "name", sorted(r.ufunc for r in ELEMENTWISE.values() if r.ufunc and r.ufunc not in ON_CPU_ONLY)
)
def test_ufuncs_take_the_dtypes_that_are_interpreted(name: str) -> None:
    """Half precision has no CUDA kernel of ours, so CuPy's must do it, wherever NumPy has such a loop."""
    theirs, numpys = getattr(cupy, name), getattr(np, name)
    if not hasattr(theirs, "types"):
        pytest.skip("no ufunc in CuPy")
    half = "e" * numpys.nin + "->"
    if any(loop.startswith(half) for loop in numpys.types):
        assert any(loop.startswith(half) for loop in theirs.types), theirs.types
