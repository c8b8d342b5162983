"""Write the stubs of what is made at import: python docs/names/stubs.py [--check]

gpuarray/__init__.pyi     the public names, said to be public
gpuarray/_functions.pyi   the functions of the table of elementwise operations
gpuarray/installed.pyi    the methods that modules give `NDArray`

Type checkers and editors read them; nothing imports them when a program runs.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpuarray as ga
from gpuarray.elementwise import FUNCTIONS

PACKAGE = Path(__file__).parents[2] / "gpuarray"
KNOWN = {"Any", "NDArray", "None", "bool", "bytes", "complex", "float", "int", "str", "tuple"}
"""Names that a stub may use in annotations; others are written Any."""
HEAD = '''"""{doc} Written by docs/names/stubs.py."""

from typing import Any

import numpy as np

from gpuarray.array import NDArray

'''
KINDS = {1: "_Unary", 2: "_Binary"}
UFUNC = """class _Ufunc:
    __name__: str
    nin: int
    nout: int
    nargs: int
    ntypes: int
    types: list[str]
    identity: Any
    signature: str | None
    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = ..., where: Any = True) -> NDArray: ...
    def accumulate(self, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> NDArray: ...
    def reduceat(self, array: Any, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> NDArray: ...
    def outer(self, A: Any, B: Any, **keywords: Any) -> NDArray: ...
    def at(self, a: Any, indices: Any, b: Any = ...) -> None: ...
"""  # noqa: E501 (the stub's lines)
OPERATORS = """
    def _unary(self) -> NDArray: ...
    def _binary(self, other: Any, /) -> NDArray: ...

    __neg__ = __pos__ = __invert__ = __abs__ = _unary
    __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __pow__ = __matmul__ = _binary
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __rpow__ = __rmatmul__ = _binary
    __and__ = __or__ = __xor__ = __lshift__ = __rshift__ = _binary
    __rand__ = __ror__ = __rxor__ = __rlshift__ = __rrshift__ = _binary
    __lt__ = __le__ = __gt__ = __ge__ = _binary
    __eq__ = __ne__ = _binary  # type: ignore[assignment]
    def __divmod__(self, other: Any, /) -> tuple[NDArray, NDArray]: ...
    def __rdivmod__(self, other: Any, /) -> tuple[NDArray, NDArray]: ...
    def __contains__(self, value: Any, /) -> bool: ...
    def __format__(self, spec: str, /) -> str: ...
    def __round__(self, ndigits: int | None = None) -> Any: ...
    def __array_namespace__(self, *, api_version: str | None = None) -> Any: ...
    def __dlpack__(self, **keywords: Any) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...

"""


def annotation(given: Any, otherwise: str = "Any") -> str:
    """An annotation in a stub's words."""
    text = given if isinstance(given, str) else getattr(given, "__name__", "")
    if not text or given is inspect.Parameter.empty:
        return otherwise
    return text if set(re.findall(r"[A-Za-z_][\w.]*", text)) <= KNOWN else otherwise


def parameter(p: inspect.Parameter, first: bool) -> str:
    star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
    if first:
        return "self"
    simple = p.default is None or isinstance(p.default, (bool, int, float, str))
    default = "" if p.default is p.empty else f" = {p.default!r}" if simple else " = ..."
    return f"{star}{p.name}: {annotation(p.annotation)}{default}"


def signature(name: str, function: Callable[..., Any], method: bool) -> str:
    """A function's definition without its body."""
    asked = inspect.signature(function)
    parts, before = [], None
    for k, p in enumerate(asked.parameters.values()):
        if before == p.POSITIONAL_ONLY != p.kind:
            parts.append("/")
        if p.kind == p.KEYWORD_ONLY and before not in (p.KEYWORD_ONLY, p.VAR_POSITIONAL):
            parts.append("*")
        parts.append(parameter(p, method and k == 0))
        before = p.kind
    if before == inspect.Parameter.POSITIONAL_ONLY:
        parts.append("/")
    made = "NDArray" if function in FUNCTIONS.values() else annotation(asked.return_annotation)
    return f"def {name}({', '.join(parts)}) -> {made}: ..."


def functions() -> str:
    """The stub of the elementwise functions, those that are NumPy's ufuncs with the methods of these."""
    public = {n: f for n, f in sorted(FUNCTIONS.items()) if getattr(ga, n, None) is f}
    kinds = {n: KINDS.get(getattr(f, "nin", 0), "") for n, f in public.items()}
    lines = [f"{n}: {kinds[n]}" if kinds[n] else signature(n, f, False) for n, f in public.items()]
    classes = []
    for kind, model in (("_Unary", "sin"), ("_Binary", "add")):
        call = signature("__call__", public[model], False).replace("(", "(self, ", 1)
        classes.append(f"class {kind}(_Ufunc):\n    {call}\n")
    head = HEAD.format(doc="Elementwise functions, as type checkers see them.").replace("import numpy as np\n\n", "")
    return head + UFUNC + "\n" + "\n".join([*classes, *lines]) + "\n"


def methods() -> str:
    """The stub of `Installed`."""
    lines = []
    for name, value in sorted(vars(ga.NDArray).items()):
        if name.startswith("_") or getattr(value, "__qualname__", "").startswith("NDArray."):
            continue
        if isinstance(value, property):
            if value.fget is not None and not value.fget.__qualname__.startswith("NDArray."):
                kind = annotation(inspect.signature(value.fget).return_annotation)
                lines += ["    @property", f"    def {name}(self) -> {kind}: ..."]
        elif callable(value):
            lines.append("    " + signature(name, value, True))
    head = HEAD.format(doc="What modules install in `NDArray`, as type checkers see it.").replace(
        "import numpy as np\n\n", ""
    )
    return (
        head
        + "class Installed:\n"
        + "\n".join(lines)
        + "\n"
        + OPERATORS.rstrip().replace("\n\n    __neg", "\n    __neg")
        + "\n"
    )


def home(module: str, original: str, name: str) -> str:
    """The module that a name is defined in; packages that hand it on need not say that it is public."""
    value = getattr(ga, name, None)
    defined = getattr(value, "__module__", None) or ""
    return defined if defined.startswith("gpuarray.") and getattr(value, "__name__", "") == original else module


def package() -> str:
    """The stub of `gpuarray` itself. A name imported ``as`` itself is public, however `__all__` is made."""
    lines = ['"""The public names, as type checkers see them. Written by docs/names/stubs.py."""', ""]
    for statement in ast.parse((PACKAGE / "__init__.py").read_text()).body:
        if isinstance(statement, ast.ImportFrom) and statement.module not in ("__future__", "types", "typing"):
            names = [a.asname or a.name for a in statement.names]
            for alias, name in zip(statement.names, names, strict=True):
                if name in ga.__all__ or name.startswith("__") or name == "_origin":
                    lines.append(f"from {home(statement.module or '', alias.name, name)} import {alias.name} as {name}")
    return "\n".join(
        [
            *lines,
            "from gpuarray._functions import *",
            "",
            "__array_api_version__: str",
            "bool = bool_",
            "ndarray = NDArray",
            "",
        ]
    )


def made() -> dict[Path, str]:
    return {
        PACKAGE / "__init__.pyi": package(),
        PACKAGE / "_functions.pyi": functions(),
        PACKAGE / "installed.pyi": methods(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is stale")
    check = parser.parse_args().check
    stale = {p: t for p, t in made().items() if not p.exists() or p.read_text() != t}
    for path, text in stale.items():
        if not check:
            path.write_text(text)
        print(f"{path.name} is {'stale' if check else 'written'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
